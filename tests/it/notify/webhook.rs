//! Webhooks.

use std::collections::BTreeMap;
use std::time::Duration;

use api_monitor::config::Secret;
use api_monitor::config::channels::{Transport, WebhookConfig};
use api_monitor::notify::SendError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::receivers::{Receiver, answer};
use super::{build, down, message, retry, up};

fn config(url: &str) -> WebhookConfig {
    WebhookConfig {
        url: Secret::new(url),
        method: "POST".to_owned(),
        headers: BTreeMap::new(),
        retry_count: 1,
        retry_delay: Duration::from_millis(1),
        timeout: Duration::from_secs(5),
        payload_template: None,
        recovery_template: None,
        secret: None,
    }
}

async fn send(config: WebhookConfig) -> Result<String, SendError> {
    let channel = build(Transport::Webhook(Box::new(config))).unwrap();
    channel.send(&message(down())).await.map(|receipt| receipt.answer)
}

#[tokio::test]
async fn the_default_body_is_the_facts() {
    let receiver = Receiver::answering([answer(202, "queued")]).await;
    assert_eq!(send(config(&receiver.url("/hook"))).await.unwrap(), "202 Accepted: queued");
    let request = &receiver.received()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("idempotency-key"), "ntf_e1_1795244400120000_down");
    assert_eq!(request.header("webhook-id"), "ntf_e1_1795244400120000_down");
    let body = request.json();
    for (key, expected) in [
        ("version", json!(1)),
        ("event", json!("down")),
        ("endpoint_name", json!("Production API")),
        ("url", json!("https://api.example.com/health")),
        ("error", json!("GET returned 502, expected 200")),
        ("status", json!("down")),
    ] {
        assert_eq!(body[key], expected, "{key}");
    }
    assert_eq!(body["incident"]["id"], 42);
    assert_eq!(body["check"]["response_time_ms"], 12.4);
}

