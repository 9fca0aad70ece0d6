//! Reads a typed value from a [`Node`]: what a scalar is, the asking type decides, so that `1.10` stays text
//! where text is asked for and `${PORT}` is a number where a number is. What goes wrong is a [`Fault`].

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, FaultKind, Keys, Segment, unexpected_kind};
use super::load;
use super::report::Report;
use super::tree::{Entry, Node, Place, Plain, Scalar, Trail, Value, boolean, float, integer, without_secrets};

/// A value with the places, as JSON pointers, that had to be left out of it because they are mistaken.
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) left_out: Vec<String>,
}

/// The most mistakes told of one node.
const MAX_FAULTS: usize = 100;

/// Reads `node`, telling every mistake in it; `value` is then what remains without the mistaken parts.
pub(super) fn typed<T: DeserializeOwned + Default>(node: &Node, at: &Trail<'_>, report: &mut Report) -> Typed<T> {
    typed_among(node, Keys::OF_THE_TYPE, at, report)
}

/// As [`typed`], where the keys are not quite those of the type.
pub(super) fn typed_among<T: DeserializeOwned + Default>(
    node: &Node,
    keys: Keys,
    at: &Trail<'_>,
    report: &mut Report,
) -> Typed<T> {
    let mut left_out = Vec::new();
    let mut pruned: Option<Node> = None;
    loop {
        let current = pruned.as_ref().unwrap_or(node);
        let fault = match T::deserialize(NodeDeserializer(current)) {
            Ok(value) => return Typed { value, left_out },
            Err(fault) => NodeDeserializer(current).fault(fault),
        };
        let mut rest = pruned.take().unwrap_or_else(|| node.clone());
        let removed = prune(&mut rest, &fault);
        let blameless = removed.as_ref().map_or_else(|| rest.has_missing(), |(_, removed)| removed.has_missing());
        if !blameless {
            let path = fault.path(at);
            let help = fault.help(&path, keys);
            if let Some(place) = &fault.place {
                report.error_with_help(place, path, &fault.message, help);
            }
        }
        let Some((pointer, _)) = removed.filter(|_| left_out.len() < MAX_FAULTS) else {
            left_out.push(String::new());
            return Typed { value: T::default(), left_out };
        };
        if let Some(meant) = fault.meant(keys) {
            // The key that was meant is not missing either.
            let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            left_out.push(format!("{parent}/{meant}"));
        }
        left_out.push(pointer);
        pruned = Some(rest);
    }
}

/// Takes the innermost entry of a mapping on the fault's way out of the tree.
fn prune(node: &mut Node, fault: &Fault) -> Option<(String, Node)> {
    let keys: Vec<&str> = fault
        .path
        .iter()
        .rev()
        .map_while(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
        .collect();
    let (last, parents) = keys.split_last()?;
    let mut parent = node;
    for key in parents {
        parent = parent.get_mut(key)?;
    }
    let removed = parent.remove(last)?;
    Some((format!("/{}", keys.join("/")), removed.value))
}

struct NodeDeserializer<'n>(&'n Node);

impl NodeDeserializer<'_> {
    /// Runs `visit` on the scalar; faults get the place and lose the secrets.
    fn on_scalar<T>(&self, expected: &str, visit: impl FnOnce(&Scalar) -> Result<T, Fault>) -> Result<T, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) => visit(scalar),
            _ => Err(Fault::new(unexpected_kind(expected, self.0.kind()))),
        }
        .map_err(|fault| self.fault(fault))
    }

    /// The fault with its place and without secrets, unless something further inside has seen to that.
    fn fault(&self, fault: Fault) -> Fault {
        match (&fault.place, &self.0.value) {
            (None, Value::Scalar(_)) => {
                Fault { message: without_secrets(fault.message, self.0), ..fault }.at(&self.0.place)
            }
            _ => fault.at(&self.0.place),
        }
    }

    /// As [`on_scalar`](Self::on_scalar), where JSON has a type of its own for what is `expected`: text, or not.
    fn on_typed<T>(
        &self,
        expected: &str,
        as_text: bool,
        visit: impl FnOnce(&Scalar) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.on_scalar(expected, |scalar| {
            if self.0.place.is_sent() && scalar.quoted != as_text {
                return Err(Fault::new(unexpected_kind(expected, json_kind(scalar))));
            }
            visit(scalar)
        })
    }

    /// The list or mapping that a variable holds as text: `[a, b]`, `{a: 1}`, or `a, b` where a list is asked for.
    fn inline(&self, list: bool) -> Option<Result<Node, Fault>> {
        let Value::Scalar(scalar) = &self.0.value else { return None };
        if !self.0.place.is_variable() || scalar.is_null() {
            return None;
        }
        expand_inline(&self.0.place, &scalar.text, list)
    }
}

fn expand_inline(place: &Place, text: &str, list: bool) -> Option<Result<Node, Fault>> {
    if text.trim_start().starts_with(['[', '{']) {
        let parsed =
            load::parse(&place.source, text).map_err(|_| Fault::new("is not a YAML list or mapping").at(place));
        return Some(parsed.map(|node| relocated(node, place)));
    }
    list.then(|| {
        let items = text.split(',').map(|item| Node::scalar(place.clone(), item.trim())).collect();
        Ok(Node { place: place.clone(), value: Value::Sequence(items) })
    })
}

/// The node a variable holds as text, where lists and mappings are walked by hand.
pub(super) fn inline_collection(node: &Node) -> Option<Result<Node, String>> {
    let expanded = NodeDeserializer(node).inline(false)?;
    Some(expanded.map_err(|fault| fault.message))
}

