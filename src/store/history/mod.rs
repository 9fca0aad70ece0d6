//! The single checks. Everything that reads or writes one goes through here, so their layout is nobody else's
//! concern; at present each is a row of `check_results`.
//!
//! Spans are half-open: `from` is within, `to` is not.

mod many;
mod newest;
mod row;

use std::ops::{ControlFlow, Range};

use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::entities::{check_results as table, endpoints};
use super::{StoreError, decode};
use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;
use crate::domain::outcome::OutcomeWord;
use crate::domain::{Timestamp, from_micros, micros};
pub use many::{first_of_each, for_each_of, recorded_since};
pub use newest::{Wanted, newest_with};

/// Rows in one statement. Few sizes, so that each connection keeps few prepared statements; the largest is far
/// below the bind limits and already as fast a row as any larger.
const CHUNKS: [usize; 3] = [100, 10, 1];

/// Rows read at a time when many are read.
const PAGE: u64 = 2_000;

/// Appends results and returns how many were new: a result whose endpoint and slot are there changes nothing.
pub async fn append(db: &impl ConnectionTrait, results: &[CheckResult]) -> Result<u64, StoreError> {
    let mut appended = 0;
    let mut rest = results;
    for size in CHUNKS {
        let whole = rest.len() - rest.len() % size;
        let (now, later) = rest.split_at(whole);
        for chunk in now.chunks(size) {
            appended += table::Entity::insert_many(chunk.iter().map(row::of))
                .on_conflict(
                    OnConflict::columns([table::Column::EndpointId, table::Column::ScheduledAt])
                        .do_nothing()
                        .to_owned(),
                )
                .exec_without_returning(db)
                .await?;
        }
        rest = later;
    }
    Ok(appended)
}

/// The newest result of each current endpoint that has one, by endpoint.
pub async fn last_of_each(db: &impl ConnectionTrait) -> Result<Vec<CheckResult>, StoreError> {
    // Per endpoint one step to the end of its part of the index.
    let any = Alias::new("any_result");
    let endpoint = (endpoints::Entity, endpoints::Column::Id);
    let newest = Query::select()
        .expr(Expr::col((any.clone(), table::Column::ScheduledAt)).max())
        .from_as(table::Entity, any.clone())
        .and_where(Expr::col((any, table::Column::EndpointId)).equals(endpoint))
        .to_owned();
    let mut select = table::Entity::find();
    QuerySelect::query(&mut select)
        .inner_join(
            endpoints::Entity,
            Expr::col((table::Entity, table::Column::EndpointId)).equals(endpoint).and(
                Expr::col((table::Entity, table::Column::ScheduledAt))
                    .eq(Expr::SubQuery(None, Box::new(newest.into()))),
            ),
        )
        .and_where(Expr::col((endpoints::Entity, endpoints::Column::ArchivedAt)).is_null())
        .order_by(endpoint, Order::Asc);
    select.all(db).await?.into_iter().map(row::read).collect()
}

/// The newest slot of an endpoint that was recorded.
pub async fn last_scheduled_at(db: &impl ConnectionTrait, id: EndpointId) -> Result<Option<Timestamp>, StoreError> {
    edge_of(db, id, Order::Desc).await
}

/// The oldest slot of an endpoint that is still kept.
pub async fn first_scheduled_at(db: &impl ConnectionTrait, id: EndpointId) -> Result<Option<Timestamp>, StoreError> {
    edge_of(db, id, Order::Asc).await
}

async fn edge_of(db: &impl ConnectionTrait, id: EndpointId, order: Order) -> Result<Option<Timestamp>, StoreError> {
    let at = table::Entity::find()
        .select_only()
        .column(table::Column::ScheduledAt)
        .filter(table::Column::EndpointId.eq(id.0))
        .order_by(table::Column::ScheduledAt, order)
        .into_tuple::<i64>()
        .one(db)
        .await?;
    Ok(at.map(from_micros))
}

/// Which results of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Results older than this slot: the last of the page before, instead of `offset`.
    pub before: Option<Timestamp>,
    pub offset: u64,
    pub limit: u64,
}

/// Results of an endpoint, newest first.
pub async fn page(
    db: &impl ConnectionTrait,
    id: EndpointId,
    query: HistoryQuery,
) -> Result<Vec<CheckResult>, StoreError> {
    let mut select = within(id, query.from, query.to);
    if let Some(before) = query.before {
        select = select.filter(table::Column::ScheduledAt.lt(micros(before)));
    }
    select
        .order_by(table::Column::ScheduledAt, Order::Desc)
        .offset(query.offset)
        .limit(query.limit)
        .all(db)
        .await?
        .into_iter()
        .map(row::read)
        .collect()
}

