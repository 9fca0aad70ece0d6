//! Secrets in settings: what is shown instead of them, and how writing that back keeps what is stored.

mod logins;

use std::ops::Range;

use serde_json::Value;

use super::error::FieldError;
use crate::domain::endpoint::{EndpointSettings, Layers, SECRET_HEADERS};
use crate::domain::pointer;
use crate::domain::secret_names::{hide_query, is_secret_name, secrets_of_query};
use crate::domain::setting::RequestBody;

/// What is shown in the place of a secret.
pub const HIDDEN: &str = "***";

/// Whether the values of this header are secret when `redact` applies.
fn is_secret(redact: &[String], header: &str) -> bool {
    SECRET_HEADERS.iter().any(|n| n.eq_ignore_ascii_case(header))
        || redact.iter().any(|n| n.eq_ignore_ascii_case(header))
}

/// The `redact` that applies to settings: their own, the group's and that of the defaults together.
pub fn applying(settings: &EndpointSettings, layers: Layers<'_>) -> Vec<String> {
    let all = [Some(settings), layers.group, Some(layers.defaults)];
    all.into_iter().flatten().flat_map(|settings| settings.redact.iter().flatten()).cloned().collect()
}

/// Stored settings and the `redact` that applied to them.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    pub settings: &'a EndpointSettings,
    pub redact: &'a [String],
}

/// The settings as they may be shown: values of secret headers and credentials in the URL are hidden.
/// `redact` is what applies to them.
#[must_use]
pub fn redacted(settings: &EndpointSettings, redact: &[String]) -> EndpointSettings {
    let mut shown = settings.clone();
    for (name, value) in shown.headers.iter_mut().flatten() {
        if is_secret(redact, name) {
            HIDDEN.clone_into(value);
        }
    }
    logins::hide(&mut shown);
    shown.url = settings.url.as_deref().map(redacted_url);
    shown.token = settings.token.as_ref().map(|_| HIDDEN.to_owned());
    if let Some(RequestBody::Json(body)) = &mut shown.body {
        hide_in_body(body, false);
    }
    shown
}

/// Hides what stands under names of secrets, at any depth.
fn hide_in_body(value: &mut Value, is_secret: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                hide_in_body(value, is_secret || is_secret_name(name));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide_in_body(item, is_secret)),
        Value::String(_) | Value::Number(_) if is_secret => *value = HIDDEN.into(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// A URL without its user and password, and without the values of its query that are secrets by their names:
/// `https://***@host/path?token=***`.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    hide_query(&without_userinfo(text), HIDDEN)
}

fn without_userinfo(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return text.to_owned();
    }
    if let Some(range) = userinfo(text) {
        let mut shown = text.to_owned();
        shown.replace_range(range, HIDDEN);
        return shown;
    }
    // An unusual spelling that the parser accepts: show its normal form instead.
    if url.set_username(HIDDEN).and_then(|()| url.set_password(None)).is_err() {
        return HIDDEN.to_owned();
    }
    url.to_string()
}

/// Where user and password stand in the text of a URL.
pub(super) fn userinfo(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let rest = text.get(start..)?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    authority.rfind('@').map(|end| start..start + end)
}

/// The names of the headers of `inherited` with secret values that settings send along without having set them; also
/// `auth` and `proxy`.
pub fn sent_along(settings: &EndpointSettings, inherited: &EndpointSettings, redact: &[String]) -> Vec<String> {
    let own = |name: &str| settings.headers.iter().flatten().any(|(set, _)| set.eq_ignore_ascii_case(name));
    let names = inherited.headers.iter().flatten().map(|(name, _)| name);
    let headers = names.filter(|name| is_secret(redact, name) && !own(name)).cloned();
    headers.chain(logins::sent_along(settings, inherited)).collect()
}

/// Whether `***` stands anywhere for what is stored.
pub fn keeps_any(settings: &EndpointSettings) -> bool {
    let in_url = |url: &String| {
        userinfo(url).and_then(|range| url.get(range)) == Some(HIDDEN)
            || secrets_of_query(url).iter().any(|secret| url.get(secret.range.clone()) == Some(HIDDEN))
    };
    let in_body = |body: &RequestBody| matches!(body, RequestBody::Json(body) if keeps_in_body(body, false));
    settings.headers.iter().flatten().any(|(_, value)| value == HIDDEN)
        || settings.token.as_deref() == Some(HIDDEN)
        || settings.url.as_ref().is_some_and(in_url)
        || settings.body.as_ref().is_some_and(in_body)
        || logins::keeps_any(settings)
}

fn keeps_in_body(value: &Value, is_secret: bool) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| keeps_in_body(value, is_secret || is_secret_name(name)))
        }
        Value::Array(items) => items.iter().any(|item| keeps_in_body(item, is_secret)),
        value => is_secret && value == HIDDEN,
    }
}

