//! Channels made through the API: their settings are JSON with the keys that a channel of the file has, and are read
//! by its rules.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::read::{mistaken_name, read_sent};
use super::{ChannelConfig, Transport};
use crate::config::errors::ConfigError;
use crate::config::report::Report;
use crate::config::tree::{Entry, Key, Node, Place, Scalar, Value};
use crate::domain::Timestamp;
use crate::domain::endpoint::Origin;
use crate::domain::pointer;

/// What was set of a channel, by the keys of the file, without its name. Holds secrets.
pub type Settings = Map<String, Json>;

/// What is known of a channel made through the API beside what its settings mean. `Debug` leaves the settings out.
#[derive(Clone, PartialEq)]
pub struct MadeChannel {
    pub settings: Settings,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// 1 when made, then one more with every change.
    pub revision: i64,
}

impl fmt::Debug for MadeChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeChannel").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// One mistake in the settings of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// JSON pointer into the settings.
    pub pointer: String,
    /// `required`, `invalid`, `out_of_range` or `unknown`.
    pub rule: &'static str,
    /// What is wrong and what would be right, without secrets.
    pub detail: String,
}

/// The most mistakes told at once.
const MAX_MISTAKES: usize = 100;

/// Reads a channel by the rules of those in the file. `others` are the names of the channels that it may fall back
/// to; `None`: whatever it says.
///
/// # Errors
/// Every mistake.
pub fn read_made(name: &str, settings: &Settings, others: Option<&[String]>) -> Result<ChannelConfig, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    if let Some(message) = mistaken_name(name) {
        mistakes.push(Mistake { pointer: "/name".to_owned(), rule: "invalid", detail: message.to_owned() });
    }
    let mut pointers = Vec::new();
    let node = node_of_mapping(settings, "", &mut pointers);
    mistakes.extend(pointers.into_iter().map(|pointer| Mistake {
        pointer,
        rule: "invalid",
        detail: "must not contain the character U+0000".to_owned(),
    }));
    let mut report = Report::default();
    // Under a name that keeps the rules, so that nothing is said of it twice.
    let name = if mistakes.is_empty() { name } else { "unnamed" };
    let read = read_sent(name, node, others, &mut report);
    for error in report.errors {
        let mistake = mistake_of(&error, name);
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
    mistakes.truncate(MAX_MISTAKES);
    match read {
        Some(channel) if mistakes.is_empty() => Ok(channel),
        _ => Err(mistakes),
    }
}

/// A stored channel that breaks a rule of this version, with what can be known of it.
pub fn as_far_as_possible(name: &str, settings: &Settings, why: String) -> ChannelConfig {
    let text = |key: &str| settings.get(key).and_then(Json::as_str);
    let yes = |key: &str| settings.get(key).and_then(Json::as_bool).unwrap_or(true);
    let fallback = settings.get("fallback").and_then(Json::as_array);
    ChannelConfig {
        name: name.to_owned(),
        origin: Origin::Api,
        source: None,
        enabled: yes("enabled"),
        default: yes("default"),
        severity: text("severity").and_then(|word| word.parse().ok()),
        fallback: fallback.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect(),
        transport: Transport::Unreadable { kind: text("type").unwrap_or_default().to_owned(), why },
    }
}

fn mistake_of(error: &ConfigError, name: &str) -> Mistake {
    let detail = match &error.help {
        Some(help) => format!("{}: {help}", error.message),
        None => error.message.clone(),
    };
    // A key that is missing stands nowhere; its path says which it is.
    let missing = error.path.strip_prefix(&format!("channels.{name}.")).filter(|_| error.file.is_empty());
    let rule = match missing {
        Some(_) => "required",
        None if error.message == "unknown key" => "unknown",
        None if error.message.contains("out of range") || error.message.starts_with("must be ") => "out_of_range",
        None => "invalid",
    };
    Mistake { pointer: missing.map_or_else(|| error.file.clone(), |key| format!("/{key}")), rule, detail }
}

/// JSON as a tree, and the pointers of the texts that cannot be stored everywhere.
fn node_of(value: &Json, pointer: &str, unstorable: &mut Vec<String>) -> Node {
    let place = Place::of_sent(pointer);
    let value = match value {
        Json::Null => Value::Scalar(Scalar::plain("null")),
        Json::Bool(value) => Value::Scalar(Scalar::plain(value.to_string())),
        Json::Number(number) => Value::Scalar(Scalar::plain(number.to_string())),
        Json::String(text) => {
            if text.contains('\0') {
                unstorable.push(pointer.to_owned());
            }
            Value::Scalar(Scalar { quoted: true, ..Scalar::plain(text.clone()) })
        }
        Json::Array(items) => Value::Sequence(
            items.iter().enumerate().map(|(i, item)| node_of(item, &format!("{pointer}/{i}"), unstorable)).collect(),
        ),
        Json::Object(fields) => return node_of_mapping(fields, pointer, unstorable),
    };
    Node { place, value }
}

