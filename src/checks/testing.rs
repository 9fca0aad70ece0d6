//! Local servers that misbehave on purpose, and certificates of every kind.

mod identities;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::domain::check::{CheckSpec, KindSpec, RedirectPolicy, TlsPolicy};
use crate::domain::dial::{DialPolicy, HttpVersion};
use crate::domain::setting::ExpectedStatus;

pub(crate) use identities::{Authority, Identity, in_days};

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
        dial: DialPolicy::default(),
        expected_status: ExpectedStatus::exactly(200),
        redirects: RedirectPolicy::default(),
        tls: TlsPolicy::default(),
        auth: None,
        proxy: None,
        http_version: HttpVersion::Auto,
        reuse_connection: false,
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

impl Requests {
    pub(crate) fn note(&self, request: &str) {
        self.0.lock().unwrap().push(request.to_owned());
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

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

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A listener at `ip` that accepts nothing more: the kernel drops further SYNs.
pub(crate) async fn full_backlog(ip: &str) -> (SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (address, (listener, waiting))
}
