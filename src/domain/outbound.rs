//! Where what was made through the API may connect to: the rules of `outbound:`, over addresses alone. What the
//! operator wrote into the configuration goes anywhere.
//!
//! An address is judged in every form it has: an IPv6 address that only carries an IPv4 one is both.

#[cfg(test)]
mod properties;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// `outbound:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundPolicy {
    /// Whether networks that are not of the Internet may be connected to.
    pub allow_private: bool,
    /// Networks that are refused whatever else is said.
    pub deny: Vec<IpNet>,
}

impl Default for OutboundPolicy {
    fn default() -> Self {
        Self { allow_private: true, deny: Vec::new() }
    }
}

/// An address that may not be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub address: IpAddr,
    /// What the address carries, where it is that which is refused.
    pub carried: Option<Ipv4Addr>,
    pub reason: Reason,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Metadata,
    LinkLocal,
    Nowhere,
    Multicast,
    Broadcast,
    Private,
    /// It is in this network of `outbound.deny`.
    Denied(IpNet),
}

impl fmt::Display for Reason {
    /// `a link-local address`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "an address at which a cloud tells its machines' secrets",
            Self::LinkLocal => "a link-local address",
            Self::Nowhere => "the address of no host",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Private => "a private address, which `outbound.allow_private: false` refuses",
            Self::Denied(network) => return write!(f, "in {network}, which `outbound.deny` names"),
        })
    }
}

impl fmt::Display for Refused {
    /// `::ffff:10.0.0.5, which stands for 10.0.0.5, is a private address, …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, carried, reason } = self;
        match carried {
            None => write!(f, "{address} is {reason}"),
            Some(carried) => write!(f, "{address}, which stands for {carried}, is {reason}"),
        }
    }
}

/// Where clouds hand out credentials, beside the link-local addresses that most of them use.
const METADATA_V4: [Ipv4Addr; 5] = [
    // Amazon, Google, Azure, DigitalOcean, Hetzner, Oracle, OpenStack and more.
    Ipv4Addr::new(169, 254, 169, 254),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's own services for its machines.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle.
    Ipv4Addr::new(192, 0, 0, 192),
    // Volcano Engine.
    Ipv4Addr::new(100, 96, 0, 96),
];

/// As [`METADATA_V4`].
const METADATA_V6: [Ipv6Net; 3] = [
    // Amazon: metadata, credentials of containers, time, names.
    network_v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    // Google.
    network_v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    // Scaleway.
    network_v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),
];

/// Networks that are not of the Internet.
const PRIVATE_V4: [Ipv4Net; 11] = [
    network_v4([10, 0, 0, 0], 8),
    network_v4([172, 16, 0, 0], 12),
    network_v4([192, 168, 0, 0], 16),
    // Between a provider and its customers; overlay networks use it, too.
    network_v4([100, 64, 0, 0], 10),
    network_v4([127, 0, 0, 0], 8),
    network_v4([192, 0, 0, 0], 24),
    // Examples of documents, which some use at home.
    network_v4([192, 0, 2, 0], 24),
    network_v4([198, 51, 100, 0], 24),
    network_v4([203, 0, 113, 0], 24),
    // Measurements of network devices.
    network_v4([198, 18, 0, 0], 15),
    // Not assigned to anybody, and used by some within their networks.
    network_v4([240, 0, 0, 0], 4),
];

/// As [`PRIVATE_V4`].
const PRIVATE_V6: [Ipv6Net; 9] = [
    network_v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    network_v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    // Site-local, the unique local addresses of earlier days.
    network_v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    // A translator to IPv4 within one's own network.
    network_v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    // Packets are thrown away.
    network_v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    network_v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    network_v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    network_v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    network_v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
];

const fn network_v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

#[expect(clippy::many_single_char_names, reason = "the eight words of an address")]
const fn network_v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

impl OutboundPolicy {
    /// Whether `address` may be connected to by what was made through the API.
    ///
    /// # Errors
    /// Why not.
    pub fn examine(&self, address: IpAddr) -> Result<(), Refused> {
        judge(address, |form| reason_for_ever(form).or_else(|| self.reason(form)))
    }

    fn reason(&self, form: IpAddr) -> Option<Reason> {
        if let Some(network) = self.deny.iter().find(|network| network.contains(&form)) {
            return Some(Reason::Denied(*network));
        }
        (!self.allow_private && is_in_private_network(form)).then_some(Reason::Private)
    }
}

