//! How people are told: one [`Channel`] a place, built from the configuration.
//!
//! Beside `checks` the only module that opens outgoing connections. A channel makes a delivery attempt and says how
//! it went; when to try again, what to tell whom and what was told already is not decided here. Nothing of it is
//! kept: every message carries its facts.

mod channel;
mod console;
pub mod deliver;
pub mod deliverers;
mod email;
mod failing;
pub mod heartbeat;
mod ledger;
mod lines;
mod post;
mod preset;
mod queue;
mod reach;
mod render;
mod signature;
mod telegram;
#[cfg(test)]
mod testing;
mod tls;
mod unbuildable;
mod webhook;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono_tz::Tz;

use crate::clock::Clock;
use crate::config::channels::{ChannelConfig, Transport};
use crate::domain::endpoint::Origin;
use crate::outbound::Outbound;
use reach::Reach;
use tls::{Authorities, Line};

pub use lines::Lines;

pub use channel::{Channel, MAX_RETRY_AFTER, Message, Receipt, SendError};

/// The channels that are on, by name.
#[derive(Debug, Clone, Default)]
pub struct Channels(BTreeMap<String, Arc<dyn Channel>>);

/// What channels are built with beside their configuration.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// In which times are told.
    pub timezone: Tz,
    pub clock: Arc<dyn Clock>,
    /// How names are looked up, and which of their addresses channels made through the API may connect to.
    pub outbound: Arc<Outbound>,
}

/// Why a channel cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("channels.{channel}.{key}: {message}")]
pub struct ChannelError {
    pub channel: String,
    /// The key of the channel's configuration that is at fault.
    pub key: String,
    /// Why, without the value of a secret.
    pub message: String,
}

impl Channels {
    /// Builds the channels that are enabled. Reads their `ca_file`s and needs a runtime, on which mail's connection
    /// pool keeps house.
    pub fn build(configs: &[ChannelConfig], builder: &Builder) -> Result<Self, ChannelError> {
        let enabled = configs.iter().filter(|config| config.enabled);
        enabled.map(|config| Ok((config.name.clone(), builder.build(config)?))).collect()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Channel>> {
        self.0.get(name)
    }
}

/// Builds channels, one at a time. What they share is set up with the first one.
#[derive(Debug)]
pub struct Builder {
    context: BuildContext,
    workshop: OnceLock<Workshop>,
}

impl Builder {
    pub fn new(context: BuildContext) -> Self {
        Self { context, workshop: OnceLock::new() }
    }

    /// Builds a channel, enabled or not. Reads its `ca_file` and needs a runtime, on which mail's connection pool
    /// keeps house.
    pub fn build(&self, config: &ChannelConfig) -> Result<Arc<dyn Channel>, ChannelError> {
        let fault = |key: String, message| ChannelError { channel: config.name.clone(), key, message };
        let workshop = match self.workshop.get() {
            Some(workshop) => workshop,
            None => {
                let opened =
                    Workshop::open(&self.context.outbound).map_err(|message| fault("type".to_owned(), message))?;
                self.workshop.get_or_init(|| opened)
            }
        };
        workshop.build(config, &self.context).map_err(|(key, message)| fault(key, message))
    }
}

impl FromIterator<(String, Arc<dyn Channel>)> for Channels {
    fn from_iter<I: IntoIterator<Item = (String, Arc<dyn Channel>)>>(channels: I) -> Self {
        Self(channels.into_iter().collect())
    }
}

/// What channels share.
#[derive(Debug)]
struct Workshop {
    authorities: Authorities,
    configured: Ways,
    of_api: Ways,
}

/// What channels of one origin share.
#[derive(Debug)]
struct Ways {
    reach: Reach,
    http: Line,
}

impl Workshop {
    fn open(outbound: &Arc<Outbound>) -> Result<Self, String> {
        let authorities = Authorities::load();
        let tls = authorities.client_config()?;
        let lines = |origin| {
            let reach = Reach::new(Arc::clone(outbound), origin);
            Ok::<_, String>(Ways { http: tls::http_line(&tls, reach.clone())?, reach })
        };
        let (configured, of_api) = (lines(Origin::Config)?, lines(Origin::Api)?);
        Ok(Self { authorities, configured, of_api })
    }

    fn build(&self, config: &ChannelConfig, context: &BuildContext) -> Result<Arc<dyn Channel>, (String, String)> {
        let (timezone, clock) = (context.timezone, Arc::clone(&context.clock));
        let own = |(key, message): (&str, String)| (key.to_owned(), message);
        let Ways { reach, http } = match config.origin {
            Origin::Config => &self.configured,
            Origin::Api => &self.of_api,
        };
        Ok(match &config.transport {
            Transport::Console => Arc::new(console::Console::new(timezone)),
            Transport::Email(email) => {
                Arc::new(email::Email::new(email, &self.authorities, reach.clone(), timezone, clock).map_err(own)?)
            }
            Transport::Telegram(telegram) => {
                Arc::new(telegram::Telegram::new(telegram, http.clone(), timezone).map_err(own)?)
            }
            Transport::Webhook(webhook) => {
                Arc::new(webhook::Webhook::new(webhook, http.clone(), timezone, clock).map_err(own)?)
            }
            Transport::Unreadable { why, .. } => return Err(("type".to_owned(), why.clone())),
            Transport::Preset { preset, options } => {
                Arc::new(preset::Preset::new(preset, options, http.clone(), timezone, clock)?)
            }
        })
    }
}
