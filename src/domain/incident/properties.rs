//! What holds of the machine whatever happens to it: results of every sort, time, a clock that jumps, restarts,
//! edits and changes of policy, in any order.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::alert_policy::{EscalationStep, FailureThreshold, FlapPolicy, ReminderPolicy};
use crate::domain::check::Timings;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::MissedReason;
use crate::domain::suppression::Hold;
use crate::domain::{from_micros, micros};

const SECOND: i64 = 1_000_000;

#[derive(Debug, Clone)]
enum Move {
    Check(Sort),
    /// So many seconds go by, in steps in which the machine is asked each time.
    Pass(i64),
    /// The wall clock is set by so many seconds, while no time goes by.
    Jump(i64),
    Restart,
    /// What is checked was changed.
    Edit,
    Abandon,
    Policy(AlertPolicy),
    /// Somebody acknowledges, for so many seconds or for as long as the policy says.
    Acknowledge(Option<u64>),
    /// Somebody resolves by hand.
    Resolve,
    /// Something keeps outages, reminders and escalation back, from now on or no longer.
    Silence(bool),
}

#[derive(Debug, Clone)]
struct Sort {
    outcome: Outcome,
    trigger: Trigger,
    in_maintenance: bool,
    start_grace: bool,
}

fn sorts() -> impl Strategy<Value = Sort> {
    let failure = |kind| Outcome::Down(Failure::new(kind, "It failed"));
    let outcome = prop_oneof![
        6 => Just(Outcome::Up),
        4 => Just(Outcome::Degraded),
        5 => Just(failure(FailureKind::HttpStatus)),
        2 => Just(failure(FailureKind::ConnectRefused)),
        1 => Just(failure(FailureKind::DnsTimeout)),
        1 => Just(Outcome::Missed(MissedReason::Overload)),
        1 => Just(Outcome::Missed(MissedReason::Stopped)),
    ];
    let trigger =
        prop_oneof![4 => Just(Trigger::Scheduled), 2 => Just(Trigger::Confirming), 1 => Just(Trigger::Manual)];
    (outcome, trigger, prop::bool::weighted(0.1), prop::bool::weighted(0.15)).prop_map(
        |(outcome, trigger, in_maintenance, start_grace)| Sort { outcome, trigger, in_maintenance, start_grace },
    )
}

fn policies() -> impl Strategy<Value = AlertPolicy> {
    let cooldown = prop_oneof![Just(0_u64), 1_u64..=600];
    let reminder = prop::option::of((1_u64..200, 1.0_f64..3.0, 200_u64..1_000));
    let threshold = prop_oneof![
        3 => (1_u32..=4).prop_map(FailureThreshold::in_a_row),
        1 => (1_u32..=3, 0_u32..=3).prop_map(|(failures, more)| FailureThreshold { failures, of: failures + more }),
    ];
    let flap = prop::option::of((1_u32..8, 60_u64..900))
        .prop_map(|flap| flap.map(|(changes, window)| FlapPolicy { changes, window: Duration::from_secs(window) }));
    let escalation = prop::collection::vec(1_u64..200, 0..3).prop_map(|pauses| {
        let mut after = 0;
        let step = |pause| {
            after += pause;
            EscalationStep { after: Duration::from_secs(after), notify: vec!["on-call".to_owned()] }
        };
        pauses.into_iter().map(step).collect()
    });
    let more = (flap, escalation, 60_u64..600, prop::option::of(1_u32..4), any::<bool>());
    (threshold, 1_u32..=4, any::<bool>(), cooldown, reminder, more).prop_map(
        |(
            failure_threshold,
            successes,
            tells,
            cooldown,
            reminder,
            (flap, escalation, acknowledge_for, no_data_after, notify_degraded),
        )| AlertPolicy {
            failure_threshold,
            flap,
            escalation,
            acknowledge_for: Duration::from_secs(acknowledge_for),
            no_data_after,
            success_threshold: successes,
            send_recovery: tells,
            notify_degraded,
            cooldown: Duration::from_secs(cooldown),
            reminder: reminder.map(|(every, backoff, max)| ReminderPolicy {
                every: Duration::from_secs(every),
                backoff,
                max: Duration::from_secs(max),
            }),
            ..AlertPolicy::default()
        },
    )
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        24 => sorts().prop_map(Move::Check),
        8 => (1_i64..400).prop_map(Move::Pass),
        1 => (-100_000_i64..100_000).prop_map(Move::Jump),
        2 => Just(Move::Restart),
        1 => Just(Move::Edit),
        1 => Just(Move::Abandon),
        1 => policies().prop_map(Move::Policy),
        2 => prop::option::of(60_u64..600).prop_map(Move::Acknowledge),
        1 => Just(Move::Resolve),
        2 => any::<bool>().prop_map(Move::Silence),
    ];
    prop::collection::vec(one, 0..120)
}

