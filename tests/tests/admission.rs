//! Who is let in: rates, registered clients, waiting for a place, and what a refusal says.

use std::net::IpAddr;
use std::time::Duration;

use black_box::{Backend, Client, Door, Gate, Response, Setup, eventually, eventually_some, ok};

/// Answers with the target and the body's length; `/wait` waits at the gate before.
fn backend(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |request, peer| {
        if request.target == "/wait" {
            gate.wait();
        }
        peer.send(ok(&format!("{} {}", request.target, request.body.len())));
    })
}

fn open() -> Backend {
    backend(&Gate::closed())
}

/// Seconds after which a refused client is to come back.
#[track_caller]
fn retry_after(answer: &Response) -> u64 {
    let value = answer.header("retry-after").expect("it says when to come back");
    value.parse().expect("it is a number of seconds")
}

#[track_caller]
fn refused(answer: &Response, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.reason()), (status, Some(reason)));
}

fn keyed(client: &mut Client, target: &str, header: &str) -> Response {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n"))
}

#[test]
fn an_address_has_its_own_rate_and_is_told_when_to_come_back() {
    let backend = open();
    let limit = "[limits.per-address]\nby = \"address\"\nrate = \"1/m\"\nburst = 2";
    let door = Setup::of(&[&backend]).more(limit).start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(Client::to(&door).get("/").status, 200);
    let answer = client.get("/");
    refused(&answer, 429, "rate_limited");
    assert!((1..=120).contains(&retry_after(&answer)), "{answer:?}");
    assert_eq!(answer.header("connection"), None, "the connection goes on");
    refused(&client.get("/"), 429, "rate_limited");
    let other: IpAddr = "127.0.0.2".parse().unwrap();
    assert_eq!(Client::connect_from(other, door.first_address()).get("/").status, 200);
    assert_eq!(backend.requests().len(), 3);
}

#[test]
fn who_ignores_the_answer_is_told_to_stay_away_for_longer() {
    let backend = open();
    let limit = "[limits.per-address]\nby = \"address\"\nrate = \"1/s\"\nburst = 1";
    let door = Setup::of(&[&backend]).more(limit).start();
    let mut client = Client::to(&door);
    let mut told = || Some(client.get("/")).filter(|answer| answer.status == 429);
    let first = retry_after(&eventually_some("it is refused", &mut told));
    assert!(first <= 3, "{first}");
    eventually("it is told to stay away for longer", || {
        told().is_some_and(|answer| (8..=120).contains(&retry_after(&answer)))
    });
}

#[test]
fn a_trusted_proxy_speaks_for_its_clients() {
    let backend = open();
    let limit = "[limits.per-address]\nby = \"address\"\nrate = \"1/m\"\nburst = 1";
    let door =
        Setup::of(&[&backend]).listen("trusted_proxies = [\"127.0.0.1\"]").more(limit).start();
    let mut proxy = Client::to(&door);
    let mut status = |of: &str| keyed(&mut proxy, "/", &format!("X-Forwarded-For: {of}")).status;
    for (of, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("::ffff:192.0.2.2", 429),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        assert_eq!(status(of), expected, "{of}");
    }
}

#[test]
fn several_limits_hold_at_once_and_a_refusal_takes_from_none() {
    let backend = open();
    let limits = "[limits.tenant]\nby = { header = \"x-tenant\" }\nrate = \"1/m\"\nburst = 2\n\
                  [limits.all]\nby = \"all\"\nrate = \"1/m\"\nburst = 4\nroutes = [\"api\"]\n\
                  [routes.free]\npath = \"/free\"\npool = \"api\"";
    let door = Setup::of(&[&backend]).more(limits).start();
    let mut client = Client::to(&door);
    let mut status =
        |target, tenant| keyed(&mut client, target, &format!("X-Tenant: {tenant}")).status;
    assert_eq!([status("/", "a"), status("/", "a"), status("/", "a")], [200, 200, 429]);
    // What was refused did not count for all.
    assert_eq!([status("/", "b"), status("/", "b"), status("/", "c")], [200, 200, 429]);
    // Nor did it for the tenant, whose limit holds on the other route too.
    assert_eq!([status("/free", "c"), status("/free", "c"), status("/free", "c")], [200, 200, 429]);
    assert_eq!(client.get("/free").status, 200);
}

