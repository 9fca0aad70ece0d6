//! Thresholds over metrics: in which units they are written, what they mean for a metric, and at which levels a rule
//! over it fires and clears.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::AlertSettings;
use crate::domain::outcome::words;

words! {
    /// How a measurement is compared with the threshold.
    pub enum Comparison {
        Gt = "gt",
        Gte = "gte",
        Lt = "lt",
        Lte = "lte",
    }
}

impl Comparison {
    /// Whether `value` is on the wrong side of `bound`.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Gt => value > bound,
            Self::Gte => value >= bound,
            Self::Lt => value < bound,
            Self::Lte => value <= bound,
        }
    }

    /// Whether what is high is bad.
    pub fn is_upper(self) -> bool {
        matches!(self, Self::Gt | Self::Gte)
    }

    /// `above`, `at or below`, …
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Gt => "above",
            Self::Gte => "at or above",
            Self::Lt => "below",
            Self::Lte => "at or below",
        }
    }
}

/// A threshold as it is written: a number in the unit of the metric, or text with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThresholdSetting {
    Number(Number),
    Text(String),
}

impl fmt::Display for ThresholdSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for ThresholdSetting {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for ThresholdSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = ThresholdSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a threshold: a number, or text such as 80%, 64MB, 50ms, 5s")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(ThresholdSetting::Number(number.into()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(ThresholdSetting::Number(number.into()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                Number::from_f64(number).map(ThresholdSetting::Number).ok_or_else(|| E::custom("must be finite"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ThresholdSetting::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for ThresholdSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Number)).minimum(Some(0.0)))
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).max_length(Some(MAX_TEXT)))
            .description(Some("A number in the unit of the metric, or text such as `80%`, `64MB`, `50ms`, `5s`"))
            .examples([json!("80%"), json!(100)])
            .into()
    }
}

impl ToSchema for ThresholdSetting {
    fn name() -> Cow<'static, str> {
        "Threshold".into()
    }
}

/// Characters of a threshold.
const MAX_TEXT: usize = 40;

/// No measurement is larger, and sums with it are exact enough.
const LARGEST: f64 = 1e18;

/// The unit that a threshold names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// None: that of the metric.
    Plain,
    Percent,
    Bytes,
    Seconds,
}

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    pub kind: QuantityKind,
    /// It is a part of something, of which shares can be told.
    pub has_whole: bool,
}

/// In which unit a metric is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantityKind {
    Bytes,
    Seconds,
    /// 0 to 100.
    Percent,
    /// Whole things.
    Count,
    /// Anything else.
    Number,
}

impl Quantity {
    /// The unit of what is compared with `bounds`, as a word.
    pub fn unit(self, bounds: &Bounds) -> &'static str {
        match self.kind {
            _ if bounds.is_share => "percent",
            QuantityKind::Percent => "percent",
            QuantityKind::Bytes => "bytes",
            QuantityKind::Seconds => "seconds",
            QuantityKind::Count => "count",
            QuantityKind::Number => "number",
        }
    }

    /// What is compared with `bounds`, for people.
    pub fn shown(self, value: f64, bounds: &Bounds) -> String {
        let scaled = |units: &[(f64, &str)]| {
            let (factor, unit) =
                units.iter().find(|(factor, _)| value >= *factor).or(units.last()).unwrap_or(&(1.0, ""));
            format!("{}{unit}", rounded(value / factor))
        };
        match self.kind {
            _ if bounds.is_share => format!("{}%", rounded(value)),
            QuantityKind::Percent => format!("{}%", rounded(value)),
            QuantityKind::Bytes => scaled(&[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
            QuantityKind::Seconds => scaled(&[(1.0, "s"), (1e-3, "ms")]),
            QuantityKind::Count | QuantityKind::Number => rounded(value),
        }
    }

    fn in_words(self) -> &'static str {
        match (self.kind, self.has_whole) {
            (QuantityKind::Bytes, true) => "bytes: write a number, 64MB, 64MiB, or a share such as 80%",
            (QuantityKind::Bytes, false) => "bytes: write a number, 64MB or 64MiB",
            (QuantityKind::Seconds, _) => "a time: write a number of seconds, 50ms, 5s or 2m",
            (QuantityKind::Percent, _) => "per cent: write a number or 80%",
            (_, true) => "a number: write it without a unit, or a share such as 80%",
            (_, false) => "a number: write it without a unit",
        }
    }
}

