//! Telegram, through a bot.

mod markup;

use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use teloxide::payloads::SendMessageSetters;
use teloxide::prelude::Requester;
use teloxide::types::{ChatId, LinkPreviewOptions, MessageId, ParseMode, Recipient, ThreadId};
use teloxide::{ApiError, Bot, RequestError};

use super::channel::{Channel, Message, Receipt, SendError, cut, root_cause, shown};
use super::reach::{Reach, not_connected, unreachable};
use super::render::{Facts, with_line_breaks};
use super::tls::TelegramLine;
use crate::config::channels::{TelegramConfig, TelegramParseMode as Mode};
use crate::domain::template::Template;

/// Bound of a text, in UTF-16 units as Telegram counts.
const MAX_TEXT_UNITS: usize = 4096;
/// To these lengths, in characters, values are shortened one after the other until the text fits.
const VALUE_CHARS: [usize; 5] = [usize::MAX, 2000, 700, 200, 60];
/// Of one send, with its second try as plain text.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Telegram {
    bot: Bot,
    /// Where the bot interface is.
    api_url: url::Url,
    reach: Reach,
    chat: Recipient,
    topic: Option<ThreadId>,
    mode: Mode,
    template: Option<Template>,
    timezone: Tz,
}

impl std::fmt::Debug for Telegram {
    /// Without the bot, whose `Debug` would print the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telegram").field("chat", &self.chat).finish_non_exhaustive()
    }
}

impl Telegram {
    /// # Errors
    /// The key of the configuration that cannot be used, and why.
    pub(super) fn new(
        config: &TelegramConfig,
        line: TelegramLine,
        timezone: Tz,
    ) -> Result<Self, (&'static str, String)> {
        let mut api_url: url::Url = config.api_url.parse().map_err(|e| ("api_url", format!("{e}")))?;
        if !matches!(api_url.scheme(), "http" | "https") {
            return Err(("api_url", "it must begin with http:// or https://".to_owned()));
        }
        if let Ok(mut path) = api_url.path_segments_mut() {
            path.pop_if_empty();
        }
        if config.bot_token.expose().trim().is_empty() {
            return Err(("bot_token", "it is empty".to_owned()));
        }
        let template = config.message_template.as_deref().map(|text| Template::parse(&with_line_breaks(text)));
        let chat = config.chat_id.trim();
        Ok(Self {
            bot: Bot::with_client(config.bot_token.expose().trim(), line.client).set_api_url(api_url.clone()),
            api_url,
            reach: line.reach,
            chat: match chat.parse() {
                Ok(id) => Recipient::Id(ChatId(id)),
                Err(_) if chat.starts_with('@') => Recipient::ChannelUsername(chat.to_owned()),
                Err(_) => return Err(("chat_id", format!("`{chat}` is neither a number nor an @name"))),
            },
            topic: config.topic_id.map(|id| ThreadId(MessageId(id))),
            mode: config.parse_mode,
            template: template.transpose().map_err(|e| ("message_template", e.to_string()))?,
            timezone,
        })
    }

    /// The text in a parse mode, and the mode that it is to be read in.
    fn text(&self, facts: &Facts<'_>, mode: Mode) -> (String, Mode) {
        for max_chars in VALUE_CHARS {
            let text = match &self.template {
                Some(template) if facts.is_outage() => markup::fill(template, facts, mode, max_chars),
                _ => ours(facts, mode, max_chars),
            };
            if units(&text) <= MAX_TEXT_UNITS {
                return (text, mode);
            }
        }
        // The template itself is too long. Markup that is cut is no markup.
        let text = match &self.template {
            Some(template) if facts.is_outage() => markup::fill(template, facts, Mode::None, 60),
            _ => ours(facts, Mode::None, 60),
        };
        (cut_to_units(&text, MAX_TEXT_UNITS), Mode::None)
    }

