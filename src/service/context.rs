//! What every verb works with ([`ServiceContext`]) and on whose behalf ([`Actor`]).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::Instrument;

use super::alerts::AlertRules;
use super::backups::Backups;
use super::error::ServiceError;
use super::operations::Operations;
use super::push::PushDoor;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::{ChannelConfig, Config, Directory, RunningSettings};
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::api_key::{KeyId, NOT_KEYS};
use crate::domain::endpoint::EndpointId;
use crate::domain::role::Role;
use crate::events::{ChannelTestRequest, ChannelsChanged, CheckRequest, IncidentRequest, PushRequest, TrialRequest};
use crate::feed::{Event, Feed};
use crate::keyring::Keyring;
use crate::lifecycle::Tasks;
use crate::links::Links;
use crate::quiet::Quiet;
use crate::sessions::Sessions;
use crate::store::audit::AuditEntry;
use crate::store::{Store, StoreError, audit, within};
use crate::telemetry::logging::LevelControl;
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

/// The parts of the monitor that verbs use. Shared as an `Arc`.
#[derive(Debug)]
pub struct ServiceContext {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub keyring: Arc<Keyring>,
    pub alerts: Arc<AlertRules>,
    pub backups: Arc<Backups>,
    pub sessions: Arc<Sessions>,
    /// The maintenance windows and silences that there are now.
    pub quiet: Arc<Quiet>,
    /// Whether our own network is in doubt.
    pub own_network: Arc<OwnNetwork>,
    /// Those that act by themselves.
    pub links: Arc<Links>,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    /// The groups and channels that there are now.
    pub directory: Arc<Directory>,
    /// The settings of it that can change while running, as they are now.
    pub running: Arc<RunningSettings>,
    pub log_level: LevelControl,
    /// Nudged after every change of what is watched.
    pub scheduler: Wakeup,
    /// Nudged when endpoints were deleted with their history, which is removed then.
    pub purge: Wakeup,
    /// To the scheduler; full means that too many people wait for checks by hand.
    pub checks: mpsc::Sender<CheckRequest>,
    /// To the recorder; full means that too many people decide about incidents.
    pub decisions: mpsc::Sender<IncidentRequest>,
    /// To the scheduler; full means that too many definitions are being tried.
    pub trials: mpsc::Sender<TrialRequest>,
    /// To the scheduler; full means that more is reported than it can take.
    pub pushes: mpsc::Sender<PushRequest>,
    /// By what tokens push endpoints are reported to.
    pub push_door: PushDoor,
    /// Nudged when deliveries became pending.
    pub deliver: Wakeup,
    /// To the deliverer; full means that other tests of channels are still under way.
    pub channel_tests: mpsc::Sender<ChannelTestRequest>,
    /// To the deliverers, after the channels of the directory have changed.
    pub channel_changes: mpsc::Sender<ChannelsChanged>,
    pub channel_trial: ChannelTrial,
    pub metrics: Arc<Metrics>,
    /// What happens, for whoever looks on.
    pub feed: Arc<Feed>,
    /// What administrators read lately.
    pub reads: RecentReads,
    /// What is seen of the monitor's own workings.
    pub operations: Operations,
    /// Changes run as tasks of their own, so that a client that goes away cannot stop one between its commit and
    /// the board.
    pub tasks: Tasks,
    /// Monotonic time of the clock when the process started.
    pub started: Duration,
    /// Held from before a change's transaction until the board shows it, so that the board sees changes in the
    /// order of their commits.
    pub changes: tokio::sync::Mutex<()>,
}

type TryChannel = dyn Fn(&ChannelConfig) -> Result<(), (String, String)> + Send + Sync;

/// Whether a channel can work as it is set: builds it and throws it away, sending nothing.
pub struct ChannelTrial(Box<TryChannel>);

impl ChannelTrial {
    /// `build` gives the key that is at fault, and why, without secrets. It is called on a runtime.
    pub fn new(build: impl Fn(&ChannelConfig) -> Result<(), (String, String)> + Send + Sync + 'static) -> Self {
        Self(Box::new(build))
    }

    pub(super) fn of(&self, channel: &ChannelConfig) -> Result<(), (String, String)> {
        (self.0)(channel)
    }
}

impl fmt::Debug for ChannelTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelTrial")
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// As written into the logs: the name of a key, or one of [`NOT_KEYS`].
    pub name: String,
    pub address: Option<IpAddr>,
    pub role: Role,
}

/// By what an actor was recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The key that was shown, or that of the session; `None` of whoever needs none.
    pub key: Option<KeyId>,
    pub session: Option<i64>,
}

impl Actor {
    /// Whether it showed a key, which bears its name.
    pub fn has_key(&self) -> bool {
        !NOT_KEYS.contains(&self.name.as_str())
    }

    /// Refuses what the actor may not do.
    pub fn require(&self, needed: Role) -> Result<(), ServiceError> {
        if self.role >= needed {
            return Ok(());
        }
        let Self { name, role, .. } = self;
        Err(ServiceError::Forbidden(if self.has_key() {
            format!("This needs the role {needed}, and the key `{name}` has the role {role}")
        } else {
            "Without an API key only clients on this machine may change anything, or read configuration, keys, \
             connections, backups and the audit log: set API_KEY and send it as X-API-Key, or send the request directly to the \
             loopback address"
                .to_owned()
        }))
    }

