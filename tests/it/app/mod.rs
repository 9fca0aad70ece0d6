//! The monitor's surface over a real database, with a clock that stands still and checks answered by the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::api;
use api_monitor::board::Board;
use api_monitor::clock::{Clock, ManualClock};
use api_monitor::config::{self, Adjustable, Config, Directory, Environment, Listing, LoadOptions, RunningSettings};
use api_monitor::domain::Timestamp;
use api_monitor::domain::endpoint::{EndpointId, EndpointSettings, KnownEndpoint, Origin, resolve};
use api_monitor::events::{ChannelTestRequest, CheckRequest, IncidentRequest, TrialRequest};
use api_monitor::lifecycle::Tasks;
use api_monitor::notify::{BuildContext, Builder};
use api_monitor::service::alerts::AlertRules;
use api_monitor::service::backups::Backups;
use api_monitor::service::context::{ChannelTrial, RecentReads};
use api_monitor::service::operations::{Job, Module, ModuleType, Operations};
use api_monitor::service::push::PushDoor;
use api_monitor::service::{ServiceContext, api_keys, channels, links, maintenance, sessions};
use api_monitor::store::Store;
use api_monitor::store::audit::{self, AuditEntry, AuditQuery};
use api_monitor::store::backup::BackupFolder;
use api_monitor::store::endpoints;
use api_monitor::telemetry::jobs::{JobStatus, When};
use api_monitor::telemetry::logging::LevelControl;
use api_monitor::telemetry::metrics::Metrics;
use api_monitor::wakeup::Wakeup;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::database::{Database, Kind};

/// When every test begins.
pub(crate) const START: &str = "2026-03-01T12:00:00Z";

pub(crate) struct TestApp {
    pub(crate) ctx: Arc<ServiceContext>,
    pub(crate) clock: Arc<ManualClock>,
    /// What the scheduler would be asked.
    pub(crate) checks: mpsc::Receiver<CheckRequest>,
    /// What the scheduler would be asked to try.
    pub(crate) trials: mpsc::Receiver<TrialRequest>,
    #[expect(dead_code, reason = "kept open: without a recorder decisions wait")]
    pub(crate) decisions: mpsc::Receiver<IncidentRequest>,
    /// What the deliverer would be asked.
    pub(crate) channel_tests: mpsc::Receiver<ChannelTestRequest>,
    pub(crate) router: Router,
    pub(crate) document: Value,
    /// `None`: that of another.
    _database: Option<Database>,
    /// Where the backups are.
    pub(crate) kept: Option<tempfile::TempDir>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem document of the type and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(self.status.as_u16(), status, "{document}");
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:api-monitor:problem:{kind}"), "{document}");
        assert!(document["detail"].as_str().is_some_and(|d| !d.is_empty()), "{document}");
        document
    }
}

/// A request being put together; by default one from this machine.
pub(crate) struct Call<'a> {
    app: &'a TestApp,
    request: Request<Body>,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    /// The header once more.
    pub(crate) fn more(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().unwrap());
        self
    }

    /// By HTTP/1.0.
    pub(crate) fn old_http(mut self) -> Self {
        *self.request.version_mut() = axum::http::Version::HTTP_10;
        self
    }

    pub(crate) fn from(mut self, peer: IpAddr) -> Self {
        self.request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 40_000)));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// The answer with its body still to be read.
    pub(crate) async fn open(self) -> axum::response::Response {
        self.app.router.clone().oneshot(self.request).await.unwrap()
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.open().await;
        let (parts, body) = response.into_parts();
        // A stream of events has no end.
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Body::empty() } else { body };
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// With one of each, called `n`; nobody does the job.
fn operations() -> Operations {
    let module = Module {
        name: "n".to_owned(),
        kind: ModuleType::Check,
        version: None,
        description: "nothing".to_owned(),
        parameters: serde_json::json!({}),
    };
    let job = Job { status: Arc::new(JobStatus::new("n", "Does nothing", When::AtStart)), nudge: Wakeup::new() };
    Operations { jobs: vec![job], modules: vec![module], ..Operations::default() }
}

