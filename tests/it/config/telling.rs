//! Channels, routes and what endpoints say of telling.

use api_monitor::config::ChannelConfig;
use api_monitor::config::channels::{EmailConfig, SmtpSecurity, TelegramParseMode, WebhookConfig};
use api_monitor::domain::alert_policy::{AlertPolicy, EscalationStep, FailureThreshold, FlapPolicy, ReminderPolicy};
use api_monitor::domain::endpoint::{Endpoint, EndpointSettings, resolve};
use api_monitor::domain::notification::Severity;

use super::*;

fn channel<'c>(config: &'c Config, name: &str) -> &'c ChannelConfig {
    config.channels.iter().find(|channel| channel.name == name).unwrap_or_else(|| panic!("no channel {name}"))
}

fn email<'c>(config: &'c Config, name: &str) -> &'c EmailConfig {
    let Transport::Email(email) = &channel(config, name).transport else { panic!("{name} is no email") };
    email
}

fn webhook<'c>(config: &'c Config, name: &str) -> &'c WebhookConfig {
    let Transport::Webhook(webhook) = &channel(config, name).transport else { panic!("{name} is no webhook") };
    webhook
}

/// The names of the channels, those that are off in brackets.
fn on(config: &Config) -> String {
    let shown = |c: &ChannelConfig| if c.enabled { c.name.clone() } else { format!("({})", c.name) };
    config.channels.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn endpoint<'c>(config: &'c Config, name: &str) -> &'c Endpoint {
    &config.endpoints.iter().find(|e| e.endpoint.name == name).unwrap_or_else(|| panic!("no {name}")).endpoint
}

