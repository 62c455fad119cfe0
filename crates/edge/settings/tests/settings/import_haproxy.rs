//! HAProxy's configurations: what becomes of every word, what is written, which rules are broken.

use std::path::Path;

use proptest::prelude::*;
use settings::Severity;
use settings::import::{Dialect, Directive, Disposition, Imported, Memory, check_imported};

const FILE: &str = "/etc/haproxy/haproxy.cfg";

pub(crate) fn import(text: &str) -> Imported {
    let files = Memory::new([(FILE, text)]);
    let imported = settings::import::import(Dialect::Haproxy, Path::new(FILE), &files);
    is_covered(&imported);
    imported
}

/// Asserts that every word of every file is in exactly one directive.
pub(crate) fn is_covered(imported: &Imported) {
    for (file, source) in imported.sources.iter().enumerate() {
        let text = source.text.as_bytes();
        let mut covered = vec![0_u8; text.len()];
        for directive in imported.directives.iter().filter(|d| d.file == file) {
            assert!(!directive.span.is_empty(), "{directive:?}");
            for byte in &mut covered[directive.span.clone()] {
                *byte = byte.saturating_add(1);
            }
        }
        assert!(covered.iter().all(|count| *count < 2), "{} is covered twice", source.name);
        for (start, end) in words(&source.text) {
            let count = covered[start..end].iter().filter(|count| **count == 1).count();
            assert_eq!(count, end - start, "{:?} of {}", source.text.get(start..end), source.name);
        }
    }
}

/// The words of a text by blanks and comments alone: an independent, simpler reading.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive(['\n', '\r', '\0']) {
        words_of(line, offset, &mut words);
        offset += line.len();
    }
    words
}

