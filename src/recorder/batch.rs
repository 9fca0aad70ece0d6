//! What is committed together: the rows of one transaction, which is either there as a whole or not at all, and is
//! there once however often it is tried.

use std::sync::Arc;

use serde_json::json;

use crate::domain::Timestamp;
use crate::domain::check::{CheckDetail, CheckResult};
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::EndpointState;
use crate::domain::uptime::Rollup;
use crate::store::{self, Store, StoreError};

use super::telling::Telling;

/// Where the newest batch that cannot be repeated leaves its mark, among the settings.
const MARK: &str = "recorder.batch";

/// A result that is not yet committed.
#[derive(Debug, Clone)]
pub struct Queued {
    pub result: CheckResult,
    /// It belongs to an hour that is already written.
    pub amends: bool,
    /// What explains it, where it was not good.
    pub detail: Option<Arc<CheckDetail>>,
}

impl Queued {
    fn explained(&self) -> Option<(EndpointId, Timestamp, &CheckDetail)> {
        Some((self.result.endpoint_id, self.result.scheduled_at, self.detail.as_deref()?))
    }
}

/// The rows of one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Unique. Written with whatever would count twice if it were written twice, so that a commit of which nobody
    /// knows whether it happened can be tried again.
    pub mark: String,
    pub results: Vec<Queued>,
    pub states: Vec<(EndpointId, EndpointState)>,
    pub hours: Vec<(EndpointId, Timestamp, Rollup)>,
    /// In the order in which they happened.
    pub tellings: Vec<Telling>,
}

/// Why a batch is not known to be committed.
#[derive(Debug)]
pub enum Failed {
    /// The database does not want these rows, and has none of them.
    Refused(StoreError),
    /// The database is away, or may have committed them all the same.
    Unknown(StoreError),
    /// It has none of them, and may have lost what was committed before: it is another session than the last.
    NewSession,
}

impl Failed {
    /// An error that came before the commit was asked for.
    fn before_commit(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unknown(error),
            _ => Self::Refused(error),
        }
    }
}

impl Batch {
    /// How many rows, roughly; 1 is the least that can be left out.
    pub fn len(&self) -> usize {
        self.results.len() + self.states.len() + self.hours.len() + self.tellings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether writing it twice would change more than writing it once. Such a batch waits for the disk, and what was
    /// committed before it is there too.
    pub fn counts_twice(&self) -> bool {
        !self.tellings.is_empty() || self.results.iter().any(|queued| queued.amends)
    }

    /// Writes it, unless it is there, in the session that is expected.
    ///
    /// # Errors
    /// [`Failed`]; then it can be tried again as it is.
    pub async fn write(&self, store: &Store, session: u64, now: Timestamp) -> Result<(), Failed> {
        let begun = if self.counts_twice() { store.begin_durable().await } else { store.begin().await };
        let transaction = begun.map_err(Failed::Unknown)?;
        // Before the session is looked at: a mark that is there proves that this batch and all before it are on the
        // disk, and writing the earlier ones again would take states back.
        if self.counts_twice() {
            let mark = json!({"batch": self.mark});
            let put = store::settings::put_if_other(&transaction, MARK, mark, now);
            if !put.await.map_err(Failed::before_commit)? {
                tracing::info!("a batch whose commit was in doubt had been committed");
                return Ok(());
            }
        }
        if store.writing_session() != session {
            // The mark goes with the transaction.
            return Err(Failed::NewSession);
        }
        self.write_rows(&transaction).await.map_err(Failed::before_commit)?;
        transaction.commit().await.map_err(|error| Failed::Unknown(error.into()))
    }

    async fn write_rows(&self, db: &impl store::ConnectionTrait) -> Result<(), StoreError> {
        let results: Vec<_> = self.results.iter().map(|queued| queued.result.clone()).collect();
        store::history::append(db, &results).await?;
        for Queued { result, .. } in self.results.iter().filter(|queued| queued.amends) {
            store::rollups::amend(db, result.endpoint_id, result).await?;
        }
        let details: Vec<_> = self.results.iter().filter_map(Queued::explained).collect();
        store::check_details::put_many(db, &details).await?;
        store::states::upsert_many(db, &self.states).await?;
        store::rollups::put_hours(db, &self.hours).await?;
        for telling in &self.tellings {
            telling.write(db).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;
    use crate::recorder::testing;
    use crate::store::rollups::{self, Grain};
    use crate::store::{StoreOptions, StoreTarget};

    #[tokio::test]
    async fn a_batch_written_again_counts_once() {
        let options = StoreOptions { target: StoreTarget::Memory, readers: 1, echo: false };
        let store = Store::open(&options).await.unwrap();
        let (at, session) = (from_micros(1_000_000), store.writing_session());
        let result = testing::good(at);
        let late = |mark: &str| Batch {
            mark: mark.to_owned(),
            results: vec![Queued { result: result.clone(), amends: true, detail: None }],
            ..Batch::default()
        };
        let counted = async || {
            let hours = rollups::list(store.readers(), EndpointId(1), Grain::Hour, from_micros(0)..at).await.unwrap();
            hours[0].1.bucket.up
        };
        for _ in 0..3 {
            late("one").write(&store, session, at).await.unwrap();
            assert_eq!(counted().await, 1);
        }
        late("two").write(&store, session, at).await.unwrap();
        assert_eq!(counted().await, 2, "another one");
        assert!(matches!(late("three").write(&store, session + 1, at).await, Err(Failed::NewSession)));
        assert_eq!(counted().await, 2);
        store.close().await.unwrap();
    }
}
