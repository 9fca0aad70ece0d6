//! The cookie that carries the token of a session.

use axum::http::{HeaderMap, header};
use cookie::{Cookie, SameSite};

use super::origin::Here;
use crate::config::Secret;

/// Its name over an encrypted connection: browsers take one of this name from this very host only, and only encrypted,
/// so that nobody else can have put it there.
const SECURE_NAME: &str = "__Host-api_monitor_session";

/// Its name in the clear.
const PLAIN_NAME: &str = "api_monitor_session";

fn name(here: &Here) -> &'static str {
    if here.is_encrypted { SECURE_NAME } else { PLAIN_NAME }
}

/// The token that a request brings along; of several cookies of the name the first, which is the most specific one.
pub fn token(headers: &HeaderMap, here: &Here) -> Option<Secret> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = values.flat_map(|value| Cookie::split_parse(value).filter_map(Result::ok));
    cookies.find(|cookie| cookie.name() == name(here)).map(|cookie| Secret::new(cookie.value()))
}

/// What makes a browser keep the token for `seconds`.
pub fn keep(token: &Secret, here: &Here, seconds: i64) -> String {
    cookie(here, token.expose().to_owned(), seconds)
}

/// What makes a browser forget it.
pub fn forget(here: &Here) -> String {
    cookie(here, String::new(), 0)
}

fn cookie(here: &Here, value: String, seconds: i64) -> String {
    Cookie::build((name(here), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(here.is_encrypted)
        .max_age(cookie::time::Duration::seconds(seconds))
        .build()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Here = Here { is_encrypted: false, host: None };
    const ENCRYPTED: Here = Here { is_encrypted: true, host: None };

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let token = Secret::new("t0ken");
        let in_clear = keep(&token, &CLEAR, 60);
        assert_eq!(in_clear, "api_monitor_session=t0ken; HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
        let encrypted = keep(&token, &ENCRYPTED, 60);
        assert_eq!(encrypted, "__Host-api_monitor_session=t0ken; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
        assert_eq!(forget(&CLEAR), "api_monitor_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn only_the_cookie_of_the_connection_counts() {
        let found = |here: &Here, values: &[&'static str]| {
            let headers = values.iter().map(|v| (header::COOKIE, axum::http::HeaderValue::from_static(v)));
            token(&headers.collect(), here).map(|token| token.expose().to_owned())
        };
        let plain = "a=b; api_monitor_session=one; api_monitor_session=two";
        assert_eq!(found(&CLEAR, &[plain]).as_deref(), Some("one"));
        assert_eq!(found(&ENCRYPTED, &[plain]), None, "anybody may have put it there");
        assert_eq!(found(&ENCRYPTED, &["x=y", "__Host-api_monitor_session=three"]).as_deref(), Some("three"));
        assert_eq!(found(&CLEAR, &["=;;api_monitor_session", "api_monitor_sessions=x"]), None);
        assert_eq!(found(&CLEAR, &[]), None);
    }
}
