//! TLS: who is trusted, and each way a handshake ends.

use std::fs;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use super::*;
use crate::checks::testing::{Authority, Identity, in_days};
use crate::domain::check::TlsPolicy;

/// A spec for `https://{name}` at the server, which trusts `pem` beside the public authorities.
pub(super) fn https(server: &Server, name: &str, pem: &str, folder: &TempDir) -> CheckSpec {
    let path = folder.path().join("ca.pem");
    fs::write(&path, pem).unwrap();
    CheckSpec {
        tls: TlsPolicy { verify: true, ca_file: Some(path.to_str().unwrap().to_owned()), ..TlsPolicy::default() },
        ..spec(&format!("https://{name}:{}/", server.address.port()))
    }
}

fn date(days: i64) -> String {
    chrono::DateTime::<chrono::Utc>::from(in_days(days)).date_naive().to_string()
}

#[tokio::test]
async fn a_trusted_certificate_is_recorded_and_the_handshake_timed() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["shop.example", "www.shop.example", "127.0.0.1"], -1, 30).serve().await;
    let spec = https(&server, "shop.example", &authority.pem, &folder);
    let checker = checker(local_names());
    for attempt in 1..=2 {
        let seen = examine(&checker, &spec).await;
        assert_eq!((seen.failure, seen.status_code), (None, Some(200)));
        let certificate = seen.certificate.unwrap();
        assert_eq!((certificate.subject.as_str(), certificate.issuer.as_str()), ("CN=shop.example", "CN=Test CA"));
        assert_eq!(certificate.sans, ["shop.example", "www.shop.example", "127.0.0.1"]);
        assert_eq!(certificate.not_after.date_naive().to_string(), date(30));
        assert_eq!(certificate.not_before.date_naive().to_string(), date(-1));
        let t = seen.timings;
        assert!(t.tls_us.unwrap() > 100, "attempt {attempt} makes a whole handshake: {t:?}");
        let phases = [t.dns_us, t.connect_us, t.tls_us, t.first_byte_us, t.transfer_us].map(Option::unwrap);
        let sum: u32 = phases.iter().sum();
        assert!(sum <= t.total_us + 30 && t.total_us < sum + 20_000, "{t:?}");
    }
}

#[tokio::test]
async fn certificates_out_of_their_time() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["shop.example"], -90, -3).serve().await;
    let seen = observe(&https(&server, "shop.example", &authority.pem, &folder)).await;
    let message = format!("TLS certificate expired 3 days ago ({}, CN=shop.example)", date(-3));
    assert_fails(&seen, FailureKind::TlsExpired, &message);
    assert_eq!(seen.certificate.unwrap().subject, "CN=shop.example", "a refused certificate is recorded");
    assert!(seen.timings.tls_us.is_some() && seen.timings.first_byte_us.is_none());
    assert_eq!(seen.remote_address, Some(server.address.to_string()));

    let server = authority.issue(&["shop.example"], 2, 90).serve().await;
    let seen = observe(&https(&server, "shop.example", &authority.pem, &folder)).await;
    let message = format!("TLS certificate is not valid for another 2 days (from {}, CN=shop.example)", date(2));
    assert_fails(&seen, FailureKind::TlsNotYetValid, &message);
}

#[tokio::test]
async fn a_certificate_for_other_names() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["a.example", "b.example", "c.example", "d.example"], -1, 30).serve().await;
    let seen = observe(&https(&server, "shop.example", &authority.pem, &folder)).await;
    let message = "TLS certificate is for a.example, b.example, c.example, …, not for shop.example";
    assert_fails(&seen, FailureKind::TlsHostnameMismatch, message);

    let seen = observe(&https(&server, "127.0.0.1", &authority.pem, &folder)).await;
    let message = "TLS certificate is for a.example, b.example, c.example, …, not for 127.0.0.1";
    assert_fails(&seen, FailureKind::TlsHostnameMismatch, message);
}

