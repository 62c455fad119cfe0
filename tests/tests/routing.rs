//! Which route serves a request, and what routes do that need no server.

use black_box::streams::{Streams, get};
use black_box::{Backend, Client, Door, Setup, ok};

/// A door whose routes answer with their own names.
fn door(routes: &[(&str, &str)]) -> Door {
    let tables: String = routes
        .iter()
        .map(|(name, lines)| {
            format!("[routes.{name}]\n{lines}\nrespond = {{ body = \"{name}\" }}\n")
        })
        .collect();
    Setup::default().more(&tables).start()
}

/// `request` is `METHOD HOST TARGET` and perhaps header lines.
fn check(client: &mut Client, request: &str, expected: &str) {
    let mut words = request.splitn(4, ' ');
    let (method, host, target) = (words.next(), words.next(), words.next());
    let lines = words.next().map(|line| format!("{line}\r\n")).unwrap_or_default();
    let text = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n",
        method.unwrap_or_default(),
        target.unwrap_or_default(),
        host.unwrap_or_default()
    );
    let answer = client.ask(text);
    let found = match answer.reason() {
        None => answer.text(),
        Some(reason) => format!("{} {reason}", answer.status),
    };
    assert_eq!(found, expected, "{request}");
}

#[test]
fn hosts() {
    let door = door(&[
        ("exact", "host = \"www.example.com\""),
        ("wild", "host = \"*.example.com\""),
        ("deep", "host = \"*.a.example.com\""),
        ("several", "host = [\"x.test\", \"*.y.test\"]"),
    ]);
    let mut client = Client::to(&door);
    for (host, expected) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com:8080", "exact"),
        ("www.example.com.", "exact"),
        ("api.example.com", "wild"),
        ("b.a.example.com", "deep"),
        ("a.example.com", "wild"),
        ("c.b.example.com", "404 no_route"),
        ("example.com", "404 no_route"),
        ("wwwexample.com", "404 no_route"),
        ("x.test", "several"),
        ("z.y.test", "several"),
        ("y.test", "404 no_route"),
        ("127.0.0.1", "404 no_route"),
        ("[::1]:80", "404 no_route"),
    ] {
        check(&mut client, &format!("GET {host} /"), expected);
    }
}

#[test]
fn paths() {
    let door = door(&[
        ("root", "path = \"/\""),
        ("prefix", "path = \"/api\""),
        ("longer", "path = \"/api/v2\""),
        ("exact", "path = { exact = \"/api/v2/health\" }"),
        ("user", "path = \"/users/{id}\""),
        ("posts", "path = \"/users/{id}/posts\""),
        ("files", "path = \"/files/{*rest}\""),
    ]);
    let mut client = Client::to(&door);
    for (path, expected) in [
        ("/", "root"),
        ("/api", "prefix"),
        ("/api/", "prefix"),
        ("/api/x", "prefix"),
        ("/api?x=/api/v2", "prefix"),
        ("/apix", "root"),
        ("/API", "root"),
        ("/api/v2", "longer"),
        ("/api/v2/health", "exact"),
        ("/api/v2/health/", "longer"),
        ("/api/v2x", "prefix"),
        ("/users/7", "user"),
        ("/users/7/", "root"),
        ("/users/", "root"),
        ("/users/7/posts", "posts"),
        ("/users/7/posts/1", "root"),
        ("/files/a/b/c", "files"),
        ("/x/../api/v2", "longer"),
        ("/%61pi", "prefix"),
        ("/api%2Fv2", "root"),
    ] {
        check(&mut client, &format!("GET a {path}"), expected);
    }
}

#[test]
fn starts_and_regular_expressions() {
    let door = door(&[
        ("images", "path = \"/img*\""),
        ("exact", "path = { exact = \"/img/1\" }"),
        ("numbers", "path_regex = '^/img/[0-9]+$'"),
        ("api", "path = \"/api\""),
        ("apis", "path = \"/api*\""),
        ("php", "path_regex = '(?i)[.]php$'"),
    ]);
    let mut client = Client::to(&door);
    for (path, expected) in [
        ("/img", "images"),
        ("/img/a", "images"),
        ("/imgx?y", "images"),
        ("/im", "404 no_route"),
        ("/img/1", "exact"),
        ("/img/12", "numbers"),
        ("/img/12/a", "images"),
        ("/api/x", "api"),
        ("/apix", "apis"),
        ("/x/INDEX.PHP", "php"),
        ("/x/index%2Ephp", "php"),
        ("/x/index.php/", "404 no_route"),
        ("/x?index.php", "404 no_route"),
        ("/y/../img/./7", "numbers"),
    ] {
        check(&mut client, &format!("GET a {path}"), expected);
    }
}

