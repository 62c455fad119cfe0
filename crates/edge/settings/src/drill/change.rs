//! Reads how servers behave otherwise while a fault lasts: one function for each kind.
//!
//! What is read is a change, since each server keeps what is not changed of its own.

use std::time::Duration;

use model::sample::{RouteCost, SampleSettings};

use super::behaviour::{
    CONCURRENCY, DISTRIBUTIONS, ERROR_STATUS, LEAK_MAX, LEAK_PER_SECOND, PAUSE_EVERY_MS_MAX,
    PAUSE_MS_MAX, QUEUE_MAX, SERVICE_TIME_MS, WORK_MS, behaviour, version,
};
use crate::path::plain_path;
use crate::reader::Table;

/// What happens to the settings of one server.
pub(super) type Change = Box<dyn Fn(SampleSettings) -> SampleSettings>;

/// Every request takes longer.
pub(super) fn slow(table: &mut Table<'_>) -> Option<Change> {
    let time = table.required("service_time_ms", "service_time_ms = 500");
    let time = time.and_then(|value| value.decimal(&SERVICE_TIME_MS));
    let distribution = table.get("distribution").and_then(|value| value.choice(&DISTRIBUTIONS));
    let time = time?;
    Some(Box::new(move |server| SampleSettings {
        service_time_ms: time,
        distribution: distribution.unwrap_or(server.distribution),
        ..server
    }))
}

/// A share of the requests fails, at once or after their time.
pub(super) fn errors(table: &mut Table<'_>) -> Option<Change> {
    let (share, fast) = (table.ratio("share", 1.0), table.boolean("fast", true));
    let status = table.number("status", 500, ERROR_STATUS);
    Some(Box::new(move |server| SampleSettings {
        error_rate: share,
        error_status: status,
        fast_errors: fast,
        ..server
    }))
}

/// Requests are read and nothing is answered.
pub(super) fn half_open(_table: &mut Table<'_>) -> Option<Change> {
    Some(Box::new(|server| SampleSettings { half_open: true, ..server }))
}

/// Memory is lost, until the process ends for want of it.
pub(super) fn leak(table: &mut Table<'_>) -> Option<Change> {
    let per_second = table.required("per_second", "per_second = \"20MiB\"");
    let per_second = per_second.and_then(|value| value.size(&LEAK_PER_SECOND));
    let max = table.size("max", 256 << 20, LEAK_MAX);
    let per_second = per_second?;
    Some(Box::new(move |server| SampleSettings {
        leak_bytes_per_second: per_second,
        leak_bytes_max: max,
        ..server
    }))
}

/// The whole process stands still from time to time.
pub(super) fn pauses(table: &mut Table<'_>) -> Option<Change> {
    let mut time = |key, example, most| {
        let range = Duration::from_millis(1)..=Duration::from_millis(most);
        let value = table.required(key, example).and_then(|value| value.duration(&range))?;
        u64::try_from(value.as_millis()).ok()
    };
    let every = time("every", "every = \"2s\"", PAUSE_EVERY_MS_MAX);
    let pause = time("pause", "pause = \"400ms\"", PAUSE_MS_MAX);
    let (every, pause) = (every?, pause?);
    Some(Box::new(move |server| SampleSettings {
        pause_every_ms: every,
        pause_ms: pause,
        ..server
    }))
}

/// One route burns CPU.
pub(super) fn burn(table: &mut Table<'_>) -> Option<Change> {
    let cpu = table.required("cpu_ms", "cpu_ms = 20").and_then(|value| value.decimal(&WORK_MS));
    let path = match table.get("path") {
        Some(value) => plain_path(&value).map(|path| path.as_ref().to_owned()),
        None => Some("/".to_owned()),
    };
    let (cpu, path) = (cpu?, path?);
    Some(Box::new(move |mut server| {
        // The first route that fits counts, so that this one comes before the server's own.
        let cost = server.routes.iter().find(|route| path.starts_with(&route.path));
        let usual = RouteCost { service_time_ms: server.service_time_ms, ..RouteCost::default() };
        let cost = cost.cloned().unwrap_or(usual);
        server.routes.insert(0, RouteCost { path: path.clone(), cpu_ms: cpu, ..cost });
        server
    }))
}

/// The health check says the server is ill, which it is not.
pub(super) fn lying_check(_table: &mut Table<'_>) -> Option<Change> {
    Some(Box::new(|server| SampleSettings { healthy: false, ..server }))
}

/// Fewer requests are served at once.
pub(super) fn capacity(table: &mut Table<'_>) -> Option<Change> {
    let concurrency = table.required("concurrency", "concurrency = 1");
    let concurrency = concurrency.and_then(|value| value.number(&CONCURRENCY));
    let queue = table.get("queue_max").and_then(|value| value.number(&QUEUE_MAX));
    let concurrency = concurrency?;
    Some(Box::new(move |server| SampleSettings {
        concurrency,
        queue_max: queue.unwrap_or(server.queue_max),
        ..server
    }))
}

/// Any of a server's settings.
pub(super) fn behave(table: &mut Table<'_>) -> Option<Change> {
    table.required("settings", "settings = { error_rate = 0.5 }")?;
    settings(table)
}

/// A new version, with any of a server's settings.
pub(super) fn deploy(table: &mut Table<'_>) -> Option<Change> {
    let label = table.required("version", "version = \"v2\"").and_then(|value| version(&value));
    let settings = settings(table)?;
    let label = label?;
    Some(Box::new(move |server| SampleSettings { version: label.clone(), ..settings(server) }))
}

/// Those of a server's settings that are written in `settings`.
fn settings(table: &mut Table<'_>) -> Option<Change> {
    let Some(value) = table.get("settings") else { return Some(Box::new(|server| server)) };
    let mut inner = value.table("a table of a server's settings")?;
    let read = behaviour(&mut inner, &SampleSettings::default());
    let written: Vec<&str> = inner.entries().into_iter().map(|entry| entry.name).collect();
    let mut change = serde_json::to_value(read).ok()?;
    change.as_object_mut()?.retain(|key, _| written.contains(&key.as_str()));
    inner.finish();
    let change = serde_json::to_vec(&change).ok()?;
    // Unknown keys are gone and ranges were checked, so that no change is refused here.
    Some(Box::new(move |server| server.changed(&change).unwrap_or(server)))
}
