//! Proxies of plain TCP: their listeners pass connections on to pools, unread but for the server
//! name of a ClientHello.
//!
//! A rule is taken over when it asks for exact server names (`req.ssl_sni`), directly or by `acl`.
//! Pools are made of the back ends that some listener leads to.

use std::collections::BTreeMap;

use super::super::writer::Value;
use super::super::{Files, Place};
use super::Names;
use super::account::Account;
use super::closing;
use super::global::Global;
use super::items::Line;
use super::keywords;
use super::listen::{self, Bind, Shared};
use super::options::Choice;
use super::pool::{self, Table, timeout};
use super::proxy::Proxy;
use super::settle;

const CLOSED_BY_RULE: &str =
    "it closes connections by rules that the door does not ask, so it stays closed";
const NAMES_ONLY: &str = "of connections the door asks for the exact server name alone: \
                          `req.ssl_sni -i NAME`";
/// Server names of all front ends, at most: as many as the door has routes.
const SERVER_NAMES_MAX: usize = 10_000;

/// A front end of plain TCP.
struct Front<'p, 's> {
    proxy: &'p Proxy<'s>,
    binds: Vec<Bind<'s>>,
    /// Its `use_backend` lines that ask for server names.
    rules: Vec<(&'s Line, Vec<String>)>,
    client: Option<(u64, Place)>,
}

/// Where the connections of a listener lead.
#[derive(Debug, Default)]
pub(super) struct Passed {
    rest: Option<(String, Place)>,
    by_name: BTreeMap<String, (String, Place)>,
    /// How long a ClientHello may take.
    hello: Option<(u64, Place)>,
}

impl Passed {
    /// What says so in the table of a listener. Where TLS ends, no name is looked for.
    pub(super) fn keys(
        &self,
        bind: &Bind<'_>,
        account: &mut Account,
    ) -> Vec<(&'static str, Value, Place)> {
        for choice in &bind.choices {
            if matches!(choice.name.as_str(), "alpn" | "no-alpn" | "proto") {
                let reason = "the door agrees on no protocol for what it passes on";
                account.items.refused(choice.item, reason);
            }
        }
        let mut keys = vec![("mode", Value::text("tcp"), bind.line.place())];
        let rest = self.rest.iter().map(|(pool, place)| ("pool", pool, place));
        keys.extend(rest.map(|(key, pool, place)| (key, Value::text(pool), place.clone())));
        if !self.by_name.is_empty() && !bind.is_tls() {
            let names = self
                .by_name
                .iter()
                .map(|(name, (pool, place))| (name.clone(), Value::text(pool).at(place)));
            keys.push(("sni", Value::Table(names.collect()), bind.line.place()));
        }
        keys
    }

