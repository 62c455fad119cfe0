//! A report as one HTML file that needs nothing else: no script, no other host.
//!
//! A [`Page`] is a title, a banner with the verdict, tiles and sections of charts and tables.
//! Both themes follow the reader's setting, and every chart carries its numbers as a table.
//! Invariant: text from outside becomes HTML through [`Html::text`] alone, which escapes it; a
//! content security policy in the page stops whatever might get past that.

pub mod chart;
mod html;
mod scale;
mod style;
mod table;
mod unit;

pub use html::Html;
pub use scale::Scale;
pub use table::{Cell, table};
pub use unit::Unit;

/// What something says about the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
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
    /// Its class in the page's style.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    /// What stands before its text, so that colour is not the only sign.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{2713} ",
            Self::Warning => "! ",
            Self::Bad => "\u{2717} ",
        }
    }
}

/// One number that matters, shown large.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// What it is.
    pub label: String,
    /// The number with its unit.
    pub value: String,
    /// What to compare it with; may be empty.
    pub note: String,
    /// What it says.
    pub tone: Tone,
}

/// A report under construction. What is added stands in the order it was added.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    style: &'static str,
    body: String,
}

impl Page {
    /// A page with this title, and what was run below it.
    #[must_use]
    pub fn new(title: &str, subtitle: &str) -> Self {
        let body = format!(
            "<header><h1>{}</h1><p class=\"subtitle\">{}</p></header>\n",
            Html::text(title),
            Html::text(subtitle)
        );
        Self { title: title.to_owned(), style: "", body }
    }

    /// Adds a sheet of this room for parts that only one kind of report has.
    pub(crate) fn styled(mut self, style: &'static str) -> Self {
        self.style = style;
        self
    }

    /// Adds a part of this room as it is.
    pub(crate) fn add(&mut self, part: &Html) {
        self.body.push_str(&part.to_string());
    }

    /// The verdict in one line, and what it rests on.
    pub fn banner(&mut self, tone: Tone, headline: &str, details: &[String]) {
        let details: String =
            details.iter().map(|detail| format!("<li>{}</li>", Html::text(detail))).collect();
        let list = if details.is_empty() { String::new() } else { format!("<ul>{details}</ul>") };
        self.body.push_str(&format!(
            "<div class=\"banner {}\" role=\"status\"><p><span aria-hidden=\"true\">{}</span>{}</p>{list}</div>\n",
            tone.class(),
            tone.mark(),
            Html::text(headline)
        ));
    }

    /// A row of numbers.
    pub fn tiles(&mut self, tiles: &[Tile]) {
        self.body.push_str("<dl class=\"tiles\">");
        for tile in tiles {
            self.body.push_str(&format!(
                "<div class=\"tile {}\"><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"note\">{}</dd></div>",
                tile.tone.class(),
                Html::text(&tile.label),
                Html::text(&tile.value),
                Html::text(&tile.note)
            ));
        }
        self.body.push_str("</dl>\n");
    }

    /// A heading and what belongs under it, two abreast where the window is wide enough.
    pub fn section(&mut self, heading: &str, parts: impl IntoIterator<Item = Html>) {
        self.headed(heading, "grid", parts);
    }

    /// The same for small parts, three abreast.
    pub fn cards(&mut self, heading: &str, parts: impl IntoIterator<Item = Html>) {
        self.headed(heading, "grid cards", parts);
    }

    fn headed(&mut self, heading: &str, class: &str, parts: impl IntoIterator<Item = Html>) {
        self.body.push_str(&format!(
            "<section><h2>{}</h2><div class=\"{class}\">{}</div></section>\n",
            Html::text(heading),
            Html::all(parts)
        ));
    }

    /// The whole file.
    #[must_use]
    pub fn render(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
            Html::text(&self.title),
            style::STYLE,
            self.style,
            self.body
        )
    }
}

#[cfg(test)]
mod tests;
