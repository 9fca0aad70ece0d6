//! Maintenance windows and silences in a running monitor: an outage before, at the start of, inside, and across the end
//! of them.

use std::sync::Arc;
use std::time::Duration;

use api_monitor::domain::Timestamp;
use api_monitor::domain::check::{CheckResult, Trigger};
use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::{Outcome, Status};
use api_monitor::domain::selector::Selectors;
use api_monitor::domain::silence::SilenceSettings;
use api_monitor::service::silences;
use api_monitor::store::incidents;

use super::scripted::{Scripted, channels, named};
use super::{START, incidents_of, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::{Live, Place, eventually, somebody};
use crate::flows::target::Switched;

/// The window of every test: four minutes.
const BEGIN: &str = "2026-11-21T12:03:00Z";
const END: &str = "2026-11-21T12:07:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Watched {
    target: Switched,
    place: Place,
    told: Arc<Scripted>,
}

impl Watched {
    fn on(kind: Kind) -> Self {
        let (target, place) = (Switched::good(), Place::on(kind, START));
        let told = Scripted::taking(&place.moved());
        Self { target, place, told }
    }

    async fn start(&self, more: &str) -> Live<'_> {
        let url = self.target.url("e");
        let yaml = format!(
            "{}endpoints: [{{name: e, url: '{url}', retry: {{enabled: false}}, {more}}}]\n\
             maintenance_windows: [{{name: upgrade, start: '{BEGIN}', for: 4m, match: e, reason: new disks}}]\n",
            named(&["told"])
        );
        self.place.start_through(&yaml, Some(channels([("told", &self.told)]))).await
    }

    async fn run_to(&self, live: &Live<'_>, instant: &str) {
        let end = at(instant);
        live.run_while(instant, || self.place.now() < end).await;
    }

    /// What was told, with the instant from which it tells.
    fn events(&self) -> Vec<(Event, Timestamp)> {
        self.told.taken().iter().map(|taken| (taken.notification.event, taken.notification.occurred_at)).collect()
    }
}

fn is_inside(instant: Timestamp) -> bool {
    (at(BEGIN)..at(END)).contains(&instant)
}

/// Those that were made inside the window, all of which must say so, and no others.
fn inside(rows: &[CheckResult]) -> Vec<&CheckResult> {
    for row in rows.iter().filter(|row| !matches!(row.outcome, Outcome::Missed(_))) {
        // A check under way when it begins is in it too.
        if row.in_maintenance != is_inside(row.started_at) {
            assert!(row.in_maintenance && row.started_at < at(BEGIN), "{row:?}");
            assert!(row.started_at > at(BEGIN) - Duration::from_secs(30), "{row:?}");
        }
    }
    rows.iter().filter(|row| row.in_maintenance).collect()
}

const REMINDED: &str = "interval: 20, alert_policy: {reminder: {every: 60, backoff: 1, max: 60}}";

async fn an_outage_told_before_a_window_stays_told_and_its_recovery_inside_is_told(kind: Kind) {
    let watched = Watched::on(kind);
    watched.target.set(500);
    let live = watched.start(REMINDED).await;
    watched.run_to(&live, "2026-11-21T12:05:00Z").await;
    assert_eq!(live.status("e"), Status::Maintenance);
    watched.target.set(200);
    live.run_while("the recovery", || watched.events().last().is_none_or(|(event, _)| *event != Event::Up)).await;
    let events = watched.events();
    assert!(is_inside(events[events.len() - 1].1), "{events:?}");
    assert_eq!(live.status("e"), Status::Maintenance, "still");
    assert!(events.iter().any(|(event, _)| *event == Event::Reminder), "before it: {events:?}");
    assert!(!events.iter().any(|(event, at)| *event == Event::Reminder && is_inside(*at)), "{events:?}");
    assert_eq!(events.iter().filter(|(event, _)| *event == Event::Down).count(), 1);
    watched.run_to(&live, "2026-11-21T12:08:00Z").await;
    assert_eq!((live.status("e"), watched.events().len()), (Status::Up, events.len()), "nothing more");
    live.stop().await;
}

