//! `tidegate rollback`: back to the text of an earlier generation, as a generation of its own.

use std::process::ExitCode;

use clap::Args;
use console::RollBack;

use super::ask::{self, DoorArguments};
use super::words;
use crate::commands::{block_on, finish};
use crate::exit;
use crate::output::printable_lines;

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The generation whose text goes live again; by default the last confirmed one before the
    /// live one
    #[arg(value_name = "NUMBER")]
    to: Option<u64>,

    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who asks for it, beside the user of this machine
    #[arg(long, value_name = "NAME")]
    author: Option<String>,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &RollbackArguments) -> ExitCode {
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        let order = RollBack {
            to: arguments.to,
            reason: arguments.reason.clone(),
            author: arguments.author.clone(),
        };
        match door.order("/v1/rollback", &order).await {
            Ok(changed) => {
                let lines = changed.generation.map(|made| words::changes(&made.changes));
                let result = printable_lines(&changed.result).into_owned();
                finish(&format!("{result}\n{}", lines.unwrap_or_default()), exit::clean())
            }
            Err(why) => ask::failed(&why),
        }
    })
}
