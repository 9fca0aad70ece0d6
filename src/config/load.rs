//! YAML text to a located tree ([`Node`]): anchors, aliases and merge keys (`<<`) are resolved here. The only
//! file that names the YAML crate.
//!
//! Bounded: the caller bounds the text, this file the depth and what aliases may add ([`MAX_EXPANSION`]). Beyond
//! a bound the file is refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::errors::ConfigError;
use super::tree::{Entry, Key, Node, Place, Scalar, Source, Value};

/// The deepest nesting; what walks the tree recurses this deep.
const MAX_DEPTH: usize = 64;
/// What anchors and aliases may add to a file, in bytes of text plus [`NODE_WEIGHT`] a node.
const MAX_EXPANSION: usize = 64 * 1024 * 1024;
const NODE_WEIGHT: usize = 64;

/// Reads one document.
///
/// # Errors
/// The first syntax mistake, or every duplicate key and unusable tag.
pub(super) fn parse(source: &Arc<Source>, text: &str) -> Result<Node, Vec<ConfigError>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder::new(source);
    for event in Parser::new_from_str_with_options(text.strip_prefix('\u{feff}').unwrap_or(text), options) {
        let (event, span) = match event {
            Ok(next) => next,
            Err(e) => {
                let at = builder.place_at(e.marker().line(), e.marker().col());
                // The brace of an unquoted ${VAR} begins a mapping within {} and [].
                let line = text.lines().nth(e.marker().line().saturating_sub(1)).unwrap_or_default();
                let help = line.contains("${").then(|| "within { } and [ ] a ${…} needs quotes: \"${…}\"".to_owned());
                let message = format!("is not YAML: {}", e.info());
                builder.errors.push(ConfigError::new(at.to_ref(), "", message).with_help(help));
                return Err(builder.errors);
            }
        };
        if let Err(error) = builder.take(event, span) {
            builder.errors.push(error);
            return Err(builder.errors);
        }
    }
    if builder.errors.is_empty() {
        let nothing = builder.place_at(1, 0);
        Ok(builder.root.unwrap_or_else(|| Node::scalar(nothing, "")))
    } else {
        Err(builder.errors)
    }
}

struct Builder<'s> {
    source: &'s Arc<Source>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    expanded: usize,
    root: Option<Node>,
    errors: Vec<ConfigError>,
}

struct Anchored {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy)]
struct Size {
    weight: usize,
    depth: usize,
}

/// A collection that has begun and not yet ended.
struct Frame {
    place: Place,
    anchor: usize,
    kind: Open,
}

enum Open {
    Sequence(Vec<Node>),
    Mapping(OpenMapping),
}

