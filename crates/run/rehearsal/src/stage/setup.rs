//! What a stage is told, and what it asks of whoever raises it.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;

use model::drill::Drill;
use model::fact::Snapshot;

/// Which front door is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontDoor {
    /// This project's own.
    Tidegate,
    /// nginx, as it is installed on this machine.
    Nginx,
    /// HAProxy, as it is installed on this machine.
    Haproxy,
}

/// What is put on a stage.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The drill. Links that its events use get a fault proxy.
    pub drill: &'a Drill,
    /// The front door.
    pub front: FrontDoor,
    /// Whether the front door's own protections are on: checks, retries, limits, a check of each change.
    pub guard: bool,
    /// Of the sample applications' random numbers.
    pub seed: u64,
    /// The `tidegate` executable.
    pub executable: &'a Path,
}

/// The answer of a tool that has to wait for it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What only the command line can connect: the configuration and the admin interface of tidegate.
pub trait TidegateTools: Send + Sync {
    /// Checks a configuration; its paths are absolute.
    ///
    /// # Errors
    /// The findings, as `tidegate check` prints them.
    fn check(&self, text: &str) -> Result<(), String>;

    /// The last second's snapshot of the door with this admin socket; `None`: it does not answer.
    fn snapshot<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<Snapshot>>;

    /// Makes the door with this admin socket read its configuration again; says what came of it.
    ///
    /// # Errors
    /// Why nothing was changed.
    fn reload<'a>(&'a self, socket: &'a Path) -> Answer<'a, Result<String, String>>;

    /// How often the door with this admin socket went back to an earlier configuration by itself;
    /// `None`: it does not answer.
    fn rollbacks<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<u64>>;

    /// Makes this text live in the door with this admin socket, whatever rules say of it.
    ///
    /// # Errors
    /// Why nothing was changed.
    fn force<'a>(&'a self, socket: &'a Path, text: &'a str) -> Answer<'a, Result<String, String>>;
}

/// A change that went live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What was done, in one line.
    pub words: String,
}

/// A change that did not go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApplied {
    /// The front door refused it, and this is what it said.
    Refused(String),
    /// It could not be carried out.
    Failed(String),
}

impl FrontDoor {
    /// As it is written on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

impl fmt::Display for FrontDoor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for FrontDoor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Tidegate, Self::Nginx, Self::Haproxy]
            .into_iter()
            .find(|front| front.as_str() == text)
            .ok_or_else(|| "expected tidegate, nginx or haproxy".to_owned())
    }
}
