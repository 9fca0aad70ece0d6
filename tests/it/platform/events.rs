//! The stream of events of the running program: what an outage looks like, going on after a break, filters, restarts,
//! and a crowd of readers of which some never read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Platform;
use crate::api::events::{Block, Parser};
use crate::flows::target::{Answer, Switched, Target};
use crate::telling::hook::Hook;

/// Within which everything happens, on a busy machine too.
const SOON: Duration = Duration::from_secs(120);

/// Somebody who looks on.
pub(super) struct Stream {
    response: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Block>,
    last_id: String,
}

impl Stream {
    pub(super) async fn open(platform: &Platform, query: &str, last_id: Option<&str>) -> Self {
        let mut request = platform.request("GET", &format!("/api/v1/events{query}")).timeout(SOON * 10);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        Self::of(request.header("Accept-Encoding", "gzip").send().await.unwrap()).await
    }

    async fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"), "events are not held back");
        let mut stream = Self { response, parser: Parser::default(), ready: VecDeque::new(), last_id: String::new() };
        let first = stream.block().await.expect("where it begins");
        assert!(!first.id.is_empty() && ["", "reset"].contains(&first.event.as_str()), "{first:?}");
        if !first.event.is_empty() {
            stream.ready.push_front(first);
        }
        stream
    }

    async fn block(&mut self) -> Option<Block> {
        while self.ready.is_empty() {
            let piece =
                timeout(SOON, self.response.chunk()).await.expect("something within the time").ok().flatten()?;
            self.ready.extend(self.parser.push(&piece));
        }
        let block = self.ready.pop_front();
        if let Some(block) = &block {
            self.last_id.clone_from(&block.id);
        }
        block
    }

    async fn event(&mut self) -> Block {
        loop {
            let block = self.block().await.expect("an event");
            if !block.event.is_empty() {
                return block;
            }
        }
    }

    /// The first event that is as it should be, and those before it.
    pub(super) async fn until(&mut self, what: &str, is_it: impl Fn(&str, &Value) -> bool) -> (Value, Vec<Block>) {
        let mut before = Vec::new();
        let deadline = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < deadline, "{what} did not come: {before:#?}");
            let block = self.event().await;
            let data = block.json();
            if is_it(&block.event, &data) {
                return (data, before);
            }
            before.push(block);
        }
    }
}

const QUICK: &str = "alert_policy: {failure_threshold: 1, cooldown_seconds: 0}, retry: {enabled: false}";

#[tokio::test]
async fn a_check_a_change_of_status_and_an_incident_are_told_as_they_happen() {
    let (target, hook) = (Switched::good(), Hook::start());
    let platform = Platform::start(&format!(
        "channels: {{hook: {{type: webhook, url: '{}'}}}}\nendpoints: [{{name: shop, group: core, url: '{}', interval: \
         1, {QUICK}}}]\n",
        hook.url(),
        target.url("x"),
    ));
    let mut stream = Stream::open(&platform, "", None).await;
    let (check, _) = stream.until("a good check", |kind, data| kind == "check" && data["success"] == true).await;
    assert_eq!(check["endpoint"], json!({"id": 1, "name": "shop", "group": "core"}));
    assert_eq!((&check["outcome"], &check["status_code"]), (&json!("up"), &json!(200)));

    target.set(502);
    let (down, before) = stream.until("the change", |kind, data| kind == "status" && data["to"] == "down").await;
    assert_eq!(down["from"], "up");
    assert!(down["error_message"].as_str().unwrap().contains("502"), "{down}");
    // Told after the board shows it.
    assert_eq!(platform.get("/api/v1/endpoints/1").await.json()["status"], "down");
    let failed = before.iter().rfind(|block| block.event == "check").unwrap().json();
    assert_eq!((&failed["success"], &failed["failure_kind"]), (&json!(false), &json!("http_status")));
    let (opened, _) = stream.until("the incident", |kind, _| kind == "incident").await;
    assert_eq!(opened["change"], "opened");
    let id = opened["incident_id"].as_i64().unwrap();
    let told = |event: &'static str| {
        move |kind: &str, data: &Value| kind == "notification" && data["state"] == "delivered" && data["event"] == event
    };
    let (delivered, _) = stream.until("the telling", told("down")).await;
    assert_eq!((&delivered["channel"], &delivered["incident_id"]), (&json!("hook"), &json!(id)));
    assert_eq!(hook.taken().len(), 1);
    assert_eq!(platform.get(&format!("/api/v1/incidents/{id}")).await.expect(200).json()["status"], "open");

    target.set(200);
    let (up, _) = stream.until("the recovery", |kind, data| kind == "status" && data["to"] == "up").await;
    assert_eq!(up["from"], "down");
    let (resolved, _) = stream.until("its end", |kind, data| kind == "incident" && data["change"] == "resolved").await;
    assert_eq!(resolved["incident_id"], id);
    assert!(resolved["resolved_at"].is_string());
    stream.until("the good news", told("up")).await;

    // What people do, too.
    platform.send("POST", "/api/v1/endpoints/1/pause", &json!({})).await.expect(200);
    stream.until("the pause", |kind, data| kind == "status" && data["to"] == "paused").await;
    let (config, _) = stream.until("who paused it", |kind, _| kind == "config").await;
    assert_eq!((&config["actor"], &config["action"]), (&json!("local"), &json!("endpoint.pause")));

    // The stop ends the stream.
    platform.process.signal("TERM");
    while stream.block().await.is_some() {}
}

