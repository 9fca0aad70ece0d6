//! The feed: what happens at this moment, for whoever looks on. A ring of events in memory, numbered without gaps.
//!
//! Whoever publishes never waits for whoever reads: a reader holds nothing but its place, and one that the ring has
//! left behind is told so ([`Read::Reset`]) and goes on from now. It decides nothing, and what it forgets is still in
//! the database: it is a convenience, not a record.

mod event;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use event::{EndpointFilter, Event, EventKind, Filter, IncidentNews, NotificationNews, StatusNews, TroubleCode};

/// What the ring keeps at most, whichever comes first. Beyond it the oldest events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub events: usize,
    /// As estimated by [`Event::bytes`].
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 4_096, bytes: 4 << 20 }
    }
}

/// Events looked at under one taking of the lock, so that a reader with much to catch up on holds up nobody.
const LOOK: usize = 256;

/// The newest events of this process.
#[derive(Debug)]
pub struct Feed {
    /// Tells the ids of this process's life from those of others.
    life: String,
    limits: Limits,
    ring: Mutex<Ring>,
    news: watch::Sender<()>,
}

/// The events `newest - events.len() + 1 ..= newest`.
#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    newest: u64,
}

/// Why a reader has to begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The id it asked to go on from is of another life of the process, or of none.
    Unknown,
    /// The events after that id are no longer there.
    Behind,
}

impl ResetReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Behind => "behind",
        }
    }
}

/// What a reader finds.
#[derive(Debug, Clone)]
pub enum Read {
    /// In their order, each with its number.
    Events(Vec<(u64, Arc<Event>)>),
    /// Something was missed: what is known must be read again from elsewhere. The reader goes on from now.
    Reset(ResetReason),
    /// Nothing that the reader has not seen or does not want.
    Nothing,
}

impl Default for Feed {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Feed {
    pub fn new(limits: Limits) -> Self {
        let life = uuid::Uuid::new_v4().simple().to_string()[..16].to_owned();
        Self { life, limits, ring: Mutex::default(), news: watch::Sender::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits for readers.
    pub fn publish(&self, event: Event) {
        self.publish_all([event]);
    }

    /// Several at once, which wake whoever waits once.
    pub fn publish_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_none() {
            return;
        }
        for event in events {
            self.lock().push(event, self.limits);
        }
        self.news.send_replace(());
    }

    /// Counts events that could not be kept until they were published: no reader can have seen all from here on.
    pub fn lose(&self, events: u64) {
        if events == 0 {
            return;
        }
        let mut ring = self.lock();
        ring.events.clear();
        (ring.bytes, ring.newest) = (0, ring.newest + events);
        drop(ring);
        self.news.send_replace(());
    }

    /// The id of an event, or of a place after it, as clients know it.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.life)
    }

    /// A reader of what comes after the event `after`, which may be of another life or none at all; without it of what
    /// comes from now on.
    pub fn subscribe(self: &Arc<Self>, after: Option<&str>) -> Reader {
        let newest = self.lock().newest;
        let number = after.map(|id| {
            let (life, number) = id.rsplit_once('-')?;
            let number: u64 = number.parse().ok()?;
            (life == self.life && number <= newest).then_some(number)
        });
        let (seen, reset) = match number {
            None => (newest, None),
            Some(Some(number)) => (number, None),
            Some(None) => (newest, Some(ResetReason::Unknown)),
        };
        Reader { feed: self.clone(), seen, reset, news: self.news.subscribe() }
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.news.receiver_count()
    }
}

impl Ring {
    fn push(&mut self, event: Event, limits: Limits) {
        self.newest += 1;
        self.bytes += event.bytes();
        self.events.push_back(Arc::new(event));
        // An event that is larger than the whole ring goes too: then everybody is behind.
        while self.events.len() > limits.events || self.bytes > limits.bytes {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= gone.bytes();
        }
    }
}

/// A place in the feed.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    /// The number of the newest event that was seen or passed over.
    seen: u64,
    reset: Option<ResetReason>,
    news: watch::Receiver<()>,
}

impl Reader {
    /// Whether it began with an id that is not known, and has not read so yet.
    pub fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// The id to go on from.
    pub fn place(&self) -> String {
        self.feed.id(self.seen)
    }

    /// The id of an event that was read.
    pub fn id(&self, number: u64) -> String {
        self.feed.id(number)
    }

