//! Every field of a configuration is told when it alone differs.
//!
//! That a new field is not forgotten the compiler sees to: structures are taken apart whole.

use std::time::Duration;

use model::capacity::Capacity;
use model::configuration::{
    AccessLog, AccessLogFormat, AccessLogTarget, AdminTcp, Allowance, Balance, CertificateFiles,
    Check, CheckKind, FlowKey, HeaderMatch, ListenerTls, PathPart, PoolTls, Rewrite, Rollback,
    SharedQuotas, State, TlsVersion,
};

use super::*;

type Change = fn(&mut Configuration);

/// A configuration in which everything that may be absent is there.
fn whole() -> Configuration {
    changed(|to| {
        to.door.state = Some(State { folder: "/state".into(), required: true });
        let files =
            CertificateFiles { certificate: "/cert".into(), key: "/key".into(), ocsp: None };
        to.listeners[0].tls = Some(ListenerTls {
            certificates: vec![files],
            version_min: TlsVersion::Tls12,
            strict_sni: false,
            clients: None,
            acme: None,
        });
        let api = &mut to.pools[0];
        api.check = Some(Check {
            kind: CheckKind::Http { path: "/up".into(), host: None, status: vec![], body: None },
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
        });
        api.tls = Some(PoolTls { server_name: None, roots: None, verify: true, certificate: None });
        to.clients = vec![client("partner")];
        to.clients[0].identities[0] =
            Identity::Header { name: "x-api-key".into(), sha256: [8; 32] };
        to.limits = vec![limit("all", 100)];
        to.admission.shared = Some(SharedQuotas {
            url: "redis://:secret@cache".into(),
            name: "edge".into(),
            timeout: Duration::from_millis(100),
        });
        to.admin.tcp = Some(AdminTcp { address: address(9), token_file: "/token".into() });
        let (target, format) = (AccessLogTarget::Stdout, AccessLogFormat::Json);
        to.telemetry.access_log = Some(AccessLog { target, format });
    })
}

/// Each of these changes must be told in exactly one line.
fn check(changes: &[Change]) {
    for (number, change) in changes.iter().enumerate() {
        let mut to = whole();
        change(&mut to);
        assert_ne!(whole(), to, "change {number} changes nothing");
        let lines = crate::difference(&whole(), &to);
        assert_eq!(lines.len(), 1, "change {number}: {lines:?}");
    }
}

#[test]
fn of_pools() {
    const HOUR: Duration = Duration::from_secs(3_600);
    check(&[
        |to| to.pools[0].servers[0].zone = Some("a".into()),
        |to| to.pools[0].balance = Balance::Random,
        |to| to.pools[0].zone = Some("a".into()),
        |to| to.pools[0].timeouts.connect = HOUR,
        |to| to.pools[0].timeouts.first_byte = HOUR,
        |to| to.pools[0].timeouts.progress = HOUR,
        |to| to.pools[0].timeouts.total = Some(HOUR),
        |to| to.pools[0].timeouts.idle = HOUR,
        |to| to.pools[0].timeouts.tunnel_idle = HOUR,
        |to| to.pools[0].retries.attempts_max = 5,
        |to| to.pools[0].retries.budget = 1.0,
        |to| to.pools[0].retries.budget_min_per_second = 99,
        |to| to.pools[0].retries.on_status = true,
        |to| to.pools[0].ejection.failures = 1,
        |to| to.pools[0].ejection.pause = HOUR,
        |to| to.pools[0].ejection.pause_max = HOUR,
        |to| to.pools[0].ejection.share_max = 1.0,
        |to| to.pools[0].slow_start = HOUR,
        |to| to.pools[0].in_flight_max = 100,
        |to| to.pools[0].idle_max = 1,
        |to| to.pools[0].resolve = HOUR,
        |to| to.pools[0].peak_per_second = Some(1.0),
        |to| to.pools[0].capacity = Some(capacity()),
        |to| to.pools[0].check = None,
        |to| to.pools[0].check.as_mut().unwrap().kind = CheckKind::Tcp,
        |to| to.pools[0].check.as_mut().unwrap().interval = HOUR,
        |to| to.pools[0].check.as_mut().unwrap().timeout = HOUR,
        |to| to.pools[0].check.as_mut().unwrap().fall = 9,
        |to| to.pools[0].check.as_mut().unwrap().rise = 9,
        |to| to.pools[0].tls = None,
        |to| to.pools[0].tls.as_mut().unwrap().server_name = Some("a".into()),
        |to| to.pools[0].tls.as_mut().unwrap().roots = Some("/roots".into()),
        |to| to.pools[0].tls.as_mut().unwrap().verify = false,
    ]);
}

fn capacity() -> Capacity {
    Capacity {
        url: "http://10.0.0.1/".into(),
        pool: None,
        measured_at: "2026-01-01T00:00:00Z".into(),
        per_second: 500.0,
        low_per_second: 480.0,
        high_per_second: 520.0,
        p99_ms_max: 200.0,
        failed_share_max: 0.0,
        bound_by: "latency".into(),
        usl: None,
    }
}

