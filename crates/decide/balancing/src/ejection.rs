//! Sets a failing server aside; after a pause, one probe decides its return.
//!
//! Pauses double at each further ejection, up to a longest; a server that stayed back for that
//! long begins anew. A probe that never reports does not strand the server: its claim already
//! schedules the next.
//! Invariant: an outcome counts only in the round that issued its ticket, so a late answer can
//! neither extend nor end an ejection. All state is one atomic word, so rounds never tear.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::time::Duration;

use model::Timestamp;

/// Widths, from the lowest bit: set aside 1, failures 10, level 4, round 10, time 39.
const FAILURES_MAX: u64 = (1 << 10) - 1;
const LEVEL_MAX: u64 = (1 << 4) - 1;
const ROUND_MASK: u64 = (1 << 10) - 1;
const TIME_MASK: u64 = (1 << 39) - 1;

/// Permission to send one request; says which outcomes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    round: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    Probe,
    /// Sent to a server set aside because the pool panics: decides nothing.
    Uncounted,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Counted, or too late to count.
    Noted,
    /// Not counted, now or later: ejection is off, or the pool tries a server set aside.
    Apart,
    /// Enough in a row: set the server aside if the pool can spare it.
    Enough,
    /// The probe failed; the server stays aside for longer.
    ProbeLost,
}

/// One server's ejection state.
#[derive(Debug, Default)]
pub(crate) struct Ejection(AtomicU64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    aside: bool,
    /// In a row, in this round.
    failures: u64,
    /// How often the pause has doubled, plus one; 0 when never set aside.
    level: u64,
    round: u64,
    /// Aside: when the next probe is due. Otherwise: when it came back.
    time_ms: u64,
}

impl Ejection {
    pub(crate) fn is_aside(&self) -> bool {
        self.0.load(Acquire) & 1 == 1
    }

    /// Whether nothing failed since its last success.
    pub(crate) fn is_steady(&self) -> bool {
        unpack(self.0.load(Acquire)).failures == 0
    }

    /// When the next probe is due; `None` when the server is not set aside.
    pub(crate) fn probe_at(&self) -> Option<Timestamp> {
        let state = unpack(self.0.load(Acquire));
        state.aside.then(|| Timestamp::from_nanos(state.time_ms.saturating_mul(1_000_000)))
    }

    /// A ticket for a regular request.
    pub(crate) fn ticket(&self) -> Ticket {
        let state = unpack(self.0.load(Acquire));
        let kind = if state.aside { Kind::Uncounted } else { Kind::Regular };
        Ticket { round: state.round, kind }
    }

    /// Claims the one probe of this pause. `None`: not due, or another worker has it.
    pub(crate) fn claim_probe(
        &self,
        now: Timestamp,
        settings: &model::configuration::Ejection,
    ) -> Option<Ticket> {
        let word = self.0.load(Acquire);
        let state = unpack(word);
        if !state.aside || millis(now) < state.time_ms {
            return None;
        }
        let next = State {
            round: state.round.wrapping_add(1) & ROUND_MASK,
            time_ms: due(now, state.level, settings),
            ..state
        };
        let claimed = self.0.compare_exchange(word, pack(next), AcqRel, Acquire).is_ok();
        claimed.then_some(Ticket { round: next.round, kind: Kind::Probe })
    }

    /// A request succeeded. True when that brought the server back.
    pub(crate) fn success(&self, ticket: Ticket, now: Timestamp) -> bool {
        self.update(|state| {
            if state.round != ticket.round {
                return (state, false);
            }
            match ticket.kind {
                Kind::Regular if !state.aside => (State { failures: 0, ..state }, false),
                Kind::Probe if state.aside => {
                    let round = state.round.wrapping_add(1) & ROUND_MASK;
                    let time_ms = millis(now) & TIME_MASK;
                    (State { aside: false, failures: 0, round, time_ms, level: state.level }, true)
                }
                Kind::Regular | Kind::Probe | Kind::Uncounted => (state, false),
            }
        })
    }

    /// A request failed in a way that counts.
    pub(crate) fn failure(
        &self,
        ticket: Ticket,
        now: Timestamp,
        settings: &model::configuration::Ejection,
    ) -> Counted {
        if settings.failures == 0 || ticket.kind == Kind::Uncounted {
            return Counted::Apart;
        }
        self.update(|state| {
            if state.round != ticket.round {
                return (state, Counted::Noted);
            }
            match ticket.kind {
                Kind::Regular if !state.aside => {
                    let failures = (state.failures + 1).min(FAILURES_MAX);
                    let enough = failures >= u64::from(settings.failures).min(FAILURES_MAX);
                    (
                        State { failures, ..state },
                        if enough { Counted::Enough } else { Counted::Noted },
                    )
                }
                Kind::Probe if state.aside => {
                    let level = (state.level + 1).min(LEVEL_MAX);
                    let round = state.round.wrapping_add(1) & ROUND_MASK;
                    (
                        State { level, round, time_ms: due(now, level, settings), ..state },
                        Counted::ProbeLost,
                    )
                }
                Kind::Regular | Kind::Probe | Kind::Uncounted => (state, Counted::Noted),
            }
        })
    }

