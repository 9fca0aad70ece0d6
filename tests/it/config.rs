//! The configuration: what is shipped loads, what the original had loads, bad files give exactly these errors.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::format_push_string, reason = "the texts of tests are small")]

/// A snapshot without the YAML it came from, which stands in the test.
macro_rules! snapshot {
    ($($arguments:tt)*) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($($arguments)*) })
    };
}

mod auth;
mod connectivity;
mod outbound;
mod parents;
mod routes;
mod serving;
mod telling;

use std::path::{Path, PathBuf};
use std::time::Duration;

use api_monitor::config::channels::{ChannelConfig, Transport};
use api_monitor::config::{
    Config, ConfigErrors, DatabaseTarget, Environment, LoadOptions, LogFormat, LogLevel, MaxConcurrent, Secret,
    TlsMode, Workers, load,
};
use api_monitor::domain::Timestamp;
use api_monitor::domain::schedule::Schedule;
use api_monitor::domain::setting::RequestBody;
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
    snapshot!(errors(
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

#[test]
fn broken_files_are_told_with_their_place() {
    let list = |depth: usize| format!("x-deep: {}{}", "[".repeat(depth), "]".repeat(depth));
    for (name, bytes) in [
        ("tab", "endpoints:\n\t- https://one.example\n".into()),
        ("unclosed", "endpoints: [\"https://one.example\n".into()),
        ("two_documents", "endpoints: []\n---\nendpoints: []\n".into()),
        ("duplicate_key", "api:\n  port: 1\n  host: localhost\n  port: 2\n".into()),
        ("unknown_alias", "defaults: *nothing\n".into()),
        ("self_alias", "defaults: &d {headers: *d}\n".into()),
        ("tag", "timezone: !secret UTC\n".into()),
        ("not_a_mapping", "- https://one.example\n".into()),
        ("merge_of_text", "endpoints:\n  - <<: defaults\n    name: one\n".into()),
        ("too_deep", list(200)),
        ("unquoted_variable", "api: {port: ${LISTEN}}\n".into()),
    ] as [(&str, String); 11]
    {
        snapshot!(format!("broken_{name}"), errors(&bytes));
    }
    let case = Case::new().file("config.yaml", b"endpoints: []\nx-note: caf\xe9\n");
    snapshot!("broken_latin_1", case.errors("config.yaml"));
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    snapshot!(Case::new().errors("nowhere.yaml"));
}

#[test]
fn an_empty_file_is_a_configuration_without_endpoints() {
    for text in ["", "# nothing\n", "---\n", "endpoints:\ngroups:\ndefaults:\nmonitoring:\n"] {
        let config = good(text);
        assert!(config.endpoints.is_empty() && config.groups.is_empty() && config.warnings.is_empty(), "{text:?}");
        assert_eq!(config.monitoring.check_history_days, 90);
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("x-0: &a0 [bomb, bomb, bomb, bomb, bomb, bomb, bomb, bomb, bomb]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("x-{level}: &a{level} [{aliases}]\n");
    }
    assert!(errors(&text).contains("anchors and aliases make this file too large"));

    let long = format!("x-long: &l {}\nx-many: [{}]\n", "x".repeat(1_000_000), vec!["*l"; 200].join(", "));
    assert!(errors(&long).contains("anchors and aliases make this file too large"));

    let mut chain = String::from("x-0: &a0 end\n");
    for level in 1..100 {
        chain += &format!("x-{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(errors(&chain).contains("nested too deeply"));
}

#[test]
fn ten_thousand_endpoints_load() {
    let mut text = String::from("x-base: &base {timeout: 3, headers: {Accept: application/json}}\nendpoints:\n");
    for n in 0..10_000 {
        text += &format!(
            "  - <<: *base\n    name: endpoint {n}\n    url: https://host-{n}.example/health\n    tags: [a, b]\n    interval: 30s\n"
        );
    }
    let config = good(&text);
    assert_eq!(config.endpoints.len(), 10_000);
    let last = &config.endpoints[9_999];
    assert_eq!(last.endpoint.name, "endpoint 9999");
    assert_eq!(last.endpoint.check.headers["accept"], "application/json");
    assert_eq!((last.source.line, last.source.column), (2 + 9_999 * 5 + 1, 5));
}

#[test]
fn merge_keys_lay_under_what_is_set() {
    let config = good(
        r#"
x-slow: &slow {interval: 5m, timeout: 20, x-why: far away}
x-json: &json {timeout: 1, headers: {Accept: application/json}, method: POST}
endpoints:
  - {<<: *slow, name: one, url: "https://one.example"}
  - name: two
    url: https://two.example
    interval: 60
    <<: [*slow, *json]
"#,
    );
    let check = |index: usize| &config.endpoints[index].endpoint.check;
    assert_eq!(config.endpoints[0].endpoint.schedule, Schedule::Interval(Duration::from_mins(5)));
    assert_eq!(check(0).timeout, Duration::from_secs(20));
    assert_eq!(config.endpoints[1].endpoint.schedule, Schedule::Interval(Duration::from_mins(1)));
    assert_eq!((check(1).timeout, check(1).method.as_str()), (Duration::from_secs(20), "POST"));
    assert_eq!(check(1).headers["accept"], "application/json");
}

#[test]
fn endpoints_inherit_from_their_group_and_from_the_defaults() {
    let config = good(
        r#"
timezone: Europe/Berlin
defaults:
  timeout: 4
  tags: [all]
  headers: {User: default, Accept: "*/*"}
retry: {max_attempts: 5, jitter: false}
groups:
  core:
    description: What everything needs
    interval: 30
    tags: [core]
    retry: {max_attempts: 2}
    endpoints:
      api: https://api.example/health
      web: {url: "https://web.example/", headers: {user: web}, tags: [edge, all]}
  nightly:
    schedule: "0 3 * * *"
    endpoints:
      - https://night.example/
      - {name: day, url: "https://day.example/", interval: 1h}
  lonely:
endpoints:
  - https://bare.example:8443/x?y=z
  - {name: joined, url: "https://joined.example/", group: core, enabled: false}
  - {name: labelled, url: "https://labelled.example/", group: elsewhere}
"#,
    );
    let shown: Vec<_> = config
        .endpoints
        .iter()
        .map(|e| {
            let (c, end) = (&e.endpoint.check, &e.endpoint);
            let when = match &end.schedule {
                Schedule::Interval(every) => format!("every {every:?}"),
                Schedule::Cron(cron) => format!("at {} {}", cron.expression(), cron.timezone()),
            };
            format!(
                "{}/{} {} {when} timeout {:?} attempts {} jitter {} tags {} headers {:?} active {}",
                end.group,
                end.name,
                c.url,
                c.timeout,
                end.retry.max_attempts,
                end.retry.jitter,
                end.tags.join("+"),
                c.headers,
                end.is_active
            )
        })
        .collect();
    snapshot!(shown.join("\n"));
    assert_eq!(config.groups["core"].description, "What everything needs");
    assert!(config.groups.contains_key("lonely"));
    assert_eq!(config.layers("core").group.unwrap().interval.unwrap().0, Duration::from_secs(30));
    assert!(config.layers("elsewhere").group.is_none());
    let web = config.endpoints.iter().find(|e| e.endpoint.name == "web").unwrap();
    assert_eq!(web.settings.group.as_deref(), Some("core"));
    assert_eq!(web.settings.interval, None, "what is inherited is not set");
}

#[test]
fn mistakes_in_groups_and_defaults_are_told_once_and_where_they_are() {
    let mut text = String::from(
        r#"
defaults:
  name: nobody
  timeout: 90
  method: "P OST"
  retry: {max_attempts: 0}
groups:
  a/b: {}
  core:
    url: https://core.example
    intervall: 5
    connect_timeout: 5m
    endpoints:
      one: {name: other, url: "https://one.example"}
      two: {group: edge, url: "https://two.example"}
      one: https://one.example
  edge: 5
endpoints:
  - {name: slow, url: "https://slow.example", interval: 10m}
  - {name: typo, url: "https://typo.example", group: cor}
  - https://same.example/a
  - https://same.example/b
"#,
    );
    for n in 0..100 {
        text += &format!("  - {{name: many {n}, url: 'https://many.example'}}\n");
    }
    // A duplicate key makes the file as a whole unreadable: told first, then the rest.
    snapshot!("inherited_duplicate", errors(&text));
    snapshot!("inherited", errors(&text.replace("      one: https://one.example\n", "")));
}

#[test]
fn unknown_keys_are_refused_everywhere_and_free_keys_are_not() {
    snapshot!(errors(
        r#"
x-top: 1
chanels: {}
services: []
database: {x-a: 1, pool: 3}
defaults: {x-b: 1, header: {}, retry: {x-c: 1, attempts: 3}}
groups:
  core: {x-d: 1, endpoint: [], intervals: 5}
endpoints:
  - {x-e: 1, name: one, url: "https://one.example", Timeout: 5, tls: {insecure: true}, alert_policy: {threshold: 5}}
monitoring: {x-f: 1, max-concurrent-checks: 5}
logging: {x-g: 1, rotations: daily}
api: {x-h: 1, base_path: /x, auth: {keys: [], api_keys: a}, cors: {origins: []}}
prometheus: {x-i: 1, gatus_name: true}
notifications: {x-j: 1, slack: {}, email: {to: a}, webhook: {uri: a}, telegram: {token: a}}
"#
    ));
}

#[test]
fn header_and_body_keys_are_never_free() {
    let config = good(
        "endpoints: [{name: one, url: 'https://one.example', headers: {x-api-version: 2}, body: {x-a: 1}, method: POST}]",
    );
    let check = &config.endpoints[0].endpoint.check;
    assert_eq!(check.headers["x-api-version"], "2");
    assert_eq!(check.body, Some(RequestBody::Json(serde_json::json!({"x-a": 1}))));
}

#[test]
fn scalars_are_what_is_asked_for() {
    let case = yaml(
        r#"
endpoints:
  - name: 1.10
    description: no
    url: https://one.example
    timeout: "3"
    interval: ${SECONDS}
    is_active: ${ACTIVE}
    expected_status: ${STATUS}
    headers: {Version: 010, Token: "${TOKEN}", Empty: "${NOTHING}"}
    body:
      token: ${TOKEN}
      quoted: "${TOKEN}"
      more: {plain: 1, octal: 0o10, yes: yes, truth: true, none: null, text: "1", big: 1e3}
    method: POST
  - name: ~tilde
    url: https://two.example
    body: "123"
  - name: 0x10
    url: https://three.example
    body: |
      line
    retry: {multiplier: 3}
"#,
    )
    .env("SECONDS", "90")
    .env("ACTIVE", "false")
    .env("STATUS", "2xx")
    .env("TOKEN", "12345")
    .env("NOTHING", "");
    let config = case.good("config.yaml");
    let [one, two, three] = &config.endpoints[..] else { panic!("three endpoints") };
    assert_eq!((one.endpoint.name.as_str(), one.endpoint.description.as_str()), ("1.10", "no"));
    assert_eq!(one.endpoint.check.timeout, Duration::from_secs(3));
    assert_eq!(one.endpoint.schedule, Schedule::Interval(Duration::from_secs(90)));
    assert!(!one.endpoint.is_active && one.endpoint.check.expected_status.contains(204));
    let headers: Vec<_> = one.endpoint.check.headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(headers, ["empty=", "token=12345", "version=010"]);
    let more = serde_json::json!({"plain": 1, "octal": 8, "yes": "yes", "truth": true, "none": null, "text": "1",
        "big": 1000.0});
    let body = serde_json::json!({"token": 12345, "quoted": "12345", "more": more});
    assert_eq!(one.endpoint.check.body, Some(RequestBody::Json(body)));
    assert_eq!(two.endpoint.name, "~tilde");
    assert_eq!(two.endpoint.check.body, Some(RequestBody::Text("123".to_owned())));
    assert_eq!(three.endpoint.name, "0x10");
    assert_eq!(three.endpoint.check.body, Some(RequestBody::Text("line\n".to_owned())));
    assert!((three.endpoint.retry.multiplier - 3.0).abs() < f64::EPSILON);
}

#[test]
fn substituted_values_cannot_change_the_structure_and_are_never_shown() {
    let secret = Case::new().file("secret", "  hunter2-from-file \n");
    let path = secret.folder.path().join("secret");
    let case = secret
        .file(
            "config.yaml",
            format!(
                r#"
endpoints:
  - name: one
    url: https://one.example
    headers: {{A: "${{TRICKY}}", B: "${{file:{}}}", C: "$${{TRICKY}} $5"}}
"#,
                path.display()
            ),
        )
        .env("TRICKY", "x, D: y");
    let headers = case.good("config.yaml").endpoints[0].endpoint.check.headers.clone();
    assert_eq!(headers["a"], "x, D: y");
    assert_eq!(headers["b"], "hunter2-from-file");
    assert_eq!(headers["c"], "${TRICKY} $5");

    let wrong = yaml(
        r#"
timezone: ${SECRET}
endpoints:
  - name: one
    url: ${SECRET}
    interval: ${SECRET}
    timeout: ${SHORT}
    retry: {max_attempts: "${SHORT}", jitter: "${SECRET}"}
    expected_status: ["${SECRET}"]
    schedule: ${SECRET}
  - ${SECRET}
api: {port: "${SECRET}", auth: {api_key: ["${SECRET}"]}}
database: {url: "mysql://u:${SECRET}@h/x", type: "${SECRET}"}
logging: {level: "${SECRET}"}
"#,
    )
    .env("SECRET", "hunter2")
    .env("SHORT", "0");
    let told = wrong.errors("config.yaml");
    assert!(!told.contains("hunter2"), "{told}");
    snapshot!(told);
}

#[test]
fn unset_variables_are_mistakes_unless_they_are_allowed() {
    let text = r#"
database: {url: "${DATABASE}"}
x-unused: ${NOBODY}
redis: {url: "${REDIS_URL}"}
endpoints:
  - name: ${NAME}
    url: https://${HOST}/health
    interval: ${EVERY}
    timeout: 90
    headers: {Authorization: "Bearer ${TOKEN}"}
    expected_status: ["${STATUS}"]
  - name: ${NAME}
    url: ${URL}
  - ${URL}
  - {name: file, url: "https://file.example", body: "${file:/nowhere/at/all}"}
  - {name: odd, url: "https://odd.example", body: "${1}", description: "${open"}
api: {port: "${LISTEN:-9000}", auth: {enabled: true, api_key: "${KEY}"}}
"#;
    let case = yaml(text);
    snapshot!("unset", case.errors("config.yaml"));

    let text = text.lines().filter(|line| !line.contains("odd")).collect::<Vec<_>>().join("\n");
    let case = yaml(&text).allow_missing_env();
    snapshot!("unset_allowed", case.warnings("config.yaml"));
    let config = case.good("config.yaml");
    assert_eq!(config.endpoints.len(), 4);
    assert_eq!(config.api.port, 9000);
    assert!(config.api.auth.api_key.is_some(), "a key that is not known here is no reason to be open");
}

#[test]
fn a_folder_is_merged() {
    let case = Case::new()
        .file("10-base.yaml", "x-base: &b {timeout: 3}\ndefaults: {tags: [all]}\nendpoints:\n  - {<<: *b, name: one, url: 'https://one.example'}\nlogging:\n")
        .file("20-more.yml", "x-base: &b {timeout: 4}\ndefaults: {method: HEAD, tags: [more]}\nendpoints:\n  - {<<: *b, name: two, url: 'https://two.example'}\nlogging: {level: debug}\n")
        .file("30-groups.yaml", "groups: {core: {interval: 10, endpoints: {a: 'https://a.example'}}}\n")
        .file("40-groups.yaml", "groups: {core: {timeout: 2, endpoints: {b: 'https://b.example'}}}\n")
        .file("..data.yaml", "timezone: [")
        .file("notes.txt", "not read");
    let config = case.good("");
    let names: Vec<_> = config.endpoints.iter().map(|e| e.endpoint.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "a", "b"]);
    assert_eq!(config.defaults.tags.as_deref().unwrap(), ["all", "more"]);
    assert_eq!(config.endpoints[1].endpoint.check.method, "HEAD");
    assert_eq!(config.endpoints[1].endpoint.check.timeout, Duration::from_secs(4));
    assert_eq!(config.endpoints[3].endpoint.check.timeout, Duration::from_secs(2));
    assert_eq!(config.endpoints[3].endpoint.schedule, Schedule::Interval(Duration::from_secs(10)));
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert!(config.endpoints[1].source.file.ends_with("20-more.yml") && config.endpoints[1].source.line == 4);
    let files: Vec<_> = config.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["10-base.yaml", "20-more.yml", "30-groups.yaml", "40-groups.yaml"]);
    assert!(config.path.is_absolute() && config.files.iter().all(|file| file.is_absolute()));
}

#[test]
fn what_two_files_of_a_folder_set_is_a_mistake() {
    let case = Case::new()
        .file("a.yaml", "timezone: UTC\napi: {port: 1}\nendpoints:\n  - {name: one, url: 'https://one.example'}\n")
        .file(
            "b.yaml",
            "timezone: UTC\napi: [1]\nendpoints:\n  - https://two.example\n  - {name: one, url: 'htp://one.example'}\n",
        )
        .file("c.yaml", "databas: {}\n");
    snapshot!("folder_conflicts", case.errors(""));
    snapshot!(
        "folder_empty",
        Case::new().errors("").replace(case.folder.path().to_str().unwrap(), "").split("  ").last().unwrap()
    );
}

#[test]
fn variables_win_over_files() {
    let case = yaml("monitoring: {check_history_days: 10}\ndefaults: {retry: {max_attempts: 5}}\nlogging: {level: INFO}\napi: {port: 1000}\nretry:\n")
        .env("API_MONITOR__MONITORING__CHECK_HISTORY_DAYS", "30")
        .env("API_MONITOR__MONITORING__CLEANUP_INTERVAL", "2h")
        .env("API_MONITOR__MONITORING__MAX_CONCURRENT_CHECKS", "7")
        .env("API_MONITOR__DEFAULTS__RETRY__JITTER", "false")
        .env("API_MONITOR__DEFAULTS__TAGS", "prod, eu")
        .env("API_MONITOR__DEFAULTS__EXPECTED_STATUS", "[200, 3xx]")
        .env("API_MONITOR__DEFAULTS__HEADERS__X_TOKEN", "[a")
        .env("API_MONITOR__GROUPS__CORE__INTERVAL", "5m")
        .env("API_MONITOR__ENDPOINTS", "[{name: one, url: 'https://one.example', group: core}, 'https://two.example']")
        .env("API_MONITOR__LOGGING__LEVEL", "")
        .env("LOG_LEVEL", "WARNING")
        .env("LOG_FORMAT", "json")
        .env("PORT", "2000")
        .env("API_PORT", "3000")
        .env("API_HOST", "::1")
        .env("DB_ECHO", "true")
        .env("DB_POOL_SIZE", "9")
        .env("API_KEY", "null")
        .env("HOME", "/root");
    let file = case.load("config.yaml").unwrap_err();
    assert_eq!(file.0.len(), 1, "an empty alias beside what it stands for: {file}");
    let case = case.file(
        "config.yaml",
        "monitoring: {check_history_days: 10}\nretry: {max_attempts: 5}\nlogging: {level: INFO}\napi: {port: 1000}\n",
    );
    let config = case.good("config.yaml");
    assert_eq!(config.monitoring.check_history_days, 30);
    assert_eq!(config.monitoring.cleanup_interval, Duration::from_hours(2));
    assert_eq!(config.monitoring.max_concurrent_checks, MaxConcurrent::Fixed(7));
    assert_eq!((config.logging.level, config.logging.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!((config.api.host.as_str(), config.api.port), ("::1", 3000));
    assert_eq!((config.database.pool_size, config.database.echo), (9, true));
    assert_eq!(config.api.auth.api_key, Some(Secret::new("null")));
    let [one, two] = &config.endpoints[..] else { panic!("two endpoints") };
    assert_eq!((one.endpoint.retry.max_attempts, one.endpoint.retry.jitter), (5, false));
    assert_eq!(one.endpoint.tags, ["prod", "eu"]);
    assert!(one.endpoint.check.expected_status.contains(301) && !one.endpoint.check.expected_status.contains(201));
    assert_eq!(one.endpoint.check.headers["x-token"], "[a");
    assert_eq!(one.endpoint.schedule, Schedule::Interval(Duration::from_mins(5)));
    assert_eq!(two.endpoint.name, "two.example");
    assert_eq!(one.source.to_string(), "environment variable API_MONITOR__ENDPOINTS");
}

#[test]
fn mistakes_in_variables_name_them() {
    let case = yaml("endpoints: [https://one.example]\n")
        .env("API_MONITOR__MONITORING__CHECK_HISTORY_DAY", "30")
        .env("API_MONITOR__MONITRING__CLEANUP_INTERVAL", "30")
        .env("API_MONITOR__MONITORING__CLEANUP_INTERVAL", "soon")
        .env("API_MONITOR__ENDPOINTS__0__NAME", "one")
        .env("API_MONITOR__API____PORT", "1")
        .env("API_MONITOR__GROUPS", "[")
        .env("API_PORT", "70000")
        .env("LOG_LEVEL", "loud")
        .env("SMTP_PORT", "mail")
        .env("DB_POOL_SIZE", "0")
        .env("DATABASE_URL", "oracle://u:hunter2@h/x");
    let told = case.errors("config.yaml");
    assert!(!told.contains("hunter2"));
    snapshot!(told);
}

#[test]
fn container_links_are_not_ports() {
    let case = yaml("endpoints: ['http://127.0.0.1:${API_PORT:-8000}/health/live']\n")
        .env("API_PORT", "tcp://10.0.0.7:8000")
        .env("PORT", "9000")
        .env("SMTP_PORT", "tcp://10.0.0.8:25");
    let config = case.good("config.yaml");
    assert_eq!(config.api.port, 9000);
    assert_eq!(config.endpoints[0].endpoint.check.url.port(), Some(8000));
    snapshot!(case.warnings("config.yaml"));
}

#[test]
fn a_key_turns_authentication_on_unless_it_is_switched_off() {
    for (file, variable, key, warned) in [
        ("", None, None, false),
        ("api: {auth: {enabled: true, api_key: key-in-the-file-1}}", None, Some("key-in-the-file-1"), false),
        ("api: {auth: {api_key: key-in-the-file-1}}", None, Some("key-in-the-file-1"), false),
        ("api: {auth: {enabled: false, api_key: key-in-the-file-1}}", None, None, true),
        ("api: {auth: {enabled: false}}", Some("key-in-the-environment"), None, true),
        (
            "api: {auth: {enabled: true, api_key: key-in-the-file-1}}",
            Some("key-in-the-environment"),
            Some("key-in-the-environment"),
            false,
        ),
        ("", Some("key-in-the-environment"), Some("key-in-the-environment"), false),
        ("", Some(""), None, false),
    ] {
        let case = variable.iter().fold(yaml(file), |case, key| case.env("API_KEY", key));
        let config = case.good("config.yaml");
        assert_eq!(config.api.auth.api_key.as_ref().map(Secret::expose), key, "{file} {variable:?}");
        assert_eq!(!config.warnings.is_empty(), warned, "{file} {variable:?}");
        assert!(!format!("{config:?}").contains("in-the"), "a key is shown");
    }
    for wrong in ["{enabled: true}", "{enabled: true, api_key: ''}", "{api_key: 'with space'}", "{header_name: 'a b'}"]
    {
        errors(&format!("api: {{auth: {wrong}}}"));
    }
}

#[test]
fn the_database_is_where_the_url_says() {
    let here = std::env::current_dir().unwrap();
    let at = |url: &str| good(&format!("database: {{url: '{url}'}}")).database.target;
    let path = |path: PathBuf| DatabaseTarget::Sqlite { path };
    assert_eq!(good("").database.target, path(here.join("data/api_monitor.db")));
    assert_eq!(at("sqlite:///./data/api_monitor.db"), path(here.join("data/api_monitor.db")));
    assert_eq!(at("sqlite+aiosqlite:///./data/api_monitor.db"), path(here.join("data/api_monitor.db")));
    assert_eq!(at("sqlite:///var/lib/a.db"), path("/var/lib/a.db".into()));
    assert_eq!(at("sqlite::memory:"), DatabaseTarget::SqliteMemory);
    let server = at("postgresql+asyncpg://monitor:hunter2@postgres:5433/api_monitor?ssl=require");
    let DatabaseTarget::Postgres(server) = server else { panic!("{server:?}") };
    assert_eq!(server.to_string(), "postgresql://monitor@postgres:5433/api_monitor");
    assert_eq!((server.password.as_ref(), server.tls), (Some(&Secret::new("hunter2")), TlsMode::Require));
    assert!(!format!("{server:?}").contains("hunter2"));
    snapshot!(
        errors("database: {type: postgresql}")
            + "\n\n"
            + &errors(
                "database: {type: sqlite, url: 'postgresql+asyncpg://monitor:hunter2@postgres:5432/api_monitor'}"
            )
            + "\n\n"
            + &errors("database: {url: 'postgresql://monitor:hunter2@postgres'}")
            + "\n\n"
            + &errors("database: {url: 'postgresql://monitor:hunter2@postgres/a?sslmode=hunter2'}")
            + "\n\n"
            + &yaml("database: {url: 'postgresql://monitor:hunter2@postgres/a?connect_timeout=3'}")
                .warnings("config.yaml")
    );
}

#[test]
fn aliases_and_channels_are_checked() {
    snapshot!(errors(
        r#"
defaults: {retry: {max_attempts: 2}}
retry: {max_attempts: 3}
endpoints:
  - {name: one, url: "https://one.example", is_active: true, enabled: false}
notifications:
  email: {enabled: true, smtp_port: mail}
  webhook: {enabled: true, url: ""}
  telegram: {enabled: true, bot_token: abc}
"#
    ));
}

/// The example of the original's README, and its guide put together.
const ORIGINAL_MINIMAL: &str = include_str!("fixtures/config/original-minimal.yaml");
const ORIGINAL_GUIDE: &str = include_str!("fixtures/config/original-guide.yaml");

#[test]
fn the_original_minimal_configuration_works_unchanged() {
    let config = good(ORIGINAL_MINIMAL);
    assert_eq!(config.warnings, []);
    let [endpoint] = &config.endpoints[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.endpoint.name, "Example API");
    assert_eq!(endpoint.endpoint.check.timeout, Duration::from_secs(5));
    assert!(endpoint.endpoint.check.expected_status.contains(200));
}

#[test]
fn the_original_guide_works_unchanged() {
    let config = good(ORIGINAL_GUIDE);
    let [endpoint] = &config.endpoints[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.endpoint.check.headers["authorization"], "Bearer token");
    assert_eq!(endpoint.endpoint.check.body, Some(RequestBody::Json(serde_json::json!({"ping": "test"}))));
    assert_eq!(config.monitoring.max_concurrent_checks, MaxConcurrent::Fixed(50));
    assert_eq!((config.database.pool_size, config.database.max_overflow), (20, 30));
    assert_eq!(config.api.workers, Workers::Fixed(4));
    assert_eq!(config.api.auth.api_key, Some(Secret::new("your-secret-key")));
    assert_eq!((config.logging.level, config.logging.format), (LogLevel::Debug, LogFormat::Text));
    snapshot!(yaml(ORIGINAL_GUIDE).warnings("config.yaml"));
}

#[test]
fn the_originals_variables_work() {
    let without_channels = ORIGINAL_MINIMAL.replace("notifications:\n  enabled: false\n", "");
    let case = yaml(&without_channels)
        .env("DATABASE_URL", "sqlite+aiosqlite:////var/lib/monitor.db")
        .env("SMTP_HOST", "smtp.example.com")
        .env("SMTP_PASSWORD", "hunter2")
        .env("EMAIL_TO", "a@example.com,b@example.com")
        .env("TELEGRAM_CHAT_ID", "-100123")
        .env("WEBHOOK_URL", "https://hooks.example/x")
        .env("PROMETHEUS_ENABLED", "false")
        .env("PROMETHEUS_PORT", "9090");
    assert_eq!(case.good("config.yaml").database.target, DatabaseTarget::Sqlite { path: "/var/lib/monitor.db".into() });
    snapshot!(case.warnings("config.yaml"));
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_shipped_configuration_is_short_and_works() {
    let text = shipped("config/config.yaml");
    assert!(text.lines().count() < 25);
    let config = yaml(&text).env("API_PORT", "8123").good("config.yaml");
    assert_eq!(config.warnings, []);
    let [endpoint] = &config.endpoints[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.endpoint.check.url.as_str(), "http://127.0.0.1:8123/health/live");
    let [console] = &config.channels[..] else { panic!("one channel") };
    assert!(console.enabled && console.default && console.transport == Transport::Console);
    // What is commented out works as well.
    let text: String = text
        .lines()
        .map(|line| match line.strip_prefix("  # ") {
            Some(line) if !line.ends_with(':') => format!("  {line}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = yaml(&text).env("SLACK_URL", "https://hooks.example/x").env("SMTP_PASSWORD", "x").good("config.yaml");
    assert_eq!(config.endpoints.len(), 2);
    assert_eq!(config.channel_names, ["console", "team", "mail"]);
    assert!(config.channels.iter().all(|channel| channel.enabled));
    let path = CONFIG_FOLDER.join("config.yaml");
    load(&LoadOptions { path: Some(path), ..LoadOptions::default() }, now()).unwrap();
}

static CONFIG_FOLDER: std::sync::LazyLock<PathBuf> =
    std::sync::LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("config"));

#[test]
fn maintenance_windows_are_read_and_each_mistake_is_told_at_its_line() {
    let config = good(
        "timezone: Europe/Berlin\nendpoints: [{name: a, group: g, url: 'http://one.example'}]\nmaintenance_windows:\n  \
         - {name: nightly, at: \"02:30\", every: day, for: 90m, match: [group:g, 'id:7']}\n  \
         - {name: once, start: 2026-12-01T22:00:00Z, for: 2h, match: g/a, timezone: UTC, reason: disks}\n",
    );
    let [nightly, once] = &config.maintenance_windows[..] else { panic!("{:?}", config.maintenance_windows) };
    assert_eq!((nightly.window.timezone, once.window.timezone), (chrono_tz::Europe::Berlin, chrono_tz::UTC));
    let covers = |text: &str| nightly.window.covers(text.parse().unwrap());
    assert!(covers("2026-07-01T00:30:00Z") && covers("2026-12-01T02:59:59Z") && !covers("2026-12-01T03:00:00Z"));
    assert_eq!((once.window.reason.as_str(), once.source.line), ("disks", 5));

    let told = errors(
        "endpoints: [{name: a, group: g, url: 'http://one.example'}]\nmaintenance_windows:\n  \
         - {name: w, at: \"02:30\", every: someday, for: 1h, match: a}\n  \
         - {name: x, at: \"02:30\", every: day, for: 1d, match: [a, group:h]}\n  \
         - {name: x, cron: '0 1 * * *', for: soon, match: a}\n  \
         - {name: y, cron: '0 1 * * *', for: 1h, match: b, tz: UTC}\n  \
         - {name: ok, cron: '0 1 * * *', for: 1h, match: a}\n  \
         - {name: ok, cron: '0 1 * * *', for: 1h, match: a}\n  \
         - just text\n  \
         - {}\n",
    );
    for said in [
        (3, "maintenance_windows[0].every"),
        (4, "maintenance_windows[1].for"),
        (4, "there is no group `h`"),
        (5, "maintenance_windows[2].for"),
        (6, "there is no endpoint `b`"),
        (6, "tz"),
        (8, "the name `ok` is taken"),
        (9, "a mapping with name"),
        (10, "maintenance_windows[7].match"),
    ] {
        let (line, text) = said;
        let is_told = |told: &str| told.contains(&format!("config.yaml:{line}:")) && told.contains(text);
        assert!(told.split("\n\n").any(is_told), "{said:?} in\n{told}");
    }
    assert!(!told.contains("maintenance_windows[4]"), "that one is good:\n{told}");
}

#[test]
fn every_key_has_its_default() {
    let config = good(&shipped("config/every-key.yaml"));
    let plain = good("endpoints: [{name: api-monitor itself, url: 'http://127.0.0.1:8000/health/live'}]");
    assert_eq!(config.database, plain.database);
    assert_eq!(config.timezone, plain.timezone);
    assert_eq!(config.monitoring, plain.monitoring);
    assert_eq!(config.logging, plain.logging);
    assert_eq!(config.api, plain.api);
    assert_eq!(config.endpoints[0].endpoint, plain.endpoints[0].endpoint);
    assert_eq!(config.telling, plain.telling);
    assert_eq!((&config.resolver, &config.outbound), (&plain.resolver, &plain.outbound));
    assert_eq!(config.prometheus, plain.prometheus);
    let kinds = ["console", "email", "webhook", "telegram"].into_iter().chain(api_monitor::domain::preset::names());
    let channels: Vec<String> =
        kinds.map(|kind| format!("  example {kind}: {{type: {kind}, enabled: false}}\n")).collect();
    let off = good(&format!(
        "channels:\n{}notifications: {{email: {{enabled: false}}, webhook: {{enabled: false}}, telegram: {{enabled: false}}}}\n",
        channels.concat()
    ));
    // But for the lines on which they stand.
    let anywhere = |channels: &[ChannelConfig]| {
        channels.iter().map(|channel| ChannelConfig { source: None, ..channel.clone() }).collect::<Vec<_>>()
    };
    assert_eq!(anywhere(&config.channels), anywhere(&off.channels));
    assert_eq!(config.warnings, [], "every key is in effect");
}

/// An unknown key is answered with those that are known: so each mapping of the file is asked for its keys, and all
/// of them must stand in it.
#[test]
fn every_key_is_in_every_key() {
    let text = shipped("config/every-key.yaml");
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let key_of = |line: &str| {
        let line = line.split(" #").next()?.trim_start_matches([' ', '-']);
        let (key, value) = line.split_once(':')?;
        (!key.starts_with('#') && !key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
    };
    let mut asked = 0;
    // `alias`: another name of a key that stands there.
    let mut ask = |at: usize, depth: usize, present: Vec<String>, alias: &str| {
        let mut with_unknown = lines.clone();
        let unknown = format!("{}zzzzzzzz: 1", " ".repeat(depth));
        with_unknown.insert(at, &unknown);
        let told = errors(&with_unknown.join("\n"));
        let known = told.split_once("known here: ").expect(&told).1.lines().next().unwrap();
        for key in known.split(", ").filter(|key| *key != alias) {
            assert!(present.iter().any(|p| p == key), "{key} is missing near line {at}: {present:?}");
        }
        asked += 1;
    };
    let keys_at = |from: usize, depth: usize| -> Vec<String> {
        let block = lines[from..]
            .iter()
            .take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#') || indent(line) >= depth);
        block.filter(|line| indent(line) == depth).filter_map(|line| key_of(line)).map(|(key, _)| key).collect()
    };
    ask(lines.len(), 0, keys_at(0, 0), "retry");
    for (number, line) in lines.iter().enumerate() {
        let Some((key, value)) = key_of(line) else { continue };
        let Some(next) = lines.get(number + 1).filter(|next| value.is_empty() && indent(next) > indent(line)) else {
            continue;
        };
        // Mappings of names, not of keys; an endpoint has the dash of its item; a group and the defaults have any
        // key of an endpoint.
        if ["groups", "example group", "defaults", "channels"].contains(&key.as_str()) {
            continue;
        }
        let depth = indent(next);
        let (at, alias) = if next.trim_start().starts_with('-') { (number + 2, "enabled") } else { (number + 1, "") };
        ask(at, depth, keys_at(number + 1, depth), alias);
    }
    assert!(asked >= 15, "only {asked} mappings were found");
}

#[test]
fn the_documented_example_loads() {
    let text = shipped("docs/configuration.md");
    let example = |n: usize| text.split("```yaml\n").nth(n).unwrap().split("```").next().unwrap();
    let config = good(example(1));
    let names: Vec<_> = config.endpoints.iter().map(|e| e.endpoint.name.as_str()).collect();
    assert_eq!(names, ["example.com", "nightly", "api", "login"]);

    let channels = example(2).replace("${file:/run/secrets/smtp}", "x");
    let config = yaml(&channels).env("SLACK_URL", "https://hooks.example/x").good("config.yaml");
    assert_eq!(config.warnings, []);
    assert_eq!(config.channel_names, ["console", "team", "mail", "pager"]);
}

#[test]
fn config_path_names_the_file_unless_the_command_line_does() {
    let case = yaml("api: {port: 1}").file("other.yaml", "api: {port: 2}");
    let path = |name: &str| case.folder.path().join(name);
    let environment = Environment::from_pairs([("CONFIG_PATH", path("config.yaml").to_str().unwrap())]);
    let options = LoadOptions { environment, ..LoadOptions::default() };
    assert_eq!(load(&options, now()).unwrap().api.port, 1);
    let options = LoadOptions { path: Some(path("other.yaml")), ..options };
    assert_eq!(load(&options, now()).unwrap().path, path("other.yaml"));
}

#[test]
fn every_variable_is_in_the_example() {
    let example = shipped(".env.example");
    for name in [
        "CONFIG_PATH",
        "DATABASE_URL",
        "DB_POOL_SIZE",
        "DB_MAX_OVERFLOW",
        "DB_ECHO",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "API_HOST",
        "API_PORT",
        "PORT",
        "API_KEY",
        "API_AUTH_API_KEY",
        "API_AUTH_ENABLED",
        "SMTP_HOST",
        "SMTP_PORT",
        "SMTP_USER",
        "SMTP_PASSWORD",
        "EMAIL_FROM",
        "EMAIL_TO",
        "WEBHOOK_URL",
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_CHAT_ID",
        "PROMETHEUS_ENABLED",
        "PROMETHEUS_PORT",
    ] {
        let line = example.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name}=")));
        assert!(line, "{name}");
        assert!(shipped("docs/configuration.md").contains(&format!("`{name}`")), "{name} in docs/configuration.md");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
        if let Err(errors) = yaml(&text).load("config.yaml") {
            prop_assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
        }
    }

    #[test]
    fn nothing_like_a_configuration_makes_the_loader_panic(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "endpoints", "groups", "defaults", "retry", "api", "auth", "database", "url", "name", ": ", ":\n  ", "\n", "- ",
            "[", "]", "{", "}", "&a ", "*a", "<<: ", "${A}", "${", "}", "${A:-", "$${", "\"", "'", "|\n", "null", "~", "1e999",
            "-1", "99999999999999999999999999999999999999999", "https://x.example", "interval", "0.5", "!!str ", "? ", "# ", "\t",
            "x-a", "timezone", "expected_status", "headers", "\u{feff}", "\u{0}", "é", "  ", "    ",
        ]), 0..40),
        value in "\\PC{0,20}",
    ) {
        let case = yaml(&parts.concat()).env("A", &value).env("API_MONITOR__DEFAULTS__HEADERS", &value).env("API_KEY", &value);
        if let Err(errors) = case.load("config.yaml") {
            prop_assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
        }
    }
}
