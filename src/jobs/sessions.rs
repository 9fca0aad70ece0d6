//! Writes down when each session was used last, and removes those that are over: at each nudge, never while a request
//! waits.

use std::sync::Arc;
use std::time::Duration;

use super::Turns;
use crate::clock::Clock;
use crate::keyring::Keyring;
use crate::sessions::Sessions;
use crate::store::{Store, StoreError, sessions, within};

/// How long the database may take for a step, and the stop waits for the last one.
const LIMIT: Duration = Duration::from_secs(2);

/// Sessions → store.
#[derive(Debug)]
pub struct SignedIn {
    pub store: Arc<Store>,
    pub sessions: Arc<Sessions>,
    pub keyring: Arc<Keyring>,
    pub clock: Arc<dyn Clock>,
}

impl SignedIn {
    /// Works at each nudge, and writes once more when the stop begins.
    pub async fn run(self, turns: Turns) {
        while turns.next().await {
            if let Err(error) = Box::pin(turns.run_to_end(self.step(), |()| "written: what is new".to_owned())).await {
                tracing::debug!(%error, "what is new of sessions could not be written; tried again at the next run");
            }
        }
        match tokio::time::timeout(LIMIT, self.write_uses()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::debug!("the last uses of sessions could not be written before the stop"),
        }
    }

    /// Removes what is over, and writes what is not written yet.
    pub async fn step(&self) -> Result<(), StoreError> {
        self.remove_ended().await?;
        self.write_uses().await
    }

    /// A session without its key is over too: ids of keys are not used again, but names of configured ones may be.
    async fn remove_ended(&self) -> Result<(), StoreError> {
        let (now, limits) = (self.clock.now(), self.sessions.limits());
        let has_key = |key| self.keyring.get(key).is_some_and(|key| !key.is_expired(now));
        let all = self.sessions.list();
        let over = all.iter().filter(|session| session.is_over(now, limits) || !has_key(&session.key));
        let over: Vec<i64> = over.map(|session| session.id).collect();
        if over.is_empty() {
            return Ok(());
        }
        within(LIMIT, sessions::delete(self.store.writer(), &over)).await?;
        self.sessions.remove(&over);
        tracing::debug!(ended = over.len(), "sessions that are over were removed");
        Ok(())
    }

    /// What cannot be written stays news.
    async fn write_uses(&self) -> Result<(), StoreError> {
        let news = self.sessions.take_news();
        let written = within(LIMIT, async {
            let transaction = self.store.begin().await?;
            for (id, at) in &news {
                sessions::note_seen(&transaction, *id, *at).await?;
            }
            Ok::<_, StoreError>(transaction.commit().await?)
        });
        let written = if news.is_empty() { Ok(()) } else { written.await };
        if written.is_err() {
            for (id, _) in &news {
                self.sessions.is_news_again(*id);
            }
        }
        written
    }
}
