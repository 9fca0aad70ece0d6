//! The configuration: what is shipped loads, what the original had loads, bad files give exactly these errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api_monitor::config::{
    Config, ConfigErrors, DatabaseTarget, Environment, LoadOptions, LogFormat, LogLevel, MaxConcurrent, Secret,
    Workers, load,
};
use api_monitor::domain::Timestamp;
use api_monitor::domain::schedule::Schedule;
use api_monitor::domain::setting::RequestBody;
use insta::assert_snapshot;
use proptest::prelude::*;

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// A folder of configuration files, and the environment they are read in.
struct Case {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    allow_missing_env: bool,
}

impl Case {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new(), allow_missing_env: false }
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn allow_missing_env(mut self) -> Self {
        self.allow_missing_env = true;
        self
    }

    /// Loads one file of the folder, or the folder.
    fn load(&self, name: &str) -> Result<Config, ConfigErrors> {
        let options = LoadOptions {
            path: Some(self.folder.path().join(name)),
            environment: Environment::from_pairs(self.environment.clone()),
            allow_missing_env: self.allow_missing_env,
        };
        load(&options, now())
    }

    /// A text without the temporary folder.
    fn shown(&self, text: impl std::fmt::Display) -> String {
        text.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn good(&self, name: &str) -> Config {
        self.load(name).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self, name: &str) -> String {
        self.shown(self.load(name).expect_err("the configuration is mistaken"))
    }

    fn warnings(&self, name: &str) -> String {
        self.good(name).warnings.iter().map(|warning| self.shown(warning)).collect::<Vec<_>>().join("\n")
    }
}

/// One file.
fn yaml(text: &str) -> Case {
    Case::new().file("config.yaml", text)
}

fn good(text: &str) -> Config {
    yaml(text).good("config.yaml")
}

fn errors(text: &str) -> String {
    yaml(text).errors("config.yaml")
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    assert_snapshot!(errors(
        r#"
databse: {}
database:
  pool_size: many
  max_overflow: -1
timezone: Europe/Berlni
retry:
  max_atempts: 3
  jitter: yes
endpoints:
  - name: one
    url: https://one.example
    interval: sixty
    expected_status: [200, 9000]
    retry:
      max_attempts: 99
      base_delay: [1]
  - nme: two
    url: ftp://two.example
    method: "G ET"
  - name: one
    url: example.com
    headers: Bearer hunter2
    timeout: 90
  - 17
  -
  - [https://three.example]
monitoring:
  max_concurrent_checks: 0
  check_history_days: 1.5
api:
  port: 70000
  auth:
    enabled: true
logging: DEBUG
"#
    ));
}
