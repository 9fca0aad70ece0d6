//! `channels:` and the channels of `notifications:`, from the tree: which there are, which of them are on, and what
//! they fall back to.

use super::raw::{RawCommon, TYPES, Type};
use super::{ChannelConfig, transports};
use crate::config::de::{inline_collection, typed};
use crate::config::errors::SourceRef;
use crate::config::fault::unexpected_kind;
use crate::config::layer::overlaps;
use crate::config::overrides;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::tree::{Entry, Key, Node, Place, Trail, Value};
use crate::domain::endpoint::{MAX_CHANNELS, Origin, no_such_channel};

/// The keys of a channel of any type; those of `notifications:` have their type by their name.
const COMMON: [&str; 5] = ["type", "enabled", "default", "severity", "fallback"];

/// The channels of `notifications:`, with the keys that show that somebody means to use one.
const ORIGINAL: [(&str, Type, &[&str]); 3] = [
    ("email", Type::Email, &["to_addrs", "from_addr", "smtp_user", "smtp_password", "smtp_host"]),
    ("webhook", Type::Webhook, &["url"]),
    ("telegram", Type::Telegram, &["bot_token", "chat_id"]),
];

/// The channels as far as they could be read, and every name, also of those that could not.
pub(in crate::config) struct Channels {
    pub(in crate::config) channels: Vec<ChannelConfig>,
    /// `None` when it cannot be known which there are.
    pub(in crate::config) names: Option<Vec<String>>,
    /// Where the first one stands that is on and whose messages have links.
    pub(in crate::config) first_with_links: Option<Place>,
}

pub(in crate::config) fn read(root: &Node, report: &mut Report) -> Channels {
    let mut reader = Reader::default();
    let mut readable = true;
    if let Some(node) = root.get("channels").filter(|node| !node.is_null()) {
        match opened(node, "channels", "a mapping of channels", report) {
            Some(node) => {
                for entry in node.entries() {
                    reader.own(entry, report);
                }
            }
            None => readable = node.has_missing(),
        }
    }
    if let Some(notifications) = root.get("notifications") {
        for (name, kind, signs) in ORIGINAL {
            if let Some(entry) = notifications.get_entry(name).filter(|entry| !entry.value.is_null()) {
                reader.original(entry, kind, signs, report);
            }
        }
    }
    if readable {
        reader.check_fallbacks(report);
    }
    Channels {
        channels: reader.channels,
        names: readable.then_some(reader.names),
        first_with_links: reader.first_with_links,
    }
}

/// A channel that was sent, by the rules of those in the file. `others`: the names of those that it can fall back to;
/// `None` leaves that open.
pub(super) fn read_sent(
    name: &str,
    node: Node,
    others: Option<&[String]>,
    report: &mut Report,
) -> Option<ChannelConfig> {
    let names = others.unwrap_or_default().iter().filter(|other| *other != name).cloned().collect();
    let mut reader = Reader { names, ..Reader::default() };
    let key = Key { text: name.to_owned(), place: node.place.clone() };
    reader.own(&Entry { key, value: node }, report);
    if others.is_some() {
        reader.check_fallbacks(report);
    }
    reader.channels.pop()
}

/// The mapping of a node; one in a variable is opened.
fn opened(node: &Node, path: &str, expected: &str, report: &mut Report) -> Option<Node> {
    let opened = match inline_collection(node) {
        None => node.clone(),
        Some(Ok(inline)) => inline,
        Some(Err(message)) => {
            report.error(&node.place, path, message);
            return None;
        }
    };
    if matches!(opened.value, Value::Mapping(_)) {
        return Some(opened);
    }
    if !node.has_missing() {
        report.error(&node.place, path, unexpected_kind(expected, opened.kind()));
    }
    None
}

#[derive(Default)]
struct Reader {
    channels: Vec<ChannelConfig>,
    names: Vec<String>,
    /// The fallbacks of each channel, with where they stand, to be checked when all names are known.
    fallbacks: Vec<(String, String, Node)>,
    first_with_links: Option<Place>,
}

/// A channel as it stands in the file.
struct Item<'n> {
    name: &'n str,
    path: &'n str,
    key: &'n Key,
    node: &'n Node,
    /// The keys that are not of its type.
    common: &'static [&'static str],
}

impl Reader {
    /// A channel of `channels:`.
    fn own(&mut self, entry: &Entry, report: &mut Report) {
        let name = entry.key.text.as_str();
        let path = format!("channels.{name}");
        if let Some(message) = mistaken_name(name) {
            report.error(&entry.key.place, &path, message);
            return;
        }
        self.names.push(name.to_owned());
        let Some(node) = opened(&entry.value, &path, "a mapping with the type of the channel", report) else { return };
        let item = Item { name, path: &path, key: &entry.key, node: &node, common: &COMMON };
        let (rest, common) = item.split(report);
        let Some(kind) = common.kind else {
            if node.get("type").is_none_or(|kind| kind.is_null() && !kind.has_missing()) {
                let message = format!("has no `type`: {}", TYPES.join(", "));
                report.error(&entry.key.place, format!("{path}.type"), message);
            }
            return;
        };
        let enabled = common.enabled.unwrap_or(true);
        self.channel(&item, kind, &rest, common, enabled, report);
    }

