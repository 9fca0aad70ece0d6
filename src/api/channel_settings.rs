//! How the settings of a channel are described. They are read by the rules of the configuration, which tell every
//! mistake at once; these types only describe what is sent.
#![expect(dead_code, reason = "the fields are read by the derivation of the description alone")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::notification::Severity;
use crate::domain::preset::{self, OptionKind, PresetOption};
use crate::domain::setting::DurationSetting;

/// How a channel delivers: a transport, or the name of a preset.
#[derive(Debug)]
struct ChannelType;

impl PartialSchema for ChannelType {
    fn schema() -> RefOr<Schema> {
        let words = ["console", "email", "webhook", "telegram"].into_iter().chain(preset::names());
        text().enum_values(Some(words)).description(Some("How a channel delivers.")).into()
    }
}

impl ToSchema for ChannelType {
    fn name() -> Cow<'static, str> {
        "ChannelType".into()
    }
}

/// What is set of a channel, by the keys that it would have in the configuration: those that every channel has, and
/// those of its type. Null: the default.
#[derive(Debug)]
pub struct ChannelSettings;

impl PartialSchema for ChannelSettings {
    /// Those of the transports, and with them those of all presets.
    fn schema() -> RefOr<Schema> {
        let mut schema = TransportSettings::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            for (name, options) in options_by_name() {
                object.properties.entry(name).or_insert_with(|| preset_option(&options));
            }
        }
        schema
    }
}

impl ToSchema for ChannelSettings {
    fn name() -> Cow<'static, str> {
        "ChannelSettings".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        TransportSettings::schemas(schemas);
    }
}

/// The options of all presets, with the presets that have them.
fn options_by_name() -> BTreeMap<String, Vec<(String, PresetOption)>> {
    let mut by_name: BTreeMap<String, Vec<(String, PresetOption)>> = BTreeMap::new();
    for preset in preset::all().unwrap_or_default() {
        for option in preset.options {
            by_name.entry(option.name.clone()).or_default().push((preset.name.clone(), option));
        }
    }
    by_name
}

/// What all that an option may be has in common: presets may have options of the same name.
fn preset_option(options: &[(String, PresetOption)]) -> RefOr<Schema> {
    let abouts = options.iter().map(|(preset, option)| {
        let required = if option.required { ", required" } else { "" };
        let default = option.default.as_ref().map_or(String::new(), |default| format!(" Default `{default}`."));
        let secret = if option.secret { " Write-only: reads `***`." } else { "" };
        format!("Of `{preset}`{required}: {}.{default}{secret}", option.about)
    });
    let abouts = abouts.collect::<Vec<_>>().join("\n");
    let is_number = |option: &PresetOption| option.kind == OptionKind::Integer;
    let mut kinds = Vec::new();
    if options.iter().any(|(_, option)| is_number(option)) {
        kinds.push(Type::Integer);
    }
    if options.iter().any(|(_, option)| !is_number(option)) {
        kinds.push(Type::String);
    }
    kinds.push(Type::Null);
    ObjectBuilder::new().schema_type(SchemaType::Array(kinds)).description(Some(abouts)).into()
}

