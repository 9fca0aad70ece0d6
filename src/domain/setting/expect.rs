//! What is expected to be received: a text, or a regular expression.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What must be among what is received: a text as it stands, or `{regex: …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ExpectSetting {
    Text(String),
    Pattern(ExpectedPattern),
}

/// A regular expression that must match somewhere in what is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedPattern {
    #[schema(max_length = 1000, example = "^220 .*ESMTP")]
    pub regex: String,
}

// By hand: the derived one names no place within the mapping.
impl<'de> Deserialize<'de> for ExpectSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ExpectSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a mapping with `regex`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ExpectSetting::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                ExpectedPattern::deserialize(MapAccessDeserializer::new(map)).map(ExpectSetting::Pattern)
            }
        }
        deserializer.deserialize_any(V)
    }
}
