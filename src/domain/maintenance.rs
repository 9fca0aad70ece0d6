//! Maintenance windows: when work is being done on endpoints on purpose. A window is there once or comes again, by the
//! clock of a time zone, and is right across daylight saving: a start inside the skipped hour is at its end, one in the
//! repeated hour is the first of the two. Each time it lasts as long as it says, by a stopwatch.

mod followed;
mod settings;

use chrono::{
    Datelike, Days as DayCount, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike,
};
use chrono_tz::Tz;

pub use self::followed::{Changes, Maintained};
pub(in crate::domain) use self::settings::check_selectors;
pub use self::settings::{LONGEST, WindowSettings};
use crate::domain::Timestamp;
use crate::domain::schedule::CronSchedule;
use crate::domain::selector::Selectors;

/// A time in which a window is open: from `start`, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub name: String,
    pub selectors: Selectors,
    pub reason: String,
    pub timezone: Tz,
    starts: Starts,
    length: TimeDelta,
}

/// When it begins.
#[derive(Debug, Clone, PartialEq)]
enum Starts {
    Once(Timestamp),
    /// On these days at this time of the clock.
    At(NaiveTime, Days),
    Cron(CronSchedule),
}

/// Days by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    Every,
    /// One bit a day, Monday the lowest.
    OfWeek(u8),
    /// Months without such a day are passed over.
    OfMonth(u32),
}

/// The longest time that clocks show twice.
const LONGEST_REPEATED: TimeDelta = TimeDelta::hours(3);

/// What clocks show, without the fraction of the second.
fn shown_at(at: Timestamp, timezone: Tz) -> NaiveDateTime {
    let local = at.with_timezone(&timezone).naive_local();
    local.with_nanosecond(0).unwrap_or(local)
}

/// No two days of the same number are further apart, also where months have none of it, and a margin.
const FURTHEST_DAY: u64 = 64;

/// Windows that run into one another are one; after so many in a row the next is told apart all the same.
const MOST_JOINED: usize = 1_000;

impl Days {
    fn hold(self, date: NaiveDate) -> bool {
        match self {
            Self::Every => true,
            Self::OfWeek(bits) => bits & (1 << date.weekday().num_days_from_monday()) != 0,
            Self::OfMonth(day) => date.day() == day,
        }
    }
}

/// The instant at which clocks show this, or where they never do the end of what they skip; the first of two.
pub fn instant(date: NaiveDate, time: NaiveTime, timezone: Tz) -> Option<Timestamp> {
    // The longest that clocks have ever skipped is a day.
    let mut local = date.and_time(time);
    for _ in 0..=26 * 60 {
        match timezone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return Some(at.to_utc()),
            // Clocks are changed on whole minutes.
            LocalResult::None => {
                local = local.checked_add_signed(TimeDelta::minutes(1))?;
                local = local.date().and_hms_opt(local.hour(), local.minute(), 0)?;
            }
        }
    }
    None
}

impl Window {
    /// The first start after `at`.
    fn start_after(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.starts {
            Starts::Once(start) => (*start > at).then_some(*start),
            Starts::Cron(cron) => {
                let first = shown_at(at, self.timezone);
                let times = std::iter::successors(Some(first), |local| cron.next_on_the_clock(*local)).skip(1);
                times.filter_map(|local| self.at_clock(local)).find(|start| *start > at)
            }
            Starts::At(time, days) => {
                let first = at.with_timezone(&self.timezone).date_naive().checked_sub_days(DayCount::new(1))?;
                (0..=FURTHEST_DAY)
                    .filter_map(|n| first.checked_add_days(DayCount::new(n)).filter(|date| days.hold(*date)))
                    .filter_map(|date| instant(date, *time, self.timezone))
                    .find(|start| *start > at)
            }
        }
    }

