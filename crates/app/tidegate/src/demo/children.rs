//! The processes of the demo: three sample applications and a front door, all this executable.
//!
//! Invariant: none of them outlives the demo. They are told to end and awaited; a panic drops
//! them, which kills them; and if the demo itself is killed, the kernel ends them.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use console::client;
use model::fact::ServerState;
use rehearsal::sample;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::commands::status;

/// The names of the sample applications.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Mean service time of a sample application, and of one that was slowed down.
const SERVICE_TIME_MS: f64 = 20.0;
const SERVICE_TIME_SLOW_MS: f64 = 200.0;
/// For a process to start, and for the door to find its servers.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// For a process to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at whether the door has started.
const LOOK_PAUSE: Duration = Duration::from_millis(25);

/// One sample application.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    child: Option<Child>,
    /// Its settings as they were at the start.
    intended: Value,
}

impl Server {
    /// Its process, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// What somebody changed about it, in words; `None` while it is as it was at the start.
    pub(super) async fn broken(&self) -> Option<String> {
        if self.child.is_none() {
            return Some("not running".to_owned());
        }
        let Ok(mut settings) = sample::control(self.address, None).await else {
            return Some("does not answer".to_owned());
        };
        forget_gauges(&mut settings);
        let (found, intended) = (settings.as_object()?, self.intended.as_object()?);
        let differs = |(key, value): (&String, &Value)| {
            (intended.get(key) != Some(value)).then(|| format!("{key} = {value}"))
        };
        let changes: Vec<String> = found.iter().filter_map(differs).collect();
        (!changes.is_empty()).then(|| changes.join(", "))
    }
}

/// All processes of a demo and the folder they share.
pub(super) struct Stage {
    pub(super) servers: Vec<Server>,
    pub(super) door_address: SocketAddr,
    pub(super) socket: PathBuf,
    door: Child,
    executable: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// Starts everything and waits until the door has found all its servers.
    ///
    /// # Errors
    /// In words, with the end of the log of the process that failed.
    pub(super) async fn raise() -> Result<Self, String> {
        let executable = std::env::current_exe()
            .map_err(|error| format!("this executable is not found: {error}"))?;
        let folder = tempfile::Builder::new()
            .prefix("tidegate-demo-")
            .tempdir()
            .map_err(|error| format!("no temporary folder: {error}"))?;
        let mut servers = Vec::new();
        for name in NAMES {
            let (child, address) = start_server(
                &executable,
                folder.path(),
                name,
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            )
            .await?;
            let mut intended = sample::control(address, None).await?;
            forget_gauges(&mut intended);
            servers.push(Server { name, address, child: Some(child), intended });
        }
        let door_address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let socket = folder.path().join("admin.sock");
        let config = folder.path().join("tidegate.toml");
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        std::fs::write(&config, configuration(door_address, &addresses, &socket))
            .map_err(|error| format!("{}: {error}", config.display()))?;
        let mut command = command(&executable, folder.path(), "door")?;
        let door = command
            .arg("run")
            .arg("--config")
            .arg(&config)
            .spawn()
            .map_err(|error| format!("the front door does not start: {error}"))?;
        let mut stage = Self { servers, door_address, socket, door, executable, folder };
        match tokio::time::timeout(START_TIMEOUT, stage.found_servers()).await {
            Ok(Ok(())) => Ok(stage),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!(
                "the front door did not find its servers within {} s:\n{}",
                START_TIMEOUT.as_secs(),
                log_end(stage.folder.path(), "door")
            )),
        }
    }

    async fn found_servers(&mut self) -> Result<(), String> {
        loop {
            self.look()?;
            let ready = client::get(&self.socket, "/ready").await.is_ok();
            if ready && let Ok(snapshot) = status::fetch(&self.socket).await {
                let takes = |state| matches!(state, ServerState::Up | ServerState::SlowStart);
                let taking = snapshot
                    .pools
                    .iter()
                    .flat_map(|pool| &pool.servers)
                    .filter(|server| takes(server.state))
                    .count();
                if taking == self.servers.len() {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// This executable as a person in the current folder would call it.
    pub(super) fn program(&self) -> String {
        let folder = std::env::current_dir().unwrap_or_default();
        let program = self.executable.strip_prefix(folder).unwrap_or(&self.executable);
        program.display().to_string()
    }

    /// Notices processes that ended.
    ///
    /// # Errors
    /// When the door ended: nothing is left to show.
    pub(super) fn look(&mut self) -> Result<(), String> {
        for server in &mut self.servers {
            let ended =
                server.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                server.child = None;
            }
        }
        match self.door.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!(
                "the front door ended ({status}):\n{}",
                log_end(self.folder.path(), "door")
            )),
            Err(error) => Err(format!("the front door cannot be watched: {error}")),
        }
    }

    /// Kills a server as `kill -9` does, or starts it again at its old address.
    pub(super) async fn toggle(&mut self, index: usize) -> Result<String, String> {
        let (executable, folder) = (self.executable.clone(), self.folder.path().to_owned());
        let Some(server) = self.servers.get_mut(index) else {
            return Err("there is no such server".to_owned());
        };
        if let Some(mut child) = server.child.take() {
            child
                .kill()
                .await
                .map_err(|error| format!("{} cannot be killed: {error}", server.name))?;
            return Ok(format!("{} was killed", server.name));
        }
        let (child, _) = start_server(&executable, &folder, server.name, server.address).await?;
        server.child = Some(child);
        Ok(format!("{} was started again", server.name))
    }

    /// Slows a server down, or makes it quick again.
    pub(super) async fn toggle_slow(&self, index: usize) -> Result<String, String> {
        let Some(server) = self.servers.get(index) else {
            return Err("there is no such server".to_owned());
        };
        let now = sample::control(server.address, None).await?;
        let slow = now
            .get("service_time_ms")
            .and_then(Value::as_f64)
            .is_some_and(|time_ms| time_ms > SERVICE_TIME_MS);
        let time_ms = if slow { SERVICE_TIME_MS } else { SERVICE_TIME_SLOW_MS };
        sample::control(server.address, Some(&json!({ "service_time_ms": time_ms }))).await?;
        Ok(format!("{} now takes {time_ms} ms per request", server.name))
    }

    /// Tells every process to end, and waits for it.
    pub(super) async fn end(mut self) {
        end_child(&mut self.door).await;
        for server in &mut self.servers {
            if let Some(child) = &mut server.child {
                end_child(child).await;
            }
        }
    }
}

