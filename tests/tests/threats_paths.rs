//! The threat list continued: header fields, hosts and paths that are not what they look like.

use black_box::fort::{Fort, get};
use black_box::{Backend, Client, Setup, ok};

#[test]
fn threat_17_headers_nominated_by_connection() {
    let mut fort = Fort::new();
    for name in [
        "Host",
        "host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "x-forwarded-user",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Request-Id",
        "Via",
        "traceparent",
        "X-Real-IP",
        "Content-Type",
        "x_forwarded_for",
        "X-Remote-User",
        "Origin",
        "a b",
        "\"x\"",
    ] {
        fort.refuses(
            &get("/", &format!("Connection: close, {name}\r\n")),
            400,
            "bad_connection_header",
        );
        fort.refuses(
            &get("/", &format!("Connection: close\r\nConnection: {name}\r\n")),
            400,
            "bad_connection_header",
        );
    }
    let many: Vec<String> = (0..200).map(|number| format!("x{number}")).collect();
    let lines = format!("Connection: {}\r\n", many.join(","));
    fort.refuses(&get("/", &lines), 400, "bad_connection_header");
    fort.told();
}

#[test]
fn threat_18_look_alike_headers() {
    let mut fort = Fort::new();
    for name in [
        "X_Forwarded_For",
        "x_forwarded-for",
        "X_Real_IP",
        "Content_Length",
        "content_length",
        "Transfer_Encoding",
        "x_request_id",
        "X.Forwarded.For",
        "X-Forwarded!Proto",
        "X_Forwarded_User",
        "x_remote_user",
        "Remote_User",
        "SSL_CLIENT_CERT",
        "X_Auth_Request_Email",
    ] {
        fort.refuses(&get("/", &format!("{name}: 1\r\n")), 400, "bad_header");
    }
    fort.told();
}

#[test]
fn threat_19_spoofed_identity_headers() {
    let mut fort = Fort::new();
    for name in [
        "X-Forwarded-For\u{a0}",
        "X-Forwarded-For\u{0}",
        "\u{feff}X-Forwarded-For",
        "X Forwarded-For",
        "X-Forwarded-For ",
        " X-Forwarded-For",
    ] {
        fort.refuses(&get("/", &format!("{name}: 10.9.9.9\r\n")), 400, "bad_header");
    }
    fort.told();
    // In any case they are known, and replaced by what the door knows.
    for name in [
        "X-FORWARDED-FOR",
        "x-forwarded-for",
        "x-Forwarded-Proto",
        "X-FORWARDED-Host",
        "X-forwarded-Port",
        "X-FoRwArDeD-User",
        "X-Forwarded-Anything-Else",
        "FORWARDED",
        "x-real-IP",
        "X-REQUEST-ID",
    ] {
        let answer = Client::to(&fort.door).ask(get("/id", &format!("{name}: forged\r\n")));
        assert_eq!(answer.status, 200);
    }
    assert!(!fort.backend.received_text().contains("forged"), "{}", fort.backend.received_text());
    assert!(fort.backend.last().headers.has("x-request-id"));
}

#[test]
fn threat_20_empty_header_name() {
    let mut fort = Fort::new();
    for line in [": empty", ":", "no colon", "::", " : x", "\t: x"] {
        fort.refuses(&get("/", &format!("{line}\r\n")), 400, "bad_header");
        fort.refuses(
            &get("/", &format!("A: b\r\n{line}\r\nContent-Length: 5\r\n")),
            400,
            "bad_header",
        );
    }
    fort.told();
}

#[test]
fn threat_21_space_before_the_colon() {
    let mut fort = Fort::new();
    for lines in [
        "Content-Length : 5\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Content-Length: 5\r\n",
        "\tContent-Length: 5\r\n",
        "Host : b\r\n",
        "A: b\r\n Content-Length: 5\r\n",
    ] {
        fort.refuses(&get("/", lines), 400, "bad_header");
    }
    fort.refuses("GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", 400, "bad_header");
    fort.refuses("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_header");
    fort.told();
}

#[test]
fn threat_22_bare_line_ends() {
    let mut fort = Fort::new();
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rContent-Length: 5\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        fort.refuses(text, 400, "bare_line_end");
    }
    fort.told();
}

