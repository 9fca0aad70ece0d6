//! The recorder's loop: takes results, commits them in batches, and tells the board. A commit is under way beside the
//! taking, so that a database which is slow, hangs or is away holds up nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::config::Directory;
use crate::connectivity::OwnNetwork;
use crate::domain::connectivity::Moment;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::incident::{Acknowledging, EndpointState, MOST_AT_ONCE, Transition, Unresolvable};
use crate::domain::maintenance::Maintained;
use crate::domain::outcome::{Outcome, Status};
use crate::domain::recheck::Request;
use crate::domain::start_grace::StartGrace;
use crate::domain::suppression::Suppressor;
use crate::domain::{Timestamp, from_micros, micros};
use crate::events::{ConfirmRequest, Decided, Decider, Decision, IncidentRequest, Recorded, Submission, Undecidable};
use crate::feed::{Event, Feed, StatusNews, TroubleCode};
use crate::handover::{Handed, Handover};
use crate::quiet::Quiet;
use crate::store::{Store, StoreError};
use crate::telemetry::jobs::{JobStatus, Run};
use crate::telemetry::metrics::Metrics;
use crate::wakeup::Wakeup;

use super::batch::{Batch, Failed};
use super::behind::Behind;
use super::buffer::{BATCH, Buffer, Limits, Waiter};
use super::doubt::{self, Shown};
use super::maintained::{self, Changed};
use super::outages::Outages;
use super::parents::Parents;
use super::telling::{Happened, Telling};
use super::tracked::{Effect, Tracked};
use super::trouble::Trouble;

/// A result is committed at most this long after it came.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// After this long in the writing, people and whoever waits for a result are told from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the end waits for a database that does not take what is left.
const LAST_WAIT: Duration = Duration::from_secs(3);

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

/// A commit under way, and what came of it.
type Commit = BoxFuture<'static, Result<(), Failed>>;

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

struct Committing {
    batch: Arc<Batch>,
    began: Instant,
    attempt: Commit,
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

    /// Follows the maintenance windows and silences, releases held recoveries, reminds, tells what was kept back, and
    /// closes the incidents of endpoints that are no longer monitored.
    pub fn let_time_pass(&mut self) {
        let now = self.parts.clock.now();
        self.follow_windows(now);
        self.parents.follow(&self.parts.board, &self.tracked);
        self.parts.board.set_start_grace(self.grace.shown(self.parts.clock.monotonic(), now));
        let ids: Vec<EndpointId> = self.with_incident.iter().copied().collect();
        for id in ids {
            self.let_time_work_on(id, now);
        }
        self.parents.tidy(&self.with_incident, now);
        self.parents.show(&self.parts.board, now);
    }

    /// Decides again about an endpoint with an open incident.
    fn let_time_work_on(&mut self, id: EndpointId, now: Timestamp) {
        for _ in 0..MOST_AT_ONCE {
            if !self.let_time_pass_for(id, now) {
                break;
            }
        }
    }

    /// The next thing that is due of an incident; whether there was one.
    fn let_time_pass_for(&mut self, id: EndpointId, now: Timestamp) -> bool {
        let board = &self.parts.board;
        let monitored = board.get(id).filter(|entry| entry.known.is_checked());
        let Some(tracked) = self.tracked.get_mut(&id) else { return false };
        let before = tracked.state.status;
        let effect = match &monitored {
            Some(entry) => {
                let around = self.parts.quiet.facts(&entry.known, now);
                let moment = Moment { at: now, running: self.parts.clock.monotonic() };
                let mut around = self.parts.own_network.beside(around, id, moment);
                around.maintenance = around.maintenance.or(entry.facts().maintenance);
                around.parent_down = self.parents.hold(board, &entry.known, tracked, now);
                let newest = tracked.last_verdict.as_deref();
                let around = self.maintained.beside(around, id, &tracked.state, newest, now);
                tracked.advance(&entry.known.endpoint.alert_policy, &around, now)
            }
            None => tracked.abandon(now),
        };
        let Some(effect) = effect else { return false };
        self.keep(id, effect, before, None, now);
        true
    }

