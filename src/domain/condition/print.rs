//! A condition as a text, which is read as the same condition again.

use std::fmt;

use super::{Condition, Matcher, Operand, Source};

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.operator.as_str(), self.right)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Source(source) => source.fmt(f),
            Self::Len(source) => write!(f, "len({source})"),
            Self::Has(source) => write!(f, "has({source})"),
            Self::Age(source) => write!(f, "age({source})"),
            Self::Matcher(matcher) => matcher.fmt(f),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder(placeholder) => placeholder.fmt(f),
            Self::Query { of, query } if query.contains('"') => write!(f, "jsonpath({of}, {query})"),
            Self::Query { of, query } => write!(f, "jsonpath({of}, \"{query}\")"),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(glob) => write!(f, "pat({glob})"),
            Self::Any(texts) => write!(f, "any({})", texts.join(", ")),
            Self::Regex(regex) => write!(f, "regex({regex})"),
            Self::Contains(text) => write!(f, "contains({text})"),
        }
    }
}
