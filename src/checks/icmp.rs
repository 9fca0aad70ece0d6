//! The check of an `icmp` endpoint: echo requests to the first address of a name, and the round trips of those that come
//! back.
//!
//! By a datagram socket, which any process may have whose group is in `net.ipv4.ping_group_range`, or else by a raw one,
//! for which the system asks for `CAP_NET_RAW`. Where neither is permitted nothing is said of the endpoint.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::dial::Dialler;
use super::kinds::Attempt;
use super::trace::Phase;
use crate::domain::check::{Answer, Echo, EchoSpec};
use crate::domain::outcome::{Failure, FailureKind};

/// A request that is not answered within this time is followed by the next one.
const PAUSE: Duration = Duration::from_millis(200);
/// When some have come back, the others are not waited for longer.
const LATE: Duration = Duration::from_secs(1);
/// By which our own requests are known: sockets that are not datagram ones get the answers of everybody's.
const MARK_BYTES: usize = 16;
/// As `ping` sends.
const PAYLOAD_BYTES: usize = 56;

/// Asks for echoes. Keeps nothing but whether it has told that it may not.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    has_warned: AtomicBool,
}

impl Echoes {
    pub(super) async fn examine(&self, dialler: &Dialler, spec: EchoSpec, on: &mut Attempt<'_>) -> Result<(), Failure> {
        let host = on.host().trim_start_matches('[').trim_end_matches(']');
        let addresses = dialler.resolve(host, 0, &on.route(), &on.trace).await?;
        let Some(address) = addresses.first().copied() else {
            return Err(Failure::new(FailureKind::DnsNoRecords, format!("The name {host} has no address")));
        };
        let peer = if host.parse() == Ok(address) { host.to_owned() } else { format!("{host} ({address})") };
        let line = match Line::open(address) {
            Ok(line) => line,
            Err(error) if is_forbidden(&error) => {
                self.warn();
                on.seen.not_permitted = true;
                return Err(Failure::new(FailureKind::ConnectUnreachable, NOT_PERMITTED));
            }
            Err(error) => return Err(on.failed(&error, &peer)),
        };
        on.address = Some(address.to_string());
        on.trace.enter(Phase::FirstByte);
        line.ask(spec, on).await.map_err(|error| on.failed(&error, &peer))?;
        Ok(())
    }

    fn warn(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("no icmp check can be made: {NOT_PERMITTED}");
        }
    }
}

const NOT_PERMITTED: &str = "the system does not let this process send echo requests: let its group be in \
                             net.ipv4.ping_group_range, or give it CAP_NET_RAW";

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// A socket to one address.
struct Line {
    socket: UdpSocket,
    is_v4: bool,
    mark: [u8; MARK_BYTES],
}

