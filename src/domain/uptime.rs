//! Counting checks: the bucket of an hour or a day, its sums, and the percentage that may be shown.

use crate::domain::check::{CheckResult, Timings};
use crate::domain::latency::LatencySketch;
use crate::domain::outcome::{Outcome, words};
use crate::domain::{Timestamp, from_micros, micros};

/// Microseconds of an hour and of a day.
pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;

/// The start of the hour that holds `at`.
pub fn hour_of(at: Timestamp) -> Timestamp {
    from_micros(micros(at).div_euclid(HOUR_US) * HOUR_US)
}

/// The start of the UTC day that holds `at`.
pub fn day_of(at: Timestamp) -> Timestamp {
    from_micros(micros(at).div_euclid(DAY_US) * DAY_US)
}

words! {
    /// A window that ends now, as it is asked for.
    pub enum Period {
        Hour = "1h",
        Day = "24h",
        Week = "7d",
        Month = "30d",
        Quarter = "90d",
        Year = "1y",
    }
}

impl Period {
    /// How far the window reaches back; a year is 365 days.
    pub fn length(self) -> chrono::TimeDelta {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
            Self::Quarter => 90 * 24,
            Self::Year => 365 * 24,
        };
        chrono::TimeDelta::microseconds(hours * HOUR_US)
    }
}

/// Checks of one endpoint counted over a period. A check is counted in exactly one of `up`, `degraded`, `down`,
/// `missed` and `maintenance`; the latencies are those of good checks outside maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    pub up: u64,
    pub degraded: u64,
    pub down: u64,
    /// Slots without a verdict; a row that stands for a gap counts with its number of slots.
    pub missed: u64,
    /// Checks made inside a maintenance window, whatever their outcome.
    pub maintenance: u64,
    /// Checks that needed more than one attempt.
    pub retried: u64,
    /// Sums over good checks, microseconds.
    pub dns_us: u64,
    pub connect_us: u64,
    pub tls_us: u64,
    pub first_byte_us: u64,
    pub transfer_us: u64,
    pub total_us: u64,
    /// Shortest and longest good check, microseconds; meaningless without one.
    pub min_us: u32,
    pub max_us: u32,
}

impl Bucket {
    /// The checks that count: `up + degraded + down`.
    pub fn counted(&self) -> u64 {
        self.up + self.degraded + self.down
    }

    /// `up + degraded`.
    pub fn good(&self) -> u64 {
        self.up + self.degraded
    }

    pub fn is_empty(&self) -> bool {
        self.counted() + self.missed + self.maintenance == 0
    }

    /// Counts one result.
    pub fn add(&mut self, result: &CheckResult) {
        if let Outcome::Missed(_) = result.outcome {
            self.missed += u64::from(result.slots);
            return;
        }
        if result.in_maintenance {
            self.maintenance += 1;
            return;
        }
        self.retried += u64::from(result.attempts > 1);
        match result.outcome {
            Outcome::Up => self.up += 1,
            Outcome::Degraded => self.degraded += 1,
            Outcome::Down(_) | Outcome::Missed(_) => {
                self.down += 1;
                return;
            }
        }
        self.add_latency(&result.timings);
    }

    fn add_latency(&mut self, timings: &Timings) {
        let total = timings.total_us;
        let first = self.good() == 1;
        self.min_us = if first { total } else { self.min_us.min(total) };
        self.max_us = if first { total } else { self.max_us.max(total) };
        self.total_us += u64::from(total);
        self.dns_us += u64::from(timings.dns_us.unwrap_or(0));
        self.connect_us += u64::from(timings.connect_us.unwrap_or(0));
        self.tls_us += u64::from(timings.tls_us.unwrap_or(0));
        self.first_byte_us += u64::from(timings.first_byte_us.unwrap_or(0));
        self.transfer_us += u64::from(timings.transfer_us.unwrap_or(0));
    }

    /// Adds the counts of another period.
    pub fn merge(&mut self, other: &Self) {
        if other.good() > 0 {
            let first = self.good() == 0;
            self.min_us = if first { other.min_us } else { self.min_us.min(other.min_us) };
            self.max_us = if first { other.max_us } else { self.max_us.max(other.max_us) };
        }
        self.up += other.up;
        self.degraded += other.degraded;
        self.down += other.down;
        self.missed += other.missed;
        self.maintenance += other.maintenance;
        self.retried += other.retried;
        self.dns_us += other.dns_us;
        self.connect_us += other.connect_us;
        self.tls_us += other.tls_us;
        self.first_byte_us += other.first_byte_us;
        self.transfer_us += other.transfer_us;
        self.total_us += other.total_us;
    }

