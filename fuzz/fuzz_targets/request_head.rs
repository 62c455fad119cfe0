//! Any bytes as a request head. What is accepted has one reading: it scans the same however it
//! arrives, its canonical target is canonical, and written again it means the same.
#![no_main]

use http_wire::{Framing, HeadLimits, HeadScanner, HeaderKind, Method, RequestHead, Version};
use libfuzzer_sys::fuzz_target;

/// The head as a proxy would write it again.
fn written_again(head: &RequestHead, bytes: &[u8]) -> Vec<u8> {
    let version = if head.version == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut out = head.method_text.of(bytes).to_vec();
    out.extend_from_slice(format!(" {} {version}\r\n", head.forwarded_target()).as_bytes());
    for header in &head.headers {
        out.extend_from_slice(header.name.of(bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value.of(bytes));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn scan_slowly(bytes: &[u8], limits: &HeadLimits) -> Option<usize> {
    let mut scanner = HeadScanner::default();
    (0..=bytes.len()).find_map(|length| scanner.scan(&bytes[..length], limits).transpose())?.ok()
}

fn check_target(head: &RequestHead) {
    let path = head.path();
    assert!(
        path.is_ascii()
            && (path.starts_with('/') || (path == "*" && head.method == Method::Options))
    );
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "dot segment in {path}");
    assert!(!path.contains(['\\', '?', '#', ' ']), "{path}");
    assert_eq!(
        head.forwarded_target(),
        head.query().map_or(path.to_owned(), |query| format!("{path}?{query}")),
        "path and query are the forwarded target"
    );
}

fn check_head(head: &RequestHead, bytes: &[u8]) {
    assert!(!matches!(head.method, Method::Connect | Method::Trace));
    let count = |kind: HeaderKind| head.headers.iter().filter(|header| header.kind == kind).count();
    let (lengths, codings) =
        (count(HeaderKind::ContentLength), count(HeaderKind::TransferEncoding));
    assert!(
        lengths + codings <= 1 && count(HeaderKind::Host) <= 1 && count(HeaderKind::Expect) <= 1
    );
    match head.framing {
        Framing::None => assert_eq!(lengths + codings, 0),
        Framing::Length(_) => assert_eq!(lengths, 1),
        Framing::Chunked => assert!(codings == 1 && head.version == Version::Http11),
        Framing::Close => panic!("a request never ends with its connection"),
    }
    assert!(head.host.is_some() || head.version == Version::Http10);
    for header in &head.headers {
        let (name, value) = (header.name.of(bytes), header.value.of(bytes));
        assert!(
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
        );
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        assert_eq!(value, value.trim_ascii());
        assert_eq!(header.kind, HeaderKind::of_name(name));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let limits = HeadLimits { bytes_max: 2_048, headers_max: 32, target_bytes_max: 1_024 };
    let scanned = HeadScanner::default().scan(bytes, &limits).ok().flatten();
    assert_eq!(scan_slowly(bytes, &limits), scanned, "the scanner depends on how bytes arrive");

    let mut head = RequestHead::default();
    // Without a scanner too, nothing passes that the scanner would refuse.
    if head.parse(bytes, &limits).is_ok() {
        assert_eq!(scanned, Some(bytes.len()));
    }
    let Some(length) = scanned else { return };
    let bytes = &bytes[..length];
    if head.parse(bytes, &limits).is_err() {
        return;
    }
    check_head(&head, bytes);
    check_target(&head);

    // Canonical escapes may be longer than what they stand for.
    let limits = HeadLimits { bytes_max: 8_192, target_bytes_max: 4_096, ..limits };
    let again = written_again(&head, bytes);
    let mut second = RequestHead::default();
    assert_eq!(second.parse(&again, &limits), Ok(()), "{:?}", again.escape_ascii().to_string());
    check_head(&second, &again);
    assert_eq!(second.forwarded_target(), head.forwarded_target(), "canonical is canonical");
    assert!(!second.path_changed());
    assert_eq!(
        (second.method, second.version, second.framing, second.keep_alive, second.expect_continue),
        (head.method, head.version, head.framing, head.keep_alive, head.expect_continue)
    );
    assert_eq!(second.upgrade.map(|span| span.of(&again)), head.upgrade.map(|span| span.of(bytes)));
    assert_eq!(second.headers.len(), head.headers.len());
    for (one, two) in head.headers.iter().zip(&second.headers) {
        assert_eq!((one.kind, one.hop_by_hop), (two.kind, two.hop_by_hop));
        assert_eq!(
            (one.name.of(bytes), one.value.of(bytes)),
            (two.name.of(&again), two.value.of(&again))
        );
    }
});
