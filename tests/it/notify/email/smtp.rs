//! An SMTP server that remembers its mails, and a reader of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How the server behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) implicit_tls: bool,
    pub(crate) offers_starttls: bool,
    pub(crate) refuses_login: bool,
    pub(crate) refused_address: Option<&'static str>,
    pub(crate) data_answer: &'static str,
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            implicit_tls: false,
            offers_starttls: true,
            refuses_login: false,
            refused_address: None,
            data_answer: "250 2.0.0 queued as 1",
        }
    }
}

/// A mail that was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    pub(crate) by_tls: bool,
    /// `user/password`
    pub(crate) login: Option<String>,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    text: String,
}

#[derive(Debug, Clone, Default)]
struct Shared {
    mails: Arc<Mutex<Vec<Mail>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct Smtp {
    pub(crate) address: SocketAddr,
    shared: Shared,
    ca_file: tempfile::NamedTempFile,
    _server: JoinSet<()>,
}

impl Smtp {
    pub(crate) async fn start(talk: Talk) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, pem) = identity();
        let ca_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca_file.path(), pem).unwrap();
        let shared = Shared::default();
        let remembered = shared.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, shared) = (acceptor.clone(), remembered.clone());
                connections.spawn(async move { drop(serve(stream, acceptor, talk, shared).await) });
            }
        });
        Self { address, shared, ca_file, _server: server }
    }

    pub(crate) fn ca_file(&self) -> String {
        self.ca_file.path().to_str().unwrap().to_owned()
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// Every line that came, without the mails.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }
}

/// A certificate for `localhost` and the authority that vouches for it.
fn identity() -> (TlsAcceptor, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], der)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, talk: Talk, shared: Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if talk.implicit_tls {
        let mut stream = BufStream::new(acceptor.accept(stream).await?);
        say(&mut stream, "220 localhost").await?;
        return converse(&mut stream, talk, &shared, true).await.map(drop);
    }
    let mut plain = BufStream::new(stream);
    say(&mut plain, "220 localhost").await?;
    if converse(&mut plain, talk, &shared, false).await? {
        let mut stream = BufStream::new(acceptor.accept(plain.into_inner()).await?);
        converse(&mut stream, talk, &shared, true).await?;
    }
    Ok(())
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// Returns whether the client wants to go on by TLS.
async fn converse<S>(stream: &mut BufStream<S>, talk: Talk, shared: &Shared, by_tls: bool) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut mail = Mail { by_tls, ..Mail::default() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_owned();
        shared.heard.lock().unwrap().push(line.clone());
        let address = || line.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned();
        match line.split([' ', ':']).next().unwrap() {
            "EHLO" => {
                let starttls = if talk.offers_starttls && !by_tls { "250-STARTTLS\r\n" } else { "" };
                say(stream, &format!("250-localhost\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250 8BITMIME")).await?;
            }
            "STARTTLS" => {
                say(stream, "220 go ahead").await?;
                return Ok(true);
            }
            // Some repeat what they refuse.
            "AUTH" if talk.refuses_login => say(stream, &format!("535 5.7.8 authentication failed: {line}")).await?,
            "AUTH" => {
                let encoded = line.strip_prefix("AUTH PLAIN ").unwrap();
                let decoded = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
                mail.login = Some(decoded.trim_start_matches('\0').replace('\0', "/"));
                say(stream, "235 2.7.0 welcome").await?;
            }
            "MAIL" => {
                (mail.from, mail.to) = (address(), Vec::new());
                say(stream, "250 2.1.0 ok").await?;
            }
            "RCPT" if talk.refused_address == Some(address().as_str()) => say(stream, "550 5.1.1 no such user").await?,
            "RCPT" => {
                mail.to.push(address());
                say(stream, "250 2.1.5 ok").await?;
            }
            "DATA" => {
                say(stream, "354 go on").await?;
                mail.text = data(stream).await?;
                if talk.data_answer.starts_with('2') {
                    shared.mails.lock().unwrap().push(mail.clone());
                }
                say(stream, talk.data_answer).await?;
            }
            "QUIT" => {
                say(stream, "221 bye").await?;
                return Ok(false);
            }
            _ => say(stream, "250 2.0.0 ok").await?,
        }
    }
}

async fn data(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

impl Mail {
    /// The headers of the mail, unfolded.
    fn headers(&self) -> Vec<(String, String)> {
        headers(self.text.split_once("\r\n\r\n").unwrap().0)
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        self.headers().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.header_names().iter().any(|n| n == name)
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers().into_iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    pub(crate) fn subject(&self) -> String {
        decoded_words(&self.header("Subject"))
    }

    /// The text of a part, decoded, with plain line ends.
    pub(crate) fn part(&self, content_type: &str) -> String {
        let outer = self.header("Content-Type");
        let boundary = outer.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        for part in self.text.split(&format!("--{boundary}")).skip(1) {
            let Some((head, body)) = part.trim_start().split_once("\r\n\r\n") else { continue };
            let headers = headers(head);
            let is = |name: &str, value: &str| headers.iter().any(|(n, v)| n == name && v.starts_with(value));
            if !is("Content-Type", content_type) {
                continue;
            }
            let body = if is("Content-Transfer-Encoding", "base64") {
                String::from_utf8(STANDARD.decode(body.replace("\r\n", "")).unwrap()).unwrap()
            } else if is("Content-Transfer-Encoding", "quoted-printable") {
                unquoted(&body.replace("=\r\n", ""))
            } else {
                body.to_owned()
            };
            return body.replace("\r\n", "\n").trim_end().to_owned();
        }
        panic!("no {content_type} in {}", self.text)
    }
}

fn headers(head: &str) -> Vec<(String, String)> {
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let line = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
        (name.to_owned(), value.to_owned())
    };
    unfolded.split("\r\n").map(line).collect()
}

/// The encoded words of RFC 2047, as far as they are base64.
fn decoded_words(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut after_encoded = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let encoded = word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?="));
        let joined = encoded.is_some() && after_encoded;
        if !bytes.is_empty() && !joined {
            bytes.push(b' ');
        }
        match encoded {
            Some(encoded) => bytes.extend(STANDARD.decode(encoded).unwrap()),
            None => bytes.extend(word.as_bytes()),
        }
        after_encoded = encoded.is_some();
    }
    String::from_utf8(bytes).unwrap()
}

fn unquoted(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'=' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
