//! Rules for the header fields of requests and responses.

use std::net::TcpListener;
use std::process::Command;

use black_box::{Backend, Client, Door, Fields, Setup, ok, response};

const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";

/// The one value of a field, and an empty text where there is none.
fn told<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).unwrap_or_default()
}

#[test]
fn servers_get_what_the_rules_make_of_a_request() {
    let backend = Backend::answering(ok(""));
    let door = Setup::of(&[&backend])
        .route(
            "request_headers = { set = { X-Tenant = \"{header:x-org}\", host = \"internal.example:8443\", \
             accept-encoding = \"\", x-seen = \"{method} {target} at {host} by {client_address} \
             {{{route}}}\", x-forwarded-proto = \"https\", x-id = \"{request_id}\" }, \
             add = { x-via = \"edge\", x-none = \"{user}{client}\" }, remove = [\"x-debug\"] }",
        )
        .more(LOG)
        .start();
    let mut client = Client::to(&door);
    let answer = client.ask(
        "POST /a?b=1 HTTP/1.1\r\nHost: Shop.example\r\nX-Org: acme\r\nX-Tenant: forged\r\n\
         X_Tenant: forged\r\nx-debug: 1\r\nX-DEBUG: 2\r\nX-Via: cdn\r\nAccept-Encoding: gzip\r\n\
         Content-Length: 2\r\n\r\nhi",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = backend.last();
    assert_eq!((request.target.as_str(), request.body.as_slice()), ("/a?b=1", &b"hi"[..]));
    let fields = &request.headers;
    assert_eq!(told(fields, "x-tenant"), "acme");
    assert_eq!(told(fields, "host"), "internal.example:8443");
    assert_eq!(told(fields, "x-seen"), "POST /a?b=1 at shop.example by 127.0.0.1 {api}");
    assert_eq!(told(fields, "x-forwarded-proto"), "https");
    assert_eq!(told(fields, "x-forwarded-host"), "Shop.example");
    assert_eq!(told(fields, "x-id"), told(fields, "x-request-id"));
    assert_eq!(fields.all("x-via"), ["cdn", "edge"]);
    for gone in ["x_tenant", "x-debug", "accept-encoding", "x-none"] {
        assert!(!fields.has(gone), "{gone}: {fields:?}");
    }
    // The log tells what the client asked for.
    assert!(door.access_lines(1)[0].contains("Shop.example"), "{:?}", door.access_lines(1));
    // The connection goes on, and the next request has values of its own.
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: b\r\n\r\n").status, 200);
    let fields = backend.last().headers;
    assert_eq!(told(&fields, "x-seen"), "GET / at b by 127.0.0.1 {api}");
    assert!(!fields.has("x-tenant"));
}

#[test]
fn rules_hold_for_each_attempt() {
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let gone = closed.local_addr().expect("it has an address");
    drop(closed);
    let backend = Backend::answering(ok(""));
    let door = Setup::at(&[gone, backend.address()])
        .pool("balance = \"round-robin\"")
        .route("request_headers = { set = { x-path = \"{path}\" }, add = { x-via = \"edge\" } }")
        .start();
    for path in ["/a", "/b", "/c", "/d"] {
        assert_eq!(Client::to(&door).get(path).status, 200);
        let fields = backend.last().headers;
        assert_eq!((told(&fields, "x-path"), fields.all("x-via")), (path, vec!["edge"]));
    }
}

#[test]
fn clients_get_what_the_rules_make_of_a_response() {
    let backend = Backend::start(|request, peer| {
        let status = if request.target == "/bad" { 404 } else { 200 };
        let lines = "Server: own/1\r\nX-Powered-By: y\r\nSet-Cookie: a=1\r\n";
        peer.send(response(status, lines, "body"));
    });
    let rules = "set = { strict-transport-security = \"max-age=60\", x-of = \"{path}\" }, \
                 add = { set-cookie = \"b=2\" }, remove = [\"server\", \"x-powered-by\"]";
    let allow = "[[allow]]\nrule = \"unheeded-hsts\"\nreason = \"only its way is looked at\"";
    let changed = |answer: &black_box::Response| {
        let fields = &answer.headers;
        let all =
            told(fields, "strict-transport-security") == "max-age=60" && !fields.has("server");
        let none = !fields.has("strict-transport-security");
        assert!(all || none, "{fields:?}");
        all
    };
    for (when, bad_changed) in [("always", true), ("success", false)] {
        let door = Setup::of(&[&backend])
            .route(&format!("response_headers = {{ {rules}, when = \"{when}\" }}"))
            .more(allow)
            .start();
        let mut client = Client::to(&door);
        let answer = client.get("/");
        assert!(changed(&answer));
        assert_eq!(answer.text(), "body");
        assert_eq!(told(&answer.headers, "x-of"), "/");
        assert_eq!(answer.headers.all("set-cookie"), ["a=1", "b=2"]);
        assert!(!answer.headers.has("x-powered-by") && answer.headers.has("x-request-id"));
        assert_eq!(changed(&client.get("/bad")), bad_changed, "{when}");
    }
}

#[test]
fn the_doors_own_answers_follow_the_rules() {
    let rules = "response_headers = { set = { x-of = \"{path}\" } }";
    let success = "response_headers = { set = { x-of = \"{path}\" }, when = \"success\" }";
    let door = Setup::default()
        .more(&format!(
            "[pools.gone]\nservers = [\"127.0.0.1:1\"]\n\
             [routes.fixed]\npath = \"/fixed\"\nrespond = {{ body = \"x\" }}\n{rules}\n\
             [routes.moved]\npath = \"/moved\"\nredirect = {{ location = \"/\" }}\n{success}\n\
             [routes.gone]\npath = \"/gone\"\npool = \"gone\"\n{rules}\n\
             [routes.failed]\npath = \"/failed\"\npool = \"gone\"\n{success}\n\
             [routes.limited]\npath = \"/limited\"\nrespond = {{}}\n{rules}\n\
             [limits.one]\nroutes = [\"limited\"]\nby = \"all\"\nrate = \"1/d\"\n"
        ))
        .start();
    let mut client = Client::to(&door);
    for (path, status, expected) in [
        ("/fixed", 200, "/fixed"),
        ("/moved", 302, "/moved"),
        ("/gone", 502, "/gone"),
        ("/failed", 502, ""),
        ("/limited", 200, "/limited"),
        ("/limited", 429, "/limited"),
        ("/none", 404, ""),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, told(&answer.headers, "x-of")), (status, expected), "{path}");
    }
}

