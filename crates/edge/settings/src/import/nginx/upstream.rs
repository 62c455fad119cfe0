//! `upstream` blocks: their servers, and how one is chosen.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::level::Level;
use super::site::{Counted, Site, Table, inline};
use super::target::{host_and_port, variables};
use super::tree::Node;
use super::units::milliseconds;
use super::walk::{Inside, level};
use crate::finding::quote;
use crate::import::Place;
use crate::import::writer::{Placed, Value};

/// The largest weight of a server of this door.
const WEIGHT_MAX: u64 = 1_000;

/// The `upstream` blocks by name.
pub(super) type Upstreams<'t> = BTreeMap<&'t str, Upstream<'t>>;

/// One `upstream` block.
#[derive(Debug)]
pub(super) struct Upstream<'t> {
    pub(super) node: &'t Node,
    pub(super) level: Rc<Level<'t>>,
    members: Vec<Member<'t>>,
}

/// One server of it.
#[derive(Debug)]
struct Member<'t> {
    node: &'t Node,
    address: String,
    weight: u64,
    is_down: bool,
    is_backup: bool,
    max_fails: u64,
    fail_timeout_ms: u64,
    max_conns: u64,
}

/// Gathers all upstreams, and says what is to be said of them whether they are used or not.
pub(super) fn upstreams<'t>(nodes: &'t [Node], site: &mut Site) -> Upstreams<'t> {
    let mut upstreams = Upstreams::new();
    for node in nodes.iter().filter(|node| node.name == "upstream") {
        if site.knows(node) {
            continue;
        }
        site.waiting(node);
        let level = level(node.children(), None, Inside::Upstream, site);
        let mut members = Vec::new();
        for server in level.own("server") {
            match member(server) {
                Ok(member) => members.push(member),
                Err(reason) => site.refused(server, reason),
            }
        }
        let upstream = Upstream { node, level, members };
        judge(&upstream, site);
        if upstreams.contains_key(node.arg(0)) {
            site.refuse_all(node, "an upstream of this name stands further up");
        } else {
            upstreams.insert(node.arg(0), upstream);
        }
    }
    upstreams
}

fn member(node: &Node) -> Result<Member<'_>, String> {
    let text = node.arg(0);
    if text.starts_with("unix:") {
        return Err("the door reaches servers by TCP, not by Unix sockets".to_owned());
    }
    let (host, port) = host_and_port(text)?;
    if !variables(host).is_empty() || host.is_empty() {
        return Err(format!("{} is not the address of a server", quote(text)));
    }
    let mut member = Member {
        node,
        address: format!("{host}:{}", port.unwrap_or(80)),
        weight: 1,
        is_down: false,
        is_backup: false,
        max_fails: 1,
        fail_timeout_ms: 10_000,
        max_conns: 0,
    };
    for parameter in node.texts().skip(1) {
        parameter_of(&mut member, parameter)?;
    }
    Ok(member)
}

fn parameter_of(member: &mut Member<'_>, parameter: &str) -> Result<(), String> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let number =
        || value.parse::<u64>().map_err(|_error| format!("{} is no number", quote(parameter)));
    match name {
        "weight" => member.weight = number()?,
        "max_fails" => member.max_fails = number()?,
        "max_conns" => member.max_conns = number()?,
        "fail_timeout" => {
            member.fail_timeout_ms =
                milliseconds(value).ok_or_else(|| format!("{} is no time", quote(parameter)))?;
        }
        "down" | "drain" => member.is_down = true,
        "backup" => member.is_backup = true,
        // The door resolves names again, and warms servers up, by itself.
        "resolve" | "slow_start" | "fail_timeouts" => {}
        _ => return Err(format!("the door has no counterpart of {}", quote(parameter))),
    }
    Ok(())
}

