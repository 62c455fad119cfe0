//! What becomes of a change once it is live or tried: kept, promoted, or undone; by the door
//! itself or by a person.
//!
//! Limits: one automatic rollback per change, to what was confirmed last, and never of a
//! rollback, since a rollback is confirmed from the start. One that cannot go live leaves the
//! door as it is, says so in the log, and is tried again.

use std::sync::Arc;

use console::{Changed, Confirm, Kept, Refusal, RefusalKind, RollBack};
use journal::NewGeneration;
use model::Configuration;
use model::generation::{ChangeStatus, Generation, GenerationState, Origin};
use net::clock;

use super::book::{Entry, Verdict};
use super::change::{Changer, cannot_be_served};
use super::judge;
use super::open::{Open, Second, Step};
use super::start;

/// How many rollbacks of rollbacks are followed to find what a person wants to go back behind.
const ROLLBACKS_FOLLOWED: usize = 100;

impl Changer {
    /// One second passed: the open change is judged by it.
    pub(super) async fn second(&mut self, second: &Second) {
        self.write_what_waits().await;
        let step = self.open.as_mut().map_or(Step::Wait, |open| open.second(second));
        match step {
            Step::Wait => {}
            Step::Keep(why) => self.keep(&why).await,
            Step::Promote(why) => self.promote(&why, None).await,
            Step::EndTrial(why) => drop(self.end_trial(&why).await),
            Step::GoBack(why) => self.go_back(&why).await,
        }
        let configuration = Arc::clone(self.stage.desk.live().configuration());
        self.drift.second(&self.live, &configuration);
        self.publish();
    }

    /// The open change stays.
    async fn keep(&mut self, why: &str) {
        let Some(open) = self.open.take() else { return };
        let number = open.generation.number;
        tracing::info!(generation = number, "it stays: {why}");
        let why = why.to_owned();
        self.settle(Verdict { number, state: GenerationState::Confirmed, why }).await;
    }

    /// The candidate becomes live for everybody; `by` is who said so, if it was a person.
    async fn promote(&mut self, why: &str, by: Option<&str>) {
        let Some(open) = self.open.take() else { return };
        let Some(tried) = open.candidate() else { return };
        let (number, before) = (open.generation.number, self.live.generation.number);
        let state = match by {
            Some(_) => GenerationState::Confirmed,
            None => tried.after.state(&tried.configuration),
        };
        let opened = match self.stage.listen(&tried.configuration).await {
            Ok(opened) => opened,
            Err(error) => {
                self.open = Some(open);
                drop(self.end_trial(&format!("it cannot be promoted: {error}")).await);
                return;
            }
        };
        let entry = Entry::Settle(Verdict { number, state, why: why.to_owned() });
        let generation = match self.stage.desk.book.write(entry).await {
            Ok(generation) => generation,
            Err(error) => {
                self.open = Some(open);
                drop(self.end_trial(&format!("it cannot be promoted: {error}")).await);
                return;
            }
        };
        let seen = self.seen();
        if let Err(error) = self.stage.promote(opened).await {
            tracing::error!(generation = number, "it is not promoted: {error}");
            return;
        }
        self.take_live(generation.clone(), tried.text);
        tracing::info!(
            generation = number,
            "promoted, in place of {before}: {why}; `tidegate rollback {before} --reason TEXT` undoes it"
        );
        let now = clock::now();
        self.open = Open::live(generation, &tried.configuration, tried.after, &seen, now);
        self.trim(&tried.configuration);
    }

    /// The candidate is not tried any longer; what is live stays.
    async fn end_trial(&mut self, why: &str) -> Option<Generation> {
        let open = self.open.take()?;
        let number = open.generation.number;
        if let Err(error) = self.stage.end_trial().await {
            tracing::error!(generation = number, "its trial cannot be ended: {error}");
        }
        tracing::warn!(generation = number, "its trial ends and it is rolled back: {why}");
        let why = why.to_owned();
        self.settle(Verdict { number, state: GenerationState::RolledBack, why }).await
    }

