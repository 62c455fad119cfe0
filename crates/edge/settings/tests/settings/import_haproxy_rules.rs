//! HAProxy's rules as routes: which conditions are asked, in which order, and what is closed where
//! they cannot be.

use settings::Severity;
use settings::import::{Imported, check_imported};

use crate::import_haproxy::{DEFAULTS, FRONT, import, left_out, writes};

/// Two back ends.
const BACKS: &str = "backend b\n server a 10.0.0.1:80\nbackend c\n server a 10.0.0.2:80\n";

/// Asserts that the door takes what is written; what its rules say of it is told elsewhere.
fn is_taken(imported: &Imported) {
    let is_rule = |name: &str| settings::rules::rules().iter().any(|rule| rule.name == name);
    let errors: Vec<String> = check_imported(imported, &crate::environment())
        .iter()
        .filter(|finding| finding.severity == Severity::Error && !is_rule(finding.rule))
        .map(crate::line)
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{}", imported.text);
}

/// The routes that are written for the lines of a front end, one table in a line each.
fn routes(lines: &str) -> Vec<String> {
    let imported = import(&format!("{DEFAULTS}{FRONT}{lines}{BACKS}"));
    is_taken(&imported);
    let tables = imported.text.split("\n\n").filter(|table| table.starts_with("[routes."));
    tables.map(|table| table.lines().skip(1).collect::<Vec<_>>().join("; ")).collect()
}

#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    assert_eq!(routes(lines), expected, "{lines}");
}

/// Checks what a condition alone becomes in front of the back end `c`.
#[track_caller]
fn asks(condition: &str, expected: &[&str]) {
    check(&format!(" use_backend b if {condition}\n default_backend c\n"), expected);
}

#[test]
fn paths_are_asked_by_their_letters() {
    asks("{ path_beg /img }", &["path = \"/img*\"; pool = \"b\"", "pool = \"c\""]);
    asks(
        "{ path_beg /img/ }",
        &[
            "path = { exact = \"/img\" }; pool = \"c\"",
            "path = \"/img\"; pool = \"b\"",
            "pool = \"c\"",
        ],
    );
    asks("{ path_beg /user- }", &["path = \"/user-*\"; pool = \"b\"", "pool = \"c\""]);
    asks("{ path_beg /a /ab }", &["path = \"/a*\"; pool = \"b\"", "pool = \"c\""]);
    for (condition, expression) in [
        ("{ path_beg -i /Img }", "(?i)^/img"),
        ("{ path_beg /. }", "^/\\\\."),
        ("{ path_end .php .js }", "\\\\.js$|\\\\.php$"),
        ("{ path_end -i .jpg }", "(?i)\\\\.jpg$"),
        ("{ path -m end .jpg }", "\\\\.jpg$"),
        ("{ path_sub admin }", "admin"),
        ("{ path_dir static }", "(?:^|/)static(?:/|$)"),
        ("{ path_reg ^/v[0-9]+/ }", "^/v[0-9]+/"),
        ("{ path_reg -i ^/v[0-9]+/ }", "(?i)^/v[0-9]+/"),
        ("{ path -i /Up }", "(?i)^/up$"),
        ("{ path_beg /a } { path_end .js }", "^/a.*\\\\.js$"),
        ("{ path_beg /a } { path_reg ^/ab[0-9] }", "^/ab[0-9]"),
    ] {
        let route = format!("path_regex = \"{expression}\"; pool = \"b\"");
        asks(condition, &[&route, "pool = \"c\""]);
    }
    // Every path begins so.
    asks("{ path_beg -i / }", &["pool = \"b\""]);
    // What is written as an expression and is none stays a path.
    asks("{ path_reg ^/api }", &["path = \"/api*\"; pool = \"b\"", "pool = \"c\""]);
    asks("{ url_beg /api }", &["path = \"/api*\"; pool = \"b\"", "pool = \"c\""]);
}

