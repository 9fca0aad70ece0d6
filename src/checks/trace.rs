//! Where an attempt is, how long each phase took, and what the connection's hooks saw.
//!
//! The certificate verifier is called deep inside the TLS library; the trace of the attempt reaches it through a
//! task-local.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;

use super::certificate;
use crate::domain::check::{MAX_CHAIN, MAX_DIALLED, Observation, Timings};
use crate::domain::connectivity::Reaches;
use crate::domain::dial::{Dialled, TlsSeen};

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
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    started_at: Instant,
    phase: Phase,
    phase_began_at: Instant,
    /// By phase, of the hop under way; `None` was not reached.
    spent: [Option<Duration>; 5],
    /// By phase, of the hops before.
    spent_before: [Option<Duration>; 5],
    hop_began_at: Instant,
    /// `host:port` of the hop under way.
    target: String,
    port: u16,
    /// What the name of this hop resolved to; empty for an address.
    resolved: Vec<IpAddr>,
    is_address: bool,
    /// Where this hop leads.
    reaches: Reaches,
    dialled: Vec<Dialled>,
    /// The other end of the connection of this hop.
    connected: Option<SocketAddr>,
    /// The certificates of the last TLS connection, the leaf first, accepted or not.
    chain: Vec<CertificateDer<'static>>,
    refusal: Option<Refusal>,
    tls: Option<TlsSeen>,
    own_trouble: bool,
    stood_still: Duration,
    proxy: Option<String>,
    is_tunnel: bool,
}

impl Notes {
    fn enter(&mut self, phase: Phase) {
        self.leave();
        self.phase = phase;
        self.spent[phase as usize].get_or_insert_default();
    }

    /// The phase before is over; whether this one comes is not known yet.
    fn pass_to(&mut self, phase: Phase) {
        self.leave();
        self.phase = phase;
    }

    fn spent_in_all(&self) -> [Option<Duration>; 5] {
        std::array::from_fn(|i| match (self.spent_before[i], self.spent[i]) {
            (Some(before), Some(now)) => Some(before + now),
            (before, now) => before.or(now),
        })
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
    pub(super) fn start() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            notes: Mutex::new(Notes {
                started_at: now,
                phase: Phase::Dns,
                phase_began_at: now,
                spent: [None; 5],
                spent_before: [None; 5],
                hop_began_at: now,
                target: String::new(),
                port: 0,
                resolved: Vec::new(),
                is_address: false,
                reaches: Reaches::default(),
                dialled: Vec::new(),
                connected: None,
                chain: Vec::new(),
                refusal: None,
                tls: None,
                own_trouble: false,
                stood_still: Duration::ZERO,
                proxy: None,
                is_tunnel: false,
            }),
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

    /// A connection to `host` is wanted; `address` is there where no name is looked up. Begins the hop: by the lookup,
    /// or by connecting.
    pub(super) fn begin(&self, host: &str, port: u16, address: Option<IpAddr>) {
        let mut notes = self.lock();
        notes.port = port;
        notes.target = target(host, port);
        notes.is_tunnel = false;
        notes.is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        notes.resolved.clear();
        notes.connected = None;
        notes.tls = None;
        notes.reaches = Reaches::of(address);
        if address.is_some() {
            notes.pass_to(Phase::Connect);
        } else {
            notes.enter(Phase::Dns);
        }
    }

    /// These servers are asked, one of them at first, without a name of them being looked up.
    pub(super) fn asks(&self, servers: &[SocketAddr]) {
        let mut notes = self.lock();
        notes.target = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        notes.reaches = Reaches::of(servers.iter().map(SocketAddr::ip));
        notes.enter(Phase::Connect);
    }

    /// An address was dialled; `failure` says why there is no connection.
    pub(super) fn dialled(&self, address: SocketAddr, took: Duration, failure: Option<String>) {
        let mut notes = self.lock();
        if failure.is_none() {
            notes.connected = Some(address);
        }
        if notes.dialled.len() >= MAX_DIALLED {
            notes.dialled.remove(0);
        }
        notes.dialled.push(Dialled { address, took_us: rounded_us(took), failure });
    }

    pub(super) fn secured(&self, tls: TlsSeen) {
        self.lock().tls = Some(tls);
    }

    /// For want of our own files, ports or memory: what failed says nothing of the other side.
    pub(super) fn in_own_trouble(&self) {
        self.lock().own_trouble = true;
    }

    /// This process was not running for so long.
    pub(super) fn stand_still(&self, time: Duration) {
        self.lock().stood_still += time;
    }

    /// For how long this process was not running during the attempt, as far as that was noticed.
    pub(super) fn stood_still(&self) -> Duration {
        self.lock().stood_still
    }

    /// The hop goes by way of a proxy (`host:port`), which is what is connected to.
    pub(super) fn goes_by(&self, proxy: &str) {
        self.lock().proxy = Some(proxy.to_owned());
    }

    /// The proxy has connected to where the hop leads.
    pub(super) fn tunnelled(&self, host: &str, port: u16) {
        let mut notes = self.lock();
        notes.target = target(host, port);
        notes.is_tunnel = true;
    }

    /// The proxy that is not passed yet.
    pub(super) fn proxy(&self) -> Option<String> {
        let notes = self.lock();
        notes.proxy.clone().filter(|_| !notes.is_tunnel)
    }

    /// A connection that an earlier attempt has made is used again: what was seen then still holds.
    pub(super) fn reuse(&self, peer: SocketAddr, chain: Vec<CertificateDer<'static>>, tls: Option<TlsSeen>) {
        let mut notes = self.lock();
        notes.connected = Some(peer);
        (notes.chain, notes.tls) = (chain, tls);
        notes.enter(Phase::FirstByte);
    }

    /// A redirect leads on: how long the hop took that is over.
    pub(super) fn hop_over(&self) -> Timings {
        let mut notes = self.lock();
        notes.leave();
        let took = timings(&notes.spent, notes.phase_began_at - notes.hop_began_at);
        notes.spent_before = notes.spent_in_all();
        notes.spent = [None; 5];
        notes.hop_began_at = notes.phase_began_at;
        took
    }

    /// Everything that is seen of a connection, into the observation. The last that is asked of a trace.
    pub(super) fn tell(&self, seen: &mut Observation) {
        seen.timings = self.timings();
        let notes = self.lock();
        seen.reaches = notes.reaches;
        seen.own_trouble |= notes.own_trouble;
        seen.dialled.clone_from(&notes.dialled);
        seen.tls.clone_from(&notes.tls);
        seen.proxy.clone_from(&notes.proxy);
        let chain = notes.chain.clone();
        drop(notes);
        seen.remote_address = self.connected_to();
        let mut chain = chain.iter().map(|der| certificate::read(der));
        seen.certificate = chain.next().flatten();
        seen.issuers = chain.flatten().collect();
    }

    /// A request is not made; the connection of the hop before is over.
    pub(super) fn refuse_hop(&self) {
        let mut notes = self.lock();
        notes.leave();
        (notes.phase, notes.is_address, notes.connected) = (Phase::Dns, false, None);
        notes.resolved.clear();
    }

    /// The name was looked up; connecting may follow.
    pub(super) fn resolved(&self, addresses: Vec<IpAddr>) {
        let mut notes = self.lock();
        notes.reaches = Reaches::of(addresses.iter().copied());
        notes.resolved = addresses;
        notes.pass_to(Phase::Connect);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.lock().enter(phase);
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(super) fn saw_chain(&self, leaf: &CertificateDer<'_>, issuers: &[CertificateDer<'_>]) {
        let chain = std::iter::once(leaf).chain(issuers).take(MAX_CHAIN).map(|der| der.clone().into_owned());
        self.lock().chain = chain.collect();
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.lock().refusal = Some(refusal);
    }

    /// The certificates of the last TLS connection, the leaf first, accepted or not.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.lock().chain.clone()
    }

