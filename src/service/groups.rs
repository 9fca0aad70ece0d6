//! Groups: what several endpoints inherit. A group is declared in the configuration or made here; beside those there
//! are the names that endpoints bear without anybody having declared them.
//!
//! Every verb tries the change on each endpoint of the group before it is made, and afterwards shows what each of
//! them has become on the board.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::context::{Actor, ServiceContext, detached_change};
use super::endpoints::{circles, not_by_api, tell_of_statuses, unknown_channels, unknown_parents};
use super::error::{Conflict, FieldError, Place, Precondition, ServiceError, key_text};
use super::{merge_patch, redaction};
use crate::board::Entry;
use crate::config::{Config, Listing};
use crate::domain::Timestamp;
use crate::domain::endpoint::{
    Aftermath, Endpoint, EndpointId, EndpointSettings, KnownEndpoint, Layers, Origin, RuleError, overlay, resolve,
    resolve_layer,
};
use crate::domain::group::{Group, GroupMade, GroupOrigin};
use crate::domain::role::Role;
use crate::store::groups::GroupContent;
use crate::store::{ConnectionTrait, StoreError, audit, endpoints, groups, states};

/// The most groups made through the API. Further ones are refused.
pub const MOST_MADE: usize = 1_000;

/// Endpoints that are named when a change does not suit them; the rest is counted.
const NAMED: usize = 20;

/// A group with its endpoints.
#[derive(Debug)]
pub struct GroupReport {
    pub name: String,
    /// `None`: nobody has declared it.
    pub group: Option<Group>,
    /// In the order of their creation.
    pub endpoints: Vec<Entry>,
    /// What it hands down, laid upon the defaults.
    pub inherited: EndpointSettings,
    /// What an endpoint has that says nothing for itself; `None` where every endpoint must say something, because what
    /// it inherits contradicts itself.
    pub effective: Option<Endpoint>,
    /// Headers whose values are secret.
    pub redact: Vec<String>,
}

impl GroupReport {
    pub fn origin(&self) -> GroupOrigin {
        GroupOrigin::of(self.group.as_ref())
    }

    /// As they are written, with name and description; secrets included.
    pub fn settings(&self) -> EndpointSettings {
        settings_of(&self.name, self.group.as_ref())
    }
}

/// What there was before a change by name.
#[derive(Debug)]
pub enum Put {
    Created(GroupReport),
    Replaced(GroupReport),
}

/// The groups and channels at the start: those of the configuration, and the stored groups that it does not name.
///
/// # Errors
/// When the store cannot be read.
pub async fn listing(db: &impl ConnectionTrait, config: &Config) -> Result<Listing, StoreError> {
    let mut listing = Listing::of(config);
    for (name, group) in groups::list(db).await? {
        listing.groups.entry(name).or_insert(group);
    }
    Ok(listing)
}

/// Says which groups cannot be read as a whole, for whoever mends them. At the start.
pub fn tell_of_unreadable(listing: &Listing) {
    for (group, Group { unreadable, .. }) in &listing.groups {
        if let Some(why) = unreadable {
            tracing::error!(
                group,
                why,
                "a group made through the API is in force without what cannot be read of it: replace it with \
                 PUT /api/v1/groups/{{name}}, or delete it"
            );
        }
    }
}

/// Every group, by name. Works without the database.
pub fn list(ctx: &ServiceContext) -> Vec<GroupReport> {
    let listing = ctx.directory.get();
    let mut all: BTreeMap<String, Vec<Entry>> = listing.groups.keys().map(|name| (name.clone(), Vec::new())).collect();
    for entry in ctx.board.entries().into_iter().filter(|entry| !entry.known.endpoint.group.is_empty()) {
        all.entry(entry.known.endpoint.group.clone()).or_default().push(entry);
    }
    let now = ctx.clock.now();
    all.into_iter().map(|(name, endpoints)| report(&listing, name, endpoints, now)).collect()
}

/// A group by its name. Works without the database.
///
/// # Errors
/// `NotFound`.
pub fn get(ctx: &ServiceContext, name: &str) -> Result<GroupReport, ServiceError> {
    let listing = ctx.directory.get();
    let endpoints = members(ctx, name);
    if name.is_empty() || (endpoints.is_empty() && !listing.groups.contains_key(name)) {
        return Err(unknown(name));
    }
    Ok(report(&listing, name.to_owned(), endpoints, ctx.clock.now()))
}

fn members(ctx: &ServiceContext, name: &str) -> Vec<Entry> {
    ctx.board.entries().into_iter().filter(|entry| entry.known.endpoint.group == name).collect()
}

