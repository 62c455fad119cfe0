//! The doors that are compared, each without limits and with limits set by hand.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::super::doors;
use super::super::processes::{Running, Workshop};
use super::configurations::{self, Setting};
use crate::{say, shell};

/// A door by what protects it, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Door {
    /// With its defaults.
    Tidegate,
    /// Without the limit it finds, balanced round robin: what that prevents.
    TidegateBare,
    /// Without limits.
    Nginx,
    /// `limit_req` and `limit_conn` by hand.
    NginxLimits,
    /// Without limits.
    Haproxy,
    /// `maxconn` and a queue by hand.
    HaproxyLimits,
    /// A stick table that counts requests, by hand.
    HaproxyTable,
    /// Without limits.
    Envoy,
    /// Circuit breaker and local rate limit by hand.
    EnvoyLimits,
    /// Its adaptive concurrency filter, with the parameters of its documentation.
    EnvoyAdaptive,
}

impl Door {
    const ALL: [Self; 10] = [
        Self::Tidegate,
        Self::TidegateBare,
        Self::Nginx,
        Self::NginxLimits,
        Self::Haproxy,
        Self::HaproxyLimits,
        Self::HaproxyTable,
        Self::Envoy,
        Self::EnvoyLimits,
        Self::EnvoyAdaptive,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate, told nothing",
            Self::TidegateBare => "tidegate, limits off, round robin",
            Self::Nginx => "nginx, no limits",
            Self::NginxLimits => "nginx, limit_req + limit_conn",
            Self::Haproxy => "haproxy, no limits",
            Self::HaproxyLimits => "haproxy, maxconn + queue",
            Self::HaproxyTable => "haproxy, stick table",
            Self::Envoy => "envoy, no limits",
            Self::EnvoyLimits => "envoy, breaker + rate limit",
            Self::EnvoyAdaptive => "envoy, adaptive concurrency",
        }
    }

    pub(super) fn is_without_limits(self) -> bool {
        matches!(self, Self::TidegateBare | Self::Nginx | Self::Haproxy | Self::Envoy)
    }

    pub(super) fn is_tidegate(self) -> bool {
        matches!(self, Self::Tidegate | Self::TidegateBare)
    }
}

/// The programs that are on this machine.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) tidegate: PathBuf,
    nginx: PathBuf,
    haproxy: PathBuf,
    envoy: Option<PathBuf>,
}

/// A running door.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) port: u16,
    pub(super) socket: PathBuf,
    /// Ended when this is dropped.
    _running: Running,
}

impl Programs {
    /// Only Envoy may be missing.
    pub(super) fn find(tidegate: PathBuf) -> anyhow::Result<Self> {
        let nginx =
            shell::find("nginx").context("nginx is missing: apt-get install nginx-light")?;
        let haproxy =
            shell::find("haproxy").context("haproxy is missing: apt-get install haproxy")?;
        let envoy = shell::find("envoy");
        if envoy.is_none() {
            say::note("envoy is not here and left out");
        }
        Ok(Self { tidegate, nginx, haproxy, envoy })
    }

    /// The doors that can be raised.
    pub(super) fn doors(&self) -> Vec<Door> {
        let envoy = [Door::Envoy, Door::EnvoyLimits, Door::EnvoyAdaptive];
        let here = |door: &Door| self.envoy.is_some() || !envoy.contains(door);
        Door::ALL.into_iter().filter(here).collect()
    }

    /// Raises a door and waits until it listens.
    pub(super) fn raise(
        &self,
        workshop: &Workshop,
        door: Door,
        setting: &Setting,
    ) -> anyhow::Result<Raised> {
        let [port] = doors::free_ports()?;
        let name = format!("door-{port}");
        let folder = workshop.folder.join(&name);
        std::fs::create_dir_all(&folder)?;
        let places = configurations::Places { folder: &folder, port, setting };
        let write = |name: &str, text: String| -> anyhow::Result<String> {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path.display().to_string())
        };
        let program = |path: &PathBuf| path.display().to_string();
        let command = match door {
            Door::Tidegate | Door::TidegateBare => {
                let text = configurations::tidegate(&places, door == Door::TidegateBare);
                let file = write("tidegate.toml", text)?;
                vec![
                    program(&self.tidegate),
                    "--log".into(),
                    "warn".into(),
                    "run".into(),
                    "-c".into(),
                    file,
                ]
            }
            Door::Nginx | Door::NginxLimits => {
                let text = configurations::nginx(&places, door == Door::NginxLimits);
                let file = write("nginx.conf", text)?;
                let prefix = folder.display().to_string();
                vec![program(&self.nginx), "-p".into(), prefix, "-c".into(), file]
            }
            Door::Haproxy | Door::HaproxyLimits | Door::HaproxyTable => {
                let file = write("haproxy.cfg", configurations::haproxy(&places, door))?;
                vec![program(&self.haproxy), "-db".into(), "-f".into(), file]
            }
            Door::Envoy | Door::EnvoyLimits | Door::EnvoyAdaptive => {
                let file = write("envoy.yaml", configurations::envoy(&places, door))?;
                let envoy = self.envoy.as_ref().context("envoy is not here")?;
                let fixed = ["--concurrency", "2", "--disable-hot-restart", "-l", "warn", "-c"];
                [program(envoy)].into_iter().chain(fixed.map(str::to_owned)).chain([file]).collect()
            }
        };
        let mut running = workshop.start(&name, workshop.door_core, &command)?;
        running.await_port(port)?;
        Ok(Raised { port, socket: folder.join("admin.sock"), _running: running })
    }
}