/// The machine, and what somebody who saw only its results and what it says would expect of it.
struct World {
    state: EndpointState,
    policy: AlertPolicy,
    wall_us: i64,
    /// Time that really went by, in microseconds.
    passed: i64,
    checks: i64,
    /// The identity of the open incident.
    open: Option<Timestamp>,
    /// Identities of incidents, and what was told, ever.
    incidents: HashSet<Timestamp>,
    ids: HashSet<(Event, Timestamp, u32)>,
    /// A recovery was held since the endpoint was last told, or found, down.
    was_held: bool,
    /// No threshold looked at a window, ever.
    all_in_a_row: bool,
    /// First checks of the present run of good ones, or of failures that count.
    good_since: Option<Timestamp>,
    bad_since: Option<Timestamp>,
    /// The same of degraded ones that count, and of those that are not even that.
    degraded_since: Option<Timestamp>,
    fine_since: Option<Timestamp>,
    /// When a recovery was last told in this monitoring, by the time that really went by; with that cooldown.
    recovery_told: Option<i64>,
    /// When a reminder, or the outage, was last told.
    outage_told: i64,
    around: Facts,
    missed: MissedRun,
    /// What was told last, in this monitoring.
    last_word: Option<Event>,
    /// Ids of what was noted and not told.
    kept_back: HashSet<(Event, Timestamp, u32)>,
    /// It was told that it is not watched.
    unwatched: bool,
}

impl World {
    fn new(policy: AlertPolicy) -> Self {
        Self {
            all_in_a_row: policy.failure_threshold.is_in_a_row(),
            state: EndpointState::pending(from_micros(0)),
            policy,
            wall_us: 1_000_000 * SECOND,
            passed: 0,
            checks: 0,
            open: None,
            incidents: HashSet::new(),
            ids: HashSet::new(),
            was_held: false,
            good_since: None,
            bad_since: None,
            degraded_since: None,
            fine_since: None,
            recovery_told: None,
            outage_told: 0,
            around: Facts::default(),
            missed: MissedRun::default(),
            last_word: None,
            kept_back: HashSet::new(),
            unwatched: false,
        }
    }

    fn now(&self) -> Timestamp {
        from_micros(self.wall_us)
    }

    fn make(&mut self, one: &Move) {
        match one {
            Move::Check(sort) => self.check(sort),
            Move::Pass(seconds) => self.pass(*seconds),
            Move::Jump(seconds) => {
                self.wall_us += seconds * SECOND;
                // How long ago something was by the clock says nothing now.
                self.recovery_told = None;
                self.outage_told = i64::MIN / 2;
            }
            Move::Restart => self.restart(),
            Move::Edit => {
                self.state = self.state.recounted();
                (self.bad_since, self.degraded_since, self.fine_since) = (None, None, None);
                if self.state.is_down() {
                    self.good_since = None;
                }
            }
            Move::Abandon => self.abandon(),
            Move::Acknowledge(wanted) => self.acknowledge(*wanted),
            Move::Resolve => self.resolve(),
            Move::Silence(silenced) => {
                self.around.silence = silenced.then(|| Hold { name: "one".to_owned(), until: None });
            }
            Move::Policy(policy) => {
                self.policy = policy.clone();
                self.all_in_a_row &= policy.failure_threshold.is_in_a_row();
                self.recovery_told = None;
                self.outage_told = i64::MIN / 2;
            }
        }
    }

