//! `tidegate plan`: what a configuration would do to the traffic of the last minutes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use model::forecast::{Forecast, PoolForecast, ServerForecast};
use settings::{Environment, Finding, Severity, Source};

use super::ask::{self, DoorArguments};
use super::diff::meaning;
use super::words;
use crate::commands::table::{Cell, Tone, table};
use crate::commands::{block_on, chain, complain, finish};
use crate::exit;
use crate::output::{self, printable};

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &PlanArguments) -> ExitCode {
    let source = match settings::read(&arguments.file) {
        Ok(source) => source,
        Err(error) => {
            complain(&chain(&error));
            return exit::usage();
        }
    };
    let environment = Environment::detect();
    let checked = settings::check(&source, &environment);
    let Some(candidate) = checked.configuration.as_ref().or(checked.overridable.as_ref()) else {
        let text = settings::render_text(&checked.findings, std::slice::from_ref(&source), false);
        complain(&format!("{} is not a valid configuration\n{text}", source.name));
        return exit::usage();
    };
    block_on(async {
        let looked = async {
            let door = arguments.door.connect()?;
            let live = door.generation(None).await?;
            let recording = door.recording().await?;
            Ok::<_, String>((live, recording))
        };
        let (live, recording) = match looked.await {
            Ok(looked) => looked,
            Err(why) => return ask::failed(&why),
        };
        let name = format!("generation {}", live.generation.number);
        let live = Source { name, text: live.text, folder: source.folder.clone() };
        let from = match meaning(&live) {
            Ok(from) => from,
            Err(why) => return ask::failed(&why),
        };
        let known = settings::check(&live, &environment).findings;
        let new = new_findings(&checked.findings, &known);
        let forecast = changes::forecast(&from, candidate, Some(&recording));
        let harmful = !forecast.broken.is_empty()
            || new.iter().any(|finding| finding.severity == Severity::Error);
        let code = if harmful { exit::failed() } else { exit::clean() };
        if arguments.json {
            let findings = settings::render_json(&new, std::slice::from_ref(&source));
            let document = serde_json::json!({ "findings": findings, "forecast": forecast });
            return finish(&format!("{document}\n"), code);
        }
        let colour = output::colours_on_stdout();
        let findings = settings::render_text(&new, std::slice::from_ref(&source), colour);
        finish(&format!("{findings}{}", shown(&forecast, recording.span_ms, colour)), code)
    })
}

/// Findings that the live configuration does not have.
pub(super) fn new_findings(candidate: &[Finding], live: &[Finding]) -> Vec<Finding> {
    let known: BTreeSet<(&str, &str)> =
        live.iter().map(|finding| (finding.rule, finding.message.as_str())).collect();
    let is_new = |finding: &&Finding| !known.contains(&(finding.rule, finding.message.as_str()));
    candidate.iter().filter(is_new).cloned().collect()
}

fn shown(forecast: &Forecast, span_ms: u64, colour: bool) -> String {
    let mut text = String::new();
    if forecast.changes.is_empty() {
        text.push_str("nothing would change\n");
    } else {
        text.push_str("what would change\n");
        text.push_str(&words::changes(&forecast.changes));
    }
    text.push_str(&match (forecast.replayed, span_ms / 1_000) {
        (0, _) => "\nno recorded traffic: shares are those of an even load\n".to_owned(),
        (count, seconds) => {
            format!("\n{count} requests of the last {seconds} s, replayed through both\n")
        }
    });
    if forecast.lost > 0 {
        writeln!(text, "{} of them would find no route", forecast.lost)
            .expect("a string takes text");
    }
    for pool in &forecast.pools {
        text.push_str(&pool_shown(pool, colour));
    }
    for line in &forecast.broken {
        writeln!(text, "{} {}", Tone::Bad.paint("would break:", colour), printable(line))
            .expect("a string takes text");
    }
    text
}

fn pool_shown(pool: &PoolForecast, colour: bool) -> String {
    let moved = percent(Some(pool.moved));
    let mut text = format!(
        "\npool {}  {moved} of its requests move to another server\n",
        printable(&pool.name)
    );
    let row = |server: &ServerForecast| {
        vec![
            Cell::from(&server.address),
            percent(server.share_before).into(),
            percent(server.share).into(),
            number(server.in_flight_before).into(),
            number(server.in_flight).into(),
            milliseconds(server.p99_us_before).into(),
            milliseconds(server.p99_us).into(),
        ]
    };
    if pool.refused > 0.0 {
        writeln!(
            text,
            "  {} of its requests would find no server with room",
            percent(Some(pool.refused))
        )
        .expect("a string takes text");
    }
    let rows: Vec<Vec<Cell>> = pool.servers.iter().map(row).collect();
    let headings =
        ["SERVER", ">SHARE NOW", ">THEN", ">IN FLIGHT NOW", ">THEN", ">P99 NOW", ">THEN"];
    text.push_str(&table(&headings, &rows, colour));
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1_000, us % 1_000 / 100))
}
