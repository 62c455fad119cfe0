//! What is wrong with a text, rule by rule.

use crate::{check, environment, folder_with_files, line, lines, source};

/// Checks `body` next to a listener, a pool and a route that are right, and expects these
/// findings, by the lines of `body`.
fn finds(body: &str, expected: &[&str]) {
    // The sound part comes last, so that lines and columns are those of `body`.
    let mut text = body.to_owned() + "\n";
    for (section, sound) in [
        ("[listen.", "[listen.sound]\naddress = \"127.0.0.1:1\"\n"),
        (
            "[pools.",
            "[pools.sound]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ncheck = { path = '/' }\n",
        ),
        ("[routes.", "[routes.sound]\npath = \"/sound\"\npool = \"sound\"\n"),
    ] {
        let is_given = body.contains(section);
        let needs_use = section == "[routes." && !body.contains("[pools.");
        if !is_given || needs_use {
            text.push_str(sound);
        }
    }
    if body.contains("[pools.") && !body.contains("[routes.") {
        text = text.replace("pool = \"sound\"", "pool = \"a\"");
    }
    let checked = check(&text);
    assert_eq!(lines(&checked), expected, "{text}");
    let refused = expected.iter().any(|line| line.starts_with("error"));
    assert_eq!(checked.configuration.is_none(), refused, "{text}");
}

fn listener(body: &str, expected: &[&str]) {
    finds(&format!("[listen.a]\naddress = \"127.0.0.1:80\"\n{body}"), expected);
}

fn pool(body: &str, expected: &[&str]) {
    let servers =
        if body.contains("servers") { "" } else { "servers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]" };
    let check = if body.contains("check") { "" } else { "check = { path = '/' }" };
    finds(
        &format!("{body}\n[pools.a]\n{servers}\n{check}\n").replacen(
            &format!("{body}\n[pools.a]"),
            &format!("[pools.a]\n{body}"),
            1,
        ),
        expected,
    );
}

fn route(body: &str, expected: &[&str]) {
    finds(&format!("[routes.a]\n{body}"), expected);
}

#[test]
fn a_sound_configuration_has_no_findings() {
    finds("", &[]);
}

#[test]
fn nothing_at_all() {
    assert_eq!(
        lines(&check("")),
        [
            "error[no-listener] 1:1 the configuration has no listener (no `[listen.NAME]`) help: add `[listen.web]` with `address = \"127.0.0.1:8080\"`",
            "error[no-route] 1:1 the configuration has no route (no `[routes.NAME]`) help: add `[routes.all]` with `path = \"/\"` and `pool = \"...\"`",
        ]
    );
}

#[test]
fn keys() {
    finds(
        "[dor]\nworkers = 2",
        &[
            "error[unknown-key] 1:2 unknown key `dor` in `the configuration` (not known here) help: did you mean `door`?",
        ],
    );
    finds(
        "[door]\nfrobnicate = 2",
        &[
            "error[unknown-key] 2:1 unknown key `frobnicate` in `door` (not known here) help: known keys are `workers`, `drain`, `connections` and `state`",
        ],
    );
    finds(
        "[listen.a]\nlimits = {}",
        &[
            "error[missing-key] 1:1 `a` needs `address` (`address` is missing) help: add `address = \"127.0.0.1:8080\"`",
        ],
    );
    finds(
        "[listen.\"a b\"]\naddress = \"127.0.0.1:80\"",
        &[
            "error[invalid-name] 1:9 `a b` is not a name (not a name) help: use 1 to 64 letters, digits, `-`, `_` or `.`",
        ],
    );
    finds(
        "door = 1",
        &["error[wrong-type] 1:8 `door` must be a table, not an integer (an integer)"],
    );
}

