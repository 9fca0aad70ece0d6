//! Conditions of the real program: read from the file and the API, examined, shown and told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Platform, until};
use crate::cli::process::run;

const ENDPOINTS: &str = "/api/v1/endpoints";

/// A server whose answer a test changes as it goes.
struct Page {
    address: SocketAddr,
    body: Arc<Mutex<String>>,
}

impl Page {
    fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let body = Arc::new(Mutex::new(body.to_owned()));
        let shown = body.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let body = shown.lock().unwrap().clone();
                let mut request = Vec::new();
                let mut piece = [0; 1024];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                        _ => break,
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\nx-region: eu\r\nx-api-key: s3cret-of-theirs";
                // A client that has gone is nothing to a page.
                drop(write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
            }
        });
        Self { address, body }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn say(&self, body: &str) {
        body.clone_into(&mut self.body.lock().unwrap());
    }
}

async fn endpoint(platform: &Platform) -> Value {
    platform.get(&format!("{ENDPOINTS}/1")).await.expect(200).json()
}

async fn once(platform: &Platform, status: &str) -> Value {
    until(status, async || endpoint(platform).await["status"] == status).await;
    endpoint(platform).await
}

fn yaml(page: &Page, keys: &str) -> String {
    format!(
        "channels: {{out: {{type: console}}}}\n\
         defaults: {{interval: 1, retry: {{enabled: false}}}}\n\
         endpoints:\n  - name: e\n    url: '{}'\n{keys}",
        page.url()
    )
}