#[test]
fn a_priority_comes_before_hosts_and_paths() {
    let door = door(&[
        ("exact", "host = \"www.example.com\"\npath = { exact = \"/a\" }"),
        ("writes", "methods = [\"POST\"]\npriority = 10"),
        ("blocked", "path_regex = '/private/'\npriority = 20"),
        ("rest", "path = \"/\""),
    ]);
    let mut client = Client::to(&door);
    for (request, expected) in [
        ("GET www.example.com /a", "exact"),
        ("POST www.example.com /a Content-Length: 0", "writes"),
        ("POST www.example.com /a/private/b Content-Length: 0", "blocked"),
        ("GET x /private/", "blocked"),
        ("GET x /private", "rest"),
    ] {
        check(&mut client, request, expected);
    }
}

/// Whatever the client and the server speak, the server is asked for the same path, and never for
/// a dot segment that came about.
#[test]
fn paths_are_rewritten_alike_over_http_1_and_http_2() {
    let routes = "[routes.images]\npath = \"/img*\"\npool = \"api\"\nreplace_prefix = \"/\"\n\
        [routes.numbers]\npath_regex = '^/api/([1-9][0-9]*)/(?<rest>.*)'\npool = \"api\"\n\
        replace_path = \"/v2/${rest}-$1$$\"\n\
        [routes.tail]\npath_regex = '/tail/(.*)$'\npool = \"api\"\nreplace_path = \"$1\"";
    let backend = Backend::answering(ok(""));
    let behind = Setup::of(&[&backend]).start();
    for setup in
        [Setup::of(&[&backend]), Setup::at(&[behind.first_address()]).pool("protocol = \"http2\"")]
    {
        let door = setup.without_route().more(routes).start();
        for (target, expected) in [
            ("/img", Some("/")),
            ("/imgx?a=/img", Some("/x?a=/img")),
            ("/img/a%2Fb/", Some("/a%2Fb/")),
            ("/img./a", Some("/a")),
            ("/img../a", None),
            ("/img..;x/a", None),
            ("/api/12/a/b", Some("/v2/a/b-12$")),
            ("/api/12/?q", Some("/v2/-12$?q")),
            ("/x/tail/", Some("/")),
            ("/x/tail/a", Some("/a")),
            ("/x/tail//a", Some("/a")),
        ] {
            for over_http2 in [false, true] {
                let before = backend.requests().len();
                let status = if over_http2 {
                    let mut streams = Streams::to(&door);
                    streams.open(1, &get(target), true);
                    streams.status(1)
                } else {
                    Client::to(&door).get(target).status
                };
                let after = backend.requests();
                let seen = after.get(before).map(|request| &*request.target);
                let answer = if expected.is_some() { 200 } else { 400 };
                assert_eq!((status, seen), (answer, expected), "{target} {over_http2}");
            }
        }
    }
}

#[test]
fn a_request_for_another_protocol_is_rewritten_too() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend])
        .without_route()
        .more("[routes.chat]\npath = \"/chat*\"\npool = \"api\"\nreplace_prefix = \"/ws\"")
        .start();
    let answer = Client::to(&door).ask(
        "GET /chat/1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let request = backend.last();
    assert_eq!((&*request.target, request.headers.get("upgrade")), ("/ws/1", Some("websocket")));
}

