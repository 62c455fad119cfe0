//! One line of HAProxy's configuration into words, as HAProxy itself cuts it.
//!
//! Words are parted by blanks; `''` protects everything, `""` everything but `\` and `$`; `\`
//! escapes a blank, a quote, `#`, `\`, and writes `\n`, `\r`, `\t`, `\xNN`; any other `\` is
//! itself. `#` begins a comment anywhere outside quotes. There is no continuation: a line ends
//! where it ends, and an open quote with it is a mistake. Environment variables (`"${X}"`) are
//! known only inside `""`; their values belong to another machine, so they are kept as written
//! and the word says so. From HAProxy's manual, sections 2.2 and 2.3.
//! Invariant: the spans of the words are inside the line, in order, and do not overlap.

use std::ops::Range;

/// Words of one line, at most: as many as HAProxy takes.
pub(super) const WORDS_MAX: usize = 64;

/// One word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says, without quotes and escapes.
    pub(super) text: String,
    /// Where it stands, quotes included, in bytes of its file.
    pub(super) span: Range<usize>,
    /// The first environment variable in it, without `$` and braces.
    pub(super) variable: Option<String>,
}

/// Why a line is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LexError {
    /// Where, in bytes of the file.
    pub(super) span: Range<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub(super) message: &'static str,
    /// What to do about it.
    pub(super) help: &'static str,
}

/// Cuts `line`, which begins at byte `start` of its file, into words. The words before a
/// mistake are given along with it.
pub(super) fn words(line: &str, start: usize) -> (Vec<Word>, Option<LexError>) {
    let mut lexer = Lexer { line, position: 0, start, quote: None };
    let mut words = Vec::new();
    loop {
        match lexer.word() {
            Ok(Some(_)) if words.len() == WORDS_MAX => {
                let error = lexer.error(
                    lexer.position.saturating_sub(1),
                    "the line has more than 64 words",
                    "split it over several lines",
                );
                return (words, Some(error));
            }
            Ok(Some(word)) => words.push(word),
            Ok(None) => return (words, None),
            Err(error) => return (words, Some(error)),
        }
    }
}

struct Lexer<'l> {
    line: &'l str,
    position: usize,
    start: usize,
    /// The open quote: which, and where.
    quote: Option<(char, usize)>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.line.get(self.position..).and_then(|rest| rest.chars().next())
    }

    fn rest(&self) -> &str {
        self.line.get(self.position..).unwrap_or_default()
    }

    fn skip(&mut self, character: char) {
        self.position += character.len_utf8();
    }

    fn error(&self, at: usize, message: &'static str, help: &'static str) -> LexError {
        let at = at.min(self.line.len());
        LexError { span: self.start + at..self.start + self.line.len(), message, help }
    }

    /// The next word; `None` at the end of the line or before a comment.
    fn word(&mut self) -> Result<Option<Word>, LexError> {
        while let Some(character) = self.peek().filter(|c| is_blank(*c)) {
            self.skip(character);
        }
        if matches!(self.peek(), None | Some('#')) {
            return Ok(None);
        }
        let begin = self.position;
        let mut word = Word::default();
        while let Some(character) = self.peek() {
            match (character, self.quote.map(|(quote, _)| quote)) {
                ('#', None) => break,
                (c, None) if is_blank(c) => break,
                ('"', None) | ('\'', None) => {
                    self.quote = Some((character, self.position));
                    self.skip(character);
                }
                ('"', Some('"')) | ('\'', Some('\'')) => {
                    self.quote = None;
                    self.skip(character);
                }
                ('\\', None | Some('"')) => self.escape(&mut word)?,
                ('$', Some('"')) => self.variable(&mut word)?,
                _ => {
                    word.text.push(character);
                    self.skip(character);
                }
            }
        }
        if let Some((_, at)) = self.quote {
            return Err(self.error(at, "the quote is never closed", "close it on the same line"));
        }
        word.span = self.start + begin..self.start + self.position;
        Ok(Some(word))
    }

    /// Behind a `\`, outside single quotes.
    fn escape(&mut self, word: &mut Word) -> Result<(), LexError> {
        let at = self.position;
        self.position += 1;
        let Some(next) = self.peek() else {
            word.text.push('\\');
            return Ok(());
        };
        let meant = match next {
            ' ' | '\\' | '#' | '\'' | '"' => next,
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            '$' if self.quote.is_some() => '$',
            'x' => {
                let digits = self.line.get(self.position + 1..self.position + 3);
                // A sign would be taken for part of a number.
                let digits = digits.filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(byte) = digits.and_then(|text| u8::from_str_radix(text, 16).ok()) else {
                    let help = "write two hex digits behind `\\x`";
                    return Err(self.error(at, "the escape is not complete", help));
                };
                self.position += 2;
                char::from(byte)
            }
            // Anything else is no escape: the backslash stays, and what follows is read again.
            _ => {
                word.text.push('\\');
                return Ok(());
            }
        };
        word.text.push(meant);
        self.skip(next);
        Ok(())
    }

    /// Behind a `$` inside double quotes.
    fn variable(&mut self, word: &mut Word) -> Result<(), LexError> {
        let at = self.position;
        self.position += 1;
        let in_braces = self.peek() == Some('{');
        if in_braces {
            self.position += 1;
        }
        let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '.';
        if !self.peek().is_some_and(starts) {
            let help = "write `\\$` for a dollar sign";
            return Err(self.error(at, "this is not the name of a variable", help));
        }
        let rest = self.rest();
        let length = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '_')
            .map_or(rest.len(), |(index, _)| index);
        let name = rest.get(..length).unwrap_or_default().to_owned();
        self.position += length;
        if in_braces {
            let Some(end) = self.rest().find('}') else {
                return Err(self.error(at, "the brace is never closed", "close it with `}`"));
            };
            self.position += end + 1;
        }
        word.text.push_str(self.line.get(at..self.position).unwrap_or_default());
        word.variable.get_or_insert(name);
        Ok(())
    }
}

