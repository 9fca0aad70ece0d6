//! What settings mean with what applies to them now.

use super::edits::Edited;
use crate::config::Listing;
use crate::domain::Timestamp;
use crate::domain::endpoint::{Endpoint, EndpointSettings, KnownEndpoint, MAX_CHANNELS, no_such_channel, resolve};
use crate::service::context::ServiceContext;
use crate::service::error::{FieldError, ServiceError};
use crate::service::{outbound, redaction};

/// The headers whose values are secrets by these settings, inherited ones included.
pub(super) fn hidden_headers(ctx: &ServiceContext, settings: &EndpointSettings) -> Vec<String> {
    redaction::applying(settings, ctx.directory.get().layers(settings.group.as_deref().unwrap_or_default()))
}

/// The endpoint that settings mean which were `before`, if there was any.
///
/// # Errors
/// `Invalid`.
pub(super) fn resolved(
    ctx: &ServiceContext,
    settings: &EndpointSettings,
    before: Option<&EndpointSettings>,
    now: Timestamp,
) -> Result<Endpoint, ServiceError> {
    let directory = ctx.directory.get();
    let layers = directory.layers(settings.group.as_deref().unwrap_or_default()).of_any_channel();
    let unknown = unknown_channels(&directory, settings, before);
    match resolve(settings, layers, now) {
        Ok(endpoint) if unknown.is_empty() => Ok(endpoint),
        resolved => {
            let rules = resolved.err().into_iter().flatten().map(FieldError::from);
            Err(ServiceError::Invalid(rules.chain(unknown).collect()))
        }
    }
}

/// As [`resolved`], for what is made through the API: its address must be one that it may connect to.
///
/// # Errors
/// `Invalid`.
pub(super) fn resolved_where_reachable(
    ctx: &ServiceContext,
    settings: &EndpointSettings,
    before: Option<&EndpointSettings>,
    now: Timestamp,
) -> Result<Endpoint, ServiceError> {
    let mut refused = outbound::unreachable_settings(settings);
    refused.extend(not_by_api(settings));
    match resolved(ctx, settings, before, now) {
        Err(ServiceError::Invalid(mut all)) => {
            all.append(&mut refused);
            Err(ServiceError::Invalid(all))
        }
        Ok(_) if !refused.is_empty() => Err(ServiceError::Invalid(refused)),
        resolved => resolved,
    }
}

/// What only the configuration may say: whoever makes endpoints here could show our own certificate to whom they like,
/// and send in our name what it opens.
pub(in crate::service) fn not_by_api(settings: &EndpointSettings) -> Vec<FieldError> {
    let tls = settings.tls.as_ref();
    let files = [
        ("/tls/client_cert_file", tls.and_then(|tls| tls.client_cert_file.as_ref())),
        ("/tls/client_key_file", tls.and_then(|tls| tls.client_key_file.as_ref())),
    ];
    let detail = "names a secret of this machine, which only the configuration may";
    files.into_iter().filter_map(|(at, set)| set.map(|_| FieldError::at(at, "invalid", detail))).collect()
}

/// As [`resolved_where_reachable`], for what is new.
pub(in crate::service) fn resolved_of_api(
    ctx: &ServiceContext,
    settings: &EndpointSettings,
    now: Timestamp,
) -> Result<Endpoint, ServiceError> {
    resolved_where_reachable(ctx, settings, None, now)
}

/// An endpoint of which nothing is changed but whether it is checked. Whoever does that sets nothing else, so nothing
/// else is judged: where it no longer fits what it inherits, it goes on as it is `known`.
pub(super) fn switched(ctx: &ServiceContext, after: &Edited, known: &KnownEndpoint, now: Timestamp) -> Endpoint {
    let directory = ctx.directory.get();
    let group = after.settings.group.as_deref().unwrap_or_default();
    let layers = directory.layers_of(known.origin, group).of_any_channel();
    resolve(&after.settings, layers, now).unwrap_or_else(|_| {
        let inherited = layers.group.and_then(|group| group.is_active).or(layers.defaults.is_active);
        Endpoint { is_active: after.settings.is_active.or(inherited).unwrap_or(true), ..known.endpoint.clone() }
    })
}

/// Mistakes where settings name a channel that there is not. One that they named `before` already has gone since, which
/// is no reason to refuse a change of something else; nor is one that they inherit.
pub(in crate::service) fn unknown_channels(
    listing: &Listing,
    settings: &EndpointSettings,
    before: Option<&EndpointSettings>,
) -> Vec<FieldError> {
    let known = listing.channel_names();
    let named_before = before.and_then(|before| before.notify.as_deref()).unwrap_or_default();
    // That there are more is said by a rule.
    let names = settings.notify.iter().flatten().enumerate().take(MAX_CHANNELS);
    let unknown = names.filter(|(_, name)| !known.contains(name) && !named_before.contains(name));
    unknown.map(|(i, name)| FieldError::at(format!("/notify/{i}"), "invalid", no_such_channel(name, known))).collect()
}
