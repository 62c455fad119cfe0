//! `tidegate run`: the front door itself.
//!
//! The main thread is the operator: signals, the admin interface, health checks, names, and the
//! second's snapshot. The workers are threads of their own and hear from it over channels.

mod admin;
mod control;
mod operator;
mod sockets;

use std::process::ExitCode;

use model::Configuration;
use settings::{Checked, Environment, Source};

use crate::cli::RunArguments;
use crate::commands::{chain, complain};
use crate::exit;

/// Runs the door until it is told to stop, and has drained.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    let environment = Environment::detect();
    let path = arguments.config;
    let configuration = match load(&path, &environment) {
        Ok(configuration) => configuration,
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
    match runtime.block_on(operator::run(path, environment, configuration)) {
        Ok(()) => exit::clean(),
        Err(error) => {
            complain(&chain(error.as_ref()));
            exit::failed()
        }
    }
}

/// Reads and checks a configuration; warnings are logged.
///
/// # Errors
/// The findings, rendered.
fn load(path: &std::path::Path, environment: &Environment) -> Result<Configuration, String> {
    let source = settings::read(path).map_err(|error| chain(&error))?;
    let Checked { configuration, findings } = settings::check(&source, environment);
    let Some(configuration) = configuration else {
        return Err(refusal(&findings, &source));
    };
    for finding in &findings {
        tracing::warn!(
            rule = finding.rule,
            file = %source.name,
            line = finding.line,
            "{}", finding.message
        );
    }
    Ok(configuration)
}

fn refusal(findings: &[settings::Finding], source: &Source) -> String {
    let rendered = settings::render_text(findings, source, false);
    format!("{} is not a valid configuration\n{rendered}", source.name)
}