    /// The last start not after `at`.
    fn start_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.starts {
            Starts::Once(start) => (*start <= at).then_some(*start),
            Starts::Cron(cron) => {
                let shown = shown_at(at, self.timezone);
                // In an hour that is there twice the last start may be one that clocks show later.
                let set_back = shown_at(at - LONGEST_REPEATED, self.timezone) + LONGEST_REPEATED > shown;
                let last = cron.last_on_the_clock(if set_back { shown + LONGEST_REPEATED } else { shown });
                let earlier = |local: &NaiveDateTime| cron.last_on_the_clock(*local - TimeDelta::seconds(1));
                let times = std::iter::successors(last, earlier);
                times.filter_map(|local| self.at_clock(local)).find(|start| *start <= at)
            }
            Starts::At(time, days) => {
                let last = at.with_timezone(&self.timezone).date_naive().checked_add_days(DayCount::new(1))?;
                (0..=FURTHEST_DAY)
                    .filter_map(|n| last.checked_sub_days(DayCount::new(n)).filter(|date| days.hold(*date)))
                    .filter_map(|date| instant(date, *time, self.timezone))
                    .find(|start| *start <= at)
            }
        }
    }

    /// As [`instant`], in its time zone.
    fn at_clock(&self, local: NaiveDateTime) -> Option<Timestamp> {
        instant(local.date(), local.time(), self.timezone)
    }

    fn end_of(&self, start: Timestamp) -> Timestamp {
        start.checked_add_signed(self.length).unwrap_or(Timestamp::MAX_UTC)
    }

    /// The span that a start lies in: those that touch are one.
    fn span_around(&self, start: Timestamp) -> Span {
        let mut span = Span { start, end: self.end_of(start) };
        let mut last = start;
        for _ in 0..MOST_JOINED {
            let Some(next) = self.start_after(last).filter(|next| *next <= span.end) else { break };
            (last, span.end) = (next, span.end.max(self.end_of(next)));
        }
        for _ in 0..MOST_JOINED {
            let just_before = span.start - TimeDelta::microseconds(1);
            let Some(previous) = self.start_at_or_before(just_before).filter(|p| self.end_of(*p) >= span.start) else {
                break;
            };
            span.start = previous;
        }
        span
    }

    /// The newest span that has begun by then; it may be over.
    pub fn last_begun(&self, at: Timestamp) -> Option<Span> {
        self.start_at_or_before(at).map(|start| self.span_around(start))
    }

    /// The span that holds this instant.
    pub fn covering(&self, at: Timestamp) -> Option<Span> {
        let start = self.start_at_or_before(at).filter(|start| at < self.end_of(*start))?;
        Some(self.span_around(start))
    }

    /// Whether it is open at this instant.
    pub fn covers(&self, at: Timestamp) -> bool {
        self.start_at_or_before(at).is_some_and(|start| at < self.end_of(start))
    }

    /// The first span that begins after `at` and is not open then.
    pub fn next_after(&self, at: Timestamp) -> Option<Span> {
        let after = self.covering(at).map_or(at, |span| span.end);
        self.start_after(after).map(|start| self.span_around(start))
    }

    /// The spans that share anything with `from..to`, in their order, without an end where the window comes again for
    /// ever and `to` is far.
    pub fn spans(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Span> {
        let first = self.covering(from).or_else(|| self.next_after(from));
        std::iter::successors(first, |span| self.next_after(span.end)).take_while(move |span| span.start < to)
    }
}

/// A window as it is known: what was set, and what that means.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownWindow {
    pub settings: WindowSettings,
    /// `None`: what is stored cannot be read as a whole, and it is never open.
    pub window: Option<Window>,
    /// What of it cannot be read.
    pub unreadable: Option<String>,
    pub made: WindowMade,
}

/// Where a window comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowMade {
    Configured { source: String },
    Stored(StoredAs),
}

/// How a window made through the API is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAs {
    pub id: i64,
    pub created_at: Timestamp,
    /// The name of whoever made it.
    pub created_by: String,
    pub updated_at: Timestamp,
    /// Counts changes; the ETag.
    pub revision: i64,
}

impl KnownWindow {
    pub fn name(&self) -> &str {
        self.settings.name.as_deref().unwrap_or_default()
    }

    /// Of one made through the API.
    pub fn stored(&self) -> Option<&StoredAs> {
        match &self.made {
            WindowMade::Stored(stored) => Some(stored),
            WindowMade::Configured { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
