//! HTTP on one connection, in the task of the attempt: nothing is spawned, so that an attempt which is dropped leaves
//! nothing behind, and a connection that is kept costs nothing while nobody uses it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bound of a message head, and so of what an HTTP/1 server may send ahead of us. Some sites send large policies.
const HTTP1_BUFFER_BYTES: usize = 128 * 1024;
/// Bound of their number, which the library would set at 100: each cookie is one.
const HTTP1_MAX_HEADERS: usize = 1_000;
/// Bound of what an HTTP/2 server may send ahead of us, and so of the memory of a check.
const HTTP2_WINDOW_BYTES: u32 = 256 * 1024;
/// Bound of a message head, decompressed.
const HTTP2_MAX_HEADER_BYTES: u32 = 64 * 1024;

/// What HTTP is spoken on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Body = Full<Bytes>;

/// A connection on which HTTP is spoken.
pub(super) struct Exchange {
    sender: Sender,
    background: Background,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Exchange {
    pub(super) async fn begin(stream: Box<dyn Stream>, is_http2: bool) -> Result<Self, hyper::Error> {
        let io = TokioIo::new(stream);
        if is_http2 {
            let tasks = Queue::default();
            let (sender, connection) = http2::Builder::new(tasks.clone())
                .initial_stream_window_size(HTTP2_WINDOW_BYTES)
                .initial_connection_window_size(HTTP2_WINDOW_BYTES)
                .max_header_list_size(HTTP2_MAX_HEADER_BYTES)
                .handshake(io)
                .await?;
            let background = Background { tasks: vec![connection.map(drop).boxed()], queue: Some(tasks) };
            Ok(Self { sender: Sender::Http2(sender), background })
        } else {
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(HTTP1_BUFFER_BYTES)
                .max_headers(HTTP1_MAX_HEADERS)
                // Obsolete, but to be understood (RFC 9112, section 5.2).
                .allow_obsolete_multiline_headers_in_responses(true)
                .handshake(io)
                .await?;
            let background = Background { tasks: vec![connection.map(drop).boxed()], queue: None };
            Ok(Self { sender: Sender::Http1(sender), background })
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends a request and waits for the headers of its answer.
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        let Self { sender, background } = self;
        match sender {
            Sender::Http1(sender) => {
                background.drive(sender.ready()).await?;
                background.drive(sender.send_request(request)).await
            }
            Sender::Http2(sender) => {
                background.drive(sender.ready()).await?;
                background.drive(sender.send_request(request)).await
            }
        }
    }

    /// Carries the connection on while `work` needs it.
    pub(super) async fn drive<F: Future>(&mut self, work: F) -> F::Output {
        self.background.drive(work).await
    }

    /// Whether another request may be sent. Notices what has come in the meantime, such as its end.
    pub(super) async fn is_open(&mut self) -> bool {
        self.background.once().await;
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Takes leave as the protocol wants it, as far as that needs no waiting.
    pub(super) async fn close(self) {
        let Self { sender, mut background } = self;
        drop(sender);
        background.once().await;
    }
}

/// The futures that carry a connection on.
struct Background {
    tasks: Vec<BoxFuture<'static, ()>>,
    queue: Option<Queue>,
}

impl Background {
    async fn drive<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            self.poll(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    async fn once(&mut self) {
        poll_fn(|cx| {
            self.poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            self.tasks.retain_mut(|task| Pin::new(task).poll(cx).is_pending());
            let Some(queue) = &self.queue else { return };
            let mut begun = queue.0.lock().unwrap_or_else(PoisonError::into_inner);
            if begun.is_empty() {
                return;
            }
            self.tasks.append(&mut begun);
        }
    }
}

/// What an HTTP/2 connection would have spawned: a future for itself, and one for each request with a body.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Queue {
    fn execute(&self, future: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(future.boxed());
    }
}
