//! `server`, `default-server` and `server-template`: addresses and options.
//!
//! In HAProxy every server has settings of its own; here the servers of a pool share all but
//! address, weight and drain. What differs between servers is refused, with every line that says
//! so; what is alike becomes the pool's.

use super::super::Place;
use super::account::Account;
use super::items::Line;
use super::keywords::Treatment::{Ignored, Own, Refused};
use super::options::{self, Choice, Known};
use super::proxy::Proxy;

const CHECKED_BY_TRAFFIC: &str = "the door checks servers where it sends requests";
const LIBRARY: &str = "the door speaks TLS 1.2 and 1.3 with the cipher suites of its library";
const NO_QUEUE: &str =
    "the door finds by itself how many requests a server takes, and bounds what waits";
const NO_TLVS: &str = "the door tells servers the addresses alone: `send-proxy-v2` without more";
const SPOKEN: &str = "the door speaks HTTP/1.1 to servers, or HTTP/2 where `proto h2` says so";
const AGENT: &str = "the door asks no agents";
const SOCKETS: &str = "the door sets its sockets up by itself";
const IS_DEFAULT: &str = "it asks for what is the default";

/// Options that decide something here.
const OWN: &[Known] = &[
    ("backup", 0, Own),
    ("ca-file", 1, Own),
    ("check", 0, Own),
    ("check-send-proxy", 0, Own),
    ("crt", 1, Own),
    ("disabled", 0, Own),
    ("enabled", 0, Own),
    ("error-limit", 1, Own),
    ("fall", 1, Own),
    ("inter", 1, Own),
    ("maxconn", 1, Own),
    ("maxqueue", 1, Own),
    ("no-check", 0, Own),
    ("no-check-send-proxy", 0, Own),
    ("no-send-proxy", 0, Own),
    ("no-send-proxy-v2", 0, Own),
    ("no-ssl", 0, Own),
    ("observe", 1, Own),
    ("on-error", 1, Own),
    ("proto", 1, Own),
    ("resolvers", 1, Own),
    ("rise", 1, Own),
    ("send-proxy", 0, Own),
    ("send-proxy-v2", 0, Own),
    ("slowstart", 1, Own),
    ("sni", 1, Own),
    ("ssl", 0, Own),
    ("verify", 1, Own),
    ("verifyhost", 1, Own),
    ("weight", 1, Own),
];

const IGNORED: &[Known] = &[
    ("allow-0rtt", 0, Ignored(LIBRARY)),
    ("alpn", 1, Ignored(SPOKEN)),
    ("check-alpn", 1, Ignored(SPOKEN)),
    ("check-sni", 1, Ignored("checks use the name of the pool's `tls`")),
    ("check-ssl", 0, Ignored("checks use the pool's `tls`")),
    ("check-reuse-pool", 0, Ignored("a check has a connection of its own")),
    ("ciphers", 1, Ignored(LIBRARY)),
    ("ciphersuites", 1, Ignored(LIBRARY)),
    ("client-sigalgs", 1, Ignored(LIBRARY)),
    ("cookie", 1, Ignored("it belongs to `cookie`, which is refused")),
    ("curves", 1, Ignored(LIBRARY)),
    ("downinter", 1, Ignored("the door checks at one interval")),
    ("fastinter", 1, Ignored("the door checks at one interval")),
    ("force-tlsv12", 0, Ignored(LIBRARY)),
    ("force-tlsv13", 0, Ignored(LIBRARY)),
    ("guid", 1, Ignored("it only names or numbers the server")),
    ("hash-key", 1, Ignored("the hash is of the server's address")),
    ("id", 1, Ignored("it only names or numbers the server")),
    ("init-addr", 1, Ignored("the door starts without addresses and asks again")),
    ("init-state", 1, Ignored("the first check of a new server counts alone")),
    ("log-bufsize", 1, Ignored("the door has a bounded queue of its own for log records")),
    ("log-proto", 1, Ignored("the door has a bounded queue of its own for log records")),
    ("max-reuse", 1, Ignored("a connection is used as often as its server allows")),
    ("minconn", 1, Ignored(NO_QUEUE)),
    ("no-agent-check", 0, Ignored(IS_DEFAULT)),
    ("no-backup", 0, Ignored(IS_DEFAULT)),
    ("no-check-ssl", 0, Ignored(IS_DEFAULT)),
    ("no-send-proxy-v2-ssl", 0, Ignored(IS_DEFAULT)),
    ("no-send-proxy-v2-ssl-cn", 0, Ignored(IS_DEFAULT)),
    ("no-ssl-reuse", 0, Ignored(LIBRARY)),
    ("no-sslv3", 0, Ignored(LIBRARY)),
    ("no-tfo", 0, Ignored(SOCKETS)),
    ("no-tls-tickets", 0, Ignored(LIBRARY)),
    ("no-tlsv10", 0, Ignored(LIBRARY)),
    ("no-tlsv11", 0, Ignored(LIBRARY)),
    ("no-tlsv12", 0, Ignored(LIBRARY)),
    ("no-tlsv13", 0, Ignored(LIBRARY)),
    ("no-verifyhost", 0, Ignored(IS_DEFAULT)),
    ("non-stick", 0, Ignored("the door keeps no tables of clients")),
    ("npn", 1, Ignored(SPOKEN)),
    ("pool-conn-name", 1, Ignored("idle connections are the pool's `idle_max`")),
    ("pool-low-conn", 1, Ignored("idle connections are the pool's `idle_max`")),
    ("pool-max-conn", 1, Ignored("idle connections are the pool's `idle_max`")),
    ("pool-purge-delay", 1, Ignored("idle connections end by `timeouts.idle`")),
    ("resolve-net", 1, Ignored("all addresses of a name are servers")),
    ("resolve-opts", 1, Ignored("all addresses of a name are servers")),
    ("resolve-prefer", 1, Ignored("all addresses of a name are servers")),
    ("shard", 1, Ignored("peers share stick tables, and the door has none")),
    ("sigalgs", 1, Ignored(LIBRARY)),
    ("ssl-max-ver", 1, Ignored(LIBRARY)),
    ("ssl-min-ver", 1, Ignored(LIBRARY)),
    ("ssl-reuse", 0, Ignored(LIBRARY)),
    ("stick", 0, Ignored(IS_DEFAULT)),
    ("strict-maxconn", 0, Ignored(NO_QUEUE)),
    ("tcp-md5sig", 1, Ignored(SOCKETS)),
    ("tcp-ut", 1, Ignored(SOCKETS)),
    ("tfo", 0, Ignored(SOCKETS)),
    ("tls-tickets", 0, Ignored(LIBRARY)),
    ("ws", 1, Ignored("an upgrade goes to the server as it came")),
    ("cc", 1, Ignored(SOCKETS)),
    ("idle-ping", 1, Ignored("idle connections end by `timeouts.idle`")),
    ("renegotiate", 0, Ignored(LIBRARY)),
    ("no-renegotiate", 0, Ignored(LIBRARY)),
    ("sni-auto", 0, Ignored("the server's own name is used")),
    ("no-sni-auto", 0, Ignored(LIBRARY)),
    ("check-sni-auto", 0, Ignored("the server's own name is used")),
    ("no-check-sni-auto", 0, Ignored(LIBRARY)),
];

