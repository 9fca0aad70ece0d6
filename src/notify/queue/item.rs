//! What is to be told, and the attempt that it calls for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::grouping::digest;
use crate::domain::grouping::is_grouped;
use crate::domain::notification::{Event, Notification};
use crate::handover::Told;
use crate::store::outbox::{DeliveryState, Standing};

/// What an attempt is about, so that no two of the same endpoint or alert rule are under way. What is about neither has
/// a lane of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::notify) enum Lane {
    Endpoint(i64),
    /// The id of the rule.
    Alert(String),
    /// What begins is told before what is over.
    OwnNetwork,
    Alone(String),
}

/// One notification that this channel has not delivered.
#[derive(Debug, Clone)]
pub(in crate::notify) struct Item {
    pub(in crate::notify) told: Arc<Told>,
    pub(in crate::notify) created_at: Timestamp,
    pub(in crate::notify) attempts: u32,
    pub(in crate::notify) may_have_arrived: bool,
    pub(in crate::notify) next_attempt_at: Option<Timestamp>,
    pub(in crate::notify) last_attempt_at: Option<Timestamp>,
    /// It waits for the digest that goes out then.
    pub(in crate::notify) held_until: Option<Timestamp>,
    /// Its rows are not written, or cannot be read.
    pub(in crate::notify) from_memory: bool,
}

impl Item {
    pub(in crate::notify) fn id(&self) -> &str {
        &self.told.facts.id
    }

    /// A digest is about every endpoint that it names.
    pub(in crate::notify) fn lanes(&self) -> Vec<Lane> {
        let endpoint = |item: &digest::DigestItem| Lane::Endpoint(item.endpoint.id);
        match (self.told.endpoint, &self.told.facts.alert) {
            (Some(id), _) => vec![Lane::Endpoint(id.0)],
            (None, Some(alert)) => vec![Lane::Alert(alert.alert_id.clone())],
            (None, None) if self.is_digest() => self.told.facts.items.iter().map(endpoint).collect(),
            (None, None) if self.told.facts.event == Event::Blind => vec![Lane::OwnNetwork],
            (None, None) => vec![Lane::Alone(self.id().to_owned())],
        }
    }

    pub(in crate::notify) fn is_digest(&self) -> bool {
        self.told.facts.event == Event::Digest
    }

    /// Whether it counts among the messages of a window, and may be told by a digest.
    pub(in crate::notify) fn may_be_grouped(&self) -> bool {
        self.told.endpoint.is_some() && is_grouped(self.told.facts.event)
    }

    /// How it stands, in this state.
    pub(in crate::notify) fn standing(&self, state: DeliveryState) -> Standing {
        Standing {
            state,
            attempts: self.attempts,
            may_have_arrived: self.may_have_arrived,
            next_attempt_at: None,
            last_attempt_at: self.last_attempt_at,
            last_error: None,
            answer: None,
            finished_at: None,
            held_until: self.held_until,
            digest: None,
        }
    }
}

/// A message and the notifications that it settles.
#[derive(Debug, Clone)]
pub(in crate::notify) struct Attempt {
    pub(in crate::notify) item: Item,
    pub(in crate::notify) notification: Notification,
    /// Told by this message too, because they could not be told before.
    pub(in crate::notify) merged: Vec<Item>,
}

/// What may be attempted, each with what has to wait for it, in order.
pub(super) fn in_lanes(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut lanes: Vec<Vec<Item>> = Vec::new();
    let mut index: HashMap<Lane, usize> = HashMap::new();
    for item in items {
        let own = item.lanes();
        let at = own.iter().find_map(|lane| index.get(lane).copied()).unwrap_or(lanes.len());
        match lanes.get_mut(at) {
            Some(waiting) => waiting.push(item),
            None => lanes.push(vec![item]),
        }
        for lane in own {
            index.entry(lane).or_insert(at);
        }
    }
    lanes
}

/// The attempt that the oldest of a lane calls for. A down, or an alert, that was never told, and is over, becomes one
/// message with its recovery; so does each endpoint of a digest.
pub(super) fn plan(waiting: &[Item], first: &Item) -> Attempt {
    if first.is_digest() {
        return plan_digest(waiting, first);
    }
    let begins = matches!(first.told.facts.event, Event::Down | Event::DownAgain | Event::AlertFiring);
    let spell = |item: &Item| (item.told.incident, item.told.facts.alert.as_ref().map(|alert| alert.fired_at));
    if begins && !first.may_have_arrived && spell(first) != (None, None) {
        let mut merged = vec![first.clone()];
        for later in &waiting[1..] {
            // A later one that may have arrived was attempted in the place of this one: it is told again as it was.
            if spell(later) != spell(first) {
                break;
            }
            if matches!(later.told.facts.event, Event::Up | Event::AlertResolved) {
                let mut notification = later.told.facts.clone();
                notification.told_late = true;
                return Attempt { item: later.clone(), notification, merged };
            }
            merged.push(later.clone());
        }
    }
    Attempt { item: first.clone(), notification: first.told.facts.clone(), merged: Vec::new() }
}

/// A digest, with the ends of its outages that came since: nobody is told of an outage that is over. Not if it may have
/// arrived as it was: then the ends are told after it.
fn plan_digest(waiting: &[Item], first: &Item) -> Attempt {
    let mut attempt = Attempt { item: first.clone(), notification: first.told.facts.clone(), merged: Vec::new() };
    if first.may_have_arrived {
        return attempt;
    }
    let mut items = attempt.notification.items.clone();
    let places: HashMap<i64, usize> = items.iter().enumerate().map(|(i, item)| (item.endpoint.id, i)).collect();
    // Of these something is told after the digest, and so is all that comes later.
    let mut apart: HashSet<i64> = HashSet::new();
    let mut between: HashMap<i64, Vec<&Item>> = HashMap::new();
    for later in &waiting[1..] {
        let facts = &later.told.facts;
        let Some(item) = places.get(&facts.endpoint.id).and_then(|place| items.get_mut(*place)) else { continue };
        let id = facts.endpoint.id;
        let same = item.incident.as_ref().is_some_and(|incident| later.told.incident == Some(incident.id));
        if !same || item.is_over() || later.may_have_arrived || !later.may_be_grouped() {
            apart.insert(id);
        }
        if apart.contains(&id) {
            continue;
        }
        between.entry(id).or_default().push(later);
        if facts.event == Event::Up {
            for told in between.remove(&id).unwrap_or_default() {
                item.add(&told.told.facts);
                attempt.merged.push(told.clone());
            }
        }
    }
    if !attempt.merged.is_empty() {
        digest::sort(&mut items);
        attempt.notification = digest::told(attempt.notification, items);
        attempt.notification.told_late = true;
    }
    attempt
}
