//! The language of conditions: `[STATUS] == 200`, `[BODY].status == ok`, `[RESPONSE_TIME] < 500ms`.
//!
//! The surface is Gatus's, so that its lists can be taken over as they are. A text is read once into a
//! [`Condition`]; a mistake is told with its column. Examined strictly, what was not seen makes every comparison over it
//! false; a condition read as [`Dialect::Gatus`] compares as Gatus does.

mod compat;
mod evaluate;
mod evidence;
mod function;
mod go;
mod json;
mod list;
mod parse;
mod placeholder;
mod print;
mod words;

pub use evaluate::{ConditionSeen, Examiner, Unseen, Verdict};
pub use evidence::{Answer, Evidence, MAX_EXCERPT, MAX_HEADER, MOST_HEADERS};
pub use list::Conditions;
pub use parse::{ConditionError, MAX_CONDITION};
pub use placeholder::{Path, Placeholder, Step};

/// The most conditions of a list.
pub const MOST_CONDITIONS: usize = 50;

/// How conditions are read and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// What was not seen makes every comparison over it false; mistakes that can be known are refused.
    #[default]
    Strict,
    /// As Gatus compares: what was not seen is a text, and 0 as a number.
    Gatus,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    left: Operand,
    operator: Operator,
    right: Operand,
    dialect: Dialect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
}

impl Operator {
    const ALL: [Self; 6] = [Self::Equal, Self::NotEqual, Self::AtMost, Self::AtLeast, Self::Less, Self::Greater];

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::Greater => ">",
        }
    }

    /// It asks which is the greater one.
    fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// One side of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Literal(String),
    Source(Source),
    Len(Source),
    Has(Source),
    Age(Source),
    Matcher(Matcher),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Placeholder(Placeholder),
    /// RFC 9535.
    Query {
        of: Placeholder,
        query: String,
    },
}

/// What a text is compared with that is no single text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    /// A glob over the whole text.
    Pattern(String),
    Any(Vec<String>),
    /// Somewhere in the text.
    Regex(String),
    Contains(String),
}

/// What a condition must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    pub body: bool,
    /// Whether the body was read to its end.
    pub body_size: bool,
    pub headers: bool,
}

impl Operand {
    fn source(&self) -> Option<&Source> {
        match self {
            Self::Source(source) | Self::Len(source) | Self::Has(source) | Self::Age(source) => Some(source),
            Self::Literal(_) | Self::Matcher(_) => None,
        }
    }
}

impl Source {
    fn placeholder(&self) -> &Placeholder {
        match self {
            Self::Placeholder(placeholder) | Self::Query { of: placeholder, .. } => placeholder,
        }
    }
}

impl Condition {
    /// What it names, on both sides.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        [&self.left, &self.right].into_iter().filter_map(|operand| operand.source().map(Source::placeholder))
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}

impl Needs {
    /// Of all together.
    pub fn of<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> Self {
        conditions.into_iter().flat_map(Condition::placeholders).fold(Self::default(), |needs, placeholder| Self {
            body: needs.body || matches!(placeholder, Placeholder::Body(_)),
            body_size: needs.body_size || matches!(placeholder, Placeholder::Body(_) | Placeholder::BodySize),
            headers: needs.headers || matches!(placeholder, Placeholder::Header(_)),
        })
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
