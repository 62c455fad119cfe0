//! Awaits what becomes of a generation, and says it.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use model::generation::{Generation, GenerationState};

use super::ask::{self, Door};
use super::words;
use crate::commands::finish;
use crate::output::printable;
use crate::{exit, output};

/// Seconds of one question; the door answers earlier when there is something to say.
const SECONDS: u32 = 20;

/// Waits until the door, or a person, decided what becomes of the generation.
pub(super) async fn for_verdict(door: &Door, mut generation: Generation, json: bool) -> ExitCode {
    let line = ProgressBar::new_spinner();
    line.set_style(
        ProgressStyle::with_template("{spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    line.enable_steady_tick(Duration::from_millis(200));
    let seconds = if line.is_hidden() { SECONDS } else { 1 };
    while !generation.state.is_settled() && generation.state != GenerationState::Unconfirmed {
        let answer = match door.wait(generation.number, seconds).await {
            Ok(answer) => answer,
            Err(why) => {
                line.finish_and_clear();
                return ask::failed(&format!(
                    "generation {} was accepted, but what became of it is not known: {why}",
                    generation.number
                ));
            }
        };
        let progress = printable(&answer.status.progress).into_owned();
        line.set_message(format!("generation {}: {progress}", generation.number));
        match answer.generation {
            Some(newer) => generation = newer,
            None => break,
        }
    }
    line.finish_and_clear();
    report(&generation, json, code(generation.state))
}

/// Prints the generation as it is now.
pub(super) fn report(generation: &Generation, json: bool, code: ExitCode) -> ExitCode {
    if json {
        return finish(&format!("{}\n", serde_json::json!(generation)), code);
    }
    let mut text = words::record(generation, output::colours_on_stdout());
    if generation.state == GenerationState::Unconfirmed {
        text.push_str(&format!(
            "it stays only if you say `tidegate confirm {}`\n",
            generation.number
        ));
    }
    finish(&text, code)
}

fn code(state: GenerationState) -> ExitCode {
    match state {
        GenerationState::Confirmed | GenerationState::Unconfirmed => exit::clean(),
        GenerationState::RolledBack => exit::breached(),
        GenerationState::Canary | GenerationState::Watched | GenerationState::Superseded => {
            exit::failed()
        }
    }
}
