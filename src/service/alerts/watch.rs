//! Looks at every alert rule, every few seconds, and tells what fired and what is over.
//!
//! What happens is written, and then told. While it cannot be written people are told from memory, and the rows are
//! written once they can be: the deliverers send by the id, so nothing goes out twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::telling::Happened;
use super::{Round, Watched};
use crate::domain::alert_rule::{RuleState, step};
use crate::domain::notification::Event;
use crate::service::context::ServiceContext;
use crate::store::{Store, StoreError, within};

/// How often rules are looked at.
pub const EVERY: Duration = Duration::from_secs(5);

/// After this long in the writing people are told from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the database has, and how long it is left alone after a failure.
const LIMIT: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);

/// How long the end waits for what is not written.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What is written in one transaction.
const BATCH: usize = 100;

type Writing = BoxFuture<'static, Result<(), StoreError>>;

/// The part that looks at alert rules.
pub struct AlertWatch {
    ctx: Arc<ServiceContext>,
    /// What is being written: how many, and the attempt. None: what the table has is read again.
    writing: Option<(usize, Writing)>,
    /// When the oldest that is not written happened, as far as it was noticed.
    waiting_since: Option<Instant>,
    /// Of what is not written so many were told from memory.
    told: usize,
    not_before: Option<Instant>,
    complained: bool,
}

impl std::fmt::Debug for AlertWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertWatch").field("told", &self.told).finish_non_exhaustive()
    }
}

impl AlertWatch {
    pub fn new(ctx: Arc<ServiceContext>) -> Self {
        Self { ctx, writing: None, waiting_since: None, told: 0, not_before: None, complained: false }
    }

