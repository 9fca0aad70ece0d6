//! Whether our own network is there, as a pure machine: what the targets of `connectivity` answered and what checks saw,
//! to what a failed check is worth.
//!
//! It asks nobody and reads no clock. Times are those of the monotonic clock, so that a wall clock which is set neither
//! lengthens nor shortens what is kept back. Where it is in doubt, a failure counts.
//!
//! Two bounds hold together, so that targets which come and go cannot keep an outage from being told:
//! - a blind period suppresses for at most `max_suppression` from its first suppressed failure;
//! - the failures of one endpoint are suppressed for at most `max_suppression` from the first of them since its last good
//!   check, however many blind periods there are in that time.
//!
//! So no failing endpoint is untold for longer than T + `max_suppression`.

mod damping;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::words;

pub use damping::{Damping, ToTell};
pub use reach::{Reach, Reaches, reach_of};

/// The targets are asked at most once in this time, however many checks fail.
pub const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long a failed check waits for the targets at most; after that it counts. Longer than two askings, of which one
/// may be under way.
pub const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// How long a check that was under way when the targets answered again has to be recorded, before another is made.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// An instant by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, which may jump.
    pub at: Timestamp,
    /// The monotonic clock.
    pub running: Duration,
}

impl Moment {
    /// The wall time of another instant of the monotonic clock, as the wall clock goes now.
    pub fn wall(self, instant: Duration) -> Timestamp {
        match instant.checked_sub(self.running) {
            Some(left) => self.at + left,
            None => self.at - self.running.saturating_sub(instant),
        }
    }
}

/// The settings of `connectivity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How many targets must answer; at least 1.
    pub quorum: u32,
    /// How often they are asked while they do not answer.
    pub interval: Duration,
    pub max_suppression: Duration,
}

/// What asking all targets brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub began: Duration,
    /// How many answered; at least as many where it was enough.
    pub answered: u32,
    /// Where the targets are.
    pub reaches: Reaches,
}

/// A check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCheck {
    pub endpoint: EndpointId,
    /// Where it is, by the addresses that were dialled or resolved.
    pub reaches: Reaches,
    /// Its last attempt.
    pub began: Duration,
    pub ended: Duration,
}

/// What a failed check is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the endpoint's.
    Counts,
    /// It says nothing of the endpoint. `until`: when failures of it count at the latest.
    OwnNetwork { until: Duration },
    /// The targets have not been asked since: ask them, then ask again.
    Ask,
}

/// What changed for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The targets do not answer.
    Blind { since: Duration },
    /// They answer again.
    Over { since: Duration, check: Vec<EndpointId> },
    /// They do not, and yet this endpoint was reached: they prove nothing until they answer again.
    Ignored { since: Duration, by: EndpointId, check: Vec<EndpointId> },
    /// They answer again, after they were ignored.
    Heeded { since: Duration },
}

words! {
    /// How our own network is, as far as the targets of `connectivity` tell.
    pub enum Network {
        /// They answered when they were asked last, or nothing gave a reason to ask them.
        Reachable = "reachable",
        /// They do not answer: failures are not counted.
        Blind = "blind",
        /// They have not answered for so long that failures count all the same.
        Exhausted = "exhausted",
        /// They do not answer, but endpoints do: they are ignored until they answer.
        Ignored = "ignored",
    }
}

