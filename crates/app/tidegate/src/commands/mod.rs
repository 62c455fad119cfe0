//! One module per command: arguments in, exit code out.

pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod dialect;
pub(crate) mod drill;
pub(crate) mod drill_watchdog;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod load;
pub(crate) mod papers;
pub(crate) mod reload;
pub(crate) mod sample_app;
pub(crate) mod status;
pub(crate) mod table;

use std::io::Write as _;
use std::process::ExitCode;

use crate::exit;
use crate::output::printable_lines;

/// Says on stderr why a command failed.
pub(crate) fn complain(why: &str) {
    let line = format!("tidegate: {}\n", printable_lines(why));
    // Without stderr there is nobody left to tell.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// An error and its sources, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Prints data and gives `code`, or complains when stdout cannot be written.
pub(crate) fn finish(text: &str, code: ExitCode) -> ExitCode {
    match crate::output::print(text) {
        Ok(()) => code,
        Err(error) => {
            complain(&format!("stdout cannot be written: {error}"));
            exit::failed()
        }
    }
}

/// Runs a command that waits, on a runtime of one thread.
pub(crate) fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            exit::failed()
        }
    }
}

/// Ends at SIGTERM, at Ctrl-C, and when the terminal goes away.
///
/// # Errors
/// When the signals cannot be watched.
pub(crate) fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
