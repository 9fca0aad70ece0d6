//! What a result causes: the only writer of results, states and hours.
//!
//! It takes results in order, advances the status of each endpoint by `domain::incident::step`, counts the open
//! hours, and commits all of it in one transaction a batch ([`batch`]); after the commit the board is told. It
//! makes no check and sends no message.

pub mod batch;
pub mod grace;
pub mod run;
pub mod telling;
pub mod tracked;

pub use run::{Recorder, RecorderParts};
