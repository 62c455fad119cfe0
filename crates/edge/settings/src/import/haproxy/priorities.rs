//! Which cells become routes, and in which order the door asks them.
//!
//! Where paths are prefixes, first letters and whole paths, the door's own order is the right one:
//! the narrower comes first. Where expressions are asked too, no route says what two of them match
//! together, so an order is looked for that needs none: again and again that route comes next which
//! is right for all requests it takes that no route before it takes. If there is any right order,
//! this finds one (Rivest, Learning Decision Lists, 1987). If there is none, a route that takes what
//! cannot be told apart closes.
//! Invariant: the first route that takes a cell does what is decided for it, or closes.

use std::cmp::Reverse;

use super::condition::{Cell, Host, Path};
use super::items::Item;
use super::pattern::Pattern;
use super::replace::Replacement;
use super::routes::{Action, TooMany};
use super::treatment::{Failures, Treatment};

/// Pairs of a route and a cell that it takes, at most.
const PAIRS_MAX: usize = 1_000_000;

/// The highest priority of the door.
const PRIORITY_MAX: u16 = 1_000;

const NOT_TOLD_APART: &str = "no route asks for several expressions at once; where others hold too, \
                              the door closes, or answers 501";

const NOT_REPLACED: &str = "the door replaces first letters of paths, or paths that one expression \
                            matches; it answers 501 here";

/// A cell and what is decided for its requests.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    /// The cell.
    pub(super) cell: Cell,
    /// What is done.
    pub(super) action: Action,
    /// What is done besides.
    pub(super) treatment: Treatment,
    /// The line that decided.
    pub(super) item: Item,
    /// Its path as a route asks for it; `None` when none can.
    pub(super) pattern: Option<Pattern>,
    /// What takes the place of the path.
    pub(super) replacement: Option<Replacement>,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The cells, each with its priority; those that are written last come first.
    pub(super) kept: Vec<(Decided, u16)>,
    /// The lines that cannot be told apart from others.
    pub(super) failures: Failures,
}

impl Decided {
    /// What is written for a cell.
    pub(super) fn of(cell: Cell, (action, treatment): (Action, Treatment), item: Item) -> Self {
        let (pattern, replacement) = match &action {
            Action::Rewritten { rewrite, .. } => {
                let on = rewrite.on(&cell.path);
                on.map_or((None, None), |(pattern, to)| (Some(pattern), Some(to)))
            }
            Action::Pool(_) | Action::Redirect { .. } | Action::Respond { .. } => {
                (cell.path.written(), None)
            }
        };
        Self { cell, action, treatment, item, pattern, replacement }
    }

    /// Answers so in its place.
    fn answers(&mut self, action: Action) {
        self.action = action;
        (self.pattern, self.replacement) = (self.cell.path.written(), None);
    }

    /// Whether a route could ask for the cell, but not replace its paths.
    fn is_lost(&self) -> bool {
        self.pattern.is_none() && self.cell.path.written().is_some()
    }

    fn is_regex(&self) -> bool {
        matches!(self.pattern, None | Some(Pattern::Regex(_)))
    }

    /// Whether its route takes every request of another cell.
    fn takes(&self, other: &Self) -> bool {
        let takes_bare = matches!(self.pattern, Some(Pattern::Prefix(_)));
        self.cell.takes(&other.cell) && (takes_bare || !self.cell.is_bare(&other.cell))
    }

    /// Whether its route does with the requests of another cell what is decided for those.
    fn does(&self, other: &Self) -> bool {
        if self.action != other.action || self.treatment != other.treatment {
            return false;
        }
        match (&self.action, &self.replacement, &other.cell.path) {
            (
                Action::Rewritten { rewrite, .. },
                Some(Replacement::Prefix(to)),
                Path::Exact(path),
            ) if self.cell.is_bare(&other.cell) => rewrite.of(path).as_ref() == Some(to),
            _ => true,
        }
    }

