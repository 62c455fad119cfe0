//! What a route of this door can ask of a request, and how such conditions meet.
//!
//! HAProxy asks its rules in their order; this door takes the most specific route. A
//! [`Cell`] is a set of requests a route can name. Cells are closed under intersection, so for
//! every request one cell is the narrowest that holds it; see `routes` for what follows from it.
//!
//! A route for a prefix also matches the bare prefix, and one for GET also HEAD; a cell does not
//! ([`Cell::covers`]), the route written for it does ([`Cell::takes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A set of hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// Any.
    Any,
    /// One label in front of this suffix, which begins with a dot.
    Wildcard(String),
    /// This one, in lower case.
    Exact(String),
}

/// A set of paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Path {
    /// Any.
    Any,
    /// What begins with this and a slash; it does not end with one itself.
    Below(String),
    /// This one.
    Exact(String),
}

/// A set of requests that one route can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    /// The hosts.
    pub(super) host: Host,
    /// The paths.
    pub(super) path: Path,
    /// The method; `None` is any.
    pub(super) method: Option<String>,
    /// Headers that must be there, in lower case; with a value, this value.
    pub(super) headers: BTreeMap<String, Option<String>>,
}

impl Cell {
    /// All requests.
    pub(super) const ANY: Self =
        Self { host: Host::Any, path: Path::Any, method: None, headers: BTreeMap::new() };

    /// All requests to a host.
    pub(super) fn of_host(host: Host) -> Self {
        Self { host, ..Self::ANY }
    }

    /// All requests for a path.
    pub(super) fn of_path(path: Path) -> Self {
        Self { path, ..Self::ANY }
    }

    /// All requests with a method.
    pub(super) fn of_method(method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..Self::ANY }
    }

    /// All requests with a header.
    pub(super) fn of_header(name: &str, value: Option<&str>) -> Self {
        let headers = [(name.to_ascii_lowercase(), value.map(str::to_owned))].into();
        Self { headers, ..Self::ANY }
    }

    /// The requests in both; `None` when there are none.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let method = match (&self.method, &other.method) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let mut headers = self.headers.clone();
        for (name, value) in &other.headers {
            let merged = match (headers.get(name).cloned().flatten(), value) {
                (Some(a), Some(b)) if a != *b => return None,
                (a, b) => a.or_else(|| b.clone()),
            };
            headers.insert(name.clone(), merged);
        }
        let host = narrower(&self.host, &other.host, host_covers)?;
        let path = narrower(&self.path, &other.path, path_covers)?;
        Some(Self { host, path, method, headers })
    }

    /// Whether every request of `other` is one of these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.covers_but_path_and_method(other)
            && path_covers(&self.path, &other.path)
            && (self.method.is_none() || self.method == other.method)
    }

    /// Whether the route written for this cell takes every request of `other`.
    pub(super) fn takes(&self, other: &Self) -> bool {
        let is_bare = match (&self.path, &other.path) {
            (Path::Below(prefix), Path::Exact(path)) => prefix == path,
            _ => false,
        };
        let is_head =
            self.method.as_deref() == Some("GET") && other.method.as_deref() == Some("HEAD");
        self.covers_but_path_and_method(other)
            && (is_bare || path_covers(&self.path, &other.path))
            && (is_head || self.method.is_none() || self.method == other.method)
    }

    fn covers_but_path_and_method(&self, other: &Self) -> bool {
        let headers = self.headers.iter().all(|(name, value)| {
            other.headers.get(name).is_some_and(|given| value.is_none() || value == given)
        });
        headers && host_covers(&self.host, &other.host)
    }

    /// Grows with every narrowing: of two cells where one covers the other, the wider has less.
    pub(super) fn depth(&self) -> usize {
        let host = match self.host {
            Host::Any => 0,
            Host::Wildcard(_) => 1,
            Host::Exact(_) => 2,
        };
        let path = match &self.path {
            Path::Any => 0,
            Path::Below(path) => 2 * path.len() + 1,
            Path::Exact(path) => 2 * path.len() + 2,
        };
        // HEAD counts more than GET, since the route for GET takes it too.
        let method = self.method.as_ref().map_or(0, |method| 1 + usize::from(method == "HEAD"));
        let headers: usize =
            self.headers.values().map(|value| 1 + usize::from(value.is_some())).sum();
        host + path + method + headers
    }

    /// How this door ranks the route of this cell, first come first; equals keep their order.
    pub(super) fn rank(
        &self,
    ) -> (u8, u8, std::cmp::Reverse<usize>, std::cmp::Reverse<usize>, bool) {
        let host = match self.host {
            Host::Exact(_) => 0,
            Host::Wildcard(_) => 1,
            Host::Any => 2,
        };
        let (path, length) = match &self.path {
            Path::Exact(_) => (0, 0),
            Path::Below(path) => (1, path.len()),
            // The route for any path is the prefix `/`.
            Path::Any => (1, 0),
        };
        let reverse = std::cmp::Reverse;
        (host, path, reverse(length), reverse(self.headers.len()), self.method.is_none())
    }
}

