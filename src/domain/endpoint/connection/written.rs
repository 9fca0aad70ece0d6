//! The forms in which these settings are written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::MAX_NAMES;
use crate::domain::dial::{Auth, ClientCredentials, RedirectHosts};

/// Who we say that we are: one of these. It takes the place of a header `Authorization`. What is nearer replaces what is
/// inherited, `{}` is nobody.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicSettings>,
    /// A token. Write-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub bearer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Settings>,
}

impl AuthSettings {
    /// As it would be written, secrets in full.
    pub fn of(auth: &Auth) -> Self {
        match auth.clone() {
            Auth::Basic { username, password } => {
                Self { basic: Some(BasicSettings { username, password }), ..Self::default() }
            }
            Auth::Bearer(token) => Self { bearer: Some(token), ..Self::default() },
            Auth::OAuth2(ClientCredentials { token_url, client_id, client_secret, scopes }) => {
                let token_url = token_url.to_string();
                let oauth2 = OAuth2Settings { token_url, client_id, client_secret, scopes };
                Self { oauth2: Some(oauth2), ..Self::default() }
            }
        }
    }
}

/// User and password.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BasicSettings {
    #[schema(max_length = 4096)]
    pub username: String,
    /// Write-only.
    #[schema(max_length = 4096)]
    pub password: String,
}

/// A token that is asked for with client credentials (RFC 6749 section 4.4), and used until it ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth2Settings {
    /// Where tokens are given.
    pub token_url: String,
    #[schema(max_length = 4096)]
    pub client_id: String,
    /// Write-only.
    #[schema(max_length = 4096)]
    pub client_secret: String,
    #[schema(max_items = 100)]
    pub scopes: Vec<String>,
}

/// A version, which may be written as a number: `1.1`, `2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct VersionSetting(pub String);

impl<'de> Deserialize<'de> for VersionSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = VersionSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version, such as 1.1 or 2")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(VersionSetting(text.to_owned()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(VersionSetting(number.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(VersionSetting(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(VersionSetting(number.to_string()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for VersionSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String))
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .examples([serde_json::json!("1.1"), serde_json::json!(2)])
            .into()
    }
}

impl ToSchema for VersionSetting {
    fn name() -> Cow<'static, str> {
        "Version".into()
    }
}

/// `any`, `same`, or a list of host names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HostsSetting {
    Word(String),
    List(Vec<String>),
}

impl HostsSetting {
    pub fn of(hosts: &RedirectHosts) -> Self {
        match hosts {
            RedirectHosts::Any => Self::Word("any".to_owned()),
            RedirectHosts::Same => Self::Word("same".to_owned()),
            RedirectHosts::Listed(hosts) => Self::List(hosts.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for HostsSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = HostsSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any, same, or a list of host names")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(HostsSetting::Word(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut hosts = Vec::new();
                while let Some(host) = list.next_element()? {
                    hosts.push(host);
                }
                Ok(HostsSetting::List(hosts))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for HostsSetting {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        OneOfBuilder::new()
            .item(text().enum_values(Some(["any", "same"])))
            .item(ArrayBuilder::new().items(text()).min_items(Some(1)).max_items(Some(MAX_NAMES)))
            .into()
    }
}

impl ToSchema for HostsSetting {
    fn name() -> Cow<'static, str> {
        "RedirectHosts".into()
    }
}
