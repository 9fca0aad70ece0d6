//! Who may ask, how often, and over what.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::Platform;
use crate::cli::process::Running;

const ROLES: [&str; 4] = ["viewer", "operator", "editor", "admin"];

fn key_of(role: &str) -> String {
    format!("the-key-of-whoever-is-{role}")
}

/// Every operation that needs a role: its method, a path of it, and the number of the role.
fn operations(document: &Value) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap() {
            let Some(role) = operation["x-required-role"].as_str() else { continue };
            let role = ROLES.iter().position(|known| *known == role).unwrap();
            found.push((method.to_uppercase(), path.clone(), role));
        }
    }
    found
}

#[tokio::test]
async fn each_role_may_what_the_description_says_and_no_more() {
    let keys: Vec<_> = ROLES.iter().map(|role| json!({"name": role, "role": role, "key": key_of(role)})).collect();
    let api = json!({"rate_limit": false, "auth": {"keys": keys}});
    let platform = Platform::start(&format!("api: {api}\nendpoints: []\n"));
    let document = platform.get("/api/v1/openapi.json").await.expect(200).json();
    let operations = operations(&document);
    assert!(operations.len() > 60, "{}", operations.len());
    let mut refused = 0;
    for (method, path, needed) in operations {
        for (number, role) in ROLES.iter().enumerate() {
            let request = platform.request(&method, &path).header("Authorization", format!("Bearer {}", key_of(role)));
            // Of streams the head is enough.
            let status = request.send().await.unwrap().status();
            // Whether there is such a thing is not said to who may not know.
            let is_refused = status == 403;
            assert_eq!(is_refused, number < needed, "{method} {path} as {role}: {status}");
            assert!(status != 401 && status.as_u16() < 500, "{method} {path} as {role}: {status}");
            refused += usize::from(is_refused);
        }
    }
    assert!(refused > 60, "{refused}");
}

#[tokio::test]
async fn too_many_requests_are_refused_with_the_seconds_to_wait() {
    let keys = "keys: [{name: a, role: viewer, key: key-of-somebody-else}]";
    let limits = "rate_limit: {requests_per_minute: 30, burst: 5}";
    let platform = Platform::start(&format!("api: {{{limits}, auth: {{{keys}}}}}\nendpoints: []\n"));
    let get = async || {
        let request = platform.request("GET", "/api/v1/endpoints").header("X-API-Key", "key-of-somebody-else");
        platform.ask(request).await
    };
    let mut good = 0;
    let refused = loop {
        let answer = get().await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (200, "5"));
        good += 1;
        assert!(good < 50, "it is bounded");
    };
    assert!(good >= 5, "{good}");
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:api-monitor:problem:rate-limited", "{problem}");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "one every 2 s: {wait}");
    // Probes are not counted, and what was said holds.
    platform.get("/health").await.expect(200);
    tokio::time::sleep(Duration::from_secs(wait)).await;
    get().await.expect(200);
}

#[tokio::test]
async fn it_is_served_over_https_only_when_it_has_a_certificate() {
    let folder = tempfile::TempDir::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let yaml = "api: {host: 127.0.0.1, port: 0, tls: {cert_file: cert.pem, key_file: key.pem}}\nendpoints: []\n";
    std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
    let mut process = Running::start_with(folder.path(), &["--config", "config.yaml"], &[("LOG_FORMAT", "json")]);
    let address = process.address();
    let port = address.rsplit_once(':').unwrap().1;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    #[expect(clippy::disallowed_methods, reason = "the client of the tests")]
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve("localhost", ([127, 0, 0, 1], 0).into())
        .no_proxy()
        .timeout(Duration::from_mins(1))
        .build()
        .unwrap();
    let ask = async |scheme: &str| {
        let url = format!("{scheme}://localhost:{port}/api/v1/endpoints");
        client.request(Method::GET, url).send().await
    };
    let answer = ask("https").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert!(ask("http").await.is_err(), "nothing is answered in the clear");
}

#[tokio::test]
async fn health_says_whether_it_is_and_for_how_long() {
    let platform = Platform::start("endpoints: []\n");
    let first = platform.get("/health").await.expect(200).json();
    assert_eq!(first["status"], "healthy", "{first}");
    let seconds = |health: &Value| health["uptime_seconds"].as_u64().unwrap();
    super::until("time goes by", async || {
        seconds(&platform.get("/health").await.expect(200).json()) >= seconds(&first) + 2
    })
    .await;
    assert!(first["uptime"].as_str().is_some_and(|uptime| !uptime.is_empty()), "{first}");
    assert_eq!(platform.get("/health/live").await.expect(200).json()["status"], "alive");
    assert_eq!(platform.get("/health/ready").await.expect(200).json()["status"], "ready");
}

#[tokio::test]
async fn the_configuration_is_read_with_its_sources_and_without_secrets() {
    let yaml = "logging: {level: INFO}\nchannels: {hook: {type: webhook, url: 'http://127.0.0.1:9/t0ken-of-hook'}}\n";
    let platform = Platform::start(yaml);
    let answer = platform.get("/api/v1/config").await.expect(200);
    let config = answer.json();
    let setting = |key: &str| (config["settings"][key]["value"].clone(), config["settings"][key]["source"].clone());
    assert_eq!(setting("logging.level"), (json!("INFO"), json!("file")));
    assert_eq!(config["logging_level"], "INFO");
    assert_eq!(setting("api.port"), (json!(0), json!("environment")));
    assert!(!String::from_utf8_lossy(&answer.body).contains("t0ken"), "{config}");
}
