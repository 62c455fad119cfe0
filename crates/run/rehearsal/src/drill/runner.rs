//! Plays a drill: raises its stage, sends its load, carries out its timeline, looks, and ends it all.
//!
//! What takes long runs beside the timeline, which waits for nobody. Invariant: whatever happens
//! in between, the stage is ended and the watchdog awaited; what they could not undo is said.

mod play;

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::drill::Drill;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::fault::watchdog::Watchdog;
use crate::load::Outcome;
use crate::stage::{FrontDoor, Setup, Stage, TidegateTools, scratch};

use super::measure::{Record, measure};
use super::report::{EntryKind, EntryOutcome, Generator, Judged, Progress, RunReport};
use super::report::{TimelineEntry, Verdict};
use super::verdict::{self, Played};
use super::{RunOptions, honesty, rows, words};

/// What a drill that was broken off says.
const BROKEN_OFF: &str =
    "the drill was broken off; everything that it had started or broken is undone";

/// For tasks that were aborted to be gone.
const TASKS_GRACE: Duration = Duration::from_secs(5);
/// Between two looks at whether they are.
const TASKS_PAUSE: Duration = Duration::from_millis(2);

/// Tells what happens to whoever listens, and never waits for him.
#[derive(Clone, Debug)]
struct Teller(mpsc::Sender<Progress>);

impl Teller {
    fn tell(&self, progress: Progress) {
        // Full or closed: the report has it all.
        drop(self.0.try_send(progress));
    }

    fn phase(&self, words: &str) {
        self.tell(Progress::Phase(words.to_owned()));
    }
}

/// What was recorded of a drill that was played to its end.
#[derive(Debug, Default)]
struct Recorded {
    record: Record,
    timeline: Vec<TimelineEntry>,
    outcome: Outcome,
    findings: Vec<String>,
    front_version: String,
}

/// Plays a drill with everything that surrounds it.
pub(super) async fn run(
    drill: &Drill,
    options: &RunOptions,
    tools: Arc<dyn TidegateTools>,
    progress: mpsc::Sender<Progress>,
) -> Result<RunReport, String> {
    let started = net::clock::now();
    let teller = Teller(progress);
    let watchdog = Watchdog::start(&options.executable, &scratch()).await;
    let watchdog = Arc::new(watchdog.map_err(|error| chain(&error))?);
    let played = with_stage(drill, options, tools, (&teller, &watchdog)).await;
    // What is left on the stage it undoes.
    let undone = match alone(watchdog).await {
        Some(watchdog) => watchdog.end().await.map_err(|error| chain(&error)),
        None => Err("the watchdog is still in use".to_owned()),
    };
    let mut recorded = match (played, undone) {
        (Ok(recorded), Ok(())) => recorded,
        (Ok(mut recorded), Err(why)) => {
            recorded.findings.push(why);
            recorded
        }
        (Err(why), Ok(())) => return Err(why),
        (Err(why), Err(also)) => return Err(format!("{why}\n{also}")),
    };
    recorded.record.seconds = std::mem::take(&mut recorded.outcome.seconds);
    Ok(report(drill, options, recorded, started))
}

/// Raises the stage, plays, and ends the stage whatever came of it.
async fn with_stage(
    drill: &Drill,
    options: &RunOptions,
    tools: Arc<dyn TidegateTools>,
    (teller, watchdog): (&Teller, &Arc<Watchdog>),
) -> Result<Recorded, String> {
    let (front, guard, seed) = (options.front, options.guard, options.seed);
    teller.phase(&format!("starting {} servers and {front}", drill.stack.servers.len()));
    let setup = Setup { drill, front, guard, seed, executable: &options.executable };
    let raised = Box::pin(Stage::raise(setup, tools, Arc::clone(watchdog)));
    let stage = unless_broken_off(&options.stop, raised).await??;
    let stage = Arc::new(stage);
    let playing = Box::pin(play::play(drill, options, &stage, teller));
    let played = unless_broken_off(&options.stop, playing).await.flatten();
    teller.phase("ending the stage");
    let ended = match alone(stage).await {
        Some(stage) => Box::pin(stage.end()).await,
        None => Err("the stage is still in use".to_owned()),
    };
    match (played, ended) {
        (Ok(mut recorded), Err(why)) => {
            recorded.findings.push(format!("not everything ended as it should: {why}"));
            Ok(recorded)
        }
        (played, _) => played,
    }
}

