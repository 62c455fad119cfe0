//! Where the requests of a client, or those that a limit counts, can go.

use std::collections::BTreeSet;

use model::Name;
use model::configuration::{Action, Configuration, Pool};

/// Whether a list of routes, of which an empty one means all, has this one.
pub(super) fn covers(routes: &[Name], name: &Name) -> bool {
    routes.is_empty() || routes.contains(name)
}

/// The pools that these routes forward to; an empty list means all routes.
pub(super) fn pools_of<'c>(configuration: &'c Configuration, routes: &[Name]) -> Vec<&'c Pool> {
    let forwards = configuration.routes.iter().filter(|route| covers(routes, &route.name));
    let pools = forwards.filter_map(|route| match route.action {
        Action::Forward { pool, .. } => Some(pool),
        Action::Redirect { .. } | Action::Respond { .. } => None,
    });
    let pools: BTreeSet<usize> = pools.collect();
    pools.into_iter().filter_map(|pool| configuration.pools.get(pool)).collect()
}

/// What these pools carry together, requests per second: the lower ends of what was measured.
/// `None` when one of them was not, or there are none.
pub(super) fn carried(pools: &[&Pool]) -> Option<f64> {
    let measured = pools.iter().map(|pool| Some(pool.capacity.as_ref()?.low_per_second));
    let carried: Option<f64> = measured.sum();
    carried.filter(|_| !pools.is_empty())
}
