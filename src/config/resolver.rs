//! `resolver`: the server that checks and channels ask for names.

use std::net::{IpAddr, SocketAddr};

use super::de::typed;
use super::report::Report;
use super::tree::{Node, Trail, without_secrets};

const DNS_PORT: u16 = 53;

/// `None`: names are looked up as every program of the machine does.
pub(super) fn read(root: &Node, report: &mut Report) -> Option<SocketAddr> {
    let node = root.get("resolver").filter(|node| !node.is_null())?;
    let at = Trail::Key(&Trail::Root, "resolver");
    let text = typed::<Option<String>>(node, &at, report).value?;
    match parse(text.trim()) {
        Ok(server) => Some(server),
        Err(message) => {
            if !node.has_missing() {
                report.error(&node.place, at, without_secrets(message, node));
            }
            None
        }
    }
}

fn parse(text: &str) -> Result<SocketAddr, String> {
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let server = match in_brackets.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, DNS_PORT),
        Err(_) => text.parse::<SocketAddr>().map_err(|_| {
            format!(
                "`{text}` is not the address of a name server: an IP address with or without a port, such as 9.9.9.9, \
                 192.168.1.1:5353 or [2620:fe::fe]:53"
            )
        })?,
    };
    if server.ip().is_unspecified() || server.ip().is_multicast() || server.port() == 0 {
        return Err(format!("`{text}` cannot be asked"));
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_needed() {
        for (text, server) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(parse(text), Ok(server.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "dns.example",
            "dns.example:53",
            "9.9.9.9:",
            "9.9.9.9:0",
            "9.9.9.9:99999",
            "0.0.0.0",
            "https://9.9.9.9",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
