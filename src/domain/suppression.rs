//! Whatever keeps a message back: the complete list, in the order in which it applies, and one decision.
//!
//! The first that holds is the reason. Each has a name, which is shown wherever somebody asks why nothing was told; an
//! end, after which the decision is made again; and a rule of what is done at that end. Nothing else in this program
//! may keep a message back: what is to do so is a line of [`ORDER`] and a field of [`Facts`].

use crate::domain::Timestamp;
use crate::domain::notification::Event;
use crate::domain::outcome::words;

words! {
    /// What keeps a message back, in the order in which it applies.
    pub enum Suppressor {
        /// `notifications.enabled: false`.
        NotificationsDisabled = "notifications_disabled",
        /// `notify: []`, or no channel is left by the rules of routing.
        NobodyToTell = "nobody_to_tell",
        /// A recovery of what nobody was told of.
        NobodyWasTold = "nobody_was_told",
        /// The endpoint is paused: it is not checked.
        Paused = "paused",
        /// This process has just started, and its network may not be up yet.
        StartGrace = "start_grace",
        /// Our own network is in doubt.
        OwnNetwork = "own_network",
        MaintenanceWindow = "maintenance",
        Silence = "silence",
        /// What the endpoint depends on is down.
        ParentDown = "parent_down",
        Acknowledged = "acknowledged",
        Flapping = "flapping",
        Cooldown = "cooldown",
        /// Many messages at once: it goes into a digest.
        Grouping = "grouping",
    }
}

impl Suppressor {
    /// Whether no incident opens while it holds: what fails then may not be the endpoint. Otherwise the incident opens,
    /// is shown and counts, and only the message is kept back.
    pub fn opens_nothing(self) -> bool {
        matches!(self, Self::StartGrace | Self::OwnNetwork | Self::MaintenanceWindow)
    }
}

words! {
    /// What kind of message it is, as far as holding it back goes.
    pub enum Matter {
        /// An outage is to be opened or told: `down`, `down_again`, `flapping`, `degraded`, `no_data`.
        Opening = "opening",
        /// The outage is told already: again, with nobody having acknowledged it.
        Reminder = "reminder",
        /// To further channels.
        Escalation = "escalation",
        /// What was told is over.
        Recovery = "recovery",
        /// Anything else: what somebody did, or what the monitor says of itself.
        Other = "other",
    }
}

impl Matter {
    pub fn of(event: Event) -> Self {
        match event {
            Event::Down | Event::DownAgain | Event::Flapping | Event::Degraded | Event::NoData => Self::Opening,
            Event::Reminder => Self::Reminder,
            Event::Escalated => Self::Escalation,
            Event::Up | Event::NoLongerMonitored | Event::AlertResolved => Self::Recovery,
            _ => Self::Other,
        }
    }
}

words! {
    /// What is done when a suppressor ends.
    pub enum AtEnd {
        /// Nothing: what it kept back is not told.
        Nothing = "nothing",
        /// What was counted meanwhile counts as it is.
        Counts = "counts",
        /// The endpoint is checked at once, and told if it is still down.
        CheckedThenTold = "checked_then_told",
        /// Told if it still holds.
        Told = "told",
        /// Reminders and escalation go on.
        GoesOn = "goes_on",
        /// One digest.
        Digest = "digest",
    }
}

/// Something that holds until some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which one, for a person: the name of the window, of the parent, of the channel. Empty: there is but one.
    pub name: String,
    /// When it ends by itself; `None`: not by time, but when what it is about ends.
    pub until: Option<Timestamp>,
}

/// All that can keep a message about an endpoint back, as it is now. What is not known to hold is left as it is by
/// [`Facts::default`]: it keeps nothing back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `notifications.enabled: false`.
    pub notifications_disabled: bool,
    /// Of the message at hand: no channel is left to tell, or, of a recovery, none was told.
    pub no_channels: bool,
    pub paused: bool,
    /// The failure at hand may be our own network's, just coming up.
    pub start_grace: Option<Hold>,
    /// The failure at hand may be our own network's, which is in doubt.
    pub own_network: Option<Hold>,
    /// The window that covers the endpoint; of several the one that ends last.
    pub maintenance: Option<Hold>,
    /// The silence that covers the endpoint; of several the one that ends last.
    pub silence: Option<Hold>,
    /// The parent that is down.
    pub parent_down: Option<Hold>,
    /// By whom, until when.
    pub acknowledged: Option<Hold>,
    pub flapping: Option<Hold>,
    pub cooldown: Option<Hold>,
    /// The channel that has had its share of messages.
    pub grouping: Option<Hold>,
}

