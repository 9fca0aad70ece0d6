//! What somebody expects who sees only what is checked, what people do, and what is told. Written from docs/alerting.md;
//! it asks nothing of the machine.
//!
//! | it expects | which is broken by |
//! |---|---|
//! | down after so many failures of so many, up after so many good checks | counters that a missed slot or a restart resets |
//! | an outage is told at once, or something keeps it back by name | a message dropped at the end of a silence |
//! | the first failure to the message takes at most T | a confirming check that does not come |
//! | no id twice, no span under two events | an outage told again after a restart |
//! | outages, reminders and steps only while an incident is open | a message of an incident that is over |
//! | none of them in a window, a silence, or while paused | a suppressor that is not asked |
//! | neither reminder nor step while acknowledged | the same |
//! | a resolve to exactly those who were told | one to whom the route names now |
//! | `down` only after the cooldown, and a recovery held for it | a cooldown that is forgotten |
//! | `flapping` after so many changes | a window that forgets nothing |
//! | nothing of a child while a parent counts as down, a group when all of it does | a parent that is not asked |
//! | a child is told soon after its parents have answered | a check that does not come when they do |
//! | the window of a parent is one of its children | the same, told in it |
//! | a failure counts unless our own network is cut off, and then not ([`network`]) | targets that are not asked |
//! | an incident whose checks stay good ends | a recovery that is held for ever |

pub(super) mod network;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::domain::Timestamp;
use crate::domain::alert_policy::AlertPolicy;
use crate::domain::notification::Event;
use crate::domain::outcome::Status;

/// What is known to a second or so only: time is let work once a second, and looked at every few.
pub(super) const SLACK: Duration = Duration::from_secs(9);

/// How long the parents of a child are asked at most, with what that takes before and after.
const ASKING: Duration = Duration::from_secs(13);

/// The longest acknowledgement that is imagined, and a margin.
pub(super) const LONGEST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(700);

/// What people have done about one endpoint, and what surrounds it, at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    pub window: bool,
    /// One was, and the check after it may not be there yet.
    pub after_window: bool,
    pub silence: bool,
    /// It depends on something.
    pub is_child: bool,
    /// What it depends on counts as down.
    pub parent_down: bool,
    /// It did, or may have, and the check after it may not be there yet.
    pub after_parent: bool,
    /// Its newest check was not counted, and the network may be cut off.
    pub own_network: bool,
    pub paused: bool,
    /// The process is so young that it may not have a network.
    pub young: bool,
    /// Nobody is told of anything, or no channel would be.
    pub nobody: bool,
    /// The channels that are there and on.
    pub channels: BTreeSet<String>,
}

/// What is expected of one endpoint. Instants are of time that really went by.
#[derive(Debug)]
pub(super) struct Expected {
    pub policy: AlertPolicy,
    /// Checks that count, the newest last: whether each was good; `None`: not known.
    verdicts: VecDeque<Option<bool>>,
    goods: u32,
    pub down: bool,
    /// It is, or may be, otherwise than `down` says.
    unsure: bool,
    /// The first failed check since a good one that counts, or since something began anew.
    failing_since: Option<Duration>,
    /// The same, with checks that were not counted.
    failing_at_all_since: Option<Duration>,
    /// Its newest check that counts failed.
    has_failed: bool,
    /// Since when its checks are good, and enough of them.
    good_since: Option<Duration>,
    last_failure: Option<Duration>,
    /// It should be told since then.
    owed_since: Option<Duration>,
    /// Incidents: the one that is open, and the channels that were told of each.
    open: Option<Timestamp>,
    told: BTreeMap<Timestamp, BTreeSet<String>>,
    /// Somebody was told, or nobody should be.
    knows: bool,
    flapping: bool,
    spans: BTreeMap<Timestamp, Event>,
    ids: BTreeSet<String>,
    /// When the newest `up` was told; none since a jump, an edit or a new beginning.
    up_at: Option<Duration>,
    /// When it was told last that it is down, and since when nothing keeps reminders back.
    outage_told_at: Option<Duration>,
    quiet_since: Option<Duration>,
    /// Since when it is down without an end: while it is up in between nobody is reminded.
    down_at: Duration,
    /// The clock was set.
    is_set: bool,
    is_again: bool,
    acknowledged_until: Option<Duration>,
    /// It may be acknowledged until then, which is not sure.
    perhaps_until: Duration,
    changes: VecDeque<Duration>,
    sure_changes: bool,
}

