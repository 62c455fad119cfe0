//! Rules applied to heads that are there already.

use std::time::Duration;

use http_wire::{HeadLimits, RequestHead, ResponseHead};
use model::Name;
use model::configuration::{
    BasicAuthentication, ClientLimits, ClientTimeouts, ErrorFormat, ForwardAuthentication,
    ForwardedStyle, Listener, ListenerProtocol,
};
use proptest::prelude::*;

use super::*;
use crate::connection::Origin;

fn listener(trusted: &str) -> Listener {
    let second = Duration::from_secs(1);
    Listener {
        name: "web".into(),
        address: "127.0.0.1:80".parse().unwrap(),
        tls: None,
        trusted_proxies: vec![trusted.parse().unwrap()],
        forwarded: ForwardedStyle::XForwarded,
        limits: ClientLimits {
            head_bytes_max: 16_384,
            headers_max: 100,
            target_bytes_max: 8_192,
            body_bytes_max: 1,
            connections_max: 1,
            connections_per_address_max: 1,
        },
        timeouts: ClientTimeouts {
            handshake: second,
            head: second,
            body: second,
            keep_alive: second,
        },
        errors: ErrorFormat::Text,
        protocol: ListenerProtocol::Http { http2: None },
        proxy_protocol: false,
    }
}

const REQUEST: &str = "GET /a/%7eb?q=1 HTTP/1.1\r\nhost: Shop.Example:81\r\nx-org: acme\r\nx-org: b\r\n\
    x-forwarded-for: 198.51.100.7\r\nx-forwarded-proto: https\r\nx-empty: \r\n\
    connection: x-hop\r\nx-hop: 1\r\n\r\n";