fn is_in_private_network(form: IpAddr) -> bool {
    match form {
        IpAddr::V4(v4) => PRIVATE_V4.iter().any(|network| network.contains(&v4)),
        IpAddr::V6(v6) => PRIVATE_V6.iter().any(|network| network.contains(&v6)),
    }
}

/// Whether an address, in any of its forms, is in a network that is not of the Internet.
pub(super) fn is_private(address: IpAddr) -> bool {
    let link_local = |form| matches!(reason_for_ever(form), Some(Reason::LinkLocal | Reason::Metadata));
    judge(address, |form| (link_local(form) || is_in_private_network(form)).then_some(Reason::Private)).is_err()
}

/// Why the host of a URL, if it is an address, is refused by every policy. A name is judged by what it leads to,
/// at the time of the connection.
pub fn refused_for_ever(url: &Url) -> Option<Refused> {
    judge(address_of(url)?, reason_for_ever).err()
}

/// The same for a host by itself, as in the name of a mail server.
pub fn host_refused_for_ever(host: &str) -> Option<Refused> {
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(address) => judge(address, reason_for_ever).err(),
        // Numbers for addresses are known to URLs.
        Err(_) => Url::parse(&format!("http://{host}/")).ok().and_then(|url| refused_for_ever(&url)),
    }
}

/// The host of a URL, if it is an address, however it was written: `http://2852039166/` has one, too.
pub fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
    }
}

/// Asks for a reason against each form of an address.
fn judge(address: IpAddr, reason: impl Fn(IpAddr) -> Option<Reason>) -> Result<(), Refused> {
    let of = |form: IpAddr| match form {
        // A network of `deny` may be written in the IPv6 form of IPv4.
        IpAddr::V4(v4) => reason(form).or_else(|| reason(v4.to_ipv6_mapped().into())),
        IpAddr::V6(_) => reason(form),
    };
    // What is carried first, as it says more.
    if let IpAddr::V6(v6) = address {
        for carried in carried_by(v6).into_iter().flatten() {
            if let Some(reason) = of(carried.into()) {
                return Err(Refused { address, carried: Some(carried), reason });
            }
        }
    }
    of(address).map_or(Ok(()), |reason| Err(Refused { address, carried: None, reason }))
}

fn reason_for_ever(form: IpAddr) -> Option<Reason> {
    match form {
        IpAddr::V4(v4) if METADATA_V4.contains(&v4) => Some(Reason::Metadata),
        IpAddr::V6(v6) if METADATA_V6.iter().any(|network| network.contains(&v6)) => Some(Reason::Metadata),
        IpAddr::V4(v4) if v4.is_link_local() => Some(Reason::LinkLocal),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(Reason::LinkLocal),
        IpAddr::V4(v4) if v4.is_broadcast() => Some(Reason::Broadcast),
        // All of 0.0.0.0/8: some systems take it for themselves.
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some(Reason::Nowhere),
        IpAddr::V6(v6) if v6.is_unspecified() => Some(Reason::Nowhere),
        form if form.is_multicast() => Some(Reason::Multicast),
        _ => None,
    }
}

