//! The directives of nginx and its standard modules, by name, each with what becomes of it.
//!
//! Directives that need thought are read by code; the others are refused or ignored whatever
//! their arguments, for the reason of their group. Refused is what changes who may enter, where a
//! request goes or what a client gets; ignored is what tunes nginx itself, or changes headers and
//! pages only a little.
//! Invariant: a name stands in one group only.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Code decides.
    Code,
    /// Refused wherever it stands, for this reason.
    Refused(&'static str),
    /// Ignored wherever it stands, because of this.
    Ignored(&'static str),
}

/// What is known of a name; `None` for a name that is not of nginx.
pub(super) fn known(name: &str) -> Option<Known> {
    static TABLE: LazyLock<BTreeMap<&str, Known>> = LazyLock::new(|| {
        let groups = GROUPS.iter();
        let pairs = groups
            .flat_map(|(known, names)| names.split_ascii_whitespace().map(|name| (name, *known)));
        pairs.collect()
    });
    TABLE.get(name).copied()
}

/// The module a name is of, when it is of one that many add to nginx.
pub(super) fn foreign_module(name: &str) -> Option<&'static str> {
    let by_prefix = MODULES.iter().find(|(prefix, _)| name.starts_with(prefix));
    let is_lua = name.contains("_by_lua");
    by_prefix.map(|(_, module)| *module).or(is_lua.then_some("lua-nginx-module"))
}

const MODULES: &[(&str, &str)] = &[
    ("brotli", "ngx_brotli"),
    ("echo", "echo-nginx-module"),
    ("fancyindex", "ngx-fancyindex"),
    ("geoip2", "ngx_http_geoip2_module"),
    ("lua_", "lua-nginx-module"),
    ("modsecurity", "ModSecurity-nginx"),
    ("more_", "headers-more-nginx-module"),
    ("pagespeed", "ngx_pagespeed"),
    ("passenger", "Passenger"),
    ("push_stream", "nginx-push-stream-module"),
    ("rtmp", "nginx-rtmp-module"),
    ("vhost_traffic_status", "nginx-module-vts"),
    ("zstd", "zstd-nginx-module"),
];

const REDIRECTS: Known = Known::Ignored("the door's redirects have the location that is written");
const PROCESS: Known =
    Known::Ignored("the process is run by the service manager, and its workers tune themselves");
const LOGS: Known = Known::Ignored(
    "logs are the door's own: `[telemetry] access_log`, and messages on standard error",
);
const SCRIPT: Known =
    Known::Refused("the door runs no scripts, copies no requests and changes no bodies");
const HEADERS: Known = Known::Ignored(
    "ranges, conditions and framing are the servers', and the door follows no `X-Accel` header",
);
const COOKIES: Known =
    Known::Refused("the door sets and removes whole header fields: it rewrites no part of a value");
const TRAILERS: Known = Known::Refused("the door adds no trailers");
const BUFFERS: Known =
    Known::Ignored("the door sizes and reuses its buffers and sockets by itself");
const FILES: Known =
    Known::Refused("the door serves no files: put a file server behind it and name it as a pool");
const PLUS: Known =
    Known::Refused("it is of a commercial part of nginx that has no counterpart here");
const ACCESS: Known =
    Known::Refused("the door cannot check this: do it in front of it, or in the server");
const TOKENS: Known = Known::Refused(
    "of tokens the door asks for a signature, by keys in a file, and for claims: write those into \
     `jwt_auth` of the route",
);
const GUARD_TUNING: Known = Known::Ignored(
    "the door follows chains of certificates by itself, holds who guesses passwords to a rate, and \
     reads keys of tokens when it starts",
);
const STREAM: Known =
    Known::Refused("it belongs to mail, or to `stream`, where the door does not do this");
const SCRIPT_TUNING: Known =
    Known::Ignored("it tunes changes of bodies, and the door changes none");
const ERROR_PAGES: Known = Known::Ignored(
    "the door's own errors are problem+json or text, and the servers' are passed on",
);
const GATEWAY_TUNING: Known = Known::Ignored(
    "it tunes a protocol the door does not speak; the `_pass` it belongs to is refused",
);
const GATEWAY: Known =
    Known::Refused("the door speaks HTTP to its servers, not FastCGI, uwsgi, SCGI or memcached");
