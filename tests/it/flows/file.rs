//! The file changes between two starts: history stays, ids stay, nothing that was not watched counts as a gap.

use std::time::Duration;

use api_monitor::domain::endpoint::{EndpointSettings, Origin};
use api_monitor::domain::setting::DurationSetting;
use api_monitor::service::endpoints;
use api_monitor::service::sync::SyncReport;

use super::harness::{Place, distances, gaps, somebody};
use super::target::{Answer, Target};
use crate::database::{Kind, on_both_databases};

const START: &str = "2026-11-21T12:00:40Z";

fn target() -> Target {
    Target::answering(|_, _| Answer::Status(200))
}

async fn endpoints_come_change_go_and_come_back(kind: Kind) {
    let (target, place) = (target(), Place::on(kind, START));
    let endpoint =
        |name: &str, every: u32| format!("  - {{name: {name}, url: '{}', interval: {every}}}\n", target.url(name));
    let file = |lines: &[String]| format!("endpoints:\n{}", lines.concat());

    let first = place.start(&file(&[endpoint("stays", 60), endpoint("goes", 60)])).await;
    assert_eq!(first.monitor.synced, SyncReport { added: 2, ..SyncReport::default() });
    let (stays, goes) = (first.id("stays"), first.id("goes"));
    first.run_until("stays", 1).await;
    let gone = first.run_until("goes", 1).await;
    first.stop().await;

    let second = place.start(&file(&[endpoint("comes", 60), endpoint("stays", 30)])).await;
    assert_eq!(second.monitor.synced, SyncReport { added: 1, changed: 1, archived: 1, ..SyncReport::default() });
    assert_eq!(second.id("stays"), stays);
    assert!(second.monitor.service.board.get(goes).is_none());
    let count = second.history(stays).await.len();
    let rows = second.run_until("stays", count + 3).await;
    assert_eq!(distances(&rows[rows.len() - 2..]), [30_000_000]);
    assert_eq!(second.history(goes).await.len(), gone.len(), "its history stays");
    second.stop().await;

    place.pass(Duration::from_secs(86_400));
    let third = place.start(&file(&[endpoint("stays", 30), endpoint("goes", 60), endpoint("comes", 60)])).await;
    assert_eq!(
        third.monitor.synced,
        SyncReport { returned: 1, ..SyncReport::default() },
        "lines that moved are no change"
    );
    assert_eq!(third.id("goes"), goes);
    let rows = third.run_until("goes", gone.len() + 2).await;
    assert_eq!(rows[..gone.len()], gone[..]);
    assert_eq!(gaps(&rows), [], "it was not watched while it was not in the file");
    third.stop().await;
}

async fn a_file_takes_over_what_was_made_through_the_api(kind: Kind) {
    let (target, place) = (target(), Place::on(kind, START));
    let first = place.start("endpoints: []").await;
    let settings = EndpointSettings {
        name: Some("e".to_owned()),
        url: Some(target.url("e")),
        interval: Some(DurationSetting(Duration::from_secs(60))),
        ..EndpointSettings::default()
    };
    let made = endpoints::create(&first.monitor.service, &somebody(), settings).await.unwrap();
    let before = first.run_until("e", 1).await;
    first.stop().await;

    let second = place.start("endpoints: []").await;
    assert!(second.monitor.synced.is_empty(), "what the file does not name is left alone");
    assert_eq!(second.id("e"), made.known.id);
    second.stop().await;

    let yaml = format!("endpoints: [{{name: e, url: '{}', interval: 60}}]", target.url("e"));
    let third = place.start(&yaml).await;
    assert_eq!(third.monitor.synced, SyncReport { adopted: 1, ..SyncReport::default() });
    let entry = third.entry("e");
    assert_eq!((entry.known.id, entry.known.origin), (made.known.id, Origin::Config));
    let rows = third.run_until("e", before.len() + 1).await;
    assert_eq!(rows[..before.len()], before[..]);
    third.stop().await;
}

async fn the_time_in_which_a_file_had_it_inactive_is_no_gap(kind: Kind) {
    let (target, place) = (target(), Place::on(kind, START));
    let yaml = |active: bool| format!("endpoints: [{{name: e, url: '{}', is_active: {active}}}]", target.url("e"));
    let first = place.start(&yaml(true)).await;
    let before = first.run_until("e", 1).await.len();
    first.stop().await;
    place.start(&yaml(false)).await.stop().await;
    place.pass(Duration::from_secs(86_400));

    let third = place.start(&yaml(true)).await;
    let rows = third.run_until("e", before + 2).await;
    assert_eq!(gaps(&rows), []);
    third.stop().await;
}

async fn what_the_file_made_active_again_is_watched_although_it_was_inactive_through_the_api(kind: Kind) {
    let (target, place) = (target(), Place::on(kind, START));
    let first = place.start("endpoints: []").await;
    let settings =
        EndpointSettings { name: Some("e".to_owned()), url: Some(target.url("e")), ..EndpointSettings::default() };
    let id = endpoints::create(&first.monitor.service, &somebody(), settings).await.unwrap().known.id;
    let before = first.run_until("e", 1).await.len();
    endpoints::pause(&first.monitor.service, &somebody(), id).await.unwrap();
    first.stop().await;
    place.pass(Duration::from_secs(86_400));

    let second = place.start(&format!("endpoints: [{{name: e, url: '{}'}}]", target.url("e"))).await;
    let rows = second.run_until("e", before + 2).await;
    assert_eq!(gaps(&rows), []);
    second.stop().await;
}

on_both_databases!(
    endpoints_come_change_go_and_come_back,
    a_file_takes_over_what_was_made_through_the_api,
    the_time_in_which_a_file_had_it_inactive_is_no_gap,
    what_the_file_made_active_again_is_watched_although_it_was_inactive_through_the_api
);
