//! JSON merge patches (RFC 7396) upon the settings of an endpoint.

use serde_json::{Map, Value};

use super::error::FieldError;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::pointer;

/// The settings after the patch: `null` removes, maps merge, everything else replaces.
///
/// # Errors
/// The place of an unknown or ill-typed field, also of one that would only be removed.
pub fn apply(settings: &EndpointSettings, patch: Value) -> Result<EndpointSettings, FieldError> {
    let Value::Object(mut patch) = patch else {
        return Err(FieldError::at("", "invalid", "A merge patch of an endpoint is a JSON object"));
    };
    use_canonical_names(&mut patch, settings)?;
    read::<EndpointSettings>(Value::Object(without_removed_headers(&patch)))?;
    let mut document = serde_json::to_value(settings)
        .map_err(|e| FieldError::at("", "invalid", format!("the stored settings cannot be patched: {e}")))?;
    merge(&mut document, Value::Object(patch));
    read(document)
}

/// Applies a patch to any document.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in changes {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What is stored under another spelling is patched all the same: `enabled` is `is_active`, and header names are
/// compared without case.
fn use_canonical_names(patch: &mut Map<String, Value>, settings: &EndpointSettings) -> Result<(), FieldError> {
    if let Some(enabled) = patch.remove("enabled")
        && patch.insert("is_active".to_owned(), enabled).is_some()
    {
        return Err(FieldError::at("/enabled", "conflict", "is another name of `is_active`: give one of them"));
    }
    if let Some(Value::Object(headers)) = patch.get_mut("headers") {
        let renamed = std::mem::take(headers).into_iter().map(|(name, value)| {
            let stored = settings.headers.iter().flatten().find(|(n, _)| n.eq_ignore_ascii_case(&name));
            (stored.map_or(name, |(stored, _)| stored.clone()), value)
        });
        *headers = renamed.collect();
    }
    Ok(())
}

/// The patch as settings, to find its mistakes: only a header is removed by a value that settings cannot have.
fn without_removed_headers(patch: &Map<String, Value>) -> Map<String, Value> {
    let mut checked = patch.clone();
    if let Some(Value::Object(headers)) = checked.get_mut("headers") {
        headers.retain(|_, value| !value.is_null());
    }
    checked
}

/// A document as a type; the mistake has its place.
pub(super) fn read<T: serde::de::DeserializeOwned>(document: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let message = error.inner().to_string();
        let rule = if message.starts_with("unknown field") { "unknown" } else { "invalid" };
        FieldError::at(pointer_of(error.path()), rule, message)
    })
}

/// The JSON pointer of a place that was being read.
pub fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let step = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => pointer::step(key),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&step);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored() -> EndpointSettings {
        serde_json::from_value(json!({
            "name": "a", "url": "https://example.com", "timeout": 3, "tags": ["x"],
            "headers": {"Accept": "text/html", "X-One": "1"}, "retry": {"max_attempts": 2, "jitter": false}
        }))
        .unwrap()
    }

    fn patched(patch: Value) -> Value {
        serde_json::to_value(apply(&stored(), patch).unwrap()).unwrap()
    }

    #[test]
    fn null_removes_maps_merge_lists_replace() {
        let after = patched(json!({
            "timeout": null, "tags": ["y", "z"], "headers": {"accept": null, "X-Two": "2"}, "retry": {"jitter": null}
        }));
        assert_eq!(
            after,
            json!({
                "name": "a", "url": "https://example.com", "tags": ["y", "z"],
                "headers": {"X-One": "1", "X-Two": "2"}, "retry": {"max_attempts": 2}
            })
        );
    }

    #[test]
    fn the_alias_patches_the_same_field() {
        assert_eq!(patched(json!({"enabled": false}))["is_active"], false);
        assert!(apply(&stored(), json!({"enabled": false, "is_active": true})).is_err());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (patch, pointer) in [
            (json!([]), ""),
            (json!({"nonsense": null}), "/nonsense"),
            (json!({"retry": {"max_attempts": "many"}}), "/retry/max_attempts"),
            (json!({"retry": {"tries": 1}}), "/retry/tries"),
            (json!({"headers": {"X": 1}}), "/headers/X"),
        ] {
            let error = apply(&stored(), patch.clone()).unwrap_err();
            assert_eq!(error.place, crate::service::error::Place::Pointer(pointer.to_owned()), "{patch}");
        }
    }
}
