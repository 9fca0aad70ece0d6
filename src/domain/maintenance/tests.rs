use chrono::NaiveDate;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{from_micros, micros};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn read(settings: serde_json::Value) -> Result<Window, Vec<crate::domain::endpoint::RuleError>> {
    let settings: WindowSettings = serde_json::from_value(settings).unwrap();
    settings.read(chrono_tz::UTC, at("2026-01-01T00:00:00Z"))
}

fn window(mut settings: serde_json::Value) -> Window {
    settings["name"] = json!("w");
    settings["match"] = json!("*");
    read(settings).unwrap()
}

fn daily(time: &str, length: &str, timezone: &str) -> Window {
    window(json!({"at": time, "every": "day", "for": length, "timezone": timezone}))
}

/// The spans that touch these days, as `HH:MM` of UTC with the day of the month.
fn listed(window: &Window, from: &str, to: &str) -> Vec<String> {
    let shown = |at: Timestamp| at.format("%d %H:%M").to_string();
    window.spans(at(from), at(to)).map(|span| format!("{} – {}", shown(span.start), shown(span.end))).collect()
}

/// The instants of every change of clocks of 2026 and 2027 in both zones, and the days before and after. Each hour is
/// written down from the tables of the zones: Berlin 03-29 and 03-28 at 01:00 UTC, 10-25 and 10-31 at 01:00 UTC; New York
/// 03-08 and 03-14 at 07:00 UTC, 11-01 and 11-07 at 06:00 UTC.
#[test]
fn daily_windows_are_right_across_every_change_of_clocks() {
    let (berlin, new_york) = ("Europe/Berlin", "America/New_York");
    for (zone, time, from, to, spans) in [
        // 02:00 to 03:00 is skipped: from 03:00 summer time, which is 01:00 UTC.
        (
            berlin,
            "02:30",
            "2026-03-28T00:00:00Z",
            "2026-03-31T00:00:00Z",
            ["28 01:30 – 28 02:30", "29 01:00 – 29 02:00", "30 00:30 – 30 01:30"],
        ),
        // 02:00 to 03:00 is there twice: the first time counts, 00:30 UTC.
        (
            berlin,
            "02:30",
            "2026-10-24T00:00:00Z",
            "2026-10-27T00:00:00Z",
            ["24 00:30 – 24 01:30", "25 00:30 – 25 01:30", "26 01:30 – 26 02:30"],
        ),
        (
            berlin,
            "02:30",
            "2027-03-27T00:00:00Z",
            "2027-03-30T00:00:00Z",
            ["27 01:30 – 27 02:30", "28 01:00 – 28 02:00", "29 00:30 – 29 01:30"],
        ),
        (
            berlin,
            "02:30",
            "2027-10-30T00:00:00Z",
            "2027-11-02T00:00:00Z",
            ["30 00:30 – 30 01:30", "31 00:30 – 31 01:30", "01 01:30 – 01 02:30"],
        ),
        // New York skips 02:00 to 03:00: 01:30 is as ever, and goes on for its hour.
        (
            new_york,
            "01:30",
            "2026-03-07T00:00:00Z",
            "2026-03-10T00:00:00Z",
            ["07 06:30 – 07 07:30", "08 06:30 – 08 07:30", "09 05:30 – 09 06:30"],
        ),
        (
            new_york,
            "02:30",
            "2026-03-07T00:00:00Z",
            "2026-03-10T00:00:00Z",
            ["07 07:30 – 07 08:30", "08 07:00 – 08 08:00", "09 06:30 – 09 07:30"],
        ),
        // It has 01:00 to 02:00 twice: 01:30 counts the first time, 05:30 UTC; 02:30 is there once.
        (
            new_york,
            "01:30",
            "2026-10-31T00:00:00Z",
            "2026-11-03T00:00:00Z",
            ["31 05:30 – 31 06:30", "01 05:30 – 01 06:30", "02 06:30 – 02 07:30"],
        ),
        (
            new_york,
            "02:30",
            "2026-10-31T00:00:00Z",
            "2026-11-03T00:00:00Z",
            ["31 06:30 – 31 07:30", "01 07:30 – 01 08:30", "02 07:30 – 02 08:30"],
        ),
        (
            new_york,
            "01:30",
            "2027-03-13T00:00:00Z",
            "2027-03-16T00:00:00Z",
            ["13 06:30 – 13 07:30", "14 06:30 – 14 07:30", "15 05:30 – 15 06:30"],
        ),
        (
            new_york,
            "02:30",
            "2027-03-13T00:00:00Z",
            "2027-03-16T00:00:00Z",
            ["13 07:30 – 13 08:30", "14 07:00 – 14 08:00", "15 06:30 – 15 07:30"],
        ),
        (
            new_york,
            "01:30",
            "2027-11-06T00:00:00Z",
            "2027-11-09T00:00:00Z",
            ["06 05:30 – 06 06:30", "07 05:30 – 07 06:30", "08 06:30 – 08 07:30"],
        ),
        (
            new_york,
            "02:30",
            "2027-11-06T00:00:00Z",
            "2027-11-09T00:00:00Z",
            ["06 06:30 – 06 07:30", "07 07:30 – 07 08:30", "08 07:30 – 08 08:30"],
        ),
    ] {
        assert_eq!(listed(&daily(time, "1h", zone), from, to), spans, "{zone} {time} {from}");
        // A cron expression says the same.
        let (hour, minute) = time.split_once(':').unwrap();
        let cron = window(json!({"cron": format!("{minute} {hour} * * *"), "for": "1h", "timezone": zone}));
        assert_eq!(listed(&cron, from, to), spans, "cron {zone} {time} {from}");
    }
}

