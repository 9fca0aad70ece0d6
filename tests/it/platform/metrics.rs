//! What the monitor measures of itself: single values, the document of all, and the text that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::secure::Secure;
use super::{Answer, Platform};
use crate::flows::target::{self, Target};

/// A sample of the text: its labels and its value.
type Sample = (BTreeMap<String, String>, f64);

/// A scrape, by the names of samples.
#[derive(Debug)]
struct Scrape {
    text: String,
    samples: BTreeMap<String, Vec<Sample>>,
}

impl Scrape {
    #[track_caller]
    fn read(text: String) -> Self {
        let mut samples: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
            samples.entry(name.to_owned()).or_default().push((read_labels(labels), value.parse().unwrap()));
        }
        Self { text, samples }
    }

    /// The samples of a name that have all of these labels.
    fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has = |sample: &&Sample| labels.iter().all(|(name, value)| sample.0.get(*name).is_some_and(|v| v == value));
        self.samples.get(name).into_iter().flatten().filter(has).collect()
    }

    /// The one sample.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.all(name, labels);
        assert!(found.len() < 2, "{name} {labels:?}: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    fn sum(&self, name: &str) -> f64 {
        self.all(name, &[]).iter().map(|(_, value)| value).sum()
    }
}

fn read_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                c => value.push(c),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &after[end..];
    }
    labels
}

impl Platform {
    async fn metric(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/metrics/{name}")).await.expect(200).json()
    }

