//! `listen` directives, and the listeners they come to.
//!
//! nginx has one socket for all servers that listen on an address; the default server of that
//! address gives it the limits and times that hold before a server is known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use super::level::Level;
use super::pool::clamped;
use super::server::Server;
use super::site::{Counted, Site, Table, inline};
use super::target::{host_and_port, variables};
use super::tree::Node;
use super::units::{bytes, milliseconds};
use crate::finding::quote;
use crate::import::Place;
use crate::import::writer::{Placed, Value};

/// Bytes of a body where nginx has no limit: as many as the door can count.
const BODY_UNLIMITED: u64 = 1 << 60;

/// One `listen` of a server, or the one that is meant when there is none.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    pub(super) is_default: bool,
    pub(super) place: Place,
}

/// One address with all servers on it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    pub(super) name: String,
    pub(super) place: Place,
    /// The servers on it, in order.
    pub(super) servers: Vec<usize>,
    /// The one that gets what no other is named for.
    pub(super) default: usize,
    /// The bytes a body may have where no route says otherwise.
    pub(super) body_max: u64,
}

/// Reads what a server listens on.
pub(super) fn listens(level: &Rc<Level<'_>>, place: &Place, site: &mut Site) -> Vec<Listen> {
    let ssl = level.one("ssl").filter(|node| node.arg(0) == "on");
    if let Some(node) = level.one("ssl") {
        site.mapped(node);
    }
    let nodes = level.own("listen");
    if nodes.is_empty() {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        let place = place.clone();
        return vec![Listen { address, is_tls: ssl.is_some(), is_default: false, place }];
    }
    let mut listens = Vec::new();
    for node in nodes {
        match listen(node, ssl.is_some()) {
            Ok(found) => {
                site.mapped(node);
                listens.extend(found);
            }
            Err(reason) => site.refused(node, reason),
        }
    }
    listens
}

fn listen(node: &Node, ssl: bool) -> Result<Vec<Listen>, String> {
    let address = address(node.arg(0))?;
    let has = |word: &str| node.texts().skip(1).any(|text| text == word);
    if has("proxy_protocol") {
        return Err("the door does not read the PROXY protocol".to_owned());
    }
    if has("quic") && !has("ssl") {
        return Err(
            "the door speaks no HTTP/3: clients stay with the addresses that speak TCP".to_owned()
        );
    }
    let is_default = has("default_server") || has("default");
    let place = node.place.clone();
    let first = Listen { address, is_tls: ssl || has("ssl"), is_default, place };
    let mut listens = vec![first.clone()];
    if has("ipv6only=off") && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        listens.push(Listen { address, ..first });
    }
    Ok(listens)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if text.starts_with("unix:") {
        return Err("the door listens on TCP, not on Unix sockets".to_owned());
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let (host, port) = host_and_port(text)?;
    let port = port.unwrap_or(80);
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None if host == "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        None if host == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => host.parse().ok().map(IpAddr::V4),
    };
    ip.map(|ip| SocketAddr::from((ip, port))).ok_or_else(|| {
        format!("{} is no address: the door listens on addresses, not on names", quote(text))
    })
}

/// The addresses of all servers, in order, each with the servers on it.
pub(super) fn listeners(servers: &[Server<'_>], site: &mut Site) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut has_default = std::collections::BTreeSet::new();
    let mut known = std::collections::BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        for listen in &server.listens {
            if !known.contains_key(&listen.address) && !site.count(Counted::Listeners, 1) {
                continue;
            }
            let at = *known.entry(listen.address).or_insert_with(|| {
                listeners.push(Listener {
                    address: listen.address,
                    is_tls: false,
                    name: site.name("listen", &wanted_name(listen.address)),
                    place: listen.place.clone(),
                    servers: Vec::new(),
                    default: index,
                    body_max: 0,
                });
                listeners.len() - 1
            });
            let Some(listener) = listeners.get_mut(at) else { continue };
            listener.is_tls |= listen.is_tls;
            if listener.servers.last() != Some(&index) {
                listener.servers.push(index);
            }
            if listen.is_default && has_default.insert(at) {
                listener.default = index;
            }
        }
    }
    for listener in &mut listeners {
        if let Some(default) = servers.get(listener.default) {
            listener.body_max = body_max(&default.level, &default.place).0;
        }
    }
    listeners
}

fn wanted_name(address: SocketAddr) -> String {
    let family = if address.is_ipv6() { "-v6" } else { "" };
    match address.port() {
        80 => format!("http{family}"),
        443 => format!("https{family}"),
        port => format!("port-{port}{family}"),
    }
}