async fn an_outage_told_before_a_window_that_outlasts_it_is_reminded_of_after_it_alone(kind: Kind) {
    let watched = Watched::on(kind);
    watched.target.set(500);
    let live = watched.start(REMINDED).await;
    live.run_while("a reminder after it", || !watched.events().iter().any(|(_, instant)| *instant >= at(END))).await;
    let events = watched.events();
    assert!(events.iter().all(|(_, instant)| !is_inside(*instant)), "{events:?}");
    assert_eq!(events.iter().filter(|(event, _)| *event != Event::Reminder).count(), 1, "{events:?}");
    // First a check, then the reminder.
    let rows = live.history(live.id("e")).await;
    let first = rows.iter().find(|row| row.started_at >= at(END)).unwrap();
    assert!(first.started_at <= events[events.len() - 1].1, "{first:?}");
    // The time in the window is no downtime.
    let (id, ever) = (live.id("e"), at("2026-11-21T12:00:00Z")..at("2026-11-22T00:00:00Z"));
    let spans = incidents::down_spans(live.monitor.store.readers(), id, ever.start, ever.end).await.unwrap();
    let [before, after] = spans.as_slice() else { panic!("{spans:?}") };
    assert!(before.start < at(BEGIN) && after.start >= at(END) && after.end.is_none(), "{spans:?}");
    assert!(before.end.is_some_and(|end| (at(BEGIN)..at(END)).contains(&end)), "{spans:?}");
    live.stop().await;
}

async fn an_outage_inside_a_window_opens_nothing_and_counts_nowhere(kind: Kind) {
    let watched = Watched::on(kind);
    let live = watched.start("interval: 20").await;
    watched.run_to(&live, "2026-11-21T12:03:30Z").await;
    watched.target.set(500);
    watched.run_to(&live, "2026-11-21T12:06:00Z").await;
    assert_eq!(live.status("e"), Status::Maintenance);
    watched.target.set(200);
    watched.run_to(&live, "2026-11-21T12:08:30Z").await;
    let id = live.id("e");
    let rows = live.history(id).await;
    let made = inside(&rows);
    assert!(made.iter().any(|row| row.outcome.failure().is_some()), "their own outcome: {made:#?}");
    assert!(made.iter().any(|row| row.outcome.is_good()));
    assert!(watched.events().is_empty() && incidents_of(&live, id).await.is_empty());
    let entry = live.entry("e");
    assert_eq!((entry.uptimes().day, live.status("e")), (Some(100.0), Status::Up));
    let hour = &entry.live.open_hour.as_ref().unwrap().rollup.bucket;
    assert_eq!((hour.down, hour.maintenance), (0, made.len() as u64));
    live.stop().await;
}

async fn an_outage_that_outlasts_a_window_is_told_once_it_is_checked_after_it(kind: Kind) {
    let watched = Watched::on(kind);
    // One slot in the window, the next nine minutes after it, which the clock takes many seconds to come to.
    let live = watched.start("interval: 600").await;
    watched.run_to(&live, BEGIN).await;
    watched.target.set(500);
    live.run_while("the outage", || watched.events().is_empty()).await;
    let incident = &incidents_of(&live, live.id("e")).await[0];
    assert!(incident.started_at >= at(END), "{incident:?}");
    let rows = live.history(live.id("e")).await;
    assert!(!inside(&rows).is_empty());
    let first = rows.iter().find(|row| row.started_at >= at(END)).unwrap();
    assert_eq!((first.trigger, first.in_maintenance), (Trigger::Confirming, false), "{first:?}");
    assert_eq!(watched.events().len(), 1);
    assert_eq!(live.status("e"), Status::Down);
    live.stop().await;
}

async fn an_outage_unconfirmed_at_the_start_of_a_window_is_confirmed_after_it(kind: Kind) {
    let watched = Watched::on(kind);
    let live = watched.start("interval: 20, alert_policy: {failure_threshold: 6}").await;
    watched.run_to(&live, "2026-11-21T12:02:30Z").await;
    watched.target.set(500);
    live.run_while("the outage", || watched.events().is_empty()).await;
    let incident = &incidents_of(&live, live.id("e")).await[0];
    assert!(incident.started_at < at(BEGIN), "what was counted before is kept: {incident:?}");
    assert!(incident.opened_at >= at(END), "{incident:?}");
    let rows = live.history(live.id("e")).await;
    let counted = rows.iter().filter(|row| row.outcome.failure().is_some() && !row.in_maintenance).count();
    assert!(counted >= 6 && inside(&rows).len() >= 6, "{rows:#?}");
    live.stop().await;
}

