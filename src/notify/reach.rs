//! Where a channel may connect to. Its clients ask nobody else for addresses, so that those which it gives are those
//! which are connected to.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::Addrs;
use url::Url;

use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};
use crate::outbound::{Outbound, Unreachable};

use super::channel::SendError;

/// Of the channels of one origin.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    outbound: Arc<Outbound>,
    origin: Origin,
}

impl Reach {
    pub(super) fn new(outbound: Arc<Outbound>, origin: Origin) -> Self {
        Self { outbound, origin }
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// At least one.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        self.outbound.resolve(host, self.origin).await
    }

    /// For a URL whose host is an address, about which no client asks.
    pub(super) fn examine(&self, url: &Url) -> Result<(), SendError> {
        self.outbound.examine_url(url, self.origin).map_err(|failure| not_connected(&failure, failure.message.clone()))
    }
}

/// What it means for a message that nothing was connected to for it. A refusal lasts until a person ends it.
pub(super) fn not_connected(failure: &Failure, reason: String) -> SendError {
    match failure.kind {
        FailureKind::OutboundRefused => SendError::lasting(reason),
        _ => SendError::not_taken(reason),
    }
}

/// That which kept a client from connecting, among the causes of its error.
pub(super) fn unreachable<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Failure> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|error| error.downcast_ref::<Unreachable>()).map(|unreachable| &unreachable.0)
}

impl reqwest::dns::Resolve for Reach {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let addresses = reach.addresses(name.as_str()).await.map_err(Unreachable)?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
