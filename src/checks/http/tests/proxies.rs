//! By way of a proxy.

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::*;
use crate::checks::testing::Authority;

fn by(kind: ProxyKind, proxy: &Server, login: Option<(&str, &str)>) -> Option<Proxy> {
    let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
    Some(Proxy { kind, host: "127.0.0.1".to_owned(), port: proxy.address.port(), login })
}

/// Connects to this machine whatever name it is told, as long as the login is right. Whole URLs it answers itself.
async fn http_proxy(login: Option<&'static str>) -> Server {
    Server::start(move |mut stream, requests| async move {
        let head = read_request(&mut stream).await;
        requests.note(&head);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if login.is_some() && header(&head, "proxy-authorization") != login {
            drop(stream.write_all(b"HTTP/1.1 407 Login Wanted\r\ncontent-length: 0\r\n\r\n").await);
        } else if head.starts_with("CONNECT ") {
            let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(mut there) => {
                    stream.write_all(b"HTTP/1.1 200 Connected\r\nvia: test\r\n\r\n").await.unwrap();
                    drop(copy_bidirectional(&mut stream, &mut there).await);
                }
                Err(_) => drop(stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await),
            }
        } else {
            drop(stream.write_all(OK.as_bytes()).await);
        }
    })
    .await
}

#[tokio::test]
async fn an_http_proxy_takes_whole_urls_and_connects_for_https() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = authority.issue(&["hidden.test"], -1, 30).serve().await;
    let proxy = http_proxy(Some("Basic bWU6aHVzaA==")).await;
    let login = Some(("me", "hush"));
    // A name that only the proxy knows.
    let mut spec = CheckSpec {
        proxy: by(ProxyKind::Http, &proxy, login),
        ..tls::https(&server, "hidden.test", &authority.pem, &folder)
    };
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.status_code), (None, Some(200)));
    assert_eq!(seen.certificate.unwrap().subject, "CN=hidden.test");
    assert_eq!(seen.remote_address, Some(proxy.address.to_string()));
    assert_eq!(header(&server.requests()[0], "proxy-authorization"), None, "the login is the proxy's");

    spec.url = "http://hidden.test:8080/a?b".parse().unwrap();
    assert_eq!(observe(&spec).await.failure, None);
    let asked = proxy.requests();
    assert!(
        asked[0].starts_with(&format!("CONNECT hidden.test:{} HTTP/1.1\r\n", server.address.port())),
        "{}",
        asked[0]
    );
    assert!(asked[1].starts_with("GET http://hidden.test:8080/a?b HTTP/1.1\r\n"), "{}", asked[1]);
    assert_eq!(header(&asked[1], "host"), Some("hidden.test:8080"));
    assert!(!asked[0].contains("x-api-monitor"), "{}", asked[0]);
}