    /// What is waited for before a connection is passed on.
    pub(super) fn timeouts(&self, proxy: &Proxy<'_>, account: &mut Account) -> Value {
        let own = timeout(proxy, "timeout client-hs", account);
        let time = self.hello.clone().or(own).or_else(|| timeout(proxy, "timeout client", account));
        let entry =
            |(ms, place): (u64, Place)| ("handshake".to_owned(), Value::duration_ms(ms).at(&place));
        Value::Table(time.map(entry).into_iter().collect())
    }
}

/// Listeners and pools. `names`: those of listeners, and those of pools.
pub(super) fn tables(
    live: &[&Proxy<'_>],
    (global, files): (&Global, &dyn Files),
    (listener_names, pool_names): (&mut Names, &mut Names),
    account: &mut Account,
) -> (Vec<Table>, Vec<Table>) {
    let backs: BTreeMap<&str, &Proxy<'_>> = live
        .iter()
        .filter(|proxy| proxy.section.kind.has_servers())
        .map(|proxy| (proxy.name(), *proxy))
        .collect();
    let clients = live.iter().filter(|proxy| proxy.section.kind.has_clients());
    let fronts: Vec<Front<'_, '_>> = clients.filter_map(|proxy| front(proxy, account)).collect();
    // How long the front ends of each back end let connections be silent.
    let mut led: BTreeMap<&str, Option<(u64, Place)>> = BTreeMap::new();
    for front in &fronts {
        for name in front.backs() {
            let silent = led.entry(name).or_default();
            let both = silent.take().into_iter().chain(front.client.clone());
            *silent = both.min_by_key(|(ms, _)| *ms);
        }
    }
    let mut pools = Vec::new();
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for (name, proxy) in &backs {
        match led.remove(name) {
            Some(_) if rejecting(proxy).is_some() => {
                settle::refuse(proxy.section, CLOSED_BY_RULE, account);
            }
            Some(client) => {
                let unique = pool_names.unique(name);
                let table = pool::pool(proxy, &unique, (global, client), account);
                known.extend(table.is_some().then_some((*name, unique)));
                pools.extend(table);
            }
            // A front end that has no servers of its own is none either.
            None if !fronts.iter().any(|front| std::ptr::eq(front.proxy, *proxy)) => {
                let reason = "no listener that is taken over passes connections on to it";
                settle::refuse(proxy.section, reason, account);
            }
            None => {}
        }
    }
    let mut listeners = Vec::new();
    for front in &fronts {
        if let Some(line) = rejecting(front.proxy) {
            account.items.refused(line.item, keywords::RULES_OF_TCP);
            front.refuse(CLOSED_BY_RULE, account);
            continue;
        }
        let passed = front.passed(&known, account);
        if passed.rest.is_none() && passed.by_name.is_empty() {
            front.refuse("no back end that it leads to is taken over", account);
            continue;
        }
        let shared = Shared { global, is_forwarding: false, files, passed: Some(&passed) };
        let mut unique = |name: &str| listener_names.unique(name);
        let own = listen::listeners(front.proxy, &front.binds, &shared, &mut unique, account);
        listeners.extend(own);
    }
    (listeners, pools)
}

/// A rule that closes connections, which is none of the listeners'.
fn rejecting<'s>(proxy: &Proxy<'s>) -> Option<&'s Line> {
    let levels = ["tcp-request connection", "tcp-request session", "tcp-request content"];
    let mut lines = levels.into_iter().flat_map(|level| proxy.all(level));
    lines.find(|line| closing::closes(proxy, line))
}

/// Reads a front end; `None` when it has no listener that is understood.
fn front<'p, 's>(proxy: &'p Proxy<'s>, account: &mut Account) -> Option<Front<'p, 's>> {
    let binds = listen::binds(proxy, account);
    if binds.is_empty() {
        return None;
    }
    let client = timeout(proxy, "timeout client", account);
    let has_plain = binds.iter().any(|bind| !bind.is_tls());
    let mut rules = Vec::new();
    for line in proxy.all("use_backend") {
        if !has_plain {
            let reason = "where TLS ends HAProxy sees no ClientHello in what is passed on";
            account.items.ignored(line.item, reason);
            continue;
        }
        let names = asked(proxy, line, account).filter(|names| {
            account.server_names = account.server_names.saturating_add(names.len());
            account.server_names <= SERVER_NAMES_MAX
        });
        match names {
            Some(names) => rules.push((line, names)),
            None => account.items.refused(line.item, NAMES_ONLY),
        }
    }
    Some(Front { proxy, binds, rules, client })
}

