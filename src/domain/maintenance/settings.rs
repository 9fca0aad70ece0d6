//! What of a window is set, and its rules.

use std::time::Duration;

use chrono::{LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Days, Starts, Window, instant};
use crate::domain::Timestamp;
use crate::domain::endpoint::RuleError;
use crate::domain::schedule::{CronSchedule, parse_timezone};
use crate::domain::selector::{self, Selectors};
use crate::domain::setting::DurationSetting;

/// The longest that a window is open at a time.
pub const LONGEST: Duration = Duration::from_hours(366 * 24);

/// The longest name, in characters.
const LONGEST_NAME: usize = 200;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 2_000;

/// Starts that are looked at to find out whether one comes while the window is still open.
const STARTS_COMPARED: usize = 400;

/// What of a window is set, as it is written. It begins once (`start`), or at a time of day (`at` and `every`), or by a
/// cron expression (`cron`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowSettings {
    /// Each window has its own. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "database upgrade", min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Begins once, then: RFC 3339, or without an offset by the clock of `timezone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-12-01T22:00:00Z", max_length = 40)]
    pub start: Option<String>,
    /// Begins at this time of day, on the days of `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "02:00", max_length = 8)]
    pub at: Option<String>,
    /// `day`, `weekdays`, one or several of `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun` with commas between, or
    /// `month-day 1` to `month-day 31` (months without it are passed over).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mon,thu", max_length = 100)]
    pub every: Option<String>,
    /// Begins by a cron expression of 5 fields, or of 6 with seconds first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub cron: Option<String>,
    /// How long it is open each time, 1 s to 366 days and less than the time between two starts. Required but in a
    /// patch.
    #[serde(skip_serializing_if = "Option::is_none", rename = "for")]
    pub length: Option<DurationSetting>,
    /// Of `at`, `cron` and a `start` without an offset. Default: the monitor's `timezone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin", max_length = 100)]
    pub timezone: Option<String>,
    /// On which endpoints work is being done. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none", rename = "match")]
    pub selectors: Option<Selectors>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
}

fn broken(pointer: &str, code: &'static str, detail: impl Into<String>) -> RuleError {
    RuleError { pointer: pointer.to_owned(), code, detail: detail.into() }
}

/// Whether a text may be shown on one line.
fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

impl WindowSettings {
    /// The window. `timezone` is that of windows which say none; `now` serves only to refuse a cron expression without a
    /// next date.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn read(&self, timezone: Tz, now: Timestamp) -> Result<Window, Vec<RuleError>> {
        let mut errors = Vec::new();
        let name = self.name.clone().unwrap_or_default();
        if self.name.is_none() {
            errors.push(broken("/name", "required", "a name is required"));
        } else if name.trim().is_empty() || name.chars().count() > LONGEST_NAME || !is_plain(&name) {
            let detail = format!("must be 1 to {LONGEST_NAME} characters, without control characters");
            errors.push(broken("/name", "invalid", detail));
        }
        let timezone = match self.timezone.as_deref().map(parse_timezone) {
            None => timezone,
            Some(Ok(zone)) => zone,
            Some(Err(message)) => {
                errors.push(broken("/timezone", "invalid", message));
                timezone
            }
        };
        let selectors = self.selectors.clone().unwrap_or_default();
        if let Err(error) = check_selectors(self.selectors.as_ref()) {
            errors.push(error);
        }
        let reason = self.reason.clone().unwrap_or_default();
        if reason.chars().count() > LONGEST_REASON || reason.contains('\0') {
            let detail = format!("at most {LONGEST_REASON} characters, none of them NUL");
            errors.push(broken("/reason", "out_of_range", detail));
        }
        let length = match self.length.map(|length| length.0) {
            None => {
                errors.push(broken("/for", "required", "`for` is required: how long it is open each time"));
                None
            }
            Some(length) if length < Duration::from_secs(1) || length > LONGEST => {
                errors.push(broken("/for", "out_of_range", "must be 1 s to 366 days"));
                None
            }
            Some(length) => TimeDelta::from_std(length).ok(),
        };
        let starts = self.starts(timezone, now).map_err(|error| errors.push(error)).ok();
        let (Some(starts), Some(length)) = (starts, length) else { return Err(errors) };
        let window = Window { name, selectors, reason, timezone, starts, length };
        if let Some(shortest) = window.shortest_pause(now).filter(|shortest| *shortest <= length) {
            let between = DurationSetting(shortest.to_std().unwrap_or_default());
            let detail = format!("must be less than the time between two starts ({between}), or it is never over");
            errors.push(broken("/for", "out_of_range", detail));
        }
        if errors.is_empty() { Ok(window) } else { Err(errors) }
    }

    fn starts(&self, timezone: Tz, now: Timestamp) -> Result<Starts, RuleError> {
        let ways = [("/start", self.start.is_some()), ("/at", self.at.is_some()), ("/cron", self.cron.is_some())];
        let mut given = ways.iter().filter(|(_, is_given)| *is_given);
        match (given.next(), given.next()) {
            (_, Some((second, _))) => {
                let detail = "give one of `start`, `at` with `every`, and `cron`";
                return Err(broken(second, "conflict", detail));
            }
            (None, None) if self.every.is_some() => {
                return Err(broken("/at", "required", "`every` needs `at`: the time of day, such as \"02:00\""));
            }
            (None, None) => {
                let detail = "when it begins is required: `start` for once, `at` with `every`, or `cron`";
                return Err(broken("/start", "required", detail));
            }
            (Some(_), None) => {}
        }
        if let Some(every) = self.every.as_ref().filter(|_| self.at.is_none()) {
            let detail = format!("`{every}` goes with `at`, the time of day, and with nothing else");
            return Err(broken("/every", "conflict", detail));
        }
        if let Some(start) = &self.start {
            return read_start(start, timezone).map(Starts::Once);
        }
        if let Some(expression) = &self.cron {
            let schedule = CronSchedule::parse(expression, timezone, now);
            return schedule.map(Starts::Cron).map_err(|message| broken("/cron", "invalid", message));
        }
        let at = self.at.as_deref().unwrap_or_default();
        let time = ["%H:%M", "%H:%M:%S"].into_iter().find_map(|form| NaiveTime::parse_from_str(at, form).ok());
        let Some(time) = time.filter(|_| matches!(at.len(), 5 | 8)) else {
            return Err(broken("/at", "invalid", format!("`{at}` is not a time of day such as \"02:00\"")));
        };
        let Some(every) = &self.every else {
            let detail = "`at` needs `every`: day, weekdays, \"mon,thu\" or month-day 1";
            return Err(broken("/every", "required", detail));
        };
        let days = read_days(every).ok_or_else(|| {
            let detail = format!("`{every}` is not day, weekdays, a list of days such as \"mon,thu\", or month-day 1");
            broken("/every", "invalid", detail)
        })?;
        Ok(Starts::At(time, days))
    }
}

