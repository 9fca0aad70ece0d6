//! `alert_policy.failure_threshold` and `alert_policy.flap`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Failed checks that confirm an outage: so many in a row, or so many among the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureThresholdSetting {
    InARow(u32),
    Among(WindowThreshold),
}

/// So many failed checks among the newest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowThreshold {
    #[schema(minimum = 1, maximum = 1000)]
    pub failures: u32,
    /// Checks that are looked at, at least `failures`.
    #[schema(minimum = 1, maximum = 1000)]
    pub of: u32,
}

impl Serialize for FailureThresholdSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::InARow(failures) => serializer.serialize_u32(*failures),
            Self::Among(window) => window.serialize(serializer),
        }
    }
}

fn small<E: de::Error, T: TryInto<u32> + fmt::Display + Copy>(number: T) -> Result<u32, E> {
    number.try_into().map_err(|_| E::custom(format!("{number} is out of range: 1 to 1000")))
}

impl<'de> Deserialize<'de> for FailureThresholdSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = FailureThresholdSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of failed checks in a row, or a mapping such as {failures: 3, of: 5}")
            }
            fn visit_u64<E: de::Error>(self, failures: u64) -> Result<Self::Value, E> {
                small(failures).map(FailureThresholdSetting::InARow)
            }
            fn visit_i64<E: de::Error>(self, failures: i64) -> Result<Self::Value, E> {
                small(failures).map(FailureThresholdSetting::InARow)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                WindowThreshold::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(FailureThresholdSetting::Among)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for FailureThresholdSetting {
    fn schema() -> RefOr<Schema> {
        let number =
            ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(1.0)).maximum(Some(1000.0));
        OneOfBuilder::new()
            .item(number)
            .item(WindowThreshold::schema())
            .description(Some("Failed checks in a row, or so many among the newest: `{failures: 3, of: 5}`"))
            .examples([json!(2), json!({"failures": 3, "of": 5})])
            .into()
    }
}
impl ToSchema for FailureThresholdSetting {
    fn name() -> Cow<'static, str> {
        "FailureThreshold".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        WindowThreshold::schemas(schemas);
    }
}

/// When an endpoint that goes up and down is flapping: `false`, `true`, or a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlapSetting {
    Off,
    /// `true` is a mapping that sets nothing.
    On(FlapSettings),
}

/// When changes of status are flapping; what is `None` has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlapSettings {
    /// More changes of status than this, within 10 minutes or 20 intervals, whichever is longer. Default 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub changes: Option<u32>,
}

impl FlapSetting {
    /// `over` upon this: two mappings merge, everything else replaces.
    #[must_use]
    pub fn laid_upon(&self, over: &Self) -> Self {
        match (self, over) {
            (Self::On(base), Self::On(over)) => Self::On(FlapSettings { changes: over.changes.or(base.changes) }),
            (_, over) => *over,
        }
    }
}

impl Serialize for FlapSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(settings) if *settings == FlapSettings::default() => serializer.serialize_bool(true),
            Self::On(settings) => settings.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FlapSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = FlapSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, true, or a mapping such as {changes: 6}")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(if on { FlapSetting::On(FlapSettings::default()) } else { FlapSetting::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                FlapSettings::deserialize(de::value::MapAccessDeserializer::new(map)).map(FlapSetting::On)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for FlapSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean)))
            .item(FlapSettings::schema())
            .description(Some("`false`: nothing is flapping; `true`: the default; or how many changes are allowed"))
            .examples([json!({"changes": 6})])
            .into()
    }
}
impl ToSchema for FlapSetting {
    fn name() -> Cow<'static, str> {
        "Flap".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        FlapSettings::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: de::DeserializeOwned>(value: &serde_json::Value) -> Result<T, String> {
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn thresholds_are_in_a_row_or_among_the_newest() {
        for given in [json!(2), json!(1000), json!({"failures": 3, "of": 5})] {
            let setting: FailureThresholdSetting = read(&given).unwrap();
            assert_eq!(serde_json::to_value(setting).unwrap(), given);
        }
        for (given, words) in [
            (
                json!("2"),
                "expected a whole number of failed checks in a row, or a mapping such as {failures: 3, of: 5}",
            ),
            (json!(-1), "-1 is out of range"),
            (json!(2.5), "expected a whole number"),
            (json!({"failures": 3}), "missing field `of`"),
            (json!({"failures": 3, "off": 5}), "unknown field `off`"),
        ] {
            let error = read::<FailureThresholdSetting>(&given).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }

    #[test]
    fn flapping_is_off_on_or_described_and_merges() {
        for (given, written) in
            [(json!(false), json!(false)), (json!(true), json!(true)), (json!({"changes": 4}), json!({"changes": 4}))]
        {
            let setting: FlapSetting = read(&given).unwrap();
            assert_eq!(serde_json::to_value(setting).unwrap(), written);
        }
        assert!(read::<FlapSetting>(&json!(6)).unwrap_err().contains("expected false, true, or a mapping"));
        for (base, over, both) in [
            (json!({"changes": 4}), json!(true), json!({"changes": 4})),
            (json!({"changes": 4}), json!(false), json!(false)),
            (json!(false), json!({"changes": 4}), json!({"changes": 4})),
        ] {
            let laid = read::<FlapSetting>(&base).unwrap().laid_upon(&read(&over).unwrap());
            assert_eq!(serde_json::to_value(laid).unwrap(), both, "{base} {over}");
        }
    }
}
