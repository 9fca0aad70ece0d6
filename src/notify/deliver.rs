//! The outbox, emptied: a worker a channel takes its pending deliveries and attempts them until they arrive.
//!
//! At least once, and in order for each endpoint. Channels know nothing of one another, and one that hangs holds up
//! nothing else. What is sent is read from the rows; a nudge only says that there are some.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::channel::{Channel, Message, Receipt, SendError};
use super::failing;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::notification::{EndpointFacts, Event, Notification, Severity, Subject, notification_id};
use crate::events::ChannelTestRequest;
use crate::store::outbox::{self, AttemptResult, Delivery};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::{ChannelStatus, Metrics};
use crate::wakeup::Wakeup;

/// Attempts under way at once in one channel, each for another endpoint.
const AT_ONCE: usize = 4;

/// The oldest deliveries of a channel that are looked at together.
const LOOK: u64 = 500;

/// How often a worker looks without being nudged.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The first pause after a failed attempt; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after an answer that looks permanent: the other side may be in the middle of being changed.
const PERMANENT_PAUSE: Duration = Duration::from_secs(300);

/// The shortest pause before the failure of a channel is looked at again.
const RETELL_PAUSE: Duration = Duration::from_secs(1);

/// After this a delivery is dead.
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);

/// What every worker shares.
#[derive(Debug, Clone)]
pub struct DeliverContext {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Nudged when there may be something new to deliver, for each channel.
    pub nudges: Arc<BTreeMap<String, Wakeup>>,
    pub stopping: CancellationToken,
}

/// Delivers through one channel.
#[derive(Debug)]
pub struct Worker {
    name: String,
    channel: Arc<dyn Channel>,
    /// Through which channels a failure of this one is told.
    fallback: Vec<String>,
    context: DeliverContext,
    failing: failing::Watch,
}

/// What an attempt is about, so that no two of the same endpoint are under way.
type Lane = i64;

fn lane(delivery: &Delivery) -> Lane {
    // What is about no endpoint has a lane of its own; row ids and endpoint ids cannot meet below zero.
    delivery.endpoint.map_or(-delivery.id, |id| id.0)
}

/// Nudges every worker whenever the recorder nudges, until the stop.
pub async fn spread_nudges(from: Wakeup, context: DeliverContext) {
    loop {
        tokio::select! {
            () = context.stopping.cancelled() => return,
            () = from.wait() => {}
        }
        for wakeup in context.nudges.values() {
            wakeup.nudge();
        }
    }
}

/// Sends test messages through the real transports, until the stop. Tests bypass the outbox: who asked waits.
pub async fn answer_tests(
    channels: BTreeMap<String, Arc<dyn Channel>>,
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
        let Some(channel) = channels.get(&request.channel) else { continue };
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
    Notification {
        version: 1,
        id: notification_id(Subject::Channel(channel), span, event, 0),
        event,
        occurred_at: now,
        told_late: false,
        endpoint: EndpointFacts {
            id: 0,
            name: channel.to_owned(),
            group: String::new(),
            tags: Vec::new(),
            url: String::new(),
            kind: "channel".to_owned(),
        },
        endpoint_name: channel.to_owned(),
        url: String::new(),
        timestamp: now,
        status: "unknown".to_owned(),
        previous_status: "unknown".to_owned(),
        severity: Severity::Warning,
        runbook: None,
        failure_kind: None,
        error: None,
        incident: None,
        check: None,
        remarks: Vec::new(),
    }
}

/// A message and the deliveries that it settles.
struct Attempt {
    delivery: Delivery,
    notification: Notification,
    /// Told by this message too, because they could not be told before.
    merged: Vec<i64>,
}

impl Worker {
    pub fn new(name: String, channel: Arc<dyn Channel>, fallback: Vec<String>, context: DeliverContext) -> Self {
        Self { name, channel, fallback, context, failing: failing::Watch::default() }
    }

