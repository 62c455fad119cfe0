//! Regular expressions: those that are a path or a host in disguise, and those that blow up.

/// How a simple expression ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With `$`.
    Exact,
    /// With `(/|$)`: at the end of a segment.
    Segment,
    /// Anything may follow.
    Open,
}

/// A literal that must stand at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Simple {
    /// The literal.
    pub(super) literal: String,
    /// What may follow.
    pub(super) end: End,
}

/// Reads `^/api`, `^/api/.*`, `^/api(/|$)` and `^www\.example\.com$`.
pub(super) fn simple(expression: &str) -> Option<Simple> {
    let rest = expression.strip_prefix('^')?;
    let endings = [
        ("(/|$)", End::Segment),
        ("($|/)", End::Segment),
        ("(/.*|$)", End::Segment),
        ("(/.*)?$", End::Segment),
        (".*$", End::Open),
        (".*", End::Open),
        ("$", End::Exact),
    ];
    let found = endings.iter().find_map(|(text, end)| Some((rest.strip_suffix(text)?, *end)));
    let (body, end) = found.unwrap_or((rest, End::Open));
    let mut literal = String::new();
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next()?;
                // `\d` and the like are classes.
                if escaped.is_ascii_alphanumeric() {
                    return None;
                }
                literal.push(escaped);
            }
            '.' | '[' | ']' | '(' | ')' | '{' | '}' | '*' | '+' | '?' | '|' | '^' | '$' => {
                return None;
            }
            _ => literal.push(character),
        }
    }
    (!literal.is_empty()).then_some(Simple { literal, end })
}

/// Whether a repeated group holds a repetition without end, or alternatives that begin alike:
/// an engine that backtracks may then try every way to split the text.
pub(super) fn is_catastrophic(expression: &str) -> bool {
    // For each open group: whether it holds an endless repetition, and how its branches begin.
    let mut groups: Vec<Group> = vec![Group::default()];
    let mut characters = expression.chars().peekable();
    while let Some(character) = characters.next() {
        let mut closed = None;
        match character {
            '\\' => {
                let escaped = characters.next();
                open(&mut groups).begin(escaped);
            }
            '[' => {
                skip_class(&mut characters);
                open(&mut groups).begin(None);
            }
            '(' => {
                // `(?:` and its like only say what kind of group it is.
                if characters.next_if_eq(&'?').is_some() {
                    characters.next();
                }
                open(&mut groups).begin(None);
                groups.push(Group::default());
            }
            '|' => open(&mut groups).branch(),
            ')' => {
                if groups.len() > 1 {
                    closed = groups.pop();
                }
            }
            _ => open(&mut groups).begin(Some(character)),
        }
        let is_endless = match characters.peek() {
            Some('*' | '+') => true,
            Some('{') => characters.clone().take(16).take_while(|c| *c != '}').any(|c| c == ','),
            _ => false,
        };
        let is_literal = !matches!(character, '.' | '[' | '(' | ')' | '|' | '^' | '$' | '*' | '+');
        let stands_once = !matches!(characters.peek(), Some('*' | '+' | '?' | '{'));
        open(&mut groups).has_border |= is_literal && stands_once;
        open(&mut groups).has_endless_any |= character == '.' && is_endless;
        if closed.as_ref().is_some_and(|group| is_endless && group.is_ambiguous()) {
            return true;
        }
        let holds = is_endless || closed.is_some_and(|group| group.is_endless);
        open(&mut groups).is_endless |= holds && !matches!(character, '|' | '(');
    }
    false
}

/// One group of an expression.
#[derive(Default)]
struct Group {
    is_endless: bool,
    /// Whether a literal stands in it once, which parts its repetitions.
    has_border: bool,
    /// Whether `.*` or `.+` stands in it, which passes every border.
    has_endless_any: bool,
    has_begun: bool,
    begins: Vec<char>,
    has_equal_branches: bool,
}

impl Group {
    fn begin(&mut self, character: Option<char>) {
        if !self.has_begun {
            self.has_begun = true;
            if let Some(character) = character {
                self.has_equal_branches |= self.begins.contains(&character);
                self.begins.push(character);
            }
        }
    }

    fn branch(&mut self) {
        self.has_begun = false;
    }

    fn is_ambiguous(&self) -> bool {
        let is_parted = self.has_border && !self.has_endless_any;
        (self.is_endless && !is_parted) || self.has_equal_branches
    }
}

fn open(groups: &mut [Group]) -> &mut Group {
    let last = groups.len() - 1;
    &mut groups[last]
}

/// Skips to the end of a class: `[...]`, whose first `]` is a member.
fn skip_class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    characters.next_if_eq(&'^');
    characters.next_if_eq(&']');
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            ']' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_in_disguise() {
        for (expression, expected) in [
            ("^/api", Some(("/api", End::Open))),
            ("^/api/.*", Some(("/api/", End::Open))),
            ("^/api(/|$)", Some(("/api", End::Segment))),
            (r"^www\.example\.com$", Some(("www.example.com", End::Exact))),
            ("/api", None),
            ("^/a.c", None),
            (r"^/\d+", None),
            ("^", None),
        ] {
            let found = simple(expression);
            let found = found.as_ref().map(|simple| (simple.literal.as_str(), simple.end));
            assert_eq!(found, expected, "{expression}");
        }
    }

    #[test]
    fn nested_repetition_is_catastrophic() {
        for (expression, expected) in [
            ("^/(([a-z0-9]+)+)+$", true),
            ("(a+)+", true),
            ("(a*)*b", true),
            ("(a|a)*", true),
            ("(?:[^/]+)*", true),
            ("(.*,)*x", true),
            ("(/[a-z]+)?$", false),
            ("^/[a-z0-9]+$", false),
            (r"^/\(a+\)+", false),
            ("(jpg|png)$", false),
            ("^(/[a-z]+)+$", false),
            ("(ab|cd)+", false),
            ("[(a+)]+", false),
            ("((((", false),
        ] {
            assert_eq!(is_catastrophic(expression), expected, "{expression}");
        }
    }
}