fn node_of_mapping(fields: &Settings, pointer: &str, unstorable: &mut Vec<String>) -> Node {
    let entries = fields.iter().map(|(key, value)| {
        let pointer = format!("{pointer}/{}", pointer::step(key));
        if key.contains('\0') {
            unstorable.push(pointer.clone());
        }
        let key = Key { text: key.clone(), place: Place::of_sent(&pointer) };
        Entry { key, value: node_of(value, &pointer, unstorable) }
    });
    Node { place: Place::of_sent(pointer), value: Value::Mapping(entries.collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(settings: Json) -> Result<ChannelConfig, Vec<(String, &'static str, String)>> {
        let Json::Object(settings) = settings else { panic!("not an object") };
        let others = ["mail".to_owned(), "hook".to_owned()];
        let mistakes = |all: Vec<Mistake>| all.into_iter().map(|m| (m.pointer, m.rule, m.detail)).collect();
        read_made("hook", &settings, Some(&others)).map_err(mistakes)
    }

    fn pointers(settings: Json) -> Vec<(String, &'static str)> {
        read(settings).unwrap_err().into_iter().map(|(pointer, rule, _)| (pointer, rule)).collect()
    }

    #[test]
    fn what_is_sent_means_what_it_means_in_the_file() {
        let channel = read(json!({
            "type": "webhook", "url": "https://example.com/x", "timeout": "1500ms", "retry_delay": 7, "default": false,
            "severity": "warning", "fallback": ["mail"], "headers": {"X.a/b": "1"}, "method": null
        }));
        // A header name has no slash.
        assert_eq!(channel.unwrap_err()[0].0, "/headers/X.a~1b");
        let channel = read(json!({"type": "telegram", "bot_token": "1:a", "chat_id": -100, "enabled": true})).unwrap();
        assert_eq!((channel.origin, channel.source, channel.default), (Origin::Api, None, true));
        assert!(matches!(channel.transport, Transport::Telegram(telegram) if telegram.chat_id == "-100"));
        let off = read(json!({"type": "slack", "enabled": false})).unwrap();
        assert!(!off.enabled, "what it needs may come later");
        assert_eq!(pointers(json!({"type": "slack", "enabled": false, "url": "x"})), [("/url".to_owned(), "invalid")]);
    }

    #[test]
    fn every_mistake_has_its_place() {
        let place = |pointer: &str, rule| (pointer.to_owned(), rule);
        assert_eq!(pointers(json!({})), [place("/type", "required")]);
        assert_eq!(pointers(json!({"type": "webhook", "enabled": true})), [place("/url", "required")]);
        assert_eq!(
            pointers(
                json!({"type": "webhook", "url": "ftp://x", "retry_count": 11, "timeout": 0, "headers": {"a b": ""},
                            "fallback": ["mail", "hook", "mial"], "payload_template": "{endpoint_nam}"})
            ),
            [
                place("/timeout", "out_of_range"),
                place("/url", "invalid"),
                place("/headers/a b", "invalid"),
                place("/retry_count", "out_of_range"),
                place("/payload_template", "invalid"),
                place("/fallback/1", "invalid"),
                place("/fallback/2", "invalid"),
            ]
        );
        let unknown = read(json!({"type": "slack", "ulr": "https://example.com", "x-mine": 1})).unwrap_err();
        assert_eq!(
            unknown.iter().map(|(pointer, ..)| pointer.as_str()).collect::<Vec<_>>(),
            ["/ulr", "/x-mine"],
            "{unknown:?}"
        );
        assert!(unknown[0].2.ends_with("did you mean url ?"), "{unknown:?}");
        let kind = read(json!({"type": "webhok"})).unwrap_err();
        assert!(kind[0].2.contains("did you mean webhook ?"), "{kind:?}");
        assert_eq!(pointers(json!({"type": "email", "to_addrs": ["a@b.c", "d"]}))[0].0, "/to_addrs/1");
    }

    #[test]
    fn types_are_those_of_json() {
        for (key, value) in [
            ("enabled", json!("true")),
            ("url", json!(5)),
            ("retry_count", json!("3")),
            ("method", json!(true)),
            ("headers", json!({"A": 1})),
            ("fallback", json!("mail")),
            ("timeout", json!([])),
            ("type", json!(1)),
        ] {
            let mut settings = json!({"type": "webhook", "url": "https://SECRET.example"});
            settings[key] = value.clone();
            let mistakes = read(settings).unwrap_err();
            assert!(mistakes[0].0.starts_with(&format!("/{key}")), "{value}: {mistakes:?}");
            assert!(!format!("{mistakes:?}").contains("SECRET"), "{mistakes:?}");
        }
        assert_eq!(pointers(json!({"type": "slack", "url": "https://a/\u{0}"}))[0], ("/url".to_owned(), "invalid"));
    }

    #[test]
    fn names_fit_into_a_path() {
        let settings = json!({"type": "console"});
        for name in ["", "a/b", "..", " a", "a\u{0}", &"x".repeat(101)] {
            let mistakes = read_made(name, settings.as_object().unwrap(), None).unwrap_err();
            assert_eq!(mistakes[0].pointer, "/name", "{mistakes:?}");
        }
        read_made("Bereitschaft 1 ü?#%", settings.as_object().unwrap(), None).unwrap();
    }
}
