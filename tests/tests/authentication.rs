//! Who may use a route: by password, by token, by the word of another server; and that who may not
//! costs no server anything.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use black_box::streams::{Streams, get};
use black_box::{Backend, Client, Door, Setup, eventually, ok, response};
use serde_json::{Value, json};

/// "open sesame", as `htpasswd -B -C 4` hashes it.
const USERS: &str =
    "users = { alice = '$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy' }";
const SECRET: &str = "a secret of more than thirty-two bytes";
const LOG: &str = "[telemetry]\naccess_log = { file = \"{dir}/access\" }";
/// 2100-01-01.
const LATER: u64 = 4_102_444_800;

fn backend() -> Backend {
    Backend::start(|_, peer| peer.send(ok("hello")))
}

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

fn bearer(claims: &Value) -> String {
    let head = json!({ "alg": "HS256", "typ": "JWT" });
    let [head, body] = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{head}.{body}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("Authorization: Bearer {message}.{signature}\r\n")
}

/// A request for `/` with these lines.
fn asking(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n")
}

#[test]
fn a_password_lets_in_its_user() {
    let backend = backend();
    let route = format!("basic_auth = {{ {USERS}, realm = 'staff' }}");
    let door = Setup::of(&[&backend]).route(&route).more(LOG).start();
    // One connection for all: a refusal leaves it open, for whoever types his password now.
    let mut client = Client::to(&door);
    for lines in [
        String::new(),
        basic("alice:open Sesame"),
        basic("alice:"),
        basic("mallory:open sesame"),
        basic("alice"),
        "Authorization: Basic !\r\n".to_owned(),
        // Of two the server might read the other.
        format!("{}{}", basic("alice:open sesame"), basic("mallory:x")),
    ] {
        let refused = client.ask(asking(&lines));
        assert_eq!((refused.status, refused.reason()), (401, Some("unauthenticated")), "{lines}");
        let challenge = "Basic realm=\"staff\", charset=\"UTF-8\"";
        assert_eq!(refused.header("www-authenticate"), Some(challenge), "{lines}");
    }
    assert!(backend.requests().is_empty(), "a server was asked");
    for _ in 0..2 {
        assert_eq!(client.ask(asking(&basic("alice:open sesame"))).status, 200);
    }
    let users: Vec<Value> = door
        .access_lines(9)
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")["user"].clone())
        .collect();
    assert!(users[..7].iter().all(Value::is_null), "{users:?}");
    assert_eq!(users[7..], [json!("alice"), json!("alice")]);
}

#[test]
fn guesses_meet_their_rate_before_they_cost_a_hash() {
    let backend = backend();
    let limit = "[limits.guesses]\nby = 'address'\nrate = '1/h'\nburst = 2\n";
    let route = format!("basic_auth = {{ {USERS} }}");
    let door = Setup::of(&[&backend]).route(&route).more(limit).start();
    let mut client = Client::to(&door);
    let mut guess =
        |password: &str| client.ask(asking(&basic(&format!("alice:{password}")))).status;
    assert_eq!(["a", "b", "c", "open sesame"].map(&mut guess), [401, 401, 429, 429]);
}

#[test]
fn a_flood_of_guesses_is_refused_and_others_are_served() {
    let backend = backend();
    // A cost of 8: slow enough that those who ask at once meet.
    let route = "basic_auth = { users = { alice = \
                 '$2b$08$abcdefghijklmnopqrstuuvbcBqwD0vqGp5cw/xK4wy0Mtx9M8.Zy' } }";
    let open = "[routes.open]\npath = '/open'\npool = 'api'";
    let door = Setup::of(&[&backend]).route(route).more(open).start();
    let mut clients: Vec<Client> = (0..40).map(|_| Client::to(&door)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(asking(&basic(&format!("alice:guess {number}"))));
    }
    assert_eq!(Client::to(&door).get("/open").status, 200);
    let answers: Vec<_> = clients.iter_mut().map(Client::response).collect();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(busy.len() >= 10, "{} of 40 were refused at once", busy.len());
    for answer in &busy {
        assert_eq!(answer.reason(), Some("authentication_unavailable"));
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 40 - busy.len());
}

