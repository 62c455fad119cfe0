//! A candidate: the hot-cold rule of Prequal (Wydrowski et al., NSDI 2024).
//!
//! Doors ask servers how many requests they hold, from all doors, and how long such a load lately
//! took. Of the reports that a door keeps, those at or below a quantile of the loads seen are
//! cold: the least latency among them wins; when all are hot, the least load. For comparison
//! only: in the house it needs servers that report, or doors that tell each other.

use std::collections::VecDeque;
use std::time::Duration;

use balancing::Dice;
use model::Timestamp;

/// A report older than this is not believed.
const AGE_MAX: Duration = Duration::from_secs(1);
/// With fewer reports the door takes the less loaded of two, by what it sent itself.
const REPORTS_MIN: usize = 2;
/// Servers that are asked at each request.
const ASKED: usize = 3;
/// Loads that the limit between hot and cold is taken from.
const LOADS: usize = 64;
const HOT_FROM: f64 = 0.6;
/// Latencies remembered for each load, and loads told apart.
const LATENCIES: usize = 5;
const LOADS_MAX: usize = 256;

/// What one server reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) held: usize,
    /// In seconds.
    pub(crate) latency: f64,
}

/// What one door knows.
#[derive(Debug)]
pub(crate) struct HotCold {
    in_flight: Vec<u32>,
    /// The oldest first; at most one of a server.
    reports: VecDeque<Kept>,
    loads: VecDeque<usize>,
    reports_max: usize,
    /// How often one report is used: so that they do not run out, and are not overused.
    uses_max: u32,
    worst_next: bool,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    server: usize,
    report: Report,
    at: Timestamp,
    uses: u32,
}

impl HotCold {
    /// Keeps so many reports of so many servers.
    pub(crate) fn new(servers: usize, reports_max: usize) -> Self {
        // Section 4.4: 2 / ((1 - m / n) asked - 1), for m reports kept of n servers.
        let gained = (1.0 - reports_max as f64 / servers as f64) * ASKED as f64 - 1.0;
        let uses_max = (1..16).find(|&uses| f64::from(uses) * gained >= 2.0).unwrap_or(16);
        Self {
            in_flight: vec![0; servers],
            reports: VecDeque::new(),
            loads: VecDeque::new(),
            reports_max,
            uses_max,
            worst_next: false,
        }
    }

    /// There are so many servers now.
    pub(crate) fn grow(&mut self, servers: usize) {
        self.in_flight.resize(servers, 0);
    }

    /// Chooses a server, then asks some for the next time.
    pub(crate) fn choose(
        &mut self,
        now: Timestamp,
        dice: &mut Dice,
        ask: impl Fn(usize) -> Report,
    ) -> usize {
        self.reports.retain(|kept| now.since(kept.at) <= AGE_MAX);
        let chosen = match self.best() {
            Some(place) => self.used(place),
            None => self.less_loaded_of_two(dice),
        };
        self.remove_one();
        for _ in 0..ASKED {
            let server = any(self.in_flight.len(), dice);
            self.keep(server, ask(server), now);
        }
        self.in_flight[chosen] += 1;
        chosen
    }

    pub(crate) fn ended(&mut self, index: usize) {
        self.in_flight[index] -= 1;
    }

    fn best(&self) -> Option<usize> {
        if self.reports.len() < REPORTS_MIN {
            return None;
        }
        let limit = self.limit();
        let rank = |kept: &Kept| match kept.report {
            Report { held, latency } if held <= limit => (0, latency),
            Report { held, .. } => (held, 0.0),
        };
        let ranks = self.reports.iter().map(rank).enumerate();
        ranks
            .min_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
            .map(|(place, _)| place)
    }

    /// The most that a cold server holds.
    fn limit(&self) -> usize {
        let mut loads: Vec<usize> = self.loads.iter().copied().collect();
        loads.sort_unstable();
        let below = loads.iter().enumerate();
        let rank = (loads.len() as f64 - 1.0) * HOT_FROM;
        below.take_while(|(place, _)| *place as f64 <= rank).last().map_or(0, |(_, load)| *load)
    }

    /// Counts what is sent there into the report, so that not everything goes the same way.
    fn used(&mut self, place: usize) -> usize {
        let kept = &mut self.reports[place];
        kept.report.held += 1;
        kept.uses += 1;
        let (server, worn) = (kept.server, kept.uses >= self.uses_max);
        if worn {
            let _ = self.reports.remove(place);
        }
        server
    }

    /// The oldest and the worst in turn, so that neither stays.
    fn remove_one(&mut self) {
        if self.reports.len() <= REPORTS_MIN {
            return;
        }
        self.worst_next = !self.worst_next;
        let limit = self.limit();
        let badness = |kept: &Kept| match kept.report {
            Report { held, .. } if held > limit => (held, 0.0),
            Report { latency, .. } => (0, latency),
        };
        let ranks = self.reports.iter().map(badness).enumerate();
        let worst = ranks.max_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let place = if self.worst_next { worst.map_or(0, |(place, _)| place) } else { 0 };
        let _ = self.reports.remove(place);
    }

    fn keep(&mut self, server: usize, report: Report, now: Timestamp) {
        self.loads.push_back(report.held);
        if self.loads.len() > LOADS {
            let _ = self.loads.pop_front();
        }
        self.reports.retain(|kept| kept.server != server);
        if self.reports.len() == self.reports_max {
            let _ = self.reports.pop_front();
        }
        self.reports.push_back(Kept { server, report, at: now, uses: 0 });
    }

    fn less_loaded_of_two(&self, dice: &mut Dice) -> usize {
        let (one, other) = (any(self.in_flight.len(), dice), any(self.in_flight.len(), dice));
        if self.in_flight[other] < self.in_flight[one] { other } else { one }
    }
}

fn any(servers: usize, dice: &mut Dice) -> usize {
    usize::try_from(dice.below(servers as u64)).unwrap_or(0)
}

/// What a server remembers of how long requests took, by what it held when they came.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    by_load: Vec<VecDeque<f64>>,
}

impl Latencies {
    pub(crate) fn record(&mut self, held: usize, seconds: f64) {
        let load = held.min(LOADS_MAX - 1);
        if self.by_load.len() <= load {
            self.by_load.resize_with(load + 1, VecDeque::new);
        }
        let latencies = &mut self.by_load[load];
        if latencies.len() == LATENCIES {
            let _ = latencies.pop_front();
        }
        latencies.push_back(seconds);
    }

    /// The median at the load that is nearest to this one, in seconds; 0 when nothing is known.
    pub(crate) fn at(&self, held: usize) -> f64 {
        let known = self.by_load.iter().enumerate().filter(|(_, latencies)| !latencies.is_empty());
        let Some((_, nearest)) = known.min_by_key(|(load, _)| load.abs_diff(held)) else {
            return 0.0;
        };
        let mut sorted: Vec<f64> = nearest.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}
