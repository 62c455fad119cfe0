//! What becomes of the requests of one cell, by the rules in their order.
//!
//! Where nobody knows whether a rule holds, what it does and what comes behind it are looked at
//! both. If one of them closes, the request is closed; if both are the same, it is that; else the
//! door has no answer, which it says with 501. So what the door cannot ask opens nothing that
//! HAProxy closes, and leads nobody to other servers than HAProxy would.

use super::condition::{Cell, Path, Truth};
use super::items::Item;
use super::replace::Rewrite;
use super::routes::{Action, Rule, Then, TooMany};
use super::treatment::{self, Treat};

const ASKED_LATER: &str = "a later rule asks for the path as it is then; the door's routes look at it \
                           as it came, and answer 501 here";
const TWICE: &str = "the door replaces a path once, and answers 501 here";
const READ: &str = "another rule reads the path as it is then; the door answers 501 here";

/// What is done with requests, and what led there.
#[derive(Clone, Debug)]
pub(super) struct Decision<'r> {
    /// What is done.
    pub(super) action: Action,
    /// What is done on the way.
    pub(super) treats: Vec<(&'r Treat, Item)>,
    /// The lines that led there, the one that decided last.
    pub(super) items: Vec<Item>,
    /// The lines that the door cannot follow, and why.
    pub(super) failures: Vec<(Item, &'static str)>,
}

/// What was done to a request so far.
#[derive(Clone, Default)]
struct Walked<'r> {
    treats: Vec<(&'r Treat, Item)>,
    rewrites: Vec<(&'r Rewrite, Item)>,
}

/// What becomes of the requests of `cell`. Each rule that is asked is taken from `steps`.
pub(super) fn decide<'r>(
    rules: &'r [Rule],
    cell: &Cell,
    steps: &mut usize,
) -> Result<Option<Decision<'r>>, TooMany> {
    walk(rules, cell, Walked::default(), steps)
}

fn walk<'r>(
    rules: &'r [Rule],
    cell: &Cell,
    mut walked: Walked<'r>,
    steps: &mut usize,
) -> Result<Option<Decision<'r>>, TooMany> {
    let mut undecided: Vec<(Decision<'r>, Truth)> = Vec::new();
    let mut last = None;
    for rule in rules {
        *steps = steps.checked_sub(1).ok_or(TooMany)?;
        // One line may rewrite in two ways, of which only one holds.
        let is_rewritten = walked.rewrites.iter().any(|(_, item)| *item != rule.item);
        if is_rewritten && rule.when.asks(|cell| cell.path != Path::Any) {
            last = Some(walked.unanswered(rule.item, ASKED_LATER).behind(rule));
            break;
        }
        let truth = rule.when.truth(cell, false);
        if truth == Truth::No {
            continue;
        }
        let decision = match &rule.then {
            Then::Treat(treat) => {
                walked.treat(treat, rule, cell);
                continue;
            }
            Then::Act(action) => Some(walked.ended(action, rule.item)),
            Then::Rules(inner) => walk(inner, cell, walked.clone(), steps)?,
        };
        let decision = decision.map(|decision| decision.behind(rule));
        if truth == Truth::Yes {
            last = decision;
            break;
        }
        undecided.extend(decision.map(|decision| (decision, rule.when.truth(cell, true))));
    }
    Ok(undecided.into_iter().rev().fold(last, |rest, (one, near)| match rest {
        Some(rest) => Some(one.or(rest, near)),
        None => Some(one),
    }))
}

impl<'r> Walked<'r> {
    /// Does something to the request. Where nobody knows whether it is to be done, only passwords
    /// are asked for.
    fn treat(&mut self, treat: &'r Treat, rule: &Rule, cell: &Cell) {
        let is_ask = matches!(treat, Treat::Ask { .. });
        if !is_ask && rule.when.truth(cell, true) != Truth::Yes {
            return;
        }
        self.treats.push((treat, rule.item));
        if let Treat::Path(rewrite) = treat {
            self.rewrites.push((rewrite, rule.item));
        }
    }

    /// The end of a request that an action is for.
    fn ended(&self, action: &Action, item: Item) -> Decision<'r> {
        let reads = |action: &Action| matches!(action, Action::Redirect { location, .. } if location.contains("{path}"));
        let action = match (action, self.rewrites.as_slice()) {
            (_, []) => action.clone(),
            (Action::Pool(_), [(_, item), ..])
                if self.treats.iter().any(|(treat, _)| treatment::reads_path(treat)) =>
            {
                return self.unanswered(*item, READ);
            }
            (Action::Pool(pool), [(rewrite, _)]) => {
                Action::Rewritten { pool: pool.clone(), rewrite: (*rewrite).clone() }
            }
            (Action::Pool(_), [_, (_, item), ..]) => return self.unanswered(*item, TWICE),
            (action, [(_, item), ..]) if reads(action) => return self.unanswered(*item, READ),
            (action, _) => action.clone(),
        };
        let (treats, failures) = (self.treats.clone(), Vec::new());
        Decision { action, treats, items: vec![item], failures }
    }

    fn unanswered(&self, item: Item, reason: &'static str) -> Decision<'r> {
        let (treats, failures) = (self.treats.clone(), vec![(item, reason)]);
        Decision { action: Action::answer(501), treats, items: vec![item], failures }
    }
}

impl<'r> Decision<'r> {
    /// The same, with the rule that led there.
    fn behind(mut self, rule: &Rule) -> Self {
        if self.items.first() != Some(&rule.item) {
            self.items.insert(0, rule.item);
        }
        self
    }

    fn asks(&self) -> bool {
        self.treats.iter().any(|(treat, _)| matches!(treat, Treat::Ask { .. }))
    }

    /// What becomes of requests for which it may be this, or else `rest`. `near`: whether it is
    /// this, as far as the door asks nearly the same.
    fn or(self, rest: Self, near: Truth) -> Self {
        let is_like = self.action == rest.action;
        let same_treats = self.treats.iter().map(|(treat, _)| treat);
        let same_treats = same_treats.eq(rest.treats.iter().map(|(treat, _)| treat));
        let (mut chosen, other) = match near {
            _ if is_like && same_treats => (self, rest),
            _ if is_like && rest.asks() && !self.asks() => (rest, self),
            _ if is_like && self.asks() && !rest.asks() => (self, rest),
            _ if self.action.closes() => (self, rest),
            _ if rest.action.closes() => (rest, self),
            Truth::Yes => (self, rest),
            Truth::No => (rest, self),
            Truth::Maybe => (Self { action: Action::answer(501), ..self }, rest),
        };
        // What led to either was asked.
        chosen.items = [other.items, chosen.items].concat();
        chosen.failures.extend(other.failures);
        chosen
    }
}
