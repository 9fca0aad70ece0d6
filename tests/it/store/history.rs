//! The single checks.

use api_monitor::domain::check::{CheckResult, Timings, Trigger};
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::outcome::{Failure, FailureKind, MissedReason, Outcome};
use api_monitor::domain::{from_micros, micros};
use api_monitor::store::endpoints;
use api_monitor::store::history::{self, HistoryQuery, Wanted};

use super::{Recorder, add_endpoint, at, close_all_days, days, failed, good, history_of, plus, with_database};
use crate::database::{Kind, on_both_databases};

type IsWanted = fn(&CheckResult) -> bool;

const EVERYTHING: HistoryQuery = HistoryQuery { from: None, to: None, before: None, offset: 0, limit: 1_000 };

async fn every_field_of_every_sort_of_result_comes_back(kind: Kind) {
    with_database(kind, async |store| {
        let id = EndpointId(3);
        let start = at("2026-11-21T10:00:00.123456Z");
        let mut results = vec![
            good(id, start, u32::MAX),
            CheckResult { outcome: Outcome::Degraded, trigger: Trigger::Manual, ..good(id, plus(start, 1), 0) },
            CheckResult { in_maintenance: true, trigger: Trigger::Confirming, ..failed(id, plus(start, 2)) },
            CheckResult {
                timings: Timings { dns_us: Some(1), tls_us: Some(2), ..Timings::default() },
                ..failed(id, plus(start, 3))
            },
        ];
        for (n, kind) in (10..).zip(FailureKind::ALL) {
            let outcome = Outcome::Down(Failure::new(*kind, "it's \"so\" — \u{1F4A5}"));
            results.push(CheckResult { outcome, status_code: None, ..failed(id, plus(start, n)) });
        }
        for (n, reason) in (100..).zip(MissedReason::ALL) {
            results.push(CheckResult::missed(id, plus(start, n), 7, *reason));
        }
        assert_eq!(history::append(store.writer(), &results).await.unwrap(), results.len() as u64);
        let mut stored = history::page(store.readers(), id, EVERYTHING).await.unwrap();
        stored.reverse();
        assert_eq!(stored, results);
    })
    .await;
}

async fn a_nul_character_in_what_a_target_said_is_replaced(kind: Kind) {
    with_database(kind, async |store| {
        let id = add_endpoint(store, "a").await.id;
        let outcome = Outcome::Down(Failure::new(FailureKind::HttpStatus, "said a\0b"));
        let result = CheckResult { outcome, ..failed(id, at("2026-11-21T10:00:00Z")) };
        history::append(store.writer(), &[result]).await.unwrap();
        let stored = history::last_of_each(store.readers()).await.unwrap();
        assert_eq!(stored[0].outcome.failure().unwrap().message, "said a\u{fffd}b");
    })
    .await;
}

async fn appending_twice_changes_nothing(kind: Kind) {
    with_database(kind, async |store| {
        let id = EndpointId(1);
        let start = at("2026-11-21T10:00:00Z");
        let results: Vec<_> = (0..137).map(|n| good(id, plus(start, n), 100)).collect();
        assert_eq!(history::append(store.writer(), &results).await.unwrap(), 137);
        let again: Vec<_> = (100..200).map(|n| failed(id, plus(start, n))).collect();
        assert_eq!(history::append(store.writer(), &again).await.unwrap(), 63);
        assert_eq!(history::append(store.writer(), &again).await.unwrap(), 0);
        assert_eq!(history::append(store.writer(), &[]).await.unwrap(), 0);
        // The same slot of another endpoint is another result.
        assert_eq!(history::append(store.writer(), &[good(EndpointId(2), start, 1)]).await.unwrap(), 1);
        let first = history::page(store.readers(), id, HistoryQuery { to: Some(plus(start, 137)), ..EVERYTHING });
        assert!(first.await.unwrap().iter().all(|r| r.outcome == Outcome::Up));
        assert_eq!(history::count(store.readers(), id, None, None).await.unwrap(), 200);
    })
    .await;
}

