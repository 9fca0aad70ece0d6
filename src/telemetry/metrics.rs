//! Every counter and gauge of the process, in one struct. Each is written by the part named beside it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::histograms::{CheckDurations, Commits, DeliveriesByChannel, Lag, RequestsByRoute};
use super::process::ProcessWatch;
use super::queries::QueryStats;
use crate::domain::Timestamp;
use crate::domain::outcome::MissedReason;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last time a loop went round, in monotonic milliseconds; how a stuck task is noticed.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// `monotonic` of the clock, now.
    pub fn beat(&self, monotonic: Duration) {
        self.0.store(u64::try_from(monotonic.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// Whether the loop went round within `limit` before `monotonic`. False before its first round.
    pub fn is_alive(&self, monotonic: Duration, limit: Duration) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        last > 0 && monotonic.saturating_sub(Duration::from_millis(last)) <= limit
    }
}

/// The numbers of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sampler: what the process takes of its machine.
    pub process: ProcessWatch,
    /// Scheduler: its loop.
    pub scheduler_heartbeat: Heartbeat,
    /// Scheduler: checks started.
    pub checks_started: Counter,
    /// Scheduler: checks under way, waiting for a permit included.
    pub checks_in_flight: Gauge,
    /// Scheduler: how late the last due slot was begun, permit included, microseconds.
    pub schedule_lag_us: Gauge,
    /// Scheduler: the same of every due slot.
    pub schedule_lags: Lag,
    /// Scheduler: how long checks took.
    pub check_durations: CheckDurations,
    /// Scheduler: slots without a verdict, by reason.
    pub missed: MissedCounters,
    /// Recorder: its loop.
    pub recorder_heartbeat: Heartbeat,
    /// Recorder: results committed.
    pub results_recorded: Counter,
    /// Recorder: results refused because their slot was already recorded.
    pub results_repeated: Counter,
    /// Recorder: results dropped because the buffer was full.
    pub results_dropped: Counter,
    /// Recorder: results dropped because the database refuses them.
    pub results_refused: Counter,
    /// Recorder: changes of states, hours and incidents whose rows the database refuses.
    pub changes_refused: Counter,
    /// Recorder: results waiting to be committed.
    pub results_pending: Gauge,
    /// Recorder: whether the database takes what is to be written.
    pub database: DatabaseState,
    /// Recorder: commits that failed.
    pub commits_failed: Counter,
    /// Recorder: microseconds of the last commit.
    pub commit_us: Gauge,
    /// Recorder: how long commits took.
    pub commits: Commits,
    /// Housekeeping: bytes that the database takes; 0 while that is not known.
    pub database_bytes: Gauge,
    /// Deliverer: what was attempted, by channel.
    pub deliveries: DeliveriesByChannel,
    /// Deliverer: messages that arrived.
    pub deliveries_delivered: Counter,
    /// Deliverer: messages that arrived before their rows were written, or while they could not be read.
    pub delivered_from_memory: Counter,
    /// Deliverer: attempts that failed.
    pub deliveries_failed: Counter,
    /// Deliverer: messages given up.
    pub deliveries_dead: Counter,
    /// Deliverer: messages that digests told in their place.
    pub deliveries_grouped: Counter,
    /// Deliverer: those digests.
    pub digests: Counter,
    /// API: connections open.
    pub connections_open: Gauge,
    /// API: how many there may be, as it was when the last one came; 0 before.
    pub connections_limit: Gauge,
    /// API: connections accepted.
    pub connections_accepted: Counter,
    /// API: connections closed at once because there were too many.
    pub connections_refused: Counter,
    /// API: idle connections closed to make room.
    pub connections_evicted: Counter,
    /// API: connections cut because their clients took too long.
    pub connections_cut: Counter,
    /// API: times at which the system let no connection be accepted.
    pub accepts_failed: Counter,
    /// API: TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// API: whether it was said that there are more endpoints than have metrics of their own.
    pub endpoints_left_out_told: Counter,
    /// API: requests answered, by route.
    pub requests: RequestsByRoute,
    /// API: requests answered with 429.
    pub requests_limited: Counter,
    /// Store: what the database was asked.
    pub queries: Arc<QueryStats>,
    /// API: how its certificate does; `None` without TLS.
    tls: Mutex<Option<TlsStatus>>,
    /// Deliverer: how each channel does.
    channels: Mutex<BTreeMap<String, ChannelStatus>>,
}

/// A time in which the database takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// When the first write began that it did not take.
    pub since: Timestamp,
    pub why: String,
}

/// Whether the database takes what is to be written, as the recorder sees it.
#[derive(Debug, Default)]
pub struct DatabaseState {
    away: Mutex<Option<Away>>,
    /// Times away that have begun.
    pub times: Counter,
    /// Microseconds away in the times that are over.
    pub away_us: Counter,
}

impl DatabaseState {
    /// `None`: it takes what is written, until everything that had to wait is written too.
    pub fn away(&self) -> Option<Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seconds away since the start, the present time away included.
    pub fn away_seconds(&self, now: Timestamp) -> f64 {
        let present = self.away().map_or(0, |away| (now - away.since).num_microseconds().unwrap_or(i64::MAX).max(0));
        let over = Duration::from_micros(self.away_us.get());
        (over + Duration::from_micros(present.unsigned_abs())).as_secs_f64()
    }

    /// A time away begins.
    pub fn begin(&self, away: Away) {
        self.times.add(1);
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(away);
    }

    /// It is back, and nothing waits any longer.
    pub fn end(&self, now: Timestamp) {
        if let Some(away) = self.away.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let length = (now - away.since).num_microseconds().unwrap_or(i64::MAX);
            self.away_us.add(u64::try_from(length).unwrap_or_default());
        }
    }
}

/// How a channel does, from the attempts made through it since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelStatus {
    /// `None`: it works, as far as is known.
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_attempt_at: Option<Timestamp>,
}

/// How the certificate of the API does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsStatus {
    /// When the one that is served expires.
    pub not_after: Timestamp,
    /// Why the files as they are now could not be taken.
    pub error: Option<String>,
}

impl Metrics {
    /// With the statements of a store that is open already.
    pub fn of_store(queries: Arc<QueryStats>) -> Self {
        Self { queries, ..Self::default() }
    }

    pub fn set_tls(&self, status: TlsStatus) {
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    pub fn tls(&self) -> Option<TlsStatus> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_channel(&self, name: &str, status: ChannelStatus) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), status);
    }

    /// The channel is there no longer.
    pub fn forget_channel(&self, name: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Channels that have been used since the start.
    pub fn channels(&self) -> BTreeMap<String, ChannelStatus> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A counter for each [`MissedReason`].
#[derive(Debug, Default)]
pub struct MissedCounters([Counter; MissedReason::ALL.len()]);

impl MissedCounters {
    pub fn add(&self, reason: MissedReason, slots: u64) {
        self.0[reason as usize].add(slots);
    }

    pub fn get(&self, reason: MissedReason) -> u64 {
        self.0[reason as usize].get()
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}
