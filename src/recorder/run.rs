//! The recorder's loop: takes results, commits them in batches, and tells the board.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::incident::{EndpointState, Transition};
use crate::domain::notification::Routing;
use crate::domain::outcome::Status;
use crate::domain::{Timestamp, from_micros, micros};
use crate::events::{ConfirmRequest, Submission};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

use super::batch::{BATCH, Pending};
use super::grace::StartGrace;
use super::telling::Telling;
use super::tracked::{Effect, Tracked};

/// A result is committed at most this long after it came.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// The pause after a failed commit, doubled at each further failure up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often time is let work on open incidents.
const TICK: Duration = Duration::from_secs(1);

/// How long an hour without a successor waits for late results before it is written.
const HOUR_GRACE_US: i64 = 5 * 60 * 1_000_000;

/// What the recorder is given.
#[derive(Debug)]
pub struct RecorderParts {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// From the scheduler; the recorder ends when every sender is gone.
    pub submissions: mpsc::Receiver<Submission>,
    /// To the scheduler. When it is full the next slot confirms instead.
    pub confirmations: mpsc::Sender<ConfirmRequest>,
    /// Nudged when hours may be over.
    pub close_hours: Wakeup,
    /// Who is told.
    pub routing: Routing,
    /// Nudged when there is something to deliver.
    pub deliver: Wakeup,
    /// Endpoints that left monitoring while this process was not running, with an incident open.
    pub left_behind: Vec<(Arc<KnownEndpoint>, EndpointState)>,
}

/// Writes whatever was checked.
#[derive(Debug)]
pub struct Recorder {
    parts: RecorderParts,
    tracked: HashMap<EndpointId, Tracked>,
    pending: Pending,
    /// Endpoints whose entry on the board is behind.
    changed: HashSet<EndpointId>,
    /// Something should be committed without waiting for the batch.
    urgent: bool,
    flush_at: Option<Instant>,
    /// Of a commit that failed.
    pause: Option<Duration>,
    /// Endpoints with an open incident, on which time works.
    with_incident: HashSet<EndpointId>,
    grace: StartGrace,
}

impl Recorder {
    /// Goes on from the board, whose entries were rebuilt from the store.
    pub fn new(parts: RecorderParts) -> Self {
        let mut tracked: HashMap<EndpointId, Tracked> = HashMap::new();
        for entry in parts.board.entries() {
            let of_entry = tracked.entry(entry.known.id).or_insert_with(|| Tracked::from_live(&entry.live));
            of_entry.know(&entry.known);
        }
        for (known, state) in &parts.left_behind {
            let live = Live { state: state.clone(), ..Live::pending(known.created_at) };
            tracked.entry(known.id).or_insert_with(|| Tracked::from_live(&live)).know(known);
        }
        let with_incident =
            tracked.iter().filter(|(_, tracked)| tracked.state.incident.is_some()).map(|(id, _)| *id).collect();
        let grace = StartGrace::begin(&parts.board, parts.clock.monotonic());
        Self {
            parts,
            tracked,
            pending: Pending::default(),
            changed: HashSet::new(),
            urgent: false,
            flush_at: None,
            pause: None,
            with_incident,
            grace,
        }
    }

    /// Loops until the scheduler is gone, then commits what is left with the open hours.
    pub async fn run(mut self) {
        let mut received = Vec::with_capacity(BATCH);
        let mut heartbeat = tokio::time::interval(TICK);
        let mut ticked_at = Instant::now();
        loop {
            // By the time, not by the timer alone, which results that keep coming would hold up.
            if ticked_at.elapsed() >= TICK {
                ticked_at = Instant::now();
                self.let_time_pass();
            }
            self.parts.metrics.recorder_heartbeat.beat(self.parts.clock.monotonic());
            let flush_at = self.flush_at;
            tokio::select! {
                biased;
                count = self.parts.submissions.recv_many(&mut received, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    for submission in received.drain(..) {
                        self.take(submission);
                    }
                }
                () = sleep_until(flush_at) => {}
                () = self.parts.close_hours.wait() => self.close_hours(),
                _ = heartbeat.tick() => {}
            }
            if self.is_due() {
                self.flush().await;
            }
        }
        self.finish().await;
    }

    /// Takes one submission in; nothing is written yet.
    pub fn take(&mut self, submission: Submission) {
        let Submission { result, waiters } = submission;
        let id = result.endpoint_id;
        // An endpoint that was removed while its check was under way leaves no row behind.
        let Some(entry) = self.parts.board.get(id) else { return };
        let tracked = self.tracked.entry(id).or_insert_with(|| Tracked::from_live(&entry.live));
        tracked.know(&entry.known);
        let now = self.parts.clock.now();
        let before = tracked.state.status;
        let around = self.grace.around(&result, &entry.known, self.parts.clock.monotonic());
        let effect = tracked.take(&result, &entry.known, around, now);
        if effect.repeated {
            tracing::debug!(endpoint = entry.known.endpoint.name, endpoint_id = id.0, scheduled_at = %result.scheduled_at, "a repeated slot was refused");
            self.parts.metrics.results_repeated.add(1);
            // Who waits is not left waiting: the channel closes.
            return;
        }
        if effect.confirm && self.parts.confirmations.try_send(ConfirmRequest { endpoint_id: id }).is_err() {
            tracing::debug!(
                endpoint = entry.known.endpoint.name,
                endpoint_id = id.0,
                "no room for a confirming check; the next slot confirms"
            );
        }
        if !waiters.is_empty() {
            self.urgent = true;
            self.pending.await_commit(result.clone(), waiters);
        }
        let dropped = self.pending.push(result, effect.amends);
        self.parts.metrics.results_dropped.add(dropped as u64);
        self.parts.metrics.results_pending.set(i64::try_from(self.pending.len()).unwrap_or(i64::MAX));
        self.keep(id, effect, before, now);
    }

