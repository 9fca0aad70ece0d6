//! That the documents speak of what is there: links, routes, keys, variables, commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shipped(path: &str) -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// The Markdown files of the repository's top and of `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        found.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    }
    found
}

/// The text without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What a heading is called in a link: small letters, digits, hyphens for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    headings.map(|heading| heading.to_lowercase().chars().filter_map(kept).collect()).collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = prose(&read(&document));
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{} links to {link}", document.display());
            if let Some(anchor) = anchor {
                assert!(anchors(&read(&target)).contains(anchor), "{} links to {link}", document.display());
            }
        }
    }
}

/// The last cell of every row of a table, without the header.
fn last_cells(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| there "));
    rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap()).collect()
}

/// What is written as code.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Every route that a text names in code is served.
fn assert_routes(code: &[&str]) -> usize {
    let served: Value = serde_json::from_str(&api_monitor::api::document("X-API-Key").to_json().unwrap()).unwrap();
    let mut routes = 0;
    for span in code {
        let Some((method, path)) = span.split_once(" /") else { continue };
        if ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            let path = format!("/{}", path.split('?').next().unwrap());
            assert!(served["paths"][&path][method.to_lowercase()].is_object(), "{span} is not served");
            routes += 1;
        }
    }
    routes
}

/// Every variable of the environment that a text names in code is one.
fn assert_variables(code: &[&str]) -> usize {
    let (example, configuration) = (shipped(".env.example"), shipped("docs/configuration.md"));
    let mut variables = 0;
    for span in code {
        let name = span.split('=').next().unwrap();
        let is_one =
            name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if is_one {
            let known = example.contains(&format!("{name}=")) || configuration.contains(&format!("`{name}"));
            assert!(known, "{span} is no variable");
            variables += 1;
        }
    }
    variables
}

/// Every key of the configuration that a text names in code as `section.key` is one.
fn assert_keys(code: &[&str]) -> usize {
    let every: Value = serde_yaml::from_str(&shipped("config/every-key.yaml")).unwrap();
    let mut keys = 0;
    for span in code {
        let path: Vec<&str> = span.split(':').next().unwrap().split('.').collect();
        let well_formed = path.iter().all(|s| !s.is_empty() && s.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if path.len() < 2 || !well_formed || every.get(path[0]).is_none() {
            continue;
        }
        // `defaults` takes what an endpoint has.
        let (root, rest) =
            if path[0] == "defaults" { (&every["endpoints"][0], &path[1..]) } else { (&every, path.as_slice()) };
        let found = rest.iter().try_fold(root, |value, key| value.get(key));
        assert!(found.is_some(), "{span} is no key");
        keys += 1;
    }
    keys
}

#[test]
fn what_the_original_has_is_where_its_table_says() {
    let text = shipped("docs/original.md");
    let code: Vec<&str> = last_cells(&text).into_iter().flat_map(code).collect();
    let (routes, variables, keys) = (assert_routes(&code), assert_variables(&code), assert_keys(&code));
    assert!(routes > 20 && variables > 8 && keys > 30, "{routes} routes, {variables} variables, {keys} keys were read");

    let help = Command::new(env!("CARGO_BIN_EXE_api-monitor")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for span in code {
        if let Some(command) = span.strip_prefix("api-monitor ").and_then(|rest| rest.split(' ').next()) {
            assert!(
                help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
                "{span} is no command"
            );
        }
    }
}

#[test]
fn operations_speak_of_routes_and_variables_that_are_there() {
    let text = prose(&shipped("docs/operations.md"));
    let code = code(&text);
    let (routes, variables) = (assert_routes(&code), assert_variables(&code));
    assert!(routes > 2 && variables > 8, "{routes} routes, {variables} variables were read");
}

/// Each row of "The further documents" names routes that are served and tests of the running program that exist.
#[test]
fn every_requirement_of_the_further_documents_has_a_route_and_a_test_of_the_running_program() {
    let served: Value = serde_json::from_str(&api_monitor::api::document("X-API-Key").to_json().unwrap()).unwrap();
    let is_served = |path: &str, method: &str| {
        // Routes are named with and without what every one begins with.
        [path.to_owned(), format!("/api/v1{path}")]
            .iter()
            .any(|path| served["paths"][path][method.to_lowercase()].is_object())
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform");
    let tests: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| read(&path))
        .collect();
    let text = shipped("docs/api.md");
    let section = text.split("## The further documents").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 40, "{} rows were read", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, routes, named] = cells.as_slice() else { panic!("{row}") };
        for span in code(routes) {
            let Some((methods, path)) = span.split_once(' ') else { continue };
            for method in methods.split('·') {
                assert!(is_served(path, method), "{span} is not served");
            }
        }
        let named = code(named);
        assert!(!named.is_empty(), "{row}");
        for name in named {
            assert!(tests.contains(&format!("fn {name}(")), "{name} is no test of tests/it/platform");
        }
    }
}