    /// How the door ranks its route among those of one priority, first come first; equals keep
    /// their order.
    fn rank(&self) -> Rank {
        let host = match self.cell.host {
            Host::Exact(_) => 0,
            Host::Wildcard(_) => 1,
            Host::Any => 2,
        };
        let (path, length, is_start) = match &self.pattern {
            Some(Pattern::Exact(_)) => (0, 0, false),
            Some(Pattern::Regex(_)) | None => (1, 0, false),
            Some(Pattern::Prefix(path)) => (2, path.len(), false),
            Some(Pattern::Start(text)) => (2, text.len(), true),
            // The route for any path is the prefix `/`.
            Some(Pattern::Any) => (2, 1, false),
        };
        if path == 1 {
            // Among expressions their order alone counts.
            return (host, path, Reverse(0), false, Reverse(0), false);
        }
        let headers = Reverse(self.cell.headers.len());
        (host, path, Reverse(length), is_start, headers, self.cell.method.is_none())
    }
}

/// Host, path, its length, whether its letters are only the first, headers, method.
type Rank = (u8, u8, Reverse<usize>, bool, Reverse<usize>, bool);

/// Chooses the cells that are written, and their priorities.
pub(super) fn chosen(mut decided: Vec<Decided>) -> Result<Chosen, TooMany> {
    let by_letter = decided.iter().any(Decided::is_regex);
    decided.sort_by_cached_key(|one| (one.cell.depth(by_letter), one.cell.clone()));
    if !by_letter {
        let kept = needed(&decided).into_iter().filter_map(|index| decided.get(index));
        let kept = kept.map(|one| (one.clone(), 0)).collect();
        return Ok(Chosen { kept, failures: Failures::new() });
    }
    let mut failures = Failures::new();
    loop {
        let lost = match List::of(&mut decided, &mut failures)? {
            Ok(list) => return list.written(&decided, failures),
            Err(lost) => lost,
        };
        // What needs a route of its own that cannot replace its paths is answered by one that closes.
        for index in lost {
            if let Some(one) = decided.get_mut(index) {
                failures.insert(one.item, NOT_REPLACED.to_owned());
                one.answers(Action::answer(501));
            }
        }
    }
}

/// Leaves out what the wider cells before it answer for alike: the indices of those that stay.
/// `decided` is sorted widest first.
fn needed(decided: &[Decided]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for (index, one) in decided.iter().enumerate() {
        // Of equals the one kept last is written first, and so comes first in the door.
        let wider = kept.iter().rev().filter_map(|index| decided.get(*index));
        let first = wider.filter(|wider| wider.takes(one)).min_by_key(|wider| wider.rank());
        if first.is_none_or(|first| !first.does(one)) {
            kept.push(index);
        }
    }
    kept
}

/// Routes in a right order.
struct List {
    /// Which cells they are for, the first one first.
    routes: Vec<usize>,
    /// For each cell the place of the route that takes it.
    places: Vec<usize>,
    /// For each cell the cells whose routes take it, and whether these do the right thing.
    takers: Vec<Vec<(usize, bool)>>,
    /// For each cell the cells that its route takes.
    taken: Vec<Vec<usize>>,
}

/// What is left to be put in order.
struct Rest {
    is_left: Vec<bool>,
    /// For each cell how many that are left its route takes, and for how many of them it is wrong.
    taken: Vec<(usize, usize)>,
}

impl List {
    /// An order; or the cells that need a route of their own, whose paths none can replace.
    fn of(
        decided: &mut [Decided],
        failures: &mut Failures,
    ) -> Result<Result<Self, Vec<usize>>, TooMany> {
        let takers = takers(decided)?;
        let mut rest = Rest::of(&takers);
        let mut taken = vec![Vec::new(); decided.len()];
        for (cell, takers) in takers.iter().enumerate() {
            for (taker, _) in takers {
                taken
                    .get_mut(*taker)
                    .into_iter()
                    .for_each(|cells: &mut Vec<usize>| cells.push(cell));
            }
        }
        let places = vec![0; decided.len()];
        let mut list = Self { routes: Vec::new(), places, takers, taken };
        while rest.is_left.contains(&true) {
            let Some(next) = rest.right() else {
                let lost = left(decided, &rest).filter(|(_, one)| one.is_lost());
                let lost: Vec<usize> = lost.map(|(index, _)| index).collect();
                if !lost.is_empty() {
                    return Ok(Err(lost));
                }
                let next = list.closed(decided, &rest, failures)?;
                list.place(next, &mut rest);
                continue;
            };
            list.place(next, &mut rest);
        }
        for place in (0..list.routes.len()).rev() {
            list.leave_out(place);
        }
        Ok(Ok(list))
    }

