//! Uptime of any window, compared with a count of the results themselves.

use api_monitor::domain::check::{CheckResult, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::Outcome;
use api_monitor::domain::uptime::{OpenHour, Period, day_of, hour_of};
use api_monitor::domain::{Timestamp, from_micros, micros};
use api_monitor::service::reports::{Retention, UptimeQuery, UptimeReport, WindowQuery, counted_of_many, uptime};
use api_monitor::store::recount::recount;
use api_monitor::store::{history, rollups};

use super::{Recorder, add_endpoint, at, close_all_days, counted, days, failed, good, history_of, plus, with_database};
use crate::database::{Kind, on_both_databases};

const RETENTION: Retention = Retention { history_days: 90, hourly_days: 400 };

fn window(endpoint: EndpointId, from: Timestamp, to: Timestamp, now: Timestamp) -> UptimeQuery {
    UptimeQuery { endpoint, from, to, now, retention: RETENTION }
}

/// Everything a report says, against the results.
fn assert_exact(report: &UptimeReport, results: &[CheckResult], note: &str) {
    let (from, to) = (report.from, report.to);
    assert_eq!(report.bucket, counted(results, from, to), "{note}: {from}..{to}");
    let newest = |wanted: fn(&CheckResult) -> bool| {
        results.iter().filter(|r| (from..to).contains(&r.scheduled_at) && wanted(r)).map(|r| r.scheduled_at).max()
    };
    assert_eq!(report.last_check, newest(|r| !matches!(r.outcome, Outcome::Missed(_))), "{note}");
    assert_eq!(report.last_success, newest(|r| r.outcome.is_good() && !r.in_maintenance), "{note}");
    assert_eq!(report.last_failure, newest(|r| r.outcome.failure().is_some() && !r.in_maintenance), "{note}");
    assert_percentiles(report, results, note);
}

fn assert_percentiles(report: &UptimeReport, results: &[CheckResult], note: &str) {
    let mut latencies: Vec<u32> = results
        .iter()
        .filter(|r| (report.from..report.to).contains(&r.scheduled_at) && r.outcome.is_good() && !r.in_maintenance)
        .map(|r| r.timings.total_us)
        .collect();
    latencies.sort_unstable();
    for (q, found) in [(0.50, report.p50_us), (0.95, report.p95_us), (0.99, report.p99_us)] {
        let Some(last) = latencies.len().checked_sub(1) else {
            assert_eq!(found, None, "{note}");
            continue;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let exact = f64::from(latencies[(q * last as f64).round() as usize]);
        let found = found.unwrap();
        assert!((found - exact).abs() <= exact * 0.0101, "{note}: p{q} is {found}, exactly {exact}");
    }
}

async fn one_failure_in_1008_checks_is_99_90_and_each_edge_is_exact_at_the_second(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        // Every ten minutes for a week, the failure in the first second of the window.
        let now = at("2026-11-21T10:20:30Z");
        let from = plus(now, -days(7));
        let mut results: Vec<_> = (0..1_008).map(|n| good(id, plus(from, n * 600), 12_000)).collect();
        results[0] = failed(id, from);
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        close_all_days(store, day_of(now)).await;
        let open = recorder.open.as_ref();
        for period in Period::ALL {
            let query = window(id, from_micros(micros(now) - period.length().num_microseconds().unwrap()), now, now);
            let report = uptime(store, open, &query).await.unwrap();
            assert_eq!(
                (report.from, report.to),
                (if query.from < plus(now, -days(90)) { hour_of(query.from) } else { query.from }, now)
            );
            assert_exact(&report, &results, period.as_str());
        }
        let week = uptime(store, open, &window(id, from, now, now)).await.unwrap();
        assert_eq!((week.bucket.good(), week.bucket.counted()), (1_007, 1_008));
        assert_eq!(week.bucket.uptime_percentage(), Some(99.9));
        assert_eq!(week.last_failure, Some(from));
        let second_later = uptime(store, open, &window(id, plus(from, 1), now, now)).await.unwrap();
        assert_eq!(second_later.bucket.uptime_percentage(), Some(100.0));
        assert_eq!((second_later.bucket.counted(), second_later.last_failure), (1_007, None));
        let last = results[1_007].scheduled_at;
        assert_eq!(uptime(store, open, &window(id, from, last, now)).await.unwrap().bucket.counted(), 1_007);
        assert_eq!(uptime(store, open, &window(id, from, plus(last, 1), now)).await.unwrap().bucket.counted(), 1_008);
    })
    .await;
}

