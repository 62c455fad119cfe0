//! The bytes beneath an HTTP/2 connection: the client's socket, with what was read of it before
//! its protocol was known in front, and the meter beside.
//!
//! The socket is shared with the connection's task, which ends it properly once the library is
//! done with it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::buffer::Buffer;
use net::clock;
use net::socket::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Flood, Meter};

/// What the library reads from and writes to.
#[derive(Debug)]
pub(crate) struct Carrier {
    stream: Rc<RefCell<Stream>>,
    /// What was read already.
    first: Option<Buffer>,
    meter: Rc<RefCell<Meter>>,
}

impl Carrier {
    /// Everything from `first` on, which was read from `stream`.
    pub(crate) fn new(
        stream: &Rc<RefCell<Stream>>,
        first: Option<Buffer>,
        meter: &Rc<RefCell<Meter>>,
    ) -> Self {
        Self { stream: Rc::clone(stream), first, meter: Rc::clone(meter) }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        if let Some(first) = &mut this.first {
            let bytes = first.filled();
            let count = bytes.len().min(into.remaining());
            into.put_slice(bytes.get(..count).unwrap_or_default());
            first.consume(count);
            if first.is_empty() {
                this.first = None;
            }
        } else {
            ready!(Pin::new(&mut *this.stream.borrow_mut()).poll_read(context, into))?;
        }
        let read = into.filled().get(before..).unwrap_or_default();
        let mut meter = this.meter.borrow_mut();
        meter.received(read, clock::now());
        if meter.flood() == Some(Flood::NoSettings) {
            // The library would answer it.
            into.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let count = ready!(Pin::new(&mut *stream).poll_write_vectored(context, parts))?;
        let (mut meter, mut left) = (self.meter.borrow_mut(), count);
        for part in parts {
            let written = part.get(..left.min(part.len())).unwrap_or_default();
            meter.sent(written);
            left -= written.len();
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
