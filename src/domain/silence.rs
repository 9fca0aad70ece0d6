//! Silences: somebody knows of it, and does not want to be told until then. What is silenced is checked, shown and
//! counted like everything else.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::domain::endpoint::RuleError;
use crate::domain::maintenance::check_selectors;
use crate::domain::selector::Selectors;

/// The furthest end of a silence from now.
pub const LONGEST: TimeDelta = TimeDelta::days(366);

/// The longest comment, in characters.
const LONGEST_COMMENT: usize = 2_000;

/// What of a silence is set, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceSettings {
    /// Of which endpoints nothing is told. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none", rename = "match")]
    pub selectors: Option<Selectors>,
    /// When it ends: at most 366 days from now. Required but in a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<DateTime<Utc>>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub comment: Option<String>,
}

/// A silence, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub id: i64,
    pub settings: SilenceSettings,
    /// What of it cannot be read: then it silences nothing.
    pub unreadable: Option<String>,
    pub created_at: Timestamp,
    /// The name of whoever made it.
    pub created_by: String,
    pub updated_at: Timestamp,
    /// Counts changes; the ETag.
    pub revision: i64,
}

impl SilenceSettings {
    /// What is wrong with it. `before`: as it was, if it is being changed; an end that stays is believed.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn check(&self, before: Option<&Self>, now: Timestamp) -> Result<(), Vec<RuleError>> {
        let mut errors: Vec<RuleError> = check_selectors(self.selectors.as_ref()).err().into_iter().collect();
        let mut wrong = |pointer: &str, code, detail: String| {
            errors.push(RuleError { pointer: pointer.to_owned(), code, detail });
        };
        match self.until {
            None => wrong("/until", "required", "`until` is required: a silence has an end".to_owned()),
            Some(until) if before.and_then(|before| before.until) == Some(until) => {}
            Some(until) if until <= now => wrong("/until", "out_of_range", "must be in the future".to_owned()),
            Some(until) if until > now + LONGEST => {
                wrong("/until", "out_of_range", "must be within 366 days from now".to_owned());
            }
            Some(_) => {}
        }
        if self.comment.as_ref().is_some_and(|text| text.chars().count() > LONGEST_COMMENT || text.contains('\0')) {
            let detail = format!("at most {LONGEST_COMMENT} characters, none of them NUL");
            wrong("/comment", "out_of_range", detail);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl Silence {
    /// When it ends, or has ended.
    pub fn until(&self) -> Timestamp {
        self.settings.until.unwrap_or(self.created_at)
    }

    /// Whether it has not ended.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.unreadable.is_none() && now < self.until()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_has_an_end_that_is_near() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let ending = |until| SilenceSettings { selectors: Some(Selectors(vec!["*".into()])), until, comment: None };
        let wrong = |until| ending(until).check(None, now).err().map(|errors| errors[0].pointer.clone());
        assert_eq!(wrong(Some(now + TimeDelta::seconds(1))), None);
        assert_eq!(wrong(Some(now + LONGEST)), None);
        for until in [None, Some(now), Some(now - TimeDelta::days(1)), Some(now + LONGEST + TimeDelta::seconds(1))] {
            assert_eq!(wrong(until).as_deref(), Some("/until"), "{until:?}");
        }
        let over = ending(Some(now));
        assert!(over.check(Some(&over), now).is_ok(), "the comment of one that is over may be changed");
        let errors = SilenceSettings { comment: Some("x".repeat(2_001)), ..Default::default() }.check(None, now);
        let pointers: Vec<_> = errors.unwrap_err().into_iter().map(|error| error.pointer).collect();
        assert_eq!(pointers, ["/match", "/until", "/comment"]);
    }
}
