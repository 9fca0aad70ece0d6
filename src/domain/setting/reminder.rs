//! `alert_policy.reminder`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::DurationSetting;

/// Reminders of an outage that lasts: `false`, `true`, or a mapping of when they come.
#[derive(Debug, Clone, PartialEq)]
pub enum ReminderSetting {
    Off,
    /// `true` is a mapping that sets nothing.
    On(ReminderSettings),
}

/// When reminders come; what is `None` has its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReminderSettings {
    /// From the first message to the first reminder. Default 1 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<DurationSetting>,
    /// Each further pause is so many times longer, at least 1. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<f64>,
    /// The longest pause. Default 24 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<DurationSetting>,
}

impl ReminderSetting {
    /// `over` upon this: two mappings merge, everything else replaces.
    #[must_use]
    pub fn laid_upon(&self, over: &Self) -> Self {
        match (self, over) {
            (Self::On(base), Self::On(over)) => Self::On(ReminderSettings {
                every: over.every.or(base.every),
                backoff: over.backoff.or(base.backoff),
                max: over.max.or(base.max),
            }),
            (_, over) => over.clone(),
        }
    }
}

impl Serialize for ReminderSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(settings) if *settings == ReminderSettings::default() => serializer.serialize_bool(true),
            Self::On(settings) => settings.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReminderSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ReminderSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, true, or a mapping such as {every: 1h, backoff: 2, max: 24h}")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(if on { ReminderSetting::On(ReminderSettings::default()) } else { ReminderSetting::Off })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                ReminderSettings::deserialize(de::value::MapAccessDeserializer::new(map)).map(ReminderSetting::On)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for ReminderSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean)))
            .item(ReminderSettings::schema())
            .description(Some("`false`: no reminders; `true`: the default ones; or a mapping of when they come"))
            .examples([json!({"every": "1h", "backoff": 2, "max": "24h"})])
            .into()
    }
}
impl ToSchema for ReminderSetting {
    fn name() -> Cow<'static, str> {
        "Reminder".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ReminderSettings::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &serde_json::Value) -> Result<ReminderSetting, String> {
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn reminders_are_off_on_or_described() {
        for (given, written) in [
            (json!(false), json!(false)),
            (json!(true), json!(true)),
            (json!({}), json!(true)),
            (json!({"every": "30m"}), json!({"every": 1800})),
            (json!({"every": 60, "backoff": 1, "max": "1d"}), json!({"every": 60, "backoff": 1.0, "max": 86_400})),
        ] {
            let setting = read(&given).unwrap();
            assert_eq!(serde_json::to_value(&setting).unwrap(), written, "{given}");
            assert_eq!(read(&written), Ok(setting));
        }
        for (given, words) in [
            (json!("1h"), "expected false, true, or a mapping"),
            (json!(3600), "expected false, true, or a mapping"),
            (json!({"evry": 60}), "unknown field `evry`"),
            (json!({"every": "soon"}), "`soon` is not a duration"),
        ] {
            assert!(read(&given).unwrap_err().contains(words), "{given}");
        }
    }

    #[test]
    fn mappings_merge_and_everything_else_replaces() {
        for (base, over, merged) in [
            (json!({"every": 60, "max": 600}), json!({"every": 120}), json!({"every": 120, "max": 600})),
            (json!({"every": 60}), json!(true), json!({"every": 60})),
            (json!({"every": 60}), json!(false), json!(false)),
            (json!(false), json!({"every": 60}), json!({"every": 60})),
            (json!(false), json!(true), json!(true)),
        ] {
            let both = read(&base).unwrap().laid_upon(&read(&over).unwrap());
            assert_eq!(serde_json::to_value(both).unwrap(), merged, "{base} {over}");
        }
    }
}
