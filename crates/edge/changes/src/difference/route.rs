//! Routes: which requests they take, and what becomes of them.
//!
//! A route that stands twice, for exact and for wildcard hosts, is told once with all its hosts.

use std::collections::{BTreeMap, BTreeSet};

use model::configuration::{
    Action, Authentication, HeaderMatch, HostPattern, PathPart, PathPattern, Rewrite, Route,
    TemplateSegment,
};
use model::{Configuration, Name};

use super::lines::{Concern, Lines};
use super::{Pair, paired, treatment};
use crate::words;

/// A route with all its hosts, and the name of its pool in place of an index.
#[derive(Debug)]
struct Whole<'a> {
    route: &'a Route,
    hosts: Vec<&'a HostPattern>,
    pool: Option<&'a Name>,
    /// The same of the pool that is asked who may use it.
    asks: Option<&'a Name>,
}

pub(super) fn tell(from: &Configuration, to: &Configuration, lines: &mut Lines) {
    let (before, after) = (wholes(from), wholes(to));
    for pair in paired(&before, &after, |whole| &whole.route.name) {
        tell_one(pair, lines);
    }
    let common = |wholes: &[Whole<'_>], others: &[Whole<'_>]| -> Vec<Name> {
        let others: BTreeSet<&Name> = others.iter().map(|whole| &whole.route.name).collect();
        let names = wholes.iter().map(|whole| &whole.route.name);
        names.filter(|name| others.contains(name)).cloned().collect()
    };
    let (order, order_after) = (common(&before, &after), common(&after, &before));
    if let Some((was, is)) = order.iter().zip(&order_after).find(|(was, is)| was != is) {
        lines.say(Concern::Traffic, || {
            let (was, is) = (words::text(was), words::text(is));
            format!("routes: they are tried in another order: {is} now comes before {was}")
        });
    }
}

fn wholes(configuration: &Configuration) -> Vec<Whole<'_>> {
    let mut places: BTreeMap<&Name, usize> = BTreeMap::new();
    let mut wholes: Vec<Whole<'_>> = Vec::new();
    for route in &configuration.routes {
        let at = *places.entry(&route.name).or_insert(wholes.len());
        if at == wholes.len() {
            let pool = match route.action {
                Action::Forward { pool, .. } => configuration.pools.get(pool),
                Action::Redirect { .. } | Action::Respond { .. } => None,
            };
            let asks = match &route.treatment.authentication {
                Some(Authentication::Forward(forward)) => configuration.pools.get(forward.pool),
                Some(Authentication::Basic(_) | Authentication::Jwt(_)) | None => None,
            };
            wholes.push(Whole {
                route,
                hosts: Vec::new(),
                pool: pool.map(|pool| &pool.name),
                asks: asks.map(|pool| &pool.name),
            });
        }
        wholes[at].hosts.extend(&route.hosts);
    }
    wholes
}

fn tell_one<'a>(pair: Pair<'_, Whole<'a>>, lines: &mut Lines) {
    let (from, to) = match pair {
        (Some(from), Some(to)) => (from, to),
        (Some(gone), None) => return tell_whole(gone, "removed", lines),
        (None, Some(new)) => return tell_whole(new, "added", lines),
        (None, None) => return,
    };
    let Route {
        name,
        priority,
        hosts: _,
        path,
        methods,
        headers,
        action,
        body_bytes_max,
        total_timeout,
        class,
        listeners,
        treatment: _,
    } = from.route;
    let mut about = lines.about(format!("route {}", words::text(name)));
    // Pools are compared by their names: indexes move when a pool is added.
    let sent = |whole: &Whole<'_>| (whole.pool.cloned(), words_of_action(whole));
    about.traffic("its requests", &sent(from), &sent(to), |(_, words)| words.clone());
    if let (Action::Respond { body, .. }, Action::Respond { body: after, .. }) =
        (action, &to.route.action)
    {
        about.field("body of its answer", body, after, words::name);
    }
    if let (Action::Redirect { location, .. }, Action::Redirect { location: after, .. }) =
        (action, &to.route.action)
    {
        about.field("target of its redirect", location, after, words::name);
    }
    about.traffic("priority", priority, &to.route.priority, u16::to_string);
    about.traffic("hosts", &from.hosts, &to.hosts, |hosts| words_of_hosts(hosts));
    about.traffic("listeners", listeners, &to.route.listeners, |listeners| {
        words_of_listeners(listeners)
    });
    about.traffic("path", path, &to.route.path, words_of_path);
    about.traffic("methods", methods, &to.route.methods, |methods| words_of_methods(methods));
    about.traffic("headers", headers, &to.route.headers, |headers| {
        words::list(headers, |HeaderMatch { name, value }| match value {
            Some(value) => format!("{} = {}", words::text(name), words::text(value)),
            None => words::text(name),
        })
    });
    about.field("body limit", body_bytes_max, &to.route.body_bytes_max, |limit| {
        limit.map_or_else(|| "the listener's".to_owned(), words::size)
    });
    about.field("total timeout", total_timeout, &to.route.total_timeout, |timeout| {
        timeout.map_or_else(|| "the pool's".to_owned(), |timeout| words::duration(&timeout))
    });
    about.field("class", class, &to.route.class, |class| {
        class.unwrap_or_default().name().to_owned()
    });
    let treated = |whole: &Whole<'a>| (&whole.route.treatment, whole.asks);
    treatment::tell(&mut about, treated(from), treated(to));
}

