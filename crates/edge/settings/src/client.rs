//! Reads `[clients.NAME]`: registered clients, and what each may do.
//!
//! Clients are told apart by what they are known by, so no two may be known by the same. Networks
//! may overlap: the most specific one wins, as a route does.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use model::Name;
use model::configuration::{Class, Client, Identity, JwtKey};

use crate::admission::CLASSES;
use crate::finding::{Finding, quote};
use crate::identity::{self, Placed};
use crate::limit::{self, Scope};
use crate::reader::{Table, Value};

/// Clients, at most: each is a line of the status and a label of metrics.
const CLIENTS_MAX: usize = 1_000;

/// Requests that a client may have in flight and waiting.
pub(crate) const IN_FLIGHT_RANGE: RangeInclusive<u32> = 1..=1_000_000;

/// Reads all clients, in file order.
pub(crate) fn clients(root: &mut Table<'_>, scope: &Scope<'_>) -> Vec<Client> {
    let named = root.named("clients");
    if let Some((_, value)) = named.get(CLIENTS_MAX) {
        let message = format!("more than {CLIENTS_MAX} clients");
        value.invalid("too-many", message, "limit others with `[limits.NAME]` by a header");
    }
    let mut known = BTreeMap::new();
    let mut clients = Vec::new();
    for (name, value) in named.into_iter().take(CLIENTS_MAX) {
        let Some(table) = value.table("a table") else { continue };
        let (client, identities) = client(name.clone(), table, scope);
        for identity in identities {
            check_unique(&name, &identity, &mut known);
        }
        clients.push(client);
    }
    clients
}

fn client<'a>(name: Name, mut table: Table<'a>, scope: &Scope<'_>) -> (Client, Vec<Placed<'a>>) {
    let identities = identity::identities(&mut table);
    let rate_value = table.get("rate");
    let rate = rate_value.as_ref().and_then(Value::count_rate);
    let is_limited = rate_value.is_some();
    let client = Client {
        name,
        identities: identities.iter().map(|placed| placed.identity.clone()).collect(),
        rate,
        burst: if is_limited { limit::burst(&mut table, rate) } else { 1 },
        in_flight_max: table.get("in_flight").and_then(|value| value.number(&IN_FLIGHT_RANGE)),
        class: table.choice("class", Class::default(), &CLASSES),
        routes: limit::routes(&mut table, scope),
        enabled: table.boolean("enabled", true),
        shared: limit::shared(&mut table, scope),
        headers: table.boolean("headers", false),
    };
    for key in ["burst", "shared", "headers"] {
        if let Some(value) = table.get(key).filter(|_| !is_limited) {
            let message = format!("{} says something of a rate that there is none of", quote(key));
            value.invalid("conflicting-keys", message, "add `rate`, or remove it");
        }
    }
    table.finish();
    (client, identities)
}

/// What clients are known by, whose it is, and where it is written.
type Known = BTreeMap<(String, Vec<u8>), (Name, Range<usize>)>;

/// Reports when an earlier client is known by the same.
fn check_unique(name: &Name, identity: &Placed<'_>, known: &mut Known) {
    let key = match &identity.identity {
        Identity::Header { name, sha256 } => (format!("header {name}"), sha256.to_vec()),
        Identity::Jwt { claim, value, key } => {
            let (JwtKey::Secret(key) | JwtKey::Public(key) | JwtKey::Jwk { json: key, .. }) = key;
            (format!("claim {claim:?} {value:?}"), key.clone())
        }
        Identity::Network(network) => (format!("network {network}"), Vec::new()),
        Identity::Certificate(name) => (format!("certificate {name}"), Vec::new()),
    };
    let span = identity.value.span.clone();
    let Some((earlier, earlier_span)) = known.insert(key, (name.clone(), span.clone())) else {
        return;
    };
    let what = match &identity.identity {
        Identity::Header { name, .. } => format!("this value of header {}", quote(name)),
        Identity::Jwt { claim, value, .. } => format!("claim {} = {}", quote(claim), quote(value)),
        Identity::Network(network) => format!("network {network}"),
        Identity::Certificate(name) => format!("certificate name {}", quote(name)),
    };
    let message = if earlier == *name {
        format!("client {} is known by {what} twice", quote(name))
    } else {
        format!("two clients are known by {what}")
    };
    let finding = Finding::error("duplicate-identity", span, message);
    identity.value.report(
        finding
            .label("whose requests these are cannot be told")
            .related(earlier_span, format!("first used by {}", quote(&earlier)))
            .help("give each client a key of its own"),
    );
}
