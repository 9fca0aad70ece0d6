//! The retry loop of one check: attempts, the pauses between them, and the verdict.
//!
//! Knows when a further attempt may start, not when a check is due. Called by the scheduler for every check,
//! and by whoever examines an endpoint by hand.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Checker;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::check::{CheckSpec, Observation, judge};
use crate::domain::outcome::Outcome;
use crate::domain::retry::{RetryPolicy, delay};

/// How far a check may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsPlan {
    /// Attempts in all: the retry policy's, or 1 for a check that is not to be retried. 0 counts as 1.
    pub max_attempts: u32,
    /// Time until the endpoint's next slot. No attempt but the first starts that would end after it; `None` is
    /// no bound.
    pub next_slot_in: Option<Duration>,
}

/// A check that has been made.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// Of the last attempt.
    pub observation: Observation,
    /// Of the last attempt.
    pub outcome: Outcome,
    /// Attempts made, at least 1.
    pub attempts: u32,
    /// When the first attempt began, after its permit had come.
    pub started_at: Timestamp,
    /// Time spent waiting for permits, of all attempts together.
    pub waited: Duration,
}

/// Makes a check: attempts until one is good, the plan allows no more, or there is no time for another.
///
/// `acquire` gives the permit that is held during each attempt, and only then; waiting for it counts neither
/// against the timeout nor as the endpoint's. `random` is uniform in 0..1 and serves the jitter.
pub async fn run<P, F: Future<Output = P>>(
    checker: &dyn Checker,
    clock: &dyn Clock,
    spec: &CheckSpec,
    retry: &RetryPolicy,
    plan: AttemptsPlan,
    mut acquire: impl FnMut() -> F,
    mut random: impl FnMut() -> f64,
) -> Attempted {
    let next_slot_at = plan.next_slot_in.and_then(|left| Instant::now().checked_add(left));
    let in_time = |start: Instant| next_slot_at.is_none_or(|slot| start + spec.timeout <= slot);

    let asked_at = Instant::now();
    let mut permit = acquire().await;
    let mut waited = asked_at.elapsed();
    let started_at = clock.now();
    let mut attempts = 1;
    loop {
        let observation = checker.check(spec, Instant::now() + spec.timeout).await;
        drop(permit);
        let outcome = judge(spec, &observation);
        let ended = Attempted { observation, outcome, attempts, started_at, waited };
        if ended.outcome.is_good() || attempts >= plan.max_attempts {
            return ended;
        }
        let pause = delay(retry, attempts, random());
        if !in_time(Instant::now() + pause) {
            return ended;
        }
        sleep(pause).await;
        let asked_at = Instant::now();
        permit = acquire().await;
        waited += asked_at.elapsed();
        // The wait may have been long.
        if !in_time(Instant::now()) {
            return Attempted { waited, ..ended };
        }
        attempts += 1;
    }
}