/// The IPv4 addresses that an IPv6 address may stand for, if it has the form of one of the ways to write one in the
/// other. A translator with a prefix of its operator's choice cannot be known: such prefixes belong into `deny`.
fn carried_by(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let s = v6.segments();
    let octets = v6.octets();
    let two = |a: u16, b: u16| Some(Ipv4Addr::from_bits((u32::from(a) << 16) | u32::from(b)));
    let last = two(s[6], s[7]);
    match s {
        // `::` and `::1` are IPv6's own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 4],
        // ::1.2.3.4 (RFC 4291, given up), ::ffff:1.2.3.4, ::ffff:0:1.2.3.4 (RFC 2765), 64:ff9b::1.2.3.4 (RFC 6052)
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            [last, None, None, None]
        }
        // 64:ff9b:1::/48 (RFC 8215): at the end, or around the octet that is left out, for each length that its operator
        // may have chosen (RFC 6052). Where one of them is, the others begin with nothing.
        [0x64, 0xff9b, 1, ..] => {
            let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
            let long = |places| Some(at(places)).filter(|v4| v4.octets()[0] != 0);
            let short = |v4: Ipv4Addr| Some(v4).filter(|v4| !v4.is_unspecified());
            [last.and_then(short), short(at([6, 7, 9, 10])), long([7, 9, 10, 11]), long([9, 10, 11, 12])]
        }
        // 2002:102:304:: (RFC 3056)
        [0x2002, a, b, ..] => [two(a, b), None, None, None],
        // Teredo (RFC 4380): the server, and the client with its bits turned round.
        [0x2001, 0, a, b, ..] => [two(a, b), two(!s[6], !s[7]), None, None],
        // ISATAP (RFC 5214), under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [last, None, None, None],
        _ => [None; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(policy: &OutboundPolicy, address: &str) -> String {
        policy.examine(address.parse().unwrap()).map_or_else(|refused| refused.to_string(), |()| "allowed".to_owned())
    }

    #[test]
    fn some_addresses_are_refused_by_every_policy() {
        let policy = OutboundPolicy::default();
        let metadata = "an address at which a cloud tells its machines' secrets";
        for (address, why) in [
            ("169.254.169.254", metadata),
            ("100.100.100.200", metadata),
            ("168.63.129.16", metadata),
            ("fd00:ec2::254", metadata),
            ("fd00:ec2::23", metadata),
            ("fd20:ce::254", metadata),
            ("169.254.170.2", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("febf:ffff::1", "a link-local address"),
            ("0.0.0.0", "the address of no host"),
            ("0.1.2.3", "the address of no host"),
            ("::", "the address of no host"),
            ("224.0.0.251", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
        ] {
            assert_eq!(said(&policy, address), format!("{address} is {why}"));
        }
        for written in [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:12a9:fe:a9fe::",
            "64:ff9b:1:1234:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:808:808::5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "fd12:3456::200:5efe:169.254.169.254",
        ] {
            let said = said(&policy, written);
            assert!(said.ends_with(&format!(", which stands for 169.254.169.254, is {metadata}")), "{written}: {said}");
        }
    }

    #[test]
    fn private_networks_are_refused_when_they_are_not_allowed() {
        let (lax, strict) = (OutboundPolicy::default(), OutboundPolicy { allow_private: false, deny: Vec::new() });
        for address in [
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "240.0.0.1",
            "::1",
            "fd12::1",
            "fec0::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "2002:c0a8:1::",
        ] {
            assert_eq!(said(&lax, address), "allowed", "{address}");
            assert!(said(&strict, address).contains("is a private address"), "{address}: {}", said(&strict, address));
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            assert_eq!(said(&strict, address), "allowed", "{address}");
        }
        let loopback = "127.0.0.1 is a private address, which `outbound.allow_private: false` refuses";
        assert_eq!(said(&strict, "127.0.0.1"), loopback);
    }

    #[test]
    fn denied_networks_are_refused_in_every_form() {
        let deny = ["8.8.8.0/24", "2606:4700::/32", "::ffff:9.9.9.9/128"].map(|network| network.parse().unwrap());
        let policy = OutboundPolicy { allow_private: true, deny: deny.to_vec() };
        assert_eq!(said(&policy, "8.8.8.8"), "8.8.8.8 is in 8.8.8.0/24, which `outbound.deny` names");
        let mapped = "::ffff:8.8.8.8, which stands for 8.8.8.8, is in 8.8.8.0/24, which `outbound.deny` names";
        assert_eq!(said(&policy, "::ffff:8.8.8.8"), mapped);
        assert!(said(&policy, "2606:4700::1").contains("2606:4700::/32"));
        assert!(said(&policy, "9.9.9.9").contains("is in ::ffff:9.9.9.9/128"));
        assert_eq!(said(&policy, "8.8.9.8"), "allowed");
    }

    #[test]
    fn addresses_are_known_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xA9FEA9FE",
            "0xa9.254.0xa9.0376",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.169.254.",
            "%31%36%39.254.169.254",
            "169。254。169。254",
            "①⑥⑨.254.169.254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[0:0:0:0:0:FFFF:A9FE:A9FE]",
        ] {
            for scheme in ["http", "https"] {
                let url: Url = format!("{scheme}://user:pass@{host}:8080/latest").parse().unwrap();
                let refused = refused_for_ever(&url).unwrap_or_else(|| panic!("{url}"));
                assert_eq!(refused.reason, Reason::Metadata, "{url}");
            }
        }
        for allowed in ["http://127.0.0.1/", "http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254.example/"] {
            assert_eq!(refused_for_ever(&allowed.parse().unwrap()), None, "{allowed}");
        }
    }
}