#[tokio::test]
async fn untrusted_certificates_say_what_is_missing() {
    for is_ca in [false, true] {
        let server = Identity::self_signed("shop.example", is_ca).serve().await;
        let seen = observe(&spec(&format!("https://shop.example:{}/", server.address.port()))).await;
        assert_fails(&seen, FailureKind::TlsUntrusted, "TLS certificate is self-signed (CN=shop.example)");
    }

    let authority = Authority::new("Test CA");
    let mut identity = authority.issue(&["shop.example"], -1, 30);
    let server = identity.serve().await;
    let seen = observe(&spec(&format!("https://shop.example:{}/", server.address.port()))).await;
    let message =
        "TLS certificate is issued by an unknown authority, or an intermediate certificate is missing (CN=Test CA)";
    assert_fails(&seen, FailureKind::TlsUntrusted, message);

    identity.chain.push(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap());
    let server = identity.serve().await;
    let seen = observe(&spec(&format!("https://shop.example:{}/", server.address.port()))).await;
    let message = "TLS certificate chain ends in an authority that is not trusted (CN=Test CA)";
    assert_fails(&seen, FailureKind::TlsUntrusted, message);
}

#[tokio::test]
async fn a_servers_own_certificate_in_ca_file_is_trusted_for_its_name() {
    let folder = TempDir::new().unwrap();
    for is_ca in [false, true] {
        let identity = Identity::self_signed("shop.example", is_ca);
        let server = identity.serve().await;
        let seen = observe(&https(&server, "shop.example", &identity.pem, &folder)).await;
        assert_eq!(seen.failure, None, "is_ca {is_ca}");
        let seen = observe(&https(&server, "other.example", &identity.pem, &folder)).await;
        assert!(seen.failure.is_some(), "is_ca {is_ca}");
    }
}

#[tokio::test]
async fn without_verification_everything_is_accepted_and_recorded() {
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["a.example"], -90, -3).serve().await;
    let spec = CheckSpec {
        tls: TlsPolicy { verify: false, ca_file: Some("/nowhere".to_owned()), ..TlsPolicy::default() },
        ..spec(&format!("https://shop.example:{}/", server.address.port()))
    };
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.status_code), (None, Some(200)));
    assert_eq!(seen.certificate.unwrap().subject, "CN=a.example");
}

#[tokio::test]
async fn a_ca_file_is_read_again_when_it_changes_and_named_when_it_cannot_be() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["shop.example"], -1, 30).serve().await;
    let stranger = Authority::new("Another authority with a longer name");
    let spec = https(&server, "shop.example", &stranger.pem, &folder);
    let path = spec.tls.ca_file.clone().unwrap();
    let checker = checker(local_names());
    let check = || async { examine(&checker, &spec).await.failure };

    assert_eq!(check().await.unwrap().kind, FailureKind::TlsUntrusted);
    fs::write(&path, &authority.pem).unwrap();
    assert_eq!(check().await, None);
    fs::write(&path, "nothing").unwrap();
    let empty = Failure::new(
        FailureKind::TlsHandshake,
        format!("The TLS authorities in {path} cannot be read: it holds no certificate that can be used"),
    );
    assert_eq!(check().await, Some(empty));
    fs::remove_file(&path).unwrap();
    let missing = check().await.unwrap();
    assert_eq!(missing.kind, FailureKind::TlsHandshake);
    assert!(missing.message.starts_with(&format!("The TLS authorities in {path} cannot be read: No such file")));
}

