//! `defaults`, `groups` and `endpoints`: who inherits from whom, and which place is to blame for the mistakes that
//! [`crate::domain::endpoint::resolve`] finds.

mod parents;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::de::{Typed, inline_collection, typed};
use super::fault::unexpected_kind;
use super::layer::{InheritedMistakes, Layer, Rules, depends_on_left_out, depends_on_others, overlaps};
use super::report::{Report, path_below};
use super::tree::{Node, Place, Trail, Value, without_secrets};
use super::{ConfiguredEndpoint, GroupConfig, SourceRef};
use crate::domain::endpoint::{EndpointSettings, Layers, RuleError, resolve};
use crate::domain::setting::DurationSetting;
use crate::domain::suggest::closest;

pub(super) struct Resolved {
    pub(super) defaults: EndpointSettings,
    pub(super) groups: BTreeMap<String, GroupConfig>,
    pub(super) endpoints: Vec<ConfiguredEndpoint>,
}

/// The three sections as they are written.
pub(super) struct Sections {
    pub(super) defaults: Option<Node>,
    pub(super) groups: Option<Node>,
    pub(super) endpoints: Option<Node>,
}

pub(super) fn read(sections: Sections, rules: Rules<'_>, report: &mut Report) -> Resolved {
    let mut reader = Reader {
        rules,
        report,
        defaults: None,
        groups: BTreeMap::new(),
        endpoints: Vec::new(),
        named: HashMap::new(),
        tokens: HashMap::new(),
        inherited: InheritedMistakes::default(),
        parents: HashMap::new(),
    };
    let mistakes = reader.report.errors.len();
    if let Some(node) = sections.defaults.and_then(|node| reader.opened(node, "defaults")) {
        let layer = Layer::read("defaults".to_owned(), node, None, rules, reader.report);
        reader.defaults = Some(layer);
    }
    let mut of_groups = Vec::new();
    if let Some(groups) = sections.groups.and_then(|node| reader.opened(node, "groups")) {
        of_groups = reader.read_groups(groups);
    }
    if let Some(list) = sections.endpoints.and_then(|node| reader.opened(node, "endpoints")) {
        reader.read_endpoints(&list, &Trail::Key(&Trail::Root, "endpoints"), None);
    }
    for (group, list) in of_groups {
        let at = Trail::Key(&Trail::Root, "groups");
        let at = Trail::Key(&at, &group);
        reader.read_endpoints(&list, &Trail::Key(&at, "endpoints"), Some(&group));
    }
    if reader.report.errors.len() == mistakes && reader.inherited.is_empty() {
        // Where some of it is mistaken, it cannot be known what there is.
        reader.check_parents();
    }
    reader.inherited.tell(reader.report);
    Resolved {
        defaults: reader.defaults.map(|layer| layer.settings).unwrap_or_default(),
        groups: reader.groups.into_iter().map(|(name, group)| (name, group.into_config())).collect(),
        endpoints: reader.endpoints,
    }
}

struct Reader<'r> {
    rules: Rules<'r>,
    report: &'r mut Report,
    defaults: Option<Layer>,
    groups: BTreeMap<String, Group>,
    endpoints: Vec<ConfiguredEndpoint>,
    /// Where each (group, name) stands.
    named: HashMap<(String, String), SourceRef>,
    /// Where each token of a push endpoint stands.
    tokens: HashMap<String, SourceRef>,
    inherited: InheritedMistakes,
    /// Where the parents of each endpoint that has some are written, by the number of the endpoint.
    parents: HashMap<usize, parents::Stated>,
}

struct Group {
    description: String,
    layer: Layer,
    source: SourceRef,
}

impl Group {
    fn into_config(self) -> GroupConfig {
        GroupConfig { description: self.description, settings: self.layer.settings, source: self.source }
    }
}

/// An endpoint as it stands in the file.
struct Item<'n> {
    at: &'n Trail<'n>,
    /// Of the endpoint as a whole.
    place: &'n Place,
    /// By its key in a mapping of endpoints.
    name: Option<&'n str>,
    /// By the group it stands in.
    group: Option<&'n str>,
    node: &'n Node,
}

