//! A bound on our side for what is asked of a database, which may hang without saying so.

use std::future::Future;
use std::time::Duration;

use super::StoreError;

/// Gives `work` up after `limit`. What it had begun is rolled back, or was committed: nobody can know.
///
/// # Errors
/// Those of `work`; [`StoreError::Unavailable`] when it took longer.
pub async fn within<T, E: Into<StoreError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(StoreError::Unavailable(format!("the database did not answer within {} s", limit.as_secs()))),
    }
}
