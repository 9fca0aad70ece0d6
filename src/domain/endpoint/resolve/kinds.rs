//! From URL and `kind` to what is examined, and which settings a kind knows.

use url::{Host, Url};

use super::{MAX_BODY, Rules};
use crate::domain::check::{
    DnsQuestion, DnsRecordType, DnsTransport, EchoSpec, Exchange, Expectation, HealthQuestion, KindSpec,
};
use crate::domain::endpoint::{DnsSettings, EndpointSettings, Kind};
use crate::domain::push::PushSpec;
use crate::domain::setting::ExpectSetting;

/// The schemes, each with its kind, and the port where the URL has none.
const SCHEMES: [(&str, Kind, Option<u16>); 10] = [
    ("http", Kind::Http, Some(80)),
    ("https", Kind::Http, Some(443)),
    ("tcp", Kind::Tcp, None),
    ("tls", Kind::Tls, Some(443)),
    ("icmp", Kind::Icmp, None),
    ("dns", Kind::Dns, Some(53)),
    ("ws", Kind::Websocket, Some(80)),
    ("wss", Kind::Websocket, Some(443)),
    ("grpc", Kind::Grpc, None),
    ("grpcs", Kind::Grpc, Some(443)),
];

const WEB: &[Kind] = &[Kind::Http];
const WITH_HEADERS: &[Kind] = &[Kind::Http, Kind::Websocket, Kind::Grpc];
const EXCHANGING: &[Kind] = &[Kind::Tcp, Kind::Tls, Kind::Websocket];
const ENCRYPTED: &[Kind] = &[Kind::Http, Kind::Tls, Kind::Websocket, Kind::Grpc];
/// All that ask by themselves.
const ASKING: &[Kind] = &[Kind::Http, Kind::Tcp, Kind::Tls, Kind::Icmp, Kind::Dns, Kind::Websocket, Kind::Grpc];
const CONNECTING: &[Kind] = &[Kind::Http, Kind::Tcp, Kind::Tls, Kind::Websocket, Kind::Grpc];

/// The settings that not every kind knows, each with those which do.
const KNOWN_BY: &[(&str, &[Kind])] = &[
    ("method", WEB),
    ("headers", WITH_HEADERS),
    ("body", WEB),
    ("expected_status", WEB),
    ("redirects", WEB),
    ("max_body_bytes", WEB),
    ("user_agent", WITH_HEADERS),
    ("redact", WITH_HEADERS),
    ("tls", ENCRYPTED),
    ("connect_timeout", CONNECTING),
    ("auth", WEB),
    ("proxy", WEB),
    ("http_version", WEB),
    ("reuse_connection", WEB),
    ("source_ip", CONNECTING),
    ("send", EXCHANGING),
    ("expect", EXCHANGING),
    ("dns", &[Kind::Dns]),
    ("service", &[Kind::Grpc]),
    ("count", &[Kind::Icmp]),
    ("timeout", ASKING),
    ("retry", ASKING),
    ("token", &[Kind::Push]),
    ("grace", &[Kind::Push]),
];

/// Refuses what an endpoint itself sets in vain. What it inherits may be for others.
pub(super) fn refuse_unknown(rules: &mut Rules, own: &EndpointSettings, kind: Kind) {
    let Ok(serde_json::Value::Object(set)) = serde_json::to_value(own) else { return };
    for (key, kinds) in KNOWN_BY.iter().filter(|(key, kinds)| set.contains_key(*key) && !kinds.contains(&kind)) {
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        let detail = format!("is not known to a check of the kind {kind}, only to {}", kinds.join(", "));
        rules.fail(&format!("/{key}"), "invalid", detail);
    }
}

/// The settings without those that `kind` does not know.
#[must_use]
pub fn only_known(settings: EndpointSettings, kind: Kind) -> EndpointSettings {
    let Ok(serde_json::Value::Object(mut set)) = serde_json::to_value(&settings) else { return settings };
    for (key, _) in KNOWN_BY.iter().filter(|(_, kinds)| !kinds.contains(&kind)) {
        set.remove(*key);
    }
    serde_json::from_value(serde_json::Value::Object(set)).unwrap_or(settings)
}

