//! Time: what is due is checked, checks end, unconfirmed ones are confirmed, and once a second time is let work.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use super::network::Network;
use super::world::World;
use crate::domain::check::{CheckResult, Timings, Trigger};
use crate::domain::connectivity::{LONGEST_WAIT, Moment};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::outcome::{MissedReason, Outcome};
use crate::domain::plan::{Due, Plan};
use crate::domain::recheck::Request;
use crate::domain::{Timestamp, from_micros, micros};

/// How often time is let work, as the recorder does.
const TICK: TimeDelta = TimeDelta::seconds(1);

/// A check, as it is imagined.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub outcome: Outcome,
    /// From its first attempt to its end.
    pub took: Duration,
    /// How long after its instant it begins: no two checks of a real monitor begin at the same microsecond of their slots.
    pub late: Duration,
    pub attempts: u32,
    /// How long its first attempt takes; where there are more of them, that one fails.
    pub first: Duration,
}

impl Made {
    /// One attempt, begun at its instant.
    pub fn once(outcome: Outcome, took: Duration) -> Self {
        Self { outcome, took, late: Duration::ZERO, attempts: 1, first: took }
    }

    /// Its first attempt, without the rest.
    fn alone(self) -> Self {
        Self { took: self.first, attempts: 1, ..self }
    }
}

/// A check under way.
#[derive(Debug)]
struct UnderWay {
    ends_at: Timestamp,
    /// When its first attempt fails, where there are more, until that is noted.
    fails_at: Option<Timestamp>,
    /// When it ended, where it waits for the targets of our own network, by the time that really goes by.
    ended: Option<Duration>,
    trigger: Trigger,
    result: CheckResult,
    /// Slots that passed meanwhile, by the reason why nobody examined them: how many, and the last of them.
    missed: Vec<(MissedReason, u32, Timestamp)>,
}

impl UnderWay {
    fn missed(&mut self, reason: MissedReason, slots: u32, last: Timestamp) {
        match self.missed.iter_mut().find(|(there, ..)| *there == reason) {
            Some(gap) => *gap = (reason, gap.1.saturating_add(slots), last),
            None => self.missed.push((reason, slots, last)),
        }
    }
}

/// The imagined clock, and what it moves.
#[derive(Debug)]
pub struct Simulation {
    pub world: World,
    plan: Plan,
    under_way: BTreeMap<EndpointId, UnderWay>,
    /// By the wall, which may be set.
    now: Timestamp,
    /// Since any beginning, which only grows.
    monotonic: Duration,
    next_tick: Timestamp,
    /// Every check as it was taken in: after how much that was said, when by both clocks, and what it was worth.
    #[cfg(test)]
    pub(super) taken: Vec<(usize, Timestamp, Duration, CheckResult)>,
}

