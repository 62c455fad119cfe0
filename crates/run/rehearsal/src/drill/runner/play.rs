//! The drill itself, between a stage that stands and a load that has ended.
//!
//! One loop wakes for what is due, for four looks a second, and for what was done; everything
//! that takes time runs in tasks of its own. Invariant: when it returns or is dropped, no task has
//! a share of the stage any more.

use std::sync::Arc;
use std::time::Duration;

use model::drill::{Drill, Fault};
use model::{Name, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::drill::measure::{Changed, Record};
use crate::drill::report::{EntryKind, EntryOutcome, Progress, TimelineEntry};
use crate::drill::rows::{self, Noticed};
use crate::drill::scene::{Call, Scene};
use crate::drill::timeline::{Step, Timeline};
use crate::drill::{RunOptions, hands, warm, words};
use crate::load::{self, Outcome, Running, Target};
use crate::stage::{Look, Stage};

use super::{Recorded, Teller, chain};

/// Between two looks at the stage.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From the start of the load until its threads send: the timeline counts from there.
const LEAD: Duration = Duration::from_millis(20);
/// For the front door to show nothing wrong before the load begins.
const SETTLE_GRACE: Duration = Duration::from_secs(5);
/// For steps that are under way when the drill ends.
const STEPS_GRACE: Duration = Duration::from_secs(10);
/// For requests that are under way when the drill ends; then they are cut.
const REQUESTS_GRACE: Duration = Duration::from_secs(1);
/// Between two looks at whether the load has ended.
const ENDING_PAUSE: Duration = Duration::from_millis(20);

/// A step that was done.
struct Done {
    step: Step,
    /// When it was due, and when it began.
    due: Duration,
    at: Duration,
    said: Vec<String>,
    outcome: EntryOutcome,
}

struct Play<'a> {
    drill: &'a Drill,
    stage: &'a Arc<Stage>,
    teller: &'a Teller,
    running: Running,
    begin: Timestamp,
    timeline: Timeline,
    scene: Scene,
    /// Steps under way; bounded by the drill's events.
    steps: JoinSet<Done>,
    /// One look at most is under way.
    looking: JoinSet<Result<Look, String>>,
    noticed: Noticed,
    record: Record,
    entries: Vec<TimelineEntry>,
    findings: Vec<String>,
}

/// Warms up, plays and collects.
///
/// # Errors
/// In words: nobody answers, the load does not start, or the front door ended.
pub(super) async fn play(
    drill: &Drill,
    options: &RunOptions,
    stage: &Arc<Stage>,
    teller: &Teller,
) -> Result<Recorded, String> {
    teller.phase("warming up");
    let unseen = Box::pin(warm::unseen(stage.door_address(), &drill.door)).await?;
    let ill = Box::pin(settled(stage)).await?;
    let unseen = unseen
        .iter()
        .map(|server| format!("the front door sent nothing to {server} before the drill began"));
    let ill = ill
        .iter()
        .map(|server| format!("the front door showed that {server} is ill before the drill began"));
    let findings = unseen.chain(ill);
    let target = Target { address: stage.door_address(), host: "localhost".to_owned(), tls: None };
    let load = load::Options { seed: options.seed, ..load::Options::default() };
    let running = load::start(drill.load.clone(), target, &load).map_err(|error| chain(&error))?;
    let begin = net::clock::now() + LEAD;
    let play = Play {
        drill,
        stage,
        teller,
        running,
        begin,
        timeline: Timeline::new(drill),
        scene: Scene::new(drill),
        steps: JoinSet::new(),
        looking: JoinSet::new(),
        noticed: Noticed::default(),
        record: Record {
            streams: drill.load.streams.iter().map(|stream| stream.name.clone()).collect(),
            servers: stage.servers().iter().map(|server| server.name().clone()).collect(),
            database: drill.stack.database.is_some(),
            ..Record::default()
        },
        entries: Vec::new(),
        findings: findings.collect(),
    };
    play.whole().await
}

