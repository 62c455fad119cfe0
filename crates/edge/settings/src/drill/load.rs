//! Reads `[load.NAME]`: streams of requests.

use std::time::Duration;

use ipnet::IpNet;
use model::Name;
use model::drill::DURATION_MAX;
use model::load::{
    Arrivals, Clients, IN_FLIGHT_MAX, LoadPlan, Protocol, RATE_MAX, Reconnect, RequestShape,
    Retries, STREAMS_MAX, STREAMS_PER_CONNECTION_MAX, Spacing, Stage, Stream,
};

use super::request::{header_value, requests};
use super::scope::{exactly_one, inside, meaningless};
use crate::finding::{Finding, quote};
use crate::pool::token;
use crate::reader::{TIMEOUT_RANGE, Table, Value};

/// Stages of one stream.
const STAGES_MAX: usize = 64;
/// The keys that say how requests arrive; a stream has one of them.
const KINDS: [&str; 4] = ["rate", "stages", "users", "sessions"];

/// Reads every stream: their names, and the load if all are sound. Inside a drill, `duration` is
/// what a stream lasts unless it says so, and the end that none may pass.
pub(super) fn load(
    root: &mut Table<'_>,
    duration: Option<Duration>,
) -> (Vec<Name>, Option<LoadPlan>) {
    let entries = root.named("load");
    if !root.has("load") {
        let message = format!("{} has no stream of requests (no `[load.NAME]`)", root.name());
        let finding = Finding::error("missing-key", 0..0, message);
        let help = "add `[load.users]` with `rate = \"100/s\"`";
        root.context().findings.add(finding.help(help));
    }
    if let Some((_, value)) = entries.get(STREAMS_MAX) {
        let message = format!("more than {STREAMS_MAX} streams");
        value.invalid("too-many", message, "leave some out");
    }
    let names = entries.iter().map(|(name, _)| name.clone()).collect();
    // All are read before any is missed, so that every mistake is reported.
    let streams = entries.iter().take(STREAMS_MAX);
    let streams: Vec<Option<Stream>> =
        streams.map(|(name, value)| stream(name, value, duration)).collect();
    let streams: Option<Vec<Stream>> = streams.into_iter().collect();
    (names, streams.map(|streams| LoadPlan { streams }))
}

fn stream(name: &Name, value: &Value<'_>, end: Option<Duration>) -> Option<Stream> {
    let mut table = value.table("a table")?;
    let default = Stream::default();
    let start = table.get("start");
    let start_duration = match &start {
        Some(start) => start.duration(&(Duration::ZERO..=DURATION_MAX)).unwrap_or_default(),
        None => Duration::ZERO,
    };
    let times = Times { start: start_duration, end };
    let arrivals = arrivals(&mut table, times);
    let (protocol, streams_max) = protocol(&mut table);
    let stream = Stream {
        name: name.clone(),
        start: start_duration,
        arrivals: arrivals.unwrap_or(default.arrivals),
        requests: table
            .get("requests")
            .and_then(|value| requests(&value, protocol))
            .unwrap_or_else(|| vec![plain(protocol)]),
        clients: clients(&mut table),
        protocol,
        streams_max,
        keep_alive: table.boolean("keep_alive", default.keep_alive),
        timeout: table.duration("timeout", default.timeout, TIMEOUT_RANGE),
        retries: table.get("retries").and_then(|value| retries(&value)).unwrap_or(default.retries),
        in_flight_max: table.number("in_flight", default.in_flight_max, 1..=IN_FLIGHT_MAX),
    };
    table.finish();
    // The model has the last word; what it refuses was mostly reported with its place before.
    match stream.checked() {
        Ok(stream) => Some(stream),
        Err(rule) => {
            let finding = Finding::error("invalid-stream", value.key_span.clone(), rule);
            value.report(finding.label("this stream"));
            None
        }
    }
}

const PROTOCOLS: [(&str, Protocol); 3] =
    [("http1", Protocol::Http1), ("http2", Protocol::Http2), ("grpc", Protocol::Grpc)];

/// What a stream speaks, and how many requests share a connection.
fn protocol(table: &mut Table<'_>) -> (Protocol, usize) {
    let protocol = table.choice("protocol", Protocol::Http1, &PROTOCOLS);
    if !protocol.is_http2() {
        meaningless(table, &["streams"], "http1");
    }
    if protocol == Protocol::Grpc && !table.has("requests") {
        let help = "requests = [\"/package.Service/Method\"]";
        table.required("requests", help);
    }
    let default = Stream::default().streams_max;
    (protocol, table.number("streams", default, 1..=STREAMS_PER_CONNECTION_MAX))
}

/// What is asked unless that is said.
fn plain(protocol: Protocol) -> RequestShape {
    let plain = RequestShape::default();
    if protocol == Protocol::Grpc {
        RequestShape { method: Name::from("POST"), ..plain }
    } else {
        plain
    }
}

/// When a stream begins, and the end of the drill it plays in.
#[derive(Clone, Copy)]
struct Times {
    start: Duration,
    end: Option<Duration>,
}

impl Times {
    /// How long a stream lasts that says `for`: by default to the end of the drill.
    fn lasting(self, table: &mut Table<'_>) -> Option<Duration> {
        let Some(end) = self.end else {
            let value = table.required("for", "for = \"30s\"")?;
            return value.duration(&LASTING);
        };
        let Some(value) = table.get("for") else {
            let left = end.saturating_sub(self.start);
            if let Some(start) = table.get("start").filter(|_| left.is_zero()) {
                let message = "`start` leaves the stream no time".to_owned();
                start.invalid("after-the-end", message, "begin before the end of the drill");
            }
            return Some(left);
        };
        let lasting = value.duration(&LASTING)?;
        inside(&value, self.start + lasting, end).then_some(lasting)
    }
}

