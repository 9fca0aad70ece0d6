//! The keys of the API: who makes, changes and removes them, and what is known of those that the configuration
//! names. Only administrators come here; a key is shown to whoever makes it, once.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::context::{Actor, ServiceContext, detached_change};
use super::error::{Conflict, FieldError, ServiceError};
use super::{merge_patch, random};
use crate::config::{AuthConfig, Secret};
use crate::domain::Timestamp;
use crate::domain::api_key::{
    ApiKey, CONFIGURED_KEY, KeyDigest, KeyId, key_text, mistaken_name, parse_expiry, shown_prefix,
};
use crate::domain::role::Role;
use crate::keyring::Keyring;
use crate::store::api_keys::{ApiKeyUpdate, NewApiKey};
use crate::store::{DatabaseTransaction, Store, StoreError, api_keys, audit, within};

/// How long a change that failed looks for what became of it.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What of a key is set, as it is written.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// How the logs call its holder; unique. Required but in a patch.
    #[schema(example = "ci")]
    pub name: Option<String>,
    /// Required but in a patch.
    pub role: Option<Role>,
    /// From when on it is refused: an instant, or a UTC day, which is still good itself. Null: never.
    #[schema(example = "2030-12-31")]
    pub expires_at: Option<String>,
}

/// Settings that keep every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Checked {
    name: String,
    role: Role,
    expires_at: Option<Timestamp>,
}

/// The keyring at start: the configured keys, then the stored ones.
///
/// # Errors
/// When the store cannot be read.
pub async fn keyring(store: &Store, auth: &AuthConfig) -> Result<Keyring, StoreError> {
    let stored = api_keys::list(store.readers()).await?;
    let configured = configured(auth);
    for key in stored.iter().filter(|key| configured.iter().any(|other| other.name == key.name)) {
        tracing::warn!(
            key = key.name,
            "a configured key and one made through the API have the same name: both are valid, and the logs do not \
             tell them apart; rename one"
        );
    }
    Ok(Keyring::new(configured, stored))
}

fn configured(auth: &AuthConfig) -> Vec<ApiKey> {
    let key = |name: &str, role, digest, expires_at, source: Option<String>| ApiKey {
        id: KeyId::Configured(name.to_owned()),
        name: name.to_owned(),
        role,
        digest,
        prefix: None,
        source,
        expires_at,
        made: None,
        last_use: None,
    };
    let api_key = auth.api_key.iter().map(|secret| {
        let digest = KeyDigest::of(secret.expose().as_bytes());
        key(CONFIGURED_KEY, Role::Admin, digest, None, auth.api_key_source.as_ref().map(ToString::to_string))
    });
    let named = auth.keys.iter().map(|k| key(&k.name, k.role, k.digest, k.expires_at, Some(k.source.to_string())));
    api_key.chain(named).collect()
}

/// Every key: the configured ones in their order, then those made here. Works without the database.
///
/// # Errors
/// `Forbidden`.
pub fn list(ctx: &ServiceContext, actor: &Actor) -> Result<Vec<ApiKey>, ServiceError> {
    actor.require(Role::Admin)?;
    Ok(ctx.keyring.list())
}

/// A key by its id. Works without the database.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub fn get(ctx: &ServiceContext, actor: &Actor, id: &str) -> Result<ApiKey, ServiceError> {
    actor.require(Role::Admin)?;
    id.parse().ok().and_then(|known| ctx.keyring.get(&known)).ok_or_else(|| unknown(id))
}

/// Makes a key. What it is is returned here and never again.
///
/// # Errors
/// `Forbidden`; `Invalid`; `Conflict` when the name is taken.
pub async fn create(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    settings: KeySettings,
) -> Result<(ApiKey, Secret), ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { create_locked(&work, &actor, settings).await }).await
}

async fn create_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    settings: KeySettings,
) -> Result<(ApiKey, Secret), ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let Checked { name, role, expires_at } = checked(settings, None, now)?;
    require_free_name(ctx, &name, None)?;
    let secret = key_text(random::bits()?);
    let new = NewApiKey {
        name,
        role,
        digest: KeyDigest::of(secret.as_bytes()),
        prefix: shown_prefix(&secret),
        expires_at,
        created_by: actor.name.clone(),
        now,
    };
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let name = new.name.clone();
    let key = match api_keys::insert(&transaction, new).await {
        Ok(key) => key,
        Err(error) => {
            drop(transaction);
            return Err(behind(ctx, None, &name, error).await);
        }
    };
    let mut row = actor.audit_row(now, "api_key.create", subject(&key.id));
    row.after = Some(audited(&key));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    commit(ctx, transaction).await?;
    ctx.keyring.put(key.clone());
    ctx.announce(actor, "api_key.create", &subject(&key.id));
    Ok((key, Secret::new(secret)))
}

/// What a change makes of a key.
#[derive(Debug)]
pub enum Change {
    /// All settings; what is absent returns to its default.
    Replace(KeySettings),
    /// A JSON merge patch.
    Patch(Value),
}

