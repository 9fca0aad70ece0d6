//! What each deliverer sends through at this moment. A channel that is changed gets another one in its place, while
//! what is under way goes on through the old one; so the bookkeeping of a deliverer outlives every change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::channel::Channel;
use crate::wakeup::Wakeup;

/// The lines of all deliverers, by the names of their channels.
#[derive(Debug, Default)]
pub struct Lines(RwLock<BTreeMap<String, Line>>);

/// What one deliverer sends through.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// `None`: the channel is gone or off, and what is for it is given up.
    pub(super) channel: Option<Arc<dyn Channel>>,
    /// Through which channels a failure of this one is told.
    pub(super) fallback: Vec<String>,
    /// Whether many messages at once go out as a digest.
    pub(super) is_grouped: bool,
    pub(super) wakeup: Wakeup,
}

impl Lines {
    fn read<T>(&self, read: impl FnOnce(&BTreeMap<String, Line>) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut BTreeMap<String, Line>) -> T) -> T {
        write(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a channel on its line. Returns whether the line is new, so that it needs a deliverer.
    pub(super) fn put(&self, name: &str, channel: Arc<dyn Channel>, fallback: Vec<String>, is_grouped: bool) -> bool {
        self.write(|lines| {
            let is_new = !lines.contains_key(name);
            let line = lines.entry(name.to_owned()).or_default();
            (line.channel, line.fallback, line.is_grouped) = (Some(channel), fallback, is_grouped);
            line.wakeup.nudge();
            is_new
        })
    }

    /// Takes a channel off its line.
    pub(super) fn take_off(&self, name: &str) {
        self.write(|lines| {
            if let Some(line) = lines.get_mut(name) {
                line.channel = None;
                line.wakeup.nudge();
            }
        });
    }

    /// Forgets a line if nothing is on it. Its deliverer has to end then: the next channel of this name gets another.
    pub(super) fn close(&self, name: &str) -> bool {
        self.write(|lines| {
            let is_empty = lines.get(name).is_none_or(|line| line.channel.is_none());
            if is_empty {
                lines.remove(name);
            }
            is_empty
        })
    }

    pub(super) fn get(&self, name: &str) -> Line {
        self.read(|lines| lines.get(name).cloned().unwrap_or_default())
    }

    /// The channel on a line.
    pub(super) fn channel(&self, name: &str) -> Option<Arc<dyn Channel>> {
        self.read(|lines| lines.get(name)?.channel.clone())
    }

    /// Through which channels a failure of this one is told: those of its `fallback` that are there, else all others.
    pub(super) fn beside(&self, name: &str) -> Vec<String> {
        self.read(|lines| {
            let is_on = |other: &String| other != name && lines.get(other).is_some_and(|line| line.channel.is_some());
            let fallback = lines.get(name).map(|line| line.fallback.as_slice()).unwrap_or_default();
            let named: Vec<String> = fallback.iter().filter(|other| is_on(other)).cloned().collect();
            if named.is_empty() { lines.keys().filter(|other| is_on(other)).cloned().collect() } else { named }
        })
    }

    pub(super) fn nudge(&self, name: &str) {
        self.read(|lines| lines.get(name).inspect(|line| line.wakeup.nudge()).is_some());
    }

    pub(super) fn nudge_all(&self) {
        self.read(|lines| lines.values().for_each(|line| line.wakeup.nudge()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::console::Console;

    #[test]
    fn a_failure_is_told_through_what_is_there() {
        let lines = Lines::default();
        let put = |name, fallback: &[&str]| {
            let fallback = fallback.iter().map(|&name| name.to_owned()).collect();
            lines.put(name, Arc::new(Console::new(chrono_tz::UTC)), fallback, true)
        };
        assert!(put("mail", &["chat", "hook"]));
        assert!(put("chat", &[]) && put("team", &[]));
        assert_eq!(lines.beside("mail"), ["chat"]);
        assert_eq!(lines.beside("chat"), ["mail", "team"]);
        lines.take_off("chat");
        assert_eq!(lines.beside("mail"), ["team"], "none of its own is there");
        assert!(!put("chat", &["team"]), "the line was there");
        assert!(!lines.close("chat"), "the channel came back");
        lines.take_off("chat");
        assert!(lines.close("chat"));
        assert!(put("chat", &[]));
    }
}
