//! `did you mean …`.

/// The longest word for which something is suggested, in bytes.
const MAX_WORD: usize = 200;

/// The candidate a person most likely meant: the same but for case and separators, or a few letters off.
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Comparing takes time with the length, and nobody means a name by so long a word.
    if word.len() > MAX_WORD {
        return None;
    }
    let plain = normalised(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&plain, &normalised(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(plain.len()) / 5)
        // Words of two letters or less are one letter from everything.
        .filter(|(distance, candidate)| *distance == 0 || candidate.len() > 2)
        .map(|(_, candidate)| candidate)
}

/// `MaxAttempts`, `max-attempts` and `max_attempts` are the same.
fn normalised(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let keys = ["interval", "timeout", "expected_status", "url", "max_attempts"];
        for (word, meant) in [
            ("intervall", Some("interval")),
            ("Timeout", Some("timeout")),
            ("expected-status", Some("expected_status")),
            ("maxAttempts", Some("max_attempts")),
            ("ulr", Some("url")),
            ("channels", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, keys), meant, "{word}");
        }
    }
}