    /// Leaves a route out if those behind it do the same.
    fn leave_out(&mut self, place: usize) {
        let place_of = self.place_of();
        let behind =
            |taker: usize| place_of.get(taker).copied().flatten().filter(|other| *other > place);
        let mut moved = Vec::new();
        for (cell, takers) in self.takers.iter().enumerate() {
            if self.places.get(cell) != Some(&place) {
                continue;
            }
            let others = takers.iter().filter_map(|(taker, right)| Some((behind(*taker)?, *right)));
            match others.min_by_key(|(other, _)| *other) {
                Some((other, true)) => moved.push((cell, other)),
                Some((_, false)) | None => return,
            }
        }
        for (cell, other) in moved {
            if let Some(own) = self.places.get_mut(cell) {
                *own = other;
            }
        }
        self.routes.remove(place);
        self.places.iter_mut().filter(|own| **own > place).for_each(|own| *own -= 1);
    }

    /// For each cell the place of its route, if that is one of them.
    fn place_of(&self) -> Vec<Option<usize>> {
        let mut place_of = vec![None; self.takers.len()];
        for (place, route) in self.routes.iter().enumerate() {
            if let Some(own) = place_of.get_mut(*route) {
                *own = Some(place);
            }
        }
        place_of
    }

    fn written(self, decided: &[Decided], failures: Failures) -> Result<Chosen, TooMany> {
        let priorities = self.priorities(decided)?;
        let mut order: Vec<(usize, u16)> = self.routes.iter().copied().zip(priorities).collect();
        let rank = |index: usize| decided.get(index).map(Decided::rank);
        order.sort_by_key(|(index, priority)| (Reverse(*priority), rank(*index)));
        // Where priorities leave it open, a wider one may have come first: then one is not needed.
        let mut is_first = vec![false; decided.len()];
        let mut asked = vec![usize::MAX; decided.len()];
        for (place, (index, _)) in order.iter().enumerate() {
            asked.get_mut(*index).into_iter().for_each(|own| *own = place);
        }
        for takers in &self.takers {
            let place = |index: usize| asked.get(index).copied().unwrap_or(usize::MAX);
            let first = takers.iter().map(|(taker, _)| *taker).min_by_key(|taker| place(*taker));
            let own = first.and_then(|first| is_first.get_mut(first));
            own.into_iter().for_each(|own| *own = true);
        }
        order.retain(|(index, _)| is_first.get(*index) == Some(&true));
        let one = |(index, priority): (usize, u16)| Some((decided.get(index)?.clone(), priority));
        Ok(Chosen { kept: order.into_iter().rev().filter_map(one).collect(), failures })
    }

    /// The narrowest route there is, made to close: what it takes cannot be told apart.
    fn closed(
        &self,
        decided: &mut [Decided],
        rest: &Rest,
        failures: &mut Failures,
    ) -> Result<usize, TooMany> {
        let candidates = left(decided, rest).filter(|(_, one)| one.pattern.is_some());
        let next = candidates.map(|(index, _)| index).last().ok_or(TooMany)?;
        let is_wrong = |index: usize| {
            let takers = self.takers.get(index).into_iter().flatten();
            takers.copied().any(|taker| taker == (next, false))
        };
        let others = left(decided, rest).filter(|(index, _)| is_wrong(*index));
        let others: Vec<Decided> = others.map(|(_, other)| other.clone()).collect();
        let closing = others.iter().find(|other| other.action.closes());
        let one = decided.get_mut(next).ok_or(TooMany)?;
        failures.extend(others.iter().map(|other| (other.item, NOT_TOLD_APART.to_owned())));
        if !one.action.closes() {
            failures.insert(one.item, NOT_TOLD_APART.to_owned());
            let (action, treatment) = closing.map_or_else(
                || (Action::answer(501), one.treatment.clone()),
                |other| (other.action.clone(), other.treatment.clone()),
            );
            one.answers(action);
            one.treatment = treatment;
        }
        Ok(next)
    }

