//! Secrets in the settings of channels: what is shown instead of them, and how writing that back keeps what is stored.

use serde_json::Value;
use url::Url;

use super::error::FieldError;
use super::redaction::{HIDDEN, kept_userinfo, userinfo};
use crate::config::channels::{DEFAULT_SMTP_HOST, DEFAULT_SMTP_PORT, Settings};
use crate::domain::pointer;
use crate::domain::preset::{self, Preset};

/// The keys whose values are secrets, or often hold some, whatever the type; so do the values of all headers. The data
/// files of presets name further ones.
const SECRETS: [&str; 6] = ["url", "secret", "bot_token", "smtp_password", "payload_template", "recovery_template"];

/// Those of them that are sent to where the channel leads. `secret` only signs, and `url` says where that is.
const SENT: [&str; 4] = ["bot_token", "smtp_password", "payload_template", "recovery_template"];

/// The keys of these settings whose values are secrets.
fn secret_keys(settings: &Settings) -> Vec<String> {
    let mut keys: Vec<String> = SECRETS.iter().map(|&key| key.to_owned()).collect();
    match preset_of(settings) {
        Some(preset) => keys.extend(secrets_of(&preset)),
        // Of a type that this version does not know everything that may be one.
        None if !is_transport(settings) => {
            keys.extend(preset::all().unwrap_or_default().iter().flat_map(secrets_of));
        }
        None => {}
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn secrets_of(preset: &Preset) -> Vec<String> {
    preset.options.iter().filter(|option| option.secret).map(|option| option.name.clone()).collect()
}

fn preset_of(settings: &Settings) -> Option<Preset> {
    preset::find(settings.get("type")?.as_str()?)?.ok()
}

fn is_transport(settings: &Settings) -> bool {
    matches!(settings.get("type").and_then(Value::as_str), Some("console" | "email" | "webhook" | "telegram"))
}

/// The settings as they may be shown.
#[must_use]
pub fn redacted(settings: &Settings) -> Settings {
    let mut shown = settings.clone();
    for key in secret_keys(settings) {
        if let Some(value) = shown.get_mut(&key) {
            *value = HIDDEN.into();
        }
    }
    if let Some(Value::Object(headers)) = shown.get_mut("headers") {
        headers.values_mut().for_each(|value| *value = HIDDEN.into());
    }
    shown
}

/// Puts the stored secrets where `***` was written back. `given` is what was sent, `new` what it makes of the channel.
/// Gives the places where nothing is stored to keep, and those whose secret, which nobody wrote out now, would be sent
/// elsewhere than before.
pub(super) fn restore(new: &mut Settings, given: &Settings, stored: Option<&Settings>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for key in secret_keys(new) {
        let Some(value) = new.get_mut(&key) else { continue };
        if is_hidden(value) {
            keep(value, stored.and_then(|stored| stored.get(&key)), &format!("/{key}"), &mut errors);
        }
    }
    restore_userinfo(new, stored, &mut errors);
    let stored_headers = stored.and_then(|stored| stored.get("headers")?.as_object());
    if let Some(Value::Object(headers)) = new.get_mut("headers") {
        for (name, value) in headers.iter_mut().filter(|(_, value)| is_hidden(value)) {
            let same = |(other, _): &(&String, &Value)| other.eq_ignore_ascii_case(name);
            let kept = stored_headers.and_then(|headers| headers.iter().find(same)).map(|(_, value)| value);
            keep(value, kept, &header_pointer(name), &mut errors);
        }
    }
    if let Some(stored) = stored
        && errors.is_empty()
        && let Some(leads_to) = destination(new)
        && destination(stored) != Some(leads_to)
    {
        errors.extend(kept_secrets(new, given).into_iter().map(|pointer| {
            let detail = "the stored value would be sent to another place than before: write it out, or leave it out";
            FieldError::at(pointer, "conflict", detail)
        }));
    }
    errors
}

fn is_hidden(value: &Value) -> bool {
    value.as_str() == Some(HIDDEN)
}

fn keep(value: &mut Value, stored: Option<&Value>, pointer: &str, errors: &mut Vec<FieldError>) {
    match stored {
        Some(stored) => *value = stored.clone(),
        None => errors.push(FieldError::at(pointer, "invalid", "no value is stored that *** could keep")),
    }
}

/// User and password of a URL that is written out, but for them.
fn restore_userinfo(new: &mut Settings, stored: Option<&Settings>, errors: &mut Vec<FieldError>) {
    let Some(Value::String(url)) = new.get_mut("url") else { return };
    let Some(range) = userinfo(url).filter(|range| url.get(range.clone()) == Some(HIDDEN)) else { return };
    let old = stored.and_then(|stored| stored.get("url")?.as_str());
    match old.and_then(|old| kept_userinfo(old, url)) {
        Some(kept) => url.replace_range(range, &kept),
        None => {
            let detail = "no user and password are stored for this host that *** could keep: write them out";
            errors.push(FieldError::at("/url", "invalid", detail));
        }
    }
}

/// Secrets that are in `new` without having been written out.
fn kept_secrets(new: &Settings, given: &Settings) -> Vec<String> {
    let is_kept = |value: Option<&Value>| value.is_none_or(is_hidden);
    let of_preset = preset_of(new).map(|preset| secrets_of(&preset)).unwrap_or_default();
    let sent = SENT.iter().copied().chain(of_preset.iter().map(String::as_str).filter(|key| *key != "url"));
    let mut kept: Vec<String> =
        sent.filter(|key| new.contains_key(*key) && is_kept(given.get(*key))).map(|key| format!("/{key}")).collect();
    let given = given.get("headers").and_then(Value::as_object);
    for (name, _) in new.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let written = given.and_then(|headers| headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)));
        if is_kept(written.map(|(_, value)| value)) {
            kept.push(header_pointer(name));
        }
    }
    kept
}

