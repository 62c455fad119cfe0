//! `bench http`: what a request costs, interleaved with the peers.
//!
//! One core for the door, the other for load and server. Within a round the doors run one
//! after the other, in an order that turns from round to round, so that a machine that slows
//! down or speeds up does so for all. The measure is CPU time of the door per request
//! completed: it says what a core can carry and does not depend on how fast the load is.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::bars::{self, Verdict};
use super::configurations;
use super::doors::{self, Backends, Door, Kind, Program};
use super::processes::{self, Running, Workshop};
use super::{grpc_backend, h2load, idle, pacer, summary, wrk};
use crate::{Outcome, say, shell};

/// Connections of the saturated scenarios.
const CONNECTIONS: u32 = 64;

/// The file of the message that a gRPC call sends.
const MESSAGE: &str = "message";

/// Requests per second of the paced scenario.
const PACED_RATE: u32 = 10_000;

/// Lateness of the pacer at its 99th percentile that makes a paced round invalid, microseconds.
const LATE_P99_US_MAX: u64 = 20_000;

/// How `bench http` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds per scenario; ratios are paired within a round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of load per door and round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these scenarios; all by default.
    #[arg(long = "scenario", value_name = "NAME", value_enum)]
    scenarios: Vec<Scenario>,
    /// Only these doors, for work on one of them; a bar is judged when all its doors ran.
    #[arg(long = "door", value_name = "NAME", value_parser = door_name)]
    doors: Vec<Kind>,
    /// Idle connections of the memory scenario.
    #[arg(long, default_value_t = 5000)]
    idle_connections: u32,
    /// Writes every measure and verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The Envoy program, when it is not on the search path.
    #[arg(long, value_name = "PROGRAM")]
    envoy: Option<PathBuf>,
    /// The core of the doors.
    #[arg(long, default_value_t = 0)]
    door_core: usize,
    /// The core of load and server.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

fn door_name(name: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| format!("one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scenario {
    /// 64 keep-alive connections, 100-byte bodies, as fast as they go.
    #[default]
    Small,
    /// The same with 16 KiB bodies.
    Large,
    /// A new connection for each request.
    Connections,
    /// 10,000 requests per second, open loop.
    Paced,
    /// `small` over TLS 1.3.
    Tls,
    /// HTTP/2 without TLS: 16 connections of 8 streams, 100-byte bodies, HTTP/1 to the server.
    Http2,
    /// The same over TLS 1.3.
    #[value(name = "http2-tls")]
    #[serde(rename = "http2-tls")]
    Http2Tls,
    /// gRPC calls of 100 bytes each way, HTTP/2 on both sides, without TLS.
    Grpc,
    /// The same over TLS 1.3 towards the client.
    #[value(name = "grpc-tls")]
    #[serde(rename = "grpc-tls")]
    GrpcTls,
    /// Resident memory per idle keep-alive connection.
    Memory,
}

impl Scenario {
    pub(super) const ALL: [Self; 10] = [
        Self::Small,
        Self::Large,
        Self::Connections,
        Self::Paced,
        Self::Tls,
        Self::Http2,
        Self::Http2Tls,
        Self::Grpc,
        Self::GrpcTls,
        Self::Memory,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Connections => "connections",
            Self::Paced => "paced",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Http2Tls => "http2-tls",
            Self::Grpc => "grpc",
            Self::GrpcTls => "grpc-tls",
            Self::Memory => "memory",
        }
    }

    fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls | Self::Grpc | Self::GrpcTls)
    }

    fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcTls)
    }

    pub(super) fn unit(self) -> &'static str {
        if self == Self::Memory { "bytes/connection" } else { "CPU us/request" }
    }
}

/// One door in one round of one scenario.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measure {
    pub(super) scenario: Scenario,
    pub(super) round: usize,
    pub(super) door: Kind,
    /// CPU microseconds per request, or bytes per connection.
    pub(super) value: f64,
    pub(super) requests: u64,
    /// Requests without a good answer.
    pub(super) failed: u64,
    /// Requests completed per second; 0 for memory.
    pub(super) per_second: f64,
    /// The pacer's report, of the paced scenario.
    pub(super) pacer: Option<pacer::Report>,
    /// Why nothing could be measured.
    pub(super) error: Option<String>,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            scenario: Scenario::Small,
            round: 0,
            door: Kind::Tidegate,
            value: f64::NAN,
            requests: 0,
            failed: 0,
            per_second: 0.0,
            pacer: None,
            error: None,
        }
    }
}

impl Measure {
    /// False when a request failed, nothing was measured, or the load was not the promised one.
    pub(super) fn valid(&self) -> bool {
        let on_time = self.pacer.as_ref().is_none_or(|pacer| pacer.late_p99_us <= LATE_P99_US_MAX);
        self.error.is_none() && self.failed == 0 && self.requests > 0 && on_time
    }