/// Writes the table of a listener.
pub(super) fn write(listener: &Listener, servers: &[Server<'_>], site: &mut Site) {
    let Some(default) = servers.get(listener.default) else { return };
    let mut table = Table::new(listener.name.clone(), &listener.place);
    table.key("address", Value::text(listener.address.to_string()), &listener.place);
    if listener.is_tls {
        let all = listener.servers.iter().filter(|index| **index != listener.default);
        let others = all.filter_map(|index| servers.get(*index));
        let servers: Vec<&Server<'_>> = std::iter::once(default).chain(others).collect();
        tls(listener, &servers, (&mut table, site));
    }
    trusted(&default.level, (&mut table, site));
    limits(default, (&mut table, site));
    timeouts(default, (&mut table, site));
    site.listeners.push(table);
}

fn tls(listener: &Listener, servers: &[&Server<'_>], (table, site): (&mut Table, &mut Site)) {
    let mut certificates: Vec<Placed> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for server in servers {
        let pairs =
            server.level.all("ssl_certificate").iter().zip(server.level.all("ssl_certificate_key"));
        for (certificate, key) in pairs {
            if [certificate, key].iter().any(|node| node.arg(0).contains(['$', ':'])) {
                let reason = "the door reads certificates from files that are named when it starts";
                site.refused(certificate, reason);
                site.refused(key, reason);
                continue;
            }
            site.mapped(certificate);
            site.mapped(key);
            if seen.insert((certificate.arg(0), key.arg(0))) {
                let entries = vec![
                    ("certificate", Value::text(certificate.arg(0)).at(&certificate.place)),
                    ("key", Value::text(key.arg(0)).at(&key.place)),
                ];
                certificates.push(inline(entries).at(&certificate.place));
            }
        }
    }
    let mut entries = vec![("certificates", Value::Array(certificates).at(&listener.place))];
    let protocols = servers.first().and_then(|server| server.level.one("ssl_protocols"));
    let version = protocols.map_or("1.2", version_min);
    for node in servers.iter().filter_map(|server| server.level.one("ssl_protocols")) {
        if version_min(node) == version {
            site.mapped(node);
        }
    }
    if let Some(node) = protocols {
        let has = |wanted: &str| node.texts().any(|text| text.eq_ignore_ascii_case(wanted));
        entries.push(("version_min", Value::text(version).at(&node.place)));
        if has("TLSv1") || has("TLSv1.1") || has("SSLv3") || has("SSLv2") {
            table.note("the door speaks no TLS older than 1.2");
        }
    }
    table.key("tls", inline(entries), &listener.place);
}

fn version_min(node: &Node) -> &'static str {
    let has = |wanted: &str| node.texts().any(|text| text.eq_ignore_ascii_case(wanted));
    if has("TLSv1.3") && !has("TLSv1.2") { "1.3" } else { "1.2" }
}

/// The networks whose forwarding headers are believed.
fn trusted(level: &Rc<Level<'_>>, (table, site): (&mut Table, &mut Site)) {
    let header = level.one("real_ip_header");
    let nodes = level.all("set_real_ip_from");
    let by_list = header.is_some_and(|node| node.arg(0).eq_ignore_ascii_case("X-Forwarded-For"));
    if !by_list {
        let reason = "the door takes the client's address from X-Forwarded-For or Forwarded of trusted proxies";
        nodes.iter().copied().chain(header).for_each(|node| site.refused(node, reason));
        return;
    }
    let mut networks = Vec::new();
    for node in nodes {
        let text = node.arg(0);
        let is_network = text.parse::<ipnet::IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
        if is_network {
            networks.push(Value::text(text).at(&node.place));
            site.mapped(node);
        } else {
            site.refused(node, "the door trusts networks, not names or sockets");
        }
    }
    if let (Some(header), false) = (header, networks.is_empty()) {
        site.mapped(header);
        table.key("trusted_proxies", Value::Array(networks), &header.place);
    }
}

/// The bytes a body may have at a level, and where that is said.
pub(super) fn body_max(level: &Level<'_>, around: &Place) -> (u64, Place) {
    let Some(node) = level.one("client_max_body_size") else { return (1 << 20, around.clone()) };
    let size = match bytes(node.arg(0)) {
        Some(0) => BODY_UNLIMITED,
        Some(size) => size.min(BODY_UNLIMITED),
        None => 1 << 20,
    };
    (size, node.place.clone())
}

fn limits(server: &Server<'_>, (table, site): (&mut Table, &mut Site)) {
    let mut entries = Vec::new();
    let (number, size, place) = match server.level.one("large_client_header_buffers") {
        Some(node) => {
            site.mapped(node);
            let number = node.arg(0).parse::<u64>().unwrap_or(4);
            (number, bytes(node.arg(1)).unwrap_or(8_192), &node.place)
        }
        None => (4, 8_192, &server.place),
    };
    let head = number.saturating_mul(size).clamp(1_024, 65_536);
    entries.push(("head", Value::bytes(head).at(place)));
    entries.push(("headers", Value::Integer(256).here()));
    entries.push(("target", Value::bytes(size.clamp(64, 65_536)).at(place)));
    let (body, place) = body_max(&server.level, &server.place);
    if let Some(node) = server.level.one("client_max_body_size") {
        site.mapped(node);
    }
    entries.push(("body", Value::bytes(body).at(&place)));
    table.key("limits", inline(entries), &server.place);
}

fn timeouts(server: &Server<'_>, (table, site): (&mut Table, &mut Site)) {
    let mut time = |name: &str, default_ms: u64| -> (u64, Place) {
        let Some(node) = server.level.one(name) else { return (default_ms, server.place.clone()) };
        let Some(ms) = milliseconds(node.arg(0)).filter(|_| variables(node.arg(0)).is_empty())
        else {
            site.refused(node, format!("{} is no time", quote(node.arg(0))));
            return (default_ms, server.place.clone());
        };
        site.mapped(node);
        (ms, node.place.clone())
    };
    let head = time("client_header_timeout", 60_000);
    let (receive, send) = (time("client_body_timeout", 60_000), time("send_timeout", 60_000));
    let keep_alive = time("keepalive_timeout", 75_000);
    let body = if send.0 > receive.0 { send } else { receive };
    let entries = [("head", head), ("body", body), ("keep_alive", keep_alive)];
    let entries = entries.into_iter().map(|(key, (ms, place))| (key, clamped(ms).at(&place)));
    table.key("timeouts", inline(entries.collect()), &server.place);
}
