//! What is written of each change, in a real database.

use std::time::Duration;

use serde_json::{Map, Value};

use super::*;
use crate::domain::alert_policy::{AlertPolicy, EscalationStep, FailureThreshold};
use crate::domain::check::Timings;
use crate::domain::endpoint::EndpointId;
use crate::domain::incident::{Acknowledging, MissedRun, Step, abandon, acknowledge, advance, step, watch};
use crate::domain::notification::ChannelRoute;
use crate::domain::outcome::{Failure, FailureKind, MissedReason, Outcome};
use crate::domain::suppression::{Facts, Hold};
use crate::domain::{from_micros, micros};
use crate::recorder::testing;
use crate::store::audit::{self, AuditQuery};
use crate::store::{Store, StoreOptions, StoreTarget, outbox};

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T07:00:00.120Z".parse().unwrap();
    from_micros(micros(start) + second * 1_000_000)
}

fn known() -> Arc<KnownEndpoint> {
    let mut known = testing::known("Production API", "http://watcher:hunter2@127.0.0.1/health", at(0));
    known.endpoint.alert_policy =
        AlertPolicy { failure_threshold: FailureThreshold::in_a_row(1), ..AlertPolicy::default() };
    Arc::new(known)
}

fn checked(second: i64, outcome: Outcome) -> CheckResult {
    CheckResult {
        status_code: Some(if outcome.is_good() { 200 } else { 502 }),
        outcome,
        timings: Timings { total_us: 12_400, ..Timings::default() },
        attempts: 3,
        ..testing::good(at(second))
    }
}

fn bad() -> Outcome {
    Outcome::Down(Failure::new(FailureKind::HttpStatus, "GET returned 502, expected 200"))
}

fn routing(channels: &[&str]) -> Routing {
    let route = |name: &&str| ChannelRoute { name: (*name).to_owned(), enabled: true, default: true, severity: None };
    Routing {
        enabled: true,
        channels: channels.iter().map(route).collect(),
        default_route: None,
        public_url: Some("https://monitor.example".to_owned()),
    }
}

/// The recorder with one endpoint, without its batches.
struct Told {
    store: Store,
    _folder: tempfile::TempDir,
    known: Arc<KnownEndpoint>,
    routing: Routing,
    state: EndpointState,
    last: Option<Arc<CheckResult>>,
    outages: Outages,
}

impl Told {
    async fn by(routing: Routing) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = StoreTarget::Sqlite(folder.path().join("monitor.db"));
        let store = Store::open(&StoreOptions { target, readers: 1, echo: false }).await.unwrap();
        Self {
            store,
            _folder: folder,
            known: known(),
            routing,
            state: EndpointState::pending(at(0)),
            last: None,
            outages: Outages::default(),
        }
    }

    async fn check(&mut self, second: i64, outcome: Outcome) -> bool {
        let result = checked(second, outcome);
        let policy = &self.known.endpoint.alert_policy;
        let step = step(&self.state, &result, policy, &Facts::default(), at(second));
        self.last = Some(Arc::new(result));
        self.keep(step, second).await
    }

    async fn let_time_pass(&mut self, second: i64) -> bool {
        let step = advance(&self.state, &self.known.endpoint.alert_policy, &Facts::default(), at(second)).unwrap();
        self.keep(step, second).await
    }

    async fn abandon(&mut self, second: i64) -> bool {
        let step = abandon(&self.state, at(second)).unwrap();
        self.keep(step, second).await
    }

    async fn keep(&mut self, step: Step, second: i64) -> bool {
        self.decided(step, second, None).await
    }

    async fn decided(&mut self, step: Step, second: i64, by: Option<(Decider, Option<String>)>) -> bool {
        let previous_status = self.state.status;
        self.state = step.state.clone();
        let Some(change) = step.incident else { return false };
        let happened = Happened {
            why_degraded: None,
            held_name: None,
            known: self.known.clone(),
            state: step.state,
            previous_status,
            change,
            tell: step.tell,
            result: self.last.clone(),
            by,
            in_doubt: None,
            now: at(second),
        };
        let telling = Telling::new(happened, &mut self.outages, &self.routing).unwrap();
        let transaction = self.store.begin().await.unwrap();
        telling.write(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        telling.to_deliver().is_some()
    }

    /// Everything told so far, the oldest first.
    async fn notifications(&self) -> Vec<outbox::StoredNotification> {
        let query = outbox::NotificationQuery { limit: 100, ..outbox::NotificationQuery::default() };
        let mut all = outbox::list(self.store.readers(), &query).await.unwrap();
        all.reverse();
        all
    }
}

