//! What every part of the importer writes into: dispositions and findings.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Place;
use super::super::ledger::Ledger;
use super::items::{Item, Items, Line};
use super::options::Choice;
use crate::finding::Finding;
use crate::rules;

/// Lines of back ends that are read for rules that lead there, at most, each time counted.
const WORK_MAX: usize = 500_000;

/// Items and findings of one import.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What becomes of lines.
    pub(super) items: Items,
    /// Servers so far.
    pub(super) servers: usize,
    /// Addresses to listen on so far.
    pub(super) addresses: usize,
    /// Server names of front ends of plain TCP so far.
    pub(super) server_names: usize,
    /// Whether it was told that the door changes its own errors too.
    pub(super) tells_errors: bool,
    spent: usize,
    /// Files and findings.
    pub(super) ledger: Ledger,
    /// The options of `default-server` lines that were split: several proxies may inherit one.
    pub(super) defaults: BTreeMap<Item, Vec<Choice>>,
    /// Differences that were told.
    different: BTreeSet<(Item, String)>,
    /// Missing timeouts that were told: file, place, keyword.
    pub(super) missing: BTreeSet<(usize, usize, &'static str)>,
}

impl Account {
    /// A rule is broken at `place`.
    pub(super) fn breaks(&mut self, rule: &'static str, place: &Place, message: String) {
        let finding = rules::finding(rule, place.span.clone(), message);
        self.ledger.finding(place, finding.label("here"));
    }

    /// The door does nearly the same as `line` says: how it differs.
    pub(super) fn differs(&mut self, line: &Line, difference: &str) {
        // A line is read once for each front end that leads to it.
        if !self.different.insert((line.item, difference.to_owned())) {
            return;
        }
        let finding = Finding::warning("inexact-import", 0..0, difference.to_owned());
        let finding = finding.label("the door does nearly the same");
        self.ledger.finding(&line.place(), finding);
    }

    /// Takes `lines` from the work that may still be done; false when too little is left.
    pub(super) fn spend(&mut self, lines: usize) -> bool {
        self.spent = self.spent.saturating_add(lines);
        self.spent <= WORK_MAX
    }

    /// Settles an item by a result: mapped, or refused for the reason.
    pub(super) fn result<T>(
        &mut self,
        item: Item,
        result: Result<T, impl Into<String>>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.items.mapped(item);
                Some(value)
            }
            Err(reason) => {
                self.items.refused(item, reason);
                None
            }
        }
    }
}