/// What was shared, once the last task that was told to end has let go of it.
async fn alone<T>(mut shared: Arc<T>) -> Option<T> {
    let end = Instant::now() + TASKS_GRACE;
    loop {
        match Arc::try_unwrap(shared) {
            Ok(alone) => return Some(alone),
            Err(still) if Instant::now() < end => shared = still,
            Err(_) => return None,
        }
        tokio::time::sleep(TASKS_PAUSE).await;
    }
}

/// Ends with `work`, or as soon as the drill is to be broken off.
async fn unless_broken_off<T>(
    stop: &watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        // A sender that is gone can no longer ask for anything, and nobody is left to read a report.
        _ = stop.wait_for(|stop| *stop) => Err(BROKEN_OFF.to_owned()),
        done = work => Ok(done),
    }
}

/// Judges what was recorded.
fn report(
    drill: &Drill,
    options: &RunOptions,
    mut recorded: Recorded,
    started: Timestamp,
) -> RunReport {
    let record = &recorded.record;
    let generator = honesty::confession(&record.seconds, recorded.outcome.cpu);
    let honest = !generator.generator_bound;
    let judged = |expectations: &[model::drill::Expectation]| -> Vec<Judged> {
        let judge = |one| verdict::judge(one, measure(record, one), honest);
        expectations.iter().map(judge).collect()
    };
    let (symptoms, expectations) = (judged(&drill.symptoms), judged(&drill.expectations));
    let carried_out = !recorded.timeline.iter().any(failed);
    let played = Played {
        decides: options.front == FrontDoor::Tidegate && options.guard,
        carried_out,
        honest,
        due: total(record, |stream| stream.due),
        ok: total(record, |stream| stream.ok),
        ended: total(record, |stream| stream.ok + stream.failed + stream.dropped),
        duration: drill.duration,
    };
    let summary = verdict::summary(played, &symptoms, &expectations);
    let mut findings = std::mem::take(&mut recorded.findings);
    findings.extend(odd(options, &recorded.timeline, generator, &symptoms));
    let Recorded { record, timeline, front_version, .. } = recorded;
    RunReport {
        drill: drill.name.to_string(),
        title: drill.title.clone(),
        description: drill.description.clone(),
        front: options.front.to_string(),
        front_version,
        guard: options.guard,
        seed: options.seed,
        duration_seconds: drill.duration.as_secs_f64(),
        wall_seconds: net::clock::now().since(started).as_secs_f64(),
        streams: drill.load.streams.iter().map(words::stream).collect(),
        servers: drill.stack.servers.iter().map(words::server).collect(),
        timeline,
        seconds: record.seconds.iter().map(|second| rows::row(&record, second)).collect(),
        symptoms,
        expectations,
        generator,
        findings,
        summary,
    }
}

/// What a reader has to know before he believes the numbers.
fn odd(
    options: &RunOptions,
    timeline: &[TimelineEntry],
    generator: Generator,
    symptoms: &[Judged],
) -> Vec<String> {
    let mut findings = Vec::new();
    if generator.generator_bound {
        findings.push(format!(
            "generator-bound: {} of the requests were sent more than {} ms late and {} not at all, above {}; run it on a machine with less to do, or lower the rates",
            words::percent(generator.late_share),
            honesty::LATE_MS,
            words::percent(generator.dropped_share),
            words::percent(honesty::SHARE_MAX)
        ));
    }
    if let Some(lateness_ms) = generator.lateness_p99_ms
        && lateness_ms > honesty::SAID_MS
        && !generator.generator_bound
    {
        findings.push(format!(
            "one request in a hundred was sent {} ms late or more; latencies are as much too long",
            words::short(lateness_ms)
        ));
    }
    for entry in timeline.iter().filter(|entry| failed(entry)) {
        if let EntryOutcome::Failed(why) = &entry.outcome {
            findings.push(format!("could not be done: {}: {why}", entry.words));
        }
    }
    let shown = symptoms.iter().any(|symptom| symptom.verdict == Verdict::Held);
    if !options.guard && !symptoms.is_empty() && !shown && !generator.generator_bound {
        findings.push("no symptom showed with the guard off: the outage did not happen".to_owned());
    }
    findings
}

fn failed(entry: &TimelineEntry) -> bool {
    match (entry.kind, &entry.outcome) {
        (
            EntryKind::Load | EntryKind::Fault | EntryKind::Change | EntryKind::Undo,
            EntryOutcome::Failed(_),
        ) => true,
        (_, EntryOutcome::Ok | EntryOutcome::Refused(_) | EntryOutcome::Failed(_)) => false,
    }
}

fn total(record: &Record, count: impl Fn(&crate::load::StreamSecond) -> u64) -> u64 {
    record.seconds.iter().flat_map(|second| &second.streams).map(count).sum()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Whole seconds of a drill, the last one counted when it is only begun.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