#[test]
fn methods_and_headers() {
    let door = door(&[
        ("read", "path = \"/item\"\nmethods = [\"GET\"]"),
        ("write", "path = \"/item\"\nmethods = [\"PUT\", \"DELETE\"]"),
        ("beta", "path = \"/h\"\nheaders = { x-kind = \"beta\" }"),
        ("any", "path = \"/h\"\nheaders = { X-Flag = true }"),
        ("both", "path = \"/h\"\nheaders = { x-kind = \"beta\", x-flag = true }"),
    ]);
    let mut client = Client::to(&door);
    for (request, expected) in [
        ("GET a /item", "read"),
        ("PUT a /item Content-Length: 0", "write"),
        ("DELETE a /item", "write"),
        ("POST a /item", "405 method_not_allowed"),
        ("PATCH a /item", "405 method_not_allowed"),
        ("PATCH a /other", "404 no_route"),
        ("GET a /h", "404 no_route"),
        ("GET a /h X-Kind: beta", "beta"),
        ("GET a /h X-Kind: Beta", "404 no_route"),
        ("GET a /h X-FLAG: whatever", "any"),
        ("GET a /h X-Kind: beta\r\nx-flag: 1", "both"),
    ] {
        check(&mut client, request, expected);
    }
    client.send("HEAD /item HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response_to_head();
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("4")),
        "GET serves HEAD"
    );
}

#[test]
fn a_405_says_which_methods_are_allowed() {
    let door = door(&[
        ("read", "path = \"/item\"\nmethods = [\"GET\"]"),
        ("write", "path = \"/item\"\nmethods = [\"PUT\", \"DELETE\"]"),
    ]);
    let answer = Client::to(&door).ask("POST /item HTTP/1.1\r\nHost: a\r\n\r\n");
    let allow = answer.header("allow").expect("RFC 9110, section 15.5.6").to_owned();
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allow.split(", ").any(|told| told == method), "{method} in {allow:?}");
    }
}

#[test]
fn redirects() {
    for (status, location, target, expected) in [
        (301, "https://{host}{path}{query}", "/a/b?c=d", "https://www.example/a/b?c=d"),
        (302, "https://{host}{path}{query}", "/a", "https://www.example/a"),
        (307, "/moved{path}", "/a?x=1", "/moved/a"),
        (308, "https://new.example/", "/a?x=1", "https://new.example/"),
        (301, "https://{host}{path}", "//evil.example/", "https://www.example//evil.example/"),
    ] {
        let door = Setup::default()
            .more(&format!(
                "[routes.r]\nredirect = {{ status = {status}, location = \"{location}\" }}"
            ))
            .start();
        let mut client = Client::to(&door);
        for _ in 0..2 {
            let answer =
                client.ask(format!("GET {target} HTTP/1.1\r\nHost: www.example:8080\r\n\r\n"));
            assert_eq!((answer.status, answer.header("location")), (status, Some(expected)));
        }
    }
}

#[test]
fn a_redirect_never_leads_to_a_host_of_the_clients_choice() {
    let door = Setup::default()
        .more("[routes.r]\nredirect = { status = 308, location = \"{path}{query}\" }")
        .start();
    let mut client = Client::to(&door);
    for target in
        ["//evil.example/", "///evil.example", "//evil.example/..", "/./%2e//evil.example"]
    {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let location = answer.header("location").unwrap_or_default().to_owned();
        assert!(!location.starts_with("//"), "{target} leads to {location:?}");
    }
}

#[test]
fn fixed_responses() {
    let door = Setup::default()
        .more(
            "[routes.teapot]\nrespond = { status = 418, body = \"short and stout\", content_type = \"text/x-tea\" }\n\
             [routes.empty]\npath = \"/empty\"\nrespond = { status = 204 }",
        )
        .start();
    let mut client = Client::to(&door);
    let answer = client.get("/");
    assert_eq!((answer.status, answer.text()), (418, "short and stout".to_owned()));
    assert_eq!(answer.header("content-type"), Some("text/x-tea"));
    let answer = client.get("/empty");
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    // A body that nobody asked for does not disturb the next request.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    let answer = client.response();
    assert_eq!(answer.status, 418);
    match answer.header("connection") {
        Some(told) => {
            assert_eq!(told, "close");
            client.expect_closed();
        }
        None => assert_eq!(client.get("/").status, 418),
    }
}

#[test]
fn a_route_may_have_a_body_limit_of_its_own() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend])
        .listen("limits = { body = 10 }")
        .more("[routes.upload]\npath = \"/upload\"\npool = \"api\"\nbody_max = \"1KiB\"")
        .start();
    for (path, length, status) in
        [("/", 10, 200), ("/", 11, 413), ("/upload", 1_024, 200), ("/upload", 1_025, 413)]
    {
        let body = "x".repeat(length);
        let answer = Client::to(&door).ask(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(answer.status, status, "{path} {length}");
    }
}
