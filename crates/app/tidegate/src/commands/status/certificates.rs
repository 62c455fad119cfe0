//! The files of certificates in use: which ends next, and what is wrong with any.

use model::fact::CertificateFacts;

use crate::commands::table::{Cell, Tone, table};

/// Files that are shown, at most: those with trouble first, then those that end first.
const ROWS_MAX: usize = 20;

/// Fewer days than this are worth a look: what renews certificates does so earlier.
const DAYS_FEW: i64 = 14;

/// Empty without certificates.
pub(super) fn render(facts: &[CertificateFacts], colour: bool) -> String {
    let mut files: Vec<&CertificateFacts> = facts.iter().collect();
    files.sort_by_key(|file| (file.trouble.is_none(), file.not_after_unix_s.unwrap_or(i64::MAX)));
    let rows: Vec<Vec<Cell>> = files.into_iter().take(ROWS_MAX).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let headings = ["CERTIFICATES", "OF", "KIND", ">DAYS LEFT", ""];
    format!("\n{}", table(&headings, &rows, colour))
}

fn row(facts: &CertificateFacts) -> Vec<Cell> {
    let (days, tone) = match facts.days_left {
        Some(days) if days < 0 => (days.to_string(), Tone::Bad),
        Some(days) if days < DAYS_FEW => (days.to_string(), Tone::Warning),
        Some(days) => (days.to_string(), Tone::Plain),
        None => ("-".to_owned(), Tone::Plain),
    };
    vec![
        Cell::from(&facts.file),
        format!("{} {}", facts.owner, facts.name).into(),
        Cell::from(&facts.kind),
        Cell::new(days, tone),
        Cell::new(facts.trouble.clone().unwrap_or_default(), Tone::Bad),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_comes_first_then_what_ends_first() {
        let file = |file: &str, days: Option<i64>, trouble: Option<&str>| CertificateFacts {
            owner: "listener".to_owned(),
            name: "web".to_owned(),
            kind: "certificate".to_owned(),
            file: file.to_owned(),
            not_after_unix_s: days.map(|days| days * 86_400),
            days_left: days,
            trouble: trouble.map(str::to_owned),
            ..CertificateFacts::default()
        };
        let facts = [
            file("late.pem", Some(80), None),
            file("soon.pem", Some(3), None),
            file("never.pem", None, None),
            file("torn.pem", Some(90), Some("what is on the disk now cannot be used")),
        ];
        let text = render(&facts, false);
        let rows: Vec<Vec<&str>> =
            text.lines().skip(2).map(|line| line.split_whitespace().take(5).collect()).collect();
        assert_eq!(
            rows,
            [
                &["torn.pem", "listener", "web", "certificate", "90"],
                &["soon.pem", "listener", "web", "certificate", "3"],
                &["late.pem", "listener", "web", "certificate", "80"],
                &["never.pem", "listener", "web", "certificate", "-"],
            ]
        );
        assert!(text.contains("what is on the disk now cannot be used"), "{text}");
        assert_eq!(render(&[], false), "");
    }
}
