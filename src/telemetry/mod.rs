//! What the monitor says of itself: log lines and counters.

mod lines;
mod log_file;
pub mod logging;
pub mod metrics;
pub mod process;
