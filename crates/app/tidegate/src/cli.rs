//! The command line: names, help and ranges. What a command does is in `commands`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::change;

/// A front door for HTTP services: balances, watches, and says what it does.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 clean, 1 findings or a failed run, 2 usage or bad configuration, 3 a gate was breached.\nFirst steps: tidegate demo"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArguments,

    /// End when the process of this id, which started this one, ends.
    #[arg(long, global = true, hide = true, value_name = "PID")]
    pub(crate) end_with_parent: Option<i32>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The process's own log.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArguments {
    /// What is logged: a level, or levels by part (`info,http_door=debug`)
    #[arg(long, global = true, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,

    /// How log lines on stderr look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for a person.
    Human,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve: SIGTERM drains, SIGHUP reloads
    Run(RunArguments),
    /// Check configurations, also of nginx and HAProxy, and show every mistake at once
    Check(CheckArguments),
    /// Say what a rule finds and why; without a name, list all rules
    Explain(crate::commands::explain::ExplainArguments),
    /// Show what a running door does
    Status(StatusArguments),
    /// Make a running door read its configuration again
    Reload(SocketArguments),
    /// Make a configuration live, watch it, and go back if it does harm
    Apply(change::ApplyArguments),
    /// Say what a configuration would do to the traffic of the last minutes
    Plan(change::PlanArguments),
    /// List the generations of a running door: who changed what, when, why, and what came of it
    History(change::HistoryArguments),
    /// Show one generation and its text
    Show(change::ShowArguments),
    /// Say in words what differs between generations or files
    Diff(change::DiffArguments),
    /// Go back to an earlier generation
    Rollback(change::RollbackArguments),
    /// Let a generation stay that was applied with `--confirm-within`
    Confirm(change::ConfirmArguments),
    /// Show the registered clients of a running door, and switch one off or on
    Client(crate::commands::client::ClientArguments),
    /// Translate an nginx or HAProxy configuration
    Import(crate::commands::import::ImportArguments),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them
    Man {
        /// Write one page per command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Run a test server that can be made slow, failing or ill while it runs
    SampleApp(crate::commands::sample_app::SampleAppArguments),
    /// Run a front door, three servers and gentle load on this machine, and watch them
    Demo(DemoArguments),
    /// Replay outages on this machine, with tidegate, nginx or HAProxy at the front
    Drill(crate::commands::drill::DrillArguments),
    /// Send load to a web stack, or find out how much it carries
    Load(crate::commands::load::LoadArguments),
    /// Undo what a drill broke when the drill is no longer there to do it
    #[command(hide = true)]
    DrillWatchdog {
        /// Folders of drills are removed inside this one alone
        #[arg(long, value_name = "DIR")]
        scratch: PathBuf,
    },
    /// Become another program
    #[command(hide = true)]
    Exec {
        /// The program and its arguments
        #[arg(required = true, last = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Take the sockets of the door that runs now, without a lost connection; that one serves what
    /// it has to its end. SOCKET is its admin socket with `.handover` behind it, by default where a
    /// door of this user has it
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    pub(crate) take_over: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The configurations: this door's, nginx.conf or haproxy.cfg
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The language of the files, where their names and texts do not tell
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) from: Option<crate::commands::dialect::From>,

    #[command(flatten)]
    pub(crate) against: change::AgainstArguments,

    /// How the findings are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: CheckFormat,

    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// With the lines they point at.
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// A JUnit report, for tools that show tests.
    Junit,
    /// Annotations in GitHub Actions.
    Github,
}

#[derive(Debug, Args)]
pub(crate) struct SocketArguments {
    /// The admin socket of the door; by default where a door of this user has it
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

impl SocketArguments {
    /// The socket that was named, or the default of this user.
    pub(crate) fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| settings::Environment::detect().admin_socket())
    }
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Print the snapshot as JSON; with `--watch`, one line a second
    #[arg(long)]
    pub(crate) json: bool,

    /// Show it anew each second until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,

    #[command(flatten)]
    pub(crate) socket: SocketArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// End after this many seconds with a summary
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,

    /// Requests per second, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rate: u32,

    /// Print one line a second even on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

/// `20ms`, `1.5s`, `2m`, `500us`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number with a unit: 500us, 20ms, 1.5s or 2m".to_owned();
    let digits = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().ok().ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<Duration>| {
            assert_eq!(parse_duration(text).ok(), expected, "{text}")
        };
        check("20ms", Some(Duration::from_millis(20)));
        check("500us", Some(Duration::from_micros(500)));
        check("1.5s", Some(Duration::from_millis(1_500)));
        check("2m", Some(Duration::from_secs(120)));
        check("0ms", Some(Duration::ZERO));
        for wrong in ["", "20", "ms", "20 parsecs", "-1s", "1..5s", "1e400s", "ü"] {
            check(wrong, None);
        }
    }
}
