//! From an error to its failure kind and one sentence for a person.
//!
//! The phase under way says which layer failed, the errors below the library's say how. Sentences name the
//! peer and the cause, and never a header, a URL's userinfo, or a body.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::{AlertDescription, InvalidMessage};

use super::certificate;
use super::trace::{Phase, Trace};
pub(super) use crate::domain::outcome::shown;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::setting::DurationSetting;

/// The attempt's time was over in the phase under way.
pub(super) fn timed_out(trace: &Trace, timeout: Duration, body_bytes: u64) -> Failure {
    if let (Phase::Dns | Phase::Connect, Some(proxy)) = (trace.phase(), trace.proxy()) {
        let message =
            format!("Request timed out after {} while waiting for the proxy {proxy}", DurationSetting(timeout));
        return Failure::new(FailureKind::ProxyFailed, message);
    }
    let (kind, doing) = match trace.phase() {
        Phase::Dns => (FailureKind::DnsTimeout, format!("looking up {}", trace.target())),
        Phase::Connect => (FailureKind::ConnectTimeout, format!("connecting to {}", trace.peer())),
        Phase::Tls => (FailureKind::TlsTimeout, format!("waiting for the TLS handshake with {}", trace.peer())),
        Phase::FirstByte => (FailureKind::TimeoutFirstByte, "waiting for the first byte".to_owned()),
        Phase::Transfer => (FailureKind::TimeoutBody, format!("reading the body ({body_bytes} bytes had come)")),
    };
    Failure::new(kind, format!("Request timed out after {} while {doing}", DurationSetting(timeout)))
}

/// TCP did not connect within `connect_timeout`.
pub(super) fn connect_timeout(peer: &str, limit: Duration) -> Failure {
    Failure::new(
        FailureKind::ConnectTimeout,
        format!("Connection to {peer} timed out after {}", DurationSetting(limit)),
    )
}

/// No address of a name could be connected to. The sentence names each reason once; the word is that of the one which
/// says most of the other side.
pub(super) fn of_addresses(target: &str, mut failures: Vec<(IpAddr, Failure)>) -> Failure {
    let tells = |failure: &Failure| match failure.kind {
        FailureKind::ConnectRefused => 3,
        FailureKind::ConnectReset => 2,
        FailureKind::ConnectTimeout => 1,
        _ => 0,
    };
    let same = failures.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let most = (0..failures.len()).rev().max_by_key(|i| tells(&failures[*i].1));
    let Some(most) = most else {
        return Failure::new(FailureKind::ConnectUnreachable, format!("{target} has no address to connect to"));
    };
    if same {
        return failures.swap_remove(most).1;
    }
    let each: Vec<String> = failures
        .iter()
        .map(|(ip, failure)| {
            let how = match failure.kind {
                FailureKind::ConnectRefused => "refused",
                FailureKind::ConnectReset => "reset",
                FailureKind::ConnectTimeout => "timed out",
                _ => "unreachable",
            };
            format!("{ip} {how}")
        })
        .collect();
    let message = format!("No address of {target} could be connected to: {}", listed(&each));
    Failure::new(failures[most].1.kind, message)
}

fn listed(words: &[String]) -> String {
    const MOST: usize = 8;
    let more = if words.len() > MOST { ", …" } else { "" };
    format!("{}{more}", words[..words.len().min(MOST)].join(", "))
}