/// The endpoints to which a group that is made here hands anything down.
fn heirs(ctx: &ServiceContext, name: &str) -> Vec<Entry> {
    members(ctx, name).into_iter().filter(|entry| entry.known.origin == Origin::Api).collect()
}

fn report(listing: &Listing, name: String, endpoints: Vec<Entry>, now: Timestamp) -> GroupReport {
    let layers = listing.layers(&name);
    let inherited = layers.group.map_or_else(|| listing.defaults.clone(), |group| overlay(&listing.defaults, group));
    let plain = EndpointSettings { group: Some(name.clone()), ..plain_endpoint() };
    let effective = resolve_layer(&plain, layers.of_any_channel(), now).ok();
    let redact = redaction::applying(&EndpointSettings::default(), layers);
    GroupReport { group: listing.groups.get(&name).cloned(), name, endpoints, inherited, effective, redact }
}

/// An endpoint that says nothing for itself.
fn plain_endpoint() -> EndpointSettings {
    EndpointSettings {
        name: Some("probe".to_owned()),
        url: Some("http://localhost/".to_owned()),
        ..EndpointSettings::default()
    }
}

/// Makes a group. Endpoints that bear its name already inherit from now on.
///
/// # Errors
/// `Invalid`, also when it does not suit one of its endpoints; `Conflict` when it is declared already, or there are too
/// many.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: EndpointSettings,
) -> Result<GroupReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let listing = work.directory.get();
        let name = settings.name.clone().unwrap_or_default();
        if listing.groups.contains_key(&name) {
            return Err(ServiceError::Conflict(Conflict::GroupNameTaken { name }));
        }
        let now = work.clock.now();
        apply(&work, &actor, Edit { listing, name, action: "group.create", settings: Some(settings) }, now).await
    })
    .await
}

/// Replaces all settings of a group, or makes it.
///
/// # Errors
/// `Invalid`, also when it would not suit one of its endpoints; `Conflict` when the configuration has it, or there are
/// too many; `Stale`, `NotThere` or `IsThere` when the precondition does not hold.
pub async fn put(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: String,
    precondition: Precondition,
    settings: EndpointSettings,
) -> Result<Put, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let listing = work.directory.get();
        let is_new = get(&work, &name).is_err();
        let revision = changeable(&listing, &name, None)?.and_then(Group::revision).unwrap_or(0);
        precondition.require((!is_new).then_some(revision))?;
        let (action, now) = (if is_new { "group.create" } else { "group.replace" }, work.clock.now());
        let report = apply(&work, &actor, Edit { listing, name, action, settings: Some(settings) }, now).await?;
        Ok(if is_new { Put::Created(report) } else { Put::Replaced(report) })
    })
    .await
}

/// Changes settings by a JSON merge patch. One that nobody has declared is declared by it.
///
/// # Errors
/// As [`put`]; `NotFound`.
pub async fn patch(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: String,
    expected_revision: Option<i64>,
    patch: Value,
) -> Result<GroupReport, ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let listing = work.directory.get();
        get(&work, &name)?;
        let before = changeable(&listing, &name, expected_revision)?;
        let settings = merge_patch::apply(&settings_of(&name, before), patch).map_err(ServiceError::invalid)?;
        let now = work.clock.now();
        let edit = Edit { listing: Arc::clone(&listing), name, action: "group.patch", settings: Some(settings) };
        apply(&work, &actor, edit, now).await
    })
    .await
}

/// Removes a group. Its endpoints stay, and inherit nothing more than the defaults; while there are any, the group
/// goes on without being declared.
///
/// # Errors
/// `NotFound`; `Invalid` when one of its endpoints cannot be without it; `Conflict` when the configuration has it or
/// nobody has declared it; `Stale`.
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    name: String,
    expected_revision: Option<i64>,
) -> Result<(), ServiceError> {
    actor.require(Role::Editor)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let listing = work.directory.get();
        let endpoints = get(&work, &name)?.endpoints.len();
        if changeable(&listing, &name, expected_revision)?.is_none() {
            return Err(ServiceError::Conflict(Conflict::ImplicitGroup { name, endpoints }));
        }
        let now = work.clock.now();
        apply(&work, &actor, Edit { listing, name, action: "group.delete", settings: None }, now).await.map(drop)
    })
    .await
}

