//! Passes open sockets to another process, with a text that says what they are (`SCM_RIGHTS`).
//!
//! On the wire: the length of the text and the number of descriptors, four bytes each, most
//! significant first; the text; then the descriptors, up to 32 with each further byte.
//! Invariant: what is received is bounded, close-on-exec, and complete or an error.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Descriptors in one message.
const BATCH: usize = 32;
/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The most descriptors: as many listeners as there may be, for as many workers.
const SOCKETS_MAX: usize = 8_192;

/// Sends `text` and `sockets`. The stream must be blocking; its timeouts hold.
///
/// # Errors
/// `InvalidInput` when there is more than a receiver takes; else as the system says.
pub fn send(mut stream: &UnixStream, text: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    if text.len() > TEXT_BYTES_MAX || sockets.len() > SOCKETS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much to hand over"));
    }
    for number in [text.len(), sockets.len()] {
        let number = u32::try_from(number).expect("both were just bounded");
        stream.write_all(&number.to_be_bytes())?;
    }
    stream.write_all(text.as_bytes())?;
    for batch in sockets.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        rustix::net::sendmsg(stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives what [`send`] sent. The stream must be blocking; its timeouts hold.
///
/// # Errors
/// `InvalidData` when it is not what [`send`] sends; else as the system says.
pub fn receive(mut stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut lengths = [[0; 4]; 2];
    for length in &mut lengths {
        stream.read_exact(length)?;
    }
    let [length, count] =
        lengths.map(|bytes| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX));
    if length > TEXT_BYTES_MAX || count > SOCKETS_MAX {
        return Err(invalid("too much is handed over"));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|_bytes| invalid("the text is no UTF-8"))?;
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let parts = &mut [IoSliceMut::new(&mut byte)];
        let received = rustix::net::recvmsg(stream, parts, &mut control, flags)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if received.bytes != 1 || sockets.len() == before || sockets.len() > count {
            return Err(invalid("fewer or more descriptors came than were announced"));
        }
    }
    Ok((text, sockets))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_arrive_in_order_and_are_the_same() {
        for count in [0, 1, BATCH, BATCH + 1, 100] {
            let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
            let sockets: Vec<TcpListener> = (0..count).map(|_| listener()).collect();
            let (here, there) = UnixStream::pair().unwrap();
            let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
            send(&here, "what they are", &descriptors).unwrap();
            let (text, received) = receive(&there).unwrap();
            assert_eq!(text, "what they are");
            let address = |socket: &TcpListener| socket.local_addr().unwrap();
            let received: Vec<_> = received.into_iter().map(TcpListener::from).collect();
            assert_eq!(
                received.iter().map(address).collect::<Vec<_>>(),
                sockets.iter().map(address).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn what_is_too_much_or_cut_short_is_an_error() {
        let check = |bytes: &[u8], expected: io::ErrorKind| {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);
            assert_eq!(receive(&there).unwrap_err().kind(), expected, "{bytes:?}");
        };
        check(&[0, 0, 0], io::ErrorKind::UnexpectedEof);
        check(&[0, 0, 0, 2, 0, 0, 0, 0, b'a'], io::ErrorKind::UnexpectedEof);
        check(&[0, 0, 0, 0, 0, 0, 0, 1], io::ErrorKind::InvalidData);
        check(&[0, 0, 0, 0, 0, 0, 0, 1, b'.'], io::ErrorKind::InvalidData);
        check(&[0, 0, 0, 1, 0, 0, 0, 0, 0xff], io::ErrorKind::InvalidData);
        check(&[0xff; 8], io::ErrorKind::InvalidData);
    }
}
