//! One connection: what it has done, how long it has waited for its client, and when that is too long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::ServeLimits;
use crate::telemetry::connections::OpenConnection;

/// A client that reads at least so many bytes a millisecond is never too slow.
const SLOWEST_READER: u64 = 4;

/// What a client may go on sending after the answer that refused its request, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1_048_576;

/// A connection as seen from outside of its task. Times are milliseconds since it was opened.
#[derive(Debug)]
pub(super) struct Connection {
    /// What clients may see of it.
    pub(super) shown: Arc<OpenConnection>,
    /// Since when a head has been coming in, and 1; 0: none is.
    head_since: AtomicU64,
    /// Whether the body of the last request was left unread.
    pub(super) left_unread: AtomicBool,
    /// Since when the socket takes nothing more, and 1; 0: it does.
    blocked_since: AtomicU64,
    /// Time it has taken nothing, less what was made good by reading.
    blocked: AtomicU64,
    /// Answers whose next piece nobody asks for, by request, and since when.
    unasked: Mutex<HashMap<u64, u64>>,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Head,
    Idle,
    Stalled,
}

impl Connection {
    pub(super) fn new(shown: Arc<OpenConnection>) -> Self {
        Self {
            shown,
            head_since: AtomicU64::new(0),
            left_unread: AtomicBool::new(false),
            blocked_since: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            unasked: Mutex::default(),
        }
    }

    pub(super) fn age(&self) -> u64 {
        self.shown.age()
    }

    /// The handshake is done: from now on a request is awaited.
    pub(super) fn ready(&self) {
        self.set_head_since(0);
        self.shown.is_ready();
    }

    fn set_head_since(&self, since: u64) {
        self.head_since.store(since, Ordering::Relaxed);
        self.shown.head_begun.store(since > 0, Ordering::Relaxed);
    }

    /// How long it has done nothing; `None` while a request is under way.
    pub(super) fn idle_for(&self) -> Option<u64> {
        self.shown.idle_for()
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> InFlight {
        let shown = &self.shown;
        shown.is_http2.store(is_http2, Ordering::Relaxed);
        shown.in_flight.add(1);
        shown.unanswered.add(1);
        self.set_head_since(0);
        // Requests begin one after the other, in the task of their connection.
        let id = shown.requests.get();
        shown.requests.add(1);
        InFlight { connection: self.clone(), id, is_answered: false }
    }

    pub(super) fn overdue(&self, limits: &ServeLimits) -> Option<Overdue> {
        let now = self.age();
        let since = |at: u64| Duration::from_millis(now.saturating_sub(at));
        let blocked = match self.blocked_since.load(Ordering::Relaxed) {
            0 => 0,
            at => self.blocked.load(Ordering::Relaxed) + now.saturating_sub(at - 1),
        };
        let longest_unasked = {
            let unasked = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
            unasked.values().map(|at| now.saturating_sub(*at)).max().unwrap_or(0)
        };
        if Duration::from_millis(blocked.max(longest_unasked)) > limits.stalled {
            return Some(Overdue::Stalled);
        }
        let idle = Duration::from_millis(self.idle_for()?);
        if self.shown.requests.get() == 0 {
            return (idle > limits.head).then_some(Overdue::Head);
        }
        let head = self.head_since.load(Ordering::Relaxed);
        // Between requests of HTTP/2 there is more than heads: pings and settings.
        if head > 0 && !self.shown.is_http2.load(Ordering::Relaxed) && since(head - 1) > limits.head {
            return Some(Overdue::Head);
        }
        (idle > limits.idle).then_some(Overdue::Idle)
    }

    fn received(&self, bytes: usize) {
        let shown = &self.shown;
        if bytes > 0 {
            shown.reads.add(1);
            shown.bytes_read.add(bytes as u64);
        }
        if shown.in_flight.get() == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.set_head_since(self.age() + 1);
        }
    }

    fn sent(&self, result: &Poll<std::io::Result<usize>>) {
        match result {
            Poll::Pending => {
                self.shown.buffered_writes.add(1);
                if self.blocked_since.load(Ordering::Relaxed) == 0 {
                    self.shown.high_water.add(1);
                    self.blocked_since.store(self.age() + 1, Ordering::Relaxed);
                }
            }
            Poll::Ready(Ok(bytes)) => {
                let bytes = *bytes as u64;
                self.shown.writes.add(1);
                self.shown.bytes_written.add(bytes);
                let mut blocked = self.blocked.load(Ordering::Relaxed);
                let since = self.blocked_since.swap(0, Ordering::Relaxed);
                if since > 0 {
                    self.shown.low_water.add(1);
                    blocked += self.age().saturating_sub(since - 1);
                }
                self.blocked.store(blocked.saturating_sub(bytes / SLOWEST_READER), Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// A request under way. Over when dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    connection: Arc<Connection>,
    id: u64,
    is_answered: bool,
}

impl InFlight {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The head of the answer is there.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.connection.shown.unanswered.add(-1);
        }
    }

    /// A piece of the answer is there and the client is to take it; it has been `waited` for before.
    pub(super) fn offer(&self, waited: u64) {
        let since = self.connection.age().saturating_sub(waited);
        self.connection.unasked.lock().unwrap_or_else(PoisonError::into_inner).insert(self.id, since);
    }

    /// The next piece is asked for. Gives how long the client has been waited for in all.
    pub(super) fn asked(&self) -> u64 {
        let since = self.connection.unasked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        since.map_or(0, |since| self.connection.age().saturating_sub(since))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered();
        self.connection.unasked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.connection.shown.is_idle();
        self.connection.shown.in_flight.add(-1);
    }
}

/// Time made good by so many bytes.
pub(super) fn made_good(waited: u64, bytes: usize) -> u64 {
    waited.saturating_sub(bytes as u64 / SLOWEST_READER)
}

/// The socket, beneath TLS.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// Since the end of the answer, while what the client still sends is thrown away.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, lingering: None }
    }

    /// Until the client has ended too, or has gone on for too long. A socket that is closed with something unread
    /// resets the connection, and the client may lose the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (patience, read) = self.lingering.get_or_insert_with(|| (Box::pin(tokio::time::sleep(LINGER)), 0));
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut thrown_away = [0; 16 * 1024];
        // A few at a time, so that other tasks have their turn.
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() && *read < LINGER_BYTES => *read += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.connection.received(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.connection.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.connection.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.connection.left_unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}
