//! What active checks say of a server: unknown, up or down.
//!
//! A server is unknown until its first check, which counts alone; after that `fall` failures in
//! a row take it down and `rise` successes in a row bring it back, so that one lost probe
//! decides nothing (Traefik #13387).
//! Invariant: state and streak are one atomic word, so a report is never half applied.

use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No check has ended yet.
    Unknown,
    /// Takes requests.
    Up,
    /// Failed its checks.
    Down,
}

/// A server's verdict and the streak that may change it.
#[derive(Debug)]
pub(crate) struct Health(AtomicU32);

impl Health {
    pub(crate) const fn new(verdict: Verdict) -> Self {
        Self(AtomicU32::new(pack(verdict, 0)))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        unpack(self.0.load(Acquire)).0
    }

    /// A server that served without checks keeps serving when checks are switched on.
    pub(crate) fn assume_up(&self) {
        self.0.store(pack(Verdict::Up, 0), Release);
    }

    /// Counts one check. `before_up` runs before others can see the server up.
    pub(crate) fn report(&self, passed: bool, fall: u32, rise: u32, before_up: impl Fn(Verdict)) {
        let mut word = self.0.load(Acquire);
        loop {
            let (verdict, streak) = unpack(word);
            let next = step(
                verdict,
                streak,
                if passed { Check::Passed { rise } } else { Check::Failed { fall } },
            );
            if next.0 == Verdict::Up && verdict != Verdict::Up {
                before_up(verdict);
            }
            match self.0.compare_exchange(word, pack(next.0, next.1), AcqRel, Acquire) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Check {
    Passed { rise: u32 },
    Failed { fall: u32 },
}

const fn step(verdict: Verdict, streak: u32, check: Check) -> (Verdict, u32) {
    match (verdict, check) {
        (Verdict::Unknown, Check::Passed { .. }) => (Verdict::Up, 0),
        (Verdict::Unknown, Check::Failed { .. }) => (Verdict::Down, 0),
        (Verdict::Up, Check::Failed { fall }) if streak + 1 >= fall => (Verdict::Down, 0),
        (Verdict::Down, Check::Passed { rise }) if streak + 1 >= rise => (Verdict::Up, 0),
        (Verdict::Up, Check::Failed { .. }) | (Verdict::Down, Check::Passed { .. }) => {
            (verdict, streak + 1)
        }
        (Verdict::Up, Check::Passed { .. }) | (Verdict::Down, Check::Failed { .. }) => (verdict, 0),
    }
}

const fn pack(verdict: Verdict, streak: u32) -> u32 {
    let code = match verdict {
        Verdict::Unknown => 0,
        Verdict::Up => 1,
        Verdict::Down => 2,
    };
    // A streak ends at its threshold; the shift only matters for thresholds above 2^30.
    (streak << 2) | code
}

const fn unpack(word: u32) -> (Verdict, u32) {
    let verdict = match word & 3 {
        0 => Verdict::Unknown,
        1 => Verdict::Up,
        _ => Verdict::Down,
    };
    (verdict, word >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks as `+` and `-`; the verdict after each as `?`, `U`, `D`. fall 3, rise 2.
    fn check(script: &str, expected: &str) {
        let health = Health::new(Verdict::Unknown);
        let seen: String = script
            .chars()
            .map(|c| {
                health.report(c == '+', 3, 2, |_| ());
                match health.verdict() {
                    Verdict::Unknown => '?',
                    Verdict::Up => 'U',
                    Verdict::Down => 'D',
                }
            })
            .collect();
        assert_eq!(seen, expected, "{script}");
    }

    #[test]
    fn first_check_counts_alone() {
        check("+", "U");
        check("-", "D");
        check("-+", "DD");
        check("-++", "DDU");
    }

    #[test]
    fn one_failed_probe_does_not_eject() {
        check("+-+--+---", "UUUUUUUUD");
    }

    #[test]
    fn rise_is_in_a_row() {
        check("-+-++", "DDDDU");
    }
}
