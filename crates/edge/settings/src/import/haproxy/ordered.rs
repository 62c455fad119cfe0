//! Rules as routes in their own order: for when their paths are too many to be told apart.
//!
//! Where conditions only say what has to be so, each of their alternatives is a route, and those of
//! an earlier rule have a higher priority. Nothing needs to be said of what several match then.

use std::collections::BTreeSet;

use super::condition::{Cell, Expression};
use super::items::Item;
use super::pattern::Pattern;
use super::priorities::Decided;
use super::routes::{Action, Routes, Rule, Then, TooMany, written};
use super::treatment::{self, Failures, Treat, Treatment};

/// Routes and alternatives, at most; each is compared with those before it.
const ROUTES_MAX: usize = 1_000;

/// Mentions of cells in the rules, at most.
const MENTIONS_MAX: usize = 20_000;

/// The routes for `rules`, if they can be had in this way.
pub(super) fn ordered(rules: &[Rule]) -> Result<Routes, TooMany> {
    let failures = treatment::asked_later(rules, &mut MENTIONS_MAX.clone())?;
    let mut list = List { groups: Vec::new(), count: 0, taken: BTreeSet::new(), failures };
    list.add(rules, &[Cell::ANY].into(), Vec::new())?;
    list.routes()
}

/// The alternatives of one rule that ends requests: for all of them the same is done.
struct Group {
    cells: BTreeSet<Cell>,
    action: Action,
    treatment: Treatment,
    item: Item,
}

struct List {
    groups: Vec<Group>,
    /// How many cells there are.
    count: usize,
    taken: BTreeSet<Item>,
    failures: Failures,
}

impl List {
    /// Adds what becomes of the requests in `within`, to which `treats` were done.
    fn add<'r>(
        &mut self,
        rules: &'r [Rule],
        within: &BTreeSet<Cell>,
        mut treats: Vec<(&'r Treat, Item)>,
    ) -> Result<(), TooMany> {
        for rule in rules {
            let alternatives = alternatives(&rule.when)?;
            let is_always = alternatives.contains(&Cell::ANY);
            let cells = both(within, &alternatives)?;
            match &rule.then {
                // Only some requests would be treated so.
                Then::Treat(_) if !is_always && !cells.is_empty() => return Err(TooMany),
                Then::Treat(Treat::Path(_)) => return Err(TooMany),
                Then::Treat(treat) if is_always => treats.push((treat, rule.item)),
                Then::Treat(_) => {}
                Then::Act(action) => self.end(action, cells, &treats, rule.item)?,
                Then::Rules(inner) => {
                    self.taken.insert(rule.item);
                    self.add(inner, &cells, treats.clone())?;
                }
            }
            if is_always && !matches!(rule.then, Then::Treat(_)) {
                break;
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        action: &Action,
        mut cells: BTreeSet<Cell>,
        treats: &[(&Treat, Item)],
        item: Item,
    ) -> Result<(), TooMany> {
        // What a rule before takes no later one does.
        let is_taken = |cell: &Cell| {
            self.groups.iter().any(|group| group.cells.iter().any(|wider| wider.covers(cell)))
        };
        cells.retain(|cell| !is_taken(cell));
        self.count += cells.len();
        if self.count > ROUTES_MAX {
            return Err(TooMany);
        }
        if cells.is_empty() {
            return Ok(());
        }
        let mut treats = treats.to_vec();
        self.taken.extend(treats.iter().map(|(_, item)| *item).chain([item]));
        treats.retain(|(_, item)| !self.failures.contains_key(item));
        let treatment = Treatment::of(&treats, action.is_passed(), &mut self.failures);
        self.groups.push(Group { cells, action: action.clone(), treatment, item });
        Ok(())
    }

    fn routes(self) -> Result<Routes, TooMany> {
        let Self { groups, taken, failures, .. } = self;
        let mut kept = Vec::new();
        for (group, priority) in groups.into_iter().rev().zip(0_u16..) {
            let Group { cells, action, treatment, item } = group;
            for cell in &cells {
                let head = Cell { method: Some("HEAD".to_owned()), ..cell.clone() };
                if cell.method.as_deref() == Some("GET") && !cells.contains(&head) {
                    // A route for GET takes HEAD as well.
                    return Err(TooMany);
                }
                let mut one = Decided::of(cell.clone(), (action.clone(), treatment.clone()), item);
                one.pattern = match cell.path.written().ok_or(TooMany)? {
                    // A route for a prefix takes the bare path as well.
                    Pattern::Prefix(_) => cell.path.regex().map(Pattern::Regex),
                    Pattern::Any => Some(Pattern::Any),
                    Pattern::Exact(path) => Some(Pattern::Exact(path)),
                    Pattern::Start(text) => Some(Pattern::Start(text)),
                    Pattern::Regex(text) => Some(Pattern::Regex(text)),
                };
                kept.push((one, priority));
            }
        }
        Ok(Routes { routes: written(kept), taken, failures })
    }
}

/// The cells of which one has to hold a request for which `when` holds.
fn alternatives(when: &Expression) -> Result<BTreeSet<Cell>, TooMany> {
    Ok(match when {
        Expression::Constant(true) => [Cell::ANY].into(),
        Expression::Constant(false) => BTreeSet::new(),
        Expression::Is(cell) => [cell.clone()].into(),
        Expression::Shared(inner) => alternatives(inner)?,
        Expression::All(all) => {
            let mut cells = BTreeSet::from([Cell::ANY]);
            for inner in all {
                cells = both(&cells, &alternatives(inner)?)?;
            }
            cells
        }
        Expression::AnyOf(any) => {
            let mut cells = BTreeSet::new();
            for inner in any {
                cells.append(&mut alternatives(inner)?);
                if cells.len() > ROUTES_MAX {
                    return Err(TooMany);
                }
            }
            cells
        }
        Expression::Unknown | Expression::Host(_) | Expression::Near(..) | Expression::Not(_) => {
            return Err(TooMany);
        }
    })
}

/// What is in one of either.
fn both(one: &BTreeSet<Cell>, other: &BTreeSet<Cell>) -> Result<BTreeSet<Cell>, TooMany> {
    if one.len().saturating_mul(other.len()) > ROUTES_MAX {
        return Err(TooMany);
    }
    let met = |cell: &Cell| other.iter().filter_map(|other| cell.and(other)).collect::<Vec<_>>();
    Ok(one.iter().flat_map(met).collect())
}
