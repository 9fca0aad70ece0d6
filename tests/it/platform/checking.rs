//! `api-monitor check`: everything that is seen is told, in text and as JSON, and nothing that is secret.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use super::failing::{Authority, Server, Then, free_port};
use super::kinds::World;
use crate::cli::process::{Ended, Running};
use crate::name_server::{NameServer, Reply, address};

async fn check(folder: &Path, arguments: &[&str]) -> Ended {
    let all: Vec<String> =
        ["--config", "config.yaml", "check"].iter().chain(arguments).map(|one| (*one).to_owned()).collect();
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Running::start(&folder, &all).wait(Duration::from_secs(60))
    })
    .await
    .unwrap()
}

/// Without what is different each time.
fn normalised(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, instead) in [
        (r" *\d+\.\d\d ms( +[█▏▎▍▌▋▊▉]+)?", " T ms"),
        (r"(dns|connect|tls|first byte|transfer) \d+\.\d\d", "$1 T"),
        (r"(127\.0\.0\.\d|\w+\.example):\d+", "$1:PORT"),
        (r"\[CONNECT_TIME\] \([\d.]+\)", "[CONNECT_TIME] (T)"),
        (r"\b[0-9a-f]{64}\b", "SHA"),
        (r"(in )?\d{5,} days( ago)?", "FAR"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

/// Whether a value is as the schema says, as far as the schema of these reports goes.
fn mistakes(schema: &Value, part: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = part["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return mistakes(schema, &schema["$defs"][name], value, at);
    }
    if let Some(all) = part["oneOf"].as_array() {
        let fits = all.iter().any(|one| mistakes(schema, one, value, at).is_empty());
        return if fits { Vec::new() } else { vec![format!("{at}: none of oneOf: {value}")] };
    }
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let fits = match &part["type"] {
        Value::Null => true,
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        other => panic!("{other}"),
    };
    if !fits {
        return vec![format!("{at}: {value} is not {}", part["type"])];
    }
    let mut all = Vec::new();
    for (i, item) in value.as_array().into_iter().flatten().enumerate().filter(|_| part["items"].is_object()) {
        all.extend(mistakes(schema, &part["items"], item, &format!("{at}/{i}")));
    }
    if let (Some(known), Some(fields)) = (part["properties"].as_object(), value.as_object()) {
        for name in part["required"].as_array().unwrap() {
            if !fields.contains_key(name.as_str().unwrap()) {
                all.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, field) in fields {
            match known.get(name) {
                Some(known) => all.extend(mistakes(schema, known, field, &format!("{at}/{name}"))),
                None => all.push(format!("{at}: {name} is not in the schema")),
            }
        }
    }
    all
}

fn by_the_schema(printed: &str) -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let value: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(mistakes(&schema, &schema, &value, ""), Vec::<String>::new(), "{value:#}");
    value
}

const PASSWORD: &str = "pass-of-the-url";
const TOKEN: &str = "token-of-the-query";
const HEADER: &str = "value-of-the-header";
const AUTH: &str = "bearer-of-the-endpoint";

/// An endpoint that says everything there is: two addresses, a redirect, TLS, conditions, and secrets that come back.
#[tokio::test]
async fn everything_that_was_seen_is_told_and_no_secret() {
    let names = NameServer::start(|name, _| match name {
        "half.example" => Reply::Addresses(["127.0.0.2", "127.0.0.1"].map(|ip| ip.parse().unwrap()).to_vec()),
        _ => address("127.0.0.1"),
    })
    .await;
    let root = Authority::new("Test Root");
    let middle = root.subordinate("Test Intermediate");
    let mut identity = middle.issue("shop.example", -40, 83);
    identity.chain.push(middle.der.clone());
    let body = format!("{{\"status\": \"degraded\", \"load\": 9, \"echo\": \"{AUTH} {HEADER} {TOKEN} {PASSWORD}\"}}");
    let page = format!("HTTP/1.1 200 OK\r\nx-api-key: {HEADER}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let shop = Server::secure(&identity, page).await;
    let location = format!("https://shop.example:{}/final?token={TOKEN}", shop.port());
    let first = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let first = Server::answering(first, Then::Close).await;

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &root.pem).unwrap();
    let endpoint = json!({
        "name": "shop", "url": format!("http://user:{PASSWORD}@half.example:{}/?token={TOKEN}", first.port()),
        "resolver": names.address.to_string(), "timeout": "20s", "retry": {"enabled": false},
        "headers": {"X-Api-Key": HEADER, "Authorization": format!("Bearer {AUTH}")}, "tls": {"ca_file": "ca.pem"},
        "conditions": ["[STATUS] == 200", "[BODY].status == ok", "[HEADER].x-api-key != x"],
        "degraded_unless": ["[BODY].load < 5"],
    });
    std::fs::write(folder.path().join("config.yaml"), json!({"endpoints": [endpoint]}).to_string()).unwrap();

    let told = check(folder.path(), &["shop"]).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(1), ""), "{}", told.stdout);
    insta::assert_snapshot!("everything", normalised(&told.stdout));
    assert!(told.stdout.contains('█') || told.stdout.contains('▏'), "a bar of time: {}", told.stdout);

    let as_json = check(folder.path(), &["shop", "--json"]).await;
    assert_eq!(as_json.code, Some(1), "{}", as_json.stderr);
    let seen = by_the_schema(&as_json.stdout);
    assert_eq!(seen["outcome"], "down");
    assert_eq!(seen["failure_kind"], "condition_failed");
    assert_eq!(seen["why"], "[BODY].status was \"degraded\", expected \"ok\"");
    let refused = seen["dialled"][0]["failure"].as_str().unwrap();
    assert!(refused.starts_with("Connection refused by 127.0.0.2"), "{seen}");
    assert_eq!((&seen["dialled"][1]["failure"], seen["dialled"].as_array().unwrap().len()), (&Value::Null, 3));
    assert_eq!((&seen["tls"]["version"], &seen["hops"][0]["status_code"]), (&json!("TLS 1.3"), &json!(302)));
    assert_eq!(seen["hops"][0]["timings"]["tls_ms"], Value::Null, "of this hop alone");
    assert!(seen["hops"][1]["timings"]["tls_ms"].is_number() && seen["hops"][1]["timings"]["dns_ms"].is_number());
    let sum = |key: &str| (0..2).filter_map(|i| seen["hops"][i]["timings"][key].as_f64()).sum::<f64>();
    for key in ["dns_ms", "connect_ms", "tls_ms", "first_byte_ms"] {
        let whole = seen["timings"][key].as_f64().unwrap();
        assert!((sum(key) - whole).abs() < 0.1, "{key}: {} of {whole}", sum(key));
    }
    assert_eq!(seen["certificate"]["expires_in_days"], 83);
    assert_eq!(seen["issuers"][0]["subject"], "CN=Test Intermediate");
    let conditions: Vec<_> = seen["conditions"].as_array().unwrap().iter().map(|one| one["success"].clone()).collect();
    assert_eq!(conditions, [true, false, true, false]);
    for secret in [PASSWORD, TOKEN, HEADER, AUTH] {
        for printed in [&told.stdout, &as_json.stdout] {
            assert!(!printed.contains(secret), "{secret}: {printed}");
        }
    }
}

