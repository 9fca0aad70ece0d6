//! Mail, against an SMTP server with STARTTLS and a login.

pub(crate) mod smtp;

use api_monitor::config::Secret;
use api_monitor::config::channels::{EmailConfig, SmtpSecurity, Transport};
use api_monitor::notify::Message;

use self::smtp::{Mail, Smtp, Talk};
use super::{build, down, message, retry, up};

fn config(server: &Smtp, security: SmtpSecurity) -> EmailConfig {
    EmailConfig {
        smtp_host: "localhost".to_owned(),
        smtp_port: server.address.port(),
        security,
        login: Some(("user".to_owned(), Secret::new("hunter2"))),
        from_addr: "monitor@example.com".to_owned(),
        from_name: "API Monitor".to_owned(),
        to_addrs: vec!["admin@example.com".to_owned(), "On call <oncall@example.com>".to_owned()],
        subject_template: None,
        body_template: None,
        ca_file: Some(server.ca_file()),
    }
}

fn plain(server: &Smtp) -> EmailConfig {
    EmailConfig { login: None, ca_file: None, ..config(server, SmtpSecurity::None) }
}

async fn sent(server: &Smtp, config: EmailConfig, message: Message) -> Mail {
    build(Transport::Email(Box::new(config))).unwrap().send(&message).await.unwrap();
    server.mails().pop().unwrap()
}

#[tokio::test]
async fn a_mail_goes_out_by_starttls_with_a_login() {
    let server = Smtp::start(Talk::default()).await;
    let mail = sent(&server, config(&server, SmtpSecurity::StartTls), message(down())).await;
    assert!(mail.by_tls);
    assert_eq!(mail.login.as_deref(), Some("user/hunter2"));
    assert_eq!(mail.from, "monitor@example.com");
    assert_eq!(mail.to, ["admin@example.com", "oncall@example.com"]);
    assert_eq!(mail.header("From"), "\"API Monitor\" <monitor@example.com>");
    assert_eq!(mail.header("Message-ID"), "<ntf_e1_1795244400120000_down@example.com>");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.header("Date"), "Sat, 21 Nov 2026 07:00:11 +0000");
    insta::assert_snapshot!(
        "mail_down",
        format!("{}\n\n{}\n\n{}", mail.subject(), mail.part("text/plain"), mail.part("text/html"))
    );
}

