//! Connections to servers of this machine, and each way they do not come to be.

use std::fs;
use std::net::Ipv4Addr;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::checks::testing::{Authority, Server, full_backlog, in_days};
use crate::domain::check::Observation;
use crate::domain::dial::{TlsPolicy, TlsVersion};
use crate::domain::outbound::OutboundPolicy;
use crate::outbound::Lookup;

/// Every name leads to `addresses`.
fn dialler(addresses: &[&str]) -> Dialler {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let lookup: Lookup = Arc::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))));
    let deny = vec!["127.0.0.9".parse::<IpAddr>().unwrap().into()];
    let policy = OutboundPolicy { allow_private: true, deny };
    Dialler::new(Arc::new(Outbound::with_lookup(lookup, policy))).unwrap()
}

struct Attempt {
    policy: DialPolicy,
    connect_timeout: Option<Duration>,
    origin: Origin,
    within: Duration,
}

impl Default for Attempt {
    fn default() -> Self {
        Self {
            policy: DialPolicy::default(),
            connect_timeout: None,
            origin: Origin::Config,
            within: Duration::from_secs(30),
        }
    }
}

impl Attempt {
    async fn make(&self, dialler: &Dialler, host: &str, port: u16) -> (Result<SocketAddr, Failure>, Observation) {
        let trace = Trace::start();
        let route = Route {
            policy: &self.policy,
            connect_timeout: self.connect_timeout,
            origin: self.origin,
            deadline: Instant::now() + self.within,
        };
        let dialled = dialler.dial(host, port, &route, &trace).await;
        let mut seen = Observation::default();
        trace.tell(&mut seen);
        (dialled.map(|connected| connected.stream.local_addr().unwrap()), seen)
    }
}

