//! `tidegate apply`: a text goes live, and what comes of it is awaited.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use console::Apply;

use super::ask::{self, DoorArguments};
use super::wait;
use crate::cli::parse_duration;
use crate::commands::{block_on, chain, complain, finish};
use crate::exit;
use crate::output::printable_lines;

#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who changes it, beside the user of this machine
    #[arg(long, value_name = "NAME")]
    author: Option<String>,

    /// The generation this change was made from; refused if another one is live
    #[arg(long, value_name = "NUMBER")]
    base: Option<u64>,

    /// Override errors of rules and broken invariants, not mistakes in the text
    #[arg(long)]
    force: bool,

    /// Try it on this share of the requests first, such as 5%
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "duration")]
    canary: Option<f64>,

    /// How long a canary is compared with what is live
    #[arg(long = "for", id = "duration", value_name = "TIME", value_parser = parse_duration, requires = "canary")]
    duration: Option<Duration>,

    /// Go back unless `tidegate confirm` comes within this time after it went live
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    confirm_within: Option<Duration>,

    /// Return once it is live or tried, and do not await the verdict
    #[arg(long)]
    detach: bool,

    /// Print the generation as one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &ApplyArguments) -> ExitCode {
    let source = match settings::read(&arguments.file) {
        Ok(source) => source,
        Err(error) => {
            complain(&chain(&error));
            return exit::usage();
        }
    };
    let order = Apply {
        text: source.text,
        reason: arguments.reason.clone(),
        author: arguments.author.clone(),
        base: arguments.base,
        force: arguments.force,
        canary: arguments.canary,
        for_seconds: arguments.duration.map(|time| time.as_secs_f64()),
        confirm_within_seconds: arguments.confirm_within.map(|time| time.as_secs_f64()),
        dry: false,
    };
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        let answer = match door.order("/v1/apply", &order).await {
            Ok(answer) => answer,
            Err(why) => return ask::failed(&format!("nothing was changed:\n{why}")),
        };
        if !answer.findings.is_empty() {
            complain(&format!("what `check` says of it:\n{}", answer.findings));
        }
        let Some(generation) = answer.generation else {
            return finish(&format!("{}\n", printable_lines(&answer.result)), exit::clean());
        };
        if arguments.detach {
            return wait::report(&generation, arguments.json, exit::clean());
        }
        wait::for_verdict(&door, generation, arguments.json).await
    })
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map(|number| number / unit);
    match share {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("expected a share between 0 and 100 %, such as 5%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, expected) in [
            ("5%", Some(0.05)),
            ("0.5", Some(0.5)),
            ("75 %", Some(0.75)),
            ("0", None),
            ("100%", None),
            ("-1%", None),
            ("NaN", None),
            ("five", None),
        ] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
    }
}
