//! Candidates: per second, what the live arm and the candidate did.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use model::arm::{ArmFacts, ArmPool, ArmServer, LATENCY_BUCKETS, latency_bucket};
use rollout::{Canary, CanarySettings, CanaryVerdict};

use super::{normal, poisson, round};

/// Failures that have nothing to do with the change.
const FAILED_ANYWAY: f64 = 0.003;
/// Latencies are drawn from a table of this many.
const DRAWS: usize = 4_096;
const SERVERS: usize = 3;

/// What a candidate does to the requests it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Nothing.
    Same,
    /// Everything takes 0.95 of the time.
    Faster,
    /// Everything takes 3 % longer, and each arm's seconds differ by 3 % by chance.
    Noise,
    /// Nothing, while every 20 seconds three seconds of triple traffic, double latency and 5 %
    /// failures come over both arms.
    Bursts,
    /// This share of the requests fails in addition.
    Fails(f64),
    /// Everything takes this many times longer.
    Slower(f64),
    /// All requests go to one server, which takes three times as long.
    OneServer,
    /// One request in ten, those of one route, fails half of the time.
    FailsInPart,
    /// One request in ten, those of one route, takes five times longer.
    SlowInPart,
}

impl Change {
    pub(crate) const GOOD: [Self; 4] = [Self::Same, Self::Faster, Self::Noise, Self::Bursts];
    pub(crate) const BAD: [Self; 9] = [
        Self::Fails(0.01),
        Self::Fails(0.05),
        Self::Fails(0.3),
        Self::Slower(1.3),
        Self::Slower(2.0),
        Self::Slower(5.0),
        Self::OneServer,
        Self::FailsInPart,
        Self::SlowInPart,
    ];

    pub(crate) fn words(self) -> String {
        match self {
            Self::Same => "no difference".to_owned(),
            Self::Faster => "5 % faster".to_owned(),
            Self::Noise => "3 % slower, noise".to_owned(),
            Self::Bursts => "bursts over both".to_owned(),
            Self::Fails(share) => format!("{:.0} % more failures", share * 100.0),
            Self::Slower(times) => format!("{times} times slower"),
            Self::OneServer => "one server gets all".to_owned(),
            Self::FailsInPart => "half of a tenth fails".to_owned(),
            Self::SlowInPart => "a tenth 5 times slower".to_owned(),
        }
    }

    fn failed(self) -> f64 {
        match self {
            Self::Fails(share) => share,
            Self::FailsInPart => 0.05,
            Self::Same
            | Self::Faster
            | Self::Noise
            | Self::Bursts
            | Self::Slower(_)
            | Self::OneServer
            | Self::SlowInPart => 0.0,
        }
    }

    fn slower(self) -> f64 {
        match self {
            Self::Faster => 0.95,
            Self::Noise => 1.03,
            Self::Slower(times) => times,
            Self::OneServer => 3.0,
            Self::Same | Self::Bursts | Self::Fails(_) | Self::FailsInPart | Self::SlowInPart => {
                1.0
            }
        }
    }
}

/// How a candidate is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) per_second: f64,
    pub(crate) share: f64,
    pub(crate) seconds: u32,
}

impl Trial {
    /// The issue's: 5, 50 and 500 requests a second, a small long trial and a large short one.
    pub(crate) const ALL: [Self; 6] = [
        Self { per_second: 5.0, share: 0.05, seconds: 600 },
        Self { per_second: 50.0, share: 0.05, seconds: 600 },
        Self { per_second: 500.0, share: 0.05, seconds: 600 },
        Self { per_second: 5.0, share: 0.5, seconds: 120 },
        Self { per_second: 50.0, share: 0.5, seconds: 120 },
        Self { per_second: 500.0, share: 0.5, seconds: 120 },
    ];

    /// Requests of the smaller side, on average.
    pub(crate) fn requests(self) -> f64 {
        self.per_second * self.share.min(1.0 - self.share) * f64::from(self.seconds)
    }

    pub(crate) fn words(self) -> String {
        format!("{}/s, {:.0} %, {} min", self.per_second, self.share * 100.0, self.seconds / 60)
    }
}

/// Plays one change until there is a verdict. Returns it and the second it came in.
pub(crate) fn play(change: Change, trial: Trial, seed: u64) -> (CanaryVerdict, u32) {
    let mut world = World::new(Rng::with_seed(seed), change, trial);
    let mut canary = Canary::new(CanarySettings {
        share: trial.share,
        duration: Duration::from_secs(u64::from(trial.seconds)),
        requests_min: 300,
        share_max: 0.9,
        lopsided: BTreeSet::new(),
    });
    for second in 1..=trial.seconds {
        let (live, candidate) = world.second(second);
        match canary.second(&live, &candidate) {
            CanaryVerdict::Watching => {}
            verdict @ (CanaryVerdict::Promote(_)
            | CanaryVerdict::RollBack(_)
            | CanaryVerdict::Undecided(_)) => return (verdict, second),
        }
    }
    panic!("the trial is over and there is no verdict");
}

struct World {
    rng: Rng,
    change: Change,
    trial: Trial,
    /// Microseconds, as often as they occur: log-normal around 40 ms.
    latencies: Vec<f64>,
}

impl World {
    fn new(mut rng: Rng, change: Change, trial: Trial) -> Self {
        let latencies = (0..DRAWS).map(|_| 40_000.0 * (0.5 * normal(&mut rng)).exp()).collect();
        Self { rng, change, trial, latencies }
    }

    fn second(&mut self, second: u32) -> (ArmFacts, ArmFacts) {
        let is_burst = self.change == Change::Bursts && second % 20 < 3;
        let rate = self.trial.per_second * if is_burst { 3.0 } else { 1.0 };
        let candidates = rate * self.trial.share;
        let live = self.arm(rate - candidates, Change::Same, is_burst);
        let candidate = self.arm(candidates, self.change, is_burst);
        (live, candidate)
    }

    fn arm(&mut self, rate: f64, change: Change, is_burst: bool) -> ArmFacts {
        let requests = poisson(&mut self.rng, rate);
        let jitter =
            if self.change == Change::Noise { (0.03 * normal(&mut self.rng)).exp() } else { 1.0 };
        let times = change.slower() * jitter * if is_burst { 2.0 } else { 1.0 };
        // What is multiplied shifts the buckets: the table is made once a second.
        let bucket_of = |latency: &f64| latency_bucket(round(latency * times));
        let failed = FAILED_ANYWAY + change.failed() + if is_burst { 0.05 } else { 0.0 };
        let mut facts =
            ArmFacts { requests, latencies: vec![0; LATENCY_BUCKETS], ..Default::default() };
        let mut servers = [0; SERVERS];
        for _ in 0..requests {
            facts.failures += u64::from(self.rng.f64() < failed);
            let latency = self.latencies[self.rng.usize(..DRAWS)];
            let part = change == Change::SlowInPart && self.rng.f64() < 0.1;
            facts.latencies[bucket_of(&if part { latency * 5.0 } else { latency })] += 1;
            let server = if change == Change::OneServer { 0 } else { self.rng.usize(..SERVERS) };
            servers[server] += 1;
        }
        let servers = servers.iter().enumerate().map(|(index, requests)| ArmServer {
            address: format!("10.0.0.{}:80", index + 1),
            requests: *requests,
            failures: 0,
        });
        facts.pools = vec![ArmPool { name: "web".to_owned(), servers: servers.collect() }];
        facts
    }
}
