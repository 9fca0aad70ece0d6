//! The rules of the machine, one by one.

use super::*;
use crate::domain::alert_policy::FailureThreshold;
use crate::domain::check::Timings;
use crate::domain::endpoint::EndpointId;
use crate::domain::from_micros;
use crate::domain::outcome::{FailureKind, MissedReason};
use proptest::prelude::*;

fn take(state: &EndpointState, result: &CheckResult, policy: &AlertPolicy) -> Step {
    step(state, result, policy, &Facts::default(), result.started_at)
}

fn policy(failure_threshold: u32, success_threshold: u32) -> AlertPolicy {
    let failure_threshold = FailureThreshold::in_a_row(failure_threshold);
    AlertPolicy { failure_threshold, success_threshold, ..AlertPolicy::default() }
}

pub(super) fn result(second: i64, outcome: Outcome, trigger: Trigger) -> CheckResult {
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
        let step = step(&state, &result, policy, &Facts::default(), result.started_at);
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