    fn restart(&mut self) {
        let again = EndpointState {
            incident: self.state.incident.as_ref().map(through_json),
            recovered: self.state.recovered.as_ref().map(through_json),
            trail: through_json(&self.state.trail),
            ..self.state.clone()
        };
        assert_eq!(again, self.state);
        self.state = again;
        self.missed = MissedRun::default();
    }

    fn check(&mut self, sort: &Sort) {
        // No two checks begin in the same microsecond.
        self.checks += 1;
        self.wall_us += 1;
        let began = from_micros(self.wall_us);
        self.wall_us += SECOND / 10;
        self.passed += SECOND / 10 + 1;
        let result = CheckResult {
            endpoint_id: EndpointId(1),
            scheduled_at: began,
            started_at: began,
            outcome: sort.outcome.clone(),
            slots: 1,
            status_code: None,
            timings: Timings::default(),
            attempts: 1,
            trigger: sort.trigger,
            in_maintenance: sort.in_maintenance,
        };
        let start_grace = sort.start_grace.then(|| Hold { name: String::new(), until: None });
        let around = Facts { start_grace, ..self.around.clone() };
        let before = self.state.clone();
        let now = self.now();
        let unwatched = watch(&self.state, &mut self.missed, &result, &self.policy, &around, now);
        if let Some(step) = unwatched {
            assert!(matches!(sort.outcome, Outcome::Missed(MissedReason::Overload)));
            assert!(matches!(step.incident, Some(IncidentChange::Unwatched { .. })));
            return self.see(&before, step);
        }
        let step = step(&self.state, &result, &self.policy, &around, self.now());
        let ends = sort.outcome.is_good() && before.incident.is_some();
        if sort.in_maintenance && !ends || matches!(sort.outcome, Outcome::Missed(_)) {
            assert_eq!(step, Step::unchanged(&before), "it says nothing about the endpoint");
            return;
        }
        match &sort.outcome {
            Outcome::Down(_) => {
                self.good_since = None;
                if sort.trigger != Trigger::Manual {
                    self.bad_since.get_or_insert(began);
                }
            }
            _ => {
                self.bad_since = None;
                self.good_since.get_or_insert(began);
            }
        }
        if !sort.in_maintenance {
            match &sort.outcome {
                Outcome::Down(_) => self.fine_since = None,
                Outcome::Degraded => {
                    self.fine_since = None;
                    if sort.trigger != Trigger::Manual {
                        self.degraded_since.get_or_insert(began);
                    }
                }
                _ => {
                    self.degraded_since = None;
                    self.fine_since.get_or_insert(began);
                }
            }
        }
        let counting = match &sort.outcome {
            Outcome::Down(_) => step.state.failures > 0,
            _ => step.state.successes > 0,
        };
        assert_eq!(step.confirm, counting, "an early check exactly after what is unconfirmed");
        self.see(&before, step);
    }

    fn pass(&mut self, seconds: i64) {
        let mut left = seconds;
        while left > 0 {
            let pause = left.min(7);
            left -= pause;
            self.passed += pause * SECOND;
            self.wall_us += pause * SECOND;
            self.let_time_work();
        }
    }

    fn let_time_work(&mut self) {
        for _ in 0..10 {
            let before = self.state.clone();
            let Some(step) = advance(&self.state, &self.policy, &self.around, self.now()) else {
                return self.nothing_is_untold();
            };
            assert!(step.transition.is_none() && !step.confirm, "time is no verdict");
            self.see(&before, step);
        }
        panic!("it always has something more to do: {:?}", self.state);
    }

