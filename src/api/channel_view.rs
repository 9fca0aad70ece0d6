//! How a channel is shown: its options without secrets, and how it does.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::channel_settings::ChannelSettings;
use crate::config::Secret;
use crate::config::channels::{
    ChannelConfig, EmailConfig, SmtpSecurity, TelegramConfig, TelegramParseMode, Transport, WebhookConfig,
};
use crate::domain::Timestamp;
use crate::domain::endpoint::Origin;
use crate::domain::notification::Severity;
use crate::domain::preset::{self, OptionKind};
use crate::service::channel_secrets::redacted;
use crate::service::channels::ChannelReport;
use crate::service::redaction::{HIDDEN, redacted_url};

/// How a channel does, from the attempts made through it since the start, or since it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelHealth {
    /// The last attempts failed.
    Failing,
    /// Nothing was sent through it.
    Unused,
    Working,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelItem {
    pub name: String,
    /// `console`, `email`, `telegram`, `webhook`, or the name of a preset such as `slack`. One of a later version may
    /// have another.
    #[serde(rename = "type")]
    #[schema(example = "webhook")]
    pub kind: String,
    enabled: bool,
    /// Whether endpoints that name no channel are told through it.
    default: bool,
    /// Tells only what is at least this severe; null: everything.
    severity: Option<Severity>,
    /// Channels through which a failure of this one is told; empty: every other one.
    fallback: Vec<String>,
    pub status: ChannelHealth,
    /// Since when it does not deliver.
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    last_error: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_attempt_at: Option<Timestamp>,
    /// Messages that wait to be delivered; null while the database is away.
    pending: Option<u64>,
    /// Messages that were given up; null while the database is away.
    dead: Option<u64>,
    origin: Origin,
    /// Where a configured channel is written.
    source: Option<String>,
    /// Null for a configured channel, as what follows.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// Counts changes; the `ETag`.
    revision: Option<i64>,
    /// What was set; may be sent back by PUT. Secrets read `***`.
    #[schema(value_type = Option<ChannelSettings>)]
    settings: Option<Map<String, Value>>,
    /// What applies for its transport; secrets, and templates that may hold some, read `***`.
    #[schema(value_type = Object)]
    options: Map<String, Value>,
}

impl From<&ChannelReport> for ChannelItem {
    fn from(report: &ChannelReport) -> Self {
        let ChannelConfig { name, origin, source, enabled, default, severity, fallback, transport } = &report.config;
        let made = report.made.as_ref();
        let status = report.status.clone().unwrap_or_default();
        Self {
            name: name.clone(),
            kind: transport.kind().to_owned(),
            enabled: *enabled,
            default: *default,
            severity: *severity,
            fallback: fallback.clone(),
            status: match &report.status {
                None => ChannelHealth::Unused,
                Some(status) if status.failing_since.is_some() => ChannelHealth::Failing,
                Some(_) => ChannelHealth::Working,
            },
            failing_since: status.failing_since,
            last_error: status.last_error,
            last_attempt_at: status.last_attempt_at,
            pending: report.undelivered.map(|of| of.pending),
            dead: report.undelivered.map(|of| of.dead),
            origin: *origin,
            source: source.clone(),
            created_at: made.map(|made| made.created_at),
            updated_at: made.map(|made| made.updated_at),
            revision: made.map(|made| made.revision),
            settings: made.map(|made| redacted(&made.settings)),
            options: options(transport),
        }
    }
}

/// Everything that is a secret, or often holds one, is hidden; what is not set is null.
fn options(transport: &Transport) -> Map<String, Value> {
    let shown = match transport {
        Transport::Console | Transport::Unreadable { .. } => json!({}),
        Transport::Email(email) => email_options(email),
        Transport::Telegram(telegram) => telegram_options(telegram),
        Transport::Webhook(webhook) => webhook_options(webhook),
        Transport::Preset { preset, options } => preset_options(preset, options),
    };
    match shown {
        Value::Object(options) => options,
        _ => Map::new(),
    }
}

/// The sign of a secret that is set.
fn hidden<T>(secret: Option<&T>) -> Option<&'static str> {
    secret.map(|_| HIDDEN)
}

fn email_options(email: &EmailConfig) -> Value {
    let EmailConfig {
        smtp_host,
        smtp_port,
        security,
        login,
        from_addr,
        from_name,
        to_addrs,
        subject_template,
        body_template,
        ca_file,
    } = email;
    let security = match security {
        SmtpSecurity::StartTls => "starttls",
        SmtpSecurity::Tls => "tls",
        SmtpSecurity::None => "none",
    };
    json!({
        "smtp_host": smtp_host,
        "smtp_port": smtp_port,
        "security": security,
        "smtp_user": login.as_ref().map(|(user, _)| user),
        "smtp_password": hidden(login.as_ref()),
        "from_addr": from_addr,
        "from_name": from_name,
        "to_addrs": to_addrs,
        "subject_template": subject_template,
        "body_template": body_template,
        "ca_file": ca_file,
    })
}

fn telegram_options(telegram: &TelegramConfig) -> Value {
    let TelegramConfig { bot_token: _, chat_id, topic_id, message_template, parse_mode, api_url } = telegram;
    let parse_mode = match parse_mode {
        TelegramParseMode::Markdown => "Markdown",
        TelegramParseMode::MarkdownV2 => "MarkdownV2",
        TelegramParseMode::Html => "HTML",
        TelegramParseMode::None => "none",
    };
    json!({
        "bot_token": HIDDEN,
        "chat_id": chat_id,
        "topic_id": topic_id,
        "message_template": message_template,
        "parse_mode": parse_mode,
        "api_url": redacted_url(api_url),
    })
}

/// Numbers as numbers; everything is hidden of which it is not known that it is no secret.
fn preset_options(name: &str, options: &BTreeMap<String, Secret>) -> Value {
    let found = preset::find(name).and_then(Result::ok);
    let shown = options.iter().map(|(key, value)| {
        let option = found.as_ref().and_then(|preset| preset.option(key)).filter(|option| !option.secret);
        let value = match option {
            None => json!(HIDDEN),
            Some(option) if option.kind == OptionKind::Integer => {
                value.expose().parse::<i64>().map_or_else(|_| json!(value.expose()), |number| json!(number))
            }
            Some(option) if option.kind == OptionKind::Url => json!(redacted_url(value.expose())),
            Some(_) => json!(value.expose()),
        };
        (key.clone(), value)
    });
    Value::Object(shown.collect())
}

/// Templates of webhooks hold routing keys of the services that take them, so they are hidden too.
fn webhook_options(webhook: &WebhookConfig) -> Value {
    let WebhookConfig {
        url: _,
        method,
        headers,
        retry_count,
        retry_delay,
        timeout,
        payload_template,
        recovery_template,
        secret,
    } = webhook;
    let headers: Map<String, Value> = headers.keys().map(|name| (name.clone(), json!(HIDDEN))).collect();
    json!({
        "url": HIDDEN,
        "method": method,
        "headers": headers,
        "retry_count": retry_count,
        "retry_delay": retry_delay.as_secs_f64(),
        "timeout": timeout.as_secs_f64(),
        "payload_template": hidden(payload_template.as_ref()),
        "recovery_template": hidden(recovery_template.as_ref()),
        "secret": hidden(secret.as_ref()),
    })
}
