//! HAProxy's rules in their order to routes by specificity, exactly.
//!
//! All cells the rules name are closed under intersection. Then every request has one narrowest
//! cell that holds it, and every rule holds for all requests of that narrowest cell or for none,
//! negations included: so each cell has one action, that of the first rule that holds for it.
//! The narrowest cell also ranks first among the routes that match, since host, path, headers
//! and methods of the others are wider one by one. So one route for each cell answers as HAProxy
//! does. Cells that wider ones answer for alike are then left out, from the widest on.
//! Invariant: for every cell, the first route that takes it has its action.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::condition::{Cell, Expression, Host, Path};
use super::items::Item;
use super::treatment::{self, Failures, Treat, Treatment};

/// Cells of one set of rules, at most.
const CELLS_MAX: usize = 2_000;

/// Mentions of cells in the rules of one front end, at most.
const MENTIONS_MAX: usize = 20_000;

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Forwarded to a pool, by its name in the TOML.
    Pool(String),
    /// The same, with a prefix of the path replaced.
    Replaced {
        /// The pool.
        pool: String,
        /// The prefix, which no slash ends.
        prefix: String,
        /// What it becomes.
        to: String,
    },
    /// Redirected.
    Redirect {
        /// The status.
        status: u16,
        /// The location, with this door's placeholders.
        location: String,
    },
    /// Answered.
    Respond {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// Its type; `None` is this door's default.
        content_type: Option<String>,
    },
}

/// One rule: what is done when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// When.
    pub(super) when: Expression,
    /// What.
    pub(super) then: Then,
    /// The line it comes from.
    pub(super) item: Item,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Ends the request.
    Act(Action),
    /// Goes on with other rules; behind them, none of these are asked any more.
    Rules(Rc<Vec<Rule>>),
    /// Does something to the request or its answer, and goes on with the next rule.
    Treat(Treat),
}

/// A route that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    /// The hosts; none is any.
    pub(super) hosts: Vec<Host>,
    /// The path.
    pub(super) path: Path,
    /// The methods; none is any.
    pub(super) methods: Vec<String>,
    /// The headers.
    pub(super) headers: Vec<(String, Option<String>)>,
    /// What is done.
    pub(super) action: Action,
    /// What is done besides.
    pub(super) treatment: Treatment,
    /// The line that decided.
    pub(super) item: Item,
}

/// Why rules become no routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The routes of a front end.
#[derive(Debug)]
pub(super) struct Routes {
    /// The routes, the narrowest first.
    pub(super) routes: Vec<Route>,
    /// The lines of rules that were ever taken.
    pub(super) taken: BTreeSet<Item>,
    /// The lines that were left out, and why.
    pub(super) failures: Failures,
}

/// The routes for `rules`.
pub(super) fn routes(rules: &[Rule]) -> Result<Routes, TooMany> {
    let mut named = BTreeSet::new();
    collect(rules, &mut named, &mut MENTIONS_MAX.clone()).ok_or(TooMany)?;
    let mut failures = treatment::asked_later(rules, &mut MENTIONS_MAX.clone())?;
    let mut decided = Vec::new();
    let mut taken = BTreeSet::new();
    for cell in closure(&named)? {
        let mut treats = Vec::new();
        let Some((action, items)) = decide(rules, &cell, &mut treats) else { continue };
        let item = items.last().copied();
        taken.extend(items);
        taken.extend(treats.iter().map(|(_, item)| *item));
        treats.retain(|(_, item)| !failures.contains_key(item));
        let is_passed = matches!(action, Action::Pool(_) | Action::Replaced { .. });
        let treatment = Treatment::of(&treats, is_passed, &mut failures);
        decided.extend(item.map(|item| (cell, (action, treatment), item)));
    }
    decided.sort_by_cached_key(|(cell, _, _)| (cell.depth(), cell.clone()));
    Ok(Routes { routes: written(needed(decided)), taken, failures })
}

fn collect(rules: &[Rule], into: &mut BTreeSet<Cell>, rest: &mut usize) -> Option<()> {
    for rule in rules {
        rule.when.cells(into, rest)?;
        if let Then::Rules(inner) = &rule.then {
            collect(inner, into, rest)?;
        }
    }
    Some(())
}

