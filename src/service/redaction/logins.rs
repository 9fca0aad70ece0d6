//! The secrets of `auth` and `proxy`: hidden, and kept where `***` is written back for the same place.

use url::Url;

use super::{HIDDEN, kept, userinfo, without_userinfo};
use crate::domain::endpoint::{AuthSettings, EndpointSettings};
use crate::service::error::FieldError;

/// The secrets of `auth`, each with the pointer to it.
fn secrets(auth: &mut AuthSettings) -> impl Iterator<Item = (&'static str, &mut String)> {
    let basic = auth.basic.as_mut().map(|basic| ("/auth/basic/password", &mut basic.password));
    let bearer = auth.bearer.as_mut().map(|token| ("/auth/bearer", token));
    let oauth2 = auth.oauth2.as_mut().map(|oauth2| ("/auth/oauth2/client_secret", &mut oauth2.client_secret));
    [basic, bearer, oauth2].into_iter().flatten()
}

pub(super) fn hide(settings: &mut EndpointSettings) {
    for (_, secret) in settings.auth.iter_mut().flat_map(secrets) {
        HIDDEN.clone_into(secret);
    }
    settings.proxy = settings.proxy.as_deref().map(without_userinfo);
}

pub(super) fn keeps_any(settings: &EndpointSettings) -> bool {
    let mut auth = settings.auth.clone();
    auth.iter_mut().flat_map(secrets).any(|(_, secret)| secret == HIDDEN)
        || settings.proxy.as_deref().is_some_and(is_hidden)
}

/// What of `inherited` is a secret that settings send along without having set it.
pub(super) fn sent_along(settings: &EndpointSettings, inherited: &EndpointSettings) -> Vec<String> {
    let mut auth = inherited.auth.clone().filter(|_| settings.auth.is_none());
    let has_auth = auth.iter_mut().flat_map(secrets).next().is_some();
    let proxy = inherited.proxy.as_deref().filter(|_| settings.proxy.is_none());
    let has_proxy = proxy.is_some_and(|url| userinfo(url).is_some());
    [("auth", has_auth), ("proxy", has_proxy)].into_iter().filter(|(_, has)| *has).map(|(n, _)| n.to_owned()).collect()
}

/// Puts what is stored where `***` stands. `goes_elsewhere`: the requests of the new settings go to another place.
pub(super) fn restore(
    new: &mut EndpointSettings,
    stored: Option<&EndpointSettings>,
    goes_elsewhere: bool,
    errors: &mut Vec<FieldError>,
) {
    let token_url = |auth: &AuthSettings| auth.oauth2.as_ref().and_then(|oauth2| Url::parse(&oauth2.token_url).ok());
    let mut was = stored.and_then(|stored| stored.auth.clone()).unwrap_or_default();
    // A client's secret is sent to where tokens are given, which is a place of its own.
    let same_giver = match (new.auth.as_ref().and_then(token_url), token_url(&was)) {
        (Some(new), Some(was)) => new.origin() == was.origin(),
        _ => false,
    };
    let is_rerouted = stored.is_some_and(|stored| !same_route(new, stored));
    let was: Vec<(&str, String)> = secrets(&mut was).map(|(at, secret)| (at, secret.clone())).collect();
    for (at, secret) in new.auth.iter_mut().flat_map(secrets) {
        if secret != HIDDEN {
            continue;
        }
        let elsewhere = if at == "/auth/oauth2/client_secret" { is_rerouted || !same_giver } else { goes_elsewhere };
        let stored = was.iter().find(|(place, _)| *place == at).map(|(_, secret)| secret);
        match kept(stored, elsewhere) {
            Ok(kept) => kept.clone_into(secret),
            Err((rule, detail)) => errors.push(FieldError::at(at, rule, detail)),
        }
    }
    let rerouted_names = stored.is_some_and(|stored| !same_names(new, stored));
    if let Some(url) = new.proxy.as_mut().filter(|url| is_hidden(url)) {
        let was = stored.and_then(|stored| stored.proxy.as_deref());
        let login = was.filter(|was| proxy_place(was) == proxy_place(url)).and_then(|was| was.get(userinfo(was)?));
        match (login.filter(|_| !rerouted_names), userinfo(url)) {
            (Some(login), Some(range)) => url.replace_range(range, &login.to_owned()),
            _ => errors.push(FieldError::at(
                "/proxy",
                "invalid",
                "no user and password are stored for this proxy that *** could keep: write them out",
            )),
        }
    }
}

