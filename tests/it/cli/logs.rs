//! The log: what a line looks like, the file, the level while it runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::telemetry::logging::{self, LogFileOptions, LogFormat, LogOptions, Now, Rotation};
use serde_json::{Value, json};

use super::process::{Ended, Running, eventually, run};
use super::{configured, with_database, write};
use crate::flows::target::{Answer, Target};

const SERVE: &[&str] = &["--config", "config.yaml"];
const LONG: Duration = Duration::from_secs(30);

/// A whole answer.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap().1
    }
}

pub(super) fn call(address: &str, method: &str, path: &str, header: &str, body: &str) -> Answered {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answered { status, head: head.to_owned(), body: body.to_owned() }
}

pub(super) const PLAIN: &str = "Accept: */*";

/// Stops it and reads everything that it wrote.
fn stop(monitor: Running) -> Ended {
    monitor.signal("TERM");
    let end = monitor.wait(LONG);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    end
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// Every line as the one form that is documented.
fn lines(text: &str) -> Vec<Value> {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()), "{line}");
        for key in ["target", "message"] {
            assert!(line[key].as_str().is_some_and(|text| !text.is_empty()), "{line}");
        }
        assert!(line.as_object().unwrap().values().all(|v| !v.is_null() && !v.is_object() && !v.is_array()), "{line}");
    }
    lines
}

/// Waits for a line of the file.
fn awaited(folder: &Path, file: &str, words: &str) -> String {
    eventually(LONG, words, || {
        let text = std::fs::read_to_string(folder.join(file)).ok()?;
        text.lines().find(|line| line.contains(words)).map(str::to_owned)
    })
}

/// The address that the log file tells.
fn address_in(folder: &Path, file: &str) -> String {
    let started = awaited(folder, file, "api-monitor started");
    let (_, url) = started.split_once("http://").unwrap();
    url.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
}

fn failing(target: &Target) -> String {
    format!(
        "channels: {{hook: {{type: webhook, url: 'http://127.0.0.1:1/', retry_count: 1}}}}\n\
         defaults: {{retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}}}\n\
         endpoints: [{{name: shop, url: '{}', interval: 1}}]\n\
         logging: {{file: logs/app.log}}\n",
        target.url("broken")
    )
}

#[test]
fn json_lines_have_one_shape_with_what_they_are_about() {
    let target = Target::answering(|_, _| Answer::Status(503));
    let folder = configured(&failing(&target));
    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    monitor.logs(LONG, "it is tried again");
    let created = call(
        &address,
        "POST",
        "/api/v1/endpoints",
        "X-Request-Id: req-7",
        r#"{"name": "x", "url": "http://127.0.0.1:1/", "is_active": false}"#,
    );
    assert_eq!((created.status, created.header("x-request-id")), (201, "req-7"));
    let refused = call(&address, "POST", "/api/v1/endpoints", PLAIN, "{");
    let id = refused.header("x-request-id").to_owned();
    let end = stop(monitor);

    // The file has what the terminal has.
    assert_eq!(read(folder.path(), "logs/app.log"), end.stderr);
    let lines = lines(&end.stderr);
    let of = |message: &str| {
        lines.iter().find(|line| line["message"].as_str().unwrap().starts_with(message)).unwrap().clone()
    };
    let mut shapes = Vec::new();
    for message in ["api-monitor started", "shop is down", "hook did not take", "stopped"] {
        let mut line = of(message);
        for (key, value) in line.as_object_mut().unwrap() {
            if ["timestamp", "version", "config", "database", "url", "notification", "error"].contains(&key.as_str()) {
                *value = format!("<{key}>").into();
            }
        }
        shapes.push(line.to_string());
    }
    insta::assert_snapshot!("json", shapes.join("\n"));
    let requests: Vec<_> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert!(requests.iter().any(|line| line["request_id"] == "req-7" && line["status"] == 201), "{requests:?}");
    assert!(requests.iter().any(|line| line["request_id"] == id.as_str() && line["status"] == 400), "{requests:?}");
}

