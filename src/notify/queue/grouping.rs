//! Which messages go out at once, which wait for a digest, and what digests are due.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;

use super::item::{Item, Lane, in_lanes, plan};
use super::{Queue, Reading};
use crate::domain::Timestamp;
use crate::domain::grouping::digest::digest;
use crate::domain::grouping::{Admission, GroupingPolicy, MOST_IN_A_DIGEST, Windows};
use crate::handover::{FROM_MEMORY, Handed, Told};
use crate::store::outbox::{DeliveryState, Lately, Standing};

/// A digest and the messages that it tells.
#[derive(Debug, Clone)]
pub(in crate::notify) struct Grouped {
    pub(in crate::notify) digest: Handed,
    /// How those stand that it tells.
    pub(in crate::notify) standings: Vec<(String, Standing)>,
    /// These messages, in the same order.
    pub(in crate::notify) messages: Vec<Arc<Told>>,
    /// It was handed over before its rows were written.
    pub(in crate::notify) from_memory: bool,
}

/// What is known of the windows of a channel.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    windows: Windows,
    /// May go out by themselves.
    alone: HashSet<String>,
    /// In a digest whose rows are being written.
    being_grouped: HashSet<String>,
    /// Digests that were just written, until the rows are read that say so.
    pub(super) fresh: Vec<Item>,
}

impl Queue {
    /// Decides of what is due whether it goes out at once. `policy`: `None` where nothing is grouped.
    pub(in crate::notify) fn admit(&mut self, policy: Option<&GroupingPolicy>, busy: &HashSet<Lane>, now: Timestamp) {
        let mut decided: Vec<(Item, Option<Timestamp>)> = Vec::new();
        for waiting in in_lanes(self.items()) {
            let Some(first) = waiting.first().filter(|first| first.may_be_grouped()) else { continue };
            let Some(policy) = policy else {
                if first.held_until.is_some() {
                    decided.push((first.clone(), None));
                }
                continue;
            };
            let is_later = |item: &Item| item.next_attempt_at.is_some_and(|at| at > now);
            if first.held_until.is_some()
                || self.grouping.alone.contains(first.id())
                || first.lanes().iter().any(|lane| busy.contains(lane))
                || is_later(first)
            {
                continue;
            }
            let attempt = plan(&waiting, first);
            if is_later(&attempt.item) {
                continue;
            }
            // What is tried again counts as one more message now, and so does what waited behind such a one.
            let tried = first.attempts + attempt.item.attempts > 0;
            let window = TimeDelta::from_std(policy.window).unwrap_or_default();
            let at = if tried || first.created_at + window <= now { now } else { first.created_at };
            match self.grouping.windows.admit(policy, at, now) {
                // It may have arrived under its own id, so it is told under that.
                Admission::Held { until } if !first.may_have_arrived && !attempt.item.may_have_arrived => {
                    decided.push((first.clone(), Some(until)));
                }
                _ => {
                    self.grouping.alone.insert(first.id().to_owned());
                }
            }
        }
        for (item, until) in decided {
            self.hold(&item, until, now);
        }
    }

    /// Holds a message, or with `None` lets it go.
    fn hold(&mut self, item: &Item, until: Option<Timestamp>, now: Timestamp) {
        if until.is_none() {
            self.grouping.alone.insert(item.id().to_owned());
        }
        let next_attempt_at = Some(until.unwrap_or(now));
        let standing = Standing { next_attempt_at, held_until: until, ..item.standing(DeliveryState::Pending) };
        self.note(item.id(), standing);
    }

    /// Takes what a process before this one decided, or would have: `lately` is what the channel was to deliver. What
    /// would have been held was not attempted, whatever its row says.
    pub(super) fn resume(&mut self, policy: &GroupingPolicy, lately: &[Lately], now: Timestamp) {
        self.grouping.windows = Windows::default();
        let pending: HashMap<String, Item> =
            self.items().into_iter().map(|item| (item.id().to_owned(), item)).collect();
        for sent in lately {
            if let Some(until) = sent.held_until {
                self.grouping.windows.resume(until);
                continue;
            }
            let admission = self.grouping.windows.admit(policy, sent.created_at, now);
            // What this process let go may be under way.
            let is_open = |item: &&Item| item.held_until.is_none() && !self.grouping.alone.contains(item.id());
            let Some(item) = pending.get(&sent.notification_id).filter(is_open) else { continue };
            match admission {
                Admission::Held { until } if item.attempts == 0 => {
                    let item = Item { may_have_arrived: false, ..item.clone() };
                    self.hold(&item, Some(until), now);
                }
                _ => {
                    self.grouping.alone.insert(item.id().to_owned());
                }
            }
        }
    }