#[derive(Default)]
struct OpenMapping {
    entries: Vec<Entry>,
    /// Index of each key in `entries`.
    keys: HashMap<String, usize>,
    /// The key whose value comes next.
    key: Option<(Key, bool)>,
    /// The values of `<<`, to be laid under the entries at the end.
    merge: Option<Node>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Arc<Source>) -> Self {
        Self { source, open: Vec::new(), anchors: HashMap::new(), expanded: 0, root: None, errors: Vec::new() }
    }

    /// Columns of the crate begin at 0, those of people at 1.
    fn place_at(&self, line: usize, column: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { source: Arc::clone(self.source), line: number(line.max(1)), column: number(column.saturating_add(1)) }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), ConfigError> {
        let place = self.place_at(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(fatal(
                &place,
                "a second document begins here: a file holds one; put the other into a file of its own",
            )),
            Event::Alias(id) => {
                let node = self.expand(id, &place)?;
                self.add(node)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = match text_by_tag(tag.as_deref()) {
                    Ok(by_tag) => by_tag.unwrap_or(style != ScalarStyle::Plain),
                    Err(message) => return Err(fatal(&place, message)),
                };
                let scalar = Scalar { quoted, ..Scalar::plain(text) };
                self.complete(Node { place, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(place, anchor, tag.as_ref(), Open::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                self.begin(place, anchor, tag.as_ref(), Open::Mapping(OpenMapping::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        place: Place,
        anchor: usize,
        tag: Option<&Cow<'_, Tag>>,
        kind: Open,
    ) -> Result<(), ConfigError> {
        if let Some(tag) = tag.filter(|tag| !matches!(tag.core_suffix(), Some("map" | "seq"))) {
            return Err(fatal(&place, unusable_tag(tag)));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(fatal(&place, format!("is nested too deeply: at most {MAX_DEPTH} levels")));
        }
        self.open.push(Frame { place, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ConfigError> {
        let Some(Frame { place, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping(mapping) => Value::Mapping(mapping.close()),
        };
        self.complete(Node { place, value }, anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), ConfigError> {
        if anchor != 0 {
            let size = measure(&node);
            self.charge(size.weight, &node.place)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        self.add(node)
    }

    fn expand(&mut self, id: usize, place: &Place) -> Result<Node, ConfigError> {
        let Some(Anchored { size, .. }) = self.anchors.get(&id) else {
            return Err(fatal(place, "the alias stands inside of what it refers to"));
        };
        let size = *size;
        if self.open.len() + size.depth > MAX_DEPTH {
            return Err(fatal(place, format!("is nested too deeply: at most {MAX_DEPTH} levels")));
        }
        self.charge(size.weight, place)?;
        Ok(self.anchors[&id].node.clone())
    }

    fn charge(&mut self, weight: usize, place: &Place) -> Result<(), ConfigError> {
        self.expanded = self.expanded.saturating_add(weight);
        if self.expanded > MAX_EXPANSION {
            return Err(fatal(place, "anchors and aliases make this file too large: at most 64 MiB"));
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), ConfigError> {
        match self.open.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping(mapping)) => match mapping.key.take() {
                None => mapping.key = Some(as_key(node)?),
                Some((key, true)) => mapping.set_merge(key, node)?,
                Some((key, false)) => {
                    if let Err(error) = mapping.set(key, node) {
                        self.errors.push(error);
                    }
                }
            },
        }
        Ok(())
    }
}

impl OpenMapping {
    fn set(&mut self, key: Key, value: Node) -> Result<(), ConfigError> {
        if let Some(first) = self.keys.get(&key.text).map(|i| &self.entries[*i].key) {
            let message = format!("`{}` is set twice: first in line {}", key.text, first.place.line);
            return Err(ConfigError::new(key.place.to_ref(), &key.text, message));
        }
        self.keys.insert(key.text.clone(), self.entries.len());
        self.entries.push(Entry { key, value });
        Ok(())
    }

    fn set_merge(&mut self, key: Key, value: Node) -> Result<(), ConfigError> {
        let mergeable = match &value.value {
            Value::Mapping(_) => true,
            Value::Sequence(items) => items.iter().all(|item| matches!(item.value, Value::Mapping(_))),
            Value::Scalar(_) => false,
        };
        if !mergeable {
            let message = "`<<` takes a mapping or a list of mappings, such as `<<: *base`";
            return Err(ConfigError::new(key.place.to_ref(), key.text, message));
        }
        if self.merge.is_some() {
            let message = "`<<` is set twice: give a list, `<<: [*one, *other]`";
            return Err(ConfigError::new(key.place.to_ref(), key.text, message));
        }
        self.merge = Some(value);
        Ok(())
    }

    /// The entries; what is set here wins over what is merged in, and an earlier of several over a later.
    fn close(mut self) -> Vec<Entry> {
        let layers = match self.merge.take() {
            Some(Node { value: Value::Sequence(items), .. }) => items,
            Some(node) => vec![node],
            None => Vec::new(),
        };
        for layer in layers {
            let Value::Mapping(entries) = layer.value else { continue };
            for entry in entries {
                if !self.keys.contains_key(&entry.key.text) {
                    self.keys.insert(entry.key.text.clone(), self.entries.len());
                    self.entries.push(entry);
                }
            }
        }
        self.entries
    }
}

fn as_key(node: Node) -> Result<(Key, bool), ConfigError> {
    match node.value {
        Value::Scalar(scalar) => {
            let merge = scalar.text == "<<" && !scalar.quoted;
            Ok((Key { text: scalar.text, place: node.place }, merge))
        }
        _ => Err(fatal(&node.place, "a key must be a single value")),
    }
}

/// Whether a tag makes a scalar text (`!!str`) or not (`!!int` …); `None` without a tag.
fn text_by_tag(tag: Option<&Tag>) -> Result<Option<bool>, String> {
    let Some(tag) = tag else { return Ok(None) };
    match tag.core_suffix() {
        Some("str") => Ok(Some(true)),
        Some("int" | "float" | "bool" | "null") => Ok(Some(false)),
        _ if tag.original() == "!" => Ok(Some(true)),
        _ => Err(unusable_tag(tag)),
    }
}

fn unusable_tag(tag: &Tag) -> String {
    format!("the tag `{}` means nothing here", tag.original())
}

fn measure(node: &Node) -> Size {
    let mut size = Size { weight: NODE_WEIGHT, depth: 0 };
    let mut inside = |child: &Node, key: usize| {
        let inner = measure(child);
        size.weight += inner.weight + key;
        size.depth = size.depth.max(inner.depth + 1);
    };
    match &node.value {
        Value::Scalar(scalar) => size.weight += scalar.text.len(),
        Value::Sequence(items) => items.iter().for_each(|item| inside(item, 0)),
        Value::Mapping(entries) => entries.iter().for_each(|e| inside(&e.value, NODE_WEIGHT + e.key.text.len())),
    }
    size
}

fn fatal(place: &Place, message: impl Into<String>) -> ConfigError {
    ConfigError::new(place.to_ref(), "", message)
}
