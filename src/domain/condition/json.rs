//! Values of a JSON document, without more memory than is needed: of a path only the text of what stands at its end is
//! looked at; a whole document is made for queries alone, up to a bound.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::placeholder::Step;

/// What a whole document may take of memory, by [`weight`]. A larger one is not read.
pub(super) const MAX_WEIGHT: usize = 32 * 1024 * 1024;

/// Of an object and of any other value, as the library keeps them.
const OBJECT_WEIGHT: usize = 700;
const VALUE_WEIGHT: usize = 64;

/// Why a document gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    NotJson,
    /// Beyond [`MAX_WEIGHT`].
    TooMany,
}

/// The text of what stands at the end of a path. `None`: nothing does, or null.
pub(super) fn seek<'t>(text: &'t str, path: &[Step]) -> Result<Option<&'t str>, Unreadable> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = Seek(path).deserialize(&mut reader).map_err(|_| Unreadable::NotJson)?;
    reader.end().map_err(|_| Unreadable::NotJson)?;
    Ok(found.filter(|raw| *raw != "null"))
}

/// The document as a whole.
pub(super) fn document(text: &str) -> Result<serde_json::Value, Unreadable> {
    if weight(text) > MAX_WEIGHT {
        return Err(Unreadable::TooMany);
    }
    serde_json::from_str(text).map_err(|_| Unreadable::NotJson)
}

/// About what a document takes of memory, at the most, by counting the characters that begin values.
fn weight(text: &str) -> usize {
    let mut weight = text.len();
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => weight += OBJECT_WEIGHT,
            b'[' | b',' | b':' if !in_string => weight += VALUE_WEIGHT,
            _ => {}
        }
    }
    weight
}

/// A value by its text: of a text what it says, of anything else its JSON without spaces.
pub(super) fn plain(raw: &str) -> Cow<'_, str> {
    if raw.starts_with('"') {
        return serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
    }
    if !raw.starts_with(['{', '[']) {
        return Cow::Borrowed(raw);
    }
    let mut minified = String::with_capacity(raw.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in raw.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\n' | '\r' | '\t' if !in_string => continue,
            _ => {}
        }
        minified.push(c);
    }
    Cow::Owned(minified)
}

/// How many elements an array has. `None`: it is none.
pub(super) fn elements(text: &str) -> Option<usize> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while seq.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let count = reader.deserialize_seq(Count).ok()?;
    reader.end().ok().map(|()| count)
}

/// Goes along a path and passes over everything else.
struct Seek<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de str>;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            let raw = <&RawValue as serde::Deserialize>::deserialize(reader)?;
            return Ok(Some(raw.get()));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let wanted = match self.0.first() {
            Some(Step::Key(key)) => Some(key.as_str()),
            _ => None,
        };
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if wanted == Some(key.as_ref()) {
                // Of two of the same name the last one counts.
                found = map.next_value_seed(Seek(self.0.get(1..).unwrap_or_default()))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some(Step::Index(index)) = self.0.first() {
            for _ in 0..*index {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = seq.next_element_seed(Seek(self.0.get(1..).unwrap_or_default()))?.flatten();
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    // Nothing is inside what is neither an object nor an array.
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'t>(text: &'t str, path: &[&str]) -> Result<Option<&'t str>, Unreadable> {
        let steps: Vec<_> =
            path.iter().map(|s| s.parse().map_or_else(|_| Step::Key((*s).to_owned()), Step::Index)).collect();
        seek(text, &steps)
    }

    #[test]
    fn a_path_leads_to_the_text_of_a_value() {
        let text = r#" {"a": {"b": [10, {"c": "x\ty"}, null]}, "d": 1, "d": 1.50, "n": null, "\u0061b": true} "#;
        for (path, expected) in [
            (vec!["a", "b", "0"], Some("10")),
            (vec!["a", "b", "1", "c"], Some("\"x\\ty\"")),
            (vec!["a", "b", "1"], Some("{\"c\": \"x\\ty\"}")),
            (vec!["a", "b", "2"], None),
            (vec!["a", "b", "3"], None),
            (vec!["a", "0"], None),
            (vec!["a", "b", "c"], None),
            (vec!["d"], Some("1.50")),
            (vec!["d", "x"], None),
            (vec!["n"], None),
            (vec!["n", "x"], None),
            (vec!["ab"], Some("true")),
            (vec!["e"], None),
        ] {
            assert_eq!(at(text, &path), Ok(expected), "{path:?}");
        }
        for not_json in ["", "<html>", "{", "{}x", "{\"a\": 1,}", "[1, 2", "{\"a\": 01}", "{\"a\": \"\n\"}"] {
            assert_eq!(at(not_json, &["a"]), Err(Unreadable::NotJson), "{not_json}");
        }
    }

    #[test]
    fn values_are_counted_and_written_plainly() {
        for (raw, expected) in [
            (r#""a\"b""#, "a\"b"),
            ("1.50", "1.50"),
            ("true", "true"),
            (r#"{ "a b" : [ 1, "x \" y" ] }"#, r#"{"a b":[1,"x \" y"]}"#),
        ] {
            assert_eq!(plain(raw), expected);
        }
        for (text, expected) in
            [("[]", Some(0)), (" [1, [2, 3], {}] \n", Some(3)), ("{}", None), ("[1", None), ("[] x", None)]
        {
            assert_eq!(elements(text), expected, "{text}");
        }
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(document(&deep), Err(Unreadable::NotJson), "the library stops at 128");
        assert_eq!(at(&deep, &["0"]).map(|found| found.is_some()), Ok(true), "what is passed over may be deep");
        let many = format!("[{}{{}}]", "{},".repeat(60_000));
        assert_eq!(document(&many), Err(Unreadable::TooMany));
        assert_eq!(elements(&many), Some(60_001));
        assert!(document(&format!("[{}1]", "1,".repeat(100_000))).is_ok());
        assert!(document(&format!("[\"{}\"]", "{".repeat(100_000))).is_ok(), "a text holds no values");
    }
}
