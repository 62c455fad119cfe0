//! `tidegate show`: one generation with what it changed and its text.

use std::process::ExitCode;

use clap::Args;

use super::ask::{self, DoorArguments};
use super::words;
use crate::commands::{block_on, finish};
use crate::output::printable_lines;
use crate::{exit, output};

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The generation; by default the live one
    #[arg(value_name = "NUMBER")]
    number: Option<u64>,

    /// Print its text and nothing else
    #[arg(long, conflicts_with = "json")]
    text: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &ShowArguments) -> ExitCode {
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        let stored = match door.generation(arguments.number).await {
            Ok(stored) => stored,
            Err(why) => return ask::failed(&why),
        };
        if arguments.json {
            let document =
                serde_json::json!({ "generation": stored.generation, "text": stored.text });
            return finish(&format!("{document}\n"), exit::clean());
        }
        if arguments.text {
            return finish(&stored.text, exit::clean());
        }
        let record = words::record(&stored.generation, output::colours_on_stdout());
        finish(&format!("{record}\n{}", printable_lines(&stored.text)), exit::clean())
    })
}
