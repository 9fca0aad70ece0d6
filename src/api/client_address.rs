//! Who a request comes from, by address: the peer, or whom a trusted proxy says it speaks for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// The address of the client, found once for a request and kept in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The one at the other end of the connection.
pub fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}

/// The client of a request: as found by [`of_request`], else the peer.
pub fn client(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ClientAddress>().map(|address| address.0).or_else(|| peer(parts))
}

/// The client of a request from `peer`. What headers say counts only as far as trusted peers have said it: from
/// the last to the first, up to the first address that is not trusted.
pub fn of_request(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> ClientAddress {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer;
    if !is_trusted(&client) {
        return ClientAddress(client);
    }
    for hop in hops(headers).into_iter().rev() {
        // Whatever is before a hop without an address was written by somebody unknown.
        let Some(ip) = hop else { break };
        client = ip;
        if !is_trusted(&client) {
            break;
        }
    }
    ClientAddress(client)
}

/// The hops in the order in which they were passed, `X-Forwarded-For` before `Forwarded`.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let items = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .flat_map(|value| {
                String::from_utf8_lossy(value.as_bytes()).split(',').map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    };
    let of_for = items("x-forwarded-for");
    if !of_for.is_empty() {
        return of_for.iter().map(|item| address(item)).collect();
    }
    items(header::FORWARDED.as_str())
        .iter()
        .map(|item| {
            let by_for = item.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then_some(value)
            });
            address(by_for?.trim().trim_matches('"'))
        })
        .collect()
}

/// An address with or without a port, and with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let ip = bare.unwrap_or(text).parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    ip.map(|ip| ip.to_canonical())
}

/// What is counted as one client: an IPv4 address, or the network that one IPv6 customer has.
pub fn as_one_client(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        of_request(peer.parse().unwrap(), &map, &trusted).0.to_string()
    }

    #[test]
    fn headers_count_as_far_as_trusted_peers_wrote_them() {
        const FOR: &str = "x-forwarded-for";
        for (peer, headers, client) in [
            ("198.51.100.7", &[(FOR, "203.0.113.1")] as &[_], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "203.0.113.1")], "203.0.113.1"),
            ("10.0.0.1", &[(FOR, "1.1.1.1, 203.0.113.1, 10.0.0.2")], "203.0.113.1"),
            ("10.0.0.1", &[(FOR, "1.1.1.1"), (FOR, "203.0.113.1")], "203.0.113.1"),
            ("10.0.0.1", &[(FOR, "1.1.1.1, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(FOR, "203.0.113.1:4711")], "203.0.113.1"),
            ("10.0.0.1", &[(FOR, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("fd00::1", &[(FOR, "2001:db8::1")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=https")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=203.0.113.1;by=10.0.0.1")], "203.0.113.1"),
            ("10.0.0.1", &[("forwarded", "for=203.0.113.1, for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1"), (FOR, "203.0.113.1")], "203.0.113.1"),
        ] {
            assert_eq!(found(peer, headers), client, "{peer} {headers:?}");
        }
    }

    #[test]
    fn a_customers_network_is_one_client() {
        let one = |text: &str| as_one_client(text.parse().unwrap()).to_string();
        assert_eq!(one("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(one("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(one("192.0.2.1"), "192.0.2.1");
    }
}
