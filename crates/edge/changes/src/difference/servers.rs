//! The servers of a pool: who joins, who leaves, who gets another part of the requests.
//!
//! Shares before and after come from trial runs; see [`balancing::trial`]. Where a trial agrees
//! with the weights up to chance, the weights' share is told: it reads the same every time.

use std::collections::BTreeMap;

use balancing::trial::{self, Scenario};
use model::configuration::{Pool, Server};

use super::lines::{About, Concern, changed};
use crate::words;

/// Any will do; a fixed one makes the same difference read the same.
const SEED: u64 = 1;
/// A share that changes by less than this, without its server being changed, is not told.
const SHARE_STEP: f64 = 0.02;
/// How far the share of a trial may be off by chance.
const SHARE_ERROR: f64 = 0.015;

/// A server told apart by its address, and by its number among those of that address.
type Key<'a> = (&'a str, usize);

/// One configured server and its share; no share where no trial was run.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    server: &'a Server,
    share: Option<f64>,
}

pub(super) fn tell(from: &Pool, to: &Pool, trials_left: &mut usize, about: &mut About<'_>) {
    if !moves(from, to) {
        return;
    }
    let tried = *trials_left > 0;
    *trials_left = trials_left.saturating_sub(1);
    let (names_before, names) = (names(from), names(to));
    let (before, after) = (entries(from, &names_before, tried), entries(to, &names, tried));
    let mut others = Vec::new();
    for (key, name) in keys(&names_before) {
        let Some(entry) = before.get(&key) else { continue };
        match after.get(&key) {
            Some(now) => tell_kept(name, *entry, *now, about, &mut others),
            None => {
                let share = entry.share.map_or_else(String::new, |share| {
                    format!(": its share of {} goes to the others", words::share(share))
                });
                about
                    .say(Concern::Traffic, &format!("server {} removed{share}", words::text(name)));
            }
        }
    }
    for (key, name) in keys(&names).filter(|(key, _)| !before.contains_key(key)) {
        let Some(entry) = after.get(&key) else { continue };
        let drain = if entry.server.drain { ", draining" } else { "" };
        let share = entry
            .share
            .map_or_else(String::new, |share| format!(": its share is {}", words::share(share)));
        let (name, weight) = (words::text(name), entry.server.weight);
        let line = format!("server {name} added with weight {weight}{drain}{share}");
        about.say(Concern::Traffic, &line);
    }
    if !others.is_empty() {
        let shares = words::list(&others, String::clone);
        about.say(Concern::Traffic, &format!("shares of its other servers: {shares}"));
    }
}

/// Whether anything differs that shares follow from.
fn moves(from: &Pool, to: &Pool) -> bool {
    from.servers != to.servers
        || from.balance != to.balance
        || from.zone != to.zone
        || from.in_flight_max != to.in_flight_max
}

fn tell_kept(
    name: &str,
    from: Entry<'_>,
    to: Entry<'_>,
    about: &mut About<'_>,
    others: &mut Vec<String>,
) {
    let Server { address: _, weight, zone, drain } = from.server;
    let of = |what: &str| format!("{what} of {}", words::text(name));
    let parts = [
        changed(&of("weight"), weight, &to.server.weight, u32::to_string),
        changed(&of("drain"), drain, &to.server.drain, |on| words::switch(*on)),
        changed(&of("zone"), zone, &to.server.zone, |zone| {
            words::or_none(zone.as_ref(), words::name)
        }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        let share = from.share.zip(to.share).map_or_else(String::new, words_of_shares);
        about.say(Concern::Traffic, &format!("{}{share}", parts.join(", ")));
    } else if let Some((before, after)) = from.share.zip(to.share)
        && (before - after).abs() >= SHARE_STEP
    {
        let (before, after) = (words::share(before), words::share(after));
        others.push(format!("{} from {before} to {after}", words::text(name)));
    }
}

fn words_of_shares((before, after): (f64, f64)) -> String {
    let (was, is) = (words::share(before), words::share(after));
    if was == is {
        format!(": its share stays {is}")
    } else if before < after {
        format!(": its share rises from {was} to {is}")
    } else {
        format!(": its share falls from {was} to {is}")
    }
}

/// The addresses of a pool's servers as text, in order.
fn names(pool: &Pool) -> Vec<String> {
    pool.servers.iter().map(|server| server.address.to_string()).collect()
}

/// Each server's key and name, in order.
fn keys(names: &[String]) -> impl Iterator<Item = (Key<'_>, &str)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    names.iter().map(move |name| {
        let count = seen.entry(name).or_default();
        *count += 1;
        ((name.as_str(), *count), name.as_str())
    })
}

fn entries<'a>(pool: &'a Pool, names: &'a [String], tried: bool) -> BTreeMap<Key<'a>, Entry<'a>> {
    let shares = tried.then(|| trial::shares(pool, Scenario::Steady, SEED));
    let weight = |server: &Server| if server.drain { 0 } else { u64::from(server.weight) };
    let total: u64 = pool.servers.iter().map(weight).sum();
    let told = |place: usize, share: f64| {
        let meant = weight(&pool.servers[place]) as f64 / total.max(1) as f64;
        if (share - meant).abs() <= SHARE_ERROR.min(meant / 4.0) { meant } else { share }
    };
    let entry = |(place, (key, _)): (usize, (Key<'a>, &str))| {
        let share = shares.as_ref().and_then(|shares| shares.get(place).copied());
        let share = share.map(|share| told(place, share));
        (key, Entry { server: &pool.servers[place], share })
    };
    keys(names).enumerate().map(entry).collect()
}
