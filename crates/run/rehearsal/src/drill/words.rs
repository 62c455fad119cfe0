//! Measures, numbers and events in words, for timelines, progress and reports.
//!
//! Pure. The same thing is called the same everywhere: here.

use std::time::Duration;

use model::Name;
use model::drill::{DoorBalance, DoorSetup, Event, Expectation, Fault, Link, Measure};
use model::drill::{Drill, NetworkConditions};
use model::load::{Arrivals, Reconnect, Stream};
use model::sample::SampleSettings;

use super::report::{ServerText, StreamText, Unit};

/// Changes of the load that are told; a log replayed in many stages would tell nothing else.
const LOAD_CHANGES_MAX: usize = 16;

/// What a measure is called in drill files.
pub(crate) fn key(measure: &Measure) -> &'static str {
    match measure {
        Measure::Success { .. } => "success",
        Measure::Answered { .. } => "answered",
        Measure::Goodput { .. } => "goodput",
        Measure::P50Ms { .. } => "p50_ms",
        Measure::P99Ms { .. } => "p99_ms",
        Measure::Share { .. } => "share",
        Measure::Saturated { .. } => "saturated",
        Measure::AttemptsPerRequest => "attempts_per_request",
        Measure::ConnectsPerSecond { .. } => "connects_per_second",
        Measure::DatabaseFailures => "database_failures",
        Measure::RecoverySeconds { .. } => "recovery_seconds",
        Measure::DetectSeconds { .. } => "detect_seconds",
        Measure::ChangeRefused => "change_refused",
        Measure::CauseSeconds { .. } => "cause_seconds",
        Measure::ActionSeconds { .. } => "action_seconds",
    }
}

/// What is measured, in words.
pub(crate) fn measure(measure: &Measure) -> String {
    match measure {
        Measure::Success { stream } => format!("success of {stream}"),
        Measure::Answered { stream } => format!("answered requests of {stream}"),
        Measure::Goodput { stream } => format!("successful requests of {stream}"),
        Measure::P50Ms { stream } => format!("median latency of {stream}"),
        Measure::P99Ms { stream } => format!("p99 latency of {stream}"),
        Measure::Share { server: Some(server) } => format!("share of {server}"),
        Measure::Share { server: None } => "share of the busiest server".to_owned(),
        Measure::Saturated { server } => format!("time with all places of {server} taken"),
        Measure::AttemptsPerRequest => "tries at the servers per request".to_owned(),
        Measure::ConnectsPerSecond { stream } => format!("new connections of {stream}"),
        Measure::DatabaseFailures => "failed queries".to_owned(),
        Measure::RecoverySeconds { stream } => format!("recovery of {stream}"),
        Measure::DetectSeconds { server } => format!("the door shows that {server} is ill"),
        Measure::ChangeRefused => "the change is refused".to_owned(),
        Measure::CauseSeconds { cause } => format!("the cause {cause} is named"),
        Measure::ActionSeconds { action } => format!("the door acts: {action}"),
    }
}

/// What the number of a measure counts.
pub(crate) fn unit(measure: &Measure) -> Unit {
    match measure {
        Measure::Success { .. }
        | Measure::Answered { .. }
        | Measure::Share { .. }
        | Measure::Saturated { .. } => Unit::Share,
        Measure::Goodput { .. } | Measure::ConnectsPerSecond { .. } => Unit::PerSecond,
        Measure::P50Ms { .. } | Measure::P99Ms { .. } => Unit::Milliseconds,
        Measure::RecoverySeconds { .. }
        | Measure::DetectSeconds { .. }
        | Measure::CauseSeconds { .. }
        | Measure::ActionSeconds { .. } => Unit::Seconds,
        Measure::AttemptsPerRequest | Measure::DatabaseFailures => Unit::Number,
        Measure::ChangeRefused => Unit::YesNo,
    }
}

/// A number of a unit; infinity is what never came.
pub(crate) fn value(value: f64, unit: Unit) -> String {
    if value.is_infinite() {
        return "never".to_owned();
    }
    match unit {
        Unit::Share => percent(value),
        Unit::PerSecond => format!("{}/s", short(value)),
        Unit::Milliseconds => format!("{} ms", short(value)),
        Unit::Seconds => format!("{} s", short(value)),
        Unit::Number => short(value),
        Unit::YesNo => if value >= 0.5 { "yes" } else { "no" }.to_owned(),
    }
}

