//! Statistics of an endpoint over time: a window cut into steps of one length, for charts.
//!
//! Steps of an hour and more come from rollups and the hour that is not over; shorter ones from single checks.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::TimeDelta;

use super::context::ServiceContext;
use super::error::{FieldError, ServiceError};
use super::reports::{self, Retention};
use crate::board::Entry;
use crate::domain::outcome::words;
use crate::domain::uptime::{DAY_US, HOUR_US, Rollup};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::rollups::{self, Grain};
use crate::store::{ConnectionTrait, StoreError, history};

/// The most steps of one answer.
const MOST_POINTS: i64 = 2_000;

/// As many steps as a chart shows, where nobody says how long they are to be.
const ENOUGH_POINTS: i64 = 400;

/// The longest window of steps shorter than an hour: its single checks are read one by one.
const LONGEST_BY_CHECKS: TimeDelta = TimeDelta::days(8);

words! {
    /// The length of a step.
    pub enum Step {
        Minute = "1m",
        FiveMinutes = "5m",
        QuarterHour = "15m",
        Hour = "1h",
        SixHours = "6h",
        Day = "1d",
    }
}

impl Step {
    /// In seconds.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::SixHours => 21_600,
            Self::Day => 86_400,
        }
    }

    fn micros(self) -> i64 {
        self.seconds() * 1_000_000
    }

    /// The start of the step that holds an instant; steps count from 1970, UTC.
    fn start_of(self, at: Timestamp) -> Timestamp {
        from_micros(micros(at).div_euclid(self.micros()) * self.micros())
    }

    fn count_in(self, window: &Range<Timestamp>) -> i64 {
        (micros(window.end) - micros(self.start_of(window.start))).div_euclid(self.micros()) + 1
    }

    /// The shortest one that needs no more steps than a chart shows, and for which everything is kept.
    fn fitting(window: &Range<Timestamp>, kept: &Kept) -> Self {
        let fits = |step: &&Self| step.count_in(window) <= ENOUGH_POINTS && kept.refusal(**step, window).is_none();
        Self::ALL.iter().find(fits).copied().unwrap_or(Self::Day)
    }
}

/// The checks of an endpoint in steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub step: Step,
    /// The window asked for, widened to whole steps.
    pub from: Timestamp,
    pub to: Timestamp,
    /// By the start of each step; steps without a slot are left out.
    pub points: BTreeMap<Timestamp, Rollup>,
}

/// From when on what is kept.
struct Kept {
    checks_from: Timestamp,
    hours_from: Timestamp,
    retention: Retention,
}

impl Kept {
    fn of(ctx: &ServiceContext, now: Timestamp) -> Self {
        let retention = Retention::of(&ctx.running);
        let back = |days: u32| from_micros(micros(now).saturating_sub(i64::from(days) * DAY_US));
        Self { checks_from: back(retention.history_days), hours_from: back(retention.hourly_days), retention }
    }

    /// Why a window cannot be told in steps of this length.
    fn refusal(&self, step: Step, window: &Range<Timestamp>) -> Option<String> {
        let begun = step.start_of(window.start);
        if step.micros() < HOUR_US && begun < step.start_of(self.checks_from) {
            let days = self.retention.history_days;
            return Some(format!("single checks are kept for {days} days: ask for steps of 1h or more"));
        }
        if step.micros() < HOUR_US && window.end - begun > LONGEST_BY_CHECKS {
            return Some("steps shorter than 1h are for windows of at most 8 days".to_owned());
        }
        if step.micros() < DAY_US && begun < step.start_of(self.hours_from) {
            let days = self.retention.hourly_days;
            return Some(format!("hours are kept for {days} days: ask for steps of 1d"));
        }
        let count = step.count_in(window);
        (count > MOST_POINTS).then(|| format!("these would be {count} steps, and there are at most {MOST_POINTS}"))
    }
}

/// The statistics of a window; without a step, in as many as a chart shows.
///
/// # Errors
/// `Invalid` when the window has too many steps of that length, or what they are made of is no longer kept; `Store`.
pub async fn series(
    ctx: &ServiceContext,
    entry: &Entry,
    window: Range<Timestamp>,
    step: Option<Step>,
) -> Result<Series, ServiceError> {
    let kept = Kept::of(ctx, ctx.clock.now());
    let step = step.unwrap_or_else(|| Step::fitting(&window, &kept));
    if let Some(detail) = kept.refusal(step, &window) {
        return Err(ServiceError::Invalid(vec![FieldError::parameter("step", "out_of_range", detail)]));
    }
    let from = step.start_of(window.start);
    let last = step.start_of(from_micros(micros(window.end) - 1)).max(from);
    let to = from_micros(micros(last) + step.micros());
    let mut sum = Sum { step, points: BTreeMap::new() };
    let db = ctx.store.snapshot().await.map_err(ServiceError::Store)?;
    if step.micros() < HOUR_US {
        sum.checks(&db, entry, from..to).await.map_err(ServiceError::Store)?;
    } else {
        sum.rollups(&db, entry, from..to, kept.checks_from).await.map_err(ServiceError::Store)?;
    }
    Ok(Series { step, from, to, points: sum.points })
}

