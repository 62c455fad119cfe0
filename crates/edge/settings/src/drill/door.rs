//! Reads `[door]`, and the `door` of a change: how the front door is set up.
//!
//! Invariant: a key that is absent leaves the base as it is.

use std::time::Duration;

use model::Name;
use model::drill::{DoorBalance, DoorSetup};

use super::scope::Scope;
use crate::finding::{Finding, quote};
use crate::path::plain_path;
use crate::pool::token;
use crate::reader::{Table, Value};

/// A front door before a word is said about it: all servers alike.
pub(super) fn default_of(scope: &Scope) -> DoorSetup {
    let servers = scope.servers.iter().flatten();
    DoorSetup {
        balance: DoorBalance::Default,
        weights: servers.map(|name| (name.clone(), 1)).collect(),
        check_path: "/health".to_owned(),
        check_interval: Duration::from_millis(500),
        timeout: Duration::from_secs(5),
        attempts: 2,
        client_rate_per_second: None,
        client_header: None,
        server_in_flight_max: None,
        forced: false,
    }
}

/// The set-up of `table` over `base`; the caller finishes the table.
pub(super) fn door(table: &mut Table<'_>, base: DoorSetup, scope: &Scope) -> DoorSetup {
    let mut door = base;
    if let Some(balance) = table.get("balance").and_then(|value| balance(&value)) {
        door.balance = balance;
    }
    if let Some(weights) = table.get("weights").and_then(|value| weights(&value, scope)) {
        door.weights = weights;
    }
    if let Some(mut check) = table.get("check").and_then(|value| value.table("a table")) {
        if let Some(path) = check.get("path").and_then(|value| plain_path(&value)) {
            door.check_path = path.as_ref().to_owned();
        }
        let range = Duration::from_millis(50)..=Duration::from_secs(60);
        door.check_interval = check.duration("interval", door.check_interval, range);
        check.finish();
    }
    let range = Duration::from_millis(10)..=Duration::from_secs(600);
    door.timeout = table.duration("timeout", door.timeout, range);
    door.attempts = table.number("attempts", door.attempts, 1..=4);
    let rate = table.get("client_rate").and_then(|value| whole_rate(&value));
    door.client_rate_per_second = rate.or(door.client_rate_per_second);
    let header = table.get("client_header").and_then(|value| token(&value, true));
    door.client_header = header.or(door.client_header);
    let in_flight = table.get("server_in_flight");
    let in_flight = in_flight.and_then(|value| value.number(&(1..=100_000)));
    door.server_in_flight_max = in_flight.or(door.server_in_flight_max);
    door
}

fn balance(value: &Value<'_>) -> Option<DoorBalance> {
    if !value.is_table() {
        return value.choice(&[
            ("default", DoorBalance::Default),
            ("round-robin", DoorBalance::RoundRobin),
            ("hash-path", DoorBalance::HashPath),
        ]);
    }
    let mut table = value.table("a word or `{ hash_header = ... }`")?;
    let header = table.required("hash_header", "hash_header = \"x-user\"");
    table.finish();
    header.and_then(|value| token(&value, true)).map(DoorBalance::HashHeader)
}

/// The servers that take traffic. Who is not named takes none, as who has weight 0.
fn weights(value: &Value<'_>, scope: &Scope) -> Option<Vec<(Name, u32)>> {
    let table = value.table("a table of servers and weights")?;
    let mut weights = Vec::new();
    for entry in table.entries() {
        let name = scope.server_key(&entry);
        let weight = entry.number(&(0..=1_000_u32));
        if let (Some(name), Some(weight)) = (name, weight)
            && weight > 0
        {
            weights.push((name, weight));
        }
    }
    if table.entries().is_empty() || weights.is_empty() {
        let message = format!("{} leaves no server that takes traffic", quote(value.name));
        let finding = Finding::error("no-traffic", value.span.clone(), message);
        value.report(finding.label("no weight above 0").help("name at least one server"));
        return None;
    }
    Some(weights)
}

/// A whole number of requests a second: front doors count no parts of one.
fn whole_rate(value: &Value<'_>) -> Option<u32> {
    let rate = value.rate(&(1.0..=1_000_000.0))?;
    let whole = format!("{rate}").parse::<u32>().ok();
    if whole.is_none() {
        let message = format!("{} must be a whole number a second", quote(value.name));
        value.invalid("out-of-range", message, "write it like \"100/s\"");
    }
    whole
}
