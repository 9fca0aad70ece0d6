//! Healthy web servers: usual ones, and odd ones that are legal or that every browser puts up with.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use super::Healthy;
use crate::platform::failing::{Identity, Server, Then, gzip, read_head, reset};

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = async_compression::tokio::write::BrotliEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// `ok` as a frame of one block that is not compressed.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 0x11, 0, 0, b'o', b'k'];

/// What comes after an answer on a connection that could be kept.
#[derive(Debug, Clone, Copy)]
enum Idle {
    /// Serves on.
    Keep,
    /// Closes at once, without having said so. Where it is encrypted `cuts` says whether TLS is told.
    Close,
    Reset,
    /// Closes when the next request has come.
    CloseLate,
    ResetLate,
    /// Says that no request came in time, as proxies do, and closes.
    Timeout,
    /// The same when the next request is under way already.
    TimeoutLate,
    /// After a while.
    CloseAfter(Duration),
}

/// Answers until it is over. Whether the connection is to be reset then.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8], idle: Idle) -> bool {
    const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut served = 0;
    while read_head(stream).await {
        match idle {
            Idle::CloseLate if served > 0 => break,
            Idle::ResetLate if served > 0 => return true,
            Idle::TimeoutLate if served > 0 => {
                drop(stream.write_all(TIMEOUT).await);
                break;
            }
            _ => {}
        }
        if stream.write_all(answer).await.is_err() {
            return false;
        }
        served += 1;
        match idle {
            Idle::Close => break,
            Idle::Reset => return true,
            Idle::Timeout => {
                sleep(Duration::from_millis(100)).await;
                drop(stream.write_all(TIMEOUT).await);
                break;
            }
            Idle::CloseAfter(time) => {
                sleep(time).await;
                break;
            }
            Idle::Keep | Idle::CloseLate | Idle::ResetLate | Idle::TimeoutLate => {}
        }
    }
    false
}

/// Pieces of an answer, with a pause after each.
async fn in_pieces(pieces: &'static [(&'static str, u64)]) -> Server {
    Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        for (piece, pause) in pieces {
            drop(stream.write_all(piece.as_bytes()).await);
            sleep(Duration::from_millis(*pause)).await;
        }
        drop(stream.shutdown().await);
    })
    .await
}

impl Healthy {
    pub(super) async fn web(&mut self) {
        self.usual().await;
        self.odd().await;
        self.late().await;
        self.compressed().await;
        self.redirects().await;
        self.kept().await;
        self.encrypted().await;
        self.second_version().await;
    }

    async fn answers(&mut self, what: &str, answer: impl Into<Vec<u8>>, settings: Value) {
        let server = Server::answering(answer, Then::Close).await;
        self.add(what, &format!("http://{}/", server.address), settings);
        self.hold(server);
    }

