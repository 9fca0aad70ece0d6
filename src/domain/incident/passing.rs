//! What the passing of time does.

use super::{
    AlertPolicy, Duration, EndpointState, Event, Facts, Flapping, HeldRecovery, IncidentChange, Matter, OpenIncident,
    Step, Tell, Timestamp, after, decide, resolved,
};

/// The most that is done for one incident in a turn: a reminder that is due each time keeps no escalation back.
pub const MOST_AT_ONCE: usize = 8;

/// Advances the machine by the passing of time: releases a held recovery, tells what is kept back no longer, reminds of
/// an open incident, escalates it. One thing at a time: `None` when nothing more is due at `now`.
///
/// Nothing waits for longer than the policy says now, whatever was planned: the clock may have been set back since,
/// or the policy changed.
pub fn advance(state: &EndpointState, policy: &AlertPolicy, around: &Facts, now: Timestamp) -> Option<Step> {
    let Some(incident) = &state.incident else { return super::degraded::advance(state, policy, around, now) };
    if let Some(held) = incident.held {
        let release_at = held.release_at.min(after(now, incident.holds(policy).unwrap_or_default()));
        if now >= release_at {
            return Some(resolved(state.clone(), incident.clone(), held.since, policy, now));
        }
        let held = Some(HeldRecovery { release_at, ..held });
        return replanned(state, OpenIncident { held, ..incident.clone() });
    }
    if !state.is_down() {
        return None;
    }
    if incident.maintained != around.maintenance.is_some() {
        let maintained = !incident.maintained;
        let change = if maintained { IncidentChange::MaintenanceBegan } else { IncidentChange::MaintenanceEnded };
        let state = with_incident(state, OpenIncident { maintained, ..incident.clone() });
        return Some(Step { incident: Some(change), ..Step::to(state) });
    }
    if let Some(flapping) = incident.flapping {
        return while_flapping(state, incident, flapping, policy, around, now);
    }
    let mut incident = incident.clone();
    if let Some(event) = incident.untold {
        return told_at_last(state, incident, event, policy, around, now);
    }
    if let Some(acknowledged) = &mut incident.acknowledged
        && !acknowledged.is_over
    {
        let length = (acknowledged.until - acknowledged.at).to_std().unwrap_or_default();
        acknowledged.until = acknowledged.until.min(after(now, length));
        if now >= acknowledged.until {
            acknowledged.is_over = true;
            let change = Some(IncidentChange::AcknowledgementEnded);
            return Some(Step { incident: change, ..Step::to(with_incident(state, incident)) });
        }
    }
    plan(&mut incident, policy, now);
    let facts = EndpointState { incident: Some(incident.clone()), ..state.clone() }.facts(around);
    remind(state, &incident, policy, &facts, now)
        .or_else(|| escalate(state, &incident, policy, &facts, now))
        .or_else(|| replanned(state, incident))
}

/// Nothing is planned for later than the policy says now.
fn plan(incident: &mut OpenIncident, policy: &AlertPolicy, now: Timestamp) {
    let at_most = |planned: Option<Timestamp>, pause: Option<Duration>| {
        let latest = after(now, pause?);
        Some(planned.map_or(latest, |at| at.min(latest)))
    };
    let pause = policy.reminder.as_ref().map(|reminder| reminder.pause(incident.reminders.saturating_add(1)));
    incident.remind_at = at_most(incident.remind_at, pause);
    incident.escalate_at = at_most(incident.escalate_at, pause_of_step(policy, incident.escalated));
}

/// From one step of the escalation to the next one, of which so many are told; of the first since the outage was told.
/// `None`: there is no further one.
pub(super) fn pause_of_step(policy: &AlertPolicy, told: u32) -> Option<Duration> {
    let next = policy.escalation.get(told as usize)?;
    let last = told.checked_sub(1).and_then(|last| policy.escalation.get(last as usize));
    Some(next.after.saturating_sub(last.map_or(Duration::ZERO, |last| last.after)))
}

