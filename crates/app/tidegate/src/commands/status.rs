//! `tidegate status`: the last second of a running door, for a person or as JSON.

pub(crate) mod admission;
mod certificates;
mod tcp;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use console::client;
use model::fact::{InvariantFact, PoolFacts, ServerFacts, ServerState, Snapshot};
use model::generation::ChangeStatus;

use crate::cli::StatusArguments;
use crate::commands::table::{Cell, Tone, table};
use crate::commands::{block_on, chain, complain, interrupted};
use crate::exit;
use crate::output::{self, printable};

pub(crate) fn run(arguments: &StatusArguments) -> ExitCode {
    let socket = arguments.socket.path();
    block_on(async move {
        let result = if arguments.watch {
            watch(&socket, arguments.json).await
        } else {
            once(&socket, arguments.json).await
        };
        match result {
            Ok(()) => exit::clean(),
            Err(why) => {
                complain(&why);
                exit::failed()
            }
        }
    })
}

async fn once(socket: &Path, json: bool) -> Result<(), String> {
    let text = shown(socket, json).await?;
    output::print(&text).map_err(|error| error.to_string())
}

/// Shows the status anew each second; the error that ends it is the door's end.
async fn watch(socket: &Path, json: bool) -> Result<(), String> {
    use std::io::IsTerminal;
    let redraw = std::io::stdout().is_terminal() && !json;
    let mut interrupted = std::pin::pin!(interrupted().map_err(|error| error.to_string())?);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            _ = second.tick() => {}
        }
        let text = shown(socket, json).await?;
        // Home, the text with the rest of each line cleared, then the rest of the screen: no flicker.
        let text = if redraw {
            format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"))
        } else {
            format!("{text}{}", if json { "" } else { "\n" })
        };
        output::print(&text).map_err(|error| error.to_string())?;
    }
}

async fn shown(socket: &Path, json: bool) -> Result<String, String> {
    let snapshot = fetch(socket).await?;
    if json {
        return serde_json::to_string(&snapshot)
            .map(|text| text + "\n")
            .map_err(|error| error.to_string());
    }
    let colour = output::colours_on_stdout();
    let changes = client::get(socket, "/v1/changes").await.map_err(|error| chain(&error))?;
    let changes: ChangeStatus = serde_json::from_slice(&changes)
        .map_err(|error| format!("the door's answer is not understood: {error}"))?;
    let mut text = render(&snapshot, colour);
    text.push_str(&drift(&changes));
    Ok(text)
}

/// Lines of drift that are shown.
const DRIFT_LINES_MAX: usize = 5;

/// How the file differs from what is live.
fn drift(changes: &ChangeStatus) -> String {
    if changes.drift.is_empty() {
        return String::new();
    }
    let mut text = "\nthe file differs from what is live\n".to_owned();
    for line in changes.drift.iter().take(DRIFT_LINES_MAX) {
        writeln!(text, "  - {}", printable(line)).expect("writing to a String never fails");
    }
    let rest = changes.drift.len().saturating_sub(DRIFT_LINES_MAX);
    if rest > 0 {
        writeln!(text, "  and {rest} more").expect("writing to a String never fails");
    }
    text
}

/// The last whole second of the door behind `socket`.
pub(crate) async fn fetch(socket: &Path) -> Result<Snapshot, String> {
    let body = client::get(socket, "/v1/status").await.map_err(|error| chain(&error))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("the door's answer is not understood: {error}"))
}