const VARIABLES: Known = Known::Ignored(
    "the door has no variables; where one is needed, the directive that uses it is refused",
);
const COMPRESSION: Known =
    Known::Ignored("it tunes how nginx compresses; what servers compressed is passed on as it is");
const HTTP2: Known = Known::Ignored(
    "the door bounds by itself what a connection of HTTP/2 may take, and pushes nothing",
);
const HTTP3: Known =
    Known::Ignored("the door speaks no HTTP/3; clients fall back to TCP by themselves");
const HEADS: Known = Known::Ignored(
    "the door reads heads strictly: what two programs could read differently is refused",
);
const LIMITS: Known = Known::Refused("the door limits rates of requests, not of bytes");
const LIMITS_TUNING: Known = Known::Ignored(
    "the door logs by itself, and answers with 429, or 503 to a connection, and Retry-After",
);
const POOL: Known = Known::Refused("the door has no such way to choose or to wait for a server");
const CACHE: Known = Known::Ignored("the door keeps no cache: every request goes to a server");
const PROXY_BUFFERS: Known =
    Known::Ignored("the door streams both ways with small buffers of its own");
const PROXY_MISC: Known =
    Known::Ignored("the door has one time for each attempt's steps, in `timeouts` of the pool");
const ERRORS: Known = Known::Refused("the door passes the servers' error pages on");
const PROXY_REQUEST: Known = Known::Refused("the door forwards method and body as they came");
const PROXY_CERT: Known =
    Known::Refused("the door reads no revocation lists of servers, and no keys with passwords");
const PROXY_TLS: Known = Known::Ignored(
    "the door speaks TLS 1.2 and 1.3 to servers, with safe ciphers, and resumes sessions by itself",
);
const NAMES: Known =
    Known::Ignored("the door resolves names again by itself, by their time to live");
const TLS: Known = Known::Ignored(
    "the door chooses ciphers, sessions and stapling by itself, for TLS 1.2 and 1.3",
);
const TLS_REFUSED: Known =
    Known::Refused("the door has neither this kind of key nor this kind of refusal");

