//! Presets: channels that are data. A file of `notify/presets/` says what a service takes and how it answers; here is
//! what such a file says, and whether the options of a channel are what it asks for. What is sent is made by `notify`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

/// The data files by the word in `type`. A further preset is a file and a line here.
const FILES: [(&str, &str); 12] = [
    ("slack", include_str!("../notify/presets/slack.json")),
    ("discord", include_str!("../notify/presets/discord.json")),
    ("teams", include_str!("../notify/presets/teams.json")),
    ("mattermost", include_str!("../notify/presets/mattermost.json")),
    ("google_chat", include_str!("../notify/presets/google_chat.json")),
    ("matrix", include_str!("../notify/presets/matrix.json")),
    ("ntfy", include_str!("../notify/presets/ntfy.json")),
    ("gotify", include_str!("../notify/presets/gotify.json")),
    ("pushover", include_str!("../notify/presets/pushover.json")),
    ("pagerduty", include_str!("../notify/presets/pagerduty.json")),
    ("alertmanager", include_str!("../notify/presets/alertmanager.json")),
    ("twilio_sms", include_str!("../notify/presets/twilio_sms.json")),
];

/// The presets there are, by the word in `type`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The preset of that name. `None`: there is none.
///
/// # Errors
/// Its file cannot be read.
pub fn find(name: &str) -> Option<Result<Preset, String>> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(serde_json::from_str(text).map_err(|e| format!("the file of the preset {name} cannot be read: {e}")))
}

/// All presets, in the order in which they are shown.
///
/// # Errors
/// A file cannot be read.
pub fn all() -> Result<Vec<Preset>, String> {
    names().filter_map(find).collect()
}

/// A data file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The word in `type`.
    pub name: String,
    /// The service, as it calls itself.
    pub title: String,
    pub about: String,
    /// The service's own documentation, with which the file was compared.
    pub documentation: Vec<String>,
    pub compared_at: NaiveDate,
    /// Whether a message was really sent through the service, not only to something that answers like it.
    pub verified_live: bool,
    /// What else a person should know, in Markdown.
    #[serde(default)]
    pub notes: Vec<String>,
    pub options: Vec<PresetOption>,
    /// Of each of these sets one option must be set, and no more.
    #[serde(default)]
    pub one_of: Vec<Vec<String>>,
    /// Whether the service opens and resolves incidents of its own by a key, so that messages are never grouped.
    #[serde(default)]
    pub life_cycle: bool,
    pub request: Request,
    #[serde(default)]
    pub escape: Escape,
    /// Between the lines of a text.
    #[serde(default = "line_break")]
    pub line_break: String,
    /// How long `title`, `details` and `message` may be as they are sent.
    pub limits: BTreeMap<String, Limit>,
    /// Values that depend on the message, by name: the first that is there of the event's name, `phase.severity`, the
    /// phase (`trigger`, `resolve`, `test`), and `default`.
    #[serde(default)]
    pub maps: BTreeMap<String, BTreeMap<String, Value>>,
    pub success: Success,
    pub rate_limit: RateLimit,
    /// Statuses that say that a person must help, beside 401, 403 and 404.
    #[serde(default)]
    pub lasting: Vec<u16>,
}

fn line_break() -> String {
    "\n".to_owned()
}

/// Something that the configuration may say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetOption {
    pub name: String,
    #[serde(default)]
    pub kind: OptionKind,
    #[serde(default)]
    pub required: bool,
    /// Never shown.
    #[serde(default)]
    pub secret: bool,
    pub about: String,
    /// For the documentation; valid.
    pub example: String,
    pub default: Option<String>,
    /// What it is, in words: the mistake reads `is not …`.
    pub expected: Option<String>,
    #[serde(default)]
    pub choices: Vec<String>,
    /// Of a whole number.
    pub min: Option<i64>,
    /// Of a whole number.
    pub max: Option<i64>,
    /// Of a text.
    pub min_chars: Option<usize>,
    /// Of a text.
    pub max_chars: Option<usize>,
    /// A text begins with one of these.
    #[serde(default)]
    pub begins: Vec<String>,
    /// Which characters a text has.
    #[serde(default)]
    pub characters: Characters,
}

