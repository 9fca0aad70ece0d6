//! Every kind of check, as the running program makes it: from the file, through the API and on the command line, against
//! servers of other makers in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Platform, until};
use crate::cli::process::run;
use crate::name_server::{NameServer, Reply, address};

/// Runs `serve` for each connection, until dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Answers `PING` with `+PONG`, all else with an error.
    async fn cache() -> Self {
        Self::start(cache).await
    }

    async fn web_socket() -> Self {
        Self::start(|stream| async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// The health protocol of gRPC, with the status that is set.
    async fn health(status: Arc<AtomicU8>) -> Self {
        Self::start(move |stream| {
            let status = Arc::clone(&status);
            async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    let message = vec![0, 0, 0, 0, 2, 8, status.load(Ordering::Relaxed)];
                    body.send_data(Bytes::from(message), false).unwrap();
                    let ok = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    body.send_trailers(ok).unwrap();
                }
            }
        })
        .await
    }

    /// The cache, encrypted; with its certificate.
    async fn encrypted() -> (Self, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let pem = certificate.pem();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let server = Self::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    cache(stream).await;
                }
            }
        })
        .await;
        (server, pem)
    }
}

async fn cache(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let answer: &[u8] = if buffer[..length].starts_with(b"PING") { b"+PONG\r\n" } else { b"-ERR unknown\r\n" };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) cache: Server,
    pub(super) encrypted: Server,
    pub(super) socket: Server,
    pub(super) health: Server,
    serving: Arc<AtomicU8>,
    pub(super) names: NameServer,
}

impl World {
    pub(super) async fn start() -> Self {
        let serving = Arc::new(AtomicU8::new(1));
        let (encrypted, pem) = Server::encrypted().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        Self {
            folder,
            cache: Server::cache().await,
            encrypted,
            socket: Server::web_socket().await,
            health: Server::health(Arc::clone(&serving)).await,
            serving,
            names: NameServer::start(|name, _| match name {
                "shop.example" => address("192.0.2.7"),
                "refused.example" => Reply::Code(5),
                _ => Reply::Code(3),
            })
            .await,
        }
    }

    /// Each with its kind, and how it fails.
    fn endpoints(&self) -> Vec<(Value, &'static str, Option<&'static str>)> {
        let ca_file = self.folder.path().join("ca.pem");
        let (cache, encrypted, socket) = (self.cache.address, self.encrypted.address, self.socket.address);
        let (health, names) = (self.health.address, self.names.address);
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        vec![
            (json!({"name": "port", "url": format!("tcp://{cache}")}), "tcp", None),
            (
                json!({"name": "cache", "url": format!("tcp://{cache}"), "send": "PING\r\n", "expect": "+PONG"}),
                "tcp",
                None,
            ),
            (
                json!({"name": "odd cache", "url": format!("tcp://{cache}"), "send": "GET\r\n", "expect": {"regex": "^\\+"}, "timeout": "2s"}),
                "tcp",
                Some("condition_failed"),
            ),
            (json!({"name": "closed", "url": format!("tcp://{nobody}")}), "tcp", Some("connect_refused")),
            (
                json!({"name": "vault", "url": format!("tls://{encrypted}"), "tls": {"ca_file": ca_file}, "send": "PING", "expect": "PONG"}),
                "tls",
                None,
            ),
            (
                json!({"name": "untrusted", "kind": "tls", "url": format!("https://{encrypted}")}),
                "tls",
                Some("tls_untrusted"),
            ),
            (
                json!({"name": "events", "url": format!("ws://{socket}/live"), "send": "hello", "expect": "hello"}),
                "websocket",
                None,
            ),
            (json!({"name": "no events", "url": format!("ws://{nobody}/live")}), "websocket", Some("connect_refused")),
            (json!({"name": "cart", "url": format!("grpc://{health}"), "service": "shop.Cart"}), "grpc", None),
            (json!({"name": "address", "url": format!("dns://{names}/shop.example")}), "dns", None),
            (
                json!({"name": "gone", "dns": {"name": "gone.example", "server": names.to_string()}}),
                "dns",
                Some("dns_nxdomain"),
            ),
            (
                json!({"name": "refused", "dns": {"name": "refused.example", "server": names.to_string(), "transport": "tcp"}}),
                "dns",
                Some("dns_refused"),
            ),
        ]
    }
}

