//! What push endpoints report: who may, how often, and how it gets into the history.

mod door;

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::context::ServiceContext;
use super::error::FieldError;
use crate::board::Entry;
use crate::domain::endpoint::{EndpointId, EndpointSettings, KnownEndpoint};
use crate::domain::push::Signal;
use crate::events::{PushReport, PushRequest, Recorded};
use crate::links::Links;

pub use self::door::PushDoor;

/// How long a heartbeat is waited for until it is recorded. The recorder answers within a second or two, whether or not
/// the database does.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Why nothing is taken of what is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The token is that of no endpoint.
    Unknown,
    /// The endpoint has reported too often; it may again after this.
    TooOften(Duration),
    /// One sentence; the same may be reported again.
    NotNow(&'static str),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is a result of the endpoint.
    Recorded(Recorded),
    /// A job has begun: how long it takes will be known.
    Started,
    /// It says nothing of how the endpoint is.
    Noted,
    /// Nobody waits for heartbeats of a paused endpoint.
    Paused,
}

/// The endpoint that a token is of.
///
/// # Errors
/// `Unknown`, `TooOften`.
pub fn open(ctx: &ServiceContext, token: &str) -> Result<Entry, Refused> {
    let entry = ctx.push_door.find(&ctx.board, &ctx.links, token).and_then(|id| ctx.board.get(id));
    let entry = entry.ok_or(Refused::Unknown)?;
    ctx.push_door.admit(entry.known.id, ctx.clock.monotonic()).map_err(Refused::TooOften)?;
    Ok(entry)
}

/// Takes what the endpoint of [`open`] reports, and returns once it is recorded: committed, or, with the database away,
/// kept in memory.
///
/// # Errors
/// `NotNow`; `Unknown` when the endpoint goes away meanwhile.
pub async fn take(ctx: &ServiceContext, entry: &Entry, signal: Signal) -> Result<Taken, Refused> {
    let endpoint_id = entry.known.id;
    if !entry.known.is_checked() {
        return Ok(Taken::Paused);
    }
    let send = |report| {
        ctx.pushes.try_send(PushRequest { endpoint_id, report }).map_err(|error| {
            Refused::NotNow(match error {
                TrySendError::Full(_) => "More is reported at this moment than can be taken: report it again",
                TrySendError::Closed(_) => STOPPING,
            })
        })
    };
    let heartbeat = match signal {
        Signal::Log => return Ok(Taken::Noted),
        Signal::Start => return send(PushReport::Start).map(|()| Taken::Started),
        Signal::Heartbeat(heartbeat) => heartbeat,
    };
    let (reply, answer) = oneshot::channel();
    send(PushReport::Heartbeat { heartbeat, reply })?;
    match tokio::time::timeout(MAX_WAIT, answer).await {
        Ok(Ok(recorded)) => Ok(Taken::Recorded(recorded)),
        Ok(Err(_)) => match ctx.board.get(endpoint_id) {
            None => Err(Refused::Unknown),
            Some(entry) if !entry.known.is_checked() => Ok(Taken::Paused),
            Some(_) => Err(Refused::NotNow("The heartbeat could not be taken: report it again")),
        },
        Err(_) => Err(Refused::NotNow("The heartbeat is still not recorded")),
    }
}

const STOPPING: &str = "The monitor is stopping: report it again when it is there";

/// The token that an endpoint is reported by: the one that was set, or else the one that was made for it.
pub fn token_of(links: &Links, known: &KnownEndpoint) -> String {
    known.settings.token.clone().unwrap_or_else(|| links.push_token(known.id))
}

/// A mistake where settings have the token of another endpoint: nobody could say which of them is meant. `id`: of the
/// endpoint itself, if there is one yet.
pub(super) fn taken_token(
    ctx: &ServiceContext,
    settings: &EndpointSettings,
    id: Option<EndpointId>,
) -> Option<FieldError> {
    let token = settings.token.as_deref()?;
    let owner = ctx.push_door.find(&ctx.board, &ctx.links, token)?;
    (Some(owner) != id).then(taken_token_error)
}

pub(super) fn taken_token_error() -> FieldError {
    FieldError::at("/token", "conflict", "is the token of another endpoint")
}
