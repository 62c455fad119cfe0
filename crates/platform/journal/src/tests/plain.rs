//! Random operations on the journal and on a plain list, which must stay equal.

use std::collections::BTreeSet;

use model::generation::{Generation, GenerationState};
use proptest::prelude::*;

use super::{STATES, new};
use crate::{Journal, NewGeneration, Stored};

/// One call that writes.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Append(NewGeneration),
    Settle(u64, GenerationState),
    Replace(u64, GenerationState, NewGeneration),
    Recover,
    Trim(usize),
}

impl Operation {
    /// Whether the journal took it.
    pub(super) fn run(&self, journal: &mut Journal) -> bool {
        match self {
            Self::Append(new) => journal.append(new).is_ok(),
            Self::Settle(number, state) => journal.settle(*number, *state, "settled").is_ok(),
            Self::Replace(number, state, new) => {
                journal.replace(*number, *state, "replaced", new).is_ok()
            }
            Self::Recover => journal.recover().is_ok(),
            Self::Trim(max) => journal.trim(*max).is_ok(),
        }
    }
}

/// The history as a list, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plain(Vec<Stored>);

impl Plain {
    /// All that the journal holds.
    pub(super) fn read(journal: &Journal) -> Self {
        let listed = journal.list(usize::MAX, None).unwrap();
        let stored = |generation: &Generation| journal.get(generation.number).unwrap().unwrap();
        let all: Vec<Stored> = listed.iter().rev().map(stored).collect();
        assert!(all.iter().map(|stored| &stored.generation).eq(listed.iter().rev()));
        Self(all)
    }

    /// Does the same as the journal; false when it must refuse.
    pub(super) fn run(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Append(new) => self.append(new),
            Operation::Settle(number, state) => return self.settle(*number, *state, "settled"),
            Operation::Replace(number, state, new) => {
                if !self.settle(*number, *state, "replaced") {
                    return false;
                }
                self.append(new);
            }
            Operation::Recover => {
                for Stored { generation, .. } in &mut self.0 {
                    if !generation.state.is_settled() && !generation.state.survives_restart() {
                        generation.state = GenerationState::RolledBack;
                        generation.verdict = "the process ended before it was decided".to_owned();
                    }
                }
            }
            Operation::Trim(max) => self.trim(*max),
        }
        true
    }

    pub(super) fn newest(&self) -> u64 {
        self.0.last().map_or(0, |stored| stored.generation.number)
    }

    fn append(&mut self, new: &NewGeneration) {
        let NewGeneration { version, base, at, author, reason, origin, .. } = new.clone();
        let NewGeneration { forced, state, verdict, changes, text, file_version, .. } = new.clone();
        let number = self.newest() + 1;
        let generation = Generation {
            number,
            version,
            base,
            at,
            author,
            reason,
            origin,
            forced,
            state,
            verdict,
            changes,
        };
        self.0.push(Stored { generation, text, file_version });
    }

    fn settle(&mut self, number: u64, to: GenerationState, verdict: &str) -> bool {
        let found = self.0.iter_mut().find(|stored| stored.generation.number == number);
        let Some(Stored { generation, .. }) = found else { return false };
        // A state is settled for good, except that a confirmed one may be undone; an open one
        // only goes forward in the order of `STATES`.
        let place = |state| STATES.iter().position(|known| *known == state);
        let may = match generation.state.is_settled() {
            true => {
                (generation.state, to) == (GenerationState::Confirmed, GenerationState::RolledBack)
            }
            false => place(generation.state) <= place(to),
        };
        if may {
            (generation.state, generation.verdict) = (to, verdict.to_owned());
        }
        may
    }

    fn find(&self, wanted: impl Fn(&Generation) -> bool) -> Option<&Stored> {
        self.0.iter().rev().find(|stored| wanted(&stored.generation))
    }

    fn trim(&mut self, max: usize) {
        let number = |stored: &Stored| stored.generation.number;
        let mut kept: BTreeSet<u64> = self.0.iter().rev().take(max.max(1)).map(number).collect();
        kept.extend(self.find(|generation| generation.state.survives_restart()).map(number));
        let confirmed = |generation: &Generation| generation.state == GenerationState::Confirmed;
        kept.extend(self.find(confirmed).map(number));
        self.0.retain(|stored| kept.contains(&number(stored)));
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let state = || prop::sample::select(STATES.to_vec());
    let generation = || {
        let text = prop::sample::select(vec!["a", "b", "c"]);
        (text, state()).prop_map(|(text, state)| new(text, state))
    };
    prop_oneof![
        4 => generation().prop_map(Operation::Append),
        4 => (0_u64..12, state()).prop_map(|(number, state)| Operation::Settle(number, state)),
        4 => (0_u64..12, state(), generation())
            .prop_map(|(number, state, new)| Operation::Replace(number, state, new)),
        1 => Just(Operation::Recover),
        1 => (0_usize..8).prop_map(Operation::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_journal_is_a_list(operations in prop::collection::vec(operation(), 0..40)) {
        let mut journal = Journal::in_memory().unwrap();
        let mut plain = Plain::default();
        for operation in &operations {
            prop_assert_eq!(operation.run(&mut journal), plain.run(operation), "{:?}", operation);
            prop_assert_eq!(&Plain::read(&journal), &plain, "after {:?}", operation);
            let live = plain.find(|generation| generation.state.survives_restart());
            prop_assert_eq!(journal.live().unwrap(), live.cloned());
            for before in [None, Some(5)] {
                let confirmed = plain.find(|generation| {
                    generation.state == GenerationState::Confirmed
                        && before.is_none_or(|before| generation.number < before)
                });
                prop_assert_eq!(journal.last_confirmed(before).unwrap(), confirmed.cloned());
            }
            let newest = plain.find(|generation| generation.version == "v-a");
            let newest = newest.map(|stored| stored.generation.clone());
            prop_assert_eq!(journal.newest_with("v-a").unwrap(), newest);
        }
    }
}
