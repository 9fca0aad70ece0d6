//! What can be set for each part that configuration chooses, as JSON schemas: made of the very structs that are read.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::channels;
use super::raw::RawDatabase;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::preset::{OptionKind, Preset, PresetOption};

/// Of an endpoint.
pub fn endpoint() -> Value {
    schema_of::<EndpointSettings>()
}

/// Of `database`.
pub fn database() -> Value {
    schema_of::<RawDatabase>()
}

/// Of a channel of each type that is not a preset: the word in `type`, what it does, the schema.
pub fn channels() -> Vec<(&'static str, &'static str, Value)> {
    channels::schemas()
}

/// Of a preset's channel: its own options beside what every channel has.
pub fn preset(preset: &Preset) -> Value {
    let properties: Map<String, Value> =
        preset.options.iter().map(|option| (option.name.clone(), preset_option(option))).collect();
    let required: Vec<&str> =
        preset.options.iter().filter(|option| option.required).map(|option| option.name.as_str()).collect();
    channels::with_common(&preset.name, json!({ "type": "object", "properties": properties }), &required)
}

/// Of an option of a preset.
pub fn preset_option(option: &PresetOption) -> Value {
    let kind = if option.kind == OptionKind::Integer { "integer" } else { "string" };
    let mut schema = json!({ "type": kind, "description": option.about });
    let mut set = |key: &str, value: Option<Value>| {
        if let (Value::Object(fields), Some(value)) = (&mut schema, value) {
            fields.insert(key.to_owned(), value);
        }
    };
    let number = |text: &String| text.parse::<i64>().map_or_else(|_| Value::from(text.clone()), Value::from);
    let is_number = option.kind == OptionKind::Integer;
    set("default", option.default.as_ref().map(|text| if is_number { number(text) } else { text.clone().into() }));
    set("minimum", option.min.map(Value::from));
    set("maximum", option.max.map(Value::from));
    set("maxLength", option.max_chars.map(Value::from));
    set("enum", (!option.choices.is_empty()).then(|| json!(option.choices)));
    set("format", (option.kind == OptionKind::Url).then(|| json!("uri")));
    set("writeOnly", option.secret.then_some(Value::Bool(true)));
    schema
}

/// The schema of a type, with all that it refers to under `$defs`.
pub(super) fn schema_of<T: PartialSchema + ToSchema>() -> Value {
    let mut referred: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut referred);
    let mut schema = value(&T::schema());
    let defs: Map<String, Value> = referred.iter().map(|(name, schema)| (name.clone(), value(schema))).collect();
    if let (false, Value::Object(fields)) = (defs.is_empty(), &mut schema) {
        fields.insert("$defs".to_owned(), Value::Object(defs));
    }
    schema
}

/// Refers to what is beside it.
fn value(schema: &RefOr<Schema>) -> Value {
    // Strings, numbers and maps with string keys: it always serializes.
    let mut value = serde_json::to_value(schema).unwrap_or_default();
    redirect(&mut value);
    value
}

fn redirect(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "$ref" => *text = text.replace("#/components/schemas/", "#/$defs/"),
                    _ => redirect(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redirect),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_refers_to_is_in_it() {
        let schemas = [endpoint(), database()].into_iter().chain(channels().into_iter().map(|(.., schema)| schema));
        for schema in schemas {
            let text = schema.to_string();
            for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(schema.pointer(&format!("/{reference}")).is_some(), "{reference} in {text}");
            }
            assert!(schema["properties"].as_object().is_some_and(|p| !p.is_empty()), "{text}");
            assert_eq!(schema["additionalProperties"], false, "{text}");
        }
    }

    #[test]
    fn a_channel_has_its_own_keys_and_the_common_ones() {
        let all = channels();
        let email = &all.iter().find(|(name, ..)| *name == "email").unwrap().2;
        assert_eq!(email["properties"]["type"]["const"], "email");
        assert_eq!(email["required"], json!(["type", "to_addrs"]));
        assert!(email["properties"]["severity"].is_object() && email["properties"]["smtp_host"].is_object(), "{email}");
        let slack = preset(&crate::domain::preset::find("slack").unwrap().unwrap());
        assert_eq!(slack["required"], json!(["type", "url"]));
        assert!(slack["properties"]["fallback"].is_object(), "{slack}");
    }
}
