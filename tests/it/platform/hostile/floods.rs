//! What hostile servers send.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use super::Hostile;
use crate::platform::failing::{Identity, Server, Then, gzip, read_head};

const MIB: usize = 1024 * 1024;

/// Between two pieces, so that what is tried is the memory and not the processors.
const PAUSE: Duration = Duration::from_millis(5);

fn again(piece: impl Into<Vec<u8>>) -> Then {
    Then::Repeat(piece.into(), PAUSE)
}

/// Sends the same again and again.
async fn flood(stream: &mut (impl AsyncWrite + Unpin), piece: &[u8]) {
    while stream.write_all(piece).await.is_ok() {
        sleep(PAUSE).await;
    }
}

fn coded(coding: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n\r\n")
}

async fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder =
        async_compression::tokio::write::BrotliEncoder::with_quality(Vec::new(), async_compression::Level::Fastest);
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// The beginning of a brotli stream with the largest window that there is, 16 MiB, and as many bytes to come as they are.
const WIDE: [u8; 4] = [0xcf, 0xff, 0xff, 0xff];

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// `:status` as a block of HPACK, by its literal.
fn status(code: &str) -> Vec<u8> {
    [&[0x08, 3], code.as_bytes()].concat()
}

/// A header of so many bytes which is kept in the table, `x: yyy…`.
fn header(bytes: u8) -> Vec<u8> {
    [&[0x40, 1, b'x', bytes][..], &vec![b'y'; usize::from(bytes)]].concat()
}

/// Speaks HTTP/2 until a request has come, then sends `first` once and `then` again and again.
async fn second(mut stream: TcpStream, first: Vec<u8>, then: Vec<u8>) {
    drop(stream.write_all(&frame(SETTINGS, 0, 0, &[])).await);
    let mut preface = [0; 24];
    drop(stream.read_exact(&mut preface).await);
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        match head[3] {
            SETTINGS if head[4] == 0 => drop(stream.write_all(&frame(SETTINGS, 1, 0, &[])).await),
            HEADERS => break,
            _ => {}
        }
    }
    drop(stream.write_all(&first).await);
    let (mut reader, mut writer) = stream.split();
    // What is said to it is taken, as a server does that wants to be listened to.
    let reading = async {
        let mut rest = [0; 4096];
        while reader.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    };
    let writing = async {
        if then.is_empty() {
            std::future::pending::<()>().await;
        }
        flood(&mut writer, &then).await;
    };
    tokio::select! { () = reading => {}, () = writing => {} }
}