/// Of many guesses at once, from one address, those of another wait for one at most.
#[test]
fn who_guesses_keeps_nobody_else_out() {
    let backend = backend();
    let route = "basic_auth = { users = { alice = \
                 '$2b$08$abcdefghijklmnopqrstuuvbcBqwD0vqGp5cw/xK4wy0Mtx9M8.Zy' } }";
    let door =
        Setup::of(&[&backend]).listen("trusted_proxies = ['127.0.0.1']").route(route).start();
    let from = |address: &str, password: &str| {
        let credentials = basic(&format!("alice:{password}"));
        asking(&format!("X-Forwarded-For: {address}\r\n{credentials}"))
    };
    let mut guesses: Vec<Client> = (0..60).map(|_| Client::to(&door)).collect();
    for (number, client) in guesses.iter_mut().enumerate() {
        client.send(from("192.0.2.1", &format!("guess {number}")));
    }
    let honest = Client::to(&door).ask(from("192.0.2.2", "open sesame"));
    assert_eq!(honest.status, 200, "{}", honest.text());
    let answers: Vec<u16> = guesses.iter_mut().map(|client| client.response().status).collect();
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    // More than find a place.
    assert!(count(503) >= 10 && count(401) + count(503) == 60, "{answers:?}");
}

/// What stands in files counts from a moment after it was written, without a reload; what cannot be
/// used changes nothing, and a reload says why.
#[test]
fn users_and_keys_are_read_again_when_their_files_change() {
    let backend = backend();
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let [users, secret] = ["users.htpasswd", "issuer.secret"].map(|file| folder.path().join(file));
    let write = |file: &std::path::Path, text: &str| {
        std::fs::write(file, text).expect("the folder is writable");
    };
    let hash = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";
    write(&users, &format!("alice:{hash}\n"));
    write(&secret, "another secret of more than thirty-two bytes");
    let door = Setup::of(&[&backend])
        .route(&format!("basic_auth = {{ users_file = {users:?} }}"))
        .more(&format!(
            "[routes.token]\npath = '/token'\npool = 'api'\njwt_auth = {{ secret_file = {secret:?} }}"
        ))
        .start();
    let status = |path: &str, lines: &str| {
        Client::to(&door).ask(asking(lines).replacen("/ ", &format!("{path} "), 1)).status
    };
    let as_user = |name: &str| status("/", &basic(&format!("{name}:open sesame")));
    assert_eq!((as_user("alice"), as_user("bob")), (200, 401));
    write(&users, &format!("bob:{hash}\n"));
    eventually("another user counts", || (as_user("alice"), as_user("bob")) == (401, 200));
    let token = bearer(&json!({ "sub": "alice", "exp": LATER }));
    assert_eq!(status("/token", &token), 401);
    write(&secret, SECRET);
    eventually("another key counts", || status("/token", &token) == 200);
    write(&users, "bob\n");
    let told = || door.log().matches("users or keys cannot be read again").count();
    eventually("it is told", || told() == 1);
    assert!(door.log().contains("users.htpasswd"), "{}", door.log());
    let refused = door.reload();
    assert!(refused.status >= 400 && refused.body.contains("users.htpasswd"), "{refused:?}");
    assert_eq!((as_user("bob"), status("/token", &token)), (200, 200));
    write(&users, &format!("alice:{hash}\nbob:{hash}\n"));
    eventually("all is well again", || as_user("alice") == 200);
    assert_eq!(told(), 1);
    assert!(door.reload().status < 300);
}

fn token_door(backend: &Backend) -> (Door, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let secret = folder.path().join("issuer.secret");
    std::fs::write(&secret, SECRET).expect("the folder is writable");
    let route = format!(
        "jwt_auth = {{ secret_file = {secret:?}, issuer = 'me', audience = ['api'], \
         claims = {{ scope = 'read' }}, headers = {{ X-User = 'sub', x-roles = 'roles' }} }}"
    );
    (Setup::of(&[backend]).route(&route).more(LOG).start(), folder)
}

fn claims() -> Value {
    json!({ "sub": "alice", "iss": "me", "aud": "api", "scope": "read write", "exp": LATER })
}