    /// Whatever went before: who knows that it is down, or what keeps that back.
    fn nothing_is_untold(&self) {
        if !self.state.is_down() {
            return;
        }
        let down = [Event::Down, Event::DownAgain, Event::Reminder, Event::Escalated, Event::Acknowledged];
        let is_told = self.last_word.is_some_and(|event| down.contains(&event));
        let held = decide(Matter::Opening, &self.state.facts(&self.around), self.now());
        assert!(is_told || held.is_some(), "down, and nobody was told: {:?}", self.state);
    }

    fn acknowledge(&mut self, wanted: Option<u64>) {
        let before = self.state.clone();
        let by = Acknowledging { by: "ci".to_owned(), note: None, wanted: wanted.map(Duration::from_secs) };
        match acknowledge(&self.state, by, &self.policy, self.now()) {
            Some(step) => self.see(&before, step),
            None => assert_eq!(self.open, None),
        }
    }

    fn resolve(&mut self) {
        let before = self.state.clone();
        match resolve_by_hand(&self.state, &self.policy, self.now()) {
            Ok(step) => {
                // As often as somebody likes.
                self.recovery_told = None;
                self.see(&before, step);
                self.recovery_told = None;
            }
            Err(Unresolvable::NothingOpen) => assert_eq!(self.open, None),
            Err(Unresolvable::ChecksFail) => {
                assert!(self.open.is_some());
                assert!(before.incident.is_some_and(|incident| incident.held.is_none()) && before.successes == 0);
            }
        }
    }

    fn abandon(&mut self) {
        let before = self.state.clone();
        let Some(step) = abandon(&self.state, self.now()) else {
            assert_eq!(self.open, None);
            return;
        };
        assert_eq!(step.state, EndpointState::pending(self.now()));
        let is_over = matches!(step.incident, Some(IncidentChange::Abandoned { .. }));
        let of_none =
            matches!(step.incident, Some(IncidentChange::WatchedAgain { .. } | IncidentChange::Unimpaired { .. }));
        assert!(is_over || of_none);
        self.told(&before, &step);
        self.state = step.state;
        (self.good_since, self.bad_since, self.recovery_told) = (None, None, None);
        (self.degraded_since, self.fine_since) = (None, None);
        self.last_word = None;
    }

    fn see(&mut self, before: &EndpointState, step: Step) {
        self.told(before, &step);
        self.confirmed(before, &step);
        if step.transition.is_some() {
            // The next check begins anew.
            (self.degraded_since, self.fine_since) = (None, None);
        }
        self.state = step.state;
        self.sound();
    }

    /// The status changes exactly by transitions, at what began the run.
    fn confirmed(&self, before: &EndpointState, step: &Step) {
        let Some(transition) = &step.transition else {
            assert_eq!((before.status, before.since), (step.state.status, step.state.since));
            return;
        };
        assert_eq!((transition.from, transition.to), (before.status, step.state.status));
        assert_ne!(transition.from, transition.to);
        assert_eq!(transition.since, step.state.since);
        let run = match (transition.from, transition.to) {
            (_, Status::Down) => self.bad_since,
            (_, Status::Degraded) => self.degraded_since,
            (Status::Degraded, _) => self.fine_since,
            _ => self.good_since,
        };
        // The window of another threshold may have begun before.
        let is_run = transition.to == Status::Up || self.all_in_a_row;
        if is_run && (before.status != Status::Pending || transition.to == Status::Down) {
            assert_eq!(Some(transition.since), run, "since the first check of its run");
        }
        if transition.to == Status::Down {
            let told = step.tell.is_some_and(|tell| matches!(tell.event, Event::Down | Event::DownAgain));
            assert!(told || self.was_held, "an outage is told at once, unless its last end was not told either");
        }
    }

