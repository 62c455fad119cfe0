//! Lines of the access log about what is no request: only so many, since a flood of it must not fill
//! the log.

use std::cell::Cell;

/// Lines that are written in so many ticks of a worker's wheel, a second.
const NOTES_MAX: u32 = 10;
const TICKS: u64 = 60;

/// What one worker wrote of them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The last second in which any was asked for, and how many.
    last: Cell<(u64, u32)>,
}

impl Notes {
    /// Whether one more may be written; it counts as written. `ticks`: those of the wheel.
    pub(crate) fn may_write(&self, ticks: u64) -> bool {
        let second = ticks / TICKS;
        let (last, count) = self.last.get();
        let count = if second == last { count } else { 0 };
        self.last.set((second, count.saturating_add(1)));
        count < NOTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_a_second_are_written() {
        let notes = Notes::default();
        let written = |ticks| (0..100).filter(|_| notes.may_write(ticks)).count();
        assert_eq!([written(7), written(59), written(60), written(200)], [10, 0, 10, 10]);
    }
}
