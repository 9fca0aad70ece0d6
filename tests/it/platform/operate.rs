//! The verbs of the command line against the real server, and what they say when it will not.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Platform, until};
use crate::cli::process::{Ended, Running};
use crate::flows::target::Switched;

const WATCHED: &str = "interval: 1, retry: {enabled: false}, alert_policy: {failure_threshold: 1, confirm_interval: 1}";

fn yaml(target: &Switched) -> String {
    let url = target.url("e");
    format!(
        "endpoints:\n  - {{name: api, group: core, url: '{url}', {WATCHED}}}\n  - {{name: api, group: shop, url: '{url}', \
         {WATCHED}}}\n  - {{name: database, group: core, url: '{url}', {WATCHED}}}\nchannels: {{out: {{type: console}}}}\n"
    )
}

/// Runs a command to its end in an empty folder, with the address in the environment.
async fn run(platform: &Platform, arguments: &[&str]) -> Ended {
    run_with(&format!("http://{}", platform.address), arguments, &[]).await
}

async fn run_with(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    variables.push(("API_MONITOR_URL".to_owned(), url.to_owned()));
    tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Running::start_with(folder.path(), &arguments, &variables).wait(Duration::from_secs(60))
    })
    .await
    .unwrap()
}

/// Runs one that does what it is asked, and gives what it says.
async fn said(platform: &Platform, arguments: &[&str]) -> String {
    let ended = run(platform, arguments).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.stdout);
    ended.stdout.trim_end().to_owned()
}

async fn refused(platform: &Platform, arguments: &[&str]) -> String {
    let ended = run(platform, arguments).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", ended.stderr);
    ended.stderr.trim_end().to_owned()
}

async fn get(platform: &Platform, path: &str) -> Value {
    platform.get(path).await.expect(200).json()
}

#[tokio::test]
async fn pause_and_resume_do_so_and_names_are_resolved() {
    let platform = Platform::start(&yaml(&Switched::good()));
    let paused = async |id: u32| get(&platform, &format!("/api/v1/endpoints/{id}")).await["paused"].clone();
    assert_eq!(
        said(&platform, &["pause", "core/api"]).await,
        "core/api is paused: it is not checked until it is resumed"
    );
    assert_eq!((paused(1).await, paused(2).await), (json!(true), json!(false)));
    assert_eq!(said(&platform, &["pause", "core/api"]).await, "core/api is paused already");
    assert_eq!(
        said(&platform, &["pause", "database"]).await,
        "core/database is paused: it is not checked until it is resumed"
    );
    assert_eq!(said(&platform, &["resume", "core/api"]).await, "core/api is checked again");
    assert_eq!(paused(1).await, json!(false));

    let message = refused(&platform, &["pause", "api"]).await;
    assert_eq!(message, "api-monitor: `api` is in several groups: say core/api or shop/api");
    let message = refused(&platform, &["pause", "core/databse"]).await;
    assert_eq!(message, "api-monitor: there is no endpoint `core/databse`; did you mean `core/database`?");
    assert_eq!(refused(&platform, &["resume", "payments"]).await, "api-monitor: there is no endpoint `payments`");
}

#[tokio::test]
async fn silences_and_windows_are_made_and_ended() {
    let platform = Platform::start(&yaml(&Switched::good()));
    let told = said(
        &platform,
        &["silence", "--match", "group:core", "--match", "shop/api", "--for", "2h", "--reason", "I know"],
    )
    .await;
    assert!(told.starts_with("silence 1: nobody is told of 3 endpoints until 20"), "{told}");
    let silence = get(&platform, "/api/v1/silences/1").await;
    assert_eq!((&silence["comment"], &silence["match"]), (&json!("I know"), &json!(["group:core", "shop/api"])));
    let at = |field: &str| chrono::DateTime::parse_from_rfc3339(silence[field].as_str().unwrap()).unwrap();
    let length = (at("until") - at("created_at")).num_minutes();
    assert!((118..=120).contains(&length), "{silence}");
    assert_eq!(said(&platform, &["unsilence", "1"]).await, "silence 1 has ended");
    platform.get("/api/v1/silences/1").await.expect(404);
    let message = refused(&platform, &["silence", "--match", "tag:none", "--for", "2h"]).await;
    assert!(message.contains("match/0 "), "{message}");

    let start =
        ["maintenance", "start", "--match", "core/api", "--for", "20m", "--reason", "deploy", "--name", "it's now"];
    let told = said(&platform, &start).await;
    assert!(told.starts_with("the window `it's now` is open for 1 endpoint until 20"), "{told}");
    let window = get(&platform, "/api/v1/maintenance-windows/it's%20now").await;
    assert_eq!((&window["state"], &window["reason"], &window["for"]), (&json!("open"), &json!("deploy"), &json!(1200)));
    let list = said(&platform, &["maintenance", "list"]).await;
    assert_eq!(list, "open        it's now  1 endpoint  deploy");
    let list: Value = serde_json::from_str(&said(&platform, &["maintenance", "list", "--json"]).await).unwrap();
    assert_eq!(list["total"], 1);
    assert_eq!(said(&platform, &["maintenance", "end", "it's now"]).await, "the window `it's now` has ended");
    assert_eq!(said(&platform, &["maintenance", "list"]).await, "no maintenance windows");
    refused(&platform, &["maintenance", "end", "it's now"]).await;
    // One without a name of its own is called by its time.
    let told = said(&platform, &["maintenance", "start", "--match", "*", "--for", "1m"]).await;
    assert!(told.contains("the window `by hand 20") && told.contains("for 3 endpoints"), "{told}");

    let nightly = json!({"name": "nightly", "at": "02:00", "every": "day", "for": "1h", "match": "*"});
    platform.send("POST", "/api/v1/maintenance-windows", &nightly).await.expect(201);
    let message = refused(&platform, &["maintenance", "end", "nightly"]).await;
    assert!(message.contains("opens again and again"), "{message}");
}