fn header_pointer(name: &str) -> String {
    format!("/headers/{}", pointer::step(name))
}

/// Where a channel leads: scheme, host and port, or the mail server and how it is spoken with. `None`: nowhere, so that nothing is sent.
fn destination(settings: &Settings) -> Option<String> {
    let text = |key: &str| settings.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin().ascii_serialization());
    match text("type")? {
        "email" => {
            let value = |key: &str| {
                settings.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let host = text("smtp_host").unwrap_or(DEFAULT_SMTP_HOST).to_ascii_lowercase();
            let port = value("smtp_port").unwrap_or_else(|| DEFAULT_SMTP_PORT.to_string());
            // Who listens on the way, and who may pass for the server, is a part of it.
            let is_encrypted = value("smtp_use_tls").unwrap_or_else(|| true.to_string());
            Some(format!("mail server {host}:{port}, encrypted: {is_encrypted}, trusted: {:?}", text("ca_file")))
        }
        "telegram" => origin(text("api_url").unwrap_or("https://api.telegram.org")),
        "webhook" => origin(text("url")?),
        _ => {
            let value = |key: &str| text(key).map(str::to_owned);
            origin(&preset_of(settings)?.destination(&value)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(json: Value) -> Settings {
        let Value::Object(settings) = json else { panic!("not an object") };
        settings
    }

    fn hook() -> Settings {
        settings(json!({
            "type": "webhook", "url": "https://u:p@a.example/TOKEN", "headers": {"X-Key": "1", "Accept": "2"},
            "secret": "3", "payload_template": "4", "method": "PUT"
        }))
    }

    /// What a replacement makes of the stored channel, or the pointers of its mistakes.
    fn replaced(stored: &Settings, new: Value) -> Result<Settings, Vec<String>> {
        let given = settings(new);
        let mut new = given.clone();
        let errors = restore(&mut new, &given, Some(stored));
        let place = |error: FieldError| match error.place {
            crate::service::error::Place::Pointer(pointer) => pointer,
            other => panic!("{other:?}"),
        };
        if errors.is_empty() { Ok(new) } else { Err(errors.into_iter().map(place).collect()) }
    }

    #[test]
    fn what_is_shown_can_be_written_back() {
        let shown = redacted(&hook());
        for secret in ["u:p", "TOKEN", "\"1\"", "\"2\"", "\"3\"", "\"4\""] {
            assert!(!Value::Object(shown.clone()).to_string().contains(secret), "{shown:?}");
        }
        assert_eq!(shown["method"], "PUT");
        assert_eq!(replaced(&hook(), Value::Object(shown)).unwrap(), hook());
        let mut new = hook();
        assert!(restore(&mut new, &hook(), None).is_empty(), "nothing is hidden");
        let mut new = redacted(&hook());
        assert_eq!(restore(&mut new.clone(), &new.clone(), None).len(), 5, "nothing is stored");
        new.remove("headers");
        assert_eq!(replaced(&hook(), Value::Object(new)).unwrap().len(), 5);
    }

    #[test]
    fn secrets_of_presets_are_hidden() {
        let sms = json!({"type": "twilio_sms", "auth_token": "1", "to": "+49", "account_sid": "AC"});
        let hidden = json!({"type": "twilio_sms", "auth_token": "***", "to": "+49", "account_sid": "AC"});
        assert_eq!(Value::Object(redacted(&settings(sms))), hidden);
        let of_later = json!({"type": "carrier_pigeon", "auth_token": "1", "routing_key": "2", "to": "3"});
        let hidden = json!({"type": "carrier_pigeon", "auth_token": "***", "routing_key": "***", "to": "3"});
        assert_eq!(Value::Object(redacted(&settings(of_later))), hidden);
    }

    #[test]
    fn a_kept_secret_goes_nowhere_else() {
        let elsewhere = json!({"type": "webhook", "url": "https://b.example/x", "headers": {"x-key": "***", "Accept": "new"},
                               "secret": "***", "payload_template": "***"});
        assert_eq!(replaced(&hook(), elsewhere).unwrap_err(), ["/payload_template", "/headers/x-key"]);
        let same = json!({"type": "webhook", "url": "https://***@a.example/other", "headers": {"x-key": "***"}});
        assert_eq!(replaced(&hook(), same).unwrap()["url"], "https://u:p@a.example/other");
        let other_port = json!({"type": "webhook", "url": "https://***@a.example:444/"});
        assert_eq!(replaced(&hook(), other_port).unwrap_err(), ["/url"]);
        let mail = settings(json!({"type": "email", "smtp_host": "a.example", "smtp_password": "1"}));
        let moved = |host: &str| json!({"type": "email", "smtp_host": host, "smtp_password": "***"});
        assert_eq!(replaced(&mail, moved("b.example")).unwrap_err(), ["/smtp_password"]);
        assert_eq!(replaced(&mail, moved("A.example")).unwrap()["smtp_password"], "1");
        let with = |more: Value| {
            let mut new = moved("a.example");
            new.as_object_mut().unwrap().extend(settings(more));
            replaced(&mail, new)
        };
        assert!(with(json!({"smtp_port": 587, "smtp_use_tls": true})).is_ok(), "as it was");
        for elsewhere in [json!({"smtp_port": 25}), json!({"smtp_use_tls": false}), json!({"ca_file": "/tmp/ca.pem"})] {
            assert_eq!(with(elsewhere).unwrap_err(), ["/smtp_password"]);
        }
        let page = settings(json!({"type": "pagerduty", "routing_key": "1", "api_url": "https://a.example"}));
        let moved = |api_url: &str| json!({"type": "pagerduty", "routing_key": "***", "api_url": api_url});
        assert_eq!(replaced(&page, moved("https://b.example")).unwrap_err(), ["/routing_key"]);
        assert_eq!(replaced(&page, moved("https://a.example/x")).unwrap()["routing_key"], "1");
        let back = json!({"type": "pagerduty", "routing_key": "***"});
        assert_eq!(replaced(&page, back).unwrap_err(), ["/routing_key"], "to the service itself");
        let chat = settings(json!({"type": "telegram", "bot_token": "1:a"}));
        let moved = json!({"type": "telegram", "bot_token": "***", "api_url": "https://b.example"});
        assert_eq!(replaced(&chat, moved).unwrap_err(), ["/bot_token"]);
    }

    #[test]
    fn what_a_patch_leaves_alone_goes_nowhere_else_either() {
        let given = settings(json!({"url": "https://b.example/x"}));
        let mut new = hook();
        new.insert("url".to_owned(), json!("https://b.example/x"));
        assert_eq!(restore(&mut new, &given, Some(&hook())).len(), 3, "two headers and the template");
    }
}