/// The whole status as text.
pub(crate) fn render(snapshot: &Snapshot, colour: bool) -> String {
    let mut text = head(snapshot);
    for pool in &snapshot.pools {
        text.push_str(&render_pool(pool, "", colour));
    }
    for pool in &snapshot.tried {
        text.push_str(&render_pool(pool, ", servers of the candidate only", colour));
    }
    if !snapshot.routes.is_empty() {
        let headings =
            ["ROUTE", ">REQ/S", ">2XX", ">3XX", ">4XX", ">5XX", ">IN FLIGHT", ">P50", ">P99"];
        let rows: Vec<Vec<Cell>> = snapshot
            .routes
            .iter()
            .map(|route| {
                let [_, ok, redirects, client, server] = route.by_class;
                let server =
                    Cell::new(server.to_string(), if server > 0 { Tone::Bad } else { Tone::Plain });
                let counts = [route.requests, ok, redirects, client]
                    .map(|count| Cell::from(count.to_string()));
                let name = std::iter::once(Cell::from(&route.name));
                let rest = [
                    server,
                    route.in_flight.to_string().into(),
                    milliseconds(route.p50_us).into(),
                    milliseconds(route.p99_us).into(),
                ];
                name.chain(counts).chain(rest).collect()
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&headings, &rows, colour));
    }
    text.push_str(&tcp::render(&snapshot.tcp, colour));
    text.push_str(&admission::render(&snapshot.admission, colour));
    text.push_str(&certificates::render(&snapshot.certificates, colour));
    if !snapshot.reasons.is_empty() {
        let rows: Vec<Vec<Cell>> = snapshot
            .reasons
            .iter()
            .map(|reason| vec![Cell::from(&reason.code), reason.count.to_string().into()])
            .collect();
        text.push('\n');
        text.push_str(&table(&["OWN ANSWERS", ">COUNT"], &rows, colour));
    }
    text
}

fn head(snapshot: &Snapshot) -> String {
    let draining = if snapshot.draining { "  DRAINING" } else { "" };
    let lost = if snapshot.log_lines_lost > 0 {
        format!("  access log lines lost: {}", snapshot.log_lines_lost)
    } else {
        String::new()
    };
    let mut text = format!(
        "up {}  configuration {}, generation {}  connections {} (+{}/s){lost}{draining}\n",
        uptime(snapshot.uptime_seconds),
        printable(&snapshot.configuration),
        snapshot.generation,
        snapshot.connections,
        snapshot.connections_accepted,
    );
    if let Some(change) = &snapshot.change {
        writeln!(text, "{}", printable(change)).expect("writing to a String never fails");
    }
    let broken = snapshot.invariants.iter().filter(|invariant| !invariant.holds);
    for InvariantFact { name, pool, value, limit, .. } in broken {
        writeln!(
            text,
            "pool {}: {} is {value:.2}, against {limit:.2}",
            printable(pool),
            printable(name)
        )
        .expect("writing to a String never fails");
    }
    text
}

fn render_pool(pool: &PoolFacts, what: &str, colour: bool) -> String {
    let mut text = format!("\npool {}{what}", printable(&pool.name));
    if pool.panic {
        text.push_str("  PANIC: too few servers are healthy, so health is ignored");
    }
    text.push_str(&admission::queue(&pool.queue));
    if pool.retries + pool.retries_refused > 0 {
        write!(
            text,
            "  retries {}/s, refused by the budget {}/s",
            pool.retries, pool.retries_refused
        )
        .expect("writing to a String never fails");
    }
    let headings = [
        "SERVER",
        "STATE",
        ">SHARE",
        ">INTENDED",
        ">REQ/S",
        ">FAILED",
        ">IN FLIGHT",
        ">P50",
        ">P99",
        "WHY",
    ];
    let rows: Vec<Vec<Cell>> = pool.servers.iter().map(server_row).collect();
    format!("{text}\n{}", table(&headings, &rows, colour))
}

fn server_row(server: &ServerFacts) -> Vec<Cell> {
    let name = match &server.name {
        Some(name) => format!("{} ({name})", server.address),
        None => server.address.clone(),
    };
    let (state, tone) = state(server.state);
    vec![
        name.into(),
        Cell::new(state, tone),
        server.share.map_or_else(|| "-".to_owned(), percent).into(),
        percent(server.share_intended).into(),
        server.requests.to_string().into(),
        Cell::new(
            server.failures.to_string(),
            if server.failures > 0 { Tone::Bad } else { Tone::Plain },
        ),
        admission::of(server.in_flight, server.in_flight_max).into(),
        milliseconds(server.p50_us).into(),
        milliseconds(server.p99_us).into(),
        server.why.clone().unwrap_or_default().into(),
    ]
}

/// A state in words, and whether it is as it should be.
pub(crate) fn state(state: ServerState) -> (&'static str, Tone) {
    match state {
        ServerState::Unknown => ("unknown", Tone::Warning),
        ServerState::Up => ("up", Tone::Good),
        ServerState::SlowStart => ("slow start", Tone::Warning),
        ServerState::Ejected => ("ejected", Tone::Bad),
        ServerState::Down => ("down", Tone::Bad),
        ServerState::Draining => ("draining", Tone::Warning),
    }
}

