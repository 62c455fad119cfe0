//! Reads what a listener passes on unread (`mode = "tcp"`), and whom it lets in by the PROXY
//! protocol; finds where HTTP is spoken of beside it.
//!
//! A pool serves requests or connections, not both: how much it takes at once is found by measuring
//! requests, and cannot be found for connections.

use model::Name;
use model::configuration::{
    Action, Balance, HashKey, HostPattern, ListenerProtocol, Route, ServerProtocol, SniRoute,
    TcpForward,
};

use crate::finding::{Finding, did_you_mean, quote};
use crate::reader::{Table, Value};
use crate::route::{asked_pool, host_pattern};
use crate::{listen, pool};

/// Keys of a listener that say something of HTTP only.
const HTTP_KEYS: [&str; 3] = ["http2", "forwarded", "errors"];
const HTTP_LIMITS: [&str; 4] = ["head", "headers", "target", "body"];
const HTTP_TIMEOUTS: [&str; 3] = ["head", "body", "keep_alive"];
/// Keys of a pool that say something of requests only.
const REQUEST_KEYS: [&str; 3] = ["protocol", "adaptive", "idle_max"];
const REQUEST_TIMEOUTS: [&str; 4] = ["first_byte", "progress", "total", "idle"];

/// Reads `mode`, `pool` and `sni`; `None` when the listener speaks HTTP. `pools`: the names of all
/// pools, in file order.
pub(crate) fn forward(table: &mut Table<'_>, pools: &[&str]) -> Option<TcpForward> {
    let is_tcp = table.choice("mode", false, &[("http", false), ("tcp", true)]);
    let (mut pool, sni) = (table.get("pool"), table.get("sni"));
    if !is_tcp {
        for value in [pool, sni].iter().flatten() {
            let message = format!("{} has no meaning with `mode = \"http\"`", quote(value.name));
            value.invalid("conflicting-keys", message, "write `mode = \"tcp\"`, or add a route");
        }
        return None;
    }
    if sni.is_none() {
        pool = table.required("pool", "pool = \"database\"");
    }
    refuse_http(table);
    if let (Some(sni), true) = (&sni, table.has("tls")) {
        let message = "`sni` needs TLS as it came, and `tls` ends it here".to_owned();
        sni.invalid("conflicting-keys", message, "remove one of them");
    }
    Some(TcpForward {
        pool: pool.and_then(|value| pool_named(&value, pools)),
        sni: sni.map_or_else(Vec::new, |value| by_name(&value, pools)),
    })
}

/// Reads `proxy_protocol` of a listener, which only trusted peers may speak.
pub(crate) fn accepts_proxy(table: &mut Table<'_>) -> bool {
    let value = table.get("proxy_protocol");
    let trusts = table.get("trusted_proxies");
    let accepts = value.as_ref().and_then(Value::boolean).unwrap_or(false);
    let trusts_none = trusts.and_then(|value| value.as_array()).is_none_or(|list| list.is_empty());
    if let Some(value) = value.filter(|_| accepts && trusts_none) {
        let message = "`proxy_protocol` needs `trusted_proxies`".to_owned();
        let help = "name the proxies that may say whose connection it is: \
                    `trusted_proxies = [\"10.0.0.0/8\"]`";
        value.invalid("conflicting-keys", message, help);
    }
    accepts
}

/// Keys that say nothing where no HTTP is read. They are known all the same.
fn refuse_http(table: &mut Table<'_>) {
    let proxied = table.get("proxy_protocol").and_then(|value| value.as_boolean());
    if let Some(value) = table.get("trusted_proxies").filter(|_| proxied != Some(true)) {
        let message = "`trusted_proxies` has no meaning with `mode = \"tcp\"` alone".to_owned();
        value.invalid("conflicting-keys", message, "add `proxy_protocol = true`, or remove it");
    }
    for key in HTTP_KEYS {
        if let Some(value) = table.get(key) {
            unread(&value, "mode = \"tcp\"");
        }
    }
    for (part, keys) in [("limits", &HTTP_LIMITS[..]), ("timeouts", &HTTP_TIMEOUTS)] {
        let entries = table.get(part).and_then(|value| entries_of(&value));
        let told = entries.into_iter().flatten().filter(|entry| keys.contains(&entry.name));
        told.for_each(|entry| unread(&entry, "mode = \"tcp\""));
    }
}

fn unread(value: &Value<'_>, beside: &str) {
    let message = format!("{} has no meaning with `{beside}`", quote(value.name));
    value.invalid("conflicting-keys", message, "no HTTP is read there: remove it");
}

fn pool_named(value: &Value<'_>, pools: &[&str]) -> Option<usize> {
    let text = value.text()?;
    let found = pools.iter().position(|name| *name == text);
    if found.is_none() {
        let message = format!("there is no pool {}", quote(text));
        let finding = Finding::error("unknown-pool", value.span.clone(), message)
            .label("not a pool")
            .help("name one of the `[pools.NAME]`");
        value.report(finding.help_maybe(did_you_mean(text, pools.iter().copied())));
    }
    found
}