/// Whether the list of `match` can be one.
pub(in crate::domain) fn check_selectors(selectors: Option<&Selectors>) -> Result<(), RuleError> {
    let Some(Selectors(list)) = selectors else {
        let detail = "`match` is required: *, group:core, tag:prod, id:12, group/name or the name of an endpoint";
        return Err(broken("/match", "required", detail));
    };
    if list.is_empty() || list.len() > selector::MOST {
        let detail = format!("must be 1 to {} selectors; * is every endpoint", selector::MOST);
        return Err(broken("/match", "out_of_range", detail));
    }
    Ok(())
}

fn read_start(text: &str, timezone: Tz) -> Result<Timestamp, RuleError> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(whole(at.to_utc()));
    }
    let local = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let at = local.and_then(|local| match timezone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.to_utc()),
        LocalResult::None => instant(local.date(), local.time(), timezone),
    });
    at.map(whole).ok_or_else(|| {
        let detail = format!("`{text}` is not a time such as 2026-12-01T22:00:00Z or, by the clock, 2026-12-01T22:00");
        broken("/start", "invalid", detail)
    })
}

/// To whole microseconds, as everything is that is recorded.
fn whole(at: Timestamp) -> Timestamp {
    crate::domain::from_micros(crate::domain::micros(at))
}

fn read_days(every: &str) -> Option<Days> {
    let every = every.trim();
    match every {
        "day" => return Some(Days::Every),
        "weekdays" => return Some(Days::OfWeek(0b001_1111)),
        _ => {}
    }
    if let Some(day) = every.strip_prefix("month-day") {
        let day = day.trim();
        let number: u32 = day.parse().ok().filter(|number| (1..=31).contains(number))?;
        return (day == number.to_string()).then_some(Days::OfMonth(number));
    }
    let mut bits = 0;
    for word in every.split(',') {
        let day = match word.trim() {
            "mon" => Weekday::Mon,
            "tue" => Weekday::Tue,
            "wed" => Weekday::Wed,
            "thu" => Weekday::Thu,
            "fri" => Weekday::Fri,
            "sat" => Weekday::Sat,
            "sun" => Weekday::Sun,
            _ => return None,
        };
        bits |= 1 << day.num_days_from_monday();
    }
    Some(Days::OfWeek(bits))
}

impl Window {
    /// The shortest time between two of the starts to come; `None` where there are not two.
    fn shortest_pause(&self, now: Timestamp) -> Option<TimeDelta> {
        let starts = std::iter::successors(self.start_after(now), |start| self.start_after(*start));
        let starts: Vec<_> = starts.take(STARTS_COMPARED).collect();
        starts.windows(2).map(|pair| pair[1] - pair[0]).min()
    }
}
