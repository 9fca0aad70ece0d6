//! Asks the targets of `connectivity` whether our own network is there, all at once.
//!
//! Checks take no part in it: no permit of theirs is needed, and nothing is recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use super::Checker;
use crate::domain::check::{CheckSpec, KindSpec, RedirectPolicy, TlsPolicy};
use crate::domain::connectivity::{Probe, Reaches};
use crate::domain::dial::{DialPolicy, HttpVersion};
use crate::domain::endpoint::Origin;
use crate::domain::setting::ExpectedStatus;
use crate::outbound::Outbound;

/// How long a target has to answer, its lookup included.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Of the addresses of a name so many are tried, all at once.
const ADDRESSES: usize = 4;

/// The targets, and how they are asked.
#[derive(Debug)]
pub struct Prober {
    targets: Vec<Target>,
    /// How many answers are enough: when they are there, the others are not waited for.
    quorum: u32,
    outbound: Arc<Outbound>,
    checker: Arc<dyn Checker>,
}

#[derive(Debug)]
enum Target {
    /// Answers if it can be connected to.
    Tcp { host: String, port: u16 },
    /// Answers with any status.
    Web(Box<CheckSpec>),
}

impl Prober {
    /// `targets` as the configuration has them. Web targets are asked through `checker`, as endpoints of the configuration
    /// are.
    pub fn new(targets: &[Url], quorum: u32, outbound: Arc<Outbound>, checker: Arc<dyn Checker>) -> Self {
        Self { targets: targets.iter().map(Target::of).collect(), quorum, outbound, checker }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Asks all; ends after [`LIMIT`] at the latest, and once enough have answered. `began` is by the clock.
    pub async fn probe(&self, began: Duration) -> Probe {
        let deadline = Instant::now() + LIMIT;
        let mut asked: FuturesUnordered<_> = self.targets.iter().map(|target| self.ask(target, deadline)).collect();
        let (mut answered, mut reaches) = (0, Reaches::default());
        while let Some((has_answered, reach)) = asked.next().await {
            answered += u32::from(has_answered);
            reaches = reaches.and(reach);
            if answered >= self.quorum {
                break;
            }
        }
        Probe { began, answered, reaches }
    }

    /// Whether a target answers, and where it is.
    async fn ask(&self, target: &Target, deadline: Instant) -> (bool, Reaches) {
        match target {
            Target::Web(spec) => {
                let seen = self.checker.check(spec, Origin::Config, deadline).await;
                let reaches = if seen.reaches.is_empty() { Reaches::UNRESOLVED } else { seen.reaches };
                (seen.status_code.is_some(), reaches)
            }
            Target::Tcp { host, port } => {
                let lookup = tokio::time::timeout_at(deadline, self.outbound.resolve(host, Origin::Config));
                let Ok(Ok(addresses)) = lookup.await else { return (false, Reaches::UNRESOLVED) };
                let reaches = Reaches::of(addresses.iter().copied());
                let dial = |address| TcpStream::connect(SocketAddr::new(address, *port));
                let mut dialled: FuturesUnordered<_> = addresses.into_iter().take(ADDRESSES).map(dial).collect();
                let connected = async {
                    while let Some(connected) = dialled.next().await {
                        if connected.is_ok() {
                            return true;
                        }
                    }
                    false
                };
                (tokio::time::timeout_at(deadline, connected).await.unwrap_or(false), reaches)
            }
        }
    }
}

impl Target {
    fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        match url.port().filter(|_| url.scheme() == "tcp") {
            Some(port) => Self::Tcp { host: host.to_owned(), port },
            None => Self::Web(Box::new(spec(url.clone()))),
        }
    }
}

fn spec(url: Url) -> CheckSpec {
    CheckSpec {
        url,
        kind: KindSpec::Http,
        method: "GET".to_owned(),
        headers: std::collections::BTreeMap::new(),
        body: None,
        timeout: LIMIT,
        connect_timeout: None,
        dial: DialPolicy::default(),
        expected_status: ExpectedStatus::exactly(200),
        redirects: RedirectPolicy { follow: false, max: 0, ..RedirectPolicy::default() },
        tls: TlsPolicy::default(),
        auth: None,
        proxy: None,
        http_version: HttpVersion::Auto,
        reuse_connection: false,
        max_body_bytes: 0,
        user_agent: concat!("api-monitor/", env!("CARGO_PKG_VERSION")).to_owned(),
        redact: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::future::BoxFuture;
    use tokio::net::TcpListener;

    use super::*;
    use crate::domain::check::Observation;
    use crate::domain::connectivity::Reach;
    use crate::domain::outcome::{Failure, FailureKind};

    /// Answers with 500 from where the host of the URL says: `public`, `private`; nothing for `gone`.
    #[derive(Debug)]
    struct Scripted;

    impl Checker for Scripted {
        fn check<'a>(&'a self, spec: &'a CheckSpec, origin: Origin, _: Instant) -> BoxFuture<'a, Observation> {
            assert_eq!(origin, Origin::Config, "as the operator's own");
            let mut seen = Observation { status_code: Some(500), ..Observation::default() };
            match spec.url.host_str() {
                Some("public") => seen.reaches.add(Reach::Public),
                Some("private") => seen.reaches.add(Reach::Private),
                Some("slow") => return Box::pin(std::future::pending()),
                _ => {
                    let failure = Some(Failure::new(FailureKind::DnsNxdomain, "no such name"));
                    seen = Observation { failure, ..Observation::default() };
                }
            }
            Box::pin(std::future::ready(seen))
        }
    }

    async fn ask(targets: &[&str], quorum: u32) -> (u32, Reaches) {
        let targets: Vec<Url> = targets.iter().map(|target| target.parse().unwrap()).collect();
        let prober = Prober::new(&targets, quorum, Arc::new(Outbound::default()), Arc::new(Scripted));
        let probe = prober.probe(Duration::from_secs(7)).await;
        assert_eq!(probe.began, Duration::from_secs(7));
        (probe.answered, probe.reaches)
    }

    #[tokio::test]
    async fn any_answer_of_a_web_target_is_one_and_a_name_that_is_not_known_is_in_the_internet() {
        let both = Reaches::UNRESOLVED.and(Reaches::of([IpAddr::from(Ipv4Addr::new(10, 0, 0, 1))]));
        assert_eq!(ask(&["https://private/", "http://gone/"], 2).await, (1, both));
        assert_eq!(ask(&["https://gone/"], 1).await, (0, Reaches::UNRESOLVED));
    }

    #[tokio::test]
    async fn enough_answers_are_not_kept_waiting_for_the_others() {
        assert_eq!(ask(&["https://slow/", "https://public/"], 1).await.0, 1);
    }

    #[tokio::test]
    async fn a_port_that_can_be_connected_to_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        let here = Reaches::of([IpAddr::from(Ipv4Addr::LOCALHOST)]);
        assert_eq!(ask(&[&target], 1).await, (1, here));
        drop(listener);
        assert_eq!(ask(&[&target, "tcp://[::1]:1"], 1).await, (0, here));
    }
}
