//! From what is written of a channel to its [`Transport`]: the defaults, and the rules of the values. What must be
//! there at all is in [`needs`]; a value is only judged where it is set.

mod presets;

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::raw::{RawConsole, RawEmail, RawTelegram, RawWebhook, Type};
use super::{EmailConfig, SmtpSecurity, TelegramConfig, TelegramParseMode, Transport, WebhookConfig};
use crate::config::Secret;
use crate::config::de::typed_among;
use crate::config::fault::Keys;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::templates;
use crate::config::tree::{Node, Trail, Value};
use crate::config::validate::is_host;

/// Where mail goes through when nothing is said: it asks for a login.
pub const DEFAULT_SMTP_HOST: &str = "smtp.gmail.com";
pub const DEFAULT_SMTP_PORT: u16 = 587;
const MAX_TEMPLATE: usize = 65_536;

/// A transport, and the pointers of what had to be left out of it because it is mistaken.
pub(super) struct Read {
    pub(super) transport: Transport,
    pub(super) left_out: Vec<String>,
}

/// Reads the keys that the type of the channel has; `also` are known, but read by someone else. Values that are
/// not `judged` may be anything of the right form.
pub(super) fn read(
    kind: Type,
    node: &Node,
    path: &str,
    also: &'static [&'static str],
    judged: bool,
    report: &mut Report,
) -> Read {
    let section = &Section { path: path.to_owned(), node: Some(node) };
    let at = Trail::Key(&Trail::Root, path);
    let mut unheard = Report::default();
    macro_rules! with {
        ($raw:ty, $make:expr) => {{
            let read = typed_among::<$raw>(node, Keys { also, without: &[] }, &at, report);
            let report = if judged { report } else { &mut unheard };
            Read { transport: $make(read.value, section, report), left_out: read.left_out }
        }};
    }
    match kind {
        Type::Console => with!(RawConsole, |_, _: &Section<'_>, _: &mut Report| Transport::Console),
        Type::Email => with!(RawEmail, email),
        Type::Webhook => with!(RawWebhook, webhook),
        Type::Telegram => with!(RawTelegram, telegram),
        Type::Preset(name) => presets::read(name, section, also, judged, report),
    }
}

/// The keys that every channel of the type has; those of presets are in their files.
pub(super) fn always(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Console | Type::Preset(_) => &[],
        Type::Email => &["to_addrs"],
        Type::Webhook => &["url"],
        Type::Telegram => &["bot_token", "chat_id"],
    }
}