/// Whether two sets of settings ask the same place: scheme, host and port, by the same way. Those without a URL (of
/// groups) do.
fn same_place(one: &EndpointSettings, other: &EndpointSettings) -> bool {
    if !logins::same_route(one, other) {
        return false;
    }
    match (&one.url, &other.url) {
        (Some(one), Some(other)) => same_origin(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Puts the stored secrets where `***` was written back. `redact` applies to the new settings.
///
/// # Errors
/// Where there is nothing stored to keep, where what is stored would go to another place than it went to, and where a
/// stored secret would become readable.
pub fn restore(
    new: &mut EndpointSettings,
    redact: &[String],
    stored: Option<Stored<'_>>,
) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    let goes_elsewhere = stored.is_some_and(|stored| !same_place(new, stored.settings));
    let stored_header = |name: &str| {
        stored.and_then(|s| {
            s.settings.headers.as_ref()?.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
        })
    };
    for (name, value) in new.headers.iter_mut().flatten() {
        let was_secret = stored.is_some_and(|s| is_secret(s.redact, name));
        let becomes_readable = was_secret && !is_secret(redact, name);
        let pointer = format!("/headers/{}", pointer::step(name));
        if value == HIDDEN {
            match kept(stored_header(name), goes_elsewhere) {
                Ok(kept) => kept.clone_into(value),
                Err((rule, detail)) => {
                    errors.push(FieldError::at(&pointer, rule, detail));
                    continue;
                }
            }
        }
        if becomes_readable && stored_header(name).is_some_and(|kept| kept == value) {
            let detail = "the stored value would become readable: give a new one, or leave its name in `redact`";
            errors.push(FieldError::at(&pointer, "conflict", detail));
        }
    }
    logins::restore(new, stored.map(|stored| stored.settings), goes_elsewhere, &mut errors);
    if let Some(url) = &mut new.url {
        restore_url(url, stored.and_then(|stored| stored.settings.url.as_deref()), &mut errors);
    }
    if new.token.as_deref() == Some(HIDDEN) {
        match stored.and_then(|stored| stored.settings.token.clone()) {
            Some(token) => new.token = Some(token),
            None => errors.push(FieldError::at("/token", "invalid", "no token is stored that *** could keep")),
        }
    }
    if let Some(RequestBody::Json(body)) = &mut new.body {
        let stored = match stored.map(|stored| &stored.settings.body) {
            Some(Some(RequestBody::Json(stored))) => Some(stored),
            _ => None,
        };
        restore_body(body, stored, false, goes_elsewhere, "/body", &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// What `***` stands for, if it may.
fn kept<T>(stored: Option<T>, goes_elsewhere: bool) -> Result<T, (&'static str, &'static str)> {
    match stored {
        None => Err(("invalid", "no value is stored that *** could keep")),
        Some(_) if goes_elsewhere => Err((
            "conflict",
            "what is stored is not sent to another scheme, host or port: write it out, or leave it out",
        )),
        Some(stored) => Ok(stored),
    }
}

fn restore_url(url: &mut String, stored: Option<&str>, errors: &mut Vec<FieldError>) {
    let hidden = |url: &str, range: &Range<usize>| url.get(range.clone()) == Some(HIDDEN);
    if let Some(range) = userinfo(url).filter(|range| hidden(url, range)) {
        match stored.and_then(|stored| kept_userinfo(stored, url)) {
            Some(kept) => url.replace_range(range, &kept),
            None => errors.push(FieldError::at(
                "/url",
                "invalid",
                "no user and password are stored for this host that *** could keep: write them out",
            )),
        }
    }
    // From the end on, so that the places before stay where they are. The last of a name is the last of that name.
    let stored = stored.filter(|stored| same_origin(stored, url)).unwrap_or_default().to_owned();
    let mut left = secrets_of_query(&stored);
    let places: Vec<(String, Range<usize>)> =
        secrets_of_query(url).into_iter().map(|secret| (secret.name.to_owned(), secret.range)).collect();
    for (name, range) in places.into_iter().rev() {
        let same = left.iter().rposition(|secret| secret.name == name).map(|at| left.remove(at));
        if hidden(url, &range) {
            match same.and_then(|secret| stored.get(secret.range)) {
                Some(kept) => url.replace_range(range, kept),
                None => errors.push(FieldError::at(
                    "/url",
                    "invalid",
                    format!("no `{name}` is stored for this host that *** could keep: write it out"),
                )),
            }
        }
    }
}

fn restore_body(
    new: &mut Value,
    stored: Option<&Value>,
    is_secret: bool,
    goes_elsewhere: bool,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) {
    match new {
        Value::Object(fields) => {
            for (name, value) in fields {
                let (below, stored) = (format!("{pointer}/{}", pointer::step(name)), stored.and_then(|s| s.get(name)));
                restore_body(value, stored, is_secret || is_secret_name(name), goes_elsewhere, &below, errors);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let stored = stored.and_then(|stored| stored.get(at));
                restore_body(item, stored, is_secret, goes_elsewhere, &format!("{pointer}/{at}"), errors);
            }
        }
        value if is_secret && value == HIDDEN => {
            match kept(stored.filter(|stored| stored.is_string() || stored.is_number()), goes_elsewhere) {
                Ok(kept) => *value = kept.clone(),
                Err((rule, detail)) => errors.push(FieldError::at(pointer, rule, detail)),
            }
        }
        _ => {}
    }
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |text: &str| url::Url::parse(text).ok().map(|url| url.origin());
    origin(one).is_some_and(|one| one.is_tuple() && Some(one) == origin(other))
}

/// The stored user and password, if the new URL goes to the same place: they are not sent anywhere else.
pub(super) fn kept_userinfo(old: &str, new: &str) -> Option<String> {
    same_origin(old, new).then(|| userinfo(old).and_then(|range| old.get(range)))?.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: serde_json::Value) -> EndpointSettings {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn credentials_in_urls_are_hidden_however_they_are_spelt() {
        for (text, shown) in [
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("https://user:pass@example.com/x", "https://***@example.com/x"),
            ("https://token@example.com", "https://***@example.com"),
            ("https://a@b:c@example.com/", "https://***@example.com/"),
            ("https:user:pass@example.com/", "https://***@example.com/"),
            ("https:///user:pass@example.com/", "https://***@example.com/"),
        ] {
            assert_eq!(redacted_url(text), shown, "{text}");
            assert!(!redacted_url(text).contains("pass"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written_back() {
        let stored = settings(serde_json::json!({
            "name": "a", "url": "https://u:p@example.com/x", "redact": ["X-Own"],
            "headers": {"Authorization": "Bearer 1", "X-Own": "2", "Accept": "text/html"}
        }));
        let redact = ["X-Own".to_owned()];
        let shown = redacted(&stored, &redact);
        assert_eq!(shown.headers.as_ref().unwrap()["Authorization"], HIDDEN);
        assert_eq!(shown.headers.as_ref().unwrap()["X-Own"], HIDDEN);
        assert_eq!(shown.headers.as_ref().unwrap()["Accept"], "text/html");
        let mut written = shown;
        restore(&mut written, &redact, Some(Stored { settings: &stored, redact: &redact })).unwrap();
        assert_eq!(written, stored);
    }

    #[test]
    fn a_kept_secret_never_becomes_readable_or_goes_elsewhere() {
        let stored = settings(serde_json::json!({
            "name": "a", "url": "https://u:p@example.com/x", "redact": ["X-Own"], "headers": {"X-Own": "2"}
        }));
        let was = Stored { settings: &stored, redact: &["x-own".to_owned()] };
        let refused = |json| restore(&mut settings(json), &[], Some(was)).unwrap_err();
        let mut made_public = serde_json::json!({"headers": {"X-Own": "***"}});
        assert_eq!(refused(made_public.clone())[0].rule, "conflict");
        made_public["headers"]["X-Own"] = "2".into();
        assert_eq!(refused(made_public)[0].rule, "conflict");
        assert_eq!(refused(serde_json::json!({"url": "https://***@elsewhere.test/x"})).len(), 1);
        assert_eq!(refused(serde_json::json!({"headers": {"Cookie": "***"}})).len(), 1);
        for elsewhere in ["http://example.com/x", "https://example.com:444/x", "https://elsewhere.test/x"] {
            let moved = serde_json::json!({"url": elsewhere, "headers": {"X-Own": "***"}, "redact": ["X-Own"]});
            assert_eq!(refused(moved)[0].rule, "conflict", "{elsewhere}");
        }
    }

    #[test]
    fn secrets_in_the_query_and_the_body_are_kept_by_their_names() {
        let url = "https://example.com/x?token=1&page=2&token=3";
        let body = serde_json::json!({"user": "u", "auth": {"password": "p", "list": [1, "2", true]}, "apiKey": 5});
        let stored = settings(serde_json::json!({"name": "a", "url": url, "body": body}));
        let shown = redacted(&stored, &[]);
        assert_eq!(shown.url.as_deref(), Some("https://example.com/x?token=***&page=2&token=***"));
        let hidden = serde_json::json!(
            {"user": "u", "auth": {"password": "***", "list": ["***", "***", true]}, "apiKey": "***"});
        assert_eq!(serde_json::to_value(&shown.body).unwrap(), hidden);
        assert!(keeps_any(&shown) && !keeps_any(&stored));

        let was = Stored { settings: &stored, redact: &[] };
        let mut written = shown.clone();
        restore(&mut written, &[], Some(was)).unwrap();
        assert_eq!(written, stored);
        let mut fewer = settings(serde_json::json!({"url": "https://example.com/y?token=***"}));
        restore(&mut fewer, &[], Some(was)).unwrap();
        assert_eq!(fewer.url.as_deref(), Some("https://example.com/y?token=3"));
        let mut moved =
            EndpointSettings { url: Some("https://elsewhere.test/x?token=***".to_owned()), ..shown.clone() };
        assert_eq!(restore(&mut moved, &[], Some(was)).unwrap_err().len(), 5);
        let mut renamed =
            settings(serde_json::json!({"url": "https://example.com/x?key=***", "body": {"token": "***"}}));
        assert_eq!(restore(&mut renamed, &[], Some(was)).unwrap_err().len(), 2);
        let mut new = shown;
        assert_eq!(restore(&mut new, &[], None).unwrap_err().len(), 6);
    }
}
