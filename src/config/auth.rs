//! `api.auth`: the configured keys of the API, and how they are sent.

use serde::Deserialize;

use super::errors::SourceRef;
use super::report::Report;
use super::secret::Secret;
use super::section::Section;
use super::session::{self, RawSession};
use super::tree::{Node, Value, without_secrets};
use crate::domain::Timestamp;
use crate::domain::api_key::{KeyDigest, STRONG_KEY_BYTES, mistaken_name, parse_expiry};
use crate::domain::role::Role;
use crate::domain::session::SessionLimits;

/// What a key begins with that is written as its digest.
const HASHED: &str = "sha256:";

/// `api.auth:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The key of an administrator.
    pub api_key: Option<Secret>,
    /// Where `api_key` is written.
    pub api_key_source: Option<SourceRef>,
    /// The header the key is sent in.
    pub header_name: String,
    /// Named in `WWW-Authenticate`.
    pub realm: String,
    /// Further keys, each name once.
    pub keys: Vec<ConfiguredKey>,
    pub session: SessionLimits,
}

/// A key of `api.auth.keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredKey {
    pub name: String,
    pub role: Role,
    pub digest: KeyDigest,
    /// From this instant on it is worth nothing.
    pub expires_at: Option<Timestamp>,
    pub source: SourceRef,
}

impl AuthConfig {
    /// Whether requests need a key: there is a configured one, expired or not.
    pub fn is_on(&self) -> bool {
        self.api_key.is_some() || !self.keys.is_empty()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    enabled: Option<bool>,
    api_key: Option<Secret>,
    header_name: Option<String>,
    realm: Option<String>,
    keys: Option<Vec<RawKey>>,
    session: Option<RawSession>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawKey {
    name: Option<String>,
    role: Option<Role>,
    key: Option<Secret>,
    expires_at: Option<String>,
}

/// `section` is `api`.
pub(super) fn read(section: &Section<'_>, raw: RawAuth, now: Timestamp, report: &mut Report) -> AuthConfig {
    let header_name = raw.header_name.unwrap_or_else(|| "X-API-Key".to_owned());
    if http::HeaderName::from_bytes(header_name.as_bytes()).is_err() {
        section.wrong("auth.header_name", "is not a header name, such as X-API-Key", report);
    }
    let realm = raw.realm.unwrap_or_else(|| "api-monitor".to_owned());
    if realm.len() > 200 || !realm.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        section.wrong("auth.realm", "is printable ASCII without quotes and backslashes, at most 200 bytes", report);
    }
    let session = session::read(section, raw.session.unwrap_or_default(), report);
    let api_key = raw.api_key.filter(|key| !key.expose().is_empty());
    let mut told = KeyReader { section, now, keys: Vec::new(), report };
    let api_key = api_key.map(|key| told.api_key(key, raw.enabled));
    for (index, key) in raw.keys.unwrap_or_default().into_iter().enumerate() {
        told.key(index, key, api_key.as_ref());
    }
    let keys = told.keys;
    let (api_key, keys) = switched(section, raw.enabled, api_key, keys, now, report);
    let api_key_source = api_key.as_ref().and_then(|_| section.place_of("auth.api_key")).map(|(at, _)| at.to_ref());
    AuthConfig { api_key, api_key_source, header_name, realm, keys, session }
}

/// What remains of the keys by `enabled`.
fn switched(
    section: &Section<'_>,
    enabled: Option<bool>,
    api_key: Option<Secret>,
    keys: Vec<ConfiguredKey>,
    now: Timestamp,
    report: &mut Report,
) -> (Option<Secret>, Vec<ConfiguredKey>) {
    let without = "has no effect while api.auth.enabled is false: requests are not authenticated";
    match enabled {
        Some(false) => {
            if api_key.is_some() {
                section.warn("auth.api_key", without, report);
            }
            if !keys.is_empty() {
                section.warn("auth.keys", without, report);
            }
            (None, Vec::new())
        }
        Some(true) if api_key.is_none() && keys.is_empty() => {
            // A key that an allowed unset variable would give, or that has a mistake of its own, is there as far as
            // anybody can tell; nobody may guess what stands for it.
            let unset = section.place_of("auth.api_key").is_some_and(|(_, missing)| missing);
            let mistaken = section.node.is_some_and(|node| {
                let (keys, exact) = node.at_pointer("/auth/keys");
                exact && !keys.is_null() && !matches!(&keys.value, Value::Sequence(items) if items.is_empty())
            });
            if !unset && !mistaken {
                let message = "authentication is on and there is no key: set api.auth.api_key or the variable API_KEY, \
                               or name keys in api.auth.keys";
                section.wrong("auth.enabled", message, report);
            }
            (Some(Secret::new(uuid::Uuid::new_v4().to_string())), keys)
        }
        _ => {
            let is_admin = |key: &ConfiguredKey| key.role == Role::Admin && key.expires_at.is_none_or(|end| end > now);
            if api_key.is_none() && !keys.is_empty() && !keys.iter().any(is_admin) {
                let message = "none of the keys is a valid one with the role admin: without one made through the API \
                               nobody can read the configuration or manage keys";
                section.warn("auth.keys", message, report);
            }
            (api_key, keys)
        }
    }
}

struct KeyReader<'r, 'n> {
    section: &'r Section<'n>,
    now: Timestamp,
    keys: Vec<ConfiguredKey>,
    report: &'r mut Report,
}

impl<'n> KeyReader<'_, 'n> {
    fn api_key(&mut self, key: Secret, enabled: Option<bool>) -> Secret {
        if let Some(message) = unfit(&key) {
            self.section.wrong("auth.api_key", message, self.report);
        } else if is_weak(&key) && enabled != Some(false) {
            self.section.warn("auth.api_key", weak(), self.report);
        }
        key
    }

