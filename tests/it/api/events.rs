//! `/api/v1/events` as a stream: who sees what, where it begins, when it ends, and what slow readers cost.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use api_monitor::domain::from_micros;
use api_monitor::feed::{Event, TroubleCode};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::serving::{SOON, Server, eventually};
use crate::app::TestApp;

/// A block of the stream, whatever it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: String,
    /// Empty: no event, only an id or a comment.
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Block {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last part of the id.
    pub(crate) fn number(&self) -> u64 {
        self.id.rsplit_once('-').unwrap().1.parse().unwrap()
    }
}

/// What came of a stream and is not yet a whole block.
#[derive(Debug, Default)]
pub(crate) struct Parser(String);

impl Parser {
    /// The blocks that are whole now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Block> {
        self.0.push_str(std::str::from_utf8(bytes).unwrap());
        let mut blocks = Vec::new();
        while let Some((block, rest)) = self.0.split_once("\n\n") {
            let mut parsed = Block::default();
            for line in block.lines() {
                let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("a line without a field: {line}"));
                match field {
                    "id" => value.clone_into(&mut parsed.id),
                    "event" => value.clone_into(&mut parsed.event),
                    "data" => value.clone_into(&mut parsed.data),
                    // A comment.
                    "" => {}
                    "retry" => assert!(value.parse::<u32>().is_ok()),
                    other => panic!("an unknown field: {other}"),
                }
            }
            blocks.push(parsed);
            self.0 = rest.to_owned();
        }
        blocks
    }
}

/// A stream of the router itself, without a socket.
struct Stream {
    body: axum::body::BodyDataStream,
    parser: Parser,
    ready: std::collections::VecDeque<Block>,
}

impl Stream {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("content-encoding"));
        let body = response.into_body().into_data_stream();
        Self { body, parser: Parser::default(), ready: std::collections::VecDeque::new() }
    }

    /// The next block; `None` at the end.
    async fn block(&mut self) -> Option<Block> {
        use futures_util::StreamExt;
        while self.ready.is_empty() {
            let piece = timeout(Duration::from_secs(60), self.body.next()).await.expect("a piece")?.unwrap();
            self.ready.extend(self.parser.push(&piece));
        }
        self.ready.pop_front()
    }

    /// The next event.
    async fn event(&mut self) -> Block {
        loop {
            let block = self.block().await.expect("an event");
            if !block.event.is_empty() {
                return block;
            }
        }
    }
}

fn trouble(text: &str) -> Event {
    Event::trouble(from_micros(0), TroubleCode::JobFailed, "job/test", text)
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));

#[tokio::test]
async fn kinds_that_name_people_are_for_administrators() {
    let app = TestApp::start().await;
    let mut admin = Stream::of(app.call("GET", "/api/v1/events").from(LOCAL).open().await);
    let mut viewer = Stream::of(app.call("GET", "/api/v1/events").from(ELSEWHERE).open().await);
    let mut asking = Stream::of(app.call("GET", "/api/v1/events?type=config,error").from(LOCAL).open().await);
    for kinds in ["config", "login", "check,login"] {
        let path = format!("/api/v1/events?type={kinds}");
        app.call("GET", &path).from(ELSEWHERE).send().await.problem(403, "forbidden");
    }
    app.create(&json!({"name": "n", "group": "g", "url": "https://example.com"})).await;
    app.ctx.feed.publish(trouble("last"));
    let told = async |stream: &mut Stream| {
        let mut kinds = Vec::new();
        loop {
            let block = stream.event().await;
            kinds.push(block.event.clone());
            if block.event == "error" {
                return kinds;
            }
            if block.event == "config" {
                let data = block.json();
                assert_eq!((&data["actor"], &data["action"]), (&json!("local"), &json!("endpoint.create")));
                assert_eq!(data["subject"], "endpoint/1");
                assert!(!block.data.contains("example.com"), "no values: {block:?}");
            }
        }
    };
    assert_eq!(told(&mut admin).await, ["status", "config", "error"]);
    assert_eq!(told(&mut viewer).await, ["status", "error"]);
    assert_eq!(told(&mut asking).await, ["config", "error"]);
    let refused = app.audit().await.into_iter().filter(|row| row.action == "request.refused").count();
    assert_eq!(refused, 3, "a kind that may not be seen is a refusal like any other");
}