/// Pools by server name, exact names before wildcards.
fn by_name(value: &Value<'_>, pools: &[&str]) -> Vec<SniRoute> {
    let Some(table) = value.table("a table of server names and pools") else { return Vec::new() };
    let entries = table.entries();
    if entries.is_empty() {
        let message = "`sni` must not be empty".to_owned();
        value.invalid("empty-list", message, "add `\"a.example.com\" = \"pool\"`");
    }
    let mut routes: Vec<SniRoute> = Vec::new();
    for entry in entries {
        let pool = pool_named(&entry, pools);
        let host = host_pattern(entry.name).and_then(|host| match &host {
            HostPattern::Exact(name) if name.parse::<std::net::IpAddr>().is_ok() => {
                Err("a server name is never an address")
            }
            HostPattern::Exact(name) if name.starts_with('[') => {
                Err("a server name is never an address")
            }
            HostPattern::Exact(_) | HostPattern::Wildcard(_) => Ok(host),
        });
        let known = |host: &HostPattern| routes.iter().any(|route| route.host == *host);
        let wrong = match &host {
            Err(help) => Some(*help),
            Ok(host) if known(host) => Some("the same name in other letters is there already"),
            Ok(_) => None,
        };
        if let Some(help) = wrong {
            let message = format!("{} is not a server name here", quote(entry.name));
            let finding = Finding::error("invalid-host", entry.key_span.clone(), message);
            entry.report(finding.label("not valid here").help(help));
        } else if let (Ok(host), Some(pool)) = (host, pool) {
            routes.push(SniRoute { host, pool });
        }
    }
    routes.sort_by_key(|route| matches!(route.host, HostPattern::Wildcard(_)));
    routes
}

/// The pools, by index, that this listener passes connections on to.
pub(crate) fn pools_of(protocol: &ListenerProtocol) -> impl Iterator<Item = usize> {
    let forward = match protocol {
        ListenerProtocol::Tcp(forward) => Some(forward),
        ListenerProtocol::Http { .. } => None,
    };
    forward.into_iter().flat_map(|forward| {
        forward.pool.into_iter().chain(forward.sni.iter().map(|route| route.pool))
    })
}

/// Finds what contradicts itself between listeners that pass bytes on, pools and routes, and takes
/// from the pools of such listeners what only requests can have.
pub(crate) fn settle(
    root: &mut Table<'_>,
    listeners: &[listen::Placed],
    routes: &[Route],
    pools: &mut [pool::Placed],
) {
    let used = |index| {
        listeners
            .iter()
            .find(|placed| pools_of(&placed.listener.protocol).any(|pool| pool == index))
    };
    let tables = root.get("pools").and_then(|value| entries_of(&value)).unwrap_or_default();
    for (index, (placed, table)) in pools.iter_mut().zip(&tables).enumerate() {
        let Some(listener) = used(index) else { continue };
        let listener = &listener.listener.name;
        if let Some(route) = routes.iter().find(|route| forwards_to(route, index)) {
            both_ways(table, listener, &route.name);
        }
        refuse_requests(table);
        let Some(pool) = &mut placed.pool else { continue };
        if let Balance::Maglev(HashKey::Path | HashKey::Header(_) | HashKey::Cookie(_)) =
            &pool.balance
        {
            let message = format!(
                "pool {} hashes a part of requests, and listener {} passes on connections",
                quote(&placed.name),
                quote(listener)
            );
            let help = "write `balance = { maglev = \"client-address\" }`";
            entry(table, "balance").unwrap_or_else(|| table.clone()).invalid(
                "wrong-protocol",
                message,
                help,
            );
        }
        pool.admission.adaptive = false;
        pool.protocol = ServerProtocol::Tcp;
    }
}

fn forwards_to(route: &Route, index: usize) -> bool {
    let forwards = match route.action {
        Action::Forward { pool, .. } => pool == index,
        Action::Redirect { .. } | Action::Respond { .. } => false,
    };
    forwards || asked_pool(route) == Some(index)
}

fn both_ways(table: &Value<'_>, listener: &Name, route: &Name) {
    let message = format!(
        "pool {} gets connections of listener {} and requests of route {}",
        quote(table.name),
        quote(listener),
        quote(route)
    );
    let finding = Finding::error("wrong-protocol", table.key_span.clone(), message);
    table.report(
        finding
            .label("both connections and requests")
            .help("give each a pool of its own; the servers may be the same"),
    );
}

/// Keys of a pool that say nothing where no requests are seen.
fn refuse_requests(table: &Value<'_>) {
    let refuse = |value: &Value<'_>| {
        let message = format!("{} has no meaning for connections", quote(value.name));
        let help = "a TCP listener passes them on to this pool, and sees no requests: remove it";
        value.invalid("conflicting-keys", message, help);
    };
    let part = |key: &str| entry(table, key).and_then(|value| entries_of(&value));
    entries_of(table)
        .into_iter()
        .flatten()
        .filter(|entry| REQUEST_KEYS.contains(&entry.name))
        .for_each(|entry| refuse(&entry));
    let timeouts = part("timeouts").into_iter().flatten();
    timeouts.filter(|entry| REQUEST_TIMEOUTS.contains(&entry.name)).for_each(|e| refuse(&e));
    let retries = part("retries").into_iter().flatten();
    retries.filter(|entry| entry.name == "on_status").for_each(|entry| refuse(&entry));
}

fn entry<'a>(table: &Value<'a>, key: &str) -> Option<Value<'a>> {
    entries_of(table)?.into_iter().find(|entry| entry.name == key)
}

fn entries_of<'a>(value: &Value<'a>) -> Option<Vec<Value<'a>>> {
    if !value.is_table() {
        return None;
    }
    value.table("a table").map(|table| table.entries())
}