/// With at most two decimals.
fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A threshold in the unit in which the metric is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    number: f64,
    /// It is hundredths of the whole that the metric is a part of.
    is_share: bool,
}

impl ThresholdSetting {
    /// The number and its unit, in bytes or seconds where it has one of those.
    fn parse(&self) -> Result<(f64, Unit), String> {
        let text = match self {
            Self::Number(number) => return Ok((number.as_f64().unwrap_or(f64::NAN), Unit::Plain)),
            Self::Text(text) => text.trim(),
        };
        let refused = || "is not a threshold: write a number, 80%, 64MB, 64MiB, 50ms or 5s".to_owned();
        if text.chars().count() > MAX_TEXT {
            return Err(format!("is too long: at most {MAX_TEXT} characters"));
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| refused())?;
        let unit = unit.trim();
        // `m` is minutes and `M` nothing: only sizes are read without regard to case.
        let (factor, unit) = match unit {
            "" => (1.0, Unit::Plain),
            "%" => (1.0, Unit::Percent),
            "us" | "µs" | "μs" => (1e-6, Unit::Seconds),
            "ms" => (1e-3, Unit::Seconds),
            "s" => (1.0, Unit::Seconds),
            "m" | "min" => (60.0, Unit::Seconds),
            "h" => (3600.0, Unit::Seconds),
            _ => match unit.to_ascii_lowercase().as_str() {
                "b" => (1.0, Unit::Bytes),
                "kb" => (1e3, Unit::Bytes),
                "mb" => (1e6, Unit::Bytes),
                "gb" => (1e9, Unit::Bytes),
                "tb" => (1e12, Unit::Bytes),
                "kib" => (1024.0, Unit::Bytes),
                "mib" => (1024.0 * 1024.0, Unit::Bytes),
                "gib" => (1024.0 * 1024.0 * 1024.0, Unit::Bytes),
                "tib" => (1024.0 * 1024.0 * 1024.0 * 1024.0, Unit::Bytes),
                _ => return Err(refused()),
            },
        };
        Ok((number * factor, unit))
    }

    /// What it means for a metric, or what would be right.
    fn level(&self, of: Quantity) -> Result<Level, (&'static str, String)> {
        let (number, unit) = self.parse().map_err(|detail| ("invalid", detail))?;
        if !(0.0..=LARGEST).contains(&number) {
            return Err(("out_of_range", format!("must be 0 to {LARGEST:e}")));
        }
        let absolute = |number| Ok(Level { number, is_share: false });
        match (of.kind, unit) {
            (_, Unit::Plain)
            | (QuantityKind::Percent, Unit::Percent)
            | (QuantityKind::Bytes, Unit::Bytes)
            | (QuantityKind::Seconds, Unit::Seconds) => absolute(number),
            (_, Unit::Percent) if of.has_whole => Ok(Level { number, is_share: true }),
            _ => Err(("invalid", format!("does not fit the metric, which is {}", of.in_words()))),
        }
    }
}

/// When a rule fires and when it clears, with every default applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub comparison: Comparison,
    pub threshold: f64,
    /// Back at this it clears, unless that is still on the wrong side.
    pub clear: f64,
    /// Both are hundredths of the whole that the metric is a part of.
    pub is_share: bool,
    pub hold: Duration,
}

/// The longest `for`.
pub const LONGEST_HOLD: Duration = Duration::from_hours(7 * 24);

/// So much of the threshold lies between firing and clearing, unless it is set.
const HYSTERESIS: f64 = 0.05;

/// A broken rule: the field, the rule, what would be right.
pub type Broken = (&'static str, &'static str, String);