/// Changes name, role or expiry of a key; the key itself stays what it is.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid`; `Conflict` when the name is taken, when the configuration has the key, when
/// nobody would be left to manage keys; `Stale` when `expected_revision` is no longer its revision.
pub async fn change(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<ApiKey, ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move { change_locked(&work, &actor, &id, expected_revision, change).await }).await
}

async fn change_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
    change: Change,
) -> Result<ApiKey, ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let (key, id, revision) = changeable(ctx, id, expected_revision)?;
    let (settings, action) = match change {
        Change::Replace(settings) => (settings, "api_key.replace"),
        Change::Patch(patch) => (patched(&key, patch)?, "api_key.patch"),
    };
    let before = Checked { name: key.name.clone(), role: key.role, expires_at: key.expires_at };
    let after = checked(settings, Some(&before), now)?;
    if after == before {
        return Ok(key);
    }
    require_free_name(ctx, &after.name, Some(&key.id))?;
    if after.role < Role::Admin {
        require_another_admin(ctx, &key, now)?;
    }
    let name = after.name.clone();
    let update =
        ApiKeyUpdate { name: after.name, role: after.role, expires_at: after.expires_at, expected_revision: revision };
    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    let changed = match api_keys::update(&transaction, id, update, now).await {
        Ok(changed) => changed,
        Err(error) => {
            drop(transaction);
            return Err(behind(ctx, Some(&key.id), &name, error).await);
        }
    };
    let mut row = actor.audit_row(now, action, subject(&key.id));
    (row.before, row.after) = (Some(audited(&key)), Some(audited(&changed)));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    commit(ctx, transaction).await?;
    let known = changed.id.clone();
    ctx.keyring.put(changed.clone());
    ctx.announce(actor, action, &subject(&key.id));
    Ok(ctx.keyring.get(&known).unwrap_or(changed))
}

/// Removes a key: whoever has it is a stranger from now on.
///
/// # Errors
/// As [`change`].
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    id: &str,
    expected_revision: Option<i64>,
) -> Result<(), ServiceError> {
    actor.require(Role::Admin)?;
    let (work, actor, id) = (Arc::clone(ctx), actor.clone(), id.to_owned());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let now = work.clock.now();
        let (key, id, _) = changeable(&work, &id, expected_revision)?;
        require_another_admin(&work, &key, now)?;
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        match api_keys::delete(&transaction, id).await {
            Ok(()) => {}
            // It went before, by a commit whose answer was lost: it is only remembered.
            Err(StoreError::NotFound) => {
                work.keyring.remove(&key.id);
                return Ok(());
            }
            Err(error) => return Err(ServiceError::Store(error)),
        }
        let mut row = actor.audit_row(now, "api_key.delete", subject(&key.id));
        row.before = Some(audited(&key));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        commit(&work, transaction).await?;
        work.keyring.remove(&key.id);
        work.announce(&actor, "api_key.delete", &subject(&key.id));
        Ok(())
    })
    .await
}

/// Commits a change of the keys. When the answer is an error it may have been made all the same, and a key whose role
/// was lowered must not keep it: the table says, if it can be asked.
async fn commit(ctx: &ServiceContext, transaction: DatabaseTransaction) -> Result<(), ServiceError> {
    let Err(error) = transaction.commit().await else { return Ok(()) };
    if let Err(error) = within(LOOK_LIMIT, follow(ctx)).await {
        tracing::warn!(%error, "what the table has of the keys cannot be read after a change that failed");
    }
    Err(ServiceError::Store(error.into()))
}

/// Has the keyring hold what the table has. Whoever calls it holds `changes`.
async fn follow(ctx: &ServiceContext) -> Result<(), StoreError> {
    let table = api_keys::list(ctx.store.writer()).await?;
    for known in ctx.keyring.list() {
        if known.made.is_some() && !table.iter().any(|key| key.id == known.id) {
            ctx.keyring.remove(&known.id);
        }
    }
    for key in table {
        if ctx.keyring.get(&key.id).is_none_or(|known| known.made != key.made) {
            tracing::warn!(key = key.name, "a key is as a change made it that was answered with an error");
            ctx.keyring.put(key);
        }
    }
    Ok(())
}

/// The database refused a change because it has other keys than the keyring: one whose commit was answered with an
/// error had been made all the same. The keyring follows it, and the client is told so.
async fn behind(ctx: &ServiceContext, id: Option<&KeyId>, name: &str, error: StoreError) -> ServiceError {
    if !matches!(error, StoreError::Stale | StoreError::NotFound | StoreError::Conflict(_)) {
        return ServiceError::Store(error);
    }
    if let Err(error) = follow(ctx).await {
        return ServiceError::Store(error);
    }
    let revision = id.and_then(|id| ctx.keyring.get(id)?.made).map(|made| made.revision);
    match (error, id, revision) {
        (StoreError::Conflict(_), ..) => ServiceError::Conflict(Conflict::KeyNameTaken { name: name.to_owned() }),
        (_, _, Some(revision)) => ServiceError::Stale { revision },
        (_, Some(id), None) => unknown(&id.to_string()),
        (error, None, None) => ServiceError::Store(error),
    }
}