async fn without_a_check_there_is_no_percentage(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let now = at("2026-11-21T10:20:30Z");
        for query in [window(id, plus(now, -days(30)), now, now), window(id, now, plus(now, -5), now)] {
            for open in [None, Some(&OpenHour::holding(now))] {
                let report = uptime(store, open, &query).await.unwrap();
                assert!(report.bucket.is_empty());
                assert_eq!(report.bucket.uptime_percentage(), None);
                assert_eq!((report.p50_us, report.last_check, report.last_failure), (None, None, None));
            }
        }
    })
    .await;
}

/// Random windows over random histories, with an open hour and without, with days closed and not, with sketches
/// dropped, with late results.
async fn any_window_over_any_history_is_exact(kind: Kind) {
    for seed in 0..6 {
        with_database(kind, async |store| {
            let mut random = fastrand::Rng::with_seed(seed);
            let id = add_endpoint(store, "a").await.id;
            // Another endpoint's history beside it must not show.
            let other = add_endpoint(store, "b").await.id;
            let start = plus(at("2026-11-01T00:00:00Z"), random.i64(0..days(1)));
            let now = plus(start, random.i64(days(4)..days(6)));
            let interval = [30, 60, 300, 3_601, 7_200][random.usize(0..5)];
            let mut results = history_of(id, start, now, interval, &mut random);
            // Some arrive late, when their hour is over.
            let mut in_time = Vec::new();
            let mut late = Vec::new();
            for result in results.clone() {
                if random.u8(0..50) == 0 { late.push(result) } else { in_time.push(result) }
            }
            let mut recorder = Recorder::new(store);
            recorder.record(&in_time).await;
            Recorder::new(store).record(&history_of(other, start, now, 400, &mut random)).await;
            if random.bool() {
                close_all_days(store, plus(day_of(now), -days(1))).await;
            }
            random.shuffle(&mut late);
            recorder.record(&late).await;
            close_all_days(store, day_of(plus(now, -i64::from(random.bool()) * days(2)))).await;
            while rollups::drop_hour_sketches(store.writer(), plus(now, -days(3)), 7).await.unwrap() > 0 {}
            results.sort_by_key(|r| r.scheduled_at);
            let open = recorder.open;
            for round in 0..kind.rounds(60) {
                let from = plus(start, random.i64(-4_000..(micros(now) - micros(start)) / 1_000_000 + 4_000));
                let to = match random.u8(0..4) {
                    0 => now,
                    1 => plus(from, random.i64(0..4_000)),
                    2 => hour_of(plus(from, random.i64(0..days(2)))),
                    _ => plus(from, random.i64(0..days(6))),
                };
                let query = window(id, from, to, now);
                for open in [open.as_ref(), None] {
                    let report = uptime(store, open, &query).await.unwrap();
                    assert_eq!((report.from, report.to), (from, to.max(from)));
                    assert_exact(&report, &results, &format!("seed {seed} round {round} {open:?}"));
                }
            }
        })
        .await;
    }
}

async fn edges_at_the_borders_of_hours_and_days_take_each_check_once(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-01T00:00:00Z");
        let now = plus(start, days(3) + 1_800);
        // A check on each border, and one a microsecond before and after it.
        let borders: Vec<_> = (0..=72).map(|n| plus(start, n * 3_600)).collect();
        let shifted = |at: Timestamp, by: i64| from_micros(micros(at) + by);
        let results: Vec<_> =
            borders.iter().flat_map(|at| [-1, 0, 1].map(|by| good(id, shifted(*at, by), 1_000))).collect();
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        close_all_days(store, day_of(now)).await;
        let all = [24, 25, 47, 48, 49, 72];
        for (number, from) in [0, 1, 23, 24, 25, 48, 71, 72].into_iter().enumerate() {
            for to in (0..kind.rounds(all.len())).map(|n| all[(number + n) % all.len()]) {
                for (before, after) in [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 1), (1, 2), (1_000_000, -1_000_000)] {
                    let query = window(id, shifted(borders[from], before), shifted(borders[to], after), now);
                    for open in [recorder.open.as_ref(), None] {
                        let report = uptime(store, open, &query).await.unwrap();
                        assert_exact(&report, &results, &format!("hours {from}..{to}, {before} and {after} µs"));
                    }
                }
            }
        }
    })
    .await;
}

