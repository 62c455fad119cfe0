//! What becomes of every line and every option word: nothing is dropped in silence.
//!
//! Each line is an item when it is read; lines made of options (`bind`, `server`) are split into
//! one item for each option. A line of `defaults` serves several proxies, so an item may be
//! settled several times: the worst of what became of it counts.
//! Invariant: the items of a line cover all its words once, and every item ends in one directive;
//! one that nobody settled is refused, never left out.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::ledger::Ledger;
use super::super::{Disposition, Place};
use super::lexer::Word;

/// All items of an import.
#[derive(Debug, Default)]
pub(super) struct Items {
    entries: Vec<Entry>,
    /// Those that have become parts of limits.
    limits: BTreeSet<Item>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    place: Place,
    disposition: Option<Disposition>,
}

/// Names one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item(usize);

/// One line of a section.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The whole line, or its head when it was split.
    pub(super) item: Item,
    /// The file it is in.
    pub(super) file: usize,
    /// Its words, without a leading `no` or `default`. Never empty.
    pub(super) words: Vec<Word>,
    /// Whether it began with `no`.
    pub(super) is_negated: bool,
}

impl Line {
    /// The word at `index`; empty when there is none.
    pub(super) fn text(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.text.as_str())
    }

    /// The words from `index` on.
    pub(super) fn texts(&self, index: usize) -> Vec<&str> {
        self.words.iter().skip(index).map(|word| word.text.as_str()).collect()
    }

    /// Where the words from `from` up to `to` stand.
    pub(super) fn place_of(&self, from: usize, to: usize) -> Place {
        Place { file: self.file, span: span_of(self.words.get(from..to).unwrap_or_default()) }
    }

    /// Where the line stands.
    pub(super) fn place(&self) -> Place {
        self.place_of(0, self.words.len())
    }

    /// The first environment variable from word `from` on.
    pub(super) fn variable(&self, from: usize) -> Option<&str> {
        self.words.iter().skip(from).find_map(|word| word.variable.as_deref())
    }
}

/// From the first of `words` to the last.
pub(super) fn span_of(words: &[Word]) -> Range<usize> {
    match (words.first(), words.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => 0..0,
    }
}

impl Items {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an item.
    pub(super) fn add(&mut self, name: &str, place: Place) -> Item {
        self.entries.push(Entry { name: name.to_owned(), place, disposition: None });
        Item(self.entries.len() - 1)
    }

    /// Keeps the first `head` words of a line as its item.
    pub(super) fn cut(&mut self, line: &Line, head: usize) {
        let end = line.place_of(0, head.min(line.words.len())).span.end;
        if let Some(entry) = self.entries.get_mut(line.item.0) {
            entry.place.span.end = end.max(entry.place.span.start);
        }
    }

    /// Gives the words from `from` up to `to` of a line an item of their own.
    pub(super) fn part(&mut self, line: &Line, from: usize, to: usize) -> Item {
        self.add(line.text(from), line.place_of(from, to))
    }

    /// It is in the TOML, or the door does the same by itself.
    pub(super) fn mapped(&mut self, item: Item) {
        self.settle(item, Disposition::Mapped);
    }

    /// The door cannot do it.
    pub(super) fn refused(&mut self, item: Item, reason: impl Into<String>) {
        self.settle(item, Disposition::Refused(reason.into()));
    }

    /// It is left out.
    pub(super) fn ignored(&mut self, item: Item, reason: impl Into<String>) {
        self.settle(item, Disposition::Ignored(reason.into()));
    }

    /// Whether anything was said about it.
    pub(super) fn is_settled(&self, item: Item) -> bool {
        self.entries.get(item.0).is_some_and(|entry| entry.disposition.is_some())
    }

    /// It has become part of a limit, and is nothing else.
    pub(super) fn limits(&mut self, item: Item) {
        self.limits.insert(item);
        self.mapped(item);
    }

    /// Whether it has become part of a limit.
    pub(super) fn is_limit(&self, item: Item) -> bool {
        self.limits.contains(&item)
    }

    /// Where an item stands.
    pub(super) fn place(&self, item: Item) -> Place {
        let entry = self.entries.get(item.0);
        entry.map_or(Place { file: 0, span: 0..0 }, |entry| entry.place.clone())
    }

    fn settle(&mut self, item: Item, disposition: Disposition) {
        let Some(entry) = self.entries.get_mut(item.0) else { return };
        let replaces = match (&entry.disposition, &disposition) {
            (None, _) => true,
            (Some(Disposition::Refused(_)), _) | (Some(_), Disposition::Ignored(_)) => false,
            (Some(_), Disposition::Refused(_)) => true,
            (Some(before), Disposition::Mapped) => *before != Disposition::Mapped,
        };
        if replaces {
            entry.disposition = Some(disposition);
        }
    }

    /// Ends every item as a directive of `ledger`.
    pub(super) fn finish(self, ledger: &mut Ledger) {
        for Entry { name, place, disposition } in self.entries {
            let unsettled =
                || Disposition::Refused("nothing here knows what to make of it".to_owned());
            ledger.directive(&name, &place, disposition.unwrap_or_else(unsettled));
        }
    }
}
