//! The atoms of nginx's expressions: a character, or one of several, as canonical paths have it.
//!
//! A canonical path has some characters escaped: a blank always, `;` where it came so. An atom that
//! stands for such a character is written with its escape; one that stands for nearly any is kept
//! from taking a part of an escape.
//! Invariant: outside of atoms an expression is left as it is, so that its groups keep their numbers.

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Class, HirKind};

use super::expression::{UNKNOWN, literal, parsed};

/// Characters that a canonical path has either as they are or escaped.
const RESERVED: &[u8] = b"!$&'()*+,;=:@";

/// An expression of nginx with its atoms as canonical paths have them.
pub(super) fn translated(text: &str, ignores_case: bool) -> Result<String, String> {
    if !text.is_ascii() {
        return Err("the door's expressions are of ASCII, as paths are".to_owned());
    }
    let ast = ast::parse::Parser::new().parse(text).map_err(|error| {
        let what = error.kind().to_string();
        format!("the door's expressions never look around or back, and differ here: {what}")
    })?;
    let atoms = Atoms { text, ignores_case, repeated: None, replaced: Vec::new() };
    let replaced = ast::visit(&ast, atoms)?;
    let mut body = String::new();
    let mut from = 0;
    for (span, atom) in replaced {
        body.push_str(text.get(from..span.0).unwrap_or_default());
        body.push_str(&atom);
        from = span.1;
    }
    body.push_str(text.get(from..).unwrap_or_default());
    Ok(body.replace("\\/", "/"))
}

/// Looks at the atoms of an expression.
struct Atoms<'t> {
    text: &'t str,
    ignores_case: bool,
    /// Where the repetition ends that the next atom may be all of, if it has no upper bound.
    repeated: Option<usize>,
    /// Atoms that are written in another way, in order.
    replaced: Vec<((usize, usize), String)>,
}

impl ast::Visitor for Atoms<'_> {
    type Output = Vec<((usize, usize), String)>;
    type Err = String;

    fn finish(self) -> Result<Self::Output, String> {
        Ok(self.replaced)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        let repeated = self.repeated.take();
        match ast {
            Ast::Literal(literal) => self.atom(&literal.span, repeated),
            Ast::Dot(span) => self.atom(span, repeated),
            Ast::ClassPerl(class) => self.atom(&class.span, repeated),
            Ast::ClassBracketed(class) => {
                if !is_plain(&class.kind) {
                    return Err(NESTED.to_owned());
                }
                self.atom(&class.span, repeated)
            }
            Ast::ClassUnicode(_) => Err("the door's expressions are of ASCII".to_owned()),
            Ast::Flags(_) => Err(FLAGS.to_owned()),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::StartLine
                | ast::AssertionKind::StartText
                | ast::AssertionKind::EndLine
                | ast::AssertionKind::EndText => Ok(()),
                ast::AssertionKind::WordBoundary
                | ast::AssertionKind::NotWordBoundary
                | ast::AssertionKind::WordBoundaryStart
                | ast::AssertionKind::WordBoundaryEnd
                | ast::AssertionKind::WordBoundaryStartAngle
                | ast::AssertionKind::WordBoundaryEndAngle
                | ast::AssertionKind::WordBoundaryStartHalf
                | ast::AssertionKind::WordBoundaryEndHalf => {
                    Err("an escape in a path looks like a word to the door".to_owned())
                }
            },
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) if !flags.items.is_empty() => {
                    Err(FLAGS.to_owned())
                }
                ast::GroupKind::NonCapturing(_)
                | ast::GroupKind::CaptureIndex(_)
                | ast::GroupKind::CaptureName { .. } => Ok(()),
            },
            Ast::Empty(_) | Ast::Alternation(_) | Ast::Concat(_) => Ok(()),
        }
    }
}

const FLAGS: &str = "the door has flags for a whole expression only, and of them `(?i)`";
const NESTED: &str = "the door's expressions have no brackets within brackets";

