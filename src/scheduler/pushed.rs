//! Heartbeats, and their absence, on their way to the recorder.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use super::check::{CheckContext, Job, Running, submit};
use super::run::Scheduler;
use crate::domain::Timestamp;
use crate::domain::check::{CheckResult, Seen, Timings, Trigger};
use crate::domain::connectivity::{Moment, Reaches};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::outcome::{Failure, Outcome};
use crate::domain::push::Heartbeat;
use crate::events::{PushReport, PushRequest, Submission};

impl Scheduler {
    /// Takes what the other side reports. Whoever waits for it is not answered when nobody waits for heartbeats of the
    /// endpoint, or when there is no room for another result.
    pub(super) fn pushed(&mut self, request: PushRequest) {
        let PushRequest { endpoint_id: id, report } = request;
        let (now, running) = (self.context.clock.now(), self.context.clock.monotonic());
        match report {
            PushReport::Start => drop(self.plan.begin_job(id, running)),
            PushReport::Heartbeat { heartbeat: Heartbeat { outcome, duration }, reply } => {
                let Some(heard) = self.plan.hear(id, now, running) else { return };
                let took = micros_of(duration.or(heard.took));
                let result = CheckResult {
                    endpoint_id: id,
                    scheduled_at: heard.scheduled_at,
                    started_at: now,
                    outcome,
                    slots: 1,
                    status_code: None,
                    timings: Timings { total_us: took.unwrap_or(0), ..Timings::default() },
                    // What took a time is one attempt; of nothing else is the time known.
                    attempts: u32::from(took.is_some()),
                    trigger: Trigger::Pushed,
                    in_maintenance: false,
                };
                if let (Some(took), Some(known)) = (took, self.planned.get(&id)) {
                    let (kind, word) = (known.endpoint.kind, result.outcome.word());
                    self.context.metrics.check_durations.observe(kind, word, took);
                }
                let mut submission = Submission { result, seen: Seen::default(), waiters: vec![reply] };
                // An older one may still wait until it is known what our own network is worth.
                if let Some(running) = self.running.get(&id) {
                    match running.hold(submission) {
                        None => return,
                        Some(back) => submission = back,
                    }
                }
                // Others than the scheduler decide how many come: they do not hold it up.
                match self.context.submissions.try_send(submission) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => {
                        tracing::debug!(endpoint_id = id.0, "no room for a heartbeat: it was refused");
                    }
                    Err(TrySendError::Closed(_)) => {
                        tracing::error!(endpoint_id = id.0, "the recorder is gone: a heartbeat was lost");
                    }
                }
            }
        }
    }

    /// Has it recorded that no heartbeat came.
    pub(super) fn overdue(&mut self, id: EndpointId, scheduled_at: Timestamp, due_at: Timestamp, failure: Failure) {
        let Some(known) = self.planned.get(&id).cloned() else { return };
        if let Some(running) = self.running.get(&id).filter(|running| !running.is_finished())
            && let Some(reason) = running.miss(scheduled_at)
        {
            self.context.metrics.missed.add(reason, 1);
            return;
        }
        let running = Arc::new(Running::new(Trigger::Scheduled, Vec::new()));
        self.running.insert(id, running.clone());
        self.checks.spawn(carry_out(self.context.clone(), known, scheduled_at, due_at, failure, running));
    }
}

/// Silence may be that of our own network, through which heartbeats come.
async fn carry_out(
    context: Arc<CheckContext>,
    known: Arc<KnownEndpoint>,
    scheduled_at: Timestamp,
    due_at: Timestamp,
    failure: Failure,
    running: Arc<Running>,
) {
    let now = context.clock.now();
    let lag = (now - due_at).to_std().unwrap_or_default();
    context.metrics.schedule_lags.0.observe(lag.as_secs_f64());
    let result = CheckResult {
        started_at: now,
        outcome: Outcome::Down(failure),
        ..CheckResult::missed(known.id, scheduled_at, 1, crate::domain::outcome::MissedReason::Stopped)
    };
    let ended = Moment { at: now, running: context.clock.monotonic() };
    let result = context.own_network.examine(result, Reaches::UNRESOLVED, ended).await;
    if let Outcome::Missed(reason) = result.outcome {
        context.metrics.missed.add(reason, 1);
    }
    let job = Job::of_silence(known, scheduled_at, due_at, running);
    submit(&context, &job, result, Seen::default()).await;
}

/// `None`: longer than is kept of a time.
fn micros_of(duration: Option<Duration>) -> Option<u32> {
    u32::try_from(duration?.as_micros()).ok()
}
