//! Reads how a sample application behaves: the keys of [`SampleSettings`], over a base.
//!
//! What connects a server to its stage (its name, its database, its random numbers) is the
//! drill's to say and no key.
//! Invariant: a key that is absent leaves the base as it is.

use std::ops::RangeInclusive;

use model::sample::{Distribution, RouteCost, SampleSettings};

use crate::finding::{Finding, quote};
use crate::path::plain_path;
use crate::reader::{Table, Value};

/// Routes of one server with a cost of their own.
const ROUTES_MAX: usize = 64;
const MIB: u64 = 1 << 20;

/// Milliseconds of waiting.
pub(super) const SERVICE_TIME_MS: RangeInclusive<f64> = 0.0..=60_000.0;
/// Milliseconds of CPU or under a lock.
pub(super) const WORK_MS: RangeInclusive<f64> = 0.0..=10_000.0;
pub(super) const CONCURRENCY: RangeInclusive<usize> = 1..=10_000;
pub(super) const QUEUE_MAX: RangeInclusive<usize> = 0..=10_000;
pub(super) const ERROR_STATUS: RangeInclusive<u16> = 400..=599;
pub(super) const LEAK_PER_SECOND: RangeInclusive<u64> = 0..=256 * MIB;
pub(super) const LEAK_MAX: RangeInclusive<u64> = 0..=1_024 * MIB;
pub(super) const PAUSE_EVERY_MS_MAX: u64 = 600_000;
pub(super) const PAUSE_MS_MAX: u64 = 60_000;

pub(super) const DISTRIBUTIONS: [(&str, Distribution); 3] = [
    ("fixed", Distribution::Fixed),
    ("exponential", Distribution::Exponential),
    ("lognormal", Distribution::Lognormal),
];

/// The settings of `table` over those of `base`; the caller finishes the table.
pub(super) fn behaviour(table: &mut Table<'_>, base: &SampleSettings) -> SampleSettings {
    let mut settings = base.clone();
    let to = &mut settings;
    to.service_time_ms = table.decimal("service_time_ms", to.service_time_ms, SERVICE_TIME_MS);
    to.distribution = table.choice("distribution", to.distribution, &DISTRIBUTIONS);
    to.concurrency = table.number("concurrency", to.concurrency, CONCURRENCY);
    to.queue_max = table.number("queue_max", to.queue_max, QUEUE_MAX);
    to.error_rate = table.ratio("error_rate", to.error_rate);
    to.error_status = table.number("error_status", to.error_status, ERROR_STATUS);
    to.fast_errors = table.boolean("fast_errors", to.fast_errors);
    if let Some(path) = table.get("health_path").and_then(|value| plain_path(&value)) {
        to.health_path = path.as_ref().to_owned();
    }
    to.healthy = table.boolean("healthy", to.healthy);
    to.body_bytes = bytes(table, "body_bytes", to.body_bytes, 16 * MIB);
    if let Some(version) = table.get("version").and_then(|value| version(&value)) {
        to.version = version;
    }
    to.cpu_ms = table.decimal("cpu_ms", to.cpu_ms, WORK_MS);
    to.contention = table.decimal("contention", to.contention, 0.0..=10.0);
    if let Some(routes) = table.get("routes").and_then(|value| routes(&value)) {
        to.routes = routes;
    }
    to.half_open = table.boolean("half_open", to.half_open);
    to.leak_bytes_per_second =
        table.size("leak_bytes_per_second", to.leak_bytes_per_second, LEAK_PER_SECOND);
    to.leak_bytes_max = table.size("leak_bytes_max", to.leak_bytes_max, LEAK_MAX);
    to.pause_every_ms = table.number("pause_every_ms", to.pause_every_ms, 0..=PAUSE_EVERY_MS_MAX);
    to.pause_ms = table.number("pause_ms", to.pause_ms, 0..=PAUSE_MS_MAX);
    to.database_connections_max =
        table.number("database_connections_max", to.database_connections_max, 1..=1_000);
    to.database_connect_each = table.boolean("database_connect_each", to.database_connect_each);
    checked(table, settings, base)
}

/// The model has the last word on what a server can be told.
fn checked(table: &Table<'_>, settings: SampleSettings, base: &SampleSettings) -> SampleSettings {
    settings.checked().unwrap_or_else(|rule| {
        let finding = Finding::error("out-of-range", table.span(), rule);
        table.context().findings.add(finding.label("cannot be told to a server"));
        base.clone()
    })
}

fn bytes(table: &mut Table<'_>, key: &'static str, default: usize, most: u64) -> usize {
    let size = table.get(key).and_then(|value| value.size(&(0..=most)));
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
}

/// The label of a version, as it goes into a header.
pub(super) fn version(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    let message = format!("{} is not a version", quote(text));
    value.invalid("invalid-name", message, "use 1 to 64 visible ASCII characters");
    None
}

fn routes(value: &Value<'_>) -> Option<Vec<RouteCost>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of routes");
        return None;
    };
    if array.len() > ROUTES_MAX {
        let message = format!("more than {ROUTES_MAX} routes");
        value.invalid("too-many", message, "leave some out");
    }
    Some(array.iter().take(ROUTES_MAX).filter_map(route).collect())
}

fn route(value: &Value<'_>) -> Option<RouteCost> {
    let mut table = value.table("tables with `path`")?;
    let path = table.required("path", "path = \"/search\"");
    let path = path.and_then(|value| plain_path(&value));
    let route = RouteCost {
        path: path.map(|path| path.as_ref().to_owned()).unwrap_or_default(),
        service_time_ms: table.decimal("service_time_ms", 0.0, SERVICE_TIME_MS),
        cpu_ms: table.decimal("cpu_ms", 0.0, WORK_MS),
        lock_ms: table.decimal("lock_ms", 0.0, WORK_MS),
        queries: table.number("queries", 0, 0..=100),
        query_ms: table.decimal("query_ms", 0.0, WORK_MS),
        cache_hit_share: table.ratio("cache_hit_share", 0.0),
    };
    table.finish();
    Some(route)
}

/// Writes the model's defaults into the schema of a server.
pub(super) fn add_defaults(schema: &mut serde_json::Value) {
    let defaults = serde_json::to_value(SampleSettings::default()).unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    for (key, property) in properties.into_iter().flatten() {
        if let Some(default) = defaults.get(key) {
            property["default"] = default.clone();
        }
    }
}
