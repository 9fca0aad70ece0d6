//! What waits to be committed, and in which batches it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::domain::check::{CheckDetail, CheckResult};
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::uptime::{Rollup, hour_of};
use crate::events::{Decided, Recorded, Undecidable};

use super::batch::{Batch, Queued};
use super::telling::Telling;

/// The most results of one transaction.
pub const BATCH: usize = 1_000;

/// The most changes of incidents of one transaction: each takes some statements, and a transaction has its time.
const TELLINGS: usize = 500;

/// How often a batch is refused before it is taken apart: the database may only be in the middle of something.
const PATIENCE: u32 = 3;

/// The most results kept while they cannot be committed, whichever comes first. Beyond it the oldest are dropped and
/// counted; states, hours, incidents and notifications are never dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub results: usize,
    /// As estimated.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { results: 500_000, bytes: 64 << 20 }
    }
}

/// Somebody who waits for what is committed.
#[derive(Debug)]
pub enum Waiter {
    Result(CheckResult, Vec<oneshot::Sender<Recorded>>),
    /// What somebody decided about an incident.
    Decided(oneshot::Sender<Result<Decided, Undecidable>>),
}

/// Something of each kind.
#[derive(Debug, Default)]
struct Contents {
    results: VecDeque<Queued>,
    states: HashMap<EndpointId, EndpointState>,
    hours: BTreeMap<(EndpointId, Timestamp), Rollup>,
    tellings: VecDeque<Telling>,
    waiters: Vec<Waiter>,
}

impl Contents {
    fn is_empty(&self) -> bool {
        self.results.is_empty() && self.states.is_empty() && self.hours.is_empty() && self.tellings.is_empty()
    }
}

/// What is being written: all that waited when it began, batch after batch.
#[derive(Debug)]
struct Writing {
    left: Contents,
    /// The batch under way; the same one until it is committed or given up.
    batch: Option<Arc<Batch>>,
    /// The most rows of a batch: fewer after a refusal, until the row is found.
    size: usize,
    refusals: u32,
}

/// What is not written because the database refuses it.
#[derive(Debug)]
pub struct GivenUp {
    pub results: usize,
    pub changes: usize,
    /// What it is about.
    pub what: String,
}

/// How long a commit may be taken back by a crash of the server, which need not wait for its disk: several times what
/// servers say.
const UNSETTLED: Duration = Duration::from_secs(5);

/// Everything that is not yet committed.
#[derive(Debug, Default)]
pub struct Buffer {
    limits: Limits,
    /// Of the results.
    bytes: usize,
    pending: Contents,
    writing: Option<Writing>,
    /// Committed lately, in their order; a crash of the server may take the newest back.
    recent: VecDeque<(Instant, Arc<Batch>)>,
    /// Of these, those that are to be written again before anything else.
    again: VecDeque<Arc<Batch>>,
}

/// What is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    pub results: usize,
    pub states: usize,
    pub hours: usize,
    pub tellings: usize,
}

fn bytes_of(result: &CheckResult, detail: Option<&CheckDetail>) -> usize {
    let explained = detail.map_or(0, CheckDetail::bytes);
    size_of::<Queued>() + result.outcome.failure().map_or(0, |failure| failure.message.len()) + explained
}

