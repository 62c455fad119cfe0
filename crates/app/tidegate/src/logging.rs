//! Where the process's own log goes, and what a panic says.
//!
//! stderr, always: stdout is for data. The level comes from `--log`, not from the environment,
//! so that a service behaves the same whoever starts it.

use tracing_subscriber::EnvFilter;

use crate::cli::{LogArguments, LogFormat};
use crate::output::colours_on_stderr;

/// Sets up the log and the panic hook.
///
/// # Errors
/// In words, when the filter is not understood.
pub(crate) fn set_up(arguments: &LogArguments) -> Result<(), String> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| {
        format!("--log {:?}: {error}; try `info`, `debug` or `info,http_door=debug`", arguments.log)
    })?;
    // A log that cannot be written (stderr closed) must not end the process: the subscriber's own
    // complaint about it would panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let set = match arguments.log_format {
        LogFormat::Human => builder.with_ansi(colours_on_stderr()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    set.map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// One line for a panic, escaped, in the format of the rest of the log.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(target: "panic", ?message, place, thread = std::thread::current().name(), "a defect: please report it");
}
