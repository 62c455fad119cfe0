//! The front door of a stage, whichever it is: started, given configurations, looked at, ended.
//!
//! With the guard on, a change is checked before the door sees it, as its operator would do;
//! without, it goes live as it is. Invariant: one change at a time; a change counts as applied
//! only once the door itself says that it is live.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Name;
use model::drill::DoorSetup;
use rustix::process::{Resource, Signal, geteuid, getrlimit};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::look::{PATIENCE, Seen};
use super::plan::Plan;
use super::ports::{free_address, is_taken};
use super::process::{Place, Process};
use super::{Applied, FrontDoor, NotApplied, TidegateTools, haproxy, nginx, tidegate};

/// For the door to start, and to find its servers.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// For a change to go live.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For the door to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// For a check of a configuration, and for a version.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at whether something has happened.
const LOOK_PAUSE: Duration = Duration::from_millis(25);
/// From the first answer of a new generation until its predecessor has ceased to accept: nginx
/// lets both accept for a tenth of a second.
const SETTLE: Duration = Duration::from_millis(200);
/// Ports that are tried.
const STARTS_MAX: usize = 3;
/// Open files where the system sets no limit.
const OPEN_FILES: u64 = 65_536;
/// Folders of system programs that the search path of ordinary users often lacks.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A running front door.
pub(super) struct Door {
    front: FrontDoor,
    guard: bool,
    place: Place,
    tools: Arc<dyn TidegateTools>,
    program: PathBuf,
    version: String,
    /// Names and addresses of all servers, as the door reaches them.
    servers: Vec<(Name, SocketAddr)>,
    /// What it starts with: its operator has answered for that.
    first: DoorSetup,
    listen: SocketAddr,
    state: Mutex<State>,
}

