//! Backup, restore and export by the real program, beside a real monitor; and what happens to a damaged database.

mod beside;
mod export;
mod integrity;
mod refused;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::process::{Ended, get, run};
use crate::database::Database;
use crate::flows::target::{Answer, Target};

/// A target of which `broken` always fails and `shaky` now and then.
fn target() -> Target {
    Target::answering(|path, before| {
        let fails = path == "broken" || path == "shaky" && before % 3 == 1;
        Answer::Status(if fails { 500 } else { 200 })
    })
}

/// Writes a configuration of eight endpoints, each checked every second: `broken`, `shaky`, and good ones.
fn configure(folder: &Path, url: &str, target: &Target) {
    let mut yaml = format!(
        "database: {{url: '{url}'}}\napi: {{host: 127.0.0.1, port: 0}}\nmonitoring: {{max_checks_per_host: 50}}\n\
         defaults: {{interval: 1, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}}}\nendpoints:\n"
    );
    for name in ["broken", "shaky", "e3", "e4", "e5", "e6", "e7", "e8"] {
        let url = target.url(name);
        yaml += &format!("  - {{name: {name}, group: core, url: '{url}', headers: {{authorization: s3cret}}}}\n");
    }
    std::fs::write(folder.join("config.yaml"), yaml).unwrap();
}

/// Runs a command with the configuration of a folder.
fn command(folder: &Path, arguments: &[&str]) -> Ended {
    run(folder, &[&["--config", "config.yaml"], arguments].concat())
}

#[track_caller]
fn done(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    &ended.stdout
}

/// Asserts that it could not begin, and returns the one line that says why.
#[track_caller]
fn refusal(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    lines[0].strip_prefix("api-monitor: ").unwrap().to_owned()
}

/// Every file of a folder with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect()
}

/// An answer of the API that must be good.
#[track_caller]
fn told(address: &str, path: &str) -> Value {
    let (status, answer) = get(address, path);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// The folder of a database, where it is a file.
fn place(database: &Database) -> Option<&Path> {
    match database {
        Database::Sqlite(folder) => Some(folder.path()),
        Database::Postgres(_) => None,
    }
}