/// The cells, all their intersections, and those that keep what a route takes beside its cell.
fn closure(named: &BTreeSet<Cell>) -> Result<BTreeSet<Cell>, TooMany> {
    let mut atoms = named.clone();
    for cell in named {
        if let Path::Below(prefix) = &cell.path {
            atoms.insert(Cell::of_path(Path::Exact(prefix.clone())));
        }
        if cell.method.as_deref() == Some("GET") {
            atoms.insert(Cell::of_method("HEAD"));
        }
    }
    let mut cells = BTreeSet::from([Cell::ANY]);
    for atom in &atoms {
        let meetings: Vec<Cell> = cells.iter().filter_map(|cell| cell.and(atom)).collect();
        cells.extend(meetings);
        if cells.len() > CELLS_MAX {
            return Err(TooMany);
        }
    }
    Ok(cells)
}

/// The action for the requests of a cell, and the items of the rules that led there; what is done
/// to them on the way is added to `treats`.
fn decide<'r>(
    rules: &'r [Rule],
    cell: &Cell,
    treats: &mut Vec<(&'r Treat, Item)>,
) -> Option<(Action, Vec<Item>)> {
    for rule in rules.iter().filter(|rule| rule.when.holds(cell)) {
        match &rule.then {
            Then::Treat(treat) => treats.push((treat, rule.item)),
            Then::Act(action) => return Some((action.clone(), vec![rule.item])),
            Then::Rules(inner) => {
                let (action, mut items) = decide(inner, cell, treats)?;
                items.insert(0, rule.item);
                return Some((action, items));
            }
        }
    }
    None
}

type Decided = (Cell, (Action, Treatment), Item);

/// Leaves out what the wider cells before it answer for alike. `decided` is sorted widest first.
fn needed(decided: Vec<Decided>) -> Vec<Decided> {
    let mut kept: Vec<Decided> = Vec::new();
    for (cell, action, item) in decided {
        // Of equals the one kept last is written first, and so comes first in the door.
        let wider = kept.iter().rev().filter(|(wider, _, _)| wider.takes(&cell));
        let first = wider.min_by_key(|(wider, _, _)| wider.rank());
        if first.is_none_or(|(_, known, _)| *known != action) {
            kept.push((cell, action, item));
        }
    }
    kept
}