#[test]
fn an_answer_without_a_server_is_limited_too() {
    let text = "[limits.route]\nby = \"route\"\nrate = \"1/m\"\nburst = 1\nheaders = true\n\
                [routes.fixed]\npath = \"/\"\nrespond = { status = 200, body = \"fixed\" }";
    let door = Setup::default().more(text).start();
    let mut client = Client::to(&door);
    let answer = client.get("/");
    assert_eq!((answer.status, answer.text()), (200, "fixed".to_owned()));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"route\";q=1;w=60"));
    assert_eq!(answer.header("ratelimit"), Some("\"route\";r=0;t=60"));
    let answer = client.get("/");
    refused(&answer, 429, "rate_limited");
    assert!(answer.header("ratelimit").unwrap().starts_with("\"route\";r=0;t="), "{answer:?}");
}

#[test]
fn what_is_left_of_a_rate_stands_in_the_responses() {
    let backend = open();
    let limit =
        "[limits.per-address]\nby = \"address\"\nrate = \"60/m\"\nburst = 90\nheaders = true";
    let door = Setup::of(&[&backend]).more(limit).start();
    let answer = Client::to(&door).get("/");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"per-address\";q=90;w=90"));
    assert_eq!(answer.header("ratelimit"), Some("\"per-address\";r=89;t=1"));
}

#[test]
fn what_only_observes_refuses_nobody_and_counts() {
    let backend = open();
    let observing = "[limits.strict]\nby = \"all\"\nrate = \"1/m\"\nburst = 1\nobserve = true";
    let door = Setup::of(&[&backend]).more(observing).start();
    let mut client = Client::to(&door);
    eventually("what would have been refused is counted", || {
        assert_eq!(client.get("/").status, 200);
        door.status()["admission"]["limits"][0]["refused"].as_u64() > Some(0)
    });
    let everything = observing.replace("observe = true", "") + "[admission]\nobserve = true";
    let door = Setup::of(&[&backend]).more(&everything).start();
    let mut client = Client::to(&door);
    assert_eq!((client.get("/").status, client.get("/").status), (200, 200));
}

/// A client that is known by the key `one`; its other settings.
fn partner(settings: &str) -> String {
    format!("[clients.partner]\nkey = {{ header = \"x-api-key\", value = \"one\" }}\n{settings}\n")
}

#[test]
fn a_registered_client_has_its_own_rate_on_all_connections() {
    let backend = open();
    let door = Setup::of(&[&backend]).more(&partner("rate = \"1/m\"\nburst = 2")).start();
    let mut client = Client::to(&door);
    let key = "X-API-Key: one";
    assert_eq!(keyed(&mut client, "/", key).status, 200);
    assert_eq!(keyed(&mut Client::to(&door), "/", key).status, 200);
    refused(&keyed(&mut client, "/", key), 429, "rate_limited");
    assert_eq!(keyed(&mut client, "/", "X-API-Key: two").status, 200);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_disabled_client_is_refused_whatever_else_only_observes() {
    let backend = open();
    let disabled = partner("enabled = false") + "[admission]\nobserve = true";
    let door = Setup::of(&[&backend]).more(&disabled).start();
    let mut client = Client::to(&door);
    let answer = keyed(&mut client, "/", "X-API-Key: one");
    refused(&answer, 403, "client_disabled");
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_client_may_use_only_its_routes() {
    let backend = open();
    let routes =
        partner("routes = [\"api\"]") + "[routes.other]\npath = \"/other\"\npool = \"api\"";
    let door = Setup::of(&[&backend]).more(&routes).start();
    let mut client = Client::to(&door);
    refused(&keyed(&mut client, "/other", "X-API-Key: one"), 403, "client_route");
    assert_eq!(keyed(&mut client, "/", "X-API-Key: one").status, 200);
    assert_eq!(client.get("/other").status, 200);
}

#[test]
fn a_network_is_a_client_too() {
    let backend = open();
    let client = "[clients.office]\nkey = { network = [\"127.0.0.2/32\"] }\nenabled = false";
    let door = Setup::of(&[&backend]).more(client).start();
    let office: IpAddr = "127.0.0.2".parse().unwrap();
    let mut inside = Client::connect_from(office, door.first_address());
    refused(&inside.get("/"), 403, "client_disabled");
    refused(&inside.get("/"), 403, "client_disabled");
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn a_client_that_hangs_up_has_its_place_again() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let door = Setup::of(&[&backend]).more(&partner("in_flight = 1")).start();
    let (mut first, mut second) = (Client::to(&door), Client::to(&door));
    first.send("GET /wait HTTP/1.1\r\nHost: a\r\nX-API-Key: one\r\n\r\n");
    eventually("the request is there", || backend.requests().len() == 1);
    let answer = keyed(&mut second, "/", "X-API-Key: one");
    refused(&answer, 429, "too_many_in_flight");
    assert!(retry_after(&answer) >= 1);
    assert_eq!(second.get("/").status, 200);
    // An orderly end, not a reset: the server still works.
    drop(first);
    eventually("its place is free", || keyed(&mut second, "/", "X-API-Key: one").status == 200);
    gate.open();
}

/// A door that gives its server one request at a time.
fn narrow(backend: &Backend, wait: &str) -> Door {
    let pool = format!("adaptive = false\nin_flight_max = 1\nqueue_wait = \"{wait}\"");
    Setup::of(&[backend]).pool(&pool).start()
}

fn at_the_server(door: &Door, backend: &Backend) -> Client {
    let mut client = Client::to(door);
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is there", || backend.requests().len() == 1);
    client
}

#[test]
fn who_waits_too_long_is_refused_and_keeps_its_connection() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let door = narrow(&backend, "50ms");
    let mut first = at_the_server(&door, &backend);
    let mut second = Client::to(&door);
    // The body is there, so what follows it is the next request.
    let answer = second.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    refused(&answer, 503, "queue_timeout");
    assert!(retry_after(&answer) >= 1);
    gate.open();
    assert_eq!(first.response().status, 200);
    assert_eq!(second.get("/").text(), "/ 0");
}

/// Every one of these is its own flow, which is what the times are spread by.
#[test]
fn who_waited_in_vain_is_told_to_come_back_not_all_at_once() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let pool = "adaptive = false\nin_flight_max = 1\nqueue_wait = \"200ms\"";
    let flow = "[admission]\nflow = { header = \"x-user\" }";
    // One door each: what one has refused makes it stricter.
    let [door, other] = [(), ()].map(|()| Setup::of(&[&backend]).pool(pool).more(flow).start());
    let _first = at_the_server(&door, &backend);
    let mut second = Client::to(&other);
    second.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("both requests are there", || backend.requests().len() == 2);
    let check = |what: &str, told: &[u64]| {
        assert!(told.iter().all(|seconds| (1..=3).contains(seconds)), "{what}: {told:?}");
        assert!(told.iter().any(|seconds| *seconds != told[0]), "{what}: {told:?}");
    };
    let mut clients: Vec<Client> = (0..WAITING).map(|_| Client::to(&door)).collect();
    for (user, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"));
    }
    let told = clients.iter_mut().map(|client| {
        let answer = client.response();
        refused(&answer, 503, "queue_timeout");
        retry_after(&answer)
    });
    check("HTTP/1.1", &told.collect::<Vec<u64>>());
    check("HTTP/2", &told_in_streams(&other));
    assert_eq!(backend.requests().len(), 2);
    gate.open();
}

