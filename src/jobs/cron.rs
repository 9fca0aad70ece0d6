//! When housekeeping runs: tokio-cron-scheduler, which only nudges. It never runs a check: it loses runs when
//! many fall into one tick, which a nudge for an idempotent job survives and a check would not.

use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::wakeup::Wakeup;

/// When a job is nudged.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// A cron expression of six fields, UTC.
    Cron(&'static str),
    /// From now on, each time this has passed. At least a second.
    Every(Duration),
}

/// The running nudges. Ends with [`stop`](Self::stop).
pub struct Cron(JobScheduler);

impl std::fmt::Debug for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cron")
    }
}

impl Cron {
    /// Starts nudging.
    pub async fn start(nudges: impl IntoIterator<Item = (When, Wakeup)>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(4096).await?;
        for (when, wakeup) in nudges {
            let job = match when {
                When::Cron(expression) => Job::new(expression, move |_, _| wakeup.nudge())?,
                When::Every(period) => Job::new_repeated(period, move |_, _| wakeup.nudge())?,
            };
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    pub async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(%error, "the housekeeping clock did not stop cleanly");
        }
    }
}