#[test]
fn a_token_lets_in_and_says_to_the_server_who_it_is() {
    let backend = backend();
    let (door, _folder) = token_door(&backend);
    let mut client = Client::to(&door);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        bearer(&claims)
    };
    let start = "Bearer realm=\"restricted\"";
    for (lines, status, told) in [
        (String::new(), 401, ""),
        (basic("alice:x"), 401, ""),
        ("Authorization: Bearer x.y.z\r\n".to_owned(), 401, ", error=\"invalid_token\""),
        (with("exp", json!(1)), 401, ", error=\"invalid_token\""),
        (with("exp", Value::Null), 401, ", error=\"invalid_token\""),
        (with("iss", json!("you")), 401, ", error=\"invalid_token\""),
        (with("aud", json!("web")), 401, ", error=\"invalid_token\""),
        (with("scope", json!("write")), 403, ", error=\"insufficient_scope\", scope=\"read\""),
    ] {
        let refused = client.ask(asking(&lines));
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert_eq!(refused.status, status, "{lines}");
        assert!(challenge.starts_with(&format!("{start}{told}")), "{lines}: {challenge}");
    }
    assert!(backend.requests().is_empty(), "a server was asked");
    let forged =
        "X-USER: root\r\nx-user: root\r\nX-Roles: admin\r\nX_Roles: admin\r\nx.user: root\r\n";
    assert_eq!(client.ask(asking(&(forged.to_owned() + &bearer(&claims())))).status, 200);
    let headers = &backend.last().headers;
    assert_eq!(headers.all("x-user"), ["alice"]);
    assert!(!headers.has("x-roles"));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = "5\r\nhello\r\n0\r\nX-User: root\r\n\r\n";
    let posted =
        asking(&(chunked.to_owned() + &bearer(&claims()))).replacen("GET", "POST", 1) + body;
    assert_eq!(client.ask(posted).status, 200);
    assert_eq!(backend.last().body, b"hello");
    let received = backend.received_text();
    assert!(!received.contains("root") && !received.contains("admin"), "{received}");
    assert!(door.access_lines(9)[8].contains("\"user\":\"alice\""));
}

#[test]
fn tokens_count_over_http2_too() {
    let backend = backend();
    let (door, _folder) = token_door(&backend);
    let mut client = Streams::to(&door);
    client.open(1, &get("/"), true);
    assert_eq!(client.status(1), 401);
    let line = bearer(&claims());
    let (_, token) = line.trim_end().split_once(": ").expect("a field");
    client.open(3, &[get("/"), vec![("authorization", token), ("x-user", "root")]].concat(), true);
    assert_eq!(client.status(3), 200);
    assert_eq!(backend.last().headers.all("x-user"), ["alice"]);
}

#[test]
fn a_call_is_refused_by_a_head_that_its_client_understands() {
    let backend = backend();
    let (door, _folder) = token_door(&backend);
    let mut other = claims();
    other["scope"] = json!("write");
    for (lines, status) in [(String::new(), "16"), (bearer(&other), "7")] {
        let lines = format!("{lines}Content-Type: application/grpc\r\n");
        let refused = Client::to(&door).ask(asking(&lines));
        assert_eq!((refused.status, refused.header("grpc-status")), (200, Some(status)));
        assert!(refused.header("www-authenticate").is_some() && refused.body.is_empty());
    }
}

/// A door that asks `sso` who may come in.
fn asks(backend: &Backend, sso: &Backend, more: &str) -> Door {
    let pool = format!("[pools.sso]\nservers = [\"{}\"]\n", sso.address());
    let route = format!(
        "forward_auth = {{ pool = 'sso', path = '/verify?rd=x', copy = ['X-User', 'x-groups'] {more} }}"
    );
    Setup::of(&[backend]).route(&route).more(&pool).more(LOG).start()
}

