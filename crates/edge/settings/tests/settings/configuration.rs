//! What a text means: every field of the configuration, and every default once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::Name;
use model::configuration::{
    AccessLog, AccessLogFormat, AccessLogTarget, Acme, AcmeChallenge, Action, Admin, AdminTcp,
    Admission, Allowance, Balance, CertificateFiles, Changes, Check, CheckKind, Class,
    ClientCertificates, ClientLimits, ClientTimeouts, Configuration, Door, Ejection, ErrorFormat,
    ForwardedStyle, HashKey, HeaderMatch, HostPattern, Http2, Invariants, Listener,
    ListenerProtocol, ListenerTls, PathPattern, Pool, PoolAdmission, PoolTls, Retries, Rewrite,
    Rollback, Route, Server, ServerAddress, ServerProtocol, ServerTimeouts, State, Telemetry,
    TemplateSegment, TlsVersion, Treatment,
};
use settings::Environment;

use crate::{check, environment, folder_with_files, lines, source};

fn configuration(text: &str) -> Configuration {
    let checked = check(text);
    checked.configuration.clone().unwrap_or_else(|| panic!("{:#?}", lines(&checked)))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn default_listener() -> Listener {
    Listener {
        protocol: model::configuration::ListenerProtocol::default(),
        proxy_protocol: false,
        name: "web".into(),
        address: address("127.0.0.1:8080"),
        tls: None,
        trusted_proxies: vec![],
        forwarded: ForwardedStyle::XForwarded,
        limits: ClientLimits {
            head_bytes_max: 16_384,
            headers_max: 100,
            target_bytes_max: 8_192,
            body_bytes_max: 104_857_600,
            connections_max: 384,
            connections_per_address_max: 384,
        },
        timeouts: ClientTimeouts {
            handshake: seconds(10),
            head: seconds(10),
            body: seconds(30),
            keep_alive: seconds(60),
        },
        errors: ErrorFormat::ProblemJson,
    }
}

fn default_pool() -> Pool {
    let server = Server {
        address: ServerAddress::Name { host: "api.internal".into(), port: 3_001 },
        weight: 1,
        zone: None,
        drain: false,
    };
    Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "api".into(),
        servers: vec![server],
        balance: Balance::P2c,
        zone: None,
        check: Some(Check {
            kind: CheckKind::Http {
                path: "/health".into(),
                host: None,
                status: vec![(200, 399)],
                body: None,
            },
            interval: seconds(2),
            timeout: seconds(1),
            fall: 3,
            rise: 2,
        }),
        tls: None,
        timeouts: ServerTimeouts {
            connect: seconds(3),
            first_byte: seconds(30),
            progress: seconds(30),
            total: None,
            idle: seconds(30),
            tunnel_idle: seconds(300),
        },
        retries: Retries {
            attempts_max: 2,
            budget: 0.1,
            budget_min_per_second: 3,
            on_status: false,
        },
        ejection: Ejection {
            failures: 5,
            pause: seconds(1),
            pause_max: seconds(30),
            share_max: 0.5,
        },
        slow_start: seconds(30),
        in_flight_max: 0,
        admission: PoolAdmission::default(),
        idle_max: 64,
        resolve: seconds(30),
        capacity: None,
        peak_per_second: None,
    }
}