    /// Sets the server aside. False when the ticket's round is over.
    pub(crate) fn set_aside(
        &self,
        ticket: Ticket,
        now: Timestamp,
        settings: &model::configuration::Ejection,
    ) -> bool {
        self.update(|state| {
            if state.aside || state.round != ticket.round {
                return (state, false);
            }
            // Back for longer than the longest pause: the past is over.
            let away = Duration::from_millis(millis(now).saturating_sub(state.time_ms));
            let level =
                if away > settings.pause_max { 1 } else { (state.level + 1).min(LEVEL_MAX) };
            let round = state.round.wrapping_add(1) & ROUND_MASK;
            (
                State {
                    aside: true,
                    failures: 0,
                    level,
                    round,
                    time_ms: due(now, level, settings),
                },
                true,
            )
        })
    }

    fn update<T>(&self, step: impl Fn(State) -> (State, T)) -> T {
        let mut word = self.0.load(Acquire);
        loop {
            let (next, result) = step(unpack(word));
            let next = pack(next);
            // Success after success changes nothing: the usual case costs no write.
            if next == word {
                return result;
            }
            match self.0.compare_exchange_weak(word, next, AcqRel, Acquire) {
                Ok(_) => return result,
                Err(current) => word = current,
            }
        }
    }
}

/// The pause at a level, 1 for the first ejection.
pub(crate) fn pause(level: u64, settings: &model::configuration::Ejection) -> Duration {
    let doublings = u32::try_from(level.saturating_sub(1).min(LEVEL_MAX)).unwrap_or(0);
    settings.pause.saturating_mul(1 << doublings).min(settings.pause_max.max(settings.pause))
}

fn due(now: Timestamp, level: u64, settings: &model::configuration::Ejection) -> u64 {
    let at = (now + pause(level, settings)).as_nanos();
    at.div_ceil(1_000_000).min(TIME_MASK)
}

const fn millis(now: Timestamp) -> u64 {
    now.as_nanos() / 1_000_000
}

const fn pack(state: State) -> u64 {
    (state.aside as u64)
        | state.failures << 1
        | state.level << 11
        | state.round << 15
        | state.time_ms << 25
}

const fn unpack(word: u64) -> State {
    State {
        aside: word & 1 == 1,
        failures: word >> 1 & FAILURES_MAX,
        level: word >> 11 & LEVEL_MAX,
        round: word >> 15 & ROUND_MASK,
        time_ms: word >> 25,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ok`, `fail`: ask, then report. `?`: ask and lose the ticket. `+N`: N seconds pass.
    /// `hold`: ask and keep the ticket; `late-ok`, `late-fail`: report the kept one.
    /// Two failures in a row eject; the pause is 1 s, 4 s at most. Answers: `y`, `n` per ask.
    fn check(script: &str, admitted: &str) {
        let settings = model::configuration::Ejection {
            failures: 2,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(4),
            share_max: 0.5,
        };
        let ejection = Ejection::default();
        let mut now = Timestamp::from_nanos(100_000_000_000);
        let mut held = None;
        let mut answers = String::new();
        let fail = |ticket, now| {
            if ejection.failure(ticket, now, &settings) == Counted::Enough {
                assert!(ejection.set_aside(ticket, now, &settings));
            }
        };
        for word in script.split(' ') {
            if let Some(seconds) = word.strip_prefix('+') {
                now = now + Duration::from_secs(seconds.parse().unwrap());
                continue;
            }
            match (word, held) {
                ("late-ok", Some(ticket)) => {
                    ejection.success(ticket, now);
                    continue;
                }
                ("late-fail", Some(ticket)) => {
                    fail(ticket, now);
                    continue;
                }
                _ => {}
            }
            let ticket = if ejection.is_aside() {
                ejection.claim_probe(now, &settings)
            } else {
                Some(ejection.ticket())
            };
            answers.push(if ticket.is_some() { 'y' } else { 'n' });
            match (word, ticket) {
                ("ok", Some(ticket)) => drop(ejection.success(ticket, now)),
                ("fail", Some(ticket)) => fail(ticket, now),
                ("hold", Some(ticket)) => held = Some(ticket),
                _ => {}
            }
        }
        assert_eq!(answers, admitted, "{script}");
    }

    #[test]
    fn failures_in_a_row_eject() {
        check("fail ok fail ?", "yyyy");
        check("fail fail ?", "yyn");
    }

    #[test]
    fn one_probe_per_pause() {
        check("fail fail ? +1 ok ?", "yynyy");
        check("fail fail +1 ? ? ?", "yyynn");
        check("fail fail +1 ? +1 ? ?", "yyyyn");
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        check("fail fail +1 fail +1 ? +1 ?", "yyyny");
        check("fail fail +1 fail +2 fail +3 ? +1 fail +3 ? +1 ?", "yyyynyny");
    }

    #[test]
    fn a_server_that_comes_back_and_fails_again_waits_longer() {
        check("fail fail +1 ok fail fail +1 ? +1 ?", "yyyyyny");
    }

    #[test]
    fn a_server_that_stayed_back_begins_anew() {
        check("fail fail +1 ok +5 fail fail +1 ?", "yyyyyy");
    }

    #[test]
    fn late_answers_neither_extend_nor_end() {
        check("hold fail fail late-ok ?", "yyyn");
        check("hold fail fail late-fail late-fail +1 ok ?", "yyyyy");
        check("hold fail fail +1 ok late-fail late-fail ?", "yyyyy");
        // A probe's own answer is late once the next probe was sent.
        check("fail fail +1 hold +1 ? late-ok ?", "yyyyn");
    }
}