    /// Mean latency of good checks in microseconds.
    pub fn mean_us(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "sums stay far below 2^52")]
        (self.good() > 0).then(|| self.total_us as f64 / self.good() as f64)
    }

    /// [`uptime_percentage`] of this bucket.
    pub fn uptime_percentage(&self) -> Option<f64> {
        uptime_percentage(self.good(), self.counted())
    }
}

/// A bucket with its sketch, as it is kept for an hour or a day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollup {
    pub bucket: Bucket,
    /// Latencies of good checks outside maintenance. `None` where it is no longer kept.
    pub sketch: Option<LatencySketch>,
}

impl Rollup {
    /// An empty rollup that keeps a sketch.
    pub fn with_sketch() -> Self {
        Self { bucket: Bucket::default(), sketch: Some(LatencySketch::default()) }
    }

    pub fn add(&mut self, result: &CheckResult) {
        self.bucket.add(result);
        if let Some(sketch) = &mut self.sketch
            && result.outcome.is_good()
            && !result.in_maintenance
        {
            sketch.add(result.timings.total_us);
        }
    }

    /// Adds another period; the sum keeps a sketch only if both have one (or the other has no good check).
    pub fn merge(&mut self, other: &Self) {
        self.bucket.merge(&other.bucket);
        match (&mut self.sketch, &other.sketch) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (Some(_), None) if other.bucket.good() > 0 => self.sketch = None,
            _ => {}
        }
    }
}

/// The hour of an endpoint that is not over: counted in memory, stored when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHour {
    /// The start of the hour, a whole hour UTC.
    pub start: Timestamp,
    /// Everything recorded with a `scheduled_at` in this hour.
    pub rollup: Rollup,
}

impl OpenHour {
    /// The hour that holds `at`, with nothing counted.
    pub fn holding(at: Timestamp) -> Self {
        Self { start: hour_of(at), rollup: Rollup::with_sketch() }
    }

    /// The first instant after this hour.
    pub fn end(&self) -> Timestamp {
        from_micros(micros(self.start) + HOUR_US)
    }

    /// Whether `at` lies in this hour.
    pub fn holds(&self, at: Timestamp) -> bool {
        hour_of(at) == self.start
    }

    /// Counts one result of this hour.
    pub fn add(&mut self, result: &CheckResult) {
        self.rollup.add(result);
    }
}

/// `100 · good / counted` with two decimals; `None` without checks, and never 100 while a check failed.
pub fn uptime_percentage(good: u64, counted: u64) -> Option<f64> {
    if counted == 0 {
        return None;
    }
    // Integer hundredths, rounded half up; u128 so that no count overflows.
    let hundredths = (u128::from(good) * 20_000 + u128::from(counted)) / (u128::from(counted) * 2);
    let shown = if good < counted { hundredths.min(9_999) } else { hundredths };
    #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
    Some(shown as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentages_are_exact_and_honest() {
        for (good, counted, expected) in [
            (0, 0, None),
            (1007, 1008, Some(99.9)),
            (1008, 1008, Some(100.0)),
            (999_999, 1_000_000, Some(99.99)),
            (1, 3, Some(33.33)),
            (2, 3, Some(66.67)),
            (0, 5, Some(0.0)),
        ] {
            assert_eq!(uptime_percentage(good, counted), expected, "{good}/{counted}");
        }
    }

    #[test]
    fn periods_are_read_by_their_words() {
        let hours: Vec<i64> =
            ["1h", "24h", "7d", "30d", "90d", "1y"].map(|w| w.parse::<Period>().unwrap().length().num_hours()).to_vec();
        assert_eq!(hours, [1, 24, 168, 720, 2160, 8760]);
        assert!("2h".parse::<Period>().is_err());
    }

    #[test]
    fn an_open_hour_holds_its_hour_only() {
        let at = from_micros(7 * HOUR_US + 5);
        let open = OpenHour::holding(at);
        assert!(open.holds(at) && open.holds(open.start) && !open.holds(open.end()));
    }

    fn any_bucket() -> impl Strategy<Value = Bucket> {
        (0_u64..50, 0_u64..50, 0_u64..50, 1_u32..1000, 0_u32..1000).prop_map(|(up, down, missed, min, more)| Bucket {
            up,
            down,
            missed,
            min_us: if up > 0 { min } else { 0 },
            max_us: if up > 0 { min + more } else { 0 },
            total_us: up * u64::from(min),
            ..Bucket::default()
        })
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_empty_is_neutral(a in any_bucket(), b in any_bucket()) {
            let sum = |x: &Bucket, y: &Bucket| { let mut s = x.clone(); s.merge(y); s };
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(sum(&a, &Bucket::default()), a);
        }
    }
}
