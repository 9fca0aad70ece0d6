//! Every preset against a receiver that answers like its service.

mod documented;
mod page;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use api_monitor::config::Secret;
use api_monitor::config::channels::Transport;
use api_monitor::domain::notification::{Event, Notification};
use api_monitor::domain::preset::{self, Format, Preset};
use api_monitor::notify::{Channel, SendError};
use serde_json::{Value, json};

use super::receivers::{Answer, Received, Receiver, answer};
use super::{build, down, message, retry, up};
use documented::{documented, texts_of};

/// The option that says where requests go.
fn address_key(preset: &Preset) -> &str {
    preset.request.url.split('}').next().unwrap().trim_start_matches("{options.")
}

/// What a channel needs, leading to an address.
fn options(preset: &Preset, address: &str) -> BTreeMap<String, Secret> {
    let example = preset.example();
    let options = example.iter().filter(|(key, _)| *key != "type");
    let mut options: BTreeMap<_, _> =
        options.map(|(key, value)| (key.clone(), Secret::new(value.as_str().unwrap()))).collect();
    options.insert(address_key(preset).to_owned(), Secret::new(address));
    options
}

fn channel_with(preset: &Preset, options: BTreeMap<String, Secret>) -> Arc<dyn Channel> {
    build(Transport::Preset { preset: preset.name.clone(), options }).unwrap()
}

fn channel(preset: &Preset, receiver: &Receiver) -> Arc<dyn Channel> {
    channel_with(preset, options(preset, &receiver.url("/at/path")))
}

/// An answer with which the service takes a message.
fn taken(preset: &Preset) -> Answer {
    let body = match (&preset.success.body, &preset.success.json) {
        (Some(body), _) => body.clone(),
        (None, Some((pointer, value))) => json!({ &pointer[1..]: value }).to_string(),
        (None, None) => String::new(),
    };
    answer(preset.success.statuses[0], &body)
}

fn reminder() -> Notification {
    let mut reminder = down();
    reminder.event = Event::Reminder;
    reminder.id = reminder.id.replace("down", "reminder_1");
    reminder.occurred_at += chrono::TimeDelta::hours(1);
    reminder.incident.as_mut().unwrap().duration_seconds = 3610;
    reminder
}

fn test() -> Notification {
    let mut test = down();
    test.event = Event::Test;
    "ntf_c-ops_1795244411000000_test".clone_into(&mut test.id);
    "ops".clone_into(&mut test.endpoint_name);
    test.url.clear();
    test.endpoint.group.clear();
    (test.error, test.incident, test.check, test.runbook, test.failure_kind) = (None, None, None, None, None);
    test
}

fn told_late() -> Notification {
    let mut late = up();
    late.event = Event::Down;
    late.told_late = true;
    late
}