    /// One line for the person who waits.
    pub(super) fn progress(&self) -> String {
        let Self { value, per_second, failed, .. } = self;
        let (scenario, door) = (self.scenario.name(), self.door.name());
        let head = format!("{scenario} round {} {door}:", self.round + 1);
        if let Some(error) = &self.error {
            return format!("{head} {error}");
        }
        let late = self.pacer.as_ref().map_or_else(String::new, |pacer| {
            let pacer::Report { late_p50_us, late_p99_us, late_max_us, .. } = pacer;
            format!(", pacer late us p50 {late_p50_us} p99 {late_p99_us} max {late_max_us}")
        });
        let unit = self.scenario.unit();
        format!("{head} {value:.2} {unit}, {per_second:.0}/s, {failed} failed{late}")
    }
}

/// Builds, starts everything, measures, reports.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    ensure!(options.door_core != options.load_core, "door and load need a core each");
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "this machine has {cores} core: door and load need one each");
    ensure!(shell::find("wrk").is_some(), "wrk is missing: apt-get install wrk");
    let h2load = shell::find("h2load");
    ensure!(h2load.is_some(), "h2load is missing: apt-get install nghttp2-client");
    processes::raise_descriptors()?;
    note_other_load();
    let programs = build(options)?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let workshop = Workshop {
        folder: folder.path().to_path_buf(),
        xtask: dist("xtask"),
        door_core: options.door_core,
        load_core: options.load_core,
    };
    certificate(&workshop.folder)?;
    let bench = Bench::start(options, &workshop, &programs)?;
    let measures = bench.measure()?;
    drop(bench);
    let verdicts = bars::judge(&measures);
    summary::print(&measures, &verdicts);
    if let Some(path) = &options.json {
        summary::write_json(path, &measures, &verdicts)?;
    }
    let all = verdicts.iter().all(Verdict::reached);
    Ok(if all { Outcome::Clean } else { Outcome::BarMissed })
}

/// A program as built with the profile `dist`.
fn dist(name: &str) -> PathBuf {
    shell::root().join("target").join("dist").join(name)
}

/// Builds what is ours as it would be packaged, and finds the peers.
fn build(options: &Options) -> anyhow::Result<Vec<Program>> {
    let asked = |kind: &Kind| options.doors.is_empty() || options.doors.contains(kind);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(asked).collect();
    shell::must("cargo", &["build", "--profile", "dist", "--package", "xtask"])?;
    if kinds.contains(&Kind::Tidegate) {
        shell::must("cargo", &["build", "--profile", "dist", "--package", "tidegate"])?;
    }
    doors::find(&kinds, dist, options.envoy.as_deref())
}

/// Says so when something else keeps the machine busy: two cores leave no room for it.
fn note_other_load() {
    const LOAD_MAX: f64 = 0.5;
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > LOAD_MAX) {
        say::note(&format!("note: load average {load} before the start: other work spoils rounds"));
    }
}

/// One certificate for all: ECDSA P-256, self-signed.
fn certificate(folder: &Path) -> anyhow::Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    std::fs::write(folder.join(configurations::CERTIFICATE), &certificate)?;
    std::fs::write(folder.join(configurations::KEY), &key)?;
    std::fs::write(folder.join(configurations::BOTH), format!("{certificate}{key}"))?;
    Ok(())
}

/// Everything that runs while the bench measures.
struct Bench<'a> {
    options: &'a Options,
    workshop: &'a Workshop,
    programs: &'a [Program],
    doors: Vec<Door>,
    backends: Backends,
    /// Ended last: the doors talk to them.
    _running: [Running; 2],
}

impl<'a> Bench<'a> {
    fn start(
        options: &'a Options,
        workshop: &'a Workshop,
        programs: &'a [Program],
    ) -> anyhow::Result<Self> {
        let [http, grpc] = doors::free_ports()?;
        let start = |part: &str, port: u16| -> anyhow::Result<Running> {
            let program = workshop.xtask.to_string_lossy();
            let command = [&*program, "part", part, "--port", &port.to_string()].map(str::to_owned);
            let mut running = workshop.start(part, workshop.load_core, &command)?;
            running.await_port(port)?;
            Ok(running)
        };
        let running = [start("backend", http)?, start("grpc-backend", grpc)?];
        std::fs::write(workshop.folder.join(MESSAGE), grpc_backend::message())?;
        let backends = Backends { http, grpc };
        let doors = programs.iter().map(|program| program.start(workshop, backends));
        let doors = doors.collect::<anyhow::Result<Vec<Door>>>()?;
        Ok(Self { options, workshop, programs, doors, backends, _running: running })
    }

    /// Every scenario, round and door.
    fn measure(&self) -> anyhow::Result<Vec<Measure>> {
        let chosen = &self.options.scenarios;
        let mut measures = Vec::new();
        for scenario in Scenario::ALL {
            if !chosen.is_empty() && !chosen.contains(&scenario) {
                continue;
            }
            self.warm_up(scenario)?;
            for round in 0..usize::from(self.options.rounds) {
                measures.extend(self.round(scenario, round));
            }
        }
        Ok(measures)
    }

