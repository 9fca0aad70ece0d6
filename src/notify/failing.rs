//! A channel that does not deliver is told through the others, once, with the outages that wait in it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::grouping::digest::DigestItem;
use crate::domain::notification::{Event, Notification};

use super::deliver::about_channel;
use crate::handover::{Handed, Told};

/// After this long without a delivery a channel is told to be failing; a dead delivery tells at once.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most outages that are named in one message.
const NAMED: usize = 50;

/// Whether a channel works, from the attempts made through it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the oldest message that it did not take was written: the same after a restart, so that the failure is
    /// told under the same id.
    since: Option<Timestamp>,
    last_error: Option<String>,
    told: bool,
}

impl Watch {
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, written_at: Timestamp, error: &str) {
        self.since = Some(self.since.map_or(written_at, |since| since.min(written_at)));
        self.last_error = Some(error.to_owned());
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Since when it fails, if that should be told now.
    pub(super) fn to_be_told(&self, dead: bool, now: Timestamp) -> Option<Timestamp> {
        let since = self.since.filter(|_| !self.told)?;
        let patience = chrono::TimeDelta::from_std(PATIENCE).unwrap_or_default();
        (dead || now - since >= patience).then_some(since)
    }

    /// How long until the failure is to be told; very long when there is nothing to tell.
    pub(super) fn due_in(&self, now: Timestamp) -> Duration {
        let Some(since) = self.since.filter(|_| !self.told) else { return Duration::MAX };
        PATIENCE.saturating_sub((now - since).to_std().unwrap_or_default())
    }

    pub(super) fn told(&mut self) {
        self.told = true;
    }
}

/// The message to the other channels. It names what waits, and what was just given up (`lost`). Made twice for one
/// failure it has one id.
pub(super) fn message<'a>(
    channel: &str,
    since: Timestamp,
    error: &str,
    lost: Option<&'a Notification>,
    waiting: impl Iterator<Item = &'a Notification>,
    others: Vec<String>,
    now: Timestamp,
) -> Handed {
    let waiting = waiting.filter(|facts| lost.is_none_or(|lost| lost.id != facts.id));
    let mut facts = about_channel(channel, Event::ChannelFailing, since, now);
    "failing".clone_into(&mut facts.status);
    "working".clone_into(&mut facts.previous_status);
    facts.error = Some(error.to_owned());
    facts.remarks = lost.into_iter().chain(waiting).flat_map(not_told).take(NAMED).collect();
    let told = Told { facts, endpoint: None, incident: None, first_of_incident: None };
    Handed { told: Arc::new(told), channels: others, created_at: now }
}

/// Of a digest each endpoint.
fn not_told(facts: &Notification) -> Vec<String> {
    let said = |name: &str, event: Event, at: Timestamp, error: Option<&str>| {
        let (at, why) = (at.format("%Y-%m-%d %H:%M:%S UTC"), error.unwrap_or("no reason known"));
        format!("Not told there: {name} {event} at {at} ({why})")
    };
    if facts.items.is_empty() {
        return vec![said(&facts.endpoint_name, facts.event, facts.occurred_at, facts.error.as_deref())];
    }
    let of = |item: &DigestItem| said(&item.endpoint.name, item.event, item.occurred_at, item.error.as_deref());
    facts.items.iter().map(of).collect()
}