impl Expected {
    pub(super) fn new(policy: AlertPolicy) -> Self {
        Self {
            policy,
            verdicts: VecDeque::new(),
            goods: 0,
            down: false,
            unsure: false,
            failing_since: None,
            failing_at_all_since: None,
            has_failed: false,
            good_since: None,
            last_failure: None,
            owed_since: None,
            open: None,
            told: BTreeMap::new(),
            knows: false,
            flapping: false,
            spans: BTreeMap::new(),
            ids: BTreeSet::new(),
            up_at: None,
            outage_told_at: None,
            quiet_since: None,
            down_at: Duration::ZERO,
            is_set: false,
            is_again: false,
            acknowledged_until: None,
            perhaps_until: Duration::ZERO,
            changes: VecDeque::new(),
            sure_changes: true,
        }
    }

    /// How long ago something was says nothing any more: the clock was set, or the policy is another.
    pub(super) fn forget_times(&mut self, now: Duration) {
        (self.up_at, self.outage_told_at, self.quiet_since) = (None, None, None);
        self.perhaps_until = now + LONGEST_ACKNOWLEDGEMENT;
        (self.acknowledged_until, self.last_failure) = (None, None);
        self.sure_changes = false;
        self.count_anew(now);
        self.good_since = self.good_since.map(|_| now);
        self.is_set = true;
    }

    pub(super) fn take_policy(&mut self, policy: AlertPolicy, now: Duration) {
        self.policy = policy;
        self.forget_times(now);
        (self.failing_since, self.failing_at_all_since) = (None, None);
        self.unsure = true;
        self.goods = 0;
        self.verdicts = std::iter::repeat_n(None, self.policy.failure_threshold.of as usize).collect();
    }

    /// What is checked is another thing.
    pub(super) fn recount(&mut self) {
        self.verdicts.clear();
        self.goods = 0;
        (self.failing_since, self.failing_at_all_since, self.good_since) = (None, None, None);
        self.changes.clear();
        self.sure_changes = true;
    }

    pub(super) fn acknowledged(&mut self, until: Duration) {
        if self.open.is_some() {
            self.acknowledged_until = Some(until);
        }
    }

    /// Time began to count anew: it was suspended, or something that kept messages back has ended.
    pub(super) fn count_anew(&mut self, now: Duration) {
        self.failing_since = self.failing_since.map(|_| now);
        self.failing_at_all_since = self.failing_at_all_since.map(|_| now);
        self.owed_since = self.owed_since.map(|_| now);
        self.quiet_since = self.quiet_since.map(|_| now);
    }

    /// The monitor begins anew. What was planned by a clock that was set just before may be as late as when it was planned.
    pub(super) fn restarted(&mut self, now: Duration) {
        self.count_anew(now);
        if self.is_set {
            self.good_since = self.good_since.map(|_| now);
        }
    }

    /// Whether it counts as down for those that depend on it: `None` where that is not known.
    pub(super) fn counts_as_down(&self) -> Option<bool> {
        if self.has_failed {
            return Some(true);
        }
        (!self.unsure).then_some(self.down)
    }

    /// Whether a recovery of it may have to be confirmed.
    pub(super) fn is_recovering(&self) -> bool {
        self.goods > 0
    }

    /// A check failed and was not counted.
    pub(super) fn not_counted(&mut self, began: Duration) {
        self.failing_since = None;
        self.failing_at_all_since.get_or_insert(began);
    }