struct State {
    process: Option<Process>,
    generation: u64,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Door")
            .field("front", &self.front)
            .field("guard", &self.guard)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// Starts it in front of these servers, and waits until it serves.
    pub(super) async fn raise(
        (front, guard): (FrontDoor, bool),
        place: Place,
        tools: Arc<dyn TidegateTools>,
        servers: Vec<(Name, SocketAddr)>,
        setup: &DoorSetup,
    ) -> Result<Self, String> {
        let (program, version) = find(front, &place.executable).await?;
        let listen = free_address()?;
        let state = Mutex::new(State { process: None, generation: 1 });
        let first = setup.clone();
        let mut door =
            Self { front, guard, place, tools, program, version, servers, first, listen, state };
        let mut tries = 1;
        loop {
            match door.start(setup).await {
                Ok(()) => return Ok(door),
                Err(why) if tries < STARTS_MAX && is_taken(&why) => tries += 1,
                Err(why) => return Err(why),
            }
            door.listen = free_address()?;
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listen
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    async fn start(&self, setup: &DoorSetup) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let folder = &self.place.folder;
        write(&self.configuration_file(), &self.configuration(setup, state.generation))?;
        let name = self.front.as_str();
        let mut process = match self.front {
            FrontDoor::Tidegate => self.place.tidegate(name, &tidegate::arguments(folder)).await?,
            FrontDoor::Nginx => {
                self.place.other(name, &self.program, &nginx::arguments(folder)).await?
            }
            FrontDoor::Haproxy => {
                self.place.other(name, &self.program, &haproxy::arguments(folder)).await?
            }
        };
        let ready =
            tokio::time::timeout(START_TIMEOUT, self.serves(&mut process, state.generation));
        let wrong = match ready.await {
            Ok(Ok(())) => {
                state.process = Some(process);
                return Ok(());
            }
            Ok(Err(why)) => why,
            Err(_) => {
                process.wrong(&format!("it does not serve after {} s", START_TIMEOUT.as_secs()))
            }
        };
        process.kill().await?;
        Err(wrong)
    }

    async fn serves(&self, process: &mut Process, generation: u64) -> Result<(), String> {
        loop {
            if let Some(status) = process.ended() {
                return Err(process.wrong(&format!("it ended ({status})")));
            }
            let ready = match self.front {
                FrontDoor::Tidegate => {
                    let snapshot = self.tools.snapshot(&tidegate::socket(&self.place.folder)).await;
                    snapshot.is_some_and(|snapshot| tidegate::has_looked(&snapshot))
                }
                FrontDoor::Nginx | FrontDoor::Haproxy => self.is_live(generation).await,
            };
            if ready && TcpStream::connect(self.listen).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Whether a peer says that this generation answers.
    async fn is_live(&self, generation: u64) -> bool {
        let folder = &self.place.folder;
        let live = match self.front {
            // It answers the reload itself.
            FrontDoor::Tidegate => return true,
            FrontDoor::Nginx => nginx::generation(folder).await,
            FrontDoor::Haproxy => haproxy::generation(folder).await,
        };
        live == Some(generation)
    }

    /// Gives it another configuration and waits until that is live.
    pub(super) async fn configure(&self, setup: &DoorSetup) -> Result<Applied, NotApplied> {
        let mut state = self.state.lock().await;
        state.generation += 1;
        let text = self.configuration(setup, state.generation);
        let checks = self.guard && !setup.forced;
        if checks {
            self.check(&text).await?;
        }
        let failed = NotApplied::Failed;
        write(&self.configuration_file(), &text).map_err(failed)?;
        let generation = state.generation;
        let process = state
            .process
            .as_mut()
            .ok_or_else(|| NotApplied::Failed("the front door does not run".to_owned()))?;
        let words = match self.front {
            FrontDoor::Tidegate => {
                let socket = tidegate::socket(&self.place.folder);
                let change = if checks {
                    self.tools.reload(&socket)
                } else {
                    self.tools.force(&socket, &text)
                };
                match tokio::time::timeout(RELOAD_TIMEOUT, change).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(why)) => return Err(NotApplied::Refused(why)),
                    Err(_) => return Err(late(process)),
                }
            }
            FrontDoor::Nginx => self.signal(process, Signal::HUP, generation).await?,
            FrontDoor::Haproxy => self.signal(process, Signal::USR2, generation).await?,
        };
        let checked = if checks { "checked, then " } else { "" };
        Ok(Applied { words: format!("{checked}{words}") })
    }

    async fn signal(
        &self,
        process: &mut Process,
        signal: Signal,
        generation: u64,
    ) -> Result<String, NotApplied> {
        process.signal(signal).map_err(NotApplied::Failed)?;
        let live = async {
            while !self.is_live(generation).await {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            tokio::time::sleep(SETTLE).await;
        };
        match tokio::time::timeout(RELOAD_TIMEOUT, live).await {
            Ok(()) => Ok("reloaded".to_owned()),
            Err(_) => match process.ended() {
                Some(status) => {
                    Err(NotApplied::Failed(process.wrong(&format!("it ended ({status})"))))
                }
                // Both keep the old configuration when they cannot take the new one.
                None => Err(late(process)),
            },
        }
    }

    /// What an operator runs before a change.
    async fn check(&self, text: &str) -> Result<(), NotApplied> {
        let folder = &self.place.folder;
        let candidate = folder.join("candidate.conf");
        let arguments = match self.front {
            FrontDoor::Tidegate => return self.tools.check(text).map_err(NotApplied::Refused),
            FrontDoor::Nginx => nginx::check_arguments(folder, &candidate),
            FrontDoor::Haproxy => haproxy::check_arguments(&candidate),
        };
        write(&candidate, text).map_err(NotApplied::Failed)?;
        let (passed, said) = output(&self.program, &arguments, folder)
            .await
            .map_err(|error| NotApplied::Failed(format!("{}: {error}", self.program.display())))?;
        if passed { Ok(()) } else { Err(NotApplied::Refused(said)) }
    }

    fn configuration(&self, setup: &DoorSetup, generation: u64) -> String {
        let plan = Plan {
            setup,
            servers: &self.servers,
            guard: self.guard,
            first: *setup == self.first,
            listen: self.listen,
            folder: &self.place.folder,
            generation,
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES),
            root: geteuid().is_root(),
        };
        match self.front {
            FrontDoor::Tidegate => tidegate::configuration(&plan),
            FrontDoor::Nginx => nginx::configuration(&plan),
            FrontDoor::Haproxy => haproxy::configuration(&plan),
        }
    }

    fn configuration_file(&self) -> PathBuf {
        self.place.folder.join(match self.front {
            FrontDoor::Tidegate => tidegate::CONFIGURATION,
            FrontDoor::Nginx => nginx::CONFIGURATION,
            FrontDoor::Haproxy => haproxy::CONFIGURATION,
        })
    }

    /// How it sees each server, in the order of the stack, and how often it went back by itself;
    /// nginx shows nothing.
    pub(super) async fn look(&self) -> (Vec<Option<Seen>>, Option<u64>) {
        let folder = &self.place.folder;
        match self.front {
            FrontDoor::Tidegate => {
                let socket = tidegate::socket(folder);
                let asked = async {
                    tokio::join!(self.tools.snapshot(&socket), self.tools.rollbacks(&socket))
                };
                let answers = tokio::time::timeout(PATIENCE, asked).await;
                let (snapshot, rollbacks) = answers.unwrap_or_default();
                let snapshot = snapshot.unwrap_or_default();
                let seen = |(_, address): &(Name, SocketAddr)| tidegate::seen(&snapshot, *address);
                (self.servers.iter().map(seen).collect(), rollbacks)
            }
            FrontDoor::Nginx => (vec![None; self.servers.len()], None),
            FrontDoor::Haproxy => (haproxy::look(folder, self.servers.len()).await, None),
        }
    }

    /// Whether its process runs; an error says how it ended.
    pub(super) fn runs(&self) -> Result<(), String> {
        // Somebody is busy with it: then it runs, or he will say why not.
        let Ok(mut state) = self.state.try_lock() else { return Ok(()) };
        let Some(process) = &mut state.process else {
            return Err("the front door does not run".to_owned());
        };
        match process.ended() {
            None => Ok(()),
            Some(status) => Err(process.wrong(&format!("it ended ({status})"))),
        }
    }

    /// Ends it.
    pub(super) async fn end(&self) -> Result<(), String> {
        match self.state.lock().await.process.take() {
            Some(process) => process.end(END_TIMEOUT).await,
            None => Ok(()),
        }
    }
}

fn late(process: &Process) -> NotApplied {
    NotApplied::Refused(
        process.wrong(&format!(
            "the new configuration is not live after {} s",
            RELOAD_TIMEOUT.as_secs()
        )),
    )
}

/// Replaces a file as a whole.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The program of a front door, and what it says its version is.
async fn find(front: FrontDoor, executable: &Path) -> Result<(PathBuf, String), String> {
    let (candidates, argument) = match front {
        FrontDoor::Tidegate => (vec![executable.to_owned()], "--version"),
        FrontDoor::Nginx | FrontDoor::Haproxy => {
            let name = front.as_str();
            let system = SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
            (std::iter::once(PathBuf::from(name)).chain(system).collect(), "-v")
        }
    };
    for program in candidates {
        if let Ok((true, said)) = output(&program, &[argument.to_owned()], Path::new("/")).await {
            return Ok((program, version(&said)));
        }
    }
    Err(format!(
        "{front} cannot be run: install it (Debian: apt-get install {front}), or rehearse another front door"
    ))
}

/// The first word of the first line that begins with a digit behind any `name/`.
fn version(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    let words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let number =
        words.into_iter().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
    number.unwrap_or(line).to_owned()
}

/// Runs a short command to its end: whether it succeeded, and what it said.
async fn output(
    program: &Path,
    arguments: &[String],
    folder: &Path,
) -> std::io::Result<(bool, String)> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(COMMAND_TIMEOUT, command.output()).await??;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, expected) in [
            ("nginx version: nginx/1.22.1", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus",
                "2.6.12-1+deb12u4",
            ),
            ("tidegate 0.1.0", "0.1.0"),
            ("none", "none"),
        ] {
            assert_eq!(version(said), expected);
        }
    }
}
