//! That no form of an address is judged more mildly than the address itself.

use proptest::prelude::*;

use super::*;

/// Addresses near the edges of the special networks as often as anywhere else.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let edges: Vec<u32> = PRIVATE_V4
        .iter()
        .flat_map(|network| [network.network(), network.broadcast()])
        .chain(METADATA_V4)
        .chain([Ipv4Addr::new(169, 254, 0, 0), Ipv4Addr::new(169, 254, 255, 255), Ipv4Addr::new(224, 0, 0, 0)])
        .map(Ipv4Addr::to_bits)
        .collect();
    let near = (prop::sample::select(edges), -2_i32..=2)
        .prop_map(|(edge, step)| Ipv4Addr::from_bits(edge.wrapping_add_signed(step)));
    prop_oneof![near, any::<u32>().prop_map(Ipv4Addr::from_bits)]
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let edges: Vec<u128> = PRIVATE_V6
        .iter()
        .chain(&METADATA_V6)
        .flat_map(|network| [network.network(), network.broadcast()])
        .map(Ipv6Addr::to_bits)
        .collect();
    let near = (prop::sample::select(edges), -2_i128..=2)
        .prop_map(|(edge, step)| Ipv6Addr::from_bits(edge.wrapping_add_signed(step)));
    prop_oneof![near, any::<u128>().prop_map(Ipv6Addr::from_bits), (v4(), 0_usize..8).prop_map(|(v4, n)| forms(v4)[n])]
}

/// Every IPv6 form of an IPv4 address.
fn forms(v4: Ipv4Addr) -> [Ipv6Addr; 8] {
    let [a, b, c, d] = v4.octets();
    let bits = u128::from(v4.to_bits());
    let under = |prefix: &str| Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().unwrap().to_bits() | bits);
    let mut around = "64:ff9b:1::".parse::<Ipv6Addr>().unwrap().octets();
    (around[6], around[7], around[9], around[10]) = (a, b, c, d);
    let to4 = u16::from_be_bytes([a, b]);
    [
        v4.to_ipv6_mapped(),
        under("::ffff:0:0:0"),
        under("64:ff9b::"),
        under("64:ff9b:1::"),
        around.into(),
        Ipv6Addr::new(0x2002, to4, u16::from_be_bytes([c, d]), 7, 0, 0, 0, 1),
        Ipv6Addr::from_bits("2001:0:808:808::".parse::<Ipv6Addr>().unwrap().to_bits() | u128::from(!v4.to_bits())),
        under("2a00:1::5efe:0:0"),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (v4(), 1_u8..=32).prop_map(|(v4, prefix)| IpNet::from(Ipv4Net::new_assert(v4, prefix).trunc())),
        (v6(), 8_u8..=128).prop_map(|(v6, prefix)| IpNet::from(Ipv6Net::new_assert(v6, prefix).trunc())),
    ]
}

fn policy() -> impl Strategy<Value = OutboundPolicy> {
    (any::<bool>(), prop::collection::vec(network(), 0..4))
        .prop_map(|(allow_private, deny)| OutboundPolicy { allow_private, deny })
}

proptest! {
    #[test]
    fn what_is_refused_is_refused_in_every_form(policy in policy(), v4 in v4()) {
        // Where nothing is, one form does not say that it is meant.
        prop_assume!(!v4.is_unspecified());
        if let Err(refused) = policy.examine(v4.into()) {
            for form in forms(v4) {
                let seen = policy.examine(form.into());
                prop_assert!(seen.is_err(), "{form} of {v4}, though {refused}");
            }
        }
    }

    #[test]
    fn link_local_and_where_no_host_is_are_refused_whatever_the_policy(
        policy in policy(),
        low in any::<u16>(),
        v6 in any::<u128>(),
    ) {
        let [c, d] = low.to_be_bytes();
        prop_assert!(policy.examine(Ipv4Addr::new(169, 254, c, d).into()).is_err());
        prop_assert!(policy.examine(Ipv4Addr::new(0, 3, c, d).into()).is_err());
        prop_assert!(policy.examine(Ipv4Addr::new(0xe0 | (c & 0x0f), 3, c, d).into()).is_err());
        let under = |prefix: u16, bits: u32| Ipv6Addr::from_bits((u128::from(prefix) << 112) | (v6 >> bits));
        prop_assert!(policy.examine(under(0xfe80, 10).into()).is_err());
        prop_assert!(policy.examine(under(0xff00, 8).into()).is_err());
    }

    #[test]
    fn the_members_of_a_denied_network_are_refused(mut policy in policy(), network in network(), v6 in any::<u128>()) {
        policy.deny.push(network);
        let bits = u32::from(network.prefix_len());
        let member = match network {
            IpNet::V4(n) => {
                let host = u64::from(u32::MAX) >> bits;
                IpAddr::V4(Ipv4Addr::from_bits(n.network().to_bits() | u32::try_from(v6 & u128::from(host)).unwrap()))
            }
            IpNet::V6(n) => IpAddr::V6(Ipv6Addr::from_bits(
                n.network().to_bits() | u128::MAX.checked_shr(bits).unwrap_or(0) & v6,
            )),
        };
        prop_assert!(network.contains(&member));
        prop_assert!(policy.examine(member).is_err());
    }

    /// The standard library's own words for the networks.
    #[test]
    fn private_is_what_others_call_private(v4 in v4()) {
        let strict = OutboundPolicy { allow_private: false, deny: Vec::new() };
        let known = v4.is_private() || v4.is_loopback() || v4.is_documentation() || v4.octets()[0] >= 240
            || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
            || (v4.octets()[0] == 198 && v4.octets()[1] & 0xfe == 18)
            || v4.octets()[..3] == [192, 0, 0];
        let ever = v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0
            || METADATA_V4.contains(&v4);
        prop_assert_eq!(strict.examine(v4.into()).is_err(), known || ever);
        prop_assert_eq!(OutboundPolicy::default().examine(v4.into()).is_err(), ever);
    }

    /// A URL leads to the address that was meant, by whatever number it is written.
    #[test]
    fn numbers_for_hosts_are_addresses(v4 in v4()) {
        let [a, b, c, d] = v4.octets();
        let bits = v4.to_bits();
        for host in [
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("0{bits:o}"),
            format!("{a}.{b:#x}.{}", u16::from_be_bytes([c, d])),
            format!("{a}.{}", bits & 0xff_ffff),
            format!("0{a:o}.0{b:o}.{c:#x}.{d}."),
        ] {
            let url: Url = format!("http://{host}/").parse().unwrap();
            prop_assert_eq!(address_of(&url), Some(IpAddr::V4(v4)), "{}", host);
        }
    }

    #[test]
    fn every_refusal_can_be_told(policy in policy(), v6 in v6()) {
        if let Err(refused) = policy.examine(v6.into()) {
            prop_assert!(refused.to_string().starts_with(&v6.to_string()));
        }
    }
}