#[test]
fn types_and_ranges() {
    finds(
        "[door]\nworkers = \"4\"\ndrain = 30\nconnections = 1.5",
        &[
            "error[wrong-type] 2:11 `workers` must be an integer from 1 to 256, not a string (a string)",
            "error[wrong-type] 3:9 `drain` must be a duration such as \"250ms\", \"1s\" or \"1m30s\", not an integer (an integer)",
            "error[wrong-type] 4:15 `connections` must be an integer from 1 to 4294967295, not a float (a float)",
        ],
    );
    finds(
        "[door]\nworkers = 0\ndrain = \"25h\"\nconnections = 0\nstate = true",
        &[
            "error[out-of-range] 2:11 `workers` must be from 1 to 256 (out of range)",
            "error[out-of-range] 3:9 `drain` must be from 0s to 24h (out of range)",
            "error[out-of-range] 4:15 `connections` must be from 1 to 4294967295 (out of range)",
            "error[wrong-type] 5:9 `state` must be a path or `false`, not a boolean (a boolean)",
        ],
    );
    finds(
        "[door]\nconnections = 513",
        &[
            "error[connections-above-open-files] 2:15 513 connections are more than half of the open files (at most 512 here) help: each needs a file to the client and one to the server, and 1024 may be open: raise the limit (`ulimit -n`, systemd's LimitNOFILE) or lower this",
        ],
    );
    finds(
        "[door]\nworkers = 99999999999999999999999999999999999999999999\ndrain = 1979-05-27",
        &[
            "error[out-of-range] 2:11 `workers` must be from 1 to 256 (out of range)",
            "error[wrong-type] 3:9 `drain` must be a duration such as \"250ms\", \"1s\" or \"1m30s\", not a date (a date)",
        ],
    );
    finds(
        "[door]\ndrain = \"30sec\"",
        &[
            "error[invalid-unit] 2:9 `30sec` is not a duration (an unknown unit) help: did you mean `30s`?",
        ],
    );
}

#[test]
fn listeners() {
    listener(
        "[listen.b]\naddress = \"127.0.0.1:80\"",
        &[
            "error[duplicate-address] 4:11 127.0.0.1:80 is listened on twice (the same address again) help: give each listener its own address or port",
        ],
    );
    finds("[listen.a]\naddress = \"127.0.0.1:0\"\n[listen.b]\naddress = \"127.0.0.1:0\"", &[]);
    for (address, help) in [
        ("127.0.0.1", "add a port, as in \"127.0.0.1:8080\""),
        (":8080", "for every address write \"0.0.0.0:PORT\" or \"[::]:PORT\""),
        ("*:8080", "for every address write \"0.0.0.0:PORT\" or \"[::]:PORT\""),
        ("localhost:8080", "write \"127.0.0.1:PORT\" or \"[::1]:PORT\""),
        ("127.0.0.1:65536", "a port is a number from 0 to 65535"),
        ("web", "write an IP address and a port, such as \"127.0.0.1:8080\""),
    ] {
        finds(
            &format!("[listen.a]\naddress = \"{address}\""),
            &[&format!(
                "error[invalid-address] 2:11 `{address}` is not an address to listen on (not valid here) help: {help}"
            )],
        );
    }
    listener(
        "forwarded = \"x-forwarde\"\nerrors = \"html\"",
        &[
            "error[unknown-value] 3:13 unknown value `x-forwarde` for `forwarded` (not known) help: did you mean `x-forwarded`?",
            "error[unknown-value] 4:10 unknown value `html` for `errors` (not known) help: use `problem+json` or `text`",
        ],
    );
    listener(
        "trusted_proxies = [\"10.0.0.1/8\", \"nowhere\", \"10.0.0.0/8\", \"::1\", 1]",
        &[
            "error[invalid-network] 3:20 `10.0.0.1/8` has bits behind its prefix (not valid here) help: did you mean `10.0.0.0/8`?",
            "error[invalid-network] 3:34 `nowhere` is not a network (not valid here) help: write \"10.0.0.0/8\" or \"192.0.2.7\"",
            "error[wrong-type] 3:66 `trusted_proxies` must be a string, not an integer (an integer)",
        ],
    );
    listener(
        "limits = { head = 1023, headers = 257, target = \"128KiB\", connections = 600 }",
        &[
            "error[out-of-range] 3:19 `head` must be from 1KiB to 64KiB (out of range)",
            "error[out-of-range] 3:35 `headers` must be from 8 to 256 (out of range)",
            "error[out-of-range] 3:49 `target` must be from 64B to 64KiB (out of range)",
        ],
    );
    listener(
        "limits = { connections = 600 }",
        &[
            "error[connections-above-open-files] 3:26 600 connections are more than half of the open files (at most 512 here) help: each needs a file to the client and one to the server, and 1024 may be open: raise the limit (`ulimit -n`, systemd's LimitNOFILE) or lower this",
        ],
    );
    listener(
        "timeouts = { head = \"9ms\" }",
        &["error[out-of-range] 3:21 `head` must be from 10ms to 24h (out of range)"],
    );
}

