//! `tidegate client show`: one registered client, and the history of its switches.

use std::fmt::Write as _;

use clap::Args;
use console::RegisteredClient;
use model::switch::Switch;

use crate::commands::change::ask::DoorArguments;
use crate::commands::status::admission::{CLIENT_HEADINGS, client_row};
use crate::commands::table::{Cell, Tone, table};
use crate::output::{self, printable};

/// Switches of all clients that are looked through.
const SWITCHES_MAX: u32 = 1_000;

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    /// The client's name in the configuration
    #[arg(value_name = "NAME")]
    name: String,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    door: DoorArguments,
}

/// The client as text.
///
/// # Errors
/// In words, when the door cannot be asked, or has no client of this name.
pub(super) async fn run(arguments: &ShowArguments) -> Result<String, String> {
    let (door, name) = (arguments.door.connect()?, &arguments.name);
    let client = door.clients().await?.into_iter().find(|client| client.facts.name == *name);
    let mut switches = door.switches(SWITCHES_MAX).await?;
    switches.retain(|switch| switch.client == *name);
    let client = client.ok_or_else(|| {
        format!("there is no client {name:?}: `tidegate client list` shows those there are")
    })?;
    if arguments.json {
        let document = serde_json::json!({ "client": client, "switches": switches });
        return Ok(format!("{document}\n"));
    }
    Ok(shown(&client, &switches, output::colours_on_stdout()))
}

fn shown(client: &RegisteredClient, switches: &[Switch], colour: bool) -> String {
    let mut text = table(&CLIENT_HEADINGS, &[client_row(&client.facts)], colour);
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name}: {}", printable(value)).expect("a string takes text");
    };
    if !client.routes.is_empty() {
        line("may use the routes", &client.routes.join(", "));
    }
    if let Some(max) = client.in_flight_max {
        line("may have in flight", &max.to_string());
    }
    if let Some(switch) = &client.disabled {
        let Switch { at, author, reason, .. } = switch;
        line("disabled by hand", &format!("{at} by {author}: {reason}"));
        line("undo it", &format!("tidegate client enable {} --reason TEXT", client.facts.name));
    } else if !client.facts.enabled {
        line("disabled", "by `enabled = false` in the configuration; change it there");
    }
    if !switches.is_empty() {
        text.push('\n');
        text.push_str(&history(switches, colour));
    }
    text
}

/// Switches as a table, as they come.
pub(in crate::commands) fn history(switches: &[Switch], colour: bool) -> String {
    let row = |switch: &Switch| {
        let (to, tone) = match switch.enabled {
            true => ("enabled", Tone::Good),
            false => ("disabled", Tone::Bad),
        };
        vec![
            Cell::from(&switch.client),
            Cell::new(to, tone),
            Cell::from(&switch.at),
            Cell::from(&switch.author),
            Cell::from(&switch.reason),
        ]
    };
    let rows: Vec<Vec<Cell>> = switches.iter().map(row).collect();
    table(&["CLIENT", "SWITCHED", "WHEN", "WHO", "WHY"], &rows, colour)
}

#[cfg(test)]
mod tests {
    use model::fact::ClientFacts;

    use super::*;

    #[test]
    fn a_disabled_client_says_who_why_and_the_way_back() {
        let switch = Switch {
            number: 3,
            client: "partner".to_owned(),
            enabled: false,
            at: "2026-01-02T03:04:05.678Z".to_owned(),
            author: "ada (root)".to_owned(),
            reason: "a flood\u{1b}[2J".to_owned(),
        };
        let facts = ClientFacts { name: "partner".to_owned(), ..ClientFacts::default() };
        let client = RegisteredClient {
            facts,
            routes: vec!["api".to_owned(), "shop".to_owned()],
            in_flight_max: Some(20),
            disabled: Some(switch.clone()),
        };
        let expected = "  CLIENT   CLASS   STATE     REQ/S  REFUSED  IN FLIGHT  USUAL  LIMIT
  partner  normal  disabled      0        0          0      -      -
  may use the routes: api, shop
  may have in flight: 20
  disabled by hand: 2026-01-02T03:04:05.678Z by ada (root): a flood\\u{1b}[2J
  undo it: tidegate client enable partner --reason TEXT

  CLIENT   SWITCHED  WHEN                      WHO         WHY
  partner  disabled  2026-01-02T03:04:05.678Z  ada (root)  a flood\\u{1b}[2J
";
        assert_eq!(shown(&client, &[switch], false), expected);
    }
}