/// Bounds in words.
pub(crate) fn bounds(expectation: &Expectation) -> String {
    let unit = unit(&expectation.measure);
    let said = |bound: Option<f64>| bound.map(|bound| value(bound, unit));
    match (unit, said(expectation.at_least), said(expectation.at_most)) {
        (Unit::YesNo, Some(bound), _) | (Unit::YesNo, None, Some(bound)) => bound,
        (_, Some(low), Some(high)) => format!("{low} to {high}"),
        (_, Some(low), None) => format!("at least {low}"),
        (_, None, Some(high)) => format!("at most {high}"),
        (_, None, None) => "no bound".to_owned(),
    }
}

/// A share in per cent with two decimals; what is not all is never said to be `100`.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 10_000.0).round() / 100.0;
    let said = if share < 1.0 { percent.min(99.99) } else { percent };
    format!("{said} %")
}

/// A number with as many decimals as it deserves: `0.071`, `12.5`, `1280`.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A time as people write it: `250 ms`, `1.5 s`.
pub(crate) fn time(time: Duration) -> String {
    match !time.is_zero() && time < Duration::from_secs(1) {
        true => format!("{} ms", short(time.as_secs_f64() * 1_000.0)),
        false => format!("{} s", short(time.as_secs_f64())),
    }
}

