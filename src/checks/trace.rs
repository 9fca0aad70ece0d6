//! Where an attempt is, how long each phase took, and what the connection's hooks saw.
//!
//! The hooks (resolver, connector, session store, certificate verifier) are called deep inside the HTTP
//! library; the trace of the attempt reaches them through a task-local.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::Notify;
use tokio::time::Instant;
use url::{Host, Url};

use crate::domain::check::Timings;
use crate::domain::connectivity::Reaches;
use crate::domain::outbound;

tokio::task_local! {
    static CURRENT: Arc<Trace>;
}

/// What an attempt is doing. The order is that of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Dns,
    Connect,
    Tls,
    /// The connection stands; the request is sent and the headers are awaited.
    FirstByte,
    Transfer,
}

/// A served certificate chain that was refused, and when.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) error: rustls::Error,
    /// The leaf first, as served.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) at: UnixTime,
}

/// The shared notes of one attempt.
#[derive(Debug)]
pub(super) struct Trace {
    connect_timeout: Option<Duration>,
    notes: Mutex<Notes>,
    connecting: Notify,
}

#[derive(Debug)]
struct Notes {
    started_at: Instant,
    phase: Phase,
    phase_began_at: Instant,
    /// By phase, summed over redirects; `None` was not reached.
    spent: [Option<Duration>; 5],
    /// `host:port` of the hop under way.
    target: String,
    port: u16,
    /// What the name of this hop resolved to; empty for an address.
    resolved: Vec<IpAddr>,
    is_address: bool,
    /// Where this hop leads.
    reaches: Reaches,
    leaf: Option<CertificateDer<'static>>,
    refusal: Option<Refusal>,
}

impl Notes {
    fn enter(&mut self, phase: Phase) {
        self.leave();
        self.phase = phase;
        self.spent[phase as usize].get_or_insert_default();
    }

    /// Counts the time since the last change to the phase under way.
    fn leave(&mut self) {
        let now = Instant::now();
        if let Some(spent) = &mut self.spent[self.phase as usize] {
            *spent += now - self.phase_began_at;
        }
        self.phase_began_at = now;
    }
}

impl Trace {
    /// The attempt begins now.
    pub(super) fn start(connect_timeout: Option<Duration>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            connect_timeout,
            notes: Mutex::new(Notes {
                started_at: now,
                phase: Phase::Dns,
                phase_began_at: now,
                spent: [None; 5],
                target: String::new(),
                port: 0,
                resolved: Vec::new(),
                is_address: false,
                reaches: Reaches::default(),
                leaf: None,
                refusal: None,
            }),
            connecting: Notify::new(),
        })
    }

    /// The trace of the attempt in whose task the caller runs.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs `future` with this as its [`Self::current`] trace.
    pub(super) async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// A request to `url` begins: by looking up its name, or by connecting when it has an address.
    pub(super) fn begin_hop(&self, url: &Url) {
        let is_address = matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        let mut notes = self.lock();
        notes.port = url.port_or_known_default().unwrap_or_default();
        notes.target = format!("{}:{}", url.host_str().unwrap_or_default(), notes.port);
        notes.is_address = is_address;
        notes.resolved.clear();
        notes.reaches = Reaches::of(outbound::address_of(url));
        if is_address {
            notes.enter(Phase::Connect);
            drop(notes);
            self.connecting.notify_one();
        } else {
            notes.enter(Phase::Dns);
        }
    }

    /// A request is not made; the connection of the hop before is over.
    pub(super) fn refuse_hop(&self) {
        let mut notes = self.lock();
        notes.leave();
        (notes.phase, notes.is_address) = (Phase::Dns, false);
        notes.resolved.clear();
    }

    /// The name was looked up; connecting begins.
    pub(super) fn resolved(&self, addresses: Vec<IpAddr>) {
        let mut notes = self.lock();
        notes.reaches = Reaches::of(addresses.iter().copied());
        notes.resolved = addresses;
        notes.enter(Phase::Connect);
        drop(notes);
        self.connecting.notify_one();
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.lock().enter(phase);
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(super) fn saw_leaf(&self, leaf: CertificateDer<'static>) {
        self.lock().leaf = Some(leaf);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.lock().refusal = Some(refusal);
    }

    /// The leaf certificate of the last TLS connection, accepted or not.
    pub(super) fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.lock().leaf.clone()
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.lock().refusal.clone()
    }

    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Ends when connecting has taken longer than the connect timeout; never, if there is none or it was in time.
    pub(super) async fn connect_overdue(&self) {
        let Some(limit) = self.connect_timeout else { return std::future::pending().await };
        loop {
            let (phase, began_at) = {
                let notes = self.lock();
                (notes.phase, notes.phase_began_at)
            };
            match phase {
                Phase::Dns => self.connecting.notified().await,
                Phase::Connect if began_at.elapsed() >= limit => return,
                Phase::Connect => tokio::time::sleep_until(began_at + limit).await,
                Phase::Tls | Phase::FirstByte | Phase::Transfer => std::future::pending().await,
            }
        }
    }

    /// Who is talked to, for a sentence: `127.0.0.1:80`, `shop.example:443 (203.0.113.7)`.
    pub(super) fn peer(&self) -> String {
        let notes = self.lock();
        let mut addresses: Vec<String> = notes.resolved.iter().take(3).map(ToString::to_string).collect();
        if notes.resolved.len() > addresses.len() {
            addresses.push("…".to_owned());
        }
        if addresses.is_empty() { notes.target.clone() } else { format!("{} ({})", notes.target, addresses.join(", ")) }
    }

    /// Where the hop under way leads; nothing of a name that is not looked up.
    pub(super) fn reaches(&self) -> Reaches {
        self.lock().reaches
    }

    /// The name or address that is asked, with its port.
    pub(super) fn target(&self) -> String {
        self.lock().target.clone()
    }

    /// `ip:port` of the connection, where it stands and there was only one address to choose.
    pub(super) fn connected_to(&self) -> Option<String> {
        let notes = self.lock();
        match (notes.phase, notes.resolved.as_slice()) {
            (Phase::Dns | Phase::Connect, _) => None,
            _ if notes.is_address => Some(notes.target.clone()),
            (_, [one]) => Some(SocketAddr::new(*one, notes.port).to_string()),
            _ => None,
        }
    }

    /// The time of every phase until now, the one under way included.
    pub(super) fn timings(&self) -> Timings {
        let mut notes = self.lock();
        notes.leave();
        let of = |phase: Phase| notes.spent[phase as usize].map(rounded_us);
        Timings {
            dns_us: of(Phase::Dns),
            connect_us: of(Phase::Connect),
            tls_us: of(Phase::Tls),
            first_byte_us: of(Phase::FirstByte),
            transfer_us: of(Phase::Transfer),
            total_us: rounded_us(notes.phase_began_at - notes.started_at),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds, to the nearest ten.
fn rounded_us(time: Duration) -> u32 {
    u32::try_from((time.as_micros() + 5) / 10 * 10).unwrap_or(u32::MAX)
}