#[test]
fn threat_23_target_against_host() {
    let mut fort = Fort::new();
    for text in [
        "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
        "GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET https://a.example/ HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        fort.refuses(text, 400, "bad_host");
    }
    for target in [
        "http://user@a/",
        "http://a:x/",
        "http:///",
        "http://",
        "ftp://a/",
        "http:/a",
        "a:80",
        "http://a\\@b/",
        "http://a#b",
        "*",
        "/a#b",
        "#",
        "javascript:alert(1)",
        "a",
    ] {
        fort.refuses(&get(target, ""), 400, "bad_target");
    }
    fort.refuses("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_served");
    fort.refuses("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_served");
    for method in ["head", "Get", "cOnnect", "pOST"] {
        fort.refuses(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "bad_request_line");
    }
    fort.told();
}

/// Targets that no reading may turn into `/admin`.
#[test]
fn threat_24_dot_segments_with_parameters() {
    let mut fort = Fort::new();
    for target in [
        "/..;a=b/admin",
        "/..;/admin",
        "/a/..;/admin",
        "/a/.;/admin",
        "/a/..%3b/admin",
        "/a/..%3Bx=y/admin",
        "/%2e%2e;a=b/admin",
        "/a/%2e%2e%3b/admin",
        "/a/..%253b/admin",
        "/.;",
    ] {
        fort.refuses(&get(target, ""), 400, "bad_target");
        fort.refuses(&get(&format!("http://a{target}"), ""), 400, "bad_target");
    }
    fort.told();
}

/// `/admin` is guarded by a route; every spelling of it meets the guard, none the server.
#[test]
fn threat_25_percent_encoding_cannot_pass_a_guard() {
    let backend = Backend::answering(ok("reached"));
    let door = Setup::of(&[&backend])
        .more("[routes.guard]\npath = \"/admin\"\nrespond = { status = 403, body = \"guarded\" }")
        .start();
    let mut client = Client::to(&door);
    for target in [
        "/admin",
        "/%61dmin",
        "/a%64min",
        "/%61%64%6d%69%6e",
        "/%61%64%6D%69%6E/x",
        "/admin/%2e",
        "/x/../admin",
        "/x/%2E%2e/admin",
        "/x/.%2e/%61dmin/y",
        "/./admin",
        "http://localhost/%61dmin",
    ] {
        let answer = client.get(target);
        assert_eq!((answer.status, answer.text()), (403, "guarded".to_owned()), "{target}");
    }
    assert!(backend.received().is_empty(), "{}", backend.received_text());
    let mut fort = Fort::new();
    for target in ["/%", "/%4", "/%4g", "/%g4", "/a%", "/%%41", "/%u0061dmin", "/%+1", "/%2500"] {
        fort.refuses(&get(target, ""), 400, "bad_target");
    }
    fort.told();
}

/// A prefix is cut off what is forwarded; what is cut is what was matched.
#[test]
fn threat_26_strip_prefix_desync() {
    let backend = Backend::answering(ok("reached"));
    let door = Setup::of(&[&backend])
        .without_route()
        .more(
            "[routes.api]\npath = \"/api\"\npool = \"api\"\nreplace_prefix = \"/public\"\n\
             [routes.guard]\npath = \"/admin\"\nrespond = { status = 403 }",
        )
        .start();
    for (target, outcome) in [
        ("/api/../admin", 403),
        ("/api/%2e%2e/admin", 403),
        ("/api/.%2E/admin", 403),
        ("/api/x/../../admin", 403),
        ("/api/..", 404),
        ("/api/../", 404),
        ("/apiadmin", 404),
        ("/api/..%2fadmin", 400),
        ("/api/%2e%2e%2fadmin", 400),
        ("/api%2f..%2fadmin", 400),
        ("/api%2f../admin%2f..", 400),
        ("/api/%252e%252e/admin", 400),
        ("/api/%25252e%25252e/admin", 400),
        ("/api/..%252fadmin", 400),
        ("/api/..%255cadmin", 400),
        ("/api/..\\admin", 400),
        ("/api/.%2fx", 400),
        ("/../api", 400),
        ("/api/../..", 400),
    ] {
        let answer = Client::to(&door).get(target);
        assert_eq!(answer.status, outcome, "{target}");
        assert!(backend.received().is_empty(), "{target}: {}", backend.received_text());
    }
    for (target, seen) in [
        ("/api/x/../admin", "/public/admin"),
        ("/api/./x", "/public/x"),
        ("/%61pi/x", "/public/x"),
        ("/admin/../api/x", "/public/x"),
        ("/api/x/..", "/public/"),
        ("/api//x", "/public//x"),
        ("/api", "/public"),
    ] {
        assert_eq!(Client::to(&door).get(target).status, 200, "{target}");
        assert_eq!(backend.last().target, seen, "{target}");
    }
}

