//! Attacks on HTTP/2 at full speed, one after the other: memory stays flat, and a client that has
//! nothing to do with it is served as before.
//!
//! The attacker, and the server of its large answers, have what others leave of the processor: they
//! would have machines of their own, and what is measured is what the door does to others.
//!
//! At full length, as one would judge a door by: `cargo build --release -p tidegate`, then
//! `cargo test -p black-box --test floods_http2 -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use black_box::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, request, string,
};
use black_box::load::{Load, Plan, Tally, now, show};
use black_box::{Door, Sample, Setup};
use rustix::process::{Pid, setpriority_process};

const MEBIBYTE: u64 = 1 << 20;
/// What the whole of an attack may add to the door's memory: the windows, buffers and heads of the
/// attacker's connections, of which each is bounded.
const GROWTH_MAX: u64 = 16 * MEBIBYTE;
/// Frames that an attacker sends before it looks whether its connection still lives.
const BATCH: u32 = 200;

#[derive(Clone, Copy, Debug)]
enum Attack {
    RapidReset,
    MadeYouReset,
    Continuation,
    HeaderBomb,
    EmptyData,
    Ping,
    Settings,
    WindowUpdate,
    SlowReader,
}

const ALL: [Attack; 9] = [
    Attack::RapidReset,
    Attack::MadeYouReset,
    Attack::Continuation,
    Attack::HeaderBomb,
    Attack::EmptyData,
    Attack::Ping,
    Attack::Settings,
    Attack::WindowUpdate,
    Attack::SlowReader,
];

impl Attack {
    /// What is sent on a fresh connection first.
    fn opening(self) -> Vec<u8> {
        match self {
            Self::Continuation => frame(HEADERS, END_STREAM, 1, &request("GET", "/")),
            Self::EmptyData => frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload")),
            Self::SlowReader => {
                // No window at all: what is answered stays here.
                frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])
            }
            Self::RapidReset
            | Self::MadeYouReset
            | Self::HeaderBomb
            | Self::Ping
            | Self::Settings
            | Self::WindowUpdate => Vec::new(),
        }
    }

    /// What is sent then, again and again; `stream` is one that was not used yet.
    fn step(self, stream: u32) -> Vec<u8> {
        let ask =
            |path: &str| frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path));
        match self {
            Self::RapidReset => {
                [ask("/"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
            }
            Self::MadeYouReset => {
                [ask("/"), frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes())].concat()
            }
            Self::Continuation => frame(CONTINUATION, 0, 1, &field("x-more", "and more")),
            Self::HeaderBomb => {
                // One field that is remembered, then named again and again: a byte each.
                let remembered =
                    [&[0x40][..], &string(b"x-bomb"), &string(&[b'b'; 3_000])].concat();
                let block = [request("GET", "/"), remembered, vec![0xbe; 10_000]].concat();
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
            }
            Self::EmptyData => frame(DATA, 0, 1, &[]),
            Self::Ping => frame(PING, 0, 0, b"12345678"),
            Self::Settings => frame(SETTINGS, 0, 0, &[]),
            Self::WindowUpdate => frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
            Self::SlowReader => ask("/bytes/1000000"),
        }
    }

    /// So many steps at once, from this stream on.
    fn batch(self, stream: u32) -> Vec<u8> {
        let mut batch = Vec::new();
        for index in 0..BATCH {
            batch.extend_from_slice(&self.step(stream + 2 * index));
        }
        batch
    }
}

/// An attacker, who opens a new connection whenever one is closed.
struct Attacker {
    over: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    steps: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Attacker {
    fn start(attack: Attack, address: SocketAddr) -> Self {
        let (over, connections, steps) =
            <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (ends, opened, sent) =
            (Arc::clone(&over), Arc::clone(&connections), Arc::clone(&steps));
        let thread = std::thread::spawn(move || {
            leave_to_others(rustix::thread::gettid());
            while !ends.load(Ordering::Relaxed) {
                opened.fetch_add(1, Ordering::Relaxed);
                let mut frames = Frames::connect(address);
                frames.send(&attack.opening());
                let mut stream = 1;
                while !ends.load(Ordering::Relaxed) && frames.is_open() {
                    let batch = attack.batch(stream);
                    stream += 2 * BATCH;
                    frames.send(&batch);
                    sent.fetch_add(u64::from(BATCH), Ordering::Relaxed);
                }
            }
        });
        Self { over, connections, steps, thread }
    }

    fn end(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("an attacker ends by itself");
        (self.connections.load(Ordering::Relaxed), self.steps.load(Ordering::Relaxed))
    }
}

/// Lets all other threads go before this one.
fn leave_to_others(thread: Pid) {
    setpriority_process(Some(thread), 10).expect("a thread may go back");
}

/// A server for the large answers that a slow reader asks for.
fn prey() -> Sample {
    let server = Sample::start("prey", &["--concurrency", "1000", "--service-time", "2ms"]);
    for entry in std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs") {
        let name = entry.expect("it runs").file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        leave_to_others(thread.expect("a thread has a number"));
    }
    server
}

fn others(door: &Door) -> Load {
    let load = Plan { connections: 8, ..Plan::new(door.first_address(), 100) }.start();
    load.pass(50);
    load
}

#[track_caller]
fn withstand(attack: Attack, time: Duration) {
    let server = Sample::start("a", &["--concurrency", "1000", "--service-time", "2ms"]);
    let prey = prey();
    let door = Setup::at(&[server.address()])
        .more(&format!("[pools.prey]\nservers = [\"{}\"]", prey.address()))
        .more("[routes.prey]\npath = \"/bytes\"\npool = \"prey\"")
        .more("[door]\nworkers = 2")
        .start();
    let load = others(&door);
    load.pass(200);
    let (memory, began, mark) = (door.resident_bytes(), now(), load.mark());
    let attacker = Attacker::start(attack, door.first_address());
    let mut most = memory;
    while began.elapsed() < time {
        load.pass(25);
        most = most.max(door.resident_bytes());
    }
    let end = load.mark();
    let (connections, steps) = attacker.end();
    load.pass(50);
    let shots = load.finish();
    let quiet = Tally::between(&shots, Duration::ZERO, mark);
    let attacked = Tally::between(&shots, mark, end);
    show(&format!(
        "{attack:?}: {steps} steps over {connections} connections; others' p99 {:.1} ms before, \
         {:.1} ms meanwhile, {} of {} failed; memory {} KiB before, {} KiB at most",
        quiet.latency(990).as_secs_f64() * 1e3,
        attacked.latency(990).as_secs_f64() * 1e3,
        attacked.failed,
        attacked.requests,
        memory >> 10,
        most >> 10,
    ));
    assert_eq!(Tally::of(&shots).failed, 0, "{attack:?}: {:?}", attacked.causes);
    assert!(most <= memory + GROWTH_MAX, "{attack:?}: from {memory} to {most} bytes");
    assert!(steps > 0 && !door.log().contains("panicked"), "{attack:?}");
}

#[test]
fn attacks_of_two_seconds_change_nothing() {
    for attack in ALL {
        withstand(attack, Duration::from_secs(2));
    }
}

#[test]
#[ignore = "long: a minute for each of nine attacks"]
fn attacks_of_a_minute_change_nothing() {
    for attack in ALL {
        withstand(attack, Duration::from_secs(60));
    }
}
