//! Housekeeping: idempotent jobs without input. Each waits for a nudge and does whatever is to be done by now,
//! so that the path after a crash and the everyday path are one path.

pub mod backups;
pub mod cron;
pub mod integrity;
pub mod key_uses;
pub mod retention;
pub mod rollup;
pub mod sessions;
