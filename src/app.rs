//! Builds the monitor, in order, and takes it down in reverse. The only module that knows everybody.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::serve::tls::{self, Tls};
use crate::api::{ServeLimits, Serving};
use crate::board::Board;
use crate::certificates::{CertificateParts, CertificateWatch};
use crate::checks::connectivity::Prober;
use crate::checks::{Checker, Checkers};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConnectivityConfig, DatabaseTarget, Directory, RunningSettings, Workers, schemas};
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::endpoint::Kind;
use crate::domain::preset;
use crate::events::{
    ChannelTestRequest, ChannelsChanged, CheckRequest, ConfirmRequest, IncidentRequest, PushRequest, Submission,
    TrialRequest,
};
use crate::feed::Feed;
use crate::handover::Handover;
use crate::jobs::Turns;
use crate::jobs::cron::Cron;
use crate::jobs::household::Household;
use crate::jobs::key_uses::KeyUses;
use crate::jobs::purge::Purge;
use crate::jobs::retention::Retention;
use crate::jobs::rollup::Rollup;
use crate::jobs::sessions::SignedIn;
use crate::jobs::{backups, database_size, integrity, presence};
use crate::lifecycle::Tasks;
use crate::network::{NetworkParts, NetworkWatch};
use crate::notify::deliver::{self, DeliverContext};
use crate::notify::deliverers::{Deliverers, DeliverersParts};
use crate::notify::heartbeat::Heartbeat;
use crate::notify::{BuildContext, Builder, Channels, Lines};
use crate::outbound::Outbound;
use crate::recorder::buffer::Limits;
use crate::recorder::outages::Outages;
use crate::recorder::{Recorder, RecorderParts};
use crate::scheduler::{Scheduler, SchedulerParts};
use crate::service::alerts::AlertRules;
use crate::service::alerts::watch::AlertWatch;
use crate::service::backups::Backups;
use crate::service::context::{ChannelTrial, RecentReads, ServiceContext};
use crate::service::operations::{Job, Module, ModuleType, Operations};
use crate::service::push::PushDoor;
use crate::service::sync::SyncReport;
use crate::store::backup::BackupFolder;
use crate::store::{self, Outgoing, PostgresTarget, Store, StoreOptions, StoreTarget};
use crate::telemetry::logging::LevelControl;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{collections, process};
use crate::teller::{self, Teller, TellerParts};
use crate::wakeup::Wakeup;
use crate::{api, checks, service};

/// Finished checks between the scheduler and the recorder. When it is full, checks wait to be handed over and
/// the slots of their endpoints are missed, with their reason.
const SUBMISSIONS: usize = 8_192;

/// Early checks asked for at once. When it is full the next slot confirms instead.
const CONFIRMATIONS: usize = 4_096;

/// Checks by hand that wait for the scheduler. When it is full the API answers 503.
const REQUESTS: usize = 256;

/// Decisions about incidents that wait for the recorder. When it is full the API answers 503.
const DECISIONS: usize = 64;

/// Heartbeats that wait for the scheduler. When it is full the API answers 503.
const PUSHES: usize = 1_024;

/// Definitions that wait to be tried. When it is full the API answers 503.
const TRIALS: usize = 16;

/// How long clients may take for the requests that they have begun when the stop begins: a second more than the
/// checks under way, whose results some of them wait for.
const CLIENTS_GRACE: Duration = Duration::from_secs(6);

/// Test messages that wait to be sent. When it is full the API answers 503.
const CHANNEL_TESTS: usize = 16;

/// From the signal to the end of the process, whatever is still going on.
const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// How long the database has to be closed tidily.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The parts that tests replace.
#[derive(Debug)]
pub struct Outside {
    pub clock: Arc<dyn Clock>,
    pub checker: Arc<dyn Checker>,
    /// For channels; the checker has its own.
    pub outbound: Arc<Outbound>,
    /// `None`: as configured.
    pub channels: Option<Channels>,
    /// Of the log that was started.
    pub log_level: LevelControl,
}

