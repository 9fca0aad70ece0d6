//! Where each setting of an endpoint is written: the file and line, or the variable, of the endpoint itself, its group or
//! the defaults. For whoever asks why a setting is as it is.

use super::ConfiguredEndpoint;
use super::de::inline_collection;
use super::set_by::{SetBy, by_place};
use super::tree::{Node, Value};
use crate::domain::endpoint::Endpoint;
use crate::domain::route::{self, Route};

/// The configuration as it was written, kept only while somebody asks.
pub struct Places {
    root: Node,
}

/// Scalars may be secrets.
impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

/// Whose setting it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingLayer {
    Endpoint,
    /// The first of `routes` that means it.
    Route,
    Group,
    Defaults,
}

/// One place at which a setting is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAt {
    pub layer: SettingLayer,
    pub by: SetBy,
    /// What stands there where a variable of the environment or a secret file is filled in: `${INTERVAL:-30}`.
    pub written: Option<String>,
}

/// The places of the settings of one endpoint.
pub struct EndpointPlaces<'p> {
    own: Option<Own<'p>>,
    route: Option<&'p Node>,
    group: Option<&'p Node>,
    defaults: Option<&'p Node>,
}

impl std::fmt::Debug for EndpointPlaces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointPlaces").finish_non_exhaustive()
    }
}

/// An endpoint as it stands in the file.
#[derive(Clone, Copy)]
struct Own<'p> {
    node: &'p Node,
    /// The key that names it, the key of the group that it stands in.
    name: Option<&'p super::tree::Place>,
    group: Option<&'p super::tree::Place>,
}

/// Lists that lie beside each other; of everything else the nearest counts.
const ADDED: [&str; 2] = ["/tags", "/redact"];

impl Places {
    /// `root`: with the environment laid over it, before it is read.
    pub(super) fn new(mut root: Node) -> Self {
        if let Value::Mapping(entries) = &mut root.value {
            for entry in entries {
                // What cannot be opened is a mistake that was told.
                if let Some(Ok(opened)) = inline_collection(&entry.value) {
                    entry.value = opened;
                }
            }
        }
        Self { root }
    }

    /// Those of a configured endpoint. `routes`: as they were read.
    pub fn of(&self, endpoint: &ConfiguredEndpoint, routes: &[Route]) -> EndpointPlaces<'_> {
        let name = endpoint.endpoint.name.as_str();
        let is_it = |own: &Own<'_>| {
            let place = own.name.unwrap_or(&own.node.place);
            let written = own.node.get("name").is_none_or(|node| scalar(node).is_none_or(|text| text == name));
            place.to_ref() == endpoint.source && written
        };
        let own = self.endpoints().into_iter().find(is_it);
        let Endpoint { name, group, tags, .. } = &endpoint.endpoint;
        EndpointPlaces { own, ..self.inherited(routes, name, group, tags) }
    }

    /// Those of what an endpoint that is written elsewhere inherits.
    pub fn inherited(&self, routes: &[Route], name: &str, group: &str, tags: &[String]) -> EndpointPlaces<'_> {
        let route = route::first(routes, name, group, tags).and_then(|(at, _)| match &self.root.get("routes")?.value {
            Value::Sequence(items) => items.get(at),
            _ => None,
        });
        EndpointPlaces {
            own: None,
            route,
            group: self.root.get("groups").and_then(|groups| groups.get(group)),
            defaults: self.root.get("defaults"),
        }
    }

    /// Where a channel is written.
    pub fn channel(&self, name: &str) -> Option<SetBy> {
        let within = |section: &str| self.root.get(section)?.get_entry(name);
        let entry = within("channels").or_else(|| within("notifications"))?;
        Some(by_place(if entry.value.place.is_variable() { &entry.value.place } else { &entry.key.place }))
    }

    fn endpoints(&self) -> Vec<Own<'_>> {
        let mut all = Vec::new();
        if let Some(list) = self.root.get("endpoints") {
            collect(list, None, &mut all);
        }
        for entry in self.root.get("groups").map(Node::entries).unwrap_or_default() {
            if let Some(list) = entry.value.get("endpoints") {
                collect(list, Some(&entry.key.place), &mut all);
            }
        }
        all
    }
}

fn collect<'p>(list: &'p Node, group: Option<&'p super::tree::Place>, all: &mut Vec<Own<'p>>) {
    match &list.value {
        Value::Sequence(items) => all.extend(items.iter().map(|node| Own { node, name: None, group })),
        Value::Mapping(entries) => {
            let own = |entry: &'p super::tree::Entry| Own { node: &entry.value, name: Some(&entry.key.place), group };
            all.extend(entries.iter().map(own));
        }
        Value::Scalar(_) => {}
    }
}

impl EndpointPlaces<'_> {
    /// Where the setting at a JSON pointer within the settings is written, the nearest first; of tags and `redact`, which
    /// add up, everywhere. Empty: nowhere, so it is built in.
    pub fn at(&self, pointer: &str) -> Vec<SetAt> {
        let mut found = Vec::new();
        if let Some(own) = self.own {
            found.extend(own.at(pointer).map(|(by, written)| SetAt { layer: SettingLayer::Endpoint, by, written }));
        }
        let layers = [
            (SettingLayer::Route, self.route),
            (SettingLayer::Group, self.group),
            (SettingLayer::Defaults, self.defaults),
        ];
        for (layer, node) in layers {
            let node = node.and_then(|node| written_at(node, pointer));
            found.extend(node.map(|node| SetAt { layer, by: by_place(&node.place), written: written(node) }));
        }
        if !ADDED.contains(&pointer) {
            found.truncate(1);
        }
        found
    }
}

