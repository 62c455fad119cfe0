//! nginx's configuration language as nginx itself reads it: words, quotes, escapes, comments.
//!
//! One statement is words up to `;`, `{` or `}`. A quote opens only at a word's start and must be
//! followed by a space, `;`, `{` or `)`; a backslash hides the next byte; `${` is part of its
//! word; a word longer than nginx's buffer of 4,096 bytes is an error there and here, a comment
//! too. Blocks of Lua are read by Lua's own rules for strings and comments up to the brace that
//! closes them.
//! Invariant: each byte is looked at a bounded number of times, and spans lie on character
//! boundaries, since every border is an ASCII byte.

use std::ops::Range;

/// Bytes of one word or comment that nginx can read: its buffer.
const WORD_BYTES_MAX: usize = 4_096;

/// One word of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it stands for: quotes and escapes are resolved.
    pub(super) text: String,
    /// Where it is written, quotes included.
    pub(super) span: Range<usize>,
}

/// What ended a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`, which stands alone.
    Close,
    /// The file ended where a statement could have begun.
    File,
}

/// A mistake of syntax, worded as nginx words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// What is wrong.
    pub(super) message: String,
    /// Where.
    pub(super) span: Range<usize>,
}

/// Reads statements from a text, one after another.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Where one statement's reading stands; the names are those of what nginx keeps.
struct State {
    words: Vec<Word>,
    /// Where the current word, blank or comment starts, behind its quote.
    start: usize,
    last_space: bool,
    need_space: bool,
    escaped: bool,
    variable: bool,
    comment: bool,
    quote: Quote,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, position: 0 }
    }

    /// Where the next statement is looked for.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next statement: its words and what ended it.
    ///
    /// # Errors
    /// When nginx could not read on; the lexer is then of no more use.
    pub(super) fn statement(&mut self) -> Result<(Vec<Word>, End), Mistake> {
        let mut state = State {
            words: Vec::new(),
            start: self.position,
            last_space: true,
            need_space: false,
            escaped: false,
            variable: false,
            comment: false,
            quote: Quote::None,
        };
        loop {
            let Some(byte) = self.text.as_bytes().get(self.position).copied() else {
                return self.end_of_file(state);
            };
            if self.position - state.start >= WORD_BYTES_MAX {
                return Err(self.too_long(&state));
            }
            self.position += 1;
            if let Some(end) = self.step(&mut state, byte)? {
                return Ok((state.words, end));
            }
        }
    }

    fn step(&self, state: &mut State, byte: u8) -> Result<Option<End>, Mistake> {
        if state.comment {
            state.comment = byte != b'\n';
            return Ok(None);
        }
        if state.escaped {
            state.escaped = false;
            return Ok(None);
        }
        if state.need_space {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    (state.last_space, state.need_space) = (true, false);
                    return Ok(None);
                }
                b';' => return Ok(Some(End::Semicolon)),
                b'{' => return Ok(Some(End::Open)),
                b')' => (state.last_space, state.need_space) = (true, false),
                _ => return Err(self.unexpected()),
            }
        }
        if state.last_space {
            self.between_words(state, byte)
        } else {
            Ok(self.in_word(state, byte))
        }
    }

    fn between_words(&self, state: &mut State, byte: u8) -> Result<Option<End>, Mistake> {
        state.start = self.position - 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Ok(None),
            b';' | b'{' if state.words.is_empty() => return Err(self.unexpected()),
            b';' => return Ok(Some(End::Semicolon)),
            b'{' => return Ok(Some(End::Open)),
            b'}' if !state.words.is_empty() => return Err(self.unexpected()),
            b'}' => return Ok(Some(End::Close)),
            b'#' => {
                state.comment = true;
                return Ok(None);
            }
            b'\\' => state.escaped = true,
            b'"' => (state.quote, state.start) = (Quote::Double, self.position),
            b'\'' => (state.quote, state.start) = (Quote::Single, self.position),
            b'$' => state.variable = true,
            _ => {}
        }
        state.last_space = false;
        Ok(None)
    }

    fn in_word(&self, state: &mut State, byte: u8) -> Option<End> {
        if byte == b'{' && state.variable {
            return None;
        }
        state.variable = false;
        match (byte, state.quote) {
            (b'\\', _) => {
                state.escaped = true;
                return None;
            }
            (b'$', _) => {
                state.variable = true;
                return None;
            }
            (b'"', Quote::Double) | (b'\'', Quote::Single) => {
                state.need_space = true;
                self.push(state, state.start - 1..self.position);
                state.quote = Quote::None;
                return None;
            }
            (b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{', Quote::None) => {}
            _ => return None,
        }
        self.push(state, state.start..self.position - 1);
        state.last_space = true;
        match byte {
            b';' => Some(End::Semicolon),
            b'{' => Some(End::Open),
            _ => None,
        }
    }

    fn push(&self, state: &mut State, span: Range<usize>) {
        let raw = self.text.get(state.start..self.position - 1).unwrap_or_default();
        state.words.push(Word { text: unescaped(raw), span });
    }

    /// Reads the rest of a block of Lua whose `{` was just read, and its `}`.
    ///
    /// # Errors
    /// When the file ends before the block does.
    pub(super) fn lua(&mut self) -> Result<Range<usize>, Mistake> {
        let start = self.position;
        let bytes = self.text.as_bytes();
        let mut depth = 1_usize;
        while let Some(byte) = bytes.get(self.position).copied() {
            self.position += 1;
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'"' | b'\'' => self.lua_string(byte),
                b'-' if bytes.get(self.position) == Some(&b'-') => self.lua_comment(),
                b'[' => {
                    self.lua_long();
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(start..self.position - 1);
            }
        }
        let message = "unexpected end of file, expecting the \"}\" of a block of Lua".to_owned();
        Err(Mistake { message, span: start.saturating_sub(1)..start })
    }

    fn lua_string(&mut self, quote: u8) {
        while let Some(byte) = self.text.as_bytes().get(self.position).copied() {
            self.position += 1;
            match byte {
                b'\\' => self.position += 1,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    fn lua_comment(&mut self) {
        self.position += 1;
        if self.text.as_bytes().get(self.position) == Some(&b'[') {
            self.position += 1;
            if self.lua_long() {
                return;
            }
        }
        let rest = self.text.as_bytes().get(self.position..).unwrap_or_default();
        let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.position += line;
    }

    /// Behind a `[`: a long bracket such as `[[...]]` or `[==[...]==]`, if it is one.
    fn lua_long(&mut self) -> bool {
        let rest = self.text.as_bytes().get(self.position..).unwrap_or_default();
        let level = rest.iter().take_while(|byte| **byte == b'=').count();
        if rest.get(level) != Some(&b'[') {
            return false;
        }
        let close = format!("]{}]", "=".repeat(level));
        let body = self.position + level + 1;
        let found = self.text.get(body..).and_then(|rest| rest.find(&close));
        self.position = found.map_or(self.text.len(), |at| body + at + close.len());
        true
    }

    fn end_of_file(&self, state: State) -> Result<(Vec<Word>, End), Mistake> {
        if state.words.is_empty() && state.last_space {
            return Ok((state.words, End::File));
        }
        let first = state.words.first().map_or(state.start, |word| word.span.start);
        let message = "unexpected end of file, expecting \";\" or \"}\"".to_owned();
        Err(Mistake { message, span: first..self.text.len() })
    }

    fn too_long(&self, state: &State) -> Mistake {
        let span = state.start..self.position;
        let message = match state.quote {
            Quote::Double => "too long parameter, probably missing terminating '\"'".to_owned(),
            Quote::Single => "too long parameter, probably missing terminating \"'\"".to_owned(),
            Quote::None => format!("a parameter or comment longer than {WORD_BYTES_MAX} bytes"),
        };
        Mistake { message, span }
    }

    fn unexpected(&self) -> Mistake {
        let span = self.position - 1..self.position;
        let shown = self.text.get(self.position - 1..).and_then(|rest| rest.chars().next());
        let shown = crate::finding::quote(&shown.map(String::from).unwrap_or_default());
        Mistake { message: format!("unexpected {shown}"), span }
    }
}

/// Resolves nginx's escapes: `\"`, `\'`, `\\`, `\t`, `\r`, `\n`; any other backslash stays.
fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = match (character, characters.peek()) {
            ('\\', Some('"')) => '"',
            ('\\', Some('\'')) => '\'',
            ('\\', Some('\\')) => '\\',
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            ('\\', Some('n')) => '\n',
            _ => {
                text.push(character);
                continue;
            }
        };
        text.push(escaped);
        characters.next();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements joined by ` | `, words in brackets, what ended each behind them.
    fn check(text: &str, expected: &str) {
        let mut lexer = Lexer::new(text);
        let mut statements = Vec::new();
        loop {
            let (words, end) = match lexer.statement() {
                Ok(statement) => statement,
                Err(mistake) => {
                    statements.push(format!("{} at {}", mistake.message, mistake.span.start));
                    break;
                }
            };
            let end = match end {
                End::Semicolon => ";",
                End::Open => "{",
                End::Close => "}",
                End::File => break,
            };
            let words: Vec<String> = words.iter().map(|word| format!("[{}]", word.text)).collect();
            statements.push(format!("{}{end}", words.concat()));
        }
        assert_eq!(statements.join(" | "), expected, "{text}");
    }

    #[test]
    fn words_are_those_of_nginx() {
        check("a b;c{d;}", "[a][b]; | [c]{ | [d]; | }");
        check("a 'b c' \"d;{\" # e;\n;", "[a][b c][d;{];");
        check("a b#c;", "[a][b#c];");
        check("a ${b}c d${e{}f;", "[a][${b}c][d${e]{ | } | [f];");
    }

    #[test]
    fn escapes_are_those_of_nginx() {
        check(r#"a "b\"c" 'd\'e' f\;g \h\t;"#, "[a][b\"c][d'e][f\\;g][\\h\t];");
        check(r"a ^/\.x\\$;", r"[a][^/\.x\$];");
    }

    #[test]
    fn mistakes_are_those_of_nginx() {
        check("a 'b'c;", "unexpected `c` at 5");
        check("if ($a = 'b'){", "[if][($a][=][b][)]{");
        check(";", "unexpected `;` at 0");
        check("a }", "unexpected `}` at 2");
        check("a; b", "[a]; | unexpected end of file, expecting \";\" or \"}\" at 3");
    }
}
