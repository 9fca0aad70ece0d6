//! What waits to be committed, and the one transaction that commits it.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::notification::Routing;
use crate::domain::uptime::Rollup;
use crate::store::{self, Store, StoreError};

use super::telling::Telling;

/// The most results kept while they cannot be committed. When it is full the oldest are dropped and counted;
/// states, hours and incidents are never dropped.
const CAPACITY: usize = 500_000;

/// The most results of one transaction.
pub const BATCH: usize = 1_000;

/// What a commit wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    pub results: usize,
    /// There is something to deliver.
    pub deliveries: bool,
}

/// Results, states, hours and incidents that are not yet committed.
#[derive(Debug, Default)]
pub struct Pending {
    results: VecDeque<CheckResult>,
    /// The results among them that belong to hours already written.
    late: Vec<CheckResult>,
    states: HashMap<EndpointId, EndpointState>,
    hours: Vec<(EndpointId, Timestamp, Rollup)>,
    /// In the order in which they happened.
    tellings: Vec<Telling>,
    waiters: Vec<(CheckResult, Vec<oneshot::Sender<CheckResult>>)>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.results.is_empty() && self.states.is_empty() && self.hours.is_empty() && self.tellings.is_empty()
    }

    /// Results that wait.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Adds a result; returns how many were dropped to make room.
    pub fn push(&mut self, result: CheckResult, amends: bool) -> usize {
        if amends {
            self.late.push(result.clone());
        }
        self.results.push_back(result);
        let surplus = self.results.len().saturating_sub(CAPACITY);
        self.results.drain(..surplus);
        surplus
    }

    pub fn set_state(&mut self, id: EndpointId, state: EndpointState) {
        self.states.insert(id, state);
    }

    pub fn add_hour(&mut self, id: EndpointId, hour: (Timestamp, Rollup)) {
        self.hours.push((id, hour.0, hour.1));
    }

    pub fn tell(&mut self, telling: Telling) {
        self.tellings.push(telling);
    }

    pub fn await_commit(&mut self, result: CheckResult, waiters: Vec<oneshot::Sender<CheckResult>>) {
        if !waiters.is_empty() {
            self.waiters.push((result, waiters));
        }
    }

    /// Commits everything, at most [`BATCH`] results a transaction. States and hours go with the last of them,
    /// so that nothing counts a result which is not there. On an error what is not committed stays.
    ///
    /// Returns what was committed.
    pub async fn commit(&mut self, store: &Store, routing: &Routing) -> Result<Committed, StoreError> {
        let mut done = Committed::default();
        loop {
            let count = self.results.len().min(BATCH);
            let last = count == self.results.len();
            let batch: Vec<_> = self.results.iter().take(count).cloned().collect();
            // Results may be lost with the power of the machine, what people are told of may not.
            let telling = last && !self.tellings.is_empty();
            let transaction = if telling { store.begin_durable().await? } else { store.begin().await? };
            store::history::append(&transaction, &batch).await?;
            if last {
                let states: Vec<_> = self.states.iter().map(|(id, state)| (*id, state.clone())).collect();
                store::states::upsert_many(&transaction, &states).await?;
                store::rollups::put_hours(&transaction, &self.hours).await?;
                for result in &self.late {
                    store::rollups::amend(&transaction, result.endpoint_id, result).await?;
                }
                for telling in &self.tellings {
                    done.deliveries |= telling.write(&transaction, routing).await?;
                }
            }
            transaction.commit().await.map_err(StoreError::from)?;
            self.results.drain(..count);
            done.results += count;
            if last {
                break;
            }
        }
        self.states.clear();
        self.hours.clear();
        self.late.clear();
        self.tellings.clear();
        Ok(done)
    }

    /// Answers whoever waited for what is now committed.
    pub fn answer(&mut self) {
        for (result, waiters) in self.waiters.drain(..) {
            for waiter in waiters {
                // Whoever asked may have gone away.
                drop(waiter.send(result.clone()));
            }
        }
    }
}
