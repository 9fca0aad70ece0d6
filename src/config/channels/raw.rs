//! Channels as they are written, each key optional.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TelegramParseMode;
use crate::config::Secret;
use crate::domain::notification::Severity;
use crate::domain::preset;
use crate::domain::setting::DurationSetting;

/// `type`
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Console,
    Email,
    Webhook,
    Telegram,
    /// By its name.
    Preset(&'static str),
}

/// The words in `type`: the transports, then the presets.
pub(super) const TYPES: [&str; 16] = [
    "console",
    "email",
    "webhook",
    "telegram",
    "slack",
    "discord",
    "teams",
    "mattermost",
    "google_chat",
    "matrix",
    "ntfy",
    "gotify",
    "pushover",
    "pagerduty",
    "alertmanager",
    "twilio_sms",
];

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            "console" => Ok(Self::Console),
            "email" => Ok(Self::Email),
            "webhook" => Ok(Self::Webhook),
            "telegram" => Ok(Self::Telegram),
            word => match preset::names().find(|name| *name == word) {
                Some(name) => Ok(Self::Preset(name)),
                None => Err(de::Error::unknown_variant(word, &TYPES)),
            },
        }
    }
}

/// What a channel of any type has.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCommon {
    #[serde(rename = "type")]
    #[schema(ignore)]
    pub(super) kind: Option<Type>,
    /// Whether messages go through it.
    pub(super) enabled: Option<bool>,
    /// Whether it belongs to the default route.
    pub(super) default: Option<bool>,
    /// The least severity that it takes.
    pub(super) severity: Option<Severity>,
    /// Channels that are told instead while this one fails.
    pub(super) fallback: Option<Vec<String>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConsole {}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEmail {
    /// Default `smtp.gmail.com`, which needs a login.
    pub(super) smtp_host: Option<String>,
    /// 1 to 65535. Default 587.
    #[schema(minimum = 1)]
    pub(super) smtp_port: Option<u16>,
    /// Default true: TLS from the first byte on port 465, else STARTTLS.
    pub(super) smtp_use_tls: Option<bool>,
    /// With `smtp_password`: a login.
    pub(super) smtp_user: Option<String>,
    /// Of `smtp_user`.
    #[schema(value_type = Option<String>, write_only)]
    pub(super) smtp_password: Option<Secret>,
    /// Default: `smtp_user`, if it is a mail address.
    pub(super) from_addr: Option<String>,
    /// Default `API Monitor`.
    #[schema(max_length = 200)]
    pub(super) from_name: Option<String>,
    /// Who gets the mail, 1 to 100 addresses.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 100)]
    pub(super) to_addrs: Option<Addresses>,
    /// Of messages that something is down.
    pub(super) subject_template: Option<String>,
    /// Of messages that something is down.
    pub(super) body_template: Option<String>,
    /// A PEM file of further trusted authorities.
    pub(super) ca_file: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWebhook {
    /// Where the message goes. Shown as `***`: it may hold a token.
    #[schema(value_type = Option<String>, write_only)]
    pub(super) url: Option<Secret>,
    /// Default POST.
    pub(super) method: Option<String>,
    /// Values are shown as `***`.
    #[schema(value_type = Option<BTreeMap<String, String>>, write_only)]
    pub(super) headers: Option<BTreeMap<String, Secret>>,
    /// Attempts at once, before the longer pauses of deliveries. Default 3.
    #[schema(minimum = 1, maximum = 10)]
    pub(super) retry_count: Option<u32>,
    /// Between them, at most 5 minutes. Default 5 s.
    pub(super) retry_delay: Option<DurationSetting>,
    /// Of an attempt, 1 ms to 5 minutes. Default 10 s.
    pub(super) timeout: Option<DurationSetting>,
    /// Of messages that something is down; default: a JSON document of all facts.
    pub(super) payload_template: Option<String>,
    /// Of messages that something is up again.
    pub(super) recovery_template: Option<String>,
    /// Signs by the Standard Webhooks scheme.
    #[schema(value_type = Option<String>, write_only)]
    pub(super) secret: Option<Secret>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTelegram {
    /// From @BotFather.
    #[schema(value_type = Option<String>, write_only)]
    pub(super) bot_token: Option<Secret>,
    /// A number, or the @name of a channel.
    #[schema(value_type = Option<String>)]
    pub(super) chat_id: Option<ChatId>,
    /// A topic of the chat.
    #[schema(minimum = 1)]
    pub(super) topic_id: Option<i32>,
    /// Of messages that something is down.
    pub(super) message_template: Option<String>,
    /// `Markdown` (default), `MarkdownV2`, `HTML` or `none`.
    #[schema(inline)]
    pub(super) parse_mode: Option<TelegramParseMode>,
    /// Default `https://api.telegram.org`.
    pub(super) api_url: Option<String>,
}

/// A number, or `@name`, as it is written.
#[derive(Serialize)]
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
#[derive(Default, Serialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_type() {
        assert_eq!(TYPES[4..], preset::names().collect::<Vec<_>>());
    }
}