const GROUPS: &[(Known, &str)] = &[
    (
        REDIRECTS,
        "\
         absolute_redirect port_in_redirect server_name_in_redirect",
    ),
    (
        PROCESS,
        "\
         accept_mutex accept_mutex_delay daemon debug_connection debug_points debug_random \
         devpoll_changes devpoll_events env epoll_events eventport_events \
         google_perftools_profiles kqueue_changes kqueue_events load_module lock_file \
         master_process multi_accept pcre_jit pid rtsig_overflow_events rtsig_overflow_test \
         rtsig_overflow_threshold rtsig_signo thread_pool thread_stack_size timer_resolution use \
         user worker_aio_requests worker_connections worker_cpu_affinity worker_priority \
         worker_rlimit_core worker_rlimit_nofile worker_shutdown_timeout worker_threads \
         working_directory",
    ),
    (
        LOGS,
        "\
         access_log error_log log_format log_not_found log_subrequest open_log_file_cache \
         rewrite_log session_log session_log_format session_log_zone status_format \
         uninitialized_variable_warn",
    ),
    (
        SCRIPT,
        "\
         add_after_body add_before_body addition_types js_access js_body_filter js_content \
         js_context_reuse js_engine js_fetch_buffer_size js_fetch_ciphers js_fetch_keepalive \
         js_fetch_max_response_buffer_size js_fetch_protocols js_fetch_proxy js_fetch_timeout \
         js_fetch_trusted_certificate js_fetch_verify js_fetch_verify_depth js_filter \
         js_header_filter js_import js_include js_load_http_native_module \
         js_load_stream_native_module js_path js_periodic js_preload_object js_preread js_set \
         js_shared_dict_zone js_var mirror perl perl_modules perl_require perl_set ssi sub_filter",
    ),
    (
        HEADERS,
        "\
         ancient_browser \
         ancient_browser_value chunked_transfer_encoding early_hints etag \
         grpc_ignore_headers if_modified_since max_ranges modern_browser modern_browser_value \
         msie_padding msie_refresh proxy_force_ranges proxy_ignore_headers proxy_pass_trailers \
         server_tokens userid userid_domain userid_expires userid_flags userid_mark userid_name \
         userid_p3p userid_path userid_service",
    ),
    (
        COOKIES,
        "\
         add_header_inherit proxy_cookie_domain proxy_cookie_flags proxy_cookie_path",
    ),
    (
        TRAILERS,
        "\
         add_trailer add_trailer_inherit",
    ),
    (
        BUFFERS,
        "\
         aio aio_write client_body_buffer_size client_body_in_file_only \
         client_body_in_single_buffer client_body_temp_path client_header_buffer_size \
         connection_pool_size degradation degrade directio directio_alignment disable_symlinks \
         internal_redirect keepalive_disable keepalive_min_timeout keepalive_requests \
         keepalive_time lingering_close lingering_time lingering_timeout map_hash_bucket_size \
         map_hash_max_size max_headers optimize_server_names output_buffers post_accept_timeout \
         postpone_output read_ahead referer_hash_bucket_size referer_hash_max_size \
         request_pool_size reset_timedout_connection send_lowat sendfile sendfile_max_chunk \
         server_names_hash_bucket_size server_names_hash_max_size subrequest_output_buffer_size \
         tcp_nodelay tcp_nopush types_hash_bucket_size types_hash_max_size \
         variables_hash_bucket_size variables_hash_max_size",
    ),
    (
        FILES,
        "\
         alias autoindex autoindex_exact_size autoindex_format autoindex_localtime \
         create_full_put_path dav_access dav_methods empty_gif f4f f4f_buffer_size flv \
         brotli_static gzip_static zstd_static hls hls_buffers hls_forward_args hls_fragment hls_mp4_buffer_size \
         hls_mp4_max_buffer_size image_filter image_filter_buffer image_filter_interlace \
         image_filter_jpeg_quality image_filter_sharpen image_filter_transparency \
         image_filter_webp_quality index min_delete_depth mp4 mp4_buffer_size mp4_limit_rate \
         mp4_limit_rate_after mp4_max_buffer_size random_index root slice xml_entities \
         xslt_last_modified xslt_param xslt_string_param xslt_stylesheet xslt_types",
    ),
    (
        Known::Code,
        "\
         add_header auth_basic_user_file auth_request_set brotli brotli_comp_level \
         brotli_min_length brotli_types brotli_proxied brotli_vary expires \
         grpc_hide_header grpc_pass_header grpc_ssl_certificate grpc_ssl_certificate_key \
         proxy_ssl_certificate proxy_ssl_certificate_key \
         gzip gzip_comp_level gzip_min_length gzip_proxied gzip_types gzip_vary \
         proxy_hide_header proxy_pass_header proxy_pass_request_body proxy_pass_request_headers \
         ssl_client_certificate ssl_crl \
         zstd zstd_comp_level zstd_min_length zstd_types zstd_proxied zstd_vary \
         grpc_connect_timeout grpc_next_upstream grpc_next_upstream_tries grpc_pass \
         grpc_read_timeout grpc_set_header grpc_ssl_name grpc_ssl_server_name \
         grpc_ssl_trusted_certificate grpc_ssl_verify \
         auth_jwt_key_file auth_jwt_type more_clear_headers more_clear_input_headers more_set_headers \
         more_set_input_headers \
         allow auth_basic auth_jwt auth_request break client_body_timeout client_header_timeout \
         client_max_body_size default_type deny events hash http http2 http2_max_concurrent_streams \
         if include internal ip_hash \
         keepalive keepalive_timeout large_client_header_buffers least_conn least_time \
         limit_conn limit_conn_zone limit_except limit_req limit_req_dry_run limit_req_zone listen location mail map \
         merge_slashes proxy_connect_timeout proxy_http_version proxy_next_upstream proxy_next_upstream_tries proxy_pass \
         proxy_read_timeout proxy_redirect proxy_set_header proxy_ssl_name proxy_ssl_server_name \
         proxy_ssl_trusted_certificate proxy_ssl_verify random real_ip_header real_ip_recursive \
         return rewrite satisfy send_timeout server server_name set set_real_ip_from ssl \
         ssl_certificate ssl_certificate_key ssl_protocols ssl_verify_client stream stub_status \
         try_files types upstream worker_processes zone",
    ),
    (
        PLUS,
        "\
         api deployment_context enforce_initial_report health_check health_check_timeout \
         license_token match max_errors mgmt otel_exporter otel_resource_attr otel_service_name \
         otel_span_attr otel_span_name otel_trace otel_trace_context status status_zone \
         upstream_conf uuid_file zone_sync zone_sync_buffers zone_sync_connect_retry_interval \
         zone_sync_connect_timeout zone_sync_interval zone_sync_recv_buffer_size zone_sync_server \
         zone_sync_ssl zone_sync_ssl_certificate zone_sync_ssl_certificate_key \
         zone_sync_ssl_ciphers zone_sync_ssl_conf_command zone_sync_ssl_crl zone_sync_ssl_name \
         zone_sync_ssl_password_file zone_sync_ssl_protocols zone_sync_ssl_server_name \
         zone_sync_ssl_trusted_certificate zone_sync_ssl_verify zone_sync_ssl_verify_depth \
         zone_sync_timeout",
    ),
    (
        ACCESS,
        "\
         satisfy_any secure_link secure_link_md5 \
         secure_link_secret ssl_ocsp ssl_ocsp_cache \
         ssl_ocsp_responder valid_referers",
    ),
    (
        TOKENS,
        "\
         auth_jwt_claim_set auth_jwt_header_set auth_jwt_key_request auth_jwt_require",
    ),
    (
        GUARD_TUNING,
        "\
         auth_delay auth_jwt_key_cache auth_jwt_leeway ssl_trusted_certificate ssl_verify_depth",
    ),
    (
        STREAM,
        "\
         auth_http auth_http_header auth_http_pass_client_cert auth_http_timeout imap_auth \
         imap_capabilities imap_client_buffer pop3_auth pop3_capabilities preread_buffer_size \
         preread_timeout protocol proxy_download_rate proxy_half_close proxy_pass_error_message \
         proxy_protocol proxy_protocol_timeout proxy_requests proxy_responses proxy_session_drop \
         proxy_smtp_auth proxy_ssl proxy_timeout proxy_upload_rate smtp_auth smtp_capabilities \
         smtp_client_buffer smtp_greeting_delay starttls timeout xclient",
    ),
    (
        SCRIPT_TUNING,
        "\
         charset charset_map charset_types mirror_request_body override_charset source_charset \
         ssi_last_modified ssi_min_file_chunk ssi_silent_errors ssi_types ssi_value_length \
         sub_filter_last_modified sub_filter_once sub_filter_types",
    ),
    (
        ERROR_PAGES,
        "\
         error_page recursive_error_pages",
    ),
    (
        GATEWAY_TUNING,
        "\
         fastcgi_bind fastcgi_buffer_size fastcgi_buffering fastcgi_buffers \
         fastcgi_busy_buffers_size fastcgi_cache fastcgi_cache_background_update \
         fastcgi_cache_bypass fastcgi_cache_key fastcgi_cache_lock fastcgi_cache_lock_age \
         fastcgi_cache_lock_timeout fastcgi_cache_max_range_offset fastcgi_cache_methods \
         fastcgi_cache_min_uses fastcgi_cache_path fastcgi_cache_purge fastcgi_cache_revalidate \
         fastcgi_cache_use_stale fastcgi_cache_valid fastcgi_catch_stderr fastcgi_connect_timeout \
         fastcgi_force_ranges fastcgi_hide_header fastcgi_ignore_client_abort \
         fastcgi_ignore_headers fastcgi_index fastcgi_intercept_errors fastcgi_keep_conn \
         fastcgi_limit_rate fastcgi_max_temp_file_size fastcgi_next_upstream \
         fastcgi_next_upstream_timeout fastcgi_next_upstream_tries fastcgi_no_cache fastcgi_param \
         fastcgi_pass_header fastcgi_pass_request_body fastcgi_pass_request_headers \
         fastcgi_read_timeout fastcgi_request_buffering fastcgi_request_dynamic \
         fastcgi_send_lowat fastcgi_send_timeout fastcgi_socket_keepalive fastcgi_split_path_info \
         fastcgi_store fastcgi_store_access fastcgi_temp_file_write_size fastcgi_temp_path \
         memcached_bind memcached_buffer_size memcached_connect_timeout \
         memcached_force_ranges memcached_gzip_flag memcached_next_upstream \
         memcached_next_upstream_timeout memcached_next_upstream_tries memcached_read_timeout \
         memcached_send_timeout memcached_socket_keepalive scgi_bind scgi_buffer_size \
         scgi_buffering scgi_buffers scgi_busy_buffers_size scgi_cache \
         scgi_cache_background_update scgi_cache_bypass scgi_cache_key scgi_cache_lock \
         scgi_cache_lock_age scgi_cache_lock_timeout scgi_cache_max_range_offset \
         scgi_cache_methods scgi_cache_min_uses scgi_cache_path scgi_cache_purge \
         scgi_cache_revalidate scgi_cache_use_stale scgi_cache_valid scgi_connect_timeout \
         scgi_force_ranges scgi_hide_header scgi_ignore_client_abort scgi_ignore_headers \
         scgi_intercept_errors scgi_limit_rate scgi_max_temp_file_size scgi_next_upstream \
         scgi_next_upstream_timeout scgi_next_upstream_tries scgi_no_cache scgi_param \
         scgi_pass_header scgi_pass_request_body scgi_pass_request_headers scgi_read_timeout \
         scgi_request_buffering scgi_send_timeout scgi_socket_keepalive scgi_store \
         scgi_store_access scgi_temp_file_write_size scgi_temp_path uwsgi_bind uwsgi_buffer_size \
         uwsgi_buffering uwsgi_buffers uwsgi_busy_buffers_size uwsgi_cache \
         uwsgi_cache_background_update uwsgi_cache_bypass uwsgi_cache_key uwsgi_cache_lock \
         uwsgi_cache_lock_age uwsgi_cache_lock_timeout uwsgi_cache_max_range_offset \
         uwsgi_cache_methods uwsgi_cache_min_uses uwsgi_cache_path uwsgi_cache_purge \
         uwsgi_cache_revalidate uwsgi_cache_use_stale uwsgi_cache_valid uwsgi_connect_timeout \
         uwsgi_force_ranges uwsgi_hide_header uwsgi_ignore_client_abort uwsgi_ignore_headers \
         uwsgi_intercept_errors uwsgi_limit_rate uwsgi_max_temp_file_size uwsgi_modifier1 \
         uwsgi_modifier2 uwsgi_next_upstream uwsgi_next_upstream_timeout \
         uwsgi_next_upstream_tries uwsgi_no_cache uwsgi_param uwsgi_pass_header \
         uwsgi_pass_request_body uwsgi_pass_request_headers uwsgi_read_timeout \
         uwsgi_request_buffering uwsgi_send_timeout uwsgi_socket_keepalive uwsgi_ssl_certificate \
         uwsgi_ssl_certificate_cache uwsgi_ssl_certificate_key uwsgi_ssl_ciphers \
         uwsgi_ssl_conf_command uwsgi_ssl_crl uwsgi_ssl_key_log uwsgi_ssl_name \
         uwsgi_ssl_password_file uwsgi_ssl_protocols uwsgi_ssl_server_name \
         uwsgi_ssl_session_reuse uwsgi_ssl_trusted_certificate uwsgi_ssl_verify \
         uwsgi_ssl_verify_depth uwsgi_store uwsgi_store_access uwsgi_temp_file_write_size \
         uwsgi_temp_path",
    ),
    (
        GATEWAY,
        "\
         fastcgi_pass memcached_pass scgi_pass uwsgi_pass",
    ),
    (
        VARIABLES,
        "\
         geo geoip_city geoip_country geoip_org geoip_proxy geoip_proxy_recursive keyval \
         keyval_zone split_clients",
    ),
    (
        COMPRESSION,
        "\
         brotli_buffers brotli_window gunzip gunzip_buffers gzip_buffers gzip_disable gzip_hash \
         gzip_http_version gzip_no_buffer gzip_window postpone_gzipping zstd_buffers",
    ),
    (
        HTTP2,
        "\
         http2_body_preread_size http2_chunk_size http2_idle_timeout \
         http2_max_concurrent_pushes http2_max_field_size \
         http2_max_header_size http2_max_requests http2_pool_size http2_push http2_push_preload \
         http2_recv_buffer_size http2_recv_timeout http2_streams_index_size \
         spdy_chunk_size spdy_headers_comp \
         spdy_keepalive_timeout spdy_max_concurrent_streams spdy_pool_size spdy_recv_buffer_size \
         spdy_recv_timeout spdy_streams_index_size",
    ),
    (
        HTTP3,
        "\
         http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size \
         quic_active_connection_id_limit quic_bpf quic_gso quic_host_key quic_retry",
    ),
    (
        HEADS,
        "\
         ignore_invalid_headers underscores_in_headers",
    ),
    (
        LIMITS,
        "\
         limit_rate limit_rate_after limit_zone",
    ),
    (
        LIMITS_TUNING,
        "\
         limit_conn_dry_run limit_conn_log_level limit_conn_status limit_req_log_level \
         limit_req_status",
    ),
    (
        POOL,
        "\
         ntlm queue state sticky sticky_cookie_insert",
    ),
    (
        CACHE,
        "\
         open_file_cache open_file_cache_errors open_file_cache_min_uses open_file_cache_valid \
         proxy_cache proxy_cache_background_update proxy_cache_bypass proxy_cache_convert_head \
         proxy_cache_key proxy_cache_lock proxy_cache_lock_age proxy_cache_lock_timeout \
         proxy_cache_max_range_offset proxy_cache_methods proxy_cache_min_uses proxy_cache_path \
         proxy_cache_purge proxy_cache_revalidate proxy_cache_use_stale proxy_cache_valid \
         proxy_no_cache proxy_store proxy_store_access",
    ),
    (
        PROXY_BUFFERS,
        "\
         grpc_bind grpc_buffer_size grpc_socket_keepalive \
         proxy_allow_upstream proxy_bind proxy_buffer proxy_buffer_size proxy_buffering \
         proxy_buffers proxy_busy_buffers_size proxy_headers_hash_bucket_size \
         proxy_headers_hash_max_size proxy_limit_rate proxy_max_temp_file_size \
         proxy_request_buffering proxy_request_dynamic proxy_send_lowat proxy_socket_keepalive \
         proxy_temp_file_write_size proxy_temp_path",
    ),
    (
        PROXY_MISC,
        "\
         grpc_next_upstream_timeout grpc_send_timeout \
         proxy_ignore_client_abort proxy_next_upstream_timeout proxy_send_timeout",
    ),
    (
        ERRORS,
        "\
         grpc_intercept_errors \
         proxy_intercept_errors",
    ),
    (
        PROXY_REQUEST,
        "\
         proxy_method proxy_set_body",
    ),
    (
        PROXY_CERT,
        "\
         grpc_ssl_crl grpc_ssl_password_file proxy_ssl_crl proxy_ssl_password_file",
    ),
    (
        PROXY_TLS,
        "\
         grpc_ssl_certificate_cache grpc_ssl_ciphers grpc_ssl_conf_command grpc_ssl_key_log grpc_ssl_protocols \
         grpc_ssl_session_reuse grpc_ssl_verify_depth \
         proxy_ssl_certificate_cache proxy_ssl_ciphers proxy_ssl_conf_command proxy_ssl_key_log proxy_ssl_protocols \
         proxy_ssl_session_reuse proxy_ssl_verify_depth",
    ),
    (
        NAMES,
        "\
         resolver resolver_timeout",
    ),
    (
        TLS,
        "\
         ssl_alpn ssl_buffer_size ssl_certificate_cache ssl_certificate_compression ssl_ciphers \
         ssl_conf_command ssl_dhparam ssl_early_data ssl_ecdh_curve ssl_handshake_timeout \
         ssl_key_log ssl_object_cache_inheritable ssl_prefer_server_ciphers ssl_preread \
         ssl_session_cache ssl_session_ticket_key ssl_session_tickets ssl_session_timeout \
         ssl_stapling ssl_stapling_file ssl_stapling_responder ssl_stapling_verify",
    ),
    (
        TLS_REFUSED,
        "\
         ssl_encrypted_hello_key ssl_engine ssl_password_file ssl_reject_handshake",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_one_group() {
        let names: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.split_ascii_whitespace()).collect();
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
        assert!(names.len() > 700);
    }
}
