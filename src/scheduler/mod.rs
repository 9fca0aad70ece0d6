pub mod limits;
pub mod plan;
