//! Where a text may hold secrets, so that neither excerpts nor whole texts show them.
//!
//! Found by form and not by meaning, since a text with mistakes has none: the string of every key
//! `value`, and of every key that is the name of a header field of credentials, the user and password of a Redis URL, and hashes of passwords. What is hidden too much
//! does no harm.

use std::borrow::Cow;
use std::ops::Range;

use model::configuration::may_hold_secret;

/// What hashes of passwords begin with.
const HASHES: [&str; 4] = ["$2a$", "$2b$", "$2y$", "$argon2"];

/// The text of a configuration with `…` in place of each part that may be secret: the string of
/// every key `value`, the user and password of a Redis URL, and hashes of passwords. Borrowed when there is none.
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
    let hashes = HASHES.into_iter().flat_map(|start| {
        text.match_indices(start).filter_map(|(index, _)| {
            let rest = text.get(index..)?;
            let ends = |character: char| character.is_whitespace() || "\"'".contains(character);
            Some(index..index + rest.find(ends).unwrap_or(rest.len()))
        })
    });
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let fields = words(text, is_part).filter_map(|word| {
        let name = text.get(word.clone())?;
        let is_field = !name.contains('_') && may_hold_secret(name);
        is_field.then(|| string_of_key(text, word.end)).flatten()
    });
    let mut secrets: Vec<Range<usize>> = values.chain(fields).chain(users).chain(hashes).collect();
    secrets.sort_by_key(|secret| secret.start);
    secrets
}

/// The places of the words of a text.
fn words(text: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut rest = 0..text.len();
    std::iter::from_fn(move || {
        let start = rest.start + text.get(rest.clone())?.find(&is_part)?;
        let word = text.get(start..rest.end)?;
        let end = start + word.find(|character| !is_part(character)).unwrap_or(word.len());
        rest.start = end;
        Some(start..end)
    })
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
        check(
            "users = { a = '$2y$10$b/c.', b = \"$argon2id$v=19$d\" }",
            &["$2y$10$b/c.", "$argon2id$v=19$d"],
        );
        check(
            "set = { Authorization = 'Basic x', \"x-api-key\"=\"y\", x-a = 'z' }",
            &["Basic x", "y"],
        );
        check("secret_file = 'a'\nheaders = ['authorization', 'cookie']\napi-key", &[]);
        check("url = \"redis://a:b@c\"\nurl = 'redis://c'", &["a:b"]);
    }
}
