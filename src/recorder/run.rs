//! The recorder's loop: takes results, commits them in batches, and tells the board. A commit is under way beside the
//! taking, so that a database which is slow, hangs or is away holds up nothing.

mod commits;
mod time;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::config::Directory;
use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::connectivity::Moment;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::incident::{Acknowledging, EndpointState, Transition, Unresolvable};
use crate::domain::maintenance::Maintained;
use crate::domain::outcome::{Outcome, Status};
use crate::domain::recheck::Request;
use crate::domain::start_grace::StartGrace;
use crate::domain::suppression::Suppressor;
use crate::events::{ConfirmRequest, Decided, Decider, Decision, IncidentRequest, Submission, Undecidable};
use crate::feed::{Event, Feed, StatusNews, TroubleCode};
use crate::handover::{Handed, Handover};
use crate::quiet::Quiet;
use crate::store::Store;
use crate::telemetry::jobs::JobStatus;
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

use self::commits::{Committing, ended};
use super::behind::Behind;
use super::buffer::{BATCH, Buffer, Limits};
use super::doubt::{self, Shown};
use super::maintained;
use super::outages::Outages;
use super::parents::Parents;
use super::telling::{Happened, Telling};
use super::tracked::{Effect, Tracked};
use super::trouble::Trouble;

/// A result is committed at most this long after it came.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// What its troubles are about.
const DATABASE: &str = "database";

/// How often time is let work on open incidents.
const TICK: Duration = Duration::from_secs(1);

/// What the recorder is given.
#[derive(Debug)]
pub struct RecorderParts {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// From the scheduler; the recorder ends when every sender is gone.
    pub submissions: mpsc::Receiver<Submission>,
    /// What people decide about incidents.
    pub decisions: mpsc::Receiver<IncidentRequest>,
    /// To the scheduler. When it is full the next slot confirms instead.
    pub confirmations: mpsc::Sender<ConfirmRequest>,
    /// Nudged when hours may be over.
    pub close_hours: Wakeup,
    /// In which the closing of hours is seen.
    pub hours: Arc<JobStatus>,
    /// Says who is told.
    pub directory: Arc<Directory>,
    /// Says what is checked in maintenance, and what nobody is told of for a time.
    pub quiet: Arc<Quiet>,
    /// Says what is not counted because our own network is in doubt.
    pub own_network: Arc<OwnNetwork>,
    /// Nudged when there is something to deliver.
    pub deliver: Wakeup,
    /// What is to be told, in memory.
    pub handover: Arc<Handover>,
    /// Told what happens, once the board shows it.
    pub feed: Arc<Feed>,
    /// Of every endpoint on the board and left behind.
    pub outages: Outages,
    /// Endpoints that left monitoring while this process was not running, with an incident open.
    pub left_behind: Vec<(Arc<KnownEndpoint>, EndpointState)>,
    /// How much waits at most while the database is away.
    pub limits: Limits,
    /// Dropped when everything is written that will be.
    pub recorded: DropGuard,
}