/// The value of a text without braces of its own.
fn value(text: &str) -> HeaderValue {
    let variable = |name: &str| match name {
        "client_address" => Variable::ClientAddress,
        "peer_address" => Variable::PeerAddress,
        "host" => Variable::Host,
        "authority" => Variable::Authority,
        "scheme" => Variable::Scheme,
        "method" => Variable::Method,
        "path" => Variable::Path,
        "target" => Variable::Target,
        "request_id" => Variable::RequestId,
        "route" => Variable::Route,
        "client" => Variable::Client,
        "user" => Variable::User,
        name => Variable::Header(name.into()),
    };
    let mut parts = Vec::new();
    for (index, part) in text.split(['{', '}']).enumerate() {
        match (index % 2, part) {
            (0, "") => {}
            (0, text) => parts.push(ValuePart::Text(text.into())),
            (_, name) => parts.push(ValuePart::Variable(variable(name))),
        }
    }
    HeaderValue(parts)
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(Name, HeaderValue)> {
    pairs.iter().map(|(name, text)| ((*name).into(), value(text))).collect()
}

fn rules(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> HeaderRules {
    HeaderRules {
        remove: remove.iter().map(|&name| name.into()).collect(),
        set: fields(set),
        add: fields(add),
        success_only: false,
    }
}

/// What `rules` make of `head`, for [`REQUEST`] from 10.1.2.3, which may speak for others or not.
fn applied(rules: &HeaderRules, head: &str, trusted: bool) -> String {
    let listener = listener(if trusted { "10.0.0.0/8" } else { "192.0.2.0/24" });
    let mut request = RequestHead::default();
    request.parse(REQUEST.as_bytes(), &HeadLimits::default()).unwrap();
    let said = Said {
        head: &request,
        bytes: REQUEST.as_bytes(),
        origin: &Origin::new("10.1.2.3:5".parse().unwrap(), false, &listener),
        listener: &listener,
        request_id: b"id-1",
        client: Some(&Name::from("partner")),
        user: b"alice",
    };
    let rules = Rules::new(rules, "cart", None);
    let mut head = head.replace('\n', "\r\n").into_bytes();
    remove(&mut head, |name| rules.replaces(name));
    extend(&mut head, |head| rules.write(head, &said));
    String::from_utf8(head).unwrap().replace("\r\n", "\n")
}

#[test]
fn fields_are_removed_then_replaced_then_added() {
    let check = |rules: &HeaderRules, head: &str, expected: &str| {
        let (head, expected) =
            (format!("GET / HTTP/1.1\n{head}\n"), format!("GET / HTTP/1.1\n{expected}\n"));
        assert_eq!(applied(rules, &head, false), expected, "{rules:?}");
    };
    let none: &[(&str, &str)] = &[];
    check(&rules(&["b"], none, none), "a: 1\nB: 2\nc: 3\nb: 4\n", "a: 1\nc: 3\n");
    check(&rules(&["a", "b"], none, none), "a: 1\nb:\n", "");
    check(&rules(&[], &[("b", "new")], none), "a: 1\nb: 2\nB: 3\n", "a: 1\nb: new\n");
    check(&rules(&[], none, &[("b", "new")]), "b: 2\n", "b: 2\nb: new\n");
    check(&rules(&["b"], none, &[("b", "new")]), "b: 2\n", "b: new\n");
    check(&rules(&[], &[("b", "1")], &[("b", "2")]), "b: 0\nbb: 0\n", "bb: 0\nb: 1\nb: 2\n");
    // The line of the request is no field, whatever it looks like.
    check(&rules(&["get / http/1.1"], none, none), "a: 1\n", "a: 1\n");
    // A server that reads `_` as `-` is not told by the back door.
    check(
        &rules(&["x-tenant"], none, none),
        "X_Tenant: 1\nx.tenant: 2\nxxtenant: 3\n",
        "xxtenant: 3\n",
    );
    check(&rules(&[], &[("b", "{x-absent}")], none), "a: 1\nb: 2\n", "a: 1\n");
}

#[test]
fn values_say_what_the_request_says() {
    let check = |text: &str, trusted: bool, expected: &str| {
        let found = applied(&rules(&[], &[], &[("x", text)]), "GET / HTTP/1.1\n\n", trusted);
        let expected = if expected.is_empty() { String::new() } else { format!("x: {expected}\n") };
        assert_eq!(found, format!("GET / HTTP/1.1\n{expected}\n"), "{text}");
    };
    check("{client_address}", true, "198.51.100.7");
    check("{client_address}", false, "10.1.2.3");
    check("{peer_address}", true, "10.1.2.3");
    check("{scheme}", true, "https");
    check("{scheme}", false, "http");
    check("{host} {authority}", false, "shop.example Shop.Example:81");
    check("{method} {path} {target}", false, "GET /a/~b /a/~b?q=1");
    check("{request_id}", false, "id-1");
    check("{client}@{route}/{user}", false, "partner@cart/alice");
    check("<{x-org}>", false, "<acme>");
    // Blanks at the ends are no part of a value, and HTTP/2 refuses them.
    check("a {x-absent}", false, "a");
    check("{x-empty} b {x-absent}", false, "b");
    check(" {x-empty} ", false, "");
    // What an untrusted peer says of itself is nothing, and so is what was for the door alone.
    check("{x-forwarded-for}", false, "");
    check("{x-forwarded-for}", true, "198.51.100.7");
    check("{x-hop}", true, "");
}

#[test]
fn a_request_always_has_a_host() {
    let rules = rules(&[], &[("host", "{x-absent}")], &[]);
    let head = applied(&rules, "GET / HTTP/1.1\nhost: a\nb: 1\n\n", false);
    assert_eq!(head, "GET / HTTP/1.1\nb: 1\nhost: \n\n");
}

#[test]
fn a_request_does_not_say_what_authentication_says() {
    let forward = ForwardAuthentication {
        pool: 0,
        path: "/".into(),
        headers: None,
        copy: vec!["x-org".into()],
        copy_response: Vec::new(),
        timeout: Duration::from_secs(1),
    };
    let basic = BasicAuthentication { realm: "".into(), users: Vec::new() };
    let said_by = |how: &Authentication| {
        let value = Value::new(&value("{x-org}"), "cart", Some(how));
        matches!(value, Value::Parts(parts) if !parts.is_empty())
    };
    assert!(!said_by(&Authentication::Forward(forward)));
    assert!(said_by(&Authentication::Basic(basic)));
}

#[test]
fn what_is_written_is_bounded() {
    let long = "y".repeat(4_096);
    let names: Vec<String> = (0..10).map(|index| format!("x-{index}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*long)).collect();
    let head = applied(&rules(&[], &[], &pairs), "GET / HTTP/1.1\nhost: a\n\n", false);
    assert!((4_096 * 5..BYTES_MAX + 64).contains(&head.len()), "{}", head.len());
    assert!(head.ends_with("y\n\n"));
}

#[test]
fn success_is_below_400() {
    let rules = HeaderRules { success_only: true, ..HeaderRules::default() };
    let rules = Rules::new(&rules, "cart", None);
    let changed: Vec<u16> =
        [101, 199, 200, 304, 399, 400, 503].into_iter().filter(|s| rules.apply_to(*s)).collect();
    assert_eq!(changed, [200, 304, 399]);
}

fn variable() -> impl Strategy<Value = Variable> {
    prop_oneof![
        Just(Variable::ClientAddress),
        Just(Variable::PeerAddress),
        Just(Variable::Host),
        Just(Variable::Authority),
        Just(Variable::Scheme),
        Just(Variable::Method),
        Just(Variable::Path),
        Just(Variable::Target),
        Just(Variable::RequestId),
        Just(Variable::Client),
        Just(Variable::User),
        Just(Variable::Header("x-a".into())),
        Just(Variable::Header("x-forwarded-for".into())),
    ]
}

/// Mostly what may stand in a field.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![12 => 0x20..0x7f_u8, 2 => 0x80..=0xff_u8, 1 => 0..0x20_u8];
    proptest::collection::vec(byte, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// Whatever a request says, and whoever was authenticated, a head stays one head, with the
    /// same fields and the one that is added, if any.
    #[test]
    fn no_value_breaks_a_head(
        target in "([a-z/.~]|%0[dD]|%0[aA]|%00|%20|[?&=;+])([!-~]|%0a)?",
        authority in "[a-z.]{0,4}(:[0-9]{1,4})?",
        field in bytes(),
        user in proptest::collection::vec(any::<u8>(), 0..8),
        variables in proptest::collection::vec(variable(), 1..4),
        trusted in any::<bool>(),
    ) {
        let mut bytes = b"GET /".to_vec();
        for part in [
            target.as_bytes(),
            b" HTTP/1.1\r\nhost: a",
            authority.as_bytes(),
            b"\r\nx-a: ",
            &field,
            b"\r\nx-forwarded-for: ",
            &field,
            b"\r\n\r\n",
        ] {
            bytes.extend_from_slice(part);
        }
        let mut request = RequestHead::default();
        if request.parse(&bytes, &HeadLimits::default()).is_err() {
            // What is refused goes nowhere.
            return Ok(());
        }
        let listener = listener(if trusted { "10.0.0.0/8" } else { "192.0.2.0/24" });
        let said = Said {
            head: &request,
            bytes: &bytes,
            origin: &Origin::new("10.1.2.3:5".parse().unwrap(), false, &listener),
            listener: &listener,
            request_id: b"id-1",
            client: None,
            user: &user,
        };
        let parts = variables.into_iter().map(ValuePart::Variable).collect();
        let add = vec![("x-added".into(), HeaderValue(parts))];
        let rules = Rules::new(&HeaderRules { add, ..HeaderRules::default() }, "cart", None);
        let mut head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
        extend(&mut head, |head| rules.write(head, &said));
        let mut read = ResponseHead::default();
        read.parse(&head, &HeadLimits::default(), http_wire::Method::Get).unwrap();
        prop_assert!(matches!(read.headers.len(), 1 | 2));
        if let Some(added) = read.headers.get(1) {
            prop_assert_eq!(added.name.of(&head), b"x-added");
            // All that was written is the value, without blanks at its ends.
            let value = added.value.of(&head);
            prop_assert!(!value.is_empty() && head.ends_with(&[b": ", value, b"\r\n\r\n"].concat()));
        }
    }
}
