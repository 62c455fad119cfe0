//! The gRPC server behind the doors: answers each call with one small message and status 0, over
//! HTTP/2 without TLS.

use std::net::Ipv4Addr;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A message of 100 bytes behind its prefix: not compressed, and its length.
const MESSAGE_BYTES: usize = 100;

/// Where to listen.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
}

/// A message of so many bytes as gRPC frames it.
pub(super) fn message() -> Vec<u8> {
    let length = u32::try_from(MESSAGE_BYTES).unwrap_or(0);
    [&[0][..], &length.to_be_bytes(), &[b'x'; MESSAGE_BYTES]].concat()
}

/// Serves until the process is ended.
pub(super) fn part(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .context("the port cannot be listened on")?;
        let answer = Bytes::from(message());
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.spawn(connection(stream, answer.clone()));
            while connections.try_join_next().is_some() {}
        }
    })
}

/// A connection to its end; what goes wrong on it is the peer's.
async fn connection(stream: TcpStream, answer: Bytes) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(10_000).initial_connection_window_size(1 << 20);
    let Ok(mut frames) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = frames.accept().await {
        calls.spawn(call(request.into_body(), respond, answer.clone()));
        while calls.try_join_next().is_some() {}
    }
}

async fn call(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    answer: Bytes,
) {
    while let Some(Ok(data)) = body.data().await {
        if body.flow_control().release_capacity(data.len()).is_err() {
            return;
        }
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    if stream.send_data(answer, false).is_ok() {
        // A peer that is gone needs no trailers.
        drop(stream.send_trailers(trailers));
    }
}
