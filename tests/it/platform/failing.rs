//! Servers of this machine that fail in one way each, and certificates of every kind.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_monitor::clock::{Clock, SystemClock};
use chrono::TimeDelta;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a server does when a request has come.
#[derive(Debug, Clone)]
pub(super) enum Then {
    Close,
    Reset,
    Hold,
    /// Sends the same again and again, with a pause between.
    Repeat(Vec<u8>, Duration),
}

/// Running until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Runs `script` on each connection.
    pub(super) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::at("127.0.0.1:0", script).await
    }

    /// The same at an address of one's choice.
    pub(super) async fn at<F, Fut>(address: &str, script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(script(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Answers each request with `answer`, then does what follows.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        Self::answering_at("127.0.0.1:0", answer, then).await
    }

    /// The same at an address of one's choice.
    pub(super) async fn answering_at(address: &str, answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::at(address, move |mut stream| {
            let (answer, then) = (Arc::clone(&answer), then.clone());
            async move {
                read_head(&mut stream).await;
                if stream.write_all(&answer).await.is_ok() {
                    finish(stream, then).await;
                }
            }
        })
        .await
    }

    /// Sends a `reply` to whatever comes first, without having understood it.
    pub(super) async fn replying(reply: &'static [u8], then: Then) -> Self {
        Self::start(move |mut stream| {
            let then = then.clone();
            async move {
                let mut hello = vec![0; 16_384];
                drop(stream.read(&mut hello).await);
                drop(stream.write_all(reply).await);
                finish(stream, then).await;
            }
        })
        .await
    }

    /// Speaks TLS, answers once, and closes.
    pub(super) async fn secure(identity: &Identity, answer: impl Into<Vec<u8>>) -> Self {
        let (acceptor, answer): (_, Arc<[u8]>) = (identity.acceptor(&[]), answer.into().into());
        Self::start(move |stream| {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            async move {
                // Whoever refuses the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_head(&mut stream).await;
                drop(stream.write_all(&answer).await);
                drop(stream.shutdown().await);
            }
        })
        .await
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn finish(mut stream: TcpStream, then: Then) {
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Reset => reset(stream),
        Then::Hold => {
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        }
        Then::Repeat(piece, pause) => {
            while stream.write_all(&piece).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Ends the connection with RST instead of FIN.
pub(super) fn reset(stream: TcpStream) {
    #[expect(deprecated, reason = "a linger of zero never blocks, it is what makes the kernel send RST")]
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Reads a request up to its body. Whether one has come.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// A listener that accepts nothing more: the kernel drops further SYNs.
pub(super) async fn full_backlog() -> (SocketAddr, impl Send) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (address, (listener, waiting))
}

/// A port at which nobody listens.
pub(super) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A certificate authority of the test.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(super) fn subordinate(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// For `name`, valid from `from` to `to` days from now.
    pub(super) fn issue(&self, name: &str, from: i64, to: i64) -> Identity {
        let mut params = params(name);
        params.not_before = in_days(from).into();
        params.not_after = in_days(to).into();
        params.serial_number = Some(77_u64.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// One that says where the certificate of its issuer is to be had.
    pub(super) fn issue_naming_its_issuer(&self, name: &str) -> Identity {
        let url = b"http://ca.example/intermediate.crt";
        let length = |n: usize| u8::try_from(n).unwrap();
        let mut described = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, length(url.len())];
        described.extend(url);
        let mut content = vec![0x30, length(described.len() + 2), 0x30, length(described.len())];
        content.extend(described);
        let mut params = params(name);
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// A list, in PEM, that revokes what [`issue`](Self::issue) makes.
    pub(super) fn revocations(&self) -> String {
        let params = CertificateRevocationListParams {
            this_update: in_days(-1).into(),
            next_update: in_days(10).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(77_u64),
                revocation_time: in_days(-1).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A server's certificates with its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    pub(super) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name).self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// `alpn`: what may be spoken within.
    pub(super) fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(self.chain.clone(), key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn in_days(days: i64) -> std::time::SystemTime {
    // An hour beyond, so that "3 days ago" holds while the test runs.
    let margin = TimeDelta::hours(if days < 0 { -1 } else { 1 });
    (SystemClock::new().now() + TimeDelta::days(days) + margin).into()
}
