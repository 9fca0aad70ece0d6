//! Settings that several endpoints inherit (`defaults`, a group), and the mistakes in them, each told once however
//! many endpoints it befalls.

use std::collections::HashMap;
use std::time::Duration;

use super::de::typed_among;
use super::errors::ConfigError;
use super::fault::Keys;
use super::report::{Report, path_below};
use super::tree::{Node, Place, Trail, without_secrets};
use crate::domain::Timestamp;
use crate::domain::endpoint::{EndpointSettings, Layers, RuleError, overlay, resolve_layer};
use crate::domain::route::Route;
use crate::domain::setting::DurationSetting;

/// What settings are checked against.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) timezone: chrono_tz::Tz,
    /// The names of the channels, when they could be read.
    pub(super) channels: Option<&'a [String]>,
    /// Those that could be read.
    pub(super) routes: &'a [Route],
    pub(super) now: Timestamp,
}

pub(super) struct Layer {
    /// `defaults`, `groups.core`
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) settings: EndpointSettings,
    /// Pointers whose mistakes are told already.
    told: Vec<String>,
}

/// Keys that each endpoint has for itself.
const OWN_KEYS: [&str; 3] = ["name", "url", "group"];

impl Layer {
    /// Reads the settings and tells what is wrong with them by themselves. `group`: the name of the group they are
    /// of, and where it stands.
    pub(super) fn read(
        name: String,
        node: Node,
        group: Option<(&str, &Place)>,
        rules: Rules<'_>,
        report: &mut Report,
    ) -> Self {
        let at = Trail::Key(&Trail::Root, &name);
        let keys = Keys { also: if group.is_some() { &["endpoints"] } else { &[] }, without: &OWN_KEYS };
        let read = typed_among::<EndpointSettings>(&node, keys, &at, report);
        let (mut settings, mut told) = (read.value, read.left_out);
        for key in OWN_KEYS {
            if let Some(entry) = node.get_entry(key) {
                report.error(
                    &entry.key.place,
                    Trail::Key(&at, key),
                    "is a matter of each endpoint: it is not inherited",
                );
            }
        }
        settings.name = None;
        settings.url = None;
        settings.group = None;
        if !told.iter().any(String::is_empty) {
            for rule in mistakes(&settings, group.map(|(name, _)| name), rules) {
                if overlaps(&told, &rule.pointer) {
                    continue;
                }
                let (pointed, exact) = node.at_pointer(&rule.pointer);
                if !(exact && pointed.has_missing()) {
                    let place = group.filter(|_| rule.pointer == "/group").map_or(&pointed.place, |(_, place)| place);
                    let path = if rule.pointer == "/group" { String::new() } else { path_below(&rule.pointer) };
                    report.error(place, format!("{name}{path}"), without_secrets(rule.detail, pointed));
                }
                told.push(rule.pointer);
            }
        }
        Self { name, node, settings, told }
    }
}

/// The rules that settings break whoever inherits them, tried on an endpoint that has everything else.
pub(super) fn mistakes(settings: &EndpointSettings, group: Option<&str>, rules: Rules<'_>) -> Vec<RuleError> {
    let year = DurationSetting(Duration::from_hours(366 * 24));
    let scheduled = settings.interval.is_some() || settings.schedule.is_some();
    let probe = EndpointSettings {
        name: Some("probe".to_owned()),
        url: Some("http://localhost/".to_owned()),
        group: group.map(str::to_owned),
        interval: if scheduled { None } else { Some(year) },
        ..EndpointSettings::default()
    };
    let none = EndpointSettings::default();
    let layers =
        Layers { defaults: &none, group: None, routes: &[], timezone: rules.timezone, channels: rules.channels };
    let broken = resolve_layer(&overlay(settings, &probe), layers, rules.now).err().unwrap_or_default();
    broken.into_iter().filter(|rule| !depends_on_others(rule)).collect()
}

/// Whether the rule is about more than the key it points at, so that an endpoint can mend it with another key.
pub(super) fn depends_on_others(rule: &RuleError) -> bool {
    rule.code == "conflict" || matches!(rule.pointer.as_str(), "/timeout" | "/connect_timeout")
}

/// Whether such another key was mistaken itself, so that the rule may not be broken at all.
pub(super) fn depends_on_left_out(rule: &RuleError, left_out: &[String]) -> bool {
    depends_on_others(rule)
        && ["/interval", "/schedule", "/timeout", "/retry", "/alert_policy"]
            .iter()
            .any(|pointer| overlaps(left_out, pointer))
}

/// Whether a pointer is at, above or below one of `pointers`.
pub(super) fn overlaps(pointers: &[String], pointer: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    pointers.iter().any(|other| within(pointer, other) || within(other, pointer))
}

/// Broken rules whose value comes from a layer.
#[derive(Default)]
pub(super) struct InheritedMistakes(HashMap<(String, String, String), Inherited>);

struct Inherited {
    error: ConfigError,
    /// The first endpoint it befalls.
    endpoint: String,
    others: usize,
}

impl InheritedMistakes {
    pub(super) fn note(&mut self, layer: &Layer, rule: &RuleError, endpoint: &str) {
        let (node, _) = layer.node.at_pointer(&rule.pointer);
        if overlaps(&layer.told, &rule.pointer) || node.has_missing() {
            return;
        }
        let key = (layer.name.clone(), rule.pointer.clone(), rule.detail.clone());
        self.0.entry(key).and_modify(|known| known.others += 1).or_insert_with(|| {
            let path = format!("{}{}", layer.name, path_below(&rule.pointer));
            let message = without_secrets(rule.detail.clone(), node);
            Inherited {
                error: ConfigError::new(node.place.to_ref(), path, message),
                endpoint: endpoint.to_owned(),
                others: 0,
            }
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tell(self, report: &mut Report) {
        for Inherited { error, endpoint, others } in self.0.into_values() {
            let more = match others {
                0 => String::new(),
                1 => " and by one more endpoint".to_owned(),
                n => format!(" and by {n} more endpoints"),
            };
            report.errors.push(error.with_help(format!("inherited by `{endpoint}`{more}")));
        }
    }
}