impl Buffer {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.writing.is_none() && self.pending.is_empty() && self.again.is_empty()
    }

    /// Something is being written that was not written before.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Everything is written that waited when the writing began.
    pub fn is_between_writings(&self) -> bool {
        self.writing.is_none() && self.again.is_empty()
    }

    /// Results that came since the writing began.
    pub fn new_results(&self) -> usize {
        self.pending.results.len()
    }

    pub fn numbers(&self) -> Numbers {
        let mut sum = Numbers::default();
        let mut add = |results, states, hours, tellings| {
            sum.results += results;
            sum.states += states;
            sum.hours += hours;
            sum.tellings += tellings;
        };
        for part in [Some(&self.pending), self.writing.as_ref().map(|writing| &writing.left)].into_iter().flatten() {
            add(part.results.len(), part.states.len(), part.hours.len(), part.tellings.len());
        }
        if let Some(batch) = self.writing.as_ref().and_then(|writing| writing.batch.as_ref()) {
            add(batch.results.len(), batch.states.len(), batch.hours.len(), batch.tellings.len());
        }
        sum
    }

    /// Adds a result; returns how many were dropped to make room. The batch under way is left alone, so that it can
    /// be tried again as it is.
    pub fn push(&mut self, result: CheckResult, mut amends: bool, detail: Option<Arc<CheckDetail>>) -> usize {
        if amends && let Some(hour) = self.pending.hours.get_mut(&(result.endpoint_id, hour_of(result.scheduled_at))) {
            // The hour is not written after all.
            hour.add(&result);
            amends = false;
        }
        self.bytes += bytes_of(&result, detail.as_deref());
        self.pending.results.push_back(Queued { result, amends, detail });
        let mut dropped = 0;
        while self.numbers().results > self.limits.results || self.bytes > self.limits.bytes {
            let of_writing = self.writing.as_mut().and_then(|writing| writing.left.results.pop_front());
            let Some(oldest) = of_writing.or_else(|| self.pending.results.pop_front()) else { break };
            self.bytes -= bytes_of(&oldest.result, oldest.detail.as_deref());
            dropped += 1;
        }
        dropped
    }

    pub fn set_state(&mut self, id: EndpointId, state: EndpointState) {
        self.pending.states.insert(id, state);
    }

    pub fn add_hour(&mut self, id: EndpointId, hour: (Timestamp, Rollup)) {
        self.pending.hours.insert((id, hour.0), hour.1);
    }

    pub fn tell(&mut self, telling: Telling) {
        self.pending.tellings.push_back(telling);
    }

    pub fn await_commit(&mut self, result: CheckResult, waiters: Vec<oneshot::Sender<Recorded>>) {
        if !waiters.is_empty() {
            self.pending.waiters.push(Waiter::Result(result, waiters));
        }
    }

    /// Somebody waits for what was put in last.
    pub fn await_decided(&mut self, waiter: oneshot::Sender<Result<Decided, Undecidable>>) {
        self.pending.waiters.push(Waiter::Decided(waiter));
    }

    /// The batch to commit now. `None`: there is nothing.
    ///
    /// States, hours and incidents go with the last results of a writing, so that nothing counts a result which is
    /// not there; each result brings its own amendment.
    pub fn batch(&mut self) -> Option<Arc<Batch>> {
        if let Some(again) = self.again.front() {
            return Some(again.clone());
        }
        if self.writing.is_none() && !self.pending.is_empty() {
            let left = std::mem::take(&mut self.pending);
            self.writing = Some(Writing { left, batch: None, size: BATCH, refusals: 0 });
        }
        let writing = self.writing.as_mut()?;
        Some(writing.batch.get_or_insert_with(|| Arc::new(next_batch(&mut writing.left, writing.size))).clone())
    }

    /// The database may have been gone: what it committed lately is written again, which changes nothing where it is
    /// there.
    pub fn doubt_recent(&mut self) {
        // However long ago: it may have gone right after the newest of them.
        while let Some((_, batch)) = self.recent.pop_back() {
            self.again.push_front(batch);
        }
    }

    /// Whether the batch under way is one that was committed before.
    pub fn is_again(&self) -> bool {
        !self.again.is_empty()
    }

    fn remember(&mut self, batch: Arc<Batch>) {
        if batch.counts_twice() {
            // It waited for the disk, and so did all before it.
            self.recent.clear();
            return;
        }
        while self.recent.front().is_some_and(|(at, _)| at.elapsed() >= UNSETTLED) {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), batch));
    }

    /// The batch under way is committed. Gives whoever waited for what is now written.
    pub fn committed(&mut self) -> Vec<Waiter> {
        if let Some(batch) = self.again.pop_front() {
            self.remember(batch);
            return Vec::new();
        }
        let batch = self.writing.as_mut().and_then(|writing| writing.batch.take());
        if let Some(batch) = &batch {
            self.remember(batch.clone());
        }
        let Some(writing) = &mut self.writing else { return Vec::new() };
        if let Some(batch) = batch {
            self.bytes -=
                batch.results.iter().map(|queued| bytes_of(&queued.result, queued.detail.as_deref())).sum::<usize>();
        }
        writing.refusals = 0;
        writing.size = (writing.size * 2).min(BATCH);
        if !writing.left.is_empty() {
            return Vec::new();
        }
        self.writing.take().map(|writing| writing.left.waiters).unwrap_or_default()
    }

    /// The database refused the batch under way. After some patience it is taken apart, until the row is found that
    /// is refused by itself; that one is given up.
    pub fn refused(&mut self) -> Option<GivenUp> {
        if self.again.pop_front().is_some() {
            // It was taken once, and is most likely there.
            return None;
        }
        let writing = self.writing.as_mut()?;
        writing.refusals += 1;
        if writing.size == BATCH && writing.refusals < PATIENCE {
            return None;
        }
        writing.refusals = 0;
        let batch = match Arc::try_unwrap(writing.batch.take()?) {
            Ok(batch) => batch,
            Err(held) => {
                // The attempt is not over.
                writing.batch = Some(held);
                return None;
            }
        };
        let rows = batch.len();
        if rows > 1 {
            writing.size = rows.min(BATCH) / 2;
            put_back(&mut writing.left, batch);
            return None;
        }
        self.bytes -=
            batch.results.iter().map(|queued| bytes_of(&queued.result, queued.detail.as_deref())).sum::<usize>();
        if writing.left.is_empty() {
            let waiters = self.writing.take().map(|writing| writing.left.waiters).unwrap_or_default();
            self.pending.waiters.extend(waiters);
        }
        let what = match (batch.results.first(), batch.states.first(), batch.hours.first(), batch.tellings.first()) {
            (Some(queued), ..) => format!("{:?}", queued.result),
            (_, Some((id, state)), ..) => format!("the state of endpoint {id}: {state:?}"),
            (_, _, Some((id, start, _)), _) => format!("the hour {start} of endpoint {id}"),
            (.., Some(telling)) => telling.to_string(),
            _ => "nothing".to_owned(),
        };
        Some(GivenUp { results: batch.results.len(), changes: rows - batch.results.len(), what })
    }

    /// Whoever waits for a result, committed or not.
    pub fn take_waiters(&mut self) -> Vec<Waiter> {
        let mut waiters =
            self.writing.as_mut().map(|writing| std::mem::take(&mut writing.left.waiters)).unwrap_or_default();
        waiters.append(&mut self.pending.waiters);
        waiters
    }
}

