//! Whether our own network is there, in memory: what failed checks are judged by, and what is shown of it. The rules are
//! [`domain::connectivity`](crate::domain::connectivity)'s; who asks the targets is `network`. It is never stored: after a
//! restart it begins anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::connectivity::{
    Change, Connectivity, FailedCheck, LONGEST_WAIT, Moment, Network, Probe, Reaches, Rules, Verdict,
};
use crate::domain::endpoint::EndpointId;
use crate::domain::hold::Hold;
use crate::domain::outcome::{FailureKind, MissedReason, Outcome};
use crate::domain::selector::Selectors;
use crate::domain::suppression::{Facts, Suppressor};

/// Our own network.
#[derive(Debug)]
pub struct OwnNetwork {
    /// `None`: there are no targets, and every failure counts.
    inner: Option<Mutex<Inner>>,
    targets: usize,
    /// Nudges whoever asks the targets.
    pub wanted: Notify,
    /// Changes with each answer; closed at the stop.
    answers: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    machine: Connectivity,
    /// How many answered the last time.
    answered: u32,
    /// Failures that were not counted, since the start.
    suppressed: u64,
    /// Each endpoint whose newest check was suppressed: since when that is so.
    unknown: BTreeMap<EndpointId, Timestamp>,
    closed: bool,
}

/// Our own network, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub network: Network,
    /// Since when the targets do not answer.
    pub since: Option<Timestamp>,
    /// Until when failures are not counted; `None` while they are.
    pub until: Option<Timestamp>,
    pub targets: usize,
    /// How many answered the last time they were asked, or as many as were needed.
    pub answered: u32,
    /// Failures that were not counted, since the start.
    pub suppressed: u64,
}

impl Default for OwnNetwork {
    /// Without targets: every failure counts.
    fn default() -> Self {
        Self::new(None, 0)
    }
}

