//! What the configuration of the original system has and this one has not, or has in another place.

use super::report::Report;
use super::tree::{Entry, Key, Node, Trail, Value, boolean};

/// Keys that mean nothing here, with the reason.
const MEANINGLESS: [(&str, &str); 6] = [
    ("redis", "no cache outside of this process is used"),
    ("api.reload", "the code does not change while it runs"),
    ("api.auth.secret_key", "there are no signed tokens: a request carries the API key"),
    ("api.auth.algorithm", "there are no signed tokens: a request carries the API key"),
    ("api.auth.access_token_expire_minutes", "there are no signed tokens: a request carries the API key"),
    ("prometheus.port", "metrics are served on the port of the API"),
];

/// Keys whose feature this build does not have yet.
const NOT_IN_EFFECT: [(&str, &str); 4] = [
    ("notifications", "this build sends no notifications"),
    ("prometheus", "this build serves no Prometheus metrics"),
    ("api.cors", "this build does not answer cross-origin requests"),
    ("logging.file", "this build logs to the terminal only"),
];

/// Takes the keys that mean nothing out of the tree, and says so. Free keys at the top go too: they are homes of
/// anchors, which the parser has resolved.
pub(super) fn without_meaningless(root: &mut Node, report: &mut Report) {
    if let Value::Mapping(entries) = &mut root.value {
        entries.retain(|entry| !entry.key.text.starts_with("x-"));
    }
    for (path, why) in MEANINGLESS {
        let mut segments: Vec<&str> = path.split('.').collect();
        let last = segments.pop().unwrap_or_default();
        let parent = segments.iter().try_fold(&mut *root, |node, segment| node.get_mut(segment));
        if let Some(Entry { key, value }) = parent.and_then(|parent| parent.remove(last)) {
            let place = if value.place.is_variable() { &value.place } else { &key.place };
            report.warn(place, path, format!("has no effect: {why}"));
        }
    }
}

/// Moves top-level `retry` to `defaults.retry`, so that everything after knows one place.
pub(super) fn move_aliases(root: &mut Node, report: &mut Report) {
    let Some(Entry { key, value }) = root.remove("retry") else { return };
    if let Some(existing) = root.get("defaults").and_then(|defaults| defaults.get_entry("retry")) {
        let message = format!("is another name of defaults.retry, which is set too: {}", existing.key.place.to_ref());
        report.error_with_help(&key.place, "retry", message, "keep one of the two".to_owned());
        return;
    }
    let Value::Mapping(entries) = &mut root.value else { return };
    if !entries.iter().any(|entry| entry.key.text == "defaults") {
        let place = &key.place;
        let defaults = Key { text: "defaults".to_owned(), place: place.clone() };
        entries.push(Entry { key: defaults, value: Node::mapping(place.clone()) });
    }
    if let Some(defaults) = root.get_mut("defaults") {
        if defaults.is_null() {
            defaults.value = Value::Mapping(Vec::new());
        }
        if let Value::Mapping(entries) = &mut defaults.value {
            entries.push(Entry { key, value });
        }
    }
}

/// Says which keys have no effect yet. Switching a missing feature off is no reason for a warning.
pub(super) fn warn_of_not_in_effect(root: &Node, report: &mut Report) {
    for (path, why) in NOT_IN_EFFECT {
        let entry = path.split('.').try_fold((root, None), |(node, _), segment| {
            node.get_entry(segment).map(|entry| (&entry.value, Some(&entry.key)))
        });
        let Some((node, Some(key))) = entry else { continue };
        if node.is_null() || node.get("enabled").is_some_and(is_false) {
            continue;
        }
        report.warn(&key.place, path, format!("not in effect yet: {why}"));
    }
}

fn is_false(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if boolean(&scalar.text) == Some(false))
}

/// What is still to be said of a channel that is on but lacks what it cannot do without.
pub(super) fn check_channels(root: &Node, report: &mut Report) {
    const NEEDS: [(&str, &[&str]); 3] =
        [("email", &["to_addrs"]), ("webhook", &["url"]), ("telegram", &["bot_token", "chat_id"])];
    let Some(notifications) = root.get("notifications") else { return };
    for (channel, needs) in NEEDS {
        let Some(node) = notifications.get(channel) else { continue };
        let Some(enabled) = node.get_entry("enabled").filter(|e| is_true(&e.value)) else { continue };
        for need in needs {
            let absent = node.get(need).is_none_or(|value| is_empty(value) && !value.has_missing());
            if absent {
                let at = Trail::Key(&Trail::Root, "notifications");
                let at = Trail::Key(&at, channel);
                let message = format!("the channel is enabled and has no `{need}`");
                report.error(&enabled.key.place, Trail::Key(&at, need), message);
            }
        }
    }
}

fn is_true(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if boolean(&scalar.text) == Some(true))
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.is_empty() || scalar.is_null(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(entries) => entries.is_empty(),
    }
}
