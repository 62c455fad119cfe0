//! What the door makes of heads on their way: hop-by-hop fields, forwarding fields, ids, targets.

use black_box::{Backend, Client, Door, Setup, ok, response};

/// Asks with these lines and gives what reached the server.
fn forwarded(door: &Door, backend: &Backend, request: &str) -> black_box::Request {
    let answer = Client::to(door).ask(request);
    assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
    backend.last()
}

#[test]
fn hop_by_hop_fields_end_at_the_door() {
    let backend = Backend::answering(response(
        200,
        "Connection: X-Own-Hop, keep-alive\r\nX-Own-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-MiXed: Case\r\n",
        "",
    ));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop , ,X-Other,Keep-Alive\r\nX-Hop: 1\r\n\
         x-other: 2\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\n\
         TE: trailers\r\nUpgrade: websocket\r\nX-Stays: 1\r\nx-MIXED: CaSe\r\nX-Stays: 2\r\n\
         Cookie: a=1\r\nAuthorization: Basic y\r\n\r\n",
    );
    for name in [
        "connection",
        "x-own-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "upgrade",
    ] {
        assert!(!answer.headers.has(name), "{name} passed: {answer:?}");
    }
    assert_eq!(answer.headers.all("set-cookie"), ["a=1", "b=2"]);
    let request = backend.last();
    for name in [
        "connection",
        "x-hop",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
    ] {
        assert!(!request.headers.has(name), "{name} passed: {request:?}");
    }
    assert_eq!(request.headers.all("x-stays"), ["1", "2"]);
    assert_eq!(request.headers.get("cookie"), Some("a=1"));
    assert_eq!(request.headers.get("authorization"), Some("Basic y"));
    assert!(backend.received_text().contains("x-MIXED: CaSe\r\n"), "names keep their case");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn an_untrusted_peer_says_nothing_about_itself() {
    let forged = "X-Forwarded-For: 10.9.9.9\r\nx-forwarded-for: 10.8.8.8\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\nX-Forwarded-User: root\r\n\
         X-Real-IP: 10.7.7.7\r\nForwarded: for=10.6.6.6;proto=https\r\nX-Request-Id: forged\r\n";
    for (style, x_forwarded, rfc7239) in [
        ("x-forwarded", true, false),
        ("rfc7239", false, true),
        ("both", true, true),
        ("off", false, false),
    ] {
        let backend = Backend::answering(ok(""));
        let door = Setup::of(&[&backend]).listen(&format!("forwarded = \"{style}\"")).start();
        let text = format!("GET / HTTP/1.1\r\nHost: www.example:81\r\n{forged}\r\n");
        let request = forwarded(&door, &backend, &text);
        let told = |name| request.headers.get(name);
        let of_style = |text: &'static str, on: bool| on.then_some(text);
        assert_eq!(told("x-forwarded-for"), of_style("127.0.0.1", x_forwarded), "{style}");
        assert_eq!(told("x-forwarded-proto"), of_style("http", x_forwarded), "{style}");
        assert_eq!(told("x-forwarded-host"), of_style("www.example:81", x_forwarded), "{style}");
        let element = "for=127.0.0.1;host=\"www.example:81\";proto=http";
        assert_eq!(told("forwarded"), of_style(element, rfc7239), "{style}");
        for name in ["x-forwarded-port", "x-forwarded-user", "x-real-ip"] {
            assert_eq!(told(name), None, "{style} {name}");
        }
        assert_ne!(told("x-request-id"), Some("forged"), "{style}");
        let all = backend.received_text();
        for text in ["10.9", "10.8", "10.7", "10.6", "evil", "root"] {
            assert!(!all.contains(text), "{style}: {text} passed in {all}");
        }
    }
}

#[test]
fn a_trusted_peer_is_believed_and_the_chain_grows() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend])
        .listen("forwarded = \"both\"\ntrusted_proxies = [\"10.0.0.0/8\", \"127.0.0.1\"]")
        .more("[telemetry]\naccess_log = { file = \"{dir}/access\" }")
        .start();
    let request = forwarded(
        &door,
        &backend,
        "GET / HTTP/1.1\r\nHost: in.example\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n\
         X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: out.example\r\n\
         X-Forwarded-Port: 443\r\nX-Real-IP: 203.0.113.7\r\nForwarded: for=203.0.113.7;proto=https\r\n\
         Forwarded: for=10.1.1.1\r\nX-Request-Id: chain-1\r\n\r\n",
    );
    let told = |name| request.headers.get(name);
    assert_eq!(told("x-forwarded-for"), Some("198.51.100.1, 203.0.113.7, 10.1.1.1, 127.0.0.1"));
    assert_eq!(told("x-forwarded-proto"), Some("https"));
    assert_eq!(told("x-forwarded-host"), Some("out.example"));
    assert_eq!(told("x-forwarded-port"), Some("443"));
    assert_eq!(told("x-real-ip"), Some("203.0.113.7"));
    assert_eq!(
        told("forwarded"),
        Some(
            "for=203.0.113.7;proto=https, for=10.1.1.1, for=127.0.0.1;host=\"in.example\";proto=http"
        )
    );
    assert_eq!(told("x-request-id"), Some("chain-1"));
    let line = black_box::eventually_some("the request is logged", || {
        let text = std::fs::read_to_string(door.folder().join("access")).ok()?;
        text.lines().next().map(str::to_owned)
    });
    assert!(line.contains("203.0.113.7"), "the last address no trusted proxy has: {line}");
}

