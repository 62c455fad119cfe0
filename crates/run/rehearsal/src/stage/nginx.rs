//! nginx as the front door of a drill, set up as its documentation advises.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::drill::{DoorBalance, DoorSetup};

use super::ask;
use super::plan::{FALL, Plan, Upstream, WORKERS};

/// Its configuration in the folder of the stage.
pub(super) const CONFIGURATION: &str = "nginx.conf";
/// Connections of one worker process, at most.
const CONNECTIONS_MAX: u64 = 16_384;
/// For the answer of the socket that tells the generation.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Where a running nginx says which generation of its configuration is live.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("nginx.sock")
}

/// The arguments that make nginx serve in the foreground.
pub(super) fn arguments(folder: &Path) -> Vec<String> {
    with_configuration(folder, &folder.join(CONFIGURATION))
}

/// The arguments that make nginx check a configuration.
pub(super) fn check_arguments(folder: &Path, configuration: &Path) -> Vec<String> {
    let mut arguments = with_configuration(folder, configuration);
    arguments.extend(["-t".to_owned(), "-q".to_owned()]);
    arguments
}

fn with_configuration(folder: &Path, configuration: &Path) -> Vec<String> {
    // Without `-e` it opens a log in a system folder before it reads where the log is to be.
    let log = folder.join("nginx-error.log").display().to_string();
    let (folder, configuration) = (folder.display(), configuration.display());
    ["-p", &folder.to_string(), "-e", &log, "-c", &configuration.to_string()]
        .map(str::to_owned)
        .into()
}

/// The whole configuration. With the guard off it counts no failures, tries nothing twice and
/// limits nothing.
pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let path = |name: &str| quoted(&plan.path(name).display().to_string());
    let connections = plan.open_files.saturating_sub(64).clamp(128, CONNECTIONS_MAX);
    let user = if plan.root { "user root;\n" } else { "" };
    let (zone, limit) = limits(plan);
    let upstreams: Vec<String> =
        plan.upstreams().iter().map(|upstream| server(plan, upstream)).collect();
    let mut text = format!(
        "daemon off;\n{user}worker_processes {WORKERS};\nworker_rlimit_nofile {};\n\
         worker_shutdown_timeout 10s;\npid {};\nerror_log {} crit;\n\
         events {{\n    worker_connections {connections};\n}}\n\
         http {{\n    access_log off;\n    keepalive_timeout 60s;\n    keepalive_requests 100000;\n\
         \x20   client_max_body_size 100m;\n",
        plan.open_files,
        path("nginx.pid"),
        path("nginx-error.log"),
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "    {kind}_temp_path {};", path(&format!("nginx-{kind}")))
            .expect("a string takes text");
    }
    write!(
        text,
        "{zone}    upstream web {{\n        zone web 1m;\n{}{}        keepalive 64;\n\
         \x20       keepalive_requests 100000;\n    }}\n\
         \x20   server {{\n        listen {} backlog=4096;\n{limit}        location / {{\n\
         \x20           proxy_pass http://web;\n            proxy_http_version 1.1;\n\
         \x20           proxy_set_header Connection \"\";\n            proxy_set_header Host $host;\n\
         \x20           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         \x20           proxy_connect_timeout {}ms;\n            proxy_send_timeout {}ms;\n\
         \x20           proxy_read_timeout {}ms;\n{}        }}\n    }}\n\
         \x20   server {{\n        listen {};\n        location / {{\n            return 200 \"generation {}\\n\";\n        }}\n    }}\n}}\n",
        balance(&plan.setup.balance),
        upstreams.concat(),
        plan.listen,
        plan.connect_timeout_ms(),
        plan.timeout_ms(),
        plan.timeout_ms(),
        next_upstream(plan),
        quoted(&format!("unix:{}", socket(plan.folder).display())),
        plan.generation,
    )
    .expect("a string takes text");
    text
}

fn balance(balance: &DoorBalance) -> String {
    match balance {
        DoorBalance::Default => "        least_conn;\n".to_owned(),
        // Round robin is what it does without a word.
        DoorBalance::RoundRobin => String::new(),
        DoorBalance::HashPath => "        hash $uri consistent;\n".to_owned(),
        DoorBalance::HashHeader(name) => format!("        hash {} consistent;\n", variable(name)),
    }
}

fn server(plan: &Plan<'_>, upstream: &Upstream) -> String {
    let mut line = format!("        server {}", upstream.address);
    if upstream.weight == 0 {
        line.push_str(" down");
    } else {
        write!(line, " weight={}", upstream.weight).expect("a string takes text");
    }
    if plan.guard {
        write!(line, " max_fails={FALL} fail_timeout=10s").expect("a string takes text");
        if let Some(limit) = plan.setup.server_in_flight_max {
            write!(line, " max_conns={limit}").expect("a string takes text");
        }
    } else {
        line.push_str(" max_fails=0");
    }
    line + ";\n"
}