impl Simulation {
    /// Begins at `now` with every endpoint planned as at a start.
    pub fn new(world: World, now: Timestamp) -> Self {
        let mut simulation = Self {
            world,
            plan: Plan::imagined(),
            under_way: BTreeMap::new(),
            now,
            monotonic: Duration::ZERO,
            next_tick: now,
            #[cfg(test)]
            taken: Vec::new(),
        };
        simulation.start();
        simulation
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The time that has really gone by.
    pub fn monotonic(&self) -> Duration {
        self.monotonic
    }

    fn start(&mut self) {
        self.plan = Plan::imagined();
        let checked = self.world.endpoints().filter(|(known, _)| known.is_checked());
        let all = checked.map(|(known, last)| (known.clone(), last)).collect();
        let gaps = self.plan.start(all, self.now);
        self.next_tick = self.now;
        self.record(gaps);
        for id in self.world.unconfirmed() {
            self.plan.confirm(id, self.now);
        }
    }

    /// The process stops: checks under way are cut, and what is not stored is forgotten. It begins again after a time
    /// in which nothing happens.
    pub fn restart(&mut self, away: Duration) {
        self.stop();
        self.pass(away);
        self.world.begin(self.now, self.monotonic);
        self.start();
    }

    fn stop(&mut self) {
        for (_, check) in std::mem::take(&mut self.under_way) {
            let outcome = Outcome::Missed(MissedReason::Shutdown);
            let result = CheckResult { outcome, attempts: 0, timings: Timings::default(), ..check.result };
            self.world.take(result, self.now, self.monotonic);
        }
    }

    /// The wall clock is set, while no time goes by.
    pub fn set_clock(&mut self, by: TimeDelta) {
        self.now += by;
        // What is under way goes on.
        self.next_tick += by;
        for check in self.under_way.values_mut() {
            check.ends_at += by;
            check.fails_at = check.fails_at.map(|at| at + by);
        }
    }

    /// Whoever edits endpoints has done so; the plan follows.
    pub fn change(&mut self, known: std::sync::Arc<KnownEndpoint>) {
        let id = known.id;
        let last = self.world.endpoints().find(|(there, _)| there.id == id).and_then(|(_, last)| last);
        self.world.change(known.clone());
        match (known.is_checked(), self.plan.contains(id)) {
            (true, true) => self.plan.change(known, self.now),
            (true, false) => self.plan.add(known, last, self.now),
            (false, _) => self.plan.remove(id),
        }
    }

    /// Goes on until then, by the wall; `made` says how a check that begins at an instant ends.
    pub fn run_until(&mut self, until: Timestamp, made: &mut dyn FnMut(&KnownEndpoint, Timestamp) -> Made) {
        // The clock may have been set since.
        self.serve_due(made);
        while self.now < until {
            let ends = self.under_way.values().map(|check| check.fails_at.unwrap_or(check.ends_at)).min();
            let tick = self.world.is_busy().then(|| self.next_tick.max(self.now));
            let due = self.world.network.as_ref().and_then(Network::due_at);
            let network = due.map(|due| self.now + due.saturating_sub(self.monotonic));
            let next =
                [self.plan.next_wake(), ends, tick, network, Some(until)].into_iter().flatten().min().unwrap_or(until);
            self.pass((next - self.now).to_std().unwrap_or_default());
            self.end_checks();
            self.work_network();
            self.serve_due(made);
            if self.next_tick <= self.now {
                self.next_tick = self.now + TICK;
                self.world.let_time_pass(self.now, self.monotonic);
            }
            self.serve_requests(made);
            self.serve_due(made);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.monotonic += time;
    }

    fn end_checks(&mut self) {
        for (id, check) in &mut self.under_way {
            if check.fails_at.take_if(|at| *at <= self.now).is_some() {
                self.world.note_attempt(*id, true);
            }
        }
        let over: Vec<_> = self
            .under_way
            .iter()
            .filter(|(_, check)| check.ends_at <= self.now)
            .map(|(id, check)| (check.ends_at, *id))
            .collect();
        for (_, id) in over {
            let Some(check) = self.under_way.get_mut(&id) else { continue };
            let ended = *check.ended.get_or_insert(self.monotonic);
            let known = self.world.known(id).cloned();
            let Some(judged) = (match self.world.network.as_mut().zip(known) {
                Some((network, known)) => network.examine(&known, &check.result, ended, self.monotonic),
                None => Some(check.result.clone()),
            }) else {
                check.ends_at = self.now + (ended + LONGEST_WAIT).saturating_sub(self.monotonic);
                continue;
            };
            let Some(UnderWay { mut missed, .. }) = self.under_way.remove(&id) else { continue };
            missed.sort_by_key(|(.., last)| *last);
            self.world.note_attempt(id, false);
            #[cfg(test)]
            self.taken.push((self.world.said_so_far(), self.now, self.monotonic, judged.clone()));
            let confirm = self.world.take(judged, self.now, self.monotonic);
            for (reason, slots, last) in missed {
                let gap = CheckResult::missed(id, last, slots, reason);
                self.world.take(gap, self.now, self.monotonic);
            }
            if confirm == Some(true) {
                self.plan.confirm(id, self.now);
            }
        }
    }

    /// Lets the targets of our own network answer, or not.
    fn work_network(&mut self) {
        let Some(network) = &mut self.world.network else { return };
        let (check, told) = network.work(self.monotonic);
        for id in check {
            self.plan.check_at(id, self.now);
        }
        if let Some(told) = told {
            self.world.tell_network(&told, Moment { at: self.now, running: self.monotonic });
        }
        // Some may wait for what was just answered.
        for check in self.under_way.values_mut().filter(|check| check.ended.is_some()) {
            check.ends_at = self.now;
        }
        self.end_checks();
    }

    fn serve_due(&mut self, made: &mut dyn FnMut(&KnownEndpoint, Timestamp) -> Made) {
        let due = self.plan.due(self.now);
        let (checks, gaps): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| matches!(due, Due::Check { .. }));
        self.record(gaps);
        for due in checks {
            if let Due::Check { id, scheduled_at, trigger, .. } = due {
                self.begin(id, scheduled_at, trigger, made);
            }
        }
    }

    fn record(&mut self, gaps: Vec<Due>) {
        for gap in gaps {
            if let Due::Missed { id, scheduled_at, slots, reason } = gap {
                // As the scheduler does: what is under way is told first.
                if let Some(running) = self.under_way.get_mut(&id) {
                    running.missed(reason, slots, scheduled_at);
                    continue;
                }
                let result = CheckResult::missed(id, scheduled_at, slots, reason);
                self.world.take(result, self.now, self.monotonic);
            }
        }
    }

    /// Makes what something waits for.
    fn serve_requests(&mut self, made: &mut dyn FnMut(&KnownEndpoint, Timestamp) -> Made) {
        for request in self.world.take_requests() {
            match request {
                Request::Check(id) => self.plan.check_at(id, self.now),
                Request::Attempt(id, _) if self.under_way.contains_key(&id) || !self.plan.contains(id) => {}
                Request::Attempt(id, _) => {
                    let scheduled_at = self.plan.stamp(id, self.now);
                    let alone = &mut |known: &KnownEndpoint, at| made(known, at).alone();
                    self.begin(id, scheduled_at, Trigger::Confirming, alone);
                }
            }
        }
    }

    fn begin(
        &mut self,
        id: EndpointId,
        scheduled_at: Timestamp,
        trigger: Trigger,
        made: &mut dyn FnMut(&KnownEndpoint, Timestamp) -> Made,
    ) {
        if let Some(running) = self.under_way.get_mut(&id) {
            // As the scheduler does: a check between slots serves the slot as well.
            if trigger != Trigger::Confirming && running.trigger != Trigger::Confirming {
                running.missed(MissedReason::Overrun, 1, scheduled_at);
            }
            return;
        }
        let Some(known) = self.world.known(id).cloned() else { return };
        let Made { outcome, took, late, attempts, first } = made(&known, self.now);
        let started_at = from_micros(micros(self.now + late));
        let total_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let result = CheckResult {
            endpoint_id: id,
            scheduled_at,
            started_at,
            outcome,
            slots: 1,
            status_code: None,
            timings: Timings { total_us, ..Timings::default() },
            attempts,
            trigger,
            in_maintenance: false,
        };
        let begun = self.now + late;
        let fails_at = (attempts > 1).then(|| begun + first);
        let (ends_at, missed) = (begun + took, Vec::new());
        let check = UnderWay { ends_at, fails_at, ended: None, trigger, result, missed };
        self.under_way.insert(id, check);
    }
}
