//! Reports on the past: the uptime of any window, exact to the second wherever single checks are kept.
//!
//! A window is put together from days, hours and single checks such that every check is counted exactly once.
//! The hour that is not over comes from the caller, who takes it *before* asking: all that is read here of the
//! database then lies before its start, and what is recorded meanwhile cannot be counted twice.

mod many;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::config::RunningSettings;
use crate::domain::endpoint::EndpointId;
use crate::domain::latency::LatencySketch;
use crate::domain::uptime::{Bucket, DAY_US, HOUR_US, OpenHour, Rollup, day_of, hour_of};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::history::{self, Wanted};
use crate::store::rollups::{self, Grain};
use crate::store::{ConnectionTrait, Store, StoreError};
pub use many::{WindowQuery, counted_of_many};

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days for which single checks are kept.
    pub history_days: u32,
    /// Days for which hours are kept; days are kept for good.
    pub hourly_days: u32,
}

impl Retention {
    /// As it is now.
    pub fn of(running: &RunningSettings) -> Self {
        let running = running.get();
        Self { history_days: running.check_history_days, hourly_days: running.hourly_rollup_days }
    }
}

/// Which endpoint and which window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UptimeQuery {
    pub endpoint: EndpointId,
    /// The first instant of the window.
    pub from: Timestamp,
    /// The first instant after the window.
    pub to: Timestamp,
    /// Retention counts back from here.
    pub now: Timestamp,
    pub retention: Retention,
}

/// The checks of an endpoint in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct UptimeReport {
    /// The window that is answered: wider than the one asked for where single checks (then whole hours) or hours
    /// (then whole UTC days) are no longer kept.
    pub from: Timestamp,
    pub to: Timestamp,
    pub bucket: Bucket,
    /// Percentiles of good checks in microseconds, within 1 %. `None` without a good check, or where the latencies
    /// are no longer known. A day of which only some hours are in the window and no single check is kept goes in
    /// as a whole.
    pub p50_us: Option<f64>,
    pub p95_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Among the single checks that are kept; those in maintenance neither succeed nor fail.
    pub last_check: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    pub last_failure: Option<Timestamp>,
}

/// Counts the checks of a window. `open` is the hour of the endpoint that is not over, taken from the board before
/// this call; without one the newest hour is counted from its single checks.
pub async fn uptime(store: &Store, open: Option<&OpenHour>, query: &UptimeQuery) -> Result<UptimeReport, StoreError> {
    let kept = Kept::of(query.now, query.retention);
    let window = kept.answerable(query.from..query.to.max(query.from));
    let db = store.snapshot().await?;
    let mut sum = Sum {
        db: &db,
        id: query.endpoint,
        kept,
        counted: Bucket::default(),
        latencies: Some(LatencySketch::default()),
    };
    if !window.is_empty() {
        sum.window(window.clone(), open).await?;
    }
    let newest = async |wanted| {
        let found = history::newest_with(&db, query.endpoint, wanted, window.clone()).await?;
        Ok::<_, StoreError>(found.map(|result| result.scheduled_at))
    };
    let (last_check, last_success, last_failure) =
        (newest(Wanted::Checked).await?, newest(Wanted::Good).await?, newest(Wanted::Failed).await?);
    let percentile = |q| sum.latencies.as_ref().and_then(|sketch| sketch.quantile(q));
    Ok(UptimeReport {
        from: window.start,
        to: window.end,
        p50_us: percentile(0.50),
        p95_us: percentile(0.95),
        p99_us: percentile(0.99),
        bucket: sum.counted,
        last_check,
        last_success,
        last_failure,
    })
}

/// Only counts, for less than [`uptime`] costs.
pub async fn counted(
    db: &impl ConnectionTrait,
    open: Option<&OpenHour>,
    query: &UptimeQuery,
) -> Result<Bucket, StoreError> {
    let kept = Kept::of(query.now, query.retention);
    let window = kept.answerable(query.from..query.to.max(query.from));
    let mut sum = Sum { db, id: query.endpoint, kept, counted: Bucket::default(), latencies: None };
    if !window.is_empty() {
        sum.window(window, open).await?;
    }
    Ok(sum.counted)
}

/// From when on what is still kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    checks_from: Timestamp,
    hours_from: Timestamp,
}

impl Kept {
    fn of(now: Timestamp, retention: Retention) -> Self {
        let back = |days: u32| from_micros(micros(now).saturating_sub(i64::from(days) * DAY_US));
        Self { checks_from: back(retention.history_days), hours_from: back(retention.hourly_days) }
    }

    /// Widens a window until what is kept can answer it.
    fn answerable(self, window: Range<Timestamp>) -> Range<Timestamp> {
        let Range { start: mut from, end: mut to } = window;
        if from < self.checks_from {
            from = hour_of(from);
        }
        if hour_of(to) < self.checks_from {
            to = next(HOUR_US, to);
        }
        if next(HOUR_US, from) < self.hours_from {
            from = day_of(from);
        }
        if day_of(to) < self.hours_from {
            to = next(DAY_US, to);
        }
        from..to
    }
}

/// The first multiple of `unit` that is not before `at`.
fn next(unit: i64, at: Timestamp) -> Timestamp {
    let at = micros(at);
    from_micros(at.div_euclid(unit) * unit + if at.rem_euclid(unit) == 0 { 0 } else { unit })
}

fn after(unit: i64, start: Timestamp) -> Timestamp {
    from_micros(micros(start) + unit)
}

