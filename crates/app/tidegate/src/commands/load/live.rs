//! What a person sees while load runs: two lines on stderr, drawn anew a few times a second.
//!
//! Silent when stderr is no terminal: the result on stdout says everything.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rehearsal::load::{Second, StreamSecond};
use rehearsal::page::Unit;

/// Draws per second, at most.
const DRAWS: u8 = 10;

/// The view of one run.
#[derive(Debug)]
pub(super) struct Live {
    bar: ProgressBar,
    planned: Duration,
    failed: u64,
    dropped: u64,
    last: Option<StreamSecond>,
}

impl Live {
    /// A bar that is full after `planned`.
    pub(super) fn new(planned: Duration) -> Self {
        let length = u64::try_from(planned.as_millis()).unwrap_or(u64::MAX).max(1);
        Self::with(Some(length), planned, "{wide_bar:.cyan/dim} {prefix}\n{wide_msg}")
    }

    /// Without a known end.
    pub(super) fn open_ended() -> Self {
        Self::with(None, Duration::ZERO, "{spinner} {prefix}\n{wide_msg}")
    }

    fn with(length: Option<u64>, planned: Duration, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(DRAWS));
        let style = ProgressStyle::with_template(template)
            .expect("the template is a constant that a test draws")
            .progress_chars("\u{2501}\u{2578}\u{2500}");
        bar.set_style(style);
        Self { bar, planned, failed: 0, dropped: 0, last: None }
    }

    /// Takes the seconds that ended.
    pub(super) fn add(&mut self, seconds: &[Second]) {
        for second in seconds {
            let mut all = StreamSecond::default();
            second.streams.iter().for_each(|stream| all.add(stream));
            self.failed += all.failed;
            self.dropped += all.dropped;
            self.last = Some(all);
        }
    }

    /// Draws how far the run is.
    pub(super) fn draw(&self, elapsed: Duration, stopping: bool) {
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let left = self.planned.saturating_sub(elapsed);
        let prefix = if stopping {
            "stopping: waiting for what is under way".to_owned()
        } else if left.is_zero() {
            "waiting for what is under way".to_owned()
        } else {
            format!("{} s left of {} s", left.as_secs() + 1, self.planned.as_secs_f64().ceil())
        };
        self.bar.set_prefix(prefix);
        self.bar.set_message(self.status());
    }

    /// Draws what is tried.
    pub(super) fn tell(&self, what: String) {
        self.bar.set_prefix(what);
        self.bar.set_message(self.status());
        self.bar.tick();
    }

    /// Takes the view away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The last whole second in one line.
    fn status(&self) -> String {
        let Some(last) = &self.last else { return String::new() };
        let ms = |us: Option<u64>| {
            us.map_or_else(
                || "\u{2013}".to_owned(),
                |us| Unit::Milliseconds.show(number(us) / 1_000.0),
            )
        };
        let dropped = if self.dropped > 0 {
            format!("  not sent {}", Unit::Count.show(number(self.dropped)))
        } else {
            String::new()
        };
        format!(
            "{} good  in flight {}  p50 {}  p99 {}  failed {}{dropped}  own lateness {}",
            Unit::PerSecond.show(number(last.ok)),
            Unit::Count.show(number(last.in_flight)),
            ms(last.latency.quantile(0.5)),
            ms(last.latency.quantile(0.99)),
            Unit::Count.show(number(self.failed)),
            ms(last.lateness.quantile(0.99)),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_one_line() {
        let mut live = Live::new(Duration::from_secs(30));
        assert_eq!(live.status(), "");
        let mut counts =
            StreamSecond { ok: 490, failed: 10, in_flight: 12, ..StreamSecond::default() };
        counts.latency.add(3_000);
        counts.lateness.add(40);
        let second = |second| Second { second, streams: vec![counts.clone()] };
        live.add(&[second(0), second(1)]);
        live.draw(Duration::from_secs(2), false);
        assert_eq!(
            live.status(),
            "490/s good  in flight 12  p50 3 ms  p99 3 ms  failed 20  own lateness 40 \u{b5}s"
        );
        Live::open_ended().tell("a step".to_owned());
    }
}