#[test]
fn the_order_is_that_of_the_rules() {
    // A negation, and rules of which the wider comes first.
    check(
        " use_backend b if { path_end .js } !{ path_beg /app }\n default_backend c\n",
        &[
            "path = \"/app*\"; pool = \"c\"; priority = 2",
            "path_regex = \"\\\\.js$\"; pool = \"b\"; priority = 1",
            "pool = \"c\"",
        ],
    );
    check(
        " use_backend b if { path_beg -i /a }\n use_backend c if { path_beg /a/b }\n default_backend c\n",
        &["path_regex = \"(?i)^/a\"; pool = \"b\"", "pool = \"c\""],
    );
    // No route asks for two expressions, but the first rule decides wherever both match.
    check(
        " use_backend b if { path_sub one }\n use_backend c if { path_sub two }\n http-request deny if { path_sub two } !{ method GET }\n",
        &[
            "path_regex = \"two\"; methods = [\"HEAD\"]; respond = { status = 403 }; priority = 5",
            "path_regex = \"one\"; methods = [\"GET\"]; pool = \"b\"; priority = 4",
            "path_regex = \"two\"; methods = [\"GET\"]; pool = \"c\"; priority = 3",
            "path_regex = \"two\"; respond = { status = 403 }; priority = 2",
            "path_regex = \"one\"; pool = \"b\"; priority = 1",
            "respond = { status = 503 }",
        ],
    );
}

#[test]
fn many_paths_beside_many_hosts_are_asked_together() {
    let list = |text: &str, count: usize| -> String {
        (0..count).map(|number| format!(" {text}{number}")).collect()
    };
    let hosts: String = (0..12)
        .map(|number| format!(" use_backend c if {{ hdr(host) h{number}.test }}\n"))
        .collect();
    let found = routes(&format!(
        " acl static path_end -i{}\n acl static path_beg -i{}\n use_backend b if static\n{hosts}",
        list(".e", 20),
        list("/d", 10),
    ));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("path_regex") && found[0].contains("pool = \"b\""), "{found:?}");
    assert!(found[1].contains("h11.test") && found[1].contains("pool = \"c\""), "{found:?}");
}

#[test]
fn many_expressions_are_asked_in_the_order_of_the_rules() {
    let lines: String = (0..20)
        .map(|n| format!(" use_backend {} if {{ path_sub q{n}q }}\n", ["b", "c"][n % 2]))
        .collect();
    let found = routes(&format!("{lines} default_backend c\n"));
    assert_eq!(found.len(), 21, "{found:?}");
    assert_eq!(found[0], "path_regex = \"q0q\"; pool = \"b\"; priority = 20");
    assert_eq!(found[20], "pool = \"c\"");
}

#[test]
fn what_no_route_can_ask_leads_nobody_elsewhere() {
    for (condition, reason) in [
        ("{ hdr_beg(host) -i www. }", "not how a host begins"),
        ("{ hdr_sub(host) shop }", "list the hosts with `hdr(host)`"),
        ("{ hdr_reg(host) -i ^shop[0-9]+ }", "list the hosts with `hdr(host)`"),
        ("{ src 10.0.0.0/8 }", "cannot ask for `src`"),
        (r"{ path_reg ^/(a)\1 }", "does not know such an expression"),
        ("{ path_reg ^/a++b }", "reads this expression in another way"),
        ("{ path_beg /a%20b }", "no path that a request has here"),
        ("{ url_end .php }", "do not ask for the query"),
        ("{ path,url_dec /x }", "what `url_dec` makes of it"),
        ("unknown-acl", "there is no ACL"),
    ] {
        let lines = format!(" use_backend b if {condition}\n default_backend c\n");
        let told = left_out(&format!("{FRONT}{lines}{BACKS}"));
        let is_told =
            |line: &String| line.contains("use_backend: refused: ") && line.contains(reason);
        assert!(told.iter().any(is_told), "{condition}: {told:?}");
        check(&lines, &["respond = { status = 501 }"]);
    }
    // As far as a part can be asked, the rest is served.
    for (condition, part) in [
        ("{ hdr_beg(user-agent) Mozilla }", "headers = { user-agent = true }"),
        ("{ req.cook(beta) -m found }", "headers = { cookie = true }"),
        ("{ path_beg /x } { src 10.0.0.1 }", "path = \"/x*\""),
        ("{ url_beg /x?y }", "path = { exact = \"/x\" }"),
    ] {
        asks(condition, &[&format!("{part}; respond = {{ status = 501 }}"), "pool = \"c\""]);
    }
    asks(
        "{ req.hdr(upgrade) -i websocket }",
        &[
            "headers = { upgrade = \"websocket\" }; pool = \"b\"",
            "headers = { upgrade = true }; respond = { status = 501 }",
            "pool = \"c\"",
        ],
    );
    // It makes no difference whether it holds.
    check(" use_backend c if { src 10.0.0.1 }\n default_backend c\n", &["pool = \"c\""]);
    // Of the hosts that are named it is known.
    check(
        " use_backend b if { hdr(host) img.test www.test } { hdr_beg(host) img }\n default_backend c\n",
        &["host = \"img.test\"; pool = \"b\"", "pool = \"c\""],
    );
    asks(
        r"{ hdr_reg(host) -i ^(www\.)?a\.test(:[0-9]+)?$ }",
        &["host = [\"www.a.test\", \"a.test\"]; pool = \"b\"", "pool = \"c\""],
    );
    // Nothing but a port follows a colon.
    for condition in [
        "{ hdr_beg(host) -i a.test: }",
        "{ hdr_beg(host) a.test:8080 }",
        "{ req.hdr(host),field(1,:),lower a.test }",
    ] {
        asks(condition, &["host = \"a.test\"; pool = \"b\"", "pool = \"c\""]);
    }
    asks("{ hdr_end(host) -i .a.test }", &["host = \"*.a.test\"; pool = \"b\"", "pool = \"c\""]);
}

