//! HAProxy's rules in their order to routes by specificity, exactly.
//!
//! All cells the rules name are closed under intersection. Then every request has one narrowest
//! cell that holds it, and every rule holds for all requests of that narrowest cell or for none,
//! negations included: so each cell has one action, that of the first rule that holds for it
//! (`decide`). The narrowest cell also ranks first among the routes that match, since host, path,
//! headers and methods of the others are wider one by one; where paths are asked by expressions,
//! priorities say so (`priorities`). So one route for each cell answers as HAProxy does. Cells that
//! wider ones answer for alike are then left out, from the widest on.
//! Invariant: for every cell, the first route that takes it has its action.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::condition::{Cell, Expression, Host, Path};
use super::decide::decide;
use super::items::Item;
use super::pattern::Pattern;
use super::priorities::{self, Decided};
use super::replace::{Replacement, Rewrite};
use super::treatment::{self, Failures, Treat, Treatment};

/// Cells of one set of rules, at most.
const CELLS_MAX: usize = 2_000;

/// Mentions of cells in the rules of one front end, at most.
const MENTIONS_MAX: usize = 20_000;

/// Rules that are asked for the cells of one front end, at most, each time counted.
const STEPS_MAX: usize = 4_000_000;

/// Bytes of expressions that are put together, at most.
const JOINED_BYTES_MAX: usize = 500;

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Forwarded to a pool, by its name in the TOML.
    Pool(String),
    /// The same, by another path.
    Rewritten {
        /// The pool.
        pool: String,
        /// What becomes of the path.
        rewrite: Rewrite,
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

impl Action {
    /// An answer with a page of the door's own.
    pub(super) fn answer(status: u16) -> Self {
        Self::Respond { status, body: String::new(), content_type: None }
    }

    /// Whether nothing is to be had.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Self::Respond { status, .. } if *status >= 400)
    }

    /// Whether servers are asked.
    pub(super) fn is_passed(&self) -> bool {
        matches!(self, Self::Pool(_) | Self::Rewritten { .. })
    }
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
    /// How early it is asked.
    pub(super) priority: u16,
    /// The hosts; none is any.
    pub(super) hosts: Vec<Host>,
    /// The path.
    pub(super) path: Pattern,
    /// What takes its place.
    pub(super) replacement: Option<Replacement>,
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
    let mut steps = STEPS_MAX;
    for cell in closure(&named)? {
        let Some(decision) = decide(rules, &cell, &mut steps)? else { continue };
        failures.extend(decision.failures.iter().map(|(item, why)| (*item, (*why).to_owned())));
        taken.extend(decision.items.iter().copied());
        taken.extend(decision.treats.iter().map(|(_, item)| *item));
        let mut treats = decision.treats;
        treats.retain(|(_, item)| !failures.contains_key(item));
        let is_passed = decision.action.is_passed();
        let treatment = Treatment::of(&treats, is_passed, &mut failures);
        let Some(item) = decision.items.last().copied() else { continue };
        decided.push(Decided::of(cell, (decision.action, treatment), item));
    }
    let chosen = priorities::chosen(decided)?;
    failures.extend(chosen.failures);
    Ok(Routes { routes: written(chosen.kept), taken, failures })
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
    if named.iter().any(|cell| cell.method.as_deref() == Some("GET")) {
        atoms.insert(Cell::of_method("HEAD"));
    }
    let mut cells = BTreeSet::from([Cell::ANY]);
    let mut added = BTreeSet::new();
    while !atoms.is_empty() {
        for atom in &atoms {
            let meetings: Vec<Cell> = cells.iter().filter_map(|cell| cell.and(atom)).collect();
            cells.extend(meetings);
            if cells.len() > CELLS_MAX {
                return Err(TooMany);
            }
        }
        // A prefix takes its bare path too, wherever letters meet to one.
        let bare = |cell: &Cell| match &cell.path {
            Path::Below(prefix) => Some(Cell::of_path(Path::Exact(prefix.clone()))),
            Path::Any | Path::Exact(_) | Path::Like(_) => None,
        };
        atoms = cells.iter().filter_map(bare).filter(|cell| !added.contains(cell)).collect();
        added.extend(atoms.iter().cloned());
    }
    Ok(cells)
}