impl Outside {
    /// The real clock and real HTTP, names looked up as configured.
    pub fn real(config: &Config) -> anyhow::Result<Self> {
        let outbound = outbound(config)?;
        let checker = Checkers::new(outbound.clone()).context("the TLS trust store cannot be set up")?;
        Ok(Self {
            clock: Arc::new(SystemClock::new()),
            checker: Arc::new(checker),
            outbound,
            channels: None,
            log_level: LevelControl::default(),
        })
    }
}

/// A running monitor.
#[derive(Debug)]
pub struct Monitor {
    pub service: Arc<ServiceContext>,
    pub store: Arc<Store>,
    pub synced: SyncReport,
    tasks: Tasks,
    cron: Cron,
    /// File descriptors that this process may have.
    descriptors: usize,
}

impl Monitor {
    /// Store, file → database, board, recorder, scheduler, housekeeping: consumers before producers.
    ///
    /// # Errors
    /// One sentence that says what to do, when a part cannot be had.
    pub async fn start(config: Arc<Config>, outside: Outside, tasks: &Tasks) -> anyhow::Result<Self> {
        let Outside { clock, checker, outbound, channels, log_level } = outside;
        let builder = Arc::new(channel_builder(&config, clock.clone(), outbound.clone()));
        let built = match channels {
            Some(channels) => channels,
            None => Channels::build(&config.channels, &builder)?,
        };
        let started = clock.monotonic();
        tasks.see_runtime("checks");
        let store = Arc::new(Store::open(&store_options(&config)).await?);
        // Before anything goes by them: what was to be kept longer must not be removed.
        let running = service::settings::restore(&store, &config).await?;
        log_level.set(running.logging_level.as_str());
        let running = Arc::new(RunningSettings::new(running));
        let synced = service::sync::apply(&store, &config, clock.now()).await?;
        let mut listing = service::groups::listing(store.readers(), &config).await?;
        service::groups::tell_of_unreadable(&listing);
        service::channels::restore(&store, &mut listing, clock.now()).await?;
        listing.set_cooldown(running.get().cooldown);
        let board = Arc::new(service::rebuild::board(&store, &listing, clock.now()).await?);
        let keyring = Arc::new(service::api_keys::keyring(&store, &config.api.auth).await?);
        let sessions = Arc::new(service::sessions::registry(&store, config.api.auth.session).await?);
        let quiet = Arc::new(service::maintenance::load(&store, &config, clock.now()).await?);
        let links = Arc::new(service::links::load(&store, &config, clock.now()).await.map_err(anyhow::Error::msg)?);
        let handover = Arc::new(Handover::default());
        let connectivity = config.connectivity.as_ref();
        let own_network = Arc::new(connectivity.map_or_else(OwnNetwork::default, own_network));
        let prober =
            connectivity.map(|of| Prober::new(&of.targets, of.rules.quorum, outbound.clone(), checker.clone()));
        let alerts = Arc::new(AlertRules::load(&store, handover.clone(), clock.now()).await?);
        let backup_folder = Arc::new(BackupFolder::new(config.backup.folder.clone(), config.backup.keep as usize));
        service::backups::look_back(&store, &backup_folder).await;
        let left_behind = service::rebuild::left_behind(&store, &listing, &board, clock.now()).await?;
        let directory = Arc::new(Directory::new(listing));
        let metrics = Arc::new(Metrics::of_store(store.queries()));
        let feed = Arc::new(Feed::default());
        tasks.spawn(process::sample(metrics.clone(), tasks.stopping().clone()));

        let (submissions, submitted) = mpsc::channel::<Submission>(SUBMISSIONS);
        let (confirmations, to_confirm) = mpsc::channel::<ConfirmRequest>(CONFIRMATIONS);
        let (requests, requested) = mpsc::channel::<CheckRequest>(REQUESTS);
        let (decisions, to_decide) = mpsc::channel::<IncidentRequest>(DECISIONS);
        let (pushes, to_push) = mpsc::channel::<PushRequest>(PUSHES);
        let (trials, to_try) = mpsc::channel::<TrialRequest>(TRIALS);
        let (changes, deliver) = (Wakeup::new(), Wakeup::new());
        let household = Household::new(config.monitoring.cleanup_interval, &clock, &feed, tasks.stopping())
            .map_err(anyhow::Error::msg)
            .context("housekeeping cannot be started")?;
        let all_recorded = CancellationToken::new();
        let entries = board.entries();
        let states = entries.iter().map(|entry| (entry.known.id, &entry.live.state));
        let left = left_behind.iter().map(|(known, state)| (known.id, state));
        let outages = Outages::load(&store, states.chain(left)).await?;

        let recorder = Recorder::new(RecorderParts {
            store: store.clone(),
            board: board.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            submissions: submitted,
            confirmations: confirmations.clone(),
            decisions: to_decide,
            close_hours: household.hours.nudged.clone(),
            hours: household.hours.status.clone(),
            directory: directory.clone(),
            quiet: quiet.clone(),
            own_network: own_network.clone(),
            deliver: deliver.clone(),
            left_behind,
            handover: handover.clone(),
            feed: feed.clone(),
            outages,
            limits: Limits::default(),
            recorded: all_recorded.clone().drop_guard(),
        });
        tasks.spawn_critical("recorder", recorder.run());

        let delivering = DeliverContext {
            store: store.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            lines: Arc::new(Lines::default()),
            links: links.clone(),
            handover,
            feed: feed.clone(),
            grouping: config.telling.group_messages,
            stopping: tasks.stopping().clone(),
            recorded: all_recorded,
        };
        let channels = StartedChannels { directory: directory.clone(), built, builder: builder.clone() };
        let (channel_tests, channel_changes) =
            start_telling(&config, channels, &delivering, &deliver, &board, outbound, tasks).await?;

        let network = NetworkParts {
            own: own_network.clone(),
            clock: clock.clone(),
            board: board.clone(),
            directory: directory.clone(),
            feed: feed.clone(),
            confirmations,
        };
        let messages = start_teller(&delivering, &deliver, tasks);
        start_network(prober, network, messages.clone(), tasks);
        let certificates = CertificateParts {
            store: store.clone(),
            board: board.clone(),
            clock: clock.clone(),
            directory: directory.clone(),
            messages,
        };
        let certificates = CertificateWatch::load(certificates).await?;
        tasks.spawn_critical("watch of the certificates", certificates.run(tasks.stopping().clone()));

        let heard_until = presence::last(&store).await?;
        let descriptors = raise_descriptors();
        let scheduler = Scheduler::new(SchedulerParts {
            board: board.clone(),
            clock: clock.clone(),
            checker,
            own_network: own_network.clone(),
            metrics: metrics.clone(),
            submissions,
            confirmations: to_confirm,
            requests: requested,
            trials: to_try,
            pushes: to_push,
            heard_until,
            changes: changes.clone(),
            running: running.clone(),
            max_checks_per_host: config.monitoring.max_checks_per_host as usize,
            descriptors,
            stopping: tasks.stopping().clone(),
        });
        tasks.spawn_critical("scheduler", scheduler.run());

        tasks.spawn(presence::keep(store.clone(), board.clone(), clock.clone(), tasks.stopping().clone()));
        let retention = Retention { store: store.clone(), clock: clock.clone(), running: running.clone() };
        tasks.spawn(retention.run(household.retention.clone()));
        let purge = Purge { store: store.clone(), clock: clock.clone() };
        tasks.spawn(purge.run(household.purge.clone()));
        tasks.spawn(integrity::run(store.clone(), household.integrity.clone()));
        tasks.spawn(database_size::watch(store.clone(), metrics.clone(), tasks.stopping().clone()));
        let rollup =
            Rollup { store: store.clone(), board: board.clone(), clock: clock.clone(), metrics: metrics.clone() };
        tasks.spawn(rollup.run(household.days.clone()));
        let signed_in = SignedIn {
            store: store.clone(),
            sessions: sessions.clone(),
            keyring: keyring.clone(),
            clock: clock.clone(),
        };
        tasks.spawn(signed_in.run(household.sessions.clone()));
        tasks.spawn(backups::look(backup_folder.clone(), household.backups.clone()));
        let key_uses = KeyUses { store: store.clone(), keyring: keyring.clone() };
        tasks.spawn(key_uses.run(household.key_uses.clone()));
        // What a stop left undone is done soon after the start.
        household.days.nudged.nudge();
        household.retention.nudged.nudge();
        household.purge.nudged.nudge();
        household.sessions.nudged.nudge();
        let cron = Cron::start(household.all().map(Clone::clone)).await.context("housekeeping cannot be started")?;
        let operations = operations(&store, &household).await?;
        tasks.spawn(collections::follow(operations.collections.clone(), metrics.clone(), tasks.stopping().clone()));

        let service = Arc::new(ServiceContext {
            store: store.clone(),
            board,
            keyring,
            alerts,
            sessions,
            quiet,
            own_network,
            links,
            backups: Arc::new(Backups::new(backup_folder, beside_options(&store, &config))),
            clock,
            config,
            directory,
            running,
            log_level,
            scheduler: changes,
            purge: household.purge.nudged.clone(),
            checks: requests,
            decisions,
            trials,
            pushes,
            push_door: PushDoor::default(),
            deliver,
            channel_tests,
            channel_changes,
            channel_trial: ChannelTrial::new(move |config| {
                builder.build(config).map(drop).map_err(|error| (error.key, error.message))
            }),
            metrics,
            feed,
            reads: RecentReads::default(),
            operations,
            tasks: tasks.clone(),
            started,
            changes: tokio::sync::Mutex::new(()),
        });
        tasks.spawn_critical("alert watch", AlertWatch::new(service.clone()).run(tasks.stopping().clone()));
        Ok(Self { service, store, synced, tasks: tasks.clone(), cron, descriptors })
    }

