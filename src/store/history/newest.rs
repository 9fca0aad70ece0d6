//! The newest result of a sort, found without walking the history: days first, then an hour, then its rows.

use std::ops::Range;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::{first_scheduled_at, row};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::OutcomeWord;
use crate::domain::uptime::{DAY_US, HOUR_US, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::entities::{check_results as table, rollups};
use crate::store::rollups::{Grain, newest_start};
use crate::store::StoreError;

/// Sorts of results. Those in maintenance are neither good nor failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever its outcome, but not a missed slot.
    Checked,
    /// Up or degraded.
    Good,
    /// Down.
    Failed,
}

/// The newest result of a sort in `span`, among those that are kept.
pub async fn newest_with(
    db: &impl ConnectionTrait,
    id: EndpointId,
    wanted: Wanted,
    span: Range<Timestamp>,
) -> Result<Option<CheckResult>, StoreError> {
    let Some(first) = first_scheduled_at(db, id).await? else { return Ok(None) };
    let from = span.start.max(first);
    // The newest hour row may be that of an hour which went on after it was written.
    let counted_to = newest_start(db, id, Grain::Hour, span.end).await?.unwrap_or(from);
    if let Some(found) = newest_row(db, id, wanted, from.max(counted_to)..span.end).await? {
        return Ok(Some(found));
    }
    let days_to = newest_start(db, id, Grain::Day, span.end)
        .await?
        .map_or(from, |day| from_micros(micros(day) + DAY_US))
        .min(counted_to);
    if let Some(found) = in_hours(db, id, wanted, from.max(days_to)..span.end.min(counted_to)).await? {
        return Ok(Some(found));
    }
    let mut to = span.end.min(days_to);
    while let Some(day) = newest_counting(db, id, wanted, Grain::Day, day_of(from)..to).await? {
        let end = from_micros(micros(day) + DAY_US).min(to);
        if let Some(found) = in_hours(db, id, wanted, from.max(day)..end).await? {
            return Ok(Some(found));
        }
        // Only a day that the span cuts can count one which is not in the span.
        to = day;
    }
    Ok(None)
}

/// By the hour rows of a span that is wholly counted.
async fn in_hours(
    db: &impl ConnectionTrait,
    id: EndpointId,
    wanted: Wanted,
    span: Range<Timestamp>,
) -> Result<Option<CheckResult>, StoreError> {
    let mut to = span.end;
    while let Some(hour) = newest_counting(db, id, wanted, Grain::Hour, hour_of(span.start)..to).await? {
        let end = from_micros(micros(hour) + HOUR_US).min(to);
        if let Some(found) = newest_row(db, id, wanted, span.start.max(hour)..end).await? {
            return Ok(Some(found));
        }
        to = hour;
    }
    Ok(None)
}

/// The newest rollup that starts in the span and counts what is wanted.
async fn newest_counting(
    db: &impl ConnectionTrait,
    id: EndpointId,
    wanted: Wanted,
    grain: Grain,
    starts: Range<Timestamp>,
) -> Result<Option<Timestamp>, StoreError> {
    let counters: &[rollups::Column] = match wanted {
        Wanted::Checked => {
            &[rollups::Column::Up, rollups::Column::Degraded, rollups::Column::Down, rollups::Column::Maintenance]
        }
        Wanted::Good => &[rollups::Column::Up, rollups::Column::Degraded],
        Wanted::Failed => &[rollups::Column::Down],
    };
    let counting = counters.iter().fold(Condition::any(), |any, counter| any.add(counter.gt(0)));
    let start = rollups::Entity::find()
        .select_only()
        .column(rollups::Column::StartAt)
        .filter(rollups::Column::EndpointId.eq(id.0))
        .filter(rollups::Column::Period.eq(grain.as_str()))
        .filter(rollups::Column::StartAt.gte(micros(starts.start)))
        .filter(rollups::Column::StartAt.lt(micros(starts.end)))
        .filter(counting)
        .order_by(rollups::Column::StartAt, Order::Desc)
        .into_tuple::<i64>()
        .one(db)
        .await?;
    Ok(start.map(from_micros))
}

async fn newest_row(
    db: &impl ConnectionTrait,
    id: EndpointId,
    wanted: Wanted,
    span: Range<Timestamp>,
) -> Result<Option<CheckResult>, StoreError> {
    let outcome = table::Column::Outcome;
    let counts = table::Column::InMaintenance.eq(false);
    let condition = match wanted {
        Wanted::Checked => Condition::all().add(outcome.ne(OutcomeWord::Missed.as_str())),
        Wanted::Good => {
            let good = outcome.is_in([OutcomeWord::Up.as_str(), OutcomeWord::Degraded.as_str()]);
            Condition::all().add(good).add(counts)
        }
        Wanted::Failed => Condition::all().add(outcome.eq(OutcomeWord::Down.as_str())).add(counts),
    };
    table::Entity::find()
        .filter(table::Column::EndpointId.eq(id.0))
        .filter(table::Column::ScheduledAt.gte(micros(span.start)))
        .filter(table::Column::ScheduledAt.lt(micros(span.end)))
        .filter(condition)
        .order_by(table::Column::ScheduledAt, Order::Desc)
        .one(db)
        .await?
        .map(row::read)
        .transpose()
}
