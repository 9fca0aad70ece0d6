//! Whom outgoing messages trust, and the HTTP clients made of it. The only place of `notify` that builds clients.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::reach::Reach;
use crate::domain::check::CHECK_HEADER;
use crate::domain::endpoint::Origin;

/// Bound of a `ca_file`: the whole public set of authorities is a fifth of it.
const MAX_CA_FILE_BYTES: u64 = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The machine's authorities, read once, beside the built-in public ones.
#[derive(Debug)]
pub(super) struct Authorities {
    of_machine: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Certificates of the machine that cannot be used are left out: the built-in ones remain.
    pub(super) fn load() -> Self {
        let mut of_machine = rustls_native_certs::load_native_certs().certs;
        of_machine.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
        Self { of_machine }
    }

    pub(super) fn of_machine(&self) -> &[CertificateDer<'static>] {
        &self.of_machine
    }

    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// Why it cannot be used, in one sentence.
    pub(super) fn of_file(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let unreadable = |reason: String| format!("{path} cannot be read: {reason}");
        let metadata = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
        let mut pem = Vec::new();
        if metadata.is_file() {
            // Some files do not say how long they are.
            let file = std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
            file.take(MAX_CA_FILE_BYTES + 1).read_to_end(&mut pem).map_err(|e| unreadable(e.to_string()))?;
        }
        if !metadata.is_file() || u64::try_from(pem.len()).is_ok_and(|length| length > MAX_CA_FILE_BYTES) {
            return Err(unreadable("it is no file of at most 1 MiB".to_owned()));
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let mut certificates = certificates.map_err(|e| unreadable(format!("it is not PEM ({e})")))?;
        certificates.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
        if certificates.is_empty() {
            return Err(unreadable("it holds no certificate that can be used".to_owned()));
        }
        Ok(certificates)
    }

    /// # Errors
    /// Why the TLS settings cannot be used, in one sentence.
    pub(super) fn client_config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(self.of_machine.iter().cloned());
        Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// What webhooks, presets and Telegram of one origin speak through. Connections that are kept are never used for another origin.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) client: reqwest::Client,
    pub(super) reach: Reach,
}

/// The client of webhooks, presets and Telegram. No redirects: a message goes where it was said to go. Timeouts are each
/// channel's own.
///
/// # Errors
/// Why it cannot be built, in one sentence.
pub(super) fn http_line(tls: &ClientConfig, reach: Reach) -> Result<Line, String> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    #[expect(clippy::disallowed_methods, reason = "the one place of notify that builds clients")]
    let builder = reqwest::Client::builder();
    let client = builder
        .tls_backend_preconfigured(tls)
        .dns_resolver(reach.clone())
        .default_headers(marks(&reach))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .pool_max_idle_per_host(2)
        .user_agent(concat!("api-monitor/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| e.to_string())?;
    Ok(Line { client, reach })
}

/// This monitor's own API must not take a message for a person on this machine.
fn marks(reach: &Reach) -> HeaderMap {
    match reach.origin() {
        Origin::Config => HeaderMap::new(),
        Origin::Api => HeaderMap::from_iter([(HeaderName::from_static(CHECK_HEADER), HeaderValue::from_static("1"))]),
    }
}
