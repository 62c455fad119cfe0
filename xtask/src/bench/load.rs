//! `bench load`: how exact the load generator is, and what it costs beside wrk and oha.
//!
//! One core for the generator, the other for the server. Accuracy: the rate that was sent and
//! the lateness of each send, at three rates; the percentiles it reports against a server whose
//! delays are known. Cost: CPU time of the generator per request, all at the same rate (a
//! server that waits makes wrk, which knows no rate, send at one), one after the other; ratios are
//! paired within a round.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use super::delayed;
use super::processes::{self, Running, Workshop};
use super::report::{Spread, table};
use super::{doors, wrk};
use crate::{Outcome, say, shell};

/// Connections of the comparison; with a mean delay of 6.4 ms, wrk sends at most 10,000 a second.
const CONNECTIONS: u32 = 64;
const MEAN_US: u32 = 6_400;
/// Rates of the accuracy scenario, requests per second.
const RATES: [u32; 3] = [100, 1_000, 10_000];
/// Requests per second and seconds of the percentile scenario: the table goes round twice.
const KNOWN_RATE: u32 = 2_000;
const KNOWN_SECONDS: u32 = 2 * delayed::TABLE_LENGTH / KNOWN_RATE;
/// The percentiles that are compared.
const QUANTILES: [(&str, f64); 4] =
    [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p99_9_ms", 0.999)];

const RATE_ERROR_MAX: f64 = 0.000_3;
const LATE_P99_US_MAX: f64 = 100.0;
const PERCENTILE_ERROR_MAX: f64 = 0.02;
const TO_WRK_MAX: f64 = 1.3;
const TO_OHA_MAX: f64 = 0.6;

/// How `bench load` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds of each scenario.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of load per generator and round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    seconds: u32,
    /// The oha program, when it is not on the search path (`cargo install oha`).
    #[arg(long, value_name = "PROGRAM")]
    oha: Option<PathBuf>,
    /// Writes every verdict to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// A promised number with what was measured, one value a round.
#[derive(Debug, Serialize)]
struct Bar {
    name: String,
    at_most: f64,
    measured: Option<Spread>,
}

impl Bar {
    fn of(name: impl Into<String>, at_most: f64, values: &[f64]) -> Self {
        Self { name: name.into(), at_most, measured: Spread::of(values) }
    }

    fn reached(&self) -> bool {
        self.measured.is_some_and(|spread| spread.median <= self.at_most)
    }
}

/// Builds, measures, reports.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    ensure!(options.server_core != options.load_core, "server and load need a core each");
    ensure!(shell::find("wrk").is_some(), "wrk is missing: apt-get install wrk");
    processes::raise_descriptors()?;
    for package in ["xtask", "tidegate"] {
        shell::must("cargo", &["build", "--profile", "dist", "--package", package])?;
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let dist = |name: &str| shell::root().join("target").join("dist").join(name);
    let bench = Bench {
        workshop: Workshop {
            folder: folder.path().to_path_buf(),
            xtask: dist("xtask"),
            door_core: options.server_core,
            load_core: options.load_core,
        },
        tidegate: dist("tidegate"),
        oha: options.oha.clone().or_else(|| shell::find("oha")),
        options,
    };
    let mut bars = bench.accuracy()?;
    bars.extend(bench.percentiles()?);
    bars.extend(bench.cost()?);
    report(&bars);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&bars)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let all = bars.iter().all(Bar::reached);
    Ok(if all { Outcome::Clean } else { Outcome::BarMissed })
}

fn report(bars: &[Bar]) {
    let mut rows =
        vec![["bar", "at most", "median (low-high)", "result"].map(str::to_owned).to_vec()];
    rows.extend(bars.iter().map(|bar| {
        let decimals = if bar.at_most < 0.01 { 6 } else { 3 };
        let measured = bar.measured.map_or_else(|| "-".to_owned(), |spread| spread.text(decimals));
        let result = if bar.reached() { "reached" } else { "MISSED" };
        vec![bar.name.clone(), bar.at_most.to_string(), measured, result.to_owned()]
    }));
    say::data(&table(&rows));
}

struct Bench<'a> {
    options: &'a Options,
    workshop: Workshop,
    tidegate: PathBuf,
    oha: Option<PathBuf>,
}

