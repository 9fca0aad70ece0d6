//! The settings that say how the other side is reached and who we say that we are, and what they mean.

mod written;

use core::net::IpAddr;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use url::Url;

use super::resolve::Rules;
use super::settings::{EndpointSettings, RedirectSettings, TlsSettings};
use crate::domain::check::{RedirectPolicy, TlsPolicy};
use crate::domain::dial::{
    Auth, ClientCredentials, DialPolicy, HttpVersion, Proxy, ProxyKind, RedirectHosts, TlsVersion, name_server,
};
use crate::domain::pointer;

pub use written::{AuthSettings, BasicSettings, HostsSetting, OAuth2Settings, VersionSetting};

/// `resolve` and `redirects.hosts` name so many at most.
const MAX_NAMES: usize = 100;
/// The longest path of a file, name, user, secret.
const MAX_LENGTH: usize = 4_096;
/// What SOCKS5 has room for.
const MAX_LOGIN: usize = 255;

pub(super) fn resolve_dial(rules: &mut Rules, s: &EndpointSettings) -> DialPolicy {
    let default = DialPolicy::default();
    let resolver = s
        .resolver
        .as_deref()
        .and_then(|text| name_server(text.trim()).map_err(|detail| rules.fail("/resolver", "invalid", detail)).ok());
    let mut resolve = BTreeMap::new();
    for (name, address) in s.resolve.iter().flatten() {
        let at = format!("/resolve/{}", pointer::step(name));
        let is_name = !name.is_empty() && name.len() <= 253 && !name.contains([':', '/', '@', '[', ' ']);
        rules.check(is_name, &at, "invalid", "is the name of a host, without a port");
        match address.trim().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => {
                resolve.insert(name.to_ascii_lowercase(), address);
            }
            _ => rules.fail(&at, "invalid", "must be an IP address that can be connected to, such as 192.0.2.7"),
        }
    }
    rules.check(resolve.len() <= MAX_NAMES, "/resolve", "out_of_range", "too many names: at most 100");
    let source_ip = s.source_ip.as_deref().and_then(|text| match text.trim().parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => Some(address),
        _ => {
            rules.fail("/source_ip", "invalid", "must be an IP address of this machine");
            None
        }
    });
    let ip_family = s.ip_family.unwrap_or(default.ip_family);
    let fits = source_ip.is_none_or(|source| ip_family.has(source));
    rules.check(fits, "/source_ip", "conflict", "must be an address of `ip_family`");
    DialPolicy { ip_family, resolver, resolve, source_ip }
}

pub(super) fn resolve_http_version(rules: &mut Rules, setting: Option<&VersionSetting>) -> HttpVersion {
    let Some(VersionSetting(text)) = setting else { return HttpVersion::Auto };
    text.trim().parse().unwrap_or_else(|_| {
        rules.fail("/http_version", "invalid", "must be auto, 1.1 or 2");
        HttpVersion::Auto
    })
}