#[test]
fn every_default() {
    let text = "
[listen.web]
address = \"127.0.0.1:8080\"
[pools.api]
servers = [\"api.internal:3001\"]
check = { path = \"/health\" }
[routes.api]
pool = \"api\"
";
    let actual = configuration(text);
    let expected = Configuration {
        version: actual.version.clone(),
        door: Door { workers: 4, drain: seconds(30), connections_max: 384, state: None },
        listeners: vec![default_listener()],
        pools: vec![default_pool()],
        routes: vec![Route {
            name: "api".into(),
            priority: 0,
            listeners: vec![],
            hosts: vec![],
            path: PathPattern::Prefix("/".into()),
            methods: vec![],
            headers: vec![],
            action: Action::Forward { pool: 0, rewrite: None },
            body_bytes_max: None,
            total_timeout: None,
            treatment: Treatment::default(),
            class: None,
        }],
        admission: Admission::default(),
        clients: vec![],
        limits: vec![],
        admin: Admin { socket: Some(PathBuf::from("/tmp/tidegate-1000/admin.sock")), tcp: None },
        telemetry: Telemetry { access_log: None },
        invariants: Invariants::default(),
        changes: Changes::default(),
        allowances: vec![],
        files: vec![],
    };
    assert_eq!(actual, expected);
}

#[test]
fn every_field_of_a_listener_and_of_the_process() {
    let actual = configuration(include_str!("example.toml"));
    assert_eq!(
        actual.door,
        Door {
            workers: 2,
            drain: seconds(90),
            connections_max: 200,
            state: Some(State { folder: PathBuf::from("/nonexistent/state"), required: true }),
        }
    );
    let networks = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
    let expected = Listener {
        protocol: model::configuration::ListenerProtocol::default(),
        proxy_protocol: false,
        name: "web".into(),
        address: address("127.0.0.1:8080"),
        tls: None,
        trusted_proxies: networks.to_vec(),
        forwarded: ForwardedStyle::Both,
        limits: ClientLimits {
            head_bytes_max: 32_768,
            headers_max: 64,
            target_bytes_max: 4_096,
            body_bytes_max: 1 << 30,
            connections_max: 100,
            connections_per_address_max: 50,
        },
        timeouts: ClientTimeouts {
            handshake: seconds(5),
            head: seconds(6),
            body: seconds(7),
            keep_alive: seconds(8),
        },
        errors: ErrorFormat::Text,
    };
    assert_eq!(actual.listeners, [expected]);
    let socket = Some(PathBuf::from("/nonexistent/admin.sock"));
    assert_eq!(actual.admin, Admin { socket, tcp: None });
    let access_log =
        Some(AccessLog { target: AccessLogTarget::Stdout, format: AccessLogFormat::Ecs });
    assert_eq!(actual.telemetry, Telemetry { access_log });
}

#[test]
fn every_field_of_changes() {
    let actual = configuration(include_str!("example.toml"));
    let invariants =
        Invariants { share_max: 0.6, eligible_min: 2, keep_routes: true, limit_drop_max: 0.25 };
    assert_eq!(actual.invariants, invariants);
    let changes = Changes {
        watch: seconds(60),
        rollback: Rollback::Observe,
        move_max: 0.3,
        requests_min: 400,
        history_max: 50,
    };
    assert_eq!(actual.changes, changes);
    let allowance = |rule: &str, at: Option<&str>, reason: &str| Allowance {
        rule: rule.into(),
        at: at.map(Into::into),
        reason: reason.into(),
    };
    let reason = "the example has every field";
    let allowances = vec![
        allowance("limit-on-proxy", None, reason),
        allowance("emptying-ejection", Some("pools.api"), reason),
    ];
    assert_eq!(actual.allowances, allowances);
    assert!(actual.allows("limit-on-proxy", "listen.web.limits.connections_per_address"));
    assert!(actual.allows("emptying-ejection", "pools.api.ejection"));
    assert!(!actual.allows("emptying-ejection", "pools.apis"));
}

#[test]
fn a_measured_capacity_and_a_peak() {
    let folder = folder_with_files();
    let read = |line: &str| {
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:1\"\n[routes.a]\npool = \"a\"\n[pools.a]\nservers = [\"a:1\", \"b:1\"]\ncheck = {{ path = \"/\" }}\n{line}\n"
        );
        settings::check(&source(&text, folder.path()), &environment())
    };
    let checked = read("capacity = \"capacity.json\"\npeak = \"400.5/s\"");
    let pool = checked.configuration.expect("no findings").pools.remove(0);
    assert_eq!(pool.peak_per_second, Some(400.5));
    let capacity = pool.capacity.expect("a capacity");
    assert_eq!((capacity.low_per_second, capacity.high_per_second), (1_000.0, 1_050.0));
    let rules = |line: &str| {
        let checked = read(line);
        checked.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules("capacity = \"none.json\""), ["missing-file"]);
    assert_eq!(rules("capacity = \"token\""), ["invalid-capacity"]);
    assert_eq!(rules("peak = \"400\""), ["invalid-unit"]);
    assert_eq!(rules("peak = \"0/s\""), ["out-of-range"]);
}

/// What a pool of the example takes at once.
const ADMISSION: PoolAdmission = PoolAdmission {
    adaptive: false,
    wait_max: Duration::from_millis(50),
    burst_wait_max: Duration::from_secs(3),
};

#[test]
fn every_field_of_a_pool() {
    let actual = configuration(include_str!("example.toml"));
    let plain = |text| Server {
        address: ServerAddress::Socket(address(text)),
        weight: 1,
        zone: None,
        drain: false,
    };
    let named = Server {
        address: ServerAddress::Name { host: "api.internal".into(), port: 3_002 },
        weight: 2,
        zone: Some("b".into()),
        drain: true,
    };
    let expected = Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "api".into(),
        servers: vec![plain("127.0.0.1:3001"), named, plain("[::1]:3003")],
        balance: Balance::Maglev(HashKey::Header("x-user".into())),
        zone: Some("a".into()),
        check: Some(Check {
            kind: CheckKind::Http {
                path: "/health".into(),
                host: Some("api.example.com".into()),
                status: vec![(200, 299), (304, 304)],
                body: Some("ok".into()),
            },
            interval: seconds(1),
            timeout: Duration::from_millis(500),
            fall: 4,
            rise: 5,
        }),
        tls: Some(PoolTls {
            server_name: Some("api.example.com".into()),
            roots: None,
            verify: true,
            certificate: None,
        }),
        timeouts: ServerTimeouts {
            connect: seconds(1),
            first_byte: seconds(2),
            progress: seconds(3),
            total: Some(seconds(10)),
            idle: seconds(5),
            tunnel_idle: seconds(6),
        },
        retries: Retries {
            attempts_max: 3,
            budget: 0.25,
            budget_min_per_second: 7,
            on_status: true,
        },
        ejection: Ejection {
            failures: 6,
            pause: seconds(2),
            pause_max: seconds(20),
            share_max: 1.0,
        },
        slow_start: seconds(0),
        in_flight_max: 8,
        admission: ADMISSION,
        idle_max: 9,
        resolve: seconds(11),
        capacity: None,
        peak_per_second: None,
    };
    assert_eq!(actual.pools, [expected]);
}

