//! The preset for Slack, against a receiver that answers like it.

use std::collections::BTreeMap;

use api_monitor::config::Secret;
use api_monitor::config::channels::Transport;
use api_monitor::notify::SendError;

use super::receivers::{Receiver, answer};
use super::{build, down, message, retry, up};

fn preset(preset: &str, options: &[(&str, &str)]) -> Transport {
    let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect();
    Transport::Preset { preset: preset.to_owned(), options }
}

#[tokio::test]
async fn outages_and_recoveries_are_slack_texts() {
    let receiver = Receiver::answering([answer(200, "ok")]).await;
    let channel = build(preset("slack", &[("url", &receiver.url("/services/T0/B0/SECRETSECRETSECRET"))])).unwrap();
    let mut notification = down();
    notification.endpoint_name = "a <b> & \"c\"".to_owned();
    assert_eq!(channel.send(&message(notification)).await.unwrap().answer, "200 OK: ok");
    channel.send(&message(up())).await.unwrap();
    let requests = receiver.received();
    assert_eq!(requests[0].uri.path(), "/services/T0/B0/SECRETSECRETSECRET");
    assert_eq!(requests[0].header("content-type"), "application/json; charset=utf-8");
    insta::assert_snapshot!("slack_down", requests[0].json()["text"].as_str().unwrap());
    insta::assert_snapshot!("slack_up", requests[1].json()["text"].as_str().unwrap());
}

#[tokio::test]
async fn refusals_and_rate_limits_are_read() {
    let limited = (429, vec![("retry-after", "30".to_owned())], "rate_limited".to_owned());
    for (given, after, permanent_looking) in [
        (answer(200, "not ok"), None, false),
        (answer(400, "invalid_payload"), None, false),
        (answer(404, "no_service"), None, true),
        (limited, Some(30), false),
    ] {
        let receiver = Receiver::answering([given.clone()]).await;
        let channel = build(preset("slack", &[("url", &receiver.url("/services/x"))])).unwrap();
        let (reason, a, p) = retry(channel.send(&message(down())).await.unwrap_err());
        assert_eq!((a, p), (after, permanent_looking), "{reason}");
        assert!(reason.ends_with(&given.2), "{reason}");
    }
    let receiver = Receiver::answering([answer(410, "channel_is_archived")]).await;
    let channel = build(preset("slack", &[("url", &receiver.url("/services/x"))])).unwrap();
    assert!(matches!(channel.send(&message(down())).await, Err(SendError::GiveUp { .. })));
}

#[tokio::test]
async fn options_are_checked() {
    for (transport, key, message) in [
        (preset("slack", &[]), "url", "slack needs it"),
        (preset("slack", &[("url", " ")]), "url", "slack needs it"),
        (preset("slack", &[("url", "http://x/"), ("uri", "x")]), "uri", "slack has no such option; it has url"),
        (
            preset("slak", &[]),
            "type",
            "there is no preset `slak`; there are slack, discord, teams, mattermost, google_chat, matrix, ntfy, gotify, pushover, pagerduty, alertmanager, twilio_sms",
        ),
        (preset("slack", &[("url", "x")]), "url", "it is not a URL (relative URL without a base)"),
    ] {
        let error = build(transport).unwrap_err();
        assert_eq!((error.key.as_str(), error.message.as_str()), (key, message));
    }
}