#[test]
fn of_routes_and_listeners() {
    const HOUR: Duration = Duration::from_secs(3_600);
    check(&[
        |to| to.routes[0].listeners = vec!["web".into()],
        |to| to.routes[0].priority = 1,
        |to| to.routes[0].path = PathPattern::Exact("/api".into()),
        |to| to.routes[0].path = PathPattern::Start("/api".into()),
        |to| to.routes[0].path = PathPattern::Regex("/api".into()),
        |to| {
            let rewrite = Some(Rewrite::Path(vec![PathPart::Group(1)]));
            to.routes[0].action = Action::Forward { pool: 0, rewrite };
        },
        |to| to.routes[0].methods = vec!["GET".into()],
        |to| to.routes[0].headers = vec![HeaderMatch { name: "a".into(), value: None }],
        |to| to.routes[0].body_bytes_max = Some(1),
        |to| to.routes[0].total_timeout = Some(HOUR),
        |to| to.listeners[0].address = address(8),
        |to| to.listeners[0].tls = None,
        |to| to.listeners[0].tls.as_mut().unwrap().certificates.clear(),
        |to| to.listeners[0].tls.as_mut().unwrap().version_min = TlsVersion::Tls13,
        |to| to.listeners[0].tls.as_mut().unwrap().strict_sni = true,
        |to| to.listeners[0].trusted_proxies.push(address(8).ip().into()),
        |to| to.listeners[0].forwarded = ForwardedStyle::Off,
        |to| to.listeners[0].limits.head_bytes_max = 1,
        |to| to.listeners[0].limits.headers_max = 1,
        |to| to.listeners[0].limits.target_bytes_max = 1,
        |to| to.listeners[0].limits.body_bytes_max = 1,
        |to| to.listeners[0].limits.connections_max = 1,
        |to| to.listeners[0].limits.connections_per_address_max = 1,
        |to| to.listeners[0].timeouts.handshake = HOUR,
        |to| to.listeners[0].timeouts.head = HOUR,
        |to| to.listeners[0].timeouts.body = HOUR,
        |to| to.listeners[0].timeouts.keep_alive = HOUR,
        |to| to.listeners[0].errors = ErrorFormat::Text,
        |to| to.listeners.clear(),
    ]);
}

#[test]
fn of_admission() {
    const HOUR: Duration = Duration::from_secs(3_600);
    check(&[
        |to| to.pools[0].admission.adaptive = false,
        |to| to.pools[0].admission.wait_max = HOUR,
        |to| to.pools[0].admission.burst_wait_max = HOUR,
        |to| to.routes[0].class = Some(Class::Critical),
        |to| to.routes[0].class = Some(Class::Normal),
        |to| to.admission.observe = true,
        |to| to.admission.keys_max = 1_000,
        |to| to.admission.flow = FlowKey::Header("x-tenant".into()),
        |to| to.admission.unknown_rate = Some(Rate { count: 1, per: HOUR }),
        |to| to.admission.unknown_in_flight_max = Some(1),
        |to| to.admission.demote_above = 0.0,
        |to| to.admission.retry_share = 0.0,
        |to| to.admission.retry_header = "x-try".into(),
        |to| to.admission.buffer_bytes_max = 1,
        |to| to.admission.shared = None,
        |to| to.admission.shared.as_mut().unwrap().url = "redis://:other@cache".into(),
        |to| to.admission.shared.as_mut().unwrap().timeout = HOUR,
        |to| to.clients.clear(),
        |to| to.clients.push(client("other")),
        |to| to.clients[0].identities.clear(),
        |to| to.clients[0].identities[0] = client("other").identities[0].clone(),
        |to| to.clients[0].rate = None,
        |to| to.clients[0].burst = 7,
        |to| {
            to.clients[0].rate = Some(Rate { count: 60, per: HOUR });
            to.clients[0].burst = 1;
        },
        |to| to.clients[0].in_flight_max = None,
        |to| to.clients[0].class = Class::Bulk,
        |to| to.clients[0].routes = vec!["api".into()],
        |to| to.clients[0].enabled = false,
        |to| to.clients[0].shared = true,
        |to| to.clients[0].headers = true,
        |to| to.limits.clear(),
        |to| to.limits.push(limit("other", 1)),
        |to| to.limits[0].by = LimitKey::All,
        |to| to.limits[0].rate.per = HOUR,
        |to| to.limits[0].burst = 7,
        |to| to.limits[0].routes = vec!["api".into()],
        |to| to.limits[0].observe = true,
        |to| to.limits[0].headers = true,
        |to| to.limits[0].shared = true,
    ]);
}

#[test]
fn of_the_door() {
    const HOUR: Duration = Duration::from_secs(3_600);
    check(&[
        |to| to.door.workers = 9,
        |to| to.door.drain = HOUR,
        |to| to.door.connections_max = 1,
        |to| to.door.state = None,
        |to| to.door.state.as_mut().unwrap().required = false,
        |to| to.admin.socket = Some("/socket".into()),
        |to| to.admin.tcp = None,
        |to| to.admin.tcp.as_mut().unwrap().token_file = "/other".into(),
        |to| to.telemetry.access_log = None,
        |to| to.telemetry.access_log.as_mut().unwrap().format = AccessLogFormat::Ecs,
        |to| to.invariants.share_max = 0.5,
        |to| to.invariants.eligible_min = 2,
        |to| to.invariants.keep_routes = true,
        |to| to.invariants.limit_drop_max = 0.5,
        |to| to.changes.watch = HOUR,
        |to| to.changes.rollback = Rollback::Observe,
        |to| to.changes.move_max = 1.0,
        |to| to.changes.requests_min = 1,
        |to| to.changes.history_max = 10,
        |to| {
            let (rule, reason) = ("single-server".into(), "why".into());
            to.allowances.push(Allowance { rule, at: None, reason });
        },
    ]);
}
