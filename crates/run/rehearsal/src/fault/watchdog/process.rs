//! A process that is held by its pidfd: signals reach that very process or nobody.
//!
//! A process id is given to somebody else once its process is gone; a pidfd never is.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
};
use tokio::time::timeout;

/// Between SIGTERM and SIGKILL, and again for the kernel to end what was killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at whether a process ended.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// A process that ran when it was taken hold of.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    /// Takes hold of a process.
    ///
    /// # Errors
    /// There is none of this id.
    pub(super) fn hold(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { pid, handle: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Whether it ended, also when nobody has reaped it yet.
    pub(super) fn is_gone(&self) -> bool {
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut handles, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// Sends a signal. A process that is gone needs none.
    ///
    /// # Errors
    /// It belongs to somebody else.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends it, and with `group` the group it leads: politely, and then surely.
    ///
    /// # Errors
    /// In words: it belongs to somebody else, or outlives SIGKILL.
    pub(super) async fn end(&self, group: bool) -> Result<(), String> {
        // The group is known by a number alone: it is the right one while its leader is there.
        let group = group && !self.is_gone() && self.leads();
        let told = [Signal::TERM, Signal::CONT].iter().try_for_each(|&signal| {
            self.signal(signal)?;
            if group { self.signal_group(signal) } else { Ok(()) }
        });
        told.map_err(|error: io::Error| error.to_string())?;
        let ended = timeout(PATIENCE, self.gone()).await.is_ok();
        if group {
            // Those of the group who are left keep its number from being given to others.
            self.signal_group(Signal::KILL).map_err(|error| error.to_string())?;
        }
        if ended {
            return Ok(());
        }
        self.signal(Signal::KILL).map_err(|error| error.to_string())?;
        let killed = timeout(PATIENCE, self.gone()).await;
        killed.map_err(|_elapsed| "it outlives SIGKILL".to_owned())
    }

    fn leads(&self) -> bool {
        getpgid(Some(self.pid)).is_ok_and(|group| group == self.pid)
    }

    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn gone(&self) {
        while !self.is_gone() {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}
