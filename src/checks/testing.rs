//! Local servers that misbehave on purpose, and certificates of every kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Clock, SystemClock};
use crate::domain::check::{CheckSpec, KindSpec, RedirectPolicy, TlsPolicy};
use crate::domain::setting::ExpectedStatus;

/// A GET that expects 200 within 5 s, all else as built in.
pub(crate) fn spec(url: &str) -> CheckSpec {
    CheckSpec {
        url: url.parse().unwrap(),
        kind: KindSpec::Http,
        method: "GET".to_owned(),
        headers: BTreeMap::new(),
        body: None,
        timeout: Duration::from_secs(5),
        connect_timeout: None,
        expected_status: ExpectedStatus::exactly(200),
        redirects: RedirectPolicy { follow: true, max: 10 },
        tls: TlsPolicy { verify: true, ca_file: None },
        max_body_bytes: 1_048_576,
        user_agent: "api-monitor/test".to_owned(),
        redact: ["authorization", "cookie", "x-api-key"].map(str::to_owned).to_vec(),
    }
}

/// A server on a free port that runs `script` for each connection, until dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// What [`answer`] has read, in order.
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream, Requests) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(script(stream, Requests(Arc::clone(&seen))));
            }
        });
        Self { address, requests, _tasks: tasks }
    }

    /// Gives each request the same answer, then closes.
    pub(crate) async fn answering(answer_bytes: impl Into<Vec<u8>>) -> Self {
        let answer_bytes: Arc<[u8]> = answer_bytes.into().into();
        Self::start(move |stream, requests| {
            let bytes = Arc::clone(&answer_bytes);
            async move { answer(stream, &requests, |_| bytes.to_vec()).await }
        })
        .await
    }

    /// Gives each request the answer that `by_target` has for its path and query, then closes.
    pub(crate) async fn routing(by_target: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let by_target = Arc::new(by_target);
        Self::start(move |stream, requests| {
            let by_target = Arc::clone(&by_target);
            async move {
                answer(stream, &requests, |head| by_target(head.split(' ').nth(1).unwrap_or_default()).into_bytes())
                    .await;
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

#[derive(Clone)]
pub(crate) struct Requests(Arc<Mutex<Vec<String>>>);

/// Reads one request with its body, writes what `bytes` makes of it, and closes.
pub(crate) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &Requests,
    bytes: impl FnOnce(&str) -> Vec<u8>,
) {
    let request = read_request(&mut stream).await;
    requests.0.lock().unwrap().push(request.clone());
    // The client may have gone already.
    if stream.write_all(&bytes(&request)).await.is_ok() {
        drop(stream.shutdown().await);
    }
}

/// The head of a request, and as much body as its Content-Length says.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        read.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        if n == 0 {
            return text;
        }
    }
}

/// The value of a header in the text of a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .split("\r\n\r\n")
        .next()?
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Ends the connection with RST instead of FIN.
pub(crate) fn reset(stream: TcpStream) {
    #[expect(deprecated, reason = "a linger of zero never blocks, it is what makes the kernel send RST")]
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A certificate authority of the test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `names`, valid from `from` to `to` days from now.
    pub(crate) fn issue(&self, names: &[&str], from: i64, to: i64) -> Identity {
        let mut params = params(names[0], names);
        params.not_before = in_days(from).into();
        params.not_after = in_days(to).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

/// A server's certificate with its key.
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) chain: Vec<rustls::pki_types::CertificateDer<'static>>,
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

    pub(crate) fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone())))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
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

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

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
