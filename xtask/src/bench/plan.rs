//! `bench plan`: what `tidegate plan` foresees of a change, beside what then happened.
//!
//! Four servers of different speed behind a door, under a steady load of many clients. Ten kinds
//! of change, one after the other: the plan is asked for, the change is applied, and some seconds
//! of `/v1/history` later each server's real share, requests in flight and p99 are compared with
//! the plan's. In between the base is live again. The recording that is replayed holds the last
//! five minutes, the earlier changes included, as it does on any door that is changed often.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use super::doors;
use super::processes::{self, Running, Workshop};
use super::report::{Spread, table};
use crate::{Outcome, clock, say, shell};

/// Mean service times of the servers; the last joins in one of the changes.
const SERVICE_MS: [u32; 5] = [4, 6, 8, 12, 6];
/// Servers of the base.
const BASE: usize = 4;
/// Clients, each with an address of its own.
const CLIENTS: u32 = 200;
/// The error of a share, at most: points of 100 over 100.
const SHARE_ERROR_MAX: f64 = 0.05;
/// Servers below this share have too few requests for a p99.
const SHARE_COMPARED_MIN: f64 = 0.02;

/// How `bench plan` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Requests per second.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=5_000))]
    rate: u32,
    /// Seconds of the base before each change.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(3..=60))]
    base_seconds: u32,
    /// Seconds that are compared after each change.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(3..=60))]
    seconds: u32,
    /// The tidegate program; without it one is built with the profile `dist`.
    #[arg(long, value_name = "PROGRAM")]
    tidegate: Option<PathBuf>,
    /// Writes every comparison to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The core of the door.
    #[arg(long, default_value_t = 0)]
    door_core: usize,
    /// The core of load and servers.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// A kind of change, as it differs from the base.
struct Kind {
    name: &'static str,
    /// Keys of each server after its address; a server without an entry is left out.
    servers: Vec<&'static str>,
    /// Lines of the pool.
    pool: &'static str,
}

fn base() -> Kind {
    Kind { name: "base", servers: vec!["weight = 2"; BASE], pool: "" }
}

fn kinds() -> Vec<Kind> {
    let first = |name, keys| {
        let mut kind = Kind { name, ..base() };
        kind.servers[0] = keys;
        kind
    };
    let pool = |name, pool| Kind { name, pool, ..base() };
    vec![
        first("weight up, 2 to 4", "weight = 4"),
        first("weight down, 2 to 1", "weight = 1"),
        Kind { name: "server added", servers: vec!["weight = 2"; BASE + 1], pool: "" },
        Kind { name: "server removed", servers: vec!["weight = 2"; BASE - 1], pool: "" },
        first("server drained", "weight = 2, drain = true"),
        pool("p2c to round-robin", "balance = \"round-robin\""),
        pool("p2c to least-request", "balance = \"least-request\""),
        pool("p2c to maglev by client", "balance = { maglev = \"client-address\" }"),
        pool("in_flight_max to 2", "in_flight_max = 2"),
        Kind {
            name: "zone preferred",
            servers: ["x", "x", "y", "y"]
                .map(|zone| if zone == "x" { "zone = \"x\"" } else { "zone = \"y\"" })
                .to_vec(),
            pool: "zone = \"x\"",
        },
    ]
}

/// One server, as foreseen and as it was.
#[derive(Clone, Debug, Default, Serialize)]
struct Server {
    address: String,
    share: [f64; 2],
    in_flight: [f64; 2],
    p99_us: [f64; 2],
}

/// One kind of change: what was foreseen beside what was.
#[derive(Debug, Serialize)]
struct Compared {
    kind: &'static str,
    /// Requests that were replayed.
    replayed: u64,
    share_error_max: f64,
    share_error_mean: f64,
    /// Foreseen over real, over the servers that had enough requests.
    in_flight: Option<Spread>,
    p99: Option<Spread>,
    servers: Vec<Server>,
}

/// Builds, measures, reports.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    processes::raise_descriptors()?;
    let tidegate = match &options.tidegate {
        Some(program) => std::path::absolute(program)?,
        None => {
            shell::must("cargo", &["build", "--profile", "dist", "--package", "tidegate"])?;
            shell::root().join("target/dist/tidegate")
        }
    };
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let workshop = Workshop {
        folder: folder.path().to_path_buf(),
        xtask: std::env::current_exe().context("this program has no file")?,
        door_core: options.door_core,
        load_core: options.load_core,
    };
    let bench = Bench::start(options, workshop, tidegate)?;
    let compared: Vec<Compared> =
        kinds().iter().map(|kind| bench.compare(kind)).collect::<anyhow::Result<_>>()?;
    report(&compared);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&compared)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let all = compared.iter().all(|one| one.share_error_max <= SHARE_ERROR_MAX);
    Ok(if all { Outcome::Clean } else { Outcome::BarMissed })
}