const REFUSED: &[Known] = &[
    ("addr", 1, Refused(CHECKED_BY_TRAFFIC)),
    ("agent-addr", 1, Refused(AGENT)),
    ("agent-check", 0, Refused(AGENT)),
    ("agent-inter", 1, Refused(AGENT)),
    ("agent-port", 1, Refused(AGENT)),
    ("agent-send", 1, Refused(AGENT)),
    ("check-pool-conn-name", 1, Refused(CHECKED_BY_TRAFFIC)),
    ("check-proto", 1, Refused("a check speaks what the pool speaks")),
    ("check-via-socks4", 0, Refused("the door dials servers itself")),
    ("crl-file", 1, Refused("the door reads no revocation lists of servers")),
    ("force-sslv3", 0, Refused(LIBRARY)),
    ("force-tlsv10", 0, Refused(LIBRARY)),
    ("force-tlsv11", 0, Refused(LIBRARY)),
    ("interface", 1, Refused("the door dials from any address of its own")),
    ("namespace", 1, Refused("the door dials from its own network namespace")),
    ("on-marked-down", 1, Refused("the door lets requests in flight end when a check fails")),
    ("on-marked-up", 1, Refused("the door lets requests in flight end when a check fails")),
    ("port", 1, Refused(CHECKED_BY_TRAFFIC)),
    ("proxy-v2-options", 1, Refused(NO_TLVS)),
    ("redir", 1, Refused("the door redirects by routes, not by servers")),
    ("send-proxy-v2-ssl", 0, Refused(NO_TLVS)),
    ("send-proxy-v2-ssl-cn", 0, Refused(NO_TLVS)),
    ("set-proxy-v2-tlv-fmt", 1, Refused(NO_TLVS)),
    ("socks4", 1, Refused("the door dials servers itself")),
    ("source", 1, Refused("the door dials from any address of its own")),
    ("track", 1, Refused("the door checks every pool by itself")),
    ("usesrc", 1, Refused("the door dials from any address of its own")),
];

/// All options of servers.
const KNOWN: [&[Known]; 3] = [OWN, IGNORED, REFUSED];

/// Servers of one import, at most: as many as this door takes.
const SERVERS_MAX: usize = 10_000;

/// One server that is taken over.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its address, as the TOML has it.
    pub(super) address: String,
    /// Whether that is a name.
    pub(super) is_name: bool,
    /// Where its line stands.
    pub(super) place: Place,
    /// Its options, inherited ones first.
    pub(super) choices: Vec<Choice>,
}

impl Server {
    /// The last choice of this name.
    pub(super) fn last(&self, name: &str) -> Option<&Choice> {
        options::last(&self.choices, name)
    }

    /// Whether `name` is on: the last of it and `no-name` counts.
    pub(super) fn is_on(&self, name: &str) -> bool {
        let no = format!("no-{name}");
        let last = self.choices.iter().rev().find(|c| c.name == name || c.name == no);
        last.is_some_and(|choice| choice.name == name)
    }
}