#[test]
fn files() {
    let folder = folder_with_files();
    let text = "
[listen.a]
address = \"127.0.0.1:443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"none.key\" }, { key = \"a.key\" }] }
[admin]
address = \"0.0.0.0:1\"
token_file = \"short\"
[routes.a]
respond = {}
";
    let checked = settings::check(&source(text, folder.path()), &environment());
    let path = folder.path().display().to_string();
    let found: Vec<String> =
        checked.findings.iter().map(|finding| line(finding).replace(&path, "")).collect();
    assert_eq!(
        found,
        [
            "error[missing-file] 4:56 cannot read `/none.key` (No such file or directory (os error 2)) help: paths are relative to the folder of this file",
            "error[missing-key] 4:70 `certificates` needs `certificate` (`certificate` is missing) help: add `certificate = \"web.pem\"`",
            "error[short-token] 7:14 `/short` must hold a token of at least 16 characters (not valid here) help: make one with `openssl rand -hex 32`",
        ]
    );
    // Nothing weaker is made of what is wrong: it is an error, and no configuration.
    listener(
        "tls = { certificates = [], clients = { required = false, revocation = [] } }",
        &[
            "error[empty-list] 3:24 `certificates` must not be empty (not valid here) help: add one: `certificates = [{ certificate = \"web.pem\", key = \"web.key\" }]`",
            "error[missing-key] 3:38 `clients` needs `roots` (`roots` is missing) help: add `roots = \"clients.pem\"`",
            "error[empty-list] 3:71 `revocation` must not be empty (not valid here) help: name a file, or remove it",
        ],
    );
    listener(
        "tls = { certificates = [] }",
        &[
            "error[empty-list] 3:24 `certificates` must not be empty (not valid here) help: add one: `certificates = [{ certificate = \"web.pem\", key = \"web.key\" }]`",
        ],
    );
}

#[test]
fn servers() {
    for (address, help) in [
        ("127.0.0.1", "add a port, as in \"127.0.0.1:3001\" or \"api.internal:3001\""),
        ("127.0.0.1:0", "a server's port is a number from 1 to 65535"),
        ("api:0", "a server's port is a number from 1 to 65535"),
        ("api:70000", "a server's port is a number from 1 to 65535"),
        ("http://api:80", "leave out the scheme; for https set `tls = true` in the pool"),
        (
            "-api:80",
            "a host name is made of labels of letters, digits, `-` and `_`, joined by dots",
        ),
        ("300.1.1.1:80", "this looks like an IP address, but is none"),
        ("äpi:80", "write a name outside ASCII in its `xn--` form"),
        ("api.:80", "leave out the last dot"),
    ] {
        pool(
            &format!("servers = [\"{address}\", \"127.0.0.1:2\"]"),
            &[&format!(
                "error[invalid-address] 2:12 `{address}` is not the address of a server (not valid here) help: {help}"
            )],
        );
    }
    pool(
        "servers = []",
        &[
            "error[empty-list] 2:11 `servers` must not be empty (not valid here) help: write `servers = [\"127.0.0.1:3001\"]`",
        ],
    );
    pool(
        "servers = [\"127.0.0.1:1\"]",
        &[
            "error[single-server] 2:11 server `127.0.0.1:1` gets 100 % of the requests of pool `a`: there is no other (only one server) help: add a second server, or say with `[[allow]] rule = \"single-server\"` why there is one",
        ],
    );
    pool("servers = [\"api.internal:1\"]", &[]);
    pool(
        "servers = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
        &[
            "error[single-server] 2:11 server `127.0.0.1:1` gets 100 % of the requests of pool `a`: there is no other (only one server) help: add a second server, or say with `[[allow]] rule = \"single-server\"` why there is one",
            "warning[duplicate-server] 2:27 server `127.0.0.1:1` is listed twice (the same address again) help: give it a `weight` if it is to take more traffic",
        ],
    );
    pool(
        "servers = [{ address = \"127.0.0.1:1\", weight = 0 }, { address = \"127.0.0.1:2\", drain = true }]",
        &[
            "error[no-active-server] 2:11 no server of pool `a` takes requests (every one has weight 0 or is drained) help: give at least one server a weight and do not drain it",
        ],
    );
    pool(
        "servers = [{ address = \"127.0.0.1:1\", weight = 1001 }, { weight = -1 }]",
        &[
            "error[out-of-range] 2:48 `weight` must be from 0 to 1000 (out of range)",
            "error[missing-key] 2:56 `servers` needs `address` (`address` is missing) help: add `address = \"127.0.0.1:3001\"`",
            "error[out-of-range] 2:67 `weight` must be from 0 to 1000 (out of range)",
        ],
    );
}

