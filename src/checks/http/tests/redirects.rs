//! Where redirects lead, what they carry, and where they end.

use super::*;
use crate::checks::testing::Authority;
use crate::domain::check::RedirectPolicy;
use crate::domain::dial::RedirectHosts;

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_redirect_is_followed_and_the_last_answer_counts() {
    let server = Server::routing(|target| match target {
        "/a" => to(302, "/b?x#part"),
        "/b?x" => to(301, "c"),
        _ => OK.to_owned(),
    })
    .await;
    let seen = observe(&spec(&server.url("/a"))).await;
    assert_eq!((seen.failure, seen.status_code, seen.body_bytes), (None, Some(200), 2));
    assert_eq!(seen.redirects, [server.url("/b?x"), server.url("/c")]);

    let stay = RedirectPolicy { follow: false, max: 10, ..RedirectPolicy::default() };
    let seen = observe(&CheckSpec { redirects: stay, ..spec(&server.url("/a")) }).await;
    assert_eq!((seen.failure, seen.status_code), (None, Some(302)));
    assert!(seen.redirects.is_empty());
}

#[tokio::test]
async fn the_phases_of_all_hops_are_summed() {
    let server = Server::start(|stream, requests| async move {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let text = |head: &str| if head.contains("/end") { OK.to_owned() } else { to(302, "/end") };
        crate::checks::testing::answer(stream, &requests, |head| text(head).into_bytes()).await;
    })
    .await;
    let t = observe(&spec(&server.url("/"))).await.timings;
    assert!(t.first_byte_us.unwrap() >= 120_000 && t.total_us >= t.first_byte_us.unwrap(), "{t:?}");
}

#[tokio::test]
async fn the_status_decides_what_becomes_of_method_and_body() {
    for (status, method, arrives_as, with_body) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (307, "POST", "POST", true),
        (308, "POST", "POST", true),
        (301, "PUT", "PUT", true),
        (302, "DELETE", "DELETE", true),
        (303, "PUT", "GET", false),
        (303, "HEAD", "HEAD", true),
    ] {
        let server = Server::routing(move |t| if t == "/" { to(status, "/end") } else { OK.to_owned() }).await;
        let spec = CheckSpec {
            method: method.to_owned(),
            body: Some(RequestBody::Json(serde_json::json!({"a": 1}))),
            ..spec(&server.url("/"))
        };
        assert_eq!(observe(&spec).await.failure, None, "{status} {method}");
        let arrived = &server.requests()[1];
        assert!(arrived.starts_with(&format!("{arrives_as} /end ")), "{status} {method}: {arrived}");
        assert_eq!(arrived.ends_with("{\"a\":1}"), with_body, "{status} {method}: {arrived}");
        assert_eq!(header(arrived, "content-type").is_some(), with_body, "{status} {method}: {arrived}");
    }
}

#[tokio::test]
async fn secrets_stay_with_their_origin() {
    let other = Server::answering(OK).await;
    let elsewhere = other.url("/end");
    let server = Server::routing(move |target| match target {
        "/out" => to(302, &elsewhere),
        "/in" => to(302, "/here"),
        _ => OK.to_owned(),
    })
    .await;
    let secrets = ["authorization", "cookie", "x-api-key", "x-mine", "host"];
    let mut spec = spec(&server.url("/in"));
    spec.redact.push("x-mine".to_owned());
    spec.headers = secrets.map(|n| (n.to_owned(), "secret.example".to_owned())).into();
    spec.headers.insert("x-plain".to_owned(), "kept".to_owned());

    observe(&spec).await;
    spec.url.set_path("/out");
    observe(&spec).await;
    for name in secrets {
        assert_eq!(header(&server.requests()[1], name), Some("secret.example"), "the same origin keeps {name}");
        assert_ne!(header(&other.requests()[0], name), Some("secret.example"), "another origin never gets {name}");
    }
    assert_eq!(header(&other.requests()[0], "x-plain"), Some("kept"));
    assert_eq!(header(&other.requests()[0], "host"), Some(other.address.to_string().as_str()));
}