#[test]
fn channels_have_their_keys_and_defaults() {
    let config = good(
        r#"
public_url: https://monitor.example/x
channels:
  terminal: {type: console}
  mail:
    type: email
    smtp_host: smtp.example.com
    from_addr: monitor@example.com
    to_addrs: [ops@example.com, dev@example.com, ops@example.com]
  plain mail: {type: email, smtp_user: me@example.com, smtp_password: pw, to_addrs: "a@example.com, b@example.com",
               smtp_port: 465, severity: critical, default: false, fallback: [terminal]}
  hook: {type: webhook, url: "https://hook.example/x"}
  full hook: {type: webhook, url: "http://10.0.0.1:8080/x", method: put, headers: {X-Token: abc, Version: 2},
              retry_count: 1, retry_delay: 0, timeout: 500ms, payload_template: '{"text": "{endpoint_name}"}',
              recovery_template: "{status}", secret: whsec_abc}
  chat: {type: telegram, bot_token: "123:abc", chat_id: -100123, topic_id: 7, parse_mode: html,
         message_template: "{error}", api_url: "http://127.0.0.1:1"}
  team: {type: slack, url: "https://hooks.slack.com/services/T/B/X"}
"#,
    );
    assert_eq!(on(&config), "terminal mail plain mail hook full hook chat team");
    assert_eq!(config.channel_names[2], "plain mail");
    assert_eq!(config.warnings, []);
    let terminal = channel(&config, "terminal");
    assert_eq!((terminal.default, terminal.severity, terminal.fallback.len()), (true, None, 0));
    assert_eq!(terminal.transport, Transport::Console);

    let mail = email(&config, "mail");
    assert_eq!((mail.smtp_host.as_str(), mail.smtp_port), ("smtp.example.com", 587));
    assert_eq!((mail.security, &mail.login), (SmtpSecurity::StartTls, &None));
    assert_eq!((mail.from_addr.as_str(), mail.from_name.as_str()), ("monitor@example.com", "API Monitor"));
    assert_eq!(mail.to_addrs, ["ops@example.com", "dev@example.com"]);
    assert_eq!((&mail.subject_template, &mail.body_template, &mail.ca_file), (&None, &None, &None));

    let plain = email(&config, "plain mail");
    assert_eq!((plain.smtp_host.as_str(), plain.security), ("smtp.gmail.com", SmtpSecurity::Tls));
    assert_eq!(plain.login, Some(("me@example.com".to_owned(), Secret::new("pw"))));
    assert_eq!(plain.from_addr, "me@example.com", "the user is an address");
    assert_eq!(plain.to_addrs, ["a@example.com", "b@example.com"]);
    let of_plain = channel(&config, "plain mail");
    assert_eq!((of_plain.severity, of_plain.default), (Some(Severity::Critical), false));
    assert_eq!(of_plain.fallback, ["terminal"]);

    let hook = webhook(&config, "hook");
    assert_eq!((hook.url.expose(), hook.method.as_str(), hook.headers.len()), ("https://hook.example/x", "POST", 0));
    let seconds = Duration::from_secs;
    assert_eq!((hook.retry_count, hook.retry_delay, hook.timeout), (3, seconds(5), seconds(10)));
    assert_eq!((&hook.payload_template, &hook.recovery_template, &hook.secret), (&None, &None, &None));
    let full = webhook(&config, "full hook");
    assert_eq!((full.method.as_str(), full.headers["Version"].expose()), ("PUT", "2"));
    assert_eq!((full.retry_count, full.retry_delay, full.timeout), (1, seconds(0), Duration::from_millis(500)));
    assert_eq!(full.payload_template.as_deref(), Some(r#"{"text": "{endpoint_name}"}"#));
    assert_eq!(
        (full.recovery_template.as_deref(), full.secret.as_ref().unwrap().expose()),
        (Some("{status}"), "whsec_abc")
    );

    let Transport::Telegram(chat) = &channel(&config, "chat").transport else { panic!("no telegram") };
    assert_eq!((chat.bot_token.expose(), chat.chat_id.as_str(), chat.topic_id), ("123:abc", "-100123", Some(7)));
    assert_eq!((chat.parse_mode, chat.api_url.as_str()), (TelegramParseMode::Html, "http://127.0.0.1:1"));
    let Transport::Preset { preset, options } = &channel(&config, "team").transport else { panic!("no preset") };
    assert_eq!((preset.as_str(), options["url"].expose()), ("slack", "https://hooks.slack.com/services/T/B/X"));
}

#[test]
fn the_originals_channels_are_channels_of_their_names() {
    let config = good(ORIGINAL_GUIDE);
    assert_eq!(on(&config), "email webhook (telegram)");
    assert!(config.telling.enabled);
    let mail = email(&config, "email");
    assert_eq!(
        (mail.smtp_host.as_str(), mail.smtp_port, mail.security),
        ("smtp.gmail.com", 587, SmtpSecurity::StartTls)
    );
    assert_eq!(
        mail.login.as_ref().map(|(user, password)| (user.as_str(), password.expose())),
        Some(("your-email@gmail.com", "app-password"))
    );
    assert_eq!(mail.subject_template.as_deref(), Some("🚨 Alert: {endpoint_name} is DOWN"));
    assert_eq!(webhook(&config, "webhook").headers["Content-Type"].expose(), "application/json");
    let Transport::Telegram(chat) = &channel(&config, "telegram").transport else { panic!("no telegram") };
    assert_eq!((chat.parse_mode, chat.api_url.as_str()), (TelegramParseMode::Markdown, "https://api.telegram.org"));

    let off = good(ORIGINAL_MINIMAL);
    assert!(!off.telling.enabled && off.channels.is_empty());
    for (tls, port, security) in [
        ("false", 25, SmtpSecurity::None),
        ("false", 465, SmtpSecurity::None),
        ("true", 465, SmtpSecurity::Tls),
        ("true", 2525, SmtpSecurity::StartTls),
    ] {
        let text = format!("notifications: {{email: {{smtp_use_tls: {tls}, smtp_port: {port}}}}}");
        assert_eq!(email(&good(&text), "email").security, security, "{text}");
    }
}

#[test]
fn variables_turn_a_channel_on_when_all_it_needs_is_there() {
    let smtp =
        [("SMTP_HOST", "mx.example"), ("EMAIL_FROM", "m@example.com"), ("EMAIL_TO", "a@example.com, b@example.com")];
    let login = [("SMTP_USER", "me"), ("SMTP_PASSWORD", "hunter2")];
    let bot = [("TELEGRAM_BOT_TOKEN", "1:hunter2"), ("TELEGRAM_CHAT_ID", "@ops")];
    let hook = [("WEBHOOK_URL", "https://hook.example/hunter2")];
    let with = |file: &str, variables: &[&[(&str, &str)]]| {
        let pairs = variables.iter().copied().flatten();
        pairs.fold(yaml(file), |case, (name, value)| case.env(name, value)).good("config.yaml")
    };
    let config = with("", &[&smtp, &login, &bot, &hook]);
    assert_eq!(on(&config), "email webhook telegram");
    assert_eq!(email(&config, "email").to_addrs, ["a@example.com", "b@example.com"]);
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(on(&with("", &[&smtp])), "email");
    assert_eq!(on(&with("", &[&smtp[1..], &login])), "email", "the default host and a login");

    // Not all of it, and who says so.
    let config = with("", &[&smtp, &login[..1], &bot[1..]]);
    assert_eq!(on(&config), "(email) (telegram)");
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variable SMTP_HOST  notifications.email: is off: SMTP_PASSWORD is not set",
            "environment variable TELEGRAM_CHAT_ID  notifications.telegram: is off: TELEGRAM_BOT_TOKEN is not set",
        ]
    );
    let config = with("", &[&[("SMTP_PORT", "587")]]);
    assert_eq!((on(&config).as_str(), config.warnings.len()), ("(email)", 0), "a port alone means nothing");

    // The file has the last word.
    let config = with("notifications: {email: {enabled: false}, webhook: {enabled: false}}", &[&smtp, &hook]);
    assert_eq!((on(&config).as_str(), config.warnings.len()), ("(email) (webhook)", 0));
    let config = with("notifications: {webhook: {method: PUT}, telegram: {chat_id: 5}}", &[&hook, &bot[..1]]);
    assert_eq!(on(&config), "webhook telegram");
    assert_eq!(webhook(&config, "webhook").method, "PUT");
    let config = with("notifications: {webhook: {url: 'https://hook.example'}}", &[]);
    assert_eq!(on(&config), "(webhook)");
    assert!(config.warnings[0].to_string().ends_with("is off: `enabled: true` turns it on"), "{}", config.warnings[0]);

    let wrong = yaml("").env("WEBHOOK_URL", "hunter2").errors("config.yaml");
    assert_eq!(
        wrong,
        "environment variable WEBHOOK_URL  notifications.webhook.url\n  \
                       is not a URL (relative URL without a base): https://… is expected"
    );
}