#[test]
fn balance() {
    pool(
        "balance = \"maglev\"",
        &[
            "error[unknown-value] 2:11 `maglev` needs what it hashes (not valid here) help: write `{ maglev = \"client-address\" }`",
        ],
    );
    pool(
        "balance = \"leastrequest\"",
        &[
            "error[unknown-value] 2:11 unknown value `leastrequest` for `balance` (not known) help: did you mean `least-request`?",
        ],
    );
    pool(
        "balance = { maglev = \"client\" }",
        &[
            "error[unknown-value] 2:22 unknown value `client` for `maglev` (not known) help: use `client-address` or `path`",
        ],
    );
    pool(
        "balance = { maglev = {} }",
        &[
            "error[conflicting-keys] 2:22 `maglev` hashes either a header or a cookie (not valid here) help: write `{ header = \"x-user\" }`",
        ],
    );
    pool(
        "balance = { maglev = { header = \"a b\" } }",
        &[
            "error[invalid-token] 2:33 `a b` is not a valid name here (not valid here) help: use letters, digits and any of !#$%&'*+-.^_`|~",
        ],
    );
}

#[test]
fn checks() {
    finds(
        "[pools.a]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]",
        &[
            "error[no-health-check] 1:8 pool `a` has no health check (a server that is down is found by failed requests only) help: add `check = { path = \"/health\" }`",
        ],
    );
    pool(
        "check = { interval = \"5ms\" }",
        &[
            "error[missing-key] 2:9 `check` needs `path` (`path` is missing) help: add `path = \"/health\"`",
            "error[out-of-range] 2:22 `interval` must be from 10ms to 24h (out of range)",
        ],
    );
    pool(
        "check = { path = \"health\", status = [\"299-200\", 99], fall = 0 }",
        &[
            "error[invalid-path] 2:18 `health` is not a path (not valid here) help: a path begins with `/`",
            "error[invalid-status] 2:38 `299-200` is not a range of status codes (not valid here) help: write it like \"200-299\", from 100 to 599",
            "error[out-of-range] 2:49 `status` must be from 100 to 599 (out of range)",
            "error[out-of-range] 2:61 `fall` must be from 1 to 100 (out of range)",
        ],
    );
    pool(
        "check = { tcp = true, path = \"/\" }",
        &[
            "error[conflicting-keys] 2:30 `path` has no meaning with `tcp = true` (not valid here) help: remove one of them",
        ],
    );
    pool(
        "check = { grpc = true }",
        &[
            "error[conflicting-keys] 2:18 `grpc` is asked over HTTP/2, which this pool does not speak (not valid here) help: write `protocol = \"http2\"` in the pool",
        ],
    );
    pool(
        "protocol = \"http2\"\ncheck = { grpc = \"a b\", path = \"/\" }",
        &[
            "error[invalid-name] 3:18 `a b` is not the name of a gRPC service (not valid here) help: write it in full, such as \"shop.v1.Cart\"",
        ],
    );
    pool(
        "protocol = \"http2\"\ncheck = { grpc = true, path = \"/\", tcp = true }",
        &[
            "error[conflicting-keys] 3:18 `grpc` has no meaning with `tcp = true` (not valid here) help: remove one of them",
            "error[conflicting-keys] 3:31 `path` has no meaning with `tcp = true` (not valid here) help: remove one of them",
        ],
    );
}