fn channels(told: &outbox::StoredNotification) -> Vec<&str> {
    told.deliveries.iter().map(|delivery| delivery.channel.as_str()).collect()
}

#[tokio::test]
async fn each_event_is_told_with_its_facts() {
    let mut told = Told::by(routing(&["ops"])).await;
    told.check(0, Outcome::Up).await;
    assert!(told.check(60, bad()).await);
    assert!(told.check(120, Outcome::Up).await);
    assert!(told.check(180, bad()).await);
    assert!(told.let_time_pass(180 + 3_600).await);
    assert!(told.abandon(4_000).await);
    let all = told.notifications().await;
    let facts: Map<String, Value> =
        all.iter().map(|one| (one.facts.event.to_string(), serde_json::to_value(&one.facts).unwrap())).collect();
    assert_eq!(facts.len(), 5);
    insta::assert_json_snapshot!(facts);
    let timeline = incidents::events(told.store.readers(), &[1]).await.unwrap();
    let kinds: Vec<_> = timeline.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["opened", "resolved", "reopened", "reminded", "no_longer_monitored"]);
    let incident = incidents::find(told.store.readers(), 1).await.unwrap().unwrap();
    assert_eq!((incident.resolved_at, incident.resolution), (Some(at(4_000)), Some(Resolution::NoLongerMonitored)));
}

#[tokio::test]
async fn a_held_recovery_is_in_the_timeline_and_told_when_it_is_released() {
    let mut told = Told::by(routing(&["ops"])).await;
    for (second, outcome) in [(0, bad()), (60, Outcome::Up), (120, bad())] {
        assert!(told.check(second, outcome).await);
    }
    assert!(!told.check(180, Outcome::Up).await, "held");
    assert!(!told.check(240, bad()).await, "down again while held");
    assert!(!told.check(300, Outcome::Up).await);
    assert!(told.let_time_pass(600).await);
    let all = told.notifications().await;
    assert_eq!(all.iter().map(|n| n.facts.event.as_str()).collect::<Vec<_>>(), ["down", "up", "down_again", "up"]);
    assert_eq!(all[3].facts.occurred_at, at(300), "good since then, told later");
    let spans = incidents::down_spans(told.store.readers(), EndpointId(1), at(-1), at(1_000)).await.unwrap();
    let spans: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(spans, [(at(0), Some(at(60))), (at(120), Some(at(180))), (at(240), Some(at(300)))]);
}

#[tokio::test]
async fn a_recovery_goes_to_those_who_were_told_whatever_the_route_is_now() {
    let mut told = Told::by(routing(&["a", "b"])).await;
    told.check(0, bad()).await;
    told.routing = routing(&["c"]);
    told.check(60, Outcome::Up).await;
    let all = told.notifications().await;
    assert_eq!((channels(&all[0]), channels(&all[1])), (vec!["a", "b"], vec!["a", "b"]));
}