/// A message is kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub by: Suppressor,
    /// As [`Hold::name`].
    pub name: String,
    /// When the decision is to be made again at the latest; `None`: when what holds it ends.
    pub until: Option<Timestamp>,
    pub at_end: AtEnd,
}

/// One line of the table.
struct Line {
    by: Suppressor,
    /// Which messages it keeps back.
    holds_back: &'static [Matter],
    at_end: AtEnd,
    /// Whether it holds, and until when.
    holds: fn(&Facts) -> Option<Hold>,
}

const EVERYTHING: &[Matter] = Matter::ALL;
const BUT_RECOVERIES: &[Matter] = &[Matter::Opening, Matter::Reminder, Matter::Escalation, Matter::Other];
const OUTAGES: &[Matter] = &[Matter::Opening, Matter::Reminder, Matter::Escalation];

/// For as long as it is so.
fn plainly(holds: bool) -> Option<Hold> {
    holds.then(|| Hold { name: String::new(), until: None })
}

/// Every suppressor, in the order in which it applies.
const ORDER: &[Line] = &[
    Line {
        by: Suppressor::NotificationsDisabled,
        holds_back: EVERYTHING,
        at_end: AtEnd::Nothing,
        holds: |facts| plainly(facts.notifications_disabled),
    },
    Line {
        by: Suppressor::NobodyToTell,
        holds_back: BUT_RECOVERIES,
        at_end: AtEnd::Nothing,
        holds: |facts| plainly(facts.no_channels),
    },
    Line {
        by: Suppressor::NobodyWasTold,
        holds_back: &[Matter::Recovery],
        at_end: AtEnd::Nothing,
        holds: |facts| plainly(facts.no_channels),
    },
    Line {
        by: Suppressor::Paused,
        holds_back: BUT_RECOVERIES,
        at_end: AtEnd::Nothing,
        holds: |facts| plainly(facts.paused),
    },
    Line {
        by: Suppressor::StartGrace,
        holds_back: &[Matter::Opening],
        at_end: AtEnd::Counts,
        holds: |facts| facts.start_grace.clone(),
    },
    Line {
        by: Suppressor::OwnNetwork,
        holds_back: &[Matter::Opening],
        at_end: AtEnd::Told,
        holds: |facts| facts.own_network.clone(),
    },
    Line {
        by: Suppressor::MaintenanceWindow,
        holds_back: OUTAGES,
        at_end: AtEnd::CheckedThenTold,
        holds: |facts| facts.maintenance.clone(),
    },
    Line { by: Suppressor::Silence, holds_back: OUTAGES, at_end: AtEnd::Told, holds: |facts| facts.silence.clone() },
    Line {
        by: Suppressor::ParentDown,
        holds_back: &[Matter::Opening],
        at_end: AtEnd::CheckedThenTold,
        holds: |facts| facts.parent_down.clone(),
    },
    Line {
        by: Suppressor::Acknowledged,
        holds_back: &[Matter::Reminder, Matter::Escalation],
        at_end: AtEnd::GoesOn,
        holds: |facts| facts.acknowledged.clone(),
    },
    Line {
        by: Suppressor::Flapping,
        holds_back: &[Matter::Opening, Matter::Reminder, Matter::Escalation, Matter::Recovery],
        at_end: AtEnd::Told,
        holds: |facts| facts.flapping.clone(),
    },
    Line {
        by: Suppressor::Cooldown,
        holds_back: &[Matter::Reminder, Matter::Escalation, Matter::Recovery],
        at_end: AtEnd::Told,
        holds: |facts| facts.cooldown.clone(),
    },
    Line {
        by: Suppressor::Grouping,
        holds_back: EVERYTHING,
        at_end: AtEnd::Digest,
        holds: |facts| facts.grouping.clone(),
    },
];

/// What keeps a message back at `now`: the first of the list that holds. `None`: it is told.
///
/// What has ended keeps nothing back, whether or not it was taken out of the facts.
pub fn decide(matter: Matter, facts: &Facts, now: Timestamp) -> Option<Held> {
    all(matter, facts, now).next()
}

/// Everything that keeps a message back at `now`, in its order: what else would hold once the first has ended.
pub fn all(matter: Matter, facts: &Facts, now: Timestamp) -> impl Iterator<Item = Held> {
    ORDER.iter().filter(move |line| line.holds_back.contains(&matter)).filter_map(move |line| {
        let hold = (line.holds)(facts)?;
        let still = hold.until.is_none_or(|until| now < until);
        still.then_some(Held { by: line.by, name: hold.name, until: hold.until, at_end: line.at_end })
    })
}