/// The settings of transports that are no presets, and what every channel has.
#[derive(Debug, ToSchema)]
#[schema(as = ChannelSettings)]
#[serde(deny_unknown_fields)]
struct TransportSettings {
    /// As in the path, or left out.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^/,]+$", example = "on-call")]
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<ChannelType>,
    /// Default true. One that is off tells nothing.
    enabled: Option<bool>,
    /// Whether endpoints that name no channel are told through it. Default true.
    default: Option<bool>,
    /// Tells only what is at least this severe. Default: everything.
    severity: Option<Severity>,
    /// Names of channels through which a failure of this one is told. Default: every other one.
    fallback: Option<Vec<String>>,
    /// Of `webhook`, `slack`, `discord`, `teams`, `mattermost` and `google_chat`, required. Write-only: reads `***`.
    #[schema(example = "https://hooks.example.com/alerts")]
    url: Option<String>,
    /// Of `webhook`. Default `POST`.
    method: Option<String>,
    /// Of `webhook`, at most 100. The values are write-only: they read `***`.
    headers: Option<BTreeMap<String, String>>,
    /// Of `webhook`: fast attempts, before those that come later. Default 3.
    #[schema(minimum = 1, maximum = 10)]
    retry_count: Option<u32>,
    /// Of `webhook`, between fast attempts: at most 5 minutes. Default 5 s.
    retry_delay: Option<DurationSetting>,
    /// Of `webhook`: 1 ms to 5 minutes. Default 10 s.
    timeout: Option<DurationSetting>,
    /// Of `webhook`, at most 64 KiB. Default: the JSON of `Notification`. Write-only: reads `***`.
    payload_template: Option<String>,
    /// Of `webhook`, for recoveries; default: `payload_template`. Write-only: reads `***`.
    recovery_template: Option<String>,
    /// Of `webhook`: signs by Standard Webhooks. Write-only: reads `***`.
    secret: Option<String>,
    /// Of `email`; required without a login. Default `smtp.gmail.com`.
    smtp_host: Option<String>,
    /// Of `email`. Default 587.
    #[schema(minimum = 1, maximum = 65535)]
    smtp_port: Option<u16>,
    /// Of `email`: whether the connection is encrypted, on port 465 from the first byte. Default true.
    smtp_use_tls: Option<bool>,
    /// Of `email`.
    smtp_user: Option<String>,
    /// Of `email`. Write-only: reads `***`.
    smtp_password: Option<String>,
    /// Of `email`; required unless `smtp_user` is an address.
    from_addr: Option<String>,
    /// Of `email`. Default `API Monitor`.
    #[schema(max_length = 200)]
    from_name: Option<String>,
    /// Of `email`, required: 1 to 100 addresses.
    to_addrs: Option<Addresses>,
    /// Of `email`.
    subject_template: Option<String>,
    /// Of `email`.
    body_template: Option<String>,
    /// Of `email`: a PEM file on the monitor's machine, of further trusted authorities.
    ca_file: Option<String>,
    /// Of `telegram`, required. Write-only: reads `***`.
    bot_token: Option<String>,
    /// Of `telegram`, required.
    chat_id: Option<ChatId>,
    /// Of `telegram`.
    #[schema(minimum = 1)]
    topic_id: Option<i32>,
    /// Of `telegram`.
    message_template: Option<String>,
    /// Of `telegram`: `Markdown` (default), `MarkdownV2`, `HTML`, `none`.
    parse_mode: Option<String>,
    /// Of `telegram`. Default `https://api.telegram.org`.
    api_url: Option<String>,
}

/// [`ChannelSettings`] of a channel that is to be made.
#[derive(Debug)]
pub struct NewChannel;

/// [`ChannelSettings`] in place of all that were set.
#[derive(Debug)]
pub struct ChannelReplacement;

fn with_required(keys: &[&str]) -> RefOr<Schema> {
    let mut schema = ChannelSettings::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.required = keys.iter().map(|&key| key.to_owned()).collect();
        let name: RefOr<Schema> = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .min_length(Some(1))
            .max_length(Some(100))
            .pattern(Some("^[^/,]+$"))
            .description(Some("Unique. 1 to 100 bytes without slashes, commas and control characters."))
            .into();
        for key in keys {
            let needed = if *key == "name" { name.clone() } else { ChannelType::schema() };
            object.properties.insert((*key).to_owned(), needed);
        }
    }
    schema
}

impl PartialSchema for NewChannel {
    fn schema() -> RefOr<Schema> {
        with_required(&["name", "type"])
    }
}

impl ToSchema for NewChannel {
    fn name() -> Cow<'static, str> {
        "NewChannel".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChannelSettings::schemas(schemas);
    }
}

impl PartialSchema for ChannelReplacement {
    fn schema() -> RefOr<Schema> {
        with_required(&["type"])
    }
}

impl ToSchema for ChannelReplacement {
    fn name() -> Cow<'static, str> {
        "ChannelReplacement".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChannelSettings::schemas(schemas);
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

/// A list of mail addresses, or one text with commas.
#[derive(Debug)]
struct Addresses;

impl PartialSchema for Addresses {
    fn schema() -> RefOr<Schema> {
        let list = utoipa::openapi::schema::ArrayBuilder::new().items(text()).max_items(Some(100));
        OneOfBuilder::new().item(list).item(text()).into()
    }
}

impl ToSchema for Addresses {
    fn name() -> Cow<'static, str> {
        "MailAddresses".into()
    }
}

/// A number, or the `@name` of a channel.
#[derive(Debug)]
struct ChatId;

impl PartialSchema for ChatId {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
        OneOfBuilder::new().item(number).item(text()).into()
    }
}

impl ToSchema for ChatId {
    fn name() -> Cow<'static, str> {
        "ChatId".into()
    }
}