impl Own<'_> {
    fn at(self, pointer: &str) -> Option<(SetBy, Option<String>)> {
        if let Value::Scalar(_) = self.node.value {
            // A bare URL, which also names it.
            let by = match (pointer, self.name, self.group) {
                ("/name", Some(place), _) | ("/group", _, Some(place)) => by_place(place),
                ("/url" | "/name", ..) => by_place(&self.node.place),
                _ => return None,
            };
            return Some((by, if pointer == "/url" { written(self.node) } else { None }));
        }
        if let Some(node) = written_at(self.node, pointer) {
            return Some((by_place(&node.place), written(node)));
        }
        match pointer {
            "/name" => self.name.map(|place| (by_place(place), None)),
            "/group" => self.group.map(|place| (by_place(place), None)),
            _ => None,
        }
    }
}

/// The node that says what lies at a pointer: it itself, or a shorter form of what it is in (`reminder: 2h`).
fn written_at<'n>(top: &'n Node, pointer: &str) -> Option<&'n Node> {
    let mut node = top;
    for (depth, segment) in pointer.split('/').skip(1).enumerate() {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let Value::Mapping(entries) = &node.value else { return (depth > 0 && !node.is_null()).then_some(node) };
        // Names of headers know no case; `enabled` is another name of `is_active`.
        let is_alias = depth == 0 && segment == "is_active";
        let entry = entries.iter().find(|entry| {
            let key = entry.key.text.as_str();
            key.eq_ignore_ascii_case(&segment) || (is_alias && key == "enabled")
        });
        node = &entry?.value;
    }
    (!node.is_null()).then_some(node)
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// What stands in the file, of a value that is filled in. What a variable sets as a whole is named as such.
fn written(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) if !node.place.is_variable() => {
            scalar.written.clone().filter(|written| written.contains("${"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, LoadOptions, load_with_places};
    use super::*;
    use crate::domain::from_micros;

    const YAML: &str = "\
defaults:
  timeout: 4
  tags: [all]
  alert_policy: {reminder: {every: 2h}}
groups:
  core:
    interval: ${EVERY:-30}
    tags: [core]
    headers: {X-Team: one}
    endpoints:
      api:
        url: http://localhost/api
        headers: {x-team: two}
        alert_policy:
          failure_threshold: 3
      bare: http://localhost/bare
endpoints:
  - name: front
    url: http://localhost/
    group: core
    enabled: false
  - http://localhost/x
channels:
  out: {type: console}
routes:
  - {match: tag:none, notify: [out]}
  - match: group:core
    notify: [out]
    alert_policy: {failure_threshold: 5, success_threshold: 2}
";

    fn shown(name: &str, pointer: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        std::fs::write(&path, YAML).unwrap();
        let environment = Environment::from_pairs([("API_MONITOR__DEFAULTS__METHOD", "HEAD"), ("EVERY", "20")]);
        let options = LoadOptions { path: Some(path), environment, allow_missing_env: false };
        let (config, places) = load_with_places(&options, from_micros(0)).unwrap();
        let endpoint = config.endpoints.iter().find(|endpoint| endpoint.endpoint.name == name).unwrap();
        let one = |at: SetAt| {
            let by = match at.by {
                SetBy::File(file) => file.rsplit('/').next().unwrap().to_owned(),
                SetBy::Environment(name) => name,
            };
            let written = at.written.map_or(String::new(), |written| format!(" {written}"));
            format!("{:?} {by}{written}", at.layer)
        };
        places.of(endpoint, &config.routes).at(pointer).into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_setting_knows_its_file_and_line() {
        for (name, pointer, expected) in [
            ("api", "/url", "Endpoint c.yaml:12"),
            ("api", "/name", "Endpoint c.yaml:11"),
            ("api", "/group", "Endpoint c.yaml:6"),
            ("api", "/timeout", "Defaults c.yaml:2"),
            ("api", "/interval", "Group c.yaml:7 ${EVERY:-30}"),
            ("api", "/tags", "Group c.yaml:8, Defaults c.yaml:3"),
            ("api", "/headers/x-team", "Endpoint c.yaml:13"),
            ("bare", "/headers/X-Team", "Group c.yaml:9"),
            ("api", "/alert_policy/failure_threshold", "Endpoint c.yaml:15"),
            ("api", "/alert_policy/reminder/every", "Defaults c.yaml:4"),
            ("api", "/alert_policy/confirm_interval", ""),
            ("api", "/method", "Defaults API_MONITOR__DEFAULTS__METHOD"),
            ("api", "/severity", ""),
            ("api", "/notify", "Route c.yaml:28"),
            ("api", "/alert_policy/success_threshold", "Route c.yaml:29"),
            ("bare", "/alert_policy/failure_threshold", "Route c.yaml:29"),
            ("localhost", "/notify", ""),
            ("bare", "/url", "Endpoint c.yaml:16"),
            ("bare", "/name", "Endpoint c.yaml:16"),
            ("front", "/is_active", "Endpoint c.yaml:21"),
            ("front", "/group", "Endpoint c.yaml:20"),
            ("localhost", "/name", "Endpoint c.yaml:22"),
        ] {
            assert_eq!(shown(name, pointer), expected, "{name} {pointer}");
        }
    }
}