/// So many wait at once; fewer than may.
const WAITING: usize = 14;

/// What as many streams of one connection of HTTP/2 are told.
fn told_in_streams(door: &Door) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let socket = tokio::net::TcpStream::connect(door.first_address()).await;
        let shaken = h2::client::handshake(socket.expect("the door listens")).await;
        let (mut requests, connection) = shaken.expect("the door speaks HTTP/2");
        let mut answers = Vec::new();
        for user in 0..WAITING {
            let request = http::Request::get("http://a/").header("x-user", user).body(());
            let sent = requests.send_request(request.expect("it is a request"), true);
            answers.push(sent.expect("so many streams may be open").0);
        }
        let told = async {
            let mut told = Vec::new();
            for answer in answers {
                let answer = answer.await.expect("it is answered");
                let field = |name| answer.headers()[name].to_str().expect("it is text");
                assert!(field("proxy-status").contains("queue_timeout"), "{answer:?}");
                told.push(field("retry-after").parse().expect("it is a number of seconds"));
            }
            told
        };
        tokio::select! {
            told = told => told,
            end = connection => panic!("the connection ended: {end:?}"),
        }
    })
}

#[test]
fn more_than_may_wait_are_refused_at_once() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let door = narrow(&backend, "10s");
    let mut first = at_the_server(&door, &backend);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::to(&door)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("some are refused", || {
        door.metric("tidegate_answers_total", &["reason=\"queue_full\""]) >= 1.0
    });
    gate.open();
    assert_eq!(first.response().status, 200);
    let answers: Vec<Response> = clients.iter_mut().map(Client::response).collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served >= 16, "{served} were served");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(retry_after(answer) >= 1);
    }
}

#[test]
fn a_body_that_comes_while_its_request_waits_arrives_whole() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let door = narrow(&backend, "10s");
    let mut first = at_the_server(&door, &backend);
    let mut second = Client::to(&door);
    second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    let piece = [b'x'; 20_000];
    second.send(piece);
    eventually("it waits", || door.status()["pools"][0]["queue"]["waiting"].as_u64() == Some(1));
    second.send(piece);
    gate.open();
    for _ in 2..10 {
        second.send(piece);
    }
    assert_eq!(second.response().text(), "/ 200000");
    assert_eq!(second.get("/").text(), "/ 0");
    assert_eq!(first.response().status, 200);
}

