//! How a check gets to the other side: which addresses it dials, and what it asks of TLS there.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::domain::check::Timings;
use crate::domain::outcome::words;

words! {
    /// Which addresses of a name are dialled.
    pub enum IpFamily {
        Any = "any",
        V4 = "v4",
        V6 = "v6",
    }
}

impl IpFamily {
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// Where names lead and from where they are dialled. The default is what any program of the machine does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialPolicy {
    pub ip_family: IpFamily,
    /// The server that is asked for names; `None`: that of `outbound`, or else the machine's.
    pub resolver: Option<SocketAddr>,
    /// Addresses of names that are not looked up. Names are lower case.
    pub resolve: BTreeMap<String, IpAddr>,
    /// Our own address; only addresses of its family are dialled.
    pub source_ip: Option<IpAddr>,
}

impl Default for DialPolicy {
    fn default() -> Self {
        Self { ip_family: IpFamily::Any, resolver: None, resolve: BTreeMap::new(), source_ip: None }
    }
}

impl DialPolicy {
    /// The family that is left when the source has its say.
    pub fn family(&self) -> IpFamily {
        match (self.ip_family, self.source_ip) {
            (IpFamily::Any, Some(IpAddr::V4(_))) => IpFamily::V4,
            (IpFamily::Any, Some(IpAddr::V6(_))) => IpFamily::V6,
            (family, _) => family,
        }
    }
}

/// A name server as it is written: an IP address, with or without a port.
///
/// # Errors
/// What is wrong, as one sentence.
pub fn name_server(text: &str) -> Result<SocketAddr, String> {
    const DNS_PORT: u16 = 53;
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let server = match in_brackets.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, DNS_PORT),
        Err(_) => text.parse::<SocketAddr>().map_err(|_| {
            format!(
                "`{text}` is not the address of a name server: an IP address with or without a port, such as 9.9.9.9, \
                 192.168.1.1:5353 or [2620:fe::fe]:53"
            )
        })?,
    };
    if server.ip().is_unspecified() || server.ip().is_multicast() || server.port() == 0 {
        return Err(format!("`{text}` cannot be asked"));
    }
    Ok(server)
}

words! {
    /// A version of TLS that is asked for at least.
    pub enum TlsVersion {
        Tls12 = "1.2",
        Tls13 = "1.3",
    }
}

/// What is asked of TLS. Files are PEM; one that changes is read again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    pub verify: bool,
    /// Authorities trusted in addition to the built-in ones.
    pub ca_file: Option<String>,
    /// Our own certificate, with those that lead to its authority.
    pub client_cert_file: Option<String>,
    /// Its key; `None`: it is in `client_cert_file`.
    pub client_key_file: Option<String>,
    /// The name that is asked for and that the certificate must be for, instead of the host.
    pub server_name: Option<String>,
    pub min_version: TlsVersion,
    /// Revoked certificates. What it says nothing of is not revoked.
    pub crl_file: Option<String>,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            verify: true,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            server_name: None,
            min_version: TlsVersion::Tls12,
            crl_file: None,
        }
    }
}

words! {
    /// Which version of HTTP is spoken.
    pub enum HttpVersion {
        /// HTTP/2 where the other side offers it, else HTTP/1.1.
        Auto = "auto",
        Http1 = "1.1",
        /// Only that, also without TLS.
        Http2 = "2",
    }
}

words! {
    /// What is spoken with a proxy.
    pub enum ProxyKind {
        Http = "http",
        Socks5 = "socks5",
    }
}

/// A proxy that connects on our behalf.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub kind: ProxyKind,
    /// A name or an address, that of version 6 without brackets.
    pub host: String,
    pub port: u16,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.kind, self.host, self.port)
    }
}

/// Who we say that we are. It takes the place of a header `Authorization`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Auth {
    Basic { username: String, password: String },
    Bearer(String),
    OAuth2(ClientCredentials),
}

/// What a token is asked for with (RFC 6749 section 4.4).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCredentials {
    pub token_url: url::Url,
    pub client_id: String,
    pub client_secret: String,
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCredentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(***)",
            Self::Bearer(_) => "Bearer(***)",
            Self::OAuth2(_) => "OAuth2(***)",
        })
    }
}

/// To which hosts redirects may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectHosts {
    Any,
    /// Only that of the endpoint's own URL.
    Same,
    /// These, in lower case; `*.example.com` is every name below it.
    Listed(Vec<String>),
}

impl RedirectHosts {
    /// Whether a redirect of an endpoint at `first` may lead to `host`.
    pub fn allow(&self, first: &str, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Same => host.eq_ignore_ascii_case(first),
            Self::Listed(hosts) => hosts.iter().any(|listed| match listed.strip_prefix('*') {
                Some(below) => host.len() > below.len() && host.to_ascii_lowercase().ends_with(below),
                None => listed.eq_ignore_ascii_case(host),
            }),
        }
    }
}

/// An address that was dialled, and how that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    pub address: SocketAddr,
    pub took_us: u32,
    /// Why there is no connection, as one sentence; `None`: there is.
    pub failure: Option<String>,
}

/// One request of an attempt that was redirected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopSeen {
    /// What was asked, as it was sent: it may hold secrets.
    pub url: String,
    /// `None`: no answer came.
    pub status_code: Option<u16>,
    /// `ip:port` of the other end of its connection.
    pub address: Option<String>,
    /// Of this hop alone.
    pub timings: Timings,
}

/// What was agreed in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSeen {
    /// `TLS 1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What is spoken within, where both sides named it: `h2`, `http/1.1`.
    pub protocol: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_that_redirects_may_lead_to() {
        let listed = RedirectHosts::Listed(["login.example", "*.shop.example"].map(str::to_owned).to_vec());
        for (hosts, host, allowed) in [
            (&RedirectHosts::Any, "evil.example", true),
            (&RedirectHosts::Same, "SHOP.example", true),
            (&RedirectHosts::Same, "www.shop.example", false),
            (&listed, "Login.example", true),
            (&listed, "www.shop.example", true),
            (&listed, "a.b.shop.example", true),
            (&listed, "shop.example", false),
            (&listed, "evilshop.example", false),
            (&listed, ".shop.example", false),
        ] {
            assert_eq!(hosts.allow("shop.example", host), allowed, "{hosts:?} {host}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Some(("me".to_owned(), "hush".to_owned()));
        let proxy = Proxy { kind: ProxyKind::Socks5, host: "p.example".to_owned(), port: 1080, login };
        assert_eq!(format!("{proxy:?}"), "socks5://p.example:1080");
        let auth = Auth::Basic { username: "me".to_owned(), password: "hush".to_owned() };
        assert_eq!(format!("{auth:?}"), "Basic(***)");
    }
}