#[tokio::test]
async fn what_a_proxy_does_not_do_is_told_as_its_failure() {
    let proxy = http_proxy(Some("Basic bWU6aHVzaA==")).await;
    let place = proxy.address;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let with =
        |url: &str, login: Option<(&str, &str)>| CheckSpec { proxy: by(ProxyKind::Http, &proxy, login), ..spec(url) };
    for (spec, how) in [
        (with("https://shop.test/", None), "does not connect to shop.test:443: 407 Login Wanted".to_owned()),
        (with("http://shop.test/", None), "wants a login, or another one (407)".to_owned()),
        (
            with(&format!("https://{free}/"), Some(("me", "hush"))),
            format!("does not connect to {free}: 502 Bad Gateway"),
        ),
    ] {
        assert_fails(&observe(&spec).await, FailureKind::ProxyFailed, &format!("The proxy {place} {how}"));
    }
    let mut dead = with("https://shop.test/", None);
    dead.proxy.as_mut().unwrap().port = free.port();
    let message = format!("The proxy {free} cannot be used: Connection refused by {free}");
    assert_fails(&observe(&dead).await, FailureKind::ProxyFailed, &message);

    for (answer, how) in [
        ("", "ended the connection instead of connecting to shop.test:443"),
        ("SSH-2.0-dropbear\r\n\r\n", "did not answer in valid HTTP: SSH-2.0-dropbear"),
        ("HTTP/1.1 200 OK\r\n\r\nsurprise", "sent something of its own into the connection"),
    ] {
        let odd = Server::answering(answer).await;
        let spec = CheckSpec { proxy: by(ProxyKind::Http, &odd, None), ..spec("https://shop.test/") };
        assert_fails(&observe(&spec).await, FailureKind::ProxyFailed, &format!("The proxy {} {how}", odd.address));
    }
    let silent = Server::start(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for kind in [ProxyKind::Http, ProxyKind::Socks5] {
        let spec = CheckSpec { proxy: by(kind, &silent, None), ..quick("https://shop.test/") };
        let message = format!("Request timed out after 300ms while waiting for the proxy {}", silent.address);
        assert_fails(&observe(&spec).await, FailureKind::ProxyFailed, &message);
    }
}

/// Speaks SOCKS5 as far as the tests need it: with a login if one is wanted, and with `verdict` for every connection.
async fn socks_proxy(login: Option<&'static [u8]>, verdict: u8) -> Server {
    Server::start(move |mut stream, requests| async move {
        let mut methods = [0; 2];
        stream.read_exact(&mut methods).await.unwrap();
        let mut offered = vec![0; usize::from(methods[1])];
        stream.read_exact(&mut offered).await.unwrap();
        if let Some(login) = login {
            if !offered.contains(&2) {
                return drop(stream.write_all(&[5, 0xff]).await);
            }
            stream.write_all(&[5, 2]).await.unwrap();
            let mut given = vec![0; login.len()];
            stream.read_exact(&mut given).await.unwrap();
            stream.write_all(&[1, u8::from(given != login)]).await.unwrap();
        } else {
            stream.write_all(&[5, 0]).await.unwrap();
        }
        let mut request = [0; 4];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        let destination = match request[3] {
            1 => {
                let mut v4 = [0; 4];
                stream.read_exact(&mut v4).await.unwrap();
                IpAddr::from(v4).to_string()
            }
            3 => {
                let mut length = [0];
                stream.read_exact(&mut length).await.unwrap();
                let mut name = vec![0; usize::from(length[0])];
                stream.read_exact(&mut name).await.unwrap();
                String::from_utf8(name).unwrap()
            }
            other => panic!("an address of type {other}"),
        };
        let mut port = [0; 2];
        stream.read_exact(&mut port).await.unwrap();
        let port = u16::from_be_bytes(port);
        requests.note(&format!("{destination}:{port}"));
        stream.write_all(&[5, verdict, 0, 1, 127, 0, 0, 1, 0, 0]).await.unwrap();
        if verdict == 0 {
            let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            drop(copy_bidirectional(&mut stream, &mut there).await);
        }
    })
    .await
}

#[tokio::test]
async fn a_socks5_proxy_connects_to_names_that_only_it_knows() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let login: &[u8] = b"\x01\x02me\x04hush";
    for (proxy, given) in
        [(socks_proxy(None, 0).await, None), (socks_proxy(Some(login), 0).await, Some(("me", "hush")))]
    {
        let spec = CheckSpec {
            proxy: by(ProxyKind::Socks5, &proxy, given),
            ..spec(&format!("http://hidden.test:{port}/path"))
        };
        let seen = observe(&spec).await;
        assert_eq!((seen.failure, seen.status_code), (None, Some(200)));
        assert_eq!(proxy.requests(), [format!("hidden.test:{port}")]);
    }
    assert!(server.requests().iter().all(|request| request.starts_with("GET /path HTTP/1.1\r\n")));

    let not_socks = Server::start(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        read_request(&mut stream).await;
    })
    .await;
    for (proxy, given, how) in [
        (socks_proxy(None, 4).await, None, "does not connect to hidden.test:80: host unreachable (4)"),
        (socks_proxy(Some(login), 0).await, None, "wants a login that is not given"),
        (socks_proxy(Some(login), 0).await, Some(("me", "hum!")), "refuses the user or the password"),
        (not_socks, None, "does not speak SOCKS5"),
    ] {
        let spec = CheckSpec { proxy: by(ProxyKind::Socks5, &proxy, given), ..spec("http://hidden.test/") };
        let seen = observe(&spec).await;
        let message = format!("The proxy {} {how}", proxy.address);
        assert_fails(&seen, FailureKind::ProxyFailed, &message);
    }
}

#[tokio::test]
async fn what_was_made_through_the_api_is_not_led_past_the_policy_by_a_proxy() {
    let proxy = http_proxy(None).await;
    let socks = socks_proxy(None, 0).await;
    let server = Server::answering(OK).await;
    let lookup: Lookup = Arc::new(|name| {
        let address = if name == "denied.example" { [127, 0, 0, 9] } else { [127, 0, 0, 1] };
        Box::pin(std::future::ready(Ok(vec![IpAddr::from(address)])))
    });
    let deny = vec!["127.0.0.9".parse::<IpAddr>().unwrap().into()];
    let policy = OutboundPolicy { allow_private: true, deny };
    let checker = HttpChecker::new(Arc::new(Outbound::with_lookup(lookup, policy))).unwrap();
    let port = server.address.port();
    for (kind, proxy) in [(ProxyKind::Http, &proxy), (ProxyKind::Socks5, &socks)] {
        for host in ["denied.example", "127.0.0.9"] {
            let spec = CheckSpec { proxy: by(kind, proxy, None), ..spec(&format!("http://{host}:{port}/")) };
            let seen = checker.check(&spec, Origin::Api, Instant::now() + spec.timeout).await;
            assert_eq!(seen.failure.unwrap().kind, FailureKind::OutboundRefused, "{kind} {host}");
        }
        assert!(proxy.requests().is_empty());
        let spec = CheckSpec { proxy: by(kind, proxy, None), ..spec(&format!("http://shop.example:{port}/")) };
        let seen = checker.check(&spec, Origin::Api, Instant::now() + spec.timeout).await;
        assert_eq!((seen.failure, seen.status_code), (None, Some(200)), "{kind}");
        assert!(proxy.requests()[0].contains(&format!("127.0.0.1:{port}")), "the proxy is told what was examined");
    }
    let mut there = CheckSpec { proxy: by(ProxyKind::Http, &proxy, None), ..spec("http://shop.example/") };
    there.proxy.as_mut().unwrap().host = "127.0.0.9".to_owned();
    let seen = checker.check(&there, Origin::Api, Instant::now() + there.timeout).await;
    assert_eq!(seen.failure.unwrap().kind, FailureKind::OutboundRefused);
}
