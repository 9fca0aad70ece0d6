//! `api.cors`, `api.tls`, `api.rate_limit` and `api.trusted_proxies`.

use api_monitor::config::{CorsConfig, Origins, RateLimitConfig};

use super::{errors, good, yaml};

#[test]
fn limits_are_on_unless_they_are_switched_off() {
    let limit = |text: &str| good(text).api.rate_limit.map(|l| (l.requests_per_minute, l.burst));
    for (text, rates) in [
        ("api: {port: 1}", Some((600, 100))),
        ("api: {rate_limit: true}", Some((600, 100))),
        ("api: {rate_limit: {requests_per_minute: 60}}", Some((60, 100))),
        ("api: {rate_limit: {burst: 5}}", Some((600, 5))),
        ("api: {rate_limit: null}", None),
        ("api: {rate_limit: false}", None),
        ("api: {rate_limit: 0}", None),
        ("api: {rate_limit: {requests_per_minute: 0}}", None),
    ] {
        assert_eq!(limit(text), rates, "{text}");
    }
    let by_variable =
        |value: &str| yaml("api: {port: 1}").env("API_MONITOR__API__RATE_LIMIT", value).good("config.yaml");
    assert_eq!(by_variable("false").api.rate_limit, None);
    let case = yaml("api: {port: 1}").env("API_MONITOR__API__RATE_LIMIT__BURST", "7");
    let expected = RateLimitConfig { requests_per_minute: 600, burst: 7 };
    assert_eq!(case.good("config.yaml").api.rate_limit, Some(expected));
}

#[test]
fn pages_from_elsewhere_are_let_in_as_written() {
    assert_eq!(good("api: {cors: {allow_origins: ['https://a.example']}}").api.cors, None);
    let cors =
        |text: &str| -> CorsConfig { good(&format!("api: {{cors: {{enabled: true, {text}}}}}")).api.cors.unwrap() };
    let listed = cors("allow_origins: ['https://a.example', 'http://LOCALHOST:3000'], allow_credentials: true");
    assert_eq!(
        listed.origins,
        Origins::Listed(vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()])
    );
    assert!(listed.credentials);
    assert!(listed.headers.unwrap().iter().any(|name| name == "x-api-key"));
    let any = cors("allow_origins: ['*'], allow_methods: ['*'], allow_headers: ['*']");
    assert_eq!(any, CorsConfig { origins: Origins::Any, credentials: false, methods: None, headers: None });
}

#[test]
fn mistaken_keys_of_serving_are_told_where_they_are() {
    snapshot!(errors(
        r#"
api:
  cors:
    enabled: true
    allow_origins: ["https://a.example/", "a.example", "null", "https://a.example/path"]
    allow_methods: ["GE T"]
    allow_headers: ["X Y"]
  tls: {cert_file: cert.pem}
  rate_limit: {requests_per_minute: 2000000, burst: 0, per_hour: 5}
  trusted_proxies: [10.0.0.0/33, proxy.example, 10.0.0.1]
"#
    ));
}

#[test]
fn what_cannot_work_is_a_warning() {
    let config = good(
        "api: {cors: {enabled: true, allow_credentials: true, allow_origins: ['*']}, trusted_proxies: [0.0.0.0/0, 10.1.2.3/8, fd00::1]}",
    );
    assert!(!config.api.cors.unwrap().credentials);
    let networks: Vec<_> = config.api.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["0.0.0.0/0", "10.0.0.0/8", "fd00::1/128"]);
    let told: Vec<_> = config.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(told, ["api.cors.allow_credentials", "api.trusted_proxies.0"]);
    let nobody = good("api: {cors: {enabled: true}}");
    assert_eq!(nobody.warnings[0].path, "api.cors.enabled");
}
