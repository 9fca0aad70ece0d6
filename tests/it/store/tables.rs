//! The small tables: states, audit log, settings.

use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::incident::{
    Acknowledged, EndpointState, Flapping, HeldRecovery, Impaired, OpenIncident, Recovered, Trail,
};
use api_monitor::domain::notification::Event;
use api_monitor::domain::outcome::{Failure, FailureKind, Status};
use api_monitor::store::audit::{self, AuditEntry, AuditQuery};
use api_monitor::store::{settings, states};
use serde_json::json;

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

async fn states_are_replaced_and_come_back_whole(kind: Kind) {
    with_database(kind, async |store| {
        let since = at("2026-11-21T10:00:00.123456Z");
        let pending = EndpointState::pending(since);
        let down = EndpointState {
            status: Status::Down,
            since,
            failures: 0,
            successes: 1,
            run_started_at: Some(plus(since, 30)),
            cause: Some(Failure::new(FailureKind::TlsExpired, "The certificate expired on 2026-11-20")),
            incident: Some(OpenIncident {
                started_at: since,
                opened_at: plus(since, 10),
                span_started_at: plus(since, 5),
                reopened: true,
                cause: Failure::new(FailureKind::TlsExpired, "it's \"so\""),
                reminders: 3,
                remind_at: Some(plus(since, 3_600)),
                held: Some(HeldRecovery { since: plus(since, 20), release_at: plus(since, 320) }),
                untold: Some(Event::Down),
                is_told: false,
                escalated: 1,
                escalate_at: Some(plus(since, 900)),
                acknowledged: Some(Acknowledged {
                    by: "on-call".to_owned(),
                    at: plus(since, 60),
                    until: plus(since, 14_460),
                    note: Some("it's \"mine\"".to_owned()),
                    is_over: false,
                }),
                acknowledgements: 2,
                flapping: Some(Flapping { since: plus(since, 7), steady_at: Some(plus(since, 307)) }),
                maintained: true,
            }),
            recovered: Some(Recovered { told_at: plus(since, 1), started_at: since, opened_at: plus(since, 10) }),
            trail: Trail {
                window: vec![Some(since), None, Some(plus(since, 10))],
                changes: vec![since, plus(since, 5)],
                unwatched: Some(plus(since, 400)),
                impaired: Impaired { told: Some(plus(since, 8)), again: true, ..Impaired::default() },
            },
        };
        let many: Vec<_> = (1..=250).map(|id| (EndpointId(id), pending.clone())).collect();
        states::upsert_many(store.writer(), &many).await.unwrap();
        states::upsert_many(store.writer(), &[(EndpointId(7), down.clone())]).await.unwrap();
        let stored = states::list(store.readers()).await.unwrap();
        assert_eq!(stored.len(), 250);
        for (id, state) in stored {
            assert_eq!(&state, if id == EndpointId(7) { &down } else { &pending }, "{id}");
        }
        states::upsert_many(store.writer(), &[(EndpointId(7), pending.clone())]).await.unwrap();
        assert!(states::list(store.readers()).await.unwrap().contains(&(EndpointId(7), pending)));
        states::delete(store.writer(), EndpointId(7)).await.unwrap();
        states::delete(store.writer(), EndpointId(7)).await.unwrap();
        assert_eq!(states::list(store.readers()).await.unwrap().len(), 249);
    })
    .await;
}

async fn the_audit_log_is_listed_newest_first_and_paged(kind: Kind) {
    with_database(kind, async |store| {
        let entry = |n: i64| AuditEntry {
            at: plus(at("2026-11-21T10:00:00Z"), n),
            actor: "admin".to_owned(),
            address: (n % 2 == 0).then(|| "127.0.0.1".to_owned()),
            action: "endpoint.update".to_owned(),
            subject: format!("endpoint/{n}"),
            result: "ok".to_owned(),
            before: None,
            after: Some(json!({"interval": n})),
        };
        for n in 0..5 {
            audit::append(store.writer(), entry(n)).await.unwrap();
        }
        let query = AuditQuery { limit: 3, ..AuditQuery::default() };
        let first = audit::page(store.readers(), &query).await.unwrap();
        let after = AuditQuery { beyond: Some(first[2].id), ..query.clone() };
        let next = audit::page(store.readers(), &after).await.unwrap();
        assert_eq!(audit::count(store.readers(), &after).await.unwrap(), 5, "on all pages");
        let listed: Vec<_> = first.into_iter().chain(next).map(|stored| stored.entry).collect();
        assert_eq!(listed, (0..5).rev().map(entry).collect::<Vec<_>>());
        let oldest = AuditQuery { is_oldest_first: true, ..query };
        let first = audit::page(store.readers(), &oldest).await.unwrap();
        let after = AuditQuery { beyond: Some(first[2].id), ..oldest };
        let next = audit::page(store.readers(), &after).await.unwrap();
        let listed: Vec<_> = first.into_iter().chain(next).map(|stored| stored.entry).collect();
        assert_eq!(listed, (0..5).map(entry).collect::<Vec<_>>());
    })
    .await;
}

async fn settings_are_put_and_replaced(kind: Kind) {
    with_database(kind, async |store| {
        let now = at("2026-11-21T10:00:00Z");
        assert_eq!(settings::get(store.readers(), "last_backup").await.unwrap(), None);
        for value in [json!({"at": 1}), json!(null), json!("two")] {
            settings::put(store.writer(), "last_backup", value.clone(), now).await.unwrap();
            assert_eq!(settings::get(store.readers(), "last_backup").await.unwrap(), Some(value));
        }
    })
    .await;
}

on_both_databases!(
    states_are_replaced_and_come_back_whole,
    the_audit_log_is_listed_newest_first_and_paged,
    settings_are_put_and_replaced
);
