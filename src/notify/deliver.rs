//! The outbox, emptied: a worker a channel takes its pending deliveries and attempts them until they arrive.
//!
//! At least once, and in order for each endpoint. Channels know nothing of one another, and one that hangs holds up
//! nothing else. What is sent is read from the rows; a nudge only says that there are some. While the database is away
//! it is taken from memory ([`Handover`]), by the same rules, and what came of it is recorded afterwards.

mod digests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::channel::{Channel, Message, Receipt, SendError};
use super::lines::{Line, Lines};
use super::queue::{Attempt, Grouped, Lane, Queue, Reading, Rows};
use super::{failing, ledger};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::grouping::GroupingPolicy;
use crate::domain::notification::{Event, Notification, Subject, notification_id};
use crate::events::ChannelTestRequest;
use crate::feed::{self, Feed, NotificationNews, TroubleCode};
use crate::handover::{Handed, Handover};
use crate::links::Links;
use crate::store::outbox::{DeliveryState, NO_SUCH_CHANNEL, Standing};
use crate::store::{Store, StoreError};
use crate::telemetry::histograms::Deliveries;
use crate::telemetry::metrics::{ChannelStatus, Metrics};
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

/// The first pause after a failed attempt; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after an answer that looks permanent: the other side may be in the middle of being changed.
const PERMANENT_PAUSE: Duration = Duration::from_secs(300);

/// The shortest pause before the failure of a channel is looked at again.
const RETELL_PAUSE: Duration = Duration::from_secs(1);

/// How long what is under way has to end when its channel is taken off.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);

/// How long the deliverer of a channel that is gone still gives up what comes late for it: the recorder may have
/// decided before the change whom to tell. While the database is away this begins again.
const LINGER: Duration = Duration::from_secs(60);

/// After this a delivery is dead.
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);

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

/// Sends test messages through the real transports, until the stop. Tests bypass the outbox: who asked waits.
pub async fn answer_tests(
    lines: Arc<Lines>,
    clock: Arc<dyn Clock>,
    mut requests: mpsc::Receiver<ChannelTestRequest>,
    stopping: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            () = stopping.cancelled() => return,
            request = requests.recv() => match request { Some(request) => request, None => return },
        };
        // An unknown name drops the reply, which tells whoever asked.
        let Some(channel) = lines.channel(&request.channel) else { continue };
        let message = test_message(&request.channel, clock.now());
        let sent = tokio::select! {
            () = stopping.cancelled() => return,
            sent = channel.send(&message) => sent,
        };
        // Whoever asked may have gone away.
        drop(request.reply.send(sent.map(|receipt| receipt.answer).map_err(|error| error.to_string())));
    }
}

/// A message that is clearly a test.
pub fn test_message(channel: &str, now: Timestamp) -> Message {
    let facts = about_channel(channel, Event::Test, now, now);
    Message { notification: facts, attempt: 1, first_of_incident: None }
}

