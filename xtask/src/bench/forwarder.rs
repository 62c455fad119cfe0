//! The floor: bytes in, bytes out, on the runtime that the door uses, and nothing else.
//!
//! What a door costs above this is what its understanding of HTTP costs.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Room for a head and 16 KiB of body, so that the large scenario needs one read.
const BUFFER_BYTES: usize = 32 * 1024;

/// From where, to where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    to: SocketAddr,
}

/// Forwards until it is ended.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(serve(options.port, options.to)))
}

async fn serve(port: u16, to: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                connections.spawn_local(forward(client, to));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection; an error on either side ends both.
async fn forward(mut client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}
