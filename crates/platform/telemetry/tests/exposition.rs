//! The metrics page of a busy door: complete, well formed, and right.

mod parser;

use std::sync::Arc;
use std::time::Duration;

use model::configuration::{Class, Coding};
use model::fact::{
    AdmissionFacts, CertificateFacts, ClientFacts, LimitFacts, ObtainingFacts, PoolFacts,
    QueueFacts, ReasonCount, RouteFacts, ServerFacts, ServerState, SharedFacts, Snapshot,
    TalkerFacts,
};
use model::{Name, Reason};
use telemetry::catalogue::{CATALOGUE, Kind, reference};
use telemetry::{AttemptSample, Collector, ExpositionFormat, Registry, RequestSample, exposition};

use parser::parse;

const ROUTE: &str = "a\"p\\i\n\u{1b}[31m";

fn attempt(failure: Option<Reason>) -> AttemptSample {
    AttemptSample {
        status: if failure.is_some() { None } else { Some(200) },
        failure,
        connect: Some(Duration::from_micros(200)),
        first_byte: failure.is_none().then_some(Duration::from_millis(3)),
        total: Duration::from_millis(4),
        retried: failure.is_none(),
    }
}

/// A registry in which everything that can be counted was, by two workers.
fn busy() -> Arc<Registry> {
    let registry = Registry::new(2);
    let (route, pool): (Name, Name) = (ROUTE.into(), "web".into());
    for worker in 0..2 {
        let shard = registry.worker(worker);
        (0..3).for_each(|_| shard.connection_accepted());
        shard.connection_closed();
        shard.connection_refused(Reason::TooManyConnections);
        shard.connection_made_room();
        shard.http2_connection();
        shard.http2_stream();
        shard.http2_flood();
        shard.http2_stream_reset(1);
        shard.http2_connection_ended(11);
        shard.http2_connection_ended(u32::MAX);
        shard.compressed(Coding::Brotli, 100, 10);
        shard.tls_handshake(Duration::from_millis(1), true);
        shard.tls_handshake(Duration::from_millis(1), false);
        shard.reason(Reason::BadHost);
        shard.panic();
        let shard = registry.route(worker, &route);
        for (status, reason) in
            [(200, None), (502, Some(Reason::ConnectFailed)), (0, Some(Reason::ClientClosed))]
        {
            shard.begin();
            shard.end(&RequestSample {
                status,
                duration: Duration::from_millis(10),
                bytes_in: 5,
                bytes_out: 7,
                reason,
            });
        }
        shard.begin();
        for (address, failure) in
            [("127.0.0.1:1", None), ("[::1]:2", Some(Reason::ConnectFailed)), ("127.0.0.1:1", None)]
        {
            let shard = registry.server(worker, &pool, address.parse().expect("a socket address"));
            shard.attempt(&attempt(failure));
            shard.ejected();
            shard.retry_refused();
        }
        let shard = registry.tcp(worker, &"database".into());
        (0..2).for_each(|_| shard.opened());
        shard.passed(11, 13);
        shard.closed(Duration::from_secs(5), Some(Reason::ServerClosed));
    }
    registry.configuration_reloaded(true);
    registry.configuration_reloaded(false);
    Arc::new(registry)
}

fn admission() -> AdmissionFacts {
    AdmissionFacts {
        clients: vec![ClientFacts {
            name: "partner".to_owned(),
            enabled: true,
            requests: 10,
            refused: 7,
            in_flight: 2,
            ..ClientFacts::default()
        }],
        limits: vec![LimitFacts {
            name: "per-address".to_owned(),
            requests: 9,
            refused: 1,
            ..LimitFacts::default()
        }],
        talkers: vec![TalkerFacts {
            name: "192.0.2.1".to_owned(),
            share: 0.75,
            ..TalkerFacts::default()
        }],
        observed: vec![ReasonCount { code: "shed".to_owned(), count: 3 }],
        buffer_bytes: 4_096,
        shared: Some(SharedFacts {
            state: "shared".to_owned(),
            leased: 8,
            ..SharedFacts::default()
        }),
    }
}

