//! `listen` directives, and the listeners they come to.
//!
//! nginx has one socket for all servers that listen on an address; the default server of that
//! address gives it the limits and times that hold before a server is known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use super::clients::clients;
use super::connections;
use super::level::Level;
use super::pool::clamped;
use super::server::Server;
use super::site::{Counted, Site, Table, inline};
use super::target::{host_and_port, variables};
use super::tree::Node;
use super::units::{bytes, milliseconds};
use crate::finding::{Finding, quote};
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
    is_http2: bool,
    /// The networks whose header of the PROXY protocol counts; none is no such header.
    proxies: Vec<Placed>,
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
    is_http2: bool,
    proxies: Vec<Placed>,
}

/// Reads what a server listens on.
pub(super) fn listens(level: &Rc<Level<'_>>, place: &Place, site: &mut Site) -> Vec<Listen> {
    let ssl = level.one("ssl").filter(|node| node.arg(0) == "on");
    if let Some(node) = level.one("ssl") {
        site.mapped(node);
    }
    let http2 = level.one("http2");
    if let Some(node) = http2 {
        site.mapped(node);
    }
    let is_http2 = http2.is_some_and(|node| node.arg(0) == "on");
    let nodes = level.own("listen");
    if nodes.is_empty() {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        let place = place.clone();
        let (is_tls, is_default, proxies) = (ssl.is_some(), false, Vec::new());
        return vec![Listen { address, is_tls, is_default, is_http2, proxies, place }];
    }
    let mut listens = Vec::new();
    for node in nodes {
        let asks_proxies = node.texts().skip(1).any(|text| text == "proxy_protocol");
        let trusted = if asks_proxies { proxies(node, level, site) } else { Ok(Vec::new()) };
        let found = trusted.and_then(|proxies| listen(node, (ssl.is_some(), is_http2), proxies));
        match found {
            Ok(found) => {
                site.mapped(node);
                listens.extend(found);
            }
            Err(reason) => site.refused(node, reason),
        }
    }
    listens
}

/// The networks from which nginx takes the client's address in a header of the PROXY protocol.
fn proxies(node: &Node, level: &Level<'_>, site: &mut Site) -> Result<Vec<Placed>, String> {
    let header = level.one("real_ip_header");
    let header = header.filter(|node| node.arg(0).eq_ignore_ascii_case("proxy_protocol"));
    let networks = networks(level, site);
    let Some(header) = header.filter(|_| !networks.is_empty()) else {
        return Err(
            "nginx takes the PROXY protocol from anybody, and no network is named that may \
                    say who the client is: add `proxy_protocol = true` to the listener, and name \
                    the proxies in its `trusted_proxies`"
                .to_owned(),
        );
    };
    site.mapped(header);
    let message = "nginx serves others too, with the address they have".to_owned();
    let finding = Finding::warning("inexact-import", 0..0, message);
    let label = "the door closes connections of all but the proxies of `set_real_ip_from`";
    site.finding(&node.place, finding.label(label));
    Ok(networks)
}

/// The networks of `set_real_ip_from`.
pub(super) fn networks(level: &Level<'_>, site: &mut Site) -> Vec<Placed> {
    let mut networks = Vec::new();
    for node in level.all("set_real_ip_from") {
        let text = node.arg(0);
        let is_network = text.parse::<ipnet::IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
        if is_network {
            networks.push(Value::text(text).at(&node.place));
            site.mapped(node);
        } else {
            site.refused(node, "the door trusts networks, not names or sockets");
        }
    }
    networks
}