async fn an_hour_that_went_on_after_a_clean_stop_is_counted_whole(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-21T08:00:00Z");
        let mut results: Vec<_> = (0..90).map(|n| good(id, plus(start, n * 60), 1_000)).collect();
        let mut before = Recorder::new(store);
        before.record(&results).await;
        let stopped = before.open.unwrap();
        rollups::put_hours(store.writer(), &[(id, stopped.start, stopped.rollup)]).await.unwrap();

        let restarted = plus(start, 90 * 60);
        let mut after = Recorder { store, open: recount(store, restarted).await.unwrap().remove(&id) };
        let more: Vec<_> = (91..110).map(|n| failed(id, plus(start, n * 60))).collect();
        after.record(&more).await;
        results.extend(more);
        // Within the hour, and when it is over and nothing came to close it.
        for now in [plus(start, 110 * 60), plus(start, 130 * 60)] {
            for open in [after.open.as_ref(), None] {
                for from in [start, plus(start, 3_600), plus(start, 100 * 60)] {
                    let report = uptime(store, open, &window(id, from, now, now)).await.unwrap();
                    assert_exact(&report, &results, &format!("{from}..{now}, {}", open.is_some()));
                }
            }
        }
    })
    .await;
}

async fn what_is_recorded_after_the_open_hour_was_taken_is_not_counted_twice(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-21T08:00:00Z");
        let now = plus(start, 2 * 3_600 + 3_590);
        let mut results: Vec<_> = (0..179).map(|n| good(id, plus(start, n * 60), 1_000)).collect();
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        let taken = recorder.open.clone();
        // The hour goes on, ends, and is stored.
        let more: Vec<_> = (179..200).map(|n| failed(id, plus(start, n * 60))).collect();
        recorder.record(&more).await;
        results.extend(more);
        for (from, to) in [(start, now), (plus(start, 90), plus(now, 3_600)), (plus(now, -600), plus(now, 20))] {
            let report = uptime(store, taken.as_ref(), &window(id, from, to, now)).await.unwrap();
            assert_exact(&report, &results, "stale open hour");
        }
    })
    .await;
}

async fn beyond_retention_edges_go_to_hours_and_days_and_the_answer_says_so(kind: Kind) {
    with_database(kind, async |store| {
        let mut random = fastrand::Rng::with_seed(8);
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-01T07:11:00Z");
        let now = at("2026-11-12T13:14:15Z");
        let retention = Retention { history_days: 3, hourly_days: 6 };
        let results = history_of(id, start, now, 120, &mut random);
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        close_all_days(store, day_of(now)).await;
        while rollups::drop_hour_sketches(store.writer(), plus(now, -days(2)), 50).await.unwrap() > 0 {}
        while rollups::delete_hours_before(store.writer(), plus(now, -days(6)), 50).await.unwrap() > 0 {}
        while history::delete_before(store.writer(), plus(now, -days(3)), 500).await.unwrap() > 0 {}
        let report = async |from, to| {
            let query = UptimeQuery { endpoint: id, from, to, now, retention };
            uptime(store, recorder.open.as_ref(), &query).await.unwrap()
        };

        let exact = report(plus(now, -days(3)), plus(now, -1)).await;
        assert_eq!((exact.from, exact.to), (plus(now, -days(3)), plus(now, -1)));
        assert_exact(&exact, &results, "single checks");

        let hours = report(at("2026-11-07T10:30:00Z"), at("2026-11-08T10:30:00Z")).await;
        assert_eq!((hours.from, hours.to), (at("2026-11-07T10:00:00Z"), at("2026-11-08T11:00:00Z")));
        assert_eq!(hours.bucket, counted(&results, hours.from, hours.to));
        assert_eq!(hours.last_check, None, "no single check is kept that old");
        assert!(hours.p50_us.is_some(), "from the sketches of both days");

        let whole_days = report(at("2026-11-02T10:30:00Z"), at("2026-11-03T10:30:00Z")).await;
        assert_eq!((whole_days.from, whole_days.to), (at("2026-11-02T00:00:00Z"), at("2026-11-04T00:00:00Z")));
        assert_eq!(whole_days.bucket, counted(&results, whole_days.from, whole_days.to));
        assert_percentiles(&whole_days, &results, "days");

        for _ in 0..200 {
            let from = plus(start, random.i64(-days(1)..days(11)));
            let found = report(from, plus(from, random.i64(1..days(11)))).await;
            let expected = counted(&results, found.from, found.to);
            assert_eq!(found.bucket, expected, "{}..{}", found.from, found.to);
        }
    })
    .await;
}

