//! The value types of settings: durations, sizes, expected statuses, request bodies. One form for YAML, JSON
//! and the stored spec; what was written is what is given back.

mod ahead;
mod expect;
mod reminder;
mod threshold;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub use self::ahead::AheadSetting;
pub use self::expect::{ExpectSetting, ExpectedPattern};
pub use self::reminder::{ReminderSetting, ReminderSettings};
pub use self::threshold::{FailureThresholdSetting, FlapSetting, FlapSettings, WindowThreshold};

/// A length of time: a whole number of seconds, or text such as `500ms`, `30s`, `5m`, `1h30m`, `10d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationSetting(pub Duration);

impl DurationSetting {
    /// Reads the text form; a bare whole number is seconds.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Self::from_secs(seconds);
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| {
                format!("`{text}` is not a duration: write a whole number of seconds or 500ms, 30s, 5m, 1h30m, 10d")
            })
            .and_then(|d| if d.0 > MAX { Err(too_long(text)) } else { Ok(d) })
    }

    fn from_secs(seconds: u64) -> Result<Self, String> {
        let duration = Duration::from_secs(seconds);
        if duration > MAX { Err(too_long(&seconds.to_string())) } else { Ok(Self(duration)) }
    }
}

/// A hundred years: far beyond any use, and small enough that sums of instants never overflow.
const MAX: Duration = Duration::from_hours(100 * 366 * 24);

fn too_long(text: &str) -> String {
    format!("`{text}` is too long: at most 100 years")
}

impl fmt::Display for DurationSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `1h 30m` as humantime writes it, without its spaces.
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}

impl Serialize for DurationSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = DurationSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration: a whole number of seconds, or text such as 500ms, 30s, 5m, 1h30m")
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
                DurationSetting::from_secs(seconds).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
                u64::try_from(seconds)
                    .map_err(|_| E::custom(format!("{seconds} is negative: a duration is at least 0")))
                    .and_then(|s| self.visit_u64(s))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Self::Value, E> {
                if seconds >= 0.0 && seconds.fract() == 0.0 && seconds < 1e12 {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
                    return self.visit_u64(seconds as u64);
                }
                Err(E::custom(format!("{seconds} is not a whole number of seconds: write milliseconds as 500ms")))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                DurationSetting::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for DurationSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(0.0)))
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)))
            .description(Some("Whole seconds, or text such as `500ms`, `30s`, `5m`, `1h30m`, `10d`"))
            .examples([json!(60), json!("500ms")])
            .into()
    }
}
impl ToSchema for DurationSetting {
    fn name() -> Cow<'static, str> {
        "Duration".into()
    }
}

/// A number of bytes: a whole number, or text such as `64KiB`, `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeSetting(pub u64);

impl SizeSetting {
    pub fn parse(text: &str) -> Result<Self, String> {
        text.trim()
            .parse::<bytesize::ByteSize>()
            .map(|b| Self(b.as_u64()))
            .map_err(|_| format!("`{text}` is not a size: write a whole number of bytes or 64KiB, 1MiB"))
    }
}

impl Serialize for SizeSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for SizeSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = SizeSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size: a whole number of bytes, or text such as 64KiB, 1MiB")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Self::Value, E> {
                Ok(SizeSetting(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Self::Value, E> {
                u64::try_from(bytes).map(SizeSetting).map_err(|_| E::custom(format!("{bytes} is negative")))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                SizeSetting::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for SizeSetting {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(0.0)))
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)))
            .description(Some("Bytes, or text such as `64KiB`, `1MiB`"))
            .examples([json!(1_048_576), json!("1MiB")])
            .into()
    }
}
impl ToSchema for SizeSetting {
    fn name() -> Cow<'static, str> {
        "Size".into()
    }
}

/// The HTTP statuses that are good: `200`, `"2xx"`, `"200-299"`, or a list of these. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExpectedStatus {
    /// Inclusive ranges within 100–599.
    ranges: Vec<(u16, u16)>,
    /// Whether it was written as a list, so that it is given back as one.
    listed: bool,
}

impl ExpectedStatus {
    /// Exactly this status.
    pub fn exactly(code: u16) -> Self {
        Self { ranges: vec![(code, code)], listed: false }
    }

    pub fn contains(&self, code: u16) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&code))
    }

    fn range(low: u16, high: u16) -> Result<(u16, u16), String> {
        if low < 100 || high > 599 {
            Err(format!("{} is no HTTP status: 100 to 599", if low < 100 { low } else { high }))
        } else if low > high {
            Err(format!("{low}-{high} is empty: the first status is the lower one"))
        } else {
            Ok((low, high))
        }
    }

    fn parse_one(text: &str) -> Result<(u16, u16), String> {
        let text = text.trim();
        let wrong =
            || format!("`{text}` is not an expected status: write 200, \"2xx\", \"200-299\", or a list of these");
        // The standard library would also read `+200`.
        let digits = |text: &str| match text.trim() {
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u16>().map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let class = digits(class)?;
            return if (1..=5).contains(&class) { Ok((class * 100, class * 100 + 99)) } else { Err(wrong()) };
        }
        if let Some((low, high)) = text.split_once('-') {
            return Self::range(digits(low)?, digits(high)?);
        }
        let code = digits(text)?;
        Self::range(code, code)
    }

    fn number(code: i128) -> Result<(u16, u16), String> {
        let code16 = u16::try_from(code).map_err(|_| format!("{code} is no HTTP status: 100 to 599"))?;
        Self::range(code16, code16)
    }

    fn write_one((low, high): (u16, u16)) -> serde_json::Value {
        if low == high {
            json!(low)
        } else if low % 100 == 0 && high == low + 99 {
            json!(format!("{}xx", low / 100))
        } else {
            json!(format!("{low}-{high}"))
        }
    }
}