/// Writes whatever was checked.
pub struct Recorder {
    parts: RecorderParts,
    tracked: HashMap<EndpointId, Tracked>,
    buffer: Buffer,
    /// The batch that is being committed, since when, and the attempt itself.
    committing: Option<Committing>,
    /// When the writing of what waited began; it ends with its last batch.
    writing_since: Option<Instant>,
    /// What is told by tellings that are not committed, in their order.
    unhanded: VecDeque<Handed>,
    /// What the board and whoever looks on are still to be told.
    behind: Behind,
    /// Something should be committed without waiting for the batch.
    urgent: bool,
    flush_at: Option<Instant>,
    trouble: Trouble,
    /// Which session wrote last.
    session: u64,
    /// Something could not even be handed over in memory, and that was said.
    overfull: bool,
    /// Endpoints with an open incident, or told to be unwatched or degraded, on which time works.
    with_incident: HashSet<EndpointId>,
    grace: StartGrace,
    maintained: Maintained,
    parents: Parents,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("buffer", &self.buffer).finish_non_exhaustive()
    }
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
        let with_incident = tracked.iter().filter(|(_, tracked)| tracked.is_open()).map(|(id, _)| *id).collect();
        let entries = parts.board.entries();
        let grace = StartGrace::begin(entries.iter().map(|entry| &*entry.known), parts.clock.monotonic());
        parts.board.set_holds(parts.quiet.holds(parts.clock.now()));
        parts.board.set_start_grace(grace.shown(parts.clock.monotonic(), parts.clock.now()));
        let maintained = Maintained::begin(maintained::present(&parts.board));
        let parents = Parents::begin(&parts.board, &tracked);
        let (limits, session) = (parts.limits, parts.store.writing_session());
        Self {
            parts,
            tracked,
            buffer: Buffer::new(limits),
            committing: None,
            writing_since: None,
            unhanded: VecDeque::new(),
            behind: Behind::default(),
            urgent: false,
            flush_at: None,
            trouble: Trouble::new(),
            session,
            overfull: false,
            with_incident,
            grace,
            maintained,
            parents,
        }
    }

    /// Loops until the scheduler is gone, then commits what is left with the open hours.
    pub async fn run(mut self) {
        self.confirm_what_was_begun();
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
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                outcome = ended(&mut self.committing) => self.settle(outcome),
                Some(request) = self.parts.decisions.recv() => self.decide(request),
                count = self.parts.submissions.recv_many(&mut received, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    for submission in received.drain(..) {
                        self.take(submission);
                    }
                }
                () = sleep_until(wake_at) => {}
                () = self.parts.close_hours.wait() => self.close_hours_and_tell(),
                _ = heartbeat.tick() => {}
            }
            self.go_on();
        }
        self.finish().await;
    }

    /// Asks for the early checks that this process, when it ran last, had asked for.
    fn confirm_what_was_begun(&self) {
        let unconfirmed = self.tracked.iter().filter(|(_, tracked)| tracked.state.is_unconfirmed());
        for (id, _) in unconfirmed {
            if self.parts.confirmations.try_send(ConfirmRequest::soon(*id)).is_err() {
                tracing::debug!(endpoint_id = id.0, "no room for a confirming check; the next slot confirms");
            }
        }
    }

    /// Takes one submission in; nothing is written yet.
    pub fn take(&mut self, submission: Submission) {
        let Submission { mut result, seen, waiters } = submission;
        let id = result.endpoint_id;
        // An endpoint that was removed while its check was under way leaves no row behind.
        let Some(entry) = self.parts.board.get(id) else { return };
        self.parents.follow(&self.parts.board, &self.tracked);
        let tracked = self.tracked.entry(id).or_insert_with(|| Tracked::from_live(&entry.live));
        tracked.know(&entry.known);
        let now = self.parts.clock.now();
        let before = tracked.state.status;
        self.parts.quiet.mark(&mut result, &entry.known, now);
        let (board, quiet) = (&self.parts.board, &self.parts.quiet);
        // From its first attempt until now, as for windows of its own.
        result.in_maintenance |= !matches!(result.outcome, Outcome::Missed(_))
            && self.parents.maintenance(board, quiet, id, result.started_at, now).is_some();
        let around = self.grace.around(&result, &entry.known, self.parts.clock.monotonic(), now);
        let around = quiet.beside(around, &entry.known, now);
        let moment = Moment { at: now, running: self.parts.clock.monotonic() };
        let around = self.parts.own_network.beside(around, id, moment);
        let mut around = self.parents.beside(around, &result, &tracked.state, now);
        if around.maintenance.is_none() {
            // A recovery may be the change too many: that is not told in a window, a parent's included.
            around.maintenance = self.parents.maintenance(board, quiet, id, now, now);
        }
        let mut effect = tracked.take(&result, &entry.known, &around, now);
        if effect.repeated {
            tracing::debug!(endpoint = entry.known.endpoint.name, endpoint_id = id.0, scheduled_at = %result.scheduled_at, "a repeated slot was refused");
            self.parts.metrics.results_repeated.add(1);
            // Who waits is not left waiting: the channel closes.
            return;
        }
        // Of a good check it is seen in memory alone.
        let detail = seen.detail.clone().filter(|_| matches!(result.outcome, Outcome::Down(_) | Outcome::Degraded));
        tracked.note(&result, seen);
        self.maintained.note(&result);
        let shown = doubt::follow(tracked, &result, &mut effect, &self.parts.own_network, moment);
        // While it is paused or in maintenance, that is what is shown.
        if let Some(Shown { from, to, since }) =
            shown.filter(|_| entry.known.is_checked() && entry.maintenance.is_none())
        {
            let why = tracked.state.cause.as_ref().filter(|_| to == Status::Down).map(|cause| cause.message.as_str());
            let news = StatusNews { at: now, from: Some(from), to: Some(to), since, error_message: why };
            self.behind.note(Event::status(&entry.known, news));
        }
        self.parents.take(board, &entry, tracked, &result, &effect, now);
        if effect.confirm && self.parts.confirmations.try_send(ConfirmRequest::soon(id)).is_err() {
            tracing::debug!(
                endpoint = entry.known.endpoint.name,
                endpoint_id = id.0,
                "no room for a confirming check; the next slot confirms"
            );
        }
        self.behind.note(Event::check(&entry.known, &result));
        if !waiters.is_empty() {
            self.urgent = true;
            self.buffer.await_commit(result.clone(), waiters);
        }
        let dropped = self.buffer.push(result, effect.amends, detail);
        if dropped > 0 && self.parts.metrics.results_dropped.get() == 0 {
            let message = "too many results wait for the database: from now on the oldest are lost and counted";
            tracing::error!("{message}");
            self.parts.feed.publish(Event::trouble(now, TroubleCode::ResultsDropped, DATABASE, message));
        }
        self.parts.metrics.results_dropped.add(dropped as u64);
        self.show_waiting();
        self.keep(id, effect, before, None, now);
    }

    /// Does what somebody decided about an incident, if it is still open. It is answered once it is committed.
    pub fn decide(&mut self, request: IncidentRequest) {
        let IncidentRequest { endpoint_id: id, started_at, decision, by, reply } = request;
        let now = self.parts.clock.now();
        let monitored = self.parts.board.get(id).filter(|entry| entry.known.is_checked());
        let tracked = self.tracked.get_mut(&id);
        let is_meant = |tracked: &&mut Tracked| {
            tracked.state.incident.as_ref().is_some_and(|incident| incident.started_at == started_at)
        };
        let Some((entry, tracked)) = monitored.zip(tracked.filter(is_meant)) else {
            return answer(reply, Err(Undecidable::NotOpen));
        };
        let policy = &entry.known.endpoint.alert_policy;
        let before = tracked.state.status;
        let (effect, note) = match decision {
            Decision::Acknowledge { note, wanted } => {
                let acknowledging = Acknowledging { by: by.name.clone(), note: note.clone(), wanted };
                (tracked.acknowledge(acknowledging, policy, now).ok_or(Undecidable::NotOpen), note)
            }
            Decision::Resolve { note } => {
                let why = |why| match why {
                    Unresolvable::NothingOpen => Undecidable::NotOpen,
                    Unresolvable::ChecksFail => Undecidable::ChecksFail,
                };
                (tracked.resolve_by_hand(policy, now).map_err(why), note)
            }
        };
        match effect {
            Ok(effect) => {
                self.keep(id, effect, before, Some((by, note)), now);
                self.buffer.await_decided(reply);
            }
            Err(why) => answer(reply, Err(why)),
        }
    }

    /// Puts what an effect changed among what is to be committed.
    ///
    /// `by`: who did it, if somebody did, and what they wrote.
    fn keep(
        &mut self,
        id: EndpointId,
        effect: Effect,
        before: Status,
        by: Option<(Decider, Option<String>)>,
        now: Timestamp,
    ) {
        let Some(tracked) = self.tracked.get(&id) else { return };
        self.behind.change(id);
        self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
        if effect.state_changed {
            self.buffer.set_state(id, tracked.state.clone());
        }
        if let Some(hour) = effect.closed {
            self.buffer.add_hour(id, hour);
        }
        if let Some(entry) = self.parts.board.get(id).filter(|_| effect.state_changed) {
            self.parents.note(&entry.known, tracked);
        }
        if tracked.is_open() {
            self.with_incident.insert(id);
        } else {
            self.with_incident.remove(&id);
        }
        let Some(known) = tracked.known() else { return };
        let mut incident = None;
        if let Some(change) = effect.incident {
            self.urgent = true;
            let by_parent = effect.tell.is_some_and(|tell| tell.held_by == Some(Suppressor::ParentDown));
            let happened = Happened {
                known: known.clone(),
                state: tracked.state.clone(),
                previous_status: before,
                change,
                tell: effect.tell,
                held_name: by_parent.then(|| self.parents.name_of(id)).flatten(),
                result: tracked.last_verdict.clone(),
                why_degraded: tracked.why_degraded(),
                by,
                in_doubt: self.parts.own_network.remark(id),
                now,
            };
            let listing = self.parts.directory.get();
            if let Some(telling) = Telling::new(happened, &mut self.parts.outages, listing.routing()) {
                incident = telling.event();
                self.unhanded.extend(telling.to_deliver());
                self.buffer.tell(telling);
            }
        }
        if let Some(Transition { from, to, .. }) = effect.transition {
            self.urgent = true;
            let name = known.endpoint.name.as_str();
            let why = tracked.state.cause.as_ref().map(|cause| cause.message.as_str());
            // While it is paused or in maintenance, that is what is shown.
            if self.parts.board.get(id).is_some_and(|entry| entry.known.is_checked() && entry.maintenance.is_none()) {
                let since = tracked.state.since;
                let error_message = why.filter(|_| to == Status::Down);
                let news = StatusNews { at: now, from: Some(from), to: Some(to), since, error_message };
                self.behind.note(Event::status(known, news));
            }
            if to == Status::Down {
                tracing::warn!(endpoint = name, endpoint_id = id.0, %from, why, "{name} is down");
            } else {
                tracing::info!(endpoint = name, endpoint_id = id.0, %from, "{name} is {to}");
            }
        }
        if let Some(event) = incident {
            self.behind.note(event);
        }
    }

    /// Decides again about the children of parents that have answered, begins a commit if one is due, and goes on from
    /// memory where the database does not keep up.
    pub fn go_on(&mut self) {
        let children = self.parents.take_changed();
        if !children.is_empty() {
            let now = self.parts.clock.now();
            for id in children {
                self.let_time_work_on(id, now);
            }
            self.parents.show(&self.parts.board, now);
        }
        let confirmations = &self.parts.confirmations;
        let mut take = |request: Request| match confirmations.try_send(request.into()) {
            Err(mpsc::error::TrySendError::Full(_)) => false,
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
        };
        self.parents.hand_over(&mut take);
        self.maintained.hand_over(&mut take);
        if self.committing.is_none() && self.is_due() {
            self.begin_commit();
        }
        if let Some(Committing { began, .. }) = &self.committing {
            let was_away = self.trouble.is_away();
            self.trouble.watch(*began, &self.parts.metrics, self.parts.clock.now());
            self.tell_of_trouble(was_away);
        }
        if self.is_on_its_own() {
            self.tell_from_memory();
            self.answer(false);
        }
        // Only then: the board counts what the rows have, as long as that is a matter of a moment.
        if self.trouble.is_away() || self.trouble.has_failed() {
            self.behind.tell_all(&mut self.tracked, &self.parts.board, &self.parts.feed);
        }
    }
}

fn answer(asked: oneshot::Sender<Result<Decided, Undecidable>>, answer: Result<Decided, Undecidable>) {
    if asked.send(answer).is_err() {
        tracing::debug!("whoever decided about an incident did not wait for the answer");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
