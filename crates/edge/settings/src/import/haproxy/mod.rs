//! HAProxy's configuration to TOML.
//!
//! Files become sections and lines (`section`), lines settings (`proxy`), settings tables
//! (`pool`, `listen`) and rules (`rules`, `closing`, `headers`, `acl`), rules routes (`routes`). A request to
//! HAProxy is decided by the listener it came in at, and by rules in their order; here the most
//! specific route decides, of those for its listener. So each front end has routes of its own, and
//! those that answer alike share theirs. Proxies of plain TCP have no routes (`tcp`).
//! Invariant: what becomes of a line is said once, and never left out (`items`).

mod account;
mod acl;
mod check;
mod closing;
mod condition;
mod criterion;
mod decide;
mod expression;
mod foreign;
mod front;
mod global;
mod grouped;
mod headers;
mod hosts;
mod items;
mod keywords;
mod lexer;
mod limit;
mod listen;
mod options;
mod ordered;
mod paths;
mod pattern;
mod pool;
mod priorities;
mod protocol;
mod proxy;
mod regex;
mod replace;
mod routes;
mod rules;
mod section;
mod server;
mod settle;
mod tcp;
mod tls;
mod treatment;
mod units;
mod users;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::writer::{Toml, Value};
use super::{Files, Imported};
use account::Account;
use pool::Table;
use rules::{Target, World};

/// Reads and translates.
pub(super) fn import(path: &Path, files: &dyn Files) -> Imported {
    let mut account = Account::default();
    let sections = section::read(path, files, &mut account.ledger, &mut account.items);
    let proxies = proxy::proxies(&sections);
    settle::before(&sections, &proxies, &mut account);
    foreign::judge(&sections, &proxies, &mut account);
    let (global, door) = global::global(&sections, &mut account);

    let is_live = |proxy: &&proxy::Proxy<'_>| {
        proxy.is_http() && !proxy.is_disabled() && !settle::is_stats(proxy)
    };
    let live: Vec<&proxy::Proxy<'_>> = proxies.iter().filter(is_live).collect();
    let mut names = Names::default();
    let mut pools = Vec::new();
    let mut targets = BTreeMap::new();
    for proxy in live.iter().filter(|proxy| proxy.section.kind.has_servers()) {
        let name = names.unique(proxy.name());
        let target = match pool::pool(proxy, &name, (&global, None), &mut account) {
            Some(table) => {
                pools.push(table);
                Target::Pool(name)
            }
            None => Target::Refused(format!("`{}` has no server that is taken over", proxy.name())),
        };
        targets.insert(proxy.name().to_owned(), (target, (*proxy).clone()));
    }
    let users = users::userlists(&sections, &mut account);
    let world = World { targets, users };
    let mut listener_names = Names::default();
    let (mut listeners, routes) =
        front::fronts(&live, &world, (&global, files), &mut listener_names, &mut account);
    let is_passed = |proxy: &&proxy::Proxy<'_>| proxy.is_tcp() && !proxy.is_disabled();
    let passed: Vec<&proxy::Proxy<'_>> =
        proxies.iter().filter(is_passed).filter(|proxy| !settle::is_stats(proxy)).collect();
    let (more_listeners, more_pools) =
        tcp::tables(&passed, (&global, files), (&mut listener_names, &mut names), &mut account);
    listeners.extend(more_listeners);
    pools.extend(more_pools);
    users::settle_rest(&world.users, &mut account);
    settle::after(&sections, &mut account);

    let mut toml = Toml::default();
    for table in door.iter().chain(&listeners).chain(&pools).chain(&routes) {
        write(&mut toml, table);
    }
    let Account { items, mut ledger, .. } = account;
    items.finish(&mut ledger);
    ledger.finish(toml)
}

fn write(toml: &mut Toml, table: &Table) {
    let path: Vec<&str> = table.path.iter().map(String::as_str).collect();
    toml.table(&path, &table.place);
    for (key, value, place) in &table.keys {
        // What nothing was written into says nothing.
        if !matches!(value, Value::Table(entries) if entries.is_empty()) {
            toml.key(key, value, place);
        }
    }
}

/// Names that are valid here and given once each.
#[derive(Debug, Default)]
struct Names {
    given: BTreeSet<String>,
    /// How often each name was asked for, so that long lists of one name stay cheap.
    counts: BTreeMap<String, usize>,
}

impl Names {
    /// A name close to `wanted` that was not given before.
    fn unique(&mut self, wanted: &str) -> String {
        let valid = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let base: String = wanted.chars().take(48).map(valid).collect();
        let base = if base.is_empty() { "unnamed".to_owned() } else { base };
        loop {
            let count = self.counts.entry(base.clone()).or_insert(0);
            *count += 1;
            let name = if *count == 1 { base.clone() } else { format!("{base}-{count}") };
            if self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}