/// Secrets that are no settings, or are sent in other forms.
#[tokio::test]
async fn tokens_and_logins_are_not_told_either() {
    // It says again whatever was sent to it.
    let servers = echoing(|request| {
        let (status, body) = if request.starts_with("POST /token") {
            let token = r#"{"access_token": "token-that-was-given", "token_type": "Bearer", "expires_in": 60}"#;
            ("200 OK", token.to_owned())
        } else {
            ("500 Oops", format!("you sent: {request}"))
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    })
    .await;
    let url = format!("http://{}", servers.address);
    let folder = tempfile::tempdir().unwrap();
    let oauth2 =
        json!({"token_url": format!("{url}/token"), "client_id": "me", "client_secret": "secret-of-the-client"});
    let proxy = format!("http://me:pass-of-the-proxy@{}", servers.address);
    let endpoints = json!({"defaults": {"retry": {"enabled": false}}, "endpoints": [
        {"name": "oauth2", "url": url, "auth": {"oauth2": oauth2}},
        {"name": "basic", "url": url, "auth": {"basic": {"username": "me", "password": "pass-of-the-basic"}}},
        {"name": "proxy", "url": url, "proxy": proxy},
    ]});
    std::fs::write(folder.path().join("config.yaml"), endpoints.to_string()).unwrap();
    for (name, secret) in [
        ("oauth2", "token-that-was-given"),
        ("basic", "bWU6cGFzcy1vZi10aGUtYmFzaWM="),
        ("proxy", "bWU6cGFzcy1vZi10aGUtcHJveHk="),
    ] {
        for form in [&[name][..], &[name, "--json"]] {
            let told = check(folder.path(), form).await;
            assert_eq!(told.code, Some(1), "{} {}", told.stdout, told.stderr);
            assert!(told.stdout.contains("you sent") && told.stdout.contains("***"), "{name}: {}", told.stdout);
            assert!(!told.stdout.contains(secret) && !told.stdout.contains("pass-of"), "{name}: {}", told.stdout);
        }
    }
    let told = check(folder.path(), &["proxy"]).await.stdout;
    assert!(told.contains(&format!(", the proxy {}", servers.address)), "{told}");
}

async fn echoing(answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Server {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    Server::start(move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut request = vec![0; 16_384];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            drop(stream.write_all(answer(&request).as_bytes()).await);
            drop(stream.shutdown().await);
        }
    })
    .await
}

