//! What the parts of the monitor hand to each other. `app` makes the channels and gives each part its end, so
//! that neighbours never import one another.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::Timestamp;
use crate::domain::check::{CheckDetail, CheckResult, CheckSpec, Seen};
use crate::domain::endpoint::EndpointId;
use crate::domain::push::Heartbeat;
use crate::domain::recheck::Request;

/// What somebody who waited for a check is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub result: CheckResult,
    /// It is committed. Otherwise the database is away, and it waits in memory.
    pub stored: bool,
}

/// A finished check on its way from the scheduler to the recorder.
#[derive(Debug)]
pub struct Submission {
    pub result: CheckResult,
    pub seen: Seen,
    /// Who waits for this check; told when it is committed, or once it is clear that this takes longer.
    pub waiters: Vec<oneshot::Sender<Recorded>>,
}

/// The recorder asks the scheduler for an early check: a change of status is unconfirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmRequest {
    pub endpoint_id: EndpointId,
    /// Now, whatever the policy says: what is to be told waits for it.
    pub at_once: bool,
    /// One attempt alone, which takes at most so long, unless a check is under way: what is to be told of another
    /// endpoint waits for it.
    pub attempt_within: Option<Duration>,
}

impl ConfirmRequest {
    /// As soon as the policy says.
    pub fn soon(endpoint_id: EndpointId) -> Self {
        Self { endpoint_id, at_once: false, attempt_within: None }
    }

    /// Now.
    pub fn now(endpoint_id: EndpointId) -> Self {
        Self { endpoint_id, at_once: true, attempt_within: None }
    }

    /// Now, one attempt.
    pub fn attempt(endpoint_id: EndpointId, within: Duration) -> Self {
        Self { endpoint_id, at_once: true, attempt_within: Some(within) }
    }
}

impl From<Request> for ConfirmRequest {
    fn from(request: Request) -> Self {
        match request {
            Request::Check(id) => Self::now(id),
            Request::Attempt(id, within) => Self::attempt(id, within),
        }
    }
}

/// A person asks the scheduler for a check now. Joins a check that is running.
#[derive(Debug)]
pub struct CheckRequest {
    pub endpoint_id: EndpointId,
    /// `false`: one attempt only.
    pub use_retry: bool,
    /// Answered with the result once it is recorded; dropped when the endpoint is unknown or the monitor stops.
    pub reply: oneshot::Sender<Recorded>,
}

/// The other side of a push endpoint reports to the scheduler.
#[derive(Debug)]
pub struct PushRequest {
    pub endpoint_id: EndpointId,
    pub report: PushReport,
}

/// What it reports.
#[derive(Debug)]
pub enum PushReport {
    /// A job has begun.
    Start,
    /// A check result; `reply` as of a [`CheckRequest`].
    Heartbeat { heartbeat: Heartbeat, reply: oneshot::Sender<Recorded> },
}

/// The channels of the directory have changed. Carries nothing else: what they are stands there.
#[derive(Debug)]
pub struct ChannelsChanged {
    /// Told when deliveries go by it.
    pub in_force: oneshot::Sender<()>,
}

/// A person decides about an incident that is open, as far as they know.
#[derive(Debug)]
pub struct IncidentRequest {
    pub endpoint_id: EndpointId,
    /// Of the incident, by which it is told from a later one.
    pub started_at: Timestamp,
    pub decision: Decision,
    pub by: Decider,
    /// Answered once it is committed, or once it is clear that this takes longer; dropped when the monitor stops.
    pub reply: oneshot::Sender<Result<Decided, Undecidable>>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Reminders and escalation are kept back, for so long or for as long as the policy says.
    Acknowledge { note: Option<String>, wanted: Option<Duration> },
    /// It is over, though its recovery is held or not confirmed.
    Resolve { note: Option<String> },
}

/// Who decides, as the logs call them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decider {
    pub name: String,
    pub address: Option<String>,
}

/// It is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// It is committed. Otherwise the database is away, and it waits in memory.
    pub stored: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecidable {
    /// It is not open any longer.
    NotOpen,
    /// It cannot be resolved while checks fail.
    ChecksFail,
}

/// A person wants to see what a check of something says that is not watched. Nothing of it is recorded.
#[derive(Debug)]
pub struct TrialRequest {
    pub spec: Box<CheckSpec>,
    /// Answered with the result of one attempt, which is of no endpoint (its `endpoint_id` is 0); with `None` when too
    /// many trials are under way; dropped when the monitor stops. Nobody waiting any more ends the attempt.
    pub reply: oneshot::Sender<Option<(CheckResult, CheckDetail)>>,
}

/// A person wants to see what a channel answers: a marked test message goes through its real transport.
#[derive(Debug)]
pub struct ChannelTestRequest {
    /// Of a channel that is on.
    pub channel: String,
    /// What the other side said, or why the message was not delivered.
    pub reply: oneshot::Sender<Result<String, String>>,
}
