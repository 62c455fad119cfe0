//! `tidegate load`: honest load on a target, and the search for what the target carries.
//!
//! Arguments in, exit code out; the load itself is in `rehearsal::load`.
//! Invariant: nothing is sent to a host outside this machine and its private networks unless the
//! user named that host on purpose; see [`target`].

mod arguments;
mod capacity;
mod live;
mod plan;
mod run;
mod target;
mod text;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    #[command(subcommand)]
    command: LoadCommand,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    /// Send load to a URL and report what its clients saw
    Run(Box<arguments::RunArguments>),
    /// Find the highest rate that a URL carries
    Capacity(Box<arguments::CapacityArguments>),
}

pub(crate) fn run(arguments: &LoadArguments) -> ExitCode {
    match &arguments.command {
        LoadCommand::Run(arguments) => run::run(arguments),
        LoadCommand::Capacity(arguments) => capacity::run(arguments),
    }
}

/// Why a command of load ends without a result.
#[derive(Debug)]
enum Refused {
    /// The command line, the plan or the log is wrong: exit code 2.
    Usage(String),
    /// It could not be carried out: exit code 1.
    Failed(String),
}

impl Refused {
    fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }
}

/// Says why, and gives the exit code.
fn refuse(refused: &Refused) -> ExitCode {
    match refused {
        Refused::Usage(why) => {
            super::complain(why);
            crate::exit::usage()
        }
        Refused::Failed(why) => {
            super::complain(why);
            crate::exit::failed()
        }
    }
}
