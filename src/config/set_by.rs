//! Who set each key, for those who ask why a setting is as it is.

use std::collections::BTreeMap;

use super::errors::SourceRef;
use super::tree::{Node, Place, Source, Value};

/// Where the value of a key comes from when it is not its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// `config.yaml:12`
    File(String),
    /// The name of the variable.
    Environment(String),
}

/// Sections whose entries have names of their own, and are known as wholes.
const WHOLE: [&str; 4] = ["defaults", "groups", "endpoints", "channels"];

/// Every key of the sections with fixed keys, by its path: `logging.level`.
pub(super) fn of(root: &Node) -> BTreeMap<String, SetBy> {
    let mut set = BTreeMap::new();
    collect(root, "", &mut set);
    set
}

pub(super) fn by_place(place: &Place) -> SetBy {
    match &*place.source {
        Source::Variable(name) => SetBy::Environment(name.clone()),
        Source::File(_) | Source::Sent(_) => SetBy::File(SourceRef { column: 0, ..place.to_ref() }.to_string()),
    }
}

fn collect(node: &Node, path: &str, set: &mut BTreeMap<String, SetBy>) {
    for entry in node.entries() {
        let path = if path.is_empty() { entry.key.text.clone() } else { format!("{path}.{}", entry.key.text) };
        if matches!(entry.value.value, Value::Mapping(_)) && !WHOLE.contains(&path.as_str()) {
            collect(&entry.value, &path, set);
        } else if !entry.value.is_null() {
            let by = by_place(&entry.value.place);
            // The only one of them that can change while running.
            if path == "defaults"
                && let Some(cooldown) = entry.value.get("alert_policy").and_then(|node| node.get("cooldown_seconds"))
            {
                set.insert(format!("{path}.alert_policy.cooldown_seconds"), by_place(&cooldown.place));
            }
            set.insert(path, by);
        }
    }
}
