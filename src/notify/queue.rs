//! What one channel has to deliver, from its rows and from memory, and what was done about it. Pure.
//!
//! The rows are the truth as long as they can be read and written. What was attempted is kept here until it stands in
//! the rows too, so that a database that is away neither holds up a channel nor makes it send anything twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::notification::{Event, Notification};
use crate::handover::{Told, Waiting};
use crate::store::outbox::{Delivery, DeliveryState, Standing};

/// What an attempt is about, so that no two of the same endpoint or alert rule are under way. What is about neither has
/// a lane of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Endpoint(i64),
    /// The id of the rule.
    Alert(String),
    /// What begins is told before what is over.
    OwnNetwork,
    Alone(String),
}

/// One notification that this channel has not delivered.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) told: Arc<Told>,
    pub(super) created_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) may_have_arrived: bool,
    pub(super) next_attempt_at: Option<Timestamp>,
    pub(super) last_attempt_at: Option<Timestamp>,
    /// Its rows are not written, or cannot be read.
    pub(super) from_memory: bool,
}

impl Item {
    pub(super) fn id(&self) -> &str {
        &self.told.facts.id
    }

    pub(super) fn lane(&self) -> Lane {
        match (self.told.endpoint, &self.told.facts.alert) {
            (Some(id), _) => Lane::Endpoint(id.0),
            (None, Some(alert)) => Lane::Alert(alert.alert_id.clone()),
            (None, None) if self.told.facts.event == Event::Blind => Lane::OwnNetwork,
            (None, None) => Lane::Alone(self.id().to_owned()),
        }
    }
}

/// A message and the notifications that it settles.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) item: Item,
    pub(super) notification: Notification,
    /// Told by this message too, because they could not be told before.
    pub(super) merged: Vec<Item>,
}

/// Pending rows as they were read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) deliveries: Vec<Delivery>,
    /// What the notifications tell that were not known.
    pub(super) told: Vec<Arc<Told>>,
    /// There are no more.
    pub(super) complete: bool,
}

/// A read under way: what was known when it began.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Rows of these were written.
    stored: HashSet<String>,
    /// These stood in the rows, and how.
    recorded: Vec<(String, Standing)>,
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
}

