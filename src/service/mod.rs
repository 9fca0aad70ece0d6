//! The verbs of the monitor, the same for every surface.

pub mod reports;
