//! The accept loop over real sockets: its bounds, both versions of HTTP, and what is the same for every answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api_monitor::api::serve::tls::Tls;
use api_monitor::api::{self, ServeLimits, Serving};
use api_monitor::clock::SystemClock;
use api_monitor::config::{Adjustable, LogLevel, MaxConcurrent, MaxConnections, RunningSettings};
use api_monitor::lifecycle::Tasks;
use api_monitor::telemetry::metrics::Metrics;
use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::app::TestApp;

/// Within which everything happens, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// As in production, with the peace of a test.
pub(crate) fn serving(tasks: &Tasks) -> Serving {
    Serving {
        limits: ServeLimits::fitting(65_536, SOON),
        running: Arc::new(RunningSettings::new(running())),
        tls: None,
        trusted_proxies: Vec::new(),
        clock: Arc::new(SystemClock::new()),
        metrics: Arc::default(),
        connections: Arc::default(),
        tasks: tasks.clone(),
    }
}

fn running() -> Adjustable {
    Adjustable {
        logging_level: LogLevel::Info,
        check_history_days: 1,
        hourly_rollup_days: 1,
        max_concurrent_checks: MaxConcurrent::Auto,
        max_connections: MaxConnections::Auto,
        cooldown: Duration::ZERO,
    }
}

/// A server on a free port; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Arc<Metrics>,
}

impl Server {
    pub(crate) async fn start(router: Router, change: impl FnOnce(&mut ServeLimits)) -> Self {
        Self::start_with_tls(router, None, change).await
    }

    pub(crate) async fn start_with_tls(
        router: Router,
        tls: Option<Arc<Tls>>,
        change: impl FnOnce(&mut ServeLimits),
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let mut serving = Serving { tls, ..serving(&tasks) };
        change(&mut serving.limits);
        let metrics = serving.metrics.clone();
        tasks.spawn(api::serve(listener, router, serving));
        Self { address, tasks, metrics }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open(&self, connections: i64) {
        eventually("the number of open connections", || self.metrics.connections_open.get() == connections).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The other end of a connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.head().await
    }

    /// The next head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(SOON, reading).await.expect("an answer");
        String::from_utf8(head).unwrap()
    }

