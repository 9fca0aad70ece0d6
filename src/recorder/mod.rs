//! What a result causes: the only writer of results, states and hours.
//!
//! It takes results in order, advances the status of each endpoint by `domain::incident::step`, counts the open
//! hours, and commits all of it in one transaction a batch ([`batch`]); after the commit the board is told. While the
//! database is away it goes on: results wait ([`buffer`]), the board is told, and what is to be told to people is
//! handed over in memory. It makes no check and sends no message.

pub mod batch;
mod behind;
pub mod buffer;
mod doubt;
mod maintained;
pub mod outages;
mod parents;
pub mod run;
pub mod telling;
#[cfg(test)]
mod testing;
pub mod tracked;
mod trouble;

pub use run::{Recorder, RecorderParts};
