//! The scheduler's loop: sleeps until something is due, starts what is due, and follows the board.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::board::Board;
use crate::checks::Checker;
use crate::clock::Clock;
use crate::config::{MaxConcurrent, RunningSettings};
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::check::{CheckResult, Seen, Trigger};
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::outcome::{FailureKind, Outcome};
use crate::domain::plan::{Due, LastWord, Past, Plan};
use crate::domain::{from_micros, micros};
use crate::events::{CheckRequest, ConfirmRequest, PushRequest, Submission, TrialRequest};
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

use super::check::{Attempts, CheckContext, Job, Running, carry_out, try_out};
use super::limits::{Limits, fitting};

/// The longest sleep: how soon a jump of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long checks under way may go on after the stop has begun.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Trials under way or waiting for a permit. They take their turns among the checks.
const TRIALS_AT_ONCE: usize = 20;

/// What the scheduler is given.
#[derive(Debug)]
pub struct SchedulerParts {
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub checker: Arc<dyn Checker>,
    /// Says what a failed check is worth.
    pub own_network: Arc<OwnNetwork>,
    pub metrics: Arc<Metrics>,
    /// To the recorder. When it is full, finished checks wait and the slots of their endpoints are missed.
    pub submissions: mpsc::Sender<Submission>,
    /// From the recorder.
    pub confirmations: mpsc::Receiver<ConfirmRequest>,
    /// From the service verbs.
    pub requests: mpsc::Receiver<CheckRequest>,
    /// From the service verbs.
    pub trials: mpsc::Receiver<TrialRequest>,
    /// From the service verbs.
    pub pushes: mpsc::Receiver<PushRequest>,
    /// Until about when the process before this one was there.
    pub heard_until: Option<Timestamp>,
    /// Nudged when the board's endpoints changed.
    pub changes: Wakeup,
    /// Of which `max_concurrent_checks` is followed.
    pub running: Arc<RunningSettings>,
    pub max_checks_per_host: usize,
    /// File descriptors this process may open.
    pub descriptors: usize,
    pub stopping: CancellationToken,
}

/// Makes every check of this process.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) plan: Plan,
    board: Arc<Board>,
    pub(super) context: Arc<CheckContext>,
    pub(super) running: HashMap<EndpointId, Arc<Running>>,
    /// What the plan was made from, by identity.
    pub(super) planned: HashMap<EndpointId, Arc<KnownEndpoint>>,
    confirmations: mpsc::Receiver<ConfirmRequest>,
    requests: mpsc::Receiver<CheckRequest>,
    trials: mpsc::Receiver<TrialRequest>,
    pushes: mpsc::Receiver<PushRequest>,
    /// The turns of trials. When all are taken a further one is refused.
    trial_turns: Arc<Semaphore>,
    changes: Wakeup,
    stopping: CancellationToken,
    pub(super) checks: TaskTracker,
    settings: Arc<RunningSettings>,
    descriptors: usize,
    /// Gaps found at the start, handed over by the first step.
    gaps: Vec<Due>,
}

enum Happened {
    Due,
    Changed,
    Confirm(ConfirmRequest),
    Requested(CheckRequest),
    Trial(TrialRequest),
    Pushed(PushRequest),
    Stop,
}

impl Scheduler {
    /// Plans every endpoint of the board; nothing runs yet.
    pub fn new(parts: SchedulerParts) -> Self {
        let context = Arc::new(CheckContext {
            checker: parts.checker,
            own_network: parts.own_network,
            board: parts.board.clone(),
            clock: parts.clock,
            limits: Limits::new(1, parts.max_checks_per_host),
            submissions: parts.submissions,
            metrics: parts.metrics,
            cut: CancellationToken::new(),
        });
        let mut scheduler = Self {
            plan: Plan::new(),
            board: parts.board,
            context,
            running: HashMap::new(),
            planned: HashMap::new(),
            confirmations: parts.confirmations,
            requests: parts.requests,
            trials: parts.trials,
            pushes: parts.pushes,
            trial_turns: Arc::new(Semaphore::new(TRIALS_AT_ONCE)),
            changes: parts.changes,
            stopping: parts.stopping,
            checks: TaskTracker::new(),
            settings: parts.running,
            descriptors: parts.descriptors,
            gaps: Vec::new(),
        };
        scheduler.plan_all(parts.heard_until);
        scheduler
    }

    fn plan_all(&mut self, heard_until: Option<Timestamp>) {
        let now = self.context.clock.now();
        let mut endpoints = Vec::new();
        let mut past = Past { until: heard_until, last_words: HashMap::new() };
        for entry in self.board.entries() {
            if entry.known.is_checked() {
                if let Some(last) = &entry.live.last_verdict {
                    past.last_words.insert(entry.known.id, last_word(last));
                }
                self.planned.insert(entry.known.id, entry.known.clone());
                endpoints.push((entry.known, entry.live.last.as_ref().map(|last| last.scheduled_at)));
            }
        }
        self.plan = Plan::after(past);
        self.gaps = self.plan.start(endpoints, now);
        self.fit_limits(now);
    }

