//! `tidegate show`: one generation with what it changed and its text.
//!
//! What is shown may end in a log or on somebody's screen, so keys of clients are left out of it.
//! `--text` gives the text as it was applied: it is the way to get a file back.

use std::process::ExitCode;

use clap::Args;

use super::ask::{self, DoorArguments};
use super::words;
use crate::commands::{block_on, finish};
use crate::output::printable_lines;
use crate::{exit, output};

/// Said below a text in which something is hidden.
const MASKED: &str = "\n(`…` stands for a secret; `--text` prints the text as it was applied)\n";

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The generation; by default the live one
    #[arg(value_name = "NUMBER")]
    number: Option<u64>,

    /// Print its text and nothing else, with the secrets that stand in it
    #[arg(long, conflicts_with = "json")]
    text: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &ShowArguments) -> ExitCode {
    block_on(async {
        let door = match arguments.door.connect() {
            Ok(door) => door,
            Err(why) => return ask::failed(&why),
        };
        let stored = match door.generation(arguments.number).await {
            Ok(stored) => stored,
            Err(why) => return ask::failed(&why),
        };
        if arguments.text {
            return finish(&stored.text, exit::clean());
        }
        let text = settings::without_secrets(&stored.text);
        let is_masked = text != stored.text;
        if arguments.json {
            let document = serde_json::json!({
                "generation": stored.generation,
                "text": text,
                "masked": is_masked,
            });
            return finish(&format!("{document}\n"), exit::clean());
        }
        let record = words::record(&stored.generation, output::colours_on_stdout());
        let note = if is_masked { MASKED } else { "" };
        finish(&format!("{record}\n{}{note}", printable_lines(&text)), exit::clean())
    })
}
