//! What is told of an alert rule, and its rows: the rule's state, the notification and its delivery, written in one
//! transaction before anything is sent.

use super::{ActionChannel, Measured, Round, Watched};
use crate::domain::Timestamp;
use crate::domain::alert_rule::{AlertId, Bounds, Change, Comparison, Fired, Firing, ThresholdSetting};
use crate::domain::notification::{AlertEnding, AlertFacts, Event, Notification, Severity, Subject, notification_id};
use crate::handover::{Handed, Told};
use crate::service::context::ServiceContext;
use crate::store::{ConnectionTrait, Outgoing, StoreError, alert_rules};

/// A rule fired, or what it had fired is over.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) rule: i64,
    revision: i64,
    /// Of the rule afterwards.
    pub(super) fired: Option<Fired>,
    outgoing: Outgoing,
}

impl Happened {
    /// What a measurement changed.
    pub(super) fn changed(
        ctx: &ServiceContext,
        rule: &Watched,
        change: Change,
        measured: &Measured,
        now: Timestamp,
    ) -> Self {
        match change {
            Change::Fired(firing) => {
                let told = ActionChannel::of(&rule.stored.settings, &ctx.directory.get()).tells;
                let fired = Fired { firing, cause: cause(rule, &firing, measured), told };
                let facts = facts(rule, &fired, Some(measured), None, now);
                Self::new(ctx, rule, Some(fired.clone()), facts, fired.told, now)
            }
            Change::Cleared(firing) => {
                let fired = rule.stored.fired.clone();
                let fired = fired.unwrap_or_else(|| Fired { firing, cause: String::new(), told: Vec::new() });
                let facts = facts(rule, &fired, Some(measured), Some(AlertEnding::Cleared), now);
                Self::new(ctx, rule, None, facts, fired.told, now)
            }
        }
    }

    /// What a change of the rule ends; `None` when it has not fired.
    pub(super) fn ended(ctx: &ServiceContext, rule: &Watched, ending: AlertEnding, now: Timestamp) -> Option<Self> {
        let fired = rule.stored.fired.clone()?;
        let measured = Round::new(ctx).measure(&rule.stored.settings);
        let facts = facts(rule, &fired, measured.as_ref(), Some(ending), now);
        Some(Self::new(ctx, rule, None, facts, fired.told, now))
    }

    fn new(
        ctx: &ServiceContext,
        rule: &Watched,
        fired: Option<Fired>,
        facts: Notification,
        channels: Vec<String>,
        now: Timestamp,
    ) -> Self {
        let listing = ctx.directory.get();
        let routing = listing.routing();
        // A resolve goes to whoever was told, but not while nothing is told at all.
        let channels = if routing.enabled { channels } else { Vec::new() };
        let first_of_incident = facts.first_of_alert();
        let told = Told { facts, endpoint: None, incident: None, first_of_incident };
        let outgoing = Outgoing::new(told, channels, routing, now);
        Self { rule: rule.stored.id, revision: rule.stored.revision, fired, outgoing }
    }

    pub(super) fn id(&self) -> &str {
        &self.outgoing.facts().id
    }

    pub(super) fn facts(&self) -> &Notification {
        self.outgoing.facts()
    }

    /// What keeps it back from everybody, by a word.
    pub(super) fn held_by(&self) -> Option<&'static str> {
        self.outgoing.held_by()
    }

    /// What is to be delivered through channels that are there.
    pub(super) fn to_deliver(&self) -> Option<Handed> {
        self.outgoing.to_deliver()
    }

    /// Writes how the rule stands, unless it was changed since, and what is told.
    pub(super) async fn write(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        alert_rules::note_firing(db, self.rule, self.revision, self.fired.as_ref()).await?;
        self.write_notification(db).await
    }

    /// Writes what is told, if it is not there already.
    pub(super) async fn write_notification(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        self.outgoing.write(db, None).await
    }
}

/// Why it fires, in one sentence.
fn cause(rule: &Watched, firing: &Firing, measured: &Measured) -> String {
    let settings = &rule.stored.settings;
    let metric = settings.metric.as_deref().unwrap_or_default();
    let threshold = threshold(rule, Some(measured));
    let Bounds { comparison, hold, .. } = measured.bounds;
    let (value, side) = (measured.quantity.shown(firing.value, &measured.bounds), comparison.in_words());
    if hold.is_zero() {
        format!("{metric} is {value}, {side} {threshold}")
    } else {
        let length = humantime::format_duration(hold);
        format!("{metric} has been {side} {threshold} for {length}, and is {value}")
    }
}

/// As it was written; a mere number with the unit of the metric.
fn threshold(rule: &Watched, measured: Option<&Measured>) -> String {
    match (&rule.stored.settings.threshold, measured) {
        (Some(ThresholdSetting::Number(_)), Some(measured)) => {
            measured.quantity.shown(measured.bounds.threshold, &measured.bounds)
        }
        (Some(setting), _) => setting.to_string(),
        (None, _) => String::new(),
    }
}

/// The facts, with what is measured now, if anything can be.
fn facts(
    rule: &Watched,
    fired: &Fired,
    measured: Option<&Measured>,
    ending: Option<AlertEnding>,
    now: Timestamp,
) -> Notification {
    let settings = &rule.stored.settings;
    let id = AlertId(rule.stored.id);
    let metric = settings.metric.clone().unwrap_or_default();
    let name = format!("{metric} ({id})");
    let event = if ending.is_some() { Event::AlertResolved } else { Event::AlertFiring };
    let Firing { crossed_at, fired_at, .. } = fired.firing;
    let (status, previous_status) = if ending.is_some() { ("ok", "firing") } else { ("firing", "ok") };
    let is_over = ending.is_some();
    let now_shown = measured.and_then(|m| Some(m.quantity.shown(m.value?, &m.bounds)));
    let remarks = now_shown.filter(|_| is_over).map(|value| format!("It is {value} now")).into_iter().collect();
    let notification_id = notification_id(Subject::Alert(id), fired_at, event, 0);
    Notification {
        status: status.to_owned(),
        previous_status: previous_status.to_owned(),
        severity: settings.severity.unwrap_or(Severity::Warning),
        error: Some(fired.cause.clone()).filter(|cause| !cause.is_empty()),
        alert: Some(AlertFacts {
            alert_id: id.to_string(),
            metric,
            comparison: settings.comparison.unwrap_or(Comparison::Gt),
            threshold: threshold(rule, measured),
            value: measured.and_then(|measured| measured.value),
            unit: measured.map(|measured| measured.quantity.unit(&measured.bounds).to_owned()),
            crossed_at,
            fired_at,
            resolved_at: is_over.then_some(now),
            duration_seconds: (now - crossed_at).num_seconds().max(0),
            ending,
        }),
        remarks,
        ..Notification::about("alert_rule", name, notification_id, event, now)
    }
}
