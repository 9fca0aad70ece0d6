//! Clients that keep the monitor waiting are cut, those that are merely slow are not.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::serving::{Client, SOON, Server};
use crate::app::TestApp;

const SHORT: Duration = Duration::from_millis(300);

/// Answers at `/`, and at `/big` with more than any socket buffers.
fn router() -> Router {
    let big = get(|| async { Body::from(Bytes::from(vec![b'x'; 64 * 1_048_576])) });
    Router::new().route("/", get(|| async { "" })).route("/big", big)
}

#[tokio::test]
async fn a_head_that_does_not_come_or_trickles_is_cut() {
    let server = Server::start(router(), |limits| limits.head = SHORT).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.rest().await, "");

    let Client(trickling) = server.connect().await;
    let (mut reader, mut writer) = trickling.into_split();
    let began = Instant::now();
    let sending = async {
        // On and on, until nobody takes it any more.
        loop {
            sleep(Duration::from_millis(20)).await;
            if writer.write_all(b"x").await.is_err() || began.elapsed() > SOON {
                return;
            }
        }
    };
    let reading = async {
        let mut rest = Vec::new();
        drop(reader.read_to_end(&mut rest).await);
        rest
    };
    let rest = tokio::select! {
        rest = reading => rest,
        () = sending => Vec::new(),
    };
    assert!(rest.is_empty() && began.elapsed() < SOON, "{:?}", began.elapsed());
    server.open(0).await;
    assert_eq!(server.metrics.connections_cut.get(), 2);

    // On a connection in use likewise.
    let mut used = server.connect().await;
    assert!(used.ask("/").await.starts_with("HTTP/1.1 200"));
    used.send("GET / HT").await;
    assert_eq!(used.rest().await, "");
    assert_eq!(server.metrics.connections_cut.get(), 3);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_then_closed() {
    let server = Server::start(router(), |limits| {
        limits.head = SHORT;
        limits.idle = SHORT * 5;
    })
    .await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert!(client.ask("/").await.starts_with("HTTP/1.1 200"));
        // Longer than a head may take: waiting for one is something else.
        sleep(SHORT * 2).await;
    }
    let began = Instant::now();
    assert_eq!(client.rest().await, "");
    assert!(began.elapsed() > SHORT, "{:?}", began.elapsed());
    assert_eq!(server.metrics.connections_cut.get(), 0, "it ended in an orderly way");
    server.open(0).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_with_408() {
    let app = TestApp::start().await;
    let server = Server::start(app.router.clone(), |limits| limits.body = SHORT).await;
    let mut client = server.connect().await;
    let head = "POST /api/v1/endpoints HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    client.send(&format!("{head}content-length: 1000\r\n\r\n{{")).await;
    let began = Instant::now();
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("urn:api-monitor:problem:too-slow"), "{answer}");
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    server.open(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_one_that_reads_slowly_is_not() {
    let server = Server::start(router(), |limits| limits.stalled = SHORT).await;
    let mut never_reads = server.connect().await;
    never_reads.send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut slow = server.connect().await;
    slow.send("GET /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let (mut read, mut buffer) = (0, vec![0; 4 * 1_048_576]);
    // Longer than a client may take nothing, in all.
    let began = Instant::now();
    while began.elapsed() < SHORT * 4 {
        read += slow.0.read(&mut buffer).await.unwrap();
        sleep(SHORT / 6).await;
    }
    loop {
        match slow.0.read(&mut buffer).await.unwrap() {
            0 => break,
            more => read += more,
        }
    }
    assert!(read > 64 * 1_048_576, "all of it: {read}");
    server.open(0).await;
    assert_eq!(server.metrics.connections_cut.get(), 1);
    drop(never_reads);
}

#[tokio::test]
async fn a_client_of_http_2_that_opens_no_window_is_cut() {
    let server = Server::start(router(), |limits| limits.stalled = SHORT).await;
    let Client(stream) = server.connect().await;
    let (client, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let mut connection = Box::pin(connection);
    let asking = async {
        let mut client = client.ready().await.unwrap();
        let request = axum::http::Request::get("http://localhost/big").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert!(body.data().await.is_none_or(|piece| piece.is_err()));
    };
    let both = async { tokio::join!(asking, poll_fn(|cx| connection.as_mut().poll(cx))) };
    drop(tokio::time::timeout(SOON, both).await.expect("an end"));
    server.open(0).await;
    assert_eq!(server.metrics.connections_cut.get(), 1);
}

#[tokio::test]
async fn a_client_of_http_2_that_asks_nothing_is_closed() {
    let server = Server::start(router(), |limits| limits.head = SHORT).await;
    let Client(stream) = server.connect().await;
    let (_client, connection) = h2::client::handshake(stream).await.unwrap();
    drop(tokio::time::timeout(SOON, connection).await.expect("an end"));
    server.open(0).await;
}
