//! Where connections read into, and when what was read had arrived.
//!
//! A generator that looks at its sockets only when the next request is due sleeps half as often,
//! and would measure its own sleep. So the kernel stamps what it receives (SO_TIMESTAMPNS), and
//! latency counts up to the stamp. Invariant: without a stamp, the moment of the read counts.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use model::Timestamp;
use net::clock;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use rustix::io::Errno;

/// What one read takes at most.
const READ_BYTES: usize = 128 * 1_024;

/// The bytes of the last read; lent to the connection that reads.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Where the kernel puts a stamp, if it is asked for any.
    control: Option<Vec<u8>>,
    arrived: Option<Timestamp>,
}

impl Inbox {
    /// With `stamped`, arrivals are told from reads.
    pub(super) fn new(stamped: bool) -> Self {
        let control = stamped.then(|| nix::cmsg_space!(TimeSpec));
        Self { bytes: vec![0; READ_BYTES], control, arrived: None }
    }

    /// Asks for stamps of what this socket receives, if they are wanted.
    pub(super) fn prepare(&self, socket: &OwnedFd) {
        if self.control.is_some() {
            // Where the system refuses, the moment of the read counts.
            setsockopt(socket, sockopt::ReceiveTimestampns, &true).unwrap_or_default();
        }
    }

    /// Reads once, and never waits.
    pub(super) fn read(&mut self, socket: &OwnedFd) -> Result<&mut [u8], Errno> {
        self.arrived = None;
        let count = match &mut self.control {
            None => rustix::io::read(socket, &mut self.bytes)?,
            Some(control) => {
                let (count, stamp) = stamped_read(socket, &mut self.bytes, control)?;
                self.arrived = stamp.map(moment);
                count
            }
        };
        Ok(self.bytes.get_mut(..count).unwrap_or_default())
    }

    /// Whether a read of so many bytes took all there was room for.
    pub(super) fn is_full(&self, count: usize) -> bool {
        count == self.bytes.len()
    }

    /// When what was read last had arrived, from `earliest` to now.
    pub(super) fn arrived(&self, earliest: Timestamp) -> Timestamp {
        let now = clock::now();
        self.arrived.map_or(now, |arrived| arrived.max(earliest).min(now))
    }
}

fn stamped_read(
    socket: &OwnedFd,
    bytes: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, Option<Duration>), Errno> {
    let mut parts = [IoSliceMut::new(bytes)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty());
    let message =
        received.map_err(|error| Errno::from_io_error(&error.into()).unwrap_or(Errno::IO))?;
    let stamp = message.cmsgs().ok().and_then(|mut found| {
        found.find_map(|part| {
            let ControlMessageOwned::ScmTimestampns(stamp) = part else { return None };
            Some(Duration::from(stamp))
        })
    });
    Ok((message.bytes, stamp))
}

/// A moment of the wall clock on the monotonic one.
fn moment(wall: Duration) -> Timestamp {
    let ago = clock::wall().duration_since(SystemTime::UNIX_EPOCH + wall);
    clock::now() - ago.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_read_late_had_arrived_early() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let socket = OwnedFd::from(socket);
        let mut inbox = Inbox::new(true);
        inbox.prepare(&socket);
        // Stamps begin a moment after the first socket of a machine asks for them.
        let ahead = (0..1_000).any(|_| {
            let sent = clock::now();
            peer.write_all(b"answer").unwrap();
            let read_at = sent + Duration::from_millis(2);
            while clock::now() < read_at {
                std::hint::spin_loop();
            }
            assert_eq!(inbox.read(&socket).unwrap(), b"answer");
            let arrived = inbox.arrived(sent);
            assert!(arrived >= sent && arrived <= clock::now());
            arrived < read_at
        });
        assert!(ahead, "the kernel's stamps are used");
        assert_eq!(Inbox::new(false).read(&socket).unwrap_err(), Errno::AGAIN);
    }
}
