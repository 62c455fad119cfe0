//! `tidegate sample-app`: a test server, run until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use rehearsal::sample;
use tokio::net::TcpListener;

use crate::cli::SampleAppArguments;
use crate::commands::{block_on, complain, interrupted};
use crate::{exit, output};

pub(crate) fn run(arguments: &SampleAppArguments) -> ExitCode {
    let settings = match arguments.settings() {
        Ok(settings) => settings,
        Err(why) => {
            complain(&why);
            return exit::usage();
        }
    };
    block_on(async {
        match serve(arguments, settings).await {
            Ok(()) => exit::clean(),
            Err(error) => {
                complain(&format!("{} cannot be served: {error}", arguments.listen));
                exit::failed()
            }
        }
    })
}

async fn serve(
    arguments: &SampleAppArguments,
    settings: sample::SampleSettings,
) -> std::io::Result<()> {
    let interrupted = interrupted()?;
    let listener = TcpListener::bind(arguments.listen).await?;
    // Tests that listen on port 0 read the address from this first line.
    output::print(&format!("listening on {} name={}\n", listener.local_addr()?, settings.name))?;
    sample::serve(listener, settings, interrupted).await;
    Ok(())
}