/// Everything that holds at `now`, in its order, with the messages that it keeps back: for whoever asks why nothing is
/// told, before there is a message.
pub fn every(facts: &Facts, now: Timestamp) -> impl Iterator<Item = (Held, &'static [Matter])> {
    ORDER.iter().filter_map(move |line| {
        let hold = (line.holds)(facts)?;
        let still = hold.until.is_none_or(|until| now < until);
        let kept = Held { by: line.by, name: hold.name, until: hold.until, at_end: line.at_end };
        still.then_some((kept, line.holds_back))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::from_micros;

    #[expect(clippy::unnecessary_wraps, reason = "as the facts have it")]
    fn until(second: i64) -> Option<Hold> {
        Some(Hold { name: "one".to_owned(), until: Some(from_micros(second * 1_000_000)) })
    }

    /// Everything holds, until 100.
    fn everything() -> Facts {
        Facts {
            notifications_disabled: true,
            no_channels: true,
            paused: true,
            start_grace: until(100),
            own_network: until(100),
            maintenance: until(100),
            silence: until(100),
            parent_down: until(100),
            acknowledged: until(100),
            flapping: until(100),
            cooldown: until(100),
            grouping: until(100),
        }
    }

    fn by(matter: Matter, facts: &Facts, second: i64) -> Vec<&'static str> {
        all(matter, facts, from_micros(second * 1_000_000)).map(|held| held.by.as_str()).collect()
    }

    #[test]
    fn the_list_is_complete_and_in_its_order() {
        let listed: Vec<_> = ORDER.iter().map(|line| line.by).collect();
        assert_eq!(listed, Suppressor::ALL, "each once, in the order of their words");
        for (matter, expected) in [
            (
                Matter::Opening,
                "notifications_disabled nobody_to_tell paused start_grace own_network maintenance silence parent_down \
                 flapping grouping",
            ),
            (
                Matter::Reminder,
                "notifications_disabled nobody_to_tell paused maintenance silence acknowledged flapping cooldown grouping",
            ),
            (
                Matter::Escalation,
                "notifications_disabled nobody_to_tell paused maintenance silence acknowledged flapping cooldown grouping",
            ),
            (Matter::Recovery, "notifications_disabled nobody_was_told flapping cooldown grouping"),
            (Matter::Other, "notifications_disabled nobody_to_tell paused grouping"),
        ] {
            assert_eq!(by(matter, &everything(), 99).join(" "), expected, "{matter}");
        }
    }

    #[test]
    fn the_first_that_holds_is_the_reason_and_says_its_end() {
        let now = from_micros(50_000_000);
        let mut facts = Facts { silence: until(80), flapping: until(60), ..Facts::default() };
        assert_eq!(
            decide(Matter::Opening, &facts, now),
            Some(Held {
                by: Suppressor::Silence,
                name: "one".to_owned(),
                until: Some(from_micros(80_000_000)),
                at_end: AtEnd::Told
            })
        );
        facts.silence = None;
        assert_eq!(decide(Matter::Opening, &facts, now).map(|held| held.by), Some(Suppressor::Flapping));
        assert_eq!(decide(Matter::Other, &facts, now), None);
    }

    #[test]
    fn what_has_ended_keeps_nothing_back() {
        let facts = Facts { notifications_disabled: false, no_channels: false, paused: false, ..everything() };
        for matter in Matter::ALL {
            assert_ne!(by(*matter, &facts, 99), Vec::<&str>::new(), "{matter}");
            assert_eq!(by(*matter, &facts, 100), Vec::<&str>::new(), "{matter}");
        }
        let without_an_end =
            Facts { parent_down: Some(Hold { name: "core/db".to_owned(), until: None }), ..Facts::default() };
        assert_eq!(by(Matter::Opening, &without_an_end, 1_000_000), ["parent_down"]);
    }

    #[test]
    fn every_one_is_listed_once_with_what_it_keeps_back() {
        let now = from_micros(99_000_000);
        let listed: Vec<_> = every(&everything(), now).collect();
        assert_eq!(listed.iter().map(|(held, _)| held.by).collect::<Vec<_>>(), Suppressor::ALL);
        for matter in Matter::ALL {
            let of_it = listed.iter().filter(|(_, matters)| matters.contains(matter)).map(|(held, _)| held.clone());
            assert_eq!(of_it.collect::<Vec<_>>(), all(*matter, &everything(), now).collect::<Vec<_>>(), "{matter}");
        }
        let later = every(&everything(), from_micros(100_000_000)).count();
        assert_eq!(later, 4, "what has no end goes on");
    }

    #[test]
    fn nothing_holds_by_itself() {
        for matter in Matter::ALL {
            assert_eq!(by(*matter, &Facts::default(), 0), Vec::<&str>::new());
        }
    }
}