#[test]
fn text_lines_have_one_shape_too() {
    let target = Target::answering(|_, _| Answer::Status(503));
    let folder = configured(&failing(&target));
    let monitor = Running::start_with(folder.path(), SERVE, &[("LOG_FORMAT", "text")]);
    monitor.logs(LONG, "it is tried again");
    let end = stop(monitor);
    let shape = |text: &str, words: &str| {
        let line = text.lines().find(|line| line.contains(words)).unwrap();
        let (time, rest) = line.split_at(24);
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        let mut shape = format!("<time>{rest}");
        for key in ["notification=", "error=\""] {
            if let Some((before, after)) = shape.clone().split_once(key) {
                let close = if key.ends_with('"') { '"' } else { ' ' };
                let (_, after) = after.split_once(close).unwrap();
                shape = format!("{before}{key}<…>{close}{after}");
            }
        }
        shape
    };
    let told = ["shop is down", "hook did not take", "stopped"].map(|words| shape(&end.stderr, words));
    insta::assert_snapshot!("text", told.join("\n"));
    assert!(!end.stderr.contains('\x1b'), "no colours where no terminal is");
    // People are told of the start in another form; the file is.
    assert!(end.stdout.contains("api-monitor 0") && !end.stderr.contains("api-monitor started"), "{}", end.stderr);
    let file = read(folder.path(), "logs/app.log");
    assert!(file.contains("  INFO api_monitor::start: api-monitor started version="), "{file}");
}

#[test]
fn the_file_is_rotated_and_what_is_not_its_own_stays() {
    let folder = configured("endpoints: []\nlogging: {file: logs/app.log, console: false, keep: 2}");
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    for name in ["app.log.2020-01-01", "app.log.2020-01-02", "app.log.2020-01-03", "app.log.1", "other.log.2020-01-01"]
    {
        std::fs::write(logs.join(name), "old\n").unwrap();
    }
    std::fs::write(logs.join("app.log"), "of before\n").unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    std::fs::File::options().append(true).open(logs.join("app.log")).unwrap().set_modified(long_ago).unwrap();

    let monitor = Running::start(folder.path(), SERVE);
    address_in(folder.path(), "logs/app.log");
    let end = stop(monitor);
    assert_eq!(end.stderr, "", "console: false");
    let told = lines(&read(folder.path(), "logs/app.log"));
    assert_eq!(told.last().unwrap()["message"], "stopped", "everything is written at the end");
    let mut names: Vec<_> =
        std::fs::read_dir(&logs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["app.log", "app.log.1", "app.log.2020-01-03", "app.log.2020-09-13", "other.log.2020-01-01"]);
    assert_eq!(read(&logs, "app.log.2020-09-13"), "of before\n");
    // The same day goes on in the same file.
    let before = read(&logs, "app.log");
    stop({
        let monitor = Running::start(folder.path(), SERVE);
        eventually(LONG, "the second start", || {
            (read(&logs, "app.log").matches("monitor started").count() == 2).then_some(())
        });
        monitor
    });
    assert!(read(&logs, "app.log").starts_with(&before));
}