impl fmt::Display for ExpectedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match Self::write_one(*range) {
                serde_json::Value::String(text) => f.write_str(&text)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for ExpectedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.ranges.as_slice() {
            [one] if !self.listed => Self::write_one(*one).serialize(serializer),
            many => serializer.collect_seq(many.iter().map(|r| Self::write_one(*r))),
        }
    }
}

impl<'de> Deserialize<'de> for ExpectedStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ExpectedStatus;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expected status: 200, \"2xx\", \"200-299\", or a list of these")
            }
            fn visit_u64<E: de::Error>(self, code: u64) -> Result<Self::Value, E> {
                let range = ExpectedStatus::number(code.into()).map_err(E::custom)?;
                Ok(ExpectedStatus { ranges: vec![range], listed: false })
            }
            fn visit_i64<E: de::Error>(self, code: i64) -> Result<Self::Value, E> {
                let range = ExpectedStatus::number(code.into()).map_err(E::custom)?;
                Ok(ExpectedStatus { ranges: vec![range], listed: false })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let range = ExpectedStatus::parse_one(text).map_err(E::custom)?;
                Ok(ExpectedStatus { ranges: vec![range], listed: false })
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut ranges = Vec::new();
                while let Some(item) = seq.next_element::<ExpectedStatus>()? {
                    if item.listed || ranges.len() >= 100 {
                        return Err(de::Error::custom("a flat list of at most 100 statuses is expected"));
                    }
                    ranges.extend(item.ranges);
                }
                if ranges.is_empty() {
                    return Err(de::Error::custom("the list of expected statuses is empty: nothing would ever be up"));
                }
                Ok(ExpectedStatus { ranges, listed: true })
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl PartialSchema for ExpectedStatus {
    fn schema() -> RefOr<Schema> {
        let one = || {
            OneOfBuilder::new()
                .item(
                    ObjectBuilder::new()
                        .schema_type(SchemaType::new(Type::Integer))
                        .minimum(Some(100.0))
                        .maximum(Some(599.0)),
                )
                .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).examples([json!("2xx")]))
        };
        one()
            .item(utoipa::openapi::schema::ArrayBuilder::new().items(one()))
            .description(Some("`200`, `\"2xx\"`, `\"200-299\"`, or a list of these"))
            .examples([json!(200)])
            .into()
    }
}
impl ToSchema for ExpectedStatus {
    fn name() -> Cow<'static, str> {
        "ExpectedStatus".into()
    }
}

/// A request body: text as it is, or a mapping (or list) that is sent as JSON with its content type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestBody {
    Text(String),
    Json(serde_json::Value),
}

impl PartialSchema for RequestBody {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)))
            .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Object)))
            .description(Some("Text as it is, or a mapping which is sent as JSON"))
            .into()
    }
}
impl ToSchema for RequestBody {
    fn name() -> Cow<'static, str> {
        "RequestBody".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;

    fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, String> {
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())
    }

    /// Reads each value, and asserts that it is written as said.
    fn assert_round_trips<T: DeserializeOwned + Serialize>(table: &[(serde_json::Value, serde_json::Value)]) {
        for (given, written) in table {
            let setting: T = read(given).unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(serde_json::to_value(&setting).unwrap(), *written, "{given}");
        }
    }

    /// Asserts that each value is refused in words that contain the text beside it.
    fn assert_refused<T: DeserializeOwned + fmt::Debug>(table: &[(serde_json::Value, &str)]) {
        for (given, words) in table {
            let error = read::<T>(given).expect_err(&given.to_string());
            assert!(error.contains(words), "{given}: {error}");
        }
    }

    #[test]
    fn durations_are_whole_seconds_or_text_with_units() {
        assert_round_trips::<DurationSetting>(&[
            (json!(0), json!(0)),
            (json!(60), json!(60)),
            (json!(60.0), json!(60)),
            (json!("60"), json!(60)),
            (json!("500ms"), json!("500ms")),
            (json!("30s"), json!(30)),
            (json!("1h30m"), json!(5400)),
            (json!("1h 30m"), json!(5400)),
            (json!(" 10d "), json!(864_000)),
            (json!("1s500ms"), json!("1s500ms")),
        ]);
        for (seconds, shown) in [(0, "0s"), (5, "5s"), (90, "1m30s"), (86_400, "1day")] {
            assert_eq!(DurationSetting(Duration::from_secs(seconds)).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_right_form() {
        assert_refused::<DurationSetting>(&[
            (json!(-1), "-1 is negative"),
            (json!(0.5), "write milliseconds as 500ms"),
            (json!(-0.5), "is not a whole number of seconds"),
            (json!(1e300), "is not a whole number of seconds"),
            (json!("soon"), "`soon` is not a duration"),
            (json!(""), "is not a duration"),
            (json!("-5s"), "is not a duration"),
            (json!("5 parsecs"), "is not a duration"),
            (json!("200y"), "at most 100 years"),
            (json!(u64::MAX), "at most 100 years"),
            (json!("99999999999999999999s"), "is not a duration"),
            (json!(null), "expected a duration"),
            (json!(true), "expected a duration"),
            (json!([1]), "expected a duration"),
        ]);
    }

    #[test]
    fn sizes_are_bytes_or_text_with_units() {
        assert_round_trips::<SizeSetting>(&[
            (json!(0), json!(0)),
            (json!(1000), json!(1000)),
            (json!("1000"), json!(1000)),
            (json!("64KiB"), json!(65_536)),
            (json!("64 KiB"), json!(65_536)),
            (json!("1MiB"), json!(1_048_576)),
            (json!("1MB"), json!(1_000_000)),
        ]);
        assert_refused::<SizeSetting>(&[
            (json!(-1), "-1 is negative"),
            (json!("large"), "`large` is not a size"),
            (json!(""), "is not a size"),
            (json!("-1KiB"), "is not a size"),
            (json!(1.5), "expected a size"),
            (json!(null), "expected a size"),
        ]);
    }

    #[test]
    fn expected_statuses_are_given_back_as_they_were_written() {
        assert_round_trips::<ExpectedStatus>(&[
            (json!(200), json!(200)),
            (json!("200"), json!(200)),
            (json!("2xx"), json!("2xx")),
            (json!("5XX"), json!("5xx")),
            (json!("200-299"), json!("2xx")),
            (json!("200 - 204"), json!("200-204")),
            (json!("418-418"), json!(418)),
            (json!([200]), json!([200])),
            (json!([200, "3xx", "401-403"]), json!([200, "3xx", "401-403"])),
        ]);
    }

    #[test]
    fn what_is_no_expected_status_is_refused() {
        assert_refused::<ExpectedStatus>(&[
            (json!(99), "99 is no HTTP status"),
            (json!(600), "600 is no HTTP status"),
            (json!(-200), "-200 is no HTTP status"),
            (json!(70_000), "70000 is no HTTP status"),
            (json!("600"), "600 is no HTTP status"),
            (json!("6xx"), "`6xx` is not an expected status"),
            (json!("0xx"), "`0xx` is not an expected status"),
            (json!("xx"), "`xx` is not an expected status"),
            (json!("+2xx"), "`+2xx` is not an expected status"),
            (json!("+200"), "`+200` is not an expected status"),
            (json!("200-"), "`200-` is not an expected status"),
            (json!("299-200"), "299-200 is empty"),
            (json!("200-600"), "600 is no HTTP status"),
            (json!("ok"), "`ok` is not an expected status"),
            (json!(200.5), "expected an expected status"),
            (json!([]), "the list of expected statuses is empty"),
            (json!([200, [201]]), "a flat list"),
            (json!([200, "ok"]), "`ok` is not an expected status"),
            (json!(vec![200; 101]), "at most 100"),
            (json!(null), "expected an expected status"),
        ]);
    }

    #[test]
    fn a_body_is_text_or_json() {
        assert_eq!(read(&json!("a: 1")), Ok(RequestBody::Text("a: 1".to_owned())));
        for value in [json!({"a": 1}), json!([1])] {
            assert_eq!(read(&value), Ok(RequestBody::Json(value)));
        }
        assert_round_trips::<RequestBody>(&[(json!("x"), json!("x")), (json!({"a": [1]}), json!({"a": [1]}))]);
    }

    proptest! {
        #[test]
        fn any_duration_is_read_back_as_it_was(nanos in 0_u64..3_000_000_000_000_000_000) {
            let setting = DurationSetting(Duration::from_nanos(nanos));
            let written = serde_json::to_value(setting).unwrap();
            prop_assert_eq!(read::<DurationSetting>(&written), Ok(setting));
            prop_assert_eq!(DurationSetting::parse(&setting.to_string()), Ok(setting));
        }

        #[test]
        fn a_range_contains_exactly_what_lies_in_it(low in 100_u16..=599, span in 0_u16..200, code in 0_u16..1000) {
            let high = (low + span).min(599);
            let range: ExpectedStatus = read(&json!(format!("{low}-{high}"))).unwrap();
            prop_assert_eq!(range.contains(code), low <= code && code <= high);
            let again = read::<ExpectedStatus>(&serde_json::to_value(&range).unwrap());
            prop_assert_eq!(again, Ok(range));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,12}") {
            drop(DurationSetting::parse(&text));
            drop(SizeSetting::parse(&text));
            drop(read::<ExpectedStatus>(&json!(text)));
        }
    }
}