impl Line {
    fn open(address: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
            .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
        socket.set_nonblocking(true)?;
        // Answers of others do not reach it.
        socket.connect(&SocketAddr::new(address, 0).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let mut mark = [0; MARK_BYTES];
        fastrand::fill(&mut mark);
        Ok(Self { socket, is_v4: address.is_ipv4(), mark })
    }

    /// One request after another, each when the one before was answered or [`PAUSE`] is over. What has come back is noted
    /// at once, so that it counts also when the time is over.
    async fn ask(&self, spec: EchoSpec, on: &mut Attempt<'_>) -> io::Result<()> {
        let left = on.deadline.saturating_duration_since(Instant::now());
        // Later when this process stood still.
        let (deadline, timeout, trace) = (on.deadline, on.spec.timeout, Arc::clone(&on.trace));
        let ends_at = || deadline + trace.stood_still().min(timeout);
        let pause = PAUSE.min(left / (u32::from(spec.count) + 1));
        let mut sent_at: Vec<Option<Instant>> = Vec::new();
        let mut round_trips = Vec::new();
        let mut note = |sent: usize, round_trips: &[u32]| {
            let echo = Echo::of(u16::try_from(sent).unwrap_or(u16::MAX), round_trips);
            if let Some(times) = echo.times {
                // How often it is asked is no matter of the other side.
                on.round_trip = Some(times.mean_us);
            }
            on.seen.answer = Some(Answer::Echo(echo));
        };
        for number in 0..spec.count {
            self.socket.send(&request(self.is_v4, number, &self.mark)).await?;
            sent_at.push(Some(Instant::now()));
            note(sent_at.len(), &round_trips);
            let until = Instant::now() + pause;
            while round_trips.len() < sent_at.len() {
                let Ok(answered) = timeout_at(until, self.answer(&mut sent_at)).await else { break };
                round_trips.push(answered?);
                note(sent_at.len(), &round_trips);
            }
        }
        while round_trips.len() < sent_at.len() {
            let late = if round_trips.is_empty() { ends_at() } else { ends_at().min(Instant::now() + LATE) };
            let Ok(answered) = timeout_at(late, self.answer(&mut sent_at)).await else {
                if round_trips.is_empty() && Instant::now() < ends_at() {
                    continue;
                }
                break;
            };
            round_trips.push(answered?);
            note(sent_at.len(), &round_trips);
        }
        Ok(())
    }

    /// The round trip of the next answer to a request that was not answered yet, in microseconds.
    async fn answer(&self, sent_at: &mut [Option<Instant>]) -> io::Result<u32> {
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            let now = Instant::now();
            let Some(number) = answered(self.is_v4, &buffer[..length], &self.mark) else { continue };
            if let Some(began) = sent_at.get_mut(usize::from(number)).and_then(Option::take) {
                return Ok(u32::try_from((now - began).as_micros()).unwrap_or(u32::MAX));
            }
        }
    }
}

/// An echo request with its number in the sequence. The system fills in the identifier of a datagram socket, and the
/// checksum of ICMPv6.
fn request(is_v4: bool, number: u16, mark: &[u8; MARK_BYTES]) -> Vec<u8> {
    let mut packet = vec![if is_v4 { 8 } else { 128 }, 0, 0, 0];
    packet.extend(&mark[..2]);
    packet.extend(number.to_be_bytes());
    packet.extend(mark);
    packet.resize(8 + PAYLOAD_BYTES, 0);
    if is_v4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The number of the request that a packet answers, if it is one of ours.
fn answered(is_v4: bool, packet: &[u8], mark: &[u8; MARK_BYTES]) -> Option<u16> {
    let packet = match packet.first() {
        // What raw sockets of IPv4 receive begins with the header of IP.
        Some(first) if is_v4 && first >> 4 == 4 => packet.get(usize::from(first & 0x0f) * 4..)?,
        _ => packet,
    };
    let is_reply = packet.first() == Some(if is_v4 { &0 } else { &129 }) && packet.get(1) == Some(&0);
    let is_ours = packet.get(8..8 + MARK_BYTES) == Some(mark);
    let number = packet.get(6..8)?;
    (is_reply && is_ours).then(|| u16::from_be_bytes([number[0], number[1]]))
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in packet.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_mark_and_its_answer_by_its_number() {
        let mark = *b"0123456789abcdef";
        let mut packet = request(true, 7, &mark);
        assert_eq!((packet.len(), packet[0], checksum(&packet)), (64, 8, 0));
        assert_eq!(answered(true, &packet, &mark), None, "a request is no answer");
        packet[0] = 0;
        assert_eq!(answered(true, &packet, &mark), Some(7));
        assert_eq!(answered(true, &packet, b"of somebody else"), None);
        let mut with_header = vec![0x46];
        with_header.resize(24, 0);
        with_header.extend(&packet);
        assert_eq!(answered(true, &with_header, &mark), Some(7), "a header with options");
        for length in 0..24 {
            assert_eq!(answered(true, &packet[..length], &mark), None);
        }
        let mut packet = request(false, 9, &mark);
        assert_eq!(packet[0], 128);
        packet[0] = 129;
        assert_eq!((answered(false, &packet, &mark), answered(true, &packet, &mark)), (Some(9), None));
    }
}
