//! Query strings: each route names the parameters it knows; an unknown, repeated or ill-typed one is refused, and
//! all mistakes are told at once.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::Datelike;
use percent_encoding::percent_decode_str;
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use super::error::Problem;
use crate::domain::Timestamp;
use crate::service::error::FieldError;

/// The most items of one page.
pub const MAX_LIMIT: u64 = 1000;

/// A query string being read.
#[derive(Debug, Default)]
pub struct Params {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

/// What a route reads from its query string.
pub trait FromParams: Sized {
    fn from_params(params: &mut Params) -> Self;
}

/// No parameters at all.
impl FromParams for () {
    fn from_params(_: &mut Params) {}
}

/// A key by which a list can be ordered; [`sort_keys`] makes them.
pub trait SortKey: Copy + 'static {
    const ALL: &'static [Self];

    /// As it is written in a query.
    fn word(self) -> &'static str;
}

/// The keys by which a list can be ordered, with their words.
macro_rules! sort_keys {
    ($(#[doc = $doc:literal])* $vis:vis enum $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($variant,)+ }

        impl crate::api::pagination::SortKey for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        // Of a parameter, so with both directions.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                crate::api::pagination::sort_schema::<Self>()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
pub(super) use sort_keys;

/// The order of a list: by a key, the other way round with `-` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort<K> {
    pub by: K,
    pub descending: bool,
}

impl<K: SortKey> Sort<K> {
    fn parse(text: &str) -> Result<Self, String> {
        let (word, descending) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
        K::ALL.iter().find(|key| key.word() == word).map(|by| Self { by: *by, descending }).ok_or_else(|| {
            let words: Vec<&str> = K::ALL.iter().map(|key| key.word()).collect();
            format!("must be one of {}, or one of them after -", words.join(", "))
        })
    }

    /// Brings items into this order. Those that `compare` calls equal stay in the order in which they are.
    pub fn arrange<T>(self, items: &mut [T], compare: impl Fn(K, &T, &T) -> Ordering) {
        items.sort_by(|a, b| if self.descending { compare(self.by, b, a) } else { compare(self.by, a, b) });
    }
}

/// Every way to ask for an order by these keys.
pub fn sort_schema<K: SortKey>() -> RefOr<Schema> {
    let words = K::ALL.iter().flat_map(|key| [key.word().to_owned(), format!("-{}", key.word())]);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// `sort`, `limit` and `offset`, and nothing else.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams<K: SortKey + ToSchema> {
    /// By what the list is ordered; `-` before it reverses.
    #[param(inline, value_type = Option<K>)]
    pub sort: Option<Sort<K>>,
    /// Items of one page, 1 to 1000. Default 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    limit: (),
    /// Items before the page. Default 0.
    #[param(value_type = Option<u64>)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    offset: (),
    #[param(ignore)]
    pub page: Page,
}

impl<K: SortKey + ToSchema> FromParams for PageParams<K> {
    fn from_params(params: &mut Params) -> Self {
        Self { sort: params.sort(), limit: (), offset: (), page: params.page(100) }
    }
}

/// The query of a request, read as `T`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::parse(parts.uri.query().unwrap_or_default());
        let value = T::from_params(&mut params);
        params.finish().map(|()| Self(value)).map_err(Problem::invalid)
    }
}

impl Params {
    fn parse(query: &str) -> Self {
        let mut params = Self::default();
        for pair in query.split('&') {
            let Some((name, value)) = url::form_urlencoded::parse(pair.as_bytes()).next() else { continue };
            // What is no text was replaced, and would be looked for as something that nobody has written.
            if percent_decode_str(pair).decode_utf8().is_err() {
                params.refuse(&name, "invalid", "must be percent-encoded UTF-8");
                continue;
            }
            if params.values.insert(name.to_string(), value.into_owned()).is_some() {
                params.refuse(&name, "conflict", "is given more than once");
            }
        }
        params
    }

    fn refuse(&mut self, name: &str, rule: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError::parameter(name, rule, detail));
    }

    fn finish(mut self) -> Result<(), Vec<FieldError>> {
        for name in std::mem::take(&mut self.values).into_keys() {
            self.refuse(&name, "unknown", "is not a parameter of this route");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }

    /// The text of a parameter.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// A parameter read by `parse`; its error says what would be right.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.refuse(name, "invalid", detail);
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: FromStr>(&mut self, name: &str, words: &str) -> Option<T> {
        self.parsed(name, |text| text.parse().map_err(|_| format!("must be one of {words}")))
    }

    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, |text| text.parse().map_err(|_| "must be true or false".to_owned()))
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(value) if bounds.contains(&value) => Some(value),
            _ => {
                let detail = format!("must be a whole number, {} to {}", bounds.start(), bounds.end());
                self.refuse(name, "out_of_range", detail);
                None
            }
        }
    }

    /// An instant: RFC 3339 with its offset honoured, a time without offset in UTC, or a UTC day, which stands for
    /// its first instant.
    pub fn instant(&mut self, name: &str) -> Option<Moment> {
        self.parsed(name, parse_moment)
    }

    /// `sort`.
    pub fn sort<K: SortKey>(&mut self) -> Option<Sort<K>> {
        self.parsed("sort", Sort::parse)
    }

    /// `limit` and `offset`.
    pub fn page(&mut self, default_limit: u64) -> Page {
        Page {
            limit: self.number("limit", 1..=MAX_LIMIT).unwrap_or(default_limit),
            offset: self.number("offset", 0..=i64::MAX.unsigned_abs()).unwrap_or(0),
        }
    }
}

