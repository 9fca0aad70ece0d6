//! The server that is checked, as a process of its own: it answers at once and remembers when each endpoint was
//! asked. It is told what to do by words on standard input and answers with JSON lines.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arrivals::{Punctuality, punctuality};
use crate::process::Guarded;

/// Addresses of loopback in use, so that neither the limit of checks to one host nor the ports of one pair of
/// addresses bound what is measured.
const ADDRESSES: u8 = 50;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n\
{\"status\":\"ok\",\"version\":\"1.2.3\",\"checks\":{\"db\":\"ok\",\"queue\":0}}";

/// The process, from the side that measures.
#[derive(Debug)]
pub(crate) struct Target {
    _process: Guarded,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// What arrived since the start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) endpoints: usize,
    pub(crate) hits: Vec<u64>,
}

impl Target {
    pub(crate) fn start(endpoints: usize, interval: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["target", "--endpoints", &endpoints.to_string(), "--interval", &interval.to_string()]);
        let mut process = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()), "the target")?;
        let stdin = process.child.stdin.take().context("the target has no standard input")?;
        let stdout = process.child.stdout.take().context("the target has no standard output")?;
        let mut target = Self { _process: process, stdin, stdout: BufReader::new(stdout), addresses: Vec::new() };
        target.addresses = target.answer()?;
        Ok(target)
    }

    /// The URL of each endpoint.
    pub(crate) fn urls(&self, endpoints: usize) -> Vec<String> {
        urls(&self.addresses, endpoints)
    }

    pub(crate) fn seen(&mut self) -> anyhow::Result<Seen> {
        self.ask("seen")
    }

    /// Begins the window over which [`end`](Self::end) reports.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        self.ask("begin")
    }

    pub(crate) fn end(&mut self) -> anyhow::Result<Punctuality> {
        self.ask("end")
    }

    fn ask<T: DeserializeOwned>(&mut self, word: &str) -> anyhow::Result<T> {
        writeln!(self.stdin, "{word}").context("the target is gone")?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the target answered {line:?}"))
    }
}

pub(crate) fn urls(addresses: &[SocketAddr], endpoints: usize) -> Vec<String> {
    addresses.iter().cycle().take(endpoints).enumerate().map(|(i, at)| format!("http://{at}/{i}")).collect()
}

#[derive(Debug)]
struct Recorded {
    interval_us: u64,
    /// Since the start, by endpoint.
    hits: Vec<u64>,
    began: Instant,
    /// Since `began`, by endpoint, microseconds.
    arrivals: Vec<Vec<u64>>,
    connections: u64,
}

impl Recorded {
    fn new(endpoints: usize, interval_us: u64) -> Self {
        let arrivals = vec![Vec::new(); endpoints];
        Self { interval_us, hits: vec![0; endpoints], began: Instant::now(), arrivals, connections: 0 }
    }

    fn arrived(&mut self, index: usize) {
        let at = self.passed_us();
        if let (Some(hits), Some(arrivals)) = (self.hits.get_mut(index), self.arrivals.get_mut(index)) {
            *hits += 1;
            arrivals.push(at);
        }
    }

    fn passed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn obey(&mut self, word: &str) -> anyhow::Result<String> {
        Ok(match word {
            "seen" => {
                let endpoints = self.hits.iter().filter(|hits| **hits > 0).count();
                serde_json::to_string(&Seen { endpoints, hits: self.hits.clone() })?
            }
            "begin" => {
                self.began = Instant::now();
                self.connections = 0;
                self.arrivals.iter_mut().for_each(Vec::clear);
                "null".to_owned()
            }
            "end" => serde_json::to_string(&punctuality(
                &self.arrivals,
                self.interval_us,
                self.passed_us(),
                self.connections,
            ))?,
            other => anyhow::bail!("unknown word {other:?}"),
        })
    }
}

type Shared = Arc<Mutex<Recorded>>;

/// The process itself: serves until standard input ends.
pub(crate) fn run(endpoints: usize, interval: u64) -> anyhow::Result<()> {
    let recorded = Arc::new(Mutex::new(Recorded::new(endpoints, interval * 1_000_000)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut serving = JoinSet::new();
        let mut addresses = Vec::new();
        for last in 1..=ADDRESSES {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await?;
            addresses.push(listener.local_addr()?);
            serving.spawn(accept(listener, recorded.clone()));
        }
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&addresses)?)?;
        let (done, ended) = oneshot::channel();
        std::thread::spawn(move || done.send(listen_to_words(&recorded)));
        ended.await?
    })
}

fn listen_to_words(recorded: &Shared) -> anyhow::Result<()> {
    for word in std::io::stdin().lines() {
        let answer = recorded.lock().unwrap_or_else(PoisonError::into_inner).obey(&word?)?;
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, recorded: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                recorded.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
                connections.spawn(serve(stream, recorded.clone()));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Answers the requests of a connection until the client closes it; how it ends is the client's affair.
async fn serve(mut stream: TcpStream, recorded: Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        if let Some(index) = index_of(&buffer) {
            recorded.lock().unwrap_or_else(PoisonError::into_inner).arrived(index);
        }
        buffer.clear();
        stream.write_all(ANSWER).await?;
    }
}

/// The endpoint that a request such as `GET /17 HTTP/1.1` is about.
fn index_of(request: &[u8]) -> Option<usize> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.strip_prefix('/')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn requests_name_their_endpoint() {
        assert_eq!(index_of(b"GET /17 HTTP/1.1\r\nhost: x\r\n\r\n"), Some(17));
        assert_eq!(index_of(b"GET /favicon HTTP/1.1\r\n\r\n"), None);
    }
}
