//! Uptime, history and the summary over recorded checks.

use std::time::Duration;

use api_monitor::clock::Clock;
use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::incident::EndpointState;
use api_monitor::domain::outcome::{Failure, FailureKind, MissedReason, Outcome, Status};
use api_monitor::domain::uptime::{DAY_US, HOUR_US, Rollup, hour_of};
use api_monitor::domain::{from_micros, micros};
use api_monitor::store::{history, rollups};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::app::TestApp;

/// Ten checks a minute apart, the newest a minute ago: the third failed, the fifth slot was missed.
async fn recorded() -> TestApp {
    let app = TestApp::start().await;
    app.create(&json!({"name": "a", "url": "https://example.com"})).await;
    let now = app.clock.now();
    let results: Vec<_> = (1..=10)
        .map(|n| {
            let at = now - TimeDelta::minutes(n);
            if n == 5 {
                return CheckResult::missed(EndpointId(1), at, 1, MissedReason::Overrun);
            }
            let failure = || Failure::new(FailureKind::HttpStatus, "GET returned 500, expected 200");
            CheckResult {
                endpoint_id: EndpointId(1),
                scheduled_at: at,
                started_at: at,
                outcome: if n == 3 { Outcome::Down(failure()) } else { Outcome::Up },
                slots: 1,
                status_code: Some(if n == 3 { 500 } else { 200 }),
                timings: Timings { total_us: 100_000, ..Timings::default() },
                attempts: 1,
                trigger: Trigger::Scheduled,
                in_maintenance: false,
            }
        })
        .collect();
    history::append(app.ctx.store.writer(), &results).await.unwrap();
    app
}

#[tokio::test]
async fn uptime_counts_exactly() {
    let app = recorded().await;
    let stats = app.get("/api/v1/stats/uptime/1?period=1h").await.json();
    assert_eq!(stats["uptime_percentage"], 88.89);
    for (field, expected) in [("total_checks", 9), ("successful_checks", 8), ("failed_checks", 1), ("missed_checks", 1)]
    {
        assert_eq!(stats[field], expected, "{field}");
    }
    assert_eq!(stats["average_response_time"], 0.1);
    assert_eq!((&stats["availability_percentage"], &stats["downtime_seconds"]), (&json!(100.0), &json!(0.0)));
    assert_eq!(stats["last_check"], "2026-03-01T11:59:01Z");
    assert_eq!(stats["last_failure"], "2026-03-01T11:57:01Z");
    let from = "/api/v1/stats/uptime/1?from=2026-03-01T13:56:30%2B02:00&to=2026-03-01T11:58:30Z";
    let custom = app.get(from).await.json();
    assert_eq!((&custom["period"], &custom["total_checks"]), (&json!("custom"), &json!(2)));

    app.create(&json!({"name": "empty", "url": "https://example.com"})).await;
    let nothing = app.get("/api/v1/stats/uptime/2").await.json();
    assert_eq!(
        (&nothing["uptime_percentage"], &nothing["total_checks"], &nothing["period"]),
        (&Value::Null, &json!(0), &json!("24h"))
    );
}

#[tokio::test]
async fn history_is_newest_first_filtered_and_paged() {
    let app = recorded().await;
    let get = async |query: &str| app.get(&format!("/api/v1/stats/history/1{query}")).await.json();
    let all = get("").await;
    assert_eq!((&all["total"], all["checks"].as_array().unwrap().len()), (&json!(10), 10));
    assert_eq!(all["checks"][0]["checked_at"], "2026-03-01T11:59:01Z");
    assert_eq!(all["checks"][2]["error_message"], "GET returned 500, expected 200");
    let missed = &all["checks"][4];
    assert_eq!(
        (&missed["success"], &missed["outcome"], &missed["missed_reason"]),
        (&Value::Null, &json!("missed"), &json!("overrun"))
    );

    let filtered = get("?from_date=2026-03-01T12:55:00%2B01:00&to_date=2026-03-01T11:58:00Z&limit=2").await;
    assert_eq!((&filtered["total"], filtered["checks"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(filtered["from_date"], "2026-03-01T11:55:00Z");
    assert_eq!(get("?to_date=2026-02-28").await["total"], 0);
    assert_eq!(get("?to_date=2026-03-01").await["total"], 10);

    let (mut seen, mut query) = (Vec::new(), "?limit=4".to_owned());
    loop {
        let page = get(&query).await;
        seen.extend(page["checks"].as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_i64() else { break };
        query = format!("?limit=4&cursor={cursor}");
    }
    let expected: Vec<_> = all["checks"].as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()).collect();
    assert_eq!(seen, expected);
}

/// The single checks of its last hour are long gone, and the hours are kept for longer.
#[tokio::test]
async fn a_series_has_the_last_hour_of_an_endpoint_that_has_long_been_at_rest() {
    let app = recorded().await;
    app.create(&json!({"name": "at rest", "url": "https://example.com", "is_active": false})).await;
    let id = EndpointId(2);
    let last = hour_of(from_micros(micros(app.clock.now()) - 100 * DAY_US));
    let check = |at| CheckResult {
        endpoint_id: id,
        scheduled_at: at,
        started_at: at,
        outcome: Outcome::Up,
        slots: 1,
        status_code: Some(200),
        timings: Timings { total_us: 100_000, ..Timings::default() },
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    };
    let hours: Vec<_> = (0..3)
        .map(|n| {
            let start = from_micros(micros(last) - n * HOUR_US);
            let mut rollup = Rollup::with_sketch();
            rollup.add(&check(start));
            (id, start, rollup)
        })
        .collect();
    rollups::put_hours(app.ctx.store.writer(), &hours).await.unwrap();
    let (from, to) = (last - TimeDelta::hours(10), last + TimeDelta::hours(10));
    let window = format!("from={}&to={}", from.format("%Y-%m-%dT%H:%M:%SZ"), to.format("%Y-%m-%dT%H:%M:%SZ"));
    let uptime = app.get(&format!("/api/v1/stats/uptime/2?{window}")).await.json();
    assert_eq!(uptime["successful_checks"], 3, "{uptime}");
    for step in ["1h", "6h", "1d"] {
        let series = app.get(&format!("/api/v1/stats/series/2?step={step}&{window}")).await.json();
        let points = series["points"].as_array().unwrap();
        let counted: u64 = points.iter().map(|point| point["checks"]["successful"].as_u64().unwrap()).sum();
        assert_eq!(counted, 3, "{step}: {series}");
    }
    // Where single checks are kept the newest hour is counted from them: it may have gone on after it was stored.
    let recent = app.get("/api/v1/stats/series/1?step=1h&period=24h").await.json();
    let counted: u64 =
        recent["points"].as_array().unwrap().iter().map(|p| p["checks"]["successful"].as_u64().unwrap()).sum();
    assert_eq!(counted, 8, "{recent}");
}

#[tokio::test]
async fn the_summary_counts_the_board() {
    let app = TestApp::start().await;
    for n in 1..=4 {
        app.create(&json!({"name": format!("e{n}"), "url": "https://example.com", "is_active": n != 4})).await;
    }
    app.clock.advance(Duration::from_mins(1));
    let now = app.clock.now();
    for (id, status) in [(1, Status::Up), (2, Status::Down)] {
        let state = EndpointState { status, ..EndpointState::pending(now) };
        app.ctx.board.update([EndpointId(id)], |_, live| live.state = state.clone());
    }
    insta::assert_json_snapshot!("summary", app.get("/api/v1/stats/summary").await.json());
}
