//! Notifications to try the rendering with.

use chrono::TimeDelta;
use proptest::prelude::*;

use crate::domain::alert_rule::Comparison;
use crate::domain::grouping::digest::digest;
use crate::domain::notification::{AcknowledgementFacts, AlertEnding, AlertFacts, Event, Notification};

/// The outage that the integration tests tell, too.
pub(super) fn down() -> Notification {
    serde_json::from_str(include_str!("../../tests/it/notify/down.json")).unwrap()
}

/// The same endpoint with another event.
pub(super) fn with_event(event: Event) -> Notification {
    let mut notification = down();
    notification.event = event;
    notification.id = notification.id.replace("down", event.as_str());
    match event {
        Event::Up | Event::NoLongerMonitored => {
            "up".clone_into(&mut notification.status);
            "down".clone_into(&mut notification.previous_status);
            notification.occurred_at += TimeDelta::minutes(15);
            let incident = notification.incident.as_mut().unwrap();
            incident.resolved_at = Some(notification.occurred_at);
            incident.duration_seconds = 910;
        }
        Event::Reminder => {
            notification.occurred_at += TimeDelta::hours(1);
            notification.incident.as_mut().unwrap().duration_seconds = 3610;
        }
        Event::ChannelFailing => {
            "mail".clone_into(&mut notification.endpoint_name);
            notification.error = Some("mail.example.com:587 refused: 535 authentication failed".to_owned());
            notification.incident = None;
            notification.check = None;
            notification.runbook = None;
            notification.remarks = vec!["Production API is down since 07:00 and could not be told".to_owned()];
        }
        Event::Blind => {
            "blind".clone_into(&mut notification.status);
            "reachable".clone_into(&mut notification.previous_status);
            "own network".clone_into(&mut notification.endpoint_name);
            notification.error = Some("0 of 2 connectivity targets answer".to_owned());
            notification.endpoint.group.clear();
            notification.url.clear();
            (notification.incident, notification.check, notification.runbook) = (None, None, None);
        }
        Event::CertificateExpiring => {
            "expiring".clone_into(&mut notification.status);
            "valid".clone_into(&mut notification.previous_status);
            "shop.example".clone_into(&mut notification.endpoint_name);
            notification.error = Some("It expires in 18 days, at 2026-12-09 07:00:00 UTC".to_owned());
            notification.remarks = vec!["Served by core/api, core/shop".to_owned(), "Issued by CN=R11".to_owned()];
            notification.severity = crate::domain::notification::Severity::Warning;
            notification.endpoint.group.clear();
            notification.url.clear();
            (notification.incident, notification.check, notification.runbook) = (None, None, None);
        }
        Event::AlertFiring | Event::AlertResolved => alert(&mut notification),
        Event::Test => {
            notification.error = None;
            notification.incident = None;
            notification.check = None;
            notification.runbook = None;
        }
        Event::Escalated => {
            notification.occurred_at += TimeDelta::minutes(15);
            notification.incident.as_mut().unwrap().duration_seconds = 910;
            notification.remarks = vec!["Nobody has acknowledged it: step 1 of its escalation".to_owned()];
        }
        Event::Acknowledged => {
            notification.occurred_at += TimeDelta::minutes(5);
            let incident = notification.incident.as_mut().unwrap();
            incident.duration_seconds = 310;
            incident.acknowledgement = Some(AcknowledgementFacts {
                by: "on-call".to_owned(),
                at: notification.occurred_at,
                until: notification.occurred_at + TimeDelta::hours(4),
                note: Some("The provider is told".to_owned()),
            });
        }
        Event::Flapping => {
            "up".clone_into(&mut notification.status);
            "down".clone_into(&mut notification.previous_status);
            notification.remarks = vec!["More than 6 changes of status within 20 min".to_owned()];
        }
        Event::NoData => {
            "unknown".clone_into(&mut notification.status);
            (notification.error, notification.failure_kind) = (None, None);
            (notification.incident, notification.check) = (None, None);
        }
        Event::Digest => {
            let mut other = with_event(Event::Up);
            (other.endpoint.id, other.endpoint.name) = (2, "Shop".to_owned());
            let mut first = down();
            first.endpoint.id = 1;
            notification = digest(&[&first, &other]).unwrap();
        }
        Event::Down | Event::DownAgain => {}
    }
    notification
}

/// A rule over the monitor's own memory that fires, or has cleared.
fn alert(notification: &mut Notification) {
    let crossed_at = notification.occurred_at;
    let is_over = notification.event == Event::AlertResolved;
    let words = if is_over { ("ok", "firing") } else { ("firing", "ok") };
    (notification.status, notification.previous_status) = (words.0.to_owned(), words.1.to_owned());
    notification.occurred_at += TimeDelta::seconds(if is_over { 245 } else { 30 });
    "memory_usage (alert_001)".clone_into(&mut notification.endpoint_name);
    notification.error = Some("memory_usage has been above 80% for 30 s, and is 83.2%".to_owned());
    notification.endpoint.group.clear();
    notification.url.clear();
    (notification.incident, notification.check, notification.runbook) = (None, None, None);
    notification.alert = Some(AlertFacts {
        alert_id: "alert_001".to_owned(),
        metric: "memory_usage".to_owned(),
        comparison: Comparison::Gt,
        threshold: "80%".to_owned(),
        value: Some(if is_over { 75.5 } else { 83.2 }),
        unit: Some("percent".to_owned()),
        crossed_at,
        fired_at: crossed_at + TimeDelta::seconds(30),
        resolved_at: is_over.then_some(notification.occurred_at),
        duration_seconds: (notification.occurred_at - crossed_at).num_seconds(),
        ending: is_over.then_some(AlertEnding::Cleared),
    });
}

/// What nobody would name an endpoint, and what no server should say.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\"\\\\'{}<>&*_`\\[\\]()~#+\\-=|.!\r\n\t\u{0}\u{2028}\u{202e}🚨éx: ]{1,60}",
        "\\PC{1,40}",
        Just("\"}, {\"injected\": true, \"x\": \"".to_owned()),
        Just("x\r\nBcc: victim@example.com\r\n\r\nbody".to_owned()),
        Just("</b><script>alert(1)</script>{error}{{url}}".to_owned()),
        "[a\"\\\\\n_*\\]🚨]{10000}",
    ]
}
