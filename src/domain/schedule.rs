//! When an endpoint is due: the slots of an interval or of a cron expression.
//!
//! The slots of an interval are the wall-clock grid `k · interval + phase`, where the phase comes from the id
//! of the endpoint by the golden ratio: even at any number of endpoints, and the same after a restart and in
//! every process.

use std::str::FromStr;
use std::time::Duration;

use chrono::NaiveDateTime;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use crate::domain::endpoint::EndpointId;
use crate::domain::{Timestamp, from_micros, micros};

/// When checks are due.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// At least 1 s, whole microseconds.
    Interval(Duration),
    Cron(CronSchedule),
}

/// A cron expression in a time zone, right across daylight saving: a time inside the skipped hour runs at its
/// end, a repeated hour counts once.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    expression: String,
    timezone: Tz,
    cron: Box<Cron>,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Interval(a), Self::Interval(b)) => a == b,
            (Self::Cron(a), Self::Cron(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.timezone == other.timezone
    }
}

impl CronSchedule {
    /// Reads an expression of 5 fields, or of 6 with seconds first. One that never matches is refused.
    pub fn parse(expression: &str, timezone: Tz, now: Timestamp) -> Result<Self, String> {
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .build()
            .parse(expression)
            .map_err(|e| format!("`{expression}` is not a cron expression of 5 or 6 fields: {e}"))?;
        let schedule = Self { expression: expression.to_owned(), timezone, cron: Box::new(cron) };
        match schedule.next_after(now) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{expression}` never matches a date")),
        }
    }

    pub fn expression(&self) -> &str {
        &self.expression
    }

    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The first time after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let local = whole_second(at).with_timezone(&self.timezone);
        self.cron.find_next_occurrence(&local, false).ok().map(|t| t.to_utc())
    }

    /// The last time not after `at`.
    pub fn at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        let local = whole_second(at).with_timezone(&self.timezone);
        self.cron.find_previous_occurrence(&local, true).ok().map(|t| t.to_utc())
    }

    /// The first time after `local` on a clock that is never changed.
    pub fn next_on_the_clock(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&local.and_utc(), false).ok().map(|t| t.naive_utc())
    }

    /// The last time not after `local` on a clock that is never changed.
    pub fn last_on_the_clock(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_previous_occurrence(&local.and_utc(), true).ok().map(|t| t.naive_utc())
    }
}

/// The second that an instant is in: what is found from a fraction of one keeps the fraction.
fn whole_second(at: Timestamp) -> Timestamp {
    from_micros(micros(at).div_euclid(1_000_000) * 1_000_000)
}

/// The fractional part of the golden ratio as a fraction of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `frac(id · φ)` scaled to `0..span`, exact in integers.
pub fn golden_offset(id: EndpointId, span: Duration) -> Duration {
    let fraction = id.0.cast_unsigned().wrapping_mul(GOLDEN);
    let nanos = (u128::from(fraction) * span.as_nanos()) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The slots of one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    schedule: &'a Schedule,
    id: EndpointId,
}

impl Schedule {
    pub fn slots(&self, id: EndpointId) -> Slots<'_> {
        Slots { schedule: self, id }
    }

    /// The interval; for a cron expression the time between its next two slots after `at` (a day if it has none).
    pub fn interval(&self, at: Timestamp) -> Duration {
        match self {
            Self::Interval(every) => *every,
            Self::Cron(cron) => cron
                .next_after(at)
                .and_then(|first| cron.next_after(first).and_then(|second| (second - first).to_std().ok()))
                .unwrap_or(Duration::from_secs(86_400)),
        }
    }
}

impl Slots<'_> {
    fn grid(every: Duration, id: EndpointId) -> (i64, i64) {
        let every_us = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
        let phase_us = i64::try_from(golden_offset(id, every).as_micros()).unwrap_or(0);
        (every_us, phase_us)
    }

    /// The first slot later than `at`; `None` for a cron expression without a further date.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        match self.schedule {
            Schedule::Interval(every) => {
                let (every, phase) = Self::grid(*every, self.id);
                let k = (micros(at) - phase).div_euclid(every) + 1;
                Some(from_micros(k.saturating_mul(every).saturating_add(phase)))
            }
            Schedule::Cron(cron) => cron.next_after(at),
        }
    }

    /// The last slot not later than `at`: the slot that is now.
    pub fn at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        match self.schedule {
            Schedule::Interval(every) => {
                let (every, phase) = Self::grid(*every, self.id);
                let k = (micros(at) - phase).div_euclid(every);
                Some(from_micros(k.saturating_mul(every).saturating_add(phase)))
            }
            Schedule::Cron(cron) => cron.at_or_before(at),
        }
    }

    /// How many slots lie after `after` and before `before` (both excluded). Cron slots are counted up to 100,000.
    pub fn count_between(&self, after: Timestamp, before: Timestamp) -> u32 {
        match self.schedule {
            Schedule::Interval(every) => {
                let (every, phase) = Self::grid(*every, self.id);
                let first = (micros(after) - phase).div_euclid(every) + 1;
                let last = (micros(before) - phase - 1).div_euclid(every);
                u32::try_from((last - first + 1).max(0)).unwrap_or(u32::MAX)
            }
            Schedule::Cron(cron) => {
                let mut count = 0;
                let mut at = after;
                while count < 100_000 {
                    match cron.next_after(at) {
                        Some(next) if next < before => {
                            count += 1;
                            at = next;
                        }
                        _ => break,
                    }
                }
                count
            }
        }
    }
}

/// Reads an IANA time zone name.
pub fn parse_timezone(name: &str) -> Result<Tz, String> {
    Tz::from_str(name).map_err(|_| format!("`{name}` is not an IANA time zone such as Europe/Berlin or UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> Schedule {
        let zone = parse_timezone(zone).unwrap();
        Schedule::Cron(CronSchedule::parse(expression, zone, at("2026-01-01T00:00:00Z")).unwrap())
    }

    #[test]
    fn times_of_a_cron_expression_are_whole_seconds() {
        let schedule = cron("0 * * * * *", "UTC");
        let slots = schedule.slots(EndpointId(1));
        for from in ["2026-03-01T12:00:00.000001Z", "2026-03-01T12:00:30.765Z", "2026-03-01T12:00:59.999999Z"] {
            assert_eq!(slots.next_after(at(from)), Some(at("2026-03-01T12:01:00Z")), "{from}");
            assert_eq!(slots.at_or_before(at(from)), Some(at("2026-03-01T12:00:00Z")), "{from}");
        }
    }

    #[test]
    fn phases_are_even_at_any_number() {
        let every = Duration::from_secs(60);
        for count in [10_i64, 100, 1_000] {
            let mut offsets: Vec<_> = (1..=count).map(|id| golden_offset(EndpointId(id), every)).collect();
            offsets.sort_unstable();
            let even = every / u32::try_from(count).unwrap();
            let widest = offsets.windows(2).map(|pair| pair[1].abs_diff(pair[0])).max().unwrap();
            assert!(widest < even * 3, "{count} endpoints leave a gap of {widest:?}, even is {even:?}");
        }
    }

    #[test]
    fn cron_slots_are_right_across_daylight_saving() {
        let id = EndpointId(1);
        // The hour from 02:00 is skipped on 2026-03-29 in Berlin: 02:30 runs at the end of the gap, 03:00 summer time.
        let nightly = cron("30 2 * * *", "Europe/Berlin");
        let slots = nightly.slots(id);
        assert_eq!(slots.next_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(slots.next_after(at("2026-03-29T12:00:00Z")), Some(at("2026-03-30T00:30:00Z")));
        // The hour from 02:00 is repeated on 2026-10-25: 02:30 runs once.
        let autumn = slots.next_after(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(slots.next_after(autumn).unwrap().date_naive().to_string(), "2026-10-26");
        let workdays = cron("0 9 * * 1-5", "Europe/Berlin");
        assert_eq!(workdays.slots(id).next_after(at("2026-11-21T00:00:00Z")), Some(at("2026-11-23T08:00:00Z")));
        assert_eq!(workdays.slots(id).at_or_before(at("2026-11-21T00:00:00Z")), Some(at("2026-11-20T08:00:00Z")));
    }

    #[test]
    fn six_fields_begin_with_seconds_and_slots_are_counted() {
        let schedule = cron("*/10 * * * * *", "UTC");
        let slots = schedule.slots(EndpointId(1));
        assert_eq!(slots.next_after(at("2026-11-21T00:00:01Z")), Some(at("2026-11-21T00:00:10Z")));
        assert_eq!(slots.count_between(at("2026-11-21T00:00:00Z"), at("2026-11-21T00:01:00Z")), 5);
        assert_eq!(schedule.interval(at("2026-11-21T00:00:01Z")), Duration::from_secs(10));
    }

    #[test]
    fn an_expression_without_a_date_is_refused() {
        for expression in ["0 0 30 2 *", "nonsense", "* * *", "99 * * * *", ""] {
            let zone = parse_timezone("UTC").unwrap();
            assert!(CronSchedule::parse(expression, zone, at("2026-01-01T00:00:00Z")).is_err(), "{expression}");
        }
    }

    proptest! {
        #[test]
        fn the_grid_has_one_slot_an_interval(id in 1_i64..1_000_000, every_ms in 1_000_u64..90_000_000, now_us in 0_i64..4_000_000_000_000_000) {
            let schedule = Schedule::Interval(Duration::from_millis(every_ms));
            let slots = schedule.slots(EndpointId(id));
            let now = from_micros(now_us);
            let (current, next) = (slots.at_or_before(now).unwrap(), slots.next_after(now).unwrap());
            prop_assert!(current <= now && now < next);
            prop_assert_eq!((next - current).to_std().unwrap(), Duration::from_millis(every_ms));
            prop_assert_eq!(slots.next_after(current), Some(next));
            prop_assert_eq!(slots.at_or_before(next), Some(next));
            prop_assert_eq!(slots.count_between(current, next), 0);
            let later = from_micros(micros(next) + i64::try_from(every_ms).unwrap() * 5_000);
            prop_assert_eq!(slots.count_between(current, later), 5);
        }
    }
}
