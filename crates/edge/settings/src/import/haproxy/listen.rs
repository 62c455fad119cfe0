//! `bind` lines as listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::super::writer::Value;
use super::super::{Files, Place};
use super::account::Account;
use super::global::Global;
use super::items::Line;
use super::keywords::Treatment::{Ignored, Own, Refused};
use super::options::{self, Choice, Known};
use super::pool::{Table, timeout};
use super::protocol;
use super::proxy::Proxy;
use super::tcp::Passed;
use super::units::number;

/// Addresses of one `bind` line, at most: a range of ports may name thousands.
const ADDRESSES_MAX: usize = 64;

/// Addresses of all `bind` lines, at most.
const LISTENERS_MAX: usize = 1_000;

const LIBRARY: &str = "the door speaks TLS 1.2 and 1.3 with the cipher suites of its library";
const SOCKETS: &str = "the door sets its sockets up by itself";
const UNIX: &str = "it is about Unix sockets";
const NAMES: &str = "it only names or numbers the listener";
const CLIENTS: &str =
    "the door follows chains of clients' certificates by itself, and tells nobody its authorities";
const ERRORS: &str = "the door lets in no client whose certificate has an error";
const QUIC: &str = "the door speaks HTTP/1.1 and HTTP/2 over TCP";

const OWN: &[Known] = &[
    ("accept-proxy", 0, Own),
    ("alpn", 1, Own),
    ("ca-file", 1, Own),
    ("crl-file", 1, Own),
    ("crt", 1, Own),
    ("default-crt", 1, Own),
    ("force-tlsv13", 0, Own),
    ("maxconn", 1, Own),
    ("no-alpn", 0, Own),
    ("no-tlsv12", 0, Own),
    ("proto", 1, Own),
    ("ssl", 0, Own),
    ("ssl-min-ver", 1, Own),
    ("strict-sni", 0, Own),
    ("verify", 1, Own),
];

const IGNORED: &[Known] = &[
    ("allow-0rtt", 0, Ignored(LIBRARY)),
    ("backlog", 1, Ignored(SOCKETS)),
    ("ca-verify-file", 1, Ignored(CLIENTS)),
    ("cc", 1, Ignored(SOCKETS)),
    ("ciphers", 1, Ignored(LIBRARY)),
    ("ciphersuites", 1, Ignored(LIBRARY)),
    ("client-sigalgs", 1, Ignored(LIBRARY)),
    ("curves", 1, Ignored(LIBRARY)),
    ("defer-accept", 0, Ignored(SOCKETS)),
    ("ech", 1, Ignored(LIBRARY)),
    ("ecdhe", 1, Ignored(LIBRARY)),
    ("expose-fd", 1, Ignored(SOCKETS)),
    ("gid", 1, Ignored(UNIX)),
    ("group", 1, Ignored(UNIX)),
    ("guid-prefix", 1, Ignored(NAMES)),
    ("id", 1, Ignored(NAMES)),
    ("idle-ping", 1, Ignored(SOCKETS)),
    ("ktls", 1, Ignored(LIBRARY)),
    ("label", 1, Ignored(NAMES)),
    ("level", 1, Ignored(UNIX)),
    ("mode", 1, Ignored(UNIX)),
    ("mss", 1, Ignored(SOCKETS)),
    ("name", 1, Ignored(NAMES)),
    ("nbconn", 1, Ignored(SOCKETS)),
    ("nice", 1, Ignored(SOCKETS)),
    ("no-ca-names", 0, Ignored(CLIENTS)),
    ("no-sslv3", 0, Ignored("the door speaks TLS 1.2 and 1.3 only, as this asks")),
    ("no-tls-tickets", 0, Ignored(LIBRARY)),
    ("no-tlsv10", 0, Ignored("the door speaks TLS 1.2 and 1.3 only, as this asks")),
    ("no-tlsv11", 0, Ignored("the door speaks TLS 1.2 and 1.3 only, as this asks")),
    ("npn", 1, Ignored("clients agree on HTTP/2 by ALPN")),
    ("ocsp-update", 1, Ignored(LIBRARY)),
    ("prefer-client-ciphers", 0, Ignored(LIBRARY)),
    ("process", 1, Ignored(SOCKETS)),
    ("quic-cc-algo", 1, Ignored(QUIC)),
    ("quic-force-retry", 0, Ignored(QUIC)),
    ("quic-socket", 1, Ignored(QUIC)),
    ("severity-output", 1, Ignored(UNIX)),
    ("shards", 1, Ignored(SOCKETS)),
    ("sigalgs", 1, Ignored(LIBRARY)),
    ("tcp-md5sig", 1, Ignored(SOCKETS)),
    ("tcp-ss", 1, Ignored(SOCKETS)),
    ("tcp-ut", 1, Ignored(SOCKETS)),
    ("tfo", 0, Ignored(SOCKETS)),
    ("thread", 1, Ignored(SOCKETS)),
    ("tls-ticket-keys", 1, Ignored(LIBRARY)),
    ("tls-tickets", 0, Ignored(LIBRARY)),
    ("uid", 1, Ignored(UNIX)),
    ("user", 1, Ignored(UNIX)),
    ("v4v6", 0, Ignored(SOCKETS)),
    ("v6only", 0, Ignored(SOCKETS)),
];

