//! The check of a `grpc` or `grpcs` endpoint: one call of `grpc.health.v1.Health/Check`.
//!
//! Over HTTP/2 alone: the two messages of the protocol are a text and a number, for which a library of gRPC and one of
//! its encoding would be much.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::dial::Dialler;
use super::failure::shown;
use super::kinds::Attempt;
use super::trace::Phase;
use crate::domain::check::{Answer, CHECK_HEADER, HealthQuestion, HealthStatus};
use crate::domain::outcome::{Failure, FailureKind};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// The answer is two bytes and its head five; more than this is never read.
const MAX_ANSWER: usize = 4 * 1024;
const WINDOW: u32 = 64 * 1024;
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// The names of the codes, in their order.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) async fn examine(dialler: &Dialler, question: &HealthQuestion, on: &mut Attempt<'_>) -> Result<(), Failure> {
    let request = request(on)?;
    let port = on.spec.url.port_or_known_default().unwrap_or_default();
    let connected = dialler.dial(on.host(), port, &on.route(), &on.trace).await?;
    let status = if on.spec.is_encrypted() {
        let trace = Arc::clone(&on.trace);
        let secured = dialler.secure(connected.stream, on.host(), &on.spec.tls, &["h2"], &trace).await?;
        if let Some(other) = secured.protocol.filter(|protocol| protocol != "h2") {
            let message = format!("{} speaks {} there, gRPC needs h2", on.trace.peer(), shown(&other));
            return Err(Failure::new(FailureKind::Protocol, message));
        }
        call(secured.stream, request, question, on).await?
    } else {
        on.trace.enter(Phase::FirstByte);
        call(connected.stream, request, question, on).await?
    };
    on.seen.answer = Some(Answer::Health(status));
    Ok(())
}

/// The headers of the endpoint are the metadata of the call.
fn request(on: &Attempt<'_>) -> Result<Request<()>, Failure> {
    let unsendable = |what: &str| Failure::new(FailureKind::Protocol, format!("The request has {what}"));
    let url = &on.spec.url;
    let scheme = if on.spec.is_encrypted() { "https" } else { "http" };
    let uri = format!("{scheme}://{}:{}{METHOD}", on.host(), url.port_or_known_default().unwrap_or_default());
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .body(())
        .map_err(|_| unsendable("a URL that cannot be sent"))?;
    let headers = request.headers_mut();
    let agent = HeaderValue::from_str(&on.spec.user_agent).map_err(|_| unsendable("an invalid user agent"))?;
    headers.insert(http::header::USER_AGENT, agent);
    for (name, value) in &on.spec.headers {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.map_err(|_| unsendable("a header with an invalid name"))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| unsendable(&format!("an invalid value in its header {name}")))?;
        // HTTP/2 has no such headers.
        if !matches!(header.as_str(), "connection" | "host" | "transfer-encoding" | "upgrade" | "keep-alive") {
            headers.insert(header, value);
        }
    }
    let left = on.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let left = HeaderValue::from_str(&format!("{}m", left.as_millis().min(99_999_999)));
    headers.insert("grpc-timeout", left.map_err(|_| unsendable("an invalid timeout"))?);
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    // Whatever the settings say.
    headers.insert(CHECK_HEADER, HeaderValue::from_static("1"));
    Ok(request)
}

async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<()>,
    question: &HealthQuestion,
    on: &Attempt<'_>,
) -> Result<HealthStatus, Failure> {
    let peer = on.trace.peer();
    let failed = |error: h2::Error| of_h2(&error, &peer);
    let opening = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .enable_push(false)
        .handshake(stream);
    let (sender, connection) = opening.await.map_err(failed)?;
    let calling = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (answer, mut body) = sender.send_request(request, false).map_err(failed)?;
        body.send_data(written(&question.service), true).map_err(failed)?;
        let (head, mut body) = answer.await.map_err(failed)?.into_parts();
        on.trace.enter(Phase::Transfer);
        if !head.status.is_success() {
            let message = format!("{peer} answered the call with HTTP {}, which is not gRPC", head.status.as_u16());
            return Err(Failure::new(FailureKind::Protocol, message));
        }
        // A call that failed at once has no body.
        if head.headers.contains_key("grpc-status") {
            succeeded(&head.headers, question, &peer)?;
        }
        let mut message: Vec<u8> = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(failed)?;
            if message.len() + chunk.len() > MAX_ANSWER {
                return Err(not_spoken(&peer, "its answer is too long"));
            }
            message.extend(&chunk);
            body.flow_control().release_capacity(chunk.len()).map_err(failed)?;
        }
        let trailers = body.trailers().await.map_err(failed)?;
        succeeded(trailers.as_ref().unwrap_or(&head.headers), question, &peer)?;
        read(&message).ok_or_else(|| not_spoken(&peer, "its answer is none of the health protocol"))
    };
    let mut calling = std::pin::pin!(calling);
    tokio::select! {
        biased;
        called = &mut calling => called,
        // What the connection has brought until its end is still there to be read.
        _ = connection => calling.await,
    }
}

