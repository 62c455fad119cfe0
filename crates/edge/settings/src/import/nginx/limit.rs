//! `limit_req`: rates that this door holds requests to as well.
//!
//! nginx counts in a zone, which several locations may name; this door counts in a limit, which
//! names its routes. nginx lets one request and its burst in at once; this door's burst is both.
//! Invariant: a `limit_req` is a limit of the routes it holds for, or refused.

use super::level::Level;
use super::site::{Site, inline};
use super::tree::Node;
use crate::finding::Finding;
use crate::import::writer::Value;

/// The largest burst of this door.
const BURST_MAX: u64 = 1_000_000;

/// The longest that a burst of this door may take to come back, in seconds.
const RECOVERY_MAX: u64 = 7 * 86_400;

/// One `limit_req` where it holds.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    /// The directive itself, and its zone's.
    pub(super) node: Node,
    pub(super) zone_node: Node,
    pub(super) zone: String,
    pub(super) by: Value,
    pub(super) rate: String,
    pub(super) burst: u64,
    pub(super) observe: bool,
}

/// The limits that hold at a level; what cannot be held to is refused here.
pub(super) fn limits(level: &Level<'_>, site: &mut Site) -> Vec<Limit> {
    let mut limits = Vec::new();
    for node in level.all("limit_req") {
        match limit(node, level) {
            Ok(limit) => {
                delay(node, site);
                level.all("limit_req_dry_run").iter().for_each(|node| site.mapped(node));
                limits.push(limit);
            }
            Err(reason) => site.refused(node, reason),
        }
    }
    limits
}

fn limit(node: &Node, level: &Level<'_>) -> Result<Limit, String> {
    let argument = |name: &str| node.texts().find_map(|text| text.strip_prefix(name));
    let zone = argument("zone=").ok_or("nginx itself refuses it: it names no zone")?;
    let zones = level.all("limit_req_zone");
    let zone_node = zones.iter().find(|node| zone_of(node) == Some(zone));
    let zone_node = zone_node.ok_or("nginx itself refuses it: there is no such zone")?;
    let by = key(zone_node.arg(0))
        .ok_or("the door counts by address or by a header, not by this key of its zone")?;
    let rate = zone_node.texts().find_map(|text| text.strip_prefix("rate=")).and_then(rate);
    let (count, unit, seconds) = rate.ok_or("its zone's rate is none that the door can hold to")?;
    let burst = argument("burst=").map_or(Some(0), |burst| burst.parse::<u64>().ok());
    let burst = burst.and_then(|burst| burst.checked_add(1)).filter(|burst| {
        *burst <= BURST_MAX && burst.saturating_mul(seconds) <= RECOVERY_MAX.saturating_mul(count)
    });
    let dry = level.one("limit_req_dry_run").is_some_and(|node| node.arg(0) == "on");
    Ok(Limit {
        node: (*node).clone(),
        zone_node: (*zone_node).clone(),
        zone: zone.to_owned(),
        by,
        rate: format!("{count}/{unit}"),
        burst: burst.ok_or("its burst is larger than any of the door's")?,
        observe: dry,
    })
}

/// The name in `zone=NAME:SIZE`.
pub(super) fn zone_of(node: &Node) -> Option<&str> {
    node.texts().find_map(|text| text.strip_prefix("zone="))?.split(':').next()
}

/// Whether nginx counts by the client's address.
pub(super) fn is_address(text: &str) -> bool {
    matches!(variable(text), Some("binary_remote_addr" | "remote_addr"))
}

/// The name in `$name` or `${name}`.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let braced = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    Some(braced.unwrap_or(name))
}

/// What nginx counts by, as this door says it.
fn key(text: &str) -> Option<Value> {
    if is_address(text) {
        return Some(Value::text("address"));
    }
    let header = variable(text)?.strip_prefix("http_")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_header = !header.is_empty() && header.bytes().all(is_name);
    let header = header.to_ascii_lowercase().replace('_', "-");
    is_header.then(|| inline(vec![("header", Value::text(header).here())]))
}

/// `10r/s` or `30r/m`: the number, the unit here, and the seconds it has.
fn rate(text: &str) -> Option<(u64, &'static str, u64)> {
    let (number, unit) = text.split_once("r/")?;
    let (unit, seconds) = match unit {
        "s" => ("s", 1),
        "m" => ("m", 60),
        _ => return None,
    };
    let count = number.parse::<u64>().ok().filter(|count| (1..=1_000_000).contains(count))?;
    Some((count, unit, seconds))
}

/// Says where nginx makes a burst wait, which this door does not.
fn delay(node: &Node, site: &mut Site) {
    let waits = !node.texts().any(|text| text == "nodelay");
    if waits && node.texts().any(|text| text.starts_with("burst=")) {
        let message = "nginx makes the burst wait; the door lets as many in, at once".to_owned();
        let finding = Finding::warning("inexact-import", 0..0, message);
        site.finding(&node.place, finding.label("the door does nearly the same"));
    }
}
