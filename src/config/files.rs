//! Finds and reads the files of a configuration: one file, or a folder whose files are merged into one tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::ConfigError;
use super::load;
use super::report::Report;
use super::tree::{Entry, Node, Place, Source, Trail, Value};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The most files a folder may have.
const MAX_FILES: usize = 1000;

pub(super) struct Files {
    /// As they are named in messages, in the order they were read.
    pub(super) names: Vec<String>,
    /// Absolute.
    pub(super) paths: Vec<PathBuf>,
    /// All of them merged. `None` when one could not be read: the report says why.
    pub(super) root: Option<Node>,
}

/// Reads the file or the folder at `path`; mistakes go to the report.
pub(super) fn read(path: &Path, report: &mut Report) -> Files {
    let found = match find(path) {
        Ok(found) => found,
        Err(error) => {
            report.errors.push(error);
            return Files { names: Vec::new(), paths: Vec::new(), root: None };
        }
    };
    let names: Vec<String> = found.iter().map(|file| file.display().to_string()).collect();
    let mut root = Some(Node::mapping(whole_file(&names[0])));
    for (file, name) in found.iter().zip(&names) {
        match read_one(file, name) {
            Ok(tree) => {
                if let Some(merged) = &mut root {
                    merge(merged, tree, &Trail::Root, report);
                }
            }
            Err(errors) => {
                report.errors.extend(errors);
                root = None;
            }
        }
    }
    let paths = found.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect();
    Files { names, paths, root }
}

fn whole_file(name: &str) -> Place {
    Place { source: Arc::new(Source::File(name.to_owned())), line: 0, column: 0 }
}

/// The files at `path`, never none.
fn find(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let cannot = |e: std::io::Error| {
        if e.kind() == std::io::ErrorKind::NotFound {
            ConfigError::of_file(path.display(), "there is no configuration here").with_help(
                "name a file or a folder with --config PATH or CONFIG_PATH, or make this one; the least it needs is\n\
                 endpoints:\n  - https://example.com/health"
                    .to_owned(),
            )
        } else {
            ConfigError::of_file(path.display(), format!("cannot be read: {e}"))
        }
    };
    if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        let yaml = file.extension().is_some_and(|e| e == "yaml" || e == "yml");
        // Mounted ConfigMaps keep their generations in names that begin with two dots.
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."));
        if yaml && !hidden && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    match files.len() {
        0 => Err(ConfigError::of_file(path.display(), "there is no *.yaml or *.yml file in this folder")),
        n if n > MAX_FILES => Err(ConfigError::of_file(path.display(), format!("has {n} files: at most {MAX_FILES}"))),
        _ => Ok(files),
    }
}

fn read_one(file: &Path, name: &str) -> Result<Node, Vec<ConfigError>> {
    let refuse = |message: String| vec![ConfigError::of_file(name, message)];
    let bytes = read_bounded(file).map_err(refuse)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = 1 + good.filter(|byte| **byte == b'\n').count();
        refuse(format!("is not UTF-8 text: line {line} has a byte that is none"))
    })?;
    let source = Arc::new(Source::File(name.to_owned()));
    let tree = load::parse(&source, &text)?;
    match tree.value {
        Value::Mapping(_) => Ok(tree),
        Value::Scalar(ref scalar) if scalar.is_null() => Ok(Node::mapping(tree.place)),
        _ => {
            let message = format!("a configuration is a mapping of keys, not {}", tree.kind());
            Err(vec![ConfigError::new(tree.place.to_ref(), "", message)])
        }
    }
}

fn read_bounded(file: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| format!("cannot be read: {e}"))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(opened, MAX_FILE_BYTES + 1), &mut bytes)
        .map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("is too large: at most 16 MiB; split it into a folder of files".to_owned());
    }
    Ok(bytes)
}

/// Lays a further file into what is there: mappings merge, lists append, a value set twice is a mistake.
fn merge(base: &mut Node, over: Node, at: &Trail<'_>, report: &mut Report) {
    match (&mut base.value, over.value) {
        (Value::Mapping(entries), Value::Mapping(more)) => {
            for entry in more {
                merge_entry(entries, entry, at, report);
            }
        }
        (Value::Sequence(items), Value::Sequence(more)) => items.extend(more),
        (value, over_value) => {
            let over = Node { place: over.place, value: over_value };
            if over.is_null() {
                return;
            }
            if matches!(value, Value::Scalar(scalar) if scalar.is_null()) {
                *base = over;
                return;
            }
            let message = format!("is set twice: first in {}", base.place.to_ref());
            report.error_with_help(&over.place, at, message, "keep one of the two".to_owned());
        }
    }
}

fn merge_entry(entries: &mut Vec<Entry>, entry: Entry, at: &Trail<'_>, report: &mut Report) {
    // Free keys are homes of anchors, which are a matter of one file.
    if matches!(at, Trail::Root) && entry.key.text.starts_with("x-") {
        return;
    }
    match entries.iter_mut().find(|e| e.key.text == entry.key.text) {
        Some(existing) => {
            let Entry { key, value } = existing;
            merge(value, entry.value, &Trail::Key(at, &key.text), report);
        }
        None => entries.push(entry),
    }
}
