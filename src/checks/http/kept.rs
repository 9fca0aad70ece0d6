//! Connections that are kept for the next check (`reuse_connection`).
//!
//! What a new visitor would meet must still be noticed. So a connection serves for [`KEPT_FOR`] at most, counted from when
//! it was made: what has happened to the port since is noticed by then. Its name is looked up for every check, and must
//! still lead to it; a certificate that has expired since ends it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;

use super::exchange::Exchange;
use crate::domain::dial::{DialPolicy, HttpVersion, Proxy, TlsPolicy, TlsSeen};
use crate::domain::endpoint::Origin;

/// For how long a connection serves. A port that is closed under it is noticed within this time and an interval.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(30);
/// As many connections are kept in all; a further one is closed when its check ends.
const MAX_KEPT: usize = 1_000;
/// Those whose time is over are closed this often, when a check is made.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Checks that ask for the same may use each other's connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) is_https: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) origin: Origin,
    pub(super) dial: DialPolicy,
    pub(super) tls: TlsPolicy,
    pub(super) proxy: Option<Proxy>,
    pub(super) version: HttpVersion,
}

/// What was seen when a connection was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) at: Instant,
    pub(super) peer: SocketAddr,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) tls: Option<TlsSeen>,
    /// When the first of its certificates expires, in seconds since 1970; `None` where that is not asked.
    pub(super) expires: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) exchange: Exchange,
    pub(super) made: Made,
}

impl Kept {
    fn is_of_use(&self, now: Instant) -> bool {
        // By the clock that the handshake went by.
        now.saturating_duration_since(self.made.at) < KEPT_FOR
            && self.made.expires.is_none_or(|at| UnixTime::now().as_secs() < at)
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_place: HashMap<Place, Vec<Kept>>,
    count: usize,
    swept_at: Option<Instant>,
}

impl Pool {
    /// A connection that may be used again, if there is one; it is no longer kept.
    pub(super) fn take(&self, place: &Place) -> Option<Kept> {
        let now = Instant::now();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let kept = inner.by_place.get_mut(place)?.pop()?;
            inner.count -= 1;
            if kept.is_of_use(now) {
                return Some(kept);
            }
        }
    }

    pub(super) fn keep(&self, place: Place, kept: Kept) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.count < MAX_KEPT && kept.is_of_use(Instant::now()) {
            inner.by_place.entry(place).or_default().push(kept);
            inner.count += 1;
        }
    }

    /// Closes what has had its time.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.count == 0 || inner.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        inner.swept_at = Some(now);
        inner.by_place.retain(|_, kept| {
            kept.retain(|kept| kept.is_of_use(now));
            !kept.is_empty()
        });
        inner.count = inner.by_place.values().map(Vec::len).sum();
    }
}
