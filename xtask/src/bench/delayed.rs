//! The server that a load generator is measured against: it answers each request after a known
//! time.
//!
//! With `--mean-us` a request waits between half and one and a half times that long, evenly spread: a
//! closed-loop generator with C connections then sends C per mean, the same rate as a paced one is
//! told to, and its answers do not come in bunches. With `--table` the delays go
//! through a fixed table again and again, so that the percentiles a generator should report are
//! known to the microsecond.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Context;
use memchr::memmem;

use super::epoll::Epoll;
use crate::clock;

/// Delays of the table; a run of a multiple of this many requests meets each equally often.
pub(super) const TABLE_LENGTH: u32 = 10_000;
/// Every delay of the table is at least this.
const TABLE_LEAST: Duration = Duration::from_millis(5);
/// Mean of the exponential part on top.
const TABLE_MEAN: Duration = Duration::from_millis(30);
/// Bytes of a request head; a client that sends more is cut off.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Asks for the rate of the requests since the last such question, per second.
const SEEN: &str = "/seen";

const LISTENER: u64 = 0;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/// Where to listen, and how long to wait.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    /// Answers wait this long on average, microseconds.
    #[arg(long, default_value_t = 0)]
    mean_us: u32,
    /// Delays from the table instead.
    #[arg(long)]
    table: bool,
}

/// The delays of the table in the order of their size: the quantiles of an exponential
/// distribution on top of the least delay.
pub(super) fn table() -> Vec<Duration> {
    let delay = |index: u32| {
        let quantile = (f64::from(index) + 0.5) / f64::from(TABLE_LENGTH);
        TABLE_LEAST + TABLE_MEAN.mul_f64(-(1.0 - quantile).ln())
    };
    (0..TABLE_LENGTH).map(delay).collect()
}

/// Delays from half the mean to one and a half times it.
fn spread(mean_us: u32) -> Vec<Duration> {
    let mean = Duration::from_micros(u64::from(mean_us));
    let part = |index: u32| (f64::from(index) + 0.5) / f64::from(TABLE_LENGTH);
    (0..TABLE_LENGTH).map(|index| mean.mul_f64(0.5 + part(index))).collect()
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Requests since the last question: how many, and when the first and the last came.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u32,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Seen {
    fn add(&mut self, now: Instant) {
        self.count += 1;
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    fn per_second(&self) -> f64 {
        let Some((first, last)) = self.first.zip(self.last) else { return 0.0 };
        f64::from(self.count - 1) / (last - first).as_secs_f64()
    }
}

/// Asks the server at a port for the rate it saw, requests per second, and begins a new count.
pub(super) fn seen(port: u16) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    write!(stream, "GET {SEEN} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    body.trim().parse().with_context(|| format!("no rate: {answer}"))
}

/// Answers until it is ended.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
    listener.set_nonblocking(true)?;
    let mut delays = if options.table { table() } else { spread(options.mean_us) };
    fastrand::Rng::with_seed(1).shuffle(&mut delays);
    let mut delays = delays.iter().copied().cycle();
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, false)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut next = LISTENER + 1;
    let mut due: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut ready = Vec::new();
    let mut seen = Seen::default();
    loop {
        let now = clock::now();
        while let Some(Reverse((_, token))) = due.peek().copied().filter(|next| next.0.0 <= now) {
            due.pop();
            if !answer(clients.get_mut(&token)) {
                clients.remove(&token);
            }
        }
        let wait = due.peek().map(|next| next.0.0.saturating_duration_since(clock::now()));
        epoll.wait(wait, &mut ready)?;
        let now = clock::now();
        for &token in &ready {
            if token == LISTENER {
                accept(&listener, &epoll, &mut clients, &mut next)?;
                continue;
            }
            let Some(client) = clients.get_mut(&token) else { continue };
            match client.came() {
                Came::Heads(heads) => {
                    (0..heads).for_each(|_| seen.add(now));
                    due.extend(
                        delays.by_ref().take(heads).map(|delay| Reverse((now + delay, token))),
                    );
                }
                Came::Question => {
                    // It ends with the answer, so that nothing need be said of its length.
                    drop(write!(client.stream, "HTTP/1.1 200 OK\r\n\r\n{}", seen.per_second()));
                    seen = Seen::default();
                    clients.remove(&token);
                }
                Came::End => drop(clients.remove(&token)),
            }
        }
    }
}

/// An answer of this size always fits the buffer of a socket whose client reads its answers.
fn answer(client: Option<&mut Client>) -> bool {
    client.is_some_and(|client| client.stream.write_all(ANSWER).is_ok())
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    clients: &mut HashMap<u64, Client>,
    next: &mut u64,
) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(&stream, *next, false)?;
        clients.insert(*next, Client { stream, input: Vec::new() });
        *next += 1;
    }
    Ok(())
}

/// What a read of a connection brought.
enum Came {
    /// The ends of so many request heads.
    Heads(usize),
    /// The question for the rate.
    Question,
    /// The connection is over.
    End,
}

impl Client {
    fn came(&mut self) -> Came {
        let mut buffer = [0; 4_096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Came::End,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Came::Heads(0),
            Err(_) => return Came::End,
        }
        if memmem::find(&self.input, SEEN.as_bytes()).is_some() {
            return Came::Question;
        }
        let mut heads = 0;
        let mut start = 0;
        while let Some(end) = memmem::find(&self.input[start..], b"\r\n\r\n") {
            heads += 1;
            start += end + 4;
        }
        self.input.drain(..start);
        if self.input.len() <= HEAD_BYTES_MAX { Came::Heads(heads) } else { Came::End }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_quantiles_it_promises() {
        let table = table();
        let at = |index: usize| table[index].as_secs_f64() * 1e3;
        assert!(table.is_sorted());
        assert!((at(5_000) - 25.79).abs() < 0.02, "{}", at(5_000));
        assert!((at(9_900) - 143.3).abs() < 0.3, "{}", at(9_900));
    }
}
