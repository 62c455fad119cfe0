//! The project's own checks, tests, benches and fuzz runs, as one command.
//!
//! `cargo xtask check` is what keeps the house in its shape, `test` what shows that it works,
//! `bench` what holds its numbers, `fuzz` what hardens its parsers. A machine runs the same
//! commands as a person. Exit codes: 0 clean, 1 findings or a failed run, 2 something needed
//! is missing or the command line is wrong, 3 a bar was missed.

mod bench;
mod check;
mod clock;
mod fuzz;
mod say;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own checks, tests, benches and fuzz runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked of it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Floors, ratchets, documents, fmt, clippy and cargo-deny.
    Check(check::Options),
    /// Install what the tests need (Debian, as root), build, run every test.
    Test,
    /// Measure the promised numbers beside the peers.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Run the fuzz targets over their kept corpus.
    Fuzz(fuzz::Options),
    /// The parts of a bench that must be processes of their own.
    #[command(subcommand, hide = true)]
    Part(bench::Part),
}

/// How a command ended, when it did not break down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing to say.
    Clean,
    /// Findings, or a failed run.
    Findings,
    /// Something the command needs is missing.
    Missing,
    /// A promised number was not reached.
    BarMissed,
    /// The exit code of a program that was run, passed on.
    Passed(u8),
}

impl Outcome {
    fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Missing => 2,
            Self::BarMissed => 3,
            Self::Passed(code) => code,
        }
    }
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let outcome = match line.command {
        Command::Check(options) => check::run(&options),
        Command::Test => test::run(),
        Command::Bench(command) => bench::run(&command),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Part(part) => bench::run_part(&part),
    };
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => {
            say::note(&format!("error: {error:#}"));
            ExitCode::from(Outcome::Findings.code())
        }
    }
}
