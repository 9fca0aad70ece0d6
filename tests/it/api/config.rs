//! `/api/v1/config`: what is shown and from where, and what can be changed while running.

use api_monitor::config::MaxConcurrent;
use serde_json::{Value, json};

use crate::app::TestApp;

const CONFIG: &str = "\
api: {port: 0, auth: {api_key: k3y-of-the-api}}
logging: {level: WARNING}
monitoring: {check_history_days: 30}
heartbeat: {url: 'https://beat.example/tok3n-of-the-heart'}
defaults: {headers: {Authorization: h3ader}, redact: [X-Own]}
";

const COOLDOWN: &str = "defaults.alert_policy.cooldown_seconds";

async fn app() -> TestApp {
    TestApp::with_config(CONFIG).await
}

async fn get(app: &TestApp) -> Value {
    let answer = app.call("GET", "/api/v1/config").header("x-api-key", "k3y-of-the-api").send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn put(app: &TestApp, body: Value) -> crate::app::Answer {
    app.call("PUT", "/api/v1/config").header("x-api-key", "k3y-of-the-api").json(&body).send().await
}

#[tokio::test]
async fn every_setting_is_shown_with_its_source_and_no_secret_is() {
    let app = app().await;
    let shown = get(&app).await;
    assert_eq!(shown["logging_level"], "WARNING");
    assert_eq!(shown["check_history_days"], 30);
    let settings = &shown["settings"];
    let level = &settings["logging.level"];
    assert_eq!(
        (&level["value"], &level["source"], &level["key"]),
        (&"WARNING".into(), &"file".into(), &"logging_level".into())
    );
    assert!(level["at"].as_str().unwrap().ends_with("config.yaml:2"), "{level}");
    assert_eq!(settings["monitoring.hourly_rollup_days"]["source"], "default");
    assert_eq!(settings["api.auth.api_key"]["value"], "***");
    assert_eq!(settings["heartbeat.url"]["value"], "***");
    assert_eq!(settings["defaults"]["value"]["headers"]["Authorization"], "***");
    for secret in ["k3y", "tok3n", "h3ader"] {
        assert!(!shown.to_string().contains(secret), "{secret}");
    }
}

/// A key that the configuration gains is shown too, or says here why not.
#[tokio::test]
async fn every_key_of_the_configuration_is_shown() {
    let elsewhere = |path: &str| {
        // With routes of their own, or shown key by key.
        let prefixes = ["x-", "groups", "endpoints", "channels", "notifications.", "defaults.", "maintenance_windows"];
        path != "notifications.enabled" && prefixes.iter().any(|prefix| path.starts_with(prefix))
            || ["database.type", "heartbeat", "api.tls"].contains(&path)
    };
    let shown = get(&app().await).await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/every-key.yaml")).unwrap();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut asked = 0;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for (at, line) in lines.iter().enumerate() {
        let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
        let depth = indent(line);
        let Some((key, _)) = line.trim_start_matches([' ', '-']).split_once(':') else { continue };
        parents.retain(|(parent, _)| *parent < depth);
        let path = parents.iter().map(|(_, key)| key.as_str()).chain([key]).collect::<Vec<_>>().join(".");
        let has_children = lines.get(at + 1).is_some_and(|next| indent(next) > depth);
        parents.push((depth, key.to_owned()));
        if has_children || elsewhere(&path) {
            continue;
        }
        asked += 1;
        assert!(shown["settings"][&path]["source"].is_string(), "{path} is missing in service/settings/shown.rs");
    }
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn the_default_cooldown_is_the_configured_one_with_its_line_until_it_is_changed() {
    let yaml = "api: {port: 0}\ndefaults:\n  alert_policy: {cooldown_seconds: 90}\n";
    let app = TestApp::with_config(yaml).await;
    let cooldown = async || app.get("/api/v1/config").await.json()["settings"][COOLDOWN].clone();
    let shown = cooldown().await;
    assert_eq!((&shown["value"], &shown["source"]), (&json!(90), &json!("file")));
    assert!(shown["at"].as_str().unwrap().ends_with("config.yaml:3"), "{shown}");
    let made = app.create(&json!({"name": "n", "url": "https://example.com"})).await;
    assert_eq!(made["effective"]["alert_policy"]["cooldown_seconds"], 90);
    let change = app.call("PUT", "/api/v1/config").json(&json!({"cooldown_seconds": 0.5})).send().await;
    assert_eq!((change.status.as_u16(), change.json()["cooldown_seconds"].clone()), (200, json!(0.5)));
    let shown = cooldown().await;
    assert_eq!((&shown["source"], &shown["configured"]), (&json!("override"), &json!(90)));
    let effective = app.get("/api/v1/endpoints/1").await.json()["effective"]["alert_policy"].clone();
    assert_eq!(effective["cooldown_seconds"], "500ms");
}

#[tokio::test]
async fn a_change_applies_is_kept_and_is_audited() {
    let app = app().await;
    let answer = put(&app, json!({"logging_level": "debug", "max_concurrent_checks": 7})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({
            "status": "Configuration updated successfully", "logging_level": "DEBUG", "check_history_days": 30,
            "hourly_rollup_days": 400, "max_concurrent_checks": 7, "max_connections": "auto", "cooldown_seconds": 300
        })
    );
    assert_eq!(app.ctx.running.get().max_concurrent_checks, MaxConcurrent::Fixed(7));
    let shown = get(&app).await;
    let level = &shown["settings"]["logging.level"];
    assert_eq!(
        (&level["value"], &level["source"], &level["configured"]),
        (&"DEBUG".into(), &"override".into(), &"WARNING".into())
    );
    let rows = app.audit().await;
    let row = rows.iter().rfind(|row| row.action == "config.update").unwrap();
    assert_eq!((row.action.as_str(), row.actor.as_str(), row.subject.as_str()), ("config.update", "api-key", "config"));
    assert_eq!(row.before, Some(json!({"logging_level": "WARNING", "max_concurrent_checks": "auto"})));
    assert_eq!(row.after, Some(json!({"logging_level": "DEBUG", "max_concurrent_checks": 7})));

    // Back to what is configured, by its name and by its value.
    assert_eq!(put(&app, json!({"logging_level": null, "max_concurrent_checks": "auto"})).await.status, 200);
    assert_eq!(get(&app).await["settings"]["logging.level"]["source"], "file");
    assert_eq!(get(&app).await["settings"]["monitoring.max_concurrent_checks"]["source"], "default");
}

#[tokio::test]
async fn every_mistake_is_named_and_nothing_is_changed() {
    let app = app().await;
    let wrong = json!({
        "logging_level": "DEBGU", "check_history_days": 0, "hourly_rollup_days": "many", "max_concurrent_checks": 1.5,
        "log_level": "INFO", "max/connections": 5, "monitoring.check_history_days": 10
    });
    let document = put(&app, wrong).await.problem(400, "invalid-parameter");
    let errors: Vec<_> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {} {}: {}",
                e["pointer"].as_str().unwrap(),
                e["code"].as_str().unwrap(),
                e["rule"].as_str().unwrap(),
                e["detail"].as_str().unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!("mistakes", errors.join("\n"));
    // One that is right does not go through beside one that is not.
    put(&app, json!({"logging_level": "INFO", "check_history_days": 36_501})).await.problem(400, "invalid-parameter");
    put(&app, json!(["logging_level"])).await.problem(400, "invalid-parameter");
    assert_eq!(get(&app).await["logging_level"], "WARNING");
    assert_eq!(get(&app).await["check_history_days"], 30);
}

#[tokio::test]
async fn strangers_neither_read_nor_change_it() {
    let app = TestApp::start().await;
    for method in ["GET", "PUT"] {
        let call = app.call(method, "/api/v1/config").from("198.51.100.7".parse().unwrap());
        call.json(&json!({"logging_level": "TRACE"})).send().await.problem(403, "forbidden");
    }
    assert_eq!(app.get("/api/v1/config").await.status, 200);
}
