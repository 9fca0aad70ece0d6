//! What one channel has to deliver, from its rows and from memory, and what was done about it. Pure.
//!
//! The rows are the truth as long as they can be read and written. What was attempted is kept here until it stands in
//! the rows too, so that a database that is away neither holds up a channel nor makes it send anything twice.

mod grouping;
mod item;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::grouping::GroupingPolicy;
use crate::handover::{Told, Waiting};
use crate::store::outbox::{Delivery, DeliveryState, Lately, Standing};
use grouping::Grouping;
use item::{in_lanes, plan};

pub(super) use grouping::Grouped;
pub(super) use item::{Attempt, Item, Lane};

/// Pending rows as they were read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) deliveries: Vec<Delivery>,
    /// What the notifications tell that were not known.
    pub(super) told: Vec<Arc<Told>>,
    /// There are no more.
    pub(super) complete: bool,
    /// What the channel was to deliver lately, if that was asked for.
    pub(super) lately: Option<Vec<Lately>>,
}

/// A read under way: what was known when it began.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Rows of these were written.
    stored: HashSet<String>,
    /// These stood in the rows, and how.
    recorded: Vec<(String, Standing)>,
    /// These digests were written.
    fresh: HashSet<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    standing: Standing,
    recorded: bool,
}

/// What one channel has to deliver.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// As last read, in their order.
    rows: Vec<Item>,
    /// More rows are pending than were read.
    more: bool,
    told: HashMap<String, Arc<Told>>,
    handed: Vec<Waiting>,
    /// What was done since the rows were read.
    ledger: HashMap<String, Entry>,
    /// The rows can be read.
    readable: bool,
    read_once: bool,
    grouping: Grouping,
    /// It is known what the channel was to deliver before this process began.
    resumed: bool,
}

impl Queue {
    /// Whether something may be attempted: not before the rows were read, or could not be.
    pub(super) fn is_known(&self) -> bool {
        self.read_once
    }

    /// Whether it is known what the channel was to deliver before this process began.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// How many rows are covered by what was done since.
    pub(super) fn covered(&self) -> usize {
        self.ledger.len()
    }

    /// Whether a notification's content is known.
    pub(super) fn known(&self) -> HashSet<String> {
        self.told.keys().cloned().collect()
    }

    /// What is in memory, in its order.
    pub(super) fn take_handed(&mut self, handed: Vec<Waiting>) {
        self.handed = handed;
    }

    pub(super) fn begin_reading(&self) -> Reading {
        Reading {
            stored: self.handed.iter().filter(|w| w.stored).map(|w| w.told.facts.id.clone()).collect(),
            recorded: self
                .ledger
                .iter()
                .filter(|(_, entry)| entry.recorded)
                .map(|(id, entry)| (id.clone(), entry.standing.clone()))
                .collect(),
            fresh: self.grouping.fresh.iter().map(|item| item.id().to_owned()).collect(),
        }
    }

    /// Takes in the rows as they were read. Gives what is in memory and need not be any longer.
    pub(super) fn take_rows(
        &mut self,
        reading: Reading,
        rows: Rows,
        policy: &GroupingPolicy,
        now: Timestamp,
    ) -> Vec<String> {
        (self.readable, self.read_once, self.more) = (true, true, !rows.complete);
        for told in rows.told {
            self.told.insert(told.facts.id.clone(), told);
        }
        self.rows = rows.deliveries.iter().filter_map(|row| self.item_of(row)).collect();
        let pending: HashSet<String> = self.rows.iter().map(|item| item.id().to_owned()).collect();
        self.told.retain(|id, _| pending.contains(id.as_str()));
        self.forget_settled(&reading);
        if let Some(lately) = &rows.lately {
            self.resume(policy, lately, now);
            self.resumed = true;
        }
        let mut finished = Vec::new();
        for (id, standing) in reading.recorded {
            // Recorded before the read, so the rows say it now; unless something newer was noted meanwhile.
            if self.ledger.get(&id).is_some_and(|entry| entry.recorded && entry.standing == standing) {
                self.ledger.remove(&id);
                if standing.state != DeliveryState::Pending && !pending.contains(id.as_str()) {
                    finished.push(id);
                }
            }
        }
        if !rows.complete {
            // What is not seen may be pending beyond what was read, but not what is finished.
            return finished;
        }
        let settled = |id: &String| !pending.contains(id.as_str()) && !self.ledger.contains_key(id);
        reading.stored.into_iter().filter(settled).collect()
    }

    fn item_of(&self, row: &Delivery) -> Option<Item> {
        Some(Item {
            told: self.told.get(&row.notification_id)?.clone(),
            created_at: row.created_at,
            attempts: row.attempts,
            may_have_arrived: row.may_have_arrived,
            next_attempt_at: row.next_attempt_at,
            last_attempt_at: row.last_attempt_at,
            held_until: row.held_until,
            from_memory: false,
        })
    }

    /// The rows cannot be read, or not soon enough: what was read last and what is in memory counts.
    pub(super) fn cannot_read(&mut self) {
        (self.readable, self.read_once) = (false, true);
    }

