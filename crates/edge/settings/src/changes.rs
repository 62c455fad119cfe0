//! Reads `[invariants]` and `[changes]`: what must hold, and how changes go live.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::configuration::{Changes, Invariants, Rollback};

use crate::reader::Table;

/// How long a change may be watched; zero is off.
const WATCH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// Reads `[invariants]`.
pub(crate) fn invariants(root: &mut Table<'_>) -> Invariants {
    let mut table = root.sub("invariants");
    let default = Invariants::default();
    let invariants = Invariants {
        share_max: table.ratio("share_max", default.share_max),
        eligible_min: table.number("eligible_min", default.eligible_min, 0..=10_000),
        keep_routes: table.boolean("keep_routes", default.keep_routes),
        limit_drop_max: table.ratio("limit_drop_max", default.limit_drop_max),
    };
    table.finish();
    invariants
}

/// Reads `[changes]`.
pub(crate) fn changes(root: &mut Table<'_>) -> Changes {
    let mut table = root.sub("changes");
    let default = Changes::default();
    let rollbacks = [("automatic", Rollback::Automatic), ("observe", Rollback::Observe)];
    let changes = Changes {
        watch: table.duration("watch", default.watch, WATCH),
        rollback: table.choice("rollback", default.rollback, &rollbacks),
        move_max: table.ratio("move_max", default.move_max),
        requests_min: table.number("requests_min", default.requests_min, 1..=1_000_000_000),
        history_max: table.number("history_max", default.history_max, 10..=100_000),
    };
    table.finish();
    changes
}
