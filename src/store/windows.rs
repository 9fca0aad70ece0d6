//! The sums that lists show, over the hours of all endpoints at once.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use super::{StoreError, rollups};
use crate::board::{Share, Windows};
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{DAY_US, HOUR_US};
use crate::domain::{Timestamp, from_micros, micros};

/// Good and counted checks of the hours that began before `until`, in the 24 hours, 7 days and 30 days before
/// it. Endpoints without an hour are not named.
pub async fn sums(db: &impl ConnectionTrait, until: Timestamp) -> Result<HashMap<EndpointId, Windows>, StoreError> {
    let day = shares(db, until, 24 * HOUR_US).await?;
    let week = shares(db, until, 7 * DAY_US).await?;
    let month = shares(db, until, 30 * DAY_US).await?;
    let share = |of: &HashMap<EndpointId, Share>, id| of.get(&id).copied().unwrap_or_default();
    Ok(month.iter().map(|(id, all)| (*id, Windows::new(until, share(&day, *id), share(&week, *id), *all))).collect())
}

async fn shares(
    db: &impl ConnectionTrait,
    until: Timestamp,
    span_us: i64,
) -> Result<HashMap<EndpointId, Share>, StoreError> {
    let sums = rollups::sums(db, from_micros(micros(until) - span_us), until).await?;
    Ok(sums.iter().map(|(id, bucket)| (*id, Share::of(bucket))).collect())
}