/// What is examined: the URL, in the one form that all kinds read, and what its kind needs.
pub(super) fn resolve(rules: &mut Rules, s: &EndpointSettings) -> Option<(Url, KindSpec)> {
    if s.kind == Some(Kind::Push) {
        return resolve_push(rules, s);
    }
    let dns = s.dns.clone().unwrap_or_default();
    let text = match s.url.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => text.to_owned(),
        None if dns.name.is_some() && s.kind.is_none_or(|kind| kind == Kind::Dns) => "dns:///".to_owned(),
        None => {
            rules.fail("/url", "required", "must be there and not empty");
            return None;
        }
    };
    if text.len() > 4000 {
        rules.fail("/url", "out_of_range", "too long: at most 4,000 bytes");
        return None;
    }
    let (url, kind) = match read(&text, s.kind) {
        Ok(read) => read,
        Err((pointer, code, detail)) => {
            rules.fail(pointer, code, detail);
            return None;
        }
    };
    if kind == Kind::Dns {
        return resolve_dns(rules, url, &dns);
    }
    if let Err(detail) = has_place(&url, kind) {
        rules.fail("/url", "invalid", detail);
        return None;
    }
    let spec = match kind {
        Kind::Http | Kind::Dns | Kind::Push => KindSpec::Http,
        Kind::Tcp => KindSpec::Tcp(resolve_exchange(rules, s)),
        Kind::Tls => KindSpec::Tls(resolve_exchange(rules, s)),
        Kind::Websocket => KindSpec::Websocket(resolve_exchange(rules, s)),
        Kind::Icmp => KindSpec::Icmp(EchoSpec { count: resolve_count(rules, s) }),
        Kind::Grpc => KindSpec::Grpc(HealthQuestion { service: resolve_service(rules, s) }),
    };
    Some((url, spec))
}

/// Whatever kind of endpoint inherits it.
pub(super) fn check_all(rules: &mut Rules, s: &EndpointSettings) {
    resolve_exchange(rules, s);
    resolve_count(rules, s);
    resolve_service(rules, s);
    resolve_grace(rules, s);
    if s.token.is_some() {
        rules.fail("/token", "invalid", "is of one endpoint alone: set it there");
    }
    if let Some(dns) = &s.dns {
        if let Some(Err(detail)) = dns.name.as_deref().map(domain_name) {
            rules.fail("/dns/name", "invalid", detail);
        }
        let nowhere = Url::parse("dns:///").ok();
        if let (Some(server), Some(mut url)) = (&dns.server, nowhere)
            && let Err(detail) = set_server(&mut url, server)
        {
            rules.fail("/dns/server", "invalid", detail);
        }
    }
}

fn resolve_count(rules: &mut Rules, s: &EndpointSettings) -> u16 {
    rules.number(s.count.unwrap_or(3), 1, 20, "/count")
}

fn resolve_service(rules: &mut Rules, s: &EndpointSettings) -> String {
    let service = s.service.clone().unwrap_or_default();
    let is_good = service.len() <= super::MAX_NAME && !service.chars().any(char::is_control);
    rules.check(is_good, "/service", "invalid", "is a name of at most 200 bytes without control characters");
    service
}

/// Where nothing is connected to.
const NOWHERE: &str = "push:";

fn resolve_push(rules: &mut Rules, s: &EndpointSettings) -> Option<(Url, KindSpec)> {
    rules.check(
        s.url.as_deref().is_none_or(str::is_empty),
        "/url",
        "conflict",
        "a check of the kind push has none: the other side reports to this monitor",
    );
    let grace = resolve_grace(rules, s);
    if let Some(token) = &s.token {
        let is_good = (10..=128).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
        rules.check(is_good, "/token", "invalid", "is 10 to 128 letters, digits, `-`, `_`, `.` and `~`");
    }
    Some((Url::parse(NOWHERE).ok()?, KindSpec::Push(PushSpec { grace })))
}

fn resolve_grace(rules: &mut Rules, s: &EndpointSettings) -> std::time::Duration {
    let grace = s.grace.map(|d| d.0).unwrap_or_default();
    rules.check(grace <= 366 * super::DAY, "/grace", "out_of_range", "must be 0 s to 366 days");
    grace
}

type Mistake = (&'static str, &'static str, String);

/// The URL with the scheme of its kind.
fn read(text: &str, asked: Option<Kind>) -> Result<(Url, Kind), Mistake> {
    let wrong = |detail: String| ("/url", "invalid", detail);
    let whole = match asked {
        // `kind: tcp` with `db.example:5432`.
        Some(kind) if !text.contains("://") => format!("{}://{text}", scheme_of(kind)),
        _ => text.to_owned(),
    };
    let url = Url::parse(&whole).map_err(|e| {
        let hint = if text.contains("://") { String::new() } else { format!(": did you mean https://{text} ?") };
        wrong(format!("is not a URL ({e}){hint}"))
    })?;
    let Some((scheme, by_scheme, port)) = SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme()) else {
        let known: Vec<_> = SCHEMES.iter().map(|(scheme, ..)| *scheme).collect();
        let known = known.join(", ");
        let detail = format!("the scheme `{}` is not examined here: there are {known}", url.scheme());
        return Err(wrong(if text.contains("://") {
            detail
        } else {
            format!("{detail}; did you mean https://{text} ?")
        }));
    };
    let kind = asked.unwrap_or(*by_scheme);
    let scheme = match kind {
        _ if kind == *by_scheme => scheme,
        // The certificate, the port or the machine behind any other address.
        Kind::Tcp | Kind::Tls | Kind::Icmp if *by_scheme != Kind::Dns => scheme_of(kind),
        _ => {
            let own = SCHEMES.iter().filter(|(_, of, _)| *of == kind);
            let own: Vec<_> = own.map(|(scheme, ..)| format!("{scheme}://")).collect();
            let detail = format!("a check of the kind {kind} needs a URL that begins with {}", own.join(" or "));
            return Err(("/kind", "conflict", detail));
        }
    };
    let by_kind = SCHEMES.iter().find(|(of, ..)| of == &scheme).and_then(|(.., port)| *port);
    normalised(&url, scheme, url.port().or(*port).or(by_kind)).map(|url| (url, kind)).map_err(wrong)
}