    /// The digests that are due. What would be alone in one goes out by itself.
    pub(in crate::notify) fn due_digests(&mut self, channel: &str, now: Timestamp) -> Vec<Grouped> {
        let mut windows: BTreeMap<Timestamp, Vec<Vec<Item>>> = BTreeMap::new();
        for waiting in in_lanes(self.items()) {
            let Some((first, until)) = waiting.first().and_then(|first| Some((first.clone(), first.held_until?)))
            else {
                continue;
            };
            if until > now || self.grouping.being_grouped.contains(first.id()) {
                continue;
            }
            // What came since the end of the window is told after the digest, so that the same digest is made again
            // after a restart.
            let with = |item: &Item| item.created_at < until && !item.may_have_arrived && item.may_be_grouped();
            let rest = waiting.into_iter().skip(1).take_while(with);
            windows.entry(until).or_default().push(std::iter::once(first).chain(rest).collect());
        }
        let mut due = Vec::new();
        for (until, lanes) in windows {
            for lanes in lanes.chunks(MOST_IN_A_DIGEST) {
                match lanes {
                    [alone] => self.hold(&alone[0], None, now),
                    _ => due.extend(group(channel, until, &lanes.concat(), now)),
                }
            }
        }
        for grouped in &due {
            self.grouping.being_grouped.extend(grouped.standings.iter().map(|(id, _)| id.clone()));
        }
        due
    }

    /// The rows of a digest are written. Its messages are settled, and it is to be delivered.
    pub(in crate::notify) fn grouped(&mut self, grouped: &Grouped) {
        let without_rows: HashSet<String> = self.without_rows();
        self.settle(grouped);
        let written = grouped.standings.iter().filter(|(id, _)| !without_rows.contains(id)).cloned();
        self.recorded(written.collect());
        if !grouped.from_memory {
            self.grouping.fresh.push(Item {
                told: grouped.digest.told.clone(),
                created_at: grouped.digest.created_at,
                attempts: 0,
                may_have_arrived: false,
                next_attempt_at: None,
                last_attempt_at: None,
                held_until: None,
                from_memory: false,
            });
        }
    }

    /// A digest whose rows cannot be written is told from memory, and says so. Its messages are settled by it.
    pub(in crate::notify) fn group_from_memory(&mut self, grouped: &mut Grouped) {
        let mut told = (*grouped.digest.told).clone();
        told.facts.remarks.push(FROM_MEMORY.to_owned());
        (grouped.digest.told, grouped.from_memory) = (Arc::new(told), true);
        self.settle(grouped);
    }

    fn settle(&mut self, grouped: &Grouped) {
        for (id, standing) in &grouped.standings {
            self.note(id, standing.clone());
        }
    }

    /// What was alone may be grouped when it is tried again.
    pub(in crate::notify) fn try_again(&mut self, id: &str) {
        self.grouping.alone.remove(id);
    }

    /// What is gone need not be remembered.
    pub(super) fn forget_settled(&mut self, reading: &Reading) {
        self.grouping.fresh.retain(|item| !reading.fresh.contains(item.id()));
        let waiting: HashSet<String> = self.items().iter().map(|item| item.id().to_owned()).collect();
        self.grouping.alone.retain(|id| waiting.contains(id));
        self.grouping.being_grouped.retain(|id| waiting.contains(id));
    }
}

/// The digest of these, which are each in the order of their endpoint.
fn group(channel: &str, until: Timestamp, items: &[Item], now: Timestamp) -> Option<Grouped> {
    let messages: Vec<_> = items.iter().map(|item| &item.told.facts).collect();
    let facts = digest(&messages)?;
    let standing = |item: &Item| Standing {
        held_until: item.held_until.or(Some(until)),
        digest: Some(facts.id.clone()),
        finished_at: Some(now),
        ..item.standing(DeliveryState::Grouped)
    };
    let standings = items.iter().map(|item| (item.id().to_owned(), standing(item))).collect();
    let told = Told { facts, endpoint: None, incident: None, first_of_incident: None };
    let digest = Handed { told: Arc::new(told), channels: vec![channel.to_owned()], created_at: now };
    let messages = items.iter().map(|item| item.told.clone()).collect();
    Some(Grouped { digest, standings, messages, from_memory: false })
}