/// The stored group that may be changed, if there is one.
fn changeable<'a>(
    listing: &'a Listing,
    name: &str,
    expected_revision: Option<i64>,
) -> Result<Option<&'a Group>, ServiceError> {
    let group = listing.groups.get(name);
    let revision = match group.map(|group| &group.made) {
        Some(GroupMade::Configured { source }) => {
            let source_line = source.clone();
            return Err(ServiceError::Conflict(Conflict::ManagedByConfig { what: "group", source_line }));
        }
        Some(GroupMade::Stored(stored)) => stored.revision,
        None => 0,
    };
    if expected_revision.is_some_and(|expected| expected != revision) {
        return Err(ServiceError::Stale { revision });
    }
    Ok(group)
}

/// What becomes of a group.
struct Edit {
    /// As it is before.
    listing: Arc<Listing>,
    name: String,
    action: &'static str,
    /// As they were written; `None`: it is removed.
    settings: Option<EndpointSettings>,
}

/// An endpoint that is another one by the change.
struct Changed {
    known: KnownEndpoint,
    aftermath: Aftermath,
}

async fn apply(ctx: &ServiceContext, actor: &Actor, edit: Edit, now: Timestamp) -> Result<GroupReport, ServiceError> {
    let Edit { listing, name, action, settings } = edit;
    let before = listing.groups.get(&name);
    let content = settings.map(|settings| content(&listing, &name, before, settings, now)).transpose()?;
    let is_same = |content: &GroupContent| {
        before.is_some_and(|b| {
            b.unreadable.is_none() && b.description == content.description && b.settings == content.settings
        })
    };
    if content.as_ref().is_some_and(is_same) {
        return get(ctx, &name);
    }
    if before.is_none() && content.is_some() && listing.made_groups() >= MOST_MADE {
        return Err(ServiceError::Conflict(Conflict::TooManyGroups { most: MOST_MADE }));
    }
    let new_settings = content.as_ref().map(|content| &content.settings);
    let layers = Layers { group: new_settings, ..listing.layers(&name) };
    let (changed, mut errors) = tried(heirs(ctx, &name), listing.layers(&name), layers, now);
    if let Some(settings) = new_settings {
        errors.extend(unknown_parents(ctx, &BTreeMap::new(), settings, before.map(|group| &group.settings)));
    }
    if errors.is_empty() {
        let others: Vec<_> = changed.iter().map(|change| Arc::new(change.known.clone())).collect();
        errors.extend(circles(ctx, &others, new_settings.is_some_and(|settings| settings.depends_on.is_some())));
    }
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }

    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let written = match (&content, before.map(|group| &group.made)) {
        // Also when it went before, by a commit whose answer was lost: it is only remembered.
        (None, _) => groups::delete(&transaction, &name).await.map(|_| None),
        (Some(content), Some(GroupMade::Stored(stored))) => {
            groups::update(&transaction, &name, content, stored.revision, now).await.map(Some)
        }
        (Some(content), _) => groups::insert(&transaction, &name, content, now).await.map(Some),
    };
    let stored = match written {
        Ok(stored) => stored,
        Err(error) => {
            drop(transaction);
            return Err(behind(ctx, &listing, &name, error).await);
        }
    };
    let recounted = write_endpoints(&transaction, &changed, now).await.map_err(ServiceError::Store)?;
    let mut row = actor.audit_row(now, action, format!("group/{name}"));
    row.before = before.map(|group| audited(&listing, &name, group));
    row.after = stored.as_ref().map(|group| audited(&listing, &name, group));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;

    put_in_force(ctx, &listing, &name, stored, changed, recounted);
    ctx.announce(actor, action, &format!("group/{name}"));
    Ok(report(&ctx.directory.get(), name.clone(), members(ctx, &name), now))
}

/// Shows a group as it is stored now in the directory, and on the board what its endpoints have become by that.
fn put_in_force(
    ctx: &ServiceContext,
    listing: &Listing,
    name: &str,
    group: Option<Group>,
    changed: Vec<Changed>,
    recounted: Vec<EndpointId>,
) {
    let mut after = listing.clone();
    match group {
        Some(group) => after.groups.insert(name.to_owned(), group),
        None => after.groups.remove(name),
    };
    ctx.directory.set(after);
    let ids: Vec<EndpointId> = changed.iter().map(|change| change.known.id).collect();
    let before = ids.iter().filter_map(|id| Some((*id, ctx.board.get(*id)?))).collect();
    for change in changed {
        ctx.board.put(change.known);
    }
    ctx.board.update(recounted, |_, live| live.state = live.state.recounted());
    ctx.scheduler.nudge();
    tell_of_statuses(ctx, &ids, &before);
}