#[test]
fn a_variable_that_a_channel_uses_makes_no_second_one() {
    let file = r#"
public_url: https://monitor.example
channels:
  mail: {type: email, smtp_host: "${SMTP_HOST}", from_addr: "${EMAIL_FROM:-m@example.com}", to_addrs: "${EMAIL_TO}"}
  hook: {type: webhook, url: "${WEBHOOK_URL_OTHER}"}
"#;
    let case = yaml(file)
        .env("SMTP_HOST", "mx.example")
        .env("EMAIL_FROM", "x@example.com")
        .env("EMAIL_TO", "a@example.com,b@example.com")
        .env("WEBHOOK_URL_OTHER", "https://hook.example")
        .env("WEBHOOK_URL", "https://other.example");
    let config = case.good("config.yaml");
    assert_eq!(on(&config), "mail hook webhook");
    assert_eq!(config.warnings, []);
    assert_eq!(email(&config, "mail").to_addrs, ["a@example.com", "b@example.com"]);

    let case = yaml("channels: {webhook: {type: console}}").env("WEBHOOK_URL", "https://other.example");
    assert_eq!(on(&case.good("config.yaml")), "webhook");
    assert_eq!(
        case.warnings("config.yaml"),
        "environment variable WEBHOOK_URL  notifications.webhook: is ignored: the name `webhook` is taken: channels.webhook has it"
    );
}

