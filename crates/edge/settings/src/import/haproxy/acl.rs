//! ACLs and conditions: what of them this door's routes can ask.
//!
//! A criterion that can be asked becomes an [`Expression`] over hosts, paths, methods and
//! headers; any other is refused with the reason. Where the door asks nearly the same (a prefix
//! that ends at a segment, one label in place of any number), the criterion is taken and the
//! difference told as a warning.

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

/// A criterion that can be asked, and how the door's question differs from HAProxy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The question.
    pub(super) expression: Expression,
    /// The difference, if any, in one clause.
    pub(super) difference: Option<&'static str>,
}

/// A criterion, or why routes cannot ask for it.
pub(super) type Outcome = Result<Asked, String>;

/// The ACLs of one proxy, by name.
#[derive(Debug, Default)]
pub(super) struct Acls {
    named: BTreeMap<String, Outcome>,
    facts: Facts,
    used: std::cell::RefCell<BTreeSet<String>>,
    /// Those that were asked where they can be, though not by other rules.
    asked: std::cell::RefCell<BTreeSet<String>>,
}

impl Acls {
    /// Reads the `acl` lines among `lines`. Several of one name are alternatives.
    pub(super) fn read<'l>(lines: impl IntoIterator<Item = &'l Line>, facts: Facts) -> Self {
        let mut acls = Self { facts, ..Self::default() };
        let mut read: BTreeMap<String, Outcome> = BTreeMap::new();
        for line in lines.into_iter().filter(|line| line.text(0) == "acl") {
            let outcome = match line.variable(1) {
                Some(name) => Err(format!("the environment variable `{name}` is not known here")),
                None => criterion(&line.texts(2), facts),
            };
            let before = read.remove(line.text(1));
            read.insert(line.text(1).to_owned(), or_else(before, outcome));
        }
        let shared = |asked: Asked| Asked {
            expression: Expression::Shared(Rc::new(asked.expression)),
            ..asked
        };
        acls.named = read.into_iter().map(|(name, outcome)| (name, outcome.map(shared))).collect();
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
                Some(Err(reason)) => items.refused(line.item, reason.clone()),
                Some(Ok(_)) if used.contains(line.text(1)) => items.mapped(line.item),
                Some(Ok(_)) | None => {
                    items.ignored(line.item, "no rule that is taken over uses it")
                }
            }
        }
    }

    /// Reads the condition at the end of a line: `if ...`, `unless ...`, or nothing.
    pub(super) fn condition(&self, words: &[&str]) -> Outcome {
        let Some((first, rest)) = words.split_first() else {
            return Ok(Asked { expression: Expression::Constant(true), difference: None });
        };
        let is_negated = match *first {
            "if" => false,
            "unless" => true,
            other => return Err(format!("`{other}` is not understood here")),
        };
        let asked = self.alternatives(rest)?;
        Ok(if is_negated {
            Asked { expression: asked.expression.negated(), ..asked }
        } else {
            asked
        })
    }

    fn alternatives(&self, words: &[&str]) -> Outcome {
        let mut any = Vec::new();
        let mut difference = None;
        for all in words.split(|word| matches!(*word, "or" | "||")) {
            let asked = self.terms(all)?;
            difference = difference.or(asked.difference);
            any.push(asked.expression);
        }
        let expression = match any.pop() {
            Some(only) if any.is_empty() => only,
            last => Expression::AnyOf(any.into_iter().chain(last).collect()),
        };
        Ok(Asked { expression, difference })
    }

    fn terms(&self, mut words: &[&str]) -> Outcome {
        if words.is_empty() {
            return Err("the condition is empty".to_owned());
        }
        let mut all = Vec::new();
        let mut difference = None;
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
                criterion(inner, self.facts)?
            } else {
                self.by_name(name)?
            };
            difference = difference.or(asked.difference);
            let expression = asked.expression;
            all.push(if is_negated { expression.negated() } else { expression });
        }
        Ok(Asked { expression: Expression::All(all), difference })
    }

    fn by_name(&self, name: &str) -> Outcome {
        if let Some(outcome) = self.named.get(name) {
            self.used.borrow_mut().insert(name.to_owned());
            return outcome.clone().map_err(|reason| format!("of the ACL `{name}`: {reason}"));
        }
        let expression = match name {
            "TRUE" | "HTTP" | "HTTP_CONTENT" | "HTTP_URL_SLASH" => Expression::Constant(true),
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
        Ok(Asked { expression, difference: None })
    }
}

/// Predefined ACLs that routes cannot ask for.
const PREDEFINED: [&str; 9] = [
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_URL_ABS",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "RDP_COOKIE",
    "REQ_CONTENT",
    "WAIT_END",
];

fn or_else(before: Option<Outcome>, outcome: Outcome) -> Outcome {
    match before {
        None => outcome,
        Some(Err(reason)) => Err(reason),
        Some(Ok(before)) => {
            let outcome = outcome?;
            // One list for all, so that many lines of one name do not nest.
            let mut any = if let Expression::AnyOf(any) = before.expression {
                any
            } else {
                vec![before.expression]
            };
            any.push(outcome.expression);
            let difference = before.difference.or(outcome.difference);
            Ok(Asked { expression: Expression::AnyOf(any), difference })
        }
    }
}
