//! Writes down when each key of the API was used last: at each nudge, never while a request waits.

use std::sync::Arc;
use std::time::Duration;

use super::Turns;
use crate::keyring::Keyring;
use crate::store::{Store, StoreError, api_keys, within};

/// How long the stop waits for the last writing.
const LAST: Duration = Duration::from_secs(2);

/// Keyring → store.
#[derive(Debug)]
pub struct KeyUses {
    pub store: Arc<Store>,
    pub keyring: Arc<Keyring>,
}

impl KeyUses {
    /// Writes at each nudge, and once more when the stop begins.
    pub async fn run(self, turns: Turns) {
        while turns.next().await {
            if let Err(error) = turns.run_to_end(self.step(), |keys| format!("written: keys {keys}")).await {
                tracing::debug!(%error, "the last uses of keys could not be written; tried again at the next run");
            }
        }
        match tokio::time::timeout(LAST, self.step()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => tracing::debug!("the last uses of keys could not be written before the stop"),
        }
    }

    /// Writes what is not written yet, and returns of how many keys. What cannot be written stays news.
    pub async fn step(&self) -> Result<u64, StoreError> {
        let mut news = self.keyring.take_news().into_iter();
        let (mut written, mut failed) = (0, None);
        while failed.is_none()
            && let Some((id, last)) = news.next()
        {
            if let Err(error) = within(LAST, api_keys::note_use(self.store.writer(), id, last)).await {
                self.keyring.is_news_again(id);
                failed = Some(error);
            } else {
                written += 1;
            }
        }
        news.for_each(|(id, _)| self.keyring.is_news_again(id));
        failed.map_or(Ok(written), Err)
    }
}
