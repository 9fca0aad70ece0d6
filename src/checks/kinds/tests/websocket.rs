use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::checks::testing::{Authority, Server, read_request};

async fn serving<F, Fut>(script: F) -> Server
where
    F: Fn(WebSocketStream<TcpStream>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Server::start(move |stream, _| {
        let script = script.clone();
        async move { script(tokio_tungstenite::accept_async(stream).await.unwrap()).await }
    })
    .await
}

fn url(server: &Server) -> String {
    format!("ws://{}/events?a=1", server.address)
}

#[tokio::test]
async fn what_is_sent_is_answered_in_messages() {
    let echo = serving(|mut socket| async move {
        socket.send(Message::text("welcome")).await.unwrap();
        socket.send(Message::Ping(vec![1].into())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    for settings in [
        json!({"url": url(&echo)}),
        json!({"url": url(&echo), "send": "hello"}),
        json!({"url": url(&echo), "expect": "welcome"}),
        json!({"url": url(&echo), "send": "hello", "expect": {"regex": "^hello$"}}),
    ] {
        let (seen, outcome) = examine(settings.clone()).await;
        assert_eq!((outcome, seen.status_code), (Outcome::Up, Some(101)), "{settings}");
    }
    let (seen, _) = examine(json!({"url": url(&echo), "send": "hello", "expect": "hello"})).await;
    assert_eq!(seen.answer.unwrap().text(), "welcome\nhello");
    let (kind, message) = failure(soon(json!({"url": url(&echo), "expect": "goodbye"}))).await;
    assert_eq!((kind, message.as_str()), ("condition_failed", "Received \"welcome\", expected \"goodbye\""));
}

#[tokio::test]
async fn what_conditions_look_at_are_the_messages_until_it_is_quiet() {
    let greeting = serving(|mut socket| async move {
        socket.send(Message::text(r#"{"status": "ok"}"#)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let settings = json!({"url": url(&greeting), "timeout": "60s", "conditions": ["[BODY].status == ok"]});
    let (seen, outcome) = examine(settings).await;
    assert_eq!(outcome, Outcome::Up, "{seen:?}");
    let silent = serving(|mut socket| async move { while let Some(Ok(_)) = socket.next().await {} }).await;
    let settings = soon(json!({"url": url(&silent), "conditions": ["[BODY].status == ok"]}));
    assert_eq!(failure(settings).await.0, "condition_failed");
}

#[tokio::test]
async fn the_upgrade_is_asked_for_with_the_headers_of_the_endpoint() {
    let server = Server::start(|mut stream, requests| async move {
        let request = read_request(&mut stream).await;
        requests.note(&request);
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let headers = json!({"Authorization": "Bearer x", "Upgrade": "h2c", "X-A": "b"});
    let (seen, outcome) = examine(json!({"url": url(&server), "headers": headers})).await;
    let failure = outcome.failure().unwrap();
    let message = format!("{} answered 401 to the WebSocket upgrade, expected 101", server.address);
    assert_eq!((failure.kind.as_str(), &failure.message), ("websocket_rejected", &message));
    assert_eq!(seen.status_code, Some(401));
    let request = server.requests()[0].to_ascii_lowercase();
    assert!(request.starts_with("get /events?a=1 http/1.1\r\n"), "{request}");
    for line in [
        "authorization: bearer x",
        "upgrade: websocket",
        "x-a: b",
        "x-api-monitor-check: 1",
        "user-agent: api-monitor/",
    ] {
        assert!(request.contains(&format!("\r\n{line}")), "{line}: {request}");
    }
    assert!(!request.contains("h2c"), "{request}");
}

#[tokio::test]
async fn each_way_to_fail_is_told_from_the_others() {
    let nobody = nobody();
    let silent = Server::start(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let closing = Server::start(|stream, _| async move { drop(stream) }).await;
    let other = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let lying =
        Server::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            .await;
    let babble = Server::answering("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let leaving = serving(|mut socket| async move { drop(socket.close(None).await) }).await;
    let garbage = serving(|mut socket| async move {
        socket.get_mut().write_all(&[0xff; 64]).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for (settings, expected) in [
        (json!({"url": format!("ws://{nobody}")}), "connect_refused"),
        (soon(json!({"url": url(&silent)})), "timeout_first_byte"),
        (json!({"url": url(&closing)}), "connection_closed"),
        (json!({"url": url(&other)}), "websocket_rejected"),
        (json!({"url": url(&lying)}), "websocket_rejected"),
        (json!({"url": url(&babble)}), "protocol"),
        (json!({"url": url(&leaving), "expect": "x"}), "connection_closed"),
        (json!({"url": url(&garbage), "expect": "x"}), "protocol"),
    ] {
        let (kind, message) = failure(settings.clone()).await;
        assert_eq!(kind, expected, "{settings}: {message}");
    }
}

/// A frame that says it is of a gigabyte, and messages without end.
#[tokio::test]
async fn what_is_too_much_is_not_read() {
    let huge = serving(|mut socket| async move {
        let mut head = vec![0x82, 127];
        head.extend(1_u64.wrapping_shl(30).to_be_bytes());
        socket.get_mut().write_all(&head).await.unwrap();
        while socket.get_mut().write_all(&[0; 4096]).await.is_ok() {}
    })
    .await;
    let endless = serving(|mut socket| async move { while socket.send(Message::text("tick")).await.is_ok() {} }).await;
    let (kind, message) = failure(json!({"url": url(&huge), "expect": "x"})).await;
    assert_eq!(kind, "condition_failed", "{message}");
    assert_eq!(message, "Received nothing, expected \"x\" within what is read of an answer");
    let (seen, outcome) = examine(json!({"url": url(&endless), "expect": "tock"})).await;
    assert_eq!(outcome.failure().map(|failure| failure.kind.as_str()), Some("condition_failed"));
    assert!(seen.answer.unwrap().text().len() <= super::super::exchange::MAX_RECEIVED);
}

#[tokio::test]
async fn an_encrypted_one_is_asked_for_its_certificate() {
    let authority = Authority::new("The authority");
    let acceptor = authority.issue(&["127.0.0.1"], -1, 30).acceptor(&["http/1.1"]);
    let server = Server::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            socket.send(Message::text("welcome")).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let url = format!("wss://{}", server.address);
    let (seen, outcome) = examine(json!({"url": url, "tls": {"verify": false}, "expect": "welcome"})).await;
    assert_eq!(outcome, Outcome::Up);
    assert!(seen.certificate.is_some() && seen.timings.tls_us.is_some());
    assert_eq!(failure(json!({"url": url})).await.0, "tls_untrusted");
}
