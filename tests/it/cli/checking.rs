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
    assert!(up.stdout.starts_with("up\n") && up.stdout.contains("HTTP/1.1 200"), "{}", up.stdout);

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
    let first = "  attempt 1 GET returned 500, expected 200 (http_status), after ";
    assert!(flaky.stdout.contains(first), "{}", flaky.stdout);
    assert_eq!(check("core/fine").code, Some(0));

    let ambiguous = check("fine");
    assert_eq!(ambiguous.code, Some(2));
    assert!(ambiguous.stderr.contains("core/fine or edge/fine"), "{}", ambiguous.stderr);
    let unknown = check("core/flakey");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `core/flaky`?"), "{}", unknown.stderr);
}

/// Colours are for terminals, or where they are forced.
#[test]
fn colours_are_printed_where_they_are_wanted() {
    let (folder, target) = (tempfile::tempdir().unwrap(), target());
    let check = |variables: &[(&str, &str)]| {
        let url = target.url("broken");
        let arguments = ["check", "--no-retry", &url];
        Running::start_with(folder.path(), &arguments, variables).wait(std::time::Duration::from_secs(20)).stdout
    };
    assert!(!check(&[]).contains('\u{1b}'), "not into a pipe");
    assert!(check(&[("CLICOLOR_FORCE", "1")]).starts_with("\u{1b}[31mdown\u{1b}[0m: "));
    assert!(!check(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
}

#[test]
fn conditions_of_the_command_line_are_added() {
    let target = target();
    let folder = configured(&format!(
        "endpoints: [{{name: strict, url: '{}', conditions: ['[STATUS] == 503']}}]",
        target.url("broken")
    ));
    let check = |arguments: &[&str]| {
        let all: Vec<&str> =
            ["--config", "config.yaml", "check", "--no-retry"].iter().chain(arguments).copied().collect();
        run(folder.path(), &all)
    };
    let url = target.url("fine");
    let good = check(&[&url, "--condition", "[STATUS] == any(200, 204)", "--condition", "[CONNECTED] == true"]);
    assert_eq!(good.code, Some(0), "{}", good.stdout);
    assert!(good.stdout.contains("condition   [STATUS] (200) == any(200, 204): holds"), "{}", good.stdout);
    let degraded = check(&[&url, "--degraded-unless", "[RESPONSE_TIME] < 0ms"]);
    assert_eq!(degraded.code, Some(0), "degraded is up");
    assert!(degraded.stdout.starts_with("degraded: [RESPONSE_TIME] was "), "{}", degraded.stdout);
    assert_eq!(check(&["strict"]).code, Some(0));
    let both = check(&["strict", "--condition", "[BODY] == other"]);
    assert_eq!(both.code, Some(1), "{}", both.stdout);
    assert!(both.stdout.contains("[STATUS] (503) == 503: holds"), "{}", both.stdout);
    let wrong = check(&[&url, "--condition", "[STATUS] = 200"]);
    assert_eq!(wrong.code, Some(2));
    let said = "--condition '[STATUS] = 200': column 10: `=` is no operator";
    assert!(wrong.stderr.contains(said), "{}", wrong.stderr);
}

#[test]
fn what_cannot_be_examined_is_not_down() {
    let folder = configured("endpoints: [{name: job, kind: push, interval: 1d}]");
    let push = run(folder.path(), &["--config", "config.yaml", "check", "job"]);
    assert_eq!(push.code, Some(2), "{}", push.stdout);
    assert!(push.stderr.contains("`job` is of the kind push: nothing is asked of it"), "{}", push.stderr);
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
