//! Open-loop load: requests are due at fixed times, whether or not earlier ones were answered.
//!
//! Latency counts from the time a request was due, so that a stall is seen by every request it
//! delayed. The number of connections bounds the requests in flight. Nothing is ever repeated:
//! what one request got is what is counted.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::eventually;

/// What is sent, how often, and how long an answer may take.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The door.
    pub address: SocketAddr,
    /// Requests per second.
    pub rate_per_second: u32,
    /// Keep-alive connections; as many requests can be in flight.
    pub connections: usize,
    /// For one answer.
    pub timeout: Duration,
    /// The bytes of one request; `{number}` stands for its number.
    pub request: String,
}

impl Plan {
    /// `GET /` over 64 connections; an answer may take 5 seconds.
    #[must_use]
    pub fn new(address: SocketAddr, rate_per_second: u32) -> Self {
        Self {
            address,
            rate_per_second,
            connections: 64,
            timeout: Duration::from_secs(5),
            request: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        }
    }

    /// Begins.
    #[must_use]
    pub fn start(self) -> Load {
        let shared = Arc::new(Shared {
            began: now(),
            plan: self,
            next: AtomicU32::new(0),
            opened: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            shots: Mutex::new(Vec::new()),
        });
        let shooter = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shoot(&shared))
        };
        let shooters = (0..shared.plan.connections).map(shooter).collect();
        Load { shooters, shared }
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Shot {
    /// When it was due, since the load began.
    pub due: Duration,
    /// From then to the end of the answer, or to the failure.
    pub latency: Duration,
    /// The status, or what went wrong.
    pub outcome: Result<u16, &'static str>,
    /// Who answered, by `x-server`.
    pub server: String,
    /// Why the door answered itself, by `proxy-status`; empty if it did not.
    pub reason: String,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    began: Instant,
    next: AtomicU32,
    opened: AtomicU32,
    stop: AtomicBool,
    shots: Mutex<Vec<Shot>>,
}

/// Load that runs until [`Load::finish`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    shooters: Vec<JoinHandle<()>>,
}

impl Load {
    /// `GET /` at this rate.
    #[must_use]
    pub fn start(address: SocketAddr, rate_per_second: u32) -> Self {
        Plan::new(address, rate_per_second).start()
    }

    /// Time since the load began: a mark between two phases.
    #[must_use]
    pub fn mark(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Waits until `count` more requests have ended, and returns the mark of that moment.
    #[track_caller]
    pub fn pass(&self, count: usize) -> Duration {
        let target = self.ended() + count;
        eventually("enough requests have ended", || self.ended() >= target);
        self.mark()
    }

    fn ended(&self) -> usize {
        self.shared.shots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The last `count` requests that ended.
    #[must_use]
    pub fn last(&self, count: usize) -> Tally {
        let shots = self.shared.shots.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::of(&shots[shots.len().saturating_sub(count)..])
    }

    /// Connections opened so far; more than the plan's means that some were closed.
    #[must_use]
    pub fn opened(&self) -> u32 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Stops, waits for the answers that are still to come, and returns every request.
    #[must_use]
    pub fn finish(mut self) -> Vec<Shot> {
        self.stop();
        let mut shots = self.shared.shots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shots = std::mem::take(&mut *shots);
        shots.sort_by_key(|shot| shot.due);
        shots
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for shooter in self.shooters.drain(..) {
            shooter.thread().unpark();
            drop(shooter.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The time, for latencies that tests report and never judge by.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock of the tests' load")]
pub fn now() -> Instant {
    Instant::now()
}

fn shoot(shared: &Shared) {
    let mut connection = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let due = Duration::from_secs(1) * number / shared.plan.rate_per_second;
        while shared.began.elapsed() < due {
            if shared.stop.load(Ordering::SeqCst) {
                return;
            }
            std::thread::park_timeout(due.saturating_sub(shared.began.elapsed()));
        }
        let answered = ask(&mut connection, shared, number);
        let latency = shared.began.elapsed().saturating_sub(due);
        let (outcome, server, reason) = match answered {
            Ok(answer) => (Ok(answer.status), answer.server, answer.reason),
            Err(cause) => {
                connection = None;
                (Err(cause), String::new(), String::new())
            }
        };
        let shot = Shot { due, latency, outcome, server, reason };
        shared.shots.lock().unwrap_or_else(PoisonError::into_inner).push(shot);
    }
}

/// One request over the connection, which is opened if there is none.
fn ask(
    connection: &mut Option<TcpStream>,
    shared: &Shared,
    number: u32,
) -> Result<Answer, &'static str> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => open(shared)?,
    };
    let request = shared.plan.request.replace("{number}", &number.to_string());
    stream.write_all(request.as_bytes()).map_err(|_reset| "reset while sending")?;
    let mut text = Vec::new();
    let mut room = [0; 16 * 1_024];
    loop {
        if let Some(answer) = Answer::parse(&text)? {
            if !answer.closes {
                *connection = Some(stream);
            }
            return Ok(answer);
        }
        match stream.read(&mut room) {
            Ok(0) if text.is_empty() => return Err("closed before the answer"),
            Ok(0) => return Err("closed within the answer"),
            Ok(count) => text.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err("timeout");
            }
            Err(_reset) => return Err("reset"),
        }
    }
}

fn open(shared: &Shared) -> Result<TcpStream, &'static str> {
    let stream = TcpStream::connect_timeout(&shared.plan.address, shared.plan.timeout)
        .map_err(|_refused| "connect failed")?;
    shared.opened.fetch_add(1, Ordering::SeqCst);
    stream.set_nodelay(true).map_err(|_closed| "connect failed")?;
    stream.set_read_timeout(Some(shared.plan.timeout)).map_err(|_closed| "connect failed")?;
    stream.set_write_timeout(Some(shared.plan.timeout)).map_err(|_closed| "connect failed")?;
    Ok(stream)
}

#[derive(Debug)]
struct Answer {
    status: u16,
    server: String,
    reason: String,
    closes: bool,
}

impl Answer {
    /// `None`: more is to come.
    fn parse(text: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            head.split("\r\n").find_map(|line| {
                let (known, value) = line.split_once(':')?;
                (known == name).then(|| value.trim().to_owned())
            })
        };
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or("malformed answer")?;
        let length = field("content-length").and_then(|value| value.parse::<usize>().ok());
        let length = length.ok_or("an answer without length")?;
        let whole = end + 4 + length;
        if text.len() > whole {
            return Err("more than an answer");
        }
        let closes = field("connection").is_some_and(|value| value.contains("close"));
        let server = field("x-server").unwrap_or_default();
        let told = field("proxy-status").unwrap_or_default();
        let reason = told.split_once("details=").map_or("", |(_, details)| details).to_owned();
        Ok((text.len() == whole).then_some(Self { status, server, reason, closes }))
    }
}

