//! Incidents and their timelines.

use api_monitor::domain::Timestamp;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::notification::Severity;
use api_monitor::domain::outcome::{Failure, FailureKind};
use api_monitor::store::Store;
use api_monitor::store::incidents::{self, DownSpan, IncidentEvent, IncidentEventKind, IncidentQuery, Resolution};

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

const ONE: EndpointId = EndpointId(1);

const EVERYTHING: IncidentQuery =
    IncidentQuery { endpoint: None, open: None, from: None, to: None, is_oldest_first: false, limit: 1_000, offset: 0 };

fn start() -> Timestamp {
    at("2026-11-21T10:00:00.123456Z")
}

fn refused() -> Failure {
    Failure::new(FailureKind::ConnectRefused, "Connection refused")
}

pub(super) async fn open(store: &Store, endpoint: EndpointId, started_at: Timestamp) -> i64 {
    let opened_at = plus(started_at, 10);
    let (db, id) = (store.writer(), incidents::newest_id(store.writer()).await.unwrap() + 1);
    incidents::open(db, id, endpoint, started_at, opened_at, &refused(), Severity::Critical).await.unwrap()
}

pub(super) async fn event(store: &Store, incident_id: i64, at: Timestamp, kind: IncidentEventKind) {
    let event = IncidentEvent { incident_id, at, kind, failure: None };
    incidents::add_event(store.writer(), &event).await.unwrap();
}

async fn an_incident_is_opened_resolved_and_opened_again(kind: Kind) {
    with_database(kind, async |store| {
        let id = open(store, ONE, start()).await;
        let opened = incidents::find(store.readers(), id).await.unwrap().unwrap();
        assert_eq!((opened.endpoint_id, opened.started_at, opened.opened_at), (ONE, start(), plus(start(), 10)));
        assert_eq!((opened.resolved_at, opened.resolution), (None, None));
        assert_eq!((&opened.cause, opened.severity), (&refused(), Severity::Critical));
        // The same start at another endpoint is another incident.
        assert_ne!(open(store, EndpointId(2), start()).await, id);

        incidents::resolve(store.writer(), id, plus(start(), 60), Resolution::Recovered).await.unwrap();
        let resolved = incidents::find(store.readers(), id).await.unwrap().unwrap();
        assert_eq!((resolved.resolved_at, resolved.resolution), (Some(plus(start(), 60)), Some(Resolution::Recovered)));

        let other = Failure::new(FailureKind::TlsExpired, "It expired");
        let later = plus(start(), 90);
        let (db, next) = (store.writer(), incidents::newest_id(store.writer()).await.unwrap() + 1);
        let again = incidents::open(db, next, ONE, start(), later, &other, Severity::Info).await.unwrap();
        assert_eq!(again, id);
        let again = incidents::find(store.readers(), id).await.unwrap().unwrap();
        assert_eq!((again.resolved_at, again.resolution, &again.cause), (None, None, &other));
        assert_eq!((again.opened_at, again.severity), (opened.opened_at, opened.severity), "as it was first");

        incidents::set_cause(store.writer(), id, &refused()).await.unwrap();
        assert_eq!(incidents::find(store.readers(), id).await.unwrap().unwrap().cause, refused());
        assert_eq!(incidents::find_id(store.readers(), ONE, start()).await.unwrap(), Some(id));
        assert_eq!(incidents::find_id(store.readers(), ONE, plus(start(), 1)).await.unwrap(), None);
        assert_eq!(incidents::find(store.readers(), id + 100).await.unwrap(), None);
    })
    .await;
}

