//! The certificate that is served: read from two files, taken anew when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::TlsConfig;
use crate::domain::Timestamp;
use crate::telemetry::metrics::{Metrics, TlsStatus};

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// More than any chain or key has.
const MAX_FILE_BYTES: u64 = 1_048_576;

/// Why a pair of files cannot be served with. Names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("api.tls: the {what} {} cannot be read: {reason}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, reason: String },
    #[error("api.tls: {} holds no {what} in PEM ({marker})", path.display())]
    Empty { what: &'static str, marker: &'static str, path: PathBuf },
    #[error("api.tls: {} is not good PEM: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    #[error("api.tls: the private key in {} is encrypted: write it without a passphrase (openssl pkey -in … -out …)", path.display())]
    Encrypted { path: PathBuf },
    #[error(
        "api.tls: the private key in {} does not belong to the first certificate in {}",
        key.display(),
        cert.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("api.tls: the private key in {} cannot be used: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
}

/// A pair that fits, and how long it is good for.
#[derive(Debug)]
struct Pair {
    certified: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// The certificate now, for every handshake that comes.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// TLS as configured.
#[derive(Debug)]
pub struct Tls {
    files: TlsConfig,
    current: Arc<Current>,
    not_after: Mutex<Timestamp>,
    config: Arc<ServerConfig>,
    /// The files from which the current pair was read, or that were refused.
    judged: Mutex<Fingerprint>,
}

/// What changes when a file is written or replaced, by a link to another one too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Fingerprint([Option<(std::time::SystemTime, u64, FileIdentity)>; 2]);

impl Tls {
    /// Reads the files. Gives sentences about a certificate that is not good now, but is served with all the same.
    ///
    /// # Errors
    /// When there is no pair that fits.
    pub fn open(files: &TlsConfig, now: Timestamp) -> Result<(Self, Vec<String>), TlsError> {
        let judged = fingerprint(files);
        let pair = read(files)?;
        let warnings = warnings(&pair, files, now);
        let not_after = Mutex::new(pair.not_after);
        let current = Arc::new(Current(RwLock::new(pair.certified)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::Unusable { path: files.key_file.clone(), reason: error.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls =
            Self { files: files.clone(), current, not_after, config: Arc::new(config), judged: Mutex::new(judged) };
        Ok((tls, warnings))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Takes the files anew whenever they have changed, until `stopping`. A pair that does not fit leaves the old
    /// one in place and is told once.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) {
        let not_after = *self.not_after.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.set_tls(TlsStatus { not_after, error: None });
        let mut seen = self.judged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let found = fingerprint(&self.files);
            // Twice the same: the two files are not written at the same instant.
            let is_settled = std::mem::replace(&mut seen, found.clone()) == found;
            let is_new = *self.judged.lock().unwrap_or_else(PoisonError::into_inner) != found;
            if is_settled && is_new {
                self.take(found, clock.now(), &metrics);
            }
        }
    }

    fn take(&self, found: Fingerprint, now: Timestamp, metrics: &Metrics) {
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = found;
        let mut not_after = self.not_after.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match read(&self.files) {
            Ok(pair) => {
                for warning in warnings(&pair, &self.files, now) {
                    tracing::warn!("{warning}");
                }
                *not_after = pair.not_after;
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = pair.certified;
                tracing::info!(not_after = %*not_after, "the certificate of the API was read anew");
                None
            }
            Err(error) => {
                tracing::error!(%error, "the certificate of the API cannot be taken anew; the old one is still served");
                Some(error.to_string())
            }
        };
        metrics.set_tls(TlsStatus { not_after: *not_after, error });
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn warnings(pair: &Pair, files: &TlsConfig, now: Timestamp) -> Vec<String> {
    let path = files.cert_file.display();
    let mut all = Vec::new();
    if pair.not_after <= now {
        all.push(format!("api.tls: the certificate in {path} expired on {}: clients will refuse it", pair.not_after));
    }
    if pair.not_before > now {
        all.push(format!("api.tls: the certificate in {path} is good only from {}", pair.not_before));
    }
    all
}

fn read(files: &TlsConfig) -> Result<Pair, TlsError> {
    let TlsConfig { cert_file, key_file } = files;
    let text = read_file("certificate file", cert_file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(broken(cert_file))?;
    let Some(leaf) = chain.first() else {
        let marker = "BEGIN CERTIFICATE";
        return Err(TlsError::Empty { what: "certificate", marker, path: cert_file.clone() });
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| TlsError::Broken { path: cert_file.clone(), reason: error.to_string() })?;
    let instant = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0).unwrap_or(Timestamp::MAX_UTC);
    let (not_before, not_after) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());

    let text = read_file("key file", key_file)?;
    let key = match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => key,
        Err(PemError::NoItemsFound) if contains(&text, b"ENCRYPTED PRIVATE KEY") => {
            return Err(TlsError::Encrypted { path: key_file.clone() });
        }
        Err(PemError::NoItemsFound) => {
            let marker = "BEGIN PRIVATE KEY, BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY";
            return Err(TlsError::Empty { what: "private key", marker, path: key_file.clone() });
        }
        Err(error) => return Err(broken(key_file)(error)),
    };
    let certified = CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: cert_file.clone(), key: key_file.clone() }
        }
        error => {
            let is_encrypted = contains(&text, b"Proc-Type: 4,ENCRYPTED");
            if is_encrypted {
                TlsError::Encrypted { path: key_file.clone() }
            } else {
                TlsError::Unusable { path: key_file.clone(), reason: error.to_string() }
            }
        }
    })?;
    Ok(Pair { certified: Arc::new(certified), not_before: instant(not_before), not_after: instant(not_after) })
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|part| part == words)
}

fn broken(path: &Path) -> impl Fn(PemError) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::Broken { path: path.clone(), reason: error.to_string() }
}

fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |reason: String| TlsError::Unreadable { what, path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is no file".to_owned()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(unreadable(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// Follows links, so that a link to another file is another file.
fn fingerprint(files: &TlsConfig) -> Fingerprint {
    Fingerprint([&files.cert_file, &files.key_file].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        let identity = identity(&metadata);
        Some((metadata.modified().ok()?, metadata.len(), identity))
    }))
}

/// Device, number, and when anything about it was changed, its permissions included: seconds and nanoseconds.
type FileIdentity = (u64, u64, i64, i64);

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> FileIdentity {
    (0, 0, 0, 0)
}
