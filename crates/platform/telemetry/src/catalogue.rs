//! The catalogue: every metric of the door, in one table.
//!
//! The exposition takes HELP, TYPE, UNIT and the samples from it, and the reference page is
//! generated from it, so the three cannot disagree. Invariant: names are unique, and a metric
//! with a unit ends in that unit, as OpenMetrics asks.

mod admission;
mod compression;
mod http2;
mod tcp;
mod tls;

use std::fmt::Write as _;

use admission::ADMISSION;
use compression::COMPRESSION;
use http2::HTTP2;
use tcp::TCP;
use tls::TLS;

use crate::histogram::{EXPORTED_BOUNDS, bound_seconds};
use crate::samples::{self, View};
use crate::text::FamilyWriter;

/// What a metric's number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process restarts; its sample ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of durations by upper bound, with their sum and count.
    Histogram,
    /// Always 1; its labels say something. Its sample ends in `_info`.
    Info,
}

/// One metric: what the page says of it, and how its samples are found.
#[derive(Clone, Copy)]
pub struct Metric {
    /// The family's name, without `_total` or `_info`.
    pub name: &'static str,
    /// What its number means.
    pub kind: Kind,
    /// Its unit, `seconds` or `bytes`; absent for plain counts.
    pub unit: Option<&'static str>,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence or more for a person.
    pub help: &'static str,
    pub(crate) samples: fn(&View<'_>, &mut FamilyWriter<'_>),
}

impl std::fmt::Debug for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metric")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Metric {
    /// The name that a query uses: with `_total` for a counter and `_info` for an info; a
    /// histogram's samples add `_bucket`, `_sum` and `_count` to it.
    #[must_use]
    pub fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Info => format!("{}_info", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }
}

/// Every metric, in the order of the page.
pub const CATALOGUE: &[Metric] = &joined::<{ DOOR.len() + AFTER_DOOR.len() }>(DOOR, AFTER_DOOR);

const AFTER_DOOR: &[Metric] =
    &joined::<{ ADMISSION.len() + AFTER_ADMISSION.len() }>(ADMISSION, AFTER_ADMISSION);

const AFTER_ADMISSION: &[Metric] =
    &joined::<{ HTTP2.len() + AFTER_HTTP2.len() }>(HTTP2, AFTER_HTTP2);

const AFTER_HTTP2: &[Metric] =
    &joined::<{ COMPRESSION.len() + AFTER_COMPRESSION.len() }>(COMPRESSION, AFTER_COMPRESSION);

const AFTER_COMPRESSION: &[Metric] = &joined::<{ TCP.len() + TLS.len() }>(TCP, TLS);

const fn joined<const N: usize>(first: &[Metric], second: &[Metric]) -> [Metric; N] {
    let mut all = [first[0]; N];
    let mut index = 0;
    while index < N {
        all[index] = match index.checked_sub(first.len()) {
            None => first[index],
            Some(index) => second[index],
        };
        index += 1;
    }
    all
}

