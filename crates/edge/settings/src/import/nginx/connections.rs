//! `limit_conn` by address: the connections that one address may have on a listener.
//!
//! nginx counts the connections with a request in progress, for whatever block the directive is
//! in; this door counts all connections of a listener. So a number that holds for every server of
//! a listener becomes the listener's, and any other is refused.
//! Invariant: a `limit_conn` is in a listener's limits, or refused, or nginx refuses nothing by it.

use super::level::Level;
use super::limit::{is_address, zone_of};
use super::server::Server;
use super::site::Site;
use super::tree::Node;
use crate::finding::Finding;
use crate::import::writer::{Placed, Value};

/// Said where a limit is mapped.
const DIFFERENCE: &str = "nginx counts connections with a request in progress; the door counts \
                          idle ones too, over all hosts of the listener";

const OF_BLOCK: &str = "the door limits connections of an address for a whole listener: write \
                        `connections_per_address` in its `limits`";

/// The number that holds for all `servers` of a listener, if there is one; of every `limit_conn`
/// that holds for one of them it is said what becomes of it.
pub(super) fn of_listener(servers: &[&Server<'_>], site: &mut Site) -> Option<Placed> {
    let held: Vec<Option<(u64, &Node, &Node)>> =
        servers.iter().map(|server| least(&server.level, site)).collect();
    let number = |limit: &Option<(u64, &Node, &Node)>| limit.map(|(number, ..)| number);
    let first = held.first().copied().flatten();
    let is_same = held.iter().all(|limit| number(limit) == number(&first));
    for (_, node, zone) in held.iter().flatten() {
        if !is_same {
            site.refused(node, format!("the servers of a listener differ in it, and {OF_BLOCK}"));
            continue;
        }
        if !site.is_mapped(node) {
            let finding = Finding::warning("inexact-import", 0..0, DIFFERENCE.to_owned());
            site.finding(&node.place, finding.label("the door does nearly the same"));
        }
        site.mapped(node);
        site.mapped(zone);
    }
    let (number, node, _) = first.filter(|_| is_same)?;
    Some(Value::Integer(number).at(&node.place))
}

/// Refuses what is said for a location alone.
pub(super) fn of_location(level: &Level<'_>, site: &mut Site) {
    for node in level.own("limit_conn") {
        site.refused(node, OF_BLOCK);
    }
}

/// The smallest number that holds at a level, with its directive and zone.
fn least<'t>(level: &Level<'t>, site: &mut Site) -> Option<(u64, &'t Node, &'t Node)> {
    let mut least: Option<(u64, &Node, &Node)> = None;
    let is_dry = level.one("limit_conn_dry_run").is_some_and(|node| node.arg(0) == "on");
    for node in level.all("limit_conn") {
        if is_dry {
            site.ignored(node, "nginx refuses nothing by it: `limit_conn_dry_run` is on");
            continue;
        }
        match limit(node, level) {
            Ok((number, zone)) if least.is_none_or(|(known, ..)| number < known) => {
                if let Some((_, wider, _)) = least {
                    site.ignored(wider, "another one here allows fewer");
                }
                least = Some((number, node, zone));
            }
            Ok(_) => site.ignored(node, "another one here allows fewer"),
            Err(reason) => site.refused(node, reason),
        }
    }
    least
}

fn limit<'t>(node: &'t Node, level: &Level<'t>) -> Result<(u64, &'t Node), String> {
    let zones = level.all("limit_conn_zone");
    let zone = zones.iter().find(|zone| zone_of(zone) == Some(node.arg(0)));
    let zone = zone.ok_or("nginx itself refuses it: there is no such zone")?;
    let number = node.arg(1).parse::<u64>().ok().filter(|number| (1..=65_535).contains(number));
    let number = number.ok_or("nginx itself refuses it: a number from 1 to 65535 is missing")?;
    if !is_address(zone.arg(0)) {
        return Err("the door counts connections by address, not by this key of its zone: write \
                    `connections` in the listener's `limits`, `in_flight` in a pool, or `in_flight` \
                    of a client"
            .to_owned());
    }
    if !level.all("set_real_ip_from").is_empty() {
        return Err("the door counts the connections of the address that connects, and that is a \
                    proxy's here: write a limit by address instead"
            .to_owned());
    }
    Ok((number, zone))
}