fn of_h2(error: &h2::Error, peer: &str) -> Failure {
    let closed = |message: String| Failure::new(FailureKind::ConnectionClosed, message);
    match error.reason() {
        Some(reason) if error.is_remote() => closed(format!("The call was ended by {peer} ({reason:?})")),
        _ if error.is_io() => closed(format!("Connection closed by {peer} before it answered")),
        _ => not_spoken(peer, &shown(&error.to_string())),
    }
}

fn not_spoken(peer: &str, why: &str) -> Failure {
    Failure::new(FailureKind::Protocol, format!("{peer} did not answer in valid gRPC: {why}"))
}

/// That the call itself has gone well, whatever was said in it.
fn succeeded(headers: &HeaderMap, question: &HealthQuestion, peer: &str) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<usize>().ok()) else {
        return Err(not_spoken(peer, "its answer has no grpc-status"));
    };
    if code == 0 {
        return Ok(());
    }
    let word = CODES.get(code).map_or_else(|| code.to_string(), |word| (*word).to_owned());
    let said = text("grpc-message").map(|said| percent_decode_str(&said).decode_utf8_lossy().into_owned());
    let said = said.filter(|said| !said.is_empty()).map_or_else(String::new, |said| format!(": {}", shown(&said)));
    let message = match (word.as_str(), question.service.as_str()) {
        ("NOT_FOUND", service) if !service.is_empty() => {
            format!("The service {} is not known to {peer} (NOT_FOUND){said}", shown(service))
        }
        ("UNIMPLEMENTED", _) => format!("{peer} does not offer the gRPC health protocol (UNIMPLEMENTED){said}"),
        _ => format!("The health call to {peer} failed with {word}{said}"),
    };
    Err(Failure::new(FailureKind::GrpcStatus, message))
}

/// `HealthCheckRequest { service = 1 }` as a message of gRPC: not compressed, its length, its bytes.
fn written(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_number(&mut message, service.len() as u64);
        message.extend(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

/// `HealthCheckResponse { status = 1 }`. Fields that it does not have are passed over, as the encoding asks for.
fn read(framed: &[u8]) -> Option<HealthStatus> {
    let (head, mut message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_number(&mut message)?;
        let skipped = match tag & 7 {
            0 => {
                let number = take_number(&mut message)?;
                if tag >> 3 == 1 {
                    status = number;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_number(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(HealthStatus::of_number(status))
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_messages_are_those_of_the_protocol() {
        assert_eq!(&written("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&written("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = written(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
        for (message, status) in [
            (vec![], Some(HealthStatus::Unknown)),
            (vec![8, 1], Some(HealthStatus::Serving)),
            (vec![8, 2], Some(HealthStatus::NotServing)),
            (vec![0x12, 3, 1, 2, 3, 8, 3], Some(HealthStatus::ServiceUnknown)),
            (vec![8, 0xac, 2], Some(HealthStatus::Other(300))),
            (vec![8], None),
            (vec![0x12, 200, 1], None),
            (vec![0x0b], None),
            (vec![0xff; 11], None),
        ] {
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            framed.extend(&message);
            assert_eq!(read(&framed), status, "{message:?}");
        }
        for framed in [&[1, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1], &[0, 0, 0, 0], &[0, 0, 0, 0, 0, 8, 1]] {
            assert_eq!(read(framed), None, "compressed, cut, or more than it says: {framed:?}");
        }
    }
}
