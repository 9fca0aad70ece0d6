//! An HTTPS server whose certificate the test makes, and makes anew.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use api_monitor::clock::{Clock, SystemClock};
use chrono::TimeDelta;
use rustls::pki_types::PrivateKeyDer;

/// Serves as long as the test lasts.
pub(crate) struct Secure {
    address: SocketAddr,
    config: Arc<Mutex<Arc<rustls::ServerConfig>>>,
}

/// A server with a certificate for these names, which began and ends so many days from now.
fn config(names: &[&str], days: (i64, i64)) -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (in_days(days.0).into(), in_days(days.1).into());
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    Arc::new(config)
}

fn in_days(days: i64) -> SystemTime {
    (SystemClock::new().now() + TimeDelta::days(days)).into()
}

impl Secure {
    pub(crate) fn start(names: &[&str], days: (i64, i64)) -> Self {
        let (served, listener) = (Arc::new(Mutex::new(config(names, days))), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let shown = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let config = shown.lock().unwrap().clone();
                let connection = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut request = [0; 4096];
                // Whatever is asked; a client that goes away is nothing to it.
                if stream.read(&mut request).is_ok() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    drop(stream.write_all(answer).and_then(|()| stream.flush()));
                    stream.conn.send_close_notify();
                    drop(stream.flush());
                }
            }
        });
        Self { address, config: served }
    }

    /// Another certificate from now on.
    pub(crate) fn renew(&self, names: &[&str], days: (i64, i64)) {
        *self.config.lock().unwrap() = config(names, days);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }
}
