//! What the recorder would have written: results, the incidents they make, and what is told of them.

use std::sync::Arc;

use api_monitor::clock::Clock;
use api_monitor::domain::Timestamp;
use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::incident::step;
use api_monitor::domain::outcome::{Failure, FailureKind, Outcome};
use api_monitor::domain::suppression::Facts;
use api_monitor::recorder::outages::Outages;
use api_monitor::recorder::telling::{Happened, Telling};
use api_monitor::store::history;
use chrono::TimeDelta;

use crate::app::TestApp;

/// A check a little after its slot, which is so long ago.
pub(crate) fn check(app: &TestApp, id: i64, ago: TimeDelta, outcome: Outcome) -> CheckResult {
    let scheduled_at = app.clock.now() - ago;
    CheckResult {
        endpoint_id: EndpointId(id),
        scheduled_at,
        started_at: scheduled_at + TimeDelta::milliseconds(20),
        status_code: outcome.failure().map(|_| 502),
        outcome,
        slots: 1,
        timings: Timings { total_us: 100_000, ..Timings::default() },
        attempts: 1,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
    }
}

pub(crate) fn up(app: &TestApp, id: i64, minutes_ago: i64) -> CheckResult {
    check(app, id, TimeDelta::minutes(minutes_ago), Outcome::Up)
}

pub(crate) fn down(app: &TestApp, id: i64, minutes_ago: i64) -> CheckResult {
    down_with(app, id, minutes_ago, "GET returned 502, expected 200")
}

pub(crate) fn down_with(app: &TestApp, id: i64, minutes_ago: i64, sentence: &str) -> CheckResult {
    let failure = Failure::new(FailureKind::HttpStatus, sentence);
    check(app, id, TimeDelta::minutes(minutes_ago), Outcome::Down(failure))
}

fn taken_in(result: &CheckResult) -> Timestamp {
    result.started_at + TimeDelta::milliseconds(200)
}

/// Takes results in, in their order.
pub(crate) async fn record(app: &TestApp, results: &[CheckResult]) {
    let listing = app.ctx.directory.get();
    history::append(app.ctx.store.writer(), results).await.unwrap();
    for result in results {
        let entry = app.ctx.board.get(result.endpoint_id).unwrap();
        let before = &entry.live.state;
        let now = taken_in(result);
        let taken = step(before, result, &entry.known.endpoint.alert_policy, &Facts::default(), now);
        let Some(change) = taken.incident else {
            app.ctx.board.update([result.endpoint_id], |_, live| live.state = taken.state.clone());
            continue;
        };
        let happened = Happened {
            held_name: None,
            why_degraded: None,
            known: Arc::clone(&entry.known),
            state: taken.state.clone(),
            previous_status: before.status,
            change,
            tell: taken.tell,
            result: Some(Arc::new(result.clone())),
            by: None,
            in_doubt: None,
            now,
        };
        let entries = app.ctx.board.entries();
        let states = entries.iter().map(|entry| (entry.known.id, &entry.live.state));
        let mut outages = Outages::load(&app.ctx.store, states).await.unwrap();
        let telling = Telling::new(happened, &mut outages, listing.routing()).unwrap();
        telling.write(app.ctx.store.writer()).await.unwrap();
        app.ctx.board.update([result.endpoint_id], |_, live| live.state = taken.state.clone());
    }
}
