//! Proxies with what they inherit.
//!
//! A proxy takes its settings from the `defaults` section it names with `from`, or from the last
//! one before it; a `defaults` section may name another. Of several lines of one keyword the
//! last counts, and a proxy's own lines count before inherited ones; rules are kept in order,
//! inherited ones first.

use std::collections::BTreeMap;

use super::items::Line;
use super::keywords::SectionKind;
use super::section::Section;

/// `defaults` that name one another, at most.
const INHERITED_MAX: usize = 16;

/// A proxy that is not a `defaults` section.
#[derive(Clone, Debug)]
pub(super) struct Proxy<'s> {
    /// The section.
    pub(super) section: &'s Section,
    /// The `defaults` it inherits from, the nearest first.
    pub(super) inherited: Vec<&'s Section>,
}

/// Lines of all proxies, inherited ones counted for each, at most: more would take too long.
const LINES_MAX: usize = 500_000;

/// Every proxy in file order, as far as they are not too many.
pub(super) fn proxies(sections: &[Section]) -> Vec<Proxy<'_>> {
    let mut proxies = Vec::new();
    let mut lines = 0;
    let mut last: Vec<&Section> = Vec::new();
    let mut named: BTreeMap<&str, Vec<&Section>> = BTreeMap::new();
    for section in sections {
        let of_name = |name: &str| named.get(name).cloned().unwrap_or_default();
        match section.kind {
            SectionKind::Defaults => {
                let inherited = section.from.as_deref().map(of_name).unwrap_or_default();
                let chain = std::iter::once(section).chain(inherited).take(INHERITED_MAX);
                last = chain.collect();
                named.insert(&section.name, last.clone());
            }
            SectionKind::Frontend | SectionKind::Backend | SectionKind::Listen => {
                let inherited = section.from.as_deref().map_or_else(|| last.clone(), of_name);
                let proxy = Proxy { section, inherited };
                lines += 1 + proxy.lines_count();
                if lines > LINES_MAX {
                    break;
                }
                proxies.push(proxy);
            }
            SectionKind::Global | SectionKind::Other(_) => {}
        }
    }
    proxies
}

impl<'s> Proxy<'s> {
    /// Its name.
    pub(super) fn name(&self) -> &'s str {
        &self.section.name
    }

    /// How many lines it has, inherited ones included.
    pub(super) fn lines_count(&self) -> usize {
        let inherited: usize = self.inherited.iter().map(|section| section.lines.len()).sum();
        self.section.lines.len() + inherited
    }

    /// The line of `keyword` that counts: its own last one, or else the nearest inherited one.
    pub(super) fn last(&self, keyword: &str) -> Option<&'s Line> {
        let sections = std::iter::once(self.section).chain(self.inherited.iter().copied());
        sections
            .into_iter()
            .find_map(|section| section.lines.iter().rev().find(|line| is_keyword(line, keyword)))
    }

    /// The line that counts, unless it begins with `no`.
    pub(super) fn set(&self, keyword: &str) -> Option<&'s Line> {
        self.last(keyword).filter(|line| !line.is_negated)
    }

    /// All its lines, inherited ones first, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'s Line> {
        let inherited = self.inherited.iter().rev().flat_map(|section| section.lines.iter());
        inherited.chain(self.section.lines.iter())
    }

    /// All its lines of `keyword`, inherited ones first.
    pub(super) fn all(&self, keyword: &'s str) -> impl Iterator<Item = &'s Line> {
        self.lines().filter(move |line| is_keyword(line, keyword) && !line.is_negated)
    }

    /// Whether it speaks HTTP; HAProxy's own default is plain TCP.
    pub(super) fn is_http(&self) -> bool {
        self.last("mode").is_some_and(|line| line.text(1) == "http")
    }

    /// Whether it passes on connections as they come.
    pub(super) fn is_tcp(&self) -> bool {
        self.last("mode").is_none_or(|line| line.text(1) == "tcp")
    }

    /// Whether it is turned off.
    pub(super) fn is_disabled(&self) -> bool {
        let switch = |line: &&Line| matches!(line.text(0), "disabled" | "enabled");
        let own = self.section.lines.iter().rev().find(switch);
        let inherited = || self.inherited.iter().find_map(|s| s.lines.iter().rev().find(switch));
        own.or_else(inherited).is_some_and(|line| line.text(0) == "disabled")
    }
}

/// Whether a line begins with the words of `keyword`.
pub(super) fn is_keyword(line: &Line, keyword: &str) -> bool {
    keyword.split(' ').enumerate().all(|(index, word)| line.text(index) == word)
}
