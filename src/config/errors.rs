//! What is told about a configuration: [`ConfigErrors`] that refuse it, [`ConfigWarning`]s that do not, and
//! the [`SourceRef`] both point with. Values substituted from variables or
//! secret files never appear.

use std::fmt;

/// Where something is written: a file with line and column, or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    /// The file as it was named, or `environment variable NAME`.
    pub file: String,
    /// From 1; 0 where a line makes no sense.
    pub line: u32,
    /// From 1, in characters; 0 where a column makes no sense.
    pub column: u32,
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named, or `environment variable NAME`.
    pub file: String,
    /// From 1; 0 where a line makes no sense.
    pub line: u32,
    /// From 1, in characters; 0 where a column makes no sense.
    pub column: u32,
    /// The key from the top: `endpoints[3].retry.max_attempts`. Empty for a file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl ConfigError {
    pub(super) fn new(at: SourceRef, path: impl fmt::Display, message: impl Into<String>) -> Self {
        let SourceRef { file, line, column } = at;
        Self { file, line, column, path: path.to_string(), message: message.into(), help: None }
    }

    /// A mistake of a file as a whole.
    pub(super) fn of_file(file: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(SourceRef { file: file.to_string(), line: 0, column: 0 }, "", message)
    }

    #[must_use]
    pub(super) fn with_help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// Where the mistake is.
    pub fn source_ref(&self) -> SourceRef {
        SourceRef { file: self.file.clone(), line: self.line, column: self.column }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source_ref())?;
        if !self.path.is_empty() {
            write!(f, "  {}", self.path)?;
        }
        for line in self.message.lines().chain(self.help.iter().flat_map(|help| help.lines())) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// Every mistake of a configuration, in the order of the files and their lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { "\n\n" } else { "" })?;
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something a person should know, though the configuration is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Where it is written.
    pub source: SourceRef,
    /// The key from the top.
    pub path: String,
    pub message: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if !self.path.is_empty() {
            write!(f, "  {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}