fn gauges() -> Snapshot {
    let server = |address: &str, state: ServerState| ServerFacts {
        address: address.to_owned(),
        state,
        weight: 2,
        share_intended: 0.5,
        in_flight: 1,
        in_flight_max: Some(12),
        ewma_us: 1_500,
        ..ServerFacts::default()
    };
    let queue = QueueFacts {
        limit: Some(24),
        in_flight: 20,
        waiting: 3,
        waited: 4,
        wait_us: 2_500,
        class: Class::Normal,
        class_share: 0.25,
        ..QueueFacts::default()
    };
    Snapshot {
        at: "2026-01-02T03:04:05.678Z".to_owned(),
        admission: admission(),
        configuration: "v1".to_owned(),
        log_lines_lost: 9,
        routes: vec![RouteFacts { name: ROUTE.to_owned(), ..RouteFacts::default() }],
        pools: vec![PoolFacts {
            name: "web".to_owned(),
            queue,
            servers: vec![
                server("127.0.0.1:1", ServerState::Up),
                server("[::1]:2", ServerState::Ejected),
                server("127.0.0.1:3", ServerState::Unknown),
            ],
            ..PoolFacts::default()
        }],
        tried: vec![PoolFacts {
            name: "web".to_owned(),
            servers: vec![server("127.0.0.1:9", ServerState::Up)],
            ..PoolFacts::default()
        }],
        certificates: [CertificateFacts {
            owner: "listener".to_owned(),
            name: "web".to_owned(),
            kind: "certificate".to_owned(),
            file: "/etc/tidegate/web.pem".to_owned(),
            not_after_unix_s: Some(1_767_225_600),
            obtaining: Some(ObtainingFacts { failures: 2, ..ObtainingFacts::default() }),
            ..CertificateFacts::default()
        }]
        .into(),
        ..Snapshot::default()
    }
}

#[test]
fn a_second_of_facts_adds_up() {
    let registry = Arc::new(Registry::new(2));
    let mut collector = Collector::new(Arc::clone(&registry));
    assert_eq!(collector.collect(gauges()).pools[0].servers[0].share, None);
    let registry = busy();
    let mut collector_of_old = Collector::new(Arc::clone(&registry));
    // A collector made late does not tell the past as if it were this second.
    assert_eq!(collector_of_old.collect(gauges()).routes[0].requests, 0);

    let registry = Arc::new(Registry::new(2));
    let mut collector = Collector::new(Arc::clone(&registry));
    let (route, pool): (Name, Name) = (ROUTE.into(), "web".into());
    for second in 1..=3_u64 {
        let shard = registry.route(0, &route);
        for _ in 0..second {
            shard.begin();
            shard.begin();
            let sample = RequestSample {
                status: 404,
                duration: Duration::from_millis(10),
                bytes_in: 0,
                bytes_out: 0,
                reason: Some(Reason::NoServer),
            };
            shard.end(&sample);
        }
        for (worker, address, times) in
            [(0, "127.0.0.1:1", 2 * second), (1, "127.0.0.1:1", second), (1, "[::1]:2", second)]
        {
            let shard = registry.server(worker, &pool, address.parse().unwrap());
            (0..times).for_each(|_| shard.attempt(&attempt(None)));
        }
        registry.worker(1).connection_accepted();
        registry.worker(1).reason(Reason::BadHost);
        registry.worker(0).connection_refused(Reason::TooManyConnections);

        let snapshot = collector.collect(gauges());
        let facts = &snapshot.routes[0];
        assert_eq!((facts.requests, facts.by_class), (second, [0, 0, 0, second, 0]));
        assert_eq!(facts.in_flight, second * (second + 1) / 2);
        assert!(facts.p50_us.is_some_and(|p50| (9_375..=10_625).contains(&p50)), "{facts:?}");
        assert_eq!((snapshot.connections, snapshot.connections_accepted), (second, 1));
        let servers = &snapshot.pools[0].servers;
        assert_eq!(snapshot.pools[0].retries, 4 * second);
        assert_eq!(
            servers.iter().map(|s| (s.requests, s.share)).collect::<Vec<_>>(),
            [(3 * second, Some(0.75)), (second, Some(0.25)), (0, Some(0.0))]
        );
        assert_eq!(servers[0].weight, 2, "gauges stay as they came");
        assert_eq!((servers[2].p50_us, servers[2].p99_us), (None, None));
        let count = |code: &str, count| ReasonCount { code: code.to_owned(), count };
        assert_eq!(
            snapshot.reasons,
            [count("bad_host", 1), count("too_many_connections", 1), count("no_server", second)]
        );
    }
    assert!(collector.collect(gauges()).reasons.is_empty());
}

