//! `stream`: listeners that pass connections on unread, and the pools they lead to.
//!
//! A server becomes a listener with `mode = "tcp"` where the door does the same: TCP, one pool, or a
//! `map` of `$ssl_preread_server_name` to pools. Any other server is refused as a whole, so that
//! nothing is let in that nginx kept out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::level::Level;
use super::listen::{listen, networks, tls as certificates, wanted_name};
use super::pool::{Use, clamped, tls};
use super::server::Server;
use super::site::{Counted, Site, Table, inline};
use super::target::{Target, host_and_port, variables};
use super::tree::Node;
use super::units::milliseconds;
use super::upstream::{Upstreams, resolved_once, upstreams};
use super::walk::{Inside, level};
use crate::finding::quote;
use crate::import::writer::{Placed, Value};
use crate::server::host_name;

/// Directives of a server that change what it does in a way that the door does not know.
const UNLIKE: [&str; 18] = [
    "allow",
    "deny",
    "js_access",
    "js_filter",
    "js_preread",
    "limit_conn",
    "pass",
    "proxy_bind",
    "proxy_download_rate",
    "proxy_requests",
    "proxy_responses",
    "proxy_ssl_crl",
    "proxy_ssl_password_file",
    "proxy_upload_rate",
    "return",
    "server_name",
    "ssl_client_certificate",
    "ssl_verify_client",
];

/// Attempts of one connection, at most, in this door.
const ATTEMPTS_MAX: usize = 5;

/// What the listeners of all servers share.
struct Stream<'s, 't> {
    maps: BTreeMap<&'t str, &'t Node>,
    upstreams: Upstreams<'t>,
    /// Pools by where they lead and how.
    pools: BTreeMap<String, String>,
    addresses: BTreeMap<std::net::SocketAddr, ()>,
    site: &'s mut Site,
}

/// Where the connections of a server lead.
#[derive(Default)]
struct Leads {
    rest: Option<Placed>,
    by_name: Vec<(String, Placed)>,
}

/// Reads a block `stream`.
pub(super) fn stream<'t>(nodes: &'t [Node], around: &Rc<Level<'t>>, site: &mut Site) {
    let level = level(nodes, Some(around), Inside::Http, site);
    let upstreams = upstreams(nodes, site);
    let maps = nodes.iter().filter(|node| node.name == "map" && node.block.is_some());
    let maps: BTreeMap<&str, &Node> = maps.map(|node| (node.arg(1), node)).collect();
    for node in nodes.iter().filter(|node| node.is_data) {
        site.ignore_all(node, "no listener that is taken over asks for it");
    }
    let (pools, addresses) = (BTreeMap::new(), BTreeMap::new());
    let mut stream = Stream { maps, upstreams, pools, addresses, site };
    for node in nodes.iter().filter(|node| node.name == "server" && node.block.is_some()) {
        if let Err(reason) = stream.server(node, &level) {
            stream.site.refuse_all(node, &reason);
        }
    }
}