fn next_batch(left: &mut Contents, size: usize) -> Batch {
    let mut batch = Batch { mark: uuid::Uuid::new_v4().to_string(), ..Batch::default() };
    batch.results = left.results.drain(..left.results.len().min(size)).collect();
    if !left.results.is_empty() {
        return batch;
    }
    if size == BATCH && left.tellings.len() > TELLINGS {
        batch.tellings = left.tellings.drain(..TELLINGS).collect();
        // With the states that they leave behind, so that each part is right by itself.
        let states: HashMap<_, _> = batch.tellings.iter().map(Telling::state).collect();
        batch.states = states.into_iter().map(|(id, state)| (id, state.clone())).collect();
    } else if size == BATCH {
        batch.states = left.states.drain().collect();
        batch.hours =
            std::mem::take(&mut left.hours).into_iter().map(|((id, start), hour)| (id, start, hour)).collect();
        batch.tellings = left.tellings.drain(..).collect();
    } else if batch.results.is_empty() {
        // Taken apart, each kind by itself.
        if !left.states.is_empty() {
            let ids: Vec<_> = left.states.keys().copied().take(size).collect();
            batch.states = ids.into_iter().filter_map(|id| left.states.remove_entry(&id)).collect();
        } else if !left.hours.is_empty() {
            while batch.hours.len() < size
                && let Some(((id, start), hour)) = left.hours.pop_first()
            {
                batch.hours.push((id, start, hour));
            }
        } else {
            batch.tellings = left.tellings.drain(..left.tellings.len().min(size)).collect();
        }
    }
    batch
}