async fn timelines_are_in_the_order_of_what_happened(kind: Kind) {
    with_database(kind, async |store| {
        let (first, second) = (open(store, ONE, start()).await, open(store, ONE, plus(start(), 100)).await);
        let mut expected = Vec::new();
        for (n, kind) in (0..).zip(IncidentEventKind::ALL) {
            // The clock may go backwards in between: the order is that of the rows.
            let failure = (n % 2 == 0).then(refused);
            let event = IncidentEvent { incident_id: second, at: plus(start(), -n), kind: *kind, failure };
            incidents::add_event(store.writer(), &event).await.unwrap();
            expected.push(event);
        }
        event(store, first, start(), IncidentEventKind::Opened).await;
        assert_eq!(incidents::events(store.readers(), &[second]).await.unwrap(), expected);
        let both = incidents::events(store.readers(), &[second, first]).await.unwrap();
        assert_eq!((both.len(), both[0].incident_id), (expected.len() + 1, first));
        assert!(incidents::events(store.readers(), &[]).await.unwrap().is_empty());
    })
    .await;
}

async fn times_down_begin_and_end_with_their_events(kind: Kind) {
    use IncidentEventKind::{
        CauseChanged, DownAgain, NoLongerMonitored, Opened, RecoveryHeld, Reminded, Reopened, Resolved,
    };
    with_database(kind, async |store| {
        // Every order that the machine makes, each as an incident of its own endpoint.
        type Case = (&'static [(IncidentEventKind, i64)], &'static [(i64, Option<i64>)]);
        let cases: [Case; 6] = [
            (&[(Opened, 0)], &[(0, None)]),
            (&[(Opened, 0), (CauseChanged, 5), (Reminded, 7), (Resolved, 10)], &[(0, Some(10))]),
            (&[(Opened, 0), (NoLongerMonitored, 10)], &[(0, Some(10))]),
            (
                &[
                    (Opened, 0),
                    (Resolved, 10),
                    (Reopened, 20),
                    (RecoveryHeld, 30),
                    (DownAgain, 40),
                    (RecoveryHeld, 50),
                    (Resolved, 55),
                ],
                &[(0, Some(10)), (20, Some(30)), (40, Some(50))],
            ),
            (
                &[(Opened, 0), (Resolved, 10), (Reopened, 20), (RecoveryHeld, 30), (NoLongerMonitored, 40)],
                &[(0, Some(10)), (20, Some(30))],
            ),
            (&[(Opened, 0), (Resolved, 10), (Reopened, 20), (Reminded, 30)], &[(0, Some(10)), (20, None)]),
        ];
        for (n, (events, expected)) in (1..).zip(cases) {
            let endpoint = EndpointId(n);
            let id = open(store, endpoint, start()).await;
            for (kind, second) in events {
                event(store, id, plus(start(), *second), *kind).await;
                if matches!(kind, Resolved | NoLongerMonitored) {
                    let resolved_at = plus(start(), *second);
                    incidents::resolve(store.writer(), id, resolved_at, Resolution::Recovered).await.unwrap();
                } else if *kind == Reopened {
                    open(store, endpoint, start()).await;
                }
            }
            let spans =
                |from, to| incidents::down_spans(store.readers(), endpoint, plus(start(), from), plus(start(), to));
            let span = |(from, to): &(i64, Option<i64>)| DownSpan {
                incident_id: id,
                start: plus(start(), *from),
                end: to.map(|to| plus(start(), to)),
            };
            let expected: Vec<_> = expected.iter().map(span).collect();
            assert_eq!(spans(-100, 100).await.unwrap(), expected, "{events:?}");
            // Half open: what ends where the window begins, or begins where it ends, is not in it.
            assert!(spans(-100, 0).await.unwrap().is_empty());
            let reaching = expected.iter().filter(|span| span.end.is_none_or(|end| end > plus(start(), 10)));
            assert_eq!(spans(10, 100).await.unwrap(), reaching.cloned().collect::<Vec<_>>(), "{events:?}");
        }
        // All of them at once, and one that is not asked for beside them.
        let asked: Vec<_> = (2..40).map(EndpointId).collect();
        for (from, to) in [(-100, 100), (-100, 0), (10, 100), (35, 36)] {
            let (from, to) = (plus(start(), from), plus(start(), to));
            let mut expected = Vec::new();
            for id in &asked {
                let query =
                    IncidentQuery { endpoint: Some(*id), from: Some(from), to: Some(to), ..IncidentQuery::default() };
                let count = incidents::count(store.readers(), &query).await.unwrap();
                if count > 0 {
                    expected.push((*id, (count, incidents::down_spans(store.readers(), *id, from, to).await.unwrap())));
                }
            }
            let found = incidents::of_many(store.readers(), &asked, from, to).await.unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{from} {to}");
        }
    })
    .await;
}