    /// A check ended. `began`: by the time that really went by.
    pub(super) fn checked(&mut self, good: bool, in_window: bool, grace: bool, began: Duration, now: Duration) {
        self.has_failed = !good;
        if in_window && !(good && self.open.is_some()) {
            return;
        }
        let of = self.policy.failure_threshold.of as usize;
        if good {
            (self.failing_since, self.failing_at_all_since) = (None, None);
        } else {
            self.failing_at_all_since.get_or_insert(began);
            (self.goods, self.good_since) = (0, None);
            self.last_failure = Some(now);
            self.failing_since.get_or_insert(began);
        }
        if self.down {
            self.goods = if good { self.goods + 1 } else { 0 };
            if self.goods >= self.policy.success_threshold {
                (self.down, self.goods, self.owed_since) = (false, 0, None);
                self.verdicts.clear();
            }
        } else {
            self.verdicts.push_back(Some(good));
            let surplus = self.verdicts.len().saturating_sub(of);
            self.verdicts.drain(..surplus);
            let failures = |sure: bool| self.verdicts.iter().filter(|good| good.map_or(!sure, |good| !good)).count();
            let needed = self.policy.failure_threshold.failures as usize;
            let opens = !good && (!grace || self.open.is_some());
            if opens && failures(true) >= needed {
                (self.down, self.unsure) = (true, false);
                self.verdicts.clear();
                self.owed_since = Some(now);
            } else if !good && failures(false) >= needed {
                self.unsure = true;
            } else if failures(false) < needed && self.verdicts.iter().all(Option::is_some) {
                self.unsure = false;
            }
        }
        if good && !self.down {
            self.good_since.get_or_insert(now);
        }
    }

    /// Somebody ended its incident, whose checks are good.
    pub(super) fn resolved_by_hand(&mut self) {
        // No cooldown is waited for.
        self.is_again = false;
        if self.down {
            (self.down, self.goods, self.owed_since) = (false, 0, None);
            self.verdicts.clear();
        }
    }

    /// It is as it is where that could not be known.
    pub(super) fn settle(&mut self, status: Status, now: Duration) {
        let is_down = status == Status::Down;
        if self.unsure && self.down != is_down {
            self.down = is_down;
            self.goods = 0;
            self.verdicts.clear();
            self.owed_since = is_down.then_some(now);
        }
        assert!(self.down == is_down || self.unsure, "by its checks it is {}, and shown as {status}", self.word());
    }