fn next_upstream(plan: &Plan<'_>) -> String {
    if !plan.guard || plan.setup.attempts <= 1 {
        // What counts as a failure of a server is said by the same directive.
        let failures = if plan.guard { FAILURES } else { "off" };
        return format!(
            "            proxy_next_upstream {failures};\n            proxy_next_upstream_tries 1;\n"
        );
    }
    format!(
        "            proxy_next_upstream {FAILURES};\n            proxy_next_upstream_tries {};\n",
        plan.setup.attempts
    )
}

/// The failures after which another server is tried.
const FAILURES: &str = "error timeout invalid_header http_500 http_502 http_503 http_504";

/// The zone that counts each client's requests, and the limit that uses it.
fn limits(plan: &Plan<'_>) -> (String, String) {
    let DoorSetup { client_rate_per_second: Some(rate), client_header, .. } = plan.setup else {
        return (String::new(), String::new());
    };
    if !plan.guard {
        return (String::new(), String::new());
    }
    let key =
        client_header.as_ref().map_or("$binary_remote_addr".to_owned(), |name| variable(name));
    // A zone must not change its key at a reload: another key is another zone.
    let zone = format!("clients_{}", key.trim_start_matches('$'));
    (
        format!(
            "    limit_req_zone {key} zone={zone}:10m rate={rate}r/s;\n    limit_req_status 429;\n"
        ),
        // A second's worth may come at once.
        format!("        limit_req zone={zone} burst={rate} nodelay;\n"),
    )
}

/// The variable that holds a request header.
fn variable(header: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }
    };
    format!("$http_{}", header.chars().map(letter).collect::<String>())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Which generation of the configuration answers; `None`: nobody does.
pub(super) async fn generation(folder: &Path) -> Option<u64> {
    let request = "GET / HTTP/1.0\r\nHost: stage\r\n\r\n";
    let answer = ask::socket(&socket(folder), request, ANSWER_TIMEOUT).await?;
    answer.lines().last()?.strip_prefix("generation ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use model::Name;

    use super::super::plan::tests::{check, planned, setup};
    use super::*;

    #[test]
    fn the_guard_counts_failures_tries_again_and_limits() {
        let limited = DoorSetup {
            client_rate_per_second: Some(50),
            client_header: Some(Name::from("X-Client-Key")),
            server_in_flight_max: Some(9),
            attempts: 3,
            ..setup()
        };
        check(
            &planned(&limited, true, configuration),
            &[
                "pid \"/tmp/a \\\"quoted\\\" folder/nginx.pid\";\n",
                "least_conn;\n",
                "server 127.0.0.1:3001 weight=1 max_fails=3 fail_timeout=10s max_conns=9;\n",
                "server 127.0.0.1:3002 weight=3 max_fails=3",
                "limit_req_zone $http_x_client_key zone=clients_http_x_client_key:10m rate=50r/s;\n",
                "limit_req zone=clients_http_x_client_key burst=50 nodelay;\n",
                "limit_req_status 429;\n",
                "proxy_next_upstream_tries 3;\n",
                "proxy_read_timeout 2000ms;\n",
                "return 200 \"generation 7\\n\";\n",
            ],
            &["127.0.0.1:3003", "user root"],
        );
        check(
            &planned(&limited, false, configuration),
            &["server 127.0.0.1:3001 weight=1 max_fails=0;\n", "proxy_next_upstream off;\n"],
            &["limit_req", "max_conns", "fail_timeout"],
        );
        let by_address = DoorSetup { client_rate_per_second: Some(5), ..setup() };
        check(
            &planned(&by_address, true, configuration),
            &[
                "limit_req_zone $binary_remote_addr zone=clients_binary_remote_addr:10m rate=5r/s;\n",
            ],
            &[],
        );
    }

    #[test]
    fn balances_and_weights() {
        let with = |balance| planned(&DoorSetup { balance, ..setup() }, true, configuration);
        check(&with(DoorBalance::RoundRobin), &[], &["least_conn", "hash "]);
        check(&with(DoorBalance::HashPath), &["hash $uri consistent;\n"], &["least_conn"]);
        check(
            &with(DoorBalance::HashHeader(Name::from("X-Tenant"))),
            &["hash $http_x_tenant consistent;\n"],
            &[],
        );
        let none = DoorSetup { weights: vec![(Name::from("two"), 0)], ..setup() };
        check(&planned(&none, true, configuration), &["server 127.0.0.1:3002 down "], &["3001"]);
    }
}
