//! The bodies of requests and answers on their way through a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Sleep;

use super::connection::{Connection, InFlight, made_good};

/// The longest piece of an answer handed out at once: what a client takes of a long answer can be told only by the
/// pieces that it asks for.
const PIECE: usize = 16 * 1024;

/// The body took too long to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body did not arrive within {0:?}")]
pub struct BodyTooSlow(pub Duration);

/// The body of a request, which has a time within which it must be there.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Incoming,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Whether the next piece is asked for and not there.
    awaited: bool,
    connection: Arc<Connection>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limit: Duration, connection: Arc<Connection>) -> Self {
        let ended = incoming.is_end_stream();
        connection.left_unread.store(!ended, Ordering::Relaxed);
        Self { incoming, limit, deadline: None, ended, awaited: false, connection }
    }

    fn set_awaited(&mut self, awaited: bool) {
        if std::mem::replace(&mut self.awaited, awaited) != awaited {
            self.connection.shown.awaited_bodies.add(if awaited { 1 } else { -1 });
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.set_awaited(false);
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            if frame.is_none() || this.incoming.is_end_stream() {
                this.ended = true;
                this.connection.left_unread.store(false, Ordering::Relaxed);
            }
            this.set_awaited(false);
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        this.set_awaited(true);
        let limit = this.limit;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(BodyTooSlow(limit)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of an answer: handed out in pieces, with an eye on the client that takes them.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Body,
    rest: Bytes,
    waited: u64,
    request: InFlight,
}

impl ResponseBody {
    pub(super) fn new(body: Body, mut request: InFlight) -> Self {
        request.answered();
        // A client that opens no window is never asked for anything.
        if !body.is_end_stream() {
            request.offer(0);
        }
        Self { body, rest: Bytes::new(), waited: 0, request }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.waited = this.waited.max(this.request.asked());
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        if !this.is_end_stream() {
            this.waited = made_good(this.waited, piece.len());
            this.request.offer(this.waited);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
