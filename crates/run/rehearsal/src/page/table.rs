//! Tables: the plain form of every number on the page.

use super::{Html, Tone};

/// One cell.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell that says something about the run.
    #[must_use]
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table. Columns whose heading begins with `>` are aligned right, as numbers are; the first
/// column names its row. An empty caption is left out.
#[must_use]
pub fn table(caption: &str, headings: &[&str], rows: &[Vec<Cell>]) -> Html {
    let class = |heading: &str| if heading.starts_with('>') { " class=\"number\"" } else { "" };
    let head: String = headings
        .iter()
        .map(|heading| {
            let text = Html::text(heading.trim_start_matches('>'));
            format!("<th scope=\"col\"{}>{text}</th>", class(heading))
        })
        .collect();
    let body: String = rows
        .iter()
        .map(|row| {
            let cells: String = row
                .iter()
                .zip(headings)
                .enumerate()
                .map(|(column, (cell, heading))| {
                    let tag = if column == 0 { "th scope=\"row\"" } else { "td" };
                    let end = if column == 0 { "th" } else { "td" };
                    format!("<{tag}{}>{}</{end}>", class(heading), content(cell))
                })
                .collect();
            format!("<tr>{cells}</tr>")
        })
        .collect();
    let caption = if caption.is_empty() {
        String::new()
    } else {
        format!("<caption>{}</caption>", Html::text(caption))
    };
    Html::markup(format!(
        "<div class=\"scroll\" tabindex=\"0\"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    ))
}

fn content(cell: &Cell) -> String {
    let text = Html::text(&cell.text);
    match cell.tone {
        Tone::Plain => text.to_string(),
        tone @ (Tone::Good | Tone::Warning | Tone::Bad) => {
            format!("<span class=\"{}\">{}{text}</span>", tone.class(), tone.mark())
        }
    }
}
