//! What is shown of an endpoint while our own network is in doubt: nothing is known of it.

use std::sync::Arc;

use crate::connectivity::OwnNetwork;
use crate::domain::Timestamp;
use crate::domain::check::CheckResult;
use crate::domain::connectivity::Moment;
use crate::domain::hold::Hold;
use crate::domain::outcome::{MissedReason, Outcome, Status};
use crate::domain::selector::Selectors;
use crate::domain::suppression::Suppressor;

use super::tracked::{Effect, Tracked};

/// A change of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) from: Status,
    pub(super) to: Status,
    pub(super) since: Timestamp,
}

/// Follows a result that was taken in, with its `effect`. Where a change of status comes with it, that is told as one that
/// comes from `unknown`, and nothing else is given.
pub(super) fn follow(
    tracked: &mut Tracked,
    result: &CheckResult,
    effect: &mut Effect,
    own: &OwnNetwork,
    now: Moment,
) -> Option<Shown> {
    let status = tracked.state.status;
    match &result.outcome {
        Outcome::Missed(MissedReason::OwnNetwork) => {
            let is_new = tracked.in_doubt.is_none();
            let hold = own.hold(result.endpoint_id, now).unwrap_or_else(|| over(now));
            let since = tracked.in_doubt.as_ref().map_or(hold.since, |before| before.since);
            tracked.in_doubt = Some(Arc::new(Hold { since, ..hold }));
            is_new.then_some(Shown { from: status, to: Status::Unknown, since })
        }
        Outcome::Missed(_) => None,
        Outcome::Up | Outcome::Degraded | Outcome::Down(_) => {
            tracked.in_doubt.take()?;
            if let Some(transition) = &mut effect.transition {
                transition.from = Status::Unknown;
                return None;
            }
            Some(Shown { from: Status::Unknown, to: status, since: tracked.state.since })
        }
    }
}

/// It was over before the result came here; a check that says more is on its way.
fn over(now: Moment) -> Hold {
    Hold {
        by: Suppressor::OwnNetwork,
        name: String::new(),
        since: now.at,
        until: Some(now.at),
        reason: "The connectivity targets did not answer".to_owned(),
        through: None,
        made_by: None,
        selectors: Selectors::default(),
    }
}
