//! Weights that differ by more than a factor of ten.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "steep-weights",
    number: Some(3),
    severity: Severity::Warning,
    summary: "the weights of a pool differ by more than a factor of 10",
    rationale: "\
Servers that differ by more than ten in what they can do are rare; a zero too many is not. \
Algorithms also keep steep ratios badly: with few requests in flight the small ones get more \
or less than their part (Envoy #31378). A new version is better tried with `apply --canary`, \
which compares it and takes it back, than with a small weight. What makes one server take \
nearly everything is an error of `lopsided-distribution`.",
    bad: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", weight = 20 },
  { address = \"10.0.0.2:80\", weight = 20 },
  { address = \"10.0.0.3:80\", weight = 20 },
  \"10.0.0.4:80\",
]
check = { path = \"/health\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [
  { address = \"10.0.0.1:80\", weight = 4 },
  { address = \"10.0.0.2:80\", weight = 4 },
  { address = \"10.0.0.3:80\", weight = 4 },
  \"10.0.0.4:80\",
]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

/// The largest ratio of two weights that is taken to be meant.
const RATIO_MAX: u32 = 10;

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let active = active(pool);
        let Some((index, light)) = active.iter().min_by_key(|(_, server)| server.weight) else {
            continue;
        };
        let heaviest = active.iter().map(|(_, server)| server.weight).max().unwrap_or(1);
        if heaviest <= light.weight.saturating_mul(RATIO_MAX) {
            continue;
        }
        let message = format!(
            "the weights of pool {} are from {} to {heaviest}",
            quote(&pool.name),
            light.weight
        );
        let found =
            subject.found(&RULE, &["pools", &pool.name, "servers", &index.to_string()], message);
        report.add(
            found
                .label("the lightest")
                .help("try a new version with `tidegate apply --canary 5%` instead"),
        );
    }
}
