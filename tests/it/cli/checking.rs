//! `check` and `healthcheck`: one examination, told by text and by exit code.

use super::configured;
use super::process::{Running, run};
use crate::flows::target::{Answer, Target};

fn target() -> Target {
    Target::answering(|path, before| match path {
        "broken" => Answer::Status(503),
        "flaky" if before == 0 => Answer::Status(500),
        _ => Answer::Status(200),
    })
}

#[test]
fn a_url_is_up_or_down_by_text_and_exit_code() {
    let (folder, target) = (tempfile::tempdir().unwrap(), target());
    let up = run(folder.path(), &["check", &target.url("fine")]);
    assert_eq!(up.code, Some(0), "{}", up.stderr);
    assert!(up.stdout.contains("result      up") && up.stdout.contains("HTTP/1.1 200"), "{}", up.stdout);

    let down = run(folder.path(), &["check", "--no-retry", &target.url("broken")]);
    assert_eq!(down.code, Some(1));
    assert!(down.stdout.contains("down: GET returned 503, expected 200"), "{}", down.stdout);
    assert_eq!(target.hits("broken").len(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is stored");
}

#[test]
fn json_tells_what_was_seen() {
    let (folder, target) = (tempfile::tempdir().unwrap(), target());
    let up = run(folder.path(), &["check", "--json", &target.url("fine")]);
    assert_eq!(up.code, Some(0));
    let seen: serde_json::Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!((&seen["outcome"], &seen["status_code"]), (&"up".into(), &200.into()));
    assert!(seen["timings"]["total_ms"].as_f64().unwrap() > 0.0);

    let refused = run(folder.path(), &["check", "--json", "--no-retry", "http://127.0.0.1:1/"]);
    assert_eq!(refused.code, Some(1));
    let seen: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((&seen["outcome"], &seen["failure_kind"]), (&"down".into(), &"connect_refused".into()));
    assert!(seen["status_code"].is_null());
}

#[test]
fn configured_endpoints_are_checked_by_name() {
    let target = target();
    let folder = configured(&format!(
        "defaults: {{retry: {{base_delay: 10ms}}}}\n\
         groups: {{core: {{endpoints: {{flaky: '{}', fine: '{}'}}}}, edge: {{endpoints: {{fine: '{}'}}}}}}",
        target.url("flaky"),
        target.url("fine"),
        target.url("fine"),
    ));
    let check = |name: &str| run(folder.path(), &["--config", "config.yaml", "check", name]);
    let flaky = check("flaky");
    assert_eq!(flaky.code, Some(0), "{}", flaky.stderr);
    assert!(flaky.stdout.contains("attempts    2"), "{}", flaky.stdout);
    assert_eq!(check("core/fine").code, Some(0));

    let ambiguous = check("fine");
    assert_eq!(ambiguous.code, Some(2));
    assert!(ambiguous.stderr.contains("core/fine or edge/fine"), "{}", ambiguous.stderr);
    let unknown = check("core/flakey");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `core/flaky`?"), "{}", unknown.stderr);
}

#[test]
fn a_healthcheck_tells_a_running_monitor_from_none() {
    let folder = configured("endpoints: []");
    let mut monitor = Running::start(folder.path(), &["--config", "config.yaml"]);
    let address = monitor.address();
    let live = run(folder.path(), &["healthcheck", "--url", &format!("http://{address}/health/live")]);
    assert_eq!(live.code, Some(0), "{}", live.stderr);

    // By the port of the configuration, as a container does it.
    let port = address.rsplit(':').next().unwrap();
    let by_port = || {
        Running::start_with(folder.path(), &["--config", "config.yaml", "healthcheck"], &[("API_PORT", port)])
            .wait(std::time::Duration::from_secs(20))
    };
    assert_eq!(by_port().code, Some(0));
    drop(monitor);
    let gone = by_port();
    assert_eq!(gone.code, Some(1));
    assert_eq!(gone.stderr.lines().count(), 1, "{}", gone.stderr);
}
