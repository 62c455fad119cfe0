//! Front ends: which one's routes are taken over, and the listeners of all that share them.

use super::super::Files;
use super::super::writer::{Placed, Value};
use super::Names;
use super::account::Account;
use super::acl::Facts;
use super::condition::{Expression, Host, Path};
use super::global::Global;
use super::items::Line;
use super::listen::{self, Bind, Shared};
use super::pool::Table;
use super::proxy::Proxy;
use super::routes::{self, Action, Route, Rule};
use super::rules::{self, World};

/// A front end with its routes.
struct Front<'p, 's> {
    proxy: &'p Proxy<'s>,
    binds: Vec<Bind<'s>>,
    facts: Facts,
    /// `None` when they are too many.
    routes: Option<Vec<Route>>,
}

/// Listeners and routes.
pub(super) fn fronts(
    live: &[&Proxy<'_>],
    world: &World<'_>,
    (global, files): (&Global, &dyn Files),
    account: &mut Account,
) -> (Vec<Table>, Vec<Table>) {
    let mut fronts = Vec::new();
    for proxy in live.iter().filter(|proxy| proxy.section.kind.has_clients()) {
        let binds = listen::binds(proxy, account);
        if binds.is_empty() && is_back_end(proxy) {
            continue;
        }
        let facts = facts(&binds);
        let rules = rules::rules(proxy, facts, world, account);
        let routes = routes::routes(&rules).ok();
        if let Some((_, taken)) = &routes {
            let head = proxy.section.head.item;
            let is_lost = |rule: &&Rule| {
                !taken.contains(&rule.item)
                    && rule.item != head
                    && rule.when != Expression::Constant(false)
            };
            for rule in rules.iter().filter(is_lost) {
                let place = account.items.place(rule.item);
                let message = "no request gets here: rules before it take them all".to_owned();
                account.breaks("unreachable-route", &place, message);
            }
        }
        let routes = routes.map(|(routes, _)| routes);
        fronts.push(Front { proxy, binds, facts, routes });
    }
    let Some(main) = main(&fronts) else { return (Vec::new(), Vec::new()) };
    let shared = Shared { global, is_forwarding: is_forwarding(live, account), files };
    let mut names = Names::default();
    let mut listeners = Vec::new();
    for front in &fronts {
        if !is_same(front, main) {
            refuse(front, main, account);
            continue;
        }
        let mut unique = |name: &str| names.unique(name);
        let tables = listen::listeners(front.proxy, &front.binds, &shared, &mut unique, account);
        listeners.extend(tables);
    }
    headers(live, main.facts, account);
    let mut names = Names::default();
    let routes = main.routes.iter().flatten();
    (listeners, routes.map(|route| table(route, &mut names, account)).collect())
}

/// A `listen` section without `bind` is a back end by another name.
fn is_back_end(proxy: &Proxy<'_>) -> bool {
    let has_bind = proxy.section.lines.iter().any(|line| line.text(0) == "bind");
    proxy.section.kind.has_servers() && !has_bind
}

fn facts(binds: &[Bind<'_>]) -> Facts {
    let with_tls = binds.iter().filter(|bind| bind.is_tls()).count();
    let is_tls = match with_tls {
        0 if !binds.is_empty() => Some(false),
        count if count == binds.len() && count > 0 => Some(true),
        _ => None,
    };
    let port = match binds {
        [Bind { addresses, .. }] if addresses.len() == 1 => addresses.first().map(|a| a.port()),
        _ => None,
    };
    Facts { is_tls, port }
}

/// The front end that matters most: the first that forwards anything.
fn main<'f, 'p, 's>(fronts: &'f [Front<'p, 's>]) -> Option<&'f Front<'p, 's>> {
    let forwards = |front: &&Front<'_, '_>| {
        let mut routes = front.routes.iter().flatten();
        !front.binds.is_empty() && routes.any(|route| matches!(route.action, Action::Pool(_)))
    };
    fronts.iter().find(forwards).or_else(|| fronts.first())
}

/// Whether two front ends answer alike, wherever their routes come from.
fn is_same(front: &Front<'_, '_>, main: &Front<'_, '_>) -> bool {
    let (Some(routes), Some(main)) = (&front.routes, &main.routes) else { return false };
    routes.len() == main.len()
        && routes.iter().zip(main).all(|(a, b)| Route { item: b.item, ..a.clone() } == *b)
}

fn refuse(front: &Front<'_, '_>, main: &Front<'_, '_>, account: &mut Account) {
    let reason = match front.routes {
        None => "its conditions are too many to be told apart by routes".to_owned(),
        Some(_) => format!(
            "its requests go elsewhere than those of `{}`, and routes are the same at every listener: import it as a door of its own",
            main.proxy.name()
        ),
    };
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
        account.items.refused(line.item, reason.clone());
    }
    if !section.kind.has_servers() {
        account.items.refused(section.head.item, reason.clone());
    }
    for choice in front.binds.iter().flat_map(|bind| &bind.choices) {
        account.items.refused(choice.item, reason.clone());
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

/// `http-request set-header`: the door writes the forwarding headers, and no other.
fn headers(live: &[&Proxy<'_>], facts: Facts, account: &mut Account) {
    for line in live.iter().flat_map(|proxy| proxy.all("http-request")) {
        if !matches!(line.text(1), "set-header" | "add-header") {
            continue;
        }
        let asks_tls = line.texts(4).iter().any(|word| word.contains("ssl_fc"));
        let is_written = match (line.text(2).to_ascii_lowercase().as_str(), line.text(3)) {
            ("x-forwarded-for", "%[src]" | "%ci") => true,
            (
                "x-forwarded-host",
                "%[req.hdr(host)]" | "%[req.hdr(Host)]" | "%[hdr(host)]" | "%[hdr(Host)]",
            ) => true,
            ("x-forwarded-proto", "https") => asks_tls || facts.is_tls == Some(true),
            ("x-forwarded-proto", "http") => asks_tls || facts.is_tls == Some(false),
            ("x-forwarded-proto", value) => value.contains("ssl_fc,iif(https,http)"),
            _ => false,
        };
        let reason = "the door changes no header but the forwarding ones";
        account.result(line.item, if is_written { Ok(()) } else { Err(reason) });
    }
}

fn table(route: &Route, names: &mut Names, account: &Account) -> Table {
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
    let hosts: Vec<String> = route.hosts.iter().filter_map(host).collect();
    if !hosts.is_empty() {
        keys.push(("host", texts(hosts), place.clone()));
    }
    match &route.path {
        Path::Any => {}
        Path::Below(prefix) => keys.push(("path", Value::text(prefix.clone()), place.clone())),
        Path::Exact(path) => {
            let exact = vec![("exact".to_owned(), Value::text(path.clone()).here())];
            keys.push(("path", Value::Table(exact), place.clone()));
        }
    }
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
    Table { path: vec!["routes".to_owned(), names.unique(&wanted)], place, keys }
}

/// The key of an action, its value, and a name for its route.
fn action(action: &Action) -> (&'static str, Value, String) {
    let entries = |entries: Vec<(&str, Value)>| -> Vec<(String, Placed)> {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.here())).collect()
    };
    match action {
        Action::Pool(name) => ("pool", Value::text(name.clone()), name.clone()),
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