#[test]
fn channels_may_stand_in_variables() {
    let config = yaml("channels: {Team: {type: slack}}\npublic_url: https://monitor.example/")
        .env("API_MONITOR__CHANNELS__TEAM__URL", "https://hooks.example/x")
        .env("API_MONITOR__CHANNELS__OPS", "{type: webhook, url: 'https://ops.example'}")
        .env("API_MONITOR__NOTIFICATIONS__EMAIL", "{enabled: true, smtp_host: mx, from_addr: a@b, to_addrs: [c@d]}")
        .env("API_MONITOR__NOTIFY", "Team, ops")
        .env("API_MONITOR__HEARTBEAT__URL", "https://beat.example")
        .env("API_MONITOR__NOTIFICATIONS__SEND_RECOVERY", "false")
        .env("API_MONITOR__NOTIFICATIONS__COOLDOWN_SECONDS", "1m")
        .env("API_MONITOR__DEFAULTS__ALERT_POLICY__REMINDER", "false")
        .env("API_MONITOR__ENDPOINTS", "['https://one.example']")
        .good("config.yaml");
    assert_eq!(on(&config), "Team ops email");
    assert_eq!(config.telling.default_route.as_deref().unwrap(), ["Team", "ops"]);
    let policy = &endpoint(&config, "one.example").alert_policy;
    assert_eq!((policy.send_recovery, policy.cooldown, policy.reminder), (false, Duration::from_mins(1), None));
    assert_eq!(config.telling.heartbeat.unwrap().every, Duration::from_secs(60));
}

#[test]
fn mistaken_channels_are_told_all_at_once() {
    snapshot!(errors(
        r#"
public_url: monitor.example
notify: [mail, mial, nobody]
heartbeat: {evry: 5}
channels:
  console: {type: consol}
  typeless: {url: "https://hook.example"}
  nothing:
  a/b: {type: console}
  mail:
    type: email
    smtp_host: "mx example"
    smtp_port: 0
    smtp_user: me
    to_addr: ops@example.com
    from_addr: monitor
    from_name: "a\nb"
    severity: high
    fallback: [mail, hok]
    subject_template: "{endpoint} is {status}"
  mails: {type: email, smtp_password: hunter2, to_addrs: [ops@example.com, ops]}
  hook: {type: webhook, url: "ftp://hunter2.example", method: "P OST", retry_count: 0, retry_delay: 1h, timeout: 0,
         headers: {"a b": hunter2, c: "hunter2\nx"}, payload_template: '{"t": "{eror} {nothing_known}"}', template: x}
  bare: {type: webhook}
  chat: {type: telegram, chat_id: ops, topic_id: 0, parse_mode: Markdwn, api_url: "https://hunter2@api.example"}
  bot: {type: telegram, bot_token: "hunter2 hunter2", chat_id: 1}
  team: {type: slack, url: "", channel: ops}
  off: {type: webhook, enabled: false, url: YOUR_URL, timeout: soon}
notifications:
  webhook: {enabled: true, url: "https://hook.example", default: maybe}
  telegram: {enabled: true, type: telegram, bot_token: ""}
endpoints:
  - {name: one, url: "https://one.example", notify: [bto, hook], severity: urgent, runbook: "wiki/{name}"}
"#
    ));
}

