//! What a kind of check needs beside the URL ([`KindSpec`]), what the other side said ([`Answer`]), and whether that is
//! what was expected.

use crate::domain::endpoint::Kind;
use crate::domain::outcome::{Failure, FailureKind, shown, words};
use crate::domain::push::PushSpec;

/// What an examination does beside connecting, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindSpec {
    /// What is asked is in the fields of the [`CheckSpec`](super::CheckSpec).
    Http,
    Tcp(Exchange),
    Tls(Exchange),
    Icmp(EchoSpec),
    Dns(DnsQuestion),
    Websocket(Exchange),
    Grpc(HealthQuestion),
    /// Nothing is asked: the other side reports.
    Push(PushSpec),
}

impl KindSpec {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Http => Kind::Http,
            Self::Tcp(_) => Kind::Tcp,
            Self::Tls(_) => Kind::Tls,
            Self::Icmp(_) => Kind::Icmp,
            Self::Dns(_) => Kind::Dns,
            Self::Websocket(_) => Kind::Websocket,
            Self::Grpc(_) => Kind::Grpc,
            Self::Push(_) => Kind::Push,
        }
    }

    /// Whether something must come once the connection stands.
    pub fn awaits_an_answer(&self) -> bool {
        match self {
            Self::Tcp(exchange) | Self::Tls(exchange) => exchange.expect.is_some(),
            _ => true,
        }
    }

    /// What is wrong with an answer that came. `None`: nothing, or it is not for the kind to say.
    pub(super) fn complaint(&self, answer: Option<&Answer>) -> Option<Failure> {
        let Some(answer) = answer else {
            return Some(Failure::new(FailureKind::Protocol, "The attempt ended without an answer"));
        };
        match (self, answer) {
            (Self::Tcp(exchange) | Self::Tls(exchange) | Self::Websocket(exchange), Answer::Received(received)) => {
                exchange.expect.as_ref().and_then(|expected| expected.complaint(received))
            }
            (Self::Dns(question), Answer::Dns(answer)) => question.complaint(answer),
            (Self::Icmp(_), Answer::Echo(echo)) => echo.complaint(),
            (Self::Grpc(question), Answer::Health(status)) => question.complaint(status),
            _ => None,
        }
    }
}

/// What is said once the connection stands, and what must be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchange {
    pub send: Option<String>,
    pub expect: Option<Expectation>,
}

/// What must be among what is received.
#[derive(Debug, Clone)]
pub enum Expectation {
    Text(String),
    /// Runs in linear time, over bytes.
    Pattern(regex::bytes::Regex),
}

/// The longest pattern, and how much memory one may take when it is compiled.
const MAX_PATTERN: usize = 1_000;
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

impl Expectation {
    /// # Errors
    /// One sentence.
    pub fn pattern(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("too long: at most {MAX_PATTERN} bytes"));
        }
        let compiled = regex::bytes::RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
        compiled.map(Self::Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression takes more than 1 MiB of memory".to_owned(),
            // The last line says what, those above show where.
            other => {
                let said = other.to_string();
                let what = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("is not a regular expression: {}", shown(what))
            }
        })
    }

    /// Whether it is among what was received.
    pub fn is_met(&self, received: &[u8]) -> bool {
        match self {
            Self::Text(text) => contains(received, text.as_bytes()),
            Self::Pattern(pattern) => pattern.is_match(received),
        }
    }

    fn complaint(&self, received: &Received) -> Option<Failure> {
        if received.meets(self) {
            return None;
        }
        let said = received.text();
        let got = if said.is_empty() { "nothing".to_owned() } else { format!("\"{}\"", shown(said.trim_end())) };
        let expected = match self {
            Self::Text(text) => format!("\"{}\"", shown(text)),
            Self::Pattern(pattern) => format!("what matches {}", shown(pattern.as_str())),
        };
        let bound = if received.is_cut { " within what is read of an answer" } else { "" };
        Some(Failure::new(FailureKind::ConditionFailed, format!("Received {got}, expected {expected}{bound}")))
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    part.is_empty() || all.windows(part.len()).any(|window| window == part)
}

