//! What a point sends, as the plan of a load, and which of it is judged.

use std::fmt::Write as _;

use super::app::Capacity;
use super::case::{Case, Scenario};
use super::configurations::CRITICAL;

/// What a client waits for one answer.
const TIMEOUT: &str = "1s";
/// Seconds before what is judged.
pub(super) const SETTLE: u32 = 2;
/// Seconds after a change of the servers before what is judged.
pub(super) const CHANGED: u32 = 5;
/// Seconds of the flood before the storm is over.
pub(super) const FLOOD: u32 = 10;
/// Seconds after the flood before what is judged.
pub(super) const CALM: u32 = 2;
/// Seconds of polite clients alone.
pub(super) const ALONE: u32 = 4;
/// What the polite, the critical and those after the storm send, of the capacity.
pub(super) const BELOW: f64 = 0.8;
/// Polite clients.
pub(super) const POLITE: u32 = 100;
/// The address of the one that floods.
pub(super) const FLOODER: &str = "127.3.0.1";

/// Streams that are judged: their names, and what of the capacity could be had.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) stream: &'static str,
    pub(super) attainable_per_second: f64,
    pub(super) seconds: u32,
}

/// A load as a whole.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The plan's file.
    pub(super) text: String,
    pub(super) judged: Vec<Judged>,
    /// Seconds from its begin at which the servers become slow, and fast again.
    pub(super) slow: Option<(u32, u32)>,
    /// The second in which the one that floods begins.
    pub(super) flood: Option<u32>,
}

/// One stream.
struct Stream<'a> {
    name: &'a str,
    per_second: f64,
    start: u32,
    seconds: u32,
    more: &'a str,
}

impl Plan {
    /// The plan of a case. `fast` and `slow` are what the servers carry.
    pub(super) fn of(case: &Case, seconds: u32, fast: &Capacity, slow: &Capacity) -> Self {
        let retries =
            if case.retries { "retries = { max = 3, back_off = \"100ms\" }\n" } else { "" };
        let now = if case.scenario.begins_slow() { slow } else { fast };
        let offered = f64::from(case.times) * now.per_second;
        let mut plan = Self { text: String::new(), judged: Vec::new(), slow: None, flood: None };
        match case.scenario {
            Scenario::Curve | Scenario::Stale => {
                plan.add(Stream {
                    name: "settle",
                    per_second: offered,
                    start: 0,
                    seconds: SETTLE,
                    more: retries,
                });
                plan.judge("steady", now.per_second, seconds);
                plan.add(Stream {
                    name: "steady",
                    per_second: offered,
                    start: SETTLE,
                    seconds,
                    more: retries,
                });
            }
            Scenario::Change => plan.change(offered, seconds, (fast, slow)),
            Scenario::Talker => plan.talker(offered, seconds, fast.per_second),
            Scenario::Critical => plan.critical(offered, seconds, fast.per_second),
            Scenario::Storm => {
                let calm = BELOW * fast.per_second;
                plan.add(Stream {
                    name: "flood",
                    per_second: offered,
                    start: 0,
                    seconds: FLOOD,
                    more: retries,
                });
                plan.add(Stream {
                    name: "after",
                    per_second: calm,
                    start: FLOOD,
                    seconds: CALM,
                    more: retries,
                });
                plan.judge("calm", calm, seconds);
                plan.add(Stream {
                    name: "calm",
                    per_second: calm,
                    start: FLOOD + CALM,
                    seconds,
                    more: retries,
                });
            }
        }
        plan
    }

    fn change(&mut self, offered: f64, seconds: u32, (fast, slow): (&Capacity, &Capacity)) {
        let mut start = 0;
        let mut add = |plan: &mut Self, name, seconds| {
            plan.add(Stream { name, per_second: offered, start, seconds, more: "" });
            start += seconds;
            start
        };
        add(self, "settle", SETTLE);
        let falls = add(self, "before", CHANGED);
        add(self, "falling", CHANGED);
        let rises = add(self, "slow", seconds);
        add(self, "rising", CHANGED);
        add(self, "back", seconds);
        self.slow = Some((falls, rises));
        self.judge("slow", slow.per_second, seconds);
        self.judge("back", fast.per_second, seconds);
    }

    fn talker(&mut self, offered: f64, seconds: u32, capacity: f64) {
        let polite = format!("clients = {POLITE}\nsource = \"127.2.0.0/16\"\n");
        let flooder = format!("source = \"{FLOODER}/32\"\n");
        let calm = BELOW * capacity;
        self.add(Stream {
            name: "alone",
            per_second: calm,
            start: 0,
            seconds: ALONE,
            more: &polite,
        });
        // From the flood's first moment on.
        self.add(Stream { name: "polite", per_second: calm, start: ALONE, seconds, more: &polite });
        self.add(Stream {
            name: "flooder",
            per_second: offered - calm,
            start: ALONE,
            seconds,
            more: &flooder,
        });
        self.flood = Some(ALONE);
        self.judge("polite", calm, seconds);
    }

    fn critical(&mut self, offered: f64, seconds: u32, capacity: f64) {
        let (header, key) = CRITICAL;
        let critical = format!("key_header = \"{header}\"\nkey = \"{key}\"\n");
        let others = "clients = 100\nsource = \"127.2.0.0/16\"\n";
        let calm = BELOW * capacity;
        self.add(Stream {
            name: "alone",
            per_second: calm,
            start: 0,
            seconds: SETTLE,
            more: &critical,
        });
        self.add(Stream {
            name: "critical",
            per_second: calm,
            start: SETTLE,
            seconds,
            more: &critical,
        });
        self.add(Stream {
            name: "others",
            per_second: offered - calm,
            start: SETTLE,
            seconds,
            more: others,
        });
        self.judge("critical", calm, seconds);
    }

    fn add(&mut self, stream: Stream<'_>) {
        let Stream { name, per_second, start, seconds, more } = stream;
        write!(
            self.text,
            "[load.{name}]\nrate = \"{per_second:.2}/s\"\nstart = \"{start}s\"\nfor = \"{seconds}s\"\n\
             timeout = \"{TIMEOUT}\"\nin_flight = 18000\n{more}\n"
        )
        .expect("a String takes everything");
    }

    fn judge(&mut self, stream: &'static str, attainable_per_second: f64, seconds: u32) {
        self.judged.push(Judged { stream, attainable_per_second, seconds });
    }
}
