//! A name server on loopback that answers as a test says, by UDP and by TCP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What is said of a name.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Of both families; none is a name without addresses.
    Addresses(Vec<IpAddr>),
    /// The code of a refusal: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// That another name is meant, with the address of that one.
    Alias(&'static str, IpAddr),
    /// That another name is meant, which does not exist.
    AliasOfNothing(&'static str),
    Silence,
    /// By UDP only that the answer is too long, by TCP these.
    Long(Vec<IpAddr>),
}

pub(crate) fn address(text: &str) -> Reply {
    Reply::Addresses(vec![text.parse().unwrap()])
}

/// Running until it is dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Asked,
    _tasks: JoinSet<()>,
}

/// How often, by name and type.
type Asked = Arc<Mutex<HashMap<(String, u16), usize>>>;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What is answered by name and by how often the same was asked before.
type Script = dyn Fn(&str, usize) -> Reply + Send + Sync;

impl NameServer {
    /// `reply` is given the name, without a dot at its end, and how often the same question came before.
    pub(crate) async fn start(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let reply: Arc<Script> = Arc::new(reply);
        // A port that is free for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Asked::default();
        let mut tasks = JoinSet::new();
        let (by_udp, counted) = (Arc::clone(&reply), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut question = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut question).await.unwrap();
                if let Some(answer) = answer(&question[..length], &counted, &*by_udp, false) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let counted = Arc::clone(&asked);
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; usize::from(length)];
                    stream.read_exact(&mut question).await.unwrap();
                    if let Some(answer) = answer(&question, &counted, &*reply, true) {
                        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                }
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(&(name.to_owned(), A)).copied().unwrap_or_default()
    }
}

fn answer(question: &[u8], asked: &Asked, reply: &dyn Fn(&str, usize) -> Reply, by_tcp: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels: Vec<String> = Vec::new();
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let end = at + 5;
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let name = labels.join(".").to_ascii_lowercase();
    let before = {
        let mut asked = asked.lock().unwrap();
        let count = asked.entry((name.clone(), kind)).or_default();
        *count += 1;
        *count - 1
    };
    let (mut code, mut cut) = (0, false);
    let mut records: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut add = |addresses: Vec<IpAddr>| {
        for address in addresses {
            match (kind, address) {
                (A, IpAddr::V4(v4)) => records.push((A, v4.octets().to_vec())),
                (AAAA, IpAddr::V6(v6)) => records.push((AAAA, v6.octets().to_vec())),
                _ => {}
            }
        }
    };
    match reply(&name, before) {
        Reply::Addresses(addresses) => add(addresses),
        Reply::Long(addresses) if by_tcp => add(addresses),
        Reply::Long(_) => cut = true,
        Reply::Code(refusal) => code = refusal,
        Reply::Silence => return None,
        Reply::AliasOfNothing(meant) => {
            records.push((CNAME, written(meant)));
            code = 3;
        }
        Reply::Alias(meant, address) => {
            add(vec![address]);
            if !records.is_empty() {
                records.insert(0, (CNAME, written(meant)));
            }
        }
    }
    let mut answer = question[..2].to_vec();
    answer.extend([0x81 | if cut { 2 } else { 0 }, 0x80 | code, 0, 1]);
    answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(&question[12..end]);
    // The name of the question, or of what it is an alias of.
    let mut of: Vec<u8> = vec![0xc0, 12];
    for (kind, data) in records {
        answer.extend(&of);
        answer.extend(kind.to_be_bytes());
        // Class IN, to be kept for an hour: nobody shall.
        answer.extend([0, 1, 0, 0, 0x0e, 0x10]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(&data);
        if kind == CNAME {
            of = data;
        }
    }
    Some(answer)
}

fn written(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