#[test]
fn another_server_lets_in_and_says_who_it_is() {
    let backend = backend();
    let sso = Backend::start(|_, peer| {
        let lines = "X-User: alice\r\nx-groups: a\r\nX-Groups: b\r\nX-Other: no\r\n";
        peer.send(response(200, lines, "not for the server"));
    });
    let door = asks(&backend, &sso, "");
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let answer = client.ask(
            "POST /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nCookie: session=1\r\nX-User: root\r\n\
             X_Groups: root\r\nX-Original-URL: http://evil/\r\nX-Forwarded-Method: GET\r\n\
             X-Forwarded-Uri: /public\r\nIf-None-Match: \"a\"\r\nRange: bytes=0-1\r\n\
             Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let passed = backend.last();
    assert_eq!((passed.target.as_str(), &passed.body[..]), ("/a/b?c=d", &b"hello"[..]));
    assert_eq!(passed.headers.all("x-user"), ["alice"]);
    assert_eq!(passed.headers.all("x-groups"), ["a", "b"]);
    assert!(!passed.headers.has("x-other") && !backend.received_text().contains("root"));
    let asked = sso.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/verify?rd=x"));
    assert!(asked.body.is_empty());
    for (name, value) in [
        ("host", "a.example"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/a/b?c=d"),
        ("x-original-method", "POST"),
        ("x-original-uri", "/a/b?c=d"),
        ("x-original-url", "http://a.example/a/b?c=d"),
    ] {
        assert_eq!(asked.headers.all(name), [value], "{name}");
    }
    for name in ["if-none-match", "range", "content-length", "content-type"] {
        assert!(!asked.headers.has(name), "{name}");
    }
    assert_eq!(sso.connections(), 1, "its connection is used again");
    assert!(door.access_lines(2)[1].contains("\"user\":\"alice\""));
}

/// A session that is prolonged by asking for it: the client gets the new cookie, beside the server's.
#[test]
fn another_server_may_set_cookies_of_whom_it_lets_in() {
    let backend =
        Backend::start(|_, peer| peer.send(response(200, "Set-Cookie: own=1\r\n", "hello")));
    let sso = Backend::start(|request, peer| {
        let is_known = request.headers.has("cookie");
        let lines = "Set-Cookie: session=2\r\nSet-Cookie: more=3\r\nX-Other: no\r\n";
        peer.send(response(if is_known { 200 } else { 302 }, lines, ""));
    });
    let door = asks(&backend, &sso, ", copy_response = ['Set-Cookie']");
    let mut client = Client::to(&door);
    for _ in 0..2 {
        let answer = client.ask(asking("Cookie: session=1\r\n"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers.all("set-cookie"), ["own=1", "session=2", "more=3"]);
        assert!(answer.header("x-other").is_none());
    }
    // Who is not let in gets them once.
    assert_eq!(client.get("/").headers.all("set-cookie"), ["session=2", "more=3"]);
    assert!(!backend.received_text().contains("session=2"));
}

#[test]
fn another_server_sends_to_where_one_logs_in() {
    let backend = backend();
    let sso = Backend::start(|request, peer| {
        let answer = match request.headers.get("x-forwarded-uri") {
            Some("/login") => response(
                302,
                "Location: https://sso.example/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 X-Internal: no\r\n",
                "",
            ),
            Some("/no") => response(403, "Content-Type: text/html\r\n", "<p>no"),
            Some("/large") => response(403, "", &"x".repeat(70_000)),
            Some("/cut") => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec(),
            _ => response(500, "", ""),
        };
        peer.send(answer);
        if request.headers.get("x-forwarded-uri") == Some("/cut") {
            peer.close();
        }
    });
    let door = asks(&backend, &sso, ", headers = ['cookie']");
    let mut client = Client::to(&door);
    let login = client.get("/login");
    assert_eq!((login.status, login.header("location")), (302, Some("https://sso.example/")));
    assert_eq!(login.headers.all("set-cookie"), ["a=1", "b=2"]);
    assert!(login.header("x-internal").is_none());
    assert_eq!(login.header("cache-control"), Some("no-store"));
    let refused = client.get("/no");
    assert_eq!((refused.status, refused.text().as_str()), (403, "<p>no"));
    assert_eq!(refused.header("content-type"), Some("text/html"));
    for path in ["/large", "/cut", "/fails"] {
        let closed = client.get(path);
        let found = (closed.status, closed.reason());
        assert_eq!(found, (503, Some("authentication_unavailable")), "{path}");
        assert!(closed.header("retry-after").is_some());
    }
    assert!(!sso.last().headers.has("user-agent"), "only what is listed is sent");
    assert!(backend.requests().is_empty(), "a server was asked");
}

#[test]
fn without_an_answer_nobody_comes_in() {
    let backend = backend();
    let mut sso = Backend::by_head(|_, _| {});
    let door = asks(&backend, &sso, ", timeout = '100ms'");
    let closed = Client::to(&door).get("/");
    assert_eq!((closed.status, closed.reason()), (503, Some("authentication_unavailable")));
    sso.stop();
    let closed = Client::to(&door).get("/");
    assert_eq!((closed.status, closed.reason()), (503, Some("authentication_unavailable")));
    assert!(backend.requests().is_empty(), "a server was asked");
}

#[test]
fn a_client_that_leaves_ends_the_question() {
    let backend = backend();
    let sso = Backend::by_head(|_, _| {});
    let door = asks(&backend, &sso, ", timeout = '60s'");
    let mut client = Client::to(&door);
    client.send(asking(""));
    eventually("the question is there", || sso.received_text().ends_with("\r\n\r\n"));
    client.reset();
    eventually("the question ends", || sso.open() == 0);
    assert!(door.access_lines(1)[0].contains("client_closed"));
}

#[test]
fn a_browser_may_ask_beforehand_without_a_password() {
    let backend = backend();
    let route = format!(
        "basic_auth = {{ {USERS} }}\ncors = {{ origins = ['https://app.example'], credentials = true }}"
    );
    let door = Setup::of(&[&backend]).route(&route).start();
    let mut client = Client::to(&door);
    let origin = "Origin: https://app.example\r\n";
    let preflight = client.ask(format!(
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n{origin}Access-Control-Request-Method: GET\r\n\r\n"
    ));
    assert_eq!(preflight.status, 204);
    let refused = client.ask(asking(origin));
    assert_eq!(refused.status, 401);
    // A script may see that it is refused.
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
}
