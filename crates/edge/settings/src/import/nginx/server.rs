//! `server` blocks: which requests each gets, and the routes that say so.
//!
//! nginx finds the server by address and `Host` first and looks for a location only within it;
//! this door looks at hosts, paths and listeners of all routes together. So each server's routes
//! name its hosts and listeners, and end with one for everything its locations leave.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::action::{Action, Answer, Context, Rewrite};
use super::level::Level;
use super::listen::{self, Listen, Listener, listeners, listens};
use super::location::{Planned, path_value, plan};
use super::path::Pattern;
use super::pool::Pools;
use super::site::{Counted, Site, Table, inline};
use super::tree::Node;
use super::upstream::Upstreams;
use super::walk::{Inside, level};
use crate::finding::quote;
use crate::import::Place;
use crate::import::writer::Value;
use crate::server::host_name;

/// One server.
#[derive(Debug)]
pub(super) struct Server<'t> {
    pub(super) place: Place,
    pub(super) nodes: &'t [Node],
    pub(super) level: Rc<Level<'t>>,
    pub(super) listens: Vec<Listen>,
    /// Its names that the door can serve, with where they stand.
    pub(super) names: Vec<(String, Place)>,
}

impl Server<'_> {
    /// Its port, when it listens on one only.
    pub(super) fn port(&self) -> Option<u16> {
        let port = self.listens.first()?.address.port();
        self.listens.iter().all(|listen| listen.address.port() == port).then_some(port)
    }
}

/// Some requests of a server: those with these hosts on these listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// Whether every host is meant that no other route names.
    any: bool,
    names: Vec<(String, Place)>,
    is_tls: bool,
    listeners: Vec<usize>,
}

/// Reads all servers and writes their listeners and routes. `snippet` are directives that stand
/// for one server without a block of its own.
pub(super) fn servers<'t>(
    nodes: &[&'t Node],
    snippet: Option<&'t [Node]>,
    (around, upstreams): (&Rc<Level<'t>>, &Upstreams<'t>),
    site: &mut Site,
) {
    let mut servers: Vec<Server<'t>> = Vec::new();
    for node in nodes {
        if site.count(Counted::Servers, 1) {
            site.mapped(node);
            servers.push(server(node, around, site));
        } else {
            site.refuse_all(node, "there are more servers than the door has routes for");
        }
    }
    if let Some(nodes) = snippet {
        let place = nodes.first().map_or(Place { file: 0, span: 0..0 }, |node| node.place.clone());
        let level = Rc::clone(around);
        let listens = listens(&level, &place, site);
        servers.push(Server { place, nodes, level, listens, names: Vec::new() });
    }
    let listeners = listeners(&servers, site);
    for listener in &listeners {
        listen::write(listener, &servers, site);
    }
    let mut pools = Pools::default();
    for (index, server) in servers.iter().enumerate() {
        let groups = groups(index, &servers, &listeners);
        let mut writer = Writer { server, listeners: &listeners, upstreams, pools: &mut pools };
        writer.write(groups, site);
    }
}

fn server<'t>(node: &'t Node, around: &Rc<Level<'t>>, site: &mut Site) -> Server<'t> {
    let (nodes, place) = (node.children(), &node.place);
    let level = level(nodes, Some(around), Inside::Server, site);
    let listens = listens(&level, place, site);
    let names = names(&level, site);
    Server { place: place.clone(), nodes, level, listens, names }
}