async fn lists_are_newest_first_paged_and_counted(kind: Kind) {
    with_database(kind, async |store| {
        let mut ids = Vec::new();
        for n in 0..10 {
            let id = open(store, EndpointId(1 + n % 2), plus(start(), n * 100)).await;
            if n < 7 {
                let resolved_at = plus(start(), n * 100 + 50);
                incidents::resolve(store.writer(), id, resolved_at, Resolution::Recovered).await.unwrap();
            }
            ids.push(id);
        }
        let listed = async |query: IncidentQuery| {
            let found = incidents::list(store.readers(), &query).await.unwrap();
            let all = IncidentQuery { limit: 1_000, offset: 0, ..query };
            let count = incidents::count(store.readers(), &query).await.unwrap();
            assert_eq!(count, incidents::list(store.readers(), &all).await.unwrap().len() as u64);
            found.iter().map(|i| ids.iter().position(|id| *id == i.id).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(listed(EVERYTHING).await, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(listed(IncidentQuery { limit: 3, offset: 2, ..EVERYTHING }).await, [7, 6, 5]);
        assert_eq!(listed(IncidentQuery { limit: 3, offset: 9, ..EVERYTHING }).await, [0]);
        assert_eq!(listed(IncidentQuery { endpoint: Some(ONE), ..EVERYTHING }).await, [8, 6, 4, 2, 0]);
        assert_eq!(listed(IncidentQuery { open: Some(true), ..EVERYTHING }).await, [9, 8, 7]);
        assert_eq!(listed(IncidentQuery { open: Some(false), limit: 2, ..EVERYTHING }).await, [6, 5]);
        let (from, to) = (Some(plus(start(), 550)), Some(plus(start(), 700)));
        assert_eq!(listed(IncidentQuery { from, to, ..EVERYTHING }).await, [6, 5]);
        assert_eq!(listed(IncidentQuery { from: Some(plus(start(), 551)), to, ..EVERYTHING }).await, [6]);
    })
    .await;
}

async fn old_resolved_incidents_go_with_their_timelines(kind: Kind) {
    with_database(kind, async |store| {
        let mut ids = Vec::new();
        for n in 0..6 {
            let id = open(store, ONE, plus(start(), n * 100)).await;
            event(store, id, plus(start(), n * 100), IncidentEventKind::Opened).await;
            if n > 0 {
                let resolved_at = plus(start(), n * 100 + 50);
                incidents::resolve(store.writer(), id, resolved_at, Resolution::Recovered).await.unwrap();
            }
            ids.push(id);
        }
        let before = plus(start(), 450);
        for gone in [2, 1, 0] {
            assert_eq!(incidents::delete_resolved_before(store.writer(), before, 2).await.unwrap(), gone);
        }
        let left = incidents::list(store.readers(), &EVERYTHING).await.unwrap();
        assert_eq!(left.iter().map(|i| i.id).collect::<Vec<_>>(), [ids[5], ids[4], ids[0]], "the oldest is open");
        let events = incidents::events(store.readers(), &ids).await.unwrap();
        assert_eq!(events.iter().map(|e| e.incident_id).collect::<Vec<_>>(), [ids[0], ids[4], ids[5]]);
    })
    .await;
}

on_both_databases!(
    an_incident_is_opened_resolved_and_opened_again,
    timelines_are_in_the_order_of_what_happened,
    times_down_begin_and_end_with_their_events,
    lists_are_newest_first_paged_and_counted,
    old_resolved_incidents_go_with_their_timelines
);
