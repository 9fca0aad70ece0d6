//! An export says what the API says, in each form, from either database.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::uptime::Rollup;
use api_monitor::domain::{from_micros, micros};
use api_monitor::service::export::{self, ExportError, ExportQuery, Format, What};
use api_monitor::store::{self, Beside};
use serde_json::Value;

use super::{command, configure, done, refusal, target, told};
use crate::cli::process::{Running, eventually};
use crate::database::{Database, Kind};
use crate::flows::harness::load;
use crate::flows::uptime::past_checks;

/// Exports as JSON lines.
fn rows(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let ended = command(folder, &[&["export", "--format", "jsonl"], arguments].concat());
    done(&ended).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn an_export_says_what_the_api_says(kind: Kind) {
    let target = target();
    let database = Database::empty(kind);
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &database.url(), &target);
    let mut monitor = Running::start(folder.path(), &["--config", "config.yaml"]);
    let address = monitor.address();
    eventually(Duration::from_secs(30), "results", || {
        (1..=8)
            .all(|id| told(&address, &format!("/api/v1/stats/history/{id}"))["total"].as_u64() >= Some(5))
            .then_some(())
    });
    eventually(Duration::from_secs(30), "an incident", || {
        (told(&address, "/api/v1/incidents?endpoint=1")["total"] == 1).then_some(())
    });

    // Beside the running monitor: what it exports now is what it tells afterwards.
    for (id, name) in [(1, "broken"), (2, "core/shaky"), (3, "e3")] {
        let exported = rows(folder.path(), &["--endpoint", name]);
        let history = told(&address, &format!("/api/v1/stats/history/{id}?limit=1000"));
        let checks: BTreeMap<String, &Value> = history["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| (check["scheduled_at"].as_str().unwrap().to_owned(), check))
            .collect();
        assert!(exported.len() >= 5, "{exported:?}");
        for row in &exported {
            let check = checks[row["scheduled_at"].as_str().unwrap()];
            for key in ["endpoint_id", "checked_at", "outcome", "success", "status_code", "attempts", "failure_kind"] {
                assert_eq!(row[key], check[key], "{key} of {row}");
            }
            for key in ["error_message", "missed_reason", "slots", "trigger", "in_maintenance"] {
                assert_eq!(row[key], check[key], "{key} of {row}");
            }
            for key in ["dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "transfer_ms", "total_ms"] {
                assert_eq!(row[key], check["timings"][key], "{key} of {row}");
            }
        }
    }
    let incidents = rows(folder.path(), &["--what", "incidents", "--endpoint", "broken"]);
    let told_incidents = told(&address, "/api/v1/incidents?endpoint=1");
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0]["started_at"], told_incidents["incidents"][0]["started_at"]);
    assert_eq!(incidents[0]["error_message"], "GET returned 500, expected 200");

    let endpoints = command(folder.path(), &["export", "--what", "endpoints", "--format", "json"]);
    let listed: Value = serde_json::from_str(done(&endpoints)).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 8);
    assert_eq!(listed[0]["settings"]["headers"]["authorization"], "***");
    let as_csv = command(folder.path(), &["export", "--what", "endpoints"]);
    assert!(!endpoints.stdout.contains("s3cret") && !done(&as_csv).contains("s3cret"), "no secret leaves");
    monitor.signal("TERM");
    monitor.wait(Duration::from_secs(30));

    // The monitor is gone: all forms hold the same, and the bounds are those of the API.
    let all = rows(folder.path(), &[]);
    let array = command(folder.path(), &["export", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(done(&array)).unwrap(), all);
    let written = command(folder.path(), &["export", "-o", "checks.csv"]);
    assert_eq!(done(&written), "");
    assert!(written.stderr.starts_with(&format!("checks.csv: {} rows", all.len())), "{}", written.stderr);
    let mut csv = csv::Reader::from_path(folder.path().join("checks.csv")).unwrap();
    let columns = csv.headers().unwrap().clone();
    let from_csv: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!(from_csv.len(), all.len());
    for (record, row) in from_csv.iter().zip(&all) {
        for (column, cell) in columns.iter().zip(record) {
            let expected = match &row[column] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(cell, expected.strip_suffix(".0").unwrap_or(&expected), "{column} of {row}");
        }
    }
    let at = all[all.len() / 2]["scheduled_at"].as_str().unwrap();
    let early = rows(folder.path(), &["--to", at]);
    let late = rows(folder.path(), &["--from", at]);
    assert_eq!(early.len() + late.len(), all.len());
    assert!(!early.is_empty() && late.iter().any(|row| row["scheduled_at"] == at));
    assert_eq!(rows(folder.path(), &["--endpoint", "core/*"]).len(), all.len());

    let there = refusal(&command(folder.path(), &["export", "-o", "checks.csv"]));
    assert!(there.contains("checks.csv exists"), "{there}");
    let unknown = refusal(&command(folder.path(), &["export", "--endpoint", "core/brokn"]));
    assert!(unknown.contains("did you mean `core/broken`?"), "{unknown}");
    let backwards = refusal(&command(folder.path(), &["export", "--from", "2026-02-01", "--to", "2026-01-01"]));
    assert!(backwards.contains("--from must be before --to"), "{backwards}");
}

