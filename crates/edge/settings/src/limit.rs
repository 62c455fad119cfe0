//! Reads `[limits.NAME]`: rates that all requests of one kind, or each key of it, are held to.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::configuration::{LimitKey, Rate, RateLimit};

use crate::finding::{Finding, did_you_mean, quote};
use crate::pool::token;
use crate::reader::{Table, Value};
use crate::units::show_rate;

/// Limits, at most: each request is held against every one of them.
const LIMITS_MAX: usize = 64;

/// Routes that one client or limit may name.
const ROUTES_MAX: usize = 1_000;

/// Requests at once.
pub(crate) const BURST_RANGE: RangeInclusive<u32> = 1..=1_000_000;

/// The longest that a burst may take to come back: what is remembered of a key is bounded.
const RECOVERY_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What clients and limits refer to.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// The names of all routes, those with mistakes too.
    pub(crate) routes: BTreeSet<&'a str>,
    /// Whether `admission.shared` is there.
    pub(crate) shares: bool,
}

/// Reads all limits, in file order.
pub(crate) fn limits(root: &mut Table<'_>, scope: &Scope<'_>) -> Vec<RateLimit> {
    let named = root.named("limits");
    if let Some((_, value)) = named.get(LIMITS_MAX) {
        let message = format!("more than {LIMITS_MAX} limits");
        value.invalid("too-many", message, "give each client its own rate in `[clients.NAME]`");
    }
    let named = named.into_iter().take(LIMITS_MAX);
    named.filter_map(|(name, value)| limit(name, value.table("a table")?, scope)).collect()
}

fn limit(name: Name, mut table: Table<'_>, scope: &Scope<'_>) -> Option<RateLimit> {
    let by = table.required("by", "by = \"address\"").and_then(|value| key(&value));
    let rate_value = table.required("rate", "rate = \"100/s\"");
    let rate = rate_value.and_then(|value| value.count_rate());
    let limit = RateLimit {
        name,
        by: LimitKey::All,
        rate: rate.unwrap_or(Rate { count: 1, per: Duration::from_secs(1) }),
        burst: burst(&mut table, rate),
        routes: routes(&mut table, scope),
        observe: table.boolean("observe", false),
        headers: table.boolean("headers", false),
        shared: shared(&mut table, scope),
    };
    table.finish();
    // The rest is read whatever these are, so that every mistake is reported.
    rate.and(by).map(|by| RateLimit { by, ..limit })
}

fn key(value: &Value<'_>) -> Option<LimitKey> {
    if !value.is_table() {
        return value.choice(&[
            ("all", LimitKey::All),
            ("client", LimitKey::Client),
            ("address", LimitKey::Address),
            ("route", LimitKey::Route),
        ]);
    }
    header(value, "by = { header = \"x-tenant\" }").map(LimitKey::Header)
}

/// The name in `{ header = NAME }`.
pub(crate) fn header(value: &Value<'_>, example: &str) -> Option<Name> {
    let mut table = value.table("a word or `{ header = ... }`")?;
    let header = table.required("header", example);
    table.finish();
    header.and_then(|value| token(&value, true))
}

/// The burst of a rate; by default one second's worth. `None`: the rate could not be read.
pub(crate) fn burst(table: &mut Table<'_>, rate: Option<Rate>) -> u32 {
    let Some(rate) = rate else { return table.number("burst", 1, BURST_RANGE) };
    let second = u128::from(rate.count) * 1_000 / rate.per.as_millis().max(1);
    let default = u32::try_from(second).unwrap_or(u32::MAX).clamp(1, *BURST_RANGE.end());
    let Some(value) = table.get("burst") else { return default };
    let Some(burst) = value.number(&BURST_RANGE) else { return default };
    let recovery = rate.per.as_secs_f64() / f64::from(rate.count) * f64::from(burst);
    if recovery > RECOVERY_MAX.as_secs_f64() {
        let rate = show_rate(rate.count, rate.per);
        let message = format!("a burst of {burst} takes more than 7 days to come back at {rate}");
        value.invalid("out-of-range", message, "lower `burst`, or raise `rate`");
    }
    burst
}

/// The routes that a client may use or a limit applies to, each once.
pub(crate) fn routes(table: &mut Table<'_>, scope: &Scope<'_>) -> Vec<Name> {
    let Some(value) = table.get("routes") else { return Vec::new() };
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of routes");
        return Vec::new();
    };
    if array.is_empty() {
        let message = "`routes` must not be empty".to_owned();
        value.invalid("empty-list", message, "leave it out to mean all");
    }
    if let Some(extra) = array.get(ROUTES_MAX) {
        let message = format!("more than {ROUTES_MAX} routes");
        extra.invalid("too-many", message, "leave `routes` out to mean all");
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for value in array.iter().take(ROUTES_MAX) {
        let Some(text) = value.text() else { continue };
        if !scope.routes.contains(text) {
            value.context.findings.add_error_with(|| unknown_route(value, text, scope));
        } else if seen.insert(text) {
            names.push(Name::from(text));
        }
    }
    names
}

fn unknown_route(value: &Value<'_>, text: &str, scope: &Scope<'_>) -> Finding {
    let message = format!("there is no route {}", quote(text));
    Finding::error("unknown-route", value.span.clone(), message)
        .label("not a route")
        .help("name one of the `[routes.NAME]`")
        .help_maybe(did_you_mean(text, scope.routes.iter().copied()))
}

/// Whether a rate is shared with other doors.
pub(crate) fn shared(table: &mut Table<'_>, scope: &Scope<'_>) -> bool {
    let Some(value) = table.get("shared") else { return false };
    let is_shared = value.boolean() == Some(true);
    if is_shared && !scope.shares {
        let message = "`shared` needs `[admission]` to say where quotas are shared".to_owned();
        let help = "add `shared = { url = \"redis://127.0.0.1:6379\" }` to `[admission]`";
        value.invalid("conflicting-keys", message, help);
    }
    is_shared
}