/// Longest value of an option.
const MAX_OPTION_BYTES: usize = 4000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionKind {
    #[default]
    Text,
    /// http or https. One that is no secret holds no user and password.
    Url,
    Integer,
    /// One of `choices`.
    Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Characters {
    /// All but control characters.
    #[default]
    Any,
    /// Letters and digits of ASCII.
    Alphanumeric,
    /// And `-` and `_`.
    Word,
    /// `+` and digits.
    Phone,
    /// All but control characters and blanks.
    Unbroken,
}

/// What is sent. The texts may name `{title}`, `{details}`, `{message}`, `{rich}`, `{id}`, `{dedup_key}`, `{link}`,
/// `{options.…}`, … and every placeholder of people's templates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// Begins with an option that is an address, or with one of its own. Other values are percent-encoded.
    pub url: String,
    /// Added to the query of the URL; what is empty is left out.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// One that names an option that is not set is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// User and password; left out when the user is empty.
    pub basic_auth: Option<(String, String)>,
    pub format: Format,
    /// The bodies by event or phase, else `default`.
    pub bodies: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// How text is written where the service would read markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// It reads no markup.
    #[default]
    None,
    /// `&`, `<` and `>` as entities.
    Slack,
    /// Markdown by backslashes; mentions are switched off in the request.
    Discord,
    /// Markdown by backslashes, mentions taken apart.
    Mattermost,
    /// `<…>` of links and mentions taken apart.
    GoogleChat,
    Html,
}

/// How long a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub max: usize,
    #[serde(default)]
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// UTF-16 code units: never less than what a service that counts characters counts.
    #[default]
    Characters,
    /// Of UTF-8.
    Bytes,
}

impl Unit {
    pub fn measure(self, text: &str) -> usize {
        match self {
            Self::Characters => text.encode_utf16().count(),
            Self::Bytes => text.len(),
        }
    }
}

/// An answer that says it was taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    pub statuses: Vec<u16>,
    /// Its whole body, blanks around it apart.
    pub body: Option<String>,
    /// A JSON pointer into its body, and what stands there.
    pub json: Option<(String, Value)>,
}

/// An answer that asks for a pause; `Retry-After` is understood beside what stands here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub statuses: Vec<u16>,
    /// A header with the instant of its end, in seconds since 1970.
    pub until_header: Option<String>,
    /// JSON pointer to the pause in the body.
    pub pointer: Option<(String, PauseUnit)>,
    /// The pause where the answer says none.
    pub otherwise_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseUnit {
    Seconds,
    Milliseconds,
}

impl Preset {
    pub fn option(&self, name: &str) -> Option<&PresetOption> {
        self.options.iter().find(|option| option.name == name)
    }

    pub fn is_secret(&self, name: &str) -> bool {
        self.option(name).is_none_or(|option| option.secret)
    }

    /// The options that must be set and are not, each with how it is named to a person. `is_set` is asked by name.
    pub fn needs(&self, is_set: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
        let required = self.options.iter().filter(|option| option.required && !is_set(&option.name));
        let mut needs: Vec<_> = required.map(|option| (option.name.clone(), format!("`{}`", option.name))).collect();
        for set in self.one_of.iter().filter(|set| !set.iter().any(|name| is_set(name))) {
            let named = set.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            needs.extend(set.first().map(|first| (first.clone(), named)));
        }
        needs
    }

    /// Options of which one too many is set, and what is wrong with it.
    pub fn excess(&self, is_set: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut excess = Vec::new();
        for set in &self.one_of {
            let mut there = set.iter().filter(|name| is_set(name));
            let first = there.next();
            let more = there.map(|name| (name.clone(), first));
            excess.extend(
                more.filter_map(|(name, first)| Some((name, format!("`{}` is set already: keep one", first?)))),
            );
        }
        excess
    }

    /// The value of the option that says where requests go, its default included; of a preset whose requests always
    /// go to the same place, that.
    pub fn destination(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let Some((name, _)) = self.request.url.strip_prefix("{options.").and_then(|rest| rest.split_once('}')) else {
            return Some(self.request.url.clone());
        };
        value(name).or_else(|| self.option(name)?.default.clone())
    }

    /// A channel of this type, as it may stand in the configuration.
    pub fn example(&self) -> Map<String, Value> {
        let one_of_first: Vec<&String> = self.one_of.iter().filter_map(|set| set.first()).collect();
        let shown = self.options.iter().filter(|option| option.required || one_of_first.contains(&&option.name));
        let values = shown.map(|option| (option.name.clone(), option.example.clone().into()));
        std::iter::once(("type".to_owned(), Value::from(self.name.clone()))).chain(values).collect()
    }
}

