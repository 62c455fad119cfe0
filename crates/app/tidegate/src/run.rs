//! `tidegate run`: the front door itself.
//!
//! The main thread is the operator: signals, the admin interface, health checks, names, and the
//! second's snapshot; beside it the changer carries out changes of the configuration. The workers
//! are threads of their own and hear from the operator over channels.

mod acme;
mod admin;
mod begin;
mod book;
mod certificates;
mod change;
mod control;
mod drift;
mod facts;
mod handover;
mod judge;
mod key_files;
mod open;
mod operator;
mod quotas;
mod renew;
mod settle;
mod sockets;
mod stage;
mod start;
mod successor;
mod switches;

use std::path::PathBuf;
use std::process::ExitCode;

use settings::Environment;

use crate::cli::RunArguments;
use crate::commands::{chain, complain};
use crate::exit;

/// Takes the sockets of the door that is asked at `socket`; without one, at the default place.
fn take_over(
    socket: Option<PathBuf>,
    environment: &Environment,
) -> anyhow::Result<handover::Taken> {
    let default = || handover::path_of(&environment.admin_socket());
    handover::take(&socket.unwrap_or_else(default))
}

/// Runs the door until it is told to stop, and has drained.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    let environment = Environment::detect();
    let path = arguments.config;
    let taken = match arguments.take_over.map(|socket| take_over(socket, &environment)).transpose()
    {
        Ok(taken) => taken,
        Err(error) => {
            complain(&chain(error.as_ref()));
            return exit::failed();
        }
    };
    let start = match start::choose(&path, &environment) {
        Ok(start) => start,
        Err(why) => {
            complain(&why);
            return exit::usage();
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            return exit::failed();
        }
    };
    match runtime.block_on(begin::run(path, environment, start, taken)) {
        Ok(()) => exit::clean(),
        Err(error) => {
            complain(&chain(error.as_ref()));
            exit::failed()
        }
    }
}