#[test]
fn nothing_is_open_that_a_rule_may_close() {
    let closed = "respond = { status = 403 }";
    let wholly = |line: &str| check(&format!(" {line}\n default_backend c\n"), &[closed]);
    for line in [
        "http-request deny if { src 10.0.0.0/8 }",
        "http-request deny unless { src 10.0.0.0/8 }",
        "http-request deny if !{ src 10.0.0.0/8 } !{ hdr_sub(host) open }",
        "http-request deny if { hdr_end(host) .inner.test }",
        "http-request deny deny_status \"${X}\" if { path /x }",
        "http-request deny if \"${X}\"",
        "http-request deny if { path -f /etc/denied }",
        "http-request reject if { src 10.0.0.0/8 }",
        "http-request silent-drop if { sc_conn_rate(0) gt 9 }",
        "http-request auth unless { src 10.0.0.0/8 }",
        "tcp-request connection reject if !{ src 10.0.0.0/8 }",
        "tcp-request content reject if { src_get_gpc0 gt 0 }",
        "http-request allow if { src 10.0.0.0/8 }\n http-request deny",
        "block if { src 10.0.0.0/8 }",
        "reqdeny ^X-Bad:",
    ] {
        wholly(line);
        assert!(!left_out(&format!("{FRONT} {line}\n default_backend c\n{BACKS}")).is_empty());
    }
    check(
        " http-request tarpit if { src 10.0.0.0/8 }\n default_backend c\n",
        &["respond = { status = 500 }"],
    );
    // Of a conjunction that part which can be asked.
    for (condition, part) in [
        ("if { path_beg /in } !{ src 10.0.0.0/8 }", "path = \"/in*\""),
        ("if { hdr(host) in.test } { src 10.0.0.0/8 }", "host = \"in.test\""),
        ("if METH_POST { src 10.0.0.0/8 }", "methods = [\"POST\"]"),
        ("if { hdr_sub(user-agent) bot }", "headers = { user-agent = true }"),
        ("unless { src 10.0.0.0/8 } or !{ path_beg /in }", "path = \"/in*\""),
    ] {
        let lines = format!(" http-request deny {condition}\n default_backend c\n");
        check(&lines, &[&format!("{part}; {closed}"), "pool = \"c\""]);
        let told = left_out(&format!("{FRONT}{lines}{BACKS}"));
        assert!(told[0].contains("; the door refuses all that it may be for"), "{told:?}");
    }
    // What is closed in a back end is closed for those that are led there.
    let text = format!(
        "{FRONT} use_backend b if {{ path_beg /b/ }}\n default_backend c\nbackend b\n \
         http-request deny unless {{ src 10.0.0.1 }}\n server a 10.0.0.1:80\n\
         backend c\n server a 10.0.0.2:80\n"
    );
    writes(&text, &["path = \"/b\"\nrespond = { status = 403 }", "\npool = \"c\""]);
    assert!(!import(&format!("{DEFAULTS}{text}")).text.contains("\npool = \"b\""));
}

#[test]
fn pages_of_haproxy_s_own_are_no_server_s() {
    let closed = "respond = { status = 403 }";
    for (lines, path) in [
        ("stats uri /admin/stats", "path = \"/admin/stats*\""),
        ("stats uri /ha?stats\n stats auth a:b", "path = { exact = \"/ha\" }"),
        ("stats enable", "path = { exact = \"/haproxy\" }"),
        (
            "http-request use-service prometheus-exporter if { path /metrics }",
            "path = { exact = \"/metrics\" }",
        ),
    ] {
        let lines = format!(" {lines}\n default_backend c\n");
        check(&lines, &[&format!("{path}; {closed}"), "pool = \"c\""]);
        let told = left_out(&format!("{FRONT}{lines}{BACKS}"));
        assert!(told.iter().any(|line| line.contains("it answers 403 here")), "{told:?}");
    }
}