impl PartialEq for Expectation {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Pattern(a), Self::Pattern(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Eq for Expectation {}

/// How often an echo is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoSpec {
    /// At least 1.
    pub count: u16,
}

words! {
    /// What is asked of a name server.
    pub enum DnsRecordType {
        A = "A",
        Aaaa = "AAAA",
        Caa = "CAA",
        Cname = "CNAME",
        Https = "HTTPS",
        Mx = "MX",
        Naptr = "NAPTR",
        Ns = "NS",
        Ptr = "PTR",
        Soa = "SOA",
        Srv = "SRV",
        Sshfp = "SSHFP",
        Svcb = "SVCB",
        Tlsa = "TLSA",
        Txt = "TXT",
    }
}

words! {
    /// How a name server is asked.
    pub enum DnsTransport {
        /// And by TCP what is too long for it.
        Udp = "udp",
        Tcp = "tcp",
    }
}

/// A question to a name server, which is the host of the URL; without one the server that the monitor itself asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuestion {
    /// Without a dot at its end; empty is the root.
    pub name: String,
    pub record_type: DnsRecordType,
    pub transport: DnsTransport,
}

impl DnsQuestion {
    fn complaint(&self, answer: &DnsAnswer) -> Option<Failure> {
        let name = if self.name.is_empty() { "." } else { self.name.as_str() };
        let (server, record_type) = (&answer.server, self.record_type);
        let failed = |kind, why: &str| {
            let message = format!("The {record_type} records of {name} could not be looked up: {server} {why}");
            Some(Failure::new(kind, message))
        };
        match answer.rcode.as_str() {
            "NOERROR" if answer.records.iter().any(|record| record.is_asked_for) => None,
            "NOERROR" => {
                let alias = answer.records.last().map_or_else(String::new, |alias| {
                    format!(": it is another name of {}, of which none came", shown(alias.data.trim_end_matches('.')))
                });
                let message = format!("The name {name} has no {record_type} record, says {server}{alias}");
                Some(Failure::new(FailureKind::DnsNoRecords, message))
            }
            "NXDOMAIN" => {
                let message = format!("The name {name} does not exist (NXDOMAIN), says {server}");
                Some(Failure::new(FailureKind::DnsNxdomain, message))
            }
            "SERVFAIL" => failed(FailureKind::DnsServfail, "failed (SERVFAIL)"),
            "REFUSED" => failed(FailureKind::DnsRefused, "refuses to answer (REFUSED)"),
            other => failed(FailureKind::Protocol, &format!("answered {}", shown(other))),
        }
    }
}

/// A question of the gRPC health protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthQuestion {
    /// Empty: the server as a whole.
    pub service: String,
}

impl HealthQuestion {
    fn complaint(&self, status: &HealthStatus) -> Option<Failure> {
        let who = match self.service.as_str() {
            "" => "The server".to_owned(),
            service => format!("The service {}", shown(service)),
        };
        let failed = |message: String| Some(Failure::new(FailureKind::GrpcStatus, message));
        match status {
            HealthStatus::Serving => None,
            HealthStatus::ServiceUnknown => {
                failed(format!("{who} is not known there (SERVICE_UNKNOWN), expected SERVING"))
            }
            other => failed(format!("{who} answered {}, expected SERVING", other.word())),
        }
    }
}

/// What the other side said, where it is not an answer in HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Received(Received),
    Dns(DnsAnswer),
    Echo(Echo),
    Health(HealthStatus),
}

impl Answer {
    /// As a text, for conditions on the body: what was received; the data of DNS records, one on a line; the numbers
    /// of an echo as JSON; `SERVING` and its like.
    pub fn text(&self) -> String {
        match self {
            Self::Received(received) => received.text().into_owned(),
            Self::Dns(answer) => {
                let asked_for = answer.records.iter().filter(|record| record.is_asked_for);
                asked_for.map(|record| record.data.as_str()).collect::<Vec<_>>().join("\n")
            }
            Self::Echo(echo) => echo.numbers().to_string(),
            Self::Health(status) => status.word(),
        }
    }

    /// Whether anything came.
    pub fn has_come(&self) -> bool {
        !matches!(self, Self::Received(received) if received.bytes.is_empty() && !received.is_cut)
    }

    /// The code of a name server's answer: `NOERROR`, `NXDOMAIN`.
    pub fn rcode(&self) -> Option<&str> {
        match self {
            Self::Dns(answer) => Some(&answer.rcode),
            _ => None,
        }
    }