#[test]
fn a_window_holds_its_start_and_not_its_end() {
    let window = daily("02:00", "90m", "UTC");
    for (instant, covered) in [
        ("2026-05-01T01:59:59.999999Z", false),
        ("2026-05-01T02:00:00Z", true),
        ("2026-05-01T03:29:59.999999Z", true),
        ("2026-05-01T03:30:00Z", false),
    ] {
        assert_eq!(window.covers(at(instant)), covered, "{instant}");
        assert_eq!(window.covering(at(instant)).is_some(), covered, "{instant}");
    }
    let next = window.next_after(at("2026-05-01T02:30:00Z")).unwrap();
    assert_eq!(next.start, at("2026-05-02T02:00:00Z"), "the one that is open is not to come");
    assert_eq!(window.last_begun(at("2026-05-01T12:00:00Z")).unwrap().end, at("2026-05-01T03:30:00Z"));
}

#[test]
fn days_are_those_of_the_calendar_of_its_zone() {
    let days = |every: &str, count: usize| -> Vec<String> {
        let window = window(json!({"at": "23:30", "every": every, "for": "1h", "timezone": "America/New_York"}));
        let far = at("2028-12-31T00:00:00Z");
        let local = |span: Span| span.start.with_timezone(&chrono_tz::America::New_York).format("%a %m-%d").to_string();
        window.spans(at("2026-01-01T12:00:00Z"), far).take(count).map(local).collect()
    };
    assert_eq!(days("tue", 2), ["Tue 01-06", "Tue 01-13"]);
    assert_eq!(days("mon,thu", 3), ["Thu 01-01", "Mon 01-05", "Thu 01-08"]);
    assert_eq!(days("weekdays", 4), ["Thu 01-01", "Fri 01-02", "Mon 01-05", "Tue 01-06"]);
    assert_eq!(days("month-day 31", 4), ["Sat 01-31", "Tue 03-31", "Sun 05-31", "Fri 07-31"]);
    assert_eq!(days("month-day 1", 2), ["Thu 01-01", "Sun 02-01"]);
}