#[test]
fn connections_that_may_be_closed_are_not_passed_on() {
    for line in [
        "tcp-request connection reject if { src 10.0.0.0/8 }",
        "tcp-request content reject if !{ req.ssl_sni -m found }",
    ] {
        let text = format!("listen t\n mode tcp\n bind :81\n {line}\n server a 10.0.0.1:80\n");
        let imported = import(&format!("{DEFAULTS}{text}"));
        assert!(!imported.text.contains("[listen"), "{}", imported.text);
        assert!(left_out(&text).iter().any(|line| line.contains("so it stays closed")));
    }
}

#[test]
fn paths_are_replaced() {
    let back = |when: &str, replace: &str| {
        format!(
            "{FRONT} use_backend b if {when}\n default_backend c\nbackend b\n \
             http-request {replace}\n server a 10.0.0.1:80\nbackend c\n server a 10.0.0.2:80\n"
        )
    };
    let below = "{ path_beg /api/ }";
    let prefix = |path: &str, to: &str| {
        format!("path = \"{path}\"\npool = \"b\"\nreplace_prefix = \"{to}\"\n")
    };
    let whole = |path: &str, to: &str| {
        format!("path_regex = \"{path}\"\npool = \"b\"\nreplace_path = \"{to}\"\n")
    };
    for (when, replace, expected) in [
        (below, r"replace-path ^/api/(.*) /\1", prefix("/api", "/")),
        (below, r"replace-path ^/api(/.*)$ /v2\1", prefix("/api", "/v2")),
        (below, r"replace-path ^/api/v1/(.*) /x/\1", prefix("/api/v1", "/x")),
        (below, r"replace-path ^/api/?(.*) /\1", prefix("/api", "/")),
        (below, r"set-path %[path,regsub(^/api/,/)]", prefix("/api", "/")),
        (below, r"set-path /v2%[path]", prefix("/api", "/v2/api")),
        (below, r"replace-path ^/api/([0-9]+)$ /n/\1", whole("^/api/([0-9]+)$", "/n/$1")),
        ("{ path_beg /ci }", r"replace-path /ci(/)?(.*) /\2", prefix("/ci*", "/")),
        ("{ path_beg /ci }", r"replace-path /ci\/?(.*) \/\1", prefix("/ci*", "/")),
        ("{ path /api/x }", r"replace-path ^/api/(.*) /\1", whole("^/api/x$", "/x")),
        ("{ path_end .php }", "set-path /index.php", whole("\\\\.php$", "/index.php")),
    ] {
        let text = back(when, replace);
        writes(&text, &[&expected]);
        assert_eq!(left_out(&text), [""; 0], "{replace}");
        is_taken(&import(&format!("{DEFAULTS}{text}")));
    }
    // What the rule does not match goes on as it came.
    let text = back(below, r"replace-path ^/api/v1/(.*) /x/\1");
    writes(&text, &["path = \"/api\"\npool = \"b\"\n\n"]);
    // What the door cannot do is never passed on as it came.
    for (replace, reason) in [
        (r"replace-path ^/api/(.*) /\1 if { src 10.0.0.1 }", "cannot ask for `src`"),
        (r"replace-path ^/api/(.*) /x?y=\1", "leaves the query"),
        ("set-query a=b", "replaces paths alone"),
        ("set-path /%[req.hdr(x)]", "with `%[path]` behind it"),
        (
            r"replace-path ^/api/(.*) /\1\n http-request deny if { path /x }",
            "asks for the path as it is",
        ),
        (r"replace-path ^/api/(.*) /\1\n http-request set-header X-P %[path]", "reads the path"),
        (r"replace-path ^/api/(.*) /\1\n http-request set-path /x", "replaces a path once"),
    ] {
        let text = back(below, &replace.replace(r"\n", "\n"));
        assert!(left_out(&text).iter().any(|line| line.contains(reason)), "{:?}", left_out(&text));
        let imported = import(&format!("{DEFAULTS}{text}"));
        assert!(
            imported.text.contains("path = \"/api\"\nrespond = { status = 501 }"),
            "{}",
            imported.text
        );
    }
}

#[test]
fn what_the_door_tells_servers_besides_is_said_once() {
    let text = format!("{FRONT} option forwardfor\n default_backend c\n{BACKS}");
    assert_eq!(import(&format!("{DEFAULTS}{text}")).notes.len(), 1);
    let silent = text.replace(" option forwardfor\n", "");
    assert_eq!(import(&format!("{DEFAULTS}{silent}")).notes.len(), 0);
}
