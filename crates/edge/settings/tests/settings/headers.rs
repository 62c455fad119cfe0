//! Rules for header fields, and the scripts of other sites.

use std::time::Duration;

use model::configuration::{
    Cors, HeaderRules, HeaderValue, Origins, Treatment, ValuePart, Variable,
};

use crate::{check, lines};

fn text(route: &str) -> String {
    format!(
        "[listen.a]\naddress = '127.0.0.1:1'\ntrusted_proxies = ['10.0.0.1']\n\
         [routes.a]\nrespond = {{}}\n{route}\n"
    )
}

#[track_caller]
fn read(route: &str) -> Treatment {
    let checked = check(&text(route));
    let Some(mut configuration) = checked.configuration.clone() else {
        panic!("{route}\n{:#?}", lines(&checked));
    };
    configuration.routes.remove(0).treatment
}

/// Expects these rules and messages, as errors.
#[track_caller]
fn refused(route: &str, expected: &[&str]) {
    let checked = check(&text(route));
    let found = checked.findings.iter();
    let found: Vec<String> =
        found.map(|finding| format!("{} {}", finding.rule, finding.message)).collect();
    assert_eq!(found, expected, "{route}");
    assert!(checked.configuration.is_none(), "{route}");
}

fn request_rules(lines: &str) -> HeaderRules {
    read(&format!("request_headers = {{ {lines} }}")).request_headers
}

fn variable(variable: Variable) -> ValuePart {
    ValuePart::Variable(variable)
}

#[test]
fn rules_are_read_with_names_in_lower_case() {
    let rules = read(
        "response_headers = { set = { Server = 'edge' }, add = { X-Via = 'a' }, \
         remove = ['X-Debug', 'x-debug', 'x-b'], when = 'success' }",
    )
    .response_headers;
    let text = |text: &str| HeaderValue(vec![ValuePart::Text(text.into())]);
    assert_eq!(
        rules,
        HeaderRules {
            remove: vec!["x-debug".into(), "x-b".into()],
            set: vec![("server".into(), text("edge"))],
            add: vec![("x-via".into(), text("a"))],
            success_only: true,
        }
    );
    // An empty value removes.
    let rules = request_rules("set = { accept-encoding = '' }");
    assert_eq!(rules.set, [("accept-encoding".into(), HeaderValue(Vec::new()))]);
    assert_eq!(read("request_headers = {}"), Treatment::default());
}

#[test]
fn values_are_made_of_text_and_variables() {
    let check = |text: &str, expected: Vec<ValuePart>| {
        let rules = request_rules(&format!("set = {{ x = '{text}' }}"));
        assert_eq!(rules.set, [("x".into(), HeaderValue(expected))], "{text}");
    };
    let text = |text: &str| ValuePart::Text(text.into());
    check("a {{b}} c", vec![text("a {b} c")]);
    check("{{{route}}}", vec![text("{"), variable(Variable::Route), text("}")]);
    check(
        "{client_address}, {header:X-Org}",
        vec![
            variable(Variable::ClientAddress),
            text(", "),
            variable(Variable::Header("x-org".into())),
        ],
    );
    for (name, expected) in [
        ("peer_address", Variable::PeerAddress),
        ("host", Variable::Host),
        ("authority", Variable::Authority),
        ("scheme", Variable::Scheme),
        ("method", Variable::Method),
        ("path", Variable::Path),
        ("target", Variable::Target),
        ("request_id", Variable::RequestId),
        ("client", Variable::Client),
        ("user", Variable::User),
    ] {
        check(&format!("{{{name}}}"), vec![variable(expected)]);
    }
}

#[test]
fn values_that_are_none_are_refused() {
    for bad in [
        "' a'",
        "'a '",
        "\"a\\nb\"",
        "\"a\\rb\"",
        "\"a\\u0000b\"",
        "'ä'",
        "'{'",
        "'}'",
        "'{hots}'",
        "'{header:a b}'",
        "'{}'",
        "'a{'",
    ] {
        let checked = check(&text(&format!("request_headers = {{ set = {{ x = {bad} }} }}")));
        let rules: Vec<&str> = checked.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["invalid-header"], "{bad}");
    }
    let checked = check(&text("request_headers = { set = { x = '{hots}' } }"));
    let help = checked.findings[0].help.clone().unwrap_or_default();
    assert!(help.starts_with("there is no {hots}: the variables are {client_address}, "), "{help}");
    assert!(help.ends_with("{header:NAME}; did you mean `host`?"), "{help}");
    refused(
        "request_headers = { add = { x = '' } }",
        &["invalid-header `` is not a header's value"],
    );
    let long = "a".repeat(4_097);
    let checked = check(&text(&format!("request_headers = {{ add = {{ x = '{long}' }} }}")));
    assert_eq!(checked.findings[0].help.as_deref(), Some("a value has at most 4096 bytes"));
}

#[test]
fn no_rule_touches_framing_or_the_connection() {
    for name in [
        "Connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "Content-Length",
        "upgrade",
        "x-request-id",
        "content-encoding",
    ] {
        let message = format!("fixed-header no rule may touch `{}`", name.to_ascii_lowercase());
        for side in ["request_headers", "response_headers"] {
            refused(&format!("{side} = {{ set = {{ {name} = '1' }} }}"), &[&message]);
            refused(&format!("{side} = {{ add = {{ {name} = '1' }} }}"), &[&message]);
            refused(&format!("{side} = {{ remove = ['{name}'] }}"), &[&message]);
        }
    }
    refused(
        "request_headers = { remove = ['expect'] }",
        &["fixed-header no rule may touch `expect`"],
    );
    refused(
        "response_headers = { set = { host = 'a' } }",
        &["fixed-header no rule may touch `host`"],
    );
}

