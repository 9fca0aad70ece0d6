//! Mail, by SMTP.

mod server;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};

use super::channel::{Channel, Message, Receipt, SendError, root_cause, shown};
use super::reach::{Reach, not_connected};
use super::render::{Facts, Target, html, with_line_breaks};
use super::tls::Authorities;
use super::words::one_line;
use crate::clock::Clock;
use crate::config::Secret;
use crate::config::channels::{EmailConfig, SmtpSecurity};
use crate::domain::template::Template;
use server::{Failed, Server};

/// Of a whole delivery.
const TIMEOUT: Duration = Duration::from_secs(90);
/// A longer subject is cut.
const MAX_SUBJECT_CHARS: usize = 250;

pub(super) struct Email {
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
    subject: Option<Template>,
    body: Option<Template>,
    /// What must not be shown: the password, as it is and as it is sent.
    secrets: Vec<String>,
    timezone: Tz,
    clock: std::sync::Arc<dyn Clock>,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("server", &self.place()).finish_non_exhaustive()
    }
}

impl Email {
    /// # Errors
    /// The key of the configuration that cannot be used, and why.
    pub(super) fn new(
        config: &EmailConfig,
        authorities: &Authorities,
        reach: Reach,
        timezone: Tz,
        clock: std::sync::Arc<dyn Clock>,
    ) -> Result<Self, (&'static str, String)> {
        let mut from: Mailbox =
            config.from_addr.parse().map_err(|e| ("from_addr", address_error(&config.from_addr, e)))?;
        let name = one_line(&config.from_name);
        if !name.is_empty() {
            from.name = Some(name);
        }
        let to: Vec<Mailbox> = (config.to_addrs.iter())
            .map(|text| text.parse().map_err(|e| ("to_addrs", address_error(text, e))))
            .collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err(("to_addrs", "nobody is named".to_owned()));
        }
        let template = |key, text: &Option<String>| {
            let parsed = text.as_deref().map(|text| Template::parse(&with_line_breaks(text)));
            parsed.transpose().map_err(|e| (key, e.to_string()))
        };
        let tls = match config.security {
            SmtpSecurity::StartTls => Tls::Required(tls_parameters(config, authorities)?),
            SmtpSecurity::Tls => Tls::Wrapper(tls_parameters(config, authorities)?),
            SmtpSecurity::None => Tls::None,
        };
        let login = config.login.as_ref();
        let login = login.map(|(user, password)| Credentials::new(user.clone(), password.expose().to_owned()));
        Ok(Self {
            server: Server::new(config.smtp_host.clone(), config.smtp_port, tls, login, reach),
            from,
            to,
            subject: template("subject_template", &config.subject_template)?,
            body: template("body_template", &config.body_template)?,
            secrets: config.login.as_ref().map(secrets).unwrap_or_default(),
            timezone,
            clock,
        })
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let facts = Facts::new(&message.notification, self.timezone);
        let (text, html) = self.bodies(&facts);
        let id = self.message_id(&message.notification.id);
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(self.subject(&facts))
            .message_id(Some(id.clone()))
            .date(self.clock.now().into())
            .header(AutoSubmitted);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let first = message.first_of_incident.as_deref().map(|first| self.message_id(first));
        if let Some(first) = first.filter(|first| *first != id) {
            builder = builder.in_reply_to(first.clone()).references(first);
        }
        builder.multipart(MultiPart::alternative_plain_html(text, html))
    }

    fn subject(&self, facts: &Facts<'_>) -> String {
        let subject = match &self.subject {
            Some(template) if facts.is_outage() => one_line(&facts.fill(template, Target::Header)),
            _ => facts.words.subject(),
        };
        subject.chars().take(MAX_SUBJECT_CHARS).collect()
    }

    /// As plain text and as HTML.
    fn bodies(&self, facts: &Facts<'_>) -> (String, String) {
        let ours = || facts.words.text();
        match &self.body {
            Some(template) if facts.is_outage() => {
                if template.literal().trim_start().starts_with('<') {
                    (ours(), facts.fill(template, Target::Html))
                } else {
                    let text = facts.fill(template, Target::Plain);
                    let html = as_html(&text);
                    (text, html)
                }
            }
            _ => (ours(), our_html(facts)),
        }
    }

    /// The same for every attempt, so that a mail program shows a message that came twice once.
    fn message_id(&self, id: &str) -> String {
        let plain: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).collect();
        format!("<{plain}@{}>", self.from.email.domain())
    }

    async fn deliver(&self, message: &Message) -> Result<Receipt, SendError> {
        let unbuildable =
            |reason: String| SendError::GiveUp { reason: format!("The mail cannot be written: {reason}") };
        let mail = self.mail(message).map_err(|e| unbuildable(e.to_string()))?;
        let bytes = mail.formatted();
        let refused = match self.server.send(mail.envelope(), &bytes).await {
            Ok(response) => return Ok(self.receipt(response.message().collect::<Vec<_>>().join(" "))),
            Err(Failed::Smtp(error)) if error.is_permanent() && self.to.len() > 1 => error,
            Err(failed) => return Err(self.send_error(&failed)),
        };
        // One address that is refused must not keep the mail from the others.
        let mut refusals = Vec::new();
        let mut told = 0;
        for to in &self.to {
            let recipient: Address = to.email.clone();
            let envelope = Envelope::new(Some(self.from.email.clone()), vec![recipient])
                .map_err(|e| unbuildable(e.to_string()))?;
            match self.server.send(&envelope, &bytes).await {
                Ok(_) => told += 1,
                Err(failed) => refusals.push(format!("{}: {}", to.email, self.why(&failed))),
            }
        }
        if told == 0 {
            return Err(self.send_error(&Failed::Smtp(refused)));
        }
        Ok(self.receipt(format!("taken for {told} of {}; refused for {}", self.to.len(), refusals.join(", "))))
    }

    fn receipt(&self, answer: String) -> Receipt {
        Receipt { answer: self.clean(&answer) }
    }

    fn clean(&self, text: &str) -> String {
        shown(text, self.secrets.iter().map(String::as_str))
    }

    fn said(&self, error: &lettre::transport::smtp::Error) -> String {
        let cause = self.clean(&root_cause(error));
        match error.status() {
            Some(code) => format!("{code} {cause}").trim_end().to_owned(),
            None => cause,
        }
    }

    fn why(&self, failed: &Failed) -> String {
        match failed {
            Failed::NoAddress(failure) => failure.message.clone(),
            Failed::Smtp(error) => self.said(error),
        }
    }

    fn send_error(&self, failed: &Failed) -> SendError {
        let (server, why) = (self.place(), self.why(failed));
        match failed {
            Failed::NoAddress(failure) => not_connected(failure, format!("Sending through {server} failed: {why}")),
            Failed::Smtp(error) if error.is_permanent() => SendError::lasting(format!("{server} refused: {why}")),
            Failed::Smtp(error) if error.is_transient() => {
                SendError::not_taken(format!("{server} refused for now: {why}"))
            }
            Failed::Smtp(_) => SendError::passing(format!("Sending through {server} failed: {why}")),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }
}

