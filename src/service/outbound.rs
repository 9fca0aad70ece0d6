//! What is refused already when it is made: addresses that no policy allows. Names, redirects and what the
//! configuration refuses are found when something is connected to.

use url::Url;

use super::error::FieldError;
use crate::config::channels::{ChannelConfig, Transport};
use crate::domain::dial::name_server;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::outbound::{Refused, host_refused_for_ever, refused_for_ever};
use crate::domain::pointer;

/// What is wrong with a URL that leads to such an address. `pointer` is where it stands in the body. What is no URL is
/// for others to refuse.
pub fn unreachable_url(url: &str, pointer: &str) -> Option<FieldError> {
    let refused = Url::parse(url.trim()).ok().and_then(|url| refused_for_ever(&url))?;
    Some(mistake(pointer, &refused))
}

/// What is wrong with where an endpoint leads, by its URL or by another setting.
pub fn unreachable_settings(settings: &EndpointSettings) -> Vec<FieldError> {
    let token_url = settings.auth.as_ref().and_then(|auth| auth.oauth2.as_ref()).map(|oauth2| &oauth2.token_url);
    let urls = [("/url", &settings.url), ("/proxy", &settings.proxy)];
    let mut wrong: Vec<FieldError> =
        urls.into_iter().filter_map(|(at, url)| unreachable_url(url.as_deref()?, at)).collect();
    wrong.extend(token_url.and_then(|url| unreachable_url(url, "/auth/oauth2/token_url")));
    let resolver = settings.resolver.as_deref().and_then(|text| name_server(text.trim()).ok());
    let resolver = resolver.and_then(|server| host_refused_for_ever(&server.ip().to_string()));
    wrong.extend(resolver.map(|refused| mistake("/resolver", &refused)));
    for (name, address) in settings.resolve.iter().flatten() {
        let at = format!("/resolve/{}", pointer::step(name));
        wrong.extend(host_refused_for_ever(address.trim()).map(|refused| mistake(&at, &refused)));
    }
    wrong
}

/// What is wrong with where a channel leads, by the pointer of the setting that says so.
pub fn unreachable_channel(config: &ChannelConfig) -> Option<FieldError> {
    match &config.transport {
        Transport::Console | Transport::Unreadable { .. } => None,
        Transport::Email(email) => {
            host_refused_for_ever(&email.smtp_host).map(|refused| mistake("/smtp_host", &refused))
        }
        Transport::Telegram(telegram) => unreachable_url(&telegram.api_url, "/api_url"),
        Transport::Webhook(webhook) => unreachable_url(webhook.url.expose(), "/url"),
        Transport::Preset { options, .. } => {
            options.iter().find_map(|(key, value)| unreachable_url(value.expose(), &format!("/{key}")))
        }
    }
}

fn mistake(pointer: &str, refused: &Refused) -> FieldError {
    let detail = format!("leads where nothing that is made through the API may connect: {refused}");
    FieldError::at(pointer, "invalid", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::channels::{EmailConfig, SmtpSecurity, TelegramConfig, TelegramParseMode};
    use crate::domain::endpoint::Origin;

    fn at(transport: Transport) -> Option<String> {
        let config = ChannelConfig {
            name: "ops".to_owned(),
            origin: Origin::Api,
            source: None,
            enabled: true,
            default: true,
            severity: None,
            fallback: Vec::new(),
            transport,
        };
        unreachable_channel(&config).map(|error| format!("{:?}: {}", error.place, error.detail))
    }

    fn mail(smtp_host: &str) -> Transport {
        Transport::Email(Box::new(EmailConfig {
            smtp_host: smtp_host.to_owned(),
            smtp_port: 25,
            security: SmtpSecurity::None,
            login: None,
            from_addr: String::new(),
            from_name: String::new(),
            to_addrs: Vec::new(),
            subject_template: None,
            body_template: None,
            ca_file: None,
        }))
    }

    fn bot(api_url: &str) -> Transport {
        Transport::Telegram(Box::new(TelegramConfig {
            bot_token: Secret::new("t"),
            chat_id: "1".to_owned(),
            topic_id: None,
            message_template: None,
            parse_mode: TelegramParseMode::None,
            api_url: api_url.to_owned(),
        }))
    }

    fn slack(url: &str) -> Transport {
        let options = std::iter::once(("url".to_owned(), Secret::new(url))).collect();
        Transport::Preset { preset: "slack".to_owned(), options }
    }

    #[test]
    fn the_setting_that_leads_where_nothing_may_connect_is_named() {
        for (transport, key) in [
            (mail("169.254.169.254"), "/smtp_host"),
            (mail("0xa9fea9fe"), "/smtp_host"),
            (mail("[::ffff:169.254.169.254]"), "/smtp_host"),
            (mail("fe80::1"), "/smtp_host"),
            (bot("http://2852039166/"), "/api_url"),
            (slack("https://token@169.254.169.254/secret"), "/url"),
        ] {
            let told = at(transport).unwrap();
            assert!(told.contains(&format!("\"{key}\"")) && told.contains("may connect"), "{told}");
            assert!(!told.contains("token") && !told.contains("/secret"), "{told}");
        }
        for transport in [
            mail("mail.example"),
            mail("127.0.0.1"),
            mail("::1"),
            bot("https://api.telegram.org"),
            slack("https://hooks.slack.com/x"),
            slack("nonsense"),
            Transport::Console,
        ] {
            assert_eq!(at(transport), None);
        }
    }
}
