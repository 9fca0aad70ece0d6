//! One entry of `certificate.warn`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::DurationSetting;

/// How long ahead: `20%` of the lifetime, or a length of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AheadSetting {
    /// Percent.
    Share(f64),
    Time(DurationSetting),
}

impl AheadSetting {
    /// # Errors
    /// What is wrong with the text.
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().strip_suffix('%') {
            Some(percent) => match percent.trim().parse::<f64>() {
                Ok(percent) if percent.is_finite() => Ok(Self::Share(percent)),
                _ => Err(format!("`{text}` is not a share: write for example 20%")),
            },
            None => DurationSetting::parse(text).map(Self::Time),
        }
    }
}

impl Serialize for AheadSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(percent) => serializer.collect_str(&format_args!("{percent}%")),
            Self::Time(time) => time.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AheadSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = AheadSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share of the lifetime such as 20%, or a duration such as 30d")
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
                DurationSetting::deserialize(de::value::U64Deserializer::new(seconds)).map(AheadSetting::Time)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
                DurationSetting::deserialize(de::value::I64Deserializer::new(seconds)).map(AheadSetting::Time)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                AheadSetting::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for AheadSetting {
    fn schema() -> RefOr<Schema> {
        let share = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(r"^[0-9]+(\.[0-9]+)?%$"))
            .description(Some("A share of the lifetime, more than 0 % and less than 100 %"));
        AnyOfBuilder::new()
            .item(share)
            .item(DurationSetting::schema())
            .description(Some("How long before its end: a share of the lifetime, or a length of time"))
            .examples([json!("20%"), json!("30d")])
            .into()
    }
}
impl ToSchema for AheadSetting {
    fn name() -> Cow<'static, str> {
        "Ahead".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_read_and_written() {
        for (given, written) in [
            (json!("20%"), json!("20%")),
            (json!(" 7.5 % "), json!("7.5%")),
            (json!("30d"), json!(2_592_000)),
            (json!(60), json!(60)),
        ] {
            let setting: AheadSetting = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(serde_json::to_value(setting).unwrap(), written, "{given}");
        }
        for bad in [json!("x%"), json!("NaN%"), json!("inf%"), json!("%"), json!("soon"), json!(-1), json!(true)] {
            assert!(serde_json::from_value::<AheadSetting>(bad.clone()).is_err(), "{bad}");
        }
    }
}
