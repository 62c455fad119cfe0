//! Who is let in, for a person: queues, who sends the most, registered clients, rate limits.

use std::fmt::Write as _;

use model::configuration::Class;
use model::fact::{AdmissionFacts, ClientFacts, LimitFacts, QueueFacts, ReasonCount, TalkerFacts};

use super::percent;
use crate::commands::table::{Cell, Tone, table};

/// Of those who send the most; `--json` has all that are kept.
const TALKERS_MAX: usize = 5;
/// Registered clients and limits that are shown; the busiest come first.
const ROWS_MAX: usize = 20;

/// What a pool takes at once, behind its name.
pub(super) fn queue(queue: &QueueFacts) -> String {
    let mut text = String::new();
    let Some(limit) = queue.limit else { return text };
    write!(text, "  in flight {} of {limit}", queue.in_flight).expect("a string takes text");
    if queue.waiting > 0 || queue.waited > 0 {
        let wait = super::milliseconds(Some(queue.wait_us));
        write!(text, "  waiting {} (for {wait})", queue.waiting).expect("a string takes text");
    }
    if queue.overloaded {
        text.push_str("  OVERLOADED");
    }
    match (queue.class, queue.class_share) {
        (Class::Bulk, 1.0..) => {}
        (class, 1.0..) => {
            write!(text, ", takes {} and above", class.name()).expect("a string takes text");
        }
        (class, share) => {
            let (class, share) = (class.name(), percent(share));
            write!(text, ", takes {share} of {class} and all above").expect("a string takes text");
        }
    }
    text
}

/// `7 of 20`, or `7` without a limit.
pub(super) fn of(in_flight: u64, max: Option<u32>) -> String {
    max.map_or_else(|| in_flight.to_string(), |max| format!("{in_flight} of {max}"))
}

/// The tables of those who ask; each only where there is somebody to show.
pub(super) fn render(facts: &AdmissionFacts, colour: bool) -> String {
    let mut text = String::new();
    if let Some(shared) = &facts.shared {
        writeln!(text, "\nquotas {} among {} doors", shared.state, shared.doors)
            .expect("a string takes text");
    }
    let talkers: Vec<_> = facts.talkers.iter().take(TALKERS_MAX).map(talker_row).collect();
    let headings = ["WHO SENDS THE MOST", "KIND", ">REQ/S", ">SHARE", ""];
    push(&mut text, &headings, &talkers, colour);
    let mut clients: Vec<&ClientFacts> = facts.clients.iter().collect();
    clients.sort_by_key(|client| std::cmp::Reverse((client.refused, client.requests)));
    let rows: Vec<_> = clients.into_iter().take(ROWS_MAX).map(client_row).collect();
    push(&mut text, &CLIENT_HEADINGS, &rows, colour);
    let mut limits: Vec<&LimitFacts> = facts.limits.iter().collect();
    limits.sort_by_key(|limit| std::cmp::Reverse((limit.refused, limit.requests)));
    let rows: Vec<_> = limits.into_iter().take(ROWS_MAX).map(limit_row).collect();
    push(&mut text, &["RATE LIMIT", ">REQ/S", ">REFUSED", ""], &rows, colour);
    let row = |reason: &ReasonCount| vec![(&reason.code).into(), reason.count.to_string().into()];
    let rows: Vec<_> = facts.observed.iter().map(row).collect();
    push(&mut text, &["WOULD REFUSE", ">COUNT"], &rows, colour);
    text
}

fn push(text: &mut String, headings: &[&str], rows: &[Vec<Cell>], colour: bool) {
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(headings, rows, colour));
    }
}

fn talker_row(talker: &TalkerFacts) -> Vec<Cell> {
    let demoted = if talker.demoted { "demoted: served after all others" } else { "" };
    vec![
        Cell::from(&talker.name),
        Cell::from(&talker.kind),
        talker.requests.to_string().into(),
        percent(talker.share).into(),
        Cell::new(demoted, Tone::Warning),
    ]
}

/// The headings of [`client_row`].
pub(crate) const CLIENT_HEADINGS: [&str; 8] =
    ["CLIENT", "CLASS", "STATE", ">REQ/S", ">REFUSED", ">IN FLIGHT", ">USUAL", ">LIMIT"];