/// The keys without which a channel cannot work and that are not there, each with how it is named to a person; an
/// allowed unset variable is there.
pub(super) fn needs(kind: Type, node: &Node) -> Vec<(String, String)> {
    let absent = |key: &str| node.get(key).is_none_or(|value| is_empty(value) && !value.has_missing());
    if let Type::Preset(name) = kind {
        return presets::needs(name, &|key| !absent(key));
    }
    let mut needed = always(kind).to_vec();
    if kind == Type::Email {
        if absent("smtp_host") {
            // The default one lets nobody send without a login.
            needed.push("smtp_host");
        }
        if !absent("smtp_user") {
            needed.push("smtp_password");
            needed.retain(|key| *key != "smtp_host");
        } else if !absent("smtp_password") {
            needed.push("smtp_user");
        }
        let user_is_address = matches!(node.get("smtp_user").map(|n| &n.value), Some(Value::Scalar(s)) if is_address(&s.text) || s.missing);
        if !user_is_address {
            needed.push("from_addr");
        }
    }
    needed.retain(|key| absent(key));
    needed.into_iter().map(|key| (key.to_owned(), format!("`{key}`"))).collect()
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.trim().is_empty() || scalar.is_null(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(entries) => entries.is_empty(),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn email(raw: RawEmail, section: &Section<'_>, report: &mut Report) -> Transport {
    let smtp_host = filled(raw.smtp_host).unwrap_or_else(|| DEFAULT_SMTP_HOST.to_owned());
    if !is_host(&smtp_host) {
        section.wrong("smtp_host", "is not a host name or an IP address, such as smtp.example.com", report);
    }
    let smtp_port = raw.smtp_port.unwrap_or(DEFAULT_SMTP_PORT);
    if smtp_port == 0 {
        section.wrong("smtp_port", "0 is out of range: 1 to 65535", report);
    }
    let security = match (raw.smtp_use_tls.unwrap_or(true), smtp_port) {
        (false, _) => SmtpSecurity::None,
        (true, 465) => SmtpSecurity::Tls,
        (true, _) => SmtpSecurity::StartTls,
    };
    let user = filled(raw.smtp_user);
    let password = raw.smtp_password.filter(|password| !password.expose().is_empty());
    let from_addr = filled(raw.from_addr).map(|address| address.trim().to_owned());
    if from_addr.as_deref().is_some_and(|address| !is_address(address)) {
        section.wrong("from_addr", "is not a mail address, such as monitor@example.com", report);
    }
    let from_addr = from_addr.or_else(|| user.clone().filter(|user| is_address(user))).unwrap_or_default();
    let from_name = raw.from_name.unwrap_or_else(|| "API Monitor".to_owned());
    if from_name.len() > 200 || from_name.chars().any(char::is_control) {
        section.wrong("from_name", "is one line of at most 200 bytes", report);
    }
    let mut to_addrs: Vec<String> = Vec::new();
    for (i, address) in raw.to_addrs.unwrap_or_default().0.into_iter().enumerate() {
        if !is_address(&address) {
            section.wrong_item(
                "to_addrs",
                i,
                format!("`{address}` is not a mail address, such as ops@example.com"),
                report,
            );
        } else if !to_addrs.contains(&address) {
            to_addrs.push(address);
        }
    }
    if to_addrs.len() > 100 {
        section.wrong("to_addrs", "has too many addresses: at most 100", report);
    }
    Transport::Email(Box::new(EmailConfig {
        smtp_host,
        smtp_port,
        security,
        login: user.zip(password),
        from_addr,
        from_name,
        to_addrs,
        subject_template: template(raw.subject_template, "subject_template", section, report),
        body_template: template(raw.body_template, "body_template", section, report),
        ca_file: filled(raw.ca_file),
    }))
}

/// `local@domain`, as much of the standard as occurs: without quotes and comments.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_dotted = |text: &str| !text.is_empty() && text.split('.').all(|part| !part.is_empty());
    let is_local = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let is_domain = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    is_dotted(local)
        && local.len() <= 64
        && local.chars().all(is_local)
        && is_dotted(domain)
        && domain.len() <= 253
        && domain.chars().all(is_domain)
        && domain.split('.').all(|label| !label.starts_with('-') && !label.ends_with('-'))
}

fn webhook(raw: RawWebhook, section: &Section<'_>, report: &mut Report) -> Transport {
    let method = filled(raw.method).map_or_else(|| "POST".to_owned(), |method| method.trim().to_ascii_uppercase());
    if method.len() > 40 || http::Method::from_bytes(method.as_bytes()).is_err() {
        section.wrong("method", "is not an HTTP method: POST, PUT, …", report);
    }
    let timeout = raw.timeout.map_or(Duration::from_secs(10), |d| d.0);
    if timeout < Duration::from_millis(1) || timeout > Duration::from_secs(300) {
        section.wrong("timeout", "must be 1 ms to 5 minutes", report);
    }
    let retry_delay = raw.retry_delay.map_or(Duration::from_secs(5), |d| d.0);
    if retry_delay > Duration::from_secs(300) {
        section.wrong("retry_delay", "must be at most 5 minutes", report);
    }
    Transport::Webhook(Box::new(WebhookConfig {
        url: web_address(raw.url, "url", section, report),
        method,
        headers: headers(raw.headers.unwrap_or_default(), section, report),
        retry_count: section.in_range("retry_count", raw.retry_count, 3, 1, 10, report),
        retry_delay,
        timeout,
        payload_template: template(raw.payload_template, "payload_template", section, report),
        recovery_template: template(raw.recovery_template, "recovery_template", section, report),
        secret: raw.secret.filter(|secret| !secret.expose().is_empty()),
    }))
}

fn headers(headers: BTreeMap<String, Secret>, section: &Section<'_>, report: &mut Report) -> BTreeMap<String, Secret> {
    for (name, value) in &headers {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            section.wrong_entry("headers", name, "is not a header name", report);
        } else if value.expose().len() > 16_384 || http::HeaderValue::from_str(value.expose()).is_err() {
            let message = "a header value has no line breaks and at most 16,384 bytes";
            section.wrong_entry("headers", name, message, report);
        }
    }
    if headers.len() > 100 {
        section.wrong("headers", "too many headers: at most 100", report);
    }
    headers
}

