//! What only a server has: refusals of many sorts, sessions that are lost, a lock that goes with them, TLS.

#![expect(clippy::disallowed_methods, reason = "tasks of a test, awaited or aborted in it")]

use std::time::Duration;

use api_monitor::config::{PostgresConfig, TlsMode};
use api_monitor::store::{self, ConnectionTrait, DatabaseConnection, Store, StoreError};
use sea_orm::Statement;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::opening::sentence;
use super::{add_endpoint, named, new_endpoint};
use crate::postgres::{Cluster, ENCRYPTED, PASSWORD, PostgresDatabase, guarded, options_of, shared};

/// The lock, as `pg_locks` has it.
const HOLDERS: &str = "FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1634757999 \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn refusal(place: PostgresConfig) -> String {
    let refusal = sentence(Store::open(&options_of(place.clone())).await);
    assert!(refusal.starts_with(&format!("{place}: ")), "it says where: {refusal}");
    assert!(!refusal.contains('\n'), "one line: {refusal}");
    refusal
}

async fn text(db: &impl ConnectionTrait, sql: &str) -> String {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_says_what_to_do() {
    let Some(cluster) = shared() else { return };
    let database = PostgresDatabase::empty();
    let good = database.place();

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let absent = PostgresConfig { port: unused, ..good.clone() };
    let began = Instant::now();
    let told = refusal(absent).await;
    assert!(told.contains("nothing listens there: start PostgreSQL"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    let told = refusal(PostgresConfig { host: "no-such-host.invalid".to_owned(), ..good.clone() }).await;
    assert!(told.contains("cannot be found"), "{told}");

    let told = refusal(guarded(good.clone(), "not-the-password")).await;
    assert!(told.contains("refuses the user or the password"), "{told}");
    assert!(!told.contains("not-the-password"), "{told}");

    let told = refusal(PostgresConfig { name: "nowhere".to_owned(), ..good.clone() }).await;
    assert!(told.contains("no such database") && told.contains("CREATE DATABASE"), "{told}");

    let told = refusal(PostgresConfig { user: Some("nobody".to_owned()), ..good.clone() }).await;
    assert!(told.contains("no such user") && told.contains("CREATE ROLE"), "{told}");

    let told = refusal(PostgresConfig { user: Some(ENCRYPTED.to_owned()), ..good.clone() }).await;
    assert!(told.contains("TLS") && told.contains("sslmode=require"), "{told}");

    // The schema belongs to the owner of the database.
    let told = refusal(guarded(good.clone(), PASSWORD)).await;
    assert!(told.contains("may not do this") && told.contains("GRANT"), "{told}");

    cluster.execute("postgres", &format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    let told = refusal(good.clone()).await;
    assert!(told.contains("read-only") && told.contains("primary"), "{told}");
    cluster.execute("postgres", &format!("ALTER DATABASE {} RESET ALL", database.name()));

    let latin = "CREATE DATABASE latin ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0";
    cluster.execute("postgres", latin);
    let told = refusal(PostgresConfig { name: "latin".to_owned(), ..good.clone() }).await;
    assert!(told.contains("SQL_ASCII") && told.contains("ENCODING 'UTF8'"), "{told}");

    // Something else that listens.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let told = refusal(PostgresConfig { port, tls: TlsMode::Prefer, ..good.clone() }).await;
    assert!(told.contains("does not speak the protocol"), "{told}");
    answering.abort();
}

#[tokio::test]
async fn a_password_and_tls_are_used_as_configured() {
    let Some(cluster) = shared() else { return };
    let database = PostgresDatabase::migrated();
    let all = "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC; \
               GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC";
    cluster.execute(database.name(), all);
    let encrypted = |tls, root_certificate| PostgresConfig {
        user: Some(ENCRYPTED.to_owned()),
        tls,
        root_certificate,
        ..database.place()
    };
    for place in [
        guarded(database.place(), PASSWORD),
        encrypted(TlsMode::Prefer, None),
        encrypted(TlsMode::Require, None),
        encrypted(TlsMode::VerifyFull, Some(cluster.certificate())),
    ] {
        let user = place.user.clone().unwrap();
        let store = Store::open(&options_of(place)).await.unwrap();
        assert_eq!(text(store.readers(), "SELECT current_user::text").await, user);
        let with_tls = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(text(store.writer(), with_tls).await, (user == ENCRYPTED).to_string());
        assert!(!format!("{store:?}").contains(PASSWORD));
        assert!(!store.place().contains(PASSWORD) && store.place().starts_with("postgresql://"), "{}", store.place());
        store.close().await.unwrap();
    }
    let options = options_of(guarded(database.place(), PASSWORD));
    assert!(!format!("{options:?}").contains(PASSWORD));

    let told = refusal(encrypted(TlsMode::VerifyFull, None)).await;
    assert!(told.contains("TLS with the server failed") && told.contains("sslrootcert"), "{told}");
    let told = refusal(encrypted(TlsMode::VerifyFull, Some("/no/such/file.pem".into()))).await;
    assert!(told.contains("not there"), "{told}");
}

#[tokio::test]
async fn sessions_are_set_up_for_one_writer_beside_readers() {
    if shared().is_none() {
        return;
    }
    let database = PostgresDatabase::migrated();
    let store = database.open().await;
    let shown = async |db: &DatabaseConnection, name: &str| text(db, &format!("SHOW {name}")).await;
    for (name, writer, reader) in [
        ("synchronous_commit", "off", "on"),
        ("default_transaction_read_only", "off", "on"),
        ("application_name", "api-monitor", "api-monitor"),
        ("tcp_keepalives_idle", "10", "10"),
        ("lock_timeout", "5s", "5s"),
    ] {
        assert_eq!(shown(store.writer(), name).await, writer, "{name}");
        assert_eq!(shown(store.readers(), name).await, reader, "{name}");
    }
    let pid = "SELECT pg_backend_pid()::text";
    let transaction = store.snapshot().await.unwrap();
    let others = futures_util::future::join_all((0..3).map(|_| store.snapshot())).await;
    assert_ne!(text(&transaction, pid).await, text(others[0].as_ref().unwrap(), pid).await);
    // All four are taken.
    assert!(unavailable(store.snapshot().await).contains("busy"));
    drop((transaction, others));
    store.snapshot().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn each_schema_is_a_database_of_its_own() {
    let Some(cluster) = shared() else { return };
    let database = PostgresDatabase::empty();
    cluster
        .execute(database.name(), "CREATE SCHEMA one AUTHORIZATION monitor; CREATE SCHEMA two AUTHORIZATION monitor");
    let within = |schema: &str| {
        let settings = vec![("search_path".to_owned(), schema.to_owned())];
        options_of(PostgresConfig { settings, ..database.place() })
    };
    let (one, two) = (Store::open(&within("one")).await.unwrap(), Store::open(&within("two")).await.unwrap());
    add_endpoint(&one, "in one").await;
    assert_eq!(store::endpoints::list_current(two.readers()).await.unwrap(), []);
    assert!(unavailable(Store::open(&within("one")).await).contains("in use by another api-monitor"));
    assert!(unavailable(Store::open(&within("three")).await).contains("CREATE SCHEMA"));
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn a_lost_session_takes_the_lock_along_and_the_next_one_has_it_again() {
    let Some(cluster) = shared() else { return };
    let database = PostgresDatabase::migrated();
    let store = database.open().await;
    let name = database.name();
    let holder = || cluster.query(name, &format!("SELECT pid::text {HOLDERS}"));
    let first = holder().unwrap();
    cluster.execute(name, &format!("SELECT pg_terminate_backend({first})"));
    // The ping before its use notices.
    store.begin().await.unwrap().commit().await.unwrap();
    let second = holder().unwrap();
    assert_ne!(first, second);

    // Another one waits for the lock, and has it the moment the session is gone.
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass();
    let options = options.host("127.0.0.1").port(cluster.port()).username("monitor").database(name);
    let options = options.ssl_mode(sqlx::postgres::PgSslMode::Disable);
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let waits = tokio::spawn(async move {
        let lock = "SELECT pg_advisory_lock(1634757999, hashtext(current_schema()))";
        sqlx::Executor::execute(&mut other, lock).await.unwrap();
        other
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.query(name, "SELECT '1' FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").is_none() {
        assert!(Instant::now() < deadline, "it never waited");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.execute(name, &format!("SELECT pg_terminate_backend({second})"));
    let other = waits.await.unwrap();
    let began = Instant::now();
    let told = unavailable(store.begin().await);
    assert!(told.contains("in use by another api-monitor (session "), "{told}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(matches!(
        store::states::delete(store.writer(), api_monitor::domain::endpoint::EndpointId(1)).await,
        Err(StoreError::Unavailable(_))
    ));
    store.ping().await.unwrap();
    sqlx::Connection::close(other).await.unwrap();
    let transaction = store.begin().await.unwrap();
    assert_eq!(holder().unwrap(), text(&transaction, "SELECT pg_backend_pid()::text").await);
    transaction.commit().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(holder(), None, "the lock goes with the store");
}

#[tokio::test]
async fn a_server_that_goes_away_is_noticed_in_seconds_and_used_again_when_it_is_back() {
    let Some(cluster) = Cluster::without_tls() else { return };
    cluster.create("monitor", "template0");
    let place = cluster.place("monitor");
    let told = refusal(PostgresConfig { tls: TlsMode::Require, ..place.clone() }).await;
    assert!(told.contains("the server has no TLS"), "{told}");

    let store = Store::open(&options_of(PostgresConfig { tls: TlsMode::Prefer, ..place })).await.unwrap();
    // Whoever was answered finds it again after a crash of the server.
    let durable = store.begin_durable().await.unwrap();
    store::endpoints::insert(&durable, new_endpoint(named("shop"))).await.unwrap();
    durable.commit().await.unwrap();
    let both = async |what: &str| {
        // Three seconds and five, and what a busy machine adds.
        let (pinged, begun) = tokio::join!(timed(store.ping()), timed(async { store.begin().await.map(drop) }));
        for ((told, took), limit) in [(pinged, 3), (begun, 5)] {
            let told = unavailable(told);
            assert!(told.contains(what), "{told}");
            assert!(took < Duration::from_secs(limit + 10), "{what}: {took:?}");
        }
    };
    cluster.stop();
    both("nothing listens there").await;
    cluster.start_again();
    store.ping().await.unwrap();
    store.begin().await.unwrap().commit().await.unwrap();
    add_endpoint(&store, "blog").await;

    cluster.pause();
    both("does not answer").await;
    cluster.resume();
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.begin().await.is_err() {
        assert!(Instant::now() < deadline, "never again");
    }
    store.ping().await.unwrap();
    assert_eq!(store::endpoints::list_current(store.readers()).await.unwrap().len(), 2);
    store.close().await.unwrap();
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (work.await, began.elapsed())
}

#[tokio::test]
async fn closing_does_not_wait_for_a_server_that_stands_still() {
    let Some(cluster) = Cluster::without_tls() else { return };
    cluster.create("monitor", "template0");
    let store = Store::open(&options_of(cluster.place("monitor"))).await.unwrap();
    let transaction = store.begin().await.unwrap();
    cluster.pause();
    drop(transaction);
    let began = Instant::now();
    drop(store.close().await);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