#[tokio::test]
async fn outages_are_listed_and_acknowledged() {
    let target = Switched::good();
    let platform = Platform::start(&yaml(&target));
    assert_eq!(said(&platform, &["incidents"]).await, "no incidents");
    let message = refused(&platform, &["ack", "core/api"]).await;
    assert_eq!(message, "api-monitor: core/api has no open incident");
    target.set(503);
    until("all are down", async || get(&platform, "/api/v1/incidents?open=true").await["total"] == 3).await;
    let list = said(&platform, &["incidents", "--open"]).await;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(
        list.lines().all(|line| line.contains("open") && line.contains("since 20") && line.contains("503")),
        "{list}"
    );

    assert!(list.contains("  core/api  since"), "{list}");
    let open = get(&platform, "/api/v1/incidents?endpoint=1").await["incidents"][0]["id"].clone();
    let told = said(&platform, &["ack", "core/api", "--note", "on it", "--for", "8h"]).await;
    assert!(
        told.starts_with(&format!("incident {open} of core/api is acknowledged by local: nobody is reminded until 20")),
        "{told}"
    );
    let incident = get(&platform, &format!("/api/v1/incidents/{open}")).await;
    let acknowledgement = &incident["acknowledgement"];
    assert_eq!((&acknowledgement["by"], &acknowledgement["note"]), (&json!("local"), &json!("on it")), "{incident}");
    let other = get(&platform, "/api/v1/incidents?endpoint=3").await["incidents"][0]["id"].to_string();
    assert!(said(&platform, &["ack", &other]).await.starts_with(&format!("incident {other} of core/database is")));
    assert_eq!(said(&platform, &["incidents"]).await.matches("(acknowledged by local)").count(), 2);
    let list: Value = serde_json::from_str(&said(&platform, &["incidents", "--open", "--json"]).await).unwrap();
    assert_eq!((&list["total"], list["incidents"].as_array().unwrap().len()), (&json!(3), 3));

    target.set(200);
    until("all are over", async || get(&platform, "/api/v1/incidents?open=true").await["total"] == 0).await;
    assert!(refused(&platform, &["ack", &other]).await.contains("over"));
    refused(&platform, &["ack", "99"]).await;
}

#[tokio::test]
async fn failures_have_codes_for_scripts_and_sentences_for_people() {
    let key = "0123456789abcdef0123456789abcdef";
    let platform = Platform::start(&format!("{}api: {{auth: {{api_key: {key}}}}}\n", yaml(&Switched::good())));
    let url = format!("http://{}", platform.address);
    let ended = run(&platform, &["pause", "core/api"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("An API key is needed") && ended.stderr.contains("API_MONITOR_API_KEY"),
        "{}",
        ended.stderr
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let file = file.to_str().unwrap();
    for (arguments, variables) in [
        (vec!["pause", "core/api"], vec![("API_MONITOR_API_KEY", key)]),
        (vec!["resume", "core/api"], vec![("API_MONITOR_API_KEY_FILE", file)]),
        (vec!["pause", "core/api", "--key-file", file], vec![("API_MONITOR_API_KEY", "wrong")]),
    ] {
        let ended = run_with(&url, &arguments, &variables).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stdout.contains(key) && !ended.stderr.contains(key));
    }
    // A viewer's key may look, and no more.
    let viewer = json!({"name": "eyes", "role": "viewer"});
    let request = platform.request("POST", "/api/v1/api-keys").header("X-API-Key", key);
    let request = request.header("Content-Type", "application/json").body(viewer.to_string());
    let made = platform.ask(request).await.expect(201).json();
    let eyes = made["key"].as_str().unwrap();
    let ended = run_with(&url, &["incidents"], &[("API_MONITOR_API_KEY", eyes)]).await;
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "no incidents"), "{}", ended.stderr);
    let ended = run_with(&url, &["resume", "core/api"], &[("API_MONITOR_API_KEY", eyes)]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("needs the role operator"), "{}", ended.stderr);

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = run_with(&format!("http://{nobody}"), &["incidents"], &[]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("http://{nobody} cannot be reached: ")), "{}", ended.stderr);
    for (arguments, words) in [
        (&["silence", "--match", "*"][..], "--for"),
        (&["silence", "--match", "*", "--for", "soon"], "soon"),
        (&["silence", "--for", "2h"], "--match"),
        (&["pause"], "<ENDPOINT>"),
        (&["incidents", "--url", "monitor:8000"], "monitor:8000"),
        (&["incidents", "--key-file", "/nowhere/key"], "/nowhere/key"),
    ] {
        let ended = run(&platform, arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn without_an_address_the_configured_port_and_key_are_used() {
    let key = "0123456789abcdef0123456789abcdef";
    let platform = Platform::start(&format!("{}api: {{auth: {{api_key: {key}}}}}\n", yaml(&Switched::good())));
    let port = platform.address.rsplit(':').next().unwrap().to_owned();
    let run = async |folder: &Path, variables: Vec<(&'static str, String)>| {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || {
            let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let arguments = ["--config", "config.yaml", "pause", "core/api"];
            Running::start_with(&folder, &arguments, &variables).wait(Duration::from_secs(60))
        })
        .await
        .unwrap()
    };
    let ended = run(platform.folder.path(), vec![("API_PORT", port)]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let ended = run(platform.folder.path(), vec![("API_PORT", "0".to_owned())]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("api.port is 0") && ended.stderr.contains("--url"), "{}", ended.stderr);
}
