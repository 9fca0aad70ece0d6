//! PostgreSQL for tests: a private cluster of the installed version on a port of its own, started when the first
//! test asks for it, gone with the process of the tests however that ends. Each test has a database of its own.
//!
//! Where PostgreSQL is not installed the tests say so and pass, but not in CI.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api_monitor::config::{PostgresConfig, Secret, TlsMode};
use api_monitor::store::{PostgresTarget, Store, StoreOptions, StoreTarget};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::Instant;

/// The owner of every database, let in without a password.
pub(crate) const USER: &str = "monitor";
/// A user who needs a password.
pub(crate) const GUARDED: &str = "guarded";
pub(crate) const PASSWORD: &str = "p@ss/w:rd?#%";
/// A user who is let in by TLS only.
pub(crate) const ENCRYPTED: &str = "encrypted";

/// The cluster that the tests share, or `None` where PostgreSQL is not installed.
pub(crate) fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}

/// A running server and all it keeps. Dropping it, or the end of this process, stops the server and removes that.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    /// Holds the other end of a pipe, whose end it acts on.
    keeper: Child,
    with_tls: bool,
}

/// What stays behind a killed process of tests otherwise. Reads until the other end of its input is closed, stops the
/// server, also one that was made to stand still, and removes the folder.
const KEEPER: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -CONT "$pid" 2>/dev/null
  kill -QUIT "$pid" 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

