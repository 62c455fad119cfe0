//! Reads `[[event]]`: faults and changes on the timeline.

use std::ops::Range;
use std::time::Duration;

use model::Name;
use model::drill::{DURATION_MAX, DoorSetup, Event, Fault, Link, NetworkConditions, Stack};
use model::sample::SampleSettings;

use super::change::{self, Change};
use super::scope::{Scope, each, exactly_one, inside, meaningless};
use crate::finding::{Finding, did_you_mean, one_of, quote};
use crate::reader::{Table, Value};

/// Events of one drill.
const EVENTS_MAX: usize = 256;
/// What one part of a network can add to the way of a byte.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What `do` may say.
#[derive(Clone, Copy)]
enum Kind {
    Kill,
    Stop,
    /// Servers behave otherwise: the word, and what reads how.
    Behave(&'static str, fn(&mut Table<'_>) -> Option<Change>),
    Network,
    Configure,
    Stale,
    Deploy,
    RollingRestart,
    CutClients,
}

const KINDS: [(&str, Kind); 17] = [
    ("kill", Kind::Kill),
    ("stop", Kind::Stop),
    ("slow", Kind::Behave("slow", change::slow)),
    ("errors", Kind::Behave("errors", change::errors)),
    ("half-open", Kind::Behave("half-open", change::half_open)),
    ("leak", Kind::Behave("leak", change::leak)),
    ("pauses", Kind::Behave("pauses", change::pauses)),
    ("burn", Kind::Behave("burn", change::burn)),
    ("lying-check", Kind::Behave("lying-check", change::lying_check)),
    ("capacity", Kind::Behave("capacity", change::capacity)),
    ("behave", Kind::Behave("behave", change::behave)),
    ("network", Kind::Network),
    ("configure", Kind::Configure),
    ("stale", Kind::Stale),
    ("deploy", Kind::Deploy),
    ("rolling-restart", Kind::RollingRestart),
    ("cut-clients", Kind::CutClients),
];

/// What an event may change: the servers and the door as the drill begins.
#[derive(Clone, Copy)]
struct Beginning<'d> {
    servers: &'d [SampleSettings],
    door: &'d DoorSetup,
}

/// Reads every event, in the order they happen.
pub(super) fn events(
    root: &mut Table<'_>,
    (stack, door): (Option<&Stack>, &DoorSetup),
    scope: &Scope,
) -> Vec<Event> {
    let servers = stack.map_or(&[][..], |stack| &stack.servers);
    let beginning = Beginning { servers, door };
    let context = root.context();
    let tables = each(root, "event", EVENTS_MAX);
    let read = tables.into_iter().filter_map(|table| {
        let span = table.span();
        event(table, beginning, scope).map(|event| (event, span))
    });
    let mut placed: Vec<(Event, Range<usize>)> = read.collect();
    // The sort is stable: what happens at the same time happens in the order of the file.
    placed.sort_by_key(|(event, _)| event.at);
    let mut is_configured = false;
    for (event, span) in &placed {
        is_configured |= matches!(event.fault, Fault::Configure { .. });
        if event.fault == Fault::Stale && !is_configured {
            let message = "`stale` needs a `configure` before it".to_owned();
            let finding = Finding::error("nothing-stale", span.clone(), message);
            let help = "add an event with `do = \"configure\"` that happens earlier";
            context.findings.add(finding.label("nothing to go back to").help(help));
        }
    }
    placed.into_iter().map(|(event, _)| event).collect()
}

fn event(mut table: Table<'_>, beginning: Beginning<'_>, scope: &Scope) -> Option<Event> {
    let at = table.required("at", "at = \"5s\"").and_then(|value| scope.time(&value));
    // Which keys are known depends on the kind, so that nothing is said of them without it.
    let kind = table.required("do", "do = \"kill\"").and_then(|value| value.choice(&KINDS))?;
    let lasting = match kind {
        Kind::RollingRestart | Kind::CutClients => {
            meaningless(&mut table, &["for"], "what is not undone");
            None
        }
        Kind::Kill
        | Kind::Stop
        | Kind::Behave(..)
        | Kind::Network
        | Kind::Configure
        | Kind::Stale
        | Kind::Deploy => lasting(&mut table, at, scope),
    };
    let fault = fault(&mut table, kind, beginning, scope);
    table.finish();
    Some(Event { at: at?, lasting, fault: fault? })
}

fn lasting(table: &mut Table<'_>, at: Option<Duration>, scope: &Scope) -> Option<Duration> {
    let value = table.get("for")?;
    let lasting = value.duration(&(Duration::from_millis(100)..=DURATION_MAX))?;
    inside(&value, at.unwrap_or_default() + lasting, scope.duration).then_some(lasting)
}

