//! A sample application: an HTTP/1.1 server that is as slow, failing or ill as it is told.
//!
//! It serves `concurrency` requests at once and lets the rest wait, as a real server with a
//! fixed number of workers does; that is what makes its latency grow under load.
//! Invariant: connections, queue, bodies and lost memory are bounded.

mod answers;
mod bytes;
mod database;
mod gate;
mod illness;
mod processor;
mod remote;
mod work;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use model::sample::{Distribution, RouteCost, SampleSettings};
pub use remote::control;
pub use work::GAUGES;

use work::Sample;

/// Connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 10_000;
/// For the answers under way when the application ends.
const GRACE: Duration = Duration::from_secs(5);
/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Shutdown,
    /// It lost as much memory as it may: all connections were cut at once. Its process should end
    /// with exit code 137, as one does that the system kills for want of memory.
    OutOfMemory,
}

/// Serves until `shutdown` ends, then lets the requests under way end for up to 5 s.
///
/// `settings` must have been [checked](SampleSettings::checked). With pauses set, the thread that
/// polls this is blocked for their time: give it a runtime of one thread.
///
/// # Errors
/// When there is no thread to be had that burns CPU.
pub async fn serve(
    listener: TcpListener,
    settings: SampleSettings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Ended> {
    let sample = Arc::new(Sample::new(settings)?);
    let mut pauses = JoinSet::new();
    pauses.spawn(illness::pauses(sample.watch(), Arc::clone(&sample.world)));
    let mut leak = pin!(illness::leak(sample.watch(), &sample.leaked_bytes));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = &mut leak => {
                tracing::error!(bytes = sample.settings().leak_bytes_max, "out of memory");
                return Ok(Ended::OutOfMemory);
            }
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, Arc::clone(&sample), stopped.clone())); }
                Err(error) => pause(&error).await,
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection of the sample application failed");
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    drop(
        tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} })
            .await,
    );
    sample.end_tunnels();
    Ok(Ended::Shutdown)
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "the sample application could not accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn converse(stream: TcpStream, sample: Arc<Sample>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = service_fn(move |request| {
        let sample = Arc::clone(&sample);
        async move { answers::answer(&sample, request).await }
    });
    let mut builder = http1::Builder::new();
    builder.pipeline_flush(true);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        // Its errors are the peer's: nothing here can act on them.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}