/// Whether a class in brackets is the same to PCRE: the crate also has classes within classes.
fn is_plain(set: &ast::ClassSet) -> bool {
    let ast::ClassSet::Item(item) = set else { return false };
    let is_plain = |item: &ast::ClassSetItem| match item {
        ast::ClassSetItem::Empty(_)
        | ast::ClassSetItem::Literal(_)
        | ast::ClassSetItem::Range(_)
        | ast::ClassSetItem::Ascii(_)
        | ast::ClassSetItem::Perl(_) => true,
        ast::ClassSetItem::Unicode(_)
        | ast::ClassSetItem::Bracketed(_)
        | ast::ClassSetItem::Union(_) => false,
    };
    match item {
        ast::ClassSetItem::Union(union) => union.items.iter().all(is_plain),
        ast::ClassSetItem::Empty(_)
        | ast::ClassSetItem::Literal(_)
        | ast::ClassSetItem::Range(_)
        | ast::ClassSetItem::Ascii(_)
        | ast::ClassSetItem::Unicode(_)
        | ast::ClassSetItem::Perl(_)
        | ast::ClassSetItem::Bracketed(_) => is_plain(item),
    }
}

impl Atoms<'_> {
    fn repetition(&mut self, repetition: &ast::Repetition) -> Result<(), String> {
        if matches!(*repetition.ast, Ast::Repetition(_)) {
            return Err("the door's expressions may always give back what they took".to_owned());
        }
        let is_unbounded = match &repetition.op.kind {
            ast::RepetitionKind::ZeroOrMore | ast::RepetitionKind::OneOrMore => true,
            ast::RepetitionKind::Range(range) => {
                matches!(range, ast::RepetitionRange::AtLeast(0 | 1))
            }
            ast::RepetitionKind::ZeroOrOne => false,
        };
        self.repeated = is_unbounded.then_some(repetition.span.end.offset);
        Ok(())
    }

    /// An atom: a character, or one of several.
    fn atom(&mut self, span: &ast::Span, repeated: Option<usize>) -> Result<(), String> {
        let (start, end) = (span.start.offset, span.end.offset);
        let text = self.text.get(start..end).unwrap_or_default();
        let set = bytes_of(text, self.ignores_case).ok_or(UNKNOWN)?;
        let has = |byte: u8| set.get(usize::from(byte)).copied().unwrap_or(false);
        let escapes: Vec<u8> = (0..=255).filter(|byte| is_escaped(*byte) && has(*byte)).collect();
        let plain: Vec<u8> = (0..=255).filter(|byte| is_raw(*byte) && has(*byte)).collect();
        if escapes.is_empty() && plain.is_empty() {
            return Err("no canonical path matches it".to_owned());
        }
        if escapes.is_empty() {
            return Ok(());
        }
        let takes_escapes = (0..=255_u8).filter(|byte| is_escaped(*byte)).all(has)
            && b"%0123456789ABCDEF".iter().all(|byte| has(*byte));
        if takes_escapes && repeated.is_some_and(|end| ends_whole(self.text, end)) {
            return Ok(());
        }
        let escaped = format!("%{}", hex(&escapes));
        let atom = if plain.is_empty() {
            format!("(?:{escaped})")
        } else {
            format!("(?:{}|{escaped})", class(&plain))
        };
        self.replaced.push(((start, end), atom));
        Ok(())
    }
}

/// Whether what follows a repetition can only follow a whole escape, not stand within one.
fn ends_whole(text: &str, end: usize) -> bool {
    let mut rest = text.get(end..).unwrap_or_default();
    // A group that may be absent, or stands once, is followed by the same.
    while let Some(after) = rest.strip_prefix(')') {
        rest = after.strip_prefix('?').unwrap_or(after);
    }
    let (is_escaped, byte) = match rest.as_bytes() {
        [b'\\', byte, ..] => (true, *byte),
        [byte, ..] => (false, *byte),
        [] => return true,
    };
    match byte {
        b'$' | b'/' | b'-' | b'_' | b'~' => true,
        b'.' => is_escaped,
        // Letters that are no digits of an escape.
        _ => !is_escaped && (b'g'..=b'z').contains(&byte.to_ascii_lowercase()),
    }
}

