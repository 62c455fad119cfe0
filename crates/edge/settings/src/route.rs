//! Reads `[routes.NAME]`: which requests, and what happens to them.

mod authentication;
mod compression;
mod cors;
pub(crate) mod headers;
mod rewrite;
mod treatment;

use std::collections::HashMap;

use model::Name;
use model::configuration::{
    Action, Authentication, HeaderMatch, HostPattern, ListenerProtocol, PathPattern, REGEXES_MAX,
    Route,
};

use crate::admission;
use crate::finding::{Finding, all_of, did_you_mean, meant, printable, quote};
use crate::listen::{self, BODY_RANGE};
use crate::order;
use crate::path::{self, expression};
use crate::pool::{self, TOKEN_HELP, is_token};
use crate::reader::{TIMEOUT_RANGE, Table, Value};
use crate::server::host_name;

/// Routes, at most.
const ROUTES_MAX: usize = 10_000;

/// The highest priority.
const PRIORITY_MAX: u16 = 1_000;

/// Bytes of a fixed response's body.
const BODY_BYTES_MAX: usize = 65_536;

/// The pools that routes may name.
struct Pools<'p> {
    placed: &'p [pool::Placed],
    by_name: HashMap<&'p str, usize>,
}

/// The pool that a route asks who may use it, if it asks one.
pub(crate) fn asked_pool(route: &Route) -> Option<usize> {
    match &route.treatment.authentication {
        Some(Authentication::Forward(forward)) => Some(forward.pool),
        Some(Authentication::Basic(_) | Authentication::Jwt(_)) | None => None,
    }
}

/// Reads all routes, and orders them most specific first.
pub(crate) fn routes(
    root: &mut Table<'_>,
    listeners: &[listen::Placed],
    pools: &[pool::Placed],
) -> Vec<Route> {
    let context = root.context();
    let named = root.named("routes");
    let speaks_http =
        |placed: &listen::Placed| matches!(placed.listener.protocol, ListenerProtocol::Http { .. });
    let none_needed = !listeners.is_empty() && !listeners.iter().any(speaks_http);
    if !root.has("routes") && !none_needed {
        let message = "the configuration has no route".to_owned();
        let finding = Finding::error("no-route", root.span(), message);
        context.findings.add(
            finding
                .label("no `[routes.NAME]`")
                .help("add `[routes.all]` with `path = \"/\"` and `pool = \"...\"`"),
        );
    }
    if let Some((_, value)) = named.get(ROUTES_MAX) {
        let message = format!("more than {ROUTES_MAX} routes");
        let finding = Finding::error("too-many-routes", value.key_span.clone(), message);
        value.report(finding.label("one too many"));
    }
    let lookup = Pools {
        placed: pools,
        by_name: pools.iter().zip(0..).map(|(pool, index)| (pool.name.as_ref(), index)).collect(),
    };
    let (mut routes, mut expressions) = (Vec::new(), 0);
    for (name, value) in named.into_iter().take(ROUTES_MAX) {
        let Some(table) = value.table("a table") else { continue };
        expressions += usize::from(table.has("path_regex"));
        if expressions > REGEXES_MAX {
            let message = format!("more than {REGEXES_MAX} regular expressions");
            let finding = Finding::error("too-many-regexes", value.key_span.clone(), message);
            value.report(
                finding
                    .label("one too many")
                    .help("match prefixes, starts (`/img*`) or templates instead"),
            );
            break;
        }
        routes.extend(route(name, table, listeners, &lookup));
    }
    check_expressions(root, &routes);
    order::order(routes)
}

