//! What is sent on each hop of an attempt: the first request of a check, and what a redirect makes of it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use url::Url;

use super::failure::shown;
use crate::domain::check::CheckSpec;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::setting::RequestBody;

/// One request of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    /// Without userinfo and fragment.
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Hop {
    /// The request that `spec` describes.
    pub(super) fn first(spec: &CheckSpec) -> Result<Self, Failure> {
        let unsendable = |what: &str| Failure::new(FailureKind::HttpProtocol, format!("The request has {what}"));
        let method = Method::from_bytes(spec.method.as_bytes()).map_err(|_| unsendable("an invalid method"))?;
        let mut headers = HeaderMap::with_capacity(spec.headers.len() + 3);
        for (name, value) in &spec.headers {
            let header =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable("a header with an invalid name"))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| unsendable(&format!("an invalid value in its header {name}")))?;
            headers.insert(header, value);
        }
        let body = match &spec.body {
            None => None,
            Some(RequestBody::Text(text)) => Some(Bytes::from(text.clone())),
            Some(RequestBody::Json(value)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(Bytes::from(value.to_string()))
            }
        };
        if !headers.contains_key(USER_AGENT) {
            let agent = HeaderValue::from_str(&spec.user_agent).map_err(|_| unsendable("an invalid user agent"))?;
            headers.insert(USER_AGENT, agent);
        }
        let mut hop = Self { url: spec.url.clone(), method, headers, body };
        hop.take_userinfo();
        Ok(hop)
    }

    /// The request that an answer with `status` and `answer` headers leads to, or `None` if it is no redirect.
    /// `secret` names the headers which another origin must not get, beside `Authorization` and `Cookie`.
    pub(super) fn redirected(
        &self,
        status: StatusCode,
        answer: &HeaderMap,
        secret: &[String],
    ) -> Option<Result<Self, Failure>> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        Some(self.follow(status, answer).map(|url| {
            let mut next = Self { url, ..self.clone() };
            if next.url.origin() != self.url.origin() {
                next.forget_secrets(secret);
            }
            let becomes_get = match status.as_u16() {
                301 | 302 => self.method == Method::POST,
                303 => self.method != Method::GET && self.method != Method::HEAD,
                _ => false,
            };
            if becomes_get {
                next.method = Method::GET;
                next.body = None;
                for name in [
                    CONTENT_TYPE,
                    CONTENT_LENGTH,
                    CONTENT_ENCODING,
                    CONTENT_LANGUAGE,
                    CONTENT_LOCATION,
                    TRANSFER_ENCODING,
                ] {
                    next.headers.remove(name);
                }
            }
            next.take_userinfo();
            next
        }))
    }

    fn follow(&self, status: StatusCode, answer: &HeaderMap) -> Result<Url, Failure> {
        let wrong = |message: String| Failure::new(FailureKind::HttpProtocol, message);
        let code = status.as_u16();
        let location = answer
            .get(LOCATION)
            .ok_or_else(|| wrong(format!("{} returned {code} without a Location to follow", self.method)))?;
        let url = std::str::from_utf8(location.as_bytes())
            .ok()
            .and_then(|text| self.url.join(text).ok())
            .ok_or_else(|| wrong(format!("{} returned {code} with a Location that is not a URL", self.method)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!(
                "{} returned {code} with a redirect to {}:, which is neither http nor https",
                self.method,
                shown(url.scheme())
            )));
        }
        Ok(url)
    }

    fn forget_secrets(&mut self, secret: &[String]) {
        for name in secret {
            self.headers.remove(name.as_str());
        }
        // The Host override belongs to the origin that it was set for.
        for name in [AUTHORIZATION, COOKIE, HOST] {
            self.headers.remove(name);
        }
    }

    /// `user:password@` of the URL becomes basic authentication, unless there is a header already. It leaves
    /// the URL, so that no sentence and no list of redirects can show it.
    fn take_userinfo(&mut self) {
        self.url.set_fragment(None);
        if self.url.username().is_empty() && self.url.password().is_none() {
            return;
        }
        let mut pair: Vec<u8> = percent_decode_str(self.url.username()).collect();
        pair.push(b':');
        pair.extend(percent_decode_str(self.url.password().unwrap_or_default()));
        // Fails only for URLs without a host, which are not examined.
        let cleared = self.url.set_username("").and_then(|()| self.url.set_password(None));
        debug_assert!(cleared.is_ok(), "an http URL has a host");
        if !self.headers.contains_key(AUTHORIZATION)
            && let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(&pair)))
        {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
    }
}