fn remind(
    state: &EndpointState,
    incident: &OpenIncident,
    policy: &AlertPolicy,
    facts: &Facts,
    now: Timestamp,
) -> Option<Step> {
    let reminder = policy.reminder.as_ref()?;
    if now < incident.remind_at? || decide(Matter::Reminder, facts, now).is_some() {
        return None;
    }
    let reminders = incident.reminders.saturating_add(1);
    let remind_at = Some(after(now, reminder.pause(reminders.saturating_add(1))));
    let tell = Tell { ordinal: reminders, ..Tell::of(Event::Reminder, incident.span_started_at) };
    let state = with_incident(state, OpenIncident { reminders, remind_at, ..incident.clone() });
    Some(Step { incident: Some(IncidentChange::Reminded), tell: Some(tell), ..Step::to(state) })
}

fn escalate(
    state: &EndpointState,
    incident: &OpenIncident,
    policy: &AlertPolicy,
    facts: &Facts,
    now: Timestamp,
) -> Option<Step> {
    let next = policy.escalation.get(incident.escalated as usize)?;
    if now < incident.escalate_at? || decide(Matter::Escalation, facts, now).is_some() {
        return None;
    }
    let step = incident.escalated.saturating_add(1);
    let escalate_at = pause_of_step(policy, step).map(|pause| after(now, pause));
    let tell = Tell { ordinal: step, ..Tell::of(Event::Escalated, incident.span_started_at) };
    let state = with_incident(state, OpenIncident { escalated: step, escalate_at, ..incident.clone() });
    let change = IncidentChange::Escalated { step, notify: next.notify.clone() };
    Some(Step { incident: Some(change), tell: Some(tell), ..Step::to(state) })
}

/// Down, and flapping until it has stayed so for the cooldown: then that is told.
fn while_flapping(
    state: &EndpointState,
    incident: &OpenIncident,
    flapping: Flapping,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Option<Step> {
    let latest = after(now, policy.cooldown);
    let steady_at = flapping.steady_at.map_or(latest, |at| at.min(latest));
    if now < steady_at {
        let flapping = Some(Flapping { steady_at: Some(steady_at), ..flapping });
        return replanned(state, OpenIncident { flapping, ..incident.clone() });
    }
    let held_by = decide(Matter::Opening, around, now).map(|held| held.by);
    let untold = held_by.map(|_| Event::DownAgain);
    let is_told = incident.is_told || held_by.is_none();
    let incident =
        OpenIncident { flapping: None, reopened: true, untold, is_told, ..incident.clone() }.planned(policy, now);
    let tell = Tell { held_by, ..Tell::of(Event::DownAgain, incident.span_started_at) };
    let mut state = with_incident(state, incident);
    state.trail.changes.clear();
    Some(Step { incident: Some(IncidentChange::StaysDown), tell: Some(tell), ..Step::to(state) })
}

/// The outage was kept back; it is told once nothing does so any longer, and reminders count from there.
fn told_at_last(
    state: &EndpointState,
    incident: OpenIncident,
    event: Event,
    policy: &AlertPolicy,
    around: &Facts,
    now: Timestamp,
) -> Option<Step> {
    if decide(Matter::Opening, around, now).is_some() {
        return None;
    }
    let incident = OpenIncident { untold: None, is_told: true, ..incident }.planned(policy, now);
    let tell = Tell::of(event, incident.span_started_at);
    let state = with_incident(state, incident);
    Some(Step { incident: Some(IncidentChange::Told), tell: Some(tell), ..Step::to(state) })
}

fn with_incident(state: &EndpointState, incident: OpenIncident) -> EndpointState {
    EndpointState { incident: Some(incident), ..state.clone() }
}

/// The incident with another plan, if it is another one.
fn replanned(state: &EndpointState, incident: OpenIncident) -> Option<Step> {
    (state.incident.as_ref() != Some(&incident)).then(|| Step::to(with_incident(state, incident)))
}
