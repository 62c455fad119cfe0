//! Compares rules for choosing a server, and prints the numbers of
//! `docs/explanation/balancing.md`.
//!
//! `cargo run -p simulation --release --example balancing [quick]`

use std::io::{StdoutLock, Write};
use std::time::Duration;

use model::configuration::Balance;
use simulation::{Condition, Entrance, Flow, Plan, Rule, Seen, ServerPlan, Work, run};

const SEEDS: [u64; 2] = [1, 2];
/// Requests of one run; a tenth of it when it must be quick.
const REQUESTS: f64 = 250_000.0;
const LOADS: [f64; 6] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98];
/// The load that the second table looks at more closely.
const CLOSELY: f64 = 0.8;
/// A load at which no server is ever full: who gets the requests then is the rule's own choice.
const LIGHT: f64 = 0.1;
/// A p99 longer than this, in ms, only says how long the run was.
const OVERLOADED: f64 = 1_000.0;
const WORK: Duration = Duration::from_millis(10);
const PLACES: usize = 4;
const RULES: [Rule; 7] = [
    Rule::Pool(Balance::Random),
    Rule::Pool(Balance::RoundRobin),
    Rule::Pool(Balance::LeastRequest),
    Rule::Pool(Balance::P2c),
    Rule::JoinLeast,
    Rule::HotCold(16),
    Rule::HotCold(5),
];

/// A world in which rules are compared.
struct Scene {
    name: &'static str,
    servers: Vec<ServerPlan>,
    doors: usize,
    work: Work,
}

fn scenes() -> Vec<Scene> {
    let equal = |count| vec![ServerPlan::sleeping(PLACES); count];
    let slow = |count, slow| {
        let mut servers = equal(count);
        servers[..slow].fill(ServerPlan::sleeping(PLACES).at_speed(0.25));
        servers
    };
    let exponential = Work::Exponential;
    let scene = |name, servers, doors, work| Scene { name, servers, doors, work };
    vec![
        scene("4 equal servers", equal(4), 1, exponential),
        scene("20 equal servers", equal(20), 1, exponential),
        scene("6 servers, one 4 x slower", slow(6, 1), 1, exponential),
        scene("20 servers, 4 of them 4 x slower", slow(20, 4), 1, exponential),
        scene(
            "20 equal servers, 5 % of the requests 20 x as long",
            equal(20),
            1,
            Work::Bimodal { share: 0.05, times: 20.0 },
        ),
        scene("20 equal servers behind 100 doors", equal(20), 100, exponential),
        scene("20 servers, 4 of them 4 x slower, behind 100 doors", slow(20, 4), 100, exponential),
        scene(
            "20 servers, half of them stand still 0.2 s of every 4 s",
            pausing(20),
            1,
            exponential,
        ),
    ]
}

/// Servers of which half stand still at the same time, again and again.
fn pausing(count: usize) -> Vec<ServerPlan> {
    let mut servers = vec![ServerPlan::sleeping(PLACES); count];
    let works = Condition::Works { speed: 1.0 };
    let pauses = (1..100).map(|number| Duration::from_secs(4 * number));
    let changes: Vec<_> = pauses
        .flat_map(|at| [(at, Condition::Paused), (at + Duration::from_millis(200), works)])
        .collect();
    for server in &mut servers[..count / 2] {
        server.changes.clone_from(&changes);
    }
    servers
}

/// What all servers end in a second, at the speed they begin with.
fn per_second(servers: &[ServerPlan]) -> f64 {
    let speed = |server: &ServerPlan| match server.changes.first() {
        Some((Duration::ZERO, Condition::Works { speed })) => *speed,
        Some(_) | None => 1.0,
    };
    servers.iter().map(|server| server.capacity() * speed(server)).sum::<f64>() / WORK.as_secs_f64()
}

fn plan(scene: &Scene, rule: &Rule, load: f64, requests: f64, seed: u64) -> Plan {
    let per_second = per_second(&scene.servers) * load;
    let counted = Duration::from_secs_f64(requests / per_second);
    Plan {
        seed,
        servers: scene.servers.clone(),
        doors: scene.doors,
        rule: rule.clone(),
        work_mean: WORK,
        entrance: Entrance::Open,
        work: scene.work,
        flows: vec![Flow::steady(per_second)],
        objective: Duration::from_secs(1),
        warm_up: counted / 5,
        duration: counted + counted / 5,
    }
}

