//! What the demo shows, put together from both sides: what the clients saw and what the door says.
//!
//! Pure: facts in, text out; `screen` draws it on a terminal, `plain` lines go to a pipe.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::fact::{ServerFacts, Snapshot};
use rehearsal::load::StreamSecond;

use crate::commands::status::{milliseconds, percent, state};
use crate::output::printable;

/// Seconds of history that are drawn.
pub(super) const HISTORY: usize = 120;
/// After a repair, failures still count as explained for this many seconds.
const REPAIR_SECONDS: u32 = 5;

/// One sample application as the demo knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerScene {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) pid: Option<u32>,
    /// What somebody broke about it.
    pub(super) broken: Option<String>,
    /// What the door says about it.
    pub(super) facts: Option<ServerFacts>,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) door: SocketAddr,
    pub(super) socket: PathBuf,
    /// How this executable is called from the current folder.
    pub(super) program: String,
    pub(super) seconds: u64,
    pub(super) second: StreamSecond,
    pub(super) total: StreamSecond,
    pub(super) servers: Vec<ServerScene>,
    /// Requests per second, oldest first.
    pub(super) rates: VecDeque<u64>,
    /// 99th percentile in milliseconds by second, oldest first.
    pub(super) p99_ms: VecDeque<u64>,
    /// Failed requests while nothing was broken: the door's own fault.
    pub(super) failed_unbroken: u64,
    /// What the last key did.
    pub(super) notice: String,
    explained_seconds: u32,
}

impl Scene {
    pub(super) fn new(door: SocketAddr, socket: PathBuf) -> Self {
        Self {
            door,
            socket,
            program: "tidegate".to_owned(),
            seconds: 0,
            second: StreamSecond::default(),
            total: StreamSecond::default(),
            servers: Vec::new(),
            rates: VecDeque::new(),
            p99_ms: VecDeque::new(),
            failed_unbroken: 0,
            notice: String::new(),
            explained_seconds: 0,
        }
    }

    /// One more second passed.
    pub(super) fn advance(&mut self, second: StreamSecond) {
        self.seconds += 1;
        push(&mut self.rates, second.ended());
        push(&mut self.p99_ms, second.latency_all.quantile(0.99).unwrap_or(0) / 1_000);
        self.judge(&second);
        self.total.append(&second);
        self.second = second;
    }

    /// Failures count against the door unless something was broken within the last seconds.
    fn judge(&mut self, second: &StreamSecond) {
        if self.servers.iter().any(|server| server.broken.is_some()) {
            self.explained_seconds = REPAIR_SECONDS;
        } else {
            self.explained_seconds = self.explained_seconds.saturating_sub(1);
        }
        if self.explained_seconds == 0 {
            self.failed_unbroken += second.failed;
        }
    }

    /// Finds each server's facts in a snapshot of the door; `None` when the door did not answer.
    pub(super) fn tell(&mut self, snapshot: Option<&Snapshot>) {
        for server in &mut self.servers {
            let mut all = snapshot
                .into_iter()
                .flat_map(|snapshot| &snapshot.pools)
                .flat_map(|pool| &pool.servers);
            server.facts = all.find(|facts| facts.address == server.address).cloned();
        }
    }

    /// One line for a pipe.
    pub(super) fn line(&self) -> String {
        let mut parts = vec![
            format!("{:>3} s", self.seconds),
            format!("{} req/s", self.second.ended()),
            format!("p50 {}", milliseconds(self.second.latency_all.quantile(0.5))),
            format!("p99 {}", milliseconds(self.second.latency_all.quantile(0.99))),
            format!("in flight {}", self.second.in_flight),
            format!("failed {}", self.total.failed),
        ];
        parts.extend(self.servers.iter().map(ServerScene::text));
        parts.join(" | ")
    }

