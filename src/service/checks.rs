//! Checking by hand, through the same pipeline as every other check; and trying a definition that is not kept.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::context::{Actor, ServiceContext};
use super::error::{Conflict, FieldError, ServiceError};
use super::{endpoints, redaction};
use crate::domain::check::{CheckDetail, CheckResult};
use crate::domain::endpoint::{EndpointId, EndpointSettings, overlay};
use crate::domain::role::Role;
use crate::events::{CheckRequest, Recorded, TrialRequest};
use crate::store::{audit, within};

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
    let entry = ctx.board.get(id).ok_or_else(|| ServiceError::NotFound(format!("endpoint {id}")))?;
    if entry.known.endpoint.check.push().is_some() {
        let name = entry.known.endpoint.name.clone();
        return Err(ServiceError::Conflict(Conflict::NothingToCheck { name }));
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

/// How long a trial waits for its row in the audit log.
const NOTE_LIMIT: Duration = Duration::from_millis(700);

/// Makes one attempt at what these settings define. Nothing is kept of them or of the result, and nobody is told.
/// `of`: the endpoint whose stored secrets `***` stands for.
///
/// # Errors
/// `Invalid`, as for a new endpoint; also where a stored secret would go to another place than the endpoint's.
/// `Forbidden` for those who may not make endpoints, when a secret would be sent that they did not write out.
/// `Unavailable` when too many trials are under way, when the monitor stops, or after [`MAX_WAIT`].
pub async fn try_out(
    ctx: &ServiceContext,
    actor: &Actor,
    mut settings: EndpointSettings,
    of: Option<EndpointId>,
) -> Result<(CheckResult, CheckDetail), ServiceError> {
    actor.require(Role::Operator)?;
    let of = match of {
        Some(id) => {
            let missing = || FieldError::parameter("endpoint", "invalid", format!("there is no endpoint {id}"));
            Some(ctx.board.get(id).ok_or_else(|| ServiceError::invalid(missing()))?.known)
        }
        None => None,
    };
    let directory = ctx.directory.get();
    let layers = directory.layers(settings.group.as_deref().unwrap_or_default());
    let redact = redaction::applying(&settings, layers);
    let inherited = layers.group.map_or_else(|| layers.defaults.clone(), |group| overlay(layers.defaults, group));
    // Nor is anything told of the files of this machine to whoever only checks.
    let names_a_file = settings.tls.as_ref().is_some_and(|tls| tls.ca_file.is_some() || tls.crl_file.is_some());
    if names_a_file
        || redaction::keeps_any(&settings)
        || !redaction::sent_along(&settings, &inherited, &redact).is_empty()
    {
        // Whoever makes endpoints can send them anywhere; whoever only checks cannot.
        actor.require(Role::Editor)?;
    }
    let stored =
        of.as_ref().map(|known| redaction::Stored { settings: &known.settings, redact: &known.endpoint.check.redact });
    redaction::restore(&mut settings, &redact, stored).map_err(ServiceError::Invalid)?;
    let endpoint = endpoints::resolved_of_api(ctx, &settings, ctx.clock.now())?;

    if endpoint.check.push().is_some() {
        let detail = "a push endpoint reports by itself: there is nothing to try";
        return Err(ServiceError::invalid(FieldError::at("/kind", "invalid", detail)));
    }

    let (reply, answer) = oneshot::channel();
    ctx.trials.try_send(TrialRequest { spec: Box::new(endpoint.check), reply }).map_err(|e| match e {
        TrySendError::Full(_) => too_many(),
        TrySendError::Closed(_) => stopping(),
    })?;
    note_trial(ctx, actor, &settings).await;
    match tokio::time::timeout(MAX_WAIT, answer).await {
        Ok(Ok(Some(result))) => Ok(result),
        Ok(Ok(None)) => Err(too_many()),
        Ok(Err(_)) => Err(stopping()),
        Err(_) => Err(ServiceError::Unavailable("The attempt took too long and was given up".to_owned())),
    }
}

fn too_many() -> ServiceError {
    ServiceError::Unavailable("Too many definitions are being tried already: try again in a moment".to_owned())
}

fn stopping() -> ServiceError {
    ServiceError::Unavailable("The monitor is stopping and makes no more checks".to_owned())
}

/// Trying works without the database, so a row that cannot be written is only logged.
/// What was asked of whom is enough, and bounded: anybody may try as much as the rate limit lets through.
async fn note_trial(ctx: &ServiceContext, actor: &Actor, settings: &EndpointSettings) {
    let mut row = actor.audit_row(ctx.clock.now(), "endpoint.test", "endpoints");
    let url = settings.url.as_deref().map(redaction::redacted_url);
    ctx.announce(actor, &row.action, &row.subject);
    row.after = Some(serde_json::json!({ "name": settings.name, "method": settings.method, "url": url }));
    if let Err(error) = within(NOTE_LIMIT, audit::append(ctx.store.writer(), row)).await {
        tracing::warn!(%error, "a trial of a definition could not be written into the audit log");
    }
}
