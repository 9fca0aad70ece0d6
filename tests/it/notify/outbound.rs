//! Channels made through the API are refused before they connect; configured ones go anywhere, by the same names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_monitor::clock::ManualClock;
use api_monitor::config::Secret;
use api_monitor::config::channels::{
    ChannelConfig, EmailConfig, SmtpSecurity, TelegramConfig, TelegramParseMode, Transport, WebhookConfig,
};
use api_monitor::domain::endpoint::Origin;
use api_monitor::domain::outbound::OutboundPolicy;
use api_monitor::notify::{BuildContext, Builder, Channel, Channels};
use api_monitor::outbound::Outbound;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::email::smtp::{Smtp, Talk};
use super::receivers::{Receiver, answer};
use super::{NOW, down, message, retry, telegram};
use crate::name_server::{NameServer, Reply, address};

const DENIED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));

/// Listens at the denied address and hangs up on whoever comes.
struct Trap {
    port: u16,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Trap {
    async fn set() -> Self {
        Self::at(0).await
    }

    async fn at(port: u16) -> Self {
        let listener = TcpListener::bind((DENIED, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, connections, _task: task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Denies the trap's address.
fn outbound(server: &NameServer) -> Arc<Outbound> {
    let policy = OutboundPolicy { allow_private: true, deny: vec![DENIED.into()] };
    Arc::new(Outbound::new(Some(server.address), policy).unwrap())
}

fn build(transport: Transport, origin: Origin, outbound: &Arc<Outbound>) -> Arc<dyn Channel> {
    let config = ChannelConfig {
        name: "ops".to_owned(),
        origin,
        source: None,
        enabled: true,
        default: true,
        severity: None,
        fallback: Vec::new(),
        transport,
    };
    let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let context = BuildContext { timezone: chrono_tz::UTC, clock, outbound: Arc::clone(outbound) };
    Arc::clone(Channels::build(&[config], &Builder::new(context)).unwrap().get("ops").unwrap())
}

fn webhook(url: &str) -> Transport {
    Transport::Webhook(Box::new(WebhookConfig {
        url: Secret::new(url),
        method: "POST".to_owned(),
        headers: std::iter::once(("X-Api-Monitor-Check".to_owned(), Secret::new("no"))).collect(),
        retry_count: 1,
        retry_delay: std::time::Duration::from_secs(1),
        timeout: std::time::Duration::from_secs(30),
        payload_template: None,
        recovery_template: None,
        secret: None,
    }))
}

fn slack(url: &str) -> Transport {
    let options = std::iter::once(("url".to_owned(), Secret::new(url))).collect();
    Transport::Preset { preset: "slack".to_owned(), options }
}

fn bot(api_url: &str) -> Transport {
    Transport::Telegram(Box::new(TelegramConfig {
        bot_token: Secret::new(telegram::TOKEN),
        chat_id: "-100123".to_owned(),
        topic_id: None,
        message_template: None,
        parse_mode: TelegramParseMode::None,
        api_url: api_url.to_owned(),
    }))
}

fn mail(host: &str, port: u16) -> EmailConfig {
    EmailConfig {
        smtp_host: host.to_owned(),
        smtp_port: port,
        security: SmtpSecurity::None,
        login: None,
        from_addr: "monitor@example.com".to_owned(),
        from_name: "API Monitor".to_owned(),
        to_addrs: vec!["admin@example.com".to_owned()],
        subject_template: None,
        body_template: None,
        ca_file: None,
    }
}

/// Every sort of channel that connects, to a host and port.
fn everything(host: &str, port: u16) -> Vec<(&'static str, Transport)> {
    let url = format!("http://{host}:{port}/");
    vec![
        ("webhook", webhook(&url)),
        ("slack", slack(&url)),
        ("telegram", bot(&url)),
        ("mail", Transport::Email(Box::new(mail(host.trim_matches(['[', ']']), port)))),
    ]
}

async fn names() -> NameServer {
    NameServer::start(|name, _| match name {
        "metadata.example" => address("169.254.169.254"),
        "mapped.example" => address("::ffff:169.254.169.254"),
        "denied.example" => address("127.0.0.9"),
        "shop.example" | "mail.example" => address("127.0.0.1"),
        "both.example" => Reply::Addresses(vec![DENIED, "127.0.0.1".parse().unwrap()]),
        _ => Reply::Code(3),
    })
    .await
}

#[tokio::test]
async fn channels_of_the_api_are_refused_and_nothing_connects() {
    let (trap, names) = (Trap::set().await, names().await);
    let outbound = outbound(&names);
    for host in
        ["127.0.0.9", "[::ffff:127.0.0.9]", "denied.example", "169.254.169.254", "metadata.example", "mapped.example"]
    {
        for (sort, transport) in everything(host, trap.port) {
            let channel = build(transport, Origin::Api, &outbound);
            let (reason, after, lasting) = retry(channel.send(&message(down())).await.unwrap_err());
            assert!(
                reason.contains("The policy for what is made through the API refuses to connect"),
                "{sort}: {reason}"
            );
            assert!(reason.contains("127.0.0.9") || reason.contains("169.254.169.254"), "{sort}: {reason}");
            assert_eq!((after, lasting), (None, true), "{sort} to {host}: a person has to end it");
            assert!(!reason.contains(telegram::TOKEN), "{reason}");
        }
    }
    assert_eq!(trap.connections(), 0);
    for (sort, transport) in everything("denied.example", trap.port) {
        let channel = build(transport, Origin::Config, &outbound);
        let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
        assert!(!reason.contains("policy"), "{sort}: {reason}");
    }
    assert!(trap.connections() >= 4, "the operator's own go there: {}", trap.connections());
}

#[tokio::test]
async fn an_answer_that_changes_leads_nobody_astray() {
    let receiver = Receiver::answering([answer(200, "ok")]).await;
    let trap = Trap::at(receiver.address.port()).await;
    let names = NameServer::start(|_, before| address(if before % 2 == 0 { "127.0.0.1" } else { "127.0.0.9" })).await;
    let outbound = outbound(&names);
    let (mut delivered, mut refused) = (0, 0);
    // A channel of its own each time: connections that are kept need no name.
    for _ in 0..8 {
        let url = format!("http://turning.example:{}/", receiver.address.port());
        match build(webhook(&url), Origin::Api, &outbound).send(&message(down())).await {
            Ok(_) => delivered += 1,
            Err(error) => {
                let (reason, ..) = retry(error);
                assert!(reason.contains("127.0.0.9 is in 127.0.0.9/32"), "{reason}");
                refused += 1;
            }
        }
    }
    assert!(delivered > 0 && refused > 0, "{delivered} delivered, {refused} refused");
    assert_eq!((receiver.received().len(), trap.connections()), (delivered, 0));
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_are_connected_to() {
    let receiver = Receiver::answering([answer(200, "ok")]).await;
    let trap = Trap::at(receiver.address.port()).await;
    let names = names().await;
    let outbound = outbound(&names);
    let url = format!("http://both.example:{}/", receiver.address.port());
    build(slack(&url), Origin::Api, &outbound).send(&message(down())).await.unwrap();

    let smtp = Smtp::start(Talk::default()).await;
    let second_trap = Trap::at(smtp.address.port()).await;
    let config = mail("both.example", smtp.address.port());
    let channel = build(Transport::Email(Box::new(config)), Origin::Api, &outbound);
    for _ in 0..2 {
        channel.send(&message(down())).await.unwrap();
    }
    assert_eq!((receiver.received().len(), smtp.mails().len()), (1, 2));
    assert_eq!((trap.connections(), second_trap.connections()), (0, 0));
}

#[tokio::test]
async fn a_mail_server_is_known_by_its_name_though_an_address_is_dialled() {
    let names = NameServer::start(|name, _| match name {
        // The first address has nobody at the port.
        "mail.example" => Reply::Addresses(vec!["127.0.0.7".parse().unwrap(), "127.0.0.1".parse().unwrap()]),
        _ => Reply::Code(3),
    })
    .await;
    let outbound = outbound(&names);
    let smtp = Smtp::start(Talk::default()).await;
    // Its certificate is for `localhost`.
    for (host, fits) in [("localhost", true), ("mail.example", false)] {
        let config = EmailConfig {
            security: SmtpSecurity::StartTls,
            ca_file: Some(smtp.ca_file()),
            ..mail(host, smtp.address.port())
        };
        let sent = build(Transport::Email(Box::new(config)), Origin::Api, &outbound).send(&message(down())).await;
        match sent {
            Ok(_) => assert!(fits, "{host}"),
            Err(error) => {
                let (reason, ..) = retry(error);
                assert!(!fits && reason.contains("certificate"), "{host}: {reason}");
            }
        }
    }
    let plain = mail("mail.example", smtp.address.port());
    build(Transport::Email(Box::new(plain)), Origin::Api, &outbound).send(&message(down())).await.unwrap();
    assert_eq!(smtp.mails().len(), 2);
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_may_come_back() {
    let names = names().await;
    let outbound = outbound(&names);
    for (sort, transport) in everything("gone.example", 80) {
        let channel = build(transport, Origin::Api, &outbound);
        let (reason, _, lasting) = retry(channel.send(&message(down())).await.unwrap_err());
        assert!(reason.contains("The name gone.example does not exist (NXDOMAIN)"), "{sort}: {reason}");
        assert!(!lasting, "{sort}");
    }
}

#[tokio::test]
async fn this_monitors_own_api_knows_what_was_made_through_it() {
    let names = names().await;
    let outbound = outbound(&names);
    for (origin, mark) in [(Origin::Api, true), (Origin::Config, false)] {
        let receiver = Receiver::answering([answer(200, "ok")]).await;
        let SocketAddr::V4(at) = receiver.address else { panic!("an IPv4 address") };
        build(slack(&format!("http://{at}/")), origin, &outbound).send(&message(down())).await.unwrap();
        let requests = receiver.received();
        assert_eq!(requests[0].headers.contains_key("x-api-monitor-check"), mark, "{origin}");
    }
}
