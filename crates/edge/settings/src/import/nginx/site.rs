//! What one configuration of nginx comes to: what became of each directive, what is to be said,
//! and the tables of the TOML in the making.
//!
//! Reading fills it; [`Site::finish`] writes it. A directive that sets a value counts as ignored
//! until the value is written somewhere.
//! Invariant: a directive has one fate in the end, whatever was said of it on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{Known, known};
use super::limit::Limit;
use super::tree::Node;
use crate::finding::Finding;
use crate::import::ledger::Ledger;
use crate::import::writer::{Placed, Toml, Value};
use crate::import::{Disposition, Place};

/// Said of a value that nothing served asks for.
const UNUSED: &str = "nothing that the door serves uses it: another level overrides it, or the \
                      door takes the value of the first or default server";

/// Measured with nginx 1.22: `location /a/` with `proxy_pass http://host/b/` sends `/b/x/y` for
/// `/a/x%2Fy`, and `/b/x;y` for `/a/x%3By`.
const DECODED: &str = "nginx decodes a path that it changes, so that a server sees `/x/y` for \
                       `/x%2Fy`; the door forwards escapes of `/` and of other reserved \
                       characters as they came";

/// Expressions that are looked at closely, at most.
const EXPRESSIONS_MAX: usize = 5_000;

/// A table of the TOML in the making, such as `[pools.web]`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) place: Place,
    /// What a reader should know, as comments.
    pub(super) notes: Vec<String>,
    pub(super) keys: Vec<(&'static str, Value, Place)>,
}

impl Table {
    pub(super) fn new(name: String, place: &Place) -> Self {
        Self { name, place: place.clone(), notes: Vec::new(), keys: Vec::new() }
    }

    pub(super) fn key(&mut self, key: &'static str, value: Value, place: &Place) {
        self.keys.push((key, value, place.clone()));
    }

    pub(super) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// Keys of a route in the making, each with where it came from.
pub(super) type Keys = Vec<(&'static str, Value, Place)>;

/// An inline table whose parts come from different places.
pub(super) fn inline(entries: Vec<(&str, Placed)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A value as text, without the places in it: to see whether two are the same.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            elements.iter().map(|element| shown(&element.value)).collect::<Vec<_>>().join(",")
        }
        Value::Table(entries) => {
            let entries =
                entries.iter().map(|(key, element)| format!("{key}={}", shown(&element.value)));
            entries.collect::<Vec<_>>().join(",")
        }
        Value::Text(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => {
            format!("{value:?}")
        }
    }
}

struct Fate {
    name: String,
    place: Place,
    disposition: Disposition,
}

/// What is counted, so that a hostile file cannot make more of it than any site has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Servers,
    HostNames,
    Listeners,
    Locations,
    /// Servers written into pools, over all pools.
    Members,
}

impl Counted {
    fn limit(self) -> usize {
        match self {
            Self::Servers => 2_000,
            Self::HostNames | Self::Locations => 10_000,
            Self::Listeners => 1_000,
            Self::Members => 100_000,
        }
    }
}

/// Routes that are written, at most; the door itself takes half as many.
const ROUTES_MAX: usize = 20_000;

/// Limits, and routes of one limit, at most: as many as the door takes.
const LIMITS_MAX: usize = 64;
const LIMITED_MAX: usize = 1_000;