/// The fields of a form, decoded.
fn form(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

/// A body as JSON; a form as an object of texts.
fn body(preset: &Preset, received: &Received) -> Value {
    match preset.request.format {
        Format::Json => received.json(),
        Format::Form => json!(form(&received.body)),
    }
}

fn shown(preset: &Preset, received: &Received) -> String {
    let mut text = format!("{} {}\n", received.method, received.uri);
    for name in ["content-type", "authorization", "x-gotify-key"] {
        if received.headers.contains_key(name) {
            writeln!(text, "{name}: {}", received.header(name)).unwrap();
        }
    }
    text + &serde_json::to_string_pretty(&body(preset, received)).unwrap()
}

#[tokio::test]
async fn every_request_is_as_the_service_documents_it() {
    for preset in preset::all().unwrap() {
        let receiver = Receiver::answering([taken(&preset)]).await;
        let channel = channel(&preset, &receiver);
        let events =
            [("down", down()), ("up", up()), ("reminder", reminder()), ("test", test()), ("late", told_late())];
        let mut told = String::new();
        for (name, notification) in events {
            channel.send(&message(notification)).await.unwrap();
            let request = receiver.received().pop().unwrap();
            documented(&preset.name).check(&preset.name, &body(&preset, &request));
            writeln!(told, "### {name}\n{}\n", shown(&preset, &request)).unwrap();
        }
        insta::assert_snapshot!(format!("preset_{}", preset.name), told);
    }
}

#[tokio::test]
async fn optional_settings_are_sent() {
    for (name, further, expected) in [
        ("discord", json!({"username": "monitor", "thread_id": "42"}), "thread_id=42"),
        ("ntfy", json!({"token": "tk_secret", "priority": "4"}), "Bearer tk_secret"),
        (
            "mattermost",
            json!({"channel": "ops", "icon_url": "https://x.example/i.png"}),
            "\"icon_url\": \"https://x.example/i.png\"",
        ),
        ("pushover", json!({"priority": "2", "sound": "siren", "device": "phone"}), "\"sound\": \"siren\""),
        ("alertmanager", json!({"username": "u", "password": "p"}), "Basic dTpw"),
    ] {
        let preset = preset::find(name).unwrap().unwrap();
        let receiver = Receiver::answering([taken(&preset)]).await;
        let mut options = options(&preset, &receiver.url(""));
        for (key, value) in further.as_object().unwrap() {
            options.insert(key.clone(), Secret::new(value.as_str().unwrap()));
        }
        let channel = channel_with(&preset, options);
        channel.send(&message(down())).await.unwrap();
        let request = shown(&preset, &receiver.received()[0]);
        assert!(request.contains(expected), "{request}");
        documented(name).check(name, &body(&preset, &receiver.received()[0]));
        channel.send(&message(up())).await.unwrap();
        let recovery = shown(&preset, &receiver.received()[1]);
        assert!(!recovery.contains("siren"), "of outages only: {recovery}");
    }
}

#[tokio::test]
async fn the_words_of_a_recovery_never_say_down() {
    for preset in preset::all().unwrap() {
        let receiver = Receiver::answering([taken(&preset)]).await;
        channel(&preset, &receiver).send(&message(up())).await.unwrap();
        let texts = texts_of(&body(&preset, &receiver.received()[0]));
        for text in texts.iter().filter(|text| text.as_str() != "ApiMonitorEndpointDown") {
            assert!(!text.to_lowercase().contains("down"), "{}: {text}", preset.name);
        }
    }
}

#[tokio::test]
async fn hostile_texts_break_nothing_and_call_nobody() {
    let hostile = [
        "\"}, {\"injected\": true, \"x\": \"".to_owned(),
        "a\nb\r\nBcc: x@y.z\n\n- c\t\u{0}\u{1b}[31m".to_owned(),
        r"back\slash \n \u0000 %00 &x=1+2".to_owned(),
        "*bold* _it_ ~s~ `c` ```pre``` [l](https://evil.example) ![i](x) || > # - ".to_owned(),
        "@everyone @here @channel @all @room <!channel> <!here> <@U123> <@&1> <users/all> <at>x</at>".to_owned(),
        "</b><script>alert(1)</script><img src=x onerror=y>&lt;&amp;".to_owned(),
        "\u{202e}gnp.exe\u{2066} \u{2028}אבג ا🚨👨\u{200d}👩\u{200d}👧".to_owned(),
        "{title}{options.url}{error}{{id}}$if".to_owned(),
        "é\"\\<&*".repeat(3_000),
        "🚨".repeat(5_000),
        "one word ".repeat(2_500),
    ];
    for preset in preset::all().unwrap() {
        let receiver = Receiver::answering([taken(&preset)]).await;
        let channel = channel(&preset, &receiver);
        for text in &hostile {
            // Those that are long are cut alike, whatever is told.
            let told = if text.len() < 500 { vec![down(), up(), reminder()] } else { vec![down()] };
            for mut notification in told {
                notification.error = Some(text.clone());
                notification.remarks = vec![text.clone(), "plain".to_owned()];
                if text.len() < 500 {
                    notification.endpoint_name = text.clone();
                    notification.endpoint.group = text.clone();
                    notification.runbook = Some(text.clone());
                }
                channel.send(&message(notification)).await.unwrap();
                let request = receiver.received().pop().unwrap();
                let sent = body(&preset, &request);
                documented(&preset.name).check(&preset.name, &sent);
                let told = sent.to_string();
                assert!(!told.contains("\"injected\":"), "{}: {told}", preset.name);
                match preset.name.as_str() {
                    "discord" => assert_eq!(sent["allowed_mentions"], json!({"parse": []})),
                    "matrix" => {
                        assert_eq!(sent["m.mentions"], json!({}));
                        let html = sent["formatted_body"].as_str().unwrap();
                        let tags = html.replace("<strong>", "").replace("</strong>", "").replace("<br/>", "");
                        assert!(!tags.contains(['<', '>']), "{html}");
                    }
                    "slack" => assert!(!told.contains('<'), "{told}"),
                    "google_chat" => assert!(!told.contains("<users"), "{told}"),
                    "mattermost" => {
                        let text = sent["text"].as_str().unwrap();
                        let apart = |(at, _): (usize, _)| text[at + 1..].starts_with('\u{200b}');
                        assert!(text.match_indices(['@', '<']).all(apart), "{text}");
                    }
                    "teams" => assert!(!told.contains("\"TextBlock\"") && !told.contains("\"entities\"")),
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn the_longest_error_leaves_the_link_and_the_runbook() {
    for preset in preset::all().unwrap() {
        let receiver = Receiver::answering([taken(&preset)]).await;
        let mut notification = down();
        notification.error = Some("x".repeat(20_000));
        let link = format!("https://monitor.example.com/acknowledge/42.1795244410.b3Bz.{}_-", "a9Zx".repeat(10));
        notification.incident.as_mut().unwrap().acknowledge_url = Some(link.clone());
        channel(&preset, &receiver).send(&message(notification)).await.unwrap();
        let sent = body(&preset, &receiver.received()[0]);
        documented(&preset.name).check(&preset.name, &sent);
        let told = texts_of(&sent).join("\n");
        for part in ["monitor.example.com/incidents/42", "wiki.example.com/api", "xxx…", &link] {
            assert!(told.contains(part), "{} lost {part}: {told}", preset.name);
        }
    }
}

#[tokio::test]
async fn messages_of_an_incident_belong_together() {
    let keys = |name: &'static str, pointer: &'static str| async move {
        let preset = preset::find(name).unwrap().unwrap();
        let receiver = Receiver::answering([taken(&preset)]).await;
        let channel = channel(&preset, &receiver);
        for notification in [down(), reminder(), up(), told_late()] {
            channel.send(&message(notification)).await.unwrap();
        }
        let requests = receiver.received();
        let bodies: Vec<Value> = requests.iter().map(|request| body(&preset, request)).collect();
        let keys: Vec<Value> = bodies.iter().map(|body| body.pointer(pointer).unwrap().clone()).collect();
        assert!(keys.windows(2).all(|two| two[0] == two[1]), "{name}: {keys:?}");
        let mut other = down();
        other.incident.as_mut().unwrap().started_at += chrono::TimeDelta::hours(5);
        channel.send(&message(other)).await.unwrap();
        let other = body(&preset, receiver.received().last().unwrap());
        assert_ne!(other.pointer(pointer).unwrap(), &keys[0], "another incident");
        bodies
    };
    let actions: Vec<Value> =
        keys("pagerduty", "/dedup_key").await.iter().map(|body| body["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve", "resolve"]);
    let alerts = keys("alertmanager", "/0/labels").await;
    let ends: Vec<&str> = alerts.iter().map(|body| body[0]["endsAt"].as_str().unwrap()).collect();
    assert!(ends[0] > "2026-12-20" && ends[2] == "2026-11-21T07:15:10.120Z", "{ends:?}");
    keys("google_chat", "/thread/threadKey").await;
    for name in preset::names() {
        let transport = Transport::Preset { preset: name.to_owned(), options: BTreeMap::new() };
        assert_eq!(transport.has_life_cycle(), ["pagerduty", "alertmanager"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn refusals_and_rate_limits_are_read() {
    let limit = |headers: &[(&'static str, &str)], body: &str| {
        (429, headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), body.to_owned())
    };
    // The answers are those that the services document. A pause of `None`: the backoff of deliveries decides.
    for (name, given, after, permanent_looking) in [
        ("slack", answer(200, "not ok"), None, false),
        (
            "discord",
            limit(
                &[("retry-after", "65")],
                r#"{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}"#,
            ),
            Some(65),
            false,
        ),
        (
            "discord",
            limit(&[], r#"{"message": "You are being rate limited.", "retry_after": 1336.57, "global": false}"#),
            Some(1336),
            false,
        ),
        ("discord", answer(404, r#"{"message": "Unknown Webhook", "code": 10015}"#), None, true),
        ("discord", answer(400, r#"{"content": ["Must be 2000 or fewer in length."]}"#), None, true),
        ("teams", limit(&[("retry-after", "17")], ""), Some(17), false),
        ("teams", answer(400, r#"{"error": {"code": "WorkflowTriggerIsNotEnabled"}}"#), None, true),
        ("mattermost", answer(400, r#"{"id": "web.incoming_webhook.invalid.app_error"}"#), None, true),
        ("mattermost", answer(200, "<html>a page</html>"), None, false),
        ("mattermost", limit(&[], "limit exceeded"), Some(1), false),
        ("google_chat", limit(&[], r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}"#), Some(2), false),
        (
            "matrix",
            limit(&[], r#"{"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 20500}"#),
            Some(20),
            false,
        ),
        ("matrix", limit(&[("retry-after", "7")], r#"{"errcode": "M_LIMIT_EXCEEDED"}"#), Some(7), false),
        ("matrix", answer(403, r#"{"errcode": "M_FORBIDDEN", "error": "not in room"}"#), None, true),
        (
            "ntfy",
            limit(&[], r#"{"code": 42901, "http": 429, "error": "limit reached: too many requests"}"#),
            Some(10),
            false,
        ),
        ("ntfy", answer(403, r#"{"code": 40301, "http": 403, "error": "forbidden"}"#), None, true),
        ("gotify", answer(401, r#"{"error": "Unauthorized", "errorCode": 401}"#), None, true),
        (
            "pushover",
            answer(400, r#"{"user": "invalid", "errors": ["user identifier is invalid"], "status": 0}"#),
            None,
            true,
        ),
        ("pushover", answer(200, r#"{"status": 0}"#), None, false),
        // 500 seconds after the hour at which the clock of the channel stands.
        ("pushover", limit(&[("x-limit-app-reset", "1795244911")], r#"{"status": 0}"#), Some(500), false),
        (
            "pagerduty",
            answer(
                400,
                r#"{"status": "invalid event", "message": "Event object is invalid", "errors": ["Length of 'routing_key' is incorrect"]}"#,
            ),
            None,
            true,
        ),
        ("pagerduty", limit(&[], ""), Some(30), false),
        ("pagerduty", answer(200, "a page of a proxy"), None, false),
        ("alertmanager", answer(400, r#""bad matcher""#), None, true),
        ("alertmanager", answer(503, "starting"), None, false),
        ("twilio_sms", answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#), None, true),
        (
            "twilio_sms",
            answer(400, r#"{"code": 21211, "message": "The 'To' number is not a valid phone number.", "status": 400}"#),
            None,
            true,
        ),
        ("twilio_sms", limit(&[], r#"{"code": 20429, "message": "Too Many Requests", "status": 429}"#), Some(5), false),
    ] {
        let preset = preset::find(name).unwrap().unwrap();
        let receiver = Receiver::answering([given.clone()]).await;
        let error = channel(&preset, &receiver).send(&message(down())).await.unwrap_err();
        let (reason, a, p) = retry(error);
        assert_eq!((a, p), (after, permanent_looking), "{name}: {reason}");
        assert!(reason.contains(&format!("answered {}", given.0)), "{name}: {reason}");
    }
    let preset = preset::find("slack").unwrap().unwrap();
    let receiver = Receiver::answering([answer(410, "gone")]).await;
    let gone = channel(&preset, &receiver).send(&message(down())).await;
    assert!(matches!(gone, Err(SendError::GiveUp { .. })), "{gone:?}");
}

#[tokio::test]
async fn secrets_do_not_show_in_what_is_said() {
    for preset in preset::all().unwrap() {
        let mut options = options(&preset, "http://127.0.0.1:9/");
        let secrets: Vec<String> =
            preset.options.iter().filter(|o| o.secret && o.required).map(|o| o.name.clone()).collect();
        let said: Vec<&str> = secrets.iter().map(|name| options[name].expose()).collect();
        let receiver = Receiver::answering([answer(403, &said.join(" "))]).await;
        let key = address_key(&preset);
        let address = receiver.url(if key == "url" { "/hooks/SECRETSECRETSECRETSECRET" } else { "" });
        options.insert(key.to_owned(), Secret::new(&address));
        let channel = channel_with(&preset, options.clone());
        let (reason, ..) = retry(channel.send(&message(down())).await.unwrap_err());
        for name in &secrets {
            assert!(!reason.contains(options[name].expose()), "{}: {reason}", preset.name);
        }
        assert!(!format!("{channel:?}").contains("SECRET"), "{channel:?}");
    }
}

#[tokio::test]
async fn options_are_checked() {
    for preset in preset::all().unwrap() {
        let whole = options(&preset, "http://127.0.0.1:9/");
        let refused = |options: BTreeMap<String, Secret>| {
            let error = build(Transport::Preset { preset: preset.name.clone(), options }).unwrap_err();
            (error.key, error.message)
        };
        for option in preset.options.iter().filter(|option| option.required) {
            let mut lacking = whole.clone();
            lacking.remove(&option.name);
            assert_eq!(refused(lacking), (option.name.clone(), format!("{} needs it", preset.name)));
        }
        let mut more = whole.clone();
        more.insert("colour".to_owned(), Secret::new("red"));
        let (key, message) = refused(more);
        assert!(key == "colour" && message.starts_with(&format!("{} has no such option", preset.name)), "{message}");
        let mut broken = whole.clone();
        broken.insert(address_key(&preset).to_owned(), Secret::new("x"));
        assert_eq!(
            refused(broken),
            (address_key(&preset).to_owned(), "it is not a URL (relative URL without a base)".to_owned())
        );
    }
}
