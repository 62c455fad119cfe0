//! `tidegate client`: the registered clients of a running door, and the switch that turns one off.
//!
//! What is disabled by hand is the door's own record: it stays so over restarts and reloads until
//! it is enabled again or leaves the configuration.

mod list;
mod show;
mod switch;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use show::history;

use crate::commands::change::ask;
use crate::commands::{block_on, finish};
use crate::exit;

/// What is done with registered clients.
#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// List the registered clients: what they send, and what of it is refused
    List(list::ListArguments),
    /// Show one registered client, and who switched it off or on, when and why
    Show(show::ShowArguments),
    /// Refuse every request of a client, from now on and after a restart
    Disable(switch::SwitchArguments),
    /// Let a client in again that was disabled by hand
    Enable(switch::SwitchArguments),
}

pub(crate) fn run(arguments: &ClientArguments) -> ExitCode {
    block_on(async {
        let shown = match &arguments.command {
            ClientCommand::List(arguments) => list::run(arguments).await,
            ClientCommand::Show(arguments) => show::run(arguments).await,
            ClientCommand::Disable(arguments) => switch::run(arguments, "disable").await,
            ClientCommand::Enable(arguments) => switch::run(arguments, "enable").await,
        };
        match shown {
            Ok(text) => finish(&text, exit::clean()),
            Err(why) => ask::failed(&why),
        }
    })
}
