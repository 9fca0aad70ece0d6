//! What is sent on each hop of an attempt: the first request of a check, and what a redirect makes of it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_TYPE, COOKIE, HOST, LOCATION, PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::dial;
use super::failure::shown;
use crate::domain::check::{CHECK_HEADER, CheckSpec, RedirectPolicy};
use crate::domain::dial::{Auth, Proxy};
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
        match &spec.auth {
            Some(Auth::Basic { username, password }) => {
                hop.authorize(&format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))?;
            }
            Some(Auth::Bearer(token)) => hop.authorize(&format!("Bearer {token}"))?,
            // Its token comes later, when it is known.
            Some(Auth::OAuth2(_)) | None => {}
        }
        hop.take_userinfo();
        Ok(hop)
    }

    /// Sets the header `Authorization`, whatever it was.
    pub(super) fn authorize(&mut self, value: &str) -> Result<(), Failure> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Failure::new(FailureKind::HttpProtocol, "The request has credentials that cannot be sent"))?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    /// What is sent over HTTP/2, or over HTTP/1. `proxy` is one that takes whole URLs.
    pub(super) fn request(&self, is_http2: bool, proxy: Option<&Proxy>) -> Result<Request<Full<Bytes>>, Failure> {
        let unsendable = || Failure::new(FailureKind::HttpProtocol, "The request has a URL that cannot be sent");
        let mut headers = self.headers.clone();
        // At every hop, and whatever the settings say.
        headers.insert(CHECK_HEADER, HeaderValue::from_static("1"));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if !headers.contains_key(RANGE) {
            headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip, br, deflate"));
        }
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let target = &self.url[Position::BeforePath..Position::AfterQuery];
        let uri = if is_http2 {
            // What `Host` is there has its place in the URL.
            let host = headers.remove(HOST);
            let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(authority);
            Uri::builder().scheme(self.url.scheme()).authority(authority).path_and_query(target).build()
        } else {
            let host = HeaderValue::from_str(authority).map_err(|_| unsendable())?;
            headers.entry(HOST).or_insert(host);
            match proxy {
                None => Uri::builder().path_and_query(target).build(),
                Some(proxy) => {
                    if let Some(login) = dial::authorization(proxy).and_then(|login| HeaderValue::from_str(&login).ok())
                    {
                        headers.insert(PROXY_AUTHORIZATION, login);
                    }
                    Uri::builder().scheme(self.url.scheme()).authority(authority).path_and_query(target).build()
                }
            }
        }
        .map_err(|_| unsendable())?;
        let mut request = Request::new(self.body.clone().map_or_else(Full::default, Full::new));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if is_http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        Ok(request)
    }

    /// Whether a redirect from here to `next` is to be followed.
    pub(super) fn may_lead_to(&self, next: &Url, first: &Url, policy: &RedirectPolicy) -> Result<(), Failure> {
        let host = next.host_str().unwrap_or_default();
        if !policy.hosts.allow(first.host_str().unwrap_or_default(), host) {
            let message =
                format!("The redirect leads to another host, {}, which `redirects.hosts` does not allow", shown(host));
            return Err(Failure::new(FailureKind::RedirectHost, message));
        }
        if self.url.scheme() == "https" && next.scheme() == "http" && !policy.allow_downgrade {
            let message = format!("The redirect from https to {} gives up encryption", shown(&origin(next)));
            return Err(Failure::new(FailureKind::RedirectDowngrade, message));
        }
        Ok(())
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

/// Scheme, host and port, as far as they are not the usual.
fn origin(url: &Url) -> String {
    url[..Position::BeforePath].to_owned()
}
