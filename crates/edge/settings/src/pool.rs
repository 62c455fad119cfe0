//! Reads `[pools.NAME]`: servers, how one is chosen, and when it is given up.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::configuration::{
    Balance, Check, CheckKind, Ejection, HashKey, Pool, PoolTls, ProxyVersion, Retries,
    ServerProtocol, ServerTimeouts,
};

use crate::admission;
use crate::capacity::capacity;
use crate::finding::{Finding, quote};
use crate::path::plain_path;
use crate::reader::{TIMEOUT_RANGE, Table, Value};
use crate::server::{host_name, servers};
use crate::tls::pools_certificate;

/// Servers over all pools, at most.
const SERVERS_MAX: usize = 10_000;

/// Bytes of a body a health check looks at.
const CHECK_BODY_BYTES_MAX: usize = 65_536;

/// A pool and its name.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) name: Name,
    /// `None` when the pool has errors.
    pub(crate) pool: Option<Pool>,
}

/// Reads all pools, in file order.
pub(crate) fn pools(root: &mut Table<'_>) -> Vec<Placed> {
    let mut server_count = 0;
    let mut placed = Vec::new();
    for (name, value) in root.named("pools") {
        let pool = value.table("a table").and_then(|table| pool(&name, table));
        server_count += pool.as_ref().map_or(0, |pool| pool.servers.len());
        placed.push(Placed { name, pool });
        if server_count > SERVERS_MAX {
            let message = format!("more than {SERVERS_MAX} servers");
            let finding = Finding::error("too-many-servers", value.key_span.clone(), message);
            value.report(finding.label("one too many in this pool"));
            break;
        }
    }
    placed
}

fn pool(name: &Name, mut table: Table<'_>) -> Option<Pool> {
    let servers = servers(&mut table);
    let protocol = table.choice("protocol", ServerProtocol::default(), PROTOCOLS);
    let pool = Pool {
        protocol,
        proxy_protocol: proxy_protocol(&mut table, protocol),
        name: name.clone(),
        servers: Vec::new(),
        balance: table.get("balance").and_then(|value| balance(&value)).unwrap_or(Balance::P2c),
        zone: table.get("zone").and_then(|value| value.word()),
        check: table.get("check").and_then(|value| check(&value, protocol)),
        tls: table.get("tls").and_then(|value| tls(&value)),
        retries: retries(&mut table),
        timeouts: timeouts(&mut table),
        ejection: ejection(&mut table),
        slow_start: table.duration("slow_start", Duration::from_secs(30), SLOW_START_RANGE),
        in_flight_max: table.number("in_flight_max", 0, 0..=1_000_000),
        admission: admission::of_pool(&mut table),
        idle_max: table.number("idle_max", 64, 0..=10_000),
        resolve: table.duration("resolve", Duration::from_secs(30), RESOLVE_RANGE),
        capacity: table.get("capacity").and_then(|value| capacity(&value)),
        peak_per_second: table.get("peak").and_then(|value| value.rate(&PEAK_RANGE)),
    };
    table.finish();
    // The rest is read whatever the servers are, so that every mistake is reported.
    servers.map(|servers| Pool { servers, ..pool })
}

/// Which PROXY header each connection begins with. One that many clients share cannot.
fn proxy_protocol(table: &mut Table<'_>, protocol: ServerProtocol) -> Option<ProxyVersion> {
    let value = table.get("proxy_protocol")?;
    if protocol == ServerProtocol::Http2 {
        let message = "`proxy_protocol` has no meaning with `protocol = \"http2\"`".to_owned();
        let help = "requests of many clients share a connection there: remove one of them";
        value.invalid("conflicting-keys", message, help);
    }
    value.choice(&[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)])
}

const PROTOCOLS: &[(&str, ServerProtocol)] =
    &[("http1", ServerProtocol::Http1), ("http2", ServerProtocol::Http2)];

/// Requests per second that a peak may be: from a trickle to what no machine serves.
const PEAK_RANGE: RangeInclusive<f64> = 0.001..=1e9;

const SLOW_START_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
const RESOLVE_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

fn balance(value: &Value<'_>) -> Option<Balance> {
    let choices = [
        ("p2c", Balance::P2c),
        ("least-request", Balance::LeastRequest),
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
    ];
    match value.as_text() {
        Some("maglev") => {
            let message = "`maglev` needs what it hashes".to_owned();
            value.invalid("unknown-value", message, "write `{ maglev = \"client-address\" }`");
            None
        }
        Some(_) => value.choice(&choices),
        None => {
            let mut table = value.table("a word or `{ maglev = ... }`")?;
            let key = table.required("maglev", "maglev = \"client-address\"");
            table.finish();
            key.and_then(|value| hash_key(&value)).map(Balance::Maglev)
        }
    }
}