    /// Serves the API on `listener` until the stop begins, and for a moment longer those that wait for answers.
    /// On threads of its own, half as many as there are for everything else: requests, however many, do not keep
    /// checks from being made.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn serve(&self, listener: std::net::TcpListener, tls: Option<Tls>) -> std::io::Result<()> {
        let tls = tls.map(Arc::new);
        let (service, tasks) = (&self.service, &self.tasks);
        let (clock, metrics, stopping) = (service.clock.clone(), service.metrics.clone(), tasks.stopping().clone());
        if let Some(tls) = &tls {
            tasks.spawn(tls.clone().watch(tls::LOOK_EVERY, clock, metrics.clone(), stopping));
        }
        let router = api::router(service.clone());
        let serving = Serving {
            limits: ServeLimits::fitting(self.descriptors, CLIENTS_GRACE),
            tls,
            running: service.running.clone(),
            trusted_proxies: service.config.api.trusted_proxies.clone(),
            clock: service.clock.clone(),
            metrics,
            connections: service.operations.connections.clone(),
            tasks: tasks.clone(),
        };
        let threads = match service.config.api.workers {
            Workers::Auto => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Workers::Fixed(threads) => threads as usize,
        };
        listener.set_nonblocking(true)?;
        tasks.spawn_critical_apart("API", threads / 2, move || async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => api::serve(listener, router, serving).await,
                Err(error) => tracing::error!(%error, "the API cannot be served"),
            }
        })
    }

    /// Waits until the stop begins, then for everything under way to end, within the deadline. The results that
    /// were made are written.
    ///
    /// # Errors
    /// When a critical task ended by itself, or the deadline passed.
    pub async fn until_stopped(self) -> anyhow::Result<()> {
        self.tasks.stopping().cancelled().await;
        self.cron.stop().await;
        let in_time = self.tasks.finish(STOP_DEADLINE).await;
        if let Err(error) = store::within(CLOSE_LIMIT, self.store.close()).await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
        if let Some(task) = self.tasks.crashed() {
            anyhow::bail!("the {task} ended by itself");
        }
        anyhow::ensure!(in_time, "the stop took longer than {STOP_DEADLINE:?} and was cut short");
        Ok(())
    }
}

