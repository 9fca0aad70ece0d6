//! What incidents say of a window: its outages, and how much of it the endpoint was available.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::TimeDelta;

use super::context::ServiceContext;
use super::error::ServiceError;
use super::reports::{self, Retention, UptimeQuery, UptimeReport};
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::availability::{Availability, availability};
use crate::domain::endpoint::EndpointId;
use crate::domain::uptime::{Bucket, day_of, hour_of};
use crate::store::incidents::{self, IncidentQuery, StoredIncident};
use crate::store::rollups::{self, Grain};
use crate::store::{ConnectionTrait, StoreError, history};

/// Incidents of a window that are looked at.
const MOST_INCIDENTS: u64 = 10_000;

/// Outages told with their failures; more are only counted.
const MOST_OUTAGES: usize = 1_000;

/// Failed checks of an outage that are read one by one.
const MOST_READ: u64 = 1_000;

/// Sentences told of an outage.
const MOST_SENTENCES: usize = 20;

/// An incident with its failed checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub start: Timestamp,
    /// `None`: it goes on.
    pub end: Option<Timestamp>,
    pub length: TimeDelta,
    /// Failed checks from the start to the end.
    pub failures: u64,
    /// Why, each sentence once, in the order in which they came up.
    pub errors: Vec<String>,
}

/// The outages of an endpoint that reach into a window, newest first, and how many there are.
///
/// # Errors
/// `Store`.
pub async fn outages(
    ctx: &ServiceContext,
    entry: &Entry,
    window: Range<Timestamp>,
    at_least: TimeDelta,
) -> Result<(Vec<Outage>, u64), ServiceError> {
    let now = ctx.clock.now();
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let query = IncidentQuery {
        endpoint: Some(entry.known.id),
        from: Some(window.start),
        to: Some(window.end),
        limit: MOST_INCIDENTS,
        ..IncidentQuery::default()
    };
    let mut found = incidents::list(&db, &query).await.map_err(ServiceError::Store)?;
    found.retain(|incident| length(incident, now) >= at_least);
    let total = found.len() as u64;
    found.truncate(MOST_OUTAGES);
    let mut outages = Vec::with_capacity(found.len());
    for incident in found {
        outages.push(outage(ctx, &db, entry, &incident, now).await.map_err(ServiceError::Store)?);
    }
    Ok((outages, total))
}

fn length(incident: &StoredIncident, now: Timestamp) -> TimeDelta {
    (incident.resolved_at.unwrap_or(now) - incident.started_at).max(TimeDelta::zero())
}

async fn outage(
    ctx: &ServiceContext,
    db: &impl ConnectionTrait,
    entry: &Entry,
    incident: &StoredIncident,
    now: Timestamp,
) -> Result<Outage, StoreError> {
    // What began at this moment is in it while it goes on.
    let end = incident.resolved_at.unwrap_or(now + TimeDelta::microseconds(1));
    let failed = history::failed(db, entry.known.id, incident.started_at..end, MOST_READ).await?;
    let retention = Retention::of(&ctx.running);
    let kept_from = now - TimeDelta::days(i64::from(retention.history_days));
    let read_all = (failed.len() as u64) < MOST_READ && incident.started_at >= kept_from;
    let failures = if read_all {
        failed.len() as u64
    } else {
        let from = failed.first().map_or(incident.started_at, |first| first.scheduled_at).min(incident.started_at);
        let query = UptimeQuery { endpoint: entry.known.id, from, to: end, now, retention };
        reports::counted(db, entry.live.open_hour.as_ref(), &query).await?.down
    };
    let timeline = incidents::events(db, &[incident.id]).await?;
    let told = timeline.into_iter().filter_map(|event| event.failure).map(|failure| failure.message);
    let mut errors: Vec<String> = Vec::new();
    for sentence in told.chain(failed.into_iter().map(|check| check.message)) {
        if errors.len() < MOST_SENTENCES && !errors.contains(&sentence) {
            errors.push(sentence);
        }
    }
    Ok(Outage {
        start: incident.started_at,
        end: incident.resolved_at,
        length: length(incident, now),
        failures,
        errors,
    })
}

/// Availability in the window that `report` answers. It begins with the first check and ends now at the latest.
///
/// # Errors
/// `Store`.
pub async fn available(
    ctx: &ServiceContext,
    endpoint: EndpointId,
    report: &UptimeReport,
) -> Result<Availability, ServiceError> {
    let now = ctx.clock.now();
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    let buckets = BTreeMap::from([(endpoint, report.bucket.clone())]);
    let found = available_of_many(&db, now, &(report.from..report.to), &buckets).await.map_err(ServiceError::Store)?;
    let found = found.into_values().next();
    found.map(|known| known.availability).ok_or_else(|| ServiceError::NotFound(format!("endpoint {endpoint}")))
}

/// How much of a window an endpoint was available.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub availability: Availability,
    /// That reach into the window.
    pub incidents: u64,
}

/// As [`available`], of every endpoint whose checks are counted in `buckets`.
pub async fn available_of_many(
    db: &impl ConnectionTrait,
    now: Timestamp,
    window: &Range<Timestamp>,
    buckets: &BTreeMap<EndpointId, Bucket>,
) -> Result<BTreeMap<EndpointId, Known>, StoreError> {
    let ids: Vec<EndpointId> = buckets.keys().copied().collect();
    let firsts = first_checks(db, &ids).await?;
    let mut incidents = incidents::of_many(db, &ids, window.start, window.end).await?;
    let known = |(id, bucket): (&EndpointId, &Bucket)| {
        let to = window.end.min(now);
        let from = firsts.get(id).map_or(to, |first| window.start.max(*first).min(to));
        let (count, spans) = incidents.remove(id).unwrap_or_default();
        let downs: Vec<_> = spans.into_iter().map(|span| span.start..span.end.unwrap_or(now)).collect();
        (*id, Known { availability: availability(from..to, &downs, bucket), incidents: count })
    };
    Ok(buckets.iter().map(known).collect())
}

/// When each endpoint was first checked: exact as long as single checks are kept, then the start of that hour or day.
async fn first_checks(
    db: &impl ConnectionTrait,
    ids: &[EndpointId],
) -> Result<BTreeMap<EndpointId, Timestamp>, StoreError> {
    let mut firsts = history::first_of_each(db, ids).await?;
    for (grain, start_of) in [(Grain::Hour, hour_of as fn(Timestamp) -> Timestamp), (Grain::Day, day_of)] {
        for (id, start) in rollups::oldest_of_each(db, ids, grain).await? {
            if firsts.get(&id).is_none_or(|first| start < start_of(*first)) {
                firsts.insert(id, start);
            }
        }
    }
    Ok(firsts)
}
