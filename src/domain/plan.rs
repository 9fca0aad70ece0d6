//! Which endpoint is due when: a heap of due times over all endpoints. Pure: time is an argument.
//!
//! A queued time that no longer holds (the endpoint was changed, paused, removed or planned anew) is not
//! searched for in the heap; it is recognised by its generation when it comes up.
//!
//! A push endpoint is not asked. What is due of one is the end of the waiting for its heartbeat.

mod vigil;
#[cfg(test)]
mod vigil_tests;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::check::Trigger;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::outcome::{Failure, MissedReason};
use crate::domain::schedule::golden_offset;
use crate::domain::{Timestamp, from_micros, micros};

pub use self::vigil::LastWord;
use self::vigil::Vigil;
pub use self::waiting::Heard;

/// A slot found later than this was not merely served late: the process was stopped or the machine slept, and
/// everything that is overdue is spread again.
const STALL: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Make a check, recorded as of `scheduled_at`.
    ///
    /// `due_at` is when it should begin, which is later than the slot where overdue checks are spread.
    Check { id: EndpointId, scheduled_at: Timestamp, due_at: Timestamp, trigger: Trigger },
    /// Record `slots` slots that nobody examined, the last of them at `scheduled_at`.
    Missed { id: EndpointId, scheduled_at: Timestamp, slots: u32, reason: MissedReason },
    /// Record that no heartbeat came until `due_at`.
    Overdue { id: EndpointId, scheduled_at: Timestamp, due_at: Timestamp, failure: Failure },
}

/// The due times of all endpoints that are checked.
#[derive(Debug, Default)]
pub struct Plan {
    entries: HashMap<EndpointId, Planned>,
    queue: BinaryHeap<Reverse<Queued>>,
    /// The wall time of the last call, to notice a clock that went backwards.
    last_now: Option<Timestamp>,
    /// The generation given out last.
    generation: u64,
    /// What was known of push endpoints before the start; taken by it.
    past: Past,
    /// Push endpoints are asked like all others.
    asks_all: bool,
}

/// What the monitor knew when it was there last.
#[derive(Debug, Default)]
pub struct Past {
    /// It was there until about then. `None`: it is not known.
    pub until: Option<Timestamp>,
    pub last_words: HashMap<EndpointId, LastWord>,
}

#[derive(Debug)]
struct Planned {
    known: Arc<KnownEndpoint>,
    /// The generations of the queued times that hold, 0 for none.
    slot_generation: u64,
    confirm_generation: u64,
    /// When the slot check is made, and which slot it stands for. `None`: the schedule has no further date.
    next: Option<(Timestamp, Timestamp)>,
    /// The newest `scheduled_at` given out; later ones are always greater.
    last_stamp: Option<Timestamp>,
    /// Of a push endpoint alone.
    vigil: Option<Vigil>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    at: Timestamp,
    id: EndpointId,
    kind: QueuedKind,
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum QueuedKind {
    Slot,
    Confirm,
}

/// How long the checks of everything that is overdue are spread at a start.
fn start_spread(endpoints: usize) -> Duration {
    Duration::from_secs(if endpoints > 5_000 { 30 } else { 10 })
}

impl Plan {
    pub fn new() -> Self {
        Self::default()
    }

    /// A plan for a process that comes after another one.
    pub fn after(past: Past) -> Self {
        Self { past, ..Self::default() }
    }