/// What begins with an event.
pub(crate) fn event(event: &Event, drill: &Drill) -> String {
    let what = match &event.fault {
        Fault::Kill { servers } => format!("{} killed", list(servers)),
        Fault::Stop { servers } => format!("{} stopped", list(servers)),
        Fault::Behave { kind, servers } => {
            let each = servers.iter().map(|server| behaviour(server, drill, Some(kind)));
            each.collect::<Vec<_>>().join("; ")
        }
        Fault::Network { link, conditions: network } => {
            format!("network {}: {}", self::link(link), conditions(network))
        }
        Fault::Configure { door } => {
            let how = if door.forced { "forced through" } else { "applied" };
            format!("configuration {how}: {}", self::door(door))
        }
        Fault::Stale => "the configuration before is applied once more".to_owned(),
        Fault::Deploy { servers } => {
            let each = servers.iter().map(|server| {
                format!("version {} deployed: {}", server.version, behaviour(server, drill, None))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        Fault::RollingRestart { servers, pause } => {
            format!("rolling restart of {}, {} apart", list(servers), time(*pause))
        }
        Fault::CutClients { stream } => format!("all connections of {stream} cut"),
    };
    match event.lasting {
        Some(lasting) => format!("{what}, for {}", time(lasting)),
        None => what,
    }
}

/// What an event's end does.
pub(crate) fn undo(event: &Event) -> String {
    match &event.fault {
        Fault::Kill { servers } => format!("{} started again", list(servers)),
        Fault::Stop { servers } => format!("{} continued", list(servers)),
        Fault::Behave { kind, servers } => format!("{}: end of {kind}", list_settings(servers)),
        Fault::Network { link, .. } => format!("network {}: as before", self::link(link)),
        Fault::Configure { .. } => "the configuration before it is applied".to_owned(),
        Fault::Stale => "the newest configuration is applied".to_owned(),
        Fault::Deploy { servers } => {
            format!("{}: version before deployed again", list_settings(servers))
        }
        Fault::RollingRestart { .. } | Fault::CutClients { .. } => "nothing to undo".to_owned(),
    }
}

/// What one step of a rolling restart does.
pub(crate) fn restart(event: &Event, position: usize) -> String {
    let Fault::RollingRestart { servers, .. } = &event.fault else {
        return "nothing restarted".to_owned();
    };
    let name = servers.get(position).map_or("a server", |name| &**name);
    format!("{name} restarted, {} of {}", position + 1, servers.len())
}

/// The server a fault is about, if it is about one alone.
pub(crate) fn server_of(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Kill { servers } | Fault::Stop { servers } => match servers.as_slice() {
            [server] => Some(server.to_string()),
            _ => None,
        },
        Fault::Behave { servers, .. } | Fault::Deploy { servers } => match servers.as_slice() {
            [server] => Some(server.name.clone()),
            _ => None,
        },
        Fault::Network { link: Link::Server(server), .. } => Some(server.to_string()),
        Fault::Network { link: Link::Clients | Link::Database, .. }
        | Fault::Configure { .. }
        | Fault::Stale
        | Fault::RollingRestart { .. }
        | Fault::CutClients { .. } => None,
    }
}

/// One stream in one line.
pub(crate) fn stream(stream: &Stream) -> StreamText {
    let arrivals = match &stream.arrivals {
        Arrivals::Open { stages, .. } => {
            let rates =
                stages.iter().flat_map(|stage| [stage.from_per_second, stage.to_per_second]);
            let (low, high) = rates.fold((f64::INFINITY, 0.0_f64), |(low, high), rate| {
                (low.min(rate), high.max(rate))
            });
            match low < high {
                true => format!("{} to {} requests a second", short(low), short(high)),
                false => format!("{} requests a second", short(high)),
            }
        }
        Arrivals::Closed { users, think, .. } => {
            format!("{users} users that think {}", time(*think))
        }
        Arrivals::Sessions { count, reconnect, .. } => {
            let after = match reconnect {
                Reconnect::Never => "never reconnect",
                Reconnect::AtOnce => "reconnect at once",
                Reconnect::BackOff => "reconnect with back-off",
            };
            format!("{count} held connections that {after}")
        }
        Arrivals::Replay { requests } => format!("{} recorded requests", requests.len()),
    };
    let clients = match stream.clients.count {
        1 => "one client".to_owned(),
        count => format!("{count} clients"),
    };
    let retries = match (stream.retries.retries_max, stream.retries.back_off) {
        (0, _) => "no retries".to_owned(),
        (count, None) => format!("up to {count} retries at once"),
        (count, Some(_)) => format!("up to {count} retries with back-off"),
    };
    let retries = match stream.retries.respect_retry_after {
        true => format!("{retries} but no sooner than told"),
        false => retries,
    };
    let words = format!("{arrivals}, {clients}, {retries}, timeout {}", time(stream.timeout));
    StreamText { name: stream.name.to_string(), words }
}

/// When the load becomes another by its own plan, and how: streams that begin late, and stages.
pub(crate) fn load_changes(drill: &Drill) -> Vec<(Duration, String)> {
    let mut changes = Vec::new();
    for stream in &drill.load.streams {
        if !stream.start.is_zero() {
            changes.push((
                stream.start,
                format!("{} begins: {}", stream.name, self::stream(stream).words),
            ));
        }
        let Arrivals::Open { stages, .. } = &stream.arrivals else { continue };
        let mut at = stream.start;
        for (before, after) in stages.iter().zip(stages.iter().skip(1)) {
            at += before.duration;
            let (from, to) = (short(after.from_per_second), short(after.to_per_second));
            let rate = if from == to { to } else { format!("{from} to {to}") };
            changes.push((at, format!("{}: {rate} requests a second", stream.name)));
        }
    }
    changes.retain(|(at, _)| *at < drill.duration);
    changes.sort_by_key(|(at, _)| *at);
    changes.truncate(LOAD_CHANGES_MAX);
    changes
}

/// One server in one line.
pub(crate) fn server(settings: &SampleSettings) -> ServerText {
    ServerText {
        name: settings.name.clone(),
        places: u64::try_from(settings.concurrency).unwrap_or(u64::MAX),
        words: format!(
            "{} ms a request, {} at once, {} may wait",
            short(settings.service_time_ms),
            settings.concurrency,
            settings.queue_max
        ),
    }
}

/// How a server differs from how it was started.
fn behaviour(settings: &SampleSettings, drill: &Drill, kind: Option<&str>) -> String {
    let name = &settings.name;
    let normal = drill.stack.servers.iter().find(|server| server.name == *name);
    let (Ok(serde_json::Value::Object(now)), Some(Ok(before))) =
        (serde_json::to_value(settings), normal.map(serde_json::to_value))
    else {
        return name.clone();
    };
    let changed = now.iter().filter(|(key, value)| {
        *key != "version" && *key != "seed" && *key != "database" && before.get(*key) != Some(value)
    });
    let changed: Vec<String> = changed.map(|(key, value)| format!("{key} {value}")).collect();
    match (kind, changed.is_empty()) {
        (Some(kind), true) => format!("{name} {kind}"),
        (Some(kind), false) => format!("{name} {kind} ({})", changed.join(", ")),
        (None, true) => format!("{name} behaves as before"),
        (None, false) => format!("{name} ({})", changed.join(", ")),
    }
}

/// A door's set-up in one line.
fn door(door: &DoorSetup) -> String {
    let balance = match &door.balance {
        DoorBalance::Default => "the door's own balancing".to_owned(),
        DoorBalance::RoundRobin => "round robin".to_owned(),
        DoorBalance::HashPath => "hash of the path".to_owned(),
        DoorBalance::HashHeader(header) => format!("hash of {header}"),
    };
    let weights: Vec<String> =
        door.weights.iter().map(|(server, weight)| format!("{server} {weight}")).collect();
    format!("{balance}, weights {}, check {}", weights.join(" "), door.check_path)
}

fn link(link: &Link) -> String {
    match link {
        Link::Clients => "between clients and door".to_owned(),
        Link::Server(server) => format!("between door and {server}"),
        Link::Database => "between servers and database".to_owned(),
    }
}

fn conditions(network: &NetworkConditions) -> String {
    let parts = [
        (!network.latency.is_zero()).then(|| format!("{} later", time(network.latency))),
        (!network.jitter.is_zero()).then(|| format!("up to {} jitter", time(network.jitter))),
        network.bytes_per_second.map(|bytes| format!("{bytes} bytes a second")),
        (network.stall_share > 0.0).then(|| {
            format!("{} of chunks stall {}", percent(network.stall_share), time(network.stall))
        }),
        (network.reset_share > 0.0)
            .then(|| format!("{} of connections reset", percent(network.reset_share))),
        network.black_hole.then(|| "bytes go nowhere".to_owned()),
        network.connections_max.map(|count| format!("at most {count} connections")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "as before".to_owned(),
        false => parts.join(", "),
    }
}

fn list(names: &[Name]) -> String {
    names.join(", ")
}

fn list_settings(servers: &[SampleSettings]) -> String {
    servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_decimals_they_deserve() {
        let check = |number: f64, unit: Unit, expected: &str| {
            assert_eq!(value(number, unit), expected, "{number}");
        };
        check(0.992_5, Unit::Share, "99.25 %");
        check(0.999_99, Unit::Share, "99.99 %");
        check(0.05, Unit::Share, "5 %");
        check(1.0, Unit::Share, "100 %");
        check(1_280.4, Unit::Milliseconds, "1280 ms");
        check(0.0, Unit::Number, "0");
        check(1.0, Unit::YesNo, "yes");
        check(2.25, Unit::Seconds, "2.25 s");
        check(f64::INFINITY, Unit::Seconds, "never");
    }

    #[test]
    fn a_load_that_changes_is_told() {
        let stage = |from_per_second: f64, to_per_second: f64| model::load::Stage {
            from_per_second,
            to_per_second,
            duration: Duration::from_secs(10),
        };
        let mut drill = super::super::tests::drill();
        let stages = vec![stage(50.0, 50.0), stage(50.0, 200.0), stage(200.0, 200.0)];
        let arrivals = Arrivals::Open { stages, spacing: model::load::Spacing::Even };
        drill.load.streams =
            vec![Stream { start: Duration::from_secs(5), arrivals, ..Stream::default() }];
        drill.duration = Duration::from_secs(20);
        let told = load_changes(&drill);
        let at: Vec<u64> = told.iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(at, [5, 15], "what comes after the end is not told");
        assert!(told[0].1.starts_with("load begins: 50 to 200 requests a second"), "{told:?}");
        assert_eq!(told[1].1, "load: 50 to 200 requests a second");
    }

    #[test]
    fn bounds_are_said_in_the_unit_of_the_measure() {
        let check = |measure: Measure, at_least: Option<f64>, at_most: Option<f64>, words: &str| {
            let expectation = Expectation {
                measure,
                from: Duration::ZERO,
                to: Duration::from_secs(1),
                at_least,
                at_most,
                pending: None,
            };
            assert_eq!(bounds(&expectation), words);
        };
        let stream = Name::from("web");
        check(Measure::Success { stream: stream.clone() }, Some(0.99), None, "at least 99 %");
        check(Measure::P99Ms { stream }, None, Some(200.0), "at most 200 ms");
        check(Measure::Share { server: None }, Some(0.1), Some(0.25), "10 % to 25 %");
        check(Measure::ChangeRefused, Some(1.0), None, "yes");
        check(Measure::ChangeRefused, None, Some(0.0), "no");
    }
}