/// The database refused a change because it has another group than the directory: one whose commit was answered with an
/// error had been made all the same. Directory and board follow it, and the client is told so.
async fn behind(ctx: &ServiceContext, listing: &Listing, name: &str, error: StoreError) -> ServiceError {
    if !matches!(error, StoreError::Stale | StoreError::NotFound | StoreError::Conflict(_)) {
        return ServiceError::Store(error);
    }
    let group = match groups::find(ctx.store.writer(), name).await {
        Ok(group) => group,
        Err(error) => return ServiceError::Store(error),
    };
    let stored = group.as_ref().and_then(|group| match group.made {
        GroupMade::Stored(stored) => Some(stored),
        GroupMade::Configured { .. } => None,
    });
    // What of the endpoints changed was written with it.
    let made_at = stored.map_or_else(|| ctx.clock.now(), |stored| stored.updated_at);
    let layers = Layers { group: group.as_ref().map(|group| &group.settings), ..listing.layers(name) };
    // An endpoint that it does not suit stays as it is.
    let (changed, _) = tried(heirs(ctx, name), listing.layers(name), layers, made_at);
    let recounted = changed.iter().filter(|change| change.aftermath.recount).map(|change| change.known.id).collect();
    put_in_force(ctx, listing, name, group, changed, recounted);
    match (error, stored) {
        (StoreError::Conflict(_), Some(_)) => {
            ServiceError::Conflict(Conflict::GroupNameTaken { name: name.to_owned() })
        }
        (_, Some(stored)) => ServiceError::Stale { revision: stored.revision },
        (_, None) => unknown(name),
    }
}

/// What changes with the endpoints: from when their schedule applies, and their counters. Gives the endpoints whose
/// counters start again.
async fn write_endpoints(
    db: &impl ConnectionTrait,
    changed: &[Changed],
    now: Timestamp,
) -> Result<Vec<EndpointId>, StoreError> {
    let ids = |wanted: fn(&Changed) -> bool| {
        changed.iter().filter(move |change| wanted(change)).map(|change| change.known.id)
    };
    let rescheduled: Vec<_> = ids(|change| change.aftermath.reschedule).collect();
    endpoints::reschedule(db, &rescheduled, now).await?;
    let recounted: std::collections::BTreeSet<_> = ids(|change| change.aftermath.recount).collect();
    if !recounted.is_empty() {
        let all = states::list(db).await?.into_iter().filter(|(id, _)| recounted.contains(id));
        let again: Vec<_> = all.map(|(id, state)| (id, state.recounted())).collect();
        states::upsert_many(db, &again).await?;
    }
    Ok(recounted.into_iter().collect())
}

/// The settings of a group after every rule that they can break by themselves, and with stored secrets in the place of
/// `***`.
fn content(
    listing: &Listing,
    name: &str,
    before: Option<&Group>,
    mut settings: EndpointSettings,
    now: Timestamp,
) -> Result<GroupContent, ServiceError> {
    let mut errors = Vec::new();
    match &settings.name {
        Some(given) if !given.is_empty() && given != name => errors.push(FieldError::at(
            "/name",
            "conflict",
            format!("must be `{name}` as in the path: a group keeps its name"),
        )),
        // A client would take them out of the path.
        Some(given) if given == "." || given == ".." => {
            errors.push(FieldError::at("/name", "invalid", "must not be . or .. alone: it stands in a path"));
        }
        Some(given) if !given.is_empty() => {}
        _ => errors.push(FieldError::at("/name", "required", "must be there and not empty")),
    }
    if settings.interval.is_none() && settings.schedule.is_none() {
        let detail = "a group says how often its endpoints are checked: give `interval`, or `schedule` in its place";
        errors.push(FieldError::at("/interval", "required", detail));
    }
    for (pointer, given) in [("/url", &settings.url), ("/group", &settings.group)] {
        if given.is_some() {
            errors.push(FieldError::at(pointer, "unknown", "is a matter of each endpoint: it is not inherited"));
        }
    }
    (settings.url, settings.group, settings.name) = (None, None, None);

    let kept_redact = redaction::applying(&EndpointSettings::default(), listing.layers(name));
    let kept = before.map(|group| redaction::Stored { settings: &group.settings, redact: &kept_redact });
    let layers = Layers { group: None, ..listing.layers(name) };
    let redact = redaction::applying(&settings, layers);
    if let Err(refused) = redaction::restore(&mut settings, &redact, kept) {
        errors.extend(refused);
    }
    let probe = overlay(&settings, &EndpointSettings { group: Some(name.to_owned()), ..plain_endpoint() });
    for mut rule in resolve_layer(&probe, layers.of_any_channel(), now).err().unwrap_or_default() {
        if rule.pointer == "/group" {
            "/name".clone_into(&mut rule.pointer);
        } else {
            rule.pointer = within(&settings, &EndpointSettings::default(), &rule);
        }
        errors.push(rule.into());
    }
    errors.extend(not_by_api(&settings));
    errors.extend(unknown_channels(listing, &settings, before.map(|group| &group.settings)));
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }
    let description = settings.description.take().unwrap_or_default();
    Ok(GroupContent { description, settings })
}