pub(super) async fn named(platform: &Platform, name: &str) -> Value {
    let list = platform.get("/api/v1/endpoints?limit=100").await.expect(200).json();
    let all = list["endpoints"].as_array().unwrap();
    all.iter().find(|endpoint| endpoint["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}")).clone()
}

async fn assert_examined(platform: &Platform, endpoints: &[(Value, &'static str, Option<&'static str>)]) {
    for (settings, kind, failure) in endpoints {
        let name = settings["name"].as_str().unwrap();
        until(&format!("{name} is checked"), async || named(platform, name).await["last_check"].is_object()).await;
        let shown = named(platform, name).await;
        let check = &shown["last_check"];
        assert_eq!((&shown["kind"], &check["failure_kind"]), (&json!(kind), &json!(failure)), "{shown}");
        assert_eq!(check["success"], json!(failure.is_none()), "{shown}");
        assert!(check["response_time"].as_f64().unwrap() > 0.0, "{shown}");
        assert_eq!((&shown["method"], &shown["expected_status"]), (&Value::Null, &Value::Null), "of HTTP only");
        let history = platform.get(&format!("/api/v1/stats/history/{}", shown["id"])).await.expect(200).json();
        let newest = &history["checks"][0];
        assert_eq!(newest["failure_kind"], json!(failure), "{history}");
        assert_eq!(newest["error_message"].is_string(), failure.is_some(), "{history}");
    }
}

#[tokio::test]
async fn every_kind_is_watched_from_the_file() {
    let world = World::start().await;
    let endpoints = world.endpoints();
    let written: Vec<Value> = endpoints.iter().map(|(settings, ..)| settings.clone()).collect();
    let config = json!({"defaults": {"retry": {"enabled": false}, "method": "HEAD"}, "endpoints": written});
    let platform = Platform::start(&config.to_string());
    assert_examined(&platform, &endpoints).await;

    let metrics = String::from_utf8(platform.get("/metrics").await.expect(200).body).unwrap();
    let expiry = "api_monitor_endpoint_certificate_expiry_timestamp_seconds{";
    let shows =
        |name: &str| metrics.lines().any(|line| line.starts_with(expiry) && line.contains(&format!("\"{name}\"")));
    assert!(shows("vault") && shows("untrusted") && !shows("cache"), "{metrics}");

    let modules = platform.get("/api/v1/modules?type=check").await.expect(200).json();
    let used = |name: &str| {
        modules["modules"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap()["in_use"].clone()
    };
    assert_eq!((used("grpc"), used("icmp")), (json!(true), json!(false)), "{modules}");
}

#[tokio::test]
async fn every_kind_is_watched_through_the_api() {
    let world = World::start().await;
    let platform = Platform::start("endpoints: []\n");
    let endpoints = world.endpoints();
    for (settings, kind, _) in &endpoints {
        let mut settings = settings.clone();
        settings["retry"] = json!({"enabled": false});
        let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201).json();
        assert_eq!(made["kind"], *kind, "{made}");
        // What applies can be set as it is shown.
        let mut again = made["effective"].clone();
        again["name"] = json!(format!("{} again", settings["name"].as_str().unwrap()));
        again["is_active"] = json!(false);
        let copy = platform.send("POST", "/api/v1/endpoints", &again).await.expect(201).json();
        let without_name = |mut shown: Value| {
            shown["effective"]["name"] = Value::Null;
            shown["effective"]["is_active"] = Value::Null;
            // Those that always are secret are there beside those that are set.
            shown["effective"]["redact"] = Value::Null;
            shown["effective"].clone()
        };
        assert_eq!(without_name(copy), without_name(made));
    }
    assert_examined(&platform, &endpoints).await;

    // A service that stops serving is down, and up when it serves again.
    let cart = named(&platform, "cart").await["id"].clone();
    let check =
        async || platform.send("POST", &format!("/api/v1/endpoints/{cart}/check"), &json!({})).await.expect(200).json();
    world.serving.store(2, Ordering::Relaxed);
    let down = check().await;
    assert_eq!(down["failure_kind"], "grpc_status", "{down}");
    assert_eq!(down["error_message"], "The service shop.Cart answered NOT_SERVING, expected SERVING");
    world.serving.store(1, Ordering::Relaxed);
    assert_eq!(check().await["success"], true);
}

