//! `tidegate drill-watchdog`: the process that `drill run` starts beside itself, so that what it
//! broke is undone even when it is killed. Not for people: its input is a pipe.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use rehearsal::fault::watchdog::{Grounds, own_session, serve};
use rustix::process::setsid;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::{block_on, complain};
use crate::exit;

pub(crate) fn run(scratch: &Path) -> ExitCode {
    block_on(async {
        let served = match detach() {
            Ok(detached) => {
                let scratch = scratch.to_owned();
                let grounds = Grounds { scratch, session: detached.session };
                serve(detached.input, detached.output, grounds).await
            }
            Err(error) => Err(format!("`drill run` starts this command with pipes: {error}")),
        };
        match served {
            Ok(()) => exit::clean(),
            Err(why) => {
                complain(&why);
                exit::failed()
            }
        }
    })
}

/// What ties this process to the drill, once nothing else does.
struct Detached {
    input: pipe::Receiver,
    output: pipe::Sender,
    /// The session of the drill.
    session: Option<u32>,
    /// Watched and never asked: these signals end the drill, and its end is for this process to survive.
    _ignored: [Signal; 3],
}

fn detach() -> io::Result<Detached> {
    let ignored = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let session = own_session();
    // Fails for the leader of a process group alone, which the drill does not make of it.
    if let Err(error) = setsid() {
        tracing::warn!(%error, "the watchdog stays in the drill's session");
    }
    // No folder may be kept from being removed, or be taken for a place of the drill, for its sake.
    std::env::set_current_dir("/")?;
    Ok(Detached {
        input: pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?,
        output: pipe::Sender::from_owned_fd(io::stdout().as_fd().try_clone_to_owned()?)?,
        session,
        _ignored: ignored,
    })
}
