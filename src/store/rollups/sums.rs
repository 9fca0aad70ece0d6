//! One sum an endpoint over the same span, for all endpoints at once.

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Query};
use sea_orm::ConnectionTrait;

use super::{Grain, days};
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{Bucket, DAY_US};
use crate::domain::{Timestamp, micros};
use crate::store::entities::{endpoints, rollups as table};
use crate::store::{StoreError, decode};

/// The counters that add up, in the order in which [`read`] takes them.
const SUMMED: [table::Column; 12] = [
    table::Column::Up,
    table::Column::Degraded,
    table::Column::Down,
    table::Column::Missed,
    table::Column::Maintenance,
    table::Column::Retried,
    table::Column::DnsUs,
    table::Column::ConnectUs,
    table::Column::TlsUs,
    table::Column::FirstByteUs,
    table::Column::TransferUs,
    table::Column::TotalUs,
];

/// The stored hours that start in `[from, to)` summed by endpoint; endpoints without any are left out. The hours
/// that are open are not among them.
pub async fn sums(
    db: &impl ConnectionTrait,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<EndpointId, Bucket>, StoreError> {
    let (from, to) = (micros(from), micros(to));
    let first_day = (from + DAY_US - 1).div_euclid(DAY_US) * DAY_US;
    let last_day = to.div_euclid(DAY_US) * DAY_US;
    let mut sums = BTreeMap::new();
    if first_day >= last_day {
        add(db, &mut sums, Grain::Hour, from..to, false).await?;
        return Ok(sums);
    }
    add(db, &mut sums, Grain::Hour, from..first_day, false).await?;
    add(db, &mut sums, Grain::Day, first_day..last_day, false).await?;
    add(db, &mut sums, Grain::Hour, first_day..last_day, true).await?;
    add(db, &mut sums, Grain::Hour, last_day..to, false).await?;
    Ok(sums)
}

/// Adds the rollups that start in a span; with `open_days` only those of days that have no day row yet.
async fn add(
    db: &impl ConnectionTrait,
    sums: &mut BTreeMap<EndpointId, Bucket>,
    grain: Grain,
    starts: Range<i64>,
    open_days: bool,
) -> Result<(), StoreError> {
    if starts.is_empty() {
        return Ok(());
    }
    let counted = Alias::new("counted");
    let col = |column: table::Column| Expr::col((counted.clone(), column));
    // The shortest and longest latency mean nothing in a row without a good check.
    let where_good = |column| {
        let good = col(table::Column::Up).add(col(table::Column::Degraded)).gt(0);
        Expr::Case(Box::new(CaseStatement::new().case(good, col(column))))
    };
    let mut query = Query::select();
    query.column((endpoints::Entity, endpoints::Column::Id));
    for column in SUMMED {
        // A sum of integers is wider than its terms on some databases.
        query.expr(col(column).sum().cast_as("BIGINT"));
    }
    query
        .expr(where_good(table::Column::MinUs).min())
        .expr(where_good(table::Column::MaxUs).max())
        .from(endpoints::Entity)
        .inner_join(
            sea_orm::sea_query::TableRef::from(table::Entity).alias(counted.clone()),
            col(table::Column::EndpointId).equals((endpoints::Entity, endpoints::Column::Id)),
        )
        .and_where(col(table::Column::Period).eq(grain.as_str()))
        .and_where(col(table::Column::StartAt).gte(starts.start))
        .and_where(col(table::Column::StartAt).lt(starts.end))
        .group_by_col((endpoints::Entity, endpoints::Column::Id));
    if open_days {
        let closed = days::closed_until((endpoints::Entity, endpoints::Column::Id));
        query.and_where(col(table::Column::StartAt).gte(closed));
    }
    for row in db.query_all(&query).await? {
        let id: i64 = row.try_get_by_index(0)?;
        sums.entry(EndpointId(id)).or_default().merge(&read(&row)?);
    }
    Ok(())
}

fn read(row: &sea_orm::QueryResult) -> Result<Bucket, StoreError> {
    let mut counts = [0_u64; SUMMED.len()];
    for (index, count) in counts.iter_mut().enumerate() {
        *count = decode::number(row.try_get_by_index(index + 1)?, "a sum of rollups")?;
    }
    let extreme = |index: usize| -> Result<u32, StoreError> {
        let value: Option<i64> = row.try_get_by_index(SUMMED.len() + index)?;
        Ok(decode::optional(value, "a latency of rollups")?.unwrap_or(0))
    };
    let [up, degraded, down, missed, maintenance, retried, dns_us, connect_us, tls_us, first_byte_us, transfer_us, total_us] =
        counts;
    Ok(Bucket {
        up,
        degraded,
        down,
        missed,
        maintenance,
        retried,
        dns_us,
        connect_us,
        tls_us,
        first_byte_us,
        transfer_us,
        total_us,
        min_us: extreme(1)?,
        max_us: extreme(2)?,
    })
}
