//! The sums that lists show, over the hours of all endpoints at once.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use super::{StoreError, rollups};
use crate::board::{Share, Windows};
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{DAY_US, HOUR_US, hour_of};
use crate::domain::{Timestamp, from_micros, micros};

/// Good and counted checks of the hours that began before `until`, in the 24 hours, 7 days and 30 days before the
/// hour of `now`. Endpoints without an hour are not named.
pub async fn sums(
    db: &impl ConnectionTrait,
    now: Timestamp,
    until: Timestamp,
) -> Result<HashMap<EndpointId, Windows>, StoreError> {
    let back = |span_us| from_micros(micros(hour_of(now)) - span_us);
    let day = shares(db, back(24 * HOUR_US), until).await?;
    let week = shares(db, back(7 * DAY_US), until).await?;
    let month = shares(db, back(30 * DAY_US), until).await?;
    let share = |of: &HashMap<EndpointId, Share>, id| of.get(&id).copied().unwrap_or_default();
    Ok(month.iter().map(|(id, all)| (*id, Windows::new(until, share(&day, *id), share(&week, *id), *all))).collect())
}

async fn shares(
    db: &impl ConnectionTrait,
    from: Timestamp,
    until: Timestamp,
) -> Result<HashMap<EndpointId, Share>, StoreError> {
    let sums = rollups::sums(db, from, until).await?;
    Ok(sums.iter().map(|(id, bucket)| (*id, Share::of(bucket))).collect())
}