#[tokio::test]
async fn the_receiver_can_check_the_signature() {
    let key = [7u8; 32];
    for secret in [format!("whsec_{}", STANDARD.encode(key)), STANDARD.encode(key)] {
        let receiver = Receiver::answering([answer(200, "")]).await;
        send(WebhookConfig { secret: Some(Secret::new(secret)), ..config(&receiver.url("/")) }).await.unwrap();
        let request = &receiver.received()[0];
        assert_eq!(request.header("webhook-timestamp"), "1795244411");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
        mac.update(&request.body);
        let signature = request.header("webhook-signature").strip_prefix("v1,").unwrap();
        mac.verify_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_slack_text_stays_a_slack_text_on_recovery() {
    let receiver = Receiver::answering([answer(200, "ok")]).await;
    let template = "{\n  \"text\": \"*{endpoint_name}* is DOWN\\nError: {error}\"\n}\n";
    let config = WebhookConfig { payload_template: Some(template.to_owned()), ..config(&receiver.url("/")) };
    let channel = build(Transport::Webhook(Box::new(config))).unwrap();
    channel.send(&message(down())).await.unwrap();
    channel.send(&message(up())).await.unwrap();
    let bodies: Vec<_> = receiver.received().iter().map(|r| r.json()["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies[0], "*Production API* is DOWN\nError: GET returned 502, expected 200");
    insta::assert_snapshot!("slack_text_recovery", bodies[1]);
}

#[tokio::test]
async fn a_recovery_template_is_used_for_recoveries() {
    let receiver = Receiver::answering([answer(200, "ok")]).await;
    let config = WebhookConfig {
        payload_template: Some("{endpoint_name} is down".to_owned()),
        recovery_template: Some("{endpoint_name} is well again after {duration}".to_owned()),
        headers: BTreeMap::from([("X-Key".to_owned(), Secret::new("k3y"))]),
        method: "PUT".to_owned(),
        ..config(&receiver.url("/"))
    };
    let channel = build(Transport::Webhook(Box::new(config))).unwrap();
    channel.send(&message(up())).await.unwrap();
    let request = &receiver.received()[0];
    assert_eq!(request.body, "Production API is well again after 15 min 10 s");
    assert_eq!(request.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!((request.method.as_str(), request.header("x-key")), ("PUT", "k3y"));
}

#[tokio::test]
async fn fast_attempts_carry_the_same_id() {
    let receiver = Receiver::answering([answer(500, ""), answer(502, ""), answer(200, "ok")]).await;
    send(WebhookConfig { retry_count: 3, ..config(&receiver.url("/")) }).await.unwrap();
    let ids: Vec<_> = receiver.received().iter().map(|r| r.header("idempotency-key").to_owned()).collect();
    assert_eq!(ids, vec!["ntf_e1_1795244400120000_down"; 3]);

    let receiver = Receiver::answering([answer(500, "broken")]).await;
    let failed = send(WebhookConfig { retry_count: 2, ..config(&receiver.url("/")) }).await.unwrap_err();
    assert_eq!(retry(failed), ("127.0.0.1 answered 500 Internal Server Error: broken".to_owned(), None, false));
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn answers_mean_what_they_say() {
    let with = |status, name, value: &str| (status, vec![(name, value.to_owned())], String::new());
    for (answer, after, permanent_looking) in [
        (answer(401, ""), None, true),
        (answer(403, ""), None, true),
        (answer(404, ""), None, true),
        (answer(400, ""), None, false),
        (with(302, "location", "/elsewhere"), None, true),
        (with(429, "retry-after", "120"), Some(120), false),
        (with(503, "retry-after", "Sat, 21 Nov 2026 07:01:11 GMT"), Some(60), false),
        (with(429, "retry-after", "999999"), Some(3600), false),
    ] {
        let status = answer.0;
        let receiver = Receiver::answering([answer]).await;
        let failed = send(WebhookConfig { retry_count: 3, ..config(&receiver.url("/")) }).await.unwrap_err();
        let (reason, a, p) = retry(failed);
        assert_eq!((a, p), (after, permanent_looking), "{status}: {reason}");
        let attempts = receiver.received();
        assert_eq!(attempts.len(), if status == 400 { 3 } else { 1 }, "{status}");
        assert!(attempts.iter().all(|r| r.uri.path() == "/"), "a redirect was followed");
    }
    let receiver = Receiver::answering([answer(410, "gone")]).await;
    let gone = send(config(&receiver.url("/"))).await.unwrap_err();
    assert_eq!(gone, SendError::GiveUp { reason: "127.0.0.1 answered 410 Gone: gone".to_owned() });
}

#[tokio::test]
async fn what_goes_wrong_is_said_without_secrets() {
    let receiver = Receiver::answering([answer(400, "no such hook: /hooks/T0K3N-SECRET of Bearer h34der")]).await;
    let config = WebhookConfig {
        headers: BTreeMap::from([("Authorization".to_owned(), Secret::new("Bearer h34der"))]),
        ..config(&receiver.url("/hooks/T0K3N-SECRET"))
    };
    let (reason, ..) = retry(send(config.clone()).await.unwrap_err());
    assert_eq!(reason, "127.0.0.1 answered 400 Bad Request: no such hook: *** of ***");
    let nowhere = WebhookConfig { url: Secret::new("http://127.0.0.1:1/hooks/T0K3N-SECRET"), ..config.clone() };
    let (reason, ..) = retry(send(nowhere).await.unwrap_err());
    assert!(reason.starts_with("127.0.0.1 cannot be reached: ") && !reason.contains("T0K3N"), "{reason}");
    let channel = build(Transport::Webhook(Box::new(config))).unwrap();
    assert!(!format!("{channel:?}").contains("T0K3N"));
}

#[tokio::test]
async fn a_receiver_that_is_silent_or_endless_is_cut() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let failed = send(WebhookConfig { timeout: Duration::from_millis(50), ..config(&url) }).await.unwrap_err();
    assert_eq!(retry(failed), ("127.0.0.1 did not answer within 50ms".to_owned(), None, false));

    let receiver = Receiver::answering([answer(200, &"x".repeat(10_000_000))]).await;
    let said = send(config(&receiver.url("/"))).await.unwrap();
    assert!(said.len() < 500, "{}", said.len());
}

#[tokio::test]
async fn a_wrong_configuration_names_its_key() {
    let url = "http://127.0.0.1:1/";
    for (key, config) in [
        ("url", config("ftp://example.com")),
        ("url", config("not a url")),
        ("method", WebhookConfig { method: "GE T".to_owned(), ..config(url) }),
        ("headers", WebhookConfig { headers: BTreeMap::from([("a b".to_owned(), Secret::new("c"))]), ..config(url) }),
        (
            "headers",
            WebhookConfig { headers: BTreeMap::from([("a".to_owned(), Secret::new("b\r\nc: d"))]), ..config(url) },
        ),
        ("payload_template", WebhookConfig { payload_template: Some("{eror}".to_owned()), ..config(url) }),
        ("recovery_template", WebhookConfig { recovery_template: Some("{\"a\": }".to_owned()), ..config(url) }),
        ("secret", WebhookConfig { secret: Some(Secret::new("whsec_?")), ..config(url) }),
    ] {
        let error = build(Transport::Webhook(Box::new(config))).unwrap_err();
        assert_eq!((error.channel.as_str(), error.key.as_str()), ("ops", key), "{error}");
    }
}
