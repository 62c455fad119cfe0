//! The bytes between a socket and the protocol: what came and was not read yet, what is to be sent.
//!
//! Invariant: nothing blocks. An empty input and a full output are `Pending`, and whoever changes
//! that polls the protocol again.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of output that wait for the socket; a frame more may be there.
const OUTPUT_BYTES_MAX: usize = 256 * 1_024;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) input: Vec<u8>,
    /// How much of the input was read.
    read: usize,
    /// No more input comes.
    pub(super) ended: bool,
    pub(super) output: Vec<u8>,
    /// Whether the protocol has more to send than there was room for.
    pub(super) blocked: bool,
}

/// One of the two ends that share the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    bytes: Arc<Mutex<Bytes>>,
}

impl Wire {
    pub(super) fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.lock();
        let left = bytes.input.get(bytes.read..).unwrap_or_default();
        if left.is_empty() {
            return if bytes.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..taken).unwrap_or_default());
        bytes.read += taken;
        if bytes.read == bytes.input.len() {
            bytes.input.clear();
            bytes.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = self.lock();
        if bytes.output.len() >= OUTPUT_BYTES_MAX {
            bytes.blocked = true;
            return Poll::Pending;
        }
        bytes.output.extend_from_slice(written);
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