    /// Puts what an effect changed among what is to be committed.
    fn keep(&mut self, id: EndpointId, effect: Effect, before: Status, now: Timestamp) {
        let Some(tracked) = self.tracked.get(&id) else { return };
        self.changed.insert(id);
        self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
        if effect.state_changed {
            self.pending.set_state(id, tracked.state.clone());
        }
        if let Some(hour) = effect.closed {
            self.pending.add_hour(id, hour);
        }
        if tracked.state.incident.is_some() {
            self.with_incident.insert(id);
        } else {
            self.with_incident.remove(&id);
        }
        let Some(known) = tracked.known() else { return };
        if let Some(change) = effect.incident {
            self.urgent = true;
            self.pending.tell(Telling {
                known: known.clone(),
                state: tracked.state.clone(),
                previous_status: before,
                change,
                tell: effect.tell,
                result: tracked.last_verdict.clone(),
                now,
            });
        }
        if let Some(Transition { from, to, .. }) = effect.transition {
            self.urgent = true;
            let name = known.endpoint.name.as_str();
            if to == Status::Down {
                let why = tracked.state.cause.as_ref().map(|cause| cause.message.as_str());
                tracing::warn!(endpoint = name, endpoint_id = id.0, %from, why, "{name} is down");
            } else {
                tracing::info!(endpoint = name, endpoint_id = id.0, %from, "{name} is {to}");
            }
        }
    }

    /// Releases held recoveries, reminds, and closes the incidents of endpoints that are no longer monitored.
    pub fn let_time_pass(&mut self) {
        let now = self.parts.clock.now();
        let ids: Vec<EndpointId> = self.with_incident.iter().copied().collect();
        for id in ids {
            let monitored = self.parts.board.get(id).filter(|entry| entry.known.is_checked());
            let Some(tracked) = self.tracked.get_mut(&id) else { continue };
            let before = tracked.state.status;
            let effect = match &monitored {
                Some(entry) => tracked.advance(&entry.known.endpoint.alert_policy, now),
                None => tracked.abandon(now),
            };
            if let Some(effect) = effect {
                self.keep(id, effect, before, now);
            }
        }
    }

    fn is_due(&self) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let now = Instant::now();
        if self.pause.is_some() {
            return self.flush_at.is_some_and(|at| at <= now);
        }
        self.urgent || self.pending.len() >= BATCH || self.flush_at.is_none_or(|at| at <= now)
    }

    /// Commits what is pending and brings the board in step; on an error tries again after a pause.
    pub async fn flush(&mut self) {
        let began = Instant::now();
        match self.pending.commit(&self.parts.store, &self.parts.routing).await {
            Ok(committed) => {
                if committed.deliveries {
                    self.parts.deliver.nudge();
                }
                if self.pause.take().is_some() {
                    tracing::info!(results = committed.results, "results are stored again");
                }
                self.urgent = false;
                self.flush_at = None;
                self.parts.metrics.results_recorded.add(committed.results as u64);
                self.parts.metrics.commit_us.set(i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX));
                self.tell_board();
                // After the board, so that whoever is answered finds the result in the lists too.
                self.pending.answer();
            }
            Err(error) => {
                self.parts.metrics.commits_failed.add(1);
                if self.pause.is_none() {
                    tracing::error!(error = %error, "results cannot be stored; they are kept and tried again");
                }
                let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
                self.pause = Some(pause);
                self.flush_at = Some(Instant::now() + pause);
            }
        }
        self.parts.metrics.results_pending.set(i64::try_from(self.pending.len()).unwrap_or(i64::MAX));
    }

    fn tell_board(&mut self) {
        let tracked = &mut self.tracked;
        self.parts.board.update(self.changed.drain(), |id, live| {
            if let Some(tracked) = tracked.get_mut(&id) {
                tracked.tell(live);
            }
        });
    }

    /// Writes the hours that are over and got no successor, and forgets endpoints that are gone.
    pub fn close_hours(&mut self) {
        let limit = from_micros(micros(self.parts.clock.now()) - HOUR_GRACE_US);
        self.close_hours_ended_by(limit);
        let board = &self.parts.board;
        let changed = &self.changed;
        let with_incident = &self.with_incident;
        self.tracked.retain(|id, tracked| {
            let unfinished = tracked.open_hour.is_some() || changed.contains(id) || with_incident.contains(id);
            unfinished || board.get(*id).is_some()
        });
    }

    fn close_hours_ended_by(&mut self, limit: Timestamp) {
        for (id, tracked) in &mut self.tracked {
            if tracked.open_hour.as_ref().is_some_and(|open| open.end() <= limit)
                && let Some(hour) = tracked.close_hour()
            {
                self.pending.add_hour(*id, hour);
                self.changed.insert(*id);
                self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
            }
        }
    }

    /// The clean stop: everything is written, the hours that are over included. The hour that is still open is
    /// counted again from its rows at the next start.
    async fn finish(mut self) {
        self.close_hours_ended_by(self.parts.clock.now());
        for _ in 0..3 {
            if self.pending.is_empty() {
                return;
            }
            self.flush().await;
            if let Some(pause) = self.pause {
                tokio::time::sleep(pause).await;
            }
        }
        if !self.pending.is_empty() {
            tracing::error!(results = self.pending.len(), "results could not be stored before the end and are lost");
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