#[test]
fn threat_27_overlong_utf8_backslash_and_nul() {
    let mut fort = Fort::new();
    for target in [
        "/%c0%ae%c0%ae/admin",
        "/%c0%af",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%c1%9c",
        "/%ff",
        "/%80",
        "/%c3",
        "/%c3/x",
        "/%ed%a0%80",
        "/%f4%90%80%80",
        "/a\\b",
        "/..\\admin",
        "/a%5cb",
        "/a%5Cb",
        "/a%255c..",
        "/%00",
        "/a%00.txt",
        "/%0d%0aSet-Cookie:x",
        "/%0a",
        "/%09",
        "/%1b[31m",
        "/%7f",
        "/%2500",
        "/%25c0%25ae",
        "/é",
        "/\t",
    ] {
        fort.refuses(&get(target, ""), 400, "bad_target");
    }
    for line in ["GET /a\u{0}", "GET /a b", "GET  /", "GET\t/", " GET /"] {
        fort.refuses(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "bad_request_line");
    }
    fort.told();
}

#[test]
fn threat_31_forged_origin() {
    let mut fort = Fort::new();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n";
    let whole =
        [&v2[..], b"\x21\x11\x00\x0c\x0a\x09\x09\x09\x7f\x00\x00\x01\x00\x50\x00\x50"].concat();
    let local = [&v2[..], b"\x20\x00\x00\x00"].concat();
    let long = [&v2[..], b"\x21\x11\xff\xff"].concat();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    for preamble in [
        b"PROXY TCP4 10.9.9.9 127.0.0.1 1 2\r\n".as_slice(),
        b"PROXY TCP6 ::1 ::1 1 2\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN \r\n",
        b"PROXY\r\n",
        &whole,
        &local,
        &long,
        &v2[..],
    ] {
        fort.refuses_for_any_reason(&[preamble, request].concat());
    }
    // Cut off anywhere, it is refused or runs out of time; never is it waited for without end.
    for length in 1..v2.len() {
        fort.refuses_for_any_reason(&v2[..length]);
    }
    assert!(fort.backend.received().is_empty());
    for lines in [
        "Forwarded: for=10.9.9.9\r\n",
        "Forwarded: for=\"[2001:db8::9]\";by=10.9.9.9\r\nForwarded: for=10.9.9.9\r\n",
        "X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-For: 10.9.9.9, 127.0.0.1\r\n",
        "X-Forwarded-For: 10.9.9.9, 127.0.0.1\r\nX-Real-IP: 10.9.9.9\r\n",
        "X-Forwarded-Host: 10.9.9.9\r\nX-Forwarded-Proto: 10.9.9.9\r\nX-Forwarded-Port: 10.9.9.9\r\n",
        "X-Forwarded-Prefix: /10.9.9.9\r\nX-Forwarded-Server: 10.9.9.9\r\n",
    ] {
        assert_eq!(Client::to(&fort.door).ask(get("/", lines)).status, 200);
        assert_eq!(fort.backend.last().headers.all("x-forwarded-for"), ["127.0.0.1"]);
    }
    let seen = fort.backend.received_text();
    assert!(!seen.contains("10.9.9.9") && !seen.contains("2001:"), "{seen}");
    let logged = std::fs::read_to_string(fort.door.folder().join("access")).unwrap();
    assert!(!logged.contains("\"client\":\"10.9.9.9\""), "the log believes nothing of it either");
}
