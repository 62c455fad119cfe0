//! The files of certificates in use: which ends next, and what is wrong with any.

use std::time::{Duration, SystemTime};

use model::fact::CertificateFacts;

use crate::commands::table::{Cell, Tone, table};

/// Files that are shown, at most: those with trouble first, then those that end first.
const ROWS_MAX: usize = 20;

/// Fewer days than this are worth a look: what renews certificates does so earlier.
const DAYS_FEW: i64 = 14;

/// Empty without certificates.
pub(super) fn render(facts: &[CertificateFacts], colour: bool) -> String {
    let mut files: Vec<&CertificateFacts> = facts.iter().collect();
    let is_well = |file: &CertificateFacts| {
        file.trouble.is_none() && file.obtaining.as_ref().is_none_or(|facts| facts.failures == 0)
    };
    files.sort_by_key(|file| (is_well(file), file.not_after_unix_s.unwrap_or(i64::MAX)));
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
        Cell::new(wrong(facts), Tone::Bad),
    ]
}

/// What is wrong with it, and with obtaining another one; empty when nothing is.
fn wrong(facts: &CertificateFacts) -> String {
    let failed = facts.obtaining.as_ref().filter(|facts| facts.failures > 0).map(|failed| {
        format!(
            "no certificate could be obtained, {} in a row, last at {}: {}; next attempt at {}",
            failed.failures,
            at(failed.failed_at_unix_s.unwrap_or_default()),
            failed.reason.as_deref().unwrap_or_default(),
            at(failed.next_at_unix_s)
        )
    });
    [facts.trouble.clone(), failed].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A time in words, to the second.
fn at(unix_s: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
    let text = telemetry::rfc3339(SystemTime::UNIX_EPOCH + since);
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use model::fact::ObtainingFacts;

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
        let mut obtained = file("own.pem", Some(85), None);
        obtained.obtaining = Some(ObtainingFacts {
            failures: 3,
            failed_at_unix_s: Some(1_800_000_000),
            reason: Some("the order: no".to_owned()),
            next_at_unix_s: 1_800_000_240,
            ..ObtainingFacts::default()
        });
        let text = render(&[file("late.pem", Some(80), None), obtained], false);
        assert!(text.lines().nth(2).is_some_and(|line| line.contains("own.pem")), "{text}");
        let told = "no certificate could be obtained, 3 in a row, last at 2027-01-15T08:00:00Z: \
                    the order: no; next attempt at 2027-01-15T08:04:00Z";
        assert!(text.contains(told), "{text}");
        assert_eq!(render(&[], false), "");
    }
}