fn scheme_of(kind: Kind) -> &'static str {
    SCHEMES.iter().find(|(_, of, _)| *of == kind).map_or("http", |(scheme, ..)| scheme)
}

/// Hosts of schemes that are not of the web are opaque to URLs: here they become what the web knows as hosts, so that an
/// address is one, and a name is in small letters and ASCII.
fn normalised(url: &Url, scheme: &str, port: Option<u16>) -> Result<Url, String> {
    if matches!(scheme, "http" | "https" | "ws" | "wss") {
        return Ok(url.clone());
    }
    let host = match url.host_str().filter(|host| !host.is_empty()) {
        None => None,
        Some(host) => Some(Host::parse(host).map_err(|e| format!("has no host that there can be ({e})"))?),
    };
    // By its text: a URL of the web can be given no other scheme.
    let after = url.as_str().split_once("://").map_or("", |(_, after)| after);
    let mut made = Url::parse(&format!("{scheme}://{after}")).map_err(|e| format!("is not a URL ({e})"))?;
    let unset = |()| "is not a URL that can be examined".to_owned();
    match host {
        Some(Host::Ipv4(v4)) => made.set_ip_host(v4.into()).map_err(unset)?,
        Some(Host::Ipv6(v6)) => made.set_ip_host(v6.into()).map_err(unset)?,
        Some(Host::Domain(name)) => made.set_host(Some(&name)).map_err(|e| format!("has no host ({e})"))?,
        None => return Ok(made),
    }
    if scheme == "icmp" {
        made.set_port(None).map_err(unset)?;
    } else {
        made.set_port(port).map_err(unset)?;
    }
    Ok(made)
}

/// That a URL says where to connect to, and nothing that is of no use.
fn has_place(url: &Url, kind: Kind) -> Result<(), String> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err("has no host".to_owned());
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be connected to".to_owned());
    }
    if kind == Kind::Http {
        return Ok(());
    }
    if kind != Kind::Icmp && url.port_or_known_default().is_none() {
        return Err(format!("has no port: {}://{}:port", url.scheme(), url.host_str().unwrap_or_default()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("must not hold user and password: a check of the kind {kind} has no use for them"));
    }
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
    if kind != Kind::Websocket && (!is_bare || url.fragment().is_some()) {
        return Err(format!("has more than host and port, for which a check of the kind {kind} has no use"));
    }
    Ok(())
}

fn resolve_exchange(rules: &mut Rules, s: &EndpointSettings) -> Exchange {
    let send = s.send.clone();
    rules.check(
        send.as_ref().is_none_or(|text| text.len() <= MAX_BODY),
        "/send",
        "out_of_range",
        "too long: at most 64 KiB",
    );
    let expect = match &s.expect {
        None => None,
        Some(ExpectSetting::Text(text)) => {
            let in_range = !text.is_empty() && text.len() <= 4_096;
            rules.check(in_range, "/expect", "out_of_range", "must be 1 to 4,096 bytes long");
            Some(Expectation::Text(text.clone()))
        }
        Some(ExpectSetting::Pattern(pattern)) => {
            Expectation::pattern(&pattern.regex).map_err(|detail| rules.fail("/expect/regex", "invalid", detail)).ok()
        }
    };
    Exchange { send, expect }
}

