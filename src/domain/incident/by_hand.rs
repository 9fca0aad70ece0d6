//! What somebody does with an open incident.

use super::{
    Acknowledged, AlertPolicy, Duration, EndpointState, Event, IncidentChange, Status, Step, Tell, Timestamp,
    Transition, after, resolved,
};

/// Somebody will look after an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledging {
    /// The name of the key.
    pub by: String,
    pub note: Option<String>,
    /// For how long; `None`: for as long as the policy says.
    pub wanted: Option<Duration>,
}

/// Why an incident is not resolved by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolvable {
    /// There is none.
    NothingOpen,
    /// The newest check failed: it would be opened again at once. Acknowledge or silence it instead.
    ChecksFail,
}

/// Keeps reminders and escalation back for some time. An acknowledgement takes the place of the one before. `None` when
/// no incident is open.
pub fn acknowledge(
    state: &EndpointState,
    acknowledging: Acknowledging,
    policy: &AlertPolicy,
    now: Timestamp,
) -> Option<Step> {
    let mut incident = state.incident.clone()?;
    let Acknowledging { by, note, wanted } = acknowledging;
    let until = after(now, wanted.unwrap_or(policy.acknowledge_for));
    incident.acknowledged = Some(Acknowledged { by, at: now, until, note, is_over: false });
    incident.acknowledgements = incident.acknowledgements.saturating_add(1);
    let tell = Tell { ordinal: incident.acknowledgements, ..Tell::of(Event::Acknowledged, incident.span_started_at) };
    let state = EndpointState { incident: Some(incident), ..state.clone() };
    Some(Step { incident: Some(IncidentChange::Acknowledged), tell: Some(tell), ..Step::to(state) })
}

/// Ends an incident whose checks are good again, though its recovery is held or not confirmed yet.
///
/// # Errors
/// [`Unresolvable`].
pub fn resolve_by_hand(state: &EndpointState, policy: &AlertPolicy, now: Timestamp) -> Result<Step, Unresolvable> {
    let incident = state.incident.clone().ok_or(Unresolvable::NothingOpen)?;
    if let Some(held) = incident.held {
        return Ok(resolved(state.clone(), incident, held.since, policy, now));
    }
    let Some(since) = state.run_started_at.filter(|_| state.is_down() && state.successes > 0) else {
        return Err(Unresolvable::ChecksFail);
    };
    let transition = Some(Transition { from: state.status, to: Status::Up, since, at: now });
    let mut up = EndpointState { status: Status::Up, since, cause: None, ..state.clone() };
    up.note_change(now, policy);
    Ok(Step { transition, ..resolved(up, incident, since, policy, now) })
}