/// The facts of a notification that is about a channel, not an endpoint.
pub(super) fn about_channel(channel: &str, event: Event, span: Timestamp, now: Timestamp) -> Notification {
    let id = notification_id(Subject::Channel(channel), span, event, 0);
    Notification::about("channel", channel.to_owned(), id, event, now)
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

    /// The rows are being read, and it does not take long: what is done next goes by them.
    fn is_waiting_for_rows(&self) -> bool {
        self.reading.as_ref().is_some_and(|(began, ..)| began.elapsed() < SLOW)
    }

    fn wake_at(&self) -> Option<Instant> {
        let digest = self.recording.as_ref().map(|(began, _)| *began + SLOW);
        let digest =
            digest.filter(|at| *at > Instant::now() && self.digests.iter().any(|grouped| !grouped.from_memory));
        let slow = self.reading.as_ref().map(|(began, ..)| *began + SLOW).filter(|_| self.is_waiting_for_rows());
        let again = self.not_before.filter(|at| *at > Instant::now());
        [slow, again, digest].into_iter().flatten().min()
    }

    /// Begins to read, and to record what was done, where there is something to.
    fn ask_database(&mut self) {
        if self.reading.as_ref().is_some_and(|(began, ..)| began.elapsed() >= SLOW) {
            self.queue.cannot_read();
        }
        if self.recording.as_ref().is_some_and(|(began, _)| began.elapsed() >= SLOW) {
            self.tell_digests_from_memory();
        }
        if self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (store, name) = (self.context.store.clone(), self.name.clone());
        if self.recording.is_none() {
            let standings = self.queue.to_record();
            if !standings.is_empty() || !self.to_write.is_empty() || !self.digests.is_empty() {
                let (notifications, digests) = (self.to_write.clone(), self.digests.clone());
                let work = ledger::record(store.clone(), name.clone(), standings, notifications, digests);
                self.recording = Some((Instant::now(), Box::pin(work)));
            }
        }
        if self.reading.is_none() && self.stale {
            self.stale = false;
            let (reading, known, covered) = (self.queue.begin_reading(), self.queue.known(), self.queue.covered());
            let lately = self.context.grouping.filter(|_| !self.queue.is_resumed());
            let lately = lately.map(|policy| (policy.window, self.context.clock.now()));
            let read = ledger::read(store, name, known, covered, lately);
            self.reading = Some((Instant::now(), reading, Box::pin(read)));
        }
    }

    fn take_rows(&mut self, (reading, rows): (Reading, Result<Rows, StoreError>)) {
        match rows {
            Ok(rows) => {
                let (policy, now) = (self.context.grouping.unwrap_or_default(), self.context.clock.now());
                for id in self.queue.take_rows(reading, rows, &policy, now) {
                    self.context.handover.settled(&self.name, &id);
                }
                if self.recording.is_none() && self.queue.to_record().is_empty() {
                    self.complained = false;
                }
            }
            Err(error) => {
                self.queue.cannot_read();
                self.stale = true;
                self.leave_alone(&error, "read");
            }
        }
    }

    fn take_written(&mut self, written: Result<ledger::Written, StoreError>) {
        match written {
            Ok(written) => {
                for handed in &written.notifications {
                    self.to_write.retain(|waiting| waiting.told.facts.id != handed.told.facts.id);
                    self.context.handover.stored(&handed.told.facts.id);
                    self.nudge(&handed.channels);
                }
                self.take_digests(&written.digests);
                self.queue.recorded(written.standings);
                // There may be rows beyond those that were looked at.
                self.stale = true;
            }
            Err(error) => {
                for handed in &self.to_write {
                    self.context.handover.hand(handed.clone(), false);
                    self.nudge(&handed.channels);
                }
                self.tell_digests_from_memory();
                self.leave_alone(&error, "written");
            }
        }
    }

    fn leave_alone(&mut self, error: &StoreError, what: &str) {
        self.not_before = Some(Instant::now() + AGAIN);
        self.trouble_at = Some(Instant::now());
        if !self.complained {
            self.complained = true;
            tracing::warn!(channel = self.name, %error, "the outbox cannot be {what}; messages go out from memory");
        }
    }

    fn nudge(&self, channels: &[String]) {
        for name in channels {
            self.context.lines.nudge(name);
        }
    }

    /// Notes what an attempt brought, and whether the channel works.
    fn settle(&mut self, attempt: &Attempt, sent: Result<Receipt, SendError>) {
        let now = self.context.clock.now();
        let item = &attempt.item;
        let before = Standing {
            attempts: item.attempts + 1,
            last_attempt_at: Some(now),
            ..item.standing(DeliveryState::Pending)
        };
        let standing = match sent {
            Ok(Receipt { answer }) => {
                Standing { state: DeliveryState::Delivered, answer: Some(answer), finished_at: Some(now), ..before }
            }
            Err(SendError::GiveUp { reason }) => {
                Standing { state: DeliveryState::Dead, last_error: Some(reason), finished_at: Some(now), ..before }
            }
            Err(SendError::Retry { reason, after, permanent_looking, may_have_arrived }) => {
                let before = Standing {
                    may_have_arrived: before.may_have_arrived || may_have_arrived,
                    last_error: Some(reason),
                    ..before
                };
                let age = (now - item.created_at).to_std().unwrap_or_default();
                if age >= GIVE_UP_AFTER {
                    Standing { state: DeliveryState::Dead, finished_at: Some(now), ..before }
                } else {
                    let pause = pause(before.attempts, after, permanent_looking, fastrand::f64());
                    let next_attempt_at = now + chrono::TimeDelta::from_std(pause).unwrap_or_default();
                    Standing { next_attempt_at: Some(next_attempt_at), ..before }
                }
            }
        };
        self.note(attempt, &standing, now);
        if standing.state == DeliveryState::Delivered {
            for merged in &attempt.merged {
                let digest = Some(item).filter(|item| item.is_digest()).map(|item| item.id().to_owned());
                let finished_at = Some(now);
                let standing = Standing { finished_at, digest, ..merged.standing(DeliveryState::Merged) };
                self.queue.note(merged.id(), standing);
            }
        } else {
            for tried in attempt.merged.iter().chain([item]) {
                self.queue.try_again(tried.id());
            }
        }
        let lost = standing.state == DeliveryState::Dead;
        self.queue.note(item.id(), standing);
        self.tell_failure(lost.then_some(&attempt.notification), now);
    }

    fn note(&mut self, attempt: &Attempt, standing: &Standing, now: Timestamp) {
        let (channel, id, event) = (&self.name, attempt.item.id(), attempt.notification.event);
        let metrics = &self.context.metrics;
        // A message about a channel is about no endpoint.
        let about = Some(&attempt.notification.endpoint).filter(|endpoint| endpoint.id > 0);
        let (endpoint, endpoint_id) = (about.map(|of| of.name.as_str()), about.map(|of| of.id));
        let error = standing.last_error.as_deref().unwrap_or_default();
        let was_failing = self.failing.since().is_some();
        match standing.state {
            DeliveryState::Delivered => {
                metrics.deliveries_delivered.add(1);
                self.counted.delivered.add(1);
                if attempt.item.from_memory {
                    metrics.delivered_from_memory.add(1);
                }
                tracing::info!(notification = id, endpoint, endpoint_id, %event, "told through {channel}");
                self.failing.succeeded();
            }
            DeliveryState::Dead => {
                metrics.deliveries_failed.add(1);
                metrics.deliveries_dead.add(1);
                self.counted.dead.add(1);
                tracing::error!(notification = id, endpoint, endpoint_id, %event, error, "a message to {channel} is given up; it can be sent again by hand");
                self.failing.failed(attempt.item.created_at, error);
            }
            DeliveryState::Pending | DeliveryState::Merged | DeliveryState::Grouped => {
                metrics.deliveries_failed.add(1);
                self.counted.failed.add(1);
                tracing::warn!(notification = id, endpoint, endpoint_id, %event, error, "{channel} did not take a message; it is tried again");
                self.failing.failed(attempt.item.created_at, error);
            }
        }
        let state = match standing.state {
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
            DeliveryState::Pending | DeliveryState::Merged | DeliveryState::Grouped => "failed",
        };
        let (facts, attempts) = (&attempt.notification, standing.attempts);
        let error = standing.last_error.as_deref();
        let news = NotificationNews { at: now, facts, channel, state, attempts, error };
        self.context.feed.publish(feed::Event::notification(news));
        let changed = match (was_failing, self.failing.since().is_some()) {
            (false, true) => Some((TroubleCode::ChannelFailing, "a channel does not deliver")),
            (true, false) => Some((TroubleCode::ChannelWorking, "a channel delivers again")),
            _ => None,
        };
        if let Some((code, message)) = changed {
            let subject = format!("channel/{channel}");
            self.context.feed.publish(feed::Event::trouble(now, code, &subject, message));
        }
        metrics.set_channel(
            channel,
            ChannelStatus {
                failing_since: self.failing.since(),
                last_error: self.failing.last_error().map(str::to_owned),
                last_attempt_at: Some(now),
            },
        );
    }

    /// Tells that the channel fails, once it is time; at once when a message was `lost`.
    fn tell_failure(&mut self, lost: Option<&Notification>, now: Timestamp) {
        if self.gone_since.is_some() {
            return;
        }
        let Some(since) = self.failing.to_be_told(lost.is_some(), now) else { return };
        let others = self.context.lines.beside(&self.name);
        let error = self.failing.last_error().unwrap_or_default();
        let waiting = self.queue.items();
        let waiting = waiting.iter().map(|item| &item.told.facts);
        self.to_write.push(failing::message(&self.name, since, error, lost, waiting, others, now));
        self.failing.told();
    }
}

