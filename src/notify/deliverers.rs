//! A deliverer for each channel that there is: brought in step with the directory at the start and after each change,
//! by one path.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::channel::Channel;
use super::deliver::{DeliverContext, Worker};
use super::unbuildable::Unbuildable;
use super::{Builder, Channels};
use crate::config::{ChannelConfig, Directory, Listing};
use crate::domain::endpoint::Origin;
use crate::events::ChannelsChanged;
use crate::lifecycle::Tasks;
use crate::telemetry::metrics::ChannelStatus;

/// What the deliverers are kept with.
#[derive(Debug)]
pub struct DeliverersParts {
    /// Says which channels there are.
    pub directory: Arc<Directory>,
    /// Those that are built already: the configured ones.
    pub built: Channels,
    pub builder: Arc<Builder>,
    pub context: DeliverContext,
    pub tasks: Tasks,
    /// That the directory has changed. Never closed before the stop.
    pub changes: mpsc::Receiver<ChannelsChanged>,
}

/// Keeps a deliverer for each channel.
#[derive(Debug)]
pub struct Deliverers {
    parts: DeliverersParts,
    /// The listing that is in force.
    seen: Option<Arc<Listing>>,
    /// The channels that are on, as they are in force.
    running: BTreeMap<String, ChannelConfig>,
    /// Their deliverers, and those that wind up.
    workers: FuturesUnordered<JoinHandle<()>>,
}

impl Deliverers {
    /// Begins to deliver.
    pub fn start(parts: DeliverersParts) -> Self {
        let mut this = Self { parts, seen: None, running: BTreeMap::new(), workers: FuturesUnordered::new() };
        this.follow();
        this
    }

    /// Follows the directory, until the stop. Ends by itself only if a deliverer did, by a defect.
    pub async fn run(mut self) {
        let stopping = self.parts.context.stopping.clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                Some(changed) = self.parts.changes.recv() => {
                    self.follow();
                    // Whoever changed it may have stopped waiting.
                    changed.in_force.send(()).unwrap_or_default();
                }
                Some(ended) = self.workers.next() => {
                    // The others end by themselves: at the stop, or once their channel has long been gone.
                    if ended.is_err() && !stopping.is_cancelled() {
                        tracing::error!("a deliverer panicked");
                        return;
                    }
                }
            }
        }
    }

    /// Puts in force what the directory says now.
    fn follow(&mut self) {
        let listing = self.parts.directory.get();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &listing)) {
            return;
        }
        let on = |name: &str| listing.channel(name).is_some_and(|channel| channel.enabled);
        let lines = &self.parts.context.lines;
        self.running.retain(|name, _| {
            let stays = on(name);
            if !stays {
                lines.take_off(name);
            }
            stays
        });
        for config in listing.channels.iter().filter(|channel| channel.enabled) {
            if self.running.get(&config.name) != Some(config) {
                self.put(config);
                self.running.insert(config.name.clone(), config.clone());
            }
        }
        self.seen = Some(listing);
    }

    fn put(&self, config: &ChannelConfig) {
        let name = &config.name;
        // How it did says nothing of how it does as it is now.
        self.parts.context.metrics.forget_channel(name);
        let built = self.parts.built.get(name).filter(|_| config.origin == Origin::Config).cloned();
        let channel = match built.map_or_else(|| self.parts.builder.build(config), Ok) {
            Ok(channel) => channel,
            Err(error) => self.unbuildable(name, &error.message),
        };
        let context = &self.parts.context;
        // Where the other side has incidents of its own each message must reach it by itself.
        let is_grouped = !config.transport.has_life_cycle();
        if context.lines.put(name, channel, config.fallback.clone(), is_grouped) {
            let worker = Worker::new(name.clone(), context.clone());
            self.workers.push(self.parts.tasks.spawn(worker.run()));
        }
    }

    /// What it shall tell waits, and its failure is told through the others, until somebody mends it.
    fn unbuildable(&self, name: &str, why: &str) -> Arc<dyn Channel> {
        let why = format!("the channel cannot work as it is set: {why}");
        tracing::error!(channel = name, why, "a channel made through the API cannot work; change it through the API");
        let status = ChannelStatus {
            failing_since: Some(self.parts.context.clock.now()),
            last_error: Some(why.clone()),
            last_attempt_at: None,
        };
        self.parts.context.metrics.set_channel(name, status);
        Arc::new(Unbuildable { why })
    }
}
