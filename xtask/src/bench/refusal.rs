//! `bench refusal`: what it costs to say no, and what it costs to be asked.
//!
//! The same limit, one request a second over all clients, at Tidegate, nginx and HAProxy: nearly
//! every request of 64 keep-alive connections is refused with 429. The measure is CPU time of the
//! door per request, the doors one after the other in an order that turns with the round, one core
//! for the door and one for the load. Then, in this process: the whole admission of a request that
//! is let in, with its end and its sample for the limiter, in a loop of one thread.

pub(crate) mod admit;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::processes::{self, Running, Workshop};
use super::report::{Spread, table};
use super::{doors, wrk};
use crate::{Outcome, say, shell};

/// Connections of the load.
const CONNECTIONS: u32 = 64;
/// CPU microseconds of a refusal.
const REFUSAL_US_MAX: f64 = 12.0;
/// CPU microseconds of the admission of a request that is let in.
const ADMISSION_US_MAX: f64 = 0.5;

/// How `bench refusal` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of load per door and round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The folder of tidegate and xtask; without it both are built with the profile `dist`.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Writes every number to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The core of the doors.
    #[arg(long, default_value_t = 0)]
    door_core: usize,
    /// The core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// What one kind of door came to, one value a round.
#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    at_most: Option<f64>,
    measured: Option<Spread>,
}

impl Row {
    fn reached(&self) -> bool {
        let Some(at_most) = self.at_most else { return true };
        self.measured.is_some_and(|measured| measured.median <= at_most)
    }
}

/// What is admitted, and what the configuration says besides the defaults.
const ADMISSIONS: [(&str, &str); 2] = [
    ("admission, defaults", ""),
    ("admission, a limit by address", "[limits.each]\nby = \"address\"\nrate = \"10000/s\"\n"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Tidegate,
    Nginx,
    Haproxy,
}

impl Door {
    const ALL: [Self; 3] = [Self::Tidegate, Self::Nginx, Self::Haproxy];

    fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate, [limits]",
            Self::Nginx => "nginx, limit_req",
            Self::Haproxy => "haproxy, stick table and deny",
        }
    }
}

/// Builds, measures, reports.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    ensure!(options.door_core != options.load_core, "door and load need a core each");
    ensure!(shell::find("wrk").is_some(), "wrk is missing: apt-get install wrk");
    processes::raise_descriptors()?;
    let programs = match &options.programs {
        Some(folder) => std::path::absolute(folder)?,
        None => {
            for package in ["xtask", "tidegate"] {
                shell::must("cargo", &["build", "--profile", "dist", "--package", package])?;
            }
            shell::root().join("target/dist")
        }
    };
    let tidegate = programs.join("tidegate");
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let workshop = Workshop {
        folder: folder.path().to_path_buf(),
        xtask: programs.join("xtask"),
        door_core: options.door_core,
        load_core: options.load_core,
    };
    let mut admissions = [const { Vec::new() }; ADMISSIONS.len()];
    let mut values = [const { Vec::new() }; Door::ALL.len()];
    for round in 0..usize::from(options.rounds) {
        for index in (0..Door::ALL.len()).map(|index| (index + round) % Door::ALL.len()) {
            let door = Door::ALL[index];
            let cost = refusal(&workshop, &tidegate, door, options.seconds)?;
            say::note(&format!("round {} {}: {cost:.2} CPU us/refusal", round + 1, door.name()));
            values[index].push(cost);
        }
        for ((name, more), values) in ADMISSIONS.iter().zip(&mut admissions) {
            let cost = admission(&workshop, more)?;
            say::note(&format!("round {} {name}: {cost:.3} CPU us/request", round + 1));
            values.push(cost);
        }
    }
    let refusals = Door::ALL.iter().zip(&values).map(|(door, values)| Row {
        what: door.name(),
        at_most: (*door == Door::Tidegate).then_some(REFUSAL_US_MAX),
        measured: Spread::of(values),
    });
    let admissions = ADMISSIONS.iter().zip(&admissions).map(|((what, _), values)| Row {
        what,
        at_most: Some(ADMISSION_US_MAX),
        measured: Spread::of(values),
    });
    let rows: Vec<Row> = refusals.chain(admissions).collect();
    report(&rows);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let all = rows.iter().all(Row::reached);
    Ok(if all { Outcome::Clean } else { Outcome::BarMissed })
}

fn report(rows: &[Row]) {
    let mut lines =
        vec![["CPU us", "at most", "median (low-high)", "result"].map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let result = match (row.at_most, row.reached()) {
            (None, _) => "",
            (Some(_), true) => "reached",
            (Some(_), false) => "MISSED",
        };
        let measured = row.measured.map_or_else(|| "-".to_owned(), |spread| spread.text(2));
        let at_most = row.at_most.map_or_else(String::new, |most| most.to_string());
        vec![row.what.to_owned(), at_most, measured, result.to_owned()]
    }));
    say::data(&table(&lines));
}