async fn listener(address: &str, port: u16) -> TcpListener {
    TcpListener::bind((address.parse::<IpAddr>().unwrap(), port)).await.unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over_and_kept() {
    let alive = listener("127.0.0.1", 0).await;
    let port = port(&alive);
    let attempt = Attempt::default();
    let (dialled, seen) = attempt.make(&dialler(&["127.0.0.2", "127.0.0.1"]), "shop.example", port).await;
    assert!(dialled.is_ok());
    assert_eq!(seen.remote_address, Some(format!("127.0.0.1:{port}")));
    let tried: Vec<_> = seen.dialled.iter().map(|d| (d.address.to_string(), d.failure.clone())).collect();
    let refused = format!("Connection refused by 127.0.0.2:{port}");
    assert_eq!(tried, [(format!("127.0.0.2:{port}"), Some(refused)), (format!("127.0.0.1:{port}"), None)]);
    assert!(seen.timings.dns_us.is_some() && seen.timings.connect_us.is_some());
}

#[tokio::test]
async fn an_address_that_does_not_answer_has_its_share_of_the_time_only() {
    let (dead, _backlog) = full_backlog("127.0.0.2").await;
    let alive = listener("127.0.0.1", dead.port()).await;
    for (connect_timeout, told) in [(None, "2s"), (Some(Duration::from_millis(50)), "50ms")] {
        let attempt = Attempt { connect_timeout, ..Attempt::default() };
        let (dialled, seen) = attempt.make(&dialler(&["127.0.0.2", "127.0.0.1"]), "shop.example", dead.port()).await;
        assert!(dialled.is_ok(), "{dialled:?}");
        assert_eq!(seen.dialled[0].failure, Some(format!("Connection to {dead} timed out after {told}")));
    }
    // Three addresses in 600 ms have 200 each, as long as the last is not reached.
    let attempt = Attempt { within: Duration::from_millis(600), ..Attempt::default() };
    let dialler = dialler(&["127.0.0.2", "127.0.0.2", "127.0.0.1"]);
    let (dialled, seen) = attempt.make(&dialler, "shop.example", dead.port()).await;
    assert!(dialled.is_ok(), "{dialled:?}");
    assert!((190_000..1_900_000).contains(&seen.dialled[0].took_us), "{:?}", seen.dialled);
    assert_eq!(seen.dialled.len(), 3);
    drop(alive);
}

#[tokio::test]
async fn what_each_address_did_is_told_and_the_word_is_of_what_says_most() {
    let (dead, _backlog) = full_backlog("127.0.0.2").await;
    let attempt = Attempt { connect_timeout: Some(Duration::from_millis(50)), ..Attempt::default() };
    let (dialled, _) = attempt.make(&dialler(&["127.0.0.2", "127.0.0.3"]), "shop.example", dead.port()).await;
    let message = format!(
        "No address of shop.example:{} could be connected to: 127.0.0.2 timed out, 127.0.0.3 refused",
        dead.port()
    );
    assert_eq!(dialled, Err(Failure::new(FailureKind::ConnectRefused, message)));

    let (dialled, _) = attempt.make(&dialler(&["127.0.0.3", "127.0.0.4"]), "shop.example", dead.port()).await;
    let message = format!("Connection refused by shop.example:{} (127.0.0.3, 127.0.0.4)", dead.port());
    assert_eq!(dialled, Err(Failure::new(FailureKind::ConnectRefused, message)));
}

#[tokio::test]
async fn a_family_a_source_and_a_known_name_choose_what_is_dialled() {
    let alive = listener("127.0.0.1", 0).await;
    let port = port(&alive);
    let both = dialler(&["::1", "127.0.0.1"]);
    let v4 = DialPolicy { ip_family: IpFamily::V4, ..DialPolicy::default() };
    let (dialled, seen) = Attempt { policy: v4, ..Attempt::default() }.make(&both, "shop.example", port).await;
    assert!(dialled.is_ok());
    assert_eq!(seen.dialled.len(), 1);

    let v6 = DialPolicy { ip_family: IpFamily::V6, ..DialPolicy::default() };
    let attempt = Attempt { policy: v6, ..Attempt::default() };
    let (dialled, seen) = attempt.make(&dialler(&["127.0.0.1"]), "shop.example", port).await;
    let message = "The name shop.example has no IPv6 address";
    assert_eq!(dialled, Err(Failure::new(FailureKind::DnsNoRecords, message)));
    assert!(seen.timings.connect_us.is_none());
    let (dialled, _) = attempt.make(&both, "127.0.0.1", port).await;
    assert_eq!(dialled.unwrap_err().kind, FailureKind::ConnectUnreachable);

    let source = DialPolicy { source_ip: Some("127.0.0.7".parse().unwrap()), ..DialPolicy::default() };
    let (dialled, _) = Attempt { policy: source, ..Attempt::default() }.make(&both, "shop.example", port).await;
    assert_eq!(dialled.unwrap().ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7)));

    let nobodys = DialPolicy { source_ip: Some("192.0.2.1".parse().unwrap()), ..DialPolicy::default() };
    let (dialled, seen) = Attempt { policy: nobodys, ..Attempt::default() }.make(&both, "shop.example", port).await;
    let failure = dialled.unwrap_err();
    let begins = format!("shop.example:{port} (127.0.0.1) cannot be reached from 192.0.2.1, as `source_ip` asks for: ");
    assert!(failure.message.starts_with(&begins), "{}", failure.message);
    assert!(!seen.own_trouble, "a setting that is wrong is not want of means");

    let resolve = [("shop.example".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST))].into();
    let known = DialPolicy { resolve, ..DialPolicy::default() };
    let attempt = Attempt { policy: known, ..Attempt::default() };
    let (dialled, seen) = attempt.make(&dialler(&[]), "SHOP.example", port).await;
    assert!(dialled.is_ok(), "{dialled:?}");
    assert_eq!(seen.timings.dns_us, None, "nothing was looked up");
}

#[tokio::test]
async fn what_was_made_through_the_api_is_not_led_past_the_policy_by_settings_of_its_own() {
    let denied = listener("127.0.0.9", 0).await;
    let port = port(&denied);
    let resolve = [("shop.example".to_owned(), "127.0.0.9".parse().unwrap())].into();
    let to_denied = DialPolicy { resolve, ..DialPolicy::default() };
    let asks_denied = DialPolicy { resolver: Some("127.0.0.9:53".parse().unwrap()), ..DialPolicy::default() };
    for policy in [to_denied.clone(), asks_denied] {
        let attempt = Attempt { policy, origin: Origin::Api, ..Attempt::default() };
        let (dialled, seen) = attempt.make(&dialler(&["127.0.0.1"]), "shop.example", port).await;
        assert_eq!(dialled.unwrap_err().kind, FailureKind::OutboundRefused);
        assert_eq!(seen.dialled, []);
    }
    let attempt = Attempt { policy: to_denied, ..Attempt::default() };
    assert!(attempt.make(&dialler(&[]), "shop.example", port).await.0.is_ok(), "the operator's own go there");
}