    pub(super) fn tls(&self) -> Option<TlsSeen> {
        self.lock().tls.clone()
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.lock().refusal.clone()
    }

    /// Who is talked to, for a sentence: `127.0.0.1:80`, `shop.example:443 (203.0.113.7)`.
    pub(super) fn peer(&self) -> String {
        let notes = self.lock();
        if let Some(connected) = notes.connected.filter(|_| !notes.is_address && !notes.is_tunnel) {
            return format!("{} ({})", notes.target, connected.ip());
        }
        let mut addresses: Vec<String> = notes.resolved.iter().take(3).map(ToString::to_string).collect();
        if notes.resolved.len() > addresses.len() {
            addresses.push("…".to_owned());
        }
        if addresses.is_empty() { notes.target.clone() } else { format!("{} ({})", notes.target, addresses.join(", ")) }
    }

    /// The name or address that is asked, with its port.
    pub(super) fn target(&self) -> String {
        self.lock().target.clone()
    }

    /// `ip:port` of the other end of the connection, where it stands.
    pub(super) fn connected_to(&self) -> Option<String> {
        self.lock().connected.map(|address| address.to_string())
    }

    /// The time of every phase until now, the one under way included.
    pub(super) fn timings(&self) -> Timings {
        let mut notes = self.lock();
        notes.leave();
        timings(&notes.spent_in_all(), notes.phase_began_at - notes.started_at)
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timings(spent: &[Option<Duration>; 5], total: Duration) -> Timings {
    let of = |phase: Phase| spent[phase as usize].map(rounded_us);
    Timings {
        dns_us: of(Phase::Dns),
        connect_us: of(Phase::Connect),
        tls_us: of(Phase::Tls),
        first_byte_us: of(Phase::FirstByte),
        transfer_us: of(Phase::Transfer),
        total_us: rounded_us(total),
    }
}

fn target(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Microseconds, to the nearest ten.
fn rounded_us(time: Duration) -> u32 {
    u32::try_from((time.as_micros() + 5) / 10 * 10).unwrap_or(u32::MAX)
}