impl Hostile {
    pub(super) async fn bodies(&mut self) {
        let wants_it = || json!({"conditions": ["[STATUS] == 200", "len([BODY]) > 0"]});
        self.answer("endless", "HTTP/1.1 200 OK\r\n\r\n", again(vec![b'x'; 65_536]), json!({})).await;
        self.answer("endless and wanted", "HTTP/1.1 200 OK\r\n\r\n", again(vec![b'x'; 65_536]), wants_it()).await;
        let large = json!({"max_body_bytes": "100MiB"});
        self.answer("endless and long", "HTTP/1.1 200 OK\r\n\r\n", again(vec![b'x'; 65_536]), large).await;
        let mut most = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        most.resize(most.len() + MIB - 1, b'x');
        self.answer("nearly all, and then silence", most.clone(), Then::Hold, json!({})).await;
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [b"4000\r\n", &vec![b'x'; 0x4000][..], b"\r\n"].concat();
        self.answer("endless chunks", chunked, again(chunk), json!({})).await;
        self.answer("tiny chunks", chunked, again("1\r\nx\r\n".repeat(1_000)), json!({})).await;
        self.answer(
            "a chunk of all there is",
            format!("{chunked}fffffffffffffff0\r\n"),
            again(vec![0; 65_536]),
            json!({}),
        )
        .await;
        self.answer("endless extension", format!("{chunked}4;x="), again(vec![b'x'; 65_536]), json!({})).await;
        self.answer(
            "endless trailers",
            format!("{chunked}0\r\n"),
            again("x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1_000)),
            json!({}),
        )
        .await;
        self.answer("an endless trailer", format!("{chunked}0\r\nx: "), again(vec![b'x'; 65_536]), json!({})).await;
        // Of gzip there may be one member after another without an end.
        let bomb = gzip(&vec![0; 2 * MIB]);
        self.answer("gzip", coded("gzip"), again(bomb.clone()), json!({})).await;
        self.answer("gzip and wanted", coded("gzip"), again(bomb.clone()), wants_it()).await;
        self.answer("gzip of gzip", coded("gzip, gzip"), again(gzip(&bomb)), json!({})).await;
        let bomb = brotli(&vec![0; 2 * MIB]).await;
        self.answer("brotli", [coded("br").as_bytes(), &bomb].concat(), Then::Hold, json!({})).await;
        let wide = [coded("br").as_bytes(), &WIDE].concat();
        self.answer("wide brotli", wide.clone(), again(vec![b'x'; 65_536]), json!({})).await;
        let stalled = [&wide[..], &vec![b'x'; MIB - 1]].concat();
        self.answer("wide brotli that stalls", stalled, Then::Hold, json!({})).await;
        self.answer("deflate", coded("deflate"), again(vec![0x78, 0x9c]), json!({})).await;
    }

    pub(super) async fn heads(&mut self) {
        self.answer("an endless header", "HTTP/1.1 200 OK\r\nx: ", again(vec![b'y'; 65_536]), json!({})).await;
        self.answer("endless headers", "HTTP/1.1 200 OK\r\n", again("x: y\r\n".repeat(1_000)), json!({})).await;
        self.answer("an endless reason", "HTTP/1.1 200 ", again(vec![b'y'; 65_536]), json!({})).await;
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1_000);
        self.answer("endless hints", "", again(hints), json!({})).await;
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(120 * 1024));
        self.answer("a long header, and then silence", long, Then::Hold, json!({})).await;
        let cookies = "Set-Cookie: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=b\r\n".repeat(900);
        let many = format!("HTTP/1.1 200 OK\r\n{cookies}\r\n");
        self.answer("many headers, and then silence", many, Then::Hold, json!({"conditions": ["[HEADER].x == 1"]}))
            .await;
        let far = format!("HTTP/1.1 302 Found\r\nlocation: /{}\r\ncontent-length: 0\r\n\r\n", "y".repeat(60 * 1024));
        self.answer("a long way", far, Then::Close, json!({})).await;
        let proxy = Server::answering("HTTP/1.1 200 OK\r\nx: ", again(vec![b'y'; 65_536])).await;
        let by = json!({"proxy": format!("http://{}", proxy.address)});
        self.add("a proxy that talks", "https://shop.example/", by, proxy);
    }

    pub(super) async fn frames(&mut self) {
        let ok = || frame(HEADERS, END_HEADERS, 1, &status("200"));
        let literal = |bytes: usize| -> Vec<u8> {
            // Not kept in the table: `x` and a value of so many bytes, again and again.
            [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(bytes / 104)
        };
        // One header of the table, said again by one byte each.
        let again_of_it = vec![0xbe; 16_000];
        let opened = [status("200"), header(120)].concat();
        for (what, first, then) in [
            ("endless body", ok(), frame(DATA, 0, 1, &vec![b'x'; 16_384])),
            ("empty pieces", ok(), frame(DATA, 0, 1, &[]).repeat(100)),
            (
                "headers without an end",
                frame(HEADERS, 0, 1, &status("200")),
                frame(CONTINUATION, 0, 1, &literal(16_000)),
            ),
            ("empty continuations", frame(HEADERS, 0, 1, &status("200")), frame(CONTINUATION, 0, 1, &[]).repeat(100)),
            ("headers that grow", frame(HEADERS, 0, 1, &opened), frame(CONTINUATION, 0, 1, &again_of_it)),
            (
                "endless hints of HTTP/2",
                Vec::new(),
                frame(HEADERS, END_HEADERS, 1, &[status("103"), literal(1_000)].concat()),
            ),
            (
                "trailers without an end",
                ok(),
                [frame(HEADERS, 1, 1, &literal(16_000)), frame(CONTINUATION, 0, 1, &literal(16_000)).repeat(50)]
                    .concat(),
            ),
            ("settings", ok(), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100)),
            ("pings", ok(), frame(PING, 0, 0, &[0; 8]).repeat(100)),
            ("frames of no kind", ok(), frame(0xfa, 0, 0, &vec![0; 16_384])),
            ("silence", ok(), Vec::new()),
        ] {
            let server = Server::start(move |stream| second(stream, first.clone(), then.clone())).await;
            let url = format!("http://{}/", server.address);
            self.add(what, &url, json!({"http_version": "2"}), server);
        }
    }

    pub(super) async fn streams(&mut self) {
        let expecting = || json!({"expect": "what never comes"});
        let server = Server::start(|mut stream| async move { flood(&mut stream, &vec![b'x'; 65_536]).await }).await;
        self.add("bytes", &format!("tcp://{}", server.address), expecting(), server);
        let server = Server::start(|mut stream| async move {
            drop(stream.write_all(&vec![b'x'; 64 * 1024 - 1]).await);
            std::future::pending::<()>().await;
        })
        .await;
        self.add("nearly all, and then silence", &format!("tcp://{}", server.address), expecting(), server);
        let own = Identity::self_signed("shop.example").acceptor(&[]);
        let server = Server::start(move |stream| {
            let own = own.clone();
            async move {
                let Ok(mut stream) = own.accept(stream).await else { return };
                flood(&mut stream, &vec![b'x'; 65_536]).await;
            }
        })
        .await;
        let mut settings = expecting();
        settings["tls"] = json!({"verify": false});
        self.add("encrypted bytes", &format!("tls://{}", server.address), settings, server);
        // A record of TLS that never ends, and a message of a handshake of sixteen megabytes.
        let server = Server::start(|mut stream| async move {
            let mut hello = [0; 4096];
            drop(stream.read(&mut hello).await);
            let record = [&[22, 3, 3, 0x40, 0][..], &[11, 0xff, 0xff, 0xff], &[0; 0x4000 - 4]].concat();
            flood(&mut stream, &record).await;
        })
        .await;
        self.add("a handshake without an end", &format!("tls://{}", server.address), json!({}), server);
        // As long as an answer may be, with records of nothing but names.
        let server = Server::start(|mut stream| async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; usize::from(length)];
                if stream.read_exact(&mut question).await.is_err() {
                    return;
                }
                let mut at = 12;
                while question[at] != 0 {
                    at += usize::from(question[at]) + 1;
                }
                let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1];
                let count = 4_000_u16;
                let mut answer = question[..2].to_vec();
                answer.extend([0x81, 0x80, 0, 1]);
                answer.extend(count.to_be_bytes());
                answer.extend([0; 4]);
                answer.extend(&question[12..at + 5]);
                answer.extend(record.repeat(usize::from(count)));
                drop(stream.write_u16(u16::try_from(answer.len()).unwrap()).await);
                drop(stream.write_all(&answer).await);
            }
        })
        .await;
        self.add("many records", &format!("dns://{}/shop.example?transport=tcp", server.address), json!({}), server);
        let server = Server::start(|mut stream| async move {
            drop(stream.write_u16(u16::MAX).await);
            flood(&mut stream, &vec![0xc0; 65_535]).await;
        })
        .await;
        self.add("what is no DNS", &format!("dns://{}/shop.example?transport=tcp", server.address), json!({}), server);
    }

    pub(super) async fn messages(&mut self) {
        let expecting = || json!({"expect": "what never comes"});
        let upgraded = |what: &'static str, after: Vec<u8>, then: Vec<u8>| async move {
            let server = Server::start(move |stream| {
                let (after, then) = (after.clone(), then.clone());
                async move {
                    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    let mut stream = socket.into_inner();
                    drop(stream.write_all(&after).await);
                    flood(&mut stream, &then).await;
                }
            })
            .await;
            (what, server)
        };
        let long = [&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0][..], &vec![b'x'; 65_536]].concat();
        let longest = vec![0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let fragment = [&[0x00, 100][..], &[b'x'; 100]].concat().repeat(600);
        for (what, server) in [
            upgraded("a long frame", long, vec![b'x'; 65_536]).await,
            upgraded("the longest frame", longest, vec![b'x'; 65_536]).await,
            upgraded("fragments", vec![0x01, 1, b'x'], fragment).await,
            upgraded("fragments of nothing", vec![0x01, 1, b'x'], [0x00, 0].repeat(30_000)).await,
            upgraded("web socket pings", Vec::new(), [0x89, 2, b'x', b'x'].repeat(10_000)).await,
            upgraded("messages", Vec::new(), [0x81, 2, b'x', b'x'].repeat(10_000)).await,
            upgraded("messages of nothing", Vec::new(), [0x81, 0].repeat(30_000)).await,
        ] {
            self.add(what, &format!("ws://{}/", server.address), expecting(), server);
        }
        let server = Server::start(|stream| async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while socket.send(Message::text("x".repeat(60_000))).await.is_ok() {
                sleep(PAUSE).await;
            }
        })
        .await;
        self.add("long messages", &format!("ws://{}/", server.address), expecting(), server);
        for (what, answer) in [
            ("an endless upgrade", "HTTP/1.1 101 Switching Protocols\r\nx: "),
            ("an endless refusal", "HTTP/1.1 403 Forbidden\r\n\r\n"),
        ] {
            let server = Server::start(move |mut stream| async move {
                read_head(&mut stream).await;
                drop(stream.write_all(answer.as_bytes()).await);
                flood(&mut stream, &vec![b'y'; 65_536]).await;
            })
            .await;
            self.add(what, &format!("ws://{}/", server.address), expecting(), server);
        }

        let head = frame(HEADERS, END_HEADERS, 1, &status("200"));
        let long = [0, 0x7f, 0xff, 0xff, 0xff].to_vec();
        let literal = [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(150);
        for (what, first, then) in [
            ("a long message", [head.clone(), frame(DATA, 0, 1, &long)].concat(), frame(DATA, 0, 1, &[b'x'; 16_384])),
            ("calls of nothing", head.clone(), frame(DATA, 0, 1, &[]).repeat(100)),
            ("metadata without an end", frame(HEADERS, 0, 1, &status("200")), frame(CONTINUATION, 0, 1, &literal)),
            ("a call that hangs", head, Vec::new()),
        ] {
            let server = Server::start(move |stream| second(stream, first.clone(), then.clone())).await;
            self.add(what, &format!("grpc://{}", server.address), json!({}), server);
        }
    }
}
