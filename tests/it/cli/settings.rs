//! What is changed by `PUT /api/v1/config` takes effect in the running process.

use std::time::Duration;

use super::configured;
use super::logs::{PLAIN, call};
use super::process::{Running, eventually};
use crate::flows::target::{Answer, Target};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn more_checks_at_once_are_made_at_once() {
    let target = Target::answering(|_, _| Answer::Hang);
    let folder = configured(&format!(
        "monitoring: {{max_concurrent_checks: 1}}\n\
         defaults: {{interval: 120, timeout: 60}}\n\
         endpoints: [{{name: a, url: '{}'}}, {{name: b, url: '{}'}}]",
        target.url("a"),
        target.url("b")
    ));
    let mut monitor = Running::start(folder.path(), &["--config", "config.yaml"]);
    let address = monitor.address();
    let begun = || target.hits("a").len() + target.hits("b").len();
    eventually(LONG, "the first check", || (begun() == 1).then_some(()));
    let answer = call(&address, "PUT", "/api/v1/config", PLAIN, r#"{"max_concurrent_checks": 2}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    // The first one hangs for longer than this waits.
    eventually(LONG, "the second check beside it", || (begun() == 2).then_some(()));
}
