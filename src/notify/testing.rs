//! Notifications to try the rendering with.

use chrono::TimeDelta;
use proptest::prelude::*;

use crate::domain::notification::{Event, Notification};

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
        Event::Test => {
            notification.error = None;
            notification.incident = None;
            notification.check = None;
            notification.runbook = None;
        }
        Event::Down | Event::DownAgain => {}
    }
    notification
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
