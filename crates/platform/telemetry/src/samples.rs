//! The samples of each metric of the catalogue, read from one view of the process.
//!
//! Each function writes one family; the catalogue names it beside the metric's help, so a metric
//! cannot be described and not written. Series that never counted (a status, a reason, a class)
//! are left out, which keeps the number of series to what occurred.

pub(crate) mod admission;
pub(crate) mod compression;
pub(crate) mod http2;
pub(crate) mod tcp;
pub(crate) mod tls;

use model::Reason;
use model::fact::{ServerFacts, ServerState, Snapshot};

use crate::admission::AdmissionTotals;
use crate::histogram::HistogramCounts;
use crate::process::ProcessFacts;
use crate::registry::Registry;
use crate::tcp::TcpTotals;
use crate::text::FamilyWriter;
use crate::totals::{RouteTotals, ServerTotals, WorkerTotals};

/// The names of the status classes.
const CLASS_NAMES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The states of a server, as the `state` label says them.
const STATES: [(ServerState, &str); 6] = [
    (ServerState::Unknown, "unknown"),
    (ServerState::Up, "up"),
    (ServerState::SlowStart, "slow_start"),
    (ServerState::Ejected, "ejected"),
    (ServerState::Down, "down"),
    (ServerState::Draining, "draining"),
];
/// The `route` of a request that reached none; an empty label is no label to Prometheus.
const NO_ROUTE: &str = "";
/// The reason of a failure that is a 5xx status and nothing else.
const STATUS_5XX: &str = "status_5xx";

/// Everything the exposition shows, read once.
#[derive(Debug)]
pub(crate) struct View<'a> {
    snapshot: &'a Snapshot,
    process: ProcessFacts,
    workers: WorkerTotals,
    routes: Vec<(String, RouteTotals)>,
    servers: Vec<(String, String, ServerTotals)>,
    tcp: Vec<(String, TcpTotals)>,
    reloads: (u64, u64),
    admission: AdmissionTotals,
}

impl<'a> View<'a> {
    pub(crate) fn new(registry: &Registry, snapshot: &'a Snapshot) -> Self {
        let routes = registry
            .read_routes()
            .into_iter()
            .map(|(name, reading)| (name.to_string(), reading.totals));
        let servers = registry.read_servers().into_iter().map(|((pool, address), reading)| {
            (pool.to_string(), address.to_string(), reading.totals)
        });
        let tcp = registry.read_tcp();
        let tcp = tcp.into_iter().map(|(name, reading)| (name.to_string(), reading.totals));
        Self {
            snapshot,
            process: ProcessFacts::read(),
            workers: registry.read_workers(),
            routes: routes.collect(),
            servers: servers.collect(),
            tcp: tcp.collect(),
            reloads: registry.reloads(),
            admission: registry.admission(),
        }
    }

    /// Each server of the snapshot with its pool, those that are tried too.
    fn gauges(&self) -> impl Iterator<Item = (&str, &ServerFacts)> {
        self.snapshot
            .pools
            .iter()
            .chain(&self.snapshot.tried)
            .flat_map(|pool| pool.servers.iter().map(move |server| (pool.name.as_str(), server)))
    }
}

/// Every reason that occurred, with its count.
fn occurred(counts: &[u64]) -> impl Iterator<Item = (Reason, u64)> {
    Reason::ALL.iter().copied().zip(counts.iter().copied()).filter(|(_, count)| *count > 0)
}

pub(crate) fn request_duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (route, totals) in &view.routes {
        for (class, counts) in CLASS_NAMES.iter().zip(&totals.durations) {
            if counts.count() > 0 {
                family.histogram(&[route, class], counts);
            }
        }
    }
}

pub(crate) fn active_requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (route, totals) in &view.routes {
        family.count(&[route], totals.in_flight());
    }
}

pub(crate) fn requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    let mut without_route = std::collections::BTreeMap::<u16, u64>::new();
    for (reason, count) in occurred(&view.workers.reasons) {
        *without_route.entry(reason.status()).or_default() += count;
    }
    for (status, count) in without_route {
        family.count(&[NO_ROUTE, &status.to_string()], count);
    }
    for (route, totals) in &view.routes {
        // Statuses are kept from 100 on; the last place holds whatever is no status code.
        let named = (100..600_u16).map(|status| status.to_string()).chain(["other".to_owned()]);
        for (status, count) in named.zip(&totals.statuses).filter(|(_, count)| **count > 0) {
            family.count(&[route, &status], *count);
        }
    }
}

pub(crate) fn answers(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (reason, count) in occurred(&view.workers.reasons) {
        family.count(&[NO_ROUTE, reason.code()], count);
    }
    for (route, totals) in &view.routes {
        for (reason, count) in occurred(&totals.reasons) {
            family.count(&[route, reason.code()], count);
        }
    }
}

pub(crate) fn request_body_bytes(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.routes.iter().for_each(|(route, totals)| family.count(&[route], totals.bytes_in));
}