fn play(scene: &Scene, rule: &Rule, load: f64, requests: f64) -> [Seen; 2] {
    SEEDS.map(|seed| run(&plan(scene, rule, load, requests, seed)))
}

fn mean(runs: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len() as f64
}

/// A time in ms, unless what waits grows without end.
fn ms(value: f64) -> String {
    match value {
        OVERLOADED.. => "overload".to_owned(),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

fn compare(scene: &Scene, requests: f64, out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    let loads = LOADS.map(|load| format!("{load}")).join(" | ");
    writeln!(out, "\n### {}\n\n| p99 in ms at a load of | {loads} |", scene.name)?;
    writeln!(out, "| --- |{}", " --- |".repeat(LOADS.len()))?;
    let mut closely = Vec::new();
    for rule in RULES {
        write!(out, "| {} |", rule.name())?;
        for load in LOADS {
            let runs = play(scene, &rule, load, requests);
            write!(out, " {} |", ms(mean(&runs, |seen| seen.quantile_ms(0.99))))?;
            if load == CLOSELY {
                closely.push((rule.clone(), runs));
            }
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\n| at {CLOSELY} | mean | p50 | p99 | p999 | max/mean in flight | max/mean requests at {LIGHT} |"
    )?;
    writeln!(out, "| --- |{}", " --- |".repeat(6))?;
    for (rule, runs) in &closely {
        let at = |quantile| ms(mean(runs, |seen| seen.quantile_ms(quantile)));
        let (mean_ms, uneven) = (ms(mean(runs, Seen::mean_ms)), mean(runs, Seen::unevenness));
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(at);
        let light = play(scene, rule, LIGHT, requests / 4.0);
        let lopsided = mean(&light, Seen::lopsidedness);
        write!(out, "| {} | {mean_ms} | {p50} | {p99} | {p999} |", rule.name())?;
        writeln!(out, " {uneven:.2} | {lopsided:.2} |")?;
    }
    Ok(())
}

/// One of eight servers at half load turns bad, or is new: what it gets from a second later on.
fn one_bad(out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    const BAD_AT: Duration = Duration::from_secs(10);
    let turns = |condition| {
        let mut bad = ServerPlan::sleeping(PLACES);
        bad.changes = vec![(BAD_AT, condition)];
        bad
    };
    let new = ServerPlan { joins: Some(BAD_AT), ..ServerPlan::sleeping(PLACES) };
    let bad = [
        ("4 x slower", turns(Condition::Works { speed: 0.25 })),
        ("fails at once", turns(Condition::Fails)),
        ("stands still", turns(Condition::Paused)),
        ("new", new),
    ];
    let names = bad.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ");
    writeln!(out, "\n### One bad server of eight, load 0.5, from 1 s to 11 s after\n")?;
    writeln!(out, "Its share of the attempts in %, and max/mean in flight.\n")?;
    writeln!(out, "| rule | {names} |\n| --- |{}", " --- |".repeat(bad.len()))?;
    for rule in RULES {
        write!(out, "| {} |", rule.name())?;
        for (_, bad) in &bad {
            let mut servers = vec![ServerPlan::sleeping(PLACES); 7];
            servers.push(bad.clone());
            let scene = Scene { name: "", servers, doors: 1, work: Work::Exponential };
            let second = Duration::from_secs(1);
            let play = |seed| {
                let plan = plan(&scene, &rule, 0.5, 1.0, seed);
                run(&Plan { warm_up: BAD_AT + second, duration: BAD_AT + 11 * second, ..plan })
            };
            let runs = SEEDS.map(play);
            let share = mean(&runs, |seen| {
                let sum: u64 = seen.servers.iter().map(|server| server.attempts).sum();
                seen.servers[7].attempts as f64 / sum as f64 * 100.0
            });
            write!(out, " {share:.2} %, {:.2} |", mean(&runs, Seen::unevenness))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let quick = std::env::args().any(|argument| argument == "quick");
    let requests = if quick { REQUESTS / 10.0 } else { REQUESTS };
    writeln!(
        out,
        "Seeds {SEEDS:?}, {requests} requests each; {PLACES} places a server, work {WORK:?}"
    )?;
    scenes().iter().try_for_each(|scene| compare(scene, requests, &mut out))?;
    one_bad(&mut out)
}
