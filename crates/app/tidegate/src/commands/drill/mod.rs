//! `tidegate drill`: outages on demand. Lists, shows and plays drills, and judges what they came to.
//!
//! Arguments in, exit code out; what a drill is stands in `model::drill`, how it is played in
//! `rehearsal::drill`.

mod built_in;
mod choose;
mod live;
mod picture;
mod plain;
mod play;
mod reports;
mod text;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use rehearsal::stage::FrontDoor;
use serde_json::json;

use crate::commands::table::{Cell, table};
use crate::commands::{complain, finish};
use crate::{exit, output};
use built_in::BUILT_IN;

#[derive(Debug, Args)]
pub(crate) struct DrillArguments {
    #[command(subcommand)]
    command: DrillCommand,
}

#[derive(Debug, Subcommand)]
enum DrillCommand {
    /// List the built-in drills, the five founding outages first
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a built-in drill, to copy from
    Show {
        /// The drill
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Play drills and judge what the front doors did
    Run(RunArguments),
    /// Print the JSON Schema of drill files
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Built-in drills by name, drill files by path, or `five` for the founding outages
    #[arg(value_name = "NAME|FILE", required_unless_present = "all")]
    drills: Vec<String>,

    /// Play every built-in drill
    #[arg(long, conflicts_with = "drills")]
    all: bool,

    /// The front doors, one after the other
    #[arg(long, value_name = "DOORS", value_delimiter = ',', default_value = "tidegate")]
    against: Vec<DoorName>,

    /// Whether the front doors' own limits and checks are in use
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    guard: Guard,

    /// Write one self-contained HTML page about all runs
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Write the verdicts as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Of everything that is drawn by lot: the same seed, the same load
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Play each drill this often, 1 to 100, and say whether the verdicts were the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    repeat: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DoorName {
    Tidegate,
    Nginx,
    Haproxy,
}

impl DoorName {
    fn door(self) -> FrontDoor {
        match self {
            Self::Tidegate => FrontDoor::Tidegate,
            Self::Nginx => FrontDoor::Nginx,
            Self::Haproxy => FrontDoor::Haproxy,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Guard {
    /// In use.
    On,
    /// Not in use.
    Off,
    /// First with, then without.
    Both,
}

impl Guard {
    fn settings(self) -> &'static [bool] {
        match self {
            Self::On => &[true],
            Self::Off => &[false],
            Self::Both => &[true, false],
        }
    }
}

pub(crate) fn run(arguments: &DrillArguments) -> ExitCode {
    match &arguments.command {
        DrillCommand::List { json } => list(*json),
        DrillCommand::Show { name } => match choose::built_in(name) {
            Ok(drill) => finish(drill.text, exit::clean()),
            Err(why) => {
                complain(&why);
                exit::usage()
            }
        },
        DrillCommand::Run(arguments) => play::run(arguments),
        DrillCommand::Schema => finish(&format!("{:#}\n", settings::drill_schema()), exit::clean()),
    }
}

fn list(json: bool) -> ExitCode {
    let mut listed = Vec::new();
    for built_in in BUILT_IN {
        match choose::checked(&built_in.source()) {
            Ok(drill) => listed.push((built_in, drill)),
            Err(why) => {
                complain(&why);
                return exit::failed();
            }
        }
    }
    if json {
        let object = |(built_in, drill): &(&built_in::BuiltIn, model::drill::Drill)| {
            json!({
                "name": built_in.name,
                "title": drill.title,
                "duration_seconds": drill.duration.as_secs_f64(),
                "founding": built_in.founding,
            })
        };
        let array: serde_json::Value = listed.iter().map(object).collect();
        return finish(&format!("{array:#}\n"), exit::clean());
    }
    let rows: Vec<Vec<Cell>> = listed
        .iter()
        .map(|(built_in, drill)| {
            vec![
                Cell::from(built_in.name),
                Cell::from(format!("{} s", drill.duration.as_secs())),
                Cell::from(if built_in.founding { "yes" } else { "" }),
                Cell::from(&drill.title),
            ]
        })
        .collect();
    let headings = ["NAME", ">TIME", "FOUNDING", "TITLE"];
    finish(&table(&headings, &rows, output::colours_on_stdout()), exit::clean())
}
