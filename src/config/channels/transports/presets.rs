//! The options of presets, which their data files name.

use std::collections::BTreeMap;

use super::{Read, Section, parse_web_address};
use crate::config::Secret;
use crate::config::channels::Transport;
use crate::config::de::json_kind;
use crate::config::fault::unexpected_kind;
use crate::config::overrides::variable_of;
use crate::config::report::Report;
use crate::config::tree::{Entry, Node, Value, boolean, integer};
use crate::domain::preset::{self, OptionKind, Preset, PresetOption};
use crate::domain::suggest::closest;

/// Reads the options of a preset; `also` are keys that are known, but read by someone else.
pub(super) fn read(
    name: &'static str,
    section: &Section<'_>,
    also: &[&'static str],
    judged: bool,
    report: &mut Report,
) -> Read {
    let mut options = BTreeMap::new();
    let mut left_out = Vec::new();
    let transport = |options| Transport::Preset { preset: name.to_owned(), options };
    let (Some(node), Some(Ok(preset))) = (section.node, preset::find(name)) else {
        return Read { transport: transport(options), left_out };
    };
    for entry in node.entries() {
        let key = entry.key.text.as_str();
        let place = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let Some(option) = preset.option(key) else {
            // Keys that begin with x- belong to nobody; what is sent has no use for them.
            if also.contains(&key) || (key.starts_with("x-") && !entry.key.place.is_sent()) {
                continue;
            }
            left_out.extend(unknown(&preset, entry, also, section, report));
            left_out.push(place);
            continue;
        };
        match text_of(option, &entry.value) {
            Ok(Some(text)) => {
                options.insert(key.to_owned(), Secret::new(text.trim()));
            }
            Ok(None) => {}
            Err(message) => {
                section.wrong(key, message, report);
                left_out.push(place);
            }
        }
    }
    let mut unheard = Report::default();
    let report = if judged { report } else { &mut unheard };
    for (name, value) in &options {
        let Some(option) = preset.option(name).filter(|_| !value.expose().is_empty()) else { continue };
        let checked = match option.kind {
            OptionKind::Url => {
                parse_web_address(value.expose()).map(|_| ()).and_then(|()| option.check(value.expose()))
            }
            _ => option.check(value.expose()),
        };
        if let Err(message) = checked {
            section.wrong(name, message, report);
        }
    }
    for (name, message) in preset.excess(&|name| options.get(name).is_some_and(|value| !value.expose().is_empty())) {
        section.wrong(&name, message, report);
    }
    options.retain(|_, value| !value.expose().is_empty());
    for option in &preset.options {
        if let Some(default) = &option.default {
            options.entry(option.name.clone()).or_insert_with(|| Secret::new(default));
        }
    }
    Read { transport: transport(options), left_out }
}

/// The options that must be set and are not, each with how it is named to a person.
pub(super) fn needs(name: &str, is_set: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    match preset::find(name) {
        Some(Ok(preset)) => preset.needs(is_set),
        _ => Vec::new(),
    }
}

/// What is written of an option. Of JSON its type counts, elsewhere a plain number is a text as well.
fn text_of(option: &PresetOption, node: &Node) -> Result<Option<String>, String> {
    let expected = if option.kind == OptionKind::Integer { "a whole number" } else { "text" };
    let Value::Scalar(scalar) = &node.value else { return Err(unexpected_kind(expected, node.kind())) };
    if scalar.is_null() {
        return Ok(None);
    }
    let as_text = option.kind != OptionKind::Integer;
    if node.place.is_sent() && scalar.quoted != as_text {
        return Err(unexpected_kind(expected, json_kind(scalar)));
    }
    if !as_text && !scalar.text.trim().is_empty() && integer(scalar.text.trim()).is_none() {
        return Err(format!("`{}` is not a whole number", scalar.text));
    }
    if as_text && !node.place.is_sent() && !scalar.quoted && boolean(&scalar.text).is_some() && scalar.written.is_none()
    {
        return Err(unexpected_kind(expected, json_kind(scalar)));
    }
    Ok(Some(scalar.text.clone()))
}

/// Says that a key is unknown. Gives the place of the one that was meant, which is not missing either.
fn unknown(
    preset: &Preset,
    entry: &Entry,
    also: &[&'static str],
    section: &Section<'_>,
    report: &mut Report,
) -> Option<String> {
    let key = entry.key.text.as_str();
    let known: Vec<&str> =
        preset.options.iter().map(|option| option.name.as_str()).chain(also.iter().copied()).collect();
    let meant = closest(key, known.iter().copied());
    let help = match meant {
        Some(meant) if entry.key.place.is_variable() => {
            format!("did you mean {} ?", variable_of(&format!("{}.{meant}", section.path)))
        }
        Some(meant) => format!("did you mean {meant} ?"),
        None => format!("known here: {}", known.join(", ")),
    };
    report.error_with_help(&entry.key.place, format!("{}.{key}", section.path), "unknown key", Some(help));
    meant.map(|meant| format!("/{meant}"))
}
