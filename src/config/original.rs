//! What the configuration of the original system has and this one has not, or has in another place.

use super::report::Report;
use super::tree::{Entry, Node, Value};

/// Keys that mean nothing here, with the reason.
const MEANINGLESS: [(&str, &str); 6] = [
    ("redis", "no cache outside of this process is used"),
    ("api.reload", "the code does not change while it runs"),
    ("api.auth.secret_key", "there are no signed tokens: a request carries the API key"),
    ("api.auth.algorithm", "there are no signed tokens: a request carries the API key"),
    ("api.auth.access_token_expire_minutes", "there are no signed tokens: a request carries the API key"),
    ("prometheus.port", "metrics are served on the port of the API"),
];

/// Keys that the original has elsewhere, and what they are here.
const ALIASES: [(&str, &str); 3] = [
    ("retry", "defaults.retry"),
    ("notifications.cooldown_seconds", "defaults.alert_policy.cooldown_seconds"),
    ("notifications.send_recovery", "defaults.alert_policy.send_recovery"),
];

/// Takes the keys that mean nothing out of the tree, and says so. Free keys at the top go too: they are homes of
/// anchors, which the parser has resolved.
pub(super) fn without_meaningless(root: &mut Node, report: &mut Report) {
    if let Value::Mapping(entries) = &mut root.value {
        entries.retain(|entry| !entry.key.text.starts_with("x-"));
    }
    for (path, why) in MEANINGLESS {
        let (parents, last) = split(path);
        let parent = parents.iter().try_fold(&mut *root, |node, segment| node.get_mut(segment));
        if let Some(Entry { key, value }) = parent.and_then(|parent| parent.remove(last)) {
            let place = if value.place.is_variable() { &value.place } else { &key.place };
            report.warn(place, path, format!("has no effect: {why}"));
        }
    }
}

/// Moves keys that are known under another name, so that everything after knows one place.
pub(super) fn move_aliases(root: &mut Node, report: &mut Report) {
    for (alias, meant) in ALIASES {
        let (parents, name) = split(alias);
        let parent = parents.iter().try_fold(&mut *root, |node, segment| node.get_mut(segment));
        if let Some(entry) = parent.and_then(|parent| parent.remove(name)) {
            move_alias(root, entry, alias, meant, report);
        }
    }
}

fn move_alias(root: &mut Node, entry: Entry, alias: &str, meant: &'static str, report: &mut Report) {
    let place = entry.key.place.clone();
    let (parents, name) = split(meant);
    let mut node = root;
    for segment in parents {
        // What is no mapping is told as a mistake when it is read.
        let Some(next) = node.get_or_add(segment, &place) else { return };
        node = next;
    }
    if let Some(existing) = node.get_entry(name) {
        let message = format!("is another name of {meant}, which is set too: {}", existing.key.place.to_ref());
        report.error_with_help(&place, alias, message, "keep one of the two".to_owned());
    } else if let Some(value) = node.get_or_add(name, &place) {
        *value = entry.value;
    }
}

/// `segments` of a key with another name as those of the key that is meant.
pub(super) fn without_alias(segments: Vec<String>) -> Vec<String> {
    for (alias, meant) in ALIASES {
        let length = alias.split('.').count();
        if segments.len() >= length && segments.iter().zip(alias.split('.')).all(|(one, other)| one == other) {
            return meant.split('.').map(str::to_owned).chain(segments.into_iter().skip(length)).collect();
        }
    }
    segments
}

fn split(path: &'static str) -> (Vec<&'static str>, &'static str) {
    let mut segments: Vec<&str> = path.split('.').collect();
    let last = segments.pop().unwrap_or_default();
    (segments, last)
}
