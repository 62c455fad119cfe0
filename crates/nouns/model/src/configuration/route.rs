//! Routes: which requests, and what happens to them.

use std::time::Duration;

use super::{Class, Treatment};
use crate::Name;

/// A route (`[routes.NAME]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name in the configuration.
    pub name: Name,
    /// Routes with more are asked first, whatever their hosts and paths. 0 (the default) to 1,000.
    pub priority: u16,
    /// Listeners it serves, by name; empty means all.
    pub listeners: Vec<Name>,
    /// Hosts it serves; empty means any.
    pub hosts: Vec<HostPattern>,
    /// Paths it serves.
    pub path: PathPattern,
    /// Methods it serves, upper case; empty means any.
    pub methods: Vec<Name>,
    /// Headers a request must have.
    pub headers: Vec<HeaderMatch>,
    /// What happens.
    pub action: Action,
    /// Replaces the listener's limit for this route.
    pub body_bytes_max: Option<u64>,
    /// Replaces the pool's total timeout for this route.
    pub total_timeout: Option<Duration>,
    /// How important its requests are, unless a registered client's class says otherwise.
    pub class: Option<Class>,
    /// What is done to its requests and their responses besides passing them on.
    pub treatment: Treatment,
}

/// A host a route serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host, lower case, without port.
    Exact(Name),
    /// Exactly one label before this suffix; `*.example.com` holds `.example.com`.
    Wildcard(Name),
}

/// A path a route serves. Compared with the canonical path, the one that is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(Name),
    /// This path and everything below it: `/api` serves `/api` and `/api/x`, not `/apix`.
    Prefix(Name),
    /// Every path that begins with these letters: `/img` serves `/img`, `/img/x` and `/imgx`.
    Start(Name),
    /// Segment by segment.
    Template(Vec<TemplateSegment>),
    /// Every path in which this regular expression matches somewhere: the syntax of the `regex`
    /// crate without Unicode, since paths are ASCII. At most [`REGEXES_MAX`] in a configuration, each
    /// of which compiles within [`REGEX_COMPILED_BYTES_MAX`].
    Regex(Name),
}

/// Regular expressions in one configuration, at most.
pub const REGEXES_MAX: usize = 1_000;

/// Bytes of memory of one compiled regular expression, at most: 256 KiB.
pub const REGEX_COMPILED_BYTES_MAX: usize = 256 << 10;

impl PathPattern {
    /// Bytes of a matching path that the pattern itself stands for; what follows is the rest
    /// that stays when the prefix is replaced.
    #[must_use]
    pub fn prefix_length(&self) -> usize {
        match self {
            Self::Exact(path) | Self::Start(path) => path.len(),
            Self::Prefix(path) => path.strip_suffix('/').unwrap_or(path).len(),
            Self::Template(_) | Self::Regex(_) => 0,
        }
    }
}

/// One segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSegment {
    /// This text.
    Literal(Name),
    /// `{name}`: any one segment that is not empty.
    Parameter(Name),
    /// `{*name}`, last only: the rest of the path.
    Rest(Name),
}

/// A header a request must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The name, lower case.
    pub name: Name,
    /// The exact value; `None` asks only for presence.
    pub value: Option<Name>,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forward to a pool.
    Forward {
        /// Index into `Configuration::pools`.
        pool: usize,
        /// How the path that goes to the server differs from the request's.
        rewrite: Option<Rewrite>,
    },
    /// Redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The target; `{host}`, `{path}` and `{query}` (with its `?`) are replaced.
        location: Name,
    },
    /// Answer with a fixed response.
    Respond {
        /// 200 to 599.
        status: u16,
        /// The body, at most 64 KiB.
        body: Name,
        /// The content type.
        content_type: Name,
    },
}

/// How the path that goes to a server differs from the request's; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// What the pattern, a prefix or a start, stands for is replaced by this path, which begins
    /// with `/`; the rest stays.
    Prefix(Name),
    /// The whole path is replaced by these parts, one after the other. Only with a
    /// [`PathPattern::Regex`].
    Path(Vec<PathPart>),
}

/// A part of a path that replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// This text.
    Text(Name),
    /// What the group of this number of the route's regular expression matched; 0 is all that it
    /// matched. Nothing where the group took no part.
    Group(usize),
}