#[test]
fn a_name_in_both_places_and_a_second_name_of_a_key_are_mistakes() {
    snapshot!(errors(
        r"
channels: {email: {type: console}}
notifications:
  cooldown_seconds: 60
  send_recovery: maybe
  email: {enabled: false}
defaults: {alert_policy: {cooldown_seconds: 60}}
"
    ));
    for (text, words) in [
        ("channels: []", "expected a mapping of channels; found a list"),
        ("channels: {a: {type: console, fallback: [b]}}", "there is no channel `b`: there are a"),
        ("notify: [a]", "there is no channel `a`: no channel is configured"),
        ("notify: a", "expected a list"),
        ("heartbeat: {every: 5}", "the heartbeat has no `url` to call"),
        ("heartbeat: {url: 'https://a.example', every: 0}", "must be 1 s to 24 h"),
        ("public_url: https://u:p@monitor.example", "must not hold user and password"),
        ("public_url: https://monitor.example/?a=b", "must end with its path"),
    ] {
        let told = errors(text);
        assert!(told.contains(words), "{text}: {told}");
    }
    assert!(!errors("heartbeat: {url: 'hunter2'}").contains("hunter2"));
}

#[test]
fn unset_variables_of_channels_may_be_allowed() {
    let case = yaml(
        r#"
public_url: ${PUBLIC}
heartbeat: {url: "${BEAT}"}
notify: ["${WHO}"]
channels:
  mail: {type: email, smtp_host: "${HOST}", from_addr: "${FROM}", to_addrs: ["${TO}"]}
  team: {type: slack, url: "${URL}"}
  typed: {type: "${TYPE}"}
notifications: {telegram: {enabled: true, bot_token: "${TOKEN}", chat_id: "${CHAT}"}}
"#,
    );
    snapshot!(case.errors("config.yaml"));
    let config = case.allow_missing_env().good("config.yaml");
    assert_eq!(on(&config), "mail team telegram");
}

#[test]
fn telling_as_a_whole() {
    let config = good("");
    assert!(config.telling.enabled && config.telling.default_route.is_none() && config.telling.heartbeat.is_none());
    let text = "channels: {a: {type: console}}\nnotify: []\npublic_url: http://monitor.example:8000/base\n\
                heartbeat: {url: 'https://beat.example/hunter2', every: 5m}\n";
    let config = good(text);
    assert_eq!(config.telling.default_route, Some(Vec::new()));
    assert_eq!(config.telling.public_url.as_ref().unwrap().as_str(), "http://monitor.example:8000/base/");
    let heartbeat = config.telling.heartbeat.as_ref().unwrap();
    assert_eq!((heartbeat.url.expose(), heartbeat.every), ("https://beat.example/hunter2", Duration::from_mins(5)));
    assert!(!format!("{config:?}").contains("hunter2"));

    let slack = "channels: {a: {type: console}, b: {type: slack, url: 'https://hooks.example'}}";
    for (text, warned) in [
        (slack.to_owned(), true),
        (slack.replace("slack,", "slack, enabled: false,"), false),
        (format!("{slack}\npublic_url: https://monitor.example"), false),
        (format!("{slack}\nnotifications: {{enabled: false}}"), false),
        ("channels: {a: {type: console}}".to_owned(), false),
    ] {
        let warnings = yaml(&text).warnings("config.yaml");
        assert_eq!(warnings.starts_with("config.yaml:1:32  public_url: is not set"), warned, "{text}: {warnings}");
        assert_eq!(warnings.is_empty(), !warned, "{text}: {warnings}");
    }
}

