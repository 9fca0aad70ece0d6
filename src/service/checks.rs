//! Checking by hand, through the same pipeline as every other check.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::context::{Actor, ServiceContext};
use super::error::ServiceError;
use crate::domain::endpoint::EndpointId;
use crate::domain::role::Role;
use crate::events::{CheckRequest, Recorded};

/// The longest that a check by hand is waited for. The check itself goes on and is recorded.
pub const MAX_WAIT: Duration = Duration::from_mins(10);

/// Checks an endpoint now, active or not, and returns the result once it is recorded: committed, or, with the
/// database away, kept in memory. Joins a check that is under way.
///
/// # Errors
/// `NotFound`; `Unavailable` when too many checks by hand are waiting, when the monitor stops, or after
/// [`MAX_WAIT`].
pub async fn check_now(
    ctx: &ServiceContext,
    actor: &Actor,
    id: EndpointId,
    use_retry: bool,
) -> Result<Recorded, ServiceError> {
    actor.require(Role::Operator)?;
    if ctx.board.get(id).is_none() {
        return Err(ServiceError::NotFound(format!("endpoint {id}")));
    }
    let (reply, answer) = oneshot::channel();
    ctx.checks.try_send(CheckRequest { endpoint_id: id, use_retry, reply }).map_err(|e| {
        ServiceError::Unavailable(
            match e {
                TrySendError::Full(_) => "Too many checks by hand are waiting already: try again in a moment",
                TrySendError::Closed(_) => "The monitor is stopping and makes no more checks",
            }
            .to_owned(),
        )
    })?;
    match tokio::time::timeout(MAX_WAIT, answer).await {
        Ok(Ok(recorded)) => Ok(recorded),
        // Dropped: the endpoint went away, or the monitor stops.
        Ok(Err(_)) if ctx.board.get(id).is_none() => Err(ServiceError::NotFound(format!("endpoint {id}"))),
        Ok(Err(_)) => {
            Err(ServiceError::Unavailable("The check was given up because the monitor is stopping".to_owned()))
        }
        Err(_) => Err(ServiceError::Unavailable("The check is still not recorded; see the history later".to_owned())),
    }
}