fn loaded(folder: &Path, yaml: &str) -> Config {
    let path = folder.join("config.yaml");
    std::fs::write(&path, yaml).unwrap();
    let options = LoadOptions { path: Some(path), environment: Environment::default(), allow_missing_env: false };
    config::load(&options, START.parse().unwrap()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The channels of a configuration, and those that are stored.
async fn directory(store: &Store, config: &Config, clock: &dyn Clock) -> Arc<Directory> {
    let mut listing = Listing::of(config);
    channels::restore(store, &mut listing, clock.now()).await.unwrap();
    Arc::new(Directory::new(listing))
}

fn trial(clock: Arc<dyn Clock>) -> ChannelTrial {
    let builder = Builder::new(BuildContext { timezone: chrono_tz::UTC, clock, outbound: Arc::default() });
    ChannelTrial::new(move |config| builder.build(config).map(drop).map_err(|error| (error.key, error.message)))
}

impl TestApp {
    /// Without authentication.
    pub(crate) async fn start() -> Self {
        Self::on(Kind::Sqlite).await
    }

    /// As [`start`](Self::start), with a database of this kind.
    pub(crate) async fn on(kind: Kind) -> Self {
        Self::on_with_config(kind, "api: {port: 0}\n").await
    }

    pub(crate) async fn with_config(yaml: &str) -> Self {
        Self::on_with_config(Kind::Sqlite, yaml).await
    }

    /// As [`start`](Self::start), in this database.
    pub(crate) async fn in_database(database: Database) -> Self {
        Self::over(database, "api: {port: 0}\n").await
    }

    pub(crate) async fn on_with_config(kind: Kind, yaml: &str) -> Self {
        Self::over(Database::of(kind), yaml).await
    }

    async fn over(database: Database, yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = START.parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        clock.advance(Duration::from_secs(1));
        let config = loaded(folder.path(), yaml);
        let store = database.open().await;
        let kept = tempfile::tempdir().unwrap();
        let keyring = api_keys::keyring(&store, &config.api.auth).await.unwrap();
        let alerts = Arc::new(AlertRules::load(&store, Arc::default(), start).await.unwrap());
        let signed_in = sessions::registry(&store, config.api.auth.session).await.unwrap();
        let (sender, checks) = mpsc::channel(2);
        let (trial_sender, trials) = mpsc::channel(1);
        let (decision_sender, decisions) = mpsc::channel(1);
        let (channel_sender, channel_tests) = mpsc::channel(1);
        let metrics = Arc::new(Metrics::default());
        metrics.scheduler_heartbeat.beat(clock.monotonic());
        metrics.recorder_heartbeat.beat(clock.monotonic());
        let directory = directory(&store, &config, &*clock).await;
        let quiet = maintenance::load(&store, &config, start).await.unwrap();
        let links = links::load(&store, &config, start).await.unwrap();
        let ctx = Arc::new(ServiceContext {
            store: Arc::new(store),
            board: Arc::new(Board::new()),
            keyring: Arc::new(keyring),
            alerts,
            sessions: Arc::new(signed_in),
            quiet: Arc::new(quiet),
            own_network: Arc::default(),
            links: Arc::new(links),
            backups: Arc::new(Backups::new(Arc::new(BackupFolder::new(kept.path().to_owned(), 3)), database.options())),
            clock: clock.clone(),
            running: Arc::new(RunningSettings::new(Adjustable::of(&config))),
            log_level: LevelControl::default(),
            directory,
            config: Arc::new(config),
            scheduler: Wakeup::new(),
            purge: Wakeup::new(),
            deliver: Wakeup::new(),
            checks: sender,
            trials: trial_sender,
            decisions: decision_sender,
            channel_tests: channel_sender,
            // Nobody records here.
            pushes: mpsc::channel(1).0,
            push_door: PushDoor::default(),
            // Nobody delivers here.
            channel_changes: mpsc::channel(1).0,
            channel_trial: trial(clock.clone()),
            metrics,
            feed: Arc::default(),
            reads: RecentReads::default(),
            operations: operations(),
            tasks: Tasks::new(),
            started: Duration::ZERO,
            changes: tokio::sync::Mutex::default(),
        });
        let (router, document) = api::router_and_document(ctx.clone());
        let document = serde_json::to_value(document).unwrap();
        Self {
            ctx,
            clock,
            checks,
            trials,
            decisions,
            channel_tests,
            router,
            document,
            _database: Some(database),
            kept: Some(kept),
        }
    }

    /// The same monitor, had it been started with another configuration.
    pub(crate) async fn reconfigured(&self, yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (old, (sender, checks)) = (&self.ctx, mpsc::channel(1));
        let config = loaded(folder.path(), yaml);
        let keyring = api_keys::keyring(&old.store, &config.api.auth).await.unwrap();
        let signed_in = sessions::registry(&old.store, config.api.auth.session).await.unwrap();
        let links = links::load(&old.store, &config, old.clock.now()).await.unwrap();
        let (trial_sender, trials) = mpsc::channel(1);
        let (decision_sender, decisions) = mpsc::channel(1);
        let (channel_sender, channel_tests) = mpsc::channel(1);
        let ctx = Arc::new(ServiceContext {
            store: old.store.clone(),
            board: old.board.clone(),
            keyring: Arc::new(keyring),
            alerts: old.alerts.clone(),
            sessions: Arc::new(signed_in),
            quiet: Arc::new(maintenance::load(&old.store, &config, old.clock.now()).await.unwrap()),
            own_network: Arc::default(),
            links: Arc::new(links),
            backups: old.backups.clone(),
            clock: old.clock.clone(),
            running: Arc::new(RunningSettings::new(Adjustable::of(&config))),
            log_level: LevelControl::default(),
            directory: directory(&old.store, &config, &*old.clock).await,
            config: Arc::new(config),
            scheduler: Wakeup::new(),
            purge: Wakeup::new(),
            checks: sender,
            trials: trial_sender,
            decisions: decision_sender,
            deliver: Wakeup::new(),
            channel_tests: channel_sender,
            pushes: mpsc::channel(1).0,
            push_door: PushDoor::default(),
            channel_changes: mpsc::channel(1).0,
            channel_trial: trial(self.clock.clone()),
            metrics: old.metrics.clone(),
            feed: Arc::default(),
            reads: RecentReads::default(),
            operations: Operations::default(),
            tasks: Tasks::new(),
            started: old.started,
            changes: tokio::sync::Mutex::default(),
        });
        let (router, _) = api::router_and_document(ctx.clone());
        let (clock, document) = (self.clock.clone(), self.document.clone());
        Self { ctx, clock, checks, trials, decisions, channel_tests, router, document, _database: None, kept: None }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let call = Call { app: self, request };
        call.from(Ipv4Addr::LOCALHOST.into()).header("host", "localhost:8000")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send().await
    }

    /// Makes an endpoint and returns it as shown.
    pub(crate) async fn create(&self, body: &Value) -> Value {
        let answer = self.post("/api/v1/endpoints", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// An endpoint as the configuration would have made it.
    pub(crate) async fn configured(&self, settings: Value, source: &str) -> EndpointId {
        let settings: EndpointSettings = serde_json::from_value(settings).unwrap();
        let now = self.clock.now();
        let endpoint = resolve(&settings, self.ctx.config.layers(""), now).unwrap();
        let new = endpoints::NewEndpoint {
            settings,
            origin: Origin::Config,
            source: Some(source.to_owned()),
            paused: false,
            now,
        };
        let stored = endpoints::insert(self.ctx.store.writer(), new).await.unwrap();
        self.ctx.board.put(KnownEndpoint {
            id: stored.id,
            origin: stored.origin,
            source: stored.source,
            revision: stored.revision,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            scheduled_from: stored.scheduled_from,
            settings: stored.settings,
            endpoint,
            paused: false,
        });
        stored.id
    }

    /// From now on commits that have a row of the audit log fail, as one whose answer was lost does. SQLite only.
    pub(crate) async fn fail_commits(&self) {
        let sql = "CREATE TABLE nobody (id INTEGER PRIMARY KEY);
            CREATE TABLE refused (id INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER refuses AFTER INSERT ON audit_log BEGIN INSERT INTO refused VALUES (7); END;";
        self.ctx.store.writer().execute_unprepared(sql).await.unwrap();
    }

    /// The end of [`fail_commits`](Self::fail_commits).
    pub(crate) async fn let_commit(&self) {
        self.ctx.store.writer().execute_unprepared("DROP TRIGGER refuses").await.unwrap();
    }

    /// The audit log, oldest first.
    pub(crate) async fn audit(&self) -> Vec<AuditEntry> {
        let all = AuditQuery { limit: 1_000, ..AuditQuery::default() };
        let mut rows = audit::page(self.ctx.store.readers(), &all).await.unwrap();
        rows.reverse();
        rows.into_iter().map(|row| row.entry).collect()
    }
}
