//! What the services' documentation says of their bodies, written down beside the data files: which fields there are,
//! which of them must be there, and how long they may be.

use serde_json::Value;

/// Of one service.
pub(super) struct Documented {
    /// Paths of fields; `*` stands for every item of a list, `**` for anything below.
    fields: &'static [&'static str],
    required: &'static [&'static str],
    /// Of a field, in characters.
    limits: &'static [(&'static str, usize)],
    /// Of the whole body.
    max_bytes: usize,
    /// Fields that take one of some values.
    values: &'static [(&'static str, &'static [&'static str])],
}

const CARD: &str = "attachments.*.content.";

pub(super) fn documented(name: &str) -> Documented {
    let usual = Documented { fields: &[], required: &[], limits: &[], max_bytes: usize::MAX, values: &[] };
    match name {
        // https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        "slack" => Documented { fields: &["text"], required: &["text"], limits: &[("text", 40_000)], ..usual },
        // https://docs.discord.com/developers/resources/webhook#execute-webhook
        "discord" => Documented {
            fields: &["content", "username", "avatar_url", "tts", "allowed_mentions.parse", "flags"],
            required: &["content", "allowed_mentions.parse"],
            limits: &[("content", 2000), ("username", 80)],
            ..usual
        },
        // https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using,
        // https://adaptivecards.io/explorer/
        "teams" => Documented {
            fields: &[
                "type",
                "attachments.*.contentType",
                "attachments.*.contentUrl",
                "attachments.*.content.$schema",
                "attachments.*.content.type",
                "attachments.*.content.version",
                "attachments.*.content.msteams.width",
                "attachments.*.content.body.*.type",
                "attachments.*.content.body.*.spacing",
                "attachments.*.content.body.*.inlines.*.type",
                "attachments.*.content.body.*.inlines.*.text",
                "attachments.*.content.body.*.inlines.*.weight",
                "attachments.*.content.body.*.inlines.*.size",
                "attachments.*.content.body.*.inlines.*.color",
                "attachments.*.content.actions.*.type",
                "attachments.*.content.actions.*.title",
                "attachments.*.content.actions.*.url",
            ],
            required: &[
                "type",
                "attachments.*.contentType",
                "attachments.*.content.type",
                "attachments.*.content.body",
            ],
            max_bytes: 28 * 1024,
            values: &[
                ("type", &["message"]),
                ("attachments.*.contentType", &["application/vnd.microsoft.card.adaptive"]),
                ("attachments.*.content.body.*.inlines.*.color", &["Default", "Good", "Warning", "Attention"]),
            ],
            ..usual
        },
        // https://developers.mattermost.com/integrate/webhooks/incoming/#parameters
        "mattermost" => Documented {
            fields: &["text", "channel", "username", "icon_url"],
            required: &["text"],
            limits: &[("text", 4000)],
            ..usual
        },
        // https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages
        "google_chat" => Documented {
            fields: &["text", "thread.threadKey"],
            required: &["text"],
            limits: &[("text", 4096), ("thread.threadKey", 4000)],
            max_bytes: 32_000,
            ..usual
        },
        // https://spec.matrix.org/v1.16/client-server-api/#mtext
        "matrix" => Documented {
            fields: &["msgtype", "body", "format", "formatted_body", "m.mentions"],
            required: &["msgtype", "body", "m.mentions"],
            max_bytes: 64_000,
            values: &[("msgtype", &["m.text", "m.notice"]), ("format", &["org.matrix.custom.html"])],
            ..usual
        },
        // https://docs.ntfy.sh/publish/#publish-as-json; a message of more bytes becomes an attachment
        "ntfy" => Documented {
            fields: &["topic", "title", "message", "priority", "click", "actions.**"],
            required: &["topic", "message"],
            max_bytes: 2 * 4096,
            limits: &[("message", 4096)],
            ..usual
        },
        // https://gotify.net/api-docs, https://gotify.net/docs/msgextras
        "gotify" => {
            Documented { fields: &["title", "message", "priority", "extras.**"], required: &["message"], ..usual }
        }
        // https://pushover.net/api
        "pushover" => Documented {
            fields: &[
                "token",
                "user",
                "device",
                "title",
                "message",
                "url",
                "url_title",
                "priority",
                "retry",
                "expire",
                "sound",
                "timestamp",
            ],
            required: &["token", "user", "message"],
            limits: &[("message", 1024), ("title", 250), ("url", 512), ("url_title", 100)],
            values: &[("priority", &["-2", "-1", "0", "1", "2"])],
            ..usual
        },
        // https://developer.pagerduty.com/docs/send-alert-event
        "pagerduty" => Documented {
            fields: &[
                "routing_key",
                "event_action",
                "dedup_key",
                "client",
                "client_url",
                "payload.summary",
                "payload.source",
                "payload.severity",
                "payload.timestamp",
                "payload.component",
                "payload.group",
                "payload.class",
                "payload.custom_details.**",
                "links.*.href",
                "links.*.text",
            ],
            required: &["routing_key", "event_action", "dedup_key"],
            limits: &[("payload.summary", 1024), ("dedup_key", 255)],
            max_bytes: 512 * 1024,
            values: &[
                ("event_action", &["trigger", "acknowledge", "resolve"]),
                ("payload.severity", &["critical", "error", "warning", "info"]),
            ],
        },
        // https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml, postableAlerts
        "alertmanager" => Documented {
            fields: &["*.labels.**", "*.annotations.**", "*.startsAt", "*.endsAt", "*.generatorURL"],
            required: &["*.labels.alertname", "*.labels.incident", "*.startsAt", "*.endsAt"],
            ..usual
        },
        // https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
        "twilio_sms" => Documented {
            fields: &["To", "From", "MessagingServiceSid", "Body"],
            required: &["To", "Body"],
            limits: &[("Body", 1600)],
            ..usual
        },
        _ => panic!("nobody has written down what {name} documents"),
    }
}

impl Documented {
    pub(super) fn check(&self, name: &str, body: &Value) {
        let mut found = Vec::new();
        walk(body, String::new(), &mut found);
        for (path, value) in &found {
            let known = self.fields.iter().any(|field| match field.strip_suffix("**") {
                Some(start) => path.starts_with(start),
                None => field == path,
            });
            assert!(known, "{name} documents no {path}: {body}");
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            for (_, max) in self.limits.iter().filter(|(field, _)| field == path) {
                assert!(text.encode_utf16().count() <= *max, "{name}: {path} has more than {max} characters");
            }
            for (_, values) in self.values.iter().filter(|(field, _)| field == path) {
                assert!(values.contains(&text.as_str()), "{name}: {path} is {text}");
            }
            if !path.starts_with(CARD) || path.ends_with("text") {
                assert!(!text.is_empty(), "{name}: {path} is empty");
            }
        }
        for required in self.required {
            let there = found.iter().any(|(path, _)| path == required || path.starts_with(&format!("{required}.")));
            assert!(there, "{name} requires {required}: {body}");
        }
        let bytes = body.to_string().len();
        assert!(bytes <= self.max_bytes, "{name}: a body of {bytes} bytes");
        if name == "pagerduty" && body["event_action"] == "trigger" {
            for required in ["summary", "source", "severity"] {
                assert!(body["payload"][required].is_string(), "{name} requires payload.{required}: {body}");
            }
        }
    }
}

/// Every value that holds no others, by its path.
fn walk(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                walk(value, below(key), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                walk(item, below("*"), found);
            }
        }
        value => found.push((path, value.clone())),
    }
}

/// All texts of a body.
pub(super) fn texts_of(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(body, String::new(), &mut found);
    found.into_iter().filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
}