async fn read_by(reading: &mut Option<(Instant, Reading, Read)>) -> (Reading, Result<Rows, StoreError>) {
    let Some((_, _, read)) = reading else { return std::future::pending().await };
    let rows = read.await;
    let known = reading.take().map(|(_, known, _)| known).unwrap_or_default();
    (known, rows)
}

async fn recorded_by(recording: &mut Option<(Instant, Record)>) -> Result<ledger::Written, StoreError> {
    let Some((_, record)) = recording else { return std::future::pending().await };
    let written = record.await;
    *recording = None;
    written
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// `acknowledge_url`: the link of this message through this channel, if it has one.
async fn send(channel: &dyn Channel, attempt: &Attempt, acknowledge_url: Option<String>) -> Result<Receipt, SendError> {
    let mut notification = attempt.notification.clone();
    if let Some(incident) = &mut notification.incident {
        incident.acknowledge_url = acknowledge_url;
    }
    let message = Message {
        notification,
        attempt: attempt.item.attempts + 1,
        first_of_incident: attempt.item.told.first_of_incident.clone(),
    };
    channel.send(&message).await
}

/// The pause after failed attempt `attempt` (the first is 1). `random` is uniform in 0..1.
fn pause(attempt: u32, after: Option<Duration>, permanent_looking: bool, random: f64) -> Duration {
    let growing =
        FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16))).min(LONGEST_PAUSE);
    let pause = if permanent_looking { PERMANENT_PAUSE } else { growing.mul_f64(0.75 + random / 2.0) };
    after.map_or(pause, |after| pause.max(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_obey_the_other_side() {
        let seconds = |attempt| pause(attempt, None, false, 0.5).as_secs();
        assert_eq!((1..=8).map(seconds).collect::<Vec<_>>(), [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(1, Some(Duration::from_secs(90)), false, 0.5), Duration::from_secs(90));
        assert_eq!(pause(1, None, true, 0.5), PERMANENT_PAUSE);
        assert!(pause(u32::MAX, None, false, 1.0) <= LONGEST_PAUSE.mul_f64(1.25));
    }
}
