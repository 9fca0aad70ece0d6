use std::net::SocketAddr;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::*;

/// A name server that answers a question as a script says; `None`: not at all.
struct NameServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// `reply` is given the question, and whether it came by TCP.
    async fn start(reply: impl Fn(&Message, bool) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                tokio::select! {
                    received = udp.recv_from(&mut buffer) => {
                        let (length, from) = received.unwrap();
                        let question = Message::from_vec(&buffer[..length]).unwrap();
                        if let Some(answer) = reply(&question, false) {
                            udp.send_to(&answer, from).await.unwrap();
                        }
                    }
                    accepted = tcp.accept() => {
                        let (mut stream, _) = accepted.unwrap();
                        let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                        stream.read_exact(&mut question).await.unwrap();
                        if let Some(answer) = reply(&Message::from_vec(&question).unwrap(), true) {
                            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                }
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Always the same, whatever is asked.
    async fn answering(code: ResponseCode, data: Vec<RData>) -> Self {
        Self::start(move |question, _| Some(answer(question, code, data.clone()).to_vec().unwrap())).await
    }

    fn url(&self, question: &str) -> Value {
        json!({"url": format!("dns://{}/{question}", self.address)})
    }
}

fn answer(question: &Message, code: ResponseCode, data: Vec<RData>) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.response_code = code;
    answer.add_queries(question.queries.clone());
    let name = question.queries[0].name().clone();
    answer.add_answers(data.into_iter().map(|data| Record::from_rdata(name.clone(), 300, data)));
    answer
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

#[tokio::test]
async fn the_records_that_were_asked_for_are_the_answer() {
    let alias = RData::CNAME(CNAME(name("www.shop.example.")));
    let server = NameServer::answering(ResponseCode::NoError, vec![alias, a(1), a(2)]).await;
    let (seen, outcome) = examine(server.url("Shop.Example.")).await;
    assert_eq!((outcome, seen.remote_address), (Outcome::Up, Some(server.address.to_string())));
    let answer = seen.answer.unwrap();
    assert_eq!((answer.text().as_str(), answer.rcode()), ("192.0.2.1\n192.0.2.2", Some("NOERROR")));
    let expected = "NOERROR; CNAME www.shop.example. (TTL 300 s); A 192.0.2.1 (TTL 300 s); A 192.0.2.2 (TTL 300 s)";
    assert_eq!(answer.summary().as_deref(), Some(expected));
    assert!(seen.timings.first_byte_us.is_some());

    let mail = NameServer::answering(ResponseCode::NoError, vec![RData::MX(MX::new(10, name("mx.example.")))]).await;
    let (seen, outcome) = examine(mail.url("shop.example?type=mx")).await;
    assert_eq!((outcome, seen.answer.unwrap().text().as_str()), (Outcome::Up, "10 mx.example."));
    let text =
        NameServer::answering(ResponseCode::NoError, vec![RData::TXT(TXT::new(vec!["v=spf1 -all".to_owned()]))]).await;
    let (seen, _) = examine(text.url("shop.example?type=TXT&transport=tcp")).await;
    assert_eq!(seen.answer.unwrap().text(), "v=spf1 -all");
}

#[tokio::test]
async fn each_way_to_fail_is_told_from_the_others() {
    let nowhere = RData::CNAME(CNAME(name("gone.example.")));
    for (code, data, kind) in [
        (ResponseCode::NXDomain, vec![], "dns_nxdomain"),
        (ResponseCode::ServFail, vec![], "dns_servfail"),
        (ResponseCode::Refused, vec![], "dns_refused"),
        (ResponseCode::NotImp, vec![], "protocol"),
        (ResponseCode::NoError, vec![], "dns_no_records"),
        (ResponseCode::NoError, vec![nowhere], "dns_no_records"),
    ] {
        let server = NameServer::answering(code, data).await;
        let (told, message) = failure(server.url("shop.example")).await;
        assert_eq!(told, kind, "{message}");
        assert!(message.contains("shop.example") && message.contains(&server.address.to_string()), "{message}");
    }
    let silent = NameServer::start(|_, _| None).await;
    let message = format!("The name server {} did not answer within 1s", silent.address);
    assert_eq!(failure(soon(silent.url("a"))).await, ("dns_timeout", message));
    let garbage = NameServer::start(|question, _| {
        Some([&question.metadata.id.to_be_bytes()[..], &[0x81, 0x80, 0, 1, 0xff, 0xff, 1, 2, 3]].concat())
    })
    .await;
    assert_eq!(failure(garbage.url("a")).await.0, "protocol");
    let echo = NameServer::start(|question, _| question.to_vec().ok()).await;
    assert_eq!(failure(echo.url("a")).await.0, "protocol");
    let nobody = nobody();
    for url in [format!("dns://{nobody}/a"), format!("dns://{nobody}/a?transport=tcp")] {
        assert_eq!(failure(json!({"url": url})).await, ("connect_refused", format!("Connection refused by {nobody}")));
    }
}

#[tokio::test]
async fn a_question_that_was_lost_is_asked_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = NameServer::start(move |question, _| {
        let before = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (before > 0).then(|| answer(question, ResponseCode::NoError, vec![a(1)]).to_vec().unwrap())
    })
    .await;
    assert_eq!(examine(server.url("shop.example")).await.1, Outcome::Up);
}

#[tokio::test]
async fn an_answer_that_is_too_long_comes_by_tcp() {
    let server = NameServer::start(|question, by_tcp| {
        let mut answer = answer(question, ResponseCode::NoError, if by_tcp { vec![a(7)] } else { vec![] });
        answer.metadata.truncation = !by_tcp;
        answer.to_vec().ok()
    })
    .await;
    let (seen, outcome) = examine(server.url("shop.example")).await;
    assert_eq!((outcome, seen.answer.unwrap().text().as_str()), (Outcome::Up, "192.0.2.7"));
}

/// Whoever guesses the port still has to know the number of the question.
#[tokio::test]
async fn an_answer_to_another_question_is_not_believed() {
    let other = NameServer::start(|question, _| {
        let mut wrong = answer(question, ResponseCode::NoError, vec![a(1)]);
        wrong.metadata.id = wrong.metadata.id.wrapping_add(1);
        wrong.to_vec().ok()
    })
    .await;
    assert_eq!(failure(soon(other.url("shop.example"))).await.0, "dns_timeout");
    let moved = NameServer::start(|question, _| {
        let mut wrong = answer(question, ResponseCode::NoError, vec![a(1)]);
        wrong.queries[0].set_name(name("other.example."));
        wrong.to_vec().ok()
    })
    .await;
    assert_eq!(failure(moved.url("shop.example")).await.0, "protocol");
}

/// Without one in the settings, that of the monitor.
#[tokio::test]
async fn the_resolver_of_the_monitor_is_asked_where_none_is_named() {
    let server = NameServer::answering(ResponseCode::NoError, vec![a(1)]).await;
    let outbound = Outbound::new(Some(server.address), OutboundPolicy::default()).unwrap();
    let (seen, outcome) = examine_as(Origin::Api, outbound, json!({"url": "dns:///shop.example"})).await;
    assert_eq!((outcome, seen.remote_address), (Outcome::Up, Some(server.address.to_string())));
    assert!(!seen.reaches.is_empty());
}

/// Thousands of records are within a message; some of them are kept.
#[tokio::test]
async fn many_records_are_cut() {
    let many = (0..4_000).map(|n: u16| RData::A(A::new(10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]))).collect();
    let server = NameServer::answering(ResponseCode::NoError, many).await;
    let (seen, outcome) = examine(server.url("shop.example?transport=tcp")).await;
    assert_eq!((outcome, seen.answer.unwrap().text().lines().count()), (Outcome::Up, 100));
}
