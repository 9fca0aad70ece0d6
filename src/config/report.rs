//! Collects what is wrong and what is worth knowing while a configuration is read.

use std::fmt;

use super::errors::{ConfigError, ConfigErrors, ConfigWarning};
use super::tree::Place;

/// What a JSON pointer says below a place of the configuration: `/a/0/b` is `.a[0].b`.
pub(super) fn path_below(pointer: &str) -> String {
    let is_index = |step: &str| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    let steps = pointer.split('/').skip(1);
    steps.map(|step| if is_index(step) { format!("[{step}]") } else { format!(".{step}") }).collect()
}

#[derive(Default)]
pub(super) struct Report {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
}

impl Report {
    pub(super) fn error(&mut self, at: &Place, path: impl fmt::Display, message: impl Into<String>) {
        self.error_with_help(at, path, message, None);
    }

    pub(super) fn error_with_help(
        &mut self,
        at: &Place,
        path: impl fmt::Display,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.errors.push(ConfigError::new(at.to_ref(), path, message).with_help(help));
    }

    pub(super) fn warn(&mut self, at: &Place, path: impl fmt::Display, message: impl Into<String>) {
        self.warnings.push(ConfigWarning { source: at.to_ref(), path: path.to_string(), message: message.into() });
    }

    /// The warnings, or every error in the order of `files` and of their lines; variables come last.
    pub(super) fn finish(mut self, files: &[String]) -> Result<Vec<ConfigWarning>, ConfigErrors> {
        let rank = |file: &str| files.iter().position(|f| f == file).unwrap_or(files.len());
        // What stands once and is used by several aliases is told once.
        let mut seen = std::collections::HashSet::new();
        if self.errors.is_empty() {
            self.warnings
                .retain(|w| seen.insert((w.source.file.clone(), w.source.line, w.source.column, w.message.clone())));
            self.warnings.sort_by_key(|w| (rank(&w.source.file), w.source.line, w.source.column));
            return Ok(self.warnings);
        }
        self.errors.sort_by_key(|e| (rank(&e.file), e.line, e.column));
        self.errors.retain(|e| seen.insert((e.file.clone(), e.line, e.column, e.message.clone())));
        Err(ConfigErrors(self.errors))
    }
}
