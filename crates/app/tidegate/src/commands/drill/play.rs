//! `tidegate drill run`: one run after the other, shown while it lasts, judged in the end.
//!
//! Invariant: a signal breaks off the run under way, which is undone and awaited; nothing new
//! begins after it, and what was played before is still told.

use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;

use model::drill::Drill;
use rehearsal::drill::{Progress, RunOptions, RunReport};
use rehearsal::stage::FrontDoor;
use tokio::sync::{mpsc, watch};

use super::live::Live;
use super::picture::Picture;
use super::plain::Plain;
use super::tools::Tools;
use super::{RunArguments, choose, reports, text};
use crate::commands::{block_on, complain, interrupted};
use crate::{exit, output};

/// Progress that waits to be shown; what does not fit is not shown.
const PROGRESS_WAITING_MAX: usize = 256;

/// One run that is to come.
struct Planned<'a> {
    drill: &'a Drill,
    front: FrontDoor,
    guard: bool,
}

pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    let drills = match choose::drills(arguments).and_then(|drills| {
        reports::writable(arguments)?;
        Ok(drills)
    }) {
        Ok(drills) => drills,
        Err(why) => {
            complain(&why);
            return exit::usage();
        }
    };
    block_on(async {
        match play(arguments, &drills).await {
            Ok((played, whole)) => tell(arguments, &played, whole),
            Err(why) => {
                complain(&why);
                exit::failed()
            }
        }
    })
}

/// Every combination that was asked for, in the order it is played.
fn planned<'a>(arguments: &RunArguments, drills: &'a [Drill]) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for drill in drills {
        for front in &arguments.against {
            for &guard in arguments.guard.settings() {
                for _ in 0..arguments.repeat {
                    planned.push(Planned { drill, front: front.door(), guard });
                }
            }
        }
    }
    planned
}

/// Plays all of it; also says whether every run came to its end.
async fn play(
    arguments: &RunArguments,
    drills: &[Drill],
) -> Result<(Vec<RunReport>, bool), String> {
    let executable = std::env::current_exe()
        .map_err(|error| format!("this executable is not found: {error}"))?;
    let interrupted =
        interrupted().map_err(|error| format!("signals cannot be watched: {error}"))?;
    let mut interrupted = pin!(interrupted);
    let tools = Arc::new(Tools::detect());
    let planned = planned(arguments, drills);
    let mut played = Vec::new();
    let mut whole = true;
    for (index, run) in planned.iter().enumerate() {
        let (stop, stopped) = watch::channel(false);
        let options = RunOptions {
            front: run.front,
            guard: run.guard,
            seed: arguments.seed,
            executable: executable.clone(),
            stop: stopped,
        };
        let (progress, told) = mpsc::channel(PROGRESS_WAITING_MAX);
        let playing: Playing<'_> =
            Box::pin(rehearsal::drill::run(run.drill, &options, tools.clone(), progress));
        let face = Face::open(run, (index + 1, planned.len()), arguments.seed);
        let (report, broken_off) = shown(playing, face, told, (&stop, interrupted.as_mut())).await;
        match report {
            Ok(report) => {
                if !arguments.json {
                    let text = text::run(&report, output::colours_on_stdout());
                    output::print(&text).map_err(|error| error.to_string())?;
                }
                played.push(report);
            }
            Err(why) => {
                whole = false;
                complain(&format!("{} with {}: {why}", run.drill.name, run.front));
            }
        }
        if broken_off {
            return Ok((played, false));
        }
    }
    Ok((played, whole))
}

type Playing<'a> = Pin<Box<dyn Future<Output = Result<RunReport, String>> + 'a>>;

/// Shows a run until it ended; also says whether a signal broke it off.
async fn shown(
    mut playing: Playing<'_>,
    mut face: Face,
    mut told: mpsc::Receiver<Progress>,
    (stop, mut interrupted): (&watch::Sender<bool>, Pin<&mut impl Future<Output = ()>>),
) -> (Result<RunReport, String>, bool) {
    let mut broken_off = false;
    let mut telling = true;
    let report = loop {
        tokio::select! {
            report = &mut playing => break report,
            () = &mut interrupted, if !broken_off => {
                broken_off = true;
                face.note("interrupted: undoing what was broken");
                // A run that has just ended does not listen any more, and need not.
                stop.send_replace(true);
            }
            next = told.recv(), if telling => match next {
                Some(progress) => face.tell(&progress),
                None => telling = false,
            },
        }
    };
    face.close();
    (report, broken_off)
}

/// Where a run is shown while it lasts: always on stderr, so that stdout holds results alone.
enum Face {
    Live(Box<Live>),
    Plain(Box<Plain>),
}

impl Face {
    fn open(run: &Planned<'_>, (number, count): (usize, usize), seed: u64) -> Self {
        use std::io::IsTerminal;
        let guard = if run.guard { "on" } else { "off" };
        let of_all = if count > 1 { format!("run {number} of {count}  ") } else { String::new() };
        let heading =
            format!("{of_all}{}  {}, guard {guard}, seed {seed}", run.drill.name, run.front);
        let picture = Picture::new(heading, run.drill);
        match std::io::stderr().is_terminal() {
            true => Self::Live(Box::new(Live::open(picture, output::colours_on_stderr()))),
            false => Self::Plain(Box::new(Plain::open(picture))),
        }
    }

    fn tell(&mut self, progress: &Progress) {
        match self {
            Self::Live(live) => live.tell(progress),
            Self::Plain(plain) => plain.tell(progress),
        }
    }

    fn note(&mut self, words: &str) {
        self.tell(&Progress::Phase(words.to_owned()));
    }

    fn close(self) {
        match self {
            Self::Live(live) => live.close(),
            Self::Plain(_) => {}
        }
    }
}

/// Prints what all runs came to, writes the files that were asked for, and gives the exit code.
fn tell(arguments: &RunArguments, played: &[RunReport], ended: bool) -> ExitCode {
    let whole = ended && reports::carried_out(played);
    let text = match arguments.json {
        true => reports::json(played, whole),
        false => text::all(played, output::colours_on_stdout()),
    };
    if let Err(error) = output::print(&text) {
        complain(&format!("stdout cannot be written: {error}"));
        return exit::failed();
    }
    if let Err(why) = reports::write(arguments, played) {
        complain(&why);
        return exit::failed();
    }
    match (whole, reports::passed(played)) {
        (false, _) => exit::failed(),
        (true, true) => exit::clean(),
        (true, false) => exit::breached(),
    }
}