#[test]
fn a_start_of_its_own_is_there_once() {
    let once = window(json!({"start": "2026-12-01T22:00:00+01:00", "for": "2h"}));
    let (far, later) = (at("2100-01-01T00:00:00Z"), at("2026-12-01T23:00:00Z"));
    let spans: Vec<_> = once.spans(at("2000-01-01T00:00:00Z"), far).collect();
    assert_eq!(spans, [Span { start: at("2026-12-01T21:00:00Z"), end: later }]);
    assert!(once.next_after(later).is_none() && !once.covers(later));
    // By the clock, also one that is skipped, and one that is there twice.
    for (local, begins) in [
        ("2026-12-01T22:00", "2026-12-01T21:00:00Z"),
        ("2026-03-29T02:30", "2026-03-29T01:00:00Z"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
    ] {
        let once = window(json!({"start": local, "for": "2h", "timezone": "Europe/Berlin"}));
        assert_eq!(once.next_after(at("2026-01-01T00:00:00Z")).unwrap().start, at(begins), "{local}");
    }
}

#[test]
fn what_contradicts_itself_is_told_at_its_place() {
    let good = json!({"name": "n", "match": ["*"], "at": "02:00", "every": "day", "for": "1h"});
    read(good.clone()).unwrap();
    for (change, pointer, said) in [
        (json!({"name": null}), "/name", "required"),
        (json!({"name": " "}), "/name", "1 to 200"),
        (json!({"name": "a\nb"}), "/name", "control"),
        (json!({"match": null}), "/match", "required"),
        (json!({"match": []}), "/match", "1 to 200"),
        (json!({"for": null}), "/for", "required"),
        (json!({"for": 0}), "/for", "1 s"),
        (json!({"for": "367d"}), "/for", "366 days"),
        // 23 hours lie between two starts when clocks go forward.
        (json!({"for": "23h", "timezone": "Europe/Berlin"}), "/for", "23h"),
        (json!({"for": "1d"}), "/for", "never over"),
        (json!({"at": null, "every": null, "cron": "*/10 * * * *", "for": "10m"}), "/for", "10m"),
        (json!({"at": "25:00"}), "/at", "not a time of day"),
        (json!({"at": "2:00"}), "/at", "not a time of day"),
        (json!({"at": null}), "/at", "needs `at`"),
        (json!({"every": null}), "/every", "needs `every`"),
        (json!({"every": "month-day 32"}), "/every", "month-day 1"),
        (json!({"every": "mon,someday"}), "/every", "mon,thu"),
        (json!({"cron": "0 2 * * *"}), "/cron", "one of"),
        (json!({"at": null, "cron": "0 2 * * *"}), "/every", "goes with `at`"),
        (json!({"at": null, "every": null, "cron": "99 * * * *"}), "/cron", "not a cron"),
        (json!({"at": null, "every": null}), "/start", "required"),
        (json!({"at": null, "every": null, "start": "tomorrow"}), "/start", "not a time"),
        (json!({"timezone": "Mars/Olympus"}), "/timezone", "IANA"),
        (json!({"reason": "x".repeat(2001)}), "/reason", "2000"),
    ] {
        let mut settings = good.clone();
        for (key, value) in change.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let errors = read(settings).unwrap_err();
        assert_eq!((errors.len(), errors[0].pointer.as_str()), (1, pointer), "{change}: {errors:?}");
        assert!(errors[0].detail.contains(said), "{change}: {errors:?}");
    }
}

/// Zones with changes of clocks of an hour, of half an hour, at midnight, and without any.
const ZONES: [&str; 6] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata", "UTC"];

proptest! {
    #[test]
    fn each_day_is_covered_for_as_long_as_it_says(
        zone in 0..ZONES.len(), minute in 0_u32..1_440, length in 1_i64..=22 * 60, day in 0_u64..730,
    ) {
        let time = format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = daily(&time, &format!("{length}m"), ZONES[zone]);
        let timezone: Tz = ZONES[zone].parse().unwrap();
        let date = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + DayCount::new(day);
        let noon = |date: NaiveDate| timezone.from_local_datetime(&date.and_hms_opt(12, 0, 0).unwrap()).unwrap().to_utc();
        // All that begin on three days: each once, for its whole length, none before its time of the clock.
        let (from, to) = (noon(date - DayCount::new(2)), noon(date + DayCount::new(2)));
        let spans: Vec<_> = window.spans(from, to).collect();
        for pair in spans.windows(2) {
            prop_assert!(pair[0].end < pair[1].start, "{pair:?} overlap or touch");
        }
        for span in &spans {
            prop_assert_eq!(span.end - span.start, TimeDelta::minutes(length));
            let clock = span.start.with_timezone(&timezone).time();
            let wanted = NaiveTime::parse_from_str(&time, "%H:%M").unwrap();
            let late = clock - wanted;
            prop_assert!(late >= TimeDelta::zero() && late < TimeDelta::hours(1), "{span:?} begins at {clock}");
        }
        for n in 0..3 {
            let wanted = date - DayCount::new(1) + DayCount::new(n);
            let begin = spans.iter().filter(|s| s.start.with_timezone(&timezone).date_naive() == wanted).count();
            prop_assert_eq!(begin, 1, "{} of {:?}", wanted, spans);
        }
    }

    #[test]
    fn what_is_covered_is_what_is_listed(
        zone in 0..ZONES.len(), kind in 0..4, hour in 0..24, minute in 0..60, length in 1_i64..=300,
        instant_s in 1_767_225_600_i64..1_830_297_600,
    ) {
        let mut settings = json!({"for": format!("{length}m"), "timezone": ZONES[zone]});
        let time = json!(format!("{hour:02}:{minute:02}"));
        match kind {
            0 => (settings["at"], settings["every"]) = (time, json!("day")),
            1 => (settings["at"], settings["every"]) = (time, json!("mon,thu")),
            2 => (settings["at"], settings["every"]) = (time, json!("month-day 29")),
            _ => settings["cron"] = json!(format!("{minute} {hour} * * 1-5")),
        }
        let window = window(settings);
        let instant = from_micros(instant_s * 1_000_000);
        let (from, to) = (instant - TimeDelta::days(70), instant + TimeDelta::days(70));
        let spans: Vec<_> = window.spans(from, to).collect();
        let holding = spans.iter().find(|span| span.start <= instant && instant < span.end).copied();
        prop_assert_eq!(window.covers(instant), holding.is_some());
        prop_assert_eq!(window.covering(instant), holding);
        let next = spans.iter().find(|span| span.start > instant).copied();
        prop_assert_eq!(window.next_after(instant), next);
        let begun = spans.iter().rev().find(|span| span.start <= instant).copied();
        prop_assert_eq!(window.last_begun(instant), begun);
        for span in spans.iter().take(3) {
            prop_assert!(window.covers(span.start) && !window.covers(span.end));
            prop_assert!(window.covers(from_micros(micros(span.end) - 1)));
        }
    }
}
