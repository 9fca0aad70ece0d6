//! Environment variables that set keys, laid over what the files say: `API_MONITOR__SECTION__KEY` for any key,
//! and the names the original system used.

use super::env::Environment;
use super::original;
use super::report::Report;
use super::tree::{Entry, Key, Node, Place, Scalar, Value};

const PREFIX: &str = "API_MONITOR__";

/// The original's names with the keys they set. A later one wins over an earlier one of the same key.
const ORIGINAL_NAMES: [(&str, &str); 23] = [
    ("DATABASE_URL", "database.url"),
    ("DB_POOL_SIZE", "database.pool_size"),
    ("DB_MAX_OVERFLOW", "database.max_overflow"),
    ("DB_ECHO", "database.echo"),
    ("LOG_LEVEL", "logging.level"),
    ("LOG_FORMAT", "logging.format"),
    ("API_HOST", "api.host"),
    ("PORT", "api.port"),
    ("API_PORT", "api.port"),
    ("API_AUTH_ENABLED", "api.auth.enabled"),
    ("API_AUTH_API_KEY", "api.auth.api_key"),
    ("API_KEY", "api.auth.api_key"),
    ("PROMETHEUS_ENABLED", "prometheus.enabled"),
    ("PROMETHEUS_PORT", "prometheus.port"),
    ("SMTP_HOST", "notifications.email.smtp_host"),
    ("SMTP_PORT", "notifications.email.smtp_port"),
    ("SMTP_USER", "notifications.email.smtp_user"),
    ("SMTP_PASSWORD", "notifications.email.smtp_password"),
    ("EMAIL_FROM", "notifications.email.from_addr"),
    ("EMAIL_TO", "notifications.email.to_addrs"),
    ("WEBHOOK_URL", "notifications.webhook.url"),
    ("TELEGRAM_BOT_TOKEN", "notifications.telegram.bot_token"),
    ("TELEGRAM_CHAT_ID", "notifications.telegram.chat_id"),
];

/// Variables that hold a port and whose names container links use as well.
const PORTS: [&str; 4] = ["API_PORT", "PORT", "SMTP_PORT", "PROMETHEUS_PORT"];

/// The environment without `API_PORT=tcp://10.0.0.7:8000`, as it is put into containers beside one named `api`.
pub(super) fn without_container_links(environment: &Environment, report: &mut Report) -> Environment {
    environment.without(|name, value| {
        let link = PORTS.contains(&name) && value.starts_with("tcp://");
        if link {
            let message = "is ignored: a tcp:// address is a container link, not a port";
            report.warn(&Place::of_variable(name), "", message);
        }
        link
    })
}

/// Lays the variables over `root`. Keys that do not exist are found later, when the tree is read.
pub(super) fn apply(root: &mut Node, environment: &Environment, report: &mut Report) {
    for (name, path) in ORIGINAL_NAMES {
        if let Some(value) = environment.get_filled(name)
            && !(path.starts_with("notifications.") && channels_use(root, name))
        {
            set(root, name, path.split('.'), value, report);
        }
    }
    for (name, value) in environment.iter() {
        let Some(segments) = name.strip_prefix(PREFIX) else { continue };
        if value.trim().is_empty() {
            continue;
        }
        let segments: Vec<String> = segments.split("__").map(str::to_lowercase).collect();
        if segments.iter().any(String::is_empty) {
            let message = "is not API_MONITOR__SECTION__KEY: a part of the name is empty";
            report.error(&Place::of_variable(name), "", message);
            continue;
        }
        let segments = original::without_alias(segments);
        set(root, name, segments.iter().map(String::as_str), value, report);
    }
}

/// Whether a channel of `channels:` has its value by `${NAME}`: the variable then does not make a second channel,
/// through which everything would be told twice.
fn channels_use(root: &Node, name: &str) -> bool {
    let mut used = false;
    if let Some(channels) = root.get("channels") {
        channels.for_each_scalar(&mut |scalar| {
            used |= scalar.written.as_ref().is_some_and(|written| {
                written
                    .match_indices(&format!("${{{name}"))
                    .any(|(at, start)| written[at + start.len()..].starts_with(['}', ':']))
            });
        });
    }
    used
}

/// The name of the variable that sets a key, the original's if it has one.
pub(super) fn shortest_name_of(path: &str) -> String {
    let original = ORIGINAL_NAMES.iter().find(|(_, key)| *key == path);
    original.map_or_else(|| variable_of(path), |(name, _)| (*name).to_owned())
}

fn set<'p>(root: &mut Node, name: &str, path: impl Iterator<Item = &'p str> + Clone, value: &str, report: &mut Report) {
    let place = Place::of_variable(name);
    let shown = path.clone().collect::<Vec<_>>().join(".");
    let mut node = root;
    let mut parent = String::new();
    for segment in path {
        if node.is_null() {
            node.value = Value::Mapping(Vec::new());
        }
        let kind = node.kind();
        let Value::Mapping(entries) = &mut node.value else {
            let message = format!("cannot be set by a variable: `{parent}` is {kind}");
            report.error(&place, shown, message);
            return;
        };
        let index = entries.iter().position(|e| normalised(&e.key.text) == normalised(segment)).unwrap_or_else(|| {
            // Header names have hyphens, names of variables cannot.
            let text = if parent == "headers" { segment.replace('_', "-") } else { segment.to_owned() };
            let key = Key { text, place: place.clone() };
            entries.push(Entry { key, value: Node::scalar(place.clone(), "") });
            entries.len() - 1
        });
        node = &mut entries[index].value;
        segment.clone_into(&mut parent);
    }
    // As if substituted: a variable is never null, a key may well be `null`.
    let scalar = Scalar { written: Some(value.to_owned()), ..Scalar::plain(value) };
    *node = Node { place, value: Value::Scalar(scalar) };
}

/// Names of variables know neither case nor hyphens.
fn normalised(key: &str) -> String {
    key.replace('-', "_").to_lowercase()
}

/// A key as the name of the variable that would set it.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").replace('-', "_").to_uppercase())
}