/// Requests in numbers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub requests: usize,
    /// Those that did not end in a 2xx.
    pub failed: usize,
    /// The failed ones by status or cause.
    pub causes: BTreeMap<String, usize>,
    /// Answers by server.
    pub servers: BTreeMap<String, usize>,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Tally {
    /// Counts these.
    #[must_use]
    pub fn of(shots: &[Shot]) -> Self {
        let mut tally = Self { requests: shots.len(), ..Self::default() };
        for shot in shots {
            let cause = match shot.outcome {
                Ok(status) => {
                    let failed = !(200..300).contains(&status);
                    failed.then(|| format!("{status} {}", shot.reason).trim_end().to_owned())
                }
                Err(cause) => Some(cause.to_owned()),
            };
            if let Some(cause) = cause {
                tally.failed += 1;
                *tally.causes.entry(cause).or_default() += 1;
            }
            if !shot.server.is_empty() {
                *tally.servers.entry(shot.server.clone()).or_default() += 1;
            }
            tally.latencies.push(shot.latency);
        }
        tally.latencies.sort_unstable();
        tally
    }

    /// Counts those that were due from `from` up to `to`.
    #[must_use]
    pub fn between(shots: &[Shot], from: Duration, to: Duration) -> Self {
        let within = shots.iter().filter(|shot| (from..to).contains(&shot.due));
        Self::of(&within.cloned().collect::<Vec<_>>())
    }

    /// How many failed with this status, for whatever reason.
    #[must_use]
    pub fn answered(&self, status: u16) -> usize {
        let status = status.to_string();
        let causes = self.causes.iter();
        let same = causes.filter(|(cause, _)| cause.split(' ').next() == Some(status.as_str()));
        same.map(|(_, count)| count).sum()
    }

    /// The part of the requests that this server answered, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a test are far below 2^52")]
    pub fn share(&self, server: &str) -> f64 {
        let answered = self.servers.get(server).copied().unwrap_or(0);
        answered as f64 / self.requests.max(1) as f64
    }

    /// The latency that this part, in thousandths, of the requests stayed within.
    #[must_use]
    pub fn latency(&self, thousandths: usize) -> Duration {
        let at = self.latencies.len() * thousandths / 1_000;
        let at = at.min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// A row of a table: requests, failed, median, 99th percentile, longest, causes.
    #[must_use]
    pub fn row(&self) -> String {
        let milliseconds =
            |thousandths| format!("{:.1} ms", self.latency(thousandths).as_secs_f64() * 1e3);
        let causes: Vec<String> =
            self.causes.iter().map(|(cause, count)| format!("{count} x {cause}")).collect();
        format!(
            "{:>6} requests {:>4} failed  p50 {:>9}  p99 {:>9}  max {:>10}  {}",
            self.requests,
            self.failed,
            milliseconds(500),
            milliseconds(990),
            milliseconds(1_000),
            causes.join(", ")
        )
    }
}

/// Prints a line of a table of figures, seen with `--nocapture`.
#[expect(clippy::print_stdout, reason = "figures are to be quoted from the tests' output")]
pub fn show(line: &str) {
    println!("{line}");
}
