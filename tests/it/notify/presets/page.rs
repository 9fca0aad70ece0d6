//! `docs/channels.md` is made of the data files of the presets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use api_monitor::domain::preset::{self, OptionKind, Preset, PresetOption, Unit};

/// Set to anything, the page is written anew.
const REWRITE: &str = "UPDATE_DOCS";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/channels.md")
}

#[test]
fn the_page_says_what_the_data_files_say() {
    let page = page();
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(path(), &page).unwrap();
    }
    let there = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(there == page, "docs/channels.md is not up to date: {REWRITE}=1 cargo test the_page_says writes it anew");
}

fn page() -> String {
    let presets = preset::all().unwrap();
    let mut page = String::from(INTRODUCTION);
    page.push_str("| `type` | service | compared with its documentation | incidents of its own |\n|---|---|---|---|\n");
    for preset in &presets {
        let life_cycle = if preset.life_cycle { "yes: triggers and resolves, never grouped" } else { "no" };
        let row = (&preset.name, &preset.title, compared(preset), life_cycle);
        writeln!(page, "| [`{}`](#{}) | {} | {} | {} |", row.0, row.0, row.1, row.2, row.3).unwrap();
    }
    for preset in &presets {
        page.push_str(&section(preset));
    }
    page
}

const INTRODUCTION: &str = "\
# Channels

Through what people are told. Which endpoints are told through which channel, and the keys that every channel has
(`enabled`, `default`, `severity`, `fallback`), is in [configuration.md](configuration.md#channels); when something is
told, in [alerting.md](alerting.md). Any of these may also be made through the API: `POST /api/v1/channels` with the same
keys in JSON. Try one with `api-monitor notify test NAME`, or with `POST /api/v1/channels/{name}/test`.

`console`, `email`, `webhook` and `telegram` are described in [configuration.md](configuration.md#channels). All others are
presets: requests in the form of a service, each described by one data file. This page is made of these files. Every one of
them was compared with the service's own documentation on the day that is named; \"verified live\" says that a message was
really sent through the service as well.

Common to all presets:

- The same message everywhere: what happened, why, since when and how it was noticed, the address, the runbook, the link to
  the incident; the form is the service's.
- What is told is never read as markup as far as the service lets one say so, and mentions nobody.
- A message that is too long is cut at a character: the longest lines first, so that the link and the runbook stay.
- A redirect is not followed. 410 gives a message up; 401, 403 and 404 look as if a person had to help, and are tried slowly;
  so are the further statuses named here. `Retry-After` is honoured, for an hour at most.
- Secrets are never shown: they read `***` in the API, in logs and in errors.

";

fn compared(preset: &Preset) -> String {
    let live = if preset.verified_live { ", verified live" } else { "" };
    format!("{}{live}", preset.compared_at)
}

fn section(preset: &Preset) -> String {
    let mut text = format!("\n## {}\n\n{}.\n\n```yaml\nchannels:\n  ops:\n", preset.name, preset.about);
    let example = preset.example();
    // In the order of the file, after the type.
    writeln!(text, "    type: {}", preset.name).unwrap();
    for option in preset.options.iter().filter(|option| example.contains_key(&option.name)) {
        writeln!(text, "    {}: \"{}\"", option.name, option.example).unwrap();
    }
    text.push_str("```\n\n| key | default | meaning |\n|---|---|---|\n");
    for option in &preset.options {
        let default = option.default.as_ref().map_or(String::new(), |default| format!("`{default}`"));
        writeln!(text, "| `{}` | {default} | {} |", option.name, meaning(preset, option)).unwrap();
    }
    text.push('\n');
    let request = &preset.request;
    let address = request.url.replace("{options.", "{");
    writeln!(text, "- Sends `{} {address}`.", request.method).unwrap();
    let limits: Vec<String> = preset
        .limits
        .iter()
        .map(|(what, limit)| {
            let unit = match limit.unit {
                Unit::Characters => "characters",
                Unit::Bytes => "bytes",
            };
            format!("{what} {} {unit}", limit.max)
        })
        .collect();
    writeln!(text, "- At most: {}.", limits.join(", ")).unwrap();
    writeln!(text, "- Taken: {}. {}", success(preset), rate_limit(preset)).unwrap();
    if !preset.lasting.is_empty() {
        writeln!(text, "- Tried slowly as well: {}.", numbers(&preset.lasting)).unwrap();
    }
    for note in &preset.notes {
        writeln!(text, "- {note}").unwrap();
    }
    let documents: Vec<String> = preset.documentation.iter().map(|url| format!("<{url}>")).collect();
    let live = if preset.verified_live { "Verified live" } else { "Not verified live" };
    writeln!(text, "- Compared with its documentation on {}: {}. {live}.", preset.compared_at, documents.join(", "))
        .unwrap();
    text
}

fn meaning(preset: &Preset, option: &PresetOption) -> String {
    let mut parts = vec![option.about.clone()];
    match option.kind {
        OptionKind::Integer => {
            parts.push(format!("a whole number, {} to {}", option.range().start(), option.range().end()));
        }
        OptionKind::Choice => parts.push(format!("one of {}", option.choices.join(", "))),
        OptionKind::Url | OptionKind::Text => {}
    }
    if let Some(expected) = &option.expected {
        parts.push(expected.clone());
    }
    let mut text = parts.join("; ");
    if option.secret {
        text.push_str(". Secret");
    }
    if option.required {
        text.push_str(". Needed");
    }
    for set in preset.one_of.iter().filter(|set| set.contains(&option.name)) {
        let others: Vec<String> =
            set.iter().filter(|name| **name != option.name).map(|name| format!("`{name}`")).collect();
        write!(text, ". Needed: this or {}", others.join(" or ")).unwrap();
    }
    text
}

fn numbers(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn success(preset: &Preset) -> String {
    let mut text = numbers(&preset.success.statuses);
    if let Some(body) = &preset.success.body {
        write!(text, " with the body `{body}`").unwrap();
    }
    if let Some((pointer, value)) = &preset.success.json {
        write!(text, " with `{}` {value} in the body", &pointer[1..]).unwrap();
    }
    text
}

fn rate_limit(preset: &Preset) -> String {
    let limit = &preset.rate_limit;
    let mut from = vec!["`Retry-After`".to_owned()];
    from.extend(limit.pointer.as_ref().map(|(pointer, _)| format!("`{}` of the body", &pointer[1..])));
    from.extend(limit.until_header.as_ref().map(|header| format!("`{header}`")));
    let mut text = format!("Too much at once: {}; the pause is in {}", numbers(&limit.statuses), from.join(" or "));
    if let Some(seconds) = limit.otherwise_seconds {
        write!(text, ", else {seconds} s").unwrap();
    }
    text + "."
}
