//! What would be told, by an imagined clock: the plan, the machine and the suppressors that the monitor itself uses, put
//! together without a database, a network or a clock. Nothing is decided here: whatever may differ from the monitor is
//! only how checks end, and when.
//!
//! [`World`] is what the recorder and the scheduler know, [`Simulation`] moves it through time.

mod clockwork;
mod outage;
mod replay;
mod world;

pub use clockwork::{Made, Simulation};
pub use outage::{Outage, imagine};
pub use replay::{Comparison, Difference, Replay, Told};
pub use world::{Said, What, World};

#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
