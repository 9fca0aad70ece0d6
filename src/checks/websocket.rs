//! The check of a `ws` or `wss` endpoint: the upgrade, and what is said once it is made.
//!
//! Without compression, which only ever makes a few bytes into many.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::Dialler;
use super::exchange::{MAX_RECEIVED, QUIET};
use super::failure::{self, shown};
use super::kinds::Attempt;
use super::trace::Phase;
use crate::domain::check::{CHECK_HEADER, Exchange};
use crate::domain::outcome::{Failure, FailureKind};

/// How long we take to say goodbye; what was to be seen has been seen.
const GOODBYE: Duration = Duration::from_millis(200);

pub(super) async fn examine(dialler: &Dialler, exchange: &Exchange, on: &mut Attempt<'_>) -> Result<(), Failure> {
    let request = request(on)?;
    let port = on.spec.url.port_or_known_default().unwrap_or_default();
    let connected = dialler.dial(on.host(), port, &on.route(), &on.trace).await?;
    if !on.spec.is_encrypted() {
        on.trace.enter(Phase::FirstByte);
        return open(connected.stream, request, exchange, on).await;
    }
    let trace = Arc::clone(&on.trace);
    let secured = dialler.secure(connected.stream, on.host(), &on.spec.tls, &["http/1.1"], &trace).await?;
    open(secured.stream, request, exchange, on).await
}

/// With the headers of the endpoint; those of the upgrade itself are not its to set.
fn request(on: &Attempt<'_>) -> Result<Request<()>, Failure> {
    let unsendable = |what: &str| Failure::new(FailureKind::Protocol, format!("The request has {what}"));
    let mut url = on.spec.url.clone();
    url.set_fragment(None);
    let mut request = url.as_str().into_client_request().map_err(|_| unsendable("a URL that cannot be sent"))?;
    let headers = request.headers_mut();
    let agent = HeaderValue::from_str(&on.spec.user_agent).map_err(|_| unsendable("an invalid user agent"))?;
    headers.insert(http::header::USER_AGENT, agent);
    for (name, value) in &on.spec.headers {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.map_err(|_| unsendable("a header with an invalid name"))?;
        let is_upgrade =
            matches!(header.as_str(), "connection" | "upgrade" | "sec-websocket-key" | "sec-websocket-version");
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| unsendable(&format!("an invalid value in its header {name}")))?;
        if !is_upgrade {
            headers.insert(header, value);
        }
    }
    // Whatever the settings say.
    headers.insert(CHECK_HEADER, HeaderValue::from_static("1"));
    Ok(request)
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<()>,
    exchange: &Exchange,
    on: &mut Attempt<'_>,
) -> Result<(), Failure> {
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_RECEIVED))
        .max_frame_size(Some(MAX_RECEIVED));
    let (mut socket, answer) = match client_async_with_config(request, stream, Some(config)).await {
        Ok(opened) => opened,
        Err(error) => return Err(refused(&error, on)),
    };
    on.seen.status_code = Some(answer.status().as_u16());
    let ended = talk(&mut socket, exchange, on).await;
    // Whether it is heard changes nothing.
    drop(timeout(GOODBYE, socket.close(None)).await);
    ended
}

/// Why there was no upgrade.
fn refused(error: &Error, on: &mut Attempt<'_>) -> Failure {
    let peer = on.trace.peer();
    match error {
        Error::Http(answer) => {
            let status = answer.status().as_u16();
            on.seen.status_code = Some(status);
            let message = format!("{peer} answered {status} to the WebSocket upgrade, expected 101");
            Failure::new(FailureKind::WebsocketRejected, message)
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed | Error::Io(_) => {
            let message = format!("Connection closed by {peer} before it answered the WebSocket upgrade");
            Failure::new(FailureKind::ConnectionClosed, message)
        }
        Error::Protocol(ProtocolError::HttparseError(_)) => not_spoken(&peer, error),
        // What came is in HTTP, but does not agree to the upgrade as RFC 6455 asks for.
        Error::Protocol(why) => {
            let message = format!("{peer} did not make the WebSocket upgrade: {}", shown(&why.to_string()));
            Failure::new(FailureKind::WebsocketRejected, message)
        }
        other => not_spoken(&peer, other),
    }
}

fn not_spoken(peer: &str, error: &Error) -> Failure {
    let message = format!("{peer} did not answer in valid WebSocket: {}", failure::shown(&error.to_string()));
    Failure::new(FailureKind::Protocol, message)
}

/// What is received are the texts of the messages, one on a line.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    exchange: &Exchange,
    on: &mut Attempt<'_>,
) -> Result<(), Failure> {
    let peer = on.trace.peer();
    let closed = |when: &str| Failure::new(FailureKind::ConnectionClosed, format!("WebSocket closed by {peer} {when}"));
    if let Some(text) = &exchange.send {
        socket.send(Message::text(text.as_str())).await.map_err(|_| closed("before it had taken what was sent"))?;
    }
    on.received();
    let expected = exchange.expect.as_ref();
    let listens = expected.is_none() && on.is_listened_to();
    if expected.is_none() && !listens {
        return Ok(());
    }
    on.silent_since = listens.then(Instant::now);
    loop {
        let pause = if listens && on.received().has_messages() { QUIET } else { Duration::MAX };
        // Of one that is quiet all is read that conditions look at.
        let Ok(message) = timeout(pause, socket.next()).await else { return Ok(()) };
        let message = match message {
            Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
            Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
            Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) | None => {
                break;
            }
            Some(Err(Error::Capacity(_))) => {
                on.received().is_cut = true;
                break;
            }
            Some(Err(error)) => return Err(not_spoken(&peer, &error)),
            // Pings are answered by the library. Many of them that are at hand must not hold the thread.
            Some(Ok(_)) => {
                tokio::task::consume_budget().await;
                continue;
            }
        };
        on.trace.enter(Phase::Transfer);
        tokio::task::consume_budget().await;
        let received = on.received();
        let room = MAX_RECEIVED.saturating_sub(received.bytes.len() + 1);
        received.is_cut = message.len() > room || room == 0;
        received.push_message(&message[..message.len().min(room)]);
        // Each message by itself: all of them would be looked at again with each of many.
        if expected.is_some_and(|expected| expected.is_met(&message)) || received.is_cut {
            return Ok(());
        }
        if listens {
            on.silent_since = Some(Instant::now());
        }
    }
    let received = on.received();
    if received.bytes.is_empty() && !received.is_cut && !listens { Err(closed("before it answered")) } else { Ok(()) }
}
