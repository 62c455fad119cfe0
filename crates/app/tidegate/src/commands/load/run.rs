//! `tidegate load run`: sends a plan, shows it while it runs, reports it.

use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use model::Name;
use rehearsal::load::report::{Report, Run, Verdict};
use rehearsal::load::threshold::{THRESHOLDS_MAX, Threshold};
use rehearsal::load::{self, Options, Outcome, Running, html, junit};

use super::arguments::{RunArguments, TargetArguments};
use super::live::Live;
use super::{Refused, plan, refuse, target, text};
use crate::commands::{block_on, chain, complain, finish, interrupted};
use crate::{exit, output};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    block_on(async {
        match Box::pin(report(arguments)).await {
            Ok(report) => hand_over(arguments, &report),
            Err(refused) => refuse(&refused),
        }
    })
}

async fn report(arguments: &RunArguments) -> Result<Report, Refused> {
    let thresholds = thresholds(&arguments.fail_if)?;
    for file in arguments.html.iter().chain(&arguments.junit) {
        writable(file)?;
    }
    let mut aim = target::aim(&arguments.target).await?;
    let planned = plan::of_run(arguments, &aim.path, &mut aim.target)?;
    let mut run = Run {
        url: aim.url,
        streams: planned.plan.streams.iter().map(|stream| stream.name.to_string()).collect(),
        seed: arguments.target.seed,
        started_at: telemetry::access::rfc3339(net::clock::wall()),
        planned: planned.plan.duration(),
        objective: arguments.objective,
        interrupted: false,
        notes: planned.notes,
    };
    let options = options(&arguments.target);
    let mut live = Live::new(run.planned);
    let running = load::start(planned.plan, aim.target, &options)
        .map_err(|error| Refused::Failed(chain(&error)))?;
    let mut interruption = Interruption::new()?;
    let outcome = drive(running, &mut interruption, |seconds, elapsed, stopping| {
        live.add(seconds);
        live.draw(elapsed, stopping);
    })
    .await;
    live.clear();
    run.interrupted = interruption.came;
    if run.interrupted {
        run.notes.push("the run was ended before its time".to_owned());
    }
    Ok(Report::new(run, &outcome?, &thresholds))
}

fn hand_over(arguments: &RunArguments, report: &Report) -> ExitCode {
    let mut code = match report.verdict {
        Verdict::Passed | Verdict::Finished => exit::clean(),
        Verdict::Breached => exit::breached(),
        Verdict::GeneratorBound | Verdict::Failed => exit::failed(),
    };
    type Render = fn(&Report) -> String;
    let files: [(_, Render); 2] =
        [(&arguments.html, html::render), (&arguments.junit, junit::render)];
    for (file, render) in files {
        if let Some(file) = file
            && let Err(error) = std::fs::write(file, render(report))
        {
            complain(&format!("{} cannot be written: {error}", file.display()));
            code = exit::failed();
        }
    }
    if arguments.json {
        return match serde_json::to_string_pretty(report) {
            Ok(json) => finish(&format!("{json}\n"), code),
            Err(error) => refuse(&Refused::Failed(format!("the result is no JSON: {error}"))),
        };
    }
    finish(&text::render(report, output::colours_on_stdout()), code)
}

/// Ctrl-C, SIGTERM, or a terminal that went away: once to end cleanly, twice to give up.
pub(super) struct Interruption {
    next: Pin<Box<dyn Future<Output = ()>>>,
    /// Whether it came.
    pub(super) came: bool,
}

impl Interruption {
    pub(super) fn new() -> Result<Self, Refused> {
        Ok(Self { next: Box::pin(watched()?), came: false })
    }

    /// Ends when the next one comes.
    pub(super) async fn comes(&mut self) {
        self.next.as_mut().await;
        self.came = true;
        // A signal that can no longer be watched ends the process, which is what it is for.
        if let Ok(next) = watched() {
            self.next = Box::pin(next);
        }
    }
}

fn watched() -> Result<impl Future<Output = ()>, Refused> {
    interrupted().map_err(|error| Refused::Failed(format!("signals cannot be watched: {error}")))
}

/// Runs a load to its end and shows `view` each second that ended, and the time. An interruption
/// ends it cleanly, a second one at once.
pub(super) async fn drive(
    running: Running,
    interruption: &mut Interruption,
    mut view: impl FnMut(&[load::Second], Duration, bool),
) -> Result<Outcome, Refused> {
    let begin = net::clock::now();
    let mut look = tokio::time::interval(LOOK);
    let mut stopping = false;
    while !running.is_finished() {
        tokio::select! {
            () = interruption.comes() => {
                if stopping {
                    return Err(Refused::Failed("given up while requests were under way".to_owned()));
                }
                stopping = true;
                running.stop();
            }
            _ = look.tick() => view(&running.take(), net::clock::now().since(begin), stopping),
        }
    }
    Ok(running.finish())
}

pub(super) fn options(arguments: &TargetArguments) -> Options {
    Options {
        threads: usize::from(arguments.threads),
        seed: arguments.seed,
        server_header: Name::from(arguments.server_header.to_ascii_lowercase()),
    }
}

fn thresholds(texts: &[String]) -> Result<Vec<Threshold>, Refused> {
    if texts.len() > THRESHOLDS_MAX {
        return Err(Refused::Usage(format!("at most {THRESHOLDS_MAX} thresholds can be set")));
    }
    let read = texts.iter().map(|text| {
        Threshold::parse(text).map_err(|error| {
            let place = " ".repeat(error.column);
            Refused::Usage(format!("--fail-if: {}\n  {}\n  {place}^", error.message, error.text))
        })
    });
    read.collect()
}

/// Fails before the load runs rather than after it.
pub(super) fn writable(file: &Path) -> Result<(), Refused> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder_is_there = folder.is_none_or(Path::is_dir);
    if folder_is_there && !file.is_dir() && file.file_name().is_some() {
        return Ok(());
    }
    Err(Refused::Usage(format!(
        "{} cannot be written: its folder is not there, or it is one",
        file.display()
    )))
}
