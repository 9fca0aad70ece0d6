//! The retry loop of one check: attempts, the pauses between them, and the verdict.
//!
//! Knows when a further attempt may start, not when a check is due. Called by the scheduler for every check,
//! and by whoever examines an endpoint by hand.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Checker;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::check::{CheckDetail, CheckSpec, Judged, Observation, judge};
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, Outcome};
use crate::domain::retry::{RetryPolicy, delay};

/// How far a check may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsPlan {
    /// Attempts in all: the retry policy's, or 1 for a check that is not to be retried. 0 counts as 1.
    pub max_attempts: u32,
    /// Time until the endpoint's next slot. No attempt but the first starts that would end after it; `None` is
    /// no bound.
    pub next_slot_in: Option<Duration>,
    /// Who made what is checked: what was made through the API obeys the outbound policy in every attempt.
    pub origin: Origin,
}

/// A check that has been made.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// Of the last attempt.
    pub observation: Observation,
    /// Of the last attempt.
    pub outcome: Outcome,
    /// Of the last attempt.
    pub detail: CheckDetail,
    /// Attempts made, at least 1.
    pub attempts: u32,
    /// Those before the last, in order. None of them was good.
    pub before: Vec<Tried>,
    /// When the first attempt began, after its permit had come.
    pub started_at: Timestamp,
    /// Time spent waiting for permits, of all attempts together.
    pub waited: Duration,
}

