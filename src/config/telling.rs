//! What concerns telling as a whole: whether anybody is told, whom by default, where links lead, and the call that
//! says that this monitor lives.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::Secret;
use super::channels::{Channels, parse_web_address};
use super::de::typed;
use super::group_messages;
use super::raw::RawNotifications;
use super::report::Report;
use super::section::Section;
use super::tree::{Node, Trail, without_secrets};
use crate::domain::endpoint::no_such_channel;
use crate::domain::grouping::GroupingPolicy;
use crate::domain::setting::DurationSetting;

/// `notifications.enabled`, `notify`, `public_url`, `heartbeat` and `group_messages`.
#[derive(Debug, Clone, PartialEq)]
pub struct TellingConfig {
    /// `false`: nobody is told of anything.
    pub enabled: bool,
    /// Names of the channels through which endpoints that name none are told. `None`: every channel that is on and
    /// has `default: true`; empty: nobody.
    pub default_route: Option<Vec<String>>,
    /// The base of links in messages; its path ends with a slash, so that links can be joined to it.
    pub public_url: Option<Url>,
    pub heartbeat: Option<HeartbeatConfig>,
    /// When many messages to a channel become a digest. `None`: never.
    pub group_messages: Option<GroupingPolicy>,
}

/// A dead man's switch for this monitor: an address that is called as long as all is well with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// May hold a token, so it is a secret.
    pub url: Secret,
    /// At least 1 s.
    pub every: Duration,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHeartbeat {
    url: Option<Secret>,
    every: Option<DurationSetting>,
}

pub(super) fn read(root: &Node, channels: &Channels, report: &mut Report) -> TellingConfig {
    let notifications: RawNotifications = notifications(root, report);
    let enabled = notifications.enabled.unwrap_or(true);
    let telling = TellingConfig {
        enabled,
        default_route: default_route(root, channels, report),
        public_url: public_url(root, report),
        heartbeat: heartbeat(&Section::of(root, "heartbeat"), report),
        group_messages: group_messages::read(root, report),
    };
    if let Some(place) = channels.first_with_links.as_ref().filter(|_| enabled)
        && root.get("public_url").is_none_or(Node::is_null)
    {
        let message = "is not set: messages have no links. Set it to the address at which people open this monitor";
        report.warn(place, "public_url", message);
    }
    telling
}

/// Without its channels, which are read by themselves.
fn notifications(root: &Node, report: &mut Report) -> RawNotifications {
    let Some(mut node) = root.get("notifications").filter(|node| !node.is_null()).cloned() else {
        return RawNotifications::default();
    };
    for channel in ["email", "webhook", "telegram"] {
        if let Some(node) = node.get_mut(channel) {
            *node = Node::scalar(node.place.clone(), "");
        }
    }
    typed(&node, &Trail::Key(&Trail::Root, "notifications"), report).value
}

fn default_route(root: &Node, channels: &Channels, report: &mut Report) -> Option<Vec<String>> {
    let node = root.get("notify").filter(|node| !node.is_null())?;
    let at = Trail::Key(&Trail::Root, "notify");
    let names = typed::<Option<Vec<String>>>(node, &at, report).value?;
    let mut route: Vec<String> = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        if let Some(known) = channels.names.as_ref().filter(|known| !known.contains(&name)) {
            let (pointed, _) = node.at_pointer(&format!("/{index}"));
            if !node.has_missing() {
                let message = without_secrets(no_such_channel(&name, known), pointed);
                report.error(&pointed.place, Trail::Index(&at, index), message);
            }
        } else if !route.contains(&name) {
            route.push(name);
        }
    }
    Some(route)
}

fn public_url(root: &Node, report: &mut Report) -> Option<Url> {
    let node = root.get("public_url").filter(|node| !node.is_null())?;
    let at = Trail::Key(&Trail::Root, "public_url");
    let text = typed::<Option<String>>(node, &at, report).value?;
    let parsed = parse_web_address(text.trim()).and_then(|url| {
        if url.query().is_some() || url.fragment().is_some() {
            Err("must end with its path: links are joined to it".to_owned())
        } else if !url.username().is_empty() || url.password().is_some() {
            Err("must not hold user and password: everybody who gets a message would see them".to_owned())
        } else {
            Ok(url)
        }
    });
    match parsed {
        Ok(mut url) => {
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            Some(url)
        }
        Err(message) => {
            if !node.has_missing() {
                report.error(&node.place, at, without_secrets(message, node));
            }
            None
        }
    }
}

fn heartbeat(section: &Section<'_>, report: &mut Report) -> Option<HeartbeatConfig> {
    section.node?;
    let errors = report.errors.len();
    let raw: RawHeartbeat = section.read(report);
    let every = raw.every.map_or(Duration::from_secs(60), |d| d.0);
    if every < Duration::from_secs(1) || every > Duration::from_hours(24) {
        section.wrong("every", "must be 1 s to 24 h", report);
    }
    let url = raw.url.map(|url| Secret::new(url.expose().trim())).filter(|url| !url.expose().is_empty());
    match url.as_ref().map(|url| parse_web_address(url.expose())) {
        Some(Ok(_)) => {}
        Some(Err(message)) => section.wrong("url", message, report),
        // A mistaken key may well be the one that is missed.
        None if report.errors.len() > errors => {}
        None => section.wrong("url", "the heartbeat has no `url` to call", report),
    }
    Some(HeartbeatConfig { url: url?, every })
}