/// Lines and columns within a variable help nobody.
fn relocated(mut node: Node, place: &Place) -> Node {
    node.place = place.clone();
    node.value = match node.value {
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(|item| relocated(item, place)).collect()),
        Value::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|Entry { mut key, value }| {
                    key.place = place.clone();
                    Entry { key, value: relocated(value, place) }
                })
                .collect(),
        ),
        scalar @ Value::Scalar(_) => scalar,
    };
    node
}

/// What a scalar of JSON is.
pub(super) fn json_kind(scalar: &Scalar) -> &'static str {
    match scalar.resolve() {
        Plain::Null => "nothing",
        Plain::Bool(_) => "true or false",
        Plain::Integer(_) | Plain::Float(_) => "a number",
        Plain::Text => "text",
    }
}

fn not_a(scalar: &Scalar, expected: &str) -> Fault {
    if scalar.is_null() {
        Fault::new(unexpected_kind(expected, "nothing"))
    } else {
        Fault::new(format!("`{}` is not {expected}", scalar.text))
    }
}

fn visit_integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else {
        Err(Fault::new(format!("{number} is too large a number")))
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.on_typed("a whole number", false, |scalar| match integer(scalar.text.trim()) {
                Some(number) => visit_integer(number, visitor),
                None => Err(not_a(scalar, "a whole number")),
            })
        }
    )*};
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.on_typed("a number", false, |scalar| match float(scalar.text.trim()) {
                Some(number) => visitor.visit_f64(number),
                None => Err(not_a(scalar, "a number")),
            })
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.on_typed("text", true, |scalar| {
                // A variable may well be empty; what is written as nothing is rather a mistake.
                if scalar.is_null() && scalar.written.is_none() {
                    return Err(Fault::new("expected text, found nothing: write \"\" for an empty text"));
                }
                visitor.visit_str(&scalar.text)
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(inline) = self.inline(false) {
            return NodeDeserializer(&inline?).deserialize_any(visitor);
        }
        match &self.0.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Integer(number) => visit_integer(number, visitor),
                Plain::Float(number) => visitor.visit_f64(number),
                Plain::Text => visitor.visit_str(&scalar.text),
            },
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Mapping(entries) => visitor.visit_map(Entries::of(entries, false)),
        }
        .map_err(|fault| self.fault(fault))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.on_typed("true or false", false, |scalar| match boolean(scalar.text.trim()) {
            Some(value) => visitor.visit_bool(value),
            None => Err(not_a(scalar, "true or false")),
        })
    }

    whole_numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 }
    numbers! { deserialize_f32 deserialize_f64 }
    texts! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(inline) = self.inline(true) {
            return NodeDeserializer(&inline?).deserialize_seq(visitor);
        }
        match &self.0.value {
            Value::Sequence(items) => {
                visitor.visit_seq(Items(items.iter().enumerate())).map_err(|fault| self.fault(fault))
            }
            _ => Err(self.fault(Fault::new(unexpected_kind("a list", self.0.kind())))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(inline) = self.inline(false) {
            return NodeDeserializer(&inline?).deserialize_map(visitor);
        }
        self.visit_entries(visitor, false)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(inline) = self.inline(false) {
            return NodeDeserializer(&inline?).visit_entries(visitor, true);
        }
        let free = !self.0.place.is_sent();
        self.visit_entries(visitor, free)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.on_scalar("a word", |scalar| {
            if scalar.is_null() {
                return Err(not_a(scalar, &format!("one of {}", variants.join(", "))));
            }
            visitor.visit_enum(StrDeserializer::<Fault>::new(&scalar.text))
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple tuple_struct }
}

impl NodeDeserializer<'_> {
    /// `free`: keys beginning with `x-` belong to nobody.
    fn visit_entries<'de, V: Visitor<'de>>(self, visitor: V, free: bool) -> Result<V::Value, Fault> {
        let Value::Mapping(entries) = &self.0.value else {
            return Err(self.fault(Fault::new(unexpected_kind("a mapping", self.0.kind()))));
        };
        let mut access = Entries::of(entries, free);
        visitor.visit_map(&mut access).map_err(|fault| match access.current {
            Some(entry) if fault.kind == FaultKind::Duplicate && fault.place.is_none() => {
                fault.at(&entry.key.place).under(Segment::Key(entry.key.text.clone()))
            }
            _ => self.fault(fault),
        })
    }
}

struct Items<'n>(std::iter::Enumerate<std::slice::Iter<'n, Node>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        for (index, item) in self.0.by_ref() {
            // An unset variable that was allowed: as if the item were not there.
            if item.is_null() && item.has_missing() {
                continue;
            }
            let value = seed.deserialize(NodeDeserializer(item));
            return value.map(Some).map_err(|fault| NodeDeserializer(item).fault(fault).under(Segment::Index(index)));
        }
        Ok(None)
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    /// The one whose key was given out last.
    current: Option<&'n Entry>,
    skip_free: bool,
}

impl<'n> Entries<'n> {
    fn of(entries: &'n [Entry], skip_free: bool) -> Self {
        Self { rest: entries.iter(), current: None, skip_free }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let skip_free = self.skip_free;
        self.current = self.rest.find(|entry| !(skip_free && entry.key.text.starts_with("x-")));
        let Some(Entry { key, .. }) = self.current else { return Ok(None) };
        seed.deserialize(key.text.as_str().into_deserializer())
            .map(Some)
            .map_err(|fault: Fault| fault.at(&key.place).under(Segment::Key(key.text.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(Entry { key, value }) = self.current else { return Err(Fault::new("a value without its key")) };
        seed.deserialize(NodeDeserializer(value))
            .map_err(|fault| NodeDeserializer(value).fault(fault).under(Segment::Key(key.text.clone())))
    }
}
