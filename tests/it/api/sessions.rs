//! Signing in, being known by a cookie, and signing out; and what pages from elsewhere cannot do with it.

use std::net::IpAddr;
use std::time::Duration;

use api_monitor::jobs::sessions::SignedIn;
use api_monitor::store::audit::AuditEntry;
use serde_json::{Value, json};

use crate::app::{Answer, Call, TestApp};
use crate::database::{Kind, on_both_databases};

const SESSIONS: &str = "/api/v1/sessions";
const BOSS: &str = "key-of-boss-key-of-boss";
const TV: &str = "key-of-tv-key-of-tv";
const YAML: &str = "api: {port: 0, auth: {keys: [{name: boss, role: admin, key: key-of-boss-key-of-boss}, \
                    {name: tv, role: viewer, key: key-of-tv-key-of-tv}, \
                    {name: old, role: viewer, key: key-of-old-key-of-old, expires_at: 2020-01-01}]}}\n";
const OWN: &str = "http://localhost:8000";

/// What a browser keeps of an answer: `name=token`.
fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// Signs in and returns the cookie with the session.
async fn sign_in(app: &TestApp, key: &str) -> (String, Value) {
    let answer = app.post(SESSIONS, &json!({"key": key})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    (cookie_of(&answer), answer.json())
}

/// As a page of this server has the browser ask.
fn by_page<'a>(app: &'a TestApp, method: &str, path: &str, cookie: &str) -> Call<'a> {
    app.call(method, path).header("cookie", cookie).header("origin", OWN)
}

async fn rows(app: &TestApp) -> Vec<AuditEntry> {
    app.audit().await.into_iter().filter(|row| row.action.starts_with("session.")).collect()
}

fn new_endpoint(name: &str) -> Value {
    json!({"name": name, "url": "https://example.com"})
}

/// The housekeeping of sessions, once.
async fn look_after(app: &TestApp) {
    let ctx = &app.ctx;
    let job = SignedIn {
        store: ctx.store.clone(),
        sessions: ctx.sessions.clone(),
        keyring: ctx.keyring.clone(),
        clock: ctx.clock.clone(),
    };
    job.step().await.unwrap();
}

