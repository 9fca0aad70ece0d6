//! The two lists of an endpoint: what must hold, and what must hold for it not to be degraded.

use super::{Condition, Dialect, MOST_CONDITIONS, Needs, Placeholder};

/// The conditions of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// All must hold, or it is down.
    pub required: Vec<Condition>,
    /// All must hold, or it is degraded.
    pub degraded_unless: Vec<Condition>,
    pub dialect: Dialect,
}

/// A mistake in a list: under which of its entries, `None` for the whole list, a stable word and a sentence.
type Mistake = (Option<usize>, &'static str, String);

impl Conditions {
    /// Reads one list, and tells every mistake in it.
    pub fn read(texts: &[String], dialect: Dialect) -> (Vec<Condition>, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        if texts.len() > MOST_CONDITIONS {
            mistakes.push((None, "out_of_range", format!("too many conditions: at most {MOST_CONDITIONS}")));
        }
        let mut conditions = Vec::new();
        for (i, text) in texts.iter().enumerate().take(MOST_CONDITIONS) {
            match Condition::parse(text, dialect) {
                Ok(condition) => {
                    let why = condition.placeholders().find_map(never_seen);
                    mistakes.extend(why.map(|why| (Some(i), "invalid", why.to_owned())));
                    conditions.push(condition);
                }
                Err(error) => mistakes.push((Some(i), "invalid", error.to_string())),
            }
        }
        (conditions, mistakes)
    }

    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.degraded_unless.is_empty()
    }

    /// What must be kept of an answer.
    pub fn needs(&self) -> Needs {
        Needs::of(self.required.iter().chain(&self.degraded_unless))
    }

    /// They say themselves which status is expected.
    pub fn name_the_status(&self) -> bool {
        self.name(&Placeholder::Status)
    }

    /// They say themselves which code of a name server is expected.
    pub fn name_the_rcode(&self) -> bool {
        self.name(&Placeholder::DnsRcode)
    }

    fn name(&self, wanted: &Placeholder) -> bool {
        self.required.iter().flat_map(Condition::placeholders).any(|placeholder| placeholder == wanted)
    }
}

/// Why a condition over this could never hold.
fn never_seen(placeholder: &Placeholder) -> Option<&'static str> {
    match placeholder {
        Placeholder::Context(_) => Some("[CONTEXT] has values between the steps of a suite only, which this is not"),
        Placeholder::DomainExpiration => {
            Some("[DOMAIN_EXPIRATION] is not looked up: the expiry of domains is asked of no registry")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_every_mistake_told() {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (good, mistakes) = Conditions::read(
            &texts(&["[STATUS] == 200", "[BODY] = x", "[DOMAIN_EXPIRATION] > 30d", "[CONTEXT].x == 1"]),
            Dialect::Strict,
        );
        assert_eq!(good.len(), 3, "all that can be read");
        let told: Vec<_> = mistakes.iter().map(|(i, code, detail)| (i.unwrap(), *code, detail.as_str())).collect();
        assert_eq!(told[0].0, 1);
        assert!(told[0].2.starts_with("column 8: `=` is no operator"), "{told:?}");
        assert!(told[1].2.contains("[DOMAIN_EXPIRATION]") && told[2].2.contains("[CONTEXT]"), "{told:?}");
        let many = vec!["[STATUS] == 200".to_owned(); MOST_CONDITIONS + 1];
        assert_eq!(Conditions::read(&many, Dialect::Strict).1[0].0, None);
    }

    #[test]
    fn what_is_needed_is_what_is_named() {
        let read = |text: &str| Conditions {
            degraded_unless: vec![Condition::parse(text, Dialect::Strict).unwrap()],
            ..Conditions::default()
        };
        for (text, body, body_size, headers) in [
            ("[STATUS] == 200", false, false, false),
            ("5 > len([BODY].a)", true, true, false),
            ("jsonpath([BODY], $..a) == 1", true, true, false),
            ("[BODY_SIZE] > 5", false, true, false),
            ("[HEADER].a == b", false, false, true),
        ] {
            assert_eq!(read(text).needs(), Needs { body, body_size, headers }, "{text}");
            assert!(!read(text).name_the_status(), "{text}");
        }
        let required = read("[STATUS] < 300").degraded_unless;
        assert!(Conditions { required, ..Conditions::default() }.name_the_status());
    }
}