/// The names of a server that the door can serve; what becomes of the others is said here.
fn names(level: &Level<'_>, site: &mut Site) -> Vec<(String, Place)> {
    let mut names = Vec::new();
    for node in level.own("server_name") {
        site.mapped(node);
        for text in node.texts() {
            if !site.count(Counted::HostNames, 1) {
                site.refused(node, "there are more names than the door has routes for");
                break;
            }
            let lower = text.to_ascii_lowercase();
            if let Some(expression) = text.strip_prefix('~') {
                site.expression(expression, &node.place);
                site.refused(
                    node,
                    format!("the door compares hosts, it does not match {}", quote(text)),
                );
            } else if let Some(rest) =
                lower.strip_prefix('.').filter(|rest| host_name(rest).is_ok())
            {
                names.push((rest.to_owned(), node.place.clone()));
                names.push((format!("*.{rest}"), node.place.clone()));
            } else if host_name(lower.strip_prefix("*.").unwrap_or(&lower)).is_ok()
                || lower.parse::<std::net::Ipv4Addr>().is_ok()
            {
                names.push((lower, node.place.clone()));
            } else if lower.contains(['*', '$']) {
                let reason =
                    format!("a wildcard of the door is the whole first label: not {}", quote(text));
                site.refused(node, reason);
            }
            // What is left, such as `_`, is no host: nginx itself never compares it with success.
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|(name, _)| seen.insert(name.clone()));
    names
}

/// Which hosts on which listeners are a server's.
fn groups(index: usize, servers: &[Server<'_>], listeners: &[Listener]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let Some(server) = servers.get(index) else { return groups };
    for (at, listener) in listeners.iter().enumerate() {
        if listener.servers.binary_search(&index).is_err() {
            continue;
        }
        let any = listener.default == index;
        // The first server of a name has it.
        let before = listener.servers.iter().take_while(|other| **other != index);
        let taken: BTreeSet<&str> = before
            .filter_map(|other| servers.get(*other))
            .flat_map(|other| other.names.iter().map(|(name, _)| name.as_str()))
            .collect();
        let mut names = server.names.clone();
        names.retain(|(name, _)| !taken.contains(name.as_str()));
        // A default server gets its own names as any other, unless a wildcard would take them.
        let others = listener.servers.iter().filter(|other| **other != index);
        let mut others = others.filter_map(|other| servers.get(*other));
        if any && !others.any(|other| other.names.iter().any(|(name, _)| name.starts_with('*'))) {
            names.clear();
        }
        let same = |group: &&mut Group| {
            group.any == any && group.is_tls == listener.is_tls && group.names == names
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.listeners.push(at),
            None if any || !names.is_empty() => {
                groups.push(Group { any, names, is_tls: listener.is_tls, listeners: vec![at] });
            }
            None => {}
        }
    }
    groups
}

/// Writes the routes of one server.
struct Writer<'w, 't> {
    server: &'w Server<'t>,
    listeners: &'w [Listener],
    upstreams: &'w Upstreams<'t>,
    pools: &'w mut Pools,
}

impl Writer<'_, '_> {
    fn write(&mut self, groups: Vec<Group>, site: &mut Site) {
        if groups.is_empty() {
            self.never_asked(site);
            return;
        }
        // Planned once, whatever the groups: it says what becomes of the locations.
        let mut context =
            Context { server: self.server, upstreams: self.upstreams, pools: self.pools, site };
        let conditions = context.conditions();
        let whole = context.whole();
        let planned = if whole.is_some() {
            context.never_reached();
            Vec::new()
        } else {
            plan(&mut context)
        };
        for mut group in groups {
            for (condition, action) in &conditions {
                if let Some(matched) = split(&mut group, condition) {
                    self.route(&matched, ("redirect", None), action, site);
                }
            }
            if !group.any && group.names.is_empty() {
                continue;
            }
            if let Some(action) = &whole {
                self.route(&group, ("all", None), action, site);
            }
            let has_rest = whole.is_some() || self.locations(&group, &planned, site);
            if !has_rest && !group.names.is_empty() {
                let (server, upstreams) = (self.server, self.upstreams);
                let mut context = Context { server, upstreams, pools: self.pools, site };
                let rest = context.rest();
                self.route(&Group { any: false, ..group }, ("rest", None), &rest, site);
            }
        }
    }

    /// Says of a server that nginx itself never asks it.
    fn never_asked(&self, site: &mut Site) {
        let reason = "no request reaches it: other servers have its names, or it has none that the \
                      door can compare and is not the default";
        let about =
            |node: &&Node| !["listen", "server_name", "include"].contains(&node.name.as_str());
        for node in self.server.nodes.iter().filter(about) {
            site.ignore_all(node, reason);
        }
    }

    /// Writes a route for each planned location; gives whether one takes everything.
    fn locations(&mut self, group: &Group, planned: &[Planned], site: &mut Site) -> bool {
        let mut has_rest = false;
        for planned in planned {
            if site.has_all_routes() {
                break;
            }
            has_rest |= planned.methods.is_empty()
                && matches!(
                    &planned.pattern,
                    Pattern::Segments(path) | Pattern::Below(path) | Pattern::Start(path)
                        if path == "/"
                );
            let wanted = planned.wanted_name();
            self.route(group, (&wanted, Some(planned)), &planned.action, site);
        }
        has_rest
    }

    fn route(
        &self,
        group: &Group,
        (wanted, planned): (&str, Option<&Planned>),
        action: &Action,
        site: &mut Site,
    ) {
        let place = planned.map_or(&action.place, |planned| &planned.place);
        // A default server that also names its hosts needs a route for each: one cannot say both.
        let mut parts = vec![group.clone()];
        if group.any && !group.names.is_empty() {
            parts = vec![
                Group { names: Vec::new(), ..group.clone() },
                Group { any: false, ..group.clone() },
            ];
        }
        for part in parts {
            let mut table = self.table(&part, wanted, place, site);
            action.notes.iter().for_each(|note| table.note(note));
            if part.names.iter().any(|(name, _)| name.starts_with("*.")) {
                table.note("a wildcard of nginx stands for several labels too, the door's for one");
            }
            if let Some(planned) = planned {
                let (key, value) = path_value(&planned.pattern);
                table.key(key, value, place);
                methods(&planned.methods, action, &mut table);
                self.body_max(planned, &part, &mut table);
            }
            answer(&action.answer, part.is_tls, &action.place, &mut table);
            for (key, value, place) in &action.keys {
                table.key(key, value.clone(), place);
            }
            let is_forward = matches!(action.answer, Answer::Forward { .. });
            for limit in planned.iter().filter(|_| is_forward).flat_map(|planned| &planned.limits) {
                site.limit(limit, &table.name);
            }
            site.route(table);
        }
    }

    fn table(&self, group: &Group, wanted: &str, place: &Place, site: &mut Site) -> Table {
        let own =
            self.server.names.first().map_or("default", |(name, _)| name.trim_start_matches("*."));
        let own = if group.is_tls { format!("{own}-tls") } else { own.to_owned() };
        let mut table = Table::new(site.name("route", &format!("{own}-{wanted}")), place);
        if let [(name, place), rest @ ..] = group.names.as_slice() {
            let value = if rest.is_empty() {
                Value::text(name)
            } else {
                let names = group.names.iter();
                Value::Array(names.map(|(name, place)| Value::text(name).at(place)).collect())
            };
            table.key("host", value, place);
        }
        if group.listeners.len() < self.listeners.len() {
            let names = group.listeners.iter().filter_map(|at| self.listeners.get(*at));
            let names = names.map(|listener| Value::text(&listener.name).at(&listener.place));
            table.key("listen", Value::Array(names.collect()), &self.server.place);
        }
        table
    }

    fn body_max(&self, planned: &Planned, group: &Group, table: &mut Table) {
        let (size, place) = &planned.body;
        let mut listeners = group.listeners.iter().filter_map(|at| self.listeners.get(*at));
        if listeners.any(|listener| listener.body_max != *size) {
            table.key("body_max", Value::bytes(*size), place);
        }
    }
}

/// What a condition of the server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Host(String),
    NotHost(String),
    Scheme { is_tls: bool },
}

/// Takes from a group the requests for which a condition holds.
fn split(group: &mut Group, condition: &Condition) -> Option<Group> {
    match condition {
        Condition::Scheme { is_tls } if group.is_tls == *is_tls => {
            let matched = group.clone();
            group.any = false;
            group.names.clear();
            Some(matched)
        }
        Condition::Scheme { .. } => None,
        Condition::Host(host) => {
            let known = group.names.iter().find(|(name, _)| name == host).cloned();
            let place = group
                .names
                .first()
                .map_or(Place { file: 0, span: 0..0 }, |(_, place)| place.clone());
            let covered = known.is_some()
                || group.any
                || group.names.iter().any(|(name, _)| covers(name, host));
            let name = known.unwrap_or((host.clone(), place));
            group.names.retain(|(name, _)| name != host);
            covered.then(|| Group { any: false, names: vec![name], ..group.clone() })
        }
        Condition::NotHost(host) => {
            let mut matched = group.clone();
            matched.names.retain(|(name, _)| name != host);
            let place = group
                .names
                .first()
                .map_or(Place { file: 0, span: 0..0 }, |(_, place)| place.clone());
            let has =
                group.any || group.names.iter().any(|(name, _)| name == host || covers(name, host));
            group.names = if has { vec![(host.clone(), place)] } else { Vec::new() };
            group.any = false;
            (matched.any || !matched.names.is_empty()).then_some(matched)
        }
    }
}

fn covers(wildcard: &str, host: &str) -> bool {
    wildcard.strip_prefix('*').is_some_and(|suffix| {
        host.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.contains('.'))
    })
}

