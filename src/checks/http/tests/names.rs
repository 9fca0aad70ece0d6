//! Looking names up: the kinds of failure, and the phase.

use super::*;

async fn with_lookup(lookup: Lookup, spec: &CheckSpec) -> Observation {
    examine(&checker(lookup), spec).await
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_told_as_the_lookup_says() {
    for kind in [FailureKind::DnsNxdomain, FailureKind::DnsServfail, FailureKind::DnsTimeout] {
        let failure = Failure::new(kind, "The name shop.example …");
        let lookup: Lookup = Arc::new(move |_| Box::pin(std::future::ready(Err(failure.clone()))));
        let seen = with_lookup(lookup, &spec("https://shop.example/")).await;
        assert_fails(&seen, kind, "The name shop.example …");
        assert!(seen.timings.dns_us.is_some() && seen.timings.connect_us.is_none(), "{:?}", seen.timings);
    }
    let nothing: Lookup = Arc::new(|_| Box::pin(std::future::ready(Ok(Vec::new()))));
    let empty = "The name shop.example has no address";
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
    let seen = examine(&HttpChecker::new(Arc::default()).unwrap(), &spec(&url)).await;
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