fn hash_key(value: &Value<'_>) -> Option<HashKey> {
    if !value.is_table() {
        return value
            .choice(&[("client-address", HashKey::ClientAddress), ("path", HashKey::Path)]);
    }
    let mut table = value.table("a word or a table")?;
    let (header, cookie) = (table.get("header"), table.get("cookie"));
    table.finish();
    match (header, cookie) {
        (Some(header), None) => token(&header, true).map(HashKey::Header),
        (None, Some(cookie)) => token(&cookie, false).map(HashKey::Cookie),
        _ => {
            let message = "`maglev` hashes either a header or a cookie".to_owned();
            value.invalid("conflicting-keys", message, "write `{ header = \"x-user\" }`");
            None
        }
    }
}

/// The name of a header (in lower case) or of a cookie: a token of RFC 9110.
pub(crate) fn token(value: &Value<'_>, lower: bool) -> Option<Name> {
    let text = value.text()?;
    if !is_token(text) {
        let message = format!("{} is not a valid name here", quote(text));
        value.invalid("invalid-token", message, TOKEN_HELP);
        return None;
    }
    Some(if lower { Name::from(text.to_ascii_lowercase()) } else { Name::from(text) })
}

pub(crate) const TOKEN_HELP: &str = "use letters, digits and any of !#$%&'*+-.^_`|~";

/// A token of RFC 9110, of at most 256 bytes.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check(value: &Value<'_>, protocol: ServerProtocol) -> Option<Check> {
    if value.as_text().is_some() {
        let kind = value.choice(&[("tcp", CheckKind::Tcp)])?;
        let seconds = Duration::from_secs;
        return Some(Check { kind, interval: seconds(2), timeout: seconds(1), fall: 3, rise: 2 });
    }
    let mut table = value.table("\"tcp\" or a table")?;
    let is_tcp = table.boolean("tcp", false);
    let grpc = table.get("grpc").and_then(|value| grpc_check(&value, (is_tcp, protocol)));
    let without = if is_tcp { Some("tcp = true") } else { grpc.as_ref().map(|_| "grpc") };
    let kind = http_check(&mut table, without).or(grpc);
    let check = Check {
        kind: kind.unwrap_or(CheckKind::Tcp),
        interval: table.timeout("interval", 2),
        timeout: table.timeout("timeout", 1),
        fall: table.number("fall", 3, 1..=100),
        rise: table.number("rise", 2, 1..=100),
    };
    table.finish();
    Some(check)
}

/// A check of `grpc.health.v1`, unless it is `false`. It is asked as requests are: over HTTP/2.
fn grpc_check(value: &Value<'_>, (is_tcp, protocol): (bool, ServerProtocol)) -> Option<CheckKind> {
    let service = match (value.as_boolean(), value.as_text()) {
        (Some(is_on), _) => is_on.then_some(None),
        (_, Some(name)) => service(value, name).map(Some),
        (None, None) => {
            value.wrong_type("`true` or the name of a service");
            None
        }
    };
    if service.is_some() && is_tcp {
        let message = "`grpc` has no meaning with `tcp = true`".to_owned();
        value.invalid("conflicting-keys", message, "remove one of them");
    } else if service.is_some() && protocol == ServerProtocol::Http1 {
        let message = "`grpc` is asked over HTTP/2, which this pool does not speak".to_owned();
        value.invalid("conflicting-keys", message, "write `protocol = \"http2\"` in the pool");
    }
    service.map(|service| CheckKind::Grpc { service })
}

/// The full name of a gRPC service.
fn service(value: &Value<'_>, text: &str) -> Option<Name> {
    let valid = (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if !valid {
        let message = format!("{} is not the name of a gRPC service", quote(text));
        value.invalid("invalid-name", message, "write it in full, such as \"shop.v1.Cart\"");
    }
    valid.then(|| Name::from(text))
}

/// The HTTP part of a check; there must be none beside the key `without`.
fn http_check(table: &mut Table<'_>, without: Option<&str>) -> Option<CheckKind> {
    let path = match without {
        Some(_) => table.get("path"),
        None => table.required("path", "path = \"/health\""),
    };
    let others = [table.get("host"), table.get("status"), table.get("body")];
    if let Some(without) = without {
        for extra in path.iter().chain(others.iter().flatten()) {
            let message = format!("{} has no meaning with `{without}`", quote(extra.name));
            extra.invalid("conflicting-keys", message, "remove one of them");
        }
        return None;
    }
    let [host, status, body] = others;
    let path = path.and_then(|value| plain_path(&value));
    let host = host.and_then(|value| check_host(&value));
    let status = status.map_or(Some(vec![(200, 399)]), |value| statuses(&value));
    let body = body.and_then(|value| {
        let text = value.text()?;
        if text.is_empty() || text.len() > CHECK_BODY_BYTES_MAX {
            value.out_of_range("1 byte", "64KiB");
        }
        Some(Name::from(text))
    });
    Some(CheckKind::Http { path: path?, host, status: status?, body })
}

fn check_host(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    // A `Host` header may hold a port, or an address in brackets.
    let is_authority = !text.is_empty()
        && text.len() <= 261
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b));
    if !is_authority {
        let message = format!("{} is not a host", quote(text));
        value.invalid("invalid-host", message, "write a host, such as \"api.example.com\"");
        return None;
    }
    Some(Name::from(text.to_ascii_lowercase()))
}

