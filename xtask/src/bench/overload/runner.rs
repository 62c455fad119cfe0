//! Runs points: fresh servers, a fresh door, a load, and what happens meanwhile.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::super::processes::Workshop;
use super::app::{self, Apps, Capacity, Kind};
use super::case::{Case, Scenario};
use super::configurations::Setting;
use super::door::{Programs, Raised};
use super::plan::{FLOODER, POLITE, Plan};
use super::point::Point;
use crate::{clock, say};

/// What an answer has to keep to count.
pub(super) const OBJECTIVE: &str = "200ms";
/// From the start of the generator to the begin of its load.
const LEAD: Duration = Duration::from_millis(60);
/// How often the door is asked who sends.
const LOOK: Duration = Duration::from_millis(250);
/// How long it is asked at most.
const NAMED_MAX: Duration = Duration::from_secs(12);

/// What is measured with.
#[derive(Debug)]
pub(super) struct Runner {
    workshop: Workshop,
    programs: Programs,
    seconds: u32,
    tries: usize,
    seed: u64,
}

impl Runner {
    /// `seconds` of each point are judged; one that was lost gets up to `tries`.
    pub(super) fn new(
        workshop: Workshop,
        programs: Programs,
        (seconds, tries): (u32, usize),
        seed: u64,
    ) -> Self {
        Self { workshop, programs, seconds, tries, seed }
    }

    fn tidegate(&self) -> String {
        self.programs.tidegate.display().to_string()
    }

    /// What the servers of these cases carry, fast and slow.
    pub(super) fn capacities(&self, cases: &[Case]) -> anyhow::Result<Vec<Capacity>> {
        let mut capacities = Vec::new();
        for app in Kind::ALL {
            for slow in [false, true] {
                let needed = cases.iter().any(|case| {
                    case.app == app
                        && (!slow || matches!(case.scenario, Scenario::Stale | Scenario::Change))
                });
                if needed {
                    let capacity = self.capacity(app, slow)?;
                    say::note(&format!(
                        "{}{}: {:.1}/s, {} at once each, unloaded p99 {:.1} ms",
                        app.name(),
                        if slow { ", 4 x slower" } else { "" },
                        capacity.per_second,
                        capacity.at_once,
                        capacity.unloaded_p99_ms
                    ));
                    capacities.push(capacity);
                }
            }
        }
        Ok(capacities)
    }

    /// The best of a closed model on one of the servers.
    fn capacity(&self, app: Kind, slow: bool) -> anyhow::Result<Capacity> {
        let mut best = (0.0, 0);
        for &at_once in app.at_once_tried() {
            let apps = Apps::start(&self.workshop, &self.tidegate(), (app, slow), self.seed)?;
            let report = self.direct(&apps, &["--users", &at_once.to_string(), "--for", "4s"])?;
            let per_second = float(&report, "/all/ok_per_second")?;
            if per_second > best.0 {
                best = (per_second, at_once);
            }
        }
        let (one, at_once) = best;
        let apps = Apps::start(&self.workshop, &self.tidegate(), (app, slow), self.seed)?;
        let rate = format!("{:.1}/s", one / 3.0);
        let report = self.direct(&apps, &["--rate", &rate, "--for", "4s"])?;
        let servers = u32::try_from(app::COUNT)?;
        Ok(Capacity {
            app,
            slow,
            per_second: one * f64::from(servers),
            at_once,
            unloaded_p99_ms: float(&report, "/all/latency/p99_ms")?,
        })
    }