/// A time in which the targets do not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blind {
    /// When they were asked in vain for the first time.
    since: Duration,
    /// Where the targets are.
    reaches: Reaches,
    /// The first failure that was suppressed.
    first: Option<Duration>,
    /// Suppressed in it, to be checked at its end.
    affected: BTreeSet<EndpointId>,
    /// An endpoint that was reached since: which, and when that ended.
    reached: Option<(EndpointId, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    #[default]
    Reachable,
    Blind(Blind),
    Ignored {
        since: Duration,
    },
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connectivity {
    rules: Rules,
    state: State,
    /// When the newest asking began, whatever came of it.
    asked: Option<Duration>,
    /// When the newest asking began that enough targets answered.
    answered: Option<Duration>,
    /// Something waits for an answer.
    wanted: bool,
    /// The first suppressed failure of each endpoint since its last good check.
    first: BTreeMap<EndpointId, Duration>,
    /// When the targets answered again for the last time, and where they were before.
    back: Option<(Duration, Reaches)>,
    /// Checks that began before that and failed: when the next is to be made.
    late: BTreeMap<EndpointId, Duration>,
}

impl Connectivity {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::default(),
            asked: None,
            answered: None,
            wanted: false,
            first: BTreeMap::new(),
            back: None,
            late: BTreeMap::new(),
        }
    }

    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// What a failed check is worth now.
    pub fn judge(&mut self, failed: FailedCheck, now: Duration) -> Verdict {
        if failed.reaches.contains(Reach::Loopback) {
            return Verdict::Counts;
        }
        match &mut self.state {
            State::Reachable if self.answered.is_some_and(|began| began >= failed.ended) => {
                self.judge_late(failed, now)
            }
            State::Reachable => {
                self.wanted = true;
                Verdict::Ask
            }
            State::Ignored { .. } => Verdict::Counts,
            State::Blind(blind) if !failed.reaches.is_within(blind.reaches) => Verdict::Counts,
            State::Blind(blind) => {
                let max = self.rules.max_suppression;
                let of_endpoint = self.first.get(&failed.endpoint).copied().unwrap_or(now);
                let until = of_endpoint.min(blind.first.unwrap_or(now)).saturating_add(max);
                if now >= until {
                    return Verdict::Counts;
                }
                blind.first.get_or_insert(now);
                blind.affected.insert(failed.endpoint);
                self.first.entry(failed.endpoint).or_insert(now);
                Verdict::OwnNetwork { until }
            }
        }
    }

    /// While the targets answer, a failure counts, unless its check began before they answered again.
    fn judge_late(&mut self, failed: FailedCheck, now: Duration) -> Verdict {
        let is_late = |(back, reaches): (Duration, Reaches)| failed.began < back && failed.reaches.is_within(reaches);
        if !self.back.is_some_and(is_late) {
            return Verdict::Counts;
        }
        let first = *self.first.entry(failed.endpoint).or_insert(now);
        let until = first.saturating_add(self.rules.max_suppression);
        if now >= until {
            return Verdict::Counts;
        }
        self.late.insert(failed.endpoint, now + RECORDED_WITHIN);
        Verdict::OwnNetwork { until }
    }

    /// A good check: an end of what is remembered of its endpoint, and perhaps a proof against the targets.
    ///
    /// `began`: its last attempt.
    pub fn succeeded(&mut self, endpoint: EndpointId, reaches: Reaches, began: Duration, ended: Duration) {
        self.first.remove(&endpoint);
        let State::Blind(blind) = &mut self.state else { return };
        blind.affected.remove(&endpoint);
        if reaches.is_within(blind.reaches) && began >= blind.since {
            // The network may be back, though: only when the targets do not answer now either are they wrong.
            blind.reached = Some((endpoint, ended));
            self.wanted = true;
        }
    }

    /// Whether something waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// When the targets are to be asked; `None`: nothing calls for it.
    pub fn ask_at(&self) -> Option<Duration> {
        let Some(asked) = self.asked else { return self.wanted.then_some(Duration::ZERO) };
        if self.wanted {
            return Some(asked + ASK_EVERY);
        }
        match self.state {
            State::Reachable => None,
            State::Blind(_) | State::Ignored { .. } => Some(asked + self.rules.interval.max(ASK_EVERY)),
        }
    }

    /// The targets are being asked.
    pub fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
        self.wanted = false;
    }

    /// They were asked.
    pub fn probed(&mut self, probe: Probe) -> Option<Change> {
        if probe.answered >= self.rules.quorum {
            self.answered = Some(probe.began);
            return match std::mem::take(&mut self.state) {
                State::Reachable => None,
                State::Blind(blind) => {
                    self.back = Some((probe.began, blind.reaches));
                    Some(Change::Over { since: blind.since, check: blind.affected.into_iter().collect() })
                }
                State::Ignored { since } => Some(Change::Heeded { since }),
            };
        }
        match &mut self.state {
            State::Reachable => {
                self.state = State::Blind(Blind {
                    since: probe.began,
                    reaches: probe.reaches,
                    first: None,
                    affected: BTreeSet::new(),
                    reached: None,
                });
                Some(Change::Blind { since: probe.began })
            }
            State::Blind(blind) => {
                // Some of them may be looked up by names that lead elsewhere by now.
                blind.reaches = probe.reaches;
                let (by, ended) = blind.reached?;
                if ended > probe.began {
                    self.wanted = true;
                    return None;
                }
                let (since, check) = (blind.since, std::mem::take(&mut blind.affected).into_iter().collect());
                self.state = State::Ignored { since };
                Some(Change::Ignored { since, by, check })
            }
            State::Ignored { .. } => None,
        }
    }

    /// The endpoints whose failures are no longer suppressed, because that has lasted long enough, or whose last check
    /// began before the targets answered again: to be checked at once.
    pub fn released(&mut self, now: Duration) -> Vec<EndpointId> {
        let late = self.late.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        let State::Blind(blind) = &mut self.state else { return late };
        let max = self.rules.max_suppression;
        let is_over = |first: Duration| now >= first.saturating_add(max);
        let all = blind.first.is_some_and(is_over);
        let of = |id: &EndpointId| all || self.first.get(id).is_none_or(|first| is_over(*first));
        let released: Vec<EndpointId> = blind.affected.iter().filter(|id| of(id)).copied().collect();
        blind.affected.retain(|id| !released.contains(id));
        [late, released].concat()
    }

    /// When [`released`](Self::released) has something next.
    pub fn release_at(&self) -> Option<Duration> {
        let late = self.late.values().min().copied();
        let State::Blind(blind) = &self.state else { return late };
        let of_endpoints = blind.affected.iter().filter_map(|id| self.first.get(id).copied());
        let first = of_endpoints.chain(blind.first.filter(|_| !blind.affected.is_empty())).min();
        late.into_iter().chain(first.map(|first| first.saturating_add(self.rules.max_suppression))).min()
    }

    /// Until when failures of an endpoint are suppressed, if its newest was.
    pub fn suppressed_until(&self, endpoint: EndpointId, now: Duration) -> Option<Duration> {
        let State::Blind(blind) = &self.state else { return None };
        let first = blind.affected.contains(&endpoint).then(|| self.first.get(&endpoint))??;
        let until = (*first).min(blind.first.unwrap_or(now)).saturating_add(self.rules.max_suppression);
        (now < until).then_some(until)
    }

    /// Whether a failure of this endpoint was suppressed since its last good check.
    pub fn was_in_doubt(&self, endpoint: EndpointId) -> bool {
        self.first.contains_key(&endpoint)
    }

    /// Forgets the endpoints that are monitored no longer.
    pub fn forget(&mut self, is_there: impl Fn(EndpointId) -> bool) {
        self.first.retain(|id, _| is_there(*id));
        self.late.retain(|id, _| is_there(*id));
        if let State::Blind(blind) = &mut self.state {
            blind.affected.retain(|id| is_there(*id));
        }
    }

    /// How our own network is, and, where it is in doubt, since when.
    pub fn network(&self, now: Duration) -> (Network, Option<Duration>) {
        match &self.state {
            State::Reachable => (Network::Reachable, None),
            State::Ignored { since } => (Network::Ignored, Some(*since)),
            State::Blind(blind) => {
                let max = self.rules.max_suppression;
                let is_over = blind.first.is_some_and(|first| now >= first.saturating_add(max));
                (if is_over { Network::Exhausted } else { Network::Blind }, Some(blind.since))
            }
        }
    }

    /// Until when failures are suppressed in the present blind period; `None` while it suppresses nothing.
    pub fn suppresses_until(&self, now: Duration) -> Option<Duration> {
        let State::Blind(blind) = &self.state else { return None };
        let until = blind.first.unwrap_or(now).saturating_add(self.rules.max_suppression);
        (now < until).then_some(until)
    }
}
