use super::*;
use crate::domain::endpoint::{EndpointSettings, Kind, Layers, Origin, resolve};
use crate::domain::outcome::FailureKind;
use crate::domain::setting::DurationSetting;
use proptest::prelude::*;

const ID: EndpointId = EndpointId(1);

fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + chrono::TimeDelta::seconds(seconds)
}

fn running(now: Timestamp) -> Duration {
    Duration::from_secs(1_000_000) + (now - start()).to_std().unwrap_or_default()
}

fn settings(interval: u64, grace: u64) -> EndpointSettings {
    EndpointSettings {
        name: Some("backup".into()),
        kind: Some(Kind::Push),
        interval: Some(DurationSetting(Duration::from_secs(interval))),
        grace: Some(DurationSetting(Duration::from_secs(grace))),
        ..EndpointSettings::default()
    }
}

fn known(settings: EndpointSettings, since: Timestamp) -> Arc<KnownEndpoint> {
    let defaults = EndpointSettings::default();
    let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
    let endpoint = resolve(&settings, layers, since).unwrap();
    Arc::new(KnownEndpoint {
        id: ID,
        origin: Origin::Config,
        source: None,
        revision: 1,
        created_at: since,
        updated_at: since,
        scheduled_from: since,
        settings,
        endpoint,
        paused: false,
    })
}

/// A plan that waits for heartbeats from `start()` on.
fn waiting(interval: u64, grace: u64) -> Plan {
    let mut plan = Plan::new();
    plan.start(vec![(known(settings(interval, grace), start()), None)], start());
    plan
}

/// As the scheduler does: looks every second. Gives what was due, when.
fn pass(plan: &mut Plan, from: Timestamp, to: Timestamp) -> Vec<(i64, Due)> {
    let mut all = Vec::new();
    let mut now = from;
    while now <= to {
        all.extend(plan.due(now).into_iter().map(|due| ((now - start()).num_seconds(), due)));
        now += chrono::TimeDelta::seconds(1);
    }
    all
}

/// When it was overdue.
fn overdue(due: &[(i64, Due)]) -> Vec<i64> {
    due.iter().filter(|(_, due)| matches!(due, Due::Overdue { .. })).map(|(at, _)| *at).collect()
}

fn stopped(interval: u64, word: Option<LastWord>, until: Option<i64>, now: i64) -> (Plan, Vec<Due>) {
    let last_words = word.into_iter().map(|word| (ID, word)).collect();
    let mut plan = Plan::after(Past { until: until.map(after), last_words });
    let last = word.map(|(LastWord::Heard(at) | LastWord::Overdue(at))| at);
    let gaps = plan.start(vec![(known(settings(interval, 0), after(-86_400)), last)], after(now));
    (plan, gaps)
}

#[test]
fn silence_is_noticed_at_its_deadline_and_counted_once_a_period() {
    let mut plan = waiting(60, 10);
    assert_eq!(plan.next_wake(), Some(after(70)));
    let due = pass(&mut plan, start(), after(300));
    assert_eq!(overdue(&due), [70, 130, 190, 250]);
    let (_, Due::Overdue { scheduled_at, due_at, failure, .. }) = &due[0] else { panic!("{due:?}") };
    assert_eq!((*scheduled_at, *due_at, failure.kind), (after(70), after(70), FailureKind::PushOverdue));
    assert_eq!(failure.message, "No heartbeat in 1 min 10 s of watching, expected every 1 min with 10 s of grace");
}

#[test]
fn a_heartbeat_moves_the_deadline_and_does_not_fill_the_queue() {
    let mut plan = waiting(60, 0);
    for second in 0..600 {
        assert_eq!(plan.due(after(second)), [], "after {second} s");
        let heard = plan.hear(ID, after(second), running(after(second))).unwrap();
        assert_eq!(heard, Heard { scheduled_at: after(second), took: None });
    }
    assert!(plan.queue.len() <= 2, "{}", plan.queue.len());
    let due = pass(&mut plan, after(600), after(700));
    assert_eq!(overdue(&due), [659]);
    let Due::Overdue { failure, .. } = &due[0].1 else { panic!("{due:?}") };
    assert_eq!(failure.message, "No heartbeat for 1 min, expected every 1 min");
}

