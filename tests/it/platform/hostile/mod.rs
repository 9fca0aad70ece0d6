//! Servers that would eat the monitor: it stays small, and looks after the others.

mod floods;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::failing::{Server, Then};
use super::{Platform, until};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Above what the monitor needs while nobody is hostile.
const MOST_KIB: u64 = 64 * 1024;
/// At once.
const HOSTILE: usize = 50;
/// For so long each of them is checked again as soon as it was checked.
const FOR: Duration = Duration::from_secs(10);

/// What the system says of the memory of a process, in KiB: now, and at most since it was last asked to forget.
fn memory(process: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Hostile endpoints, as they are added: those of one server are checked as often as it takes to have enough of them.
#[derive(Default)]
struct Hostile {
    kinds: Vec<Value>,
    servers: Vec<Server>,
}

impl Hostile {
    fn add(&mut self, what: &str, url: &str, settings: Value, server: Server) {
        let mut endpoint = json!({
            "name": what, "url": url, "interval": "1d", "timeout": "8s", "retry": {"enabled": false}, "notify": [],
            "is_active": false,
        });
        for (key, value) in settings.as_object().unwrap() {
            endpoint[key] = value.clone();
        }
        self.kinds.push(endpoint);
        self.servers.push(server);
    }

    async fn answer(&mut self, what: &str, answer: impl Into<Vec<u8>>, then: Then, settings: Value) {
        let server = Server::answering(answer, then).await;
        let url = format!("http://{}/", server.address);
        self.add(what, &url, settings, server);
    }
}

/// Checks an endpoint again and again, for as long as it is to be hostile. How often.
async fn keep_checking(platform: std::sync::Arc<Platform>, id: Value) -> u32 {
    let ends_at = Instant::now() + FOR;
    let mut checked = 0;
    while Instant::now() < ends_at {
        let path = format!("/api/v1/endpoints/{id}/check");
        // The processors of the machine have much to do meanwhile.
        let request = platform.request("POST", &path).timeout(Duration::from_mins(5));
        let request = request.header("Content-Type", "application/json").body(r#"{"use_retry": false}"#);
        platform.ask(request).await.expect(200);
        checked += 1;
    }
    checked
}

async fn withstands(of: Hostile, endpoints: usize) {
    let healthy = Server::answering(OK, Then::Close).await;
    let mut all: Vec<Value> = Vec::new();
    for n in 0..endpoints {
        let mut endpoint = of.kinds[n % of.kinds.len()].clone();
        endpoint["name"] = json!(format!("{} {n}", endpoint["name"].as_str().unwrap()));
        all.push(endpoint);
    }
    for n in 0..20 {
        let url = format!("http://{}/", healthy.address);
        all.push(json!({"name": format!("well {n}"), "url": url, "interval": "10s", "timeout": "10s", "notify": []}));
    }
    let config = json!({
        "endpoints": all, "connectivity": null,
        "monitoring": {"max_checks_per_host": 100, "max_concurrent_checks": 200},
    });
    let platform = std::sync::Arc::new(Platform::start(&config.to_string()));
    let list = platform.get("/api/v1/endpoints?limit=100").await.expect(200).json();
    let known = list["endpoints"].as_array().unwrap().clone();
    let well: Vec<&Value> = known.iter().filter(|e| e["name"].as_str().unwrap().starts_with("well")).collect();
    let checks = async |endpoint: &Value| {
        let path = format!("/api/v1/stats/history/{}?limit=1000", endpoint["id"]);
        platform.get(&path).await.expect(200).json()["checks"].as_array().unwrap().clone()
    };
    until("the others are checked", async || {
        for endpoint in &well {
            if checks(endpoint).await.is_empty() {
                return false;
            }
        }
        true
    })
    .await;

    let process = platform.process.id();
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
    let (rest, _) = memory(process);
    let mut asking = JoinSet::new();
    for endpoint in &known {
        if !well.iter().any(|well| well["id"] == endpoint["id"]) {
            asking.spawn(keep_checking(platform.clone(), endpoint["id"].clone()));
        }
    }
    assert_eq!(asking.len(), endpoints, "at once");
    let checked: u32 = asking.join_all().await.iter().sum();
    let (after, most) = memory(process);
    eprintln!("{checked} hostile answers: {rest} KiB at rest, {most} KiB at most, {after} KiB afterwards");

    let metrics = String::from_utf8(platform.get("/metrics").await.expect(200).body).unwrap();
    for line in metrics.lines().filter(|l| l.starts_with("api_monitor_schedule_lag") && !l.contains("bucket")) {
        eprintln!("{line}");
    }
    let mut missed = 0;
    for endpoint in &well {
        let checks = checks(endpoint).await;
        // What comes too late on a machine that has much else to do is missed, and never down.
        missed += checks.iter().filter(|check| check["outcome"] == "missed").count();
        let bad = checks.iter().find(|check| check["success"] == false);
        assert!(bad.is_none(), "{}: {bad:?}", endpoint["name"]);
        assert!(checks.iter().any(|check| check["success"] == true), "{} is looked after", endpoint["name"]);
    }
    eprintln!("{missed} checks of the others were missed");
    assert!(most - rest < MOST_KIB, "{} KiB above rest", most - rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_web_servers_get_no_more_memory_than_others() {
    let mut hostile = Hostile::default();
    hostile.bodies().await;
    hostile.heads().await;
    hostile.frames().await;
    withstands(hostile, HOSTILE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_of_other_kinds_get_no_more_memory_than_others() {
    let mut hostile = Hostile::default();
    hostile.streams().await;
    hostile.messages().await;
    withstands(hostile, HOSTILE).await;
}
