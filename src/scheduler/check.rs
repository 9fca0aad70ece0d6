//! One check under way: makes the attempts, hands the result over, and after it the slots that passed
//! meanwhile, so that the results of an endpoint reach the recorder in order.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::Host;

use crate::board::Board;
use crate::checks::{Checker, attempts};
use crate::clock::Clock;
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::check::{CheckResult, CheckSpec, Observation, Seen, Trigger};
use crate::domain::connectivity::{Moment, Reaches};
use crate::domain::endpoint::{EndpointId, KnownEndpoint, Origin};
use crate::domain::outbound::address_of;
use crate::domain::outcome::{MissedReason, Outcome};
use crate::domain::retry::RetryPolicy;
use crate::events::{Recorded, Submission, TrialRequest};
use crate::telemetry::metrics::Metrics;

use super::limits::Limits;
use super::noting::Noting;

/// What is known of a check under way, shared by its task and the scheduler.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) trigger: Trigger,
    /// Whether it waits for a permit.
    waiting: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    finished: bool,
    /// At most one gap a reason.
    gaps: Vec<Gap>,
    waiters: Vec<oneshot::Sender<Recorded>>,
    /// Heartbeats that came meanwhile.
    held: Vec<Submission>,
}

/// As many heartbeats wait for an older result. A further one is refused.
const HELD: usize = 8;

#[derive(Debug)]
struct Gap {
    reason: MissedReason,
    slots: u32,
    last: Timestamp,
}

impl Running {
    pub(super) fn new(trigger: Trigger, waiters: Vec<oneshot::Sender<Recorded>>) -> Self {
        Self { trigger, waiting: AtomicBool::new(false), state: Mutex::new(State { waiters, ..State::default() }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Notes a slot that came while this check was under way, and why it could not be served. `None`: the check
    /// has just ended, the slot can be served.
    pub(super) fn miss(&self, slot: Timestamp) -> Option<MissedReason> {
        let reason = if self.waiting.load(Ordering::Relaxed) { MissedReason::Overload } else { MissedReason::Overrun };
        self.gap(reason, 1, slot).then_some(reason)
    }

    /// Notes slots that nobody examined, up to `last`, to be handed over after this check, whose own slot is before
    /// them. Whether it was still under way.
    pub(super) fn gap(&self, reason: MissedReason, slots: u32, last: Timestamp) -> bool {
        let mut state = self.lock();
        if state.finished {
            return false;
        }
        match state.gaps.iter_mut().find(|gap| gap.reason == reason) {
            Some(gap) => {
                gap.slots = gap.slots.saturating_add(slots);
                gap.last = last;
            }
            None => state.gaps.push(Gap { reason, slots, last }),
        }
        true
    }

    /// Waits for this check too. Gives the waiter back when the check has just ended.
    pub(super) fn join(&self, waiter: oneshot::Sender<Recorded>) -> Result<(), oneshot::Sender<Recorded>> {
        let mut state = self.lock();
        if state.finished {
            return Err(waiter);
        }
        state.waiters.push(waiter);
        Ok(())
    }

    /// Keeps a heartbeat until this result is handed over, or refuses it, where too many are kept. Gives it back when
    /// there is nothing to wait for.
    pub(super) fn hold(&self, heartbeat: Submission) -> Option<Submission> {
        let mut state = self.lock();
        if state.finished {
            return Some(heartbeat);
        }
        if state.held.len() < HELD {
            state.held.push(heartbeat);
        }
        None
    }

    fn finish(&self) -> State {
        let mut state = self.lock();
        state.finished = true;
        State {
            finished: true,
            gaps: std::mem::take(&mut state.gaps),
            waiters: std::mem::take(&mut state.waiters),
            held: std::mem::take(&mut state.held),
        }
    }
}

/// Tells a running check's state that it waits for a permit, for as long as this lives.
struct Waiting<'a>(&'a AtomicBool);

impl<'a> Waiting<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What every check task shares.
#[derive(Debug)]
pub(super) struct CheckContext {
    pub(super) checker: Arc<dyn Checker>,
    /// Says what a failed check is worth.
    pub(super) own_network: Arc<OwnNetwork>,
    /// Where failed attempts are noted.
    pub(super) board: Arc<Board>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) submissions: mpsc::Sender<Submission>,
    pub(super) metrics: Arc<Metrics>,
    /// Cuts checks that are still under way at the end of a stop.
    pub(super) cut: CancellationToken,
}

/// How far a check goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempts {
    /// As the endpoint is set.
    AsSet,
    /// A single one; `within`: bounded by this too.
    One { within: Option<Duration> },
}

