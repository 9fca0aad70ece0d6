//! The counts of many endpoints in one window, in as many statements as a few endpoints take one by one.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Kept, Retention, UptimeQuery, after, counted, hour_of, next};
use crate::domain::Timestamp;
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{Bucket, HOUR_US, OpenHour};
use crate::store::{ConnectionTrait, StoreError, history, rollups};

/// Fewer endpoints are counted one by one: what is summed in one statement is summed for all that there are.
const FEW: usize = 10;

/// Which window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowQuery {
    /// The first instant of the window.
    pub from: Timestamp,
    /// The first instant after the window.
    pub to: Timestamp,
    /// Retention counts back from here.
    pub now: Timestamp,
    pub retention: Retention,
}

impl WindowQuery {
    fn of(self, endpoint: EndpointId) -> UptimeQuery {
        let Self { from, to, now, retention } = self;
        UptimeQuery { endpoint, from, to, now, retention }
    }
}

/// Counts the checks of each endpoint in the window that is answered, as [`counted`] does. The open hours come from the
/// board as there.
pub async fn counted_of_many(
    db: &impl ConnectionTrait,
    endpoints: &[(EndpointId, Option<&OpenHour>)],
    query: WindowQuery,
) -> Result<(Range<Timestamp>, BTreeMap<EndpointId, Bucket>), StoreError> {
    let window = Kept::of(query.now, query.retention).answerable(query.from..query.to.max(query.from));
    let mut counts = Counts { db, buckets: endpoints.iter().map(|(id, _)| (*id, Bucket::default())).collect() };
    if window.is_empty() {
        return Ok((window, counts.buckets));
    }
    // As a rule all those that are being checked are in the same hour.
    let live = if endpoints.len() > FEW { most_frequent_hour(endpoints) } else { None };
    let mut together = Vec::new();
    for (id, open) in endpoints {
        match open {
            Some(open) if Some(open.start) == live => together.push((*id, *open)),
            _ => {
                let bucket = counted(db, *open, &query.of(*id)).await?;
                counts.buckets.insert(*id, bucket);
            }
        }
    }
    if let Some(live) = live {
        counts.closed(&together, window.start..window.end.min(live)).await?;
        counts.fresh(&together, window.start.max(live)..window.end, live).await?;
    }
    Ok((window, counts.buckets))
}

fn most_frequent_hour(endpoints: &[(EndpointId, Option<&OpenHour>)]) -> Option<Timestamp> {
    let mut hours: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for open in endpoints.iter().filter_map(|(_, open)| *open) {
        *hours.entry(open.start).or_default() += 1;
    }
    hours.into_iter().max_by_key(|(_, count)| *count).map(|(hour, _)| hour)
}

struct Counts<'a, C> {
    db: &'a C,
    buckets: BTreeMap<EndpointId, Bucket>,
}

impl<C: ConnectionTrait> Counts<'_, C> {
    fn merge(&mut self, id: EndpointId, bucket: &Bucket) {
        if let Some(sum) = self.buckets.get_mut(&id) {
            sum.merge(bucket);
        }
    }

    /// Hours that are over: single checks where an hour is cut, else what is stored.
    async fn closed(
        &mut self,
        endpoints: &[(EndpointId, &OpenHour)],
        span: Range<Timestamp>,
    ) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        let ids: Vec<EndpointId> = endpoints.iter().map(|(id, _)| *id).collect();
        let whole = next(HOUR_US, span.start)..hour_of(span.end);
        if whole.start > whole.end {
            return self.checks(&ids, span).await;
        }
        self.checks(&ids, span.start..whole.start).await?;
        self.checks(&ids, whole.end..span.end).await?;
        let sums = rollups::sums(self.db, whole.start, whole.end).await?;
        for id in ids {
            if let Some(sum) = sums.get(&id) {
                self.merge(id, sum);
            }
        }
        Ok(())
    }

    /// What is in no stored hour, or not for certain: the open hours, which began at `live`, where they are within the
    /// span as a whole, else single checks.
    async fn fresh(
        &mut self,
        endpoints: &[(EndpointId, &OpenHour)],
        span: Range<Timestamp>,
        live: Timestamp,
    ) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        let ids: Vec<EndpointId> = endpoints.iter().map(|(id, _)| *id).collect();
        if span.start != live {
            return self.checks(&ids, span).await;
        }
        let later = history::recorded_since(self.db, &ids, span.end.min(after(HOUR_US, live))).await?;
        for (id, open) in endpoints.iter().filter(|(id, _)| !later.contains(id)) {
            self.merge(*id, &open.rollup.bucket);
        }
        self.checks(&later.into_iter().collect::<Vec<_>>(), span).await
    }

    async fn checks(&mut self, ids: &[EndpointId], span: Range<Timestamp>) -> Result<(), StoreError> {
        let buckets = &mut self.buckets;
        history::for_each_of(self.db, ids, span, |result| {
            if let Some(sum) = buckets.get_mut(&result.endpoint_id) {
                sum.add(result);
            }
        })
        .await
    }
}