    /// Which change is told how, and which change may follow which.
    fn told(&mut self, before: &EndpointState, step: &Step) {
        let Some(change) = &step.incident else {
            assert_eq!(step.tell, None, "nothing is told without a change");
            return;
        };
        let silenced = self.around.silence.as_ref().map(|_| Suppressor::Silence);
        let tell = |event, span, ordinal| Some(Tell { event, span, ordinal, held_by: None });
        let flapping = step.tell.filter(|tell| tell.event == Event::Flapping);
        if let Some(tell) = flapping {
            assert!(self.policy.flap.is_some());
            assert!(before.incident.as_ref().is_some_and(|incident| incident.flapping.is_none()), "told once");
            assert!(step.state.incident.as_ref().is_some_and(|incident| incident.flapping.is_some()));
            assert_eq!((tell.span, tell.held_by), (step.state.since, silenced));
        }
        let of = before.incident.as_ref();
        let is_quiet = of.is_some_and(|i| i.flapping.is_some() || i.held.is_some() || i.untold.is_some());
        let is_acknowledged =
            of.and_then(|i| i.acknowledged.as_ref()).is_some_and(|a| !a.is_over && self.now() < a.until);
        let expected = match change {
            IncidentChange::Opened | IncidentChange::Reopened => {
                assert_eq!(self.open, None);
                let incident = step.state.incident.as_ref().unwrap();
                let again = *change == IncidentChange::Reopened;
                assert_eq!(self.incidents.insert(incident.started_at), !again, "new exactly if opened first");
                assert_eq!(incident.reopened, again);
                self.open = Some(incident.started_at);
                self.was_held = false;
                self.outage_told = self.passed;
                let event = if again { Event::DownAgain } else { Event::Down };
                Some(Tell { held_by: silenced, ..Tell::of(event, step.state.since) })
            }
            IncidentChange::DownAgain => {
                assert!(self.was_held, "only after a recovery that was held");
                assert_ne!(before.status, Status::Down);
                let is_over = of.is_some_and(|i| i.flapping.is_some()) && self.policy.flap.is_none();
                let again = is_over.then(|| Tell { held_by: silenced, ..Tell::of(Event::DownAgain, step.state.since) });
                flapping.or(again)
            }
            IncidentChange::RecoveryHeld { since } => {
                assert_eq!(Some(*since), self.good_since);
                self.was_held = true;
                flapping
            }
            IncidentChange::CauseChanged => {
                assert_eq!((before.status, step.state.status), (Status::Down, Status::Down));
                assert_ne!(before.cause.as_ref().map(|c| c.kind), step.state.cause.as_ref().map(|c| c.kind));
                None
            }
            IncidentChange::Reminded => {
                assert!(!is_quiet && !is_acknowledged && silenced.is_none());
                assert_eq!(before.status, Status::Down, "no reminder while a recovery is held");
                let reminder = self.policy.reminder.as_ref().unwrap();
                let silent = u64::try_from(self.passed.saturating_sub(self.outage_told)).unwrap();
                assert!(Duration::from_micros(silent) >= reminder.every.min(reminder.max));
                self.outage_told = self.passed;
                tell(Event::Reminder, before.since, before.incident.as_ref().unwrap().reminders + 1)
            }
            IncidentChange::Escalated { step, notify } => {
                assert!(!is_quiet && !is_acknowledged && silenced.is_none());
                assert_eq!(before.status, Status::Down);
                let told = of.unwrap().escalated;
                assert_eq!(
                    (*step, Some(notify)),
                    (told + 1, self.policy.escalation.get(told as usize).map(|s| &s.notify))
                );
                tell(Event::Escalated, before.since, *step)
            }
            IncidentChange::Acknowledged => {
                let incident = of.unwrap();
                tell(Event::Acknowledged, incident.span_started_at, incident.acknowledgements + 1)
            }
            IncidentChange::AcknowledgementEnded => {
                assert!(of.unwrap().acknowledged.as_ref().is_some_and(|a| !a.is_over));
                None
            }
            IncidentChange::Told => {
                assert_eq!((before.status, silenced), (Status::Down, None));
                self.outage_told = self.passed;
                tell(of.unwrap().untold.unwrap(), before.since, 0)
            }
            IncidentChange::MaintenanceBegan | IncidentChange::MaintenanceEnded => {
                let maintained = *change == IncidentChange::MaintenanceBegan;
                assert!(step.state.incident.as_ref().is_some_and(|incident| incident.maintained == maintained));
                None
            }
            IncidentChange::StaysDown => {
                assert_eq!(before.status, Status::Down);
                assert!(of.unwrap().flapping.is_some());
                self.outage_told = self.passed;
                Some(Tell { held_by: silenced, ..Tell::of(Event::DownAgain, before.since) })
            }
            IncidentChange::Resolved { incident, resolved_at } => {
                assert_eq!(Some(incident.started_at), self.open.take());
                assert_eq!(Some(*resolved_at), self.good_since, "resolved since the first good check of the last run");
                assert!(step.state.status.is_healthy());
                let was_degraded = before.trail.impaired.told.is_some();
                let is_told = self.policy.send_recovery && incident.is_told;
                if is_told {
                    self.good_run_told();
                }
                let ends = is_told || self.policy.send_recovery && was_degraded;
                ends.then_some(Tell::of(Event::Up, *resolved_at))
            }
            IncidentChange::Abandoned { incident, .. } => {
                assert_eq!(Some(incident.started_at), self.open.take());
                tell(Event::NoLongerMonitored, incident.span_started_at, 0)
            }
            IncidentChange::Unwatched { since } => {
                assert!(self.open.is_none() && silenced.is_none() && !self.unwatched);
                self.unwatched = true;
                tell(Event::NoData, *since, 0)
            }
            IncidentChange::Impaired { since } => {
                assert!(self.policy.notify_degraded && self.open.is_none() && before.trail.impaired.told.is_none());
                assert_eq!((step.state.status, step.state.since), (Status::Degraded, *since));
                Some(Tell { held_by: silenced, ..Tell::of(Event::Degraded, *since) })
            }
            IncidentChange::Unimpaired { since } => {
                assert!(before.trail.impaired.told.is_some() && step.state.trail.impaired.told.is_none());
                match step.state.status {
                    Status::Pending => tell(Event::NoLongerMonitored, *since, 0),
                    _ => tell(Event::Up, *since, 1).filter(|_| self.policy.send_recovery),
                }
            }
            IncidentChange::WatchedAgain { since } => {
                assert!(self.unwatched);
                match step.state.status {
                    Status::Pending => tell(Event::NoLongerMonitored, *since, 0),
                    _ => self.good_since.filter(|_| self.policy.send_recovery).map(|_| step.tell.unwrap()),
                }
            }
        };
        self.unwatched = step.state.trail.unwatched.is_some();
        assert_eq!(step.tell, expected, "{change:?}");
        if let Some(Tell { event, span, ordinal, held_by }) = step.tell {
            if held_by.is_some() {
                assert!(self.kept_back.insert((event, span, ordinal)), "noted before: {event} {span} {ordinal}");
                return;
            }
            assert!(self.ids.insert((event, span, ordinal)), "told before: {event} {span} {ordinal}");
            self.last_word = Some(event);
        }
    }