pub(crate) fn response_body_bytes(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.routes.iter().for_each(|(route, totals)| family.count(&[route], totals.bytes_out));
}

pub(crate) fn connections(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.accepted.saturating_sub(view.workers.closed));
}

pub(crate) fn connections_accepted(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.accepted);
}

pub(crate) fn connections_refused(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (reason, count) in occurred(&view.workers.refused) {
        family.count(&[reason.code()], count);
    }
}

pub(crate) fn idle_connections_closed(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[Reason::TooManyConnections.code()], view.workers.made_room);
}

pub(crate) fn tls_handshakes(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&["succeeded"], view.workers.handshakes.count());
    family.count(&["failed"], view.workers.handshakes_failed);
}

pub(crate) fn tls_handshake_duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.histogram(&[], &view.workers.handshakes);
}

pub(crate) fn panics(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.workers.panics);
}

/// One count per server.
fn per_server(
    view: &View<'_>,
    family: &mut FamilyWriter<'_>,
    count: impl Fn(&ServerTotals) -> u64,
) {
    for (pool, server, totals) in &view.servers {
        family.count(&[pool, server], count(totals));
    }
}

/// One histogram per server that counted anything.
fn per_server_histogram(
    view: &View<'_>,
    family: &mut FamilyWriter<'_>,
    counts: impl Fn(&ServerTotals) -> &HistogramCounts,
) {
    for (pool, server, totals) in &view.servers {
        if counts(totals).count() > 0 {
            family.histogram(&[pool, server], counts(totals));
        }
    }
}

pub(crate) fn server_requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server(view, family, |totals| totals.attempts);
}

pub(crate) fn server_responses(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, server, totals) in &view.servers {
        for (class, count) in
            CLASS_NAMES.iter().zip(&totals.classes).filter(|(_, count)| **count > 0)
        {
            family.count(&[pool, server, class], *count);
        }
    }
}

pub(crate) fn server_failures(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, server, totals) in &view.servers {
        // Written even at zero, so that a rate sees the very first failure.
        family.count(&[pool, server, STATUS_5XX], totals.failures_status);
        for (reason, count) in occurred(&totals.failures) {
            family.count(&[pool, server, reason.code()], count);
        }
    }
}

pub(crate) fn server_connect_duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server_histogram(view, family, |totals| &totals.connect);
}

pub(crate) fn server_first_byte_duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server_histogram(view, family, |totals| &totals.first_byte);
}

pub(crate) fn server_total_duration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server_histogram(view, family, |totals| &totals.total);
}

pub(crate) fn server_ejections(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server(view, family, |totals| totals.ejections);
}

pub(crate) fn server_retries(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server(view, family, |totals| totals.retries);
}

pub(crate) fn server_retries_refused(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    per_server(view, family, |totals| totals.retries_refused);
}

pub(crate) fn server_share(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, server) in view.gauges() {
        family.maybe(&[pool, &server.address, "observed"], server.share);
        family.sample(&[pool, &server.address, "intended"], server.share_intended);
    }
}

pub(crate) fn server_active_requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.gauges()
        .for_each(|(pool, server)| family.count(&[pool, &server.address], server.in_flight));
}

pub(crate) fn server_state(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, server) in view.gauges() {
        for (state, name) in STATES {
            family.count(&[pool, &server.address, name], u64::from(server.state == state));
        }
    }
}

pub(crate) fn server_weight(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.gauges().for_each(|(pool, server)| {
        family.count(&[pool, &server.address], u64::from(server.weight))
    });
}

pub(crate) fn server_ewma(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.gauges().for_each(|(pool, server)| {
        family.sample(&[pool, &server.address], server.ewma_us as f64 / 1e6)
    });
}

pub(crate) fn pool_panic(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    view.snapshot.pools.iter().for_each(|pool| family.count(&[&pool.name], u64::from(pool.panic)));
}

pub(crate) fn draining(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], u64::from(view.snapshot.draining));
}

pub(crate) fn log_lines_lost(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.snapshot.log_lines_lost);
}

pub(crate) fn build(_view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[env!("CARGO_PKG_VERSION")], 1);
}

pub(crate) fn configuration(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[&view.snapshot.configuration], 1);
}

pub(crate) fn configuration_reloads(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&["applied"], view.reloads.0);
    family.count(&["rejected"], view.reloads.1);
}

pub(crate) fn process_cpu(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.cpu_seconds);
}

pub(crate) fn process_resident(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.resident_bytes.map(|bytes| bytes as f64));
}

pub(crate) fn process_virtual(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.virtual_bytes.map(|bytes| bytes as f64));
}

pub(crate) fn process_open_fds(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.open_fds.map(|count| count as f64));
}

pub(crate) fn process_max_fds(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.max_fds.map(|count| count as f64));
}

pub(crate) fn process_threads(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.threads.map(|count| count as f64));
}

pub(crate) fn process_start(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.maybe(&[], view.process.start_seconds);
}
