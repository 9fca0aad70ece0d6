//! Certificates of every kind, and servers that show them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::{OK, Server, answer};
use crate::clock::{Clock, SystemClock};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate authority of the test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = Self::params(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// An authority that this one vouches for.
    pub(crate) fn subordinate(&self, name: &str) -> Self {
        let params = Self::params(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A certificate for `names`, valid from `from` to `to` days from now.
    pub(crate) fn issue(&self, names: &[&str], from: i64, to: i64) -> Identity {
        let mut params = params(names[0], names);
        params.not_before = in_days(from).into();
        params.not_after = in_days(to).into();
        self.sign(&params)
    }

    /// A certificate that expires in `time`.
    pub(crate) fn issue_for(&self, names: &[&str], time: std::time::Duration) -> Identity {
        let mut params = params(names[0], names);
        params.not_before = in_days(-1).into();
        params.not_after = (std::time::SystemTime::from(SystemClock::new().now()) + time).into();
        self.sign(&params)
    }

    /// One that can be told from others in a list of revoked certificates.
    pub(crate) fn issue_with_serial(&self, names: &[&str], serial: u64) -> Identity {
        let mut params = params(names[0], names);
        params.serial_number = Some(serial.into());
        self.sign(&params)
    }

    /// One that says where the certificate of its issuer is to be had.
    pub(crate) fn issue_naming_its_issuer(&self, names: &[&str]) -> Identity {
        let url = b"http://ca.example/intermediate.crt";
        let length = |n: usize| u8::try_from(n).unwrap();
        // AuthorityInfoAccess: one access description, caIssuers with a URL.
        let mut described = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, length(url.len())];
        described.extend(url);
        let mut content = vec![0x30, length(described.len() + 2), 0x30, length(described.len())];
        content.extend(described);
        let mut params = params(names[0], names);
        params.custom_extensions =
            vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

/// A server's certificate with its key.
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn self_signed(name: &str, is_ca: bool) -> Self {
        let mut params = params(name, &[name]);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    pub(crate) fn key_pem(&self) -> String {
        KeyPair::try_from(self.key.as_slice()).unwrap().serialize_pem()
    }

    pub(crate) fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.config(alpn)))
    }

    pub(crate) fn config(&self, alpn: &[&str]) -> ServerConfig {
        let mut config = self.config_of(rustls::DEFAULT_VERSIONS);
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    pub(crate) fn config_of(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        builder.with_no_client_auth().with_single_cert(self.chain.clone(), self.key()).unwrap()
    }

    /// Asks for a certificate of `authority`.
    pub(crate) fn config_asking(&self, authority: &Authority) -> ServerConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        builder.with_client_cert_verifier(verifier).with_single_cert(self.chain.clone(), self.key()).unwrap()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// An HTTPS server that answers every request with 200 `ok`.
    pub(crate) async fn serve(&self) -> Server {
        let acceptor = self.acceptor(&["http/1.1"]);
        Server::start(move |stream, requests| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, &requests, |_| OK.into()).await;
                }
            }
        })
        .await
    }
}

/// `days` days from now.
pub(crate) fn in_days(days: i64) -> std::time::SystemTime {
    // A minute beyond, so that "3 days ago" holds while the test runs.
    let margin = chrono::TimeDelta::minutes(if days < 0 { -1 } else { 1 });
    (SystemClock::new().now() + chrono::TimeDelta::days(days) + margin).into()
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