impl Cluster {
    /// A cluster of one's own, such as one to be stopped; `None` where PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::started(true)
    }

    /// As [`start`](Self::start), with a server that does not know TLS.
    pub(crate) fn without_tls() -> Option<Self> {
        Self::started(false)
    }

    fn started(with_tls: bool) -> Option<Self> {
        let bin = installed()?;
        let folder = tempfile::Builder::new().prefix("api-monitor-postgres-").tempdir().unwrap().keep();
        // From here on the folder has its keeper.
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal is for the tests.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut cluster = Self { folder, bin, port: 0, keeper, with_tls };
        cluster.initialise();
        cluster.first_start();
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn initialise(&self) {
        own(&self.folder);
        let base = || {
            let mut initdb = self.command("initdb");
            initdb.args(["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "-D"]).arg(self.data());
            initdb
        };
        // A collation that orders texts otherwise than by their bytes, where there is one.
        let with_collation = base().args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]).output();
        if !with_collation.unwrap().status.success() {
            drop(std::fs::remove_dir_all(self.data()));
            succeeded(base().args(["--locale=C"]));
        }
        let settings = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nfull_page_writes = off\n\
                        wal_level = minimal\nmax_wal_senders = 0\nshared_buffers = 32MB\nmax_connections = 100\n\
                        log_min_messages = fatal\n";
        append(&self.data().join("postgresql.conf"), settings);
        if self.with_tls {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            for (name, pem) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
                let path = self.data().join(name);
                std::fs::write(&path, pem).unwrap();
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                own(&path);
            }
            append(&self.data().join("postgresql.conf"), "ssl = on\n");
        }
        let hosts = format!(
            "hostssl all {ENCRYPTED} 127.0.0.1/32 trust\nhost all {ENCRYPTED} 127.0.0.1/32 reject\n\
             host all {GUARDED} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        );
        std::fs::write(self.data().join("pg_hba.conf"), hosts).unwrap();
    }

    fn first_start(&mut self) {
        // The free port may be taken by another until the server has it.
        let started = (0..5).any(|_| {
            self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            self.try_start()
        });
        assert!(started, "PostgreSQL does not start:\n{}", self.log());
        self.execute("postgres", &format!("CREATE ROLE {USER} LOGIN CREATEDB"));
        self.execute("postgres", &format!("CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'"));
        self.execute("postgres", &format!("CREATE ROLE {ENCRYPTED} LOGIN"));
    }

    fn try_start(&self) -> bool {
        let mut start = self.command("pg_ctl");
        start.args(["start", "-w", "-t", "60", "-o", &format!("-p {}", self.port), "-D"]).arg(self.data()).arg("-l");
        start.arg(self.folder.join("data/server.log")).stdout(Stdio::null()).stderr(Stdio::null());
        start.status().unwrap().success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("data/server.log")).unwrap_or_default()
    }

    /// A program of PostgreSQL, run by somebody who is not root, which it refuses.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.stdin(Stdio::null()).current_dir(&self.folder).env_remove("PGDATA").env("LC_ALL", "C");
        command
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the server, which is its own CA.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn stop(&self) {
        succeeded(self.command("pg_ctl").args(["stop", "-w", "-m", "immediate", "-D"]).arg(self.data()));
    }

    /// Starts it again, on the same port.
    pub(crate) fn start_again(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.try_start() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start again:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes the server and its sessions stand still: connections are taken and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal_all("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let server = pid_file.lines().next().unwrap().to_owned();
        // The server first, so that it makes no further session.
        succeeded(Command::new("kill").arg(signal).arg(&server));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if parent == Some(&server) {
                // It may have ended by now.
                drop(Command::new("kill").arg(signal).arg(entry.file_name()).stderr(Stdio::null()).status());
            }
        }
    }

    /// Runs SQL as the superuser.
    pub(crate) fn execute(&self, database: &str, sql: &str) {
        let options = self.options(database, "postgres");
        let sql = sql.to_owned();
        apart(async move {
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            connection.execute(AssertSqlSafe(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            connection.close().await.unwrap();
        });
    }

    /// The first column of the first row, as text.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Option<String> {
        let options = self.options(database, "postgres");
        let sql = sql.to_owned();
        apart(async move {
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            let answer: Option<Option<String>> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            answer.flatten()
        })
    }

    fn options(&self, database: &str, user: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(user)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// How a monitor reaches a database of this cluster.
    pub(crate) fn place(&self, database: &str) -> PostgresConfig {
        PostgresConfig {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: Some(USER.to_owned()),
            password: None,
            name: database.to_owned(),
            tls: TlsMode::Disable,
            root_certificate: None,
            client_certificate: None,
            client_key: None,
            settings: Vec::new(),
        }
    }

    /// Makes an empty database.
    pub(crate) fn create(&self, name: &str, template: &str) {
        self.execute("postgres", &format!("CREATE DATABASE {name} OWNER {USER} TEMPLATE {template}"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// A database of the shared cluster, which goes with the test.
pub(crate) struct PostgresDatabase {
    cluster: &'static Cluster,
    name: String,
}

impl PostgresDatabase {
    /// With the schema as it is now.
    pub(crate) fn migrated() -> Self {
        static TEMPLATE: OnceLock<()> = OnceLock::new();
        TEMPLATE.get_or_init(|| {
            let cluster = shared().unwrap();
            cluster.create("migrated", "template0");
            let options = options_of(cluster.place("migrated"));
            apart(async move { Store::open(&options).await.unwrap().close().await.unwrap() });
        });
        Self::made_from("migrated")
    }

    /// Without anything in it.
    pub(crate) fn empty() -> Self {
        Self::made_from("template0")
    }

    fn made_from(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let cluster = shared().unwrap();
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        cluster.create(&name, template);
        Self { cluster, name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn place(&self) -> PostgresConfig {
        self.cluster.place(&self.name)
    }

    /// As `database.url` has it.
    pub(crate) fn url(&self) -> String {
        format!("{}?sslmode=disable", self.place())
    }

    pub(crate) fn options(&self) -> StoreOptions {
        options_of(self.place())
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.options()).await.unwrap()
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.cluster.execute("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

pub(crate) fn options_of(place: PostgresConfig) -> StoreOptions {
    let target = PostgresTarget { place: Box::new(place), pre_ping: true };
    StoreOptions { target: StoreTarget::Postgres(target), readers: 4, echo: false }
}

/// As [`Cluster::place`] with the user who needs a password.
pub(crate) fn guarded(place: PostgresConfig, password: &str) -> PostgresConfig {
    PostgresConfig { user: Some(GUARDED.to_owned()), password: Some(Secret::new(password)), ..place }
}

/// Runs something asynchronous to its end from anywhere.
fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work))
        .join()
        .unwrap()
}

/// The folder of the programs; the newest version.
#[expect(clippy::disallowed_methods, reason = "whether this is CI is no setting of the product")]
fn installed() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort_by_key(|bin| bin.parent().and_then(|v| v.file_name()?.to_str()?.parse::<u32>().ok()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter_map(|folder| {
        // Links to programs lead to their folder.
        Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned())
    });
    let has_all = |bin: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| bin.join(name).exists());
    let found = folders.into_iter().rev().chain(in_path).find(has_all);
    if found.is_none() {
        assert!(std::env::var("CI").is_err(), "PostgreSQL is not installed, and in CI its tests must run");
        let told = "PostgreSQL is not installed: its tests are left out (install initdb, pg_ctl and postgres)\n";
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    }
    found
}

fn is_root() -> bool {
    id_of(&["-u"]) == 0
}

fn id_of(arguments: &[&str]) -> u32 {
    let printed = Command::new("id").args(arguments).output().unwrap();
    String::from_utf8(printed.stdout).unwrap().trim().parse().unwrap()
}

/// Gives a file or folder to whoever runs the server.
fn own(path: &Path) {
    if is_root() {
        let (user, group) = (id_of(&["-u", "postgres"]), id_of(&["-g", "postgres"]));
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn succeeded(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