    /// Loads the first server.
    fn direct(&self, apps: &Apps, arguments: &[&str]) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}/", apps.ports[0]);
        self.load(&url, arguments)
    }

    fn load(&self, url: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let (program, seed) = (self.tidegate(), self.seed.to_string());
        let fixed =
            [&*program, "load", "run", url, "--json", "--seed", &seed, "--objective", OBJECTIVE];
        let command: Vec<String> =
            fixed.iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let measured = self.workshop.measure(&command)?;
        serde_json::from_str(&measured.output)
            .with_context(|| format!("no report: {}{}", measured.output, measured.errors))
    }

    /// Measures a case; a late generator gets another try.
    pub(super) fn point(&self, case: &Case, round: usize, capacities: &[Capacity]) -> Point {
        let mut tries = 1;
        loop {
            let point = self
                .measure(case, round, capacities)
                .unwrap_or_else(|error| Point::lost(*case, round, format!("{error:#}")));
            if point.lost.is_none() || tries == self.tries {
                return point;
            }
            say::note(&format!("again: {}", point.progress()));
            tries += 1;
        }
    }

    fn measure(&self, case: &Case, round: usize, capacities: &[Capacity]) -> anyhow::Result<Point> {
        let of = |slow: bool| {
            capacities.iter().find(|capacity| capacity.app == case.app && capacity.slow == slow)
        };
        let fast = of(false).context("its capacity is not known")?;
        let slow = of(true).unwrap_or(fast);
        let plan = Plan::of(case, self.seconds, fast, slow);
        let begins_slow = case.scenario.begins_slow();
        let apps =
            Apps::start(&self.workshop, &self.tidegate(), (case.app, begins_slow), self.seed)?;
        let setting = Setting {
            servers: apps.ports,
            per_second: fast.per_second,
            at_once: fast.at_once,
            collapses: case.app == Kind::Lock,
            per_client: (case.scenario == Scenario::Talker).then(|| fair(fast)),
        };
        let door = self.programs.raise(&self.workshop, case.door, &setting)?;
        if case.door.is_tidegate() {
            await_servers(&door)?;
        }
        let file = self.workshop.folder.join("load.toml");
        std::fs::write(&file, &plan.text)?;
        let (url, file) = (format!("http://127.0.0.1:{}", door.port), file.display().to_string());
        let begin = clock::now() + LEAD;
        let (report, named) = std::thread::scope(|scope| {
            let load = scope.spawn(|| self.load(&url, &["--plan", &file]));
            let happened = self.meanwhile(case, &plan, (&apps, &door), begin);
            let report = load.join().map_err(|_panic| anyhow::anyhow!("the load panicked"))?;
            anyhow::Ok((report?, happened?))
        })?;
        let unloaded = if begins_slow { slow } else { fast };
        Ok(Point {
            named_seconds: named,
            unloaded_p99_ms: unloaded.unloaded_p99_ms,
            ..Point::of(*case, round, &plan, &report)
        })
    }

    /// What happens while the load runs; when the one that floods was named.
    fn meanwhile(
        &self,
        case: &Case,
        plan: &Plan,
        (apps, door): (&Apps, &Raised),
        begin: Instant,
    ) -> anyhow::Result<Option<f64>> {
        let at = |second: u32| begin + Duration::from_secs(second.into());
        if let Some((falls, rises)) = plan.slow {
            wait_until(at(falls));
            apps.set_slow(true)?;
            wait_until(at(rises));
            apps.set_slow(false)?;
        }
        let Some(flood) = plan.flood.filter(|_| case.door.is_tidegate()) else { return Ok(None) };
        wait_until(at(flood));
        while clock::now() < at(flood) + NAMED_MAX {
            clock::pause(LOOK);
            let talkers = status(&door.socket)?;
            if talkers.pointer("/admission/talkers/0/name").and_then(Value::as_str) == Some(FLOODER)
            {
                return Ok(Some((clock::now() - at(flood)).as_secs_f64()));
            }
        }
        Ok(None)
    }
}

/// What one polite client may send by hand: twice what it does.
fn fair(capacity: &Capacity) -> u32 {
    let each = 2.0 * super::plan::BELOW * capacity.per_second / f64::from(POLITE);
    // A handful of requests per second.
    (1..100).find(|rate| f64::from(*rate) >= each).unwrap_or(100)
}

fn wait_until(at: Instant) {
    clock::pause(at.saturating_duration_since(clock::now()));
}

/// Until the door has found its servers up.
fn await_servers(door: &Raised) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let start = clock::now();
    loop {
        let snapshot = status(&door.socket).unwrap_or_default();
        let servers = snapshot.pointer("/pools/0/servers").and_then(Value::as_array);
        let known = |server: &Value| !matches!(server["state"].as_str(), Some("unknown" | "down"));
        if servers.is_some_and(|servers| !servers.is_empty() && servers.iter().all(known)) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "the door does not find its servers: {snapshot}");
        clock::pause(Duration::from_millis(50));
    }
}

/// The last second's facts; HTTP/1.0 brings them without chunks.
fn status(socket: &Path) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok(serde_json::from_str(body)?)
}

fn float(report: &Value, pointer: &str) -> anyhow::Result<f64> {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("the report has no {pointer}"))
}