#[tokio::test]
async fn what_a_kind_does_not_know_is_refused_with_its_place() {
    let platform = Platform::start("endpoints: []\n");
    for (settings, pointer, words) in [
        (json!({"url": "icmp://x", "method": "GET"}), "/method", "only to http"),
        (json!({"url": "tcp://x"}), "/url", "has no port"),
        (json!({"url": "https://x", "expect": "a"}), "/expect", "only to tcp, tls, websocket"),
        (json!({"url": "tcp://x:1", "expect": {"regex": "("}}), "/expect/regex", "unclosed group"),
        (json!({"url": "gopher://x"}), "/url", "`gopher` is not examined here"),
        (json!({"dns": {"name": "x", "type": "WKS"}}), "/dns/type", "WKS"),
        (json!({"kind": "grpc", "url": "https://x"}), "/kind", "grpc:// or grpcs://"),
    ] {
        let mut body = settings.clone();
        body["name"] = json!("e");
        let problem = platform.send("POST", "/api/v1/endpoints", &body).await.expect(400).json();
        let told = problem["errors"].as_array().unwrap().iter().any(|error| {
            error["pointer"] == pointer && error["detail"].as_str().is_some_and(|detail| detail.contains(words))
        });
        assert!(told, "{settings}: {problem}");
    }
    // A group may have settings for several kinds.
    let group = json!({"name": "core", "interval": 60, "method": "HEAD", "send": "PING", "expect": "PONG", "count": 2});
    let made = platform.send("POST", "/api/v1/groups", &group).await.expect(201).json();
    let applies = &made["effective"];
    assert_eq!((&applies["send"], &applies["count"]), (&json!("PING"), &json!(2)), "{made}");
    let endpoint = json!({"name": "e", "group": "core", "url": "tcp://127.0.0.1:9", "is_active": false});
    let made = platform.send("POST", "/api/v1/endpoints", &endpoint).await.expect(201).json();
    assert_eq!((&made["effective"]["expect"], &made["effective"]["method"]), (&json!("PONG"), &Value::Null), "{made}");
    let wrong = json!({"name": "other", "interval": 60, "count": 99});
    let problem = platform.send("POST", "/api/v1/groups", &wrong).await.expect(400).json();
    assert_eq!(problem["errors"][0]["pointer"], "/count", "{problem}");
}

#[tokio::test]
async fn the_command_line_examines_every_kind() {
    let world = World::start().await;
    let names = world.names.address;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, code, words) in [
        (format!("tcp://{}", world.cache.address), 0, "up\n"),
        (format!("tcp://{nobody}"), 1, "(connect_refused)"),
        (format!("tls://{}", world.encrypted.address), 1, "(tls_untrusted)"),
        (format!("ws://{}", world.socket.address), 0, "request     websocket ws://"),
        (format!("grpc://{}", world.health.address), 0, "answer      SERVING"),
        (format!("dns://{names}/shop.example"), 0, "            A 192.0.2.7 (TTL 3600 s)"),
        (format!("dns://{names}/gone.example"), 1, "does not exist (NXDOMAIN)"),
        ("tcp://127.0.0.1".to_owned(), 2, "has no port"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let told = tokio::task::spawn_blocking({
            let url = url.clone();
            move || run(folder.path(), &["check", "--no-retry", &url])
        });
        let told = told.await.unwrap();
        assert_eq!(told.code, Some(code), "{url}: {} {}", told.stdout, told.stderr);
        assert!(told.stdout.contains(words) || told.stderr.contains(words), "{url}: {} {}", told.stdout, told.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("dns://{names}/shop.example");
    let told = tokio::task::spawn_blocking(move || run(folder.path(), &["check", "--json", &url])).await.unwrap();
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&told["kind"], &told["method"], &told["answer"]["rcode"]),
        (&json!("dns"), &Value::Null, &json!("NOERROR"))
    );
    assert_eq!(told["answer"]["records"], json!([{"type": "A", "data": "192.0.2.7", "ttl": 3600}]));
}

/// What the documentation shows can be configured.
#[test]
fn the_examples_of_the_documentation_are_right() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kinds.md")).unwrap();
    let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), example).unwrap();
    let told = run(folder.path(), &["--config", "config.yaml", "validate"]);
    assert_eq!(told.code, Some(0), "{} {}", told.stdout, told.stderr);
    for kind in api_monitor::domain::endpoint::Kind::ALL {
        assert!(text.contains(&format!("| `{kind}` |")), "{kind} is missing");
    }
}