    /// A flapping endpoint costs one recovery a cooldown.
    fn good_run_told(&mut self) {
        if let Some(told) = self.recovery_told {
            let apart = Duration::from_micros(u64::try_from(self.passed - told).unwrap());
            assert!(apart >= self.policy.cooldown, "{apart:?} apart");
        }
        self.recovery_told = Some(self.passed);
    }

    /// What holds of the state at any time.
    fn sound(&self) {
        let state = &self.state;
        assert_eq!(state.incident.as_ref().map(|incident| incident.started_at), self.open);
        assert_eq!(state.is_down(), state.cause.is_some());
        assert!(!state.is_down() || state.incident.is_some(), "down has an incident");
        assert_eq!(state.run_started_at.is_some(), state.failures + state.successes > 0);
        assert!(if state.is_down() { state.failures == 0 } else { state.successes == 0 });
        if let Some(incident) = &state.incident {
            let may_be_held = incident.reopened || incident.flapping.is_some();
            assert!(state.is_down() || may_be_held, "only one that was told over, or flaps, has its recovery held");
            assert!(incident.flapping.is_none_or(|flapping| flapping.steady_at.is_some() == state.is_down()));
            assert!(incident.is_told || incident.untold.is_some() || incident.flapping.is_some());
            assert!(incident.held.is_none() || !state.is_down());
            if state.is_down() {
                assert_eq!((incident.span_started_at, Some(&incident.cause)), (state.since, state.cause.as_ref()));
            }
        }
        if let (Some(open), Some(recovered)) = (&state.incident, &state.recovered) {
            assert_eq!(open.started_at, recovered.started_at, "of the incident that was opened again");
        }
        assert!(state.trail.window.is_empty() || (!state.is_down() && state.trail.window[0].is_some()));
        assert!(state.trail.unwatched.is_none() || state.incident.is_none());
        let impaired = &state.trail.impaired;
        assert!(impaired.window.is_empty() || matches!(state.status, Status::Up), "counted only while up");
        assert!(!impaired.untold || state.status == Status::Degraded, "nothing is to be told that is over");
        assert!(impaired.held.is_none() || impaired.told.is_some() && state.status == Status::Up);
        assert_eq!(impaired.recovering > 0, impaired.recovering_since.is_some());
    }

