//! Tells the service manager how the door is doing (systemd's `sd_notify` protocol).
//!
//! One datagram per message, to the socket named by `NOTIFY_SOCKET`. Without that variable every
//! call is a no-op, so the caller never asks whether it runs under systemd.
//!
//! Invariant: a message is one datagram of whole `KEY=value` lines; text that comes from outside
//! can never add a line of its own.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// How long one message may wait for a service manager that does not read.
const SEND_WAIT_MAX: Duration = Duration::from_millis(500);

/// The longest status text sent, in bytes; the rest is cut at a character boundary.
const STATUS_BYTES_MAX: usize = 512;

/// The way to the service manager, or a no-op when there is none.
#[derive(Clone, Debug)]
pub struct Notifier {
    address: Option<SocketAddr>,
}

impl Notifier {
    /// The service manager named by `NOTIFY_SOCKET`; a no-op when it is not set or empty.
    ///
    /// # Errors
    /// `InvalidInput` when the variable holds neither an absolute path nor an abstract name
    /// (`@name`); `vsock:` addresses are not supported.
    pub fn from_environment() -> io::Result<Self> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::to(&name),
            Some(_) | None => Ok(Self { address: None }),
        }
    }

    /// The service manager that listens at `name`: an absolute path, or `@` and an abstract name.
    ///
    /// # Errors
    /// `InvalidInput` when `name` is neither, or longer than a Unix address may be.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "NOTIFY_SOCKET must be an absolute path or begin with `@`",
                ));
            }
        };
        Ok(Self { address: Some(address) })
    }

    /// A notifier that tells nobody anything.
    #[must_use]
    pub fn silent() -> Self {
        Self { address: None }
    }

    /// True when somebody listens to these messages.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.address.is_some()
    }

    /// The door serves (`READY=1`). Also ends a reload.
    ///
    /// # Errors
    /// The socket is gone or its reader is stuck; the door itself is not affected.
    pub fn ready(&self) -> io::Result<()> {
        self.send(&[NotifyState::Ready])
    }

    /// The door serves, and this is the service's process from now on (`MAINPID=`, `READY=1`): it
    /// took over from another one.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn took_over(&self) -> io::Result<()> {
        self.send(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready])
    }

    /// A reload begins (`RELOADING=1` with `MONOTONIC_USEC`, as `Type=notify-reload` wants);
    /// [`Self::ready`] ends it.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        if self.address.is_none() {
            return Ok(());
        }
        self.send(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// The door drains and stops (`STOPPING=1`).
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn stopping(&self) -> io::Result<()> {
        self.send(&[NotifyState::Stopping])
    }

    /// One line for `systemctl status`, at most 512 bytes; control characters become spaces.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn status(&self, text: &str) -> io::Result<()> {
        self.send(&[NotifyState::Status(&one_line(text))])
    }

    /// The door is alive (`WATCHDOG=1`); due at least every [`watchdog_interval`].
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn watchdog(&self) -> io::Result<()> {
        self.send(&[NotifyState::Watchdog])
    }

    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some(address) = &self.address else {
            return Ok(());
        };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_WAIT_MAX))?;
        // A datagram is sent whole or not at all, so the count carries no news.
        socket.send_to_addr(message.as_bytes(), address).map(|_sent| ())
    }
}

/// How often to call [`Notifier::watchdog`]: half of the manager's limit, as `sd_watchdog_enabled`
/// advises. `None` when the unit has no `WatchdogSec`, or it is meant for another process.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(|limit| limit / 2)
}

/// `text` as one line of at most [`STATUS_BYTES_MAX`] bytes: a line break would start another key.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(STATUS_BYTES_MAX));
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if line.len() + character.len_utf8() > STATUS_BYTES_MAX {
            break;
        }
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service manager's side: what one call sends to a real datagram socket.
    fn check(send: impl Fn(&Notifier) -> io::Result<()>, expected: impl Fn(&str) -> bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("tidegate-notify-{}-{:?}", std::process::id(), folder.path());
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();

        let abstract_name = format!("@{name}");
        for (receiver, address) in
            [(by_path, path.as_os_str()), (by_name, OsStr::new(&abstract_name))]
        {
            send(&Notifier::to(address).unwrap()).unwrap();
            let mut bytes = [0; 1024];
            let length = receiver.recv(&mut bytes).unwrap();
            let text = std::str::from_utf8(&bytes[..length]).unwrap();
            assert!(expected(text), "{text:?}");
        }
    }

    #[test]
    fn messages_follow_the_protocol() {
        check(Notifier::ready, |text| text == "READY=1\n");
        check(Notifier::stopping, |text| text == "STOPPING=1\n");
        check(Notifier::watchdog, |text| text == "WATCHDOG=1\n");
        check(
            |notifier| notifier.status("serving 2 listeners"),
            |text| text == "STATUS=serving 2 listeners\n",
        );
    }

    #[test]
    fn reloading_carries_the_monotonic_clock() {
        check(Notifier::reloading, |text| {
            let stamp = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| {
                rest.strip_suffix('\n').and_then(|stamp| stamp.parse::<u64>().ok())
            });
            stamp.is_some_and(|stamp| stamp > 0)
        });
    }

    #[test]
    fn a_status_is_one_short_line() {
        check(
            |notifier| notifier.status("ok\nSTOPPING=1\r\0"),
            |text| text == "STATUS=ok STOPPING=1  \n",
        );
        check(
            |notifier| notifier.status(&"é".repeat(400)),
            |text| text.len() == "STATUS=".len() + STATUS_BYTES_MAX + 1,
        );
    }

    #[test]
    fn without_a_manager_every_call_is_a_no_op() {
        let notifier = Notifier { address: None };
        assert!(!notifier.is_active());
        for result in [
            notifier.ready(),
            notifier.reloading(),
            notifier.stopping(),
            notifier.status("x"),
            notifier.watchdog(),
        ] {
            result.unwrap();
        }
    }

    #[test]
    fn other_addresses_are_refused_and_a_missing_socket_is_an_error() {
        for name in ["relative", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            let error = Notifier::to(OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let gone = Notifier::to(folder.path().join("gone").as_os_str()).unwrap();
        assert_eq!(gone.ready().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
