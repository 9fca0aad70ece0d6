//! How often a network that comes and goes is told: as outages are, with a cooldown that damps what is over, never what
//! begins. Pure.

use std::time::Duration;

use crate::domain::connectivity::Change;

/// As the cooldown of endpoints by default.
const COOLDOWN: Duration = Duration::from_mins(5);

/// What is told of a change, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damping {
    /// When the time began of which was told, and not yet that it is over.
    open: Option<Duration>,
    /// It began again soon after it was told to be over.
    again: bool,
    /// That it is over, and since when: told unless it begins again within the cooldown.
    held: Option<(Change, Duration)>,
    /// When it was told to be over.
    over: Option<Duration>,
}

/// What is to be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToTell {
    pub change: Change,
    /// When it began what is told of.
    pub began: Duration,
    /// When the change came.
    pub at: Duration,
}

impl Damping {
    /// What of a change is to be told now.
    pub fn take(&mut self, change: Change, now: Duration) -> Option<ToTell> {
        match &change {
            Change::Blind { since } => {
                let began = *since;
                if self.held.take().is_some() {
                    // The last word was that it is in doubt.
                    return None;
                }
                self.again = self.over.is_some_and(|over| now < over + COOLDOWN);
                self.open = Some(began);
                Some(ToTell { change, began, at: now })
            }
            Change::Ignored { since, .. } => {
                let began = *self.open.get_or_insert(*since);
                Some(ToTell { change, began, at: now })
            }
            Change::Over { .. } | Change::Heeded { .. } if self.again => {
                self.held = Some((change, now));
                None
            }
            Change::Over { .. } | Change::Heeded { .. } => Some(self.tell_over(change, now, now)),
        }
    }

    fn tell_over(&mut self, change: Change, at: Duration, now: Duration) -> ToTell {
        let (Change::Over { since, .. }
        | Change::Heeded { since }
        | Change::Blind { since }
        | Change::Ignored { since, .. }) = &change;
        let began = self.open.take().unwrap_or(*since);
        self.over = Some(now);
        ToTell { change, began, at }
    }

    /// What was held and is to be told now.
    pub fn due(&mut self, now: Duration) -> Option<ToTell> {
        let (change, at) = self.held.take_if(|(_, at)| *at + COOLDOWN <= now)?;
        self.again = false;
        Some(self.tell_over(change, at, now))
    }

    /// When [`due`](Self::due) has something.
    pub fn due_at(&self) -> Option<Duration> {
        self.held.as_ref().map(|(_, at)| *at + COOLDOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn blind(at: u64) -> Change {
        Change::Blind { since: s(at) }
    }

    fn told(change: Change, began: u64, at: u64) -> ToTell {
        ToTell { change, began: s(began), at: s(at) }
    }

    fn over(since: u64) -> Change {
        Change::Over { since: s(since), check: Vec::new() }
    }

    #[test]
    fn what_begins_is_told_at_once_and_what_is_over_too_unless_it_had_just_been() {
        let mut damping = Damping::default();
        assert_eq!(damping.take(blind(10), s(10)), Some(told(blind(10), 10, 10)));
        assert_eq!(damping.take(over(10), s(20)), Some(told(over(10), 10, 20)));
        assert_eq!(damping.take(blind(30), s(30)), Some(told(blind(30), 30, 30)), "again, at once");
        assert_eq!(damping.take(over(30), s(40)), None, "held");
        assert_eq!((damping.due_at(), damping.due(s(339))), (Some(s(340)), None));
        for (began, ended) in [(50, 60), (70, 80), (90, 100)] {
            assert_eq!(damping.take(blind(began), s(began)), None, "the last word was that it is so");
            assert_eq!((damping.take(over(began), s(ended)), damping.due_at()), (None, Some(s(ended + 300))));
        }
        assert_eq!(damping.due(s(400)), Some(told(over(90), 30, 100)), "of the time that was told");
        assert_eq!((damping.due_at(), damping.due(s(401))), (None, None));
        assert_eq!(damping.take(blind(800), s(800)), Some(told(blind(800), 800, 800)));
        assert_eq!(damping.take(over(800), s(810)), Some(told(over(800), 800, 810)), "long after");
    }
}
