//! Secrets in settings: what is shown instead of them, and how writing that back keeps what is stored.

use std::ops::Range;

use super::error::FieldError;
use crate::domain::endpoint::{EndpointSettings, Layers, SECRET_HEADERS};

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
    shown.url = settings.url.as_deref().map(redacted_url);
    shown
}

/// A URL without its user and password: `https://***@host/path`.
#[must_use]
pub fn redacted_url(text: &str) -> String {
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

/// The names of the headers of `inherited` with secret values that settings send along without having set them.
pub fn sent_along(settings: &EndpointSettings, inherited: &EndpointSettings, redact: &[String]) -> Vec<String> {
    let own = |name: &str| settings.headers.iter().flatten().any(|(set, _)| set.eq_ignore_ascii_case(name));
    let names = inherited.headers.iter().flatten().map(|(name, _)| name);
    names.filter(|name| is_secret(redact, name) && !own(name)).cloned().collect()
}

/// Whether `***` stands anywhere for what is stored.
pub fn keeps_any(settings: &EndpointSettings) -> bool {
    let in_url = |url: &String| userinfo(url).and_then(|range| url.get(range)) == Some(HIDDEN);
    settings.headers.iter().flatten().any(|(_, value)| value == HIDDEN) || settings.url.as_ref().is_some_and(in_url)
}

/// Whether two sets of settings ask the same place: scheme, host and port.
pub fn same_place(one: &EndpointSettings, other: &EndpointSettings) -> bool {
    let origin = |settings: &EndpointSettings| Some(url::Url::parse(settings.url.as_deref()?).ok()?.origin());
    origin(one).is_some_and(|one| one.is_tuple() && Some(one) == origin(other))
}

/// Puts the stored secrets where `***` was written back. `redact` applies to the new settings.
///
/// # Errors
/// Where there is nothing stored to keep, where the stored credentials would go to another host, and where a
/// stored secret would become readable.
pub fn restore(
    new: &mut EndpointSettings,
    redact: &[String],
    stored: Option<Stored<'_>>,
) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    let stored_header = |name: &str| {
        stored.and_then(|s| {
            s.settings.headers.as_ref()?.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
        })
    };
    for (name, value) in new.headers.iter_mut().flatten() {
        let was_secret = stored.is_some_and(|s| is_secret(s.redact, name));
        let becomes_readable = was_secret && !is_secret(redact, name);
        let pointer = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        if value == HIDDEN {
            if let Some(kept) = stored_header(name) {
                kept.clone_into(value);
            } else {
                errors.push(FieldError::at(&pointer, "invalid", "no value is stored that *** could keep"));
                continue;
            }
        }
        if becomes_readable && stored_header(name).is_some_and(|kept| kept == value) {
            let detail = "the stored value would become readable: give a new one, or leave its name in `redact`";
            errors.push(FieldError::at(&pointer, "conflict", detail));
        }
    }
    if let Some(url) = &mut new.url
        && let Some(range) = userinfo(url)
        && url.get(range.clone()) == Some(HIDDEN)
    {
        match stored.and_then(|s| s.settings.url.as_deref()).and_then(|old| kept_userinfo(old, url)) {
            Some(kept) => url.replace_range(range, &kept),
            None => errors.push(FieldError::at(
                "/url",
                "invalid",
                "no user and password are stored for this host that *** could keep: write them out",
            )),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The stored user and password, if the new URL goes to the same place: they are not sent anywhere else.
pub(super) fn kept_userinfo(old: &str, new: &str) -> Option<String> {
    let (old_url, new_url) = (url::Url::parse(old).ok()?, url::Url::parse(new).ok()?);
    (old_url.origin() == new_url.origin()).then(|| userinfo(old).and_then(|range| old.get(range)))?.map(str::to_owned)
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
    }
}