/// The metrics of what the door does, and of its process.
const DOOR: &[Metric] = &[
    Metric {
        name: "http_server_request_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &["route", "class"],
        help: "Time from the first byte of a request to the last byte of its response, by route and status class (OpenTelemetry http.server.request.duration).",
        samples: samples::request_duration,
    },
    Metric {
        name: "http_server_active_requests",
        kind: Kind::Gauge,
        unit: None,
        labels: &["route"],
        help: "Requests in flight, by route (OpenTelemetry http.server.active_requests).",
        samples: samples::active_requests,
    },
    Metric {
        name: "tidegate_requests",
        kind: Kind::Counter,
        unit: None,
        labels: &["route", "status"],
        help: "Requests that ended, by route and exact status; the route is empty where none was reached, the status is other where none was sent.",
        samples: samples::requests,
    },
    Metric {
        name: "tidegate_answers",
        kind: Kind::Counter,
        unit: None,
        labels: &["route", "reason"],
        help: "Requests that the door answered or ended itself, by route and reason code; the route is empty where none was reached.",
        samples: samples::answers,
    },
    Metric {
        name: "tidegate_request_body_bytes",
        kind: Kind::Counter,
        unit: Some("bytes"),
        labels: &["route"],
        help: "Bytes of request bodies received from clients, by route.",
        samples: samples::request_body_bytes,
    },
    Metric {
        name: "tidegate_response_body_bytes",
        kind: Kind::Counter,
        unit: Some("bytes"),
        labels: &["route"],
        help: "Bytes of response bodies sent to clients, by route.",
        samples: samples::response_body_bytes,
    },
    Metric {
        name: "tidegate_connections",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "Client connections open.",
        samples: samples::connections,
    },
    Metric {
        name: "tidegate_connections_accepted",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Client connections accepted.",
        samples: samples::connections_accepted,
    },
    Metric {
        name: "tidegate_connections_refused",
        kind: Kind::Counter,
        unit: None,
        labels: &["reason"],
        help: "Client connections turned away before a request, by reason code.",
        samples: samples::connections_refused,
    },
    Metric {
        name: "tidegate_idle_connections_closed",
        kind: Kind::Counter,
        unit: None,
        labels: &["reason"],
        help: "Idle client connections closed before their time, so that new ones have room.",
        samples: samples::idle_connections_closed,
    },
    Metric {
        name: "tidegate_tls_handshakes",
        kind: Kind::Counter,
        unit: None,
        labels: &["result"],
        help: "TLS handshakes with clients that ended; result is succeeded or failed.",
        samples: samples::tls_handshakes,
    },
    Metric {
        name: "tidegate_tls_handshake_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &[],
        help: "Time of the TLS handshakes with clients that succeeded.",
        samples: samples::tls_handshake_duration,
    },
    Metric {
        name: "tidegate_panics",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Panics contained to one connection; each is a defect of the door.",
        samples: samples::panics,
    },
    Metric {
        name: "tidegate_server_requests",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server"],
        help: "Attempts at a server that ended, repeats included.",
        samples: samples::server_requests,
    },
    Metric {
        name: "tidegate_server_responses",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server", "class"],
        help: "Responses from a server, by status class.",
        samples: samples::server_responses,
    },
    Metric {
        name: "tidegate_server_failures",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server", "reason"],
        help: "Attempts that failed by the server's fault, by reason code; status_5xx is a complete response with a 5xx status.",
        samples: samples::server_failures,
    },
    Metric {
        name: "tidegate_server_connect_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &["pool", "server"],
        help: "Time to open a new connection to a server, TLS included.",
        samples: samples::server_connect_duration,
    },
    Metric {
        name: "tidegate_server_first_byte_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &["pool", "server"],
        help: "Time from an attempt's start to the first byte of the server's response.",
        samples: samples::server_first_byte_duration,
    },
    Metric {
        name: "tidegate_server_duration_seconds",
        kind: Kind::Histogram,
        unit: Some("seconds"),
        labels: &["pool", "server"],
        help: "Time from an attempt's start to its end.",
        samples: samples::server_total_duration,
    },
    Metric {
        name: "tidegate_server_active_requests",
        kind: Kind::Gauge,
        unit: None,
        labels: &["pool", "server"],
        help: "Attempts in flight at a server.",
        samples: samples::server_active_requests,
    },
    Metric {
        name: "tidegate_server_share",
        kind: Kind::Gauge,
        unit: None,
        labels: &["pool", "server", "kind"],
        help: "A server's share of its pool's attempts, 0 to 1: observed in the last second, and intended by the weights.",
        samples: samples::server_share,
    },
    Metric {
        name: "tidegate_server_state",
        kind: Kind::Gauge,
        unit: None,
        labels: &["pool", "server", "state"],
        help: "1 for the state a server is in, 0 for the others: unknown, up, slow_start, ejected, down, draining.",
        samples: samples::server_state,
    },
    Metric {
        name: "tidegate_server_weight",
        kind: Kind::Gauge,
        unit: None,
        labels: &["pool", "server"],
        help: "A server's weight.",
        samples: samples::server_weight,
    },
    Metric {
        name: "tidegate_server_ewma_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        labels: &["pool", "server"],
        help: "Peak exponentially weighted moving average of a server's latency, as balancing sees it.",
        samples: samples::server_ewma,
    },
    Metric {
        name: "tidegate_server_ejections",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server"],
        help: "Times a server was set aside because requests failed.",
        samples: samples::server_ejections,
    },
    Metric {
        name: "tidegate_server_retries",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server"],
        help: "Attempts at a server that repeated a failed one.",
        samples: samples::server_retries,
    },
    Metric {
        name: "tidegate_server_retries_refused",
        kind: Kind::Counter,
        unit: None,
        labels: &["pool", "server"],
        help: "Retries wanted after a failure of a server, but over the budget.",
        samples: samples::server_retries_refused,
    },
    Metric {
        name: "tidegate_pool_panic",
        kind: Kind::Gauge,
        unit: None,
        labels: &["pool"],
        help: "1 while a pool ignores health because too few of its servers are healthy.",
        samples: samples::pool_panic,
    },
    Metric {
        name: "tidegate_draining",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "1 once the door drains.",
        samples: samples::draining,
    },
    Metric {
        name: "tidegate_access_log_lines_lost",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Access log lines lost because the writer could not follow or could not write.",
        samples: samples::log_lines_lost,
    },
    Metric {
        name: "tidegate_build",
        kind: Kind::Info,
        unit: None,
        labels: &["version"],
        help: "The version of the door.",
        samples: samples::build,
    },
    Metric {
        name: "tidegate_configuration",
        kind: Kind::Info,
        unit: None,
        labels: &["version"],
        help: "The version of the configuration in force.",
        samples: samples::configuration,
    },
    Metric {
        name: "tidegate_configuration_reloads",
        kind: Kind::Counter,
        unit: None,
        labels: &["result"],
        help: "Reloads of the configuration; result is applied or rejected.",
        samples: samples::configuration_reloads,
    },
    Metric {
        name: "process_cpu_seconds",
        kind: Kind::Counter,
        unit: Some("seconds"),
        labels: &[],
        help: "User and system CPU time of the process.",
        samples: samples::process_cpu,
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        unit: Some("bytes"),
        labels: &[],
        help: "Resident memory of the process.",
        samples: samples::process_resident,
    },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        unit: Some("bytes"),
        labels: &[],
        help: "Virtual memory of the process.",
        samples: samples::process_virtual,
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "Open file descriptors.",
        samples: samples::process_open_fds,
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "The limit of open file descriptors; absent when there is none.",
        samples: samples::process_max_fds,
    },
    Metric {
        name: "process_threads",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "Threads of the process.",
        samples: samples::process_threads,
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        labels: &[],
        help: "When the process started, in seconds since 1970-01-01 UTC.",
        samples: samples::process_start,
    },
];

