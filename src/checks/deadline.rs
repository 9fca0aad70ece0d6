//! The end of an attempt, by the time in which this process was running.
//!
//! A process that the machine does not run for a while finds all its timers over at once, and the answers of the others
//! unread. Such time is the monitor's own and is given back, up to a bound: a monitor that has too much to do must not do ever
//! more of it. Where more was lost, or the other side may have given us up meanwhile, a failure says nothing of it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::time::{Instant, sleep_until};

use super::trace::Trace;
use crate::domain::check::Observation;
use crate::domain::outcome::FailureKind;

/// The attempt looks at the clock so often while it waits. Standing still is noticed by looking too late.
const LOOKS: u32 = 16;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// A timer may be so late on a machine that is merely at work.
const USUAL: Duration = Duration::from_millis(50);
/// So much is given back, or the length of the timeout where that is more.
const GIVEN_BACK: Duration = Duration::from_secs(5);
/// Of standing still for less nobody gives us up.
const LEAST: Duration = Duration::from_secs(1);

/// What is given back of the time in which this process stood still during an attempt.
pub(super) fn given_back(stood_still: Duration, timeout: Duration) -> Duration {
    stood_still.min(GIVEN_BACK.max(timeout))
}

/// Carries `work` on until `deadline`, and for as much longer as is [`given_back`]. `None`: the time is over. The trace is told
/// how long this process stood still.
pub(super) async fn within<F: Future>(trace: &Trace, deadline: Instant, work: F) -> Option<F::Output> {
    let began = Instant::now();
    let whole = deadline.saturating_duration_since(began);
    let step = (whole / LOOKS).clamp(SHORTEST, LONGEST);
    let mut stood_still = Duration::ZERO;
    let mut left = began;
    let mut work = pin!(work);
    let mut look = pin!(sleep_until(deadline.min(began + step)));
    poll_fn(|cx| {
        let now = Instant::now();
        // The time that the work itself took without a pause is its own.
        let late = now.saturating_duration_since(look.deadline().max(left));
        if late > USUAL {
            stood_still += late;
            trace.stand_still(late);
        }
        // What has come in the meantime counts.
        let worked = work.as_mut().poll(cx);
        left = Instant::now();
        // It takes milliseconds: what is longer was no work.
        let took = left.saturating_duration_since(now);
        if took > LEAST {
            stood_still += took;
            trace.stand_still(took);
        }
        if let Poll::Ready(output) = worked {
            return Poll::Ready(Some(output));
        }
        // By the clock, not by the timer, which says nothing when the work has used up the turn of this task.
        let end = deadline + given_back(stood_still, whole);
        if now >= end {
            return Poll::Ready(None);
        }
        if now >= look.deadline() {
            look.as_mut().reset(end.min(left + step));
        }
        // It wakes this task; being over at once, it is looked at in the next turn.
        if look.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Whether a failure may come of our having stood still: the time of the attempt was over (not `has_ended`) and not all of it
/// was given back, or we stood still for half of it or more and the other side no longer waited for us, or a time that is
/// shared out within the attempt was over.
pub(super) fn is_ours(seen: &Observation, has_ended: bool, stood_still: Duration, timeout: Duration) -> bool {
    use FailureKind as K;
    let Some(failure) = &seen.failure else { return false };
    if !has_ended {
        return stood_still > given_back(stood_still, timeout);
    }
    stood_still >= LEAST.max(timeout / 2)
        && matches!(
            failure.kind,
            K::DnsTimeout
                | K::ConnectReset
                | K::ConnectTimeout
                | K::TlsHandshake
                | K::ConnectionClosed
                | K::BodyTruncated
                | K::ProxyFailed
                | K::OauthTokenFailed
        )
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::domain::outcome::Failure;

    const TIMEOUT: Duration = Duration::from_secs(8);

    /// What becomes of work of `length` when this process does not run for `stop`, a second after it began; with the whole
    /// time that it took, and what was noticed.
    async fn worked(length: Duration, stop: Duration) -> (Option<()>, Duration, Duration) {
        let trace = Trace::start();
        let began = Instant::now();
        let goes_on = Notify::new();
        let work = async {
            goes_on.notified().await;
            sleep(length.saturating_sub(Duration::from_secs(1))).await;
        };
        let stopping = async {
            sleep(Duration::from_secs(1)).await;
            // Nobody is woken while the clock goes on.
            advance(stop).await;
            goes_on.notify_one();
        };
        let (ended, ()) = tokio::join!(within(&trace, began + TIMEOUT, work), stopping);
        (ended, began.elapsed(), trace.stood_still())
    }

    fn is_about(time: Duration, seconds: u64) -> bool {
        time.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_nothing_ran_does_not_count() {
        let seconds = Duration::from_secs;
        let (ended, took, still) = worked(seconds(7), Duration::ZERO).await;
        assert!(ended.is_some() && is_about(took, 7) && still.is_zero(), "{took:?} {still:?}");
        let (ended, took, still) = worked(seconds(9), Duration::ZERO).await;
        assert!(ended.is_none() && took == TIMEOUT && still.is_zero(), "{took:?} {still:?}");

        let (ended, took, still) = worked(seconds(7), seconds(5)).await;
        assert!(ended.is_some() && is_about(took, 12) && is_about(still, 5), "{took:?} {still:?}");
        let (ended, took, _) = worked(seconds(9), seconds(5)).await;
        assert!(ended.is_none() && is_about(took, 13), "no more than was lost: {took:?}");
        let (ended, took, _) = worked(seconds(9), seconds(60)).await;
        assert!(ended.is_none() && is_about(took, 61), "not more than its own length: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn standing_still_amid_the_work_is_noticed() {
        let seconds = Duration::from_secs;
        for (stop, noticed) in [(Duration::from_millis(400), Duration::ZERO), (seconds(6), seconds(6))] {
            let trace = Trace::start();
            let work = async {
                sleep(seconds(1)).await;
                // Before it gives its turn back.
                advance(stop).await;
                std::future::pending::<()>().await;
            };
            let deadline = Instant::now() + TIMEOUT;
            assert_eq!(within(&trace, deadline, work).await, None);
            assert_eq!((trace.stood_still(), deadline.elapsed()), (noticed, noticed), "{stop:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_while_nothing_ran_counts() {
        let trace = Trace::start();
        let deadline = Instant::now() + TIMEOUT;
        let work = async {
            advance(Duration::from_mins(1)).await;
            "came"
        };
        assert_eq!(within(&trace, deadline, work).await, Some("came"));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_leaves_no_turn_to_the_timer_is_ended_all_the_same() {
        let trace = Trace::start();
        let deadline = Instant::now() + TIMEOUT;
        let busy = async {
            loop {
                advance(Duration::from_millis(10)).await;
                while tokio::task::coop::has_budget_remaining() {
                    tokio::task::consume_budget().await;
                }
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(within::<_>(&trace, deadline, busy).await, None::<()>);
    }

    #[test]
    fn a_failure_is_believed_unless_it_may_come_of_our_standing_still() {
        let (still, timeout) = (Duration::from_secs(3), Duration::from_secs(5));
        let failed = |kind| Observation { failure: Some(Failure::new(kind, "x")), ..Observation::default() };
        let ours = |kind, still| is_ours(&failed(kind), true, still, timeout);
        assert!(ours(FailureKind::ConnectionClosed, still) && ours(FailureKind::ConnectTimeout, still));
        assert!(!ours(FailureKind::ConnectRefused, still) && !ours(FailureKind::TlsExpired, still));
        assert!(!ours(FailureKind::ConnectionClosed, Duration::from_secs(2)));
        let silent = failed(FailureKind::TimeoutFirstByte);
        assert!(!is_ours(&silent, false, Duration::from_secs(5), timeout), "all was given back");
        assert!(is_ours(&silent, false, Duration::from_secs(6), timeout));
        assert!(!is_ours(&Observation::default(), false, Duration::from_secs(60), timeout));
        let brief = Duration::from_millis(200);
        assert!(!is_ours(&failed(FailureKind::TlsHandshake), true, brief, brief));
    }
}
