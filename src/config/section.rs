//! A mapping of the tree with fixed keys, which may not be there: what it holds as a type, and messages about its
//! values, told where they stand.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::de::{inline_collection, typed};
use super::fault::unexpected_kind;
use super::raw::AutoOr;
use super::report::Report;
use super::tree::{Node, Place, Trail, Value, without_secrets};
use crate::domain::pointer;

/// Reads a section that is a list, item by item with its place. `what`: how its items are called; more than `most` of them
/// are a mistake.
pub(super) fn each<T>(
    root: &Node,
    (name, what, most): (&str, &str, usize),
    report: &mut Report,
    mut read: impl FnMut(&Node, &Trail<'_>, &mut Report) -> T,
) -> Vec<T> {
    let section = Trail::Key(&Trail::Root, name);
    let Some(node) = root.get(name).filter(|node| !node.is_null()) else { return Vec::new() };
    let node = match inline_collection(node) {
        None => node.clone(),
        Some(Ok(inline)) => inline,
        Some(Err(message)) => {
            report.error(&node.place, section, message);
            return Vec::new();
        }
    };
    let Value::Sequence(items) = &node.value else {
        if !node.has_missing() {
            report.error(&node.place, section, unexpected_kind(&format!("a list of {what}"), node.kind()));
        }
        return Vec::new();
    };
    if items.len() > most {
        report.error(&node.place, section, format!("too many {what}: at most {most}"));
        return Vec::new();
    }
    // Counted by file: where several are merged, a person counts in the one that is open.
    let mut counts: HashMap<_, usize> = HashMap::new();
    let mut all = Vec::new();
    for item in items {
        let count = counts.entry(Arc::as_ptr(&item.place.source)).or_default();
        let at = Trail::Index(&section, *count);
        *count += 1;
        all.push(read(item, &at, report));
    }
    all
}

pub(super) struct Section<'n> {
    /// From the top: `api`, `channels.ops`.
    pub(super) path: String,
    pub(super) node: Option<&'n Node>,
}

impl<'n> Section<'n> {
    pub(super) fn of(root: &'n Node, name: &str) -> Self {
        Self { path: name.to_owned(), node: root.get(name).filter(|node| !node.is_null()) }
    }

    pub(super) fn read<T: DeserializeOwned + Default>(&self, report: &mut Report) -> T {
        let Some(node) = self.node else { return T::default() };
        typed(node, &Trail::Key(&Trail::Root, &self.path), report).value
    }

    /// Says that the value of a key is wrong; `key` may be `auth.enabled`.
    pub(super) fn wrong(&self, key: &str, message: impl Into<String>, report: &mut Report) {
        self.wrong_with_help(key, message, None, report);
    }

    /// Says that an item of the list of a key is wrong.
    pub(super) fn wrong_item(&self, key: &str, index: usize, message: impl Into<String>, report: &mut Report) {
        self.wrong_at(&format!("/{key}/{index}"), key, message, report);
    }

    /// Says that an entry of the mapping of a key is wrong, whatever its name is made of.
    pub(super) fn wrong_entry(&self, key: &str, name: &str, message: impl Into<String>, report: &mut Report) {
        let pointer = format!("/{key}/{}", pointer::step(name));
        self.wrong_at(&pointer, &format!("{key}.{name}"), message, report);
    }

    fn wrong_at(&self, pointer: &str, path: &str, message: impl Into<String>, report: &mut Report) {
        if let Some((node, _)) = self.node.map(|node| node.at_pointer(pointer))
            && !node.has_missing()
        {
            let message = without_secrets(message.into(), node);
            report.error(&node.place, format_args!("{}.{path}", self.path), message);
        }
    }

    pub(super) fn wrong_with_help(
        &self,
        key: &str,
        message: impl Into<String>,
        help: Option<String>,
        report: &mut Report,
    ) {
        if let Some(node) = self.nearest(key)
            && !node.has_missing()
        {
            let message = without_secrets(message.into(), node);
            report.error_with_help(&node.place, format_args!("{}.{key}", self.path), message, help);
        }
    }

    pub(super) fn warn(&self, key: &str, message: impl Into<String>, report: &mut Report) {
        if let Some((place, _)) = self.place_of(key) {
            report.warn(place, format_args!("{}.{key}", self.path), message);
        }
    }

    /// Where a key is, or what is nearest to it, and whether an unset variable is to blame for its value.
    pub(super) fn place_of(&self, key: &str) -> Option<(&'n Place, bool)> {
        self.nearest(key).map(|node| (&node.place, node.has_missing()))
    }

    fn nearest(&self, key: &str) -> Option<&'n Node> {
        self.node.map(|node| node.at_pointer(&format!("/{}", key.replace('.', "/"))).0)
    }

    pub(super) fn in_range(
        &self,
        key: &str,
        value: Option<u32>,
        default: u32,
        low: u32,
        high: u32,
        report: &mut Report,
    ) -> u32 {
        let value = value.unwrap_or(default);
        if !(low..=high).contains(&value) {
            self.wrong(key, format!("{value} is out of range: {low} to {high}"), report);
        }
        value
    }

    /// `None`: auto.
    pub(super) fn auto_or(&self, key: &str, value: Option<AutoOr>, high: u32, report: &mut Report) -> Option<u32> {
        match value {
            None | Some(AutoOr::Auto) => None,
            Some(AutoOr::Number(number)) => {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                Some(self.in_range(key, Some(number), 0, 1, high, report))
            }
        }
    }
}
