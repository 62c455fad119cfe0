//! Prints what doors do when far more is asked for than servers can do; see
//! `docs/explanation/balancing.md`.
//!
//! `cargo run -p simulation --release --example overload`

use std::io::{StdoutLock, Write};
use std::time::Duration;

use model::configuration::Balance;
use simulation::{Condition, Entrance, Flow, Patience, Plan, Rule, Seen, ServerPlan, Work, run};

const SEED: u64 = 1;
/// Goodput counts from here on: the door has had this long to find out.
const SETTLED: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(25);
const OBJECTIVE: Duration = Duration::from_millis(200);
const P2C: Rule = Rule::Pool(Balance::P2c);

/// Two servers of one kind, and what they can do.
#[derive(Clone)]
struct Kind {
    name: &'static str,
    server: ServerPlan,
    work_mean: Duration,
    work: Work,
    /// Requests in flight at which one server is at its best.
    knee: u32,
}

impl Kind {
    fn all() -> [Self; 4] {
        let kind = |name, (server, knee), work_ms, work| Self {
            name,
            server,
            knee,
            work_mean: Duration::from_millis(work_ms),
            work,
        };
        let sleeping = (ServerPlan::sleeping(5), 5);
        let collapsing = (ServerPlan::collapsing(8.0), 8);
        [
            kind("sleeping, work fixed", sleeping.clone(), 20, Work::Fixed),
            kind("sleeping, work exponential", sleeping, 20, Work::Exponential),
            kind("collapsing, work fixed", collapsing.clone(), 10, Work::Fixed),
            kind("collapsing, work exponential", collapsing, 10, Work::Exponential),
        ]
    }

    /// Requests a second that both can do.
    fn peak(&self) -> f64 {
        2.0 * self.server.capacity() / self.work_mean.as_secs_f64()
    }

    fn plan(&self, rates: &[(u64, f64)], retries: u32) -> Plan {
        let rates = rates.iter().map(|(at, load)| (Duration::from_secs(*at), load * self.peak()));
        let patience = Patience {
            timeout: Some(Duration::from_secs(1)),
            retries,
            pause: Duration::from_millis(50),
        };
        Plan {
            seed: SEED,
            servers: vec![self.server.clone(); 2],
            doors: 1,
            rule: P2C,
            work_mean: self.work_mean,
            entrance: Entrance::Found,
            work: self.work,
            flows: vec![Flow { rates: rates.collect(), burst: 1, clients: 200, patience }],
            objective: OBJECTIVE,
            warm_up: SETTLED,
            duration: LONG,
        }
    }

    /// Good answers from one second to another, in percent of the peak.
    fn good(&self, seen: &Seen, from: u64, to: u64) -> f64 {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        seen.good_per_second(from, to) / self.peak() * 100.0
    }
}

