//! Pools: what a `proxy_pass` or `grpc_pass` goes to, with the timeouts and retries of its level.
//!
//! nginx has timeouts and retries where the request is passed on, this door in the pool: one
//! upstream that is used in two ways becomes two pools.

use std::collections::BTreeMap;

use super::level::Level;
use super::site::{Site, Table, inline};
use super::target::{Target, variables};
use super::tree::Node;
use super::units::milliseconds;
use super::upstream::{Upstream, Upstreams, resolved_once};
use crate::finding::quote;
use crate::import::Place;
use crate::import::writer::{Placed, Value};

/// Attempts of one request, at most, in this door.
const ATTEMPTS_MAX: usize = 5;

/// The pools made so far, by what is in them.
#[derive(Debug, Default)]
pub(super) struct Pools {
    by_content: BTreeMap<String, String>,
}

/// A time within what the door takes: 10 ms to 24 h.
pub(super) fn clamped(ms: u64) -> Value {
    Value::duration_ms(ms.clamp(10, 86_400_000))
}

/// What a pool is made of.
pub(super) struct Use<'u, 't> {
    pub(super) target: &'u Target<'u>,
    pub(super) level: &'u Level<'t>,
    pub(super) upstreams: &'u Upstreams<'t>,
    /// The `proxy_pass` or `grpc_pass`.
    pub(super) node: &'u Node,
}

impl<'t> Use<'_, 't> {
    fn is_grpc(&self) -> bool {
        self.node.name == "grpc_pass"
    }

    /// The directives that hold of `proxy_` or `grpc_` and this.
    fn all(&self, name: &str) -> &[&'t Node] {
        let module = if self.is_grpc() { "grpc" } else { "proxy" };
        self.level.all(&format!("{module}_{name}"))
    }

    fn one(&self, name: &str) -> Option<&'t Node> {
        self.all(name).first().copied()
    }
}

impl Pools {
    /// The name of the pool for a use; it is made when there is none yet.
    pub(super) fn name(&mut self, by: &Use<'_, '_>, site: &mut Site) -> Result<String, String> {
        let place = &by.node.place;
        let upstream = by.upstreams.get(by.target.host).filter(|_| by.target.port.is_none());
        let mut table = Table::new(String::new(), upstream.map_or(place, |u| &u.node.place));
        let (wanted, count) = match upstream {
            Some(upstream) => {
                upstream.write(&mut table, site)?;
                (by.target.host.to_owned(), upstream.count())
            }
            None => {
                let address = format!("{}:{}", by.target.host, by.target.port_or_default());
                // With a variable in it nginx resolves the name while it runs.
                if variables(by.node.arg(0)).is_empty() {
                    resolved_once(&address, place, site);
                }
                let servers = Value::Array(vec![Value::text(&address).here()]);
                table.key("servers", servers, place);
                table.key("balance", Value::text("round-robin"), place);
                table.key("ejection", Value::Boolean(false), place);
                table.key("slow_start", Value::duration_ms(0), place);
                (address.replace(':', "-"), 1)
            }
        };
        if by.is_grpc() {
            // nginx bounds idle connections by it; here it would bound those that calls share.
            table.keys.retain(|(key, _, _)| *key != "idle_max");
            table.key("protocol", Value::text("http2"), place);
        }
        timeouts(by, upstream, (&mut table, site));
        retries(by, count, (&mut table, site));
        tls(by, (&mut table, site))?;
        let content = format!("{wanted} {:?} {:?}", table.notes, without_places(&table));
        if let Some(name) = self.by_content.get(&content) {
            return Ok(name.clone());
        }
        table.name = site.name("pool", &wanted);
        let name = table.name.clone();
        self.by_content.insert(content, name.clone());
        site.pools.push(table);
        Ok(name)
    }
}

/// Keys and values alone: the same pool may be asked for at many places.
fn without_places(table: &Table) -> Vec<(&str, String)> {
    let keys = table.keys.iter();
    keys.map(|(key, value, _)| (*key, super::site::shown(value))).collect()
}

fn time(name: &str, default_ms: u64, by: &Use<'_, '_>, site: &mut Site) -> Placed {
    let Some(node) = by.one(name) else { return clamped(default_ms).at(&by.node.place) };
    let Some(ms) = milliseconds(node.arg(0)) else {
        site.refused(node, format!("{} is no time", quote(node.arg(0))));
        return clamped(default_ms).at(&node.place);
    };
    site.mapped(node);
    clamped(ms).at(&node.place)
}