    /// Looks, until the stop.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let look = self.ctx.alerts.look.clone();
        loop {
            self.go_on();
            let wake_at = self.wake_at();
            tokio::select! {
                () = stopping.cancelled() => break,
                outcome = ended(&mut self.writing) => self.settle(outcome),
                _ = tick.tick() => self.look(),
                () = look.wait() => self.look(),
                () = sleep_until(wake_at) => {}
            }
        }
        self.finish().await;
    }

    /// Measures, and takes every rule one step on.
    pub fn look(&mut self) {
        let ctx = Arc::clone(&self.ctx);
        let (now, mut round) = (ctx.clock.now(), Round::new(&ctx));
        ctx.alerts.look_at_each(|rule| look_at(&ctx, rule, &mut round, now));
        if self.waiting_since.is_none() && !ctx.alerts.unwritten(1).is_empty() {
            self.waiting_since = Some(Instant::now());
        }
    }

    fn go_on(&mut self) {
        if self.writing.is_none() && self.not_before.is_none_or(|at| at <= Instant::now()) {
            let batch = self.ctx.alerts.unwritten(BATCH);
            if batch.is_empty() && self.ctx.alerts.is_in_doubt() {
                let ctx = Arc::clone(&self.ctx);
                self.writing = Some((0, Box::pin(async move { within(LIMIT, take_up(&ctx)).await })));
            } else if !batch.is_empty() {
                let store = Arc::clone(&self.ctx.store);
                self.writing = Some((batch.len(), Box::pin(async move { within(LIMIT, write(&store, &batch)).await })));
            }
        }
        if self.is_on_its_own() {
            self.tell_from_memory();
        }
    }

    fn is_on_its_own(&self) -> bool {
        self.waiting_since.is_some_and(|since| {
            since.elapsed() >= PATIENCE || self.complained || self.ctx.metrics.database.away().is_some()
        })
    }

    /// When something is to be done though nothing comes.
    fn wake_at(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        let patience = Some(since + PATIENCE).filter(|_| !self.is_on_its_own());
        let again = self.not_before.filter(|_| self.writing.is_none());
        [patience, again].into_iter().flatten().min()
    }

    fn settle(&mut self, (count, outcome): (usize, Result<(), StoreError>)) {
        match outcome {
            Ok(()) => {
                let written = self.ctx.alerts.unwritten(count);
                self.ctx.alerts.written(count);
                let handover = &self.ctx.alerts.handover;
                for (i, happened) in written.iter().enumerate() {
                    if i < self.told {
                        handover.stored(happened.id());
                    } else if let Some(handed) = happened.to_deliver() {
                        handover.hand(handed, true);
                    }
                }
                self.told = self.told.saturating_sub(count);
                (self.not_before, self.complained) = (None, false);
                self.waiting_since = self.ctx.alerts.unwritten(1).first().map(|_| Instant::now());
                self.ctx.deliver.nudge();
            }
            Err(error) => {
                if count == 0 {
                    tracing::debug!(%error, "whether the table has other alert rules cannot be read yet");
                } else if !self.complained {
                    tracing::warn!(%error, "what alert rules did cannot be written; it is told from memory");
                }
                self.complained = true;
                self.not_before = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Hands what is to be told to the deliverers, though its rows are not written.
    fn tell_from_memory(&mut self) {
        let all = self.ctx.alerts.unwritten(usize::MAX);
        let before = self.told;
        for happened in &all[self.told.min(all.len())..] {
            let is_out = happened.to_deliver().is_none_or(|handed| self.ctx.alerts.handover.hand_from_memory(handed));
            if !is_out {
                // It goes out once the database is back, as the recorder's do.
                break;
            }
            self.told += 1;
        }
        if self.told > before {
            self.ctx.deliver.nudge();
        }
    }

    /// Writes everything that waits; ends at a failure too.
    pub async fn flush(&mut self) {
        loop {
            self.go_on();
            if self.writing.is_none() {
                return;
            }
            let outcome = ended(&mut self.writing).await;
            self.settle(outcome);
        }
    }

    /// Writes what is left, once, within a limit.
    async fn finish(mut self) {
        drop(tokio::time::timeout(LAST_WAIT, self.flush()).await);
        let lost = self.ctx.alerts.unwritten(usize::MAX).len();
        if lost > 0 {
            tracing::error!(lost, "the database was away until the end: what alert rules did last is lost");
        }
    }
}

fn look_at(
    ctx: &ServiceContext,
    rule: &Watched,
    round: &mut Round<'_>,
    now: crate::domain::Timestamp,
) -> (RuleState, Option<Happened>) {
    let Some(measured) = round.measure(&rule.stored.settings) else {
        return match rule.state {
            RuleState::Firing(_) | RuleState::NoData { .. } => (rule.state, None),
            RuleState::Ok { .. } | RuleState::Pending { .. } => (RuleState::NoData { since: now }, None),
        };
    };
    let (state, change) = step(rule.state, measured.value, &measured.bounds, now);
    let happened = change.map(|change| Happened::changed(ctx, rule, change, &measured, now));
    if let Some(happened) = &happened {
        let facts = happened.facts();
        let (alert, why) = (facts.endpoint_name.as_str(), facts.error.as_deref());
        if facts.event == Event::AlertFiring && happened.held_by().is_some() {
            let (held_by, action) = (happened.held_by(), rule.stored.settings.action.as_deref());
            tracing::warn!(alert, why, held_by, action, "an alert rule fires, and nobody is told of it");
        } else if facts.event == Event::AlertFiring {
            tracing::warn!(alert, why, "an alert rule fires");
        } else {
            tracing::info!(alert, "an alert rule has cleared");
        }
    }
    (state, happened)
}

/// Takes up the rules of the table, once no change is under way.
async fn take_up(ctx: &ServiceContext) -> Result<(), StoreError> {
    let _changes = ctx.changes.lock().await;
    super::take_up(ctx).await
}

async fn write(store: &Store, batch: &[Arc<Happened>]) -> Result<(), StoreError> {
    // What is taken back would be told again.
    let transaction = store.begin_durable().await?;
    for happened in batch {
        happened.write(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn ended(writing: &mut Option<(usize, Writing)>) -> (usize, Result<(), StoreError>) {
    let Some((count, write)) = writing else { return std::future::pending().await };
    let outcome = write.await;
    let count = *count;
    *writing = None;
    (count, outcome)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
