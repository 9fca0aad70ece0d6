//! The status and the incidents of an endpoint as a pure machine: state, result, policy → state, what changed,
//! what is to be told.
//!
//! It does not send, store, sleep or read a clock. The recorder feeds it results in the order of `scheduled_at`
//! and stores what changed, with the notifications, in the transaction of the results.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::notification::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, Status};

/// What is remembered of an endpoint between two checks. Stored, so that a restart in the middle of a run
/// neither repeats nor forgets. A good check of a healthy endpoint changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The confirmed status: pending, up, degraded or down. Paused and the like are not kept here.
    pub status: Status,
    /// Since when: the first check of the run that confirmed it; for pending when the endpoint was made.
    pub since: Timestamp,
    /// Failed checks in a row while not down, at most the threshold.
    pub failures: u32,
    /// Good checks in a row while down, at most the threshold.
    pub successes: u32,
    /// When the check began that began the run counted in `failures` or `successes`.
    pub run_started_at: Option<Timestamp>,
    /// Why it is down: the failure of the confirming check.
    pub cause: Option<Failure>,
    /// The incident that is open, if one is. Down always has one; a recovery that is held has one too.
    pub incident: Option<OpenIncident>,
    /// The last recovery that was told, for the cooldown.
    pub recovered: Option<Recovered>,
}

/// An incident that is not resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIncident {
    /// The first failed check of the run that opened it; with the endpoint its identity.
    pub started_at: Timestamp,
    /// The confirmation.
    pub opened_at: Timestamp,
    /// The first failed check of the present or last time down.
    pub span_started_at: Timestamp,
    /// It was told over once already, so that the next recovery is held.
    pub reopened: bool,
    /// Why it is, or last was, down.
    pub cause: Failure,
    /// Reminders told.
    pub reminders: u32,
    pub remind_at: Option<Timestamp>,
    /// A recovery that is not told yet.
    pub held: Option<HeldRecovery>,
}

/// A recovery that waits until the endpoint has stayed good for the cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecovery {
    /// The first good check of the run.
    pub since: Timestamp,
    pub release_at: Timestamp,
}

/// A recovery that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    pub told_at: Timestamp,
    /// Of the incident that it ended, which a new outage within the cooldown opens again.
    pub started_at: Timestamp,
    pub opened_at: Timestamp,
}

/// A change of the confirmed status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: Status,
    pub to: Status,
    /// The first check of the confirming run.
    pub since: Timestamp,
    /// The confirming check.
    pub at: Timestamp,
}

/// What happened to the incident of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentChange {
    /// A new one; the state holds it.
    Opened,
    /// Down again within the cooldown of a told recovery: the resolved one is open again.
    Reopened,
    /// Down again while its recovery was held.
    DownAgain,
    /// The failure is another one than before.
    CauseChanged,
    /// Good again, and the recovery is held.
    RecoveryHeld {
        since: Timestamp,
    },
    Resolved {
        incident: OpenIncident,
        resolved_at: Timestamp,
    },
    /// It is no longer monitored.
    Abandoned {
        incident: OpenIncident,
        at: Timestamp,
    },
    Reminded,
}

/// One thing to tell, by the deterministic parts of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell {
    pub event: Event,
    /// The instant that began what is told: of the first failed check for down events, of the first good one
    /// for recoveries.
    pub span: Timestamp,
    /// Counts reminders.
    pub ordinal: u32,
}

/// What one result, or the passing of time, did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub state: EndpointState,
    pub transition: Option<Transition>,
    /// A failure or a recovery is unconfirmed: the next check should come early.
    pub confirm: bool,
    pub incident: Option<IncidentChange>,
    pub tell: Option<Tell>,
}

/// What holds around the endpoint when a result is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The process has just started and nothing has succeeded yet: failures of the name and connect layers may be
    /// our own network's, and open nothing.
    pub start_grace: bool,
}