#[test]
fn timeouts_and_retries() {
    pool(
        "timeouts = { total = \"2s\", connect = \"3s\" }",
        &[
            "error[inverted-timeouts] 2:22 the total of 2s ends before `connect` of 3s (the outer timeout is the shorter one) help: make it at least 3s",
        ],
    );
    pool(
        "timeouts = { total = \"30s\", first_byte = \"20s\" }",
        &[
            "error[inverted-timeouts] 2:22 the total of 30s ends before `first_byte` of 20s in 2 attempts (the outer timeout is the shorter one) help: make it at least 40s",
        ],
    );
    pool("timeouts = { total = \"30s\", first_byte = \"20s\" }\nretries = { attempts = 1 }", &[]);
    pool("timeouts = { total = \"1s\" }", &[]);
    pool(
        "retries = { attempts = 6, budget = 1.5 }\nejection = { pause = \"1m\", share_max = nan }",
        &[
            "error[out-of-range] 2:24 `attempts` must be from 1 to 5 (out of range)",
            "error[out-of-range] 2:36 `budget` must be from 0 to 1 (out of range)",
            "error[out-of-range] 3:40 `share_max` must be from 0 to 1 (out of range)",
        ],
    );
    pool(
        "ejection = { pause = \"1m\" }",
        &[
            "error[inverted-timeouts] 2:22 the first pause is longer than the longest (not below the longest) help: raise `pause_max`, now 30s",
        ],
    );
    pool(
        "ejection = true",
        &[
            "error[wrong-type] 2:12 `ejection` must be `false` or a table, not a boolean (a boolean)",
        ],
    );
    pool(
        "tls = { verify = false, server_name = \"a b\" }",
        &[
            "error[invalid-host] 2:39 `a b` is not the name of a server (not valid here) help: a host name is made of labels of letters, digits, `-` and `_`, joined by dots",
        ],
    );
    finds(
        "[pools.a]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ncheck = { path = '/' }\ntimeouts = { first_byte = \"5s\" }\n[routes.a]\npool = \"a\"\ntotal_timeout = \"6s\"",
        &[
            "error[inverted-timeouts] 7:17 the total of 6s ends before `first_byte` of 5s in 2 attempts (the outer timeout is the shorter one) help: make it at least 10s",
        ],
    );
}

#[test]
fn pools_and_routes_find_each_other() {
    route(
        "pool = \"sund\"",
        &[
            "error[unknown-pool] 2:8 there is no pool `sund` (not a pool) help: did you mean `sound`?",
        ],
    );
    route(
        "pool = \"other\"",
        &[
            "error[unknown-pool] 2:8 there is no pool `other` (not a pool) help: the pools are `sound`",
        ],
    );
    finds(
        "[pools.a]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ncheck = { path = '/' }\n[routes.a]\nrespond = {}",
        &[
            "warning[unused-pool] 1:8 pool `a` is not used by any route (never used) help: add a route with `pool = \"a\"`, or remove it",
        ],
    );
}

