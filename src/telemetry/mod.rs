//! What the monitor says of itself: log lines and counters.

pub mod metrics;