#[tokio::test]
async fn whoever_comes_back_with_the_last_id_misses_nothing_and_sees_nothing_twice() {
    let target = Switched::good();
    let endpoints: Vec<String> = (0..10)
        .map(|n| format!("{{name: e{n}, group: g{}, url: '{}', interval: 1}}", n % 2, target.url("x")))
        .collect();
    let platform = Platform::start(&format!("endpoints: [{}]\n", endpoints.join(", ")));
    let mut whole = Stream::open(&platform, "?type=check", None).await;
    let mut broken = Stream::open(&platform, "?type=check", Some(&whole.last_id)).await;
    let (mut all, mut pieced): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    for round in 0..4 {
        for _ in 0..7 {
            pieced.push(broken.event().await);
        }
        // Whole blocks that came beside count as seen; a broken one does not.
        while let Some(block) = broken.ready.pop_front() {
            broken.last_id.clone_from(&block.id);
            if !block.event.is_empty() {
                pieced.push(block);
            }
        }
        let last_id = broken.last_id.clone();
        drop(broken);
        let missed_until = all.len().max(pieced.len()) + 25;
        while all.len() < missed_until {
            all.push(whole.event().await);
        }
        broken = if round % 2 == 0 {
            Stream::open(&platform, "?type=check", Some(&last_id)).await
        } else {
            Stream::open(&platform, &format!("?type=check&last_event_id={last_id}"), None).await
        };
    }
    while pieced.len() < all.len() {
        pieced.push(broken.event().await);
    }
    all.truncate(pieced.len());
    pieced.truncate(all.len());
    assert!(all.len() > 100);
    assert_eq!(pieced, all, "the same events in the same order");
    assert!(all.is_sorted_by(|a, b| a.number() < b.number()));

    // An id of an earlier start is not taken for one of this.
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(30)).code, Some(0));
    let platform = Platform::start_in(folder, &[]);
    // The first that it is told: one who leaves right afterwards and comes back with the new id knows of it.
    let mut stream = Stream::open(&platform, "", Some(&all[0].id)).await;
    let reset = stream.block().await.unwrap();
    assert_eq!((reset.event.as_str(), reset.json()), ("reset", json!({"reason": "unknown"})));
    assert_ne!(stream.event().await.event, "reset", "and then what happens");
}

