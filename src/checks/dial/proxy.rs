//! Connections by way of a proxy: HTTP's CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928, with the password of
//! RFC 1929).
//!
//! A name is the proxy's to look up, unless the endpoint says where it leads. What was made through the API obeys the
//! outbound policy here as well: its name is looked up by us, and the proxy is told the address that was examined.

use std::io;
use std::net::IpAddr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Connected, Dialler, Route};
use crate::checks::failure::shown;
use crate::checks::trace::Trace;
use crate::domain::dial::{Proxy, ProxyKind};
use crate::domain::endpoint::Origin;
use crate::domain::outcome::{Failure, FailureKind};

/// Bound of what an HTTP proxy may answer to CONNECT.
const MAX_HEAD: usize = 16 * 1024;

/// `host:port` of a proxy, without its login.
pub(in crate::checks) fn place(proxy: &Proxy) -> String {
    if proxy.host.contains(':') {
        format!("[{}]:{}", proxy.host, proxy.port)
    } else {
        format!("{}:{}", proxy.host, proxy.port)
    }
}

/// The header with which a proxy is logged in to.
pub(in crate::checks) fn authorization(proxy: &Proxy) -> Option<String> {
    let (user, password) = proxy.login.as_ref()?;
    Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

impl Dialler {
    /// Connects to a proxy, for a request that names its destination itself.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), as `proxy_failed`.
    pub(in crate::checks) async fn dial_proxy(
        &self,
        proxy: &Proxy,
        route: &Route<'_>,
        trace: &Trace,
    ) -> Result<Connected, Failure> {
        trace.goes_by(&place(proxy));
        self.dial(&proxy.host, proxy.port, route, trace).await.map_err(|failure| match failure.kind {
            FailureKind::OutboundRefused => failure,
            _ => failed(proxy, &format!("cannot be used: {}", failure.message)),
        })
    }

    /// Connects to `host` and `port` by way of a proxy. The trace is left as by [`dial`](Self::dial), with the
    /// proxy's address as the other end of the connection.
    ///
    /// # Errors
    /// `proxy_failed` as the proxy cannot be reached or does not connect; as the destination is not to be connected to.
    pub(in crate::checks) async fn dial_by(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
        route: &Route<'_>,
        trace: &Trace,
    ) -> Result<Connected, Failure> {
        let destination = self.destination(host, port, route, trace).await?;
        let mut connected = self.dial_proxy(proxy, route, trace).await?;
        match proxy.kind {
            ProxyKind::Http => connect(&mut connected.stream, proxy, &destination, port).await?,
            ProxyKind::Socks5 => socks5(&mut connected.stream, proxy, &destination, port).await?,
        }
        trace.tunnelled(host, port);
        Ok(connected)
    }

    /// What the proxy is told: a name, or an address without brackets.
    async fn destination(&self, host: &str, port: u16, route: &Route<'_>, trace: &Trace) -> Result<String, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_known = bare.parse::<IpAddr>().is_ok() || route.policy.resolve.contains_key(&bare.to_ascii_lowercase());
        if route.origin == Origin::Api || is_known {
            let addresses = self.resolve(host, port, route, trace).await?;
            return Ok(addresses.first().map_or_else(|| bare.to_owned(), ToString::to_string));
        }
        Ok(bare.to_owned())
    }
}

fn failed(proxy: &Proxy, how: &str) -> Failure {
    Failure::new(FailureKind::ProxyFailed, format!("The proxy {} {how}", place(proxy)))
}

fn cut(proxy: &Proxy, error: &io::Error) -> Failure {
    failed(proxy, &format!("ended the connection: {}", shown(&error.to_string())))
}

fn with_port(destination: &str, port: u16) -> String {
    if destination.contains(':') { format!("[{destination}]:{port}") } else { format!("{destination}:{port}") }
}

async fn connect(stream: &mut TcpStream, proxy: &Proxy, destination: &str, port: u16) -> Result<(), Failure> {
    let target = with_port(destination, port);
    let login = authorization(proxy).map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| cut(proxy, &error))?;
    let mut head = Vec::with_capacity(512);
    let mut piece = [0; 1024];
    let end = loop {
        let n = stream.read(&mut piece).await.map_err(|error| cut(proxy, &error))?;
        if n == 0 {
            return Err(failed(proxy, &format!("ended the connection instead of connecting to {target}")));
        }
        head.extend_from_slice(&piece[..n]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > MAX_HEAD {
            return Err(failed(proxy, "answered with more headers than are accepted"));
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let status = text.lines().next().unwrap_or_default();
    let mut words = status.splitn(2, ' ');
    let (version, said) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let code: Option<u16> = said.split(' ').next().and_then(|code| code.parse().ok());
    match code.filter(|_| version.starts_with("HTTP/1.")) {
        Some(200..=299) if head.len() == end => Ok(()),
        Some(200..=299) => Err(failed(proxy, "sent something of its own into the connection")),
        Some(_) => Err(failed(proxy, &format!("does not connect to {target}: {}", shown(said.trim())))),
        None => Err(failed(proxy, &format!("did not answer in valid HTTP: {}", shown(status)))),
    }
}

async fn socks5(stream: &mut TcpStream, proxy: &Proxy, destination: &str, port: u16) -> Result<(), Failure> {
    const VERSION: u8 = 5;
    const NO_LOGIN: u8 = 0;
    const BY_PASSWORD: u8 = 2;
    let methods: &[u8] =
        if proxy.login.is_some() { &[VERSION, 2, NO_LOGIN, BY_PASSWORD] } else { &[VERSION, 1, NO_LOGIN] };
    let foreign = || failed(proxy, "does not speak SOCKS5");
    stream.write_all(methods).await.map_err(|error| cut(proxy, &error))?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(|error| cut(proxy, &error))?;
    match (chosen, &proxy.login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, BY_PASSWORD], Some((user, password))) => {
            let mut login = vec![1];
            for text in [user, password] {
                // The settings allow no more.
                login.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                login.extend(text.bytes().take(255));
            }
            stream.write_all(&login).await.map_err(|error| cut(proxy, &error))?;
            let mut verdict = [0; 2];
            stream.read_exact(&mut verdict).await.map_err(|error| cut(proxy, &error))?;
            if verdict[1] != 0 {
                return Err(failed(proxy, "refuses the user or the password"));
            }
        }
        ([VERSION, _], _) => return Err(failed(proxy, "wants a login that is not given")),
        _ => return Err(foreign()),
    }
    let mut request = vec![VERSION, 1, 0];
    match destination.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            request.push(1);
            request.extend(v4.octets());
        }
        Ok(IpAddr::V6(v6)) => {
            request.push(4);
            request.extend(v6.octets());
        }
        Err(_) => {
            let length = u8::try_from(destination.len())
                .map_err(|_| failed(proxy, "cannot be told a name of more than 255 bytes"))?;
            request.extend([3, length]);
            request.extend(destination.bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(|error| cut(proxy, &error))?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(|error| cut(proxy, &error))?;
    let [version, verdict, _, kind] = reply;
    if version != VERSION {
        return Err(foreign());
    }
    if verdict != 0 {
        let why = match verdict {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "TTL expired",
            7 => "command not supported",
            8 => "address type not supported",
            _ => "unknown reason",
        };
        let target = with_port(destination, port);
        return Err(failed(proxy, &format!("does not connect to {target}: {why} ({verdict})")));
    }
    // The address that it connects from, which says nothing of worth.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let mut length = [0];
            stream.read_exact(&mut length).await.map_err(|error| cut(proxy, &error))?;
            usize::from(length[0])
        }
        _ => return Err(foreign()),
    };
    let mut bound = [0; 257];
    stream.read_exact(&mut bound[..length + 2]).await.map_err(|error| cut(proxy, &error))?;
    Ok(())
}
