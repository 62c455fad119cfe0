//! ACLs and conditions: what of them this door's routes can ask.
//!
//! A criterion that can be asked becomes an [`Expression`] over hosts, paths, methods and
//! headers; of any other nobody knows whether it holds, and the reason is told. So a condition of
//! which a part can be asked still says for which requests it cannot hold. Where the door asks
//! nearly the same (one label in place of any number), the difference is told as a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::condition::Expression;
use super::criterion::{criterion, methods};
use super::items::{Items, Line};

/// What is known of every request of a proxy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Whether all its listeners have TLS, or none.
    pub(super) is_tls: Option<bool>,
    /// Its one port.
    pub(super) port: Option<u16>,
    /// Whether whoever asks has shown who he is; `None` where that cannot be asked.
    pub(super) is_known: Option<bool>,
}

/// A condition, and how the door's question differs from HAProxy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The question.
    pub(super) expression: Expression,
    /// The difference, if any, in one clause.
    pub(super) difference: Option<&'static str>,
    /// Why routes cannot ask for a part of it, if so.
    pub(super) unknown: Option<String>,
}

impl Asked {
    /// The door asks the same.
    pub(super) fn exactly(expression: Expression) -> Self {
        Self { expression, difference: None, unknown: None }
    }

    /// The door cannot ask at all.
    fn unknown(reason: String) -> Self {
        Self { expression: Expression::Unknown, difference: None, unknown: Some(reason) }
    }

    /// The question alone; what is told of it goes to `about`.
    fn told(self, about: &mut Self) -> Expression {
        about.difference = about.difference.or(self.difference);
        about.unknown = about.unknown.take().or(self.unknown);
        self.expression
    }
}

/// A criterion, or why nothing of it can be asked.
pub(super) type Outcome = Result<Asked, String>;

/// The ACLs of one proxy, by name.
#[derive(Debug, Default)]
pub(super) struct Acls {
    named: BTreeMap<String, Asked>,
    facts: Facts,
    used: std::cell::RefCell<BTreeSet<String>>,
    /// Those that were asked where they can be, though not by other rules.
    asked: std::cell::RefCell<BTreeSet<String>>,
}