/// Where single checks, kept since `checks_from`, have to take over from stored hours when no open hour is known. The
/// newest stored hour may have gone on after it was stored, so it is left to them as long as they are kept.
pub(super) async fn end_of_hours(
    db: &impl ConnectionTrait,
    id: EndpointId,
    checks_from: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let newest = rollups::newest_start(db, id, Grain::Hour, Timestamp::MAX_UTC).await?;
    Ok(newest.map(|hour| if hour < checks_from { after(HOUR_US, hour) } else { hour }))
}

/// A window being summed.
struct Sum<'a, C> {
    db: &'a C,
    id: EndpointId,
    kept: Kept,
    counted: Bucket,
    /// `None` once latencies are missing that can no longer be had.
    latencies: Option<LatencySketch>,
}

impl<C: ConnectionTrait> Sum<'_, C> {
    async fn window(&mut self, window: Range<Timestamp>, open: Option<&OpenHour>) -> Result<(), StoreError> {
        // Everything before `live` is stored in hours; everything from then on is not, or not for certain.
        let live = match open {
            Some(open) => open.start,
            None => end_of_hours(self.db, self.id, self.kept.checks_from).await?.unwrap_or(window.start),
        };
        self.closed(window.start..window.end.min(live)).await?;
        let fresh = window.start.max(live)..window.end;
        if fresh.is_empty() {
            return Ok(());
        }
        match open {
            Some(open) if fresh.start == open.start && self.nothing_after(fresh.end.min(open.end())).await? => {
                self.counted.merge(&open.rollup.bucket);
                self.latencies_of(open.rollup.sketch.as_ref());
                Ok(())
            }
            _ => self.checks(fresh).await,
        }
    }

    /// Whether no check is recorded at or after `at`: then an open hour is within the window as a whole.
    async fn nothing_after(&self, at: Timestamp) -> Result<bool, StoreError> {
        Ok(history::last_scheduled_at(self.db, self.id).await?.is_none_or(|last| last < at))
    }

    /// A span of hours that are over: single checks where an hour is cut, else hours, and days where there are some.
    async fn closed(&mut self, span: Range<Timestamp>) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        let whole = next(HOUR_US, span.start)..hour_of(span.end);
        if whole.start > whole.end {
            return self.checks(span).await;
        }
        self.checks(span.start..whole.start).await?;
        self.checks(whole.end..span.end).await?;
        let mut days = next(DAY_US, whole.start)..day_of(whole.end);
        if days.start >= days.end {
            return self.hours(whole).await;
        }
        let known = rollups::list(self.db, self.id, Grain::Day, days.clone()).await?;
        // Days without a check have no row; after the newest row the days are not closed yet.
        days.end = known.last().map_or(days.start, |(newest, _)| after(DAY_US, *newest));
        let mut unknown = Vec::new();
        for (day, rollup) in known {
            self.counted.merge(&rollup.bucket);
            if rollup.sketch.is_some() || rollup.bucket.good() == 0 {
                self.latencies_of(rollup.sketch.as_ref());
            } else {
                unknown.push(day..after(DAY_US, day));
            }
        }
        self.latencies_by_checks(unknown).await?;
        self.hours(whole.start..days.start).await?;
        self.hours(days.end..whole.end).await
    }

    async fn hours(&mut self, span: Range<Timestamp>) -> Result<(), StoreError> {
        let mut unknown: Vec<Range<Timestamp>> = Vec::new();
        for (hour, rollup) in rollups::list(self.db, self.id, Grain::Hour, span).await? {
            self.counted.merge(&rollup.bucket);
            if rollup.sketch.is_some() || rollup.bucket.good() == 0 {
                self.latencies_of(rollup.sketch.as_ref());
                continue;
            }
            match unknown.last_mut() {
                Some(span) if span.end == hour => span.end = after(HOUR_US, hour),
                _ => unknown.push(hour..after(HOUR_US, hour)),
            }
        }
        self.latencies_by_checks(unknown).await
    }

    async fn checks(&mut self, span: Range<Timestamp>) -> Result<(), StoreError> {
        let mut rollup = Rollup::with_sketch();
        history::for_each(self.db, self.id, span, |result| rollup.add(result)).await?;
        self.counted.merge(&rollup.bucket);
        self.latencies_of(rollup.sketch.as_ref());
        Ok(())
    }

    fn latencies_of(&mut self, sketch: Option<&LatencySketch>) {
        if let (Some(sum), Some(sketch)) = (&mut self.latencies, sketch) {
            sum.merge(sketch);
        }
    }

    /// The latencies of counted spans without a sketch: from single checks, else from the sketch of their day.
    async fn latencies_by_checks(&mut self, spans: Vec<Range<Timestamp>>) -> Result<(), StoreError> {
        if self.latencies.is_none() {
            return Ok(());
        }
        let mut days = BTreeSet::new();
        for span in spans {
            if span.start < self.kept.checks_from {
                let mut day = day_of(span.start);
                while day < span.end {
                    days.insert(day);
                    day = after(DAY_US, day);
                }
                continue;
            }
            let mut sketch = LatencySketch::default();
            history::for_each_latency(self.db, self.id, span, |micros| sketch.add(micros)).await?;
            self.latencies_of(Some(&sketch));
        }
        for day in days {
            let known = rollups::list(self.db, self.id, Grain::Day, day..after(DAY_US, day)).await?;
            match known.into_iter().next().and_then(|(_, rollup)| rollup.sketch) {
                Some(sketch) => self.latencies_of(Some(&sketch)),
                None => self.latencies = None,
            }
        }
        Ok(())
    }
}