#[test]
fn every_field_of_a_route() {
    let actual = configuration(include_str!("example.toml"));
    let api = Route {
        name: "api".into(),
        priority: 0,
        listeners: vec![],
        hosts: vec![HostPattern::Exact("example.com".into())],
        path: PathPattern::Prefix("/api".into()),
        methods: vec!["GET".into(), "POST".into()],
        headers: vec![
            HeaderMatch { name: "x-version".into(), value: Some("2".into()) },
            HeaderMatch { name: "x-debug".into(), value: None },
        ],
        action: Action::Forward { pool: 0, rewrite: Some(Rewrite::Prefix("/".into())) },
        body_bytes_max: Some(2_000_000),
        total_timeout: Some(seconds(9)),
        class: Some(Class::Critical),
        treatment: Treatment::default(),
    };
    let api_wildcard =
        Route { hosts: vec![HostPattern::Wildcard(".example.com".into())], ..api.clone() };
    let any = |name: &str, path, action| Route {
        name: name.into(),
        priority: 0,
        listeners: vec![],
        hosts: vec![],
        path,
        methods: vec![],
        headers: vec![],
        action,
        body_bytes_max: None,
        total_timeout: None,
        treatment: Treatment::default(),
        class: None,
    };
    let robots = any(
        "robots",
        PathPattern::Exact("/robots.txt".into()),
        Action::Respond { status: 404, body: "none".into(), content_type: "text/html".into() },
    );
    let user = any(
        "user",
        PathPattern::Template(vec![
            TemplateSegment::Literal("users".into()),
            TemplateSegment::Parameter("id".into()),
            TemplateSegment::Literal("posts".into()),
            TemplateSegment::Rest("rest".into()),
        ]),
        Action::Redirect { status: 308, location: "https://{host}/v2{path}{query}".into() },
    );
    assert_eq!(actual.routes, [api, api_wildcard, robots, user]);
}

