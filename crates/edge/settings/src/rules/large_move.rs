//! A change that moves much of the traffic at once.

use super::{Example, Rule, Seen};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "large-move",
    number: Some(47),
    severity: Severity::Error,
    summary: "a change moves more than `changes.move_max` of a pool's requests with no canary",
    rationale: "\
Servers that get many new requests at once may be cold, or wrong, and all of it shows at the \
same moment. A canary moves a small part first and is judged by it. This needs two \
configurations, so `plan` and `apply` find it, and `check` does not: the live configuration and \
the candidate are both run with recorded traffic, and what goes to another server is counted. \
Nothing sets it aside but `[changes] move_max`, by default 0.5.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.3:80\", \"10.0.0.4:80\"] # 10.0.0.1 and 10.0.0.2 before
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.2:80\", \"10.0.0.3:80\"] # 10.0.0.1 and 10.0.0.2 before
",
    ),
    seen: Seen::Change,
};
