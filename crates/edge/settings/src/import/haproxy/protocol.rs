//! What is spoken on connections: HTTP/2, and the PROXY protocol before anything else.

use super::account::Account;
use super::items::Line;
use super::listen::Bind;
use super::options::{self, Choice};
use super::proxy::Proxy;
use super::server::Server;

const NO_QUIC: &str = "the door speaks HTTP/1.1 and HTTP/2 over TCP";
const FROM_ANYBODY: &str = "HAProxy takes it from anybody: add `proxy_protocol = true` to the \
                            listener, and name the proxies in its `trusted_proxies`";

/// Whether clients without TLS may not speak HTTP/2 by prior knowledge, as they may in HAProxy.
pub(super) fn refuses_upgrades(proxy: &Proxy<'_>, account: &mut Account) -> bool {
    let line = proxy.set("option disable-h2-upgrade");
    line.into_iter().for_each(|line| account.items.mapped(line.item));
    line.is_some()
}

/// Whether clients may speak HTTP/2 here.
pub(super) fn http2(bind: &Bind<'_>, refuses_upgrades: bool, account: &mut Account) -> bool {
    let mut is_on = bind.is_tls() || !refuses_upgrades;
    for choice in bind.choices.iter().filter(|_| bind.is_tls()) {
        match choice.name.as_str() {
            "alpn" => is_on = choice.value.split(',').any(|protocol| protocol == "h2"),
            "no-alpn" => is_on = false,
            _ => {}
        }
    }
    let Some(choice) = options::last(&bind.choices, "proto") else { return is_on };
    let known = match choice.value.as_str() {
        "h1" => Ok(false),
        "h2" => {
            account.differs(bind.line, "HAProxy takes HTTP/2 alone here, the door HTTP/1.1 too");
            Ok(true)
        }
        _ => Err(NO_QUIC),
    };
    account.result(choice.item, known).unwrap_or(is_on)
}

/// The networks whose header of the PROXY protocol counts at a bind; none is no such header.
///
/// HAProxy takes it from anybody, unless a rule closes all others. Where HTTP is spoken, to trust
/// everybody would be to believe everybody's `X-Forwarded-For` as well, so that is left to whoever
/// knows the proxies.
pub(super) fn trusted(
    proxy: &Proxy<'_>,
    (bind, binds): (&Bind<'_>, &[Bind<'_>]),
    account: &mut Account,
) -> Vec<String> {
    let asked = |bind: &Bind<'_>| options::last(&bind.choices, "accept-proxy").cloned();
    let Some(choice) = asked(bind) else { return Vec::new() };
    if !account.spend(proxy.lines_count()) {
        account.items.refused(choice.item, "the configuration has too many rules to follow");
        return Vec::new();
    }
    let rules = proxy.all("tcp-request connection");
    let closing: Vec<_> = rules.filter_map(|line| Some((line, only_from(line)?))).collect();
    let [others @ .., (line, networks)] = closing.as_slice() else {
        return by_anybody(proxy, (bind, &choice), account);
    };
    if !others.is_empty() {
        account.items.refused(choice.item, "several rules say who may connect: write one");
        return Vec::new();
    }
    account.items.mapped(choice.item);
    if binds.iter().all(|bind| asked(bind).is_some()) {
        account.items.mapped(line.item);
    }
    networks.clone()
}

fn by_anybody(
    proxy: &Proxy<'_>,
    (bind, choice): (&Bind<'_>, &Choice),
    account: &mut Account,
) -> Vec<String> {
    if proxy.is_http() {
        account.items.refused(choice.item, FROM_ANYBODY);
        return Vec::new();
    }
    account.items.mapped(choice.item);
    account.differs(bind.line, "anybody may say whose connection it is: name the proxies instead");
    vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]
}

/// Whether the listeners of a proxy close the connections that a line closes.
pub(super) fn is_at_listeners(proxy: &Proxy<'_>, line: &Line) -> bool {
    let mut closing = proxy.all("tcp-request connection").filter(|line| only_from(line).is_some());
    let is_only =
        closing.next().is_some_and(|only| only.item == line.item) && closing.next().is_none();
    let mut binds = proxy.all("bind").peekable();
    is_only && binds.peek().is_some() && binds.all(|bind| bind.texts(1).contains(&"accept-proxy"))
}

/// The networks of `tcp-request connection reject if !{ src NETWORK... }`, or with `unless`.
fn only_from(line: &Line) -> Option<Vec<String>> {
    let words = line.texts(2);
    let networks = match words.as_slice() {
        ["reject", "if", "!{", "src", networks @ .., "}"]
        | ["reject", "if", "!", "{", "src", networks @ .., "}"]
        | ["reject", "unless", "{", "src", networks @ .., "}"] => networks,
        _ => return None,
    };
    let is_network = |text: &&str| {
        text.parse::<ipnet::IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok()
    };
    (!networks.is_empty() && networks.iter().all(is_network) && line.variable(0).is_none())
        .then(|| networks.iter().map(|text| (*text).to_owned()).collect())
}

/// The version of the PROXY protocol that all servers are told the client by, and where that is
/// said.
pub(super) fn told(servers: &[Server], account: &mut Account) -> Option<(&'static str, Choice)> {
    let version = |server: &Server| {
        let asked = [("send-proxy-v2", "v2"), ("send-proxy", "v1")];
        asked.into_iter().find(|(name, _)| server.is_on(name)).map(|(_, version)| version)
    };
    let first = servers.first().and_then(version);
    let is_same = servers.iter().all(|server| version(server) == first);
    let choices = || servers.iter().flat_map(|server| &server.choices);
    for choice in choices() {
        match (choice.name.as_str(), first) {
            ("send-proxy" | "send-proxy-v2" | "no-send-proxy" | "no-send-proxy-v2", _)
                if !is_same =>
            {
                let reason = "the servers of a pool are told the same version, or none";
                account.items.refused(choice.item, reason);
            }
            ("send-proxy" | "send-proxy-v2" | "no-send-proxy" | "no-send-proxy-v2", _)
            | ("check-send-proxy", Some(_))
            | ("no-check-send-proxy", None) => account.items.mapped(choice.item),
            ("check-send-proxy" | "no-check-send-proxy", _) => {
                let reason = "checks begin with the PROXY protocol where connections do";
                account.items.refused(choice.item, reason);
            }
            _ => {}
        }
    }
    let version = first.filter(|_| is_same)?;
    let name = if version == "v2" { "send-proxy-v2" } else { "send-proxy" };
    Some((version, choices().find(|choice| choice.name == name)?.clone()))
}

/// Where it is said that all servers speak HTTP/2. `is_told`: connections are one client's.
pub(super) fn http2_to_servers(
    servers: &[Server],
    is_told: bool,
    account: &mut Account,
) -> Option<Choice> {
    let choice = super::server::shared(servers, "proto", account)?;
    let objection = match choice.value.as_str() {
        "h1" => return None,
        "h2" if is_told => {
            "with the PROXY protocol a connection is one client's: HTTP/1.1 is spoken"
        }
        "h2" => return Some(choice),
        _ => "the door speaks HTTP/1.1 and HTTP/2 to servers",
    };
    let protocols = servers.iter().filter_map(|server| server.last("proto"));
    protocols.for_each(|choice| account.items.refused(choice.item, objection));
    None
}
