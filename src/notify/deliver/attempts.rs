//! One attempt to send a message, and what follows from how it went: when it is tried again, and whether the channel
//! works.

use std::time::Duration;

use super::Worker;
use crate::domain::Timestamp;
use crate::domain::notification::Notification;
use crate::feed::{self, NotificationNews, TroubleCode};
use crate::notify::channel::{Channel, Message, Receipt, SendError};
use crate::notify::failing;
use crate::notify::queue::{Attempt, Item, Queue};
use crate::store::outbox::{DeliveryState, Standing};
use crate::telemetry::metrics::ChannelStatus;

/// The first pause after a failed attempt; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after an answer that looks permanent: the other side may be in the middle of being changed.
const PERMANENT_PAUSE: Duration = Duration::from_secs(300);

/// After this a delivery is dead.
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);

impl Worker {
    /// Notes what an attempt brought, and whether the channel works.
    pub(super) fn settle(&mut self, attempt: &Attempt, sent: Result<Receipt, SendError>) {
        let now = self.context.clock.now();
        let standing = standing_after(&attempt.item, sent, now, fastrand::f64());
        self.note(attempt, &standing, now);
        let lost = standing.state == DeliveryState::Dead;
        take_standing(&mut self.queue, attempt, standing, now);
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
        let news = NotificationNews { at: now, facts, channel, state, attempts, error, digest: None };
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
    pub(super) fn tell_failure(&mut self, lost: Option<&Notification>, now: Timestamp) {
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

/// How what was attempted stands after it. `random` is uniform in 0..1.
pub(in crate::notify) fn standing_after(
    item: &Item,
    sent: Result<Receipt, SendError>,
    now: Timestamp,
    random: f64,
) -> Standing {
    let before =
        Standing { attempts: item.attempts + 1, last_attempt_at: Some(now), ..item.standing(DeliveryState::Pending) };
    match sent {
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
                let pause = pause(before.attempts, after, permanent_looking, random);
                let next_attempt_at = now + chrono::TimeDelta::from_std(pause).unwrap_or_default();
                Standing { next_attempt_at: Some(next_attempt_at), ..before }
            }
        }
    }
}

/// Notes how what was attempted stands, and what it told with it.
pub(in crate::notify) fn take_standing(queue: &mut Queue, attempt: &Attempt, standing: Standing, now: Timestamp) {
    let item = &attempt.item;
    if standing.state == DeliveryState::Delivered {
        for merged in &attempt.merged {
            let digest = Some(item).filter(|item| item.is_digest()).map(|item| item.id().to_owned());
            let finished_at = Some(now);
            let standing = Standing { finished_at, digest, ..merged.standing(DeliveryState::Merged) };
            queue.note(merged.id(), standing);
        }
    } else {
        for tried in attempt.merged.iter().chain([item]) {
            queue.try_again(tried.id());
        }
    }
    queue.note(item.id(), standing);
}

/// `acknowledge_url`: the link of this message through this channel, if it has one.
pub(super) async fn send(
    channel: &dyn Channel,
    attempt: &Attempt,
    acknowledge_url: Option<String>,
) -> Result<Receipt, SendError> {
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