/// Puts cells together that differ in their hosts or methods only, the narrowest first.
fn written(kept: Vec<Decided>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for (cell, (action, treatment), item) in kept.into_iter().rev() {
        let Cell { host, path, method, headers } = cell;
        let headers: Vec<_> = headers.into_iter().collect();
        let hosts: Vec<Host> = (host != Host::Any).then_some(host).into_iter().collect();
        let methods: Vec<String> = method.into_iter().collect();
        let same = routes.iter_mut().find(|route| {
            let alike = route.path == path
                && route.headers == headers
                && route.action == action
                && route.treatment == treatment;
            let is_plain = route.methods.is_empty() && methods.is_empty() && headers.is_empty();
            let kind = |hosts: &[Host]| hosts.first().map(|host| matches!(host, Host::Exact(_)));
            let is_more_hosts = is_plain && !hosts.is_empty() && kind(&route.hosts) == kind(&hosts);
            let is_more_methods =
                route.hosts == hosts && !route.methods.is_empty() && !methods.is_empty();
            alike && (is_more_hosts || is_more_methods)
        });
        match same {
            Some(route) => {
                route.hosts.extend(hosts.into_iter().filter(|_| methods.is_empty()));
                route.methods.extend(methods);
            }
            None => {
                routes.push(Route { hosts, path, methods, headers, action, treatment, item });
            }
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::items::Items;
    use super::super::treatment::{Change, Phase};
    use super::*;

    /// One request: host, path, method, value of the header `x`.
    type Request = (&'static str, &'static str, &'static str, Option<&'static str>);

    const HOSTS: [&str; 4] = ["a.t", "b.t", "c.a.t", "z"];
    const PATHS: [&str; 6] = ["/", "/p", "/p/", "/p/q", "/p/q/r", "/o"];
    const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];
    const VALUES: [Option<&str>; 3] = [None, Some("1"), Some("2")];

    fn cell((host, path, method, value): Request) -> Cell {
        let headers = value.map(|value| ("x".to_owned(), Some(value.to_owned())));
        Cell {
            host: Host::Exact(host.to_owned()),
            path: Path::Exact(path.to_owned()),
            method: Some(method.to_owned()),
            headers: headers.into_iter().collect(),
        }
    }

    /// What the door does: of the routes that match, the first by rank, then by order.
    fn served(routes: &[Route], request: Request) -> Option<(&Action, &Treatment)> {
        let of = |route: &Route, host: Host, method: Option<String>| Cell {
            host,
            path: route.path.clone(),
            method,
            headers: route.headers.iter().cloned().collect(),
        };
        let all = routes.iter().flat_map(|route| {
            let any = [Host::Any];
            let hosts = if route.hosts.is_empty() { &any[..] } else { &route.hosts };
            let methods: Vec<Option<String>> = match route.methods.as_slice() {
                [] => vec![None],
                methods => methods.iter().cloned().map(Some).collect(),
            };
            hosts
                .iter()
                .flat_map(|host| {
                    methods.iter().map(|method| of(route, host.clone(), method.clone()))
                })
                .map(move |cell| (cell, (&route.action, &route.treatment)))
                .collect::<Vec<_>>()
        });
        let matching = all.filter(|(cell, _)| cell.takes(&self::cell(request)));
        matching.min_by_key(|(cell, _)| cell.rank()).map(|(_, action)| action)
    }

    fn expression() -> impl Strategy<Value = Expression> {
        let host = prop::sample::select(vec![
            Host::Exact("a.t".to_owned()),
            Host::Exact("c.a.t".to_owned()),
            Host::Wildcard(".t".to_owned()),
            Host::Wildcard(".a.t".to_owned()),
        ]);
        let path = prop::sample::select(vec![
            Path::Below("/p".to_owned()),
            Path::Below("/p/q".to_owned()),
            Path::Exact("/p".to_owned()),
            Path::Exact("/p/q".to_owned()),
            Path::Exact("/".to_owned()),
        ]);
        let method = prop::sample::select(METHODS[..3].to_vec());
        let value = prop::sample::select(VALUES.to_vec());
        let leaf = prop_oneof![
            host.prop_map(Cell::of_host),
            path.prop_map(Cell::of_path),
            method.prop_map(Cell::of_method),
            value.prop_map(|value| Cell::of_header("x", value)),
        ]
        .prop_map(Expression::Is);
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(Expression::negated),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Expression::All),
                prop::collection::vec(inner, 1..3).prop_map(Expression::AnyOf),
            ]
        })
    }

    /// Every other rule changes a header of answers.
    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let place = crate::import::Place { file: 0, span: 0..0 };
        let item = Items::default().add("rule", place.clone());
        prop::collection::vec((expression(), 0..4_u8, any::<bool>()), 0..6).prop_map(move |rules| {
            let last = (Expression::Constant(true), 9, false);
            let all = rules.into_iter().chain([last]);
            all.map(|(when, number, is_header)| {
                let then = if is_header {
                    let (phase, change) = (Phase::Response, Change::Set(number.to_string()));
                    let (name, place) = ("x-set".to_owned(), place.clone());
                    Then::Treat(Treat::Header { phase, is_back: false, change, name, place })
                } else {
                    Then::Act(Action::Pool(number.to_string()))
                };
                Rule { when, then, item }
            })
            .collect()
        })
    }

    /// What HAProxy does: each rule that holds, up to the first that ends the request.
    fn asked(rules: &[Rule], request: Request) -> Option<(&Action, Treatment)> {
        let mut treats = Vec::new();
        for rule in rules.iter().filter(|rule| rule.when.holds(&cell(request))) {
            match &rule.then {
                Then::Treat(treat) => treats.push((treat, rule.item)),
                Then::Act(action) => {
                    return Some((action, Treatment::of(&treats, true, &mut Failures::new())));
                }
                Then::Rules(_) => unreachable!("none is made"),
            }
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn routes_answer_as_the_rules_in_their_order(rules in rules()) {
            let Routes { routes, .. } = routes(&rules).expect("they are few");
            for host in HOSTS {
                for path in PATHS {
                    for (method, value) in METHODS.iter().zip(VALUES.iter().cycle()) {
                        let request = (host, path, *method, *value);
                        let wanted = asked(&rules, request);
                        let wanted = wanted.as_ref().map(|(action, treatment)| (*action, treatment));
                        prop_assert_eq!(served(&routes, request), wanted, "{:?} {:#?}", request, routes);
                    }
                }
            }
        }
    }
}