    /// Asks until a metric is as wanted.
    async fn metric_until(&self, name: &str, wanted: impl Fn(f64) -> bool) -> Value {
        for _ in 0..600 {
            let metric = self.metric(name).await;
            if metric["numeric_value"].as_f64().is_some_and(&wanted) {
                return metric;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} stays {}", self.metric(name).await)
    }

    async fn scrape(&self) -> Scrape {
        let answer = self.get("/metrics").await.expect(200);
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Scrape::read(String::from_utf8(answer.body).unwrap())
    }

    /// Scrapes until it is as wanted.
    async fn scrape_until(&self, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
        for _ in 0..600 {
            let scrape = self.scrape().await;
            if wanted(&scrape) {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it stays as it is:\n{}", self.scrape().await.text)
    }

    async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.ask(self.request("GET", path).header("Accept", accept)).await
    }
}

/// `up…` answers 200, anything else 500.
fn good_and_bad() -> Target {
    Target::answering(|path, _| target::Answer::Status(if path.starts_with("up") { 200 } else { 500 }))
}

/// Endpoints of a target which are checked at the start, and then as good as never.
fn endpoints(target: &Target, paths: &[&str]) -> String {
    let lines = paths.iter().map(|path| {
        format!("  - {{name: \"{path}\", group: \"Web Shop\", url: \"{}\", interval: 1d}}\n", target.url(path))
    });
    let defaults = "defaults: {retry: {enabled: false}, alert_policy: {failure_threshold: 1}}\n";
    format!("{defaults}endpoints:\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn processor_and_memory_are_those_of_the_process() {
    let platform = Platform::start("endpoints: []\n");
    // Work beside makes it grow: this process is never at rest while it is asked.
    let work = async {
        loop {
            platform.get("/api/v1/openapi.json").await.expect(200);
        }
    };
    let seen = async {
        for name in ["cpu_usage", "system_cpu_usage"] {
            let busy = platform.metric_until(name, |percent| {
                assert!((0.0..=100.0).contains(&percent), "{name}: {percent}");
                percent > 0.0
            });
            let busy = busy.await;
            assert_eq!(busy["unit"], "percent", "{busy}");
        }
    };
    tokio::select! {
        () = work => {}
        () = seen => {}
    }
    let cpu = platform.metric_until("cpu_usage", |_| true).await;
    assert_eq!((cpu["metric_name"].as_str(), cpu["unit"].as_str()), (Some("cpu_usage"), Some("percent")), "{cpu}");
    assert!(cpu["value"].as_str().unwrap().ends_with('%') && cpu["reason"].is_null(), "{cpu}");

    let memory = platform.metric_until("memory_usage", |bytes| bytes > 0.0).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", platform.process.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: f64 = resident.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0;
    let told = memory["numeric_value"].as_f64().unwrap();
    assert!(told > resident / 2.0 && told < resident * 2.0, "{memory} of {resident}");
    let limit = platform.metric("memory_limit").await["numeric_value"].as_f64().unwrap();
    let percent = memory["percent"].as_f64().unwrap();
    assert!((percent - told / limit * 100.0).abs() < 0.01, "{memory} of {limit}");

    let all = platform.get("/api/v1/metrics").await.expect(200).json();
    for text in ["cpu_usage", "system_cpu_usage", "memory_usage"] {
        assert!(all[text].is_string(), "{text}: {all}");
    }
    assert!(all["memory_usage"].as_str().unwrap().ends_with("MB"), "{all}");

    // Processor time is that of the process too: work makes it grow.
    let before = platform.scrape().await.get("process_cpu_seconds_total", &[]).unwrap();
    for _ in 0..200 {
        platform.get("/api/v1/openapi.json").await.expect(200);
    }
    let after = platform.scrape_until(|s| s.get("process_cpu_seconds_total", &[]).unwrap() > before).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", platform.process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let told = after.get("process_cpu_seconds_total", &[]).unwrap();
    assert!(told <= ticks / 100.0 + 0.02, "{told} s of {ticks} ticks");
}

#[tokio::test]
async fn an_unknown_metric_is_not_found_and_what_was_meant_is_said() {
    let platform = Platform::start("endpoints: []\n");
    let problem = platform.get("/api/v1/metrics/cpu_usag").await.expect(404).json();
    assert!(problem["detail"].as_str().unwrap().contains("did you mean cpu_usage?"), "{problem}");
    platform.get("/metrics/nothing-like-it").await.expect(404);
    platform.get("/api/v1/metrics?format=xml").await.expect(400);
    platform.get("/metrics?format=xml").await.expect(400);
    let refused = platform.ask(platform.request("POST", "/metrics")).await.expect(405);
    assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn checks_connections_and_statements_are_counted() {
    let target = good_and_bad();
    let paths = ["up", "up2", "down"];
    let platform = Platform::start(&endpoints(&target, &paths));
    let hits = || paths.iter().map(|path| target.hits(path).len()).sum::<usize>();

    // Each once at the start, and then one of them by hand.
    platform.scrape_until(|s| s.sum("api_monitor_check_duration_seconds_count") > 2.5).await;
    platform.metric_until("checks_in_flight", |n| n < 0.5).await;
    platform.ask(platform.request("POST", "/api/v1/endpoints/1/check")).await.expect(200);
    let scrape = platform
        .scrape_until(|scrape| {
            let counted = scrape.sum("api_monitor_check_duration_seconds_count");
            counted >= 4.0 && scrape.get("api_monitor_checks_in_flight", &[]) == Some(0.0)
        })
        .await;
    let counted = |labels: &[(&str, &str)]| scrape.get("api_monitor_check_duration_seconds_count", labels).unwrap();
    let all = scrape.sum("api_monitor_check_duration_seconds_count");
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let expected = hits() as f64;
    assert!((all - expected).abs() < 0.5, "{all} of {expected}\n{}", scrape.text);
    assert!(counted(&[("kind", "http"), ("outcome", "up")]) >= 3.0 && counted(&[("outcome", "down")]) >= 1.0);
    let infinite = scrape.all("api_monitor_check_duration_seconds_bucket", &[("le", "+Inf")]);
    assert!((infinite.iter().map(|(_, n)| n).sum::<f64>() - all).abs() < 0.5, "{infinite:?}");
    assert_eq!(scrape.get("api_monitor_schedule_lag_seconds_count", &[]), Some(all));
    let metric = platform.metric("total_checks").await;
    assert_eq!(metric["numeric_value"].as_f64(), Some(all), "{metric}");
    let recorded = platform.metric_until("results_recorded", |n| n >= all).await;
    assert_eq!(recorded["value"].as_str(), Some(format!("{all}").as_str()), "{recorded}");
    assert!(platform.scrape().await.get("api_monitor_commit_duration_seconds_count", &[]).unwrap() >= 1.0);

    // Each endpoint as it is.
    let shown = platform.scrape_until(|s| s.sum("api_monitor_endpoint_checks_total") >= all).await;
    let down = [("group", "Web Shop"), ("name", "down"), ("id", "3")];
    assert_eq!(shown.get("api_monitor_endpoint_up", &down), Some(0.0));
    assert_eq!(shown.get("api_monitor_endpoint_status", &[("name", "down"), ("status", "down")]), Some(1.0));
    assert_eq!(shown.get("api_monitor_endpoint_up", &[("name", "up")]), Some(1.0));
    assert_eq!(shown.get("api_monitor_endpoint_uptime_ratio", &[("name", "up"), ("window", "7d")]), Some(1.0));
    assert_eq!(shown.get("api_monitor_endpoint_uptime_ratio", &[("name", "down"), ("window", "24h")]), Some(0.0));
    assert!(shown.get("api_monitor_endpoint_latency_seconds", &[("name", "up")]).unwrap() > 0.0);
    assert!(shown.get("api_monitor_endpoint_last_check_timestamp_seconds", &down).unwrap() > 1.7e9);
    assert_eq!(shown.get("api_monitor_endpoints", &[("status", "down")]), Some(1.0));
    assert_eq!(shown.get("api_monitor_endpoints", &[("status", "up")]), Some(2.0));

    // Connections that are open.
    let open: Vec<_> = (0..20).map(|_| TcpStream::connect(&platform.address).unwrap()).collect();
    let active = platform.metric_until("active_connections", |n| n >= 21.0).await;
    let most = platform.scrape().await.get("api_monitor_connections_max", &[]).unwrap();
    let percent = active["percent"].as_f64().unwrap();
    assert!((percent - active["numeric_value"].as_f64().unwrap() / most * 100.0).abs() < 0.01, "{active} of {most}");
    drop(open);
    platform.metric_until("active_connections", |n| n < 10.0).await;

    // Statements.
    let before = platform.metric("total_queries_executed").await["numeric_value"].as_f64().unwrap();
    platform.get("/api/v1/stats/uptime/1").await.expect(200);
    platform.metric_until("total_queries_executed", |n| n > before).await;
    let average = platform.metric("query_response_time_avg").await;
    assert!(average["value"].as_str().is_some_and(|text| text.ends_with('s')), "{average}");

    // Requests, by the template of their route.
    let scrape = platform.scrape().await;
    let route = [("method", "GET"), ("route", "/api/v1/stats/uptime/{id}"), ("status", "2xx")];
    assert_eq!(scrape.get("api_monitor_http_requests_total", &route), Some(1.0));
    assert_eq!(scrape.get("api_monitor_http_request_duration_seconds_count", &route[..2]), Some(1.0));
}

#[tokio::test]
async fn the_form_is_as_accepted() {
    let platform = Platform::start("endpoints: []\n");
    let open = platform.accepting("/metrics", "application/openmetrics-text;version=1.0.0").await.expect(200);
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(open.body).unwrap();
    assert!(text.ends_with("\n# EOF\n") && text.contains("\n# TYPE api_monitor_checks_started counter\n"), "{text}");

    let json = platform.accepting("/metrics", "application/json").await.expect(200);
    assert_eq!(json.header("content-type"), "application/json");
    let keys = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json.json()), keys(&platform.get("/api/v1/metrics").await.json()));

    platform.accepting("/metrics", "image/png").await.expect(406);
    let head = platform.ask(platform.request("HEAD", "/metrics")).await.expect(200);
    assert!(head.body.is_empty() && head.header("content-type").starts_with("text/plain; version=0.0.4"), "{head:?}");
    // By hand: the client unpacks by itself, and does not say so.
    for accept in ["text/plain", "application/openmetrics-text"] {
        let mut stream = TcpStream::connect(&platform.address).unwrap();
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("content-encoding: gzip\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn the_path_is_as_configured_and_a_viewer_may_read_it() {
    let sections = "prometheus: {path: /internal/prom}\nendpoints: []\napi:\n  auth:\n    api_key: a-key-of-some-length\n    \
                    keys: [{name: prometheus, role: viewer, key: a-key-of-a-viewer-only}]\n";
    let platform = Platform::start(sections);
    platform.get("/internal/prom").await.expect(401);
    let with_key = |path: &str| platform.request("GET", path).bearer_auth("a-key-of-a-viewer-only");
    let scrape = platform.ask(with_key("/internal/prom")).await.expect(200);
    assert!(scrape.body.starts_with(b"# HELP "), "{scrape:?}");
    let problem = platform.ask(with_key("/internal/prom?x=1")).await.expect(400).json();
    assert_eq!(problem["instance"], "/internal/prom");
    platform.ask(with_key("/metrics")).await.expect(404);
    platform.ask(with_key("/metrics/cpu_usage")).await.expect(200);
    let document = platform.get("/api/v1/openapi.json").await.expect(200).json();
    assert!(document["paths"]["/internal/prom"].is_object() && document["paths"]["/metrics"].is_null());

    let off = Platform::start_with("endpoints: []\n", &[("PROMETHEUS_ENABLED", "false")]);
    off.get("/metrics").await.expect(404);
    off.get("/api/v1/metrics").await.expect(200);
}

#[tokio::test]
async fn metrics_of_endpoints_are_bounded() {
    let target = good_and_bad();
    let paths = ["up1", "up2", "up3", "up4", "up5"];
    let all = endpoints(&target, &paths);
    let platform = Platform::start(&format!("prometheus: {{max_endpoints: 2, gatus_names: true}}\n{all}"));
    let scrape = platform.scrape_until(|scrape| scrape.sum("gatus_results_total") >= 2.0).await;
    let named = |scrape: &Scrape, metric: &str| -> BTreeSet<String> {
        scrape.all(metric, &[]).iter().map(|(labels, _)| labels["name"].clone()).collect()
    };
    for metric in ["api_monitor_endpoint_status", "gatus_results_total"] {
        assert_eq!(named(&scrape, metric), BTreeSet::from(["up1".to_owned(), "up2".to_owned()]));
    }
    assert_eq!(scrape.get("api_monitor_endpoints_without_metrics", &[]), Some(3.0));
    assert!((scrape.sum("api_monitor_endpoints") - 5.0).abs() < 0.1, "counts are of all");
    platform.scrape().await;
    platform.process.logs(Duration::from_secs(30), "raise prometheus.max_endpoints");
    assert_eq!(platform.process.stderr().matches("raise prometheus.max_endpoints").count(), 1);

    let without = Platform::start(&format!("prometheus: {{endpoint_metrics: false}}\n{all}"));
    let scrape = without.scrape_until(|s| s.sum("api_monitor_check_duration_seconds_count") >= 5.0).await;
    assert!(!scrape.text.contains("up1"), "{}", scrape.text);
}

/// A monitor with everything that has metrics: endpoints up and down, over TLS, paused, with names made to be
/// mistaken, and channels that work and fail.
async fn whole(gatus_names: bool) -> (Platform, Target) {
    let (target, secure) = (good_and_bad(), Secure::start(&["localhost"], (-1, 89)));
    let sections = format!(
        "prometheus: {{gatus_names: {gatus_names}}}\nchannels:\n  shout: {{type: console}}\n  \
         deaf: {{type: webhook, url: 'http://127.0.0.1:1/', retry_count: 1}}\n{}  \
         - {{name: \"safe\", url: \"{}\", interval: 1d, tls: {{verify: false}}}}\n  \
         - {{name: 'x\"}} y{{le=\"1\\', url: \"{}\", interval: 1d, is_active: false}}\n",
        endpoints(&target, &["up", "down"]),
        secure.url(""),
        target.url("up-too"),
    );
    let platform = Platform::start(&sections);
    platform
        .scrape_until(|scrape| {
            let told = |channel, result| {
                scrape.get("api_monitor_deliveries_total", &[("channel", channel), ("result", result)])
            };
            scrape.sum("api_monitor_endpoint_checks_total") >= 3.0
                && told("shout", "delivered").is_some_and(|n| n >= 1.0)
                && told("deaf", "failed").is_some_and(|n| n >= 1.0)
                && scrape.get("api_monitor_channel_failing", &[("channel", "deaf")]) == Some(1.0)
                && scrape.get("api_monitor_database_size_bytes", &[]).is_some_and(|bytes| bytes > 4096.0)
                && scrape.get("api_monitor_cpu_usage_ratio", &[]).is_some()
        })
        .await;
    (platform, target)
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    for gatus_names in [false, true] {
        let (platform, _target) = whole(gatus_names).await;
        let scrape = platform.scrape().await;
        assert_eq!(scrape.text.contains("gatus_"), gatus_names);
        assert_eq!(scrape.all("api_monitor_endpoint_status", &[("name", "x\"} y{le=\"1\\")]).len(), 1);
        let Ok(mut promtool) = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            assert!(std::env::var_os("CI").is_none(), "promtool is missing: it is in Debian's package prometheus");
            eprintln!("promtool is missing: the metrics are not judged");
            return;
        };
        let text = scrape.text.clone();
        let mut input = promtool.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let judged = promtool.wait_with_output().unwrap();
        feeding.join().unwrap().unwrap();
        let said = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
        assert!(judged.status.success() && said.is_empty(), "{said}\n{}", scrape.text);
    }
}

#[tokio::test]
async fn boards_made_for_gatus_find_what_they_ask_for() {
    let (platform, _target) = whole(true).await;
    let scrape = platform.scrape_until(|scrape| scrape.sum("gatus_results_total") >= 3.0).await;
    let of = |name: &'static str| {
        let key = if name == "safe" { "_safe".to_owned() } else { format!("web-shop_{name}") };
        let group = if name == "safe" { "" } else { "Web Shop" };
        move |more: &[(&str, &str)], metric: &str, scrape: &Scrape| {
            let who = [("key", key.as_str()), ("group", group), ("name", name), ("type", "HTTP")];
            scrape.get(metric, &[&who, more].concat())
        }
    };
    let (up, down, safe) = (of("up"), of("down"), of("safe"));
    assert!(up(&[("success", "true")], "gatus_results_total", &scrape).unwrap() >= 1.0);
    assert_eq!(up(&[("success", "false")], "gatus_results_total", &scrape), Some(0.0));
    assert!(down(&[("success", "false")], "gatus_results_total", &scrape).unwrap() >= 1.0);
    assert!(up(&[("code", "200")], "gatus_results_code_total", &scrape).unwrap() >= 1.0);
    assert!(down(&[("code", "500")], "gatus_results_code_total", &scrape).unwrap() >= 1.0);
    assert!(down(&[], "gatus_results_connected_total", &scrape).unwrap() >= 1.0);
    assert_eq!(up(&[], "gatus_results_endpoint_success", &scrape), Some(1.0));
    assert_eq!(down(&[], "gatus_results_endpoint_success", &scrape), Some(0.0));
    assert!(up(&[], "gatus_results_duration_seconds", &scrape).unwrap() > 0.0);
    assert_eq!(up(&[], "gatus_results_certificate_expiration_seconds", &scrape), None);
    let left = safe(&[], "gatus_results_certificate_expiration_seconds", &scrape).unwrap();
    assert!(left > 86_400.0, "{left}");
    let at = scrape.get("api_monitor_endpoint_certificate_expiry_timestamp_seconds", &[("name", "safe")]).unwrap();
    assert!(at > 1.7e9 + left, "{at}");
}

/// A name at the start of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The metrics of an expression, each with the labels that it is asked for.
fn asked(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for (at, _) in expression.char_indices() {
        let before = expression[..at].chars().next_back();
        let name = word(&expression[at..]);
        let begins = !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '"');
        if !begins || !(name.starts_with("api_monitor_") || name.starts_with("process_")) {
            continue;
        }
        let rest = &expression[at + name.len()..];
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let labels = matchers.split("\",").map(|matcher| word(matcher.trim()).to_owned());
        found.push((name.to_owned(), labels.filter(|label| !label.is_empty()).collect()));
    }
    found
}

/// The labels by which an expression groups.
fn grouped(expression: &str) -> BTreeSet<String> {
    let lists = expression.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

fn panels(board: &Value) -> Vec<&Value> {
    let inner = |panel: &'_ Value| panel["panels"].as_array().map_or(0, Vec::len);
    let panels = board["panels"].as_array().unwrap();
    assert_eq!(panels.iter().map(inner).sum::<usize>(), 0, "no panel is hidden in a row");
    panels.iter().collect()
}

#[tokio::test]
async fn the_board_shows_what_is_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana/api-monitor.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (platform, _target) = whole(false).await;
    let scrape = platform.scrape().await;
    // Those are given by Prometheus itself.
    let given = ["job", "instance"];
    let has = |metric: &str, label: &str| {
        given.contains(&label) || scrape.all(metric, &[]).iter().any(|(labels, _)| labels.contains_key(label))
    };
    let mut expressions = 0;
    for panel in panels(&board) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let metrics = asked(expression);
            assert!(!metrics.is_empty(), "{expression}");
            let legend = target["legendFormat"].as_str().unwrap();
            let legend = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().to_owned());
            for (metric, labels) in &metrics {
                assert!(scrape.samples.contains_key(metric), "{metric} of {expression} is not there");
                for label in labels.iter().cloned().chain(grouped(expression)).chain(legend.clone()) {
                    assert!(has(metric, &label), "{metric} has no label {label}: {expression}");
                }
            }
            expressions += 1;
        }
    }
    assert!(expressions > 40, "{expressions} expressions were read");
    for variable in board["templating"]["list"].as_array().unwrap() {
        for (metric, labels) in variable["definition"].as_str().map(asked).unwrap_or_default() {
            let labels = labels.iter().map(String::as_str).chain([variable["name"].as_str().unwrap()]);
            for label in labels {
                assert!(has(&metric, label), "{metric} has no label {label}: {variable}");
            }
        }
    }
}