#[test]
fn actions() {
    route(
        "path = \"/\"",
        &[
            "error[route-action] 1:1 route `a` does nothing (0 of `pool`, `redirect` and `respond`) help: give exactly one of `pool`, `redirect` and `respond`",
        ],
    );
    route(
        "pool = \"sound\"\nrespond = {}",
        &[
            "error[route-action] 1:1 route `a` does several things (2 of `pool`, `redirect` and `respond`) help: give exactly one of `pool`, `redirect` and `respond`",
        ],
    );
    route(
        "redirect = { status = 304, location = \"https://{hots}\" }",
        &[
            "error[invalid-status] 2:23 304 is no redirect (not valid here) help: use 301, 302, 303, 307 or 308",
            "error[invalid-location] 2:39 `https://{hots}` is not a location (not valid here) help: only {host}, {path} and {query} are replaced",
        ],
    );
    route(
        "redirect = { location = \"example.com\" }",
        &[
            "error[invalid-location] 2:25 `example.com` is not a location (not valid here) help: begin it with \"/\", \"https://\" or \"http://\"",
        ],
    );
    route(
        "respond = { status = 204, body = \"x\", content_type = \"text\" }",
        &[
            "error[conflicting-keys] 2:34 a response 204 has no body (not valid here) help: remove `body`, or use another status",
            "error[invalid-header] 2:54 `text` is not a content type (not valid here) help: write it like \"text/html; charset=utf-8\"",
        ],
    );
    route(
        "path = { exact = \"/a\" }\npool = \"sound\"\nreplace_prefix = \"/\"",
        &[
            "error[conflicting-keys] 4:18 `replace_prefix` needs a `pool` and a `path` that is a prefix (not valid here) help: remove it, or give the path as \"/prefix\"",
        ],
    );
}

#[test]
fn hosts() {
    for (host, help) in [
        ("*", "leave `host` out to mean any"),
        ("a.*.b", "a wildcard is the whole first label, as in \"*.example.com\""),
        ("*a.b", "a wildcard is the whole first label, as in \"*.example.com\""),
        ("example.com:80", "leave out the scheme and the port"),
        ("https://example.com", "leave out the scheme and the port"),
        ("", "a host name is made of labels of letters, digits, `-` and `_`, joined by dots"),
    ] {
        route(
            &format!("host = \"{host}\"\nrespond = {{}}"),
            &[&format!(
                "error[invalid-host] 2:8 `{host}` is not a host (not valid here) help: {help}"
            )],
        );
    }
    route(
        "host = []\nrespond = {}",
        &[
            "error[empty-list] 2:8 `host` must not be empty (not valid here) help: leave it out to mean any",
        ],
    );
}

#[test]
fn paths() {
    const STAR: &str = "a `*` is the last letter, for whatever follows; to match one as it is, \
                        write `{ exact = \"...\" }` or use `path_regex`";
    for (path, help) in [
        ("api", "a path begins with `/`"),
        ("/a?b", "leave out the query and fragment: only the path is compared"),
        ("/a//b", "leave out empty segments: requests never match them"),
        ("/a/../b", "leave out `.` and `..`: requests never match them"),
        ("/a b", "percent-encode this character, as requests do (a space is `%20`)"),
        ("/ä", "percent-encode this character, as requests do (a space is `%20`)"),
        ("/a%2", "write two hex digits behind `%`"),
        ("*", "a path begins with `/`"),
        ("/a//*", "leave out empty segments: requests never match them"),
        ("/a/../b*", "leave out `.` and `..`: requests never match them"),
        ("/a%2*", "write two hex digits behind `%`"),
        ("/a*b", STAR),
        ("/a*b*", STAR),
    ] {
        route(
            &format!("path = \"{path}\"\nrespond = {{}}"),
            &[&format!(
                "error[invalid-path] 2:8 `{path}` is not a path (not valid here) help: {help}"
            )],
        );
    }
    for (path, help) in [
        ("/{id", "a parameter is a whole segment, such as `/users/{id}`"),
        ("/a{id}", "a parameter is a whole segment, such as `/users/{id}`"),
        ("/{}", "name a parameter with letters, digits and `_`, such as `{id}` or `{*rest}`"),
        ("/{a-b}", "name a parameter with letters, digits and `_`, such as `{id}` or `{*rest}`"),
        ("/{id}/{id}", "give each parameter its own name"),
        ("/{*rest}/a", "`{*rest}` must be the last segment"),
        ("/{id}/", "leave out the last `/`"),
        ("{id}", "a path begins with `/`"),
        ("/{id}/a*", "a `*` stands in `{*rest}` only, the last segment"),
        ("/{id}?a", "leave out the query and fragment: only the path is compared"),
    ] {
        route(
            &format!("path = \"{path}\"\nrespond = {{}}"),
            &[&format!(
                "error[invalid-template] 2:8 `{path}` is not a path template (not valid here) help: {help}"
            )],
        );
    }
    route(
        "path = \"/api/\"\nrespond = {}",
        &[
            "warning[trailing-slash] 2:8 the prefix `/api/` serves `/api` too (a prefix ends at a segment) help: write `/api`",
        ],
    );
}

