//! The app servers: two of a kind, as fast or as slow as they are told, and what they carry.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::doors;
use super::super::processes::{Running, Workshop};

/// Servers behind each door.
pub(super) const COUNT: usize = 2;
/// How much slower a slow server is.
pub(super) const SLOWER: f64 = 4.0;

/// Requests that the sleeping server serves at once, and how long each takes: 125 a second.
const SLEEP_AT_ONCE: u32 = 4;
const SLEEP_MS: f64 = 32.0;
/// What a request costs the other: waiting, and time under a lock that all need. Each further
/// request at work makes both longer by this share: 125 a second at the knee, a quarter of it
/// with a hundred at work.
const LOCK_WAIT_MS: f64 = 30.0;
const LOCK_MS: f64 = 5.4;
const CONTENTION: f64 = 0.05;

/// How a server spends the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Sleeps, and serves a fixed number of requests at once.
    Sleep,
    /// Needs a lock, and collapses past its knee.
    Lock,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Sleep, Self::Lock];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleeping",
            Self::Lock => "lock contention",
        }
    }

    /// Requests at once of one server that are tried when its capacity is measured.
    pub(super) fn at_once_tried(self) -> &'static [u32] {
        match self {
            Self::Sleep => &[SLEEP_AT_ONCE],
            Self::Lock => &[4, 5, 6, 7, 8],
        }
    }

    fn settings(self, name: &str, slower: f64, seed: u64) -> Value {
        let common = json!({ "name": name, "queue_max": 10_000, "seed": seed });
        let own = self.speed(slower);
        let fixed = match self {
            Self::Sleep => json!({ "concurrency": SLEEP_AT_ONCE }),
            Self::Lock => json!({ "concurrency": 10_000, "contention": CONTENTION }),
        };
        merged([common, own, fixed])
    }

    /// The settings that make it so many times slower than it is.
    fn speed(self, slower: f64) -> Value {
        match self {
            Self::Sleep => json!({ "service_time_ms": SLEEP_MS * slower }),
            Self::Lock => json!({ "routes": [{
                "path": "/", "service_time_ms": LOCK_WAIT_MS * slower, "lock_ms": LOCK_MS * slower,
            }] }),
        }
    }
}

fn merged<const PARTS: usize>(parts: [Value; PARTS]) -> Value {
    let parts = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    });
    Value::Object(parts.flatten().collect())
}

/// What the servers of one kind carry at one speed, together and without a door.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Capacity {
    pub(super) app: Kind,
    /// Whether they are slow.
    pub(super) slow: bool,
    /// Requests per second of all of them.
    pub(super) per_second: f64,
    /// Requests at once of one of them, at its best.
    pub(super) at_once: u32,
    /// Latency with a third of that rate, milliseconds.
    pub(super) unloaded_p99_ms: f64,
}

/// Running servers.
#[derive(Debug)]
pub(super) struct Apps {
    kind: Kind,
    pub(super) ports: [u16; COUNT],
    _running: Vec<Running>,
}

impl Apps {
    /// Starts them on the core of the door.
    pub(super) fn start(
        workshop: &Workshop,
        program: &str,
        (kind, slow): (Kind, bool),
        seed: u64,
    ) -> anyhow::Result<Self> {
        let ports = doors::free_ports::<COUNT>()?;
        let slower = if slow { SLOWER } else { 1.0 };
        let mut running = Vec::new();
        for (name, port) in ["a", "b"].into_iter().zip(ports) {
            let settings = kind.settings(name, slower, seed).to_string();
            let listen = format!("127.0.0.1:{port}");
            let command =
                [program, "--log", "warn", "sample-app", "--listen", &listen, "--settings"]
                    .into_iter()
                    .chain([settings.as_str()])
                    .map(str::to_owned);
            let name = format!("app-{name}");
            let mut app =
                workshop.start(&name, workshop.door_core, &command.collect::<Vec<_>>())?;
            app.await_port(port)?;
            running.push(app);
        }
        Ok(Self { kind, ports, _running: running })
    }

    /// Makes them slow, or as fast as they were.
    pub(super) fn set_slow(&self, slow: bool) -> anyhow::Result<()> {
        let change = self.kind.speed(if slow { SLOWER } else { 1.0 }).to_string();
        self.ports.iter().try_for_each(|port| control(*port, &change))
    }
}

/// Changes settings of the server at a port.
fn control(port: u16, change: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("a server is gone")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "POST /_control HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{change}",
        change.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "a server refused {change}: {answer}");
    Ok(())
}
