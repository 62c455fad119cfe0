//! What scripts of which sites are told.

use std::time::Duration;

use http_wire::HeadLimits;

use super::*;

fn settings(origins: &[&str]) -> Settings {
    let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
    Settings {
        origins: if origins == ["*"] { Origins::Any } else { Origins::Listed(names(origins)) },
        methods: names(&["GET", "PUT"]),
        headers: Some(names(&["content-type", "x-token"])),
        expose: names(&["x-total"]),
        credentials: false,
        max_age: Duration::from_secs(600),
    }
}

fn written(fields: &str, write: impl Fn(&mut Vec<u8>, &RequestHead, &[u8])) -> String {
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
    let mut out = Vec::new();
    write(&mut out, &head, text.as_bytes());
    String::from_utf8(out).unwrap().replace("access-control-", "").replace("\r\n", "\n")
}

fn response(settings: &Settings, fields: &str) -> String {
    let cors = Cors::new(settings);
    written(fields, |out, head, bytes| cors.write(out, head, bytes))
}

fn preflight(settings: &Settings, fields: &str) -> String {
    let cors = Cors::new(settings);
    let found = written(fields, |out, head, bytes| cors.write_preflight(out, head, bytes));
    let vary = format!("vary: {}\n", String::from_utf8_lossy(PREFLIGHT_VARY));
    found.strip_prefix(&vary.replace("access-control-", "")).unwrap().to_owned()
}

#[test]
fn a_site_is_named_only_when_it_is_listed() {
    let listed = settings(&["https://app.example", "https://*.shop.example", "http://*.x:81"]);
    let check = |origin: &str, allowed: bool| {
        let found = response(&listed, &format!("origin: {origin}\r\n"));
        let named = format!("vary: origin\nallow-origin: {origin}\nexpose-headers: x-total\n");
        assert_eq!(found, if allowed { named.as_str() } else { "vary: origin\n" }, "{origin}");
    };
    check("https://app.example", true);
    check("https://a.shop.example", true);
    check("http://a.x:81", true);
    for other in [
        "null",
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil",
        "https://evil-app.example",
        "https://shop.example",
        "https://.shop.example",
        "https://a.b.shop.example",
        "https://evil.example/.shop.example",
        "https://a.shop.example:444",
        "http://a.x",
        "http://.x:81",
        "*",
    ] {
        check(other, false);
    }
    assert_eq!(response(&listed, ""), "vary: origin\n");
}

#[test]
fn any_site_is_told_the_same() {
    let any = settings(&["*"]);
    for fields in ["", "origin: https://a.example\r\n", "origin: null\r\n"] {
        assert_eq!(response(&any, fields), "allow-origin: *\nexpose-headers: x-total\n");
    }
}

#[test]
fn who_asks_beforehand_is_told_what_is_allowed() {
    let mut listed = settings(&["https://a.example"]);
    let origin = "origin: https://a.example\r\n";
    assert_eq!(
        preflight(&listed, origin),
        "allow-origin: https://a.example\nallow-methods: GET, PUT\n\
         allow-headers: content-type, x-token\nmax-age: 600\n"
    );
    assert_eq!(preflight(&listed, "origin: https://b.example\r\n"), "");
    listed.credentials = true;
    listed.headers = None;
    assert_eq!(
        preflight(
            &listed,
            &format!("{origin}access-control-request-headers: x-b,authorization\r\n")
        ),
        "allow-origin: https://a.example\nallow-credentials: true\nallow-methods: GET, PUT\n\
         max-age: 600\nallow-headers: x-b,authorization\n"
    );
    assert_eq!(
        response(&listed, origin),
        "vary: origin\nallow-origin: https://a.example\nallow-credentials: true\n\
         expose-headers: x-total\n"
    );
}

#[test]
fn only_fields_of_cors_are_the_doors_own() {
    assert!(is_of_cors(b"Access-Control-Allow-Origin"));
    assert!(!is_of_cors(b"access-controls"));
    assert!(!is_of_cors(b"x-access-control-max-age"));
}
