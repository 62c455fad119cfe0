//! The lines of a difference as they are collected: by what they concern, bounded.
//!
//! Invariant: what moves traffic stands first; what does not fit is counted, never forgotten.

/// Lines that are told; a last one counts the rest.
const LINES_MAX: usize = 200;

/// What a line concerns, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Who gets how many requests.
    Traffic,
    /// How requests are treated: timeouts, limits, retries, checks.
    Treatment,
    /// The door itself: its interfaces, its logs, how it is changed.
    Door,
}

/// Lines, at most [`LINES_MAX`] of each concern.
#[derive(Debug, Default)]
pub(super) struct Lines {
    told: [Vec<String>; 3],
    count: usize,
}

impl Lines {
    pub(super) fn say(&mut self, concern: Concern, line: impl FnOnce() -> String) {
        let lines = &mut self.told[match concern {
            Concern::Traffic => 0,
            Concern::Treatment => 1,
            Concern::Door => 2,
        }];
        self.count += 1;
        if lines.len() < LINES_MAX {
            lines.push(line());
        }
    }

    /// Begins to tell of one subject, such as `pool web`.
    pub(super) fn about(&mut self, subject: impl Into<String>) -> About<'_> {
        About { lines: self, subject: subject.into() }
    }

    pub(super) fn told(self) -> Vec<String> {
        let mut lines: Vec<String> = self.told.into_iter().flatten().take(LINES_MAX).collect();
        if self.count > lines.len() {
            lines.push(format!("and {} more", self.count - lines.len()));
        }
        lines
    }
}

/// Tells of the fields of one subject.
#[derive(Debug)]
pub(super) struct About<'a> {
    lines: &'a mut Lines,
    subject: String,
}

impl About<'_> {
    pub(super) fn say(&mut self, concern: Concern, what: &str) {
        self.lines.say(concern, || format!("{}: {what}", self.subject));
    }

    /// Tells of a field of [`Concern::Treatment`], if it differs.
    pub(super) fn field<T: PartialEq>(
        &mut self,
        what: &str,
        from: &T,
        to: &T,
        show: impl Fn(&T) -> String,
    ) {
        if let Some(line) = changed(what, from, to, show) {
            self.say(Concern::Treatment, &line);
        }
    }

    /// The same for a field that moves traffic.
    pub(super) fn traffic<T: PartialEq>(
        &mut self,
        what: &str,
        from: &T,
        to: &T,
        show: impl Fn(&T) -> String,
    ) {
        if let Some(line) = changed(what, from, to, show) {
            self.say(Concern::Traffic, &line);
        }
    }

    /// The same for a field of the door.
    pub(super) fn door<T: PartialEq>(
        &mut self,
        what: &str,
        from: &T,
        to: &T,
        show: impl Fn(&T) -> String,
    ) {
        if let Some(line) = changed(what, from, to, show) {
            self.say(Concern::Door, &line);
        }
    }
}

/// `weight from 1 to 0`; nothing if it does not differ.
pub(super) fn changed<T: PartialEq>(
    what: &str,
    from: &T,
    to: &T,
    show: impl Fn(&T) -> String,
) -> Option<String> {
    if from == to {
        return None;
    }
    let (before, after) = (show(from), show(to));
    // What is shown may leave out what differs, such as the end of a long text.
    Some(if before == after {
        format!("{what} changed, still shown as {after}")
    } else {
        format!("{what} from {before} to {after}")
    })
}