fn goodput(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\n### Goodput from second 5 to 25, in percent of the peak; p99 in ms\n")?;
    let loads = [1.0, 2.0, 5.0, 10.0, 20.0];
    let names = loads.map(|load| format!("{load} x")).join(" | ");
    writeln!(out, "| servers | limit | p99 at 0.3 x | {names} |")?;
    writeln!(out, "| --- |{}", " --- |".repeat(7))?;
    for kind in Kind::all() {
        for (retries, entrance) in [
            (0, Entrance::Found),
            (0, Entrance::Set(kind.knee)),
            (0, Entrance::Set(kind.knee * 4)),
            (0, Entrance::Open),
            (3, Entrance::Found),
            (3, Entrance::Set(kind.knee)),
            (3, Entrance::Open),
        ] {
            let play = |load| {
                let mut plan = kind.plan(&[(0, load)], retries);
                plan.entrance = entrance;
                run(&plan)
            };
            let with = if retries == 0 { "" } else { ", 3 retries" };
            let limit = words(entrance);
            let calm = play(0.3).quantile_ms(0.99);
            write!(out, "| {}{with} | {limit} | {calm:.0} |", kind.name)?;
            for load in loads {
                let seen = play(load);
                let (good, p99) = (kind.good(&seen, 5, 25), seen.quantile_ms(0.99));
                write!(out, " {good:.1} ({p99:.0}) |")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn slowed(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\n### Servers 4 x slower from second 15 to 30: goodput by second\n")?;
    writeln!(out, "In percent of the peak, while they are slower of a quarter of it.\n")?;
    writeln!(
        out,
        "| servers | load | limit | 14 | 15 - 18 | 19 | 20 - 29 | 30 - 33 | 34 | 35 - 44 |"
    )?;
    writeln!(out, "| --- |{}", " --- |".repeat(9))?;
    for kind in Kind::all() {
        for (load, entrance) in
            [(2.0, Entrance::Found), (10.0, Entrance::Found), (10.0, Entrance::Set(kind.knee))]
        {
            let mut plan = kind.plan(&[(0, load)], 0);
            plan.entrance = entrance;
            plan.duration = Duration::from_secs(45);
            for server in &mut plan.servers {
                server.changes = vec![
                    (Duration::from_secs(15), Condition::Works { speed: 0.25 }),
                    (Duration::from_secs(30), Condition::Works { speed: 1.0 }),
                ];
            }
            let seen = run(&plan);
            write!(out, "| {} | {load} x | {} |", kind.name, words(entrance))?;
            for (from, to, part) in [
                (14, 15, 1.0),
                (15, 19, 0.25),
                (19, 20, 0.25),
                (20, 30, 0.25),
                (30, 34, 1.0),
                (34, 35, 1.0),
                (35, 45, 1.0),
            ] {
                write!(out, " {:.0} |", kind.good(&seen, from, to) / part)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn words(entrance: Entrance) -> String {
    match entrance {
        Entrance::Open => "none".to_owned(),
        Entrance::Found => "found".to_owned(),
        Entrance::Set(most) => format!("{most} a server, by hand"),
    }
}

fn storm(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\n### 10 s of 20 x with 3 retries, then 0.8 x\n")?;
    writeln!(out, "Goodput in percent of what is asked for, by seconds after the surge.\n")?;
    writeln!(out, "| servers | door | 0 - 1 | 1 - 2 | 2 - 3 | 3 - 5 | 5 - 10 | 10 - 30 |")?;
    writeln!(out, "| --- |{}", " --- |".repeat(7))?;
    for kind in Kind::all() {
        let round_robin = Rule::Pool(Balance::RoundRobin);
        for (door, rule, entrance) in [
            ("defaults", P2C, Entrance::Found),
            ("round robin, no admission", round_robin, Entrance::Open),
        ] {
            let mut plan = kind.plan(&[(0, 0.8), (5, 20.0), (15, 0.8)], 3);
            (plan.rule, plan.entrance) = (rule, entrance);
            plan.duration = Duration::from_secs(45);
            let seen = run(&plan);
            write!(out, "| {} | {door} |", kind.name)?;
            for (from, to) in [(15, 16), (16, 17), (17, 18), (18, 20), (20, 25), (25, 45)] {
                write!(out, " {:.0} |", kind.good(&seen, from, to) / 0.8)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn greedy(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    writeln!(out, "\n### One client sends most of the load, 100 others the rest\n")?;
    writeln!(out, "Good answers in percent of the requests of the 100 clients.\n")?;
    writeln!(out, "| servers | 9.5 + 0.5 x | 15.2 + 0.8 x | 19 + 1 x |")?;
    writeln!(out, "| --- | --- | --- | --- |")?;
    for kind in Kind::all() {
        write!(out, "| {} |", kind.name)?;
        for polite in [0.5, 0.8, 1.0] {
            let mut plan = kind.plan(&[(0, polite)], 0);
            let mut greedy = kind.plan(&[(0, polite * 19.0)], 0).flows;
            plan.flows[0].clients = 100;
            greedy[0].clients = 1;
            plan.flows.append(&mut greedy);
            let seen = run(&plan);
            let share = |flow: usize| {
                let flow = seen.flows[flow];
                flow.good as f64 / flow.due.max(1) as f64 * 100.0
            };
            write!(out, " {:.1} (total {:.0}) |", share(0), kind.good(&seen, 5, 25))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Seed {SEED}; an answer is good within {OBJECTIVE:?} of when it was due")?;
    goodput(&mut out)?;
    slowed(&mut out)?;
    storm(&mut out)?;
    greedy(&mut out)
}