    /// What the whole demo came to.
    pub(super) fn summary(&self) -> String {
        let total = &self.total;
        let answered: u64 = total.by_server.values().sum();
        let mut text = format!(
            "{} s, {} requests, {} failed, p50 {}, p99 {}\n",
            self.seconds,
            total.ended(),
            total.failed,
            milliseconds(total.latency_all.quantile(0.5)),
            milliseconds(total.latency_all.quantile(0.99))
        );
        for (server, count) in &total.by_server {
            text.push_str(&format!(
                "  {:<8} {count} answers, {}\n",
                printable(server),
                percent(ratio(*count, answered))
            ));
        }
        for (cause, count) in &total.by_failure {
            text.push_str(&format!("  failed   {count} times: {}\n", printable(cause)));
        }
        if total.dropped > 0 {
            text.push_str(&format!(
                "  skipped  {} requests: too many were under way\n",
                total.dropped
            ));
        }
        if self.failed_unbroken > 0 {
            text.push_str(&format!(
                "  {} of the failures came while nothing was broken\n",
                self.failed_unbroken
            ));
        }
        text
    }

    /// What to try: a command, and what it shows.
    pub(super) fn suggestions(&self) -> Vec<(String, &'static str)> {
        let mut suggestions =
            vec![(format!("curl -i http://{}/", self.door), "ask the front door yourself")];
        if let Some(server) = self.servers.get(1) {
            let kill = server.pid.map_or_else(
                || format!("({} is not running)", server.name),
                |pid| format!("kill -9 {pid}"),
            );
            suggestions
                .push((kill, "kill b (or key 2): the others take over, and no request fails"));
        }
        if let Some(server) = self.servers.first() {
            suggestions.push((
                control(server, r#"{"service_time_ms": 200}"#),
                "slow a down (or key s): its share falls",
            ));
        }
        if let Some(server) = self.servers.get(2) {
            suggestions.push((
                control(server, r#"{"error_rate": 1, "fast_errors": true}"#),
                "make c fail fast: its share falls to next to nothing",
            ));
        }
        suggestions.push((
            format!("{} status --watch --socket {}", self.program, self.socket.display()),
            "the door's own view",
        ));
        suggestions
    }
}

fn control(server: &ServerScene, change: &str) -> String {
    format!("curl -X POST http://{}/_control -d '{change}'", server.address)
}

impl ServerScene {
    /// `a 33.1 % of 33.3 % up`, and why not.
    fn text(&self) -> String {
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        let facts = self.facts.as_ref();
        let mut text = format!(
            "{} {} of {} {}",
            self.name,
            share(facts.and_then(|facts| facts.share)),
            share(facts.map(|facts| facts.share_intended)),
            facts.map_or("not known", |facts| state(facts.state).0)
        );
        if let Some(why) = self.why() {
            text = format!("{text} ({why})");
        }
        text
    }

    /// Why it is not as it should be: what was broken, and what the door makes of it.
    pub(super) fn why(&self) -> Option<String> {
        let told = self.facts.as_ref().and_then(|facts| facts.why.as_deref());
        let parts: Vec<&str> = self.broken.as_deref().into_iter().chain(told).collect();
        (!parts.is_empty()).then(|| printable(&parts.join("; ")).into_owned())
    }
}

/// A bar of `width` characters: the observed share filled, the intended one marked.
pub(super) fn bar(observed: f64, intended: f64, width: u16) -> String {
    let reached = |share: f64, column: u16| share * f64::from(width) > f64::from(column) + 0.5;
    (0..width)
        .map(|column| {
            let ends_here = |share: f64| reached(share, column) && !reached(share, column + 1);
            match (reached(observed, column), ends_here(intended)) {
                (_, true) => '┃',
                (true, false) => '█',
                (false, false) => '░',
            }
        })
        .collect()
}

/// `part` of `whole`, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "counts of a demo stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn push(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use model::fact::{PoolFacts, ServerState};
    use rehearsal::load::Latencies;

    use super::*;

    /// A scene with one server up and one killed.
    pub(in crate::demo) fn scene() -> Scene {
        let mut scene =
            Scene::new(([127, 0, 0, 1], 8_080).into(), PathBuf::from("/tmp/demo/admin.sock"));
        let server = |name: &str, port: u16, pid, broken: Option<&str>| ServerScene {
            name: name.to_owned(),
            address: format!("127.0.0.1:{port}"),
            pid,
            broken: broken.map(str::to_owned),
            facts: None,
        };
        scene.servers = vec![
            server("a", 3_001, Some(11), None),
            server("b", 3_002, None, Some("not running")),
            server("c", 3_003, Some(13), None),
        ];
        let facts = |port: u16, state, share, why: Option<&str>| ServerFacts {
            address: format!("127.0.0.1:{port}"),
            state,
            share: Some(share),
            share_intended: if state == ServerState::Up { 1.0 } else { 0.0 },
            why: why.map(str::to_owned),
            ..ServerFacts::default()
        };
        let snapshot = Snapshot {
            pools: vec![PoolFacts {
                servers: vec![
                    facts(3_001, ServerState::Up, 1.0, None),
                    facts(3_002, ServerState::Down, 0.0, Some("connection refused\u{1b}[2J")),
                ],
                ..PoolFacts::default()
            }],
            ..Snapshot::default()
        };
        scene.tell(Some(&snapshot));
        let mut latency_all = Latencies::default();
        (0..98).for_each(|_| latency_all.add(20_000));
        latency_all.add(30_500);
        let seen = StreamSecond {
            ok: 99,
            failed: 1,
            answered: 99,
            in_flight: 2,
            by_server: BTreeMap::from([("a".to_owned(), 99)]),
            by_failure: BTreeMap::from([("timeout".to_owned(), 1)]),
            latency_all,
            ..StreamSecond::default()
        };
        scene.advance(seen);
        scene
    }

    #[test]
    fn a_line_says_it_all() {
        assert_eq!(
            scene().line(),
            "  1 s | 100 req/s | p50 20.0 ms | p99 30.5 ms | in flight 2 | failed 1 | a 100.0 % of 100.0 % up | \
             b 0.0 % of 0.0 % down (not running; connection refused\\u{1b}[2J) | c - of - not known"
        );
    }

    #[test]
    fn the_summary_names_the_causes() {
        assert_eq!(
            scene().summary(),
            "1 s, 100 requests, 1 failed, p50 20.0 ms, p99 30.5 ms\n  a        99 answers, 100.0 %\n  failed   1 times: timeout\n"
        );
    }

    #[test]
    fn failures_count_against_the_door_unless_something_was_broken() {
        let mut scene = scene();
        assert_eq!(scene.failed_unbroken, 0, "b was killed");
        for server in &mut scene.servers {
            server.broken = None;
        }
        let failed = || StreamSecond { failed: 1, ..StreamSecond::default() };
        for _ in 0..REPAIR_SECONDS - 1 {
            scene.advance(failed());
        }
        assert_eq!(scene.failed_unbroken, 0, "the repair takes its time");
        scene.advance(failed());
        assert_eq!(scene.failed_unbroken, 1);
        assert!(scene.summary().contains("1 of the failures came while nothing was broken"));
    }

    #[test]
    fn bars() {
        for (observed, intended, expected) in [
            (0.0, 0.0, "░░░░░░░░░░"),
            (0.5, 0.5, "████┃░░░░░"),
            (1.0, 0.3, "██┃███████"),
            (0.2, 0.7, "██░░░░┃░░░"),
            (1.0, 1.0, "█████████┃"),
        ] {
            assert_eq!(bar(observed, intended, 10), expected, "{observed} {intended}");
        }
    }

    #[test]
    fn history_is_bounded() {
        let mut scene = scene();
        for _ in 0..500 {
            scene.advance(StreamSecond::default());
        }
        assert_eq!((scene.rates.len(), scene.p99_ms.len()), (HISTORY, HISTORY));
    }
}
