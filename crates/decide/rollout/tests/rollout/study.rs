//! How often the verdicts are wrong, over changes that are simulated by fixed seeds. The larger
//! study behind `docs/explanation/rollout.md` is the example `study`.

use std::collections::BTreeMap;

use rollout::{CanaryVerdict, WatchVerdict};

use crate::simulated::canary::{self, Trial};
use crate::simulated::watch;

/// Harm that so few requests cannot show is not promised to be seen: 1 % more failures among 300
/// requests are three, and chance alone makes as many.
fn is_promised(change: canary::Change, trial: Trial) -> bool {
    change != canary::Change::Fails(0.01) || trial.requests() >= 1_500.0
}

#[test]
fn candidates_are_rarely_judged_wrongly() {
    let (mut good, mut bad, mut promoted, mut ended) = (0, 0, Vec::new(), Vec::new());
    for (index, trial) in Trial::ALL.into_iter().enumerate() {
        let seeds = || (0..7).map(|seed| seed * 10 + index as u64);
        for (change, seed) in canary::Change::GOOD.iter().flat_map(|c| seeds().map(|s| (*c, s))) {
            good += 1;
            let (verdict, second) = canary::play(change, trial, seed);
            match verdict {
                CanaryVerdict::Promote(_) => assert_eq!(second, trial.seconds),
                CanaryVerdict::RollBack(words) => {
                    ended.push(format!("{}, {}: {words}", change.words(), trial.words()));
                }
                CanaryVerdict::Undecided(words) => {
                    let is_said =
                        words.contains("not enough requests") || words.contains("by chance");
                    assert!(is_said && second == trial.seconds, "{words}");
                }
                CanaryVerdict::Watching => {}
            }
        }
        for (change, seed) in canary::Change::BAD.iter().flat_map(|c| seeds().map(|s| (*c, s))) {
            if is_promised(change, trial) {
                bad += 1;
                if let (CanaryVerdict::Promote(words), _) = canary::play(change, trial, seed) {
                    promoted.push(words);
                }
            }
        }
    }
    assert!(good + bad >= 500);
    assert!(ended.len() * 50 <= good, "rolled back wrongly: {ended:#?} of {good}");
    assert!(promoted.len() * 100 <= bad, "promoted wrongly: {promoted:#?} of {bad}");
}

#[test]
fn good_changes_stay() {
    let mut wrong = BTreeMap::new();
    let mut count = 0;
    for change in watch::Change::GOOD {
        // Few requests cost little to simulate, many much: a thousand changes in all.
        for (per_second, changes) in [(1.0, 40), (5.0, 40), (50.0, 15), (500.0, 5)] {
            for seed in 0..changes {
                count += 1;
                if let WatchVerdict::Broken(words) =
                    watch::play(change, per_second, 60, seed).verdict
                {
                    wrong.insert((change.words(), seed), words);
                }
            }
        }
    }
    assert_eq!(count, 1_000);
    assert!(wrong.len() <= 20, "{wrong:#?}");
}

#[test]
fn harm_is_seen_within_seconds() {
    for change in watch::Change::BAD {
        // Five percent is too little for the watch: see the smallest harm in the explanation.
        // A route lost takes the longer, the less even traffic is.
        if [watch::Change::Fails(0.05), watch::Change::Unrouted].contains(&change) {
            continue;
        }
        let is_share =
            [watch::Change::OneServer, watch::Change::OneServerAndSpike].contains(&change);
        let most = if is_share { 1.5 } else { 4.0 };
        for (seed, before) in (0..20).flat_map(|seed| [(seed, 4), (seed, 60)]) {
            let outcome = watch::play(change, 200.0, before, seed);
            let is_seen = matches!(outcome.verdict, WatchVerdict::Broken(_));
            assert!(
                is_seen && outcome.seconds <= most,
                "{}, seed {seed}: {:?} after {} s",
                change.words(),
                outcome.verdict,
                outcome.seconds
            );
        }
    }
}
