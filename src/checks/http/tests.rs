//! Each way an HTTP check ends, against a real server on this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::checks::testing::{OK, Server, full_backlog, header, read_request, reset, spec};
use crate::domain::check::judge;
use crate::domain::outbound::OutboundPolicy;
use crate::domain::outcome::Outcome;
use crate::domain::setting::RequestBody;
use crate::outbound::Lookup;

mod auth;
mod bodies;
mod names;
mod outbound;
mod proxies;
mod redirects;
mod reuse;
mod tls;
mod versions;

/// Names below `.example` are this machine.
fn local_names() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            if name.ends_with(".example") {
                Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            } else {
                Err(Failure::new(FailureKind::DnsNxdomain, "no such name"))
            }
        })
    })
}

fn checker(lookup: Lookup) -> HttpChecker {
    HttpChecker::new(Arc::new(Outbound::with_lookup(lookup, OutboundPolicy::default()))).unwrap()
}

/// An attempt at what the configuration names.
async fn examine(checker: &HttpChecker, spec: &CheckSpec) -> Observation {
    checker.check(spec, Origin::Config, Instant::now() + spec.timeout).await
}

async fn observe(spec: &CheckSpec) -> Observation {
    examine(&checker(local_names()), spec).await
}

#[track_caller]
fn assert_fails(seen: &Observation, kind: FailureKind, message: &str) {
    let failure = seen.failure.as_ref().expect("the attempt fails");
    assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
}

fn quick(url: &str) -> CheckSpec {
    CheckSpec { timeout: Duration::from_millis(300), ..spec(url) }
}

#[tokio::test]
async fn a_good_answer_is_up_with_the_phases_it_went_through() {
    let server = Server::answering(OK).await;
    let seen = observe(&spec(&server.url("/health?x=1"))).await;

    assert_eq!(seen.failure, None);
    assert_eq!((seen.status_code, seen.body_bytes), (Some(200), 2));
    assert_eq!(seen.http_version.as_deref(), Some("HTTP/1.1"));
    assert_eq!(seen.remote_address, Some(server.address.to_string()));
    assert_eq!(judge(&spec("http://x/"), &seen), Outcome::Up);
    let t = seen.timings;
    assert_eq!((t.dns_us, t.tls_us), (None, None), "an address has no name and http no TLS");
    let sum = t.connect_us.unwrap() + t.first_byte_us.unwrap() + t.transfer_us.unwrap();
    assert!(sum <= t.total_us + 20 && t.total_us < sum + 20_000, "{t:?}");
    for us in [t.connect_us.unwrap(), t.first_byte_us.unwrap(), t.transfer_us.unwrap(), t.total_us] {
        assert_eq!(us % 10, 0);
    }
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(request, "host"), Some(server.address.to_string().as_str()));
    assert_eq!(header(request, "user-agent"), Some("api-monitor/test"));
}

