//! How many attempts may be under way: in all, and to one host and port.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::endpoint::KnownEndpoint;

/// The permits of attempts. Waiting is first come, first served.
#[derive(Debug)]
pub struct Limits {
    total: Arc<Semaphore>,
    /// How many permits `total` was given.
    size: AtomicUsize,
    per_host: usize,
    hosts: Mutex<HashMap<(String, u16), Arc<Semaphore>>>,
}

/// The right to make one attempt; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _host: Option<OwnedSemaphorePermit>,
    _total: Option<OwnedSemaphorePermit>,
}

impl Limits {
    /// `total` attempts at once, `per_host` of them to one host and port; both at least 1.
    pub fn new(total: usize, per_host: usize) -> Self {
        let total = total.max(1);
        Self {
            total: Arc::new(Semaphore::new(total)),
            size: AtomicUsize::new(total),
            per_host: per_host.max(1),
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for the right to make one attempt. The host comes first, so that attempts to a slow host never
    /// hold permits of the others while they wait for their own.
    pub async fn acquire(&self, host: &str, port: u16) -> Permit {
        let at_host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let per_host = self.per_host;
            hosts.entry((host.to_owned(), port)).or_insert_with(|| Arc::new(Semaphore::new(per_host))).clone()
        };
        // Neither semaphore is ever closed; an error would only mean an attempt without its permit.
        let host = at_host.acquire_owned().await.ok();
        let total = self.total.clone().acquire_owned().await.ok();
        Permit { _host: host, _total: total }
    }

    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Changes the total. Attempts under way keep their permits.
    pub fn resize(&self, total: usize) {
        let total = total.max(1);
        let before = self.size.swap(total, Ordering::Relaxed);
        if total > before {
            self.total.add_permits(total - before);
        } else {
            let surplus = before - total;
            let taken = self.total.forget_permits(surplus);
            // Those in use are counted as still there, and taken at the next change.
            self.size.fetch_add(surplus - taken, Ordering::Relaxed);
        }
    }

    /// Forgets hosts to which no attempt is under way.
    pub fn forget_idle_hosts(&self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
    }
}

/// The number of attempts at once that suits these endpoints: what would be under way if every attempt took its
/// whole timeout, and some more, within the file descriptors that this process may open.
pub fn fitting(endpoints: &[Arc<KnownEndpoint>], now: crate::domain::Timestamp, descriptors: usize) -> usize {
    let worst: f64 = endpoints
        .iter()
        .map(|e| {
            let interval = e.endpoint.schedule.interval(now).as_secs_f64().max(1.0);
            e.endpoint.check.timeout.as_secs_f64() / interval
        })
        .sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of ratios of at most 1")]
    let wanted = 50 + worst.ceil() as usize;
    // A share is kept for the API, the database and name look-ups.
    wanted.min((descriptors * 3 / 4).max(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_host_holds_no_permit_of_the_others() {
        let limits = Limits::new(2, 1);
        let slow = limits.acquire("slow", 80).await;
        // A second attempt to the slow host waits at its host, not holding the total's second permit.
        let mut waiting = Box::pin(limits.acquire("slow", 80));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let mut other = Box::pin(limits.acquire("other", 80));
        assert!(futures_util::poll!(other.as_mut()).is_ready());
        drop(slow);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn the_total_can_grow_and_shrink_while_in_use() {
        let limits = Limits::new(2, 10);
        let (one, two) = (limits.acquire("a", 1).await, limits.acquire("a", 1).await);
        limits.resize(1);
        assert_eq!(limits.size(), 2, "both are in use");
        limits.resize(3);
        assert_eq!(limits.size(), 3);
        let mut third = Box::pin(limits.acquire("a", 1));
        assert!(futures_util::poll!(third.as_mut()).is_ready());
        drop((one, two));
        limits.resize(1);
        assert_eq!(limits.size(), 1);
    }

    #[tokio::test]
    async fn idle_hosts_are_forgotten() {
        let limits = Limits::new(2, 1);
        let busy = limits.acquire("busy", 80).await;
        drop(limits.acquire("idle", 80).await);
        limits.forget_idle_hosts();
        assert_eq!(limits.hosts.lock().unwrap().len(), 1);
        drop(busy);
    }
}