fn statuses(value: &Value<'_>) -> Option<Vec<(u16, u16)>> {
    let values = value.as_array().unwrap_or_else(|| vec![value.clone()]);
    if values.is_empty() {
        let message = "`status` must not be empty".to_owned();
        value.invalid("empty-list", message, "write `status = [\"200-299\", 304]`");
    }
    // All are read before any is missed, so that every mistake is reported.
    let read: Vec<Option<(u16, u16)>> = values.iter().map(status_range).collect();
    read.into_iter().collect()
}

fn status_range(value: &Value<'_>) -> Option<(u16, u16)> {
    const RANGE: RangeInclusive<u16> = 100..=599;
    if value.is_integer() {
        return value.number(&RANGE).map(|status| (status, status));
    }
    let Some(text) = value.as_text() else {
        value.wrong_type("status codes or ranges such as \"200-299\"");
        return None;
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse::<u16>().ok().filter(|status| RANGE.contains(status));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => {
            let message = format!("{} is not a range of status codes", quote(text));
            value.invalid("invalid-status", message, "write it like \"200-299\", from 100 to 599");
            None
        }
    }
}

fn tls(value: &Value<'_>) -> Option<PoolTls> {
    if let Some(is_on) = value.as_boolean() {
        return is_on.then_some(PoolTls {
            server_name: None,
            roots: None,
            verify: true,
            certificate: None,
        });
    }
    let mut table = value.table("`true`, `false` or a table")?;
    let server_name = table.get("server_name").and_then(|value| server_name(&value));
    let roots = table.get("roots").and_then(|value| value.file());
    let verify = table.boolean("verify", true);
    let certificate = table.get("certificate");
    table.finish();
    let shown = certificate.is_some();
    let certificate = certificate.and_then(|value| pools_certificate(&value));
    // Never a pool that shows nothing where the text says what it shows.
    if shown && certificate.is_none() {
        return None;
    }
    Some(PoolTls { server_name, roots, verify, certificate })
}

fn server_name(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(Name::from(address.to_string()));
    }
    match host_name(text) {
        Ok(name) => Some(name),
        Err(help) => {
            let message = format!("{} is not the name of a server", quote(text));
            value.invalid("invalid-host", message, help);
            None
        }
    }
}

fn retries(table: &mut Table<'_>) -> Retries {
    let mut table = table.sub("retries");
    let retries = Retries {
        attempts_max: table.number("attempts", 2, 1..=5),
        budget: table.ratio("budget", 0.1),
        budget_min_per_second: table.number("budget_min_per_second", 3, 0..=1_000_000),
        on_status: table.boolean("on_status", false),
    };
    table.finish();
    retries
}

fn ejection(table: &mut Table<'_>) -> Ejection {
    const FAILURES_DEFAULT: u32 = 5;
    let value = table.get("ejection");
    let is_off = value.as_ref().and_then(Value::as_boolean) == Some(false);
    let is_table = value.as_ref().is_some_and(Value::is_table);
    if let Some(value) = value.as_ref().filter(|_| !is_off && !is_table) {
        value.wrong_type("`false` or a table");
    }
    let mut table = if is_table { table.sub("ejection") } else { Table::empty(table) };
    let ejection = Ejection {
        failures: table.number("failures", if is_off { 0 } else { FAILURES_DEFAULT }, 0..=1_000),
        pause: table.timeout("pause", 1),
        pause_max: table.timeout("pause_max", 30),
        share_max: table.ratio("share_max", 0.5),
    };
    table.finish();
    ejection
}

fn timeouts(table: &mut Table<'_>) -> ServerTimeouts {
    let mut table = table.sub("timeouts");
    let timeouts = ServerTimeouts {
        connect: table.timeout("connect", 3),
        first_byte: table.timeout("first_byte", 30),
        progress: table.timeout("progress", 30),
        total: table.get("total").and_then(|value| value.duration(&TIMEOUT_RANGE)),
        idle: table.timeout("idle", 30),
        tunnel_idle: table.timeout("tunnel_idle", 300),
    };
    table.finish();
    timeouts
}