    /// The next events that the filter lets through, of about so many bytes at most, one at least.
    pub fn read(&mut self, filter: &Filter, bytes: usize) -> Read {
        if let Some(reason) = self.reset.take() {
            return Read::Reset(reason);
        }
        // Before looking, so that what comes after the look wakes.
        self.news.borrow_and_update();
        let (mut found, mut size) = (Vec::new(), 0);
        loop {
            let ring = self.feed.lock();
            let oldest = ring.newest + 1 - ring.events.len() as u64;
            if self.seen + 1 < oldest {
                if found.is_empty() {
                    self.seen = ring.newest;
                    return Read::Reset(ResetReason::Behind);
                }
                // What was found is told first.
                return Read::Events(found);
            }
            if self.seen == ring.newest {
                return if found.is_empty() { Read::Nothing } else { Read::Events(found) };
            }
            let begin = usize::try_from(self.seen + 1 - oldest).unwrap_or(usize::MAX);
            for event in ring.events.iter().skip(begin).take(LOOK) {
                if filter.lets_through(event) {
                    if size + event.bytes() > bytes && !found.is_empty() {
                        return Read::Events(found);
                    }
                    size += event.bytes();
                    found.push((self.seen + 1, event.clone()));
                }
                self.seen += 1;
            }
        }
    }

    /// Returns when there may be something new.
    pub async fn wait(&mut self) {
        // The feed lives as long as its readers: it cannot be closed.
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::from_micros;

    fn event(number: u64) -> Event {
        let code = if number.is_multiple_of(3) { TroubleCode::JobFailed } else { TroubleCode::DatabaseAway };
        Event::trouble(from_micros(0), code, "s", &format!("number {number}"))
    }

    fn config(number: u64) -> Event {
        Event::config(from_micros(0), "somebody", None, &format!("number {number}"), "s")
    }

    fn number_of(event: &Event) -> u64 {
        let data: serde_json::Value = serde_json::from_str(event.data()).unwrap();
        let text = data["message"].as_str().or(data["action"].as_str()).unwrap();
        text.strip_prefix("number ").unwrap().parse().unwrap()
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Publish(u8),
        Lose(u8),
        Read { reader: usize, bytes: usize },
        Reconnect { reader: usize },
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            5 => (0_u8..12).prop_map(Deed::Publish),
            1 => (0_u8..3).prop_map(Deed::Lose),
            6 => (0_usize..4, 0_usize..3_000).prop_map(|(reader, bytes)| Deed::Read { reader, bytes }),
            1 => (0_usize..4).prop_map(|reader| Deed::Reconnect { reader }),
        ]
    }

    proptest! {
        /// Each reader sees every event it wants, each once, in order, unless it is told of a reset; then from some
        /// later one on. Reconnecting changes nothing.
        #[test]
        fn whatever_happens_no_reader_misses_anything_without_being_told(
            deeds in proptest::collection::vec(deed(), 1..200),
            events in 1_usize..40,
            bytes in 200_usize..8_000,
        ) {
            let feed = Arc::new(Feed::new(Limits { events, bytes }));
            let wants = |reader: usize| if reader == 3 { Filter::of([EventKind::Config]) } else { Filter::default() };
            let mut readers: Vec<Reader> = (0..4).map(|_| feed.subscribe(None)).collect();
            // What each reader expects next, if nothing is lost.
            let mut published: Vec<Option<EventKind>> = vec![None];
            let mut seen = [0_u64; 4];
            for deed in deeds {
                match deed {
                    Deed::Publish(count) => {
                        let from = published.len() as u64;
                        let made: Vec<Event> = (from..from + u64::from(count))
                            .map(|n| if n.is_multiple_of(2) { event(n) } else { config(n) })
                            .collect();
                        published.extend(made.iter().map(|event| Some(event.kind())));
                        feed.publish_all(made);
                    }
                    Deed::Lose(count) => {
                        published.extend((0..count).map(|_| None));
                        feed.lose(u64::from(count));
                    }
                    Deed::Reconnect { reader } => readers[reader] = feed.subscribe(Some(&readers[reader].place())),
                    Deed::Read { reader, bytes } => {
                        let newest = published.len() as u64 - 1;
                        match readers[reader].read(&wants(reader), bytes) {
                            Read::Reset(reason) => {
                                prop_assert_eq!(reason, ResetReason::Behind);
                                prop_assert!(seen[reader] < newest, "there was nothing to miss");
                                seen[reader] = newest;
                            }
                            Read::Nothing => {
                                let wanted = |n: u64| match published[usize::try_from(n).unwrap()] {
                                    Some(kind) => reader != 3 || kind == EventKind::Config,
                                    None => true,
                                };
                                prop_assert!(!(seen[reader] + 1..=newest).any(wanted), "something was passed over");
                                seen[reader] = newest;
                            }
                            Read::Events(found) => {
                                prop_assert!(!found.is_empty());
                                for (number, event) in found {
                                    prop_assert_eq!(number_of(&event), number);
                                    for between in seen[reader] + 1..number {
                                        let kind = published[usize::try_from(between).unwrap()];
                                        let unwanted = reader == 3 && kind.is_some_and(|kind| kind != EventKind::Config);
                                        prop_assert!(unwanted, "{between} was passed over before {number}");
                                    }
                                    prop_assert!(number > seen[reader], "{number} again");
                                    seen[reader] = number;
                                }
                            }
                        }
                    }
                }
                let ring = feed.lock();
                prop_assert!(ring.events.len() <= events && ring.bytes <= bytes);
                prop_assert_eq!(ring.bytes, ring.events.iter().map(|event| event.bytes()).sum::<usize>());
            }
        }
    }

