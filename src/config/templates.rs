//! What people write for messages: every placeholder of a template must be one that a message can fill in.

use crate::domain::placeholder::placeholders;
use crate::domain::suggest::closest;
use crate::domain::template::Placeholder;

/// What a message can fill in.
fn known() -> impl Iterator<Item = &'static str> {
    Placeholder::ALL.iter().map(|placeholder| placeholder.as_str())
}

/// A placeholder that stands for nothing.
pub(super) struct Unknown {
    pub(super) message: String,
    /// What would be right.
    pub(super) help: String,
}

/// The unknown placeholders of a template, each once.
pub(super) fn check(template: &str) -> Vec<Unknown> {
    let mut unknown: Vec<&str> = Vec::new();
    for (_, word) in placeholders(template) {
        if !known().any(|known| known == word) && !unknown.contains(&word) {
            unknown.push(word);
        }
    }
    let of = |word: &str| Unknown {
        message: format!("{{{word}}} is not a placeholder"),
        help: match closest(word, known()) {
            Some(meant) => format!("did you mean {{{meant}}} ?"),
            None => {
                format!("known here: {}", known().map(|known| format!("{{{known}}}")).collect::<Vec<_>>().join(" "))
            }
        },
    };
    unknown.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_placeholders_are_found_and_other_braces_are_text() {
        let told = |template: &str| check(template).iter().map(|u| u.message.clone()).collect::<Vec<_>>();
        let all = known().map(|known| format!("{{{known}}}")).collect::<Vec<_>>().concat();
        for good in ["", "{\"text\": \"*{endpoint_name}*\\n{error}\"}", "{ error } {0} {Error} {{url}}", &all] {
            assert!(told(good).is_empty(), "{good}");
        }
        assert_eq!(
            told("{endpoint} {endpoint} {er}"),
            ["{endpoint} is not a placeholder", "{er} is not a placeholder"]
        );
        assert_eq!(check("{endpoint_nam}")[0].help, "did you mean {endpoint_name} ?");
        assert!(check("{nothing_like_it}")[0].help.starts_with("known here: {endpoint_name} {group}"));
    }
}