impl Acls {
    /// Reads the `acl` lines among `lines`. Several of one name are alternatives.
    pub(super) fn read<'l>(lines: impl IntoIterator<Item = &'l Line>, facts: Facts) -> Self {
        let mut acls = Self { facts, ..Self::default() };
        let mut read: BTreeMap<String, Asked> = BTreeMap::new();
        for line in lines.into_iter().filter(|line| line.text(0) == "acl") {
            let outcome = match line.variable(1) {
                Some(name) => Err(format!("the environment variable `{name}` is not known here")),
                None => criterion(&line.texts(2), facts),
            };
            let asked = outcome.unwrap_or_else(Asked::unknown);
            let before = read.remove(line.text(1));
            read.insert(line.text(1).to_owned(), or_else(before, asked));
        }
        let shared = |asked: Asked| Asked {
            expression: Expression::Shared(Rc::new(asked.expression)),
            ..asked
        };
        acls.named = read.into_iter().map(|(name, asked)| (name, shared(asked))).collect();
        acls
    }

    /// What is known of every request.
    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    /// The ACLs of `other`, which knows more, count as asked here where it asked them.
    pub(super) fn adopt(&self, other: &Self) {
        self.asked.borrow_mut().extend(other.used.borrow().iter().cloned());
    }

    /// Says what became of the `acl` lines.
    pub(super) fn settle<'l>(&self, lines: impl IntoIterator<Item = &'l Line>, items: &mut Items) {
        let used = self.used.borrow();
        for line in lines.into_iter().filter(|line| line.text(0) == "acl") {
            if items.is_limit(line.item) {
                continue;
            }
            match self.named.get(line.text(1)) {
                _ if self.asked.borrow().contains(line.text(1)) => items.mapped(line.item),
                Some(Asked { unknown: Some(reason), .. }) => {
                    items.refused(line.item, reason.clone());
                }
                Some(_) if used.contains(line.text(1)) => items.mapped(line.item),
                Some(_) | None => items.ignored(line.item, "no rule that is taken over uses it"),
            }
        }
    }

    /// Reads the condition at the end of a line: `if ...`, `unless ...`, or nothing.
    pub(super) fn condition(&self, words: &[&str]) -> Asked {
        let Some((first, rest)) = words.split_first() else {
            return Asked::exactly(Expression::Constant(true));
        };
        let asked = match *first {
            "if" | "unless" => self.alternatives(rest).unwrap_or_else(Asked::unknown),
            other => Asked::unknown(format!("`{other}` is not understood here")),
        };
        match *first {
            "unless" => Asked { expression: asked.expression.negated(), ..asked },
            _ => asked,
        }
    }

    fn alternatives(&self, words: &[&str]) -> Outcome {
        let mut any = Vec::new();
        let mut about = Asked::exactly(Expression::Unknown);
        for all in words.split(|word| matches!(*word, "or" | "||")) {
            any.push(self.terms(all)?.told(&mut about));
        }
        let expression = match any.pop() {
            Some(only) if any.is_empty() => only,
            last => Expression::AnyOf(any.into_iter().chain(last).collect()),
        };
        Ok(Asked { expression, ..about })
    }

    fn terms(&self, mut words: &[&str]) -> Outcome {
        if words.is_empty() {
            return Err("the condition is empty".to_owned());
        }
        let mut all = Vec::new();
        let mut about = Asked::exactly(Expression::Unknown);
        while let Some((first, rest)) = words.split_first() {
            words = rest;
            let mut name = *first;
            let mut is_negated = false;
            while let Some(after) = name.strip_prefix('!') {
                is_negated = !is_negated;
                name = after;
            }
            if name.is_empty() {
                let Some((next, rest)) = words.split_first() else {
                    return Err("nothing stands behind `!`".to_owned());
                };
                (name, words) = (*next, rest);
            }
            let asked = if name == "{" {
                let end = words.iter().position(|word| *word == "}");
                let end = end.ok_or_else(|| "`{` is never closed".to_owned())?;
                let inner = words.get(..end).unwrap_or_default();
                words = words.get(end + 1..).unwrap_or_default();
                criterion(inner, self.facts)
            } else {
                self.by_name(name)
            };
            let expression = asked.unwrap_or_else(Asked::unknown).told(&mut about);
            all.push(if is_negated { expression.negated() } else { expression });
        }
        Ok(Asked { expression: Expression::All(all), ..about })
    }

    fn by_name(&self, name: &str) -> Outcome {
        if let Some(asked) = self.named.get(name) {
            self.used.borrow_mut().insert(name.to_owned());
            let reason = asked.unknown.as_ref();
            let unknown = reason.map(|reason| format!("of the ACL `{name}`: {reason}"));
            return Ok(Asked { unknown, ..asked.clone() });
        }
        let expression = match name {
            "TRUE" | "HTTP" | "HTTP_CONTENT" | "HTTP_URL_SLASH" | "WAIT_END" => {
                Expression::Constant(true)
            }
            "FALSE" => Expression::Constant(false),
            // HAProxy's list has HEAD with GET.
            "METH_GET" => methods(&["GET", "HEAD"]),
            _ => match name.strip_prefix("METH_") {
                Some(method) => methods(&[method]),
                None if PREDEFINED.contains(&name) => {
                    return Err(format!("routes cannot ask for `{name}`"));
                }
                None => return Err(format!("there is no ACL `{name}`")),
            },
        };
        Ok(Asked::exactly(expression))
    }
}

/// Predefined ACLs that routes cannot ask for.
const PREDEFINED: [&str; 8] = [
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_URL_ABS",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "RDP_COOKIE",
    "REQ_CONTENT",
];

fn or_else(before: Option<Asked>, asked: Asked) -> Asked {
    let Some(mut before) = before else { return asked };
    // One list for all, so that many lines of one name do not nest.
    let mut any = Vec::new();
    if let Expression::AnyOf(known) = &mut before.expression {
        any.append(known);
    } else {
        any.push(before.expression.clone());
    }
    any.push(asked.told(&mut before));
    Asked { expression: Expression::AnyOf(any), ..before }
}
