//! What happens over time in an assembled monitor: real store, real HTTP, real recorder and scheduler.

mod away;
mod checking;
mod file;
mod grid;
pub(crate) mod harness;
mod kill;
mod restart;
pub(crate) mod target;
pub(crate) mod uptime;