impl<'t> Stream<'_, 't> {
    fn server(&mut self, node: &'t Node, around: &Rc<Level<'t>>) -> Result<(), String> {
        if !self.site.count(Counted::Servers, 1) {
            return Err("there are more servers than the door has listeners for".to_owned());
        }
        let level = level(node.children(), Some(around), Inside::Server, self.site);
        if let Some(unlike) = UNLIKE.iter().find(|name| !level.all(name).is_empty()) {
            return Err(format!("`{unlike}` has no counterpart for connections"));
        }
        let pass = level.own("proxy_pass").first().copied();
        let pass = pass.ok_or("it passes connections on to nothing")?;
        let listens = level.own("listen");
        let is_udp = |node: &&Node| node.texts().any(|text| ["udp", "quic"].contains(&text));
        if listens.is_empty() || listens.iter().any(is_udp) {
            return Err("the door passes on TCP alone".to_owned());
        }
        let ends_tls = listens.iter().any(|node| node.texts().any(|text| text == "ssl"));
        let leads = self.leads(pass, &level, ends_tls)?;
        for listen in listens {
            let found = self.listener((listen, node), &level, &leads);
            match found {
                Ok(()) => self.site.mapped(listen),
                Err(reason) => self.site.refused(listen, reason),
            }
        }
        self.site.mapped(node);
        self.site.mapped(pass);
        Ok(())
    }

    /// Where a `proxy_pass` leads.
    fn leads(
        &mut self,
        pass: &'t Node,
        level: &Rc<Level<'t>>,
        ends_tls: bool,
    ) -> Result<Leads, String> {
        let text = pass.arg(0);
        if variables(text).is_empty() {
            let pool = self.pool(text, pass, level)?;
            let rest = Some(Value::text(pool).at(&pass.place));
            return Ok(Leads { rest, by_name: Vec::new() });
        }
        let preread = level.one("ssl_preread").filter(|node| node.arg(0) == "on" && !ends_tls);
        let map = self.maps.get(text).copied();
        let map = map.filter(|map| map.arg(0) == "$ssl_preread_server_name");
        let (Some(preread), Some(map)) = (preread, map) else {
            return Err(
                "the door chooses pools by the server name of TLS alone: `ssl_preread`, and a \
                        `map` of `$ssl_preread_server_name`"
                    .to_owned(),
            );
        };
        let has_patterns = map.children().iter().any(|entry| entry.name == "hostnames");
        let mut leads = Leads::default();
        for entry in map.children().iter().filter(|entry| entry.name != "hostnames") {
            if entry.name == "default" {
                let pool = self.pool(entry.arg(0), pass, level)?;
                leads.rest = Some(Value::text(pool).at(&entry.place));
                continue;
            }
            let names = names(&entry.name, has_patterns)?;
            let pool = self.pool(entry.arg(0), pass, level)?;
            if names.iter().any(|name| name.starts_with('*')) {
                self.site.inexact_once(&entry.place, WILDCARD);
            }
            for name in names {
                if leads.by_name.iter().all(|(known, _)| *known != name) {
                    leads.by_name.push((name, Value::text(&pool).at(&entry.place)));
                }
            }
        }
        self.site.mapped(preread);
        self.site.mapped(map);
        Ok(leads)
    }

    /// Writes a listener.
    fn listener(
        &mut self,
        (node, server): (&'t Node, &'t Node),
        level: &Rc<Level<'t>>,
        leads: &Leads,
    ) -> Result<(), String> {
        let proxied = node.texts().any(|text| text == "proxy_protocol");
        let proxies = if proxied { networks(level, self.site) } else { Vec::new() };
        if proxied && proxies.is_empty() {
            return Err("the door takes the PROXY protocol only from networks that are named: \
                        `set_real_ip_from`"
                .to_owned());
        }
        for found in listen(node, (false, false), Vec::new())? {
            if !self.site.count(Counted::Listeners, 1) {
                return Err("there are more listeners than the door has".to_owned());
            }
            if self.addresses.insert(found.address, ()).is_some() {
                return Err("another server listens here".to_owned());
            }
            let name = self.site.name("listen", &wanted_name(found.address));
            let mut table = Table::new(name, &node.place);
            table.key("address", Value::text(found.address.to_string()), &node.place);
            table.key("mode", Value::text("tcp"), &node.place);
            if let Some(Placed { value, place }) = &leads.rest {
                table.key("pool", value.clone(), place.as_ref().unwrap_or(&node.place));
            }
            if !leads.by_name.is_empty() {
                table.key("sni", Value::Table(leads.by_name.clone()), &node.place);
            }
            if found.is_tls {
                let nodes = server.children();
                let (place, level) = (server.place.clone(), Rc::clone(level));
                let server = Server { place, nodes, level, listens: Vec::new(), names: Vec::new() };
                certificates(&node.place, &[&server], (&mut table, self.site));
            }
            if proxied {
                table.key("proxy_protocol", Value::Boolean(true), &node.place);
                table.key("trusted_proxies", Value::Array(proxies.clone()), &node.place);
            }
            if found.is_tls || !leads.by_name.is_empty() {
                let (name, default) = if found.is_tls {
                    ("ssl_handshake_timeout", 60_000)
                } else {
                    ("preread_timeout", 30_000)
                };
                let time = self.time((name, default), level, node);
                table.key("timeouts", inline(vec![("handshake", time)]), &server.place);
            }
            self.site.listeners.push(table);
        }
        Ok(())
    }

    fn time(&mut self, (name, default): (&str, u64), level: &Level<'t>, node: &Node) -> Placed {
        let Some(set) = level.one(name) else { return clamped(default).at(&node.place) };
        match milliseconds(set.arg(0)) {
            Some(ms) => {
                self.site.mapped(set);
                clamped(ms).at(&set.place)
            }
            None => {
                self.site.refused(set, format!("{} is no time", quote(set.arg(0))));
                clamped(default).at(&node.place)
            }
        }
    }

    /// The pool for an upstream or an address, with the times of a server.
    fn pool(
        &mut self,
        text: &str,
        pass: &'t Node,
        level: &Rc<Level<'t>>,
    ) -> Result<String, String> {
        let is_tls = level.one("proxy_ssl").is_some_and(|node| node.arg(0) == "on");
        let told = level.one("proxy_protocol").filter(|node| node.arg(0) == "on");
        let mut table = Table::new(String::new(), &pass.place);
        let count = match self.upstreams.get(text) {
            Some(upstream) => {
                upstream.write(&mut table, self.site)?;
                upstream.count()
            }
            None => {
                if text.starts_with("unix:") {
                    return Err("the door reaches servers by TCP, not by Unix sockets".to_owned());
                }
                let (host, Some(port)) = host_and_port(text)? else {
                    return Err(format!("{} is no upstream, and has no port", quote(text)));
                };
                let address = format!("{host}:{port}");
                resolved_once(&address, &pass.place, self.site);
                let servers = Value::Array(vec![Value::text(&address).here()]);
                table.key("servers", servers, &pass.place);
                table.key("balance", Value::text("round-robin"), &pass.place);
                table.key("ejection", Value::Boolean(false), &pass.place);
                table.key("slow_start", Value::duration_ms(0), &pass.place);
                1
            }
        };
        table.keys.retain(|(key, ..)| *key != "idle_max");
        let connect = self.time(("proxy_connect_timeout", 60_000), level, pass);
        let idle = self.time(("proxy_timeout", 600_000), level, pass);
        let times = inline(vec![("connect", connect), ("tunnel_idle", idle)]);
        table.key("timeouts", times, &pass.place);
        table.key("retries", self.retries(count, level), &pass.place);
        if let Some(told) = told {
            table.key("proxy_protocol", Value::text("v1"), &told.place);
            self.site.mapped(told);
        }
        let host = text.split(':').next().unwrap_or(text);
        let target = Target { is_tls, host, port: None, uri: None };
        let by = Use { target: &target, level, upstreams: &self.upstreams, node: pass };
        tls(&by, (&mut table, self.site))?;
        level.one("proxy_ssl").into_iter().for_each(|node| self.site.mapped(node));
        let keys =
            table.keys.iter().map(|(key, value, _)| format!("{key} {}", super::site::shown(value)));
        let content = format!("{text} {}", keys.collect::<Vec<_>>().join("\n"));
        if let Some(name) = self.pools.get(&content) {
            return Ok(name.clone());
        }
        table.name = self.site.name("pool", &text.replace(':', "-"));
        let name = table.name.clone();
        self.pools.insert(content, name.clone());
        self.site.pools.push(table);
        Ok(name)
    }

    /// How often a connection is tried, each time at another server.
    fn retries(&mut self, count: usize, level: &Level<'t>) -> Value {
        let mut attempts = count;
        if let Some(node) = level.one("proxy_next_upstream_tries") {
            if let Some(limit) = node.arg(0).parse::<usize>().ok().filter(|limit| *limit > 0) {
                attempts = attempts.min(limit);
            }
            self.site.mapped(node);
        }
        if let Some(node) = level.one("proxy_next_upstream") {
            if node.arg(0) == "off" {
                attempts = 1;
            }
            self.site.mapped(node);
        }
        let attempts = u64::try_from(attempts.clamp(1, ATTEMPTS_MAX)).unwrap_or(1);
        let mut entries = vec![("attempts", Value::Integer(attempts).here())];
        if attempts > 1 {
            entries.push(("budget", Value::Number(1.0).here()));
        }
        inline(entries)
    }
}

/// Said once of wildcards of server names.
const WILDCARD: &str = "a wildcard of nginx stands for several labels too, the door's for one";

/// The server names that an entry of a map stands for, or why the door knows none like it.
fn names(text: &str, has_patterns: bool) -> Result<Vec<String>, String> {
    let lower = text.to_ascii_lowercase();
    let dotted = lower.strip_prefix('.').filter(|_| has_patterns);
    let starred = lower.strip_prefix("*.").filter(|_| has_patterns);
    let base = dotted.or(starred).unwrap_or(&lower);
    if host_name(base).is_err() || base.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("the door compares server names: {} is none", quote(text)));
    }
    Ok(match (dotted, starred) {
        (Some(base), _) => vec![base.to_owned(), format!("*.{base}")],
        (None, Some(base)) => vec![format!("*.{base}")],
        (None, None) => vec![lower],
    })
}
