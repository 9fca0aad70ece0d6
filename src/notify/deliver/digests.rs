//! The digests of a deliverer: out once their rows are written, or from memory where they cannot be.

use super::Worker;
use crate::feed::{self, NotificationNews};
use crate::notify::queue::Grouped;

impl Worker {
    /// The rows of these digests are written: they go out, if they have not.
    pub(super) fn take_digests(&mut self, written: &[Grouped]) {
        for of_rows in written {
            let id = &of_rows.digest.told.facts.id;
            // It may have gone out from memory meanwhile.
            let Some(at) = self.digests.iter().position(|grouped| grouped.digest.told.facts.id == *id) else {
                continue;
            };
            let grouped = self.digests.swap_remove(at);
            self.context.handover.stored(id);
            self.queue.grouped(&grouped);
            if !grouped.from_memory {
                self.say_grouped(&grouped);
            }
            let (channel, messages) = (&self.name, grouped.standings.len());
            let endpoints = grouped.digest.told.facts.items.len();
            tracing::info!(
                notification = id,
                messages,
                endpoints,
                "many messages to {channel} at once go out as a digest"
            );
        }
    }

    /// The rows of digests cannot be written, or not soon enough: nobody waits for that.
    pub(super) fn tell_digests_from_memory(&mut self) {
        let mut grouped_now = Vec::new();
        for grouped in self.digests.iter_mut().filter(|grouped| !grouped.from_memory) {
            self.queue.group_from_memory(grouped);
            self.context.handover.hand_also(grouped.digest.clone(), false);
            grouped_now.push(grouped.clone());
        }
        for grouped in grouped_now {
            self.say_grouped(&grouped);
        }
        self.queue.take_handed(self.context.handover.waiting_for(&self.name));
    }

    /// Counts what a digest tells, and says so to whoever looks on: once, when it is settled that it tells it.
    fn say_grouped(&self, grouped: &Grouped) {
        let messages = grouped.messages.len() as u64;
        self.counted.grouped.add(messages);
        self.counted.digests.add(1);
        self.context.metrics.deliveries_grouped.add(messages);
        self.context.metrics.digests.add(1);
        let (at, digest) = (self.context.clock.now(), grouped.digest.told.facts.id.as_str());
        let news = grouped.messages.iter().zip(&grouped.standings).map(|(told, (_, standing))| NotificationNews {
            at,
            facts: &told.facts,
            channel: &self.name,
            state: standing.state.as_str(),
            attempts: standing.attempts,
            error: None,
            digest: Some(digest),
        });
        self.context.feed.publish_all(news.map(feed::Event::notification));
    }
}