#[tokio::test]
async fn userinfo_is_sent_to_its_origin_only_and_never_shown() {
    let other = Server::answering(OK).await;
    let elsewhere = format!("http://you:hush@{}/", other.address);
    let server = Server::routing(move |target| if target == "/" { to(302, "/b") } else { to(302, &elsewhere) }).await;
    let seen = observe(&spec(&format!("http://me:secret@{}/", server.address))).await;
    assert_eq!(seen.failure, None);
    assert_eq!(seen.redirects, [server.url("/b"), other.url("/")]);
    assert_eq!(header(&server.requests()[1], "authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(header(&other.requests()[0], "authorization"), Some("Basic eW91Omh1c2g="));
}

#[tokio::test]
async fn a_circle_is_noticed_at_the_first_return() {
    let server = Server::routing(|target| if target == "/a" { to(302, "/b") } else { to(302, "/a#again") }).await;
    let seen = observe(&spec(&server.url("/a"))).await;
    let message = format!("The redirects go round in a circle at {}", server.url("/a"));
    assert_fails(&seen, FailureKind::RedirectLoop, &message);
    assert_eq!((server.requests().len(), seen.status_code), (2, Some(302)));
}

#[tokio::test]
async fn a_form_that_redirects_to_itself_as_a_get_is_no_circle() {
    let server = Server::start(|stream, requests| async move {
        let text = |head: &str| if head.starts_with("POST") { to(303, "/") } else { OK.to_owned() };
        crate::checks::testing::answer(stream, &requests, |head| text(head).into_bytes()).await;
    })
    .await;
    assert_eq!(observe(&CheckSpec { method: "POST".to_owned(), ..spec(&server.url("/")) }).await.failure, None);
}

#[tokio::test]
async fn the_number_of_redirects_is_bounded() {
    let server = Server::routing(|target| {
        let n: u32 = target[1..].parse().unwrap();
        if n == 3 { OK.to_owned() } else { to(302, &format!("/{}", n + 1)) }
    })
    .await;
    let at_most = |max| CheckSpec {
        redirects: RedirectPolicy { follow: true, max, ..RedirectPolicy::default() },
        ..spec(&server.url("/0"))
    };
    assert_eq!(observe(&at_most(3)).await.failure, None);
    let seen = observe(&at_most(2)).await;
    let message = format!("More than 2 redirects, the last one to {}", server.url("/3"));
    assert_fails(&seen, FailureKind::RedirectLimit, &message);
    assert_eq!(seen.redirects.len(), 2);
}

#[tokio::test]
async fn a_redirect_to_nowhere() {
    for (answer, message) in [
        ("HTTP/1.1 302 Found\r\n\r\n", "GET returned 302 without a Location to follow"),
        (&to(302, "http://"), "GET returned 302 with a Location that is not a URL"),
        (
            &to(307, "mailto:a@b.example"),
            "GET returned 307 with a redirect to mailto:, which is neither http nor https",
        ),
    ] {
        let server = Server::answering(answer).await;
        assert_fails(&observe(&spec(&server.url("/"))).await, FailureKind::HttpProtocol, message);
    }
}

#[tokio::test]
async fn a_failure_behind_a_redirect_is_that_hops() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::answering(to(302, &format!("http://{free}/"))).await;
    let seen = observe(&spec(&server.url("/"))).await;
    assert_fails(&seen, FailureKind::ConnectRefused, &format!("Connection refused by {free}"));
    assert_eq!((seen.status_code, seen.remote_address), (None, None));
}

#[tokio::test]
async fn a_redirect_that_gives_up_encryption_is_a_failure_unless_it_is_allowed() {
    let plain = Server::answering(OK).await;
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["shop.example"], -1, 30);
    let location = to(302, &plain.url("/"));
    let acceptor = identity.acceptor(&["http/1.1"]);
    let server = Server::start(move |stream, requests| {
        let (acceptor, location) = (acceptor.clone(), location.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            crate::checks::testing::answer(stream, &requests, |_| location.into_bytes()).await;
        }
    })
    .await;
    let mut spec = tls::https(&server, "shop.example", &authority.pem, &folder);
    let message = format!("The redirect from https to http://{} gives up encryption", plain.address);
    assert_fails(&observe(&spec).await, FailureKind::RedirectDowngrade, &message);
    assert!(plain.requests().is_empty(), "nothing is sent there");
    spec.redirects.allow_downgrade = true;
    let seen = observe(&spec).await;
    assert_eq!((seen.failure, seen.status_code, seen.tls), (None, Some(200), None));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_a_failure_where_the_hosts_are_named() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let turning = Server::routing(move |target| match target {
        "/away" => to(302, &format!("http://www.shop.example:{port}/")),
        "/home" => to(302, "/end"),
        _ => OK.to_owned(),
    })
    .await;
    let at = |path: &str, hosts: RedirectHosts| {
        let redirects = RedirectPolicy { hosts, ..RedirectPolicy::default() };
        CheckSpec { redirects, ..spec(&format!("http://shop.example:{}{path}", turning.address.port())) }
    };
    let listed = |host: &str| RedirectHosts::Listed(vec![host.to_owned()]);
    let message = "The redirect leads to another host, www.shop.example, which `redirects.hosts` does not allow";
    assert_fails(&observe(&at("/away", RedirectHosts::Same)).await, FailureKind::RedirectHost, message);
    assert_fails(&observe(&at("/away", listed("shop.example"))).await, FailureKind::RedirectHost, message);
    assert!(server.requests().is_empty(), "nothing is sent there");
    assert_eq!(observe(&at("/away", listed("*.shop.example"))).await.failure, None);
    assert_eq!(observe(&at("/away", RedirectHosts::Any)).await.failure, None);
    assert_eq!(observe(&at("/home", RedirectHosts::Same)).await.failure, None);
}