/// All regular expressions together must fit into the memory that is meant for them.
fn check_expressions(root: &mut Table<'_>, routes: &[Route]) {
    let texts = routes.iter().filter_map(|route| match &route.path {
        PathPattern::Regex(text) => Some(&**text),
        PathPattern::Exact(_)
        | PathPattern::Prefix(_)
        | PathPattern::Start(_)
        | PathPattern::Template(_) => None,
    });
    if let Some(value) = root.get("routes")
        && !expression::fit_together(texts)
    {
        let message = "the regular expressions of all routes need more than 16 MiB".to_owned();
        value.at_key().invalid("too-many-regexes", message, "write fewer, or smaller ones");
    }
}

fn route(
    name: Name,
    mut table: Table<'_>,
    listeners: &[listen::Placed],
    pools: &Pools<'_>,
) -> Option<Route> {
    let listeners =
        table.get("listen").map_or_else(Vec::new, |value| listener_names(&value, listeners));
    let hosts = table.get("host").map_or_else(Vec::new, |value| hosts(&value));
    let path = path::path(&mut table);
    let priority = table.number("priority", 0, 0..=PRIORITY_MAX);
    let methods = table.get("methods").map_or_else(Vec::new, |value| methods(&value));
    let headers = table.get("headers").map_or_else(Vec::new, |value| headers(&value));
    let body_bytes_max = table.get("body_max").and_then(|value| value.size(&BODY_RANGE));
    let total_timeout = table.get("total_timeout").and_then(|value| value.duration(&TIMEOUT_RANGE));
    let class = table.get("class").and_then(|value| value.choice(&admission::CLASSES));
    let treatment = treatment::treatment(&mut table, pools);
    let action = action(&mut table, path.as_ref(), pools);
    table.finish();
    Some(Route {
        name,
        priority,
        listeners,
        hosts,
        path: path?,
        methods,
        headers,
        action: action?,
        body_bytes_max,
        total_timeout,
        class,
        treatment,
    })
}

/// The listeners a route names, each once.
fn listener_names(value: &Value<'_>, listeners: &[listen::Placed]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for value in list(value, "a listener or an array of listeners") {
        let Some(text) = value.text() else { continue };
        let known = || listeners.iter().map(|placed| &placed.listener.name);
        let Some(name) = known().find(|name| name.as_ref() == text) else {
            let message = format!("there is no listener {}", quote(text));
            let finding = Finding::error("unknown-listener", value.span.clone(), message)
                .label("not a listener")
                .help("name one of the `[listen.NAME]`");
            let meant = did_you_mean(text, known().map(|name| name.as_ref()));
            value.report(finding.help_maybe(meant));
            continue;
        };
        let known = listeners.iter().find(|placed| placed.listener.name == *name);
        let is_tcp =
            |placed: &listen::Placed| matches!(placed.listener.protocol, ListenerProtocol::Tcp(_));
        if known.is_some_and(is_tcp) {
            let message = format!("listener {} passes on connections, not requests", quote(text));
            let finding = Finding::error("wrong-protocol", value.span.clone(), message);
            value.report(finding.label("`mode = \"tcp\"`").help("remove it from this route"));
            continue;
        }
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn hosts(value: &Value<'_>) -> Vec<HostPattern> {
    list(value, "a host or an array of hosts")
        .iter()
        .filter_map(|value| {
            let text = value.text()?;
            let pattern = host_pattern(text);
            if let Err(help) = pattern {
                let message = format!("{} is not a host", quote(text));
                value.invalid("invalid-host", message, help);
            }
            pattern.ok()
        })
        .fold(Vec::new(), |mut hosts, host| {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
            hosts
        })
}

/// The elements of an array that must not be empty, or the one value itself.
fn list<'a>(value: &Value<'a>, expected: &str) -> Vec<Value<'a>> {
    if value.as_text().is_some() {
        return vec![value.clone()];
    }
    let Some(array) = value.as_array() else {
        value.wrong_type(expected);
        return Vec::new();
    };
    if array.is_empty() {
        let message = format!("{} must not be empty", quote(value.name));
        value.invalid("empty-list", message, "leave it out to mean any");
    }
    array
}

