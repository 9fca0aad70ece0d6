//! The examples of docs/api.md, made in their order.

use std::path::Path;

use api_monitor::clock::{Clock, SystemClock};

use super::Platform;

const KEY: &str = "the-key-of-an-administrator";

/// Ids that nobody can know before.
const UNKNOWN: [&str; 4] = ["/incidents/42", "/notifications/ntf_", "/connections/conn_12", "/backups/backup_2026"];

/// A call of curl.
#[derive(Debug, Default)]
struct Call {
    method: Option<String>,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    keeps_cookie: bool,
    sends_cookie: bool,
}

/// The commands of a shell script, each as its words: quotes, escapes and `\` at the end of a line.
fn commands(script: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (end, Some(begun)) if end == begun => quote = None,
            ('\\', None | Some('"')) => match letters.next() {
                Some('\n') | None => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            (' ', None) => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\n', None) => {
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

fn call(words: &[String]) -> Call {
    let mut call = Call::default();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap().clone();
        match word.as_str() {
            "-X" => call.method = Some(next()),
            "-H" => {
                let header = next();
                let (name, value) = header.split_once(": ").unwrap();
                call.headers.push((name.to_owned(), value.to_owned()));
            }
            "-d" => call.body = Some(next()),
            "-c" => call.keeps_cookie = next() == "jar",
            "-b" => call.sends_cookie = next() == "jar",
            "-N" | "-OJ" => {}
            url => {
                assert!(call.url.is_empty() && !url.starts_with('-'), "{words:?}");
                url.clone_into(&mut call.url);
            }
        }
    }
    call
}

#[tokio::test]
async fn the_examples_work_in_their_order_on_a_new_monitor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    // Nothing is looked up elsewhere.
    let shipped = read("config/config.yaml").replace("${API_PORT:-8000}", "9");
    let platform = Platform::start_with(&format!("resolver: 127.0.0.1:9\n{shipped}"), &[("API_KEY", KEY)]);
    let in_two_hours = (SystemClock::new().now() + chrono::TimeDelta::hours(2)).format("%FT%TZ").to_string();
    let document = read("docs/api.md")
        .replace("$API/", &format!("http://{}/api/v1/", platform.address))
        .replace("localhost:8000", &platform.address)
        .replace("$ADMIN_KEY", KEY)
        .replace("$(date -u -d +2hours +%FT%TZ)", &in_two_hours);
    let scripts = document.split("```bash\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let calls: Vec<Call> =
        scripts.flat_map(commands).filter(|words| words[0] == "curl").map(|words| call(&words)).collect();
    assert!(calls.len() > 60, "{}", calls.len());
    let mut cookie = String::new();
    for call in calls {
        let (_, path) = call.url.split_once(&platform.address).unwrap_or_else(|| panic!("{call:?}"));
        let default = if call.body.is_some() { "POST" } else { "GET" };
        let mut request = platform.request(call.method.as_deref().unwrap_or(default), path);
        if call.sends_cookie {
            request = request.header("Cookie", &cookie);
        } else if !call.keeps_cookie && !call.headers.iter().any(|(name, _)| name == "X-API-Key") {
            request = request.header("X-API-Key", KEY);
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        // The head is enough: streams have no end.
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        if call.keeps_cookie {
            let set = answer.headers()["set-cookie"].to_str().unwrap();
            cookie = set.split(';').next().unwrap().to_owned();
        }
        if UNKNOWN.iter().any(|unknown| path.contains(unknown)) {
            assert_eq!(status, 404, "{call:?}");
        } else if status >= 400 {
            panic!("{call:?}: {status} {}", String::from_utf8_lossy(&answer.bytes().await.unwrap()));
        } else if path.ends_with("/bulk") {
            let results: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            assert_eq!(results["failed"], 0, "{results}");
        }
    }
}