#[tokio::test]
async fn refused_keys_are_told_and_no_secret_is() {
    let app = TestApp::with_config("api: {port: 0, auth: {api_key: the-first-admin-key-of-all}}\n").await;
    let call = app.call("GET", "/api/v1/events?type=login").header("x-api-key", "the-first-admin-key-of-all");
    let mut stream = Stream::of(call.from(LOCAL).open().await);
    for _ in 0..80 {
        let wrong = app.call("GET", "/api/v1/endpoints?x=secret").header("x-api-key", "a-wrong-key").from(LOCAL);
        wrong.send().await;
    }
    app.ctx.feed.publish(Event::login(from_micros(0), "last", None, "session.create", "session/1", "ok"));
    let mut count = 0;
    loop {
        let block = stream.event().await;
        assert!(!block.data.contains("wrong") && !block.data.contains("secret"), "{block:?}");
        if block.json()["actor"] == "last" {
            break;
        }
        count += 1;
        assert_eq!(block.json()["result"], "unauthorized");
        assert_eq!(block.json()["address"], "127.0.0.1");
    }
    assert!((1..=60).contains(&count), "{count}: nobody can flood the feed by being refused");
}

#[tokio::test]
async fn parameters_are_checked_and_the_stream_must_be_accepted() {
    let app = TestApp::start().await;
    for (query, name) in
        [("type=nonsense", "type"), ("type=", "type"), ("type=check,", "type"), ("endpoint=", "endpoint"), ("x=1", "x")]
    {
        let problem = app.get(&format!("/api/v1/events?{query}")).await.problem(400, "invalid-parameter");
        assert_eq!(problem["errors"][0]["parameter"], name, "{problem}");
    }
    for accept in ["application/json", "text/event-stream;q=0", "text/html"] {
        app.call("GET", "/api/v1/events").header("accept", accept).send().await.problem(406, "not-acceptable");
    }
    for accept in ["text/event-stream", "*/*", "text/*", "application/json, text/event-stream"] {
        let call = app.call("GET", "/api/v1/events").header("accept", accept).header("accept-encoding", "gzip");
        Stream::of(call.open().await);
    }
    app.post("/api/v1/events", &json!({})).await.problem(405, "method-not-allowed");
    assert_eq!(app.call("HEAD", "/api/v1/events").send().await.status, 200);
    assert_eq!(app.ctx.feed.readers(), 0, "streams end with their clients");
}

