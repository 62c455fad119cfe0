//! How numbers are said in verdicts.

use std::time::Duration;

/// `12 of 300 requests (4.0 %)`.
pub(crate) fn of_requests(hits: u64, requests: u64) -> String {
    if requests == 0 {
        return "0 of 0 requests".to_owned();
    }
    let percent = hits as f64 * 100.0 / requests as f64;
    let digits = if percent > 0.0 && percent < 1.0 { 2 } else { 1 };
    format!("{hits} of {requests} requests ({percent:.digits$} %)")
}

/// `90 %`.
pub(crate) fn share_words(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A latency given in microseconds: `850 us`, `12 ms`, `1.2 s`.
pub(crate) fn latency_words(us: f64) -> String {
    if us < 1_000.0 {
        format!("{us:.0} us")
    } else if us < 10_000.0 {
        format!("{:.1} ms", us / 1_000.0)
    } else if us < 1_000_000.0 {
        format!("{:.0} ms", us / 1_000.0)
    } else {
        format!("{:.1} s", us / 1_000_000.0)
    }
}

/// `45s`, `2m`, `2m 30s`.
pub(crate) fn duration_words(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    match (minutes, seconds) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m {seconds}s"),
    }
}
