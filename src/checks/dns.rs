//! The check of a `dns` endpoint: one question to one name server, and what it answers, whatever that is.
//!
//! Asked without a cache and without a search list. By UDP, the question is repeated while there is time, and an answer
//! that is too long for it is fetched by TCP, as resolvers do. Answers are believed, without DNSSEC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::dial::Dialler;
use super::failure;
use super::kinds::Attempt;
use super::trace::{Phase, Trace};
use crate::domain::check::{Answer, DnsAnswer, DnsQuestion, DnsRecord, DnsTransport};
use crate::domain::outcome::{Failure, FailureKind, shown};
use crate::domain::setting::DurationSetting;
use crate::outbound::Outbound;

/// Where one server is meant, of its addresses so many are asked; of the machine's own servers as many.
const MAX_SERVERS: usize = 3;
/// The longest answer by UDP that goes through any network in one piece.
const MAX_UDP_BYTES: u16 = 1_232;
/// Of an answer, so many records are kept.
const MAX_RECORDS: usize = 100;
const PORT: u16 = 53;

/// The time of the attempt was over.
pub(super) fn timed_out(trace: &Trace, limit: Duration) -> Failure {
    match trace.phase() {
        Phase::FirstByte => {
            let message = format!("The name server {} did not answer within {}", trace.peer(), DurationSetting(limit));
            Failure::new(FailureKind::DnsTimeout, message)
        }
        _ => failure::timed_out(trace, limit, 0),
    }
}

pub(super) async fn examine(
    dialler: &Dialler,
    outbound: &Outbound,
    question: &DnsQuestion,
    on: &mut Attempt<'_>,
) -> Result<(), Failure> {
    let servers = servers(dialler, outbound, on).await?;
    let Some(message) = written(question) else {
        let why = format!("The name {} cannot be asked for", shown(&question.name));
        return Err(Failure::new(FailureKind::DnsNxdomain, why));
    };
    // A question without an answer is asked again, of the next server if there is one.
    let pause = on.spec.timeout / 3;
    let trace = Arc::clone(&on.trace);
    let mut asking = FuturesUnordered::new();
    let mut waiting = servers.into_iter();
    let mut failed = None;
    if question.transport == DnsTransport::Udp {
        on.trace.enter(Phase::FirstByte);
    }
    loop {
        match waiting.next() {
            Some(server) => asking.push(ask(server, question, &message, pause, &trace)),
            None if asking.is_empty() => break,
            None => {}
        }
        let is_last = waiting.len() == 0;
        let next = async { if is_last { std::future::pending().await } else { sleep(pause).await } };
        tokio::select! {
            Some(answered) = asking.next() => match answered {
                Ok((server, answer)) => {
                    on.address = Some(server.to_string());
                    on.seen.answer = Some(Answer::Dns(answer));
                    return Ok(());
                }
                Err(failure) => failed = Some(failure),
            },
            () = next => {}
        }
    }
    match failed {
        Some(NotAnswered::Failure(failure)) => Err(failure),
        Some(NotAnswered::Io(server, error)) => Err(on.failed(&error, &server.to_string())),
        None => Err(Failure::new(FailureKind::DnsServfail, "This machine has no name server that could be asked")),
    }
}

/// The server that is named, or those that the monitor itself asks: these are the operator's, not the endpoint's.
async fn servers(dialler: &Dialler, outbound: &Outbound, on: &Attempt<'_>) -> Result<Vec<SocketAddr>, Failure> {
    let port = on.spec.url.port().unwrap_or(PORT);
    if on.host().is_empty() {
        let servers: Vec<_> = outbound.name_servers().into_iter().take(MAX_SERVERS).collect();
        on.trace.asks(&servers);
        return Ok(servers);
    }
    let addresses = dialler.resolve(on.host(), port, &on.route(), &on.trace).await?;
    Ok(addresses.into_iter().take(MAX_SERVERS).map(|ip| SocketAddr::new(ip, port)).collect())
}

fn written(question: &DnsQuestion) -> Option<Message> {
    let mut name = Name::from_ascii(&question.name).ok()?;
    name.set_fqdn(true);
    let record_type: RecordType = question.record_type.as_str().parse().ok()?;
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP_BYTES);
    message.set_edns(edns);
    Some(message)
}

enum NotAnswered {
    Failure(Failure),
    Io(SocketAddr, std::io::Error),
}

type Answered = Result<(SocketAddr, DnsAnswer), NotAnswered>;

async fn ask(
    server: SocketAddr,
    question: &DnsQuestion,
    message: &Message,
    pause: Duration,
    trace: &Trace,
) -> Answered {
    let failed = |error| NotAnswered::Io(server, error);
    let bytes = message.to_vec().map_err(|_| unreadable(server, "the question cannot be written"))?;
    if question.transport == DnsTransport::Udp {
        let answer = by_udp(server, &bytes, message, pause).await.map_err(failed)?;
        let answer = read(server, &answer, message)?;
        if !answer.metadata.truncation {
            return Ok((server, noted(server, question, &answer)));
        }
    }
    let answer = by_tcp(server, &bytes, trace).await.map_err(failed)?;
    let answer = read(server, &answer, message)?;
    Ok((server, noted(server, question, &answer)))
}

/// Waits without end: the deadline is the attempt's. What does not bear the number of the question is not for us.
async fn by_udp(server: SocketAddr, bytes: &[u8], message: &Message, pause: Duration) -> std::io::Result<Vec<u8>> {
    let here: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    // A port of its own for each question, which only answers of this server reach.
    let socket = UdpSocket::bind(here).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        socket.send(bytes).await?;
        let answered = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if buffer[..length].starts_with(&message.metadata.id.to_be_bytes()) {
                    return std::io::Result::Ok(length);
                }
            }
        };
        if let Ok(answered) = timeout(pause, answered).await {
            buffer.truncate(answered?);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(server: SocketAddr, bytes: &[u8], trace: &Trace) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    trace.enter(Phase::FirstByte);
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length, bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn unreadable(server: SocketAddr, why: &str) -> NotAnswered {
    let message = format!("The name server {server} did not answer in valid DNS: {why}");
    NotAnswered::Failure(Failure::new(FailureKind::Protocol, message))
}

fn read(server: SocketAddr, bytes: &[u8], asked: &Message) -> Result<Message, NotAnswered> {
    let answer = Message::from_vec(bytes).map_err(|e| unreadable(server, &shown(&e.to_string())))?;
    let is_ours = answer.metadata.id == asked.metadata.id && answer.metadata.message_type == MessageType::Response;
    if !is_ours {
        return Err(unreadable(server, "what came is not an answer"));
    }
    // A server that refuses may leave the question out.
    let same = |query: &Query| {
        asked.queries.iter().any(|own| own.name() == query.name() && own.query_type() == query.query_type())
    };
    if answer.queries.iter().all(same) {
        Ok(answer)
    } else {
        Err(unreadable(server, "what came answers another question"))
    }
}

fn noted(server: SocketAddr, question: &DnsQuestion, answer: &Message) -> DnsAnswer {
    let records = answer.answers.iter().take(MAX_RECORDS).map(|record| {
        let record_type = record.record_type().to_string();
        DnsRecord {
            is_asked_for: record_type == question.record_type.as_str(),
            data: record.data.to_string(),
            ttl: record.ttl,
            record_type,
        }
    });
    DnsAnswer {
        server: server.to_string(),
        rcode: word(answer.metadata.response_code.into()),
        records: records.collect(),
    }
}

/// The name that the registry has for a code.
fn word(code: u16) -> String {
    let word = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        other => return format!("RCODE{other}"),
    };
    word.to_owned()
}
