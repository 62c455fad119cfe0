//! A run on a terminal: a few lines on stderr, redrawn in place each second.
//!
//! Invariant: no line is wider than the terminal and no more lines are drawn than it has, so that
//! as many are taken back as were drawn.

use std::io::Write as _;

use rehearsal::drill::Progress;

use super::picture::{Picture, success};
use crate::commands::table::{Cell, Tone, table};
use crate::output::printable;

/// Servers and streams that fit a view.
const ROWS_MAX: usize = 12;
/// Cells of the time bar and of the bars of shares.
const TIME_CELLS: usize = 40;
const SHARE_CELLS: usize = 20;
/// Columns and lines of a terminal that does not say how large it is.
const SIZE: (u16, u16) = (80, 24);

/// The view.
pub(super) struct Live {
    picture: Picture,
    colours: bool,
    /// Lines that stand on the terminal.
    drawn: usize,
}

impl Live {
    pub(super) fn open(picture: Picture, colours: bool) -> Self {
        let mut live = Self { picture, colours, drawn: 0 };
        live.draw();
        live
    }

    pub(super) fn tell(&mut self, progress: &Progress) {
        self.picture.take(progress);
        self.draw();
    }

    /// Takes the view away: the result stands where it was.
    pub(super) fn close(mut self) {
        self.put("");
    }

    fn draw(&mut self) {
        let size = crossterm::terminal::size().ok().filter(|(columns, _)| *columns > 0);
        let (columns, rows) = size.unwrap_or(SIZE);
        let text = lines(&self.picture, usize::from(columns), self.colours);
        // What scrolled off the top could not be taken back.
        let rows = usize::from(rows.max(2)) - 1;
        self.put(&text.split_inclusive('\n').take(rows).collect::<String>());
    }

    /// One write, so that nothing flickers: up, the lines with the rest of each cleared, then the
    /// rest of the screen.
    fn put(&mut self, text: &str) {
        let up = match self.drawn {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\r"),
        };
        let whole = format!("{up}{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"));
        self.drawn = text.lines().count();
        // Without stderr there is nobody left to tell.
        drop(std::io::stderr().write_all(whole.as_bytes()));
    }
}

/// The whole view, each line no wider than `columns`.
fn lines(picture: &Picture, columns: usize, colours: bool) -> String {
    let mut text = format!("{}\n", printable(&picture.heading));
    let seconds = picture.seconds();
    text.push_str(&match picture.phase.as_str() {
        "" => format!(
            "{} {seconds:.0} of {:.0} s\n",
            bar(seconds / picture.duration_seconds.max(1.0), TIME_CELLS),
            picture.duration_seconds
        ),
        phase => format!("{}\n", printable(phase)),
    });
    let next = picture.next().map(|(at, words)| format!("{at:.0} s {words}"));
    let or_dash = |words: Option<&str>| printable(words.unwrap_or("-")).into_owned();
    text.push_str(&format!("last: {}\n", or_dash(picture.last.as_deref())));
    text.push_str(&format!("next: {}\n", or_dash(next.as_deref())));
    if picture.second.is_some() {
        text.push_str(&table(
            &["STREAM", ">DUE/S", ">OK/S", ">SUCCESS", "", ">P99"],
            &streams(picture),
            colours,
        ));
        text.push_str(&table(
            &["SERVER", ">SHARE", "", ">PLACES", "AT THE DOOR"],
            &servers(picture),
            colours,
        ));
    }
    text.lines().map(|line| format!("{}\n", cut(line, columns))).collect()
}

fn streams(picture: &Picture) -> Vec<Vec<Cell>> {
    let Some(row) = &picture.second else { return Vec::new() };
    let rows = picture.streams.iter().zip(&row.streams).enumerate().take(ROWS_MAX);
    rows.map(|(index, (name, stream))| {
        let success = success(row, index);
        let tone = match success {
            None => Tone::Plain,
            Some(share) if share >= 0.99 => Tone::Good,
            Some(share) if share >= 0.9 => Tone::Warning,
            Some(_) => Tone::Bad,
        };
        let percent =
            success.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let p99 = stream.p99_ms.map_or_else(|| "-".to_owned(), |p99| format!("{p99:.0} ms"));
        vec![
            Cell::from(name),
            Cell::from(stream.due.to_string()),
            Cell::from(stream.ok.to_string()),
            Cell::new(percent, tone),
            Cell::new(success.map_or_else(String::new, |share| bar(share, SHARE_CELLS)), tone),
            Cell::from(p99),
        ]
    })
    .collect()
}

