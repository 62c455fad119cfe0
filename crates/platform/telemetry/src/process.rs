//! The process as the operating system sees it, from `/proc/self`.
//!
//! What cannot be read is absent, never zero: a missing value must not look like a good one.

use std::fs;

/// Facts about this process; each absent where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFacts {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    pub(crate) max_fds: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) start_seconds: Option<f64>,
}

impl ProcessFacts {
    /// Reads the facts now: four small files and one directory.
    pub(crate) fn read() -> Self {
        let mut facts = Self::default();
        if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
            facts.fill_stat(&stat, &fs::read_to_string("/proc/stat").unwrap_or_default());
        }
        if let Ok(limits) = fs::read_to_string("/proc/self/limits") {
            facts.max_fds = open_files_max(&limits);
        }
        if let Ok(directory) = fs::read_dir("/proc/self/fd") {
            // The directory itself is open while it is listed.
            facts.open_fds =
                u64::try_from(directory.count()).ok().map(|count| count.saturating_sub(1));
        }
        facts
    }

    fn fill_stat(&mut self, stat: &str, system_stat: &str) {
        // The command in parentheses may hold spaces and parentheses; numbers follow the last.
        let Some((_, numbers)) = stat.rsplit_once(')') else { return };
        let fields: Vec<&str> = numbers.split_ascii_whitespace().collect();
        // Fields are numbered from 1 in proc_pid_stat(5), and the first here is field 3.
        let field =
            |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        self.cpu_seconds = field(14)
            .zip(field(15))
            .map(|(user, system)| (user + system) as f64 / ticks_per_second);
        self.threads = field(20);
        self.virtual_bytes = field(23);
        self.resident_bytes = field(24).map(|pages| pages * rustix::param::page_size() as u64);
        let booted = system_stat
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        self.start_seconds = booted
            .zip(field(22))
            .map(|(booted, ticks)| booted as f64 + ticks as f64 / ticks_per_second);
    }
}

/// The soft limit of open files; absent when it is unlimited.
fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_hostile_command_name() {
        let mut facts = ProcessFacts::default();
        let stat =
            "7 (a) (b c) S 1 7 7 0 -1 4 100 0 0 0 150 50 0 0 20 0 3 0 1000 4096000 250 1 2 3";
        facts.fill_stat(stat, "cpu 1 2\nbtime 1700000000\n");
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(facts.cpu_seconds, Some(200.0 / ticks));
        assert_eq!(facts.threads, Some(3));
        assert_eq!(facts.virtual_bytes, Some(4_096_000));
        assert_eq!(facts.resident_bytes, Some(250 * rustix::param::page_size() as u64));
        assert_eq!(facts.start_seconds, Some(1_700_000_000.0 + 1000.0 / ticks));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let mut facts = ProcessFacts::default();
        facts.fill_stat("nonsense", "");
        facts.fill_stat("1 (x) S 1", "btime x");
        assert_eq!(facts, ProcessFacts::default());
        assert_eq!(
            open_files_max(
                "Max open files            unlimited            unlimited            files"
            ),
            None
        );
        assert_eq!(
            open_files_max(
                "Max open files            1024                 4096                 files"
            ),
            Some(1_024)
        );
    }

    #[test]
    fn this_process_has_facts() {
        let facts = ProcessFacts::read();
        assert!(facts.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{facts:?}");
        assert!(facts.open_fds.is_some_and(|count| count > 0), "{facts:?}");
        assert!(facts.start_seconds.is_some_and(|seconds| seconds > 1.6e9), "{facts:?}");
    }
}