fn telegram(raw: RawTelegram, section: &Section<'_>, report: &mut Report) -> Transport {
    let bot_token = raw.bot_token.unwrap_or_else(|| Secret::new(""));
    if !bot_token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b)) {
        section.wrong("bot_token", "is not a token of @BotFather, such as 123456:ABC-def_1", report);
    }
    let chat_id = raw.chat_id.map(|id| id.0.trim().to_owned()).unwrap_or_default();
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !chat_id.is_empty() && chat_id.parse::<i64>().is_err() && !chat_id.strip_prefix('@').is_some_and(is_name) {
        section.wrong("chat_id", "is not a chat: a number such as -1001234567890, or the @name of a channel", report);
    }
    if raw.topic_id.is_some_and(|topic| topic < 1) {
        section.wrong("topic_id", "must be at least 1", report);
    }
    let api_url = filled(raw.api_url).unwrap_or_else(|| "https://api.telegram.org".to_owned());
    let api_url = web_address(Some(Secret::new(api_url)), "api_url", section, report).expose().to_owned();
    if Url::parse(&api_url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
        section.wrong("api_url", "must not hold user and password", report);
    }
    Transport::Telegram(Box::new(TelegramConfig {
        bot_token,
        chat_id,
        topic_id: raw.topic_id,
        message_template: template(raw.message_template, "message_template", section, report),
        parse_mode: raw.parse_mode.unwrap_or(TelegramParseMode::Markdown),
        api_url,
    }))
}

/// An http(s) address, empty where there is none. Never shown: it may hold a token.
fn web_address(text: Option<Secret>, key: &str, section: &Section<'_>, report: &mut Report) -> Secret {
    let text = Secret::new(text.as_ref().map_or("", |text| text.expose().trim()));
    if !text.expose().is_empty()
        && let Err(message) = parse_web_address(text.expose())
    {
        section.wrong(key, message, report);
    }
    text
}

/// An absolute http(s) URL. The message does not show it.
pub(in crate::config) fn parse_web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is not a URL ({e}): https://… is expected"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not a web address: it begins with https:// or http://".to_owned());
    }
    match url.host_str() {
        None | Some("") => Err("has no host".to_owned()),
        Some(_) if url.port() == Some(0) => Err("port 0 cannot be connected to".to_owned()),
        Some(_) if text.len() > 4000 => Err("too long: at most 4,000 bytes".to_owned()),
        Some(_) => Ok(url),
    }
}

fn template(text: Option<String>, key: &str, section: &Section<'_>, report: &mut Report) -> Option<String> {
    let text = filled(text)?;
    if text.len() > MAX_TEMPLATE {
        section.wrong(key, "too long: at most 64 KiB", report);
    }
    for unknown in templates::check(&text) {
        section.wrong_with_help(key, unknown.message, Some(unknown.help), report);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn mail_addresses_are_told_from_other_texts() {
        for good in ["ops@example.com", "a.b+c@sub.example.com", "root@localhost", "x@müller.example", "a@10.0.0.1"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "a b@example.com",
            "a@b@example.com",
            "a@example..com",
            "a@-example.com",
            ".a@example.com",
            "Ops <ops@example.com>",
            "a@example.com\r\nBcc: b@example.com",
            "a@example.com,b@example.com",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
