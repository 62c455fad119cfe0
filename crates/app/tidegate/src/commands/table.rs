//! Plain tables for terminals: aligned columns, and a colour per cell where it says something.
//!
//! Invariant: every cell passes through [`printable`] before it is placed.

use std::fmt::Write as _;

use crate::output::printable;

/// What a cell's colour means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }

    /// The text in this tone, made printable.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        let text = printable(text);
        if colour && self != Self::Plain {
            format!("{}{text}\u{1b}[0m", self.code())
        } else {
            text.into_owned()
        }
    }
}

/// One cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()).into_owned(), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Columns whose heading begins with `>` are aligned right, as numbers are.
pub(crate) fn table(headings: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.text));
            cells.max().unwrap_or(0).max(width(heading.trim_start_matches('>')))
        })
        .collect();
    let heading_row: Vec<Cell> =
        headings.iter().map(|heading| Cell::from(heading.trim_start_matches('>'))).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading_row).chain(rows) {
        let mut line = String::new();
        for ((cell, width_max), heading) in row.iter().zip(&widths).zip(headings) {
            let gap = " ".repeat(width_max.saturating_sub(width(&cell.text)));
            let shown = if colour && cell.tone != Tone::Plain {
                format!("{}{}\u{1b}[0m", cell.tone.code(), cell.text)
            } else {
                cell.text.clone()
            };
            let placed = if heading.starts_with('>') {
                format!("{gap}{shown}")
            } else {
                format!("{shown}{gap}")
            };
            write!(line, "  {placed}").expect("writing to a String never fails");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [vec!["a".into(), "10".into()], vec![Cell::new("longer\u{1b}", Tone::Bad), "5".into()]];
        assert_eq!(
            table(&["NAME", ">N"], &rows, false),
            "  NAME           N\n  a             10\n  longer\\u{1b}   5\n"
        );
        assert_eq!(
            table(&["NAME", ">N"], &rows, true),
            "  NAME           N\n  a             10\n  \u{1b}[31mlonger\\u{1b}\u{1b}[0m   5\n"
        );
        assert_eq!(table(&["NAME"], &[], false), "  NAME\n");
    }
}