/// Puts cells together that differ in their hosts, methods or expressions only, the narrowest
/// first.
pub(super) fn written(kept: Vec<(Decided, u16)>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for (decided, priority) in kept.into_iter().rev() {
        let Decided { cell, action, treatment, item, pattern, replacement, .. } = decided;
        let Some(path) = pattern else { continue };
        let Cell { host, method, headers, .. } = cell;
        let route = Route {
            priority,
            hosts: (host != Host::Any).then_some(host).into_iter().collect(),
            path,
            replacement,
            methods: method.into_iter().collect(),
            headers: headers.into_iter().collect(),
            action,
            treatment,
            item,
        };
        if !routes.iter_mut().any(|other| other.takes_in(&route)) {
            routes.push(route);
        }
    }
    routes
}

impl Route {
    /// Serves the requests of `other` too, if one route can say both.
    fn takes_in(&mut self, other: &Self) -> bool {
        let alike = self.priority == other.priority
            && self.headers == other.headers
            && self.action == other.action
            && self.treatment == other.treatment;
        if !alike {
            return false;
        }
        if self.path != other.path || self.replacement != other.replacement {
            let is_else_same = self.hosts == other.hosts && self.methods == other.methods;
            return is_else_same && self.joins(other);
        }
        let is_plain =
            self.methods.is_empty() && other.methods.is_empty() && self.headers.is_empty();
        let kind = |hosts: &[Host]| hosts.first().map(|host| matches!(host, Host::Exact(_)));
        let is_more_hosts =
            is_plain && !other.hosts.is_empty() && kind(&self.hosts) == kind(&other.hosts);
        let is_more_methods =
            self.hosts == other.hosts && !self.methods.is_empty() && !other.methods.is_empty();
        if !is_more_hosts && !is_more_methods {
            return false;
        }
        if other.methods.is_empty() {
            self.hosts.extend(other.hosts.iter().cloned());
        }
        self.methods.extend(other.methods.iter().cloned());
        true
    }