async fn told(platform: &Platform) -> Vec<(String, String)> {
    let list = platform.get("/api/v1/notifications?limit=100").await.expect(200).json();
    let mut all: Vec<_> = list["notifications"].as_array().unwrap().clone();
    all.reverse();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|one| (text(&one["event"]), text(&one["error_message"]))).collect()
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_down_with_the_value_seen() {
    let page = Page::start(r#"{"status": "ok", "list": [1, 2]}"#);
    let keys = "    alert_policy: {failure_threshold: 1}\n    conditions:\n      - '[BODY].status == ok'\n      \
                - len([BODY].list) == 2\n      - '[HEADER].x-region == any(eu, us)'\n      \
                - '[HEADER].x-api-key != other'\n";
    let platform = Platform::start(&yaml(&page, keys));
    let up = once(&platform, "up").await;
    let conditions = &up["last_check"]["conditions"];
    assert_eq!(conditions[0]["seen"], "[BODY].status (ok) == ok", "{up}");
    assert_eq!(
        (&conditions[1]["success"], &conditions[3]["seen"]),
        (&json!(true), &json!("[HEADER].x-api-key (***) != other"))
    );
    assert_eq!(up["effective"]["conditions"][2], "[HEADER].x-region == any(eu, us)");
    assert_eq!(up["last_check"]["excerpt"], Value::Null, "it was good");

    page.say(r#"{"status": "broken", "list": [1, 2]}"#);
    let down = once(&platform, "down").await;
    let sentence = "[BODY].status was \"broken\", expected \"ok\"";
    assert_eq!(down["last_check"]["failure_kind"], "condition_failed", "{down}");
    assert_eq!(down["last_check"]["error_message"], sentence);
    assert_eq!(down["last_check"]["excerpt"], r#"{"status": "broken", "list": [1, 2]}"#);
    assert!(down["last_check"]["address"].as_str().unwrap().starts_with("127.0.0.1:"));

    // What explains it is kept in the history of what was not good, over a restart too.
    page.say(r#"{"status": "ok", "list": [1, 2]}"#);
    once(&platform, "up").await;
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    assert_eq!(process.wait(std::time::Duration::from_secs(30)).code, Some(0));
    let platform = Platform::start_in(folder, &[]);
    let history = platform.get("/api/v1/stats/history/1?limit=100").await.expect(200).json();
    let checks = history["checks"].as_array().unwrap();
    let failed = checks.iter().find(|check| check["outcome"] == "down").unwrap();
    assert_eq!(failed["conditions"][0]["why"], sentence, "{failed}");
    assert_eq!(failed["conditions"][0]["success"], false);
    let oldest_good = checks.iter().rev().find(|check| check["outcome"] == "up").unwrap();
    assert_eq!(oldest_good["conditions"], Value::Null, "{oldest_good}");

    // By hand it is shown at once.
    let checked = platform.send("POST", &format!("{ENDPOINTS}/1/check"), &json!({})).await.expect(200).json();
    assert_eq!(checked["conditions"][0]["seen"], "[BODY].status (ok) == ok", "{checked}");
    let all = format!("{up}{down}{history}{checked}");
    assert!(!all.contains("s3cret"), "{all}");
}

#[tokio::test]
async fn degraded_is_shown_counted_told_and_ended() {
    let page = Page::start(r#"{"load": 1}"#);
    let keys = "    alert_policy: {failure_threshold: 2, notify_degraded: true}\n    \
                degraded_unless: ['[BODY].load < 5']\n";
    let platform = Platform::start(&yaml(&page, keys));
    once(&platform, "up").await;
    page.say(r#"{"load": 9}"#);
    let degraded = once(&platform, "degraded").await;
    assert_eq!(degraded["incident"], Value::Null, "{degraded}");
    let why = "[BODY].load was 9, expected less than 5";
    assert_eq!(degraded["last_check"]["conditions"][0]["why"], why, "{degraded}");
    assert_eq!((&degraded["last_check"]["success"], &degraded["last_outcome"]), (&json!(true), &json!("degraded")));
    let summary = platform.get("/api/v1/stats/summary").await.expect(200).json();
    assert_eq!((&summary["degraded"], &summary["healthy_endpoints"]), (&json!(1), &json!(1)), "{summary}");
    until("it is told", async || !told(&platform).await.is_empty()).await;
    page.say(r#"{"load": 1}"#);
    once(&platform, "up").await;
    until("its end is told", async || told(&platform).await.len() == 2).await;
    let events: Vec<_> = told(&platform).await;
    assert_eq!(events[0], ("degraded".to_owned(), why.to_owned()));
    assert_eq!(events[1].0, "up");
    let uptime = platform.get("/api/v1/stats/uptime/1?period=24h").await.expect(200).json();
    assert_eq!(uptime["uptime_percentage"], json!(100.0), "{uptime}");
    assert!(uptime["degraded_checks"].as_u64().unwrap() >= 2, "{uptime}");
}

#[tokio::test]
async fn strict_and_compatible_differ_where_the_body_is_an_error_page() {
    let page = Page::start("<html>Bad Gateway</html>");
    let text = yaml(&page, "    conditions: ['[BODY].errors < 5']\n    alert_policy: {failure_threshold: 1}\n");
    let more = format!(
        "  - {{name: lax, url: '{}', conditions: ['[BODY].errors < 5'], gatus_compatible: true}}\n",
        page.url()
    );
    let platform = Platform::start(&(text + &more));
    let down = once(&platform, "down").await;
    let sentence = "[BODY].errors cannot be read because the body is not JSON, expected less than 5";
    assert_eq!(down["last_check"]["error_message"], sentence, "{down}");
    let lax = async || platform.get(&format!("{ENDPOINTS}/2")).await.expect(200).json();
    until("the other is up", async || lax().await["status"] == "up").await;
    assert_eq!(lax().await["last_check"]["conditions"][0]["seen"], "[BODY].errors (INVALID) < 5");
}

#[tokio::test]
async fn a_body_beyond_its_bound_fails_only_what_needs_it() {
    let page = Page::start(&format!("{{\"a\": \"{}\", \"b\": 1}}", "x".repeat(5000)));
    let keys =
        "    conditions: ['[BODY].b == 1']\n    max_body_bytes: 1000\n    alert_policy: {failure_threshold: 1}\n";
    let more = format!(
        "  - {{name: starts, url: '{}', conditions: ['[BODY] == contains(xxx)'], max_body_bytes: 1000}}\n",
        page.url()
    );
    let platform = Platform::start(&(yaml(&page, keys) + &more));
    let down = once(&platform, "down").await;
    assert_eq!(down["last_check"]["failure_kind"], "body_too_large", "{down}");
    let starts = async || platform.get(&format!("{ENDPOINTS}/2")).await.expect(200).json();
    until("the other is up", async || starts().await["status"] == "up").await;
}

#[tokio::test]
async fn mistakes_are_told_with_their_place_and_column() {
    let page = Page::start("{}");
    let platform = Platform::start(&yaml(&page, ""));
    let body = json!({"name": "x", "url": page.url(), "conditions": ["[STATUS] == 200", "[BODY].a = 5"],
        "degraded_unless": ["[RESPONS_TIME] < 5"]});
    let refused = platform.send("POST", ENDPOINTS, &body).await.expect(400).json();
    let text = refused.to_string();
    for part in
        ["/conditions/1", "column 10: `=` is no operator", "/degraded_unless/0", "did you mean [RESPONSE_TIME]?"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("config.yaml"),
        "endpoints:\n  - name: e\n    url: http://127.0.0.1/\n    conditions:\n      - '[STATUS] == 200'\n      - '[BODY].a[x] == 1'\n",
    )
    .unwrap();
    let validated = run(folder.path(), &["--config", "config.yaml", "validate"]);
    let said = format!("{}{}", validated.stdout, validated.stderr);
    assert!(said.contains("config.yaml:6:") && said.contains("endpoints[0].conditions[1]"), "{said}");
    assert!(said.contains("column 10: `x` is no index"), "{said}");
}

#[test]
fn the_command_line_shows_conditions_with_their_values() {
    let page = Page::start(r#"{"status": "bad", "load": 9}"#);
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "endpoints:\n  - {{name: down, url: '{0}', conditions: ['[BODY].status == ok', '[STATUS] == 200']}}\n  \
         - {{name: slow, url: '{0}', degraded_unless: ['[BODY].load < 5']}}\n",
        page.url()
    );
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    let check = |name: &str, more: &[&str]| {
        let arguments: Vec<_> =
            ["--config", "config.yaml", "check", "--no-retry", name].iter().chain(more).copied().collect();
        run(folder.path(), &arguments)
    };
    let down = check("down", &[]);
    assert_eq!(down.code, Some(1), "{}", down.stderr);
    for line in [
        "down: [BODY].status was \"bad\", expected \"ok\" (condition_failed)",
        "condition   [BODY].status (bad) == ok: does not hold",
        "condition   [STATUS] (200) == 200: holds",
    ] {
        assert!(down.stdout.contains(line), "{line}: {}", down.stdout);
    }
    let slow = check("slow", &[]);
    assert_eq!(slow.code, Some(0), "degraded is up: {}", slow.stderr);
    assert!(slow.stdout.contains("degraded: [BODY].load was 9, expected less than 5"), "{}", slow.stdout);
    assert!(slow.stdout.contains("[BODY].load (9) < 5: does not hold: degraded"), "{}", slow.stdout);
    let json: Value = serde_json::from_str(&check("down", &["--json"]).stdout).unwrap();
    assert_eq!(json["conditions"][0]["seen"], "[BODY].status (bad) == ok", "{json}");
}
