//! What would be told, by an imagined clock: the plan, the machine and the suppressors that the monitor itself uses, put
//! together without a database, a network or a clock. Nothing is decided here: whatever may differ from the monitor is
//! only how checks end, and when.
//!
//! [`World`] is what the recorder and the scheduler know, [`Simulation`] moves it through time.

mod clockwork;
mod grouped;
mod network;
mod outage;
mod replay;
mod said;
mod world;

pub use clockwork::{Made, Simulation};
pub use grouped::{Together, together};
pub use network::{Network, reaches_of};
pub use outage::{Outage, imagine};
pub use replay::{Comparison, Difference, Replay, Told};
pub use said::{Said, What};
pub use world::World;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
