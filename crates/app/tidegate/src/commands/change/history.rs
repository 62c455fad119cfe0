//! `tidegate history`: the generations of the door, newest first, and below them who disabled or
//! enabled which client.

use std::process::ExitCode;

use clap::Args;
use model::generation::Generation;
use model::switch::Switch;

use super::ask::{self, DoorArguments};
use super::words;
use crate::commands::table::{Cell, table};
use crate::commands::{block_on, client, finish};
use crate::{exit, output};

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Generations shown
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,

    /// Only those before this one
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,

    /// Print one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &HistoryArguments) -> ExitCode {
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        match door.history(arguments.limit, arguments.before).await {
            Ok(generations) if arguments.json => {
                finish(&format!("{}\n", serde_json::json!(generations)), exit::clean())
            }
            Ok(generations) => match door.switches(arguments.limit).await {
                Ok(switches) => finish(&whole(&generations, &switches), exit::clean()),
                Err(why) => ask::failed(&why),
            },
            Err(why) => ask::failed(&why),
        }
    })
}

fn whole(generations: &[Generation], switches: &[Switch]) -> String {
    let colour = output::colours_on_stdout();
    let generations = shown(generations, colour);
    if switches.is_empty() {
        return generations;
    }
    format!("{generations}\n{}", client::history(switches, colour))
}

fn shown(generations: &[Generation], colour: bool) -> String {
    let row = |generation: &Generation| {
        let (state, tone) = words::state(generation.state);
        vec![
            generation.number.to_string().into(),
            Cell::new(state, tone),
            Cell::from(&generation.at),
            Cell::from(&generation.author),
            words::origin(generation.origin).into(),
            Cell::from(&generation.reason),
        ]
    };
    let rows: Vec<Vec<Cell>> = generations.iter().map(row).collect();
    table(&[">GENERATION", "STATE", "WHEN", "WHO", "HOW", "WHY"], &rows, colour)
}
