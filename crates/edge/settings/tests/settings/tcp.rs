//! Listeners that pass bytes on, and the PROXY protocol on both sides.

use model::configuration::{
    Configuration, HostPattern, ListenerProtocol, ProxyVersion, ServerProtocol, SniRoute,
    TcpForward,
};

use crate::{check, lines};

/// Pools to lead to; `web` is for requests.
const POOLS: &str = "
[pools.a]
servers = [\"10.0.0.1:1\", \"10.0.0.2:1\"]
check = \"tcp\"
[pools.b]
servers = [\"10.0.0.3:1\", \"10.0.0.4:1\"]
check = \"tcp\"
";

fn read(listen: &str, rest: &str) -> Configuration {
    let text = format!("[listen.tcp]\naddress = \"127.0.0.1:1\"\n{listen}\n{POOLS}\n{rest}");
    let checked = check(&text);
    let errors: Vec<String> =
        lines(&checked).into_iter().filter(|line| line.starts_with("error")).collect();
    checked.overridable.or(checked.configuration).unwrap_or_else(|| panic!("{errors:#?}\n{text}"))
}

fn forward(listen: &str) -> TcpForward {
    match read(listen, "").listeners.remove(0).protocol {
        ListenerProtocol::Tcp(forward) => forward,
        ListenerProtocol::Http { .. } => panic!("it speaks HTTP: {listen}"),
    }
}

#[test]
fn connections_lead_to_pools() {
    assert_eq!(
        forward("mode = \"tcp\"\npool = \"b\""),
        TcpForward { pool: Some(1), sni: Vec::new() }
    );
    let wildcard = SniRoute { host: HostPattern::Wildcard(".example.com".into()), pool: 1 };
    let exact = SniRoute { host: HostPattern::Exact("a.example.com".into()), pool: 0 };
    assert_eq!(
        forward("mode = \"tcp\"\nsni = { \"*.example.com\" = \"b\", \"A.Example.com\" = \"a\" }"),
        TcpForward { pool: None, sni: vec![exact, wildcard] }
    );
    // No route is needed where no HTTP is spoken, and nothing is measured of connections.
    let configuration = read("mode = \"tcp\"\npool = \"a\"", "");
    assert!(configuration.routes.is_empty());
    let adaptive: Vec<bool> =
        configuration.pools.iter().map(|pool| pool.admission.adaptive).collect();
    assert_eq!(adaptive, [false, true]);
    let protocols: Vec<_> = configuration.pools.iter().map(|pool| pool.protocol).collect();
    assert_eq!(protocols, [ServerProtocol::Tcp, ServerProtocol::Http1]);
    let findings = lines(&check(&format!(
        "[listen.tcp]\naddress = \"127.0.0.1:1\"\nmode = \"tcp\"\npool = \"a\"\n{POOLS}"
    )));
    let rules = |rule: &str| findings.iter().filter(|line| line.contains(rule)).count();
    assert_eq!((rules("[shallow-check]"), rules("[unused-pool]")), (1, 1), "{findings:#?}");
}

#[test]
fn the_proxy_protocol_is_read_on_both_sides() {
    let configuration = read(
        "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]",
        "[pools.web]\nservers = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\nproxy_protocol = \"v2\"\n\
         check = { path = \"/\" }\n[routes.all]\npool = \"web\"",
    );
    assert!(configuration.listeners[0].proxy_protocol);
    let versions: Vec<_> = configuration.pools.iter().map(|pool| pool.proxy_protocol).collect();
    assert_eq!(versions, [None, None, Some(ProxyVersion::V2)]);
}

/// The mistakes in a listener and what stands beside it, in order.
#[track_caller]
fn finds(listen: &str, rest: &str, expected: &[&str]) {
    let text = format!("[listen.tcp]\naddress = \"127.0.0.1:1\"\n{listen}\n{POOLS}\n{rest}");
    let checked = check(&text);
    assert!(checked.configuration.is_none() && checked.overridable.is_none(), "{text}");
    let found = checked.findings.iter();
    let found: Vec<String> =
        found.map(|finding| format!("{} {}", finding.rule, finding.message)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let tcp = "mode = \"tcp\"\npool = \"a\"\n";
    finds("mode = \"tcp\"", "", &["missing-key `tcp` needs `pool`"]);
    finds("mode = \"tcp\"\npool = \"c\"", "", &["unknown-pool there is no pool `c`"]);
    finds(
        "mode = \"tcp\"\nsni = { \"a.example.com\" = \"c\", \"192.0.2.1\" = \"a\", \"b*\" = \"a\" }",
        "",
        &[
            "unknown-pool there is no pool `c`",
            "invalid-host `192.0.2.1` is not a server name here",
            "invalid-host `b*` is not a server name here",
        ],
    );
    finds(
        "mode = \"tcp\"\nsni = { \"a.b\" = \"a\", \"A.B\" = \"b\" }",
        "",
        &["invalid-host `A.B` is not a server name here"],
    );
    finds("mode = \"tcp\"\nsni = {}", "", &["empty-list `sni` must not be empty"]);
    finds(
        "pool = \"a\"\n",
        "[routes.all]\npool = \"b\"",
        &["conflicting-keys `pool` has no meaning with `mode = \"http\"`"],
    );
    finds(
        &format!(
            "{tcp}http2 = true\nforwarded = \"off\"\nlimits = {{ head = \"2KiB\", connections = 1 }}\n\
             timeouts = {{ head = \"1s\", handshake = \"1s\" }}\ntrusted_proxies = [\"10.0.0.1\"]"
        ),
        "",
        &[
            "conflicting-keys `http2` has no meaning with `mode = \"tcp\"`",
            "conflicting-keys `forwarded` has no meaning with `mode = \"tcp\"`",
            "conflicting-keys `head` has no meaning with `mode = \"tcp\"`",
            "conflicting-keys `head` has no meaning with `mode = \"tcp\"`",
            "conflicting-keys `trusted_proxies` has no meaning with `mode = \"tcp\"` alone",
        ],
    );
    finds(
        "proxy_protocol = true",
        "[routes.all]\npool = \"a\"",
        &["conflicting-keys `proxy_protocol` needs `trusted_proxies`"],
    );
}

#[test]
fn requests_and_connections_are_kept_apart() {
    let tcp = "mode = \"tcp\"\npool = \"a\"\n";
    finds(
        tcp,
        "[listen.web]\naddress = \"127.0.0.1:2\"\n[routes.all]\npool = \"b\"\nlisten = [\"tcp\", \"web\"]",
        &["wrong-protocol listener `tcp` passes on connections, not requests"],
    );
    finds(
        tcp,
        "[listen.web]\naddress = \"127.0.0.1:2\"\n[routes.all]\npool = \"a\"",
        &["wrong-protocol pool `a` gets connections of listener `tcp` and requests of route `all`"],
    );
    let pool = |lines: &str| {
        format!("[pools.c]\nservers = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\ncheck = \"tcp\"\n{lines}")
    };
    finds(
        "mode = \"tcp\"\npool = \"c\"",
        &pool("balance = { maglev = \"path\" }"),
        &[
            "wrong-protocol pool `c` hashes a part of requests, and listener `tcp` passes on connections",
        ],
    );
    finds(
        "mode = \"tcp\"\npool = \"c\"",
        &pool(
            "adaptive = true\nretries = { on_status = true, attempts = 2 }\n\
             timeouts = { first_byte = \"1s\", connect = \"1s\" }",
        ),
        &[
            "conflicting-keys `adaptive` has no meaning for connections",
            "conflicting-keys `on_status` has no meaning for connections",
            "conflicting-keys `first_byte` has no meaning for connections",
        ],
    );
    finds(
        "",
        &format!(
            "{}\n[routes.all]\npool = \"c\"",
            pool("protocol = \"http2\"\nproxy_protocol = \"v2\"")
        ),
        &["conflicting-keys `proxy_protocol` has no meaning with `protocol = \"http2\"`"],
    );
}