/// Whether requests take the same way: names lead to the same addresses, by the same proxy.
pub(super) fn same_route(one: &EndpointSettings, other: &EndpointSettings) -> bool {
    same_names(one, other) && one.proxy.as_deref().map(proxy_place) == other.proxy.as_deref().map(proxy_place)
}

fn same_names(one: &EndpointSettings, other: &EndpointSettings) -> bool {
    one.resolver == other.resolver && one.resolve == other.resolve
}

/// Scheme, host and port.
fn proxy_place(text: &str) -> Option<(String, String, Option<u16>)> {
    let url = Url::parse(text).ok()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port()))
}

fn is_hidden(url: &str) -> bool {
    userinfo(url).and_then(|range| url.get(range)) == Some(HIDDEN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Stored, keeps_any, redacted, restore, sent_along};
    use super::*;

    fn settings(json: serde_json::Value) -> EndpointSettings {
        serde_json::from_value(json).unwrap()
    }

    fn oauth2(token_url: &str, secret: &str) -> serde_json::Value {
        json!({"oauth2": {"token_url": token_url, "client_id": "a", "client_secret": secret, "scopes": []}})
    }

    #[test]
    fn logins_are_hidden_and_kept_for_their_place() {
        for (auth, hidden) in [
            (
                json!({"basic": {"username": "u", "password": "p"}}),
                json!({"basic": {"username": "u", "password": "***"}}),
            ),
            (json!({"bearer": "t"}), json!({"bearer": "***"})),
            (oauth2("https://id.example/token", "s"), oauth2("https://id.example/token", "***")),
        ] {
            let stored = settings(json!({
                "name": "a", "url": "https://shop.example/x", "auth": auth, "proxy": "http://u:p@proxy.example:3128"
            }));
            let shown = redacted(&stored, &[]);
            assert_eq!(serde_json::to_value(&shown.auth).unwrap(), hidden);
            assert_eq!(shown.proxy.as_deref(), Some("http://***@proxy.example:3128"));
            assert!(keeps_any(&shown) && !keeps_any(&stored));
            let was = Stored { settings: &stored, redact: &[] };
            let mut written = shown.clone();
            restore(&mut written, &[], Some(was)).unwrap();
            assert_eq!(written, stored);
            assert_eq!(restore(&mut shown.clone(), &[], None).unwrap_err().len(), 2, "nothing is stored");
        }
    }

    #[test]
    fn a_kept_login_goes_nowhere_else() {
        let stored = settings(json!({
            "url": "https://shop.example/x", "auth": {"bearer": "t"}, "proxy": "http://u:p@proxy.example:3128"
        }));
        let was = Stored { settings: &stored, redact: &[] };
        let places = |change: serde_json::Value| -> usize {
            let mut new = serde_json::to_value(redacted(&stored, &[])).unwrap();
            for (key, value) in change.as_object().unwrap() {
                new[key] = value.clone();
            }
            restore(&mut settings(new), &[], Some(was)).err().map_or(0, |errors| errors.len())
        };
        assert_eq!(places(json!({"url": "https://shop.example/y"})), 0);
        assert_eq!(places(json!({"url": "https://evil.example/x"})), 1, "the token");
        assert_eq!(places(json!({"resolve": {"shop.example": "192.0.2.1"}})), 2, "the token and the proxy's login");
        assert_eq!(places(json!({"resolver": "192.0.2.1"})), 2);
        assert_eq!(places(json!({"proxy": "http://***@evil.example:3128"})), 2);
        assert_eq!(places(json!({"proxy": "http://evil.example:3128"})), 1);

        let stored = settings(json!({"url": "https://a.example/", "auth": oauth2("https://id.example/token", "s")}));
        let was = Stored { settings: &stored, redact: &[] };
        let at = |url: &str| settings(json!({"url": "https://a.example/", "auth": oauth2(url, "***")}));
        assert!(restore(&mut at("https://id.example/other"), &[], Some(was)).is_ok());
        let errors = restore(&mut at("https://evil.example/token"), &[], Some(was)).unwrap_err();
        assert_eq!(errors[0].rule, "conflict");
    }

    #[test]
    fn what_is_inherited_is_sent_along_unless_it_is_replaced() {
        let inherited = settings(json!({"auth": {"bearer": "t"}, "proxy": "http://u:p@proxy.example:3128"}));
        assert_eq!(sent_along(&settings(json!({})), &inherited, &[]), ["auth", "proxy"]);
        assert!(sent_along(&settings(json!({"auth": {}, "proxy": "none"})), &inherited, &[]).is_empty());
    }
}