    /// Puts a route behind the others: all that it takes and that is left is its own.
    fn place(&mut self, next: usize, rest: &mut Rest) {
        let place = self.routes.len();
        self.routes.push(next);
        for cell in self.taken.get(next).into_iter().flatten() {
            let is_left = rest.is_left.get(*cell).copied().unwrap_or(false);
            if let (true, Some(takers)) = (is_left, self.takers.get(*cell)) {
                rest.take(*cell, takers);
                if let Some(own) = self.places.get_mut(*cell) {
                    *own = place;
                }
            }
        }
    }

    /// The pairs of places of which the first has to be asked first.
    fn constraints(&self) -> Vec<(usize, usize)> {
        let place_of = self.place_of();
        let mut pairs = Vec::new();
        for (first, takers) in self.places.iter().zip(&self.takers) {
            for (taker, is_right) in takers {
                let place = place_of.get(*taker).copied().flatten();
                pairs.extend(place.filter(|p| !is_right && p > first).map(|p| (*first, p)));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// The priorities of the routes: none where the door's own order is right.
    fn priorities(&self, decided: &[Decided]) -> Result<Vec<u16>, TooMany> {
        let pairs = self.constraints();
        let rank = |place: usize| {
            self.routes.get(place).and_then(|one| decided.get(*one)).map(Decided::rank)
        };
        if pairs.iter().all(|(first, other)| rank(*first) < rank(*other)) {
            return Ok(vec![0; self.routes.len()]);
        }
        let mut priorities = vec![0_u16; self.routes.len()];
        // From the last place to the first, so that those behind are known.
        for (first, other) in pairs.iter().rev() {
            let behind = priorities.get(*other).copied().unwrap_or(0);
            if let Some(own) = priorities.get_mut(*first) {
                *own = (*own).max(behind + 1);
            }
        }
        let is_known = priorities.iter().all(|priority| *priority <= PRIORITY_MAX);
        if is_known { Ok(priorities) } else { Err(TooMany) }
    }
}

/// The cells that no route takes yet.
fn left<'d>(decided: &'d [Decided], rest: &'d Rest) -> impl Iterator<Item = (usize, &'d Decided)> {
    let all = decided.iter().enumerate().zip(&rest.is_left);
    all.filter(|(_, is_left)| **is_left).map(|(one, _)| one)
}

/// For each cell the cells whose routes take it, and whether these do the right thing.
fn takers(decided: &[Decided]) -> Result<Vec<Vec<(usize, bool)>>, TooMany> {
    let mut pairs = 0;
    let mut all = Vec::new();
    for other in decided {
        let routes = decided.iter().enumerate().filter(|(_, one)| one.pattern.is_some());
        let takers = routes.filter(|(_, one)| one.takes(other));
        let takers: Vec<(usize, bool)> =
            takers.map(|(index, one)| (index, one.does(other))).collect();
        pairs += takers.len();
        if pairs > PAIRS_MAX {
            return Err(TooMany);
        }
        all.push(takers);
    }
    Ok(all)
}

impl Rest {
    fn of(takers: &[Vec<(usize, bool)>]) -> Self {
        let mut taken = vec![(0, 0); takers.len()];
        for (taker, is_right) in takers.iter().flatten() {
            if let Some((all, wrong)) = taken.get_mut(*taker) {
                *all += 1;
                *wrong += usize::from(!is_right);
            }
        }
        Self { is_left: vec![true; takers.len()], taken }
    }

    /// Of the routes that are right for all they take, the one that takes most.
    fn right(&self) -> Option<usize> {
        let right =
            self.taken.iter().enumerate().filter(|(_, (all, wrong))| *all > 0 && *wrong == 0);
        // Of several the widest, which comes first.
        right.max_by_key(|(index, (all, _))| (*all, Reverse(*index))).map(|(index, _)| index)
    }

    fn take(&mut self, cell: usize, takers: &[(usize, bool)]) {
        if let Some(is_left) = self.is_left.get_mut(cell) {
            *is_left = false;
        }
        for (taker, is_right) in takers {
            if let Some((all, wrong)) = self.taken.get_mut(*taker) {
                *all -= 1;
                *wrong -= usize::from(!is_right);
            }
        }
    }
}
