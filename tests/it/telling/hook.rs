//! A webhook receiver on a thread of its own that remembers what it took, and can kill the sender at a chosen moment.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// At which moment of a request the sender is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The request is not read, let alone kept.
    BeforeReading,
    /// It is kept, and not answered.
    BeforeTheAnswer,
    /// It is kept and answered: the sender may or may not have noted so.
    AfterTheAnswer,
}

/// How long an answer takes until the kill has come, so that messages pile up in the sender.
const SLOWLY: Duration = Duration::from_millis(700);

/// A kill to come.
#[derive(Debug, Clone, Copy)]
struct Aim {
    process: u32,
    moment: Moment,
    /// Requests before the one that kills.
    after: usize,
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Vec<(Instant, Value)>>,
    aim: Mutex<Option<Aim>>,
    kills: AtomicU32,
    gone: AtomicBool,
    /// What it answers, beside 200 without a body.
    says: Mutex<Option<(&'static str, &'static str)>>,
}

pub(crate) struct Hook {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Hook {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.gone.load(Ordering::Relaxed) {
                    return;
                }
                let server = server.clone();
                if let Ok(stream) = stream {
                    // A sender that dies in the middle is nothing to a receiver.
                    std::thread::spawn(move || drop(server.serve(stream)));
                }
            }
        });
        Self { address, shared }
    }

    /// As [`start`](Self::start), and answers so.
    pub(crate) fn saying(status: &'static str, body: &'static str) -> Self {
        let hook = Self::start();
        *hook.shared.says.lock().unwrap() = Some((status, body));
        hook
    }

    /// Without a path.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Every message that was read, and when.
    pub(crate) fn taken(&self) -> Vec<(Instant, Value)> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Kills a process at this moment of the request that comes after so many others.
    pub(super) fn aim(&self, process: u32, moment: Moment, after: usize) {
        *self.shared.aim.lock().unwrap() = Some(Aim { process, moment, after });
    }

    /// Kills that were made.
    pub(super) fn kills(&self) -> u32 {
        self.shared.kills.load(Ordering::Relaxed)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// The moment at which this request is to kill, if it is the one.
    fn moment(&self) -> Option<Aim> {
        let mut aim = self.aim.lock().unwrap();
        match aim.as_mut() {
            Some(waiting) if waiting.after > 0 => {
                waiting.after -= 1;
                None
            }
            _ => aim.take(),
        }
    }

    fn kill(&self, aim: Option<Aim>, moment: Moment) -> std::io::Result<()> {
        if let Some(aim) = aim.filter(|aim| aim.moment == moment) {
            // Counted before: whoever waits for its end asks at once.
            self.kills.fetch_add(1, Ordering::Relaxed);
            kill(aim.process);
            return Err(std::io::Error::other("the sender is dead"));
        }
        Ok(())
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else {
                match stream.read(&mut piece)? {
                    0 => return Ok(()),
                    count => buffer.extend_from_slice(&piece[..count]),
                }
                continue;
            };
            let slow = self.aim.lock().unwrap().is_some();
            let aim = self.moment();
            self.kill(aim, Moment::BeforeReading)?;
            let length = String::from_utf8_lossy(&buffer[..head])
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok())
                .unwrap_or_default();
            while buffer.len() < head + 4 + length {
                match stream.read(&mut piece)? {
                    0 => return Ok(()),
                    count => buffer.extend_from_slice(&piece[..count]),
                }
            }
            let body = serde_json::from_slice(&buffer[head + 4..head + 4 + length]).unwrap();
            buffer.drain(..head + 4 + length);
            self.taken.lock().unwrap().push((Instant::now(), body));
            self.kill(aim, Moment::BeforeTheAnswer)?;
            if slow && aim.is_none() {
                std::thread::sleep(SLOWLY);
            }
            let (status, body) = self.says.lock().unwrap().unwrap_or(("200 OK", ""));
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes())?;
            self.kill(aim, Moment::AfterTheAnswer)?;
        }
    }
}

/// Ends a process at once.
pub(super) fn kill(process: u32) {
    assert!(Command::new("kill").arg("-KILL").arg(process.to_string()).status().unwrap().success());
}
