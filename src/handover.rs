//! Notifications in memory, handed by the recorder to the deliverers, so that people are told while the database is
//! away.
//!
//! It holds what was told lately and is not known to be settled in its rows. In ordinary times the deliverers go by the
//! rows alone and this is only kept; when the rows cannot be written, or cannot be read, they go by this. It decides
//! nothing and sends nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::notification::Notification;

/// The most notifications kept. When it is full those go that have rows; when none has, what is new is told only once
/// the database is back.
pub const CAPACITY: usize = 10_000;

/// What a message says that goes out before its rows are written.
pub const FROM_MEMORY: &str = "Told from memory: the monitor's database is away";

/// What a notification tells, and how messages of its incident belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub facts: Notification,
    pub endpoint: Option<EndpointId>,
    pub incident: Option<i64>,
    /// The first notification of the incident, under which mails thread.
    pub first_of_incident: Option<String>,
}

/// A notification and the channels that it goes to.
#[derive(Debug, Clone)]
pub struct Handed {
    pub told: Arc<Told>,
    pub channels: Vec<String>,
    pub created_at: Timestamp,
}

/// What one channel has to tell.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub told: Arc<Told>,
    pub created_at: Timestamp,
    /// Its rows are written.
    pub stored: bool,
}

#[derive(Debug)]
struct Entry {
    told: Arc<Told>,
    created_at: Timestamp,
    stored: bool,
    /// Channels that have not settled it.
    waiting: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// In the order in which they were handed over.
    entries: BTreeMap<u64, Entry>,
    numbers: HashMap<String, u64>,
}

/// The notifications in memory.
#[derive(Debug)]
pub struct Handover {
    capacity: usize,
    inner: Mutex<Inner>,
}

impl Default for Handover {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Handover {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a notification over; one that is there already, by its id, stays as it is, but for its rows being written.
    /// Returns whether there was room.
    pub fn hand(&self, handed: Handed, stored: bool) -> bool {
        let mut inner = self.lock();
        if let Some(entry) = inner.entry(&handed.told.facts.id) {
            entry.stored |= stored;
            return true;
        }
        if handed.channels.is_empty() {
            return true;
        }
        if inner.entries.len() >= self.capacity {
            let Some(number) = inner.entries.iter().find(|(_, entry)| entry.stored).map(|(number, _)| *number) else {
                return false;
            };
            inner.remove(number);
        }
        let number = inner.next;
        inner.next += 1;
        inner.numbers.insert(handed.told.facts.id.clone(), number);
        let Handed { told, channels, created_at } = handed;
        inner.entries.insert(number, Entry { told, created_at, stored, waiting: channels.into_iter().collect() });
        true
    }

    /// As [`hand`](Self::hand), and one that is there already is handed to further channels: a digest of the same
    /// messages is the same for each of them.
    pub fn hand_also(&self, handed: Handed, stored: bool) -> bool {
        let (id, channels) = (handed.told.facts.id.clone(), handed.channels.clone());
        let had_room = self.hand(handed, stored);
        if let Some(entry) = self.lock().entry(&id) {
            entry.waiting.extend(channels);
        }
        had_room
    }

    /// As [`hand`](Self::hand), of what has no rows yet, which the message says.
    pub fn hand_from_memory(&self, handed: Handed) -> bool {
        let mut told = (*handed.told).clone();
        told.facts.remarks.push(FROM_MEMORY.to_owned());
        self.hand(Handed { told: Arc::new(told), ..handed }, false)
    }

    /// The rows of a notification are written.
    pub fn stored(&self, id: &str) {
        if let Some(entry) = self.lock().entry(id) {
            entry.stored = true;
        }
    }

    /// Whether a notification is here, and not yet settled by every channel.
    pub fn holds(&self, id: &str) -> bool {
        self.lock().numbers.contains_key(id)
    }

    /// What a channel has not settled, in the order in which it was handed over.
    pub fn waiting_for(&self, channel: &str) -> Vec<Waiting> {
        let inner = self.lock();
        let of_channel = inner.entries.values().filter(|entry| entry.waiting.contains(channel));
        of_channel
            .map(|entry| Waiting { told: entry.told.clone(), created_at: entry.created_at, stored: entry.stored })
            .collect()
    }

    /// What a channel was to do with a notification is done, and recorded in its rows.
    pub fn settled(&self, channel: &str, id: &str) {
        let mut inner = self.lock();
        let Some(number) = inner.numbers.get(id).copied() else { return };
        let Some(entry) = inner.entries.get_mut(&number) else { return };
        entry.waiting.remove(channel);
        if entry.waiting.is_empty() {
            inner.remove(number);
        }
    }

    /// How many have no rows yet.
    pub fn unstored(&self) -> usize {
        self.lock().entries.values().filter(|entry| !entry.stored).count()
    }
}

impl Inner {
    fn entry(&mut self, id: &str) -> Option<&mut Entry> {
        let number = self.numbers.get(id)?;
        self.entries.get_mut(number)
    }

    fn remove(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.numbers.remove(&entry.told.facts.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::{Event, Notification};

    fn handed(id: &str, channels: &[&str]) -> Handed {
        let at: Timestamp = "2026-11-21T07:00:00Z".parse().unwrap();
        let facts = Notification::about("channel", String::new(), id.to_owned(), Event::Down, at);
        let told = Arc::new(Told { facts, endpoint: None, incident: None, first_of_incident: None });
        Handed { told, channels: channels.iter().map(|&name| name.to_owned()).collect(), created_at: at }
    }

    fn ids(handover: &Handover, channel: &str) -> Vec<String> {
        handover.waiting_for(channel).iter().map(|waiting| waiting.told.facts.id.clone()).collect()
    }

    #[test]
    fn each_channel_settles_for_itself_and_the_order_stays() {
        let handover = Handover::default();
        for id in ["b", "a", "c"] {
            assert!(handover.hand(handed(id, &["x", "y"]), false));
        }
        assert!(handover.hand(handed("a", &["x", "y"]), true), "again");
        assert!(handover.hand(handed("held", &[]), false));
        assert_eq!(ids(&handover, "x"), ["b", "a", "c"]);
        assert_eq!(handover.waiting_for("x").iter().map(|w| w.stored).collect::<Vec<_>>(), [false, true, false]);
        handover.settled("x", "b");
        assert_eq!((ids(&handover, "x"), ids(&handover, "y").len()), (vec!["a".to_owned(), "c".to_owned()], 3));
        assert!(handover.holds("b"));
        handover.settled("y", "b");
        assert!(!handover.holds("b"));
        assert_eq!(handover.unstored(), 1);
    }

    #[test]
    fn when_it_is_full_only_what_has_rows_makes_room() {
        let handover = Handover::with_capacity(2);
        assert!(handover.hand(handed("a", &["x"]), false));
        assert!(handover.hand(handed("b", &["x"]), true));
        assert!(handover.hand(handed("c", &["x"]), false));
        assert_eq!(ids(&handover, "x"), ["a", "c"]);
        assert!(!handover.hand(handed("d", &["x"]), false));
        handover.stored("a");
        assert!(handover.hand(handed("d", &["x"]), false));
        assert_eq!(ids(&handover, "x"), ["c", "d"]);
    }
}
