//! A thin cover over epoll for the measuring parts, which must cost little themselves.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 512;

/// Waits for many sockets; each is known by a token.
pub(super) struct Epoll {
    descriptor: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    pub(super) fn new() -> anyhow::Result<Self> {
        let descriptor = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { descriptor, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches a socket for input, and for output as well when `output` is set.
    pub(super) fn add(&self, socket: impl AsFd, token: u64, output: bool) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.descriptor, socket, data, flags(output))?)
    }

    /// Changes whether output is watched.
    pub(super) fn change(&self, socket: impl AsFd, token: u64, output: bool) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.descriptor, socket, data, flags(output))?)
    }

    /// Waits until a socket is ready or the time is over; gives the tokens that are ready.
    ///
    /// The wait itself is `ppoll`, whose timeout has nanoseconds on every kernel.
    pub(super) fn wait(
        &mut self,
        at_most: Option<Duration>,
        tokens: &mut Vec<u64>,
    ) -> anyhow::Result<()> {
        tokens.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Some(at_most) = at_most {
            let limit = Timespec {
                tv_sec: i64::try_from(at_most.as_secs())?,
                tv_nsec: i64::from(at_most.subsec_nanos()),
            };
            let mut own = [PollFd::new(&self.descriptor, PollFlags::IN)];
            retry(|| poll(&mut own, Some(&limit)))?;
        }
        self.events.clear();
        let timeout = at_most.map(|_| &now);
        let spare = &mut self.events;
        loop {
            let taken =
                epoll::wait(&self.descriptor, rustix::buffer::spare_capacity(spare), timeout);
            match taken {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokens.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}

fn flags(output: bool) -> epoll::EventFlags {
    let input = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if output { input | epoll::EventFlags::OUT } else { input }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}