async fn secure(server: &Server, policy: &TlsPolicy) -> (Result<Option<String>, Failure>, Observation) {
    let dialler = dialler(&["127.0.0.1"]);
    let trace = Trace::start();
    let dial = DialPolicy::default();
    let deadline = Instant::now() + Duration::from_secs(30);
    let route = Route { policy: &dial, connect_timeout: None, origin: Origin::Config, deadline };
    let connected = dialler.dial("shop.example", server.address.port(), &route, &trace).await.unwrap();
    let secured = dialler.secure(connected.stream, "shop.example", policy, &["h2", "http/1.1"], &trace).await;
    // What a server says of a client's certificate comes with the first bytes.
    let secured = match secured {
        Ok(mut secured) => {
            let mut byte = [0];
            match tokio::io::AsyncReadExt::read(&mut secured.stream, &mut byte).await {
                Ok(_) => Ok(secured.protocol),
                Err(error) => Err(failure::of_request(&error, &trace)),
            }
        }
        Err(failure) => Err(failure),
    };
    let mut seen = Observation::default();
    trace.tell(&mut seen);
    (secured, seen)
}

/// Accepts handshakes, and ends what follows at once.
async fn shaking(config: rustls::ServerConfig) -> Server {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
                let mut rest = [0; 64];
                drop(tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await);
            }
        }
    })
    .await
}