    async fn post(&self, chat: Recipient, text: &str, mode: Mode) -> Result<String, RequestError> {
        let mut request = self.bot.send_message(chat, text).link_preview_options(LinkPreviewOptions {
            is_disabled: true,
            url: None,
            prefer_small_media: false,
            prefer_large_media: false,
            show_above_text: false,
        });
        match mode {
            Mode::Html => request = request.parse_mode(ParseMode::Html),
            Mode::MarkdownV2 => request = request.parse_mode(ParseMode::MarkdownV2),
            #[expect(deprecated, reason = "the original's parse mode, for which people's templates are written")]
            Mode::Markdown => request = request.parse_mode(ParseMode::Markdown),
            Mode::None => {}
        }
        if let Some(topic) = self.topic {
            request = request.message_thread_id(topic);
        }
        match request.await {
            Ok(sent) => Ok(format!("message {}", sent.id.0)),
            // The library does not know every form of a message. It was sent: a second try would tell it twice.
            Err(RequestError::InvalidJson { raw, .. }) if is_accepted(&raw) => Ok("accepted".to_owned()),
            Err(error) => Err(error),
        }
    }

    async fn deliver(&self, message: &Message) -> Result<Receipt, SendError> {
        // Of a name the client's resolver sees to it.
        self.reach.examine(&self.api_url)?;
        let facts = Facts::new(&message.notification, self.timezone);
        let (mut text, mut mode) = self.text(&facts, self.mode);
        let mut chat = self.chat.clone();
        let mut remark = "";
        // At most: once as wanted, once as plain text, once to where the group has moved.
        for _ in 0..2 {
            match self.post(chat.clone(), &text, mode).await {
                Err(RequestError::Api(ApiError::CantParseEntities(_))) if mode != Mode::None => {
                    (text, mode) = self.text(&facts, Mode::None);
                    remark = ", as plain text because its markup could not be read";
                }
                Err(RequestError::MigrateToChatId(moved)) => {
                    chat = Recipient::Id(moved);
                    remark = ", to the supergroup that the group has become: set its chat_id";
                }
                sent => return self.outcome(sent, remark),
            }
        }
        let sent = self.post(chat, &text, mode).await;
        self.outcome(sent, remark)
    }

    fn outcome(&self, sent: Result<String, RequestError>, remark: &str) -> Result<Receipt, SendError> {
        let clean = |text: &str| shown(text, [self.bot.token()]);
        match sent {
            Ok(answer) => Ok(Receipt { answer: format!("{answer}{remark}") }),
            Err(RequestError::RetryAfter(seconds)) => {
                let wait = seconds.duration();
                Err(SendError::later(format!("Telegram wants a pause of {} s", wait.as_secs()), wait))
            }
            Err(RequestError::Api(error)) => {
                let reason = match &error {
                    ApiError::Unknown(text) => text.clone(),
                    error => error.to_string(),
                };
                Err(SendError::lasting(format!("Telegram refused: {}", clean(&reason))))
            }
            Err(RequestError::MigrateToChatId(id)) => {
                Err(SendError::lasting(format!("Telegram refused: the group has become the supergroup {id}")))
            }
            Err(RequestError::InvalidJson { raw, .. }) => {
                Err(SendError::passing(format!("Telegram's answer is not what it should be: {}", clean(&raw))))
            }
            Err(RequestError::Network(error)) => {
                if let Some(failure) = unreachable(&*error) {
                    let reason = format!("Telegram cannot be reached: {}", failure.message);
                    return Err(not_connected(failure, reason));
                }
                let reason = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(&*error) };
                Err(SendError::passing(format!("Telegram cannot be reached: {}", clean(&reason))))
            }
            Err(error) => Err(SendError::passing(clean(&error.to_string()))),
        }
    }
}

impl Channel for Telegram {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let delivery = tokio::time::timeout(TIMEOUT, self.deliver(message)).await;
            delivery.unwrap_or_else(|_| {
                Err(SendError::passing(format!("Telegram did not answer within {} s", TIMEOUT.as_secs())))
            })
        })
    }
}

/// Our own text.
fn ours(facts: &Facts<'_>, mode: Mode, max_chars: usize) -> String {
    let short = |text: &str| cut(text.into(), max_chars).into_owned();
    let mut text =
        facts.words.headline.written(|rest| markup::escape(rest, mode), |name| markup::bold(&short(name), mode));
    for line in &facts.words.lines {
        text.push('\n');
        text.push_str(&markup::escape(&short(line), mode));
    }
    text
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn cut_to_units(text: &str, max: usize) -> String {
    let mut used = 1;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += c.len_utf16();
            used <= max
        })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn is_accepted(answer: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(answer).is_ok_and(|answer| answer["ok"] == true)
}