    async fn usual(&mut self) {
        self.answers("plain", OK, json!({})).await;
        self.answers("posted", OK, json!({"method": "POST", "body": {"a": 1}})).await;
        self.answers("head", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", json!({"method": "HEAD"})).await;
        self.answers("with a login", OK, json!({"auth": {"basic": {"username": "u", "password": "p"}}})).await;
        let json_answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"UP\"}";
        let conditions = json!({"conditions": ["[STATUS] == 200", "[BODY].status == UP"]});
        self.answers("with conditions", json_answer, conditions).await;
        self.answers("degraded", OK, json!({"degraded_unless": ["[STATUS] == 201"]})).await;
        let server = Server::answering(OK, Then::Close).await;
        let proxy = format!("http://{}", server.address);
        self.add("by a proxy", "http://shop.example/", json!({"proxy": proxy}));
        self.hold(server);
    }

    async fn odd(&mut self) {
        for (what, answer) in [
            ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok"),
            ("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            ("no content-length", "HTTP/1.1 200 OK\r\n\r\nuntil the end"),
            ("connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"),
            (
                "early hints",
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ),
            (
                "continue, processing and early hints",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ),
            (
                "chunks with trailers",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Server-Timing\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 1\r\nServer-Timing: a;dur=1\r\n\r\n",
            ),
            (
                "chunks with extensions",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n002;a=b;c=\"d\"\r\nok\r\n000;last\r\n\r\n",
            ),
            ("chunks of nothing", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("upper case", "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 2\r\nCONNECTION: KEEP-ALIVE\r\n\r\nok"),
            ("odd case", "HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh:2\r\n\r\nok"),
            ("no reason", "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok"),
            ("no reason and no space", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok"),
            ("a reason of the house", "HTTP/1.1 200 Tout va bien, merci!\r\ncontent-length: 2\r\n\r\nok"),
            ("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
            ("an empty header", "HTTP/1.1 200 OK\r\nX-Nothing:\r\nX-Blank:   \r\ncontent-length: 2  \r\n\r\nok"),
            (
                "a header on several lines",
                "HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\n\tthree\r\ncontent-length: 2\r\n\r\nok",
            ),
            ("a length said twice", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
            ("an empty body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            ("more than its length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more"),
        ] {
            self.answers(what, answer, json!({})).await;
        }
        self.answers(
            "other letters",
            &b"HTTP/1.1 200 Sch\xf6n\r\nX-City: M\xfcnchen\r\ncontent-length: 2\r\n\r\nok"[..],
            json!({}),
        )
        .await;
        let any = |code: u16| json!({"expected_status": code});
        self.answers("204", "HTTP/1.1 204 No Content\r\n\r\n", any(204)).await;
        self.answers("204 with a length", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", any(204)).await;
        self.answers("304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2000\r\netag: \"a\"\r\n\r\n", any(304)).await;
        self.answers("a status of the house", "HTTP/1.1 299 Odd\r\ncontent-length: 2\r\n\r\nok", any(299)).await;
        self.answers(
            "a range",
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/9\r\ncontent-length: 2\r\n\r\nok",
            json!({"expected_status": "2xx"}),
        )
        .await;
        let cookies = "Set-Cookie: c=1\r\n".repeat(150);
        self.answers("many cookies", format!("HTTP/1.1 200 OK\r\n{cookies}content-length: 2\r\n\r\nok"), json!({}))
            .await;
        let policy = "x".repeat(60_000);
        self.answers(
            "a long header",
            format!("HTTP/1.1 200 OK\r\nCSP: {policy}\r\ncontent-length: 2\r\n\r\nok"),
            json!({}),
        )
        .await;
        let long = vec![b'x'; 3 * 1024 * 1024];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", long.len());
        self.answers("a body beyond the bound", [head.as_bytes(), &long].concat(), json!({})).await;
        self.answers(
            "a body without a length beyond the bound",
            [b"HTTP/1.1 200 OK\r\n\r\n", &long[..]].concat(),
            json!({}),
        )
        .await;
        // Taken leave of with RST, as some load balancers do, after all has been said.
        let server = Server::start(|mut stream| async move {
            read_head(&mut stream).await;
            drop(stream.write_all(OK.as_bytes()).await);
            sleep(Duration::from_millis(200)).await;
            reset(stream);
        })
        .await;
        self.add("a reset at the end", &format!("http://{}/", server.address), json!({}));
        self.hold(server);
    }

    async fn late(&mut self) {
        let slow = in_pieces(&[("", 3_000), (OK, 0)]).await;
        self.add("slow", &format!("http://{}/", slow.address), json!({}));
        let drops = in_pieces(&[
            ("HT", 300),
            ("TP/1.1 200 OK\r\ncont", 300),
            ("ent-length: 4\r\n\r", 300),
            ("\no", 300),
            ("k", 500),
            ("o", 500),
            ("k", 0),
        ])
        .await;
        self.add("drop by drop", &format!("http://{}/", drops.address), json!({}));
        let hints = in_pieces(&[("HTTP/1.1 103 Early Hints\r\n\r\n", 1_500), (OK, 0)]).await;
        self.add("early hints, then long nothing", &format!("http://{}/", hints.address), json!({}));
        for server in [slow, drops, hints] {
            self.hold(server);
        }
        // An error now and then, which another attempt makes good.
        let asked = AtomicU32::new(0);
        let server = Server::start(move |mut stream| {
            let fails = asked.fetch_add(1, Ordering::Relaxed) % 5 == 4;
            async move {
                read_head(&mut stream).await;
                if !fails {
                    drop(stream.write_all(OK.as_bytes()).await);
                }
            }
        })
        .await;
        // There must be time for it before the next slot.
        let retry = json!({"retry": {"enabled": true, "base_delay": "100ms"}, "timeout": "3s"});
        self.add("a blip", &format!("http://{}/", server.address), retry);
        self.hold(server);
    }

    async fn compressed(&mut self) {
        let text = b"Words that are said again, words that are said again, words that are said again.".repeat(50);
        let deflated = |raw: bool| {
            let mut into = Vec::new();
            if raw {
                let mut encoder = flate2::write::DeflateEncoder::new(&mut into, flate2::Compression::best());
                encoder.write_all(&text).unwrap();
                encoder.finish().unwrap();
            } else {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut into, flate2::Compression::best());
                encoder.write_all(&text).unwrap();
                encoder.finish().unwrap();
            }
            into
        };
        let bomb = gzip(&vec![0; 8 * 1024 * 1024]);
        for (what, answer) in [
            ("gzip", coded("gzip", &gzip(&text))),
            ("gzip in capitals", coded("GZIP", &gzip(&text))),
            ("gzip in two members", coded("x-gzip", &[gzip(&text), gzip(b"more")].concat())),
            ("gzip of nothing", coded("gzip", b"")),
            ("brotli", coded("br", &brotli(&text).await)),
            ("deflate", coded("deflate", &deflated(false))),
            ("deflate without a frame", coded("deflate", &deflated(true))),
            ("zstd unasked", coded("zstd", ZSTD)),
            ("identity", coded("identity", b"ok")),
            ("a compressed body beyond the bound", coded("gzip", &bomb)),
        ] {
            self.answers(what, answer, json!({})).await;
        }
        let chunk = gzip(&text);
        let mut chunked = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for piece in chunk.chunks(7) {
            chunked.extend(format!("{:x}\r\n", piece.len()).as_bytes());
            chunked.extend(piece);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\nx-sum: 1\r\n\r\n");
        self.answers("gzip in small chunks", chunked, json!({})).await;
    }

    async fn redirects(&mut self) {
        let server = Server::start(|mut stream| async move {
            let mut line = String::new();
            let mut reader = tokio::io::BufReader::new(&mut stream);
            drop(tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line).await);
            read_head(&mut reader).await;
            let at = line.split(' ').nth(1).unwrap_or_default();
            let (status, to) = match at {
                "/1" => ("301 Moved Permanently", "/2"),
                "/2" => ("302 Found", "3?x=1#there"),
                "/3?x=1" => ("303 See Other", "//shop.example/4"),
                "/4" => ("307 Temporary Redirect", "./5"),
                "/5" => ("308 Permanent Redirect", "/end with a space"),
                _ => ("200 OK", ""),
            };
            let to = if to.starts_with("//") {
                format!("//127.0.0.1:{}/4", stream.local_addr().unwrap().port())
            } else {
                to.to_owned()
            };
            let location = if to.is_empty() { String::new() } else { format!("Location: {to}\r\n") };
            let answer = format!("HTTP/1.1 {status}\r\n{location}content-length: 4\r\n\r\nbody");
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        })
        .await;
        self.add("redirects", &format!("http://{}/1", server.address), json!({}));
        let posted = json!({"method": "POST", "body": "x"});
        self.add("redirects of what is posted", &format!("http://{}/1", server.address), posted);
        self.hold(server);
    }

    async fn kept(&mut self) {
        let reuse = || json!({"reuse_connection": true});
        for (what, idle) in [
            ("kept", Idle::Keep),
            ("kept and closed", Idle::Close),
            ("kept and reset", Idle::Reset),
            ("kept and closed when asked", Idle::CloseLate),
            ("kept and reset when asked", Idle::ResetLate),
            ("kept and told to be idle", Idle::Timeout),
            ("kept and told to be idle when asked", Idle::TimeoutLate),
            ("kept for a while", Idle::CloseAfter(Duration::from_secs(2))),
        ] {
            let server = Server::start(move |mut stream| async move {
                if serve(&mut stream, OK.as_bytes(), idle).await {
                    reset(stream);
                }
            })
            .await;
            self.add(what, &format!("http://{}/", server.address), reuse());
            self.hold(server);
        }
        let server = Server::start(|mut stream| async move {
            serve(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n", Idle::CloseLate).await;
        })
        .await;
        self.add(
            "kept without a body",
            &format!("http://{}/", server.address),
            json!({"reuse_connection": true, "expected_status": 204}),
        );
        self.hold(server);
        let chunked: &'static [u8] =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-a: b\r\n\r\n";
        let server = Server::start(move |mut stream| async move {
            serve(&mut stream, chunked, Idle::ResetLate).await;
        })
        .await;
        self.add("kept after trailers", &format!("http://{}/", server.address), reuse());
        self.hold(server);
    }

    async fn encrypted(&mut self) {
        let trusted = self.trusted();
        let with = |more: Value| {
            let mut settings = json!({"tls": trusted});
            settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            settings
        };
        let own = self.authority.issue("shop.example", -1, 30);
        let middle = self.authority.subordinate("Intermediate of the house");
        let mut chained = middle.issue("shop.example", -1, 30);
        chained.chain.push(middle.der.clone());
        let short = self.authority.issue("shop.example", -89, 1);
        let wildcard = self.authority.issue("*.shop.example", -1, 30);
        for (what, identity) in
            [("an authority of the house", &own), ("with an intermediate", &chained), ("about to expire", &short)]
        {
            self.secure(what, identity, &[], false, Idle::Keep, with(json!({}))).await;
        }
        let mut named = with(json!({}));
        named["tls"]["server_name"] = json!("www.shop.example");
        self.secure("a wildcard", &wildcard, &[], false, Idle::Keep, named).await;
        self.secure("HTTP/1.1 chosen", &own, &["http/1.1"], false, Idle::Keep, with(json!({}))).await;
        self.secure("without a goodbye", &own, &[], true, Idle::Close, with(json!({}))).await;
        let reuse = || with(json!({"reuse_connection": true}));
        self.secure("kept and encrypted", &own, &[], false, Idle::Keep, reuse()).await;
        self.secure("encrypted and closed when asked", &own, &[], false, Idle::CloseLate, reuse()).await;
        self.secure("encrypted and cut when asked", &own, &[], true, Idle::CloseLate, reuse()).await;
        self.secure("encrypted and reset when asked", &own, &[], false, Idle::ResetLate, reuse()).await;
    }

    async fn secure(
        &mut self,
        what: &str,
        identity: &Identity,
        alpn: &[&str],
        cuts: bool,
        idle: Idle,
        settings: Value,
    ) {
        let acceptor = identity.acceptor(alpn);
        let server = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if serve(&mut stream, OK.as_bytes(), idle).await {
                    reset(stream.into_inner().0);
                } else if !cuts {
                    drop(stream.shutdown().await);
                }
            }
        })
        .await;
        self.add(what, &format!("https://shop.example:{}/", server.port()), settings);
        self.hold(server);
    }

    async fn second_version(&mut self) {
        let own = self.authority.issue("shop.example", -1, 30);
        let tls = self.trusted();
        for (what, turns, settings) in [
            ("HTTP/2", u32::MAX, json!({})),
            ("HTTP/2 kept", u32::MAX, json!({"reuse_connection": true})),
            ("HTTP/2 kept and taken leave of", 1, json!({"reuse_connection": true})),
        ] {
            let acceptor = own.acceptor(&["h2", "http/1.1"]);
            let server = Server::start(move |stream| {
                let acceptor = acceptor.clone();
                async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        second(stream, turns).await;
                    }
                }
            })
            .await;
            let mut settings = settings;
            settings["tls"] = tls.clone();
            self.add(what, &format!("https://shop.example:{}/", server.port()), settings);
            self.hold(server);
        }
        let server = Server::start(|stream| second(stream, u32::MAX)).await;
        self.add("HTTP/2 in the clear", &format!("http://{}/", server.address), json!({"http_version": "2"}));
        self.hold(server);
    }
}

/// Speaks HTTP/2, with early hints and trailers; says goodbye after so many answers, while others may be asked for.
async fn second(stream: impl AsyncRead + AsyncWrite + Unpin, turns: u32) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut served = 0;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let hints = http::Response::builder().status(103).header("link", "</a>").body(()).unwrap();
        drop(respond.send_informational(hints));
        let head = http::Response::builder().header("content-type", "text/plain").body(()).unwrap();
        let Ok(mut body) = respond.send_response(head, false) else { continue };
        drop(body.send_data(Bytes::from_static(b"ok"), false));
        let sums = http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        drop(body.send_trailers(sums));
        served += 1;
        if served == turns {
            connection.graceful_shutdown();
        }
    }
}