impl Channel for Email {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let delivery = tokio::time::timeout(TIMEOUT, self.deliver(message)).await;
            delivery.unwrap_or_else(|_| {
                let (server, limit) = (self.place(), TIMEOUT.as_secs());
                Err(SendError::passing(format!("{server} did not take the mail within {limit} s")))
            })
        })
    }
}

/// The password, alone and in every form in which it is sent: a server may repeat the line that it refuses.
fn secrets((user, password): &(String, Secret)) -> Vec<String> {
    let password = password.expose();
    let sent = [password.to_owned(), format!("\0{user}\0{password}"), format!("{user}:{password}")];
    sent.iter().map(|text| STANDARD.encode(text)).chain([password.to_owned()]).collect()
}

fn address_error(text: &str, error: lettre::address::AddressError) -> String {
    format!("`{text}` is not a mail address ({error})")
}

fn tls_parameters(config: &EmailConfig, authorities: &Authorities) -> Result<TlsParameters, (&'static str, String)> {
    let mut builder = TlsParameters::builder(config.smtp_host.clone());
    for der in authorities.of_machine() {
        if let Ok(certificate) = Certificate::from_der(der.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let Some(path) = &config.ca_file {
        for der in Authorities::of_file(path).map_err(|reason| ("ca_file", reason))? {
            let certificate = Certificate::from_der(der.to_vec()).map_err(|e| ("ca_file", root_cause(&e)))?;
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|e| ("smtp_host", root_cause(&e)))
}

/// Says that no person wrote it, so that no absence note answers (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

const HTML_START: &str =
    "<!doctype html>\n<html><body style=\"font-family: sans-serif; font-size: 15px; line-height: 1.5\">\n";
const HTML_END: &str = "\n</body></html>\n";

/// Plain text as HTML.
fn as_html(text: &str) -> String {
    format!("{HTML_START}<p>{}</p>{HTML_END}", html(text).replace('\n', "<br>\n"))
}

/// Our own text as HTML: the name set apart, addresses as links.
fn our_html(facts: &Facts<'_>) -> String {
    let headline = facts.words.headline.written(html, |name| format!("<strong>{}</strong>", html(name)));
    let lines: Vec<String> = facts.words.lines.iter().map(|line| linked(line)).collect();
    format!("{HTML_START}<p style=\"font-size: 18px\">{headline}</p>\n<p>{}</p>{HTML_END}", lines.join("<br>\n"))
}

/// A line whose last word may be an address.
fn linked(line: &str) -> String {
    match line.rsplit_once(": ") {
        Some((label, address))
            if (address.starts_with("https://") || address.starts_with("http://")) && !address.contains(' ') =>
        {
            format!("{}: <a href=\"{1}\">{1}</a>", html(label), html(address))
        }
        _ => html(line),
    }
}