impl Bounds {
    /// What the settings mean for a metric.
    ///
    /// # Errors
    /// Every rule that they break; fields that are absent break none but `threshold`.
    pub fn of(settings: &AlertSettings, quantity: Quantity) -> Result<Self, Vec<Broken>> {
        let mut broken: Vec<Broken> = Vec::new();
        let mut level = |field: &'static str, setting: &Option<ThresholdSetting>| {
            let level = setting.as_ref().map(|setting| setting.level(quantity)).transpose();
            level.unwrap_or_else(|(rule, detail)| {
                broken.push((field, rule, detail));
                None
            })
        };
        let threshold = level("threshold", &settings.threshold);
        let clear = level("clear_threshold", &settings.clear_threshold);
        let comparison = settings.comparison.unwrap_or(Comparison::Gt);
        let hold = settings.hold.map_or(Duration::ZERO, |hold| hold.0);
        if hold > LONGEST_HOLD {
            broken.push(("for", "out_of_range", "must be 0 s to 7 days".to_owned()));
        }
        if settings.threshold.is_none() {
            broken.push(("threshold", "required", "a rule has a threshold, such as 80%, 64MB, 50ms or 100".to_owned()));
        }
        if let (Some(threshold), Some(clear)) = (threshold, clear) {
            let beyond =
                if comparison.is_upper() { clear.number > threshold.number } else { clear.number < threshold.number };
            if clear.is_share != threshold.is_share {
                let detail = "must be a share of the whole if `threshold` is one, and only then".to_owned();
                broken.push(("clear_threshold", "conflict", detail));
            } else if beyond {
                let side = if comparison.is_upper() { "above" } else { "below" };
                broken.push(("clear_threshold", "conflict", format!("must not be {side} `threshold`")));
            }
        }
        match threshold {
            Some(Level { number: threshold, is_share }) if broken.is_empty() => {
                let clear = clear
                    .map_or_else(|| default_clear(comparison, threshold, is_share, quantity), |clear| clear.number);
                let clear = reachable(clear, comparison, threshold, is_share, quantity);
                Ok(Self { comparison, threshold, clear, is_share, hold })
            }
            _ => Err(broken),
        }
    }

    /// The measurement as it is compared: `value` itself, or its share of `whole`. `None`: there is none.
    pub fn measured(&self, value: Option<f64>, whole: Option<f64>) -> Option<f64> {
        let measured = match (self.is_share, whole) {
            (false, _) => value?,
            (true, Some(whole)) if whole > 0.0 => value? / whole * 100.0,
            (true, _) => return None,
        };
        measured.is_finite().then_some(measured)
    }

    pub(super) fn is_wrong(&self, value: f64) -> bool {
        self.comparison.holds(value, self.threshold)
    }

    /// The clear level itself is good enough: it may be the end of what the metric can be.
    pub(super) fn is_cleared(&self, value: f64) -> bool {
        let is_back = if self.comparison.is_upper() { value <= self.clear } else { value >= self.clear };
        is_back && !self.is_wrong(value)
    }

    /// Whether every measurement is on the wrong side, so that it would fire for good.
    pub fn always_holds(&self, quantity: Quantity) -> bool {
        let best = if self.comparison.is_upper() { Some(0.0) } else { highest(self.is_share, quantity) };
        best.is_some_and(|best| self.is_wrong(best))
    }
}

/// The highest that can be measured, where that is known. The lowest is 0.
fn highest(is_share: bool, quantity: Quantity) -> Option<f64> {
    (is_share || quantity.kind == QuantityKind::Percent).then_some(100.0)
}

fn default_clear(comparison: Comparison, threshold: f64, is_share: bool, quantity: Quantity) -> f64 {
    let margin = threshold * HYSTERESIS;
    let is_count = quantity.kind == QuantityKind::Count && !is_share;
    match (comparison.is_upper(), is_count) {
        // Of three connections a twentieth is none: whole things are not asked to go down to the next one.
        (true, true) => threshold - margin.floor(),
        (true, false) => threshold - margin,
        // Of forty endpoints there are never forty-two up: how many things there can be is not known.
        (false, true) => threshold,
        (false, false) => threshold + margin,
    }
}

/// The level at which it clears, as far as the metric can come.
fn reachable(clear: f64, comparison: Comparison, threshold: f64, is_share: bool, quantity: Quantity) -> f64 {
    match highest(is_share, quantity) {
        Some(highest) if !comparison.is_upper() => clear.min(highest).max(threshold),
        _ => clear,
    }
}
