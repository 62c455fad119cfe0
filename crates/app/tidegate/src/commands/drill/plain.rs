//! A run without a terminal: a line for each thing that happens, and one every few seconds.

use std::io::Write as _;

use rehearsal::drill::Progress;

use super::picture::{Picture, success};
use crate::output::printable;

/// Seconds between two lines about the load.
const EVERY_SECONDS: u64 = 5;

/// The lines on stderr.
pub(super) struct Plain {
    picture: Picture,
}

impl Plain {
    pub(super) fn open(picture: Picture) -> Self {
        say(&picture.heading);
        Self { picture }
    }

    pub(super) fn tell(&mut self, progress: &Progress) {
        self.picture.take(progress);
        match progress {
            Progress::Phase(phase) => say(&format!("  {phase}")),
            Progress::Begun { duration_seconds, .. } => {
                say(&format!("  the load runs for {duration_seconds:.0} s"));
            }
            Progress::Entry(_) => {
                if let Some(last) = &self.picture.last {
                    say(&format!("  {last}"));
                }
            }
            Progress::Second(row) if (row.second + 1).is_multiple_of(EVERY_SECONDS) => {
                say(&format!("  {}", second(&self.picture)));
            }
            Progress::Second(_) => {}
        }
    }
}

/// The newest second in one line.
fn second(picture: &Picture) -> String {
    let Some(row) = &picture.second else { return String::new() };
    let mut parts = vec![format!("{:.0} s", picture.seconds())];
    for (index, (name, stream)) in picture.streams.iter().zip(&row.streams).enumerate() {
        let success = success(row, index)
            .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let p99 = stream.p99_ms.map_or_else(|| "-".to_owned(), |p99| format!("{p99:.0} ms"));
        parts.push(format!("{name} {success} p99 {p99}"));
    }
    let shares = picture.servers.iter().zip(&row.servers).map(|(name, server)| {
        let ill = if server.door_wrong { " (ill)" } else { "" };
        format!("{name} {:.0} %{ill}", server.share.unwrap_or(0.0) * 100.0)
    });
    parts.push(shares.collect::<Vec<_>>().join(" "));
    parts.join(" | ")
}

fn say(line: &str) {
    let line = format!("{}\n", printable(line));
    // Without stderr there is nobody left to tell.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use rehearsal::drill::report::{SecondRow, ServerRow, StreamRow};

    use super::*;

    #[test]
    fn a_second_in_one_line() {
        let mut picture = super::super::live::tests::picture();
        picture.second = Some(SecondRow {
            second: 4,
            streams: vec![StreamRow {
                ok: 3,
                failed: 1,
                p99_ms: Some(12.4),
                ..StreamRow::default()
            }],
            servers: vec![
                ServerRow { share: Some(0.25), ..ServerRow::default() },
                ServerRow { share: Some(0.75), door_wrong: true, ..ServerRow::default() },
            ],
            database: None,
        });
        assert_eq!(second(&picture), "5 s | shoppers 75.0 % p99 12 ms | a 25 % b 75 % (ill)");
    }
}
