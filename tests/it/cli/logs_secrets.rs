//! No secret is told anywhere, whatever fails, at the level that tells most.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::configured;
use super::logs::call;
use super::process::{Running, eventually};
use crate::flows::target::{Answer, Target};

const LONG: Duration = Duration::from_secs(45);

/// Every one of them is in the configuration, or is what is made of one.
const SECRETS: [&str; 15] = [
    "k3y-of-the-api",
    "hook-us3r",
    "hook-passw0rd",
    "hook-path-s3cret",
    "hook-query-s3cret",
    "hook-head3r",
    "c2VjcmV0LW9mLXRoZS1ob29r",
    "AAtok3n-of-the-bot",
    "mail-passw0rd",
    "slack-s3cret",
    "beat-s3cret",
    "check-us3r",
    "check-passw0rd",
    "check-head3r",
    "own-head3r",
];

/// Serves each connection on a thread of its own, until the test process ends.
fn serve(answer: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            // A client that goes away is nothing to a server.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

/// A web server that refuses every request, and says what it was, as pages for errors do.
fn refusing_web() -> SocketAddr {
    serve(|mut stream| {
        let mut request = vec![0_u8; 65_536];
        let mut length = 0;
        let whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request).to_lowercase();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let (_, declared) = head.split_once("content-length: ").unwrap_or(("", "0"));
            Some(body.len() >= declared.lines().next()?.parse().ok()?)
        };
        // Not one of TLS, which it does not speak.
        while length == 0 || (request[0].is_ascii() && request[0] > b' ' && whole(&request[..length]) != Some(true)) {
            match stream.read(&mut request[length..])? {
                0 => return Ok(()),
                count => length += count,
            }
        }
        let head = format!("HTTP/1.1 403 No\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&request[..length])
    })
}

/// A mail server that takes no password.
fn refusing_mail(asked: Arc<AtomicBool>) -> SocketAddr {
    serve(move |mut stream| {
        stream.write_all(b"220 mail\r\n")?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let answer: &[u8] = match line?.split(' ').next().unwrap_or_default() {
                "EHLO" => b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n",
                "AUTH" => {
                    asked.store(true, Ordering::Relaxed);
                    b"535 5.7.8 not this password\r\n"
                }
                "QUIT" => return stream.write_all(b"221 bye\r\n"),
                _ => b"250 ok\r\n",
            };
            stream.write_all(answer)?;
        }
        Ok(())
    })
}

