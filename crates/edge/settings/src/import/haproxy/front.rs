//! Front ends: their listeners, and the routes of each.
//!
//! Where all front ends answer alike, their routes name no listener. Elsewhere each group that
//! answers alike has routes of its own, for its listeners. A front end that has listeners both
//! with and without TLS is looked at as two, so that `ssl_fc` is known in each.

use std::collections::BTreeSet;

use super::super::Files;
use super::super::writer::{Placed, Value};
use super::Names;
use super::account::Account;
use super::acl::Facts;
use super::condition::{Expression, Host};
use super::global::Global;
use super::grouped::grouped;
use super::items::Line;
use super::limit::{self, Limit};
use super::listen::{self, Bind, Shared};
use super::ordered::ordered;
use super::pattern::Pattern;
use super::pool::Table;
use super::proxy::Proxy;
use super::replace::Replacement;
use super::routes::{self, Action, Route, Routes};
use super::rules::{self, World};
use super::treatment;

/// Routes of all front ends, at most: as many as the door has.
const ROUTES_MAX: usize = 10_000;

/// Expressions of all front ends, at most: as many as the door compiles.
const REGEXES_MAX: usize = model::configuration::REGEXES_MAX;

/// A front end, or its part with or without TLS, with its routes.
struct Front<'p, 's> {
    proxy: &'p Proxy<'s>,
    binds: Vec<Bind<'s>>,
    /// `None` when they are too many.
    routes: Option<Vec<Route>>,
    /// What its requests are held to.
    limits: Vec<Limit>,
}

impl Front<'_, '_> {
    /// How many routes it has, and how many of them ask for expressions.
    fn count(&self) -> (usize, usize) {
        let routes = || self.routes.iter().flatten();
        let is_regex = |route: &&Route| matches!(route.path, Pattern::Regex(_));
        (routes().count(), routes().filter(is_regex).count())
    }
}

/// Said where servers are told who the client is.
const FORWARDED: &str = "with `X-Forwarded-For` the door tells servers `X-Forwarded-Proto` and \
    `X-Forwarded-Host` too, which HAProxy does only where a rule says so";