    /// For programs: a text as it came; of a DNS answer the code and the records; the numbers of an echo.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Received(_) => self.text().into(),
            Self::Health(status) => status.word().into(),
            Self::Echo(echo) => echo.numbers(),
            Self::Dns(answer) => serde_json::json!({
                "server": answer.server,
                "rcode": answer.rcode,
                "records": answer.records.iter().map(|record| serde_json::json!({
                    "type": record.record_type, "data": record.data, "ttl": record.ttl,
                })).collect::<Vec<_>>(),
            }),
        }
    }

    /// One line for a person; `None` where there is nothing to show.
    pub fn summary(&self) -> Option<String> {
        match self {
            Self::Received(received) if received.bytes.is_empty() => None,
            Self::Received(received) => Some(format!("\"{}\"", shown(received.text().trim_end()))),
            Self::Dns(answer) => {
                let records = answer.records.iter().take(10).map(|record| {
                    let DnsRecord { record_type, data, ttl, .. } = record;
                    format!("{record_type} {} (TTL {ttl} s)", shown(data))
                });
                Some(std::iter::once(answer.rcode.clone()).chain(records).collect::<Vec<_>>().join("; "))
            }
            Self::Echo(echo) => Some(echo.to_string()),
            Self::Health(status) => Some(status.word()),
        }
    }
}

/// What came over a connection, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Of messages each with a line break after it.
    pub bytes: Vec<u8>,
    /// There may have been more, which is not read.
    pub is_cut: bool,
    /// Where in `bytes` each message ends; empty of a kind without messages.
    ends: Vec<usize>,
}

impl Received {
    pub fn push_message(&mut self, message: &[u8]) {
        self.bytes.extend(message);
        self.ends.push(self.bytes.len());
        self.bytes.push(b'\n');
    }

    pub fn has_messages(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether all that came, or one of the messages, is what is expected.
    fn meets(&self, expected: &Expectation) -> bool {
        if self.ends.is_empty() {
            return expected.is_met(&self.bytes);
        }
        let mut from = 0;
        self.ends.iter().any(|end| {
            let message = self.bytes.get(from..*end).unwrap_or_default();
            from = end + 1;
            expected.is_met(message)
        })
    }

    /// Without the line break after the last message.
    fn text(&self) -> std::borrow::Cow<'_, str> {
        let end = self.ends.last().copied().unwrap_or(self.bytes.len());
        String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default())
    }
}

/// The answer of a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    /// `ip:port` of the server.
    pub server: String,
    /// `NOERROR`, `NXDOMAIN`, …; `RCODE17` of one without a name.
    pub rcode: String,
    /// Of the answer section, in its order.
    pub records: Vec<DnsRecord>,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    pub record_type: String,
    /// As zone files write it.
    pub data: String,
    /// In seconds.
    pub ttl: u32,
    /// It is of the type that was asked for; an alias on the way to it is not.
    pub is_asked_for: bool,
}

/// Echoes that were asked for and came back. Times are round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    pub sent: u16,
    pub received: u16,
    /// `None` where nothing came back.
    pub times: Option<RoundTrips>,
}

/// In microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrips {
    pub min_us: u32,
    pub mean_us: u32,
    pub max_us: u32,
}

impl Echo {
    /// Of `sent` requests those that came back, with their round trips in microseconds.
    pub fn of(sent: u16, round_trips: &[u32]) -> Self {
        let sum: u64 = round_trips.iter().map(|us| u64::from(*us)).sum();
        let times = match (round_trips.iter().min(), round_trips.iter().max()) {
            (Some(min), Some(max)) => Some(RoundTrips {
                min_us: *min,
                mean_us: u32::try_from(sum / round_trips.len() as u64).unwrap_or(u32::MAX),
                max_us: *max,
            }),
            _ => None,
        };
        Self { sent, received: u16::try_from(round_trips.len()).unwrap_or(u16::MAX), times }
    }

    /// Of those sent, in percent.
    pub fn loss(&self) -> f64 {
        let lost = self.sent.saturating_sub(self.received);
        f64::from(lost) * 100.0 / f64::from(self.sent.max(1))
    }

    fn complaint(&self) -> Option<Failure> {
        (self.received == 0).then(|| {
            let what =
                if self.sent == 1 { "the echo request".to_owned() } else { format!("{} echo requests", self.sent) };
            Failure::new(FailureKind::IcmpTimeout, format!("No answer to {what}"))
        })
    }

