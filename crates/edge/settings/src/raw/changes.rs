//! The shape of `[invariants]`, `[changes]` and `[[allow]]` as they are written; see the module
//! above.

use schemars::JsonSchema;

use super::RawDuration;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawInvariants {
    /// The largest share of the requests of a pool of several servers that one of them may get.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.9))]
    share_max: Option<f64>,
    /// Servers that must be able to take requests, in each pool that has as many.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 1))]
    eligible_min: Option<u32>,
    /// Whether a change must keep every route of the live configuration, by name.
    #[schemars(extend("default" = false))]
    keep_routes: Option<bool>,
    /// The largest part by which a change may lower a limit; 1 is any.
    #[schemars(range(min = 0, max = 1), extend("default" = 1.0))]
    limit_drop_max: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawChanges {
    /// How long a change is watched after it went live, at most 1h; `"0s"` is off.
    #[schemars(extend("default" = "30s"))]
    watch: Option<RawDuration>,
    /// What happens when a watched change breaks an invariant.
    #[schemars(extend("default" = "automatic"))]
    rollback: Option<RawRollback>,
    /// The largest part of a pool's requests that a change may move to other servers at once;
    /// more needs a canary.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.5))]
    move_max: Option<f64>,
    /// Requests that each side of a canary must have served before there is a verdict.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = 300))]
    requests_min: Option<u64>,
    /// Generations that are kept.
    #[schemars(range(min = 10, max = 100_000), extend("default" = 1000))]
    history_max: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RawRollback {
    /// The change is undone.
    Automatic,
    /// What would have been done is logged, and nothing is done.
    Observe,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawAllow {
    /// The rule, as `tidegate explain` lists it.
    #[schemars(extend("examples" = ["single-server"]))]
    rule: String,
    /// The table it is set aside for; by default everywhere.
    #[schemars(extend("examples" = ["pools.web"]))]
    at: Option<String>,
    /// Why, in 10 to 500 characters.
    #[schemars(length(min = 10, max = 500), extend("examples" = ["one server is all there is"]))]
    reason: String,
}