/// The rules that forms of no interest to them break.
const ALLOWED: &str = "
[[allow]]
rule = \"no-health-check\"
reason = \"only the form is of interest\"
[[allow]]
rule = \"narrow-hash-key\"
reason = \"only the form is of interest\"
";

/// The same sound configuration with one more line in its pool.
fn pool(line: &str) -> Pool {
    let text = format!(
        "[listen.web]\naddress = \"127.0.0.1:1\"\n[routes.a]\npool = \"a\"\n[pools.a]\nservers = [\"a:1\", \"b:1\"]\n{line}\n{ALLOWED}"
    );
    configuration(&text).pools.remove(0)
}

#[test]
fn short_and_other_forms() {
    assert_eq!(pool("").check, None);
    let tcp = |interval| {
        Some(Check { kind: CheckKind::Tcp, interval, timeout: seconds(1), fall: 3, rise: 2 })
    };
    assert_eq!(pool("check = \"tcp\"").check, tcp(seconds(2)));
    assert_eq!(pool("check = { tcp = true, interval = \"9s\" }").check, tcp(seconds(9)));
    let grpc = |service: Option<&str>| {
        let kind = CheckKind::Grpc { service: service.map(Name::from) };
        Some(Check { kind, interval: seconds(2), timeout: seconds(1), fall: 3, rise: 2 })
    };
    let http2 = |check: &str| pool(&format!("protocol = \"http2\"\ncheck = {check}"));
    assert_eq!(pool("").protocol, ServerProtocol::Http1);
    assert_eq!(http2("\"tcp\"").protocol, ServerProtocol::Http2);
    assert_eq!(http2("{ grpc = true }").check, grpc(None));
    assert_eq!(http2("{ grpc = \"shop.v1.Cart\" }").check, grpc(Some("shop.v1.Cart")));
    assert_eq!(http2("{ tcp = true, grpc = false }").check, tcp(seconds(2)));
    let verified = PoolTls { server_name: None, roots: None, verify: true, certificate: None };
    assert_eq!(pool("tls = true").tls, Some(verified.clone()));
    assert_eq!(pool("tls = false").tls, None);
    assert_eq!(pool("tls = {}").tls, Some(verified.clone()));
    assert_eq!(pool("tls = { verify = false }").tls, Some(PoolTls { verify: false, ..verified }));
    assert_eq!(pool("ejection = false").ejection.failures, 0);
    for (text, expected) in [
        ("\"p2c\"", Balance::P2c),
        ("\"least-request\"", Balance::LeastRequest),
        ("\"round-robin\"", Balance::RoundRobin),
        ("\"random\"", Balance::Random),
        ("{ maglev = \"client-address\" }", Balance::Maglev(HashKey::ClientAddress)),
        ("{ maglev = \"path\" }", Balance::Maglev(HashKey::Path)),
        ("{ maglev = { cookie = \"Id\" } }", Balance::Maglev(HashKey::Cookie("Id".into()))),
    ] {
        assert_eq!(pool(&format!("balance = {text}")).balance, expected);
    }
}

#[test]
fn certificates_of_clients_and_towards_servers() {
    let folder = folder_with_files();
    let text = "
[listen.web]
address = '127.0.0.1:443'
tls = { certificates = [{ certificate = 'a.pem', key = 'a.key', ocsp = 'token' }], clients = { roots = 'a.pem', revocation = ['secret'], required = false } }
[pools.a]
servers = ['a.internal:443']
check = { path = '/' }
tls = { certificate = { certificate = 'a.pem', key = 'a.key' } }
[routes.a]
pool = 'a'
";
    let checked = settings::check(&source(text, folder.path()), &environment());
    assert_eq!(lines(&checked), Vec::<String>::new());
    let actual = checked.configuration.expect("no findings");
    let file = |name: &str| folder.path().join(name);
    let pair = |ocsp| CertificateFiles { certificate: file("a.pem"), key: file("a.key"), ocsp };
    let tls = actual.listeners[0].tls.as_ref().expect("it is on");
    assert_eq!(tls.certificates, [pair(Some(file("token")))]);
    let clients = ClientCertificates {
        roots: file("a.pem"),
        revocation: vec![file("secret")],
        required: false,
    };
    assert_eq!(tls.clients, Some(clients));
    let tls = actual.pools[0].tls.as_ref().expect("it is on");
    assert_eq!(tls.certificate, Some(pair(None)));
}