    /// All there is until the connection ends, in whichever way.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        drop(tokio::time::timeout(SOON, self.0.read_to_end(&mut bytes)).await.expect("an end"));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Answers at `/`, and at `/never` not at all.
fn simple() -> Router {
    let never = get(|| async { std::future::pending::<&str>().await });
    Router::new().route("/", get(|| async { "" })).route("/never", never)
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() {
    let server = Server::start(simple(), |limits| {
        limits.connections = 3;
        limits.kept_for_local = 0;
    })
    .await;
    let (mut busy, mut also_busy, mut idle) = (server.connect().await, server.connect().await, server.connect().await);
    for client in [&mut busy, &mut also_busy] {
        client.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    assert!(idle.ask("/").await.starts_with("HTTP/1.1 200"));
    server.open(3).await;

    let mut next = server.connect().await;
    assert!(next.ask("/").await.starts_with("HTTP/1.1 200"), "the idle one made room");
    assert_eq!(idle.rest().await, "");
    assert_eq!(server.metrics.connections_evicted.get(), 1);

    next.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // All are busy once the last request has come in.
    eventually("a refusal", || {
        drop(std::net::TcpStream::connect(server.address).unwrap());
        server.metrics.connections_refused.get() > 0
    })
    .await;
    let mut refused = server.connect().await;
    assert_eq!(refused.rest().await, "", "closed at once");
    drop((busy, also_busy));
    server.open(1).await;
    assert!(server.connect().await.ask("/").await.starts_with("HTTP/1.1 200"), "room again");
}

#[tokio::test]
async fn heads_and_targets_are_bounded() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |_| {}).await;
    let long = "a".repeat(40_000);
    let many = "x-many: 1\r\n".repeat(120);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        (format!("GET /?q={} HTTP/1.1\r\nhost: a\r\n\r\n", &long[..9_000]), "414"),
        (format!("GET /?q={} HTTP/1.1\r\nhost: a\r\n\r\n", &long[..8_000]), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut client = server.connect().await;
        client.send(&request).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        if status == "414" {
            assert!(head.contains("content-type: application/problem+json"), "{head}");
        }
    }
    app.call("GET", &format!("/?q={}", &long[..9_000])).send().await.problem(414, "uri-too-long");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_refusal_can_be_read() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |_| {}).await;
    let (address, mebibyte) = (server.address, "x".repeat(1_048_576));
    let head = |framing: &str| {
        format!(
            "POST /api/v1/endpoints HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    // Ten mebibytes, told beforehand or not.
    for is_chunked in [false, true] {
        let mut client = server.connect().await;
        let framing = if is_chunked { "transfer-encoding: chunked" } else { "content-length: 10485760" };
        client.send(&head(framing)).await;
        let (mut reader, mut writer) = client.0.into_split();
        let sending = async {
            for _ in 0..10 {
                let piece = if is_chunked { format!("100000\r\n{mebibyte}\r\n") } else { mebibyte.clone() };
                writer.write_all(piece.as_bytes()).await?;
            }
            std::io::Result::Ok(writer)
        };
        let reading = async {
            let mut answer = String::new();
            reader.read_to_string(&mut answer).await.map(|_| answer)
        };
        let (sent, answer) = tokio::time::timeout(SOON, async { tokio::join!(sending, reading) }).await.unwrap();
        assert!(sent.is_ok(), "the client may send on without being reset: {sent:?}");
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("urn:api-monitor:problem:too-large"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |_| {}).await;
    #[expect(clippy::disallowed_methods, reason = "this client asks the API; it makes no checks")]
    let client = {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        reqwest::Client::builder().no_proxy().http2_prior_knowledge().timeout(SOON).build().unwrap()
    };
    let url = |path: &str| format!("http://localhost:{}{path}", server.address.port());
    let body = json!({"name": "a", "url": "https://example.com"}).to_string();
    let made = client.post(url("/api/v1/endpoints")).header("content-type", "application/json").body(body);
    let made = made.send().await.unwrap();
    assert_eq!((made.version(), made.status().as_u16()), (reqwest::Version::HTTP_2, 201));
    let long = client.get(url("/")).header("x-long", "a".repeat(40_000)).send().await;
    assert!(long.map_or(true, |answer| answer.status() == 431));
    let many = futures_util::future::join_all((0..50).map(|_| client.get(url("/api/v1/endpoints")).send())).await;
    assert!(many.into_iter().all(|answer| answer.unwrap().status() == 200));
    assert_eq!(server.metrics.connections_accepted.get(), 1, "all on one connection");
}

#[tokio::test]
async fn the_stop_lets_answers_end_and_cuts_what_does_not() {
    const GRACE: Duration = Duration::from_secs(2);
    let under_way = Arc::new(AtomicU32::new(0));
    let (slow_begins, never_begins) = (under_way.clone(), under_way.clone());
    let slow = get(async move || {
        slow_begins.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        "late"
    });
    let never = get(async move || {
        never_begins.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<&str>().await
    });
    let router = Router::new().route("/", get(|| async { "" })).route("/slow", slow).route("/never", never);
    let server = Server::start(router, |limits| limits.grace = GRACE).await;
    let (mut slow, mut never, mut idle) = (server.connect().await, server.connect().await, server.connect().await);
    assert!(idle.ask("/").await.starts_with("HTTP/1.1 200"));
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    never.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.open(3).await;
    eventually("both requests are under way", || under_way.load(Ordering::Relaxed) == 2).await;
    let began = Instant::now();
    server.tasks.stopping().cancel();
    assert_eq!(idle.rest().await, "");
    let answer = slow.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "{answer}");
    server.open(1).await;
    assert!(began.elapsed() < GRACE, "those that were done ended by themselves: {:?}", began.elapsed());
    assert!(server.tasks.finish(SOON).await);
    assert!(began.elapsed() >= GRACE, "{:?}", began.elapsed());
    assert_eq!(never.rest().await, "");
    assert_eq!(server.metrics.connections_open.get(), 0);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let app = TestApp::start().await;
    for path in ["/", "/health", "/api/v1/endpoints", "/nothing", "/docs", "/docs/swagger-ui.css"] {
        let answer = app.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}: without TLS there is nothing to insist on");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        let is_page = path.starts_with("/docs");
        let kept = match path {
            "/nothing" => "no-store",
            _ if is_page => "no-cache",
            _ => "private, no-cache",
        };
        assert_eq!(answer.header("cache-control"), kept, "{path}");
    }
    let page = app.get("/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    assert!(page.header("permissions-policy").contains("camera=()"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    let inline = text.split("<script").skip(1).any(|script| !script.trim_start().starts_with("src="));
    assert!(!inline && !text.contains("<style") && !text.contains("style="), "nothing that the policy forbids: {text}");
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_take_it() {
    use std::io::Read;

    let app = TestApp::start().await;
    for n in 0..5 {
        app.create(&json!({"name": format!("endpoint {n}"), "url": "https://example.com"})).await;
    }
    let plain = app.get("/api/v1/endpoints").await;
    assert_eq!(plain.header("content-encoding"), "");
    let packed = app.call("GET", "/api/v1/endpoints").header("accept-encoding", "gzip").send().await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let short = app.call("GET", "/health/live").header("accept-encoding", "gzip").send().await;
    assert_eq!(short.header("content-encoding"), "");
    let asset = app.call("GET", "/docs/swagger-ui.css").header("accept-encoding", "gzip").send().await;
    let text = match asset.header("content-encoding") {
        "gzip" => {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&asset.body[..]).read_to_string(&mut text).unwrap();
            text
        }
        _ => String::from_utf8(asset.body.to_vec()).unwrap(),
    };
    assert!(text.contains(".swagger-ui"), "packed once, not twice");
}

#[tokio::test]
async fn the_client_behind_a_trusted_proxy_is_in_the_audit_log() {
    let app = TestApp::with_config("api: {port: 0, trusted_proxies: [10.0.0.0/8], auth: {api_key: k}}\n").await;
    let ask = async |peer: &str, claimed: &str| {
        app.call("GET", "/api/v1/endpoints").from(peer.parse().unwrap()).header("x-forwarded-for", claimed).send().await
    };
    ask("10.0.0.1", "203.0.113.9").await.problem(401, "unauthorized");
    ask("198.51.100.7", "203.0.113.9").await.problem(401, "unauthorized");
    let addresses: Vec<_> = app.audit().await.into_iter().map(|row| row.address.unwrap()).collect();
    assert_eq!(addresses, ["203.0.113.9", "198.51.100.7"]);
}
