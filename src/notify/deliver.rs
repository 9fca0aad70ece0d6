//! The outbox, emptied: a worker a channel takes its pending deliveries and attempts them until they arrive.
//!
//! At least once, and in order for each endpoint. Channels know nothing of one another, and one that hangs holds up
//! nothing else. What is sent is read from the rows; a nudge only says that there are some. While the database is away
//! it is taken from memory ([`Handover`]), by the same rules, and what came of it is recorded afterwards.

pub(in crate::notify) mod attempts;
mod digests;
mod rows;
mod trial;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::attempts::send;
use self::rows::{read_by, recorded_by};
pub(super) use self::trial::about_channel;
pub use self::trial::{answer_tests, test_message};
use super::lines::{Line, Lines};
use super::queue::{Grouped, Lane, Queue, Reading, Rows};
use super::{failing, ledger};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::grouping::GroupingPolicy;
use crate::feed::Feed;
use crate::handover::{Handed, Handover};
use crate::links::Links;
use crate::store::outbox::{DeliveryState, NO_SUCH_CHANNEL, Standing};
use crate::store::{Store, StoreError};
use crate::telemetry::histograms::Deliveries;
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

/// Attempts under way at once in one channel, each for another endpoint.
const AT_ONCE: usize = 4;

/// How often a worker looks without being nudged.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A read that takes longer is waited for no longer: meanwhile what is known counts.
const SLOW: Duration = Duration::from_secs(1);

/// How long to wait before the database is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the end waits for the recorder, so that what was told is not told again after the next start.
const LAST_WAIT: Duration = Duration::from_secs(7);
const LAST_RECORD: Duration = Duration::from_secs(1);

/// The shortest pause before the failure of a channel is looked at again.
const RETELL_PAUSE: Duration = Duration::from_secs(1);

/// How long what is under way has to end when its channel is taken off.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);

/// How long the deliverer of a channel that is gone still gives up what comes late for it: the recorder may have
/// decided before the change whom to tell. While the database is away this begins again.
const LINGER: Duration = Duration::from_secs(60);

/// What every worker shares.
#[derive(Debug, Clone)]
pub struct DeliverContext {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// What each deliverer sends through, nudged when there may be something new to deliver.
    pub lines: Arc<Lines>,
    /// Put into what tells of an outage.
    pub links: Arc<Links>,
    /// What is to be told, in memory.
    pub handover: Arc<Handover>,
    /// Told what became of each attempt.
    pub feed: Arc<Feed>,
    /// When many messages at once become a digest; `None`: never.
    pub grouping: Option<GroupingPolicy>,
    pub stopping: CancellationToken,
    /// Cancelled when the recorder has written whatever it will.
    pub recorded: CancellationToken,
}

/// What is asked of the database, beside the sending.
type Read = BoxFuture<'static, Result<Rows, StoreError>>;
type Record = BoxFuture<'static, Result<ledger::Written, StoreError>>;

