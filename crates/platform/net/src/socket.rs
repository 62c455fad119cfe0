//! A byte stream that is polled: plain TCP or TLS, client side or server side.
//!
//! [`Socket`] is the thin trait that the connection state machines are written against;
//! another driver (or a test) can stand behind it. A freshly accepted TCP socket is tried
//! first and registered with the runtime only once it would block: with `TCP_DEFER_ACCEPT`
//! its first request is already there, so a one-request connection never enters epoll.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A byte stream that is polled.
pub trait Socket {
    /// Reads into `into`; 0 means the peer ended its side.
    ///
    /// # Errors
    /// As the system says.
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `parts`, in order; returns how many bytes were taken.
    ///
    /// # Errors
    /// As the system says.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Hands over what the socket itself still holds (TLS records).
    ///
    /// # Errors
    /// As the system says.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the writing side.
    ///
    /// # Errors
    /// As the system says.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Plain TCP or TLS.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(LazyTcp),
    /// TLS over TCP, either side.
    Tls(Box<TlsStream<TcpStream>>),
    /// Bytes that a part of this worker makes of another protocol, such as HTTP/2.
    Pipe(crate::pipe::End),
}

/// A TCP socket that registers with the runtime when it first would block.
#[derive(Debug)]
pub enum LazyTcp {
    /// Nonblocking, not yet registered.
    Fresh(std::net::TcpStream),
    /// Registered.
    Registered(TcpStream),
    /// Registration failed; the socket is gone.
    Gone,
}

impl LazyTcp {
    /// Registers the socket if it is not yet.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn register(&mut self) -> io::Result<&mut TcpStream> {
        if let Self::Fresh(_) = self
            && let Self::Fresh(fresh) = std::mem::replace(self, Self::Gone)
        {
            *self = Self::Registered(TcpStream::from_std(fresh)?);
        }
        match self {
            Self::Registered(stream) => Ok(stream),
            Self::Fresh(_) | Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Where the peer connected to.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Fresh(stream) => stream.local_addr(),
            Self::Registered(stream) => stream.local_addr(),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The registered socket, for a TLS handshake.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn into_tokio(mut self) -> io::Result<TcpStream> {
        self.register()?;
        match self {
            Self::Registered(stream) => Ok(stream),
            Self::Fresh(_) | Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Stream {
    /// The certificates that the other end showed, its own first; none where it showed none.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Tls(tls) => tls.get_ref().1.peer_certificates().unwrap_or_default(),
            Self::Tcp(_) | Self::Pipe(_) => &[],
        }
    }

    /// A socket from `accept`, nonblocking.
    #[must_use]
    pub fn accepted(socket: std::net::TcpStream) -> Self {
        Self::Tcp(LazyTcp::Fresh(socket))
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// As the system says.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Ready once the peer has reset the connection. A peer that only ended its writing side, or
    /// sent more bytes, is still there. Registers the socket if it is not yet.
    pub fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [MaybeUninit::uninit(); 1];
        let tcp = match self {
            Self::Tcp(tcp) => match tcp.register() {
                Ok(tcp) => &*tcp,
                Err(_) => return Poll::Ready(()),
            },
            Self::Tls(tls) => tls.get_ref().0,
            Self::Pipe(end) => return end.poll_reset(context),
        };
        match tcp.poll_peek(context, &mut ReadBuf::uninit(&mut byte)) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// True when an idle connection is of no more use: the peer closed it, or sent bytes
    /// that nobody asked for. Costs no system call while nothing arrived.
    pub fn is_stale(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.poll_read(&mut context, &mut byte).is_ready()
    }
}

impl Socket for LazyTcp {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Self::Fresh(fresh) = self {
            match fresh.read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
        let mut buffer = ReadBuf::new(into);
        ready!(Pin::new(self.register()?).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::Fresh(fresh) = self {
            let written = match parts {
                [one] => fresh.write(one),
                parts => fresh.write_vectored(parts),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
        let stream = Pin::new(self.register()?);
        match parts {
            // `send` is cheaper than `writev`.
            [one] => stream.poll_write(context, one),
            parts => stream.poll_write_vectored(context, parts),
        }
    }

    fn poll_flush(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Fresh(fresh) => Poll::Ready(fresh.shutdown(std::net::Shutdown::Write)),
            Self::Registered(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl Socket for Stream {
    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read(context, into),
            Self::Tls(tls) => {
                let mut buffer = ReadBuf::new(into);
                ready!(Pin::new(tls.as_mut()).poll_read(context, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
            Self::Pipe(end) => end.poll_read(context, into),
        }
    }

    #[inline]
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write(context, parts),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(context, parts),
            Self::Pipe(end) => end.poll_write(context, parts),
        }
    }

    #[inline]
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_flush(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(context),
            Self::Pipe(end) => end.poll_flush(context),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(context),
            Self::Pipe(end) => end.poll_shutdown(context),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // These read into memory as it is: zeroing all the room first would cost more than
            // what is read as a rule.
            Self::Tcp(tcp) => Pin::new(tcp.register()?).poll_read(context, into),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(context, into),
            Self::Pipe(end) => {
                let count = ready!(end.poll_read(context, into.initialize_unfilled()))?;
                into.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Socket::poll_write(self.get_mut(), context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Socket::poll_write(self.get_mut(), context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Socket::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Socket::poll_shutdown(self.get_mut(), context)
    }
}