fn tell_whole(whole: &Whole<'_>, what: &str, lines: &mut Lines) {
    let route = whole.route;
    lines.say(Concern::Traffic, || {
        let priority = match route.priority {
            0 => String::new(),
            priority => format!("priority {priority}, "),
        };
        format!(
            "route {}: {what}: {priority}listeners {}, hosts {}, path {}, methods {}: {}",
            words::text(&route.name),
            words_of_listeners(&route.listeners),
            words_of_hosts(&whole.hosts),
            words_of_path(&route.path),
            words_of_methods(&route.methods),
            words_of_action(whole)
        )
    });
}

fn words_of_action(whole: &Whole<'_>) -> String {
    match &whole.route.action {
        Action::Forward { pool: _, rewrite } => {
            let pool = whole.pool.map_or_else(String::new, words::name);
            let rewrite = rewrite.as_ref().map_or_else(String::new, words_of_rewrite);
            format!("pool {pool}{rewrite}")
        }
        Action::Redirect { status, location: _ } => format!("redirect with {status}"),
        Action::Respond { status, body: _, content_type } => {
            format!("answer {status} of type {}", words::text(content_type))
        }
    }
}

fn words_of_rewrite(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::Prefix(prefix) => format!(" with its prefix replaced by {}", words::text(prefix)),
        Rewrite::Path(parts) => {
            let part = |part: &PathPart| match part {
                PathPart::Text(text) => text.replace('$', "$$"),
                PathPart::Group(number @ 0..=9) => format!("${number}"),
                PathPart::Group(number) => format!("${{{number}}}"),
            };
            let path: String = parts.iter().map(part).collect();
            format!(" with its path replaced by {}", words::text(path))
        }
    }
}

fn words_of_listeners(listeners: &[Name]) -> String {
    if listeners.is_empty() { "all".to_owned() } else { words::list(listeners, words::name) }
}

fn words_of_hosts(hosts: &[&HostPattern]) -> String {
    if hosts.is_empty() {
        return "any".to_owned();
    }
    words::list(hosts, |host| match host {
        HostPattern::Exact(host) => words::text(host),
        HostPattern::Wildcard(suffix) => words::text(format_args!("*{suffix}")),
    })
}

fn words_of_methods(methods: &[Name]) -> String {
    if methods.is_empty() { "any".to_owned() } else { words::list(methods, words::name) }
}

fn words_of_path(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => format!("exactly {}", words::text(path)),
        PathPattern::Prefix(path) => format!("{} and below", words::text(path)),
        PathPattern::Start(text) => format!("all that begin with {}", words::text(text)),
        PathPattern::Regex(text) => format!("what matches {}", words::text(text)),
        PathPattern::Template(segments) => {
            let segment = |segment: &TemplateSegment| match segment {
                TemplateSegment::Literal(text) => format!("/{text}"),
                TemplateSegment::Parameter(name) => format!("/{{{name}}}"),
                TemplateSegment::Rest(name) => format!("/{{*{name}}}"),
            };
            words::text(segments.iter().map(segment).collect::<String>())
        }
    }
}
