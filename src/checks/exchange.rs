//! The checks of `tcp` and `tls` endpoints: a connection, and what is said over it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::dial::Dialler;
use super::kinds::Attempt;
use super::trace::Phase;
use crate::domain::check::Exchange;
use crate::domain::outcome::{Failure, FailureKind};

/// What comes beyond is not read: what is expected must be within.
pub(super) const MAX_RECEIVED: usize = 64 * 1024;
/// When nothing more has come for this time, what there is is looked at.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn tcp(dialler: &Dialler, exchange: &Exchange, on: &mut Attempt<'_>) -> Result<(), Failure> {
    let port = on.spec.url.port_or_known_default().unwrap_or_default();
    let connected = dialler.dial(on.host(), port, &on.route(), &on.trace).await?;
    on.trace.enter(Phase::FirstByte);
    talk(connected.stream, exchange, on).await
}

pub(super) async fn tls(dialler: &Dialler, exchange: &Exchange, on: &mut Attempt<'_>) -> Result<(), Failure> {
    let port = on.spec.url.port_or_known_default().unwrap_or_default();
    let connected = dialler.dial(on.host(), port, &on.route(), &on.trace).await?;
    let trace = Arc::clone(&on.trace);
    let secured = dialler.secure(connected.stream, on.host(), &on.spec.tls, &[], &trace).await?;
    talk(secured.stream, exchange, on).await
}

/// Where conditions look at what the other side says and nothing else is expected of it, it has said all when nothing more
/// has come for this time.
pub(super) const QUIET: Duration = Duration::from_millis(500);

/// Sends what is to be sent and reads until what is expected has come, at most [`MAX_RECEIVED`]. The answer is in the
/// observation as far as it has come.
async fn talk<S: AsyncRead + AsyncWrite>(stream: S, exchange: &Exchange, on: &mut Attempt<'_>) -> Result<(), Failure> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    on.received();
    let send = async {
        if let Some(text) = &exchange.send {
            writer.write_all(text.as_bytes()).await?;
            writer.flush().await?;
        }
        std::io::Result::Ok(())
    };
    let Some(expected) = &exchange.expect else {
        if on.is_listened_to() {
            return listen(&mut reader, send, on).await;
        }
        return send.await.map_err(|_| closed(on, "before it had taken what was sent"));
    };
    let mut send = std::pin::pin!(send);
    let mut is_sent = false;
    let mut looked_at = 0;
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let has_more = on.received().bytes.len() > looked_at;
        let reading = async {
            // What comes byte by byte is not looked at again with each of them.
            let pause = if has_more { PAUSE } else { Duration::MAX };
            timeout(pause, reader.read(&mut buffer)).await.ok()
        };
        let read = tokio::select! {
            // Whoever has said all it will may close while something is sent to it: what it said is still read.
            _ = &mut send, if !is_sent => {
                is_sent = true;
                continue;
            }
            read = reading => read,
        };
        let mut is_over = matches!(read, Some(Ok(0) | Err(_)));
        if let Some(Ok(length @ 1..)) = read {
            on.trace.enter(Phase::Transfer);
            let received = on.received();
            let room = MAX_RECEIVED - received.bytes.len();
            received.bytes.extend(&buffer[..length.min(room)]);
            received.is_cut = received.bytes.len() == MAX_RECEIVED;
            is_over = received.is_cut;
        }
        let received = &on.received().bytes;
        let grown = received.len() - looked_at;
        if grown > 0 && (is_over || read.is_none() || grown > looked_at / 16) {
            looked_at = received.len();
            is_over |= expected.is_met(received);
        }
        if is_over && received.is_empty() {
            return Err(closed(on, "before it answered"));
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Reads what conditions look at: until the other side closes, is [`QUIET`], or has said as much as is read. What has come
/// then, or when the time is over, is the body, also if it is nothing.
async fn listen(
    reader: &mut (impl AsyncRead + Unpin),
    send: impl Future<Output = std::io::Result<()>>,
    on: &mut Attempt<'_>,
) -> Result<(), Failure> {
    send.await.map_err(|_| closed(on, "before it had taken what was sent"))?;
    on.silent_since = Some(Instant::now());
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let pause = if on.received().bytes.is_empty() { Duration::MAX } else { QUIET };
        let Ok(Ok(length @ 1..)) = timeout(pause, reader.read(&mut buffer)).await else { return Ok(()) };
        on.trace.enter(Phase::Transfer);
        on.silent_since = Some(Instant::now());
        let received = on.received();
        let room = MAX_RECEIVED - received.bytes.len();
        received.bytes.extend(&buffer[..length.min(room)]);
        received.is_cut = received.bytes.len() == MAX_RECEIVED;
        if received.is_cut {
            return Ok(());
        }
        // Many bytes that are at hand must not hold the thread.
        tokio::task::consume_budget().await;
    }
}

fn closed(on: &Attempt<'_>, when: &str) -> Failure {
    Failure::new(FailureKind::ConnectionClosed, format!("Connection closed by {} {when}", on.trace.peer()))
}
