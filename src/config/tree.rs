//! A configuration as it was written: nodes that know their place. Nothing here has a type yet, a scalar is its
//! text; the meaning comes when a setting asks for it ([`super::de`]).
//!
//! None of these types has `Debug`: scalars may be secrets.

use std::fmt;
use std::sync::Arc;

use super::errors::SourceRef;

/// What a node was read from.
pub(super) enum Source {
    /// A file, as it was named.
    File(String),
    /// An environment variable.
    Variable(String),
    /// JSON that was sent to the API: a pointer into it.
    Sent(String),
}

#[derive(Clone)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    /// From 1; 0 for variables.
    pub(super) line: u32,
    /// From 1, in characters; 0 for variables.
    pub(super) column: u32,
}

impl Place {
    pub(super) fn of_variable(name: &str) -> Self {
        Self { source: Arc::new(Source::Variable(name.to_owned())), line: 0, column: 0 }
    }

    pub(super) fn of_sent(pointer: &str) -> Self {
        Self { source: Arc::new(Source::Sent(pointer.to_owned())), line: 0, column: 0 }
    }

    /// Whether it is JSON, whose scalars have their types already.
    pub(super) fn is_sent(&self) -> bool {
        matches!(*self.source, Source::Sent(_))
    }

    pub(super) fn is_variable(&self) -> bool {
        matches!(*self.source, Source::Variable(_))
    }

    pub(super) fn to_ref(&self) -> SourceRef {
        let file = match &*self.source {
            Source::File(name) => name.clone(),
            Source::Variable(name) => format!("environment variable {name}"),
            Source::Sent(pointer) => pointer.clone(),
        };
        SourceRef { file, line: self.line, column: self.column }
    }
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Node,
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Quoted or a block: always text where no type is asked for.
    pub(super) quoted: bool,
    /// What stood in the file where variables were substituted; shown instead of the text.
    pub(super) written: Option<String>,
    /// A variable of it is not set, which was allowed: nothing that follows from it is a mistake.
    pub(super) missing: bool,
}

/// What a plain scalar is where no type is asked for: the core schema of YAML 1.2.
pub(super) enum Plain {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Scalar {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), quoted: false, written: None, missing: false }
    }

    /// Whether nothing is set. A substituted value is nothing only when it is empty: a password may be `null`.
    pub(super) fn is_null(&self) -> bool {
        let text = self.text.as_str();
        !self.quoted
            && if self.written.is_some() {
                text.is_empty()
            } else {
                matches!(text, "" | "~" | "null" | "Null" | "NULL")
            }
    }

    pub(super) fn resolve(&self) -> Plain {
        if self.is_null() {
            return Plain::Null;
        }
        if self.quoted {
            return Plain::Text;
        }
        if let Some(value) = boolean(&self.text) {
            return Plain::Bool(value);
        }
        if let Some(value) = integer(&self.text) {
            return Plain::Integer(value);
        }
        float(&self.text).map_or(Plain::Text, Plain::Float)
    }
}

/// `true` and `false` only: `yes` and `on` are text in YAML 1.2.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

pub(super) fn integer(text: &str) -> Option<i128> {
    if let Some(octal) = text.strip_prefix("0o") {
        return i128::from_str_radix(octal, 8).ok().filter(|_| octal.bytes().all(|b| b.is_ascii_digit()));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return i128::from_str_radix(hex, 16).ok().filter(|_| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    }
    text.parse().ok()
}

pub(super) fn float(text: &str) -> Option<f64> {
    match text.strip_prefix(['-', '+']).unwrap_or(text) {
        ".inf" | ".Inf" | ".INF" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        ".nan" | ".NaN" | ".NAN" if !text.starts_with(['-', '+']) => Some(f64::NAN),
        // Rust also reads `inf` and `nan`, which are words here.
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

impl Node {
    pub(super) fn scalar(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Scalar(Scalar::plain(text)) }
    }

    pub(super) fn mapping(place: Place) -> Self {
        Self { place, value: Value::Mapping(Vec::new()) }
    }

    /// How people call what it is.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn get_entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.text == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.get_entry(key).map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Mapping(entries) => entries.iter_mut().find(|e| e.key.text == key).map(|e| &mut e.value),
            _ => None,
        }
    }

    /// The value of a key, made as nothing where there is none. `None` where neither a mapping nor nothing stands.
    pub(super) fn get_or_add(&mut self, key: &str, place: &Place) -> Option<&mut Node> {
        if self.is_null() {
            self.value = Value::Mapping(Vec::new());
        }
        let Value::Mapping(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key.text == key).unwrap_or_else(|| {
            let key = Key { text: key.to_owned(), place: place.clone() };
            entries.push(Entry { key, value: Node::scalar(place.clone(), "") });
            entries.len() - 1
        });
        Some(&mut entries[index].value)
    }

    /// Takes an entry out of a mapping.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        match &mut self.value {
            Value::Mapping(entries) => {
                let index = entries.iter().position(|e| e.key.text == key)?;
                Some(entries.remove(index))
            }
            _ => None,
        }
    }

    /// The node at a JSON pointer, or the nearest one above it that exists; whether it was the node itself.
    pub(super) fn at_pointer(&self, pointer: &str) -> (&Node, bool) {
        let mut node = self;
        for segment in pointer.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            let next = match &node.value {
                Value::Mapping(_) => node.get(&segment),
                Value::Sequence(items) => segment.parse::<usize>().ok().and_then(|i| items.get(i)),
                Value::Scalar(_) => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Calls `visit` for every scalar.
    pub(super) fn for_each_scalar(&self, visit: &mut impl FnMut(&Scalar)) {
        match &self.value {
            Value::Scalar(scalar) => visit(scalar),
            Value::Sequence(items) => items.iter().for_each(|item| item.for_each_scalar(visit)),
            Value::Mapping(entries) => entries.iter().for_each(|entry| entry.value.for_each_scalar(visit)),
        }
    }

    /// Whether an unset variable left a hole in it.
    pub(super) fn has_missing(&self) -> bool {
        let mut missing = false;
        self.for_each_scalar(&mut |scalar| missing |= scalar.missing);
        missing
    }
}

/// `message` with the substituted values of `node` replaced by what stood in the file.
pub(super) fn without_secrets(mut message: String, node: &Node) -> String {
    node.for_each_scalar(&mut |scalar| {
        let Some(written) = scalar.written.as_ref().filter(|_| !scalar.text.is_empty()) else { return };
        // A value this short is no secret, and may occur in the words around it.
        message = if scalar.text.len() < 4 {
            message.replacen(&scalar.text, written, 1)
        } else {
            message.replace(&scalar.text, written)
        };
    });
    message
}

/// The way down to a node, for messages: `endpoints[3].retry`.
#[derive(Clone, Copy)]
pub(super) enum Trail<'a> {
    Root,
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