/// An attempt that was not the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Why, where it can be said.
    pub failure: Option<Failure>,
    pub total_us: u32,
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
    let mut before = Vec::new();
    loop {
        let mut observation = checker.check(spec, plan.origin, Instant::now() + spec.timeout).await;
        drop(permit);
        let Judged { outcome, detail } = judge(spec, &observation, clock.now());
        // A body is not held during the pauses.
        observation.evidence.forget();
        let ended = Attempted { observation, outcome, detail, attempts, before, started_at, waited };
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
        before = ended.before;
        let Observation { failure, timings, .. } = ended.observation;
        let failure = ended.outcome.failure().cloned().or(failure);
        before.push(Tried { failure, total_us: timings.total_us });
        attempts += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::checks::testing::spec;
    use crate::clock::SystemClock;
    use crate::domain::outcome::FailureKind;

    /// Answers as scripted, after 100 ms each, and notes when each attempt began.
    #[derive(Debug)]
    struct Scripted {
        statuses: Mutex<VecDeque<u16>>,
        born_at: Instant,
        began_ms: Mutex<Vec<u128>>,
        deadlines_ms: Mutex<Vec<u128>>,
        permits: Arc<Semaphore>,
    }

    impl Scripted {
        fn answering(statuses: impl IntoIterator<Item = u16>) -> Self {
            Self {
                statuses: Mutex::new(statuses.into_iter().collect()),
                born_at: Instant::now(),
                began_ms: Mutex::default(),
                deadlines_ms: Mutex::default(),
                permits: Arc::new(Semaphore::new(1)),
            }
        }

        fn began_ms(&self) -> Vec<u128> {
            self.began_ms.lock().unwrap().clone()
        }
    }

    impl Checker for Scripted {
        fn check<'a>(&'a self, _: &'a CheckSpec, origin: Origin, deadline: Instant) -> BoxFuture<'a, Observation> {
            Box::pin(async move {
                assert_eq!(origin, Origin::Api, "every attempt obeys");
                assert_eq!(self.permits.available_permits(), 0, "an attempt holds a permit");
                self.began_ms.lock().unwrap().push(self.born_at.elapsed().as_millis());
                self.deadlines_ms.lock().unwrap().push((deadline - self.born_at).as_millis());
                let status = self.statuses.lock().unwrap().pop_front().expect("no further attempt");
                sleep(Duration::from_millis(100)).await;
                Observation { status_code: Some(status), ..Observation::default() }
            })
        }
    }

    /// 1 s, 2 s, 4 s, without jitter.
    fn steady() -> RetryPolicy {
        RetryPolicy { jitter: false, ..RetryPolicy::default() }
    }

    fn plan(max_attempts: u32, next_slot_in: Option<u64>) -> AttemptsPlan {
        AttemptsPlan { max_attempts, next_slot_in: next_slot_in.map(Duration::from_millis), origin: Origin::Api }
    }

    async fn run_scripted(checker: &Scripted, retry: &RetryPolicy, plan: AttemptsPlan) -> Attempted {
        let permit = || Arc::clone(&checker.permits).acquire_owned();
        let (clock, spec) = (SystemClock::new(), spec("http://x.example/"));
        let check = run(checker, &clock, &spec, retry, plan, permit, || 0.9);
        // Paused time: a check that waits for what never comes is at its hour at once.
        tokio::time::timeout(Duration::from_hours(1), check).await.expect("the check ends")
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_attempt_ends_the_check() {
        let checker = Scripted::answering([200]);
        let ended = run_scripted(&checker, &steady(), plan(3, None)).await;
        assert_eq!((ended.outcome, ended.attempts), (Outcome::Up, 1));
        assert_eq!(checker.deadlines_ms.lock().unwrap().as_slice(), [5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_attempts_are_repeated_after_growing_pauses() {
        let checker = Scripted::answering([500, 502, 200]);
        let ended = run_scripted(&checker, &steady(), plan(3, None)).await;
        assert_eq!((ended.outcome, ended.attempts, ended.observation.status_code), (Outcome::Up, 3, Some(200)));
        assert_eq!(checker.began_ms(), [0, 1100, 3200]);
        let before: Vec<_> =
            ended.before.iter().map(|tried| tried.failure.as_ref().unwrap().message.as_str()).collect();
        assert_eq!(before, ["GET returned 500, expected 200", "GET returned 502, expected 200"]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_jittered_by_the_callers_random_number() {
        let checker = Scripted::answering([500, 200]);
        run_scripted(&checker, &RetryPolicy::default(), plan(2, None)).await;
        assert_eq!(checker.began_ms(), [0, 1500], "a pause of 1 s times 0.5 + 0.9");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_the_verdict_when_all_attempts_fail() {
        for max in [0, 1, 3] {
            let checker = Scripted::answering([500, 501, 503].into_iter().take(max.max(1) as usize));
            let ended = run_scripted(&checker, &steady(), plan(max, None)).await;
            assert_eq!(ended.attempts, max.max(1));
            let last = ended.observation.status_code.unwrap();
            let message = format!("GET returned {last}, expected 200");
            assert_eq!(ended.outcome, Outcome::Down(Failure::new(FailureKind::HttpStatus, message)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_starts_that_would_end_after_the_next_slot() {
        // The second would begin at 1.1 s and end by 6.1 s, the third begin at 3.2 s and end by 8.2 s.
        for (slot_ms, attempts) in [(6099, 1), (6100, 2), (8199, 2), (8200, 3)] {
            let checker = Scripted::answering([500, 500, 500]);
            let ended = run_scripted(&checker, &steady(), plan(3, Some(slot_ms))).await;
            assert_eq!(ended.attempts, attempts, "slot in {slot_ms} ms");
            assert_eq!(ended.before.len() + 1, attempts as usize, "the last is not before itself");
            let waited_in_vain = checker.born_at.elapsed() > Duration::from_millis(3300);
            assert!(!waited_in_vain, "the verdict does not wait for a pause that leads nowhere");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_attempt_is_made_whatever_the_slot() {
        let ended = run_scripted(&Scripted::answering([200]), &steady(), plan(3, Some(0))).await;
        assert_eq!((ended.outcome, ended.attempts), (Outcome::Up, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_permit_is_held_during_a_pause() {
        let retry = steady();
        let checker = Scripted::answering([500, 200]);
        let other = async {
            sleep(Duration::from_millis(200)).await;
            let taken = Arc::clone(&checker.permits).acquire_owned().await.unwrap();
            assert_eq!(checker.born_at.elapsed().as_millis(), 200, "taken in the pause between 0.1 s and 1.1 s");
            drop(taken);
        };
        let (ended, ()) = tokio::join!(run_scripted(&checker, &retry, plan(2, None)), other);
        assert_eq!(ended.attempts, 2);
        assert_eq!(checker.permits.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_permits_is_counted_apart_and_not_against_the_timeout() {
        let retry = steady();
        let checker = Scripted::answering([500, 200]);
        let busy = Arc::clone(&checker.permits).try_acquire_owned().unwrap();
        let other = async {
            sleep(Duration::from_secs(20)).await;
            drop(busy);
            // Taken again during the pause, until 2.5 s after it would have ended.
            sleep(Duration::from_millis(500)).await;
            let busy = Arc::clone(&checker.permits).acquire_owned().await.unwrap();
            sleep(Duration::from_millis(3100)).await;
            drop(busy);
        };
        let (ended, ()) = tokio::join!(run_scripted(&checker, &retry, plan(2, None)), other);
        assert_eq!((ended.outcome, ended.attempts), (Outcome::Up, 2));
        assert_eq!(checker.began_ms(), [20_000, 23_600]);
        assert_eq!(checker.deadlines_ms.lock().unwrap().as_slice(), [25_000, 28_600]);
        assert_eq!(ended.waited.as_millis(), 22_500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_comes_too_late_is_given_back_unused() {
        let retry = steady();
        let checker = Scripted::answering([500]);
        let other = async {
            sleep(Duration::from_millis(500)).await;
            let busy = Arc::clone(&checker.permits).acquire_owned().await.unwrap();
            sleep(Duration::from_secs(6)).await;
            drop(busy);
        };
        let (ended, ()) = tokio::join!(run_scripted(&checker, &retry, plan(2, Some(10_000))), other);
        assert_eq!((ended.attempts, ended.observation.status_code), (1, Some(500)));
        assert_eq!(checker.permits.available_permits(), 1);
        assert!(ended.waited >= Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_runs_in_a_spawned_task() {
        let checker = Arc::new(Scripted::answering([200]));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let permits = Arc::clone(&checker.permits);
            let checker: Arc<dyn Checker> = checker;
            let spec = spec("http://x.example/");
            let permit = || Arc::clone(&permits).acquire_owned();
            run(&*checker, &*clock, &spec, &steady(), plan(1, None), permit, fastrand::f64).await
        });
        assert_eq!(tasks.join_next().await.unwrap().unwrap().outcome, Outcome::Up);
    }
}
