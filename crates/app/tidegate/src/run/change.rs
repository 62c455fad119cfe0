//! The walk of a change in the running door, from its text to the swap: one change at a time.
//!
//! [`Changer::walk`] reads from top to bottom. What becomes of a change once it is live or tried
//! is in `settle`. The changer is a task of its own beside the operator, which serves it as the
//! stage hand: while a text is judged or the disk writes, signals, seconds and names go on.
//!
//! Killed at any moment, the door comes back with exactly one complete generation:
//! - The journal writes a generation with its whole text in one transaction, on the disk when it
//!   returns. It is written before the swap, in the state it will have: killed before, the old
//!   generation is served again; after, the new one. No text is ever put together from two.
//! - A generation that is decided and the one that takes its place are one transaction.
//! - A candidate, and what nobody confirmed, do not survive: `recover` rolls them back.
//! - The workers see a change by one swap of one pointer each, after the journal has it; a
//!   request is served by the one it began with.
//!
//! Only an automatic rollback does not wait for a journal that fails: traffic comes first. Until
//! its entry is written (each second it is tried again), every other change is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use console::{Apply, ChangeOrder, Changed, Kept, Refusal, RefusalKind, What};
use journal::NewGeneration;
use model::Configuration;
use model::fact::Snapshot;
use model::generation::{Generation, GenerationState, Origin};
use net::clock;
use net::notify::Notifier;
use settings::{Environment, Source};
use tokio::sync::{mpsc, oneshot};

use super::book::{Entry, Verdict};
use super::control::Order;
use super::drift::Drift;
use super::judge::{Judged, Subject, judge};
use super::open::{After, Open, Second, Tried};
use super::stage::{Prepared, Stage};
use super::start;
use crate::commands::chain;

/// How long a canary is tried when its author does not say.
const TRIAL_DEFAULT: Duration = Duration::from_secs(120);

/// Carries out changes.
#[derive(Debug)]
pub(super) struct Changer {
    pub(super) path: PathBuf,
    pub(super) environment: Environment,
    pub(super) stage: Stage,
    pub(super) notifier: Notifier,
    /// What is live.
    pub(super) live: Arc<Kept>,
    /// What went live last and was confirmed: where an automatic rollback goes.
    pub(super) confirmed: Arc<Kept>,
    pub(super) open: Option<Open>,
    /// What the journal should have taken and did not yet.
    pub(super) unwritten: Option<Entry>,
    pub(super) drift: Drift,
    /// Another process takes over: nothing changes here any more.
    pub(super) paused: bool,
}

/// What arrives for the changer.
#[derive(Debug)]
pub(super) struct ChangerInbox {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) seconds: mpsc::Receiver<Second>,
    pub(super) pauses: mpsc::Receiver<Pause>,
}

/// Another process takes over, or does not after all.
#[derive(Debug)]
pub(super) enum Pause {
    /// From now on nothing changes here, and the journal is the other's; or why that cannot be.
    Begin(oneshot::Sender<Result<(), String>>),
    /// Nobody took over.
    End,
}

/// A text that is to go live.
pub(super) struct Proposal {
    author: String,
    reason: String,
    origin: Origin,
    source: Source,
    base: Option<u64>,
    force: bool,
    dry: bool,
    /// The share of the requests that tries it first, and for how long.
    trial: Option<(f64, Duration)>,
    after: After,
}

impl Changer {
    /// A changer of the door as it starts.
    pub(super) fn new(
        stage: Stage,
        notifier: Notifier,
        path: PathBuf,
        environment: Environment,
    ) -> Self {
        let live = stage.desk.kept();
        // What a door starts with stays.
        stage.desk.switches.forget(stage.desk.live().configuration(), &stage.desk.book);
        Self {
            stage,
            notifier,
            confirmed: Arc::clone(&live),
            live,
            open: None,
            unwritten: None,
            paused: false,
            drift: Drift::new(path.clone(), environment.clone()),
            path,
            environment,
        }
    }

    /// Works until the operator is gone.
    pub(super) async fn work(mut self, mut inbox: ChangerInbox) {
        self.publish();
        loop {
            tokio::select! {
                biased;
                second = inbox.seconds.recv() => match second {
                    Some(second) => self.second(&second).await,
                    None => return,
                },
                Some(pause) = inbox.pauses.recv() => self.pause(pause),
                Some((order, answer)) = inbox.orders.recv() => {
                    let result = self.carry_out(order).await;
                    self.publish();
                    // Whoever asked may have hung up.
                    drop(answer.send(result.map(|changed| self.told(changed))));
                }
            }
        }
    }