/// A check to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) known: Arc<KnownEndpoint>,
    pub(super) scheduled_at: Timestamp,
    pub(super) due_at: Timestamp,
    /// Until the next slot of the endpoint.
    pub(super) next_slot_in: Option<Duration>,
    pub(super) attempts: Attempts,
    pub(super) running: Arc<Running>,
}

impl Job {
    /// Of a heartbeat that did not come: nothing is left to be done but to hand it over.
    pub(super) fn of_silence(
        known: Arc<KnownEndpoint>,
        scheduled_at: Timestamp,
        due_at: Timestamp,
        running: Arc<Running>,
    ) -> Self {
        Self { known, scheduled_at, due_at, next_slot_in: None, attempts: Attempts::One { within: None }, running }
    }
}

/// Keeps the count of checks under way, and ends a check whose task panicked, so that its endpoint goes on.
struct InFlight<'a>(&'a CheckContext, &'a Running);

impl<'a> InFlight<'a> {
    fn begin(context: &'a CheckContext, running: &'a Running) -> Self {
        context.metrics.checks_in_flight.add(1);
        Self(context, running)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.checks_in_flight.add(-1);
        self.1.finish();
    }
}

/// Makes a check and hands over its result. A check that is cut by the stop of the process is a missed slot.
pub(super) async fn carry_out(context: Arc<CheckContext>, job: Job) {
    let _in_flight = InFlight::begin(&context, &job.running);
    let (result, seen) = tokio::select! {
        biased;
        examined = examine(&context, &job) => examined,
        () = context.cut.cancelled() => {
            context.metrics.missed.add(MissedReason::Shutdown, 1);
            (CheckResult::missed(job.known.id, job.scheduled_at, 1, MissedReason::Shutdown), Seen::default())
        }
    };
    tracing::debug!(
        outcome = %result.outcome.word(),
        why = result.outcome.failure().map(|failure| failure.message.as_str()),
        attempts = result.attempts,
        status_code = result.status_code,
        scheduled_at = %result.scheduled_at,
        "checked"
    );
    submit(&context, &job, result, seen).await;
}

async fn examine(context: &CheckContext, job: &Job) -> (CheckResult, Seen) {
    let endpoint = &job.known.endpoint;
    let spec = match job.attempts {
        Attempts::One { within: Some(within) } if within < endpoint.check.timeout => {
            Cow::Owned(CheckSpec { timeout: within, ..endpoint.check.clone() })
        }
        _ => Cow::Borrowed(&endpoint.check),
    };
    let spec = &*spec;
    let host = spec.url.host_str().unwrap_or_default();
    let port = spec.url.port_or_known_default().unwrap_or_default();
    let noting = Noting::new(context.checker.as_ref(), &context.board, context.clock.as_ref(), job.known.id);
    let plan = attempts::AttemptsPlan {
        max_attempts: if matches!(job.attempts, Attempts::AsSet) { endpoint.retry.max_attempts } else { 1 },
        next_slot_in: job.next_slot_in,
        origin: job.known.origin,
    };
    let acquire = || async {
        let _waiting = Waiting::begin(&job.running.waiting);
        context.limits.acquire(host, port).await
    };
    let attempted =
        attempts::run(&noting, context.clock.as_ref(), spec, &endpoint.retry, plan, acquire, fastrand::f64).await;
    let lag = (attempted.started_at - job.due_at).to_std().unwrap_or_default();
    context.metrics.schedule_lag_us.set(i64::try_from(lag.as_micros()).unwrap_or(i64::MAX));
    context.metrics.schedule_lags.0.observe(lag.as_secs_f64());
    let total_us = attempted.observation.timings.total_us;
    let (seen, reaches) = (Seen::of(&attempted.observation, attempted.detail), reaches(spec, &attempted.observation));
    let result = CheckResult {
        endpoint_id: job.known.id,
        scheduled_at: job.scheduled_at,
        started_at: attempted.started_at,
        outcome: attempted.outcome,
        slots: 1,
        status_code: attempted.observation.status_code,
        timings: attempted.observation.timings,
        attempts: attempted.attempts,
        trigger: job.running.trigger,
        in_maintenance: false,
    };
    let ended = Moment { at: context.clock.now(), running: context.clock.monotonic() };
    let result = context.own_network.examine(result, reaches, ended).await;
    if let Outcome::Missed(reason) = result.outcome {
        context.metrics.missed.add(reason, 1);
    }
    context.metrics.check_durations.observe(endpoint.kind, result.outcome.word(), total_us);
    (result, seen)
}

