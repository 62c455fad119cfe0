//! Configurations of nginx: every directive has a fate, and what is mapped means the same.

use std::path::Path;

use proptest::prelude::*;
use settings::import::{Dialect, Directive, Disposition, Imported, Memory, check_imported, import};

use crate::environment;

const MAIN: &str = "/etc/nginx/nginx.conf";

pub(crate) fn imported(text: &str) -> Imported {
    import(Dialect::Nginx, Path::new(MAIN), &Memory::new([(MAIN, text)]))
}

/// A server that passes everything on, with more directives in it.
pub(crate) fn server(inside: &str) -> String {
    format!("http {{ server {{ listen 8080; {inside} }} }} events {{}}")
}

/// What became of the directives of one name, in order.
pub(crate) fn fates(imported: &Imported, name: &str) -> Vec<String> {
    let of_name = imported.directives.iter().filter(|directive| directive.name == name);
    of_name
        .map(|directive| match &directive.disposition {
            Disposition::Mapped => "mapped".to_owned(),
            Disposition::Refused(reason) => format!("refused: {reason}"),
            Disposition::Ignored(reason) => format!("ignored: {reason}"),
        })
        .collect()
}

/// The TOML of `text` has all these lines.
pub(crate) fn check(text: &str, lines: &[&str]) {
    let imported = imported(text);
    for line in lines {
        assert!(
            imported.text.lines().any(|known| known.trim() == *line),
            "{line}\n{}",
            imported.text
        );
    }
}

/// The findings of the rules only an importer sees, as `rule line:column`.
pub(crate) fn rules(text: &str) -> Vec<String> {
    let findings = imported(text).findings;
    findings.iter().map(|found| format!("{} {}:{}", found.rule, found.line, found.column)).collect()
}