    /// Lets another process have the journal, unless something here is not decided yet.
    fn pause(&mut self, pause: Pause) {
        match pause {
            Pause::Begin(answer) => {
                let number = self.live.generation.number;
                let undecided = self.open.is_some() || self.unwritten.is_some();
                let closed = if self.paused {
                    Err("another process is taking over already".to_owned())
                } else if undecided {
                    Err(format!(
                        "a change is not decided yet (generation {number} is live): try again when it is, or decide it"
                    ))
                } else {
                    self.stage.desk.book.close()
                };
                self.paused |= closed.is_ok();
                // Whoever asked may be gone, and says so by `End`.
                drop(answer.send(closed));
            }
            Pause::End => match self.stage.desk.book.open_again() {
                Ok(()) => self.paused = false,
                Err(error) => tracing::error!(
                    why = chain(&error),
                    "nobody took over, and the history of changes cannot be opened again"
                ),
            },
        }
    }

    async fn carry_out(&mut self, order: ChangeOrder) -> Result<Changed, Refusal> {
        if self.paused {
            let detail = "another process takes over from this one: ask that one, in a moment";
            return Err(Refusal::new(RefusalKind::Busy, detail));
        }
        let author = order.author;
        match order.what {
            What::Reload => self.reload(author).await,
            What::Apply(apply) => self.walk(self.applied(author, *apply)).await,
            What::RollBack(back) => self.roll_back(author, back).await,
            What::Confirm(confirm) => self.confirm(author, confirm).await,
        }
    }

    /// One change, from its text to the swap.
    async fn walk(&mut self, proposal: Proposal) -> Result<Changed, Refusal> {
        self.refuse_stale(&proposal).await?;
        // Certificates must not wait until an open change is decided.
        if proposal.source.text == self.live.text {
            return self.live_again(&proposal).await;
        }
        self.refuse_while_undecided(&proposal)?;
        let judged = self.judged(&proposal).await?;
        if proposal.dry {
            return Ok(dry(judged));
        }
        match proposal.trial {
            Some(trial) => self.try_out(&proposal, judged, trial).await,
            None => self.go_live(&proposal, judged).await,
        }
    }