#[test]
fn methods_and_headers() {
    route(
        "methods = [\"get\", \"G T\"]\nrespond = {}",
        &[
            "error[invalid-method] 2:12 `get` is not a method (not valid here) help: did you mean `GET`?",
            "error[invalid-method] 2:19 `G T` is not a method (not valid here) help: methods are upper case, such as \"GET\"",
        ],
    );
    route(
        "headers = { \"a b\" = true, X-A = \"1\", x-a = \"2\", b = false, c = \" x\" }\nrespond = {}",
        &[
            "error[invalid-token] 2:13 `a b` is not the name of a header (not valid here) help: use letters, digits and any of !#$%&'*+-.^_`|~",
            "error[duplicate-header] 2:38 header `x-a` is given twice (the same name in other letters) help: keep one of them",
            "error[wrong-type] 2:53 `b` must be a string, or `true` for any value, not a boolean (a boolean)",
            "error[invalid-header] 2:64 ` x` is not a header's value (not valid here) help: use visible ASCII, without blanks at the ends",
        ],
    );
}

#[test]
fn admin_and_telemetry() {
    finds(
        "[admin]\nsocket = true\naddress = \"127.0.0.1:1\"",
        &[
            "error[missing-key] 1:1 `admin` needs `token_file` (`token_file` is missing) help: add `token_file = \"admin.token\"`",
            "error[wrong-type] 2:10 `socket` must be a path or `false`, not a boolean (a boolean)",
            "error[duplicate-address] 3:11 127.0.0.1:1 is listened on twice (the same address again) help: give each listener its own address or port",
        ],
    );
    finds(
        "[telemetry]\naccess_log = \"stderr\"",
        &[
            "error[unknown-value] 2:14 unknown value `stderr` for `access_log` (not known) help: use `stdout`",
        ],
    );
    finds(
        "[telemetry]\naccess_log = { file = \"none/access.log\", format = \"xml\" }",
        &[
            "error[missing-folder] 2:23 cannot write `/nonexistent/none/access.log` (not valid here) help: name a file in a folder that exists",
            "error[unknown-value] 2:51 unknown value `xml` for `format` (not known) help: use `json`, `clf` or `ecs`",
        ],
    );
    finds(
        "[telemetry]\naccess_log = { file = \"a\", stdout = true }",
        &[
            "error[conflicting-keys] 2:23 `file` and `stdout` exclude each other (not valid here) help: keep one of them",
        ],
    );
}

#[test]
fn limits_of_the_text() {
    let too_large = " ".repeat(settings::TEXT_BYTES_MAX + 1);
    assert_eq!(
        lines(&check(&too_large)),
        ["error[too-large] 1:1 the configuration is larger than 4 MiB ()"]
    );
    let servers: String = (0..10_001).map(|n| format!("\"s{n}:1\",")).collect();
    finds(
        &format!("[pools.a]\ncheck = {{ path = '/' }}\nservers = [{servers}]"),
        &["error[too-many-servers] 1:8 more than 10000 servers (one too many in this pool)"],
    );
    let routes: String =
        (0..10_001).map(|n| format!("[routes.r{n}]\npath = \"/{n}\"\nrespond = {{}}\n")).collect();
    finds(&routes, &["error[too-many-routes] 30001:9 more than 10000 routes (one too many)"]);
}

#[test]
fn errors_are_not_crowded_out() {
    let warnings: String =
        (0..1_500).map(|n| format!("[routes.r{n}]\npath = \"/{n}/\"\nrespond = {{}}\n")).collect();
    let checked = check(&format!("{warnings}[door]\nworkers = 0\n"));
    assert!(checked.configuration.is_none());
    let rules: Vec<&str> = checked.findings.iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&"out-of-range"), "{rules:?}");
    let last = checked.findings.last().expect("many findings");
    assert_eq!(line(last), "warning[more-findings] 4503:1 500 more findings are not shown ()");
}
