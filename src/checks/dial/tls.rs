//! TLS on a connection. Settings of the library are built once for each policy and shared, because a trust store of
//! its own would cost each endpoint milliseconds and 100 KB.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Dialler;
use crate::checks::failure;
use crate::checks::trace::{Phase, Trace};
use crate::checks::trust::{Files, TlsError, Trust};
use crate::domain::check::TlsPolicy;
use crate::domain::dial::TlsSeen;
use crate::domain::outcome::{Failure, FailureKind};

/// More settings than these are never kept: when it is reached all are forgotten and built again as needed.
const MAX_POLICIES: usize = 256;
/// Bound of a file: the whole public set of authorities is a fifth of it, and a large list of revoked certificates less.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A TLS connection that stands.
#[derive(Debug)]
pub(in crate::checks) struct Secured<S> {
    pub(in crate::checks) stream: TlsStream<S>,
    /// What is spoken within, of what was offered: `h2`; `None` where the other side named nothing.
    pub(in crate::checks) protocol: Option<String>,
}

impl Dialler {
    /// Makes a whole TLS handshake on `stream`, as a new visitor does, asking for `host` (a name or an address) or for
    /// what the policy says. `alpn` is what may be spoken within, the favourite first; nothing: it is not asked.
    ///
    /// Leaves the trace in [`Phase::FirstByte`]; what is served is noted also where it is refused.
    ///
    /// # Errors
    /// Why there is no trusted connection, as precisely as can be said; a file of the policy that cannot be used is a
    /// `tls_handshake` which names it.
    pub(in crate::checks) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
        policy: &TlsPolicy,
        alpn: &[&str],
        trace: &Arc<Trace>,
    ) -> Result<Secured<S>, Failure> {
        trace.enter(Phase::Tls);
        let config = self.tls.get(policy).await?;
        let name = policy.server_name.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let name = failure::shown(name);
            Failure::new(FailureKind::TlsHandshake, format!("No TLS certificate can be for the name {name}"))
        })?;
        let connector = TlsConnector::from(config);
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let handshake = connector.with_alpn(alpn).connect(server_name, stream);
        let stream = Arc::clone(trace).scope(handshake).await.map_err(|error| failure::of_request(&error, trace))?;
        let (_, session) = stream.get_ref();
        let protocol = session.alpn_protocol().map(|protocol| failure::shown(&String::from_utf8_lossy(protocol)));
        trace.secured(TlsSeen {
            version: session.protocol_version().map_or_else(String::new, version),
            cipher: session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            protocol: protocol.clone(),
        });
        trace.enter(Phase::FirstByte);
        Ok(Secured { stream, protocol })
    }
}

fn version(version: rustls::ProtocolVersion) -> String {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// When the files of a policy were changed, and their lengths.
type Stamps = [Option<(Option<SystemTime>, u64)>; 4];

/// The settings of TLS by policy, built when first asked for.
#[derive(Debug)]
pub(super) struct Policies {
    trust: Trust,
    built: Mutex<HashMap<TlsPolicy, (Stamps, Arc<ClientConfig>)>>,
}

impl Policies {
    /// Builds the usual settings, so that an error shows at the start.
    pub(super) fn new(trust: Trust) -> Result<Self, TlsError> {
        let usual = trust.config(&TlsPolicy::default(), &Files::default())?;
        let built = HashMap::from([(TlsPolicy::default(), (Stamps::default(), Arc::new(usual)))]);
        Ok(Self { trust, built: Mutex::new(built) })
    }

    /// The settings for a policy. Files that have changed since are read again.
    async fn get(&self, policy: &TlsPolicy) -> Result<Arc<ClientConfig>, TlsError> {
        // Of names nothing is in the settings; without verification some files are not needed.
        let mut key = TlsPolicy { server_name: None, ..policy.clone() };
        if !policy.verify {
            (key.ca_file, key.crl_file) = (None, None);
        }
        let paths = [&key.ca_file, &key.crl_file, &key.client_cert_file, &key.client_key_file].map(Option::as_deref);
        let mut stamps = Stamps::default();
        for (i, path) in paths.iter().enumerate() {
            if let Some(path) = path {
                stamps[i] = Some(stamp(path).await.map_err(|error| unreadable(i, path, &error))?);
            }
        }
        if let Some((kept, config)) = self.built.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *kept == stamps
        {
            return Ok(Arc::clone(config));
        }
        let mut read: [Option<Vec<u8>>; 4] = Default::default();
        for (i, path) in paths.iter().enumerate() {
            if let Some(path) = path {
                read[i] = Some(contents(path).await.map_err(|error| unreadable(i, path, &error))?);
            }
        }
        let [authorities, revoked, certificate, private_key] = read;
        let files = Files { authorities, revoked, certificate, private_key };
        let config = Arc::new(self.trust.config(&key, &files)?);
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.len() >= MAX_POLICIES {
            built.clear();
        }
        built.insert(key, (stamps, Arc::clone(&config)));
        Ok(config)
    }
}

/// `i`: which of the files.
fn unreadable(i: usize, path: &str, error: &io::Error) -> TlsError {
    let what = ["TLS authorities", "revoked certificates", "client certificate", "client key"][i];
    TlsError::File { what, path: path.to_owned(), reason: failure::shown(&error.to_string()) }
}

async fn stamp(path: &str) -> io::Result<(Option<SystemTime>, u64)> {
    let metadata = tokio::fs::metadata(path).await?;
    if metadata.is_file() {
        Ok((metadata.modified().ok(), metadata.len()))
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

async fn contents(path: &str) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    let read = tokio::fs::File::open(path).await?.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem).await?;
    if u64::try_from(read).is_ok_and(|n| n <= MAX_FILE_BYTES) {
        Ok(pem)
    } else {
        Err(io::Error::other("it is larger than 1 MiB"))
    }
}
