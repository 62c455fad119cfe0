//! HAProxy as the front door of a drill, set up as its documentation advises.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::drill::{DoorBalance, DoorSetup};

use super::ask;
use super::look::Seen;
use super::plan::{FALL, Plan, RISE, Upstream, WORKERS};

/// Its configuration in the folder of the stage.
pub(super) const CONFIGURATION: &str = "haproxy.cfg";
/// The largest weight it takes.
const WEIGHT_MAX: u64 = 256;
/// Open files beyond which it would only prepare large tables for nothing.
const OPEN_FILES_MAX: u64 = 65_536;
/// For an answer of the statistics socket.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Its statistics socket.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("haproxy.sock")
}

/// The arguments that make it serve in the foreground, as a master with one worker.
pub(super) fn arguments(folder: &Path) -> Vec<String> {
    let configuration = folder.join(CONFIGURATION).display().to_string();
    ["-W", "-db", "-f", &configuration].map(str::to_owned).into()
}

/// The arguments that make it check a configuration.
pub(super) fn check_arguments(configuration: &Path) -> Vec<String> {
    ["-c", "-q", "-f", &configuration.display().to_string()].map(str::to_owned).into()
}

/// The whole configuration. With the guard off there are no checks, no second tries and no limits.
pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let mut text = format!(
        "global\n    description generation-{}\n    nbthread {WORKERS}\n    fd-hard-limit {}\n\
         \x20   hard-stop-after 10s\n    stats socket {} mode 600 level admin expose-fd listeners\n\
         defaults\n    mode http\n    timeout connect {}ms\n    timeout client 60s\n    timeout server {}ms\n\
         \x20   timeout http-request 10s\n    timeout http-keep-alive 60s\n    timeout queue {}ms\n\
         \x20   timeout check {}ms\n\
         frontend web\n    bind {} backlog 4096\n    option forwardfor\n{}    default_backend web\n\
         backend web\n{}{}",
        plan.generation,
        plan.open_files.min(OPEN_FILES_MAX),
        quoted(&socket(plan.folder).display().to_string()),
        plan.connect_timeout_ms(),
        plan.timeout_ms(),
        plan.timeout_ms(),
        plan.check_timeout_ms(),
        plan.listen,
        limits(plan),
        balance(&plan.setup.balance),
        protections(plan),
    );
    let upstreams = plan.upstreams();
    let largest = upstreams.iter().map(|upstream| u64::from(upstream.weight)).max().unwrap_or(0);
    for upstream in &upstreams {
        let Upstream { index, address, .. } = upstream;
        let weight = weight(u64::from(upstream.weight), largest);
        writeln!(text, "    server s{index} {address} weight {weight}")
            .expect("a string takes text");
    }
    text
}

/// The weight in its own range, with the same ratios as far as whole numbers allow.
fn weight(weight: u64, largest: u64) -> u64 {
    if largest <= WEIGHT_MAX || weight == 0 {
        return weight;
    }
    (weight * WEIGHT_MAX / largest).max(1)
}

fn balance(balance: &DoorBalance) -> String {
    match balance {
        DoorBalance::Default => "    balance leastconn\n".to_owned(),
        DoorBalance::RoundRobin => "    balance roundrobin\n".to_owned(),
        DoorBalance::HashPath => "    balance uri\n    hash-type consistent\n".to_owned(),
        DoorBalance::HashHeader(name) => {
            format!("    balance hdr({name})\n    hash-type consistent\n")
        }
    }
}

fn limits(plan: &Plan<'_>) -> String {
    let DoorSetup { client_rate_per_second: Some(rate), client_header, .. } = plan.setup else {
        return String::new();
    };
    if !plan.guard {
        return String::new();
    }
    let (key, of) = match client_header {
        Some(name) => ("string len 128", format!("req.hdr({name})")),
        None => ("ip", "src".to_owned()),
    };
    format!(
        "    stick-table type {key} size 100k expire 10s store http_req_rate(1s)\n\
         \x20   http-request track-sc0 {of}\n\
         \x20   http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {rate} }}\n"
    )
}

fn protections(plan: &Plan<'_>) -> String {
    if !plan.guard {
        return "    retries 0\n".to_owned();
    }
    let setup = plan.setup;
    let retries = setup.attempts.saturating_sub(1);
    let limit =
        setup.server_in_flight_max.map_or(String::new(), |limit| format!(" maxconn {limit}"));
    let mut text = format!(
        "    option httpchk\n    http-check send meth GET uri {} ver HTTP/1.1 hdr host localhost\n\
         \x20   http-check expect status 200-399\n    retries {retries}\n",
        quoted(&setup.check_path)
    );
    if retries > 0 {
        text.push_str(
            "    option redispatch 1\n\
             \x20   retry-on conn-failure empty-response junk-response response-timeout 500 502 503 504\n\
             \x20   http-request disable-l7-retry if !{ method GET HEAD OPTIONS PUT DELETE }\n",
        );
    }
    if matches!(setup.balance, DoorBalance::HashPath | DoorBalance::HashHeader(_)) {
        // As much over the mean as one server may get: the bound that tidegate has by default.
        text.push_str("    hash-balance-factor 125\n");
    }
    let interval = setup.check_interval.as_millis();
    writeln!(
        text,
        "    default-server check inter {interval}ms fall {FALL} rise {RISE} observe layer7{limit}"
    )
    .expect("a string takes text");
    text
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    format!("\"{escaped}\"")
}