#[test]
fn every_metric_of_the_catalogue_is_on_the_page() {
    let registry = busy();
    let snapshot = Collector::new(Arc::clone(&registry)).collect(gauges());
    for (format, openmetrics) in
        [(ExpositionFormat::Prometheus, false), (ExpositionFormat::OpenMetrics, true)]
    {
        let page = exposition(&registry, &snapshot, format);
        let families = parse(&page, openmetrics).unwrap_or_else(|why| panic!("{why}\n{page}"));
        assert_eq!(families.len(), CATALOGUE.len());
        for metric in CATALOGUE {
            let name = if openmetrics { metric.name.to_owned() } else { metric.sample_name() };
            let family = families.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(!family.samples.is_empty(), "{name} has no sample");
            assert_eq!(family.help, metric.help);
            assert_eq!(family.unit.as_deref(), metric.unit.filter(|_| openmetrics));
            for sample in &family.samples {
                let labels: Vec<&str> = sample
                    .labels
                    .keys()
                    .map(String::as_str)
                    .filter(|label| *label != "le")
                    .collect();
                let mut expected = metric.labels.to_vec();
                expected.sort_unstable();
                assert_eq!(labels, expected, "{name}");
            }
        }
    }
}

/// Compares what a page says: a series by its name and labels, and its value.
fn on_page(text: &str) -> impl Fn(&str, &[(&str, &str)], f64) + use<> {
    let families = parse(text, false).expect("the page is well formed");
    move |name, labels, expected| {
        let family = families.values().flat_map(|family| &family.samples);
        let found: Vec<f64> = family
            .filter(|s| {
                s.name == name
                    && labels.iter().all(|(label, value)| {
                        s.labels.get(*label).map(String::as_str) == Some(*value)
                    })
            })
            .map(|s| s.value)
            .collect();
        assert_eq!(found, [expected], "{name} {labels:?}");
    }
}

#[test]
fn the_numbers_on_the_page_are_the_counts() {
    let registry = busy();
    let snapshot = Collector::new(Arc::clone(&registry)).collect(gauges());
    let check = on_page(&exposition(&registry, &snapshot, ExpositionFormat::Prometheus));
    let route = ("route", "a\"p\\i\n\\u{1b}[31m");
    check("tidegate_requests_total", &[route, ("status", "200")], 2.0);
    check("tidegate_requests_total", &[route, ("status", "other")], 2.0);
    check("tidegate_requests_total", &[("route", ""), ("status", "400")], 2.0);
    check("tidegate_answers_total", &[route, ("reason", "connect_failed")], 2.0);
    check("tidegate_answers_total", &[("route", ""), ("reason", "bad_host")], 2.0);
    check("http_server_active_requests", &[route], 2.0);
    check("http_server_request_duration_seconds_count", &[route, ("class", "5xx")], 4.0);
    check(
        "http_server_request_duration_seconds_bucket",
        &[route, ("class", "2xx"), ("le", "0.009765625")],
        0.0,
    );
    check(
        "http_server_request_duration_seconds_bucket",
        &[route, ("class", "2xx"), ("le", "0.025390625")],
        2.0,
    );
    check("http_server_request_duration_seconds_sum", &[route, ("class", "2xx")], 0.02);
    check("tidegate_request_body_bytes_total", &[route], 30.0);
    check("tidegate_connections", &[], 4.0);
    check("tidegate_connections_refused_total", &[("reason", "too_many_connections")], 2.0);
    check("tidegate_idle_connections_closed_total", &[("reason", "too_many_connections")], 2.0);
    check("tidegate_http2_connections_total", &[], 2.0);
    check("tidegate_http2_streams_total", &[], 2.0);
    check("tidegate_http2_floods_total", &[], 2.0);
    let errors = "tidegate_http2_errors_total";
    check(errors, &[("scope", "stream"), ("code", "protocol_error")], 2.0);
    check(errors, &[("scope", "connection"), ("code", "enhance_your_calm")], 2.0);
    check(errors, &[("scope", "connection"), ("code", "other")], 2.0);
    let compressed = "tidegate_compression_bytes_total";
    check(compressed, &[("coding", "br"), ("stage", "before")], 200.0);
    check(compressed, &[("coding", "br"), ("stage", "after")], 20.0);
    check("tidegate_server_requests_total", &[("pool", "web"), ("server", "127.0.0.1:1")], 4.0);
    check(
        "tidegate_server_failures_total",
        &[("server", "[::1]:2"), ("reason", "connect_failed")],
        2.0,
    );
    check("tidegate_server_state", &[("server", "[::1]:2"), ("state", "ejected")], 1.0);
    check("tidegate_server_state", &[("server", "[::1]:2"), ("state", "up")], 0.0);
    check("tidegate_server_share", &[("server", "[::1]:2"), ("kind", "intended")], 0.5);
    check("tidegate_server_ewma_seconds", &[("server", "127.0.0.1:1")], 0.0015);
    check("tidegate_server_weight", &[("server", "127.0.0.1:9")], 2.0);
    check("tidegate_access_log_lines_lost_total", &[], 9.0);
    check("tidegate_configuration_info", &[("version", "v1")], 1.0);
    check("tidegate_configuration_reloads_total", &[("result", "rejected")], 1.0);
    check("tidegate_admission_limit", &[("pool", "web")], 24.0);
    check("tidegate_admission_waited_total", &[("pool", "web")], 4.0);
    check("tidegate_admission_wait_seconds_total", &[("pool", "web")], 0.01);
    for (class, share) in [("critical", 1.0), ("important", 1.0), ("normal", 0.25), ("bulk", 0.0)] {
        check("tidegate_admission_let_in", &[("pool", "web"), ("class", class)], share);
    }
    check("tidegate_admission_refused_total", &[("reason", "shed")], 0.0);
    check("tidegate_admission_observed_total", &[("reason", "shed")], 3.0);
    check("tidegate_client_refused_total", &[("client", "partner")], 7.0);
    check("tidegate_limit_requests_total", &[("limit", "per-address")], 9.0);
    check("tidegate_talker_share", &[("rank", "1")], 0.75);
    check("tidegate_server_in_flight_max", &[("server", "[::1]:2")], 12.0);
    check("tidegate_quota_shared", &[], 1.0);
}

