//! When a refused client should come back: not before there is room, not all at the same moment,
//! and later and later for one that keeps asking.
//!
//! Who asks again before the time it was told doubles its wait, from one second up to 60 s; not
//! within a quarter of a second, for those requests were on their way already. Who waits as told
//! keeps its wait, and after twice that time without asking all is forgotten: the entry in the
//! table, whose three lowest bits hold the number of doublings, has then expired by itself.

use std::time::Duration;

use model::Timestamp;

use crate::gcra::{KeyTable, micros};
use crate::hash::{below, mix};

const SECOND: u64 = 1_000_000;
/// Keeps these entries apart from those of the limits.
const SALT: u64 = 0x7265_7472_7961_6674;
/// What arrives so soon after a refusal, in microseconds, was sent before it was read.
const GRACE: u64 = SECOND / 4;
/// The doublings fit into the lowest bits of a time: eight microseconds more or less are nothing.
const LEVEL_MASK: u64 = 7;
const LEVEL_MAX: u64 = 6;
const WAIT_SECONDS_MAX: u64 = 60;

/// What to tell `asker` (a keyed hash) that was refused at `now` and for which there is room in
/// `room_in`: whole seconds, at least 1, spread over half as much again.
pub(crate) fn retry_after(
    table: &KeyTable,
    asker: u64,
    room_in: Duration,
    now: Timestamp,
) -> Duration {
    let at = micros(now);
    let level = table.revise(mix(asker, SALT), at, |time| escalate(time, at));
    let seconds = room_in.as_nanos().div_ceil(1_000_000_000);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX).max(wait_seconds(level));
    let spread = below(mix(asker ^ SALT, now.as_nanos()), seconds.div_ceil(2).saturating_add(1));
    Duration::from_secs(seconds.saturating_add(spread))
}

/// The new entry, if it changes, and the doublings that hold now.
fn escalate(time: u64, now: u64) -> (Option<u64>, u64) {
    if time == 0 {
        return (Some(entry(0, now)), 0);
    }
    let level = (time & LEVEL_MASK).min(LEVEL_MAX);
    let wait = wait_seconds(level) * SECOND;
    let since = now.saturating_sub(time.saturating_sub(2 * wait));
    if since < GRACE {
        return (None, level);
    }
    let level = if since < wait { (level + 1).min(LEVEL_MAX) } else { level };
    (Some(entry(level, now)), level)
}

/// Remembers the doublings for twice the wait.
fn entry(level: u64, now: u64) -> u64 {
    (now + 2 * wait_seconds(level) * SECOND) & !LEVEL_MASK | level
}

fn wait_seconds(level: u64) -> u64 {
    (1 << level).min(WAIT_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `N`: asks after N ms more and is refused, with room in `room` ms. Expected: the least
    /// that it may be told, in seconds; the most is half as much again.
    fn check(room: u64, script: &[u64], least: &[u64]) {
        let table = KeyTable::new(1_000, 1);
        let mut now = Timestamp::from_nanos(5_000_000_123);
        for (step, (ms, least)) in script.iter().zip(least).enumerate() {
            now = now + Duration::from_millis(*ms);
            let told = retry_after(&table, 77, Duration::from_millis(room), now).as_secs();
            let most = least + least.div_ceil(2);
            assert!((*least..=most).contains(&told), "{script:?}, step {step}: {told} s");
        }
    }

    #[test]
    fn there_is_room_when_it_comes_back() {
        check(1, &[0], &[1]);
        check(5_001, &[0], &[6]);
        check(3_600_000, &[0], &[3_600]);
    }

    #[test]
    fn who_keeps_asking_waits_twice_as_long_each_time() {
        check(1, &[0, 300, 300, 300, 300, 300, 300, 300], &[1, 2, 4, 8, 16, 32, 60, 60]);
        check(10_000, &[0, 300, 300, 300, 300, 300], &[10, 10, 10, 10, 16, 32]);
    }

    #[test]
    fn what_was_on_its_way_is_forgiven() {
        check(1, &[0, 0, 1, 10, 100, 100], &[1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn who_waits_as_told_is_not_punished() {
        check(1, &[0, 1_000, 1_100, 1_900], &[1, 1, 1, 1]);
        check(1, &[0, 300, 2_100, 2_100], &[1, 2, 2, 2]);
    }

    #[test]
    fn it_is_forgotten_by_itself() {
        check(1, &[0, 300, 300, 8_100, 300], &[1, 2, 4, 1, 2]);
    }

    #[test]
    fn not_all_come_back_at_once() {
        let table = KeyTable::new(1_000, 1);
        let mut told = [0_u32; 17];
        for asker in 0..900 {
            let wait =
                retry_after(&table, asker, Duration::from_secs(10), Timestamp::from_nanos(1));
            told[usize::try_from(wait.as_secs()).unwrap()] += 1;
        }
        assert!(told[10..=15].iter().all(|&count| count > 100), "{told:?}");
    }
}
