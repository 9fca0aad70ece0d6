//! What was made through the API is refused before anything connects: a listener at the refused address counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Loopback addresses of this machine; the second is denied.
const ALLOWED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DENIED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// Listens at both addresses, on one port; counts the connections to the denied one.
struct Places {
    port: u16,
    to_denied: Arc<AtomicUsize>,
    _allowed: Server,
    _denied: tokio::task::JoinSet<()>,
}

impl Places {
    /// The allowed one redirects `/name`, `/address` and `/number` to the denied one.
    async fn open() -> Self {
        let allowed = Server::routing(|target| {
            let (port, path) = target.trim_start_matches('/').split_once('/').unwrap_or((target, ""));
            let location = match path {
                "name" => format!("http://denied.example:{port}/"),
                "address" => format!("http://127.0.0.9:{port}/"),
                "number" => format!("http://0x7f000009:{port}/"),
                "mapped" => format!("http://[::ffff:127.0.0.9]:{port}/"),
                _ => return OK.to_owned(),
            };
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
        })
        .await;
        let port = allowed.address.port();
        let listener = TcpListener::bind((DENIED, port)).await.unwrap();
        let to_denied = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&to_denied);
        let mut denied = tokio::task::JoinSet::new();
        denied.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                read_request(&mut stream).await;
                drop(stream.write_all(OK.as_bytes()).await);
            }
        });
        Self { port, to_denied, _allowed: allowed, _denied: denied }
    }

    fn url(&self, host: &str, path: &str) -> CheckSpec {
        spec(&format!("http://{host}:{port}/{port}/{path}", port = self.port))
    }

    fn to_denied(&self) -> usize {
        self.to_denied.load(Ordering::SeqCst)
    }
}

/// Answers with the addresses of `answers` in turn, the last of them for good; counts.
fn turning(answers: Vec<Vec<IpAddr>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        let turn = counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(answers[turn.min(answers.len() - 1)].clone())))
    });
    (lookup, asked)
}

fn denying(lookup: Lookup) -> HttpChecker {
    let deny = vec!["127.0.0.9".parse::<IpAddr>().unwrap().into()];
    HttpChecker::new(Arc::new(Outbound::with_lookup(lookup, OutboundPolicy { allow_private: true, deny }))).unwrap()
}

async fn by_api(checker: &HttpChecker, spec: &CheckSpec) -> Observation {
    checker.check(spec, Origin::Api, Instant::now() + spec.timeout).await
}

#[track_caller]
fn assert_refused(seen: &Observation, about: &str) {
    let failure = seen.failure.as_ref().unwrap_or_else(|| panic!("{about}: {seen:?}"));
    assert_eq!(failure.kind, FailureKind::OutboundRefused, "{about}: {}", failure.message);
    assert!(failure.message.ends_with("is in 127.0.0.9/32, which `outbound.deny` names"), "{}", failure.message);
    assert_eq!((seen.status_code, &seen.remote_address), (None, &None), "{about}");
}

#[tokio::test]
async fn a_refused_address_is_not_connected_to_directly_by_name_or_by_redirect() {
    let places = Places::open().await;
    let lookup: Lookup = Arc::new(|name| {
        Box::pin(std::future::ready(Ok(vec![if name == "denied.example" { DENIED } else { ALLOWED }])))
    });
    let checker = denying(lookup);
    for host in ["127.0.0.9", "0x7f.9", "2130706441", "[::ffff:127.0.0.9]", "denied.example"] {
        let spec = places.url(host, "");
        assert_refused(&by_api(&checker, &spec).await, host);
    }
    for path in ["name", "address", "number", "mapped"] {
        let seen = by_api(&checker, &places.url("allowed.example", path)).await;
        assert_refused(&seen, path);
        assert_eq!(seen.redirects.len(), 1, "{path}");
    }
    assert_eq!(places.to_denied(), 0);
    assert_eq!(by_api(&checker, &places.url("allowed.example", "")).await.failure, None);

    // The operator's own go there, by the same checker, and leave no way open behind them.
    for (connections, path) in (1..).zip(["name", "address"]) {
        assert_eq!(examine(&checker, &places.url("127.0.0.1", path)).await.failure, None, "{path}");
        assert_eq!(places.to_denied(), connections);
    }
    assert_refused(&by_api(&checker, &places.url("denied.example", "")).await, "after the operator's");
    assert_eq!(places.to_denied(), 2);
}

#[tokio::test]
async fn what_was_examined_is_what_is_connected_to() {
    let places = Places::open().await;
    let (lookup, asked) = turning(vec![vec![ALLOWED], vec![DENIED], vec![ALLOWED]]);
    let checker = denying(lookup);
    let spec = places.url("turning.example", "");
    for turn in 1..=3 {
        let seen = by_api(&checker, &spec).await;
        if turn == 2 {
            assert_refused(&seen, "the second answer");
        } else {
            assert_eq!(seen.failure, None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), turn, "one question a connection");
    }
    assert_eq!(places.to_denied(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_are_tried() {
    let places = Places::open().await;
    let (lookup, _) = turning(vec![vec![DENIED, ALLOWED, "169.254.169.254".parse().unwrap()]]);
    let seen = by_api(&denying(lookup), &places.url("both.example", "")).await;
    assert_eq!((seen.failure, places.to_denied()), (None, 0));
    assert_eq!(seen.remote_address, Some(format!("127.0.0.1:{}", places.port)));
}
