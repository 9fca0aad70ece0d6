//! Every route with every kind of key, on a running server, against the policy table; and the table against the
//! description of the API and the documentation.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use api_monitor::api::policy::{Needs, ROWS};
use api_monitor::domain::role::Role;
use sea_orm::{FromQueryResult, JsonValue, Statement};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::permissions::filled;
use crate::app::TestApp;

/// Routes that pages use and the description leaves out.
const UNDOCUMENTED: [(&str, &str); 1] = [("GET", "/docs/")];

#[tokio::test]
async fn table_and_description_are_of_the_same_routes() {
    let app = TestApp::start().await;
    let mut described = BTreeSet::new();
    for (path, item) in app.document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let row = ROWS.iter().find(|(m, p, _)| *m == method && p == path);
            let Some((.., needs)) = row else { panic!("{method} {path} is not in the policy table") };
            let answers = |status: &str| operation["responses"].get(status).is_some();
            let place = format!("{method} {path}");
            match needs {
                Needs::Open => {
                    assert_eq!(operation["security"], json!([{}]), "{place}");
                    // Signing in needs a key by itself.
                    let refuses = place == "POST /api/v1/sessions";
                    // So does a page from elsewhere that has the button of a link pressed.
                    let is_foreign = refuses || place == "POST /acknowledge/{token}";
                    assert_eq!((answers("401"), answers("403")), (refuses, is_foreign), "{place}");
                }
                Needs::Role(role) => {
                    // Without a configured key, none will do too.
                    assert_eq!(
                        operation["security"],
                        json!([{"api_key": []}, {"bearer": []}, {"session": []}, {}]),
                        "{place}"
                    );
                    assert_eq!(operation["x-required-role"], role.as_str(), "{place}");
                    assert!(operation["description"].as_str().unwrap().contains(role.as_str()), "{place}");
                    assert!(answers("401"), "{place}");
                    // Some types of events are for administrators.
                    let may_refuse = method != "GET" || path == "/api/v1/events";
                    assert_eq!(answers("403"), *role > Role::Viewer || may_refuse, "{place}");
                }
            }
            described.insert((method, path.clone()));
        }
    }
    let table: BTreeSet<_> = ROWS.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    let more: Vec<_> = table.difference(&described).map(|(m, p)| (m.as_str(), p.as_str())).collect();
    assert_eq!(more, UNDOCUMENTED, "in the table and not in the description");
    for (method, path) in UNDOCUMENTED {
        assert_eq!(app.call(method, path).send().await.status, 200, "{path}");
    }
}

#[test]
fn the_documentation_has_the_table() {
    let mut table = String::from("| path | methods |\n|---|---|\n");
    let mut paths: Vec<&str> = Vec::new();
    for (_, path, _) in ROWS {
        if !paths.contains(path) {
            paths.push(path);
        }
    }
    for path in paths {
        let methods: Vec<String> = ROWS
            .iter()
            .filter(|(_, other, _)| *other == path)
            .map(|(method, _, needs)| match needs {
                Needs::Open => format!("{method} open"),
                Needs::Role(role) => format!("{method} {role}"),
            })
            .collect();
        writeln!(table, "| `{path}` | {} |", methods.join(" · ")).unwrap();
    }
    let documentation = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    assert!(documentation.contains(&table), "docs/api.md must have this table:\n\n{table}");
}

/// Whoever asks.
struct Asker {
    what: &'static str,
    /// As it is sent, if it is.
    key: Option<String>,
    /// What it may do; `None`: it is not known.
    role: Option<Role>,
    /// Told to be a proxy's client, so not one of this machine.
    proxied: bool,
}

async fn serve(app: &TestApp) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    (address, app.ctx.tasks.spawn(async move { axum::serve(listener, service).await.unwrap() }))
}

/// What would change something, if it were let through.
fn body(path: &str, asker: &Asker) -> String {
    let url = format!("https://example.com/{}", asker.what.replace(' ', "-"));
    let body = match path.split('/').nth(3) {
        Some("api-keys") => json!({"name": format!("by {} at {path}", asker.what).replace('/', " "), "role": "admin"}),
        Some("alerts") => json!({"metric": "cpu_usage", "threshold": asker.what.len(), "action": "email_notify"}),
        Some("endpoints") if path.contains("by-key") => json!({"url": url}),
        Some("endpoints") if path.ends_with("/endpoints") || path.ends_with("/1") => {
            json!({"name": format!("by {} at {path}", asker.what), "url": url})
        }
        _ => json!({}),
    };
    body.to_string()
}

/// The status of a request over a connection of its own.
async fn ask(address: SocketAddr, method: &str, path: &str, asker: &Asker) -> u16 {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(key) = &asker.key {
        write!(head, "X-API-Key: {key}\r\n").unwrap();
    }
    if asker.proxied {
        head.push_str("X-Forwarded-For: 198.51.100.7\r\n");
    }
    if matches!(method, "POST" | "PUT" | "PATCH") {
        let body = body(path, asker);
        write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    } else {
        head.push_str("\r\n");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The head is enough: a stream of events has no end.
    let head = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut answer).await.unwrap() > 0 {}
    };
    tokio::time::timeout(Duration::from_secs(30), head).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

