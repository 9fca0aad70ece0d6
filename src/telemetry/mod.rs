//! What the monitor says of itself: log lines and counters.

pub mod logging;
pub mod metrics;
