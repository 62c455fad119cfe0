//! The admin interface's Unix socket: only this user and root may reach it.
//!
//! Invariant: a socket that somebody answers on, and a path that is not a socket, are never
//! removed; and the socket is never open to others, not even for a moment.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use super::ListenError;

/// Connections that wait to be accepted. An admin interface has few clients.
const BACKLOG: i32 = 64;

/// A listening Unix socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another door may have put its own socket at the path since.
    identity: (u64, u64),
    /// Another process serves it from now on.
    left: AtomicBool,
}

impl UnixSocket {
    /// The listener, non-blocking and close-on-exec. A clone of it may outlive this guard.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// A socket that another process made and handed over, with the file at `path`.
    ///
    /// # Errors
    /// [`ListenError::UnixSystem`] when there is no such file.
    pub fn adopt(listener: UnixListener, path: &Path) -> Result<Self, ListenError> {
        let failed = |doing: &'static str| {
            move |source| ListenError::UnixSystem { path: path.to_path_buf(), doing, source }
        };
        listener.set_nonblocking(true).map_err(failed("taking it over"))?;
        let found = std::fs::symlink_metadata(path).map_err(failed("looking at the path"))?;
        let identity = (found.dev(), found.ino());
        Ok(Self { listener, path: path.to_path_buf(), identity, left: AtomicBool::new(false) })
    }

    /// Leaves the file where it is when this is dropped: another process has the socket.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        let left = self.left.load(Ordering::Relaxed);
        if ours
            && !left
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket stays behind");
        }
    }
}

/// Listens on a Unix socket of mode 0600. A missing folder is created with mode 0700; a socket
/// that nobody answers on is replaced.
///
/// # Errors
/// [`ListenError::UnixInUse`] when a process answers, [`ListenError::UnixNotSocket`] when the
/// path is something else, [`ListenError::UnixSystem`] for all the rest (a path over 107 bytes, a
/// folder that cannot be written).
pub fn bind_unix(path: &Path) -> Result<UnixSocket, ListenError> {
    let failed = |doing: &'static str| {
        move |source| ListenError::UnixSystem { path: path.to_path_buf(), doing, source }
    };
    let address = SockAddr::unix(path).map_err(failed("the path (at most 107 bytes)"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("creating the folder"))?;
    // Two doors that start together must not both find the same stale socket: the second would
    // remove the first one's. The lock ends with the file.
    let lock = File::open(folder).map_err(failed("opening the folder"))?;
    lock.lock().map_err(failed("locking the folder"))?;
    remove_stale(path, &address)?;

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(failed("socket"))?;
    // On Linux the file takes the mode that the descriptor has at `bind`, so it is never wider.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(0o600)).map_err(failed("setting the mode"))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&address).map_err(failed("bind"))?;
    let found = std::fs::symlink_metadata(path).map_err(failed("reading the mode"))?;
    let guard = UnixSocket {
        listener: UnixListener::from(OwnedFd::from(socket)),
        path: path.to_path_buf(),
        identity: (found.dev(), found.ino()),
        left: AtomicBool::new(false),
    };
    rustix::net::listen(&guard.listener, BACKLOG)
        .map_err(|error| failed("listen")(io::Error::from(error)))?;
    Ok(guard)
}

/// Removes a socket that nobody answers on; leaves everything else.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), ListenError> {
    let failed = |doing: &'static str| {
        move |source| ListenError::UnixSystem { path: path.to_path_buf(), doing, source }
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at the path")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::UnixNotSocket { path: path.to_path_buf() });
        }
        Ok(_) => {}
    }
    // Non-blocking: a live process whose queue is full answers "try again" instead of hanging us.
    let caller = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(failed("socket"))?;
    let Err(error) = caller.connect(address) else {
        return Err(ListenError::UnixInUse { path: path.to_path_buf() });
    };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            std::fs::remove_file(path).map_err(failed("removing the stale socket"))
        }
        Some(libc::ENOENT) => Ok(()),
        Some(libc::EAGAIN) => Err(ListenError::UnixInUse { path: path.to_path_buf() }),
        Some(_) | None => Err(failed("asking whether anybody answers")(error)),
    }
}
