//! Whom TLS connections trust, and the hooks that watch handshakes: when one begins, and which certificates
//! are served, also where they are refused.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme};

use super::client::ClientError;
use super::trace::{Phase, Refusal, Trace};
use crate::domain::check::TlsPolicy;

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

    /// The TLS settings for a policy, with the further `authorities` (PEM) of its `ca_file`.
    pub(super) fn config(&self, policy: &TlsPolicy, authorities: Option<&[u8]>) -> Result<ClientConfig, ClientError> {
        let mut own = Vec::new();
        let mut roots = Arc::clone(&self.roots);
        if let Some(pem) = authorities {
            let wrong =
                |reason: String| ClientError::Authorities { path: policy.ca_file.clone().unwrap_or_default(), reason };
            let store = Arc::make_mut(&mut roots);
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| wrong(format!("it is not PEM ({e})")))?;
                own.push(certificate);
            }
            // As with the machine's: an odd certificate in a large bundle does no harm.
            let (trusted, _) = store.add_parsable_certificates(own.iter().cloned());
            if trusted == 0 {
                return Err(wrong("it holds no certificate that can be used".to_owned()));
            }
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|e| ClientError::Tls(e.to_string()))?;
        let verifier = WatchingVerifier { verify: policy.verify, webpki, own };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| ClientError::Tls(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(FullHandshakes));
        Ok(config)
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
            trace.saw_leaf(end_entity.clone().into_owned());
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

/// Keeps no session, so that each attempt makes the whole handshake a new visitor makes. It is asked for one
/// when the connection stands and the handshake begins, which is how that instant is known.
#[derive(Debug)]
struct FullHandshakes;

impl ClientSessionStore for FullHandshakes {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if let Some(trace) = Trace::current() {
            trace.enter(Phase::Tls);
        }
        None
    }
}