fn servers(picture: &Picture) -> Vec<Vec<Cell>> {
    let Some(row) = &picture.second else { return Vec::new() };
    let rows = picture.servers.iter().zip(&row.servers).take(ROWS_MAX);
    rows.map(|(name, server)| {
        let share = server.share.unwrap_or(0.0);
        let full = server.saturated.is_some_and(|share| share >= 0.5);
        let places =
            picture.places(name).map_or_else(|| "?".to_owned(), |places| places.to_string());
        let busy = server.busy.map_or_else(|| "-".to_owned(), |busy| format!("{busy} of {places}"));
        let state = server.door_state.clone().unwrap_or_default();
        vec![
            Cell::from(name),
            Cell::from(format!("{:.1} %", share * 100.0)),
            Cell::from(bar(share, SHARE_CELLS)),
            Cell::new(
                if full { format!("{busy} full") } else { busy },
                if full { Tone::Bad } else { Tone::Plain },
            ),
            Cell::new(state, if server.door_wrong { Tone::Bad } else { Tone::Plain }),
        ]
    })
    .collect()
}

/// A share as a bar of so many cells.
fn bar(share: f64, cells: usize) -> String {
    let filled = (0..cells).filter(|cell| (*cell as f64 + 0.5) / (cells as f64) < share).count();
    format!("{}{}", "\u{2588}".repeat(filled), "\u{2591}".repeat(cells - filled))
}

/// The begin of a line that fits; its colours count for nothing, and end with it.
fn cut(line: &str, columns: usize) -> String {
    let mut shown = String::with_capacity(line.len());
    let (mut width, mut escaped, mut coloured) = (0, false, false);
    for character in line.chars() {
        if escaped {
            escaped = character != 'm';
        } else if character == '\u{1b}' {
            (escaped, coloured) = (true, true);
        } else if width + 1 >= columns {
            break;
        } else {
            width += 1;
        }
        shown.push(character);
    }
    if coloured {
        shown.push_str("\u{1b}[0m");
    }
    shown
}

#[cfg(test)]
pub(super) mod tests {
    use model::drill::{DoorBalance, DoorSetup, Drill, Stack};
    use rehearsal::drill::report::{SecondRow, ServerRow, StreamRow};

    use super::*;

    pub(in crate::commands::drill) fn picture() -> Picture {
        let server = |name: &str| model::sample::SampleSettings {
            name: name.to_owned(),
            ..model::sample::SampleSettings::default()
        };
        let drill = Drill {
            stack: Stack { servers: vec![server("a"), server("b")], database: None },
            duration: std::time::Duration::from_secs(10),
            name: model::Name::from("test"),
            title: String::new(),
            description: String::new(),
            door: DoorSetup {
                balance: DoorBalance::Default,
                weights: Vec::new(),
                check_path: "/health".to_owned(),
                check_interval: std::time::Duration::from_secs(1),
                timeout: std::time::Duration::from_secs(1),
                attempts: 1,
                client_rate_per_second: None,
                client_header: None,
                server_in_flight_max: None,
                forced: false,
            },
            load: model::load::LoadPlan { streams: Vec::new() },
            events: Vec::new(),
            symptoms: Vec::new(),
            expectations: Vec::new(),
        };
        let mut picture = Picture::new("test  tidegate, guard on, seed 1".to_owned(), &drill);
        picture.take(&Progress::Begun {
            duration_seconds: 10.0,
            streams: vec!["shoppers".to_owned()],
            servers: vec!["a".to_owned(), "b".to_owned()],
        });
        picture
    }

    #[test]
    fn the_view_holds_what_matters_at_any_width() {
        let mut picture = picture();
        picture.take(&Progress::Second(SecondRow {
            second: 4,
            streams: vec![StreamRow { due: 4, ok: 3, failed: 1, ..StreamRow::default() }],
            servers: vec![
                ServerRow { share: Some(0.25), busy: Some(1), ..ServerRow::default() },
                ServerRow {
                    share: Some(0.75),
                    busy: Some(5),
                    saturated: Some(1.0),
                    door_wrong: true,
                    door_state: Some("ejected\u{1b}[2J".to_owned()),
                    ..ServerRow::default()
                },
            ],
            database: None,
        }));
        let wide = lines(&picture, 200, false);
        for part in ["guard on", "5 of 10 s", "75.0 %", "5 of 5 full", "ejected\\u{1b}", "next: -"]
        {
            assert!(wide.contains(part), "{part:?} is missing:\n{wide}");
        }
        assert!(!wide.contains('\u{1b}'));
        for (columns, colours) in [(20, true), (80, true), (80, false)] {
            let text = lines(&picture, columns, colours);
            assert_eq!(text.lines().count(), wide.lines().count());
            for line in text.lines() {
                let plain = line.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
                assert!(plain.chars().count() < columns, "{line:?}");
            }
        }
    }

    #[test]
    fn bars_and_cuts() {
        assert_eq!((bar(0.0, 4), bar(0.5, 4)), ("░░░░".to_owned(), "██░░".to_owned()));
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(cut("\u{1b}[31mabcdef", 4), "\u{1b}[31mabc\u{1b}[0m");
        assert_eq!(cut("abc", 4), "abc");
    }
}