/// Reads one `listen`; `ssl` and `http2`: whether other directives say that it speaks those.
pub(super) fn listen(
    node: &Node,
    (ssl, http2): (bool, bool),
    proxies: Vec<Placed>,
) -> Result<Vec<Listen>, String> {
    let address = address(node.arg(0))?;
    let has = |word: &str| node.texts().skip(1).any(|text| text == word);
    if has("quic") && !has("ssl") {
        return Err(
            "the door speaks no HTTP/3: clients stay with the addresses that speak TCP".to_owned()
        );
    }
    let is_default = has("default_server") || has("default");
    let place = node.place.clone();
    let (is_tls, is_http2) = (ssl || has("ssl"), http2 || has("http2"));
    let first = Listen { address, is_tls, is_default, is_http2, proxies, place };
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
                    is_http2: false,
                    proxies: Vec::new(),
                });
                listeners.len() - 1
            });
            let Some(listener) = listeners.get_mut(at) else { continue };
            listener.is_tls |= listen.is_tls;
            listener.is_http2 |= listen.is_http2;
            if listener.proxies.is_empty() {
                listener.proxies.clone_from(&listen.proxies);
            }
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

pub(super) fn wanted_name(address: SocketAddr) -> String {
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
    let all = listener.servers.iter().filter(|index| **index != listener.default);
    let others = all.filter_map(|index| servers.get(*index));
    let servers: Vec<&Server<'_>> = std::iter::once(default).chain(others).collect();
    if listener.is_tls {
        tls(&listener.place, &servers, (&mut table, site));
    }
    let http2 =
        if listener.is_http2 { streams(&default.level, site) } else { Value::Boolean(false) };
    table.key("http2", http2, &listener.place);
    if listener.proxies.is_empty() {
        trusted(&default.level, (&mut table, site));
    } else {
        table.key("proxy_protocol", Value::Boolean(true), &listener.place);
        let networks = Value::Array(listener.proxies.clone());
        table.key("trusted_proxies", networks, &listener.place);
    }
    limits(&servers, (&mut table, site));
    timeouts(default, (&mut table, site));
    site.listeners.push(table);
}

/// Writes `tls` for the certificates of all servers on one address, its default server first.
pub(super) fn tls(place: &Place, servers: &[&Server<'_>], (table, site): (&mut Table, &mut Site)) {
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
    let mut entries = vec![("certificates", Value::Array(certificates).at(place))];
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
    if let Some(clients) = clients(servers, site) {
        entries.push(("clients", clients));
    }
    table.key("tls", inline(entries), place);
}

fn version_min(node: &Node) -> &'static str {
    let has = |wanted: &str| node.texts().any(|text| text.eq_ignore_ascii_case(wanted));
    if has("TLSv1.3") && !has("TLSv1.2") { "1.3" } else { "1.2" }
}

/// HTTP/2, with as many requests at once as nginx lets a connection have.
fn streams(level: &Level<'_>, site: &mut Site) -> Value {
    let node = level.one("http2_max_concurrent_streams");
    let number = node.and_then(|node| node.arg(0).parse::<u64>().ok()).unwrap_or(128);
    node.into_iter().for_each(|node| site.mapped(node));
    inline(vec![("streams_max", Value::Integer(number.clamp(1, 1_000)).here())])
}

/// The networks whose forwarding headers are believed.
fn trusted(level: &Rc<Level<'_>>, (table, site): (&mut Table, &mut Site)) {
    let header = level.one("real_ip_header");
    let nodes = || level.all("set_real_ip_from").iter().copied().chain(header);
    let is_of = |name: &str| header.is_some_and(|node| node.arg(0).eq_ignore_ascii_case(name));
    if is_of("proxy_protocol") {
        let reason = "no `listen` here has `proxy_protocol`";
        nodes().for_each(|node| site.ignored(node, reason));
        return;
    }
    if !is_of("X-Forwarded-For") {
        let reason = "the door takes the client's address from X-Forwarded-For of trusted proxies, \
                      or from the PROXY protocol";
        nodes().for_each(|node| site.refused(node, reason));
        return;
    }
    let networks = networks(level, site);
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

/// The limits of a listener: those of its default server, which is the first.
fn limits(servers: &[&Server<'_>], (table, site): (&mut Table, &mut Site)) {
    let Some(server) = servers.first() else { return };
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
    if let Some(number) = connections::of_listener(servers, site) {
        entries.push(("connections_per_address", number));
    }
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
