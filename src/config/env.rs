//! The environment as a value. The only place that reads the process's own, and the `.env` file under it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::errors::{ConfigError, ConfigErrors, SourceRef};

/// Environment variables, by name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process over those of `.env` in the working directory, if there is one.
    /// Variables that are not Unicode are left out.
    ///
    /// # Errors
    /// `.env` cannot be read, or a line of it is not `NAME=value`.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        let mut variables = dotenv(Path::new(".env"))?;
        variables.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self(variables))
    }

    /// Exactly these variables.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of a variable, which may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable; an empty one counts as not set.
    pub(super) fn get_filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn without(&self, mut unwanted: impl FnMut(&str, &str) -> bool) -> Self {
        Self(
            self.0.iter().filter(|(name, value)| !unwanted(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect(),
        )
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn dotenv(path: &Path) -> Result<BTreeMap<String, String>, ConfigErrors> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(ConfigError::of_file(path.display(), format!("cannot be read: {e}")).into()),
    };
    let mut variables = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        match pair {
            Ok((name, value)) => {
                variables.insert(name, value);
            }
            Err(error) => return Err(bad_line(path, text, &error).into()),
        }
    }
    Ok(variables)
}

/// Points at the line without showing it: it may hold a secret.
fn bad_line(path: &Path, text: &str, error: &dotenvy::Error) -> ConfigError {
    let line = match error {
        // It names the line, or only its value.
        dotenvy::Error::LineParse(bad, _) => {
            let bad = bad.lines().next().unwrap_or_default().trim();
            let mut candidates = text.lines().enumerate().filter(|(_, line)| line.trim().ends_with(bad));
            candidates.next().filter(|_| candidates.next().is_none()).map(|(index, _)| index)
        }
        _ => None,
    };
    let line = line.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX));
    let at = SourceRef { file: path.display().to_string(), line, column: 0 };
    ConfigError::new(at, "", "is not NAME=value")
        .with_help("put a value with spaces or quotes into quotes: NAME='a value'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_reads_comments_and_quotes_and_hides_a_bad_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "# a comment\nLOG_FORMAT=json  # json or text\nexport A='b c'\n").unwrap();
        let read = dotenv(&path).unwrap();
        assert_eq!(read["LOG_FORMAT"], "json");
        assert_eq!(read["A"], "b c");

        std::fs::write(&path, "A=b\nSECRET=hunter2 and more\n").unwrap();
        let error = dotenv(&path).unwrap_err();
        assert_eq!(error.0[0].line, 2);
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(dotenv(&folder.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::from_pairs([("API_KEY", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"API_KEY"}"#);
    }
}
