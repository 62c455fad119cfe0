//! How many doors share: more at once, fewer only after a while.
//!
//! A server that was wiped or restarted knows none at first, until each has asked again; whoever
//! believed it would take more than its part.

use std::time::Duration;

/// For how long a door counts that does not ask, and a lower number is not believed.
pub(crate) const COUNTED: Duration = Duration::from_secs(2);

/// The number of doors, as far as it is believed.
#[derive(Debug, Default)]
pub(crate) struct Doors<T> {
    believed: u32,
    /// The most that were told since the moment from which they were fewer.
    fewer: Option<(T, u32)>,
}

impl<T: Copy> Doors<T> {
    pub(crate) const fn new() -> Self {
        Self { believed: 0, fewer: None }
    }

    /// How many there are, as told last; 0 when nothing was told.
    pub(crate) const fn believed(&self) -> u32 {
        self.believed
    }

    /// The server says `told` at `now`; `since` tells the time that passed. Returns how many there
    /// are.
    pub(crate) fn tell(&mut self, told: u32, now: T, since: impl Fn(T) -> Duration) -> u32 {
        if told >= self.believed {
            (self.believed, self.fewer) = (told, None);
            return told;
        }
        let (from, most) = self.fewer.map_or((now, told), |(from, most)| (from, most.max(told)));
        self.fewer = Some((from, most));
        if since(from) > COUNTED {
            (self.believed, self.fewer) = (most, None);
        }
        self.believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told at which ms, and what is believed then.
    fn check(script: &[(u64, u32, u32)]) {
        let mut doors = Doors::new();
        for &(now, told, expected) in script {
            let since = |from: u64| Duration::from_millis(now - from);
            assert_eq!(doors.tell(told, now, since), expected, "{script:?} at {now}");
        }
    }

    #[test]
    fn more_at_once_and_fewer_after_a_while() {
        check(&[(0, 1, 1), (1, 3, 3), (2, 1, 3), (1_900, 2, 3), (2_003, 1, 2), (2_004, 1, 2)]);
    }

    #[test]
    fn a_server_that_forgot_is_not_believed() {
        check(&[(0, 5, 5), (10, 1, 5), (500, 4, 5), (900, 5, 5), (4_000, 5, 5)]);
    }
}