#[test]
fn a_certificate_that_the_door_obtains() {
    let folder = folder_with_files();
    let text = |state: &str, acme: &str| {
        format!(
            "[door]\nstate = {state}\n[listen.web]\naddress = '127.0.0.1:443'\n\
             tls = {{ acme = {acme} }}\n[routes.a]\nrespond = {{}}\n"
        )
    };
    let check = |text: &str| settings::check(&source(text, folder.path()), &environment());
    let checked = check(&text("'/state'", "{ hosts = ['Www.Example.com', 'example.com'] }"));
    assert_eq!(lines(&checked), Vec::<String>::new());
    let actual = checked.configuration.expect("no findings");
    let tls = actual.listeners[0].tls.as_ref().expect("it is on");
    let own = PathBuf::from("/state/acme/www.example.com");
    let files = CertificateFiles {
        certificate: own.join("certificate.pem"),
        key: own.join("key.pem"),
        ocsp: None,
    };
    assert_eq!(tls.certificates, std::slice::from_ref(&files));
    let acme = Acme {
        hosts: vec!["www.example.com".into(), "example.com".into()],
        contact: None,
        directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
        roots: None,
        challenge: AcmeChallenge::Http01,
        folder: "/state/acme".into(),
        files,
    };
    assert_eq!(tls.acme, Some(acme));
    for (state, acme, rule) in [
        ("false", "{ hosts = ['a.test'] }", "conflicting-keys"),
        ("'/state'", "{}", "missing-key"),
        ("'/state'", "{ hosts = [] }", "empty-list"),
        ("'/state'", "{ hosts = ['*.a.test'] }", "invalid-host"),
        ("'/state'", "{ hosts = ['192.0.2.1'] }", "invalid-host"),
        ("'/state'", "{ hosts = ['a.test'], directory = 'http://a.test/' }", "invalid-url"),
        ("'/state'", "{ hosts = ['a.test'], contact = 'ops@a.test' }", "invalid-url"),
        ("'/state'", "{ hosts = ['a.test'], roots = 'none.pem' }", "missing-file"),
    ] {
        let checked = check(&text(state, acme));
        let found: Vec<&str> = checked.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, [rule], "{acme}");
        assert!(checked.configuration.is_none() && checked.overridable.is_none(), "{acme}");
    }
}