fn timeouts(
    by: &Use<'_, '_>,
    upstream: Option<&Upstream<'_>>,
    (table, site): (&mut Table, &mut Site),
) {
    let connect = time("connect_timeout", 60_000, by, site);
    let read = time("read_timeout", 60_000, by, site);
    let mut entries = vec![
        ("connect", connect),
        ("first_byte", read.clone()),
        ("progress", read.clone()),
        ("tunnel_idle", read),
    ];
    if let Some(idle) = upstream.and_then(|upstream| upstream.idle(site)) {
        entries.push(("idle", idle));
    }
    table.key("timeouts", inline(entries), &by.node.place);
}

fn retries(by: &Use<'_, '_>, count: usize, (table, site): (&mut Table, &mut Site)) {
    let mut attempts = count;
    let mut place = &by.node.place;
    if let Some(tries) = by.one("next_upstream_tries") {
        if let Some(limit) = tries.arg(0).parse::<usize>().ok().filter(|limit| *limit > 0) {
            attempts = attempts.min(limit);
        }
        place = &tries.place;
        site.mapped(tries);
    }
    let mut on_status = false;
    if let Some(when) = by.one("next_upstream") {
        place = &when.place;
        site.mapped(when);
        if when.texts().any(|text| text == "off") {
            attempts = 1;
        }
        on_status = when.texts().any(|text| ["http_502", "http_503", "http_504"].contains(&text));
        let beyond: Vec<&str> = when
            .texts()
            .filter(|text| {
                text.starts_with("http_") && !["http_502", "http_503", "http_504"].contains(text)
            })
            .collect();
        if !beyond.is_empty() {
            table.note(&format!(
                "nginx tries again on {} too; the door on 502, 503 and 504",
                beyond.join(", ")
            ));
        }
        if when.texts().any(|text| text == "non_idempotent") {
            let message = "requests that are not idempotent are tried again".to_owned();
            site.rule("unsafe-retry", place, message, "may be carried out twice");
            table.note("the door tries a request again that is not idempotent only when no server began with it");
        }
    }
    if attempts > ATTEMPTS_MAX {
        table.note("nginx tries every server; the door at most five");
    }
    let attempts = u64::try_from(attempts.clamp(1, ATTEMPTS_MAX)).unwrap_or(1);
    let mut entries = vec![("attempts", Value::Integer(attempts).here())];
    if attempts > 1 {
        // nginx has no budget.
        entries.push(("budget", Value::Number(1.0).here()));
        if on_status {
            entries.push(("on_status", Value::Boolean(true).here()));
        }
    }
    table.key("retries", inline(entries), place);
}

/// Writes `tls` where servers are reached over it.
pub(super) fn tls(by: &Use<'_, '_>, (table, site): (&mut Table, &mut Site)) -> Result<(), String> {
    if !by.target.is_tls {
        return Ok(());
    }
    let verify = by.one("ssl_verify");
    let verify_place: &Place = verify.map_or(&by.node.place, |node| &node.place);
    let is_verified = verify.is_some_and(|node| node.arg(0) == "on");
    let mut entries = vec![("verify", Value::Boolean(is_verified).at(verify_place))];
    for node in verify.into_iter().chain(by.one("ssl_server_name")) {
        site.mapped(node);
    }
    if let Some(name) = by.one("ssl_name") {
        if variables(name.arg(0)).is_empty() {
            entries.push(("server_name", Value::text(name.arg(0)).at(&name.place)));
            site.mapped(name);
        } else if ["$proxy_host", "$upstream_host"].contains(&name.arg(0)) {
            site.mapped(name);
        } else {
            site.refused(name, "the door asks for one name, not one of each request");
        }
    }
    if let Some(roots) = by.one("ssl_trusted_certificate") {
        entries.push(("roots", Value::text(roots.arg(0)).at(&roots.place)));
        site.mapped(roots);
    }
    if let (Some(certificate), Some(key)) =
        (by.one("ssl_certificate"), by.one("ssl_certificate_key"))
    {
        if [certificate, key].iter().any(|node| node.arg(0).contains(['$', ':'])) {
            let reason = "the door reads certificates from files that are named when it starts";
            [certificate, key].iter().for_each(|node| site.settle(node, Err(reason.to_owned())));
        } else {
            let pair = vec![
                ("certificate", Value::text(certificate.arg(0)).at(&certificate.place)),
                ("key", Value::text(key.arg(0)).at(&key.place)),
            ];
            entries.push(("certificate", inline(pair).at(&certificate.place)));
            [certificate, key].iter().for_each(|node| site.settle(node, Ok(())));
        }
    }
    table.key("tls", inline(entries), &by.node.place);
    Ok(())
}