/// A host, or every host of a domain.
pub(crate) fn host_pattern(text: &str) -> Result<HostPattern, &'static str> {
    if let Some(parent) = text.strip_prefix("*.") {
        let parent = host_name(parent)?;
        return Ok(HostPattern::Wildcard(Name::from(format!(".{parent}"))));
    }
    if text == "*" {
        return Err("leave `host` out to mean any");
    }
    if text.contains('*') {
        return Err("a wildcard is the whole first label, as in \"*.example.com\"");
    }
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(HostPattern::Exact(Name::from(address.to_string())));
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(Ok(address)) = bracketed.map(str::parse::<std::net::Ipv6Addr>) {
        return Ok(HostPattern::Exact(Name::from(format!("[{address}]"))));
    }
    if text.contains(':') {
        return Err("leave out the scheme and the port");
    }
    host_name(text).map(HostPattern::Exact)
}

fn methods(value: &Value<'_>) -> Vec<Name> {
    let methods = list(value, "an array of methods");
    let mut names = Vec::new();
    for value in &methods {
        let Some(text) = value.text() else { continue };
        if !is_token(text) || text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let message = format!("{} is not a method", quote(text));
            let upper = text.to_ascii_uppercase();
            let help = "methods are upper case, such as \"GET\"";
            let finding = Finding::error("invalid-method", value.span.clone(), message)
                .label("not valid here")
                .help(help);
            value.report(finding.help_maybe(is_token(text).then(|| meant(&upper))));
        } else if !names.iter().any(|name: &Name| name.as_ref() == text) {
            names.push(Name::from(text));
        }
    }
    names
}

fn headers(value: &Value<'_>) -> Vec<HeaderMatch> {
    let Some(table) = value.table("a table of headers") else { return Vec::new() };
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for entry in table.entries() {
        let Some(header) = header(&entry) else { continue };
        if headers.iter().any(|earlier| earlier.name == header.name) {
            let message = format!("header {} is given twice", quote(&header.name));
            let finding = Finding::error("duplicate-header", entry.key_span.clone(), message);
            entry.report(finding.label("the same name in other letters").help("keep one of them"));
            continue;
        }
        headers.push(header);
    }
    headers
}

fn header(entry: &Value<'_>) -> Option<HeaderMatch> {
    if !is_token(entry.name) {
        let message = format!("{} is not the name of a header", quote(entry.name));
        let finding = Finding::error("invalid-token", entry.key_span.clone(), message);
        entry.report(finding.label("not valid here").help(TOKEN_HELP));
        return None;
    }
    let name = Name::from(entry.name.to_ascii_lowercase());
    if entry.as_boolean() == Some(true) {
        return Some(HeaderMatch { name, value: None });
    }
    let Some(text) = entry.as_text() else {
        entry.wrong_type("a string, or `true` for any value");
        return None;
    };
    // Values come from requests without surrounding blanks, so a pattern with them never matches.
    if text.trim() != text || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        let message = format!("{} is not a header's value", quote(text));
        entry.invalid("invalid-header", message, "use visible ASCII, without blanks at the ends");
        return None;
    }
    Some(HeaderMatch { name, value: Some(Name::from(text)) })
}

fn action(table: &mut Table<'_>, path: Option<&PathPattern>, pools: &Pools<'_>) -> Option<Action> {
    let (pool, redirect, respond) =
        (table.get("pool"), table.get("redirect"), table.get("respond"));
    let count = [&pool, &redirect, &respond].into_iter().flatten().count();
    if count != 1 {
        let what = if count == 0 { "does nothing" } else { "does several things" };
        let message = format!("route {} {what}", quote(table.name()));
        let finding = Finding::error("route-action", table.span(), message);
        table.context().findings.add(
            finding
                .label(format!("{count} of `pool`, `redirect` and `respond`"))
                .help("give exactly one of `pool`, `redirect` and `respond`"),
        );
    }
    let rewrite = rewrite::rewrite(table, path, pool.is_some());
    // All are read, so that all their mistakes show.
    let forward = pool.and_then(|value| pool_index(&value, pools));
    let forward = forward.map(|pool| Action::Forward { pool, rewrite });
    let redirect = redirect.and_then(|value| redirect_action(&value));
    let respond = respond.and_then(|value| respond_action(&value));
    forward.or(redirect).or(respond)
}

