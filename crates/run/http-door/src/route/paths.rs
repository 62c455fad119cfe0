//! The paths of one host: which routes a path may take, found without looking at all of them.
//!
//! Exact paths and prefixes are found by hash, starts by one search in their order; templates and
//! regular expressions are tried one after the other. A regular expression takes time in
//! proportion to the path, whatever it is.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use model::Name;
use model::configuration::{PathPattern, TemplateSegment};

/// The routes of one host, by index, under their paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<Name, Vec<usize>>,
    pub(super) templates: Vec<usize>,
    /// Indexes among the router's regular expressions.
    pub(super) regexes: Vec<usize>,
    prefixes: HashMap<Name, Vec<usize>>,
    /// Of which lengths there are prefixes, a bit each, so that others are not hashed.
    lengths: u128,
    starts: BTreeMap<Name, Vec<usize>>,
}

impl Paths {
    /// Adds a route, and which of the router's regular expressions is its, if it has one.
    pub(super) fn insert(&mut self, path: &PathPattern, index: usize, regex: Option<usize>) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.clone()).or_default().push(index),
            PathPattern::Template(_) => self.templates.push(index),
            PathPattern::Regex(_) => self.regexes.extend(regex),
            PathPattern::Prefix(path) => {
                let trimmed = path.strip_suffix('/').unwrap_or(path);
                self.lengths |= bit_of(trimmed);
                self.prefixes.entry(trimmed.into()).or_default().push(index);
            }
            PathPattern::Start(text) => self.starts.entry(text.clone()).or_default().push(index),
        }
    }

    /// The routes of exactly this path.
    pub(super) fn exact(&self, path: &str) -> &[usize] {
        self.exact.get(path).map_or(&[], Vec::as_slice)
    }

    /// The routes of the prefixes and starts of `path`, the longest first; of the same length the
    /// prefix, which is the narrower.
    pub(super) fn beginnings<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = &'a Vec<usize>> + 'a {
        let known = prefixes_of(path).filter(|prefix| self.lengths & bit_of(prefix) != 0);
        // The empty one is written `/`.
        let found = |prefix: &str| Some((prefix.len().max(1), self.prefixes.get(prefix)?));
        let mut prefixes = known.filter_map(found).peekable();
        let mut starts = self.starts_of(path).peekable();
        std::iter::from_fn(move || {
            let length = prefixes.peek().map_or(0, |(length, _)| *length);
            let longer = starts.next_if(|(start, _)| *start > length);
            longer.or_else(|| prefixes.next()).map(|(_, routes)| routes)
        })
    }

    /// The starts of `path` with their lengths, the longest first.
    ///
    /// Of all texts up to the path in their order, the last begins with every start of the path. So
    /// where it parts from the path, longer ones need not be looked for.
    fn starts_of<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (usize, &'a Vec<usize>)> + 'a {
        let mut rest = Some(path);
        std::iter::from_fn(move || {
            loop {
                let up_to = (Bound::Unbounded, Bound::Included(rest?));
                let (text, routes) = self.starts.range::<str, _>(up_to).next_back()?;
                let pairs = text.bytes().zip(path.bytes());
                let shared = pairs.take_while(|(one, other)| one == other).count();
                if shared == text.len() {
                    rest = shared.checked_sub(1).and_then(|shorter| path.get(..shorter));
                    return Some((shared, routes));
                }
                rest = path.get(..shared);
            }
        })
    }
}

/// The bit of a prefix's length; all that are longer than 127 share one.
fn bit_of(prefix: &str) -> u128 {
    1 << prefix.len().min(127)
}

/// The prefixes of a path at segment borders, longest first: `/a/b` gives `/a/b`, `/a`, ``.
fn prefixes_of(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(path);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.rfind('/').and_then(|slash| current.get(..slash));
        Some(current)
    })
}

pub(super) fn template_matches(segments: &[TemplateSegment], path: &str) -> bool {
    let mut rest = path.strip_prefix('/');
    for segment in segments {
        if matches!(segment, TemplateSegment::Rest(_)) {
            return rest.is_some();
        }
        let Some(current) = rest else { return false };
        let (text, after) = match current.split_once('/') {
            Some((text, after)) => (text, Some(after)),
            None => (current, None),
        };
        let fits = match segment {
            TemplateSegment::Literal(literal) => **literal == *text,
            TemplateSegment::Parameter(_) => !text.is_empty(),
            TemplateSegment::Rest(_) => true,
        };
        if !fits {
            return false;
        }
        rest = after;
    }
    rest.is_none()
}