fn put_back(left: &mut Contents, batch: Batch) {
    for queued in batch.results.into_iter().rev() {
        left.results.push_front(queued);
    }
    for (id, state) in batch.states {
        // What is still there is newer.
        left.states.entry(id).or_insert(state);
    }
    left.hours.extend(batch.hours.into_iter().map(|(id, start, hour)| ((id, start), hour)));
    for telling in batch.tellings.into_iter().rev() {
        left.tellings.push_front(telling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;
    use crate::domain::outcome::{Failure, FailureKind, Outcome};
    use crate::domain::uptime::HOUR_US;
    use crate::recorder::testing;

    fn result(second: i64) -> CheckResult {
        testing::good(from_micros(second * 1_000_000))
    }

    fn seconds(batch: &Batch) -> Vec<i64> {
        batch.results.iter().map(|queued| queued.result.scheduled_at.timestamp()).collect()
    }

    /// Commits everything; gives the seconds of the results in their order.
    fn commit_all(buffer: &mut Buffer) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some(batch) = buffer.batch() {
            all.extend(seconds(&batch));
            drop(batch);
            buffer.committed();
        }
        all
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_results_and_nothing_else() {
        let mut buffer = Buffer::new(Limits { results: 5, bytes: usize::MAX });
        let state = EndpointState::pending(from_micros(0));
        (0..3).for_each(|second| assert_eq!(buffer.push(result(second), false, None), 0));
        // These are being written, and stay as they are.
        assert_eq!(seconds(&buffer.batch().unwrap()), [0, 1, 2]);
        buffer.set_state(EndpointId(1), state);
        buffer.add_hour(EndpointId(1), (from_micros(0), Rollup::with_sketch()));
        let dropped: usize = (3..20).map(|second| buffer.push(result(second), false, None)).sum();
        assert_eq!((dropped, buffer.numbers()), (15, Numbers { results: 5, states: 1, hours: 1, tellings: 0 }));
        assert_eq!(seconds(&buffer.batch().unwrap()), [0, 1, 2], "tried again as it was");
        assert_eq!(commit_all(&mut buffer), [0, 1, 2, 18, 19]);
        assert!(buffer.is_empty() && buffer.bytes == 0);
    }

    #[test]
    fn bytes_are_a_bound_too() {
        let long = Outcome::Down(Failure::new(FailureKind::HttpStatus, "x".repeat(1_000)));
        let one = bytes_of(&CheckResult { outcome: long.clone(), ..result(0) }, None);
        let mut buffer = Buffer::new(Limits { results: 1_000, bytes: 10 * one });
        let dropped: usize = (0..30)
            .map(|second| buffer.push(CheckResult { outcome: long.clone(), ..result(second) }, false, None))
            .sum();
        assert_eq!((dropped, buffer.numbers().results), (20, 10));
        assert_eq!(commit_all(&mut buffer), (20..30).collect::<Vec<_>>());
        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn rows_that_are_refused_are_found_and_left_out_and_the_order_of_the_rest_stays() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let count = random.i64(1..2_500);
            let bad: Vec<i64> = (0..random.usize(0..4)).map(|_| random.i64(0..count)).collect();
            let bad_state = random.bool();
            let mut buffer = Buffer::new(Limits::default());
            (0..count).for_each(|second| assert_eq!(buffer.push(result(second), false, None), 0));
            (1..4).for_each(|id| buffer.set_state(EndpointId(id), EndpointState::pending(from_micros(0))));
            let (mut written, mut states, mut given_up) = (Vec::new(), 0, 0);
            while let Some(batch) = buffer.batch() {
                let wrong = seconds(&batch).iter().any(|second| bad.contains(second))
                    || bad_state && batch.states.iter().any(|(id, _)| *id == EndpointId(2));
                if wrong {
                    drop(batch);
                    given_up += buffer.refused().map_or(0, |given_up| given_up.results + given_up.changes);
                } else {
                    written.extend(seconds(&batch));
                    states += batch.states.len();
                    drop(batch);
                    buffer.committed();
                }
            }
            let good: Vec<i64> = (0..count).filter(|second| !bad.contains(second)).collect();
            assert_eq!(written, good);
            assert_eq!(states, if bad_state { 2 } else { 3 });
            assert_eq!(given_up, usize::try_from(count).unwrap() - good.len() + usize::from(bad_state));
            assert_eq!(buffer.bytes, 0);
        }
    }

    #[test]
    fn a_late_result_counts_in_an_hour_that_is_not_yet_written() {
        let mut buffer = Buffer::new(Limits::default());
        buffer.add_hour(EndpointId(1), (from_micros(0), Rollup::with_sketch()));
        buffer.push(result(HOUR_US / 1_000_000 - 1), true, None);
        buffer.push(result(HOUR_US / 1_000_000 + 1), true, None);
        let batch = buffer.batch().unwrap();
        assert_eq!(batch.hours[0].2.bucket.up, 1);
        assert_eq!(batch.results.iter().map(|queued| queued.amends).collect::<Vec<_>>(), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_committed_lately_is_written_again_when_it_is_in_doubt() {
        let mut buffer = Buffer::new(Limits::default());
        for second in 0..4 {
            buffer.push(result(second), false, None);
            assert_eq!(commit_all(&mut buffer), [second]);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        buffer.push(result(4), false, None);
        buffer.doubt_recent();
        assert_eq!(commit_all(&mut buffer), [1, 2, 3, 4], "the newest and the seconds before it, in their order");
        // A batch that waits for the disk carries what came before it.
        buffer.push(result(5), true, None);
        assert_eq!(commit_all(&mut buffer), [5]);
        buffer.doubt_recent();
        assert!(buffer.is_empty());
    }
}