/// Where in the settings of a group the mistake is that an inherited rule points out: at the key itself if the group
/// has it and the endpoint (`own`) has not, else at the interval that bounds it, else nowhere in particular.
fn within(settings: &EndpointSettings, own: &EndpointSettings, rule: &RuleError) -> String {
    // Settings are always JSON.
    let [settings, own] = [settings, own].map(|settings| serde_json::to_value(settings).unwrap_or_default());
    let first = rule.pointer.split('/').nth(1).unwrap_or_default();
    if settings.get(first).is_some() && own.get(first).is_none() {
        return rule.pointer.clone();
    }
    let bounding = ["interval", "schedule", "timeout"].into_iter().find(|key| settings.get(*key).is_some());
    match bounding {
        Some(key) if first.ends_with("timeout") => format!("/{key}"),
        _ => String::new(),
    }
}

/// The endpoints as they are with these layers, those only that become others; and the mistakes, which name those that
/// would break a rule, or whose hidden values would become readable. One that does not fit what it inherits already is
/// no obstacle: it stays as it is.
fn tried(
    members: Vec<Entry>,
    before: Layers<'_>,
    layers: Layers<'_>,
    now: Timestamp,
) -> (Vec<Changed>, Vec<FieldError>) {
    let (mut changed, mut errors, mut others) = (Vec::new(), Vec::new(), 0_usize);
    let mut refuse = |known: &KnownEndpoint, rule: RuleError| {
        if errors.len() == NAMED {
            others += 1;
            return;
        }
        let key = key_text(&known.endpoint.group, &known.endpoint.name);
        let (place, detail) = match layers.group {
            Some(settings) => (Place::Pointer(within(settings, &known.settings, &rule)), rule.detail),
            None => (Place::Parameter("name".to_owned()), rule.detail),
        };
        errors.push(FieldError { place, rule: rule.code, detail: format!("{key} would break a rule: {detail}") });
    };
    for Entry { known, .. } in members {
        let endpoint = match resolve(&known.settings, layers.of_any_channel(), now) {
            Ok(endpoint) => endpoint,
            Err(_) if resolve(&known.settings, before.of_any_channel(), now).is_err() => continue,
            Err(rules) => {
                for rule in rules {
                    refuse(&known, rule);
                }
                continue;
            }
        };
        let (old, new) = (&known.endpoint.check, &endpoint.check);
        for (header, value) in &new.headers {
            let becomes_readable = old.redact.contains(header) && !new.redact.contains(header);
            if becomes_readable && old.headers.get(header) == Some(value) {
                let detail = format!("the hidden value of its header `{header}` would become readable");
                refuse(&known, RuleError { pointer: "/redact".to_owned(), code: "conflict", detail });
            }
        }
        if endpoint == known.endpoint {
            continue;
        }
        let aftermath = Aftermath::of((&known.endpoint, known.paused), (&endpoint, known.paused));
        let scheduled_from = if aftermath.reschedule { now } else { known.scheduled_from };
        changed.push(Changed { known: KnownEndpoint { scheduled_from, endpoint, ..(*known).clone() }, aftermath });
    }
    if others > 0 {
        errors.push(FieldError::at("", "conflict", format!("{others} more mistakes of this kind are not named")));
    }
    (changed, errors)
}

fn settings_of(name: &str, group: Option<&Group>) -> EndpointSettings {
    let settings = group.map(|group| group.settings.clone()).unwrap_or_default();
    let description = group.map(|group| group.description.clone()).filter(|text| !text.is_empty());
    EndpointSettings { name: Some(name.to_owned()), description, ..settings }
}

/// The settings as the audit log keeps them: without secrets.
pub(super) fn audited(listing: &Listing, name: &str, group: &Group) -> Value {
    let layers = Layers { group: None, ..listing.layers(name) };
    let redact = redaction::applying(&group.settings, layers);
    json!({ "settings": redaction::redacted(&settings_of(name, Some(group)), &redact) })
}

fn unknown(name: &str) -> ServiceError {
    ServiceError::NotFound(format!("group `{name}`"))
}
