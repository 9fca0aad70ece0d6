//! The groups and channels that there are now. It begins as configured; the verbs that change it do so after their
//! commit. It decides nothing, and reads nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::channels::MadeChannel;
use super::{ChannelConfig, Config, GroupConfig, SourceRef};
use crate::domain::endpoint::{EndpointSettings, Layers, Origin};
use crate::domain::group::{Group, GroupMade};
use crate::domain::notification::{ChannelRoute, Routing};
use crate::domain::route::Route;
use crate::domain::setting::DurationSetting;

/// What there is at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// `defaults:`
    pub defaults: EndpointSettings,
    /// Of schedules without one of their own.
    pub timezone: chrono_tz::Tz,
    routes: Arc<[Route]>,
    /// Those that are declared, by name.
    pub groups: BTreeMap<String, Group>,
    /// Those that are off included; the configured ones in their order, then those made through the API in theirs.
    pub channels: Vec<ChannelConfig>,
    /// What else is known of those made through the API, by name.
    made: BTreeMap<String, MadeChannel>,
    /// The names of `channels`.
    channel_names: Vec<String>,
    /// Who is told, by `channels`.
    routing: Arc<Routing>,
}

impl Listing {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        let telling = &config.telling;
        let routing = Routing {
            enabled: telling.enabled,
            channels: Vec::new(),
            default_route: telling.default_route.clone(),
            public_url: telling.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        };
        let mut listing = Self {
            defaults: config.defaults.clone(),
            timezone: config.timezone,
            routes: config.routes.clone().into(),
            groups: config.groups.iter().map(|(name, group)| (name.clone(), configured(group))).collect(),
            channels: config.channels.clone(),
            made: BTreeMap::new(),
            channel_names: Vec::new(),
            routing: Arc::new(routing),
        };
        listing.channels_changed();
        listing
    }

    /// Makes this the cooldown of endpoints for which neither they nor their group say another.
    pub fn set_cooldown(&mut self, cooldown: Duration) {
        let policy = self.defaults.alert_policy.get_or_insert_default();
        policy.cooldown_seconds = Some(DurationSetting(cooldown));
    }

    /// What applies to endpoints of `group` (empty: of none) where they say nothing.
    pub fn layers<'a>(&'a self, group: &str) -> Layers<'a> {
        Layers {
            defaults: &self.defaults,
            group: self.groups.get(group).map(|group| &group.settings),
            routes: &self.routes,
            timezone: self.timezone,
            channels: Some(&self.channel_names),
        }
    }

    /// What applies to endpoints of `group` that are of an origin. Those of the configuration take nothing from groups
    /// that were made through the API: whoever makes groups changes nothing of what the configuration says.
    pub fn layers_of<'a>(&'a self, origin: Origin, group: &str) -> Layers<'a> {
        let layers = self.layers(group);
        let is_made = self.groups.get(group).is_some_and(|group| matches!(group.made, GroupMade::Stored(_)));
        if is_made && origin == Origin::Config { Layers { group: None, ..layers } } else { layers }
    }

    /// Those of the configuration, in their order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The names of all channels.
    pub fn channel_names(&self) -> &[String] {
        &self.channel_names
    }

    /// A channel by its name.
    pub fn channel(&self, name: &str) -> Option<&ChannelConfig> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// What else is known of a channel that was made through the API.
    pub fn made_channel(&self, name: &str) -> Option<&MadeChannel> {
        self.made.get(name)
    }

    /// How many channels were made through the API.
    pub fn made_channels(&self) -> usize {
        self.made.len()
    }

    /// How many groups were made through the API.
    pub fn made_groups(&self) -> usize {
        self.groups.values().filter(|group| matches!(group.made, GroupMade::Stored(_))).count()
    }

    /// Adds a channel made through the API, or puts it in the place of the one of its name.
    pub fn put_channel(&mut self, channel: ChannelConfig, made: MadeChannel) {
        self.made.insert(channel.name.clone(), made);
        match self.channels.iter_mut().find(|there| there.name == channel.name) {
            Some(there) => *there = channel,
            None => self.channels.push(channel),
        }
        self.channels_changed();
    }

    /// Takes a channel out that was made through the API.
    pub fn remove_channel(&mut self, name: &str) {
        if self.made.remove(name).is_some() {
            self.channels.retain(|channel| channel.name != name);
            self.channels_changed();
        }
    }

    /// Who is told.
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    fn channels_changed(&mut self) {
        self.channel_names = self.channels.iter().map(|channel| channel.name.clone()).collect();
        let route = |channel: &ChannelConfig| ChannelRoute {
            name: channel.name.clone(),
            enabled: channel.enabled,
            default: channel.default,
            severity: channel.severity,
        };
        let channels = self.channels.iter().map(route).collect();
        self.routing = Arc::new(Routing { channels, ..(*self.routing).clone() });
    }
}

fn configured(group: &GroupConfig) -> Group {
    let SourceRef { file, line, .. } = &group.source;
    Group {
        description: group.description.clone(),
        settings: group.settings.clone(),
        made: GroupMade::Configured { source: format!("{file}:{line}") },
        unreadable: None,
    }
}

/// The present [`Listing`], shared by the parts that go by it. Each takes it when it acts.
#[derive(Debug)]
pub struct Directory(RwLock<Arc<Listing>>);

impl Directory {
    pub fn new(listing: Listing) -> Self {
        Self(RwLock::new(Arc::new(listing)))
    }

    pub fn get(&self) -> Arc<Listing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, listing: Listing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(listing);
    }
}
