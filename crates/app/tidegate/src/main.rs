//! The one binary: reads the command line, sets up the log, and calls one command.
//!
//! Each command is a module of its own; `run` wires the rooms together.

mod cli;
mod commands;
mod demo;
mod exit;
mod logging;
mod output;
mod run;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if let Err(why) = logging::set_up(&cli.log) {
        commands::complain(&why);
        return exit::usage();
    }
    if let Some(parent) = cli.end_with_parent
        && let Err(error) = end_with_parent(parent)
    {
        tracing::warn!(%error, "this process will not notice the end of its parent");
    }
    match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Reload(arguments) => commands::reload::run(&arguments),
        Command::Apply(arguments) => commands::change::apply(&arguments),
        Command::Plan(arguments) => commands::change::plan(&arguments),
        Command::History(arguments) => commands::change::history(&arguments),
        Command::Show(arguments) => commands::change::show(&arguments),
        Command::Diff(arguments) => commands::change::diff(&arguments),
        Command::Rollback(arguments) => commands::change::rollback(&arguments),
        Command::Confirm(arguments) => commands::change::confirm(&arguments),
        Command::Client(arguments) => commands::client::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
        Command::Schema => commands::papers::schema(),
        Command::Completions { shell } => commands::papers::completions(shell),
        Command::Man { out } => commands::papers::man(out.as_deref()),
        Command::SampleApp(arguments) => commands::sample_app::run(&arguments),
        Command::Load(arguments) => commands::load::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Drill(arguments) => commands::drill::run(&arguments),
        Command::DrillWatchdog { scratch } => commands::drill_watchdog::run(&scratch),
        Command::Exec { command } => commands::exec::run(&command),
    }
}

/// `--help` and `--version` are data and clean; anything else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) if !error.use_stderr() => exit::clean(),
        Ok(()) | Err(_) => exit::usage(),
    }
}

/// The kernel sends SIGTERM when the parent ends, even by SIGKILL: nothing of a demo stays behind.
fn end_with_parent(parent: i32) -> std::io::Result<()> {
    use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // A parent that ended before the line above is not noticed by it. Its id must be told: process
    // 1 adopts orphans, and is the true parent where `demo` is the first program of a container.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        kill_process(getpid(), Signal::TERM)?;
    }
    Ok(())
}
