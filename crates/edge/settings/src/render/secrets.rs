//! Where a text may hold secrets, so that neither excerpts nor whole texts show them.
//!
//! Found by form and not by meaning, since a text with mistakes has none: the string of every key
//! `value`, and the user and password of a Redis URL. What is hidden too much does no harm.

use std::borrow::Cow;
use std::ops::Range;

/// The text of a configuration with `…` in place of each part that may be secret: the string of
/// every key `value`, and the user and password of a Redis URL. Borrowed when there is none.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for secret in secrets {
        // A string may hold what looks like another secret.
        let start = secret.start.max(end);
        masked.push_str(text.get(end..start).unwrap_or_default());
        if secret.end > start {
            masked.push('…');
        }
        end = secret.end.max(end);
    }
    masked.push_str(text.get(end..).unwrap_or_default());
    Cow::Owned(masked)
}

/// The places of what may be secret, in order.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let values = text.match_indices("value").filter_map(|(index, word)| {
        let before = text.get(..index)?.bytes().next_back();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let behind = index + word.len();
        (!before.is_some_and(is_word)).then(|| string_of_key(text, behind)).flatten()
    });
    let users = text.match_indices("redis://").filter_map(|(index, scheme)| {
        let start = index + scheme.len();
        let rest = text.get(start..)?;
        let end = rest.find(['"', '\'', '\n']).unwrap_or(rest.len());
        let at = rest.get(..end)?.rfind('@')?;
        Some(start..start + at)
    });
    let mut secrets: Vec<Range<usize>> = values.chain(users).collect();
    secrets.sort_by_key(|secret| secret.start);
    secrets
}

/// The string that a key has whose name ends at `behind`.
fn string_of_key(text: &str, behind: usize) -> Option<Range<usize>> {
    let rest = text.get(behind..)?;
    let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
    let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let start = text.len() - rest.len();
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote))?;
    let inner = rest.get(quote.len()..)?;
    let mut escaped = false;
    let end = inner.char_indices().find(|(index, character)| {
        let ends = !escaped && inner.get(*index..).is_some_and(|rest| rest.starts_with(quote));
        escaped = !escaped && *character == '\\' && quote.starts_with('"');
        ends || (*character == '\n' && quote.len() == 1)
    });
    let end = end.map_or(inner.len(), |(index, _)| index);
    Some(start + quote.len()..start + quote.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let secret = |range| text.get(range).expect("a part of the text");
        let found: Vec<&str> = secrets(text).into_iter().map(secret).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_text_is_shown_without_secrets() {
        for (text, expected) in [
            ("[door]\n", "[door]\n"),
            ("key = { header = 'x', value = 'a' } # b", "key = { header = 'x', value = '…' } # b"),
            ("value = ''\nurl = 'redis://a:b@c'", "value = ''\nurl = 'redis://…@c'"),
            ("value = 'redis://a:b@c'\nvalue = \"d\"", "value = '…'\nvalue = \"…\""),
        ] {
            assert_eq!(without_secrets(text), expected);
        }
    }

    #[test]
    fn secrets_are_found() {
        check("key = { header = 'x', value = 'a b' }", &["a b"]);
        check("value=\"a\\\"b\"\nvalues = 'c'\nmy_value = 'd'", &["a\\\"b"]);
        check("key.\"value\" = 'a\\'", &["a\\"]);
        check("value = \"\"\"a\n\"b\"\"\" # c", &["a\n\"b"]);
        check("value = 'unfinished\nvalue = 1\nvalue", &["unfinished"]);
        check("url = \"redis://a:b@c\"\nurl = 'redis://c'", &["a:b"]);
    }
}
