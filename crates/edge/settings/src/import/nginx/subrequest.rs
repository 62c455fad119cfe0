//! `auth_request`: another location of the server is asked whether a request may enter.
//!
//! nginx asks with whatever that location sends; this door asks a pool at a path, with the headers
//! of the request and `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`. So the location that is
//! asked has to pass on to servers, and what it tells them in other headers is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Context;
use super::forward::mark_sets;
use super::guard::Guard;
use super::level::Level;
use super::location::{Kind, Location, Locations};
use super::pool::{Use, clamped};
use super::site::inline;
use super::target::target;
use super::tree::Node;
use super::units::milliseconds;
use crate::import::writer::Value;

/// Said once: nginx takes few answers.
const ANSWERS: &str = "nginx lets a client see an answer 401 or 403 of the server that is asked, and \
                       makes 500 of any other but 2xx; the door passes on what is below 500";

/// How long the door waits at most to be told who may enter.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Headers that the door tells the server that is asked by itself, or that frame its request.
const TOLD: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-request-id",
];

impl<'t> Context<'_, 't> {
    /// `auth_request URI`.
    pub(super) fn subrequest(
        &mut self,
        check: &Node,
        level: &Level<'t>,
        locations: &Locations<'t>,
    ) -> Result<Guard, String> {
        let uri = check.arg(0);
        let asked = found(uri, locations).ok_or("no location has the path that is asked")?;
        let pass = asked.level.own("proxy_pass").first().copied();
        let pass = pass.ok_or("the location that is asked is not passed to servers")?;
        let text = self.resolved(pass, &asked.level)?;
        let target = target(&text, false)?;
        let path = match target.uri {
            Some(to) => {
                let rest = uri.strip_prefix(asked.text.as_str()).unwrap_or_default();
                format!("{to}{rest}")
            }
            None => uri.to_owned(),
        };
        if !path.starts_with('/') || path.contains(['?', '#', '%']) || path.contains("//") {
            return Err("the door asks at a plain path".to_owned());
        }
        let by =
            Use { target: &target, level: &asked.level, upstreams: self.upstreams, node: pass };
        let pool = self.pools.name(&by, self.site)?;
        self.site.settle(pass, Ok(()));
        mark_sets(pass.arg(0), &asked.level, self.site);
        self.told(&asked.level);
        let (copied, nodes) = copied(level);
        nodes.iter().for_each(|node| self.site.settle(node, Ok(())));
        let is_copied = |node: &Node| nodes.iter().any(|copied| copied.place == node.place);
        for node in level.all("auth_request_set").iter().filter(|node| !is_copied(node)) {
            let reason = "the door copies a header of the answer, by its own name, to the server: \
                          `copy` in `forward_auth`";
            self.site.settle(node, Err(reason.to_owned()));
        }
        self.site.inexact_once(&check.place, ANSWERS);
        let mut entries = vec![
            ("pool", Value::text(pool).at(&pass.place)),
            ("path", Value::text(path).at(&pass.place)),
        ];
        if !copied.is_empty() {
            let names = copied.iter().map(|name| Value::text(name.clone()).here());
            entries.push(("copy", Value::Array(names.collect()).here()));
        }
        let read = asked.level.one("proxy_read_timeout");
        let wait = read.and_then(|node| milliseconds(node.arg(0))).unwrap_or(60_000);
        entries.push(("timeout", clamped(wait.min(TIMEOUT_MS_MAX)).here()));
        let keys = vec![("forward_auth", inline(entries), check.place.clone())];
        Ok(Guard { keys, has_user: false, copied })
    }

    /// Says what became of the headers that the server is told which is asked.
    fn told(&mut self, level: &Level<'t>) {
        for node in level.all("proxy_set_header") {
            let name = node.arg(0).to_ascii_lowercase();
            let result = if TOLD.contains(&name.as_str()) {
                Ok(())
            } else {
                Err("the door asks with the headers of the request, and says what for in \
                     `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`: let the server read those"
                    .to_owned())
            };
            self.site.settle(node, result);
        }
        for node in level.all("proxy_pass_request_body") {
            // The door asks without the body.
            let is_off = node.arg(0) == "off";
            let reason = "the server that is asked gets no body";
            self.site.settle(node, if is_off { Ok(()) } else { Err(reason.to_owned()) });
        }
    }
}

/// The location that a path leads to, expressions left aside.
fn found<'l, 't>(uri: &str, locations: &'l Locations<'t>) -> Option<&'l Location<'t>> {
    let exact = |location: &&Location<'_>| location.kind == Kind::Exact && location.text == uri;
    let prefix = |location: &&Location<'_>| {
        matches!(location.kind, Kind::Prefix | Kind::FirmPrefix)
            && uri.starts_with(location.text.as_str())
    };
    let longest =
        || locations.list.iter().filter(prefix).max_by_key(|location| location.text.len());
    locations.list.iter().find(exact).or_else(longest)
}

/// Headers of the answer that the server gets by their own names, and the directives that say so.
fn copied<'t>(level: &Level<'t>) -> (BTreeSet<String>, Vec<&'t Node>) {
    let sets: BTreeMap<&str, &Node> =
        level.all("auth_request_set").iter().map(|node| (node.arg(0), *node)).collect();
    let mut names = BTreeSet::new();
    let mut nodes = Vec::new();
    for module in ["proxy_set_header", "grpc_set_header"] {
        for node in level.all(module) {
            let name = node.arg(0).to_ascii_lowercase();
            let source = format!("$upstream_http_{}", name.replace('-', "_"));
            let Some(set) = sets.get(node.arg(1)).filter(|set| set.arg(1) == source) else {
                continue;
            };
            names.insert(name);
            nodes.extend([*node, *set]);
        }
    }
    (names, nodes)
}