/// What is seen of the workings: the jobs, and the modules that this program has.
async fn operations(store: &Store, household: &Household) -> anyhow::Result<Operations> {
    let job = |turns: &Turns| Job { status: turns.status.clone(), nudge: turns.nudged.clone() };
    let own = |name: &str, kind, description: &str, parameters| Module {
        name: name.to_owned(),
        kind,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        description: description.to_owned(),
        parameters,
    };
    let checks =
        Kind::ALL.iter().map(|kind| own(kind.as_str(), ModuleType::Check, checks::about(*kind), schemas::endpoint()));
    let mut modules: Vec<Module> = checks.collect();
    for (name, about, parameters) in schemas::channels() {
        modules.push(own(name, ModuleType::Channel, about, parameters));
    }
    for preset in preset::all().map_err(anyhow::Error::msg)? {
        let documentation = preset.documentation.first().map_or("", String::as_str);
        let description = format!("{} ({documentation})", preset.about);
        modules.push(own(&preset.name, ModuleType::Channel, &description, schemas::preset(&preset)));
    }
    let is_file = store.kind() == "sqlite";
    // Without it the monitor does all that it is for.
    let version =
        store.version().await.inspect_err(|error| tracing::warn!(%error, "the database does not tell its version"));
    let version = version.ok();
    let sqlite = if is_file { version.clone() } else { store::sqlite_version().await.ok() };
    let storage = |name, version, description| Module {
        version,
        ..own(name, ModuleType::Storage, description, schemas::database())
    };
    modules.push(storage(
        "sqlite",
        sqlite,
        "A file beside the monitor, written by it alone; the library is in the program",
    ));
    modules.push(storage("postgresql", version.filter(|_| !is_file), "A database on a PostgreSQL server, 12 or newer"));
    Ok(Operations { jobs: household.all().map(job).into(), modules, ..Operations::default() })
}

