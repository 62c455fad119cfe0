//! `tidegate load capacity`: runs the steps that the search asks for, and writes what it found.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use model::capacity::Capacity;
use model::load::{Arrivals, Spacing, Stream};
use rehearsal::load::capacity::{Bound, Conditions, Found, Search, Step};
use rehearsal::load::{self, Options, Target};
use rehearsal::page::Unit;
use serde::Serialize;

use super::arguments::CapacityArguments;
use super::live::Live;
use super::run::{Interruption, drive, options, writable};
use super::{Refused, plan, refuse, target, text};
use crate::commands::{block_on, chain, finish};
use crate::{exit, output};

/// After a step that held, and after one that did not: what piled up drains.
const REST: Duration = Duration::from_millis(300);
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The result as JSON.
#[derive(Serialize)]
struct Document<'a> {
    url: &'a str,
    measured_at: &'a str,
    #[serde(flatten)]
    found: &'a Found,
}

pub(super) fn run(arguments: &CapacityArguments) -> ExitCode {
    block_on(async {
        match Box::pin(search(arguments)).await {
            Ok(code) => code,
            Err(refused) => refuse(&refused),
        }
    })
}

async fn search(arguments: &CapacityArguments) -> Result<ExitCode, Refused> {
    let conditions = conditions(arguments)?;
    let duration = arguments.search.step;
    if let Some(file) = &arguments.write {
        writable(file)?;
    }
    let mut aim = target::aim(&arguments.target).await?;
    let spacing = if arguments.search.poisson { Spacing::Poisson } else { Spacing::Even };
    let first = plan::constant(conditions.from_per_second, duration);
    let arrivals = Arrivals::Open { stages: vec![first], spacing };
    let stream = plan::stream(&arguments.asked, arrivals, &aim.path, &mut aim.target)?;
    let stream = stream.checked().map_err(Refused::Usage)?;
    let measured_at = telemetry::access::rfc3339(net::clock::wall());
    let steps = Steps { stream, target: aim.target, options: options(&arguments.target), duration };
    let found = steps.run(Search::new(conditions)).await?;

    let mut code = exit::failed();
    if found.confirmed && found.per_second > 0.0 && found.bound_by != Bound::Generator {
        code = exit::clean();
    }
    if let Some(file) = &arguments.write {
        if found.confirmed && found.per_second > 0.0 {
            write(file, &capacity(&found, &aim.url, &measured_at, arguments.pool.as_deref()))?;
        } else {
            super::super::complain("nothing was written: the capacity is not confirmed");
        }
    }
    if arguments.json {
        let document = Document { url: &aim.url, measured_at: &measured_at, found: &found };
        let json = serde_json::to_string_pretty(&document)
            .map_err(|error| Refused::Failed(format!("the result is no JSON: {error}")))?;
        return Ok(finish(&format!("{json}\n"), code));
    }
    Ok(finish(&text::render_capacity(&aim.url, &found, output::colours_on_stdout()), code))
}

fn conditions(arguments: &CapacityArguments) -> Result<Conditions, Refused> {
    let search = &arguments.search;
    if search.step < Duration::from_secs(1)
        || search.step > Duration::from_secs(600)
        || search.step.subsec_nanos() != 0
    {
        return Err(Refused::usage("--step must be 1s to 10m, in whole seconds"));
    }
    if search.from > search.to {
        return Err(Refused::usage("--from must not be above --to"));
    }
    if !(0.01..=0.5).contains(&search.band) {
        return Err(Refused::usage("--band must be 1% to 50%"));
    }
    if search.p99.is_some_and(|p99| p99.is_zero()) {
        return Err(Refused::usage("--p99 must be longer than nothing"));
    }
    Ok(Conditions {
        from_per_second: search.from,
        to_per_second: search.to,
        p99_max: search.p99,
        failed_share_max: search.failed,
        band: search.band,
    })
}

/// What every step has in common.
struct Steps {
    stream: Stream,
    target: Target,
    options: Options,
    duration: Duration,
}

impl Steps {
    async fn run(&self, mut search: Search) -> Result<Found, Refused> {
        let mut live = Live::open_ended();
        let mut interruption = Interruption::new()?;
        let mut options = self.options.clone();
        while let Some(rate) = search.next() {
            let plan = plan::steady(&self.stream, rate, self.duration);
            let running = load::start(plan, self.target.clone(), &options)
                .map_err(|error| Refused::Failed(chain(&error)))?;
            let known = known(&search.found());
            let outcome = drive(running, &mut interruption, |seconds, _, _| {
                live.add(seconds);
                live.tell(format!("trying {}{known}", Unit::PerSecond.show(rate)));
            })
            .await?;
            if interruption.came {
                break;
            }
            let judged = search.record(Step::of(rate, &outcome, self.duration.as_secs()));
            // Each step draws its own chances, and the whole search the same ones again.
            options.seed = options.seed.wrapping_add(1);
            let rest = if judged.bound_by.is_some() { REST_AFTER_FAILURE } else { REST };
            tokio::select! {
                () = interruption.comes() => break,
                () = tokio::time::sleep(rest) => {}
            }
        }
        live.clear();
        Ok(search.found())
    }
}

/// What the steps before showed, for the live view.
fn known(found: &Found) -> String {
    let rate = |per_second| Unit::PerSecond.show(per_second);
    let high = (found.bound_by != Bound::Limit).then(|| rate(found.high_per_second));
    match (found.per_second > 0.0, high) {
        (true, Some(high)) => format!("; {} holds, {high} does not", rate(found.per_second)),
        (true, None) => format!("; {} holds", rate(found.per_second)),
        (false, Some(high)) => format!("; {high} does not hold"),
        (false, None) => String::new(),
    }
}

fn capacity(found: &Found, url: &str, measured_at: &str, pool: Option<&str>) -> Capacity {
    Capacity {
        url: url.to_owned(),
        pool: pool.map(str::to_owned),
        measured_at: measured_at.to_owned(),
        per_second: found.per_second,
        low_per_second: found.low_per_second,
        high_per_second: found.high_per_second,
        p99_ms_max: found.p99_ms_max,
        failed_share_max: found.failed_share_max,
        bound_by: found.bound_by.to_string(),
        usl: found.usl,
    }
}

/// Writes the document whole or not at all: something may read it at any time.
fn write(file: &Path, capacity: &Capacity) -> Result<(), Refused> {
    let failed =
        |why: String| Refused::Failed(format!("{} cannot be written: {why}", file.display()));
    let json = serde_json::to_string_pretty(capacity).map_err(|error| failed(error.to_string()))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut temporary = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| failed(error.to_string()))?;
    std::io::Write::write_all(&mut temporary, format!("{json}\n").as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    temporary.persist(file).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