#[tokio::test]
async fn a_mail_goes_out_by_tls_from_the_first_byte() {
    let server = Smtp::start(Talk { implicit_tls: true, ..Talk::default() }).await;
    let mail = sent(&server, config(&server, SmtpSecurity::Tls), message(down())).await;
    assert!(mail.by_tls);
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_mail_nor_password() {
    let server = Smtp::start(Talk { offers_starttls: false, ..Talk::default() }).await;
    let channel = build(Transport::Email(Box::new(config(&server, SmtpSecurity::StartTls)))).unwrap();
    let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
    assert!(reason.contains("STARTTLS"), "{reason}");
    assert!(server.mails().is_empty());
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH")), "{:?}", server.heard());
}

#[tokio::test]
async fn a_server_nobody_vouches_for_is_refused() {
    let server = Smtp::start(Talk::default()).await;
    let config = EmailConfig { ca_file: None, ..config(&server, SmtpSecurity::StartTls) };
    let channel = build(Transport::Email(Box::new(config))).unwrap();
    let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
    assert!(reason.contains("certificate"), "{reason}");
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_recovery_answers_the_first_mail_of_its_incident() {
    let server = Smtp::start(Talk::default()).await;
    let first = Some("ntf_e1_1795244400120000_down".to_owned());
    let answered = Message { first_of_incident: first.clone(), ..message(up()) };
    let mail = sent(&server, plain(&server), answered).await;
    assert!(!mail.by_tls);
    assert_eq!(mail.header("In-Reply-To"), "<ntf_e1_1795244400120000_down@example.com>");
    assert_eq!(mail.header("References"), "<ntf_e1_1795244400120000_down@example.com>");
    insta::assert_snapshot!("mail_up", format!("{}\n\n{}", mail.subject(), mail.part("text/plain")));
    let itself = sent(&server, plain(&server), Message { first_of_incident: first, ..message(down()) }).await;
    assert!(!itself.has("In-Reply-To"), "the first mail answers none");
}

#[tokio::test]
async fn a_connection_serves_the_next_mail() {
    let server = Smtp::start(Talk::default()).await;
    let channel = build(Transport::Email(Box::new(plain(&server)))).unwrap();
    channel.send(&message(down())).await.unwrap();
    // The connection goes back to the pool by a task of its own, which needs no more than its turn.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    channel.send(&message(up())).await.unwrap();
    assert_eq!(server.mails().len(), 2);
    assert_eq!(server.heard().iter().filter(|line| line.starts_with("EHLO")).count(), 1);
}

#[tokio::test]
async fn the_originals_templates_work() {
    let server = Smtp::start(Talk::default()).await;
    let config = EmailConfig {
        subject_template: Some("🚨 Alert: {endpoint_name} is DOWN".to_owned()),
        body_template: Some(r"Endpoint {endpoint_name} is unreachable.\nError: {error}".to_owned()),
        ..plain(&server)
    };
    let mail = sent(&server, config.clone(), message(down())).await;
    assert_eq!(mail.subject(), "🚨 Alert: Production API is DOWN");
    let text = "Endpoint Production API is unreachable.\nError: GET returned 502, expected 200";
    assert_eq!(mail.part("text/plain").trim_end(), text);
    let mail = sent(&server, config, message(up())).await;
    assert_eq!(mail.subject(), "✅ Recovery: Production API is back online");
    assert!(!mail.part("text/plain").contains("unreachable"));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (talk, permanent_looking, word) in [
        (Talk { refuses_login: true, ..Talk::default() }, true, "authentication failed: AUTH PLAIN ***"),
        (Talk { data_answer: "451 4.3.0 try later", ..Talk::default() }, false, "451"),
        (Talk { data_answer: "554 5.7.1 hunter2 is spam", ..Talk::default() }, true, "554 5.7.1 *** is spam"),
    ] {
        let server = Smtp::start(talk).await;
        let channel = build(Transport::Email(Box::new(config(&server, SmtpSecurity::StartTls)))).unwrap();
        let (reason, _, p) = retry(channel.send(&message(down())).await.unwrap_err());
        assert_eq!(p, permanent_looking, "{reason}");
        assert!(reason.contains(word) && !reason.contains("hunter2"), "{reason}");
    }
    let server = Smtp::start(Talk::default()).await;
    let nowhere = EmailConfig { smtp_port: 1, ..plain(&server) };
    let channel = build(Transport::Email(Box::new(nowhere))).unwrap();
    assert!(!retry(channel.send(&message(down())).await.unwrap_err()).2);
}

#[tokio::test]
async fn one_refused_address_does_not_keep_the_mail_from_the_others() {
    let server = Smtp::start(Talk { refused_address: Some("admin@example.com"), ..Talk::default() }).await;
    let channel = build(Transport::Email(Box::new(plain(&server)))).unwrap();
    let said = channel.send(&message(down())).await.unwrap().answer;
    assert_eq!(said, "taken for 1 of 2; refused for admin@example.com: 550 5.1.1 no such user");
    assert_eq!(server.mails().pop().unwrap().to, ["oncall@example.com"]);
}

#[tokio::test]
async fn nothing_that_is_told_becomes_a_header() {
    let server = Smtp::start(Talk::default()).await;
    let hostile = "x\r\nBcc: victim@example.com\r\n\r\n<b>&\"'\u{2028}{error}🚨 ".repeat(200);
    for template in [None, Some("Alert {endpoint_name}: {error}".to_owned())] {
        let mut notification = down();
        notification.endpoint_name.clone_from(&hostile);
        notification.error = Some(hostile.clone());
        notification.runbook = Some(hostile.clone());
        let config = EmailConfig {
            subject_template: template.clone(),
            body_template: template,
            from_name: "Evil\r\nX-Injected: 1".to_owned(),
            ..plain(&server)
        };
        let mail = sent(&server, config, message(notification)).await;
        let mut names = mail.header_names();
        names.sort_unstable();
        assert_eq!(
            names,
            ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"]
        );
        assert!(mail.part("text/plain").contains("Bcc: victim@example.com"));
        assert!(!mail.part("text/html").contains("<b>"), "markup of a value");
        assert_eq!(mail.to, ["admin@example.com", "oncall@example.com"]);
    }
}

#[tokio::test]
async fn a_wrong_configuration_names_its_key() {
    let server = Smtp::start(Talk::default()).await;
    let good = config(&server, SmtpSecurity::StartTls);
    for (key, config) in [
        ("from_addr", EmailConfig { from_addr: "monitor".to_owned(), ..good.clone() }),
        ("to_addrs", EmailConfig { to_addrs: vec!["a@b".to_owned(), "x y".to_owned()], ..good.clone() }),
        ("to_addrs", EmailConfig { to_addrs: Vec::new(), ..good.clone() }),
        ("ca_file", EmailConfig { ca_file: Some("/nowhere.pem".to_owned()), ..good.clone() }),
        // A file that does not say how long it is, and is longer than any memory.
        #[cfg(target_os = "linux")]
        ("ca_file", EmailConfig { ca_file: Some("/proc/self/pagemap".to_owned()), ..good.clone() }),
        ("body_template", EmailConfig { body_template: Some("{nam}".to_owned()), ..good.clone() }),
    ] {
        assert_eq!(build(Transport::Email(Box::new(config))).unwrap_err().key, key);
    }
}
