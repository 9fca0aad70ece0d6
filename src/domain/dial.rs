//! How a check gets to the other side: which addresses it dials, and what it asks of TLS there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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

/// An address that was dialled, and how that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    pub address: SocketAddr,
    pub took_us: u32,
    /// Why there is no connection, as one sentence; `None`: there is.
    pub failure: Option<String>,
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
