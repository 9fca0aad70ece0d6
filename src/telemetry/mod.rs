//! What the monitor says of itself: log lines, counters, statistics.

pub mod histograms;
mod lines;
mod log_file;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod queries;
