//! The maintenance windows and silences that there are now, in memory: what is checked and told goes by this, also
//! while the database is away. The verbs that change them do so after their commit. It decides nothing but what is
//! open, and reads no clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::endpoint::KnownEndpoint;
use crate::domain::hold::Hold;
use crate::domain::holds::Holds;
use crate::domain::maintenance::KnownWindow;
use crate::domain::silence::Silence;
use crate::domain::suppression::Facts;

/// The windows and silences.
#[derive(Debug, Default)]
pub struct Quiet {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    holds: Holds,
    /// A commit was not answered: the tables may have others than these.
    in_doubt: bool,
}

impl Quiet {
    pub fn new(windows: Vec<KnownWindow>, silences: Vec<Silence>) -> Self {
        Self { inner: Mutex::new(Inner { holds: Holds::new(windows, silences), in_doubt: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these instead of all windows.
    pub fn set_windows(&self, windows: Vec<KnownWindow>) {
        self.lock().holds.set_windows(windows);
    }

    /// Takes these instead of all silences.
    pub fn set_silences(&self, silences: Vec<Silence>) {
        self.lock().holds.set_silences(silences);
    }

    /// Notes that the tables may have others, or that they have these.
    pub fn set_in_doubt(&self, in_doubt: bool) {
        self.lock().in_doubt = in_doubt;
    }

    pub fn is_in_doubt(&self) -> bool {
        self.lock().in_doubt
    }

    /// A window that is new, or is another one than it was.
    pub fn put_window(&self, known: KnownWindow) {
        self.lock().holds.put_window(known);
    }

    pub fn remove_window(&self, name: &str) {
        self.lock().holds.remove_window(name);
    }

    pub fn put_silence(&self, silence: Silence) {
        self.lock().holds.put_silence(silence);
    }

    pub fn remove_silence(&self, id: i64) {
        self.lock().holds.remove_silence(id);
    }

    /// Every window, by name.
    pub fn windows(&self) -> Vec<Arc<KnownWindow>> {
        self.lock().holds.windows()
    }

    pub fn window(&self, name: &str) -> Option<Arc<KnownWindow>> {
        self.lock().holds.window(name)
    }

    /// Every silence, by id, those that have ended included.
    pub fn silences(&self) -> Vec<Arc<Silence>> {
        self.lock().holds.silences()
    }

    pub fn silence(&self, id: i64) -> Option<Arc<Silence>> {
        self.lock().holds.silence(id)
    }

    /// Whatever keeps messages back at this moment, windows first.
    pub fn holds(&self, now: Timestamp) -> Vec<Arc<Hold>> {
        self.lock().holds.at(now)
    }

    /// What of these keeps messages about an endpoint back at this moment.
    pub fn facts(&self, known: &KnownEndpoint, now: Timestamp) -> Facts {
        self.beside(Facts::default(), known, now)
    }

    /// As [`facts`](Self::facts), beside others.
    pub fn beside(&self, facts: Facts, known: &KnownEndpoint, now: Timestamp) -> Facts {
        self.lock().holds.beside(facts, known, now)
    }

    /// The windows that were open at any time between `from` and `now`, whoever they are about.
    pub fn windows_between(&self, from: Timestamp, now: Timestamp) -> Vec<Arc<Hold>> {
        self.lock().holds.windows_between(from, now)
    }

    /// Marks a verdict that was made in maintenance.
    pub fn mark(&self, result: &mut CheckResult, known: &KnownEndpoint, now: Timestamp) {
        self.lock().holds.mark(result, known, now);
    }
}
