//! Runs wrk, the load generator of the saturated scenarios, and reads its report.

use anyhow::Context;

use super::processes::Workshop;

/// What wrk reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// Requests completed.
    pub(super) requests: u64,
    /// Answers that were not 2xx or 3xx, and socket errors.
    pub(super) failed: u64,
    /// Requests completed per second.
    pub(super) per_second: f64,
}

/// One thread, this many connections, each sending as soon as it has its answer.
pub(super) fn run(
    workshop: &Workshop,
    url: &str,
    connections: u32,
    seconds: u32,
    close: bool,
) -> anyhow::Result<Report> {
    let (connections, duration) = (connections.to_string(), format!("{seconds}s"));
    let mut command = vec!["wrk", "-t", "1", "-c", &connections, "-d", &duration];
    if close {
        command.extend(["-H", "Connection: close"]);
    }
    command.push(url);
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let output = workshop.run(&command)?;
    parse(&output).with_context(|| format!("wrk reports no requests: {output}"))
}

/// Reads the counts; `None` when the report has none.
pub(super) fn parse(output: &str) -> Option<Report> {
    let mut report = Report::default();
    let mut found = false;
    for line in output.lines().map(str::trim) {
        if let Some((requests, rest)) = line.split_once(" requests in ")
            && rest.ends_with(" read")
        {
            report.requests = requests.parse().ok()?;
            found = true;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            report.per_second = rate.trim().parse().ok()?;
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            report.failed += count.trim().parse::<u64>().ok()?;
        } else if let Some(errors) = line.strip_prefix("Socket errors:") {
            // `connect 0, read 1, write 0, timeout 0`
            let counts = errors.split(',').filter_map(|part| part.trim().rsplit(' ').next());
            report.failed += counts.filter_map(|count| count.parse::<u64>().ok()).sum::<u64>();
        }
    }
    found.then_some(report)
}

#[cfg(test)]
mod tests {
    use super::{Report, parse};

    #[test]
    fn counts_and_failures_are_read() {
        let clean = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
                     Thread Stats   Avg\n  12345 requests in 2.00s, 3.45MB read\n\
                     Requests/sec:   6172.50\nTransfer/sec:      1.72MB\n";
        let expected = Report { requests: 12_345, failed: 0, per_second: 6172.5 };
        assert_eq!(parse(clean), Some(expected));
        let failing = format!(
            "{clean}  Socket errors: connect 1, read 2, write 0, timeout 4\n  \
                     Non-2xx or 3xx responses: 10\n"
        );
        assert_eq!(parse(&failing), Some(Report { failed: 17, ..expected }));
        assert_eq!(parse("unable to connect"), None);
    }
}
