//! Sends requests at a fixed rate whatever comes back, and says how late it was itself.
//!
//! Open loop: each request is due at its own time, a slow answer delays no other. Lateness is
//! the time between a request's due time and the moment it was written; a pacer that is late
//! measured itself, so that the bench judges the lateness as well.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Context;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::epoll::Epoll;
use crate::{clock, say};

/// How long answers may still come after the last request.
const DRAIN: Duration = Duration::from_secs(2);

/// What to send, how fast, for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, default_value = "/small")]
    path: String,
    /// Requests per second.
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: u32,
    /// More are never open; a request that finds none idle is late.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    /// Requests that were due.
    pub(crate) due: u64,
    /// Answers with status 200, complete.
    pub(crate) completed: u64,
    /// Any other answer, and connections that broke.
    pub(crate) failed: u64,
    /// Median lateness, microseconds.
    pub(crate) late_p50_us: u64,
    /// 99th percentile of lateness, microseconds.
    pub(crate) late_p99_us: u64,
    /// The latest, microseconds.
    pub(crate) late_max_us: u64,
}

/// Sends, then prints the report as JSON.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    // The default timer slack of 50 us is half the distance between two requests.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000))?;
    let report = Pacer::connect(options)?.run(options)?;
    say::data(&serde_json::to_string(&report)?);
    Ok(())
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    busy: bool,
}

struct Pacer {
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Indices of connections without a request, longest idle first.
    idle: VecDeque<usize>,
    request: Vec<u8>,
    late_us: Vec<u64>,
    report: Report,
}

impl Pacer {
    fn connect(options: &Options) -> anyhow::Result<Self> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let stream = TcpStream::connect(options.to).context("cannot connect to the door")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, u64::try_from(index)?, false)?;
            connections.push(Connection { stream, input: Vec::new(), busy: false });
        }
        let request =
            format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", options.path, options.to).into_bytes();
        let idle = (0..options.connections).collect();
        let (late_us, report) = (Vec::new(), Report::default());
        Ok(Self { epoll, connections, idle, request, late_us, report })
    }

    fn run(mut self, options: &Options) -> anyhow::Result<Report> {
        let total = u64::from(options.rate) * u64::from(options.seconds);
        let gap = Duration::from_secs(1) / options.rate;
        let start = clock::now();
        let mut due_at = start;
        let mut ready = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        let end = start + Duration::from_secs(u64::from(options.seconds)) + DRAIN;
        while self.report.due < total || self.idle.len() < self.connections.len() {
            let now = clock::now();
            if now >= end {
                break;
            }
            while self.report.due < total && due_at <= now && !self.idle.is_empty() {
                self.send(due_at, now);
                due_at += gap;
            }
            let next = if self.report.due < total && !self.idle.is_empty() { due_at } else { end };
            self.epoll.wait(Some(next.saturating_duration_since(clock::now())), &mut ready)?;
            for &token in &ready {
                self.receive(usize::try_from(token)?, &mut buffer);
            }
        }
        // What is still out, or was never sent, got no answer.
        let unsent = total - self.report.due;
        let out = self.connections.iter().filter(|connection| connection.busy).count();
        self.report.failed += unsent + u64::try_from(out)?;
        self.report.due = total;
        Ok(self.finish())
    }

    /// Writes one request; a head of this size always fits an idle connection's socket buffer.
    fn send(&mut self, due_at: Instant, now: Instant) {
        let Some(index) = self.idle.pop_front() else {
            return;
        };
        self.report.due += 1;
        let late = u64::try_from((now - due_at).as_micros()).unwrap_or(u64::MAX);
        self.late_us.push(late);
        let connection = &mut self.connections[index];
        connection.busy = true;
        if connection.stream.write_all(&self.request).is_err() {
            self.lose(index);
        }
    }

    /// Reads what came on a connection and counts the answer once it is complete.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) {
        let connection = &mut self.connections[index];
        match connection.stream.read(buffer) {
            Ok(count) if count > 0 => connection.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => return self.lose(index),
        }
        if let Some(status) = complete(&connection.input) {
            connection.input.clear();
            connection.busy = false;
            self.idle.push_back(index);
            if status == 200 {
                self.report.completed += 1;
            } else {
                self.report.failed += 1;
            }
        }
    }

    /// A connection broke: its request failed, it is not replaced.
    fn lose(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.busy) {
            self.report.failed += 1;
        }
        drop(connection.stream.shutdown(std::net::Shutdown::Both));
        self.idle.retain(|&idle| idle != index);
    }

    fn finish(mut self) -> Report {
        self.late_us.sort_unstable();
        let at = |share: usize| {
            let index =
                (self.late_us.len() * share / 100).min(self.late_us.len().saturating_sub(1));
            self.late_us.get(index).copied().unwrap_or(0)
        };
        let (p50, p99, max) = (at(50), at(99), at(100));
        Report { late_p50_us: p50, late_p99_us: p99, late_max_us: max, ..self.report }
    }
}

/// The status of a complete answer with `Content-Length`; `None` while bytes are missing.
pub(super) fn complete(input: &[u8]) -> Option<u16> {
    let head_end = memmem::find(input, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&input[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())?;
    (input.len() >= head_end + 4 + length).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::complete;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx: y\r\n\r\nabc";
        for end in 0..answer.len() {
            assert_eq!(complete(&answer[..end]), None, "{end}");
        }
        assert_eq!(complete(answer), Some(200));
        assert_eq!(complete(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Some(503));
    }
}
