//! Draws the demo on a terminal and hands its keys over.
//!
//! Invariant: the terminal is given back as it was, also after a panic (ratatui's own hook).

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

use super::scene::{Scene, ServerScene, bar};
use crate::commands::status::{milliseconds, percent, state};
use crate::commands::table::Tone;

/// Keys that wait to be acted on.
const KEYS_WAITING_MAX: usize = 16;
/// How long a look for keys takes; the thread notices the end of the demo that fast.
const KEY_LOOK: Duration = Duration::from_millis(100);
/// Lines of the head, its border included.
const HEAD_LINES: u16 = 4;
/// From this many columns on, the table of servers is drawn in full.
const COLUMNS_WIDE: u16 = 130;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End the demo.
    Quit,
    /// Kill or restart the server with this index.
    Toggle(usize),
    /// Slow a server down, or make it quick again.
    Slow,
    /// The size changed.
    Redraw,
}

/// The terminal while it shows the demo.
pub(super) struct Screen {
    /// Never dropped: its own drop panics when the terminal went away. Ours restores all of it.
    terminal: ManuallyDrop<DefaultTerminal>,
    colours: bool,
    ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over; the receiver gives its keys.
    pub(super) fn open(colours: bool) -> std::io::Result<(Self, mpsc::Receiver<Key>)> {
        let terminal = ManuallyDrop::new(ratatui::try_init()?);
        let ended = Arc::new(AtomicBool::new(false));
        let (sender, keys) = mpsc::channel(KEYS_WAITING_MAX);
        let flag = Arc::clone(&ended);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || read_keys(&flag, &sender))?;
        Ok((Self { terminal, colours, ended }, keys))
    }

    pub(super) fn draw(&mut self, scene: &Scene) -> std::io::Result<()> {
        let colours = self.colours;
        self.terminal.draw(|frame| draw(frame, scene, colours)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A terminal that went away cannot be restored, and `restore` would panic saying so.
        drop(crossterm::execute!(std::io::stdout(), crossterm::cursor::Show));
        drop(ratatui::try_restore());
    }
}

fn read_keys(ended: &AtomicBool, keys: &mpsc::Sender<Key>) {
    while !ended.load(Ordering::Relaxed) {
        match event::poll(KEY_LOOK) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = event::read() else { return };
        if let Some(key) = key(&event)
            && keys.blocking_send(key).is_err()
        {
            return;
        }
    }
}

fn key(event: &Event) -> Option<Key> {
    if let Event::Resize(..) = event {
        return Some(Key::Redraw);
    }
    let pressed = event.as_key_event().filter(|key| key.kind == KeyEventKind::Press)?;
    if pressed.code == KeyCode::Esc {
        return Some(Key::Quit);
    }
    match pressed.code.as_char()? {
        'q' => Some(Key::Quit),
        'c' if pressed.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        's' => Some(Key::Slow),
        '1' => Some(Key::Toggle(0)),
        '2' => Some(Key::Toggle(1)),
        '3' => Some(Key::Toggle(2)),
        _ => None,
    }
}

/// The whole picture.
fn draw(frame: &mut Frame<'_>, scene: &Scene, colours: bool) {
    let suggestions = suggestion_lines(scene);
    let area = frame.area();
    let inside = usize::from(area.width.saturating_sub(2)).max(1);
    let height = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    let suggested =
        height(suggestions.iter().map(|line| line.width().div_ceil(inside)).sum::<usize>() + 2);
    let listed = height(scene.servers.len() + 3);
    // The graphs take what is left: a small terminal shows them small.
    let left = area.height.saturating_sub(HEAD_LINES + suggested + listed + 1);
    let [head, graphs, servers, next, keys] = Layout::vertical([
        Constraint::Length(HEAD_LINES),
        Constraint::Length(left.clamp(3, 6)),
        Constraint::Length(listed),
        Constraint::Length(suggested),
        Constraint::Min(1),
    ])
    .areas(area);
    draw_head(frame, head, scene, colours);
    let [rate, latency] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(graphs);
    draw_graph(frame, rate, " requests/s ", &scene.rates, toned(Tone::Good, colours));
    draw_graph(frame, latency, " p99, ms ", &scene.p99_ms, toned(Tone::Warning, colours));
    draw_servers(frame, servers, scene, colours);
    let block = Block::bordered().title(" try next, in another terminal ");
    frame.render_widget(Paragraph::new(suggestions).wrap(Wrap { trim: false }).block(block), next);
    let help = format!(
        "q quit   1 2 3 kill or restart a server   s slow a down or make it quick again   {}",
        scene.notice
    );
    frame.render_widget(Paragraph::new(help), keys);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, scene: &Scene, colours: bool) {
    let (second, total) = (&scene.second, &scene.total);
    let failed = Span::styled(
        format!("failed {} of {}", total.failed, total.ended()),
        toned(if total.failed == 0 { Tone::Good } else { Tone::Bad }, colours),
    );
    let now = format!(
        "requests/s {}   p50 {}   p99 {}   in flight {}   ",
        second.ended(),
        milliseconds(second.latency_all.quantile(0.5)),
        milliseconds(second.latency_all.quantile(0.99)),
        second.in_flight
    );
    let all = format!(
        "since the start: p50 {}   p99 {}   skipped {}",
        milliseconds(total.latency_all.quantile(0.5)),
        milliseconds(total.latency_all.quantile(0.99)),
        total.dropped
    );
    let title = format!(" tidegate demo   http://{}/   {} s ", scene.door, scene.seconds);
    let text = vec![Line::from(vec![now.into(), failed]), Line::from(all)];
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(title)), area);
}

