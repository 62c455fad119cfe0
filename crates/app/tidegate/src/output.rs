//! What goes to the terminal: data on stdout, and nothing in it that could steer the terminal.
//!
//! Invariant: text that came from outside passes through [`printable`] before it is shown, so no
//! escape sequence in a name or a reason reaches the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};

/// Whether `NO_COLOR` is absent or empty (no-color.org).
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether stdout shows colours.
pub(crate) fn colours_on_stdout() -> bool {
    std::io::stdout().is_terminal() && colours_wanted()
}

/// Whether stderr shows colours.
pub(crate) fn colours_on_stderr() -> bool {
    std::io::stderr().is_terminal() && colours_wanted()
}

/// Writes data to stdout. A reader that left early (`| head`) is no failure.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// `text` on one line, with every character escaped that could move the cursor, change colours
/// or reorder what is shown.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| !is_shown(character))
}

/// As [`printable`], but with its line ends kept: for findings of several lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && !is_shown(character))
}

fn escaped(text: &str, unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&unwanted) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if unwanted(character) {
            write!(shown, "{}", character.escape_unicode())
                .expect("writing to a String never fails");
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// False for control characters (C0, DEL, C1) and for the marks that reorder or hide text.
fn is_shown(character: char) -> bool {
    let reorders = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !character.is_control() && !reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        for (text, expected) in [
            ("plain", "plain"),
            ("grün 東京", "grün 東京"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{7f}", "\\u{7f}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable_lines("a\nb\u{1b}c"), "a\nb\\u{1b}c");
    }
}
