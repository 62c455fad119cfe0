//! The listeners that only pass bytes on: what passed in one second.

use model::fact::TcpFacts;

use crate::commands::table::{Cell, table};

/// Empty without such listeners.
pub(super) fn render(listeners: &[TcpFacts], colour: bool) -> String {
    if listeners.is_empty() {
        return String::new();
    }
    let headings = ["TCP LISTENER", ">OPEN", ">NEW/S", ">IN KB/S", ">OUT KB/S"];
    let rows: Vec<Vec<Cell>> = listeners.iter().map(row).collect();
    format!("\n{}", table(&headings, &rows, colour))
}

fn row(facts: &TcpFacts) -> Vec<Cell> {
    let kilobytes = |bytes: u64| Cell::from(bytes.div_ceil(1_000).to_string());
    vec![
        Cell::from(&facts.name),
        facts.connections.to_string().into(),
        facts.opened.to_string().into(),
        kilobytes(facts.bytes_in),
        kilobytes(facts.bytes_out),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_a_row() {
        assert_eq!(render(&[], false), "");
        let name = "database".to_owned();
        let facts =
            TcpFacts { name, connections: 12, opened: 3, bytes_in: 1, bytes_out: 2_500_000 };
        let text = render(&[facts], false);
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["database", "12", "3", "1", "2500"]);
    }
}