/// How many results of an endpoint are kept in a span.
pub async fn count(
    db: &impl ConnectionTrait,
    id: EndpointId,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<u64, StoreError> {
    Ok(within(id, from, to).count(db).await?)
}

/// Hands over every result of an endpoint in a span, oldest first, without holding all of them in memory.
pub async fn for_each(
    db: &impl ConnectionTrait,
    id: EndpointId,
    span: Range<Timestamp>,
    mut each: impl FnMut(&CheckResult),
) -> Result<(), StoreError> {
    for_each_until(db, id, span, |result| {
        each(result);
        ControlFlow::Continue(())
    })
    .await
}

/// As [`for_each`], until `each` breaks it off.
pub async fn for_each_until(
    db: &impl ConnectionTrait,
    id: EndpointId,
    span: Range<Timestamp>,
    mut each: impl FnMut(&CheckResult) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut from = span.start;
    while from < span.end {
        let rows = within(id, Some(from), Some(span.end))
            .order_by(table::Column::ScheduledAt, Order::Asc)
            .limit(PAGE)
            .all(db)
            .await?;
        let last_page = (rows.len() as u64) < PAGE;
        for row in rows {
            from = from_micros(row.scheduled_at + 1);
            if each(&row::read(row)?).is_break() {
                return Ok(());
            }
        }
        if last_page {
            break;
        }
    }
    Ok(())
}

/// Hands over the latency, in microseconds, of every good result of an endpoint in a span that is not in
/// maintenance: what a sketch is made of, for a fraction of the cost of whole results.
pub async fn for_each_latency(
    db: &impl ConnectionTrait,
    id: EndpointId,
    span: Range<Timestamp>,
    mut each: impl FnMut(u32),
) -> Result<(), StoreError> {
    let mut from = span.start;
    while from < span.end {
        let rows = within(id, Some(from), Some(span.end))
            .select_only()
            .columns([table::Column::ScheduledAt, table::Column::TotalUs])
            .filter(table::Column::Outcome.is_in([OutcomeWord::Up.as_str(), OutcomeWord::Degraded.as_str()]))
            .filter(table::Column::InMaintenance.eq(false))
            .order_by(table::Column::ScheduledAt, Order::Asc)
            .limit(PAGE)
            .into_tuple::<(i64, i64)>()
            .all(db)
            .await?;
        let last_page = (rows.len() as u64) < PAGE;
        for (scheduled_at, total_us) in rows {
            from = from_micros(scheduled_at + 1);
            each(decode::number(total_us, "check_results.total_us")?);
        }
        if last_page {
            break;
        }
    }
    Ok(())
}

/// A check that failed outside maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    pub scheduled_at: Timestamp,
    pub message: String,
}

/// How late after its slot a check may begin and still be found by when it began.
const LATEST_START: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// The failed checks of an endpoint that *began* in a span, oldest first, the first `limit` of them.
pub async fn failed(
    db: &impl ConnectionTrait,
    id: EndpointId,
    began: Range<Timestamp>,
    limit: u64,
) -> Result<Vec<FailedCheck>, StoreError> {
    let earliest_slot = began.start.checked_sub_signed(LATEST_START).unwrap_or(began.start);
    let rows = within(id, Some(earliest_slot), Some(began.end))
        .select_only()
        .columns([table::Column::ScheduledAt, table::Column::FailureMessage])
        .filter(table::Column::Outcome.eq(OutcomeWord::Down.as_str()))
        .filter(table::Column::InMaintenance.eq(false))
        .filter(table::Column::StartedAt.gte(micros(began.start)))
        .filter(table::Column::StartedAt.lt(micros(began.end)))
        .order_by(table::Column::ScheduledAt, Order::Asc)
        .limit(limit)
        .into_tuple::<(i64, Option<String>)>()
        .all(db)
        .await?;
    let read = |(at, message): (i64, Option<String>)| FailedCheck {
        scheduled_at: from_micros(at),
        message: message.unwrap_or_default(),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Removes results from before `cutoff`, at most `batch` of them; returns how many, 0 when none is left.
pub async fn delete_before(db: &impl ConnectionTrait, cutoff: Timestamp, batch: u64) -> Result<u64, StoreError> {
    // By endpoint, so that the index of their identity finds the old ones: there is none by time alone.
    let every_endpoint = Query::select().column(endpoints::Column::Id).from(endpoints::Entity).to_owned();
    let old = Query::select()
        .column(table::Column::Position)
        .from(table::Entity)
        .and_where(Expr::col(table::Column::EndpointId).in_subquery(every_endpoint))
        .and_where(Expr::col(table::Column::ScheduledAt).lt(micros(cutoff)))
        .limit(batch)
        .to_owned();
    let deleted = table::Entity::delete_many().filter(table::Column::Position.in_subquery(old)).exec(db).await?;
    Ok(deleted.rows_affected)
}

fn within(id: EndpointId, from: Option<Timestamp>, to: Option<Timestamp>) -> Select<table::Entity> {
    let mut select = table::Entity::find().filter(table::Column::EndpointId.eq(id.0));
    if let Some(from) = from {
        select = select.filter(table::Column::ScheduledAt.gte(micros(from)));
    }
    if let Some(to) = to {
        select = select.filter(table::Column::ScheduledAt.lt(micros(to)));
    }
    select
}