    /// Goes back by itself to what was confirmed last.
    async fn go_back(&mut self, why: &str) {
        let target = Arc::clone(&self.confirmed);
        let (bad, to) = (self.live.generation.number, target.generation.number);
        let swapped = match self.configuration_of(&target).await {
            Ok(configuration) => match self.prepared(&configuration).await {
                Ok(prepared) => Ok((configuration, prepared)),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error),
        };
        let (configuration, prepared) = match swapped {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(
                    generation = bad,
                    "it should be rolled back to {to} ({why}), but that cannot go live: {error}. The door stays as it is: `tidegate rollback N --reason TEXT` to one that can"
                );
                if let Some(open) = &mut self.open {
                    open.could_not_go_back(&format!("{why}; to {to}: {error}"), clock::now());
                }
                return;
            }
        };
        self.open = None;
        let words = (format!("rolled back by the door: {why}"), why.to_owned());
        let new = self.back_to(&target, ("door".to_owned(), words.0), true).await;
        let verdict = Verdict { number: bad, state: GenerationState::RolledBack, why: words.1 };
        let entry = Entry::Replace(verdict, new);
        let written = self.stage.desk.book.write(entry.clone()).await;
        if let Err(error) = self.swapped(prepared).await {
            tracing::error!(generation = bad, "it is not rolled back: {error}");
            return;
        }
        match written {
            Ok(generation) => self.take_live(generation, target.text.clone()),
            Err(error) => {
                tracing::error!("the rollback is not recorded yet: {error}");
                self.unwritten = Some(entry);
                self.live = target;
                self.stage.desk.keep(&self.live);
            }
        }
        tracing::error!(
            generation = bad,
            "rolled back to the text of {to}: {why}; `tidegate show {bad}` shows what was undone"
        );
        self.trim(&configuration);
    }

    /// A person goes back. While a candidate is tried, back to what is live ends the trial, and
    /// so does going live with another; a rollback that is refused leaves the trial as it is.
    pub(super) async fn roll_back(
        &mut self,
        author: String,
        back: RollBack,
    ) -> Result<Changed, Refusal> {
        self.refuse_while_unwritten()?;
        let words = format!("rolled back by {author}: {}", back.reason);
        let tried = self.open.as_ref().is_some_and(|open| open.candidate().is_some());
        let live = self.live.generation.number;
        let target = match back.to {
            Some(to) => Arc::new(self.stage.desk.book.get(to).await?),
            None if tried => Arc::clone(&self.live),
            None => self.confirmed_before_live().await?,
        };
        let to = target.generation.number;
        if target.text == self.live.text {
            if tried {
                let generation = self.end_trial(&words).await;
                let result = "the trial has ended; what was live stays".to_owned();
                return Ok(Changed { generation, result, ..Changed::default() });
            }
            let detail = format!("the text of generation {to} is live already, as {live}");
            return Err(Refusal::new(RefusalKind::Stale, detail));
        }
        let configuration = self.configuration_of(&target).await.map_err(cannot_be_served)?;
        let prepared = self.prepared(&configuration).await?;
        let new = self.back_to(&target, (author, back.reason), false).await;
        let why = words.clone();
        let verdict = Verdict { number: live, state: GenerationState::RolledBack, why };
        let generation = self.stage.desk.book.write(Entry::Replace(verdict, new)).await?;
        self.swapped(prepared).await?;
        if tried {
            drop(self.end_trial(&words).await);
        }
        self.open = None;
        self.take_live(generation.clone(), target.text.clone());
        let number = generation.number;
        let result =
            format!("generation {number} is live, with the text of {to}, in place of {live}");
        tracing::info!("{result}; `tidegate rollback {live} --reason TEXT` undoes it");
        self.trim(&configuration);
        Ok(Changed { generation: Some(generation), result, ..Changed::default() })
    }

    /// A person's word that the open generation stays.
    pub(super) async fn confirm(
        &mut self,
        author: String,
        confirm: Confirm,
    ) -> Result<Changed, Refusal> {
        self.refuse_while_unwritten()?;
        let number = confirm.generation;
        let Some(open) = self.open.as_ref().filter(|open| open.generation.number == number) else {
            let detail = match &self.open {
                Some(open) => {
                    format!("generation {} is open, not {number}", open.generation.number)
                }
                None => format!("generation {number} is not open: there is nothing to confirm"),
            };
            return Err(Refusal::new(RefusalKind::Stale, detail));
        };
        let words = format!("confirmed by {author}");
        if open.candidate().is_some() {
            self.promote(&words, Some(&author)).await;
            let kept = self.stage.desk.book.get(number).await?;
            if kept.generation.state == GenerationState::RolledBack {
                return Err(Refusal::new(RefusalKind::Invalid, kept.generation.verdict));
            }
        } else {
            let verdict = Verdict { number, state: GenerationState::Confirmed, why: words };
            let generation = self.stage.desk.book.write(Entry::Settle(verdict)).await?;
            self.open = None;
            self.take_live(generation, self.live.text.clone());
        }
        let result = format!("generation {number} stays");
        tracing::info!(author, "{result}: confirmed");
        let generation = Some(self.live.generation.clone());
        Ok(Changed { generation, result, ..Changed::default() })
    }

    /// What was confirmed before the live one: behind what it already went back to.
    async fn confirmed_before_live(&self) -> Result<Arc<Kept>, Refusal> {
        let mut before = self.live.generation.number;
        let mut origin = self.live.generation.origin;
        let book = &self.stage.desk.book;
        for _ in 0..ROLLBACKS_FOLLOWED {
            let (Origin::Rollback { to } | Origin::AutomaticRollback { to }) = origin else {
                break;
            };
            before = to;
            let Ok(kept) = book.get(to).await else { break };
            origin = kept.generation.origin;
        }
        let found = book.ask(move |journal| journal.last_confirmed(Some(before))).await?;
        let found = found.map(|stored| Arc::new(super::book::kept(stored)));
        found.ok_or_else(|| {
            let detail =
                "no earlier generation was confirmed: name one, as `tidegate history` shows them";
            Refusal::new(RefusalKind::Unknown, detail)
        })
    }

    /// The configuration of a generation's text, as it was when it was live.
    pub(super) async fn configuration_of(
        &self,
        kept: &Arc<Kept>,
    ) -> Result<Arc<Configuration>, String> {
        let source = start::source_of(kept.generation.number, &kept.text, &self.path);
        let environment = self.environment.clone();
        let checked = tokio::task::spawn_blocking(move || {
            judge::check(&source, &environment, true).map(|accepted| accepted.configuration)
        });
        checked.await.map_err(|error| error.to_string())?.map(Arc::new)
    }

    async fn back_to(
        &self,
        target: &Kept,
        (author, reason): (String, String),
        automatic: bool,
    ) -> Box<NewGeneration> {
        let to = target.generation.number;
        let live = Arc::clone(self.stage.desk.live().configuration());
        let changes = match self.configuration_of(&Arc::new(target.clone())).await {
            Ok(back) => {
                tokio::task::spawn_blocking(move || changes::difference(&live, &back)).await
            }
            Err(_) => Ok(Vec::new()),
        };
        Box::new(NewGeneration {
            version: target.generation.version.clone(),
            base: Some(self.live.generation.number),
            at: telemetry::rfc3339(clock::wall()),
            author,
            reason: bounded(reason),
            origin: if automatic {
                Origin::AutomaticRollback { to }
            } else {
                Origin::Rollback { to }
            },
            forced: target.generation.forced,
            state: GenerationState::Confirmed,
            verdict: String::new(),
            changes: changes.unwrap_or_default(),
            text: target.text.clone(),
            file_version: self.file_version().await,
        })
    }

    /// Records a verdict; one that cannot be written is tried again each second.
    async fn settle(&mut self, verdict: Verdict) -> Option<Generation> {
        let entry = Entry::Settle(verdict);
        match self.stage.desk.book.write(entry.clone()).await {
            Ok(generation) => {
                self.took(&generation);
                Some(generation)
            }
            Err(error) => {
                tracing::error!("a verdict is not recorded yet: {error}");
                self.unwritten = Some(entry);
                None
            }
        }
    }

    async fn write_what_waits(&mut self) {
        let Some(entry) = &self.unwritten else { return };
        let Ok(generation) = self.stage.desk.book.write(entry.clone()).await else { return };
        match self.unwritten.take() {
            Some(Entry::Replace(..) | Entry::Add(_)) => {
                self.take_live(generation, self.live.text.clone());
            }
            Some(Entry::Settle(_)) | None => self.took(&generation),
        }
        tracing::info!("the history of changes is written again");
    }

    /// A generation was settled: if it is the live one, that is what is known of it now.
    fn took(&mut self, generation: &Generation) {
        if generation.number == self.live.generation.number {
            self.take_live(generation.clone(), self.live.text.clone());
        }
    }

    /// From now on this generation is live.
    pub(super) fn take_live(&mut self, generation: Generation, text: String) {
        let confirmed = generation.state == GenerationState::Confirmed;
        self.live = Arc::new(Kept { generation, text });
        if confirmed {
            self.confirmed = Arc::clone(&self.live);
            let desk = &self.stage.desk;
            desk.switches.forget(desk.live().configuration(), &desk.book);
        }
        self.stage.desk.keep(&self.live);
    }

    /// Forgets the oldest generations beyond what is to be kept.
    pub(super) fn trim(&self, configuration: &Configuration) {
        let max = usize::try_from(configuration.changes.history_max).unwrap_or(usize::MAX);
        let book = self.stage.desk.book.clone();
        // Nobody waits for it; what cannot be forgotten now is forgotten after the next change.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = book.ask_and_wait(|journal| journal.trim(max)) {
                tracing::warn!(%error, "old generations cannot be forgotten");
            }
        }));
    }

    /// How changes stand, for the admin interface.
    pub(super) fn status(&self) -> ChangeStatus {
        let open = self.open.as_ref();
        ChangeStatus {
            live: self.live.generation.number,
            open: open.map(|open| open.generation.clone()),
            progress: open.map(|open| open.progress(clock::now())).unwrap_or_default(),
            drift: self.drift.words().to_vec(),
        }
    }

    pub(super) fn publish(&self) {
        self.stage.desk.status.send_replace(Arc::new(self.status()));
    }

    /// What came of a change, with how changes stand after it.
    pub(super) fn told(&self, changed: Changed) -> Changed {
        Changed { status: self.status(), ..changed }
    }
}

/// The door's own reasons are cut where a person's would be refused.
fn bounded(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(journal::REASON_BYTES_MAX));
    reason
}
