//! Escaping for Telegram's parse modes.
//!
//! A person's template is trusted markup, values are not. In the old `Markdown` a backslash escapes outside of
//! entities only, so what a value becomes there depends on the entity in which its placeholder stands.

use crate::config::channels::TelegramParseMode as Mode;
use crate::domain::template::{Part, Template};
use crate::notify::channel::cut;
use crate::notify::render::{Facts, html};

/// Text that is to be read as text.
pub(super) fn escape(text: &str, mode: Mode) -> String {
    match mode {
        Mode::None => text.to_owned(),
        Mode::Html => html(text),
        Mode::MarkdownV2 => backslashed(text, V2_SPECIAL),
        Mode::Markdown => guarded(backslashed(text, MARKDOWN_SPECIAL)),
    }
}

/// Text set in bold.
pub(super) fn bold(text: &str, mode: Mode) -> String {
    if text.is_empty() {
        return String::new();
    }
    match mode {
        Mode::None => text.to_owned(),
        Mode::Html => format!("<b>{}</b>", html(text)),
        Mode::MarkdownV2 => format!("*{}*", backslashed(text, V2_SPECIAL)),
        Mode::Markdown => format!("*{}*", in_entity(text, '*')),
    }
}

/// A person's template with values of at most `max_chars` characters.
pub(super) fn fill(template: &Template, facts: &Facts<'_>, mode: Mode, max_chars: usize) -> String {
    let mut text = String::new();
    let mut place = Place::Text;
    for part in &template.parts {
        match part {
            Part::Text(literal) => {
                if mode == Mode::Markdown {
                    place = place.after(literal);
                }
                text.push_str(literal);
            }
            Part::Value(placeholder) => {
                let value = cut(facts.value(*placeholder), max_chars);
                match (mode, place) {
                    (Mode::Markdown, Place::Entity(end)) => text.push_str(&in_entity(&value, end)),
                    (Mode::Markdown, Place::Pre) => text.push_str(&value.replace('`', "'")),
                    _ => text.push_str(&escape(&value, mode)),
                }
            }
        }
    }
    text
}

/// What the old `Markdown` reads as markup.
const MARKDOWN_SPECIAL: &str = "_*`[";
/// What `MarkdownV2` reads as markup. A backslash before any of them is right everywhere, in code and links too.
const V2_SPECIAL: &str = "_*[]()~`>#+-=|{}.!\\";

fn backslashed(text: &str, special: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A backslash at the end would escape what the template goes on with.
fn guarded(mut text: String) -> String {
    if text.ends_with('\\') {
        text.push('\u{200b}');
    }
    text
}

/// A value within an entity of the old `Markdown`: its end is the only markup there, and cannot be escaped, so the
/// entity is closed for it and opened again.
fn in_entity(text: &str, end: char) -> String {
    match end {
        // The text of a link cannot be interrupted.
        ']' => text.replace(']', ")"),
        // An address that ends early would leave the rest as text.
        ')' => text.replace(')', "%29"),
        end => text.replace(end, &format!("{end}\\{end}{end}")),
    }
}

/// Where in a text of the old `Markdown` a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// After an opening mark, until this character.
    Entity(char),
    /// Between three backticks.
    Pre,
}

impl Place {
    /// Where one is after reading `literal` from here.
    fn after(self, literal: &str) -> Self {
        let mut place = self;
        let mut rest = literal;
        while let Some(c) = rest.chars().next() {
            let mut taken = c.len_utf8();
            place = match place {
                Self::Text if c == '\\' && rest[1..].starts_with(|c| MARKDOWN_SPECIAL.contains(c)) => {
                    taken += 1;
                    place
                }
                Self::Text if rest.starts_with("```") => {
                    taken = 3;
                    Self::Pre
                }
                Self::Text => match c {
                    '_' | '*' | '`' => Self::Entity(c),
                    '[' => Self::Entity(']'),
                    _ => Self::Text,
                },
                Self::Entity(']') if rest.starts_with("](") => {
                    taken = 2;
                    Self::Entity(')')
                }
                Self::Entity(end) if c == end => Self::Text,
                Self::Pre if rest.starts_with("```") => {
                    taken = 3;
                    Self::Text
                }
                place => place,
            };
            rest = &rest[taken..];
        }
        place
    }
}

#[cfg(test)]
mod tests;
