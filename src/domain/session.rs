//! A session: somebody has signed in with a key and is known by a token from then on. The token itself is never kept,
//! only its digest.

use core::net::IpAddr;
use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::Timestamp;
use crate::domain::api_key::{KeyDigest, KeyId};
use crate::domain::outcome::words;

/// Characters of a `User-Agent` that are kept.
const USER_AGENT: usize = 200;

/// Somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Never used again.
    pub id: i64,
    /// The key that it was begun with. What it may do is what that key may do at each moment.
    pub key: KeyId,
    /// Of the token.
    pub digest: KeyDigest,
    /// See [`binding`].
    pub binding: KeyDigest,
    /// Where the client was when it signed in.
    pub address: Option<IpAddr>,
    /// What the client calls itself, shortened.
    pub user_agent: Option<String>,
    /// The address of this server at which it signed in: `https://monitor.example.com`.
    pub service: Option<String>,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// From this instant on it is worth nothing, however much it was used.
    pub expires_at: Timestamp,
}

words! {
    /// Whether a session is still good for anything.
    pub enum SessionState {
        Active = "active",
        Expired = "expired",
    }
}

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// From the sign-in.
    pub lifetime: Duration,
    /// From the last request.
    pub idle: Duration,
}

/// The most sessions at a time, and those of one key. Whoever signs in beyond ends the one that was idle longest.
pub const MOST: usize = 1_000;
pub const MOST_OF_A_KEY: usize = 100;

impl Session {
    /// For how long it has not been used.
    pub fn idle(&self, now: Timestamp) -> Duration {
        (now - self.last_seen_at).to_std().unwrap_or_default()
    }

    /// Whether its time is over, whatever has become of its key. A limit that has become shorter counts.
    pub fn is_over(&self, now: Timestamp, limits: SessionLimits) -> bool {
        now >= self.expires_at.min(end(self.created_at, limits.lifetime)) || self.idle(now) >= limits.idle
    }
}

/// The end of something that lasts `long`.
pub fn end(from: Timestamp, long: Duration) -> Timestamp {
    let long = TimeDelta::from_std(long).unwrap_or(TimeDelta::MAX);
    from.checked_add_signed(long).unwrap_or(Timestamp::MAX_UTC)
}

/// What ties a session to the very key that it was begun with: where the configuration gives another key the same name,
/// this is another one too. As nothing is in it but together with the token, which nobody keeps, it does not help to guess
/// the key.
pub fn binding(token: &[u8], key: &KeyDigest) -> KeyDigest {
    KeyDigest::of(&[token, b":", key.to_hex().as_bytes()].concat())
}

/// A new token of 256 random bits, as the cookie has it.
pub fn token_text(random: [u8; 32]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}

/// What is kept of a `User-Agent`; nothing of an empty one.
pub fn shown_user_agent(text: &str) -> Option<String> {
    let harmless: String = text.chars().filter(|c| !c.is_control()).collect();
    let shown: String = harmless.trim().chars().take(USER_AGENT).collect();
    (!shown.is_empty()).then_some(shown)
}

/// Those that end so that one more of `key` finds room: of too many the ones idle longest.
pub fn to_make_room<'s>(sessions: &'s [Session], key: &KeyId) -> Vec<&'s Session> {
    let mut by_age: Vec<&Session> = sessions.iter().collect();
    by_age.sort_by_key(|session| (session.last_seen_at, session.id));
    let of_key = by_age.iter().filter(|session| session.key == *key).count();
    let mut too_many_of_key = (of_key + 1).saturating_sub(MOST_OF_A_KEY);
    let mut too_many = (by_age.len() + 1).saturating_sub(MOST);
    let mut gone = Vec::new();
    by_age.retain(|session| {
        let goes = too_many_of_key > 0 && session.key == *key;
        if goes {
            too_many_of_key -= 1;
            too_many = too_many.saturating_sub(1);
            gone.push(*session);
        }
        !goes
    });
    gone.extend(by_age.into_iter().take(too_many));
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn session(id: i64, key: i64, last_seen: i64) -> Session {
        Session {
            id,
            key: KeyId::Stored(key),
            digest: KeyDigest::of(&id.to_be_bytes()),
            binding: KeyDigest::of(b""),
            address: None,
            user_agent: None,
            service: None,
            created_at: at(0),
            last_seen_at: at(last_seen),
            expires_at: at(1_000),
        }
    }

    #[test]
    fn a_session_is_over_when_the_first_of_its_ends_has_come() {
        let limits =
            |lifetime, idle| SessionLimits { lifetime: Duration::from_secs(lifetime), idle: Duration::from_secs(idle) };
        let one = session(1, 1, 100);
        for (now, lifetime, idle, over) in [
            (100, 1_000, 50, false),
            (149, 1_000, 50, false),
            (150, 1_000, 50, true),
            (999, 1_000, 5_000, false),
            (1_000, 2_000, 5_000, true),
            (120, 120, 50, true),
            // The clock was set back.
            (10, 1_000, 50, false),
        ] {
            assert_eq!(one.is_over(at(now), limits(lifetime, idle)), over, "{now} {lifetime} {idle}");
        }
        assert_eq!(one.idle(at(130)), Duration::from_secs(30));
        assert_eq!(one.idle(at(10)), Duration::ZERO);
        assert_eq!(end(at(5), Duration::MAX), Timestamp::MAX_UTC);
    }

    #[test]
    fn the_one_idle_longest_makes_room() {
        let ids = |gone: Vec<&Session>| gone.iter().map(|session| session.id).collect::<Vec<_>>();
        let few: Vec<_> = (1..100).map(|id| session(id, 1, 500 - id)).collect();
        assert_eq!(ids(to_make_room(&few, &KeyId::Stored(1))), [] as [i64; 0]);
        let full: Vec<_> = (1..=100).map(|id| session(id, 1, 500 - id)).collect();
        assert_eq!(ids(to_make_room(&full, &KeyId::Stored(1))), [100]);
        assert_eq!(ids(to_make_room(&full, &KeyId::Stored(2))), [] as [i64; 0]);
        let crowd: Vec<_> = (0..1_000).map(|id| session(id, id / 90, id)).collect();
        assert_eq!(ids(to_make_room(&crowd, &KeyId::Stored(11))), [0], "of all, as its own are few");
        let both: Vec<_> = (0..1_001).map(|id| session(id, id / 100, id)).collect();
        assert_eq!(ids(to_make_room(&both, &KeyId::Stored(3))), [300, 0]);
    }

    #[test]
    fn a_binding_is_of_one_token_and_one_key() {
        let (one, other) = (KeyDigest::of(b"one"), KeyDigest::of(b"other"));
        assert_eq!(binding(b"t", &one), binding(b"t", &one));
        assert_ne!(binding(b"t", &one), binding(b"t", &other));
        assert_ne!(binding(b"t", &one), binding(b"u", &one));
    }

    #[test]
    fn a_user_agent_is_shortened_and_made_harmless() {
        assert_eq!(shown_user_agent(" Mozilla\t5 \u{7} "), Some("Mozilla5".to_owned()));
        assert_eq!(shown_user_agent("  "), None);
        assert_eq!(shown_user_agent(&"é".repeat(300)), Some("é".repeat(200)));
    }
}
