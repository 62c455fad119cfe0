//! Scripts of other sites: what browsers ask beforehand, and what responses tell them.

use black_box::{Backend, Client, Door, Response, Setup, eventually, ok, response};

const LISTED: &str = "cors = { origins = [\"https://app.example.com\", \"https://*.example.org\"], \
    methods = [\"GET\", \"PUT\"], headers = [\"content-type\", \"x-token\"], expose = [\"x-total\"], \
    credentials = true, max_age = \"10m\" }";

/// Asks beforehand for a `PUT`.
fn preflight(door: &Door, path: &str, origin: &str) -> Response {
    Client::to(door).ask(format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-token\r\n\r\n"
    ))
}

/// The fields that a browser looks for, in order, without their common start.
fn told(answer: &Response) -> Vec<String> {
    let fields = answer.headers.0.iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let short = name.strip_prefix("access-control-").or(Some("vary").filter(|v| *v == name))?;
        Some(format!("{short}: {value}"))
    });
    fields.collect()
}

const PREFLIGHT_VARY: &str =
    "vary: origin, access-control-request-method, access-control-request-headers";

#[test]
fn the_door_answers_what_browsers_ask_beforehand() {
    let backend = Backend::answering(ok("server"));
    let door = Setup::of(&[&backend]).route("methods = [\"GET\", \"PUT\"]").route(LISTED).start();
    let mut client = Client::to(&door);
    // One connection for all: a preflight does not end it.
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("https://a.example.org", true),
        ("https://a.b.example.org", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let answer = client.ask(format!(
            "OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: PUT\r\n\r\n"
        ));
        let mut expected = vec![PREFLIGHT_VARY.to_owned()];
        if allowed {
            expected.push(format!("allow-origin: {origin}"));
            expected.push("allow-credentials: true".to_owned());
            expected.push("allow-methods: GET, PUT".to_owned());
            expected.push("allow-headers: content-type, x-token".to_owned());
            expected.push("max-age: 600".to_owned());
        }
        assert_eq!((answer.status, told(&answer)), (204, expected), "{origin}");
        assert!(answer.body.is_empty() && answer.headers.has("x-request-id"), "{answer:?}");
    }
    assert_eq!(backend.requests().len(), 0);
    eventually("preflights count for their route", || {
        door.metric("tidegate_requests_total", &["route=\"api\""]) >= 5.0
    });
    // What is no preflight is a request like any other, and this route serves no OPTIONS.
    for fields in ["Origin: https://app.example.com\r\n", "Access-Control-Request-Method: GET\r\n"]
    {
        let answer = client.ask(format!("OPTIONS /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(answer.reason(), Some("method_not_allowed"), "{fields}");
    }
}

#[test]
fn a_preflight_takes_the_route_of_the_request_it_is_for() {
    let backend = Backend::answering(ok("server"));
    let door = Setup::of(&[&backend])
        .without_route()
        .more(&format!(
            "[routes.read]\npath = \"/x\"\nmethods = [\"GET\"]\npool = \"api\"\ncors = {{ origins = \"*\" }}\n\
             [routes.write]\npath = \"/x\"\nmethods = [\"PUT\"]\npool = \"api\"\n{LISTED}\n\
             [routes.own]\npath = \"/own\"\npool = \"api\"\n"
        ))
        .start();
    let answer = preflight(&door, "/x", "https://app.example.com");
    assert_eq!(answer.headers.get("access-control-allow-methods"), Some("GET, PUT"));
    // A server that answers by itself is asked.
    let answer = preflight(&door, "/own", "https://app.example.com");
    assert_eq!((answer.status, answer.text().as_str()), (200, "server"));
    assert_eq!(told(&answer), [""; 0]);
}

#[test]
fn a_preflight_needs_nobodys_leave() {
    let door = Setup::default()
        .more(&format!(
            "[routes.all]\npath = \"/\"\nrespond = {{ body = \"own\" }}\n{LISTED}\n\
             [limits.one]\nby = \"all\"\nrate = \"1/d\"\n"
        ))
        .start();
    let origin = "https://app.example.com";
    let mut client = Client::to(&door);
    let get = format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n");
    let statuses = [client.ask(&get).status, client.ask(&get).status];
    assert_eq!(statuses, [200, 429]);
    assert_eq!(preflight(&door, "/", origin).status, 204);
    // A refusal can be read by the script too, so that it knows when to ask again.
    let refused = client.ask(&get);
    assert_eq!(refused.headers.get("access-control-allow-origin"), Some(origin));
}

#[test]
fn responses_tell_who_may_read_them() {
    let own = "Access-Control-Allow-Origin: *\r\naccess-control-expose-headers: x-own\r\n\
               Vary: accept-language\r\nX-Total: 3\r\n";
    let backend = Backend::answering(response(200, own, "body"));
    let door = Setup::of(&[&backend]).route(LISTED).start();
    let ask = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = Client::to(&door).ask(text);
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
        told(&answer)
    };
    let vary = ["vary: accept-language", "vary: origin"];
    let origin = "allow-origin: https://app.example.com";
    let allowed = [&vary[..], &[origin, "allow-credentials: true", "expose-headers: x-total"]];
    assert_eq!(ask("Origin: https://app.example.com\r\n"), allowed.concat());
    assert_eq!(ask("Origin: https://evil.example\r\n"), vary);
    assert_eq!(ask("Origin: null\r\n"), vary);
    assert_eq!(ask(""), vary);
    assert!(backend.last().headers.get("origin").is_none());
}

#[test]
fn any_site_is_let_in_without_credentials() {
    let backend = Backend::answering(ok("body"));
    let door = Setup::of(&[&backend])
        .route("cors = { origins = \"*\", headers = \"*\", methods = [\"PUT\"] }")
        .start();
    let answer = preflight(&door, "/", "null");
    let expected = [
        PREFLIGHT_VARY,
        "allow-origin: *",
        "allow-methods: PUT",
        "max-age: 600",
        "allow-headers: x-token",
    ];
    assert_eq!((answer.status, told(&answer)), (204, expected.map(str::to_owned).to_vec()));
    let answer = Client::to(&door).get("/");
    assert_eq!((answer.status, told(&answer)), (200, vec!["allow-origin: *".to_owned()]));
}