/// Which generation of the configuration answers; `None`: nobody does.
pub(super) async fn generation(folder: &Path) -> Option<u64> {
    let answer = ask::socket(&socket(folder), "show info\n", ANSWER_TIMEOUT).await?;
    let line = answer.lines().find_map(|line| line.strip_prefix("description: generation-"))?;
    line.trim().parse().ok()
}

/// How it sees each of `count` servers.
pub(super) async fn look(folder: &Path, count: usize) -> Vec<Option<Seen>> {
    let answer = ask::socket(&socket(folder), "show stat\n", ANSWER_TIMEOUT).await;
    let answer = answer.unwrap_or_default();
    (0..count).map(|index| seen(&answer, index)).collect()
}

/// How it sees one server, by the table that `show stat` prints.
fn seen(table: &str, index: usize) -> Option<Seen> {
    let mut lines = table.lines();
    let header = lines.next()?;
    let column = header.split(',').position(|name| name == "status")?;
    let name = format!("s{index}");
    let row = lines.find(|line| {
        let mut cells = line.split(',');
        cells.next() == Some("web") && cells.next() == Some(name.as_str())
    })?;
    let state = row.split(',').nth(column)?;
    // `UP 1/3` is on its way down, `DOWN 1/2` on its way up.
    let wrong = state.starts_with("DOWN") || state.starts_with("NOLB") || state.starts_with("UP ");
    Some(Seen { state: state.to_owned(), wrong })
}

#[cfg(test)]
mod tests {
    use model::Name;

    use super::super::plan::tests::{check, planned, setup};
    use super::*;

    #[test]
    fn the_guard_is_checks_retries_and_limits() {
        let limited = DoorSetup {
            client_rate_per_second: Some(50),
            client_header: Some(Name::from("x-client")),
            server_in_flight_max: Some(9),
            attempts: 3,
            ..setup()
        };
        check(
            &planned(&limited, true, configuration),
            &[
                "description generation-7\n",
                "stats socket \"/tmp/a \\\"quoted\\\" folder/haproxy.sock\" mode",
                "track-sc0 req.hdr(x-client)\n",
                "deny deny_status 429 if { sc_http_req_rate(0) gt 50 }\n",
                "retries 2\n",
                "option redispatch 1\n",
                "uri \"/health\"",
                "default-server check inter 500ms fall 3 rise 2 observe layer7 maxconn 9\n",
                "server s0 127.0.0.1:3001 weight 1\n",
                "server s1 127.0.0.1:3002 weight 3\n",
            ],
            &["server s2"],
        );
        check(
            &planned(&limited, false, configuration),
            &["retries 0\n", "server s0 127.0.0.1:3001 weight 1\n"],
            &["check inter", "httpchk", "retry-on", "stick-table", "maxconn"],
        );
        let by_address = DoorSetup { client_rate_per_second: Some(5), ..setup() };
        check(&planned(&by_address, true, configuration), &["type ip ", "track-sc0 src\n"], &[]);
    }

    #[test]
    fn balances() {
        let with = |balance| planned(&DoorSetup { balance, ..setup() }, true, configuration);
        check(&with(DoorBalance::Default), &["balance leastconn\n"], &["hash-type"]);
        check(&with(DoorBalance::RoundRobin), &["balance roundrobin\n"], &["hash-type"]);
        check(&with(DoorBalance::HashPath), &["balance uri\n    hash-type consistent\n"], &[]);
        check(&with(DoorBalance::HashHeader(Name::from("x-a"))), &["balance hdr(x-a)\n"], &[]);
    }

    #[test]
    fn weights_fit_its_range() {
        assert_eq!([1, 256].map(|own| weight(own, 256)), [1, 256]);
        assert_eq!([0, 1, 500, 1_000].map(|own| weight(own, 1_000)), [0, 1, 128, 256]);
    }

    #[test]
    fn states_are_read_by_the_name_of_their_column() {
        let table = "# pxname,svname,qcur,status,weight\nweb,FRONTEND,,OPEN,\nweb,s0,0,UP,1\n\
                     web,s1,0,DOWN,1\nweb,s2,0,UP 2/3,1\nweb,s3,0,no check,1\nweb,BACKEND,0,UP,2\n";
        let states: Vec<_> =
            (0..5).map(|index| seen(table, index).map(|seen| (seen.state, seen.wrong))).collect();
        let state = |state: &str, wrong| Some((state.to_owned(), wrong));
        assert_eq!(
            states,
            [
                state("UP", false),
                state("DOWN", true),
                state("UP 2/3", true),
                state("no check", false),
                None
            ]
        );
        assert_eq!(seen("", 0), None);
    }
}