#[test]
fn a_file_that_cannot_be_written_is_refused_at_the_start() {
    let folder = configured("endpoints: []\nlogging: {file: taken/app.log}");
    write(folder.path(), "taken", "not a folder");
    let end = run(folder.path(), SERVE);
    assert_eq!(end.code, Some(2));
    assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
    for words in ["taken/app.log", "logging.file"] {
        assert!(end.stderr.contains(words), "{}", end.stderr);
    }
    assert!(!folder.path().join("monitor.db").exists(), "nothing was begun");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_once_and_the_monitor_goes_on() {
    for console in [true, false] {
        let folder = configured(&format!("endpoints: []\nlogging: {{file: /dev/full, console: {console}}}"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let monitor = Running::start_with(folder.path(), SERVE, &[("API_PORT", &port), ("LOG_LEVEL", "DEBUG")]);
        monitor.logs(LONG, "cannot be written");
        let address = format!("127.0.0.1:{port}");
        eventually(LONG, "the API", || TcpStream::connect(&address).ok());
        for _ in 0..5 {
            assert_eq!(call(&address, "GET", "/health", PLAIN, "").status, 200);
        }
        let end = stop(monitor);
        assert_eq!(end.stderr.matches("cannot be written").count(), 1, "{}", end.stderr);
        assert_eq!(end.stderr.lines().count() == 1, !console, "{}", end.stderr);
    }
}

#[test]
fn the_end_of_a_failed_start_is_in_the_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = configured("endpoints: []\nlogging: {file: app.log, console: false}");
    let end = Running::start_with(folder.path(), SERVE, &[("API_PORT", &port)]).wait(LONG);
    assert_eq!(end.code, Some(2));
    let told = lines(&read(folder.path(), "app.log"));
    assert!(
        told.iter().any(|line| line["level"] == "ERROR" && line["message"].as_str().unwrap().contains(&port)),
        "{told:?}"
    );
    assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
}

#[test]
fn the_level_of_the_environment_beats_the_file_and_must_be_one() {
    let folder = configured("endpoints: []\nlogging: {level: ERROR}");
    let wrong = Running::start_with(folder.path(), SERVE, &[("LOG_LEVEL", "debgu")]).wait(LONG);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("environment variable LOG_LEVEL") && wrong.stderr.contains("did you mean DEBUG"),
        "{}",
        wrong.stderr
    );

    let mut monitor = Running::start_with(folder.path(), SERVE, &[("LOG_LEVEL", "debug")]);
    let address = monitor.address();
    let shown = call(&address, "GET", "/api/v1/config", PLAIN, "").json();
    let level = &shown["settings"]["logging.level"];
    assert_eq!(level, &json!({"value": "DEBUG", "source": "environment", "at": "LOG_LEVEL", "key": "logging_level"}));
    call(&address, "GET", "/health", PLAIN, "");
    let told = lines(&stop(monitor).stderr);
    assert!(told.iter().any(|line| line["level"] == "DEBUG" && line["route"] == "/health"), "{told:?}");
}

#[test]
fn the_level_changes_while_it_runs_and_over_a_restart_until_the_file_does() {
    let yaml = |level: &str| format!("endpoints: []\nlogging: {{level: {level}, file: app.log}}");
    let folder = configured(&yaml("INFO"));
    let set = |address: &str, level: Value| {
        let answer = call(address, "PUT", "/api/v1/config", PLAIN, &json!({ "logging_level": level }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["status"], "Configuration updated successfully");
    };
    let seen = |address: &str, id: &str| {
        call(address, "GET", "/health", &format!("X-Request-Id: {id}"), "");
    };
    let source = |address: &str| {
        call(address, "GET", "/api/v1/config", PLAIN, "").json()["settings"]["logging.level"]["source"].clone()
    };

    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    seen(&address, "at-info");
    set(&address, json!("DEBUG"));
    seen(&address, "at-debug");
    set(&address, json!("ERROR"));
    // A change, which is told at info.
    set(&address, json!("ERROR"));
    set(&address, json!("DEBUG"));
    seen(&address, "at-debug-again");
    let end = stop(monitor);
    let told = lines(&end.stderr);
    let ids: Vec<_> = told.iter().filter(|l| l["level"] == "DEBUG").filter_map(|l| l["request_id"].as_str()).collect();
    assert_eq!(ids, ["at-debug", "at-debug-again"], "{}", end.stderr);
    assert_eq!(told.iter().filter(|line| line["route"] == "/api/v1/config").count(), 2, "{}", end.stderr);
    let change = told.iter().find(|line| line["message"] == "a setting was changed").unwrap();
    assert!(change["request_id"].is_string() && change["by"] == "local", "{change}");

    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    assert_eq!(source(&address), "override");
    seen(&address, "after-restart");
    assert!(stop(monitor).stderr.contains("after-restart"));

    write(folder.path(), "config.yaml", &with_database(folder.path(), &yaml("warning")));
    let monitor = Running::start(folder.path(), SERVE);
    // At its level the start is not told.
    eventually(LONG, "the third start", || folder.path().join("monitor.db-wal").exists().then_some(()));
    stop(monitor);
    write(folder.path(), "config.yaml", &with_database(folder.path(), &yaml("INFO")));
    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    assert_eq!(source(&address), "file", "it does not come back");
    seen(&address, "ended");
    assert!(!stop(monitor).stderr.contains("ended"));
}

/// Set in the process that panics.
const CHILD: &str = "API_MONITOR_TEST_PANICS_IN";

/// This very test again, as a process of its own that logs and panics.
#[test]
fn what_led_to_a_panic_and_the_panic_are_in_the_file() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let path = Path::new(&folder).join("logs/app.log");
        let file = LogFileOptions { path, format: LogFormat::Json, rotation: Rotation::Daily, keep: 1 };
        let now: Now = Arc::new(|| "2026-03-01T12:00:00Z".parse().unwrap());
        let options = LogOptions { level: "info", console: None, file: Some(file), echo_statements: false, now };
        let _logging = logging::start(options).unwrap();
        for n in 0..1_000 {
            tracing::info!(target: "api_monitor::test", n, "before");
        }
        panic!("the end");
    }
    let folder = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::logs::what_led_to_a_panic_and_the_panic_are_in_the_file"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let told = lines(&read(folder.path(), "logs/app.log"));
    assert_eq!(told.len(), 1_001);
    let last = told.last().unwrap();
    assert_eq!((&last["level"], &last["message"]), (&"ERROR".into(), &"panicked: the end".into()));
    assert!(last["at"].as_str().unwrap().contains("logs.rs:"), "{last}");
}