#[test]
fn a_host_is_set_only_to_what_a_client_cannot_choose() {
    for good in [
        "internal.example",
        "a:8080",
        "192.0.2.1",
        "[2001:db8::1]:80",
        "{host}",
        "{authority}",
        "{host}:8080",
        "{route}.internal",
    ] {
        let rules = request_rules(&format!("set = {{ Host = '{good}' }}"));
        assert_eq!(rules.set.len(), 1, "{good}");
    }
    for bad in [
        "{header:x-host}",
        "{client_address}",
        "{authority}:80",
        "a b",
        "a/b",
        "",
        "a:0",
        "a:65536",
        "{path}",
        "http://a",
        "a:b",
        "user@a",
    ] {
        refused(
            &format!("request_headers = {{ set = {{ host = '{bad}' }} }}"),
            &[&format!("invalid-host `{bad}` is not a host")],
        );
    }
    refused("request_headers = { add = { host = 'a' } }", &["fixed-header `host` cannot be added"]);
    refused("request_headers = { remove = ['host'] }", &["fixed-header `host` cannot be removed"]);
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    refused(
        "request_headers = { set = { X-A = '1', x-a = '2' } }",
        &["duplicate-header header `x-a` is given twice"],
    );
    refused(
        "request_headers = { set = { x-a = '1' }, remove = ['x-a'] }",
        &["duplicate-header `x-a` is removed and set"],
    );
    refused(
        "request_headers = { when = 'always' }",
        &["unknown-key unknown key `when` in `request_headers`"],
    );
    refused(
        "cors = { origins = '*' }\nresponse_headers = { set = { Access-Control-Max-Age = '1' } }",
        &["conflicting-keys `cors` writes `access-control-max-age` already"],
    );
    let many: Vec<String> = (0..33).map(|index| format!("x{index} = '1'")).collect();
    refused(
        &format!("request_headers = {{ set = {{ {} }} }}", many.join(", ")),
        &["too-many more than 32 header fields in `set`"],
    );
    let long: Vec<String> = (0..5).map(|n| format!("x{n} = '{}'", "a".repeat(4_000))).collect();
    refused(
        &format!("request_headers = {{ set = {{ {} }} }}", long.join(", ")),
        &["too-many `request_headers` writes more than 16 KiB"],
    );
    // Removing and adding replaces; setting and adding makes two.
    request_rules("remove = ['a'], add = { a = '1' }");
    request_rules("set = { b = '1' }, add = { b = '2' }");
    read("response_headers = { remove = ['access-control-max-age'] }\ncors = { origins = '*' }");
}

#[test]
fn sites_are_read_as_browsers_name_them() {
    let cors = |lines: &str| read(&format!("cors = {{ {lines} }}")).cors.expect("it is there");
    assert_eq!(
        cors("origins = '*'"),
        Cors {
            origins: Origins::Any,
            methods: vec!["GET".into(), "HEAD".into(), "POST".into()],
            headers: Some(Vec::new()),
            expose: Vec::new(),
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    );
    let read = cors(
        "origins = ['HTTPS://App.Example.com', 'https://*.example.org:8443', 'https://app.example.com', \
         'http://[2001:DB8::1]:80800'], methods = ['PUT'], headers = '*', expose = ['X-Total'], \
         credentials = true, max_age = '1h'"
            .replace(":80800", ":8080")
            .as_str(),
    );
    let origins =
        ["https://app.example.com", "https://*.example.org:8443", "http://[2001:db8::1]:8080"];
    assert_eq!(read.origins, Origins::Listed(origins.map(model::Name::from).to_vec()));
    assert_eq!((read.headers, read.credentials), (None, true));
    assert_eq!((read.expose, read.max_age), (vec!["x-total".into()], Duration::from_secs(3_600)));
    assert_eq!(
        cors("origins = 'capacitor://localhost'").origins,
        Origins::Listed(vec!["capacitor://localhost".into()])
    );
}

#[test]
fn sites_that_are_none_are_refused() {
    for bad in [
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://a:0",
        "https://a:65536",
        "https://a:080",
        "https://*",
        "https://a.*.example.com",
        "https://**.example.com",
        "https://user@a",
        "https://",
        "://a",
        "null",
        "*",
        "https://a b",
    ] {
        refused(
            &format!("cors = {{ origins = ['{bad}'] }}"),
            &[&format!("invalid-origin `{bad}` is not a site")],
        );
    }
    refused("cors = {}", &["missing-key `cors` needs `origins`"]);
    refused("cors = { origins = [] }", &["empty-list `origins` must not be empty"]);
    refused(
        "cors = { origins = '*', credentials = true }",
        &["conflicting-keys cookies are not for scripts of any site"],
    );
    refused("cors = { origins = '*', headers = 'x-a' }", &["wrong-type `x-a` is not an array"]);
    refused(
        "cors = { origins = '*', methods = ['get'] }",
        &["invalid-method `get` is not a method"],
    );
    refused(
        "cors = { origins = '*', max_age = '25h' }",
        &["out-of-range `max_age` must be from 0s to 24h"],
    );
}