/// How many requests wait changes by itself and is no setting.
fn forget_gauges(settings: &mut Value) {
    if let Some(settings) = settings.as_object_mut() {
        settings.retain(|key, _| !sample::GAUGES.contains(&key.as_str()));
    }
}

/// This executable again, in a process group of its own: Ctrl-C is for the demo alone, which
/// ends the others in order.
fn command(executable: &Path, folder: &Path, name: &str) -> Result<Command, String> {
    let log = folder.join(format!("{name}.log"));
    let log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(executable);
    command
        .args(["--end-with-parent", &std::process::id().to_string()])
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Ok(command)
}

async fn start_server(
    executable: &Path,
    folder: &Path,
    name: &str,
    address: SocketAddr,
) -> Result<(Child, SocketAddr), String> {
    let mut command = command(executable, folder, name)?;
    command
        .arg("sample-app")
        .args(["--name", name])
        .args(["--listen", &address.to_string()])
        .args(["--service-time", &format!("{SERVICE_TIME_MS}ms")]);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("sample application {name} does not start: {error}"))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // The first line is short; what is longer is no address.
        let mut first = BufReader::new(stdout.take(1_024));
        drop(tokio::time::timeout(START_TIMEOUT, first.read_line(&mut line)).await);
    }
    let address = line
        .strip_prefix("listening on ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|address| address.parse().ok());
    match address {
        Some(address) => Ok((child, address)),
        None => Err(format!("sample application {name} did not start:\n{}", log_end(folder, name))),
    }
}

async fn end_child(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let told = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if told && tokio::time::timeout(END_TIMEOUT, child.wait()).await.is_ok() {
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "a process of the demo could not be ended");
    }
}

/// An address that was free a moment ago.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The last lines of a process's log.
fn log_end(folder: &Path, name: &str) -> String {
    const BYTES_MAX: u64 = 64 * 1_024;
    let mut text = String::new();
    let read = File::open(folder.join(format!("{name}.log")))
        .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    if let Err(error) = read {
        return format!("(its log cannot be read: {error})");
    }
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(10))
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The front door's configuration.
fn configuration(door: SocketAddr, servers: &[SocketAddr], socket: &Path) -> String {
    let servers =
        servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    // Debug writes the escapes that TOML's basic strings share with Rust, for any path in UTF-8.
    let socket = format!("{:?}", socket.display().to_string());
    format!(
        r#"[door]
drain = "2s"
state = false

[listen.web]
address = "{door}"

[pools.sample]
servers = [{servers}]
check = {{ path = "/health", interval = "500ms", timeout = "400ms" }}

[routes.sample]
path = "/"
pool = "sample"

[admin]
socket = {socket}
"#
    )
}

#[cfg(test)]
mod tests {
    use settings::{Environment, Source};

    use super::*;

    #[test]
    fn the_configuration_has_no_findings() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let text = configuration(
            address(8_080),
            &[address(3_001), address(3_002)],
            Path::new("/tmp/a \"quoted\" folder/admin.sock"),
        );
        let source = Source { name: "demo.toml".to_owned(), text, folder: PathBuf::from("/") };
        let checked = settings::check(&source, &Environment::detect());
        assert_eq!(checked.findings, []);
        let configuration = checked.configuration.unwrap();
        assert_eq!(configuration.pools[0].servers.len(), 2);
        assert_eq!(
            configuration.admin.socket.as_deref(),
            Some(Path::new("/tmp/a \"quoted\" folder/admin.sock"))
        );
    }
}