const LASTING: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=DURATION_MAX;

fn arrivals(table: &mut Table<'_>, times: Times) -> Option<Arrivals> {
    let (kind, value) = exactly_one(table, KINDS.into_iter(), "rate = \"100/s\"")?;
    match kind {
        "rate" => {
            meaningless(table, &["think", "opening", "ask_every", "reconnect"], kind);
            let (rate, duration) = (value.rate(&(0.0..=RATE_MAX)), times.lasting(table));
            let spacing = spacing(table);
            let (rate, duration) = (rate?, duration?);
            let stage = Stage { from_per_second: rate, to_per_second: rate, duration };
            Some(Arrivals::Open { stages: vec![stage], spacing })
        }
        "stages" => {
            meaningless(table, &["for", "think", "opening", "ask_every", "reconnect"], kind);
            let spacing = spacing(table);
            let stages = stages(&value)?;
            let end = times.start + stages.iter().map(|stage| stage.duration).sum::<Duration>();
            times.end.is_none_or(|drill| inside(&value, end, drill)).then_some(())?;
            Some(Arrivals::Open { stages, spacing })
        }
        "users" => {
            meaningless(table, &["arrivals", "opening", "ask_every", "reconnect"], kind);
            let (users, duration) = (value.number(&(1..=IN_FLIGHT_MAX)), times.lasting(table));
            let think = table.duration("think", Duration::ZERO, Duration::ZERO..=DURATION_MAX);
            Some(Arrivals::Closed { users: users?, think, duration: duration? })
        }
        _ => {
            meaningless(table, &["arrivals", "think"], kind);
            let (count, duration) = (value.number(&(1..=IN_FLIGHT_MAX)), times.lasting(table));
            let opening = table.duration("opening", Duration::ZERO, Duration::ZERO..=DURATION_MAX);
            let every = Duration::from_millis(10)..=DURATION_MAX;
            let ask_every = table.get("ask_every").and_then(|value| value.duration(&every));
            let reconnect = table.choice("reconnect", Reconnect::BackOff, &RECONNECTS);
            let (count, duration) = (count?, duration?);
            Some(Arrivals::Sessions { count, opening, ask_every, duration, reconnect })
        }
    }
}

const RECONNECTS: [(&str, Reconnect); 3] =
    [("never", Reconnect::Never), ("at-once", Reconnect::AtOnce), ("back-off", Reconnect::BackOff)];

fn spacing(table: &mut Table<'_>) -> Spacing {
    let choices = [("even", Spacing::Even), ("poisson", Spacing::Poisson)];
    table.choice("arrivals", Spacing::Even, &choices)
}

fn stages(value: &Value<'_>) -> Option<Vec<Stage>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of tables with `rate` and `for`");
        return None;
    };
    if !(1..=STAGES_MAX).contains(&array.len()) {
        let message = format!("a stream has 1 to {STAGES_MAX} stages");
        let help = "write `stages = [{ rate = \"100/s\", for = \"10s\" }]`";
        value.invalid("out-of-range", message, help);
        return None;
    }
    let stages: Vec<Option<Stage>> = array.iter().map(stage).collect();
    stages.into_iter().collect()
}

fn stage(value: &Value<'_>) -> Option<Stage> {
    let mut table = value.table("tables with `rate` and `for`")?;
    let rates = 0.0..=RATE_MAX;
    let from = table.required("rate", "rate = \"100/s\"").and_then(|value| value.rate(&rates));
    let to = match table.get("to") {
        Some(value) => value.rate(&rates),
        None => from,
    };
    let duration = table.required("for", "for = \"10s\"");
    let duration = duration.and_then(|value| value.duration(&LASTING));
    table.finish();
    Some(Stage { from_per_second: from?, to_per_second: to?, duration: duration? })
}

fn clients(table: &mut Table<'_>) -> Clients {
    let default = Clients::default();
    let key_header = table.get("key_header").and_then(|value| token(&value, true));
    if !table.has("key_header") {
        meaningless(table, &["key"], "no `key_header`");
    }
    Clients {
        count: table.number("clients", default.count, 1..=1_000_000),
        key_header,
        key: table.get("key").and_then(|value| header_value(&value)).unwrap_or(default.key),
        source: table.get("source").and_then(|value| source(&value)),
    }
}

fn source(value: &Value<'_>) -> Option<IpNet> {
    let text = value.text()?;
    let net = text.parse::<IpNet>().ok();
    let net = net.filter(|net| match net {
        IpNet::V4(net) => net.network().is_loopback() && net.prefix_len() >= 8,
        IpNet::V6(_) => false,
    });
    if net.is_none() {
        let message = format!("{} is no network of this machine", quote(text));
        value.invalid("invalid-network", message, "use one inside 127.0.0.0/8: \"127.0.1.0/24\"");
    }
    net
}

fn retries(value: &Value<'_>) -> Option<Retries> {
    if value.is_integer() {
        return Some(Retries { retries_max: value.number(&(0..=10))?, ..Retries::default() });
    }
    let mut table = value.table("a number or `{ max = 3, back_off = \"100ms\" }`")?;
    let max = table.required("max", "max = 3").and_then(|value| value.number(&(0..=10)));
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    let back_off = table.get("back_off").and_then(|value| value.duration(&range));
    let respect_retry_after = table.boolean("respect_retry_after", false);
    table.finish();
    Some(Retries { retries_max: max?, back_off, respect_retry_after })
}
