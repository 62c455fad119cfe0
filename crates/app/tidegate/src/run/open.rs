//! The change that is not decided yet: tried on a share of the requests, or live and watched, or
//! live and awaiting a person's word. One second after the other, what is to be done with it.
//!
//! Pure but for the clock that the caller reads. The verdicts are those of `rollout`.

use std::sync::Arc;
use std::time::Duration;

use model::arm::ArmFacts;
use model::configuration::Rollback;
use model::fact::Snapshot;
use model::generation::{Generation, GenerationState};
use model::{Configuration, Timestamp};
use rollout::{Canary, CanarySettings, CanaryVerdict, Watch, WatchVerdict};

/// A rollback that could not go live is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// One second as a change is judged by it.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) now: Timestamp,
    pub(super) snapshot: Arc<Snapshot>,
    /// The live generation and the candidate; absent when none is tried.
    pub(super) arms: Option<(ArmFacts, ArmFacts)>,
}

/// What is to be done with an open change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// The candidate becomes live for everybody.
    Promote(String),
    /// The candidate is not tried any longer.
    EndTrial(String),
    /// It stays.
    Keep(String),
    /// It goes, and what was confirmed last comes back.
    GoBack(String),
}

/// A change that is not decided yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) generation: Generation,
    stage: Stage,
    /// Why going back failed, and when it is tried again.
    failed: Option<(String, Timestamp)>,
}

#[derive(Debug)]
enum Stage {
    Tried { configuration: Arc<Configuration>, text: String, judge: Box<Canary>, after: After },
    Live { watch: Option<Box<Watch>>, confirm_until: Option<Timestamp>, rollback: Rollback },
}

/// What happens once a change is live for everybody.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct After {
    /// A person must confirm it within this time.
    pub(super) confirm_within: Option<Duration>,
}

/// A candidate that may become live.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) configuration: Arc<Configuration>,
    pub(super) text: String,
    pub(super) after: After,
}

impl After {
    /// The state in which a change goes live.
    pub(super) fn state(self, configuration: &Configuration) -> GenerationState {
        if self.confirm_within.is_some() {
            GenerationState::Unconfirmed
        } else if configuration.changes.watch.is_zero() {
            GenerationState::Confirmed
        } else {
            GenerationState::Watched
        }
    }
}

impl Open {
    /// A candidate that is tried from now on.
    pub(super) fn tried(generation: Generation, tried: Tried, trial: (f64, Duration)) -> Self {
        let Tried { configuration, text, after } = tried;
        let settings = CanarySettings::new(&configuration, trial.0, trial.1);
        let judge = Box::new(Canary::new(settings));
        Self { generation, stage: Stage::Tried { configuration, text, judge, after }, failed: None }
    }

    /// A change that went live at `now`; `None` when nothing about it is open.
    pub(super) fn live(
        generation: Generation,
        configuration: &Configuration,
        after: After,
        before: &[Snapshot],
        now: Timestamp,
    ) -> Option<Self> {
        if generation.state.is_settled() {
            return None;
        }
        let second = before.last().map_or(0, |last| last.uptime_seconds);
        let watched = !configuration.changes.watch.is_zero();
        let stage = Stage::Live {
            watch: watched.then(|| Box::new(Watch::new(configuration, before, second))),
            confirm_until: after.confirm_within.map(|time| now + time),
            rollback: configuration.changes.rollback,
        };
        Some(Self { generation, stage, failed: None })
    }

    /// Takes one second.
    pub(super) fn second(&mut self, second: &Second) -> Step {
        if let Some((why, again)) = &self.failed {
            return if second.now < *again { Step::Wait } else { Step::GoBack(why.clone()) };
        }
        match &mut self.stage {
            Stage::Tried { judge, .. } => {
                let Some((live, candidate)) = &second.arms else { return Step::Wait };
                match judge.second(live, candidate) {
                    CanaryVerdict::Watching => Step::Wait,
                    CanaryVerdict::Promote(why) => Step::Promote(why),
                    CanaryVerdict::RollBack(why) => Step::EndTrial(why),
                    CanaryVerdict::Undecided(why) => Step::EndTrial(format!("undecided: {why}")),
                }
            }
            Stage::Live { watch, confirm_until, rollback } => {
                let verdict = watch.as_mut().map(|watch| watch.second(&second.snapshot));
                let step = watched(verdict, *rollback, self.generation.number);
                if step != Step::Wait {
                    *watch = None;
                }
                match (step, *confirm_until) {
                    (Step::GoBack(why), _) => Step::GoBack(why),
                    (_, Some(until)) if second.now >= until => {
                        Step::GoBack("nobody confirmed it in time".to_owned())
                    }
                    (_, Some(_)) => Step::Wait,
                    (step, None) => step,
                }
            }
        }
    }

