//! What is made through the API does not reach what the outbound policy refuses. A listener at a denied address of this
//! machine counts: it stands for every place that must not even see a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Platform;
use crate::name_server::{NameServer, Reply, address};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// A server at a loopback address that counts who connects. `/to/<url>` redirects there.
struct Target {
    port: u16,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Target {
    async fn at(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind((host, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = match path.strip_prefix("/to/") {
                    None => OK.to_owned(),
                    Some(url) => format!(
                        "HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    ),
                };
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { port, connections, _task: task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Makes an endpoint without retries that is not checked again by itself for a day.
async fn make(platform: &Platform, name: &str, url: &str) -> i64 {
    let settings = json!({"name": name, "url": url, "interval": 86400, "timeout": 20, "retry": {"enabled": false}});
    let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201).json();
    made["id"].as_i64().unwrap()
}

/// A check by hand, or the first one where that is still under way.
async fn check(platform: &Platform, id: i64) -> Value {
    let made = platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &json!({"use_retry": true})).await;
    made.expect(200).json()
}

async fn id_of(platform: &Platform, name: &str) -> i64 {
    platform.get(&format!("/api/v1/endpoints/by-key/{name}")).await.expect(200).json()["id"].as_i64().unwrap()
}

#[track_caller]
fn assert_refused(checked: &Value, why: &str) {
    assert_eq!(checked["failure_kind"], "outbound_refused", "{checked}");
    assert_eq!(checked["status_code"], Value::Null, "{checked}");
    let message = checked["error_message"].as_str().unwrap();
    assert!(message.starts_with("The policy for what is made through the API refuses to connect"), "{message}");
    assert!(message.contains(why), "{message}");
}

#[tokio::test]
async fn an_endpoint_of_the_api_does_not_reach_169_254_169_254() {
    let target = Target::at("127.0.0.1", 0).await;
    let names = NameServer::start(|name, before| match name {
        "turning.example" if before.is_multiple_of(2) => address("127.0.0.1"),
        "metadata.example" | "turning.example" => address("169.254.169.254"),
        "mapped.example" => address("::ffff:169.254.169.254"),
        "shop.example" => Reply::Addresses(vec!["169.254.169.254".parse().unwrap(), "127.0.0.1".parse().unwrap()]),
        _ => Reply::Code(3),
    })
    .await;
    let platform = Platform::start(&format!("resolver: {}\nendpoints: []\n", names.address));

    // Written as an address, however: refused when it is made.
    for host in ["169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "[::ffff:169.254.169.254]"] {
        let settings = json!({"name": "literal", "url": format!("http://{host}/latest/meta-data/")});
        let refused = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(400).json();
        assert_eq!(refused["errors"][0]["pointer"], "/url", "{refused}");
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("may connect"), "{refused}");
    }

    // A scheme that is not examined is refused as well, and where it is redirected to nothing is read.
    let settings = json!({"name": "file", "url": "file:///etc/passwd"});
    platform.send("POST", "/api/v1/endpoints", &settings).await.expect(400);
    let id = make(&platform, "to file", &format!("http://127.0.0.1:{}/to/file:///etc/passwd", target.port)).await;
    assert_eq!(check(&platform, id).await["failure_kind"], "http_protocol");

    // By name.
    for host in ["metadata.example", "mapped.example"] {
        let id = make(&platform, host, &format!("http://{host}/latest/meta-data/")).await;
        assert_refused(&check(&platform, id).await, &format!("to {host}: "));
        let patch = json!({"url": "http://169.254.169.254/"});
        platform.send("PATCH", &format!("/api/v1/endpoints/{id}"), &patch).await.expect(400);
    }

    // By redirect, to the address and to the name.
    for (name, to) in [("to address", "169.254.169.254"), ("to name", "metadata.example")] {
        let url = format!("http://127.0.0.1:{}/to/http://{to}/latest/", target.port);
        let before = target.connections();
        let id = make(&platform, name, &url).await;
        assert_refused(&check(&platform, id).await, "169.254.169.254");
        assert!(target.connections() > before, "the redirect was asked for");
    }

    // By an answer that changes from one question to the next: each check goes where it looked, or nowhere.
    let id = make(&platform, "turning", &format!("http://turning.example:{}/", target.port)).await;
    let (mut up, mut refused) = (0, 0);
    for _ in 0..8 {
        let checked = check(&platform, id).await;
        if checked["outcome"] == "up" {
            up += 1;
        } else {
            assert_refused(&checked, "to turning.example: 169.254.169.254 is an address at which a cloud tells");
            refused += 1;
        }
    }
    assert!(up > 0 && refused > 0, "{up} up, {refused} refused");

    // Of several addresses the one that is allowed.
    let id = make(&platform, "both", &format!("http://shop.example:{}/", target.port)).await;
    assert_eq!(check(&platform, id).await["outcome"], "up");
}

#[tokio::test]
async fn nothing_of_the_api_connects_to_a_denied_address_and_configured_endpoints_do() {
    let allowed = Target::at("127.0.0.1", 0).await;
    let denied = Target::at("127.0.0.9", allowed.port).await;
    let port = allowed.port;
    let names = NameServer::start(|name, before| match name {
        "turning.example" if before % 2 == 0 => address("127.0.0.1"),
        "turning.example" | "denied.example" => address("127.0.0.9"),
        _ => Reply::Code(3),
    })
    .await;
    let resolver = names.address;
    // Without the denied network these endpoints are made, as they may have been before it was denied.
    let mut platform = Platform::start(&format!("resolver: {resolver}\nendpoints: []\n"));
    let urls = [
        ("address", format!("http://127.0.0.9:{port}/")),
        ("number", format!("http://0x7f000009:{port}/")),
        ("mapped", format!("http://[::ffff:127.0.0.9]:{port}/")),
        ("name", format!("http://denied.example:{port}/")),
        ("redirect", format!("http://127.0.0.1:{port}/to/http://127.0.0.9:{port}/")),
        ("redirect by name", format!("http://127.0.0.1:{port}/to/http://denied.example:{port}/")),
    ];
    for (name, url) in &urls {
        let id = make(&platform, name, url).await;
        assert_eq!(check(&platform, id).await["outcome"], "up", "{name}");
    }
    assert!(denied.connections() >= urls.len());

    let own = "endpoints: [{name: own, url: 'http://denied.example:PORT/', interval: 86400}]"
        .replace("PORT", &port.to_string());
    platform = {
        let Platform { folder, process, .. } = platform;
        drop(process);
        let yaml = format!("resolver: {resolver}\noutbound: {{deny: [127.0.0.9]}}\n{own}\n");
        std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
        Platform::start_in(folder, &[])
    };
    let own = id_of(&platform, "own").await;
    assert_eq!(check(&platform, own).await["outcome"], "up", "the operator's own goes anywhere");
    let by_own = denied.connections();
    for (name, _) in &urls {
        let id = id_of(&platform, &name.replace(' ', "%20")).await;
        assert_refused(&check(&platform, id).await, "is in 127.0.0.9/32, which `outbound.deny` names");
    }
    let turning = make(&platform, "turning", &format!("http://turning.example:{port}/")).await;
    for _ in 0..6 {
        let checked = check(&platform, turning).await;
        assert!(checked["outcome"] == "up" || checked["failure_kind"] == "outbound_refused", "{checked}");
    }
    assert_eq!(denied.connections(), by_own, "refused before anything connects");
}

#[tokio::test]
async fn private_addresses_are_refused_when_they_are_not_allowed() {
    let target = Target::at("127.0.0.1", 0).await;
    let url = format!("http://127.0.0.1:{}/", target.port);
    let platform = Platform::start(&format!(
        "outbound: {{allow_private: false}}\nendpoints: [{{name: own, url: '{url}', interval: 86400}}]\n"
    ));
    let own = id_of(&platform, "own").await;
    assert_eq!(check(&platform, own).await["outcome"], "up");
    let before = target.connections();
    for (name, url) in [("literal", url.clone()), ("localhost", format!("http://localhost:{}/", target.port))] {
        let id = make(&platform, name, &url).await;
        assert_refused(&check(&platform, id).await, "is a private address");
    }
    assert_eq!(target.connections(), before);
    let settings = platform.get("/api/v1/config").await.expect(200).json();
    assert_eq!(settings["settings"]["outbound.allow_private"]["value"], false, "{settings}");
}

/// Every sort of channel that connects.
fn channels(host: &str, port: u16) -> [(&'static str, &'static str, Value); 4] {
    let url = format!("http://{host}:{port}/hook");
    let bare = host.trim_matches(['[', ']']);
    [
        ("webhook", "/url", json!({"type": "webhook", "url": url, "retry_count": 1})),
        ("slack", "/url", json!({"type": "slack", "url": url})),
        ("telegram", "/api_url", json!({"type": "telegram", "bot_token": "1:A", "chat_id": "1", "api_url": url})),
        (
            "mail",
            "/smtp_host",
            json!({"type": "email", "smtp_host": bare, "smtp_port": port, "smtp_use_tls": false,
                   "from_addr": "monitor@example.com", "to_addrs": ["ops@example.com"]}),
        ),
    ]
}

#[tokio::test]
async fn a_channel_of_the_api_does_not_reach_169_254_169_254_nor_what_is_denied() {
    let allowed = Target::at("127.0.0.1", 0).await;
    let denied = Target::at("127.0.0.9", allowed.port).await;
    let names = NameServer::start(|name, before| match name {
        "metadata.example" => address("169.254.169.254"),
        "denied.example" => address("127.0.0.9"),
        "turning.example" if before % 2 == 0 => address("127.0.0.1"),
        "turning.example" => address("127.0.0.9"),
        _ => Reply::Code(3),
    })
    .await;
    let port = allowed.port;
    let own = format!("channels: {{own: {{type: webhook, url: 'http://denied.example:{port}/', default: false}}}}");
    let platform = Platform::start(&format!(
        "resolver: {}\noutbound: {{deny: [127.0.0.9]}}\nendpoints: []\npublic_url: http://localhost\n{own}\n",
        names.address
    ));
    let test = async |name: &str| {
        let request = platform.request("POST", &format!("/api/v1/channels/{name}/test"));
        platform.ask(request).await.expect(200).json()
    };

    for host in ["169.254.169.254", "[::ffff:169.254.169.254]"] {
        for (sort, pointer, mut settings) in channels(host, port) {
            settings["name"] = json!(sort);
            let refused = platform.send("POST", "/api/v1/channels", &settings).await.expect(400).json();
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{sort}: {refused}");
        }
    }
    for (host, why) in [
        ("metadata.example", "169.254.169.254 is an address at which a cloud tells"),
        ("denied.example", "127.0.0.9 is in 127.0.0.9/32"),
        ("127.0.0.9", "127.0.0.9 is in 127.0.0.9/32"),
        ("[::ffff:127.0.0.9]", "127.0.0.9, is in 127.0.0.9/32"),
    ] {
        for (sort, _, mut settings) in channels(host, port) {
            let path = format!("/api/v1/channels/{sort}");
            settings["name"] = json!(sort);
            platform.send("POST", "/api/v1/channels", &settings).await.expect(201);
            let tested = test(sort).await;
            assert_eq!(tested["delivered"], false, "{sort}: {tested}");
            let error = tested["error"].as_str().unwrap();
            assert!(
                error.contains("The policy for what is made through the API refuses to connect"),
                "{sort}: {error}"
            );
            assert!(error.contains(why), "{sort}: {error}");
            platform.ask(platform.request("DELETE", &path)).await.expect(204);
        }
    }
    assert_eq!(denied.connections(), 0, "refused before anything connects");

    // An answer that changes, and a redirect, which no message follows.
    for (name, url) in [
        ("turning", format!("http://turning.example:{port}/")),
        ("redirect", format!("http://127.0.0.1:{port}/to/http://127.0.0.9:{port}/")),
    ] {
        for turn in 0..4 {
            let name = format!("{name}{turn}");
            let settings = json!({"name": name, "type": "webhook", "url": url, "retry_count": 1});
            platform.send("POST", "/api/v1/channels", &settings).await.expect(201);
            test(&name).await;
        }
    }
    assert!(allowed.connections() > 0);
    assert_eq!(denied.connections(), 0, "nor by an answer that changes or by a redirect");

    assert_eq!(test("own").await["delivered"], true, "the operator's own goes anywhere");
    assert_eq!(denied.connections(), 1);
}