#[tokio::test]
async fn filters_let_through_what_is_asked_for() {
    let target = Switched::good();
    let url = target.url("x");
    let platform = Platform::start(&format!(
        "endpoints: [{{name: a, group: one, url: '{url}', interval: 1, {QUICK}}}, {{name: b, group: two, url: '{url}', \
         interval: 1, {QUICK}}}, {{name: c, url: '{url}', interval: 1, {QUICK}}}]\n"
    ));
    let about = async |query: &str| {
        let mut stream = Stream::open(&platform, query, None).await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..6 {
            let block = stream.event().await;
            seen.insert((block.event.clone(), block.json()["endpoint"]["name"].as_str().unwrap_or("-").to_owned()));
        }
        seen.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    assert_eq!(about("?type=check&endpoint=1").await, ["check a"]);
    assert_eq!(about("?type=check&endpoint=two/b").await, ["check b"]);
    assert_eq!(about("?type=check&endpoint=c").await, ["check c"]);
    assert_eq!(about("?type=check&group=two").await, ["check b"]);
    assert_eq!(about("?type=check&group=").await, ["check c"]);
    assert_eq!(about("?type=check").await, ["check a", "check b", "check c"]);
    let mut changes = Stream::open(&platform, "?type=status,incident&group=one", None).await;
    target.set(500);
    let (kinds, deadline) = (["status", "incident"], Instant::now() + SOON);
    for kind in kinds {
        let block = changes.event().await;
        assert_eq!((block.event.as_str(), &block.json()["endpoint"]["name"]), (kind, &json!("a")));
        assert!(Instant::now() < deadline);
    }
    platform.get("/api/v1/events?type=check,unheard").await.expect(400);
    platform.get("/api/v1/events?endpoint=").await.expect(400);
}

#[tokio::test]
async fn refused_keys_and_troubles_are_told_to_administrators() {
    let (target, hook) = (Switched::good(), Target::answering(|_, _| Answer::Status(500)));
    let platform = Platform::start(&format!(
        "api: {{auth: {{api_key: the-key-of-the-administrator, keys: [{{name: wall, role: viewer, key: \
         the-key-of-the-wall-screen}}]}}}}\nchannels: {{hook: {{type: webhook, url: '{}'}}}}\nendpoints: [{{name: shop, \
         url: '{}', interval: 1, {QUICK}}}]\n",
        hook.url("hook?token=s3cret"),
        target.url("x"),
    ));
    let open = async |key: &str, query: &str| {
        let request = platform.request("GET", &format!("/api/v1/events{query}")).timeout(SOON).header("X-API-Key", key);
        Stream::of(request.send().await.unwrap()).await
    };
    let mut admin = open("the-key-of-the-administrator", "").await;
    let mut wall = open("the-key-of-the-wall-screen", "").await;
    let asks = platform.request("GET", "/api/v1/events?type=login").header("X-API-Key", "the-key-of-the-wall-screen");
    platform.ask(asks).await.expect(403);
    platform.ask(platform.request("GET", "/api/v1/endpoints").header("X-API-Key", "no-such-key")).await.expect(401);
    let (login, _) = admin.until("the refusal", |kind, _| kind == "login").await;
    assert_eq!((&login["result"], &login["address"]), (&json!("unauthorized"), &json!("127.0.0.1")));
    assert_eq!(login["subject"], "GET /api/v1/endpoints");
    target.set(500);
    let failing = |kind: &str, data: &Value| kind == "error" && data["code"] == "channel_failing";
    let (error, _) = admin.until("the failing channel", failing).await;
    assert_eq!(error["subject"], "channel/hook");
    let (_, before) = wall.until("the failing channel", failing).await;
    let attempt = before.iter().find(|block| block.event == "notification").unwrap().json();
    assert_eq!((&attempt["state"], &attempt["channel"]), (&json!("failed"), &json!("hook")));
    for block in &before {
        assert!(block.event != "login" && block.event != "config", "{block:?}");
        assert!(!block.data.contains("s3cret"), "{block:?}");
    }
}

#[tokio::test]
async fn the_audit_log_outlives_a_restart_and_holds_no_secret() {
    let variables = [("API_KEY", "the-key-of-the-administrator")];
    let platform = Platform::start_with("endpoints: []\n", &variables);
    let ask = async |platform: &Platform, method: &str, path: &str, body: Option<Value>| {
        let mut request = platform.request(method, path).header("X-API-Key", "the-key-of-the-administrator");
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        platform.ask(request).await
    };
    let body = json!({"name": "n", "url": "https://user:hunter2@example.com/", "headers": {"Cookie": "s3cret"}});
    ask(&platform, "POST", "/api/v1/endpoints", Some(body)).await.expect(201);
    let made = ask(&platform, "POST", "/api/v1/api-keys", Some(json!({"name": "ci", "role": "viewer"}))).await;
    let key = made.expect(201).json()["key"].as_str().unwrap().to_owned();
    ask(&platform, "GET", "/api/v1/config", None).await.expect(200);
    platform.ask(platform.request("GET", "/api/v1/audit").header("X-API-Key", &key)).await.expect(403);
    platform.get("/api/v1/audit").await.expect(401);
    let before = ask(&platform, "GET", "/api/v1/audit", None).await.expect(200).json();
    let listed: Vec<_> = before["entries"].as_array().unwrap().iter().rev().collect();
    let actions: Vec<_> = listed.iter().map(|entry| (entry["actor"].as_str(), entry["action"].as_str())).collect();
    let expected = [
        ("api-key", "endpoint.create"),
        ("api-key", "api_key.create"),
        ("api-key", "request.read"),
        ("ci", "request.refused"),
        ("anonymous", "request.refused"),
        ("api-key", "request.read"),
    ];
    assert_eq!(actions, expected.map(|(actor, action)| (Some(actor), Some(action))), "{before}");
    for entry in &listed {
        assert_eq!(entry["address"], "127.0.0.1");
    }
    for hidden in ["hunter2", "s3cret", "the-key-of-the-administrator", key.as_str()] {
        assert!(!before.to_string().contains(hidden), "{hidden}: {before}");
    }
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(30)).code, Some(0));
    let platform = Platform::start_in(folder, &variables);
    let after = ask(&platform, "GET", "/api/v1/audit?to=2999-01-01&actor=api-key", None).await.expect(200).json();
    let old: Vec<_> = after["entries"].as_array().unwrap().iter().skip(1).collect();
    let mine: Vec<_> =
        before["entries"].as_array().unwrap().iter().filter(|entry| entry["actor"] == "api-key").collect();
    assert_eq!(old, mine, "and one more: that it was read again");
}

