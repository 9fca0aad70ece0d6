use serde_json::{Value, json};

use super::*;
use crate::domain::Timestamp;
use crate::domain::endpoint::{Endpoint, Layers, RuleError, resolve, resolve_layer};

fn layers(defaults: &EndpointSettings) -> Layers<'_> {
    Layers { defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None }
}

fn of(settings: Value) -> EndpointSettings {
    let mut settings: EndpointSettings = serde_json::from_value(settings).unwrap();
    settings.name.get_or_insert("e".to_owned());
    settings
}

fn resolved(settings: Value) -> Result<Endpoint, Vec<RuleError>> {
    resolve(&of(settings), layers(&EndpointSettings::default()), Timestamp::UNIX_EPOCH)
}

/// Kind and URL, or place and sentence of the first mistake.
fn told(settings: Value) -> String {
    match resolved(settings) {
        Ok(endpoint) => format!("{} {}", endpoint.kind, endpoint.check.url),
        Err(mistakes) => format!("{}: {}", mistakes[0].pointer, mistakes[0].detail),
    }
}

#[test]
fn the_scheme_chooses_the_kind() {
    for (url, expected) in [
        ("https://Shop.example", "http https://shop.example/"),
        ("tcp://DB.example:5432", "tcp tcp://db.example:5432"),
        ("tcp://[2001:DB8::1]:5432/", "tcp tcp://[2001:db8::1]:5432/"),
        ("tls://shop.example", "tls tls://shop.example:443"),
        ("tls://mail.example:993", "tls tls://mail.example:993"),
        ("icmp://gateway.lan", "icmp icmp://gateway.lan"),
        ("icmp://192.0.2.1:80", "icmp icmp://192.0.2.1"),
        ("ws://shop.example/events?a=1", "websocket ws://shop.example/events?a=1"),
        ("wss://shop.example", "websocket wss://shop.example/"),
        ("grpc://cart.example:50051", "grpc grpc://cart.example:50051"),
        ("grpcs://cart.example", "grpc grpcs://cart.example:443"),
        ("dns://192.0.2.53/shop.example", "dns dns://192.0.2.53:53/shop.example?type=A"),
        ("dns:///Shop.example.?type=mx", "dns dns:///shop.example?type=MX"),
        (
            "dns://ns.example:5353/_dmarc.x.example?type=TXT&transport=TCP",
            "dns dns://ns.example:5353/_dmarc.x.example?type=TXT&transport=tcp",
        ),
        ("tcp://münchen.example:1", "tcp tcp://xn--mnchen-3ya.example:1"),
    ] {
        assert_eq!(told(json!({"url": url})), expected, "{url}");
        // What is shown can be written back.
        let shown = expected.split_once(' ').unwrap().1;
        assert_eq!(told(json!({"url": shown})), expected, "{shown}");
    }
}

#[test]
fn a_kind_can_be_said_beside_the_url() {
    for (settings, expected) in [
        (json!({"kind": "tcp", "url": "db.example:5432"}), "tcp tcp://db.example:5432"),
        (json!({"kind": "icmp", "url": "192.0.2.1"}), "icmp icmp://192.0.2.1"),
        (json!({"kind": "icmp", "url": "https://shop.example"}), "icmp icmp://shop.example/"),
        (json!({"kind": "tls", "url": "https://shop.example"}), "tls tls://shop.example:443/"),
        (json!({"kind": "tcp", "url": "https://shop.example:8443"}), "tcp tcp://shop.example:8443/"),
        (json!({"kind": "http", "url": "shop.example/x"}), "http http://shop.example/x"),
        (json!({"kind": "dns", "dns": {"name": "shop.example"}}), "dns dns:///shop.example?type=A"),
        (
            json!({"dns": {"name": "shop.example", "type": "NS", "server": "::1", "transport": "tcp"}}),
            "dns dns://[::1]:53/shop.example?type=NS&transport=tcp",
        ),
        (json!({"url": "dns://ns.example", "dns": {"name": "."}}), "dns dns://ns.example:53?type=A"),
        (
            json!({"url": "dns://ns.example/a.example?type=A", "dns": {"name": "a.example", "server": "ns.example"}}),
            "dns dns://ns.example:53/a.example?type=A",
        ),
    ] {
        assert_eq!(told(settings.clone()), expected, "{settings}");
    }
}