#[test]
fn endpoints_inherit_whom_they_tell_and_how() {
    let config = good(
        r#"
channels: {a: {type: console}, b: {type: console}, c: {type: console, enabled: false}}
notifications: {cooldown_seconds: 10m}
defaults:
  notify: [a]
  runbook: https://wiki.example/{group}/{name}
  alert_policy: {reminder: {every: 10m, max: 1h}, failure_threshold: 3}
groups:
  quiet:
    severity: info
    alert_policy: {send_recovery: false, reminder: false}
    endpoints:
      plain: https://plain.example
      loud: {url: "https://loud.example", notify: [b, c, b], severity: critical, alert_policy: {reminder: {backoff: 1}}}
endpoints:
  - {name: "no one", url: "https://nobody.example", notify: [], alert_policy: {cooldown_seconds: 0, reminder: {every: 20m}}}
  - {name: routed, url: "https://routed.example", notify: null, runbook: "https://wiki.example/other"}
"#,
    );
    let plain = endpoint(&config, "plain");
    assert_eq!(plain.notify.as_deref().unwrap(), ["a"]);
    assert_eq!(plain.severity, Severity::Info);
    assert_eq!(plain.runbook.as_deref(), Some("https://wiki.example/quiet/plain"));
    assert_eq!(
        plain.alert_policy,
        AlertPolicy {
            failure_threshold: FailureThreshold::in_a_row(3),
            send_recovery: false,
            cooldown: Duration::from_mins(10),
            reminder: None,
            ..AlertPolicy::default()
        }
    );
    let loud = endpoint(&config, "loud");
    assert_eq!(
        (loud.notify.as_deref().unwrap(), loud.severity),
        (["b", "c"].map(String::from).as_slice(), Severity::Critical)
    );
    let reminder = |every, backoff, max| {
        Some(ReminderPolicy { every: Duration::from_mins(every), backoff, max: Duration::from_mins(max) })
    };
    assert_eq!(loud.alert_policy.reminder, reminder(60, 1.0, 24 * 60), "`false` between them cuts off the defaults");
    let nobody = endpoint(&config, "no one");
    assert_eq!(nobody.notify.as_deref(), Some([].as_slice()));
    assert_eq!((nobody.alert_policy.cooldown, nobody.alert_policy.reminder), (Duration::ZERO, reminder(20, 2.0, 60)));
    assert_eq!(nobody.runbook.as_deref(), Some("https://wiki.example//no%20one"));
    assert_eq!(endpoint(&config, "routed").notify.as_deref().unwrap(), ["a"], "null is not set");

    let unset = good("endpoints: ['https://one.example']");
    let unset = endpoint(&unset, "one.example");
    assert_eq!((&unset.notify, unset.severity, &unset.runbook), (&None, Severity::Critical, &None));
    assert_eq!(unset.alert_policy.reminder, reminder(60, 2.0, 24 * 60));
    assert_eq!((unset.alert_policy.send_recovery, unset.alert_policy.cooldown), (true, Duration::from_mins(5)));
}