/// The certificate to serve with, if one is configured, and sentences about what is not well with it.
///
/// # Errors
/// One sentence that names the file that is wrong.
pub fn open_tls(config: &Config, now: Timestamp) -> anyhow::Result<(Option<Tls>, Vec<String>)> {
    let Some(files) = &config.api.tls else { return Ok((None, Vec::new())) };
    let (tls, warnings) = Tls::open(files, now)?;
    Ok((Some(tls), warnings))
}

/// What builds channels for this configuration.
fn channel_builder(config: &Config, clock: Arc<dyn Clock>, outbound: Arc<Outbound>) -> Builder {
    Builder::new(BuildContext { timezone: config.timezone, clock, outbound })
}

/// How names are looked up and which of their addresses are connected to, as configured.
///
/// # Errors
/// One sentence, when the configured name server cannot be asked at all.
pub fn outbound(config: &Config) -> anyhow::Result<Arc<Outbound>> {
    let outbound = Outbound::new(config.resolver, config.outbound.clone()).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(outbound))
}

/// The channels that are on, as configured.
///
/// # Errors
/// One sentence that names the channel and the key that is wrong. Needs a runtime.
pub fn build_channels(config: &Config, clock: Arc<dyn Clock>, outbound: Arc<Outbound>) -> anyhow::Result<Channels> {
    Ok(Channels::build(&config.channels, &channel_builder(config, clock, outbound))?)
}

/// The channels at the start.
struct StartedChannels {
    directory: Arc<Directory>,
    /// The configured ones.
    built: Channels,
    builder: Arc<Builder>,
}

/// The ways to test a channel, and to say that channels have changed.
type ChannelWays = (mpsc::Sender<ChannelTestRequest>, mpsc::Sender<ChannelsChanged>);

