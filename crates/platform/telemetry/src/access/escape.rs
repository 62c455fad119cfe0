//! Escapes what clients send, so that a log line is one line and a terminal shows only text.
//!
//! Control characters can forge lines or drive a terminal; direction marks can make a line read
//! as another. Both are written as escapes in every format. Invariant: the output holds no
//! character for which [`is_unsafe_to_show`] is true.

use std::fmt::Write as _;

/// Longer text is cut here, in bytes of UTF-8, before it is escaped.
pub const TEXT_BYTES_MAX: usize = 2_048;
/// Stands at the end of text that was cut.
pub const TRUNCATION_MARK: &str = "...(truncated)";

/// True for characters that a terminal may act on or that hide what a line says: control
/// characters (C0, DEL, C1), line and paragraph separators, direction marks and overrides.
#[must_use]
pub fn is_unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text within the limit, and the mark if it was cut.
fn limited(text: &str) -> (&str, &'static str) {
    if text.len() <= TEXT_BYTES_MAX {
        return (text, "");
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    (text.get(..end).expect("the end is a character boundary"), TRUNCATION_MARK)
}

/// Writes text as a JSON string with its quotes. JSON reads it back as it was.
pub(super) fn push_json(line: &mut String, text: &str) {
    let (kept, mark) = limited(text);
    line.push('"');
    for character in kept.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // All of these are in the basic plane: four digits are enough.
            _ if is_unsafe_to_show(character) => {
                push_hex(line, format_args!("\\u{:04x}", u32::from(character)))
            }
            _ => line.push(character),
        }
    }
    line.push_str(mark);
    line.push('"');
}

/// Writes text for a quoted field of the Common Log Format: quotes and backslashes escaped, and
/// every byte that is not printable ASCII as `\xNN`, as other servers write it.
pub(super) fn push_clf(line: &mut String, text: &str) {
    let (kept, mark) = limited(text);
    for byte in kept.bytes() {
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => push_hex(line, format_args!("\\x{byte:02X}")),
        }
    }
    line.push_str(mark);
}

fn push_hex(line: &mut String, escape: std::fmt::Arguments<'_>) {
    line.write_fmt(escape).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut line = String::new();
        push_json(&mut line, text);
        line
    }

    fn clf(text: &str) -> String {
        let mut line = String::new();
        push_clf(&mut line, text);
        line
    }

    #[test]
    fn hostile_text_becomes_visible_text() {
        let check = |text: &str, as_json: &str, as_clf: &str| {
            assert_eq!(json(text), as_json);
            assert_eq!(clf(text), as_clf);
        };
        check("/a?b=c", r#""/a?b=c""#, "/a?b=c");
        check("\u{1b}[2J", r#""\u001b[2J""#, r"\x1B[2J");
        check("a\"b\\c", r#""a\"b\\c""#, r#"a\"b\\c"#);
        check("a\r\n\tb\u{7f}\0", r#""a\r\n\tb\u007f\u0000""#, r"a\x0D\x0A\x09b\x7F\x00");
        check("\u{9b}31m", r#""\u009b31m""#, r"\xC2\x9B31m");
        check("\u{202e}é", r#""\u202eé""#, r"\xE2\x80\xAE\xC3\xA9");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let exact = "a".repeat(TEXT_BYTES_MAX);
        assert_eq!(clf(&exact), exact);
        assert_eq!(clf(&format!("{exact}b")), format!("{exact}{TRUNCATION_MARK}"));
        let split = format!("{}é", "a".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(
            json(&split),
            format!("\"{}{TRUNCATION_MARK}\"", "a".repeat(TEXT_BYTES_MAX - 1))
        );
    }
}