/// Delivers through one channel, whatever that is at the time.
pub struct Worker {
    name: String,
    context: DeliverContext,
    /// Since when there is no channel, as far as the rows go by it.
    gone_since: Option<Instant>,
    counted: Arc<Deliveries>,
    failing: failing::Watch,
    queue: Queue,
    /// The rows may be others than those that were read.
    stale: bool,
    reading: Option<(Instant, Reading, Read)>,
    recording: Option<(Instant, Record)>,
    /// The database is left alone until then.
    not_before: Option<Instant>,
    /// It was said that the rows cannot be read or written.
    complained: bool,
    /// When they could not be the last time.
    trouble_at: Option<Instant>,
    /// Messages of this channel's failure, to be written and told through the others.
    to_write: Vec<Handed>,
    /// Digests of this channel that are to be written before they go out, or went out from memory.
    digests: Vec<Grouped>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Nudges every worker whenever the recorder nudges, until the stop.
pub async fn spread_nudges(from: Wakeup, context: DeliverContext) {
    loop {
        tokio::select! {
            () = context.stopping.cancelled() => return,
            () = from.wait() => {}
        }
        context.lines.nudge_all();
    }
}

impl Worker {
    /// For a channel that is on its line, or will be.
    pub fn new(name: String, context: DeliverContext) -> Self {
        let counted = context.metrics.deliveries.of(&name);
        Self {
            name,
            context,
            gone_since: None,
            counted,
            failing: failing::Watch::default(),
            queue: Queue::default(),
            stale: true,
            reading: None,
            recording: None,
            not_before: None,
            complained: false,
            trouble_at: None,
            to_write: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// Delivers until the stop, or until the channel has long been gone. What is under way then is given up, and
    /// attempted again after the next start with the same id. What was delivered and does not stand in its rows is
    /// recorded once the recorder has written them.
    pub async fn run(mut self) {
        let stopping = self.context.stopping.clone();
        // In every line of this worker, whatever the level of the log.
        let span = tracing::error_span!("deliver", channel = self.name);
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.deliver().instrument(span) => {}
        }
        self.reading = None;
        if self.queue.unrecorded() > 0 || self.recording.is_some() {
            drop(tokio::time::timeout(LAST_WAIT, self.context.recorded.cancelled()).await);
            self.finish().await;
        }
    }

    async fn finish(&mut self) {
        if let Some((_, recording)) = self.recording.take()
            && let Ok(Ok(written)) = tokio::time::timeout(LAST_RECORD, recording).await
        {
            self.take_digests(&written.digests);
            self.queue.recorded(written.standings);
        }
        self.queue.take_handed(self.context.handover.waiting_for(&self.name));
        let until = Instant::now() + LAST_RECORD;
        loop {
            let standings = self.queue.to_record();
            if standings.is_empty() {
                break;
            }
            // What is not told yet is grouped again after the next start.
            let digests = self.digests.iter().filter(|grouped| grouped.from_memory).cloned().collect();
            let work = ledger::record(self.context.store.clone(), self.name.clone(), standings, Vec::new(), digests);
            match tokio::time::timeout_at(until, work).await {
                Ok(Ok(written)) if !written.standings.is_empty() => {
                    self.take_digests(&written.digests);
                    self.queue.recorded(written.standings);
                }
                _ => break,
            }
        }
        let untold = self.queue.items().iter().filter(|item| item.from_memory).count();
        let unrecorded = self.queue.unrecorded();
        if untold + unrecorded > 0 {
            tracing::error!(
                channel = self.name,
                untold,
                unrecorded,
                "the database was away until the end: messages that were not delivered are lost, and what was delivered \
                 may be sent again"
            );
        }
    }

    async fn deliver(&mut self) {
        let nudged = self.context.lines.get(&self.name).wakeup;
        let mut under_way = FuturesUnordered::new();
        let mut busy: HashSet<Lane> = HashSet::new();
        loop {
            let now = self.context.clock.now();
            self.queue.take_handed(self.context.handover.waiting_for(&self.name));
            let Line { channel, is_grouped, .. } = self.context.lines.get(&self.name);
            let policy = self.context.grouping.filter(|_| is_grouped);
            let mut sleep = LONGEST_SLEEP;
            if channel.is_some() {
                self.gone_since = None;
                // By the time, not by the next attempt, which may be minutes away.
                self.tell_failure(None, now);
                sleep = sleep.min(self.failing.due_in(now).max(RETELL_PAUSE));
            } else {
                let gone_for = self.gone_since.get_or_insert_with(Instant::now).elapsed();
                if gone_for >= LAST_ATTEMPTS {
                    under_way.clear();
                }
                self.give_up(&busy, under_way.is_empty(), now);
                if under_way.is_empty() {
                    busy.clear();
                }
                if gone_for >= LINGER && self.is_done() && self.context.lines.close(&self.name) {
                    return;
                }
                let left = LAST_ATTEMPTS.saturating_sub(gone_for);
                sleep = if left.is_zero() { LINGER } else { left };
            }
            if let Some(channel) = channel
                && self.queue.is_known()
                && !self.is_waiting_for_rows()
            {
                self.queue.admit(policy.as_ref(), &busy, now);
                self.digests.extend(self.queue.due_digests(&self.name, now));
                let (attempts, next_in) = self.queue.next(&busy, AT_ONCE - under_way.len(), now);
                sleep = sleep.min(next_in.unwrap_or(LONGEST_SLEEP));
                for attempt in attempts {
                    busy.extend(attempt.item.lanes());
                    let (channel, counted) = (channel.clone(), self.counted.clone());
                    let acknowledge_url = self.context.links.acknowledge(&attempt.notification, &self.name);
                    under_way.push(async move {
                        let began = Instant::now();
                        let sent = send(channel.as_ref(), &attempt, acknowledge_url).await;
                        counted.durations.observe(began.elapsed().as_secs_f64());
                        (attempt, sent)
                    });
                }
            }
            // After what the rows just read call for: nudges that never cease must not keep it waiting for the next.
            self.ask_database();
            let wake_at = self.wake_at();
            tokio::select! {
                Some((attempt, sent)) = under_way.next(), if !under_way.is_empty() => {
                    attempt.item.lanes().iter().for_each(|lane| _ = busy.remove(lane));
                    self.settle(&attempt, sent);
                }
                rows = read_by(&mut self.reading) => self.take_rows(rows),
                written = recorded_by(&mut self.recording) => self.take_written(written),
                () = nudged.wait() => self.stale = true,
                () = tokio::time::sleep(sleep) => self.stale = true,
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// The channel is gone: gives up what is for it, but for the attempts that are still under way (`busy`). When none
    /// is any longer, those in `busy` were cut.
    fn give_up(&mut self, busy: &HashSet<Lane>, none_under_way: bool, now: Timestamp) {
        if none_under_way {
            self.failing = failing::Watch::default();
            self.context.metrics.forget_channel(&self.name);
        }
        if !self.queue.is_known() {
            return;
        }
        let mut given_up = 0;
        // Their messages are given up, each by itself.
        self.digests.retain(|grouped| grouped.from_memory);
        for item in self.queue.items() {
            let was_busy = item.lanes().iter().any(|lane| busy.contains(lane));
            if was_busy && !none_under_way {
                continue;
            }
            given_up += 1;
            let standing = Standing {
                may_have_arrived: item.may_have_arrived || was_busy,
                last_error: Some(NO_SUCH_CHANNEL.to_owned()),
                finished_at: Some(now),
                ..item.standing(DeliveryState::Dead)
            };
            self.queue.note(item.id(), standing);
        }
        if given_up > 0 {
            self.context.metrics.deliveries_dead.add(given_up);
            tracing::warn!(
                channel = self.name,
                given_up,
                "{} is gone or off: what waited for it is given up; it can be sent again by hand",
                self.name
            );
        }
    }

    /// Whether nothing is left of a channel that is gone, and nothing will come.
    fn is_done(&mut self) -> bool {
        if self.context.metrics.database.away().is_some() {
            // The recorder writes what it has when the database is back.
            self.trouble_at = Some(Instant::now());
        }
        let is_idle = self.reading.is_none() && self.recording.is_none() && !self.stale && self.to_write.is_empty();
        is_idle
            && self.trouble_at.is_none_or(|at| at.elapsed() >= LINGER)
            && self.queue.unrecorded() == 0
            && self.queue.items().is_empty()
    }

    fn wake_at(&self) -> Option<Instant> {
        let digest = self.recording.as_ref().map(|(began, _)| *began + SLOW);
        let digest =
            digest.filter(|at| *at > Instant::now() && self.digests.iter().any(|grouped| !grouped.from_memory));
        let slow = self.reading.as_ref().map(|(began, ..)| *began + SLOW).filter(|_| self.is_waiting_for_rows());
        let again = self.not_before.filter(|at| *at > Instant::now());
        [slow, again, digest].into_iter().flatten().min()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