#[test]
fn balance_follows_the_upstream() {
    let with = |method: &str| {
        format!(
            "upstream api {{ {method} server 10.0.0.1 weight=3 max_fails=2 fail_timeout=30s;
               server 10.0.0.2:81 down; server 10.0.0.3; }}
             server {{ listen 80; location / {{ proxy_pass http://api; }} }}"
        )
    };
    for (method, balance) in [
        ("", "\"round-robin\""),
        ("least_conn;", "\"least-request\""),
        ("ip_hash;", "{ maglev = \"client-address\" }"),
        ("hash $request_uri consistent;", "{ maglev = \"path\" }"),
        ("hash $http_x_user;", "{ maglev = { header = \"x-user\" } }"),
        ("hash $cookie_session;", "{ maglev = { cookie = \"session\" } }"),
        ("random;", "\"random\""),
        ("random two least_conn;", "\"p2c\""),
    ] {
        check(
            &with(method),
            &[
                &format!("balance = {balance}"),
                "{ address = \"10.0.0.1:80\", weight = 3 },",
                "{ address = \"10.0.0.2:81\", drain = true },",
                "ejection = { failures = 2, pause = \"30s\", pause_max = \"30s\", share_max = 1.00 }",
            ],
        );
    }
}

#[test]
fn what_nginx_does_by_default_is_written_out() {
    check(
        &server("location / { proxy_pass http://10.0.0.1; }"),
        &[
            "limits = { head = \"32KiB\", headers = 256, target = \"8KiB\", body = \"1MiB\" }",
            "timeouts = { head = \"60s\", body = \"60s\", keep_alive = \"75s\" }",
            "timeouts = { connect = \"60s\", first_byte = \"60s\", progress = \"60s\", tunnel_idle = \"60s\" }",
            "retries = { attempts = 1 }",
        ],
    );
}

#[test]
fn what_connections_begin_with() {
    let site = |listen: &str, more: &str| {
        format!("server {{ listen {listen}; {more} location / {{ proxy_pass http://10.0.0.1; }} }}")
    };
    for (listen, more, lines) in [
        ("80", "", &["http2 = false"][..]),
        ("443 ssl http2", "", &["http2 = { streams_max = 128 }"]),
        ("80", "http2 on; http2_max_concurrent_streams 20;", &["http2 = { streams_max = 20 }"]),
        (
            "80 proxy_protocol",
            "set_real_ip_from 10.0.0.0/8; set_real_ip_from ::1; real_ip_header proxy_protocol;",
            &["proxy_protocol = true", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"],
        ),
    ] {
        check(&site(listen, more), lines);
    }
    let call = "server { listen 80 http2; location /shop.Cart/ { grpc_pass grpcs://10.0.0.1:50051;
                grpc_read_timeout 9s; grpc_next_upstream off; grpc_set_header Host $host; } }";
    check(
        call,
        &[
            "servers = [\"10.0.0.1:50051\"]",
            "protocol = \"http2\"",
            "tls = { verify = false }",
            "timeouts = { connect = \"60s\", first_byte = \"9s\", progress = \"9s\", tunnel_idle = \"9s\" }",
        ],
    );
    assert!(imported(call).directives.iter().all(|d| d.disposition == Disposition::Mapped));
    let proxied = imported(&site("80 proxy_protocol", "set_real_ip_from 10.0.0.0/8;"));
    assert_eq!(
        fates(&proxied, "listen"),
        ["refused: nginx takes the PROXY protocol from anybody, and no network is named that may \
          say who the client is: add `proxy_protocol = true` to the listener, and name the proxies \
          in its `trusted_proxies`"]
    );
}

#[test]
fn levels_inherit_as_in_nginx() {
    let text = "http { proxy_connect_timeout 5s; client_max_body_size 2m;
        server { listen 80; proxy_read_timeout 7s; client_max_body_size 3m;
            location / { proxy_pass http://10.0.0.1; }
            location /up/ { client_max_body_size 0; proxy_read_timeout 9s; proxy_pass http://10.0.0.1; } } }
        events {}";
    check(
        text,
        &[
            "limits = { head = \"32KiB\", headers = 256, target = \"8KiB\", body = \"3MiB\" }",
            "timeouts = { connect = \"5s\", first_byte = \"7s\", progress = \"7s\", tunnel_idle = \"7s\" }",
            "timeouts = { connect = \"5s\", first_byte = \"9s\", progress = \"9s\", tunnel_idle = \"9s\" }",
            "body_max = \"1073741824GiB\"",
        ],
    );
    let sizes = fates(&imported(text), "client_max_body_size");
    assert!(sizes[0].starts_with("ignored"), "the server overrides it: {sizes:?}");
    assert_eq!(sizes[1..], ["mapped", "mapped"]);
}

#[test]
fn proxy_pass_with_a_path_replaces_the_prefix() {
    for (location, pass, line) in [
        ("/a/", "http://10.0.0.1/", "replace_prefix = \"/\""),
        ("/a/", "http://10.0.0.1/b/", "replace_prefix = \"/b/\""),
        ("/a", "http://10.0.0.1/b", "replace_prefix = \"/b\""),
        ("/", "http://10.0.0.1/b/", "replace_prefix = \"/b/\""),
        ("/a", "http://10.0.0.1/", "replace_path = \"/$1\""),
        ("/a/", "http://10.0.0.1/b", "replace_prefix = \"/b\""),
        ("/a/", "http://10.0.0.1/b", "path = \"/a/*\""),
        ("/a/", "http://10.0.0.1/b?c=d", "# the door cannot pass requests on like this"),
        ("= /a", "http://10.0.0.1/b", "replace_path = \"/b\""),
    ] {
        check(&server(&format!("location {location} {{ proxy_pass {pass}; }}")), &[line]);
    }
    let cut = "location /a/ { rewrite ^/a/(.*)$ /$1 break; proxy_pass http://10.0.0.1; }";
    check(&server(cut), &["replace_prefix = \"/\""]);
    let slash = server("location /a/ { proxy_pass http://10.0.0.1; }");
    check(
        &slash,
        &["path = { exact = \"/a\" }", "redirect = { status = 301, location = \"/a/{query}\" }"],
    );
}

#[test]
fn redirects_keep_host_path_and_query() {
    for (directive, status, location) in [
        ("return 301 https://$host$request_uri;", 301, "https://{host}{path}{query}"),
        ("return https://a.example/;", 302, "https://a.example/"),
        ("return 308 $scheme://a.example$uri$is_args$args;", 308, "http://a.example{path}{query}"),
        (
            "rewrite ^ https://$server_name$request_uri? permanent;",
            301,
            "https://{host}{path}{query}",
        ),
        ("rewrite ^(.*)$ https://a.example$1 redirect;", 302, "https://a.example{path}{query}"),
        ("rewrite ^/(.*)$ https://a.example/$1 permanent;", 301, "https://a.example{path}{query}"),
    ] {
        let line = format!("redirect = {{ status = {status}, location = \"{location}\" }}");
        check(&server(directive), &[&line]);
    }
}

#[test]
fn conditions_on_host_and_scheme_become_routes() {
    let text = "server { listen 80; listen 443 ssl; server_name a.example www.a.example;
        ssl_certificate a.pem; ssl_certificate_key a.key;
        if ($host = www.a.example) { return 301 https://a.example$request_uri; }
        if ($scheme = http) { return 301 https://$host$request_uri; }
        location / { proxy_pass http://10.0.0.1; } }
        server { listen 80 default_server; return 404; }";
    check(
        text,
        &[
            "host = \"www.a.example\"",
            "redirect = { status = 301, location = \"https://a.example{path}{query}\" }",
            "redirect = { status = 301, location = \"https://{host}{path}{query}\" }",
            "listen = [\"http\"]",
            "listen = [\"https\"]",
            "respond = { status = 404 }",
        ],
    );
    assert_eq!(fates(&imported(text), "if"), ["mapped", "mapped"]);
}

#[test]
fn rates_become_limits() {
    let site = |zone: &str, inside: &str| {
        format!(
            "http {{ limit_req_zone {zone}; server {{ listen 8080; {inside}
               location / {{ proxy_pass http://10.0.0.1; }}
               location /api {{ limit_req zone=one burst=10 nodelay; proxy_pass http://10.0.0.1; }}
               location /old {{ return 410; }} }} }} events {{}}"
        )
    };
    const ZONE: &str = "$binary_remote_addr zone=one:10m rate=5r/s";
    let plain = site(ZONE, "");
    check(
        &plain,
        &[
            "[limits.one]",
            "by = \"address\"",
            "rate = \"5/s\"",
            "burst = 11",
            "routes = [\"default-api\"]",
        ],
    );
    let mapped = imported(&plain);
    assert_eq!(
        [fates(&mapped, "limit_req"), fates(&mapped, "limit_req_zone")].concat(),
        ["mapped"; 2]
    );
    assert_eq!(
        check_imported(&mapped, &environment())
            .iter()
            .filter(|found| found.file == 0 && found.message.contains("burst"))
            .count(),
        0
    );
    // What holds for the server holds for each location without a limit of its own; the redirect
    // is answered by nginx itself.
    let inherited = site(
        "$http_x_api_key zone=one:10m rate=30r/m",
        "limit_req zone=one burst=4; limit_req_dry_run on;",
    );
    check(
        &inherited,
        &[
            "by = { header = \"x-api-key\" }",
            "rate = \"30/m\"",
            "burst = 5",
            "routes = [\"default-all\"]",
            "observe = true",
            "# nginx counts this together with the other limits of its zone",
            "[limits.one-2]",
        ],
    );
    assert_eq!(rules(&inherited), ["inexact-import 1:86"]);
    for (zone, reason) in [
        ("$request_uri zone=one:10m rate=5r/s", "not by this key"),
        ("$binary_remote_addr zone=two:10m rate=5r/s", "no such zone"),
        ("$binary_remote_addr zone=one:10m rate=5", "none that the door can hold to"),
        ("$binary_remote_addr zone=one:10m", "none that the door can hold to"),
    ] {
        let fate = fates(&imported(&site(zone, "")), "limit_req").remove(0);
        assert!(fate.starts_with("refused") && fate.contains(reason), "{fate}");
    }
}

#[test]
fn connections_of_an_address_are_a_limit_of_the_listener() {
    const ZONE: &str = "limit_conn_zone ${binary_remote_addr} zone=peers:10m;";
    const FORWARD: &str = "location / { proxy_pass http://10.0.0.1; }";
    let site = |outer: &str, first: &str, second: &str| {
        format!(
            "http {{ {outer} server {{ listen 8080; {first} {FORWARD} }}
               server {{ listen 8080; server_name b.test; {second} {FORWARD} }} }} events {{}}"
        )
    };
    let mapped = |text: &str, number: &str| {
        let imported = imported(text);
        let all = [fates(&imported, "limit_conn"), fates(&imported, "limit_conn_zone")].concat();
        assert!(all.iter().all(|fate| fate == "mapped"), "{all:?}");
        let expected = format!("connections_per_address = {number} }}");
        assert!(imported.text.contains(&expected), "{}", imported.text);
        let inexact = imported.findings.iter().filter(|found| found.rule == "inexact-import");
        assert!(inexact.clone().all(|found| found.message.contains("idle ones too")));
        assert!(inexact.count() > 0);
    };
    mapped(&site(&format!("{ZONE} limit_conn peers 20;"), "", ""), "20");
    mapped(&site(ZONE, "limit_conn peers 5;", "limit_conn peers 5;"), "5");
    let dry = site(&format!("{ZONE} limit_conn peers 2; limit_conn_dry_run on;"), "", "");
    assert!(fates(&imported(&dry), "limit_conn")[0].contains("nginx refuses nothing by it"));
    for (text, reason) in [
        (site(ZONE, "limit_conn peers 5;", "limit_conn peers 6;"), "servers of a listener differ"),
        (site(ZONE, "limit_conn peers 5;", ""), "servers of a listener differ"),
        (site("", "limit_conn peers 5;", ""), "no such zone"),
        (site(ZONE, "limit_conn peers none;", ""), "a number from 1 to 65535 is missing"),
        (
            site("limit_conn_zone $server_name zone=peers:1m; limit_conn peers 9;", "", ""),
            "`in_flight` in a pool",
        ),
        (
            site(&format!("{ZONE} limit_conn peers 9; set_real_ip_from 10.0.0.0/8;"), "", ""),
            "that is a proxy's here",
        ),
        (site(ZONE, "location /a { limit_conn peers 1; }", ""), "for a whole listener"),
    ] {
        let imported = imported(&text);
        let fate = fates(&imported, "limit_conn").remove(0);
        assert!(fate.starts_with("refused") && fate.contains(reason), "{fate}");
        assert!(!imported.text.contains("connections_per_address"), "{}", imported.text);
    }
}

#[test]
fn that_nginx_decodes_paths_is_said_once() {
    let decoded = |inside: &str| -> Vec<String> {
        let findings = imported(&server(inside)).findings;
        let found = findings.iter().filter(|found| found.message.contains("nginx decodes a path"));
        found.map(|found| format!("{}:{}", found.line, found.column)).collect()
    };
    assert_eq!(decoded("location / { proxy_pass http://10.0.0.1; }"), [""; 0]);
    assert_eq!(
        decoded(
            "\nlocation /a/ { proxy_pass http://10.0.0.1/b/; }\nlocation /same { proxy_pass http://10.0.0.1/same; }"
        ),
        ["2:16"]
    );
    let cut = "\nlocation /c/ { rewrite ^/c/(.*)$ /$1 break; proxy_pass http://10.0.0.1; }";
    assert_eq!(decoded(cut), ["2:45"]);
}

#[test]
fn what_guards_a_location_closes_it() {
    for guard in [
        "auth_basic \"x\";",
        "auth_basic \"$host\"; auth_basic_user_file users;",
        "auth_basic \"x\"; auth_basic_user_file users; auth_request /auth;",
        "auth_jwt \"x\";",
        "deny 10.0.0.1; allow all;",
        "allow 10.0.0.0/8; deny all;",
        "deny all;",
        "if ($ssl_client_verify != SUCCESS) { return 403; }",
        "if ($http_x_key = \"\") { return 401; }",
        "if ($remote_addr !~ ^10\\.) { return 444; }",
    ] {
        let text = server(&format!("location / {{ {guard} proxy_pass http://10.0.0.1; }}"));
        check(&text, &["respond = { status = 403 }"]);
        assert!(!imported(&text).text.contains("pool ="), "{guard}");
    }
    let whole =
        server("if ($cookie_key != a) { return 403; } location / { proxy_pass http://10.0.0.1; }");
    check(&whole, &["respond = { status = 403 }"]);
    assert!(!imported(&whole).text.contains("pool ="));
    let agents = "if ($http_user_agent ~ bot) { return 403; } proxy_pass http://10.0.0.1;";
    check(&server(&format!("location / {{ {agents} }}")), &["pool = \"10.0.0.1-80\""]);
    let open = server("location / { auth_basic off; allow all; proxy_pass http://10.0.0.1; }");
    check(&open, &["pool = \"10.0.0.1-80\""]);
}

/// What a location comes to that is passed on, with more directives in it: its keys of `name`.
fn treated(inside: &str, name: &str) -> String {
    let text = server(&format!("location / {{ proxy_pass http://app.test:81; {inside} }}"));
    let imported = imported(&text);
    let start = format!("{name} = ");
    let found = imported.text.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_default().to_owned()
}

#[test]
fn headers_of_requests_are_rules() {
    const HOST: &str = "proxy_set_header Host $host;";
    for (inside, expected) in [
        ("", "{ set = { host = \"app.test:81\" } }"),
        ("proxy_set_header Host $proxy_host;", "{ set = { host = \"app.test:81\" } }"),
        ("proxy_set_header Host a.test;", "{ set = { host = \"a.test\" } }"),
        ("proxy_set_header X-A 1;", "{ set = { host = \"app.test:81\", x-a = \"1\" } }"),
    ] {
        assert_eq!(treated(inside, "request_headers"), expected, "{inside}");
    }
    for (inside, expected) in [
        ("", ""),
        (
            "proxy_set_header X-Real-IP $remote_addr;",
            "{ set = { x-real-ip = \"{client_address}\" } }",
        ),
        (
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header \
             X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; \
             proxy_set_header Connection \"\"; proxy_set_header X-Request-ID $request_id;",
            "",
        ),
        (
            "proxy_set_header X-Forwarded-Proto https;",
            "{ set = { x-forwarded-proto = \"https\" } }",
        ),
        ("proxy_set_header Accept-Encoding \"\";", "{ remove = [\"accept-encoding\"] }"),
        (
            "proxy_set_header X-All \"$request_method $scheme://$http_host$uri$is_args$args {}\";",
            "{ set = { x-all = \"{method} {scheme}://{authority}{target} {{}}\" } }",
        ),
        (
            "set $who me; proxy_set_header X-A \"${who}-$http_x_org:$server_port\";",
            "{ set = { x-a = \"me-{header:x-org}:8080\" } }",
        ),
    ] {
        let inside = format!("{HOST} {inside}");
        assert_eq!(treated(&inside, "request_headers"), expected, "{inside}");
        let text = server(&format!("location / {{ proxy_pass http://a.test; {inside} }}"));
        let fates = [fates(&imported(&text), "proxy_set_header"), fates(&imported(&text), "set")];
        assert!(fates.concat().iter().all(|fate| fate == "mapped"), "{inside}: {fates:?}");
    }
    for (directive, reason) in [
        ("proxy_set_header X-User $remote_user;", "only where it asks for a password"),
        ("proxy_set_header X-A $upstream_status;", "not what came of it"),
        ("proxy_set_header X-A $geoip_city;", "no such variable"),
        ("proxy_set_header X-A $ssl_client_s_dn;", "`Client-Cert`"),
        ("proxy_set_header Host $http_x_host;", "one that is written here"),
        ("proxy_set_header Content-Length 5;", "from what it understood"),
    ] {
        let text = server(&format!("location / {{ proxy_pass http://a.test; {directive} }}"));
        let fate = fates(&imported(&text), "proxy_set_header").remove(0);
        assert!(fate.starts_with("refused: ") && fate.contains(reason), "{directive}: {fate}");
    }
    // A level with one of its own has none of those around it.
    let text = server(
        "proxy_set_header X-A 1; location / { proxy_set_header X-B 2; proxy_pass http://a.test; }",
    );
    check(&text, &["request_headers = { set = { host = \"a.test\", x-b = \"2\" } }"]);
    assert!(fates(&imported(&text), "proxy_set_header")[0].starts_with("ignored"));
}

#[test]
fn headers_of_answers_are_rules() {
    for (inside, expected) in [
        ("add_header X-A 1;", "{ add = { x-a = \"1\" }, when = \"success\" }"),
        ("add_header X-A $scheme always;", "{ add = { x-a = \"{scheme}\" } }"),
        ("add_header ETag abc always;", "{ set = { etag = \"abc\" } }"),
        ("proxy_hide_header X-Powered-By;", "{ remove = [\"x-powered-by\"] }"),
        ("proxy_hide_header X-A; add_header X-A 1;", "{ set = { x-a = \"1\" } }"),
        (
            "expires 1h; add_header Cache-Control public;",
            "{ remove = [\"expires\"], set = { cache-control = \"max-age=3600\" }, \
             add = { cache-control = \"public\" }, when = \"success\" }",
        ),
        (
            "expires -1;",
            "{ remove = [\"expires\"], set = { cache-control = \"no-cache\" }, when = \"success\" }",
        ),
        ("expires off; proxy_pass_header Server; proxy_ignore_headers Vary;", ""),
    ] {
        assert_eq!(treated(inside, "response_headers"), expected, "{inside}");
    }
    // What nginx answers by itself has them too; the whole site inherits them where no level has
    // its own, and the difference is told once.
    let text = server(
        "server_name a.test; add_header X-A 1 always; add_header X-B 2;
         location /r { return 302 /x; } location /b { add_header X-B 3; return 200 ok; }
         location /c/ { add_header X-C 1; proxy_pass http://10.0.0.1; }",
    );
    check(
        &text,
        &[
            "response_headers = { add = { x-a = \"1\", x-b = \"2\" } }",
            "response_headers = { add = { x-b = \"3\" }, when = \"success\" }",
        ],
    );
    assert_eq!(fates(&imported(&text), "add_header"), ["mapped"; 4]);
    let told = imported(&text).findings;
    let told = told.iter().filter(|found| found.message.contains("200, 201, 204"));
    assert_eq!(told.count(), 1);
    let refused =
        server("location / { add_header Set-Cookie a=1; add_header Set-Cookie b=2; return 204; }");
    assert!(fates(&imported(&refused), "add_header")[1].contains("one field"));
}

#[test]
fn compression_is_that_of_the_first_coding() {
    for (inside, expected) in [
        ("gzip off;", ""),
        ("gzip on;", "{ codings = [\"gzip\"], level = 1, min = 20, types = [\"text/html\"] }"),
        (
            "gzip on; gzip_types application/json text/html; gzip_min_length 1k; gzip_comp_level 5;
             gzip_vary on; gzip_proxied any;",
            "{ codings = [\"gzip\"], level = 5, min = \"1KiB\", types = [\"application/json\", \"text/html\"] }",
        ),
        (
            "brotli on; gzip on; brotli_types text/css; gzip_types text/xml;",
            "{ codings = [\"br\", \"gzip\"], level = 6, min = 20, types = [\"text/css\", \"text/html\"] }",
        ),
    ] {
        assert_eq!(treated(inside, "compress"), expected, "{inside}");
    }
    let text = server(
        "gzip on; gzip_static on; gzip_proxied expired; gzip_vary off; brotli_types text/css;
         location / { proxy_pass http://10.0.0.1; }",
    );
    let imported = imported(&text);
    let all = ["gzip", "gzip_static", "gzip_proxied", "gzip_vary", "brotli_types"];
    let kinds: Vec<String> = all.iter().map(|name| fates(&imported, name).remove(0)).collect();
    let starts = ["mapped", "refused", "ignored", "ignored", "ignored: `brotli` is off"];
    for (fate, start) in kinds.iter().zip(starts) {
        assert!(fate.starts_with(start), "{fate}");
    }
}

#[test]
fn passwords_are_asked_for_where_the_door_knows_how_they_are_kept() {
    let hash = "$2y$04$abcdefghijklmnopqrstuuJ7UHVCGUq1bGDmwVDMHQKP1VwJxFDa6";
    let with = |users: &str| {
        let text = server(
            "auth_basic \"staff only\"; auth_basic_user_file users;
             location / { proxy_set_header Host $host; proxy_set_header X-User $remote_user;
                proxy_pass http://10.0.0.1; }
             location /open { auth_basic off; proxy_pass http://10.0.0.1; }",
        );
        let files = [(MAIN, text.as_str()), ("/etc/nginx/users", users)];
        import(Dialect::Nginx, Path::new(MAIN), &Memory::new(files))
    };
    let known = with(&format!("ann:{hash}\n"));
    for line in [
        "basic_auth = { users_file = \"users\", realm = \"staff only\" }",
        "request_headers = { set = { x-user = \"{user}\" } }",
    ] {
        assert!(known.text.lines().any(|known| known == line), "{}", known.text);
    }
    assert_eq!(fates(&known, "auth_basic"), ["mapped", "mapped"]);
    assert!(!known.text.contains(hash));
    let unknown = with("ann:$apr1$abc$def\n");
    assert!(unknown.text.contains("respond = { status = 403 }"), "{}", unknown.text);
    let fate = fates(&unknown, "auth_basic_user_file").remove(0);
    assert!(fate.contains("Apache's MD5") && fate.contains("htpasswd -B"), "{fate}");
    assert!(fates(&unknown, "auth_basic")[0].ends_with("the door answers 403 here"));
}

#[test]
fn another_server_may_be_asked_who_enters() {
    let site = |inside: &str, asked: &str| {
        server(&format!(
            "location = /auth {{ internal; {asked} }}
             location / {{ auth_request /auth; proxy_set_header Host $host; {inside}
                proxy_pass http://10.0.0.1; }}"
        ))
    };
    let text = site(
        "auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;",
        "proxy_pass http://10.0.0.9:81/verify; proxy_pass_request_body off; proxy_read_timeout 2s;
         proxy_set_header Content-Length \"\"; proxy_set_header X-Forwarded-Uri $request_uri;",
    );
    let expected = "forward_auth = { pool = \"10.0.0.9-81\", path = \"/verify\", copy = [\"x-user\"], timeout = \"2s\" }";
    check(&text, &[expected]);
    let imported_text = imported(&text);
    assert!(!imported_text.text.contains("request_headers"), "{}", imported_text.text);
    for name in ["auth_request", "auth_request_set", "proxy_pass", "proxy_pass_request_body"] {
        let fates = fates(&imported_text, name);
        assert!(fates.iter().all(|fate| fate == "mapped"), "{name}: {fates:?}");
    }
    let told = site(
        "auth_request_set $user $upstream_http_x_user; error_page 401 = /login;",
        "proxy_pass http://10.0.0.9; proxy_set_header X-Original-URI $request_uri;",
    );
    let told = imported(&told);
    assert!(told.text.contains("path = \"/auth\""), "{}", told.text);
    for (name, reason) in [
        ("auth_request_set", "by its own name"),
        ("error_page", "redirect them"),
        ("proxy_set_header", "let the server read those"),
    ] {
        assert!(fates(&told, name).iter().any(|fate| fate.contains(reason)), "{name}");
    }
    for asked in ["return 204;", "proxy_pass http://$host;", "proxy_pass http://10.0.0.9/a?b=c;"] {
        let imported = imported(&site("", asked));
        assert!(imported.text.contains("respond = { status = 403 }"), "{}", imported.text);
    }
}

#[test]
fn certificates_of_both_sides_are_asked_for_and_shown() {
    const TLS: &str = "listen 8443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key;";
    let site = |first: &str, second: &str| {
        format!(
            "server {{ {TLS} {first} location / {{ proxy_pass http://10.0.0.1; }} }}
             server {{ {TLS} server_name b.test; {second} location / {{ proxy_pass http://10.0.0.1; }} }}"
        )
    };
    let asks = "ssl_verify_client on; ssl_client_certificate ca.pem; ssl_crl list.pem;";
    let mapped = imported(&site(asks, asks));
    let expected = "clients = { roots = \"ca.pem\", revocation = [\"list.pem\"] }";
    assert!(mapped.text.contains(expected), "{}", mapped.text);
    assert!(!mapped.text.contains("403"), "{}", mapped.text);
    assert_eq!(fates(&mapped, "ssl_verify_client"), ["mapped"; 2]);
    let mixed = imported(&site(asks, ""));
    assert!(mixed.text.contains("respond = { status = 403 }") && !mixed.text.contains("clients"));
    assert!(fates(&mixed, "ssl_verify_client")[0].contains("a listener of their own"));
    let optional = "ssl_verify_client optional; ssl_client_certificate ca.pem;";
    let optional = imported(&site(optional, optional)).text;
    assert!(optional.contains("clients = { roots = \"ca.pem\", required = false }"), "{optional}");
    check(
        &server(
            "location / { proxy_pass https://10.0.0.1; proxy_ssl_certificate c.pem;
            proxy_ssl_certificate_key c.key; }",
        ),
        &["tls = { verify = false, certificate = { certificate = \"c.pem\", key = \"c.key\" } }"],
    );
}

#[test]
fn the_rules_of_nginx_alone_are_found_where_it_says_so() {
    for (text, expected) in [
        (
            "upstream a {\n ip_hash;\n server 10.0.0.1;\n server 10.0.0.2; }",
            "inconsistent-hash 2:2",
        ),
        (
            "upstream a { hash $uri consistent; server 10.0.0.1;\n server 10.0.0.2 backup; }",
            "backup-with-hash 2:2",
        ),
        ("upstream a { hash x consistent; server 10.0.0.1; }", "narrow-hash-key 1:14"),
        ("upstream a {\nserver api.internal; }", "name-resolved-once 2:1"),
        (
            "location / { proxy_next_upstream error non_idempotent; proxy_pass http://10.0.0.1; }",
            "unsafe-retry 1:14",
        ),
        ("location ~ ^/(a+)+$ { }", "catastrophic-regex 1:1"),
        ("location / { proxy_pass http://10.0.0.1$uri$is_args$args; }", "inexact-import 1:14"),
        ("location / { proxy_pass http://$http_host; }", "client-chosen-upstream 1:14"),
        ("location / { allow 10.0.0.0/8; proxy_pass http://10.0.0.1; }", "allow-without-deny 1:14"),
        ("location = /s { stub_status; }", "admin-exposed 1:17"),
    ] {
        assert_eq!(rules(text), [expected], "{text}");
    }
    let rewritten = "location /a/ { proxy_pass http://10.0.0.1/b/; }";
    assert_eq!(rules(rewritten), ["inexact-import 1:16", "path-rewritten 1:16"]);
}

#[test]
fn findings_of_the_door_stand_where_the_original_says_so() {
    let text = "events {}\nhttp {\n upstream api {\n  server 10.0.0.1;\n  server 10.0.0.1;\n }\n\
                server { listen 80;\n  location / { proxy_pass http://api; } } }";
    let imported = imported(text);
    let findings = check_imported(&imported, &environment());
    let found: Vec<(&str, usize)> = findings.iter().map(|found| (found.rule, found.line)).collect();
    assert!(found.contains(&("no-health-check", 3)), "{found:?}");
    assert!(found.contains(&("duplicate-server", 5)), "{found:?}");
}

#[test]
fn includes_are_followed_and_bounded() {
    let files = Memory::new([
        (MAIN, "events {}\nhttp { include conf.d/*.conf; include loop.conf; include none.conf; }"),
        ("/etc/nginx/conf.d/b.conf", "server { listen 81; }"),
        ("/etc/nginx/conf.d/a.conf", "server { listen 82; types { include mime; } }"),
        ("/etc/nginx/mime", "text/html html;"),
        ("/etc/nginx/loop.conf", "include loop.conf;"),
    ]);
    let imported = import(Dialect::Nginx, Path::new(MAIN), &files);
    let names: Vec<&str> = imported.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(
        names[1..],
        [
            "/etc/nginx/conf.d/a.conf",
            "/etc/nginx/mime",
            "/etc/nginx/conf.d/b.conf",
            "/etc/nginx/loop.conf"
        ]
    );
    let found: Vec<String> = imported
        .findings
        .iter()
        .map(|f| format!("{} {}:{}:{}", f.rule, f.file, f.line, f.column))
        .collect();
    assert_eq!(found, ["unreadable-file 0:2:50", "include-cycle 4:1:1"]);
    all_covered(&imported);
}

#[test]
fn mistakes_of_syntax_have_their_place() {
    for (text, expected) in [
        ("events {", "syntax 1:9"),
        ("events {}\nhttp { server { listen 80;", "syntax 2:27"),
        ("events {}\n}", "syntax 2:1"),
        ("events {}\nuser 'a'b;", "syntax 2:9"),
        ("user a", "syntax 1:1"),
        ("http;\nevents {}", "syntax 1:1"),
        ("user a {}\nevents {}", "syntax 1:1"),
        ("http { content_by_lua_block { \"}\" -- } \n", "syntax 1:29"),
    ] {
        assert_eq!(rules(text), [expected], "{text}");
    }
    let lua = "location / { content_by_lua_block { local a = '}' --[[ } ]] if a then ngx.say([[}]]) end } }";
    assert!(rules(lua).is_empty());
}

/// Where the statements of a text start, found without the importer's own lexer.
fn statements(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut begun = false;
    let before = |at: usize| text.get(..at).unwrap_or_default();
    let from = |at: usize| text.get(at..).unwrap_or_default();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '#' if !begun || before(at).ends_with(char::is_whitespace) => {
                characters.find(|(_, c)| *c == '\n');
                continue;
            }
            ';' | '{' | '}' => {
                begun = false;
                continue;
            }
            _ if character.is_whitespace() => continue,
            _ => {}
        }
        if !begun {
            starts.push(at);
            begun = true;
        }
        match character {
            '\\' => drop(characters.next()),
            '$' if from(at).starts_with("${") => drop(characters.next()),
            '"' | '\'' if before(at).is_empty() || before(at).ends_with(char::is_whitespace) => {
                while let Some((_, inner)) = characters.next() {
                    match inner {
                        '\\' => drop(characters.next()),
                        _ if inner == character => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    starts
}

/// Every statement of every file lies in the place of exactly one directive.
fn all_covered(imported: &Imported) {
    for (file, source) in imported.sources.iter().enumerate() {
        let of_file: Vec<&Directive> =
            imported.directives.iter().filter(|directive| directive.file == file).collect();
        for start in statements(&source.text) {
            let covering =
                of_file.iter().filter(|directive| directive.span.contains(&start)).count();
            let near: String = source
                .text
                .chars()
                .skip(source.text.get(..start).unwrap_or_default().chars().count())
                .take(30)
                .collect();
            assert_eq!(covering, 1, "{}: {near}", source.name);
        }
        for pair in of_file.windows(2) {
            assert!(pair[0].span.end <= pair[1].span.start, "{pair:?}");
        }
    }
}

#[test]
fn no_directive_is_dropped() {
    for text in [include_str!("nginx-site.conf"), include_str!("nginx-odd.conf")] {
        let imported = imported(text);
        all_covered(&imported);
        assert!(
            imported.findings.iter().all(|found| found.rule != "syntax"),
            "{:?}",
            imported.findings
        );
    }
}

/// Words and signs that make most of the language reachable.
const WORDS: &[&str] = &[
    "http {",
    "server {",
    "location",
    "upstream a {",
    "if ($host = a)",
    "{",
    "}",
    ";",
    "listen 80",
    "listen 443 ssl",
    "listen 81 proxy_protocol http2",
    "real_ip_header proxy_protocol",
    "grpc_pass grpc://a",
    "http2 on",
    "proxy_pass http://a",
    "proxy_pass http://b.c/d",
    "/",
    "/a/",
    "~ ^/(a|b)/",
    "= /x",
    "^~ /y",
    "@n",
    "return 301",
    "https://$host$request_uri",
    "server 10.0.0.1",
    "weight=5000",
    "backup",
    "hash $uri",
    "server_name a.b *.c ~d",
    "rewrite ^/a/(.*)$ /$1 break",
    "set $v http://a",
    "proxy_pass $v",
    "try_files $uri @n",
    "deny all",
    "allow 1.2.3.4",
    "include mime",
    "types {",
    "map $a $b {",
    "include nginx.conf",
    "root /x",
    "bogus",
    "\"",
    "'",
    "\\",
    "${",
    "#",
    "\n",
    "content_by_lua_block {",
    "limit_except GET {",
    "client_max_body_size 0",
    "keepalive_timeout 0",
    "return 200 \"\u{0}ü\"",
    "listen [::]:80 ipv6only=off default_server",
    "set_real_ip_from 10.0.0.0/8",
    "real_ip_header X-Forwarded-For",
    "proxy_next_upstream http_502",
    "proxy_next_upstream_tries 99",
    "ssl_protocols TLSv1.3",
    "limit_req_zone $binary_remote_addr zone=z:1m rate=5r/s",
    "limit_req zone=z burst=9 nodelay",
    "~ ^/u/\\d+$",
    "~* \\.php$",
    "rewrite ^/a(/.*)$ $1 last",
    "rewrite ^ /x last",
    "if ($request_method = POST) {",
    "if ($request_method !~ ^(GET|PUT)$) {",
    "more_set_headers 'X-A: $host'",
    "stream {",
    "map $ssl_preread_server_name $n {",
    "ssl_preread on",
    "proxy_pass $n",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(4), ..ProptestConfig::default() })]

    /// Whatever the text, the TOML parses and each directive has one place.
    #[test]
    fn any_soup_of_directives_is_survived(text in soup()) {
        let files = Memory::new([(MAIN, text.as_str()), ("/etc/nginx/mime", "a b; c d;")]);
        let imported = import(Dialect::Nginx, Path::new(MAIN), &files);
        for pair in imported.directives.windows(2) {
            prop_assert!(pair[0].file < pair[1].file || pair[0].span.end <= pair[1].span.start, "{pair:?}");
        }
        let findings = check_imported(&imported, &environment());
        let own = imported.findings.iter().filter(|found| found.rule == "syntax").count();
        let all = findings.iter().filter(|found| found.rule == "syntax").count();
        if own == 0 {
            all_covered(&imported);
        }
        prop_assert_eq!(own, all, "{}", &imported.text);
    }

    #[test]
    fn any_text_is_survived(text in ".{0,400}") {
        let imported = imported(&text);
        prop_assert!(imported.sources.len() == 1);
    }
}

/// So many copies of a text, with their numbers for `#`.
fn many(count: usize, text: &str) -> String {
    (1..=count).map(|number| text.replace('#', &number.to_string())).collect()
}

#[test]
fn hostile_files_are_bounded() {
    for text in [
        "a{".repeat(100_000),
        "a ".repeat(1_500_000),
        "a;".repeat(400_000),
        format!("location ~ ({} {{}}", "(a+)+".repeat(800)),
        "#".repeat(2_000_000),
        server(&"location /a { proxy_pass http://b; } ".repeat(20_000)),
        many(8_000, "server { listen 8080; server_name a#.b; }"),
        many(8_000, "server { listen #; return 204; }"),
        server(&many(20_000, "location /a#/ { proxy_pass http://b; }")),
        server(&format!(
            "{} {}",
            many(600, "location ~ ^/(a|b|c)#/[0-9] { return 204; }"),
            many(
                1_500,
                "location ^~ /p# { proxy_pass http://b/q#/; }
                 location /p#/z/ { rewrite ^/p#/z/([a-z]+)/(.*)$ /t/$2 last; return 204; }"
            )
        )),
        format!(
            "upstream a {{ {} }} server {{ {} }}",
            many(5_000, "server a#;"),
            many(2_000, "location /a# { proxy_pass http://a; proxy_read_timeout #; }")
        ),
    ] {
        let imported = imported(&text);
        assert!(imported.directives.len() <= 200_000);
        assert!(imported.text.len() < 32 << 20);
    }
}