async fn a_cookie_stands_for_the_key_until_its_holder_signs_out(kind: Kind) {
    let app = TestApp::on_with_config(kind, YAML).await;
    let answer = app.call("POST", SESSIONS).header("user-agent", "Test/1").json(&json!({"key": BOSS})).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let (cookie, session) = (cookie_of(&answer), answer.json());
    let (name, token) = cookie.split_once('=').unwrap();
    assert_eq!((name, token.len()), ("api_monitor_session", 43), "256 bits");
    let attributes = answer.header("set-cookie").split_once(';').unwrap().1;
    assert_eq!(attributes, " HttpOnly; SameSite=Lax; Path=/; Max-Age=604800");
    assert_eq!(answer.header("location"), "/api/v1/sessions/1");
    assert_eq!(answer.header("cache-control"), "no-store");
    let expected = json!({
        "id": 1, "state": "active", "current": true, "key_id": "config_boss", "name": "boss", "role": "admin",
        "address": "127.0.0.1", "user_agent": "Test/1", "service": OWN, "client": "boss@127.0.0.1",
        "connected": "2026-03-01T12:00:01Z", "created_at": "2026-03-01T12:00:01Z",
        "last_seen_at": "2026-03-01T12:00:01Z", "idle": 0, "idle_seconds": 0, "expires_at": "2026-03-08T12:00:01Z"
    });
    assert_eq!(session, expected);

    app.call("GET", SESSIONS).send().await.problem(401, "unauthorized");
    app.clock.advance(Duration::from_secs(60));
    let list = by_page(&app, "GET", SESSIONS, &cookie).send().await.json();
    assert_eq!((&list["total"], &list["sessions"][0]["last_seen_at"]), (&json!(1), &json!("2026-03-01T12:01:01Z")));
    look_after(&app).await;
    let stored = api_monitor::store::sessions::list(app.ctx.store.readers()).await.unwrap();
    assert_eq!(stored, app.ctx.sessions.list(), "when it was used too");
    let current = app.call("GET", &format!("{SESSIONS}/current")).header("cookie", &cookie).send().await.json();
    assert_eq!((&current["id"], &current["current"]), (&json!(1), &json!(true)));
    let made = by_page(&app, "POST", "/api/v1/endpoints", &cookie).json(&new_endpoint("n")).send().await;
    assert_eq!(made.status, 201, "{made:?}");
    let audit = app.audit().await;
    let created = audit.iter().find(|row| row.action == "endpoint.create").unwrap();
    assert_eq!(created.actor, "boss", "whoever signed in");

    let gone = by_page(&app, "DELETE", &format!("{SESSIONS}/current"), &cookie).send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(gone.header("set-cookie"), "api_monitor_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    let problem = by_page(&app, "GET", SESSIONS, &cookie).send().await.problem(401, "unauthorized");
    assert!(problem["detail"].as_str().unwrap().contains("over"), "{problem}");
    let told: Vec<_> = rows(&app).await.into_iter().map(|row| (row.action, row.subject, row.actor)).collect();
    let row = |action: &str| (action.to_owned(), "session/1".to_owned(), "boss".to_owned());
    assert_eq!(told, [row("session.create"), row("session.delete")]);
    let told = format!("{:?}", app.audit().await);
    let digest = api_monitor::domain::api_key::KeyDigest::of(token.as_bytes()).to_hex();
    assert!(!told.contains(token) && !told.contains(&digest) && !told.contains(BOSS), "{told}");
}

on_both_databases!(a_cookie_stands_for_the_key_until_its_holder_signs_out);

#[tokio::test]
async fn a_page_from_elsewhere_changes_nothing_with_the_cookie() {
    let yaml = YAML.replace(
        "{port: 0,",
        "{port: 0, cors: {enabled: true, allow_origins: ['https://friend.example'], \
                             allow_credentials: true},",
    ) + "public_url: https://status.example.com/monitor/\n";
    let app = TestApp::with_config(&yaml).await;
    let (cookie, _) = sign_in(&app, BOSS).await;
    let post = || app.call("POST", "/api/v1/endpoints").header("cookie", &cookie).json(&new_endpoint("n"));
    let refused: [&[(&'static str, &str)]; 8] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://localhost:8001")],
        &[("origin", "https://localhost.evil.example:8000")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://other.example.com")],
        &[("sec-fetch-site", "none")],
    ];
    for headers in refused {
        let call = headers.iter().fold(post(), |call, (name, value)| call.header(name, value));
        let problem = call.send().await.problem(403, "foreign-origin");
        assert!(problem["detail"].as_str().unwrap().contains("Origin"), "{headers:?} {problem}");
    }
    for (method, path) in [
        ("PUT", "/api/v1/endpoints/1"),
        ("PATCH", "/api/v1/endpoints/1"),
        ("DELETE", "/api/v1/sessions/current"),
        ("POST", "/api/v1/endpoints/1/check"),
        ("POST", "/api/v1/backups"),
    ] {
        let call = app.call(method, path).header("cookie", &cookie).header("origin", "https://evil.example");
        call.send().await.problem(403, "foreign-origin");
    }
    assert_eq!(app.get("/api/v1/endpoints").await.status, 401);
    assert_eq!(app.call("GET", "/api/v1/endpoints").header("cookie", &cookie).send().await.json()["total"], 0);
    let accepted: [&[(&'static str, &str)]; 5] = [
        &[("origin", OWN)],
        &[("origin", "HTTP://LOCALHOST:8000")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://behind-a-proxy.example")],
        &[("origin", "https://status.example.com")],
        &[("origin", "https://friend.example"), ("sec-fetch-site", "same-site")],
    ];
    for (n, headers) in accepted.iter().enumerate() {
        let call = app.call("POST", "/api/v1/endpoints").header("cookie", &cookie);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        let answer = call.json(&new_endpoint(&n.to_string())).send().await;
        assert_eq!(answer.status, 201, "{headers:?} {answer:?}");
    }
    let refusals = app.audit().await.into_iter().filter(|row| row.action == "request.refused" && row.actor == "boss");
    assert_eq!(refusals.count(), 13);

    // A key that is shown is no cookie: programs have no origin.
    let by_key = app.call("POST", "/api/v1/endpoints").header("x-api-key", BOSS).header("cookie", &cookie);
    let by_key = by_key.header("origin", "https://evil.example").json(&new_endpoint("by key")).send().await;
    assert_eq!(by_key.status, 201, "{by_key:?}");
    // Nor does a page from elsewhere sign anybody in.
    let foreign = app.call("POST", SESSIONS).header("origin", "https://evil.example").json(&json!({"key": BOSS}));
    foreign.send().await.problem(403, "foreign-origin");
    // Without `allow_credentials` an origin that may read may not do this.
    let app = TestApp::with_config(&yaml.replace("allow_credentials: true", "allow_credentials: false")).await;
    let (cookie, _) = sign_in(&app, BOSS).await;
    let call = app.call("DELETE", "/api/v1/sessions/current").header("cookie", &cookie);
    call.header("origin", "https://friend.example").send().await.problem(403, "foreign-origin");
}

#[tokio::test]
async fn a_session_may_what_its_key_may_at_that_moment() {
    let app = TestApp::with_config(YAML).await;
    let by_boss = |method: &str, path: &str| app.call(method, path).header("x-api-key", BOSS);
    let body = json!({"name": "ed", "role": "editor", "expires_at": "2026-03-02T00:00:00Z"});
    let made = by_boss("POST", "/api/v1/api-keys").json(&body).send().await.json();
    let key = made["key"].as_str().unwrap();
    let answer = app.post(SESSIONS, &json!({"key": key})).await;
    let cookie = cookie_of(&answer);
    assert!(answer.header("set-cookie").ends_with("Max-Age=43199"), "as long as its key: {answer:?}");
    assert_eq!(answer.json()["expires_at"], "2026-03-02T00:00:00Z");
    let post = async |name: &str| {
        by_page(&app, "POST", "/api/v1/endpoints", &cookie).json(&new_endpoint(name)).send().await.status.as_u16()
    };
    assert_eq!(post("one").await, 201);
    by_boss("PATCH", "/api/v1/api-keys/key_1").json(&json!({"role": "viewer"})).send().await;
    assert_eq!(post("two").await, 403);
    by_boss("PATCH", "/api/v1/api-keys/key_1").json(&json!({"role": "editor"})).send().await;
    assert_eq!(post("three").await, 201);
    app.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(post("four").await, 401, "the key has expired");
    by_boss("PATCH", "/api/v1/api-keys/key_1").json(&json!({"expires_at": null})).send().await;
    assert_eq!(post("five").await, 201);
    by_boss("DELETE", "/api/v1/api-keys/key_1").send().await;
    assert_eq!(post("six").await, 401, "the key is gone");
    let list = by_boss("GET", &format!("{SESSIONS}?state=expired")).send().await.json();
    let one = &list["sessions"][0];
    assert_eq!(
        (&one["name"], &one["role"], &one["client"], &one["key_id"]),
        (&json!(null), &json!(null), &json!(null), &json!("key_1"))
    );
    look_after(&app).await;
    assert_eq!(by_boss("GET", SESSIONS).send().await.json()["total"], 0);
}

#[tokio::test]
async fn a_session_ends_by_its_time_or_without_use() {
    let app = TestApp::with_config(&YAML.replace("auth: {", "auth: {session: {lifetime: 3h, idle: 1h}, ")).await;
    let (used, _) = sign_in(&app, BOSS).await;
    let (idle, _) = sign_in(&app, TV).await;
    let status = async |cookie: &str| app.call("GET", "/").header("cookie", cookie).send().await.status.as_u16();
    for minutes in [50, 50, 50, 29] {
        app.clock.advance(Duration::from_secs(minutes * 60));
        assert_eq!(status(&used).await, 200, "{minutes}");
    }
    assert_eq!(status(&idle).await, 401);
    let words = |list: Value| {
        let sessions = list["sessions"].as_array().unwrap().clone();
        sessions.into_iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(app.call("GET", SESSIONS).header("cookie", &used).send().await.json()), ["active", "expired"]);
    look_after(&app).await;
    // What was used last outlives the process.
    let again = app.reconfigured(&YAML.replace("auth: {", "auth: {session: {lifetime: 3h, idle: 1h}, ")).await;
    let list = again.call("GET", SESSIONS).header("x-api-key", BOSS).send().await.json();
    assert_eq!(words(list.clone()), ["active"]);
    assert_eq!(list["sessions"][0]["last_seen_at"], "2026-03-01T14:59:01Z");
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(
        (status(&used).await, again.call("GET", "/").header("cookie", &used).send().await.status.as_u16()),
        (401, 401)
    );
}

#[tokio::test]
async fn another_process_knows_it_and_another_key_of_the_same_name_does_not() {
    let app = TestApp::with_config(YAML).await;
    let (cookie, _) = sign_in(&app, BOSS).await;
    let status = async |app: &TestApp| app.call("GET", "/").header("cookie", &cookie).send().await.status.as_u16();
    assert_eq!(status(&app.reconfigured(YAML).await).await, 200);
    let changed = YAML.replace(BOSS, "another-key-of-boss-altogether");
    assert_eq!(status(&app.reconfigured(&changed).await).await, 401);
    assert_eq!(status(&app.reconfigured(&YAML.replace("name: boss", "name: chief")).await).await, 401);
}

#[tokio::test]
async fn everybody_sees_and_ends_its_own_and_administrators_all() {
    let app = TestApp::with_config(YAML).await;
    let (boss, _) = sign_in(&app, BOSS).await;
    let (tv, _) = sign_in(&app, TV).await;
    let (other_tv, _) = sign_in(&app, TV).await;
    let ids = async |cookie: &str| {
        let list = by_page(&app, "GET", SESSIONS, cookie).send().await.json();
        list["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&boss).await, ids(&tv).await), (vec![1, 2, 3], vec![2, 3]));
    let page = by_page(&app, "GET", &format!("{SESSIONS}?limit=1&offset=1"), &boss).send().await.json();
    assert_eq!((&page["total"], &page["sessions"][0]["id"]), (&json!(3), &json!(2)));
    for (method, cookie) in [("GET", &tv), ("DELETE", &tv)] {
        by_page(&app, method, &format!("{SESSIONS}/1"), cookie).send().await.problem(404, "not-found");
    }
    let by_key = app.call("GET", &format!("{SESSIONS}/2")).header("x-api-key", TV).send().await;
    assert_eq!((by_key.status.as_u16(), &by_key.json()["current"]), (200, &json!(false)));
    let by_key = app.call("GET", &format!("{SESSIONS}/current")).header("x-api-key", TV).header("cookie", &tv);
    by_key.send().await.problem(404, "not-found");
    let gone = by_page(&app, "DELETE", &format!("{SESSIONS}/3"), &tv).send().await;
    assert_eq!((gone.status.as_u16(), gone.header("set-cookie")), (204, ""), "the cookie is of another one");
    assert_eq!(by_page(&app, "GET", "/", &other_tv).send().await.status, 401);
    assert_eq!(by_page(&app, "DELETE", &format!("{SESSIONS}/2"), &boss).send().await.status, 204);
    assert_eq!(by_page(&app, "GET", "/", &tv).send().await.status, 401);
    for (id, status, kind) in [
        ("9", 404, "not-found"),
        ("99999999999999999999", 404, "not-found"),
        ("x", 400, "invalid-parameter"),
        ("-1", 400, "invalid-parameter"),
    ] {
        by_page(&app, "GET", &format!("{SESSIONS}/{id}"), &boss).send().await.problem(status, kind);
    }
    by_page(&app, "GET", &format!("{SESSIONS}?state=dead"), &boss).send().await.problem(400, "invalid-parameter");
}

#[tokio::test]
async fn signing_in_needs_one_good_key() {
    let app = TestApp::with_config(YAML).await;
    for body in [json!({}), json!({"key": ""}), json!({"key": "wrong"}), json!({"key": "key-of-old-key-of-old"})] {
        let answer = app.post(SESSIONS, &body).await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api-monitor\"");
        assert_eq!(answer.header("set-cookie"), "");
    }
    app.call("POST", SESSIONS).send().await.problem(401, "unauthorized");
    app.call("POST", SESSIONS)
        .header("x-api-key", BOSS)
        .json(&json!({"key": TV}))
        .send()
        .await
        .problem(401, "unauthorized");
    app.call("POST", SESSIONS).header("x-api-key", "wrong").send().await.problem(401, "unauthorized");
    for body in [json!({"key": 1}), json!({"key": "x".repeat(1_001)}), json!({"name": "boss"}), json!([])] {
        app.post(SESSIONS, &body).await.problem(400, "invalid-parameter");
    }
    app.call("POST", SESSIONS).body(r#"{"key": "wrong"}"#).send().await.problem(415, "unsupported-media-type");
    let same = app.call("POST", SESSIONS).header("x-api-key", BOSS).json(&json!({"key": BOSS})).send().await;
    assert_eq!(same.status, 201, "{same:?}");
    let by_header = app.call("POST", SESSIONS).header("authorization", &format!("Bearer {TV}")).send().await;
    assert_eq!((by_header.status.as_u16(), &by_header.json()["name"]), (201, &json!("tv")));
    let refused: Vec<_> = app.audit().await.into_iter().filter(|row| row.action == "request.refused").collect();
    assert_eq!(refused.len(), 7);
    assert!(refused.iter().all(|row| row.subject == "POST /api/v1/sessions" && row.result == "unauthorized"));
    assert_eq!(refused[3].actor, "old");
    assert!(!format!("{refused:?}").contains("wrong"));
}

#[tokio::test]
async fn a_token_is_always_new_and_the_one_before_ends() {
    let app = TestApp::with_config(YAML).await;
    let (first, _) = sign_in(&app, BOSS).await;
    let again = app.call("POST", SESSIONS).header("cookie", &first).json(&json!({"key": TV})).send().await;
    assert_ne!(cookie_of(&again), first);
    assert_eq!(by_page(&app, "GET", "/", &first).send().await.status, 401);
    // What somebody else put there is never taken over.
    let planted = "api_monitor_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let answer = app.call("POST", SESSIONS).header("cookie", planted).json(&json!({"key": TV})).send().await;
    assert_ne!(cookie_of(&answer), planted);
    assert_eq!(by_page(&app, "GET", "/", planted).send().await.status, 401);
}

#[tokio::test]
async fn of_too_many_sessions_the_one_idle_longest_ends() {
    let app = TestApp::with_config(&YAML.replace("{port: 0,", "{port: 0, rate_limit: false,")).await;
    let (first, _) = sign_in(&app, TV).await;
    let (second, _) = sign_in(&app, TV).await;
    for _ in 2..100 {
        sign_in(&app, TV).await;
    }
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(by_page(&app, "GET", "/", &first).send().await.status, 200);
    let (boss, _) = sign_in(&app, BOSS).await;
    sign_in(&app, TV).await;
    assert_eq!(by_page(&app, "GET", "/", &first).send().await.status, 200);
    assert_eq!(by_page(&app, "GET", "/", &second).send().await.status, 401);
    assert_eq!(by_page(&app, "GET", &format!("{SESSIONS}?limit=1"), &boss).send().await.json()["total"], 101);
    let evicted: Vec<_> = rows(&app).await.into_iter().filter(|row| row.action == "session.evict").collect();
    assert_eq!((evicted.len(), evicted[0].subject.as_str()), (1, "session/2"));
}

#[tokio::test]
async fn without_a_configured_key_nobody_needs_to_sign_in() {
    let app = TestApp::start().await;
    app.post(SESSIONS, &json!({})).await.problem(409, "nothing-to-sign-in-to");
    app.call("POST", SESSIONS).send().await.problem(409, "nothing-to-sign-in-to");
    app.post(SESSIONS, &json!({"key": "wrong"})).await.problem(401, "unauthorized");
    let made = app.post("/api/v1/api-keys", &json!({"name": "afar", "role": "editor"})).await.json();
    let afar: IpAddr = "198.51.100.7".parse().unwrap();
    let body = json!({"key": made["key"]});
    let answer = app.call("POST", SESSIONS).from(afar).header("host", "monitor.example.com").json(&body).send().await;
    let cookie = cookie_of(&answer);
    assert_eq!(answer.json()["service"], "http://monitor.example.com");
    let post = |cookie: &str| {
        let call = app.call("POST", "/api/v1/endpoints").from(afar).header("host", "monitor.example.com");
        call.header("origin", "http://monitor.example.com").header("cookie", cookie).json(&new_endpoint("n"))
    };
    assert_eq!(post(&cookie).send().await.status, 201);
    // A cookie that is worth nothing makes nobody more, nor less.
    post("api_monitor_session=x").send().await.problem(403, "forbidden");
    let local = app.call("DELETE", "/api/v1/endpoints/1").header("cookie", "api_monitor_session=x").send().await;
    assert_eq!(local.status, 204);
}

#[tokio::test]
async fn an_encrypted_connection_has_a_cookie_of_its_own() {
    let app = TestApp::with_config(&YAML.replace("{port: 0,", "{port: 0, trusted_proxies: [10.0.0.1],")).await;
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    let call = |method: &str, path: &str| {
        let call = app.call(method, path).from(proxy).header("x-forwarded-for", "203.0.113.5");
        call.header("x-forwarded-proto", "https").header("host", "monitor.example.com")
    };
    let answer = call("POST", SESSIONS).json(&json!({"key": BOSS})).send().await;
    let cookie = cookie_of(&answer);
    assert!(cookie.starts_with("__Host-api_monitor_session="), "{cookie}");
    assert!(answer.header("set-cookie").contains("; Secure; "), "{answer:?}");
    assert_eq!(answer.json()["client"], "boss@203.0.113.5");
    assert_eq!(answer.json()["service"], "https://monitor.example.com");
    assert_eq!(call("GET", "/").header("cookie", &cookie).send().await.status, 200);
    let delete =
        |origin: &str| call("DELETE", "/api/v1/sessions/current").header("cookie", &cookie).header("origin", origin);
    delete("http://monitor.example.com").send().await.problem(403, "foreign-origin");
    let plain = cookie.replace("__Host-", "");
    assert_eq!(call("GET", "/").header("cookie", &plain).send().await.status, 401, "anybody may have put it there");
    assert_eq!(delete("https://monitor.example.com").send().await.status, 204);
    // Whoever is no trusted proxy may say what it likes.
    let lied = app.call("POST", SESSIONS).header("x-forwarded-proto", "https").json(&json!({"key": BOSS})).send().await;
    assert!(cookie_of(&lied).starts_with("api_monitor_session="), "{lied:?}");
}

#[tokio::test]
async fn sessions_count_against_their_key_and_guesses_in_bodies_are_counted_strictly() {
    let limited = YAML.replace("{port: 0,", "{port: 0, rate_limit: {requests_per_minute: 60, burst: 20},");
    let app = TestApp::with_config(&limited).await;
    let (cookie, _) = sign_in(&app, TV).await;
    let by_key = async || app.call("GET", "/").header("x-api-key", TV).send().await;
    let left = by_key().await.header("ratelimit-remaining").parse::<u32>().unwrap();
    let by_cookie = by_page(&app, "GET", "/", &cookie).send().await;
    assert_eq!(by_cookie.header("ratelimit-remaining").parse::<u32>().unwrap(), left - 1);

    let thief: IpAddr = "198.51.100.9".parse().unwrap();
    let guess = async |key: &str| app.call("POST", SESSIONS).from(thief).json(&json!({"key": key})).send().await;
    for n in 0..10 {
        guess(&format!("guess {n}")).await.problem(401, "unauthorized");
    }
    guess("one more").await.problem(429, "rate-limited");
    guess(BOSS).await.problem(429, "rate-limited");
    let seen = app.call("GET", "/").from(thief).header("cookie", &cookie).send().await;
    assert_eq!(seen.status, 200, "a token is no guess");
    app.clock.advance(Duration::from_secs(2));
    assert_eq!(guess(BOSS).await.status, 201);
}

#[tokio::test]
async fn sessions_are_known_while_the_database_is_away() {
    let app = TestApp::with_config(YAML).await;
    let (cookie, _) = sign_in(&app, BOSS).await;
    app.ctx.store.close().await.unwrap();
    let list = by_page(&app, "GET", SESSIONS, &cookie).send().await;
    assert_eq!((list.status.as_u16(), &list.json()["total"]), (200, &json!(1)));
    app.post(SESSIONS, &json!({"key": BOSS})).await.problem(503, "unavailable");
    by_page(&app, "DELETE", &format!("{SESSIONS}/current"), &cookie).send().await.problem(503, "unavailable");
}
