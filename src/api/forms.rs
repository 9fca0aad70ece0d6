//! What bodies have to have, in the description: the settings of a resource are one type, all of whose fields are
//! optional (a file, a group and a patch name any of them); what makes or replaces the resource must name some.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::group_view::GroupSettings;
use crate::domain::endpoint::EndpointSettings;
use crate::service::api_keys::KeySettings;

/// The settings of an endpoint that is made or replaced. That most kinds need a `url` is beyond what both forms of the
/// description can say.
#[derive(Debug)]
pub struct WholeEndpoint;

/// The settings of an endpoint whose group and name are in the path.
#[derive(Debug)]
pub struct KeyedEndpoint;

/// The settings of a group that is made or replaced. That `interval` or `schedule` is there, too, is beyond what both
/// forms of the description can say.
#[derive(Debug)]
pub struct WholeGroup;

/// The settings of a key that is made or replaced.
#[derive(Debug)]
pub struct WholeKey;

macro_rules! form {
    ($form:ident of $settings:ty, $($field:literal),*) => {
        impl PartialSchema for $form {
            fn schema() -> RefOr<Schema> {
                requiring(<$settings>::schema(), &[$($field),*])
            }
        }
        impl ToSchema for $form {
            fn name() -> Cow<'static, str> {
                stringify!($form).into()
            }
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                <$settings>::schemas(schemas);
            }
        }
    };
}

form!(WholeEndpoint of EndpointSettings, "name");
form!(KeyedEndpoint of EndpointSettings,);
form!(WholeGroup of GroupSettings, "name");
form!(WholeKey of KeySettings, "name", "role");

/// The schema with these properties required, and so never null.
pub fn requiring(schema: RefOr<Schema>, fields: &[&str]) -> RefOr<Schema> {
    // Schemas are JSON in both directions.
    let Ok(mut form) = serde_json::to_value(&schema) else { return schema };
    for field in fields {
        let property = &mut form["properties"][field];
        if let Some(property) = property.as_object_mut() {
            property.remove("default");
            let named = |kinds: &Value| kinds.as_array().and_then(|kinds| kinds.iter().find(|k| *k != "null").cloned());
            if let Some(kind) = property.get("type").and_then(named) {
                property.insert("type".to_owned(), kind);
            }
            if property.get("type").is_some_and(|kind| kind == "string") {
                property.entry("minLength").or_insert(json!(1));
            }
        }
        let one = property["oneOf"].as_array().and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
        if let Some(one) = one.cloned() {
            *property = one;
        }
    }
    // An empty list is none in one of the forms.
    if !fields.is_empty() {
        form["required"] = json!(fields);
    }
    serde_json::from_value(form).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_not_null() {
        let form = serde_json::to_value(WholeKey::schema()).unwrap();
        assert_eq!(form["required"], json!(["name", "role"]));
        assert_eq!(form["properties"]["name"]["type"], "string");
        assert_eq!(form["properties"]["role"]["$ref"], "#/components/schemas/Role");
        assert_eq!(form["properties"]["expires_at"]["type"], json!(["string", "null"]));
        assert_eq!(form["additionalProperties"], false);
        let form = serde_json::to_value(WholeEndpoint::schema()).unwrap();
        assert_eq!((&form["properties"]["name"]["type"], &form["required"]), (&json!("string"), &json!(["name"])));
        assert!(serde_json::to_value(KeyedEndpoint::schema()).unwrap().get("required").is_none());
    }
}