fn judge(upstream: &Upstream<'_>, site: &mut Site) {
    let hash = ["hash", "ip_hash"].iter().find_map(|name| upstream.level.own(name).first());
    let unbacked = hash.or(upstream.level.own("random").first());
    for member in &upstream.members {
        let place = &member.node.place;
        if let (true, Some(method)) = (member.is_backup, unbacked) {
            let message = format!("a backup server together with `{}`", method.name);
            site.rule("backup-with-hash", place, message, "never a backup under this method");
        }
        let is_resolved = member.node.texts().any(|text| text == "resolve");
        if !is_resolved {
            resolved_once(&member.address, place, site);
        }
    }
    let Some(hash) = hash else { return };
    let is_consistent = hash.texts().any(|text| text == "consistent");
    if !is_consistent && upstream.members.len() > 1 {
        let message = "this hash moves nearly every key when a server comes or goes".to_owned();
        site.rule("inconsistent-hash", &hash.place, message, "not consistent");
    }
    if hash.name == "hash" && variables(hash.arg(0)).is_empty() {
        let message =
            format!("the hash is taken of {}, the same for every request", quote(hash.arg(0)));
        site.rule("narrow-hash-key", &hash.place, message, "one server gets all requests");
    }
}

/// Says that nginx resolves a name when it starts, and never again.
pub(super) fn resolved_once(address: &str, place: &Place, site: &mut Site) {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let is_name = host != "localhost" && host.contains(|c: char| c.is_ascii_alphabetic());
    if is_name && !host.starts_with('[') {
        let message = format!("the name {} is resolved only when nginx starts", quote(host));
        site.rule("name-resolved-once", place, message, "looked up once");
    }
}