    /// A plan for endpoints whose results are imagined, those of push endpoints too: nobody reports them.
    pub fn imagined() -> Self {
        Self { asks_all: true, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn contains(&self, id: EndpointId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Every endpoint that is checked.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<KnownEndpoint>> {
        self.entries.values().map(|p| &p.known)
    }

    /// Puts the endpoints of a start onto the plan: what is overdue is checked soon, spread, as the check of the
    /// current slot, and the slots that passed while this process was not running are told as one gap each.
    ///
    /// `endpoints` come with the newest slot recorded of each.
    pub fn start(&mut self, endpoints: Vec<(Arc<KnownEndpoint>, Option<Timestamp>)>, now: Timestamp) -> Vec<Due> {
        let spread = start_spread(endpoints.len());
        let mut gaps = Vec::new();
        let past = std::mem::take(&mut self.past);
        for (known, last) in endpoints {
            let id = known.id;
            let word = past.last_words.get(&id).copied();
            self.insert(known, last, now);
            if self.resume_vigil(id, word, now) {
                gaps.extend(self.was_deaf(id, past.until, MissedReason::Stopped, now));
                continue;
            }
            gaps.extend(self.catch_up(id, now, spread, MissedReason::Stopped));
        }
        self.last_now = Some(now);
        gaps
    }

    /// Puts a new or resumed endpoint onto the plan, to be checked at once as the current slot's check.
    pub fn add(&mut self, known: Arc<KnownEndpoint>, last: Option<Timestamp>, now: Timestamp) {
        let id = known.id;
        let slot = known.endpoint.schedule.slots(id).at_or_before(now).unwrap_or(now).max(known.scheduled_from);
        self.insert(known, last, now);
        if self.waits(id) {
            return self.queue_next(id, now);
        }
        self.queue_slot(id, now, slot);
    }

    /// Replaces the settings of a planned endpoint. A changed schedule takes effect at its next slot.
    pub fn change(&mut self, known: Arc<KnownEndpoint>, now: Timestamp) {
        let id = known.id;
        let Some(planned) = self.entries.get_mut(&id) else { return };
        let same_schedule = planned.known.endpoint.schedule == known.endpoint.schedule;
        let same_push = planned.known.endpoint.check.push() == known.endpoint.check.push();
        planned.vigil = match (planned.vigil.take(), known.endpoint.check.push()) {
            (Some(mut vigil), Some(_)) => {
                if !same_schedule {
                    vigil.reschedule(now);
                }
                Some(vigil)
            }
            (_, push) => push.filter(|_| !self.asks_all).map(|_| Vigil::begin(now)),
        };
        planned.known = known;
        if !same_schedule || !same_push {
            self.queue_next(id, now);
        }
    }

    pub fn remove(&mut self, id: EndpointId) {
        self.entries.remove(&id);
    }

    /// Asks for an early check, because a failure or a recovery of this endpoint is unconfirmed. Not made when
    /// its first attempt could not end before the next slot: then the slot confirms.
    pub fn confirm(&mut self, id: EndpointId, now: Timestamp) {
        let Some(planned) = self.entries.get_mut(&id).filter(|planned| planned.vigil.is_none()) else { return };
        let endpoint = &planned.known.endpoint;
        let delay = endpoint.schedule.interval(now).min(endpoint.alert_policy.confirm_interval);
        let at = now + delay;
        if planned.next.is_some_and(|(next_at, _)| at + endpoint.check.timeout > next_at) {
            return;
        }
        self.check_at(id, at);
    }

    /// Plans a confirming check for `at`, instead of one that is planned already.
    pub fn check_at(&mut self, id: EndpointId, at: Timestamp) {
        let Some(planned) = self.entries.get_mut(&id).filter(|planned| planned.vigil.is_none()) else { return };
        self.generation += 1;
        planned.confirm_generation = self.generation;
        self.queue.push(Reverse(Queued { at, id, kind: QueuedKind::Confirm, generation: self.generation }));
    }

    /// The instant to wake at, or `None` with nothing planned.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse(queued)| queued.at)
    }

    /// When the next slot of an endpoint is served.
    pub fn next_slot(&self, id: EndpointId) -> Option<Timestamp> {
        self.entries.get(&id)?.next.map(|(_, slot)| slot)
    }

    /// A stamp for a check made at `at`: later than every stamp before it.
    pub fn stamp(&mut self, id: EndpointId, at: Timestamp) -> Timestamp {
        match self.entries.get_mut(&id) {
            Some(planned) => planned.stamp(at),
            None => at,
        }
    }

    /// What is due at `now`, in order of its time. Each endpoint that was due is planned for its next slot.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due> {
        if self.last_now.is_some_and(|last| now < last - chrono::TimeDelta::seconds(1)) {
            self.plan_anew(now);
        }
        let mut due = self.listen_again(now);
        self.last_now = Some(now);
        let mut stalled = Vec::new();
        while let Some(Reverse(queued)) = self.queue.peek().copied() {
            if queued.at > now {
                break;
            }
            self.queue.pop();
            self.serve(queued, now, &mut due, &mut stalled);
        }
        // After a stall everything is overdue at once: spread it, as at a start.
        let spread = start_spread(stalled.len());
        for id in stalled {
            due.extend(self.catch_up(id, now, spread, MissedReason::Suspended));
        }
        due
    }

    fn serve(&mut self, queued: Queued, now: Timestamp, due: &mut Vec<Due>, stalled: &mut Vec<EndpointId>) {
        let Some(planned) = self.entries.get_mut(&queued.id) else { return };
        let id = queued.id;
        match queued.kind {
            QueuedKind::Confirm if queued.generation == planned.confirm_generation => {
                let scheduled_at = planned.stamp(now);
                due.push(Due::Check { id, scheduled_at, due_at: queued.at, trigger: Trigger::Confirming });
            }
            QueuedKind::Slot if queued.generation == planned.slot_generation && planned.vigil.is_some() => {
                self.end_vigil(id, now, due);
            }
            QueuedKind::Slot if queued.generation == planned.slot_generation => {
                let Some((at, slot)) = planned.next else { return };
                if now - at > chrono::TimeDelta::from_std(STALL).unwrap_or_default() {
                    stalled.push(id);
                    return;
                }
                // A confirming check planned before this slot is now made by it.
                planned.confirm_generation = 0;
                let mut slot = slot;
                let slots = planned.known.endpoint.schedule.slots(id);
                // Late by more than an interval, yet no stall: short intervals under load.
                if let Some(current) = slots.at_or_before(now).filter(|current| *current > slot) {
                    let missed = slots.count_between(slot, current) + 1;
                    let last = slots.at_or_before(from_micros(micros(current) - 1)).unwrap_or(slot);
                    let scheduled_at = planned.stamp(last);
                    due.push(Due::Missed { id, scheduled_at, slots: missed, reason: MissedReason::Overload });
                    slot = current;
                }
                let scheduled_at = planned.stamp(slot);
                due.push(Due::Check { id, scheduled_at, due_at: at, trigger: Trigger::Scheduled });
                self.queue_next(id, now);
            }
            _ => {}
        }
    }

    fn insert(&mut self, known: Arc<KnownEndpoint>, last_stamp: Option<Timestamp>, now: Timestamp) {
        let id = known.id;
        let vigil = known.endpoint.check.push().filter(|_| !self.asks_all).map(|_| Vigil::begin(now));
        let (slot_generation, confirm_generation, next) = (0, 0, None);
        let planned = Planned { known, slot_generation, confirm_generation, next, last_stamp, vigil };
        self.entries.insert(id, planned);
    }

    /// Plans the current slot, spread, if nothing was recorded for it yet, and tells the gap before it.
    fn catch_up(&mut self, id: EndpointId, now: Timestamp, spread: Duration, reason: MissedReason) -> Option<Due> {
        let planned = self.entries.get_mut(&id)?;
        let known = planned.known.clone();
        let slots = known.endpoint.schedule.slots(id);
        let Some(current) = slots.at_or_before(now) else {
            self.queue_next(id, now);
            return None;
        };
        if planned.last_stamp.is_some_and(|last| last >= current) {
            self.queue_next(id, now);
            return None;
        }
        let interval = known.endpoint.schedule.interval(now);
        let at = now + golden_offset(id, spread.min(interval));
        let next = slots.next_after(now);
        // The spread check may come so late that the next slot is there: then that slot is the first check and
        // the current one belongs to the gap.
        let overtaken = next.is_some_and(|next| next <= at);
        let gap_end = if overtaken { next.unwrap_or(current) } else { current };
        let due = planned.last_stamp.and_then(|last| {
            let after = last.max(from_micros(micros(known.scheduled_from) - 1));
            let missed = slots.count_between(after, gap_end);
            let last_missed = slots.at_or_before(from_micros(micros(gap_end) - 1))?;
            (missed > 0).then(|| Due::Missed { id, scheduled_at: planned.stamp(last_missed), slots: missed, reason })
        });
        if overtaken {
            self.queue_next(id, now);
        } else {
            self.queue_slot(id, at, current.max(known.scheduled_from));
        }
        due
    }

    /// After the wall clock went backwards: every endpoint is due at its next slot from here, and what was to be confirmed
    /// still is.
    fn plan_anew(&mut self, now: Timestamp) {
        let is_valid = |queued: &Queued| {
            let planned = self.entries.get(&queued.id);
            queued.kind == QueuedKind::Confirm && planned.is_some_and(|p| p.confirm_generation == queued.generation)
        };
        let unconfirmed: Vec<_> = self.queue.iter().map(|Reverse(q)| *q).filter(is_valid).map(|q| q.id).collect();
        self.queue.clear();
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            if let Some(vigil) = self.entries.get_mut(&id).and_then(|planned| planned.vigil.as_mut()) {
                vigil.set_back(now);
            }
            self.queue_next(id, now);
        }
        for id in unconfirmed {
            self.confirm(id, now);
        }
    }