const REFUSED: &[Known] = &[
    ("accept-netscaler-cip", 1, Refused("the door reads no addresses from in front of a request")),
    ("ca-ignore-err", 1, Refused(ERRORS)),
    ("crt-ignore-err", 1, Refused(ERRORS)),
    ("ca-sign-file", 1, Refused("the door makes no certificates")),
    ("ca-sign-pass", 1, Refused("the door makes no certificates")),
    ("crt-list", 1, Refused("name the certificates in the listener's `tls.certificates`")),
    ("force-sslv3", 0, Refused(LIBRARY)),
    ("force-tlsv10", 0, Refused(LIBRARY)),
    ("force-tlsv11", 0, Refused(LIBRARY)),
    ("force-tlsv12", 0, Refused(LIBRARY)),
    ("generate-certificates", 0, Refused("the door makes no certificates")),
    ("interface", 1, Refused("the door listens on addresses, not on interfaces")),
    ("namespace", 1, Refused("the door listens in its own network namespace")),
    ("no-strict-sni", 0, Ignored("it asks for what is the default")),
    ("no-tlsv13", 0, Refused(LIBRARY)),
    ("ssl-max-ver", 1, Refused(LIBRARY)),
    ("transparent", 0, Refused("the door listens on addresses of this machine")),
];

const KNOWN: [&[Known]; 3] = [OWN, IGNORED, REFUSED];

/// One `bind` line that is understood.
#[derive(Clone, Debug)]
pub(super) struct Bind<'s> {
    /// The line.
    pub(super) line: &'s Line,
    /// Its addresses.
    pub(super) addresses: Vec<SocketAddr>,
    /// Its options.
    pub(super) choices: Vec<Choice>,
}

impl Bind<'_> {
    /// Whether it has TLS.
    pub(super) fn is_tls(&self) -> bool {
        options::last(&self.choices, "ssl").is_some()
    }
}

/// Reads the `bind` lines of a proxy; those that are not understood are refused.
pub(super) fn binds<'s>(proxy: &Proxy<'s>, account: &mut Account) -> Vec<Bind<'s>> {
    let mut binds = Vec::new();
    for line in proxy.section.lines.iter().filter(|line| line.text(0) == "bind") {
        let choices = options::split(line, 2, &KNOWN, account);
        let addresses = match line.words.get(1).and_then(|word| word.variable.as_deref()) {
            Some(name) => Err(format!("the environment variable `{name}` is not known here")),
            None => addresses(line.text(1)),
        };
        let addresses = addresses.and_then(|addresses| {
            account.addresses += addresses.len();
            let is_over = account.addresses > LISTENERS_MAX;
            if is_over { Err("too many addresses to listen on".to_owned()) } else { Ok(addresses) }
        });
        match account.result(line.item, addresses) {
            Some(addresses) => binds.push(Bind { line, addresses, choices }),
            None => {
                for choice in &choices {
                    account.items.ignored(choice.item, "its address is refused");
                }
            }
        }
    }
    binds
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let plain = ["ipv4@", "ipv6@", "tcp4@", "tcp6@", "tcp@"]
            .iter()
            .find_map(|prefix| part.strip_prefix(prefix))
            .unwrap_or(part);
        if plain.contains('@') || plain.starts_with('/') {
            return Err("the door listens on IP addresses only".to_owned());
        }
        let (host, ports) = plain.rsplit_once(':').ok_or("the port is missing")?;
        let is_six = part.starts_with("ipv6@") || part.starts_with("tcp6@");
        let address = match host.trim_start_matches('[').trim_end_matches(']') {
            "" | "*" if is_six => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host
                .parse()
                .or(Err("the door listens on IP addresses: a name could change under it"))?,
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (Some(first), Some(last)) = (port(first), port(last)) else {
            return Err("a port is a number from 1 to 65535".to_owned());
        };
        addresses
            .extend((first..=last).take(ADDRESSES_MAX + 1).map(|p| SocketAddr::new(address, p)));
        if addresses.len() > ADDRESSES_MAX {
            return Err(format!("more than {ADDRESSES_MAX} addresses: list those that are needed"));
        }
    }
    Ok(addresses)
}