#[tokio::test]
async fn every_kind_is_told_in_its_own_words() {
    let world = World::start().await;
    let ca_file = world.folder.path().join("ca.pem");
    let nobody = free_port().await;
    let endpoints = json!({"defaults": {"timeout": "10s", "retry": {"enabled": false}}, "endpoints": [
        {"name": "tcp", "url": format!("tcp://{}", world.cache.address), "send": "PING\r\n", "expect": "+PONG"},
        {"name": "listened", "url": format!("tcp://{}", world.cache.address), "send": "PING\r\n",
            "conditions": ["[BODY] == contains(PONG)"], "degraded_unless": ["[CONNECT_TIME] < 10s"]},
        {"name": "tls", "url": format!("tls://{}", world.encrypted.address), "tls": {"ca_file": ca_file}},
        {"name": "websocket", "url": format!("ws://{}", world.socket.address)},
        {"name": "grpc", "url": format!("grpc://{}", world.health.address)},
        {"name": "dns", "url": format!("dns://{}/shop.example", world.names.address)},
        {"name": "gone", "url": format!("dns://{}/gone.example", world.names.address)},
        {"name": "refused", "url": format!("tcp://127.0.0.1:{nobody}")},
    ]});
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), endpoints.to_string()).unwrap();
    let mut all = String::new();
    for name in ["tcp", "listened", "tls", "websocket", "grpc", "dns", "gone", "refused"] {
        let told = check(folder.path(), &[name]).await;
        let code = i32::from(matches!(name, "gone" | "refused"));
        assert_eq!(told.code, Some(code), "{name}: {} {}", told.stdout, told.stderr);
        writeln!(all, "--- {name}\n{}", normalised(&told.stdout)).unwrap();
        let seen = by_the_schema(&check(folder.path(), &[name, "--json"]).await.stdout);
        assert_eq!(seen["outcome"], if code == 0 { "up" } else { "down" }, "{name}: {seen}");
    }
    insta::assert_snapshot!("kinds", all);
}
