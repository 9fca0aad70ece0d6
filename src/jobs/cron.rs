//! When housekeeping runs: tokio-cron-scheduler, which only nudges. It never runs a check: it loses runs when
//! many fall into one tick, which a nudge for an idempotent job survives and a check would not.

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::Turns;
use crate::telemetry::jobs::When;

/// The running nudges. Ends with [`stop`](Self::stop).
pub struct Cron(JobScheduler);

impl std::fmt::Debug for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cron")
    }
}

impl Cron {
    /// Starts nudging each job as its schedule says.
    pub async fn start(jobs: impl IntoIterator<Item = Turns>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(4096).await?;
        for job in jobs {
            let when = job.status.when.clone();
            let nudge = move || {
                job.status.nudged(job.clock.now());
                job.nudged.nudge();
            };
            let job = match when {
                When::Cron(schedule) => Job::new(schedule.expression(), move |_, _| nudge())?,
                When::Every(period) => Job::new_repeated(period, move |_, _| nudge())?,
                When::AtStart => continue,
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