#[test]
fn a_cron_expression_says_when_the_next_heartbeat_is_expected() {
    let nightly = EndpointSettings { interval: None, schedule: Some("0 3 * * *".into()), ..settings(60, 600) };
    let mut plan = Plan::new();
    plan.start(vec![(known(nightly, start()), None)], start());
    let three = "2026-11-22T03:00:00Z".parse::<Timestamp>().unwrap();
    assert_eq!(plan.next_wake(), Some(three + Duration::from_mins(10)));
    // It takes four minutes, which grace allows, and is expected again on the day after.
    let done = three + Duration::from_mins(4);
    let from = three - Duration::from_secs(2);
    plan.last_now = Some(from);
    assert_eq!(pass(&mut plan, from, done), []);
    plan.hear(ID, done, running(done));
    let next = three + Duration::from_hours(24) + Duration::from_mins(10);
    plan.last_now = Some(next - Duration::from_secs(2));
    let due = pass(&mut plan, next - Duration::from_secs(1), next);
    let [(_, Due::Overdue { due_at, failure, .. })] = &due[..] else { panic!("{due:?}") };
    assert_eq!(*due_at, next);
    let told = "No heartbeat for 1 d, expected at 2026-11-23 03:00:00 UTC with 10 min of grace";
    assert_eq!(failure.message, told);
}

#[test]
fn a_job_is_measured_from_its_beginning_once() {
    let mut plan = waiting(60, 0);
    assert!(plan.begin_job(ID, running(after(1))));
    let took = |plan: &mut Plan, second| plan.hear(ID, after(second), running(after(second))).unwrap().took;
    assert_eq!(took(&mut plan, 6), Some(Duration::from_secs(5)));
    assert_eq!(took(&mut plan, 7), None);
    assert!(!plan.begin_job(EndpointId(2), Duration::ZERO));
    // Nor does a beginning put off what is expected.
    plan.begin_job(ID, running(after(60)));
    assert_eq!(overdue(&pass(&mut plan, after(8), after(70))), [67]);
}

#[test]
fn nothing_is_confirmed_by_asking() {
    let mut plan = waiting(60, 0);
    plan.confirm(ID, after(1));
    plan.check_at(ID, after(1));
    assert_eq!(plan.next_wake(), Some(after(60)));
}

#[test]
fn heartbeats_that_nobody_could_hear_are_not_missing() {
    // Heard at 0, stopped at 50, there again at 130: what was expected at 60 and 120 may have come.
    let (mut plan, gaps) = stopped(60, Some(LastWord::Heard(start())), Some(50), 130);
    let told = Due::Missed { id: ID, scheduled_at: after(120), slots: 2, reason: MissedReason::Stopped };
    assert_eq!(gaps, [told]);
    let due = pass(&mut plan, after(130), after(260));
    assert_eq!(overdue(&due), [190, 250]);
}

#[test]
fn what_is_expected_after_a_restart_stays_expected() {
    // A daily job; a restart of 5 s does not put it off, however often.
    let day = 86_400;
    let (mut plan, gaps) = stopped(day, Some(LastWord::Heard(start())), Some(40_000), 40_005);
    assert_eq!(gaps, []);
    assert_eq!(plan.next_wake(), Some(after(86_400)));
    plan.last_now = Some(after(86_398));
    let due = pass(&mut plan, after(86_399), after(86_401));
    let Due::Overdue { failure, .. } = &due[0].1 else { panic!("{due:?}") };
    assert_eq!(failure.message, "No heartbeat for 1 d, expected every 1 d");
    // Reported twice as often as expected; two of its heartbeats fell into the time in which nobody was there.
    let (plan, gaps) = stopped(600, Some(LastWord::Heard(start())), Some(10), 590);
    assert_eq!((gaps, plan.next_wake()), (Vec::new(), Some(after(1_190))));
    // Nobody knows since when nobody was there.
    let (plan, _) = stopped(600, Some(LastWord::Heard(start())), None, 400);
    assert_eq!(plan.next_wake(), Some(after(1_000)));
}

#[test]
fn one_that_was_overdue_is_waited_for_anew() {
    let (mut plan, gaps) = stopped(60, Some(LastWord::Overdue(start())), Some(20), 25);
    assert_eq!(gaps, []);
    let due = pass(&mut plan, after(25), after(61));
    assert_eq!(overdue(&due), [60]);
}

