//! Connections that serve several checks, and what is noticed all the same.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tempfile::TempDir;

use super::kept::KEPT_FOR;
use super::tls::https;
use super::*;
use crate::checks::testing::Authority;

fn reusing(spec: CheckSpec) -> CheckSpec {
    CheckSpec { reuse_connection: true, ..spec }
}

/// Answers any number of requests on a connection; counts connections. While `hangs_up` it closes after each answer,
/// without saying so.
async fn keeping(hangs_up: &Arc<AtomicBool>) -> (Server, Arc<AtomicU32>) {
    let connections = Arc::new(AtomicU32::new(0));
    let (counted, hangs_up) = (Arc::clone(&connections), Arc::clone(hangs_up));
    let server = Server::start(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let hangs_up = Arc::clone(&hangs_up);
        async move {
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                if hangs_up.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
    })
    .await;
    (server, connections)
}

#[tokio::test]
async fn a_connection_serves_the_next_check_and_only_where_it_is_asked_for() {
    let (server, connections) = keeping(&Arc::default()).await;
    let checker = checker(local_names());
    let spec = reusing(spec(&format!("http://shop.example:{}/", server.address.port())));
    for turn in 0..3 {
        let seen = examine(&checker, &spec).await;
        assert_eq!((seen.failure, seen.status_code, seen.reused), (None, Some(200), turn > 0));
        assert_eq!(seen.remote_address, Some(server.address.to_string()));
        assert_eq!(seen.timings.connect_us.is_none(), turn > 0, "{:?}", seen.timings);
        assert!(seen.timings.dns_us.is_some(), "the name is looked up for each");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // What may not be sent twice has a connection of its own, and so has an endpoint that does not ask for it.
    let post = CheckSpec { method: "POST".to_owned(), ..spec.clone() };
    assert!(!examine(&checker, &post).await.reused);
    assert!(!examine(&checker, &CheckSpec { reuse_connection: false, ..spec }).await.reused);
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_that_was_closed_in_the_meantime_is_no_failure() {
    let hangs_up = Arc::new(AtomicBool::new(true));
    let (server, connections) = keeping(&hangs_up).await;
    let checker = checker(local_names());
    let spec = reusing(spec(&server.url("/")));
    for _ in 0..5 {
        assert_eq!(examine(&checker, &spec).await.failure, None);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_name_that_disappears_is_noticed_at_once() {
    let (server, connections) = keeping(&Arc::default()).await;
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let lookup: Lookup = Arc::new(move |_| {
        let missing = Failure::new(FailureKind::DnsNxdomain, "The name shop.example does not exist (NXDOMAIN)");
        let answer =
            if is_gone.load(Ordering::SeqCst) { Err(missing) } else { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) };
        Box::pin(std::future::ready(answer))
    });
    let checker = checker(lookup);
    let spec = reusing(spec(&format!("http://shop.example:{}/", server.address.port())));
    for _ in 0..2 {
        assert_eq!(examine(&checker, &spec).await.failure, None);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection would still work");
    gone.store(true, Ordering::SeqCst);
    let seen = examine(&checker, &spec).await;
    assert_fails(&seen, FailureKind::DnsNxdomain, "The name shop.example does not exist (NXDOMAIN)");
}

#[tokio::test]
async fn a_port_that_closes_is_noticed_when_the_connection_has_had_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Accepts once, and answers on that connection for ever.
    let serving = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        while !read_request(&mut stream).await.is_empty() {
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let checking = async {
        let checker = checker(local_names());
        let spec = reusing(spec(&format!("http://{address}/")));
        for _ in 0..2 {
            assert_eq!(examine(&checker, &spec).await.failure, None);
        }
        tokio::time::pause();
        tokio::time::advance(KEPT_FOR).await;
        tokio::time::resume();
        assert_fails(
            &examine(&checker, &spec).await,
            FailureKind::ConnectRefused,
            &format!("Connection refused by {address}"),
        );
    };
    tokio::select! {
        () = serving => {}
        () = checking => {}
    }
}

#[tokio::test]
async fn a_certificate_that_expires_is_noticed_at_once() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue_for(&["shop.example"], Duration::from_secs(6));
    let acceptor = identity.acceptor(&["http/1.1"]);
    let server = Server::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            // Whoever refuses the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let checker = checker(local_names());
    let spec = reusing(https(&server, "shop.example", &authority.pem, &folder));
    let mut reused = 0;
    let failure = loop {
        let seen = examine(&checker, &spec).await;
        assert!(seen.certificate.is_some(), "also of a connection that was kept");
        match seen.failure {
            None => reused += u32::from(seen.reused),
            Some(failure) => break failure,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(failure.kind, FailureKind::TlsExpired, "{}", failure.message);
    assert!(reused > 0, "the connection would still work");
}