#[test]
fn refusals_and_waits_add_up_over_the_seconds() {
    let registry = Arc::new(Registry::new(1));
    let mut collector = Collector::new(Arc::clone(&registry));
    for second in 1..=3 {
        (0..second).for_each(|_| registry.worker(0).reason(Reason::RateLimited));
        registry.worker(0).reason(Reason::BadHost);
        let page =
            exposition(&registry, &collector.collect(gauges()), ExpositionFormat::Prometheus);
        let all = second * (second + 1) / 2;
        for line in [
            format!("tidegate_admission_refused_total{{reason=\"rate_limited\"}} {all}"),
            format!(
                "tidegate_admission_wait_seconds_total{{pool=\"web\"}} {}",
                0.01 * f64::from(second)
            ),
            format!("tidegate_client_requests_total{{client=\"partner\"}} {}", 10 * second),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("192.0.2.1"), "no name that a client chose is a label");
    }
}

#[test]
fn an_idle_door_has_a_well_formed_page() {
    let registry = Registry::new(1);
    for (format, openmetrics) in
        [(ExpositionFormat::Prometheus, false), (ExpositionFormat::OpenMetrics, true)]
    {
        let page = exposition(&registry, &Snapshot::default(), format);
        parse(&page, openmetrics).unwrap_or_else(|why| panic!("{why}\n{page}"));
    }
}

#[test]
fn the_parser_refuses_what_the_formats_forbid() {
    let refused =
        |page: &str, openmetrics: bool| assert!(parse(page, openmetrics).is_err(), "{page}");
    let head = "# HELP a help\n# TYPE a gauge\n";
    assert!(parse(&format!("{head}a{{b=\"c\\\"\\\\\\n\"}} 1\n"), false).is_ok());
    refused(&format!("{head}a 1"), false);
    refused(&format!("{head}a 1\na 1\n"), false);
    refused(&format!("{head}a 1\n"), true);
    refused(&format!("{head}a{{b=\"c\"\"}} 1\n"), false);
    refused(&format!("{head}a{{b=\"\\x\"}} 1\n"), false);
    refused(&format!("{head}a{{}} 1\n"), false);
    refused(&format!("{head}a one\n"), false);
    refused(&format!("{head}b 1\n"), false);
    refused(&format!("{head}a 1\n# HELP b c\n# TYPE b gauge\nb 1\n# HELP a d\n"), false);
    refused("a 1\n", false);
    refused("# HELP a h\n# TYPE a counter\na 1\n", false);
    refused("# HELP a h\n# TYPE a histogram\na_bucket{le=\"1.0\"} 1\na_sum 1\na_count 1\n", false);
}

#[test]
fn the_reference_page_is_the_catalogue() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/metrics.md");
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert_eq!(written, reference(), "run: cargo run -p telemetry --example generate");
    let histograms = CATALOGUE.iter().filter(|metric| metric.kind == Kind::Histogram).count();
    assert_eq!(written.matches("| histogram | seconds |").count(), histograms);
}