/// Changes in one request.
const AT_ONCE: u64 = 200;

/// How large the crowd is, and how much happens before it.
#[derive(Debug, Clone, Copy)]
struct Scale {
    reading: usize,
    stuck: usize,
    events: u64,
}

const REDUCED: Scale = Scale { reading: 150, stuck: 50, events: 10_000 };
const FULL: Scale = Scale { reading: 150, stuck: 50, events: 60_000 };

/// By how much the resident memory may grow: some pieces and buffers a connection (64 KiB), the ring, and what the
/// allocator keeps.
const GROWTH_KIB: u64 = 64 * 1024;

/// What the crowd saw.
#[derive(Debug, Default)]
struct Seen {
    events: AtomicU64,
    resets: AtomicU64,
    /// Readers that have seen the last event.
    through: AtomicU64,
    done: AtomicBool,
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A connection that asks for the stream and then never reads, with next to no buffers of its own.
async fn stuck(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the last event, and sees to it that nothing is missing between two resets.
async fn read(mut stream: Stream, seen: Arc<Seen>, last: &'static str) {
    let mut expected = None;
    loop {
        let block = stream.event().await;
        if block.event == "reset" {
            seen.resets.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(expected.is_none_or(|number| number == block.number()), "{expected:?} was missed: {block:?}");
            seen.events.fetch_add(1, Ordering::Relaxed);
        }
        expected = Some(block.number() + 1);
        // A reader that fell behind at the very end has only the reset.
        if block.data.contains(last) || (block.event == "reset" && seen.done.load(Ordering::Relaxed)) {
            seen.through.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}

/// Makes events by changes, many in a request, as fast as the program takes them; `left` counts down the requests.
async fn make(address: String, endpoint: i64, left: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let mut piece = vec![0; 64 * 1024];
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let operations: Vec<Value> = (0..AT_ONCE)
            .map(|n| json!({"op": "update", "id": endpoint, "settings": {"severity": if n % 2 == 0 { "info" } else { "warning" }}}))
            .collect();
        let body = json!({"operations": operations}).to_string();
        let head = format!(
            "POST /api/v1/endpoints/bulk HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let count = timeout(SOON, stream.read(&mut piece)).await.expect("an answer").unwrap();
            assert!(count > 0, "the connection ended");
            answer.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((fields, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(fields.starts_with("HTTP/1.1 200"), "{text}");
            let lowered = fields.to_lowercase();
            let length = lowered.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(usize::MAX) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is a setting of the test, not of the product")]
async fn a_crowd_of_which_some_never_read_costs_little_and_delays_nothing() {
    let full = std::env::var("API_MONITOR_CROWD").is_ok_and(|scale| scale == "full");
    let scale = if full { FULL } else { REDUCED };
    let (target, hook) = (Switched::good(), Hook::start());
    let endpoints: Vec<String> =
        (0..20).map(|n| format!("{{name: e{n}, url: '{}', interval: 2, {QUICK}}}", target.url("x"))).collect();
    let platform = Platform::start(&format!(
        "group_messages: false\nchannels: {{hook: {{type: webhook, url: '{}'}}}}\nendpoints: [{}]\n",
        hook.url(),
        endpoints.join(", ")
    ));
    // Changed again and again, and hardly ever checked.
    for n in 0..4 {
        let idle = json!({"name": format!("idle{n}"), "url": target.url("idle"), "interval": 31_536_000});
        platform.send("POST", "/api/v1/endpoints", &idle).await.expect(201);
    }
    let process = platform.process.id();
    // Warm: everything was done once.
    let mut control = Stream::open(&platform, "?type=check,status,incident", None).await;
    let mut warmed = Stream::open(&platform, "", None).await;
    for _ in 0..60 {
        warmed.event().await;
    }
    drop(warmed);
    let before = resident_kib(process);

    let seen = Arc::new(Seen::default());
    let mut readers = JoinSet::new();
    for _ in 0..scale.reading {
        let stream = Stream::open(&platform, "", None).await;
        readers.spawn(read(stream, seen.clone(), "the-last-of-all"));
    }
    let mut hanging = Vec::new();
    for _ in 0..scale.stuck {
        hanging.push(stuck(&platform.address).await);
    }
    let (began, first) = (Instant::now(), control.event().await);
    drop(control);

    let requests = scale.events / AT_ONCE;
    let left = Arc::new(AtomicU64::new(requests));
    let mut makers = JoinSet::new();
    for n in 0..4 {
        makers.spawn(make(platform.address.clone(), 21 + n, left.clone()));
    }
    let (mut most, mut told_after) = (before, None);
    let mut outage = None;
    loop {
        tokio::select! {
            made = makers.join_next() => match made {
                Some(made) => made.unwrap(),
                None => break,
            },
            () = sleep(Duration::from_millis(100)) => {}
        }
        most = most.max(resident_kib(process));
        // An outage in the middle of it.
        if outage.is_none() && left.load(Ordering::Relaxed) < requests / 2 {
            target.set(503);
            outage = Some(Instant::now());
        }
        if told_after.is_none() && !hook.taken().is_empty() {
            told_after = outage.map(|began| began.elapsed());
        }
    }
    let took = began.elapsed();
    assert!(outage.is_some(), "there was no middle");
    let deadline = Instant::now() + SOON;
    while hook.taken().len() < 20 {
        assert!(Instant::now() < deadline, "told of {} of 20 outages", hook.taken().len());
        sleep(Duration::from_millis(50)).await;
        told_after = told_after.or_else(|| outage.map(|began| began.elapsed()));
    }

    // Everybody who reads comes to the end.
    seen.done.store(true, Ordering::Relaxed);
    let last = json!({"name": "the-last-of-all", "url": target.url("x")});
    platform.send("POST", "/api/v1/endpoints", &last).await.expect(201);
    while let Some(read) = timeout(SOON, readers.join_next()).await.expect("the readers come to the end") {
        read.unwrap();
    }
    most = most.max(resident_kib(process));
    let last = {
        let stream = Stream::open(&platform, "", None).await;
        stream.last_id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap()
    };
    let published = last - first.number();

    // Those that never read have cost the others nothing. They find what is in the buffers of the system and then,
    // being far behind, a reset, unless they were cut meanwhile or the buffers held all.
    let mut found = [0; 3];
    for mut stream in hanging {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 1 << 16];
        let which = timeout(SOON, async {
            loop {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return 0,
                    Ok(count) => bytes.extend_from_slice(&piece[..count]),
                }
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                if has(b"event: reset") {
                    return 1;
                }
                if has(b"the-last-of-all") {
                    return 2;
                }
                // What was looked through, but for its end.
                bytes.drain(..bytes.len().saturating_sub(32));
            }
        });
        let which: usize = which.await.expect("a reset or an end");
        found[which] += 1;
    }
    let [cut, behind, through] = found;

    let mut checks = (0, 0, 0);
    for id in 1..=20 {
        let uptime = platform.get(&format!("/api/v1/stats/uptime/{id}")).await.expect(200).json();
        let number = |name: &str| uptime[name].as_u64().unwrap();
        checks.0 += number("total_checks");
        checks.1 += number("missed_checks");
        checks.2 = checks.2.max(number("missed_checks"));
    }
    let health = platform.get("/health").await.json();
    let (events, resets) = (seen.events.load(Ordering::Relaxed), seen.resets.load(Ordering::Relaxed));
    println!(
        "{} readers, {} of them stuck; {published} events in {:.1} s; read {events} with {resets} resets; stuck ones: \
         {behind} behind, {cut} cut, {through} with all of it in buffers\nresident memory {before} KiB before, {most} KiB at most\n{} checks made, {} slots \
         missed; told of the outage after {:?}; {health}",
        scale.reading + scale.stuck,
        scale.stuck,
        took.as_secs_f64(),
        checks.0,
        checks.1,
        told_after.unwrap(),
    );
    assert!(published >= scale.events, "{published}");
    assert_eq!(seen.through.load(Ordering::Relaxed), scale.reading as u64);
    assert_eq!(behind + cut + through, scale.stuck);
    assert!(most < before + GROWTH_KIB, "from {before} to {most} KiB");
    // Every 2 s: more than half of the slots even where the machine has much else to do.
    let due = 20 * took.as_secs() / 2;
    assert!(checks.0 >= due / 2, "{checks:?} of {due}");
    assert_eq!(health["status"], "healthy", "{health}");
}
