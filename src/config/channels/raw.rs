//! Channels as they are written, each key optional.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::TelegramParseMode;
use crate::config::Secret;
use crate::domain::notification::Severity;
use crate::domain::setting::DurationSetting;

/// `type`
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Console,
    Email,
    Webhook,
    Telegram,
    Slack,
}

/// What a channel of any type has.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCommon {
    #[serde(rename = "type")]
    pub(super) kind: Option<Type>,
    pub(super) enabled: Option<bool>,
    pub(super) default: Option<bool>,
    pub(super) severity: Option<Severity>,
    pub(super) fallback: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConsole {}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEmail {
    pub(super) smtp_host: Option<String>,
    pub(super) smtp_port: Option<u16>,
    pub(super) smtp_use_tls: Option<bool>,
    pub(super) smtp_user: Option<String>,
    pub(super) smtp_password: Option<Secret>,
    pub(super) from_addr: Option<String>,
    pub(super) from_name: Option<String>,
    pub(super) to_addrs: Option<Addresses>,
    pub(super) subject_template: Option<String>,
    pub(super) body_template: Option<String>,
    pub(super) ca_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWebhook {
    pub(super) url: Option<Secret>,
    pub(super) method: Option<String>,
    pub(super) headers: Option<BTreeMap<String, Secret>>,
    pub(super) retry_count: Option<u32>,
    pub(super) retry_delay: Option<DurationSetting>,
    pub(super) timeout: Option<DurationSetting>,
    pub(super) payload_template: Option<String>,
    pub(super) recovery_template: Option<String>,
    pub(super) secret: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTelegram {
    pub(super) bot_token: Option<Secret>,
    pub(super) chat_id: Option<ChatId>,
    pub(super) topic_id: Option<i32>,
    pub(super) message_template: Option<String>,
    pub(super) parse_mode: Option<TelegramParseMode>,
    pub(super) api_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSlack {
    pub(super) url: Option<Secret>,
}

/// A number, or `@name`, as it is written.
pub(super) struct ChatId(pub(super) String);

impl<'de> Deserialize<'de> for ChatId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = ChatId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a chat: a number such as -1001234567890, or the @name of a channel")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ChatId, E> {
                Ok(ChatId(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ChatId, E> {
                Ok(ChatId(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ChatId, E> {
                Ok(ChatId(number.to_string()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Mail addresses: a list, or one text with commas, as a variable of the environment has them.
#[derive(Default)]
pub(super) struct Addresses(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Addresses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of mail addresses")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Addresses(parts.map(str::to_owned).collect()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(address) = items.next_element::<String>()? {
                    addresses.push(address.trim().to_owned());
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for TelegramParseMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.trim().to_ascii_lowercase().as_str() {
            "markdown" => Ok(Self::Markdown),
            "markdownv2" => Ok(Self::MarkdownV2),
            "html" => Ok(Self::Html),
            "none" | "" => Ok(Self::None),
            _ => Err(de::Error::unknown_variant(&word, &["Markdown", "MarkdownV2", "HTML", "none"])),
        }
    }
}
