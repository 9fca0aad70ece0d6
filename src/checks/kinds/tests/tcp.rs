use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::checks::testing::{Authority, Identity, Server, reset};

/// Says the texts one after another, each after something was received or at once, then waits for the end.
async fn saying(first: &'static [u8], then: &'static [u8]) -> Server {
    Server::start(move |mut stream, _| async move {
        stream.write_all(first).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(1..) = stream.read(&mut buffer).await {
            if stream.write_all(then).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_port_that_can_be_connected_to_is_up() {
    let server = saying(b"", b"").await;
    let (seen, outcome) = examine(json!({"url": format!("tcp://{}", server.address)})).await;
    assert_eq!((outcome, seen.remote_address), (Outcome::Up, Some(server.address.to_string())));
    assert!(seen.timings.connect_us.is_some() && seen.timings.dns_us.is_none());
    assert_eq!((seen.timings.first_byte_us, seen.timings.tls_us), (None, None), "nothing was waited for");
}

#[tokio::test]
async fn what_is_expected_is_waited_for_and_what_is_sent_is_answered() {
    let server = saying(b"220 mail.example ESMTP\r\n", b"250 fine\r\n").await;
    let url = format!("tcp://{}", server.address);
    for settings in [
        json!({"url": url, "expect": "ESMTP"}),
        json!({"url": url, "expect": {"regex": "(?m)^220 .* ESMTP\\r$"}}),
        json!({"url": url, "send": "EHLO x\r\n", "expect": {"regex": "250 fine"}}),
        json!({"url": url, "send": "EHLO x\r\n"}),
    ] {
        let (seen, outcome) = examine(settings.clone()).await;
        assert_eq!(outcome, Outcome::Up, "{settings}: {seen:?}");
    }
    let (seen, _) = examine(json!({"url": url, "send": "x", "expect": "fine"})).await;
    assert_eq!(seen.answer.unwrap().text(), "220 mail.example ESMTP\r\n250 fine\r\n");
    assert!(seen.timings.first_byte_us.is_some());
    let (kind, message) = failure(soon(json!({"url": url, "expect": "IMAP"}))).await;
    assert_eq!(
        (kind, message.as_str()),
        ("condition_failed", "Received \"220 mail.example ESMTP\", expected \"IMAP\"")
    );
}

#[tokio::test]
async fn what_is_expected_may_come_in_pieces() {
    let server = Server::start(|mut stream, _| async move {
        for byte in b"one two three" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut buffer = [0; 1024];
        while let Ok(1..) = stream.read(&mut buffer).await {}
    })
    .await;
    let (_, outcome) = examine(json!({"url": format!("tcp://{}", server.address), "expect": "o three"})).await;
    assert_eq!(outcome, Outcome::Up);
}

#[tokio::test]
async fn each_way_to_fail_is_told_from_the_others() {
    let nobody = nobody();
    let silent = saying(b"", b"").await;
    let closing = Server::start(|stream, _| async move { drop(stream) }).await;
    let resetting = Server::start(|stream, _| async move { reset(stream) }).await;
    let cutting = Server::start(|mut stream, _| async move { stream.write_all(b"busy").await.unwrap() }).await;
    let url = |server: &Server| format!("tcp://{}", server.address);
    for (settings, kind, message) in [
        (json!({"url": format!("tcp://{nobody}")}), "connect_refused", format!("Connection refused by {nobody}")),
        (
            soon(json!({"url": url(&silent), "expect": "x"})),
            "timeout_first_byte",
            "Request timed out after 1s while waiting for the first byte".to_owned(),
        ),
        (
            json!({"url": url(&closing), "expect": "x"}),
            "connection_closed",
            format!("Connection closed by {} before it answered", closing.address),
        ),
        (
            json!({"url": url(&resetting), "expect": "x"}),
            "connection_closed",
            format!("Connection closed by {} before it answered", resetting.address),
        ),
        (
            json!({"url": url(&cutting), "send": "x", "expect": "ready"}),
            "condition_failed",
            "Received \"busy\", expected \"ready\"".to_owned(),
        ),
    ] {
        assert_eq!(failure(settings.clone()).await, (kind, message), "{settings}");
    }
}

#[tokio::test]
async fn what_conditions_look_at_is_read_until_the_other_side_is_quiet() {
    let banner = saying(b"220 mail.example\r\n", b"250 fine\r\n").await;
    let (url, dash) = (format!("tcp://{}", banner.address), "220 mail.example\r\n250 fine\r\n");
    let (seen, outcome) =
        examine(json!({"url": url, "send": "EHLO", "timeout": "60s", "conditions": ["[BODY] == pat(220 *fine*)"]}))
            .await;
    assert_eq!((outcome, seen.answer.unwrap().text().as_str()), (Outcome::Up, dash));
    let silence = u32::try_from(crate::checks::exchange::QUIET.as_micros()).unwrap();
    let phases = seen.timings;
    assert!(phases.first_byte_us.is_some() && phases.transfer_us.is_some(), "{phases:?}");
    let sum = [phases.connect_us, phases.first_byte_us, phases.transfer_us].into_iter().flatten().sum::<u32>();
    assert!(phases.total_us.abs_diff(sum) < silence, "the silence at the end is no part of it: {phases:?}");
    let (_, outcome) = examine(json!({"url": url, "conditions": ["[BODY_SIZE] == 18"]})).await;
    assert_eq!(outcome, Outcome::Up);
    let (kind, message) = failure(json!({"url": url, "conditions": ["[BODY] == contains(IMAP)"]})).await;
    assert_eq!(kind, "condition_failed");
    assert!(message.contains("220 mail.example"), "{message}");

    // Nothing is a body too: it says nothing until its time is over, or goes at once.
    let silent = saying(b"", b"").await;
    let closing = Server::start(|stream, _| async move { drop(stream) }).await;
    for server in [&silent, &closing] {
        let url = format!("tcp://{}", server.address);
        let (seen, outcome) = examine(soon(json!({"url": url, "conditions": ["len([BODY]) == 0"]}))).await;
        assert_eq!(outcome, Outcome::Up, "{seen:?}");
        let degraded = soon(json!({"url": url, "degraded_unless": ["[BODY] == contains(220)"]}));
        assert_eq!(examine(degraded).await.1, Outcome::Degraded, "it can be connected to");
    }
}

/// Whatever comes, a bounded part of it is read.
#[tokio::test]
async fn endless_answers_are_cut() {
    let server = Server::start(|mut stream, _| async move {
        let flood = vec![b'x'; 64 * 1024];
        while stream.write_all(&flood).await.is_ok() {}
    })
    .await;
    let settings = json!({"url": format!("tcp://{}", server.address), "expect": {"regex": "y$"}});
    let (seen, outcome) = examine(settings).await;
    let message = &outcome.failure().unwrap().message;
    assert!(message.ends_with("expected what matches y$ within what is read of an answer"), "{message}");
    assert!(message.len() < 400);
    assert_eq!(seen.answer.unwrap().text().len(), super::super::exchange::MAX_RECEIVED);
}

#[tokio::test]
async fn a_text_that_nobody_reads_ends_with_the_time() {
    let server = Server::start(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    // It is taken into the buffers of the system: nothing is wrong until an answer is due.
    let text = "x".repeat(60_000);
    let url = format!("tcp://{}", server.address);
    let (_, outcome) = examine(json!({"url": url, "send": text})).await;
    assert_eq!(outcome, Outcome::Up);
    assert_eq!(failure(soon(json!({"url": url, "send": text, "expect": "x"}))).await.0, "timeout_first_byte");
}

/// With a folder that has the authority's certificate.
async fn tls(identity: &Identity, authority: &Authority) -> (Server, tempfile::TempDir, Value) {
    let acceptor = identity.acceptor(&[]);
    let server = Server::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            stream.write_all(b"* OK ready\r\n").await.unwrap();
            let mut buffer = [0; 1024];
            while let Ok(1..) = stream.read(&mut buffer).await {}
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &authority.pem).unwrap();
    let settings = json!({
        "url": format!("tls://{}", server.address),
        "tls": {"ca_file": path},
        "expect": "OK ready",
    });
    (server, folder, settings)
}

#[tokio::test]
async fn a_handshake_shows_the_certificate() {
    let authority = Authority::new("The authority");
    let (_server, _folder, settings) = tls(&authority.issue(&["127.0.0.1"], -1, 30), &authority).await;
    let (seen, outcome) = examine(settings).await;
    assert_eq!(outcome, Outcome::Up, "{seen:?}");
    let certificate = seen.certificate.unwrap();
    assert!(certificate.issuer.contains("The authority"), "{certificate:?}");
    assert!(seen.timings.tls_us.is_some() && seen.tls.is_some());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_a_failure() {
    let authority = Authority::new("The authority");
    for (identity, kind) in [
        (authority.issue(&["127.0.0.1"], -60, -3), "tls_expired"),
        (authority.issue(&["other.example"], -1, 30), "tls_hostname_mismatch"),
        (Authority::new("Another").issue(&["127.0.0.1"], -1, 30), "tls_untrusted"),
    ] {
        let (_server, _folder, mut settings) = tls(&identity, &authority).await;
        assert_eq!(failure(settings.clone()).await.0, kind);
        let (seen, _) = examine(settings.clone()).await;
        assert!(seen.certificate.is_some(), "it is shown also where it is refused");
        settings["tls"]["verify"] = json!(false);
        assert_eq!(examine(settings).await.1, Outcome::Up);
    }
    let plain = saying(b"* OK ready\r\n", b"").await;
    let (kind, message) = failure(json!({"url": format!("tls://{}", plain.address)})).await;
    assert_eq!((kind, message.contains("does not speak TLS")), ("tls_handshake", true), "{message}");
    let silent = saying(b"", b"").await;
    assert_eq!(failure(soon(json!({"url": format!("tls://{}", silent.address)}))).await.0, "tls_timeout");
}
