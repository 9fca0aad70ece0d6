//! The board: the live state of every endpoint, in memory.
//!
//! It owns what lists, summary and scheduler read, so that none of them queries history and all of them go on
//! while the database is away. It is rebuilt from the store at start and updated only after a commit: by the
//! service verbs (what is watched) and by the recorder (what was seen). It decides nothing.

mod dependence;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::Timestamp;
use crate::domain::certificate::ServedChain;
use crate::domain::check::{CheckDetail, CheckResult};
use crate::domain::counts::Counts;
use crate::domain::dependency::Graph;
use crate::domain::endpoint::{EndpointId, KnownEndpoint};
use crate::domain::hold::Hold;
use crate::domain::incident::EndpointState;
use crate::domain::outcome::Status;
use crate::domain::suppression::{self, Facts, Suppressor};
use crate::domain::uptime::{Bucket, OpenHour, hour_of, uptime_percentage};

use self::dependence::{Dependence, spread};
pub use self::dependence::{InheritedHolds, ParentReport};

/// The live state of every current endpoint.
#[derive(Debug, Default)]
pub struct Board {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By id, so that lists come in the order of creation.
    entries: BTreeMap<EndpointId, Seen>,
    keys: HashMap<(String, String), EndpointId>,
    /// What keeps messages back at this moment, in the order in which it counts.
    holds: Vec<Arc<Hold>>,
    dependence: Dependence,
    /// Counts changes of what is known of push endpoints.
    pushed: u64,
    /// Until when failures may be those of a network that is just coming up.
    start_grace: Option<suppression::Hold>,
}

#[derive(Debug)]
struct Seen {
    known: Arc<KnownEndpoint>,
    live: Arc<Live>,
}

impl Inner {
    fn entry(&self, seen: &Seen) -> Entry {
        let of = |by| {
            let mut all = self.holds.iter().filter(|hold| hold.by == by);
            let first = all.find(|hold| hold.is_of(&seen.known))?;
            // Of several the one that lasts longest.
            let last = all.filter(|hold| hold.outlasts(first) && hold.is_of(&seen.known));
            Some(last.max_by_key(|hold| hold.until).unwrap_or(first).clone())
        };
        let id = seen.known.id;
        Entry {
            known: seen.known.clone(),
            live: seen.live.clone(),
            maintenance: of(Suppressor::MaintenanceWindow).or_else(|| self.dependence.maintenance(id)),
            silence: of(Suppressor::Silence),
            parent_down: self.dependence.parent_down(id, &self.entries),
        }
    }
}

/// One endpoint as it is now.
#[derive(Debug, Clone)]
pub struct Entry {
    pub known: Arc<KnownEndpoint>,
    pub live: Arc<Live>,
    /// The maintenance window that is open for it, or else for a parent.
    pub maintenance: Option<Arc<Hold>>,
    /// The silence that it is under.
    pub silence: Option<Arc<Hold>>,
    /// The parent that is down, or that is being asked.
    pub parent_down: Option<Arc<Hold>>,
}

/// What was seen of an endpoint.
#[derive(Debug, Clone)]
pub struct Live {
    pub state: EndpointState,
    /// The newest result, missed slots included.
    pub last: Option<Arc<CheckResult>>,
    /// The newest result with a verdict.
    pub last_verdict: Option<Arc<CheckResult>>,
    /// The hour that is not yet in the rollups.
    pub open_hour: Option<OpenHour>,
    pub windows: Windows,
    /// Checks since the start of the process.
    pub counts: Counts,
    /// The certificate that a check was served last.
    pub certificate: Option<Arc<ServedChain>>,
    /// What explains its newest check, since the start of the process.
    pub detail: Option<NewestDetail>,
    /// Its newest check was not counted, because our own network is in doubt. Not stored.
    pub in_doubt: Option<Arc<Hold>>,
}

/// What explains a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestDetail {
    pub scheduled_at: Timestamp,
    pub detail: Arc<CheckDetail>,
}