    fn word(&self) -> &'static str {
        if self.down { "down" } else { "not down" }
    }

    /// What must have happened by now.
    pub(super) fn look(
        &mut self,
        now: Duration,
        longest: Duration,
        interval: Duration,
        timeout: Duration,
        around: &Around,
        max_suppression: Duration,
    ) {
        let slack = if around.is_child { SLACK + ASKING } else { SLACK };
        let by_parent = around.parent_down || around.after_parent;
        let waits = around.window || around.after_window || around.silence || by_parent;
        let held = waits || around.paused || around.nobody || around.young;
        if held {
            self.count_anew(now);
        }
        if around.own_network {
            // What is told of an outage waits, and so does what repeats it.
            self.quiet_since = self.quiet_since.map(|_| now);
            self.owed_since = self.owed_since.map(|_| now);
        }
        let policy = &self.policy;
        let unowed = held || around.own_network || self.knows || self.flapping;
        if let Some(since) = self.owed_since.filter(|_| !unowed) {
            assert!(
                now < since + slack,
                "down, and nothing keeps it back, but nobody was told for {:?}",
                now.saturating_sub(since)
            );
        }
        let threshold = policy.failure_threshold;
        // Where a confirming check could not end before the next slot, that slot confirms.
        let pause = if threshold.is_in_a_row() { policy.confirm_interval + timeout } else { interval };
        let most = threshold.of * (longest + pause) + Duration::from_secs(10);
        if let Some(since) = self.failing_since.filter(|_| !held && !self.unsure) {
            let told = self.knows && !(self.flapping && self.down);
            let limit = most + slack + if self.flapping { policy.cooldown } else { Duration::ZERO };
            assert!(
                told || now < since + limit,
                "it fails for {:?}, more than {limit:?}, untold",
                now.saturating_sub(since)
            );
        }
        if let Some(since) = self.failing_at_all_since.filter(|_| !held && !self.unsure) {
            let told = self.knows || self.flapping;
            let limit = most + slack + interval + max_suppression;
            assert!(
                told || now < since + limit,
                "it fails for {:?}, whatever our own network is like, more than {limit:?}, untold",
                now.saturating_sub(since)
            );
        }
        if let Some(since) = self.good_since.filter(|_| self.open.is_some() && !around.paused) {
            let held = policy.cooldown.max(policy.flap.map_or(Duration::ZERO, |flap| flap.window));
            let end = since + held + SLACK;
            assert!(now < end, "good for {:?}, and its incident is still open", now.saturating_sub(since));
        }
        if let (Some(reminder), Some(told), true) = (&policy.reminder, self.quiet_since, self.down && !held) {
            let quiet = self.flapping
                || self.acknowledged_until.is_some()
                || now < self.perhaps_until
                || !self.knows
                || self.unsure;
            let is_late = now > (told + reminder.max).max(self.down_at) + SLACK;
            assert!(quiet || !is_late, "nobody was reminded for {:?}", now.saturating_sub(told));
        }
    }

    /// Something happened.
    pub(super) fn said(&mut self, what: &What, now: Duration, around: &Around) {
        match what {
            What::Status { from, to, .. } => {
                if *to == Status::Down {
                    self.down_at = now;
                }
                if *from != Status::Pending {
                    self.changes.push_back(now);
                }
                if self.changes.len() > 2_000 {
                    self.changes.pop_front();
                }
            }
            What::Opened { started_at } => {
                assert_eq!(self.open, None, "a second incident opens");
                assert!(!self.told.contains_key(started_at), "an incident of the same start opens");
                self.told.insert(*started_at, BTreeSet::new());
                self.open = Some(*started_at);
                (self.knows, self.is_again, self.acknowledged_until) = (false, false, None);
            }
            What::Reopened { started_at } => {
                assert_eq!(self.open, None, "a second incident opens");
                assert!(self.told.contains_key(started_at), "no such incident was there");
                self.open = Some(*started_at);
                (self.knows, self.is_again, self.acknowledged_until) = (false, true, None);
            }
            What::Closed { started_at, .. } => {
                assert_eq!(self.open, Some(*started_at), "another incident ends than is open");
            }
            What::Message { event, span, ordinal: _, id, to, held_by } => {
                let to: BTreeSet<String> = to.iter().cloned().collect();
                self.message(*event, *span, id, &to, *held_by, now, around);
            }
            What::NotCounted | What::KeptBack { .. } | What::LetGo { .. } => {}
        }
    }

    /// All of one step was seen: an incident that ended must have been told so.
    pub(super) fn closed(&mut self, by: Option<(Event, BTreeSet<String>)>, left: bool, around: &Around) {
        let Some(started_at) = self.open.take() else { return };
        let told = self.told.get(&started_at).cloned().unwrap_or_default();
        // Open again, and nobody heard of that: the last that they heard was its end.
        let heard = |_: &&String| self.knows;
        let expected: BTreeSet<_> = told.intersection(&around.channels).filter(heard).cloned().collect();
        let reached = by.map(|(_, to)| to).unwrap_or_default();
        if left && !self.knows {
            assert!(reached.is_subset(&told), "whoever never heard of it is not told of its end");
        } else if self.policy.send_recovery || left {
            assert_eq!(reached, expected, "the end is told to exactly those who were told");
        } else {
            assert!(reached.is_empty(), "recoveries are not told");
        }
        (self.knows, self.flapping, self.outage_told_at, self.quiet_since) = (false, false, None, None);
        (self.acknowledged_until, self.owed_since, self.good_since) = (None, None, None);
        // What was counted before its end counts no longer.
        self.verdicts.clear();
        if left {
            // Back again it begins without a verdict.
            let (told, spans, ids) =
                (std::mem::take(&mut self.told), std::mem::take(&mut self.spans), std::mem::take(&mut self.ids));
            let has_failed = self.has_failed;
            *self = Self { has_failed, told, spans, ids, ..Self::new(self.policy.clone()) };
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn message(
        &mut self,
        event: Event,
        span: Timestamp,
        id: &str,
        to: &BTreeSet<String>,
        held_by: Option<&'static str>,
        now: Duration,
        around: &Around,
    ) {
        assert!(held_by.is_none() || to.is_empty(), "what is kept back goes to nobody");
        if held_by.is_none() {
            assert!(self.ids.insert(id.to_owned()), "{id} is told twice");
        }
        let is_outage = event.tells_of_an_outage();
        if matches!(event, Event::Down | Event::DownAgain) {
            let before = self.spans.insert(span, event);
            assert!(before.is_none_or(|before| before == event), "one outage as {before:?} and as {event}");
        }
        if is_outage {
            assert!(self.open.is_some(), "{event} without an incident");
        }
        if is_outage && held_by.is_none() {
            assert!(!around.window, "{event} inside a window");
            assert!(!around.silence, "{event} inside a silence");
            assert!(!around.paused, "{event} while paused");
        }
        if matches!(event, Event::Down | Event::DownAgain | Event::Flapping) && held_by.is_none() {
            assert!(!around.parent_down, "{event} while what it depends on is down");
        }
        if matches!(event, Event::Reminder | Event::Escalated) {
            assert!(self.knows && (self.down || self.unsure), "{event} before the outage was told, or after its end");
            assert!(self.acknowledged_until.is_none_or(|until| until <= now), "{event} while acknowledged");
            if let (Some(reminder), Some(told), Event::Reminder) = (&self.policy.reminder, self.outage_told_at, event) {
                assert!(now + SLACK >= told + reminder.every, "reminded after {:?}", now.saturating_sub(told));
            }
        }
        if event == Event::Acknowledged {
            let told = self.open.and_then(|open| self.told.get(&open)).cloned().unwrap_or_default();
            let expected: BTreeSet<_> = told.intersection(&around.channels).cloned().collect();
            assert_eq!(*to, expected, "who looks after it is told to those who were told");
        }
        if let (Event::Down, Some(up)) = (event, self.up_at) {
            let pause = now.saturating_sub(up);
            assert!(pause + SLACK >= self.policy.cooldown, "down only {pause:?} after a recovery was told");
        }
        if let (Event::Up, true, Some(failed)) = (event, self.is_again, self.last_failure) {
            let good = now.saturating_sub(failed);
            assert!(good + SLACK >= self.policy.cooldown, "up again, good for {good:?} only");
        }
        if event == Event::Up && !self.unsure {
            assert!(!self.down, "told as up, and down by its checks");
        }
        if let (Event::Flapping, Some(flap), true) = (event, &self.policy.flap, self.sure_changes) {
            let recent = self.changes.iter().filter(|at| now < **at + flap.window + SLACK).count();
            assert!(recent > flap.changes as usize, "flapping after {recent} changes");
        }
        if is_outage {
            // What nobody is to be told, by decision, is as good as told, unless it is kept back for a time besides.
            let for_a_time = around.silence || around.parent_down;
            let by_decision = matches!(held_by, Some("notifications_disabled" | "nobody_to_tell")) && !for_a_time;
            if held_by.is_none() || by_decision {
                self.knows = true;
                if matches!(event, Event::Down | Event::DownAgain | Event::Reminder) {
                    (self.outage_told_at, self.quiet_since) = (Some(now), Some(now));
                }
            }
            if let Some(open) = self.open {
                self.told.entry(open).or_default().extend(to.iter().cloned());
            }
        }
        match event {
            Event::Flapping => self.flapping = true,
            Event::DownAgain => (self.flapping, self.is_again) = (false, true),
            Event::Up if held_by.is_none() => self.up_at = Some(now),
            _ => {}
        }
    }

    /// The time of an acknowledgement is up.
    pub(super) fn let_time_pass(&mut self, now: Duration) {
        if self.acknowledged_until.is_some_and(|until| until <= now) {
            self.acknowledged_until = None;
            self.quiet_since = self.quiet_since.map(|_| now);
        }
    }
}