/// Writes `pem` to a file of its own.
fn file(folder: &TempDir, name: &str, pem: &str) -> Option<String> {
    let path = folder.path().join(name);
    fs::write(&path, pem).unwrap();
    Some(path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn version_cipher_and_the_whole_chain_are_seen() {
    let folder = TempDir::new().unwrap();
    let root = Authority::new("Test Root");
    let middle = root.subordinate("Test Intermediate");
    let mut identity = middle.issue(&["shop.example"], -1, 30);
    identity.chain.push(middle.der.clone());
    let policy = TlsPolicy { ca_file: file(&folder, "ca.pem", &root.pem), ..TlsPolicy::default() };
    let server = shaking(identity.config(&["h2"])).await;
    let (secured, seen) = secure(&server, &policy).await;
    assert_eq!(secured, Ok(Some("h2".to_owned())));
    let tls = seen.tls.unwrap();
    assert_eq!((tls.version.as_str(), tls.protocol.as_deref()), ("TLS 1.3", Some("h2")));
    assert!(tls.cipher.starts_with("TLS13_"), "{}", tls.cipher);
    assert_eq!(seen.certificate.as_ref().unwrap().subject, "CN=shop.example");
    assert_eq!(seen.certificate.unwrap().fingerprint.len(), 64);
    let issuers: Vec<_> = seen.issuers.iter().map(|c| (c.subject.as_str(), c.issuer.as_str())).collect();
    assert_eq!(issuers, [("CN=Test Intermediate", "CN=Test Root")]);

    // The same without the intermediate, whose place the leaf names.
    let lacking = middle.issue_naming_its_issuer(&["shop.example"]);
    let server = shaking(lacking.config(&[])).await;
    let (secured, seen) = secure(&server, &policy).await;
    let message = "TLS certificate chain lacks an intermediate certificate: the server does not send that of \
                   CN=Test Intermediate";
    assert_eq!(secured, Err(Failure::new(FailureKind::TlsUntrusted, message)));
    assert_eq!((seen.issuers.len(), seen.tls), (0, None));
}

#[tokio::test]
async fn another_name_than_the_hosts_may_be_asked_for() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = shaking(authority.issue(&["inner.example"], -1, 30).config(&[])).await;
    let mut policy = TlsPolicy { ca_file: file(&folder, "ca.pem", &authority.pem), ..TlsPolicy::default() };
    assert_eq!(secure(&server, &policy).await.0.unwrap_err().kind, FailureKind::TlsHostnameMismatch);
    policy.server_name = Some("inner.example".to_owned());
    assert_eq!(secure(&server, &policy).await.0, Ok(None));
    policy.server_name = Some("no name".to_owned());
    let message = "No TLS certificate can be for the name no name";
    assert_eq!(secure(&server, &policy).await.0, Err(Failure::new(FailureKind::TlsHandshake, message)));
}

#[tokio::test]
async fn an_older_version_than_is_asked_for_is_none_in_common() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["shop.example"], -1, 30);
    let server = shaking(identity.config_of(&[&rustls::version::TLS12])).await;
    let mut policy = TlsPolicy { ca_file: file(&folder, "ca.pem", &authority.pem), ..TlsPolicy::default() };
    let (secured, seen) = secure(&server, &policy).await;
    assert_eq!((secured, seen.tls.unwrap().version.as_str()), (Ok(None), "TLS 1.2"));
    policy.min_version = TlsVersion::Tls13;
    let failure = secure(&server, &policy).await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsProtocol, "{}", failure.message);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_whom_asks_for_one() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let server = shaking(authority.issue(&["shop.example"], -1, 30).config_asking(&authority)).await;
    let ours = authority.issue(&["us.example"], -1, 30);
    let without = TlsPolicy { ca_file: file(&folder, "ca.pem", &authority.pem), ..TlsPolicy::default() };
    let failure = secure(&server, &without).await.0.unwrap_err();
    let message = format!(
        "shop.example:{} (127.0.0.1) refused the TLS handshake with the alert CertificateRequired",
        server.address.port()
    );
    assert_eq!(failure, Failure::new(FailureKind::TlsHandshake, message));

    let apart = TlsPolicy {
        client_cert_file: file(&folder, "us.pem", &ours.pem),
        client_key_file: file(&folder, "us.key", &ours.key_pem()),
        ..without.clone()
    };
    assert_eq!(secure(&server, &apart).await.0, Ok(None));
    let together = file(&folder, "both.pem", &format!("{}{}", ours.key_pem(), ours.pem));
    let together = TlsPolicy { client_cert_file: together, ..without.clone() };
    assert_eq!(secure(&server, &together).await.0, Ok(None));

    let keyless = TlsPolicy { client_cert_file: apart.client_cert_file.clone(), ..without.clone() };
    let path = keyless.client_cert_file.clone().unwrap();
    let message = format!("The client key in {path} cannot be read: it holds no private key in PEM");
    assert_eq!(secure(&server, &keyless).await.0, Err(Failure::new(FailureKind::TlsHandshake, message)));
}

#[tokio::test]
async fn a_revoked_certificate_is_told_as_such() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("Test CA");
    let identity = authority.issue_with_serial(&["shop.example"], 77);
    let server = shaking(identity.config(&[])).await;
    let listing = |serial: u64| {
        let params = CertificateRevocationListParams {
            this_update: in_days(-1).into(),
            next_update: in_days(10).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: in_days(-1).into(),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(authority.issuer()).unwrap()
    };
    let ca_file = file(&folder, "ca.pem", &authority.pem);
    let other = file(&folder, "other.pem", &listing(78).pem().unwrap());
    let policy = TlsPolicy { ca_file, crl_file: other, ..TlsPolicy::default() };
    assert_eq!(secure(&server, &policy).await.0, Ok(None));

    let revoked = listing(77);
    let pem = file(&folder, "crl.pem", &revoked.pem().unwrap());
    let der = folder.path().join("crl.der");
    fs::write(&der, revoked.der()).unwrap();
    for crl_file in [pem, Some(der.to_str().unwrap().to_owned())] {
        let policy = TlsPolicy { crl_file, ..policy.clone() };
        let message = "TLS certificate is revoked (CN=shop.example)";
        assert_eq!(secure(&server, &policy).await.0, Err(Failure::new(FailureKind::TlsRevoked, message)));
    }
    let policy = TlsPolicy { crl_file: policy.ca_file.clone(), ..policy };
    let path = policy.crl_file.clone().unwrap();
    let message =
        format!("The revoked certificates in {path} cannot be read: it holds no list of revoked certificates");
    assert_eq!(secure(&server, &policy).await.0, Err(Failure::new(FailureKind::TlsHandshake, message)));
}
