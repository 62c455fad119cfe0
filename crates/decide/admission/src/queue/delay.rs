//! Whether a queue only evens out bursts, or more arrives than can be served.
//!
//! A queue stands when for 100 ms nothing left it without having waited for longer than a burst
//! explains: the least wait is the signal, as in `CoDel` (RFC 8289), by which time limits of
//! waiting requests are switched in `folly::Codel` too. The switch stays until in 100 ms less
//! than a fifth had to be refused: a short time limit keeps a queue short in overload as well, so
//! its length says nothing any more.

use std::time::Duration;

use model::Timestamp;

/// How long a queue has to stand.
const INTERVAL: Duration = Duration::from_millis(100);
/// One in so many refused keeps the switch on.
const REFUSED_ONE_IN: u32 = 5;

/// How a request left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    Served,
    Refused,
}

/// The state of one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delay {
    overloaded: bool,
    began: Timestamp,
    /// The least wait of those that were served; zero when the queue was empty in between.
    least: Option<Duration>,
    served: u32,
    refused: u32,
}

impl Delay {
    pub(super) const fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// A request left after `wait`; `burst` is the wait that a burst explains.
    pub(super) fn left(&mut self, how: Departure, wait: Duration, burst: Duration, now: Timestamp) {
        self.advance(burst, now);
        match how {
            Departure::Served => {
                self.least = Some(self.least.map_or(wait, |least| least.min(wait)));
                self.served += 1;
            }
            // Who gives way has hardly waited: that says nothing of the queue.
            Departure::Refused => self.refused += 1,
        }
    }

    /// Nobody is left in the queue: it does not stand.
    pub(super) fn emptied(&mut self) {
        self.least = Some(Duration::ZERO);
    }

    /// Ends the interval when it is time to.
    pub(super) fn advance(&mut self, burst: Duration, now: Timestamp) {
        let passed = now.since(self.began);
        if passed < INTERVAL {
            return;
        }
        let left = self.served + self.refused;
        // An interval during which nothing left does not count, unless it was long ago.
        let stale = passed >= 2 * INTERVAL;
        self.overloaded = if stale || left == 0 {
            false
        } else if self.overloaded {
            self.refused.saturating_mul(REFUSED_ONE_IN) > left
        } else {
            self.least.is_none_or(|least| least > burst)
        };
        *self = Self { overloaded: self.overloaded, began: now, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is 10 ms: `N` served after N ms, `xN` refused after N ms, `e` the queue was
    /// empty, `-` nothing; `*T` repeats. A burst explains 4 ms. Expected: whether overloaded after each word's last.
    fn check(script: &str, expected: &[bool]) {
        let (mut delay, burst) = (Delay::default(), Duration::from_millis(4));
        let mut now = Timestamp::from_nanos(1_000_000_000);
        let mut seen = Vec::new();
        for word in script.split(' ') {
            let (what, times) = word.split_once('*').unwrap_or((word, "1"));
            for _ in 0..times.parse().unwrap() {
                now = now + Duration::from_millis(10);
                let (how, wait) = what
                    .strip_prefix('x')
                    .map_or((Departure::Served, what), |wait| (Departure::Refused, wait));
                if what == "e" {
                    delay.emptied();
                }
                match wait.parse() {
                    Ok(wait) => delay.left(how, Duration::from_millis(wait), burst, now),
                    Err(_) => delay.advance(burst, now),
                }
            }
            seen.push(delay.is_overloaded());
        }
        assert_eq!(seen, expected, "{script}");
    }

    #[test]
    fn a_standing_queue_overloads_and_a_burst_does_not() {
        check("9*9 9*3", &[false, true]);
        check("9*9 1 9*3", &[false, false, false]);
        check("9*9 e 9*3", &[false, false, false]);
        check("9*9 x0 9*3", &[false, false, true]);
        check("x0*12", &[true]);
    }

    #[test]
    fn it_stays_while_a_fifth_is_refused() {
        check("9*12 x5*3 3*6 3*10", &[true, true, true, false]);
    }

    #[test]
    fn it_ends_when_nothing_comes() {
        check("9*12 -*21", &[true, false]);
    }
}
