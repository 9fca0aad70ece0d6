//! How an endpoint is examined: one [`Checker`] a kind of check, and the retry loop around it ([`attempts`]).
//!
//! Beside `notify` the only module that opens outgoing connections. Checkers observe and never decide: what an
//! observation means is [`crate::domain::check::judge`]'s. It knows no schedule, no history and no database.

pub mod attempts;
mod certificate;
pub mod connectivity;
mod deadline;
mod dial;
mod dns;
mod exchange;
mod failure;
mod grpc;
mod http;
mod icmp;
mod kinds;
mod request;
mod trace;
mod trust;
mod websocket;

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::check::{CheckSpec, Observation, TlsPolicy};
use crate::domain::endpoint::Origin;

pub use dial::Dialler;
pub use http::HttpChecker;
pub use kinds::{Checkers, about};
pub use trust::TlsError;

#[cfg(test)]
mod testing;

/// TLS as checks speak it, without a `ca_file`: for the command line, which asks a running monitor.
///
/// # Errors
/// One sentence.
pub fn tls_config(verify: bool) -> Result<rustls::ClientConfig, TlsError> {
    trust::Trust::load().config(&TlsPolicy { verify, ..TlsPolicy::default() }, &trust::Files::default())
}

/// Makes one attempt at a check.
pub trait Checker: Send + Sync + Debug {
    /// Examines what `spec` names and says what was seen, however badly it went: a failing check is data. Ends
    /// at `deadline` at the latest (the start of the attempt plus `spec.timeout`), with a failure that names
    /// the phase which was under way; later only by the time in which this process was not running, at most as long
    /// again. Dropping the future closes whatever it had opened.
    ///
    /// What is of the `origin` [`Api`](Origin::Api) obeys the outbound policy with each connection, those of
    /// redirects included.
    fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, deadline: Instant) -> BoxFuture<'a, Observation>;
}