    /// What is not delivered, in order: what has rows before what has none yet, and digests, which tell what was before
    /// all that waits for them, first.
    pub(super) fn items(&self) -> Vec<Item> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut items = Vec::with_capacity(self.rows.len());
        for digest in &self.grouping.fresh {
            seen.insert(digest.id());
            items.extend(self.as_it_stands(digest.clone()));
        }
        for row in &self.rows {
            if !seen.insert(row.id()) {
                continue;
            }
            items.extend(self.as_it_stands(Item { from_memory: !self.readable, ..row.clone() }));
        }
        for waiting in &self.handed {
            // With all rows known they alone say what is pending.
            let is_in_rows = waiting.stored && self.readable && !self.more;
            if seen.contains(waiting.told.facts.id.as_str()) || is_in_rows {
                continue;
            }
            items.extend(self.as_it_stands(Item {
                told: waiting.told.clone(),
                created_at: waiting.created_at,
                attempts: 0,
                may_have_arrived: false,
                next_attempt_at: None,
                last_attempt_at: None,
                held_until: None,
                from_memory: true,
            }));
        }
        // Both in their order.
        items.sort_by_key(|item| !item.is_digest());
        items
    }

    fn as_it_stands(&self, item: Item) -> Option<Item> {
        match self.ledger.get(item.id()) {
            None => Some(item),
            Some(Entry { standing, .. }) => (standing.state == DeliveryState::Pending).then_some(Item {
                attempts: standing.attempts,
                may_have_arrived: standing.may_have_arrived,
                next_attempt_at: standing.next_attempt_at,
                last_attempt_at: standing.last_attempt_at,
                held_until: standing.held_until,
                ..item
            }),
        }
    }

    /// The attempts that are due, at most `limit`, and how long until the next one is.
    pub(super) fn next(&self, busy: &HashSet<Lane>, limit: usize, now: Timestamp) -> (Vec<Attempt>, Option<Duration>) {
        let mut attempts = Vec::new();
        let mut next_in: Option<Duration> = None;
        let mut wait = |pause: Duration| next_in = Some(next_in.map_or(pause, |next| next.min(pause)));
        let until =
            |item: &Item| item.next_attempt_at.filter(|at| *at > now).map(|at| (at - now).to_std().unwrap_or_default());
        for waiting in in_lanes(self.items()) {
            let Some(first) = waiting.first() else { continue };
            if first.lanes().iter().any(|lane| busy.contains(lane)) {
                continue;
            }
            if let Some(held_until) = first.held_until {
                // A digest that is due is being made.
                if held_until > now {
                    wait((held_until - now).to_std().unwrap_or_default());
                }
            } else if let Some(pause) = until(first) {
                wait(pause);
            } else if attempts.len() < limit {
                let attempt = plan(&waiting, first);
                // The one that stands for the oldest may have its own pause to keep.
                match until(&attempt.item) {
                    Some(pause) => wait(pause),
                    None => attempts.push(attempt),
                }
            }
        }
        (attempts, next_in)
    }

    /// Notes how a notification stands; it is kept until the rows say so too.
    pub(super) fn note(&mut self, id: &str, standing: Standing) {
        self.ledger.insert(id.to_owned(), Entry { standing, recorded: false });
    }

    /// What the rows do not say and could: their rows are there, as far as is known.
    pub(super) fn to_record(&self) -> Vec<(String, Standing)> {
        let with_rows: HashSet<&str> = self
            .rows
            .iter()
            .map(Item::id)
            .chain(self.handed.iter().filter(|waiting| waiting.stored).map(|waiting| waiting.told.facts.id.as_str()))
            .collect();
        // What is in memory without rows waits for them; what is nowhere any longer is recorded where it may be.
        let without: HashSet<&str> = self.handed.iter().map(|waiting| waiting.told.facts.id.as_str()).collect();
        let mut left: Vec<_> = self
            .ledger
            .iter()
            .filter(|(id, entry)| {
                !entry.recorded && (with_rows.contains(id.as_str()) || !without.contains(id.as_str()))
            })
            .map(|(id, entry)| (id.clone(), entry.standing.clone()))
            .collect();
        left.sort_by(|a, b| a.0.cmp(&b.0));
        left
    }

    /// What is in memory and has no rows yet.
    fn without_rows(&self) -> HashSet<String> {
        let unstored = self.handed.iter().filter(|waiting| !waiting.stored);
        unstored.map(|waiting| waiting.told.facts.id.clone()).collect()
    }

    /// How many outcomes the rows do not have.
    pub(super) fn unrecorded(&self) -> usize {
        self.ledger.values().filter(|entry| !entry.recorded).count()
    }

    /// The rows say so now, unless more was done meanwhile.
    pub(super) fn recorded(&mut self, done: Vec<(String, Standing)>) {
        for (id, standing) in done {
            if let Some(entry) = self.ledger.get_mut(&id).filter(|entry| entry.standing == standing) {
                entry.recorded = true;
            }
        }
    }
}

#[cfg(test)]
mod grouping_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;
