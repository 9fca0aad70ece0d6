//! Availability: the part of the monitored time in which an endpoint was not down.
//!
//! Downtime is that of incidents, so it begins with the first failed check of a confirmed outage and ends with the
//! first good one. Failures that were never confirmed count for uptime, not here.

use std::ops::Range;

use chrono::TimeDelta;

use crate::domain::Timestamp;
use crate::domain::uptime::Bucket;

/// How long an endpoint was down in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Availability {
    /// Percent of the monitored time, two decimals; 100 only without any downtime. `None` without a check.
    pub percentage: Option<f64>,
    /// The time down within the window, each moment counted once.
    pub downtime: TimeDelta,
    /// The time in which it was watched.
    pub monitored_seconds: f64,
}

/// Availability in a window that begins with the first check or later. `downs` are the times down in the order of
/// their beginnings; `bucket` counts the checks of the window.
///
/// Slots without a verdict and checks in maintenance are no monitored time: the window is shortened by their share of
/// all slots, so that a gap neither adds to availability nor takes from it. Where the downtime is longer than what is
/// left, because the outage lay in the gap too, all of the monitored time was down.
pub fn availability(window: Range<Timestamp>, downs: &[Range<Timestamp>], bucket: &Bucket) -> Availability {
    let downtime = time_down(&window, downs);
    let length = seconds((window.end - window.start).max(TimeDelta::zero()));
    let (counted, slots) = (bucket.counted(), bucket.counted() + bucket.missed + bucket.maintenance);
    #[expect(clippy::cast_precision_loss, reason = "numbers of checks stay far below 2^52")]
    let monitored = if counted == 0 { 0.0 } else { length * (counted as f64 / slots as f64) };
    let percentage = (monitored > 0.0).then(|| {
        let share = (1.0 - seconds(downtime) / monitored).max(0.0);
        let rounded = (share * 10_000.0).round() / 100.0;
        if downtime > TimeDelta::zero() { rounded.min(99.99) } else { rounded }
    });
    Availability { percentage, downtime, monitored_seconds: monitored }
}

/// The length of what is down within the window; where times overlap it counts once.
fn time_down(window: &Range<Timestamp>, downs: &[Range<Timestamp>]) -> TimeDelta {
    let mut sum = TimeDelta::zero();
    let mut counted_to = window.start;
    for down in downs {
        let (start, end) = (down.start.max(counted_to), down.end.min(window.end));
        if start < end {
            sum += end - start;
            counted_to = end;
        }
    }
    sum
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a few centuries are below 2^53")]
fn seconds(length: TimeDelta) -> f64 {
    length.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;

    fn at(second: i64) -> Timestamp {
        from_micros(second * 1_000_000)
    }

    fn percent(window: Range<i64>, downs: &[(i64, i64)], (up, down, missed): (u64, u64, u64)) -> (Option<f64>, i64) {
        let downs: Vec<_> = downs.iter().map(|(start, end)| at(*start)..at(*end)).collect();
        let bucket = Bucket { up, down, missed, ..Bucket::default() };
        let found = availability(at(window.start)..at(window.end), &downs, &bucket);
        (found.percentage, found.downtime.num_seconds())
    }

    #[test]
    fn down_time_is_weighed_by_time() {
        for (window, downs, checks, expected) in [
            (0..1000, vec![], (10, 0, 0), (Some(100.0), 0)),
            (0..1000, vec![(100, 200)], (9, 1, 0), (Some(90.0), 100)),
            // Only what lies within counts.
            (0..1000, vec![(-500, 50), (950, 2000)], (9, 1, 0), (Some(90.0), 100)),
            (0..1000, vec![(-500, 0), (1000, 2000)], (9, 1, 0), (Some(100.0), 0)),
            (0..1000, vec![(-500, 2000)], (0, 10, 0), (Some(0.0), 1000)),
            // Each moment counts once.
            (0..1000, vec![(100, 200), (150, 180), (190, 250)], (9, 1, 0), (Some(85.0), 150)),
            // The shortest downtime shows.
            (0..10_000_000, vec![(5, 6)], (1000, 1, 0), (Some(99.99), 1)),
            // Nothing is known without a check.
            (0..1000, vec![], (0, 0, 0), (None, 0)),
            (0..1000, vec![(0, 10)], (0, 0, 50), (None, 10)),
            (1000..1000, vec![], (1, 0, 0), (None, 0)),
        ] {
            assert_eq!(percent(window.clone(), &downs, checks), expected, "{window:?} {downs:?} {checks:?}");
        }
    }

    #[test]
    fn gaps_are_no_monitored_time() {
        // Half of the window was watched, a tenth of that half it was down.
        assert_eq!(percent(0..1000, &[(100, 150)], (45, 5, 50)), (Some(90.0), 50));
        assert_eq!(percent(0..1000, &[], (50, 0, 50)), (Some(100.0), 0));
        // Down before and after a gap.
        assert_eq!(percent(0..1000, &[(0, 1000)], (0, 50, 50)), (Some(0.0), 1000));
        let maintenance = Bucket { up: 50, maintenance: 50, ..Bucket::default() };
        let found = availability(at(0)..at(1000), std::slice::from_ref(&(at(0)..at(50))), &maintenance);
        assert_eq!(found.percentage, Some(90.0));
    }
}
