//! Which version of HTTP is spoken.

use bytes::Bytes;
use tempfile::TempDir;

use super::tls::{http2, https};
use super::*;
use crate::checks::testing::Authority;

async fn hello(_: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

#[tokio::test]
async fn the_version_that_is_asked_for_is_spoken() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["shop.example"], -1, 30);
    let server = http2(&identity, hello).await;
    let spec = https(&server, "shop.example", &authority.pem, &folder);
    for (version, spoken) in
        [(HttpVersion::Auto, "HTTP/2.0"), (HttpVersion::Http2, "HTTP/2.0"), (HttpVersion::Http1, "HTTP/1.1")]
    {
        let seen = observe(&CheckSpec { http_version: version, ..spec.clone() }).await;
        assert_eq!((seen.failure, seen.http_version.as_deref()), (None, Some(spoken)), "{version}");
    }

    let old = identity.serve().await;
    let spec = CheckSpec { http_version: HttpVersion::Http2, ..https(&old, "shop.example", &authority.pem, &folder) };
    let failure = observe(&spec).await.failure.unwrap();
    let message = format!(
        "shop.example:{} (127.0.0.1) refused the TLS handshake with the alert NoApplicationProtocol",
        old.address.port()
    );
    assert_eq!((failure.kind, failure.message), (FailureKind::TlsHandshake, message));
}

#[tokio::test]
async fn http_2_may_be_spoken_without_tls_and_takes_the_host_that_is_set() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let server = Server::start(move |stream, _| {
        let noted = Arc::clone(&noted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                let (head, mut body) = request.into_parts();
                noted.lock().unwrap().push(head);
                let reading = async {
                    while let Some(Ok(data)) = body.data().await {
                        drop(body.flow_control().release_capacity(data.len()));
                    }
                };
                // The body comes while the connection is carried on.
                tokio::select! {
                    () = reading => {}
                    _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => {}
                }
                hello(http::Request::new(body), respond).await;
            }
        }
    })
    .await;
    let mut spec = CheckSpec {
        http_version: HttpVersion::Http2,
        method: "POST".to_owned(),
        body: Some(RequestBody::Text("x".repeat(200_000))),
        ..spec(&server.url("/a?b"))
    };
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.body_bytes, seen.http_version.as_deref()), (None, 5, Some("HTTP/2.0")));
    spec.headers.insert("host".to_owned(), "other.example".to_owned());
    assert_eq!(observe(&spec).await.failure, None);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].uri.to_string(), server.url("/a?b"));
    assert_eq!(asked[0].headers.get("x-api-monitor-check").unwrap(), "1");
    assert_eq!((asked[1].uri.authority().unwrap().as_str(), asked[1].headers.get("host")), ("other.example", None));
}

#[tokio::test]
async fn an_old_server_and_early_hints_are_healthy() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
    ] {
        let server = Server::answering(answer).await;
        let seen = observe(&spec(&server.url("/"))).await;
        assert_eq!((seen.failure, seen.status_code), (None, Some(200)), "{answer}");
        assert!(seen.body_bytes > 1);
    }
}