/// The example of the document, with the base URL and the token changed.
const PYTHON: &str = r#"
import requests

def get_cpu_usage(api_url, token):
    headers = {'Authorization': f'Bearer {token}'}
    response = requests.get(f"{api_url}/metrics/cpu_usage", headers=headers)
    if response.status_code == 200:
        return response.json()["value"]
    else:
        raise Exception("Failed to fetch CPU usage")

api_url = "API_URL"
token = "a-key-of-some-length"
cpu_usage = get_cpu_usage(api_url, token)
print(f"Current CPU Usage: {cpu_usage}")
"#;

/// What the example needs of `requests`, where that is not installed.
const REQUESTS: &str = "
import json, urllib.request

class Response:
    def __init__(self, answer):
        self.status_code, self.body = answer.status, answer.read()

    def json(self):
        return json.loads(self.body)

def get(url, headers):
    return Response(urllib.request.urlopen(urllib.request.Request(url, headers=headers)))
";

#[tokio::test]
async fn the_python_example_works() {
    let platform = Platform::start("api: {auth: {api_key: a-key-of-some-length}}\nendpoints: []\n");
    for base in ["/api/v1", ""] {
        let path = format!("{base}/metrics/cpu_usage");
        platform.get(&path).await.expect(401);
        let request = || platform.request("GET", &path).bearer_auth("a-key-of-some-length");
        let mut answer = platform.ask(request()).await.expect(200).json();
        while answer["value"].is_null() {
            // Until the first sample, a moment after the start.
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = platform.ask(request()).await.expect(200).json();
        }
        assert!(answer["value"].as_str().unwrap().ends_with('%'), "{answer}");

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requests.py"), REQUESTS).unwrap();
        // What is installed is found first.
        let script = PYTHON.replace("API_URL", &format!("http://{}{base}", platform.address));
        let script = format!("import sys\nsys.path.append('{}')\n{script}", folder.path().display());
        let ran = Command::new("python3").arg("-c").arg(script).output();
        let Ok(ran) = ran else {
            eprintln!("python3 is missing: the request of the example was made without it");
            continue;
        };
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(said.starts_with("Current CPU Usage: ") && said.ends_with("%\n"), "{said}");
    }
}
