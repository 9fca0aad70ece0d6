//! What waits is written in batches, and told from memory where the database does not keep up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::super::batch::{Batch, Failed};
use super::super::buffer::{BATCH, Waiter};
use super::super::telling::Telling;
use super::{DATABASE, FLUSH_INTERVAL, Recorder, answer, sleep_until};
use crate::domain::Timestamp;
use crate::events::{Decided, Recorded};
use crate::feed::{Event, TroubleCode};
use crate::store::StoreError;

/// After this long in the writing, people and whoever waits for a result are told from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the end waits for a database that does not take what is left.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// A commit under way, and what came of it.
type Commit = BoxFuture<'static, Result<(), Failed>>;

pub(super) struct Committing {
    pub(super) batch: Arc<Batch>,
    pub(super) began: Instant,
    pub(super) attempt: Commit,
}

impl Recorder {
    /// Whether people, and whoever waits for a result, are not left to wait for the database.
    pub(super) fn is_on_its_own(&self) -> bool {
        self.trouble.is_away()
            || self.trouble.has_failed()
            || self.writing_since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// When something is to be done though nothing comes.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let patience = self.writing_since.map(|since| since + PATIENCE).filter(|_| !self.is_on_its_own());
        let next = match &self.committing {
            Some(Committing { began, .. }) => self.trouble.watch_at(*began),
            None => self.flush_at.filter(|_| !self.buffer.is_empty()),
        };
        [patience, next].into_iter().flatten().min()
    }

    pub(super) fn is_due(&self) -> bool {
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

    pub(super) fn begin_commit(&mut self) {
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
    pub(super) fn settle(&mut self, (batch, began, outcome): (Arc<Batch>, Instant, Result<(), Failed>)) {
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

    pub(super) fn committed(&mut self, batch: &Batch, began: Instant, now: Timestamp) {
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

    pub(super) fn failed(&mut self, failed: &Failed, began: Instant, now: Timestamp) {
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
    pub(super) fn tell_from_memory(&mut self) {
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

    pub(super) fn answer(&mut self, stored: bool) {
        reply(self.buffer.take_waiters(), stored);
    }

    pub(super) fn show_waiting(&self) {
        let results = self.buffer.numbers().results;
        self.parts.metrics.results_pending.set(i64::try_from(results).unwrap_or(i64::MAX));
    }

    /// Says that the database went away, or is back, if it is otherwise than it was.
    pub(super) fn tell_of_trouble(&self, was_away: bool) {
        let (code, message) = match (was_away, self.trouble.is_away()) {
            (false, true) => {
                (TroubleCode::DatabaseAway, "the database is away: results wait in memory, people are told")
            }
            (true, false) => (TroubleCode::DatabaseBack, "the database is back, and everything that waited is written"),
            _ => return,
        };
        self.parts.feed.publish(Event::trouble(self.parts.clock.now(), code, DATABASE, message));
    }

    /// The clean stop: everything is written, the hours that are over included. The hour that is still open is
    /// counted again from its rows at the next start.
    pub(super) async fn finish(mut self) {
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

/// The end of the commit under way; never, without one.
pub(super) async fn ended(committing: &mut Option<Committing>) -> (Arc<Batch>, Instant, Result<(), Failed>) {
    let Some(commit) = committing else { return std::future::pending().await };
    let outcome = (&mut commit.attempt).await;
    let (batch, began) = (commit.batch.clone(), commit.began);
    // With the attempt, which holds the batch.
    *committing = None;
    (batch, began, outcome)
}
