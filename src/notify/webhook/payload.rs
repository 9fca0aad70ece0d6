//! What a webhook's body is.

use crate::config::channels::WebhookConfig;
use crate::domain::notification::Event;
use crate::domain::template::{JsonTemplate, Template};
use crate::notify::channel::SendError;
use crate::notify::render::{Facts, Target, speaks};

/// The longest text of a digest in a template, in characters: nobody knows what the service behind it takes, and this
/// is what the strictest chats do.
const MAX_DIGEST_CHARS: usize = 1_900;

/// The bodies for outages, and for what comes after.
#[derive(Debug)]
pub(super) struct Payloads {
    outage: Payload,
    recovery: Option<Payload>,
}

#[derive(Debug)]
enum Payload {
    /// The facts as they are.
    Default,
    Json(JsonTemplate),
    /// The fields of a form; names are written as they are.
    Form(Vec<(String, Template)>),
    Text(Template, Target),
}

impl Payloads {
    /// # Errors
    /// The key of the template that cannot be used, and why.
    pub(super) fn read(config: &WebhookConfig, content_type: Option<&str>) -> Result<Self, (&'static str, String)> {
        let read = |key, text: &Option<String>| {
            let payload = text.as_deref().map(|text| Payload::read(text, content_type));
            payload.transpose().map_err(|e| (key, e))
        };
        let outage = read("payload_template", &config.payload_template)?.unwrap_or(Payload::Default);
        let recovery = read("recovery_template", &config.recovery_template)?;
        Ok(Self { outage, recovery })
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.outage {
            Payload::Default | Payload::Json(_) => "application/json",
            Payload::Form(_) => "application/x-www-form-urlencoded",
            Payload::Text(..) => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn render(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        match &self.recovery {
            Some(recovery) if facts.is_recovery() => recovery.fill(facts),
            Some(recovery) if matches!(facts.notification.event, Event::NoLongerMonitored | Event::AlertResolved) => {
                recovery.retell(facts)
            }
            _ if facts.is_outage() => self.outage.fill(facts),
            _ => self.outage.retell(facts),
        }
    }
}

impl Payload {
    fn read(text: &str, content_type: Option<&str>) -> Result<Self, String> {
        let content_type = content_type.map(str::to_ascii_lowercase);
        let says = |word| content_type.as_deref().is_some_and(|given| given.contains(word));
        if says("json") || JsonTemplate::looks_like(text) {
            match JsonTemplate::parse(text) {
                Ok(template) => return Ok(Self::Json(template)),
                // Said to be something else, so it may be.
                Err(_) if content_type.is_some() && !says("json") => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        if says("x-www-form-urlencoded") {
            let field = |pair: &str| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((name.to_owned(), Template::parse(value).map_err(|e| e.to_string())?))
            };
            return text.trim().split('&').map(field).collect::<Result<_, _>>().map(Self::Form);
        }
        let target = if says("html") || says("xml") { Target::Html } else { Target::Plain };
        Template::parse(text).map(|template| Self::Text(template, target)).map_err(|e| e.to_string())
    }

    /// With the facts in the places of the placeholders.
    fn fill(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        Ok(match self {
            Self::Default => default_body(facts)?,
            Self::Json(template) => facts.fill_json(template),
            Self::Form(fields) => form(fields, |value| facts.fill(value, Target::Url)),
            Self::Text(template, target) => facts.fill(template, *target),
        })
    }

    /// With our words in the places of a person's, which say another event.
    fn retell(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        let fitted;
        let facts = if matches!(self, Self::Default) {
            facts
        } else {
            fitted = facts.clone().fitting(|facts| facts.words.text().chars().count() <= MAX_DIGEST_CHARS);
            &fitted
        };
        Ok(match self {
            Self::Default => default_body(facts)?,
            Self::Json(template) => facts.retell_json(template),
            Self::Form(fields) => form(fields, |value| {
                if speaks(value) || (value.has_placeholders() && value.literal().contains(['+', '%'])) {
                    Target::Url.escape(facts.words.text().into()).into_owned()
                } else {
                    facts.fill(value, Target::Url)
                }
            }),
            Self::Text(_, target) => target.escape(facts.words.text().into()).into_owned(),
        })
    }
}

fn form(fields: &[(String, Template)], value: impl Fn(&Template) -> String) -> String {
    fields.iter().map(|(name, text)| format!("{name}={}", value(text))).collect::<Vec<_>>().join("&")
}

fn default_body(facts: &Facts<'_>) -> Result<String, SendError> {
    serde_json::to_string(facts.notification)
        .map_err(|e| SendError::GiveUp { reason: format!("The notification cannot be written as JSON: {e}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::notification::{Event, Notification};
    use crate::notify::testing::{down, hostile, with_event};

    fn rendered(template: &str, content_type: Option<&str>, notification: &Notification) -> String {
        let outage = Payload::read(template, content_type).unwrap();
        let payloads = Payloads { outage, recovery: None };
        payloads.render(&Facts::new(notification, chrono_tz::UTC)).unwrap()
    }

    fn json(template: &str, notification: &Notification) -> Value {
        let text = rendered(template, None, notification);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn the_templates_of_the_original_work_unchanged() {
        let slack = "{\n  \"text\": \"*{endpoint_name}* is DOWN\\nError: {error}\"\n}\n";
        let expected = json!({"text": "*Production API* is DOWN\nError: GET returned 502, expected 200"});
        assert_eq!(json(slack, &down()), expected);
        let built_in = r#"{"text": "🚨 API Monitor Alert: {endpoint_name} is DOWN"}"#;
        assert_eq!(json(built_in, &down()), json!({"text": "🚨 API Monitor Alert: Production API is DOWN"}));
        // Doubled for Python's str.format, without which the original could send no JSON.
        let doubled = r#"{{"text": "{endpoint_name}", "code": "{status_code}", "took": "{response_time}"}}"#;
        assert_eq!(json(doubled, &down()), json!({"text": "Production API", "code": "502", "took": "0.012"}));
    }

    #[test]
    fn a_recovery_keeps_the_shape_and_has_our_words() {
        let up = with_event(Event::Up);
        let told = json(
            r#"{"text": "*{endpoint_name}* is DOWN", "status": "{status}", "key": "{group}/{endpoint_name}",
                "link": "https://wiki.example.com/{endpoint_name}", "state": "DOWN", "title": "Service down",
                "color": "danger", "code": {status_code}, "took": {response_time}, "for": {duration}, "n": 1}"#,
            &up,
        );
        let text = told["text"].as_str().unwrap();
        assert!(text.starts_with("✅ Production API is back online\nRecovered at: "), "{text}");
        assert_eq!(told["title"], told["text"]);
        for (key, expected) in [
            ("status", json!("up")),
            ("key", json!("core/Production API")),
            ("link", json!("https://wiki.example.com/Production%20API")),
            ("state", json!("UP")),
            ("color", json!("danger")),
            ("code", json!(502)),
            ("took", json!(0.0124)),
            ("for", json!(910)),
            ("n", json!(1)),
        ] {
            assert_eq!(told[key], expected, "{key}");
        }
        assert!(!told.to_string().to_lowercase().contains("down"), "{told}");
    }

    #[test]
    fn a_recovery_of_a_fixed_text_is_no_alarm() {
        let told = json(r##"{"channel": "#production", "text": "Alert!!"}"##, &with_event(Event::Up));
        assert_eq!(told["channel"], "#production");
        assert!(told["text"].as_str().unwrap().starts_with("✅"), "{told}");
    }

    #[test]
    fn forms_and_text_are_told_in_their_own_way() {
        let form = Some("application/x-www-form-urlencoded");
        let template = "token=a+b&title={endpoint_name}&text=Down:+{error}";
        assert_eq!(
            rendered(template, form, &down()),
            "token=a+b&title=Production%20API&text=Down:+GET%20returned%20502%2C%20expected%20200"
        );
        let up = rendered(template, form, &with_event(Event::Up));
        assert!(
            up.starts_with("token=a+b&title=Production%20API&text=%E2%9C%85%20Production%20API%20is%20back"),
            "{up}"
        );
        assert_eq!(rendered("{endpoint_name} ({group}) is down", None, &down()), "Production API (core) is down");
        let html = rendered("<b>{runbook}</b>", Some("text/html"), &down());
        assert_eq!(html, "<b>https://wiki.example.com/api?a=1&amp;b=2</b>");
        let up = rendered("{endpoint_name} is down", None, &with_event(Event::Up));
        assert!(up.starts_with("✅ Production API is back online\n"), "{up}");
    }

    #[test]
    fn late_and_repeated_messages_are_not_told_as_fresh_outages() {
        let template = r#"{"text": "{endpoint_name} is DOWN"}"#;
        let text = |notification: &Notification| json(template, notification)["text"].as_str().unwrap().to_owned();
        assert_eq!(text(&with_event(Event::DownAgain)), "Production API is DOWN");
        assert!(text(&with_event(Event::Reminder)).contains("is still DOWN (1 h)"));
        let mut late = with_event(Event::Up);
        (late.event, late.told_late) = (Event::Down, true);
        assert!(text(&late).contains("Told late: Production API was down 07:00–07:15"), "{}", text(&late));
    }

    #[test]
    fn what_is_missing_reads_as_in_the_original() {
        let mut bare = down();
        (bare.error, bare.check, bare.runbook, bare.incident, bare.failure_kind) = (None, None, None, None, None);
        bare.endpoint.group.clear();
        let told = json(
            r#"{"a": "{error}|{status_code}|{response_time}|{runbook}|{group}|{duration}", "b": {status_code}}"#,
            &bare,
        );
        assert_eq!(told, json!({"a": "Unknown error|N/A|N/A|N/A|N/A|N/A", "b": null}));
    }

    proptest! {
        #[test]
        fn json_stays_valid_whatever_the_values(name in hostile(), error in hostile(), up in any::<bool>()) {
            let mut notification = with_event(if up { Event::Up } else { Event::Down });
            notification.endpoint_name.clone_from(&name);
            notification.error = Some(error.clone());
            let template = "{\"text\": \"{endpoint_name}: {error}\nmore\", \"name\": \"{endpoint_name}\", \"e\": {error}}";
            let told = json(template, &notification);
            prop_assert_eq!(told.as_object().unwrap().len(), 3);
            prop_assert_eq!(&told["name"], &json!(name));
            prop_assert_eq!(&told["e"], &json!(error));
            if !up {
                prop_assert_eq!(&told["text"], &json!(format!("{name}: {error}\nmore")));
            }
            let form = rendered("a={endpoint_name}&b={error}", Some("application/x-www-form-urlencoded"), &notification);
            let pairs: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            prop_assert_eq!(pairs, vec![("a".to_owned(), name), ("b".to_owned(), error)]);
        }
    }
}
