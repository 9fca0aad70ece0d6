//! `check_details`.

use api_monitor::domain::check::CheckDetail;
use api_monitor::domain::condition::ConditionSeen;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::micros;
use api_monitor::store::check_details::{self, MOST};

use super::{at, plus, with_database};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-03-01T12:00:00Z";

fn detail(number: i64) -> CheckDetail {
    CheckDetail {
        address: Some(format!("[::1]:{number}")),
        conditions: vec![ConditionSeen {
            condition: "[BODY] == it's \"x\"".to_owned(),
            success: false,
            seen: "[BODY] (ä\n) == it's \"x\"".to_owned(),
            degrades: number % 2 == 0,
            why: Some("why".to_owned()),
        }],
        excerpt: Some("<html>\u{fffd}".to_owned()),
    }
}

async fn the_newest_of_each_endpoint_are_kept(kind: Kind) {
    with_database(kind, async |store| {
        let (db, start) = (store.writer(), at(START));
        let all: Vec<_> = (0..MOST + 5)
            .flat_map(|n| [(EndpointId(1), plus(start, n), detail(n)), (EndpointId(2), plus(start, n * 10), detail(n))])
            .collect();
        let rows: Vec<_> = all.iter().map(|(id, scheduled_at, detail)| (*id, *scheduled_at, detail)).collect();
        // Twice, as a batch whose commit was in doubt is.
        check_details::put_many(db, &rows).await.unwrap();
        check_details::put_many(db, &rows).await.unwrap();
        let kept = async |id: i64| {
            let (first, last) = (start, plus(start, 100_000));
            let mut found = check_details::between(store.readers(), EndpointId(id), first, last).await.unwrap();
            found.sort_by_key(|(scheduled_at, _)| *scheduled_at);
            found
        };
        for (id, step) in [(1, 1), (2, 10)] {
            let found = kept(id).await;
            let expected: Vec<_> = (5..MOST + 5).map(|n| (plus(start, n * step), detail(n))).collect();
            assert_eq!(found, expected, "the newest of endpoint {id}");
        }
        let one = check_details::between(db, EndpointId(1), plus(start, 7), plus(start, 7)).await.unwrap();
        assert_eq!(one, [(plus(start, 7), detail(7))]);
        check_details::purge(db, EndpointId(2)).await.unwrap();
        assert_eq!((kept(1).await.len(), kept(2).await.len()), (usize::try_from(MOST).unwrap(), 0));
        assert!(micros(kept(1).await[0].0) > micros(start));
    })
    .await;
}

on_both_databases!(the_newest_of_each_endpoint_are_kept);