/// The key that may be changed, with its id in the store and its revision.
fn changeable(
    ctx: &ServiceContext,
    id: &str,
    expected_revision: Option<i64>,
) -> Result<(ApiKey, i64, i64), ServiceError> {
    let key = id.parse().ok().and_then(|known| ctx.keyring.get(&known)).ok_or_else(|| unknown(id))?;
    match (&key.id, &key.made) {
        (KeyId::Stored(id), Some(made)) if expected_revision.is_none_or(|revision| revision == made.revision) => {
            let (id, revision) = (*id, made.revision);
            Ok((key, id, revision))
        }
        (_, Some(made)) => Err(ServiceError::Stale { revision: made.revision }),
        (_, None) => {
            let source_line = key.source.unwrap_or_else(|| "the configuration".to_owned());
            Err(ServiceError::Conflict(Conflict::ManagedByConfig { what: "key", source_line }))
        }
    }
}

/// Refuses what would take the last key away that can manage keys, where nothing else can: without a configured
/// key clients on this machine are administrators, with one only keys are.
fn require_another_admin(ctx: &ServiceContext, key: &ApiKey, now: Timestamp) -> Result<(), ServiceError> {
    let is_admin = |key: &ApiKey| key.role == Role::Admin && !key.is_expired(now);
    let nobody_else = || !ctx.keyring.list().iter().any(|other| other.id != key.id && is_admin(other));
    if ctx.config.api.auth.is_on() && is_admin(key) && nobody_else() {
        return Err(ServiceError::Conflict(Conflict::LastAdmin { name: key.name.clone() }));
    }
    Ok(())
}

fn require_free_name(ctx: &ServiceContext, name: &str, except: Option<&KeyId>) -> Result<(), ServiceError> {
    let taken = ctx.keyring.list().iter().any(|key| key.name == name && Some(&key.id) != except);
    if taken { Err(ServiceError::Conflict(Conflict::KeyNameTaken { name: name.to_owned() })) } else { Ok(()) }
}

/// The settings with every rule checked. An expiry in the past is refused unless it is the one there was.
fn checked(settings: KeySettings, before: Option<&Checked>, now: Timestamp) -> Result<Checked, ServiceError> {
    let mut errors = Vec::new();
    let name = settings.name.unwrap_or_else(|| {
        errors.push(FieldError::at("/name", "required", "a key has a name, by which the logs call its holder"));
        String::new()
    });
    if errors.is_empty()
        && before.is_none_or(|before| before.name != name)
        && let Some(message) = mistaken_name(&name)
    {
        errors.push(FieldError::at("/name", "invalid", message));
    }
    let role = settings.role.unwrap_or_else(|| {
        errors.push(FieldError::at("/role", "required", "a key has a role: viewer, operator, editor or admin"));
        Role::Viewer
    });
    let expires_at = match settings.expires_at.map(|text| parse_expiry(&text)).transpose() {
        Ok(Some(end)) if end <= now && before.is_none_or(|before| before.expires_at != Some(end)) => {
            errors.push(FieldError::at("/expires_at", "out_of_range", "must be in the future"));
            None
        }
        Ok(end) => end,
        Err(message) => {
            errors.push(FieldError::at("/expires_at", "invalid", message));
            None
        }
    };
    if errors.is_empty() { Ok(Checked { name, role, expires_at }) } else { Err(ServiceError::Invalid(errors)) }
}

/// The settings of a key after a merge patch: what is not in it stays, `null` removes.
fn patched(key: &ApiKey, patch: Value) -> Result<KeySettings, ServiceError> {
    let Value::Object(fields) = &patch else {
        let error = FieldError::at("", "invalid", "A merge patch of a key is a JSON object");
        return Err(ServiceError::invalid(error));
    };
    let given = |name: &str| fields.contains_key(name);
    let (name, role, expires_at) = (given("name"), given("role"), given("expires_at"));
    let new: KeySettings = merge_patch::read(patch).map_err(ServiceError::invalid)?;
    Ok(KeySettings {
        name: if name { new.name } else { Some(key.name.clone()) },
        role: if role { new.role } else { Some(key.role) },
        expires_at: if expires_at { new.expires_at } else { key.expires_at.map(|end| end.to_rfc3339()) },
    })
}

fn unknown(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("API key {id}"))
}

fn subject(id: &KeyId) -> String {
    format!("api_key/{id}")
}

/// The key as the audit log keeps it: neither itself nor its digest.
fn audited(key: &ApiKey) -> Value {
    json!({ "name": key.name, "role": key.role, "prefix": key.prefix, "expires_at": key.expires_at })
}