    /// One second of load for each door, not counted.
    fn warm_up(&self, scenario: Scenario) -> anyhow::Result<()> {
        if scenario == Scenario::Memory {
            return Ok(()); // Its doors are fresh ones.
        }
        for door in self.doors.iter().filter(|door| takes_part(door.kind, scenario)) {
            let (url, kind) = (url(door, scenario), door.kind.name());
            let report = if scenario.is_http2() {
                h2load::run(self.workshop, &url, 1, self.message(scenario).as_deref())
            } else {
                wrk::run(self.workshop, &url, CONNECTIONS, 1, false)
            };
            report.with_context(|| format!("{kind} does not serve"))?;
        }
        Ok(())
    }

    /// All doors, one after the other, in an order that turns with the round.
    fn round(&self, scenario: Scenario, round: usize) -> Vec<Measure> {
        let count = self.doors.len();
        let mut measures = Vec::new();
        for index in (0..count).map(|index| (index + round) % count) {
            let (door, program) = (&self.doors[index], &self.programs[index]);
            if !takes_part(door.kind, scenario) {
                continue;
            }
            let base = Measure { scenario, round, door: door.kind, ..Measure::default() };
            let measured = match scenario {
                Scenario::Memory => self.memory(program, &base),
                Scenario::Paced => self.paced(door, &base),
                Scenario::Small
                | Scenario::Large
                | Scenario::Connections
                | Scenario::Tls
                | Scenario::Http2
                | Scenario::Http2Tls
                | Scenario::Grpc
                | Scenario::GrpcTls => self.saturated(door, &base),
            };
            let measure = measured
                .unwrap_or_else(|error| Measure { error: Some(format!("{error:#}")), ..base });
            say::note(&measure.progress());
            measures.push(measure);
        }
        measures
    }

    fn saturated(&self, door: &Door, base: &Measure) -> anyhow::Result<Measure> {
        let close = base.scenario == Scenario::Connections;
        let url = url(door, base.scenario);
        let before = door.running.cpu_seconds()?;
        let seconds = self.options.seconds;
        let report = if base.scenario.is_http2() {
            h2load::run(self.workshop, &url, seconds, self.message(base.scenario).as_deref())?
        } else {
            wrk::run(self.workshop, &url, CONNECTIONS, seconds, close)?
        };
        let used = door.running.cpu_seconds()? - before;
        Ok(Measure {
            value: microseconds_per(used, report.requests)?,
            requests: report.requests,
            failed: report.failed,
            per_second: report.per_second,
            ..base.clone()
        })
    }

    /// The file of the message that a call sends.
    fn message(&self, scenario: Scenario) -> Option<String> {
        let file = || self.workshop.folder.join(MESSAGE).display().to_string();
        scenario.is_grpc().then(file)
    }

    fn paced(&self, door: &Door, base: &Measure) -> anyhow::Result<Measure> {
        let to = format!("127.0.0.1:{}", door.plain_port);
        let (rate, seconds) = (PACED_RATE.to_string(), self.options.seconds.to_string());
        let program = self.workshop.xtask.to_string_lossy();
        let command =
            [&*program, "part", "pace", "--to", &to, "--rate", &rate, "--seconds", &seconds]
                .map(str::to_owned);
        let before = door.running.cpu_seconds()?;
        let output = self.workshop.run(&command)?;
        let used = door.running.cpu_seconds()? - before;
        let report: pacer::Report = serde_json::from_str(&output).context("no pacer report")?;
        Ok(Measure {
            value: microseconds_per(used, report.completed)?,
            requests: report.completed,
            failed: report.failed,
            per_second: f64::from(u32::try_from(report.completed)?)
                / f64::from(self.options.seconds),
            pacer: Some(report),
            ..base.clone()
        })
    }

    fn memory(&self, program: &Program, base: &Measure) -> anyhow::Result<Measure> {
        let door = program.start(self.workshop, self.backends)?;
        let count = self.options.idle_connections;
        let value = idle::bytes_per_connection(&door, count)
            .with_context(|| format!("its log: {}", door.running.log_text()))?;
        Ok(Measure { value, requests: u64::from(count), ..base.clone() })
    }
}

fn takes_part(kind: Kind, scenario: Scenario) -> bool {
    (scenario != Scenario::Tls || kind.speaks_tls())
        && (!scenario.is_http2() || kind.speaks_http2())
}

fn url(door: &Door, scenario: Scenario) -> String {
    match scenario {
        Scenario::Tls | Scenario::Http2Tls => {
            format!("https://127.0.0.1:{}/small", door.tls_port)
        }
        Scenario::Http2 => format!("http://127.0.0.1:{}/small", door.http2_port),
        Scenario::Grpc => format!("http://127.0.0.1:{}/bench.Echo/Call", door.grpc_port),
        Scenario::GrpcTls => format!("https://127.0.0.1:{}/bench.Echo/Call", door.grpc_tls_port),
        Scenario::Large => format!("http://127.0.0.1:{}/large", door.plain_port),
        Scenario::Small | Scenario::Connections | Scenario::Paced | Scenario::Memory => {
            format!("http://127.0.0.1:{}/small", door.plain_port)
        }
    }
}

fn microseconds_per(seconds: f64, requests: u64) -> anyhow::Result<f64> {
    ensure!(requests > 0, "no request was completed");
    Ok(seconds * 1e6 / f64::from(u32::try_from(requests)?))
}