#[test]
fn a_machine_that_slept_heard_nothing() {
    let mut plan = waiting(60, 0);
    assert_eq!(pass(&mut plan, start(), after(30)), []);
    let told = Due::Missed { id: ID, scheduled_at: after(960), slots: 16, reason: MissedReason::Suspended };
    assert_eq!(plan.due(after(1_000)), [told]);
    assert_eq!(overdue(&pass(&mut plan, after(1_000), after(1_100))), [1_060]);
}

#[test]
fn a_clock_set_back_makes_no_heartbeat_missing_and_stops_nothing() {
    let mut plan = waiting(60, 0);
    plan.due(after(30));
    let heard = plan.hear(ID, after(30), running(after(30))).unwrap().scheduled_at;
    let due = pass(&mut plan, after(-3_600), after(-3_500));
    assert_eq!(overdue(&due), [-3_540]);
    let Due::Overdue { scheduled_at, .. } = due[0].1 else { panic!("{due:?}") };
    assert!(scheduled_at > heard, "stamps grow");
    assert!(plan.hear(ID, after(-3_500), running(after(-3_500))).unwrap().scheduled_at > scheduled_at);
}

#[test]
fn another_schedule_is_waited_for_from_the_change_on() {
    let mut plan = waiting(86_400, 0);
    pass(&mut plan, start(), after(100));
    plan.change(known(settings(60, 0), after(100)), after(100));
    assert_eq!(overdue(&pass(&mut plan, after(101), after(170))), [160]);
    // Less grace counts for what is waited for now.
    let mut plan = waiting(60, 600);
    pass(&mut plan, start(), after(100));
    plan.change(known(settings(60, 0), start()), after(100));
    assert_eq!(overdue(&pass(&mut plan, after(101), after(119))), [101]);
}

#[test]
fn the_kind_may_change_both_ways() {
    let mut plan = waiting(60, 0);
    pass(&mut plan, start(), after(30));
    let asked = EndpointSettings {
        name: Some("backup".into()),
        url: Some("http://127.0.0.1:1/".into()),
        interval: Some(DurationSetting(Duration::from_secs(60))),
        ..EndpointSettings::default()
    };
    plan.change(known(asked, after(30)), after(30));
    let due = pass(&mut plan, after(31), after(92));
    assert!(!due.is_empty() && due.iter().all(|(_, due)| matches!(due, Due::Check { .. })), "{due:?}");
    assert_eq!(plan.hear(ID, after(92), Duration::ZERO), None);
    plan.change(known(settings(60, 0), after(92)), after(92));
    let due = pass(&mut plan, after(93), after(153));
    assert_eq!((due.len(), overdue(&due)), (1, vec![152]));
}

proptest! {
    /// Whatever happens, stamps grow; and as long as a heartbeat comes within each interval and the clock goes evenly,
    /// none is missing.
    #[test]
    fn stamps_grow_and_what_comes_in_time_is_never_overdue(
        steps in proptest::collection::vec((-30_i64..90, proptest::bool::ANY), 1..80), even in proptest::bool::ANY,
    ) {
        let mut plan = waiting(30, 2);
        let (mut now, mut newest) = (start(), None);
        for (step, comes) in steps {
            let target = now + chrono::TimeDelta::seconds(if even { step.rem_euclid(30) } else { step });
            let due = if even { pass(&mut plan, now, target) } else { plan.due(target).into_iter().map(|due| (0, due)).collect() };
            now = target;
            prop_assert!(!even || overdue(&due).is_empty(), "{:?}", due);
            for (_, due) in due {
                let (Due::Overdue { scheduled_at, .. } | Due::Missed { scheduled_at, .. } | Due::Check { scheduled_at, .. }) = due;
                prop_assert!(newest.is_none_or(|newest| scheduled_at > newest));
                newest = Some(scheduled_at);
            }
            if even || comes {
                let heard = plan.hear(ID, now, running(now)).unwrap().scheduled_at;
                prop_assert!(newest.is_none_or(|newest| heard > newest));
                newest = Some(heard);
            }
        }
    }
}
