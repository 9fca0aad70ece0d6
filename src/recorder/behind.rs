//! What the board and whoever looks on are behind in, each with the writing that it goes with: they are told when that
//! is committed, and nothing that came meanwhile, which a crash could still take back.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::board::Board;
use crate::domain::endpoint::EndpointId;
use crate::feed::{Event, Feed};

use super::tracked::Tracked;

/// The most events that wait for one writing. Beyond it the oldest are lost, which whoever looks on is told.
const NEWS: usize = 4_096;

/// What waits to be shown. Endpoints are bounded by what is tracked, events by [`NEWS`].
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Waits for the next writing.
    next: Waiting,
    /// Goes with the writing under way.
    written: Waiting,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whose entry on the board is behind.
    changed: HashSet<EndpointId>,
    news: VecDeque<Event>,
    /// Events for which there was no room.
    lost: u64,
}

impl Behind {
    pub(super) fn change(&mut self, id: EndpointId) {
        self.next.changed.insert(id);
    }

    pub(super) fn note(&mut self, event: Event) {
        if self.next.news.len() >= NEWS {
            self.next.news.pop_front();
            self.next.lost += 1;
        }
        self.next.news.push_back(event);
    }

    /// Whether the board is still to be told of an endpoint.
    pub(super) fn has(&self, id: EndpointId) -> bool {
        self.next.changed.contains(&id) || self.written.changed.contains(&id)
    }

    /// All that waits is being written from now on. The writing before is over: nothing of it is left, or it is given up.
    pub(super) fn begin_writing(&mut self, tracked: &mut HashMap<EndpointId, Tracked>, board: &Board, feed: &Feed) {
        self.tell_written(tracked, board, feed);
        self.written = std::mem::take(&mut self.next);
        for id in &self.written.changed {
            if let Some(tracked) = tracked.get_mut(id) {
                tracked.begin_writing();
            }
        }
    }

    /// What was being written is committed.
    pub(super) fn tell_written(&mut self, tracked: &mut HashMap<EndpointId, Tracked>, board: &Board, feed: &Feed) {
        if !self.written.changed.is_empty() {
            board.update(self.written.changed.drain(), |id, live| {
                if let Some(tracked) = tracked.get_mut(&id) {
                    tracked.tell_written(live);
                }
            });
        }
        // After the board, so that whoever is told and looks finds it there.
        self.written.publish(feed);
    }

    /// Tells everything, committed or not.
    pub(super) fn tell_all(&mut self, tracked: &mut HashMap<EndpointId, Tracked>, board: &Board, feed: &Feed) {
        let mut changed = std::mem::take(&mut self.written.changed);
        changed.extend(self.next.changed.drain());
        if !changed.is_empty() {
            board.update(changed, |id, live| {
                if let Some(tracked) = tracked.get_mut(&id) {
                    tracked.tell(live);
                }
            });
        }
        self.written.publish(feed);
        self.next.publish(feed);
    }
}

impl Waiting {
    fn publish(&mut self, feed: &Feed) {
        feed.lose(std::mem::take(&mut self.lost));
        feed.publish_all(self.news.drain(..));
    }
}
