//! Every alert rule in memory, with how it stands: what the API shows and what is looked at goes by this, also while
//! the database is away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::telling::Happened;
use crate::domain::Timestamp;
use crate::domain::alert_rule::{AlertId, RuleState};
use crate::handover::Handover;
use crate::service::error::ServiceError;
use crate::store::alert_rules::{self, StoredRule};
use crate::store::{ConnectionTrait, DatabaseTransaction, Store, StoreError};
use crate::wakeup::Wakeup;

/// A rule and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub stored: StoredRule,
    pub state: RuleState,
}

/// What happened and is not written, at most. While it is full no rule changes how it stands.
const UNWRITTEN: usize = 2_000;

#[derive(Debug, Default)]
struct Inner {
    rules: BTreeMap<i64, Watched>,
    /// Those that are being changed, which are left as they are.
    held: BTreeSet<i64>,
    /// In the order in which it happened.
    unwritten: VecDeque<Arc<Happened>>,
    /// A commit was not answered: the table may have other rules than these.
    in_doubt: bool,
}

/// The rules.
#[derive(Debug)]
pub struct AlertRules {
    inner: Mutex<Inner>,
    pub(super) handover: Arc<Handover>,
    /// Nudged when a rule is to be looked at without waiting.
    pub(super) look: Wakeup,
}

impl AlertRules {
    /// As they are stored: those that had fired still do.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &Store, handover: Arc<Handover>, now: Timestamp) -> Result<Self, StoreError> {
        let stored = alert_rules::list(store.readers()).await?;
        tell_of_unreadable(&stored);
        let rules = stored.into_iter().map(|stored| (stored.id, watched(stored, now))).collect();
        let inner = Mutex::new(Inner { rules, ..Inner::default() });
        Ok(Self { inner, handover, look: Wakeup::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().rules.len()
    }

    /// By id.
    pub fn list(&self) -> Vec<Watched> {
        self.lock().rules.values().cloned().collect()
    }

    pub fn get(&self, id: AlertId) -> Option<Watched> {
        self.lock().rules.get(&id.0).cloned()
    }

    /// A new rule, or one with new settings, which is looked at soon.
    pub(super) fn put(&self, stored: StoredRule, now: Timestamp) -> Watched {
        let watched = watched(stored, now);
        self.lock().rules.insert(watched.stored.id, watched.clone());
        self.look.nudge();
        watched
    }

    pub(super) fn remove(&self, id: AlertId) {
        self.lock().rules.remove(&id.0);
    }

    /// Commits a change of the table. As long as there is no answer the table may have it or not.
    pub(super) async fn commit(&self, transaction: DatabaseTransaction) -> Result<(), ServiceError> {
        let before = std::mem::replace(&mut self.lock().in_doubt, true);
        transaction.commit().await.map_err(|e| ServiceError::Store(e.into()))?;
        self.lock().in_doubt = before;
        Ok(())
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.lock().in_doubt
    }

    /// Takes up the changes that the table has and whose commits were not answered. Whoever calls it holds
    /// `ServiceContext::changes`.
    pub(super) fn follow(&self, table: Vec<StoredRule>, now: Timestamp) {
        tell_of_unreadable(&table);
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.in_doubt = false;
        inner.rules.retain(|id, _| table.iter().any(|stored| stored.id == *id));
        for stored in table {
            let known = inner.rules.get(&stored.id);
            if known.is_none_or(|known| known.stored.revision != stored.revision) {
                let alert = AlertId(stored.id);
                tracing::warn!(%alert, "an alert rule is as a change made it that was answered with an error");
                inner.rules.insert(stored.id, watched(stored, now));
            }
        }
        self.look.nudge();
    }

    /// A rule that stays as it is until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Self>, id: AlertId) -> Option<Held> {
        let mut inner = self.lock();
        let watched = inner.rules.get(&id.0)?.clone();
        inner.held.insert(id.0);
        let waiting = inner.unwritten.iter().filter(|happened| happened.rule == id.0).cloned().collect();
        Some(Held { watched, waiting, rules: Arc::clone(self) })
    }

    /// Lets `look` make something of each rule that is not being changed: its next state, and what happened.
    pub(super) fn look_at_each(&self, mut look: impl FnMut(&Watched) -> (RuleState, Option<Happened>)) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for (id, rule) in &mut inner.rules {
            if inner.unwritten.len() >= UNWRITTEN {
                return;
            }
            let is_off = rule.stored.unreadable.is_some() || !rule.stored.settings.enabled.unwrap_or(true);
            if inner.held.contains(id) || is_off {
                continue;
            }
            let (state, happened) = look(rule);
            if let Some(happened) = happened {
                rule.stored.fired.clone_from(&happened.fired);
                inner.unwritten.push_back(Arc::new(happened));
            }
            rule.state = state;
        }
    }

    /// The oldest that is not written, in its order.
    pub(super) fn unwritten(&self, most: usize) -> Vec<Arc<Happened>> {
        self.lock().unwritten.iter().take(most).cloned().collect()
    }

    /// The oldest so many are written.
    pub(super) fn written(&self, count: usize) {
        self.lock().unwritten.drain(..count);
    }
}

/// For whoever mends them.
fn tell_of_unreadable(rules: &[StoredRule]) {
    for StoredRule { id, unreadable, .. } in rules {
        if let Some(why) = unreadable {
            let alert = AlertId(*id);
            tracing::error!(%alert, why, "an alert rule cannot be read and is not looked at: replace it with PUT /api/v1/alerts/{alert}, or delete it");
        }
    }
}

fn watched(stored: StoredRule, now: Timestamp) -> Watched {
    let state = stored.fired.as_ref().map_or(RuleState::NoData { since: now }, |fired| RuleState::Firing(fired.firing));
    Watched { stored, state }
}

/// A rule that is being changed.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) watched: Watched,
    /// What happened to it and may not be written.
    waiting: Vec<Arc<Happened>>,
    rules: Arc<AlertRules>,
}

impl Held {
    /// Writes the notifications that were made before the change, so that they come before what it tells.
    pub(super) async fn write_what_waits(&self, db: &impl ConnectionTrait) -> Result<(), ServiceError> {
        for happened in &self.waiting {
            happened.write_notification(db).await.map_err(ServiceError::Store)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.rules.lock().held.remove(&self.watched.stored.id);
    }
}