struct Sum {
    step: Step,
    points: BTreeMap<Timestamp, Rollup>,
}

impl Sum {
    fn merge(&mut self, at: Timestamp, rollup: &Rollup) {
        let point = self.points.entry(self.step.start_of(at)).or_insert_with(Rollup::with_sketch);
        point.bucket.merge(&rollup.bucket);
        match (&mut point.sketch, &rollup.sketch) {
            (Some(sum), Some(sketch)) => sum.merge(sketch),
            // Latencies that are no longer known: no percentile would be that of the whole step.
            (sum, None) if rollup.bucket.good() > 0 => *sum = None,
            _ => {}
        }
    }

    async fn checks(
        &mut self,
        db: &impl ConnectionTrait,
        entry: &Entry,
        span: Range<Timestamp>,
    ) -> Result<(), StoreError> {
        let (step, points) = (self.step, &mut self.points);
        history::for_each(db, entry.known.id, span, |result| {
            points.entry(step.start_of(result.scheduled_at)).or_insert_with(Rollup::with_sketch).add(result);
        })
        .await
    }

    async fn rollups(
        &mut self,
        db: &impl ConnectionTrait,
        entry: &Entry,
        span: Range<Timestamp>,
        checks_from: Timestamp,
    ) -> Result<(), StoreError> {
        let id = entry.known.id;
        // Everything before `live` is stored in hours; what comes after is on the board, or in single checks.
        let live = match &entry.live.open_hour {
            Some(open) => Some(open.start),
            None => reports::end_of_hours(db, id, checks_from).await?,
        };
        let end = live.map_or(span.end, |live| span.end.min(live));
        let mut hours_from = span.start;
        if self.step == Step::Day {
            // Every counted day before the newest day row has a row.
            for (day, rollup) in rollups::list(db, id, Grain::Day, span.clone()).await? {
                self.merge(day, &rollup);
                hours_from = from_micros(micros(day) + DAY_US);
            }
        }
        if hours_from < end {
            for (hour, rollup) in rollups::list(db, id, Grain::Hour, hours_from..end).await? {
                self.merge(hour, &rollup);
            }
        }
        match (&entry.live.open_hour, live) {
            (Some(open), _) if span.contains(&open.start) && open.start >= hours_from => {
                self.merge(open.start, &open.rollup);
            }
            (None, Some(live)) if live < span.end => {
                self.checks(db, entry, live.max(hours_from)..span.end).await?;
            }
            (None, None) => self.checks(db, entry, span).await?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn kept(checks_from: &str, hours_from: &str) -> Kept {
        let retention = Retention { history_days: 90, hourly_days: 400 };
        Kept { checks_from: at(checks_from), hours_from: at(hours_from), retention }
    }

    #[test]
    fn a_chart_gets_as_many_steps_as_it_shows() {
        let kept = kept("2026-02-01T00:00:00Z", "2025-04-01T00:00:00Z");
        for (from, step) in [
            ("2026-05-01T11:00:00Z", "1m"),
            ("2026-04-30T12:00:00Z", "5m"),
            ("2026-04-28T12:00:00Z", "15m"),
            ("2026-04-20T12:00:00Z", "1h"),
            ("2026-03-01T12:00:00Z", "6h"),
            ("2025-06-01T12:00:00Z", "1d"),
            // Where hours are no longer kept.
            ("2025-03-31T12:00:00Z", "1d"),
        ] {
            let window = at(from)..at("2026-05-01T12:00:00Z");
            assert_eq!(Step::fitting(&window, &kept).as_str(), step, "{from}");
        }
    }

    #[test]
    fn what_is_not_kept_is_refused() {
        let kept = kept("2026-02-01T00:30:00Z", "2025-04-01T00:30:00Z");
        let refusal = |step: Step, from: &str, to: &str| kept.refusal(step, &(at(from)..at(to))).unwrap_or_default();
        assert_eq!(refusal(Step::Minute, "2026-02-01T00:30:00Z", "2026-02-02T00:00:00Z"), "");
        assert!(refusal(Step::Minute, "2026-02-01T00:29:00Z", "2026-02-02T00:00:00Z").contains("kept for 90 days"));
        assert!(refusal(Step::QuarterHour, "2026-03-01T00:00:00Z", "2026-03-10T00:00:00Z").contains("8 days"));
        assert!(refusal(Step::Hour, "2025-03-31T23:00:00Z", "2025-04-02T00:00:00Z").contains("kept for 400 days"));
        assert_eq!(refusal(Step::Day, "2021-03-31T23:00:00Z", "2025-04-02T00:00:00Z"), "");
        assert!(refusal(Step::Day, "2001-03-31T23:00:00Z", "2025-04-02T00:00:00Z").contains("at most 2000"));
    }
}
