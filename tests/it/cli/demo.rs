//! `demo` does what it says: a target breaks and comes back.

use std::time::Duration;

use super::process::Running;

#[test]
fn the_demo_shows_an_outage_and_a_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Running::start(folder.path(), &["demo"]);
    demo.logs(Duration::from_secs(45), "breaking is down");
    demo.logs(Duration::from_secs(45), "breaking is up");
    let log = demo.stderr();
    assert!(log.contains("nobody home is down") && log.contains("flaky is up"), "{log}");
    assert!(!log.contains("flaky is down"), "{log}");
    demo.signal("INT");
    let end = demo.wait(Duration::from_secs(10));
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stdout.contains("/docs"), "{}", end.stdout);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}