/// Every row of every table, but of the audit log, and but for the last uses of keys.
async fn dump(app: &TestApp) -> Vec<(String, Vec<Value>)> {
    let db = app.ctx.store.readers();
    let all =
        |sql: String| JsonValue::find_by_statement(Statement::from_string(db.get_database_backend(), sql)).all(db);
    let tables = all("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name".to_owned()).await.unwrap();
    let mut dump = Vec::new();
    for name in tables.iter().map(|row| row["name"].as_str().unwrap()) {
        // Everybody who has a key may sign in.
        if matches!(name, "audit_log" | "sessions") || name.starts_with("sqlite_") {
            continue;
        }
        let mut rows = all(format!("SELECT * FROM {name}")).await.unwrap();
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.retain(|column, _| !column.starts_with("last_used_"));
        }
        dump.push((name.to_owned(), rows));
    }
    assert!(dump.len() > 5 && dump.iter().any(|(name, rows)| name == "api_keys" && rows.len() > 4), "{dump:?}");
    dump
}

/// The configured key is not among the askers, so that making and deleting keys goes on.
async fn matrix(yaml: &str, on: bool) {
    let mut app = TestApp::with_config(yaml).await;
    // Without a scheduler and channels, what they would do is refused at once.
    app.checks.close();
    app.trials.close();
    app.channel_tests.close();
    let admin = "the-key-of-the-test";
    let by_admin = |method: &str, path: &str| {
        let call = app.call(method, path);
        if on { call.header("x-api-key", admin) } else { call }
    };
    let endpoint = json!({"name": "n", "group": "g", "url": "https://example.com"});
    assert_eq!(by_admin("POST", "/api/v1/endpoints").json(&endpoint).send().await.status, 201);
    let make = async |name: &str, role: Role, expires_at: Option<&str>| {
        let body = json!({"name": name, "role": role, "expires_at": expires_at});
        let answer = by_admin("POST", "/api/v1/api-keys").json(&body).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = answer.json();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().map(str::to_owned))
    };
    let (_, expired) = make("expired", Role::Admin, Some("2026-03-01T12:01:00Z")).await;
    let (gone, deleted) = make("deleted", Role::Admin, None).await;
    assert_eq!(by_admin("DELETE", &format!("/api/v1/api-keys/{gone}")).send().await.status, 204);
    app.clock.advance(Duration::from_secs(120));
    let asker = |what, key, role| Asker { what, key, role, proxied: false };
    let mut askers = vec![
        // On a machine of its own nobody is `local`.
        Asker { what: "no key", key: None, role: (!on).then_some(Role::Viewer), proxied: true },
        asker("wrong key", Some("am_wrong".to_owned()), None),
        asker("expired key", expired, None),
        asker("deleted key", deleted, None),
    ];
    for role in Role::ALL {
        let (_, key) = make(role.as_str(), *role, None).await;
        askers.push(asker(role.as_str(), key, Some(*role)));
    }
    askers.push(asker("no key, on this machine", None, (!on).then_some(Role::Admin)));

    let (address, server) = serve(&app).await;
    let (mut mistakes, mut requests) = (Vec::new(), 0);
    for asker in &askers {
        let harmless = asker.role.is_none_or(|role| role == Role::Viewer);
        let before = dump(&app).await;
        for (method, template, needs) in ROWS {
            // Only keys of nobody are changed and deleted, so that the askers keep theirs.
            let needs_victim = template.starts_with("/api/v1/api-keys/");
            let victim = if needs_victim {
                make(&format!("victim {requests}"), Role::Viewer, None).await.0
            } else {
                String::new()
            };
            let (path, mut expected) = (filled(template, &victim), "allowed");
            if (*method, *template) == ("POST", "/api/v1/sessions") && asker.role.is_none() {
                expected = "401";
            }
            if let Needs::Role(needed) = needs {
                match asker.role {
                    None => expected = "401",
                    Some(role) if role < *needed => expected = "403",
                    Some(_) => {}
                }
            }
            for method in std::iter::once(*method).chain((*method == "GET").then_some("HEAD")) {
                let status = ask(address, method, &path, asker).await;
                let was = if matches!(status, 401 | 403) { status.to_string() } else { "allowed".to_owned() };
                if was != expected {
                    mistakes.push(format!("{method} {path} with {}: {status}, not {expected}", asker.what));
                }
                requests += 1;
            }
            if needs_victim {
                by_admin("DELETE", &format!("/api/v1/api-keys/{victim}")).send().await;
            }
        }
        if harmless {
            assert_eq!(dump(&app).await, before, "{} changed something", asker.what);
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
    assert!(requests > 9 * 60, "{requests}");
    server.abort();
}

#[tokio::test]
async fn each_route_is_for_whom_the_table_says_with_a_configured_key() {
    matrix(
        "api: {port: 0, rate_limit: false, auth: {api_key: the-key-of-the-test}}\nchannels: {n: {type: console}}\n",
        true,
    )
    .await;
}

#[tokio::test]
async fn each_route_is_for_whom_the_table_says_without_a_configured_key() {
    matrix("api: {port: 0, rate_limit: false}\nchannels: {n: {type: console}}\n", false).await;
}