    /// Loops until the stop begins, then lets the checks under way end, or cuts them.
    pub async fn run(mut self) {
        let gaps = std::mem::take(&mut self.gaps);
        self.carry_out(gaps).await;
        loop {
            let happened = self.wait().await;
            match happened {
                Happened::Stop => break,
                Happened::Due => {}
                Happened::Changed => self.follow_board(),
                Happened::Confirm(ConfirmRequest { endpoint_id, at_once, attempt_within }) => {
                    let now = self.context.clock.now();
                    match attempt_within {
                        Some(within) => self.attempt(endpoint_id, within, now),
                        None if at_once => self.plan.check_at(endpoint_id, now),
                        None => self.plan.confirm(endpoint_id, now),
                    }
                }
                Happened::Requested(request) => self.check_now(request),
                Happened::Trial(request) => self.try_out(request),
                Happened::Pushed(request) => self.pushed(request),
            }
            self.step().await;
        }
        self.stop().await;
    }

    async fn wait(&mut self) -> Happened {
        self.context.metrics.scheduler_heartbeat.beat(self.context.clock.monotonic());
        let now = self.context.clock.now();
        let sleep = self
            .plan
            .next_wake()
            .map_or(LONGEST_SLEEP, |at| (at - now).to_std().unwrap_or(Duration::ZERO).min(LONGEST_SLEEP));
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Happened::Stop,
            () = self.changes.wait() => Happened::Changed,
            Some(request) = self.requests.recv() => Happened::Requested(request),
            Some(request) = self.trials.recv() => Happened::Trial(request),
            Some(request) = self.pushes.recv() => Happened::Pushed(request),
            Some(request) = self.confirmations.recv() => Happened::Confirm(request),
            () = tokio::time::sleep(sleep) => Happened::Due,
        }
    }

    /// Starts whatever is due now.
    pub async fn step(&mut self) {
        // Permits in use when the number went down are taken as they come back.
        if let MaxConcurrent::Fixed(total) = self.settings.get().max_concurrent_checks
            && self.context.limits.size() != total as usize
        {
            self.context.limits.resize(total as usize);
        }
        let due = self.plan.due(self.context.clock.now());
        self.carry_out(due).await;
    }

    async fn carry_out(&mut self, due: Vec<Due>) {
        for item in due {
            match item {
                Due::Check { id, scheduled_at, due_at, trigger } => {
                    self.begin_planned(id, scheduled_at, due_at, trigger);
                }
                Due::Overdue { id, scheduled_at, due_at, failure } => {
                    self.overdue(id, scheduled_at, due_at, failure);
                }
                Due::Missed { id, scheduled_at, slots, reason } => {
                    self.context.metrics.missed.add(reason, u64::from(slots));
                    // Told before a check under way, whose slot is older, it would have that one refused.
                    if self.running.get(&id).is_some_and(|running| running.gap(reason, slots, scheduled_at)) {
                        continue;
                    }
                    let result = CheckResult::missed(id, scheduled_at, slots, reason);
                    // Waits while the recorder's channel is full: a stalled recorder stalls the plan, and the
                    // slots of that time are told as missed.
                    let submission = Submission { result, seen: Seen::default(), waiters: Vec::new() };
                    if self.context.submissions.send(submission).await.is_err() {
                        let endpoint = self.planned.get(&id).map(|known| known.endpoint.name.as_str());
                        tracing::error!(endpoint, endpoint_id = id.0, "the recorder is gone: a gap was not recorded");
                    }
                }
            }
        }
    }

    fn begin_planned(&mut self, id: EndpointId, scheduled_at: Timestamp, due_at: Timestamp, trigger: Trigger) {
        let Some(known) = self.planned.get(&id).cloned() else { return };
        if let Some(running) = self.running.get(&id).filter(|running| !running.is_finished()) {
            // A check under way between slots serves this slot as well: it is left out without a row. So is a
            // confirming check when any other is under way.
            if trigger == Trigger::Confirming || running.trigger == Trigger::Confirming {
                return;
            }
            if let Some(reason) = running.miss(scheduled_at) {
                self.context.metrics.missed.add(reason, 1);
                return;
            }
        }
        let running = Arc::new(Running::new(trigger, Vec::new()));
        self.begin(known, scheduled_at, due_at, Attempts::AsSet, running);
    }

    /// Makes one attempt at once, as a confirming check. One that is under way serves as well.
    fn attempt(&mut self, id: EndpointId, within: Duration, now: Timestamp) {
        let Some(known) = self.planned.get(&id).filter(|known| known.endpoint.check.push().is_none()).cloned() else {
            return;
        };
        if self.running.get(&id).is_some_and(|running| !running.is_finished()) {
            return;
        }
        let scheduled_at = self.plan.stamp(id, now);
        let running = Arc::new(Running::new(Trigger::Confirming, Vec::new()));
        self.begin(known, scheduled_at, now, Attempts::One { within: Some(within) }, running);
    }

    fn begin(
        &mut self,
        known: Arc<KnownEndpoint>,
        scheduled_at: Timestamp,
        due_at: Timestamp,
        attempts: Attempts,
        running: Arc<Running>,
    ) {
        let id = known.id;
        let now = self.context.clock.now();
        let next_slot_in = self.plan.next_slot(id).map(|slot| (slot - now).to_std().unwrap_or(Duration::ZERO));
        self.context.metrics.checks_started.add(1);
        self.running.insert(id, running.clone());
        let job = Job { known, scheduled_at, due_at, next_slot_in, attempts, running };
        // Only where single checks are logged: it costs more than many of them.
        let span = tracing::debug_span!("check", endpoint = job.known.endpoint.name, endpoint_id = id.0);
        self.checks.spawn(carry_out(self.context.clone(), job).instrument(span));
    }

    fn check_now(&mut self, request: CheckRequest) {
        let id = request.endpoint_id;
        let Some(entry) = self.board.get(id).filter(|entry| entry.known.endpoint.check.push().is_none()) else {
            return;
        };
        let mut reply = request.reply;
        if let Some(running) = self.running.get(&id) {
            match running.join(reply) {
                Ok(()) => return,
                Err(back) => reply = back,
            }
        }
        let now = self.context.clock.now();
        // A paused endpoint is not on the plan; its newest result says what the stamp must follow.
        let after = entry.live.last.as_ref().map_or(now, |last| now.max(from_micros(micros(last.scheduled_at) + 1)));
        let scheduled_at = self.plan.stamp(id, after);
        let running = Arc::new(Running::new(Trigger::Manual, vec![reply]));
        let attempts = if request.use_retry { Attempts::AsSet } else { Attempts::One { within: None } };
        self.begin(entry.known, scheduled_at, now, attempts, running);
    }

    fn try_out(&self, request: TrialRequest) {
        match self.trial_turns.clone().try_acquire_owned() {
            Ok(turn) => drop(self.checks.spawn(try_out(self.context.clone(), request, turn))),
            // Whoever asked may be gone.
            Err(_) => drop(request.reply.send(None)),
        }
    }

    /// Brings the plan in step with the board.
    fn follow_board(&mut self) {
        let now = self.context.clock.now();
        let entries = self.board.entries();
        let mut current = HashMap::with_capacity(entries.len());
        for entry in entries.into_iter().filter(|entry| entry.known.is_checked()) {
            let id = entry.known.id;
            match self.planned.get(&id) {
                Some(planned) if Arc::ptr_eq(planned, &entry.known) => {}
                Some(_) => self.plan.change(entry.known.clone(), now),
                None => {
                    let last = entry.live.last.as_ref().map(|last| last.scheduled_at);
                    self.plan.add(entry.known.clone(), last, now);
                }
            }
            current.insert(id, entry.known);
        }
        for id in self.planned.keys().filter(|id| !current.contains_key(id)) {
            self.plan.remove(*id);
        }
        self.planned = current;
        self.running.retain(|_, running| !running.is_finished());
        self.context.limits.forget_idle_hosts();
        self.fit_limits(now);
    }

    fn fit_limits(&mut self, now: Timestamp) {
        let total = match self.settings.get().max_concurrent_checks {
            MaxConcurrent::Fixed(total) => total as usize,
            MaxConcurrent::Auto => {
                let endpoints: Vec<_> = self.planned.values().cloned().collect();
                fitting(&endpoints, now, self.descriptors)
            }
        };
        self.context.limits.resize(total);
    }

    async fn stop(self) {
        self.checks.close();
        if tokio::time::timeout(STOP_GRACE, self.checks.wait()).await.is_err() {
            tracing::warn!(checks = self.checks.len(), "checks still under way are cut");
            self.context.cut.cancel();
            self.checks.wait().await;
        }
    }
}

/// What the plan goes on from, where it is a push endpoint.
fn last_word(last: &CheckResult) -> LastWord {
    match &last.outcome {
        Outcome::Down(failure) if failure.kind == FailureKind::PushOverdue => LastWord::Overdue(last.scheduled_at),
        _ => LastWord::Heard(last.scheduled_at),
    }
}
