//! Colours of what is printed: only for people, and only where they want them.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Effects, Style};

use crate::config::Environment;

/// Whether texts are coloured, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// As standard output and the environment want it.
    pub(super) fn of(environment: &Environment) -> Self {
        Self { is_on: wanted(|name| environment.get(name), std::io::stdout().is_terminal()) }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.with(Style::new() | Effects::BOLD, text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.with(Style::new() | Effects::DIMMED, text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.is_on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// `NO_COLOR` (no-color.org) before `CLICOLOR_FORCE` and `CLICOLOR` (bixense.com/clicolors) before what the terminal is.
fn wanted<'e>(variable: impl Fn(&str) -> Option<&'e str>, is_terminal: bool) -> bool {
    if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    is_terminal && variable("CLICOLOR") != Some("0") && variable("TERM") != Some("dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_people_who_want_them() {
        for (variables, terminal, piped) in [
            (&[][..], true, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("NO_COLOR", "")], true, false),
            (&[("CLICOLOR_FORCE", "1")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false),
            (&[("CLICOLOR", "0")], false, false),
            (&[("TERM", "dumb")], false, false),
            (&[("TERM", "xterm")], true, false),
        ] {
            let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            assert_eq!((wanted(of, true), wanted(of, false)), (terminal, piped), "{variables:?}");
        }
    }

    #[test]
    fn without_colours_a_text_is_as_it_was() {
        assert_eq!(Paint { is_on: false }.bad("down"), "down");
        assert_eq!(Paint { is_on: true }.bad("down"), "\u{1b}[31mdown\u{1b}[0m");
    }
}
