//! The configuration of each door. Limits by hand are the exact capacity of the servers when they
//! are as fast as they should be; Tidegate is told none of it.
//!
//! Two workers or threads each, access logs off, keep-alive to the servers.

use std::path::Path;

use super::app;
use super::door::Door;

/// What a configuration depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) servers: [u16; app::COUNT],
    /// Requests per second of all servers.
    pub(super) per_second: f64,
    /// Requests at once of one server.
    pub(super) at_once: u32,
    /// Whether more at once makes a server slower.
    pub(super) collapses: bool,
    /// By hand, each client is limited instead of all together: to this rate.
    pub(super) per_client: Option<u32>,
}

impl Setting {
    fn rate(&self) -> String {
        self.per_client.map_or_else(|| format!("{:.0}", self.per_second), |rate| rate.to_string())
    }
}

/// Addresses and files that a configuration names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    pub(super) folder: &'a Path,
    pub(super) port: u16,
    pub(super) setting: &'a Setting,
}

/// The header by which Tidegate is told what is critical, and its value.
pub(super) const CRITICAL: (&str, &str) = ("x-api-key", "of-the-shop");

/// `bare`: without the limit it finds, and round robin; everything else as by default.
pub(super) fn tidegate(places: &Places<'_>, bare: bool) -> String {
    let Places { folder, port, setting } = places;
    let [a, b] = setting.servers;
    let folder = folder.display();
    let bare = if bare { "adaptive = false\nbalance = \"round-robin\"\n" } else { "" };
    let (header, key) = CRITICAL;
    format!(
        r#"[door]
workers = 2
state = false

[admin]
socket = "{folder}/admin.sock"

[listen.web]
address = "127.0.0.1:{port}"

[pools.app]
servers = ["127.0.0.1:{a}", "127.0.0.1:{b}"]
check = {{ path = "/health" }}
{bare}
[routes.app]
path = "/"
pool = "app"

[clients.shop]
key = {{ header = "{header}", value = "{key}" }}
class = "critical"
"#
    )
}

pub(super) fn nginx(places: &Places<'_>, limits: bool) -> String {
    let Places { folder, port, setting } = places;
    let [a, b] = setting.servers;
    let folder = folder.display();
    // Workers of a master that runs as root change to another user, who may not enter here.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (zones, limits) = if limits { nginx_limits(setting) } else { Default::default() };
    format!(
        r#"{user}
worker_processes 2;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 18000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
{zones}    upstream app {{
        zone app 64k;
        server 127.0.0.1:{a} max_fails=0;
        server 127.0.0.1:{b} max_fails=0;
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
{limits}            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"#
    )
}

/// The zones, and what a location says of them.
fn nginx_limits(setting: &Setting) -> (String, String) {
    let (rate, key) = (setting.rate(), nginx_key(setting));
    let burst = if setting.per_client.is_some() { 5 } else { 10 };
    // What is best by hand: both servers full where more would take them past their knee, and as
    // many again on their way in or out where they queue by themselves.
    let at_once = if setting.collapses { 2 * setting.at_once } else { 4 * setting.at_once };
    (
        format!(
            "    limit_req_zone {key} zone=rate:4m rate={rate}r/s;\n    limit_conn_zone {key} zone=once:4m;\n"
        ),
        format!(
            "            limit_req zone=rate burst={burst} nodelay;\n            limit_conn once {at_once};\n            \
             limit_req_status 429;\n            limit_conn_status 429;\n"
        ),
    )
}

/// An empty value is not limited, so that `$server_name` would not do.
fn nginx_key(setting: &Setting) -> &'static str {
    if setting.per_client.is_some() { "$binary_remote_addr" } else { "$server_port" }
}

pub(super) fn haproxy(places: &Places<'_>, door: Door) -> String {
    let Places { port, setting, .. } = places;
    let [a, b] = setting.servers;
    let at_once = match (door, setting.per_client) {
        (Door::HaproxyLimits, _) => format!(" maxconn {}", setting.at_once),
        _ => String::new(),
    };
    let table = if door == Door::HaproxyTable || setting.per_client.is_some() {
        haproxy_table(setting)
    } else {
        String::new()
    };
    format!(
        r"global
    maxconn 9000
    nbthread 2
defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 30s
    timeout queue 100ms
    timeout http-keep-alive 60s
    http-reuse always
frontend web
    bind 127.0.0.1:{port} backlog 4096
{table}    default_backend app
backend app
    balance leastconn
    server a 127.0.0.1:{a}{at_once}
    server b 127.0.0.1:{b}{at_once}
backend counted
    stick-table type ip size 100k expire 10s store http_req_rate(1s)
"
    )
}

/// What was let in is counted, and nothing else: a client that floods still has its share.
fn haproxy_table(setting: &Setting) -> String {
    let key = if setting.per_client.is_some() { "src" } else { "dst" };
    let rate = setting.rate();
    format!(
        "    http-request deny deny_status 429 if {{ {key},table_http_req_rate(counted) ge {rate} }}\n\
         \x20   http-request track-sc0 {key} table counted\n"
    )
}

pub(super) fn envoy(places: &Places<'_>, door: Door) -> String {
    let Places { port, setting, .. } = places;
    let endpoint = |port: u16| {
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
        )
    };
    let endpoints: String = setting.servers.into_iter().map(endpoint).collect();
    let (filter, breaker) = if door == Door::EnvoyLimits {
        (envoy_rate_limit(setting), 2 * setting.at_once)
    } else if door == Door::EnvoyAdaptive {
        (ENVOY_ADAPTIVE.to_owned(), 20_000)
    } else {
        (String::new(), 20_000)
    };
    format!(
        r#"static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: app }} }}]
          http_filters:
{filter}          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 3s
    lb_policy: LEAST_REQUEST
    circuit_breakers:
      thresholds: [{{ max_connections: 20000, max_requests: {breaker}, max_pending_requests: {breaker} }}]
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{endpoints}"#
    )
}

/// Twenty times a second, a twentieth of a second's tokens.
fn envoy_rate_limit(setting: &Setting) -> String {
    let tokens = setting.per_second / 20.0;
    format!(
        r#"          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{ max_tokens: {tokens:.0}, tokens_per_fill: {tokens:.0}, fill_interval: 0.05s }}
              filter_enabled: {{ default_value: {{ numerator: 100, denominator: HUNDRED }} }}
              filter_enforced: {{ default_value: {{ numerator: 100, denominator: HUNDRED }} }}
"#
    )
}

const ENVOY_ADAPTIVE: &str = r#"          - name: envoy.filters.http.adaptive_concurrency
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency
              gradient_controller_config:
                sample_aggregate_percentile: { value: 90 }
                concurrency_limit_params: { concurrency_update_interval: 0.1s }
                min_rtt_calc_params: { jitter: { value: 10 }, interval: 60s, request_count: 50 }
              enabled: { default_value: true, runtime_key: "adaptive_concurrency.enabled" }
"#;
