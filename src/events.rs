//! What the parts of the monitor hand to each other. `app` makes the channels and gives each part its end, so
//! that neighbours never import one another.

use tokio::sync::oneshot;

use crate::domain::check::CheckResult;
use crate::domain::endpoint::EndpointId;

/// A finished check on its way from the scheduler to the recorder.
#[derive(Debug)]
pub struct Submission {
    pub result: CheckResult,
    /// Who waits for this check; told when it is committed.
    pub waiters: Vec<oneshot::Sender<CheckResult>>,
}

/// The recorder asks the scheduler for an early check: a change of status is unconfirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmRequest {
    pub endpoint_id: EndpointId,
}

/// A person asks the scheduler for a check now. Joins a check that is running.
#[derive(Debug)]
pub struct CheckRequest {
    pub endpoint_id: EndpointId,
    /// `false`: one attempt only.
    pub use_retry: bool,
    /// Answered with the committed result; dropped when the endpoint is unknown or the monitor stops.
    pub reply: oneshot::Sender<CheckResult>,
}

/// A person wants to see what a channel answers: a marked test message goes through its real transport.
#[derive(Debug)]
pub struct ChannelTestRequest {
    /// Of a configured channel that is on.
    pub channel: String,
    /// What the other side said, or why the message was not delivered.
    pub reply: oneshot::Sender<Result<String, String>>,
}
