//! Who is told of what happens to an endpoint: its route, and whoever heard of its outage.

use crate::domain::endpoint::Endpoint;
use crate::domain::incident::{IncidentChange, Tell};
use crate::domain::notification::{Event, Routing};
use crate::domain::suppression::Suppressor;

/// What is known of those who were told before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldBefore {
    /// The channels that heard of the incident at hand; empty where there is none.
    pub of_incident: Vec<String>,
    /// Those that heard that nobody watches the endpoint. Taken in any case: what is told now ends that.
    pub unwatched: Vec<String>,
    /// Those that heard that it is degraded, of what [ends that](ends_degraded).
    pub degraded: Vec<String>,
}

/// Whether what is told ends what was told of an endpoint being degraded.
pub fn ends_degraded(change: &IncidentChange, tell: Tell) -> bool {
    let of_other = matches!(change, IncidentChange::WatchedAgain { .. }) && tell.event == Event::Up;
    tell.event.is_resolve() && !of_other
}

/// The channels that are told: whoever was told of an outage is told of its end and of who looks after it, whatever the
/// route is now. Some of them may be there no longer.
pub fn channels(
    change: &IncidentChange,
    tell: Tell,
    endpoint: &Endpoint,
    before: ToldBefore,
    routing: &Routing,
) -> Vec<String> {
    if !routing.enabled {
        return Vec::new();
    }
    let with_degraded = |mut channels: Vec<String>| {
        channels.extend(before.degraded.iter().filter(|name| !channels.contains(name)).cloned().collect::<Vec<_>>());
        channels
    };
    match change {
        IncidentChange::WatchedAgain { .. } => with_degraded(before.unwatched),
        IncidentChange::Escalated { notify, .. } => routing.named(notify),
        _ if tell.event.is_resolve() || tell.event == Event::Acknowledged => with_degraded(before.of_incident),
        _ => {
            let mut channels = routing.channels_for(endpoint.notify.as_deref(), endpoint.severity);
            let more = before.unwatched.into_iter().filter(|name| !channels.contains(name)).collect::<Vec<_>>();
            channels.extend(more);
            channels
        }
    }
}

/// Notes who hears of an outage, and so will hear of its end.
pub fn note(told: &mut Vec<String>, event: Event, channels: &[String]) {
    if event.tells_of_an_outage() {
        for channel in channels {
            if !told.contains(channel) {
                told.push(channel.clone());
            }
        }
    }
}

/// Who a message is for, and what keeps it back from everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// Empty where something keeps it back.
    pub channels: Vec<String>,
    /// Channels among them that are there no longer, or off.
    pub gone: Vec<String>,
    /// By a word.
    pub held_by: Option<&'static str>,
    /// Which one of its kind, where it has a name.
    pub held_name: Option<String>,
}

impl Addressed {
    /// `channels`: who shall be told, which may be reached no longer.
    pub fn new(channels: Vec<String>, event: Event, routing: &Routing) -> Self {
        let gone = channels.iter().filter(|name| !routing.has(name)).cloned().collect();
        let held_by = routing.held_by(&channels, event);
        Self { channels, gone, held_by, held_name: None }
    }

    /// Something keeps it back from everybody: it is noted, and may be told later under its id. What would hold
    /// anyway comes first.
    #[must_use]
    pub fn kept_back(mut self, by: Option<Suppressor>, name: Option<String>) -> Self {
        if let (None, Some(by)) = (self.held_by, by) {
            (self.held_by, self.held_name) = (Some(by.as_str()), name);
            self.channels.clear();
            self.gone.clear();
        }
        self
    }

    /// Those that are there.
    pub fn reached(&self) -> Vec<String> {
        self.channels.iter().filter(|name| !self.gone.contains(name)).cloned().collect()
    }
}