/// What the server says to a `ClientHello`.
async fn replying(bytes: &'static [u8]) -> Server {
    Server::start(move |mut stream, _| async move {
        let mut hello = [0; 16_384];
        tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        // Closing with unread bytes would send RST and may overtake the reply.
        read_request(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn handshakes_that_fail() {
    let alert_version: &[u8] = &[0x15, 3, 1, 0, 2, 2, 70];
    let alert_cipher: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
    let alert_name: &[u8] = &[0x15, 3, 3, 0, 2, 2, 112];
    for (reply, kind, message) in [
        (
            alert_version,
            FailureKind::TlsProtocol,
            "No TLS version or cipher in common with PEER (it sent the alert ProtocolVersion)",
        ),
        (
            alert_cipher,
            FailureKind::TlsProtocol,
            "No TLS version or cipher in common with PEER (it sent the alert HandshakeFailure)",
        ),
        (alert_name, FailureKind::TlsHandshake, "PEER refused the TLS handshake with the alert UnrecognisedName"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", FailureKind::TlsHandshake, "PEER does not speak TLS on this port"),
        (b"", FailureKind::TlsHandshake, "Connection closed by PEER during the TLS handshake"),
    ] {
        let server = replying(reply).await;
        let seen = observe(&spec(&format!("https://{}/", server.address))).await;
        assert_fails(&seen, kind, &message.replace("PEER", &server.address.to_string()));
        assert!(seen.timings.tls_us.is_some() && seen.timings.first_byte_us.is_none(), "{:?}", seen.timings);
    }
}

#[tokio::test]
async fn a_server_hello_of_an_old_version_is_no_common_protocol() {
    let mut hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    // No session id, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 0, 0x2f, 0]);
    let server = replying(hello.leak()).await;
    let seen = observe(&spec(&format!("https://{}/", server.address))).await;
    let failure = seen.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::TlsProtocol, "{}", failure.message);
}

#[tokio::test]
async fn a_stalled_handshake() {
    let server = Server::start(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let spec = CheckSpec {
        connect_timeout: Some(Duration::from_millis(50)),
        ..quick(&format!("https://{}/", server.address))
    };
    let seen = observe(&spec).await;
    let message = format!("Request timed out after 300ms while waiting for the TLS handshake with {}", server.address);
    assert_fails(&seen, FailureKind::TlsTimeout, &message);
}

/// A server that speaks HTTP/2 only when it is offered, and then lets `script` answer the first request.
pub(super) async fn http2<F, Fut>(identity: &Identity, script: F) -> Server
where
    F: Fn(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let acceptor = identity.acceptor(&["h2", "http/1.1"]);
    Server::start(move |stream, requests| {
        let (acceptor, script) = (acceptor.clone(), script.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return crate::checks::testing::answer(stream, &requests, |_| OK.into()).await;
            }
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut answering = tokio::task::JoinSet::new();
            while let Some(Ok((request, respond))) = connection.accept().await {
                answering.spawn(script(request, respond));
            }
        }
    })
    .await
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["shop.example"], -1, 30);
    let server = http2(&identity, |_, mut respond| async move {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    })
    .await;
    let mut spec = https(&server, "shop.example", &authority.pem, &folder);
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.body_bytes), (None, 5));
    assert_eq!(seen.http_version.as_deref(), Some("HTTP/2.0"));
    assert!(seen.timings.first_byte_us.is_some() && seen.timings.tls_us.is_some());

    // HTTP/2 has no Host beside the URL's.
    spec.headers.insert("host".to_owned(), "other.example".to_owned());
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.http_version.as_deref()), (None, Some("HTTP/1.1")));
    assert_eq!(header(&server.requests()[0], "host"), Some("other.example"));
}

#[tokio::test]
async fn http_2_streams_that_are_reset() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["shop.example"], -1, 30);
    let server = http2(&identity, |_, mut respond| async move {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let seen = observe(&https(&server, "shop.example", &authority.pem, &folder)).await;
    let peer = format!("shop.example:{} (127.0.0.1)", server.address.port());
    let message = format!("HTTP/2 stream reset by {peer} (INTERNAL_ERROR) before it answered");
    assert_fails(&seen, FailureKind::ConnectionClosed, &message);

    let server = http2(&identity, |_, mut respond| async move {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        // More than the client lets a server send ahead: when all is accepted, the client has read some.
        let mut left = 400_000;
        while left > 0 {
            body.reserve_capacity(left);
            let granted = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            body.send_data(vec![b'x'; granted].into(), false).unwrap();
            left -= granted;
        }
        body.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let seen = observe(&https(&server, "shop.example", &authority.pem, &folder)).await;
    assert_eq!(seen.failure.unwrap().kind, FailureKind::BodyTruncated);
}
