//! When: turns schedules into checks under way, and finished checks into submissions for the recorder.
//!
//! One timing structure holds every endpoint ([`plan`](crate::domain::plan)), one loop serves it ([`run`]), a task a running check
//! carries it out ([`check`]) within the limits ([`limits`]). What is checked is read from the board; a nudge
//! says that it changed. It judges nothing and stores nothing.

pub mod limits;
mod noting;
mod pushed;
pub mod run;

mod check;

pub use run::{Scheduler, SchedulerParts};
