//! A target on this machine whose answers a test decides, and which notes who asked when.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// What a request gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    After(Duration, u16),
    /// Nothing, until the client goes away.
    Hang,
}

/// Decides by path and by how many requests for it came before.
type Script = dyn Fn(&str, usize) -> Answer + Send + Sync;

pub(crate) struct Target {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    hits: Mutex<HashMap<String, Vec<Instant>>>,
    gone: AtomicBool,
}

impl Target {
    pub(crate) fn answering(script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", script)
    }

    /// At another address of this machine.
    pub(crate) fn at(address: &str, script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { script: Box::new(script), hits: Mutex::default(), gone: AtomicBool::new(false) });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.gone.load(Ordering::Relaxed) {
                    return;
                }
                let server = Arc::clone(&server);
                if let Ok(stream) = stream {
                    // A client that goes away in the middle is nothing to a target.
                    std::thread::spawn(move || drop(server.answer(stream)));
                }
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// `address:port`
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// When requests for a path came.
    pub(crate) fn hits(&self, path: &str) -> Vec<Instant> {
        self.shared.hits.lock().unwrap().get(path).cloned().unwrap_or_default()
    }
}

/// A target whose status a test changes as it goes.
pub(crate) struct Switched {
    target: Target,
    status: Arc<AtomicU16>,
}

impl Switched {
    pub(crate) fn good() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let asked = status.clone();
        Self { target: Target::answering(move |_, _| Answer::Status(asked.load(Ordering::Relaxed))), status }
    }

    pub(crate) fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.target.url(path)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut piece = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                count => request.extend_from_slice(&piece[..count]),
            }
        }
        let head = String::from_utf8_lossy(&request);
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let before = {
            let mut hits = self.hits.lock().unwrap();
            let hits = hits.entry(path.clone()).or_default();
            hits.push(Instant::now());
            hits.len() - 1
        };
        let status = match (self.script)(&path, before) {
            Answer::Status(status) => status,
            Answer::After(pause, status) => {
                std::thread::sleep(pause);
                status
            }
            Answer::Hang => {
                while stream.read(&mut piece)? > 0 {}
                return Ok(());
            }
        };
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    }
}