impl Live {
    /// What explains the check of a slot, if it is the newest one.
    pub fn detail_of(&self, scheduled_at: Timestamp) -> Option<&CheckDetail> {
        self.detail.as_ref().filter(|newest| newest.scheduled_at == scheduled_at).map(|newest| &*newest.detail)
    }
}

/// Good and counted checks of the closed hours inside the last 24 hours, 7 days and 30 days. The far edge moves
/// by whole hours, so these serve lists; a report of one endpoint is exact to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// The sums hold the hours that began before this.
    pub until: Timestamp,
    pub day: Share,
    pub week: Share,
    pub month: Share,
    /// Hours closed since, so that a sum being read from the store and an hour being closed cannot miss or
    /// count each other twice.
    recent: Vec<(Timestamp, Share)>,
}

impl Windows {
    /// Sums over the hours that began before `until`.
    pub fn new(until: Timestamp, day: Share, week: Share, month: Share) -> Self {
        Self { until, day, week, month, recent: Vec::new() }
    }

    /// No checks in the hours that began before `until`.
    pub fn empty(until: Timestamp) -> Self {
        Self::new(until, Share::default(), Share::default(), Share::default())
    }

    /// Adds an hour that has closed.
    pub fn close(&mut self, start: Timestamp, share: Share) {
        self.recent.push((start, share));
    }

    /// Takes the sums of `newer`, and keeps the hours that are not in them. Sums that end earlier than these lack
    /// hours which are known only as a part of these, and are left alone.
    pub fn rebase(&mut self, newer: Self) {
        if newer.until < self.until {
            return;
        }
        let mut recent = std::mem::take(&mut self.recent);
        recent.retain(|(start, _)| *start >= newer.until);
        *self = Self { recent, ..newer };
    }

    fn since(&self) -> Share {
        let newer = self.recent.iter().filter(|(start, _)| *start >= self.until);
        newer.fold(Share::default(), |sum, (_, share)| sum.plus(*share))
    }
}

/// Good checks out of counted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    pub good: u64,
    pub counted: u64,
}

impl Share {
    /// The checks of a bucket.
    pub fn of(bucket: &Bucket) -> Self {
        Self { good: bucket.good(), counted: bucket.counted() }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { good: self.good + other.good, counted: self.counted + other.counted }
    }

    pub fn percentage(self) -> Option<f64> {
        uptime_percentage(self.good, self.counted)
    }
}

/// Uptime percentages of an endpoint; `None` where nothing was checked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Uptimes {
    pub day: Option<f64>,
    pub week: Option<f64>,
    pub month: Option<f64>,
}

impl Live {
    /// Nothing seen yet.
    pub fn pending(since: Timestamp) -> Self {
        Self {
            state: EndpointState::pending(since),
            last: None,
            last_verdict: None,
            open_hour: None,
            // From the start of the hour, which is closed as a whole.
            windows: Windows::empty(hour_of(since)),
            counts: Counts::default(),
            certificate: None,
            detail: None,
            in_doubt: None,
        }
    }
}

impl Entry {
    /// The status to show: paused while it is not checked, maintenance while a window is open for it, unknown while our
    /// own network is in doubt, else what is confirmed.
    pub fn status(&self) -> Status {
        if !self.known.is_checked() {
            Status::Paused
        } else if self.maintenance.is_some() {
            Status::Maintenance
        } else if self.live.in_doubt.is_some() {
            Status::Unknown
        } else {
            self.live.state.status
        }
    }

    /// What keeps messages about it back.
    pub fn hold(&self) -> Option<&Hold> {
        let quiet = self.in_doubt().or(self.maintenance.as_deref()).or(self.silence.as_deref());
        quiet.or(self.parent_down.as_deref())
    }

    /// That our own network is in doubt, in the order of the suppressors the first of those shown.
    fn in_doubt(&self) -> Option<&Hold> {
        self.live.in_doubt.as_deref().filter(|_| self.known.is_checked())
    }