#[test]
fn mistakes_name_their_place() {
    for (settings, expected) in [
        (
            json!({"url": "ftp://x"}),
            "/url: the scheme `ftp` is not examined here: there are http, https, tcp, tls, icmp, dns, ws, wss, grpc, grpcs",
        ),
        (json!({"url": "shop.example:80"}), "did you mean https://shop.example:80 ?"),
        (
            json!({"kind": "grpc", "url": "https://x"}),
            "/kind: a check of the kind grpc needs a URL that begins with grpc:// or grpcs://",
        ),
        (
            json!({"kind": "http", "url": "tcp://x:1"}),
            "/kind: a check of the kind http needs a URL that begins with http:// or https://",
        ),
        (json!({"url": "tcp://x"}), "/url: has no port: tcp://x:port"),
        (json!({"url": "grpc://x"}), "/url: has no port: grpc://x:port"),
        (json!({"url": "tcp://x:0"}), "/url: port 0 cannot be connected to"),
        (json!({"url": "tcp://"}), "/url: has no host"),
        (
            json!({"url": "tcp://u:p@x:1"}),
            "/url: must not hold user and password: a check of the kind tcp has no use for them",
        ),
        (
            json!({"url": "tls://x/path"}),
            "/url: has more than host and port, for which a check of the kind tls has no use",
        ),
        (
            json!({"url": "icmp://x", "method": "HEAD"}),
            "/method: is not known to a check of the kind icmp, only to http",
        ),
        (json!({"url": "icmp://x", "count": 0}), "/count: 0 is out of range: 1 to 20"),
        (
            json!({"url": "https://x", "send": "a"}),
            "/send: is not known to a check of the kind http, only to tcp, tls, websocket",
        ),
        (json!({"url": "https://x", "dns": {}}), "/dns: is not known to a check of the kind http, only to dns"),
        (
            json!({"url": "tcp://x:1", "tls": {"verify": false}}),
            "/tls: is not known to a check of the kind tcp, only to http, tls, websocket, grpc",
        ),
        (json!({"url": "tcp://x:1", "expect": ""}), "/expect: must be 1 to 4,096 bytes long"),
        (
            json!({"url": "tcp://x:1", "expect": {"regex": "["}}),
            "/expect/regex: is not a regular expression: unclosed character class",
        ),
        (json!({"url": "tcp://x:1", "send": "x".repeat(65_537)}), "/send: too long: at most 64 KiB"),
        (json!({"url": "grpc://x:1", "service": "x".repeat(201)}), "/service: is a name of at most 200 bytes"),
        (
            json!({"url": "dns://ns.example"}),
            "/url: says which server is asked, not for which name: the name ns.example is dns:///ns.example",
        ),
        (json!({"url": "dns:///a?type=WKS"}), "/url: there is no record type `WKS` here: A, AAAA, CAA"),
        (json!({"url": "dns:///a?transport=tls"}), "/url: there is no transport `tls` here: udp, tcp"),
        (json!({"url": "dns:///a?class=CH"}), "/url: a question has `type` and `transport`"),
        (json!({"url": "dns:///a", "dns": {"name": "b"}}), "/dns/name: the url says another: say it once"),
        (json!({"url": "dns://x/a", "dns": {"server": "y"}}), "/dns/server: the url says another: say it once"),
        (json!({"dns": {"name": "a..b"}}), "/dns/name: is not a domain name"),
        (json!({"dns": {"name": "a", "server": "x/y"}}), "/dns/server: is not a name server"),
        (json!({"url": "dns://x:0/a"}), "/url: port 0 cannot be connected to"),
        (json!({}), "/url: must be there and not empty"),
    ] {
        let told = told(settings.clone());
        assert!(told.contains(expected), "{settings}: {told}");
    }
}

#[test]
fn what_is_inherited_may_be_for_other_kinds() {
    let defaults = of(json!({
        "method": "HEAD", "headers": {"X-A": "1"}, "send": "PING", "expect": "PONG", "count": 5, "service": "s",
        "dns": {"server": "192.0.2.53", "type": "AAAA"}, "connect_timeout": 1,
    }));
    let with = |own: Value| resolve(&of(own), layers(&defaults), Timestamp::UNIX_EPOCH).unwrap().check.kind;
    assert_eq!(with(json!({"url": "http://x"})), KindSpec::Http);
    assert_eq!(with(json!({"url": "icmp://x", "count": 2})), KindSpec::Icmp(EchoSpec { count: 2 }));
    assert_eq!(with(json!({"url": "grpc://x:1"})), KindSpec::Grpc(HealthQuestion { service: "s".to_owned() }));
    let exchange = Exchange { send: Some("PING".to_owned()), expect: Some(Expectation::Text("PONG".to_owned())) };
    assert_eq!(with(json!({"url": "tcp://x:1"})), KindSpec::Tcp(exchange));
    let asked = resolve(&of(json!({"dns": {"name": "a.example"}})), layers(&defaults), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(asked.check.url.as_str(), "dns://192.0.2.53:53/a.example?type=AAAA", "mappings merge");
}

#[test]
fn a_layer_is_right_for_all_kinds_or_wrong() {
    let probe = |extra: Value| {
        let mut settings = json!({"url": "http://localhost/"});
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let tried = resolve_layer(&of(settings), layers(&EndpointSettings::default()), Timestamp::UNIX_EPOCH);
        tried.err().map(|mistakes| mistakes[0].pointer.clone())
    };
    let all = json!({"kind": "icmp", "send": "a", "count": 1, "service": "x", "dns": {"type": "A", "server": "x"}});
    assert_eq!(probe(all), None);
    for (wrong, place) in [
        (json!({"count": 21}), "/count"),
        (json!({"expect": {"regex": "("}}), "/expect/regex"),
        (json!({"service": "\n"}), "/service"),
        (json!({"dns": {"server": "a b"}}), "/dns/server"),
        (json!({"dns": {"name": "a..b"}}), "/dns/name"),
    ] {
        assert_eq!(probe(wrong.clone()).as_deref(), Some(place), "{wrong}");
    }
}

/// An address is one for the policy, whatever the scheme: names alone are looked up.
#[test]
fn addresses_are_known_as_such() {
    use crate::domain::outbound::address_of;
    for url in [
        "tcp://169.254.169.254:80",
        "tls://2852039166",
        "icmp://0xA9FEA9FE",
        "dns://169.254.169.254/x",
        "grpcs://169.254.169.254",
    ] {
        let endpoint = resolved(json!({"url": url})).unwrap();
        assert_eq!(address_of(&endpoint.check.url), Some([169, 254, 169, 254].into()), "{url}");
    }
}

#[test]
fn what_a_kind_does_not_know_is_left_out() {
    let settings = of(json!({"url": "icmp://x", "method": "GET", "count": 3, "timeout": 2, "dns": {"type": "A"}}));
    let known = only_known(settings, Kind::Icmp);
    assert_eq!(serde_json::to_value(known).unwrap(), json!({"name": "e", "url": "icmp://x", "count": 3, "timeout": 2}));
}