impl<'s> Front<'_, 's> {
    /// The line that says where the rest leads, and the back end.
    fn rest(&self) -> Option<(&'s Line, &'s str)> {
        if let Some(line) = self.proxy.set("default_backend") {
            return Some((line, line.text(1)));
        }
        let section = self.proxy.section;
        section.kind.has_servers().then_some((&section.head, self.proxy.name()))
    }

    /// The back ends it leads to.
    fn backs(&self) -> impl Iterator<Item = &'s str> {
        let named = self.rules.iter().map(|(line, _)| line.text(1));
        named.chain(self.rest().map(|(_, name)| name))
    }

    /// Where its connections lead. The first rule of a name has it.
    fn passed(&self, known: &BTreeMap<&str, String>, account: &mut Account) -> Passed {
        let mut passed = Passed::default();
        let pool = |name: &str| {
            let missing = || format!("no back end `{name}` of plain TCP is taken over");
            known.get(name).cloned().ok_or_else(missing)
        };
        if let Some((line, name)) = self.rest() {
            let pool = account.result(line.item, pool(name));
            passed.rest = pool.map(|pool| (pool, line.place()));
        }
        for (line, names) in &self.rules {
            let Some(pool) = account.result(line.item, pool(line.text(1))) else { continue };
            for name in names {
                let name = name.to_ascii_lowercase();
                passed.by_name.entry(name).or_insert_with(|| (pool.clone(), line.place()));
            }
        }
        if !passed.by_name.is_empty() {
            passed.hello = self.hello(&passed, account);
        }
        passed
    }

    /// `tcp-request inspect-delay`, and the rule that ends the wait at a ClientHello.
    fn hello(&self, passed: &Passed, account: &mut Account) -> Option<(u64, Place)> {
        for line in self.proxy.all("tcp-request content") {
            let words = line.texts(2);
            let ends = matches!(
                words.as_slice(),
                ["accept", "if", "{", "req_ssl_hello_type" | "req.ssl_hello_type", "1", "}"]
            );
            if ends {
                account.items.mapped(line.item);
            }
        }
        let Some(line) = self.proxy.set("tcp-request inspect-delay") else {
            let difference = "without `tcp-request inspect-delay` HAProxy asks before the \
                              ClientHello has come; the door waits for it";
            self.rules.iter().for_each(|(line, _)| account.differs(line, difference));
            return None;
        };
        let ms = super::units::timeout_ms(line.text(2)).and_then(|ms| ms.ok_or("it is endless"));
        let ms = account.result(line.item, ms)?;
        if passed.rest.is_some() {
            let difference = "who says nothing for so long is closed, and not passed on to the \
                              default back end";
            account.differs(line, difference);
        }
        Some((ms, line.place()))
    }

    fn refuse(&self, reason: &'static str, account: &mut Account) {
        let choices = self.binds.iter().flat_map(|bind| &bind.choices);
        choices.for_each(|choice: &Choice| account.items.refused(choice.item, reason));
        self.binds.iter().for_each(|bind| account.items.refused(bind.line.item, reason));
        account.items.refused(self.proxy.section.head.item, reason);
    }
}

/// The server names for which a `use_backend` holds; `None` when it asks for anything else.
fn asked(proxy: &Proxy<'_>, line: &Line, account: &mut Account) -> Option<Vec<String>> {
    let words = line.texts(2);
    let ("if", mut rest) = words.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    if line.variable(1).is_some() || rest.is_empty() || !account.spend(proxy.lines_count()) {
        return None;
    }
    let mut names = Vec::new();
    let mut used = Vec::new();
    loop {
        if let ["{", after @ ..] = rest {
            let end = after.iter().position(|word| *word == "}")?;
            names.extend(names_of(line, after.get(..end)?, account)?);
            rest = after.get(end + 1..)?;
        } else {
            let (acl, after) = rest.split_first()?;
            let lines: Vec<&Line> = proxy.all("acl").filter(|line| line.text(1) == *acl).collect();
            if lines.is_empty() {
                return None;
            }
            for line in &lines {
                if line.variable(2).is_some() {
                    return None;
                }
                names.extend(names_of(line, &line.texts(2), account)?);
            }
            used.extend(lines);
            rest = after;
        }
        match rest {
            [] => break,
            ["or" | "||", after @ ..] => rest = after,
            _ => return None,
        }
    }
    used.iter().for_each(|line| account.items.mapped(line.item));
    Some(names)
}

/// The names of `req.ssl_sni [-i] NAME...`.
fn names_of(line: &Line, words: &[&str], account: &mut Account) -> Option<Vec<String>> {
    let ["req.ssl_sni" | "req_ssl_sni", names @ ..] = words else { return None };
    let (is_exact, names) = match names {
        ["-i", "-m", "str", names @ ..] | ["-m", "str", "-i", names @ ..] | ["-i", names @ ..] => {
            (true, names)
        }
        ["-m", "str", names @ ..] | names => (false, names),
    };
    let names = names.strip_prefix(&["--"]).unwrap_or(names);
    let is_address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
    let valid = |name: &&str| crate::server::host_name(name).is_ok() && !is_address(name);
    if names.is_empty() || !names.iter().all(valid) {
        return None;
    }
    if !is_exact {
        account.differs(line, "the door compares server names whatever the case of their letters");
    }
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}