/// Listeners and routes. `names`: those of listeners.
pub(super) fn fronts(
    live: &[&Proxy<'_>],
    world: &World<'_>,
    (global, files): (&Global, &dyn Files),
    names: &mut Names,
    account: &mut Account,
) -> (Vec<Table>, Vec<Table>) {
    let mut fronts = Vec::new();
    for proxy in live.iter().filter(|proxy| proxy.section.kind.has_clients()) {
        let binds = listen::binds(proxy, account);
        if !binds.is_empty() || !is_back_end(proxy) {
            let limits = limit::limits(proxy, live, account);
            let own = parts(proxy, binds, world, account);
            fronts.extend(own.into_iter().map(|front| Front { limits: limits.clone(), ..front }));
        }
    }
    let Some(main) = main(&fronts) else { return (Vec::new(), Vec::new()) };
    let is_forwarding = is_forwarding(live, account);
    if is_forwarding {
        account.ledger.note(FORWARDED);
    }
    let shared = Shared { global, is_forwarding, files, passed: None };
    let mut listeners = Vec::new();
    // Front ends that answer alike: one of them, and the names of the listeners of all.
    let mut groups: Vec<(&Front<'_, '_>, Vec<String>)> = vec![(main, Vec::new())];
    let mut count = main.count();
    for front in &fronts {
        // Without a listener it can only be like the main one.
        let others = if front.binds.is_empty() { 1 } else { groups.len() };
        let known = groups.iter().take(others).position(|(other, _)| is_same(front, other));
        let more = if known.is_none() { front.count() } else { (0, 0) };
        let all = (count.0 + more.0, count.1 + more.1);
        if let Some(reason) = objection(front, known.is_some(), all) {
            refuse(front, reason, account);
            continue;
        }
        count = all;
        let mut unique = |name: &str| names.unique(name);
        let tables = listen::listeners(front.proxy, &front.binds, &shared, &mut unique, account);
        let own = tables.iter().filter_map(|table| table.path.last().cloned());
        match known.and_then(|known| groups.get_mut(known)) {
            Some((_, names)) => names.extend(own),
            None => groups.push((front, own.collect())),
        }
        listeners.extend(tables);
    }
    let is_alike = groups.len() == 1;
    let mut names = Names::default();
    let (mut routes, mut limits, mut limit_names) = (Vec::new(), Vec::new(), Names::default());
    for (front, listeners) in groups.iter().filter(|(_, own)| is_alike || !own.is_empty()) {
        let listeners = if is_alike { &[][..] } else { listeners };
        let own = front.routes.iter().flatten();
        let own: Vec<Table> =
            own.map(|route| table(route, listeners, &mut names, account)).collect();
        let held: Vec<String> = own.iter().filter_map(|table| table.path.last().cloned()).collect();
        let held = (!is_alike).then_some(held.as_slice());
        limits.extend(front.limits.iter().map(|limit| {
            limit.table(limit_names.unique(&format!("{}-rate", front.proxy.name())), held)
        }));
        routes.extend(own);
    }
    routes.extend(limits);
    (listeners, routes)
}

/// A front end as its listeners see it: those without TLS and those with it.
fn parts<'p, 's>(
    proxy: &'p Proxy<'s>,
    binds: Vec<Bind<'s>>,
    world: &World<'_>,
    account: &mut Account,
) -> Vec<Front<'p, 's>> {
    let (with, without): (Vec<_>, Vec<_>) = binds.into_iter().partition(Bind::is_tls);
    let groups = match (without.is_empty(), with.is_empty()) {
        (false, false) => vec![without, with],
        (true, false) => vec![with],
        (_, true) => vec![without],
    };
    let mut fronts = Vec::new();
    let mut asked = BTreeSet::new();
    let mut reached = BTreeSet::from([proxy.section.head.item]);
    for binds in groups {
        let rules = rules::rules(proxy, facts(&binds), world, account);
        let possible = rules.iter().filter(|rule| rule.when != Expression::Constant(false));
        asked.extend(possible.map(|rule| rule.item));
        let found = routes::routes(&rules).or_else(|_| routes::routes(&grouped(&rules)));
        let found = found.or_else(|_| ordered(&grouped(&rules)));
        let found = found.or_else(|too_many| {
            let mut lost = BTreeSet::new();
            let fewer = treatment::unconditional(&rules, &mut lost);
            let found = if lost.is_empty() { Err(too_many) } else { routes::routes(&fewer) };
            for item in lost.iter().filter(|_| found.is_ok()) {
                account
                    .items
                    .refused(*item, "its conditions are too many to be told apart by routes");
            }
            reached.extend(lost);
            found
        });
        let routes = found.ok().map(|Routes { routes, taken, failures }| {
            reached.extend(taken);
            for (item, reason) in failures {
                account.items.refused(item, reason);
            }
            routes
        });
        if routes.is_none() {
            reached.extend(rules.iter().map(|rule| rule.item));
        }
        fronts.push(Front { proxy, binds, routes, limits: Vec::new() });
    }
    for lost in asked.difference(&reached) {
        let place = account.items.place(*lost);
        let message = "no request gets here: rules before it take them all".to_owned();
        account.breaks("unreachable-route", &place, message);
    }
    fronts
}

/// A `listen` section without `bind` is a back end by another name.
fn is_back_end(proxy: &Proxy<'_>) -> bool {
    let has_bind = proxy.section.lines.iter().any(|line| line.text(0) == "bind");
    proxy.section.kind.has_servers() && !has_bind
}

/// What is known of the requests that come in at `binds`.
fn facts(binds: &[Bind<'_>]) -> Facts {
    let is_tls = common(binds.iter().map(Bind::is_tls));
    let port = match binds {
        [Bind { addresses, .. }] if addresses.len() == 1 => addresses.first().map(|a| a.port()),
        _ => None,
    };
    Facts { is_tls, port, is_known: None }
}

/// What all are; `None` when they differ, or there are none.
fn common(mut all: impl Iterator<Item = bool>) -> Option<bool> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// The front end that matters most: the first that forwards anything.
fn main<'f, 'p, 's>(fronts: &'f [Front<'p, 's>]) -> Option<&'f Front<'p, 's>> {
    let forwards = |front: &&Front<'_, '_>| {
        let mut routes = front.routes.iter().flatten();
        !front.binds.is_empty() && routes.any(|route| route.action.is_passed())
    };
    fronts.iter().find(forwards).or_else(|| fronts.first())
}

/// Whether two front ends answer alike, wherever their routes come from.
fn is_same(front: &Front<'_, '_>, main: &Front<'_, '_>) -> bool {
    let is_held_alike = front.limits == main.limits;
    let (Some(routes), Some(main)) = (&front.routes, &main.routes) else { return false };
    routes.len() == main.len()
        && is_held_alike
        && routes.iter().zip(main).all(|(a, b)| Route { item: b.item, ..a.clone() } == *b)
}

/// Why a front end is not taken over, if so.
fn objection(
    front: &Front<'_, '_>,
    is_known: bool,
    (routes, regexes): (usize, usize),
) -> Option<&'static str> {
    if front.routes.is_none() {
        return Some("its conditions are too many to be told apart by routes");
    }
    if !is_known && front.binds.is_empty() {
        return Some("it has no listener");
    }
    (routes > ROUTES_MAX || regexes > REGEXES_MAX)
        .then_some("with its routes there are more than the door has")
}

fn refuse(front: &Front<'_, '_>, reason: &'static str, account: &mut Account) {
    let is_of_clients = |line: &&Line| {
        matches!(
            line.text(0),
            "bind"
                | "acl"
                | "use_backend"
                | "default_backend"
                | "http-request"
                | "redirect"
                | "monitor-uri"
        )
    };
    let section = front.proxy.section;
    for line in section.lines.iter().filter(is_of_clients) {
        account.items.refused(line.item, reason);
    }
    if !section.kind.has_servers() {
        account.items.refused(section.head.item, reason);
    }
    for choice in front.binds.iter().flat_map(|bind| &bind.choices) {
        account.items.refused(choice.item, reason);
    }
}