    fn checks(&mut self, outcome: &Outcome, count: u32) {
        for _ in 0..count {
            let outcome = outcome.clone();
            self.check(&Sort { outcome, trigger: Trigger::Scheduled, in_maintenance: false, start_grace: false });
        }
    }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

fn lived(policy: AlertPolicy, moves: &[Move]) -> World {
    let mut world = World::new(policy);
    for one in moves {
        world.make(one);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Everything that [`World`] asserts at each move.
    #[test]
    fn incidents_are_told_once_each_way_and_never_lost(policy in policies(), moves in moves()) {
        lived(policy, &moves);
    }

    /// Whatever went before, as many failures as the threshold says are an outage that was told.
    #[test]
    fn an_outage_is_found_by_its_threshold(policy in policies(), moves in moves()) {
        let mut world = lived(policy, &moves);
        world.checks(&Outcome::Down(Failure::new(FailureKind::HttpStatus, "502")), world.policy.failure_threshold.failures);
        prop_assert_eq!(world.state.status, Status::Down);
        prop_assert!(world.open.is_some());
    }

    /// Whatever went before, the clock included, an endpoint that stays good is resolved within the cooldown.
    #[test]
    fn a_recovery_is_never_held_for_longer_than_the_cooldown(policy in policies(), moves in moves()) {
        let mut world = lived(policy, &moves);
        world.checks(&Outcome::Up, world.policy.success_threshold);
        world.let_time_work();
        let window = world.policy.flap.map_or(Duration::ZERO, |flap| flap.window);
        world.pass(i64::try_from(world.policy.cooldown.max(window).as_secs()).unwrap());
        prop_assert_eq!((world.state.status, world.open), (Status::Up, None));
    }

    /// Whatever went before, the clock included: as many degraded checks as the threshold says are that status, told where
    /// that is wanted and nothing keeps it back, and as many others end it, told within the cooldown.
    #[test]
    fn degraded_is_found_by_its_threshold_and_its_end_is_told(policy in policies(), moves in moves()) {
        let mut world = lived(policy, &moves);
        world.make(&Move::Silence(false));
        world.checks(&Outcome::Up, world.policy.success_threshold);
        world.let_time_work();
        let longest = |world: &World| {
            let window = world.policy.flap.map_or(Duration::ZERO, |flap| flap.window);
            i64::try_from(world.policy.cooldown.max(window).as_secs()).unwrap()
        };
        world.pass(longest(&world));
        prop_assert_eq!((world.state.status, world.open), (Status::Up, None));
        world.checks(&Outcome::Degraded, world.policy.failure_threshold.failures);
        world.let_time_work();
        prop_assert_eq!(world.state.status, Status::Degraded);
        prop_assert!(world.state.trail.impaired.told.is_some() || !world.policy.notify_degraded);
        world.checks(&Outcome::Up, world.policy.success_threshold);
        world.let_time_work();
        world.pass(longest(&world));
        prop_assert_eq!(world.state.status, Status::Up);
        prop_assert!(world.state.trail.impaired.told.is_none(), "its end is told, or nobody is to hear of it");
    }

    /// Whatever went before, the clock included, an open outage is told again within the longest pause.
    #[test]
    fn reminders_never_run_dry(policy in policies(), moves in moves()) {
        let mut world = lived(policy, &moves);
        world.make(&Move::Silence(false));
        world.checks(&Outcome::Down(Failure::new(FailureKind::HttpStatus, "502")), world.policy.failure_threshold.failures);
        world.let_time_work();
        // No longer flapping, and not acknowledged.
        world.pass(1_300);
        let reminders = world.state.incident.as_ref().unwrap().reminders;
        let longest = world.policy.reminder.map_or(10_000, |reminder| reminder.max.as_secs());
        world.pass(i64::try_from(longest).unwrap() + 1);
        let now = world.state.incident.as_ref().unwrap().reminders;
        prop_assert_eq!(now > reminders, world.policy.reminder.is_some());
    }
}

#[test]
fn instants_between_the_seconds_survive_a_restart() {
    let at = from_micros(1_234_567_890_123_457);
    assert_eq!(micros(through_json(&HeldRecovery { since: at, release_at: at }).since), 1_234_567_890_123_457);
}

/// A recovery that is held, of an endpoint that failed twice within the cooldown.
fn held() -> World {
    let policy = AlertPolicy { failure_threshold: FailureThreshold::in_a_row(1), ..AlertPolicy::default() };
    let mut world = World::new(policy);
    for outcome in [Outcome::Down(Failure::new(FailureKind::HttpStatus, "502")), Outcome::Up].iter().cycle().take(4) {
        world.checks(outcome, 1);
    }
    assert!(world.state.incident.as_ref().is_some_and(|incident| incident.held.is_some()));
    world
}

#[test]
fn a_clock_set_back_holds_a_recovery_no_longer() {
    let mut world = held();
    world.make(&Move::Jump(-86_400));
    world.let_time_work();
    world.make(&Move::Restart);
    world.pass(299);
    assert!(world.open.is_some());
    world.pass(2);
    assert_eq!(world.open, None);
}

#[test]
fn a_shorter_cooldown_holds_for_what_is_held() {
    let mut world = held();
    world.make(&Move::Policy(AlertPolicy { cooldown: Duration::from_secs(10), ..AlertPolicy::default() }));
    world.let_time_work();
    world.pass(10);
    assert_eq!(world.open, None);
}

#[test]
fn reminders_go_on_after_the_clock_was_set_back_and_after_they_were_turned_on() {
    let mut world = held();
    world.checks(&Outcome::Down(Failure::new(FailureKind::HttpStatus, "502")), 1);
    let told = |world: &World| world.state.incident.as_ref().unwrap().reminders;
    world.make(&Move::Jump(-86_400 * 30));
    world.let_time_work();
    world.pass(3_607);
    assert_eq!(told(&world), 1);
    world.make(&Move::Policy(AlertPolicy { reminder: None, ..AlertPolicy::default() }));
    world.pass(100_000);
    assert_eq!(told(&world), 1);
    world.make(&Move::Policy(AlertPolicy::default()));
    world.let_time_work();
    world.pass(7_207);
    assert_eq!(told(&world), 2);
}
