//! The connections to a mail server: each to an address that was looked up and examined for the mail at hand, while
//! TLS goes by the server's name.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::response::Response;
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::domain::outcome::Failure;
use crate::notify::reach::Reach;

/// Of connecting, and of each command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections are kept for the next mail so long, and so many of them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_CONNECTIONS: u32 = 2;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Why a mail was not taken.
#[derive(Debug)]
pub(super) enum Failed {
    /// There is no address to connect to.
    NoAddress(Failure),
    Smtp(smtp::Error),
}

pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) login: Option<Credentials>,
    pub(super) reach: Reach,
    /// The connections to the address that took the last mail. They serve as long as the name leads there.
    kept: Mutex<Option<(IpAddr, Transport)>>,
}

impl Server {
    pub(super) fn new(host: String, port: u16, tls: Tls, login: Option<Credentials>, reach: Reach) -> Self {
        Self { host, port, tls, login, reach, kept: Mutex::new(None) }
    }

    /// Hands one mail over. Where an address cannot be connected to, the next one is tried.
    ///
    /// # Errors
    /// Those of the last address.
    pub(super) async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<Response, Failed> {
        let mut addresses = self.reach.addresses(&self.host).await.map_err(Failed::NoAddress)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = kept.filter(|(address, _)| addresses.contains(address));
        if let Some((known, _)) = &kept {
            // What answered last time first.
            addresses.sort_by_key(|address| address != known);
        }
        let mut kept = kept.map(|(_, transport)| transport);
        let mut tried = Err(Failed::NoAddress(self.no_address()));
        for address in addresses {
            let transport = kept.take().unwrap_or_else(|| self.transport(address));
            match transport.send_raw(envelope, mail).await {
                Err(error) if never_connected(&error) => tried = Err(Failed::Smtp(error)),
                answered => {
                    *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, transport));
                    return answered.map_err(Failed::Smtp);
                }
            }
        }
        tried
    }

    fn no_address(&self) -> Failure {
        let message = format!("The name {} has no address", self.host);
        Failure::new(crate::domain::outcome::FailureKind::DnsNoRecords, message)
    }

    /// Needs a runtime: the connection pool keeps house on it.
    fn transport(&self, address: IpAddr) -> Transport {
        // An address is not looked up.
        let mut builder = Transport::builder_dangerous(address.to_string())
            .port(self.port)
            .timeout(Some(COMMAND_TIMEOUT))
            .pool_config(PoolConfig::new().max_size(MAX_CONNECTIONS).idle_timeout(IDLE_TIMEOUT))
            .tls(self.tls.clone());
        if let Some(login) = &self.login {
            builder = builder.credentials(login.clone());
        }
        builder.build()
    }
}

/// Whether there was no connection at all, so that nothing of the mail can have arrived. The library says so in words
/// only; an established connection does not end with one of these.
fn never_connected(error: &smtp::Error) -> bool {
    use io::ErrorKind as E;
    let mut causes = std::iter::successors(error.source(), |&error| error.source());
    let system = causes.find_map(|error| error.downcast_ref::<io::Error>());
    system.is_some_and(|error| {
        matches!(error.kind(), E::ConnectionRefused | E::HostUnreachable | E::NetworkUnreachable)
            || (error.kind() == E::TimedOut && error.to_string() == "connection timed out")
    })
}