    /// The same, to be decided by.
    pub fn facts(&self) -> Facts {
        let fact = |hold: &Option<Arc<Hold>>| hold.as_ref().map(|hold| hold.fact());
        Facts {
            own_network: self.in_doubt().map(Hold::fact),
            maintenance: fact(&self.maintenance),
            silence: fact(&self.silence),
            parent_down: fact(&self.parent_down),
            ..Facts::default()
        }
    }

    /// Since when the status holds.
    pub fn since(&self) -> Timestamp {
        match &self.maintenance {
            _ if !self.known.is_checked() => self.known.updated_at,
            Some(window) => window.since,
            None => self.in_doubt().map_or(self.live.state.since, |hold| hold.since),
        }
    }

    /// The uptimes of the closed hours in each window and the open hour.
    pub fn uptimes(&self) -> Uptimes {
        let windows = &self.live.windows;
        let open = self.live.open_hour.as_ref().map_or(Share::default(), |h| Share::of(&h.rollup.bucket));
        let newer = windows.since().plus(open);
        Uptimes {
            day: windows.day.plus(newer).percentage(),
            week: windows.week.plus(newer).percentage(),
            month: windows.month.plus(newer).percentage(),
        }
    }
}

impl Board {
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To read what is worked out from what is watched, which is done first where it changed since.
    fn read_worked_out(&self) -> RwLockReadGuard<'_, Inner> {
        loop {
            let inner = self.read();
            if inner.dependence.is_worked_out() {
                return inner;
            }
            drop(inner);
            let mut inner = self.write();
            let Inner { entries, holds, dependence, .. } = &mut *inner;
            if !dependence.is_worked_out() {
                dependence.work_out(entries, holds);
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an endpoint or replaces what is known of it; what was seen of it stays.
    pub fn put(&self, known: impl Into<Arc<KnownEndpoint>>) {
        let known = known.into();
        let mut inner = self.write();
        let id = known.id;
        let key = (known.endpoint.group.clone(), known.endpoint.name.clone());
        let Inner { entries, dependence, .. } = &mut *inner;
        dependence.changed(entries.get(&id).map(|seen| &*seen.known), Some(&known));
        let was_pushed = inner.entries.get(&id).is_some_and(|old| old.known.endpoint.check.push().is_some());
        inner.pushed += u64::from(was_pushed || known.endpoint.check.push().is_some());
        let live = match inner.entries.get(&id) {
            Some(old) => {
                let old_key = (old.known.endpoint.group.clone(), old.known.endpoint.name.clone());
                let live = old.live.clone();
                if inner.keys.get(&old_key) == Some(&id) {
                    inner.keys.remove(&old_key);
                }
                live
            }
            None => Arc::new(Live::pending(known.created_at)),
        };
        inner.keys.insert(key, id);
        inner.entries.insert(id, Seen { known, live });
    }

    /// Takes an endpoint off: it is no longer monitored.
    pub fn remove(&self, id: EndpointId) {
        let mut inner = self.write();
        if let Some(entry) = inner.entries.remove(&id) {
            inner.pushed += u64::from(entry.known.endpoint.check.push().is_some());
            inner.dependence.changed(Some(&entry.known), None);
            let key = (entry.known.endpoint.group.clone(), entry.known.endpoint.name.clone());
            if inner.keys.get(&key) == Some(&id) {
                inner.keys.remove(&key);
            }
        }
    }

    /// Changes what was seen of each endpoint named; those no longer on the board are passed over.
    pub fn update(&self, ids: impl IntoIterator<Item = EndpointId>, mut change: impl FnMut(EndpointId, &mut Live)) {
        let mut inner = self.write();
        let Inner { entries, dependence, .. } = &mut *inner;
        for id in ids {
            if let Some(entry) = entries.get_mut(&id) {
                change(id, Arc::make_mut(&mut entry.live));
                dependence.seen(entry);
            }
        }
    }

    /// The ids of every endpoint, oldest first.
    pub fn ids(&self) -> Vec<EndpointId> {
        self.read().entries.keys().copied().collect()
    }

    /// Another number than before, whenever what is known of a push endpoint has changed.
    pub fn push_version(&self) -> u64 {
        self.read().pushed
    }

    /// What is known of every endpoint, oldest first.
    pub fn knowns(&self) -> Vec<Arc<KnownEndpoint>> {
        self.read().entries.values().map(|seen| seen.known.clone()).collect()
    }

    pub fn get(&self, id: EndpointId) -> Option<Entry> {
        let inner = self.read_worked_out();
        inner.entries.get(&id).map(|seen| inner.entry(seen))
    }

    pub fn find_by_key(&self, group: &str, name: &str) -> Option<Entry> {
        let inner = self.read_worked_out();
        let id = inner.keys.get(&(group.to_owned(), name.to_owned()))?;
        inner.entries.get(id).map(|seen| inner.entry(seen))
    }

    /// Every endpoint, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        let inner = self.read_worked_out();
        inner.entries.values().map(|seen| inner.entry(seen)).collect()
    }

    /// Shows what keeps messages back at this moment, in the order in which it counts.
    pub fn set_holds(&self, holds: Vec<Arc<Hold>>) {
        let is_same = self.read().holds == holds;
        if !is_same {
            let mut inner = self.write();
            let Inner { entries, holds: shown, dependence, .. } = &mut *inner;
            *shown = holds;
            dependence.set_holds(entries, shown);
        }
    }

    /// Who depends on whom.
    pub fn graph(&self) -> Arc<Graph> {
        self.read_worked_out().dependence.graph()
    }

    /// The parents of an endpoint and how each is now, in the order of its selectors. One that several selectors mean
    /// comes once for each. Which of them keeps messages back is [`Entry::parent_down`].
    pub fn parents(&self, id: EndpointId) -> Vec<ParentReport> {
        self.read_worked_out().dependence.parents(id)
    }

    /// The maintenance that these windows mean for endpoints through their parents.
    pub fn maintenance_through_parents(&self, windows: &[Arc<Hold>]) -> InheritedHolds {
        let inner = self.read_worked_out();
        spread(&inner.dependence.graph(), &inner.entries, windows)
    }

    /// Notes that an attempt of the check under way has failed, or that the check is over.
    pub fn note_attempt(&self, id: EndpointId, has_failed: bool) {
        let is_news = self.read().dependence.attempt_failed(id) != has_failed;
        if is_news {
            let mut inner = self.write();
            let Inner { entries, dependence, .. } = &mut *inner;
            dependence.note_attempt(id, has_failed);
            if let Some(seen) = entries.get(&id) {
                dependence.seen(seen);
            }
        }
    }

    /// Whether an attempt of the check under way has failed.
    pub fn attempt_failed(&self, id: EndpointId) -> bool {
        self.read().dependence.attempt_failed(id)
    }

    /// Shows whose messages wait for a parent that is asked, or for a check of their own.
    pub fn set_waits(&self, waits: InheritedHolds) {
        self.write().dependence.set_waits(Arc::new(waits));
    }

    /// Shows that this process has just started, or that it has no longer.
    pub fn set_start_grace(&self, hold: Option<suppression::Hold>) {
        let is_same = self.read().start_grace == hold;
        if !is_same {
            self.write().start_grace = hold;
        }
    }

    /// The grace after the start, while it lasts: see [`Facts::start_grace`].
    pub fn start_grace(&self) -> Option<suppression::Hold> {
        self.read().start_grace.clone()
    }

    /// Whether any window is open.
    pub fn has_maintenance(&self) -> bool {
        self.read().holds.iter().any(|hold| hold.by == Suppressor::MaintenanceWindow)
    }

    pub fn len(&self) -> usize {
        self.read().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
