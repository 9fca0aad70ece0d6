//! Who depends on whom, and what that means: an endpoint whose parent is down is not told of, one whose parent is in
//! maintenance is in maintenance too.
//!
//! A parent counts as down when its status is down or its newest check or attempt failed, confirmed or not. A group as
//! a parent is down when all of its endpoints are; every other selector makes each endpoint that it means a parent. An
//! endpoint is never its own parent. Everything is linear in what is written and in what it means: ten thousand
//! endpoints that all depend on one group are ten thousand edges and the members of the group.

mod graph;
mod maintenance;
mod parents;
mod standing;

pub use self::graph::{Cycle, Graph, Member};
pub use self::maintenance::{Inherited, InheritedHolds, inherited, maintenance_of_parents};
pub use self::parents::{Examined, Parents, Wait, is_untold};
pub use self::standing::{DownParent, Standing, Standings, ToAsk, standing};

/// The most selectors of one endpoint.
pub const MOST_SELECTORS: usize = 50;

#[cfg(test)]
mod tests;
