//! What an examination is shown as, and why a condition does not hold, in a sentence.

use super::evaluate::{ConditionSeen, Shown, Unseen, Verdict};
use super::{Dialect, Operand, Operator, Source};

impl Verdict {
    /// With the values that were seen: `[STATUS] (502) == 200`.
    pub fn seen(&self, degrades: bool) -> ConditionSeen {
        let dialect = self.condition.dialect;
        let side = |operand: &Operand, shown: &Shown| match (shown.unseen, &shown.value) {
            (Some(_), _) if dialect == Dialect::Gatus => format!("{operand} (INVALID)"),
            (Some(Unseen::NoNumber | Unseen::NoTime) | None, Some(value)) => {
                format!("{operand} ({value})")
            }
            (Some(unseen), _) => format!("{operand} ({})", unseen.word()),
            (None, None) => operand.to_string(),
        };
        let left = side(&self.condition.left, &self.left);
        let right = side(&self.condition.right, &self.right);
        ConditionSeen {
            condition: self.condition.to_string(),
            success: self.holds,
            seen: format!("{left} {} {right}", self.condition.operator.as_str()),
            degrades,
            why: (!self.holds).then(|| self.sentence()),
        }
    }

    /// It cannot be said without the part of the body that was not read.
    pub fn needs_more_body(&self) -> bool {
        [&self.left, &self.right].iter().any(|shown| shown.unseen == Some(Unseen::Cut))
    }

    /// Why it does not hold: `[BODY].status was "degraded", expected "ok"`. Without a full stop.
    pub fn sentence(&self) -> String {
        let condition = &self.condition;
        let operator = condition.operator;
        let left_is_seen = condition.left.source().is_some();
        let (seen, shown, other, other_shown, operator) = if left_is_seen {
            (&condition.left, &self.left, &condition.right, &self.right, operator)
        } else {
            (&condition.right, &self.right, &condition.left, &self.left, operator.turned())
        };
        let was = match (shown.unseen, &shown.value) {
            (Some(unseen), value) => unseen.sentence(&seen.to_string(), value.as_deref()),
            (None, Some(value)) => format!("{seen} was {}", quoted(seen, value, shown.is_number)),
            (None, None) => return format!("{condition} does not hold"),
        };
        let wanted = match (other, &other_shown.value, other_shown.unseen) {
            (Operand::Literal(text), ..)
                if matches!(seen, Operand::Has(_)) || super::evaluate::number(text).is_some() =>
            {
                text.clone()
            }
            (Operand::Literal(text), ..) => format!("\"{}\"", crate::domain::outcome::shown(text)),
            (Operand::Matcher(matcher), ..) => crate::domain::outcome::shown(&matcher.to_string()),
            (_, Some(value), None) => format!("{other} ({})", quoted(other, value, other_shown.is_number)),
            (_, _, Some(unseen)) => format!("{other} ({})", unseen.word()),
            (_, None, None) => other.to_string(),
        };
        format!("{was}, expected {}{wanted}", operator.words())
    }
}

impl Operator {
    /// The same with its sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::AtMost => Self::AtLeast,
            Self::AtLeast => Self::AtMost,
            Self::Less => Self::Greater,
            Self::Greater => Self::Less,
            same => same,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Equal => "",
            Self::NotEqual => "anything but ",
            Self::AtMost => "at most ",
            Self::AtLeast => "at least ",
            Self::Less => "less than ",
            Self::Greater => "more than ",
        }
    }
}

fn quoted(operand: &Operand, value: &str, is_number: bool) -> String {
    match operand {
        Operand::Source(Source::Placeholder(placeholder))
            if placeholder.is_time() && value.bytes().all(|b| b.is_ascii_digit() || b == b'.') =>
        {
            format!("{value} ms")
        }
        _ if is_number || matches!(operand, Operand::Has(_)) || value == "***" => value.to_owned(),
        _ => format!("\"{value}\""),
    }
}

impl Unseen {
    fn word(self) -> &'static str {
        match self {
            Self::NotThere => "not there",
            Self::NotJson => "not JSON",
            Self::TooMany => "too large to be asked",
            Self::Cut => "cut",
            Self::NoTime => "no time",
            Self::NoNumber => "no number",
        }
    }

    fn sentence(self, operand: &str, value: Option<&str>) -> String {
        let value = value.unwrap_or_default();
        match self {
            Self::NotThere => format!("{operand} is not there"),
            Self::NotJson => format!("{operand} cannot be read because the body is not JSON"),
            Self::TooMany => format!("{operand} cannot be read because the JSON of the body is too large"),
            Self::Cut => format!("{operand} needs more of the body than is read"),
            Self::NoTime => format!("{operand} cannot be told because the text is no time"),
            Self::NoNumber => format!("{operand} was \"{value}\", which is no number"),
        }
    }
}