#[test]
fn files_are_relative_to_the_folder() {
    let folder = folder_with_files();
    let text = "
[listen.web]
address = \"127.0.0.1:443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"a.key\" }], version_min = \"1.3\", strict_sni = true }
[routes.a]
respond = {}
[admin]
socket = false
address = \"127.0.0.1:9900\"
token_file = \"token\"
[telemetry]
access_log = { file = \"access.log\", format = \"clf\" }
";
    let checked = settings::check(&source(text, folder.path()), &environment());
    assert_eq!(lines(&checked), Vec::<String>::new());
    let actual = checked.configuration.expect("no findings");
    let file = |name: &str| folder.path().join(name);
    let tls = ListenerTls {
        certificates: vec![CertificateFiles {
            certificate: file("a.pem"),
            key: file("a.key"),
            ocsp: None,
        }],
        version_min: TlsVersion::Tls13,
        strict_sni: true,
        clients: None,
        acme: None,
    };
    assert_eq!(actual.listeners[0].tls, Some(tls));
    let tcp = AdminTcp { address: address("127.0.0.1:9900"), token_file: file("token") };
    assert_eq!(actual.admin, Admin { socket: None, tcp: Some(tcp) });
    let target = AccessLogTarget::File(file("access.log"));
    let access_log = Some(AccessLog { target, format: AccessLogFormat::Clf });
    assert_eq!(actual.telemetry, Telemetry { access_log });
}

#[test]
fn the_admin_socket_depends_on_the_user() {
    let mut environment = environment();
    let socket = |environment: &Environment| environment.admin_socket();
    assert_eq!(socket(&environment), PathBuf::from("/tmp/tidegate-1000/admin.sock"));
    environment.runtime_dir = Some(PathBuf::from("/run/user/1000"));
    assert_eq!(socket(&environment), PathBuf::from("/run/user/1000/tidegate/admin.sock"));
    environment.user_is_root = true;
    assert_eq!(socket(&environment), PathBuf::from("/run/tidegate/admin.sock"));
}

#[test]
fn the_state_folder_depends_on_the_user() {
    let folder = |environment: &Environment| {
        let text = "[listen.a]\naddress = \"127.0.0.1:1\"\n[routes.a]\nrespond = {}\n";
        let checked = settings::check(&source(text, &PathBuf::from("/")), environment);
        let state = checked.configuration.expect("no findings").door.state;
        state.map(|state| (state.folder.display().to_string(), state.required))
    };
    let mut environment = environment();
    assert_eq!(folder(&environment), None);
    environment.state_home = Some(PathBuf::from("/home/a/.local/state"));
    assert_eq!(folder(&environment), Some(("/home/a/.local/state/tidegate".to_owned(), false)));
    environment.user_is_root = true;
    assert_eq!(folder(&environment), Some(("/var/lib/tidegate".to_owned(), false)));
    environment.state_directory = Some(PathBuf::from("/var/lib/private/tidegate"));
    assert_eq!(folder(&environment), Some(("/var/lib/private/tidegate".to_owned(), true)));
}

#[test]
fn the_version_follows_the_text() {
    let version = |text: &str| configuration(text).version;
    let text = include_str!("example.toml");
    assert_eq!(version(text), version(text));
    assert_ne!(version(text), version(&format!("{text}\n")));
    assert_eq!(version(text).len(), 12);
    assert!(version(text).bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn files_are_read_as_text() {
    let folder = folder_with_files();
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, "x = 1").expect("a file");
    let source = settings::read(&path).expect("readable text");
    assert_eq!((source.text.as_str(), source.folder.as_path()), ("x = 1", folder.path()));
    std::fs::write(&path, b"x = \xff").expect("a file");
    let error = settings::read(&path).expect_err("not text");
    assert!(error.to_string().ends_with("is not UTF-8 text: byte 4 is wrong"), "{error}");
    std::fs::write(&path, " ".repeat(settings::TEXT_BYTES_MAX + 1)).expect("a file");
    let error = settings::read(&path).expect_err("too large");
    assert!(error.to_string().ends_with("is larger than 4 MiB"), "{error}");
    let error = settings::read(&folder.path().join("none")).expect_err("absent");
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}

#[test]
fn http2_of_a_listener() {
    for (line, expected) in [
        ("", Some(100)),
        ("http2 = true", Some(100)),
        ("http2 = false", None),
        ("http2 = {}", Some(100)),
        ("http2 = { streams_max = 7 }", Some(7)),
    ] {
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:1\"\n{line}\n[routes.a]\nrespond = {{}}\n"
        );
        let http2 = expected.map(|streams_max| Http2 { streams_max });
        let actual = configuration(&text).listeners.remove(0).protocol;
        assert_eq!(actual, ListenerProtocol::Http { http2 }, "{line}");
    }
    for (line, message) in [
        ("http2 = \"on\"", "must be `true`, `false` or a table"),
        ("http2 = { streams_max = 0 }", "must be"),
        ("http2 = { streams = 7 }", "streams"),
    ] {
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:1\"\n{line}\n[routes.a]\nrespond = {{}}\n"
        );
        let found = lines(&check(&text));
        assert!(found.len() == 1 && found[0].contains(message), "{line}: {found:?}");
    }
}
