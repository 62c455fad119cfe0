//! `tidegate client disable` and `enable`: in effect when the command ends.

use clap::Args;
use console::SwitchRequest;

use crate::commands::change::ask::DoorArguments;
use crate::output::printable_lines;

#[derive(Debug, Args)]
pub(super) struct SwitchArguments {
    /// The client's name in the configuration
    #[arg(value_name = "NAME")]
    name: String,

    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who asks for it, beside the user of this machine
    #[arg(long, value_name = "NAME")]
    author: Option<String>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

/// What came of it; `what` is `disable` or `enable`.
///
/// # Errors
/// In words, when the door cannot be asked or refuses.
pub(super) async fn run(arguments: &SwitchArguments, what: &str) -> Result<String, String> {
    let request = SwitchRequest {
        client: arguments.name.clone(),
        reason: arguments.reason.clone(),
        author: arguments.author.clone(),
    };
    let result = arguments.door.connect()?.switch(what, &request).await?;
    if arguments.json {
        return Ok(format!("{}\n", serde_json::json!({ "result": result })));
    }
    Ok(format!("{}\n", printable_lines(&result)))
}
