//! Why a value could not be read as the type that was asked for: serde's errors with a place, the way to it and the
//! key that was meant, and without the text of values.

use std::fmt;

use serde::de::{self, Unexpected};

use super::overrides::variable_of;
use super::tree::{Place, Trail};
use crate::domain::suggest::closest;

/// Why a node is not what was asked for.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<Help>,
    pub(super) place: Option<Place>,
    /// From the innermost outwards.
    pub(super) path: Vec<Segment>,
    pub(super) kind: FaultKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    Value,
    /// A field set twice under two names: the place is that of the second key.
    Duplicate,
}

pub(super) enum Help {
    DidYouMean(&'static str),
    /// The key that is unknown, and those that are known.
    Keys(String, &'static [&'static str]),
}

/// Where the keys of a mapping differ from those of the type it is read as.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    /// Known, but read by someone else.
    pub(super) also: &'static [&'static str],
    /// Refused by someone else.
    pub(super) without: &'static [&'static str],
}

impl Keys {
    pub(super) const OF_THE_TYPE: Self = Self { also: &[], without: &[] };
}

pub(super) enum Segment {
    Key(String),
    Index(usize),
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, place: None, path: Vec::new(), kind: FaultKind::Value }
    }

    /// Says where it happened, if nothing further inside has said so.
    pub(super) fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    pub(super) fn under(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }

    /// `endpoints[3].retry.max_attempts`
    pub(super) fn path(&self, at: &Trail<'_>) -> String {
        let mut path = at.to_string();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Key(key) if path.is_empty() => path.clone_from(key),
                Segment::Key(key) => path = format!("{path}.{key}"),
                Segment::Index(index) => path = format!("{path}[{index}]"),
            }
        }
        path
    }

    /// The word that was meant.
    pub(super) fn meant(&self, keys: Keys) -> Option<&'static str> {
        match self.help.as_ref()? {
            Help::DidYouMean(meant) => Some(meant),
            Help::Keys(key, known) => closest(key, self.known(known, keys)),
        }
    }

    /// The known keys; those of a nested mapping are as its type says.
    fn known(&self, known: &'static [&'static str], keys: Keys) -> impl Iterator<Item = &'static str> {
        let keys = if self.path.len() == 1 { keys } else { Keys::OF_THE_TYPE };
        known.iter().chain(keys.also).copied().filter(move |key| !keys.without.contains(key))
    }

    pub(super) fn help(&self, path: &str, keys: Keys) -> Option<String> {
        let help = self.help.as_ref()?;
        match (self.meant(keys), help) {
            (Some(meant), Help::Keys(..)) if self.place.as_ref().is_some_and(Place::is_variable) => {
                let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
                let meant = if parent.is_empty() { meant.to_owned() } else { format!("{parent}.{meant}") };
                Some(format!("did you mean {} ?", variable_of(&meant)))
            }
            (Some(meant), _) => Some(format!("did you mean {meant} ?")),
            (None, Help::Keys(_, known)) => {
                Some(format!("known here: {}", self.known(known, keys).collect::<Vec<_>>().join(", ")))
            }
            (None, Help::DidYouMean(_)) => None,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    /// Text is never shown: what stands where a mapping of headers belongs may be a secret.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(value) => format!("`{value}`"),
            Unexpected::Unsigned(value) => format!("`{value}`"),
            Unexpected::Signed(value) => format!("`{value}`"),
            Unexpected::Float(value) => format!("`{value}`"),
            Unexpected::Str(_) | Unexpected::Char(_) => "text".to_owned(),
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a mapping".to_owned(),
            other => other.to_string(),
        };
        Self::new(unexpected_kind(in_words(&expected.to_string()), &found))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self { help: Some(Help::Keys(field.to_owned(), known)), ..Self::new("unknown key") }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let message = format!("`{variant}` is not one of {}", known.join(", "));
        Self { help: closest(variant, known.iter().copied()).map(Help::DidYouMean), ..Self::new(message) }
    }

    fn duplicate_field(field: &'static str) -> Self {
        let message = format!("`{field}` is set twice, once under its other name: keep one");
        Self { kind: FaultKind::Duplicate, ..Self::new(message) }
    }
}

pub(super) fn unexpected_kind(expected: &str, found: &str) -> String {
    format!("expected {expected}; found {found}")
}

/// Serde's names of types as people say them.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        struct_name if struct_name.starts_with("struct ") => "a mapping",
        other => other,
    }
}