/// Whether any proxy tells its servers about clients; settles the lines that say so.
fn is_forwarding(live: &[&Proxy<'_>], account: &mut Account) -> bool {
    let mut is_forwarding = false;
    for proxy in live {
        if let Some(line) = proxy.set("option forwardfor") {
            let words = line.texts(2);
            let header = words.iter().position(|word| *word == "header");
            let name = header.and_then(|index| words.get(index + 1)).copied();
            let is_standard = name.is_none_or(|name| name.eq_ignore_ascii_case("x-forwarded-for"));
            let result =
                if is_standard { Ok(()) } else { Err("the door writes `X-Forwarded-For`") };
            is_forwarding |= account.result(line.item, result).is_some();
            if words.iter().any(|word| matches!(*word, "except" | "if-none")) {
                account.differs(line, "the door tells servers of every client");
            }
        }
        let sets = |line: &Line| line.text(1) == "set-header" && is_forwarding_header(line.text(2));
        is_forwarding |= proxy.all("http-request").any(sets);
    }
    is_forwarding
}

fn is_forwarding_header(name: &str) -> bool {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn table(route: &Route, listeners: &[String], names: &mut Names, account: &Account) -> Table {
    let place = account.items.place(route.item);
    let mut keys = Vec::new();
    let texts = |texts: Vec<String>| match texts.as_slice() {
        [only] => Value::text(only.clone()),
        _ => Value::Array(texts.into_iter().map(|text| Value::text(text).here()).collect()),
    };
    let host = |host: &Host| match host {
        Host::Any => None,
        Host::Wildcard(suffix) => Some(format!("*{suffix}")),
        Host::Exact(name) => Some(name.clone()),
    };
    if !listeners.is_empty() {
        let names = listeners.iter().map(|name| Value::text(name.clone()).here());
        keys.push(("listen", Value::Array(names.collect()), place.clone()));
    }
    let hosts: Vec<String> = route.hosts.iter().filter_map(host).collect();
    if !hosts.is_empty() {
        keys.push(("host", texts(hosts), place.clone()));
    }
    keys.extend(path(&route.path).map(|(key, value)| (key, value, place.clone())));
    if !route.methods.is_empty() {
        let methods = route.methods.iter().map(|method| Value::text(method.clone()).here());
        keys.push(("methods", Value::Array(methods.collect()), place.clone()));
    }
    if !route.headers.is_empty() {
        let headers = route.headers.iter().map(|(name, value)| {
            let value = value.as_ref().map_or(Value::Boolean(true), |v| Value::text(v.clone()));
            (name.clone(), value.here())
        });
        keys.push(("headers", Value::Table(headers.collect()), place.clone()));
    }
    let (key, value, wanted) = action(&route.action);
    keys.push((key, value, place.clone()));
    let replacement = route.replacement.as_ref().map(|replacement| match replacement {
        Replacement::Prefix(to) => ("replace_prefix", Value::text(to)),
        Replacement::Path(to) => ("replace_path", Value::text(to)),
    });
    keys.extend(replacement.map(|(key, value)| (key, value, place.clone())));
    if route.priority > 0 {
        let priority = Value::Integer(u64::from(route.priority));
        keys.push(("priority", priority, place.clone()));
    }
    keys.extend(route.treatment.keys());
    Table { path: vec!["routes".to_owned(), names.unique(&wanted)], place, keys }
}

/// The key of a path and its value.
fn path(pattern: &Pattern) -> Option<(&'static str, Value)> {
    Some(match pattern {
        Pattern::Any => return None,
        Pattern::Prefix(prefix) => ("path", Value::text(prefix)),
        Pattern::Start(text) => ("path", Value::text(format!("{text}*"))),
        Pattern::Regex(text) => ("path_regex", Value::text(text)),
        Pattern::Exact(path) => {
            let exact = vec![("exact".to_owned(), Value::text(path).here())];
            ("path", Value::Table(exact))
        }
    })
}

/// The key of an action, its value, and a name for its route.
fn action(action: &Action) -> (&'static str, Value, String) {
    let entries = |entries: Vec<(&str, Value)>| -> Vec<(String, Placed)> {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.here())).collect()
    };
    match action {
        Action::Pool(name) | Action::Rewritten { pool: name, .. } => {
            ("pool", Value::text(name.clone()), name.clone())
        }
        Action::Redirect { status, location } => {
            let status = ("status", Value::Integer(u64::from(*status)));
            let table = entries(vec![status, ("location", Value::text(location.clone()))]);
            ("redirect", Value::Table(table), "redirect".to_owned())
        }
        Action::Respond { status, body, content_type } => {
            let mut table = vec![("status", Value::Integer(u64::from(*status)))];
            if !body.is_empty() {
                table.push(("body", Value::text(body.clone())));
            }
            if let Some(kind) = content_type {
                table.push(("content_type", Value::text(kind.clone())));
            }
            ("respond", Value::Table(entries(table)), format!("answer-{status}"))
        }
    }
}