impl Play<'_> {
    async fn whole(mut self) -> Result<Recorded, String> {
        let text = |names: &[Name]| names.iter().map(Name::to_string).collect();
        self.teller.tell(Progress::Begun {
            duration_seconds: self.drill.duration.as_secs_f64(),
            streams: text(&self.record.streams),
            servers: text(&self.record.servers),
        });
        let played = self.until_the_end().await;
        self.running.stop();
        self.teller.phase("waiting for what is under way");
        self.finish_steps().await;
        self.looking.shutdown().await;
        let finished = finish(self.running, &self.record.streams).await;
        played?;
        let outcome = finished?;
        let mut timeline = self.entries;
        timeline.extend(words::load_changes(self.drill).into_iter().map(|(at, words)| {
            TimelineEntry {
                at_seconds: at.as_secs_f64(),
                kind: EntryKind::Load,
                words,
                outcome: EntryOutcome::Ok,
                server: None,
            }
        }));
        timeline.sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
        Ok(Recorded {
            outcome: inside(outcome, super::seconds(self.drill.duration)),
            timeline,
            findings: self.findings,
            front_version: self.stage.front_version().to_owned(),
            record: self.record,
        })
    }

    fn now(&self) -> Duration {
        net::clock::now().since(self.begin)
    }

    async fn until_the_end(&mut self) -> Result<(), String> {
        let zero = Instant::now() + self.begin.since(net::clock::now());
        let mut look = tokio::time::interval_at(zero, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let now = self.now();
            if now >= self.drill.duration {
                return Ok(());
            }
            while let Some((due, step)) = self.timeline.due(now) {
                self.begin(due, step);
            }
            let next = self.timeline.next_at().unwrap_or(self.drill.duration);
            tokio::select! {
                () = tokio::time::sleep_until(zero + next.min(self.drill.duration)) => {}
                _ = look.tick() => {
                    self.look();
                    self.seconds();
                }
                Some(looked) = self.looking.join_next() => self.looked(looked.map_err(|error| error.to_string())??),
                Some(done) = self.steps.join_next() => self.done(done.map_err(|error| error.to_string())?),
            }
        }
    }

    /// Begins a step; what takes time goes on beside.
    fn begin(&mut self, due: Duration, step: Step) {
        let at = self.now();
        let calls = self.scene.calls(step);
        for call in &calls {
            if let Call::CutClients(stream) = call {
                self.running.cut_connections(stream);
            }
        }
        if calls.is_empty() {
            self.timeline.done(step, at);
            return;
        }
        let stage = Arc::clone(self.stage);
        self.steps.spawn(async move {
            let (said, outcome) = Box::pin(hands::make(stage, calls)).await;
            Done { step, due, at, said, outcome }
        });
    }

    fn done(&mut self, done: Done) {
        self.timeline.done(done.step, self.now());
        let (Step::Begin(index) | Step::Undo(index) | Step::Restart(index, _)) = done.step;
        let Some(event) = self.drill.events.get(index) else { return };
        if let (Step::Begin(_), Fault::Configure { .. } | Fault::Stale | Fault::Deploy { .. }) =
            (done.step, &event.fault)
        {
            let refused = match &done.outcome {
                EntryOutcome::Ok => Some(false),
                EntryOutcome::Refused(_) => Some(true),
                EntryOutcome::Failed(_) => None,
            };
            let changed = refused.map(|refused| Changed { due: done.due, refused });
            self.record.changes.extend(changed);
            if done.outcome != EntryOutcome::Ok {
                self.scene.not_applied(index);
            }
        }
        let (kind, mut words) = match done.step {
            Step::Begin(_) => (kind(&event.fault), words::event(event, self.drill)),
            Step::Undo(_) => (EntryKind::Undo, words::undo(event)),
            Step::Restart(_, position) => (EntryKind::Change, words::restart(event, position)),
        };
        for said in done.said {
            words.push_str(" — ");
            words.push_str(&said);
        }
        self.enter(TimelineEntry {
            at_seconds: done.at.as_secs_f64(),
            kind,
            words,
            outcome: done.outcome,
            server: words::server_of(&event.fault),
        });
    }

    fn enter(&mut self, entry: TimelineEntry) {
        self.teller.tell(Progress::Entry(entry.clone()));
        self.entries.push(entry);
    }

    fn look(&mut self) {
        if self.looking.is_empty() {
            let stage = Arc::clone(self.stage);
            self.looking.spawn(async move { Box::pin(stage.look()).await });
        }
    }

    fn looked(&mut self, look: Look) {
        let at = look.at.since(self.begin);
        let looked = rows::looked(look, at);
        for entry in self.noticed.entries(&self.record.servers, &looked) {
            self.enter(entry);
        }
        self.record.looks.push(looked);
    }

    fn seconds(&mut self) {
        for second in self.running.take() {
            self.teller.tell(Progress::Second(rows::row(&self.record, &second)));
        }
    }

    /// Waits for the steps under way, within a bound.
    async fn finish_steps(&mut self) {
        let end = Instant::now() + STEPS_GRACE;
        loop {
            match tokio::time::timeout_at(end, self.steps.join_next()).await {
                Ok(Some(Ok(done))) => self.done(done),
                Ok(Some(Err(error))) => self.findings.push(format!("a step broke: {error}")),
                Ok(None) => return,
                Err(_) => break,
            }
        }
        self.findings.push("a step was still under way when the drill ended".to_owned());
        self.steps.shutdown().await;
    }
}

/// Waits until the front door shows nothing wrong, within a bound; else the servers it shows as ill.
/// A door that is in the midst of its first checks would be said to notice things at once.
async fn settled(stage: &Stage) -> Result<Vec<Name>, String> {
    let end = Instant::now() + SETTLE_GRACE;
    loop {
        let look = stage.look().await?;
        let ill = look.servers.into_iter().filter(|server| server.wrong == Some(true));
        let ill: Vec<Name> = ill.map(|server| server.name).collect();
        if ill.is_empty() || Instant::now() >= end {
            return Ok(ill);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn kind(fault: &Fault) -> EntryKind {
    match fault {
        Fault::Configure { .. }
        | Fault::Stale
        | Fault::Deploy { .. }
        | Fault::RollingRestart { .. } => EntryKind::Change,
        Fault::Kill { .. }
        | Fault::Stop { .. }
        | Fault::Behave { .. }
        | Fault::Network { .. }
        | Fault::CutClients { .. } => EntryKind::Fault,
    }
}

/// Lets the load end: what is under way may end by itself for a moment, then it is cut.
async fn finish(running: Running, streams: &[Name]) -> Result<Outcome, String> {
    let end = Instant::now() + REQUESTS_GRACE;
    while !running.is_finished() && Instant::now() < end {
        tokio::time::sleep(ENDING_PAUSE).await;
    }
    for stream in streams {
        running.cut_connections(stream);
    }
    let finished = tokio::task::spawn_blocking(move || running.finish()).await;
    finished.map_err(|error| format!("the load generator broke: {error}"))
}

/// The seconds of the drill itself. What ended later was cut or waited for, and belongs to no window.
fn inside(mut outcome: Outcome, seconds: u64) -> Outcome {
    outcome.seconds.retain(|second| second.second < seconds);
    outcome
}