impl PresetOption {
    /// # Errors
    /// What is wrong with a value, without it. Of a URL only what is asked of it here: that it is one is the caller's.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > MAX_OPTION_BYTES {
            return Err(format!("too long: at most {MAX_OPTION_BYTES} bytes"));
        }
        if value.chars().any(char::is_control) {
            return Err("must not contain line breaks and other control characters".to_owned());
        }
        let not_expected = || match &self.expected {
            Some(expected) => format!("is not {expected}"),
            None => "is not what it should be".to_owned(),
        };
        match self.kind {
            OptionKind::Integer => match value.parse::<i64>() {
                Ok(number) if self.range().contains(&number) => Ok(()),
                Ok(_) => Err(format!("is out of range: {} to {}", self.range().start(), self.range().end())),
                Err(_) => Err("is not a whole number".to_owned()),
            },
            OptionKind::Choice if self.choices.iter().any(|choice| choice == value) => Ok(()),
            OptionKind::Choice => Err(format!("is not one of {}", self.choices.join(", "))),
            OptionKind::Url if self.secret => Ok(()),
            OptionKind::Url => match Url::parse(value) {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    Err("must not hold user and password".to_owned())
                }
                Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                    Err("is the address of a server, without ? and #".to_owned())
                }
                _ => Ok(()),
            },
            OptionKind::Text => {
                let chars = value.chars().count();
                let fits = self.min_chars.is_none_or(|min| chars >= min)
                    && self.max_chars.is_none_or(|max| chars <= max)
                    && (self.begins.is_empty() || self.begins.iter().any(|start| value.starts_with(start.as_str())))
                    && self.characters.are_all_of(value);
                if fits { Ok(()) } else { Err(not_expected()) }
            }
        }
    }

    /// Of a whole number.
    pub fn range(&self) -> std::ops::RangeInclusive<i64> {
        self.min.unwrap_or(i64::MIN)..=self.max.unwrap_or(i64::MAX)
    }
}

impl Characters {
    fn are_all_of(self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Alphanumeric => text.bytes().all(|b| b.is_ascii_alphanumeric()),
            Self::Word => text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
            Self::Phone => {
                let digits = text.strip_prefix('+').unwrap_or_default();
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            }
            Self::Unbroken => !text.chars().any(char::is_whitespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_whole() {
        for (name, preset) in names().zip(all().unwrap()) {
            assert_eq!(preset.name, name);
            assert!(!preset.documentation.is_empty() && preset.request.bodies.contains_key("default"), "{name}");
            for option in &preset.options {
                assert_eq!(option.check(&option.example), Ok(()), "{name}.{}", option.name);
                assert_eq!(option.default.as_ref().map_or(Ok(()), |value| option.check(value)), Ok(()), "{name}");
                assert!(!(option.required && option.default.is_some()), "{name}.{}", option.name);
                assert!(["type", "enabled", "default", "severity", "fallback"].iter().all(|key| *key != option.name));
            }
            assert!(preset.one_of.iter().flatten().all(|option| preset.option(option).is_some()), "{name}");
        }
        assert!(find("carrier_pigeon").is_none());
    }

    /// Whoever knows one of these may write in somebody's name, or read.
    #[test]
    fn what_opens_a_door_is_a_secret() {
        for preset in all().unwrap() {
            for option in &preset.options {
                let opens =
                    ["token", "key", "password", "secret", "topic"].iter().any(|word| option.name.contains(word));
                let is_hook = option.name == "url" || (preset.name == "pushover" && option.name == "user");
                assert_eq!(option.secret, opens || is_hook, "{}.{}", preset.name, option.name);
            }
        }
    }

    #[test]
    fn values_are_what_the_service_asks_for() {
        let check = |preset: &str, option: &str, value: &str| {
            find(preset).unwrap().unwrap().option(option).unwrap().check(value).err()
        };
        for (preset, option, good, bad) in [
            ("pagerduty", "routing_key", "0123456789abcdef0123456789ABCDEF", "0123456789abcdef"),
            ("ntfy", "topic", "alerts_1-x", "a/b"),
            ("ntfy", "priority", "5", "6"),
            ("ntfy", "server", "https://ntfy.example.com/x", "https://u:p@ntfy.example.com"),
            ("pushover", "priority", "-2", "high"),
            ("matrix", "room_id", "!abc:example.org", "#alerts:example.org"),
            ("twilio_sms", "to", "+4915112345678", "015112345678"),
            ("twilio_sms", "account_sid", "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "SKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("discord", "username", "monitor", "a\nb"),
        ] {
            assert_eq!(check(preset, option, good), None, "{preset}.{option}");
            assert!(check(preset, option, bad).is_some(), "{preset}.{option}");
        }
    }
}
