//! Telegram, against a stand-in for the Bot API.

use api_monitor::config::Secret;
use api_monitor::config::channels::{TelegramConfig, TelegramParseMode, Transport};
use serde_json::{Value, json};

use super::receivers::{Answer, Receiver, answer};
use super::{build, down, message, retry, up};

pub(crate) const TOKEN: &str = "123456:AAF7-g0gYncWnm5IyfZlpPRqRRv6kNAGlao";

fn config(receiver: &Receiver) -> TelegramConfig {
    TelegramConfig {
        bot_token: Secret::new(TOKEN),
        chat_id: "-100123".to_owned(),
        topic_id: None,
        message_template: None,
        parse_mode: TelegramParseMode::Markdown,
        api_url: receiver.url("/"),
    }
}

pub(crate) fn sent() -> Answer {
    let message = json!({"ok": true, "result": {
        "message_id": 7, "date": 1_795_244_411, "text": "x", "chat": {"id": -100_123, "type": "supergroup", "title": "ops"}
    }});
    answer(200, &message.to_string())
}

pub(crate) fn refused(code: u16, description: &str, parameters: Value) -> Answer {
    let refusal = json!({"ok": false, "error_code": code, "description": description, "parameters": parameters});
    answer(code, &refusal.to_string())
}

#[tokio::test]
async fn a_message_is_sent_as_the_bot_api_wants_it() {
    let receiver = Receiver::answering([sent()]).await;
    let config = TelegramConfig { topic_id: Some(5), ..config(&receiver) };
    let channel = build(Transport::Telegram(Box::new(config))).unwrap();
    let mut notification = down();
    notification.endpoint_name = "my_api *2*".to_owned();
    assert_eq!(channel.send(&message(notification)).await.unwrap().answer, "message 7");
    let request = &receiver.received()[0];
    assert_eq!(request.uri.path(), format!("/bot{TOKEN}/sendMessage"));
    let body = request.json();
    assert_eq!((&body["chat_id"], &body["message_thread_id"]), (&json!(-100_123), &json!(5)));
    assert_eq!(body["parse_mode"], "Markdown");
    insta::assert_snapshot!("telegram_down", body["text"].as_str().unwrap());
}

#[tokio::test]
async fn every_parse_mode_has_our_text() {
    for (mode, name, word) in [
        (TelegramParseMode::Html, "html", json!("HTML")),
        (TelegramParseMode::MarkdownV2, "markdown_v2", json!("MarkdownV2")),
        (TelegramParseMode::None, "none", Value::Null),
    ] {
        let receiver = Receiver::answering([sent()]).await;
        let config = TelegramConfig { parse_mode: mode, ..config(&receiver) };
        build(Transport::Telegram(Box::new(config))).unwrap().send(&message(up())).await.unwrap();
        let body = receiver.received()[0].json();
        assert_eq!(body["parse_mode"], word);
        insta::assert_snapshot!(format!("telegram_up_{name}"), body["text"].as_str().unwrap());
    }
}

