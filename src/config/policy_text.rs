//! Keys of an alert policy, as written on a command line: `{failure_threshold: 3}`.

use std::sync::Arc;

use super::de::typed;
use super::load::parse;
use super::report::Report;
use super::tree::{Source, Trail};
use crate::domain::endpoint::AlertPolicySettings;

/// Reads them.
///
/// # Errors
/// Every mistake, one a line.
pub fn policy_of_text(text: &str) -> Result<AlertPolicySettings, String> {
    let told = |errors: &[super::ConfigError]| {
        let all: Vec<String> = errors
            .iter()
            .map(|error| {
                let help = error.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
                let path = if error.path.is_empty() { String::new() } else { format!("{} ", error.path) };
                format!("{path}{}{help}", error.message)
            })
            .collect();
        all.join("\n")
    };
    let source = Arc::new(Source::File("--policy".to_owned()));
    let node = parse(&source, text).map_err(|errors| told(&errors))?;
    let mut report = Report::default();
    let read = typed::<AlertPolicySettings>(&node, &Trail::Root, &mut report);
    if report.errors.is_empty() { Ok(read.value) } else { Err(told(&report.errors)) }
}

#[cfg(test)]
mod tests {
    use super::policy_of_text;

    #[test]
    fn keys_are_read_as_in_a_file_and_mistakes_are_named() {
        let read = policy_of_text("{failure_threshold: 3, cooldown_seconds: 10m}").unwrap();
        assert!(read.failure_threshold.is_some() && read.confirm_interval.is_none());
        let wrong = policy_of_text("{failure_treshold: 3}").unwrap_err();
        assert!(wrong.contains("failure_threshold"), "{wrong}");
        assert!(policy_of_text("{failure_threshold: ").is_err());
    }
}