fn words_of(line: &str, offset: usize, words: &mut Vec<(usize, usize)>) {
    let mut quote = None;
    let mut start = None;
    let mut is_escaped = false;
    for (index, character) in line.char_indices() {
        let is_blank = matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\0');
        let is_kept = (character == ' ' && is_escaped)
            || (quote.is_some() && !matches!(character, '\n' | '\r' | '\0'));
        let was_escaped = std::mem::take(&mut is_escaped);
        if character == '#' && quote.is_none() && !was_escaped {
            words.extend(start.take().map(|start| (offset + start, offset + index)));
            return;
        }
        if is_blank && !is_kept {
            words.extend(start.take().map(|start| (offset + start, offset + index)));
            continue;
        }
        start.get_or_insert(index);
        match (quote, character) {
            (None | Some('"'), '\\') => is_escaped = !was_escaped,
            _ if was_escaped => {}
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    words.extend(start.map(|start| (offset + start, offset + line.len())));
}

/// What is written, without what is the same in every test.
pub(crate) const FRONT: &str = "frontend web\n bind 127.0.0.1:80\n";
pub(crate) const DEFAULTS: &str =
    "defaults\n mode http\n timeout connect 1s\n timeout client 2s\n timeout server 3s\n";

/// A directive in a line: `3:5 weight: refused: why`.
fn line(directive: &Directive) -> String {
    let Directive { line, column, name, disposition, .. } = directive;
    let end = match disposition {
        Disposition::Mapped => "mapped".to_owned(),
        Disposition::Refused(reason) => format!("refused: {reason}"),
        Disposition::Ignored(reason) => format!("ignored: {reason}"),
    };
    format!("{line}:{column} {name}: {end}")
}

/// Imports defaults, `text`, and checks that the TOML holds each of `expected`.
#[track_caller]
pub(crate) fn writes(text: &str, expected: &[&str]) {
    let imported = import(&format!("{DEFAULTS}{text}"));
    for part in expected {
        assert!(imported.text.contains(part), "{part} is not in\n{}", imported.text);
    }
}

/// Imports defaults and `text`; the directives that were not mapped.
pub(crate) fn left_out(text: &str) -> Vec<String> {
    let imported = import(&format!("{DEFAULTS}{text}"));
    let is_left_out = |directive: &&Directive| directive.disposition != Disposition::Mapped;
    imported.directives.iter().filter(is_left_out).map(line).collect()
}

/// The rules that `text` breaks, each once.
fn broken(text: &str) -> Vec<&'static str> {
    let mut rules: Vec<&'static str> = import(text).findings.iter().map(|f| f.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn what_is_written_is_a_configuration_with_haproxy_s_own_defaults() {
    let imported = import(&format!(
        "{DEFAULTS}{FRONT} default_backend app\nbackend app\n server a 10.0.0.1:80 check\n server b 10.0.0.2:80\n"
    ));
    let expected = "\
[listen.web]
address = \"127.0.0.1:80\"
forwarded = \"off\"
limits = { body = \"1073741824GiB\" }
timeouts = { handshake = \"2s\", head = \"2s\", keep_alive = \"2s\", body = \"2s\" }

[pools.app]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
balance = \"round-robin\"
check = { tcp = true, interval = \"2s\", timeout = \"2s\", fall = 3, rise = 2 }
timeouts = { connect = \"1s\", first_byte = \"3s\", progress = \"3s\", tunnel_idle = \"3s\" }
ejection = false
slow_start = \"0s\"

[routes.app]
pool = \"app\"
";
    assert_eq!(imported.text, expected);
    let errors: Vec<String> = check_imported(&imported, &crate::environment())
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(crate::line)
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn listeners() {
    let back = " default_backend a\nbackend a\n server a 10.0.0.1:80\n";
    for (bind, expected) in [
        (":8080", "address = \"0.0.0.0:8080\""),
        ("*:8080", "address = \"0.0.0.0:8080\""),
        (":::8080", "address = \"[::]:8080\""),
        ("[::1]:8080", "address = \"[::1]:8080\""),
        ("ipv6@:8080 v6only", "address = \"[::]:8080\""),
        ("127.0.0.1:8080-8081", "address = \"127.0.0.1:8081\""),
        ("127.0.0.1:80,127.0.0.2:80", "address = \"127.0.0.2:80\""),
        (":443 ssl crt /c.pem no-tlsv12", "version_min = \"1.3\""),
        (":443 ssl crt /c.pem strict-sni alpn h2,http/1.1", "strict_sni = true"),
        (":443 ssl crt /c.pem", "{ certificate = \"/c.pem\", key = \"/c.pem\" }"),
        (":80 maxconn 7", "connections = 7"),
        (":443 ssl crt /c.pem alpn http/1.1", "http2 = false"),
        (":80 proto h1", "http2 = false"),
        (
            ":80 accept-proxy\n tcp-request connection reject if !{ src 10.0.0.0/8 }",
            "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]",
        ),
    ] {
        writes(&format!("frontend web\n bind {bind}\n{back}"), &[expected]);
    }
    let refused = left_out(&format!(
        "{FRONT} bind /run/x.sock\n bind :0\n bind \"${{X}}:80\"\n bind :81 accept-proxy\n{back}"
    ));
    assert_eq!(
        refused,
        [
            "8:2 bind: refused: the door listens on IP addresses only",
            "9:2 bind: refused: a port is a number from 1 to 65535",
            "10:2 bind: refused: the environment variable `X` is not known here",
            "11:11 accept-proxy: refused: HAProxy takes it from anybody: add `proxy_protocol = true` \
             to the listener, and name the proxies in its `trusted_proxies`",
        ]
    );
}

#[test]
fn servers() {
    for (lines, expected) in [
        ("server a 10.0.0.1:80 weight 7", "{ address = \"10.0.0.1:80\", weight = 7 }"),
        ("server a 10.0.0.1:80 disabled", "drain = true"),
        ("server a app.internal:80 resolvers dns", "\"app.internal:80\""),
        ("server-template a 1-9 app.internal:80", "\"app.internal:80\""),
        ("server a [::1]:80", "\"[::1]:80\""),
        ("server a 10.0.0.1:80 maxconn 9", "in_flight_max = 9"),
        ("server a 10.0.0.1:80 slowstart 5s", "slow_start = \"5s\""),
        (
            "server a 10.0.0.1:443 ssl verify none sni str(x.test)",
            "tls = { verify = false, server_name = \"x.test\" }",
        ),
        ("default-server inter 5s fall 4\n server a 10.0.0.1:80 check", "interval = \"5s\""),
        ("option httpchk GET /up\n server a 10.0.0.1:80 check", "check = { path = \"/up\""),
        (
            "option httpchk\n http-check send meth GET uri /up hdr Host x\n http-check expect status 200-204\n server a 10.0.0.1:80 check",
            "path = \"/up\", host = \"x\", status = [\"200-204\"]",
        ),
        (
            "server a 10.0.0.1:80 observe layer7 error-limit 3 on-error mark-down",
            "ejection = { failures = 3 }",
        ),
        ("balance leastconn\n server a 10.0.0.1:80", "balance = \"least-request\""),
        ("balance source\n server a 10.0.0.1:80", "{ maglev = \"client-address\" }"),
        ("balance hdr(X-U)\n server a 10.0.0.1:80", "{ maglev = { header = \"X-U\" } }"),
        ("option http-server-close\n server a 10.0.0.1:80", "idle_max = 0"),
        ("retries 9\n server a 10.0.0.1:80", "retries = { attempts = 3 }"),
        ("server a 10.0.0.1:80 send-proxy check-send-proxy", "proxy_protocol = \"v1\""),
        ("default-server send-proxy-v2\n server a 10.0.0.1:80", "proxy_protocol = \"v2\""),
        ("server a 10.0.0.1:80 proto h2", "protocol = \"http2\""),
    ] {
        writes(&format!("{FRONT} default_backend b\nbackend b\n {lines}\n"), &[expected]);
    }
}

/// Asserts what is written for `text` and what is left out of it, and that the door takes it.
#[track_caller]
fn translates(text: &str, expected: &str, left: &[&str]) {
    let imported = import(text);
    assert_eq!(imported.text, expected);
    let is_left_out = |directive: &&Directive| directive.disposition != Disposition::Mapped;
    let lines: Vec<String> = imported.directives.iter().filter(is_left_out).map(line).collect();
    assert_eq!(lines, left);
    let findings = check_imported(&imported, &crate::environment());
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(crate::line)
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

/// Plain TCP: a listener with servers of its own, and one that looks at server names.
const PASSED: &str = "\
defaults
 timeout connect 1s
 timeout client 2m
 timeout server 1m
listen database
 bind 127.0.0.1:5432
 balance leastconn
 maxconn 50
 server a 10.0.0.1:5432 check maxconn 20 maxqueue 9 send-proxy-v2
 server b 10.0.0.2:5432 check maxconn 20 maxqueue 9 send-proxy-v2
frontend tls
 bind 127.0.0.1:443 accept-proxy
 tcp-request inspect-delay 5s
 tcp-request content accept if { req_ssl_hello_type 1 }
 acl is_b req.ssl_sni -i b.test c.test
 use_backend b if { req.ssl_sni -i A.test } or is_b
 use_backend b if { src 10.0.0.0/8 }
 default_backend rest
backend b
 server b 10.0.0.3:443 check
 server c 10.0.0.4:443 check
backend rest
 timeout tunnel 1h
 server b 10.0.0.3:443 check
 server c 10.0.0.4:443 check
backend unused
 server u 10.0.0.5:443
";

/// What becomes of [`PASSED`].
const PASSED_HERE: &str = "\
[listen.database]
address = \"127.0.0.1:5432\"
mode = \"tcp\"
pool = \"database\"
limits = { connections = 50 }
timeouts = { handshake = \"120s\" }

[listen.tls]
address = \"127.0.0.1:443\"
proxy_protocol = true
trusted_proxies = [\"0.0.0.0/0\", \"::/0\"]
mode = \"tcp\"
pool = \"rest\"
sni = { \"a.test\" = \"b\", \"b.test\" = \"b\", \"c.test\" = \"b\" }
timeouts = { handshake = \"5s\" }

[pools.b]
servers = [\"10.0.0.3:443\", \"10.0.0.4:443\"]
balance = \"round-robin\"
check = { tcp = true, interval = \"2s\", timeout = \"2s\", fall = 3, rise = 2 }
timeouts = { connect = \"1s\", tunnel_idle = \"60s\" }
ejection = false
slow_start = \"0s\"

[pools.database]
servers = [\"10.0.0.1:5432\", \"10.0.0.2:5432\"]
balance = \"least-request\"
check = { tcp = true, interval = \"2s\", timeout = \"2s\", fall = 3, rise = 2 }
timeouts = { connect = \"1s\", tunnel_idle = \"60s\" }
ejection = false
slow_start = \"0s\"
in_flight_max = 20
proxy_protocol = \"v2\"

[pools.rest]
servers = [\"10.0.0.3:443\", \"10.0.0.4:443\"]
balance = \"round-robin\"
check = { tcp = true, interval = \"2s\", timeout = \"2s\", fall = 3, rise = 2 }
timeouts = { connect = \"1s\", tunnel_idle = \"3600s\" }
ejection = false
slow_start = \"0s\"
";

#[test]
fn plain_tcp_is_passed_on() {
    translates(
        PASSED,
        PASSED_HERE,
        &[
            "9:42 maxqueue: ignored: the door bounds what waits by itself: twice what its servers take",
            "10:42 maxqueue: ignored: the door bounds what waits by itself: twice what its servers take",
            "17:2 use_backend: refused: of connections the door asks for the exact server name alone: \
             `req.ssl_sni -i NAME`",
            "26:1 backend: refused: no listener that is taken over passes connections on to it",
            "27:2 server: refused: no listener that is taken over passes connections on to it",
        ],
    );
}

#[test]
fn protocols_that_do_not_map_say_why() {
    let of = |bind: &str, server: &str| {
        left_out(&format!(
            "frontend web\n bind :80 {bind}\n default_backend a\nbackend a\n server a 10.0.0.1:80 {server}\n"
        ))
    };
    for (bind, server, expected) in [
        ("proto quic", "", "7:11 proto: refused: the door speaks HTTP/1.1 and HTTP/2 over TCP"),
        (
            "",
            "send-proxy-v2-ssl",
            "10:23 send-proxy-v2-ssl: refused: the door tells servers the addresses alone: \
             `send-proxy-v2` without more",
        ),
        (
            "",
            "send-proxy no-check-send-proxy",
            "10:34 no-check-send-proxy: refused: checks begin with the PROXY protocol where \
             connections do",
        ),
        (
            "",
            "send-proxy proto h2",
            "10:34 proto: refused: with the PROXY protocol a connection is one client's: HTTP/1.1 \
             is spoken",
        ),
        (
            "",
            "send-proxy\n server b 10.0.0.2:80",
            "10:23 send-proxy: refused: the servers of a pool are told the same version, or none",
        ),
    ] {
        assert_eq!(of(bind, server), [expected]);
    }
    // Who may say it holds for connections without it as well, which the door does not close.
    let text = "frontend web\n bind :80 accept-proxy\n bind :81\n \
                tcp-request connection reject unless { src 10.0.0.1 }\n \
                default_backend a\nbackend a\n server a 10.0.0.1:80\n";
    assert_eq!(
        left_out(text),
        ["9:2 tcp-request connection: refused: routes cannot ask for `src`; the door refuses all \
          that it may be for"]
    );
    writes(text, &["[routes.answer-403]\nrespond = { status = 403 }"]);
}

#[test]
fn denials_by_rate_are_limits() {
    const TABLE: &str = " stick-table type ip size 1m expire 10m store gpc0,http_req_rate(10s)\n";
    const TRACK: &str = " http-request track-sc0 src\n";
    const BACK: &str = " default_backend b\nbackend b\n server a 10.0.0.1:80\n";
    let deny = |condition: &str| format!(" http-request deny deny_status 429 if {condition}\n");
    for lines in [
        format!("{TABLE}{TRACK}{}", deny("{ sc_http_req_rate(0) gt 20 }")),
        format!("{TABLE}{TRACK}{}", deny("{ sc0_http_req_rate ge 21 }")),
        format!("{TABLE}{TRACK} acl fast sc_http_req_rate(0,web) gt 20\n{}", deny("fast")),
        format!("{TABLE}{}", deny("{ src_http_req_rate gt 20 }")),
    ] {
        let text = format!("{FRONT}{lines}{BACK}");
        writes(&text, &["[limits.web-rate]\nby = \"address\"\nrate = \"2/s\"\nburst = 20\n"]);
        assert_eq!(left_out(&text), [""; 0], "{lines}");
        assert_eq!(broken(&format!("{DEFAULTS}{text}")), ["inexact-import"]);
    }
    let shared = " http-request track-sc0 src table rates\n";
    let shared = format!(
        "{FRONT}{shared}{}{BACK}backend rates\n{TABLE}frontend other\n bind 127.0.0.1:81\n default_backend b\n",
        deny("{ sc_http_req_rate(0) gt 20 }")
    );
    writes(&shared, &["burst = 20\nroutes = [\"b\"]\n"]);
    let is_refused = |lines: &str| {
        let text = format!("{FRONT}{lines}{BACK}");
        let written = import(&format!("{DEFAULTS}{text}")).text;
        assert!(!written.contains("[limits"), "{written}");
        assert!(
            left_out(&text).iter().any(|line| line.contains("http-request deny: refused")),
            "{lines}"
        );
    };
    let rate = deny("{ sc_http_req_rate(0) gt 20 }");
    is_refused(&format!(
        "{TABLE}{TRACK}{}",
        deny("{ sc_http_req_rate(0) gt 20 } !{ src 10.0.0.1 }")
    ));
    is_refused(&format!("{TABLE}{TRACK} http-request allow if {{ path /up }}\n{rate}"));
    is_refused(&format!("{TABLE} http-request track-sc0 hdr(x-user)\n{rate}"));
    is_refused(&format!("{TABLE} http-request track-sc0 src if {{ path /api }}\n{rate}"));
    is_refused(&format!("{TRACK}{rate}"));
    is_refused(&format!("{}{TRACK}{rate}", TABLE.replace("http_req_rate", "conn_rate")));
}

#[test]
fn waiting_for_a_place_is_bounded() {
    let back = |lines: &str| format!("{FRONT} default_backend b\nbackend b\n{lines}");
    writes(
        &back(" timeout queue 5s\n server a 10.0.0.1:80 maxconn 9 maxqueue 5\n"),
        &["in_flight_max = 9\nqueue_wait = \"5s\"\n"],
    );
    let unused = left_out(&back(" timeout queue 5s\n server a 10.0.0.1:80\n"));
    assert!(
        unused[0].ends_with("ignored: without `maxconn` nothing waits in HAProxy either"),
        "{unused:?}"
    );
}

#[test]
fn what_is_left_out_says_why() {
    let told = left_out(&format!(
        "{FRONT} default_backend b\n option httplog\n frobnicate x\nbackend b\n cookie S insert\n \
         server a 10.0.0.1:80 check weight 1 port 81 cookie a inter 1s\n \
         server b 10.0.0.2:80 inter 2s backup\n server c 10.0.0.3:80 inter 2s\npeers p\n peer x 10.0.0.9:1\n"
    ));
    assert_eq!(
        told,
        [
            "9:2 option httplog: ignored: the door writes its access log where `telemetry.access_log` says, not to syslog",
            "10:2 frobnicate: refused: HAProxy 2.6 to 3.0 knows no such keyword",
            "12:2 cookie: refused: the door binds no client to a server: `balance = { maglev = ... }` comes close",
            "13:38 port: refused: the door checks servers where it sends requests",
            "13:46 cookie: ignored: it belongs to `cookie`, which is refused",
            "13:55 inter: refused: the servers of a pool share one `inter` here, and these differ",
            "14:2 server: refused: the door has no backup servers: a zone comes close",
            "14:23 inter: ignored: its server is refused",
            "14:32 backup: refused: the door has no backup servers: a zone comes close",
            "15:23 inter: refused: the servers of a pool share one `inter` here, and these differ",
            "16:1 peers: ignored: peers share stick tables, and the door has none",
            "17:2 peer: ignored: peers share stick tables, and the door has none",
        ]
    );
}

#[test]
fn front_ends_that_answer_alike_share_routes_and_others_have_their_own() {
    let text = "frontend plain\n bind :80\n http-request redirect scheme https\n\
                frontend tls\n bind :443\n default_backend a\n\
                frontend more\n bind :444\n default_backend a\n\
                backend a\n server a 10.0.0.1:80\n";
    let expected = [
        "[routes.a]\nlisten = [\"tls\", \"more\"]\npool = \"a\"",
        "[routes.redirect]\nlisten = [\"plain\"]\nredirect = { status = 302, location = \"https://{host}{path}{query}\" }",
    ];
    writes(text, &expected);
    assert_eq!(left_out(text), Vec::<String>::new());
}

#[test]
fn listeners_with_and_without_tls_know_which_they_are() {
    let text = "frontend web\n bind :80\n bind :443 ssl crt /c.pem\n\
                http-request redirect scheme https if !{ ssl_fc } { hdr_end(host) .a.test }\n\
                http-request set-header X-Forwarded-Proto https if { ssl_fc }\n\
                default_backend a\n\
                backend a\n server a 10.0.0.1:80\n";
    let expected = [
        "[listen.web]\naddress = \"0.0.0.0:80\"",
        "[listen.web-2]\naddress = \"0.0.0.0:443\"",
        "[routes.redirect]\nlisten = [\"web\"]\nhost = \"*.a.test\"\n",
        "[routes.a]\nlisten = [\"web\"]\npool = \"a\"",
        "[routes.a-2]\nlisten = [\"web-2\"]\npool = \"a\"",
    ];
    writes(text, &expected);
    assert_eq!(left_out(text), Vec::<String>::new());
    // What the line says is told once, though it is read for either kind of listener.
    assert_eq!(import(&format!("{DEFAULTS}{text}")).findings.len(), 1);
}

#[test]
fn headers_are_rules_of_the_routes_they_hold_for() {
    let text = "frontend web\n bind :80\n option forwardfor\n\
                http-request set-header X-Forwarded-Proto http\n\
                http-request del-header X-Debug\n\
                http-request add-header X-Via edge if { path_beg /api/ }\n\
                http-request set-header X-Client %[src]:%[dst_port]\n\
                http-response set-header X-Frame-Options DENY\n\
                http-response add-header X-Side front\n\
                http-after-response set-header X-Any 100%%\n\
                http-request return status 200 string ok if { path /alive }\n\
                default_backend a\n\
                backend a\n http-request set-header Host in.test\n\
                http-response del-header Server\n http-response add-header X-Side back\n server a 10.0.0.1:80\n";
    let expected = [
        "request_headers = { remove = [\"x-debug\"], set = { host = \"in.test\", x-client = \"{client_address}:80\" } }",
        "request_headers = { remove = [\"x-debug\"], set = { host = \"in.test\", x-client = \"{client_address}:80\" }, add = { x-via = \"edge\" } }",
        "response_headers = { remove = [\"server\"], set = { x-any = \"100%\", x-frame-options = \"DENY\" }",
        "path = { exact = \"/alive\" }\nrespond = { status = 200, body = \"ok\" }\nresponse_headers = { set = { x-any = \"100%\" } }",
    ];
    let told =
        "14:1 http-response add-header: refused: the door adds one field `x-side` to a message";
    writes(text, &expected);
    assert_eq!(left_out(text), [told]);
    for (line, reason) in [
        ("http-request replace-header X-A (.*) b", "it rewrites no part of a value"),
        ("http-response set-status 418", "with the status they have"),
        ("http-request set-header Connection close", "from what it understood"),
        ("http-request set-header X-A %[rand]", "no variable like `%[rand]`"),
        ("http-request set-header X-A 1 if { src 10.0.0.1 }", "cannot ask for `src`"),
        ("http-response set-header X-A 1 if { path /a }", "does not know the request any more"),
        (
            "http-request set-header X-T 1\n use_backend a if { hdr(X-T) 1 }",
            "a later rule asks for this header",
        ),
        (
            "http-request del-header X-A\n http-request set-header X-B %[req.fhdr(x-a)]",
            "a rule before it changes the header",
        ),
    ] {
        let text =
            format!("{FRONT} {line}\n default_backend a\nbackend a\n server a 10.0.0.1:80\n");
        let told = left_out(&text);
        assert_eq!(told.len(), 1, "{line}: {told:?}");
        assert!(told[0].contains("refused: ") && told[0].contains(reason), "{line}: {told:?}");
    }
}

#[test]
fn compression_is_that_of_the_back_end_or_else_of_the_front_end() {
    let text = format!(
        "{FRONT} compression algo gzip\n compression type text/css\n compression offload\n\
         use_backend b if {{ path_beg /b/ }}\n default_backend a\n\
         backend a\n server a 10.0.0.1:80\n\
         backend b\n compression algo gzip\n server a 10.0.0.2:80\n"
    );
    let expected = [
        "pool = \"a\"\nrequest_headers = { remove = [\"accept-encoding\"] }\ncompress = { codings = [\"gzip\"], level = 1, min = 0, types = [\"text/css\"] }",
        "types = [\"application/*\", \"audio/*\", \"font/*\", \"image/*\", \"text/*\", \"video/*\"]",
    ];
    writes(&text, &expected);
    assert_eq!(left_out(&text), Vec::<String>::new());
    let deflate = format!(
        "{FRONT} compression algo deflate\n default_backend a\nbackend a\n server a 10.0.0.1:80\n"
    );
    assert!(left_out(&deflate)[0].contains("gzip, br or zstd"));
}

#[test]
fn users_are_asked_for_their_passwords_or_nobody_enters() {
    let hash = "$2y$04$abcdefghijklmnopqrstuuJ7UHVCGUq1bGDmwVDMHQKP1VwJxFDa6";
    let site = |line: &str, user: &str| {
        format!(
            "userlist staff\n group g users ann\n user ann {user}\n user bob insecure-password x\n\
             {FRONT} acl is_staff http_auth(staff)\n {line}\n default_backend a\n\
             backend a\n server a 10.0.0.1:80\n"
        )
    };
    let known = format!("password {hash}");
    let asked = format!("basic_auth = {{ users = {{ ann = \"{hash}\" }}, realm = \"In here\" }}");
    let line = "http-request auth realm In\\ here if { path_beg /in/ } !is_staff";
    let text = site(line, &known);
    writes(&text, &["path = \"/in\"", &asked]);
    let told = left_out(&text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("not groups") && told[1].contains("in clear"), "{told:?}");
    // The door asks, or answers 403: it never lets in who was not asked.
    let closed = "respond = { status = 403 }";
    for (line, user, expected) in [
        ("http-request auth unless { http_auth(staff) }", known.as_str(), "basic_auth"),
        ("http-request auth unless { src 10.0.0.1 } || is_staff", &known, "basic_auth"),
        ("http-request auth unless is_staff", "password $6$a$b", closed),
        ("http-request auth unless { http_auth(other) }", &known, closed),
        ("http-request auth", &known, closed),
    ] {
        let text = site(line, user);
        writes(&text, &[expected]);
        let imported = import(&format!("{DEFAULTS}{text}")).text;
        let open = imported
            .split("\n\n")
            .any(|table| table.contains("pool = ") && !table.contains("basic_auth"));
        assert!(!open, "{line}\n{imported}");
    }
}

#[test]
fn certificates_of_both_sides_are_asked_for_and_shown() {
    let site = |bind: &str, server: &str| {
        format!(
            "frontend web\n bind :443 ssl crt /c.pem {bind}\n default_backend a\nbackend a\n server a 10.0.0.1:443 ssl verify none {server}\n"
        )
    };
    for (bind, server, expected) in [
        (
            "verify required ca-file /ca.pem crl-file /list.pem",
            "",
            "clients = { roots = \"/ca.pem\", revocation = [\"/list.pem\"] }",
        ),
        (
            "verify optional ca-file /ca.pem",
            "",
            "clients = { roots = \"/ca.pem\", required = false }",
        ),
        ("", "crt /d.pem", "certificate = { certificate = \"/d.pem\", key = \"/d.pem\" }"),
    ] {
        let text = site(bind, server);
        writes(&text, &[expected]);
        assert_eq!(left_out(&text), Vec::<String>::new());
    }
    let unknown = site("verify required ca-file @system-ca", "");
    writes(&unknown, &["clients = { roots = \"authorities-of-clients.pem\" }"]);
    assert_eq!(left_out(&unknown).len(), 2);
}

#[test]
fn defaults_are_inherited_by_name_or_by_place() {
    let text = "defaults base\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
                defaults slow from base\n timeout server 90s\n\
                frontend f from base\n bind :80\n default_backend b\n\
                backend b from slow\n server a 10.0.0.1:80\n";
    let imported = import(text);
    assert!(imported.text.contains("connect = \"9s\", first_byte = \"90s\""), "{}", imported.text);
    assert_eq!(broken(text), Vec::<&str>::new());
}

#[test]
fn rules_that_only_the_original_can_break() {
    let back = |lines: &str| {
        format!("{DEFAULTS}{FRONT} default_backend b\nbackend b\n {lines}\n server a 10.0.0.1:80\n")
    };
    let front = |lines: &str| {
        format!("{DEFAULTS}{FRONT} {lines}\n default_backend b\nbackend b\n server a 10.0.0.1:80\n")
    };
    for (text, rule) in [
        (back("balance roundrobin"), "state-losing-reload"),
        (back("balance uri"), "inconsistent-hash"),
        (back("option httpchk GET /"), "unused-check"),
        (back("server n app.internal:80"), "name-resolved-once"),
        (back("retry-on all-retryable-errors"), "unsafe-retry"),
        (back("server q 10.0.0.2:80 maxconn 9\n default-server maxconn 9"), "unbounded-queue"),
        (
            back("balance source\n hash-type consistent\n server x 10.0.0.2:80 backup"),
            "backup-with-hash",
        ),
        (front("use_backend %[req.hdr(host)]"), "client-chosen-upstream"),
        (front("http-request allow if { path /x }"), "allow-without-deny"),
        (front("use_backend b if { path_reg ^/([a-z]+)+$ }"), "catastrophic-regex"),
        (front("http-request deny\n http-request deny if { path /x }"), "unreachable-route"),
        (format!("{DEFAULTS}listen s\n bind :1\n stats uri /\n"), "admin-exposed"),
        ("global\n stats socket ipv4@0.0.0.0:9\n".to_owned(), "admin-exposed"),
        ("listen t\n mode tcp\n balance hdr(X)\n".to_owned(), "http-hash-on-tcp"),
        ("backend b\n mode http\n timeout server 1\n".to_owned(), "missing-timeout"),
        (back("nonsense 1"), "unknown-directive"),
        (front("use_backend b if { hdr_end(host) .a.test }"), "inexact-import"),
    ] {
        let found = broken(&text);
        let expected = if rule == "unreachable-route" { found.last() } else { found.first() };
        assert_eq!(expected, Some(&rule), "{text}: {found:?}");
    }
}

#[test]
fn the_examples_of_rules_break_them_and_no_other() {
    let mut seen = 0;
    for rule in settings::rules::rules() {
        for (example, expected) in [(rule.bad, vec![rule.name]), (rule.good, vec![])] {
            if example.dialect == Dialect::Haproxy {
                seen += 1;
                let text =
                    format!("{DEFAULTS}{}backend rest\n server r 10.0.0.9:80\n", example.text);
                assert_eq!(broken(&text), expected, "{text}");
            }
        }
    }
    assert!(seen >= 8, "{seen} examples");
}

#[test]
fn the_preprocessor_is_refused_as_a_whole() {
    let told = left_out(&format!(
        "{FRONT} default_backend b\n.if defined(X)\n bind :81\n.else\n bind :82\n.endif\nbackend b\n server a 10.0.0.1:80\n"
    ));
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told.iter().all(|line| line.contains("refused")), "{told:?}");
}

#[test]
fn folders_are_read_in_the_order_of_names() {
    let files = Memory::new([
        ("/c/10.cfg", DEFAULTS),
        ("/c/20.cfg", "backend b\n server a 10.0.0.1:80\n"),
        ("/c/15.cfg", "frontend f\n bind :80\n default_backend b\n"),
        ("/c/notes.txt", "nonsense\n"),
    ]);
    let imported = settings::import::import(Dialect::Haproxy, Path::new("/c"), &files);
    is_covered(&imported);
    let names: Vec<&str> = imported.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["/c/10.cfg", "/c/15.cfg", "/c/20.cfg"]);
    assert!(imported.text.contains("[routes.b]"), "{}", imported.text);
}

#[test]
fn hostile_files_end_soon() {
    let repeated = |head: &str, line: &str| format!("{DEFAULTS}{head}{}", line.repeat(10_000));
    for text in [
        repeated("frontend f\n bind :80\n", " acl x path /a /b /c\n use_backend b if x !x\n"),
        repeated("", "backend b\n"),
        repeated("", "defaults d\n"),
        repeated("backend b\n", " default-server check inter 1s\n server a 10.0.0.1:80 check\n"),
        repeated(
            "listen l\n bind :80\n",
            " http-request allow if { path /a }\n redirect prefix / if { path /b }\n",
        ),
        repeated("frontend f\n bind :80\n", " bind :1-60\n"),
        format!("{DEFAULTS}frontend f\n bind :80\n use_backend b if {}\n", "!".repeat(100_000)),
        format!(
            "{DEFAULTS}frontend f\n bind :80\n{}",
            (0..9_000)
                .map(|n| format!(" use_backend b{n} if {{ hdr(host) h{n} }} {{ path /p{n} }}\n"))
                .collect::<String>()
        ),
    ] {
        let imported = import(&text);
        assert!(imported.text.len() < 8 << 20, "{} bytes", imported.text.len());
    }
}

/// Pieces from which texts come out that are almost configurations.
/// Parts of configurations, and what may be in their way.
const PIECES: &[&str] = &[
    "global\n",
    "defaults\n",
    "defaults d\n",
    "frontend f\n",
    "frontend g from d\n",
    "backend b\n",
    "listen l\n",
    "peers p\n",
    " mode http\n",
    " mode tcp\n",
    " bind :80\n",
    " bind :80-90 ssl crt x\n",
    " bind :81 accept-proxy alpn h2\n",
    " server e 10.0.0.2:80 send-proxy-v2 proto h2 no-check-send-proxy\n",
    " use_backend b if { req.ssl_sni -i a.b } or x\n",
    " acl x req_ssl_sni c.d\n",
    " tcp-request inspect-delay 5s\n",
    " tcp-request content accept if { req_ssl_hello_type 1 }\n",
    " tcp-request connection reject if !{ src 10.0.0.0/8 }\n",
    " server a 10.0.0.1:80 check weight 3 inter 1s\n",
    " server b c.d:80 backup ssl verify none\n",
    " default-server maxconn 3 check\n",
    " balance uri\n",
    " balance roundrobin\n",
    " timeout client 1s\n",
    " acl x path_beg /a\n",
    " acl x hdr(host) -i a.b\n",
    " use_backend b if x !{ path /c } or !x\n",
    " default_backend b\n",
    " http-request deny unless x\n",
    " http-request deny if { src 10.0.0.1 } x\n",
    " tcp-request content reject if { src_conn_rate gt 3 }\n",
    " acl y path_end -i .php\n",
    " acl y path_reg ^/a/[0-9]+\n",
    " acl y path_sub b\n",
    " acl y hdr_beg(host) -i img\n",
    " use_backend b if y !x\n",
    " http-request replace-path /a(/)?(.*) /\\2\n",
    " http-request set-path /v2%[path] if y\n",
    " stats uri /stats\n",
    " http-request redirect scheme https if x\n",
    " option httpchk GET /\n",
    " http-check expect status 200\n",
    " no option httplog\n",
    ".if 1\n",
    ".endif\n",
    "\"",
    "'",
    "\\",
    "#",
    " ",
    "\n",
    "\r",
    "\t",
    "${X}",
    "\"${X}\"",
    "if",
    "{",
    "}",
    "!",
    "(",
    "hdr(",
    "-f",
    "x",
    "\0",
    "\u{b}",
    "ä",
    "\\x41",
    "\\ ",
    "[",
    "*",
    "10s",
    "%[path]",
    "stick-table type ip size 1m store http_req_rate(10s)\n",
    "http-request track-sc0 src\n",
    "http-request deny if { sc_http_req_rate(0) gt 20 }\n",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_covered_word_by_word(pieces in prop::collection::vec(piece(), 0..60)) {
        let imported = import(&pieces.concat());
        drop(check_imported(&imported, &crate::environment()));
    }
}