    fn numbers(self) -> serde_json::Value {
        let ms = |us: Option<u32>| us.map(|us| f64::from(us) / 1_000.0);
        serde_json::json!({
            "sent": self.sent,
            "received": self.received,
            "loss_percent": (self.loss() * 10.0).round() / 10.0,
            "min_ms": ms(self.times.map(|times| times.min_us)),
            "mean_ms": ms(self.times.map(|times| times.mean_us)),
            "max_ms": ms(self.times.map(|times| times.max_us)),
        })
    }
}

impl std::fmt::Display for Echo {
    /// `2 of 3 answered, 33 % lost; 0.12 / 0.15 / 0.18 ms (min / mean / max)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} answered, {:.0} % lost", self.received, self.sent, self.loss())?;
        let Some(RoundTrips { min_us, mean_us, max_us }) = self.times else { return Ok(()) };
        let ms = |us: u32| f64::from(us) / 1_000.0;
        write!(f, "; {:.2} / {:.2} / {:.2} ms (min / mean / max)", ms(min_us), ms(mean_us), ms(max_us))
    }
}

/// What the health protocol of gRPC says of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
    /// A number that the protocol does not have.
    Other(u64),
}

impl HealthStatus {
    /// `grpc.health.v1.HealthCheckResponse.ServingStatus`
    pub fn of_number(number: u64) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Serving,
            2 => Self::NotServing,
            3 => Self::ServiceUnknown,
            other => Self::Other(other),
        }
    }

    /// The name that the protocol has for it.
    pub fn word(self) -> String {
        match self {
            Self::Unknown => "UNKNOWN".to_owned(),
            Self::Serving => "SERVING".to_owned(),
            Self::NotServing => "NOT_SERVING".to_owned(),
            Self::ServiceUnknown => "SERVICE_UNKNOWN".to_owned(),
            Self::Other(number) => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(text: &str) -> Answer {
        Answer::Received(Received { bytes: text.as_bytes().to_vec(), ..Received::default() })
    }

    fn told(spec: &KindSpec, answer: &Answer) -> Option<(FailureKind, String)> {
        spec.complaint(Some(answer)).map(|failure| (failure.kind, failure.message))
    }

    #[test]
    fn what_is_expected_must_be_received() {
        let exchange = |expect| KindSpec::Tcp(Exchange { send: None, expect });
        let text = exchange(Some(Expectation::Text("+PONG".to_owned())));
        let pattern = exchange(Some(Expectation::pattern("^220 .*ESMTP").unwrap()));
        assert_eq!(told(&exchange(None), &received("")), None);
        assert_eq!(told(&text, &received("x+PONG\r\n")), None);
        assert_eq!(told(&pattern, &received("220 mail ESMTP")), None);
        for (spec, said, message) in [
            (&text, "", "Received nothing, expected \"+PONG\""),
            (&text, "-ERR\r\n", "Received \"-ERR\", expected \"+PONG\""),
            (&pattern, "421 busy", "Received \"421 busy\", expected what matches ^220 .*ESMTP"),
        ] {
            assert_eq!(told(spec, &received(said)), Some((FailureKind::ConditionFailed, message.to_owned())));
        }
        assert_eq!(text.complaint(None).map(|failure| failure.kind), Some(FailureKind::Protocol));
    }

    #[test]
    fn a_message_by_itself_may_be_what_is_expected() {
        let expect = Some(Expectation::pattern("^hello$").unwrap());
        let spec = KindSpec::Websocket(Exchange { send: None, expect });
        let of = |messages: &[&str]| {
            let mut received = Received::default();
            for message in messages {
                received.push_message(message.as_bytes());
            }
            Answer::Received(received)
        };
        assert_eq!(told(&spec, &of(&["welcome", "", "hello"])), None);
        assert!(told(&spec, &of(&["welcome", "hello you"])).is_some() && told(&spec, &of(&[])).is_some());
        assert_eq!(of(&["welcome", "hello"]).text(), "welcome\nhello");
        assert!(of(&[""]).has_come() && !of(&[]).has_come());
    }

    #[test]
    fn patterns_are_bounded_and_said_to_be_wrong() {
        assert_eq!(Expectation::pattern("(").unwrap_err(), "is not a regular expression: unclosed group");
        assert!(Expectation::pattern(&"x".repeat(1_001)).unwrap_err().starts_with("too long"));
        assert!(Expectation::pattern(r"(\w{1000}){1000}").unwrap_err().contains("1 MiB"));
        assert_eq!(Expectation::pattern("a").unwrap(), Expectation::pattern("a").unwrap());
        assert_ne!(Expectation::pattern("a").unwrap(), Expectation::Text("a".to_owned()));
    }

    #[test]
    fn the_code_and_the_records_of_a_dns_answer_decide() {
        let question = KindSpec::Dns(DnsQuestion {
            name: "shop.example".to_owned(),
            record_type: DnsRecordType::A,
            transport: DnsTransport::Udp,
        });
        let answer = |rcode: &str, records: &[(&str, &str)]| {
            let record = |(record_type, data): &(&str, &str)| DnsRecord {
                record_type: (*record_type).to_owned(),
                data: (*data).to_owned(),
                ttl: 60,
                is_asked_for: *record_type == "A",
            };
            let records = records.iter().map(record).collect();
            Answer::Dns(DnsAnswer { server: "10.0.0.1:53".to_owned(), rcode: rcode.to_owned(), records })
        };
        let good = answer("NOERROR", &[("CNAME", "a.example."), ("A", "10.0.0.2"), ("A", "10.0.0.3")]);
        assert_eq!(told(&question, &good), None);
        assert_eq!((good.text().as_str(), good.rcode()), ("10.0.0.2\n10.0.0.3", Some("NOERROR")));
        for (answer, kind, message) in [
            (answer("NOERROR", &[]), "dns_no_records", "The name shop.example has no A record, says 10.0.0.1:53"),
            (
                answer("NOERROR", &[("CNAME", "gone.example.")]),
                "dns_no_records",
                "The name shop.example has no A record, says 10.0.0.1:53: it is another name of gone.example, of which \
                 none came",
            ),
            (
                answer("NXDOMAIN", &[]),
                "dns_nxdomain",
                "The name shop.example does not exist (NXDOMAIN), says 10.0.0.1:53",
            ),
            (
                answer("REFUSED", &[]),
                "dns_refused",
                "The A records of shop.example could not be looked up: 10.0.0.1:53 refuses to answer (REFUSED)",
            ),
            (
                answer("SERVFAIL", &[]),
                "dns_servfail",
                "The A records of shop.example could not be looked up: 10.0.0.1:53 failed (SERVFAIL)",
            ),
            (
                answer("NOTIMP", &[]),
                "protocol",
                "The A records of shop.example could not be looked up: 10.0.0.1:53 answered NOTIMP",
            ),
        ] {
            let told = told(&question, &answer).unwrap();
            assert_eq!((told.0.as_str(), told.1.as_str()), (kind, message));
        }
    }

    #[test]
    fn one_echo_is_enough_and_losses_are_counted() {
        let spec = KindSpec::Icmp(EchoSpec { count: 3 });
        let some = Echo::of(3, &[100, 400]);
        assert_eq!(told(&spec, &Answer::Echo(some)), None);
        assert_eq!(some.to_string(), "2 of 3 answered, 33 % lost; 0.10 / 0.25 / 0.40 ms (min / mean / max)");
        let json: serde_json::Value = serde_json::from_str(&Answer::Echo(some).text()).unwrap();
        let expected = serde_json::json!({
            "sent": 3, "received": 2, "loss_percent": 33.3, "min_ms": 0.1, "mean_ms": 0.25, "max_ms": 0.4,
        });
        assert_eq!(json, expected);
        let none = Answer::Echo(Echo::of(3, &[]));
        let message = "No answer to 3 echo requests".to_owned();
        assert_eq!(told(&spec, &none), Some((FailureKind::IcmpTimeout, message)));
    }

    #[test]
    fn only_serving_is_healthy() {
        let of = |service: &str, number| {
            let spec = KindSpec::Grpc(HealthQuestion { service: service.to_owned() });
            told(&spec, &Answer::Health(HealthStatus::of_number(number))).map(|(kind, message)| {
                assert_eq!(kind, FailureKind::GrpcStatus);
                message
            })
        };
        assert_eq!(of("", 1), None);
        assert_eq!(of("", 2).as_deref(), Some("The server answered NOT_SERVING, expected SERVING"));
        assert_eq!(of("shop.Cart", 0).as_deref(), Some("The service shop.Cart answered UNKNOWN, expected SERVING"));
        assert_eq!(of("x", 3).as_deref(), Some("The service x is not known there (SERVICE_UNKNOWN), expected SERVING"));
        assert_eq!(of("x", 77).as_deref(), Some("The service x answered 77, expected SERVING"));
    }
}
