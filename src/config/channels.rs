//! What a configured channel is, with every default applied. `read` makes these; `notify` builds from them.

mod made;
mod raw;
mod read;
mod transports;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::made::{MadeChannel, Mistake, Settings, as_far_as_possible, read_made};
pub use self::transports::{DEFAULT_SMTP_HOST, DEFAULT_SMTP_PORT};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::raw::{RawCommon, RawConsole, RawEmail, RawTelegram, RawWebhook, Type};
pub(super) use self::read::{Channels, read};
pub(super) use self::transports::parse_web_address;
use super::Secret;
use super::schemas::schema_of;
use crate::domain::endpoint::Origin;
use crate::domain::notification::Severity;
use crate::domain::preset;

/// Where to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelConfig {
    /// Unique; the key under `channels:`, or `email`, `webhook`, `telegram` of `notifications:`.
    pub name: String,
    /// Those made through the API obey `outbound`.
    pub origin: Origin,
    /// File and line of a configured one.
    pub source: Option<String>,
    /// Of a channel that is off, the transport may lack what it needs and its values are not checked.
    pub enabled: bool,
    /// Whether endpoints that name no channel are told through it.
    pub default: bool,
    /// Tell only what is at least this severe. `None`: everything.
    pub severity: Option<Severity>,
    /// Channels through which a failure of this one is told. Empty: every other one.
    pub fallback: Vec<String>,
    pub transport: Transport,
}

/// How a channel delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// Prints on standard output.
    Console,
    Email(Box<EmailConfig>),
    Telegram(Box<TelegramConfig>),
    Webhook(Box<WebhookConfig>),
    /// A data file of `notify/presets/` with its options, for example `slack` with `url`; those that are not set and
    /// have a default, with that.
    Preset {
        preset: String,
        options: BTreeMap<String, Secret>,
    },
    /// What was stored of a channel made through the API, and breaks a rule of this version. It delivers nothing.
    Unreadable {
        /// Its `type`, as it is stored.
        kind: String,
        /// Without secrets.
        why: String,
    },
}

/// A channel of each type that is not a preset: the word in `type`, what it does, what can be set for it.
pub(super) fn schemas() -> Vec<(&'static str, &'static str, Value)> {
    let of = |name, kind, about, schema| (name, about, with_common(name, schema, transports::always(kind)));
    vec![
        of("console", Type::Console, "Prints on standard output", schema_of::<RawConsole>()),
        of("email", Type::Email, "Sends mail through an SMTP server", schema_of::<RawEmail>()),
        of("webhook", Type::Webhook, "Sends an HTTP request with a body of one's own form", schema_of::<RawWebhook>()),
        of("telegram", Type::Telegram, "Sends messages as a bot of Telegram", schema_of::<RawTelegram>()),
    ]
}

/// The schema of a transport's own keys with those that every channel has, of which `type` says which transport.
pub(super) fn with_common(name: &str, mut schema: Value, required: &[&str]) -> Value {
    let mut common = schema_of::<RawCommon>();
    let required: Vec<&str> = std::iter::once("type").chain(required.iter().copied()).collect();
    for part in ["properties", "$defs"] {
        let Value::Object(mut all) = common[part].take() else { continue };
        if let Value::Object(own) = schema[part].take() {
            all.extend(own);
        }
        schema[part] = Value::Object(all);
    }
    schema["properties"]["type"] = json!({ "const": name });
    schema["required"] = json!(required);
    schema["additionalProperties"] = json!(false);
    schema
}

impl Transport {
    /// What `type` says.
    pub fn kind(&self) -> &str {
        match self {
            Self::Console => "console",
            Self::Email(_) => "email",
            Self::Telegram(_) => "telegram",
            Self::Webhook(_) => "webhook",
            Self::Preset { preset, .. } => preset,
            Self::Unreadable { kind, .. } => kind,
        }
    }

    /// Whether the other side opens and resolves incidents of its own by a key, so that every message must reach it
    /// by itself: none of them is grouped with others.
    pub fn has_life_cycle(&self) -> bool {
        match self {
            Self::Preset { preset, .. } => {
                preset::find(preset).is_some_and(|found| found.is_ok_and(|preset| preset.life_cycle))
            }
            _ => false,
        }
    }
}

/// How the connection to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Plain, then upgraded; refused when the server cannot. The default, `smtp_use_tls: true`.
    StartTls,
    /// From the first byte; the default on port 465.
    Tls,
    /// `smtp_use_tls: false`.
    None,
}

/// `type: email`
#[derive(Debug, Clone, PartialEq)]
pub struct EmailConfig {
    pub smtp_host: String,
    pub smtp_port: u16,
    pub security: SmtpSecurity,
    /// User and password.
    pub login: Option<(String, Secret)>,
    pub from_addr: String,
    pub from_name: String,
    /// At least one, each once.
    pub to_addrs: Vec<String>,
    /// Of down messages; `None`: our own.
    pub subject_template: Option<String>,
    pub body_template: Option<String>,
    /// A PEM file of further trusted authorities.
    pub ca_file: Option<String>,
}

/// `type: telegram`
#[derive(Debug, Clone, PartialEq)]
pub struct TelegramConfig {
    pub bot_token: Secret,
    /// A number, or `@name`.
    pub chat_id: String,
    pub topic_id: Option<i32>,
    /// Of down messages; `None`: our own.
    pub message_template: Option<String>,
    pub parse_mode: TelegramParseMode,
    pub api_url: String,
}

/// How Telegram reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum TelegramParseMode {
    Markdown,
    MarkdownV2,
    #[serde(rename = "HTML")]
    Html,
    #[serde(rename = "none")]
    None,
}

/// `type: webhook`
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookConfig {
    /// May hold a token, so it is a secret.
    pub url: Secret,
    pub method: String,
    pub headers: BTreeMap<String, Secret>,
    /// Fast attempts `retry_delay` apart, before the backoff of deliveries; at least 1.
    pub retry_count: u32,
    pub retry_delay: Duration,
    pub timeout: Duration,
    /// Of down messages; `None`: the default JSON body.
    pub payload_template: Option<String>,
    /// Of recoveries; `None`: `payload_template` with the recovery's words.
    pub recovery_template: Option<String>,
    /// Signs by the Standard Webhooks scheme.
    pub secret: Option<Secret>,
}
