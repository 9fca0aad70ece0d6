//! A monitor writes results several times a second while a backup is made of it; another monitor goes on from that.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use api_monitor::domain::{Timestamp, from_micros, micros};
use serde_json::Value;

use super::{command, configure, contents, done, place, refusal, target, told};
use crate::cli::process::{Running, eventually};
use crate::database::{Database, Kind};

const ENDPOINTS: i64 = 8;

/// What a monitor tells of the time before `to`.
fn story(address: &str, to: Timestamp) -> Vec<Value> {
    let to_text = to.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let from = from_micros(micros(to) - 3_600_000_000).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut story = Vec::new();
    for id in 1..=ENDPOINTS {
        let endpoint = told(address, &format!("/api/v1/endpoints/{id}"));
        for key in ["id", "name", "group", "url", "origin", "revision", "created_at", "settings", "effective"] {
            assert!(!endpoint[key].is_null(), "{key} of {endpoint}");
            story.push(endpoint[key].clone());
        }
        let history = told(address, &format!("/api/v1/stats/history/{id}?limit=1000&to_date={to_text}"));
        assert!(history["checks"].as_array().unwrap().len() >= 3, "{history}");
        story.push(history["checks"].clone());
        let uptime = told(address, &format!("/api/v1/stats/uptime/{id}?from={from}&to={to_text}"));
        for key in ["total_checks", "successful_checks", "uptime_percentage"] {
            assert!(!uptime[key].is_null(), "{key} of {uptime}");
            story.push(uptime[key].clone());
        }
    }
    let incidents = told(address, &format!("/api/v1/incidents?endpoint=1&to={to_text}"));
    let first = &incidents["incidents"][0];
    for key in ["id", "endpoint_id", "started_at", "opened_at"] {
        assert!(!first[key].is_null(), "{key} of {incidents}");
        story.push(first[key].clone());
    }
    story
}

fn a_running_monitor_is_saved_and_another_goes_on(kind: Kind, form: &[&str]) {
    let target = target();
    let (first, second) = (Database::empty(kind), Database::empty(kind));
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    configure(here.path(), &first.url(), &target);
    configure(there.path(), &second.url(), &target);
    let mut monitor = Running::start(here.path(), &["--config", "config.yaml"]);
    let address = monitor.address();
    eventually(Duration::from_secs(30), "an incident", || {
        (told(&address, "/api/v1/incidents?endpoint=1")["total"] == 1).then_some(())
    });
    eventually(Duration::from_secs(30), "results", || {
        (1..=ENDPOINTS)
            .all(|id| told(&address, &format!("/api/v1/stats/history/{id}"))["total"].as_u64() >= Some(6))
            .then_some(())
    });

    // Checks from before this are recorded when the backup begins.
    let settled = from_micros(micros(SystemClock::new().now()) - 2_000_000);
    let before = story(&address, settled);
    let written = command(here.path(), &[&["backup", "all.backup"], form].concat());
    assert!(done(&written).contains("all.backup: "), "{}", written.stdout);
    assert_eq!(written.stderr, "", "no bar where there is no terminal");
    let backup = here.path().join("all.backup");
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600, "it holds secrets");
    let names: Vec<_> = contents(here.path()).into_keys().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["all.backup", "config.yaml"], "nothing else is left");

    let again = refusal(&command(here.path(), &["backup", "all.backup"]));
    assert!(again.contains("all.backup exists") && again.contains("--force"), "{again}");
    done(&command(here.path(), &[&["backup", "all.backup", "--force"], form].concat()));

    // The monitor goes on as if nothing had happened, and its database is not given away.
    let in_use = refusal(&command(here.path(), &["restore", "all.backup", "--force"]));
    assert!(in_use.contains("in use by another api-monitor"), "{in_use}");
    let count = || told(&address, "/api/v1/stats/history/3")["total"].as_u64().unwrap();
    let counted = count();
    eventually(Duration::from_secs(30), "more results", || (count() > counted + 1).then_some(()));

    let restored = command(there.path(), &["restore", backup.to_str().unwrap()]);
    assert!(done(&restored).contains("restored"), "{}", restored.stdout);
    let mut other = Running::start(there.path(), &["--config", "config.yaml"]);
    let other_address = other.address();
    assert_eq!(story(&other_address, settled), before);
    assert_eq!(story(&address, settled), before, "and it is still what the first one tells");
    other.signal("TERM");
    assert_eq!(other.wait(Duration::from_secs(30)).code, Some(0));

    // What is there now is not thrown away by mistake.
    let refused = refusal(&command(there.path(), &["restore", backup.to_str().unwrap()]));
    assert!(refused.contains("has data") && refused.contains("--force"), "{refused}");
    let replaced = command(there.path(), &["restore", backup.to_str().unwrap(), "--force"]);
    done(&replaced);
    if let Some(folder) = place(&second) {
        let kept = contents(folder).into_keys().find(|path| path.to_string_lossy().contains("before-restore"));
        assert!(replaced.stdout.contains(&kept.unwrap().display().to_string()), "{}", replaced.stdout);
    }
    monitor.signal("TERM");
    assert_eq!(monitor.wait(Duration::from_secs(30)).code, Some(0));
}

#[test]
fn on_sqlite() {
    a_running_monitor_is_saved_and_another_goes_on(Kind::Sqlite, &[]);
}

#[test]
fn on_sqlite_in_the_portable_form() {
    a_running_monitor_is_saved_and_another_goes_on(Kind::Sqlite, &["--format", "portable"]);
}

#[test]
fn on_postgresql() {
    if Kind::Postgres.is_here() {
        a_running_monitor_is_saved_and_another_goes_on(Kind::Postgres, &[]);
    }
}
