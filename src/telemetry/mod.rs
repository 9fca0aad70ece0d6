//! What the monitor says of itself: log lines, counters, statistics.

pub mod collections;
pub mod connections;
pub mod histograms;
pub mod jobs;
mod lines;
mod log_file;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod queries;