    /// Shows which windows and silences there are now, and which have ended.
    fn follow_windows(&mut self, now: Timestamp) {
        self.parts.board.set_holds(self.parts.quiet.holds(now));
        let Changed { begun, ended } = maintained::follow(&mut self.maintained, &self.parts.board, &self.tracked, now);
        for entry in begun {
            let Some(hold) = &entry.maintenance else { continue };
            let (from, to) = (Some(entry.live.state.status), Some(Status::Maintenance));
            let news = StatusNews { at: now, from, to, since: hold.since, error_message: None };
            self.parts.feed.publish(Event::status(&entry.known, news));
        }
        for entry in ended {
            let state = &entry.live.state;
            let why = state.cause.as_ref().filter(|_| state.status == Status::Down).map(|cause| cause.message.as_str());
            let (from, to) = (Some(Status::Maintenance), Some(state.status));
            let news = StatusNews { at: now, from, to, since: state.since, error_message: why };
            self.parts.feed.publish(Event::status(&entry.known, news));
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

    /// Whether people, and whoever waits for a result, are not left to wait for the database.
    fn is_on_its_own(&self) -> bool {
        self.trouble.is_away()
            || self.trouble.has_failed()
            || self.writing_since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// When something is to be done though nothing comes.
    fn wake_at(&self) -> Option<Instant> {
        let patience = self.writing_since.map(|since| since + PATIENCE).filter(|_| !self.is_on_its_own());
        let next = match &self.committing {
            Some(Committing { began, .. }) => self.trouble.watch_at(*began),
            None => self.flush_at.filter(|_| !self.buffer.is_empty()),
        };
        [patience, next].into_iter().flatten().min()
    }

    fn is_due(&self) -> bool {
        if self.buffer.is_empty() {
            return false;
        }
        let now = Instant::now();
        if self.trouble.has_failed() {
            return self.flush_at.is_none_or(|at| at <= now);
        }
        // What is being written is written to its end.
        self.writing_since.is_some()
            || self.urgent
            || self.buffer.new_results() >= BATCH
            || self.flush_at.is_none_or(|at| at <= now)
    }

    fn begin_commit(&mut self) {
        if self.writing_since.is_none() {
            // Whatever is urgent from now on is for the next writing.
            self.urgent = false;
        }
        let was_writing = self.buffer.is_writing();
        let Some(batch) = self.buffer.batch() else { return };
        if !was_writing && self.buffer.is_writing() {
            self.behind.begin_writing(&mut self.tracked, &self.parts.board, &self.parts.feed);
        }
        let began = Instant::now();
        self.writing_since.get_or_insert(began);
        self.flush_at = None;
        let (store, now, limit) = (self.parts.store.clone(), self.parts.clock.now(), self.trouble.limit);
        let (to_write, session) = (batch.clone(), self.session);
        let attempt = Box::pin(async move {
            tokio::time::timeout(limit, to_write.write(&store, session, now)).await.unwrap_or_else(|_| {
                let why = format!("the database did not answer within {} s", limit.as_secs());
                Err(Failed::Unknown(StoreError::Unavailable(why)))
            })
        });
        self.committing = Some(Committing { batch, began, attempt });
    }

    /// Commits everything that waits, without waiting for its time; ends at a failure too.
    pub async fn flush(&mut self) {
        while !self.buffer.is_empty() || self.committing.is_some() {
            if self.committing.is_none() {
                self.begin_commit();
            }
            let outcome = ended(&mut self.committing).await;
            let failed = matches!(outcome.2, Err(Failed::Unknown(_) | Failed::Refused(_)));
            self.settle(outcome);
            if failed {
                return;
            }
        }
    }

    /// Takes in what came of a commit.
    fn settle(&mut self, (batch, began, outcome): (Arc<Batch>, Instant, Result<(), Failed>)) {
        let now = self.parts.clock.now();
        match outcome {
            Ok(()) => self.committed(&batch, began, now),
            Err(failed) => {
                drop(batch);
                self.failed(&failed, began, now);
            }
        }
        self.show_waiting();
    }

    fn committed(&mut self, batch: &Batch, began: Instant, now: Timestamp) {
        let metrics = &self.parts.metrics;
        let results = if self.buffer.is_again() { 0 } else { batch.results.len() };
        metrics.results_recorded.add(results as u64);
        let took = began.elapsed();
        metrics.commit_us.set(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        metrics.commits.0.observe(took.as_secs_f64());
        let mut to_deliver = false;
        for id in batch.tellings.iter().filter_map(Telling::notification) {
            self.parts.handover.stored(id);
            to_deliver |= self.parts.handover.holds(id);
            // They are committed in their order, so it is the first, unless some were handed over in memory.
            if let Some(at) = self.unhanded.iter().take(batch.tellings.len()).position(|h| h.told.facts.id == id)
                && let Some(handed) = self.unhanded.remove(at)
            {
                to_deliver = true;
                self.parts.handover.hand(handed, true);
            }
        }
        let waited = self.buffer.committed();
        let written = self.buffer.is_between_writings();
        if written {
            self.writing_since = None;
        }
        let was_away = self.trouble.is_away();
        let more = !self.buffer.is_empty();
        self.trouble.committed(results, written, more, &self.parts.metrics, now);
        self.tell_of_trouble(was_away);
        if written {
            // What came meanwhile is not: a crash could still take it back.
            self.behind.tell_written(&mut self.tracked, &self.parts.board, &self.parts.feed);
            // After the board, so that whoever is answered finds the result in the lists too.
            reply(waited, true);
            if !self.buffer.is_empty() {
                self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
            }
        }
        if to_deliver || was_away {
            self.parts.deliver.nudge();
        }
    }

    fn failed(&mut self, failed: &Failed, began: Instant, now: Timestamp) {
        let (why, is_away) = match failed {
            Failed::NewSession => {
                // Not said: where the server was away, that was.
                self.session = self.parts.store.writing_session();
                self.buffer.doubt_recent();
                self.flush_at = None;
                return;
            }
            Failed::Refused(error) => (error.to_string(), false),
            Failed::Unknown(error) => (error.to_string(), true),
        };
        self.parts.metrics.commits_failed.add(1);
        let unreachable = is_away.then_some(why.as_str());
        let was_away = self.trouble.is_away();
        let mut pause = self.trouble.failed(began, unreachable, &self.parts.metrics, now);
        self.tell_of_trouble(was_away);
        if let Failed::Refused(error) = failed {
            tracing::warn!(%error, "the database refused a batch");
            pause = pause.min(FLUSH_INTERVAL);
            if let Some(given_up) = self.buffer.refused() {
                let what = given_up.what;
                tracing::error!(%error, what, "the database refuses this for good: it is left out, everything else goes on");
                let message = "the database refuses rows for good: they are left out, everything else goes on";
                self.parts.feed.publish(Event::trouble(now, TroubleCode::RowsRefused, DATABASE, message));
                self.parts.metrics.results_refused.add(given_up.results as u64);
                self.parts.metrics.changes_refused.add(given_up.changes as u64);
                if self.buffer.is_between_writings() {
                    self.writing_since = None;
                }
            }
        }
        self.flush_at = Some(Instant::now() + pause);
    }

    /// Hands what is to be told to the deliverers, though its rows are not written.
    fn tell_from_memory(&mut self) {
        if self.unhanded.is_empty() {
            return;
        }
        let mut left = VecDeque::new();
        let before = self.unhanded.len();
        for handed in self.unhanded.drain(..) {
            if !left.is_empty() {
                left.push_back(handed);
                continue;
            }
            if !self.parts.handover.hand_from_memory(handed.clone()) {
                left.push_back(handed);
            }
        }
        if !left.is_empty() && !self.overfull {
            let message = "too many notifications wait in memory: further ones go out once the database is back";
            tracing::error!("{message}");
            let event = Event::trouble(self.parts.clock.now(), TroubleCode::NotificationsHeld, DATABASE, message);
            self.parts.feed.publish(event);
        }
        self.overfull = !left.is_empty();
        self.unhanded = left;
        if self.unhanded.len() < before {
            self.parts.deliver.nudge();
        }
    }

    fn answer(&mut self, stored: bool) {
        reply(self.buffer.take_waiters(), stored);
    }

    fn show_waiting(&self) {
        let results = self.buffer.numbers().results;
        self.parts.metrics.results_pending.set(i64::try_from(results).unwrap_or(i64::MAX));
    }

    /// Says that the database went away, or is back, if it is otherwise than it was.
    fn tell_of_trouble(&self, was_away: bool) {
        let (code, message) = match (was_away, self.trouble.is_away()) {
            (false, true) => {
                (TroubleCode::DatabaseAway, "the database is away: results wait in memory, people are told")
            }
            (true, false) => (TroubleCode::DatabaseBack, "the database is back, and everything that waited is written"),
            _ => return,
        };
        self.parts.feed.publish(Event::trouble(self.parts.clock.now(), code, DATABASE, message));
    }

    fn close_hours_and_tell(&mut self) {
        let clock = self.parts.clock.clone();
        self.parts.hours.begin();
        let (at, began) = (clock.now(), clock.monotonic());
        let hours = self.close_hours();
        let took = clock.monotonic().saturating_sub(began);
        self.parts.hours.end(Run { at, took, result: Ok(format!("closed: hours {hours}")) });
    }

    /// Writes the hours that are over and got no successor, and forgets endpoints that are gone; returns how many hours
    /// were closed.
    pub fn close_hours(&mut self) -> u64 {
        let limit = from_micros(micros(self.parts.clock.now()) - HOUR_GRACE_US);
        let closed = self.close_hours_ended_by(limit);
        let board = &self.parts.board;
        let behind = &self.behind;
        let with_incident = &self.with_incident;
        self.tracked.retain(|id, tracked| {
            let unfinished = tracked.open_hour.is_some() || behind.has(*id) || with_incident.contains(id);
            unfinished || board.get(*id).is_some()
        });
        let tracked = &self.tracked;
        self.parts.outages.retain(|id| tracked.contains_key(&id));
        closed
    }

    fn close_hours_ended_by(&mut self, limit: Timestamp) -> u64 {
        let mut closed = 0;
        for (id, tracked) in &mut self.tracked {
            if tracked.open_hour.as_ref().is_some_and(|open| open.end() <= limit)
                && let Some(hour) = tracked.close_hour()
            {
                self.buffer.add_hour(*id, hour);
                self.behind.change(*id);
                self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
                closed += 1;
            }
        }
        closed
    }

    /// The clean stop: everything is written, the hours that are over included. The hour that is still open is
    /// counted again from its rows at the next start.
    async fn finish(mut self) {
        self.close_hours_ended_by(self.parts.clock.now());
        let mut until = Instant::now() + LAST_WAIT;
        while !self.buffer.is_empty() || self.committing.is_some() {
            if self.committing.is_none() {
                self.begin_commit();
            }
            let Ok(outcome) = tokio::time::timeout_at(until, ended(&mut self.committing)).await else { break };
            let failed = matches!(outcome.2, Err(Failed::Unknown(_) | Failed::Refused(_)));
            self.settle(outcome);
            if !failed {
                // As long as it goes forward; the process as a whole has its own limit.
                until = Instant::now() + LAST_WAIT;
            } else if tokio::time::timeout_at(until, sleep_until(self.flush_at)).await.is_err() {
                break;
            }
        }
        self.answer(false);
        if !self.buffer.is_empty() {
            let lost = self.buffer.numbers();
            tracing::error!(
                results = lost.results,
                incident_changes = lost.tellings,
                hours = lost.hours,
                states = lost.states,
                messages_not_handed_over = self.unhanded.len(),
                "the database was away until the end: what waited for it is lost"
            );
        }
    }
}

/// What its troubles are about.
const DATABASE: &str = "database";

/// Answers whoever waited.
fn reply(waiters: Vec<Waiter>, stored: bool) {
    for waiter in waiters {
        match waiter {
            Waiter::Result(result, waiting) => {
                for waiter in waiting {
                    // Whoever asked may have gone away.
                    drop(waiter.send(Recorded { result: result.clone(), stored }));
                }
            }
            Waiter::Decided(waiter) => answer(waiter, Ok(Decided { stored })),
        }
    }
}

fn answer(asked: oneshot::Sender<Result<Decided, Undecidable>>, answer: Result<Decided, Undecidable>) {
    if asked.send(answer).is_err() {
        tracing::debug!("whoever decided about an incident did not wait for the answer");
    }
}

/// The end of the commit under way; never, without one.
async fn ended(committing: &mut Option<Committing>) -> (Arc<Batch>, Instant, Result<(), Failed>) {
    let Some(commit) = committing else { return std::future::pending().await };
    let outcome = (&mut commit.attempt).await;
    let (batch, began) = (commit.batch.clone(), commit.began);
    // With the attempt, which holds the batch.
    *committing = None;
    (batch, began, outcome)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