/// What C calls a space; a carriage return ends the line before it gets here.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words joined by `|`, variables in angle brackets; or the message of the mistake.
    fn check(line: &str, expected: &str) {
        let (words, error) = words(line, 0);
        let shown: Vec<String> = words
            .iter()
            .map(|word| match &word.variable {
                Some(name) => format!("<{name}>{}", word.text),
                None => word.text.clone(),
            })
            .collect();
        let found = error.map_or_else(|| shown.join("|"), |error| error.message.to_owned());
        assert_eq!(found, expected, "{line}");
        for pair in words.windows(2) {
            assert!(pair[0].span.end <= pair[1].span.start, "{line}");
        }
    }

    #[test]
    fn words_are_parted_by_blanks_and_ended_by_comments() {
        check("  bind  :80\tssl # here", "bind|:80|ssl");
        check("# nothing", "");
        check("a#b c", "a");
        check("'' x", "|x");
    }

    #[test]
    fn quotes_and_escapes() {
        check(r#"log-format %{+Q}o\ %t\ %s\ %{-Q}r"#, "log-format|%{+Q}o %t %s %{-Q}r");
        check(r#"log-format "%{+Q}o %t"' %s'\ %{-Q}r"#, "log-format|%{+Q}o %t %s %{-Q}r");
        check(r#"a 'b "\x" # c'"#, r#"a|b "\x" # c"#);
        check(r#"\"a\" \'b\' \#c \\d"#, r#""a"|'b'|#c|\d"#);
        check(r"\x41\t\n \1 \. a\", "A\t\n|\\1|\\.|a\\");
        check(r#"regsub(\"(a|b)\",x)"#, r#"regsub("(a|b)",x)"#);
    }

    #[test]
    fn variables_are_known_only_inside_double_quotes() {
        check(r#"user "$USER""#, "user|<USER>$USER");
        check(r#"log "${SYSLOG-127.0.0.1}:514""#, "log|<SYSLOG>${SYSLOG-127.0.0.1}:514");
        check(r#"a "${LIST[*]}" "\$x""#, "a|<LIST>${LIST[*]}|$x");
        check("user $USER ${X}", "user|$USER|${X}");
        check("user '$USER'", "user|$USER");
    }

    #[test]
    fn mistakes() {
        check("a 'b", "the quote is never closed");
        check(r#"a "b"#, "the quote is never closed");
        check(r"a \x4", "the escape is not complete");
        check(r#"a "$1""#, "this is not the name of a variable");
        check(r#"a "${X""#, "the brace is never closed");
        check(&"x ".repeat(65), "the line has more than 64 words");
    }
}