impl Upstream<'_> {
    /// Servers that may get requests: how often nginx tries at most.
    pub(super) fn count(&self) -> usize {
        self.members.iter().filter(|member| !member.is_down).count()
    }

    /// Writes servers and balance into a pool's table.
    pub(super) fn write(&self, table: &mut Table, site: &mut Site) -> Result<(), String> {
        if self.members.is_empty() {
            return Err(format!(
                "upstream {} has no server the door can reach",
                quote(self.node.arg(0))
            ));
        }
        if !site.count(Counted::Members, self.members.len()) {
            return Err("there are more servers in more pools than the door can have".to_owned());
        }
        site.mapped(self.node);
        self.servers(table, site);
        self.balance(table, site);
        let place = &self.node.place;
        self.ejection(table, site);
        table.key("slow_start", Value::duration_ms(0), place);
        let limits = self.members.iter().filter(|member| member.max_conns > 0);
        if let Some(member) = limits.min_by_key(|member| member.max_conns) {
            let limit = member.max_conns.min(1_000_000);
            table.key("in_flight_max", Value::Integer(limit), &member.node.place);
            if self.members.iter().any(|other| other.max_conns != member.max_conns) {
                table.note(
                    "nginx has a `max_conns` for each server; the pool has one: the smallest",
                );
            }
        }
        if let Some(keepalive) = self.level.one("keepalive")
            && let Ok(count) = keepalive.arg(0).parse::<u64>()
        {
            table.key("idle_max", Value::Integer(count.min(10_000)), &keepalive.place);
            site.mapped(keepalive);
        }
        if let Some(zone) = self.level.one("zone") {
            site.ignored(zone, "the door's workers share what they know by themselves");
        }
        Ok(())
    }

    fn servers(&self, table: &mut Table, site: &mut Site) {
        let sum = |is_backup| -> u64 {
            let members = self.members.iter().filter(|m| m.is_backup == is_backup && !m.is_down);
            members.fold(0, |sum, member| sum.saturating_add(member.weight))
        };
        // A zone keeps all requests while its weight is at least that of the other one.
        let (own, backup) = (sum(false), sum(true));
        let has_backups = backup > 0 && own >= backup;
        let heaviest = self.members.iter().map(|member| member.weight).max().unwrap_or(1);
        let mut servers = Vec::new();
        for member in &self.members {
            if member.is_backup && !has_backups {
                site.refused(
                    member.node,
                    "the door has no spare servers; another zone takes over when it weighs no more \
                     than the first",
                );
                continue;
            }
            site.mapped(member.node);
            let mut entries = vec![("address", Value::text(&member.address).here())];
            let weight = if heaviest > WEIGHT_MAX {
                (u128::from(member.weight) * u128::from(WEIGHT_MAX) / u128::from(heaviest)).max(1)
            } else {
                u128::from(member.weight)
            };
            if weight != 1 {
                let weight = u64::try_from(weight).unwrap_or(WEIGHT_MAX);
                entries.push(("weight", Value::Integer(weight).here()));
            }
            if has_backups {
                let zone = if member.is_backup { "backup" } else { "primary" };
                entries.push(("zone", Value::text(zone).here()));
            }
            if member.is_down {
                entries.push(("drain", Value::Boolean(true).here()));
            }
            servers.push(inline(entries).at(&member.node.place));
        }
        if heaviest > WEIGHT_MAX {
            table.note("the weights are scaled down to at most 1000");
        }
        table.key("servers", Value::Array(servers), &self.node.place);
        if has_backups {
            table.note("backup servers are another zone, which takes over when too few are left");
            table.key("zone", Value::text("primary"), &self.node.place);
        }
    }

    fn balance(&self, table: &mut Table, site: &mut Site) {
        let methods = ["hash", "ip_hash", "least_conn", "least_time", "random"];
        let method = methods.iter().find_map(|name| self.level.one(name));
        let Some(node) = method else {
            table.key("balance", Value::text("round-robin"), &self.node.place);
            return;
        };
        let maglev = |key: Value| inline(vec![("maglev", key.here())]);
        let value = match node.name.as_str() {
            "least_conn" => Value::text("least-request"),
            "least_time" => Value::text("p2c"),
            "random" if node.arg(0) == "two" => Value::text("p2c"),
            "random" => Value::text("random"),
            "ip_hash" => {
                table.note("nginx's ip_hash takes three of an IPv4 address's four numbers; the door takes all");
                maglev(Value::text("client-address"))
            }
            _ => match hash_key(node.arg(0)) {
                Ok(key) => maglev(key),
                Err(reason) => {
                    site.refused(node, reason);
                    table.key("balance", Value::text("p2c"), &node.place);
                    return;
                }
            },
        };
        site.mapped(node);
        table.key("balance", value, &node.place);
    }

    fn ejection(&self, table: &mut Table, site: &mut Site) {
        // A server that is alone is never given up by nginx.
        let first = self.members.iter().find(|member| !member.is_down);
        let Some(member) = first.filter(|_| self.count() > 1) else {
            table.key("ejection", Value::Boolean(false), &self.node.place);
            return;
        };
        let place = &member.node.place;
        if member.max_fails == 0 || member.fail_timeout_ms == 0 {
            table.key("ejection", Value::Boolean(false), place);
            return;
        }
        let differs = |other: &&Member<'_>| {
            (other.max_fails, other.fail_timeout_ms) != (member.max_fails, member.fail_timeout_ms)
        };
        if self.members.iter().any(|other| differs(&other)) {
            table.note("nginx has `max_fails` and `fail_timeout` for each server; the pool has the first server's");
        }
        let pause = super::pool::clamped(member.fail_timeout_ms);
        let entries = vec![
            ("failures", Value::Integer(member.max_fails.min(1_000)).here()),
            ("pause", pause.clone().here()),
            ("pause_max", pause.here()),
            // nginx sets every server aside if every one fails.
            ("share_max", Value::Number(1.0).here()),
        ];
        table.key("ejection", inline(entries), place);
        site.mapped(member.node);
    }

    /// How long idle connections are kept, if that is said.
    pub(super) fn idle(&self, site: &mut Site) -> Option<Placed> {
        let node = self.level.one("keepalive_timeout")?;
        let ms = milliseconds(node.arg(0))?;
        site.mapped(node);
        Some(super::pool::clamped(ms).at(&node.place))
    }
}

/// What a consistent hash of the door is taken of.
fn hash_key(key: &str) -> Result<Value, String> {
    let of = |kind, name: &str| inline(vec![(kind, Value::text(name.replace('_', "-")).here())]);
    let name = key.strip_prefix('$').unwrap_or(key);
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    match name {
        _ if variables(key).len() != 1 || format!("${name}").len() + 2 < key.len() => {
            Err(format!("the door hashes one thing, not {}", quote(key)))
        }
        "remote_addr" | "binary_remote_addr" | "realip_remote_addr" => {
            Ok(Value::text("client-address"))
        }
        "request_uri" | "uri" | "document_uri" => Ok(Value::text("path")),
        "host" | "http_host" => Ok(of("header", "host")),
        _ => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
            (Some(header), _) => Ok(of("header", header)),
            (None, Some(cookie)) => Ok(inline(vec![("cookie", Value::text(cookie).here())])),
            (None, None) => Err(format!(
                "the door hashes the client's address, the path, a header or a cookie, not {}",
                quote(key)
            )),
        },
    }
}
