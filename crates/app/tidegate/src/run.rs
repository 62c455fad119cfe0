//! `tidegate run`: the front door itself.
//!
//! The main thread is the operator: signals, the admin interface, health checks, names, and the
//! second's snapshot; beside it the changer carries out changes of the configuration. The workers
//! are threads of their own and hear from the operator over channels.

mod admin;
mod begin;
mod book;
mod change;
mod control;
mod drift;
mod facts;
mod judge;
mod open;
mod operator;
mod quotas;
mod settle;
mod sockets;
mod stage;
mod start;
mod switches;

use std::process::ExitCode;

use settings::Environment;

use crate::cli::RunArguments;
use crate::commands::{chain, complain};
use crate::exit;

/// Runs the door until it is told to stop, and has drained.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    let environment = Environment::detect();
    let path = arguments.config;
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
    match runtime.block_on(begin::run(path, environment, start)) {
        Ok(()) => exit::clean(),
        Err(error) => {
            complain(&chain(error.as_ref()));
            exit::failed()
        }
    }
}
