//! The levels of ARCHITECTURE.md, read from the `use crate::` lines and paths of the sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules of each level, lowest first.
const LEVELS: [&[&str]; 6] = [
    &["domain"],
    &[
        "config",
        "clock",
        "connectivity",
        "events",
        "feed",
        "handover",
        "outbound",
        "quiet",
        "wakeup",
        "board",
        "keyring",
        "lifecycle",
        "links",
        "sessions",
        "telemetry",
    ],
    &["checks", "store"],
    &["service", "scheduler", "recorder", "notify", "network", "certificates", "teller", "jobs"],
    &["api"],
    &["app", "cli", "main"],
];

/// The top level builds and wires, and may see itself.
const TOP: usize = 5;

/// Beside what is below it, a surface may name only these.
const SURFACE_MAY: [&str; 9] =
    ["service", "board", "links", "events", "config", "telemetry", "domain", "lifecycle", "clock"];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_owned();
                let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
                let module = first.trim_end_matches(".rs").to_owned();
                found.push((module, relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The code of a file without its comments and without its tests, which may reach further.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules that a source names as `crate::module`, alone or in braces.
fn named_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(inner) => inner.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            modules.push(name);
        }
    }
    modules
}

#[test]
fn imports_point_downwards() {
    let level_of: BTreeMap<&str, usize> =
        LEVELS.iter().enumerate().flat_map(|(level, names)| names.iter().map(move |name| (*name, level))).collect();
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        if module == "lib" {
            continue;
        }
        let Some(level) = level_of.get(module.as_str()) else {
            wrong.push(format!("{}: the module `{module}` has no level in ARCHITECTURE.md", path.display()));
            continue;
        };
        for named in named_modules(&code(&text)) {
            let Some(other) = level_of.get(named.as_str()) else { continue };
            let same_module = named == module;
            let below = other < level && (module != "api" || SURFACE_MAY.contains(&named.as_str()));
            if !(same_module || below || *level == TOP) {
                wrong.push(format!("{}: `{module}` (level {level}) names `{named}` (level {other})", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_outside_world_stays_in_its_rooms() {
    let rules: [(&str, &[&str]); 12] = [
        ("sea_orm::", &["store"]),
        ("reqwest::", &["checks", "notify", "cli"]),
        ("lettre::", &["notify"]),
        // A check of a name server writes its own question; names for others are looked up in one place.
        ("hickory_resolver::", &["outbound", "checks"]),
        ("TokioResolver", &["outbound"]),
        ("lookup_host", &["outbound"]),
        ("teloxide::", &["notify"]),
        ("std::env::var", &["config"]),
        ("tokio::spawn(", &["lifecycle"]),
        ("Utc::now", &["clock"]),
        ("serde_yaml", &["config"]),
        ("axum::", &["api", "cli"]),
    ];
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let code = code(&text);
        for (word, rooms) in rules {
            if code.contains(word) && !rooms.contains(&module.as_str()) {
                wrong.push(format!("{}: `{word}` belongs to {}", path.display(), rooms.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn whoever_looks_on_is_told_of_every_change() {
    for (_, path, text) in sources().into_iter().filter(|(module, ..)| module == "service") {
        // Refusals and reads are no changes, and at the start nobody looks on yet.
        if path.ends_with("context.rs") || path.ends_with("sync.rs") {
            continue;
        }
        let code = code(&text);
        let (rows, told) = (code.matches("audit::append(").count(), code.matches("announce(").count());
        assert!(
            rows <= told,
            "{}: {rows} kinds of audit rows and {told} announcements: after the commit call `ctx.announce(actor, action, \
             subject)`",
            path.display()
        );
    }
}

#[test]
fn the_domain_is_pure() {
    for (_, path, text) in sources().into_iter().filter(|(module, ..)| module == "domain") {
        let code = code(&text);
        for word in ["tokio", "sea_orm", "axum", "reqwest", "async fn", ".await", "std::fs", "std::net", "::now()"] {
            assert!(!code.contains(word), "{}: `{word}` in the domain", path.display());
        }
    }
}

#[test]
fn names_say_what_they_hold() {
    for (_, path, _) in sources() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let vague = ["utils", "util", "helpers", "helper", "common", "types", "manager", "core", "misc"];
            assert!(!vague.contains(&name.as_str()), "{}: a name that excludes nothing", path.display());
        }
    }
}