async fn checks_by_hand_and_missed_slots_are_told_apart(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let start = at("2026-11-21T08:59:59Z");
        let results = [
            CheckResult { in_maintenance: true, ..failed(id, start) },
            CheckResult { trigger: Trigger::Manual, ..good(id, plus(start, 1), 7_000) },
            CheckResult::missed(id, plus(start, 3_000), 50, api_monitor::domain::outcome::MissedReason::Stopped),
        ];
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        let now = plus(start, 3_100);
        let report = uptime(store, recorder.open.as_ref(), &window(id, start, now, now)).await.unwrap();
        let bucket = &report.bucket;
        assert_eq!((bucket.up, bucket.down, bucket.maintenance, bucket.missed), (1, 0, 1, 50));
        assert_eq!(bucket.uptime_percentage(), Some(100.0));
        assert_exact(&report, &results, "by hand");
    })
    .await;
}

/// Endpoints that are checked now, some of them rarely, and some that have long been at rest.
async fn many_endpoints_at_once_are_counted_as_each_by_itself(kind: Kind) {
    with_database(kind, async |store| {
        let mut random = fastrand::Rng::with_seed(11);
        let start = plus(at("2026-11-01T00:00:00Z"), 4_321);
        let now = plus(start, days(3) + 1_234);
        let mut all = Vec::new();
        for n in 0..24_i64 {
            let id = add_endpoint(store, &format!("e{n}")).await.id;
            let end = if n % 6 == 5 { plus(now, -random.i64(days(1)..days(2))) } else { now };
            let results =
                history_of(id, start, end, [60, 400, 3_000, 9_000][usize::try_from(n % 4).unwrap()], &mut random);
            let mut recorder = Recorder::new(store);
            recorder.record(&results).await;
            // What is at rest may have no open hour: its last one is in single checks.
            let open = recorder.open.filter(|_| end == now || n % 12 == 11);
            all.push((id, open, results));
            if n == 3 {
                close_all_days(store, plus(day_of(now), -days(1))).await;
            }
        }
        close_all_days(store, plus(day_of(now), -days(1))).await;
        let asked: Vec<_> = all.iter().map(|(id, open, _)| (*id, open.as_ref())).collect();
        for round in 0..kind.rounds(60) {
            let from = plus(start, random.i64(-4_000..days(3)));
            let to = match random.u8(0..4) {
                0 => now,
                1 => plus(from, random.i64(0..4_000)),
                2 => hour_of(plus(from, random.i64(0..days(2)))),
                _ => plus(from, random.i64(0..days(4))),
            };
            let query = WindowQuery { from, to, now, retention: RETENTION };
            let (answered, buckets) = counted_of_many(store.readers(), &asked, query).await.unwrap();
            assert_eq!((answered.start, answered.end), (from, to.max(from)));
            assert_eq!(buckets.len(), all.len());
            for (id, _, results) in &all {
                assert_eq!(buckets[id], counted(results, from, to), "round {round}: endpoint {id} in {from}..{to}");
            }
        }
    })
    .await;
}

on_both_databases!(
    one_failure_in_1008_checks_is_99_90_and_each_edge_is_exact_at_the_second,
    without_a_check_there_is_no_percentage,
    any_window_over_any_history_is_exact,
    edges_at_the_borders_of_hours_and_days_take_each_check_once,
    an_hour_that_went_on_after_a_clean_stop_is_counted_whole,
    what_is_recorded_after_the_open_hour_was_taken_is_not_counted_twice,
    beyond_retention_edges_go_to_hours_and_days_and_the_answer_says_so,
    checks_by_hand_and_missed_slots_are_told_apart,
    many_endpoints_at_once_are_counted_as_each_by_itself
);