impl Reader<'_> {
    /// The section, unless it is empty; a list or a mapping in a variable is opened.
    fn opened(&mut self, node: Node, name: &str) -> Option<Node> {
        if node.is_null() {
            return None;
        }
        match inline_collection(&node) {
            None => Some(node),
            Some(Ok(inline)) => Some(inline),
            Some(Err(message)) => {
                self.report.error(&node.place, name, message);
                None
            }
        }
    }

    /// Reads what the groups hand down; gives back the endpoints that stand in them.
    fn read_groups(&mut self, groups: Node) -> Vec<(String, Node)> {
        let mut lists = Vec::new();
        let root = Trail::Key(&Trail::Root, "groups");
        let kind = groups.kind();
        let Value::Mapping(entries) = groups.value else {
            self.report.error(&groups.place, root, unexpected_kind("a mapping of groups", kind));
            return lists;
        };
        for entry in entries {
            let name = entry.key.text;
            let mut node = entry.value;
            if node.is_null() {
                node = Node::mapping(node.place);
            }
            if !matches!(node.value, Value::Mapping(_)) {
                let message = unexpected_kind("a mapping with the settings of the group", node.kind());
                self.report.error(&node.place, Trail::Key(&root, &name), message);
                continue;
            }
            if let Some(list) = node.remove("endpoints").filter(|entry| !entry.value.is_null()) {
                lists.push((name.clone(), list.value));
            }
            let named = Some((name.as_str(), &entry.key.place));
            let mut layer = Layer::read(Trail::Key(&root, &name).to_string(), node, named, self.rules, self.report);
            let description = layer.settings.description.take().unwrap_or_default();
            self.groups.insert(name, Group { description, layer, source: entry.key.place.to_ref() });
        }
        lists
    }

    fn read_endpoints(&mut self, list: &Node, at: &Trail<'_>, group: Option<&str>) {
        match &list.value {
            Value::Sequence(items) => {
                // Counted by file: where several are merged, a person counts in the one that is open.
                let mut counts: HashMap<_, usize> = HashMap::new();
                for node in items {
                    let count = counts.entry(Arc::as_ptr(&node.place.source)).or_default();
                    let at = Trail::Index(at, *count);
                    *count += 1;
                    self.read_endpoint(&Item { at: &at, place: &node.place, name: None, group, node });
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    let at = Trail::Key(at, &entry.key.text);
                    let (place, name) = (&entry.key.place, Some(entry.key.text.as_str()));
                    self.read_endpoint(&Item { at: &at, place, name, group, node: &entry.value });
                }
            }
            Value::Scalar(_) => {
                let message = unexpected_kind("a list of endpoints", list.kind());
                self.report.error(&list.place, at, message);
            }
        }
    }

    fn read_endpoint(&mut self, item: &Item<'_>) {
        let Some(Typed { value: mut settings, left_out }) = self.settings(item) else { return };
        if left_out.iter().any(String::is_empty) {
            return;
        }
        self.name_and_group(item, &mut settings, &left_out);
        self.refuse_second(item, &settings, &left_out);
        fill_holes(item, &mut settings);

        let default = EndpointSettings::default();
        let group = settings.group.as_ref().and_then(|name| self.groups.get(name));
        let layers = Layers {
            defaults: self.defaults.as_ref().map_or(&default, |layer| &layer.settings),
            group: group.map(|group| &group.layer.settings),
            routes: self.rules.routes,
            timezone: self.rules.timezone,
            channels: self.rules.channels,
        };
        match resolve(&settings, layers, self.rules.now) {
            Ok(endpoint) => {
                if !endpoint.depends_on.0.is_empty() {
                    let written = parents::written(item, &settings, group.map(|group| &group.layer));
                    let stated = parents::Stated { place: item.place.clone(), written };
                    self.parents.insert(self.endpoints.len(), stated);
                }
                self.refuse_second_token(item, &settings);
                self.endpoints.push(ConfiguredEndpoint { settings, endpoint, source: item.place.to_ref() });
            }
            Err(rules) => {
                for rule in &rules {
                    self.blame(item, &settings, &left_out, rule);
                }
            }
        }
    }

    /// The settings themselves; a bare URL is an endpoint too.
    fn settings(&mut self, item: &Item<'_>) -> Option<Typed<EndpointSettings>> {
        match &item.node.value {
            Value::Scalar(scalar) if !item.node.is_null() || scalar.missing => {
                let url = Some(scalar.text.clone()).filter(|text| !text.is_empty());
                let name = url.as_ref().map(|text| host_of(text));
                Some(Typed { value: EndpointSettings { name, url, ..Default::default() }, left_out: Vec::new() })
            }
            Value::Mapping(_) => Some(typed(item.node, item.at, self.report)),
            _ => {
                let message = unexpected_kind("a URL, or a mapping with name and url", item.node.kind());
                self.report.error(item.place, item.at, message);
                None
            }
        }
    }

    fn name_and_group(&mut self, item: &Item<'_>, settings: &mut EndpointSettings, left_out: &[String]) {
        let wrong = |key: &str, message: String, help: Option<String>, report: &mut Report| {
            let node = item.node.get(key).unwrap_or(item.node);
            if !node.has_missing() {
                report.error_with_help(&node.place, Trail::Key(item.at, key), message, help);
            }
        };
        if let Some(key) = item.name {
            let written = item.node.get("name").and(settings.name.as_ref());
            if written.is_some_and(|name| name != key) {
                wrong(
                    "name",
                    format!("the endpoint has its name from its key, `{key}`: leave it out"),
                    None,
                    self.report,
                );
            }
            settings.name = Some(key.to_owned());
        }
        let written = settings.group.take().filter(|group| !group.is_empty());
        settings.group = match (item.group, written) {
            (Some(group), written) => {
                if written.is_some_and(|other| other != group) {
                    let message = format!("the endpoint stands in the group `{group}`: leave it out");
                    wrong("group", message, None, self.report);
                }
                Some(group.to_owned())
            }
            (None, Some(group)) if !self.groups.contains_key(&group) && !overlaps(left_out, "/group") => {
                // A group need not be declared, but one that is nearly declared is a slip of the pen.
                if let Some(meant) = closest(&group, self.groups.keys().map(String::as_str)) {
                    let help = Some(format!("did you mean {meant} ?"));
                    wrong("group", format!("there is no group `{group}`"), help, self.report);
                }
                Some(group)
            }
            (None, written) => written,
        };
    }

    fn refuse_second(&mut self, item: &Item<'_>, settings: &EndpointSettings, left_out: &[String]) {
        let Some(name) = settings.name.clone().filter(|_| !overlaps(left_out, "/name")) else { return };
        let group = settings.group.clone().unwrap_or_default();
        let here = item.place.to_ref();
        match self.named.entry((group, name)) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(here);
            }
            std::collections::hash_map::Entry::Occupied(taken) => {
                let (node, exact) = item.node.at_pointer("/name");
                if node.has_missing() {
                    return;
                }
                let place = if exact { &node.place } else { item.place };
                let (group, name) = taken.key();
                let within = if group.is_empty() { String::new() } else { format!(" in the group `{group}`") };
                let message = format!("the name `{name}` is taken{within}: {} has it", taken.get());
                let help = match item.node.value {
                    Value::Scalar(_) => "a bare URL is named by its host: write {name: …, url: …}",
                    _ => "names are unique within a group",
                };
                self.report.error_with_help(place, Trail::Key(item.at, "name"), message, help.to_owned());
            }
        }
    }

    /// Of two endpoints with the same token nobody could say which one reports.
    fn refuse_second_token(&mut self, item: &Item<'_>, settings: &EndpointSettings) {
        let Some(token) = settings.token.clone() else { return };
        let node = item.node.get("token").unwrap_or(item.node);
        if let Some(taken) = self.tokens.insert(token, item.place.to_ref()) {
            let message = format!("is the token of another endpoint: {taken} has it");
            self.report.error(&node.place, Trail::Key(item.at, "token"), message);
        }
    }

    /// Tells of a broken rule where the value that breaks it is written: here, in the group, or in the defaults.
    fn blame(&mut self, item: &Item<'_>, settings: &EndpointSettings, left_out: &[String], rule: &RuleError) {
        if overlaps(left_out, &rule.pointer) || depends_on_left_out(rule, left_out) {
            return;
        }
        let group = settings.group.as_ref().and_then(|name| self.groups.get(name)).map(|group| &group.layer);
        let layers = || group.into_iter().chain(&self.defaults);
        let (node, exact) = item.node.at_pointer(&rule.pointer);
        if (exact && node.has_missing()) || (depends_on_others(rule) && item.node.has_missing()) {
            return;
        }
        if !exact && let Some(layer) = layers().find(|layer| layer.node.at_pointer(&rule.pointer).1) {
            let name = settings.name.as_deref().unwrap_or_default();
            self.inherited.note(layer, rule, name);
            return;
        }
        if depends_on_others(rule) && layers().any(|layer| layer.node.has_missing()) {
            return;
        }
        let place = if exact { &node.place } else { item.place };
        let path = format!("{}{}", item.at, path_below(&rule.pointer));
        self.report.error(place, path, without_secrets(rule.detail.clone(), node));
    }
}

/// An unset variable that was allowed must not look like a key that was forgotten.
fn fill_holes(item: &Item<'_>, settings: &mut EndpointSettings) {
    let hole = |key: &str| {
        let (node, exact) = item.node.at_pointer(&format!("/{key}"));
        (exact || matches!(node.value, Value::Scalar(_))) && node.has_missing()
    };
    if settings.url.is_none() && hole("url") {
        settings.url = Some("http://unset.invalid/".to_owned());
    }
    if settings.interval.is_none() && settings.schedule.is_none() && (hole("interval") || hole("schedule")) {
        // Long enough for any timeout.
        settings.interval = Some(DurationSetting(Duration::from_hours(366 * 24)));
    }
    if settings.name.is_none() && hole("name") {
        settings.name = Some("unset".to_owned());
    }
}

/// What a bare URL is called.
fn host_of(text: &str) -> String {
    url::Url::parse(text)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| text.to_owned())
}
