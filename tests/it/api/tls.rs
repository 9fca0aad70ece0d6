//! HTTPS: what is served, how the certificate is exchanged, and what a start without a good one says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api_monitor::api::serve::tls::Tls;
use api_monitor::clock::{Clock, SystemClock};
use api_monitor::config::TlsConfig;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::serving::{Client, SOON, Server, eventually};
use crate::app::TestApp;
use crate::cli::process::{Running, run};

const NAME: &str = "monitor.example";

/// A certificate for [`NAME`] and its key, in PEM.
struct Pair {
    cert: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Pair {
    fn new() -> Self {
        Self::with_key(KeyPair::generate().unwrap(), |_| {})
    }

    fn with_key(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        change(&mut params);
        let cert = params.self_signed(&key).unwrap();
        Self { cert: cert.pem(), der: cert.der().clone(), key }
    }

    fn write(&self, folder: &Path) -> TlsConfig {
        let files = files(folder);
        std::fs::write(&files.cert_file, &self.cert).unwrap();
        std::fs::write(&files.key_file, self.key.serialize_pem()).unwrap();
        files
    }
}

fn files(folder: &Path) -> TlsConfig {
    TlsConfig { cert_file: folder.join("cert.pem"), key_file: folder.join("key.pem") }
}

fn open(files: &TlsConfig) -> Tls {
    let (tls, warnings) = Tls::open(files, SystemClock::new().now()).unwrap();
    assert_eq!(warnings, [] as [String; 0]);
    tls
}

/// A client that trusts one certificate and notes the one it was shown.
async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let Client(stream) = server.connect().await;
    let name = ServerName::try_from(NAME).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn is_served(server: &Server, pair: &Pair) -> bool {
    connect(server, &pair.der, rustls::DEFAULT_VERSIONS).await.is_ok()
}

async fn live(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        answer.push(char::from(tokio::time::timeout(SOON, stream.read_u8()).await.unwrap().unwrap()));
    }
    answer
}

#[tokio::test]
async fn https_by_both_versions_of_http_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let tls = open(&pair.write(folder.path()));
    let yaml = "api: {port: 0, tls: {cert_file: a, key_file: b}}\n";
    let app = TestApp::with_config(yaml).await;
    let server = Server::start_with_tls(app.router.clone(), Some(Arc::new(tls)), |_| {}).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(&server, &pair.der, &[version]).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = live(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
    }
    #[expect(clippy::disallowed_methods, reason = "this client asks the API; it makes no checks")]
    let client = {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let trusted = reqwest::Certificate::from_pem(pair.cert.as_bytes()).unwrap();
        let builder = reqwest::Client::builder().no_proxy().timeout(SOON).tls_certs_only([trusted]);
        builder.resolve(NAME, server.address).build().unwrap()
    };
    let answer = client.get(format!("https://{NAME}:{}/", server.address.port())).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_and_one_that_is_none_fails() {
    let folder = tempfile::tempdir().unwrap();
    let tls = open(&Pair::new().write(folder.path()));
    let app = TestApp::start().await;
    let server = Server::start_with_tls(app.router.clone(), Some(Arc::new(tls)), |limits| {
        limits.handshake = Duration::from_millis(300);
    })
    .await;
    let mut silent = server.connect().await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(server.metrics.connections_cut.get(), 1);
    let mut plain = server.connect().await;
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!plain.rest().await.contains("HTTP"));
    server.open(0).await;
    assert_eq!(server.metrics.handshakes_failed.get(), 1);
}