    #[test]
    fn an_id_of_another_life_or_of_none_begins_anew() {
        let (feed, other) = (Arc::new(Feed::default()), Arc::new(Feed::default()));
        feed.publish_all((1..=5).map(event));
        let all = Filter::default();
        let ahead = feed.id(6);
        for id in [&other.id(3), &ahead, "", "-", "3", "nonsense", &feed.id(3).replace('-', "_"), "é-1"] {
            let mut reader = feed.subscribe(Some(id));
            assert!(matches!(reader.read(&all, 10_000), Read::Reset(ResetReason::Unknown)), "{id}");
            assert_eq!(reader.place(), feed.id(5));
            assert!(matches!(reader.read(&all, 10_000), Read::Nothing), "{id}");
        }
        let mut reader = feed.subscribe(Some(&feed.id(3)));
        let Read::Events(found) = reader.read(&all, 10_000) else { panic!("nothing was found") };
        assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn what_is_larger_than_the_ring_is_a_reset_and_no_trap() {
        let feed = Arc::new(Feed::new(Limits { events: 10, bytes: 1_000 }));
        let mut reader = feed.subscribe(None);
        feed.publish(Event::trouble(from_micros(0), TroubleCode::JobFailed, "s", &"x".repeat(2_000)));
        assert!(matches!(reader.read(&Filter::default(), 100), Read::Reset(ResetReason::Behind)));
        feed.publish(event(2));
        assert!(matches!(reader.read(&Filter::default(), 100), Read::Events(found) if found[0].0 == 2));
    }

    #[test]
    fn threads_that_publish_and_read_at_once_agree() {
        const EACH: u64 = 3_000;
        let feed = Arc::new(Feed::new(Limits { events: 64, bytes: 1 << 20 }));
        let readers: Vec<Reader> = (0..4).map(|_| feed.subscribe(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..EACH).for_each(|n| feed.publish(event(n))));
            }
            for mut reader in readers {
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < 2 * EACH {
                        match reader.read(&Filter::default(), 5_000) {
                            Read::Events(found) => {
                                for (number, _) in found {
                                    assert_eq!(number, seen + 1);
                                    seen = number;
                                }
                            }
                            Read::Reset(_) => {
                                let place = reader.place();
                                let at: u64 = place.rsplit_once('-').unwrap().1.parse().unwrap();
                                assert!(at > seen);
                                seen = at;
                            }
                            Read::Nothing => std::thread::yield_now(),
                        }
                    }
                });
            }
        });
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_what_comes_after_the_look() {
        let feed = Arc::new(Feed::default());
        let mut reader = feed.subscribe(None);
        for n in 1..100 {
            assert!(matches!(reader.read(&Filter::default(), 1_000), Read::Nothing));
            let publisher = feed.clone();
            let ((), ()) = tokio::join!(reader.wait(), async move { publisher.publish(event(n)) });
            assert!(matches!(reader.read(&Filter::default(), 1_000), Read::Events(found) if found[0].0 == n));
        }
        assert_eq!(feed.readers(), 1);
        drop(reader);
        assert_eq!(feed.readers(), 0);
    }
}
