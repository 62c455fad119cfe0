//! The difference between two configurations in words, with shares by trial.
//!
//! Every structure is taken apart without `..`, so that a field that is added does not compile
//! until somebody has found words for it.
//! Invariant: two configurations that differ in more than their version and the order of what is
//! found by its name give at least one line.

mod admission;
mod door;
mod lines;
mod listener;
mod pool;
mod route;
mod servers;
mod treatment;

use std::collections::BTreeMap;

use model::{Configuration, Name};

use self::lines::Lines;

/// Pools whose shares are found by trial, at most; more that changed are told without shares.
const TRIALS_MAX: usize = 64;

/// What differs, in words: what moves traffic first. At most 200 lines; a last one then counts
/// the rest. Empty when nothing differs that does anything.
///
/// Shares come from trial runs, two of about 10 ms for each of up to 64 pools that changed.
#[must_use]
pub fn difference(from: &Configuration, to: &Configuration) -> Vec<String> {
    let Configuration {
        // Follows from the text; the order of pools is that of indexes alone.
        version: _,
        // What is in them is compared where it was read to.
        files: _,
        door,
        listeners,
        pools,
        routes: _,
        admission,
        clients,
        limits,
        admin,
        telemetry,
        invariants,
        changes,
        allowances,
    } = from;
    let mut lines = Lines::default();
    let mut trials_left = TRIALS_MAX;
    for pair in paired(pools, &to.pools, |pool| &pool.name) {
        pool::tell(pair, &mut trials_left, &mut lines);
    }
    route::tell(from, to, &mut lines);
    for pair in paired(listeners, &to.listeners, |listener| &listener.name) {
        listener::tell(pair, &mut lines);
    }
    for pair in paired(clients, &to.clients, |client| &client.name) {
        admission::client(pair, &mut lines);
    }
    for pair in paired(limits, &to.limits, |limit| &limit.name) {
        admission::limit(pair, &mut lines);
    }
    admission::admission(admission, &to.admission, &mut lines);
    door::door(door, &to.door, &mut lines);
    door::admin(admin, &to.admin, &mut lines);
    door::telemetry(telemetry, &to.telemetry, &mut lines);
    door::invariants(invariants, &to.invariants, &mut lines);
    door::changes(changes, &to.changes, &mut lines);
    door::allowances(allowances, &to.allowances, &mut lines);
    lines.told()
}

/// A thing of one name, before and after; at least one of both is there.
type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

/// Everything by its name: what was there in its order, then what is new.
fn paired<'a, T>(
    from: &'a [T],
    to: &'a [T],
    name: impl Fn(&T) -> &Name,
) -> impl Iterator<Item = Pair<'a, T>> {
    let index = |things: &'a [T]| -> BTreeMap<Name, &'a T> {
        things.iter().map(|thing| (Name::clone(name(thing)), thing)).collect()
    };
    let (before, after) = (index(from), index(to));
    let kept: Vec<Pair<'a, T>> =
        from.iter().map(|thing| (Some(thing), after.get(name(thing)).copied())).collect();
    let added: Vec<Pair<'a, T>> = to
        .iter()
        .filter(|thing| !before.contains_key(name(thing)))
        .map(|thing| (None, Some(thing)))
        .collect();
    kept.into_iter().chain(added)
}
