//! Paths of one criterion as one expression: for when the paths are too many to be told apart one by
//! one.
//!
//! What a group has in common with another path no route says, so this is tried second.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::condition::{Cell, Expression, Host, Path};
use super::expression::{TEXT_BYTES_MAX, matching};
use super::routes::{Rule, Then};

/// Paths that are put together, at most.
const PATHS_MAX: usize = 2_000;

/// The same rules, with fewer cells.
pub(super) fn grouped(rules: &[Rule]) -> Vec<Rule> {
    Grouping::default().rules(rules)
}

/// What was grouped already, by where it was: what several rules share stays shared.
#[derive(Default)]
struct Grouping {
    conditions: BTreeMap<usize, Rc<Expression>>,
    rules: BTreeMap<usize, Rc<Vec<Rule>>>,
}

impl Grouping {
    fn rules(&mut self, rules: &[Rule]) -> Vec<Rule> {
        let mut grouped = Vec::new();
        for rule in rules {
            let then = match &rule.then {
                Then::Rules(inner) => {
                    let at = Rc::as_ptr(inner).addr();
                    let known = self.rules.get(&at).cloned();
                    let inner = known.unwrap_or_else(|| Rc::new(self.rules(inner)));
                    self.rules.insert(at, Rc::clone(&inner));
                    Then::Rules(inner)
                }
                Then::Act(_) | Then::Treat(_) => rule.then.clone(),
            };
            grouped.push(Rule { when: self.condition(&rule.when), then, item: rule.item });
        }
        grouped
    }

    fn condition(&mut self, when: &Expression) -> Expression {
        match when {
            Expression::Constant(_)
            | Expression::Unknown
            | Expression::Is(_)
            | Expression::Host(_)
            | Expression::Near(..) => when.clone(),
            Expression::Shared(inner) => {
                let at = Rc::as_ptr(inner).addr();
                let known = self.conditions.get(&at).cloned();
                let inner = known.unwrap_or_else(|| Rc::new(self.condition(inner)));
                self.conditions.insert(at, Rc::clone(&inner));
                Expression::Shared(inner)
            }
            Expression::Not(inner) => self.condition(inner).negated(),
            Expression::All(many) => {
                Expression::All(many.iter().map(|inner| self.condition(inner)).collect())
            }
            Expression::AnyOf(_) => {
                let (mut paths, mut others) = (BTreeSet::new(), Vec::new());
                self.alternatives(when, &mut paths, &mut others);
                others.extend(joined(&paths));
                Expression::AnyOf(others)
            }
        }
    }

    /// Parts alternatives into paths and others.
    fn alternatives(
        &mut self,
        when: &Expression,
        paths: &mut BTreeSet<Path>,
        others: &mut Vec<Expression>,
    ) {
        match when {
            Expression::AnyOf(many) => {
                many.iter().for_each(|inner| self.alternatives(inner, paths, others));
            }
            Expression::Is(Cell { host: Host::Any, path, method: None, headers })
                if headers.is_empty() && paths.len() < PATHS_MAX && path.regex().is_some() =>
            {
                paths.insert(path.clone());
            }
            Expression::Constant(_)
            | Expression::Unknown
            | Expression::Is(_)
            | Expression::Host(_)
            | Expression::Near(..)
            | Expression::Shared(_)
            | Expression::Not(_)
            | Expression::All(_) => others.push(self.condition(when)),
        }
    }
}

/// As few expressions for the paths as are short enough.
fn joined(paths: &BTreeSet<Path>) -> Vec<Expression> {
    let alone = || paths.iter().cloned().map(Expression::of_path).collect();
    if paths.len() < 2 {
        return alone();
    }
    let mut texts: Vec<String> = Vec::new();
    for path in paths {
        let Some(text) = path.regex() else { continue };
        let text = match text.strip_prefix("(?i)") {
            Some(rest) => format!("(?i:{rest})"),
            // A flag within holds up to the end of its group.
            None if text.contains("(?i") => format!("(?:{text})"),
            None => text,
        };
        match texts.last_mut().filter(|last| last.len() + text.len() < TEXT_BYTES_MAX) {
            Some(last) => last.push_str(&format!("|{text}")),
            None => texts.push(text),
        }
    }
    let found =
        |text: &String| Some(Expression::of_path(Path::matching(matching(text, false).ok()?)));
    let all: Option<Vec<Expression>> = texts.iter().map(found).collect();
    all.unwrap_or_else(alone)
}
