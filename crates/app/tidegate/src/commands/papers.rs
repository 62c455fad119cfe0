//! `schema`, `completions` and `man`: what is generated from the types and the command line.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::commands::{complain, finish};
use crate::exit;

/// Prints the JSON Schema of the configuration.
pub(crate) fn schema() -> ExitCode {
    finish(&format!("{:#}\n", settings::schema()), exit::clean())
}

/// Prints the completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    finish(&String::from_utf8_lossy(&script), exit::clean())
}

/// Prints the manual page, or writes one page per command into a folder.
pub(crate) fn man(out: Option<&Path>) -> ExitCode {
    match out {
        None => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => finish(&String::from_utf8_lossy(&page), exit::clean()),
                Err(error) => failed(&error),
            }
        }
        Some(folder) => match std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        {
            Ok(()) => exit::clean(),
            Err(error) => failed(&error),
        },
    }
}

fn failed(error: &std::io::Error) -> ExitCode {
    complain(&format!("the manual pages cannot be written: {error}"));
    exit::failed()
}
