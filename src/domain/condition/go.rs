//! Texts as numbers, by the rules of Go's standard library, which are Gatus's.

use std::time::Duration;

/// An integer of 64 bits in any base that its prefix says: `200`, `0x1F`, `010` (octal), `0b11`, `1_000`.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits, after_prefix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    let plain = without_underscores(digits, after_prefix)?;
    if plain.is_empty() || plain.starts_with(['+', '-']) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(&plain, radix).ok()?);
    i64::try_from(if negative { -size } else { size }).ok()
}

/// An underscore stands between two digits, or after the prefix.
fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let mut digit_before = after_prefix;
    for c in digits.chars() {
        match c {
            '_' if !digit_before => return None,
            '_' => digit_before = false,
            _ => digit_before = true,
        }
    }
    (digit_before || digits.is_empty()).then(|| digits.replace('_', ""))
}

/// A number with a point or an exponent.
pub(super) fn float(text: &str) -> Option<f64> {
    let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let number: f64 = text.parse().ok()?;
    // Too large a number is none, unless infinity was written.
    (number.is_finite() || matches!(word.as_str(), "inf" | "infinity" | "nan")).then_some(number)
}

/// A duration: `1h30m`, `500ms`, `1.5s`, `-2h`. In milliseconds. `None`: the text is none, or longer than 290 years.
pub(super) fn duration(text: &str) -> Option<f64> {
    units(
        text,
        &[("ns", 1e-6), ("us", 1e-3), ("µs", 1e-3), ("μs", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6)],
    )
}

/// The same, also in days: `10d`.
pub(super) fn duration_in_days(text: &str) -> Option<f64> {
    duration(text).or_else(|| {
        let days = text.strip_suffix('d')?;
        let is_plain = !days.is_empty() && days.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        days.parse::<f64>().ok().filter(|days| is_plain && *days <= 1e5).map(|days| days * 8.64e7)
    })
}

fn units(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() || total == 0.0 {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(end);
        if number == "." {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * size;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    // Go counts nanoseconds in 64 bits.
    (total < 9.2e12).then_some(if negative { -total } else { total })
}

/// A number as Go shows one of 64 bits with a point: `1`, `0.5`, `1e+06`.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    // The shortest digits that are read as the same number.
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        format!("{value}")
    } else {
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

/// A duration as Gatus shows one: whole seconds, without parts that are zero at its end: `336h`, `1h30m`, `0s`.
pub(super) fn shown(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let seconds = Duration::from_millis(milliseconds.unsigned_abs()).as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = match (hours, minutes, seconds) {
        (0, 0, 0) => return "0s".to_owned(),
        (0, 0, _) => String::new(),
        (0, _, _) => format!("{minutes}m"),
        (_, 0, 0) => format!("{hours}h"),
        _ => format!("{hours}h{minutes}m"),
    };
    let rest = if seconds > 0 { format!("{seconds}s") } else { String::new() };
    format!("{sign}{text}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_the_base_of_their_prefix() {
        for (text, expected) in [
            ("200", Some(200)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("010", Some(8)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("0x_1", Some(1)),
            ("0_7", Some(7)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("0x", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("1.0", None),
            (" 1", None),
            ("1e3", None),
            ("٣", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_milliseconds() {
        for (text, expected) in [
            ("500ms", Some(500.0)),
            ("1h30m", Some(5_400_000.0)),
            ("1.5s", Some(1500.0)),
            ("-2h", Some(-7_200_000.0)),
            ("100us", Some(0.1)),
            ("100µs", Some(0.1)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            (".5s", Some(500.0)),
            ("1h1h", Some(7_200_000.0)),
            ("5", None),
            ("1d", None),
            ("s", None),
            (".s", None),
            ("", None),
            ("1h ", None),
            ("1 h", None),
            ("1..5s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
        for (value, expected) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (-2.25, "-2.25"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-100, "1e-100"),
        ] {
            assert_eq!(number(value), expected);
        }
        for (milliseconds, expected) in [
            (1_209_600_000, "336h"),
            (5_400_000, "1h30m"),
            (3_615_000, "1h0m15s"),
            (999, "0s"),
            (-61_000, "-1m1s"),
            (90_000, "1m30s"),
            (60_000, "1m"),
        ] {
            assert_eq!(shown(milliseconds), expected);
        }
        assert_eq!(duration_in_days("10d"), Some(864_000_000.0));
        assert_eq!(duration_in_days("1.5d"), Some(129_600_000.0));
        for text in ["d", "1e3d", "-1d", "inf d", "1 d"] {
            assert_eq!(duration_in_days(text), None, "{text}");
        }
    }
}