    /// A channel of `notifications:`.
    fn original(&mut self, entry: &Entry, kind: Type, signs: &[&str], report: &mut Report) {
        let name = entry.key.text.as_str();
        let path = format!("notifications.{name}");
        if self.names.iter().any(|taken| taken == name) {
            let message = format!("the name `{name}` is taken: channels.{name} has it");
            if entry.key.place.is_variable() {
                report.warn(&entry.key.place, &path, format!("is ignored: {message}"));
            } else {
                report.error_with_help(&entry.key.place, &path, message, "keep one of the two".to_owned());
            }
            return;
        }
        self.names.push(name.to_owned());
        let Some(node) = opened(&entry.value, &path, "a mapping", report) else { return };
        let item = Item { name, path: &path, key: &entry.key, node: &node, common: &COMMON[1..] };
        let (rest, common) = item.split(report);
        let enabled = common.enabled.unwrap_or_else(|| item.is_on_by_variables(&rest, kind, signs, report));
        self.channel(&item, kind, &rest, common, enabled, report);
    }

    fn channel(
        &mut self,
        item: &Item<'_>,
        kind: Type,
        rest: &Node,
        common: RawCommon,
        enabled: bool,
        report: &mut Report,
    ) {
        // What is sent is judged in any case: whoever sends it is there to mend it.
        let judged = enabled || item.key.place.is_sent();
        let read = transports::read(kind, rest, item.path, item.common, judged, report);
        if enabled {
            // Of what was sent, the mistake is at the missing key itself.
            let written = item.node.get_entry("enabled").filter(|entry| !entry.key.place.is_sent());
            let written = written.map_or(item.key, |entry| &entry.key);
            for (need, named) in transports::needs(kind, rest) {
                if !overlaps(&read.left_out, &format!("/{need}")) {
                    let message = format!("the channel is enabled and has no {named}");
                    report.error(&written.place, format_args!("{}.{need}", item.path), message);
                }
            }
            if kind != Type::Console {
                self.first_with_links.get_or_insert_with(|| item.key.place.clone());
            }
        }
        let fallback = common.fallback.unwrap_or_default();
        if !fallback.is_empty() {
            self.fallbacks.push((item.name.to_owned(), item.path.to_owned(), item.node.clone()));
        }
        self.channels.push(ChannelConfig {
            name: item.name.to_owned(),
            origin: if item.key.place.is_sent() { Origin::Api } else { Origin::Config },
            source: (!item.key.place.is_sent()).then(|| SourceRef { column: 0, ..item.key.place.to_ref() }.to_string()),
            enabled,
            default: common.default.unwrap_or(true),
            severity: common.severity,
            fallback,
            transport: read.transport,
        });
    }

    fn check_fallbacks(&self, report: &mut Report) {
        for (name, path, node) in &self.fallbacks {
            let section = Section { path: path.clone(), node: Some(node) };
            let Some(channel) = self.channels.iter().find(|channel| channel.name == *name) else { continue };
            if channel.fallback.len() > MAX_CHANNELS {
                section.wrong("fallback", format!("too many channels: at most {MAX_CHANNELS}"), report);
                continue;
            }
            for (i, fallback) in channel.fallback.iter().enumerate() {
                if fallback == name {
                    section.wrong_item("fallback", i, "a channel cannot fall back to itself", report);
                } else if !self.names.contains(fallback) {
                    section.wrong_item("fallback", i, no_such_channel(fallback, &self.names), report);
                }
            }
        }
    }
}

impl Item<'_> {
    /// What its type knows, and what every channel has.
    fn split(&self, report: &mut Report) -> (Node, RawCommon) {
        let mut rest = self.node.clone();
        let mut common = Vec::new();
        for key in self.common {
            common.extend(rest.remove(key));
        }
        let common = Node { place: self.node.place.clone(), value: Value::Mapping(common) };
        (rest, typed(&common, &Trail::Key(&Trail::Root, self.path), report).value)
    }

    /// Whether a channel of which nobody says whether it is on is on: when variables are among what it has, and
    /// nothing that it needs is missing. Says so when somebody may believe that it is.
    fn is_on_by_variables(&self, rest: &Node, kind: Type, signs: &[&str], report: &mut Report) -> bool {
        let missing = transports::needs(kind, rest);
        let variable = rest.entries().iter().find(|entry| entry.value.place.is_variable());
        if variable.is_some() && missing.is_empty() {
            return true;
        }
        let meant = signs.iter().any(|key| rest.get(key).is_some_and(|node| !node.is_null()));
        if meant {
            let place = variable.map_or(&self.key.place, |entry| &entry.value.place);
            let message = match variable {
                None => "is off: `enabled: true` turns it on".to_owned(),
                Some(_) => {
                    let names: Vec<String> = missing
                        .iter()
                        .map(|(key, _)| overrides::shortest_name_of(&format!("{}.{key}", self.path)))
                        .collect();
                    format!("is off: {} not set", are(&names))
                }
            };
            report.warn(place, self.path, message);
        }
        false
    }
}

fn are(names: &[String]) -> String {
    match names {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(" and ")),
    }
}

/// Names stand in lists of variables and in paths of the API.
pub(super) fn mistaken_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 100 {
        Some("the name of a channel has 1 to 100 bytes")
    } else if name.trim() != name || name.chars().any(|c| c.is_control() || matches!(c, '/' | ',')) {
        Some("the name of a channel has no slashes, commas, control characters, and no space around it")
    } else if matches!(name, "." | "..") {
        Some("the name of a channel is not . or .., which a path cannot have")
    } else {
        None
    }
}
