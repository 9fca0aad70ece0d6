//! `/connections`: who is connected, and what went through each connection.

use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use api_monitor::domain::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{Platform, until};
use crate::cli::process::try_get;

const CONNECTIONS: &str = "/api/v1/connections";

/// A client that counts every byte.
struct Counting {
    stream: TcpStream,
    sent: u64,
    received: u64,
}

impl Counting {
    async fn to(platform: &Platform) -> Self {
        Self { stream: TcpStream::connect(&platform.address).await.unwrap(), sent: 0, received: 0 }
    }

    fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self.sent += bytes.len() as u64;
    }

    /// Reads one whole answer.
    async fn answer(&mut self) {
        let mut answer = Vec::new();
        loop {
            let mut byte = [0];
            assert_eq!(self.stream.read(&mut byte).await.unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
            if answer.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8(answer).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        self.received += (head.len() + body.len()) as u64;
    }

    async fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.answer().await;
    }
}

/// The connection of a client, as soon as it is in this state.
async fn shown(platform: &Platform, client: &Counting, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let list = platform.get(&format!("{CONNECTIONS}?limit=1000")).await.expect(200).json();
        let mine = list["connections"].as_array().unwrap().iter().find(|c| c["client_port"] == client.port());
        if let Some(found) = mine.filter(|found| found["state"] == state) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "not {state}: {list}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn open_connections_are_seen_with_what_went_through_them() {
    let began = SystemClock::new().now();
    let platform = Platform::start("endpoints: []\n");
    let (mut once, mut twice, silent) =
        (Counting::to(&platform).await, Counting::to(&platform).await, Counting::to(&platform).await);
    let mut halfway = Counting::to(&platform).await;
    let mut waiting = Counting::to(&platform).await;
    once.ask("/health").await;
    twice.ask("/health/live").await;
    twice.ask("/api/v1/endpoints").await;
    halfway.send("GET /health HTTP/1.1\r\nHost: loc").await;
    waiting.send("POST /api/v1/endpoints HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").await;

    for (client, requests, principal) in
        [(&once, 1, json!("local")), (&twice, 2, json!("local")), (&silent, 0, Value::Null)]
    {
        let found = shown(&platform, client, "idle").await;
        let statistics = &found["statistics"];
        assert_eq!(statistics["requests"], requests, "{found}");
        assert_eq!(
            (&statistics["bytes_read"], &statistics["bytes_written"]),
            (&json!(client.sent), &json!(client.received)),
            "{found}"
        );
        assert!(
            statistics["reads"].as_u64() >= Some(requests) && statistics["writes"].as_u64() >= Some(requests),
            "{found}"
        );
        assert_eq!((&found["principal"], &found["client_ip"]), (&principal, &json!("127.0.0.1")), "{found}");
        assert_eq!(found["role"], if requests == 0 { Value::Null } else { json!("admin") }, "{found}");
        let (start, now): (Timestamp, _) =
            (found["start_time"].as_str().unwrap().parse().unwrap(), SystemClock::new().now());
        assert!(began - chrono::TimeDelta::seconds(1) <= start && start <= now, "{began} {start} {now}");
        assert_eq!(found["protocol"], if requests == 0 { "unknown" } else { "http/1" }, "{found}");
        assert_eq!(found["is_encrypted"], false, "{found}");
        for never in ["buffered_writes", "high_water", "low_water"] {
            assert_eq!(statistics[never], 0, "{never} of one who reads: {found}");
        }
        assert!(found["idle_seconds"].as_f64().is_some_and(|s| s >= 0.0), "{found}");

        let id = found["id"].as_str().unwrap();
        let single = platform.get(&format!("{CONNECTIONS}/{id}")).await.expect(200).json();
        assert_eq!((&single["id"], &single["start_time"]), (&found["id"], &found["start_time"]), "{single}");
    }
    let reading = shown(&platform, &halfway, "reading").await;
    assert_eq!(
        (&reading["statistics"]["bytes_read"], &reading["statistics"]["requests"]),
        (&json!(halfway.sent), &json!(0))
    );
    let waiting = shown(&platform, &waiting, "reading").await;
    assert_eq!((&waiting["statistics"]["requests"], &waiting["principal"]), (&json!(1), &json!("local")), "{waiting}");
    assert_eq!(waiting["idle_seconds"], 0.0, "a request is under way");

    let list = platform.get(CONNECTIONS).await.expect(200).json();
    assert_eq!(
        (&list["total_active_connections"], &list["total"]),
        (&json!(6), &json!(6)),
        "those and the one that asks: {list}"
    );
    assert!(list["accepts"].as_u64() >= Some(6), "{list}");
    let own: Vec<_> = list["connections"].as_array().unwrap().iter().filter(|c| c["state"] == "handling").collect();
    assert_eq!(own.len(), 1, "the one that asks: {list}");
    let page = platform.get(&format!("{CONNECTIONS}?limit=2&offset=5")).await.expect(200).json();
    assert_eq!((page["connections"].as_array().unwrap().len(), &page["total"]), (1, &json!(6)), "{page}");

    let gone = once.port();
    drop(once);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let list = platform.get(CONNECTIONS).await.expect(200).json();
        if list["connections"].as_array().unwrap().iter().all(|c| c["client_port"] != gone) {
            assert_eq!(list["total"], 5, "{list}");
            break;
        }
        assert!(Instant::now() < deadline, "{list}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_can_be_ended() {
    let platform = Platform::start("endpoints: []\n");
    let mut client = Counting::to(&platform).await;
    client.ask("/health").await;
    let id = shown(&platform, &client, "idle").await["id"].as_str().unwrap().to_owned();
    platform.ask(platform.request("DELETE", &format!("{CONNECTIONS}/{id}"))).await.expect(204);
    let read = tokio::time::timeout(Duration::from_secs(60), client.stream.read(&mut [0])).await.expect("it is cut");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // Its task may take a moment to notice.
    let deadline = Instant::now() + Duration::from_secs(60);
    while platform.get(&format!("{CONNECTIONS}/{id}")).await.status != 404 {
        assert!(Instant::now() < deadline);
    }

    // The one that asks gets its answer.
    let mut own = Counting::to(&platform).await;
    own.ask("/health").await;
    let id = shown(&platform, &own, "idle").await["id"].as_str().unwrap().to_owned();
    own.send(&format!("DELETE {CONNECTIONS}/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(60), own.stream.read_to_string(&mut rest))
        .await
        .expect("it ends")
        .unwrap();
    assert!(rest.starts_with("HTTP/1.1 204 "), "{rest}");

    for unknown in ["conn_999999", "conn_", "conn_x", "7", "conn_99999999999999999999", "conn_+1"] {
        platform.get(&format!("{CONNECTIONS}/{unknown}")).await.expect(404);
    }
}

#[tokio::test]
async fn who_is_connected_is_for_administrators() {
    let yaml = "endpoints: []\napi: {auth: {keys: [{name: eye, role: editor, key: key-of-the-editor-here}, \
                {name: root, role: admin, key: key-of-the-admin-here}]}}\n";
    let platform = Platform::start(yaml);
    let with_key = |key: &str| platform.request("GET", CONNECTIONS).header("X-API-Key", key);
    platform.ask(with_key("key-of-the-editor-here")).await.expect(403);
    let list = platform.ask(with_key("key-of-the-admin-here")).await.expect(200).json();
    let own = &list["connections"][0];
    assert_eq!(
        (&own["principal"], &own["role"]),
        (&json!("root"), &json!("admin")),
        "who asks is known while it is answered: {list}"
    );

    let mut others = [("key-of-the-editor-here", "eye", json!("editor")), ("wrong", "anonymous", Value::Null)]
        .map(|(key, name, role)| (key, name, role, None));
    for (key, _, _, client) in &mut others {
        let mut connected = Counting::to(&platform).await;
        connected.send(&format!("GET /api/v1/endpoints HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n")).await;
        connected.answer().await;
        *client = Some(connected);
    }
    let list = platform.ask(with_key("key-of-the-admin-here")).await.expect(200).json();
    for (_, name, role, client) in &others {
        let port = client.as_ref().unwrap().port();
        let found = list["connections"].as_array().unwrap().iter().find(|c| c["client_port"] == port).unwrap();
        assert_eq!((&found["principal"], &found["role"]), (&json!(name), role), "{list}");
    }
}

/// A client that asks for far more than it reads, and then reads it all.
#[tokio::test]
async fn a_client_that_reads_slowly_is_seen_by_what_waits_for_it() {
    const ASKED: usize = 60;
    let platform = Platform::start("endpoints: []\n");
    let length = platform.get("/api/v1/openapi.json").await.expect(200).body.len();
    assert!(length * ASKED > 8 << 20, "more than any socket takes by itself: {length}");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(platform.address.parse().unwrap()).await.unwrap();
    let mut slow = Counting { stream, sent: 0, received: 0 };
    for _ in 0..ASKED {
        slow.send("GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    }
    let mut writing = Value::Null;
    until("the socket is full", async || {
        writing = shown(&platform, &slow, "writing").await;
        writing["statistics"]["high_water"].as_u64() > Some(0)
    })
    .await;
    let of = |found: &Value, key: &str| found["statistics"][key].as_u64().unwrap_or_else(|| panic!("{found}"));
    assert!(of(&writing, "buffered_writes") >= of(&writing, "high_water"), "{writing}");
    assert!(
        of(&writing, "high_water") <= of(&writing, "low_water") + 1,
        "it becomes full again when it was not: {writing}"
    );
    assert!(of(&writing, "requests") < ASKED as u64, "the rest waits: {writing}");

    for _ in 0..ASKED {
        slow.answer().await;
    }
    let done = shown(&platform, &slow, "idle").await;
    assert_eq!((of(&done, "requests"), of(&done, "bytes_written")), (ASKED as u64, slow.received), "{done}");
    assert!(of(&done, "low_water") > 0, "{done}");
    assert_eq!(of(&done, "low_water"), of(&done, "high_water"), "nothing waits any more: {done}");
}

/// Looks on by a connection of its own, and gives the status of the answer.
async fn looking_on(platform: &Platform) -> Option<(Counting, String)> {
    let mut client = Counting::to(platform).await;
    client.stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
    let mut status = [0; 12];
    client.stream.read_exact(&mut status).await.ok()?;
    Some((client, String::from_utf8(status[9..].to_vec()).unwrap()))
}

#[tokio::test]
async fn fewer_connections_hold_for_streams_that_are_open_and_let_this_machine_in() {
    let platform = Platform::start("endpoints: []\n");
    platform.send("PUT", "/api/v1/config", &json!({"max_connections": 100})).await.expect(200);
    let mut streams = Vec::new();
    for _ in 0..25 {
        let (stream, status) = looking_on(&platform).await.unwrap();
        assert_eq!(status, "200");
        streams.push(stream);
    }
    let (_, status) = looking_on(&platform).await.unwrap();
    assert_eq!(status, "503", "a quarter of 100");

    platform.send("PUT", "/api/v1/config", &json!({"max_connections": 16})).await.expect(200);
    for mut ended in streams.drain(4..) {
        let mut rest = Vec::new();
        let end = async {
            while !rest.ends_with(b"\r\n0\r\n\r\n") {
                let mut piece = [0; 1024];
                match ended.stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => rest.extend_from_slice(&piece[..count]),
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), end).await.expect("the newest streams end");
    }
    // Over a connection of its own, as probes do.
    until("a health check from this machine is answered", async || {
        let mut probe = Counting::to(&platform).await;
        let asked = probe.stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut status = [0; 12];
        asked.is_ok() && probe.stream.read_exact(&mut status).await.is_ok() && status.ends_with(b"200")
    })
    .await;
    // Over connections of their own too: one that is kept is idle in between, and makes room.
    let is_looking_on = |list: &Value, stream: &Counting| {
        let mut connections = list["connections"].as_array().unwrap().iter();
        connections.any(|found| found["client_port"] == stream.port() && found["state"] == "writing")
    };
    until("the oldest go on", async || {
        try_get(&platform.address, &format!("{CONNECTIONS}?limit=1000"))
            .is_ok_and(|(status, list)| status == 200 && streams.iter().all(|stream| is_looking_on(&list, stream)))
    })
    .await;
    until("one more is refused: a quarter of 16", async || {
        looking_on(&platform).await.is_some_and(|(_, status)| status == "503")
    })
    .await;
}
