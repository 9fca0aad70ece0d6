//! The maintenance windows and silences that there are, and what of them holds at an instant. It reads no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::hold::Hold;
use crate::domain::maintenance::{KnownWindow, Span, Window};
use crate::domain::outcome::Outcome;
use crate::domain::silence::Silence;
use crate::domain::suppression::{Facts, Suppressor};

/// The windows and silences.
#[derive(Debug, Default)]
pub struct Holds {
    /// By name.
    windows: BTreeMap<String, Entry>,
    /// By id.
    silences: BTreeMap<i64, Arc<Silence>>,
}

/// A window, and what of its calendar was looked up last: a calendar is slow, and asked at every check.
#[derive(Debug)]
struct Entry {
    known: Arc<KnownWindow>,
    looked: Option<Looked>,
}

#[derive(Debug, Clone, Copy)]
struct Looked {
    at: Timestamp,
    /// The newest span that had begun.
    last: Option<Span>,
    /// When the next begins.
    next: Option<Timestamp>,
}

impl Entry {
    fn new(known: KnownWindow) -> Self {
        Self { known: Arc::new(known), looked: None }
    }

    /// The newest span that has begun by `now`, which may be over.
    fn last_begun(&mut self, now: Timestamp) -> Option<Span> {
        let window = self.known.window.as_ref()?;
        // Also after the clock was set back.
        let holds = |looked: &Looked| looked.at <= now && looked.next.is_none_or(|next| now < next);
        let looked = match self.looked.filter(holds) {
            Some(looked) => looked,
            None => {
                let (last, next) = (window.last_begun(now), window.next_after(now).map(|span| span.start));
                *self.looked.insert(Looked { at: now, last, next })
            }
        };
        looked.last
    }
}

fn hold_of(window: &Window, span: Span) -> Hold {
    Hold {
        by: Suppressor::MaintenanceWindow,
        name: window.name.clone(),
        since: span.start,
        until: Some(span.end),
        reason: window.reason.clone(),
        through: None,
        made_by: None,
        selectors: window.selectors.clone(),
    }
}

fn hold_by(silence: &Silence) -> Hold {
    Hold {
        by: Suppressor::Silence,
        name: silence.id.to_string(),
        since: silence.created_at,
        until: Some(silence.until()),
        through: None,
        reason: silence.settings.comment.clone().unwrap_or_default(),
        made_by: Some(silence.created_by.clone()),
        selectors: silence.settings.selectors.clone().unwrap_or_default(),
    }
}

impl Holds {
    pub fn new(windows: Vec<KnownWindow>, silences: Vec<Silence>) -> Self {
        let mut holds = Self::default();
        holds.set_windows(windows);
        holds.set_silences(silences);
        holds
    }

