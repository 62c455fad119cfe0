//! What a route of this door can ask of a request, and how such conditions meet.
//!
//! HAProxy asks its rules in their order; this door takes the most specific route. A
//! [`Cell`] is a set of requests a route can name. Cells are closed under intersection, so for
//! every request one cell is the narrowest that holds it; see `routes` for what follows from it.
//! A condition that asks for more than cells say may or may not hold for the requests of one: of
//! three truths ([`Truth`]) it has the middle one there.
//!
//! A route for a prefix also matches the bare prefix, and one for GET also HEAD; a cell does not
//! ([`Cell::covers`]), the route written for it does ([`Cell::takes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(super) use super::pattern::Path;

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
        let host = narrower(&self.host, &other.host)?;
        let path = self.path.and(&other.path)?;
        Some(Self { host, path, method, headers })
    }

    /// Whether every request of `other` is one of these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.covers_but_path_and_method(other)
            && (self.method.is_none() || self.method == other.method)
            && self.path.covers(&other.path)
    }

    /// Whether the route written for this cell takes every request of `other`.
    pub(super) fn takes(&self, other: &Self) -> bool {
        let is_head =
            self.method.as_deref() == Some("GET") && other.method.as_deref() == Some("HEAD");
        self.covers_but_path_and_method(other)
            && (is_head || self.method.is_none() || self.method == other.method)
            && (self.is_bare(other) || self.path.covers(&other.path))
    }

    /// Whether the path of `other` is what these paths are below.
    pub(super) fn is_bare(&self, other: &Self) -> bool {
        match (&self.path, &other.path) {
            (Path::Below(prefix), Path::Exact(path)) => prefix == path,
            _ => false,
        }
    }

    fn covers_but_path_and_method(&self, other: &Self) -> bool {
        let headers = self.headers.iter().all(|(name, value)| {
            other.headers.get(name).is_some_and(|given| value.is_none() || value == given)
        });
        headers && host_covers(&self.host, &other.host)
    }

    /// Grows with every narrowing: of two cells where one covers the other, the wider has less.
    /// `by_letter`: also where letters fold, or expressions are asked.
    pub(super) fn depth(&self, by_letter: bool) -> usize {
        let host = match self.host {
            Host::Any => 0,
            Host::Wildcard(_) => 1,
            Host::Exact(_) => 2,
        };
        let path = match &self.path {
            path if by_letter => path.depth(),
            Path::Any => 0,
            Path::Below(path) => 2 * path.len() + 1,
            Path::Exact(path) => 2 * path.len() + 2,
            Path::Like(like) => 2 * like.start.len(),
        };
        // HEAD counts more than GET, since the route for GET takes it too.
        let method = self.method.as_ref().map_or(0, |method| 1 + usize::from(method == "HEAD"));
        let headers: usize =
            self.headers.values().map(|value| 1 + usize::from(value.is_some())).sum();
        host + path + method + headers
    }
}

fn narrower(a: &Host, b: &Host) -> Option<Host> {
    if host_covers(a, b) {
        return Some(b.clone());
    }
    host_covers(b, a).then(|| a.clone())
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

/// Whether something holds for the requests of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    /// For none.
    No,
    /// For some, perhaps for none or for all.
    Maybe,
    /// For all.
    Yes,
}

impl Truth {
    fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// A condition as HAProxy writes it, over cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Always or never.
    Constant(bool),
    /// Nobody knows.
    Unknown,
    /// A cell.
    Is(Cell),
    /// Hosts that cells do not say.
    Host(super::hosts::Test),
    /// What is nearly asked, and what exactly.
    Near(Box<Expression>, Box<Expression>),
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
            Self::Unknown
            | Self::Is(_)
            | Self::Host(_)
            | Self::Near(..)
            | Self::Shared(_)
            | Self::All(_)
            | Self::AnyOf(_) => Self::Not(Box::new(self)),
        }
    }

    /// A request for one of these paths.
    pub(super) fn of_path(path: Path) -> Self {
        if path == Path::Any { Self::Constant(true) } else { Self::Is(Cell::of_path(path)) }
    }

    /// Nobody knows whether it holds, but it does for no request of another cell.
    pub(super) fn perhaps(cell: Cell) -> Self {
        Self::All(vec![Self::Is(cell), Self::Unknown])
    }

    /// Whether it holds for the requests of `cell`, which must be one of a set that is closed
    /// under intersection and holds every cell named here. `nearly`: where the door asks nearly
    /// the same, as if it were the same.
    pub(super) fn truth(&self, cell: &Cell, nearly: bool) -> Truth {
        let of = |inner: &Self| inner.truth(cell, nearly);
        match self {
            Self::Constant(value) => Truth::from(*value),
            Self::Unknown => Truth::Maybe,
            Self::Is(wider) => Truth::from(wider.covers(cell)),
            Self::Host(test) => test.truth(&cell.host),
            Self::Near(near, _) if nearly => of(near),
            Self::Near(_, exact) => of(exact),
            Self::Shared(inner) => of(inner),
            Self::Not(inner) => of(inner).negated(),
            Self::All(all) => all.iter().map(of).min().unwrap_or(Truth::Yes),
            Self::AnyOf(any) => any.iter().map(of).max().unwrap_or(Truth::No),
        }
    }

    /// Whether it asks anything that matches `asks`, of cells.
    pub(super) fn asks(&self, asks: fn(&Cell) -> bool) -> bool {
        match self {
            Self::Constant(_) | Self::Unknown | Self::Host(_) => false,
            Self::Is(cell) => asks(cell),
            Self::Near(near, exact) => near.asks(asks) || exact.asks(asks),
            Self::Shared(inner) => inner.asks(asks),
            Self::Not(inner) => inner.asks(asks),
            Self::All(many) | Self::AnyOf(many) => many.iter().any(|inner| inner.asks(asks)),
        }
    }

    /// Adds the cells it names, and takes each mention from `rest`; `None` when that is used up.
    pub(super) fn cells(&self, into: &mut BTreeSet<Cell>, rest: &mut usize) -> Option<()> {
        *rest = rest.checked_sub(1)?;
        match self {
            Self::Constant(_) | Self::Unknown | Self::Host(_) => {}
            Self::Is(cell) => drop(into.insert(cell.clone())),
            Self::Near(near, exact) => {
                near.cells(into, rest)?;
                exact.cells(into, rest)?;
            }
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