pub(super) fn resolve_redirects(rules: &mut Rules, settings: Option<&RedirectSettings>) -> RedirectPolicy {
    let default = RedirectPolicy::default();
    let Some(r) = settings else { return default };
    let at = "/redirects/hosts";
    let hosts = match &r.hosts {
        None => default.hosts,
        Some(HostsSetting::Word(word)) if word == "any" => RedirectHosts::Any,
        Some(HostsSetting::Word(word)) if word == "same" => RedirectHosts::Same,
        Some(HostsSetting::Word(_)) => {
            rules.fail(at, "invalid", "must be any, same, or a list of host names");
            RedirectHosts::Any
        }
        Some(HostsSetting::List(hosts)) => {
            rules.check(!hosts.is_empty(), at, "out_of_range", "must name at least one host, or say any or same");
            rules.check(hosts.len() <= MAX_NAMES, at, "out_of_range", "too many hosts: at most 100");
            for (i, host) in hosts.iter().enumerate().take(MAX_NAMES) {
                let name = host.strip_prefix("*.").unwrap_or(host);
                let is_name = !name.is_empty() && name.len() <= 253 && !name.contains(['/', '@', '*', ' ']);
                let detail = "is the name of a host, without a port; *.example.com means every name below example.com";
                rules.check(is_name, &format!("{at}/{i}"), "invalid", detail);
            }
            RedirectHosts::Listed(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
        }
    };
    RedirectPolicy {
        follow: r.follow.unwrap_or(default.follow),
        max: rules.number(r.max.unwrap_or(default.max), 1, 50, "/redirects/max"),
        allow_downgrade: r.allow_downgrade.unwrap_or(default.allow_downgrade),
        hosts,
    }
}

pub(super) fn resolve_tls(rules: &mut Rules, settings: Option<&TlsSettings>) -> TlsPolicy {
    let default = TlsPolicy::default();
    let Some(t) = settings else { return default };
    for (key, path) in [
        ("ca_file", &t.ca_file),
        ("client_cert_file", &t.client_cert_file),
        ("client_key_file", &t.client_key_file),
        ("crl_file", &t.crl_file),
    ] {
        let is_path = path.as_ref().is_none_or(|path| !path.is_empty() && path.len() <= MAX_LENGTH);
        rules.check(is_path, &format!("/tls/{key}"), "invalid", "is the path of a file, at most 4,096 bytes");
    }
    let has_certificate = t.client_key_file.is_none() || t.client_cert_file.is_some();
    rules.check(has_certificate, "/tls/client_key_file", "conflict", "needs `tls.client_cert_file` beside it");
    let is_name = |name: &String| !name.is_empty() && name.len() <= 253 && !name.contains([':', '/', '@', ' ', '*']);
    let named = t.server_name.as_ref().is_none_or(|name| is_name(name) || name.parse::<IpAddr>().is_ok());
    rules.check(named, "/tls/server_name", "invalid", "is the name or the address of a host, without a port");
    let min_version = match &t.min_version {
        None => default.min_version,
        Some(VersionSetting(text)) => text.trim().parse().unwrap_or_else(|_| {
            rules.fail("/tls/min_version", "invalid", "must be 1.2 or 1.3");
            TlsVersion::Tls12
        }),
    };
    TlsPolicy {
        verify: t.verify.unwrap_or(default.verify),
        ca_file: t.ca_file.clone(),
        client_cert_file: t.client_cert_file.clone(),
        client_key_file: t.client_key_file.clone(),
        server_name: t.server_name.clone(),
        min_version,
        crl_file: t.crl_file.clone(),
    }
}

pub(super) fn resolve_auth(rules: &mut Rules, settings: Option<&AuthSettings>) -> Option<Auth> {
    let a = settings?;
    let given = [a.basic.is_some(), a.bearer.is_some(), a.oauth2.is_some()].into_iter().filter(|is| *is).count();
    rules.check(given <= 1, "/auth", "conflict", "`basic`, `bearer` and `oauth2` exclude each other: keep one");
    let mut text = |text: &str, at: &str, may_be_empty: bool| {
        if text.is_empty() && !may_be_empty {
            rules.fail(at, "required", "must be there and not empty");
        } else if text.len() > MAX_LENGTH || text.chars().any(char::is_control) {
            rules.fail(at, "invalid", "has no control characters and at most 4,096 bytes");
        }
        text.to_owned()
    };
    if let Some(basic) = &a.basic {
        let username = text(&basic.username, "/auth/basic/username", true);
        let password = text(&basic.password, "/auth/basic/password", true);
        let detail = "must not contain a colon: what follows it is taken for the password";
        rules.check(!username.contains(':'), "/auth/basic/username", "invalid", detail);
        return Some(Auth::Basic { username, password });
    }
    if let Some(bearer) = &a.bearer {
        let token = text(bearer, "/auth/bearer", false);
        let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
        rules.check(is_token, "/auth/bearer", "invalid", "is printable ASCII without spaces");
        return Some(Auth::Bearer(token));
    }
    let oauth2 = a.oauth2.as_ref()?;
    let client_id = text(&oauth2.client_id, "/auth/oauth2/client_id", false);
    let client_secret = text(&oauth2.client_secret, "/auth/oauth2/client_secret", false);
    let scopes = &oauth2.scopes;
    rules.check(scopes.len() <= MAX_NAMES, "/auth/oauth2/scopes", "out_of_range", "too many scopes: at most 100");
    for (i, scope) in scopes.iter().enumerate().take(MAX_NAMES) {
        let is_scope = !scope.is_empty() && scope.len() <= 200 && scope.bytes().all(|byte| byte.is_ascii_graphic());
        rules.check(is_scope, &format!("/auth/oauth2/scopes/{i}"), "invalid", "is printable ASCII without spaces");
    }
    let at = "/auth/oauth2/token_url";
    match Url::parse(&oauth2.token_url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.port() != Some(0) => {
            let without_login = url.username().is_empty() && url.password().is_none();
            rules.check(
                without_login,
                at,
                "invalid",
                "has no user and password: `client_id` and `client_secret` are sent",
            );
            Some(Auth::OAuth2(ClientCredentials { token_url: url, client_id, client_secret, scopes: scopes.clone() }))
        }
        _ => {
            rules.fail(at, "invalid", "must be an http or https URL");
            None
        }
    }
}

/// `none` is no proxy, whatever is inherited.
pub(super) fn resolve_proxy(rules: &mut Rules, setting: Option<&str>) -> Option<Proxy> {
    let at = "/proxy";
    let text = setting.filter(|text| *text != "none")?;
    let wrong = "must be http://host:port, socks5://host:port, with user:password@ before the host if need be, or none";
    let Ok(url) = Url::parse(text) else {
        rules.fail(at, "invalid", wrong);
        return None;
    };
    let (kind, usual) = match url.scheme() {
        "http" => (ProxyKind::Http, 80),
        "socks5" => (ProxyKind::Socks5, 1080),
        _ => {
            rules.fail(at, "invalid", wrong);
            return None;
        }
    };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port().unwrap_or(usual);
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    rules.check(!host.is_empty() && port != 0 && is_bare, at, "invalid", wrong);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = (!url.username().is_empty() || url.password().is_some())
        .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
    let fits = login.as_ref().is_none_or(|(user, password)| {
        let is_text = |text: &str| text.len() <= MAX_LOGIN && !text.chars().any(char::is_control);
        is_text(user) && is_text(password) && !user.contains(':')
    });
    rules.check(fits, at, "invalid", "user and password have at most 255 bytes each, and the user no colon");
    Some(Proxy { kind, host, port, login })
}

/// The proxy as it is written, its login in full.
pub fn proxy_url(proxy: &Proxy) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let host = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let login = proxy
        .login
        .as_ref()
        .map_or_else(String::new, |(user, password)| format!("{}:{}@", encoded(user), encoded(password)));
    format!("{}://{login}{host}:{}", proxy.kind, proxy.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::resolve::tests_support::{mistakes, spec};
    use serde_json::json;

    #[test]
    fn what_is_written_is_what_is_meant() {
        let check = spec(json!({
            "ip_family": "v4", "resolver": "9.9.9.9", "resolve": {"Shop.example": "192.0.2.7"}, "source_ip": "192.0.2.9",
            "http_version": 1.1, "reuse_connection": true, "proxy": "socks5://me:h%40sh@[::1]",
            "redirects": {"allow_downgrade": true, "hosts": ["Login.example", "*.shop.example"]},
            "tls": {"client_cert_file": "a.pem", "server_name": "inner", "min_version": 1.3, "crl_file": "crl.pem"},
        }));
        assert_eq!(check.dial.resolver, Some("9.9.9.9:53".parse().unwrap()));
        assert_eq!(check.dial.resolve, BTreeMap::from([("shop.example".to_owned(), "192.0.2.7".parse().unwrap())]));
        assert_eq!((check.http_version, check.reuse_connection), (HttpVersion::Http1, true));
        let login = Some(("me".to_owned(), "h@sh".to_owned()));
        let proxy = Proxy { kind: ProxyKind::Socks5, host: "::1".to_owned(), port: 1080, login };
        assert_eq!(proxy_url(&proxy), "socks5://me:h%40sh@[::1]:1080");
        assert_eq!(check.proxy, Some(proxy));
        assert!(check.redirects.allow_downgrade && check.redirects.follow);
        assert!(check.redirects.hosts.allow("x", "login.example"));
        assert_eq!((check.tls.min_version, check.tls.verify), (TlsVersion::Tls13, true));
        assert_eq!(spec(json!({"http_version": 2})).http_version, HttpVersion::Http2);
        assert_eq!(spec(json!({"proxy": "none", "auth": {}})).proxy, None);
        let basic = Auth::Basic { username: "me".to_owned(), password: String::new() };
        assert_eq!(spec(json!({"auth": {"basic": {"username": "me"}}})).auth, Some(basic));
    }

    #[test]
    fn a_mistake_names_its_place() {
        for (settings, place) in [
            (json!({"resolver": "dns.example"}), "/resolver"),
            (json!({"resolve": {"shop.example:443": "192.0.2.7"}}), "/resolve/shop.example:443"),
            (json!({"resolve": {"shop.example": "other.example"}}), "/resolve/shop.example"),
            (json!({"resolve": {"shop.example": "0.0.0.0"}}), "/resolve/shop.example"),
            (json!({"source_ip": "eth0"}), "/source_ip"),
            (json!({"source_ip": "::1", "ip_family": "v4"}), "/source_ip"),
            (json!({"http_version": 3}), "/http_version"),
            (json!({"redirects": {"hosts": "none"}}), "/redirects/hosts"),
            (json!({"redirects": {"hosts": []}}), "/redirects/hosts"),
            (json!({"redirects": {"hosts": ["a.example", "https://b.example/"]}}), "/redirects/hosts/1"),
            (json!({"tls": {"client_key_file": "a.key"}}), "/tls/client_key_file"),
            (json!({"tls": {"crl_file": ""}}), "/tls/crl_file"),
            (json!({"tls": {"server_name": "a:443"}}), "/tls/server_name"),
            (json!({"tls": {"min_version": "1.1"}}), "/tls/min_version"),
            (json!({"auth": {"bearer": "t", "basic": {"username": "me"}}}), "/auth"),
            (json!({"auth": {"bearer": ""}}), "/auth/bearer"),
            (json!({"auth": {"bearer": "a b"}}), "/auth/bearer"),
            (json!({"auth": {"basic": {"username": "a:b"}}}), "/auth/basic/username"),
            (
                json!({"auth": {"oauth2": {"token_url": "https://a.example/", "client_id": "a"}}}),
                "/auth/oauth2/client_secret",
            ),
            (
                json!({"auth": {"oauth2": {"token_url": "ftp://a.example/", "client_id": "a", "client_secret": "b"}}}),
                "/auth/oauth2/token_url",
            ),
            (json!({"proxy": "https://proxy.example"}), "/proxy"),
            (json!({"proxy": "proxy.example:3128"}), "/proxy"),
            (json!({"proxy": "http://proxy.example/path"}), "/proxy"),
            (json!({"proxy": format!("socks5://{}:x@proxy.example", "u".repeat(256))}), "/proxy"),
        ] {
            assert_eq!(mistakes(settings.clone()), [place], "{settings}");
        }
    }
}
