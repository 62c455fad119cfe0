//! `tidegate confirm`: a person's word that a generation stays.

use std::process::ExitCode;

use clap::Args;
use console::Confirm;

use super::ask::{self, DoorArguments};
use crate::commands::{block_on, finish};
use crate::exit;
use crate::output::printable_lines;

#[derive(Debug, Args)]
pub(crate) struct ConfirmArguments {
    /// The generation
    #[arg(value_name = "NUMBER")]
    number: u64,

    /// Who confirms, beside the user of this machine
    #[arg(long, value_name = "NAME")]
    author: Option<String>,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &ConfirmArguments) -> ExitCode {
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        let order = Confirm { generation: arguments.number, author: arguments.author.clone() };
        match door.order("/v1/confirm", &order).await {
            Ok(changed) => {
                finish(&format!("{}\n", printable_lines(&changed.result)), exit::clean())
            }
            Err(why) => ask::failed(&why),
        }
    })
}
