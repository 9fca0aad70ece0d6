//! What the database was asked since the start.

use std::cmp::Reverse;
use std::time::Duration;

use utoipa::ToSchema;

use super::context::ServiceContext;
pub use crate::telemetry::queries::{QueryTotals, SLOW, StatementStats};

/// By what statements are ordered, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Order {
    #[default]
    TotalTime,
    AverageTime,
    MaxTime,
    Executions,
    Failed,
    LastExecutedAt,
}

impl Order {
    pub const WORDS: &str = "total_time, average_time, max_time, executions, failed, last_executed_at";
}

impl std::str::FromStr for Order {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Ok(match word {
            "total_time" => Self::TotalTime,
            "average_time" => Self::AverageTime,
            "max_time" => Self::MaxTime,
            "executions" => Self::Executions,
            "failed" => Self::Failed,
            "last_executed_at" => Self::LastExecutedAt,
            _ => return Err(()),
        })
    }
}

/// All statements together, and each shape.
pub fn show(ctx: &ServiceContext, order: Order) -> (QueryTotals, Vec<StatementStats>) {
    let mut statements = ctx.metrics.queries.statements();
    let by = |rank: fn(&StatementStats) -> (Duration, u64)| move |s: &StatementStats| Reverse(rank(s));
    match order {
        Order::TotalTime => statements.sort_by_key(by(|s| (s.time, s.executed))),
        Order::AverageTime => statements.sort_by_key(by(|s| (s.average(), s.executed))),
        Order::MaxTime => statements.sort_by_key(by(|s| (s.longest, s.executed))),
        Order::Executions => statements.sort_by_key(by(|s| (Duration::ZERO, s.executed))),
        Order::Failed => statements.sort_by_key(by(|s| (Duration::ZERO, s.failed))),
        Order::LastExecutedAt => statements.sort_by_key(|s| Reverse(s.last)),
    }
    (ctx.metrics.queries.totals(), statements)
}