impl Bench<'_> {
    /// Starts the server on its core.
    fn server(&self, arguments: &[&str]) -> anyhow::Result<(Running, u16)> {
        let [port] = doors::free_ports()?;
        let program = self.workshop.xtask.to_string_lossy();
        let mut command: Vec<String> =
            [&*program, "part", "delayed", "--port"].map(str::to_owned).to_vec();
        command.push(port.to_string());
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut server = self.workshop.start("server", self.workshop.door_core, &command)?;
        server.await_port(port)?;
        Ok((server, port))
    }

    /// Runs `tidegate load run` with a model; its report and its CPU seconds.
    fn tidegate(&self, port: u16, model: &[String], seconds: u32) -> anyhow::Result<(Value, f64)> {
        let (program, url) = (self.tidegate.to_string_lossy(), format!("http://127.0.0.1:{port}/"));
        let duration = format!("{seconds}s");
        let mut command: Vec<String> =
            [&*program, "load", "run", &url, "--json", "--for", &duration]
                .map(str::to_owned)
                .to_vec();
        command.extend_from_slice(model);
        let measured = self.workshop.measure(&command)?;
        // A generator that could not keep up says so in its report and ends with 1.
        let report = serde_json::from_str(&measured.output)
            .with_context(|| format!("no report: {}{}", measured.output, measured.errors))?;
        Ok((report, measured.cpu_seconds))
    }

    /// The rate that was sent, and how late.
    fn accuracy(&self) -> anyhow::Result<Vec<Bar>> {
        let (_server, port) = self.server(&[])?;
        let mut bars = Vec::new();
        // The rate is what the server saw: it knows nothing of the generator's intentions.
        for rate in RATES {
            let (mut errors, mut late_us) = (Vec::new(), Vec::new());
            for round in 0..self.options.rounds {
                let (report, _) =
                    self.tidegate(port, &paced(f64::from(rate)), self.options.seconds)?;
                let sent_per_second = delayed::seen(port)?;
                errors.push((sent_per_second / f64::from(rate) - 1.0).abs());
                late_us.push(number(&report, "/generator/lateness/p99_ms")? * 1e3);
                say::note(&format!(
                    "{rate}/s round {}: sent {sent_per_second:.3}/s, late p99 {:.0} us",
                    round + 1,
                    late_us[usize::from(round)]
                ));
            }
            bars.push(Bar::of(format!("{rate}/s: error of the rate"), RATE_ERROR_MAX, &errors));
            bars.push(Bar::of(format!("{rate}/s: late at p99, us"), LATE_P99_US_MAX, &late_us));
        }
        Ok(bars)
    }

    /// Reported percentiles against injected ones.
    fn percentiles(&self) -> anyhow::Result<Vec<Bar>> {
        let injected = delayed::table();
        let mut errors = vec![Vec::new(); QUANTILES.len()];
        for _ in 0..self.options.rounds {
            // A fresh server begins the table anew.
            let (_server, port) = self.server(&["--table"])?;
            let (report, _) = self.tidegate(port, &paced(f64::from(KNOWN_RATE)), KNOWN_SECONDS)?;
            for ((name, quantile), errors) in QUANTILES.iter().zip(&mut errors) {
                let reported_ms = number(&report, &format!("/all/latency/{name}"))?;
                errors.push((reported_ms / (at(&injected, *quantile) * 1e3) - 1.0).abs());
            }
        }
        let bars = QUANTILES.iter().zip(&errors).map(|((name, _), errors)| {
            Bar::of(format!("known delays: error of {name}"), PERCENTILE_ERROR_MAX, errors)
        });
        Ok(bars.collect())
    }

    /// CPU per request: the closed model beside wrk and oha without a rate, the open one beside oha
    /// with one, all at wrk's rate.
    fn cost(&self) -> anyhow::Result<Vec<Bar>> {
        let (_server, port) = self.server(&["--mean-us", &MEAN_US.to_string()])?;
        let url = format!("http://127.0.0.1:{port}/");
        let seconds = self.options.seconds;
        let users = ["--users".to_owned(), CONNECTIONS.to_string()];
        let (mut to_wrk, mut to_oha, mut to_paced_oha) = (Vec::new(), Vec::new(), Vec::new());
        let (mut round, mut lost) = (0, 0);
        while round < self.options.rounds {
            let (wrk, rate) = self.wrk(&url, seconds)?;
            let own = |model: &[String]| {
                let (report, cpu_seconds) = self.tidegate(port, model, seconds)?;
                let verdict = report.pointer("/verdict").and_then(Value::as_str);
                let on_time = verdict == Some("finished");
                let cost = per_request(cpu_seconds, number(&report, "/all/ok")?)?;
                Ok::<_, anyhow::Error>(on_time.then_some(cost))
            };
            let (Some(closed), Some(open)) = (own(&users)?, own(&paced(rate.round()))?) else {
                // The machine was not ours meanwhile: what was not sent on time has no cost.
                lost += 1;
                say::note(&format!("a round at {rate:.0}/s is lost: the generator was late"));
                ensure!(lost <= self.options.rounds, "the generator was late in {lost} rounds");
                continue;
            };
            round += 1;
            to_wrk.push(closed / wrk);
            let mut line = format!(
                "{rate:.0}/s round {round}: CPU us/request: wrk {wrk:.2}, closed {closed:.2}, open {open:.2}"
            );
            if let Some(program) = &self.oha {
                let program = program.to_string_lossy();
                let oha = self.oha(&program, &url, None)?;
                let paced_oha = self.oha(&program, &url, Some(rate.round()))?;
                to_oha.push(closed / oha);
                to_paced_oha.push(open / paced_oha);
                line.push_str(&format!(", oha {oha:.2}, with a rate {paced_oha:.2}"));
            }
            say::note(&line);
        }
        let mut bars = vec![Bar::of("closed model: CPU per request / wrk", TO_WRK_MAX, &to_wrk)];
        if self.oha.is_some() {
            bars.push(Bar::of("closed model: CPU per request / oha", TO_OHA_MAX, &to_oha));
            let name = "open model: CPU per request / oha with a rate";
            bars.push(Bar::of(name, TO_OHA_MAX, &to_paced_oha));
        } else {
            say::note("oha is not here and not compared: cargo install oha");
        }
        Ok(bars)
    }

    /// CPU microseconds per request of wrk, and its rate.
    fn wrk(&self, url: &str, seconds: u32) -> anyhow::Result<(f64, f64)> {
        let (connections, duration) = (CONNECTIONS.to_string(), format!("{seconds}s"));
        let command =
            ["wrk", "-t", "1", "-c", &connections, "-d", &duration, url].map(str::to_owned);
        let (output, cpu_seconds) = self.workshop.run_measured(&command)?;
        let report =
            wrk::parse(&output).with_context(|| format!("wrk reports nothing: {output}"))?;
        ensure!(report.failed == 0, "wrk saw {} failures", report.failed);
        let requests = f64::from(u32::try_from(report.requests)?);
        Ok((per_request(cpu_seconds, requests)?, report.per_second))
    }

    /// CPU microseconds per request of oha, at a rate or as fast as its connections get answers.
    fn oha(&self, program: &str, url: &str, rate: Option<f64>) -> anyhow::Result<f64> {
        let (connections, duration) =
            (CONNECTIONS.to_string(), format!("{}s", self.options.seconds));
        let fixed = ["--no-tui", "--output-format", "json", "-c", &connections, "-z", &duration];
        let mut command = vec![program.to_owned()];
        command.extend(fixed.map(str::to_owned));
        command.extend(rate.map(|rate| format!("-q={rate}")));
        command.push(url.to_owned());
        let (output, cpu_seconds) = self.workshop.run_measured(&command)?;
        let report: Value = serde_json::from_str(&output).context("oha gave no report")?;
        per_request(cpu_seconds, number(&report, "/statusCodeDistribution/200")?)
    }
}

/// The arguments of an open model.
fn paced(rate: f64) -> [String; 2] {
    ["--rate".to_owned(), format!("{rate}/s")]
}

/// The value of a sorted table at a quantile, in seconds.
fn at(sorted: &[std::time::Duration], quantile: f64) -> f64 {
    let count = f64::from(delayed::TABLE_LENGTH);
    let position = sorted.iter().enumerate().find(|(index, _)| {
        u32::try_from(index + 1).is_ok_and(|rank| f64::from(rank) >= quantile * count)
    });
    position.map_or(0.0, |(_, delay)| delay.as_secs_f64())
}

fn number(report: &Value, pointer: &str) -> anyhow::Result<f64> {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("the report has no {pointer}: {report}"))
}

fn per_request(cpu_seconds: f64, requests: f64) -> anyhow::Result<f64> {
    ensure!(requests > 0.0, "no request was completed");
    Ok(cpu_seconds * 1e6 / requests)
}