    fn queue_next(&mut self, id: EndpointId, now: Timestamp) {
        let Some(planned) = self.entries.get_mut(&id) else { return };
        if planned.vigil.is_some() {
            return self.queue_deadline(id);
        }
        match planned.known.endpoint.schedule.slots(id).next_after(now) {
            Some(slot) => self.queue_slot(id, slot, slot),
            None => planned.next = None,
        }
    }

    fn queue_slot(&mut self, id: EndpointId, at: Timestamp, slot: Timestamp) {
        let Some(planned) = self.entries.get_mut(&id) else { return };
        self.generation += 1;
        planned.slot_generation = self.generation;
        planned.next = Some((at, slot));
        self.queue.push(Reverse(Queued { at, id, kind: QueuedKind::Slot, generation: self.generation }));
    }
}

impl Planned {
    /// After a backward jump of the clock a slot may not be newer than the last one recorded; it is stamped
    /// just behind it, until the wall clock has caught up.
    fn stamp(&mut self, at: Timestamp) -> Timestamp {
        let stamp = match self.last_stamp {
            Some(last) if at <= last => from_micros(micros(last) + 1),
            _ => at,
        };
        self.last_stamp = Some(stamp);
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::{EndpointSettings, Layers, Origin, resolve};
    use crate::domain::setting::DurationSetting;
    use proptest::prelude::*;

    const START: &str = "2026-11-21T12:00:00Z";

    fn start() -> Timestamp {
        START.parse().unwrap()
    }

    fn known(id: i64, interval_s: u64, since: Timestamp) -> Arc<KnownEndpoint> {
        let settings = EndpointSettings {
            name: Some(format!("e{id}")),
            url: Some("http://127.0.0.1:1/".into()),
            interval: Some(DurationSetting(Duration::from_secs(interval_s))),
            timeout: Some(DurationSetting(Duration::from_secs(1))),
            ..EndpointSettings::default()
        };
        let defaults = EndpointSettings::default();
        let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
        let endpoint = resolve(&settings, layers, since).unwrap();
        Arc::new(KnownEndpoint {
            id: EndpointId(id),
            origin: Origin::Config,
            source: None,
            revision: 1,
            created_at: since,
            updated_at: since,
            scheduled_from: since,
            settings,
            endpoint,
            paused: false,
        })
    }

    fn seconds(s: i64) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(s)
    }

