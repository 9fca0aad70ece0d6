//! What endpoints depend on, as a change would have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::dependency::{Graph, Member};
use crate::domain::endpoint::{Endpoint, EndpointId, EndpointSettings, KnownEndpoint};
use crate::domain::selector::Selectable;
use crate::service::context::ServiceContext;
use crate::service::error::FieldError;

/// What a change that is under way has made of endpoints; `None`: it is gone.
pub(in crate::service) type After = BTreeMap<EndpointId, Option<Arc<KnownEndpoint>>>;

/// The id of an endpoint that has none yet. No selector means it by that.
const NEW: EndpointId = EndpointId(0);

/// Every endpoint as it is after a change.
fn there(ctx: &ServiceContext, after: &After) -> Vec<Arc<KnownEndpoint>> {
    let unchanged = ctx.board.knowns().into_iter().filter(|known| !after.contains_key(&known.id));
    unchanged.chain(after.values().flatten().cloned()).collect()
}

/// Mistakes where settings name a parent that there is not. One that they named `before` already has gone since, which is
/// no reason to refuse a change of something else; nor is one that they inherit.
pub(in crate::service) fn unknown_parents(
    ctx: &ServiceContext,
    after: &After,
    settings: &EndpointSettings,
    before: Option<&EndpointSettings>,
) -> Vec<FieldError> {
    let named_before = before.and_then(|before| before.depends_on.as_ref());
    let is_new = |selector: &String| named_before.is_none_or(|named| !named.0.contains(selector));
    let Some(selectors) = settings.depends_on.as_ref().filter(|all| all.0.iter().any(is_new)) else {
        return Vec::new();
    };
    if selectors.0.len() > crate::domain::dependency::MOST_SELECTORS {
        // Refused as such.
        return Vec::new();
    }
    let (all, listing) = (there(ctx, after), ctx.directory.get());
    let there = Selectable {
        endpoints: all.iter().map(|known| (Some(known.id), &known.endpoint)).collect(),
        groups: listing.groups.keys().map(String::as_str).collect(),
    };
    // Of a form that is wrong, a rule says so.
    let is_told = |(i, _): &(usize, String)| {
        is_new(&selectors.0[*i]) && crate::domain::selector::malformed(&selectors.0[*i]).is_none()
    };
    let told = |(i, detail): (usize, String)| FieldError::at(format!("/depends_on/{i}"), "unknown", detail);
    selectors.mistakes(&there).into_iter().filter(is_told).map(told).collect()
}

/// Whether others, or it, can depend on other endpoints than before.
fn is_other(endpoint: &Endpoint, before: Option<&Endpoint>) -> bool {
    let of = |endpoint: &Endpoint| {
        let Endpoint { group, name, tags, depends_on, .. } = endpoint.clone();
        (group, name, tags, depends_on)
    };
    before.is_none_or(|before| of(before) != of(endpoint))
}

/// The circle that an endpoint would be in; `id`: `None` of a new one. One that it was in before, by the configuration,
/// is no reason to refuse a change of something else.
pub(super) fn circle(
    ctx: &ServiceContext,
    after: &After,
    id: Option<EndpointId>,
    endpoint: &Endpoint,
    before: Option<&Endpoint>,
) -> Option<FieldError> {
    if endpoint.depends_on.0.is_empty() || !is_other(endpoint, before) {
        return None;
    }
    let member = Member::of(id.unwrap_or(NEW), endpoint);
    // Most depend on something on which nobody else does: no circle goes through them.
    let of_after = || after.values().flatten().map(|known| Member::from(&**known));
    let board = ctx.board.graph();
    if !board.would_mean(&member) && !of_after().any(|other| member.is_meant_by(other.depends_on)) {
        return None;
    }
    let all = there(ctx, after);
    let others = all.iter().filter(|known| Some(known.id) != id).map(|known| Member::from(&**known));
    let graph = Graph::new(others.chain(std::iter::once(member)));
    graph.cycle_of(member.id).map(|cycle| error(endpoint_pointer(true), &cycle))
}

/// The circles that endpoints would be in that a group changes.
pub(in crate::service) fn circles(
    ctx: &ServiceContext,
    changed: &[Arc<KnownEndpoint>],
    written: bool,
) -> Vec<FieldError> {
    let before = |id| ctx.board.get(id).map(|entry| entry.known);
    let is_other = |known: &&Arc<KnownEndpoint>| {
        is_other(&known.endpoint, before(known.id).as_ref().map(|before| &before.endpoint))
    };
    if !changed.iter().any(|known| is_other(&known)) {
        return Vec::new();
    }
    let after: After = changed.iter().map(|known| (known.id, Some(known.clone()))).collect();
    let all = there(ctx, &after);
    let graph = Graph::new(all.iter().map(|known| Member::from(&**known)));
    let by_change = |cycle: &crate::domain::dependency::Cycle| cycle.endpoints.iter().any(|id| after.contains_key(id));
    graph
        .cycles()
        .iter()
        .filter(|cycle| by_change(cycle))
        .map(|cycle| error(endpoint_pointer(written), cycle))
        .collect()
}

fn endpoint_pointer(written: bool) -> &'static str {
    if written { "/depends_on" } else { "" }
}

fn error(pointer: &str, cycle: &crate::domain::dependency::Cycle) -> FieldError {
    FieldError::at(pointer, "conflict", format!("endpoints would depend on each other in a circle: {cycle}"))
}