#[test]
fn from_sqlite() {
    an_export_says_what_the_api_says(Kind::Sqlite);
}

#[test]
fn from_postgresql() {
    if Kind::Postgres.is_here() {
        an_export_says_what_the_api_says(Kind::Postgres);
    }
}

/// Takes a little and then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| std::io::Error::other("full"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn rows_are_written_as_they_are_read_and_hours_are_those_that_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::of(Kind::Sqlite);
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let yaml = "endpoints: [{name: '=1+1', url: 'http://127.0.0.1:9/'}]\n";
    let config = load(&folder.path().join("config.yaml"), yaml, now);
    let store = database.open().await;
    api_monitor::service::sync::apply(&store, &config, now).await.unwrap();
    let checks = past_checks(EndpointId(1), now, 200, 7);
    store::history::append(store.writer(), &checks).await.unwrap();
    let hour = |n: i64| from_micros(micros(now) - n * 3_600_000_000);
    let mut rollup = Rollup::with_sketch();
    checks.iter().take(60).for_each(|check| rollup.add(check));
    // More than one of the spans in which they are read.
    let hours: Vec<_> = (0..1_500).map(|n| (EndpointId(1), hour(n), rollup.clone())).collect();
    for part in hours.chunks(100) {
        store::rollups::put_hours(store.writer(), part).await.unwrap();
    }
    store.close().await.unwrap();

    let source = Beside::open(&database.options()).await.unwrap();
    let query = |what, format| ExportQuery { what, format, endpoints: Vec::new(), from: None, to: None };
    let mut seen = 0;
    let checks_query = query(What::Checks, Format::Jsonl);
    let result = export::export(&source, &config, &checks_query, Full(200_000), &mut |rows, _| seen = rows).await;
    assert!(matches!(result, Err(ExportError::Write(_))), "{result:?}");
    assert!((200..2_000).contains(&seen), "it stopped where it could not go on: {seen} of {}", checks.len());

    let mut csv = Vec::new();
    let rows = export::export(&source, &config, &query(What::Hours, Format::Csv), &mut csv, &mut |_, _| {}).await;
    assert_eq!(rows.unwrap(), 1_500);
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(&records[0][2], "'=1+1", "a name is not calculated");
    let starts: Vec<&str> = records.iter().map(|record| &record[3]).collect();
    let expected: Vec<String> =
        (0..1_500).rev().map(|n| hour(n).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)).collect();
    assert_eq!(starts, expected);
    let counted = &rollup.bucket;
    assert_eq!((&records[0][4], &records[0][6]), (counted.up.to_string().as_str(), counted.down.to_string().as_str()));
    assert_eq!(&records[0][10], counted.uptime_percentage().unwrap().to_string());
    source.close().await.unwrap();
}
