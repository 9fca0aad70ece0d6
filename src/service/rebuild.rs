//! Store → board, at start: what is watched, what was last seen of it, and the hour that is still open.

use std::collections::HashMap;
use std::sync::Arc;

use crate::board::{Board, Live, Windows};
use crate::config::Listing;
use crate::domain::Timestamp;
use crate::domain::certificate;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::{EndpointId, EndpointSettings, KnownEndpoint, Layers, RuleError, resolve};
use crate::domain::incident::EndpointState;
use crate::domain::outcome::Outcome;
use crate::domain::uptime::hour_of;
use crate::store::endpoints::StoredEndpoint;
use crate::store::history::HistoryQuery;
use crate::store::{self, Store, StoreError};

/// How far back the newest verdict is looked for behind missed slots.
const VERDICT_SEARCH: u64 = 50;

/// What a stored endpoint means with the defaults that apply to it now.
///
/// # Errors
/// The rules that it breaks, which an endpoint made through the API does when the defaults under it changed.
pub fn known(stored: StoredEndpoint, listing: &Listing, now: Timestamp) -> Result<KnownEndpoint, Vec<RuleError>> {
    let group = stored.settings.group.clone().unwrap_or_default();
    let endpoint = resolve(&stored.settings, listing.layers_of(stored.origin, &group).of_any_channel(), now)?;
    Ok(with_meaning(stored, endpoint))
}

/// A stored endpoint that means this.
pub(super) fn with_meaning(stored: StoredEndpoint, endpoint: crate::domain::endpoint::Endpoint) -> KnownEndpoint {
    KnownEndpoint {
        id: stored.id,
        origin: stored.origin,
        source: stored.source,
        revision: stored.revision,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        scheduled_from: stored.scheduled_from,
        settings: stored.settings,
        endpoint,
        paused: stored.paused,
    }
}

/// As [`known`]; an endpoint that no longer fits what it inherits is watched without its group, or else with the
/// built-in defaults, and the log says so: going unwatched would be worse.
pub(super) fn known_at_any_rate(stored: StoredEndpoint, listing: &Listing, now: Timestamp) -> Option<KnownEndpoint> {
    let errors = match known(stored.clone(), listing, now) {
        Ok(known) => return Some(known),
        Err(errors) => errors,
    };
    let why: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
    let name = stored.settings.name.clone().unwrap_or_default();
    let none = EndpointSettings::default();
    let built_in = Layers { defaults: &none, group: None, routes: &[], timezone: listing.timezone, channels: None };
    let without_group = Layers { defaults: &listing.defaults, routes: listing.routes(), ..built_in };
    if let Ok(endpoint) = resolve(&stored.settings, without_group, now) {
        tracing::warn!(
            endpoint = name,
            endpoint_id = stored.id.0,
            why = why.join("; "),
            "{name} does not fit the settings of its group: they do not apply to it"
        );
        Some(with_meaning(stored, endpoint))
    } else if let Ok(endpoint) = resolve(&stored.settings, built_in, now) {
        tracing::warn!(
            endpoint = name,
            endpoint_id = stored.id.0,
            why = why.join("; "),
            "{name} does not fit the configured defaults: the built-in ones apply to it"
        );
        Some(with_meaning(stored, endpoint))
    } else {
        tracing::error!(
            endpoint = name,
            endpoint_id = stored.id.0,
            why = why.join("; "),
            "{name} is not watched: its stored settings break a rule; change it through the API"
        );
        None
    }
}

/// Builds the board from the store, and mends the rollups of hours that a crash left open.
///
/// # Errors
/// When the database fails.
pub async fn board(store: &Store, listing: &Listing, now: Timestamp) -> Result<Board, StoreError> {
    let board = Board::new();
    for stored in store::endpoints::list_current(store.readers()).await? {
        if let Some(known) = known_at_any_rate(stored, listing, now) {
            board.put(known);
        }
    }
    let open_hours = store::recount::recount(store, now).await?;
    let states: HashMap<_, _> = store::states::list(store.readers()).await?.into_iter().collect();
    let mut last: HashMap<EndpointId, CheckResult> =
        store::history::last_of_each(store.readers()).await?.into_iter().map(|r| (r.endpoint_id, r)).collect();
    let mut verdicts = HashMap::new();
    for result in last.values() {
        if let Some(verdict) = newest_verdict(store, result).await? {
            verdicts.insert(verdict.endpoint_id, verdict);
        }
    }
    let mut certificates = store::certificates::list(store.readers()).await?;
    let places: HashMap<_, _> = board
        .entries()
        .iter()
        .map(|entry| (entry.known.id, certificate::place(&entry.known.endpoint.check.url)))
        .collect();
    let until = hour_of(now);
    let mut windows = store::windows::sums(store.readers(), now, until).await?;
    board.update(board.ids(), |id, live: &mut Live| {
        if let Some(state) = states.get(&id) {
            live.state = state.clone();
        }
        live.last = last.remove(&id).map(Into::into);
        live.last_verdict = verdicts.remove(&id).map(Into::into);
        // One that served elsewhere says nothing of where it leads now.
        let served = certificates.remove(&id).filter(|served| places.get(&id) == Some(&served.place));
        live.certificate = served.map(|served| served.chain);
        live.open_hour = open_hours.get(&id).cloned();
        live.windows = windows.remove(&id).unwrap_or_else(|| Windows::empty(until));
    });
    Ok(board)
}

async fn newest_verdict(store: &Store, last: &CheckResult) -> Result<Option<CheckResult>, StoreError> {
    if !matches!(last.outcome, Outcome::Missed(_)) {
        return Ok(Some(last.clone()));
    }
    let query = HistoryQuery { from: None, to: None, before: None, offset: 0, limit: VERDICT_SEARCH };
    let page = store::history::page(store.readers(), last.endpoint_id, query).await?;
    Ok(page.into_iter().find(|result| !matches!(result.outcome, Outcome::Missed(_))))
}

/// Endpoints that left monitoring while this process was not running (the file no longer names them), whose
/// incidents are still open.
///
/// # Errors
/// When the database fails.
pub async fn left_behind(
    store: &Store,
    listing: &Listing,
    board: &Board,
    now: Timestamp,
) -> Result<Vec<(Arc<KnownEndpoint>, EndpointState)>, StoreError> {
    let mut left = Vec::new();
    for (id, state) in store::states::list(store.readers()).await? {
        if (state.incident.is_none() && state.trail.unwatched.is_none()) || board.get(id).is_some() {
            continue;
        }
        if let Some(stored) = store::endpoints::find(store.readers(), id).await?
            && let Some(known) = known_at_any_rate(stored, listing, now)
        {
            left.push((Arc::new(known), state));
        }
    }
    Ok(left)
}
