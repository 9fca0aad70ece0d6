//! `resolver`: the server that checks and channels ask for names.

use std::net::SocketAddr;

use super::de::typed;
use super::report::Report;
use super::tree::{Node, Trail, without_secrets};
use crate::domain::dial::name_server;

/// `None`: names are looked up as every program of the machine does.
pub(super) fn read(root: &Node, report: &mut Report) -> Option<SocketAddr> {
    let node = root.get("resolver").filter(|node| !node.is_null())?;
    let at = Trail::Key(&Trail::Root, "resolver");
    let text = typed::<Option<String>>(node, &at, report).value?;
    match name_server(text.trim()) {
        Ok(server) => Some(server),
        Err(message) => {
            if !node.has_missing() {
                report.error(&node.place, at, without_secrets(message, node));
            }
            None
        }
    }
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
            assert_eq!(name_server(text), Ok(server.parse().unwrap()), "{text}");
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
            assert!(name_server(text).is_err(), "{text}");
        }
    }
}