async fn silence(live: &Live<'_>, until: &str) -> i64 {
    let selectors = Some(Selectors(vec!["e".to_owned()]));
    let settings = SilenceSettings { selectors, until: Some(at(until)), comment: Some("I know".to_owned()) };
    silences::create(&live.monitor.service, &somebody(), settings).await.unwrap().silence.id
}

async fn what_a_silence_holds_back_is_told_when_it_ends_also_after_a_restart(kind: Kind) {
    let watched = Watched::on(kind);
    let live = watched.start("interval: 20, notify: [told]").await;
    silence(&live, "2026-11-21T12:02:40Z").await;
    watched.target.set(500);
    let id = live.id("e");
    live.run_while("the outage", || live.status("e") != Status::Down).await;
    eventually("the row", || live.entry("e").live.state.incident.is_some()).await;
    let held = notifications(&live).await;
    assert_eq!((held[0].held_by.as_deref(), held[0].deliveries.len()), (Some("silence"), 0));
    live.stop().await;

    let live = watched.start("interval: 20, notify: [told]").await;
    assert!(watched.events().is_empty());
    live.run_while("the end", || watched.events().is_empty()).await;
    assert!(watched.place.now() >= at("2026-11-21T12:02:40Z"));
    let told = watched.told.taken();
    assert_eq!((told[0].notification.event, &told[0].notification.id), (Event::Down, &held[0].facts.id));
    assert_eq!(incidents_of(&live, id).await.len(), 1);
    assert_eq!(notifications(&live).await[0].held_by, None);
    watched.target.set(200);
    live.run_while("the recovery", || watched.events().len() < 2).await;
    assert_eq!(watched.events()[1].0, Event::Up);
    live.stop().await;
}

async fn what_a_silence_holds_back_is_told_when_it_is_lifted(kind: Kind) {
    let watched = Watched::on(kind);
    let live = watched.start("interval: 20").await;
    let id = silence(&live, "2026-11-21T18:00:00Z").await;
    watched.target.set(500);
    live.run_while("the outage", || live.status("e") != Status::Down).await;
    silences::delete(&live.monitor.service, &somebody(), id, None).await.unwrap();
    live.run_while("the message", || watched.events().is_empty()).await;
    assert!(watched.place.now() < at(BEGIN), "before the window");
    live.stop().await;
}

async fn what_ends_under_a_silence_is_told_to_nobody(kind: Kind) {
    let watched = Watched::on(kind);
    let live = watched.start("interval: 20").await;
    silence(&live, "2026-11-21T12:20:00Z").await;
    watched.target.set(500);
    live.run_while("the outage", || live.status("e") != Status::Down).await;
    watched.target.set(200);
    live.run_while("its end", || live.status("e") != Status::Up).await;
    let id = live.id("e");
    let incidents = incidents_of(&live, id).await;
    assert!(incidents.len() == 1 && incidents[0].resolved_at.is_some(), "it is shown and counts");
    let why: Vec<_> = notifications(&live).await.into_iter().map(|told| told.held_by).collect();
    assert_eq!(why, [Some("silence".to_owned())]);
    assert!(watched.events().is_empty());
    live.stop().await;
}

on_both_databases!(
    an_outage_told_before_a_window_stays_told_and_its_recovery_inside_is_told,
    an_outage_told_before_a_window_that_outlasts_it_is_reminded_of_after_it_alone,
    an_outage_inside_a_window_opens_nothing_and_counts_nowhere,
    an_outage_that_outlasts_a_window_is_told_once_it_is_checked_after_it,
    an_outage_unconfirmed_at_the_start_of_a_window_is_confirmed_after_it,
    what_a_silence_holds_back_is_told_when_it_ends_also_after_a_restart,
    what_a_silence_holds_back_is_told_when_it_is_lifted,
    what_ends_under_a_silence_is_told_to_nobody
);
