//! Whether a change that is live, or tried, stays.
//!
//! Two judges, both pure: facts of one second after the other in, a verdict out.
//! [`Watch`] compares a change that is live for everybody with the seconds before it.
//! [`Canary`] compares a candidate that serves a share of the requests with the live generation
//! beside it. How they judge, and how often they are wrong, is in `docs/explanation/rollout.md`.

mod canary;
mod evidence;
mod watch;
mod words;

use model::Configuration;

pub use canary::{Canary, CanarySettings, CanaryVerdict};
pub use watch::{Watch, WatchVerdict};

/// Whether the configuration says that one server of this pool may get nearly everything: by
/// allowing it outright, or because the pool is allowed to have one server only.
fn may_be_lopsided(settings: &Configuration, pool: &str) -> bool {
    let place = format!("pools.{pool}");
    let mut pools = settings.pools.iter();
    let is_single = pools.any(|known| *known.name == *pool && known.servers.len() == 1);
    settings.allows("lopsided-distribution", &place)
        || (is_single && settings.allows("single-server", &place))
}
