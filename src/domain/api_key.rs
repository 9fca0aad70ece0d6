//! The keys of the API: who carries one, what it allows, and until when. The key itself is never kept, only its
//! digest.

use core::net::IpAddr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::Timestamp;
use crate::domain::endpoint::Origin;
use crate::domain::outcome::UnknownWord;
use crate::domain::role::Role;

/// What every key made here begins with.
pub const KEY_PREFIX: &str = "am_";

/// Characters of a key that are shown to recognise it, [`KEY_PREFIX`] among them.
const SHOWN: usize = 9;

/// A key with fewer bytes is easily guessed.
pub const STRONG_KEY_BYTES: usize = 16;

/// The name of the key of `api.auth.api_key`.
pub const CONFIGURED_KEY: &str = "api-key";

/// Names that tell in the audit log of whom there is no key.
pub const NOT_KEYS: [&str; 4] = ["local", "anonymous", "config", "cli"];

/// The SHA-256 of a key, or of the token of a session: what is kept of it. Compared in constant time, never shown.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// A digest written as 64 hexadecimal digits, in any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            let value = char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(bytes))
    }

    /// As it is stored.
    pub fn to_hex(self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The id of a key: `key_7` of one made through the API, `config_ci` of the configured one named `ci`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyId {
    Configured(String),
    /// Never used again after a deletion.
    Stored(i64),
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(name) => write!(f, "config_{name}"),
            Self::Stored(id) => write!(f, "key_{id}"),
        }
    }
}

impl FromStr for KeyId {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord(text.to_owned());
        match text.split_once('_') {
            Some(("config", name)) => Ok(Self::Configured(name.to_owned())),
            Some(("key", digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map(Self::Stored).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

/// Who may use the API, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    /// How its holder is called in the logs. Unique.
    pub name: String,
    pub role: Role,
    pub digest: KeyDigest,
    /// The first characters of a key made here, to recognise it.
    pub prefix: Option<String>,
    /// Where a configured one is written: `file:line`.
    pub source: Option<String>,
    /// From this instant on it is worth nothing.
    pub expires_at: Option<Timestamp>,
    /// What is known of one made through the API; `None` of a configured one.
    pub made: Option<Made>,
    /// When it was used last; that of a configured one is forgotten when the process ends.
    pub last_use: Option<KeyUse>,
}

/// How a key came to be what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The name of whoever made it.
    pub by: String,
    pub at: Timestamp,
    pub updated_at: Timestamp,
    /// 1 when made, then one more with every change; the ETag.
    pub revision: i64,
}

/// A use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    pub at: Timestamp,
    pub address: Option<IpAddr>,
}

impl ApiKey {
    pub fn origin(&self) -> Origin {
        match self.id {
            KeyId::Configured(_) => Origin::Config,
            KeyId::Stored(_) => Origin::Api,
        }
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A new key of 256 random bits, as its holder sends it.
pub fn key_text(random: [u8; 32]) -> String {
    use base64::Engine;
    format!("{KEY_PREFIX}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}

/// What of a key made here is shown afterwards.
pub fn shown_prefix(key: &str) -> String {
    key.chars().take(SHOWN).collect()
}

/// What is wrong with the name of a key, if anything is. Names stand in logs and in paths.
pub fn mistaken_name(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > 100 {
        Some("the name of a key has 1 to 100 bytes".to_owned())
    } else if name.trim() != name || name.chars().any(|c| c.is_control() || matches!(c, '/' | ',')) {
        Some("the name of a key has no slashes, commas, control characters, and no space around it".to_owned())
    } else if NOT_KEYS.contains(&name) || name == CONFIGURED_KEY {
        Some(format!("the name `{name}` stands for something else in the audit log: choose another one"))
    } else {
        None
    }
}

/// The instant from which a key is worth nothing: RFC 3339, or a UTC day, which is still good itself.
pub fn parse_expiry(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let end = match text.parse::<NaiveDate>() {
        Ok(day) => {
            day.checked_add_signed(TimeDelta::days(1)).map(|next| next.and_time(chrono::NaiveTime::MIN).and_utc())
        }
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
    };
    // What every calendar and the store agree on, in the microseconds that it keeps.
    end.filter(|end| (1..=9999).contains(&end.year()))
        .map(|end| crate::domain::from_micros(crate::domain::micros(end)))
        .ok_or_else(|| format!("`{text}` is not a date such as 2027-01-31 or an instant such as 2027-01-31T18:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_never_shown() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = KeyDigest::of(b"abc");
        assert_eq!(digest.to_hex(), abc);
        assert_eq!(KeyDigest::from_hex(abc), Some(digest));
        assert_eq!(KeyDigest::from_hex(&abc.to_uppercase()), Some(digest));
        assert_ne!(KeyDigest::of(b"abd"), digest);
        let short = abc.get(1..).unwrap();
        for wrong in ["", short, &format!("{abc}0"), &format!("g{short}"), &format!("+{short}"), &"é".repeat(32)] {
            assert_eq!(KeyDigest::from_hex(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{digest:?}"), "***");
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for id in [KeyId::Stored(7), KeyId::Configured("ci".into()), KeyId::Configured("a_b c".into())] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "7", "key_", "key_-1", "key_+1", "key_99999999999999999999", "config", "api_1"] {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_recognised_by_their_first_characters() {
        let key = key_text([0xFB; 32]);
        assert_eq!(key, "am_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(shown_prefix(&key), "am_-_v7-_");
    }

    #[test]
    fn names_that_would_mislead_are_refused() {
        for good in ["ci", "Ops team 2", "grüße", &"x".repeat(100)] {
            assert_eq!(mistaken_name(good), None, "{good}");
        }
        for bad in ["", " ci", "a/b", "a,b", "a\nb", "local", "anonymous", "config", "cli", "api-key", &"x".repeat(101)]
        {
            assert!(mistaken_name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_day_is_still_good_itself() {
        for (text, end) in [
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            (" 2027-01-31T18:00:00+02:00 ", "2027-01-31T16:00:00Z"),
            ("2027-01-31T18:00:00.1234567Z", "2027-01-31T18:00:00.123456Z"),
        ] {
            assert_eq!(parse_expiry(text), Ok(end.parse().unwrap()), "{text}");
        }
        for wrong in ["", "never", "2027-02-30", "1893456000", "9999-12-31", "2027-01-31T18:00:00", "+12027-01-01"] {
            assert!(parse_expiry(wrong).is_err(), "{wrong}");
        }
    }
}