impl OwnNetwork {
    /// `rules`: `None` without targets.
    pub fn new(rules: Option<Rules>, targets: usize) -> Self {
        let inner = |rules| {
            Mutex::new(Inner {
                machine: Connectivity::new(rules),
                answered: 0,
                suppressed: 0,
                unknown: BTreeMap::new(),
                closed: false,
            })
        };
        Self { inner: rules.map(inner), targets, wanted: Notify::new(), answers: watch::channel(0).0 }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Inner>> {
        self.inner.as_ref().map(|inner| inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there are targets.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Looks at the result of a check that ended `now`. A failure waits until it is known what it is worth, at most
    /// [`LONGEST_WAIT`]: one that is our own network's becomes a missed slot. Any other result is given back as it is.
    pub async fn examine(&self, result: CheckResult, reaches: Reaches, now: Moment) -> CheckResult {
        match &result.outcome {
            _ if !self.is_on() => result,
            Outcome::Up | Outcome::Degraded => {
                self.succeeded(&result, reaches, now.running);
                result
            }
            Outcome::Missed(_) => result,
            // Nothing was dialled.
            Outcome::Down(failure) if failure.kind == FailureKind::OutboundRefused => result,
            Outcome::Down(_) => {
                let (began, ended) = (began(&result, now.running), now.running);
                let failed = FailedCheck { endpoint: result.endpoint_id, reaches, began, ended };
                match self.judge(failed, now.at).await {
                    Some(reason) => CheckResult {
                        started_at: result.started_at,
                        trigger: result.trigger,
                        ..CheckResult::missed(result.endpoint_id, result.scheduled_at, result.slots, reason)
                    },
                    None => result,
                }
            }
        }
    }

    fn succeeded(&self, result: &CheckResult, reaches: Reaches, ended: Duration) {
        let Some(mut inner) = self.lock() else { return };
        inner.machine.succeeded(result.endpoint_id, reaches, began(result, ended), ended);
        inner.unknown.remove(&result.endpoint_id);
        let is_wanted = inner.machine.is_wanted();
        drop(inner);
        if is_wanted {
            self.wanted.notify_one();
        }
    }

    /// Why a failed check is not counted; `None`: it is.
    async fn judge(&self, failed: FailedCheck, at: Timestamp) -> Option<MissedReason> {
        let mut answers = self.answers.subscribe();
        let began = Instant::now();
        loop {
            answers.mark_unchanged();
            {
                let mut inner = self.lock()?;
                match inner.machine.judge(failed, failed.ended + began.elapsed()) {
                    Verdict::Counts => {
                        inner.unknown.remove(&failed.endpoint);
                        return None;
                    }
                    Verdict::OwnNetwork { .. } => {
                        inner.suppressed += 1;
                        inner.unknown.entry(failed.endpoint).or_insert(at);
                        drop(inner);
                        self.wanted.notify_one();
                        return Some(MissedReason::OwnNetwork);
                    }
                    // The stop has begun, and nobody asks any more: it cannot be known.
                    Verdict::Ask if inner.closed => return Some(MissedReason::Shutdown),
                    Verdict::Ask => {}
                }
            }
            self.wanted.notify_one();
            if !matches!(tokio::time::timeout_at(began + LONGEST_WAIT, answers.changed()).await, Ok(Ok(()))) {
                return None;
            }
        }
    }

    /// How long until the targets are to be asked; `None`: nothing calls for it.
    pub fn ask_in(&self, now: Moment) -> Option<Duration> {
        Some(self.lock()?.machine.ask_at()?.saturating_sub(now.running))
    }

    /// The targets are being asked.
    pub fn ask(&self, now: Moment) {
        if let Some(mut inner) = self.lock() {
            inner.machine.ask(now.running);
        }
    }

    /// The targets were asked: what that changed.
    pub fn probed(&self, probe: Probe) -> Option<Change> {
        let mut inner = self.lock()?;
        inner.answered = probe.answered;
        let change = inner.machine.probed(probe);
        drop(inner);
        self.answers.send_modify(|answers| *answers += 1);
        change
    }

    /// The endpoints whose failures are suppressed no longer, for it has lasted long enough.
    pub fn released(&self, now: Moment) -> Vec<EndpointId> {
        self.lock().map_or_else(Vec::new, |mut inner| inner.machine.released(now.running))
    }

    /// How long until [`released`](Self::released) has something.
    pub fn release_in(&self, now: Moment) -> Option<Duration> {
        Some(self.lock()?.machine.release_at()?.saturating_sub(now.running))
    }

    /// Forgets the endpoints that are monitored no longer.
    pub fn forget(&self, is_there: impl Fn(EndpointId) -> bool) {
        if let Some(mut inner) = self.lock() {
            inner.machine.forget(&is_there);
            inner.unknown.retain(|id, _| is_there(*id));
        }
    }

    /// Nobody asks any more: what would wait for an answer does not.
    pub fn close(&self) {
        if let Some(mut inner) = self.lock() {
            inner.closed = true;
        }
        self.answers.send_modify(|answers| *answers += 1);
    }

    /// What keeps messages about an endpoint back, while its failures are suppressed.
    pub fn hold(&self, endpoint: EndpointId, now: Moment) -> Option<Hold> {
        let inner = self.lock()?;
        let until = inner.machine.suppressed_until(endpoint, now.running)?;
        let (answered, since) = (inner.answered, inner.unknown.get(&endpoint).copied());
        drop(inner);
        Some(Hold {
            by: Suppressor::OwnNetwork,
            name: String::new(),
            since: since.unwrap_or(now.at),
            until: Some(now.wall(until)),
            reason: format!("{answered} of {} connectivity targets answer", self.targets),
            through: None,
            made_by: None,
            selectors: Selectors::default(),
        })
    }

    /// Adds what keeps messages about an endpoint back to what is known already.
    pub fn beside(&self, facts: Facts, endpoint: EndpointId, now: Moment) -> Facts {
        match self.hold(endpoint, now) {
            Some(hold) => Facts { own_network: Some(hold.fact()), ..facts },
            None => facts,
        }
    }

    /// What a message about an outage should say of it, if failures of the endpoint were not counted before.
    pub fn remark(&self, endpoint: EndpointId) -> Option<String> {
        let was_in_doubt = self.lock()?.machine.was_in_doubt(endpoint);
        was_in_doubt.then(|| "Our own network was in doubt: checks that failed then were not counted".to_owned())
    }

    /// How our own network is; `None` without targets.
    pub fn view(&self, now: Moment) -> Option<View> {
        let inner = self.lock()?;
        let (network, since) = inner.machine.network(now.running);
        let until = inner.machine.suppresses_until(now.running).map(|until| now.wall(until));
        let since = since.map(|since| now.wall(since));
        Some(View {
            network,
            since,
            until,
            targets: self.targets,
            answered: inner.answered,
            suppressed: inner.suppressed,
        })
    }
}

/// When the last attempt of a check began.
fn began(result: &CheckResult, ended: Duration) -> Duration {
    ended.saturating_sub(Duration::from_micros(result.timings.total_us.into()))
}