#[tokio::test]
async fn keys_are_read_in_every_usual_form() {
    /// The key within PKCS #8, which is the older form of it.
    fn inner(pkcs8: &[u8]) -> Vec<u8> {
        let length = |at: usize| match pkcs8[at] {
            short @ 0..0x80 => (usize::from(short), at + 1),
            long => {
                let bytes = usize::from(long & 0x7f);
                let value = pkcs8[at + 1..=at + bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (value, at + 1 + bytes)
            }
        };
        // A sequence of a version, an algorithm and the key as octets.
        let (_, mut at) = length(1);
        for _ in 0..2 {
            let (size, begin) = length(at + 1);
            at = begin + size;
        }
        let (size, begin) = length(at + 1);
        pkcs8[begin..begin + size].to_vec()
    }
    use base64::Engine;
    let pem = |label: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (key, label) in [(KeyPair::generate().unwrap(), "EC PRIVATE KEY"), (rsa, "RSA PRIVATE KEY")] {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::with_key(key, |_| {});
        let files = pair.write(folder.path());
        open(&files);
        let older = pem(label, &inner(pair.key.serialized_der()));
        // As openssl writes it, with the parameters before it.
        std::fs::write(
            &files.key_file,
            format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{older}"),
        )
        .unwrap();
        let server = Server::start_with_tls(axum::Router::new(), Some(Arc::new(open(&files))), |_| {}).await;
        assert!(is_served(&server, &pair).await, "{label}");
    }
}

#[test]
fn files_that_do_not_do_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = Pair::new();
    let refused = |change: &dyn Fn(&TlsConfig)| {
        let files = good.write(folder.path());
        change(&files);
        let error = Tls::open(&files, SystemClock::new().now()).unwrap_err().to_string();
        error.replace(&folder.path().display().to_string(), "DIR")
    };
    let write = |path: &PathBuf, text: &str| std::fs::write(path, text).unwrap();
    let other = Pair::new();
    for (error, words) in [
        (
            refused(&|files| std::fs::remove_file(&files.cert_file).unwrap()),
            "the certificate file DIR/cert.pem cannot be read: No such file",
        ),
        (
            refused(&|files| std::fs::remove_file(&files.key_file).unwrap()),
            "the key file DIR/key.pem cannot be read: No such file",
        ),
        (refused(&|files| write(&files.cert_file, "")), "DIR/cert.pem holds no certificate"),
        (refused(&|files| write(&files.key_file, "")), "DIR/key.pem holds no private key"),
        (refused(&|files| write(&files.cert_file, &good.key.serialize_pem())), "DIR/cert.pem holds no certificate"),
        (refused(&|files| write(&files.key_file, &good.cert)), "DIR/key.pem holds no private key"),
        (
            refused(&|files| write(&files.cert_file, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")),
            "DIR/cert.pem is not good PEM",
        ),
        (
            refused(&|files| write(&files.cert_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
            "DIR/cert.pem is not good PEM",
        ),
        (
            refused(&|files| write(&files.key_file, &other.key.serialize_pem())),
            "the private key in DIR/key.pem does not belong to the first certificate in DIR/cert.pem",
        ),
        (
            refused(&|files| write(&files.key_file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
            "the private key in DIR/key.pem cannot be used",
        ),
        (
            refused(&|files| {
                write(
                    &files.key_file,
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                );
            }),
            "the private key in DIR/key.pem is encrypted",
        ),
    ] {
        assert!(error.starts_with("api.tls: ") && error.contains(words), "{error}\nexpected: {words}");
    }
    let expired = Pair::with_key(KeyPair::generate().unwrap(), |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let (_, warnings) = Tls::open(&expired.write(folder.path()), SystemClock::new().now()).unwrap();
    assert!(warnings[0].contains("cert.pem expired on 2020-02-01"), "{warnings:?}");
}

/// Exchanges what a path names as Kubernetes and certbot do: the link now leads elsewhere.
fn link(to: &Path, at: &Path) {
    let beside = at.with_extension("new");
    std::os::unix::fs::symlink(to, &beside).unwrap();
    std::fs::rename(beside, at).unwrap();
}

#[tokio::test]
async fn new_files_are_taken_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [Pair::new(), Pair::new(), Pair::new()];
    let versions: Vec<_> = ["v0", "v1", "v2"].iter().map(|name| folder.path().join(name)).collect();
    for (pair, version) in pairs.iter().zip(&versions) {
        std::fs::create_dir(version).unwrap();
        pair.write(version);
    }
    // As Kubernetes mounts secrets: files are links into a folder that is itself a link.
    let data = folder.path().join("data");
    link(&versions[0], &data);
    let files = files(&data);
    let tls = Arc::new(open(&files));
    let app = TestApp::start().await;
    let server = Server::start_with_tls(app.router.clone(), Some(tls.clone()), |_| {}).await;
    let clock = Arc::new(SystemClock::new());
    let metrics = app.ctx.metrics.clone();
    let every = Duration::from_millis(20);
    server.tasks.spawn(tls.watch(every, clock, metrics.clone(), server.tasks.stopping().clone()));
    let mut kept = connect(&server, &pairs[0].der, rustls::DEFAULT_VERSIONS).await.unwrap();
    let until_served = async |pair: &Pair| {
        let deadline = tokio::time::Instant::now() + SOON;
        while !is_served(&server, pair).await {
            assert!(tokio::time::Instant::now() < deadline, "the new certificate is not served");
            tokio::time::sleep(every).await;
        }
    };

    link(&versions[1], &data);
    until_served(&pairs[1]).await;
    assert!(!is_served(&server, &pairs[0]).await);
    assert!(live(&mut kept).await.starts_with("HTTP/1.1 200"), "connections go on");

    // Written in place, and a key that does not fit.
    std::fs::write(&files.cert_file, &pairs[2].cert).unwrap();
    eventually("the mismatch is told", || metrics.tls().is_some_and(|tls| tls.error.is_some())).await;
    assert!(is_served(&server, &pairs[1]).await, "the old pair is served on");
    let report = app.get("/health").await.json();
    let error = report["tls"]["error"].as_str().unwrap();
    assert!(error.contains("does not belong to") && error.contains("key.pem"), "{report}");
    assert_eq!(report["status"], "healthy");

    std::fs::write(&files.key_file, pairs[2].key.serialize_pem()).unwrap();
    until_served(&pairs[2]).await;
    eventually("the error is gone", || metrics.tls().is_some_and(|tls| tls.error.is_none())).await;
    assert!(live(&mut kept).await.starts_with("HTTP/1.1 200"));
}

fn configured(folder: &Path) {
    let database = folder.join("monitor.db");
    let tls = "tls: {cert_file: cert.pem, key_file: key.pem}";
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "database: {{url: 'sqlite://{}'}}\napi: {{host: 127.0.0.1, port: {port}, {tls}}}\n",
        database.display()
    );
    std::fs::write(folder.join("config.yaml"), text).unwrap();
}

#[test]
fn a_start_without_a_good_pair_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    for command in ["serve", "validate"] {
        let end = run(folder.path(), &[command, "--config", "config.yaml"]);
        assert_eq!(end.code, Some(2), "{command}: {}", end.stderr);
        let line = "api.tls: the certificate file cert.pem cannot be read: No such file or directory";
        assert!(end.stderr.contains(line), "{command}: {}", end.stderr);
    }
    assert!(!folder.path().join("monitor.db").exists(), "nothing was begun");
    Pair::new().write(folder.path());
    let end = run(folder.path(), &["validate", "--config", "config.yaml"]);
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_program_serves_https_and_its_healthcheck_asks_so() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    let pair = Pair::new();
    pair.write(folder.path());
    let arguments = ["--config", "config.yaml"];
    let monitor = Running::start(folder.path(), &arguments);
    monitor.logs(SOON, "\"url\":\"https://127.0.0.1:");
    let healthy = || run(folder.path(), &["healthcheck", "--config", "config.yaml"]);
    let end = healthy();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    monitor.signal("TERM");
    assert_eq!(monitor.wait(SOON).code, Some(0));
    assert_eq!(healthy().code, Some(1));
}