    /// Delivers until the stop. What is under way then is given up, and attempted again after the next start with
    /// the same id.
    pub async fn run(mut self) {
        let stopping = self.context.stopping.clone();
        // In every line of this worker, whatever the level of the log.
        let span = tracing::error_span!("deliver", channel = self.name);
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.deliver().instrument(span) => {}
        }
    }

    async fn deliver(&mut self) {
        let nudged = self.context.nudges.get(&self.name).cloned().unwrap_or_default();
        let channel = self.channel.clone();
        let mut under_way = FuturesUnordered::new();
        let mut busy: HashSet<Lane> = HashSet::new();
        loop {
            // By the time, not by the next attempt, which may be minutes away.
            let now = self.context.clock.now();
            self.tell_failure(None, now).await;
            let mut sleep = LONGEST_SLEEP;
            if under_way.len() < AT_ONCE {
                match self.next_attempts(&busy, AT_ONCE - under_way.len()).await {
                    Ok((attempts, next_in)) => {
                        sleep = next_in.min(LONGEST_SLEEP).min(self.failing.due_in(now).max(RETELL_PAUSE));
                        for attempt in attempts {
                            busy.insert(lane(&attempt.delivery));
                            let (channel, context) = (channel.clone(), self.context.clone());
                            under_way.push(async move {
                                let sent = send(channel.as_ref(), &context, &attempt).await;
                                (attempt, sent)
                            });
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the outbox cannot be read; tried again");
                        sleep = FIRST_PAUSE;
                    }
                }
            }
            tokio::select! {
                Some((attempt, sent)) = under_way.next(), if !under_way.is_empty() => {
                    let lane = lane(&attempt.delivery);
                    self.settle(attempt, sent).await;
                    busy.remove(&lane);
                }
                () = nudged.wait() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// The attempts that are due, at most `limit`, and how long until the next one is.
    async fn next_attempts(&self, busy: &HashSet<Lane>, limit: usize) -> Result<(Vec<Attempt>, Duration), StoreError> {
        let db = self.context.store.readers();
        let now = self.context.clock.now();
        let mut lanes: Vec<Vec<Delivery>> = Vec::new();
        let mut index: HashMap<Lane, usize> = HashMap::new();
        for delivery in outbox::pending(db, &self.name, LOOK).await? {
            let at = *index.entry(lane(&delivery)).or_insert_with(|| {
                lanes.push(Vec::new());
                lanes.len() - 1
            });
            lanes[at].push(delivery);
        }
        let mut attempts = Vec::new();
        let mut next_in = LONGEST_SLEEP;
        for waiting in lanes {
            let Some(first) = waiting.first() else { continue };
            if busy.contains(&lane(first)) {
                continue;
            }
            let until = |delivery: &Delivery| {
                delivery.next_attempt_at.filter(|at| *at > now).map(|at| (at - now).to_std().unwrap_or_default())
            };
            if let Some(pause) = until(first) {
                next_in = next_in.min(pause);
            } else if attempts.len() < limit
                && let Some(attempt) = plan(db, waiting).await?
            {
                // The one that stands for the oldest may have its own pause to keep.
                match until(&attempt.delivery) {
                    Some(pause) => next_in = next_in.min(pause),
                    None => attempts.push(attempt),
                }
            }
        }
        Ok((attempts, next_in))
    }

    /// Records what an attempt brought, and notices whether the channel works.
    async fn settle(&mut self, attempt: Attempt, sent: Result<Receipt, SendError>) {
        let now = self.context.clock.now();
        let outcome = match sent {
            Ok(Receipt { answer }) => AttemptResult::Delivered { answer },
            Err(SendError::GiveUp { reason }) => AttemptResult::Dead { error: reason, may_have_arrived: false },
            Err(SendError::Retry { reason, after, permanent_looking, may_have_arrived }) => {
                let age = (now - attempt.delivery.created_at).to_std().unwrap_or_default();
                if age >= GIVE_UP_AFTER {
                    AttemptResult::Dead { error: reason, may_have_arrived }
                } else {
                    let pause = pause(attempt.delivery.attempts + 1, after, permanent_looking, fastrand::f64());
                    let next_attempt_at = now + chrono::TimeDelta::from_std(pause).unwrap_or_default();
                    AttemptResult::Retry { error: reason, next_attempt_at, may_have_arrived }
                }
            }
        };
        self.note(&attempt, &outcome, now);
        // Not attempted again meanwhile: a database that takes no writes would make it arrive again and again.
        while let Err(error) = self.record(&attempt, &outcome, now).await {
            tracing::warn!(%error, "an attempt could not be recorded; tried again");
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        let lost = matches!(outcome, AttemptResult::Dead { .. }).then_some(&attempt.notification);
        self.tell_failure(lost, now).await;
    }

    async fn record(&self, attempt: &Attempt, outcome: &AttemptResult, now: Timestamp) -> Result<(), StoreError> {
        let transaction = self.context.store.begin().await?;
        outbox::record_attempt(&transaction, attempt.delivery.id, outcome, now).await?;
        if let AttemptResult::Delivered { .. } = outcome
            && !attempt.merged.is_empty()
        {
            outbox::mark_merged(&transaction, &attempt.merged, now).await?;
        }
        transaction.commit().await.map_err(StoreError::from)
    }

    fn note(&mut self, attempt: &Attempt, outcome: &AttemptResult, now: Timestamp) {
        let (channel, id, event) = (&self.name, &attempt.delivery.notification_id, attempt.notification.event);
        let metrics = &self.context.metrics;
        // A message about a channel is about no endpoint.
        let about = Some(&attempt.notification.endpoint).filter(|endpoint| endpoint.id > 0);
        let (endpoint, endpoint_id) = (about.map(|of| of.name.as_str()), about.map(|of| of.id));
        match outcome {
            AttemptResult::Delivered { .. } => {
                metrics.deliveries_delivered.add(1);
                tracing::info!(notification = id, endpoint, endpoint_id, %event, "told through {channel}");
                self.failing.succeeded();
            }
            AttemptResult::Retry { error, .. } => {
                metrics.deliveries_failed.add(1);
                tracing::warn!(notification = id, endpoint, endpoint_id, %event, error, "{channel} did not take a message; it is tried again");
                self.failing.failed(attempt.delivery.created_at, error);
            }
            AttemptResult::Dead { error, .. } => {
                metrics.deliveries_failed.add(1);
                metrics.deliveries_dead.add(1);
                tracing::error!(notification = id, endpoint, endpoint_id, %event, error, "a message to {channel} is given up; it can be sent again by hand");
                self.failing.failed(attempt.delivery.created_at, error);
            }
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
    async fn tell_failure(&mut self, lost: Option<&Notification>, now: Timestamp) {
        if let Err(error) = self.try_to_tell_failure(lost, now).await {
            tracing::warn!(%error, "the failure of the channel could not be told; tried again");
        }
    }

    async fn try_to_tell_failure(&mut self, lost: Option<&Notification>, now: Timestamp) -> Result<(), StoreError> {
        let Some(since) = self.failing.to_be_told(lost.is_some(), now) else { return Ok(()) };
        let others: Vec<String> = if self.fallback.is_empty() {
            self.context.nudges.keys().filter(|name| **name != self.name).cloned().collect()
        } else {
            self.fallback.clone()
        };
        let error = self.failing.last_error().unwrap_or_default().to_owned();
        failing::tell(&self.context.store, &self.name, since, &error, lost, &others, now).await?;
        self.failing.told();
        for name in others {
            if let Some(wakeup) = self.context.nudges.get(&name) {
                wakeup.nudge();
            }
        }
        Ok(())
    }
}

/// The attempt that the oldest delivery of a lane calls for. A down that was never told, and is over, becomes one
/// message with its recovery.
async fn plan(db: &impl crate::store::ConnectionTrait, waiting: Vec<Delivery>) -> Result<Option<Attempt>, StoreError> {
    let Some(first) = waiting.first() else { return Ok(None) };
    let Some(stored) = outbox::find(db, &first.notification_id).await? else { return Ok(None) };
    let never_told = !first.may_have_arrived && matches!(stored.facts.event, Event::Down | Event::DownAgain);
    if never_told && let Some(incident) = stored.incident {
        let mut merged = vec![first.id];
        for later in &waiting[1..] {
            let Some(other) = outbox::find(db, &later.notification_id).await? else { continue };
            // A later one that may have arrived was attempted in the place of this one: it is told again as it was.
            if other.incident != Some(incident) {
                break;
            }
            if other.facts.event == Event::Up {
                let mut notification = other.facts;
                notification.told_late = true;
                return Ok(Some(Attempt { delivery: later.clone(), notification, merged }));
            }
            merged.push(later.id);
        }
    }
    Ok(Some(Attempt { delivery: first.clone(), notification: stored.facts, merged: Vec::new() }))
}

async fn send(channel: &dyn Channel, context: &DeliverContext, attempt: &Attempt) -> Result<Receipt, SendError> {
    let first_of_incident = match attempt.notification.incident.as_ref() {
        // Without it a mail only loses its thread.
        Some(incident) => outbox::first_of_incident(context.store.readers(), incident.id).await.ok().flatten(),
        None => None,
    };
    let message = Message {
        notification: attempt.notification.clone(),
        attempt: attempt.delivery.attempts + 1,
        first_of_incident,
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