impl Queue {
    /// Whether something may be attempted: not before the rows were read, or could not be.
    pub(super) fn is_known(&self) -> bool {
        self.read_once
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
        }
    }

    /// Takes in the rows as they were read. Gives what is in memory and need not be any longer.
    pub(super) fn take_rows(&mut self, reading: Reading, rows: Rows) -> Vec<String> {
        (self.readable, self.read_once, self.more) = (true, true, !rows.complete);
        for told in rows.told {
            self.told.insert(told.facts.id.clone(), told);
        }
        self.rows = rows.deliveries.iter().filter_map(|row| self.item_of(row)).collect();
        let pending: HashSet<&str> = self.rows.iter().map(Item::id).collect();
        self.told.retain(|id, _| pending.contains(id.as_str()));
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
            from_memory: false,
        })
    }

    /// The rows cannot be read, or not soon enough: what was read last and what is in memory counts.
    pub(super) fn cannot_read(&mut self) {
        (self.readable, self.read_once) = (false, true);
    }

    /// What is not delivered, in order: what has rows before what has none yet.
    pub(super) fn items(&self) -> Vec<Item> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut items = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            seen.insert(row.id());
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
                from_memory: true,
            }));
        }
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
                ..item
            }),
        }
    }

    /// The attempts that are due, at most `limit`, and how long until the next one is.
    pub(super) fn next(&self, busy: &HashSet<Lane>, limit: usize, now: Timestamp) -> (Vec<Attempt>, Option<Duration>) {
        let mut lanes: Vec<Vec<Item>> = Vec::new();
        let mut index: HashMap<Lane, usize> = HashMap::new();
        for item in self.items() {
            let at = *index.entry(item.lane()).or_insert_with(|| {
                lanes.push(Vec::new());
                lanes.len() - 1
            });
            lanes[at].push(item);
        }
        let mut attempts = Vec::new();
        let mut next_in: Option<Duration> = None;
        let mut wait = |pause: Duration| next_in = Some(next_in.map_or(pause, |next| next.min(pause)));
        let until =
            |item: &Item| item.next_attempt_at.filter(|at| *at > now).map(|at| (at - now).to_std().unwrap_or_default());
        for waiting in lanes {
            let Some(first) = waiting.first() else { continue };
            if busy.contains(&first.lane()) {
                continue;
            }
            if let Some(pause) = until(first) {
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

/// The attempt that the oldest of a lane calls for. A down, or an alert, that was never told, and is over, becomes one
/// message with its recovery.
fn plan(waiting: &[Item], first: &Item) -> Attempt {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::EndpointId;
    use crate::notify::testing::with_event;

    fn now() -> Timestamp {
        "2026-11-21T07:00:00Z".parse().unwrap()
    }

    fn told(id: &str, event: Event) -> Arc<Told> {
        let facts = Notification { id: id.to_owned(), ..with_event(event) };
        Arc::new(Told { facts, endpoint: Some(EndpointId(1)), incident: Some(7), first_of_incident: None })
    }

    fn handed(id: &str, event: Event, stored: bool) -> Waiting {
        Waiting { told: told(id, event), created_at: now(), stored }
    }

    fn row(id: &str) -> Delivery {
        Delivery {
            id: 1,
            notification_id: id.to_owned(),
            channel: "hook".to_owned(),
            endpoint: Some(EndpointId(1)),
            state: DeliveryState::Pending,
            attempts: 0,
            may_have_arrived: false,
            next_attempt_at: None,
            last_attempt_at: None,
            last_error: None,
            answer: None,
            created_at: now(),
            finished_at: None,
        }
    }

    fn rows(ids: &[(&str, Event)]) -> Rows {
        Rows {
            deliveries: ids.iter().map(|(id, _)| row(id)).collect(),
            told: ids.iter().map(|(id, event)| told(id, *event)).collect(),
            complete: true,
        }
    }

    fn delivered() -> Standing {
        Standing {
            state: DeliveryState::Delivered,
            attempts: 1,
            may_have_arrived: false,
            next_attempt_at: None,
            last_attempt_at: Some(now()),
            last_error: None,
            answer: None,
            finished_at: Some(now()),
        }
    }

    fn next(queue: &Queue) -> Vec<String> {
        let (attempts, _) = queue.next(&HashSet::new(), 9, now());
        attempts.iter().map(|attempt| attempt.item.id().to_owned()).collect()
    }

    #[test]
    fn what_is_written_is_told_by_its_rows_and_by_memory_once_they_cannot_be_read() {
        let mut queue = Queue::default();
        queue.take_handed(vec![handed("a", Event::Down, true), handed("b", Event::Reminder, false)]);
        assert!(!queue.is_known());
        let reading = queue.begin_reading();
        queue.take_rows(reading, rows(&[]));
        assert_eq!(next(&queue), ["b"], "the rows do not have `a` any longer, `b` has none yet");
        queue.cannot_read();
        assert_eq!(next(&queue), ["a"], "and `b` after it");
        assert!(queue.items().iter().all(|item| item.from_memory));
    }

    #[test]
    fn what_was_done_is_not_done_again_and_is_recorded_when_there_are_rows() {
        let mut queue = Queue::default();
        queue.cannot_read();
        queue.take_handed(vec![handed("a", Event::Down, false)]);
        queue.note("a", delivered());
        assert!(next(&queue).is_empty() && queue.to_record().is_empty() && queue.unrecorded() == 1);
        // The rows are written, and a read that began before sees them as they were.
        queue.take_handed(vec![handed("a", Event::Down, true)]);
        let (reading, to_record) = (queue.begin_reading(), queue.to_record());
        assert_eq!(to_record, [("a".to_owned(), delivered())]);
        queue.recorded(to_record);
        assert!(queue.take_rows(reading, rows(&[("a", Event::Down)])).is_empty());
        assert!(next(&queue).is_empty(), "recorded after that read had begun");
        let reading = queue.begin_reading();
        assert_eq!(queue.take_rows(reading, rows(&[])), ["a"], "nothing is left of it");
        assert_eq!((queue.covered(), next(&queue).len()), (0, 0));
    }

    #[test]
    fn a_slow_read_does_not_take_back_what_was_done_meanwhile() {
        let failed = Standing { state: DeliveryState::Pending, finished_at: None, ..delivered() };
        let mut queue = Queue::default();
        queue.take_handed(vec![handed("a", Event::Down, true)]);
        queue.cannot_read();
        queue.note("a", failed.clone());
        queue.recorded(vec![("a".to_owned(), failed)]);
        let reading = queue.begin_reading();
        queue.note("a", delivered());
        queue.take_rows(reading, rows(&[("a", Event::Down)]));
        assert!(next(&queue).is_empty(), "it was delivered while the rows were read");
        assert_eq!(queue.to_record(), [("a".to_owned(), delivered())]);
    }

    #[test]
    fn of_more_rows_than_are_read_nothing_is_told_twice_or_out_of_order() {
        let mut queue = Queue::default();
        queue.take_handed(vec![
            handed("done", Event::Reminder, true),
            handed("beyond", Event::Down, true),
            handed("new", Event::Reminder, false),
        ]);
        queue.cannot_read();
        queue.note("done", delivered());
        queue.recorded(vec![("done".to_owned(), delivered())]);
        let reading = queue.begin_reading();
        let settled = queue.take_rows(reading, Rows { complete: false, ..rows(&[]) });
        assert_eq!(settled, ["done"], "what is finished need not be kept, what was not seen must be");
        queue.take_handed(vec![handed("beyond", Event::Down, true), handed("new", Event::Reminder, false)]);
        assert_eq!(next(&queue), ["beyond"], "before what came after it");
    }

    #[test]
    fn alerts_of_a_rule_go_in_order_and_one_that_was_never_told_is_one_message_with_its_end() {
        let of_rule = |id: &str, event| {
            let Waiting { told, created_at, stored } = handed(id, event, false);
            let told = Arc::new(Told { endpoint: None, incident: None, ..(*told).clone() });
            Waiting { told, created_at, stored }
        };
        let mut queue = Queue::default();
        queue.cannot_read();
        queue.take_handed(vec![of_rule("fires", Event::AlertFiring), of_rule("over", Event::AlertResolved)]);
        let (attempts, _) = queue.next(&HashSet::new(), 9, now());
        assert_eq!((attempts.len(), attempts[0].item.id(), attempts[0].notification.told_late), (1, "over", true));
        assert_eq!(attempts[0].merged[0].id(), "fires");
        // Once it may have arrived both are told, one after the other.
        let doubtful = Standing { state: DeliveryState::Pending, may_have_arrived: true, ..delivered() };
        queue.note("fires", doubtful);
        assert_eq!(next(&queue), ["fires"]);
    }

    #[test]
    fn a_down_that_was_never_told_is_one_message_with_its_recovery_also_from_memory() {
        let mut queue = Queue::default();
        let reading = queue.begin_reading();
        queue.take_rows(reading, rows(&[("down", Event::Down)]));
        queue.cannot_read();
        queue.take_handed(vec![handed("up", Event::Up, false)]);
        let (attempts, _) = queue.next(&HashSet::new(), 9, now());
        assert_eq!((attempts.len(), attempts[0].item.id(), attempts[0].notification.told_late), (1, "up", true));
        assert_eq!(attempts[0].merged[0].id(), "down");
    }
}
