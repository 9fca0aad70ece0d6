//! From columns to domain types. A value that cannot be one is damage, or the work of a newer version.

use std::fmt::Display;
use std::str::FromStr;

use super::StoreError;

/// The enum value of a stored word.
pub(super) fn word<T: FromStr>(text: &str, column: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| unreadable(column, text))
}

/// A stored integer in its range.
pub(super) fn number<T: TryFrom<i64>>(value: i64, column: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| unreadable(column, value))
}

/// A stored integer in its range, or nothing.
pub(super) fn optional<T: TryFrom<i64>>(value: Option<i64>, column: &'static str) -> Result<Option<T>, StoreError> {
    value.map(|value| number(value, column)).transpose()
}

pub(super) fn unreadable(column: &'static str, value: impl Display) -> StoreError {
    StoreError::Other(format!("the database holds `{value}` in {column}, which cannot be read"))
}

/// A count as it is stored. Counts never come near the end of an `i64`.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Stored settings, each key by itself: those that can be read, and the names of those that cannot, in a sentence. What
/// they hold is not in it: it may be a secret.
pub(super) fn settings<T: serde::de::DeserializeOwned + Default>(value: serde_json::Value) -> (T, Option<String>) {
    let serde_json::Value::Object(settings) = value else {
        return (T::default(), Some("what is stored of its settings cannot be read".to_owned()));
    };
    let (mut readable, mut others) = (serde_json::Map::new(), Vec::new());
    for (key, value) in settings {
        let alone = serde_json::Map::from_iter([(key.clone(), value.clone())]);
        if serde_json::from_value::<T>(alone.into()).is_ok() {
            readable.insert(key, value);
        } else {
            others.push(key);
        }
    }
    let unreadable = (!others.is_empty()).then(|| format!("what is stored of {} cannot be read", others.join(", ")));
    match serde_json::from_value(readable.into()) {
        Ok(settings) => (settings, unreadable),
        Err(_) => (T::default(), Some("what is stored of its settings cannot be read".to_owned())),
    }
}

/// A stored JSON value of a known form.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    value: serde_json::Value,
    column: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(|error| unreadable(column, error))
}
