//! The description of the API in `OpenAPI` 2.0 (Swagger), made from the one in 3.1. No library makes the former.
//!
//! It is complete: every route, parameter, body, answer and security. What 2.0 has no words for is kept in
//! extensions: `x-nullable` for what may be null, `x-oneOf` for what has one of several forms (and so no type).

use serde_json::{Map, Value, json};

const PROBLEM_JSON: &str = "application/problem+json";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// The document in 2.0.
pub fn of(openapi: &Value) -> Value {
    let definitions = security_definitions(&openapi["components"]["securitySchemes"]);
    let converter = Converter { schemas: &openapi["components"]["schemas"], security: &definitions };
    let schemas: Map<String, Value> =
        entries(converter.schemas).map(|(name, value)| (name.clone(), schema(value))).collect();
    let responses: Map<String, Value> = entries(&openapi["components"]["responses"])
        .map(|(name, value)| (name.clone(), converter.response(value).0))
        .collect();
    let paths: Map<String, Value> =
        entries(&openapi["paths"]).map(|(path, item)| (path.clone(), converter.path(item))).collect();
    let mut document = json!({
        "swagger": "2.0",
        "info": info(&openapi["info"]),
        "basePath": "/",
        "consumes": ["application/json"],
        "produces": ["application/json", PROBLEM_JSON],
        "paths": paths,
        "definitions": schemas,
        "responses": responses,
        "securityDefinitions": definitions,
    });
    if let Some(requirements) = security(&openapi["security"], converter.security) {
        document["security"] = requirements;
    }
    for key in ["tags", "externalDocs"] {
        if !openapi[key].is_null() {
            document[key] = openapi[key].clone();
        }
    }
    document
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn info(info: &Value) -> Value {
    let known = ["title", "version", "description", "termsOfService", "contact"];
    let mut shown: Map<String, Value> =
        entries(info).filter(|(key, _)| known.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Some(name) = info["license"]["name"].as_str() {
        shown.insert("license".to_owned(), json!({ "name": name }));
    }
    shown.into()
}

/// Schemes that 2.0 knows: a bearer token is a key in the header `Authorization` there; cookies are not known.
fn security_definitions(schemes: &Value) -> Value {
    let mut definitions = Map::new();
    for (name, scheme) in entries(schemes) {
        let mut definition = match (scheme["type"].as_str(), scheme["scheme"].as_str(), scheme["in"].as_str()) {
            (Some("apiKey"), _, Some("header" | "query")) => {
                json!({"type": "apiKey", "name": scheme["name"], "in": scheme["in"]})
            }
            (Some("http"), Some("bearer"), _) => json!({
                "type": "apiKey", "name": "Authorization", "in": "header",
                "description": "`Bearer ` and the key",
            }),
            (Some("http"), Some("basic"), _) => json!({ "type": "basic" }),
            _ => continue,
        };
        if let Some(description) = scheme["description"].as_str() {
            definition["description"] = description.into();
        }
        definitions.insert(name.clone(), definition);
    }
    definitions.into()
}

/// Without what 2.0 does not know. Only one that asks for nothing: an empty list.
fn security(requirements: &Value, definitions: &Value) -> Option<Value> {
    let listed = requirements.as_array()?;
    if listed.iter().all(|requirement| requirement.as_object().is_some_and(Map::is_empty)) {
        return Some(json!([]));
    }
    let known = |requirement: &&Value| entries(requirement).all(|(name, _)| definitions[name].is_object());
    Some(listed.iter().filter(known).cloned().collect())
}

struct Converter<'a> {
    schemas: &'a Value,
    /// The schemes that 2.0 knows.
    security: &'a Value,
}

impl Converter<'_> {
    fn path(&self, item: &Value) -> Value {
        let shared: Vec<Value> = items(&item["parameters"]).map(|parameter| self.parameter(parameter)).collect();
        let mut path = Map::new();
        for (method, operation) in entries(item).filter(|(method, _)| METHODS.contains(&method.as_str())) {
            path.insert(method.clone(), self.operation(operation));
        }
        if !shared.is_empty() {
            path.insert("parameters".to_owned(), shared.into());
        }
        path.into()
    }

    fn operation(&self, operation: &Value) -> Value {
        let mut converted = Map::new();
        for (key, value) in entries(operation) {
            let kept = ["tags", "summary", "description", "operationId", "deprecated", "externalDocs"];
            if kept.contains(&key.as_str()) || key.starts_with("x-") {
                converted.insert(key.clone(), value.clone());
            }
        }
        let mut parameters: Vec<Value> =
            items(&operation["parameters"]).map(|parameter| self.parameter(parameter)).collect();
        if let Some(body) = operation.get("requestBody") {
            let consumes: Vec<&String> = entries(&body["content"]).map(|(kind, _)| kind).collect();
            let form = entries(&body["content"]).next().map_or(Value::Null, |(_, content)| content["schema"].clone());
            let mut parameter = json!({
                "name": "body", "in": "body",
                "required": body["required"].as_bool().unwrap_or(false),
                "schema": schema(&form),
            });
            if let Some(description) = body["description"].as_str() {
                parameter["description"] = description.into();
            }
            converted.insert("consumes".to_owned(), json!(consumes));
            parameters.push(parameter);
        }
        if !parameters.is_empty() {
            converted.insert("parameters".to_owned(), parameters.into());
        }

        let mut produces = vec![PROBLEM_JSON.to_owned()];
        let mut responses = Map::new();
        for (status, response) in entries(&operation["responses"]) {
            let (response, kinds) = self.response(response);
            for kind in kinds {
                if !produces.contains(&kind) {
                    produces.insert(produces.len() - 1, kind);
                }
            }
            responses.insert(status.clone(), response);
        }
        converted.insert("produces".to_owned(), json!(produces));
        converted.insert("responses".to_owned(), responses.into());
        if let Some(requirements) = security(&operation["security"], self.security) {
            converted.insert("security".to_owned(), requirements);
        }
        converted.into()
    }

    /// A response, and of which types it is.
    fn response(&self, response: &Value) -> (Value, Vec<String>) {
        if let Some(reference) = response["$ref"].as_str() {
            return (json!({ "$ref": reference.replace("#/components/responses/", "#/responses/") }), Vec::new());
        }
        let mut converted = json!({ "description": response["description"].as_str().unwrap_or_default() });
        let kinds: Vec<String> = entries(&response["content"]).map(|(kind, _)| kind.clone()).collect();
        let json_first = entries(&response["content"])
            .find(|(kind, _)| kind.ends_with("json"))
            .or_else(|| entries(&response["content"]).next());
        if let Some((kind, content)) = json_first {
            let is_binary = kind == "application/octet-stream" || content["schema"]["format"] == "binary";
            converted["schema"] =
                if is_binary { json!({ "type": "string", "format": "binary" }) } else { schema(&content["schema"]) };
        }
        let headers: Map<String, Value> =
            entries(&response["headers"]).map(|(name, header)| (name.clone(), self.flat(header))).collect();
        if !headers.is_empty() {
            converted["headers"] = headers.into();
        }
        (converted, kinds)
    }

    fn parameter(&self, parameter: &Value) -> Value {
        let mut converted = self.flat(parameter);
        converted["name"] = parameter["name"].clone();
        converted["in"] = parameter["in"].clone();
        converted["required"] = (parameter["in"] == "path" || parameter["required"] == true).into();
        converted
    }

    /// A parameter or header, whose schema has no level of its own in 2.0 and is of a simple type.
    fn flat(&self, value: &Value) -> Value {
        let mut form = self.resolved(&schema(&value["schema"]));
        let one_of = form.as_object_mut().and_then(|form| form.remove("x-oneOf"));
        if form["type"].is_null() {
            let first = one_of.as_ref().and_then(|forms| forms.get(0)).map(|first| self.resolved(first));
            form["type"] = first.map_or_else(|| "string".into(), |first| first["type"].clone());
        }
        let known = [
            "type",
            "format",
            "items",
            "default",
            "maximum",
            "minimum",
            "exclusiveMaximum",
            "exclusiveMinimum",
            "maxLength",
            "minLength",
            "pattern",
            "maxItems",
            "minItems",
            "uniqueItems",
            "enum",
            "multipleOf",
        ];
        let mut flat: Map<String, Value> = entries(&form)
            .filter(|(key, value)| known.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some(elements) = flat.get_mut("items") {
            *elements = self.resolved(elements);
            flat.insert("collectionFormat".to_owned(), "csv".into());
        }
        if let Some(description) = value["description"].as_str() {
            flat.insert("description".to_owned(), description.into());
        }
        if let Some(example) = value.get("example") {
            flat.insert("x-example".to_owned(), example.clone());
        }
        flat.into()
    }

    /// The schema itself where there is only a reference to it.
    fn resolved(&self, form: &Value) -> Value {
        let reference = form["$ref"].as_str().or_else(|| form["allOf"][0]["$ref"].as_str());
        match reference.and_then(|reference| reference.rsplit('/').next()) {
            Some(name) => schema(&self.schemas[name]),
            None => form.clone(),
        }
    }
}

/// A schema in 2.0.
fn schema(form: &Value) -> Value {
    let Some(form) = form.as_object() else { return json!({}) };
    if let Some(reference) = form.get("$ref").and_then(Value::as_str) {
        let reference = json!({ "$ref": reference.replace("#/components/schemas/", "#/definitions/") });
        return match form.get("description") {
            // A reference stands alone in 2.0.
            Some(description) => json!({ "allOf": [reference], "description": description }),
            None => reference,
        };
    }
    let mut converted = Map::new();
    for (key, value) in form {
        match key.as_str() {
            "title" | "description" | "format" | "maximum" | "minimum" | "maxLength" | "minLength" | "pattern"
            | "maxItems" | "minItems" | "uniqueItems" | "maxProperties" | "minProperties" | "required" | "enum"
            | "multipleOf" | "readOnly" | "example" | "externalDocs" => {
                converted.insert(key.clone(), value.clone());
            }
            "default" if !value.is_null() => {
                converted.insert(key.clone(), value.clone());
            }
            "const" => {
                converted.insert("enum".to_owned(), json!([value]));
            }
            "examples" => {
                if let Some(first) = value.get(0) {
                    converted.insert("example".to_owned(), first.clone());
                }
            }
            "exclusiveMinimum" | "exclusiveMaximum" => {
                let bound = if key == "exclusiveMinimum" { "minimum" } else { "maximum" };
                converted.insert(bound.to_owned(), value.clone());
                converted.insert(key.clone(), true.into());
            }
            "type" => of_type(value, &mut converted),
            "items" => {
                converted.insert(key.clone(), schema(value));
            }
            "additionalProperties" => {
                converted.insert(key.clone(), if value.is_boolean() { value.clone() } else { schema(value) });
            }
            "properties" => {
                let properties: Map<String, Value> = entries(value).map(|(k, v)| (k.clone(), schema(v))).collect();
                converted.insert(key.clone(), properties.into());
            }
            "allOf" => {
                converted.insert(key.clone(), items(value).map(schema).collect());
            }
            "oneOf" | "anyOf" => one_of(value, &mut converted),
            _ if key.starts_with("x-") => {
                converted.insert(key.clone(), value.clone());
            }
            // What 2.0 cannot say: `propertyNames`, `deprecated`, `writeOnly`, …
            _ => {}
        }
    }
    if converted.get("type").is_some_and(|kind| kind == "array") && !converted.contains_key("items") {
        converted.insert("items".to_owned(), json!({}));
    }
    converted.into()
}

fn of_type(value: &Value, converted: &mut Map<String, Value>) {
    let kinds: Vec<&Value> = match value {
        Value::Array(kinds) => kinds.iter().collect(),
        single => vec![single],
    };
    let named: Vec<&Value> = kinds.iter().copied().filter(|kind| *kind != "null").collect();
    if named.len() < kinds.len() {
        converted.insert("x-nullable".to_owned(), true.into());
    }
    match named[..] {
        [] => {}
        [kind] => {
            converted.insert("type".to_owned(), kind.clone());
        }
        [..] => {
            let forms: Vec<Value> = named.iter().map(|kind| json!({ "type": kind })).collect();
            converted.insert("x-oneOf".to_owned(), forms.into());
        }
    }
}

/// One of several forms: the form itself where the others are only null.
fn one_of(forms: &Value, converted: &mut Map<String, Value>) {
    let is_null = |form: &&Value| form["type"] == "null";
    if items(forms).any(|form| is_null(&form)) {
        converted.insert("x-nullable".to_owned(), true.into());
    }
    let named: Vec<Value> = items(forms).filter(|form| !is_null(form)).map(schema).collect();
    match <[Value; 1]>::try_from(named) {
        Ok([Value::Object(form)]) if form.contains_key("$ref") => {
            converted.insert("allOf".to_owned(), json!([form]));
        }
        Ok([form]) => {
            for (key, value) in entries(&form) {
                converted.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Err(several) => {
            converted.insert("x-oneOf".to_owned(), several.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_say_in_extensions_what_they_cannot_say_otherwise() {
        for (form, expected) in [
            (json!({"type": ["string", "null"], "default": null}), json!({"type": "string", "x-nullable": true})),
            (json!({"type": ["string", "integer"]}), json!({"x-oneOf": [{"type": "string"}, {"type": "integer"}]})),
            (
                json!({"oneOf": [{"$ref": "#/components/schemas/A", "description": "an A"}, {"type": "null"}]}),
                json!({"x-nullable": true, "allOf": [{"$ref": "#/definitions/A"}], "description": "an A"}),
            ),
            (
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "d", "examples": [60]}),
                json!({"x-oneOf": [{"type": "integer"}, {"type": "string"}], "description": "d", "example": 60}),
            ),
            (json!({"$ref": "#/components/schemas/A"}), json!({"$ref": "#/definitions/A"})),
            (json!({"type": "array"}), json!({"type": "array", "items": {}})),
            (json!({"const": 1, "exclusiveMinimum": 0}), json!({"enum": [1], "minimum": 0, "exclusiveMinimum": true})),
            (json!({"type": "object", "propertyNames": {"type": "string"}}), json!({"type": "object"})),
            (
                json!({"type": "object", "additionalProperties": {"type": ["null", "number"]}}),
                json!({"type": "object", "additionalProperties": {"type": "number", "x-nullable": true}}),
            ),
        ] {
            assert_eq!(schema(&form), expected, "{form}");
        }
    }

    #[test]
    fn nothing_of_a_document_is_lost() {
        let openapi = serde_json::to_value(crate::api::document("X-API-Key")).unwrap();
        let swagger = of(&openapi);
        let (mut operations, mut parameters, mut responses) = (0, 0, 0);
        for (path, item) in entries(&openapi["paths"]) {
            for (method, operation) in entries(item).filter(|(method, _)| METHODS.contains(&method.as_str())) {
                let converted = &swagger["paths"][path][method];
                operations += 1;
                for status in entries(&operation["responses"]).map(|(status, _)| status) {
                    assert!(converted["responses"][status].is_object(), "{method} {path} {status}");
                    responses += 1;
                }
                let names = |of: &Value| -> Vec<String> {
                    items(&of["parameters"]).map(|p| p["name"].as_str().unwrap().to_owned()).collect()
                };
                let mut expected = names(operation);
                expected.extend(operation.get("requestBody").map(|_| "body".to_owned()));
                assert_eq!(names(converted), expected, "{method} {path}");
                for parameter in items(&converted["parameters"]).filter(|parameter| parameter["in"] != "body") {
                    assert!(parameter["type"].is_string(), "{method} {path} {parameter}");
                }
                parameters += expected.len();
            }
        }
        assert!(operations > 40 && parameters > 60 && responses > 300, "{operations} {parameters} {responses}");
        let names = |of: &Value| -> Vec<String> { entries(of).map(|(name, _)| name.clone()).collect() };
        assert_eq!(names(&swagger["definitions"]), names(&openapi["components"]["schemas"]));
        let text = swagger.to_string();
        assert!(!text.contains("#/components/") && !text.contains("\"oneOf\""));
    }
}
