//! What clients may cost: how many connections there may be of whom, and how long they may keep the monitor waiting.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{MaxConnections, RunningSettings};

/// Connections at once; fewer where few files may be open. When they are all in use the one that has been idle
/// longest makes room; when none is idle the new one is closed at once, so that its client knows.
const CONNECTIONS: usize = 1_024;

/// One in so many of the file descriptors may be a connection: three quarters are for checks.
const DESCRIPTORS_SHARE: usize = 8;

/// The least number of connections, however few files may be open.
const FEWEST_CONNECTIONS: usize = 16;

/// Connections of one client (an IPv4 address, an IPv6 /64), loopback and trusted proxies excepted.
const PER_CLIENT: usize = 256;

/// Of `CONNECTIONS` one in so many is kept for this machine: health checks get through whatever others do.
const LOCAL_SHARE: usize = 16;

/// However many connections the settings allow, one in so many of the file descriptors is the most: checks need theirs.
const MOST_SHARE: usize = 2;

fn kept_for_local(connections: usize) -> usize {
    connections / LOCAL_SHARE
}

fn per_client(connections: usize) -> usize {
    PER_CLIENT.min(connections / 2)
}

/// What clients may cost.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Unless the settings say another number.
    pub connections: usize,
    /// The most that the settings may say.
    pub most_connections: usize,
    /// Of `connections`, those that only this machine may use.
    pub kept_for_local: usize,
    pub per_client: usize,
    pub handshake: Duration,
    /// From the first byte of a request, on a new connection from its beginning, to the end of the head.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// The whole body of a request.
    pub body: Duration,
    /// How long a client may take nothing of its answer.
    pub stalled: Duration,
    /// How long requests under way may take once the stop has begun.
    pub grace: Duration,
}

/// How many connections there may be at once, of them for this machine only, and of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) connections: usize,
    pub(super) kept_for_local: usize,
    pub(super) per_client: usize,
}

impl ServeLimits {
    /// Those that suit a process with so many file descriptors.
    pub fn fitting(descriptors: usize, grace: Duration) -> Self {
        let connections = (descriptors / DESCRIPTORS_SHARE).clamp(FEWEST_CONNECTIONS, CONNECTIONS);
        Self {
            connections,
            most_connections: (descriptors / MOST_SHARE).max(FEWEST_CONNECTIONS),
            kept_for_local: kept_for_local(connections),
            per_client: per_client(connections),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
            grace,
        }
    }

    /// What the settings make of it.
    pub(super) fn shares(&self, wanted: MaxConnections) -> Shares {
        match wanted {
            MaxConnections::Auto => Shares {
                connections: self.connections,
                kept_for_local: self.kept_for_local,
                per_client: self.per_client,
            },
            MaxConnections::Fixed(wanted) => {
                let connections = (wanted as usize).min(self.most_connections);
                Shares { connections, kept_for_local: kept_for_local(connections), per_client: per_client(connections) }
            }
        }
    }

    /// How often connections are looked through.
    pub(super) fn sweep_every(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.stalled);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// How many connections there may be, for handlers of which some hold theirs for long.
#[derive(Debug, Clone)]
pub struct MostConnections {
    limits: Arc<ServeLimits>,
    running: Arc<RunningSettings>,
}

impl MostConnections {
    pub(super) fn new(limits: &ServeLimits, running: &Arc<RunningSettings>) -> Self {
        Self { limits: Arc::new(limits.clone()), running: running.clone() }
    }

    /// As it is now: the settings may change while an answer goes on.
    pub fn get(&self) -> usize {
        self.limits.shares(self.running.get().max_connections).connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_make_few_connections() {
        let fitting = |descriptors| {
            let limits = ServeLimits::fitting(descriptors, Duration::ZERO);
            (limits.connections, limits.kept_for_local, limits.per_client)
        };
        assert_eq!(fitting(65_536), (1_024, 64, 256));
        assert_eq!(fitting(1_024), (128, 8, 64));
        assert_eq!(fitting(64), (16, 1, 8));
    }
}
