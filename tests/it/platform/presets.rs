//! Presets as channels of the real program: of the file, and made through the API.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Platform;
use crate::cli::process::run;
use crate::notify::receivers::{Receiver, answer};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The examples of the page, with a name each.
fn examples() -> (Vec<String>, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/channels.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (mut names, mut yaml) = (Vec::new(), "channels:\n".to_owned());
    for block in page.split("```yaml\nchannels:\n  ops:\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let name = block.trim_start().trim_start_matches("type: ").lines().next().unwrap().to_owned();
        write!(yaml, "  my {name}:\n{block}").unwrap();
        names.push(name);
    }
    (names, yaml)
}

#[tokio::test]
async fn every_example_of_the_page_is_a_channel() {
    let (names, yaml) = examples();
    let platform = Platform::start(&format!("{yaml}public_url: http://localhost\n"));
    let channels = platform.get("/api/v1/channels").await.expect(200).json();
    let types: Vec<&str> =
        channels["channels"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    let modules = platform.get("/api/v1/modules?type=channel").await.expect(200).json();
    let presets: Vec<&str> =
        modules["modules"].as_array().unwrap().iter().skip(4).map(|module| module["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), &names), (12, &presets.iter().map(|name| (*name).to_owned()).collect()));
    for name in &names {
        assert!(types.contains(&name.as_str()), "{channels}");
        let module = platform.get(&format!("/api/v1/modules/{name}")).await.expect(200).json();
        let parameters = &module["parameters"];
        assert_eq!(module["in_use"], true, "{module}");
        let channel = platform.get(&format!("/api/v1/channels/my {name}")).await.expect(200).json();
        for (key, value) in channel["options"].as_object().unwrap() {
            let option = &parameters["properties"][key];
            assert!(option["description"].as_str().is_some_and(|about| !about.is_empty()), "{name}.{key}: {module}");
            assert_eq!(option["writeOnly"] == true, *value == "***", "{name}.{key} reads {value}");
        }
        assert_eq!(parameters["additionalProperties"], false, "{module}");
    }
    let ntfy = platform.get("/api/v1/modules/ntfy").await.expect(200).json();
    let priority = &ntfy["parameters"]["properties"]["priority"];
    assert_eq!(
        (&priority["type"], &priority["default"], &priority["maximum"]),
        (&json!("integer"), &json!(5), &json!(5))
    );
    assert_eq!(ntfy["parameters"]["required"], json!(["type", "topic"]));
}

#[tokio::test]
async fn a_test_goes_through_the_service_and_says_what_it_answers() {
    let service = Receiver::answering([
        answer(202, r#"{"status": "success", "message": "Event processed"}"#),
        answer(400, r#"{"status": "invalid event", "message": "Event object is invalid"}"#),
    ])
    .await;
    let platform = Platform::start("endpoints: []\n");
    let made = json!({"name": "pager", "type": "pagerduty", "routing_key": KEY, "api_url": service.url("")});
    let made = platform.send("POST", "/api/v1/channels", &made).await.expect(201).json();
    assert_eq!((&made["settings"]["routing_key"], &made["options"]["routing_key"]), (&json!("***"), &json!("***")));
    assert_eq!(made["options"]["api_url"], json!(service.url("")));
    let test = || platform.request("POST", "/api/v1/channels/pager/test");
    let tested = platform.ask(test()).await.expect(200).json();
    assert_eq!(tested["delivered"], true, "{tested}");
    assert!(tested.to_string().contains("Event processed"), "{tested}");
    let tested = platform.ask(test()).await.expect(200).json();
    assert_eq!(tested["delivered"], false, "{tested}");
    assert!(tested.to_string().contains("Event object is invalid") && !tested.to_string().contains(KEY), "{tested}");
    let sent = service.received()[0].json();
    assert_eq!((&sent["event_action"], &sent["payload"]["severity"]), (&json!("trigger"), &json!("info")));
    assert!(sent["payload"]["summary"].as_str().unwrap().contains("A test message of api-monitor for pager"), "{sent}");

    // A secret that nobody wrote out goes nowhere else.
    let moved = json!({"api_url": "https://elsewhere.example"});
    let refused = platform.send("PATCH", "/api/v1/channels/pager", &moved).await.expect(400).json();
    assert_eq!(refused["errors"][0]["pointer"], "/routing_key", "{refused}");
}

#[tokio::test]
async fn options_of_presets_are_judged_when_they_are_sent() {
    let platform = Platform::start("endpoints: []\n");
    let refused = async |settings: Value| {
        let problem = platform.send("POST", "/api/v1/channels", &settings).await.expect(400).json();
        let errors = problem["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (settings, pointers) in [
        (json!({"name": "a", "type": "ntfy"}), vec!["/topic"]),
        (json!({"name": "a", "type": "ntfy", "topic": "x", "priority": 6}), vec!["/priority"]),
        (json!({"name": "a", "type": "ntfy", "topic": "x", "priority": "5"}), vec!["/priority"]),
        (json!({"name": "a", "type": "ntfy", "topic": "x", "topics": "y"}), vec!["/topics"]),
        (json!({"name": "a", "type": "gotify", "server": "ftp://x", "token": 1}), vec!["/token", "/server"]),
        (json!({"name": "a", "type": "pagerduty", "routing_key": "short"}), vec!["/routing_key"]),
        (json!({"name": "a", "type": "discord", "url": "http://169.254.169.254/x"}), vec!["/url"]),
    ] {
        let mut found = refused(settings.clone()).await;
        found.sort_unstable();
        let mut expected = pointers;
        expected.sort_unstable();
        assert_eq!(found, expected, "{settings}");
    }
}

#[tokio::test]
async fn the_command_line_tries_presets() {
    let service = Receiver::answering([answer(200, r#"{"id": "x"}"#)]).await;
    let folder = tempfile::TempDir::new().unwrap();
    let config = format!("channels: {{phone: {{type: ntfy, server: '{}', topic: alerts}}}}\n", service.url(""));
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let place = folder.path().to_owned();
    let ended =
        tokio::task::spawn_blocking(move || run(&place, &["--config", "config.yaml", "notify", "test", "phone"]))
            .await
            .unwrap();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let sent = service.received()[0].json();
    assert_eq!((&sent["topic"], &sent["priority"]), (&json!("alerts"), &json!(3)));
    assert!(sent["title"].as_str().unwrap().contains("A test message"), "{sent}");
}

#[tokio::test]
async fn sms_is_an_action_once_there_is_a_channel_for_it() {
    let platform = Platform::start("endpoints: []\n");
    let rule = json!({"metric": "memory_usage", "threshold": "80%", "action": "sms_notify"});
    platform.send("POST", "/api/v1/alerts", &rule).await.expect(400);
    let channel = json!({
        "name": "phone", "type": "twilio_sms", "account_sid": format!("AC{KEY}"), "auth_token": "SECRET",
        "to": "+4915112345678", "from": "+15017122661", "default": false
    });
    platform.send("POST", "/api/v1/channels", &channel).await.expect(201);
    let made = platform.send("POST", "/api/v1/alerts", &rule).await.expect(201).json();
    assert_eq!(made["channel"]["name"], "phone", "{made}");
}