/// CPU microseconds of a door per request, nearly all of which it refuses.
fn refusal(workshop: &Workshop, tidegate: &Path, door: Door, seconds: u32) -> anyhow::Result<f64> {
    let [port] = doors::free_ports()?;
    let running = raise(workshop, tidegate, door, port)?;
    let url = format!("http://127.0.0.1:{port}/");
    wrk::run(workshop, &url, CONNECTIONS, 1, false)?;
    let status = refused_status(port)?;
    ensure!(status == 429, "{} answers {status}: {}", door.name(), running.log_text());
    let before = running.cpu_seconds()?;
    let report = wrk::run(workshop, &url, CONNECTIONS, seconds, false)?;
    let used = running.cpu_seconds()? - before;
    let requests = f64::from(u32::try_from(report.requests)?);
    let refused = f64::from(u32::try_from(report.failed)?);
    ensure!(
        refused > 0.99 * requests && requests > 0.0,
        "{} refused {refused} of {requests} requests: {}",
        door.name(),
        running.log_text()
    );
    Ok(used * 1e6 / requests)
}

/// CPU microseconds of the admission of a request, in a process of its own.
fn admission(workshop: &Workshop, more: &str) -> anyhow::Result<f64> {
    let path = workshop.folder.join("admission.toml");
    let text = format!(
        "[listen.web]\naddress = \"127.0.0.1:9\"\n[pools.app]\nservers = [\"127.0.0.1:9\"]\n\
         [routes.app]\npath = \"/\"\npool = \"app\"\n{more}"
    );
    std::fs::write(&path, text)?;
    let (program, file) = (workshop.xtask.display().to_string(), path.display().to_string());
    let command = [&*program, "part", "admit", "--configuration", &file].map(str::to_owned);
    let output = workshop.run(&command)?;
    output.trim().parse().with_context(|| format!("no number: {output}"))
}

/// Says what the admission of a request costs.
pub(super) fn part(options: &admit::Options) -> anyhow::Result<()> {
    say::data(&admit::measure(options)?.to_string());
    Ok(())
}

/// What is answered to one more request that is not let in: one in a second is.
fn refused_status(port: u16) -> anyhow::Result<u16> {
    let first = status(port)?;
    if first == 429 { Ok(first) } else { status(port) }
}

/// What is answered to one more request.
fn status(port: u16) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.with_context(|| format!("no answer: {text}"))
}

/// Starts a door that lets one request through a second, to a server that nobody needs.
fn raise(workshop: &Workshop, tidegate: &Path, door: Door, port: u16) -> anyhow::Result<Running> {
    let name = format!("refusing-{port}");
    let folder = workshop.folder.join(&name);
    std::fs::create_dir_all(&folder)?;
    let at = folder.display().to_string();
    let found = |name: &str| {
        shell::find(name).with_context(|| format!("{name} is missing: apt-get install {name}"))
    };
    let (file, text) = match door {
        Door::Tidegate => ("tidegate.toml", tidegate_configuration(&at, port)),
        Door::Nginx => ("nginx.conf", nginx_configuration(&at, port)),
        Door::Haproxy => ("haproxy.cfg", haproxy_configuration(port)),
    };
    let path = folder.join(file);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let file = path.display().to_string();
    let (program, arguments) = match door {
        Door::Tidegate => (tidegate.to_path_buf(), vec!["--log", "warn", "run", "-c", &file]),
        Door::Nginx => (found("nginx")?, vec!["-p", &at, "-c", &file]),
        Door::Haproxy => (found("haproxy")?, vec!["-db", "-f", &file]),
    };
    let program = program.display().to_string();
    let command: Vec<String> =
        [&*program].into_iter().chain(arguments).map(str::to_owned).collect();
    let mut running = workshop.start(&name, workshop.door_core, &command)?;
    running.await_port(port)?;
    Ok(running)
}

fn tidegate_configuration(folder: &str, port: u16) -> String {
    format!(
        "[door]\nworkers = 1\nstate = false\n\n[admin]\nsocket = \"{folder}/admin.sock\"\n\n\
         [listen.web]\naddress = \"127.0.0.1:{port}\"\n\n\
         [limits.everyone]\nby = \"all\"\nrate = \"1/s\"\n\n\
         [routes.app]\npath = \"/\"\nrespond = {{ status = 200, body = \"in\" }}\n"
    )
}

fn nginx_configuration(folder: &str, port: u16) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}\nworker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\n\
         error_log {folder}/nginx-error.log crit;\nevents {{ worker_connections 1000; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder}/body;\n  \
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  \
         uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n  \
         keepalive_requests 1000000000;\n  limit_req_zone $server_port zone=all:1m rate=1r/s;\n  \
         limit_req_status 429;\n  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    \
         location / {{ limit_req zone=all; proxy_pass http://127.0.0.1:9; }}\n  }}\n}}\n"
    )
}

fn haproxy_configuration(port: u16) -> String {
    format!(
        "global\n    maxconn 1000\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 3s\n    \
         timeout client 60s\n    timeout server 30s\n    timeout http-keep-alive 60s\n\
         frontend web\n    bind 127.0.0.1:{port} backlog 4096\n    \
         stick-table type ip size 1k expire 10s store http_req_rate(1s)\n    \
         http-request track-sc0 dst\n    \
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1 }}\n    \
         default_backend app\nbackend app\n    server one 127.0.0.1:9\n"
    )
}
