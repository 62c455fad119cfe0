//! Runs h2load, the load generator of the HTTP/2 and gRPC scenarios, and reads its report.

use anyhow::Context;

use super::processes::Workshop;
use super::wrk::Report;

/// Connections, and streams at once on each.
const CONNECTIONS: &str = "16";
const STREAMS: &str = "8";

/// One thread, as many requests as it gets answers for, for so long. `grpc`: each is a gRPC call
/// with the message in this file.
pub(super) fn run(
    workshop: &Workshop,
    url: &str,
    seconds: u32,
    grpc: Option<&str>,
) -> anyhow::Result<Report> {
    let duration = seconds.to_string();
    let mut command = vec!["h2load", "-t", "1", "-c", CONNECTIONS, "-m", STREAMS, "-D", &duration];
    if let Some(message) = grpc {
        command.extend([
            "-d",
            message,
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
        ]);
    }
    command.push(url);
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let output = workshop.run(&command)?;
    parse(&output).with_context(|| format!("h2load reports no requests: {output}"))
}

/// Reads the counts; `None` when the report has none. Requests that were under way at the end are
/// neither done nor failed.
fn parse(output: &str) -> Option<Report> {
    let mut report = Report::default();
    let mut found = false;
    for line in output.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("finished in ") {
            let rate = rest.split(", ").find_map(|part| part.strip_suffix(" req/s"));
            report.per_second = rate?.parse().ok()?;
        } else if let Some(counts) = line.strip_prefix("requests: ") {
            // `12 total, 12 started, 11 done, 10 succeeded, 1 failed, 0 errored, 0 timeout`
            let count = |name: &str| {
                let part = counts.split(", ").find_map(|part| part.strip_suffix(name));
                part.and_then(|count| count.trim().parse::<u64>().ok())
            };
            report.requests = count(" succeeded")?;
            report.failed += count(" failed")? + count(" timeout")?;
            found = true;
        } else if let Some(counts) = line.strip_prefix("status codes: ") {
            let bad = counts.split(", ").filter(|part| !part.ends_with(" 2xx"));
            let counts = bad.filter_map(|part| part.split(' ').next()?.parse::<u64>().ok());
            report.failed += counts.sum::<u64>();
        }
    }
    found.then_some(report)
}

#[cfg(test)]
mod tests {
    use super::{Report, parse};

    #[test]
    fn counts_and_failures_are_read() {
        let clean = "finished in 2.00s, 1234.50 req/s, 1.2MB/s\n\
                     requests: 2600 total, 2597 started, 2469 done, 2469 succeeded, 0 failed, 0 errored, 0 timeout\n\
                     status codes: 2469 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        let expected = Report { requests: 2_469, failed: 0, per_second: 1_234.5 };
        assert_eq!(parse(clean), Some(expected));
        let failing = clean.replace("0 failed", "3 failed").replace("0 5xx", "7 5xx");
        assert_eq!(parse(&failing), Some(Report { failed: 10, ..expected }));
        assert_eq!(parse("could not connect"), None);
    }
}
