//! Prints how near the limit that is found comes to the best one that could be set by hand, for two
//! servers like those of `cargo xtask bench overload`, each case over many seeds.
//!
//! `cargo run -p simulation --release --example limits [-- SEEDS]`

use std::io::{StdoutLock, Write};
use std::time::Duration;

use model::configuration::Balance;
use simulation::{Condition, Entrance, Flow, Patience, Plan, Rule, ServerPlan, Work, run};

const OBJECTIVE: Duration = Duration::from_millis(200);
const LOADS: [f64; 5] = [0.8, 1.0, 2.0, 5.0, 20.0];
/// Limits of one server that are tried by hand.
const BY_HAND: std::ops::RangeInclusive<u32> = 3..=8;
const SEEDS: u64 = 12;

/// Two servers of one kind.
struct Kind {
    name: &'static str,
    server: ServerPlan,
    work_ms: f64,
    work: Work,
    /// From when to when goodput counts, in seconds, and the part of its speed that a server has then.
    judged: [(u64, u64, f64); 2],
}

impl Kind {
    fn all() -> Vec<Self> {
        let sleeping = ("sleeping", ServerPlan::sleeping(4), 32.0);
        let locking = ("lock contention", ServerPlan::locking(6.56, 0.05), 35.4);
        let slow = vec![
            (Duration::from_secs(10), Condition::Works { speed: 0.25 }),
            (Duration::from_secs(25), Condition::Works { speed: 1.0 }),
        ];
        let mut all = Vec::new();
        for work in [Work::Fixed, Work::Exponential] {
            for (name, server, work_ms) in [&sleeping, &locking] {
                let (server, slower) = (server.clone(), work_ms * 4.0);
                let changing = ServerPlan { changes: slow.clone(), ..server.clone() };
                let judged = [(2, 6, 1.0), (6, 14, 1.0)];
                all.push(Self { name, server: server.clone(), work_ms: *work_ms, work, judged });
                all.push(Self { name, server, work_ms: slower, work, judged });
                let (server, judged) = (changing, [(15, 25, 0.25), (30, 40, 1.0)]);
                all.push(Self { name, server, work_ms: *work_ms, work, judged });
            }
        }
        all
    }

    fn peak(&self) -> f64 {
        2.0 * self.server.capacity() / self.work_ms * 1e3
    }

    /// Goodput in the judged times, in percent of what could be, mean of all seeds.
    fn goodput(&self, load: f64, entrance: Entrance, seeds: u64) -> [f64; 2] {
        let s = Duration::from_secs;
        let patience =
            Patience { timeout: Some(s(1)), retries: 0, pause: Duration::from_millis(50) };
        let rates = vec![(Duration::ZERO, load * self.peak())];
        let flow = Flow { rates, burst: 1, clients: 200, patience };
        let mut sums = [0.0; 2];
        for seed in 1..=seeds {
            let seen = run(&Plan {
                seed,
                servers: vec![self.server.clone(); 2],
                doors: 1,
                rule: Rule::Pool(Balance::P2c),
                work_mean: Duration::from_secs_f64(self.work_ms / 1e3),
                entrance,
                work: self.work,
                flows: vec![flow.clone()],
                objective: OBJECTIVE,
                warm_up: s(2),
                duration: s(self.judged[1].1),
            });
            for (sum, (from, to, speed)) in sums.iter_mut().zip(self.judged) {
                let possible = self.peak() * load.min(1.0) * speed;
                *sum += seen.good_per_second(s(from), s(to)) / possible * 100.0;
            }
        }
        sums.map(|sum| sum / seeds as f64)
    }

    fn print(&self, load: f64, seeds: u64, out: &mut StdoutLock) -> std::io::Result<f64> {
        let [early, late] = self.goodput(load, Entrance::Found, seeds);
        let by_hand = BY_HAND
            .map(|limit| (self.goodput(load, Entrance::Set(limit), seeds), limit))
            .max_by(|(a, _), (b, _)| (a[0] + a[1]).total_cmp(&(b[0] + b[1])));
        let ([hand_early, hand_late], limit) = by_hand.unwrap_or_default();
        let (name, work_ms, work) = (self.name, self.work_ms, self.work);
        let [(a, b, _), (c, d, _)] = self.judged;
        writeln!(
            out,
            "| {name}, {work_ms:.0} ms, {work:?} | {load} x | {a}-{b} and {c}-{d} s | {early:.0} {late:.0} | {hand_early:.0} {hand_late:.0} ({limit}) |"
        )?;
        Ok(early.min(100.0) + late.min(100.0))
    }
}

fn main() -> std::io::Result<()> {
    let seeds = std::env::args().nth(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let mut out = std::io::stdout().lock();
    writeln!(out, "Goodput in percent of what can be, mean of {seeds} seeds\n")?;
    writeln!(out, "| servers | load | judged | found | best by hand (limit of a server) |")?;
    writeln!(out, "| --- | --- | --- | --- | --- |")?;
    let (mut sum, mut count) = (0.0, 0.0);
    for kind in Kind::all() {
        // One that changes is overloaded before, or there is nothing to follow.
        let least = if kind.server.changes.is_empty() { 0.0 } else { 2.0 };
        for load in LOADS.into_iter().filter(|load| *load >= least) {
            sum += kind.print(load, seeds, &mut out)?;
            count += 2.0;
        }
    }
    writeln!(out, "\nmean of what was found: {:.2}", sum / count)
}