    /// The audit row of something this actor did at `now`.
    pub(super) fn audit_row(&self, now: Timestamp, action: &str, subject: impl Into<String>) -> AuditEntry {
        AuditEntry {
            at: now,
            actor: self.name.clone(),
            address: self.address.map(|a| a.to_string()),
            action: action.to_owned(),
            subject: subject.into(),
            result: "ok".to_owned(),
            before: None,
            after: None,
        }
    }
}

impl ServiceContext {
    /// Tells whoever looks on what was done to what, as its audit row says. After the commit.
    pub(super) fn announce(&self, actor: &Actor, action: &str, subject: &str) {
        let now = self.clock.now();
        let endpoint = subject.strip_prefix("endpoint/").and_then(|id| self.board.get(EndpointId(id.parse().ok()?)));
        self.feed.publish(match endpoint {
            Some(entry) => Event::config_of(&entry.known, now, &actor.name, actor.address, action),
            None => Event::config(now, &actor.name, actor.address, action, subject),
        });
    }

    /// Writes a refusal into the audit log. One that cannot be written is only logged: refusing goes on.
    pub async fn record_refusal(&self, actor: &Actor, subject: &str, result: &str) {
        let row =
            AuditEntry { result: result.to_owned(), ..actor.audit_row(self.clock.now(), audit::REFUSED, subject) };
        if result == UNAUTHORIZED {
            self.feed.publish(Event::login(row.at, &actor.name, actor.address, audit::REFUSED, subject, result));
        }
        if let Err(error) = within(REFUSAL_LIMIT, audit::append(self.store.writer(), row)).await {
            tracing::warn!(%error, subject, "a refusal could not be written into the audit log");
        }
    }
}

impl ServiceContext {
    /// Writes into the audit log that somebody reads what only administrators may read, once a minute of the same. A row
    /// that cannot be written is only logged: reading goes on, also while the database is away.
    pub async fn record_read(&self, actor: &Actor, subject: &str) {
        if !self.reads.is_news(self.clock.monotonic(), actor, subject) {
            return;
        }
        let row = actor.audit_row(self.clock.now(), audit::READ, subject);
        let written = match self.metrics.database.away() {
            Some(away) => Err(StoreError::Unavailable(away.why)),
            None => within(REFUSAL_LIMIT, audit::append(self.store.writer(), row)).await,
        };
        if let Err(error) = written {
            tracing::warn!(%error, actor = actor.name, subject, "a read could not be written into the audit log");
        }
    }
}

/// Who read what within the last minute.
#[derive(Debug, Default)]
pub struct RecentReads(Mutex<HashMap<Read, Duration>>);

/// Who, from where, which route.
type Read = (String, Option<IpAddr>, String);

/// Reads that are told apart; more within a minute are only in the access log, so that nobody fills the disk by
/// reading from many addresses.
const READS_KNOWN: usize = 256;

impl RecentReads {
    /// Whether it is the first of its kind within a minute.
    fn is_news(&self, now: Duration, actor: &Actor, subject: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Duration| now.saturating_sub(*at) < Duration::from_secs(60);
        let key = (actor.name.clone(), actor.address, subject.to_owned());
        if known.get(&key).is_some_and(is_recent) {
            return false;
        }
        if known.len() >= READS_KNOWN {
            known.retain(|_, at| is_recent(at));
        }
        if known.len() >= READS_KNOWN {
            return false;
        }
        known.insert(key, now);
        true
    }
}

/// The result of a request from whoever cannot be told: with a wrong key, or none.
pub const UNAUTHORIZED: &str = "unauthorized";

/// How long a refusal waits for its row.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// How long a change may take, so that a database that hangs does not hold up every later one for good.
pub(super) const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// As [`detached`], for a change of the database. While it is known to be away nothing is begun: what was refused must
/// not happen later all the same.
pub(super) fn detached_change<T: Send + 'static>(
    ctx: &ServiceContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> impl Future<Output = Result<T, ServiceError>> + Send {
    detached_changes(ctx, in_time(work))
}

/// As [`detached_change`], for changes of which each has the limit by itself: see [`in_time`].
pub(super) fn detached_changes<T: Send + 'static>(
    ctx: &ServiceContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> impl Future<Output = Result<T, ServiceError>> + Send {
    let work = to_the_end(ctx, work);
    async move {
        match ctx.metrics.database.away() {
            Some(away) => Err(ServiceError::Store(StoreError::Unavailable(away.why))),
            None => work.await,
        }
    }
}

/// Runs a change to its end even if the client goes away: a change that is committed but not on the board would
/// be neither.
pub(super) fn detached<T: Send + 'static>(
    ctx: &ServiceContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> impl Future<Output = Result<T, ServiceError>> + Send {
    to_the_end(ctx, in_time(work))
}

/// Gives a change up that takes longer than one may.
///
/// # Errors
/// Those of `work`; `Store` when it took longer: the database may have it all the same.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, ServiceError>>) -> Result<T, ServiceError> {
    tokio::time::timeout(CHANGE_LIMIT, work).await.unwrap_or_else(|_| {
        tracing::warn!("a change was given up: the database did not answer in time, and may have it all the same");
        Err(ServiceError::Store(StoreError::Unavailable("the database did not answer in time".to_owned())))
    })
}

fn to_the_end<T: Send + 'static>(
    ctx: &ServiceContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> impl Future<Output = Result<T, ServiceError>> + Send {
    // Boxed, or the state of every verb would be copied through all of its callers.
    let work = Box::pin(work);
    async move {
        // What it logs is said of the same request.
        match ctx.tasks.spawn(work.in_current_span()).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(ServiceError::Unavailable("The monitor is stopping".to_owned())),
            },
        }
    }
}
