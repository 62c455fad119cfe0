//! The rules: what a valid configuration may not do, or probably does not mean.
//!
//! Readers say whether a text is a configuration; rules judge the configuration it stands for.
//! Each rule has its own file, with its reason and an example of bad and good, and is called
//! from the one list below. A rule that is an error refuses a configuration like any other error,
//! unless `[[allow]]` sets it aside for a reason.
//! Invariant: a finding of a rule has the rule's severity, and its example of bad is found by it
//! and by no other rule, unless it judges changes.

mod admin_exposed;
mod all_critical;
mod allow_without_deny;
mod ambiguous_default;
mod backup_with_hash;
mod broken_invariant;
mod catastrophic_regex;
mod client_above_limit;
mod client_above_pool;
mod client_chosen_upstream;
mod connections_above_open_files;
mod credentials_in_clear;
mod disabled_client;
mod duplicate_route;
mod duplicate_server;
mod emptying_ejection;
mod expiring_certificate;
mod hasty_ejection;
mod http_hash_on_tcp;
mod inconsistent_hash;
mod inverted_timeouts;
mod large_move;
mod limit_on_proxy;
mod limits_above_whole;
mod long_queue_wait;
mod lopsided_distribution;
mod missing_timeout;
mod name_resolved_once;
mod narrow_hash_key;
mod no_active_server;
mod no_body_limit;
mod no_health_check;
mod no_spare_capacity;
mod one_active_server;
mod one_host;
mod one_zone;
mod path_rewritten;
mod plain_cors_origin;
mod pointless_retries;
mod rates_above_capacity;
mod reach;
mod report;
mod retry_product;
mod shallow_check;
mod short_drain;
mod single_server;
mod slow_connect;
mod slow_detection;
mod small_canary;
mod stale_connections;
mod state_losing_reload;
mod steep_weights;
mod structure;
mod subject;
mod text;
mod trials;
mod unasked_certificate;
mod unbudgeted_retries;
mod uneven_distribution;
mod unheeded_hsts;
mod unreachable_route;
mod unsafe_retry;
mod unserved_cors_method;
mod unused_check;
mod unused_pool;
mod unverified_tls;

use crate::Severity;
use crate::finding::{Finding, closest};

pub use crate::import::Dialect;

pub(crate) use report::{Found, Report};
pub(crate) use subject::{Subject, active, distinct};
pub use text::{explain, reference};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its stable name, such as `single-server`.
    pub name: &'static str,
    /// Its number in the project's list of rules, if it has one; several names may share one.
    pub number: Option<u8>,
    /// How bad it is to break it.
    pub severity: Severity,
    /// What it finds, in one sentence without a full stop.
    pub summary: &'static str,
    /// Why it is a rule, and where it was narrowed so that it refuses nothing sensible.
    pub rationale: &'static str,
    /// What it finds.
    pub bad: Example,
    /// The same, mended.
    pub good: Example,
    /// Who finds it.
    pub(crate) seen: Seen,
}

impl Rule {
    /// Whether it judges a change from one configuration to another, and so none by itself.
    #[must_use]
    pub fn is_of_changes(&self) -> bool {
        match self.seen {
            Seen::Change => true,
            Seen::By(_) | Seen::Import => false,
        }
    }
}

/// A part of a configuration; what is not shown of it is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// The language it is written in.
    pub dialect: Dialect,
    /// The text.
    pub text: &'static str,
}

impl Example {
    const fn native(text: &'static str) -> Self {
        Self { dialect: Dialect::Native, text }
    }

    const fn nginx(text: &'static str) -> Self {
        Self { dialect: Dialect::Nginx, text }
    }

    const fn haproxy(text: &'static str) -> Self {
        Self { dialect: Dialect::Haproxy, text }
    }
}

/// Who finds that a rule is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// This function.
    By(fn(&Subject<'_>, &mut Report)),
    /// The importers alone: the mistake cannot be written in this door's own format.
    Import,
    /// `plan` and `apply`: it takes two configurations.
    Change,
}

/// The one list: every rule, by its number.
static RULES: [&Rule; 60] = [
    &lopsided_distribution::RULE,
    &uneven_distribution::RULE,
    &one_active_server::RULE,
    &no_active_server::RULE,
    &steep_weights::RULE,
    &state_losing_reload::RULE,
    &http_hash_on_tcp::RULE,
    &narrow_hash_key::RULE,
    &inconsistent_hash::RULE,
    &backup_with_hash::RULE,
    &single_server::RULE,
    &duplicate_server::RULE,
    &one_host::RULE,
    &one_zone::RULE,
    &no_spare_capacity::RULE,
    &no_health_check::RULE,
    &unused_check::RULE,
    &shallow_check::RULE,
    &slow_detection::RULE,
    &hasty_ejection::RULE,
    &emptying_ejection::RULE,
    &missing_timeout::RULE,
    &inverted_timeouts::RULE,
    &retry_product::RULE,
    &unbudgeted_retries::RULE,
    &unsafe_retry::RULE,
    &pointless_retries::RULE,
    &slow_connect::RULE,
    &stale_connections::RULE,
    &short_drain::RULE,
    &rates_above_capacity::RULE,
    &limit_on_proxy::RULE,
    &limits_above_whole::RULE,
    &connections_above_open_files::RULE,
    &long_queue_wait::RULE,
    &no_body_limit::RULE,
    &unreachable_route::RULE,
    &duplicate_route::RULE,
    &ambiguous_default::RULE,
    &unused_pool::RULE,
    &catastrophic_regex::RULE,
    &name_resolved_once::RULE,
    &path_rewritten::RULE,
    &client_chosen_upstream::RULE,
    &admin_exposed::RULE,
    &allow_without_deny::RULE,
    &large_move::RULE,
    &small_canary::RULE,
    &unverified_tls::RULE,
    &expiring_certificate::RULE,
    &unasked_certificate::RULE,
    &credentials_in_clear::RULE,
    &unheeded_hsts::RULE,
    &plain_cors_origin::RULE,
    &unserved_cors_method::RULE,
    &client_above_limit::RULE,
    &client_above_pool::RULE,
    &disabled_client::RULE,
    &all_critical::RULE,
    &broken_invariant::RULE,
];

/// Every rule, by its number.
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    &RULES
}

/// The rule of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Rule> {
    rules().iter().copied().find(|rule| rule.name == name)
}

/// The rule whose name is closest to a misspelt one, if one is close.
#[must_use]
pub fn closest_rule(name: &str) -> Option<&'static str> {
    closest(name, rules().iter().map(|rule| rule.name))
}

/// A finding of a rule at `span`, with the rule's severity; an error for a name that is no
/// rule's.
#[must_use]
pub fn finding(rule_name: &'static str, span: std::ops::Range<usize>, message: String) -> Finding {
    let severity = find(rule_name).map_or(Severity::Error, |rule| rule.severity);
    Finding { severity, ..Finding::error(rule_name, span, message) }
}

/// Runs every rule; what they find, in no order.
pub(crate) fn run(subject: &Subject<'_>) -> Vec<Found> {
    let mut report = Report::default();
    for rule in rules() {
        match rule.seen {
            Seen::By(check) => check(subject, &mut report),
            Seen::Import | Seen::Change => {}
        }
    }
    report.finish()
}