#[test]
fn a_trusted_peer_without_a_chain_is_the_client() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).listen("trusted_proxies = [\"127.0.0.0/8\"]").start();
    let request = forwarded(&door, &backend, "GET / HTTP/1.1\r\nHost: in.example\r\n\r\n");
    assert_eq!(request.headers.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.headers.get("x-forwarded-proto"), Some("http"));
    assert_eq!(request.headers.get("x-forwarded-host"), Some("in.example"));
}

#[test]
fn request_ids_are_made_and_returned() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let answer = client.get("/");
        let id = answer.header("x-request-id").expect("an id is returned").to_owned();
        assert_eq!(backend.last().headers.get("x-request-id"), Some(id.as_str()));
        assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert!(!ids.contains(&id), "{id} is repeated");
        ids.push(id);
    }
    let own = Backend::answering(response(200, "X-Request-Id: its-own\r\n", ""));
    let door = Setup::of(&[&own]).start();
    assert_eq!(Client::to(&door).get("/").header("x-request-id"), Some("its-own"));
}

#[test]
fn trace_context_passes_untouched() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = forwarded(
        &door,
        &backend,
        &format!(
            "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {parent}\r\ntracestate: a=1,b=2\r\ntracestate: c=3\r\nbaggage: k=v\r\n\r\n"
        ),
    );
    assert_eq!(request.headers.get("traceparent"), Some(parent));
    assert_eq!(request.headers.all("tracestate"), ["a=1,b=2", "c=3"]);
    assert_eq!(request.headers.get("baggage"), Some("k=v"));
}

#[test]
fn targets_and_hosts_as_the_server_sees_them() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    for (line, host, target, seen_host) in [
        ("GET /a?b=c&d=%zz", "a.example", "/a?b=c&d=%zz", "a.example"),
        ("GET /a?", "a.example", "/a?", "a.example"),
        ("GET /?x=/../y", "a.example", "/?x=/../y", "a.example"),
        ("GET /a/./b/../c", "A.Example:8080", "/a/c", "A.Example:8080"),
        ("GET /%7euser/%c3%a9", "a", "/~user/%C3%A9", "a"),
        ("GET http://a.example/x?y", "a.example", "/x?y", "a.example"),
        ("GET http://A.example:80/x", "a.example", "/x", "A.example:80"),
        ("GET https://a.example", "a.example:443", "/", "a.example"),
        ("GET http://[::1]:8080/x", "[::1]:8080", "/x", "[::1]:8080"),
        ("OPTIONS /x", "a", "/x", "a"),
        ("PURGE /x", "a", "/x", "a"),
        ("GET //double//slash", "a", "//double//slash", "a"),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = forwarded(&door, &backend, &text);
        assert_eq!(request.target, target, "{line}");
        assert_eq!(request.headers.get("host"), Some(seen_host), "{line}");
        assert_eq!(request.method, line.split(' ').next().unwrap());
    }
}

#[test]
fn options_star_asks_the_door_itself() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    for target in ["*", "http://a"] {
        let answer = client.ask(format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((answer.status, answer.header("content-length")), (204, None), "{target}");
    }
    assert_eq!(client.get("/").status, 200);
    assert!(!backend.received_text().contains("OPTIONS"));
}

#[test]
fn prefixes_are_replaced_at_segment_borders() {
    let backend = Backend::answering(ok(""));
    for (prefix, replacement, target, seen) in [
        ("/api", "/", "/api/users?id=1", "/users?id=1"),
        ("/api", "/", "/api", "/"),
        ("/api", "/", "/api/", "/"),
        ("/api", "/v2", "/api/users", "/v2/users"),
        ("/api", "/v2", "/api", "/v2"),
        ("/api", "/v2/", "/api/users", "/v2/users"),
        ("/api/", "/v2/", "/api/users", "/v2/users"),
        ("/api", "/", "/api//etc", "//etc"),
        ("/", "/v2", "/users", "/v2/users"),
        ("/api", "/v2", "/api/%2e%2e/api/x", "/v2/x"),
        ("/api", "/v2", "/x/../api/y", "/v2/y"),
    ] {
        let door = Setup::of(&[&backend])
            .without_route()
            .more(&format!(
                "[routes.api]\npath = \"{prefix}\"\npool = \"api\"\nreplace_prefix = \"{replacement}\""
            ))
            .start();
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = forwarded(&door, &backend, &text);
        assert_eq!(request.target, seen, "{prefix} -> {replacement}: {target}");
    }
}

#[test]
fn the_query_is_kept_byte_by_byte() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend]).start();
    for query in ["a=b;c", "q=%20+%2B", "x[]=1&y={z}", "?", "a=\"b\"|^`", "https://a/b?c"] {
        let text = format!("GET /p?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(forwarded(&door, &backend, &text).target, format!("/p?{query}"));
    }
}

#[test]
fn header_values_pass_byte_by_byte() {
    let backend = Backend::answering(
        b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9\r\nX-Empty:\r\nX-Tab: a\tb\r\nContent-Length: 0\r\n\r\n"
            .as_slice(),
    );
    let door = Setup::of(&[&backend]).start();
    let mut client = Client::to(&door);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Latin: caf\xe9\r\nX-Empty:\r\nX-Tab: a\tb\r\nConnection: close\r\n\r\n");
    let answer = client.read_to_end();
    let all = backend.received();
    for line in [&b"X-Latin: caf\xe9\r\n"[..], b"X-Empty: \r\n", b"X-Tab: a\tb\r\n"] {
        for bytes in [&answer, &all] {
            let found = bytes.windows(line.len()).any(|window| window == line);
            assert!(found, "{:?} in {:?}", line.escape_ascii(), bytes.escape_ascii());
        }
    }
}