/// The servers of a proxy, and its backups, which are not taken over.
pub(super) fn servers(proxy: &Proxy<'_>, account: &mut Account) -> (Vec<Server>, Vec<Place>) {
    let mut defaults: Vec<Choice> = Vec::new();
    let (mut servers, mut backups) = (Vec::new(), Vec::new());
    let inherited = proxy.inherited.iter().rev().flat_map(|section| &section.lines);
    for line in inherited.filter(|line| line.text(0) == "default-server") {
        put_last(&mut defaults, defaults_of(line, account));
    }
    for line in &proxy.section.lines {
        match line.text(0) {
            "default-server" => {
                put_last(&mut defaults, defaults_of(line, account));
            }
            "server" | "server-template" if account.servers >= SERVERS_MAX => {
                account.items.refused(line.item, "the door takes 10000 servers");
            }
            "server" | "server-template" => {
                account.servers += 1;
                let head = if line.text(0) == "server" { 3 } else { 4 };
                let own = options::split(line, head, &KNOWN, account);
                let choices = defaults.iter().cloned().chain(own.iter().cloned()).collect();
                let server = address(line).map(|(address, is_name)| Server {
                    address,
                    is_name,
                    place: line.place(),
                    choices,
                });
                let Some(server) = account.result(line.item, server) else {
                    drop_choices(&own, account);
                    continue;
                };
                if let Some(backup) = server.last("backup") {
                    let reason = "the door has no backup servers: a zone comes close";
                    account.items.refused(backup.item, reason);
                    account.items.refused(line.item, reason);
                    drop_choices(&own, account);
                    backups.push(line.place());
                    continue;
                }
                servers.push(server);
            }
            _ => {}
        }
    }
    (servers, backups)
}

/// Later options replace earlier ones of the same name.
fn put_last(defaults: &mut Vec<Choice>, later: Vec<Choice>) {
    for choice in later {
        defaults.retain(|earlier| earlier.name != choice.name);
        defaults.push(choice);
    }
}

/// The options of a `default-server` line; it has been split if it was read before.
fn defaults_of(line: &Line, account: &mut Account) -> Vec<Choice> {
    if let Some(known) = account.defaults.get(&line.item) {
        return known.clone();
    }
    let choices = options::split(line, 1, &KNOWN, account);
    account.items.mapped(line.item);
    account.defaults.insert(line.item, choices.clone());
    choices
}

fn drop_choices(choices: &[Choice], account: &mut Account) {
    for choice in choices {
        account.items.ignored(choice.item, "its server is refused");
    }
}

/// The address of a `server` or `server-template` line, and whether it is a name.
fn address(line: &Line) -> Result<(String, bool), String> {
    let index = if line.text(0) == "server" { 2 } else { 3 };
    if let Some(name) = line.words.iter().take(index + 1).find_map(|w| w.variable.as_deref()) {
        return Err(format!("the environment variable `{name}` is not known here"));
    }
    let text = line.text(index);
    let plain = ["ipv4@", "ipv6@"].iter().find_map(|p| text.strip_prefix(p)).unwrap_or(text);
    if plain.is_empty() {
        return Err("the address is missing".to_owned());
    }
    if plain.contains('@') || plain.starts_with('/') {
        return Err("the door dials IP addresses and names only".to_owned());
    }
    if plain.starts_with('_') {
        return Err("the door asks for addresses, not for SRV records".to_owned());
    }
    let (host, port) = match plain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => return Err("without a port HAProxy takes the client's: write one".to_owned()),
    };
    if port.is_empty() || port.starts_with(['+', '-']) {
        return Err("without a port HAProxy takes the client's: write one".to_owned());
    }
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or("this is not a port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if matches!(host, "" | "*" | "0.0.0.0" | "::") {
        return Err("the door dials fixed servers, not where the client wanted to go".to_owned());
    }
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return Ok((std::net::SocketAddr::new(address, port).to_string(), false));
    }
    match crate::server::host_name(host) {
        Ok(name) => Ok((format!("{name}:{port}"), true)),
        Err(reason) => Err(reason.to_owned()),
    }
}

/// The value of `name` that all servers have; `None` when they have none, or differ, in which
/// case every choice of it is refused.
pub(super) fn shared(servers: &[Server], name: &str, account: &mut Account) -> Option<Choice> {
    let choices: Vec<Option<&Choice>> = servers.iter().map(|server| server.last(name)).collect();
    let value = |choice: &Option<&Choice>| choice.map(|choice| choice.value.clone());
    let first = choices.first().cloned().flatten();
    let is_same = choices.iter().all(|choice| value(choice) == first.map(|c| c.value.clone()));
    for choice in choices.iter().flatten() {
        if is_same {
            account.items.mapped(choice.item);
        } else {
            let reason = format!("the servers of a pool share one `{name}` here, and these differ");
            account.items.refused(choice.item, reason);
        }
    }
    first.filter(|_| is_same).cloned()
}
