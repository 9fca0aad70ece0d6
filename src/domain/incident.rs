//! The status of an endpoint as a pure machine: state, result, policy → state, transition.
//!
//! It does not send, store, sleep or read a clock. The recorder feeds it results in the order of
//! `scheduled_at` and stores what changed in the transaction of the results.

use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::check::{CheckResult, Trigger};
use crate::domain::outcome::{Failure, Outcome, Status};

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
    /// The check that began the run counted in `failures` or `successes`.
    pub run_started_at: Option<Timestamp>,
    /// Why it is down: the failure of the confirming check.
    pub cause: Option<Failure>,
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

/// What one result did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub state: EndpointState,
    pub transition: Option<Transition>,
    /// A failure or a recovery is unconfirmed: the next check should come early.
    pub confirm: bool,
}

impl EndpointState {
    /// The state of an endpoint that has no verdict yet.
    pub fn pending(since: Timestamp) -> Self {
        Self { status: Status::Pending, since, failures: 0, successes: 0, run_started_at: None, cause: None }
    }

    /// The same status with its counters started again: what is checked was changed.
    #[must_use]
    pub fn recounted(&self) -> Self {
        Self { failures: 0, successes: 0, run_started_at: None, ..self.clone() }
    }

    fn is_down(&self) -> bool {
        self.status == Status::Down
    }
}

/// Advances the machine by one result.
///
/// Missed results and those in maintenance change nothing. A failure by hand ends a run of good checks but
/// never advances the failure threshold; a good check by hand counts fully.
pub fn step(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy) -> Step {
    let unchanged = || Step { state: state.clone(), transition: None, confirm: false };
    if result.in_maintenance {
        return unchanged();
    }
    match &result.outcome {
        Outcome::Missed(_) => unchanged(),
        Outcome::Down(failure) => after_failure(state, result, failure, policy),
        Outcome::Up | Outcome::Degraded => after_success(state, result, policy),
    }
}

fn after_failure(state: &EndpointState, result: &CheckResult, failure: &Failure, policy: &AlertPolicy) -> Step {
    if state.is_down() {
        // A recovery under way did not hold.
        let state = state.recounted();
        return Step { state, transition: None, confirm: false };
    }
    if result.trigger == Trigger::Manual {
        return Step { state: state.clone(), transition: None, confirm: state.failures > 0 };
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.failures > 0 => at,
        _ => result.scheduled_at,
    };
    let failures = state.failures.saturating_add(1);
    if failures < policy.failure_threshold {
        let state = EndpointState { failures, run_started_at: Some(run_started_at), ..state.clone() };
        return Step { state, transition: None, confirm: true };
    }
    let transition =
        Transition { from: state.status, to: Status::Down, since: run_started_at, at: result.scheduled_at };
    let state = EndpointState {
        status: Status::Down,
        since: run_started_at,
        cause: Some(failure.clone()),
        ..state.recounted()
    };
    Step { state, transition: Some(transition), confirm: false }
}

fn after_success(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy) -> Step {
    if !state.is_down() {
        if state.status == Status::Pending {
            return confirmed_up(state, result.scheduled_at, result.scheduled_at);
        }
        return Step { state: state.recounted(), transition: None, confirm: false };
    }
    let run_started_at = match state.run_started_at {
        Some(at) if state.successes > 0 => at,
        _ => result.scheduled_at,
    };
    let successes = state.successes.saturating_add(1);
    if successes < policy.success_threshold {
        let state = EndpointState { successes, run_started_at: Some(run_started_at), ..state.clone() };
        return Step { state, transition: None, confirm: true };
    }
    confirmed_up(state, run_started_at, result.scheduled_at)
}

fn confirmed_up(state: &EndpointState, since: Timestamp, at: Timestamp) -> Step {
    let transition = Transition { from: state.status, to: Status::Up, since, at };
    let state = EndpointState { status: Status::Up, since, cause: None, ..state.recounted() };
    Step { state, transition: Some(transition), confirm: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::Timings;
    use crate::domain::endpoint::EndpointId;
    use crate::domain::from_micros;
    use crate::domain::outcome::{FailureKind, MissedReason};
    use proptest::prelude::*;

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
            let step = step(&state, &result, policy);
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
        assert_eq!(state, EndpointState { status: Status::Up, ..EndpointState::pending(from_micros(6_000_000)) });
    }

    #[test]
    fn an_unconfirmed_change_asks_for_an_early_check() {
        let policy = policy(2, 2);
        let state = EndpointState { status: Status::Up, ..EndpointState::pending(from_micros(0)) };
        let first = step(&state, &result(1, down(), Trigger::Scheduled), &policy);
        assert!(first.confirm);
        let confirmed = step(&first.state, &result(2, down(), Trigger::Confirming), &policy);
        assert!(!confirmed.confirm);
        let recovering = step(&confirmed.state, &result(3, Outcome::Up, Trigger::Scheduled), &policy);
        assert!(recovering.confirm);
        assert!(!step(&recovering.state, &result(4, Outcome::Up, Trigger::Confirming), &policy).confirm);
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