/// Everything an import of nginx makes.
#[derive(Default)]
pub(super) struct Site {
    fates: BTreeMap<(usize, usize), Fate>,
    findings: Vec<(Place, Finding)>,
    /// Rule, file, place and text of each finding: what is looked at twice is told once.
    found: BTreeSet<(&'static str, usize, usize, String)>,
    expressions: usize,
    /// Where nginx first decodes a path that it forwards, and how often it does in all.
    decoding: Option<(Place, usize)>,
    /// Differences that were told, of those told once.
    told: BTreeSet<&'static str>,
    /// Of each file of users: whether the door knows its passwords, or why not.
    pub(super) users: BTreeMap<String, Result<(), String>>,
    names: BTreeSet<(&'static str, String)>,
    counts: [usize; 5],
    pub(super) workers: Option<(u64, Place)>,
    pub(super) listeners: Vec<Table>,
    pub(super) pools: Vec<Table>,
    pub(super) routes: Vec<Table>,
    /// Limits with the routes each has.
    limits: Vec<(Limit, Vec<String>)>,
}

impl Site {
    /// The directive is in the TOML, or the door does the same by itself.
    pub(super) fn mapped(&mut self, node: &Node) {
        self.fate(node, Disposition::Mapped);
    }

    /// The door cannot do it.
    pub(super) fn refused(&mut self, node: &Node, reason: impl Into<String>) {
        self.fate(node, Disposition::Refused(reason.into()));
    }

    /// It is left out.
    pub(super) fn ignored(&mut self, node: &Node, reason: impl Into<String>) {
        self.fate(node, Disposition::Ignored(reason.into()));
    }

    /// What became of a directive in one of the places where it holds: once refused it stays so.
    pub(super) fn settle(&mut self, node: &Node, result: Result<(), String>) {
        let fate = self.fates.get(&(node.place.file, node.place.span.start));
        if fate.is_some_and(|fate| matches!(fate.disposition, Disposition::Refused(_))) {
            return;
        }
        match result {
            Ok(()) => self.mapped(node),
            Err(reason) => self.refused(node, reason),
        }
    }

    /// It sets a value, and counts once the value is written.
    pub(super) fn waiting(&mut self, node: &Node) {
        self.ignored(node, UNUSED);
    }

    /// What is said last holds, but a value once written was written.
    fn fate(&mut self, node: &Node, disposition: Disposition) {
        let place = node.place.clone();
        let fate = Fate { name: node.name.clone(), place, disposition };
        let known = self.fates.entry((node.place.file, node.place.span.start));
        match known {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(fate);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let was_mapped = entry.get().disposition == Disposition::Mapped;
                if !(was_mapped && matches!(fate.disposition, Disposition::Ignored(_))) {
                    entry.insert(fate);
                }
            }
        }
    }

    /// A directive is refused, and so is everything in its block that is not ignored anyway.
    pub(super) fn refuse_all(&mut self, node: &Node, reason: &str) {
        self.refused(node, reason);
        self.within(node, |site, inner| match known(&inner.name) {
            Some(Known::Refused(reason)) => site.refused(inner, reason),
            Some(Known::Ignored(reason)) => site.ignored(inner, reason),
            Some(Known::Code) | None => {
                site.refused(inner, format!("the block it is in is refused: {reason}"));
            }
        });
    }

    /// A directive and everything in its block is left out.
    pub(super) fn ignore_all(&mut self, node: &Node, reason: &str) {
        self.ignored(node, reason);
        self.within(node, |site, node| site.ignored(node, reason));
    }

    /// Visits what is in a block; of data, only what stands in files of its own.
    fn within(&mut self, node: &Node, mut visit: impl FnMut(&mut Self, &Node)) {
        let mut rest: Vec<(&Node, bool)> =
            node.children().iter().map(|child| (child, node.is_data)).collect();
        while let Some((child, in_data)) = rest.pop() {
            let in_other_file = child.place.file != node.place.file;
            if !in_data || (in_other_file && child.is_data) {
                visit(self, child);
            }
            rest.extend(child.children().iter().map(|inner| (inner, child.is_data)));
        }
    }

    /// Refuses every directive of which nothing was said, so that none is dropped in silence.
    pub(super) fn sweep(&mut self, tree: &[Node]) {
        for node in tree {
            let visit = |site: &mut Self, node: &Node| {
                if !site.knows(node) {
                    site.refused(node, "nothing in the door is like it in this place");
                }
            };
            visit(self, node);
            self.within(node, visit);
        }
    }

    /// Counts some more of a kind; false when that is more than any site has.
    pub(super) fn count(&mut self, what: Counted, more: usize) -> bool {
        let Some(count) = self.counts.get_mut(what as usize) else { return false };
        *count = count.saturating_add(more);
        *count <= what.limit()
    }

    /// Adds a route; beyond [`ROUTES_MAX`] there are too many for the door anyway.
    pub(super) fn route(&mut self, table: Table) {
        if self.routes.len() < ROUTES_MAX {
            self.routes.push(table);
        }
    }

    /// Holds a route to a limit.
    pub(super) fn limit(&mut self, limit: &Limit, route: &str) {
        let same = |(known, _): &&mut (Limit, Vec<String>)| {
            (&known.zone, known.burst, known.observe) == (&limit.zone, limit.burst, limit.observe)
        };
        let is_full = self.limits.len() >= LIMITS_MAX;
        match self.limits.iter_mut().find(same) {
            Some((_, routes)) if routes.len() < LIMITED_MAX => {
                routes.push(route.to_owned());
                self.mapped(&limit.node);
            }
            None if !is_full => {
                self.limits.push((limit.clone(), vec![route.to_owned()]));
                self.mapped(&limit.node);
                self.mapped(&limit.zone_node);
            }
            Some(_) | None => {
                self.refused(
                    &limit.node,
                    "there are more limits, or routes of it, than the door has",
                );
            }
        }
    }

    /// The tables of all limits.
    fn limit_tables(&mut self) -> Vec<Table> {
        let limits = std::mem::take(&mut self.limits);
        let zones: Vec<String> = limits.iter().map(|(limit, _)| limit.zone.clone()).collect();
        let table = |(limit, routes): (Limit, Vec<String>)| {
            let Limit { node, zone_node, zone, by, rate, burst, observe } = limit;
            let mut table = Table::new(self.name("limit", &zone), &node.place);
            if zones.iter().filter(|other| **other == zone).count() > 1 {
                table.note("nginx counts this together with the other limits of its zone");
            }
            table.key("by", by, &zone_node.place);
            table.key("rate", Value::text(rate), &zone_node.place);
            table.key("burst", Value::Integer(burst), &node.place);
            let routes = routes.into_iter().map(|route| Value::text(route).here());
            table.key("routes", Value::Array(routes.collect()), &node.place);
            if observe {
                table.key("observe", Value::Boolean(true), &node.place);
            }
            table
        };
        limits.into_iter().map(table).collect()
    }

    /// Whether no more routes are of use.
    pub(super) fn has_all_routes(&self) -> bool {
        self.routes.len() >= ROUTES_MAX
    }

    /// Whether something was said of a directive.
    pub(super) fn knows(&self, node: &Node) -> bool {
        self.fates.contains_key(&(node.place.file, node.place.span.start))
    }

    /// Whether the directive is in the TOML already.
    pub(super) fn is_mapped(&self, node: &Node) -> bool {
        let fate = self.fates.get(&(node.place.file, node.place.span.start));
        fate.is_some_and(|fate| fate.disposition == Disposition::Mapped)
    }

    /// A finding of a rule at a place.
    pub(super) fn rule(&mut self, rule: &'static str, place: &Place, message: String, label: &str) {
        let finding = crate::rules::finding(rule, place.span.clone(), message).label(label);
        self.finding(place, finding);
    }

    /// A finding that is no rule's.
    pub(super) fn finding(&mut self, place: &Place, finding: Finding) {
        let key = (finding.rule, place.file, place.span.start, finding.message.clone());
        if self.found.insert(key) {
            self.findings.push((place.clone(), finding));
        }
    }

    /// The door does nearly the same as a directive says, and as all others like it: told once.
    pub(super) fn inexact_once(&mut self, place: &Place, difference: &'static str) {
        if self.told.insert(difference) {
            self.inexact(place, difference);
        }
    }

    /// The door does nearly the same as a directive says.
    pub(super) fn inexact(&mut self, place: &Place, difference: &str) {
        let finding = Finding::warning("inexact-import", 0..0, difference.to_owned());
        self.finding(place, finding.label("the door does nearly the same"));
    }

    /// nginx forwards a path here that it has decoded.
    pub(super) fn decodes(&mut self, place: &Place) {
        self.decoding.get_or_insert_with(|| (place.clone(), 0)).1 += 1;
    }

    /// Says once what all paths that nginx decodes differ in: nearly every site has some.
    fn decoded(&mut self) {
        let Some((place, count)) = self.decoding.take() else { return };
        let finding = Finding::warning("inexact-import", 0..0, DECODED.to_owned());
        let others =
            if count > 1 { format!("; so do {} others", count - 1) } else { String::new() };
        let label = format!("the path changes on its way here, decoded{others}");
        let help = "if clients send escaped slashes, forward the path as it is, without one in `proxy_pass`";
        self.finding(&place, finding.label(label).help(help));
    }

    /// Judges a regular expression, wherever it stands.
    pub(super) fn expression(&mut self, text: &str, place: &Place) {
        self.expressions += 1;
        if self.expressions <= EXPRESSIONS_MAX && super::regex::is_catastrophic(text) {
            let message =
                format!("the expression {} can take exponential time", crate::finding::quote(text));
            self.rule("catastrophic-regex", place, message, "repetition within repetition");
        }
    }

    /// A name for a table that no other of its kind has: letters, digits, `-`, `_`, `.`.
    pub(super) fn name(&mut self, kind: &'static str, wanted: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut base: String = String::new();
        for character in wanted.chars().take(56) {
            let character = if allowed(character) { character } else { '-' };
            if !(character == '-' && base.ends_with('-')) {
                base.push(character);
            }
        }
        let base = base.trim_matches('-');
        let base = if base.is_empty() { kind } else { base };
        let mut name = base.to_owned();
        let mut number = 1_usize;
        while !self.names.insert((kind, name.clone())) {
            number += 1;
            name = format!("{base}-{number}");
        }
        name
    }

    /// Writes the TOML, and what became of everything into the ledger.
    pub(super) fn finish(mut self, ledger: &mut Ledger) -> Toml {
        self.decoded();
        let limits = self.limit_tables();
        for fate in self.fates.into_values() {
            ledger.directive(&fate.name, &fate.place, fate.disposition);
        }
        for (place, finding) in self.findings {
            ledger.finding(&place, finding);
        }
        let mut toml = Toml::default();
        if let Some(source) = ledger.source(0) {
            toml.comment(&format!("Imported from {}.", source.name));
        }
        if let Some((workers, place)) = self.workers {
            toml.table(&["door"], &place);
            toml.key("workers", &Value::Integer(workers), &place);
        }
        let sections = [
            ("listen", self.listeners),
            ("pools", self.pools),
            ("routes", self.routes),
            ("limits", limits),
        ];
        for (section, tables) in sections {
            for table in tables {
                toml.table(&[section, &table.name], &table.place);
                for note in &table.notes {
                    toml.comment(note);
                }
                for (key, value, place) in &table.keys {
                    toml.key(key, value, place);
                }
            }
        }
        toml
    }
}