async fn pages_are_newest_first_half_open_and_without_overlap(kind: Kind) {
    with_database(kind, async |store| {
        let id = EndpointId(1);
        let start = at("2026-11-21T10:00:00Z");
        let mut shuffled: Vec<_> = (0..50).map(|n| good(id, plus(start, n), 100)).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut shuffled);
        history::append(store.writer(), &shuffled).await.unwrap();
        history::append(store.writer(), &[good(EndpointId(2), plus(start, 5), 100)]).await.unwrap();

        let span = HistoryQuery { from: Some(plus(start, 10)), to: Some(plus(start, 20)), limit: 4, ..EVERYTHING };
        let seconds = async |query| {
            let page = history::page(store.readers(), id, query).await.unwrap();
            page.iter().map(|r| (micros(r.scheduled_at) - micros(start)) / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(seconds(span).await, [19, 18, 17, 16]);
        assert_eq!(seconds(HistoryQuery { offset: 4, ..span }).await, [15, 14, 13, 12]);
        assert_eq!(seconds(HistoryQuery { before: Some(plus(start, 12)), ..span }).await, [11, 10]);
        assert_eq!(seconds(HistoryQuery { offset: 100, ..span }).await, [0_i64; 0]);
        assert_eq!(history::count(store.readers(), id, span.from, span.to).await.unwrap(), 10);
        assert_eq!(history::count(store.readers(), id, span.from, None).await.unwrap(), 40);

        let mut visited = Vec::new();
        let visit = |r: &CheckResult| visited.push(r.scheduled_at);
        history::for_each(store.readers(), id, plus(start, 3)..plus(start, 6), visit).await.unwrap();
        assert_eq!(visited, [3, 4, 5].map(|n| plus(start, n)));
    })
    .await;
}

async fn many_rows_are_visited_once_each(kind: Kind) {
    with_database(kind, async |store| {
        let id = EndpointId(1);
        let start = at("2026-11-21T10:00:00Z");
        // Three pages, the last of them full.
        let results: Vec<_> = (0..6_000).map(|n| good(id, from_micros(micros(start) + n), 100)).collect();
        history::append(store.writer(), &results).await.unwrap();
        let mut visited = Vec::new();
        history::for_each(store.readers(), id, start..plus(start, 1), |r| visited.push(r.scheduled_at)).await.unwrap();
        assert!(visited.is_sorted() && visited.len() == 6_000, "{}", visited.len());
        visited.dedup();
        assert_eq!(visited.len(), 6_000);
    })
    .await;
}

async fn the_last_result_of_each_current_endpoint_is_found(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-21T10:00:00Z");
        let mut expected = Vec::new();
        for n in 0..120 {
            let id = add_endpoint(store, &format!("e{n}")).await.id;
            if n % 10 == 0 {
                continue;
            }
            let mut results: Vec<_> = (0..n).map(|s| good(id, plus(start, s * 10), 100)).collect();
            fastrand::Rng::with_seed(n.unsigned_abs()).shuffle(&mut results);
            history::append(store.writer(), &results).await.unwrap();
            if n == 15 {
                endpoints::archive(store.writer(), id, start).await.unwrap();
                continue;
            }
            expected.push(good(id, plus(start, (n - 1) * 10), 100));
        }
        let mut last = history::last_of_each(store.readers()).await.unwrap();
        last.sort_by_key(|r| r.endpoint_id);
        assert_eq!(last, expected);
        let id = expected[3].endpoint_id;
        let newest = history::last_scheduled_at(store.readers(), id).await.unwrap();
        assert_eq!(newest, Some(expected[3].scheduled_at));
        assert_eq!(history::first_scheduled_at(store.readers(), id).await.unwrap(), Some(start));
        assert_eq!(history::last_scheduled_at(store.readers(), EndpointId(9_999)).await.unwrap(), None);
    })
    .await;
}

async fn old_rows_go_in_batches_whatever_the_order_of_their_arrival(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-21T10:00:00Z");
        let ids = [add_endpoint(store, "a").await.id, add_endpoint(store, "b").await.id];
        let mut results: Vec<_> = ids.iter().flat_map(|id| (0..30).map(|n| good(*id, plus(start, n), 100))).collect();
        fastrand::Rng::with_seed(2).shuffle(&mut results);
        history::append(store.writer(), &results).await.unwrap();
        let cutoff = plus(start, 20);
        let mut batches = Vec::new();
        loop {
            match history::delete_before(store.writer(), cutoff, 15).await.unwrap() {
                0 => break,
                n => batches.push(n),
            }
        }
        assert_eq!(batches, [15, 15, 10]);
        for id in ids {
            assert_eq!(history::first_scheduled_at(store.readers(), id).await.unwrap(), Some(cutoff));
            assert_eq!(history::count(store.readers(), id, None, None).await.unwrap(), 10);
        }
    })
    .await;
}

async fn the_newest_of_a_sort_is_the_one_a_scan_would_find(kind: Kind) {
    with_database(kind, async |store| {
        let from = at("2026-11-01T05:30:00Z");
        let mut random = fastrand::Rng::with_seed(3);
        let id = add_endpoint(store, "a").await.id;
        let results = history_of(id, from, plus(from, days(4)), 97, &mut random);
        let mut recorder = Recorder::new(store);
        recorder.record(&results).await;
        close_all_days(store, at("2026-11-04T00:00:00Z")).await;
        // As retention leaves it: rollups tell of checks that are no longer kept.
        let cutoff = plus(from, days(1));
        while history::delete_before(store.writer(), cutoff, 1_000).await.unwrap() > 0 {}

        let sorts: [(Wanted, IsWanted); 3] = [
            (Wanted::Checked, |r| !matches!(r.outcome, Outcome::Missed(_))),
            (Wanted::Good, |r| r.outcome.is_good() && !r.in_maintenance),
            (Wanted::Failed, |r| r.outcome.failure().is_some() && !r.in_maintenance),
        ];
        for _ in 0..300 {
            let a = plus(from, random.i64(-3_600..days(4) + 3_600));
            let longest = days(random.i64(1..5));
            let b = plus(a, random.i64(1..=longest));
            for (wanted, is_wanted) in sorts {
                let expected = results
                    .iter()
                    .rfind(|r| r.scheduled_at >= cutoff && (a..b).contains(&r.scheduled_at) && is_wanted(r));
                let found = history::newest_with(store.readers(), id, wanted, a..b).await.unwrap();
                assert_eq!(found.as_ref(), expected, "{wanted:?} in {a}..{b}");
            }
        }
    })
    .await;
}

on_both_databases!(
    a_nul_character_in_what_a_target_said_is_replaced,
    every_field_of_every_sort_of_result_comes_back,
    appending_twice_changes_nothing,
    pages_are_newest_first_half_open_and_without_overlap,
    many_rows_are_visited_once_each,
    the_last_result_of_each_current_endpoint_is_found,
    old_rows_go_in_batches_whatever_the_order_of_their_arrival,
    the_newest_of_a_sort_is_the_one_a_scan_would_find
);