/// `33.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `20.4 ms`, or `-` without any.
#[expect(
    clippy::cast_precision_loss,
    reason = "below 2^53 microseconds, 285 years, the value is exact"
)]
pub(crate) fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1_000.0))
}

/// `2 d 3 h`, `3 h 4 min`, `4 min 5 s`, `5 s`.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use model::fact::{ReasonCount, RouteFacts};

    use super::*;

    fn server(address: &str, state: ServerState) -> ServerFacts {
        ServerFacts {
            address: address.to_owned(),
            state,
            weight: 1,
            share_intended: 0.5,
            ..ServerFacts::default()
        }
    }

    #[test]
    fn a_status_is_tables() {
        let snapshot = Snapshot {
            uptime_seconds: 3_725,
            configuration: "0123456789ab".to_owned(),
            connections: 64,
            connections_accepted: 2,
            pools: vec![PoolFacts {
                name: "api".to_owned(),
                retries: 1,
                servers: vec![
                    ServerFacts {
                        share: Some(0.498),
                        requests: 498,
                        in_flight: 7,
                        p50_us: Some(20_400),
                        p99_us: Some(31_000),
                        ..server("127.0.0.1:3001", ServerState::Up)
                    },
                    ServerFacts {
                        name: Some("app.test".to_owned()),
                        failures: 5,
                        why: Some("5 failures in a row: \u{1b}[2Jreset".to_owned()),
                        ..server("10.0.0.1:3002", ServerState::Ejected)
                    },
                ],
                ..PoolFacts::default()
            }],
            routes: vec![RouteFacts {
                name: "api".to_owned(),
                requests: 498,
                by_class: [0, 495, 0, 1, 2],
                refused: 0,
                in_flight: 7,
                p50_us: Some(20_500),
                p99_us: None,
            }],
            reasons: vec![ReasonCount { code: "no_route".to_owned(), count: 1 }],
            generation: 7,
            change: Some("generation 7: 12 s of 30 s".to_owned()),
            invariants: vec![
                InvariantFact {
                    name: "share_max".to_owned(),
                    pool: "api".to_owned(),
                    value: 0.97,
                    limit: 0.9,
                    holds: false,
                },
                InvariantFact { holds: true, ..InvariantFact::default() },
            ],
            ..Snapshot::default()
        };
        let expected = "\
up 1 h 2 min  configuration 0123456789ab, generation 7  connections 64 (+2/s)
generation 7: 12 s of 30 s
pool api: share_max is 0.97, against 0.90

pool api  retries 1/s, refused by the budget 0/s
  SERVER                    STATE     SHARE  INTENDED  REQ/S  FAILED  IN FLIGHT      P50      P99  WHY
  127.0.0.1:3001            up       49.8 %    50.0 %    498       0          7  20.4 ms  31.0 ms
  10.0.0.1:3002 (app.test)  ejected       -    50.0 %      0       5          0        -        -  5 failures in a row: \\u{1b}[2Jreset

  ROUTE  REQ/S  2XX  3XX  4XX  5XX  IN FLIGHT      P50  P99
  api      498  495    0    1    2          7  20.5 ms    -

  OWN ANSWERS  COUNT
  no_route         1
";
        assert_eq!(render(&snapshot, false), expected);
        assert!(!render(&snapshot, true).contains("\u{1b}[2J"));
    }

    #[test]
    fn what_is_wrong_stands_in_the_head() {
        let text = render(
            &Snapshot {
                draining: true,
                log_lines_lost: 3,
                pools: vec![PoolFacts { panic: true, ..PoolFacts::default() }],
                ..Snapshot::default()
            },
            false,
        );
        for part in ["DRAINING", "access log lines lost: 3", "PANIC"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn uptimes() {
        for (seconds, expected) in
            [(5, "5 s"), (245, "4 min 5 s"), (11_040, "3 h 4 min"), (183_600, "2 d 3 h")]
        {
            assert_eq!(uptime(seconds), expected);
        }
    }
}
