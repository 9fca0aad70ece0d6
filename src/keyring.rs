//! The keyring: every key of the API, in memory, so that requests are told apart while the database is away.
//!
//! It is filled at start from the configuration and the store, and changed by the service verbs after each commit.
//! It remembers the last use of each key; [`jobs`](crate::jobs) writes that down. Who may do what is not decided
//! here.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, KeyDigest, KeyId, KeyUse};
use crate::domain::role::Role;

/// Every key that there is.
#[derive(Debug, Default)]
pub struct Keyring {
    /// The configured ones in their order, then those made through the API by their ids.
    keys: RwLock<Vec<Arc<Held>>>,
}

#[derive(Debug)]
struct Held {
    /// Its `last_use` is in `uses` instead.
    key: ApiKey,
    uses: Mutex<Uses>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    last: Option<KeyUse>,
    /// Whether the store does not know of `last` yet.
    is_news: bool,
}

/// Whose key was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Valid {
        id: KeyId,
        name: String,
        role: Role,
    },
    /// It was one, until `at`.
    Expired {
        name: String,
        at: Timestamp,
    },
    Unknown,
}

impl Held {
    fn new(key: ApiKey) -> Arc<Self> {
        let uses = Mutex::new(Uses { last: key.last_use, is_news: false });
        Arc::new(Self { key, uses })
    }

    fn with_uses<T>(&self, work: impl FnOnce(&mut Uses) -> T) -> T {
        work(&mut self.uses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn shown(&self) -> ApiKey {
        ApiKey { last_use: self.with_uses(|uses| uses.last), ..self.key.clone() }
    }
}

impl Keyring {
    /// `configured` in their order; `stored` by their ids.
    pub fn new(configured: Vec<ApiKey>, stored: Vec<ApiKey>) -> Self {
        Self { keys: RwLock::new(configured.into_iter().chain(stored).map(Held::new).collect()) }
    }

    /// Whose key this is, and that it was used from `address` now. Takes the same time whatever is shown.
    pub fn show(&self, key: &[u8], now: Timestamp, address: Option<IpAddr>) -> Shown {
        let digest = KeyDigest::of(key);
        let keys = self.read();
        let mut found = 0_u32;
        for (place, held) in (1..).zip(keys.iter()) {
            found.conditional_assign(&place, held.key.digest.ct_eq(&digest));
        }
        let held = usize::try_from(found).ok().and_then(|place| place.checked_sub(1)).and_then(|index| keys.get(index));
        let Some(held) = held else { return Shown::Unknown };
        let key = &held.key;
        if let Some(at) = key.expires_at.filter(|_| key.is_expired(now)) {
            return Shown::Expired { name: key.name.clone(), at };
        }
        held.with_uses(|uses| *uses = Uses { last: Some(KeyUse { at: now, address }), is_news: true });
        Shown::Valid { id: key.id.clone(), name: key.name.clone(), role: key.role }
    }

    /// Every key, each with its last use.
    pub fn list(&self) -> Vec<ApiKey> {
        self.read().iter().map(|held| held.shown()).collect()
    }

    pub fn get(&self, id: &KeyId) -> Option<ApiKey> {
        self.read().iter().find(|held| held.key.id == *id).map(|held| held.shown())
    }

    /// Adds a stored key, or puts it in the place of what it was.
    pub fn put(&self, key: ApiKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match keys.iter_mut().find(|held| held.key.id == key.id) {
            Some(held) => {
                // What was seen of it meanwhile is newer than what the store has.
                let uses = held.with_uses(|uses| *uses);
                *held = Arc::new(Held { key, uses: Mutex::new(uses) });
            }
            None => keys.push(Held::new(key)),
        }
    }

    pub fn remove(&self, id: &KeyId) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).retain(|held| held.key.id != *id);
    }

    /// The last uses of stored keys that are not written down yet; afterwards they count as written.
    pub fn take_news(&self) -> Vec<(i64, KeyUse)> {
        let news = |held: &Arc<Held>| {
            let KeyId::Stored(id) = held.key.id else { return None };
            let last = held.with_uses(|uses| std::mem::take(&mut uses.is_news).then_some(uses.last).flatten())?;
            Some((id, last))
        };
        self.read().iter().filter_map(news).collect()
    }

    /// Takes back that the last use of a key was written.
    pub fn is_news_again(&self, id: i64) {
        if let Some(held) = self.read().iter().find(|held| held.key.id == KeyId::Stored(id)) {
            held.with_uses(|uses| uses.is_news = true);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Held>>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn key(id: KeyId, secret: &str, role: Role, expires_at: Option<Timestamp>) -> ApiKey {
        ApiKey {
            name: id.to_string(),
            id,
            role,
            digest: KeyDigest::of(secret.as_bytes()),
            prefix: None,
            source: None,
            expires_at,
            made: None,
            last_use: None,
        }
    }

    fn ring() -> Keyring {
        let configured = vec![key(KeyId::Configured("a".into()), "one", Role::Admin, None)];
        let stored = vec![
            key(KeyId::Stored(1), "two", Role::Viewer, Some(at(100))),
            key(KeyId::Stored(2), "three", Role::Editor, None),
        ];
        Keyring::new(configured, stored)
    }

    #[test]
    fn each_key_is_known_until_it_expires_or_goes() {
        let ring = ring();
        let valid = |name: &str, role| Shown::Valid { id: name.parse().unwrap(), name: name.to_owned(), role };
        assert_eq!(ring.show(b"one", at(0), None), valid("config_a", Role::Admin));
        assert_eq!(ring.show(b"two", at(99), None), valid("key_1", Role::Viewer));
        assert_eq!(ring.show(b"two", at(100), None), Shown::Expired { name: "key_1".to_owned(), at: at(100) });
        assert_eq!(ring.show(b"three", at(0), None), valid("key_2", Role::Editor));
        for wrong in ["", "on", "one ", "ONE", "four"] {
            assert_eq!(ring.show(wrong.as_bytes(), at(0), None), Shown::Unknown, "{wrong}");
        }
        ring.put(key(KeyId::Stored(2), "three", Role::Viewer, None));
        assert_eq!(ring.show(b"three", at(0), None), valid("key_2", Role::Viewer));
        ring.remove(&KeyId::Stored(2));
        assert_eq!(ring.show(b"three", at(0), None), Shown::Unknown);
        assert_eq!(ring.list().len(), 2);
    }

    #[test]
    fn the_last_use_is_news_once_and_outlives_a_change() {
        let ring = ring();
        assert_eq!(ring.take_news(), []);
        ring.show(b"one", at(1), None);
        ring.show(b"three", at(2), None);
        ring.show(b"three", at(3), Some([192, 0, 2, 1].into()));
        ring.show(b"wrong", at(4), None);
        ring.show(b"two", at(500), None);
        let last = KeyUse { at: at(3), address: Some([192, 0, 2, 1].into()) };
        assert_eq!(ring.take_news(), [(2, last)], "neither of the configured one, nor of the expired one");
        assert_eq!(ring.take_news(), []);
        ring.is_news_again(2);
        ring.put(key(KeyId::Stored(2), "three", Role::Viewer, None));
        assert_eq!(ring.get(&KeyId::Stored(2)).unwrap().last_use, Some(last));
        assert_eq!(ring.take_news(), [(2, last)]);
        assert_eq!(ring.get(&KeyId::Configured("a".into())).unwrap().last_use.unwrap().at, at(1));
    }
}
