//! `endpoints`: identity, revisions, archive.

use api_monitor::domain::endpoint::{EndpointId, EndpointSettings, Origin};
use api_monitor::domain::incident::EndpointState;
use api_monitor::domain::uptime::Rollup;
use api_monitor::store::endpoints::{self, EndpointUpdate, NewEndpoint, StoredEndpoint};
use api_monitor::store::{StoreError, history, rollups, states};

use super::{add_endpoint, at, good, named, new_endpoint, plus, with_database};
use crate::database::{Kind, on_both_databases};

fn unchanged(endpoint: &StoredEndpoint) -> EndpointUpdate {
    EndpointUpdate {
        settings: endpoint.settings.clone(),
        origin: endpoint.origin,
        source: endpoint.source.clone(),
        paused: endpoint.paused,
        scheduled_from: endpoint.scheduled_from,
        expected_revision: None,
    }
}

async fn what_was_set_comes_back(kind: Kind) {
    with_database(kind, async |store| {
        let settings: EndpointSettings = serde_json::from_value(serde_json::json!({
            "name": "shop", "group": "Ünï", "url": "https://shop.example/ü?q='", "interval": "1m30s",
            "headers": {"authorization": "Bearer x"}, "expected_status": ["2xx", 304], "body": {"a": [1, null]}
        }))
        .unwrap();
        let now = at("2026-11-21T10:00:00.000001Z");
        let new = NewEndpoint {
            settings: settings.clone(),
            origin: Origin::Config,
            source: Some("config/config.yaml:12".to_owned()),
            paused: true,
            now,
        };
        let stored = endpoints::insert(store.writer(), new).await.unwrap();
        let expected = StoredEndpoint {
            id: stored.id,
            origin: Origin::Config,
            source: Some("config/config.yaml:12".to_owned()),
            paused: true,
            revision: 1,
            settings,
            created_at: now,
            updated_at: now,
            scheduled_from: now,
            archived_at: None,
            purge_at: None,
        };
        assert_eq!(stored, expected);
        assert_eq!(endpoints::find(store.readers(), stored.id).await.unwrap(), Some(expected.clone()));
        assert_eq!(endpoints::find_by_key(store.readers(), "Ünï", "shop").await.unwrap(), Some(expected.clone()));
        assert_eq!(endpoints::find_by_key(store.readers(), "", "shop").await.unwrap(), None);
        assert_eq!(endpoints::list_current(store.readers()).await.unwrap(), [expected]);
    })
    .await;
}

async fn a_name_is_taken_within_its_group_only(kind: Kind) {
    with_database(kind, async |store| {
        let first = add_endpoint(store, "shop").await;
        let refused = endpoints::insert(store.writer(), new_endpoint(named("shop"))).await;
        assert_eq!(refused, Err(StoreError::Conflict("an endpoint named `shop` exists".to_owned())));

        let grouped = EndpointSettings { group: Some("eu".to_owned()), ..named("shop") };
        let second = endpoints::insert(store.writer(), new_endpoint(grouped.clone())).await.unwrap();
        let update = EndpointUpdate { settings: grouped, ..unchanged(&first) };
        let refused = endpoints::update(store.writer(), first.id, update, first.created_at).await;
        assert_eq!(refused, Err(StoreError::Conflict("an endpoint named `shop` exists in the group `eu`".to_owned())));
        assert_eq!(endpoints::find(store.writer(), first.id).await.unwrap(), Some(first));
        assert_eq!(endpoints::list_current(store.writer()).await.unwrap().len(), 2);
        assert_eq!(endpoints::find_by_key(store.writer(), "eu", "shop").await.unwrap(), Some(second));
    })
    .await;
}

async fn of_racing_creations_one_wins_and_the_others_conflict(kind: Kind) {
    with_database(kind, async |store| {
        let racers = (0..8).map(|_| endpoints::insert(store.writer(), new_endpoint(named("shop"))));
        let results = futures_util::future::join_all(racers).await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(StoreError::Conflict(_)))), "{results:?}");
    })
    .await;
}