/// The bytes that one atom stands for.
fn bytes_of(text: &str, ignores_case: bool) -> Option<[bool; 256]> {
    let hir = parsed(text, ignores_case)?;
    let mut set = [false; 256];
    if let HirKind::Literal(literal) = hir.kind() {
        let [byte] = *literal.0 else { return None };
        *set.get_mut(usize::from(byte))? = true;
    } else if let HirKind::Class(Class::Bytes(class)) = hir.kind() {
        for range in class.ranges() {
            for byte in range.start()..=range.end() {
                *set.get_mut(usize::from(byte))? = true;
            }
        }
    } else {
        return None;
    }
    Some(set)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether a canonical path may have this byte as it is.
fn is_raw(byte: u8) -> bool {
    is_unreserved(byte) || byte == b'/' || RESERVED.contains(&byte)
}

/// Whether a canonical path may have this byte escaped. A slash is none any more.
fn is_escaped(byte: u8) -> bool {
    !is_unreserved(byte) && !byte.is_ascii_control() && !b"/\\".contains(&byte)
}

/// A class of the bytes of a path that are as they are, by what is in it or by what is not.
fn class(bytes: &[u8]) -> String {
    let shown = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| literal(&char::from(*byte).to_string())).collect()
    };
    if let [byte] = bytes {
        return shown(&[*byte]);
    }
    let others: Vec<u8> =
        (0..128).filter(|byte| is_raw(*byte) && !bytes.contains(byte)).chain(*b"%").collect();
    if others.len() <= bytes.len() {
        return format!("[^{}]", within_class(&others));
    }
    format!("[{}]", within_class(bytes))
}

/// Bytes as they stand in brackets, in ranges.
fn within_class(bytes: &[u8]) -> String {
    let mut text = String::new();
    let shown = |byte: u8| {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric() || b"%/._!',:@=".contains(&byte) {
            character.to_string()
        } else {
            format!("\\{character}")
        }
    };
    for run in bytes.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        match run {
            [first, _, .., last]
                if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() =>
            {
                text.push_str(&format!("{}-{}", shown(*first), shown(*last)));
            }
            _ => run.iter().for_each(|byte| text.push_str(&shown(*byte))),
        }
    }
    text
}

/// The hexadecimal digits of bytes that are escaped.
fn hex(bytes: &[u8]) -> String {
    let digit =
        |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
    if (0..=255_u8).filter(|byte| is_escaped(*byte)).all(|byte| bytes.contains(&byte)) {
        return "[0-9A-F]{2}".to_owned();
    }
    let row = |high: u8| -> Vec<u8> {
        let byte = |low: &u8| high << 4 | *low;
        let own: Vec<u8> = (0..16).filter(|low| bytes.contains(&byte(low))).collect();
        let are_all = (0..16).all(|low| !is_escaped(byte(&low)) || bytes.contains(&byte(&low)));
        if are_all && own.len() > 1 { (0..16).collect() } else { own }
    };
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for high in 0..16_u8 {
        let lows = row(high);
        if lows.is_empty() {
            continue;
        }
        match rows.iter_mut().find(|(known, _)| *known == lows) {
            Some((_, highs)) => highs.push(high),
            None => rows.push((lows, vec![high])),
        }
    }
    let digits = |nibbles: &[u8]| -> String {
        match nibbles {
            [one] => digit(*one).to_string(),
            all if all.len() == 16 => "[0-9A-F]".to_owned(),
            several => {
                let text: String = several.iter().map(|nibble| digit(*nibble)).collect();
                format!("[{text}]")
            }
        }
    };
    let parts: Vec<String> =
        rows.iter().map(|(lows, highs)| format!("{}{}", digits(highs), digits(lows))).collect();
    if let [part] = parts.as_slice() { part.clone() } else { format!("(?:{})", parts.join("|")) }
}
