//! What the defaults and limits depend on outside the text.
//!
//! The only place that reads the environment: everything else takes an [`Environment`], so that
//! tests state theirs and a check gives the same answer everywhere.

use std::path::PathBuf;

use model::configuration::State;

/// The machine and user a configuration is checked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The soft limit of open file descriptors.
    pub open_files_max: u64,
    /// Processors this process may use, at least 1.
    pub processors: usize,
    /// Whether the process runs as root.
    pub user_is_root: bool,
    /// The effective user id.
    pub uid: u32,
    /// `$XDG_RUNTIME_DIR`, if set to an absolute path.
    pub runtime_dir: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, which systemd sets, if it is an absolute path; of several the first.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, or else `$HOME/.local/state`, if that is an absolute path.
    pub state_home: Option<PathBuf>,
    /// The wall clock, in seconds of Unix time: what certificates are judged by.
    pub now_unix_s: i64,
}

impl Environment {
    /// The environment of this process, as it is now.
    #[must_use]
    pub fn detect() -> Self {
        let uid = rustix::process::geteuid();
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            // `None` means no limit.
            open_files_max: open_files.current.unwrap_or(u64::MAX),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            user_is_root: uid.is_root(),
            uid: uid.as_raw(),
            runtime_dir: folder("XDG_RUNTIME_DIR"),
            state_directory: std::env::var_os("STATE_DIRECTORY")
                .as_deref()
                .and_then(|folders| std::env::split_paths(folders).next())
                .filter(|path| path.is_absolute()),
            state_home: folder("XDG_STATE_HOME")
                .or_else(|| folder("HOME").map(|home| home.join(".local/state"))),
            now_unix_s: rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec,
        }
    }

    /// Where the admin socket is unless the configuration says otherwise.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        if self.user_is_root {
            return PathBuf::from("/run/tidegate/admin.sock");
        }
        match &self.runtime_dir {
            Some(folder) => folder.join("tidegate/admin.sock"),
            None => PathBuf::from(format!("/tmp/tidegate-{}/admin.sock", self.uid)),
        }
    }

    /// Where generations are kept unless the configuration says otherwise. A folder that systemd
    /// made for the service was asked for, so it is required; the others are only a habit.
    pub(crate) fn state(&self) -> Option<State> {
        if let Some(folder) = &self.state_directory {
            return Some(State { folder: folder.clone(), required: true });
        }
        let folder = if self.user_is_root {
            PathBuf::from("/var/lib/tidegate")
        } else {
            self.state_home.as_ref()?.join("tidegate")
        };
        Some(State { folder, required: false })
    }

    /// Half of the open files: a client's connection may need a second one to a server.
    pub(crate) fn connections_limit(&self) -> u32 {
        u32::try_from(self.open_files_max / 2).unwrap_or(u32::MAX).max(1)
    }

    /// Three eighths of the open files leave a quarter for idle server connections, listeners
    /// and files.
    pub(crate) fn connections_default(&self) -> u32 {
        let share = self.open_files_max / 8 * 3;
        u32::try_from(share).unwrap_or(u32::MAX).clamp(1, 100_000)
    }
}

/// The absolute path in an environment variable.
fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
