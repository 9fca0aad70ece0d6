//! What a connection that is kept would hide, and a connection that is reset while it is made, as the running program tells
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::failing::{Authority, Server, read_head, reset};
use super::{Platform, until};
use crate::name_server::{NameServer, Reply, address};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    while read_head(&mut stream).await {
        drop(stream.write_all(OK.as_bytes()).await);
    }
}

async fn check(platform: &Platform, name: &str) -> Value {
    let path = format!("/api/v1/endpoints/by-key/{}", name.replace(' ', "%20"));
    let id = platform.get(&path).await.expect(200).json()["id"].clone();
    let once = json!({"use_retry": false});
    platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &once).await.expect(200).json()
}

/// Checks until something is wrong. How often it was well, and what was wrong at last.
async fn check_until_down(platform: &Platform, name: &str) -> (u32, Value) {
    let ends_at = Instant::now() + Duration::from_mins(2);
    let mut well = 0;
    loop {
        let checked = check(platform, name).await;
        if checked["success"] == false {
            return (well, checked);
        }
        well += 1;
        assert!(Instant::now() < ends_at, "{name} is never noticed");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn what_a_kept_connection_would_hide_is_noticed() {
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_gone);
    let names = NameServer::start(move |name, _| match name {
        "gone.example" if gone.load(Ordering::SeqCst) => Reply::Code(3),
        _ => address("127.0.0.1"),
    })
    .await;
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    let by_name = Server::start(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        serve(stream)
    })
    .await;

    let authority = Authority::new("The house");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let acceptor = authority.issue_for("shop.example", Duration::from_secs(20)).acceptor(&[]);
    let secured = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&secured);
    let secure = Server::start(move |stream| {
        let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                counted.fetch_add(1, Ordering::SeqCst);
                serve(stream).await;
            }
        }
    })
    .await;

    // Accepts once, and answers on that connection for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        serve(stream).await;
    });

    let endpoint = |name: &str, url: String| {
        json!({
            "name": name, "url": url, "interval": "1d", "timeout": "20s", "retry": {"enabled": false}, "notify": [],
            "reuse_connection": true, "is_active": false, "resolver": names.address.to_string(),
        })
    };
    let mut trusted = endpoint("certificate", format!("https://shop.example:{}/", secure.port()));
    trusted["tls"] = json!({"ca_file": folder.path().join("ca.pem")});
    let endpoints = [
        endpoint("name", format!("http://gone.example:{}/", by_name.port())),
        trusted,
        endpoint("port", format!("http://{port}/")),
    ];
    let platform = Platform::start(&json!({"endpoints": endpoints, "connectivity": null}).to_string());

    let name = async {
        for _ in 0..2 {
            assert_eq!(check(&platform, "name").await["success"], true);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection would still work");
        is_gone.store(true, Ordering::SeqCst);
        let (well, failed) = check_until_down(&platform, "name").await;
        assert_eq!((well, &failed["failure_kind"]), (0, &json!("dns_nxdomain")), "{failed}");
    };
    let certificate = async {
        let (well, failed) = check_until_down(&platform, "certificate").await;
        assert_eq!(failed["failure_kind"], "tls_expired", "{failed}");
        assert!(well > secured.load(Ordering::SeqCst), "the connection would still work");
    };
    let port = async {
        let (well, failed) = check_until_down(&platform, "port").await;
        assert_eq!(failed["failure_kind"], "connect_refused", "{failed}");
        assert!(well > 1, "{well}: the connection would still work");
    };
    tokio::join!(name, certificate, port);
}

/// Of the connections of a process to a port of IPv4: local port and state, as the kernel numbers it.
fn connections_of(process: u32, port: u16) -> Vec<(u16, u8)> {
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let number = |text: &str| u16::from_str_radix(text.rsplit(':').next().unwrap(), 16).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| number(row[2]) == port && row[9] != "0")
        .map(|row| (number(row[1]), u8::from_str_radix(row[3], 16).unwrap()))
        .collect()
}

/// The kernel makes the connection and takes it back before the monitor, which stands still meanwhile, has heard of either.
#[tokio::test]
async fn a_connection_that_is_reset_while_it_is_made_is_told_as_such() {
    const SYN_SENT: u8 = 2;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let target = listener.local_addr().unwrap();
    // Nothing more is accepted: the kernel drops further SYNs, which are sent again after a second.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(target)).await {
        waiting.push(stream);
    }
    let endpoint = json!({
        "name": "shop", "url": format!("http://{target}/"), "interval": "1d", "timeout": "1m", "is_active": false,
        "retry": {"enabled": false}, "notify": [],
    });
    let platform = Platform::start(&json!({"endpoints": [endpoint], "connectivity": null}).to_string());
    let process = platform.process.id();
    let breaking = async {
        let dialling = || connections_of(process, target.port()).into_iter().find(|(_, state)| *state == SYN_SENT);
        until("it connects", async || dialling().is_some()).await;
        let (port, _) = dialling().unwrap();
        platform.process.signal("STOP");
        loop {
            let (stream, from) = listener.accept().await.unwrap();
            if from.port() == port {
                reset(stream);
                break;
            }
        }
        until("it is reset", async || connections_of(process, target.port()).iter().all(|(of, _)| *of != port)).await;
        platform.process.signal("CONT");
    };
    let (checked, ()) = tokio::join!(check(&platform, "shop"), breaking);
    assert_eq!(checked["failure_kind"], "connect_reset", "{checked}");
    assert_eq!(checked["error_message"], format!("Connection reset by {target}"));
}
