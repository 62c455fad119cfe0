//! Criteria of hosts: those that routes ask for by name, and those of which only some are known.
//!
//! A route names hosts, and all with one label in front of a name. What else HAProxy asks is known
//! of the hosts that other rules name, and of any other host it is not ([`Test`]).

use super::acl::{Asked, Outcome};
use super::condition::{Cell, Expression, Host, Truth};
use super::criterion::{Criterion, any};
use super::expression::{self, Compiled};

const PARTS_OF_HOSTS: &str = "routes compare whole hosts, not how a host begins or what is within \
                              it: list the hosts with `hdr(host)`";
const ONE_LABEL: &str = "a wildcard stands for exactly one label here";

/// A comparison that routes have not, with texts in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// How the host begins.
    Begins(String),
    /// How it ends.
    Ends(String),
    /// What is anywhere in it.
    Contains(String),
    /// What stands between its dots.
    Word(String),
    /// An expression.
    Matches(Compiled),
}

impl Test {
    /// Whether it holds for a set of hosts.
    pub(super) fn truth(&self, host: &Host) -> Truth {
        match host {
            Host::Exact(host) => Truth::from(self.holds(host)),
            Host::Any => Truth::Maybe,
            Host::Wildcard(suffix) => self.of_wildcard(suffix),
        }
    }

    fn holds(&self, host: &str) -> bool {
        match self {
            Self::Begins(text) => host.starts_with(text),
            Self::Ends(text) => host.ends_with(text),
            Self::Contains(text) => host.contains(text),
            Self::Word(text) => is_word(host, text),
            Self::Matches(expression) => expression.is_match(host.as_bytes()),
        }
    }

    /// Some label stands in front of the suffix.
    fn of_wildcard(&self, suffix: &str) -> Truth {
        match self {
            Self::Ends(text) if suffix.ends_with(text) => Truth::Yes,
            Self::Ends(text) if !text.ends_with(suffix) => Truth::No,
            Self::Contains(text) if suffix.contains(text) => Truth::Yes,
            Self::Word(text) if is_word(suffix, text) => Truth::Yes,
            Self::Begins(_)
            | Self::Ends(_)
            | Self::Contains(_)
            | Self::Word(_)
            | Self::Matches(_) => Truth::Maybe,
        }
    }
}

fn is_word(host: &str, text: &str) -> bool {
    let border = |character: Option<char>| character.is_none_or(|c| matches!(c, '.' | ':'));
    host.match_indices(text).any(|(at, _)| {
        let (before, behind) = (host.get(..at), host.get(at + text.len()..));
        border(before.and_then(|text| text.chars().next_back()))
            && border(behind.and_then(|text| text.chars().next()))
    })
}

/// Reads a criterion of hosts.
pub(super) fn host(criterion: &Criterion<'_>) -> Outcome {
    let mut alternatives = Vec::new();
    let (mut difference, mut unknown) = (None, None);
    if criterion.comparison == "found" {
        return Ok(Asked::exactly(Expression::Constant(true)));
    }
    let mut perhaps = |test: Test| {
        unknown = Some(PARTS_OF_HOSTS.to_owned());
        Expression::Host(test)
    };
    for value in &criterion.values {
        let lower = value.to_ascii_lowercase();
        alternatives.push(match criterion.comparison {
            // A host has none.
            "str" if value.contains(['*', '/']) => Expression::Constant(false),
            "str" => Expression::Is(Cell::of_host(exact(value)?)),
            "reg" => match hosts_of(value) {
                Some(hosts) => any(hosts.into_iter().map(Cell::of_host).collect()),
                None => perhaps(Test::Matches(expression::compiled(value, true)?)),
            },
            "end" | "dom" => match wildcard(criterion.comparison, value) {
                Some(near) => {
                    difference = Some(ONE_LABEL);
                    let test = match criterion.comparison {
                        "end" => Test::Ends(lower),
                        _ => Test::Word(lower.trim_matches('.').to_owned()),
                    };
                    Expression::Near(Box::new(near), Box::new(Expression::Host(test)))
                }
                None if criterion.comparison == "end" => perhaps(Test::Ends(lower)),
                None => perhaps(Test::Word(lower.trim_matches('.').to_owned())),
            },
            // Nothing but a port follows the colon.
            "beg" if value.contains(':') => Expression::Is(Cell::of_host(exact(value)?)),
            "beg" => perhaps(Test::Begins(lower)),
            "sub" => perhaps(Test::Contains(lower)),
            comparison => return Err(format!("routes cannot compare the host as `{comparison}`")),
        });
    }
    Ok(Asked { expression: Expression::AnyOf(alternatives), difference, unknown })
}

/// The hosts that an expression stands for, when they are few.
fn hosts_of(expression: &str) -> Option<Vec<Host>> {
    let ports = ["(:[0-9]+)?$", "(:\\d+)?$", "(:[0-9]*)?$", "(:\\d*)?$", "(:.*)?$"];
    let text = ports.iter().find_map(|port| expression.strip_suffix(port));
    let text = text.map_or_else(|| expression.to_owned(), |text| format!("{text}$"));
    let compiled = expression::compiled(&text, false).ok()?;
    let texts = expression::texts(compiled.text())?;
    texts.iter().map(|text| exact(text).ok()).collect()
}

/// The names that end with a text, or hold it between dots, as far as one label stands before it.
fn wildcard(comparison: &str, value: &str) -> Option<Expression> {
    let is_dom = comparison == "dom";
    let name = if is_dom { value.trim_matches('.') } else { value.trim_start_matches('.') };
    let host = exact(name).ok().filter(|_| name.contains('.'))?;
    let Host::Exact(text) = &host else { return None };
    let mut cells = vec![Cell::of_host(Host::Wildcard(format!(".{text}")))];
    if is_dom || !value.starts_with('.') {
        cells.push(Cell::of_host(host));
    }
    Some(any(cells))
}

/// A host without its port, in lower case.
fn exact(value: &str) -> Result<Host, String> {
    let lower = value.to_ascii_lowercase();
    let name = match lower.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => {
            name
        }
        _ => lower.as_str(),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    let is_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(label) || (is_number && !is_address) {
        return Err(format!("`{value}` is not a host"));
    }
    Ok(Host::Exact(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_hosts() {
        let wildcard = Host::Wildcard(".a.test".to_owned());
        let exact = |host: &str| Host::Exact(host.to_owned());
        for (test, host, expected) in [
            (Test::Begins("img".to_owned()), Host::Any, Truth::Maybe),
            (Test::Begins("img".to_owned()), exact("img.a.test"), Truth::Yes),
            (Test::Begins("img".to_owned()), exact("www.a.test"), Truth::No),
            (Test::Begins("img".to_owned()), wildcard.clone(), Truth::Maybe),
            (Test::Ends(".test".to_owned()), wildcard.clone(), Truth::Yes),
            (Test::Ends(".b.test".to_owned()), wildcard.clone(), Truth::No),
            (Test::Ends("x.a.test".to_owned()), wildcard.clone(), Truth::Maybe),
            (Test::Word("a".to_owned()), wildcard.clone(), Truth::Yes),
            (Test::Word("a".to_owned()), exact("aa.test"), Truth::No),
            (Test::Contains("b".to_owned()), wildcard, Truth::Maybe),
        ] {
            assert_eq!(test.truth(&host), expected, "{test:?} {host:?}");
        }
    }
}