/// One registered client.
pub(crate) fn client_row(client: &ClientFacts) -> Vec<Cell> {
    let (state, tone) = match (client.enabled, client.demoted) {
        (false, _) => ("disabled", Tone::Bad),
        (true, true) => ("demoted", Tone::Warning),
        (true, false) => ("enabled", Tone::Good),
    };
    let refused = if client.refused > 0 { Tone::Bad } else { Tone::Plain };
    vec![
        Cell::from(&client.name),
        client.class.name().into(),
        Cell::new(state, tone),
        client.requests.to_string().into(),
        Cell::new(client.refused.to_string(), refused),
        client.in_flight.to_string().into(),
        rate(client.baseline_per_second).into(),
        rate(client.limit_per_second).into(),
    ]
}

fn limit_row(limit: &LimitFacts) -> Vec<Cell> {
    let refused = if limit.refused > 0 { Tone::Bad } else { Tone::Plain };
    vec![
        Cell::from(&limit.name),
        limit.requests.to_string().into(),
        Cell::new(limit.refused.to_string(), refused),
        if limit.observe { "only counts" } else { "" }.into(),
    ]
}

/// `50/s`, `0.5/s`, or `-`.
fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(rate) if rate >= 10.0 || rate.fract() == 0.0 => format!("{rate:.0}/s"),
        Some(rate) => format!("{rate:.2}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_one_line() {
        let check = |facts: QueueFacts, expected: &str| assert_eq!(queue(&facts), expected);
        let calm = QueueFacts {
            limit: Some(40),
            in_flight: 12,
            class: Class::Bulk,
            class_share: 1.0,
            ..QueueFacts::default()
        };
        check(QueueFacts { limit: None, ..calm.clone() }, "");
        check(calm.clone(), "  in flight 12 of 40");
        let full = QueueFacts {
            in_flight: 40,
            waiting: 9,
            waited: 300,
            wait_us: 21_400,
            overloaded: true,
            class: Class::Normal,
            class_share: 0.625,
            ..calm
        };
        check(
            full.clone(),
            "  in flight 40 of 40  waiting 9 (for 21.4 ms)  OVERLOADED, takes 62.5 % of normal and all above",
        );
        check(
            QueueFacts { class_share: 1.0, waiting: 0, waited: 0, ..full },
            "  in flight 40 of 40  OVERLOADED, takes normal and above",
        );
    }

    #[test]
    fn those_who_ask_are_tables() {
        let talker = |name: &str, requests, share, demoted| TalkerFacts {
            name: name.to_owned(),
            kind: "address".to_owned(),
            requests,
            error: 0,
            share,
            demoted,
        };
        let client = |name: &str, enabled, refused| ClientFacts {
            name: name.to_owned(),
            enabled,
            requests: 120,
            refused,
            baseline_per_second: Some(12.5),
            limit_per_second: Some(0.5),
            ..ClientFacts::default()
        };
        let facts = AdmissionFacts {
            clients: vec![client("calm", true, 0), client("partner", false, 120)],
            limits: vec![LimitFacts {
                name: "per-address".to_owned(),
                observe: true,
                requests: 9,
                refused: 2,
            }],
            talkers: vec![
                talker("192.0.2.7", 4_750, 0.95, true),
                talker("\u{1b}[2J", 250, 0.05, false),
            ],
            observed: vec![ReasonCount { code: "shed".to_owned(), count: 4 }],
            ..AdmissionFacts::default()
        };
        let expected = "
  WHO SENDS THE MOST  KIND     REQ/S   SHARE
  192.0.2.7           address   4750  95.0 %  demoted: served after all others
  \\u{1b}[2J           address    250   5.0 %

  CLIENT   CLASS   STATE     REQ/S  REFUSED  IN FLIGHT  USUAL   LIMIT
  partner  normal  disabled    120      120          0   12/s  0.50/s
  calm     normal  enabled     120        0          0   12/s  0.50/s

  RATE LIMIT   REQ/S  REFUSED
  per-address      9        2  only counts

  WOULD REFUSE  COUNT
  shed              4
";
        assert_eq!(render(&facts, false), expected);
        assert_eq!(render(&AdmissionFacts::default(), false), "");
    }
}
