//! Recorded checks, taken in once more under a policy, and what two policies make of them.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::{Said, What, World};
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::holds::Holds;
use crate::domain::incident::EndpointState;
use crate::domain::notification::{Event, Routing};

/// How often time is let work between two results while something is open: instants are right to so much.
const STEP: TimeDelta = TimeDelta::seconds(10);

/// What is told of an endpoint, under one policy.
#[derive(Debug)]
pub struct Replay {
    world: World,
    now: Option<Timestamp>,
    told: Vec<Told>,
}

/// A message that somebody would have got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub at: Timestamp,
    pub event: Event,
    /// The first check of what is told.
    pub span: Timestamp,
}

impl Replay {
    pub fn new(known: Arc<KnownEndpoint>, routing: Routing) -> Self {
        let state = EndpointState::pending(Timestamp::MIN_UTC);
        // What people kept quiet then is not known.
        let mut world = World::new([(known, state)], Holds::default(), routing, Timestamp::MIN_UTC, Duration::ZERO);
        world.without_start_grace();
        Self { world, now: None, told: Vec::new() }
    }

    /// Takes in the next result.
    pub fn take(&mut self, result: &CheckResult) {
        let took = TimeDelta::microseconds(i64::from(result.timings.total_us));
        let ended = result.started_at.checked_add_signed(took).unwrap_or(result.started_at);
        self.pass_until(ended);
        let now = self.now.map_or(ended, |now| now.max(ended));
        self.now = Some(now);
        self.world.take(result.clone(), now, Duration::ZERO);
        self.note();
    }

    /// Lets time work until then.
    pub fn pass_until(&mut self, until: Timestamp) {
        let Some(mut now) = self.now else { return };
        while self.world.is_busy() && now < until {
            now = now.checked_add_signed(STEP).map_or(until, |next| next.min(until));
            self.world.let_time_pass(now, Duration::ZERO);
            self.now = Some(now);
            self.note();
        }
    }

    fn note(&mut self) {
        // What was checked was checked.
        drop(self.world.take_requests());
        for Said { at, what, .. } in self.world.take_said() {
            if let What::Message { event, span, to, held_by: None, .. } = what
                && !to.is_empty()
            {
                self.told.push(Told { at, event, span });
            }
        }
    }

    /// Everything told, in its order.
    pub fn told(&self) -> &[Told] {
        &self.told
    }
}

/// What becomes of one outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    Later,
    Sooner,
    /// It was told, and would not be.
    NotAtAll,
    /// It was not told, and would be.
    Additionally,
}

/// An outage that is told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub difference: Difference,
    /// `down`, `down_again` or `flapping`.
    pub event: Event,
    /// The first failed check.
    pub since: Timestamp,
    pub before: Option<Timestamp>,
    pub after: Option<Timestamp>,
}

impl Comparison {
    /// What is told of outages before and after, as far as it differs, in the order of time. Two messages are of one
    /// outage where they have the same first failed check, or where the later comes before the end of the earlier.
    pub fn all(before: &[Told], after: &[Told]) -> Vec<Self> {
        let opens = |told: &&Told| matches!(told.event, Event::Down | Event::DownAgain | Event::Flapping);
        let mut rest: Vec<&Told> = after.iter().filter(opens).collect();
        let mut all = Vec::new();
        for (n, old) in before.iter().enumerate().filter(|(_, told)| opens(told)) {
            let end = before[n + 1..].iter().find(|told| told.event.is_resolve()).map(|told| told.at);
            let is_same = |new: &&Told| new.span == old.span && new.event != Event::Flapping;
            let is_within = |new: &&Told| new.at >= old.span && end.is_none_or(|end| new.at < end);
            let found = rest.iter().position(is_same).or_else(|| rest.iter().position(is_within));
            let new = found.map(|at| rest.remove(at));
            let difference = match new {
                None => Difference::NotAtAll,
                Some(new) if new.at > old.at => Difference::Later,
                Some(new) if new.at < old.at => Difference::Sooner,
                Some(_) => continue,
            };
            let after = new.map(|new| new.at);
            all.push(Self { difference, event: old.event, since: old.span, before: Some(old.at), after });
        }
        let more = |new: &Told| {
            let difference = Difference::Additionally;
            Self { difference, event: new.event, since: new.span, before: None, after: Some(new.at) }
        };
        all.extend(rest.into_iter().map(more));
        all.sort_by_key(|one| one.before.or(one.after));
        all
    }
}
