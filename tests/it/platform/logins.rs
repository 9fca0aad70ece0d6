//! Who an endpoint says that it is: sent to its server, shown to nobody, kept where `***` is written back.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Platform;

/// Answers everything with 200 and keeps the heads of what was asked.
struct Server {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                kept.lock().unwrap().push(String::from_utf8_lossy(&head).to_ascii_lowercase());
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
            }
        });
        Self { address, heads, _tasks: tasks }
    }

    fn last(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

async fn check(platform: &Platform, id: &Value) {
    let made = platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &json!({"use_retry": false})).await;
    let made = made.expect(200).json();
    assert_eq!((&made["failure_kind"], &made["status_code"]), (&Value::Null, &json!(200)), "{made}");
}

#[tokio::test]
async fn a_login_is_sent_and_never_shown_and_kept_by_asterisks() {
    let server = Server::start().await;
    let platform = Platform::start("endpoints: []\n");
    let settings = json!({
        "name": "shop", "url": format!("http://{}/", server.address), "interval": "1d",
        "auth": {"bearer": "t0p-secret"}, "resolve": {"shop.example": "127.0.0.1"},
    });
    let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201).json();
    let path = format!("/api/v1/endpoints/{}", made["id"]);
    check(&platform, &made["id"]).await;
    assert!(server.last().contains("authorization: bearer t0p-secret\r\n"), "{}", server.last());

    let shown = platform.get(&path).await.expect(200).json();
    assert_eq!(shown["settings"]["auth"]["bearer"], "***", "{shown}");
    assert_eq!(shown["effective"]["auth"]["bearer"], "***", "{shown}");
    let mut written = shown["settings"].clone();
    written["description"] = "The same".into();
    platform.send("PUT", &path, &written).await.expect(200);
    check(&platform, &made["id"]).await;
    assert!(server.last().contains("authorization: bearer t0p-secret\r\n"), "{}", server.last());

    // To another place, also one that only another address makes it, it is not taken along.
    for (key, value) in [("url", json!("http://127.0.0.1:9/")), ("resolve", json!({"shop.example": "127.0.0.2"}))] {
        let mut moved = written.clone();
        moved[key] = value;
        let refused = platform.send("PUT", &path, &moved).await.expect(400).json();
        assert_eq!(refused["errors"][0]["pointer"], "/auth/bearer", "{refused}");
    }
    for place in ["/api/v1/audit", "/api/v1/config", "/api/v1/endpoints", path.as_str()] {
        let answer = platform.get(place).await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("t0p-secret"), "{place}");
    }
}

#[tokio::test]
async fn the_keys_of_this_machine_are_the_configurations() {
    let platform = Platform::start("endpoints: []\n");
    let tls = json!({"client_cert_file": "/etc/us.pem", "client_key_file": "/etc/us.key"});
    let endpoint = json!({"name": "shop", "url": "https://shop.example/", "tls": tls});
    let group = json!({"name": "core", "interval": 60, "tls": tls});
    for (path, settings) in [("/api/v1/endpoints", endpoint), ("/api/v1/groups", group)] {
        let refused = platform.send("POST", path, &settings).await.expect(400).json();
        let pointers: Vec<&str> =
            refused["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, ["/tls/client_cert_file", "/tls/client_key_file"], "{path}: {refused}");
    }
}
