//! `tidegate diff`: what differs between two generations, or a generation and a file, in words.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use model::Configuration;
use settings::{Environment, Source};

use super::ask::{self, Door, DoorArguments};
use super::words;
use crate::commands::{block_on, chain, finish};
use crate::exit;

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// A generation's number, `live`, or a file
    #[arg(value_name = "A")]
    from: String,

    /// What it is compared with
    #[arg(value_name = "B", default_value = "live")]
    to: String,

    /// Print one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

pub(crate) fn run(arguments: &DiffArguments) -> ExitCode {
    block_on(async {
        let compared = async {
            let door = arguments.door.connect()?;
            let from = side(&door, &arguments.from).await?;
            let to = side(&door, &arguments.to).await?;
            Ok::<_, String>(changes::difference(&from, &to))
        };
        match compared.await {
            Ok(lines) if arguments.json => {
                finish(&format!("{}\n", serde_json::json!(lines)), exit::clean())
            }
            Ok(lines) if lines.is_empty() => finish("no difference\n", exit::clean()),
            Ok(lines) => finish(&words::changes(&lines), exit::clean()),
            Err(why) => ask::failed(&why),
        }
    })
}

async fn side(door: &Door, name: &str) -> Result<Configuration, String> {
    if let Ok(number) = name.parse::<u64>() {
        return parsed(name, door.generation(Some(number)).await?.text);
    }
    if name == "live" {
        return parsed(name, door.generation(None).await?.text);
    }
    let source = settings::read(Path::new(name)).map_err(|error| chain(&error))?;
    meaning(&source)
}

fn parsed(name: &str, text: String) -> Result<Configuration, String> {
    meaning(&Source { name: format!("generation {name}"), text, folder: PathBuf::from("/") })
}

/// The configuration a text stands for, also where rules object to it.
pub(super) fn meaning(source: &Source) -> Result<Configuration, String> {
    let checked = settings::check(source, &Environment::detect());
    checked.configuration.or(checked.overridable).ok_or_else(|| {
        let rendered =
            settings::render_text(&checked.findings, std::slice::from_ref(source), false);
        format!("{} cannot be read here:\n{rendered}", source.name)
    })
}