fn draw_graph(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    history: &std::collections::VecDeque<u64>,
    style: Style,
) {
    // The newest values, as many as there are columns inside the border.
    let columns = usize::from(area.width.saturating_sub(2));
    let shown: Vec<u64> =
        history.iter().skip(history.len().saturating_sub(columns)).copied().collect();
    frame.render_widget(
        Sparkline::default().data(shown).style(style).block(Block::bordered().title(title)),
        area,
    );
}

fn draw_servers(frame: &mut Frame<'_>, area: Rect, scene: &Scene, colours: bool) {
    let wide = area.width >= COLUMNS_WIDE;
    let (name, bar, share, number) = if wide { (24, 24, 18, 9) } else { (8, 8, 7, 8) };
    let widths = [name, 10, bar, share, 5, 9, number, number].map(Constraint::Length);
    let widths = widths.into_iter().chain(std::iter::once(Constraint::Min(5)));
    let share_heading = if wide { "share (┃ intended)" } else { "share" };
    let headings =
        Row::new(["server", "state", share_heading, "", "req/s", "in flight", "p50", "p99", "why"]);
    let rows = scene.servers.iter().map(|server| server_row(server, (wide, bar), colours));
    let table =
        Table::new(rows, widths).header(headings.style(Style::new().add_modifier(Modifier::BOLD)));
    frame.render_widget(table.block(Block::bordered().title(" servers ")), area);
}

fn server_row(server: &ServerScene, (wide, bar_width): (bool, u16), colours: bool) -> Row<'static> {
    let port = server.address.rsplit(':').next().unwrap_or_default();
    let mut name = format!("{} :{port}", server.name);
    if wide {
        name.push_str(
            &server.pid.map_or_else(|| " not running".to_owned(), |pid| format!(" pid {pid}")),
        );
    }
    let facts = server.facts.clone().unwrap_or_default();
    let (state, tone) =
        server.facts.as_ref().map_or(("-", Tone::Plain), |facts| state(facts.state));
    let observed = facts.share.unwrap_or(0.0);
    let cells = vec![
        Span::raw(name),
        Span::styled(state, toned(tone, colours)),
        Span::styled(bar(observed, facts.share_intended, bar_width), toned(tone, colours)),
        Span::raw(if wide {
            format!("{} of {}", percent(observed), percent(facts.share_intended))
        } else {
            percent(observed)
        }),
        Span::raw(facts.requests.to_string()),
        Span::raw(facts.in_flight.to_string()),
        Span::raw(milliseconds(facts.p50_us)),
        Span::raw(milliseconds(facts.p99_us)),
        Span::raw(server.why().unwrap_or_default()),
    ];
    Row::new(cells)
}

/// A command and what it shows, one line each.
fn suggestion_lines(scene: &Scene) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let line = |(command, shows): (String, &'static str)| {
        Line::from(vec![Span::styled(command, bold), Span::raw(format!("   {shows}"))])
    };
    scene.suggestions().into_iter().map(line).collect()
}

fn toned(tone: Tone, colours: bool) -> Style {
    match tone {
        _ if !colours => Style::new(),
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn drawn(width: u16, height: u16, colours: bool) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let scene = crate::demo::scene::tests::scene();
        terminal.draw(|frame| draw(frame, &scene, colours)).unwrap();
        terminal
    }

    #[test]
    fn the_picture_holds_what_matters() {
        let terminal = drawn(150, 30, true);
        let picture = terminal.backend().to_string();
        for part in [
            "http://127.0.0.1:8080/",
            "requests/s 100",
            "p99 30.5 ms",
            "failed 1 of 100",
            "a :3001 pid 11",
            "b :3002 not running",
            "███████████████████████┃",
            "100.0 % of 100.0 %",
            "connection refused",
            "curl -i http://127.0.0.1:8080/",
            "q quit",
        ] {
            assert!(picture.contains(part), "{part:?} is missing:\n{picture}");
        }
        assert!(!picture.contains('\u{1b}'), "nothing steers the terminal");
    }

    #[test]
    fn without_colours_no_cell_has_one() {
        let has_colour = |terminal: &Terminal<TestBackend>| {
            terminal
                .backend()
                .buffer()
                .content()
                .iter()
                .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(has_colour(&drawn(150, 30, true)));
        assert!(!has_colour(&drawn(150, 30, false)));
    }

    #[test]
    fn eighty_columns_hold_what_matters() {
        let picture = drawn(80, 24, false).backend().to_string();
        for part in [
            "failed 1 of 100",
            "b :3002",
            "down",
            "100.0 %",
            "not running",
            "slow a down",
            "q quit",
        ] {
            assert!(picture.contains(part), "{part:?} is missing:\n{picture}");
        }
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(1, 1), (10, 3), (40, 12), (80, 24), (300, 100)] {
            drawn(width, height, true);
        }
    }

    #[test]
    fn keys() {
        let check = |code, modifiers, expected| {
            assert_eq!(key(&Event::Key(KeyEvent::new(code, modifiers))), expected, "{code:?}")
        };
        check(KeyCode::Char('q'), KeyModifiers::NONE, Some(Key::Quit));
        check(KeyCode::Esc, KeyModifiers::NONE, Some(Key::Quit));
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Key::Quit));
        check(KeyCode::Char('c'), KeyModifiers::NONE, None);
        check(KeyCode::Char('2'), KeyModifiers::NONE, Some(Key::Toggle(1)));
        check(KeyCode::Char('s'), KeyModifiers::NONE, Some(Key::Slow));
        check(KeyCode::Enter, KeyModifiers::NONE, None);
        assert_eq!(key(&Event::Resize(1, 1)), Some(Key::Redraw));
    }
}