#[tokio::test]
async fn each_attempt_connects_anew() {
    let connections = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    let server = Server::start(move |mut stream, _| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            // Keeps the connection alive, as a client that pools it would wish.
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let checker = HttpChecker::new(Arc::default()).unwrap();
    let spec = spec(&server.url("/"));
    for _ in 0..3 {
        assert_eq!(examine(&checker, &spec).await.failure, None);
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_unexpected_status_is_told_by_the_judge() {
    let server = Server::answering("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
    let spec = spec(&server.url("/"));
    let seen = observe(&spec).await;
    assert_eq!(seen.failure, None);
    let Outcome::Down(failure) = judge(&spec, &seen) else { panic!("down") };
    assert_eq!(failure, Failure::new(FailureKind::HttpStatus, "GET returned 502, expected 200"));
}

#[tokio::test]
async fn a_json_body_is_sent_with_its_type_and_a_text_body_as_it_is() {
    let server = Server::answering(OK).await;
    let json = CheckSpec {
        method: "POST".to_owned(),
        body: Some(RequestBody::Json(serde_json::json!({"a": 1}))),
        ..spec(&server.url("/"))
    };
    let mut typed = json.clone();
    typed.headers.insert("content-type".to_owned(), "application/vnd.api+json".to_owned());
    let text =
        CheckSpec { method: "REPORT".to_owned(), body: Some(RequestBody::Text("plain".to_owned())), ..json.clone() };
    for spec in [&json, &typed, &text] {
        assert_eq!(observe(spec).await.failure, None);
    }
    let requests = server.requests();
    assert!(requests[0].starts_with("POST / ") && requests[0].ends_with("\r\n\r\n{\"a\":1}"), "{}", requests[0]);
    assert_eq!(header(&requests[0], "content-type"), Some("application/json"));
    assert_eq!(header(&requests[1], "content-type"), Some("application/vnd.api+json"));
    assert!(requests[2].starts_with("REPORT / ") && requests[2].ends_with("\r\n\r\nplain"), "{}", requests[2]);
    assert_eq!(header(&requests[2], "content-type"), None);
}

#[tokio::test]
async fn headers_of_the_user_win_and_userinfo_becomes_basic_authentication() {
    let server = Server::answering(OK).await;
    let url = format!("http://me:s%40crét@{}/", server.address);
    let mut with_headers = spec(&url);
    with_headers.headers =
        [("host", "shop.example"), ("user-agent", "mine"), ("x-one", "1"), ("authorization", "Bearer t")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into();
    // What it is known by cannot be taken from it.
    with_headers.headers.insert("x-api-monitor-check".to_owned(), "no".to_owned());
    with_headers.redact.push("x-api-monitor-check".to_owned());
    observe(&with_headers).await;
    observe(&spec(&url)).await;

    let requests = server.requests();
    for (name, value) in
        [("host", "shop.example"), ("user-agent", "mine"), ("x-one", "1"), ("authorization", "Bearer t")]
    {
        assert_eq!(header(&requests[0], name), Some(value));
    }
    assert_eq!(header(&requests[1], "authorization"), Some("Basic bWU6c0BjcsOpdA=="));
    assert!(requests.iter().all(|request| header(request, "x-api-monitor-check") == Some("1")));
}

#[tokio::test]
async fn answers_without_a_body_are_whole() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-encoding: br\r\ncontent-length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let server = Server::answering(answer).await;
        let seen = observe(&CheckSpec { method: method.to_owned(), ..spec(&server.url("/")) }).await;
        assert_eq!((seen.failure, seen.body_bytes), (None, 0), "{method} {answer}");
    }
}

#[tokio::test]
async fn a_refused_connection() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let seen = observe(&spec(&format!("http://{free}/"))).await;
    assert_fails(&seen, FailureKind::ConnectRefused, &format!("Connection refused by {free}"));
    let t = seen.timings;
    assert!(t.connect_us.is_some() && t.first_byte_us.is_none(), "{t:?}");
    assert_eq!(seen.remote_address, None);
}

#[tokio::test]
async fn connecting_is_bounded_by_its_own_timeout_and_by_the_attempts() {
    let (address, _listener) = full_backlog("127.0.0.1").await;
    let url = format!("http://{address}/");
    let own = CheckSpec { connect_timeout: Some(Duration::from_millis(100)), ..spec(&url) };
    let seen = observe(&own).await;
    assert_fails(&seen, FailureKind::ConnectTimeout, &format!("Connection to {address} timed out after 100ms"));
    assert!((95_000..2_000_000).contains(&seen.timings.total_us), "{:?}", seen.timings);

    let seen = observe(&quick(&url)).await;
    let message = format!("Request timed out after 300ms while connecting to {address}");
    assert_fails(&seen, FailureKind::ConnectTimeout, &message);
    assert!((295_000..2_000_000).contains(&seen.timings.connect_us.unwrap()), "{:?}", seen.timings);
}

#[tokio::test]
async fn the_connect_timeout_does_not_bound_a_slow_answer() {
    let server = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let spec = CheckSpec { connect_timeout: Some(Duration::from_millis(50)), ..spec(&server.url("/")) };
    assert_eq!(observe(&spec).await.failure, None);
}

#[tokio::test]
async fn closed_or_reset_before_the_first_byte() {
    let closing = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let resetting = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        reset(stream);
    })
    .await;
    for server in [closing, resetting] {
        let seen = observe(&spec(&server.url("/"))).await;
        let message = format!("Connection closed by {} before it answered", server.address);
        assert_fails(&seen, FailureKind::ConnectionClosed, &message);
        assert_eq!(seen.status_code, None);
        assert_eq!(seen.remote_address, Some(server.address.to_string()));
    }
}

