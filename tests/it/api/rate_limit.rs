//! How often clients may ask, by key and by address, and how fast keys can be guessed.

use std::time::Duration;

use crate::app::{Answer, TestApp};

const FAR: &str = "198.51.100.7";

async fn ask(app: &TestApp, path: &str, peer: &str, key: Option<&str>) -> Answer {
    let call = app.call("GET", path).from(peer.parse().unwrap());
    match key {
        Some(key) => call.header("x-api-key", key).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn an_address_has_its_budget_and_is_told_of_it() {
    let app = TestApp::with_config("api: {port: 0, rate_limit: {requests_per_minute: 60, burst: 3}}\n").await;
    let told = |answer: &Answer| {
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"]
            .map(|n| answer.header(n).to_owned())
    };
    for (remaining, reset) in [("2", "1"), ("1", "2"), ("0", "3")] {
        let answer = ask(&app, "/", FAR, None).await;
        assert_eq!(answer.status, 200);
        assert_eq!(told(&answer), ["3", remaining, reset, ""]);
    }
    let refused = ask(&app, "/", FAR, None).await;
    refused.problem(429, "rate-limited");
    assert_eq!(told(&refused), ["3", "0", "3", "1"]);
    assert_eq!(app.ctx.metrics.requests_limited.get(), 1);
    assert_eq!(ask(&app, "/", "198.51.100.8", None).await.status, 200, "another address has a budget of its own");
    for path in ["/health", "/health/live", "/health/ready"] {
        let probe = ask(&app, path, FAR, None).await;
        assert_eq!((probe.status.as_u16(), probe.header("ratelimit-limit")), (200, ""), "{path}");
    }
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&app, "/", FAR, None).await.status, 200);
    assert_eq!(ask(&app, "/nothing", FAR, None).await.status, 429, "routes that are not there count too");

    // One customer's network, and what is called by two names.
    for (burst, addresses) in [
        (3, ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3", "2001:db8:1:2::4"]),
        (3, ["203.0.113.1", "::ffff:203.0.113.1", "203.0.113.1", "203.0.113.1"]),
    ] {
        for (n, address) in addresses.into_iter().enumerate() {
            assert_eq!(ask(&app, "/", address, None).await.status == 429, n >= burst, "{address}");
        }
    }
    assert_eq!(ask(&app, "/", "2001:db8:1:3::1", None).await.status, 200);
}

#[tokio::test]
async fn without_a_key_programs_on_this_machine_are_not_limited() {
    let app = TestApp::with_config("api: {port: 0, rate_limit: {burst: 1}}\n").await;
    for _ in 0..5 {
        let answer = app.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (200, ""));
    }
    let proxied = async || app.call("GET", "/").header("x-forwarded-for", "203.0.113.1").send().await.status;
    assert_eq!((proxied().await.as_u16(), proxied().await.as_u16()), (200, 429), "a proxy on this machine is");
}

#[tokio::test]
async fn a_key_has_its_budget_from_wherever_it_is_used() {
    let app = TestApp::with_config("api: {port: 0, auth: {api_key: good}, rate_limit: {burst: 3}}\n").await;
    for peer in ["198.51.100.1", "198.51.100.2", "127.0.0.1"] {
        assert_eq!(ask(&app, "/", peer, Some("good")).await.status, 200);
    }
    ask(&app, "/", "198.51.100.3", Some("good")).await.problem(429, "rate-limited");
    ask(&app, "/", "198.51.100.3", None).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn guessing_keys_is_slow_even_for_the_one_that_guesses_right() {
    let app = TestApp::with_config("api: {port: 0, auth: {api_key: good}}\n").await;
    let (known, new) = ("198.51.100.7", "198.51.100.8");
    assert_eq!(ask(&app, "/", known, Some("good")).await.status, 200);
    for peer in [known, new] {
        let mut refused = 0;
        for _ in 0..20 {
            refused += u32::from(ask(&app, "/", peer, Some("wrong")).await.status == 429);
        }
        assert!(refused >= 10, "{peer}: {refused}");
        // Where the key does not matter the guess counts as well.
        ask(&app, "/openapi.json", peer, Some("wrong")).await.problem(429, "rate-limited");
        assert_eq!(ask(&app, "/", peer, None).await.status, 401, "without a key nothing is guessed");
    }
    let right = ask(&app, "/", new, Some("good")).await;
    right.problem(429, "rate-limited");
    assert_eq!(right.header("retry-after"), "1");
    assert_eq!(ask(&app, "/", known, Some("good")).await.status, 200, "who used the key before goes on");
    app.clock.advance(Duration::from_secs(2));
    assert_eq!(ask(&app, "/", new, Some("good")).await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_are_counted_one_by_one() {
    let app = TestApp::with_config("api: {port: 0, trusted_proxies: [10.0.0.1], rate_limit: {burst: 1}}\n").await;
    let by = async |peer: &str, client: &str| {
        let call = app.call("GET", "/").from(peer.parse().unwrap());
        call.header("x-forwarded-for", client).send().await.status.as_u16()
    };
    assert_eq!((by("10.0.0.1", "203.0.113.1").await, by("10.0.0.1", "203.0.113.2").await), (200, 200));
    assert_eq!(by("10.0.0.1", "9.9.9.9, 203.0.113.1").await, 429, "the first part is the client's own invention");
    assert_eq!((by("10.0.0.2", "203.0.113.3").await, by("10.0.0.2", "203.0.113.4").await), (200, 429));
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let app = TestApp::with_config("api: {port: 0, rate_limit: false, auth: {api_key: good}}\n").await;
    for _ in 0..150 {
        assert_eq!(ask(&app, "/", FAR, Some("wrong")).await.status, 401);
    }
}
