//! `resolver` and `outbound`.

use super::{errors, good};
use api_monitor::domain::outbound::OutboundPolicy;

#[test]
fn where_the_apis_own_may_connect_is_read() {
    let config = good("resolver: '127.0.0.1:5353'\noutbound: {allow_private: false, deny: [10.1.2.3/8, fd00::1]}\n");
    assert_eq!(config.resolver, Some("127.0.0.1:5353".parse().unwrap()));
    assert!(!config.outbound.allow_private);
    let denied: Vec<String> = config.outbound.deny.iter().map(ToString::to_string).collect();
    assert_eq!(denied, ["10.0.0.0/8", "fd00::1/128"]);
    let plain = good("endpoints: []\n");
    assert_eq!((plain.resolver, plain.outbound), (None, OutboundPolicy::default()));
}

#[test]
fn mistakes_are_told_where_they_are() {
    let told = errors(
        "resolver: dns.example\noutbound: {allow_private: maybe, deny: [10.0.0.0/33, host.example, 10.0.0.1], denied: []}\n",
    );
    for mistake in [
        "1:11  resolver\n  `dns.example` is not the address of a name server",
        "2:27  outbound.allow_private\n  `maybe` is not true or false",
        "2:41  outbound.deny.0\n  `10.0.0.0/33` is not an address or a network",
        "2:54  outbound.deny.1\n  `host.example` is not an address or a network",
        "2:79  outbound.denied\n  unknown key\n  known here: allow_private, deny",
    ] {
        assert!(told.contains(mistake), "{mistake}\n\n{told}");
    }
    assert!(errors("resolver: 0.0.0.0\n").contains("`0.0.0.0` cannot be asked"));
}
