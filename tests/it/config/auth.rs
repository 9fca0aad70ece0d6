//! `api.auth.keys`: who has a key, and every way to write one wrongly.

use api_monitor::config::ConfiguredKey;
use api_monitor::domain::api_key::KeyDigest;
use api_monitor::domain::role::Role;

use super::{good, yaml};

#[test]
fn keys_are_read_plain_and_hashed() {
    let digest = KeyDigest::of(b"the-key-of-ci-the-key");
    let case = yaml(&format!(
        "api:\n  auth:\n    keys:\n      - {{name: ops, role: admin, key: '${{OPS_KEY}}'}}\n      \
         - {{name: ci, role: operator, key: 'sha256:{}', expires_at: 2030-12-31}}\n      \
         - name: the wall\n        role: viewer\n        key: the-key-of-the-wall\n        \
         expires_at: 2030-12-31T18:00:00+01:00\n",
        digest.to_hex().to_uppercase()
    ))
    .env("OPS_KEY", "the-key-of-the-operators");
    let config = case.good("config.yaml");
    assert_eq!(config.warnings, []);
    let auth = config.api.auth;
    assert!(auth.is_on() && auth.api_key.is_none());
    let of = |key: &ConfiguredKey| {
        (key.name.clone(), key.role, key.digest, key.expires_at.map(|end| end.to_rfc3339()), key.source.line)
    };
    let shown: Vec<_> = auth.keys.iter().map(of).collect();
    let is = |name: &str, role, digest, end: Option<&str>, line| {
        (name.to_owned(), role, digest, end.map(str::to_owned), line)
    };
    assert_eq!(
        shown,
        [
            is("ops", Role::Admin, KeyDigest::of(b"the-key-of-the-operators"), None, 4),
            is("ci", Role::Operator, digest, Some("2031-01-01T00:00:00+00:00"), 5),
            is("the wall", Role::Viewer, KeyDigest::of(b"the-key-of-the-wall"), Some("2030-12-31T17:00:00+00:00"), 6),
        ]
    );
    let told = format!("{auth:?}");
    assert!(!told.contains("the-key-of") && !told.contains(&digest.to_hex()), "{told}");
}

#[test]
fn keys_come_from_a_variable_too() {
    let keys = "[{name: ops, role: admin, key: the-key-of-the-operators}]";
    let case = yaml("").env("API_MONITOR__API__AUTH__KEYS", keys);
    let auth = case.good("config.yaml").api.auth;
    assert_eq!(auth.keys.len(), 1);
    assert_eq!(auth.keys[0].source.to_string(), "environment variable API_MONITOR__API__AUTH__KEYS");
}

#[test]
fn every_mistake_of_the_keys_is_told_with_its_place() {
    let case = yaml(
        r#"
api:
  auth:
    enabled: true
    api_key: the-key-of-everybody
    keys:
      - {}
      - {name: local, role: viewer, key: the-key-of-one-the-key}
      - {name: a/b, role: viewer, key: the key with spaces}
      - {name: secret, role: viewer, key: "${SECRET}"}
      - {name: ops, role: viewer, key: the-key-of-two-the-key}
      - {name: ops, role: viewer, key: the-key-of-2nd-the-key}
      - {name: three, role: editor, key: the-key-of-two-the-key}
      - {name: four, role: editor, key: the-key-of-everybody}
      - {name: five, role: editor, key: "sha256:abc"}
      - {name: six, role: editor, key: the-key-of-six-the-key, expires_at: 2030-02-30}
"#,
    )
    .env("SECRET", "hunter2 and more");
    let told = case.errors("config.yaml");
    for secret in ["hunter2", "the-key-of", "the key with"] {
        assert!(!told.contains(secret), "{told}");
    }
    snapshot!(told);
}

#[test]
fn a_role_or_key_nearly_right_is_guessed() {
    snapshot!(
        "role",
        super::errors("api: {auth: {enabled: true, keys: [{name: a, role: opertor, key: the-key-of-one-the-key}]}}")
    );
    snapshot!("field", super::errors("api: {auth: {keys: [{name: a, rol: admin, key: the-key-of-one-the-key}]}}"));
}

#[test]
fn what_weakens_authentication_is_warned_of() {
    snapshot!(
        yaml(
            r"
api:
  auth:
    api_key: short
    keys:
      - {name: one, role: viewer, key: short-too}
      - {name: two, role: admin, key: the-key-of-two-the-key, expires_at: 2020-01-01}
"
        )
        .warnings("config.yaml")
    );
    let nobody = yaml("api: {auth: {keys: [{name: tv, role: editor, key: the-key-of-the-tv}]}}");
    snapshot!("no_admin", nobody.warnings("config.yaml"));
    let off = yaml("api: {auth: {enabled: false, keys: [{name: tv, role: editor, key: the-key-of-the-tv}]}}");
    snapshot!("off", off.warnings("config.yaml"));
    assert!(!off.good("config.yaml").api.auth.is_on());
}

#[test]
fn a_key_that_is_not_known_here_is_no_reason_to_be_open() {
    let case =
        yaml("api: {auth: {enabled: true, keys: [{name: ci, role: admin, key: '${CI_KEY}'}]}}").allow_missing_env();
    let auth = case.good("config.yaml").api.auth;
    assert!(auth.is_on());
    assert_ne!(auth.keys[0].digest, KeyDigest::of(b""));
    assert_eq!(good("api: {auth: {keys: []}}").api.auth.keys, []);
    assert!(!good("api: {auth: {keys: []}}").api.auth.is_on());
    super::errors("api: {auth: {enabled: true, keys: []}}");
}
