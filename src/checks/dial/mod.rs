//! From a host and a port to a connection: names are looked up, their addresses dialled one after another, and TLS is
//! spoken where it is wanted. What every kind of check that has a connection is built upon.
//!
//! Nothing of one connection is kept for the next: no session ticket, no answer of a resolver. Everything that is seen
//! goes into the [`Trace`] of the attempt, whose [`tell`](Trace::tell) brings it into the observation. The caller bounds
//! the whole by its deadline, and says with [`failure::timed_out`] what was under way then.

mod proxy;
mod tls;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::failure;
use super::trace::{Phase, Trace};
use super::trust::{TlsError, Trust};
use crate::domain::check::CheckSpec;
use crate::domain::dial::{DialPolicy, IpFamily};
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};
use crate::outbound::Outbound;

pub(super) use proxy::{authorization, place};

/// Of several addresses, one that does not answer is left for the next after this time, where no `connect_timeout` says
/// otherwise (checks.md section 2).
const MAX_SHARE: Duration = Duration::from_secs(2);

/// How an attempt gets to wherever it leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) policy: &'a DialPolicy,
    /// Bound of connecting to one address.
    pub(super) connect_timeout: Option<Duration>,
    /// What was made through the API obeys the outbound policy.
    pub(super) origin: Origin,
    /// End of the attempt. It shares out the time among addresses; the caller ends at it.
    pub(super) deadline: Instant,
}

impl<'a> Route<'a> {
    pub(super) fn of(spec: &'a CheckSpec, origin: Origin, deadline: Instant) -> Self {
        Self { policy: &spec.dial, connect_timeout: spec.connect_timeout, origin, deadline }
    }
}

/// A TCP connection that stands.
#[derive(Debug)]
pub(super) struct Connected {
    /// With `TCP_NODELAY`.
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

/// Makes connections. Made once and shared by all kinds of checks: it holds the authorities and the settings of TLS.
#[derive(Debug)]
pub struct Dialler {
    outbound: Arc<Outbound>,
    tls: tls::Policies,
}

impl Dialler {
    /// Reads the authorities of the machine, which takes some milliseconds.
    ///
    /// # Errors
    /// When TLS cannot be spoken at all.
    pub fn new(outbound: Arc<Outbound>) -> Result<Self, TlsError> {
        Ok(Self { outbound, tls: tls::Policies::new(Trust::load())? })
    }

    /// Connects to `host` (a name or an address, which may be in brackets): to its addresses one after another, each for
    /// at most `connect_timeout` or its share of the time, until one of them answers. Every one that does not is noted.
    ///
    /// Leaves the trace in [`Phase::Connect`]: where [`secure`](Self::secure) does not follow, the caller enters what does.
    ///
    /// # Errors
    /// As the name cannot be looked up, is not to be connected to, or no address answered.
    pub(super) async fn dial(
        &self,
        host: &str,
        port: u16,
        route: &Route<'_>,
        trace: &Trace,
    ) -> Result<Connected, Failure> {
        let addresses = self.resolve(host, port, route, trace).await?;
        trace.enter(Phase::Connect);
        let mut failures: Vec<(IpAddr, Failure)> = Vec::new();
        for (i, ip) in addresses.iter().enumerate() {
            let address = SocketAddr::new(*ip, port);
            let limit = share(route, addresses.len() - i);
            let began = Instant::now();
            let connecting = connect(address, route.policy.source_ip);
            let ended = match limit {
                Some(limit) => timeout(limit, connecting).await,
                None => Ok(connecting.await),
            };
            let error = match ended {
                Ok(Ok(stream)) => {
                    trace.dialled(address, began.elapsed(), None);
                    return Ok(Connected { stream, peer: address });
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let failure = |peer: &str| match &error {
                Some(error) => error.failure(peer),
                None => failure::connect_timeout(peer, limit.unwrap_or_default()),
            };
            trace.dialled(address, began.elapsed(), Some(failure(&address.to_string()).message));
            let told = failure(&trace.peer());
            if error.as_ref().is_some_and(ConnectError::is_own_trouble) {
                trace.in_own_trouble();
                return Err(told);
            }
            failures.push((*ip, told));
        }
        Err(failure::of_addresses(&trace.target(), failures))
    }

    /// The addresses that are dialled, at least one. Notes the phase.
    ///
    /// # Errors
    /// As the name cannot be looked up, or is not to be connected to.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
        route: &Route<'_>,
        trace: &Trace,
    ) -> Result<Vec<IpAddr>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let family = route.policy.family();
        let literal = bare.parse::<IpAddr>().ok();
        // A name that is not looked up has no phase of it.
        let known = literal.or_else(|| route.policy.resolve.get(&bare.to_ascii_lowercase()).copied());
        trace.begin(host, port, known);
        let Some(address) = known else {
            let policy = route.policy;
            let addresses = self.outbound.resolve_by(policy.resolver, bare, family, route.origin).await?;
            trace.resolved(addresses.clone());
            return Ok(addresses);
        };
        if let Err(refused) = self.outbound.examine(address, route.origin) {
            trace.refuse_hop();
            return Err(refused);
        }
        if !family.has(address) {
            trace.refuse_hop();
            let wanted = if family == IpFamily::V4 { "IPv4" } else { "IPv6" };
            let message = format!("{address} is no {wanted} address, as `ip_family` or `source_ip` asks for");
            return Err(Failure::new(FailureKind::ConnectUnreachable, message));
        }
        if literal.is_none() {
            trace.resolved(vec![address]);
        }
        Ok(vec![address])
    }
}

/// How long an address has, with `left` of them to go, itself included; `None`: what is left of the attempt.
fn share(route: &Route<'_>, left: usize) -> Option<Duration> {
    route.connect_timeout.or_else(|| {
        let remaining = route.deadline.saturating_duration_since(Instant::now());
        (left > 1).then(|| (remaining / u32::try_from(left).unwrap_or(u32::MAX)).min(MAX_SHARE))
    })
}

#[derive(Debug)]
enum ConnectError {
    /// Our own address cannot be used.
    Source(IpAddr, io::Error),
    Connect(io::Error),
}

impl ConnectError {
    /// One sentence about `peer`.
    fn failure(&self, peer: &str) -> Failure {
        match self {
            Self::Connect(error) => failure::of_connect(error, peer),
            Self::Source(source, error) => {
                let why = failure::shown(&error.to_string());
                let message = format!("{peer} cannot be reached from {source}, as `source_ip` asks for: {why}");
                Failure::new(FailureKind::ConnectUnreachable, message)
            }
        }
    }

    fn is_own_trouble(&self) -> bool {
        match self {
            Self::Connect(error) => failure::is_own_trouble(error),
            // A source that this machine does not have is a setting of the endpoint's.
            Self::Source(_, error) => failure::is_own_trouble(error) && error.kind() != io::ErrorKind::AddrNotAvailable,
        }
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, ConnectError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(ConnectError::Connect)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| ConnectError::Source(source, error))?;
    }
    let stream = socket.connect(address).await.map_err(ConnectError::Connect)?;
    stream.set_nodelay(true).map_err(ConnectError::Connect)?;
    Ok(stream)
}
