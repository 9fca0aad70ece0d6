//! Where this server is for a client, and whether a page that makes it send something is one of this server.
//!
//! A browser sends the cookie of a session also with what a page from elsewhere has it send. `SameSite=Lax` keeps most
//! of that away; what is left is told by `Sec-Fetch-Site` and `Origin`, which pages cannot write.

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::client_address::peer;
use crate::config::{Config, Origins};

/// The longest host that is looked at: a name has at most 253 characters.
const MAX_HOST: usize = 270;

/// This server as a client addresses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Whether the client's connection is encrypted: here, or up to a proxy that is trusted and says so.
    pub is_encrypted: bool,
    /// With the port, if there is one; as the client or its proxy writes it.
    pub host: Option<String>,
}

impl Here {
    pub fn of(parts: &Parts, config: &Config) -> Self {
        let by_proxy = || {
            let trusted = &config.api.trusted_proxies;
            peer(parts).is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer)))
                && told_scheme(&parts.headers).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
        };
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(only), None) => only.to_str().ok(),
            (None, _) => parts.uri.authority().map(axum::http::uri::Authority::as_str),
            (Some(_), Some(_)) => None,
        };
        let host = host.filter(|host| !host.is_empty() && host.len() <= MAX_HOST).map(str::to_ascii_lowercase);
        Self { is_encrypted: config.api.tls.is_some() || by_proxy(), host }
    }

    /// `https://monitor.example.com`
    pub fn address(&self) -> Option<String> {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        // Read as an address, so that nothing else is kept of what a client wrote.
        let address = url::Url::parse(&format!("{scheme}://{}", self.host.as_deref()?)).ok()?;
        let origin = address.origin();
        origin.is_tuple().then(|| origin.ascii_serialization())
    }

    /// Whether an `Origin` is this server. A proxy that is not known may have encrypted what comes here in the clear.
    fn is_origin(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else { return false };
        let usual = match scheme {
            "https" => ":443",
            "http" if !self.is_encrypted => ":80",
            _ => return false,
        };
        let bare = |host: &str| host.strip_suffix(usual).unwrap_or(host).to_owned();
        self.host.as_deref().is_some_and(|here| bare(here) == bare(host))
    }
}

/// The scheme that the outermost proxy was asked with.
fn told_scheme(headers: &HeaderMap) -> Option<&str> {
    let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    if let Some(scheme) = first("x-forwarded-proto") {
        return Some(scheme);
    }
    first(header::FORWARDED.as_str())?.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    })
}

/// What is known of the page behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// It is one of this server, or one that may act for whoever is signed in here.
    Own,
    /// It is one from elsewhere.
    Foreign,
    /// Nothing is told: no browser, or a very old one.
    Unknown,
}

/// Which page made the client send this.
pub fn page(parts: &Parts, config: &Config) -> Page {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text("sec-fetch-site");
    // Written by the browser itself, which knows its own address of this server, whatever a proxy makes of it.
    if site == Some("same-origin") {
        return Page::Own;
    }
    match (text("origin").map(str::to_ascii_lowercase), site) {
        (Some(origin), _) if is_allowed(&origin, config) => Page::Own,
        // A browser that calls it another site knows better than what `Host` seems to say.
        (Some(origin), site) if site != Some("cross-site") && Here::of(parts, config).is_origin(&origin) => Page::Own,
        // `none`: a person wrote the address into the browser; no page is behind it.
        (None, None | Some("none")) => Page::Unknown,
        _ => Page::Foreign,
    }
}

/// Whether a page from elsewhere made the client send this, which the configuration does not name either.
pub fn is_from_elsewhere(parts: &Parts, config: &Config) -> bool {
    let listed = || {
        let origin = parts.headers.get(header::ORIGIN)?.to_str().ok()?.to_ascii_lowercase();
        let cors = config.api.cors.as_ref()?;
        Some(matches!(&cors.origins, Origins::Listed(all) if all.contains(&origin)))
    };
    page(parts, config) == Page::Foreign && listed() != Some(true)
}

/// Whether an origin is known by the configuration: as the address of this monitor, or as one whose pages may send
/// cookies.
fn is_allowed(origin: &str, config: &Config) -> bool {
    let public = config.telling.public_url.as_ref().map(|url| url.origin().ascii_serialization());
    let with_cookies = config.api.cors.as_ref().filter(|cors| cors.credentials);
    public.is_some_and(|public| public == origin)
        || with_cookies
            .is_some_and(|cors| matches!(&cors.origins, Origins::Listed(all) if all.iter().any(|o| o == origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_this_server_by_scheme_and_host() {
        let here = |is_encrypted, host: &str| Here { is_encrypted, host: Some(host.to_owned()) };
        for (here, origin, own) in [
            (here(false, "localhost:8000"), "http://localhost:8000", true),
            (here(false, "m.example.com"), "https://m.example.com", true),
            (here(false, "m.example.com:80"), "http://m.example.com", true),
            (here(true, "m.example.com:443"), "https://m.example.com", true),
            (here(true, "m.example.com"), "https://m.example.com", true),
            (here(true, "m.example.com"), "http://m.example.com", false),
            (here(true, "m.example.com"), "https://m.example.com:8443", false),
            (here(false, "localhost:8000"), "http://localhost:8001", false),
            (here(false, "localhost:8000"), "http://localhost:8000.evil.test", false),
            (here(false, "m.example.com"), "https://evil-m.example.com", false),
            (here(false, "m.example.com"), "null", false),
            (here(false, "m.example.com"), "chrome-extension://m.example.com", false),
            (Here { is_encrypted: false, host: None }, "http://", false),
        ] {
            assert_eq!(here.is_origin(origin), own, "{here:?} {origin}");
        }
        assert_eq!(here(true, "m.example.com:443").address().as_deref(), Some("https://m.example.com"));
        assert_eq!(here(false, "[::1]:8000").address().as_deref(), Some("http://[::1]:8000"));
        assert_eq!(here(false, "a b<script>").address(), None);
    }

    #[test]
    fn the_outermost_proxy_says_the_scheme() {
        let told = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(name),
                axum::http::HeaderValue::from_static(value),
            )]);
            told_scheme(&headers).map(str::to_owned)
        };
        assert_eq!(told("x-forwarded-proto", "https, http").as_deref(), Some("https"));
        assert_eq!(told("forwarded", "for=1.2.3.4;Proto=\"https\";by=x, proto=http").as_deref(), Some("https"));
        assert_eq!(told("forwarded", "for=1.2.3.4"), None);
        assert_eq!(told("x-forwarded-for", "https"), None);
    }
}
