//! The words behind `bind` and `server`: each with its arguments is one item.

use super::super::Place;
use super::account::Account;
use super::items::{Item, Line};
use super::keywords::Treatment;
use crate::finding::{Finding, did_you_mean, quote};

/// A known option: its name, how many arguments it takes, what becomes of it.
pub(super) type Known = (&'static str, usize, Treatment);

/// One option of a line.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Its name.
    pub(super) name: String,
    /// Its first argument; empty without.
    pub(super) value: String,
    /// What becomes of it.
    pub(super) item: Item,
    /// Where it stands.
    pub(super) place: Place,
}

/// Splits a line behind its first `head` words into options, and settles those whose fate does
/// not depend on anything. `known` is sorted in groups, as [`find`] takes it.
pub(super) fn split(
    line: &Line,
    head: usize,
    known: &[&[Known]],
    account: &mut Account,
) -> Vec<Choice> {
    account.items.cut(line, head);
    let mut choices = Vec::new();
    let mut at = head;
    while at < line.words.len() {
        let name = line.text(at);
        let entry = find(known, name);
        let count = entry.map_or(0, |(_, count, _)| *count);
        let end = (at + 1 + count).min(line.words.len());
        let item = account.items.part(line, at, end);
        let place = line.place_of(at, end);
        let variable = line.words.iter().take(end).skip(at).find_map(|w| w.variable.as_deref());
        match (entry, variable) {
            (None, _) => unknown(name, item, &place, known, account),
            (Some((_, _, Treatment::Ignored(reason))), _) => account.items.ignored(item, *reason),
            (Some((_, _, Treatment::Refused(reason))), _) => account.items.refused(item, *reason),
            (Some(_), Some(variable)) => {
                let reason = format!("the environment variable `{variable}` is not known here");
                account.items.refused(item, reason);
            }
            (Some(_), None) if end < at + 1 + count => {
                account.items.refused(item, "its value is missing");
                let message = format!("{} needs a value", quote(name));
                let finding = Finding::error("syntax", 0..0, message);
                account.ledger.finding(&place, finding.label("here").help("write it behind"));
            }
            (Some(_), None) => choices.push(Choice {
                name: name.to_owned(),
                value: if count > 0 { line.text(at + 1).to_owned() } else { String::new() },
                item,
                place,
            }),
        }
        at = end;
    }
    choices
}

fn find<'k>(known: &[&'k [Known]], name: &str) -> Option<&'k Known> {
    known.iter().find_map(|group| group.iter().find(|(known, _, _)| *known == name))
}

fn unknown(name: &str, item: Item, place: &Place, known: &[&[Known]], account: &mut Account) {
    account.items.refused(item, "HAProxy 2.6 to 3.0 knows no such option");
    let names = known.iter().flat_map(|group| group.iter().map(|(name, _, _)| *name));
    let message = format!("unknown option {}", quote(name));
    let finding = Finding::error("unknown-directive", 0..0, message).label("not known here");
    account.ledger.finding(place, finding.help_maybe(did_you_mean(name, names)));
}

/// The last choice of this name.
pub(super) fn last<'c>(choices: &'c [Choice], name: &str) -> Option<&'c Choice> {
    choices.iter().rev().find(|choice| choice.name == name)
}