/// The running stack; everything ends when it is dropped.
struct Bench<'a> {
    options: &'a Options,
    workshop: Workshop,
    tidegate: PathBuf,
    port: u16,
    servers: Vec<u16>,
    _running: Vec<Running>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options, workshop: Workshop, tidegate: PathBuf) -> anyhow::Result<Self> {
        let [port] = doors::free_ports()?;
        let servers = doors::free_ports::<{ SERVICE_MS.len() }>()?.to_vec();
        let mut bench = Self { options, workshop, tidegate, port, servers, _running: Vec::new() };
        for (index, (port, service_ms)) in bench.servers.iter().zip(SERVICE_MS).enumerate() {
            let (listen, time) = (format!("127.0.0.1:{port}"), format!("{service_ms}ms"));
            let name = format!("server-{index}");
            let command = bench.command(&[
                "--log",
                "warn",
                "sample-app",
                "--name",
                &name,
                "--listen",
                &listen,
                "--service-time",
                &time,
                "--distribution",
                "lognormal",
                "--concurrency",
                "100",
            ]);
            let mut running = bench.workshop.start(&name, options.load_core, &command)?;
            running.await_port(*port)?;
            bench._running.push(running);
        }
        let file = bench.write("door.toml", &base())?;
        let command = bench.command(&["run", "-c", &file]);
        let mut door = bench.workshop.start("door", options.door_core, &command)?;
        door.await_port(port)?;
        bench._running.push(door);
        let (url, rate) = (format!("http://127.0.0.1:{port}/"), format!("{}/s", options.rate));
        let clients = CLIENTS.to_string();
        let command = bench.command(&[
            "load",
            "run",
            &url,
            "--rate",
            &rate,
            "--for",
            "60m",
            "--poisson",
            "--clients",
            &clients,
            "--key-header",
            "X-Forwarded-For",
            "--key",
            "10.0.0.{client}",
        ]);
        bench._running.push(bench.workshop.start("load", options.load_core, &command)?);
        Ok(bench)
    }

    fn command(&self, arguments: &[&str]) -> Vec<String> {
        let program = self.tidegate.display().to_string();
        [program].into_iter().chain(arguments.iter().map(|&one| one.to_owned())).collect()
    }

    fn socket(&self) -> PathBuf {
        self.workshop.folder.join("admin.sock")
    }

    /// Writes the configuration of a kind; gives its path.
    fn write(&self, name: &str, kind: &Kind) -> anyhow::Result<String> {
        let folder = self.workshop.folder.display();
        let servers: Vec<String> = self
            .servers
            .iter()
            .zip(&kind.servers)
            .map(|(port, keys)| format!("{{ address = \"127.0.0.1:{port}\", {keys} }}"))
            .collect();
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:{}\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             [pools.api]\nservers = [{}]\nslow_start = \"0s\"\n\
             check = {{ path = \"/health\", interval = \"1s\" }}\n{}\n\
             [routes.api]\npath = \"/\"\npool = \"api\"\n\
             [door]\nworkers = 1\nstate = \"{folder}/state\"\n\
             [admin]\nsocket = \"{folder}/admin.sock\"\n\
             [changes]\nwatch = \"0s\"\nmove_max = 1.0\n",
            self.port,
            servers.join(", "),
            kind.pool
        );
        let path = self.workshop.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs a command about a file against the door; gives its output.
    fn ask(&self, arguments: &[&str], codes: &[i32]) -> anyhow::Result<String> {
        let output = Command::new(&self.tidegate)
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .output()
            .with_context(|| format!("cannot run {}", self.tidegate.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let known = output.status.code().is_some_and(|code| codes.contains(&code));
        ensure!(known, "{} ended with {}: {errors}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn apply(&self, file: &str) -> anyhow::Result<()> {
        let arguments = ["apply", file, "--force", "--detach", "--reason", "a bench of plan"];
        self.ask(&arguments, &[0]).map(drop)
    }

    /// One change: foreseen, made, and seen. The base is live before and after it.
    fn compare(&self, kind: &Kind) -> anyhow::Result<Compared> {
        clock::pause(Duration::from_secs(self.options.base_seconds.into()));
        let file = self.write("change.toml", kind)?;
        // 1: it breaks a rule, which some of these do.
        let foreseen: Value =
            serde_json::from_str(&self.ask(&["plan", &file, "--json"], &[0, 1])?)?;
        self.apply(&file)?;
        // What was sent before the change ends, and the second of the change itself.
        clock::pause(Duration::from_secs(u64::from(self.options.seconds) + 2));
        let seen = self.history(self.options.seconds)?;
        self.apply(&self.write("base.toml", &base())?)?;
        let compared = compared(kind.name, &foreseen, &seen)?;
        say::note(&format!("{}: {:.1} points", kind.name, compared.share_error_max * 100.0));
        Ok(compared)
    }

    /// The last seconds.
    fn history(&self, seconds: u32) -> anyhow::Result<Vec<Value>> {
        let answer = get(&self.socket(), &format!("/v1/history?seconds={seconds}"))?;
        serde_json::from_str(&answer).context("no list of seconds")
    }
}

/// Asks the admin interface; gives the body, which HTTP/1.0 brings without chunks.
fn get(socket: &Path, path: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.split(' ').nth(1) == Some("200"), "{path}: {answer}");
    let (_, body) =
        answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    Ok(body.to_owned())
}

/// What was seen of one server.
#[derive(Debug, Default)]
struct Seen {
    requests: f64,
    in_flight: Vec<f64>,
    p99_us: Vec<f64>,
}

fn compared(kind: &'static str, foreseen: &Value, seen: &[Value]) -> anyhow::Result<Compared> {
    let mut known: BTreeMap<&str, Seen> = BTreeMap::new();
    for server in seen.iter().filter_map(|s| s["pools"][0]["servers"].as_array()).flatten() {
        let seen = known.entry(server["address"].as_str().context("no address")?).or_default();
        seen.requests += server["requests"].as_f64().unwrap_or(0.0);
        seen.in_flight.extend(server["in_flight"].as_f64());
        seen.p99_us.extend(server["p99_us"].as_f64());
    }
    let requests: f64 = known.values().map(|seen| seen.requests).sum();
    ensure!(requests > 0.0, "{kind}: no requests were served");
    let pool = &foreseen["forecast"]["pools"][0];
    let mut servers = Vec::new();
    for server in pool["servers"].as_array().context("the plan names no servers")? {
        let number = |key: &str| server[key].as_f64().unwrap_or(0.0);
        let address = server["address"].as_str().unwrap_or_default();
        let seen = known.remove(address).unwrap_or_default();
        let median = |values: &[f64]| Spread::of(values).map_or(0.0, |spread| spread.median);
        let count = f64::from(u32::try_from(seen.in_flight.len().max(1))?);
        servers.push(Server {
            address: address.to_owned(),
            share: [number("share"), seen.requests / requests],
            in_flight: [number("in_flight"), seen.in_flight.iter().sum::<f64>() / count],
            p99_us: [number("p99_us"), median(&seen.p99_us)],
        });
    }
    ensure!(known.is_empty(), "{kind}: the plan does not know {known:?}");
    let errors: Vec<f64> = servers.iter().map(|s| (s.share[0] - s.share[1]).abs()).collect();
    let count = f64::from(u32::try_from(errors.len().max(1))?);
    let ratios = |of: fn(&Server) -> [f64; 2]| {
        let busy = servers.iter().filter(|server| server.share[1] >= SHARE_COMPARED_MIN);
        let ratios = busy.map(of).filter(|[_, real]| *real > 0.0).map(|[then, real]| then / real);
        Spread::of(&ratios.collect::<Vec<_>>())
    };
    Ok(Compared {
        kind,
        replayed: foreseen["forecast"]["replayed"].as_u64().unwrap_or(0),
        share_error_max: errors.iter().copied().fold(0.0, f64::max),
        share_error_mean: errors.iter().sum::<f64>() / count,
        in_flight: ratios(|server| server.in_flight),
        p99: ratios(|server| server.p99_us),
        servers,
    })
}

fn report(compared: &[Compared]) {
    let head = [
        "change",
        "shares foreseen, %",
        "shares then, %",
        "max error",
        "mean",
        "in flight x",
        "p99 x",
        "result",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let ratio = |spread: Option<Spread>| spread.map_or("-".to_owned(), |spread| spread.text(2));
    for one in compared {
        let shares = |at: usize| {
            let percent = |s: &Server| format!("{:.1}", s.share.get(at).unwrap_or(&0.0) * 100.0);
            one.servers.iter().map(percent).collect::<Vec<_>>().join(" ")
        };
        let reached = one.share_error_max <= SHARE_ERROR_MAX;
        rows.push(vec![
            one.kind.to_owned(),
            shares(0),
            shares(1),
            format!("{:.1}", one.share_error_max * 100.0),
            format!("{:.1}", one.share_error_mean * 100.0),
            ratio(one.in_flight),
            ratio(one.p99),
            if reached { "reached" } else { "MISSED" }.to_owned(),
        ]);
    }
    say::data(&table(&rows));
    say::data(&format!(
        "errors in points of share per server, at most {} each; ratios are foreseen over real, median (low-high) over servers",
        SHARE_ERROR_MAX * 100.0
    ));
}
