//! Every keyword of HAProxy's manual (2.6 to 3.0, and those it removed), and what becomes of it.
//!
//! A keyword is one to three words (`mode`, `option httplog`, `capture request header`); of two
//! that fit a line, the longer one counts. Those that depend on their arguments or on other
//! lines are [`Treatment::Own`]: the files beside this folder treat them.
//! Invariant: a keyword that is in none of the tables is unknown, and is said to be.

mod global;
mod other;
mod proxy;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(super) use other::OtherSection;
pub(super) use proxy::{NO_TABLES, RULES_OF_TCP};

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It depends: some file beside this folder decides.
    Own,
    /// Left out because.
    Ignored(&'static str),
    /// Not possible because.
    Refused(&'static str),
}

/// Keywords that share a treatment.
pub(super) type Group = (Treatment, &'static [&'static str]);

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// The process.
    Global,
    /// What the proxies behind it inherit.
    Defaults,
    /// Where clients arrive.
    Frontend,
    /// Where servers are.
    Backend,
    /// Both in one.
    Listen,
    /// Any other.
    Other(&'static OtherSection),
}

impl SectionKind {
    /// Whether it holds the keywords of proxies.
    pub(super) fn is_proxy(self) -> bool {
        match self {
            Self::Defaults | Self::Frontend | Self::Backend | Self::Listen => true,
            Self::Global | Self::Other(_) => false,
        }
    }

    /// Whether clients arrive here.
    pub(super) fn has_clients(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }

    /// Whether servers are here.
    pub(super) fn has_servers(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }

    /// Whether its first line must name it.
    pub(super) fn needs_name(self) -> bool {
        matches!(self, Self::Frontend | Self::Backend | Self::Listen)
    }
}

/// The section a keyword opens.
pub(super) fn section(word: &str) -> Option<SectionKind> {
    Some(match word {
        "global" => SectionKind::Global,
        "defaults" => SectionKind::Defaults,
        "frontend" => SectionKind::Frontend,
        "backend" => SectionKind::Backend,
        "listen" => SectionKind::Listen,
        _ => SectionKind::Other(other::SECTIONS.iter().find(|section| section.name == word)?),
    })
}

/// The keywords that open sections.
pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    let proxies = ["global", "defaults", "frontend", "backend", "listen"];
    proxies.into_iter().chain(other::SECTIONS.iter().map(|section| section.name))
}

type Table = BTreeMap<&'static str, Treatment>;

static GLOBAL: LazyLock<Table> = LazyLock::new(|| table(global::GROUPS));
static PROXY: LazyLock<Table> = LazyLock::new(|| table(proxy::GROUPS));

fn table(groups: &[Group]) -> Table {
    groups
        .iter()
        .flat_map(|(treatment, names)| names.iter().map(|name| (*name, *treatment)))
        .collect()
}

/// What becomes of a line of this kind of section; `None` when its keyword is unknown.
pub(super) fn treatment(kind: SectionKind, words: &[&str]) -> Option<Treatment> {
    match kind {
        SectionKind::Global => longest(&GLOBAL, words).map(|(_, treatment)| treatment),
        SectionKind::Other(section) => section.treatment(words.first().copied()?),
        SectionKind::Defaults
        | SectionKind::Frontend
        | SectionKind::Backend
        | SectionKind::Listen => longest(&PROXY, words).map(|(_, treatment)| treatment),
    }
}

/// The known words of a kind of section, for those who misspell one.
pub(super) fn known(kind: SectionKind) -> Vec<&'static str> {
    match kind {
        SectionKind::Global => GLOBAL.keys().copied().collect(),
        SectionKind::Other(section) => section.keywords.to_vec(),
        SectionKind::Defaults
        | SectionKind::Frontend
        | SectionKind::Backend
        | SectionKind::Listen => PROXY.keys().copied().collect(),
    }
}

/// The keyword of a line as it is shown: as many words as are known together, at least one.
pub(super) fn name_of(words: &[&str]) -> String {
    let proxy = longest(&PROXY, words).map_or(1, |(count, _)| count);
    words.iter().take(proxy).copied().collect::<Vec<_>>().join(" ")
}

/// The longest keyword that the words begin with, in words, and its treatment.
fn longest(table: &Table, words: &[&str]) -> Option<(usize, Treatment)> {
    let (first, others) = words.split_first()?;
    // An action may carry arguments: `set-var(txn.x)`.
    let words: Vec<&str> =
        std::iter::once(*first).chain(others.iter().take(2).map(|word| bare(word))).collect();
    (1..=words.len()).rev().find_map(|count| {
        let mut name = words.get(..count)?.join(" ");
        if count == 1 && name.starts_with("tune.") {
            // Their names change from version to version, and none of them matters here.
            name = "tune.*".to_owned();
        }
        table.get(name.as_str()).map(|treatment| (count, *treatment))
    })
}

/// A word without the arguments behind it; every action of a script is one.
fn bare(word: &str) -> &str {
    let name = word.split('(').next().unwrap_or(word);
    if name.starts_with("lua.") { "lua.*" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keyword_is_listed_twice() {
        for groups in [global::GROUPS, proxy::GROUPS] {
            let mut names: Vec<&str> =
                groups.iter().flat_map(|(_, names)| *names).copied().collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn the_longest_keyword_counts() {
        let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        assert_eq!(name_of(&words("capture request header Host len 9")), "capture request header");
        assert_eq!(
            name_of(&words("http-request set-var(txn.a) str(x)")),
            "http-request set-var(txn.a)"
        );
        assert_eq!(name_of(&words("mode http")), "mode");
        assert_eq!(name_of(&words("nonsense at all")), "nonsense");
        let unknown = treatment(SectionKind::Backend, &words("option nonsense"));
        assert_eq!(unknown, None);
    }
}