#[tokio::test]
async fn a_stream_goes_on_from_a_known_id_and_else_begins_with_a_reset() {
    let app = TestApp::start().await;
    for n in 0..10 {
        app.ctx.feed.publish(trouble(&n.to_string()));
    }
    let id = |n: u64| app.ctx.feed.id(n);
    let open = async |query: &str, header: Option<&str>| {
        let mut call = app.call("GET", &format!("/api/v1/events{query}"));
        if let Some(header) = header {
            call = call.header("last-event-id", header);
        }
        Stream::of(call.open().await)
    };
    for (query, header) in [
        (String::new(), Some(id(7))),
        (format!("?last_event_id={}", id(7)), None),
        (format!("?last_event_id={}", id(2)), Some(id(7))),
    ] {
        let mut stream = open(&query, header.as_deref()).await;
        let first = stream.block().await.unwrap();
        assert_eq!((first.event.as_str(), first.id), ("", id(7)), "where it goes on from, before anything happens");
        for n in 8..=10 {
            let block = stream.event().await;
            assert_eq!((block.id.clone(), block.json()["message"].clone()), (id(n), json!((n - 1).to_string())));
        }
    }
    for unknown in ["0123456789abcdef-3", "nonsense", &id(11)] {
        let mut stream = open("", Some(unknown)).await;
        let reset = stream.block().await.unwrap();
        assert_eq!(reset.event, "reset", "no id to go on from before it is told: {unknown}");
        assert_eq!(reset.json(), json!({"reason": "unknown"}), "{unknown}");
        assert_eq!(reset.id, id(10), "what follows is live");
    }
    // One that is left behind by the ring.
    let mut slow = open("", None).await;
    slow.block().await;
    for n in 0..5_000 {
        app.ctx.feed.publish(trouble(&n.to_string()));
    }
    let reset = slow.event().await;
    assert_eq!((reset.event.as_str(), reset.json()), ("reset", json!({"reason": "behind"})));
    app.ctx.feed.publish(trouble("after"));
    assert_eq!(slow.event().await.json()["message"], "after");
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_with_its_place() {
    let app = TestApp::start().await;
    let mut stream = Stream::of(app.call("GET", "/api/v1/events?type=check").open().await);
    let first = stream.block().await.unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    // Of no interest to it: yet it must not be left behind.
    app.ctx.feed.publish(trouble("x"));
    let block = stream.block().await.unwrap();
    assert_eq!((block.event.as_str(), block.number()), ("", first.number() + 1));
    assert!((14..=16).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_loses_what_the_role_may_not_see() {
    let app = TestApp::with_config("api: {port: 0, auth: {api_key: the-first-admin-key-of-all}}\n").await;
    let admin = "the-first-admin-key-of-all";
    let made = app
        .call("POST", "/api/v1/api-keys")
        .header("x-api-key", admin)
        .json(&json!({"name": "wall", "role": "admin"}))
        .send()
        .await
        .json();
    let key = made["key"].as_str().unwrap().to_owned();
    let mut stream = Stream::of(app.call("GET", "/api/v1/events").header("x-api-key", &key).open().await);
    let patch = async |body: Value| {
        let call = app.call("PATCH", "/api/v1/api-keys/key_1").header("x-api-key", admin);
        assert_eq!(call.json(&body).send().await.status, 200);
    };
    patch(json!({"name": "screen"})).await;
    assert_eq!(stream.event().await.event, "config");
    patch(json!({"role": "viewer"})).await;
    // Without the database: time that runs away would be too much for it.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    patch(json!({"name": "wall"})).await;
    app.ctx.feed.publish(trouble("x"));
    assert_eq!(stream.event().await.event, "error");
    let call = app.call("DELETE", "/api/v1/api-keys/key_1").header("x-api-key", admin);
    assert_eq!(call.send().await.status, 204);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    while stream.block().await.is_some() {}
    assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn looking_on_is_no_use_of_a_session() {
    let yaml = "api: {port: 0, auth: {api_key: the-first-admin-key-of-all, session: {idle: 1h}}}\n";
    let app = TestApp::with_config(yaml).await;
    let answer = app.post("/api/v1/sessions", &json!({"key": "the-first-admin-key-of-all"})).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let mut stream = Stream::of(app.call("GET", "/api/v1/events").header("cookie", &cookie).open().await);
    stream.block().await;
    let seen = app.ctx.sessions.get(1).unwrap().last_seen_at;
    app.clock.advance(Duration::from_mins(50));
    tokio::time::pause();
    // A stream without events tells its place after three looks at its session.
    let block = stream.block().await.expect("the session is still good");
    assert!(block.event.is_empty(), "{block:?}");
    assert_eq!(app.ctx.sessions.get(1).unwrap().last_seen_at, seen);
    app.clock.advance(Duration::from_mins(10));
    assert_eq!(stream.block().await, None, "nobody has been there for an hour");
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let app = TestApp::start().await;
    let mut stream = Stream::of(app.call("GET", "/api/v1/events").open().await);
    stream.block().await;
    app.ctx.tasks.stopping().cancel();
    assert_eq!(stream.block().await, None);
}

/// Sends a request for the stream and gives the connection once its head was read.
async fn opened(server: &Server) -> super::serving::Client {
    let mut client = server.connect().await;
    let head = client.ask("/api/v1/events").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    client
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_a_quiet_one_is_not() {
    let app = TestApp::start().await;
    let short = Duration::from_millis(300);
    let server = Server::start(app.router.clone(), |limits| {
        limits.stalled = short;
        limits.idle = short;
        limits.head = short;
    })
    .await;
    let (mut quiet, mut stuck) = (opened(&server).await, opened(&server).await);
    // Longer than any limit: a stream without events is no idle connection.
    sleep(short * 4).await;
    assert_eq!(server.metrics.connections_open.get(), 2);
    // Far more than any socket takes, at the pace of the one who reads.
    let text = "x".repeat(16_000);
    let (mut taken, mut piece) = (0_usize, vec![0; 1 << 16]);
    let deadline = tokio::time::Instant::now() + SOON;
    while server.metrics.connections_cut.get() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it was not cut");
        app.ctx.feed.publish_all((0..20).map(|_| trouble(&text)));
        while let Ok(count) = timeout(Duration::from_millis(20), quiet.0.read(&mut piece)).await {
            taken += count.unwrap();
        }
    }
    assert!(taken > 16_000);
    stuck.rest().await;
    server.open(1).await;
    assert_eq!(server.metrics.connections_cut.get(), 1, "the one who reads is not cut");
    drop(quiet);
    server.open(0).await;
    eventually("no reader is left", || app.ctx.feed.readers() == 0).await;
}

#[tokio::test]
async fn streams_have_a_quarter_of_the_connections() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |limits| limits.connections = 16).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(opened(&server).await);
    }
    let mut one_more = server.connect().await;
    let head = one_more.ask("/api/v1/events").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 15"), "{head}");
    streams.pop();
    eventually("a place is free", || app.ctx.feed.readers() == 3).await;
    streams.push(opened(&server).await);
}

#[tokio::test]
async fn over_http_2_streams_live_beside_requests() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |_| {}).await;
    #[expect(clippy::disallowed_methods, reason = "the client of the tests")]
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(crate::platform::nothing_trusted())
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("http://{}/api/v1", server.address);
    let mut response = client.get(format!("{url}/events")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let mut parser = Parser::default();
    for n in 0..50 {
        app.ctx.feed.publish(trouble(&n.to_string()));
        assert_eq!(client.get(format!("{url}/endpoints")).send().await.unwrap().status().as_u16(), 200);
        loop {
            let piece = timeout(SOON, response.chunk()).await.expect("an event").unwrap().unwrap();
            let blocks = parser.push(&piece);
            if let Some(block) = blocks.iter().find(|block| block.event == "error") {
                assert_eq!(block.json()["message"], n.to_string());
                break;
            }
        }
    }
}