#[tokio::test]
async fn what_is_told_to_nobody_says_why() {
    for (routing, down, up) in [
        (routing(&[]), "nobody_to_tell", "nobody_was_told"),
        (Routing { enabled: false, ..routing(&["a"]) }, "notifications_disabled", "notifications_disabled"),
    ] {
        let mut told = Told::by(routing).await;
        assert!(!told.check(0, bad()).await);
        assert!(!told.check(60, Outcome::Up).await);
        let all = told.notifications().await;
        let why: Vec<_> = all.iter().map(|one| one.held_by.as_deref()).collect();
        assert_eq!(why, [Some(down), Some(up)]);
        assert!(all.iter().all(|one| one.deliveries.is_empty()));
        // The incident is there all the same.
        assert!(incidents::find(told.store.readers(), 1).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn who_hears_of_an_outage_by_its_escalation_hears_of_its_end() {
    let mut told = Told::by(routing(&["front", "back"])).await;
    let known = Arc::make_mut(&mut told.known);
    known.endpoint.notify = Some(vec!["front".to_owned()]);
    let after = Duration::from_mins(15);
    known.endpoint.alert_policy.escalation = vec![EscalationStep { after, notify: vec!["back".to_owned()] }];
    assert!(told.check(0, bad()).await);
    assert!(told.let_time_pass(900).await);
    let note = Some("mine".to_owned());
    let acknowledging = Acknowledging { by: "on-call".to_owned(), note: note.clone(), wanted: None };
    let step = acknowledge(&told.state, acknowledging, &told.known.endpoint.alert_policy, at(1_000)).unwrap();
    let by = Decider { name: "on-call".to_owned(), address: None };
    assert!(told.decided(step, 1_000, Some((by, note))).await);
    assert!(told.check(1_200, Outcome::Up).await);
    let all = told.notifications().await;
    let who: Vec<_> = all.iter().map(|one| (one.facts.event.as_str(), channels(one))).collect();
    assert_eq!(
        who,
        [
            ("down", vec!["front"]),
            ("escalated", vec!["back"]),
            ("acknowledged", vec!["front", "back"]),
            ("up", vec!["front", "back"])
        ]
    );
    let acknowledgement = all[2].facts.incident.as_ref().unwrap().acknowledgement.clone().unwrap();
    assert_eq!((acknowledgement.by.as_str(), acknowledgement.until), ("on-call", at(1_000 + 4 * 3_600)));
    let timeline = incidents::events(told.store.readers(), &[1]).await.unwrap();
    let kinds: Vec<_> = timeline.iter().map(|event| (event.kind.as_str(), event.actor.as_deref())).collect();
    assert_eq!(kinds, [("opened", None), ("escalated", None), ("acknowledged", Some("on-call")), ("resolved", None)]);
    let incident = incidents::find(told.store.readers(), 1).await.unwrap().unwrap();
    assert_eq!(incident.acknowledgement.unwrap().note.as_deref(), Some("mine"));
    let rows = audit::page(told.store.readers(), &AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.entry.action.as_str(), row.entry.subject.as_str())).collect();
    assert_eq!(rows, [("incident.acknowledge", "incident/1")]);
}

#[tokio::test]
async fn what_was_kept_back_is_noted_and_told_later_under_its_id() {
    let mut told = Told::by(routing(&["ops"])).await;
    let silence = Some(Hold { name: "night".to_owned(), until: Some(at(600)) });
    let around = Facts { silence, ..Facts::default() };
    let result = checked(0, bad());
    let opened = step(&told.state, &result, &told.known.endpoint.alert_policy, &around, at(0));
    told.last = Some(Arc::new(result));
    assert!(!told.keep(opened, 0).await, "kept back");
    let kept = told.notifications().await;
    assert_eq!((kept.len(), kept[0].held_by.as_deref(), channels(&kept[0])), (1, Some("silence"), vec![]));
    assert!(advance(&told.state, &told.known.endpoint.alert_policy, &around, at(599)).is_none_or(|s| s.tell.is_none()));
    assert!(told.let_time_pass(600).await);
    let all = told.notifications().await;
    assert_eq!((all.len(), all[0].held_by.as_deref(), channels(&all[0])), (1, None, vec!["ops"]));
    assert!(told.check(700, Outcome::Up).await);
}

#[tokio::test]
async fn whoever_was_told_that_nobody_watches_is_told_of_the_end() {
    let mut told = Told::by(routing(&["ops"])).await;
    told.check(0, Outcome::Up).await;
    let mut run = MissedRun::default();
    let mut unwatched = None;
    for second in [60, 120, 180, 240, 300] {
        let missed = CheckResult::missed(EndpointId(1), at(second), 1, MissedReason::Overload);
        let policy = &told.known.endpoint.alert_policy;
        assert!(unwatched.is_none());
        unwatched = watch(&told.state, &mut run, &missed, policy, &Facts::default(), at(second));
    }
    assert!(told.keep(unwatched.unwrap(), 300).await);
    // After a restart.
    told.outages = Outages::load(&told.store, [(EndpointId(1), &told.state)]).await.unwrap();
    told.routing = routing(&["others", "ops"]);
    assert!(told.check(360, Outcome::Up).await);
    let all = told.notifications().await;
    let who: Vec<_> = all.iter().map(|one| (one.facts.event.as_str(), channels(one), one.incident)).collect();
    assert_eq!(who, [("no_data", vec!["ops"], None), ("up", vec!["ops"], None)]);
    assert_eq!((all[0].facts.status.as_str(), all[1].facts.previous_status.as_str()), ("unknown", "unknown"));
}