#[tokio::test]
async fn a_slow_first_byte() {
    let server = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let seen = observe(&quick(&server.url("/"))).await;
    let message = "Request timed out after 300ms while waiting for the first byte";
    assert_fails(&seen, FailureKind::TimeoutFirstByte, message);
    assert!(seen.timings.first_byte_us.unwrap() > 200_000 && seen.timings.transfer_us.is_none());
}

#[tokio::test]
async fn a_slow_body_is_bounded_by_the_same_timeout_however_it_drips() {
    let server = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let seen = observe(&quick(&server.url("/"))).await;
    let failure = seen.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::TimeoutBody);
    let message = format!("Request timed out after 300ms while reading the body ({} bytes had come)", seen.body_bytes);
    assert_eq!(failure.message, message);
    assert!(seen.body_bytes > 0);
    assert_eq!(seen.status_code, Some(200));
    assert!((295_000..2_000_000).contains(&seen.timings.total_us), "{:?}", seen.timings);
}

#[tokio::test]
async fn a_cut_body_fails_whatever_the_status() {
    for (answer, read) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "4 of 10"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhalf", "4"),
    ] {
        let server = Server::answering(answer).await;
        let seen = observe(&spec(&server.url("/"))).await;
        let message = format!("Connection closed by {} in the middle of the body, after {read} bytes", server.address);
        assert_fails(&seen, FailureKind::BodyTruncated, &message);
        assert_eq!(seen.status_code, Some(200));
    }
}

#[tokio::test]
async fn a_body_that_is_reset_is_cut_too() {
    let server = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        reset(stream);
    })
    .await;
    let seen = observe(&spec(&server.url("/"))).await;
    let kind = seen.failure.unwrap().kind;
    // The kernel may throw away what had not been read yet when the RST comes, the headers included.
    assert!(matches!(kind, FailureKind::BodyTruncated | FailureKind::ConnectionClosed), "{kind}");
}

#[tokio::test]
async fn what_is_not_http_says_so() {
    for answer in [
        "220 mail.example ESMTP\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n",
    ] {
        let server = Server::answering(answer).await;
        let seen = observe(&spec(&server.url("/"))).await;
        let failure = seen.failure.unwrap();
        assert_eq!(failure.kind, FailureKind::HttpProtocol, "{answer:?}: {}", failure.message);
        let begin = format!("{} did not answer in valid HTTP: ", server.address);
        assert!(failure.message.starts_with(&begin), "{answer:?}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let many = "x: y\r\n".repeat(2000);
    let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await;
    let message = format!("{} answered with more headers than are accepted", server.address);
    assert_fails(&observe(&spec(&server.url("/"))).await, FailureKind::HttpProtocol, &message);

    let endless = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(&[b'y'; 4096]).await.is_ok() {}
    })
    .await;
    let message = format!("{} answered with more headers than are accepted", endless.address);
    assert_fails(&observe(&spec(&endless.url("/"))).await, FailureKind::HttpProtocol, &message);
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_bound_and_is_no_failure() {
    let server = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 16_384]).await.is_ok() {}
    })
    .await;
    for max in [0, 1, 1_000_000] {
        let seen = observe(&CheckSpec { max_body_bytes: max, ..spec(&server.url("/")) }).await;
        assert_eq!((seen.failure, seen.body_bytes, seen.status_code), (None, max, Some(200)));
    }
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            // The next read ends when the client has gone.
            read_request(&mut stream).await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    assert!(observe(&quick(&server.url("/"))).await.failure.is_some());
    tokio::time::timeout(Duration::from_secs(5), was_closed.recv()).await.expect("the client hangs up").unwrap();
}