#[test]
fn no_secret_is_logged_or_answered() {
    let place = refusing_web();
    let asked = Arc::new(AtomicBool::new(false));
    let mail_port = refusing_mail(asked.clone()).port();
    let folder = configured(&format!(
        "\
logging: {{level: TRACE, file: logs/app.log}}
defaults: {{retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}, redact: [X-Own], timeout: 900ms}}
channels:
  closed: {{type: webhook, url: 'http://hook-us3r:hook-passw0rd@127.0.0.1:1/hook-path-s3cret?k=hook-query-s3cret', headers: {{Authorization: hook-head3r, X-Key: hook-head3r}}, secret: whsec_c2VjcmV0LW9mLXRoZS1ob29r, retry_count: 1}}
  refusing: {{type: webhook, url: 'http://hook-us3r:hook-passw0rd@{place}/hook-path-s3cret?k=hook-query-s3cret', headers: {{X-Key: hook-head3r}}, secret: whsec_c2VjcmV0LW9mLXRoZS1ob29r, retry_count: 1}}
  plain tls: {{type: webhook, url: 'https://hook-us3r:hook-passw0rd@{place}/hook-path-s3cret', retry_count: 1}}
  closed bot: {{type: telegram, bot_token: '1234567:AAtok3n-of-the-bot', chat_id: 1, api_url: 'http://127.0.0.1:1'}}
  refusing bot: {{type: telegram, bot_token: '1234567:AAtok3n-of-the-bot', chat_id: 1, api_url: 'http://{place}'}}
  mail: {{type: email, smtp_host: 127.0.0.1, smtp_port: {mail_port}, smtp_use_tls: false, smtp_user: mail-user, smtp_password: mail-passw0rd, from_addr: a@example.com, to_addrs: [b@example.com]}}
  slack: {{type: slack, url: 'http://127.0.0.1:1/services/slack-s3cret'}}
endpoints:
  - {{name: closed, url: 'http://check-us3r:check-passw0rd@127.0.0.1:1/', interval: 1, headers: {{Authorization: check-head3r, Cookie: check-head3r, X-Own: own-head3r}}}}
  - {{name: refusing, url: 'http://check-us3r:check-passw0rd@{place}/x', interval: 1, headers: {{X-Own: own-head3r}}}}
  - {{name: plain tls, url: 'https://check-us3r:check-passw0rd@{place}/x', interval: 1}}
"
    ));
    let variables = [("API_KEY", "k3y-of-the-api"), ("DB_ECHO", "true")];
    let mut monitor = Running::start_with(folder.path(), &["--config", "config.yaml"], &variables);
    let address = monitor.address();
    let key = "X-API-Key: k3y-of-the-api";
    let mut answers = String::new();
    let mut ask = |method: &str, path: &str, header: &str, body: &str| {
        let answer = call(&address, method, path, header, body);
        answers.push_str(&format!("{method} {path}: {}\n{}\n", answer.head, answer.body));
        answer
    };
    let channels = ["closed", "refusing", "plain tls", "closed bot", "refusing bot", "mail", "slack"];
    eventually(LONG, "every channel to fail", || {
        let log = monitor.stderr();
        channels
            .iter()
            .all(|name| {
                log.contains(&format!("{name} did not take a message"))
                    || log.contains(&format!("a message to {name} is given up"))
            })
            .then_some(())
    });
    assert!(asked.load(Ordering::Relaxed), "the password was sent");

    for name in channels {
        let path = format!("/api/v1/channels/{}", name.replace(' ', "%20"));
        assert_eq!(ask("POST", &format!("{path}/test"), key, "").status, 200);
        ask("GET", &path, key, "");
    }
    for path in [
        "/health",
        "/api/v1/endpoints",
        "/api/v1/endpoints/1",
        "/api/v1/stats/history/1",
        "/api/v1/stats/incidents/2",
        "/api/v1/incidents/1",
        "/api/v1/notifications",
        "/api/v1/config",
        "/api/v1/stats/summary",
    ] {
        assert_eq!(ask("GET", path, key, "").status, 200, "{path}");
    }
    assert_eq!(ask("POST", "/api/v1/endpoints/1/check", key, "").status, 200);
    assert_eq!(ask("GET", "/api/v1/endpoints", "X-API-Key: k3y-of-the-api-and-more", "").status, 401);
    let created =
        r#"{"name": "n", "url": "http://check-us3r:check-passw0rd@127.0.0.1:1/", "headers": {"X-Own": "own-head3r"}}"#;
    assert_eq!(ask("POST", "/api/v1/endpoints", key, created).status, 201);
    assert_eq!(ask("POST", "/api/v1/endpoints", key, created).status, 409);
    let wrong = r#"{"name": "n", "url": "ftp://check-us3r:check-passw0rd@127.0.0.1:1/", "headers": {"Cookie": "check-head3r\n"}, "timeout": 99999}"#;
    assert_eq!(ask("POST", "/api/v1/endpoints", key, wrong).status, 400);
    assert_eq!(ask("PUT", "/api/v1/config", key, r#"{"logging_level": "k3y-of-the-api"}"#).status, 400);

    monitor.signal("TERM");
    let end = monitor.wait(LONG);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let file = std::fs::read_to_string(folder.path().join("logs/app.log")).unwrap();
    // What was asked for is told: statements, single checks.
    for words in ["\"target\":\"sqlx::query\"", "\"level\":\"DEBUG\"", "\"message\":\"checked\""] {
        assert!(file.contains(words), "{words}");
    }
    assert_hidden(&[
        ("standard output", &end.stdout),
        ("standard error", &end.stderr),
        ("the file", &file),
        ("an answer", &answers),
    ]);
}

#[test]
fn the_address_of_the_heartbeat_is_not_logged() {
    let target = Target::answering(|_, _| Answer::Status(200));
    let folder = configured(&format!(
        "logging: {{level: TRACE}}\nendpoints: [{{name: fine, url: '{}', interval: 1}}]\n\
         heartbeat: {{url: 'http://beat-s3cret:beat-s3cret@127.0.0.1:1/beat-s3cret', every: 1s}}",
        target.url("fine")
    ));
    let mut monitor = Running::start(folder.path(), &["--config", "config.yaml"]);
    monitor.address();
    monitor.logs(LONG, "the heartbeat did not arrive");
    monitor.signal("TERM");
    let end = monitor.wait(LONG);
    assert_hidden(&[("standard output", &end.stdout), ("standard error", &end.stderr)]);
}

/// No secret is in a text, nor what a login becomes on its way.
fn assert_hidden(texts: &[(&str, &str)]) {
    let encoded =
        ["hook-us3r:hook-passw0rd", "check-us3r:check-passw0rd", "\0mail-user\0mail-passw0rd", "mail-passw0rd"]
            .map(|login| STANDARD.encode(login));
    for secret in SECRETS.iter().map(|secret| (*secret).to_owned()).chain(encoded) {
        for (place, text) in texts {
            let told: Vec<_> = text.lines().filter(|line| line.contains(&secret)).take(3).collect();
            assert!(told.is_empty(), "{secret} in {place}:\n{}", told.join("\n"));
        }
    }
}
