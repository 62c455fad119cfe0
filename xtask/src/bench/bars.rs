//! The promised numbers and whether they were reached.
//!
//! A ratio is taken within a round, where both sides ran a minute apart at most, and judged by
//! its median over the rounds. A round in which a request failed is invalid: a failed round of
//! a peer is left out, one of Tidegate misses the bar.

use super::doors::Kind;
use super::http::{Measure, Scenario};
use super::report::Spread;

/// What a scenario's value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Against {
    /// The value of a peer in the same round.
    Peer(Kind),
    /// The lower of nginx and HAProxy, by their medians.
    BetterPeer,
    /// Nothing: the value itself is judged.
    Itself,
}

/// A promised number.
#[derive(Clone, Copy, Debug)]
struct Bar {
    scenario: Scenario,
    against: Against,
    at_most: f64,
}

/// Memory per idle keep-alive connection, in bytes.
const IDLE_BYTES_MAX: f64 = 4096.0;

const BARS: [Bar; 12] = [
    bar(Scenario::Small, Against::Peer(Kind::Nginx), 0.85),
    bar(Scenario::Small, Against::Peer(Kind::Haproxy), 0.80),
    bar(Scenario::Large, Against::Peer(Kind::Nginx), 0.85),
    bar(Scenario::Large, Against::Peer(Kind::Haproxy), 0.80),
    bar(Scenario::Connections, Against::Peer(Kind::Nginx), 1.0),
    bar(Scenario::Paced, Against::Peer(Kind::Nginx), 0.97),
    bar(Scenario::Tls, Against::BetterPeer, 1.0),
    bar(Scenario::Http2, Against::BetterPeer, 1.0),
    bar(Scenario::Http2Tls, Against::BetterPeer, 1.0),
    bar(Scenario::Grpc, Against::BetterPeer, 1.0),
    bar(Scenario::GrpcTls, Against::BetterPeer, 1.0),
    bar(Scenario::Memory, Against::Itself, IDLE_BYTES_MAX),
];

const fn bar(scenario: Scenario, against: Against, at_most: f64) -> Bar {
    Bar { scenario, against, at_most }
}

/// A bar with what was measured.
#[derive(Debug)]
pub(super) struct Verdict {
    /// For example `small / nginx`.
    pub(super) name: String,
    pub(super) at_most: f64,
    /// `None`: no valid round.
    pub(super) measured: Option<Spread>,
    /// Rounds of Tidegate in which something failed.
    pub(super) invalid_rounds: usize,
}

impl Verdict {
    pub(super) fn reached(&self) -> bool {
        let within = self.measured.as_ref().is_some_and(|spread| spread.median <= self.at_most);
        within && self.invalid_rounds == 0
    }
}

/// Judges every bar whose scenario and doors were asked for.
pub(super) fn judge(measures: &[Measure]) -> Vec<Verdict> {
    let took_part =
        |scenario, door| measures.iter().any(|m| m.scenario == scenario && m.door == door);
    let asked = |bar: &&Bar| {
        let peers = match bar.against {
            Against::Peer(kind) => &[kind][..],
            Against::BetterPeer => &[Kind::Nginx, Kind::Haproxy],
            Against::Itself => &[],
        };
        took_part(bar.scenario, Kind::Tidegate)
            && peers.iter().all(|peer| took_part(bar.scenario, *peer))
    };
    BARS.iter().filter(asked).map(|bar| judge_bar(bar, measures)).collect()
}

fn judge_bar(bar: &Bar, measures: &[Measure]) -> Verdict {
    let of =
        |kind: Kind| measures.iter().filter(move |m| m.scenario == bar.scenario && m.door == kind);
    let peer = match bar.against {
        Against::Peer(kind) => Some(kind),
        Against::BetterPeer => better_peer(bar.scenario, measures),
        Against::Itself => None,
    };
    let ratios: Vec<f64> = of(Kind::Tidegate)
        .filter(|own| own.valid())
        .filter_map(|own| match peer {
            None => Some(own.value),
            Some(kind) => {
                let other = of(kind).find(|other| other.round == own.round && other.valid())?;
                Some(own.value / other.value)
            }
        })
        .collect();
    let name = match peer {
        Some(kind) => format!("{} / {}", bar.scenario.name(), kind.name()),
        None => bar.scenario.name().to_owned(),
    };
    let invalid_rounds = of(Kind::Tidegate).filter(|own| !own.valid()).count();
    Verdict { name, at_most: bar.at_most, measured: Spread::of(&ratios), invalid_rounds }
}

fn better_peer(scenario: Scenario, measures: &[Measure]) -> Option<Kind> {
    let median = |kind: Kind| {
        let values: Vec<f64> = measures
            .iter()
            .filter(|m| m.scenario == scenario && m.door == kind && m.valid())
            .map(|m| m.value)
            .collect();
        Spread::of(&values).map(|spread| (kind, spread.median))
    };
    let medians = [Kind::Nginx, Kind::Haproxy].into_iter().filter_map(median);
    medians.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Measure, Scenario, judge};

    fn measure(scenario: Scenario, round: usize, door: Kind, value: f64, failed: u64) -> Measure {
        Measure { scenario, round, door, value, failed, requests: 1000, ..Measure::default() }
    }

    /// Values of one scenario per round, tidegate and nginx and haproxy; what is missed.
    fn check(scenario: Scenario, rounds: &[(f64, f64, f64)], failed: u64, missed: &[&str]) {
        let measures: Vec<Measure> = rounds
            .iter()
            .enumerate()
            .flat_map(|(round, &(own, nginx, haproxy))| {
                [
                    measure(scenario, round, Kind::Tidegate, own, failed),
                    measure(scenario, round, Kind::Nginx, nginx, 0),
                    measure(scenario, round, Kind::Haproxy, haproxy, 0),
                ]
            })
            .collect();
        let verdicts = judge(&measures);
        let found: Vec<&str> =
            verdicts.iter().filter(|v| !v.reached()).map(|v| v.name.as_str()).collect();
        assert_eq!(found, missed);
    }

    #[test]
    fn a_bar_is_judged_by_the_median_of_paired_ratios() {
        check(Scenario::Small, &[(8.0, 10.0, 11.0)], 0, &[]);
        check(Scenario::Small, &[(8.6, 10.0, 11.0)], 0, &["small / nginx"]);
        // The machine was twice as slow in the second round, for both: no ratio changes.
        check(Scenario::Small, &[(8.0, 10.0, 11.0), (16.0, 20.0, 22.0)], 0, &[]);
        check(Scenario::Small, &[(8.0, 10.0, 11.0), (9.0, 10.0, 11.0), (8.0, 10.0, 11.0)], 0, &[]);
        check(Scenario::Tls, &[(10.1, 10.0, 20.0)], 0, &["tls / nginx"]);
        check(Scenario::Tls, &[(10.1, 12.0, 10.0)], 0, &["tls / haproxy"]);
        check(Scenario::Memory, &[(4096.0, 1.0, 1.0)], 0, &[]);
        check(Scenario::Memory, &[(4097.0, 1.0, 1.0)], 0, &["memory"]);
    }

    #[test]
    fn a_failed_request_of_tidegate_misses_the_bar() {
        check(Scenario::Paced, &[(1.0, 10.0, 10.0)], 1, &["paced / nginx"]);
    }
}