fn pool_index(value: &Value<'_>, pools: &Pools<'_>) -> Option<usize> {
    let text = value.text()?;
    let index = pools.by_name.get(text).copied();
    if index.is_none() {
        value.context.findings.add_error_with(|| unknown_pool(value, text, pools.placed));
    }
    index
}

fn unknown_pool(value: &Value<'_>, text: &str, pools: &[pool::Placed]) -> Finding {
    let names = || pools.iter().map(|pool| pool.name.as_ref());
    let message = format!("there is no pool {}", quote(text));
    let known = match pools.len() {
        0 => format!("add `[pools.{}]` with its servers", printable(text, 64)),
        1..=8 => format!("the pools are {}", all_of(names())),
        _ => "name one of the `[pools.NAME]`".to_owned(),
    };
    Finding::error("unknown-pool", value.span.clone(), message)
        .label("not a pool")
        .help(known)
        .help_maybe(did_you_mean(text, names()))
}

fn redirect_action(value: &Value<'_>) -> Option<Action> {
    let mut table = value.table("a table with `location`")?;
    let status = table.get("status").map_or(Some(302), |value| {
        let status = value.number(&(301..=308_u16))?;
        if !matches!(status, 304..=306) {
            return Some(status);
        }
        let message = format!("{status} is no redirect");
        value.invalid("invalid-status", message, "use 301, 302, 303, 307 or 308");
        None
    });
    let location = table.required("location", "location = \"https://{host}{path}{query}\"");
    table.finish();
    let location = location.and_then(|value| location_text(&value));
    Some(Action::Redirect { status: status?, location: location? })
}

fn location_text(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let mut rest = text.to_owned();
    for placeholder in ["{host}", "{path}", "{query}"] {
        rest = rest.replace(placeholder, "");
    }
    let help = if rest.contains(['{', '}']) {
        "only {host}, {path} and {query} are replaced"
    } else if !text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        "percent-encode blanks and everything outside ASCII"
    } else if !["/", "http://", "https://", "{path}"].iter().any(|start| text.starts_with(start)) {
        "begin it with \"/\", \"https://\" or \"http://\""
    } else {
        return Some(Name::from(text));
    };
    let message = format!("{} is not a location", quote(text));
    value.invalid("invalid-location", message, help);
    None
}

fn respond_action(value: &Value<'_>) -> Option<Action> {
    let mut table = value.table("a table")?;
    let status = table.number("status", 200, 200..=599);
    let body_value = table.get("body");
    let body = body_value.as_ref().map_or(Some(""), Value::text);
    let content_type = table.get("content_type");
    table.finish();
    if let (Some(value), Some(body)) = (&body_value, body) {
        if body.len() > BODY_BYTES_MAX {
            value.out_of_range("0B", "64KiB");
        }
        if matches!(status, 204 | 205 | 304) && !body.is_empty() {
            let message = format!("a response {status} has no body");
            value.invalid("conflicting-keys", message, "remove `body`, or use another status");
        }
    }
    let content_type = content_type.map_or(Some("text/plain; charset=utf-8"), |value| {
        let text = value.text()?;
        let is_type = text.split_once('/').is_some_and(|(kind, _)| is_token(kind));
        if is_type && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Some(text);
        }
        let message = format!("{} is not a content type", quote(text));
        value.invalid("invalid-header", message, "write it like \"text/html; charset=utf-8\"");
        None
    });
    let (body, content_type) = (Name::from(body?), Name::from(content_type?));
    Some(Action::Respond { status, body, content_type })
}
