use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::*;
use crate::checks::testing::{Authority, Server};

/// What a call is answered with: the body, and the trailers or, where there is no body, the only headers.
#[derive(Clone)]
struct Said {
    http: u16,
    body: Option<Vec<u8>>,
    status: Option<&'static str>,
    message: &'static str,
}

impl Said {
    fn status(number: u8) -> Self {
        Self { http: 200, body: Some(vec![0, 0, 0, 0, 2, 8, number]), status: Some("0"), message: "" }
    }

    fn failed(code: &'static str, message: &'static str) -> Self {
        Self { http: 200, body: None, status: Some(code), message }
    }

    fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        if let Some(status) = self.status {
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            trailers.insert("grpc-message", HeaderValue::from_static(self.message));
        }
        trailers
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, requests: crate::checks::testing::Requests, said: Said) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (head, mut body) = request.into_parts();
        let said = said.clone();
        // The connection goes on while the request is read.
        let answering = async {
            let mut asked = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                asked.extend(chunk);
            }
            let mut response = Response::builder().status(said.http).header("content-type", "application/grpc");
            let Some(bytes) = said.body.clone() else {
                response.headers_mut().unwrap().extend(said.trailers());
                respond.send_response(response.body(()).unwrap(), true).unwrap();
                return asked;
            };
            let mut sending = respond.send_response(response.body(()).unwrap(), false).unwrap();
            sending.reserve_capacity(bytes.len());
            drop(sending.send_data(Bytes::from(bytes), false));
            drop(sending.send_trailers(said.trailers()));
            asked
        };
        let mut answering = std::pin::pin!(answering);
        let asked = tokio::select! {
            asked = &mut answering => asked,
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
        };
        requests.note(&format!("{} {:?} {asked:?}", head.uri, head.headers));
    }
}

async fn answering(said: Said) -> Server {
    Server::start(move |stream, requests| serve(stream, requests, said.clone())).await
}

fn of(server: &Server) -> Value {
    json!({"url": format!("grpc://{}", server.address), "service": "shop.Cart"})
}

#[tokio::test]
async fn a_service_that_serves_is_up() {
    let server = answering(Said::status(1)).await;
    let mut settings = of(&server);
    settings["headers"] = json!({"X-Tenant": "7"});
    let (seen, outcome) = examine(settings).await;
    assert_eq!(outcome, Outcome::Up, "{seen:?}");
    assert_eq!((seen.answer.unwrap().text().as_str(), seen.status_code), ("SERVING", None));
    let asked = &server.requests()[0];
    assert!(asked.contains("/grpc.health.v1.Health/Check") && asked.contains("\"x-tenant\": \"7\""), "{asked}");
    assert!(asked.contains("\"te\": \"trailers\"") && asked.contains("grpc-timeout"), "{asked}");
    let mut message = vec![0, 0, 0, 0, 11, 0x0a, 9];
    message.extend(b"shop.Cart");
    assert!(asked.ends_with(&format!("{message:?}")), "{asked}");
}

#[tokio::test]
async fn each_way_to_fail_is_told_from_the_others() {
    let long = Said { body: Some(vec![0; 1_000_000]), ..Said::status(1) };
    let no_status = Said { status: None, ..Said::status(1) };
    let garbage = Said { body: Some(vec![0, 0, 0, 0, 9, 8, 1]), ..Said::status(1) };
    let web = Said { http: 404, ..Said::status(1) };
    for (said, kind, message) in [
        (Said::status(2), "grpc_status", "The service shop.Cart answered NOT_SERVING, expected SERVING"),
        (Said::status(0), "grpc_status", "The service shop.Cart answered UNKNOWN, expected SERVING"),
        (
            Said::failed("5", "unknown%20service"),
            "grpc_status",
            "The service shop.Cart is not known to {} (NOT_FOUND): unknown service",
        ),
        (Said::failed("12", ""), "grpc_status", "{} does not offer the gRPC health protocol (UNIMPLEMENTED)"),
        (Said::failed("16", "no token"), "grpc_status", "The health call to {} failed with UNAUTHENTICATED: no token"),
        (
            Said { status: Some("14"), ..Said::status(1) },
            "grpc_status",
            "The health call to {} failed with UNAVAILABLE",
        ),
        (Said::failed("99", ""), "grpc_status", "The health call to {} failed with 99"),
        (no_status, "protocol", "{} did not answer in valid gRPC: its answer has no grpc-status"),
        (garbage, "protocol", "{} did not answer in valid gRPC: its answer is none of the health protocol"),
        (long, "protocol", "{} did not answer in valid gRPC: its answer is too long"),
        (web, "protocol", "{} answered the call with HTTP 404, which is not gRPC"),
    ] {
        let server = answering(said).await;
        let expected = message.replace("{}", &server.address.to_string());
        assert_eq!(failure(of(&server)).await, (kind, expected));
    }
}

#[tokio::test]
async fn what_does_not_speak_it_is_no_grpc() {
    let web = Server::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let (kind, message) = failure(of(&web)).await;
    assert_eq!(kind, "protocol", "{message}");
    let closing = Server::start(|stream, _| async move { drop(stream) }).await;
    let (kind, message) = failure(of(&closing)).await;
    assert_eq!(kind, "connection_closed", "{message}");
    let silent = Server::start(|mut stream, _| async move {
        stream.write_all(b"").await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(failure(soon(of(&silent))).await.0, "timeout_first_byte");
    assert_eq!(failure(json!({"url": format!("grpc://{}", nobody())})).await.0, "connect_refused");
}

#[tokio::test]
async fn an_encrypted_one_must_speak_http_2() {
    let authority = Authority::new("The authority");
    let encrypted = |alpn: &'static [&'static str]| {
        let acceptor = authority.issue(&["127.0.0.1"], -1, 30).acceptor(alpn);
        Server::start(move |stream, requests| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, requests, Said::status(1)).await;
                }
            }
        })
    };
    let server = encrypted(&["h2"]).await;
    let url = format!("grpcs://{}", server.address);
    let (seen, outcome) = examine(json!({"url": url, "tls": {"verify": false}})).await;
    assert_eq!((outcome, seen.certificate.is_some()), (Outcome::Up, true));
    assert_eq!(failure(json!({"url": url})).await.0, "tls_untrusted");
    let web = encrypted(&["http/1.1"]).await;
    let (kind, message) = failure(json!({"url": format!("grpcs://{}", web.address), "tls": {"verify": false}})).await;
    assert!(matches!(kind, "protocol" | "tls_protocol" | "tls_handshake"), "{kind} {message}");
}
