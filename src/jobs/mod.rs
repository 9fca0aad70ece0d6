//! Housekeeping: idempotent jobs without input. Each waits for a nudge and does whatever is to be done by now,
//! so that the path after a crash and the everyday path are one path.

pub mod backups;
pub mod cron;
pub mod database_size;
pub mod household;
pub mod integrity;
pub mod key_uses;
pub mod presence;
pub mod purge;
pub mod retention;
pub mod rollup;
pub mod sessions;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feed::{Event, Feed, TroubleCode};
use crate::telemetry::jobs::{JobStatus, Run};
use crate::wakeup::Wakeup;

/// How a job waits for its turns and tells of them.
#[derive(Debug, Clone)]
pub struct Turns {
    pub status: Arc<JobStatus>,
    pub nudged: Wakeup,
    pub clock: Arc<dyn Clock>,
    /// Troubles of jobs are told in it.
    pub feed: Arc<Feed>,
    pub stopping: CancellationToken,
}

impl Turns {
    /// Tells whoever looks on that a run failed.
    pub fn failed(&self, message: &str) {
        let job = format!("job/{}", self.status.name);
        self.feed.publish(Event::trouble(self.clock.now(), TroubleCode::JobFailed, &job, message));
    }

    /// Waits for the next nudge; false when the stop has begun.
    pub async fn next(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => false,
            () = self.nudged.wait() => true,
        }
    }

    /// Makes a run and tells how it ended, what was done in `words`. `None`: the stop cut it.
    pub async fn run<T, E: Display>(
        &self,
        step: impl Future<Output = Result<T, E>>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<Result<T, E>> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            done = self.run_to_end(step, words) => Some(done),
        }
    }

    /// As [`run`](Self::run), also when the stop begins.
    pub async fn run_to_end<T, E: Display>(
        &self,
        step: impl Future<Output = Result<T, E>>,
        words: impl FnOnce(&T) -> String,
    ) -> Result<T, E> {
        self.status.begin();
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let done = step.await;
        let took = self.clock.monotonic().saturating_sub(began);
        let result = done.as_ref().map(words).map_err(ToString::to_string);
        self.status.end(Run { at, took, result });
        done
    }
}
