//! What a door knows of one key of a shared rate, in eight bytes, and what a request makes of it.
//!
//! 16 bits of the key's hash, 35 bits of a time in steps of 4 ms (4.3 years of a process), two
//! marks and 11 bits of a balance: tokens that were leased are above zero, requests that were let
//! in before the server could be asked are below. Both are settled by the next ask: what was let
//! in uncharged is charged, and what was leased too long ago is brought back.

use std::time::Duration;

use model::Timestamp;

/// The most tokens of a lease, and the most requests that wait to be charged.
pub(super) const BALANCE_MAX: u32 = 1_023;
/// Milliseconds in one step of a time.
const STEP_MS: u64 = 4;
const STEPS_MAX: u64 = (1 << 35) - 1;
/// How long a lease holds, and how long an answer is waited for, in steps.
pub(super) const TTL_STEPS: u64 = 2_000 / STEP_MS;
const BALANCE_ZERO: i32 = 1 << 10;

/// One key, as of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Until when it holds, in steps.
    pub(super) until: u64,
    /// Nothing was left at the server; until then nothing will be.
    pub(super) exhausted: bool,
    /// The server is being asked.
    pub(super) asked: bool,
    /// Tokens, or below zero what was let in uncharged.
    pub(super) balance: i32,
}

/// What a rate allows one of several doors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Tokens in one lease, 1 to [`BALANCE_MAX`].
    pub(super) chunk: u32,
    /// Requests let in uncharged between two answers, 1 to [`BALANCE_MAX`].
    pub(super) credit: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Let in for a leased token; so many are left.
    Token { left: u32 },
    /// Let in uncharged; so many more could follow at once.
    Credit { left: u32 },
    /// Refused for so long.
    Out { wait: Duration },
    /// The door decides by its own part of the rate.
    Alone,
}

impl Entry {
    pub(super) fn of(word: u64) -> Self {
        let balance = i32::try_from(word & 0x7ff).unwrap_or(BALANCE_ZERO) - BALANCE_ZERO;
        let (asked, exhausted) = (word >> 11 & 1 == 1, word >> 12 & 1 == 1);
        Self { until: word >> 13 & STEPS_MAX, exhausted, asked, balance }
    }

    /// The word without the hash, whose place is the uppermost 16 bits.
    pub(super) fn word(&self) -> u64 {
        let most = BALANCE_ZERO - 1;
        let balance = u64::try_from(self.balance.clamp(-most, most) + BALANCE_ZERO).unwrap_or(0);
        let marks = u64::from(self.exhausted) << 12 | u64::from(self.asked) << 11;
        self.until.min(STEPS_MAX) << 13 | marks | balance
    }

    /// One request at `now` (in steps): what the entry is then, what becomes of the request, and
    /// what to charge if the server is to be asked now.
    pub(super) fn step(mut self, terms: Terms, now: u64) -> (Self, Step, Option<i32>) {
        let is_live = self.until > now;
        if is_live && self.balance > 0 {
            self.balance -= 1;
            let left = self.balance.unsigned_abs();
            let asks = !self.asked && !self.exhausted && left <= terms.chunk / 5;
            self.asked |= asks;
            return (self, Step::Token { left }, asks.then_some(0));
        }
        let waits = is_live && self.asked;
        if is_live && self.exhausted && !waits {
            return (self, Step::Out { wait: time_of(self.until - now) }, None);
        }
        let charge = (!waits).then_some(-self.balance);
        if !waits {
            self = Self { until: now + TTL_STEPS, asked: true, balance: 0, ..self };
        }
        // Where nothing was left a moment ago, one request finds out for all.
        let credit = if self.exhausted { 1 } else { terms.credit };
        let uncharged = self.balance.unsigned_abs();
        if uncharged < credit {
            self.balance -= 1;
            return (self, Step::Credit { left: credit - uncharged - 1 }, charge);
        }
        if self.exhausted {
            return (self, Step::Out { wait: time_of(1) }, charge);
        }
        (self, Step::Alone, charge)
    }

    /// The server answered: tokens, or none, and when there will be one.
    pub(super) fn answered(mut self, tokens: u32, wait: Duration, now: u64) -> Self {
        self.asked = false;
        self.add(i32::try_from(tokens).unwrap_or(i32::MAX));
        self.exhausted = tokens == 0 && !wait.is_zero();
        self.until = now + if self.exhausted { steps_of(wait) } else { TTL_STEPS };
        self
    }

    /// The server did not answer: what it was to charge is still to be charged.
    pub(super) fn unanswered(mut self, charge: i32) -> Self {
        self.asked = false;
        self.add(-charge);
        if self.exhausted {
            self.until = 0;
        }
        self
    }

    /// Changes the balance, within its bounds.
    pub(super) fn add(&mut self, tokens: i32) {
        let most = BALANCE_ZERO - 1;
        self.balance = self.balance.saturating_add(tokens).clamp(-most, most);
    }
}

/// A moment in steps since the process started.
pub(super) fn steps(now: Timestamp) -> u64 {
    (now.as_nanos() / (STEP_MS * 1_000_000)).min(STEPS_MAX)
}

/// At least one step, rounded up.
fn steps_of(wait: Duration) -> u64 {
    let steps = wait.as_nanos().div_ceil(u128::from(STEP_MS) * 1_000_000);
    u64::try_from(steps).unwrap_or(STEPS_MAX).clamp(1, STEPS_MAX)
}

fn time_of(steps: u64) -> Duration {
    Duration::from_millis(steps * STEP_MS)
}
