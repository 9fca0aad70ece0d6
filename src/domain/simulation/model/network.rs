//! What is expected of checks while our own network may be cut off. Instants are of time that really went by.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long it may take at most to ask, to be answered, and to have it recorded.
const ASKED: Duration = Duration::from_secs(15);

/// The cooldown of what is told of our own network, and a margin.
const DAMPED: Duration = Duration::from_secs(310);

/// The targets, as somebody sees them who knows when they answer.
#[derive(Debug)]
pub(in crate::domain::simulation) struct Targets {
    interval: Duration,
    max_suppression: Duration,
    /// From when to when they do not answer.
    silent: Option<(Duration, Duration)>,
    /// The first failure of each endpoint that was not counted, since its last good check.
    first: BTreeMap<i64, Duration>,
    /// The first of all, since the targets do not answer.
    first_of_all: Option<Duration>,
    /// Somebody was reached while they did not answer.
    doubted: bool,
    /// What was told last: its number among what is told of one such time.
    last_word: Option<u32>,
}

impl Targets {
    pub(in crate::domain::simulation) fn new(interval: Duration, max_suppression: Duration) -> Self {
        Self {
            interval,
            max_suppression,
            silent: None,
            first: BTreeMap::new(),
            first_of_all: None,
            doubted: false,
            last_word: None,
        }
    }

    pub(in crate::domain::simulation) fn max_suppression(&self) -> Duration {
        self.max_suppression
    }

    /// They may still count as gone, or lately did.
    pub(in crate::domain::simulation) fn may_be_blind(&self, now: Duration) -> bool {
        self.silent.is_some_and(|(_, until)| now < until + self.interval + ASKED)
    }

    pub(in crate::domain::simulation) fn fall_silent(&mut self, until: Duration, now: Duration) {
        let is_same = self.may_be_blind(now);
        let from = self.silent.filter(|(_, until)| now < *until).map_or(now, |(from, _)| from);
        self.silent = Some((from, until));
        if !is_same {
            (self.first_of_all, self.doubted) = (None, false);
        }
    }

    /// The process began anew, and knows nothing of all that.
    pub(in crate::domain::simulation) fn restarted(&mut self) {
        self.first.clear();
        (self.first_of_all, self.doubted, self.last_word) = (None, false, None);
    }

    pub(in crate::domain::simulation) fn told(&mut self, ordinal: u32) {
        self.last_word = Some(ordinal);
    }

    /// A check was good. `local`: of an endpoint on this machine.
    pub(in crate::domain::simulation) fn good(&mut self, id: i64, local: bool, began: Duration) {
        self.first.remove(&id);
        self.doubted |= !local && self.silent.is_some_and(|(from, _)| from <= began);
    }

    /// A check failed and counted.
    pub(in crate::domain::simulation) fn counted(&self, id: i64, local: bool, began: Duration, now: Duration) {
        let is_silent = self.silent.is_some_and(|(from, until)| from <= began && now < until);
        let is_over = |first: Option<&Duration>| first.is_some_and(|first| now >= *first + self.max_suppression);
        let is_exhausted = is_over(self.first.get(&id)) || is_over(self.first_of_all.as_ref());
        assert!(
            local || !is_silent || self.doubted || is_exhausted,
            "our own network was cut off all the time, and a failure of e{id} counted"
        );
    }

    /// A check failed and did not count.
    pub(in crate::domain::simulation) fn not_counted(&mut self, id: i64, local: bool, now: Duration) {
        assert!(!local, "e{id} is on this machine, and its failure was not counted");
        assert!(self.may_be_blind(now), "the targets answer, and a failure of e{id} was not counted");
        let first = *self.first.entry(id).or_insert(now);
        let suppressed = now.saturating_sub(first);
        assert!(suppressed <= self.max_suppression, "failures of e{id} were not counted for {suppressed:?}");
        self.first_of_all.get_or_insert(now);
        if self.silent.is_some_and(|(_, until)| now < until) {
            assert!(matches!(self.last_word, Some(0 | 1)), "nobody was told that our own network is in doubt");
        }
    }

    /// What must have happened by now.
    pub(in crate::domain::simulation) fn look(&self, now: Duration) {
        let Some((_, until)) = self.silent else { return };
        if now > until + self.interval + ASKED + DAMPED {
            assert!(!matches!(self.last_word, Some(0 | 1)), "nobody was told that our own network is there again");
        }
    }
}
