//! The configuration of each door: the same work, each in the way its own manual advises.
//!
//! One worker, access log off, keep-alive to the server, no limit on requests per connection.
//! The peers run without health checks; Tidegate runs with everything it promises: metrics,
//! routing, p2c, health checks, timeouts.

use std::path::Path;

/// Addresses and files that a configuration names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    pub(super) folder: &'a Path,
    pub(super) plain_port: u16,
    pub(super) tls_port: u16,
    /// HTTP/2 without TLS, of the peers that have it apart.
    pub(super) http2_port: u16,
    /// gRPC without TLS, and with.
    pub(super) grpc_port: u16,
    pub(super) grpc_tls_port: u16,
    pub(super) backend_port: u16,
    pub(super) grpc_backend_port: u16,
}

/// The certificate's file name in the folder.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// The private key's.
pub(super) const KEY: &str = "key.pem";
/// Both in one file, as HAProxy wants them.
pub(super) const BOTH: &str = "both.pem";

pub(super) fn tidegate(places: Places<'_>) -> String {
    let Places { plain_port, tls_port, backend_port, .. } = places;
    let Places { http2_port, grpc_port, grpc_tls_port, grpc_backend_port, .. } = places;
    let folder = places.folder.display();
    format!(
        r#"[door]
workers = 1
state = false

[listen.web]
address = "127.0.0.1:{plain_port}"

[listen.secure]
address = "127.0.0.1:{tls_port}"
tls = {{ certificates = [{{ certificate = "{folder}/{CERTIFICATE}", key = "{folder}/{KEY}" }}] }}

[listen.http2]
address = "127.0.0.1:{http2_port}"

[listen.grpc]
address = "127.0.0.1:{grpc_port}"

[listen.grpc-secure]
address = "127.0.0.1:{grpc_tls_port}"
tls = {{ certificates = [{{ certificate = "{folder}/{CERTIFICATE}", key = "{folder}/{KEY}" }}] }}

[pools.api]
servers = ["127.0.0.1:{backend_port}"]
balance = "p2c"
check = {{ path = "/health", interval = "1s" }}

[pools.calls]
servers = ["127.0.0.1:{grpc_backend_port}"]
protocol = "http2"
balance = "p2c"
check = {{ tcp = true, interval = "1s" }}

[routes.api]
listen = ["web", "secure", "http2"]
path = "/"
pool = "api"

[routes.calls]
listen = ["grpc", "grpc-secure"]
path = "/"
pool = "calls"

[admin]
socket = "{folder}/admin.sock"

[[allow]]
rule = "single-server"
reason = "the door is measured, in front of one server that is never the limit"
"#
    )
}

pub(super) fn nginx(places: Places<'_>) -> String {
    let Places { plain_port, tls_port, backend_port, .. } = places;
    let Places { http2_port, grpc_port, grpc_tls_port, grpc_backend_port, .. } = places;
    let folder = places.folder.display();
    // Workers of a master that runs as root change to another user, who may not enter here.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        r#"{user}
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
    ssl_certificate {folder}/{CERTIFICATE};
    ssl_certificate_key {folder}/{KEY};
    ssl_protocols TLSv1.3;
    upstream api {{
        server 127.0.0.1:{backend_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    upstream calls {{
        server 127.0.0.1:{grpc_backend_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{grpc_port} http2 backlog=4096;
        listen 127.0.0.1:{grpc_tls_port} ssl http2 backlog=4096;
        location / {{ grpc_pass grpc://calls; }}
    }}
    server {{
        listen 127.0.0.1:{plain_port} backlog=4096;
        listen 127.0.0.1:{http2_port} http2 backlog=4096;
        listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
        location / {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"#
    )
}

pub(super) fn haproxy(places: Places<'_>) -> String {
    let Places { plain_port, tls_port, backend_port, .. } = places;
    let Places { http2_port, grpc_port, grpc_tls_port, grpc_backend_port, .. } = places;
    let folder = places.folder.display();
    format!(
        r"global
    maxconn 9000
    nbthread 1
defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 30s
    timeout http-keep-alive 60s
    http-reuse always
frontend web
    bind 127.0.0.1:{plain_port} backlog 4096
    bind 127.0.0.1:{http2_port} backlog 4096 proto h2
    bind 127.0.0.1:{tls_port} backlog 4096 ssl crt {folder}/{BOTH} ssl-min-ver TLSv1.3 alpn h2,http/1.1
    default_backend api
frontend calls
    bind 127.0.0.1:{grpc_port} backlog 4096 proto h2
    bind 127.0.0.1:{grpc_tls_port} backlog 4096 ssl crt {folder}/{BOTH} ssl-min-ver TLSv1.3 alpn h2
    default_backend calls
backend api
    server one 127.0.0.1:{backend_port}
backend calls
    server one 127.0.0.1:{grpc_backend_port} proto h2
"
    )
}

pub(super) fn envoy(places: Places<'_>) -> String {
    let listener = |name: &str, port: u16, transport: &str| {
        format!(
            r#"  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: api }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
{transport}"#
        )
    };
    let folder = places.folder.display();
    let tls = format!(
        r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - certificate_chain: {{ filename: {folder}/{CERTIFICATE} }}
              private_key: {{ filename: {folder}/{KEY} }}
"#
    );
    let plain = listener("web", places.plain_port, "");
    let secure = listener("secure", places.tls_port, &tls);
    let backend_port = places.backend_port;
    format!(
        r"static_resources:
  listeners:
{plain}{secure}  clusters:
  - name: api
    type: STATIC
    connect_timeout: 3s
    load_assignment:
      cluster_name: api
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend_port} }} }} }}
"
    )
}