    /// A key of the list. One with a mistake is left out.
    fn key(&mut self, index: usize, raw: RawKey, api_key: Option<&Secret>) {
        let mut good = true;
        let name = raw.name.unwrap_or_default();
        if let Some(message) = mistaken_name(&name) {
            good &= self.wrong(index, "name", message);
        } else if let Some(other) = self.keys.iter().find(|key| key.name == name) {
            let message = format!("the name `{name}` is taken: {} has it", other.source);
            good &= self.wrong(index, "name", message);
        }
        if raw.role.is_none() {
            good &= self.wrong(index, "role", "the key has no role: viewer, operator, editor or admin");
        }
        let digest = match raw.key.filter(|key| !key.expose().is_empty()) {
            Some(key) => match self.digest(index, &key) {
                Ok(digest) => digest,
                Err(message) => {
                    self.wrong(index, "key", message);
                    return;
                }
            },
            None => {
                // As above: nobody may guess what stands for one that is not known here.
                good &= self.wrong(index, "key", "the key has no `key`: best ${VAR}, or sha256: and its digest");
                KeyDigest::of(uuid::Uuid::new_v4().as_bytes())
            }
        };
        if self.keys.iter().any(|key| key.digest == digest)
            || api_key.is_some_and(|key| KeyDigest::of(key.expose().as_bytes()) == digest)
        {
            good &= self.wrong(
                index,
                "key",
                "another configured key is the same: each has its own, or nobody can tell whose it is",
            );
        }
        let expires_at = match raw.expires_at.map(|text| parse_expiry(&text)).transpose() {
            Ok(end) => end,
            Err(message) => {
                good &= self.wrong(index, "expires_at", message);
                None
            }
        };
        if expires_at.is_some_and(|end| end <= self.now) {
            self.warn(index, "expires_at", "has passed: this key is refused");
        }
        if let (true, Some(role), Some(node)) = (good, raw.role, self.node(index, "")) {
            let source = node.place.to_ref();
            self.keys.push(ConfiguredKey { name, role, digest, expires_at, source });
        }
    }

    fn digest(&mut self, index: usize, key: &Secret) -> Result<KeyDigest, &'static str> {
        if let Some(hex) = key.expose().strip_prefix(HASHED) {
            let message = "is not sha256: and the 64 hexadecimal digits that `printf %s KEY | sha256sum` prints";
            return KeyDigest::from_hex(hex).ok_or(message);
        }
        if let Some(message) = unfit(key) {
            return Err(message);
        }
        if is_weak(key) {
            self.warn(index, "key", weak());
        }
        Ok(KeyDigest::of(key.expose().as_bytes()))
    }

    /// What is written there, or what is nearest to it.
    fn node(&self, index: usize, key: &str) -> Option<&'n Node> {
        let pointer = format!("/auth/keys/{index}{}{key}", if key.is_empty() { "" } else { "/" });
        self.section.node.map(|node| node.at_pointer(&pointer).0)
    }

    /// Says what is wrong, unless an allowed unset variable is to blame. Whether it is good all the same.
    fn wrong(&mut self, index: usize, key: &str, message: impl Into<String>) -> bool {
        let Some(node) = self.node(index, key) else { return false };
        if node.has_missing() {
            return true;
        }
        self.report.error(&node.place, path(index, key), without_secrets(message.into(), node));
        false
    }

    fn warn(&mut self, index: usize, key: &str, message: impl Into<String>) {
        if let Some(node) = self.node(index, key) {
            self.report.warn(&node.place, path(index, key), without_secrets(message.into(), node));
        }
    }
}

fn path(index: usize, key: &str) -> String {
    format!("api.auth.keys[{index}].{key}")
}

/// Why a key cannot be sent.
fn unfit(key: &Secret) -> Option<&'static str> {
    let sendable = |text: &str| text.len() <= 1000 && text.bytes().all(|b| (0x21..0x7f).contains(&b));
    (!sendable(key.expose()))
        .then_some("cannot be sent in a header: printable ASCII without spaces, at most 1,000 bytes")
}

fn is_weak(key: &Secret) -> bool {
    key.expose().len() < STRONG_KEY_BYTES
}

fn weak() -> String {
    format!("is easily guessed: a key has at least {STRONG_KEY_BYTES} characters. Make one: openssl rand -hex 32")
}