#[tokio::test]
async fn the_originals_template_has_line_breaks() {
    let receiver = Receiver::answering([sent()]).await;
    let template = r"🚨 *{endpoint_name}* is DOWN\nError: {error}".to_owned();
    let config = TelegramConfig { message_template: Some(template), ..config(&receiver) };
    let channel = build(Transport::Telegram(Box::new(config))).unwrap();
    channel.send(&message(down())).await.unwrap();
    channel.send(&message(up())).await.unwrap();
    let texts: Vec<_> = receiver.received().iter().map(|r| r.json()["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts[0], "🚨 *Production API* is DOWN\nError: GET returned 502, expected 200");
    assert!(texts[1].starts_with("✅ *Production API* is back online\nRecovered at: "), "{}", texts[1]);
}

#[tokio::test]
async fn a_rate_limit_is_honoured_and_a_refusal_waits_for_a_person() {
    let limit = refused(429, "Too Many Requests: retry after 17", json!({"retry_after": 17}));
    let receiver = Receiver::answering([limit, sent()]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    let limited = channel.send(&message(down())).await.unwrap_err();
    assert_eq!(retry(limited), ("Telegram wants a pause of 17 s".to_owned(), Some(17), false));
    channel.send(&message(down())).await.unwrap();

    for (code, description) in
        [(401, "Unauthorized"), (403, "Forbidden: bot was blocked by the user"), (400, "Bad Request: chat not found")]
    {
        let receiver = Receiver::answering([refused(code, description, Value::Null)]).await;
        let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
        let (reason, after, permanent_looking) = retry(channel.send(&message(down())).await.unwrap_err());
        assert_eq!((after, permanent_looking), (None, true), "{reason}");
    }
}

#[tokio::test]
async fn trouble_of_the_service_passes_and_an_endless_answer_is_cut() {
    let busy = refused(500, "Internal Server Error", Value::Null);
    let receiver =
        Receiver::answering([busy, answer(502, "<html>Bad Gateway"), answer(200, &" ".repeat(10_000_000))]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    for said in [
        "Telegram refused: Internal Server Error",
        "Telegram's answer is not what it should be: <html>Bad Gateway",
        "Telegram's answer is not what it should be: ",
    ] {
        let (reason, _, permanent_looking) = retry(channel.send(&message(down())).await.unwrap_err());
        assert_eq!((reason.as_str(), permanent_looking), (said, false));
    }
}

#[tokio::test]
async fn markup_that_cannot_be_read_is_sent_as_plain_text() {
    let unreadable = refused(400, "Bad Request: can't parse entities: Can't find end of the entity", Value::Null);
    let receiver = Receiver::answering([unreadable, sent()]).await;
    let template = "*{endpoint_name} is_down".to_owned();
    let config = TelegramConfig { message_template: Some(template), ..config(&receiver) };
    let channel = build(Transport::Telegram(Box::new(config))).unwrap();
    let said = channel.send(&message(down())).await.unwrap().answer;
    assert_eq!(said, "message 7, as plain text because its markup could not be read");
    let body = receiver.received()[1].json();
    assert_eq!((&body["text"], &body["parse_mode"]), (&json!("*Production API is_down"), &Value::Null));
}

#[tokio::test]
async fn a_group_that_has_moved_is_followed() {
    let moved = refused(400, "Bad Request: group chat was upgraded", json!({"migrate_to_chat_id": -100_999}));
    let receiver = Receiver::answering([moved, sent()]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    assert!(channel.send(&message(down())).await.unwrap().answer.contains("set its chat_id"));
    assert_eq!(receiver.received()[1].json()["chat_id"], -100_999);
}

#[tokio::test]
async fn long_texts_are_cut_without_breaking_their_markup() {
    for mode in [TelegramParseMode::Markdown, TelegramParseMode::MarkdownV2, TelegramParseMode::Html] {
        let receiver = Receiver::answering([sent()]).await;
        let config = TelegramConfig { parse_mode: mode, ..config(&receiver) };
        let mut notification = down();
        notification.error = Some("🚨_<&*".repeat(2000));
        build(Transport::Telegram(Box::new(config))).unwrap().send(&message(notification)).await.unwrap();
        let body = receiver.received()[0].json();
        let text = body["text"].as_str().unwrap();
        assert!(text.encode_utf16().count() <= 4096);
        assert!(text.contains('…') && text.contains("monitor"), "the rest is whole: {text}");
        assert_ne!(body["parse_mode"], Value::Null);
    }
    let receiver = Receiver::answering([sent()]).await;
    let template = format!("*{{endpoint_name}}* {}", "x".repeat(5000));
    let config = TelegramConfig { message_template: Some(template), ..config(&receiver) };
    build(Transport::Telegram(Box::new(config))).unwrap().send(&message(down())).await.unwrap();
    let body = receiver.received()[0].json();
    assert_eq!(body["text"].as_str().unwrap().encode_utf16().count(), 4096);
    assert_eq!(body["parse_mode"], Value::Null);
}

#[tokio::test]
async fn a_message_that_was_taken_is_not_sent_twice_for_a_strange_answer() {
    let receiver = Receiver::answering([answer(200, r#"{"ok": true, "result": {"new": "form"}}"#)]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    assert_eq!(channel.send(&message(down())).await.unwrap().answer, "accepted");
    let receiver = Receiver::answering([answer(200, "<html>captive portal</html>")]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    assert!(!retry(channel.send(&message(down())).await.unwrap_err()).2);
}

#[tokio::test]
async fn the_token_is_never_shown() {
    let receiver = Receiver::answering([answer(200, &format!("who is {TOKEN}?"))]).await;
    let channel = build(Transport::Telegram(Box::new(config(&receiver)))).unwrap();
    assert!(!format!("{channel:?}").contains(TOKEN));
    let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
    assert!(reason.contains("who is ***?"), "{reason}");
    let nowhere = TelegramConfig { api_url: "http://127.0.0.1:1".to_owned(), ..config(&receiver) };
    let channel = build(Transport::Telegram(Box::new(nowhere))).unwrap();
    let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
    assert!(reason.starts_with("Telegram cannot be reached: ") && !reason.contains(TOKEN), "{reason}");
}

#[tokio::test]
async fn a_wrong_configuration_names_its_key() {
    let receiver = Receiver::answering([sent()]).await;
    let good = config(&receiver);
    for (key, config) in [
        ("api_url", TelegramConfig { api_url: "telegram".to_owned(), ..good.clone() }),
        ("chat_id", TelegramConfig { chat_id: "ops".to_owned(), ..good.clone() }),
        ("bot_token", TelegramConfig { bot_token: Secret::new(""), ..good.clone() }),
        ("message_template", TelegramConfig { message_template: Some("{nam}".to_owned()), ..good.clone() }),
    ] {
        assert_eq!(build(Transport::Telegram(Box::new(config))).unwrap_err().key, key);
    }
}