/// What listeners share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    /// What `global` says.
    pub(super) global: &'a Global,
    /// Whether servers are told about clients.
    pub(super) is_forwarding: bool,
    /// The files, for certificates.
    pub(super) files: &'a dyn Files,
    /// Where connections lead, when they are passed on unread.
    pub(super) passed: Option<&'a Passed>,
}

/// The listeners of a proxy. `names` gives each its name.
pub(super) fn listeners(
    proxy: &Proxy<'_>,
    binds: &[Bind<'_>],
    shared: &Shared<'_>,
    names: &mut dyn FnMut(&str) -> String,
    account: &mut Account,
) -> Vec<Table> {
    let timeouts = match shared.passed {
        Some(passed) => passed.timeouts(proxy, account),
        None => timeouts(proxy, account),
    };
    let connections = proxy.set("maxconn").and_then(|line| {
        let limit = number(line.text(1)).filter(|n| (1..=u64::from(u32::MAX)).contains(n));
        account.result(line.item, limit.ok_or("this is no number the door takes"))
    });
    let refuses_upgrades = shared.passed.is_none() && protocol::refuses_upgrades(proxy, account);
    let mut tables = Vec::new();
    for bind in binds {
        let place = bind.line.place();
        let own = options::last(&bind.choices, "maxconn").and_then(|choice| {
            account.result(
                choice.item,
                number(&choice.value).filter(|n| *n > 0).ok_or("this is not a number"),
            )
        });
        let tls = tls(bind, shared, account);
        let mut keys: Vec<(&'static str, Value, Place)> =
            tls.map(|tls| ("tls", tls, place.clone())).into_iter().collect();
        keys.extend(spoken(proxy, (bind, binds), (shared, refuses_upgrades), account));
        for choice in &bind.choices {
            if !account.items.is_settled(choice.item) {
                account.items.ignored(choice.item, "the listener has no `ssl`");
            }
        }
        // HAProxy has no limit on bodies.
        let body = || ("body".to_owned(), Value::bytes(1 << 60).here());
        let mut limits: Vec<_> = shared.passed.is_none().then(body).into_iter().collect();
        let limit = own.or(connections);
        limits.extend(limit.map(|n| ("connections".to_owned(), Value::Integer(n).here())));
        keys.push(("limits", Value::Table(limits), place.clone()));
        keys.push(("timeouts", timeouts.clone(), place.clone()));
        for address in &bind.addresses {
            let address = ("address", Value::text(address.to_string()), place.clone());
            let keys = std::iter::once(address).chain(keys.iter().cloned()).collect();
            let path = vec!["listen".to_owned(), names(proxy.name())];
            tables.push(Table { path, place: place.clone(), keys });
        }
    }
    tables
}

/// What clients say before their requests, and what servers are told of them.
fn spoken(
    proxy: &Proxy<'_>,
    (bind, binds): (&Bind<'_>, &[Bind<'_>]),
    (shared, refuses_upgrades): (&Shared<'_>, bool),
    account: &mut Account,
) -> Vec<(&'static str, Value, Place)> {
    let place = bind.line.place();
    let mut keys = Vec::new();
    let trusted = protocol::trusted(proxy, (bind, binds), account);
    if !trusted.is_empty() {
        let networks = trusted.into_iter().map(|network| Value::text(network).here()).collect();
        keys.push(("proxy_protocol", Value::Boolean(true), place.clone()));
        keys.push(("trusted_proxies", Value::Array(networks), place.clone()));
    }
    match shared.passed {
        Some(passed) => keys.extend(passed.keys(bind, account)),
        None => {
            if !protocol::http2(bind, refuses_upgrades, account) {
                keys.push(("http2", Value::Boolean(false), place.clone()));
            }
            let style = if shared.is_forwarding { "x-forwarded" } else { "off" };
            keys.push(("forwarded", Value::text(style), place));
        }
    }
    keys
}

/// What HAProxy waits for: the head, the next request, the next bytes.
fn timeouts(proxy: &Proxy<'_>, account: &mut Account) -> Value {
    let client = timeout(proxy, "timeout client", account);
    let request = timeout(proxy, "timeout http-request", account);
    let keep_alive = timeout(proxy, "timeout http-keep-alive", account);
    let handshake = timeout(proxy, "timeout client-hs", account);
    let mut entries = Vec::new();
    let mut add = |key: &str, time: Option<(u64, Place)>| {
        if let Some((ms, place)) = time {
            entries.push((key.to_owned(), Value::duration_ms(ms).at(&place)));
        }
    };
    add("handshake", handshake.or_else(|| client.clone()));
    add("head", request.clone().or_else(|| client.clone()));
    add("keep_alive", keep_alive.or(request).or_else(|| client.clone()));
    add("body", client);
    Value::Table(entries)
}

fn tls(bind: &Bind<'_>, shared: &Shared<'_>, account: &mut Account) -> Option<Value> {
    let ssl = options::last(&bind.choices, "ssl")?;
    let mut certificates = Vec::new();
    for choice in &bind.choices {
        match choice.name.as_str() {
            "crt" | "default-crt" => {
                for (certificate, key) in files_of(&choice.value, shared) {
                    let entries = vec![
                        ("certificate".to_owned(), Value::text(certificate).here()),
                        ("key".to_owned(), Value::text(key).here()),
                    ];
                    certificates.push(Value::Table(entries).at(&choice.place));
                }
                account.items.mapped(choice.item);
            }
            "proto" | "maxconn" | "verify" | "ca-file" | "crl-file" => {}
            _ => account.items.mapped(choice.item),
        }
    }
    if certificates.is_empty() {
        account.items.refused(ssl.item, "no certificate of it is understood");
        return None;
    }
    let words: Vec<&str> =
        bind.choices.iter().flat_map(|c| [c.name.as_str(), c.value.as_str()]).collect();
    let version = super::global::version_min(&words).or(shared.global.version_min);
    let mut entries = vec![("certificates".to_owned(), Value::Array(certificates).here())];
    if let Some(version) = version {
        entries.push(("version_min".to_owned(), Value::text(version).here()));
    }
    if options::last(&bind.choices, "strict-sni").is_some() {
        entries.push(("strict_sni".to_owned(), Value::Boolean(true).here()));
    }
    let clients = clients(bind, shared.global, account);
    entries.extend(clients.map(|clients| ("clients".to_owned(), clients.here())));
    Some(Value::Table(entries))
}

/// `verify required ca-file FILE`: certificates of clients. Where the authorities are not known
/// here the door is told of a file that there is not, so that it does not start open.
fn clients(bind: &Bind<'_>, global: &Global, account: &mut Account) -> Option<Value> {
    const NO_ROOTS: &str = "name the authorities in a file, in `roots` of the listener's `clients`";
    let last = |name: &str| options::last(&bind.choices, name);
    let verify = last("verify");
    let is_asked = verify.is_some_and(|choice| choice.value != "none");
    for choice in &bind.choices {
        match choice.name.as_str() {
            "ca-file" | "crl-file" if !is_asked => {
                account.items.ignored(choice.item, "without `verify` nobody is asked");
            }
            "ca-file" if choice.value.starts_with('@') => {
                account.items.refused(choice.item, NO_ROOTS);
            }
            "verify" | "ca-file" | "crl-file" => account.items.mapped(choice.item),
            _ => {}
        }
    }
    let verify = verify.filter(|_| is_asked)?;
    let roots = last("ca-file").filter(|choice| !choice.value.starts_with('@'));
    if roots.is_none() {
        account.items.refused(verify.item, NO_ROOTS);
    }
    let file = |choice: &Choice| Value::text(global.authority(&choice.value)).at(&choice.place);
    let missing = || Value::text("authorities-of-clients.pem").at(&verify.place);
    let mut entries = vec![("roots".to_owned(), roots.map_or_else(missing, file))];
    if let Some(list) = last("crl-file") {
        entries.push(("revocation".to_owned(), Value::Array(vec![file(list)]).here()));
    }
    if verify.value == "optional" {
        entries.push(("required".to_owned(), Value::Boolean(false).here()));
    }
    Some(Value::Table(entries))
}

/// Certificates and keys for `crt`: HAProxy takes a PEM file with both, a file beside its
/// `.key`, or a folder of such.
fn files_of(path: &str, shared: &Shared<'_>) -> Vec<(String, String)> {
    let path = shared.global.certificate(path);
    let pair = |certificate: String| {
        let beside = format!("{certificate}.key");
        let is_beside = shared.files.read(Path::new(&beside)).is_ok();
        let key = if is_beside { beside } else { certificate.clone() };
        (certificate, key)
    };
    let Ok(names) = shared.files.list(Path::new(&path)) else { return vec![pair(path)] };
    let extras = [".key", ".issuer", ".ocsp", ".sctl", ".dh"];
    let is_certificate = |name: &&String| {
        !name.starts_with('.') && !extras.iter().any(|extra| name.ends_with(extra))
    };
    let folder = path.trim_end_matches('/');
    names
        .iter()
        .filter(is_certificate)
        .take(1_000)
        .map(|name| pair(format!("{folder}/{name}")))
        .collect()
}
