//! Who is let in: every field of `[admission]`, `[clients]` and `[limits]`, and every mistake.

use std::time::Duration;

use model::configuration::{
    Admission, Class, Client, Configuration, FlowKey, Identity, JwtKey, LimitKey, Rate, RateLimit,
    SharedQuotas,
};
use settings::Checked;

use crate::{environment, folder_with_files, lines, source};

const SOUND: &str = "
[listen.web]
address = \"0.0.0.0:8080\"
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/\" }
[routes.api]
pool = \"api\"
";

fn read(text: &str) -> Checked {
    settings::check(&source(&format!("{text}{SOUND}"), folder_with_files().path()), &environment())
}

fn configuration(text: &str) -> Configuration {
    let checked = read(text);
    checked.configuration.clone().unwrap_or_else(|| panic!("{:#?}", lines(&checked)))
}

fn rate(count: u32, seconds: u64) -> Rate {
    Rate { count, per: Duration::from_secs(seconds) }
}

/// SHA-256 of `secret-1`.
const HASH: &str = "f7e7c36e458e80e6b6a2c67d0a9ec09bd718dadd7bfa8d6bf6e7ad526e46c2f7";

#[test]
fn every_field_of_admission() {
    let actual = configuration(
        "[admission]
observe = true
keys = 5000
flow = { header = \"X-Tenant\" }
unknown_rate = \"1000/m\"
unknown_in_flight = 500
demote_above = false
retry_share = 0.2
retry_header = \"X-Attempt\"
buffers = \"64MiB\"
shared = { url = \"redis://a:b@cache.internal:6380/1\", name = \"edge\", timeout = \"50ms\" }
",
    );
    let expected = Admission {
        observe: true,
        keys_max: 5_000,
        flow: FlowKey::Header("x-tenant".into()),
        unknown_rate: Some(rate(1_000, 60)),
        unknown_in_flight_max: Some(500),
        demote_above: 0.0,
        retry_share: 0.2,
        retry_header: "x-attempt".into(),
        buffer_bytes_max: 64 << 20,
        shared: Some(SharedQuotas {
            url: "redis://a:b@cache.internal:6380/1".into(),
            name: "edge".into(),
            timeout: Duration::from_millis(50),
        }),
    };
    assert_eq!(actual.admission, expected);
}

#[test]
fn every_field_of_a_client() {
    let actual = configuration(
        "[admission]
shared = { url = \"redis://127.0.0.1\" }
[clients.partner]
keys = [
  { header = \"X-Api-Key\", value = \"secret-1\" },
  { jwt_claim = \"sub\", value = \"partner\", secret_file = \"secret\" },
  { jwt_claim = \"sub\", value = \"partner\", public_key_file = \"public.pem\" },
  { network = [\"10.1.0.0/16\", \"2001:db8::1\"] },
]
rate = \"50/s\"
burst = 100
in_flight = 20
class = \"important\"
routes = [\"api\", \"api\"]
shared = true
headers = true
[clients.other]
key = { network = \"10.0.0.0/8\" }
rate = \"150/m\"
",
    );
    let jwt = |key| Identity::Jwt { claim: "sub".into(), value: "partner".into(), key };
    let network = |text: &str| Identity::Network(text.parse().expect("a network"));
    let header = |identity: &Identity| match identity {
        Identity::Header { name, sha256 } => (name.to_string(), *sha256),
        Identity::Jwt { .. } | Identity::Network(_) | Identity::Certificate(_) => {
            panic!("{identity:?}")
        }
    };
    let [partner, other] = actual.clients.as_slice() else { panic!("{:?}", actual.clients) };
    let (name, sha256) = header(&partner.identities[0]);
    assert_eq!((name.as_str(), hex(&sha256).as_str()), ("x-api-key", HASH));
    let expected = Client {
        name: "partner".into(),
        identities: vec![
            partner.identities[0].clone(),
            jwt(JwtKey::Secret(b"0123456789abcdef0123456789abcdef".to_vec())),
            jwt(JwtKey::Public(crate::PUBLIC_KEY.trim_end().as_bytes().to_vec())),
            network("10.1.0.0/16"),
            network("2001:db8::1/128"),
        ],
        rate: Some(rate(50, 1)),
        burst: 100,
        in_flight_max: Some(20),
        class: Class::Important,
        routes: vec!["api".into()],
        enabled: true,
        shared: true,
        headers: true,
    };
    assert_eq!(*partner, expected);
    // Networks may overlap; the burst is one second's worth.
    let expected = Client {
        name: "other".into(),
        identities: vec![network("10.0.0.0/8")],
        rate: Some(rate(150, 60)),
        burst: 2,
        in_flight_max: None,
        class: Class::Normal,
        routes: vec![],
        enabled: true,
        shared: false,
        headers: false,
    };
    assert_eq!(*other, expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_field_of_a_limit() {
    let actual = configuration(
        "[admission]
shared = { url = \"redis://[::1]:6379\" }
[limits.tenant]
by = { header = \"X-Tenant\" }
rate = \"10/h\"
burst = 20
routes = [\"api\"]
observe = true
headers = true
shared = true
[limits.a]
by = \"all\"
rate = \"5000/s\"
[limits.b]
by = \"client\"
rate = \"5/d\"
[limits.c]
by = \"address\"
rate = \"5/m\"
[limits.d]
by = \"route\"
rate = \"500/s\"
",
    );
    let expected = RateLimit {
        name: "tenant".into(),
        by: LimitKey::Header("x-tenant".into()),
        rate: rate(10, 3_600),
        burst: 20,
        routes: vec!["api".into()],
        observe: true,
        headers: true,
        shared: true,
    };
    assert_eq!(actual.limits[0], expected);
    let others = actual.limits[1..].iter().map(|limit| (limit.by.clone(), limit.rate, limit.burst));
    let expected = [
        (LimitKey::All, rate(5_000, 1), 5_000),
        (LimitKey::Client, rate(5, 86_400), 1),
        (LimitKey::Address, rate(5, 60), 1),
        (LimitKey::Route, rate(500, 1), 500),
    ];
    assert_eq!(others.collect::<Vec<_>>(), expected);
}

/// The findings of a text, without their places.
fn check(text: &str, expected: &[&str]) {
    let shown = |line: String| {
        let (severity, rest) = line.split_once(' ').expect("a place");
        let (_, rest) = rest.split_once(' ').expect("a message");
        format!("{severity} {rest}")
    };
    let found: Vec<String> = lines(&read(text)).into_iter().map(shown).collect();
    assert_eq!(found, expected, "{text}");
}

fn client(line: &str, expected: &[&str]) {
    check(&format!("[clients.a]\nkey = {{ network = '10.0.0.0/8' }}\n{line}"), expected);
}

fn key(text: &str, expected: &[&str]) {
    check(&format!("[clients.a]\nkey = {text}"), expected);
}

#[test]
fn clients_by_their_certificates() {
    let text = "
[listen.web]
address = '127.0.0.1:443'
tls = { certificates = [{ certificate = 'a.pem', key = 'a.key' }], clients = { roots = 'a.pem' } }
[routes.a]
respond = {}
[clients.a]
keys = [{ certificate = 'Partner.Example' }, { certificate = 'spiffe://example/Billing' }]
";
    let folder = folder_with_files();
    let checked = settings::check(&source(text, folder.path()), &environment());
    assert_eq!(lines(&checked), Vec::<String>::new());
    let clients = checked.configuration.expect("it is sound").clients;
    let shown = |name: &str| Identity::Certificate(name.into());
    assert_eq!(
        clients[0].identities,
        [shown("partner.example"), shown("spiffe://example/Billing")]
    );
}

#[test]
fn mistakes_in_keys_of_clients() {
    let one = "error[conflicting-keys] a client is known by a header, a token, a certificate or a network (not valid here) help: give one of `header`, `jwt_claim`, `certificate` and `network`, as in `key = { header = \"x-api-key\", sha256 = \"...\" }`";
    key("{}", &[one]);
    key("{ header = 'x', network = '10.0.0.0/8', value = 'a' }", &[one]);
    key(
        "{ header = 'x' }",
        &[
            "error[conflicting-keys] a header is compared with one value (not valid here) help: give `sha256`, or `value`, which is hashed when it is read",
        ],
    );
    key(
        "{ header = 'x', sha256 = 'beef' }",
        &[
            "error[invalid-hash] `sha256` has 64 hex digits (not valid here) help: make it with `printf %s \"$KEY\" | sha256sum`",
        ],
    );
    key(
        "{ header = 'x', value = ' secret ', secret_file = 'secret' }",
        &[
            "error[invalid-header] this is not a header's value (not valid here) help: use 1 to 4096 visible ASCII characters, without blanks at the ends",
            "error[conflicting-keys] `secret_file` has no meaning beside `header` (not valid here) help: remove one of them",
        ],
    );
    key(
        "{ jwt_claim = 'sub', secret_file = 'short' }",
        &[
            "error[missing-key] `jwt_claim` needs `value` (not valid here) help: add the claim's `value`",
            "error[short-token] a secret that tokens are signed with has at least 32 bytes (not valid here) help: make one with `openssl rand -hex 32`",
        ],
    );
    key(
        "{ jwt_claim = 'sub', value = 'a', public_key_file = 'secret' }",
        &[
            "error[invalid-key] this is no public key in PEM of RSA, P-256 or Ed25519 (not valid here) help: it begins with `-----BEGIN PUBLIC KEY-----`; make one from a private key with `openssl pkey -pubout`",
        ],
    );
    key(
        "{ certificate = 'spiffe:// a', value = 'a' }",
        &[
            "error[invalid-host] `spiffe:// a` is neither a DNS name nor a URI (not valid here) help: a host name is made of labels of letters, digits, `-` and `_`, joined by dots",
            "error[conflicting-keys] `value` has no meaning beside `certificate` (not valid here) help: remove one of them",
        ],
    );
    key(
        "{ network = '10.0.0.1/8' }",
        &[
            "error[invalid-network] `10.0.0.1/8` has bits behind its prefix (not valid here) help: did you mean `10.0.0.0/8`?",
        ],
    );
    check(
        "[clients.a]\nkey = { header = 'x', value = 'k' }\n[clients.b]\nkey = { header = 'X', value = 'k' }",
        &[
            "error[duplicate-identity] two clients are known by this value of header `x` (whose requests these are cannot be told) help: give each client a key of its own",
        ],
    );
    check(
        "[clients.a]\nkeys = [{ network = ['10.0.0.0/8', '10.0.0.0/8'] }]",
        &[
            "error[duplicate-identity] client `a` is known by network 10.0.0.0/8 twice (whose requests these are cannot be told) help: give each client a key of its own",
        ],
    );
}

#[test]
fn mistakes_in_clients_and_limits() {
    check(
        "[clients.a]\n",
        &[
            "error[missing-key] `a` needs `key` (`key` is missing) help: add `key = { header = \"x-api-key\", sha256 = \"...\" }`",
        ],
    );
    client(
        "routes = ['apis']",
        &["error[unknown-route] there is no route `apis` (not a route) help: did you mean `api`?"],
    );
    client(
        "rate = '50'\nburst = 0",
        &[
            "error[invalid-unit] `50` is not a rate (a number without a unit) help: write it like \"50/s\", \"1000/m\", \"5/h\" or \"10/d\"",
            "error[out-of-range] `burst` must be from 1 to 1000000 (out of range)",
        ],
    );
    client(
        "rate = '0/s'",
        &["error[out-of-range] `rate` must be from 1/d to 1000000/s (out of range)"],
    );
    client(
        "rate = '10/minute'\nclass = 'urgent'",
        &[
            "error[invalid-unit] `10/minute` is not a rate (an unknown unit) help: did you mean `10/m`?",
            "error[unknown-value] unknown value `urgent` for `class` (not known) help: use `critical`, `important`, `normal` or `bulk`",
        ],
    );
    client(
        "burst = 5",
        &[
            "error[conflicting-keys] `burst` says something of a rate that there is none of (not valid here) help: add `rate`, or remove it",
        ],
    );
    client(
        "rate = '1/d'\nburst = 8\nshared = true",
        &[
            "error[out-of-range] a burst of 8 takes more than 7 days to come back at 1/d (not valid here) help: lower `burst`, or raise `rate`",
            "error[conflicting-keys] `shared` needs `[admission]` to say where quotas are shared (not valid here) help: add `shared = { url = \"redis://127.0.0.1:6379\" }` to `[admission]`",
        ],
    );
    check(
        "[limits.a]\nby = 'adress'\nroutes = []",
        &[
            "error[missing-key] `a` needs `rate` (`rate` is missing) help: add `rate = \"100/s\"`",
            "error[unknown-value] unknown value `adress` for `by` (not known) help: did you mean `address`?",
            "error[empty-list] `routes` must not be empty (not valid here) help: leave it out to mean all",
        ],
    );
    check(
        "[admission]\ndemote_above = 1.2\nkeys = 10\nflow = 'ip'\nshared = { url = 'redis://:secret@' }",
        &[
            "error[out-of-range] `demote_above` must be 0 (off), or from 1.5 to 1000 (not valid here) help: write a number such as 4",
            "error[out-of-range] `keys` must be from 1000 to 10000000 (out of range)",
            "error[unknown-value] unknown value `ip` for `flow` (not known) help: use `address`",
            "error[invalid-address] `url` is not the address of a Redis or Valkey server (not valid here) help: write `redis://[user:password@]host[:port][/db]`",
        ],
    );
}

#[test]
fn a_route_with_a_mistake_is_a_route() {
    check(
        "[routes.broken]\npath = 'x'\npool = 'api'\n[limits.a]\nby = 'all'\nrate = '5/s'\nroutes = ['broken']",
        &["error[invalid-path] `x` is not a path (not valid here) help: a path begins with `/`"],
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = "[clients.a]\nkey = { header = 'x-api-key', value = 'Hemlock-1', sha = 1 }\n\
                [admission]\nshared = { url = \"redis://user:Hemlock-2@cache/none\" }\n";
    let folder = folder_with_files();
    let source = source(&format!("{text}{SOUND}"), folder.path());
    let checked = settings::check(&source, &environment());
    assert!(checked.findings.len() > 1, "{:#?}", lines(&checked));
    let shown = [
        settings::render_text(&checked.findings, std::slice::from_ref(&source), false),
        settings::render_json(&checked.findings, std::slice::from_ref(&source)).to_string(),
        format!(
            "{:?}",
            configuration(
                "[clients.a]\nkey = { jwt_claim = 'sub', value = 'a', secret_file = 'secret' }"
            )
        ),
    ];
    for text in shown {
        assert!(!text.contains("Hemlock") && !text.contains("0123456789abcdef"), "{text}");
    }
}
