//! The commands that end by themselves.

use super::process::run;
use super::{configured, with_database, write};

#[test]
fn help_and_version_are_told_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let version = run(folder.path(), &["--version"]);
    assert_eq!(version.code, Some(0));
    assert_eq!(version.stdout.trim(), format!("api-monitor {}", env!("CARGO_PKG_VERSION")));

    let help = run(folder.path(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for words in ["Examples:", "api-monitor validate", "serve", "healthcheck", "--config"] {
        assert!(help.stdout.contains(words), "{words} in\n{}", help.stdout);
    }
    let help = run(folder.path(), &["check", "--help"]);
    assert!(help.stdout.contains("api-monitor check https://example.com/health"), "{}", help.stdout);

    let mistaken = run(folder.path(), &["serv"]);
    assert_eq!(mistaken.code, Some(2));
    assert!(mistaken.stderr.contains("serve"), "{}", mistaken.stderr);
}

#[test]
fn validate_prints_every_mistake_and_says_what_is_valid() {
    let folder = configured("endpoints: [{name: front, url: 'http://127.0.0.1:9/'}]");
    let valid = run(folder.path(), &["validate", "--config", "config.yaml"]);
    assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    assert_eq!(
        valid.stdout.trim(),
        "valid: config.yaml · 1 endpoint · 0 warnings".replace("config.yaml", &absolute(folder.path(), "config.yaml"))
    );
    assert!(!folder.path().join("monitor.db").exists(), "nothing is opened");

    write(
        folder.path(),
        "config.yaml",
        "endpoints:\n  - {name: a, url: 'ftp://x/'}\n  - {name: b, url: 'http://x/', intervall: 5}\napi: {port: 99999}\n",
    );
    let invalid = run(folder.path(), &["validate", "--config", "config.yaml"]);
    assert_eq!(invalid.code, Some(2));
    assert_eq!(invalid.stdout, "");
    for words in ["config.yaml:2", "config.yaml:3", "config.yaml:4", "intervall", "interval", "port"] {
        assert!(invalid.stderr.contains(words), "{words} in\n{}", invalid.stderr);
    }
}

#[test]
fn validate_of_what_is_not_there_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["validate"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("config/config.yaml") && missing.stderr.contains("--config"), "{}", missing.stderr);
}

#[test]
fn a_bad_line_of_dotenv_is_a_mistake_of_the_start() {
    let folder = configured("endpoints: []");
    write(folder.path(), ".env", "GOOD=1\nnot a pair\n");
    let bad = run(folder.path(), &["validate", "--config", "config.yaml"]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains(".env:2"), "{}", bad.stderr);
}

#[test]
fn a_folder_of_files_is_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    write(folder.path(), "conf/10-base.yaml", &with_database(folder.path(), ""));
    write(folder.path(), "conf/20-shop.yaml", "endpoints: [{name: shop, url: 'http://127.0.0.1:9/'}]");
    write(folder.path(), "conf/30-blog.yaml", "endpoints: [{name: blog, url: 'http://127.0.0.1:9/'}]");
    let valid = run(folder.path(), &["--config", "conf", "validate"]);
    assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    assert!(valid.stdout.contains("2 endpoints") && valid.stdout.contains("20-shop.yaml"), "{}", valid.stdout);
}

#[test]
fn migrate_creates_the_database_once() {
    let folder = configured("endpoints: []");
    let first = run(folder.path(), &["migrate", "--config", "config.yaml"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stdout.contains("monitor.db: created"), "{}", first.stdout);
    let second = run(folder.path(), &["migrate", "--config", "config.yaml"]);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(second.stdout.contains("monitor.db: up to date"), "{}", second.stdout);
}

#[test]
fn openapi_is_a_document_and_needs_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(folder.path(), &["openapi"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let document: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/api/v1/stats/uptime/{id}"]["get"].is_object());
}

fn absolute(folder: &std::path::Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