/// Where the endpoint of a check is: what was dialled or resolved, or else what its URL alone says.
fn reaches(spec: &CheckSpec, observation: &Observation) -> Reaches {
    if !observation.reaches.is_empty() {
        return observation.reaches;
    }
    match spec.url.host() {
        Some(Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost") => {
            Reaches::of([Ipv4Addr::LOCALHOST.into()])
        }
        _ if observation.remote_address.is_none() && observation.redirects.is_empty() => {
            address_of(&spec.url).map_or(Reaches::UNRESOLVED, |address| Reaches::of([address]))
        }
        _ => Reaches::UNRESOLVED,
    }
}

/// Makes one attempt at something that is not watched, by the rules for what is made through the API, and tells
/// whoever asked, nobody else. Ends when nobody waits for
/// it any more, or at the end of a stop. `_turn` is given back then.
pub(super) async fn try_out(context: Arc<CheckContext>, request: TrialRequest, _turn: OwnedSemaphorePermit) {
    let TrialRequest { spec, mut reply } = request;
    let scheduled_at = context.clock.now();
    let host = spec.url.host_str().unwrap_or_default();
    let port = spec.url.port_or_known_default().unwrap_or_default();
    let plan = attempts::AttemptsPlan { max_attempts: 1, next_slot_in: None, origin: Origin::Api };
    let retry = RetryPolicy::default();
    let acquire = || context.limits.acquire(host, port);
    let (checker, clock) = (context.checker.as_ref(), context.clock.as_ref());
    let attempted = tokio::select! {
        biased;
        attempted = attempts::run(checker, clock, &spec, &retry, plan, acquire, fastrand::f64) => attempted,
        () = context.cut.cancelled() => return,
        () = reply.closed() => return,
    };
    let result = CheckResult {
        endpoint_id: EndpointId(0),
        scheduled_at,
        started_at: attempted.started_at,
        outcome: attempted.outcome,
        slots: 1,
        status_code: attempted.observation.status_code,
        timings: attempted.observation.timings,
        attempts: attempted.attempts,
        trigger: Trigger::Manual,
        in_maintenance: false,
    };
    // Whoever asked may be gone.
    drop(reply.send(Some((result, attempted.detail))));
}

pub(super) async fn submit(context: &CheckContext, job: &Job, result: CheckResult, seen: Seen) {
    // Room is taken before the check counts as finished: its own result and a gap a reason. So nothing of a
    // later check of this endpoint can come before them, even while the channel is full.
    let held = if job.known.endpoint.check.push().is_some() { HELD } else { 0 };
    let Ok(mut room) = context.submissions.reserve_many(4 + held).await else {
        tracing::error!(
            endpoint = job.known.endpoint.name,
            endpoint_id = job.known.id.0,
            "the recorder is gone: a result was lost"
        );
        return;
    };
    let State { gaps, waiters, held, .. } = job.running.finish();
    let mut send = |submission| {
        if let Some(permit) = room.next() {
            permit.send(submission);
        }
    };
    send(Submission { result, seen, waiters });
    let gaps = gaps.into_iter().map(|gap| {
        let result = CheckResult::missed(job.known.id, gap.last, gap.slots, gap.reason);
        Submission { result, seen: Seen::default(), waiters: Vec::new() }
    });
    let mut later: Vec<Submission> = gaps.chain(held).collect();
    later.sort_by_key(|submission| submission.result.scheduled_at);
    later.into_iter().for_each(send);
}
