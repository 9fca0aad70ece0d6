//! Looking names up: the kinds of failure, and the phase.

use super::*;

async fn with_lookup(lookup: Lookup, spec: &CheckSpec) -> Observation {
    let checker = HttpChecker::looking_up(lookup).unwrap();
    checker.check(spec, Instant::now() + spec.timeout).await
}

/// Fails as the C library does, in the words of Rust's `ToSocketAddrs`.
fn failing(words: &'static str) -> Lookup {
    Arc::new(move |_| {
        let text = format!("failed to lookup address information: {words}");
        Box::pin(std::future::ready(Err(io::Error::other(text))))
    })
}

#[tokio::test]
async fn the_words_of_the_resolver_choose_the_kind() {
    let missing = "The name shop.example does not exist (NXDOMAIN)";
    let empty = "The name shop.example has no address";
    for (words, kind, message) in [
        ("Name or service not known", FailureKind::DnsNxdomain, missing),
        ("Name does not resolve", FailureKind::DnsNxdomain, missing),
        ("No address associated with hostname", FailureKind::DnsNoRecords, empty),
        ("Name has no usable address", FailureKind::DnsNoRecords, empty),
        (
            "Temporary failure in name resolution",
            FailureKind::DnsServfail,
            "The name shop.example could not be looked up: Temporary failure in name resolution",
        ),
        (
            "Non-recoverable failure in name resolution",
            FailureKind::DnsServfail,
            "The name shop.example could not be looked up: Non-recoverable failure in name resolution",
        ),
    ] {
        let seen = with_lookup(failing(words), &spec("https://shop.example/")).await;
        assert_fails(&seen, kind, message);
        assert!(seen.timings.dns_us.is_some() && seen.timings.connect_us.is_none(), "{:?}", seen.timings);
    }
    let nothing: Lookup = Arc::new(|_| Box::pin(std::future::ready(Ok(Vec::new()))));
    assert_fails(&with_lookup(nothing, &spec("http://shop.example/")).await, FailureKind::DnsNoRecords, empty);
}

#[tokio::test]
async fn a_lookup_without_an_answer_times_out_and_is_not_the_connect_timeouts() {
    let silent: Lookup = Arc::new(|_| Box::pin(std::future::pending()));
    let spec = CheckSpec { connect_timeout: Some(Duration::from_millis(10)), ..quick("http://shop.example/") };
    let seen = with_lookup(silent, &spec).await;
    let message = "Request timed out after 300ms while looking up shop.example:80";
    assert_fails(&seen, FailureKind::DnsTimeout, message);
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let server = Server::answering(OK).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let seen = with_lookup(system_lookup(), &spec(&url)).await;
    assert_eq!(seen.failure, None);
    assert!(seen.timings.dns_us.unwrap() > 0 && seen.timings.connect_us.is_some());
    assert_eq!(seen.remote_address, Some(server.address.to_string()));
}

#[tokio::test]
async fn a_refused_name_is_told_with_its_addresses() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let seen = observe(&spec(&format!("http://shop.example:{port}/"))).await;
    let message = format!("Connection refused by shop.example:{port} (127.0.0.1)");
    assert_fails(&seen, FailureKind::ConnectRefused, &message);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::answering(OK).await;
    let two: Lookup = Arc::new(|_| {
        let addresses = vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        Box::pin(std::future::ready(Ok(addresses)))
    });
    let seen = with_lookup(two, &spec(&format!("http://shop.example:{}/", server.address.port()))).await;
    assert_eq!(seen.failure, None);
    assert_eq!(seen.remote_address, Some(server.address.to_string()));
}
