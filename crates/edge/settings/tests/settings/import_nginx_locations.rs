//! Locations of nginx: in which order they are asked, how they change paths, and whom they let in.

use settings::import::check_imported;

use crate::environment;
use crate::import_nginx::{check, fates, imported, rules, server};

/// The paths of the routes of a server, in their order, with what becomes of the path.
fn paths(inside: &str) -> Vec<String> {
    let text = imported(&server(inside)).text;
    let keys = ["path = ", "path_regex = ", "replace_path = ", "replace_prefix = ", "methods = "];
    let is_told = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    text.lines().filter(is_told).map(str::to_owned).collect()
}

/// A location that answers by itself.
fn location(path: &str) -> String {
    format!("location {path} {{ return 204; }} ")
}

fn locations(paths: &[&str]) -> String {
    paths.iter().map(|path| location(path)).collect()
}

#[test]
fn expressions_are_asked_as_nginx_asks_them() {
    for (given, expected) in [
        (&["/a"][..], &["path = \"/a*\""][..]),
        (&["/a/"], &["path = \"/a/*\""]),
        (&["/a", "/a/"], &["path = \"/a*\"", "path = \"/a/*\""]),
        (&["~ ^/(a|b)/"], &["path = \"/a/*\"", "path = \"/b/*\""]),
        (&["~ ^/users/([^/]+)$"], &["path = \"/users/{p1}\""]),
        (&["~ ^/a", "/b"], &["path = \"/b*\"", "path = \"/a*\""]),
        (&["~ ^/a/", "/a/b/"], &["path = \"/a/b/*\"", "path_regex = \"^/a/\""]),
        (&["~* ^/a/"], &["path_regex = \"(?i)^/a/\""]),
        (
            &["/", r"~ \.php$", "~ ^/a/"],
            &["path = \"/\"", r#"path_regex = "\\.php$""#, "path_regex = \"^/a/\""],
        ),
        // A firm prefix stands in front of what it keeps out, and what is longer before it.
        (&["^~ /a/", r"~ \.php$"], &["path_regex = \"^/a/\"", r#"path_regex = "\\.php$""#]),
        (&["^~ /a/", "~ ^/b/"], &["path = \"/a/*\"", "path = \"/b/*\""]),
        (
            &["^~ /a/", "^~ /a/b", r"~ \.php$"],
            &["path_regex = \"^/a/b\"", "path_regex = \"^/a/\"", r#"path_regex = "\\.php$""#],
        ),
        (&["= /a", r"~ \.php$"], &["path = { exact = \"/a\" }", r#"path_regex = "\\.php$""#]),
    ] {
        assert_eq!(paths(&locations(given)), expected, "{given:?}");
        assert!(rules(&server(&locations(given))).is_empty(), "{given:?}");
    }
    // What is asked for longer paths alone stands in front of both, as far as that can be said.
    let kept = locations(&["^~ /a/", "/a/b", r"~ \.php$"]);
    assert_eq!(
        paths(&kept),
        [
            r#"path_regex = "^/a/b.*?(?:\\.php$)""#,
            "path_regex = \"^/a/b\"",
            "path_regex = \"^/a/\"",
            r#"path_regex = "\\.php$""#
        ]
    );
    let told = server(&locations(&["^~ /a/", "/a/b", "~ b+x"]));
    assert_eq!(rules(&told), ["inexact-import 1:92"]);
}

#[test]
fn locations_within_others_are_asked_there_alone() {
    let inner = format!("location /a/ {{ {} return 204; }}", location(r"~ \.php$"));
    assert_eq!(paths(&inner), ["path = \"/a/*\"", r#"path_regex = "^/a/.*?(?:\\.php$)""#]);
    // Beside it another one takes the longer paths.
    assert_eq!(
        paths(&format!("{inner} {}", locations(&["/a/b/", "/c"]))),
        [
            "path = \"/a/*\"",
            "path = \"/c*\"",
            "path_regex = \"^/a/b/\"",
            r#"path_regex = "^/a/.*?(?:\\.php$)""#
        ]
    );
    let shadowed =
        format!("location / {{ {} return 204; }} {}", location("= /a/b"), location("/a/"));
    let site = imported(&server(&shadowed));
    assert!(!site.text.contains("exact"), "{}", site.text);
    assert!(fates(&site, "location")[1].contains("beside those around it"));
    let never = format!("location /a/ {{ {} return 204; }}", location("~ ^/b"));
    assert!(fates(&imported(&server(&never)), "location")[1].starts_with("ignored: no path"));
    let both = format!("location ~ ^/a/ {{ {} return 204; }}", location(r"~ \.php$"));
    check(&server(&both), &["respond = { status = 501 }", "path = \"/a/*\""]);
}

#[test]
fn what_a_refused_expression_takes_goes_nowhere_else() {
    let site = |locations: &str| {
        server(&format!("{locations} location / {{ proxy_pass http://10.0.0.1; }}"))
    };
    let refused = |text: &str| fates(&imported(text), "location").remove(0);
    for (expression, base) in [
        (r"^/users/(?!x)\d+$", "/users/"),
        (r"^/api/v[12]/(?!a|b)\d", "/api/"),
        (r"^/a/b/?(a)\1", "/a/"),
        ("^/a/[^/]++x", "/a/"),
    ] {
        let text = site(&format!("location ~ {expression} {{ deny all; }}"));
        let path = format!("path = \"{base}*\"");
        check(&text, &["respond = { status = 501 }", &path, "path = \"/\""]);
        assert!(refused(&text).ends_with(&format!("what is below `{base}` is answered 501")));
        assert!(
            check_imported(&imported(&text), &environment())
                .iter()
                .all(|found| found.rule != "duplicate-route")
        );
    }
    for expression in [r"\.php(?=x)$", r"^/(?!a)", r"^/a/(?=b)\d|^/b/\d"] {
        let text = site(&format!("location ~ {expression} {{ deny all; }}"));
        assert!(!imported(&text).text.contains("501"), "{expression}");
        assert!(
            refused(&text).ends_with("what it takes goes to the other locations"),
            "{expression}"
        );
    }
    // A location of that very path keeps it.
    let both =
        r"location ~ ^/users/(?!x) { deny all; } location /users/ { proxy_pass http://10.0.0.1; }";
    assert!(!imported(&site(both)).text.contains("501"));
}

#[test]
fn paths_are_changed_by_prefix_or_by_expression() {
    let pass = |path: &str, rewrite: &str, to: &str| {
        format!("location {path} {{ {rewrite} proxy_pass http://10.0.0.1{to}; }}")
    };
    for (path, rewrite, to, expected) in [
        ("/a", "", "/b", &["path = \"/a*\"", "replace_prefix = \"/b\""][..]),
        ("= /a", "", "/b", &["path_regex = \"^/a$\"", "replace_path = \"/b\""]),
        ("/a", "", "$request_uri", &["path = \"/a*\""]),
        (
            r"~ ^/u/(\d+)$",
            "",
            "/user/$1$is_args$args",
            &[r#"path_regex = "^/u/(\\d+)$""#, "replace_path = \"/user/$1\""],
        ),
        (
            "/a",
            "rewrite ^/a(/.*)$ $1 break;",
            "",
            &["path = \"/a*\"", "path_regex = \"^/a(/.*)$\"", "replace_path = \"$1\""],
        ),
        (
            "/a",
            "rewrite ^ /index break;",
            "",
            &["path_regex = \"^/a\"", "replace_path = \"/index\""],
        ),
        (
            "/a",
            "rewrite ^(.*)$ /v2$1 break;",
            "",
            &["path = \"/a*\"", "replace_prefix = \"/v2/a\""],
        ),
        (
            "~ ^/a/",
            "rewrite ^/a/(.*)$ /b/$1 break;",
            "",
            &["path_regex = \"^/a/(.*)$\"", "replace_path = \"/b/$1\""],
        ),
    ] {
        let text = pass(path, rewrite, to);
        assert_eq!(paths(&text), expected, "{text}");
        let fates = [
            fates(&imported(&server(&text)), "rewrite"),
            fates(&imported(&server(&text)), "proxy_pass"),
        ];
        assert!(fates.concat().iter().all(|fate| fate == "mapped"), "{text}: {fates:?}");
    }
    let asked = "location ~ ^/u/(.*)$ { if ($request_method !~ ^(GET)$) { return 405; }
        proxy_pass http://10.0.0.1/$1; }";
    assert!(fates(&imported(&server(asked)), "proxy_pass")[0].contains("asked last"));
    for (path, rewrite, reason) in [
        ("/a", "rewrite ^/a/(.*)$ /b?c=$1 break;", "changes no query"),
        ("/a", r"rewrite ^/a/(?!x)(.*)$ /b/$1 break;", "never look around"),
        ("/a", "rewrite ^/[a-z]+/ /b break;", "of the location's paths alone"),
        ("~ ^/a", "rewrite ^/b(.*)$ /c/$1 break;", "of the location's paths alone"),
        ("/a", "rewrite ^/a/(.*)$ /a/$1 last;", "changed once more"),
        ("/a", "rewrite ^/a/(.*)$ /b/$1 last;", "no location takes"),
        ("/a", "rewrite ^/a/(.*)$ /$host/$1 break;", "no variable"),
    ] {
        let fate = fates(&imported(&server(&pass(path, rewrite, ""))), "rewrite").remove(0);
        assert!(fate.starts_with("refused") && fate.contains(reason), "{rewrite}: {fate}");
    }
}

#[test]
fn what_is_looked_for_again_leads_to_each_location() {
    let text = "location ~ \"^/static/[0-9a-f]{8}\\/(.*)$\" { rewrite \"^/static/[0-9a-f]{8}\\/(.*)\" /$1 last; }
        location = /one { return 204; } location /two { proxy_pass http://10.0.0.2; }
        location / { proxy_pass http://10.0.0.1; }";
    assert_eq!(
        paths(text),
        [
            "path = { exact = \"/one\" }",
            "path = \"/two*\"",
            "path = \"/\"",
            "path_regex = \"^/static/[0-9a-f]{8}/one$\"",
            "path_regex = \"^/static/[0-9a-f]{8}/two(.*)$\"",
            "replace_path = \"/two$1\"",
            "path_regex = \"^/static/[0-9a-f]{8}/(.*)\"",
            "replace_path = \"/$1\"",
        ]
    );
    let told = imported(&server(text)).findings;
    assert!(told.iter().any(|found| found.message.contains("also looks among expressions")));
}

#[test]
fn methods_have_routes_of_their_own() {
    const PASS: &str = "proxy_pass http://10.0.0.1;";
    let except = format!("location / {{ limit_except GET {{ deny all; }} {PASS} }}");
    check(
        &server(&except),
        &["methods = [\"GET\", \"HEAD\"]", "pool = \"10.0.0.1-80\"", "respond = { status = 403 }"],
    );
    assert_eq!(fates(&imported(&server(&except)), "limit_except"), ["mapped"]);
    let guarded =
        format!("location / {{ limit_except GET {{ allow 10.0.0.0/8; deny all; }} {PASS} }}");
    check(&server(&guarded), &["methods = [\"GET\", \"HEAD\"]", "respond = { status = 403 }"]);
    assert!(fates(&imported(&server(&guarded)), "allow")[0].starts_with("refused"));
    // No path that a rewrite changes gets around it.
    let changed = format!(
        "location /a/ {{ limit_except GET {{ deny all; }} rewrite ^/a/(\\d+)$ /n/$1 break; {PASS} }}"
    );
    assert_eq!(paths(&changed).iter().filter(|key| key.starts_with("methods")).count(), 2);
    let cors = format!(
        "location / {{ if ($request_method = OPTIONS) {{ add_header X-A 1; return 204; }}
           if ($request_method = 'POST') {{ add_header X-B 2 always; }} {PASS} }}"
    );
    check(
        &server(&cors),
        &[
            "methods = [\"OPTIONS\"]",
            "respond = { status = 204 }",
            "response_headers = { add = { x-a = \"1\" }, when = \"success\" }",
            "methods = [\"POST\"]",
            "response_headers = { add = { x-b = \"2\" } }",
        ],
    );
    let only =
        format!("location / {{ if ($request_method !~ ^(GET|PUT)$) {{ return 405; }} {PASS} }}");
    check(&server(&only), &["methods = [\"GET\", \"PUT\"]", "respond = { status = 405 }"]);
    // A route of the door for GET serves HEAD too.
    check(&server(&only), &["methods = [\"HEAD\"]"]);
    for condition in ["($arg_a = b)", "($request_method ~ GET)", "($request_method = POST)"] {
        let text = format!("location / {{ if {condition} {{ set $a b; }} {PASS} }}");
        let fate = fates(&imported(&server(&text)), "if").remove(0);
        assert!(fate.starts_with("refused"), "{condition}: {fate}");
    }
}

#[test]
fn more_headers_are_rules_of_every_status() {
    let site = |inside: &str| {
        server(&format!(
            "more_set_headers 'X-Site: $host'; location / {{ proxy_set_header Host $host; {inside}
             proxy_pass http://10.0.0.1; }}"
        ))
    };
    check(
        &site("more_set_headers 'X-A: 1' 'X-B: 2'; more_clear_headers Server X-Site;"),
        &[
            "response_headers = { remove = [\"server\", \"x-site\"], set = { x-a = \"1\", x-b = \"2\" } }",
        ],
    );
    check(
        &site("more_set_input_headers 'X-C: $scheme'; more_clear_input_headers X-D;"),
        &["request_headers = { remove = [\"x-d\"], set = { x-c = \"{scheme}\" } }"],
    );
    for (directive, reason) in [
        ("more_set_headers -s 404 'X-A: 1';", "whatever status"),
        ("more_clear_headers 'X-*';", "whole names"),
        ("more_set_headers 'X-A: $upstream_status';", "not what came of it"),
        ("more_set_input_headers 'X-A: 1'; proxy_set_header X-A 2;", "another directive"),
    ] {
        let imported = imported(&site(directive));
        let name = directive.split(' ').next().unwrap();
        let fate = fates(&imported, name).pop().unwrap();
        assert!(fate.starts_with("refused") && fate.contains(reason), "{directive}: {fate}");
    }
}

#[test]
fn tokens_are_asked_for_where_their_keys_are_named() {
    let site = |inside: &str| {
        server(&format!(
            "location / {{ auth_jwt \"api\"; {inside} proxy_set_header Host $host;
             proxy_pass http://10.0.0.1; }}"
        ))
    };
    let named = site(
        "auth_jwt_key_file conf/keys.json; auth_jwt_leeway 5s; proxy_set_header X-User $jwt_claim_sub;",
    );
    check(
        &named,
        &["jwt_auth = { jwks_file = \"conf/keys.json\", headers = { x-user = \"sub\" } }"],
    );
    assert_eq!(fates(&imported(&named), "auth_jwt"), ["mapped"]);
    for inside in [
        "",
        "auth_jwt_key_request /keys;",
        "auth_jwt_key_file a; auth_jwt_key_file b;",
        "auth_jwt_key_file a; auth_jwt_require $valid;",
        "auth_jwt_key_file a; auth_jwt_type encrypted;",
        "auth_jwt_key_file $file;",
    ] {
        let text = site(inside);
        check(&text, &["respond = { status = 403 }"]);
        assert!(!imported(&text).text.contains("pool ="), "{inside}");
    }
    check(
        &server(
            "location / { auth_jwt a token=$cookie_t; auth_jwt_key_file a; proxy_pass http://10.0.0.1; }",
        ),
        &["respond = { status = 403 }"],
    );
}

/// What a block `stream` comes to, and what becomes of its servers.
fn stream(inside: &str) -> (String, Vec<String>) {
    let imported = imported(&format!("events {{}} stream {{ {inside} }}"));
    (imported.text.clone(), fates(&imported, "server"))
}

#[test]
fn connections_are_passed_on_as_in_stream() {
    let (text, fates) = stream(
        "upstream base { least_conn; server 10.0.0.1:5432 max_conns=9; server 10.0.0.2:5432; }
         server { listen 5432; proxy_pass base; proxy_connect_timeout 2s; proxy_timeout 1h;
            proxy_next_upstream_tries 2; }
         server { listen 10.0.0.9:6379 proxy_protocol; set_real_ip_from 10.0.0.0/8;
            proxy_pass cache.test:6379; proxy_protocol on; }",
    );
    for line in [
        "mode = \"tcp\"",
        "address = \"0.0.0.0:5432\"",
        "pool = \"base\"",
        "balance = \"least-request\"",
        "timeouts = { connect = \"2s\", tunnel_idle = \"3600s\" }",
        "retries = { attempts = 2, budget = 1.00 }",
        "in_flight_max = 9",
        "servers = [\"cache.test:6379\"]",
        "timeouts = { connect = \"60s\", tunnel_idle = \"600s\" }",
        "proxy_protocol = \"v1\"",
        "trusted_proxies = [\"10.0.0.0/8\"]",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert_eq!(fates, ["mapped"; 4]);
}

#[test]
fn connections_are_told_apart_by_server_name() {
    const MAP: &str = "map $ssl_preread_server_name $to { hostnames; A.test one; *.b.test two;
        .c.test two; default one; }
        upstream one { server 10.0.0.1:443; } upstream two { server 10.0.0.2:443; }";
    let (text, fates) =
        stream(&format!("{MAP} server {{ listen 443; ssl_preread on; proxy_pass $to; }}"));
    let names = "{ \"a.test\" = \"one\", \"*.b.test\" = \"two\", \"c.test\" = \"two\", \"*.c.test\" = \"two\" }";
    for line in [&format!("sni = {names}"), "pool = \"one\"", "timeouts = { handshake = \"30s\" }"]
    {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert_eq!(fates, ["mapped"; 3]);
    for (server, reason) in [
        ("listen 443; proxy_pass $to;", "server name of TLS alone"),
        ("listen 443; ssl_preread on; proxy_pass $host;", "server name of TLS alone"),
        ("listen 53 udp; proxy_pass one;", "TCP alone"),
        ("listen 53; proxy_pass one; allow 10.0.0.0/8; deny all;", "`allow`"),
        ("listen 53; return x;", "`return`"),
        ("listen 53; proxy_pass unix:/a;", "Unix sockets"),
        ("listen 53; proxy_pass a;", "no port"),
    ] {
        let (text, fates) = stream(&format!("{MAP} server {{ {server} }}"));
        let fate = fates.last().unwrap();
        assert!(fate.starts_with("refused") && fate.contains(reason), "{server}: {fate}");
        assert!(!text.contains("mode"), "{server}");
    }
    let twice = "server { listen 1; proxy_pass a:1; } server { listen 1; proxy_pass b:1; }";
    assert!(stream(twice).0.matches("mode = ").count() == 1);
}
