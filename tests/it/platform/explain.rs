//! `api-monitor explain`: each setting with the place it comes from, the route, and what holds messages back.

use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Platform, until};
use crate::cli::process::{Ended, Running};
use crate::flows::target::Switched;

/// The lines are counted below.
fn yaml(target: &Switched) -> String {
    format!(
        "defaults:\n  timeout: 4\n  tags: [all]\n  alert_policy: {{reminder: {{every: 2h}}}}\ngroups:\n  core:\n    interval: \
         ${{EVERY:-30}}\n    tags: [core]\n    notify: [out]\nendpoints:\n  - name: api\n    group: core\n    url: '{}'\n    \
         headers: {{X-Team: one, Authorization: hunter22}}\n    alert_policy: {{failure_threshold: 3}}\nchannels:\n  out: \
         {{type: console}}\n  rest: {{type: console, default: false}}\n",
        target.url("e")
    )
}

/// Runs it in the folder of a monitor.
pub(super) async fn explain(platform: &Platform, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let folder = platform.folder.path().to_owned();
    let mut all = vec!["--config".to_owned(), "config.yaml".to_owned(), "explain".to_owned()];
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Running::start_with(&folder, &arguments, &variables).wait(Duration::from_secs(60))
    })
    .await
    .unwrap()
}