fn fault(
    table: &mut Table<'_>,
    kind: Kind,
    beginning: Beginning<'_>,
    scope: &Scope,
) -> Option<Fault> {
    match kind {
        Kind::Kill => servers(table, scope).map(|servers| Fault::Kill { servers }),
        Kind::Stop => servers(table, scope).map(|servers| Fault::Stop { servers }),
        Kind::Behave(kind, change) => {
            let servers = changed(table, change, beginning, scope)?;
            Some(Fault::Behave { kind, servers })
        }
        Kind::Network => network(table, scope),
        Kind::Configure => {
            let value = table.required("door", "door = { balance = \"round-robin\" }")?;
            let mut door = value.table("a table of what changes in `[door]`")?;
            let mut setup = super::door::door(&mut door, beginning.door.clone(), scope);
            door.finish();
            setup.forced = table.boolean("force", false);
            Some(Fault::Configure { door: Box::new(setup) })
        }
        Kind::Stale => Some(Fault::Stale),
        Kind::Deploy => {
            let servers = changed(table, change::deploy, beginning, scope)?;
            Some(Fault::Deploy { servers })
        }
        Kind::RollingRestart => {
            let is_given = table.has("server") || table.has("servers");
            let named = servers_or(table, scope, !is_given);
            let pause = Duration::from_secs(1);
            let pause = table.duration("pause", pause, Duration::ZERO..=Duration::from_secs(600));
            Some(Fault::RollingRestart { servers: named?, pause })
        }
        Kind::CutClients => {
            let stream = table.required("stream", "stream = \"users\"");
            stream.and_then(|value| scope.stream(&value)).map(|stream| Fault::CutClients { stream })
        }
    }
}

/// The servers an event names, or all if it may name none.
fn servers_or(table: &mut Table<'_>, scope: &Scope, all: bool) -> Option<Vec<Name>> {
    if !all {
        return servers(table, scope);
    }
    // Asked for all the same, so that the keys are known.
    let _absent = (table.get("server"), table.get("servers"));
    scope.servers.clone()
}

/// The servers an event is about: one, several or all.
fn servers(table: &mut Table<'_>, scope: &Scope) -> Option<Vec<Name>> {
    let (key, value) = exactly_one(table, ["server", "servers"].into_iter(), "server = \"a\"")?;
    if key == "server" {
        return Some(vec![scope.server(&value)?]);
    }
    if value.as_text() == Some("all") {
        return scope.servers.clone();
    }
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of names or \"all\"");
        return None;
    };
    if array.is_empty() {
        let message = "`servers` must not be empty".to_owned();
        value.invalid("empty-list", message, "write `servers = [\"a\", \"b\"]` or `\"all\"`");
        return None;
    }
    let mut names: Vec<Name> = Vec::new();
    for name in array.iter().filter_map(|element| scope.server(element)) {
        // Named twice is meant once.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

/// The servers of an event, each with its own settings changed in the same way.
fn changed(
    table: &mut Table<'_>,
    change: fn(&mut Table<'_>) -> Option<Change>,
    beginning: Beginning<'_>,
    scope: &Scope,
) -> Option<Vec<SampleSettings>> {
    let names = servers(table, scope);
    let change = change(table)?;
    let of = |name: &Name| {
        let server = beginning.servers.iter().find(|server| server.name == name.as_ref());
        server.cloned().map(&*change)
    };
    Some(names?.iter().filter_map(of).collect())
}

fn network(table: &mut Table<'_>, scope: &Scope) -> Option<Fault> {
    let link = table.required("link", "link = \"clients\"").and_then(|value| link(&value, scope));
    let bandwidth = table.get("bandwidth").and_then(|value| value.size(&(1..=u64::from(u32::MAX))));
    let connections = table.get("connections").and_then(|value| value.number(&(0..=100_000)));
    let conditions = NetworkConditions {
        latency: table.duration("latency", Duration::ZERO, Duration::ZERO..=DELAY_MAX),
        jitter: table.duration("jitter", Duration::ZERO, Duration::ZERO..=DELAY_MAX),
        bytes_per_second: bandwidth,
        stall_share: table.ratio("stall_share", 0.0),
        stall: table.duration("stall", Duration::from_millis(200), Duration::ZERO..=DELAY_MAX),
        reset_share: table.ratio("reset_share", 0.0),
        black_hole: table.boolean("black_hole", false),
        connections_max: connections,
    };
    let stall = NetworkConditions { stall: conditions.stall, ..NetworkConditions::default() };
    if conditions == stall {
        let message = "this network is as good as before".to_owned();
        let finding = Finding::error("no-fault", table.span(), message);
        let help = "say what gets worse, such as `latency = \"100ms\"`";
        table.context().findings.add(finding.label("nothing changes").help(help));
    }
    Some(Fault::Network { link: link?, conditions })
}

/// A part of the network: between the clients and the door, or the door and a server, or the
/// servers and the database.
fn link(value: &Value<'_>, scope: &Scope) -> Option<Link> {
    let text = value.text()?;
    match text {
        "clients" => return Some(Link::Clients),
        "database" => {
            scope.needs_database(value);
            return Some(Link::Database);
        }
        _ => {}
    }
    let Some(servers) = &scope.servers else { return Some(Link::Clients) };
    if let Some(name) = servers.iter().find(|name| name.as_ref() == text) {
        return Some(Link::Server(name.clone()));
    }
    let words = || ["clients", "database"].into_iter().chain(servers.iter().map(AsRef::as_ref));
    let finding = Finding::error(
        "unknown-server",
        value.span.clone(),
        format!("unknown link {}", quote(text)),
    )
    .label("not in this drill")
    .help(format!("use {}", one_of(words())))
    .help_maybe(did_you_mean(text, words()));
    value.report(finding);
    None
}