/// Whether the attempt failed for want of our own files, ports or memory, and so says nothing of the other side.
pub(super) fn is_own_trouble(error: &(dyn Error + 'static)) -> bool {
    // EADDRNOTAVAIL while connecting: no local port is free. The numbers are those of Linux; elsewhere some of
    // them are not recognised, and the failure is told as the connection's.
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    let number = Causes::of(error).io.and_then(io::Error::raw_os_error);
    cfg!(target_os = "linux") && matches!(number, Some(ENOMEM | ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS))
}

/// What went wrong before the headers had come.
pub(super) fn of_request(error: &(dyn Error + 'static), trace: &Trace) -> Failure {
    let causes = Causes::of(error);
    if let Some(refused) = trace.refusal().and_then(|refusal| certificate::refusal_failure(&refusal)) {
        return refused;
    }
    let peer = trace.peer();
    if let Some(error) = causes.tls {
        return of_tls(error, &peer);
    }
    match trace.phase() {
        Phase::Dns | Phase::Connect => match causes.io {
            Some(error) => of_connect(error, &peer),
            None => {
                Failure::new(FailureKind::ConnectUnreachable, format!("Connection error: {peer}: {}", causes.innermost))
            }
        },
        Phase::Tls => Failure::new(
            FailureKind::TlsHandshake,
            if causes.is_cut() {
                format!("Connection closed by {peer} during the TLS handshake")
            } else {
                format!("TLS handshake with {peer} failed: {}", causes.innermost)
            },
        ),
        Phase::FirstByte | Phase::Transfer if causes.is_cut() => {
            Failure::new(FailureKind::ConnectionClosed, format!("{} before it answered", causes.how_cut(&peer)))
        }
        Phase::FirstByte | Phase::Transfer if causes.is_head_too_large() => {
            Failure::new(FailureKind::HttpProtocol, format!("{peer} answered with more headers than are accepted"))
        }
        Phase::FirstByte | Phase::Transfer => not_http(&peer, &causes.innermost),
    }
}

/// What went wrong while the body was read.
pub(super) fn of_body(error: &(dyn Error + 'static), trace: &Trace, read: u64, expected: Option<u64>) -> Failure {
    let causes = Causes::of(error);
    if causes.is_cut() {
        let of = expected.map_or_else(String::new, |n| format!(" of {n}"));
        return Failure::new(
            FailureKind::BodyTruncated,
            format!("{} in the middle of the body, after {read}{of} bytes", causes.how_cut(&trace.peer())),
        );
    }
    not_http(&trace.peer(), &causes.innermost)
}

/// What went wrong while a compressed body was read.
pub(super) fn of_compressed_body(error: &io::Error, trace: &Trace, read: u64) -> Failure {
    let causes = Causes::of(error);
    if causes.hyper.is_some() || causes.h2.is_some() {
        return of_body(error, trace, read, None);
    }
    let peer = trace.peer();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let message = format!("The compressed body of {peer} ends too early, after {read} bytes");
        return Failure::new(FailureKind::BodyTruncated, message);
    }
    let message = format!("The compressed body of {peer} is damaged: {}", causes.innermost);
    Failure::new(FailureKind::HttpProtocol, message)
}

fn not_http(peer: &str, why: &str) -> Failure {
    Failure::new(FailureKind::HttpProtocol, format!("{peer} did not answer in valid HTTP: {why}"))
}

/// Why there is no TCP connection to `peer`.
pub(super) fn of_connect(error: &io::Error, peer: &str) -> Failure {
    use io::ErrorKind as E;
    let innermost = shown(&error.to_string());
    match error.kind() {
        E::ConnectionRefused => Failure::new(FailureKind::ConnectRefused, format!("Connection refused by {peer}")),
        E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe => {
            Failure::new(FailureKind::ConnectReset, format!("Connection reset by {peer}"))
        }
        E::TimedOut => Failure::new(FailureKind::ConnectTimeout, format!("Connection to {peer} timed out")),
        E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => {
            Failure::new(FailureKind::ConnectUnreachable, format!("{peer} cannot be reached: {innermost}"))
        }
        _ => Failure::new(FailureKind::ConnectUnreachable, format!("Connection error: {peer}: {innermost}")),
    }
}

fn of_tls(error: &rustls::Error, peer: &str) -> Failure {
    use rustls::Error as E;
    let handshake = |message: String| Failure::new(FailureKind::TlsHandshake, message);
    let protocol = |why: String| {
        Failure::new(FailureKind::TlsProtocol, format!("No TLS version or cipher in common with {peer} ({why})"))
    };
    match error {
        E::AlertReceived(
            alert @ (AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity),
        ) => protocol(format!("it sent the alert {alert:?}")),
        E::AlertReceived(alert) => handshake(format!("{peer} refused the TLS handshake with the alert {alert:?}")),
        E::PeerIncompatible(why) => protocol(format!("{why:?}")),
        E::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => handshake(format!("{peer} does not speak TLS on this port")),
        other => handshake(format!("TLS handshake with {peer} failed: {}", shown(&other.to_string()))),
    }
}

/// The errors of interest in a chain of sources.
struct Causes<'a> {
    tls: Option<&'a rustls::Error>,
    io: Option<&'a io::Error>,
    hyper: Option<&'a hyper::Error>,
    h2: Option<&'a h2::Error>,
    /// What the last error of the chain says.
    innermost: String,
}

impl<'a> Causes<'a> {
    fn of(error: &'a (dyn Error + 'static)) -> Self {
        let mut causes = Self { tls: None, io: None, hyper: None, h2: None, innermost: String::new() };
        let mut next = Some(error);
        while let Some(error) = next {
            causes.innermost = shown(&error.to_string());
            causes.tls = error.downcast_ref().or(causes.tls);
            causes.hyper = error.downcast_ref().or(causes.hyper);
            causes.h2 = error.downcast_ref().or(causes.h2);
            let io = error.downcast_ref::<io::Error>();
            causes.io = io.or(causes.io);
            // An `io::Error` passes over the error it wraps and names that one's source as its own.
            next = match io.and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        causes
    }

    /// The peer ended the connection, or the exchange on it.
    fn is_cut(&self) -> bool {
        use io::ErrorKind as E;
        let by_io = |io: &io::Error| {
            matches!(
                io.kind(),
                E::UnexpectedEof | E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe | E::NotConnected
            )
        };
        self.io.is_some_and(by_io)
            || self.h2.is_some_and(|h2| h2.is_io() || h2.is_remote())
            || self.hyper.is_some_and(|h| h.is_incomplete_message() || h.is_closed() || h.is_canceled())
    }

    fn how_cut(&self, peer: &str) -> String {
        match self.h2.and_then(h2::Error::reason) {
            Some(reason) => format!("HTTP/2 stream reset by {peer} ({reason:?})"),
            None => format!("Connection closed by {peer}"),
        }
    }

    fn is_head_too_large(&self) -> bool {
        self.hyper.is_some_and(hyper::Error::is_parse_too_large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn want_of_our_own_resources_is_told_from_the_others_refusal() {
        for (number, ours) in [(24, true), (23, true), (99, true), (12, true), (105, true), (111, false), (113, false)]
        {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_own_trouble(&error), ours, "{error}");
        }
    }

    #[test]
    fn what_the_system_says_of_a_connection_chooses_the_word() {
        use io::ErrorKind as E;
        for (said, kind, message) in [
            (E::ConnectionRefused, FailureKind::ConnectRefused, "Connection refused by PEER"),
            (E::ConnectionReset, FailureKind::ConnectReset, "Connection reset by PEER"),
            (E::TimedOut, FailureKind::ConnectTimeout, "Connection to PEER timed out"),
            (E::HostUnreachable, FailureKind::ConnectUnreachable, "PEER cannot be reached: host unreachable"),
            (E::NetworkUnreachable, FailureKind::ConnectUnreachable, "PEER cannot be reached: network unreachable"),
        ] {
            assert_eq!(of_connect(&io::Error::from(said), "PEER"), Failure::new(kind, message));
        }
    }
}
