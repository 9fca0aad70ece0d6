//! Whom TLS connections trust, and the hook that watches handshakes: which certificates are served, also where they
//! are refused.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::trace::{Refusal, Trace};
use crate::domain::dial::{TlsPolicy, TlsVersion};
use crate::domain::outcome::{Failure, FailureKind};

/// Why TLS cannot be spoken as a policy asks for. The text is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the policy cannot be read, or does not hold what it should.
    #[error("The {what} in {path} cannot be read: {reason}")]
    File { what: &'static str, path: String, reason: String },
    #[error("The TLS settings cannot be used: {0}")]
    Settings(String),
}

impl From<TlsError> for Failure {
    /// Our own settings are at fault. They concern the TLS handshake, which cannot be made as it was asked for.
    fn from(error: TlsError) -> Self {
        Failure::new(FailureKind::TlsHandshake, error.to_string())
    }
}

/// What the files of a policy hold, where it names them.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) revoked: Option<Vec<u8>>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) private_key: Option<Vec<u8>>,
}

/// The public authorities and those of the machine, read once.
#[derive(Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Certificates of the machine that cannot be read are left out: the built-in ones remain.
    pub(super) fn load() -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self { provider: Arc::new(aws_lc_rs::default_provider()), roots: Arc::new(roots) }
    }

    /// The TLS settings for a policy, with the contents of its files.
    pub(super) fn config(&self, policy: &TlsPolicy, files: &Files) -> Result<ClientConfig, TlsError> {
        let wrong = |what: &'static str, path: &Option<String>, reason: String| TlsError::File {
            what,
            path: path.clone().unwrap_or_default(),
            reason,
        };
        let mut own = Vec::new();
        let mut roots = Arc::clone(&self.roots);
        if let Some(pem) = &files.authorities {
            let wrong = |reason| wrong("TLS authorities", &policy.ca_file, reason);
            own = certificates(pem).map_err(wrong)?;
            // As with the machine's: an odd certificate in a large bundle does no harm.
            let (trusted, _) = Arc::make_mut(&mut roots).add_parsable_certificates(own.iter().cloned());
            if trusted == 0 {
                return Err(wrong("it holds no certificate that can be used".to_owned()));
            }
        }
        let mut webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        if let Some(file) = &files.revoked {
            let wrong = |reason| wrong("revoked certificates", &policy.crl_file, reason);
            // What the list says nothing of is not revoked: it is one authority's, and chains have several.
            webpki = webpki.with_crls(revocations(file).map_err(wrong)?).allow_unknown_revocation_status();
        }
        let webpki = webpki.build().map_err(|error| match &policy.crl_file {
            Some(_) => wrong("revoked certificates", &policy.crl_file, error.to_string()),
            None => TlsError::Settings(error.to_string()),
        })?;
        let verifier = WatchingVerifier { verify: policy.verify, webpki, own };
        let versions: &[&rustls::SupportedProtocolVersion] = match policy.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(|e| TlsError::Settings(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &files.certificate {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let wrong_certificate = |reason| wrong("client certificate", &policy.client_cert_file, reason);
                let chain = certificates(pem).map_err(wrong_certificate)?;
                if chain.is_empty() {
                    return Err(wrong_certificate("it holds no certificate".to_owned()));
                }
                let key_file = policy.client_key_file.as_ref().or(policy.client_cert_file.as_ref()).cloned();
                let wrong_key = |reason| wrong("client key", &key_file, reason);
                let key = PrivateKeyDer::from_pem_slice(files.private_key.as_deref().unwrap_or(pem))
                    .map_err(|_| wrong_key("it holds no private key in PEM".to_owned()))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| wrong_key(error.to_string()))?
            }
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| format!("it is not PEM ({e})"))
}

/// In PEM, or a single one in DER, as authorities serve it.
fn revocations(file: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(file)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("it is not PEM ({e})"))?;
    match (lists.is_empty(), file.first()) {
        (false, _) => Ok(lists),
        // The tag of a sequence.
        (true, Some(0x30)) => Ok(vec![file.to_vec().into()]),
        (true, _) => Err("it holds no list of revoked certificates".to_owned()),
    }
}

/// Notes what is served, then judges it as the policy says.
#[derive(Debug)]
struct WatchingVerifier {
    verify: bool,
    webpki: Arc<WebPkiServerVerifier>,
    /// The certificates of the policy's `ca_file`.
    own: Vec<CertificateDer<'static>>,
}

impl WatchingVerifier {
    /// A server's own certificate in `ca_file` is trusted as it stands. webpki would take it for the authority
    /// only, and refuses it as the server's if it says that it is both, as most self-made ones do.
    fn is_pinned(&self, leaf: &CertificateDer<'_>, name: &ServerName<'_>, error: &rustls::Error) -> bool {
        use rustls::CertificateError as E;
        let rustls::Error::InvalidCertificate(E::Other(_) | E::UnknownIssuer) = error else { return false };
        self.own.iter().any(|own| own.as_ref() == leaf.as_ref())
            && rustls::server::ParsedCertificate::try_from(leaf)
                .and_then(|parsed| rustls::client::verify_server_name(&parsed, name))
                .is_ok()
    }
}

impl ServerCertVerifier for WatchingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let trace = Trace::current();
        if let Some(trace) = &trace {
            trace.saw_chain(end_entity, intermediates);
        }
        if !self.verify {
            return Ok(ServerCertVerified::assertion());
        }
        let Err(error) = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.is_pinned(end_entity, server_name, &error) {
            return Ok(ServerCertVerified::assertion());
        }
        if let Some(trace) = trace {
            let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
            trace.refused(Refusal { error: error.clone(), chain, at: now });
        }
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.verify {
            self.webpki.verify_tls12_signature(message, cert, dss)
        } else {
            Ok(HandshakeSignatureValid::assertion())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.verify {
            self.webpki.verify_tls13_signature(message, cert, dss)
        } else {
            Ok(HandshakeSignatureValid::assertion())
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
