//! The sections as they are written, each key optional. What the keys mean and which values are refused is said
//! in [`super::validate`]; endpoints, groups and `defaults` have their own form,
//! [`crate::domain::endpoint::EndpointSettings`].

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};
use utoipa::ToSchema;

use super::api::{RawRateLimit, RawTls};
use super::auth::RawAuth;
use super::secret::Secret;
use crate::domain::setting::DurationSetting;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDatabase {
    /// `sqlite://FILE`, `sqlite::memory:` or `postgresql://user:password@host:5432/name`; chooses the backend.
    #[schema(value_type = Option<String>, write_only)]
    pub(super) url: Option<Secret>,
    #[serde(rename = "type")]
    #[schema(ignore)]
    pub(super) kind: Option<DatabaseType>,
    /// Connections that read.
    #[schema(minimum = 1)]
    pub(super) pool_size: Option<u32>,
    /// Further ones, on a server.
    pub(super) max_overflow: Option<u32>,
    /// Whether a connection to a server is tried before it is used.
    pub(super) pool_pre_ping: Option<bool>,
    /// Whether every statement is logged.
    pub(super) echo: Option<bool>,
}

/// `database.type`: only compared with the url.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DatabaseType {
    Sqlite,
    #[serde(alias = "postgres")]
    Postgresql,
}

impl DatabaseType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMonitoring {
    pub(super) check_history_days: Option<u32>,
    pub(super) cleanup_interval: Option<DurationSetting>,
    pub(super) max_concurrent_checks: Option<AutoOr>,
    pub(super) max_checks_per_host: Option<u32>,
    pub(super) hourly_rollup_days: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApi {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) workers: Option<AutoOr>,
    pub(super) max_connections: Option<AutoOr>,
    pub(super) cors: Option<RawCors>,
    pub(super) auth: Option<RawAuth>,
    pub(super) tls: Option<RawTls>,
    pub(super) rate_limit: Option<RawRateLimit>,
    pub(super) trusted_proxies: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCors {
    pub(super) enabled: Option<bool>,
    pub(super) allow_origins: Option<Vec<String>>,
    pub(super) allow_credentials: Option<bool>,
    pub(super) allow_methods: Option<Vec<String>>,
    pub(super) allow_headers: Option<Vec<String>>,
}

/// The keys of the channels are read elsewhere ([`super::channels`]), those with another name have moved to
/// `defaults` by now ([`super::original`]).
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNotifications {
    pub(super) enabled: Option<bool>,
    cooldown_seconds: Option<IgnoredAny>,
    send_recovery: Option<IgnoredAny>,
    email: Option<IgnoredAny>,
    webhook: Option<IgnoredAny>,
    telegram: Option<IgnoredAny>,
}

/// `auto` or a whole number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoOr {
    Auto,
    Number(u64),
}

impl<'de> Deserialize<'de> for AutoOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = AutoOr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` or a whole number")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AutoOr, E> {
                Ok(AutoOr::Number(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AutoOr, E> {
                match text.trim() {
                    "auto" => Ok(AutoOr::Auto),
                    number => number
                        .parse()
                        .map(AutoOr::Number)
                        .map_err(|_| E::custom(format!("`{text}` is not `auto` or a whole number"))),
                }
            }
        }
        deserializer.deserialize_any(V)
    }
}
