//! Names that are asked of a configured server: what each of its answers becomes.

use api_monitor::domain::endpoint::Origin;
use api_monitor::domain::outbound::OutboundPolicy;
use api_monitor::domain::outcome::FailureKind;
use api_monitor::outbound::Outbound;

use crate::name_server::{NameServer, Reply, address};

fn asking(server: &NameServer) -> Outbound {
    Outbound::new(Some(server.address), OutboundPolicy::default()).unwrap()
}

async fn found(outbound: &Outbound, name: &str) -> Vec<String> {
    let found = outbound.resolve(name, Origin::Config).await.unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_name_has_the_addresses_of_both_families() {
    let server = NameServer::start(|name, _| match name {
        "both.example" => Reply::Addresses(vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]),
        "six.example" => address("2001:db8::1"),
        "alias.example" => Reply::Alias("meant.example", "127.0.0.3".parse().unwrap()),
        "many.example" => Reply::Long((0..60).map(|n| [127, 0, 1, n].into()).collect()),
        _ => Reply::Code(3),
    })
    .await;
    let outbound = asking(&server);
    assert_eq!(found(&outbound, "both.example").await, ["127.0.0.1", "::1"]);
    assert_eq!(found(&outbound, "six.example").await, ["2001:db8::1"]);
    assert_eq!(found(&outbound, "alias.example").await, ["127.0.0.3"]);
    assert_eq!(found(&outbound, "many.example").await.len(), 60, "by TCP");
    assert_eq!(found(&outbound, "192.0.2.1").await, ["192.0.2.1"]);
    assert!(found(&outbound, "localhost").await.contains(&"127.0.0.1".to_owned()));
    assert_eq!((server.asked("192.0.2.1"), server.asked("localhost")), (0, 0));
}

#[tokio::test]
async fn nothing_is_kept_of_an_answer() {
    let server =
        NameServer::start(|_, before| Reply::Addresses(vec![[127, 0, 0, u8::try_from(before).unwrap()].into()]));
    let server = server.await;
    let outbound = asking(&server);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        seen.extend(found(&outbound, "shop.example").await);
    }
    assert!(seen.len() >= 3 && server.asked("shop.example") >= 3, "{seen:?}");
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart() {
    let server = NameServer::start(|name, _| match name {
        "missing.example" => Reply::Code(3),
        "broken.example" => Reply::Code(2),
        "closed.example" => Reply::Code(5),
        "silent.example" => Reply::Silence,
        _ => Reply::Addresses(Vec::new()),
    })
    .await;
    let outbound = asking(&server);
    let resolver = server.address;
    let looked_up = |name, why| format!("The name {name} could not be looked up: the resolver {resolver} {why}");
    for (name, kind, message) in [
        ("missing.example", FailureKind::DnsNxdomain, "The name missing.example does not exist (NXDOMAIN)".to_owned()),
        ("empty.example", FailureKind::DnsNoRecords, "The name empty.example has no address".to_owned()),
        ("broken.example", FailureKind::DnsServfail, looked_up("broken.example", "failed (SERVFAIL)")),
        ("closed.example", FailureKind::DnsRefused, looked_up("closed.example", "refuses to answer (REFUSED)")),
        ("silent.example", FailureKind::DnsTimeout, looked_up("silent.example", "did not answer within 4 s")),
    ] {
        let failure = outbound.resolve(name, Origin::Config).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        // A machine that is very slow meets the bound of the whole lookup first.
        let message_of_the_bound = message.replace("4 s", "5 s");
        assert!([message, message_of_the_bound].contains(&failure.message), "{}", failure.message);
    }
    let too_long = format!("{}.example", "x".repeat(64));
    assert_eq!(outbound.resolve(&too_long, Origin::Config).await.unwrap_err().kind, FailureKind::DnsNxdomain);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let outbound = Outbound::new(Some(nobody), OutboundPolicy::default()).unwrap();
    let failure = outbound.resolve("shop.example", Origin::Config).await.unwrap_err();
    assert!([FailureKind::DnsServfail, FailureKind::DnsTimeout].contains(&failure.kind), "{failure:?}");
    assert!(failure.message.contains(&nobody.to_string()), "{}", failure.message);
}