#[test]
fn a_reload_forgets_nothing() {
    let backend = open();
    let limit = partner("rate = \"1/m\"\nburst = 1");
    let setup = Setup::of(&[&backend]).more(&limit);
    let door = setup.start();
    let mut client = Client::to(&door);
    assert_eq!(keyed(&mut client, "/", "X-API-Key: one").status, 200);
    let changed =
        setup.more("[clients.another]\nkey = { header = \"x-api-key\", value = \"two\" }");
    door.rewrite(&changed.text());
    assert_eq!(door.reload().status, 200);
    refused(&keyed(&mut client, "/", "X-API-Key: one"), 429, "rate_limited");
    assert_eq!(keyed(&mut client, "/", "X-API-Key: two").status, 200);
}

#[test]
fn repeating_too_much_is_refused_for_good() {
    let backend = open();
    let door = Setup::of(&[&backend]).more("[admission]\nretry_share = 0.1").start();
    let mut client = Client::to(&door);
    let answers: Vec<Response> =
        (0..100).map(|_| keyed(&mut client, "/", "X-Retry-Attempt: 1")).collect();
    let last = &answers[99];
    refused(last, 503, "too_many_retries");
    assert_eq!(last.header("retry-after"), None, "it must not come back");
    assert_eq!(client.get("/").status, 200);
}

/// Who sends a part of a head, or of a body, holds a buffer; once all buffers hold what they may,
/// nobody new gets one.
#[test]
fn new_requests_are_refused_while_buffers_are_full() {
    let backend = Backend::by_head(|head, peer| {
        if peer.read_body(&mut head.clone()) {
            peer.send(ok("all"));
        }
    });
    let door = Setup::of(&[&backend])
        .pool("adaptive = false")
        .more("[admission]\nbuffers = \"1MiB\"")
        .start();
    // Heads that do not end hold only what was sent.
    let mut slow: Vec<Client> = (0..100).map(|_| Client::to(&door)).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    }
    assert_eq!(Client::to(&door).get("/").status, 200);
    for client in &mut slow {
        client.send("Content-Length: 2\r\n\r\na");
    }
    eventually("there is no buffer for another one", || {
        Client::to(&door).get("/").reason() == Some("buffers_full")
    });
    drop(slow);
    eventually("there is again", || Client::to(&door).get("/").status == 200);
}

#[test]
fn the_access_log_says_who_it_was_and_how_long_it_waited() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let text = partner("class = \"important\"")
        + "[telemetry]\naccess_log = { file = \"{dir}/access\", format = \"json\" }";
    let door = Setup::of(&[&backend])
        .pool("adaptive = false\nin_flight_max = 1\nqueue_wait = \"20ms\"")
        .more(&text)
        .start();
    let mut first = at_the_server(&door, &backend);
    refused(&keyed(&mut Client::to(&door), "/", "X-API-Key: one"), 503, "queue_timeout");
    gate.open();
    assert_eq!(first.response().status, 200);
    let lines = door.access_lines(2);
    let line = lines.iter().find(|line| line.contains("queue_timeout")).expect("it is logged");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["client_name"], &line["class"]), (&"partner".into(), &"important".into()));
    let waited = Duration::from_micros(line["waited_us"].as_u64().unwrap());
    assert!(waited >= Duration::from_millis(20), "{waited:?}");
}

/// Twenty are as many as a server that is not known yet is given: who sends or reads slowly is not
/// among them for long.
#[test]
fn slow_clients_keep_no_places() {
    let backend = Backend::by_head(|head, peer| {
        if head.target == "/much" {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 32));
            while peer.try_send([b'x'; 64 * 1_024]) {}
        } else if peer.read_body(&mut head.clone()) {
            peer.send(ok("calm"));
        }
    });
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        "GET /much HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let door = Setup::of(&[&backend]).start();
        let mut slow: Vec<Client> = (0..20).map(|_| Client::to(&door)).collect();
        for client in &mut slow {
            client.send(request);
        }
        eventually("others are served", || Client::to(&door).get("/").status == 200);
        let limit = || door.status()["pools"][0]["queue"]["in_flight"].as_u64();
        eventually("no place is held", || limit() == Some(0));
        if let Some(client) = slow.first_mut().filter(|_| request.starts_with("POST")) {
            client.send("12345678");
            assert_eq!(client.response().text(), "calm");
        }
    }
}
