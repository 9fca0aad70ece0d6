//! Channels against real servers on loopback.

pub(crate) mod email;
mod outbound;
mod presets;
pub(crate) mod receivers;
mod slack;
pub(crate) mod telegram;
mod webhook;

use std::sync::Arc;

use api_monitor::clock::ManualClock;
use api_monitor::config::channels::{ChannelConfig, Transport};
use api_monitor::domain::endpoint::Origin;
use api_monitor::domain::notification::{Event, Notification};
use api_monitor::notify::{BuildContext, Builder, Channel, ChannelError, Channels, Message, SendError};

/// When messages are sent.
const NOW: &str = "2026-11-21T07:00:11Z";

pub(crate) fn down() -> Notification {
    serde_json::from_str(include_str!("down.json")).unwrap()
}

pub(crate) fn up() -> Notification {
    let mut up = down();
    up.event = Event::Up;
    up.id = up.id.replace("down", "up");
    "up".clone_into(&mut up.status);
    "down".clone_into(&mut up.previous_status);
    up.occurred_at += chrono::TimeDelta::minutes(15);
    let incident = up.incident.as_mut().unwrap();
    incident.resolved_at = Some(up.occurred_at);
    incident.duration_seconds = 910;
    up
}

pub(crate) fn message(notification: Notification) -> Message {
    Message { notification, attempt: 1, first_of_incident: None }
}

pub(crate) fn build(transport: Transport) -> Result<Arc<dyn Channel>, ChannelError> {
    let config = ChannelConfig {
        name: "ops".to_owned(),
        origin: Origin::Config,
        source: None,
        enabled: true,
        default: true,
        severity: None,
        fallback: Vec::new(),
        transport,
    };
    let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let builder = Builder::new(BuildContext { timezone: chrono_tz::UTC, clock, outbound: Arc::default() });
    Channels::build(&[config], &builder).map(|channels| Arc::clone(channels.get("ops").unwrap()))
}

/// What a failed send says: its reason, its pause in seconds, whether it looks permanent.
pub(crate) fn retry(error: SendError) -> (String, Option<u64>, bool) {
    match error {
        SendError::Retry { reason, after, permanent_looking, .. } => {
            (reason, after.map(|a| a.as_secs()), permanent_looking)
        }
        SendError::GiveUp { reason } => panic!("given up: {reason}"),
    }
}

#[tokio::test]
async fn a_disabled_channel_is_not_built_and_a_console_prints() {
    let console = build(Transport::Console).unwrap();
    assert_eq!(console.send(&message(down())).await.unwrap().answer, "printed");
    let config = ChannelConfig {
        name: "off".to_owned(),
        origin: Origin::Config,
        source: None,
        enabled: false,
        default: true,
        severity: None,
        fallback: Vec::new(),
        transport: Transport::Console,
    };
    let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let builder = Builder::new(BuildContext { timezone: chrono_tz::UTC, clock, outbound: Arc::default() });
    assert!(Channels::build(&[config], &builder).unwrap().get("off").is_none());
}
