//! What is written of each change, in a real database.

use serde_json::{Map, Value};

use super::*;
use crate::domain::alert_policy::{AlertPolicy, FailureThreshold};
use crate::domain::check::{Timings, Trigger};
use crate::domain::endpoint::{EndpointId, EndpointSettings, Layers, Origin, resolve};
use crate::domain::incident::{Step, abandon, advance, step};
use crate::domain::notification::ChannelRoute;
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::domain::suppression::Facts;
use crate::domain::{from_micros, micros};
use crate::store::{Store, StoreOptions, StoreTarget, outbox};

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T07:00:00.120Z".parse().unwrap();
    from_micros(micros(start) + second * 1_000_000)
}

fn known() -> Arc<KnownEndpoint> {
    let settings = EndpointSettings {
        name: Some("Production API".into()),
        url: Some("http://watcher:hunter2@127.0.0.1/health".into()),
        ..EndpointSettings::default()
    };
    let defaults = EndpointSettings::default();
    let layers = Layers { defaults: &defaults, group: None, timezone: chrono_tz::UTC, channels: None };
    let mut endpoint = resolve(&settings, layers, at(0)).unwrap();
    endpoint.alert_policy = AlertPolicy { failure_threshold: FailureThreshold::in_a_row(1), ..AlertPolicy::default() };
    Arc::new(KnownEndpoint {
        id: EndpointId(1),
        origin: Origin::Api,
        source: None,
        revision: 1,
        created_at: at(0),
        updated_at: at(0),
        scheduled_from: at(0),
        settings,
        endpoint,
        paused: false,
    })
}

fn checked(second: i64, outcome: Outcome) -> CheckResult {
    CheckResult {
        endpoint_id: EndpointId(1),
        scheduled_at: at(second),
        started_at: at(second),
        status_code: Some(if outcome.is_good() { 200 } else { 502 }),
        outcome,
        slots: 1,
        timings: Timings { total_us: 12_400, ..Timings::default() },
        attempts: 3,
        trigger: Trigger::Scheduled,
        in_maintenance: false,
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
        let previous_status = self.state.status;
        self.state = step.state.clone();
        let Some(change) = step.incident else { return false };
        let happened = Happened {
            known: self.known.clone(),
            state: step.state,
            previous_status,
            change,
            tell: step.tell,
            result: self.last.clone(),
            by: None,
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