/// Whether a failure lies in the layers that our own network, just coming up, would fail in.
fn may_be_our_network(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::DnsNxdomain
            | FailureKind::DnsServfail
            | FailureKind::DnsRefused
            | FailureKind::DnsTimeout
            | FailureKind::DnsNoRecords
            | FailureKind::ConnectRefused
            | FailureKind::ConnectReset
            | FailureKind::ConnectTimeout
            | FailureKind::ConnectUnreachable
    )
}

fn after(at: Timestamp, pause: std::time::Duration) -> Timestamp {
    TimeDelta::from_std(pause).ok().and_then(|pause| at.checked_add_signed(pause)).unwrap_or(Timestamp::MAX_UTC)
}

impl EndpointState {
    /// The state of an endpoint that has no verdict yet.
    pub fn pending(since: Timestamp) -> Self {
        Self {
            status: Status::Pending,
            since,
            failures: 0,
            successes: 0,
            run_started_at: None,
            cause: None,
            incident: None,
            recovered: None,
        }
    }

    /// The same status with its counters started again: what is checked was changed. The incident stays.
    #[must_use]
    pub fn recounted(&self) -> Self {
        Self { failures: 0, successes: 0, run_started_at: None, ..self.clone() }
    }

    fn is_down(&self) -> bool {
        self.status == Status::Down
    }

    /// When [`advance`] next has something to do.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let incident = self.incident.as_ref()?;
        match incident.held {
            Some(held) => Some(held.release_at),
            None if self.is_down() => incident.remind_at,
            None => None,
        }
    }
}

impl Step {
    fn unchanged(state: &EndpointState) -> Self {
        Self::to(state.clone())
    }

    fn to(state: EndpointState) -> Self {
        Self { state, transition: None, confirm: false, incident: None, tell: None }
    }
}

/// Advances the machine by one result, taken in at `now`.
///
/// Missed results and those in maintenance change nothing. A failure by hand ends a run of good checks but
/// never advances the failure threshold; a good check by hand counts fully.
pub fn step(
    state: &EndpointState,
    result: &CheckResult,
    policy: &AlertPolicy,
    around: Surroundings,
    now: Timestamp,
) -> Step {
    if result.in_maintenance {
        return Step::unchanged(state);
    }
    match &result.outcome {
        Outcome::Missed(_) => Step::unchanged(state),
        Outcome::Down(failure) => after_failure(state, result, failure, policy, around, now),
        Outcome::Up | Outcome::Degraded => after_success(state, result, policy, now),
    }
}

fn after_failure(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    policy: &AlertPolicy,
    around: Surroundings,
    now: Timestamp,
) -> Step {
    if state.is_down() {
        // A recovery under way did not hold.
        let mut step = Step::to(state.recounted());
        if state.cause.as_ref().is_some_and(|cause| cause.kind != failure.kind) {
            step.state.cause = Some(failure.clone());
            if let Some(incident) = &mut step.state.incident {
                incident.cause = failure.clone();
            }
            step.incident = Some(IncidentChange::CauseChanged);
        }
        return step;
    }
    // A held recovery did not hold either, however many failures a confirmation takes.
    let mut state = state.clone();
    if let Some(incident) = &mut state.incident {
        incident.held = None;
    }
    if result.trigger == Trigger::Manual {
        let confirm = state.failures > 0;
        return Step { confirm, ..Step::to(state) };
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.failures > 0 => at,
        _ => result.started_at,
    };
    let failures = state.failures.saturating_add(1);
    let held_back = around.start_grace && may_be_our_network(failure.kind) && state.incident.is_none();
    if failures < policy.failure_threshold || held_back {
        let failures = failures.min(policy.failure_threshold);
        let state = EndpointState { failures, run_started_at: Some(run_started_at), ..state };
        return Step { confirm: true, ..Step::to(state) };
    }
    confirmed_down(&state, result, failure, run_started_at, policy, now)
}

