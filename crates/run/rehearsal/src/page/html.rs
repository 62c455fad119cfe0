//! HTML that was escaped when it was made, so that it can be put together without a thought.

use std::fmt;

/// A piece of a page. Only this room makes it from markup; others make it from text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Text, escaped for elements and quoted attributes. Characters that reorder or hide what is
    /// shown are written out.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len() + 8);
        for character in text.chars() {
            match character {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                '\n' => escaped.push('\n'),
                '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}' => escaped.extend(character.escape_unicode()),
                _ if character.is_control() => escaped.extend(character.escape_unicode()),
                _ => escaped.push(character),
            }
        }
        Self(escaped)
    }

    /// A paragraph of text.
    #[must_use]
    pub fn paragraph(text: &str) -> Self {
        Self(format!("<p>{}</p>", Self::text(text)))
    }

    /// Paragraphs: empty lines in the text part them.
    #[must_use]
    pub fn paragraphs(text: &str) -> Self {
        Self::all(
            text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(Self::paragraph),
        )
    }

    /// Text as it is written, lines and spaces kept.
    #[must_use]
    pub fn preformatted(text: &str) -> Self {
        Self(format!("<pre tabindex=\"0\">{}</pre>", Self::text(text)))
    }

    /// Several pieces, one after the other.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }

    /// A piece with a small heading of its own.
    #[must_use]
    pub fn titled(heading: &str, part: &Self) -> Self {
        Self(format!("<div class=\"part\"><h3>{}</h3>{part}</div>", Self::text(heading)))
    }

    /// Across the whole section instead of one column of it.
    #[must_use]
    pub fn wide(self) -> Self {
        Self(format!("<div class=\"wide\">{self}</div>"))
    }

    /// Pieces one below the other, as one column of a section.
    #[must_use]
    pub fn stacked(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(format!("<div class=\"stacked\">{}</div>", Self::all(parts)))
    }

    /// Folded away behind a line that opens it.
    #[must_use]
    pub fn folded(summary: &str, part: &Self) -> Self {
        Self(format!("<details><summary>{}</summary>{part}</details>", Self::text(summary)))
    }

    /// Markup of this room, escaped where it had to be.
    pub(crate) fn markup(markup: String) -> Self {
        Self(markup)
    }
}

impl fmt::Display for Html {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
