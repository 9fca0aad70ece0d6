//! The groups and channels that there are now. It begins as configured; the verbs that change it do so after their
//! commit. It decides nothing, and reads nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{ChannelConfig, Config, GroupConfig, SourceRef};
use crate::domain::endpoint::{EndpointSettings, Layers};
use crate::domain::group::{Group, GroupMade};

/// What there is at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// `defaults:`
    pub defaults: EndpointSettings,
    /// Of schedules without one of their own.
    pub timezone: chrono_tz::Tz,
    /// Those that are declared, by name.
    pub groups: BTreeMap<String, Group>,
    /// Those that are off included.
    pub channels: Vec<ChannelConfig>,
    /// The names of `channels`.
    channel_names: Vec<String>,
}

impl Listing {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            defaults: config.defaults.clone(),
            timezone: config.timezone,
            groups: config.groups.iter().map(|(name, group)| (name.clone(), configured(group))).collect(),
            channels: config.channels.clone(),
            channel_names: config.channel_names.clone(),
        }
    }

    /// What applies to endpoints of `group` (empty: of none) where they say nothing.
    pub fn layers<'a>(&'a self, group: &str) -> Layers<'a> {
        Layers {
            defaults: &self.defaults,
            group: self.groups.get(group).map(|group| &group.settings),
            timezone: self.timezone,
            channels: Some(&self.channel_names),
        }
    }

    /// A channel by its name.
    pub fn channel(&self, name: &str) -> Option<&ChannelConfig> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

fn configured(group: &GroupConfig) -> Group {
    let SourceRef { file, line, .. } = &group.source;
    Group {
        description: group.description.clone(),
        settings: group.settings.clone(),
        made: GroupMade::Configured { source: format!("{file}:{line}") },
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
