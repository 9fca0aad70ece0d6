//! Sessions: who signs in with a key and is known by a token from then on, and who ends it.
//!
//! A session has no role of its own: at each request its key says what it may do. It is over with its key, by its
//! time, or when somebody ends it.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::context::{Actor, Identity, ServiceContext, detached_change};
use super::error::ServiceError;
use super::random;
use crate::config::Secret;
use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, KeyDigest, KeyId};
use crate::domain::role::Role;
use crate::domain::session::{Session, SessionLimits, SessionState, binding, end, to_make_room, token_text};
use crate::feed::Event;
use crate::keyring::Keyring;
use crate::sessions::Sessions;
use crate::store::{Store, StoreError, audit, sessions};

/// The sessions that outlived the last process.
///
/// # Errors
/// When the store cannot be read.
pub async fn registry(store: &Store, limits: SessionLimits) -> Result<Sessions, StoreError> {
    Ok(Sessions::new(sessions::list(store.readers()).await?, limits))
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub session: i64,
    pub key: KeyId,
    pub name: String,
    pub role: Role,
}

/// Whose token this is, and that it was used now. `None`: of nobody, or of a session that is over.
pub fn recognise(ctx: &ServiceContext, token: &[u8]) -> Option<SignedIn> {
    let (session, signed_in) = find_with(ctx, token, ctx.clock.now())?;
    ctx.sessions.note_seen(&session, ctx.clock.now());
    Some(signed_in)
}

/// As [`recognise`], but it only looks.
pub fn find_signed_in(ctx: &ServiceContext, token: &[u8]) -> Option<SignedIn> {
    find_with(ctx, token, ctx.clock.now()).map(|(_, signed_in)| signed_in)
}

fn find_with(ctx: &ServiceContext, token: &[u8], now: Timestamp) -> Option<(Session, SignedIn)> {
    let session = ctx.sessions.find(token, now)?;
    let key = ctx.keyring.get(&session.key).filter(|key| !key.is_expired(now))?;
    if binding(token, &key.digest) != session.binding {
        return None;
    }
    let signed_in = SignedIn { session: session.id, key: key.id, name: key.name, role: key.role };
    Some((session, signed_in))
}

/// A session as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub session: Session,
    /// Of its key; `None` when that is gone.
    pub key: Option<ApiKey>,
    pub state: SessionState,
    /// When it is over at the latest: by its own time, or by that of its key.
    pub expires_at: Timestamp,
}

fn shown(ctx: &ServiceContext, session: Session) -> Shown {
    let (now, limits) = (ctx.clock.now(), ctx.sessions.limits());
    let key = ctx.keyring.get(&session.key);
    let state = state(&ctx.keyring, &session, now, limits);
    let by_key = key.as_ref().and_then(|key| key.expires_at);
    let by_itself = session.expires_at.min(end(session.created_at, limits.lifetime));
    let expires_at = by_key.map_or(by_itself, |by_key| by_itself.min(by_key));
    Shown { session, key, state, expires_at }
}

/// Whether a session can still be used, as far as that is known without its token.
pub fn state(keyring: &Keyring, session: &Session, now: Timestamp, limits: SessionLimits) -> SessionState {
    let has_key = keyring.get(&session.key).is_some_and(|key| !key.is_expired(now));
    if has_key && !session.is_over(now, limits) { SessionState::Active } else { SessionState::Expired }
}

/// The sessions that the actor may see: all for administrators, else those of its own key. Works without the database.
pub fn list(ctx: &ServiceContext, actor: &Actor, identity: &Identity) -> Vec<Shown> {
    let seen = ctx.sessions.list().into_iter().filter(|session| may_see(session, actor, identity));
    seen.map(|session| shown(ctx, session)).collect()
}

/// A session that the actor may see. Works without the database.
///
/// # Errors
/// `NotFound`, also of those that the actor may not see.
pub fn get(ctx: &ServiceContext, actor: &Actor, identity: &Identity, id: i64) -> Result<Shown, ServiceError> {
    find(ctx, actor, identity, id).map(|session| shown(ctx, session))
}

fn find(ctx: &ServiceContext, actor: &Actor, identity: &Identity, id: i64) -> Result<Session, ServiceError> {
    let found = ctx.sessions.get(id).filter(|session| may_see(session, actor, identity));
    found.ok_or_else(|| ServiceError::NotFound(format!("session {id}")))
}

fn may_see(session: &Session, actor: &Actor, identity: &Identity) -> bool {
    actor.role == Role::Admin || identity.key.as_ref() == Some(&session.key)
}