#[test]
fn endpoints_inherit_when_they_are_down_and_who_hears_of_it() {
    let config = good(
        r#"
channels: {a: {type: console}, b: {type: console}}
defaults:
  interval: 120
  alert_policy: {failure_threshold: {failures: 3, of: 5}, flap: {changes: 4}, escalation: [{after: 15m, notify: [a]}]}
groups:
  quiet:
    alert_policy: {flap: false, acknowledge_for: 1h, no_data_after: 0}
    endpoints:
      plain: https://plain.example
      loud:
        url: https://loud.example
        interval: 10
        alert_policy: {failure_threshold: 2, flap: true, escalation: [{after: 5m, notify: [a]}, {after: 30m, notify: [b, a, b]}]}
endpoints: [{name: other, url: "https://other.example"}]
"#,
    );
    let step = |minutes, names: &[&str]| EscalationStep {
        after: Duration::from_mins(minutes),
        notify: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let plain = &endpoint(&config, "plain").alert_policy;
    assert_eq!(plain.failure_threshold, FailureThreshold { failures: 3, of: 5 });
    assert_eq!((plain.flap, plain.no_data_after), (None, None));
    assert_eq!((plain.acknowledge_for, &plain.escalation), (Duration::from_hours(1), &vec![step(15, &["a"])]));
    let loud = &endpoint(&config, "loud").alert_policy;
    assert_eq!(loud.failure_threshold, FailureThreshold::in_a_row(2));
    assert_eq!(loud.flap, Some(FlapPolicy { changes: 6, window: Duration::from_mins(10) }), "`false` cuts off");
    assert_eq!(loud.escalation, [step(5, &["a"]), step(30, &["b", "a"])], "a list replaces the inherited one");
    let other = &endpoint(&config, "other").alert_policy;
    assert_eq!(other.flap, Some(FlapPolicy { changes: 4, window: Duration::from_mins(40) }), "20 intervals");
    assert_eq!((other.acknowledge_for, other.no_data_after), (Duration::from_hours(4), Some(5)));
}

#[test]
fn mistaken_policies_are_told_where_they_are() {
    let told = errors(
        r#"
channels: {ops: {type: console}}
endpoints:
  - {name: a, url: "https://a.example", alert_policy: {failure_threshold: {failures: 6, of: 5}}}
  - {name: b, url: "https://b.example", alert_policy: {failure_threshold: {failures: 0, of: 1001}}}
  - {name: c, url: "https://c.example", alert_policy: {failure_threshold: soon, flap: 6}}
  - {name: d, url: "https://d.example", alert_policy: {flap: {changes: 0}, acknowledge_for: 10s, no_data_after: 1001}}
  - {name: e, url: "https://e.example", alert_policy: {escalation: [{after: 10m, notify: [opps]}, {after: 5m, notify: []}]}}
  - {name: f, url: "https://f.example", alert_policy: {escalation: [{after: 31d, notify: [ops]}, {after: 40d, notfy: [ops]}]}}
"#,
    );
    for expected in [
        "endpoints[0].alert_policy.failure_threshold.failures",
        "must not be more than `of`",
        "endpoints[1].alert_policy.failure_threshold.of",
        "0 is out of range: 1 to 1000",
        "a mapping such as {failures: 3, of: 5}",
        "endpoints[2].alert_policy.flap",
        "0 is out of range: 1 to 100",
        "must be 1 min to 30 days",
        "1001 is out of range: 0 to 1000",
        "endpoints[4].alert_policy.escalation[0].notify[0]",
        "there is no channel `opps`: did you mean ops ?",
        "must be later than the step before",
        "must name at least one channel",
        "endpoints[5].alert_policy.escalation[1]",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn mistaken_keys_of_telling_are_told_where_they_are() {
    snapshot!(errors(
        r#"
channels: {ops: {type: console}, team: {type: console}}
defaults: {notify: [teem], runbook: "https://wiki.example/{nam}"}
groups:
  core:
    alert_policy: {reminder: {evry: 1h, backoff: 0.5}}
    endpoints: {api: "https://api.example"}
  edge: {alert_policy: {reminder: {every: 20m, max: 10m}}, endpoints: {a: "https://a.example", b: "https://b.example"}}
endpoints:
  - name: one
    url: https://one.example
    notify: [ops, pager]
    severity: criticl
    alert_policy: {cooldown_seconds: 40d, send_recovery: yes, reminder: 1h}
  - {name: two, url: "https://two.example", notify: ops, alert_policy: {reminder: {every: 500ms}}}
"#
    ));
}

#[test]
fn the_rule_of_channel_names_is_the_same_outside_of_the_file() {
    let config = good("channels: {ops: {type: console}}");
    let settings: EndpointSettings =
        serde_json::from_value(serde_json::json!({"name": "a", "url": "https://a.example", "notify": ["opss"]}))
            .unwrap();
    let rules = resolve(&settings, config.layers(""), now()).unwrap_err();
    assert_eq!(rules[0].pointer, "/notify/0");
    assert_eq!(rules[0].detail, "there is no channel `opss`: did you mean ops ?");
    let kept = resolve(&settings, config.layers("").of_any_channel(), now()).unwrap();
    assert_eq!(kept.notify.unwrap(), ["opss"]);
}