/// Starts the deliverers, a worker a channel, and the heartbeat.
async fn start_telling(
    config: &Config,
    channels: StartedChannels,
    delivering: &DeliverContext,
    nudged: &Wakeup,
    board: &Arc<Board>,
    outbound: Arc<Outbound>,
    tasks: &Tasks,
) -> anyhow::Result<ChannelWays> {
    let (tests, requested) = mpsc::channel(CHANNEL_TESTS);
    let (tell_changes, changes) = mpsc::channel(1);
    let StartedChannels { directory, built, builder } = channels;
    store::outbox::doubt_unfinished(delivering.store.writer(), delivering.clock.now()).await?;
    let listing = directory.get();
    for waiting in store::outbox::waiting_channels(delivering.store.readers()).await? {
        if !listing.routing().has(&waiting) {
            let (why, now) = (store::outbox::NO_SUCH_CHANNEL, delivering.clock.now());
            store::outbox::give_up(delivering.store.writer(), None, &waiting, why, now).await?;
        }
    }
    let (context, stopping) = (delivering.clone(), tasks.stopping().clone());
    let parts = DeliverersParts { directory, built, builder, context, tasks: tasks.clone(), changes };
    tasks.spawn_critical("deliverer", Deliverers::start(parts).run());
    tasks.spawn_critical("deliverer", deliver::spread_nudges(nudged.clone(), delivering.clone()));
    let (lines, clock) = (delivering.lines.clone(), delivering.clock.clone());
    tasks.spawn(deliver::answer_tests(lines, clock, requested, stopping.clone()));
    if let Some(heartbeat) = config.telling.heartbeat.clone() {
        let (board, clock, metrics) = (board.clone(), delivering.clock.clone(), delivering.metrics.clone());
        let heartbeat = Heartbeat::new(heartbeat, board, clock, metrics, outbound).map_err(anyhow::Error::msg)?;
        tasks.spawn(heartbeat.run(stopping));
    }
    Ok((tests, tell_changes))
}

/// What failed checks are judged by.
fn own_network(connectivity: &ConnectivityConfig) -> OwnNetwork {
    OwnNetwork::new(Some(connectivity.rules), connectivity.targets.len())
}

/// Starts whoever asks the targets of `connectivity`; nobody without targets.
fn start_network(prober: Option<Prober>, parts: NetworkParts, messages: mpsc::Sender<Outgoing>, tasks: &Tasks) {
    let Some(prober) = prober else { return };
    tasks.spawn_critical(
        "watch of the own network",
        NetworkWatch::new(parts, prober, messages).run(tasks.stopping().clone()),
    );
}

/// Starts whoever tells what is about no endpoint alone.
fn start_teller(delivering: &DeliverContext, deliver: &Wakeup, tasks: &Tasks) -> mpsc::Sender<Outgoing> {
    let (messages, to_tell) = mpsc::channel(teller::MESSAGES);
    let (store, handover) = (delivering.store.clone(), delivering.handover.clone());
    let teller = Teller::new(TellerParts { store, handover, deliver: deliver.clone(), messages: to_tell });
    tasks.spawn_critical("teller", teller.run(tasks.stopping().clone()));
    messages
}

/// How the configured database is opened.
pub fn store_options(config: &Config) -> StoreOptions {
    let database = &config.database;
    let (target, readers) = match &database.target {
        DatabaseTarget::Sqlite { path } => (StoreTarget::Sqlite(path.clone()), database.pool_size),
        DatabaseTarget::SqliteMemory => (StoreTarget::Memory, database.pool_size),
        DatabaseTarget::Postgres(place) => {
            let target = PostgresTarget { place: place.clone(), pre_ping: database.pool_pre_ping };
            (StoreTarget::Postgres(target), database.pool_size.saturating_add(database.max_overflow))
        }
    };
    StoreOptions { target, readers, echo: database.echo }
}

/// How the open database is read beside the monitor: one in memory is a file as well.
fn beside_options(store: &Store, config: &Config) -> StoreOptions {
    let options = store_options(config);
    match store.path() {
        Some(path) => StoreOptions { target: StoreTarget::Sqlite(path.to_owned()), ..options },
        None => options,
    }
}

/// Takes the port, so that a taken one is noticed before anything is begun.
///
/// # Errors
/// One sentence that names the address and says what to do.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let (host, port) = (config.api.host.as_str(), config.api.port);
    TcpListener::bind((host, port)).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {port} on {host} is taken by another program: stop it, or choose another port with api.port or API_PORT"
        ),
        std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "port {port} on {host} is not allowed for this user: choose one above 1023 with api.port or API_PORT"
        ),
        std::io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{host} is not an address of this machine: set api.host or API_HOST to 0.0.0.0, 127.0.0.1 or one of its addresses"
        ),
        _ => anyhow::anyhow!("{host}:{port} cannot be listened on: {error}"),
    })
}

/// Raises the soft limit of open files to the hard one, and says what it is now.
fn raise_descriptors() -> usize {
    let limit = rlimit::increase_nofile_limit(65_536).unwrap_or(1_024);
    usize::try_from(limit).unwrap_or(65_536)
}
