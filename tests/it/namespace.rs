//! Tests in a network of their own: this machine has one in which nothing but loopback is up, and addresses can be added
//! and taken away.

use std::future::Future;
use std::process::Command;

/// Tells the test that it runs inside.
const INSIDE: &str = "API_MONITOR_TEST_NETWORK";

/// Runs `body` in a network of its own; `name` is the whole name of the test. Where the system does not permit one the test
/// says so and is skipped; where only a program is missing it fails in CI, which could have installed it.
pub(crate) fn alone<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        ip(&["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let may = Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        let is_forbidden = may.as_ref().is_ok_and(|output| {
            let said = String::from_utf8_lossy(&output.stderr);
            said.contains("not permitted") || said.contains("denied")
        });
        assert!(is_forbidden || std::env::var_os("CI").is_none(), "{name} needs `unshare -rn` and `ip`: {may:?}");
        eprintln!("{name} is skipped: it needs `unshare -rn` and `ip` ({may:?})");
        return;
    }
    let output = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "there is no test of the name {name}: {out}");
}

/// An address that this machine has until it is cut.
pub(crate) struct Address(&'static str);

impl Address {
    pub(crate) fn add(address: &'static str) -> Self {
        let added = Self(address);
        added.mend();
        added
    }

    /// Nothing reaches it any more, at once.
    pub(crate) fn cut(&self) {
        ip(&["addr", "del", &format!("{}/32", self.0), "dev", "lo"]);
    }

    pub(crate) fn mend(&self) {
        ip(&["addr", "add", &format!("{}/32", self.0), "dev", "lo"]);
    }
}

fn ip(arguments: &[&str]) {
    assert!(std::env::var_os(INSIDE).is_some(), "never outside");
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}