    /// Walks the plan from wake to wake up to `until`; gives what was due, when.
    fn walk(plan: &mut Plan, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Due)> {
        let mut all: Vec<_> = plan.due(from).into_iter().map(|due| (from, due)).collect();
        while let Some(wake) = plan.next_wake().filter(|wake| *wake <= until) {
            let now = wake.max(from);
            all.extend(plan.due(now).into_iter().map(|due| (now, due)));
        }
        all
    }

    fn scheduled(due: &[(Timestamp, Due)], wanted: i64) -> Vec<Timestamp> {
        due.iter()
            .filter_map(|(_, due)| match due {
                Due::Check { id, scheduled_at, trigger: Trigger::Scheduled, .. } if id.0 == wanted => {
                    Some(*scheduled_at)
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn every_slot_is_served_once_on_its_grid_without_drift() {
        let mut plan = Plan::new();
        let endpoints = (1..=50).map(|id| (known(id, 10, start()), None)).collect();
        assert_eq!(plan.start(endpoints, start()), []);
        let due = walk(&mut plan, start(), start() + seconds(600));
        for id in 1..=50 {
            let slots = scheduled(&due, id);
            assert!((60..=61).contains(&slots.len()), "endpoint {id} was checked {} times", slots.len());
            // The first check stands for the slot at the start, the others lie exactly on the grid.
            for pair in slots[1..].windows(2) {
                assert_eq!(pair[1] - pair[0], seconds(10));
            }
        }
        let late = due.iter().filter(|(now, due)| matches!(due, Due::Check { due_at, .. } if now != due_at)).count();
        assert_eq!(late, 0);
    }

    #[test]
    fn checks_of_a_start_are_spread() {
        let mut plan = Plan::new();
        plan.start((1..=1000).map(|id| (known(id, 3600, start()), None)).collect(), start());
        let due = walk(&mut plan, start(), start() + seconds(10));
        assert!(due.len() >= 1000, "only {} checked within 10 s", due.len());
        for second in 0..10 {
            let window = start() + seconds(second)..start() + seconds(second + 1);
            let count = due.iter().filter(|(now, _)| window.contains(now)).count();
            assert!((80..=120).contains(&count), "{count} in second {second}");
        }
    }

    #[test]
    fn slots_of_a_stopped_process_are_one_gap() {
        let endpoint = known(1, 10, start() - seconds(3600));
        let slots = endpoint.endpoint.schedule.slots(EndpointId(1));
        let last = slots.at_or_before(start() - seconds(605)).unwrap();
        let mut plan = Plan::new();
        let gaps = plan.start(vec![(endpoint.clone(), Some(last))], start());
        let due = walk(&mut plan, start(), start() + seconds(10));
        let first = scheduled(&due, 1)[0];
        let [Due::Missed { slots: missed, scheduled_at, reason: MissedReason::Stopped, .. }] = gaps[..] else {
            panic!("{gaps:?}")
        };
        // Gap and first check together cover every slot since the last one, none twice.
        assert_eq!(missed, slots.count_between(last, first));
        assert!(last < scheduled_at && scheduled_at < first);
    }

    #[test]
    fn an_endpoint_checked_within_the_current_slot_waits_for_the_next() {
        let endpoint = known(1, 3600, start() - seconds(86_400));
        let current = endpoint.endpoint.schedule.slots(EndpointId(1)).at_or_before(start());
        let mut plan = Plan::new();
        assert_eq!(plan.start(vec![(endpoint, current)], start()), []);
        assert_eq!(plan.next_wake(), current.map(|slot| slot + seconds(3600)));
    }

    #[test]
    fn a_new_endpoint_is_checked_at_once_and_not_as_of_before_it_was_made() {
        let mut plan = Plan::new();
        plan.start(Vec::new(), start());
        plan.add(known(7, 3600, start()), None, start());
        assert_eq!(scheduled(&walk(&mut plan, start(), start()), 7), [start()]);
    }

    #[test]
    fn a_changed_schedule_takes_effect_at_its_next_slot_and_a_removed_one_never_runs() {
        let mut plan = Plan::new();
        plan.start(vec![(known(1, 600, start()), None), (known(2, 10, start()), None)], start());
        walk(&mut plan, start(), start() + seconds(10));
        let now = start() + seconds(10);
        let changed = known(1, 20, start());
        let next = changed.endpoint.schedule.slots(EndpointId(1)).next_after(now).unwrap();
        plan.change(changed, now);
        plan.remove(EndpointId(2));
        let due = walk(&mut plan, now, now + seconds(60));
        assert_eq!(scheduled(&due, 1)[0], next);
        assert_eq!(scheduled(&due, 1).len(), 3);
        assert!(scheduled(&due, 2).is_empty());
        // Back again: what was queued of the former entry stays void.
        plan.add(known(2, 10, start()), None, now + seconds(60));
        let due = walk(&mut plan, now + seconds(60), now + seconds(90));
        assert!(scheduled(&due, 2).windows(2).skip(1).all(|pair| pair[1] - pair[0] == seconds(10)));
    }

    #[test]
    fn a_confirming_check_comes_early_unless_the_slot_is_near() {
        let mut plan = Plan::new();
        let endpoint = known(1, 60, start());
        let slots = endpoint.endpoint.schedule.slots(EndpointId(1));
        let slot = slots.next_after(start() + seconds(60)).unwrap();
        plan.start(vec![(endpoint.clone(), None)], start());
        walk(&mut plan, start(), slot);
        plan.confirm(EndpointId(1), slot);
        assert_eq!(plan.next_wake(), Some(slot + seconds(10)));
        let due = plan.due(slot + seconds(10));
        assert!(matches!(due[..], [Due::Check { trigger: Trigger::Confirming, .. }]), "{due:?}");
        // Ten seconds and a timeout before the next slot there is no room for one.
        plan.confirm(EndpointId(1), slot + seconds(49) + chrono::TimeDelta::milliseconds(500));
        assert_eq!(plan.next_wake(), Some(slot + seconds(60)));
    }

    #[test]
    fn a_sleeping_machine_makes_one_gap_and_spread_checks() {
        let mut plan = Plan::new();
        plan.start((1..=100).map(|id| (known(id, 10, start()), None)).collect(), start());
        walk(&mut plan, start(), start() + seconds(100));
        let woken = start() + seconds(4000);
        let at_once = plan.due(woken);
        let gaps: u32 = at_once
            .iter()
            .map(|due| match due {
                Due::Missed { slots, reason: MissedReason::Suspended, .. } => *slots,
                other => panic!("{other:?} in the instant of waking"),
            })
            .sum();
        assert!((38_900..=39_100).contains(&gaps), "{gaps}");
        let due = walk(&mut plan, woken, woken + seconds(10));
        assert!(due.iter().filter(|(now, _)| *now < woken + seconds(1)).count() < 30);
    }

    #[test]
    fn a_clock_set_back_stops_nothing_and_stamps_stay_in_order() {
        let mut plan = Plan::new();
        plan.start(vec![(known(1, 10, start()), None)], start());
        let before = scheduled(&walk(&mut plan, start(), start() + seconds(100)), 1);
        let back = start() - seconds(3600);
        let after = scheduled(&walk(&mut plan, back, back + seconds(100)), 1);
        assert_eq!(after.len(), 10);
        let last = before.last().unwrap();
        assert_eq!(after[0], from_micros(micros(*last) + 1));
        assert!(after.windows(2).all(|pair| pair[0] < pair[1]));
    }

    proptest! {
        /// Whatever happens to the clock, stamps of an endpoint only grow, and while it runs evenly every slot is
        /// either checked or told as missed, once.
        #[test]
        fn stamps_grow_and_no_slot_is_lost(steps in proptest::collection::vec(-20_i64..40, 1..60), interval in 1_u64..30) {
            let mut plan = Plan::new();
            plan.start(vec![(known(3, interval, start()), None)], start());
            let mut now = start();
            let (mut first, mut last): (Option<Timestamp>, Option<Timestamp>) = (None, None);
            let mut covered: u64 = 0;
            let forward = steps.iter().all(|step| *step >= 0);
            for step in steps {
                now += seconds(step);
                for due in plan.due(now) {
                    let (stamp, slots) = match due {
                        Due::Check { scheduled_at, .. } => (scheduled_at, 1),
                        Due::Missed { scheduled_at, slots, .. } => (scheduled_at, slots),
                        Due::Overdue { .. } => unreachable!("it is no push endpoint"),
                    };
                    prop_assert!(last.is_none_or(|last| stamp > last));
                    // What comes first stands for slots up to its own.
                    if first.is_none() {
                        first = Some(stamp);
                        last = first;
                        continue;
                    }
                    last = Some(stamp);
                    covered += u64::from(slots);
                }
            }
            if let (true, Some(first), Some(last)) = (forward, first, last) {
                let endpoint = known(3, interval, start());
                let slots = endpoint.endpoint.schedule.slots(EndpointId(3));
                prop_assert_eq!(covered, u64::from(slots.count_between(first, from_micros(micros(last) + 1))));
            }
        }
    }
}