fn narrower<T: Clone>(a: &T, b: &T, covers: fn(&T, &T) -> bool) -> Option<T> {
    if covers(a, b) {
        return Some(b.clone());
    }
    covers(b, a).then(|| a.clone())
}

fn host_covers(wider: &Host, host: &Host) -> bool {
    match (wider, host) {
        (Host::Any, _) => true,
        (Host::Wildcard(suffix), Host::Exact(host)) => {
            host.split_once('.').is_some_and(|(label, _)| {
                !label.is_empty() && host.get(label.len()..) == Some(suffix.as_str())
            })
        }
        (Host::Wildcard(_) | Host::Exact(_), _) => wider == host,
    }
}

fn path_covers(wider: &Path, path: &Path) -> bool {
    match (wider, path) {
        (Path::Any, _) => true,
        (Path::Below(prefix), Path::Below(path)) => prefix == path || is_below(path, prefix),
        (Path::Below(prefix), Path::Exact(path)) => is_below(path, prefix),
        (Path::Below(_), Path::Any) => false,
        (Path::Exact(_), _) => wider == path,
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// A condition as HAProxy writes it, over cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Always or never.
    Constant(bool),
    /// A cell.
    Is(Cell),
    /// An ACL that several rules ask for.
    Shared(Rc<Expression>),
    /// Not this.
    Not(Box<Expression>),
    /// All of these.
    All(Vec<Expression>),
    /// Any of these.
    AnyOf(Vec<Expression>),
}

impl Expression {
    /// Not this one.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Not(inner) => *inner,
            Self::Is(_) | Self::Shared(_) | Self::All(_) | Self::AnyOf(_) => {
                Self::Not(Box::new(self))
            }
        }
    }

    /// Whether it holds for the requests of `cell`, which must be one of a set that is closed
    /// under intersection and holds every cell named here.
    pub(super) fn holds(&self, cell: &Cell) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Is(wider) => wider.covers(cell),
            Self::Shared(inner) => inner.holds(cell),
            Self::Not(inner) => !inner.holds(cell),
            Self::All(all) => all.iter().all(|inner| inner.holds(cell)),
            Self::AnyOf(any) => any.iter().any(|inner| inner.holds(cell)),
        }
    }

    /// Adds the cells it names, and takes each mention from `rest`; `None` when that is used up.
    pub(super) fn cells(&self, into: &mut BTreeSet<Cell>, rest: &mut usize) -> Option<()> {
        *rest = rest.checked_sub(1)?;
        match self {
            Self::Constant(_) => {}
            Self::Is(cell) => drop(into.insert(cell.clone())),
            Self::Shared(inner) => inner.cells(into, rest)?,
            Self::Not(inner) => inner.cells(into, rest)?,
            Self::All(many) | Self::AnyOf(many) => {
                for inner in many {
                    inner.cells(into, rest)?;
                }
            }
        }
        Some(())
    }
}
