//! Telegram, through a bot.

mod markup;

use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use teloxide::ApiError;
use teloxide::payloads::{SendMessage, SendMessageSetters};
use teloxide::types::{ChatId, LinkPreviewOptions, MessageId, ParseMode, Recipient, ResponseParameters, ThreadId};

use super::channel::{Channel, Message, Receipt, SendError, cut};
use super::post::{Answer, Post};
use super::render::{Facts, with_line_breaks};
use super::tls::Line;
use crate::config::channels::{TelegramConfig, TelegramParseMode as Mode};
use crate::domain::template::Template;

/// Bound of a text, in UTF-16 units as Telegram counts.
const MAX_TEXT_UNITS: usize = 4096;
/// To these lengths, in characters, values are shortened one after the other until the text fits.
const VALUE_CHARS: [usize; 5] = [usize::MAX, 2000, 700, 200, 60];
/// Of one send, with its second try as plain text.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Telegram {
    post: Post,
    chat: Recipient,
    topic: Option<ThreadId>,
    mode: Mode,
    template: Option<Template>,
    timezone: Tz,
}

impl std::fmt::Debug for Telegram {
    /// Without the address, which holds the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telegram").field("chat", &self.chat).finish_non_exhaustive()
    }
}

impl Telegram {
    /// # Errors
    /// The key of the configuration that cannot be used, and why.
    pub(super) fn new(config: &TelegramConfig, line: Line, timezone: Tz) -> Result<Self, (&'static str, String)> {
        let mut api_url: url::Url = config.api_url.parse().map_err(|e| ("api_url", format!("{e}")))?;
        if !matches!(api_url.scheme(), "http" | "https") {
            return Err(("api_url", "it must begin with http:// or https://".to_owned()));
        }
        let token = config.bot_token.expose().trim();
        if token.is_empty() {
            return Err(("bot_token", "it is empty".to_owned()));
        }
        if let Ok(mut path) = api_url.path_segments_mut() {
            path.pop_if_empty().push(&format!("bot{token}")).push("sendMessage");
        }
        let mut post = Post::new(line, "POST", api_url.as_str(), TIMEOUT)
            .map_err(|(key, reason)| (if key == "url" { "api_url" } else { key }, reason))?
            .named("Telegram");
        post.hide(token);
        let template = config.message_template.as_deref().map(|text| Template::parse(&with_line_breaks(text)));
        let chat = config.chat_id.trim();
        Ok(Self {
            post,
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

    async fn post(&self, chat: Recipient, text: &str, mode: Mode) -> Result<Said, SendError> {
        let mut message = SendMessage::new(chat, text).link_preview_options(LinkPreviewOptions {
            is_disabled: true,
            url: None,
            prefer_small_media: false,
            prefer_large_media: false,
            show_above_text: false,
        });
        match mode {
            Mode::Html => message = message.parse_mode(ParseMode::Html),
            Mode::MarkdownV2 => message = message.parse_mode(ParseMode::MarkdownV2),
            #[expect(deprecated, reason = "the original's parse mode, for which people's templates are written")]
            Mode::Markdown => message = message.parse_mode(ParseMode::Markdown),
            Mode::None => {}
        }
        if let Some(topic) = self.topic {
            message = message.message_thread_id(topic);
        }
        let body = serde_json::to_vec(&message).map_err(|e| SendError::lasting(e.to_string()))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let answer = self.post.send(headers, body).await?;
        let reply = serde_json::from_str(&answer.body).ok();
        Ok(Said { answer, reply })
    }

    async fn deliver(&self, message: &Message) -> Result<Receipt, SendError> {
        let facts = Facts::new(&message.notification, self.timezone);
        // In no mode longer than in the one that is asked for.
        let facts = facts.fitting(|facts| units(&ours(facts, self.mode, usize::MAX)) <= MAX_TEXT_UNITS);
        let (mut text, mut mode) = self.text(&facts, self.mode);
        let mut chat = self.chat.clone();
        let mut remark = "";
        // At most: once as wanted, once as plain text, once to where the group has moved.
        for _ in 0..2 {
            let said = self.post(chat.clone(), &text, mode).await?;
            match &said.reply {
                Some(Reply { ok: false, parameters: Some(ResponseParameters::MigrateToChatId(moved)), .. }) => {
                    chat = Recipient::Id(*moved);
                    remark = ", to the supergroup that the group has become: set its chat_id";
                }
                Some(Reply { ok: false, description: Some(ApiError::CantParseEntities(_)), .. })
                    if mode != Mode::None =>
                {
                    (text, mode) = self.text(&facts, Mode::None);
                    remark = ", as plain text because its markup could not be read";
                }
                _ => return self.outcome(&said, remark),
            }
        }
        let said = self.post(chat, &text, mode).await?;
        self.outcome(&said, remark)
    }

    fn outcome(&self, said: &Said, remark: &str) -> Result<Receipt, SendError> {
        let Some(reply) = &said.reply else {
            let raw = self.post.clean(&said.answer.body);
            return Err(SendError::passing(format!("Telegram's answer is not what it should be: {raw}")));
        };
        if reply.ok {
            let answer = match &reply.result {
                Some(Sent { message_id: Some(id) }) => format!("message {id}"),
                // It was sent: a second try would tell it twice.
                _ => "accepted".to_owned(),
            };
            return Ok(Receipt { answer: format!("{answer}{remark}") });
        }
        match &reply.parameters {
            Some(ResponseParameters::RetryAfter(seconds)) => {
                let wait = seconds.duration();
                return Err(SendError::later(format!("Telegram wants a pause of {} s", wait.as_secs()), wait));
            }
            Some(ResponseParameters::MigrateToChatId(id)) => {
                let reason = format!("Telegram refused: the group has become the supergroup {id}");
                return Err(SendError::lasting(reason));
            }
            None => {}
        }
        let reason = match &reply.description {
            Some(ApiError::Unknown(text)) => text.clone(),
            Some(error) => error.to_string(),
            None => said.answer.status.to_string(),
        };
        let reason = format!("Telegram refused: {}", self.post.clean(&reason));
        // Trouble of the service's own, or too much at once, passes; what it says of us lasts.
        let passes = said.answer.status.is_server_error() || said.answer.status.as_u16() == 429;
        Err(if passes { SendError::passing(reason) } else { SendError::lasting(reason) })
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

/// An answer of the bot interface.
struct Said {
    answer: Answer,
    /// `None` when it is of another form.
    reply: Option<Reply>,
}

/// <https://core.telegram.org/bots/api#making-requests>
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default, deserialize_with = "lenient")]
    result: Option<Sent>,
    description: Option<ApiError>,
    parameters: Option<ResponseParameters>,
}

#[derive(Deserialize)]
struct Sent {
    message_id: Option<i64>,
}

/// A message that was sent in a form that is not known is sent all the same.
fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Sent>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(|value| serde_json::from_value(value).ok())
}
