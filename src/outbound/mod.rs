//! From names to the addresses that are connected to: the one place in which checks and channels look names up, and
//! where the outbound policy is applied.
//!
//! What [`Outbound`] gives is what is connected to. Nobody looks a name up a second time, so an answer that changes in
//! between changes nothing. It opens no connection but those to the resolver, and decides nothing about what was
//! configured, which goes anywhere.

mod server;
mod system;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use url::Url;

use crate::domain::dial::IpFamily;
use crate::domain::endpoint::Origin;
use crate::domain::outbound::{OutboundPolicy, Refused, address_of};
use crate::domain::outcome::{Failure, FailureKind};

/// Of one name, more addresses than these are never tried; the others are left out.
const MAX_ADDRESSES: usize = 64;

/// Of more servers that endpoints have of their own, all are forgotten and made again as needed: each holds a few
/// kilobytes, and no connection.
const MAX_SERVERS: usize = 64;

/// Looks a name up; an empty answer is no failure yet.
pub(crate) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<IpAddr>, Failure>> + Send + Sync>;

/// Why nothing is connected to, on its way through a library's errors.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Unreachable(pub Failure);

/// Names and policy. Shared by all checks and channels as an `Arc`.
pub struct Outbound {
    lookup: Lookup,
    /// The server that is asked for names, where one was chosen.
    resolver: Option<SocketAddr>,
    /// Of endpoints with a resolver of their own.
    servers: Mutex<HashMap<SocketAddr, Lookup>>,
    policy: OutboundPolicy,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Default for Outbound {
    /// As if nothing were configured: the system's lookup, and the policy as it is by default.
    fn default() -> Self {
        Self { lookup: system::lookup(), resolver: None, servers: Mutex::default(), policy: OutboundPolicy::default() }
    }
}

impl Outbound {
    /// `resolver` is the server that is asked for names; `None`: as every program of the machine does.
    ///
    /// # Errors
    /// One sentence, when the server cannot be asked at all.
    pub fn new(resolver: Option<SocketAddr>, policy: OutboundPolicy) -> Result<Self, String> {
        let lookup = match resolver {
            None => system::lookup(),
            Some(server) => server::lookup(server)?,
        };
        Ok(Self { lookup, resolver, servers: Mutex::default(), policy })
    }

    #[cfg(test)]
    pub(crate) fn with_lookup(lookup: Lookup, policy: OutboundPolicy) -> Self {
        Self { lookup, resolver: None, servers: Mutex::default(), policy }
    }

    /// The servers that are asked for names: the one that was chosen, or those of the machine, read anew.
    pub fn name_servers(&self) -> Vec<SocketAddr> {
        self.resolver.map_or_else(system::name_servers, |server| vec![server])
    }

    /// The addresses that a name leads to and that something of `origin` may connect to: at least one. If some are
    /// refused and others are not, those that are not.
    ///
    /// # Errors
    /// As the name cannot be looked up, has no address, or has none that may be connected to.
    pub async fn resolve(&self, name: &str, origin: Origin) -> Result<Vec<IpAddr>, Failure> {
        self.resolve_by(None, name, IpFamily::Any, origin).await
    }

    /// The same, asking the server of an endpoint's own if it has one, and with addresses of one family only.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); also where something of `origin` may not connect to the server.
    pub async fn resolve_by(
        &self,
        server: Option<SocketAddr>,
        name: &str,
        family: IpFamily,
        origin: Origin,
    ) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse() {
            return self.examine(address, origin).map(|()| vec![address]);
        }
        let lookup = match server {
            None => Arc::clone(&self.lookup),
            Some(server) => {
                self.examine(server.ip(), origin)?;
                self.server(server)?
            }
        };
        let mut addresses = lookup(name.to_owned()).await?;
        if !addresses.is_empty() && family != IpFamily::Any {
            addresses.retain(|address| family.has(*address));
            if addresses.is_empty() {
                return Err(no_records_of(name, family));
            }
        }
        let mut refused: Option<Refused> = None;
        if origin == Origin::Api {
            addresses.retain(|address| match self.policy.examine(*address) {
                Ok(()) => true,
                Err(why) => {
                    refused.get_or_insert(why);
                    false
                }
            });
        }
        addresses.truncate(MAX_ADDRESSES);
        match refused {
            _ if !addresses.is_empty() => Ok(addresses),
            None => Err(no_records(name)),
            Some(refused) => Err(refusal(&format!(" to {name}"), &refused)),
        }
    }

