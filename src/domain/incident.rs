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
