//! `routes`: who is told, and by which policy, by what an endpoint is called and where it belongs.

use super::de::typed;
use super::fault::unexpected_kind;
use super::layer::{Rules, mistakes, overlaps};
use super::report::{Report, path_below};
use super::section::each;
use super::tree::{Node, Trail, Value, without_secrets};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::route::{Route, RouteSettings};
use crate::domain::selector::{Selectable, Selectors};

/// The section, how its items are called, and the most of a configuration.
const SECTION: (&str, &str, usize) = ("routes", "routes", 1_000);

/// Reads the section, but for whether there is anything that the routes mean: see [`note_idle`].
pub(super) fn read(root: &Node, rules: Rules<'_>, report: &mut Report) -> Vec<Route> {
    each(root, SECTION, report, |item, at, report| read_route(item, at, rules, report)).into_iter().flatten().collect()
}

/// Warns of selectors that mean nothing that is configured. That is no mistake: endpoints may be made through the API.
pub(super) fn note_idle(root: &Node, there: &Selectable<'_>, report: &mut Report) {
    let mut unread = Report::default();
    let idle = each(root, SECTION, &mut unread, |item, at, report| {
        let settings = typed::<RouteSettings>(item, at, report).value;
        let Selectors(list) = settings.selectors.unwrap_or_default();
        for (i, message) in Selectors(list).mistakes(there) {
            let (path, pointed) = selector(item, at, i);
            let message = format!("{message}; until there is, this routes nothing");
            report.warn(&pointed.place, path, without_secrets(message, pointed));
        }
    });
    drop(idle);
    report.warnings.append(&mut unread.warnings);
}

/// A selector of a route: how its place is called, and the node to blame.
fn selector<'n>(item: &'n Node, at: &Trail<'_>, index: usize) -> (String, &'n Node) {
    match item.at_pointer(&format!("/match/{index}")) {
        (node, true) => (format!("{at}.match[{index}]"), node),
        _ => (format!("{at}.match"), item.at_pointer("/match").0),
    }
}

fn read_route(item: &Node, at: &Trail<'_>, rules: Rules<'_>, report: &mut Report) -> Option<Route> {
    if !matches!(item.value, Value::Mapping(_)) {
        if !item.has_missing() {
            let message = unexpected_kind("a mapping with match, notify and alert_policy", item.kind());
            report.error(&item.place, at, message);
        }
        return None;
    }
    let read = typed::<RouteSettings>(item, at, report);
    if read.left_out.iter().any(String::is_empty) {
        return None;
    }
    let before = report.errors.len();
    let RouteSettings { selectors, notify, alert_policy } = read.value;
    let selectors = selectors.unwrap_or_default();
    if selectors.0.is_empty() && !overlaps(&read.left_out, "/match") && !item.has_missing() {
        let message = "names no endpoints: write *, group:core, tag:prod, group/name or the name of an endpoint";
        report.error(&item.at_pointer("/match").0.place, format!("{at}.match"), message);
    }
    for (i, message) in selectors.mistakes_of_form() {
        let (path, pointed) = selector(item, at, i);
        if !pointed.has_missing() {
            report.error(&pointed.place, path, without_secrets(message, pointed));
        }
    }
    for (i, text) in selectors.0.iter().enumerate().filter(|(_, text)| text.starts_with("id:")) {
        let (path, pointed) = selector(item, at, i);
        let message = format!("`{text}`: an id is given by the database; route by group, tag or name");
        report.error(&pointed.place, path, without_secrets(message, pointed));
    }
    if notify.is_none() && alert_policy.is_none() && read.left_out.is_empty() {
        report.error(&item.place, at, "says nothing: give it `notify` or `alert_policy`");
    }
    let settings = EndpointSettings { alert_policy, notify, ..EndpointSettings::default() };
    for rule in mistakes(&settings, None, rules) {
        let (pointed, exact) = item.at_pointer(&rule.pointer);
        if overlaps(&read.left_out, &rule.pointer) || (exact && pointed.has_missing()) {
            continue;
        }
        let path = format!("{at}{}", path_below(&rule.pointer));
        report.error(&pointed.place, path, without_secrets(rule.detail, pointed));
    }
    let is_good = read.left_out.is_empty() && report.errors.len() == before;
    let source = item.place.to_ref();
    is_good.then(|| Route { selectors, settings, source: format!("{}:{}", source.file, source.line) })
}
