//! Whether the monitor itself is well.

use std::time::Duration;

use super::context::ServiceContext;

/// How long a loop may be silent before it counts as dead.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(10);

/// How long the database has to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The vital parts, as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub database: bool,
    pub scheduler: bool,
    pub recorder: bool,
    /// Time since the process started.
    pub uptime: Duration,
}

impl Health {
    /// Checks are made and their results go on to be kept. The database may be away: results wait for it.
    pub fn is_working(&self) -> bool {
        self.scheduler && self.recorder
    }

    pub fn is_whole(&self) -> bool {
        self.is_working() && self.database
    }
}

/// Asks every vital part.
pub async fn health(ctx: &ServiceContext) -> Health {
    let database = matches!(tokio::time::timeout(PING_TIMEOUT, ctx.store.ping()).await, Ok(Ok(())));
    let now = ctx.clock.monotonic();
    Health {
        database,
        scheduler: ctx.metrics.scheduler_heartbeat.is_alive(now, HEARTBEAT_LIMIT),
        recorder: ctx.metrics.recorder_heartbeat.is_alive(now, HEARTBEAT_LIMIT),
        uptime: now.saturating_sub(ctx.started),
    }
}