/// What is known of a client that signs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// Shortened.
    pub user_agent: Option<String>,
    /// The address of this server that it used.
    pub service: Option<String>,
    /// The session that it had until now, which ends.
    pub before: Option<i64>,
}

/// Begins a session of `actor`, whose key was shown just now. The token is returned here and never again. Where there
/// would be too many, those idle longest end.
///
/// # Errors
/// `Unavailable` and `Store`; `NotFound` when the key has gone in the meantime.
pub async fn sign_in(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    key: KeyId,
    client: Client,
) -> Result<(Shown, Secret), ServiceError> {
    let (work, actor) = (Arc::clone(ctx), actor.clone());
    detached_change(ctx, async move { sign_in_locked(&work, &actor, &key, client).await }).await
}

async fn sign_in_locked(
    ctx: &ServiceContext,
    actor: &Actor,
    key: &KeyId,
    client: Client,
) -> Result<(Shown, Secret), ServiceError> {
    let _changes = ctx.changes.lock().await;
    let now = ctx.clock.now();
    let key = ctx.keyring.get(key).ok_or_else(|| ServiceError::NotFound(format!("API key {key}")))?;
    let token = token_text(random::bits()?);
    let new = Session {
        id: 0,
        digest: KeyDigest::of(token.as_bytes()),
        binding: binding(token.as_bytes(), &key.digest),
        key: key.id,
        address: client.address,
        user_agent: client.user_agent,
        service: client.service,
        created_at: now,
        last_seen_at: now,
        expires_at: end(now, ctx.sessions.limits().lifetime),
    };
    let mut all = ctx.sessions.list();
    let before = client.before.and_then(|id| all.iter().position(|session| session.id == id)).map(|at| all.remove(at));
    let gone: Vec<&Session> = to_make_room(&all, &new.key);
    let ended: Vec<i64> = before.iter().chain(gone.iter().copied()).map(|session| session.id).collect();

    let transaction = ctx.store.begin_durable().await.map_err(ServiceError::Store)?;
    sessions::delete(&transaction, &ended).await.map_err(ServiceError::Store)?;
    let session = sessions::insert(&transaction, new).await.map_err(ServiceError::Store)?;
    for (session, action) in before.iter().map(|s| (s, ENDED)).chain(gone.iter().map(|s| (*s, "session.evict"))) {
        let mut row = actor.audit_row(now, action, subject(session.id));
        row.before = Some(audited(session));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    }
    let mut row = actor.audit_row(now, STARTED, subject(session.id));
    row.after = Some(audited(&session));
    audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
    transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
    ctx.sessions.remove(&ended);
    ctx.sessions.put(session.clone());
    announce(ctx, actor, STARTED, session.id);
    Ok((shown(ctx, session), Secret::new(token)))
}

/// Ends a session that the actor may see: one's own, or for administrators any.
///
/// # Errors
/// `NotFound`.
pub async fn delete(
    ctx: &Arc<ServiceContext>,
    actor: &Actor,
    identity: &Identity,
    id: i64,
) -> Result<(), ServiceError> {
    let (work, actor, identity) = (Arc::clone(ctx), actor.clone(), identity.clone());
    detached_change(ctx, async move {
        let _changes = work.changes.lock().await;
        let session = find(&work, &actor, &identity, id)?;
        let transaction = work.store.begin_durable().await.map_err(ServiceError::Store)?;
        // One that went before, by a commit whose answer was lost, is only remembered.
        sessions::delete(&transaction, &[id]).await.map_err(ServiceError::Store)?;
        let mut row = actor.audit_row(work.clock.now(), ENDED, subject(id));
        row.before = Some(audited(&session));
        audit::append(&transaction, row).await.map_err(ServiceError::Store)?;
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        work.sessions.remove(&[id]);
        announce(&work, &actor, ENDED, id);
        Ok(())
    })
    .await
}

/// Tells whoever looks on.
fn announce(ctx: &ServiceContext, actor: &Actor, action: &str, id: i64) {
    ctx.feed.publish(Event::login(ctx.clock.now(), &actor.name, actor.address, action, &subject(id), "ok"));
}

/// What signing in is called.
const STARTED: &str = "session.create";

/// What the end of a session by somebody's will is called.
const ENDED: &str = "session.delete";

fn subject(id: i64) -> String {
    format!("session/{id}")
}

/// The session as the audit log keeps it: neither its token nor a digest.
fn audited(session: &Session) -> Value {
    json!({
        "key": session.key.to_string(),
        "address": session.address.map(|address| address.to_string()),
        "user_agent": session.user_agent,
        "service": session.service,
        "expires_at": session.expires_at,
    })
}