/// An instant of a query, and whether it was written as a whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    pub whole_day: bool,
}

impl Moment {
    /// The first instant after it, when it stands at the end of a range: a day is included whole.
    pub fn as_end(self) -> Timestamp {
        if self.whole_day { self.at.checked_add_signed(chrono::TimeDelta::days(1)).unwrap_or(self.at) } else { self.at }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_moment(text)
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    // A `+` that was not percent-encoded arrives as a space; no form of an instant has `T` and a space.
    let text = if text.contains(['T', 't']) { text.replace(' ', "+") } else { text.to_owned() };
    let day = text.parse::<chrono::NaiveDate>().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    let moment = if let Ok(at) = day {
        Moment { at, whole_day: true }
    } else {
        let at = chrono::DateTime::parse_from_rfc3339(&text)
            .map(|t| t.to_utc())
            .or_else(|_| text.parse::<chrono::NaiveDateTime>().map(|t| t.and_utc()))
            .map_err(|_| "must be a date such as 2024-01-25 or an instant such as 2024-01-25T10:00:00Z")?;
        Moment { at, whole_day: false }
    };
    // What every calendar and the store agree on.
    if (1..=9999).contains(&moment.at.year()) { Ok(moment) } else { Err("must be in the years 1 to 9999".to_owned()) }
}

/// A slice of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: u64,
    pub offset: u64,
}

impl Page {
    /// The items of this page.
    pub fn cut<T>(self, items: Vec<T>) -> Vec<T> {
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        items.into_iter().skip(skip).take(usize::try_from(self.limit).unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<String, String> {
        parse_moment(text).map(|m| m.at.to_rfc3339())
    }

    #[test]
    fn instants_honour_their_offset() {
        for (text, expected) in [
            ("2024-01-25", "2024-01-25T00:00:00+00:00"),
            ("2024-01-25T10:00:00Z", "2024-01-25T10:00:00+00:00"),
            ("2024-01-25T10:00:00+02:00", "2024-01-25T08:00:00+00:00"),
            ("2024-01-25T10:00:00 02:00", "2024-01-25T08:00:00+00:00"),
            ("2024-01-25T10:00:00", "2024-01-25T10:00:00+00:00"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in
            ["", "yesterday", "2024-13-01", "2024-02-30", "1706176800", "+262142-01-01T00:00:00Z", "-0044-03-15"]
        {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_at_the_end_of_a_range_is_included_whole() {
        let day = parse_moment("2024-01-25").unwrap();
        assert_eq!(day.as_end().to_rfc3339(), "2024-01-26T00:00:00+00:00");
    }

    sort_keys! {
        /// Of a list in a test.
        enum Key {
            Name = "name",
            Size = "size",
        }
    }

    #[test]
    fn a_list_is_ordered_by_a_key_in_both_directions_and_what_is_alike_stays() {
        let by = |text: &str| {
            let mut items = [("b", 1), ("a", 2), ("c", 1)];
            Sort::<Key>::parse(text).map(|sort| {
                sort.arrange(&mut items, |key, x, y| match key {
                    Key::Name => x.0.cmp(y.0),
                    Key::Size => x.1.cmp(&y.1),
                });
                items.map(|(name, _)| name).concat()
            })
        };
        for (text, order) in [("name", "abc"), ("-name", "cba"), ("size", "bca"), ("-size", "abc")] {
            assert_eq!(by(text).as_deref(), Ok(order), "{text}");
        }
        for text in ["", "-", "--name", "Name", "name,size", "password"] {
            assert_eq!(by(text), Err("must be one of name, size, or one of them after -".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_name() {
        for (query, name) in [("search=%ff", "search"), ("a=1&tag=x%C3", "tag"), ("%ff=1", "\u{fffd}")] {
            let errors = Params::parse(query).errors;
            let told: Vec<_> = errors.iter().map(|e| format!("{:?} {}", e.place, e.rule)).collect();
            assert_eq!(told, [format!("Parameter({name:?}) invalid")], "{query}");
        }
        for query in ["search=%C3%A9&tag=a+b", "search=%00", "", "&&", "search=100%", "search=%zz"] {
            assert!(Params::parse(query).errors.is_empty(), "{query}");
        }
    }

    #[test]
    fn every_mistake_of_a_query_is_told_at_once() {
        let mut params = Params::parse("limit=-1&offset=x&nonsense=1&limit=2");
        params.page(100);
        let errors = params.finish().unwrap_err();
        let names: Vec<_> = errors.iter().map(|e| format!("{:?} {}", e.place, e.rule)).collect();
        assert_eq!(
            names,
            ["Parameter(\"limit\") conflict", "Parameter(\"offset\") out_of_range", "Parameter(\"nonsense\") unknown"]
        );
    }
}
