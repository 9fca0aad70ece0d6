//! The connections of clients that are open now: who is at the other end, and what went through each.
//!
//! The accept loop writes it. There are never many more entries than connections are let in, and each goes with its
//! connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::{Counter, Gauge};
use crate::domain::Timestamp;
use crate::domain::role::Role;

/// Every open connection.
#[derive(Debug, Default)]
pub struct Connections {
    /// Ids given so far; the first is 1.
    given: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<OpenConnection>>>,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// TLS is being agreed upon.
    Handshake,
    /// Nothing is under way.
    Idle,
    /// A request comes in.
    Reading,
    /// A request is worked at.
    Handling,
    /// An answer goes out.
    Writing,
    /// It is being ended.
    Closing,
}

/// A connection as seen from outside of it.
#[derive(Debug)]
pub struct OpenConnection {
    pub id: u64,
    pub peer: SocketAddr,
    pub since: Timestamp,
    pub is_encrypted: bool,
    opened: Instant,
    /// Ends it in an orderly way, after the answers under way.
    pub close: CancellationToken,
    /// Ends it at once.
    pub cut: CancellationToken,
    /// Requests whose head was read.
    pub requests: Counter,
    /// Bytes of the socket, beneath TLS.
    pub bytes_read: Counter,
    pub bytes_written: Counter,
    /// Reads of the socket that brought bytes, and writes that it took.
    pub reads: Counter,
    pub writes: Counter,
    /// Writes that the socket did not take at once.
    pub buffered_writes: Counter,
    /// How often the socket became full, and how often it took something again.
    pub high_water: Counter,
    pub low_water: Counter,
    /// Requests between their head and the end of their answer, those of them without the beginning of an answer, and
    /// those of these whose body is awaited.
    pub in_flight: Gauge,
    pub unanswered: Gauge,
    pub awaited_bodies: Gauge,
    /// Whether a head is coming in.
    pub head_begun: AtomicBool,
    pub is_http2: AtomicBool,
    is_ready: AtomicBool,
    /// Since when it has waited for a request, in milliseconds since `opened`.
    idle_since: AtomicU64,
    principal: Mutex<Option<(Arc<str>, Option<Role>)>>,
}

impl Connections {
    /// A connection begins.
    pub fn enter(&self, peer: SocketAddr, since: Timestamp, is_encrypted: bool) -> Arc<OpenConnection> {
        let id = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(OpenConnection::new(id, peer, since, is_encrypted));
        self.open().insert(id, connection.clone());
        connection
    }

    /// A connection is over.
    pub fn leave(&self, id: u64) {
        self.open().remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<OpenConnection>> {
        self.open().get(&id).cloned()
    }

    /// In the order in which they were opened.
    pub fn list(&self) -> Vec<Arc<OpenConnection>> {
        self.open().values().cloned().collect()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<OpenConnection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    fn new(id: u64, peer: SocketAddr, since: Timestamp, is_encrypted: bool) -> Self {
        Self {
            id,
            peer,
            since,
            is_encrypted,
            opened: Instant::now(),
            close: CancellationToken::new(),
            cut: CancellationToken::new(),
            requests: Counter::default(),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            buffered_writes: Counter::default(),
            high_water: Counter::default(),
            low_water: Counter::default(),
            in_flight: Gauge::default(),
            unanswered: Gauge::default(),
            awaited_bodies: Gauge::default(),
            head_begun: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            principal: Mutex::default(),
        }
    }

    /// Milliseconds since it was opened.
    pub fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The handshake is done.
    pub fn is_ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
        self.is_idle();
    }

    /// From now on the next request is awaited.
    pub fn is_idle(&self) {
        self.idle_since.store(self.age(), Ordering::Relaxed);
    }

    /// How long nothing has been under way, in milliseconds; `None` while something is.
    pub fn idle_for(&self) -> Option<u64> {
        let is_idle = self.in_flight.get() == 0;
        is_idle.then(|| self.age().saturating_sub(self.idle_since.load(Ordering::Relaxed)))
    }

    /// How long the client has been waited for: since the last answer, or since the beginning.
    pub fn idle_time(&self) -> Duration {
        Duration::from_millis(self.idle_for().unwrap_or(0))
    }

    pub fn state(&self) -> State {
        if self.in_flight.get() > 0 {
            return if self.unanswered.get() == 0 {
                State::Writing
            } else if self.awaited_bodies.get() > 0 {
                State::Reading
            } else {
                State::Handling
            };
        }
        if self.cut.is_cancelled() || self.close.is_cancelled() {
            State::Closing
        } else if !self.is_ready.load(Ordering::Relaxed) {
            State::Handshake
        } else if self.head_begun.load(Ordering::Relaxed) && !self.is_http2.load(Ordering::Relaxed) {
            State::Reading
        } else {
            State::Idle
        }
    }

    pub fn client(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// Who made the newest request, as the logs call them, and the role they had, strangers none; `None` before the
    /// first.
    pub fn principal(&self) -> Option<(Arc<str>, Option<Role>)> {
        self.principal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_principal(&self, name: &str, role: Option<Role>) {
        let mut known = self.principal.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_mut() {
            Some((before, its_role)) if **before == *name => *its_role = role,
            _ => *known = Some((name.into(), role)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_what_goes_on() {
        let connections = Connections::default();
        let since = "2026-03-01T12:00:00Z".parse().unwrap();
        let connection = connections.enter("[::ffff:192.0.2.1]:80".parse().unwrap(), since, true);
        assert_eq!((connection.id, connection.client().to_string().as_str()), (1, "192.0.2.1"));
        assert_eq!(connection.state(), State::Handshake);
        connection.is_ready();
        assert_eq!(connection.state(), State::Idle);
        connection.head_begun.store(true, Ordering::Relaxed);
        assert_eq!(connection.state(), State::Reading);
        connection.head_begun.store(false, Ordering::Relaxed);
        connection.in_flight.add(1);
        connection.unanswered.add(1);
        assert_eq!((connection.state(), connection.idle_for()), (State::Handling, None));
        connection.awaited_bodies.add(1);
        assert_eq!(connection.state(), State::Reading);
        connection.awaited_bodies.add(-1);
        connection.unanswered.add(-1);
        connection.close.cancel();
        assert_eq!(connection.state(), State::Writing);
        connection.in_flight.add(-1);
        assert_eq!(connection.state(), State::Closing);
        connections.leave(connection.id);
        assert!(connections.list().is_empty() && connections.get(1).is_none());
        assert_eq!(connections.enter(connection.peer, since, false).id, 2, "an id is never given again");
    }
}
