//! The access log: one truthful line per request, in each format, whatever clients send.

use std::net::SocketAddr;

use black_box::{Backend, Client, Door, Setup, ok, response};
use rustix::process::Signal;
use serde_json::Value;

/// A door that logs to `{dir}/access` in this format.
#[track_caller]
fn door(backends: &[&Backend], more_servers: &[SocketAddr], format: &str) -> Door {
    let mut addresses = more_servers.to_vec();
    addresses.extend(backends.iter().map(|backend| backend.address()));
    Setup::at(&addresses)
        .route("host = \"a.example\"")
        .pool("balance = \"round-robin\"\nejection = false")
        .more(&format!(
            "[telemetry]\naccess_log = {{ file = \"{{dir}}/access\", format = \"{format}\" }}"
        ))
        .start()
}

#[track_caller]
fn json_lines(door: &Door, count: usize) -> Vec<Value> {
    let lines = door.access_lines(count);
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

/// An address where nobody listens.
fn dead() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it has an address")
}

const REQUEST: &str = "POST /path?query=1 HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: test/1\r\n\
    Referer: http://b.example/\r\nContent-Length: 4\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\nbody";

#[test]
fn json() {
    let backend = Backend::answering(response(201, "", "answer"));
    let door = door(&[&backend], &[], "json");
    let mut client = Client::to(&door);
    let id = client.ask(REQUEST).header("x-request-id").unwrap().to_owned();
    let version = door.status()["configuration"].clone();
    let line = json_lines(&door, 1).remove(0);
    for (key, expected) in [
        ("client", Value::from("127.0.0.1")),
        ("peer", Value::from(client.address().to_string())),
        ("method", "POST".into()),
        ("host", "a.example:80".into()),
        ("target", "/path?query=1".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 201.into()),
        ("reason", Value::Null),
        ("route", "api".into()),
        ("pool", "api".into()),
        ("server", backend.address().to_string().into()),
        ("attempts", 1.into()),
        ("request_id", id.into()),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c".into()),
        ("user_agent", "test/1".into()),
        ("referer", "http://b.example/".into()),
        ("bytes_in", 4.into()),
        ("bytes_out", 6.into()),
        ("configuration", version),
    ] {
        assert_eq!(line[key], expected, "{key} in {line}");
    }
    let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key} in {line}"));
    assert!(number("first_byte_us") <= number("total_us"), "{line}");
    assert!(number("connect_us") <= number("total_us"), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn json_of_errors_and_retries() {
    let backend = Backend::answering(ok("x"));
    let dead = dead();
    let door = door(&[&backend], &[dead], "json");
    let mut client = Client::to(&door);
    let ask = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    // Of two requests in turn, at least one meets the dead server first.
    assert_eq!((client.ask(ask).status, client.ask(ask).status), (200, 200));
    assert_eq!(client.ask("GET /none HTTP/1.1\r\nHost: b\r\n\r\n").status, 404);
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n").status, 400);
    let lines = json_lines(&door, 4);
    assert!(lines[..2].iter().any(|line| line["attempts"] == 2), "{lines:?}");
    for line in &lines[..2] {
        assert_eq!(line["server"], backend.address().to_string(), "who answered: {line}");
        assert_eq!((&line["status"], &line["reason"]), (&200.into(), &Value::Null));
    }
    assert_eq!((&lines[2]["status"], &lines[2]["reason"]), (&404.into(), &"no_route".into()));
    assert_eq!((&lines[2]["route"], &lines[2]["server"]), (&Value::Null, &Value::Null));
    assert_eq!(lines[2]["target"], "/none");
    assert_eq!((&lines[3]["status"], &lines[3]["reason"]), (&400.into(), &"bad_header".into()));
    assert_eq!(lines[3]["attempts"], 0);
    // What could not be understood is left out, or told as it was; never made up.
    let target = lines[3]["target"].as_str().unwrap();
    assert!(["/", "-", ""].contains(&target), "{}", lines[3]);
    let host = lines[3]["host"].as_str();
    assert!(host.is_none_or(|host| host == "a" || host == "-"), "{}", lines[3]);
}

#[test]
fn clf() {
    let backend = Backend::answering(ok("answer"));
    let door = door(&[&backend], &[], "clf");
    let mut client = Client::to(&door);
    assert_eq!(client.ask(REQUEST).status, 200);
    assert_eq!(client.ask("GET /none HTTP/1.0\r\nHost: b\r\n\r\n").status, 404);
    let lines = door.access_lines(2);
    let (start, rest) = lines[0].split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(start, "127.0.0.1 - -");
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    assert_eq!(rest, r#""POST /path?query=1 HTTP/1.1" 200 6 "http://b.example/" "test/1""#);
    assert!(lines[1].contains(r#""GET /none HTTP/1.0" 404 "#), "{}", lines[1]);
    assert!(lines[1].ends_with(r#" "-" "-""#), "{}", lines[1]);
}

#[test]
fn ecs() {
    let backend = Backend::answering(ok("answer"));
    let door = door(&[&backend], &[], "ecs");
    let mut client = Client::to(&door);
    assert_eq!(client.ask(REQUEST).status, 200);
    assert_eq!(client.ask("GET /none HTTP/1.1\r\nHost: b\r\n\r\n").status, 404);
    let lines = json_lines(&door, 2);
    let port = backend.address().port();
    for (key, expected) in [
        ("event.outcome", Value::from("success")),
        ("http.request.method", "POST".into()),
        ("http.response.status_code", 200.into()),
        ("url.path", "/path".into()),
        ("url.query", "query=1".into()),
        ("url.domain", "a.example".into()),
        ("client.ip", "127.0.0.1".into()),
        ("destination.ip", "127.0.0.1".into()),
        ("destination.port", port.into()),
        ("http.request.body.bytes", 4.into()),
        ("http.response.body.bytes", 6.into()),
        ("user_agent.original", "test/1".into()),
        ("tidegate.route", "api".into()),
    ] {
        assert_eq!(lines[0][key], expected, "{key} in {}", lines[0]);
    }
    assert!(lines[0]["event.duration"].as_u64().unwrap() > 0);
    assert_eq!(lines[1]["event.outcome"], "failure");
    assert_eq!(lines[1]["event.reason"], "no_route");
}

#[test]
fn rotation_loses_nothing() {
    let backend = Backend::answering(ok("x"));
    let door = door(&[&backend], &[], "json");
    let mut client = Client::to(&door);
    let ask = |client: &mut Client, target: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.ask(text).status, 200);
    };
    ask(&mut client, "/before");
    assert!(door.access_lines(1)[0].contains("/before"));
    let (current, rotated) = (door.folder().join("access"), door.folder().join("access.1"));
    std::fs::rename(&current, &rotated).unwrap();
    ask(&mut client, "/between");
    black_box::eventually("the renamed file is still written", || {
        std::fs::read_to_string(&rotated).is_ok_and(|text| text.contains("/between"))
    });
    door.signal(Signal::HUP);
    black_box::eventually("the file is opened again", || {
        ask(&mut client, "/after");
        current.exists()
    });
    ask(&mut client, "/last");
    black_box::eventually("the last line is in the new file", || {
        std::fs::read_to_string(&current).is_ok_and(|text| text.contains("/last"))
    });
    let old = std::fs::read_to_string(&rotated).unwrap();
    assert!(old.contains("/before"), "{old}");
    let all = old + &std::fs::read_to_string(&current).unwrap();
    assert_eq!(all.lines().count(), backend.requests().len(), "one line for each request");
    assert!((door.metric("tidegate_access_log_lines_lost_total", &[])).abs() < 0.5);
}

#[test]
fn control_characters_are_escaped() {
    for format in ["json", "clf", "ecs"] {
        let backend = Backend::answering(ok("x"));
        let door = door(&[&backend], &[], format);
        let requests: [&[u8]; 5] = [
            b"GET /\x1b[31mred HTTP/1.1\r\nHost: a.example\r\n\r\n",
            b"GET /a%0d%0ab HTTP/1.1\r\nHost: a.example\r\n\r\n",
            b"GET /q?x=\"' HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \"\\ \xc2\x9b31m \xe2\x80\xae\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: tab\there\r\nReferer: \xff\xfe\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \x1b]0;title\x07\r\n\r\n",
        ];
        for request in requests {
            let status = Client::to(&door).ask(request).status;
            assert!(status == 200 || status == 400, "{}", request.escape_ascii());
        }
        for line in door.access_lines(requests.len()) {
            let harmless = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
            assert!(line.chars().all(harmless), "{format}: {line:?}");
            if format != "clf" {
                assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
            }
        }
        assert_eq!(door.access_lines(requests.len()).len(), requests.len(), "{format}");
    }
}

#[test]
fn to_standard_output() {
    let backend = Backend::answering(ok("x"));
    let door = Setup::of(&[&backend]).more("[telemetry]\naccess_log = \"stdout\"").start();
    assert_eq!(Client::to(&door).get("/somewhere").status, 200);
    let line = black_box::eventually_some("the line is printed", || {
        door.stdout().lines().find(|line| line.contains("/somewhere")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 200);
}