    /// The candidate, while it is tried.
    pub(super) fn candidate(&self) -> Option<Tried> {
        match &self.stage {
            Stage::Tried { configuration, text, after, .. } => Some(Tried {
                configuration: Arc::clone(configuration),
                text: text.clone(),
                after: *after,
            }),
            Stage::Live { .. } => None,
        }
    }

    /// Whether other changes must wait until it is decided.
    pub(super) fn keeps_others_waiting(&self) -> bool {
        match &self.stage {
            Stage::Tried { .. } => true,
            Stage::Live { confirm_until, .. } => confirm_until.is_some(),
        }
    }

    /// Going back failed; it is tried again in a while.
    pub(super) fn could_not_go_back(&mut self, why: &str, now: Timestamp) {
        self.failed = Some((why.to_owned(), now + TRY_AGAIN));
    }

    /// What is seen of it, in words.
    pub(super) fn progress(&self, now: Timestamp) -> String {
        if let Some((why, _)) = &self.failed {
            return format!("it should be rolled back, which fails and is tried again: {why}");
        }
        match &self.stage {
            Stage::Tried { judge, .. } => judge.progress(),
            Stage::Live { watch, confirm_until, .. } => {
                let seen = watch.as_ref().map(|watch| watch.progress());
                let wanted = confirm_until.map(|until| {
                    format!(
                        "rolled back in {} s unless confirmed: `tidegate confirm {}`",
                        until.since(now).as_secs(),
                        self.generation.number
                    )
                });
                let parts: Vec<String> = seen.into_iter().chain(wanted).collect();
                parts.join("; ")
            }
        }
    }
}

/// What a watch's verdict leads to.
fn watched(verdict: Option<WatchVerdict>, rollback: Rollback, number: u64) -> Step {
    match (verdict, rollback) {
        (None | Some(WatchVerdict::Watching), _) => Step::Wait,
        (Some(WatchVerdict::Held(why)), _) => Step::Keep(why),
        (Some(WatchVerdict::Broken(why)), Rollback::Automatic) => Step::GoBack(why),
        (Some(WatchVerdict::Broken(why)), Rollback::Observe) => {
            tracing::error!(
                generation = number,
                "it would be rolled back, but `[changes] rollback` only observes: {why}"
            );
            Step::Keep(format!("not rolled back, because the door only observes: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_leads_to_a_step() {
        let why = || "it broke".to_owned();
        for (verdict, rollback, expected) in [
            (None, Rollback::Automatic, Step::Wait),
            (Some(WatchVerdict::Watching), Rollback::Automatic, Step::Wait),
            (Some(WatchVerdict::Held(why())), Rollback::Observe, Step::Keep(why())),
            (Some(WatchVerdict::Broken(why())), Rollback::Automatic, Step::GoBack(why())),
        ] {
            assert_eq!(watched(verdict.clone(), rollback, 7), expected, "{verdict:?}");
        }
        let observed = watched(Some(WatchVerdict::Broken(why())), Rollback::Observe, 7);
        let Step::Keep(words) = observed else { panic!("{observed:?}: observing undoes nothing") };
        assert!(words.contains("it broke"), "{words}");
    }

    /// A change that nobody confirms goes back when its time is over, once, and again in a while
    /// if going back fails.
    #[test]
    fn an_unconfirmed_change_goes_back() {
        let at = |seconds: u64| Timestamp::ZERO + Duration::from_secs(seconds);
        let second = |seconds| Second { now: at(seconds), snapshot: Arc::default(), arms: None };
        let generation = Generation {
            number: 7,
            version: String::new(),
            base: Some(6),
            at: String::new(),
            author: String::new(),
            reason: String::new(),
            origin: model::generation::Origin::Apply,
            forced: false,
            state: GenerationState::Unconfirmed,
            verdict: String::new(),
            changes: Vec::new(),
        };
        let stage =
            Stage::Live { watch: None, confirm_until: Some(at(5)), rollback: Rollback::Observe };
        let mut open = Open { generation, stage, failed: None };
        assert!(open.keeps_others_waiting());
        assert_eq!(open.second(&second(4)), Step::Wait);
        assert!(
            open.progress(at(4)).contains("in 1 s unless confirmed"),
            "{}",
            open.progress(at(4))
        );
        assert!(matches!(open.second(&second(5)), Step::GoBack(_)));
        open.could_not_go_back("the certificate is gone", at(5));
        assert_eq!(open.second(&second(6)), Step::Wait);
        assert!(open.progress(at(6)).contains("the certificate is gone"));
        assert!(matches!(open.second(&second(15)), Step::GoBack(_)));
    }
}
