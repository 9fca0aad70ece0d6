//! What a verb makes of a stored endpoint.

use super::meaning::hidden_headers;
use crate::domain::endpoint::{Endpoint, EndpointSettings, Origin};
use crate::service::context::ServiceContext;
use crate::service::error::{Conflict, ServiceError};
use crate::service::{merge_patch, redaction};
use crate::store::endpoints::StoredEndpoint;

/// What of a stored endpoint a verb changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edited {
    pub(super) settings: EndpointSettings,
    pub(super) paused: bool,
}

impl Edited {
    pub(super) fn of(stored: &StoredEndpoint) -> Self {
        Self { settings: stored.settings.clone(), paused: stored.paused }
    }

    /// Whether nothing differs but whether it is checked.
    pub(super) fn only_switches(&self, before: &Self) -> bool {
        EndpointSettings { is_active: before.settings.is_active, ..self.settings.clone() } == before.settings
    }
}

/// What becomes of a stored endpoint, which means what is known of it.
pub(super) type Edit =
    Box<dyn FnOnce(&ServiceContext, &StoredEndpoint, &Endpoint) -> Result<Edited, ServiceError> + Send>;

pub(super) fn patched(patch: serde_json::Value) -> Edit {
    Box::new(move |ctx, stored, old| {
        require_api_origin(stored)?;
        // Upon what is shown, so that a secret that nobody wrote out goes nowhere else.
        let shown = redaction::redacted(&stored.settings, &old.check.redact);
        let settings = merge_patch::apply(&shown, patch).map_err(ServiceError::invalid)?;
        replaced(ctx, stored, old, settings)
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one of several edits")]
pub(super) fn paused(_: &ServiceContext, stored: &StoredEndpoint, endpoint: &Endpoint) -> Result<Edited, ServiceError> {
    let mut edited = Edited::of(stored);
    match stored.origin {
        Origin::Config => edited.paused = true,
        Origin::Api if endpoint.is_active => edited.settings.is_active = Some(false),
        Origin::Api => {}
    }
    Ok(edited)
}

pub(super) fn resumed(
    _: &ServiceContext,
    stored: &StoredEndpoint,
    endpoint: &Endpoint,
) -> Result<Edited, ServiceError> {
    let mut edited = Edited::of(stored);
    edited.paused = false;
    match stored.origin {
        Origin::Config if !endpoint.is_active => return Err(managed_by_config(stored)),
        Origin::Api if !endpoint.is_active => edited.settings.is_active = Some(true),
        Origin::Config | Origin::Api => {}
    }
    Ok(edited)
}

pub(super) fn replaced(
    ctx: &ServiceContext,
    stored: &StoredEndpoint,
    old: &Endpoint,
    mut settings: EndpointSettings,
) -> Result<Edited, ServiceError> {
    require_api_origin(stored)?;
    let redact = hidden_headers(ctx, &settings);
    let kept = redaction::Stored { settings: &stored.settings, redact: &old.check.redact };
    redaction::restore(&mut settings, &redact, Some(kept)).map_err(ServiceError::Invalid)?;
    Ok(Edited { settings, paused: stored.paused })
}

pub(super) fn require_api_origin(stored: &StoredEndpoint) -> Result<(), ServiceError> {
    match stored.origin {
        Origin::Api => Ok(()),
        Origin::Config => Err(managed_by_config(stored)),
    }
}

fn managed_by_config(stored: &StoredEndpoint) -> ServiceError {
    let source_line = stored.source.clone().unwrap_or_else(|| "the configuration file".to_owned());
    ServiceError::Conflict(Conflict::ManagedByConfig { what: "endpoint", source_line })
}

pub(super) fn require_revision(stored: &StoredEndpoint, expected: Option<i64>) -> Result<(), ServiceError> {
    if expected.is_none_or(|revision| revision == stored.revision) {
        Ok(())
    } else {
        Err(ServiceError::Stale { revision: stored.revision })
    }
}