async fn explained(platform: &Platform, name: &str, variables: &[(&str, &str)]) -> Value {
    let ended = explain(platform, &[name, "--json"], variables).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn from(explained: &Value, key: &str) -> Value {
    let settings = explained["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["key"] == key);
    setting.unwrap_or_else(|| panic!("{key}: {explained}"))["from"].clone()
}

#[tokio::test]
async fn each_setting_names_its_file_and_line_variable_or_default() {
    let target = Switched::good();
    let variables = [("API_MONITOR__DEFAULTS__METHOD", "HEAD"), ("EVERY", "20")];
    let platform = Platform::start_with(&yaml(&target), &variables);
    let url = format!("http://{}", platform.address);
    let with_url = [variables[0], variables[1], ("API_MONITOR_URL", url.as_str())];
    until("it is up", async || platform.get("/api/v1/endpoints/1").await.json()["status"] == "up").await;
    let found = explained(&platform, "core/api", &with_url).await;
    for (key, expected) in [
        ("name", json!(["config.yaml:11"])),
        ("group", json!(["config.yaml:12"])),
        ("url", json!(["config.yaml:13"])),
        ("headers.x-team", json!(["config.yaml:14"])),
        ("alert_policy.failure_threshold", json!(["config.yaml:15"])),
        ("interval", json!(["config.yaml:7 ${EVERY:-30} (group)"])),
        ("notify", json!(["config.yaml:9 (group)"])),
        ("tags", json!(["config.yaml:8 (group)", "config.yaml:3 (defaults)"])),
        ("timeout", json!(["config.yaml:2 (defaults)"])),
        ("alert_policy.reminder.every", json!(["config.yaml:4 (defaults)"])),
        ("method", json!(["environment variable API_MONITOR__DEFAULTS__METHOD (defaults)"])),
        ("retry.max_attempts", json!(["default"])),
        ("severity", json!(["default"])),
    ] {
        assert_eq!(from(&found, key), expected, "{key}");
    }
    assert_eq!((&found["endpoint"], &found["origin"]), (&json!("core/api"), &json!("config")));
    assert_eq!(found["route"]["channels"], json!([{"name": "out", "from": "config.yaml:17"}]), "{found}");
    assert_eq!(found["route"]["from"], "notify: config.yaml:9 (group)");
    assert_eq!(
        (&found["asked"]["monitor"], &found["running"]["endpoint_name"]),
        (&json!(url), &json!("api")),
        "{found}"
    );
    assert!(!found.to_string().contains("hunter22"), "{found}");

    let ended = explain(&platform, &["api"], &with_url).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = |key: &str| ended.stdout.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default();
    assert!(
        line("interval").contains("20") && line("interval").ends_with("config.yaml:7 ${EVERY:-30} (group)"),
        "{}",
        ended.stdout
    );
    for words in [&format!("Now ({url}):"), "out would be told about", "Told (notify: config.yaml:9 (group)):"] {
        assert!(ended.stdout.contains(words), "{words} in\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("hunter22"), "{}", ended.stdout);
}

#[tokio::test]
async fn what_the_api_made_or_changed_is_said_to_be_so() {
    let target = Switched::good();
    let platform = Platform::start(&yaml(&target));
    let url = format!("http://{}", platform.address);
    let with_url = [("API_MONITOR_URL", url.as_str())];
    let made =
        json!({"name": "web", "group": "core", "url": target.url("w"), "alert_policy": {"cooldown_seconds": 60}});
    let made = platform.send("POST", "/api/v1/endpoints", &made).await.expect(201).json();
    platform.send("PATCH", &format!("/api/v1/endpoints/{}", made["id"]), &json!({"timeout": 2})).await.expect(200);
    let group = json!({"name": "made", "interval": 30, "retry": {"enabled": false}});
    platform.send("POST", "/api/v1/groups", &group).await.expect(201);
    let inner = json!({"name": "in", "group": "made", "url": target.url("w")});
    platform.send("POST", "/api/v1/endpoints", &inner).await.expect(201);
    let found = explained(&platform, "core/web", &with_url).await;
    assert_eq!((&found["origin"], &found["from"]), (&json!("api"), &json!("the API, revision 2")), "{found}");
    for (key, expected) in [
        ("url", json!(["API, revision 2"])),
        ("timeout", json!(["API, revision 2"])),
        ("alert_policy.cooldown_seconds", json!(["API, revision 2"])),
        ("interval", json!(["config.yaml:7 ${EVERY:-30} (group)"])),
        ("alert_policy.reminder.every", json!(["config.yaml:4 (defaults)"])),
        ("severity", json!(["default"])),
    ] {
        assert_eq!(from(&found, key), expected, "{key}");
    }
    let found = explained(&platform, "made/in", &with_url).await;
    assert_eq!(from(&found, "retry.enabled"), json!(["API (group)"]), "{found}");

    // What the running monitor goes by is what counts.
    platform.send("PUT", "/api/v1/config", &json!({"cooldown_seconds": 7})).await.expect(200);
    let found = explained(&platform, "core/api", &with_url).await;
    assert_eq!(from(&found, "alert_policy.cooldown_seconds"), json!(["the running monitor"]), "{found}");
}

#[tokio::test]
async fn without_a_running_monitor_it_says_what_is_known_without() {
    let target = Switched::good();
    let platform = Platform::start(&yaml(&target));
    let end = SystemClock::new().now() + chrono::TimeDelta::hours(2);
    let silence = json!({"match": "core/api", "until": end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), "comment": "known"});
    platform.send("POST", "/api/v1/silences", &silence).await.expect(201);
    let made = json!({"name": "web", "url": target.url("w"), "interval": 45});
    platform.send("POST", "/api/v1/endpoints", &made).await.expect(201);
    platform.ask(platform.request("POST", "/api/v1/endpoints/1/pause")).await.expect(200);
    let nobody = format!("http://{}", platform.address);
    platform.process.signal("TERM");
    let address = platform.address.clone();
    until("it has ended", async || std::net::TcpStream::connect(&address).is_err()).await;
    let with_url = [("API_MONITOR_URL", nobody.as_str())];
    let found = explained(&platform, "core/api", &with_url).await;
    assert_eq!((&found["asked"]["database"], &found["running"]), (&json!(true), &Value::Null), "{found}");
    assert!(found["asked"]["why_not"].as_str().unwrap().contains("cannot be reached"), "{found}");
    let holds: Vec<_> = found["known_holds"].as_array().unwrap().iter().map(|hold| hold["by"].clone()).collect();
    assert_eq!(holds, ["paused", "silence"], "{found}");
    assert_eq!(from(&found, "interval"), json!(["config.yaml:7 ${EVERY:-30} (group)"]));
    assert_eq!(found["route"]["channels"][0]["name"], "out");
    // Also without any address: the port is not a fixed one.
    let ended = explain(&platform, &["web"], &[("API_PORT", "0")]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for words in [
        "web (the API, revision 1)",
        "API, revision 1",
        "No running monitor was asked: api.port is 0",
        "nothing keeps messages back",
    ] {
        assert!(ended.stdout.contains(words), "{words} in\n{}", ended.stdout);
    }
    let ended = explain(&platform, &["core/apy"], &with_url).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("did you mean `core/api`?"), "{}", ended.stderr);
}
