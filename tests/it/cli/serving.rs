//! `serve`: the start that is refused with one clear line, and the end that loses nothing.

use std::net::TcpListener;
use std::time::Duration;

use api_monitor::domain::check::CheckResult;
use api_monitor::domain::outcome::{MissedReason, Outcome};
use api_monitor::domain::{Timestamp, from_micros};
use api_monitor::store::{self, Store, StoreOptions, StoreTarget};

use super::process::{Ended, Running, eventually, get, run};
use super::{configured, with_database, write};
use crate::flows::target::{Answer, Target};
use crate::postgres::{self, PostgresDatabase};

const SERVE: &[&str] = &["--config", "config.yaml"];
const STOP: Duration = Duration::from_secs(10);

/// Everything the database of a folder holds of the only endpoint.
fn recorded(folder: &std::path::Path) -> Vec<CheckResult> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let target = StoreTarget::Sqlite(folder.join("monitor.db"));
        let store = Store::open(&StoreOptions { target, readers: 1, echo: false }).await.unwrap();
        let id = store::endpoints::list_current(store.readers()).await.unwrap()[0].id;
        let mut rows = Vec::new();
        let ever = from_micros(0)..Timestamp::MAX_UTC;
        store::history::for_each(store.readers(), id, ever, |row| rows.push(row.clone())).await.unwrap();
        store.close().await.unwrap();
        rows
    })
}

fn checks_told(address: &str) -> u64 {
    get(address, "/api/v1/stats/history/1").1["total"].as_u64().unwrap()
}

#[test]
fn either_signal_ends_it_cleanly_with_all_results_written() {
    let target = Target::answering(|_, _| Answer::Status(200));
    let folder = configured(&format!("endpoints: [{{name: fine, url: '{}', interval: 1}}]", target.url("fine")));
    let mut before = 0;
    for signal in ["TERM", "INT"] {
        let mut monitor = Running::start(folder.path(), SERVE);
        let address = monitor.address();
        eventually(Duration::from_secs(15), "results", || (checks_told(&address) > before + 1).then_some(()));
        let told = checks_told(&address);
        monitor.signal(signal);
        let end = monitor.wait(STOP);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        assert!(end.stderr.contains("\"message\":\"stopped\""), "{}", end.stderr);
        let good = recorded(folder.path()).iter().filter(|row| row.outcome.is_good()).count();
        assert_eq!(good, target.hits("fine").len(), "every answer of the target is recorded");
        before = told;
    }
}

#[test]
fn a_signal_right_after_the_start_ends_it_cleanly_too() {
    let folder = configured("endpoints: []");
    for _ in 0..5 {
        let mut monitor = Running::start(folder.path(), SERVE);
        monitor.address();
        monitor.signal("TERM");
        let end = monitor.wait(STOP);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
    }
}

#[test]
fn a_check_that_hangs_is_cut_by_the_stop_and_told_as_missed() {
    let target = Target::answering(|_, _| Answer::Hang);
    let url = target.url("hang");
    let folder = configured(&format!("endpoints: [{{name: hang, url: '{url}', interval: 60, timeout: 60}}]"));
    let mut monitor = Running::start(folder.path(), SERVE);
    monitor.address();
    eventually(Duration::from_secs(20), "the check", || (!target.hits("hang").is_empty()).then_some(()));
    monitor.signal("TERM");
    let end = monitor.wait(STOP);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let rows = recorded(folder.path());
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].outcome, Outcome::Missed(MissedReason::Shutdown));
}

#[test]
fn an_open_connection_does_not_hold_up_the_stop() {
    let folder = configured("endpoints: []");
    let mut monitor = Running::start(folder.path(), SERVE);
    let address = monitor.address();
    let mut half = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut half, b"GET /health HTTP/1.1\r\nHost: x\r\n").unwrap();
    let idle = std::net::TcpStream::connect(&address).unwrap();
    assert_eq!(get(&address, "/health/live").0, 200);
    monitor.signal("TERM");
    let end = monitor.wait(STOP);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    drop((half, idle));
}

fn refused(end: &Ended, words: &[&str]) {
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    let told: Vec<_> = end.stderr.lines().filter(|line| line.starts_with("api-monitor: ")).collect();
    assert_eq!(told.len(), 1, "one line:\n{}", end.stderr);
    for word in words {
        assert!(told[0].contains(word), "{word} in {}", told[0]);
    }
}

#[test]
fn a_second_process_on_the_same_database_is_refused() {
    let folder = configured("endpoints: []");
    let mut first = Running::start(folder.path(), SERVE);
    let address = first.address();
    refused(&run(folder.path(), SERVE), &["monitor.db", "in use by another api-monitor"]);
    assert_eq!(get(&address, "/health/live").0, 200, "the first goes on");
    first.signal("KILL");
    assert_eq!(first.wait(STOP).code, None);
    // The lock of a killed process is gone with it.
    Running::start(folder.path(), SERVE).address();
}

