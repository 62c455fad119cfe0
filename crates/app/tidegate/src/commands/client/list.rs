//! `tidegate client list`: all registered clients, in the order of the configuration.

use clap::Args;
use console::RegisteredClient;

use crate::commands::change::ask::DoorArguments;
use crate::commands::status::admission::{CLIENT_HEADINGS, client_row};
use crate::commands::table::{Cell, table};
use crate::output;

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Print one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

/// The list as text.
///
/// # Errors
/// In words, when the door cannot be asked.
pub(super) async fn run(arguments: &ListArguments) -> Result<String, String> {
    let clients = arguments.door.connect()?.clients().await?;
    if arguments.json {
        return Ok(format!("{}\n", serde_json::json!(clients)));
    }
    if clients.is_empty() {
        return Ok(
            "no client is registered: `[clients.NAME]` in the configuration does it\n".to_owned()
        );
    }
    Ok(shown(&clients, output::colours_on_stdout()))
}

fn shown(clients: &[RegisteredClient], colour: bool) -> String {
    let row = |client: &RegisteredClient| {
        let why = client
            .disabled
            .as_ref()
            .map(|switch| format!("since {} by {}: {}", switch.at, switch.author, switch.reason));
        let mut row = client_row(&client.facts);
        row.push(Cell::from(why.unwrap_or_default()));
        row
    };
    let rows: Vec<Vec<Cell>> = clients.iter().map(row).collect();
    let headings: Vec<&str> = CLIENT_HEADINGS.into_iter().chain(["WHY"]).collect();
    table(&headings, &rows, colour)
}