fn confirmed_down(
    state: &EndpointState,
    result: &CheckResult,
    failure: &Failure,
    span: Timestamp,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Step {
    let transition = Transition { from: state.status, to: Status::Down, since: span, at: result.started_at };
    let remind_at = policy.reminder.as_ref().map(|reminder| after(now, reminder.pause(1)));
    let recent = state.recovered.filter(|recovered| now < after(recovered.told_at, policy.cooldown));
    let (incident, change, tell) = match (&state.incident, recent) {
        (Some(incident), _) => {
            let cause = failure.clone();
            let incident = OpenIncident { span_started_at: span, held: None, cause, ..incident.clone() };
            (incident, IncidentChange::DownAgain, None)
        }
        (None, Some(recovered)) => {
            let incident = OpenIncident {
                started_at: recovered.started_at,
                opened_at: recovered.opened_at,
                span_started_at: span,
                reopened: true,
                cause: failure.clone(),
                reminders: 0,
                remind_at,
                held: None,
            };
            (incident, IncidentChange::Reopened, Some(Event::DownAgain))
        }
        (None, None) => {
            let incident = OpenIncident {
                started_at: span,
                opened_at: result.started_at,
                span_started_at: span,
                reopened: false,
                cause: failure.clone(),
                reminders: 0,
                remind_at,
                held: None,
            };
            (incident, IncidentChange::Opened, Some(Event::Down))
        }
    };
    let state = EndpointState {
        status: Status::Down,
        since: span,
        cause: Some(failure.clone()),
        incident: Some(incident),
        recovered: None,
        ..state.recounted()
    };
    let tell = tell.map(|event| Tell { event, span, ordinal: 0 });
    Step { state, transition: Some(transition), confirm: false, incident: Some(change), tell }
}

fn after_success(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy, now: Timestamp) -> Step {
    if state.status == Status::Pending {
        return confirmed_up(state, result.started_at, result.started_at, policy, now);
    }
    if !state.is_down() {
        let mut step = Step::to(state.recounted());
        if let Some(incident) = &mut step.state.incident
            && incident.held.is_none()
        {
            let since = result.started_at;
            incident.held = Some(HeldRecovery { since, release_at: after(now, policy.cooldown) });
        }
        return step;
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.successes > 0 => at,
        _ => result.started_at,
    };
    let successes = state.successes.saturating_add(1);
    if successes < policy.success_threshold {
        let state = EndpointState { successes, run_started_at: Some(run_started_at), ..state.clone() };
        return Step { confirm: true, ..Step::to(state) };
    }
    confirmed_up(state, run_started_at, result.started_at, policy, now)
}

fn confirmed_up(state: &EndpointState, since: Timestamp, at: Timestamp, policy: &AlertPolicy, now: Timestamp) -> Step {
    let transition = Transition { from: state.status, to: Status::Up, since, at };
    let mut up = EndpointState { status: Status::Up, since, cause: None, ..state.recounted() };
    let mut step = match up.incident.take() {
        None => Step::to(up),
        Some(incident) if incident.reopened && !policy.cooldown.is_zero() => {
            let held = Some(HeldRecovery { since, release_at: after(now, policy.cooldown) });
            up.incident = Some(OpenIncident { held, ..incident });
            Step { incident: Some(IncidentChange::RecoveryHeld { since }), ..Step::to(up) }
        }
        Some(incident) => resolved(up, incident, since, policy, now),
    };
    step.transition = Some(transition);
    step
}

fn resolved(
    mut state: EndpointState,
    incident: OpenIncident,
    resolved_at: Timestamp,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Step {
    state.incident = None;
    state.recovered = policy.send_recovery.then_some(Recovered {
        told_at: now,
        started_at: incident.started_at,
        opened_at: incident.opened_at,
    });
    let tell = policy.send_recovery.then_some(Tell { event: Event::Up, span: resolved_at, ordinal: 0 });
    Step { incident: Some(IncidentChange::Resolved { incident, resolved_at }), tell, ..Step::to(state) }
}

/// Advances the machine by the passing of time: releases a held recovery, reminds of an open incident. `None` when
/// nothing is due at `now`.
pub fn advance(state: &EndpointState, policy: &AlertPolicy, now: Timestamp) -> Option<Step> {
    let incident = state.incident.as_ref()?;
    if let Some(held) = incident.held {
        return (now >= held.release_at).then(|| resolved(state.clone(), incident.clone(), held.since, policy, now));
    }
    if !state.is_down() || incident.remind_at.is_none_or(|at| now < at) {
        return None;
    }
    let mut state = state.clone();
    let reminder = policy.reminder.as_ref();
    let incident = state.incident.as_mut()?;
    let Some(reminder) = reminder else {
        // The policy was changed meanwhile: nothing more is reminded of.
        incident.remind_at = None;
        return Some(Step::to(state));
    };
    incident.reminders = incident.reminders.saturating_add(1);
    incident.remind_at = Some(after(now, reminder.pause(incident.reminders.saturating_add(1))));
    let tell = Tell { event: Event::Reminder, span: incident.span_started_at, ordinal: incident.reminders };
    Some(Step { incident: Some(IncidentChange::Reminded), tell: Some(tell), ..Step::to(state) })
}

/// The endpoint leaves monitoring (paused, archived, removed): an open incident is closed, and whoever was told of it
/// is told so. Back again it begins without a verdict. `None` when it had no incident.
pub fn abandon(state: &EndpointState, now: Timestamp) -> Option<Step> {
    let incident = state.incident.clone()?;
    let tell = Tell { event: Event::NoLongerMonitored, span: incident.span_started_at, ordinal: 0 };
    let change = IncidentChange::Abandoned { incident, at: now };
    Some(Step { incident: Some(change), tell: Some(tell), ..Step::to(EndpointState::pending(now)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::Timings;
    use crate::domain::endpoint::EndpointId;
    use crate::domain::from_micros;
    use crate::domain::outcome::{FailureKind, MissedReason};
    use proptest::prelude::*;

    fn take(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy) -> Step {
        step(state, result, policy, Surroundings::default(), result.started_at)
    }

    fn policy(failure_threshold: u32, success_threshold: u32) -> AlertPolicy {
        AlertPolicy { failure_threshold, success_threshold, ..AlertPolicy::default() }
    }

    fn result(second: i64, outcome: Outcome, trigger: Trigger) -> CheckResult {
        let at = from_micros(second * 1_000_000);
        CheckResult {
            endpoint_id: EndpointId(1),
            scheduled_at: at,
            started_at: at,
            outcome,
            slots: 1,
            status_code: None,
            timings: Timings::default(),
            attempts: 1,
            trigger,
            in_maintenance: false,
        }
    }

    fn down() -> Outcome {
        Outcome::Down(Failure::new(FailureKind::ConnectRefused, "Connection refused"))
    }

    /// Feeds a word of `u`p, `d`own, `m`issed, `M`anual failure, `U` manual success, `w` failure in maintenance,
    /// one a second from second 1, and gives the status letter after each: `p`ending, `u`p, `d`own.
    fn run(word: &str, policy: &AlertPolicy) -> (String, EndpointState, Vec<Transition>) {
        let mut state = EndpointState::pending(from_micros(0));
        let mut transitions = Vec::new();
        let mut statuses = String::new();
        for (i, letter) in word.chars().enumerate() {
            let second = i64::try_from(i).unwrap() + 1;
            let result = match letter {
                'u' => result(second, Outcome::Up, Trigger::Scheduled),
                'd' => result(second, down(), Trigger::Scheduled),
                'c' => result(second, down(), Trigger::Confirming),
                'M' => result(second, down(), Trigger::Manual),
                'U' => result(second, Outcome::Up, Trigger::Manual),
                'w' => CheckResult { in_maintenance: true, ..result(second, down(), Trigger::Scheduled) },
                _ => CheckResult::missed(EndpointId(1), from_micros(second * 1_000_000), 1, MissedReason::Overload),
            };
            let step = step(&state, &result, policy, Surroundings::default(), result.started_at);
            transitions.extend(step.transition);
            state = step.state;
            statuses.push(match state.status {
                Status::Up => 'u',
                Status::Down => 'd',
                _ => 'p',
            });
        }
        (statuses, state, transitions)
    }

    #[test]
    fn thresholds_confirm_and_everything_else_leaves_the_run_alone() {
        let two = policy(2, 1);
        for (word, expected) in [
            ("u", "u"),
            ("dd", "pd"),
            ("udu", "uuu"),
            ("udd", "uud"),
            ("udc", "uud"),
            ("udmd", "uuud"),
            ("udwd", "uuud"),
            ("uMM", "uuu"),
            ("udMd", "uuud"),
            ("uddu", "uudu"),
            ("uddU", "uudu"),
            ("mmd", "ppp"),
        ] {
            assert_eq!(run(word, &two).0, expected, "{word}");
        }
        assert_eq!(run("uddudu", &policy(2, 2)).0, "uudddd", "a failure ends the run of a recovery");
        assert_eq!(run("uddudMuu", &policy(2, 2)).0, "uuddddd".to_owned() + "u");
        assert_eq!(run("uddumu", &policy(2, 2)).0, "uudddu");
    }

    #[test]
    fn a_change_holds_since_the_first_check_of_its_run() {
        let (_, state, transitions) = run("udmdduu", &policy(3, 2));
        assert_eq!(transitions.len(), 3);
        assert_eq!((transitions[1].to, transitions[1].since), (Status::Down, from_micros(2_000_000)));
        assert_eq!(transitions[1].at, from_micros(5_000_000));
        assert_eq!((transitions[2].to, transitions[2].since), (Status::Up, from_micros(6_000_000)));
        assert_eq!((state.status, state.since), (Status::Up, from_micros(6_000_000)));
        assert_eq!((state.failures, state.successes, state.run_started_at, state.incident), (0, 0, None, None));
    }

    #[test]
    fn an_unconfirmed_change_asks_for_an_early_check() {
        let policy = policy(2, 2);
        let state = EndpointState { status: Status::Up, ..EndpointState::pending(from_micros(0)) };
        let first = take(&state, &result(1, down(), Trigger::Scheduled), &policy);
        assert!(first.confirm);
        let confirmed = take(&first.state, &result(2, down(), Trigger::Confirming), &policy);
        assert!(!confirmed.confirm);
        let recovering = take(&confirmed.state, &result(3, Outcome::Up, Trigger::Scheduled), &policy);
        assert!(recovering.confirm);
        assert!(!take(&recovering.state, &result(4, Outcome::Up, Trigger::Confirming), &policy).confirm);
    }

    proptest! {
        /// The rules, said again in another way: down needs a run of failures, up after it a run of successes.
        #[test]
        fn the_status_follows_the_runs(word in "[udcmMUw]{0,40}", failures in 1_u32..4, successes in 1_u32..4) {
            let (statuses, state, transitions) = run(&word, &policy(failures, successes));
            let (mut expected, mut bad, mut good) = ('p', 0, 0);
            for (letter, shown) in word.chars().zip(statuses.chars()) {
                match letter {
                    'u' | 'U' => {
                        bad = 0;
                        good += 1;
                        if expected != 'd' || good >= successes { expected = 'u'; }
                    }
                    'd' | 'c' => { good = 0; bad += 1; if bad >= failures { expected = 'd'; } }
                    'M' => good = 0,
                    _ => {}
                }
                if expected != 'd' { good = 0; }
                prop_assert_eq!(shown, expected, "{}", word);
            }
            prop_assert!(state.failures < failures && state.successes < successes, "{:?}", state);
            for pair in transitions.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
                prop_assert_ne!(pair[1].from, pair[1].to);
            }
        }
    }
}
