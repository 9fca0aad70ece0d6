//! No false alarm: healthy endpoints of all kinds, beside everything that fails, on a machine that is busy. In a reduced
//! form here; `tests/detection/run` makes it whole.

mod others;
mod stopped;
mod web;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::failing::{Authority, Server};
use super::failures::Cases;
use super::{Platform, until};
use crate::name_server::{NameServer, Reply, address};

/// As much as a person would wait, and as often as they would look.
const TIMEOUT: &str = "10s";
const INTERVAL: &str = "10s";

/// Endpoints that are never down, with their servers.
struct Healthy {
    endpoints: Vec<Value>,
    /// How many endpoints each server has.
    copies: usize,
    servers: Vec<Box<dyn Any + Send>>,
    names: NameServer,
    authority: Authority,
    folder: TempDir,
}

impl Healthy {
    async fn start(copies: usize) -> Self {
        let names = NameServer::start(|name, _| match name {
            "shop.example" => address("127.0.0.1"),
            "six.example" => address("::1"),
            "both.example" => Reply::Addresses(["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).to_vec()),
            "many.example" => Reply::Long((0..200).map(|n| [127, 0, 1, n].into()).collect()),
            "alias.example" => Reply::Alias("shop.example", [127, 0, 0, 1].into()),
            _ => Reply::Code(3),
        })
        .await;
        let authority = Authority::new("The house");
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        let mut healthy = Self { endpoints: Vec::new(), copies, servers: Vec::new(), names, authority, folder };
        healthy.web().await;
        healthy.others().await;
        healthy
    }

    fn trusted(&self) -> Value {
        json!({"ca_file": self.folder.path().join("ca.pem")})
    }

    fn add(&mut self, what: &str, url: &str, settings: Value) {
        for copy in 1..=self.copies {
            let name = if copy == 1 { what.to_owned() } else { format!("{what} {copy}") };
            let mut endpoint = json!({
                "name": name, "url": url, "interval": INTERVAL, "timeout": TIMEOUT, "retry": {"enabled": false},
                "tags": ["healthy"], "notify": [],
            });
            let is_named = !url.starts_with("dns:");
            if is_named {
                endpoint["resolver"] = json!(self.names.address.to_string());
            }
            for (key, value) in settings.as_object().unwrap() {
                endpoint[key] = value.clone();
            }
            self.endpoints.push(endpoint);
        }
    }

    fn hold(&mut self, server: Server) {
        self.servers.push(Box::new(server));
    }
}

/// Threads that do nothing but use up the processors, until dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(ends)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What fails, checked as often as the healthy ones; beside it the names of those that are odd but do not.
fn failing(cases: &Cases) -> (Vec<Value>, BTreeSet<&'static str>) {
    let well = BTreeSet::from([
        "one of two addresses is dead",
        "a compressed bomb",
        "a body without an end",
        "an answer slow enough to be degraded",
    ]);
    let endpoints = cases.endpoints.iter().map(|(what, settings)| {
        let mut settings = settings.clone();
        settings["interval"] = json!(INTERVAL);
        settings["timeout"] = json!(if settings["timeout"] == "20s" { TIMEOUT } else { "3s" });
        settings["tags"] = json!([if well.contains(what) { "healthy" } else { "failing" }]);
        settings["alert_policy"] = json!({"failure_threshold": 1});
        settings
    });
    (endpoints.collect(), well)
}

/// Everything that was ever recorded of an endpoint: how often it was up, missed, and each sentence of what went wrong.
async fn recorded(platform: &Platform, id: &Value) -> (usize, usize, Vec<String>) {
    let (mut good, mut missed, mut bad) = (0, 0, Vec::new());
    let mut query = String::new();
    loop {
        let history = platform.get(&format!("/api/v1/stats/history/{id}?limit=500{query}")).await.expect(200).json();
        for check in history["checks"].as_array().unwrap() {
            match check["outcome"].as_str().unwrap() {
                "up" | "degraded" => good += 1,
                "missed" => missed += 1,
                _ => bad.push(format!("{}: {}", check["failure_kind"], check["error_message"])),
            }
        }
        let Some(next) = history["next_cursor"].as_str() else { return (good, missed, bad) };
        query = format!("&cursor={next}");
    }
}

async fn all(platform: &Platform) -> Vec<Value> {
    let mut endpoints = Vec::new();
    loop {
        let path = format!("/api/v1/endpoints?limit=100&offset={}", endpoints.len());
        let page = platform.get(&path).await.expect(200).json();
        let page = page["endpoints"].as_array().unwrap().clone();
        if page.is_empty() {
            return endpoints;
        }
        endpoints.extend(page);
    }
}

/// Reports in time, as long as the test runs.
async fn reporting(platform: &Platform, copies: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for copy in 0..copies {
        let settings = json!({
            "name": format!("job {copy}"), "kind": "push", "interval": INTERVAL, "tags": ["healthy"], "notify": []
        });
        let made = platform.send("POST", "/api/v1/endpoints", &settings).await.expect(201).json();
        let path = format!("/api/v1/push/{}", made["push"]["token"].as_str().unwrap());
        let report = platform.request("POST", &path);
        tasks.spawn(async move {
            loop {
                drop(report.try_clone().unwrap().send().await);
                sleep(Duration::from_secs(5)).await;
            }
        });
    }
    tasks
}

/// Checks each by hand as well, a few at a time.
async fn check_all(platform: &Platform, endpoints: &[Value]) {
    let asked = endpoints.iter().filter(|endpoint| endpoint["kind"] != "push").map(|endpoint| async move {
        let path = format!("/api/v1/endpoints/{}/check", endpoint["id"]);
        // One of the healthy ones is good only at the second attempt, now and then.
        let use_retry = endpoint["tags"] == json!(["healthy"]);
        platform.send("POST", &path, &json!({"use_retry": use_retry})).await.expect(200);
    });
    futures_util::StreamExt::collect::<Vec<()>>(futures_util::StreamExt::buffer_unordered(
        futures_util::stream::iter(asked),
        16,
    ))
    .await;
}

/// Which lines of `/metrics` say how late checks were.
async fn lateness(platform: &Platform) -> String {
    let metrics = String::from_utf8(platform.get("/metrics").await.expect(200).body).unwrap();
    let lines = metrics.lines().filter(|line| line.starts_with("api_monitor_schedule_lag") && !line.contains("bucket"));
    lines.collect::<Vec<_>>().join("\n")
}

/// How long it runs, and how many endpoints each server has: `DETECTION_MINUTES` makes it whole.
fn extent() -> (Option<Duration>, usize) {
    match std::env::var_os("DETECTION_MINUTES") {
        Some(minutes) => (Some(Duration::from_mins(minutes.to_str().unwrap().parse().unwrap())), 2),
        None => (None, 1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_healthy_endpoint_is_ever_reported_down() {
    let (duration, copies) = extent();
    let healthy = Healthy::start(copies).await;
    let cases = Cases::all().await;
    let (failing, well) = failing(&cases);
    let mut endpoints = healthy.endpoints.clone();
    endpoints.extend(failing);
    let config = json!({"endpoints": endpoints, "connectivity": null});
    let platform = Platform::start(&config.to_string());
    let _reports = reporting(&platform, copies).await;
    let known = all(&platform).await;
    assert_eq!(known.len(), healthy.endpoints.len() + cases.endpoints.len() + copies);
    let of_healthy = known.iter().filter(|endpoint| endpoint["tags"] == json!(["healthy"])).count();

    if let Some(duration) = duration {
        let ends_at = Instant::now() + duration;
        let _load = Load::start();
        while Instant::now() < ends_at {
            sleep_until(ends_at.min(Instant::now() + Duration::from_secs(30))).await;
            check_all(&platform, &known).await;
            println!("{of_healthy} healthy endpoints of {}:\n{}", known.len(), lateness(&platform).await);
        }
    } else {
        let mut healthy = known.clone();
        healthy.retain(|endpoint| endpoint["tags"] == json!(["healthy"]));
        check_all(&platform, &healthy).await;
        let load = Load::start();
        check_all(&platform, &healthy).await;
        drop(load);
        until("everything was examined", async || {
            all(&platform).await.iter().all(|endpoint| endpoint["last_outcome"].is_string())
        })
        .await;
    }

    let by_id: BTreeMap<String, &Value> = known.iter().map(|endpoint| (endpoint["id"].to_string(), endpoint)).collect();
    let (mut wrong, mut missed, mut good) = (Vec::new(), 0, 0);
    for (id, endpoint) in &by_id {
        let name = endpoint["name"].as_str().unwrap();
        let of = recorded(&platform, &endpoint["id"]).await;
        if endpoint["tags"] == json!(["healthy"]) {
            (good, missed) = (good + of.0, missed + of.1);
            let may_be_missed = endpoint["kind"] == "icmp";
            if !of.2.is_empty() || (of.0 == 0 && !may_be_missed) {
                wrong.push(format!("{name} is healthy: {of:?}"));
            }
        } else if of.2.is_empty() || of.0 > 0 {
            wrong.push(format!("{name} fails ({id}): {of:?}"));
        }
    }
    println!("{good} good checks of {of_healthy} healthy endpoints ({} odd), {missed} missed", well.len());
    println!("{}", lateness(&platform).await);
    let incidents = platform.get("/api/v1/incidents?limit=1000").await.expect(200).json();
    for incident in incidents["incidents"].as_array().unwrap() {
        let id = incident["endpoint_id"].to_string();
        let endpoint = by_id.get(&id).unwrap_or_else(|| panic!("of none: {incident}"));
        if endpoint["tags"] == json!(["healthy"]) {
            wrong.push(format!("{} has an incident: {incident}", endpoint["name"]));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    until("every failing endpoint has an incident", async || {
        let told = platform.get("/api/v1/incidents?limit=1").await.expect(200).json();
        told["total"].as_u64().unwrap() >= u64::try_from(cases.endpoints.len() - well.len()).unwrap()
    })
    .await;
}
