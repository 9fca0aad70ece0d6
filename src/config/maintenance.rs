//! `maintenance_windows`: when work is being done on endpoints on purpose.

use super::SourceRef;
use super::de::typed;
use super::fault::unexpected_kind;
use super::layer::{Rules, overlaps};
use super::report::{Report, path_below};
use super::section::each;
use super::tree::{Node, Trail, Value, without_secrets};
use crate::domain::maintenance::{Window, WindowSettings};
use crate::domain::selector::{Selectable, Selectors};

/// The section, how its items are called, and the most of a configuration.
const SECTION: (&str, &str, usize) = ("maintenance_windows", "windows", 1_000);

/// A window of `maintenance_windows`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredWindow {
    /// As set.
    pub settings: WindowSettings,
    pub window: Window,
    pub source: SourceRef,
}

/// Reads the section. `there`: what can be named; `None` when that cannot be known, because some of it is mistaken.
pub(super) fn read(
    root: &Node,
    rules: Rules<'_>,
    there: Option<&Selectable<'_>>,
    report: &mut Report,
) -> Vec<ConfiguredWindow> {
    let mut windows: Vec<ConfiguredWindow> = Vec::new();
    each(root, SECTION, report, |item, at, report| {
        let Some(window) = read_window(item, at, rules, there, report) else { return };
        if let Some(first) = windows.iter().find(|other| other.window.name == window.window.name) {
            let place = &item.at_pointer("/name").0.place;
            let message = format!("the name `{}` is taken: {} has it", window.window.name, first.source);
            report.error(place, Trail::Key(at, "name"), message);
            return;
        }
        windows.push(window);
    });
    windows
}

fn read_window(
    item: &Node,
    at: &Trail<'_>,
    rules: Rules<'_>,
    there: Option<&Selectable<'_>>,
    report: &mut Report,
) -> Option<ConfiguredWindow> {
    if !matches!(item.value, Value::Mapping(_)) {
        if !item.has_missing() {
            let message = unexpected_kind("a mapping with name, match, for and when it begins", item.kind());
            report.error(&item.place, at, message);
        }
        return None;
    }
    let read = typed::<WindowSettings>(item, at, report);
    let settings = read.value;
    if read.left_out.iter().any(String::is_empty) {
        return None;
    }
    let blamed = |pointer: &str, detail: String, report: &mut Report| {
        let (node, exact) = item.at_pointer(pointer);
        if (exact && node.has_missing()) || overlaps(&read.left_out, pointer) {
            return;
        }
        let path = format!("{at}{}", path_below(pointer));
        report.error(if exact { &node.place } else { &item.place }, path, without_secrets(detail, node));
    };
    if let Some(there) = there {
        let Selectors(list) = settings.selectors.clone().unwrap_or_default();
        for (i, message) in Selectors(list).mistakes(there) {
            let of_item = format!("/match/{i}");
            let pointer = if item.at_pointer(&of_item).1 { of_item } else { "/match".to_owned() };
            blamed(&pointer, message, report);
        }
    }
    match settings.read(rules.timezone, rules.now) {
        Ok(window) if read.left_out.is_empty() => {
            Some(ConfiguredWindow { settings, window, source: SourceRef { column: 0, ..item.place.to_ref() } })
        }
        Ok(_) => None,
        Err(broken) => {
            // What begins it may be what could not be read.
            let of_start = |pointer: &str| ["/start", "/at", "/every", "/cron"].contains(&pointer);
            let start_unread = read.left_out.iter().any(|pointer| of_start(pointer));
            for rule in broken.into_iter().filter(|rule| !(start_unread && of_start(&rule.pointer))) {
                if rule.code != "required" || !item.has_missing() {
                    blamed(&rule.pointer, rule.detail, report);
                }
            }
            None
        }
    }
}