    /// Asks for either of two expressions.
    fn joins(&mut self, other: &Self) -> bool {
        const FOLDS: &str = "(?i)";
        let (Pattern::Regex(own), Pattern::Regex(more)) = (&self.path, &other.path) else {
            return false;
        };
        let is_replaced = self.replacement.is_some() || other.replacement.is_some();
        let bare = |text: &str| text.strip_prefix(FOLDS).unwrap_or(text).to_owned();
        let folds = own.starts_with(FOLDS);
        let joined = format!("{}|{}", bare(own), bare(more));
        // A flag inside would hold for what follows it.
        let has_flags = joined.replace("(?:", "").contains("(?");
        if is_replaced
            || has_flags
            || folds != more.starts_with(FOLDS)
            || joined.len() > JOINED_BYTES_MAX
        {
            return false;
        }
        self.path = Pattern::Regex(if folds { format!("{FOLDS}{joined}") } else { joined });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::super::condition::Truth;
    use super::super::expression::{Compiled, containing};
    use super::super::items::Items;
    use super::super::treatment::{Change, Phase};
    use super::*;

    /// One request: host, path, method, value of the header `x`.
    type Request = (&'static str, &'static str, &'static str, Option<&'static str>);

    const HOSTS: [&str; 4] = ["a.t", "b.t", "c.a.t", "z"];
    const PATHS: [&str; 10] =
        ["/", "/p", "/p/", "/p/q", "/p/q/r", "/o", "/pq", "/P/Q", "/o/p/q", "/p/x.q"];
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

    /// Whether a route asks for this path, and how the door ranks it.
    fn path_rank(pattern: &Pattern, path: &str) -> Option<(u8, Reverse<usize>, bool)> {
        let (matches, rank) = match pattern {
            Pattern::Any => (true, (2, Reverse(1), false)),
            Pattern::Exact(exact) => (exact == path, (0, Reverse(0), false)),
            Pattern::Start(start) => (path.starts_with(start), (2, Reverse(start.len()), true)),
            Pattern::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.as_str());
                let matches = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (matches, (2, Reverse(prefix.len()), false))
            }
            Pattern::Regex(text) => {
                let compiled = Compiled::new(text).expect("what is written compiles");
                (compiled.is_match(path.as_bytes()), (1, Reverse(0), false))
            }
        };
        matches.then_some(rank)
    }

    /// What the door does: of the routes that match, the first by priority, rank, then order.
    fn served(routes: &[Route], request: Request) -> Option<(&Action, &Treatment)> {
        let (host, path, method, value) = request;
        let (any, mut best) = ([Host::Any], None);
        for route in routes {
            let hosts = if route.hosts.is_empty() { &any[..] } else { &route.hosts };
            let of = |wanted: &Host| Cell::of_host(wanted.clone()).covers(&cell(request));
            let Some(wanted) = hosts.iter().find(|host| of(host)) else { continue };
            let kind = match wanted {
                Host::Exact(exact) => {
                    assert_eq!(exact, host);
                    0
                }
                Host::Wildcard(_) => 1,
                Host::Any => 2,
            };
            let Some(path) = path_rank(&route.path, path) else { continue };
            let is_method = route.methods.is_empty()
                || route.methods.iter().any(|wanted| wanted == method)
                || (method == "HEAD" && route.methods.iter().any(|wanted| wanted == "GET"));
            let has = |(name, wanted): &(String, Option<String>)| {
                name == "x"
                    && value.is_some_and(|value| wanted.as_deref().is_none_or(|w| w == value))
            };
            if !is_method || !route.headers.iter().all(has) {
                continue;
            }
            let of_headers = (Reverse(route.headers.len()), route.methods.is_empty());
            let is_regex = matches!(route.path, Pattern::Regex(_));
            let of_headers = if is_regex { (Reverse(0), false) } else { of_headers };
            let rank = (Reverse(route.priority), kind, path, of_headers);
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, route));
            }
        }
        best.map(|(_, route)| (&route.action, &route.treatment))
    }

    fn plain() -> impl Strategy<Value = Expression> {
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
            Path::beginning("/p", false),
            Path::beginning("/p/q", false),
        ]);
        let method = prop::sample::select(METHODS[..3].to_vec());
        let value = prop::sample::select(VALUES.to_vec());
        prop_oneof![
            host.prop_map(Cell::of_host),
            path.prop_map(Cell::of_path),
            method.prop_map(Cell::of_method),
            value.prop_map(|value| Cell::of_header("x", value)),
        ]
        .prop_map(Expression::Is)
    }

    /// Paths that only expressions ask for.
    fn by_letter() -> impl Strategy<Value = Expression> {
        let found = |text: &str| Path::matching(containing(text, false).expect("it is short"));
        let path = prop::sample::select(vec![
            Path::beginning("/P", true),
            Path::beginning("/P/", true),
            Path::ending("q", false),
            Path::ending("/Q", true),
            Path::whole("/p/q", true),
            found("/q"),
            found("p"),
        ]);
        path.prop_map(|path| Expression::Is(Cell::of_path(path)))
    }

    fn within(leaf: BoxedStrategy<Expression>) -> impl Strategy<Value = Expression> {
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(Expression::negated),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Expression::All),
                prop::collection::vec(inner, 1..3).prop_map(Expression::AnyOf),
            ]
        })
    }

    /// Every other rule changes a header of answers; every fourth that ends a request closes.
    fn rules(leaf: BoxedStrategy<Expression>) -> impl Strategy<Value = Vec<Rule>> {
        let place = crate::import::Place { file: 0, span: 0..0 };
        let item = Items::default().add("rule", place.clone());
        let rule = (within(leaf), 0..4_u8, any::<bool>());
        prop::collection::vec(rule, 0..6).prop_map(move |rules| {
            let last = (Expression::Constant(true), 9, false);
            let all = rules.into_iter().chain([last]);
            all.map(|(when, number, is_header)| {
                let then = match number {
                    _ if is_header => {
                        let (phase, change) = (Phase::Response, Change::Set(number.to_string()));
                        let (name, place) = ("x-set".to_owned(), place.clone());
                        Then::Treat(Treat::Header { phase, is_back: false, change, name, place })
                    }
                    0 => Then::Act(Action::answer(403)),
                    _ => Then::Act(Action::Pool(number.to_string())),
                };
                Rule { when, then, item }
            })
            .collect()
        })
    }

    /// The same condition, when what nobody knows holds or does not.
    fn known(when: &Expression, holds: bool) -> Expression {
        let of = |many: &[Expression]| many.iter().map(|inner| known(inner, holds)).collect();
        match when {
            Expression::Unknown => Expression::Constant(holds),
            Expression::Not(inner) => known(inner, holds).negated(),
            Expression::All(many) => Expression::All(of(many)),
            Expression::AnyOf(many) => Expression::AnyOf(of(many)),
            Expression::Constant(_)
            | Expression::Is(_)
            | Expression::Host(_)
            | Expression::Near(..)
            | Expression::Shared(_) => when.clone(),
        }
    }

    /// What HAProxy does: each rule that holds, up to the first that ends the request.
    fn asked(rules: &[Rule], request: Request) -> Option<(&Action, Treatment)> {
        let mut treats = Vec::new();
        for rule in rules {
            match rule.when.truth(&cell(request), false) {
                Truth::No => continue,
                Truth::Yes => {}
                Truth::Maybe => unreachable!("all is known"),
            }
            match &rule.then {
                Then::Treat(treat) => treats.push((treat, rule.item)),
                Then::Act(action) => {
                    let treatment =
                        Treatment::of(&treats, action.is_passed(), &mut Failures::new());
                    return Some((action, treatment));
                }
                Then::Rules(_) => unreachable!("none is made"),
            }
        }
        None
    }

    fn requests() -> impl Iterator<Item = Request> {
        let values = || METHODS.iter().zip(VALUES.iter().cycle());
        let paths = PATHS.iter().flat_map(move |path| values().map(move |(m, v)| (*path, *m, *v)));
        let all = move |host: &'static str| {
            paths.clone().map(move |(path, method, value)| (host, path, method, value))
        };
        HOSTS.into_iter().flat_map(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn routes_answer_as_the_rules_in_their_order(rules in rules(plain().boxed())) {
            let Routes { routes, .. } = routes(&rules).expect("they are few");
            prop_assert!(routes.iter().all(|route| route.priority == 0));
            for request in requests() {
                let wanted = asked(&rules, request);
                let wanted = wanted.as_ref().map(|(action, treatment)| (*action, treatment));
                prop_assert_eq!(served(&routes, request), wanted, "{:?} {:#?}", request, routes);
            }
        }

        #[test]
        fn what_one_route_cannot_ask_is_answered_as_by_the_rules_or_closed(
            rules in rules(prop_oneof![plain(), by_letter()].boxed())
        ) {
            let Ok(Routes { routes, failures, .. }) = routes(&rules) else { return Ok(()) };
            for request in requests() {
                let wanted = asked(&rules, request).expect("the last rule always holds");
                let (action, treatment) = served(&routes, request).expect("some route serves it");
                let is_same = (action, treatment) == (wanted.0, &wanted.1);
                let is_told = action.closes() && !failures.is_empty();
                prop_assert!(is_same || is_told, "{:?} {:?} {:#?}", request, action, routes);
            }
        }

        #[test]
        fn rules_in_their_own_order_answer_alike(
            rules in rules(prop_oneof![plain(), by_letter()].boxed())
        ) {
            let Ok(Routes { routes, .. }) = super::super::ordered::ordered(&rules) else {
                return Ok(());
            };
            for request in requests() {
                let wanted = asked(&rules, request);
                let wanted = wanted.as_ref().map(|(action, treatment)| (*action, treatment));
                prop_assert_eq!(served(&routes, request), wanted, "{:?} {:#?}", request, routes);
            }
        }

        #[test]
        fn what_nobody_knows_opens_nothing_and_leads_nobody_elsewhere(
            rules in rules(prop_oneof![plain(), Just(Expression::Unknown)].boxed())
        ) {
            // Rules that only change headers are not taken over then.
            let is_known = |rule: &Rule| {
                known(&rule.when, true) == known(&rule.when, false)
                    || matches!(rule.then, Then::Act(_))
            };
            let rules: Vec<Rule> = rules.into_iter().filter(is_known).collect();
            let Routes { routes, .. } = routes(&rules).expect("they are few");
            for request in requests() {
                let (action, _) = served(&routes, request).expect("some route serves it");
                for holds in [true, false] {
                    let one = |rule: &Rule| Rule { when: known(&rule.when, holds), ..rule.clone() };
                    let rules: Vec<Rule> = rules.iter().map(one).collect();
                    let (wanted, _) = asked(&rules, request).expect("the last rule always holds");
                    prop_assert!(action == wanted || action.closes(), "{:?} {:#?}", request, routes);
                }
            }
        }
    }
}