    /// The file as a change; a bad one changes nothing and says why.
    async fn reload(&mut self, author: String) -> Result<Changed, Refusal> {
        self.notify(Notifier::reloading);
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || settings::read(&path)).await;
        let source = match read {
            Ok(Ok(source)) => Ok(source),
            Ok(Err(error)) => Err(chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        let result = match source {
            Ok(source) => self.walk(self.read_again(author, source)).await,
            Err(why) => Err(Refusal::new(RefusalKind::Invalid, why)),
        };
        self.notify(Notifier::ready);
        self.stage.desk.registry.configuration_reloaded(result.is_ok());
        if let Err(why) = &result {
            tracing::error!("the configuration stays as it was: {why}");
        }
        result
    }

    fn read_again(&self, author: String, source: Source) -> Proposal {
        Proposal {
            author,
            reason: "the file was read again".to_owned(),
            origin: Origin::Reload,
            source,
            base: None,
            force: false,
            dry: false,
            trial: None,
            after: After::default(),
        }
    }

    fn applied(&self, author: String, apply: Apply) -> Proposal {
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let duration = apply.for_seconds.map_or(TRIAL_DEFAULT, time);
        let mut source = start::source_of(0, &apply.text, &self.path);
        source.name = "the applied text".to_owned();
        Proposal {
            author,
            reason: apply.reason,
            origin: Origin::Apply,
            source,
            base: apply.base,
            force: apply.force,
            dry: apply.dry,
            trial: apply.canary.map(|share| (share, duration)),
            after: After { confirm_within: apply.confirm_within_seconds.map(time) },
        }
    }

    /// While a change is tried or awaits a person's word, another one would take its place
    /// unjudged.
    fn refuse_while_undecided(&self, proposal: &Proposal) -> Result<(), Refusal> {
        if proposal.dry {
            return Ok(());
        }
        self.refuse_while_unwritten()?;
        let Some(open) = &self.open else { return Ok(()) };
        let number = open.generation.number;
        if open.keeps_others_waiting() {
            let detail = format!(
                "generation {number} is not decided yet ({}): `tidegate confirm {number}` or `tidegate rollback --reason TEXT` first",
                open.progress(clock::now())
            );
            return Err(Refusal::new(RefusalKind::Open, detail));
        }
        if proposal.trial.is_some() {
            let detail = format!(
                "generation {number} is still watched, and a canary is compared with what is known to be well: wait, or `tidegate confirm {number}`"
            );
            return Err(Refusal::new(RefusalKind::Open, detail));
        }
        Ok(())
    }

    pub(super) fn refuse_while_unwritten(&self) -> Result<(), Refusal> {
        if self.unwritten.is_none() {
            return Ok(());
        }
        let detail = "the history of changes cannot be written, and an earlier entry waits: make room on the disk of `[door] state`";
        Err(Refusal::new(RefusalKind::NotRecorded, detail))
    }

    /// A text that was made from another generation than the live one would undo what others
    /// changed in between.
    async fn refuse_stale(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let live = self.live.generation.number;
        if let Some(base) = proposal.base.filter(|base| *base != live) {
            let between = self.between(base).await?;
            let detail = format!(
                "the text was made from generation {base}, but {live} is live. In between:\n{between}make the change again from {live}: `tidegate show {live} --text`"
            );
            return Err(Refusal::new(RefusalKind::Stale, detail));
        }
        let version = settings::version(&proposal.source.text);
        if proposal.origin != Origin::Reload || *version == *self.live.generation.version {
            return Ok(());
        }
        let known = self.stage.desk.book.ask(move |journal| journal.newest_with(&version)).await?;
        match known {
            Some(known) => Err(Refusal::new(RefusalKind::Stale, start::stale(&known, live))),
            None => Ok(()),
        }
    }

    /// What happened since `base`, newest last.
    async fn between(&self, base: u64) -> Result<String, Refusal> {
        const SHOWN_MAX: usize = 10;
        let list = move |journal: &mut journal::Journal| journal.list(SHOWN_MAX, None);
        let mut newest = self.stage.desk.book.ask(list).await?;
        newest.retain(|generation| generation.number > base);
        newest.reverse();
        let line = |generation: &Generation| {
            let Generation { number, at, author, reason, .. } = generation;
            format!("  {number} at {at} by {author}: {reason}\n")
        };
        Ok(newest.iter().map(line).collect())
    }

    /// The text is live already: the files that it names are read again, and nothing else happens.
    async fn live_again(&mut self, proposal: &Proposal) -> Result<Changed, Refusal> {
        let number = self.live.generation.number;
        if proposal.origin == Origin::Reload {
            let configuration =
                self.configuration_of(&self.live).await.map_err(cannot_be_served)?;
            let prepared = self.prepared(&configuration).await?;
            self.swapped(prepared).await?;
            tracing::info!(generation = number, "live again: its text is unchanged");
        }
        let result = format!("generation {number} is live again: its text is unchanged");
        Ok(Changed { result, ..Changed::default() })
    }

    async fn judged(&self, proposal: &Proposal) -> Result<Judged, Refusal> {
        let desk = &self.stage.desk;
        let subject = Subject {
            source: proposal.source.clone(),
            force: proposal.force,
            canary: proposal.trial.is_some(),
            live: Arc::clone(desk.live().configuration()),
            recording: desk.registry.recording(clock::now()),
        };
        let environment = self.environment.clone();
        let judged = tokio::task::spawn_blocking(move || judge(&subject, &environment)).await;
        judged.map_err(|error| Refusal::new(RefusalKind::Invalid, error.to_string()))?
    }

    /// Live for everybody, and watched from then on.
    async fn go_live(&mut self, proposal: &Proposal, judged: Judged) -> Result<Changed, Refusal> {
        let configuration = judged.configuration;
        let prepared = self.prepared(&configuration).await?;
        let state = proposal.after.state(&configuration);
        let about = About { forced: judged.forced, changes: judged.forecast.changes, state };
        let new = self.new_generation(proposal, about).await;
        let before = self.live.generation.number;
        let entry = match &self.open {
            // Its watch ends here; the door still goes back to what was confirmed last.
            Some(open) => {
                let why = "another change took its place before its watch ended".to_owned();
                let number = open.generation.number;
                Entry::Replace(Verdict { number, state: GenerationState::Superseded, why }, new)
            }
            None => Entry::Add(new),
        };
        let generation = self.stage.desk.book.write(entry).await?;
        let seen = self.seen();
        self.swapped(prepared).await?;
        self.take_live(generation.clone(), proposal.source.text.clone());
        let after = proposal.after;
        self.open = Open::live(generation.clone(), &configuration, after, &seen, clock::now());
        let number = generation.number;
        let result = format!(
            "generation {number} (configuration {}) is live, in place of {before}",
            configuration.version
        );
        tracing::info!(
            author = proposal.author,
            reason = proposal.reason,
            "{result}; `tidegate rollback {before} --reason TEXT` undoes it"
        );
        self.trim(&configuration);
        let findings = judged.findings;
        Ok(Changed { generation: Some(generation), result, findings, ..Changed::default() })
    }

    /// Tried on a share of the requests first.
    async fn try_out(
        &mut self,
        proposal: &Proposal,
        judged: Judged,
        trial: (f64, Duration),
    ) -> Result<Changed, Refusal> {
        let configuration = judged.configuration;
        let prepared = self.stage.prepare_trial(&configuration).await;
        let prepared = prepared.map_err(cannot_be_served)?;
        let (changes, state) = (judged.forecast.changes, GenerationState::Canary);
        let about = About { forced: judged.forced, changes, state };
        let new = self.new_generation(proposal, about).await;
        let generation = self.stage.desk.book.write(Entry::Add(new)).await?;
        self.stage.try_out(prepared, trial.0).await.map_err(busy)?;
        let text = proposal.source.text.clone();
        let tried = Tried { configuration, text, after: proposal.after };
        self.open = Some(Open::tried(generation.clone(), tried, trial));
        let result = format!(
            "generation {} is tried on {} % of the requests for {} s",
            generation.number,
            trial.0 * 100.0,
            trial.1.as_secs_f64()
        );
        tracing::info!(
            author = proposal.author,
            reason = proposal.reason,
            "{result}; `tidegate rollback --reason TEXT` ends it"
        );
        let findings = judged.findings;
        Ok(Changed { generation: Some(generation), result, findings, ..Changed::default() })
    }

    pub(super) async fn prepared(
        &self,
        configuration: &Arc<Configuration>,
    ) -> Result<Prepared, Refusal> {
        self.stage.prepare(configuration).await.map_err(cannot_be_served)
    }

    /// The swap.
    pub(super) async fn swapped(&self, prepared: Prepared) -> Result<(), Refusal> {
        self.stage.go_live(prepared).await.map_err(busy)
    }

    async fn new_generation(&self, proposal: &Proposal, about: About) -> Box<NewGeneration> {
        Box::new(NewGeneration {
            version: settings::version(&proposal.source.text).to_string(),
            base: Some(self.live.generation.number),
            at: telemetry::rfc3339(clock::wall()),
            author: proposal.author.clone(),
            reason: proposal.reason.clone(),
            origin: proposal.origin,
            forced: about.forced,
            state: about.state,
            verdict: String::new(),
            changes: about.changes,
            text: proposal.source.text.clone(),
            file_version: self.file_version().await,
        })
    }

    /// The version of what the file says now, so that a start can tell whether it changed since.
    pub(super) async fn file_version(&self) -> Option<String> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || settings::read(&path)).await;
        Some(settings::version(&read.ok()?.ok()?.text).to_string())
    }

    /// What was seen until now, oldest first.
    pub(super) fn seen(&self) -> Vec<Snapshot> {
        const SECONDS: usize = 60;
        let all = self.stage.desk.history.since(0);
        let skipped = all.len().saturating_sub(SECONDS);
        all.into_iter().skip(skipped).map(|(_, snapshot)| (*snapshot).clone()).collect()
    }

    pub(super) fn notify(&self, message: impl FnOnce(&Notifier) -> std::io::Result<()>) {
        if let Err(error) = message(&self.notifier) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// What is recorded of a change beside its proposal.
struct About {
    forced: bool,
    changes: Vec<String>,
    state: GenerationState,
}

fn dry(judged: Judged) -> Changed {
    Changed {
        result: "nothing was changed: this is what would happen".to_owned(),
        findings: judged.findings,
        forecast: Some(judged.forecast),
        ..Changed::default()
    }
}

pub(super) fn cannot_be_served(why: String) -> Refusal {
    Refusal::new(RefusalKind::Invalid, why)
}

pub(super) fn busy(why: String) -> Refusal {
    Refusal::new(RefusalKind::Busy, why)
}