async fn a_change_counts_the_revision_and_a_lost_update_is_stale(kind: Kind) {
    with_database(kind, async |store| {
        let first = add_endpoint(store, "shop").await;
        let now = plus(first.created_at, 60);
        let update = EndpointUpdate {
            settings: named("till"),
            origin: Origin::Config,
            source: Some("a.yaml:3".to_owned()),
            paused: true,
            scheduled_from: now,
            expected_revision: Some(1),
        };
        let changed = endpoints::update(store.writer(), first.id, update.clone(), now).await.unwrap();
        let expected = StoredEndpoint {
            origin: Origin::Config,
            source: Some("a.yaml:3".to_owned()),
            paused: true,
            revision: 2,
            settings: named("till"),
            updated_at: now,
            scheduled_from: now,
            ..first.clone()
        };
        assert_eq!(changed, expected);
        assert_eq!(endpoints::update(store.writer(), first.id, update.clone(), now).await, Err(StoreError::Stale));
        let unconditional = EndpointUpdate { expected_revision: None, ..update.clone() };
        assert_eq!(endpoints::update(store.writer(), first.id, unconditional.clone(), now).await.unwrap().revision, 3);
        let unknown = EndpointId(first.id.0 + 1);
        assert_eq!(endpoints::update(store.writer(), unknown, unconditional, now).await, Err(StoreError::NotFound));
    })
    .await;
}

async fn an_archived_name_is_free_and_the_last_configured_one_can_return(kind: Kind) {
    with_database(kind, async |store| {
        let now = at("2026-11-21T10:00:00Z");
        let mut archived = Vec::new();
        for step in 0..3 {
            let origin = if step == 2 { Origin::Api } else { Origin::Config };
            let new = NewEndpoint { origin, ..new_endpoint(named("shop")) };
            let endpoint = endpoints::insert(store.writer(), new).await.unwrap();
            endpoints::archive(store.writer(), endpoint.id, plus(now, step)).await.unwrap();
            archived.push(endpoint);
        }
        assert_eq!(endpoints::archive(store.writer(), archived[0].id, now).await, Err(StoreError::NotFound));
        assert_eq!(endpoints::list_current(store.writer()).await.unwrap(), []);
        let refused = endpoints::update(store.writer(), archived[0].id, unchanged(&archived[0]), now).await;
        assert_eq!(refused, Err(StoreError::NotFound));

        let last = endpoints::find_archived(store.writer(), "", "shop").await.unwrap().unwrap();
        assert_eq!((last.id, last.archived_at), (archived[1].id, Some(plus(now, 1))));
        let back = endpoints::unarchive(store.writer(), last.id, unchanged(&last), plus(now, 9)).await.unwrap();
        assert_eq!((back.archived_at, back.revision, back.created_at), (None, 3, archived[1].created_at));
        assert_eq!(
            endpoints::unarchive(store.writer(), back.id, unchanged(&back), now).await,
            Err(StoreError::NotFound)
        );
        // The name is taken again, so its older namesake cannot return beside it.
        let refused = endpoints::unarchive(store.writer(), archived[0].id, unchanged(&archived[0]), now).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    })
    .await;
}

async fn purging_removes_all_of_one_endpoint_in_batches_and_its_id_is_not_used_again(kind: Kind) {
    with_database(kind, async |store| {
        let start = at("2026-11-21T10:00:00Z");
        let (kept, gone) = (add_endpoint(store, "kept").await.id, add_endpoint(store, "gone").await.id);
        for id in [kept, gone] {
            let results: Vec<_> = (0..25).map(|n| good(id, plus(start, n), 100)).collect();
            history::append(store.writer(), &results).await.unwrap();
            rollups::put_hours(store.writer(), &[(id, start, Rollup::with_sketch())]).await.unwrap();
            states::upsert_many(store.writer(), &[(id, EndpointState::pending(start))]).await.unwrap();
        }
        endpoints::archive(store.writer(), gone, start).await.unwrap();
        let mut batches = Vec::new();
        loop {
            match endpoints::purge_history(store.writer(), gone, 10).await.unwrap() {
                0 => break,
                n => batches.push(n),
            }
        }
        assert_eq!(batches, [10, 10, 5, 1]);
        endpoints::delete(store.writer(), gone).await.unwrap();
        assert_eq!(endpoints::find(store.writer(), gone).await.unwrap(), None);
        assert_eq!(history::count(store.writer(), gone, None, None).await.unwrap(), 0);
        assert_eq!(history::count(store.writer(), kept, None, None).await.unwrap(), 25);
        assert_eq!(rollups::latest_hour_of_each(store.writer()).await.unwrap(), [(kept, Some(start))]);
        assert_eq!(states::list(store.writer()).await.unwrap().len(), 1);
        assert!(add_endpoint(store, "new").await.id > gone);
    })
    .await;
}

on_both_databases!(
    what_was_set_comes_back,
    a_name_is_taken_within_its_group_only,
    of_racing_creations_one_wins_and_the_others_conflict,
    a_change_counts_the_revision_and_a_lost_update_is_stale,
    an_archived_name_is_free_and_the_last_configured_one_can_return,
    purging_removes_all_of_one_endpoint_in_batches_and_its_id_is_not_used_again
);