    fn server(&self, server: SocketAddr) -> Result<Lookup, Failure> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = servers.get(&server) {
            return Ok(Arc::clone(lookup));
        }
        let lookup = server::lookup(server).map_err(|why| Failure::new(FailureKind::DnsServfail, why))?;
        if servers.len() >= MAX_SERVERS {
            servers.clear();
        }
        servers.insert(server, Arc::clone(&lookup));
        Ok(lookup)
    }

    /// Whether something of `origin` may connect to an address.
    ///
    /// # Errors
    /// Why not.
    pub fn examine(&self, address: IpAddr, origin: Origin) -> Result<(), Failure> {
        match origin {
            Origin::Config => Ok(()),
            Origin::Api => self.policy.examine(address).map_err(|refused| refusal("", &refused)),
        }
    }

    /// The same for the host of a URL, if it is an address: libraries ask for names only.
    ///
    /// # Errors
    /// As [`examine`](Self::examine).
    pub fn examine_url(&self, url: &Url, origin: Origin) -> Result<(), Failure> {
        address_of(url).map_or(Ok(()), |address| self.examine(address, origin))
    }
}

fn refusal(to: &str, refused: &Refused) -> Failure {
    let message = format!("The policy for what is made through the API refuses to connect{to}: {refused}");
    Failure::new(FailureKind::OutboundRefused, message)
}

/// The name does not exist.
fn no_such_name(name: &str) -> Failure {
    Failure::new(FailureKind::DnsNxdomain, format!("The name {name} does not exist (NXDOMAIN)"))
}

/// The name exists, but has no address.
fn no_records(name: &str) -> Failure {
    Failure::new(FailureKind::DnsNoRecords, format!("The name {name} has no address"))
}

/// The name has addresses, but not of the family that is wanted.
fn no_records_of(name: &str, family: IpFamily) -> Failure {
    let family = if family == IpFamily::V4 { "IPv4" } else { "IPv6" };
    Failure::new(FailureKind::DnsNoRecords, format!("The name {name} has no {family} address"))
}

/// The lookup failed, which says nothing of the name.
fn failed(kind: FailureKind, name: &str, why: &str) -> Failure {
    Failure::new(kind, format!("The name {name} could not be looked up: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(addresses: &[&str]) -> Outbound {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let lookup: Lookup = Arc::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))));
        Outbound::with_lookup(lookup, OutboundPolicy::default())
    }

    #[tokio::test]
    async fn only_the_allowed_addresses_of_a_name_are_connected_to() {
        let outbound = answering(&["169.254.169.254", "127.0.0.1", "::ffff:169.254.169.254", "fe80::1"]);
        let allowed: [IpAddr; 1] = ["127.0.0.1".parse().unwrap()];
        assert_eq!(outbound.resolve("shop.example", Origin::Api).await.unwrap(), allowed);
        assert_eq!(outbound.resolve("shop.example", Origin::Config).await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_name_without_an_allowed_address_is_refused() {
        let failure =
            answering(&["fe80::1", "169.254.169.254"]).resolve("shop.example", Origin::Api).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::OutboundRefused);
        let message = "The policy for what is made through the API refuses to connect to shop.example: fe80::1 is a \
                       link-local address";
        assert_eq!(failure.message, message);
        let nothing = answering(&[]).resolve("shop.example", Origin::Api).await.unwrap_err();
        assert_eq!(nothing.kind, FailureKind::DnsNoRecords);
    }

    #[tokio::test]
    async fn an_address_is_examined_without_being_looked_up() {
        let outbound = answering(&["8.8.8.8"]);
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "[fe80::1]", "0.0.0.0"] {
            let failure = outbound.resolve(address, Origin::Api).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::OutboundRefused, "{address}");
            assert_eq!(outbound.resolve(address, Origin::Config).await.unwrap().len(), 1);
        }
        let url = "http://2852039166/".parse().unwrap();
        let message = "The policy for what is made through the API refuses to connect: 169.254.169.254 is an address at \
                       which a cloud tells its machines' secrets";
        assert_eq!(outbound.examine_url(&url, Origin::Api).unwrap_err().message, message);
        assert_eq!(outbound.examine_url(&url, Origin::Config), Ok(()));
    }

    #[tokio::test]
    async fn of_very_many_addresses_the_first_are_tried() {
        let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let lookup: Lookup = Arc::new(move |_| Box::pin(std::future::ready(Ok(many.clone()))));
        let outbound = Outbound::with_lookup(lookup, OutboundPolicy::default());
        assert_eq!(outbound.resolve("shop.example", Origin::Config).await.unwrap().len(), MAX_ADDRESSES);
    }
}