#[test]
fn a_server_that_cannot_be_used_is_refused_with_one_line() {
    let Some(cluster) = postgres::shared() else { return };
    let database = PostgresDatabase::migrated();
    let folder = configured("endpoints: []");
    let place = |user: &str, name: &str, port: u16| format!("{user}@127.0.0.1:{port}/{name}");
    let refused_by = |place: &str, words: &[&str]| {
        let url = format!("postgresql+asyncpg://{}", place.replace('@', ":hunter2@"));
        let end = Running::start_with(folder.path(), SERVE, &[("DATABASE_URL", &url)]).wait(Duration::from_secs(30));
        refused(&end, words);
        assert!(end.stderr.contains(&format!("postgresql://{place}")), "{}", end.stderr);
        assert!(!end.stderr.contains("hunter2") && !end.stdout.contains("hunter2"), "{}", end.stderr);
    };
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    refused_by(&place(postgres::USER, "monitor", unused), &["nothing listens there", "start PostgreSQL"]);
    let port = cluster.port();
    refused_by(&place(postgres::GUARDED, database.name(), port), &["refuses the user or the password"]);
    refused_by(&place(postgres::USER, "nowhere", port), &["no such database", "CREATE DATABASE"]);

    let mut first = Running::start_with(folder.path(), SERVE, &[("DATABASE_URL", &database.url())]);
    let address = first.address();
    let here = place(postgres::USER, database.name(), port);
    refused_by(&here, &["in use by another api-monitor", "(session ", "stop that process"]);
    assert_eq!(get(&address, "/health/live").0, 200, "the first goes on");
    first.signal("KILL");
    assert_eq!(first.wait(STOP).code, None);
    // The lock of a killed process is gone with its session.
    let mut next = Running::start_with(folder.path(), SERVE, &[("DATABASE_URL", &database.url())]);
    next.address();
    next.signal("TERM");
    assert_eq!(next.wait(STOP).code, Some(0));

    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_add_wonders', 0)";
    cluster.execute(database.name(), newer);
    refused_by(&here, &["newer api-monitor", "m20991231_000001_add_wonders"]);
    assert!(!folder.path().join("monitor.db").exists(), "the variable stands above the file");
}

#[test]
fn the_password_of_a_server_is_nowhere_to_be_read() {
    let Some(cluster) = postgres::shared() else { return };
    let database = PostgresDatabase::migrated();
    let all = "GRANT ALL ON SCHEMA public TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; \
               GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC";
    cluster.execute(database.name(), all);
    let encoded =
        percent_encoding::utf8_percent_encode(postgres::PASSWORD, percent_encoding::NON_ALPHANUMERIC).to_string();
    let url = format!("postgres://{}:{encoded}@127.0.0.1:{}/{}", postgres::GUARDED, cluster.port(), database.name());
    let folder = configured("endpoints: [{name: e, url: 'http://127.0.0.1:9/', interval: 1}]");
    let variables = [("DATABASE_URL", url.as_str()), ("LOG_LEVEL", "TRACE"), ("DB_ECHO", "true")];
    let shown = |end: &Ended| {
        let text = format!("{}{}", end.stdout, end.stderr);
        assert!(!text.contains(postgres::PASSWORD) && !text.contains(&encoded), "the password is shown");
        text
    };
    let migrated = Running::start_with(folder.path(), &["--config", "config.yaml", "migrate"], &variables).wait(STOP);
    let here = format!("postgresql://{}@127.0.0.1:{}/{}", postgres::GUARDED, cluster.port(), database.name());
    assert_eq!(shown(&migrated), format!("database {here}: up to date\n"));

    let mut monitor = Running::start_with(folder.path(), SERVE, &variables);
    let address = monitor.address();
    eventually(Duration::from_secs(20), "a result", || (checks_told(&address) > 0).then_some(()));
    monitor.signal("TERM");
    let end = monitor.wait(STOP);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let text = shown(&end);
    assert!(text.contains(&here), "the start says where the database is");
    assert!(text.contains("INSERT INTO"), "statements are logged");
}

#[test]
fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = configured("endpoints: []");
    let end = Running::start_with(folder.path(), SERVE, &[("API_PORT", &port)]).wait(STOP);
    refused(&end, &[&port, "taken", "API_PORT"]);
    assert!(!folder.path().join("monitor.db").exists(), "nothing was begun");
}

#[test]
fn a_database_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", "not a folder");
    write(folder.path(), "config.yaml", &with_database(&folder.path().join("file/deeper"), "endpoints: []"));
    refused(&run(folder.path(), SERVE), &["file/deeper", "cannot be created"]);

    write(folder.path(), "monitor.db", "this is no database, but a text that is long enough to be read as one\n");
    write(folder.path(), "config.yaml", &with_database(folder.path(), "endpoints: []"));
    refused(&run(folder.path(), SERVE), &["monitor.db"]);
}

#[test]
fn a_bad_configuration_is_refused_before_anything_is_begun() {
    let folder = configured("endpoints: [{name: a, url: 'nonsense'}]");
    let end = run(folder.path(), SERVE);
    refused(&end, &["the configuration has mistakes"]);
    assert!(end.stderr.contains("config.yaml:3"), "{}", end.stderr);
    assert!(!folder.path().join("monitor.db").exists());
}

#[test]
fn a_folder_of_files_is_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    write(folder.path(), "conf/a.yaml", &with_database(folder.path(), ""));
    write(folder.path(), "conf/b.yaml", "endpoints: [{name: one, url: 'http://127.0.0.1:9/', is_active: false}]");
    write(folder.path(), "conf/c.yaml", "endpoints: [{name: two, url: 'http://127.0.0.1:9/', is_active: false}]");
    let mut monitor = Running::start(folder.path(), &["-c", "conf"]);
    let address = monitor.address();
    let listed = get(&address, "/api/v1/endpoints").1;
    assert_eq!(listed["total"], 2);
    assert!(listed["endpoints"][0]["source"].as_str().unwrap().contains("b.yaml:1"), "{listed}");
}
