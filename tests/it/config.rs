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
use proptest::prelude::*;

/// A snapshot without the YAML it came from, which stands in the test.
macro_rules! snapshot {
    ($($arguments:tt)*) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($($arguments)*) })
    };
}

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
routes: []
database: {x-a: 1, pool: 3}
defaults: {x-b: 1, header: {}, retry: {x-c: 1, attempts: 3}}
groups:
  core: {x-d: 1, endpoint: [], intervals: 5}
endpoints:
  - {x-e: 1, name: one, url: "https://one.example", Timeout: 5, tls: {insecure: true}, alert_policy: {threshold: 5}}
monitoring: {x-f: 1, max-concurrent-checks: 5}
logging: {x-g: 1, rotation: daily}
api: {x-h: 1, base_path: /x, auth: {keys: [], api_keys: a}, cors: {origins: []}}
prometheus: {x-i: 1, gatus_names: true}
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
