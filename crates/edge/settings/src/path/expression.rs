//! Reads `path_regex`: a regular expression that is looked for in the canonical path.
//!
//! The engine takes time in proportion to the path, whatever the expression: none is refused for
//! its form, and what it may cost is bounded by its size. Paths are ASCII, and so are expressions:
//! `\d`, `\w` and `(?i)` mean ASCII, which keeps them small.

use model::Name;
use model::configuration::REGEX_COMPILED_BYTES_MAX;
use regex::bytes::{Regex, RegexBuilder, RegexSetBuilder};

use crate::finding::{Finding, quote};
use crate::reader::Value;

/// Bytes of the text of an expression, at most.
const TEXT_BYTES_MAX: usize = 1_000;

/// Bytes of memory of all compiled expressions of a configuration together, at most.
const TOGETHER_BYTES_MAX: usize = 16 << 20;

/// Reads an expression; reports one that cannot be compiled, or that no path matches.
pub(super) fn expression(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let Some((problem, help)) = problem(text) else { return Some(Name::from(text)) };
    let message = format!("{} is not a regular expression for paths", quote(text));
    let finding = Finding::error("invalid-regex", value.span.clone(), message);
    value.report(finding.label(problem).help(help));
    None
}

/// Compiles an expression as the door does.
pub(crate) fn compiled(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(REGEX_COMPILED_BYTES_MAX).build()
}

/// Whether expressions that each compile are small enough together.
pub(crate) fn fit_together<'t>(texts: impl Iterator<Item = &'t str>) -> bool {
    RegexSetBuilder::new(texts).unicode(false).size_limit(TOGETHER_BYTES_MAX).build().is_ok()
}

fn problem(text: &str) -> Option<(String, &'static str)> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("more than {TEXT_BYTES_MAX} bytes");
        return Some((problem, "split it into several routes"));
    }
    if !text.is_ascii() {
        let help = "percent-encode what is not ASCII, as requests do (`ä` is `%C3%A4`)";
        return Some(("no path matches it".to_owned(), help));
    }
    if let Err(error) = compiled(text) {
        return Some(if let regex::Error::CompiledTooBig(_) = error {
            ("it needs more than 256 KiB of memory".to_owned(), "repeat less: `+` for `{1,500}`")
        } else {
            // The last line says what is wrong, those before it show where.
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default();
            let problem = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            (problem, "the syntax is that of the `regex` crate, without Unicode classes")
        });
    }
    let begins = text.strip_prefix('^').filter(|_| !text.contains('|')).map(str::as_bytes);
    let letter = match begins {
        Some([letter, b'?' | b'*' | b'{', ..]) if letter.is_ascii_alphanumeric() => None,
        Some([letter, ..]) if letter.is_ascii_alphanumeric() => Some(*letter),
        Some(_) | None => None,
    };
    letter.map(|_| ("no path matches it".to_owned(), "every path begins with `/`: write `^/`"))
}
