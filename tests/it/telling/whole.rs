//! One outage, told through every kind of channel as its other side sees it.

use std::time::Duration;

use api_monitor::domain::outcome::{Outcome, Status};
use api_monitor::store::incidents::Resolution;
use api_monitor::store::outbox::DeliveryState;
use serde_json::json;

use super::{START, incidents_of, notifications};
use crate::database::{Kind, on_both_databases};
use crate::flows::harness::Place;
use crate::flows::target::Switched;
use crate::notify::email::smtp::{Mail, Smtp, Talk};
use crate::notify::receivers::{Receiver, answer};
use crate::notify::telegram::{TOKEN, refused, sent};

async fn an_outage_and_its_end_are_told_once_through_each_channel(kind: Kind) {
    let mail = Smtp::start(Talk::default()).await;
    let hook = Receiver::answering([answer(200, "ok")]).await;
    let team = Receiver::answering([answer(200, "ok")]).await;
    let busy = refused(429, "Too Many Requests: retry after 1", json!({"retry_after": 1}));
    let chat = Receiver::answering([busy, sent()]).await;
    let target = Switched::good();
    let place = Place::on(kind, START);
    let live = place
        .start(&format!(
            "channels:\n  mail: {{type: email, smtp_host: localhost, smtp_port: {}, smtp_user: user, smtp_password: \
             hunter2, from_addr: monitor@example.com, to_addrs: [ops@example.com], ca_file: '{}'}}\n  \
             hook: {{type: webhook, url: '{}'}}\n  team: {{type: slack, url: '{}'}}\n  \
             chat: {{type: telegram, bot_token: '{TOKEN}', chat_id: -100123, api_url: '{}'}}\n\
             endpoints: [{{name: shop, url: '{}', interval: 60, retry: {{enabled: false}}}}]",
            mail.address.port(),
            mail.ca_file(),
            hook.url("/hook"),
            team.url("/team"),
            chat.url("/"),
            target.url("e")
        ))
        .await;
    let id = live.id("shop");
    live.run_while("the first good check", || live.status("shop") != Status::Up).await;

    target.set(500);
    let told = |times: usize| {
        let numbers = (mail.mails().len(), hook.received().len(), team.received().len(), chat.received().len());
        // Telegram was busy at the first attempt.
        numbers == (times, times, times, times + 1)
    };
    live.run_while("the outage", || !told(1)).await;
    target.set(200);
    live.run_while("the recovery", || !told(2)).await;
    live.run_for(Duration::from_secs(150)).await;
    assert!(told(2), "nothing more is told");

    let incidents = incidents_of(&live, id).await;
    let [incident] = incidents.as_slice() else { panic!("one incident: {incidents:#?}") };
    let rows = live.history(id).await;
    let failed: Vec<_> = rows.iter().filter(|row| matches!(row.outcome, Outcome::Down(_))).collect();
    let back = rows.iter().find(|row| row.started_at > failed[1].started_at && row.outcome.is_good()).unwrap();
    assert_eq!(incident.started_at, failed[0].started_at);
    assert_eq!(incident.opened_at, failed[1].started_at);
    assert_eq!((incident.resolved_at, incident.resolution), (Some(back.started_at), Some(Resolution::Recovered)));
    let confirmed_after = (incident.opened_at - incident.started_at).num_milliseconds();
    assert!((10_000..13_000).contains(&confirmed_after), "{confirmed_after} ms");

    let notifications = notifications(&live).await;
    let [down, up] = notifications.as_slice() else { panic!("two notifications: {notifications:#?}") };
    for delivery in down.deliveries.iter().chain(&up.deliveries) {
        assert_eq!(delivery.state, DeliveryState::Delivered, "{delivery:?}");
    }
    assert_eq!((down.deliveries.len(), up.deliveries.len()), (4, 4));
    for delivery in down.deliveries.iter().filter(|delivery| delivery.channel != "chat") {
        let after = (delivery.finished_at.unwrap() - incident.started_at).num_seconds();
        // The moved clock runs much faster than a busy machine gets its answers from a server.
        assert!(
            after < if kind == Kind::Sqlite { 20 } else { 60 },
            "told through {} {after} s after the first failed check",
            delivery.channel
        );
    }

    let bodies: Vec<_> = hook.received().iter().map(crate::notify::receivers::Received::json).collect();
    assert_eq!((&bodies[0]["event"], &bodies[1]["event"]), (&json!("down"), &json!("up")));
    assert_eq!((&bodies[0]["id"], &bodies[1]["id"]), (&json!(down.facts.id), &json!(up.facts.id)));
    assert_eq!(bodies[0]["error"], "GET returned 500, expected 200");
    for body in &bodies {
        assert_eq!((&body["endpoint_name"], &body["incident"]["id"]), (&json!("shop"), &json!(incident.id)));
        let started_at: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(body["incident"]["started_at"].clone()).unwrap();
        assert_eq!(started_at, incident.started_at);
    }
    assert_eq!((&bodies[0]["incident"]["resolved_at"], &bodies[1]["told_late"]), (&json!(null), &json!(false)));

    let mails = mail.mails();
    for mail in &mails {
        assert!(mail.by_tls && mail.login.as_deref() == Some("user/hunter2") && mail.to == ["ops@example.com"]);
    }
    assert!(mails[0].part("text/plain").contains("GET returned 500, expected 200"));
    assert_eq!(mails[1].header("In-Reply-To"), mails[0].header("Message-ID"));
    let texts: [Vec<String>; 3] = [
        mails.iter().map(Mail::subject).collect(),
        team.received().iter().map(|r| r.json()["text"].as_str().unwrap().to_owned()).collect(),
        chat.received().iter().skip(1).map(|r| r.json()["text"].as_str().unwrap().to_owned()).collect(),
    ];
    for text in texts {
        assert!(text[0].contains("shop") && text[0].to_lowercase().contains("down"), "{}", text[0]);
        assert!(text[1].contains("shop") && !text[1].to_lowercase().contains("is down"), "{}", text[1]);
    }
    live.stop().await;
}

on_both_databases!(an_outage_and_its_end_are_told_once_through_each_channel);
