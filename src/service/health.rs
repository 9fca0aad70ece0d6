//! Whether the monitor itself is well.

use std::time::Duration;

use super::context::ServiceContext;
pub use crate::connectivity::View;
use crate::domain::Timestamp;
use crate::domain::connectivity::{Moment, Network};
use crate::store::Integrity;
use crate::telemetry::metrics::Away;

/// How long a loop may be silent before it counts as dead.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(10);

/// How long the database has to answer.
const PING_TIMEOUT: Duration = Duration::from_millis(700);

/// The vital parts, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub database: bool,
    /// What is damaged in the database, if it was found to be.
    pub damage: Option<String>,
    /// Since when the database takes nothing, where the recorder has noticed.
    pub away: Option<Away>,
    pub scheduler: bool,
    pub recorder: bool,
    /// Time since the process started.
    pub uptime: Duration,
    /// When the newest backup that is known was begun, and how long ago that was.
    pub last_backup: Option<(Timestamp, Duration)>,
    /// How our own network is; `None`: nobody is asked.
    pub network: Option<View>,
}

impl Health {
    /// Checks are made and their results go on to be kept. The database may be away: results wait for it.
    pub fn is_working(&self) -> bool {
        self.scheduler && self.recorder
    }

    pub fn is_whole(&self) -> bool {
        self.is_working() && self.database
    }

    /// The targets of `connectivity` answered when they were asked last, if there are any.
    pub fn has_network(&self) -> bool {
        self.network.as_ref().is_none_or(|view| view.network == Network::Reachable)
    }
}

/// Whether the database answers at this moment.
pub async fn answers(ctx: &ServiceContext) -> bool {
    matches!(tokio::time::timeout(PING_TIMEOUT, ctx.store.ping()).await, Ok(Ok(())))
}

/// Asks every vital part.
pub async fn health(ctx: &ServiceContext) -> Health {
    // What the recorder knows is not asked again: a database that hangs would hold up the answer.
    let away = ctx.metrics.database.away();
    let database = away.is_none() && answers(ctx).await;
    let now = ctx.clock.monotonic();
    let damage = match ctx.store.integrity() {
        Integrity::Damaged(finding) => Some(finding),
        Integrity::Sound | Integrity::Doubtful => None,
    };
    let wall = ctx.clock.now();
    let last_backup = ctx.backups.last().map(|at| (at, (wall - at).to_std().unwrap_or_default()));
    Health {
        network: ctx.own_network.view(Moment { at: wall, running: now }),
        last_backup,
        database,
        damage,
        away,
        scheduler: ctx.metrics.scheduler_heartbeat.is_alive(now, HEARTBEAT_LIMIT),
        recorder: ctx.metrics.recorder_heartbeat.is_alive(now, HEARTBEAT_LIMIT),
        uptime: now.saturating_sub(ctx.started),
    }
}