#[test]
fn upgrades_and_interim_responses() {
    let backend = Backend::by_head(|_, peer| {
        peer.send("HTTP/1.1 103 Early Hints\r\nServer: own\r\n\r\n");
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nServer: own\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\n\r\n",
        );
        peer.read_to_end();
    });
    let door = Setup::of(&[&backend])
        .route("request_headers = { set = { host = \"b\" } }\nresponse_headers = { remove = [\"server\"] }")
        .start();
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let hints = client.response_head().expect("a head");
    assert_eq!((hints.status, hints.headers.has("server")), (103, true));
    let switched = client.response_head().expect("a head");
    assert_eq!((switched.status, switched.headers.has("server")), (101, false));
    assert_eq!(told(&switched.headers, "upgrade"), "websocket");
    let sent = backend.received_text();
    assert!(sent.contains("host: b\r\n") && !sent.contains("\r\nhost: a\r\n"), "{sent}");
    assert!(sent.contains("upgrade: websocket\r\n"), "{sent}");
}

/// The names and values of a block of headers, as curl prints them.
fn curl(door: &Door, arguments: &[&str], path: &str) -> String {
    let url = format!("http://{}{path}", door.first_address());
    let output = Command::new("curl")
        .args(["-sS", "-D", "-", "--max-time", "10", "--http2-prior-knowledge"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn rules_hold_over_http2() {
    let backend = Backend::answering(response(200, "Server: own\r\n", "body"));
    let door = Setup::of(&[&backend])
        .route(
            "request_headers = { set = { x-of = \"{scheme} {header:x-org}\" }, remove = [\"x-org\"] }\n\
             response_headers = { set = { x-path = \"{path} {header:x-none}\" }, remove = [\"server\"] }",
        )
        .start();
    let text = curl(&door, &["-H", "x-org: acme"], "/a");
    assert!(text.contains("HTTP/2 200") && text.contains("x-path: /a\r\n"), "{text}");
    assert!(!text.contains("server:") && text.ends_with("body"), "{text}");
    let fields = backend.last().headers;
    assert_eq!((told(&fields, "x-of"), fields.has("x-org")), ("http acme", false));
}

#[test]
fn a_refused_call_of_grpc_follows_the_rules() {
    let door = Setup::default()
        .more(
            "[pools.gone]\nservers = [\"127.0.0.1:1\"]\nprotocol = \"http2\"\n\
             [routes.call]\npath = \"/\"\npool = \"gone\"\n\
             response_headers = { set = { x-of = \"{path}\" } }\n\
             [routes.quiet]\npath = \"/quiet\"\npool = \"gone\"\n\
             response_headers = { set = { x-of = \"{path}\" }, when = \"success\" }\n",
        )
        .start();
    let call = ["-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers"];
    for (path, expected) in [("/a.B/C", true), ("/quiet/a", false)] {
        let text = curl(&door, &call, path);
        // The answer is a head alone, with the status of the call in it; it is no success.
        assert!(text.contains("HTTP/2 200") && text.contains("grpc-status: 14"), "{text}");
        assert_eq!(text.contains(&format!("x-of: {path}\r\n")), expected, "{text}");
    }
}