/// The reference page of the documentation, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    for metric in CATALOGUE {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        let (name, unit, help) = (metric.sample_name(), metric.unit.unwrap_or("none"), metric.help);
        writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |")
            .expect("writing to a string does not fail");
    }
    let bounds: Vec<String> =
        EXPORTED_BOUNDS.iter().map(|bound| format!("{:?}", bound_seconds(*bound))).collect();
    let bounds = bounds.join(", ");
    writeln!(page, "{REFERENCE_HISTOGRAMS}{bounds}.").expect("writing to a string does not fail");
    page
}

const REFERENCE_HEAD: &str = "\
<!-- Generated from the metric catalogue: cargo run -p telemetry --example generate -->
# Metrics

The admin interface serves these at `/metrics`, as Prometheus text 0.0.4 or, when the `Accept`
header asks for it, as OpenMetrics 1.0. Names follow the OpenTelemetry semantic conventions where
these have one.

A series appears with the first event it counts. The number of series is bounded: routes, pools
and servers come from the configuration, and those that left it are dropped 10 minutes later, or
at once beyond 1,000 of a kind; registered clients and rate limits end with the configuration that
has them; statuses and reason codes are fixed sets. No label holds anything that a client sends: who
sends the most stands here by rank only, and by name in `tidegate status`.

| Name | Type | Unit | Labels | Meaning |
| --- | --- | --- | --- | --- |
";

const REFERENCE_HISTOGRAMS: &str = "
## Histograms

A histogram counts inside the door in eight buckets per power of two between 1 us and 512 s. Each
exported bound `le` is the bound of such a bucket, so its count is exact; bounds that are not round
are the bucket bounds nearest to a round number of milliseconds. The percentiles that `status`
shows come from the finer buckets: within 6.25 % of the true sample, then cut to whole microseconds.

The exported bounds, in seconds: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_well_formed() {
        let mut names = std::collections::BTreeSet::new();
        for metric in CATALOGUE {
            let name = metric.name;
            assert!(names.insert(metric.sample_name()), "{name} is there twice");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert!(
                ["_total", "_info", "_count", "_sum", "_bucket", "_created"]
                    .iter()
                    .all(|end| !name.ends_with(end)),
                "{name}"
            );
            assert!(metric.unit.is_none_or(|unit| name.ends_with(&format!("_{unit}"))), "{name}");
            assert!(metric.kind != Kind::Histogram || metric.unit == Some("seconds"), "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
            assert!(!metric.labels.contains(&"le"), "{name}");
        }
    }
}
