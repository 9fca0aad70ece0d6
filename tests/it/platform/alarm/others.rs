//! Healthy servers of all kinds but HTTP, and names that lead to addresses of either family.

use std::any::Any;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use super::Healthy;
use super::web::OK;
use crate::platform::failing::{Server, Then};

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    // What nobody has asked for is passed over.
    drop(socket.send(Message::Ping(Bytes::from_static(b"there?"))).await);
    drop(socket.send(Message::text("welcome")).await);
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// The health protocol of gRPC: everything serves.
async fn health(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
        let Ok(mut body) = respond.send_response(head, false) else { continue };
        drop(body.send_data(Bytes::from_static(&[0, 0, 0, 0, 2]), false));
        drop(body.send_data(Bytes::from_static(&[8, 1]), false));
        let ok = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        drop(body.send_trailers(ok));
    }
}

async fn cache(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {
        // In two pieces.
        drop(stream.write_all(b"+PO").await);
        drop(stream.flush().await);
        sleep(Duration::from_millis(100)).await;
        drop(stream.write_all(b"NG\r\n").await);
        drop(stream.flush().await);
    }
}

impl Healthy {
    pub(super) async fn others(&mut self) {
        self.ports().await;
        self.sockets().await;
        self.families().await;
        let names = self.names.address;
        self.add("addresses", &format!("dns://{names}/shop.example"), json!({}));
        self.add("addresses by TCP", &format!("dns://{names}/shop.example?transport=tcp"), json!({}));
        self.add("many addresses", &format!("dns://{names}/many.example"), json!({}));
        self.add("addresses of the new kind", &format!("dns://{names}/six.example?type=AAAA"), json!({}));
        self.add("an alias", &format!("dns://{names}/alias.example"), json!({}));
        // Missed where the system does not permit it, which is no failure either.
        self.add("echoes", "icmp://127.0.0.1", json!({}));
    }

    async fn ports(&mut self) {
        let greeting = Server::start(|mut stream| async move {
            sleep(Duration::from_millis(300)).await;
            drop(stream.write_all(b"220-mail.example\r\n").await);
            sleep(Duration::from_millis(300)).await;
            drop(stream.write_all(b"220 ESMTP\r\n").await);
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        })
        .await;
        let at = greeting.address;
        self.add("a greeting", &format!("tcp://{at}"), json!({"expect": {"regex": "220 .*ESMTP"}}));
        self.add("a port", &format!("tcp://{at}"), json!({}));
        self.hold(greeting);
        let brief = Server::start(|mut stream| async move { drop(stream.write_all(b"hello").await) }).await;
        self.add("a greeting and goodbye", &format!("tcp://{}", brief.address), json!({"expect": "hello"}));
        self.add("a port that closes at once", &format!("tcp://{}", brief.address), json!({}));
        self.hold(brief);
        let own = self.authority.issue("shop.example", -1, 30).acceptor(&[]);
        let encrypted = Server::start(move |stream| {
            let own = own.clone();
            async move {
                if let Ok(stream) = own.accept(stream).await {
                    cache(stream).await;
                }
            }
        })
        .await;
        let url = format!("tls://shop.example:{}", encrypted.port());
        let tls = self.trusted();
        self.add("a port with TLS", &url, json!({"tls": tls}));
        self.add("TLS and an answer", &url, json!({"tls": tls, "send": "PING\r\n", "expect": "+PONG"}));
        self.hold(encrypted);
    }

    async fn sockets(&mut self) {
        let tls = self.trusted();
        let own = self.authority.issue("shop.example", -1, 30);
        let plain = Server::start(echo).await;
        let talk = json!({"send": "hello", "expect": "hello"});
        self.add("a web socket", &format!("ws://{}/live", plain.address), talk.clone());
        self.add("a web socket without a word", &format!("ws://{}/live", plain.address), json!({}));
        self.hold(plain);
        let acceptor = own.acceptor(&["http/1.1"]);
        let secure = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    echo(stream).await;
                }
            }
        })
        .await;
        let mut settings = talk;
        settings["tls"] = tls.clone();
        self.add("an encrypted web socket", &format!("wss://shop.example:{}/", secure.port()), settings);
        self.hold(secure);
        let plain = Server::start(health).await;
        self.add("health", &format!("grpc://{}", plain.address), json!({}));
        self.add("health of a service", &format!("grpc://{}", plain.address), json!({"service": "shop.Cart"}));
        self.hold(plain);
        let acceptor = own.acceptor(&["h2"]);
        let secure = Server::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    health(stream).await;
                }
            }
        })
        .await;
        self.add("encrypted health", &format!("grpcs://shop.example:{}", secure.port()), json!({"tls": tls}));
        self.hold(secure);
    }

    /// On the one port there is a server at `::1`, on the other at `127.0.0.1`.
    async fn families(&mut self) {
        // Whoever has a port and does not listen refuses; nobody else gets it meanwhile.
        let (new, no_old) = loop {
            let new = Server::answering_at("[::1]:0", OK, Then::Close).await;
            let none = TcpSocket::new_v4().unwrap();
            if none.bind((Ipv4Addr::LOCALHOST, new.port()).into()).is_ok() {
                break (new, none);
            }
        };
        let (old, no_new) = loop {
            let old = Server::answering(OK, Then::Close).await;
            let none = TcpSocket::new_v6().unwrap();
            if none.bind((Ipv6Addr::LOCALHOST, old.port()).into()).is_ok() {
                break (old, none);
            }
        };
        self.servers.extend([no_old, no_new].map(|socket| Box::new(socket) as Box<dyn Any + Send>));
        let (six, four) = (new.port(), old.port());
        self.add("IPv6 only", &format!("http://[::1]:{six}/"), json!({}));
        self.add("IPv6 chosen", &format!("http://both.example:{six}/"), json!({"ip_family": "v6"}));
        self.add("a name that has only IPv6", &format!("http://six.example:{six}/"), json!({}));
        self.add("IPv4 is dead", &format!("http://both.example:{six}/"), json!({}));
        self.add("IPv6 is dead", &format!("http://both.example:{four}/"), json!({}));
        self.add("IPv4 chosen", &format!("http://both.example:{four}/"), json!({"ip_family": "v4"}));
        self.add("a port at IPv6", &format!("tcp://six.example:{six}"), json!({}));
        self.add(
            "a name that is known",
            &format!("http://any.test:{four}/"),
            json!({"resolve": {"any.test": "127.0.0.1"}}),
        );
        self.hold(new);
        self.hold(old);
    }
}
