//! Every session, in memory, so that whoever has signed in is known while the database is away.
//!
//! It is filled at start from the store and changed by the service verbs after each commit. It remembers when each
//! was used last; [`jobs`](crate::jobs) writes that down. What a session may do is not known here: its key says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::Timestamp;
use crate::domain::api_key::KeyDigest;
use crate::domain::session::{Session, SessionLimits};

/// Every session that there is. As many as [`domain::session::MOST`](crate::domain::session::MOST): who signs in makes
/// room first.
#[derive(Debug)]
pub struct Sessions {
    by_token: RwLock<HashMap<KeyDigest, Arc<Held>>>,
    limits: SessionLimits,
}

#[derive(Debug)]
struct Held {
    /// Its `last_seen_at` is in `seen` instead.
    session: Session,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    /// Whether the store does not know of `at` yet.
    is_news: bool,
}

impl Held {
    fn new(session: Session) -> Arc<Self> {
        let seen = Mutex::new(Seen { at: session.last_seen_at, is_news: false });
        Arc::new(Self { session, seen })
    }

    fn with_seen<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn shown(&self) -> Session {
        Session { last_seen_at: self.with_seen(|seen| seen.at), ..self.session.clone() }
    }
}

impl Sessions {
    pub fn new(stored: Vec<Session>, limits: SessionLimits) -> Self {
        let by_token = stored.into_iter().map(|session| (session.digest, Held::new(session))).collect();
        Self { by_token: RwLock::new(by_token), limits }
    }

    pub fn limits(&self) -> SessionLimits {
        self.limits
    }

    /// The session of a token, unless its time is over.
    pub fn find(&self, token: &[u8], now: Timestamp) -> Option<Session> {
        let held = self.read().get(&KeyDigest::of(token)).cloned()?;
        let session = held.shown();
        (!session.is_over(now, self.limits)).then_some(session)
    }

    /// Notes that a session was used now.
    pub fn note_seen(&self, session: &Session, now: Timestamp) {
        if let Some(held) = self.read().get(&session.digest) {
            held.with_seen(|seen| *seen = Seen { at: now.max(seen.at), is_news: true });
        }
    }

    /// All of them, by their ids; those whose time is over too, until they are removed.
    pub fn list(&self) -> Vec<Session> {
        let mut all: Vec<Session> = self.read().values().map(|held| held.shown()).collect();
        all.sort_by_key(|session| session.id);
        all
    }

    pub fn get(&self, id: i64) -> Option<Session> {
        self.read().values().find(|held| held.session.id == id).map(|held| held.shown())
    }

    pub fn put(&self, session: Session) {
        self.write().insert(session.digest, Held::new(session));
    }

    pub fn remove(&self, ids: &[i64]) {
        self.write().retain(|_, held| !ids.contains(&held.session.id));
    }

    /// When sessions were used last, as far as that is not written down yet; afterwards it counts as written.
    pub fn take_news(&self) -> Vec<(i64, Timestamp)> {
        let news = |held: &Arc<Held>| {
            let at = held.with_seen(|seen| std::mem::take(&mut seen.is_news).then_some(seen.at))?;
            Some((held.session.id, at))
        };
        self.read().values().filter_map(news).collect()
    }

    /// Takes back that the last use of a session was written.
    pub fn is_news_again(&self, id: i64) {
        if let Some(held) = self.read().values().find(|held| held.session.id == id) {
            held.with_seen(|seen| seen.is_news = true);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<KeyDigest, Arc<Held>>> {
        self.by_token.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<KeyDigest, Arc<Held>>> {
        self.by_token.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::api_key::KeyId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn session(id: i64, token: &str) -> Session {
        Session {
            id,
            key: KeyId::Stored(1),
            digest: KeyDigest::of(token.as_bytes()),
            binding: KeyDigest::of(b""),
            address: None,
            user_agent: None,
            service: None,
            created_at: at(0),
            last_seen_at: at(0),
            expires_at: at(1_000),
        }
    }

    #[test]
    fn a_session_is_known_by_its_token_until_its_time_is_over() {
        let limits = SessionLimits { lifetime: Duration::from_secs(2_000), idle: Duration::from_secs(100) };
        let sessions = Sessions::new(vec![session(1, "one")], limits);
        sessions.put(session(2, "two"));
        let found = |token: &str, now| sessions.find(token.as_bytes(), at(now)).map(|session| session.id);
        assert_eq!((found("one", 99), found("two", 99), found("three", 99)), (Some(1), Some(2), None));
        sessions.note_seen(&session(1, "one"), at(60));
        assert_eq!((found("one", 159), found("two", 100)), (Some(1), None));
        assert_eq!(sessions.list().len(), 2, "until it is removed");
        assert_eq!(sessions.get(1).unwrap().last_seen_at, at(60));
        assert_eq!(sessions.take_news(), [(1, at(60))]);
        assert_eq!(sessions.take_news(), []);
        sessions.is_news_again(1);
        assert_eq!(sessions.take_news(), [(1, at(60))]);
        sessions.note_seen(&session(1, "one"), at(10));
        assert_eq!(sessions.get(1).unwrap().last_seen_at, at(60), "a clock that was set back");
        sessions.remove(&[1]);
        assert_eq!((found("one", 60), sessions.get(1)), (None, None));
    }
}