    /// Whether there are neither windows nor silences.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.silences.is_empty()
    }

    /// Takes these instead of all windows.
    pub fn set_windows(&mut self, windows: Vec<KnownWindow>) {
        self.windows = windows.into_iter().map(|known| (known.name().to_owned(), Entry::new(known))).collect();
    }

    /// Takes these instead of all silences.
    pub fn set_silences(&mut self, silences: Vec<Silence>) {
        self.silences = silences.into_iter().map(|silence| (silence.id, Arc::new(silence))).collect();
    }

    /// A window that is new, or is another one than it was.
    pub fn put_window(&mut self, known: KnownWindow) {
        self.windows.insert(known.name().to_owned(), Entry::new(known));
    }

    pub fn remove_window(&mut self, name: &str) {
        self.windows.remove(name);
    }

    pub fn put_silence(&mut self, silence: Silence) {
        self.silences.insert(silence.id, Arc::new(silence));
    }

    pub fn remove_silence(&mut self, id: i64) {
        self.silences.remove(&id);
    }

    /// Every window, by name.
    pub fn windows(&self) -> Vec<Arc<KnownWindow>> {
        self.windows.values().map(|entry| entry.known.clone()).collect()
    }

    pub fn window(&self, name: &str) -> Option<Arc<KnownWindow>> {
        self.windows.get(name).map(|entry| entry.known.clone())
    }

    /// Every silence, by id, those that have ended included.
    pub fn silences(&self) -> Vec<Arc<Silence>> {
        self.silences.values().cloned().collect()
    }

    pub fn silence(&self, id: i64) -> Option<Arc<Silence>> {
        self.silences.get(&id).cloned()
    }

    /// Whatever keeps messages back at this moment, windows first.
    pub fn at(&mut self, now: Timestamp) -> Vec<Arc<Hold>> {
        let mut holds = Vec::new();
        for entry in self.windows.values_mut() {
            if let Some(span) = entry.last_begun(now).filter(|span| now < span.end)
                && let Some(window) = &entry.known.window
            {
                holds.push(Arc::new(hold_of(window, span)));
            }
        }
        let on = self.silences.values().filter(|silence| silence.is_on(now));
        holds.extend(on.map(|silence| Arc::new(hold_by(silence))));
        holds
    }

    /// What of these keeps messages about an endpoint back at this moment, beside other facts.
    pub fn beside(&mut self, facts: Facts, known: &KnownEndpoint, now: Timestamp) -> Facts {
        let maintenance = self.maintenance(known, now, now).map(|hold| hold.fact());
        let silence = self.silence_of(known, now).map(|hold| hold.fact());
        // A check may have been under way when it was paused.
        Facts { paused: !known.is_checked(), maintenance, silence, ..facts }
    }

    /// Marks a verdict that was made in maintenance: from its first attempt until it is taken in, since whoever begins
    /// work does so while a check is under way, too.
    pub fn mark(&mut self, result: &mut CheckResult, known: &KnownEndpoint, now: Timestamp) {
        let is_verdict = !matches!(result.outcome, Outcome::Missed(_));
        result.in_maintenance |= is_verdict && self.maintenance(known, result.started_at, now).is_some();
    }

    /// The silence that an endpoint is under, of several the one that lasts longest.
    fn silence_of(&self, known: &KnownEndpoint, now: Timestamp) -> Option<Hold> {
        let of_it = |silence: &&Arc<Silence>| {
            silence.is_on(now) && silence.settings.selectors.as_ref().is_some_and(|all| all.select(known))
        };
        self.silences.values().filter(of_it).max_by_key(|silence| silence.until()).map(|silence| hold_by(silence))
    }

    /// The windows that were open at any time between `from` and `now`, whoever they are about.
    pub fn windows_between(&mut self, from: Timestamp, now: Timestamp) -> Vec<Arc<Hold>> {
        let mut holds = Vec::new();
        for entry in self.windows.values_mut() {
            let Some(span) = entry.last_begun(now).filter(|span| from < span.end) else { continue };
            holds.extend(entry.known.window.as_ref().map(|window| Arc::new(hold_of(window, span))));
        }
        holds
    }

    /// The window that was open for an endpoint at any time between `from` and `now`, of several the one that ends last.
    pub fn maintenance(&mut self, known: &KnownEndpoint, from: Timestamp, now: Timestamp) -> Option<Hold> {
        let mut found: Option<Hold> = None;
        for entry in self.windows.values_mut() {
            let Some(span) = entry.last_begun(now).filter(|span| from < span.end) else { continue };
            if let Some(window) = entry.known.window.as_ref().filter(|window| window.selectors.select(known))
                && found.as_ref().is_none_or(|found| found.until < Some(span.end))
            {
                found = Some(hold_of(window, span));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::domain::maintenance::{WindowMade, WindowSettings};

    #[test]
    fn what_was_looked_up_follows_the_clock_forwards_and_back() {
        let start: Timestamp = "2026-10-24T00:00:00Z".parse().unwrap();
        let settings = json!({"name": "w", "match": "*", "at": "02:30", "every": "day", "for": "3h",
            "timezone": "Europe/Berlin"});
        let settings: WindowSettings = serde_json::from_value(settings).unwrap();
        let window = settings.read(chrono_tz::UTC, start).unwrap();
        let made = WindowMade::Configured { source: "here:1".to_owned() };
        let known = KnownWindow { settings, window: Some(window.clone()), unreadable: None, made };
        let mut holds_of = Holds::new(vec![known], Vec::new());
        let hours = (0..60).chain((0..60).rev()).chain([7, 30, 2, 55, 1]);
        for half in hours {
            let now = start + TimeDelta::minutes(half * 30);
            let holds = holds_of.at(now);
            assert_eq!(!holds.is_empty(), window.covers(now), "{now}");
            let span = window.covering(now).map(|span| (span.start, Some(span.end)));
            assert_eq!(holds.first().map(|hold| (hold.since, hold.until)), span, "{now}");
        }
    }

    #[test]
    fn a_silence_holds_until_its_end_and_comes_after_windows() {
        let now: Timestamp = "2026-10-24T00:00:00Z".parse().unwrap();
        let silence = |id, minutes| Silence {
            id,
            settings: serde_json::from_value(json!({"match": "*", "until": now + TimeDelta::minutes(minutes)}))
                .unwrap(),
            unreadable: None,
            created_at: now,
            created_by: "local".to_owned(),
            updated_at: now,
            revision: 1,
        };
        let damaged = Silence { unreadable: Some("until".to_owned()), ..silence(3, 90) };
        let mut holds_of = Holds::new(Vec::new(), vec![silence(1, 10), silence(2, 30), damaged]);
        let names = |holds_of: &mut Holds, minutes| -> Vec<String> {
            holds_of.at(now + TimeDelta::minutes(minutes)).iter().map(|hold| hold.name.clone()).collect()
        };
        assert_eq!(
            (names(&mut holds_of, 0), names(&mut holds_of, 10), names(&mut holds_of, 30)),
            (vec!["1".into(), "2".into()], vec!["2".into()], vec![])
        );
        holds_of.remove_silence(2);
        assert_eq!(names(&mut holds_of, 10), Vec::<String>::new());
    }
}