/// `dns://server:port/name?type=MX`, as RFC 4501 writes it, with what `dns` says beside it. The URL that comes out has all
/// of it.
fn resolve_dns(rules: &mut Rules, url: Url, dns: &DnsSettings) -> Option<(Url, KindSpec)> {
    let before = rules.0.len();
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        rules.fail("/url", "invalid", "has more than server, name and type: dns://server/name?type=MX");
    }
    let mut by_url = (None, None);
    for (key, value) in url.query_pairs() {
        match key.to_ascii_lowercase().as_str() {
            "type" => by_url.0 = Some(value.to_ascii_uppercase()),
            "transport" => by_url.1 = Some(value.to_ascii_lowercase()),
            _ => rules.fail("/url", "invalid", "a question has `type` and `transport`: dns://server/name?type=MX"),
        }
    }
    let record_type = by_url.0.and_then(|word| match word.parse::<DnsRecordType>() {
        Ok(record_type) => Some(record_type),
        Err(_) => {
            let known: Vec<_> = DnsRecordType::ALL.iter().map(|known| known.as_str()).collect();
            rules.fail("/url", "invalid", format!("there is no record type `{word}` here: {}", known.join(", ")));
            None
        }
    });
    let transport = by_url.1.and_then(|word| match word.parse::<DnsTransport>() {
        Ok(transport) => Some(transport),
        Err(_) => {
            rules.fail("/url", "invalid", format!("there is no transport `{word}` here: udp, tcp"));
            None
        }
    });
    let path = url.path().trim_start_matches('/');
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let name = (!path.is_empty()).then_some(path);
    let name = one_of(rules, "name", name, dns.name.clone());
    let record_type = one_of(rules, "type", record_type, dns.record_type).unwrap_or(DnsRecordType::A);
    let transport = one_of(rules, "transport", transport, dns.transport).unwrap_or(DnsTransport::Udp);
    let Some(name) = name else {
        let hint = url.host_str().filter(|host| !host.is_empty());
        let hint = hint.map_or_else(String::new, |host| format!(": the name {host} is dns:///{host}"));
        rules.fail("/url", "invalid", format!("says which server is asked, not for which name{hint}"));
        return None;
    };
    let name = match domain_name(&name) {
        Ok(name) => name,
        Err(detail) => {
            rules.fail(if dns.name.is_some() { "/dns/name" } else { "/url" }, "invalid", detail);
            return None;
        }
    };
    let mut made = url;
    made.set_query(None);
    made.set_path(&name);
    if let Some(Err(detail)) = dns.server.as_ref().map(|server| set_server(&mut made, server)) {
        rules.fail("/dns/server", "invalid", detail);
    }
    if made.port() == Some(0) {
        rules.fail("/url", "invalid", "port 0 cannot be connected to");
    }
    let query = match transport {
        DnsTransport::Udp => format!("type={record_type}"),
        DnsTransport::Tcp => format!("type={record_type}&transport=tcp"),
    };
    made.set_query(Some(&query));
    let is_good = rules.0.len() == before;
    is_good.then_some((made, KindSpec::Dns(DnsQuestion { name, record_type, transport })))
}

/// What the URL says or what `dns` says; not two things.
fn one_of<T: PartialEq>(rules: &mut Rules, key: &str, by_url: Option<T>, by_key: Option<T>) -> Option<T> {
    if let (Some(by_url), Some(by_key)) = (&by_url, &by_key)
        && by_url != by_key
    {
        rules.fail(&format!("/dns/{key}"), "conflict", "the url says another: say it once");
    }
    by_key.or(by_url)
}

fn set_server(url: &mut Url, server: &str) -> Result<(), String> {
    const FORMS: &str = "is not a name server: write ip, ip:port, host or host:port";
    let wrong = || FORMS.to_owned();
    // An IPv6 address without a port may come without brackets.
    let bracketed = match server.parse::<core::net::Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => server.to_owned(),
    };
    let read = Url::parse(&format!("dns://{bracketed}/")).map_err(|_| wrong())?;
    let is_bare = read.path() == "/" && read.query().is_none() && read.fragment().is_none();
    if !is_bare || !read.username().is_empty() || read.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let read = normalised(&read, "dns", read.port().or(Some(53)))?;
    if url.host_str().is_some_and(|host| !host.is_empty())
        && (url.host_str(), url.port()) != (read.host_str(), read.port())
    {
        return Err("the url says another: say it once".to_owned());
    }
    if read.port() == Some(0) {
        return Err("port 0 cannot be connected to".to_owned());
    }
    let mut made = read;
    made.set_path(url.path());
    *url = made;
    Ok(())
}

/// A name as it is asked for: without a dot at its end.
fn domain_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Ok(String::new());
    }
    // Any label may stand in a question, `_dmarc` for one; letters that are not of ASCII become what stands for them.
    let name = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        match Host::parse(name) {
            Ok(Host::Domain(ascii)) => ascii,
            _ => return Err(format!("`{name}` is not a domain name")),
        }
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@:\\\"".contains(&b))
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err("is not a domain name: labels of 1 to 63 bytes with dots between them, 253 bytes in all".to_owned())
    }
}

#[cfg(test)]
mod tests;