fn methods(methods: &[String], action: &Action, table: &mut Table) {
    if !methods.is_empty() {
        let methods = methods.iter().map(|method| Value::text(method).here());
        table.key("methods", Value::Array(methods.collect()), &action.place);
    }
}

fn answer(answer: &Answer, is_tls: bool, place: &Place, table: &mut Table) {
    match answer {
        Answer::Redirect { status, location } => {
            let scheme = if is_tls { "https" } else { "http" };
            let location = location.replace(super::action::SCHEME, scheme);
            let entries = vec![
                ("status", Value::Integer(u64::from(*status)).here()),
                ("location", Value::text(location).here()),
            ];
            table.key("redirect", inline(entries), place);
        }
        Answer::Respond { status, body, content_type } => {
            let mut entries = vec![("status", Value::Integer(u64::from(*status)).here())];
            if !body.is_empty() {
                entries.push(("body", Value::text(body).here()));
                entries.push(("content_type", Value::text(content_type).here()));
            }
            table.key("respond", inline(entries), place);
        }
        Answer::Forward { pool, rewrite, host: _, module: _ } => {
            table.key("pool", Value::text(pool), place);
            match rewrite {
                Some(Rewrite::Prefix(path)) => {
                    table.key("replace_prefix", Value::text(path), place);
                }
                Some(Rewrite::Path(path)) => table.key("replace_path", Value::text(path), place),
                Some(Rewrite::AsSent) | None => {}
            }
        }
    }
}
